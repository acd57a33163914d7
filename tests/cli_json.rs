//! `--json`, verb by verb: what is really printed, when it goes well and when it does not, fits the schema
//! that `mailctl json-schema` gives out, closed to what does not stand in it.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Output, Stdio};

use common::ctl::{Ctl, Run};
use common::schema::misfit;
use common::server::Server;
use correio::cli::schema::{self, Row, VERBS};
use serde_json::Value;

/// Verbs that were held to their schemas.
#[derive(Default)]
struct Held {
    well: BTreeSet<&'static str>,
    badly: BTreeSet<&'static str>,
}

/// Returns the row of the verb that a command line runs.
fn row_of(args: &[&str]) -> &'static Row {
    let line = args.join(" ") + " ";
    let fits = |verb: &str| line.starts_with(&format!("{verb} "));
    let fitting = VERBS.iter().filter(|row| {
        let alone = row.verb.strip_suffix(" ls").unwrap_or(row.verb);
        fits(row.verb) || (line.trim() == alone)
    });
    let longest = fitting.max_by_key(|row| row.verb.len());
    longest.unwrap_or_else(|| panic!("no schema for {line}"))
}

impl Held {
    fn hold(&mut self, args: &[&str], run: &Run) {
        let row = row_of(args);
        let schema = schema::of(row, true);
        for line in run.out.lines().chain(run.err.lines()) {
            let value: Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("{args:?}: not JSON: {line}"));
            if let Some(misfit) = misfit(&schema, &value) {
                panic!("{args:?}: {line}\n{misfit}");
            }
        }
        if run.code == 0 {
            assert!(!run.out.is_empty(), "{args:?} says nothing: {run:?}");
            self.well.insert(row.verb);
        } else {
            // What doctor finds are results.
            let is_told = !run.err.is_empty() || row.verb == "doctor";
            assert!(is_told, "{args:?} says no error: {run:?}");
            self.badly.insert(row.verb);
        }
    }

    fn run(&mut self, ctl: &Ctl, args: &[&str]) -> Vec<Value> {
        let run = ctl.run(&[&["--json"], args].concat());
        self.hold(args, &run);
        run.objects()
    }

    fn well(&mut self, ctl: &Ctl, args: &[&str]) -> Vec<Value> {
        let run = ctl.ok(&[&["--json"], args].concat());
        self.hold(args, &run);
        run.objects()
    }
}

fn text_of(row: &Value, field: &str) -> String {
    row[field].as_str().expect("text").to_owned()
}

/// The number of a mail that is still there.
fn id_of(rows: &[Value]) -> String {
    let plain = rows.iter().find(|row| row.get("attachments").is_none());
    plain.expect("a mail without files")["id"].to_string()
}

fn drafts(held: &mut Held, bob: &Ctl) {
    let draft = ["send", "ana", "-b", "x", "--draft"];
    let first = held.well(bob, &draft)[0]["entry"].to_string();
    let second = held.well(bob, &draft)[0]["entry"].to_string();
    held.well(bob, &["draft"]);
    held.well(bob, &["draft", "open", &first]);
    let edit = ["draft", "edit", &first];
    let mut command = bob.command(&["draft", "edit", &first, "--json"]);
    let edited = command
        .env("VISUAL", "true")
        .env("PATH", "/usr/bin:/bin")
        .output();
    held.hold(&edit, &Run::from(edited.expect("mailctl starts")));
    held.well(bob, &["draft", "send", &first]);
    held.well(bob, &["draft", "rm", &second]);
}

/// A send that is held back, one that waits for its time, and their end.
fn held_back(held: &mut Held, bob: &Ctl) {
    let holds = ["send", "ana", "-b", "x", "--undo", "1h"];
    let mut waits = bob.spawn(&[&holds[..], &["--json"]].concat());
    let mut words = BufReader::new(waits.stderr.take().expect("a pipe"));
    let mut word = String::new();
    words.read_line(&mut word).expect("it says that it waits");
    held.well(bob, &["outbox"]);
    held.well(bob, &["undo"]);
    words.read_to_string(&mut word).expect("words");
    let ended = waits.wait_with_output().expect("it ends");
    let stderr = word.into_bytes();
    held.hold(&holds, &Run::from(Output { stderr, ..ended }));
    let later = ["send", "ana", "-b", "x", "--at", "2040-01-01 00:00"];
    let entry = held.well(bob, &later)[0]["entry"].to_string();
    held.well(bob, &["outbox", "ls"]);
    held.well(bob, &["outbox", "rm", &entry]);
}

/// Out of the mailbox and back into it, and what is imported.
fn copies(held: &mut Held, bob: &Ctl, folder: &Path) {
    let mbox = folder.join("bob.mbox").display().to_string();
    held.well(bob, &["export", "mbox", &mbox]);
    held.run(bob, &["export", "mbox", &mbox]);
    let letter = folder.join("letter.mbox");
    let text = "From x Thu Jan  1 00:00:00 1970\nFrom: eve@example.org\nTo: bob\nSubject: from afar\n\nhi\n";
    std::fs::write(&letter, text).expect("a file");
    held.well(bob, &["import", "mbox", letter.to_str().expect("text")]);
    let found = held.well(bob, &["search", "afar"]);
    let id = text_of(&found[0], "id");
    held.well(bob, &["read", &id]);
    held.well(bob, &["rm", &id]);
    held.well(bob, &["undo"]);
}

fn sendmail(held: &mut Held, ana: &Ctl) {
    let args = ["sendmail", "bob"];
    let mut command = ana.command(&["--json", "sendmail", "bob"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .expect("mailctl starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(b"Subject: from cron\n\ndone\n")
        .expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    held.hold(&args, &Run::from(output));
}

/// People, devices and keys.
fn people(held: &mut Held, ana: &Ctl, bob: &Ctl, phone: &Ctl, folder: &Path) {
    held.well(ana, &["who"]);
    held.well(ana, &["who", "bob"]);
    held.run(ana, &["who", "nobody-there"]);
    held.well(bob, &["who", "--hide"]);
    held.well(bob, &["who", "--show"]);
    let code = held.well(bob, &["invite", "--device"]);
    held.well(phone, &["join", &text_of(&code[0], "url"), "bob"]);
    let devices = held.well(bob, &["device"]);
    let other = devices.iter().find(|row| row["this"] == false);
    let number = other.expect("the second device")["device"].to_string();
    held.well(bob, &["device", "rename", &number, "old phone"]);
    held.well(bob, &["device", "rm", &number, "--yes"]);
    held.well(ana, &["invite", "dora"]);
    let open = held.well(ana, &["invite", "ls"]);
    held.well(ana, &["invite", "rm", &text_of(&open[0], "id")]);
    held.well(bob, &["key", "show"]);
    held.well(bob, &["key", "rotate"]);
    let file = folder.join("passphrase");
    std::fs::write(&file, "correct horse battery\n").expect("a file");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&file, private).expect("its own file");
    let file = file.to_str().expect("text");
    held.well(bob, &["key", "protect", "--new-passphrase-file", file]);
    held.run(bob, &["whoami"]);
    held.run(bob, &["doctor"]);
    held.well(bob, &["key", "unprotect", "--passphrase-file", file]);
}

/// Two programs in a chat: what each said.
fn chat(held: &mut Held, ana: &Ctl, bob: &Ctl) {
    let start = |ctl: &Ctl, args: &[&str]| -> Child {
        let mut command = ctl.command(&[args, &["--json"]].concat());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
            .stderr(Stdio::piped())
            .spawn()
            .expect("mailctl starts")
    };
    let asks = ["chat", "bob"];
    let mut one = start(ana, &asks);
    let mut said = BufReader::new(one.stdout.take().expect("a pipe"));
    let mut first = String::new();
    said.read_line(&mut first).expect("a line");
    held.well(bob, &["chat", "requests"]);
    let accepts = ["chat", "accept"];
    let mut other = start(bob, &accepts);
    // The end of stdin is a bye.
    drop(other.stdin.take());
    let output = other.wait_with_output().expect("it ends");
    held.hold(&accepts, &Run::from(output));
    drop(one.stdin.take());
    held.hold(&asks, &ended(one, said, first));
}

/// Waits for the end of a chat whose first words were read already.
fn ended(one: Child, mut said: BufReader<ChildStdout>, mut words: String) -> Run {
    said.read_to_string(&mut words).expect("lines");
    let ended = one.wait_with_output().expect("it ends");
    Run::from(Output {
        stdout: words.into_bytes(),
        ..ended
    })
}

fn declined(held: &mut Held, ana: &Ctl, bob: &Ctl) {
    let asks = ["chat", "bob"];
    let mut one = ana.spawn(&["chat", "bob", "--json"]);
    let mut said = BufReader::new(one.stdout.take().expect("a pipe"));
    let mut first = String::new();
    said.read_line(&mut first).expect("a line");
    held.well(bob, &["refresh", "--no-ack"]);
    held.well(bob, &["chat", "decline", "ana"]);
    held.hold(&asks, &ended(one, said, first));
}

fn watch(held: &mut Held, ana: &Ctl, bob: &Ctl) {
    let mut watch = bob.spawn(&["watch", "--json"]);
    let mut words = BufReader::new(watch.stderr.take().expect("a pipe"));
    let mut word = String::new();
    words.read_line(&mut word).expect("it says that it watches");
    held.well(ana, &["admin", "session", "ls"]);
    held.well(ana, &["send", "bob", "-b", "live"]);
    let mut line = String::new();
    let mut heard = BufReader::new(watch.stdout.take().expect("a pipe"));
    heard.read_line(&mut line).expect("the mail");
    let leases = held.well(ana, &["admin", "lease", "ls"]);
    let is_bobs = |row: &&Value| row["user"] == "bob";
    let port = leases.iter().find(is_bobs).expect("a port")["port"].to_string();
    held.well(ana, &["admin", "lease", "release", &port]);
    watch.kill().expect("it runs");
    watch.wait().expect("it ends");
    let run = Run {
        code: 0,
        out: line,
        err: word,
    };
    held.hold(&["watch"], &run);
}

fn mails(held: &mut Held, ana: &Ctl, bob: &Ctl, folder: &Path) {
    let file = folder.join("notes.txt");
    std::fs::write(&file, "one\n").expect("a file");
    held.well(bob, &["topic", "join", "news"]);
    held.well(bob, &["topic", "ls"]);
    held.well(bob, &["topic", "info", "news"]);
    held.well(ana, &["send", "bob", "news", "-b", "hello", "--ttl", "1h"]);
    held.well(
        ana,
        &["send", "bob", "-b", "x", "-a", file.to_str().expect("text")],
    );
    held.run(ana, &["send", "bob", "nobody-there", "-b", "x"]);
    held.well(ana, &["admin", "queue", "ls"]);
    held.well(ana, &["admin", "queue", "show", "bob"]);
    held.well(ana, &["admin", "queue", "peek", "bob"]);
    held.well(ana, &["admin", "queue", "peek", "bob", "--body"]);
    held.well(ana, &["admin", "explain", "1"]);
    held.well(ana, &["admin", "explain", "1", "--for", "bob"]);
    held.well(ana, &["admin", "explain", "999999"]);
    held.well(
        ana,
        &["admin", "queue", "ls", "--sort", "age", "--least", "1"],
    );
    held.well(bob, &["status"]);
    let rows = held.well(bob, &["refresh"]);
    let attached = rows.iter().find(|row| row.get("attachments").is_some());
    let id = attached.expect("the mail with a file")["id"].to_string();
    held.well(bob, &["read", &id]);
    held.well(bob, &["save", &id, "--dir", folder.to_str().expect("text")]);
    held.well(bob, &["rm", &id]);
    held.well(bob, &["undo"]);
    held.well(bob, &["rm", &id, "--purge", "--yes"]);
    held.well(bob, &["history", "news"]);
    held.well(bob, &["mute", "news"]);
    held.well(bob, &["mute"]);
    held.well(bob, &["unmute", "news"]);
    held.well(bob, &["topic", "leave", "news"]);
    held.well(bob, &["reply", &id_of(&rows), "-b", "yes"]);
    held.well(bob, &["forward", &id_of(&rows), "ana", "-b", "see"]);
    held.well(bob, &["receipts"]);
    held.well(bob, &["search", "hello"]);
    held.well(bob, &["status", "--offline"]);
    drafts(held, bob);
    held_back(held, bob);
    copies(held, bob, folder);
    sendmail(held, ana);
    held.well(bob, &["block", "ana"]);
    held.well(bob, &["block"]);
    held.well(bob, &["unblock", "ana"]);
}

fn around(held: &mut Held, ana: &Ctl, folder: &Path) {
    held.well(ana, &["whoami"]);
    held.well(ana, &["use", "ana"]);
    held.well(ana, &["doctor"]);
    held.well(ana, &["errors"]);
    held.well(ana, &["errors", "in_doubt"]);
    held.well(ana, &["context"]);
    held.well(ana, &["context", "add", "home", "ana"]);
    held.well(ana, &["context", "use", "home"]);
    held.well(ana, &["context", "show"]);
    held.well(ana, &["context", "rm", "home"]);
    held.well(ana, &["completions", "bash"]);
    held.well(ana, &["man"]);
    held.well(ana, &["man", folder.join("man").to_str().expect("text")]);
    held.well(ana, &["json-schema"]);
    held.well(ana, &["json-schema", "outbox"]);
    held.well(
        ana,
        &[
            "json-schema",
            folder.join("schemas/").to_str().expect("text"),
        ],
    );
}

fn admin(held: &mut Held, ana: &Ctl) {
    held.well(ana, &["admin", "user", "ls"]);
    held.well(ana, &["admin", "user", "show", "bob"]);
    held.well(ana, &["admin", "user", "add", "eve"]);
    held.well(ana, &["admin", "user", "disable", "bob"]);
    held.well(ana, &["admin", "user", "enable", "bob"]);
    held.well(ana, &["admin", "user", "role", "bob", "operator"]);
    held.well(ana, &["admin", "user", "quota", "bob", "--mails", "9"]);
    let keys = held.well(ana, &["admin", "user", "key", "ls", "bob"]);
    let device = keys[0]["device"].to_string();
    let revoke = [
        "admin",
        "user",
        "key",
        "revoke",
        "bob",
        &device,
        "--dry-run",
    ];
    held.well(ana, &revoke);
    held.well(
        ana,
        &["admin", "user", "key", "revoke", "bob", &device, "--yes"],
    );
    held.well(ana, &["admin", "queue", "move", "bob", "ana", "--dry-run"]);
    held.well(ana, &["admin", "queue", "move", "bob", "ana", "--yes"]);
    held.well(ana, &["admin", "queue", "purge", "bob", "--dry-run"]);
    held.well(ana, &["admin", "queue", "purge", "bob", "--yes"]);
    held.well(ana, &["admin", "session", "kick", "bob", "--for", "0"]);
    held.well(ana, &["admin", "user", "rm", "bob", "--dry-run"]);
    held.well(ana, &["admin", "user", "rm", "bob", "--yes"]);
    held.well(ana, &["admin", "user", "ls"]);
    held.well(ana, &["admin", "user", "free", "bob"]);
    held.well(ana, &["admin", "topic", "create", "lab/a"]);
    held.well(ana, &["admin", "topic", "ls"]);
    let queues = held.well(ana, &["admin", "queue", "show", "ana"]);
    let device = queues[0]["device"].to_string();
    let release = ["admin", "queue", "release", "ana", &device, "--yes"];
    held.well(ana, &release);
    held.well(ana, &["admin", "topic", "grant", "lab/a", "read", "ana"]);
    held.well(
        ana,
        &[
            "admin",
            "topic",
            "retention",
            "lab/a",
            "--mails",
            "7",
            "--age",
            "1day",
        ],
    );
    held.well(ana, &["admin", "topic", "show", "lab/a"]);
    held.well(ana, &["admin", "topic", "revoke", "lab/a", "read", "ana"]);
    held.well(ana, &["admin", "topic", "rm", "lab/a", "--yes"]);
    held.well(ana, &["admin", "lease", "ls"]);
    for what in ["queue", "disk", "store", "leases"] {
        let over = "99999999";
        held.well(
            ana,
            &["admin", "check", what, "--warn", over, "--critical", over],
        );
    }
    held.well(ana, &["admin", "audit"]);
    for id in 1..30 {
        held.well(ana, &["admin", "explain", &id.to_string()]);
    }
    held.well(ana, &["admin", "stats"]);
    let file = ana.home().with_file_name("server.backup");
    held.well(ana, &["admin", "backup", &file.display().to_string()]);
}

/// The server is gone: drafts, and nobody to ask.
fn without_a_server(held: &mut Held, server: &mut Server, ana: &Ctl) {
    server.terminate();
    held.run(ana, &["send", "ana", "-b", "later"]);
    let entry = held.well(ana, &["outbox"])[0]["entry"].to_string();
    held.run(ana, &["outbox", "retry"]);
    held.well(ana, &["whoami"]);
    held.run(ana, &["doctor"]);
    server.restart();
    held.well(ana, &["outbox", "retry", &entry]);
    server.terminate();
    held.run(ana, &["send", "ana", "-b", "never"]);
    let entry = held.well(ana, &["outbox", "ls"])[0]["entry"].to_string();
    held.well(ana, &["outbox", "rm", &entry]);
    server.restart();
}

#[test]
fn what_every_verb_prints_fits_its_schema() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| Ctl::new(&server, &folder.path().join(name));
    let [ana, bob, carol, phone] = ["ana", "bob", "carol", "phone"].map(at);
    let nobody = at("nobody");
    let mut held = Held::default();
    held.well(&ana, &["login", "ana", "--topic", "lab/*"]);
    held.well(&bob, &["login", "bob"]);
    let invited = held.well(&ana, &["invite", "carol"]);
    held.well(&carol, &["join", &text_of(&invited[0], "url")]);
    mails(&mut held, &ana, &bob, folder.path());
    people(&mut held, &ana, &bob, &phone, folder.path());
    watch(&mut held, &ana, &bob);
    chat(&mut held, &ana, &bob);
    declined(&mut held, &ana, &bob);
    around(&mut held, &ana, folder.path());
    without_a_server(&mut held, &mut server, &ana);
    admin(&mut held, &ana);
    held.well(&carol, &["account", "rm", "--no-export", "--yes"]);
    held.well(&ana, &["logout"]);

    for row in VERBS {
        let mut args: Vec<&str> = row.verb.split(' ').collect();
        args.push("--nonsense");
        held.run(&nobody, &args);
    }
    for args in [
        &["whoami"][..],
        &["refresh"],
        &["watch"],
        &["send", "x", "-b", "x"],
        &["read", "1"],
        &["rm", "1"],
        &["undo"],
        &["topic"],
        &["chat", "bob"],
        &["use", "eve"],
        &["context", "show"],
        &["errors", "nonsense"],
        &["json-schema", "nonsense"],
        &["login", "a b"],
        &["join", "nonsense", "eve"],
        &["man", "/proc/nowhere"],
        &["search", "x"],
        &["who"],
        &["device"],
        &["key", "show"],
        &["status"],
        &["mute", "x"],
        &["import", "mbox", "/nonexistent"],
    ] {
        held.run(&nobody, args);
    }
    let all: BTreeSet<&str> = VERBS.iter().map(|row| row.verb).collect();
    assert_eq!(held.well, all, "verbs that were seen to succeed");
    assert_eq!(held.badly, all, "verbs that were seen to fail");
}
