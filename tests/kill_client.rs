//! P2 and P3 under SIGKILLs of `mailctl` at random instants: while it sends, while it shows.

#![allow(clippy::print_stdout, reason = "figures belong in a test's output")]

mod common;

use std::collections::{HashMap, HashSet};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::ctl::{Ctl, Run};
use common::rng::Rng;
use common::server::Server;
use common::{Timed, eventually, pause, scale};
use serde_json::Value;

const WRITERS: usize = 4;
const READERS: usize = 2;

/// What the threads share.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    kills: AtomicUsize,
}

/// One copy that a `mailctl send` said was taken.
#[derive(Debug)]
struct Acked {
    address: String,
    id: u64,
    body: String,
}

/// One run of `mailctl refresh`.
struct Showing {
    mails: Vec<Value>,
    killed: bool,
}

/// Lets a process run, and kills it at a random instant every other time.
fn run_or_kill(mut child: Child, rng: &mut Rng, tally: &Tally) -> (Run, bool) {
    if rng.below(2) == 0 {
        pause(Duration::from_micros(rng.below(120_000)));
        drop(child.kill());
    }
    let run = Run::from(child.wait_with_output().expect("it ends"));
    let killed = run.code == -1;
    tally.kills.fetch_add(usize::from(killed), Ordering::SeqCst);
    (run, killed)
}

/// Sends until told to stop; returns what was acknowledged and how many sends there were.
fn write(ctl: &Ctl, nth: usize, mut rng: Rng, tally: &Tally) -> (Vec<Acked>, usize) {
    let (mut acked, mut sends) = (Vec::new(), 0);
    let targets: [&[&str]; 4] = [
        &["reader-0"],
        &["reader-1", "news"],
        &["news"],
        &["reader-0", "reader-1"],
    ];
    while !tally.stop.load(Ordering::SeqCst) {
        sends += 1;
        let body = format!("{nth} {sends}");
        let mut words = vec!["send", "--json", "-b", &body];
        words.extend(*rng.pick(&targets));
        let (run, killed) = run_or_kill(ctl.spawn(&words), &mut rng, tally);
        assert!(killed || run.code == 0, "send: {} {}", run.code, run.err);
        for outcome in run.objects() {
            acked.push(Acked {
                address: outcome["address"].as_str().expect("an address").to_owned(),
                id: outcome["id"].as_u64().expect("an id"),
                body: body.clone(),
            });
        }
    }
    (acked, sends)
}

fn read(ctl: &Ctl, mut rng: Rng, tally: &Tally) -> Vec<Showing> {
    let mut showings = Vec::new();
    while !tally.stop.load(Ordering::SeqCst) {
        let (run, killed) = run_or_kill(ctl.spawn(&["refresh", "--json"]), &mut rng, tally);
        assert!(killed || run.code == 0, "refresh: {} {}", run.code, run.err);
        showings.push(Showing {
            mails: mails(&run),
            killed,
        });
    }
    showings
}

fn mails(run: &Run) -> Vec<Value> {
    let mut objects = run.objects();
    assert!(
        objects.iter().all(|o| o["kind"] != "trimmed"),
        "nothing is missing: {objects:?}"
    );
    objects.retain(|object| object["kind"] == "mail");
    objects
}

#[test]
fn p02_p03_kill9_of_clients_loses_and_doubles_nothing() {
    let _timed = Timed::start("p02_p03_kill9_of_clients_loses_and_doubles_nothing");
    let kills = scale("CORREIO_KILLS", 100);
    let mut rng = Rng::announced("kill_client");
    let server = Server::start();
    let homes = tempfile::tempdir().expect("a folder");
    let home = |name: String, words: &[&str]| {
        let ctl = Ctl::new(&server, &homes.path().join(&name));
        ctl.ok(&[&["login", &name], words].concat());
        ctl
    };
    let readers: Vec<Ctl> = (0..READERS)
        .map(|n| home(format!("reader-{n}"), &["--topic", "news"]))
        .collect();
    let writers: Vec<Ctl> = (0..WRITERS)
        .map(|n| home(format!("writer-{n}"), &[]))
        .collect();
    let tally = Arc::new(Tally::default());
    let writing = writers.iter().enumerate().map(|(nth, ctl)| {
        let (ctl, rng, tally) = (ctl.clone(), rng.fork(), Arc::clone(&tally));
        std::thread::spawn(move || write(&ctl, nth, rng, &tally))
    });
    let writing: Vec<_> = writing.collect();
    let reading = readers.iter().map(|ctl| {
        let (ctl, rng, tally) = (ctl.clone(), rng.fork(), Arc::clone(&tally));
        std::thread::spawn(move || read(&ctl, rng, &tally))
    });
    let reading: Vec<_> = reading.collect();
    while tally.kills.load(Ordering::SeqCst) < kills
        && !writing.iter().any(std::thread::JoinHandle::is_finished)
        && !reading.iter().any(std::thread::JoinHandle::is_finished)
    {
        pause(Duration::from_millis(20));
    }
    tally.stop.store(true, Ordering::SeqCst);
    let (mut acked, mut sends) = (Vec::new(), 0);
    for writer in writing {
        let (copies, count) = writer.join().expect("a writer ends well");
        acked.extend(copies);
        sends += count;
    }
    let mut shown: Vec<Vec<Showing>> = reading
        .into_iter()
        .map(|r| r.join().expect("a reader ends well"))
        .collect();
    writers.iter().for_each(settle);
    for (ctl, shown) in readers.iter().zip(&mut shown) {
        let rest = mails(&ctl.ok(&["refresh", "--json"]));
        shown.push(Showing {
            mails: rest,
            killed: false,
        });
        assert!(
            mails(&ctl.ok(&["refresh", "--json"])).is_empty(),
            "all was shown"
        );
    }
    let killed = tally.kills.load(Ordering::SeqCst);
    let seen: usize = shown
        .iter()
        .flatten()
        .map(|showing| showing.mails.len())
        .sum();
    println!(
        "{killed} kills in {sends} sends; {} acknowledged copies, {seen} shown",
        acked.len()
    );
    for (nth, showings) in shown.iter().enumerate() {
        let reads = |copy: &&Acked| [&format!("reader-{nth}"), "news"].contains(&&*copy.address);
        check(
            nth,
            &acked.iter().filter(reads).collect::<Vec<_>>(),
            showings,
        );
    }
    assert!(!acked.is_empty() && killed >= kills);
}

/// Lets a device's next `mailctl` carry its sends in doubt to their end.
fn settle(ctl: &Ctl) {
    eventually("an outbox without doubts", || {
        ctl.ok(&["refresh", "--json"]);
        let doubts = ctl.ok(&["outbox", "ls", "--json"]).objects();
        let open = doubts.iter().any(|entry| entry["state"] == "in_doubt");
        (!open).then_some(())
    });
}

fn check(reader: usize, acked: &[&Acked], showings: &[Showing]) {
    let mut seen: HashMap<u64, &Value> = HashMap::new();
    let mut closed: HashSet<u64> = HashSet::new();
    let mut heads: HashMap<&str, u64> = HashMap::new();
    let mut bodies: HashSet<(&str, &str)> = HashSet::new();
    let mut again = 0;
    for showing in showings {
        let mut this_run = HashSet::new();
        for mail in &showing.mails {
            let id = mail["id"].as_u64().expect("an id");
            let address = mail["address"].as_str().expect("an address");
            let body = mail["body"].as_str().expect("a body");
            assert!(
                this_run.insert(id),
                "reader {reader}: {id} twice in one refresh"
            );
            assert!(
                !closed.contains(&id),
                "reader {reader}: {id} shown again without need"
            );
            if seen.insert(id, mail).is_some() {
                again += 1;
                continue;
            }
            let head = heads.insert(address, id).unwrap_or(0);
            assert!(head < id, "reader {reader}, {address}: {id} after {head}");
            assert!(
                bodies.insert((address, body)),
                "reader {reader}: {body:?} was sent twice"
            );
        }
        if !showing.killed {
            closed.extend(this_run);
        }
    }
    println!(
        "reader {reader}: {} mails, {again} shown again after a kill",
        seen.len()
    );
    for Acked { address, id, body } in acked {
        let mail = seen
            .get(id)
            .unwrap_or_else(|| panic!("reader {reader}: {id} is lost"));
        assert_eq!(
            (&mail["address"], &mail["body"]),
            (&(**address).into(), &(**body).into())
        );
    }
}
