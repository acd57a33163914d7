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

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::ctl::Ctl;
use common::person::{Person, chat_of, leave, wait_open};
use common::server::Server;
use common::talker::Talker;
use common::{now, pause, scale};
use correio::auth::keys::KeyPair;
use correio::chat::io::Event;
use correio::chat::{Chat, Told};
use correio::limits::FILE_PIECE_BYTES;

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
    if wants("file") {
        file();
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

// -- a large file --

fn file() {
    let mib = scale("CORREIO_BENCH_FILE_MIB", 1_024);
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fill(&source, mib);
    println!("\nA file of {mib} MiB, each way from disk to disk and synced at the end");
    println!("| | s | MiB/s | most memory of a side (MB) |");
    println!("|---|---:|---:|---:|");
    let row = |what: &str, took: Duration, memory: &str| {
        let seconds = took.as_secs_f64();
        println!(
            "| {what} | {seconds:.2} | {:.0} | {memory} |",
            mib as f64 / seconds
        );
    };
    row("cp", copied(&source), "");
    row("raw PUSH/PULL", pushed(&source), "");
    let (took, whole, peak) = sent(&source, folder.path());
    let peak = format!("{:.1}", peak as f64 / 1e6);
    row("mailctl chat --send, from yes to verified", took, &peak);
    row("the same with both programs' start and end", whole, "");
}

/// Writes a file in which no piece is like another.
fn fill(path: &Path, mib: usize) {
    let mut rng = common::rng::Rng::new(7);
    let mut file = File::create(path).unwrap();
    let mut piece = rng.bytes(1 << 20);
    for nth in 0..mib {
        piece[..8].copy_from_slice(&nth.to_be_bytes());
        file.write_all(&piece).unwrap();
    }
    file.sync_all().unwrap();
}

fn copied(source: &Path) -> Duration {
    let copy = source.with_extension("copy");
    let begin = now();
    let status = Command::new("cp").arg(source).arg(&copy).status().unwrap();
    assert!(status.success());
    File::open(&copy).unwrap().sync_all().unwrap();
    let took = begin.elapsed();
    fs::remove_file(copy).unwrap();
    took
}

/// Sends the file's pieces over raw sockets.
fn pushed(source: &Path) -> Duration {
    let raw = Raw::new();
    let copy = source.with_extension("pushed");
    let begin = now();
    std::thread::scope(|scope| {
        let push = raw.push;
        scope.spawn(move || {
            let mut file = File::open(source).unwrap();
            let mut piece = vec![0; FILE_PIECE_BYTES];
            loop {
                let length = file.read(&mut piece).unwrap();
                push.send(&piece[..length], 0).unwrap();
                if length == 0 {
                    break push.set_linger(-1).unwrap();
                }
            }
        });
        let mut file = File::create(&copy).unwrap();
        loop {
            let piece = raw.pull.recv_bytes(0).unwrap();
            if piece.is_empty() {
                break file.sync_all().unwrap();
            }
            file.write_all(&piece).unwrap();
        }
    });
    let took = begin.elapsed();
    fs::remove_file(copy).unwrap();
    took
}

/// Sends the file in a chat of two processes. Returns the time from the acceptance until it is there, from
/// the start of both until their end, and the most memory that one of them had.
fn sent(source: &Path, folder: &Path) -> (Duration, Duration, u64) {
    let server = Server::start();
    let [ana, bob] = ["ana", "bob"].map(|name| {
        let ctl = Ctl::new(&server, &folder.join(name));
        ctl.ok(&["login", name]);
        ctl
    });
    let inbox = folder.join("inbox");
    fs::create_dir(&inbox).unwrap();
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let begin = now();
    let words = ["--json", "chat", "bob", "--send", &text(&source.to_owned())];
    let mut ana = Talker::start(&ana, &words);
    ana.object("waiting");
    let words = [
        "--json",
        "chat",
        "accept",
        "ana",
        "--receive",
        &text(&inbox),
    ];
    let bob = Talker::start(&bob, &words);
    while ana.object("file")["state"] != "accepted" {}
    let accepted = now();
    let received = inbox.join("source");
    while !received.exists() {
        assert!(accepted.elapsed() < Duration::from_mins(10), "it hangs");
        pause(Duration::from_millis(2));
    }
    let took = accepted.elapsed();
    let peak = peak_bytes(ana.pid()).max(peak_bytes(bob.pid()));
    ana.close();
    for side in [ana, bob] {
        let run = side.end();
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    }
    (took, begin.elapsed(), peak)
}

/// Returns the most memory a process ever had.
fn peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
