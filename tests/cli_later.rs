//! Mails that wait: sent at a time, held back for a while, drafts; and receipts.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use common::ctl::{Ctl, Run};
use common::server::Server;
use common::terminal::Terminal;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn world() -> (Server, tempfile::TempDir, Ctl, Ctl) {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [ana, bob] = ["ana", "bob"].map(|name| {
        let ctl = Ctl::new(&server, &folder.path().join(name));
        ctl.ok(&["login", name]);
        ctl
    });
    (server, folder, ana, bob)
}

fn bodies(ctl: &Ctl) -> Vec<String> {
    let mails = ctl.ok(&["refresh", "--json"]).objects();
    let body = |mail: &Value| mail["body"].as_str().map(str::to_owned);
    mails.iter().filter_map(body).collect()
}

fn outbox(ctl: &Ctl) -> Vec<Value> {
    ctl.ok(&["outbox", "ls", "--json"]).objects()
}

/// A `watch` that stands, until it is dropped.
struct Watching(std::process::Child);

impl Watching {
    fn start(ctl: &Ctl) -> Self {
        let mut child = ctl.spawn(&["watch"]);
        let mut told = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        told.read_line(&mut line).expect("it is told");
        assert!(line.starts_with("watching as"), "{line}");
        // What it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        Self(child)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Waits until the outbox looks as wanted.
#[track_caller]
fn until(ctl: &Ctl, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let end = common::now() + common::PATIENCE;
    loop {
        let now = outbox(ctl);
        if wanted(&now) {
            return now;
        }
        assert!(common::now() < end, "{now:?}");
    }
}

#[test]
fn p03_a_mail_for_later_goes_out_once_when_its_time_has_come() {
    let (mut server, _folder, ana, bob) = world();
    let kept = ana
        .ok(&["send", "bob", "-b", "much later", "--at", "2h", "--json"])
        .objects();
    assert_eq!(
        json!([kept[0]["entry"], kept[0]["state"]]),
        json!([1, "scheduled"])
    );
    assert!(kept[0]["at"].is_string());
    ana.ok(&["send", "bob", "-b", "soon", "--at", "1s"]);
    // Whoever runs before the time sends nothing; whoever runs after it sends it, once.
    let end = common::now() + common::PATIENCE;
    while outbox(&ana).len() == 2 {
        ana.ok(&["refresh"]);
        assert!(common::now() < end);
    }
    let left = outbox(&ana);
    assert_eq!(
        json!([left[0]["entry"], left[0]["state"]]),
        json!([1, "scheduled"])
    );
    assert!(ana.ok(&["outbox"]).out.contains("scheduled"));
    assert_eq!(bodies(&bob), ["soon"]);
    ana.ok(&["outbox", "retry"]);
    ana.ok(&["outbox", "rm", "1"]);
    assert!(outbox(&ana).is_empty() && bodies(&bob).is_empty());

    // Its time comes while the server is away: it goes out when the server is back.
    ana.ok(&["send", "bob", "-b", "in the dark", "--at", "1ms"]);
    server.kill9();
    assert_eq!(ana.run(&["refresh"]).code, 69);
    server.restart();
    ana.ok(&["refresh"]);
    ana.ok(&["refresh"]);
    assert_eq!(bodies(&bob), ["in the dark"]);
    for wrong in ["yesterday", "2020-01-01T00:00", "25:00"] {
        assert_eq!(
            ana.run(&["send", "bob", "-b", "x", "--at", wrong]).code,
            64,
            "{wrong}"
        );
    }
    assert!(outbox(&ana).is_empty());
}

#[test]
fn a_standing_watch_sends_what_is_due_and_what_was_queued() {
    let (mut server, _folder, ana, bob) = world();
    let watching = Watching::start(&ana);
    ana.ok(&["send", "bob", "-b", "soon", "--at", "100ms"]);
    until(&ana, <[Value]>::is_empty);
    assert_eq!(bodies(&bob), ["soon"]);
    server.kill9();
    let run = ana.run(&["send", "bob", "-b", "queued", "--queue"]);
    assert_eq!(run.code, 69, "{}", run.err);
    server.restart();
    until(&ana, <[Value]>::is_empty);
    assert_eq!(bodies(&bob), ["queued"]);
    drop(watching);
}

#[test]
fn p03_a_mail_for_later_survives_kills_and_goes_out_once() {
    let (mut server, _folder, ana, bob) = world();
    for turn in 0..6 {
        let body = format!("turn {turn}");
        ana.ok(&["send", "bob", "-b", &body, "--at", "1ms"]);
        let mut child = ana.spawn(&["refresh"]);
        common::pause(Duration::from_millis(15 * turn));
        if turn % 2 == 0 {
            child.kill().expect("it was ours");
        } else {
            server.kill9();
        }
        child.wait().expect("it ends");
        if turn % 2 == 1 {
            server.restart();
        }
    }
    until(&ana, |left| {
        left.is_empty() || {
            ana.run(&["refresh"]);
            false
        }
    });
    let mut came = bodies(&bob);
    came.sort();
    let all: Vec<String> = (0..6).map(|turn| format!("turn {turn}")).collect();
    assert_eq!(came, all);
}

/// Starts a send that is held back, and waits until it is.
fn held(ctl: &Ctl, time: &str, body: &str) -> std::process::Child {
    let child = ctl
        .command(&["send", "bob", "-b", body, "--undo", time])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mailctl starts");
    until(ctl, |left| {
        left.iter().any(|entry| entry["state"] == "held")
    });
    child
}

#[test]
fn a_send_can_be_taken_back_for_a_while_and_then_no_more() {
    let (_server, _folder, ana, bob) = world();
    let child = held(&ana, "1m", "a mistake");
    let back = ana.ok(&["undo"]);
    assert!(back.out.contains("draft 1"), "{}", back.out);
    let run = Run::from(child.wait_with_output().expect("it ends"));
    assert_eq!(run.code, 64, "{}", run.err);
    assert!(run.err.contains("taken back"), "{}", run.err);
    assert_eq!(outbox(&ana)[0]["state"], "draft");

    let child = held(&ana, "1m", "another");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).expect("it lives");
    let run = Run::from(child.wait_with_output().expect("it ends"));
    assert_eq!(run.code, 64, "{}", run.err);
    let states: Vec<Value> = outbox(&ana)
        .iter()
        .map(|entry| entry["state"].clone())
        .collect();
    assert_eq!(states, ["draft", "draft"]);

    let run = ana.ok(&["send", "bob", "-b", "meant", "--undo", "200ms"]);
    assert_eq!(run.out, "sent to bob: 1\n");
    let late = ana.run(&["undo"]);
    assert_ne!(late.code, 0, "{}", late.out);
    assert!(late.err.contains("cannot be taken back"), "{}", late.err);
    assert_eq!(bodies(&bob), ["meant"]);

    // Who was killed while he held it back has sent it all the same: later, once.
    let mut child = held(&ana, "1s", "from a dead hand");
    child.kill().expect("it was ours");
    child.wait().expect("it ends");
    until(&ana, |left| {
        left.iter().all(|entry| entry["state"] == "draft") || {
            ana.ok(&["refresh"]);
            false
        }
    });
    assert_eq!(bodies(&bob), ["from a dead hand"]);
}

#[test]
fn the_shell_holds_back_where_it_is_told_to() {
    let (_server, _folder, ana, bob) = world();
    let mut command = ana.command(&[]);
    command.env("MAILCTL_UNDO", "1m");
    let mut terminal = Terminal::start(command);
    terminal.sees("ana> ");
    terminal.type_line("@bob oops");
    terminal.sees("to bob in 1m; undo takes it back");
    terminal.sees("ana> ");
    terminal.type_line("undo");
    terminal.sees("draft 1");
    terminal.sees("ana> ");
    terminal.type_line("@bob on purpose");
    terminal.sees("undo takes it back");
    terminal.sees("ana> ");
    terminal.type_line("quit");
    terminal.sees("sent to bob: 1");
    assert_eq!(terminal.ends().code(), Some(0));
    assert_eq!(bodies(&bob), ["on purpose"]);
}

#[test]
fn drafts_are_kept_shown_edited_and_sent() {
    let (_server, _folder, ana, bob) = world();
    ana.ok(&["send", "bob", "-s", "lunch", "-b", "12:30?", "--draft"]);
    ana.ok(&["send", "bob", "-b", "no", "--draft"]);
    assert!(ana.ok(&["draft"]).out.contains("lunch"));
    let shown = ana.ok(&["draft", "open", "1"]).out;
    assert_eq!(shown, "1  draft  ana to bob: lunch\n    12:30?\n");
    let mut command = ana.command(&["draft", "edit", "1"]);
    command.env("EDITOR", "sh -c 'echo 13:00 > \"$1\"' sh");
    assert!(command.output().expect("it ends").status.success());
    ana.ok(&["draft", "rm", "2"]);
    assert_eq!(ana.ok(&["draft", "send", "1"]).out, "sent to bob: 1\n");
    assert_eq!(ana.run(&["draft", "send", "1"]).code, 65);
    assert_eq!(bodies(&bob), ["13:00\n"]);
    assert!(ana.ok(&["draft", "--json"]).objects().is_empty());
}

#[test]
fn who_asks_is_told_that_it_was_read_where_the_reader_allows_it() {
    let (_server, _folder, ana, bob) = world();
    ana.ok(&["send", "bob", "-b", "one", "--receipt"]);
    bob.ok(&["refresh"]);
    assert!(
        bodies(&ana).is_empty(),
        "nobody is told unless he allows it"
    );
    assert_eq!(
        bob.ok(&["receipts", "--json"]).objects()[0]["receipts"],
        "off"
    );
    bob.ok(&["receipts", "on"]);
    ana.ok(&["receipts", "on"]);
    ana.ok(&["send", "bob", "-b", "two", "--receipt"]);
    ana.ok(&["send", "bob", "-b", "three"]);
    let run = bob.ok(&["refresh"]);
    assert!(
        run.err.contains("told ana that you have read it"),
        "{}",
        run.err
    );
    let told = ana.ok(&["refresh", "--no-ack", "--json"]).objects();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["content_type"], "message/disposition-notification");
    assert_eq!(told[0]["in_reply_to"], 2);
    assert!(
        told[0]["body"]
            .as_str()
            .expect("text")
            .contains("; displayed")
    );
    let shown = ana.ok(&["refresh"]).out;
    let line = shown.lines().last().expect("a line");
    assert!(
        line.starts_with("4  read by bob ") && line.ends_with(" (re 2)"),
        "{shown}"
    );
    // No loop: what tells that something was read is not told to be read.
    assert!(bodies(&bob).is_empty());
    bob.ok(&["receipts", "ask"]);
    ana.ok(&["send", "bob", "-b", "four", "--receipt"]);
    bob.ok(&["refresh"]);
    assert!(bodies(&ana).is_empty(), "nobody was there to be asked");
}
