//! Several `mailctl` processes of one device at once: nothing lost, doubled or held up.

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::client::RawClient;
use common::ctl::{Ctl, Run};
use common::server::Server;
use common::{PATIENCE, Timed, now, scale};
use serde_json::Value;

fn count_of(objects: &[Value], count: &mut HashMap<u64, usize>) {
    for mail in objects.iter().filter(|object| object["kind"] == "mail") {
        *count
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

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// Reads a watch's lines until all `mails` ids came.
fn watched(mut child: Child, mails: usize) -> (Child, std::thread::JoinHandle<Vec<Value>>) {
    let stdout = child.stdout.take().expect("a pipe");
    let lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let objects = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    let mut objects = objects.filter(|object| object["kind"] == "mail");
    (
        child,
        std::thread::spawn(move || objects.by_ref().take(mails).collect()),
    )
}

#[test]
fn p03_eight_processes_of_one_device_show_each_mail_once_and_delay_no_send() {
    let _timed = Timed::start("p03_eight_processes_of_one_device_show_each_mail_once");
    let mails = scale("CORREIO_MAILS", 600);
    let server = Server::start();
    let homes = tempfile::tempdir().expect("a folder");
    let ana = Ctl::new(&server, &homes.path().join("ana"));
    ana.ok(&["login", "ana", "--topic", "news"]);
    let mut bob = RawClient::user(&server, "bob");
    let send = ["send", "--json", "bob", "-b", "from a crowd"];
    let mut alone: Vec<Duration> = (0..10)
        .map(|_| {
            let begin = now();
            ana.ok(&send);
            begin.elapsed()
        })
        .collect();
    alone.sort_unstable();
    let stop = Arc::new(AtomicBool::new(false));
    let watches: Vec<_> = (0..2)
        .map(|_| watched(ana.spawn(&["watch", "--json"]), mails))
        .collect();
    wait_for_watches(&server, 2);
    let kinds: [&'static [&'static str]; 3] = [
        &["refresh", "--json"],
        &["send", "--json", "bob", "-b", "x"],
        &["topic", "ls", "--json"],
    ];
    let workers: Vec<_> = [0, 0, 1, 1, 1, 2]
        .map(|kind| {
            let (ana, stop) = (ana.clone(), Arc::clone(&stop));
            (
                kind,
                std::thread::spawn(move || repeat(&ana, &stop, kinds[kind])),
            )
        })
        .into_iter()
        .collect();
    let ids: Vec<u64> = (0..mails)
        .map(|nth| bob.mail(["ana", "news"][nth % 2], format!("mail {nth}").as_bytes()))
        .collect();
    let mut by_watch = Vec::new();
    for (mut child, reader) in watches {
        let begin = now();
        while !reader.is_finished() && begin.elapsed() < PATIENCE {
            common::pause(Duration::from_millis(20));
        }
        drop(child.kill());
        drop(child.wait());
        by_watch.push(reader.join().expect("a watch is read"));
    }
    stop.store(true, Ordering::SeqCst);
    let (mut shown, mut sends) = (HashMap::new(), Vec::new());
    let mut sent_ids = 0;
    for (kind, worker) in workers {
        let runs = worker.join().expect("a process ends well");
        for (run, took) in runs {
            count_of(&run.objects(), &mut shown);
            if kind == 1 {
                sends.push(took);
                sent_ids += run.objects().len();
            }
        }
    }
    count_of(&ana.ok(&["refresh", "--json"]).objects(), &mut shown);
    let doubled = shown.iter().filter(|(_, count)| **count > 1).count();
    let lost = ids.iter().filter(|id| !shown.contains_key(id)).count();
    println!("{mails} mails to a device with 8 processes: {lost} lost, {doubled} doubled");
    sends.sort_unstable();
    println!(
        "send: alone median {:?}, max {:?}; among others median {:?}, 95 % {:?}, max {:?} of {}",
        percentile(&alone, 50),
        percentile(&alone, 100),
        percentile(&sends, 50),
        percentile(&sends, 95),
        percentile(&sends, 100),
        sends.len(),
    );
    assert_eq!((lost, doubled), (0, 0));
    assert_eq!(sent_ids, sends.len(), "each send has an outcome");
    for (nth, seen) in by_watch.iter().enumerate() {
        let seen: Vec<u64> = seen.iter().filter_map(|mail| mail["id"].as_u64()).collect();
        assert_eq!(
            seen.len(),
            mails,
            "watch {nth} shows all that arrives while it runs"
        );
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), mails, "watch {nth} shows nothing twice");
    }
    let log = bob.log("bob");
    let stored = bob.read_all(log.log, 0).expect("reads").len();
    assert_eq!(stored, sends.len() + alone.len(), "every send arrived once");
}

/// Waits until the server knows of this many standing sessions.
fn wait_for_watches(server: &Server, count: usize) {
    use correio::protocol::request::AdminWhat;
    common::eventually("standing sessions", || {
        let rows = RawClient::admin(server)
            .admin_rows(AdminWhat::SessionLs, None)
            .ok()?;
        let standing = rows.iter().filter(|row| row["port"].is_u64()).count();
        (standing >= count).then_some(())
    });
}
