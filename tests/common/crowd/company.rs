//! A crowd in several processes: a program starts itself again with a plan in its environment, gives
//! orders over standard input, and is told counts over standard output.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use correio::protocol::url::ServerUrl;

use super::book::{Book, Record};
use super::{Phase, Plan, Squad};
use crate::common::pause;

/// Carries the plan of a process.
const PLAN: &str = "CORREIO_CROWD_PLAN";

/// Runs this process's part of a crowd and returns true, when it was started for that.
pub fn serve() -> bool {
    let Ok(words) = std::env::var(PLAN) else {
        return false;
    };
    let words: Vec<&str> = words.split(' ').collect();
    let number = |at: usize| words[at].parse::<usize>().expect("a number");
    let plan = Plan {
        url: ServerUrl::parse(words[0]).expect("an address"),
        first: number(1),
        count: number(2),
        total: number(3),
        live: number(4),
        rate: words[5].parse().expect("a rate"),
    };
    attend(&plan, Path::new(words[6]));
    true
}

/// Follows orders until the last, then writes down what happened.
fn attend(plan: &Plan, out: &Path) {
    let squad = Squad::start(plan);
    let orders: Arc<Mutex<Option<u8>>> = Arc::default();
    let heard = Arc::clone(&orders);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            *heard.lock().expect("no holder panics") = line.trim().parse().ok();
        }
        // Whoever gave the orders is gone.
        *heard.lock().expect("no holder panics") = Some(Phase::Stop as u8);
    });
    loop {
        let order = orders.lock().expect("no holder panics").take();
        match order.map(Phase::from_number) {
            Some(Phase::Stop) => break,
            Some(phase) => squad.order(phase),
            None => {}
        }
        assert!(!squad.is_broken(), "a thread of the crowd died");
        let counts = squad.tally.counts().map(|count| count.to_string());
        println!("{}", counts.join(" "));
        pause(Duration::from_millis(50));
    }
    let lines = squad.finish();
    let lines = lines
        .iter()
        .map(|record| serde_json::to_string(record).expect("a record is JSON") + "\n");
    std::fs::write(out, lines.collect::<String>()).expect("the records can be written");
}

/// Several processes with clients.
pub struct Company {
    parts: Vec<Part>,
    _folder: tempfile::TempDir,
}

struct Part {
    child: Child,
    orders: ChildStdin,
    counts: Arc<Mutex<[usize; 8]>>,
    out: PathBuf,
}

/// The counts of a crowd as they were a moment ago.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub registered: usize,
    pub inside: usize,
    pub live: usize,
    pub unanswered: usize,
    pub acked: usize,
    pub taken: usize,
    pub refused: usize,
    pub put_off: usize,
}

impl Company {
    /// Starts so many processes that share the plan's clients.
    pub fn start(plan: &Plan, processes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let each = plan.count.div_ceil(processes);
        let parts = (0..plan.count).step_by(each).map(|first| {
            let part = Plan {
                first: plan.first + first,
                count: each.min(plan.count - first),
                rate: plan.rate * super::ratio(each.min(plan.count - first), plan.count),
                ..plan.clone()
            };
            Part::start(&part, folder.path().join(first.to_string()))
        });
        Self {
            parts: parts.collect(),
            _folder: folder,
        }
    }

    /// Lets all clients go on to a phase.
    pub fn order(&mut self, phase: Phase) {
        for part in &mut self.parts {
            writeln!(part.orders, "{}", phase as u8).expect("a part of the crowd is there");
        }
    }

    /// Returns the counts of all parts together.
    pub fn counts(&mut self) -> Counts {
        let mut sums = [0; 8];
        for part in &mut self.parts {
            let ended = part.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "a part of the crowd died: {ended:?}");
            let counts = *part.counts.lock().expect("no holder panics");
            sums.iter_mut()
                .zip(counts)
                .for_each(|(sum, one)| *sum += one);
        }
        let [
            registered,
            inside,
            live,
            unanswered,
            acked,
            taken,
            refused,
            put_off,
        ] = sums;
        Counts {
            registered,
            inside,
            live,
            unanswered,
            acked,
            taken,
            refused,
            put_off,
        }
    }

    /// Returns the ids of the processes.
    pub fn pids(&self) -> Vec<u32> {
        self.parts.iter().map(|part| part.child.id()).collect()
    }

    /// Ends all clients and returns what happened to them.
    pub fn finish(mut self) -> Book {
        self.order(Phase::Stop);
        let mut book = Book::default();
        for part in self.parts {
            let Part { mut child, out, .. } = part;
            assert!(child.wait().expect("a child ends").success());
            let text = std::fs::read_to_string(out).expect("a part wrote its records");
            let records = text.lines().map(serde_json::from_str::<Record>);
            book.add(records.map(|record| record.expect("a record")));
        }
        book
    }
}

impl Part {
    fn start(plan: &Plan, out: PathBuf) -> Self {
        let words = format!(
            "{} {} {} {} {} {} {}",
            plan.url,
            plan.first,
            plan.count,
            plan.total,
            plan.live,
            plan.rate,
            out.display()
        );
        let program = std::env::current_exe().expect("a program knows itself");
        let mut child = Command::new(program)
            .env(PLAN, words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts once more");
        let orders = child.stdin.take().expect("a pipe");
        let told = BufReader::new(child.stdout.take().expect("a pipe"));
        let counts: Arc<Mutex<[usize; 8]>> = Arc::default();
        let noted = Arc::clone(&counts);
        std::thread::spawn(move || {
            for line in told.lines().map_while(Result::ok) {
                let mut words = line.split(' ').filter_map(|word| word.parse().ok());
                *noted.lock().expect("no holder panics") =
                    std::array::from_fn(|_| words.next().unwrap_or(0));
            }
        });
        Self {
            child,
            orders,
            counts,
            out,
        }
    }
}
