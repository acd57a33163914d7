//! What others notice of a flood: times from send to acknowledgement and to receipt of well-behaved users
//! at a modest rate, while one kind of attacker after the other does his worst.
//!
//! `cargo bench --bench bystanders [-- WORD]...` with words of the table, such as `logins`; without one,
//! all. `CORREIO_BYSTANDERS_SECONDS` (10) is the length of one window. Each kind has four windows in a
//! row: quiet, flood, control, quiet. In the control the same processes use as much of the machine and
//! leave the server alone: on a machine with few cores it is what the flood has to be compared with.
//! Attackers run at the lowest priority, on one core.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement prints, and its counts are far below 2^52"
)]

mod attacks;
#[path = "../../tests/common/mod.rs"]
mod common;

use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use attacks::ATTACKS;
use common::crowd::book::Book;
use common::crowd::{Phase, Plan, Squad, raise_open_files};
use common::process::cpu_seconds;
use common::server::Server;
use common::{eventually, pause, scale, wall_s};

/// Well-behaved users; each listens.
const USERS: usize = 40;

/// Mails a second they send each other, together.
const RATE: f64 = 100.0;

/// The word of the measurement with a busy topic of which one subscriber reads nothing.
const STALLED: &str = "stalled reader";

fn main() {
    attacks::serve();
    raise_open_files();
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let length = Duration::from_secs(scale("CORREIO_BYSTANDERS_SECONDS", 10) as u64);
    let kinds = std::iter::once(STALLED).chain(ATTACKS.iter().map(|(word, _)| *word));
    let wanted = kinds.filter(|kind| words.is_empty() || words.iter().any(|word| word == kind));
    let mut ground = Ground::new(length);
    let rows: Vec<Row> = wanted.map(|kind| ground.row(kind)).collect();
    let book = ground.finish();
    print(&rows, &book);
}

/// The windows of one kind of flood, on the wall clock.
struct Row {
    kind: &'static str,
    quiet: [Range<f64>; 2],
    flood: Range<f64>,
    control: Range<f64>,
    /// Processors the attackers used.
    cores: f64,
    /// Processors the server used, in the flood and when it was quiet before.
    server: [f64; 2],
    /// Its memory before, at the end of the flood, and at the end of all, in MiB.
    mib: [u64; 3],
}

struct Ground {
    server: Server,
    squad: Squad,
    length: Duration,
    next: usize,
}

impl Ground {
    fn new(length: Duration) -> Self {
        let server = Server::start_with(64, &[]);
        let squad = Squad::start(&Plan {
            url: server.url(),
            first: 0,
            count: USERS,
            total: USERS,
            live: USERS,
            rate: RATE,
        });
        squad.order(Phase::Load);
        let tally = Arc::clone(&squad.tally);
        eventually("everybody listens", || {
            (tally.counts()[2] == USERS).then_some(())
        });
        pause(Duration::from_secs(2));
        Self {
            server,
            squad,
            length,
            next: 0,
        }
    }

    fn row(&mut self, kind: &'static str) -> Row {
        assert!(!self.squad.is_broken(), "a well-behaved user had trouble");
        self.next += 1;
        let mib = |ground: &Self| ground.server.rss_kib() >> 10;
        let before = mib(self);
        let (first, server_quiet, _) = self.window(None);
        let (word, number) = match kind {
            STALLED => ("topic", "1".to_owned()),
            kind => (kind, self.next.to_string()),
        };
        let mut attackers = self.start(word, &number);
        let (flood, server_flood, cores) = self.window(Some(&attackers));
        let held = mib(self);
        end(&mut attackers);
        let (word, number) = match kind {
            STALLED => ("topic", "0".to_owned()),
            _ => ("burn", format!("{cores:.2}")),
        };
        let mut burners = self.start(word, &number);
        let (control, ..) = self.window(Some(&burners));
        end(&mut burners);
        let (second, ..) = self.window(None);
        println!("<!-- {kind}: done -->");
        Row {
            kind,
            quiet: [first, second],
            flood,
            control,
            cores,
            server: [server_flood, server_quiet],
            mib: [before, held, mib(self)],
        }
    }

    /// Starts attackers of a kind: least priority, one core.
    fn start(&self, word: &str, number: &str) -> Child {
        let program = std::env::current_exe().expect("a program knows itself");
        let order = format!("{word}\t{number}\t{}", self.server.url());
        let child = Command::new("nice")
            .args(["-n", "19", "taskset", "-c", "1"])
            .arg(program)
            .env(attacks::ORDER, order)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        child.expect("nice and taskset are there")
    }

    /// Lets a window pass, after a second in which what is new comes to its pace. Returns it with the
    /// processors that the server and the others used.
    fn window(&self, others: Option<&Child>) -> (Range<f64>, f64, f64) {
        pause(Duration::from_secs(1));
        let used = || {
            let other = others.map_or(0.0, |child| cpu_seconds(child.id()));
            (cpu_seconds(self.server.pid()), other)
        };
        let (from, before) = (wall_s(), used());
        pause(self.length);
        let (until, after) = (wall_s(), used());
        let length = until - from;
        let [server, other] = [after.0 - before.0, after.1 - before.1];
        (from..until, server / length, other / length)
    }

    fn finish(mut self) -> Book {
        assert!(
            self.server.is_up(),
            "the server ended:\n{}",
            self.server.log()
        );
        self.squad.order(Phase::Drain);
        let tally = Arc::clone(&self.squad.tally);
        eventually("every mail with its reader", || {
            let [_, _, _, unanswered, acked, taken, ..] = tally.counts();
            (unanswered == 0 && acked == taken).then_some(())
        });
        let mut book = Book::default();
        book.add(self.squad.finish());
        book
    }
}

fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

// -- the table --

/// Times of one kind in milliseconds: half and all but a hundredth are at most so long.
struct Times {
    median: f64,
    most: f64,
    count: usize,
}

impl Times {
    fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let place = (seconds.len() * percent / 100).min(seconds.len().saturating_sub(1));
            seconds.get(place).copied().unwrap_or(f64::NAN) * 1e3
        };
        Self {
            median: at(50),
            most: at(99),
            count: seconds.len(),
        }
    }
}

fn print(rows: &[Row], book: &Book) {
    let found = book.mails();
    println!(
        "\n{USERS} users send each other {RATE:.0} mails a second; {} acknowledged, {} lost, {} twice, {} out of order.",
        found.acked, found.lost, found.twice, found.disordered
    );
    println!(
        "Times in ms: median / 99 %. Ratio: 99 % in the flood by 99 % in the control and when quiet."
    );
    for (what, times) in [
        (
            "acknowledgement",
            Book::ack_times as fn(&Book, f64, f64) -> Vec<f64>,
        ),
        ("receipt", Book::receipt_times),
    ] {
        println!("\n| send to {what} | quiet | control | flood | sends | by control | by quiet |");
        println!("|---|---:|---:|---:|---:|---:|---:|");
        for row in rows {
            let of = |window: &Range<f64>| times(book, window.start, window.end);
            let quiet = Times::of(row.quiet.iter().flat_map(of).collect());
            let (control, flood) = (Times::of(of(&row.control)), Times::of(of(&row.flood)));
            println!(
                "| {} | {:.1} / {:.1} | {:.1} / {:.1} | {:.1} / {:.1} | {} | {:.2} | {:.2} |",
                row.kind,
                quiet.median,
                quiet.most,
                control.median,
                control.most,
                flood.median,
                flood.most,
                flood.count,
                flood.most / control.most,
                flood.most / quiet.most
            );
        }
    }
    println!(
        "\n| flood | attackers' cores | server's cores (quiet) | server MiB before, in it, after |"
    );
    println!("|---|---:|---:|---:|");
    for row in rows {
        println!(
            "| {} | {:.2} | {:.2} ({:.2}) | {}, {}, {} |",
            row.kind, row.cores, row.server[0], row.server[1], row.mib[0], row.mib[1], row.mib[2]
        );
    }
}
