//! P9: any bytes on any socket get a coded error or a cut connection, and nobody else notices.

#![allow(clippy::print_stdout, reason = "figures belong in a test's output")]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::client::{RawClient, context, dealer};
use common::rng::Rng;
use common::server::Server;
use common::{Timed, now};
use correio::auth::keys::KeyPair;
use correio::protocol::request::VERBS;
use serde_json::{Value, json};

/// What a deep or odd JSON text looks like.
fn odd_json(rng: &mut Rng) -> Vec<u8> {
    match rng.below(9) {
        0 => vec![b'['; 60_000],
        1 => "{\"verb\":".repeat(5_000).into_bytes(),
        2 => rng.bytes(300),
        3 => Vec::new(),
        4 => b"null".to_vec(),
        5 => b"{\"verb\":\"send\",\"verb\":\"fetch\"}".to_vec(),
        6 => b"{\"verb\":\"hello\",\"versions\":[18446744073709551615,1e999]}".to_vec(),
        _ => odd_request(rng).to_string().into_bytes(),
    }
}

/// A known verb with fields that do not belong, or do and are odd.
fn odd_request(rng: &mut Rng) -> Value {
    let fields = [
        "session",
        "stream",
        "number",
        "settled_below",
        "to",
        "subject",
        "log",
        "logs",
        "after",
        "mails",
        "bytes",
        "topic",
        "topics",
        "from",
        "port",
        "epoch",
        "user",
        "code",
        "what",
        "index",
        "parts",
        "id",
        "offset",
        "resume",
        "address",
        "magic",
        "versions",
        "ttl_s",
        "content_type",
        "known",
        "want_stream",
        "want_port",
    ];
    let mut request = json!({ "verb": rng.pick(VERBS) });
    for field in fields {
        let value = match rng.below(12) {
            0 => json!(u64::MAX),
            1 => json!(-1),
            2 => json!(""),
            3 => json!("x".repeat(rng.index(5_000))),
            4 => json!([[1, 2], [3]]),
            5 => json!(null),
            6 => json!({ "after": 1 }),
            7 => json!(1),
            8 => json!(["ana", "ana", "\u{202e}ana", "news"]),
            9 => json!("\u{0}\u{1b}[31m"),
            10 => json!(1.5e300),
            _ => continue,
        };
        request[field] = value;
    }
    request
}

/// Sends odd frames from a key until told to stop; returns how many replies came.
fn attack(place: &common::server::Place, key: &KeyPair, mut rng: Rng, stop: &AtomicBool) -> usize {
    let (mut socket, _) = dealer(place, key);
    let (mut replies, mut sent) = (0, 0);
    // A fast bystander is done before much was answered here: go on until something was.
    while !stop.load(Ordering::SeqCst) || (replies <= 50 && sent < 5_000) {
        sent += 1;
        let frames: Vec<Vec<u8>> = match rng.below(10) {
            0 => (0..rng.index(40)).map(|_| rng.bytes(20)).collect(),
            1 => vec![rng.bytes(100), odd_json(&mut rng)],
            2 => vec![Vec::new(), odd_json(&mut rng)],
            3 => vec![b"1".to_vec()],
            4 => vec![b"1".to_vec(), vec![b' '; 100_000]],
            _ => vec![b"1".to_vec(), odd_json(&mut rng), rng.bytes(50)],
        };
        let _ = socket.send_multipart(frames, zmq::DONTWAIT);
        while socket.poll(zmq::POLLIN, 2).unwrap_or(0) > 0 {
            let reply = socket.recv_multipart(0).expect("a reply");
            let header: Value = serde_json::from_slice(&reply[1]).expect("replies are JSON");
            assert!(header["ok"].is_boolean(), "{header}");
            assert_ne!(header["error"]["code"], "internal", "{header}");
            replies += 1;
        }
        if rng.below(50) == 0 {
            (socket, _) = dealer(place, key);
        }
    }
    replies
}

/// Throws raw bytes at both ports.
fn throw(ports: [u16; 2], mut rng: Rng, stop: &AtomicBool) {
    let greeting = [
        &[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0][..],
        b"CURVE",
        &[0; 47],
    ]
    .concat();
    while !stop.load(Ordering::SeqCst) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", *rng.pick(&ports))) else {
            continue;
        };
        let bytes = match rng.below(4) {
            0 => rng.bytes(2_000),
            1 => [greeting.clone(), rng.bytes(500)].concat(),
            2 => greeting[..12].to_vec(),
            _ => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        };
        drop(stream.write_all(&bytes));
        common::pause(Duration::from_millis(rng.below(5)));
    }
}

/// Speaks without CURVE, on both ports.
fn plain(server: &Server) -> Vec<zmq::Socket> {
    let url = server.url();
    let ends = [
        (zmq::DEALER, url.port),
        (zmq::SUB, server.live_port()),
        (zmq::REQ, url.port),
    ];
    let open = |(kind, port)| {
        let socket = context().socket(kind).expect("a socket");
        socket.set_linger(0).expect("an option");
        socket.connect(&url.endpoint(port)).expect("a connection");
        let _ = socket.send("hello", zmq::DONTWAIT);
        socket
    };
    ends.map(open).into()
}

#[test]
fn p09_garbage_on_every_socket_harms_nobody() {
    let _timed = Timed::start("p09_garbage_on_every_socket_harms_nobody");
    let mut rng = Rng::announced("bad_input");
    let mut server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let stop = Arc::new(AtomicBool::new(false));
    let replies = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    for key in [
        KeyPair::generate().expect("a key"),
        RawClient::user(&server, "eve").key,
    ] {
        let (place, stop, rng) = (server.place(), Arc::clone(&stop), rng.fork());
        let replies = Arc::clone(&replies);
        threads.push(std::thread::spawn(move || {
            replies.fetch_add(attack(&place, &key, rng, &stop), Ordering::SeqCst);
        }));
    }
    let ports = [server.url().port, server.live_port()];
    let (halt, fork) = (Arc::clone(&stop), rng.fork());
    threads.push(std::thread::spawn(move || throw(ports, fork, &halt)));
    let _plain = plain(&server);
    let mut took: Vec<Duration> = (0..300)
        .map(|nth| {
            let begin = now();
            ana.mail("ana", format!("mail {nth}").as_bytes());
            begin.elapsed()
        })
        .collect();
    stop.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().expect("every reply was a coded one");
    }
    took.sort_unstable();
    println!(
        "{} odd requests answered; a bystander's send took {:?} (median), {:?} (95 %), {:?} (most)",
        replies.load(Ordering::SeqCst),
        took[150],
        took[285],
        took[299],
    );
    assert!(server.is_up(), "the server goes on");
    assert!(took[285] < Duration::from_millis(100), "others wait");
    assert!(
        replies.load(Ordering::SeqCst) > 100,
        "odd requests are answered"
    );
    let log = ana.log("ana").log;
    assert_eq!(
        ana.read_all(log, 0).expect("reads").len(),
        300,
        "and nothing else got in"
    );
}

#[test]
fn p08_a_client_that_asks_and_never_reads_costs_bounded_memory() {
    use correio::protocol::request::{self, Request};
    let server = Server::start();
    let mut eve = RawClient::user(&server, "eve");
    let mut ana = RawClient::user(&server, "ana");
    for _ in 0..8 {
        ana.mail("eve", &vec![b'x'; 64_000]);
    }
    let log = eve.log("eve").log;
    let deaf = deaf_socket(&server, &eve.key);
    let before = server.rss_kib();
    for nth in 0..4_000 {
        let fetch = Request::Fetch(request::Fetch {
            session: eve.session.clone(),
            log,
            after: 0,
            n: None,
            mails: 500,
            bytes: 512 * 1024,
        });
        let frames = vec![format!("{nth}").into_bytes(), fetch.encode()];
        deaf.send_multipart(frames, 0).expect("it can be asked");
    }
    let mut most = before;
    for nth in 0..100 {
        ana.mail("ana", format!("mail {nth}").as_bytes());
        most = most.max(server.rss_kib());
        common::pause(Duration::from_millis(50));
    }
    println!(
        "resident {} MiB before, {} MiB at most",
        before >> 10,
        most >> 10
    );
    assert!(
        most - before < 200 * 1024,
        "one deaf client takes {} MiB",
        (most - before) >> 10
    );
}

/// A connection whose client takes next to nothing off the network.
fn deaf_socket(server: &Server, key: &KeyPair) -> zmq::Socket {
    let url = server.url();
    let socket = context().socket(zmq::DEALER).expect("a socket");
    socket.set_linger(0).expect("an option");
    socket.set_rcvhwm(1).expect("an option");
    socket.set_sndhwm(10_000).expect("an option");
    socket.set_rcvbuf(4_096).expect("an option");
    socket.set_curve_serverkey(&url.key).expect("an option");
    socket.set_curve_publickey(&key.public).expect("an option");
    socket.set_curve_secretkey(key.secret()).expect("an option");
    socket
        .connect(&url.endpoint(url.port))
        .expect("a connection");
    socket
}
