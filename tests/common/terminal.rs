//! A program at a (pseudo) terminal, and what the terminal has shown so far.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Action, LocalModes, tcflow, tcgetattr};

use super::ctl::Ctl;

/// Ctrl-C.
pub const INTERRUPT: &str = "\x03";
/// Ctrl-D.
pub const END: &str = "\x04";

/// A program with somebody at its terminal.
pub struct Terminal {
    pub child: Child,
    keys: File,
    /// Kept open, so that its modes can be looked at after the program has ended.
    slave: File,
    shown: Arc<(Mutex<Vec<u8>>, Condvar)>,
    read: usize,
}

impl Terminal {
    /// Opens the shell of a device.
    pub fn shell(ctl: &Ctl) -> Self {
        Self::start(ctl.command(&[]))
    }

    /// Starts a program at a terminal of its own.
    pub fn start(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
        grantpt(&master).expect("ours");
        unlockpt(&master).expect("usable");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let slave = rustix::fs::open(
            name.as_c_str(),
            OFlags::RDWR | OFlags::NOCTTY,
            Mode::empty(),
        );
        let slave = File::from(slave.expect("its other end"));
        let end = || Stdio::from(slave.try_clone().expect("a handle"));
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm");
        }
        // Tests look for words, which colours would cut in two.
        let child = command
            .env("NO_COLOR", "1")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("it starts");
        let keys = File::from(master);
        let mut screen = keys.try_clone().expect("a handle");
        let shown = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let told = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                let mut shown = told.0.lock().expect("no holder panics");
                shown.extend_from_slice(&bytes[..count]);
                told.1.notify_all();
            }
        });
        Self {
            child,
            keys,
            slave,
            shown,
            read: 0,
        }
    }

    /// Types keys as they are.
    pub fn press(&mut self, keys: &str) {
        self.keys
            .write_all(keys.as_bytes())
            .expect("keys are taken");
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        self.press(line);
        self.press("\r");
    }

    /// Waits until `text` is shown, after everything waited for before. Returns what was shown until
    /// then.
    #[track_caller]
    pub fn sees(&mut self, text: &str) -> String {
        self.sees_within(text, super::PATIENCE)
    }

    /// As [`Terminal::sees`], with a term.
    #[track_caller]
    pub fn sees_within(&mut self, text: &str, term: Duration) -> String {
        let (lock, changed) = &*self.shown;
        let guard = lock.lock().expect("no holder panics");
        let from = self.read;
        let (guard, timeout) = changed
            .wait_timeout_while(guard, term, |shown| find(&shown[from..], text).is_none())
            .expect("no holder panics");
        assert!(
            !timeout.timed_out(),
            "never saw {text:?} in {:?}",
            String::from_utf8_lossy(&guard[from..])
        );
        let at = find(&guard[from..], text).expect("just seen");
        let before = String::from_utf8_lossy(&guard[from..from + at]).into_owned();
        self.read = from + at + text.len();
        before
    }

    /// Returns everything shown so far.
    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.shown.0.lock().expect("no holder panics")).into_owned()
    }

    /// Returns how often `text` was shown so far.
    pub fn count(&self, text: &str) -> usize {
        self.all().matches(text).count()
    }

    /// Says whether keys are neither shown nor gathered to lines, and Ctrl-C still acts: a word is carried out.
    pub fn keeps_keys(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("modes").local_modes;
        modes.contains(LocalModes::ISIG) && !modes.intersects(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// Says whether the terminal is set as a shell expects it: it echoes, and reads lines.
    pub fn is_sane(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("a terminal").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// Holds the terminal's output, as Ctrl-S does, or lets it go on.
    pub fn hold(&self, held: bool) {
        let action = if held { Action::OOff } else { Action::OOn };
        tcflow(&self.slave, action).expect("a terminal");
    }

    /// Sends the program a signal.
    pub fn signal(&self, which: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a pid"), which).expect("it runs");
    }

    /// Waits for the end.
    pub fn ends(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes
        .windows(text.len())
        .position(|window| window == text.as_bytes())
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
