//! The totals of a run of kills or power cuts, its progress, and what came last when it fails.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::load::{Acked, Shown, compare};

/// How often a long run says how far it is, in strikes.
const EVERY: usize = 100;

/// Strikes that are told when a run fails.
const TOLD: usize = 8;

/// What happened so far.
pub struct Tally {
    what: &'static str,
    due: usize,
    begun: Instant,
    /// Kills or cuts so far.
    pub struck: usize,
    /// Those of a server at work.
    pub at_work: usize,
    /// Those of them that met sends without an answer.
    pub met: usize,
    /// Starts that became ready.
    pub starts: usize,
    slowest: Duration,
    all_starts: Duration,
    mails: usize,
    deliveries: usize,
    stores: usize,
    last: VecDeque<String>,
}

impl Tally {
    /// Begins a run of so many kills (or whatever `what` says).
    pub fn begin(what: &'static str, due: usize) -> Self {
        Self {
            what,
            due,
            begun: Instant::now(),
            struck: 0,
            at_work: 0,
            met: 0,
            starts: 0,
            slowest: Duration::ZERO,
            all_starts: Duration::ZERO,
            mails: 0,
            deliveries: 0,
            stores: 0,
            last: VecDeque::new(),
        }
    }

    /// Says how many are left.
    pub fn left(&self) -> usize {
        self.due.saturating_sub(self.struck)
    }

    /// Notes a kill or cut: what it met, and after how long.
    pub fn strike(&mut self, how: &str, after: Duration) {
        self.struck += 1;
        if self.last.len() == TOLD {
            self.last.pop_front();
        }
        let nth = self.struck;
        let micros = after.as_micros();
        self.last
            .push_back(format!("{nth}: {how}, after {micros} us"));
        if self.struck.is_multiple_of(EVERY) {
            println!("{self}");
        }
    }

    /// Notes a kill or cut of a server at work, and whether sends waited for it.
    pub fn strike_at_work(&mut self, after: Duration, unanswered: usize) {
        self.at_work += 1;
        self.met += usize::from(unanswered > 0);
        self.strike(&format!("at work, {unanswered} unanswered"), after);
    }

    /// Notes a start that became ready.
    pub fn start(&mut self, took: Duration) {
        self.starts += 1;
        self.slowest = self.slowest.max(took);
        self.all_starts += took;
    }

    /// Returns how long a start takes on average.
    pub fn usual_start(&self) -> Duration {
        let starts = u32::try_from(self.starts.max(1)).expect("starts are few");
        (self.all_starts / starts).max(Duration::from_millis(20))
    }

    /// Holds what was shown on one store against what was acknowledged, and adds both.
    pub fn settle(&mut self, acked: &[Acked], shown: &[Vec<Shown>]) {
        assert!(!acked.is_empty(), "a store without a mail proves nothing");
        compare(acked, shown);
        self.stores += 1;
        self.mails += acked.len();
        self.deliveries += shown.iter().map(Vec::len).sum::<usize>();
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            what,
            due,
            struck,
            at_work,
            met,
            starts,
            mails,
            deliveries,
            stores,
            ..
        } = self;
        let seconds = self.begun.elapsed().as_secs_f64();
        let (usual, slowest) = (self.usual_start().as_millis(), self.slowest.as_millis());
        write!(
            f,
            "{struck} of {due} {what} in {seconds:.0} s, {at_work} at work ({met} met unanswered sends); {starts} \
             starts, {usual} ms to ready on average, {slowest} ms at most; "
        )?;
        // Only what `settle` has been through is said to be right.
        match stores {
            0 => write!(f, "no store is checked yet"),
            _ => write!(
                f,
                "{stores} stores checked: {mails} mails acknowledged, {deliveries} deliveries, 0 lost, 0 twice, 0 out of \
                 order"
            ),
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        println!("{self}");
        if std::thread::panicking() {
            println!(
                "FAILED on a store that is not among those checked; the last {}:",
                self.what
            );
            self.last.iter().for_each(|line| println!("  {line}"));
        }
    }
}
