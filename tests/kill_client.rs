//! P2 and P3 under SIGKILLs of `mailctl` at random instants: while it sends, while it shows; and of `mailctl`
//! and the server of the same exchange.

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
use common::{Timed, eventually, now, pause, scale};
use serde_json::Value;

const WRITERS: usize = 4;
const READERS: usize = 2;

/// What the threads share.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    kills: AtomicUsize,
    /// The server is killed too.
    mixed: bool,
}

impl Tally {
    /// Says whether a run that nobody killed ended as it may: well, or, where the server may be away, with
    /// a word that it did not answer.
    fn is_fair(&self, run: &Run) -> bool {
        run.code == 0 || self.mixed && [69, 75].contains(&run.code)
    }
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

/// Runs processes and kills every other one, at instants spread over as long as one takes here.
struct Reaper {
    rng: Rng,
    usual: Duration,
}

impl Reaper {
    fn new(rng: Rng) -> Self {
        Self {
            rng,
            usual: Duration::from_millis(40),
        }
    }

    /// Lets a process run to its end, or not; says which.
    fn run(&mut self, mut child: Child, tally: &Tally) -> (Run, bool) {
        let begin = now();
        if self.rng.below(2) == 0 {
            let most = u64::try_from(self.usual.as_micros() * 5 / 4).expect("short");
            pause(Duration::from_micros(self.rng.below(most)));
            drop(child.kill());
        }
        let run = Run::from(child.wait_with_output().expect("it ends"));
        let killed = run.code == -1;
        if !killed {
            self.usual = (self.usual * 3 + begin.elapsed()) / 4;
        }
        tally.kills.fetch_add(usize::from(killed), Ordering::SeqCst);
        (run, killed)
    }
}

/// Sends until told to stop; returns what was acknowledged and how many sends there were.
fn write(ctl: &Ctl, nth: usize, mut rng: Rng, tally: &Tally) -> (Vec<Acked>, usize) {
    let mut reaper = Reaper::new(rng.fork());
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
        let (run, killed) = reaper.run(ctl.spawn(&words), tally);
        assert!(
            killed || tally.is_fair(&run),
            "send: {} {}",
            run.code,
            run.err
        );
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

fn read(ctl: &Ctl, rng: Rng, tally: &Tally) -> Vec<Showing> {
    let mut reaper = Reaper::new(rng);
    let mut showings = Vec::new();
    while !tally.stop.load(Ordering::SeqCst) {
        let (run, killed) = reaper.run(ctl.spawn(&["refresh", "--json"]), tally);
        assert!(
            killed || tally.is_fair(&run),
            "refresh: {} {}",
            run.code,
            run.err
        );
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
    in_rounds(scale("CORREIO_KILLS", 100), false, "kill_client");
}

#[test]
fn p02_p03_kill9_of_both_sides_loses_and_doubles_nothing() {
    let _timed = Timed::start("p02_p03_kill9_of_both_sides_loses_and_doubles_nothing");
    in_rounds(scale("CORREIO_KILLS", 40), true, "kill_both");
}

/// Kills on one server and one set of homes; then all is checked and begun anew, so that a long run stays
/// as quick as it began.
const KILLS_PER_ROUND: usize = 250;

fn in_rounds(kills: usize, mixed: bool, name: &str) {
    let mut rng = Rng::announced(name);
    let mut done = 0;
    while done < kills {
        done += exchange(KILLS_PER_ROUND.min(kills - done), mixed, &mut rng);
        println!("{name}: {done} of {kills} kills, nothing lost, nothing doubled");
    }
}

/// Lets writers and readers work until so many of them were killed, and checks everything; returns how
/// many were.
fn exchange(kills: usize, mixed: bool, rng: &mut Rng) -> usize {
    let mut server = Server::start();
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
    let tally = Arc::new(Tally {
        mixed,
        ..Tally::default()
    });
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
    let mut servers = 0;
    while tally.kills.load(Ordering::SeqCst) < kills
        && !writing.iter().any(std::thread::JoinHandle::is_finished)
        && !reading.iter().any(std::thread::JoinHandle::is_finished)
    {
        pause(Duration::from_millis(20));
        if mixed && rng.below(15) == 0 {
            server.kill9();
            servers += 1;
            pause(Duration::from_micros(rng.below(50_000)));
            server.restart();
        }
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
        "{killed} kills in {sends} sends, {servers} of the server beside them; {} acknowledged copies, {seen} shown",
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
    assert!(!acked.is_empty() && killed >= kills && (servers > 0) == mixed);
    killed
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
    let cut = showings
        .iter()
        .filter(|showing| showing.killed && !showing.mails.is_empty());
    println!(
        "reader {reader}: {} mails, {} refreshes killed while showing, {again} mails shown again",
        seen.len(),
        cut.count(),
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

/// Nobody reads what this refresh writes, so it stands still in the middle of showing, and is killed.
/// What it had written by then was shown.
fn show_into_a_full_pipe(ctl: &Ctl) -> Run {
    let mut child = ctl.spawn(&["refresh", "--json"]);
    let pipe = child.stdout.as_ref().expect("a pipe");
    let mut before = 0;
    eventually("a full pipe", || {
        let held = rustix::io::ioctl_fionread(pipe).expect("a pipe can be asked");
        let is_stuck = held > 0 && held == before;
        before = held;
        pause(Duration::from_millis(100));
        is_stuck.then_some(())
    });
    drop(child.kill());
    Run::from(child.wait_with_output().expect("it ends"))
}

#[test]
fn p03_a_refresh_killed_while_showing_shows_again_only_what_it_was_showing() {
    const MAILS: usize = 120;
    let server = Server::start();
    let homes = tempfile::tempdir().expect("a folder");
    let bob = Ctl::new(&server, homes.path());
    bob.ok(&["login", "bob"]);
    let mut ana = common::client::RawClient::user(&server, "ana");
    let ids: Vec<u64> = (0..MAILS)
        .map(|nth| ana.mail("bob", format!("{nth:<4000}").as_bytes()))
        .collect();
    let ids_of = |mails: &[Value]| -> Vec<u64> {
        mails
            .iter()
            .map(|mail| mail["id"].as_u64().expect("an id"))
            .collect()
    };
    let (mut shown, mut again) = (Vec::new(), 0);
    for _ in 0..5 {
        let now_shown = ids_of(&mails(&show_into_a_full_pipe(&bob)));
        assert!(!now_shown.is_empty());
        let first = now_shown[0];
        again += shown.iter().filter(|id| **id >= first).count();
        assert!(
            again <= 5,
            "more than one mail a kill is shown again: {again}"
        );
        shown.retain(|id| *id < first);
        shown.extend(now_shown);
    }
    let rest = ids_of(&mails(&bob.ok(&["refresh", "--json"])));
    again += shown.iter().filter(|id| rest.contains(id)).count();
    shown.retain(|id| !rest.contains(id));
    shown.extend(rest);
    println!("{again} of {MAILS} mails shown again after 5 kills");
    assert!(
        again <= 5,
        "more than one mail a kill is shown again: {again}"
    );
    assert_eq!(shown, ids, "all, in order");
}

/// `draft send` killed at any instant: whoever refuses it, the text is a draft or still on its way, and whoever takes
/// it gets it once.
#[test]
fn p02_p03_kill9_between_a_refusal_and_its_draft_loses_nothing() {
    let server = Server::start();
    let homes = tempfile::tempdir().expect("a folder");
    let [ana, bob] = ["ana", "bob"].map(|name| {
        let ctl = Ctl::new(&server, &homes.path().join(name));
        ctl.ok(&["login", name]);
        ctl
    });
    let mut reaper = Reaper::new(Rng::announced("kill_refused"));
    let tally = Tally::default();
    let kills = scale("CORREIO_KILLS", 20);
    let mut sends = 0;
    while tally.kills.load(Ordering::SeqCst) < kills {
        sends += 1;
        let body = format!("text {sends}");
        let kept = ana.ok(&["send", "bob", "nobody", "-b", &body, "--draft", "--json"]);
        let number = kept.objects()[0]["entry"].to_string();
        reaper.run(ana.spawn(&["draft", "send", &number]), &tally);
        settle(&ana);
        let listed = ana.ok(&["outbox", "ls", "--json"]).objects();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["state"], "draft");
        if listed[0]["to"] != serde_json::json!(["nobody"]) {
            // It was killed before it was sent to anybody.
            assert_eq!(listed[0]["to"], serde_json::json!(["bob", "nobody"]));
            assert_eq!(ana.run(&["draft", "send", &number]).code, 67);
        }
        let draft = &ana.ok(&["draft", "open", &number, "--json"]).objects()[0];
        assert_eq!(
            (&draft["to"], &draft["body"]),
            (&serde_json::json!(["nobody"]), &body.as_str().into())
        );
        let came = mails(&bob.ok(&["refresh", "--json"]));
        let bodies: Vec<&Value> = came.iter().map(|mail| &mail["body"]).collect();
        assert_eq!(bodies, [&Value::from(body)]);
        ana.ok(&["draft", "rm", &number]);
    }
    println!("{kills} kills in {sends} sends of drafts, nothing lost, nothing doubled");
}
