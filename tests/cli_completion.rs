//! Completion in the shells themselves, with somebody at the Tab key.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::ctl::{Ctl, Run};
use common::server::Server;
use common::skip;
use common::terminal::Terminal;

/// A topic's name that would make a file if a shell carried it out.
const TRAP: &str = "$(>pwned)";

struct World {
    server: Server,
    ana: Ctl,
    folder: tempfile::TempDir,
}

impl World {
    /// bob wrote to ana, who read it; he also made topics that she has not heard of.
    fn new() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a folder");
        let [ana, bob] = ["ana", "bob"].map(|name| {
            let ctl = Ctl::new(&server, &folder.path().join(name));
            ctl.ok(&["login", name]);
            ctl
        });
        bob.ok(&["topic", "join", "garden/tools", TRAP]);
        bob.ok(&["send", "ana", "-s", "lunch", "-b", "12:30?"]);
        ana.ok(&["refresh"]);
        Self {
            server,
            ana,
            folder,
        }
    }

    /// A shell with ana's home and without her person's settings.
    fn shell(&self, words: &[&str]) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_mailctl"))
            .parent()
            .expect("programs lie in a folder");
        let path = format!("{}:/usr/bin:/bin", programs.display());
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.folder.path())
            .env("MAILCTL_HOME", self.ana.home())
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .current_dir(self.folder.path());
        command
    }

    fn script(&self, shell: &str) -> PathBuf {
        let path = self.folder.path().join(format!("mailctl.{shell}"));
        std::fs::write(&path, self.ana.ok(&["completions", shell]).out).expect("it is there");
        path
    }

    fn is_trapped(&self) -> bool {
        self.folder.path().join("pwned").exists()
    }
}

/// What is typed, and what stands there after a Tab.
const TYPED: &[(&str, &str)] = &[
    ("mailctl ref", "mailctl refresh"),
    ("mailctl send bo", "mailctl send bob"),
    ("mailctl --as a", "mailctl --as ana"),
    ("mailctl read ", "mailctl read 1"),
    ("mailctl topic join gar", "mailctl topic join garden/tools"),
    ("mailctl send x --qu", "mailctl send x --queue"),
    ("mailctl topic join \\$", "mailctl topic join $(>pwned)"),
    ("mailctl send -f mailc", "mailctl send -f mailctl.SHELL"),
];

/// Types each line with a Tab at its end, and makes a list of the words instead of running them.
fn complete_at(terminal: &mut Terminal, shell: &str, typed: &[(&str, &str)]) {
    for (line, expected) in typed {
        terminal.press(line);
        terminal.press("\t");
        terminal.press("\x01set -- \r");
        terminal.type_line("printf '[%s]\\n' \"$*\"");
        let expected = format!("[{}]", expected.replace("SHELL", shell));
        terminal.sees(&expected);
    }
}

#[test]
fn bash_completes() {
    let world = World::new();
    let script = world.script("bash");
    let mut terminal = Terminal::start(world.shell(&["bash", "--norc", "--noprofile", "-i"]));
    terminal.type_line(&format!("source {}", script.display()));
    terminal.type_line("bind 'set bell-style none'");
    complete_at(&mut terminal, "bash", TYPED);
    // Where bash itself cuts words.
    let cut = [
        ("mailctl --as=a", "mailctl --as=ana"),
        ("mailctl send @bo", "mailctl send @bob"),
        ("X=1 mailctl send bo", "X=1 mailctl send bob"),
    ];
    complete_at(&mut terminal, "bash", &cut);
    assert!(!world.is_trapped());
    assert!(!terminal.all().contains("error"), "{}", terminal.all());
}

#[test]
fn zsh_completes() {
    let world = World::new();
    if Command::new("zsh").arg("--version").output().is_err() {
        return skip("zsh_completes", "zsh is missing");
    }
    let script = world.script("zsh");
    let mut terminal = Terminal::start(world.shell(&["zsh", "-f", "-i"]));
    terminal.type_line("unsetopt zle_bracketed_paste 2>/dev/null; PS1='> '; bindkey -e");
    terminal.type_line("autoload -U compinit; compinit -u -D");
    terminal.type_line(&format!("source {}", script.display()));
    terminal.type_line("print ready-$((1+1))");
    terminal.sees("ready-2");
    complete_at(&mut terminal, "zsh", TYPED);
    assert!(!world.is_trapped());
    assert!(!terminal.all().contains("error"), "{}", terminal.all());
}

#[test]
fn fish_completes() {
    let world = World::new();
    if Command::new("fish").arg("--version").output().is_err() {
        return skip("fish_completes", "fish is missing");
    }
    let script = world.script("fish");
    let ask = |line: &str| {
        let ask = format!("source {}; complete -C '{line}'", script.display());
        let output = world.shell(&["fish", "--no-config", "-c", &ask]).output();
        let run = Run::from(output.unwrap());
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{line}");
        let values = run
            .out
            .lines()
            .map(|row| row.split('\t').next().unwrap().to_owned());
        values.collect::<Vec<String>>()
    };
    assert_eq!(ask("mailctl ref"), ["refresh"]);
    assert_eq!(ask("mailctl send bo"), ["bob"]);
    assert_eq!(ask("mailctl read "), ["1"]);
    assert_eq!(ask("mailctl --as="), ["--as=ana"]);
    assert_eq!(ask("mailctl topic join gar"), ["garden/tools"]);
    assert_eq!(ask("mailctl send -f mailctl.f"), ["mailctl.fish"]);
    assert!(!world.is_trapped());
}

#[test]
fn completing_is_quiet_whatever_is_wrong() {
    let mut world = World::new();
    let ask = |world: &World, words: &[&str]| {
        let output = world
            .shell(&[env!("CARGO_BIN_EXE_mailctl"), "__complete"])
            .args(words)
            .output();
        Run::from(output.unwrap())
    };
    let zsh = ["zsh", "mailctl", "topic", "join", ""];
    let known = ask(&world, &zsh);
    assert!(known.out.starts_with("garden/tools\t") || known.out.contains("\ngarden/tools\t"));
    world.server.terminate();
    for words in [
        &zsh[..],
        &["zsh", "mailctl", "--home", "/proc/nowhere", "send", ""],
        &["zsh", "mailctl", "nonsense", ""],
        &["zsh", "mailctl", "--timeout", "x", "send", "-"],
        &["zsh"],
        &["bash"],
        &["bash", "mailctl 'send", "send", "9"],
        &["fish", "mailctl", "-C", "nowhere", "send", ""],
    ] {
        let run = ask(&world, words);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{words:?}");
    }
    let key = world
        .ana
        .ok(&["context", "show", "--json"])
        .objects()
        .remove(0);
    let key = Path::new(key["home"].as_str().unwrap()).join("key");
    std::fs::write(key, "nonsense").unwrap();
    let run = ask(&world, &["zsh", "mailctl", "send", ""]);
    assert_eq!((run.code, run.err.as_str(), run.out.as_str()), (0, "", ""));
}
