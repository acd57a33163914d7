//! Either side of a chat killed with SIGKILL, at any moment: while it asks, accepts, talks, leaves.
//!
//! The other side says so, no lease leaks, no line is lost and none is shown twice. Several chats run side
//! by side. 12 kills, or `CORREIO_KILLS`.

#![allow(clippy::print_stdout, reason = "figures belong in a test's output")]

mod common;

use std::collections::HashSet;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::chat::{Ended, Talk, lent_to};
use common::client::RawClient;
use common::ctl::{Ctl, Run};
use common::rng::Rng;
use common::server::Server;
use common::{Timed, eventually, now, pause, scale};
use rustix::process::Signal;
use serde_json::Value;

/// The leases' term; the flag below says the same.
const TERM: Duration = Duration::from_secs(6);

/// How soon the other side must say that it is alone.
const SAID: Duration = Duration::from_secs(15);

/// How soon a port is free that a process gave back when it ended.
const GIVEN_BACK: Duration = Duration::from_secs(1);

/// Chats that run side by side.
const LANES: usize = 6;

/// What the two are at when one of them is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Asking,
    Accepting,
    Talking,
    Leaving,
}

const MOMENTS: [Moment; 4] = [
    Moment::Asking,
    Moment::Accepting,
    Moment::Talking,
    Moment::Leaving,
];

/// One user of a lane.
struct User {
    name: String,
    ctl: Ctl,
    /// Every text of a line that was ever put before this user, live or as mail.
    shown: HashSet<String>,
}

/// One process of a round and what was said to it.
struct Side {
    talk: Talk,
    name: String,
    said: Vec<String>,
}

/// What one kill brought about.
#[derive(Debug)]
struct Outcome {
    moment: Moment,
    /// How long after the kill the other side said so; nothing when it was not in the chat.
    said_after: Option<Duration>,
    /// How long after the kill the ports were back.
    ports_after: Duration,
    shown: usize,
    mailed: usize,
    /// Lines that had been shown at the instant of the kill and were shown again as mail.
    again: usize,
}

/// Two users who chat with each other, and one of whom dies, over and over.
struct Lane<'a> {
    users: [User; 2],
    admin: RawClient,
    rng: Rng,
    nth: usize,
    kills: &'a AtomicUsize,
    rounds: &'a AtomicUsize,
}

impl Side {
    fn new(talk: Talk, name: &str) -> Self {
        Self {
            talk,
            name: name.to_owned(),
            said: Vec::new(),
        }
    }

    /// Says a line that nobody ever said. One that a side takes no more is not said.
    fn say(&mut self, round: usize) {
        let text = format!("{} {round} {}", self.name, self.said.len());
        if self.talk.try_say(&text) {
            self.said.push(text);
        }
    }
}

impl<'a> Lane<'a> {
    fn new(
        server: &Server,
        homes: &std::path::Path,
        nth: usize,
        rng: Rng,
        counts: &'a [AtomicUsize; 2],
    ) -> Self {
        let users = ["ana", "bob"].map(|who| {
            let name = format!("{who}-{nth}");
            let ctl = Ctl::new(server, &homes.join(&name));
            ctl.ok(&["login", &name]);
            let shown = HashSet::new();
            User { name, ctl, shown }
        });
        Self {
            users,
            admin: RawClient::admin(server),
            rng,
            nth,
            kills: &counts[0],
            rounds: &counts[1],
        }
    }

    /// Goes on until enough were killed by all lanes together.
    fn run(mut self, kills: usize) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while self.kills.load(Ordering::SeqCst) < kills {
            let round = self.rounds.fetch_add(1, Ordering::SeqCst);
            let moment = MOMENTS[round % MOMENTS.len()];
            // Who dies, and in the end who leaves, goes round too.
            let victim = round / MOMENTS.len() % 2;
            outcomes.extend(self.round(round, moment, victim));
        }
        outcomes
    }

    /// One chat and one kill; nothing when the process had ended just before.
    fn round(&mut self, round: usize, moment: Moment, victim: usize) -> Option<Outcome> {
        let asking = self.ask();
        match moment {
            Moment::Asking => self.kill_asking(asking),
            Moment::Accepting => self.kill_accepting(asking, round, victim),
            Moment::Talking | Moment::Leaving => {
                let leaves = (moment == Moment::Leaving).then(|| self.rng.index(2));
                self.kill_open(asking, round, victim, leaves)
            }
        }
    }

    fn ask(&self) -> Side {
        let [ana, bob] = &self.users;
        Side::new(Talk::ask(&ana.ctl, &bob.name), &ana.name)
    }

    fn accept(&self) -> Side {
        let [ana, bob] = &self.users;
        Side::new(Talk::accept(&bob.ctl, &ana.name), &bob.name)
    }

    fn wait_up_to(&mut self, ms: u64) {
        pause(Duration::from_micros(self.rng.below(ms * 1_000)));
    }

    /// Kills who asks; the other accepts what may be there, and must not wait for ever.
    fn kill_asking(&mut self, asking: Side) -> Option<Outcome> {
        self.wait_up_to(600);
        let (at, dead) = (now(), asking.talk.kill9());
        self.count(&dead)?;
        let left = self.accept();
        let said = Self::alone(left, at, &[67, 69, 75]);
        Some(self.settle(Moment::Asking, at, said, (0, &[]), &dead))
    }

    /// Kills one of them somewhere between the other's answer and the first line.
    fn kill_accepting(&mut self, mut asking: Side, round: usize, victim: usize) -> Option<Outcome> {
        asking.talk.kind("waiting");
        let accepting = self.accept();
        self.wait_up_to(600);
        let (dies, mut left) = if victim == 0 {
            (asking, accepting)
        } else {
            (accepting, asking)
        };
        let (at, dead) = (now(), dies.talk.kill9());
        self.count(&dead)?;
        let still_asked = victim == 1 && self.is_asked();
        let said = if still_asked {
            // The killed one had not accepted: who asks goes on waiting, and this is answered yet.
            self.accept_after_all(&mut left, round);
            None
        } else {
            Self::alone(left, at, &[67, 69, 75])
        };
        Some(self.settle(Moment::Accepting, at, said, (victim, &[]), &dead))
    }

    fn is_asked(&self) -> bool {
        let requests = self.users[1].ctl.ok(&["--json", "chat", "requests"]);
        !requests.objects().is_empty()
    }

    /// Accepts in a second process. The killed one's word may have been on its way: then this one is told
    /// that it is taken, and who asked that nobody came.
    fn accept_after_all(&mut self, asking: &mut Side, round: usize) {
        let mut accepting = self.accept();
        let is_decided = |object: &Value| object["kind"] == "open" || object["kind"] == "lost";
        let decided = asking.talk.until("a second answer", SAID, is_decided);
        if decided.object["kind"] == "open" {
            accepting.talk.kind("open");
            asking.say(round);
            accepting.talk.line(&asking.said[0]);
            asking.talk.leave();
            assert_eq!(accepting.talk.end().code, 0);
        }
    }

    /// Kills one of two who talk, or of whom one has just left.
    fn kill_open(
        &mut self,
        mut asking: Side,
        round: usize,
        victim: usize,
        leaves: Option<usize>,
    ) -> Option<Outcome> {
        asking.talk.kind("waiting");
        let mut sides = [asking, self.accept()];
        for side in &mut sides {
            side.talk.kind("open");
        }
        let talk_ms = 100 + self.rng.below(1_000);
        talk(&mut sides, round, Duration::from_millis(talk_ms));
        if let Some(leaver) = leaves {
            // Who is left may end at once: what is still in its pipe then was never said.
            let [one, other] = &mut sides;
            let (stays, goes) = if leaver == 0 {
                (other, one)
            } else {
                (one, other)
            };
            if let Some(last) = stays.said.last().cloned() {
                goes.talk.line(&last);
            }
            goes.say(round);
            goes.talk.leave();
            self.wait_up_to(10);
        }
        let [one, other] = sides;
        let (dies, mut left) = if victim == 0 {
            (one, other)
        } else {
            (other, one)
        };
        let said_by_dead = dies.said;
        let (at, dead) = (now(), dies.talk.kill9());
        self.count(&dead)?;
        if leaves.is_none() {
            for _ in 0..10 {
                left.say(round);
                pause(Duration::from_millis(10));
            }
        }
        let (said, texts, shown) = Self::alone_in_chat(left, at, leaves.is_some());
        check_prefix(&shown, &said_by_dead);
        check_delivered(&dead, shown.len());
        let moment = if leaves.is_some() {
            Moment::Leaving
        } else {
            Moment::Talking
        };
        let left = &mut self.users[1 - victim];
        left.shown
            .extend(said_by_dead.into_iter().take(shown.len()));
        Some(self.settle(moment, at, Some(said), (victim, &texts), &dead))
    }

    /// Counts a kill; nothing when there was nobody left to kill.
    fn count(&self, dead: &Ended) -> Option<()> {
        (dead.code == -1).then(|| {
            self.kills.fetch_add(1, Ordering::SeqCst);
        })
    }

    /// Waits for the other side to say that it is alone. Returns when it did, if it was in a chat.
    fn alone(left: Side, killed: Instant, codes: &[i32]) -> Option<Duration> {
        let name = left.name.clone();
        let ended = left.talk.end();
        let took = killed.elapsed();
        assert!(
            codes.contains(&ended.code),
            "{name}: {} {}",
            ended.code,
            ended.err
        );
        assert!(took < SAID, "{name} said so after {took:?}: {}", ended.err);
        assert!(!ended.err.is_empty(), "{name} says why");
        ended
            .find("lost")
            .map(|heard| heard.at.saturating_duration_since(killed))
    }

    /// The same after lines were said: returns also what it said and what it showed.
    fn alone_in_chat(
        left: Side,
        killed: Instant,
        may_be_bye: bool,
    ) -> (Duration, Vec<String>, Vec<(u64, String)>) {
        let (name, said) = (left.name, left.said);
        let ended = left.talk.end();
        let end = ["lost", "bye"].iter().find_map(|kind| ended.find(kind));
        let end = end.unwrap_or_else(|| panic!("{name} says nothing: {ended:?}"));
        let is_bye = end.object["kind"] == "bye";
        assert!(may_be_bye || !is_bye, "{name}: nobody left");
        assert_eq!(
            ended.code,
            if is_bye { 0 } else { 69 },
            "{name}: {}",
            ended.err
        );
        let took = end.at.saturating_duration_since(killed);
        assert!(took < SAID, "{name} said so after {took:?}");
        (took, said, ended.lines())
    }

    /// After a kill: all ports come back, and every line of who was left was shown or comes as mail.
    fn settle(
        &mut self,
        moment: Moment,
        killed: Instant,
        said_after: Option<Duration>,
        (victim, said): (usize, &[String]),
        dead: &Ended,
    ) -> Outcome {
        let limit = (TERM + Duration::from_secs(1)).max(killed.elapsed() + GIVEN_BACK);
        let ports_after = self.ports_back(killed, limit);
        let live = dead.lines();
        // Who was left sends what its outbox may still hold.
        let rest = mails(&self.users[1 - victim].ctl);
        assert!(rest.is_empty(), "the dead send no mail: {rest:?}");
        let mailed = mails(&self.users[victim].ctl);
        let again = mailed
            .iter()
            .filter(|text| live.iter().any(|line| line.1 == **text));
        let again: Vec<&String> = again.collect();
        assert!(
            again.is_empty() || again == [&live[live.len() - 1].1],
            "lane {}: more than the line being shown came again: {again:?}",
            self.nth
        );
        let again = again.len();
        let user = &mut self.users[victim];
        for (nth, (seq, text)) in live.iter().enumerate() {
            assert_eq!((*seq, text), (nth as u64 + 1, &said[nth]), "in order, once");
            assert!(user.shown.insert(text.clone()), "{text} was shown before");
        }
        for text in &mailed {
            let is_new = user.shown.insert(text.clone());
            assert!(
                is_new || live.iter().any(|line| line.1 == *text),
                "{text} was shown before"
            );
        }
        for text in said {
            assert!(
                user.shown.contains(text),
                "{text:?} is lost: {} lines live, mailed {mailed:?}",
                live.len()
            );
        }
        let (shown, mailed) = (live.len(), mailed.len());
        Outcome {
            moment,
            said_after,
            ports_after,
            shown,
            mailed,
            again,
        }
    }

    /// Waits until nobody of this lane has a port.
    fn ports_back(&mut self, killed: Instant, limit: Duration) -> Duration {
        loop {
            let users = [&*self.users[0].name, &*self.users[1].name];
            let held = lent_to(&mut self.admin, &users);
            let took = killed.elapsed();
            if held.is_empty() {
                return took;
            }
            assert!(took < limit, "lane {}: a port leaks: {held:?}", self.nth);
            pause(Duration::from_millis(20));
        }
    }
}

/// Both say lines for a while.
fn talk(sides: &mut [Side; 2], round: usize, time: Duration) {
    let until = now() + time;
    while now() < until {
        for side in sides.iter_mut() {
            side.say(round);
        }
        pause(Duration::from_millis(2));
    }
}

/// What was shown of a side is the beginning of what it said, in order, each once.
fn check_prefix(shown: &[(u64, String)], said: &[String]) {
    for (nth, (seq, text)) in shown.iter().enumerate() {
        assert_eq!((*seq, Some(text)), (nth as u64 + 1, said.get(nth)));
    }
}

/// What was told as delivered was shown.
fn check_delivered(dead: &Ended, shown: usize) {
    let delivered = dead
        .seen
        .iter()
        .filter(|heard| heard.object["kind"] == "delivered");
    let told = delivered
        .filter_map(|heard| heard.object["seq"].as_u64())
        .max();
    // A bye has a place of its own.
    assert!(
        told.unwrap_or(0) <= shown as u64 + 1,
        "{told:?} delivered, {shown} shown"
    );
}

fn mails(ctl: &Ctl) -> Vec<String> {
    let rows = ctl.ok(&["--json", "refresh"]).objects();
    let mails = rows.iter().filter(|row| row["kind"] == "mail");
    mails
        .map(|mail| mail["body"].as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn p02_p03_p06_kill9_of_either_side_loses_doubles_and_leaks_nothing() {
    let _timed = Timed::start("p02_p03_p06_kill9_of_either_side_loses_doubles_and_leaks_nothing");
    let kills = scale("CORREIO_KILLS", 12);
    let mut rng = Rng::announced("chat_kill");
    let ports = u16::try_from(4 * LANES).expect("few");
    let server = Server::start_with(ports, &["--lease-ttl", "6s", "--port-rest", "100ms"]);
    let homes = tempfile::tempdir().expect("a folder");
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let lanes =
        (0..LANES.min(kills)).map(|nth| Lane::new(&server, homes.path(), nth, rng.fork(), &counts));
    let lanes: Vec<Lane<'_>> = lanes.collect();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let running = lanes
            .into_iter()
            .map(|lane| scope.spawn(move || lane.run(kills)));
        let running: Vec<_> = running.collect();
        let ended = running
            .into_iter()
            .map(|lane| lane.join().expect("a lane ends well"));
        ended.flatten().collect()
    });
    for moment in MOMENTS {
        report(
            moment,
            outcomes.iter().filter(|outcome| outcome.moment == moment),
        );
    }
    let late = outcomes.iter().map(|outcome| outcome.ports_after).max();
    let late = late.expect("somebody was killed");
    println!(
        "all ports back {:.1} s after a kill at the latest (term {TERM:?})",
        late.as_secs_f64()
    );
    let again: usize = outcomes.iter().map(|outcome| outcome.again).sum();
    println!(
        "{} kills, {again} lines shown again, one a kill at most",
        outcomes.len()
    );
    assert!(outcomes.len() >= kills);
}

fn report<'a>(moment: Moment, outcomes: impl Iterator<Item = &'a Outcome>) {
    let outcomes: Vec<&Outcome> = outcomes.collect();
    let mut said: Vec<Duration> = outcomes
        .iter()
        .filter_map(|outcome| outcome.said_after)
        .collect();
    said.sort();
    let seconds = |at: usize| said.get(at).map_or(0.0, Duration::as_secs_f64);
    let sum =
        |count: fn(&Outcome) -> usize| outcomes.iter().map(|outcome| count(outcome)).sum::<usize>();
    println!(
        "{moment:?}: {} kills, {} times the other side said so, after {:.1} s (median), {:.1} s (most); {} lines \
         shown, {} came as mail, {} of them had been shown",
        outcomes.len(),
        said.len(),
        seconds(said.len() / 2),
        seconds(said.len().saturating_sub(1)),
        sum(|outcome| outcome.shown),
        sum(|outcome| outcome.mailed),
        sum(|outcome| outcome.again),
    );
}

/// Nobody reads what this side writes, so it stands still in the middle of showing, and is killed. What it
/// had written by then was shown; everything else comes as mail.
#[test]
fn p03_a_side_killed_while_showing_shows_again_only_what_it_was_showing() {
    const SAID_LINES: usize = 400;
    // What a killed side held is not back before its term.
    let server = Server::start_with(12, &["--port-rest", "0s"]);
    let homes = tempfile::tempdir().expect("a folder");
    let home = |name: &str| {
        let ctl = Ctl::new(&server, &homes.path().join(name));
        ctl.ok(&["login", name]);
        ctl
    };
    let (ana, bob) = (home("ana"), home("bob"));
    let mut again = 0;
    for kill in 0..3 {
        let mut asking = Talk::ask(&ana, "bob");
        asking.kind("waiting");
        let mut showing = mute(bob.command(&["--json", "chat", "accept", "ana"]));
        asking.kind("open");
        let said: Vec<String> = (0..SAID_LINES)
            .map(|nth| format!("{kill} {nth:<500}"))
            .collect();
        asking.say_all(&said);
        wait_until_stuck(&showing);
        drop(showing.kill());
        let dead = Run::from(showing.wait_with_output().expect("it ends"));
        let lines = dead
            .objects()
            .into_iter()
            .filter(|object| object["kind"] == "line");
        let mut shown: Vec<String> = lines
            .map(|line| line["text"].as_str().expect("a text").to_owned())
            .collect();
        assert!(
            !shown.is_empty() && shown.len() < SAID_LINES,
            "{}",
            shown.len()
        );
        let ended = asking.end();
        assert_eq!(
            (ended.code, ended.find("lost").is_some()),
            (69, true),
            "{}",
            ended.err
        );
        let mailed = mails(&bob);
        if mailed.first() == shown.last() {
            shown.pop();
            again += 1;
        }
        println!("{} lines shown, {} came as mail", shown.len(), mailed.len());
        shown.extend(mailed);
        assert!(shown == said, "all, in order, once");
    }
    println!("{again} lines shown again after 3 kills");
}

/// A side that sleeps so long that the other gives it up and mails what it said, and then wakes with those
/// lines before it: it shows each once, there or as mail.
#[test]
fn p03_a_side_that_slept_shows_each_line_once() {
    const SAID_LINES: usize = 60;
    // What a killed side held is not back before its term.
    let server = Server::start_with(12, &["--port-rest", "0s"]);
    let homes = tempfile::tempdir().expect("a folder");
    let home = |name: &str| {
        let ctl = Ctl::new(&server, &homes.path().join(name));
        ctl.ok(&["login", name]);
        ctl
    };
    let (ana, bob) = (home("ana"), home("bob"));
    let mut asking = Talk::ask(&ana, "bob");
    asking.kind("waiting");
    let mut sleeping = Talk::accept(&bob, "ana");
    sleeping.kind("open");
    asking.kind("open");
    sleeping.signal(Signal::STOP);
    let said: Vec<String> = (0..SAID_LINES).map(|nth| format!("said {nth}")).collect();
    asking.say_all(&said);
    let ended = asking.end();
    assert_eq!((ended.code, ended.last()), (69, "lost"), "{}", ended.err);
    sleeping.signal(Signal::CONT);
    let woken = sleeping.end();
    assert_eq!((woken.code, woken.last()), (69, "lost"), "{}", woken.err);
    let live = woken.lines().into_iter().map(|line| line.1);
    let mut shown: Vec<String> = live.collect();
    println!("{} lines shown after waking", shown.len());
    shown.extend(mails(&bob));
    assert_eq!(shown, said, "all, in order, once");
}

/// Starts a process that has nothing to say and goes on listening.
fn mute(mut command: Command) -> Child {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("mailctl starts")
}

/// Waits until a process has filled the pipe that nobody reads.
fn wait_until_stuck(child: &Child) {
    let pipe = child.stdout.as_ref().expect("a pipe");
    let mut before = 0;
    eventually("a full pipe", || {
        let held = rustix::io::ioctl_fionread(pipe).expect("a pipe can be asked");
        let is_stuck = held > 0 && held == before;
        before = held;
        pause(Duration::from_millis(100));
        is_stuck.then_some(())
    });
}
