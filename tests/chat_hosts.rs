//! Direct chat between hosts: the whole story on one machine, then with the broker, X and Y on a host
//! each, over IPv4 and IPv6; a port that is blocked; a cable that is pulled.
//!
//! The hosts are network namespaces: root and iproute2 make them, elsewhere these tests are skipped.

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::chat::Talk;
use common::ctl::Ctl;
use common::hosts::{Family, Hosts};
use common::server::{Plan, Server};
use common::terminal::Terminal;
use common::{PATIENCE, Timed, eventually, now, pause};
use rustix::process::Signal;
use serde_json::Value;

/// How soon who cannot be reached must be known.
const UNREACHABLE: Duration = Duration::from_secs(10);

/// How soon who went away must be noticed.
const LOST: Duration = Duration::from_secs(15);

const PORTS: u16 = 8;

/// A server and the two who chat. The admin is where the server is.
struct Stage {
    server: Server,
    admin: Ctl,
    x: Ctl,
    y: Ctl,
    folder: tempfile::TempDir,
}

impl Stage {
    /// Everything on this machine, over loopback.
    fn one_machine() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::planned(Plan::loopback(folder.path().join("data"), PORTS));
        let home = |name: &str| Ctl::new(&server, &folder.path().join(name));
        let (admin, x, y) = (home("admin"), home("x"), home("y"));
        Self {
            server,
            admin,
            x,
            y,
            folder,
        }
    }

    /// The server on host 1, X on host 2, Y on host 3.
    fn hosts(hosts: &Hosts) -> Self {
        Self::hosts_with(hosts, "90s")
    }

    /// The same with leases of another term.
    fn hosts_with(hosts: &Hosts, term: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let open = ["--registration", "open", "--port-rest", "1s"];
        let words = [&open[..], &["--lease-ttl", term]].concat();
        let server = Server::planned(Plan {
            args: words.into_iter().map(str::to_owned).collect(),
            wrapper: hosts.on(1),
            host: hosts.url_address(1),
            ..Plan::loopback(folder.path().join("data"), PORTS)
        });
        let home =
            |name: &str, nth| Ctl::new(&server, &folder.path().join(name)).wrapped(&hosts.on(nth));
        let (admin, x, y) = (home("admin", 1), home("x", 2), home("y", 3));
        Self {
            server,
            admin,
            x,
            y,
            folder,
        }
    }

    fn log_in(&self) {
        self.x.ok(&["login", "ana", "--topic", "news"]);
        self.y.ok(&["login", "bob", "--topic", "news"]);
    }

    /// X asks, Y accepts; both see the same words.
    fn chat(&self) -> (Talk, Talk) {
        let (mut x, mut y) = self.asked();
        assert_eq!(x.kind("open")["fingerprint"], y.kind("open")["fingerprint"]);
        (x, y)
    }

    fn asked(&self) -> (Talk, Talk) {
        let mut x = Talk::ask(&self.x, "bob");
        let chat = x.kind("waiting")["chat"].clone();
        let rows = self.y.ok(&["--json", "refresh"]).objects();
        let asks = rows.iter().find(|row| row["kind"] == "invitation");
        let asks = asks.unwrap_or_else(|| panic!("no invitation in {rows:?}"));
        assert_eq!((&asks["from"], &asks["chat"]), (&"ana".into(), &chat));
        (x, Talk::accept(&self.y, "ana"))
    }

    fn leases(&self, state: &str) -> Vec<Value> {
        let rows = self.admin.ok(&["--json", "admin", "lease", "ls"]).objects();
        rows.into_iter()
            .filter(|row| row["state"] == state)
            .collect()
    }
}

/// Makes the hosts, or skips the test.
fn hosts_or_skip(test: &str, count: usize, family: Family) -> Option<Hosts> {
    match Hosts::make(count, family) {
        Ok(hosts) => Some(hosts),
        Err(reason) => {
            common::skip(test, &reason);
            None
        }
    }
}

fn bodies(ctl: &Ctl) -> Vec<String> {
    let rows = ctl.ok(&["--json", "refresh"]).objects();
    let mails = rows.iter().filter(|row| row["kind"] == "mail");
    mails
        .map(|mail| mail["body"].as_str().expect("text").to_owned())
        .collect()
}

/// The story: mail that waits while the server is killed, a topic joined later, a chat, its end.
fn story(stage: &mut Stage) {
    stage.log_in();
    stage.x.ok(&["send", "@bob", "-b", "to bob"]);
    stage.x.ok(&["send", "@news", "-b", "to news"]);
    stage.server.kill9();
    stage.server.restart();
    assert_eq!(bodies(&stage.y), ["to bob", "to news"]);
    assert_eq!(
        bodies(&stage.x),
        ["to news"],
        "who sends to a topic reads it too"
    );
    stage.y.ok(&["topic", "join", "lab"]);
    stage.x.ok(&["send", "@lab", "-b", "to the lab"]);
    assert_eq!(bodies(&stage.y), ["to the lab"]);

    let (mut x, mut y) = stage.chat();
    assert_eq!(stage.leases("held").len(), 2, "one port each");
    for nth in 0..50 {
        x.say(&format!("x{nth}"));
        y.say(&format!("y{nth}"));
    }
    x.line("y49");
    y.line("x49");
    let begin = now();
    y.leave();
    let (x, y) = (x.end(), y.end());
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!((x.code, x.last()), (0, "bye"), "{}", x.err);
    assert_eq!((y.code, y.last()), (0, "bye"), "{}", y.err);
    let said = |side: &str| -> Vec<String> { (0..50).map(|nth| format!("{side}{nth}")).collect() };
    let texts =
        |lines: Vec<(u64, String)>| -> Vec<String> { lines.into_iter().map(|l| l.1).collect() };
    assert_eq!(texts(x.lines()), said("y"));
    assert_eq!(texts(y.lines()), said("x"));
    eventually("the ports back", || {
        stage.leases("held").is_empty().then_some(())
    });
    assert_eq!(bodies(&stage.x), [""; 0]);
    assert_eq!(
        bodies(&stage.y),
        [""; 0],
        "nothing of the chat comes as mail"
    );
}

/// The same story in the words of the shell, at two terminals.
fn story_in_shells(stage: &mut Stage) {
    stage.log_in();
    let mut ana = Terminal::shell(&stage.x);
    ana.sees("ana> ");
    ana.type_line("@bob for you alone");
    ana.sees("sent to bob: ");
    ana.type_line("@news for everybody");
    ana.sees("sent to news: ");
    stage.server.kill9();
    ana.sees("the server does not answer");
    stage.server.restart();
    ana.sees("the server is back");

    let mut bob = Terminal::shell(&stage.y);
    bob.sees("bob> ");
    bob.type_line("refresh");
    bob.sees("for you alone");
    bob.sees("for everybody");
    bob.type_line("!lab");
    bob.sees("joined lab");
    ana.type_line("@lab for the lab");
    ana.sees("sent to lab: ");
    bob.sees("@lab from ana");
    bob.type_line("refresh");
    bob.sees("for the lab");

    ana.type_line("#bob");
    bob.sees("? ana asks for a direct chat");
    bob.type_line("y");
    ana.sees("direct line to bob; key words ");
    let words = ana.sees(",");
    bob.sees("direct line to ana; key words ");
    assert_eq!(bob.sees(","), words);
    ana.type_line("from ana to bob");
    bob.sees("ana| from ana to bob");
    bob.type_line("from bob to ana");
    ana.sees("bob| from bob to ana");
    bob.type_line("/bye");
    ana.sees("bob left");
    ana.sees("Enter goes back to the shell");
    ana.type_line("");
    for terminal in [&mut ana, &mut bob] {
        terminal.sees("> ");
        terminal.type_line("quit");
        assert!(terminal.child.wait().expect("it ends").success());
    }
    eventually("the ports back", || {
        stage.leases("held").is_empty().then_some(())
    });
}

#[test]
fn the_story_on_one_machine() {
    let _timed = Timed::start("the_story_on_one_machine");
    story(&mut Stage::one_machine());
    story_in_shells(&mut Stage::one_machine());
}

#[test]
fn the_story_on_three_hosts() {
    for family in [Family::V4, Family::V6] {
        let Some(hosts) = hosts_or_skip("the_story_on_three_hosts", 3, family) else {
            return;
        };
        println!("{family:?}: the server at {}", hosts.address(1));
        story(&mut Stage::hosts(&hosts));
        story_in_shells(&mut Stage::hosts(&hosts));
    }
}

/// Nobody reaches the port of one side, although that side reaches the other: both are told within ten
/// seconds, with what was tried, and what was typed goes as mail.
#[test]
fn a_blocked_port_is_told_to_both_within_ten_seconds() {
    const TEST: &str = "a_blocked_port_is_told_to_both_within_ten_seconds";
    for (family, blocked) in [(Family::V4, 3), (Family::V6, 3), (Family::V4, 2)] {
        let Some(hosts) = hosts_or_skip(TEST, 3, family) else {
            return;
        };
        let stage = Stage::hosts(&hosts);
        stage.log_in();
        let pool = stage.server.pool();
        if let Err(reason) = hosts.drop_to(blocked, pool[0]..=pool[pool.len() - 1]) {
            return common::skip(TEST, &reason);
        }
        let (mut x, mut y) = stage.asked();
        // The accept follows at once; how long the process took to start is not what is measured.
        eventually("a port each", || {
            (stage.leases("held").len() == 2).then_some(())
        });
        let begin = now();
        x.say("typed ahead by x");
        y.say("typed ahead by y");
        for talk in [&mut x, &mut y] {
            let lost = talk.until("the end", UNREACHABLE, |object| object["kind"] == "lost");
            assert_eq!(lost.object["reason"], "unreachable");
        }
        let took = begin.elapsed();
        println!(
            "{family:?}, host {blocked} blocked: said after {:.1} s",
            took.as_secs_f64()
        );
        assert!(took < UNREACHABLE, "{took:?}");
        let (x, y) = (x.end(), y.end());
        for (side, ended) in [("x", &x), ("y", &y)] {
            println!("{side}: {}", ended.err);
            assert_eq!(ended.code, 69, "{}", ended.err);
            assert!(ended.err.contains("mail"), "mail is offered: {}", ended.err);
            let tried = [&hosts.address(blocked), "of this machine"];
            assert!(
                tried.iter().any(|tried| ended.err.contains(tried)),
                "{side} names what was tried: {}",
                ended.err
            );
        }
        assert_eq!(bodies(&stage.y), ["typed ahead by x"]);
        assert_eq!(bodies(&stage.x), ["typed ahead by y"]);
        eventually("the ports back", || {
            stage.leases("held").is_empty().then_some(())
        });
    }
}

/// The address that the server sees is of no use to others, as behind a NAT; the client names a better one.
#[test]
fn who_is_reached_elsewhere_says_where() {
    const TEST: &str = "who_is_reached_elsewhere_says_where";
    let Some(hosts) = hosts_or_skip(TEST, 3, Family::V4) else {
        return;
    };
    let stage = Stage::hosts(&hosts);
    stage.log_in();
    let pool = stage.server.pool();
    let ports = pool[0]..=pool[pool.len() - 1];
    let blocked = [2, 3].map(|nth| {
        hosts.add_address(nth, &format!("10.77.1.{nth}/16"))?;
        hosts.drop_to_address(nth, &hosts.address(nth), ports.clone())
    });
    if let Some(Err(reason)) = blocked.into_iter().find(Result::is_err) {
        return common::skip(TEST, &reason);
    }
    let words = ["--json", "chat", "bob", "--advertise", "10.77.1.2"];
    let mut x = Talk::start("x", stage.x.command(&words));
    x.kind("waiting");
    let words = ["--json", "chat", "accept", "--advertise", "10.77.1.3"];
    let mut y = Talk::start("y", stage.y.command(&words));
    y.kind("open");
    x.say("there");
    y.line("there");
    y.say("and back");
    x.line("and back");
    y.leave();
    assert_eq!((x.end().code, y.end().code), (0, 0));
}

/// The server saw X on its own loopback, which means nothing to Y: Y is told "where you reach the server".
#[test]
fn who_sits_on_the_servers_host_is_reached_there() {
    const TEST: &str = "who_sits_on_the_servers_host_is_reached_there";
    for family in [Family::V4, Family::V6] {
        let Some(hosts) = hosts_or_skip(TEST, 3, family) else {
            return;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let address = hosts.url_address(1);
        let (wildcard, loopback) = match family {
            Family::V4 => ("0.0.0.0", "127.0.0.1"),
            Family::V6 => ("[::]", "[::1]"),
        };
        let host = address.trim_matches(['[', ']']);
        let server = Server::planned(Plan {
            args: ["--registration", "open", "--advertise", host]
                .map(str::to_owned)
                .to_vec(),
            wrapper: hosts.on(1),
            host: wildcard.into(),
            ..Plan::loopback(folder.path().join("data"), PORTS)
        });
        let by_loopback = url_by(&server, &folder, &address, loopback);
        let near = Ctl::new(&server, &folder.path().join("near"));
        let near = near.at(&by_loopback).wrapped(&hosts.on(1));
        let far = Ctl::new(&server, &folder.path().join("far")).wrapped(&hosts.on(2));
        near.ok(&["login", "ana"]);
        far.ok(&["login", "bob"]);
        // Either may be the one who asks.
        for (asks, accepts, user, from) in
            [(&near, &far, "bob", "ana"), (&far, &near, "ana", "bob")]
        {
            let mut asking = Talk::ask(asks, user);
            asking.kind("waiting");
            let mut accepting = Talk::accept(accepts, from);
            asking.kind("open");
            asking.say("there");
            accepting.line("there");
            accepting.say("and back");
            asking.line("and back");
            asking.leave();
            assert_eq!((asking.end().code, accepting.end().code), (0, 0));
        }
    }
}

/// Writes the server's address with another host.
fn url_by(server: &Server, folder: &tempfile::TempDir, host: &str, other: &str) -> PathBuf {
    let url = std::fs::read_to_string(server.url_file()).expect("a server has an address");
    assert!(url.contains(host), "{url}");
    let path = folder.path().join("by-loopback.url");
    std::fs::write(&path, url.replace(host, other)).expect("a file can be written");
    path
}

/// Three seconds without a cable, lines being said all the while: nothing is lost and nothing comes twice.
#[test]
fn p03_a_chat_goes_on_after_a_short_break() {
    const TEST: &str = "p03_a_chat_goes_on_after_a_short_break";
    for family in [Family::V4, Family::V6] {
        let Some(hosts) = hosts_or_skip(TEST, 3, family) else {
            return;
        };
        let stage = Stage::hosts(&hosts);
        stage.log_in();
        let (mut x, mut y) = stage.chat();
        let mut said = 0;
        let mut talk_for = |x: &mut Talk, y: &mut Talk, time: Duration| {
            let until = now() + time;
            while now() < until {
                said += 1;
                x.say(&format!("x{said}"));
                y.say(&format!("y{said}"));
                pause(Duration::from_millis(10));
            }
            said
        };
        talk_for(&mut x, &mut y, Duration::from_millis(500));
        hosts.cable(3, false);
        let last = talk_for(&mut x, &mut y, Duration::from_secs(3));
        assert!(!y.has_shown(&format!("x{last}")), "the cable was out");
        hosts.cable(3, true);
        let mended = now();
        let last = talk_for(&mut x, &mut y, Duration::from_millis(500));
        x.line(&format!("y{last}"));
        y.line(&format!("x{last}"));
        println!(
            "{family:?}: {last} lines each way; all there {:.1} s after the cable was back",
            mended.elapsed().as_secs_f64()
        );
        x.leave();
        let (x, y) = (x.end(), y.end());
        assert_eq!((x.code, y.code), (0, 0), "{}{}", x.err, y.err);
        for (ended, side) in [(&x, "y"), (&y, "x")] {
            let all: Vec<_> = (1..=last)
                .map(|nth| (nth, format!("{side}{nth}")))
                .collect();
            assert!(ended.lines() == all, "in order, once: {:?}", ended.lines());
        }
    }
}

/// A cable that stays out is noticed on both sides; the line said into the void arrives as mail.
#[test]
fn p02_a_pulled_cable_is_noticed_within_fifteen_seconds() {
    const TEST: &str = "p02_a_pulled_cable_is_noticed_within_fifteen_seconds";
    let Some(hosts) = hosts_or_skip(TEST, 3, Family::V4) else {
        return;
    };
    let stage = Stage::hosts(&hosts);
    stage.log_in();
    let (mut x, mut y) = stage.chat();
    x.say("heard");
    y.line("heard");
    x.kind("delivered");
    hosts.cable(3, false);
    let begin = now();
    x.say("into the void");
    for talk in [&mut x, &mut y] {
        talk.until("the end", LOST, |object| object["kind"] == "lost");
    }
    println!(
        "noticed by both after {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    assert_eq!((x.end().code, y.end().code), (69, 69));
    hosts.cable(3, true);
    let found = eventually("the line as mail", || {
        Some(bodies(&stage.y)).filter(|bodies| !bodies.is_empty())
    });
    assert_eq!(found, ["into the void"]);
    assert!(PATIENCE > LOST && stage.folder.path().exists());
}

/// Y shows lines that reached it, but none of its acknowledgements gets out, and then it dies: X mails them
/// all, and Y's next refresh shows none of them again.
#[test]
fn p03_lines_whose_acks_were_lost_are_not_shown_again() {
    const TEST: &str = "p03_lines_whose_acks_were_lost_are_not_shown_again";
    const LINES: usize = 50;
    let Some(hosts) = hosts_or_skip(TEST, 3, Family::V4) else {
        return;
    };
    let stage = Stage::hosts(&hosts);
    stage.log_in();
    let (mut x, mut y) = stage.chat();
    x.say("acknowledged");
    y.line("acknowledged");
    x.kind("delivered");
    y.signal(Signal::STOP);
    (1..=LINES).for_each(|nth| x.say(&format!("line {nth}")));
    // Long enough for them to lie in Y's host, which nobody can look into.
    pause(Duration::from_millis(500));
    hosts.cable(3, false);
    y.signal(Signal::CONT);
    y.line(&format!("line {LINES}"));
    assert_eq!(y.kill9().lines().len(), LINES + 1);
    let x = x.end();
    assert_eq!((x.code, x.last()), (69, "lost"), "{}", x.err);
    let sent = format!("\"count\":{LINES},\"sent\":{LINES}");
    assert!(
        x.err.contains(&sent),
        "none was acknowledged, all are mailed: {}",
        x.err
    );
    hosts.cable(3, true);
    let refresh = eventually("the server again", || {
        Some(stage.y.run(&["--json", "refresh"])).filter(|run| run.code == 0)
    });
    assert_eq!(refresh.out, "", "all were shown before");
    stage.x.ok(&["send", "bob", "-b", "a mail"]);
    assert_eq!(bodies(&stage.y), ["a mail"]);
}

/// A server that hears neither side for longer than a term takes their leases back; the chat on those ports
/// goes on, also when the server is heard again.
#[test]
fn p06_a_chat_outlives_its_leases() {
    let Some(hosts) = hosts_or_skip("p06_a_chat_outlives_its_leases", 3, Family::V4) else {
        return;
    };
    let stage = Stage::hosts_with(&hosts, "3s");
    stage.log_in();
    let (mut x, mut y) = stage.chat();
    let mut talk_while = |what: &str, goes_on: &mut dyn FnMut() -> bool| {
        let until = now() + PATIENCE;
        while goes_on() {
            assert!(now() < until, "{what} lasts too long");
            x.say(what);
            y.line(what);
            y.say(what);
            x.line(what);
        }
    };
    hosts.cable(1, false);
    talk_while("alone", &mut || !stage.leases("held").is_empty());
    hosts.cable(1, true);
    let until = now() + Duration::from_secs(5);
    talk_while("together", &mut || now() < until);
    y.leave();
    let (x, y) = (x.end(), y.end());
    assert_eq!((x.code, y.code), (0, 0), "{}{}", x.err, y.err);
    eventually("the ports back", || {
        stage.leases("held").is_empty().then_some(())
    });
}
