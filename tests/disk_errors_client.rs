//! P1, P2, P3 on the other side: `mailctl` on a disk that fails. It never says sent or shows as taken
//! what is not so, nothing is sent or shown twice, and its next run is whole.
//!
//! A few steps of all, or `CORREIO_STEPS` of them (`all`: every one).

#![allow(
    clippy::print_stdout,
    reason = "seeds and figures belong in a test's output"
)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::client::RawClient;
use common::ctl::{Ctl, Run};
use common::faults::{Fault, Survey, can_trace, each, spread, watching};
use common::rng::Rng;
use common::server::Server;
use common::{Timed, eventually, skip};

/// Calls that touch nothing but files: they need no list of paths, which mail makes up as it goes.
const CALLS: [&str; 8] = [
    "fsync",
    "fdatasync",
    "rename",
    "link",
    "linkat",
    "unlink",
    "mkdir",
    "ftruncate",
];

/// What goes wrong with one run of `mailctl`.
#[derive(Debug, Clone)]
enum Trouble {
    /// A system call fails.
    Call(Fault),
    /// No file may grow beyond this: writes are cut short.
    Size(u64),
}

/// The run that meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Send,
    Refresh,
}

/// Two users of their own, mail that waits for one of them.
struct Pair {
    _folder: tempfile::TempDir,
    ana: RawClient,
    bob: Ctl,
    names: (String, String),
    sent: Vec<String>,
}

impl Pair {
    fn make(server: &Server, folder: &Path) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let nth = NEXT.fetch_add(1, Ordering::SeqCst);
        let names = (format!("ana{nth}"), format!("bob{nth}"));
        let own = tempfile::tempdir_in(folder).expect("a folder");
        let bob = Ctl::new(server, &own.path().join("home"));
        bob.ok(&["login", &names.1]);
        let mut ana = RawClient::user(server, &names.0);
        let sent: Vec<String> = [10, 9_000, 30]
            .into_iter()
            .enumerate()
            .map(|(nth, size)| format!("mail {nth} ").chars().cycle().take(size).collect())
            .collect();
        for body in &sent {
            ana.mail(&names.1, body.as_bytes());
        }
        Self {
            _folder: own,
            ana,
            bob,
            names,
            sent,
        }
    }

    /// Does the deed with words in front of `mailctl`.
    fn run(&self, deed: Deed, words: &[String]) -> Run {
        let bob = self.bob.clone().wrapped(words);
        match deed {
            Deed::Send => bob.run(&["send", &format!("@{}", self.names.0), "-b", "from bob"]),
            Deed::Refresh => bob.run(&["refresh", "--json"]),
        }
    }

    /// Holds what came of the faulty run, and of runs without faults after it, to the promises.
    fn judge(&mut self, deed: Deed, faulty: &Run) -> Result<(), String> {
        let own = |run: &Run| run.err.contains("panicked") || run.err.contains("backtrace");
        let known = [0, 69, 73, 74, 75, 78].contains(&faulty.code);
        if own(faulty) || !known {
            return Err(format!("it ended with {}: {}", faulty.code, faulty.err));
        }
        if faulty.code != 0 && faulty.err.lines().count() == 0 {
            return Err(format!("it ended with {} and said nothing", faulty.code));
        }
        // What is in doubt settles by itself with the next run.
        let after = self.bob.run(&["refresh", "--json"]);
        if after.code != 0 {
            return Err(format!(
                "the next run ended with {}: {}",
                after.code, after.err
            ));
        }
        let mut shown = match deed {
            Deed::Refresh => bodies(faulty),
            Deed::Send => Vec::new(),
        };
        let again = bodies(&after);
        if faulty.code == 0 || deed == Deed::Send {
            shown.extend(again);
        } else {
            // It failed while it showed: what it had not yet filed as shown comes again, no other.
            let missing = self.sent.len().saturating_sub(again.len());
            shown.truncate(missing);
            shown.extend(again);
        }
        if shown != self.sent {
            return Err(format!(
                "shown: {} of {}, not each once",
                shown.len(),
                self.sent.len()
            ));
        }
        let third = bodies(&self.bob.run(&["refresh", "--json"]));
        if !third.is_empty() {
            return Err("shown again when nothing failed".into());
        }
        self.arrived(deed, faulty)
    }

    /// Mail said to be sent is there, and none twice.
    fn arrived(&mut self, deed: Deed, faulty: &Run) -> Result<(), String> {
        let log = self.ana.log(&self.names.0).log;
        let mails = self
            .ana
            .read_all(log, 0)
            .map_err(|why| format!("{why:?}"))?;
        let most = usize::from(deed == Deed::Send);
        let least = usize::from(deed == Deed::Send && faulty.code == 0);
        let there = mails.len();
        if (least..=most).contains(&there) {
            return Ok(());
        }
        Err(format!(
            "{there} mails arrived after: {}{}",
            faulty.out, faulty.err
        ))
    }
}

/// The bodies that a refresh showed, in order.
fn bodies(run: &Run) -> Vec<String> {
    let mails = run
        .objects()
        .into_iter()
        .filter(|row| row["kind"] == "mail");
    mails
        .filter_map(|mail| mail["body"].as_str().map(str::to_owned))
        .collect()
}

/// Every step of a run without faults.
fn steps(server: &Server, folder: &Path, deed: Deed) -> Vec<(Deed, Trouble)> {
    let mut pair = Pair::make(server, folder);
    let trace = folder.join(format!("{deed:?}.trace"));
    let run = pair.run(deed, &watching(&trace));
    assert_eq!(run.code, 0, "{}", run.err);
    pair.judge(deed, &run).expect("a run without faults");
    let text = eventually("the end of the trace", || {
        let text = std::fs::read_to_string(&trace).ok()?;
        text.contains("fsync").then_some(text)
    });
    let mut survey = Survey::read(&text, folder);
    survey.steps.retain(|call, _| CALLS.contains(call));
    println!("{deed:?}: {:?}", survey.steps);
    let faults = survey.faults().into_iter().map(Trouble::Call);
    let sizes = (0..60).map(|nth| Trouble::Size(nth * 7 * (1 + nth / 6)));
    faults.chain(sizes).map(|trouble| (deed, trouble)).collect()
}

#[test]
fn p01_p02_p03_a_failing_disk_makes_no_client_lie() {
    const NAME: &str = "p01_p02_p03_a_failing_disk_makes_no_client_lie";
    let _timed = Timed::start(NAME);
    if !can_trace() {
        return skip(NAME, "strace does not run here");
    }
    let mut rng = Rng::announced(NAME);
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().canonicalize().expect("it is there");
    let server = Server::start();
    let mut cases = steps(&server, &folder, Deed::Send);
    cases.extend(steps(&server, &folder, Deed::Refresh));
    let taken = spread(&cases, 24, &mut rng);
    let server = Mutex::new(server);
    let counts = Mutex::new(BTreeMap::<String, usize>::new());
    let failures = each(&taken, 3, |(deed, trouble)| {
        let mut pair = Pair::make(&*server.lock().map_err(|_| "a panic")?, &folder);
        let trace = pair.bob.home().with_extension("trace");
        let words = match trouble {
            Trouble::Call(fault) => fault.words(&std::collections::BTreeSet::new(), &trace),
            Trouble::Size(most) => vec!["prlimit".into(), format!("--fsize={most}")],
        };
        let run = pair.run(*deed, &words);
        let mut counts = counts.lock().map_err(|_| "a panic")?;
        *counts
            .entry(format!("{deed:?} ended with {}", run.code))
            .or_default() += 1;
        drop(counts);
        pair.judge(*deed, &run)
    });
    println!("{:?}", counts.into_inner());
    assert_eq!(failures, Vec::<String>::new());
}
