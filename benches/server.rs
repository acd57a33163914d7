//! What the whole server costs on this machine: acknowledged mails a second, a topic with 10,000
//! subscribers, a start with 1,000,000 waiting mails.
//!
//! `cargo bench --bench server [-- acks|fanout|restart]...`; without a word, all three. It prints; it
//! judges nothing. `docs/figures.md` keeps what it printed, with the machine and the date.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement prints, and its counts are far below 2^52"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use common::client::{RawClient, Wishes, context};
use common::now;
use common::server::{Server, disk_bytes, rss_kib};
use correio::auth::keys::KeyPair;
use correio::protocol::reply::Sent;
use correio::protocol::request::Request;
use correio::store::sled::SledStore;
use correio::store::{
    AddressKind, AddressRecord, AddressState, Change, DeviceRecord, DirectoryCounters, FullPolicy,
    LogRecord, MailCounters, MailRecord, MailState, Mark, Store, SubscriptionRecord,
};

/// Bytes of a body in every measurement.
const BODY: [u8; 512] = [b'x'; 512];

/// How long each row of the first table is measured.
const ROW: Duration = Duration::from_secs(4);

const CLIENTS: [usize; 2] = [1, 16];
const WINDOWS: [usize; 3] = [1, 16, 256];

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let wants = |word: &str| words.is_empty() || words.iter().any(|given| given == word);
    if wants("acks") {
        acks();
    }
    if wants("fanout") {
        fanout();
    }
    if wants("restart") {
        restart();
    }
}

// -- acknowledged mails a second --

fn acks() {
    let server = Server::start();
    println!("\nDurable acks of mails of {} bytes", BODY.len());
    println!("Syncs a second of the disk alone (4 KiB in place, then fdatasync) stand beside.");
    println!("| clients | in flight each | acks/s | median | 99 % | disk syncs/s | echo/s |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for clients in CLIENTS {
        for window in WINDOWS {
            let disk = disk_rate(server.data());
            let mut sent = many(clients, |nth| {
                let name = format!("bench-{clients}-{window}-{nth}");
                let mut client = RawClient::user(&server, &name);
                move |start: &Barrier| send_for(&mut client, &name, window, start)
            });
            let echoed = echo(clients, window);
            sent.sort_unstable();
            let rate = |all: &[Duration]| all.len() as f64 / ROW.as_secs_f64();
            println!(
                "| {clients} | {window} | {:.0} | {:.2?} | {:.2?} | {disk:.0} | {:.0} |",
                rate(&sent),
                sent[sent.len() / 2],
                sent[sent.len() * 99 / 100],
                rate(&echoed),
            );
        }
    }
}

/// Returns how often a second this disk can write 4 KiB, where the file has its blocks already, as
/// sled mostly does, and sync them.
fn disk_rate(folder: &Path) -> f64 {
    let path = folder.join("disk-rate");
    let file = File::create(&path).expect("a file");
    file.write_all_at(&vec![0; 64 * 4096], 0).expect("a write");
    file.sync_all().expect("a sync");
    let (begin, mut count) = (now(), 0_u64);
    while begin.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&[1; 4096], count % 64 * 4096)
            .expect("a write");
        file.sync_data().expect("a sync");
        count += 1;
    }
    drop(std::fs::remove_file(path));
    count as f64 / begin.elapsed().as_secs_f64()
}

/// Runs a worker per client at the same time and returns the latencies of all.
fn many<W>(clients: usize, mut make: impl FnMut(usize) -> W) -> Vec<Duration>
where
    W: FnMut(&Barrier) -> Vec<Duration> + Send + 'static,
{
    let start = Arc::new(Barrier::new(clients));
    let workers = (0..clients).map(|nth| (make(nth), Arc::clone(&start)));
    let workers: Vec<_> = workers.collect();
    let threads = workers
        .into_iter()
        .map(|(mut worker, start)| std::thread::spawn(move || worker(&start)))
        .collect::<Vec<_>>();
    threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("a worker ends well"))
        .collect()
}

/// Sends to oneself with so many unanswered at a time; returns how long each took.
fn send_for(client: &mut RawClient, to: &str, window: usize, start: &Barrier) -> Vec<Duration> {
    let mut under_way: Vec<(Vec<u8>, u64, Instant)> = Vec::new();
    let mut took = Vec::new();
    start.wait();
    let begin = now();
    while begin.elapsed() < ROW {
        while under_way.len() < window {
            let number = client.number;
            client.number += 1;
            let request = Request::Send(client.send_request(number, &[to]));
            let id = client.post(&request, Some(&BODY));
            under_way.push((id.to_string().into_bytes(), number, now()));
        }
        let reply = client.take(common::PATIENCE).expect("a send is answered");
        let place = under_way
            .iter()
            .position(|(id, ..)| *id == reply.id)
            .expect("one of ours");
        let (_, _, posted) = under_way.remove(place);
        took.push(posted.elapsed());
        reply.decode::<Sent>().expect("a send is taken");
        client.settled_below = under_way
            .first()
            .map_or(client.number, |(_, number, _)| *number);
    }
    while !under_way.is_empty() {
        client.take(common::PATIENCE).expect("a send is answered");
        under_way.pop();
    }
    took
}

/// The same traffic against a ROUTER that only sends back: what the network part alone can do.
fn echo(clients: usize, window: usize) -> Vec<Duration> {
    let keys = KeyPair::generate().expect("a key");
    let router = context().socket(zmq::ROUTER).expect("a socket");
    router.set_curve_server(true).expect("an option");
    router
        .set_curve_secretkey(keys.secret())
        .expect("an option");
    router.set_linger(0).expect("an option");
    router.bind("tcp://127.0.0.1:*").expect("a port");
    let endpoint = router
        .get_last_endpoint()
        .expect("an endpoint")
        .expect("text");
    router.set_rcvtimeo(1_000).expect("an option");
    let server = std::thread::spawn(move || {
        while let Ok(frames) = router.recv_multipart(0) {
            router.send_multipart(frames, 0).expect("sent back");
        }
    });
    let took = many(clients, |_| {
        let own = KeyPair::generate().expect("a key");
        let socket = context().socket(zmq::DEALER).expect("a socket");
        socket.set_linger(0).expect("an option");
        socket.set_curve_serverkey(&keys.public).expect("an option");
        socket.set_curve_publickey(&own.public).expect("an option");
        socket.set_curve_secretkey(own.secret()).expect("an option");
        socket.connect(&endpoint).expect("a connection");
        move |start: &Barrier| echo_for(&socket, window, start)
    });
    server.join().expect("the echo ends");
    took
}

fn echo_for(socket: &zmq::Socket, window: usize, start: &Barrier) -> Vec<Duration> {
    let post = || {
        let frames: [&[u8]; 3] = [b"1", &[b'h'; 200], &BODY];
        socket.send_multipart(frames, 0).expect("sent");
        now()
    };
    start.wait();
    let (begin, mut took) = (now(), Vec::new());
    let mut under_way: std::collections::VecDeque<Instant> = (0..window).map(|_| post()).collect();
    while begin.elapsed() < ROW {
        socket.recv_multipart(0).expect("it comes back");
        took.extend(under_way.pop_front().map(|posted| posted.elapsed()));
        under_way.push_back(post());
    }
    for _ in under_way {
        socket.recv_multipart(0).expect("it comes back");
    }
    took
}

// -- a topic with many subscribers --

const SUBSCRIBERS: u64 = 10_000;
const RUNS: usize = 5;
const SENDS: usize = 20_000;

/// What sends to a topic cost a server.
#[derive(Clone, Copy)]
struct Cost {
    micros: f64,
    written: f64,
    disk: f64,
    grown: f64,
}

fn fanout() {
    println!(
        "\nA topic's {SENDS} sends of {} bytes, everybody offline",
        BODY.len()
    );
    let mut few = with_users(1);
    let mut many = with_users(SUBSCRIBERS);
    let (mut costs_few, mut costs_many) = (Vec::new(), Vec::new());
    let resident = |crowd: &Crowd| crowd.server.rss_kib() >> 10;
    println!(
        "memory before: {} MiB and {} MiB",
        resident(&few),
        resident(&many)
    );
    // Before counting, so that both have their buffers and caches full.
    for _ in 0..3 {
        few.sends();
        many.sends();
    }
    for run in 0..RUNS {
        // Each goes first in turn, so that neither always finds the disk as the other left it.
        if run % 2 == 1 {
            costs_many.push(many.sends());
        }
        costs_few.push(few.sends());
        if run % 2 == 0 {
            costs_many.push(many.sends());
        }
    }
    println!("| a send costs | 1 subscriber | {SUBSCRIBERS} subscribers | ratio |");
    println!("|---|---:|---:|---:|");
    let row = |what: &str, pick: fn(&Cost) -> f64| {
        let (few, many) = (median(&costs_few, pick), median(&costs_many, pick));
        println!("| {what} | {few:.1} | {many:.1} | {:.3} |", many / few);
    };
    row("time (us)", |cost| cost.micros);
    row("bytes handed to the disk", |cost| cost.written);
    row("bytes on disk", |cost| cost.disk);
    row("bytes of memory", |cost| cost.grown);
    println!(
        "memory after: {} MiB and {} MiB",
        resident(&few),
        resident(&many)
    );
}

fn median(costs: &[Cost], pick: fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(pick).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A server with as many users as any, so many of whom joined the topic, and a sender.
struct Crowd {
    server: Server,
    sender: RawClient,
}

fn with_users(subscribers: u64) -> Crowd {
    let mut server = Server::start();
    server.terminate();
    let mut store = SledStore::open(server.data()).expect("a store");
    let snapshot = store.load().expect("a snapshot");
    let first = snapshot.directory_counters;
    let topic = first.address + 1;
    let mut changes = vec![address(topic, "crowd", AddressKind::Topic)];
    for nth in 1..=SUBSCRIBERS {
        let number = topic + nth;
        changes.push(address(number, &format!("user-{nth}"), AddressKind::User));
        changes.push(device(
            first.device + nth,
            number,
            KeyPair::generate().expect("a key").public,
        ));
        if nth <= subscribers {
            changes.push(Change::PutSubscription(SubscriptionRecord {
                user: number,
                pattern: "crowd".into(),
                since: 0,
            }));
        }
    }
    changes.push(Change::PutDirectoryCounters(DirectoryCounters {
        address: topic + SUBSCRIBERS,
        device: first.device + SUBSCRIBERS,
        epoch: first.epoch,
    }));
    store.commit(&changes).expect("committed");
    store.close().expect("closed");
    server.restart();
    let sender = RawClient::user(&server, "sender");
    Crowd { server, sender }
}

impl Crowd {
    fn sends(&mut self) -> Cost {
        let pid = self.server.pid();
        let (written, disk) = (written_bytes(pid), disk_bytes(self.server.data()));
        let resident = rss_kib(pid);
        let begin = now();
        pipeline(&mut self.sender, "crowd", SENDS);
        let took = begin.elapsed();
        let each = SENDS as f64;
        Cost {
            micros: took.as_secs_f64() * 1e6 / each,
            written: (written_bytes(pid) - written) as f64 / each,
            disk: disk_bytes(self.server.data()).saturating_sub(disk) as f64 / each,
            grown: (rss_kib(pid) as f64 - resident as f64) * 1024.0 / each,
        }
    }
}

/// Sends so many mails, 64 unanswered at a time.
fn pipeline(client: &mut RawClient, to: &str, count: usize) {
    let (mut posted, mut answered) = (0, 0);
    while answered < count {
        while posted < count && posted - answered < 64 {
            let request = Request::Send(client.send_request(client.number, &[to]));
            client.post(&request, Some(&BODY));
            client.number += 1;
            posted += 1;
        }
        let reply = client.take(common::PATIENCE).expect("a send is answered");
        reply.decode::<Sent>().expect("a send is taken");
        answered += 1;
        // Replies come in order here, so all below the oldest unanswered are known.
        client.settled_below = client.number - (posted - answered) as u64;
    }
}

/// Returns the bytes a process has had written to disks.
fn written_bytes(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn address(number: u64, name: &str, kind: AddressKind) -> Change {
    Change::PutAddress(AddressRecord {
        number,
        name: name.to_owned(),
        kind,
        state: AddressState::Live,
        generation: 1,
        full: FullPolicy::Trim,
        created_at_ms: 0,
    })
}

fn device(number: u64, user: u64, key: [u8; 32]) -> Change {
    Change::PutDevice(DeviceRecord {
        number,
        key,
        user,
        name: String::new(),
        since: 0,
        created_at_ms: 0,
        seen_running_s: 0,
        code: [0; 32],
    })
}

// -- a start with a backlog --

const BACKLOG: u64 = 1_000_000;
const READERS: u64 = 10;

fn restart() {
    println!(
        "\nStart with {BACKLOG} waiting mails of {} bytes",
        BODY.len()
    );
    let mut server = Server::start();
    server.terminate();
    let key = KeyPair::generate().expect("a key");
    let begin = now();
    load(server.data(), key.public);
    println!(
        "loaded in {:.1?}; {} MiB on disk",
        begin.elapsed(),
        disk_bytes(server.data()) >> 20
    );
    println!("| start | to ready | memory when ready | to the first page |");
    println!("|---|---:|---:|---:|");
    for how in [
        "after the load",
        "after SIGTERM",
        "after SIGKILL",
        "with a cold cache",
    ] {
        if how == "with a cold cache" {
            drop_cache(server.data());
        }
        let ready = server.restart_timed();
        let resident = server.rss_kib() >> 10;
        let begin = now();
        let mut client = RawClient::connect(server.place(), key.clone());
        client.login(Wishes::default()).expect("logs in");
        let log = client.log("reader-0");
        assert_eq!(log.waiting, BACKLOG / READERS);
        let (page, mails) = client.fetch(log.log, 0).expect("a page");
        assert!(page.more && !mails.is_empty());
        println!(
            "| {how} | {ready:.2?} | {resident} MiB | {:.2?} |",
            begin.elapsed()
        );
        match how {
            "after the load" => drop(server.terminate().0.success()),
            _ => server.kill9(),
        }
    }
}

/// Asks the kernel to forget what it holds of the store's files.
fn drop_cache(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() {
            drop_cache(&path);
        } else if let Ok(file) = File::open(&path) {
            let whole = std::num::NonZeroU64::new(file.metadata().map_or(0, |meta| meta.len()));
            drop(file.sync_all());
            // Only advice: a kernel that keeps the pages makes the figure better, not wrong.
            let _ = rustix::fs::fadvise(&file, 0, whole, rustix::fs::Advice::DontNeed);
            // Reading one byte shows that the file is still whole.
            drop(file.read_at(&mut [0], 0));
        }
    }
}

/// Fills a store the way the server would, without its network.
fn load(data: &Path, key: [u8; 32]) {
    let mut store = SledStore::open(data).expect("a store");
    let first = store.load().expect("a snapshot").directory_counters;
    let mut changes = Vec::new();
    for nth in 0..READERS {
        let number = first.address + 1 + nth;
        changes.push(address(number, &format!("reader-{nth}"), AddressKind::User));
    }
    changes.push(device(first.device + 1, first.address + 1, key));
    changes.push(Change::PutDirectoryCounters(DirectoryCounters {
        address: first.address + READERS,
        device: first.device + 1,
        epoch: first.epoch,
    }));
    store.commit(&changes).expect("committed");
    let body: Arc<[u8]> = BODY.into();
    let mut heads = vec![Mark::ZERO; usize::try_from(READERS).expect("few")];
    for from in (0..BACKLOG).step_by(2_000) {
        let mut changes = Vec::with_capacity(2_100);
        for id in from + 1..=from + 2_000 {
            let nth = id % READERS;
            let head = &mut heads[usize::try_from(nth).expect("few")];
            changes.push(append(first.address + 1 + nth, id, head, &body));
        }
        for (log, head) in (first.address + 1..).zip(&heads) {
            let record = LogRecord {
                head: *head,
                floor: Mark::ZERO,
            };
            changes.push(Change::PutLog { log, record });
        }
        changes.push(Change::PutMailCounters(MailCounters {
            mail: from + 2_000,
            stream: 0,
        }));
        store.commit(&changes).expect("committed");
    }
    store.close().expect("closed");
}

fn append(log: u64, id: u64, head: &mut Mark, body: &Arc<[u8]>) -> Change {
    let size = body.len() as u64;
    let before = *head;
    *head = Mark {
        id,
        count: before.count + 1,
        bytes: before.bytes + size,
    };
    let record = MailRecord {
        prev: before.id,
        count: head.count,
        bytes: head.bytes,
        state: MailState::Live,
        from: "loader".into(),
        to: vec!["reader".into()],
        subject: "a backlog".into(),
        content_type: "text/plain; charset=utf-8".into(),
        sent_at_ms: 1_700_000_000_000,
        expires_at_ms: None,
        running_s: 0,
        size,
        message: id,
        answers: None,
    };
    Change::AppendMail {
        log,
        id,
        record,
        body: Arc::clone(body),
    }
}
