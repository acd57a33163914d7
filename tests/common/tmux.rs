//! A program in a real terminal: tmux draws its screen, which can then be looked at.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::eventually;

/// One tmux with one window.
pub struct Tmux {
    folder: tempfile::TempDir,
}

impl Tmux {
    /// Says whether this machine has tmux.
    pub fn is_here() -> bool {
        Command::new("tmux").arg("-V").output().is_ok()
    }

    /// Starts a program on a screen of this size.
    pub fn start(program: &Command, columns: u16, rows: u16) -> Self {
        let tmux = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_string_lossy());
        let mut line = "exec env -i TERM=screen LANG=C.UTF-8 PATH=\"$PATH\"".to_owned();
        for (name, value) in program.get_envs() {
            let value = value.unwrap_or_default().to_string_lossy();
            let name = name.to_string_lossy();
            line.extend([" ", &name, "='", &value, "'"]);
        }
        line.extend([" ", &quoted(program.get_program())]);
        line.extend(program.get_args().map(|arg| format!(" {}", quoted(arg))));
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let size = ["-x", &columns, "-y", &rows];
        tmux.ask(&[&["new-session", "-d"][..], &size, &[&line]].concat());
        tmux.ask(&["set-option", "-g", "remain-on-exit", "on"]);
        tmux
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("tmux")
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new("tmux")
            .args(["-u", "-f", "/dev/null", "-S"])
            .arg(self.socket())
            .args(words)
            .env("LANG", "C.UTF-8")
            .env_remove("TMUX")
            .output()
            .expect("tmux starts")
    }

    #[track_caller]
    fn ask(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {words:?}: {told}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types a text.
    pub fn types(&self, text: &str) {
        self.ask(&["send-keys", "-l", "--", text]);
    }

    /// Types a line.
    pub fn type_line(&self, line: &str) {
        self.types(line);
        self.press("Enter");
    }

    /// Presses a key by its name (`Enter`, `C-c`, `Tab`).
    pub fn press(&self, key: &str) {
        self.ask(&["send-keys", key]);
    }

    /// Pastes a text as terminals do: in brackets, where the program asked for them.
    pub fn paste(&self, text: &str) {
        self.ask(&["set-buffer", "--", text]);
        self.ask(&["paste-buffer", "-p", "-d"]);
    }

    /// Changes the size of the screen.
    pub fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.ask(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    /// Returns the screen's lines, as they look.
    pub fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p"])
    }

    /// Returns everything that stood on the screen, with the escape sequences of its looks.
    pub fn all(&self) -> String {
        self.ask(&["capture-pane", "-p", "-e", "-J", "-S", "-"])
    }

    /// Returns the terminal's title.
    pub fn title(&self) -> String {
        self.ask(&["display-message", "-p", "#{pane_title}"])
    }

    /// Waits until the program has ended. Asks the system: tmux is told by a signal, which gets lost on some machines.
    #[track_caller]
    pub fn ends(&self) {
        let pid = self.ask(&["display-message", "-p", "#{pane_pid}"]);
        let status = PathBuf::from(format!("/proc/{}/status", pid.trim()));
        eventually(&format!("the end of:\n{}", self.screen()), || {
            let status = fs::read_to_string(&status).ok();
            status
                .is_none_or(|status| status.contains("State:\tZ"))
                .then_some(())
        });
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub fn sees(&self, text: &str) {
        eventually(&format!("{text:?} in:\n{}", self.screen()), || {
            self.screen().contains(text).then_some(())
        });
    }

    /// Waits until the last line that is not empty reads so.
    #[track_caller]
    pub fn ends_with(&self, line: &str) {
        eventually(
            &format!("{line:?} at the end of:\n{}", self.screen()),
            || {
                let screen = self.screen();
                (screen.trim_end().lines().last()?.trim_end() == line.trim_end()).then_some(())
            },
        );
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}
