//! P6 and P13: one holder per port, rest before reuse, expiry of the dead, and leases in force again
//! after a restart.

mod common;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use common::client::{RawClient, Trouble, Wishes};
use common::server::Server;
use common::{Timed, eventually, now};
use correio::auth::keys::KeyPair;
use correio::protocol::codes::Code;
use correio::protocol::reply::{self, LeaseInfo};
use correio::protocol::request::{self, AdminWhat, Request};

/// A pool of `ports` with a term of 1.5 s and a rest of 0.7 s.
fn server(ports: u16) -> Server {
    Server::start_with(ports, &["--lease-ttl", "1500ms", "--port-rest", "700ms"])
}

const TERM: Duration = Duration::from_millis(1500);
const REST: Duration = Duration::from_millis(700);

/// A new user with a standing session.
fn standing(server: &Server, name: &str) -> RawClient {
    RawClient::user_with(
        server,
        name,
        Wishes {
            topics: vec![],
            port: true,
        },
    )
}

/// A further session of the same device.
fn another(server: &Server, client: &RawClient) -> RawClient {
    let mut other = RawClient::connect(server.place(), client.key.clone());
    other
        .login(Wishes {
            topics: vec![],
            port: true,
        })
        .expect("logs in");
    other
}

fn lease(client: &RawClient) -> Option<LeaseInfo> {
    client.welcome.as_ref().expect("it logged in").lease
}

fn held(client: &RawClient) -> LeaseInfo {
    lease(client).expect("a port was free")
}

type Word = fn(request::LeaseWord) -> Request;

fn word(
    client: &mut RawClient,
    verb: Word,
    lease: LeaseInfo,
) -> Result<serde_json::Value, Trouble> {
    let LeaseInfo { port, epoch, .. } = lease;
    client.call(|session| {
        verb(request::LeaseWord {
            session,
            port,
            epoch,
        })
    })
}

fn confirm(client: &mut RawClient, lease: LeaseInfo) {
    word(client, Request::LeaseConfirm, lease).expect("confirmed");
}

fn release(client: &mut RawClient, lease: LeaseInfo) {
    word(client, Request::LeaseRelease, lease).expect("released");
}

fn ask(client: &mut RawClient) -> Result<LeaseInfo, Trouble> {
    let lease: reply::Lease = client.call(|session| Request::Lease(request::Lease { session }))?;
    Ok(lease.lease)
}

/// Asks until a port is lent, keeping the session alive, and returns it with the time it took.
fn ask_until(client: &mut RawClient) -> (LeaseInfo, Duration) {
    let begin = now();
    let lease = eventually("a port", || match ask(client) {
        Ok(lease) => Some(lease),
        Err(trouble) => {
            assert_eq!(trouble.code(), Some(Code::NoPort), "{trouble:?}");
            None
        }
    });
    (lease, begin.elapsed())
}

/// Ports and states as an administrator sees them.
fn states(server: &Server) -> Vec<(u16, String)> {
    let rows = RawClient::admin(server)
        .admin_rows(AdminWhat::LeaseLs, None)
        .expect("rows");
    let row = |row: &serde_json::Value| {
        let port = row["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        (
            port.expect("a port"),
            row["state"].as_str().expect("a state").to_owned(),
        )
    };
    rows.iter().map(row).collect()
}

#[test]
fn p06_the_pool_is_lent_in_order_and_to_one_session_each() {
    let server = server(6);
    let sessions: Vec<RawClient> = (0..3)
        .map(|nth| standing(&server, &format!("user-{nth}")))
        .collect();
    let ports: Vec<u16> = sessions.iter().map(|client| held(client).port).collect();
    assert_eq!(ports, server.pool()[..3]);
    let epochs: HashSet<u64> = sessions.iter().map(|client| held(client).epoch).collect();
    assert_eq!(epochs.len(), 3, "every lease has an epoch of its own");
    let more = another(&server, &sessions[0]);
    assert_eq!(
        held(&more).port,
        server.pool()[3],
        "each session has a port of its own"
    );
}

#[test]
fn p06_a_freed_port_rests_and_goes_to_the_back_of_the_queue() {
    let server = server(2);
    let mut ana = standing(&server, "ana");
    let first = held(&ana);
    confirm(&mut ana, first);
    release(&mut ana, first);
    let freed = now();
    let second = ask(&mut ana).expect("the other port is free");
    assert_ne!(second.port, first.port, "a resting port is not lent");
    let mut bob = standing(&server, "bob");
    if freed.elapsed() < REST {
        assert_eq!(
            lease(&bob),
            None,
            "no port is free, and login succeeds all the same"
        );
        let no_lease = bob
            .welcome
            .as_ref()
            .and_then(|w| w.no_lease.clone())
            .expect("why");
        assert_eq!(no_lease.code, Code::NoPort);
        assert!(
            no_lease.retry_after_ms.is_some_and(|ms| ms <= 700),
            "{no_lease:?}"
        );
    }
    let (third, _) = ask_until(&mut bob);
    assert!(
        freed.elapsed() >= REST.mul_f64(0.95),
        "the rest was shortened"
    );
    assert_eq!(third.port, first.port);
    assert!(
        third.epoch > second.epoch && second.epoch > first.epoch,
        "epochs only grow"
    );
}

#[test]
fn p06_an_old_epoch_and_another_session_have_no_say() {
    let server = server(1);
    let mut ana = standing(&server, "ana");
    let old = held(&ana);
    let mut bob = RawClient::user(&server, "bob");
    let lost = word(&mut bob, Request::LeaseConfirm, old).expect_err("not his");
    assert_eq!(lost.code(), Some(Code::LeaseLost));
    let none = word(&mut bob, Request::LeaseBusy, old).expect_err("he holds none");
    assert_eq!(none.code(), Some(Code::LeaseLost));
    let lost = word(&mut bob, Request::LeaseRelease, old).expect_err("it was never his");
    assert_eq!(lost.code(), Some(Code::LeaseLost));
    confirm(&mut ana, old);
    release(&mut ana, old);
    let (new, _) = ask_until(&mut ana);
    assert_eq!(new.port, old.port);
    let lost = word(&mut ana, Request::LeaseConfirm, old).expect_err("an old epoch");
    assert_eq!(lost.code(), Some(Code::LeaseLost));
    confirm(&mut ana, new);
}

#[test]
fn p06_the_lease_of_a_dead_client_expires_and_a_living_one_is_renewed() {
    let _timed = Timed::start("p06_the_lease_of_a_dead_client_expires_and_a_living_one_is_renewed");
    let server = server(2);
    let dead = standing(&server, "dead");
    let mut living = standing(&server, "living");
    let (port, mine) = (held(&dead).port, held(&living));
    confirm(&mut living, mine);
    drop(dead);
    let died = now();
    let lease = eventually("the dead client's port", || {
        let beat = living.heartbeat(0).expect("a heartbeat is answered");
        assert_eq!(
            beat.lease.map(|l| (l.port, l.epoch)),
            Some((mine.port, mine.epoch))
        );
        states(&server)
            .iter()
            .any(|(p, state)| *p == port && state == "resting")
            .then_some(port)
    });
    assert_eq!(lease, port);
    assert!(
        died.elapsed() >= TERM.mul_f64(0.8),
        "a term is never shortened"
    );
    assert!(died.elapsed() < TERM * 4, "and ends: {:?}", died.elapsed());
    let mut heir = RawClient::user(&server, "heir");
    let (lease, _) = ask_until(&mut heir);
    assert_eq!(lease.port, port);
    assert!(
        died.elapsed() >= (TERM + REST).mul_f64(0.9),
        "it rested first"
    );
}

#[test]
fn p06_a_killed_process_gives_its_port_back() {
    let _timed = Timed::start("p06_a_killed_process_gives_its_port_back");
    let server = server(1);
    let folder = tempfile::tempdir().expect("a folder");
    let ctl = common::ctl::Ctl::new(&server, folder.path());
    ctl.ok(&["login", "ana"]);
    let mut watch = ctl.spawn(&["watch", "--json"]);
    let pool = server.pool()[0];
    let is = |wanted: &'static str| {
        let server = &server;
        move || {
            states(server)
                .iter()
                .any(|(p, s)| *p == pool && s == wanted)
                .then_some(())
        }
    };
    eventually("a watch that holds its port", is("held"));
    watch.kill().expect("killed");
    watch.wait().expect("gone");
    eventually("the port at rest", is("resting"));
    eventually("the port free again", is("free"));
}

#[test]
fn p06_a_busy_port_is_replaced() {
    let server = server(3);
    let mut ana = standing(&server, "ana");
    let busy = held(&ana);
    let other = word(&mut ana, Request::LeaseBusy, busy).expect("another");
    let other: LeaseInfo = serde_json::from_value(other["lease"].clone()).expect("a lease");
    assert_ne!(other.port, busy.port);
    assert!(other.epoch > busy.epoch);
    confirm(&mut ana, other);
    assert_eq!(
        word(&mut ana, Request::LeaseConfirm, busy)
            .expect_err("gone")
            .code(),
        Some(Code::LeaseLost)
    );
}

#[test]
fn p06_a_user_has_a_limit_and_logs_in_all_the_same() {
    let server = Server::start_with(6, &["--ports-per-user", "2"]);
    let ana = standing(&server, "ana");
    let second = another(&server, &ana);
    let mut third = another(&server, &ana);
    assert!(lease(&ana).is_some() && lease(&second).is_some());
    assert_eq!(lease(&third), None);
    let refused = ask(&mut third).expect_err("over the limit").code();
    assert!(
        matches!(refused, Some(Code::NoPort | Code::LimitReached)),
        "{refused:?}"
    );
    let bob = standing(&server, "bob");
    assert!(lease(&bob).is_some(), "others have what one may not");
    assert!(third.mail("ana", b"works without a port") > 0);
}

#[test]
fn p06_logout_gives_back_all_ports_of_the_device() {
    let server = server(3);
    let mut ana = standing(&server, "ana");
    let second = another(&server, &ana);
    let bob = standing(&server, "bob");
    ana.logout(false).expect("logs out");
    let resting: Vec<u16> = states(&server)
        .into_iter()
        .filter(|(_, s)| s == "resting")
        .map(|(p, _)| p)
        .collect();
    assert_eq!(resting, [held(&ana).port, held(&second).port]);
    let other = states(&server)
        .into_iter()
        .find(|(p, _)| *p == held(&bob).port);
    assert_eq!(other.expect("listed").1, "offered");
}

#[test]
fn p13_leases_epochs_and_rests_are_in_force_after_a_restart() {
    let _timed = Timed::start("p13_leases_epochs_and_rests_are_in_force_after_a_restart");
    let mut server = server(3);
    let mut ana = standing(&server, "ana");
    let mut bob = standing(&server, "bob");
    let (anas, bobs) = (held(&ana), held(&bob));
    confirm(&mut ana, anas);
    release(&mut bob, bobs);
    server.kill9();
    server.restart();
    let back = now();
    let mut eve = standing(&server, "eve");
    let eves = held(&eve);
    assert_eq!(
        eves.port,
        server.pool()[2],
        "neither the held nor the resting port is lent"
    );
    assert!(eves.epoch > anas.epoch.max(bobs.epoch), "epochs go on");
    ana.reconnect().expect("resumes");
    assert_eq!(
        lease(&ana).map(|l| (l.port, l.epoch)),
        Some((anas.port, anas.epoch))
    );
    assert!(
        lease(&ana).expect("kept").ttl_ms >= 1000,
        "with a full term"
    );
    confirm(&mut ana, anas);
    let mut heir = RawClient::user(&server, "heir");
    loop {
        drop(ana.heartbeat(0).expect("kept"));
        drop(eve.heartbeat(0).expect("kept"));
        match ask(&mut heir) {
            Ok(lease) => {
                assert_eq!(lease.port, bobs.port);
                assert!(lease.epoch > eves.epoch);
                break;
            }
            Err(trouble) => assert_eq!(trouble.code(), Some(Code::NoPort)),
        }
        assert!(back.elapsed() < common::PATIENCE);
    }
}

#[test]
fn p13_a_lease_nobody_resumes_after_a_restart_has_a_full_term_and_then_ends() {
    let _timed = Timed::start("p13_a_lease_nobody_resumes_after_a_restart");
    let mut server = server(1);
    let mut ana = standing(&server, "ana");
    let lease = held(&ana);
    confirm(&mut ana, lease);
    server.kill9();
    server.restart();
    let back = now();
    let mut bob = RawClient::connect(server.place(), KeyPair::generate().expect("a key"));
    bob.register("bob", None).expect("registers");
    bob.login(Wishes::default()).expect("logs in");
    let (port, _) = ask_until(&mut bob);
    assert_eq!(port.port, lease.port);
    assert!(
        back.elapsed() >= (TERM + REST).mul_f64(0.85),
        "{:?}",
        back.elapsed()
    );
    let stale = word(&mut ana, Request::LeaseConfirm, lease);
    assert!(stale.is_err(), "the old holder lost it");
}

#[test]
fn p06_many_sessions_at_once_never_share_a_port() {
    const USERS: usize = 8;
    let server = Server::start_with(24, &["--lease-ttl", "30s", "--port-rest", "50ms"]);
    let place = server.place();
    let threads = (0..USERS).map(|nth| {
        let place = std::sync::Arc::clone(&place);
        std::thread::spawn(move || {
            let mut client = RawClient::connect(place, KeyPair::generate().expect("a key"));
            client
                .register(&format!("user-{nth}"), None)
                .expect("registers");
            client.login(Wishes::default()).expect("logs in");
            hold_and_release(&mut client)
        })
    });
    let threads: Vec<_> = threads.collect();
    let spans: Vec<Span> = threads
        .into_iter()
        .flat_map(|t| t.join().expect("a holder ends well"))
        .collect();
    for (nth, one) in spans.iter().enumerate() {
        for other in &spans[nth + 1..] {
            let apart = one.port != other.port || one.to <= other.from || other.to <= one.from;
            assert!(apart, "{one:?} and {other:?} held one port at once");
        }
    }
    let epochs: HashSet<u64> = spans.iter().map(|span| span.epoch).collect();
    assert_eq!(epochs.len(), spans.len(), "no epoch is given twice");
}

#[derive(Debug)]
struct Span {
    port: u16,
    epoch: u64,
    from: Instant,
    to: Instant,
}

fn hold_and_release(client: &mut RawClient) -> Vec<Span> {
    (0..12)
        .map(|_| {
            let (lease, _) = ask_until(client);
            let from = now();
            confirm(client, lease);
            let to = now();
            release(client, lease);
            Span {
                port: lease.port,
                epoch: lease.epoch,
                from,
                to,
            }
        })
        .collect()
}
