//! P9: a corpus of bad bytes on both ports, without ZeroMQ and through real CURVE connections. After
//! every batch a good user is served, and all of it together leaves no memory behind.
//!
//! What random bytes do over a longer time beside a bystander is in `bad_input`. The bytes are made in
//! `common::zmtp` and lie in `tests/fixtures/hostile`.

#![recursion_limit = "256"]
#![allow(clippy::print_stdout, reason = "figures belong in a test's output")]

mod common;

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use common::client::{RawClient, context, dealer};
use common::rng::Rng;
use common::server::Server;
use common::watch::Watcher;
use common::zmtp::{self, Leave};
use common::{PATIENCE, Timed, now, scale};
use correio::auth::keys::KeyPair;
use correio::protocol::notice::{Notice, NoticeKey};
use correio::protocol::request::VERBS;
use serde_json::{Value, json};

/// How long a good request may take in between, on a machine as busy as a test's.
const SERVED: Duration = Duration::from_secs(2);

/// KiB that the server may have grown from the first round to the last.
const GROWTH_KIB: u64 = 48 * 1024;

/// Somebody who is served whatever others do.
struct Good {
    client: RawClient,
    mails: usize,
    worst: Duration,
}

impl Good {
    fn new(server: &Server) -> Self {
        Self {
            client: RawClient::user(server, "ana"),
            mails: 0,
            worst: Duration::ZERO,
        }
    }

    /// Sends a mail and waits for its ack.
    fn is_served(&mut self, server: &mut Server, after: &str) {
        assert!(server.is_up(), "the server died of {after}");
        let begin = now();
        self.client.mail("ana", b"good");
        self.mails += 1;
        let took = begin.elapsed();
        self.worst = self.worst.max(took);
        assert!(took < SERVED, "after {after} a send took {took:?}");
    }

    /// Checks that nothing was lost and nothing else got in.
    fn has_all(&mut self) {
        let log = self.client.log("ana").log;
        let mails = self.client.read_all(log, 0).expect("reads");
        assert_eq!(mails.len(), self.mails);
        assert!(mails.iter().all(|mail| mail.body == b"good"));
    }
}

#[test]
fn p09_no_bytes_on_a_port_stop_the_server() {
    let _timed = Timed::start("p09_no_bytes_on_a_port_stop_the_server");
    let rounds = scale("CORREIO_HOSTILE", 2);
    let mut rng = Rng::announced("hostile_bytes");
    let mut server = Server::start();
    let mut good = Good::new(&server);
    let url = server.url();
    let ports = [url.port, server.live_port()];
    let recorded = zmtp::record_handshake(url.port, &url.key);
    let mut cases = 0;
    let mut settled_kib = 0;
    for round in 0..rounds.max(2) {
        for (nth, case) in zmtp::cases(&recorded, &mut rng).iter().enumerate() {
            for port in ports {
                let leave = *rng.pick(&[Leave::Close, Leave::Reset]);
                let pieces = *rng.pick(&[1, 1, 2, 7]);
                zmtp::say(port, case, pieces, leave);
                cases += 1;
            }
            if nth % 50 == 0 {
                good.is_served(&mut server, &case.name);
            }
        }
        if round == 0 {
            settled_kib = server.rss_kib();
        }
    }
    // Who comes with a good handshake now is let in.
    RawClient::user(&server, "bob").mail("ana", b"good");
    good.mails += 1;
    good.has_all();
    let kib = server.rss_kib();
    println!(
        "{cases} cases; a good send took {:?} at most; resident {} MiB after the first round, {} MiB after the last",
        good.worst,
        settled_kib >> 10,
        kib >> 10
    );
    assert!(kib < settled_kib + GROWTH_KIB, "what is bad is forgotten");
}

#[test]
fn p09_who_never_finishes_a_handshake_is_cut_off() {
    let server = Server::start();
    let url = server.url();
    let recorded = zmtp::record_handshake(url.port, &url.key);
    let ports = [url.port, server.live_port()];
    let lengths = [0, 1, 63, 64, 65, 200, 300];
    let begin = now();
    let held: Vec<TcpStream> = ports
        .iter()
        .flat_map(|port| lengths.map(|len| (*port, len)))
        .map(|(port, len)| {
            use std::io::Write;
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
            stream.write_all(&recorded[..len]).expect("it is said");
            stream
        })
        .collect();
    for mut stream in held {
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        // A greeting, an answer to a hello, and then the end.
        let ended = std::io::copy(&mut stream, &mut std::io::sink());
        assert!(
            !ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
            "the server hangs up"
        );
    }
    println!("the last was cut off after {:?}", begin.elapsed());
    let mut late = TcpStream::connect(("127.0.0.1", url.port)).expect("the server listens");
    assert_eq!(late.read(&mut [0; 10]).expect("a greeting comes"), 10);
}

/// Every field of every verb, good.
fn whole(client: &RawClient, verb: &str) -> Value {
    json!({
        "verb": verb, "session": client.session, "magic": "correio", "versions": [1, 1], "features": [], "agent": "x",
        "user": "eve", "device": "x", "code": null, "topics": [], "resume": null, "stream": client.stream,
        "want_stream": false, "want_port": false, "number": 1, "settled_below": 1, "to": ["eve"], "subject": "s",
        "content_type": "text/plain", "ttl_s": null, "parts": null, "index": 0, "log": 1, "logs": [[1, 0]],
        "after": 0, "n": 0, "mails": 1, "bytes": 1, "id": 1, "offset": 0, "topic": "news", "from": "now", "known": 0,
        "port": 1, "epoch": 1, "chat": "00", "chats": ["00"], "host": "h", "nonce": "n", "busy": true,
        "forget": false, "what": "stats", "address": "eve", "body": false,
    })
}

/// Values that a field does not take, or hardly.
fn odd_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!((1_u64 << 53) + 1),
        json!(u64::MAX),
        json!(-1e300),
        json!(""),
        json!("x".repeat(6_000)),
        json!("\u{0}\u{1b}[31m\u{202e}"),
        json!([]),
        json!([[1, 2, 3], "x", null]),
        json!(vec!["ana"; 3_000]),
        json!({ "after": {} }),
    ]
}

/// Headers of one verb: each field missing, and of each wrong kind in turn; and another's session.
fn headers_of(client: &RawClient, verb: &str, other: &str, rng: &mut Rng) -> Vec<Vec<u8>> {
    let good = whole(client, verb);
    let fields: Vec<String> = good.as_object().expect("fields").keys().cloned().collect();
    let odd = odd_values();
    let mut headers = Vec::new();
    for field in fields.iter().filter(|field| *field != "verb") {
        let mut missing = good.clone();
        missing.as_object_mut().expect("fields").remove(field);
        headers.push(missing);
        for _ in 0..3 {
            let mut wrong = good.clone();
            wrong[field] = rng.pick(&odd).clone();
            headers.push(wrong);
        }
    }
    let mut stolen = good;
    stolen["session"] = other.into();
    headers.push(stolen);
    headers
        .iter()
        .map(|header| header.to_string().into_bytes())
        .collect()
}

/// Headers that are no request of any verb.
fn odd_headers() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 22] = [
        b"",
        b" ",
        b"null",
        b"1",
        b"[]",
        b"{}",
        b"\"hello\"",
        b"{\"verb\":1}",
        b"{\"verb\":null}",
        b"{\"verb\":\"\"}",
        b"{\"verb\":\"fly\"}",
        b"{\"verb\":\"hello\"",
        b"{\"verb\":\"hello\",}",
        b"{'verb':'hello'}",
        b"{\"verb\":\"hel\0lo\"}",
        b"\xff\xfe{\"verb\":\"hello\"}",
        b"{\"verb\":\"\xc3\x28\"}",
        b"{\"verb\":\"chats\",\"verb\":\"close\",\"session\":\"\",\"session\":\"\"}",
        b"{\"verb\":\"\\ud800\"}",
        b"{\"ok\":true,\"version\":1}",
        b"{\"ok\":false,\"error\":{\"code\":\"busy\"}}",
        b"{\"kind\":\"mail\",\"id\":1}",
    ];
    let mut headers: Vec<Vec<u8>> = texts.map(<[u8]>::to_vec).to_vec();
    headers.push(vec![b'['; 60_000]);
    headers.push("{\"verb\":".repeat(8_000).into_bytes());
    headers.push(
        format!(
            "{{\"verb\":\"hello\",\"x\":{}1{}}}",
            "[".repeat(5_000),
            "]".repeat(5_000)
        )
        .into_bytes(),
    );
    headers.push(format!("{{\"verb\":\"{}\"}}", "v".repeat(60_000)).into_bytes());
    headers.push(
        format!(
            "{{\"verb\":\"hello\",\"versions\":[{},1]}}",
            "9".repeat(30_000)
        )
        .into_bytes(),
    );
    headers.push(b"{\"verb\":\"hello\",\"versions\":[1e999,1]}".to_vec());
    headers.push([b"{\"verb\":\"hello\"}".to_vec(), vec![b' '; 60_000]].concat());
    headers.push(vec![0; 65_536]);
    headers
}

/// Messages of odd shape; all but the last few are answered.
fn odd_shapes() -> Vec<Vec<Vec<u8>>> {
    let hello = br#"{"verb":"hello","magic":"correio","versions":[1,1]}"#.to_vec();
    let id = b"1".to_vec();
    let mut shapes = vec![
        vec![Vec::new()],
        vec![id.clone()],
        vec![Vec::new(), hello.clone()],
        vec![vec![7; 33], hello.clone()],
        vec![vec![7; 65_536], hello.clone()],
        vec![id.clone(), Vec::new()],
        vec![id.clone(), hello.clone(), Vec::new()],
        vec![id.clone(), hello.clone(), vec![7; 65_536]],
        vec![id.clone(), hello.clone(), Vec::new(), Vec::new()],
        vec![Vec::new(), id.clone(), hello.clone()],
        vec![hello.clone(), id.clone()],
    ];
    for count in [4, 10, 100, 10_000] {
        shapes.push(vec![Vec::new(); count]);
        shapes.push([vec![id.clone(), hello.clone()], vec![b"x".to_vec(); count]].concat());
    }
    shapes
}

/// A connection that says what it likes and counts what it hears.
struct Bad {
    socket: zmq::Socket,
    asked: usize,
    codes: std::collections::BTreeMap<String, usize>,
}

impl Bad {
    fn new(server: &Server, key: &KeyPair) -> Self {
        Self {
            socket: dealer(&server.place(), key).0,
            asked: 0,
            codes: std::collections::BTreeMap::new(),
        }
    }

    /// Sends and takes the answer: a reply with a code of the table, or a good one.
    fn ask(&mut self, frames: Vec<Vec<u8>>) -> Value {
        let shown = String::from_utf8_lossy(frames.get(1).map_or(&[], Vec::as_slice))
            .chars()
            .take(300)
            .collect::<String>();
        self.asked += 1;
        self.socket.send_multipart(frames, 0).expect("it is sent");
        let patience = i64::try_from(PATIENCE.as_millis()).expect("a short time");
        assert_ne!(
            self.socket.poll(zmq::POLLIN, patience).expect("polls"),
            0,
            "no answer to {shown}"
        );
        let reply = self.socket.recv_multipart(0).expect("a reply");
        let header: Value = serde_json::from_slice(&reply[1]).expect("replies are JSON");
        let code = header["error"]["code"].as_str().unwrap_or("ok").to_owned();
        assert!(
            header["ok"].is_boolean() && code != "internal",
            "{shown}: {header}"
        );
        assert!(reply[1].len() < 65_536);
        *self.codes.entry(code).or_default() += 1;
        header
    }
}

#[test]
fn p09_every_bad_request_has_a_coded_answer() {
    let _timed = Timed::start("p09_every_bad_request_has_a_coded_answer");
    // The memory of the last round is held against that of the first.
    let rounds = scale("CORREIO_HOSTILE", 2).max(2);
    let mut rng = Rng::announced("hostile_requests");
    let mut server = Server::start();
    let mut good = Good::new(&server);
    let mut codes = std::collections::BTreeMap::new();
    let (mut asked, mut settled_kib) = (0, 0);
    for round in 0..rounds {
        let shapes = RawClient::user(&server, &format!("shapes-{round}"));
        let mut bad = Bad::new(&server, &shapes.key);
        for header in odd_headers() {
            bad.ask(vec![b"1".to_vec(), header]);
        }
        for frames in odd_shapes() {
            bad.ask(frames);
        }
        good.is_served(&mut server, "odd shapes");
        for (nth, verb) in VERBS.iter().enumerate() {
            let eve = RawClient::user(&server, &format!("eve-{round}-{nth}"));
            let mut bad = Bad::new(&server, &eve.key);
            let headers = headers_of(&eve, verb, &good.client.session, &mut rng);
            let stolen = headers.len() - 1;
            for (at, header) in headers.into_iter().enumerate() {
                let answer = bad.ask(vec![b"1".to_vec(), header]);
                let needs_none = ["hello", "register", "login", "logout", "admin"].contains(verb);
                let is_refused = answer["ok"] == false;
                assert!(
                    at != stolen || needs_none || is_refused,
                    "{verb} with a session of another: {answer}"
                );
            }
            asked += bad.asked;
            for (code, count) in bad.codes {
                *codes.entry(code).or_insert(0) += count;
            }
            good.is_served(&mut server, verb);
        }
        if round == 0 {
            settled_kib = server.rss_kib();
        }
    }
    good.has_all();
    let kib = server.rss_kib();
    println!(
        "{asked} requests: {codes:?}; a good send took {:?} at most",
        good.worst
    );
    println!(
        "resident {} MiB after the first round, {} MiB after the last",
        settled_kib >> 10,
        kib >> 10
    );
    assert!(codes.len() >= 8, "{codes:?}");
    assert!(kib < settled_kib + GROWTH_KIB);
}

/// Speaks on the live socket what no subscriber says.
fn upstream(server: &Server, key: &KeyPair) -> zmq::Socket {
    let url = server.url();
    let socket = context().socket(zmq::XSUB).expect("a socket");
    socket.set_linger(0).expect("an option");
    socket.set_curve_serverkey(&url.key).expect("an option");
    socket.set_curve_publickey(&key.public).expect("an option");
    socket.set_curve_secretkey(key.secret()).expect("an option");
    socket
        .connect(&url.endpoint(server.live_port()))
        .expect("a connection");
    socket
}

#[test]
fn p09_no_bytes_on_the_live_socket_harm_a_reader() {
    let _timed = Timed::start("p09_no_bytes_on_the_live_socket_harm_a_reader");
    let mut server = Server::start();
    let mut good = Good::new(&server);
    let url = server.url();
    for (nth, first) in [0_u8, 1, 2, 0xff].into_iter().enumerate() {
        let mut eve = RawClient::user(&server, &format!("eve-{nth}"));
        let eves = NoticeKey::from_hex(&eve.log(&format!("eve-{nth}")).key).expect("a key");
        let socket = upstream(&server, &eve.key);
        for len in 0..=400 {
            let _ = socket.send(vec![first; len], 0);
            if len % 16 == 0 {
                let _ = socket.send([&[1], &eves.to_bytes()[..]].concat(), 0);
                let _ = socket.send_multipart([vec![1; 17], vec![0; 17], vec![2; 3]], 0);
            }
        }
        good.is_served(&mut server, &format!("frames that begin with {first}"));
    }
    // What others said may have changed his key: he asks for the one of now.
    let watcher = common::eventually("a reader is granted what is his", || {
        let own = NoticeKey::from_hex(&good.client.log("ana").key).expect("a key");
        let watcher = Watcher::connect(&url, server.live_port(), &good.client.key, &[]);
        watcher.subscribe(&own.to_bytes());
        let granted = |notice: &Notice, _: Option<&[u8]>| matches!(notice, Notice::Granted { .. });
        let (_, found) = watcher.until(Duration::from_secs(3), granted);
        found.then_some(watcher)
    });
    let id = good.client.mail("ana", b"good");
    good.mails += 1;
    let is_it = |notice: &Notice, _: Option<&[u8]>| matches!(notice, Notice::Mail { envelope, .. } if envelope.id == id);
    assert!(watcher.until(PATIENCE, is_it).1, "and hears");
    good.has_all();
    println!("a good send took {:?} at most", good.worst);
}
