//! How the server stands under a crowd: memory per client, how fast clients log in, and how long after a
//! SIGKILL in the middle of their mail all of them are back and have it all.
//!
//! `cargo bench --bench crowd`; `CORREIO_CLIENTS` (10,000), `CORREIO_CROWD_LIVE` (as many as the open
//! files of one process allow), `CORREIO_CROWD_RATE` (200 mails a second), `CORREIO_CROWD_SECONDS` (30,
//! before the kill and after it) and `CORREIO_CROWD_PROCESSES` (4) change the sizes. It prints the
//! figures and ends with a failure only when a mail was lost, doubled or out of order.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement prints, and its counts are far below 2^52"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::crowd::book::{Back, Book, Mails};
use common::crowd::company::{Company, Counts};
use common::crowd::{FILES_PER_CLIENT, Phase, Plan, company, raise_open_files};
use common::server::Server;
use common::{now, pause, scale, wall_s};

/// How long a step may take before the measurement gives up.
const STEP: Duration = Duration::from_mins(10);

/// Open files the server needs for itself.
const SERVER_FILES: u64 = 64;

fn main() {
    if company::serve() {
        return;
    }
    let files = raise_open_files();
    let clients = scale("CORREIO_CLIENTS", 10_000);
    let room = usize::try_from(files.saturating_sub(SERVER_FILES)).unwrap_or(usize::MAX);
    assert!(
        clients <= room,
        "{files} open files are too few for {clients} connections"
    );
    let live = scale("CORREIO_CROWD_LIVE", clients.min(room - clients));
    let rate = scale("CORREIO_CROWD_RATE", 200);
    let seconds = scale("CORREIO_CROWD_SECONDS", 30);
    let processes = scale("CORREIO_CROWD_PROCESSES", 4);
    assert!(
        clients.div_ceil(processes) * FILES_PER_CLIENT < room,
        "more processes are needed: {files} open files each"
    );
    println!("{clients} clients, {live} of them with a live socket, {files} open files a process");
    let mut server = Server::start();
    let plan = Plan {
        url: server.url(),
        first: 0,
        count: clients,
        total: clients,
        live,
        rate: rate as f64,
    };
    let mut crowd = Company::start(&plan, processes);
    enter(&server, &mut crowd, &plan);
    let killed = strike(
        &mut server,
        &mut crowd,
        &plan,
        Duration::from_secs(seconds as u64),
    );
    drain(&mut crowd);
    println!("server after it all: {} MiB", server.rss_kib() >> 10);
    judge(&crowd.finish(), &killed, &plan);
}

// -- coming in --

fn enter(server: &Server, crowd: &mut Company, plan: &Plan) {
    let empty = server.rss_kib();
    println!("| step | clients | seconds | a second | server MiB | KiB a client |");
    println!("|---|---:|---:|---:|---:|---:|");
    println!("| empty | 0 | | | {} | |", empty >> 10);
    let mut before = empty;
    let mut step = |what: &str, crowd: &mut Company, phase, count, done: fn(Counts) -> usize| {
        crowd.order(phase);
        let took = wait(what, crowd, |counts| done(counts) >= count);
        let held = server.rss_kib();
        println!(
            "| {what} | {count} | {took:.1} | {:.0} | {} | {:.1} |",
            count as f64 / took,
            held >> 10,
            (held as f64 - before as f64) / count.max(1) as f64
        );
        before = held;
    };
    step(
        "connected and registered",
        crowd,
        Phase::Enter,
        plan.count,
        |c| c.registered,
    );
    step("logged in", crowd, Phase::Login, plan.count, |c| c.inside);
    step("live", crowd, Phase::Live, plan.live, |c| c.live);
}

/// Waits until the counts are as wanted; returns the seconds.
fn wait(what: &str, crowd: &mut Company, mut is: impl FnMut(Counts) -> bool) -> f64 {
    let (begin, mut told) = (now(), now());
    loop {
        let counts = crowd.counts();
        if is(counts) {
            return begin.elapsed().as_secs_f64();
        }
        assert!(begin.elapsed() < STEP, "{what}: never; {counts:?}");
        if told.elapsed() > Duration::from_secs(5) {
            told = now();
            println!("<!-- {what}: {counts:?} -->");
        }
        pause(Duration::from_millis(20));
    }
}

// -- the kill --

/// The instants of a kill on the wall clock.
struct Killed {
    at: f64,
    ready_at: f64,
}

fn strike(server: &mut Server, crowd: &mut Company, plan: &Plan, load: Duration) -> Killed {
    crowd.order(Phase::Load);
    pause(load);
    let before = crowd.counts();
    println!(
        "\n{} mails acknowledged in {load:.0?} before the kill, {} of them with their readers, {} sends under way",
        before.acked, before.taken, before.unanswered
    );
    server.kill9();
    let at = wall_s();
    server.restart();
    let ready_at = wall_s();
    println!(
        "ready again after {:.2} s with {} MiB",
        ready_at - at,
        server.rss_kib() >> 10
    );
    wait("all back", crowd, |counts| counts.inside >= plan.count);
    println!("all back: server {} MiB", server.rss_kib() >> 10);
    settle(crowd, plan);
    pause(load);
    Killed { at, ready_at }
}

/// Waits until notices flow to all again, or to no more of them for half a minute: then the table says
/// how many it were.
fn settle(crowd: &mut Company, plan: &Plan) {
    let (mut most, mut since) = (0, now());
    wait("all live", crowd, |counts| {
        if counts.live > most {
            (most, since) = (counts.live, now());
        }
        most >= plan.live || since.elapsed() > Duration::from_secs(30)
    });
}

fn drain(crowd: &mut Company) {
    crowd.order(Phase::Drain);
    let took = wait("every mail with its reader", crowd, |counts| {
        counts.unanswered == 0 && counts.acked == counts.taken
    });
    let counts = crowd.counts();
    println!(
        "drained in {took:.1} s; {} handshakes failed, {} requests were put off",
        counts.refused, counts.put_off
    );
}

// -- the sums --

fn judge(book: &Book, killed: &Killed, plan: &Plan) {
    println!("\n| seconds after the kill | first | 50 % | 99 % | all |");
    println!("|---|---:|---:|---:|---:|");
    let row = |what: &str, back: Option<Back>, wanted: usize| {
        let Some(back) = back else {
            return println!("| {what} (0 of {wanted}) | | | | |");
        };
        println!(
            "| {what} ({} of {wanted}) | {:.2} | {:.2} | {:.2} | {:.2} |",
            back.count, back.first, back.half, back.most, back.all
        );
    };
    row("login answered", book.back(killed.at), plan.count);
    row("notices flow again", book.live(killed.at), plan.live);
    let (last, late) = book.caught_up(killed.at);
    println!(
        "the {late} mails acknowledged before the kill and not yet read were with their readers {last:.2} s after it (ready: {:.2} s)",
        killed.ready_at - killed.at
    );
    let quiet = book.ack_times(0.0, killed.at - 5.0);
    println!(
        "send to acknowledgement before the kill: median {:.1} ms, 99 % {:.1} ms",
        at(&quiet, 50) * 1e3,
        at(&quiet, 99) * 1e3
    );
    let found = book.mails();
    println!("{found:?}");
    let acked = found.acked;
    assert_eq!(
        found,
        Mails {
            acked,
            ..Mails::default()
        }
    );
}

fn at(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get(sorted.len() * percent / 100)
        .or(sorted.get(last))
        .copied()
        .unwrap_or(0.0)
}
