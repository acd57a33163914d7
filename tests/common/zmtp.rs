//! Bytes for a server's port, without ZeroMQ: a real CURVE handshake as it goes over the wire, and ways
//! to spoil it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use correio::auth::keys::KeyPair;
use correio::protocol::PublicKey;

use super::client::context;
use super::rng::Rng;

/// One thing to say to a port.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is.
    pub name: String,
    /// What is said.
    pub bytes: Vec<u8>,
}

fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Case {
    Case {
        name: name.into(),
        bytes: bytes.into(),
    }
}

/// Bytes of ZMTP's greeting.
pub const GREETING: usize = 64;

/// Records what a real client says until it is in, by standing between it and a server's port.
pub fn record_handshake(port: u16, server: &PublicKey) -> Vec<u8> {
    let between = TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = between.local_addr().expect("an address");
    let keys = KeyPair::generate().expect("a key");
    let client = context().socket(zmq::DEALER).expect("a socket");
    client.set_linger(0).expect("an option");
    client.set_curve_serverkey(server).expect("an option");
    client.set_curve_publickey(&keys.public).expect("an option");
    client
        .set_curve_secretkey(keys.secret())
        .expect("an option");
    client
        .connect(&format!("tcp://{place}"))
        .expect("a connection");
    let (mut near, _) = between.accept().expect("the client");
    let mut far = TcpStream::connect(("127.0.0.1", port)).expect("the server");
    let (mut back, mut forth) = (
        far.try_clone().expect("a copy"),
        near.try_clone().expect("a copy"),
    );
    let answers = std::thread::spawn(move || drop(std::io::copy(&mut back, &mut forth)));
    near.set_read_timeout(Some(Duration::from_millis(300)))
        .expect("an option");
    let (mut said, mut bytes) = (Vec::new(), [0; 4_096]);
    while let Ok(count @ 1..) = near.read(&mut bytes) {
        said.extend_from_slice(&bytes[..count]);
        far.write_all(&bytes[..count]).expect("the server reads");
    }
    drop(far.shutdown(Shutdown::Both));
    drop(near.shutdown(Shutdown::Both));
    answers.join().expect("no panic");
    assert!(said.len() > GREETING + 400, "greeting, hello and initiate");
    said
}

/// The corpus, from a recorded handshake, the files under `tests/fixtures/hostile` and a seed.
pub fn cases(recorded: &[u8], rng: &mut Rng) -> Vec<Case> {
    let mut all = Vec::new();
    truncated(recorded, &mut all);
    greetings(recorded, &mut all);
    commands(recorded, &mut all);
    lengths(recorded, &mut all);
    foreign(&mut all);
    random(recorded, rng, &mut all);
    all
}

fn truncated(recorded: &[u8], all: &mut Vec<Case>) {
    for len in 0..=recorded.len() {
        all.push(case(
            format!("a handshake cut after {len}"),
            &recorded[..len],
        ));
    }
}

/// Every byte of the greeting wrong, versions, mechanisms, and the flag of a server.
fn greetings(recorded: &[u8], all: &mut Vec<Case>) {
    for at in 0..GREETING {
        let mut bytes = recorded.to_vec();
        bytes[at] ^= 0xff;
        all.push(case(format!("byte {at} of the greeting wrong"), bytes));
    }
    for version in [0, 1, 2, 4, 9, 255] {
        let mut bytes = recorded.to_vec();
        bytes[10] = version;
        all.push(case(format!("version {version}"), bytes));
    }
    for mechanism in [
        "NULL",
        "PLAIN",
        "GSSAPI",
        "",
        "curve",
        "CURVE\0X",
        "AAAAAAAAAAAAAAAAAAAA",
    ] {
        let mut bytes = recorded.to_vec();
        bytes[12..32].fill(0);
        bytes[12..12 + mechanism.len()].copy_from_slice(mechanism.as_bytes());
        all.push(case(format!("mechanism {mechanism:?}"), bytes));
    }
    let mut bytes = recorded.to_vec();
    bytes[32] = 1;
    all.push(case("two servers", bytes));
}

fn command(name: &str, body: &[u8]) -> Vec<u8> {
    let body = [
        &[u8::try_from(name.len()).expect("short")],
        name.as_bytes(),
        body,
    ]
    .concat();
    match u8::try_from(body.len()) {
        Ok(len) => [&[4, len], &body[..]].concat(),
        Err(_) => [&[6][..], &(body.len() as u64).to_be_bytes(), &body].concat(),
    }
}

/// Commands that come when they should not, or too often.
fn commands(recorded: &[u8], all: &mut Vec<Case>) {
    let (greeting, rest) = recorded.split_at(GREETING);
    let hello_len = 2 + usize::from(rest[1]);
    let (hello, initiate) = rest.split_at(hello_len);
    let after = |parts: &[&[u8]]| [&[greeting][..], parts].concat().concat();
    for count in [2, 3, 100] {
        all.push(case(format!("{count} hellos"), after(&vec![hello; count])));
    }
    all.push(case("initiate first", after(&[initiate, hello])));
    all.push(case("initiate twice", after(&[hello, initiate, initiate])));
    for name in [
        "HELLO",
        "WELCOME",
        "INITIATE",
        "READY",
        "MESSAGE",
        "ERROR",
        "PING",
        "PONG",
        "SUBSCRIBE",
        "CANCEL",
        "",
        "X",
    ] {
        for size in [0, 1, 15, 200, 1_000] {
            let bytes = command(name, &vec![0x5a; size]);
            all.push(case(format!("{name} of {size} first"), after(&[&bytes])));
            all.push(case(
                format!("{name} of {size} after hello"),
                after(&[hello, &bytes]),
            ));
        }
    }
    all.push(case("a message first", after(&[&[0, 5], b"hello"])));
    all.push(case(
        "a message after hello",
        after(&[hello, &[0, 5], b"hello"]),
    ));
    all.push(case("two greetings", after(&[greeting, hello])));
}

/// Lengths that promise what does not come.
fn lengths(recorded: &[u8], all: &mut Vec<Case>) {
    let greeting = &recorded[..GREETING];
    let hello = &recorded[GREETING..GREETING + 2 + usize::from(recorded[GREETING + 1])];
    for flags in [0, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, 0xff] {
        for len in [
            0,
            1,
            255,
            65_535,
            65_570,
            1 << 20,
            1 << 31,
            1 << 32,
            i64::MAX as u64,
            u64::MAX,
        ] {
            let bytes = [greeting, hello, &[flags], &len.to_be_bytes(), &[0x41; 600]].concat();
            all.push(case(format!("flags {flags:#x}, length {len}"), bytes));
        }
    }
}

/// What others speak.
fn foreign(all: &mut Vec<Case>) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/hostile");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() > 10, "the corpus has its files");
    for file in files {
        all.push(case(
            file.display().to_string(),
            std::fs::read(&file).expect("a file"),
        ));
    }
    for byte in [0, b'\n', 0x7f, 0xff] {
        all.push(case(format!("{byte:#x} for ever"), vec![byte; 20_000]));
    }
}

fn random(recorded: &[u8], rng: &mut Rng, all: &mut Vec<Case>) {
    for nth in 0..60 {
        let mut bytes = recorded.to_vec();
        for _ in 0..=rng.index(8) {
            let at = rng.index(bytes.len());
            bytes[at] = rng.bytes(1)[0];
        }
        all.push(case(format!("spoilt {nth}"), bytes));
        let len = rng.index(3_000);
        all.push(case(format!("random {nth}"), rng.bytes(len)));
        let tail = rng.bytes(500);
        all.push(case(
            format!("greeting, random {nth}"),
            [&recorded[..GREETING], &tail].concat(),
        ));
    }
}

/// How a connection is left.
#[derive(Debug, Clone, Copy)]
pub enum Leave {
    /// With a close, as it should be.
    Close,
    /// With a reset in the middle.
    Reset,
}

/// Says something to a port, piece by piece, and leaves. A server that hangs up first is right.
pub fn say(port: u16, case: &Case, pieces: usize, leave: Leave) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return;
    };
    drop(stream.set_nodelay(true));
    let size = case.bytes.len().div_ceil(pieces).max(1);
    for piece in case.bytes.chunks(size) {
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    if matches!(leave, Leave::Reset) {
        let now = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&stream, now).expect("an option");
    }
}
