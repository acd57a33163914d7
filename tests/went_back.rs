//! P2 and P3 at a server whose folder was replaced by an older copy of itself: it knows of nothing and gives
//! ids out again, and its clients say so and hide no mail. And at one that did not: they do not say so.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver};

use common::ctl::{Ctl, Run};
use common::faults::{can_trace, killing};
use common::server::Server;
use common::{PATIENCE, Timed, eventually, skip};
use serde_json::Value;

const LINE: &str = "went back to an older copy";

/// A server, and two who write and read.
struct Post {
    server: Server,
    folder: tempfile::TempDir,
    ana: Ctl,
    bob: Ctl,
    sent: u32,
}

impl Post {
    fn open() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a folder");
        let [ana, bob] = ["ana", "bob"].map(|name| Ctl::new(&server, &folder.path().join(name)));
        ana.ok(&["login", "ana"]);
        bob.ok(&["login", "bob", "--topic", "news"]);
        Self {
            server,
            folder,
            ana,
            bob,
            sent: 0,
        }
    }

    /// Sends some mails, to bob and to the topic in turn; returns what is in them.
    fn send(&mut self, mails: u32) -> Vec<String> {
        let send = |nth: u32| {
            let to = if nth.is_multiple_of(2) { "bob" } else { "news" };
            let body = format!("mail {nth}");
            self.ana.ok(&["send", to, "-b", &body]);
            body
        };
        let from = self.sent;
        self.sent += mails;
        (from..from + mails).map(send).collect()
    }

    fn aside(&self) -> PathBuf {
        self.folder.path().join("copy")
    }

    /// Copies the folder of the stopped server.
    fn keep_copy(&mut self) {
        assert!(self.server.terminate().0.success());
        copy(self.server.data(), &self.aside());
        self.server.restart();
    }

    /// Puts the copy in the folder's place.
    fn go_back(&mut self) {
        assert!(self.server.terminate().0.success());
        std::fs::remove_dir_all(self.server.data()).expect("a folder");
        copy(&self.aside(), self.server.data());
        self.server.restart();
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp starts").success());
}

fn bodies(run: &Run) -> Vec<String> {
    let body = |object: &Value| Some(object["body"].as_str()?.to_owned());
    run.objects().iter().filter_map(body).collect()
}

#[test]
fn p03_new_mail_of_a_server_that_went_back_is_shown_once_and_said() {
    let _timed = Timed::start("p03_new_mail_of_a_server_that_went_back_is_shown_once_and_said");
    // Fewer than what was lost, as many, and more: heads then lie below the marks, at them, above.
    for new in [1, 4, 9] {
        let mut post = Post::open();
        let before = post.send(3);
        assert_eq!(bodies(&post.bob.ok(&["refresh", "--json"])), before);
        post.keep_copy();
        let lost = post.send(4);
        assert_eq!(bodies(&post.bob.ok(&["refresh", "--json"])), lost);
        post.go_back();
        let news = post.send(new);
        let looked = post.bob.ok(&["refresh", "--json", "--no-ack"]);
        assert_eq!(bodies(&looked), news, "{new} new mails, looked at");
        let shown = post.bob.ok(&["refresh", "--json"]);
        assert_eq!(bodies(&shown), news, "{new} new mails");
        assert_eq!(shown.err.matches(LINE).count(), 1, "{}", shown.err);
        let again = post.bob.ok(&["refresh", "--json"]);
        assert_eq!((again.out.as_str(), again.err.as_str()), ("", ""));
        let more = post.send(6);
        assert_eq!(bodies(&post.bob.ok(&["refresh", "--json"])), more);
    }
}

#[test]
fn p02_what_was_not_shown_when_the_server_went_back_still_is() {
    let mut post = Post::open();
    let before = post.send(2);
    post.keep_copy();
    // Stored and acknowledged, and shown by nobody: `watch` marks nothing.
    let watch = Watching::start(&post.bob);
    let lost = post.send(4);
    assert_eq!(watch.hear(lost.len()), lost);
    post.bob.ok(&["topic", "ls"]);
    drop(watch);
    let held = eventually("a refresh to show it", || {
        let unshown = post.bob.ok(&["refresh", "--json", "--limit", "1"]);
        (!unshown.out.is_empty()).then_some(bodies(&unshown))
    });
    assert_eq!(held, before[..1]);
    post.go_back();
    let news = post.send(4);
    let mut shown = bodies(&post.bob.ok(&["refresh", "--json"]));
    let mut due = [&before[1..], &lost, &news].concat();
    shown.sort();
    due.sort();
    assert_eq!(shown, due, "each once");
}

#[test]
fn p10_a_watch_over_the_going_back_shows_what_is_new_once_and_says_it() {
    let mut post = Post::open();
    let before = post.send(2);
    assert_eq!(bodies(&post.bob.ok(&["refresh", "--json"])), before);
    post.keep_copy();
    let watch = Watching::start(&post.bob);
    let lost = post.send(4);
    assert_eq!(watch.hear(lost.len()), lost);
    post.go_back();
    let said = watch.said.recv_timeout(PATIENCE * 4);
    let mut lines = vec![said.expect("it says something")];
    while !lines.iter().any(|line| line.contains(LINE)) {
        lines.push(watch.said.recv_timeout(PATIENCE * 4).expect("the line"));
    }
    let news = post.send(4);
    assert_eq!(watch.hear(news.len()), news);
    drop(watch);
    let shown = post.bob.ok(&["refresh", "--json"]);
    assert_eq!(bodies(&shown), [lost, news].concat());
    assert!(!shown.err.contains(LINE), "once: {}", shown.err);
}

/// Runs `mailctl` again and again, killed at the first step, the second ... until one run lives to its end; looks at
/// each that was killed.
fn at_each_step(post: &mut Post, args: &[&str], mut look: impl FnMut(&mut Post, &str)) {
    for call in ["fsync", "rename"] {
        for nth in 1.. {
            let bob = post.bob.clone().wrapped(&killing(call, nth));
            let run = bob.run(args);
            if run.code == 0 {
                break;
            }
            look(post, &format!("killed at {call} {nth}"));
        }
    }
}

/// Removes what lies in bob's Maildir, as a mail program does.
fn remove_files(post: &Post) {
    let mut folders = vec![post.bob.home().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains(".mail") {
                std::fs::remove_file(&path).expect("it goes");
            }
        }
    }
}

#[test]
fn p02_a_rewind_killed_at_any_step_is_done_or_not_and_no_going_back() {
    let name = "p02_a_rewind_killed_at_any_step_is_done_or_not_and_no_going_back";
    if !can_trace() {
        return skip(name, "strace cannot trace here");
    }
    let _timed = Timed::start(name);
    let mut post = Post::open();
    post.ana.ok(&["topic", "join", "old"]);
    let said = ["one", "two", "three"];
    for body in said {
        post.ana.ok(&["send", "old", "-b", body]);
    }
    post.bob.ok(&["topic", "join", "old"]);
    post.ana.ok(&["send", "old", "-b", "four"]);
    assert_eq!(bodies(&post.bob.ok(&["refresh", "--json"])), ["four"]);
    let mut kills = 0;
    let join = ["topic", "join", "old", "--from", "start"];
    at_each_step(&mut post, &join, |post, when| {
        kills += 1;
        let shown = post.bob.ok(&["refresh", "--json"]);
        assert!(!shown.err.contains(LINE), "{when}: {}", shown.err);
        let shown = bodies(&shown);
        assert!(shown.is_empty() || shown[..3] == said, "{when}: {shown:?}");
        remove_files(post);
    });
    assert!(kills > 5, "{kills} kills");
    let mut all = said.to_vec();
    all.push("four");
    assert_eq!(bodies(&post.bob.ok(&["refresh", "--json"])), all);
}

#[test]
fn p02_unacknowledged_mail_that_was_removed_is_no_going_back() {
    let name = "p02_unacknowledged_mail_that_was_removed_is_no_going_back";
    if !can_trace() {
        return skip(name, "strace cannot trace here");
    }
    let _timed = Timed::start(name);
    let mut post = Post::open();
    post.send(2);
    let mut kills = 0;
    at_each_step(&mut post, &["refresh"], |post, when| {
        kills += 1;
        // What was stored counts as seen, what was not comes now.
        remove_files(post);
        let shown = post.bob.ok(&["refresh", "--json"]);
        assert!(!shown.err.contains(LINE), "{when}: {}", shown.err);
        post.send(2);
    });
    assert!(kills > 5, "{kills} kills");
}

/// A `mailctl watch --json`.
struct Watching {
    child: Child,
    out: Receiver<String>,
    said: Receiver<String>,
}

impl Watching {
    /// Starts it and waits until it listens.
    fn start(ctl: &Ctl) -> Self {
        let mut child = ctl.spawn(&["watch", "--json"]);
        let out = lines(child.stdout.take().expect("a pipe"));
        let said = lines(child.stderr.take().expect("a pipe"));
        let first = said
            .recv_timeout(PATIENCE)
            .expect("it says that it is there");
        assert!(first.contains("watching as"), "{first}");
        Self { child, out, said }
    }

    /// Returns the bodies of the next mails, which come in order per address only.
    fn hear(&self, mails: usize) -> Vec<String> {
        let next = |_| {
            let line = self.out.recv_timeout(PATIENCE * 2).expect("a mail in time");
            let mail: Value = serde_json::from_str(&line).expect("JSON");
            mail["body"].as_str().expect("a mail").to_owned()
        };
        let mut bodies: Vec<String> = (0..mails).map(next).collect();
        bodies.sort();
        bodies
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // One that has ended is killed in vain.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        drop(self.child.wait());
    }
}

fn lines(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    receive
}
