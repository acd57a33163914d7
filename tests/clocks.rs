//! Clocks that are set: a year ahead, a day back, a second twice, while the server runs and across its
//! restarts. Terms run on the monotonic clock, ages that destroy on the server's running time; only a
//! mail's own expiry and a code's follow the wall clock.

mod common;

use std::path::Path;
use std::time::Duration;

use common::client::{RawClient, Wishes, id_of};
use common::ctl::Ctl;
use common::faketime::WallClock;
use common::server::{Plan, Server};
use common::{Timed, eventually, now, pause, skip};
use correio::auth::keys::KeyPair;
use correio::protocol::reply;
use correio::protocol::request::{self, Request};

/// A year ahead, a day back, and right again.
const JUMPS: [&str; 3] = ["+365d", "-1d", "+0"];

/// A server whose wall clock this test sets.
fn server(folder: &Path, clock: &WallClock, chat_ports: u16, args: &[&str]) -> Server {
    Server::planned(Plan {
        wrapper: clock.words(),
        args: args.iter().map(ToString::to_string).collect(),
        ..Plan::loopback(folder.join("data"), chat_ports)
    })
}

/// Makes the ground of a test; nothing where there is no libfaketime.
fn ground(name: &str) -> Option<(tempfile::TempDir, WallClock)> {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = WallClock::make(folder.path());
    if clock.is_none() {
        skip(name, "libfaketime is not installed");
    }
    Some((folder, clock?))
}

/// The day of the server's wall clock, counted from this machine's.
fn day(client: &mut RawClient) -> i64 {
    let told = client.heartbeat(0).expect("a heartbeat is answered").now;
    let told = chrono::DateTime::parse_from_rfc3339(&told).expect("a time");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a number of days, of seconds that are far below 2^52"
    )]
    let days = ((told.timestamp() as f64 - common::wall_s()) / 86_400.0).round() as i64;
    days
}

/// Sets the clock and waits until the server goes by it.
fn jump(clock: &WallClock, client: &mut RawClient, to: &str) {
    clock.set(to);
    let days: i64 = to.trim_end_matches('d').parse().expect("days");
    eventually("the server's clock was set", || {
        (day(client) == days).then_some(())
    });
}

const PORT: Wishes = Wishes {
    topics: vec![],
    port: true,
};

#[test]
fn p06_a_wall_clock_that_is_set_moves_no_lease() {
    const NAME: &str = "p06_a_wall_clock_that_is_set_moves_no_lease";
    let _timed = Timed::start(NAME);
    let Some((folder, clock)) = ground(NAME) else {
        return;
    };
    let args = ["--lease-ttl", "2s", "--port-rest", "100ms"];
    let mut server = server(folder.path(), &clock, 1, &args);
    let mut ana = RawClient::user_with(&server, "ana", PORT);
    let mut bob = RawClient::user(&server, "bob");
    let mut held = ana.lease_confirmed();
    for to in JUMPS {
        jump(&clock, &mut ana, to);
        // Kept for longer than its term, as long as its holder is heard of.
        let begun = now();
        while begun.elapsed() < Duration::from_millis(2_500) {
            let beat = ana.heartbeat(0).expect("answered");
            assert_eq!(
                beat.lease.map(|lease| lease.epoch),
                Some(held.epoch),
                "{to}"
            );
            assert_eq!(lease(&mut bob), None, "{to}: two holders of one port");
            pause(Duration::from_millis(100));
        }
        // Not heard of: over after its term, and neither at once nor never.
        let begun = now();
        let next = eventually("the lease of a silent client ends", || lease(&mut bob));
        let took = begun.elapsed();
        assert!(
            took > Duration::from_millis(1_500),
            "{to}: over after {took:?}"
        );
        assert!(
            took < Duration::from_secs(10),
            "{to}: over only after {took:?}"
        );
        assert!(next.epoch > held.epoch, "{to}: an epoch is used again");
        held = next;
        std::mem::swap(&mut ana, &mut bob);
    }
    // Across a restart at another time: a full term from then.
    for to in JUMPS {
        server.kill9();
        clock.set(to);
        server.restart();
        ana.reconnect().expect("it is back");
        bob.reconnect().expect("it is back");
        let beat = ana.heartbeat(0).expect("answered");
        assert_eq!(
            beat.lease.map(|lease| lease.epoch),
            Some(held.epoch),
            "{to}"
        );
        assert_eq!(lease(&mut bob), None, "{to}: two holders of one port");
    }
}

/// Asks for a port.
fn lease(client: &mut RawClient) -> Option<reply::LeaseInfo> {
    let make = |session| Request::Lease(request::Lease { session });
    let lent: Result<reply::Lease, _> = client.call(make);
    let lease = lent.ok()?.lease;
    let confirm = |session| {
        Request::LeaseConfirm(request::LeaseWord {
            session,
            port: lease.port,
            epoch: lease.epoch,
        })
    };
    let confirmed: reply::Lease = client.call(confirm).expect("confirmed");
    Some(confirmed.lease)
}

/// A user with a log to look at.
struct Reader {
    client: RawClient,
    bodies: Vec<String>,
}

impl Reader {
    /// Reads everything there is.
    fn read(&mut self) -> Vec<String> {
        let log = self.client.log("bob").log;
        let mails = self.client.read_all(log, 0).expect("it reads");
        let ids: Vec<u64> = mails.iter().map(|mail| mail.envelope.id).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        let bodies = mails.into_iter().map(|mail| mail.body);
        bodies
            .map(|body| String::from_utf8_lossy(&body).into_owned())
            .collect()
    }

    /// Everything that should be there is, at once and after upkeep had its turns.
    fn check(&mut self, when: &str) {
        assert_eq!(self.read(), self.bodies, "{when}");
        pause(Duration::from_millis(1_200));
        assert_eq!(self.read(), self.bodies, "{when}, later");
    }
}

#[test]
fn p02_p03_p07_a_wall_clock_that_is_set_destroys_only_what_said_when_it_ends() {
    const NAME: &str = "p02_p03_p07_a_wall_clock_that_is_set_destroys_only_what_said_when_it_ends";
    let _timed = Timed::start(NAME);
    let Some((folder, clock)) = ground(NAME) else {
        return;
    };
    let mut server = server(folder.path(), &clock, 4, &["--history-age", "1h"]);
    let mut ana = RawClient::user(&server, "ana");
    let mut bob = Reader {
        client: RawClient::user(&server, "bob"),
        bodies: Vec::new(),
    };
    let sessions = (ana.session.clone(), bob.client.session.clone());
    let mut last = 0;
    let mut send = |ana: &mut RawClient, body: &str, ttl_s: Option<u64>| {
        let sent = ana.send_with(&["bob"], body.as_bytes(), |send| send.ttl_s = ttl_s);
        let id = id_of(&sent.expect("sent")[0]);
        assert!(id > last, "ids go on: {id} after {last}");
        last = id;
    };
    send(&mut ana, "for good", None);
    send(&mut ana, "for an hour", Some(3_600));
    send(&mut ana, "for two years", Some(2 * 366 * 86_400));
    bob.bodies = ["for good", "for an hour", "for two years"]
        .map(str::to_owned)
        .to_vec();
    bob.check("before");

    jump(&clock, &mut ana, "-1d");
    bob.check("a day back");
    send(&mut ana, "yesterday for an hour", Some(3_600));
    bob.bodies.push("yesterday for an hour".into());
    bob.check("a day back");

    jump(&clock, &mut ana, "+0");
    bob.bodies.pop();
    expires(&mut bob, 1);

    jump(&clock, &mut ana, "+365d");
    bob.bodies.remove(1);
    expires(&mut bob, 2);
    send(&mut ana, "in a year", None);
    bob.bodies.push("in a year".into());
    bob.check("a year ahead");
    let after = (ana.session.clone(), bob.client.session.clone());
    assert_eq!(after, sessions, "sessions stay");

    for to in JUMPS {
        server.kill9();
        clock.set(to);
        server.restart();
        ana.reconnect().expect("it is back");
        bob.client.reconnect().expect("it is back");
        bob.check(to);
        let body = format!("after a restart at {to}");
        send(&mut ana, &body, None);
        bob.bodies.push(body);
    }
    a_second_twice(&clock, &mut ana, &mut bob, &mut send);
    assert_eq!(server.terminate().0.code(), Some(0));
}

/// Waits until what expired is gone; it is told how many.
fn expires(bob: &mut Reader, count: u64) {
    eventually("what expired is gone", || {
        (bob.read() == bob.bodies).then_some(())
    });
    let log = bob.client.log("bob").log;
    let (page, _) = bob.client.fetch_page(log, 0, Some(0), 100).expect("a page");
    assert_eq!(page.trimmed.map(|trimmed| trimmed.count), Some(count));
    bob.check("after an expiry");
}

/// A leap second as most systems make it: the wall clock shows one second twice.
fn a_second_twice(
    clock: &WallClock,
    ana: &mut RawClient,
    bob: &mut Reader,
    send: &mut impl FnMut(&mut RawClient, &str, Option<u64>),
) {
    for nth in 0..20 {
        clock.set(["+0", "-1"][nth % 2]);
        let body = format!("leap {nth}");
        send(ana, &body, Some(60));
        bob.bodies.push(body);
    }
    clock.set("+0");
    bob.check("after a second that came twice");
}

#[test]
fn p05_a_code_follows_the_wall_clock_and_works_once() {
    const NAME: &str = "p05_a_code_follows_the_wall_clock_and_works_once";
    let _timed = Timed::start(NAME);
    let Some((folder, clock)) = ground(NAME) else {
        return;
    };
    let server = server(folder.path(), &clock, 4, &[]);
    let mut ana = RawClient::user(&server, "ana");
    let code = |ana: &mut RawClient| -> String {
        let make = |session| {
            Request::Invite(request::Invite {
                session,
                user: None,
                device: true,
            })
        };
        let invited: reply::Invited = ana.call(make).expect("a code");
        invited.code
    };
    let redeem = |code: &str| {
        let mut other = RawClient::connect(server.place(), KeyPair::generate().expect("a key"));
        other.register("ana", Some(code)).is_ok()
    };
    let (early, late) = (code(&mut ana), code(&mut ana));
    jump(&clock, &mut ana, "-1d");
    assert!(redeem(&early), "a clock that goes back ends no code");
    assert!(!redeem(&early), "a code works once");
    jump(&clock, &mut ana, "+365d");
    assert!(
        !redeem(&late),
        "a code ends after 24 hours of the wall clock"
    );
    let fresh = code(&mut ana);
    assert!(redeem(&fresh), "new ones are made and work");
    jump(&clock, &mut ana, "+0");
    assert!(!redeem(&fresh), "a code works once");
}

#[test]
fn p03_a_client_whose_clock_is_wrong_sends_and_shows_once() {
    const NAME: &str = "p03_a_client_whose_clock_is_wrong_sends_and_shows_once";
    let _timed = Timed::start(NAME);
    let Some((folder, clock)) = ground(NAME) else {
        return;
    };
    let server = Server::start();
    let homes = ["ana", "bob"].map(|name| folder.path().join(name));
    let [ana, bob] = homes.map(|home| {
        std::fs::create_dir(&home).expect("a folder");
        Ctl::new(&server, &home).wrapped(&clock.words())
    });
    let mut sent = Vec::new();
    for (nth, to) in ["+365d", "-1d", "+0"].into_iter().enumerate() {
        clock.set(to);
        if nth == 0 {
            ana.ok(&["login", "ana"]);
            bob.ok(&["login", "bob"]);
        }
        for number in 0..3 {
            let body = format!("{to} {number}");
            ana.ok(&["send", "@bob", "-b", &body]);
            sent.push(body);
            if number == 1 {
                // Shown at one time, and not again at another.
                shown(&bob, &mut sent);
            }
        }
    }
    shown(&bob, &mut sent);
    for to in JUMPS {
        clock.set(to);
        shown(&bob, &mut sent);
        let run = bob.ok(&["history", "bob", "--json"]);
        let times = run
            .objects()
            .into_iter()
            .map(|mail| mail["sent_at"].to_string());
        let times: Vec<String> = times.collect();
        assert!(times.is_sorted(), "the broker's times, not ours: {times:?}");
    }
}

/// Refreshes: exactly what was sent since the last time is shown.
fn shown(bob: &Ctl, sent: &mut Vec<String>) {
    let run = bob.ok(&["refresh", "--json"]);
    let mails = run
        .objects()
        .into_iter()
        .filter(|row| row["kind"] == "mail");
    let bodies: Vec<String> = mails
        .filter_map(|mail| mail["body"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(bodies, *sent, "{}", run.err);
    sent.clear();
}
