//! Several `mailctl` processes of one device at once: nothing lost, doubled or held up.

#![allow(clippy::print_stdout, reason = "figures belong in a test's output")]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::client::RawClient;
use common::ctl::{Ctl, Run};
use common::server::Server;
use common::{PATIENCE, Timed, now, scale};
use correio::protocol::request::AdminWhat;
use serde_json::Value;

/// What the six processes that come and go do; two watches stand beside them.
const WORK: [&[&str]; 6] = [
    &["refresh", "--json"],
    &["refresh", "--json"],
    &SEND,
    &SEND,
    &SEND,
    &["topic", "ls", "--json"],
];
const SEND: [&str; 5] = ["send", "--json", "bob", "-b", "from a crowd"];
const WATCHES: usize = 2;

/// What a crowd of eight processes did.
struct Crowd {
    /// How often each mail was shown by a refresh.
    shown: HashMap<u64, usize>,
    /// How long each send took, ascending.
    sends: Vec<Duration>,
    /// What each watch showed.
    watched: Vec<Vec<u64>>,
}

/// Lets eight processes work, one per home given, while bob sends mails to `to` and `news`.
fn crowd(
    server: &Server,
    homes: &[Ctl; 8],
    bob: &mut RawClient,
    to: &str,
    mails: usize,
) -> (Crowd, Vec<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let before = standing(server);
    let standing_by: Vec<_> = homes[..WATCHES]
        .iter()
        .map(|home| watch(home, mails))
        .collect();
    common::eventually("standing sessions", || {
        (standing(server) >= before + WATCHES).then_some(())
    });
    let workers = homes[WATCHES..].iter().zip(WORK).map(|(home, words)| {
        let (home, stop) = (home.clone(), Arc::clone(&stop));
        (
            words,
            std::thread::spawn(move || repeat(&home, &stop, words)),
        )
    });
    let workers: Vec<_> = workers.collect();
    let ids = (0..mails)
        .map(|nth| {
            bob.mail(
                if nth % 2 == 0 { to } else { "news" },
                format!("mail {nth}").as_bytes(),
            )
        })
        .collect();
    let watched = standing_by.into_iter().map(end_of).collect();
    stop.store(true, Ordering::SeqCst);
    let mut crowd = Crowd {
        shown: HashMap::new(),
        sends: Vec::new(),
        watched,
    };
    for (words, worker) in workers {
        for (run, took) in worker.join().expect("a process ends well") {
            count_shown(&run, &mut crowd.shown);
            if words == SEND {
                assert_eq!(run.objects().len(), 1, "a send has an outcome");
                crowd.sends.push(took);
            }
        }
    }
    crowd.sends.sort_unstable();
    (crowd, ids)
}

fn count_shown(run: &Run, shown: &mut HashMap<u64, usize>) {
    for mail in run
        .objects()
        .iter()
        .filter(|object| object["kind"] == "mail")
    {
        *shown
            .entry(mail["id"].as_u64().expect("an id"))
            .or_default() += 1;
    }
}

/// Runs a verb again and again until told to stop and returns every run with the time it took.
fn repeat(ctl: &Ctl, stop: &AtomicBool, words: &[&str]) -> Vec<(Run, Duration)> {
    let mut runs = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let begin = now();
        runs.push((ctl.ok(words), begin.elapsed()));
    }
    runs
}

/// Starts a watch and reads its lines until that many mails came.
fn watch(ctl: &Ctl, mails: usize) -> (Child, JoinHandle<Vec<u64>>) {
    let mut child = ctl.spawn(&["watch", "--json"]);
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let objects = lines
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let ids = objects
        .filter(|object| object["kind"] == "mail")
        .filter_map(|mail| mail["id"].as_u64());
    (child, std::thread::spawn(move || ids.take(mails).collect()))
}

/// Waits until a watch showed all, or for too long, and ends it.
fn end_of((mut child, reader): (Child, JoinHandle<Vec<u64>>)) -> Vec<u64> {
    let begin = now();
    while !reader.is_finished() && begin.elapsed() < PATIENCE {
        common::pause(Duration::from_millis(20));
    }
    drop(child.kill());
    drop(child.wait());
    reader.join().expect("a watch is read")
}

/// Returns how many standing sessions the server knows.
fn standing(server: &Server) -> usize {
    let rows = RawClient::admin(server)
        .admin_rows(AdminWhat::SessionLs, None)
        .expect("rows");
    rows.iter().filter(|row| row["port"].is_u64()).count()
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn login(server: &Server, folder: &Path, name: &str) -> Ctl {
    let ctl = Ctl::new(server, &folder.join(name));
    ctl.ok(&["login", name, "--topic", "news"]);
    ctl
}

#[test]
fn p03_eight_processes_of_one_device_show_each_mail_once_and_delay_no_send() {
    let _timed = Timed::start("p03_eight_processes_of_one_device_show_each_mail_once");
    let mails = scale("CORREIO_MAILS", 600);
    let server = Server::start_with(32, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let ana = login(&server, folder.path(), "ana");
    let mut bob = RawClient::user(&server, "bob");
    // The same crowd on eight devices: as busy a machine, and no home shared. What a send takes
    // longer in one home is what the others there delay it.
    let apart: Vec<Ctl> = (0..8)
        .map(|nth| login(&server, folder.path(), &format!("apart-{nth}")))
        .collect();
    let apart: [Ctl; 8] = apart.try_into().expect("eight");
    let (alone, _) = crowd(&server, &apart, &mut bob, "news", mails);
    let together = std::array::from_fn(|_| ana.clone());
    let (mut crowd, ids) = crowd(&server, &together, &mut bob, "ana", mails);
    count_shown(&ana.ok(&["refresh", "--json"]), &mut crowd.shown);
    let doubled = crowd.shown.values().filter(|count| **count > 1).count();
    let lost = ids
        .iter()
        .filter(|id| !crowd.shown.contains_key(id))
        .count();
    println!("{mails} mails to a device with 8 processes: {lost} lost, {doubled} doubled");
    assert_eq!((lost, doubled), (0, 0));
    for (nth, seen) in crowd.watched.iter().enumerate() {
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        assert_eq!(
            sorted, ids,
            "watch {nth} shows all that arrives while it runs, once"
        );
    }
    let log = bob.log("bob");
    let stored = bob.read_all(log.log, 0).expect("reads").len();
    assert_eq!(
        stored,
        crowd.sends.len() + alone.sends.len(),
        "every send arrived once"
    );
    assert_delay(&alone.sends, &crowd.sends);
}

/// Prints and bounds what sends of one device are delayed by its other processes.
fn assert_delay(apart: &[Duration], together: &[Duration]) {
    for percent in [50, 95, 100] {
        let (apart, together) = (percentile(apart, percent), percentile(together, percent));
        println!("a send, {percent} %: {apart:?} in homes apart, {together:?} in one home");
    }
    let delay = percentile(together, 95).saturating_sub(percentile(apart, 95));
    assert!(
        delay < Duration::from_millis(100),
        "sends of one device hold each other up: {delay:?}"
    );
}
