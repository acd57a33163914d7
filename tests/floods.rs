//! P8 and P9: floods. Several attackers for some seconds while a good user sends and receives: all his
//! requests succeed, what was acknowledged is there, and memory is bounded. How long others wait beside
//! a flood is measured elsewhere; here it is only printed.

#![allow(clippy::print_stdout, reason = "figures belong in a test's output")]

mod common;

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::client::{RawClient, Trouble, Wishes, context, dealer};
use common::server::{Place, Server};
use common::watch::Watcher;
use common::{Timed, eventually, now, scale};
use correio::auth::keys::KeyPair;
use correio::protocol::names::UserName;
use correio::protocol::notice::{Notice, NoticeKey};
use correio::protocol::request::{self, Request};

/// KiB that a flood may make the server hold more than before.
const HELD_KIB: u64 = 300 * 1024;

/// Attackers of each kind.
const ATTACKERS: usize = 3;

/// One deed of an attacker, done again and again.
type Deed = Box<dyn FnMut() + Send>;

/// Attackers at work.
struct Flood {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Flood {
    fn start(deeds: Vec<Deed>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = deeds.into_iter().map(|mut deed| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut done = 0;
                while !stop.load(Ordering::SeqCst) {
                    deed();
                    done += 1;
                }
                done
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    fn end(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.threads.into_iter().map(std::thread::JoinHandle::join);
        ended.map(|done| done.expect("an attacker goes on")).sum()
    }
}

/// Sends and reads as a good user for as long as the flood lasts, and checks all of it.
fn beside(name: &str, server: &mut Server, ana: &mut RawClient, deeds: Vec<Deed>) {
    let seconds = scale("CORREIO_FLOOD_SECONDS", 2) as u64;
    let log = ana.log("ana").log;
    let from = ana.log("ana").head;
    let before = server.rss_kib();
    let flood = Flood::start(deeds);
    let begin = now();
    let (mut most, mut ids, mut took) = (before, Vec::new(), Vec::new());
    while begin.elapsed() < Duration::from_secs(seconds) || ids.len() < 10 {
        let sent = now();
        ids.push(ana.mail("ana", format!("{name} {}", ids.len()).as_bytes()));
        took.push(sent.elapsed());
        most = most.max(server.rss_kib());
        common::pause(Duration::from_millis(5));
    }
    let done = flood.end();
    took.sort_unstable();
    println!(
        "{name}: {done} deeds; {} good sends, {:?} (median), {:?} (most); resident {} to {} MiB",
        took.len(),
        took[took.len() / 2],
        took[took.len() - 1],
        before >> 10,
        most >> 10
    );
    assert!(done > 0, "{name}: there was a flood");
    assert!(server.is_up(), "{name}: the server goes on");
    assert!(most < before + HELD_KIB, "{name}: memory is bounded");
    let read: Vec<u64> = ana
        .read_all(log, from)
        .expect("reads")
        .iter()
        .filter(|mail| mail.body.starts_with(name.as_bytes()))
        .map(|mail| mail.envelope.id)
        .collect();
    assert_eq!(
        read, ids,
        "{name}: all that was acknowledged is there, in order"
    );
}

/// Sends frames as fast as the connection takes them, and reads what comes back.
fn pour(
    place: &Arc<Place>,
    key: &KeyPair,
    mut make: impl FnMut(u64) -> Vec<Vec<u8>> + Send + 'static,
) -> Deed {
    let socket = dealer(place, key).0;
    let mut nth = 0;
    Box::new(move || {
        nth += 1;
        if socket.poll(zmq::POLLOUT, 10).unwrap_or(0) > 0 {
            let _ = socket.send_multipart(make(nth), zmq::DONTWAIT);
        }
        while socket.recv_multipart(zmq::DONTWAIT).is_ok() {}
    })
}

/// The same deed by each attacker, with its session and stream.
fn each(
    server: &Server,
    eves: &[RawClient],
    make: impl Fn(&str, u64, u64) -> Vec<Vec<u8>> + Clone + Send + 'static,
) -> Vec<Deed> {
    let deed = |eve: &RawClient| {
        let (make, session, stream) = (make.clone(), eve.session.clone(), eve.stream);
        pour(&server.place(), &eve.key, move |nth| {
            make(&session, stream, nth)
        })
    };
    eves.iter().map(deed).collect()
}

fn eves(server: &Server, port: bool) -> Vec<RawClient> {
    let eve = |nth| {
        let wishes = Wishes {
            port,
            ..Wishes::default()
        };
        let mut eve = RawClient::user_with(server, &format!("eve-{nth}"), wishes);
        if port {
            eve.lease_confirmed();
        }
        eve
    };
    (0..ATTACKERS).map(eve).collect()
}

fn framed(request: &Request) -> Vec<Vec<u8>> {
    vec![b"1".to_vec(), request.encode()]
}

#[test]
fn p09_floods_of_requests_harm_nobody() {
    let _timed = Timed::start("p09_floods_of_requests_harm_nobody");
    let mut server = Server::start_with(32, &["--mailbox-mails", "3000", "--registrations", "300"]);
    let mut ana = RawClient::user(&server, "ana");
    let mut bob = RawClient::user(&server, "bob");
    let eves = eves(&server, false);
    let logins = each(&server, &eves, |_, _, _| {
        framed(&Request::Login(request::Login {
            want_stream: true,
            want_port: true,
            ..request::Login::default()
        }))
    });
    beside("logins", &mut server, &mut ana, logins);
    let garbage = each(&server, &eves, |_, _, nth| {
        vec![b"1".to_vec(), vec![b'{'; (nth % 60_000) as usize]]
    });
    beside("garbage", &mut server, &mut ana, garbage);
    let filling = each(&server, &eves, |session, stream, nth| {
        let send = request::Send {
            session: session.to_owned(),
            stream,
            number: nth,
            settled_below: nth,
            to: vec!["bob".into()],
            subject: String::new(),
            content_type: request::default_content_type(),
            ttl_s: None,
            parts: None,
            in_reply_to: None,
            thread: None,
        };
        [framed(&Request::Send(send)), vec![vec![b'x'; 1_000]]].concat()
    });
    beside("mailbox filling", &mut server, &mut ana, filling);
    let registrations = (0..ATTACKERS).map(|attacker| {
        let key = KeyPair::generate().expect("a key");
        pour(&server.place(), &key, move |nth| {
            framed(&Request::Register(request::Register {
                user: UserName::parse(&format!("new-{attacker}-{nth}")).ok(),
                device: String::new(),
                code: Some(format!("{nth:020x}")),
            }))
        })
    });
    let registrations = registrations.collect();
    beside("registrations", &mut server, &mut ana, registrations);
    let log = bob.log("bob").log;
    let kept = bob.read_all(log, 0).expect("reads").len();
    assert!(kept <= 3_000, "a mailbox has its limit: {kept}");
}

#[test]
fn p06_floods_for_ports_and_chats_leave_some_to_others() {
    let _timed = Timed::start("p06_floods_for_ports_and_chats_leave_some_to_others");
    // Three times what a user may hold is the most he can hold or send to rest.
    let mut server = Server::start_with(80, &["--port-rest", "1h"]);
    let mut ana = RawClient::user(&server, "ana");
    let eves = eves(&server, true);
    let asks = each(&server, &eves, |session, _, nth| {
        framed(&Request::ChatAsk(request::ChatAsk {
            session: session.to_owned(),
            user: UserName::parse("ana").expect("a name"),
            nonce: Some(nth.to_string()),
            host: None,
        }))
    });
    beside("invitations", &mut server, &mut ana, asks);
    let grabs = each(&server, &eves, |session, _, nth| {
        let session = session.to_owned();
        framed(&match nth % 3 {
            0 => Request::Lease(request::Lease { session }),
            // All pairs in turn: one of them is the lease there is.
            at => Request::LeaseBusy(request::LeaseWord {
                session,
                port: 0,
                epoch: nth / 3 + at,
            }),
        })
    });
    beside("leases", &mut server, &mut ana, grabs);
    for mut eve in eves {
        let mut got = 0;
        while got < 1_000 {
            let session = eve.session.clone();
            let asked: Result<correio::protocol::reply::Lease, Trouble> =
                eve.ask(&Request::Lease(request::Lease { session }));
            let Ok(lent) = asked else { break };
            let word = request::LeaseWord {
                session: eve.session.clone(),
                port: lent.lease.port,
                epoch: lent.lease.epoch,
            };
            let given: Result<correio::protocol::reply::Done, Trouble> =
                eve.ask(&Request::LeaseRelease(word));
            given.expect("given back");
            got += 1;
        }
        assert!(got <= 24, "one user sent {got} ports to rest");
    }
    let mut late = RawClient::user_with(
        &server,
        "late",
        Wishes {
            port: true,
            ..Wishes::default()
        },
    );
    late.lease_confirmed();
}

/// A client of the live socket that says one thing after the other.
fn subscriber(
    server: &Server,
    key: &KeyPair,
    mut word: impl FnMut(u64) -> Vec<u8> + Send + 'static,
) -> Deed {
    let url = server.url();
    let socket = context().socket(zmq::XSUB).expect("a socket");
    socket.set_linger(0).expect("an option");
    socket.set_sndhwm(1_000).expect("an option");
    socket.set_curve_serverkey(&url.key).expect("an option");
    socket.set_curve_publickey(&key.public).expect("an option");
    socket.set_curve_secretkey(key.secret()).expect("an option");
    socket
        .connect(&url.endpoint(server.live_port()))
        .expect("a connection");
    let mut nth = 0_u64;
    Box::new(move || {
        nth += 1;
        if socket.poll(zmq::POLLOUT, 10).unwrap_or(0) > 0 {
            let _ = socket.send(word(nth), zmq::DONTWAIT);
        }
    })
}

/// A subscriber that asks for what it may not hear.
fn greedy(server: &Server, key: &KeyPair) -> Deed {
    subscriber(server, key, |nth| format!("\u{1}{nth:0200}").into_bytes())
}

/// Connections that say nothing, so many at a time.
fn half_open(port: u16, most: usize) -> Deed {
    let mut held = std::collections::VecDeque::new();
    Box::new(move || {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            held.push_back(stream);
        }
        if held.len() > most {
            held.pop_front();
        }
    })
}

#[test]
fn p08_floods_of_subscriptions_frames_and_connections_cost_bounded_memory() {
    let _timed =
        Timed::start("p08_floods_of_subscriptions_frames_and_connections_cost_bounded_memory");
    let mut server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let eves = eves(&server, false);
    let subscriptions = eves.iter().map(|eve| greedy(&server, &eve.key)).collect();
    beside("subscriptions", &mut server, &mut ana, subscriptions);
    println!(
        "the live socket was opened anew {} times",
        server.log().matches("opened anew").count()
    );
    let giants = each(&server, &eves, |_, _, nth| match nth % 50 {
        0 => vec![b"1".to_vec(), vec![b'x'; 70_000]],
        _ => vec![b"1".to_vec(), vec![b'x'; 65_536], vec![b'y'; 65_536]],
    });
    beside("giant frames", &mut server, &mut ana, giants);
    let many = each(&server, &eves, |_, _, _| vec![b"part".to_vec(); 2_000]);
    beside("many parts", &mut server, &mut ana, many);
    let ports = [server.url().port, server.live_port(), server.url().port];
    let connections = ports.iter().map(|port| half_open(*port, 200)).collect();
    beside("half-open connections", &mut server, &mut ana, connections);
    RawClient::user(&server, "late").mail("ana", b"served");
}

#[test]
fn p09_users_who_abuse_the_live_socket_lose_it_alone() {
    let _timed = Timed::start("p09_users_who_abuse_the_live_socket_lose_it_alone");
    let mut server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let row = ana.log("ana");
    let own = NoticeKey::from_hex(&row.key).expect("a key").to_bytes();
    let reader = Watcher::connect(&server.url(), server.live_port(), &ana.key, &[own.to_vec()]);
    let granted = Notice::Granted { log: row.log };
    let (_, found) = reader.until(Duration::from_secs(10), |notice, _| *notice == granted);
    assert!(found, "ana listens");
    let mut eves = eves(&server, false);
    let theirs = eves[2].log("eve-2").key;
    let theirs = NoticeKey::from_hex(&theirs).expect("a key").to_bytes();
    let deeds = vec![
        greedy(&server, &eves[0].key),
        subscriber(&server, &eves[1].key, |_| b"\x02no subscription".to_vec()),
        subscriber(&server, &eves[2].key, move |nth| {
            [&[u8::try_from(nth % 2).expect("0 or 1")], &theirs[..]].concat()
        }),
    ];
    beside("the live socket", &mut server, &mut ana, deeds);
    let last = ana.mail("ana", b"the last");
    let is_last = |notice: &Notice, _: Option<&[u8]>| matches!(notice, Notice::Mail { envelope, .. } if envelope.id == last);
    let (heard, found) = reader.until(Duration::from_secs(10), is_last);
    assert!(found, "ana hears of her mail");
    let grants = heard.iter().filter(|(notice, _)| *notice == granted);
    assert_eq!(grants.count(), 0, "by the connection she had");
    assert!(!server.log().contains("opened anew"), "{}", server.log());
}

#[test]
fn p08_an_endless_message_ends_the_process_and_nothing_acknowledged() {
    let _timed = Timed::start("p08_an_endless_message_ends_the_process_and_nothing_acknowledged");
    let mut server = Server::start_with(4, &["--memory-max", "140 MiB"]);
    let mut ana = RawClient::user(&server, "ana");
    let eve = RawClient::user(&server, "eve");
    let mut ids = Vec::new();
    for round in 0..2 {
        for nth in 0..20 {
            ids.push(ana.mail("ana", format!("{round} {nth}").as_bytes()));
        }
        let (socket, _) = dealer(&server.place(), &eve.key);
        socket
            .send_multipart(vec![vec![b'x'; 65_536]; 4_000], 0)
            .expect("it is sent");
        eventually("the end of the process", || (!server.is_up()).then_some(()));
        let (ended, _) = server.terminate();
        assert_eq!(ended.code(), Some(75), "{}", server.log());
        // What a supervisor does.
        drop(socket);
        let took = server.restart_timed();
        println!("ready again after {took:?}");
    }
    ids.push(ana.mail("ana", b"at the end"));
    let log = ana.log("ana").log;
    let read: Vec<u64> = ana
        .read_all(log, 0)
        .expect("reads")
        .iter()
        .map(|mail| mail.envelope.id)
        .collect();
    assert_eq!(read, ids);
}

/// Processor time of a process so far.
fn busy_for(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// A server that may have as many files open as one must at least.
fn with_few_handles(folder: &std::path::Path) -> Server {
    let mut plan = common::server::Plan::loopback(folder.join("data"), 4);
    plan.wrapper = ["sh", "-c", "ulimit -n 256; exec \"$0\" \"$@\""]
        .map(str::to_owned)
        .to_vec();
    Server::planned(plan)
}

#[test]
fn p09_without_a_file_handle_left_the_server_serves_who_is_there() {
    let _timed = Timed::start("p09_without_a_file_handle_left_the_server_serves_who_is_there");
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = with_few_handles(folder.path());
    let mut ana = RawClient::user(&server, "ana");
    let port = server.url().port;
    let held: Vec<_> = (0..400)
        .filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok())
        .collect();
    let (begin, busy) = (now(), busy_for(server.pid()));
    let mut took = Vec::new();
    while begin.elapsed() < Duration::from_secs(3) {
        let sent = now();
        ana.mail("ana", b"x");
        took.push(sent.elapsed());
        common::pause(Duration::from_millis(20));
    }
    took.sort_unstable();
    println!(
        "{} connections, 256 handles: {} good sends, {:?} at most; {:?} of processor in {:?}",
        held.len(),
        took.len(),
        took[took.len() - 1],
        busy_for(server.pid()).saturating_sub(busy),
        begin.elapsed()
    );
    assert!(server.is_up(), "{}", server.log());
    drop(held);
    RawClient::user(&server, "late").mail("ana", b"let in again");
}

#[test]
fn p09_a_live_socket_that_must_be_opened_anew_waits_for_a_file_handle() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = with_few_handles(folder.path());
    let mut ana = RawClient::user(&server, "ana");
    // Together they are denied more than the live socket keeps, one alone would only lose his connection.
    let eves: Vec<_> = (0..24)
        .map(|nth| RawClient::user(&server, &format!("eve-{nth}")))
        .collect();
    let mut asks: Vec<_> = eves.iter().map(|eve| greedy(&server, &eve.key)).collect();
    // So that their connections are there before the handles are taken.
    for ask in &mut asks {
        ask();
    }
    common::pause(Duration::from_secs(1));
    let port = server.url().port;
    let held: Vec<_> = (0..400)
        .filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok())
        .collect();
    let renewed = |server: &Server| server.log().contains("opened anew");
    eventually("too much to be denied", || {
        for _ in 0..20 {
            for ask in &mut asks {
                ask();
            }
        }
        (renewed(&server) || !server.is_up()).then_some(())
    });
    common::pause(Duration::from_millis(300));
    ana.mail("ana", b"served meanwhile");
    assert!(server.is_up(), "{}", server.log());
    drop(held);
    RawClient::user(&server, "late").mail("ana", b"let in again");
}
