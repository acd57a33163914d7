//! The Python client of `examples/python`, written from `docs/protocol.md` alone, against the real
//! server: what it shows is that the page is enough.

mod common;

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

use common::server::Server;
use serde_json::Value;

/// Returns a Python that has pyzmq: the one `make setup` made, or the one on PATH.
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = root.join(".venv/bin/python");
    let given = std::env::var_os("CORREIO_PYTHON").map(PathBuf::from);
    given
        .into_iter()
        .chain([own, PathBuf::from("python3")])
        .find(|python| has_zmq(python))
}

fn has_zmq(python: &Path) -> bool {
    let check = "import zmq; assert zmq.has('curve')";
    let output = Command::new(python).args(["-c", check]).output();
    output.is_ok_and(|output| output.status.success())
}

/// One user of the example client, with a home of its own.
struct User {
    python: PathBuf,
    home: PathBuf,
}

impl User {
    /// Makes the user and logs in.
    fn new(python: &Path, server: &Server, homes: &Path, args: &[&str]) -> Self {
        let user = Self {
            python: python.to_owned(),
            home: homes.join(args[0]),
        };
        let url = server.url_file();
        let url = url.to_str().expect("temporary folders have plain names");
        user.lines(&[&["--server", url, "login"], args].concat());
        user
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.python);
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/python/correio_client.py"
        );
        command.arg(script).arg("--home").arg(&self.home).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("python starts")
    }

    /// Runs a verb that must succeed, and returns its lines of JSON.
    fn lines(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// Reads what is new and returns the bodies.
    fn bodies(&self) -> Vec<String> {
        let mails = self.lines(&["refresh"]);
        mails
            .iter()
            .map(|mail| mail["body"].as_str().expect("text").to_owned())
            .collect()
    }

    fn watch(&self, count: usize) -> Watch {
        let count = count.to_string();
        let mut command = self.command(&["watch", "--count", &count]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python starts");
        let errors = BufReader::new(child.stderr.take().expect("stderr is a pipe")).lines();
        let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        Watch {
            child,
            lines,
            errors,
        }
    }
}

struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: Lines<BufReader<ChildStderr>>,
}

impl Watch {
    fn body(&mut self) -> String {
        let line = self
            .lines
            .next()
            .expect("a mail comes")
            .expect("a pipe can be read");
        let mail: Value = serde_json::from_str(&line).expect("a line of JSON");
        mail["body"].as_str().expect("text").to_owned()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn python_sends_reads_joins_and_acknowledges() {
    let Some(python) = python() else {
        return common::skip(
            "python_sends_reads_joins_and_acknowledges",
            "no Python with pyzmq",
        );
    };
    let server = Server::start();
    let homes = tempfile::tempdir().expect("a temporary folder");
    let ana = User::new(&python, &server, homes.path(), &["ana", "--topic", "news"]);
    let bob = User::new(&python, &server, homes.path(), &["bob"]);

    let outcomes = bob.lines(&["send", "ana", "news", "nobody", "-s", "hi", "-b", "olá"]);
    assert!(outcomes[0]["id"].is_u64() && outcomes[1]["id"].is_u64());
    assert_eq!(outcomes[0]["durability"], "fsync");
    assert_eq!(outcomes[2]["code"], "no_such_address");

    let mails = ana.lines(&["refresh"]);
    let addresses: Vec<&str> = mails
        .iter()
        .filter_map(|mail| mail["address"].as_str())
        .collect();
    assert_eq!(addresses, ["ana", "news"]);
    for mail in &mails {
        assert_eq!(
            (&mail["from"], &mail["body"]),
            (&"bob".into(), &"olá".into())
        );
    }
    assert!(
        ana.bodies().is_empty(),
        "what was acknowledged does not come again"
    );

    bob.lines(&["join", "news", "--start"]);
    assert_eq!(bob.bodies(), ["olá"], "a newcomer reads what is kept");
}

#[test]
fn python_sends_and_reads_bodies_in_parts() {
    let Some(python) = python() else {
        return common::skip(
            "python_sends_and_reads_bodies_in_parts",
            "no Python with pyzmq",
        );
    };
    let server = Server::start();
    let homes = tempfile::tempdir().expect("a temporary folder");
    let ana = User::new(&python, &server, homes.path(), &["ana"]);
    let mut sent = Vec::new();
    for size in [0, 65_536, 65_537, 1_000_000] {
        let body: String = ('a'..='z').cycle().take(size).collect();
        let file = homes.path().join("body");
        std::fs::write(&file, &body).expect("a file can be written");
        let outcomes = ana.lines(&["send", "ana", "-f", file.to_str().expect("a plain name")]);
        assert!(outcomes[0]["id"].is_u64(), "{size}: {outcomes:?}");
        sent.push(body);
    }
    assert!(
        ana.bodies() == sent,
        "every body comes back byte for byte, in order"
    );
}

#[test]
fn p03_python_watch_goes_on_through_a_kill9() {
    let Some(python) = python() else {
        return common::skip(
            "p03_python_watch_goes_on_through_a_kill9",
            "no Python with pyzmq",
        );
    };
    let mut server = Server::start();
    let homes = tempfile::tempdir().expect("a temporary folder");
    let ana = User::new(&python, &server, homes.path(), &["ana", "--topic", "news"]);
    let bob = User::new(&python, &server, homes.path(), &["bob"]);
    let mut watch = ana.watch(4);
    let ready = watch
        .errors
        .next()
        .expect("it begins")
        .expect("a pipe can be read");
    assert_eq!(ready, "watching");
    let send = |to: &str, body: &str| {
        let outcomes = bob.lines(&["send", to, "-b", body]);
        assert!(outcomes[0]["id"].is_u64(), "{outcomes:?}");
    };
    send("ana", "one");
    assert_eq!(watch.body(), "one");
    send("news", "two");
    assert_eq!(watch.body(), "two");
    server.kill9();
    server.restart();
    send("ana", "three");
    assert_eq!(watch.body(), "three");
    send("news", "four");
    assert_eq!(watch.body(), "four");
    drop(watch);
    assert!(ana.bodies().is_empty(), "each was shown once");
}
