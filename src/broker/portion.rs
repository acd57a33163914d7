//! How much one commit takes in: enough to be worth its sync, no more than the next mail can wait for.
//!
//! One user's large mails lie before everybody's small ones on their way to the disk. What a commit takes in
//! is therefore bounded by the time it takes, which nobody knows but by trying: a disk that syncs in
//! a tenth of a millisecond wants small commits, one that needs ten wants large ones. Pure: it is told how
//! long each commit took and says how large the next may be. Used by `committer`.

use std::time::Duration;

/// Bounds of a portion, bytes.
const LEAST: usize = 16 << 10;
const MOST: usize = 1 << 20;

/// What a server begins with, bytes.
const FIRST: usize = 128 << 10;

/// A commit of so few bytes takes what a sync takes.
const LONE_BYTES: usize = 4 << 10;

/// What a full commit may take on any disk, and how many lone ones: with four the disk spends
/// a quarter of its time on syncs.
const GOAL: Duration = Duration::from_millis(1);
const GOAL_LONE: u32 = 4;

/// What is known of lone commits rises by one part in so many at most: one that met a busy disk says little.
const RISE: u32 = 8;

/// The size of the next commit.
#[derive(Debug)]
pub(super) struct Portion {
    bytes: usize,
    /// None was seen yet.
    lone: Option<Duration>,
}

impl Portion {
    pub(super) fn new() -> Self {
        Self {
            bytes: FIRST,
            lone: None,
        }
    }

    /// Bytes of changes from which on a commit takes no more of them in.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Learns how long a commit of so many bytes took.
    pub(super) fn took(&mut self, bytes: usize, time: Duration) {
        // Under a load that never rests no commit is a lone one: the smallest portions stand for them.
        if bytes <= LONE_BYTES || self.bytes == LEAST {
            let known = self.lone.unwrap_or(time);
            self.lone = Some(time.min(known + known / RISE));
        }
        if bytes >= self.bytes {
            self.bytes = self.next(time);
        }
    }

    fn next(&self, time: Duration) -> usize {
        let lone = self.lone.unwrap_or_default();
        let goal = GOAL.max(lone * GOAL_LONE);
        let next = if time > goal {
            self.bytes - self.bytes / 4
        } else {
            self.bytes + self.bytes / 4
        };
        next.clamp(LEAST, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that needs a time for each sync, and for each KiB.
    fn settled(sync: Duration, kib: Duration) -> usize {
        let mut portion = Portion::new();
        let cost = |bytes: usize| sync + kib * u32::try_from(bytes >> 10).unwrap();
        for _ in 0..100 {
            portion.took(1_000, cost(1_000));
            let bytes = portion.bytes() + 100;
            portion.took(bytes, cost(bytes));
        }
        portion.bytes()
    }

    #[test]
    fn p09_a_fast_disk_takes_small_portions() {
        // A millisecond is 10 KiB, and some 150 KiB.
        assert_eq!(settled(Duration::ZERO, Duration::from_micros(100)), LEAST);
        let fast = settled(Duration::from_micros(100), Duration::from_micros(6));
        assert!((100 << 10..=200 << 10).contains(&fast), "{fast}");
    }

    #[test]
    fn a_disk_that_syncs_slowly_takes_large_portions() {
        let slow = settled(Duration::from_millis(10), Duration::from_micros(10));
        assert_eq!(slow, MOST);
    }

    #[test]
    fn a_disk_that_becomes_slow_under_load_gets_larger_portions() {
        let mut portion = Portion::new();
        portion.took(100, Duration::from_micros(200));
        for _ in 0..300 {
            let bytes = portion.bytes();
            let written = Duration::from_micros(6) * u32::try_from(bytes >> 10).unwrap();
            portion.took(bytes, Duration::from_millis(10) + written);
        }
        // It would be 16 KiB if only lone commits told how slow the disk is.
        assert!(portion.bytes() > 4 * LEAST, "{}", portion.bytes());
    }

    #[test]
    fn p09_a_stall_of_the_disk_is_no_slow_disk() {
        let mut portion = Portion::new();
        portion.took(100, Duration::from_micros(200));
        portion.took(100, Duration::from_secs(1));
        portion.took(portion.bytes(), Duration::from_millis(2));
        assert!(portion.bytes() < FIRST);
    }

    #[test]
    fn what_was_not_full_says_nothing() {
        let mut portion = Portion::new();
        portion.took(LONE_BYTES + 1, Duration::from_secs(1));
        assert_eq!(portion.bytes(), FIRST);
        portion.took(FIRST, Duration::from_secs(1));
        assert_eq!(portion.bytes(), FIRST / 4 * 3);
    }
}
