//! A store with a disk that can fail: commits that are written but not synced, torn between two trees,
//! or lost.

use std::collections::VecDeque;

use super::back::StoreCopy;
use super::ledger::Ledger;
use super::rng::Rng;
use crate::broker::io::Ticket;
use crate::limits::ID_CLOCK_BEGINS_MS;
use crate::store::memory::Memory;
use crate::store::{Answer, Change, Jump, Meta, Query, Reader, Snapshot, Store};

/// When restores begin to take place, by a clock that is right.
const JUMPS_BEGIN_MS: u64 = ID_CLOCK_BEGINS_MS + 30_000_000_000;

/// Two images: what readers see, and what a power cut leaves for certain.
pub(super) struct Disk {
    durable: Memory,
    seen: Memory,
    reader: Box<dyn Reader>,
    /// Commits under way, oldest first; `seen` holds the first `written` of them.
    queue: VecDeque<(Ticket, Vec<Change>)>,
    written: usize,
    /// What no crash can take any more, by the simulator's own count.
    pub(super) synced: Ledger,
    pub(super) last_pushed: Ticket,
    pub(super) last_synced: Ticket,
    pub(super) torn: u64,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self::over(Memory::new(), Ledger::default(), 0)
    }

    fn over(durable: Memory, synced: Ledger, torn: u64) -> Self {
        let seen = durable.clone_synced();
        Self {
            durable,
            reader: seen.reader(),
            seen,
            queue: VecDeque::new(),
            written: 0,
            synced,
            last_pushed: 0,
            last_synced: 0,
            torn,
        }
    }

    /// Returns what a power cut would leave for certain.
    pub(super) fn copy(&self) -> (Memory, Ledger) {
        (self.durable.clone_synced(), self.synced.clone())
    }

    pub(super) fn of_copy(copy: &StoreCopy, torn: u64) -> Self {
        Self::over(copy.image.clone_synced(), copy.synced.clone(), torn)
    }

    /// Does what a restore does to the numbers.
    pub(super) fn jump(&mut self, time_ms: u64, random: u64) {
        let Snapshot {
            meta,
            directory_counters,
            mail_counters,
            ..
        } = self.load();
        let jump = Jump::new(JUMPS_BEGIN_MS + time_ms, random);
        let raised = jump.raised(directory_counters, mail_counters);
        let (directory, mail) = raised.expect("the numbers of a world are small");
        let incarnation = meta.incarnation + 1;
        self.keep(&[
            Change::PutMeta(Meta {
                incarnation,
                ..meta
            }),
            Change::PutDirectoryCounters(directory),
            Change::PutMailCounters(mail),
        ]);
        *self = Self::over(self.durable.clone_synced(), self.synced.clone(), self.torn);
    }

    pub(super) fn load(&mut self) -> Snapshot {
        self.durable.load().expect("a store in memory loads")
    }

    pub(super) fn push(&mut self, ticket: Ticket, changes: Vec<Change>) {
        assert!(ticket > self.last_pushed, "tickets grow");
        self.last_pushed = ticket;
        self.queue.push_back((ticket, changes));
    }

    /// The engine writes one more commit, without a sync.
    pub(super) fn write(&mut self) {
        if let Some((_, changes)) = self.queue.get(self.written) {
            commit(&mut self.seen, changes);
            self.written += 1;
        }
    }

    /// Syncs some of what is under way, in order. Returns the last ticket that is safe now.
    pub(super) fn sync(&mut self, rng: &mut Rng) -> Option<Ticket> {
        let many = 1 + rng.index(self.queue.len().max(1));
        let mut last = None;
        for _ in 0..many.min(self.queue.len()) {
            if self.written == 0 {
                self.write();
            }
            let (ticket, changes) = self.queue.pop_front()?;
            self.written -= 1;
            self.keep(&changes);
            last = Some(ticket);
        }
        self.last_synced = last.unwrap_or(self.last_synced);
        last
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn is_all_written(&self) -> bool {
        self.written == self.queue.len()
    }

    pub(super) fn read(&self, query: &Query) -> Answer {
        self.reader.read(query).expect("a store in memory reads")
    }

    /// The machine loses its power, or a write or sync failed: of what was not synced a beginning is
    /// there, and of the batch after it the first trees.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        let whole = rng.index(self.written + 1);
        self.end(rng, whole);
    }

    /// The process is killed: what was written stays, synced or not.
    pub(super) fn kill(&mut self, rng: &mut Rng) {
        self.end(rng, self.written);
    }

    fn end(&mut self, rng: &mut Rng, whole: usize) {
        for _ in 0..whole {
            if let Some((_, changes)) = self.queue.pop_front() {
                self.keep(&changes);
            }
        }
        let torn = rng.index(self.queue.len() + 1);
        let trees = rng.index(3);
        let group: Vec<Change> = self.queue.drain(..torn).flat_map(|(_, c)| c).collect();
        let kept: Vec<Change> = group.into_iter().filter(|c| tree(c) < trees).collect();
        self.torn += u64::from(!kept.is_empty());
        self.keep(&kept);
        let durable = std::mem::take(&mut self.durable);
        *self = Self::over(durable, std::mem::take(&mut self.synced), self.torn);
    }

    fn keep(&mut self, changes: &[Change]) {
        commit(&mut self.durable, changes);
        for change in changes {
            self.synced.apply(change);
        }
    }
}

fn commit(store: &mut Memory, changes: &[Change]) {
    store.commit(changes).expect("a store in memory commits");
}

/// Which tree a change touches: 0 directory, 1 mail, 2 cursors, in the order they are applied.
fn tree(change: &Change) -> usize {
    match change {
        Change::PutMailCounters(_)
        | Change::AppendMail { .. }
        | Change::ExpireMail { .. }
        | Change::RemoveMail { .. }
        | Change::PutLog { .. }
        | Change::RemoveLog(_)
        | Change::PutStream(_)
        | Change::RemoveStream(_)
        | Change::PutCompletion { .. } => 1,
        Change::PutCursor { .. } | Change::RemoveCursor { .. } => 2,
        _ => 0,
    }
}
