//! The broker is out of the way: killed during a chat, it takes nothing with it.

mod common;

use std::io::{BufWriter, Write};
use std::net::TcpListener;
use std::process::ChildStdin;
use std::sync::Barrier;
use std::time::Duration;

use common::chat::{Ended, Talk, lent};
use common::client::{RawClient, Wishes};
use common::ctl::Ctl;
use common::server::Server;
use common::{PATIENCE, Timed, now, pause, scale};
use rustix::process::Signal;
use serde_json::Value;

/// How soon a chat must end once both sides have nothing left to say, with no broker to tell.
const END: Duration = Duration::from_secs(5);

/// Says many lines, and returns where more could be said.
fn say_all(mut mouth: ChildStdin, side: &str, lines: usize) -> ChildStdin {
    let mut out = BufWriter::new(&mut mouth);
    for nth in 1..=lines {
        writeln!(out, "{side} {nth} {}", "·".repeat(nth % 40)).expect("the chat goes on");
    }
    out.flush().expect("the chat goes on");
    drop(out);
    mouth
}

/// Says many lines, hears as many, and when both sides have, leaves or waits for the other to.
fn converse(mut talk: Talk, sides: [&str; 2], lines: usize, both: &Barrier) -> (Ended, Duration) {
    let mouth = talk.mouth();
    let last = format!("{} {lines} ", sides[1]);
    let is_last = |object: &Value| {
        object["kind"] == "line"
            && object["text"]
                .as_str()
                .is_some_and(|text| text.starts_with(&last))
    };
    let mouth = std::thread::scope(|scope| {
        let mouth = scope.spawn(|| say_all(mouth, sides[0], lines));
        talk.until("the last line", PATIENCE * 4, is_last);
        mouth.join().expect("all was said")
    });
    both.wait();
    let there = now();
    drop(mouth);
    (talk.end(), there.elapsed())
}

#[test]
fn p03_p06_a_chat_goes_on_when_the_broker_is_killed() {
    let _timed = Timed::start("p03_p06_a_chat_goes_on_when_the_broker_is_killed");
    let lines = scale("CORREIO_LINES", 10_000);
    let mut server = Server::start_with(4, &["--lease-ttl", "6s", "--port-rest", "1s"]);
    let homes = tempfile::tempdir().expect("a folder");
    let home = |name: &str| {
        let ctl = Ctl::new(&server, &homes.path().join(name));
        ctl.ok(&["login", name]);
        ctl
    };
    let (ana, bob) = (home("ana"), home("bob"));
    let mut asking = Talk::ask(&ana, "bob");
    asking.kind("waiting");
    let mut accepting = Talk::accept(&bob, "ana");
    asking.kind("open");
    asking.say("before");
    accepting.line("before");
    accepting.say("before");
    asking.line("before");
    let held = lent(&server);
    assert_eq!(held.len(), 2, "{held:?}");

    server.kill9();
    let begin = now();
    let both = Barrier::new(2);
    let [ana_end, bob_end] = std::thread::scope(|scope| {
        let ana = scope.spawn(|| converse(asking, ["ana", "bob"], lines, &both));
        let bob = scope.spawn(|| converse(accepting, ["bob", "ana"], lines, &both));
        [ana, bob].map(|side| side.join().expect("a side ends"))
    });
    let took = begin.elapsed().as_secs_f64();
    println!("{lines} lines each way without a broker in {took:.1} s");
    for ((ended, goodbye), other) in [(&ana_end, "bob"), (&bob_end, "ana")] {
        assert_eq!((ended.code, ended.last()), (0, "bye"), "{}", ended.err);
        let shown = ended.lines();
        assert_eq!(shown.len(), lines + 1);
        for (nth, (seq, text)) in shown.iter().enumerate().skip(1) {
            assert_eq!(*seq, nth as u64 + 1);
            assert!(
                text.starts_with(&format!("{other} {nth} ")),
                "{nth}: {text}"
            );
        }
        assert!(*goodbye < END, "the end took {goodbye:?}");
    }

    // The leases of before were kept in force by nobody: they end with the term they got at the start.
    server.restart();
    let restarted = now();
    common::chat::all_ports_are_back(&server);
    println!(
        "the ports were back {:.1} s after the restart (term 6 s)",
        restarted.elapsed().as_secs_f64()
    );
    for ctl in [&ana, &bob] {
        let rows = ctl.ok(&["--json", "refresh"]).objects();
        assert!(
            rows.iter().all(|row| row["kind"] != "mail"),
            "nothing was undelivered: {rows:?}"
        );
    }
}

/// Two who chat, and how the server knew their ports before.
struct Pair {
    asking: Talk,
    accepting: Talk,
    held: Vec<(u64, u64)>,
}

impl Pair {
    fn open(server: &Server, homes: &std::path::Path) -> Self {
        let home = |name: &str| {
            let ctl = Ctl::new(server, &homes.join(name));
            ctl.ok(&["login", name]);
            ctl
        };
        let (ana, bob) = (home("ana"), home("bob"));
        let mut asking = Talk::ask(&ana, "bob");
        asking.kind("waiting");
        let mut accepting = Talk::accept(&bob, "ana");
        asking.kind("open");
        accepting.kind("open");
        let held = held(server);
        assert_eq!(held.len(), 2);
        Self {
            asking,
            accepting,
            held,
        }
    }

    /// A line each way, which must arrive now.
    fn talk(&mut self, text: &str) {
        self.asking.say(text);
        self.accepting.line(text);
        self.accepting.say(text);
        self.asking.line(text);
    }

    fn leave(mut self) {
        self.accepting.leave();
        for ended in [self.asking.end(), self.accepting.end()] {
            assert_eq!((ended.code, ended.last()), (0, "bye"), "{}", ended.err);
        }
    }
}

/// Returns port and epoch of each lease.
fn held(server: &Server) -> Vec<(u64, u64)> {
    let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
    let rows = lent(server);
    let held = rows
        .iter()
        .map(|row| (number(row, "port"), number(row, "epoch")));
    held.collect()
}

#[test]
fn p06_a_chat_keeps_its_ports_when_the_broker_comes_back() {
    let mut server = Server::start_with(3, &["--lease-ttl", "3s", "--port-rest", "0s"]);
    let homes = tempfile::tempdir().expect("a folder");
    let mut pair = Pair::open(&server, homes.path());
    server.kill9();
    pair.talk("without");
    server.restart();
    // Longer than a term: the leases are renewed, not only remembered.
    let until = now() + Duration::from_secs(7);
    while now() < until {
        pair.talk("with");
        pause(Duration::from_millis(100));
    }
    assert_eq!(held(&server), pair.held, "the same ports, the same leases");
    // The third port is all that is left for others.
    let others = ["carla", "dora"].map(|name| RawClient::user_with(&server, name, with_port()));
    let given = held(&server);
    assert_eq!(given.len(), 3, "{given:?}");
    assert!(
        pair.held.iter().all(|lease| given.contains(lease)),
        "{given:?}"
    );
    drop(others);
    pair.leave();
}

/// A server that stands still for longer than a term and then wakes disturbs nothing.
#[test]
fn p06_a_chat_keeps_its_ports_while_the_broker_stands_still() {
    let server = Server::start_with(2, &["--lease-ttl", "3s", "--port-rest", "0s"]);
    let homes = tempfile::tempdir().expect("a folder");
    let mut pair = Pair::open(&server, homes.path());
    server.signal(Signal::STOP);
    let until = now() + Duration::from_secs(8);
    while now() < until {
        pair.talk("unheard");
        pause(Duration::from_millis(100));
    }
    for (port, _) in &pair.held {
        let port = u16::try_from(*port).expect("a port");
        assert!(
            TcpListener::bind(("127.0.0.1", port)).is_err(),
            "{port} is the chat's"
        );
    }
    server.signal(Signal::CONT);
    let until = now() + Duration::from_secs(4);
    while now() < until {
        pair.talk("heard again");
        pause(Duration::from_millis(100));
    }
    pair.leave();
    common::chat::all_ports_are_back(&server);
}

fn with_port() -> Wishes {
    Wishes {
        port: true,
        ..Wishes::default()
    }
}
