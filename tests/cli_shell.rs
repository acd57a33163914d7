//! The shell on a real (pseudo) terminal: the seed's words, errors that leave the prompt usable, and
//! nothing sent by mistake.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use common::ctl::Ctl;
use common::server::Server;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A `mailctl` at a terminal, and what the terminal has shown so far.
struct Terminal {
    child: Child,
    keys: File,
    shown: Arc<(Mutex<String>, Condvar)>,
    read: usize,
}

impl Terminal {
    fn open(ctl: &Ctl) -> Self {
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
        let child = ctl
            .command(&[])
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("mailctl starts");
        drop(slave);
        let keys = File::from(master);
        let mut screen = keys.try_clone().expect("a handle");
        let shown = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let told = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]);
                told.0.lock().expect("no holder panics").push_str(&text);
                told.1.notify_all();
            }
        });
        Self {
            child,
            keys,
            shown,
            read: 0,
        }
    }

    fn type_line(&mut self, line: &str) {
        self.keys
            .write_all(line.as_bytes())
            .expect("keys are taken");
        self.keys.write_all(b"\r").expect("keys are taken");
    }

    /// Waits until `text` is shown, after everything waited for before.
    #[track_caller]
    fn sees(&mut self, text: &str) {
        let (lock, changed) = &*self.shown;
        let guard = lock.lock().expect("no holder panics");
        let from = self.read;
        let (guard, timeout) = changed
            .wait_timeout_while(guard, common::PATIENCE, |shown| {
                !shown[from..].contains(text)
            })
            .expect("no holder panics");
        assert!(
            !timeout.timed_out(),
            "never saw {text:?} in {:?}",
            &guard[from..]
        );
        let at = guard[from..].find(text).expect("just seen");
        self.read = from + at + text.len();
    }

    /// Types a line and waits for the answer and the next prompt.
    #[track_caller]
    fn asks(&mut self, line: &str, answer: &str) {
        self.type_line(line);
        self.sees(answer);
        self.sees("ana> ");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_seeds_words_work_at_a_prompt() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    ana.ok(&["login", "ana"]);
    bob.ok(&["login", "bob"]);
    bob.ok(&["send", "ana", "-s", "hi", "-b", "hello\u{1b}[2J ana"]);

    let mut terminal = Terminal::open(&ana);
    terminal.sees("1 mail waiting");
    terminal.sees("ana> ");
    terminal.asks("refresh", "bob to ana: hi\r\n    hello␛[2J ana");
    terminal.asks("refresh", "nothing new for ana");
    terminal.asks("help", "@name [text]");
    terminal.asks("!news", "joined news");
    terminal.asks("!", "news   yes");
    terminal.asks("!-news", "left news");
    terminal.asks("@bob see you at 5", "sent to bob: 2");

    // Composing: a subject, a text, a dot.
    terminal.type_line("@bob");
    terminal.sees("Subject");
    terminal.type_line("lunch");
    terminal.sees("| ");
    terminal.type_line("12:30?");
    terminal.sees("| ");
    terminal.asks(".", "sent to bob: 3");

    // Mistakes send nothing and leave the prompt.
    terminal.asks("refersh", "did you mean `refresh`");
    terminal.asks("bob hello", "Nothing was sent");
    terminal.asks("#bob", "no such word");
    terminal.asks("@ bob", "the name goes here");
    terminal.asks("@nobody hello", "error[no_such_address]");
    terminal.type_line("@bob");
    terminal.sees("Subject");
    terminal.keys.write_all(b"\x03").expect("keys are taken");
    terminal.sees("nothing was sent");

    // A server that restarts is found again.
    server.kill9();
    server.restart();
    terminal.asks("@bob after the crash", "sent to bob: 4");
    terminal.type_line("quit");
    assert_eq!(terminal.child.wait().expect("it ends").code(), Some(0));

    let mails = bob.ok(&["refresh", "--json"]).objects();
    let bodies: Vec<&str> = mails
        .iter()
        .filter_map(|mail| mail["body"].as_str())
        .collect();
    assert_eq!(bodies, ["see you at 5", "12:30?", "after the crash"]);
    assert_eq!(mails[1]["subject"], "lunch");
}
