//! What a chat costs on this machine, against raw PUSH/PULL under CURVE with frames of the same size in
//! the same run: lines a second, the time of a round trip, and a large file.
//!
//! `cargo bench --bench chat [-- lines|roundtrip|file]...`; without a word, all three. It prints; it
//! judges nothing. `docs/figures.md` keeps what it printed, with the machine and the date.
//! `CORREIO_BENCH_LINES`, `CORREIO_BENCH_TRIPS` and `CORREIO_BENCH_FILE_MIB` change the sizes.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "a measurement prints, its counts are far below 2^52, and a step that fails ends it"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::person::{Person, chat_of, leave, wait_open};
use common::server::Server;
use common::{now, scale};
use correio::auth::keys::KeyPair;
use correio::chat::io::Event;
use correio::chat::{Chat, Told};

/// Bytes before the text of a line: kind, epoch, seq.
const HEAD: usize = 17;

/// Bytes of the texts that are measured.
const TEXTS: [usize; 3] = [20, 100, 1_000];

/// Each measurement is made so often, the chat and the raw sockets in turn.
const RUNS: usize = 5;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let wants = |word: &str| words.is_empty() || words.iter().any(|given| given == word);
    if wants("lines") {
        lines();
    }
    if wants("roundtrip") {
        round_trips();
    }
}

/// A server, and a chat between two of its users.
struct Pair {
    one: Chat,
    other: Chat,
    _people: [Person; 2],
    _server: Server,
}

impl Pair {
    fn new() -> Self {
        let server = Server::start();
        let people = [Person::new(&server, "ana"), Person::new(&server, "bob")];
        let (mut one, mut other) = chat_of(&people[0], &people[1]);
        wait_open(&mut one);
        wait_open(&mut other);
        Self {
            one,
            other,
            _people: people,
            _server: server,
        }
    }

    fn end(mut self) {
        leave(&mut self.one, &mut self.other);
    }
}

/// A PUSH and a PULL under CURVE, each in a context of its own.
struct Raw {
    push: zmq::Socket,
    pull: zmq::Socket,
}

impl Raw {
    fn new() -> Self {
        let (server, client) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let pull = zmq::Context::new().socket(zmq::PULL).unwrap();
        pull.set_curve_server(true).unwrap();
        pull.set_curve_secretkey(server.secret()).unwrap();
        pull.set_linger(0).unwrap();
        pull.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = pull.get_last_endpoint().unwrap().unwrap();
        let push = zmq::Context::new().socket(zmq::PUSH).unwrap();
        push.set_curve_serverkey(&server.public).unwrap();
        push.set_curve_publickey(&client.public).unwrap();
        push.set_curve_secretkey(client.secret()).unwrap();
        push.set_linger(0).unwrap();
        push.connect(&endpoint).unwrap();
        push.send("hello", 0).unwrap();
        pull.recv_bytes(0).unwrap();
        Self { push, pull }
    }
}

// -- lines a second --

fn lines() {
    let count = scale("CORREIO_BENCH_LINES", 300_000);
    println!(
        "\n{count} lines in one direction, each shown and acknowledged; median of {RUNS} runs"
    );
    println!("| bytes of text | lines/s | raw frames/s of that size | ratio |");
    println!("|---:|---:|---:|---:|");
    for bytes in TEXTS {
        let mut pair = Pair::new();
        let mut raw = Raw::new();
        let (mut said, mut sent) = (Vec::new(), Vec::new());
        // Once before it counts, so that connections and buffers are as they stay.
        say(&mut pair, bytes, count / 10);
        send(&mut raw, bytes + HEAD, count / 10);
        for _ in 0..RUNS {
            said.push(say(&mut pair, bytes, count));
            sent.push(send(&mut raw, bytes + HEAD, count));
        }
        pair.end();
        let rate = |took: &mut Vec<Duration>| count as f64 / median(took).as_secs_f64();
        let (said, sent) = (rate(&mut said), rate(&mut sent));
        println!("| {bytes} | {said:.0} | {sent:.0} | {:.2} |", said / sent);
    }
}

/// Says so many lines; returns the time until the last one is known to be shown.
fn say(pair: &mut Pair, bytes: usize, count: usize) -> Duration {
    let text = "x".repeat(bytes);
    let voice = pair.one.voice();
    let (one, other) = (&mut pair.one, &mut pair.other);
    let begin = now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                voice.say(text.clone()).unwrap();
            }
        });
        scope.spawn(|| hear(other, count));
        wait_delivered(one, count);
    });
    begin.elapsed()
}

/// Shows so many lines.
fn hear(chat: &mut Chat, count: usize) {
    let mut heard = 0;
    while heard < count {
        if let Some(Told::Chat(Event::Line { seq, .. })) = chat.next(common::PATIENCE) {
            chat.shown(seq);
            heard += 1;
        }
    }
}

/// Waits until so many more lines were said and shown on the other side.
fn wait_delivered(chat: &mut Chat, count: usize) {
    let (mut queued, mut last, mut delivered) = (0, 0, 0);
    while queued < count || delivered < last {
        match chat.next(common::PATIENCE) {
            Some(Told::Chat(Event::Queued { seq })) => (queued, last) = (queued + 1, seq),
            Some(Told::Chat(Event::Delivered { through })) => delivered = through,
            Some(_) => {}
            None => panic!("{queued} queued, {delivered} of {last} delivered"),
        }
    }
}

/// Sends so many frames over raw sockets; returns the time until the last one is there.
fn send(raw: &mut Raw, bytes: usize, count: usize) -> Duration {
    let frame = vec![b'x'; bytes];
    let (push, pull) = (&mut raw.push, &mut raw.pull);
    let begin = now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..count {
                push.send(&frame[..], 0).unwrap();
            }
        });
        for _ in 0..count {
            pull.recv_bytes(0).unwrap();
        }
    });
    begin.elapsed()
}

fn median(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

// -- round trips --

fn round_trips() {
    let count = scale("CORREIO_BENCH_TRIPS", 20_000);
    let bytes = 100;
    println!("\n{count} round trips of a line of {bytes} bytes, one after the other");
    println!("| | median | 99 % |");
    println!("|---|---:|---:|");
    let row = |what: &str, mut took: Vec<Duration>| {
        took.sort_unstable();
        let (half, most) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        println!("| {what} | {half:.1?} | {most:.1?} |");
    };
    row("chat", chat_trips(bytes, count));
    row("raw PUSH/PULL both ways", raw_trips(bytes + HEAD, count));
}

fn chat_trips(bytes: usize, count: usize) -> Vec<Duration> {
    let mut pair = Pair::new();
    let (one, other) = (&mut pair.one, &mut pair.other);
    let text = "x".repeat(bytes);
    let voice = one.voice();
    let took = std::thread::scope(|scope| {
        scope.spawn(|| echo(other, count));
        let mut trip = || {
            let begin = now();
            voice.say(text.clone()).unwrap();
            hear(one, 1);
            begin.elapsed()
        };
        (0..count).map(|_| trip()).collect()
    });
    pair.end();
    took
}

/// Says back what comes.
fn echo(chat: &mut Chat, count: usize) {
    let voice = chat.voice();
    let mut heard = 0;
    while heard < count {
        if let Some(Told::Chat(Event::Line { seq, text })) = chat.next(common::PATIENCE) {
            chat.shown(seq);
            voice.say(text).unwrap();
            heard += 1;
        }
    }
}

fn raw_trips(bytes: usize, count: usize) -> Vec<Duration> {
    let (there, back) = (Raw::new(), Raw::new());
    let frame = vec![b'x'; bytes];
    std::thread::scope(|scope| {
        let (pull, push) = (there.pull, back.push);
        scope.spawn(move || {
            for _ in 0..count {
                push.send(pull.recv_bytes(0).unwrap(), 0).unwrap();
            }
        });
        let trip = || {
            let begin: Instant = now();
            there.push.send(&frame[..], 0).unwrap();
            back.pull.recv_bytes(0).unwrap();
            begin.elapsed()
        };
        (0..count).map(|_| trip()).collect()
    })
}
