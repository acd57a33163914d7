//! Direct chat with the Python example, written from `docs/protocol.md` alone: what it shows is that the
//! page is enough to chat.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::chat::{Talk, all_ports_are_back};
use common::ctl::Ctl;
use common::server::Server;
use common::{PATIENCE, pause};

/// Returns a Python that has pyzmq: the one `make setup` made, or the one on PATH.
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = root.join(".venv/bin/python");
    let given = std::env::var_os("CORREIO_PYTHON").map(PathBuf::from);
    let all = given.into_iter().chain([own, PathBuf::from("python3")]);
    all.into_iter().find(|python| {
        let check = "import zmq; assert zmq.has('curve')";
        let output = Command::new(python).args(["-c", check]).output();
        output.is_ok_and(|output| output.status.success())
    })
}

/// A user of the example, with a home of its own.
struct Snake {
    python: PathBuf,
    home: PathBuf,
    server: PathBuf,
}

impl Snake {
    fn new(python: &Path, server: &Server, homes: &Path, name: &str) -> Self {
        let snake = Self {
            python: python.to_owned(),
            home: homes.join(name),
            server: server.url_file(),
        };
        let mut login = snake.command("correio_client.py", &[]);
        login
            .arg("--server")
            .arg(&snake.server)
            .args(["login", name]);
        let output = login.output().expect("python starts");
        assert!(output.status.success(), "{output:?}");
        snake
    }

    fn command(&self, script: &str, args: &[&str]) -> Command {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python/");
        let mut command = Command::new(&self.python);
        command.arg(format!("{folder}{script}"));
        command.arg("--home").arg(&self.home).args(args);
        command
    }

    fn ask(&self, user: &str) -> Talk {
        Talk::start(
            "python chat",
            self.command("correio_chat.py", &["chat", user]),
        )
    }

    fn accept(&self, user: &str) -> Talk {
        let command = self.command("correio_chat.py", &["accept", user]);
        Talk::start("python accept", command)
    }
}

/// What each test needs, or nothing when this machine has no Python with pyzmq.
fn set_up(test: &str) -> Option<(PathBuf, Server, tempfile::TempDir)> {
    let Some(python) = python() else {
        common::skip(test, "no Python with pyzmq");
        return None;
    };
    let homes = tempfile::tempdir().expect("a folder");
    Some((python, Server::start(), homes))
}

fn ctl(server: &Server, homes: &Path, name: &str) -> Ctl {
    let ctl = Ctl::new(server, &homes.join(name));
    ctl.ok(&["login", name]);
    ctl
}

/// Compares the words, has lines go both ways, and lets `leaver` leave.
fn converse(mut leaver: Talk, mut other: Talk) {
    let words = leaver.kind("open")["fingerprint"].clone();
    assert_eq!(words, other.kind("open")["fingerprint"]);
    assert_eq!(words.as_str().expect("words").split('-').count(), 5);
    converse_on(leaver, other);
}

fn converse_on(mut leaver: Talk, mut other: Talk) {
    for (nth, text) in ["olá", "", " two  words ", "{\"kind\":\"bye\"}"]
        .iter()
        .enumerate()
    {
        leaver.say(text);
        other.line(text);
        other.say(&format!("{nth}: {text}"));
        leaver.line(&format!("{nth}: {text}"));
    }
    let most = "x".repeat(32 * 1024);
    leaver.say(&most);
    other.say("and the last of mine");
    // Heard first: what still lies in a pipe when the other side leaves is not said any more.
    leaver.line("and the last of mine");
    leaver.leave();
    other.line(&most);
    let (leaver, other) = (leaver.end(), other.end());
    assert_eq!((leaver.code, leaver.last()), (0, "bye"), "{}", leaver.err);
    assert_eq!((other.code, other.last()), (0, "bye"), "{}", other.err);
}

#[test]
fn python_and_python_chat() {
    let Some((python, server, homes)) = set_up("python_and_python_chat") else {
        return;
    };
    let ana = Snake::new(&python, &server, homes.path(), "ana");
    let bob = Snake::new(&python, &server, homes.path(), "bob");
    let mut asking = ana.ask("bob");
    asking.kind("waiting");
    converse(bob.accept("ana"), asking);
    all_ports_are_back(&server);
}

#[test]
fn python_asks_mailctl_and_either_leaves() {
    let Some((python, server, homes)) = set_up("python_asks_mailctl_and_either_leaves") else {
        return;
    };
    let ana = Snake::new(&python, &server, homes.path(), "ana");
    let bob = ctl(&server, homes.path(), "bob");
    for python_leaves in [true, false] {
        let mut asking = ana.ask("bob");
        asking.kind("waiting");
        let accepting = Talk::accept(&bob, "ana");
        if python_leaves {
            converse(asking, accepting);
        } else {
            converse(accepting, asking);
        }
    }
    all_ports_are_back(&server);
}

#[test]
fn mailctl_asks_python_and_either_leaves() {
    let Some((python, server, homes)) = set_up("mailctl_asks_python_and_either_leaves") else {
        return;
    };
    let ana = ctl(&server, homes.path(), "ana");
    let bob = Snake::new(&python, &server, homes.path(), "bob");
    for python_leaves in [true, false] {
        let mut asking = Talk::ask(&ana, "bob");
        asking.kind("waiting");
        let accepting = bob.accept("ana");
        if python_leaves {
            converse(accepting, asking);
        } else {
            converse(asking, accepting);
        }
    }
    all_ports_are_back(&server);
}

/// Longer than either side waits for a sign of life.
#[test]
fn python_and_mailctl_stay_together_while_nobody_speaks() {
    const TEST: &str = "python_and_mailctl_stay_together_while_nobody_speaks";
    let Some((python, server, homes)) = set_up(TEST) else {
        return;
    };
    let ana = Snake::new(&python, &server, homes.path(), "ana");
    let bob = ctl(&server, homes.path(), "bob");
    let mut asking = ana.ask("bob");
    asking.kind("waiting");
    let mut accepting = Talk::accept(&bob, "ana");
    asking.kind("open");
    pause(Duration::from_secs(13));
    assert!(!accepting.has("broken"), "signs of life come in time");
    converse_on(asking, accepting);
}

#[test]
fn python_hears_a_no() {
    let Some((python, server, homes)) = set_up("python_hears_a_no") else {
        return;
    };
    let ana = Snake::new(&python, &server, homes.path(), "ana");
    let bob = ctl(&server, homes.path(), "bob");
    let mut asking = ana.ask("bob");
    asking.kind("waiting");
    bob.ok(&["chat", "decline", "ana"]);
    let ended = asking.end();
    assert_eq!(
        (ended.code, ended.last()),
        (77, "declined"),
        "{}",
        ended.err
    );
}

/// Lines that a killed `mailctl` never acknowledged come to it as mail, and what it had shown does not
/// come again; the same the other way round.
#[test]
fn p03_python_mails_what_was_not_delivered() {
    let Some((python, server, homes)) = set_up("p03_python_mails_what_was_not_delivered") else {
        return;
    };
    let ana = Snake::new(&python, &server, homes.path(), "ana");
    let bob = ctl(&server, homes.path(), "bob");
    let mut asking = ana.ask("bob");
    asking.kind("waiting");
    let mut accepting = Talk::accept(&bob, "ana");
    asking.say("shown");
    accepting.line("shown");
    asking.kind("delivered");
    accepting.kill9();
    asking.say("too late");
    asking.until("the end", PATIENCE, |object| object["kind"] == "lost");
    assert_eq!(asking.end().code, 69);
    let bodies: Vec<_> = bob.ok(&["--json", "refresh"]).objects();
    let bodies: Vec<_> = bodies.iter().filter(|o| o["kind"] == "mail").collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(bodies[0]["body"], "too late");
}

/// Resets every connection to one of these ports; nothing where this machine does not let us. Returns how
/// many there were.
fn reset(ports: &[u16]) -> usize {
    let mut command = Command::new("ss");
    command.args(["-K", "-H", "-t", "state", "established"]);
    let either: Vec<String> = ports
        .iter()
        .map(|port| format!("dport = :{port}"))
        .collect();
    let output = command.arg(either.join(" or ")).output();
    output.map_or(0, |output| {
        String::from_utf8_lossy(&output.stdout).lines().count()
    })
}

#[test]
fn p03_python_and_mailctl_resume_where_they_were_cut_off() {
    const TEST: &str = "p03_python_and_mailctl_resume_where_they_were_cut_off";
    const LINES: u64 = 3_000;
    let Some((python, server, homes)) = set_up(TEST) else {
        return;
    };
    let ana = Snake::new(&python, &server, homes.path(), "ana");
    let bob = ctl(&server, homes.path(), "bob");
    let mut asking = ana.ask("bob");
    asking.kind("waiting");
    let mut accepting = Talk::accept(&bob, "ana");
    asking.kind("open");
    accepting.kind("open");
    let mut cut = 0;
    for nth in 1..=LINES {
        asking.say(&format!("a{nth}"));
        accepting.say(&format!("b{nth}"));
        if nth % (LINES / 8) == 0 {
            cut += reset(&server.pool());
            // Until the next cut both have connected anew.
            pause(Duration::from_millis(200));
        }
    }
    if cut == 0 {
        return common::skip(
            TEST,
            "ss -K resets nothing here: no iproute2, not root, or no such kernel",
        );
    }
    asking.line(&format!("b{LINES}"));
    accepting.line(&format!("a{LINES}"));
    asking.leave();
    for (ended, side) in [(asking.end(), "b"), (accepting.end(), "a")] {
        assert_eq!((ended.code, ended.last()), (0, "bye"), "{}", ended.err);
        let all: Vec<_> = (1..=LINES)
            .map(|nth| (nth, format!("{side}{nth}")))
            .collect();
        assert!(ended.lines() == all, "in order, once: {:?}", ended.lines());
    }
    println!("{cut} connections reset during {LINES} lines each way");
}
