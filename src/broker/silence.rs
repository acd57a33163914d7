//! A store that hangs: something was asked of it, and it says nothing any more.
//!
//! An error of the disk ends the process (P8); a disk, or a store, that never answers would leave a server that takes
//! mail in and acknowledges none. A start begins with what is on disk, so ending the process loses nothing.

use super::io::Ticket;
use crate::limits::STORE_SILENCE_MS;

/// Since when the store owes an answer. Reads and commits are told apart: what is in memory can be read while the disk
/// hangs.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// The highest ticket that was handed over for a commit, and that was answered.
    commits: (Ticket, Ticket),
    commit_ms: u64,
    reads: u64,
    read_ms: u64,
}

impl Silence {
    /// Commits up to a ticket are asked for.
    pub(super) fn commit(&mut self, ticket: Ticket, now_ms: u64) {
        if self.commits.0 == self.commits.1 {
            self.commit_ms = now_ms;
        }
        self.commits.0 = ticket;
    }

    /// Commits up to a ticket are on disk.
    pub(super) fn committed(&mut self, ticket: Ticket, now_ms: u64) {
        self.commits.1 = ticket;
        self.commit_ms = now_ms;
    }

    /// A read is asked for.
    pub(super) fn read(&mut self, now_ms: u64) {
        if self.reads == 0 {
            self.read_ms = now_ms;
        }
        self.reads += 1;
    }

    /// A read is answered.
    pub(super) fn loaded(&mut self, now_ms: u64) {
        self.reads = self.reads.saturating_sub(1);
        self.read_ms = now_ms;
    }

    /// Says whether the store has owed an answer for too long.
    pub(super) fn is_too_long(&self, now_ms: u64) -> bool {
        let is_long = |since_ms: u64| now_ms.saturating_sub(since_ms) >= STORE_SILENCE_MS;
        self.commits.0 > self.commits.1 && is_long(self.commit_ms)
            || self.reads > 0 && is_long(self.read_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p08_only_a_store_that_owes_an_answer_is_silent() {
        let mut silence = Silence::default();
        assert!(!silence.is_too_long(10 * STORE_SILENCE_MS), "not asked");
        silence.commit(1, 1_000);
        silence.commit(2, 2_000);
        silence.read(3_000);
        assert!(!silence.is_too_long(999 + STORE_SILENCE_MS));
        assert!(silence.is_too_long(1_000 + STORE_SILENCE_MS));
        silence.committed(1, 4_000);
        silence.loaded(5_000);
        assert!(!silence.is_too_long(3_999 + STORE_SILENCE_MS));
        assert!(silence.is_too_long(4_000 + STORE_SILENCE_MS), "a commit");
        silence.committed(2, 6_000);
        assert!(!silence.is_too_long(10 * STORE_SILENCE_MS), "nothing");
        silence.read(8_000);
        assert!(silence.is_too_long(8_000 + STORE_SILENCE_MS), "a read");
        silence.loaded(9_000);
        silence.commit(3, 7_000_000);
        assert!(!silence.is_too_long(7_000_000), "from then on");
    }
}
