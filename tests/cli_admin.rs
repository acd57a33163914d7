//! `mailctl admin` as people and scripts use it: roles, confirmation, cutting off, the audit.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::ctl::Ctl;
use common::eventually;
use common::server::Server;
use common::terminal::Terminal;
use serde_json::Value;

struct World {
    server: Server,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            server: Server::start(),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn home(&self, name: &str) -> Ctl {
        let ctl = Ctl::new(&self.server, &self.folder.path().join(name));
        ctl.ok(&["login", name]);
        ctl
    }

    /// A home that knows the server by its address only: no `admin.key` lies beside it.
    fn far(&self, name: &str) -> Ctl {
        let url = self.folder.path().join("server.url");
        std::fs::write(&url, self.server.url().to_string()).expect("written");
        let ctl = Ctl::new(&self.server, &self.folder.path().join(name)).at(&url);
        ctl.ok(&["login", name]);
        ctl
    }
}

fn fails(ctl: &Ctl, args: &[&str], code: i32) -> String {
    let run = ctl.run(args);
    assert_eq!(run.code, code, "{args:?}: {} {}", run.out, run.err);
    run.err
}

fn rows(ctl: &Ctl, args: &[&str]) -> Vec<Value> {
    let mut words = vec!["--json"];
    words.extend(args);
    ctl.ok(&words).objects()
}

#[test]
fn a_role_lets_its_user_look_or_touch_from_anywhere() {
    let world = World::new();
    let root = world.home("root");
    let ana = world.far("ana");
    fails(&ana, &["admin", "user", "ls"], 77);
    root.ok(&["admin", "user", "role", "ana", "operator"]);
    ana.ok(&["admin", "user", "ls"]);
    let told = fails(&ana, &["admin", "topic", "create", "news"], 77);
    assert!(
        told.contains("an operator looks and touches nothing"),
        "{told}"
    );
    root.ok(&["admin", "user", "role", "ana", "admin"]);
    ana.ok(&["admin", "topic", "create", "news"]);
    let audit = rows(&ana, &["admin", "audit"]);
    let by: Vec<&Value> = audit.iter().map(|row| &row["by"]).collect();
    assert_eq!(by, [&Value::Null, &Value::Null, &"ana".into()]);
}

#[test]
fn what_destroys_something_wants_its_name_or_a_yes() {
    let world = World::new();
    let ana = world.home("ana");
    world.home("bob");
    ana.ok(&["send", "bob", "-b", "hello"]);
    let told = fails(&ana, &["admin", "user", "rm", "bob"], 64);
    assert!(told.contains("1 mail, 5 bytes, 1 device"), "{told}");
    let counted = &rows(&ana, &["admin", "user", "rm", "bob", "--dry-run"])[0];
    assert_eq!(
        (&counted["mails"], &counted["dry_run"]),
        (&1.into(), &true.into())
    );
    let mut screen = Terminal::start(ana.command(&["admin", "user", "rm", "bob"]));
    screen.sees("To do it, type bob:");
    screen.type_line("bbo");
    screen.sees("nothing was done");
    assert_eq!(screen.ends().code(), Some(64));
    let mut screen = Terminal::start(ana.command(&["admin", "user", "rm", "bob"]));
    screen.sees("To do it, type bob:");
    screen.type_line("bob");
    screen.sees("removed bob: 1 mail, 5 bytes");
    assert_eq!(screen.ends().code(), Some(0));
    let audit = rows(&ana, &["admin", "audit"]);
    assert_eq!(audit.len(), 1, "{audit:?}");
    assert_eq!(audit[0]["counts"]["mails"], 1);
}

#[test]
fn a_user_who_is_added_joins_with_the_url_that_was_printed() {
    let world = World::new();
    let ana = world.home("ana");
    let added = &rows(&ana, &["admin", "user", "add", "eve"])[0];
    ana.ok(&["send", "eve", "-b", "welcome"]);
    let eve = Ctl::new(&world.server, &world.folder.path().join("eve"));
    eve.ok(&["join", added["url"].as_str().expect("a URL")]);
    let mail = rows(&eve, &["refresh"]);
    assert_eq!(mail[0]["body"], "welcome", "it waited for her");
}

#[test]
fn a_kick_ends_a_watch_and_a_send_says_why() {
    let world = World::new();
    let (ana, bob) = (world.home("ana"), world.home("bob"));
    let mut watch = bob.spawn(&["--json", "watch"]);
    eventually("bob is there", || {
        let sessions = rows(&ana, &["admin", "session", "ls"]);
        sessions
            .iter()
            .any(|row| row["user"] == "bob")
            .then_some(())
    });
    ana.ok(&["admin", "session", "kick", "bob"]);
    let ended = watch.wait().expect("it ends");
    assert_eq!(ended.code(), Some(77), "and is not left to hang");
    let told = fails(&bob, &["send", "ana", "-b", "x"], 77);
    assert!(
        told.contains("an administrator ended bob's sessions"),
        "{told}"
    );
    ana.ok(&["admin", "user", "enable", "bob"]);
    bob.ok(&["send", "ana", "-b", "x"]);
    ana.ok(&["admin", "user", "disable", "bob"]);
    let told = fails(&bob, &["refresh"], 77);
    assert!(told.contains("an administrator disabled bob"), "{told}");
}

#[test]
fn the_audit_is_followed_through_a_restart() {
    let mut world = World::new();
    let ana = world.home("ana");
    let mut command = ana.command(&["--json", "admin", "audit", "--follow"]);
    let mut follow = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    ana.ok(&["admin", "topic", "create", "one"]);
    assert_eq!(next()["address"], "one");
    world.server.kill9();
    world.server.restart();
    ana.ok(&["admin", "topic", "create", "two"]);
    let row = next();
    assert_eq!(
        (&row["address"], &row["number"]),
        (&"two".into(), &2.into())
    );
    follow.kill().and_then(|()| follow.wait()).expect("it ends");
}

#[test]
fn queues_are_listed_worst_first_and_purged_with_a_count() {
    let world = World::new();
    let (ana, bob) = (world.home("ana"), world.home("bob"));
    bob.ok(&["topic", "join", "news"]);
    ana.ok(&["send", "news", "-b", "a long text for many"]);
    for _ in 0..2 {
        ana.ok(&["send", "bob", "-b", "x"]);
    }
    let sorted = |by: &str| -> Vec<String> {
        let listed = rows(
            &ana,
            &["admin", "queue", "ls", "--sort", by, "--least", "1"],
        );
        let name = |row: &Value| row["address"].as_str().expect("a name").to_owned();
        listed.iter().map(name).collect()
    };
    assert_eq!(sorted("waiting"), ["bob", "news"]);
    assert_eq!(sorted("bytes"), ["news", "bob"]);
    assert_eq!(sorted("age"), ["news", "bob"]);
    let of_ana = rows(
        &ana,
        &["admin", "queue", "ls", "--user", "@ana", "--prefix", "a"],
    );
    assert_eq!(of_ana.len(), 1);
    let told = fails(&ana, &["admin", "queue", "purge", "bob"], 64);
    assert!(told.contains("2 mails, 2 bytes"), "{told}");
    let done = ana.ok(&["admin", "queue", "purge", "bob", "--yes"]).out;
    assert_eq!(done, "purged bob: 2 mails, 2 bytes\n");
    let seen = rows(&bob, &["refresh"]);
    let gone = seen
        .iter()
        .find(|row| row["kind"] == "trimmed")
        .expect("told");
    assert_eq!(
        (&gone["address"], &gone["count"]),
        (&"bob".into(), &2.into())
    );
    assert_eq!(seen.iter().filter(|row| row["kind"] == "mail").count(), 1);
}

#[test]
fn who_looks_at_a_body_is_written_down_and_the_addressee_is_told() {
    let world = World::new();
    let (root, ana, bob) = (world.home("root"), world.far("ana"), world.home("bob"));
    root.ok(&["admin", "user", "role", "ana", "operator"]);
    root.ok(&["send", "bob", "-s", "one", "-b", "\u{1b}[31mred"]);
    let large = "0123456789".repeat(20_000);
    let file = world.folder.path().join("large");
    std::fs::write(&file, &large).expect("written");
    root.ok(&["send", "bob", "-f", &file.display().to_string()]);
    fails(&ana, &["admin", "queue", "peek", "bob", "--body"], 77);
    fails(&ana, &["admin", "queue", "peek", "bob", "--id", "1"], 64);
    root.ok(&["admin", "user", "role", "ana", "admin"]);
    let seen = ana.ok(&["admin", "queue", "peek", "bob", "--body", "--id", "1"]);
    assert!(
        seen.out.contains("root to bob: one\n    ␛[31mred\n"),
        "{}",
        seen.out
    );
    assert!(seen.err.contains("bob is told by a mail"), "{}", seen.err);
    let peeked = rows(&ana, &["admin", "queue", "peek", "bob", "--body"]);
    assert_eq!(peeked.len(), 3, "two mails, and word of the first look");
    assert_eq!(peeked[0]["body"], "\u{1b}[31mred");
    assert_eq!(peeked[1]["body"], large.as_str(), "whole");
    let notes: Vec<Value> = rows(&root, &["admin", "audit"])
        .into_iter()
        .filter(|row| row["what"] == "queue_peek")
        .map(|row| row["note"].clone())
        .collect();
    assert_eq!(notes, ["bodies of 1", "bodies of 1, 2, 3"]);
    let told = rows(&bob, &["refresh"]);
    let of_server: Vec<&str> = told
        .iter()
        .filter(|row| row["from"] == "*server*")
        .filter_map(|row| row["body"].as_str())
        .collect();
    assert_eq!(of_server.len(), 2, "{told:?}");
    assert!(
        of_server[0].starts_with("ana, an administrator of this server, looked at"),
        "{of_server:?}"
    );
    let id = told.last().expect("rows")["id"].to_string();
    let answered = bob.run(&["reply", &id, "-b", "why?"]);
    assert_eq!(answered.code, 65, "{}", answered.err);
}

#[test]
fn each_copy_of_a_mail_is_explained_with_those_who_read_it() {
    let world = World::new();
    let (ana, bob) = (world.home("ana"), world.home("bob"));
    bob.ok(&["topic", "join", "news"]);
    let sent = ana.ok(&["--json", "send", "ana", "bob", "news", "-b", "x"]);
    let id = sent.objects()[0]["id"].to_string();
    let told = ana.ok(&["admin", "explain", &id]).out;
    let of = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["mail", _, "of", "ana", "to", to, ..] => to.to_owned(),
            [reader, "on", "device", ..] => format!("  {reader}"),
            _ => line.to_owned(),
        }
    };
    let lines: Vec<String> = told.lines().map(of).collect();
    assert_eq!(
        lines,
        ["ana,", "  ana", "bob,", "  bob", "news,", "  bob"],
        "{told}"
    );
}

#[test]
fn a_mail_is_explained_until_nothing_is_known_of_it() {
    let world = World::new();
    let (ana, bob) = (world.home("ana"), world.home("bob"));
    let sent = ana.run(&["--json", "send", "bob", "nobody", "-b", "x"]);
    assert_eq!(sent.code, 67);
    let id = sent.objects()[0]["id"].to_string();
    let told = ana.ok(&["admin", "explain", &id]).out;
    let lines: Vec<&str> = told.lines().collect();
    assert!(
        lines[0].starts_with(&format!("mail {id} of ana to bob, accepted ")),
        "{told}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("  bob on device 2 (") && line.contains("): it waits")),
        "{told}"
    );
    assert!(told.contains("no copy at nobody: refused"), "{told}");
    let why = ana.ok(&["admin", "explain", &id, "--for", "ana"]).out;
    assert!(
        why.contains("ana does not get it: it was not sent to that user"),
        "{why}"
    );
    ana.ok(&["admin", "queue", "purge", "bob", "--yes"]);
    let told = ana.ok(&["admin", "explain", &id]).out;
    assert!(told.contains("no mail of this number is kept"), "{told}");
    assert!(
        told.contains("may have taken it: queue_purge of bob, "),
        "{told}"
    );
    assert!(told.contains("line 1 of the audit"), "{told}");
    let never = ana.ok(&["admin", "explain", "999999"]).out;
    assert_eq!(never, "999999: no such number was given out yet\n");
    drop(bob);
}

#[test]
fn what_waits_for_who_left_goes_to_who_took_over() {
    let world = World::new();
    let (root, ana, bob) = (world.home("root"), world.home("ana"), world.home("bob"));
    let both = root.run(&["--json", "send", "ana", "bob", "-b", "to both"]);
    assert_eq!(both.code, 0);
    root.ok(&["send", "ana", "-s", "for ana", "-b", "alone"]);
    assert!(bob.ok(&["refresh"]).out.contains("to both"));
    let told = fails(&root, &["admin", "queue", "move", "ana", "bob"], 64);
    assert!(
        told.contains("this would move: 2 mails, 12 bytes"),
        "{told}"
    );
    let counted = root
        .ok(&["admin", "queue", "move", "ana", "bob", "--dry-run"])
        .out;
    assert_eq!(counted, "would move: 2 mails, 12 bytes\n");
    let mut screen = Terminal::start(root.command(&["admin", "queue", "move", "@ana", "@bob"]));
    screen.sees("bob reads this from now on: 2 mails");
    screen.type_line("ana");
    screen.sees("moved what waited for ana to bob: 2 mails, 12 bytes");
    assert_eq!(screen.ends().code(), Some(0));
    let seen = bob.ok(&["refresh"]).out;
    assert!(
        seen.contains("Mail of somebody else comes to you"),
        "{seen}"
    );
    assert!(
        seen.contains("root to bob (also to ana): for ana\n    alone\n"),
        "{seen}"
    );
    assert!(!seen.contains("to both"), "he has that one: {seen}");
    let told = rows(&ana, &["refresh"]);
    let gone = told
        .iter()
        .find(|row| row["kind"] == "trimmed")
        .expect("told");
    assert_eq!(gone["count"], 2);
    let mail = told.iter().find(|row| row["kind"] == "mail").expect("told");
    assert!(
        mail["body"]
            .as_str()
            .expect("text")
            .contains("moved what waited for you to bob: 2 mails")
    );
    let again = root
        .ok(&["admin", "queue", "move", "ana", "bob", "--yes"])
        .out;
    assert_eq!(
        again,
        "moved what waited for ana to bob: 0 mails, 0 bytes\n"
    );
    fails(
        &root,
        &["admin", "queue", "move", "ana", "nobody", "--yes"],
        67,
    );
    let told = fails(
        &root,
        &["admin", "queue", "move", "ana", "ana", "--yes"],
        65,
    );
    assert!(told.contains("is there already"), "{told}");
}

#[test]
fn rights_of_a_topic_are_granted_shown_and_taken_back() {
    let world = World::new();
    let (ana, bob) = (world.home("ana"), world.home("bob"));
    bob.ok(&["topic", "join", "news"]);
    let done = ana
        .ok(&["admin", "topic", "grant", "news", "send", "@ana"])
        .out;
    assert_eq!(done, "granted at news: 0 readers more, 0 readers less\n");
    let told = fails(&bob, &["send", "news", "-b", "x"], 77);
    assert!(told.contains("you may not send to news"), "{told}");
    let done = ana
        .ok(&["admin", "topic", "grant", "news", "read", "ana"])
        .out;
    assert_eq!(done, "granted at news: 0 readers more, 1 reader less\n");
    assert!(rows(&bob, &["topic", "ls"]).is_empty());
    fails(&bob, &["history", "news"], 77);
    ana.ok(&["admin", "topic", "grant", "home/{user}/*", "read"]);
    fails(&bob, &["topic", "join", "home/ana/x"], 77);
    bob.ok(&["topic", "join", "home/bob/x"]);
    let shown = &rows(&ana, &["admin", "topic", "show", "news"])[0];
    assert_eq!(shown["read"], serde_json::json!(["news: ana"]));
    ana.ok(&["admin", "topic", "revoke", "news", "read", "ana"]);
    let topics = rows(&bob, &["topic", "ls"]);
    assert_eq!(topics.len(), 2, "{topics:?}");
    fails(
        &ana,
        &["admin", "topic", "revoke", "news", "read", "ana"],
        67,
    );
}

#[test]
fn a_check_says_it_in_the_form_and_by_the_codes_of_who_watches() {
    let mut world = World::new();
    let (ana, _bob) = (world.home("ana"), world.home("bob"));
    for _ in 0..3 {
        ana.ok(&["send", "bob", "-b", "x"]);
    }
    let check = |words: &[&str]| {
        let run = ana.run(&[&["admin", "check"], words].concat());
        (run.code, run.out)
    };
    let (code, line) = check(&[
        "queue",
        "--warn",
        "4",
        "--critical",
        "9",
        "--format",
        "nagios",
    ]);
    assert_eq!(code, 0);
    assert_eq!(
        line,
        "OK - 3 mails wait at most at bob for device 2 | queue=3;4;9;0\n"
    );
    assert_eq!(check(&["queue", "--warn", "3", "--critical", "9"]).0, 1);
    assert_eq!(
        check(&["queue", "bob", "--warn", "1", "--critical", "3"]).0,
        2
    );
    assert_eq!(
        check(&["queue", "ana", "--warn", "1", "--critical", "3"]).0,
        0
    );
    let (code, text) = check(&["queue", "--critical", "3", "--format", "prometheus"]);
    assert_eq!(code, 2);
    assert!(
        text.contains("mailserver_check_state{check=\"queue\"} 2\n"),
        "{text}"
    );
    assert!(
        text.contains("mailserver_check_value{check=\"queue\"} 3\n"),
        "{text}"
    );
    assert_eq!(
        check(&["queue", "--age", "--warn", "3600", "--critical", "7200"]).0,
        0
    );
    assert_eq!(check(&["disk"]).0, 0);
    let (code, line) = check(&[
        "disk",
        "--warn",
        "9000000T",
        "--critical",
        "1",
        "--format",
        "nagios",
    ]);
    assert_eq!(code, 1, "{line}");
    assert!(
        line.starts_with("WARNING - ") && line.ends_with("B;9000000000000000001:;2:;0\n"),
        "{line}"
    );
    assert_eq!(check(&["disk", "--critical", "9000000T"]).0, 2);
    assert_eq!(
        check(&["store", "--warn", "60000", "--critical", "90000"]).0,
        0
    );
    let (code, text) = check(&["leases", "--format", "json"]);
    assert_eq!(code, 0);
    let object: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&object["check"], &object["unit"]),
        (&"leases".into(), &"%".into())
    );
    // Not a clean stop: that takes the server's file away, and then nobody waits.
    world.server.kill9();
    let begun = common::now();
    fails(&ana, &["admin", "user", "ls"], 69);
    let waited = begun.elapsed();
    assert!(
        waited.as_secs_f64() < 8.0,
        "docs/cli.md says 3 s: {waited:?}"
    );
    let words = [
        "--timeout",
        "1",
        "admin",
        "check",
        "queue",
        "--format",
        "nagios",
    ];
    let run = ana.run(&words);
    assert_eq!(run.code, 3, "{}", run.err);
    assert!(run.out.starts_with("UNKNOWN - "), "{}", run.out);
}
