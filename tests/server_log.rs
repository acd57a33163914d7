//! The server's log in each of its forms: who asked for what and how it ended, and nothing that is nobody's business.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests drive real processes in real time"
)]
#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

use common::client::RawClient;
use common::server::{Plan, Server};
use common::{PATIENCE, eventually, skip};
use correio::protocol::codes::Code;

const BODY: &str = "a body that nobody else may read";
const SUBJECT: &str = "a subject that nobody else may read";

/// Everything that must never stand in a log, after a session that used it all.
fn secrets(server: &Server) -> Vec<String> {
    let mut ana = RawClient::user(server, "ana");
    let mut bob = RawClient::user(server, "bob");
    let send = |client: &mut RawClient, to: &str| {
        client.send_with(&[to], BODY.as_bytes(), |send| {
            SUBJECT.clone_into(&mut send.subject);
        })
    };
    assert!(send(&mut ana, "bob").is_ok());
    let log = bob.log("bob").log;
    assert_eq!(bob.read_all(log, 0).unwrap().len(), 1);
    let refused = ana.send(&["bob"], &[b'x'; 1500]);
    assert_eq!(refused.unwrap_err().code(), Some(Code::TooLarge));
    let keys = [&ana.key, &bob.key, &server.admin_key()];
    let mut all = vec![BODY.to_owned(), SUBJECT.to_owned(), "xxxxxxxx".to_owned()];
    for key in keys {
        all.push(hex::encode(key.secret()));
        all.push(hex::encode(key.public));
    }
    let server_key = std::fs::read_to_string(server.data().join("server.key")).unwrap();
    all.extend(
        server_key
            .split_whitespace()
            .filter(|word| word.len() >= 64)
            .map(str::to_owned),
    );
    all
}

#[track_caller]
fn says_none(log: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(
            !log.contains(secret.as_str()),
            "{secret} stands in the log:\n{log}"
        );
    }
}

/// Returns the log with the last request in it, whose line comes after its reply.
fn whole_log(server: &Server) -> String {
    eventually("the last request", || {
        let log = server.log();
        log.contains("too_large").then_some(log)
    })
}

/// Returns the lines of a log with what a request became.
fn decided(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|line| line.contains("decided"))
        .collect()
}

/// Starts a server that logs all it can in a format, and takes no mail over a KiB.
fn logging(format: &str) -> Server {
    let words = [
        "--body-max",
        "1 KiB",
        "--log",
        "trace",
        "--log-format",
        format,
    ];
    Server::start_with(2, &words)
}

#[test]
fn p12_text_says_who_asked_for_what_and_no_secret() {
    let server = logging("text");
    let secrets = secrets(&server);
    let log = whole_log(&server);
    says_none(&log, &secrets);
    let has = |words: &[&str]| {
        decided(&log)
            .iter()
            .any(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(
        has(&["verb=register", "user=\"ana\"", "code=\"ok\""]),
        "{log}"
    );
    assert!(has(&["verb=send", "user=\"ana\"", "code=\"ok\""]), "{log}");
    assert!(
        has(&["verb=fetch", "user=\"bob\"", "code=\"later\""]),
        "{log}"
    );
    assert!(has(&["user=\"ana\"", "code=\"too_large\""]), "{log}");
}

#[test]
fn p12_json_says_it_in_fields() {
    let server = logging("json");
    let secrets = secrets(&server);
    let log = whole_log(&server);
    says_none(&log, &secrets);
    let spans: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["fields"]["message"] == "decided")
        .map(|line| line["span"].clone())
        .collect();
    let of = |user: &str, verb: &str| {
        let found = spans
            .iter()
            .find(|span| span["user"] == user && span["verb"] == verb);
        found.unwrap_or_else(|| panic!("no {verb} of {user} in {log}"))["code"].clone()
    };
    assert_eq!(of("ana", "send"), "ok");
    assert_eq!(of("bob", "fetch"), "later");
    assert!(
        spans
            .iter()
            .any(|span| span["user"] == "ana" && span["code"] == "too_large")
    );
}

/// A journal that keeps what it is told, in the folder that is `/run` for the servers of a test.
struct Journal {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

type Entry = BTreeMap<String, String>;

impl Journal {
    /// Nothing where a process cannot be given a `/run` of its own.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("systemd/journal")).unwrap();
        let socket = UnixDatagram::bind(folder.path().join("systemd/journal/socket")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let journal = Self { socket, folder };
        let words = journal.words();
        let tried = Command::new(&words[0])
            .args(&words[1..])
            .args(["test", "-S", "/run/systemd/journal/socket"])
            .stderr(Stdio::null())
            .status();
        tried
            .is_ok_and(|status| status.success())
            .then_some(journal)
    }

    /// Words in front of a program that writes to it.
    fn words(&self) -> Vec<String> {
        let run = self.folder.path().display();
        let script = format!("mount --bind {run} /run && exec \"$@\"");
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &script,
            "sh",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Reads entries until there is one like that; returns all.
    #[track_caller]
    fn until(&self, is_it: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut all = Vec::new();
        let mut bytes = vec![0; 1 << 20];
        loop {
            let length = self
                .socket
                .recv(&mut bytes)
                .unwrap_or_else(|error| panic!("{error} after {all:?}"));
            all.push(entry(&bytes[..length]));
            if all.last().is_some_and(&is_it) {
                return all;
            }
        }
    }
}

/// Reads an entry in the journal's own protocol: `NAME=value` lines, or a name, a length and as many bytes.
fn entry(mut bytes: &[u8]) -> Entry {
    let mut fields = Entry::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8(bytes[..end].to_vec()).unwrap();
        bytes = &bytes[end + 1..];
        if let Some((name, value)) = line.split_once('=') {
            fields.insert(name.to_owned(), value.to_owned());
            continue;
        }
        let (length, rest) = bytes.split_at(8);
        // The lowest byte comes first.
        let bytes_of_it = length.iter().rev();
        let length = bytes_of_it.fold(0, |sum, byte| sum * 256 + usize::from(*byte));
        fields.insert(line, String::from_utf8(rest[..length].to_vec()).unwrap());
        bytes = &rest[length + 1..];
    }
    fields
}

fn is(entry: &Entry, name: &str, value: &str) -> bool {
    entry.get(name).is_some_and(|found| found == value)
}

#[test]
fn p12_the_journal_gets_fields_and_priorities() {
    let name = "p12_the_journal_gets_fields_and_priorities";
    let Some(journal) = Journal::start() else {
        return skip(name, "no process can be given a /run of its own here");
    };
    let ground = tempfile::tempdir().unwrap();
    let mut plan = Plan::loopback(ground.path().join("data"), 2);
    plan.wrapper = journal.words();
    plan.args = [
        "--body-max",
        "1 KiB",
        "--log",
        "debug",
        "--log-format",
        "journald",
    ]
    .map(str::to_owned)
    .to_vec();
    let reading =
        std::thread::spawn(move || journal.until(|entry| is(entry, "CORREIO_CODE", "too_large")));
    let server = Server::planned(plan);
    let secrets = secrets(&server);
    let entries = reading.join().unwrap();
    says_none(&format!("{entries:?}"), &secrets);
    let sent = entries
        .iter()
        .find(|entry| is(entry, "CORREIO_VERB", "send") && is(entry, "CORREIO_CODE", "ok"))
        .unwrap();
    assert!(
        is(sent, "MESSAGE", "decided") && is(sent, "CORREIO_USER", "ana"),
        "{sent:?}"
    );
    assert!(
        is(sent, "SYSLOG_IDENTIFIER", "mailserver") && is(sent, "PRIORITY", "7"),
        "{sent:?}"
    );
    assert!(decided(&server.log()).is_empty(), "{}", server.log());
}

/// Under systemd nothing has to be chosen: it says that it reads standard error.
#[test]
fn a_log_that_systemd_reads_has_priorities_by_itself() {
    let name = "a_log_that_systemd_reads_has_priorities_by_itself";
    let ground = tempfile::tempdir().unwrap();
    let log = ground.path().join("log");
    let run = |stream: &str, words: &[&str], wrapper: &[String]| {
        let mut all = wrapper.to_vec();
        all.push(env!("CARGO_BIN_EXE_mailserver").to_owned());
        Command::new(&all[0])
            .args(&all[1..])
            .args(words)
            .env("JOURNAL_STREAM", stream)
            .env("MAILSERVER_NO_SETTING", "x")
            .stdout(Stdio::null())
            .stderr(std::fs::File::options().append(true).open(&log).unwrap())
            .status()
            .unwrap()
    };
    std::fs::write(&log, "").unwrap();
    let about = std::fs::metadata(&log).unwrap();
    let stream = format!("{}:{}", about.dev(), about.ino());
    // A folder that cannot be: it ends at once, after a word in the log and a last line.
    let words = ["run", "--data-dir", "/proc/none"];
    let said = || std::fs::read_to_string(&log).unwrap();
    assert_eq!(run(&stream, &words, &[]).code(), Some(73));
    let lines: Vec<String> = said().lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("<4> WARN "), "{lines:?}");
    assert!(lines[0].contains("MAILSERVER_NO_SETTING"), "{lines:?}");
    assert!(
        lines[1].starts_with("<3>mailserver: cannot use the data folder"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
    // Another standard error than the one that systemd reads.
    std::fs::write(&log, "").unwrap();
    assert_eq!(run("1:1", &words, &[]).code(), Some(73));
    assert!(
        said().contains("MAILSERVER_NO_SETTING") && !said().contains('<'),
        "{}",
        said()
    );
    if Journal::start().is_none() {
        return skip(name, "no process can be given a /run of its own here");
    }
    let words = [
        "run",
        "--data-dir",
        "/proc/none",
        "--log-format",
        "journald",
    ];
    assert_eq!(
        run("1:1", &words, &empty_run(ground.path())).code(),
        Some(78)
    );
    eventually("a reason", || {
        said().contains("choose text or json").then_some(())
    });
}

fn empty_run(ground: &Path) -> Vec<String> {
    let run = ground.join("run");
    std::fs::create_dir_all(&run).unwrap();
    let script = format!("mount --bind {} /run && exec \"$@\"", run.display());
    [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
    ]
    .map(str::to_owned)
    .to_vec()
}
