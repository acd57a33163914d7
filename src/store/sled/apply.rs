//! Takes into sled what the journal has, behind the commits.
//!
//! A thread of its own carries out the frames that wait, many at a time: what several of them wrote
//! under one key (counters, totals, outcomes that are settled by now) is written once. It rests
//! between two rounds unless somebody waits for it: a reader, the close, or a commit that finds too
//! much waiting. With each round it notes in sled how far it is, and now and then it syncs sled, so
//! that the journal's files can be written anew. Read next: `journal`.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::super::key::Tree;
use super::super::kv::Sink;
use super::super::{Query, StoreError};
use super::journal::{Frame, Place};
use super::trees::{Batches, Trees, at, guarded};
use crate::protocol::{LogNumber, MailId};

/// How long frames are gathered while nobody waits for them. No acknowledgement waits for this.
const REST: Duration = Duration::from_millis(50);

/// Bytes of frames that end a rest, and about as many go into one round: readers wait while sled
/// takes one.
const ROUND_BYTES: usize = 512 << 10;

/// Bytes that may wait before a commit waits too.
const WAITING_BYTES_MAX: usize = 2 << 20;

/// What sled may write between two flushes: five of its segments. sled hands each segment to one of seven
/// threads, and when all seven wait for its list of segments while that waits for the eighth task, a
/// file to be made shorter, sled stands still for good.
const FLUSH_COST: usize = 5 * (512 << 10);

/// Bytes of a page that sled may move out of an old segment with a row that is written.
const MOVED_PAGE_BYTES: usize = 16 << 10;

/// Bytes carried out after which sled is synced. With what may wait it is less than a file of the
/// journal holds, so that no commit waits for room in one.
const UNSYNCED_BYTES_MAX: usize = 1 << 20;

/// A commit that is on disk in the journal.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Where it stands.
    pub(super) place: Place,
    /// Its rows.
    pub(super) frame: Frame,
    /// Mails that it says something of.
    pub(super) mails: Vec<(LogNumber, MailId)>,
}

/// What sled still lacks, shared with those who wait for it.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to do.
    work: Condvar,
    /// Something was done.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Place, Frame)>,
    /// Every commit that sled does not have, those of the round under way included.
    traces: VecDeque<Trace>,
    /// Bytes of their frames.
    bytes: usize,
    /// The last commit that sled has: readers find it.
    carried: u64,
    /// Somebody waits until sled has this commit.
    wanted: u64,
    /// The last commit that sled has on disk.
    synced: u64,
    /// Somebody waits until sled has this commit on disk.
    wanted_synced: u64,
    /// Bytes carried out since sled was synced.
    unsynced: usize,
    is_ending: bool,
    has_failed: bool,
    /// Until somebody was told.
    failure: Option<StoreError>,
}

/// What must be known of a commit until sled has it.
#[derive(Debug)]
struct Trace {
    number: u64,
    bytes: usize,
    mails: Vec<(LogNumber, MailId)>,
}

impl State {
    /// Says whether the thread should begin a round.
    fn is_due(&self) -> bool {
        self.is_ending
            || self.wanted > self.carried
            || self.wanted_synced > self.synced
            || self.bytes >= ROUND_BYTES
    }

    /// Says whether sled should be synced.
    fn is_sync_due(&self) -> bool {
        self.wanted_synced > self.synced || self.unsynced >= UNSYNCED_BYTES_MAX
    }

    /// Returns the last commit that says something of such a mail.
    fn about(&self, is_one: impl Fn(&(LogNumber, MailId)) -> bool) -> Option<u64> {
        let mut newest_first = self.traces.iter().rev();
        let last = newest_first.find(|trace| trace.mails.iter().any(&is_one));
        last.map(|trace| trace.number)
    }

    /// Returns the last commit that the answer to a query hangs on.
    fn behind(&self, query: &Query) -> Option<u64> {
        let (log, mails) = match query {
            Query::Page {
                log, after, upto, ..
            } => (log, after.saturating_add(1)..=*upto),
            Query::Newest { log, upto, .. } => (log, 0..=*upto),
            Query::Body { log, id, .. } => (log, *id..=*id),
            Query::MarkAt { log, id } => (log, 0..=*id),
            Query::Oldest { log, after, .. } => (log, after.saturating_add(1)..=MailId::MAX),
            Query::Expired { .. } => return self.about(|_| true),
        };
        self.about(|(of, id)| of == log && mails.contains(id))
    }
}

impl Queue {
    fn new(synced: u64) -> Self {
        Self {
            state: Mutex::new(State {
                carried: synced,
                synced,
                ..State::default()
            }),
            work: Condvar::new(),
            done: Condvar::new(),
        }
    }

    /// Nothing panics while it holds this.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a commit over.
    pub(super) fn push(&self, accepted: Accepted) {
        let mut state = self.lock();
        let bytes = accepted.frame.len();
        let was_due = state.is_due();
        let was_empty = state.waiting.is_empty();
        state.bytes += bytes;
        state.traces.push_back(Trace {
            number: accepted.place.number,
            bytes,
            mails: accepted.mails,
        });
        state.waiting.push_back((accepted.place, accepted.frame));
        // A wake costs a system call: none for what is only gathered.
        if was_empty || (!was_due && state.is_due()) {
            self.work.notify_one();
        }
    }

    /// Notes a commit that went to sled and its disk past this queue, which was empty.
    pub(super) fn pass(&self, number: u64) {
        let mut state = self.lock();
        state.carried = number;
        state.synced = number;
        state.unsynced = 0;
    }

    /// Waits until there is room for a further commit.
    pub(super) fn wait_for_room(&self) -> Result<(), StoreError> {
        // Above a round's worth the thread does not rest.
        self.wait(self.lock(), |state| state.bytes <= WAITING_BYTES_MAX)
    }

    /// Waits until sled has everything.
    pub(super) fn wait_for_all(&self) -> Result<(), StoreError> {
        let state = self.lock();
        let last = state.traces.back().map(|trace| trace.number);
        self.wait_for(state, last)
    }

    /// Waits until sled has what the answer to a query hangs on.
    pub(super) fn wait_for_query(&self, query: &Query) -> Result<(), StoreError> {
        let state = self.lock();
        let last = state.behind(query);
        self.wait_for(state, last)
    }

    /// Waits until sled has what was said of these mails.
    pub(super) fn wait_for_mails(
        &self,
        mails: &HashSet<(LogNumber, MailId)>,
    ) -> Result<(), StoreError> {
        let state = self.lock();
        let last = state.about(|mail| mails.contains(mail));
        self.wait_for(state, last)
    }

    /// Waits until sled has a commit on disk.
    pub(super) fn wait_for_sync(&self, number: u64) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.wanted_synced = state.wanted_synced.max(number);
        self.work.notify_one();
        self.wait(state, |state| state.synced >= number)
    }

    fn wait_for(
        &self,
        mut state: MutexGuard<'_, State>,
        number: Option<u64>,
    ) -> Result<(), StoreError> {
        let Some(number) = number else {
            return state.check();
        };
        state.wanted = state.wanted.max(number);
        self.work.notify_one();
        self.wait(state, |state| state.carried >= number)
    }

    fn wait(
        &self,
        state: MutexGuard<'_, State>,
        is_there: impl Fn(&State) -> bool,
    ) -> Result<(), StoreError> {
        let waits = |state: &mut State| !state.has_failed && !is_there(state);
        let waited = self.done.wait_while(state, waits);
        waited.unwrap_or_else(PoisonError::into_inner).check()
    }

    /// Waits for work and takes a round of it, which may be a sync alone; nothing when it is over.
    fn take(&self) -> Option<Vec<(Place, Frame)>> {
        let idle = |state: &mut State| {
            state.waiting.is_empty() && !state.is_ending && !state.is_sync_due()
        };
        let state = self.work.wait_while(self.lock(), idle);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let rested = self
            .work
            .wait_timeout_while(state, REST, |state| !state.is_due());
        let (mut state, _) = rested.unwrap_or_else(PoisonError::into_inner);
        let round = round_of(&mut state.waiting);
        let is_over = round.is_empty() && !state.is_sync_due();
        (!is_over).then_some(round)
    }

    /// Notes that sled has everything up to a commit. Returns whether it should be synced.
    fn carried(&self, number: u64) -> bool {
        let mut state = self.lock();
        state.carried = number;
        while let Some(trace) = state.traces.pop_front_if(|trace| trace.number <= number) {
            state.bytes -= trace.bytes;
            state.unsynced += trace.bytes;
        }
        self.done.notify_all();
        state.is_sync_due()
    }

    /// Notes that sled has everything that it has on disk.
    fn synced(&self) {
        let mut state = self.lock();
        state.synced = state.carried;
        state.unsynced = 0;
        self.done.notify_all();
    }

    fn fail(&self, error: StoreError) {
        let mut state = self.lock();
        state.has_failed = true;
        state.failure = Some(error);
        self.done.notify_all();
    }
}

impl State {
    fn check(&mut self) -> Result<(), StoreError> {
        if !self.has_failed {
            return Ok(());
        }
        let again = || StoreError::Engine("it has failed before".to_owned());
        Err(self.failure.take().unwrap_or_else(again))
    }
}

/// The thread.
#[derive(Debug)]
pub(super) struct Applier {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Applier {
    /// Starts it, for a store whose sled has everything up to a commit on disk. `file` is sled's.
    pub(super) fn start(trees: Trees, file: File, synced: u64) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(synced));
        let ours = Arc::clone(&queue);
        let thread = Builder::new()
            .name("apply".to_owned())
            .spawn(move || apply_all(&trees, &file, &ours))?;
        Ok(Self {
            queue,
            thread: Some(thread),
        })
    }

    /// Returns what it works on.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Lets it carry out what waits, and waits for its end.
    pub(super) fn end(&mut self) -> Result<(), StoreError> {
        self.queue.lock().is_ending = true;
        self.queue.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // What it met is in the queue.
            drop(thread.join());
        }
        self.queue.lock().check()
    }
}

fn apply_all(trees: &Trees, file: &File, queue: &Queue) {
    while let Some(round) = queue.take() {
        if let Err(error) = apply_round(&round, trees, file, queue) {
            return queue.fail(error);
        }
    }
}

fn apply_round(
    round: &[(Place, Frame)],
    trees: &Trees,
    file: &File,
    queue: &Queue,
) -> Result<(), StoreError> {
    let is_sync_due = match round.last() {
        Some((last, _)) => {
            carry_out(trees, round)?;
            queue.carried(last.number)
        }
        None => true,
    };
    if is_sync_due {
        // Only this thread carries out meanwhile: nothing comes in between.
        sync(trees, file)?;
        queue.synced();
    }
    Ok(())
}

/// Takes from the front as many frames as one round carries out.
fn round_of(waiting: &mut VecDeque<(Place, Frame)>) -> Vec<(Place, Frame)> {
    let mut bytes = 0;
    let mut round = Vec::new();
    while bytes < ROUND_BYTES
        && let Some(next) = waiting.pop_front()
    {
        bytes += next.1.len();
        round.push(next);
    }
    round
}

/// Carries out what a start finds, in rounds, and syncs it.
pub(super) fn carry_out_all(
    trees: &Trees,
    file: &File,
    mut frames: VecDeque<(Place, Frame)>,
) -> Result<(), StoreError> {
    while !frames.is_empty() {
        carry_out(trees, &round_of(&mut frames))?;
    }
    sync(trees, file)
}

/// Puts what frames say into sled, the last word on each key, and notes the place of the last. Piece by
/// piece: a round that was cut off is carried out again from the place before it.
fn carry_out(trees: &Trees, round: &[(Place, Frame)]) -> Result<(), StoreError> {
    let Some((last, _)) = round.last() else {
        return Ok(());
    };
    let mut newest: BTreeMap<(u8, &[u8]), Option<&[u8]>> = BTreeMap::new();
    for row in round.iter().flat_map(|(_, frame)| frame.rows()) {
        newest.insert((row.tree as u8, row.key), row.value);
    }
    // By tree, for what refers comes after what it refers to.
    let mut rows = newest.into_iter().peekable();
    while rows.peek().is_some() {
        let mut batches = Batches::default();
        let mut cost = 0;
        for ((tree, key), value) in rows.by_ref() {
            cost += cost_of(value);
            put(&mut batches, Tree::ALL[usize::from(tree)], key, value);
            if cost >= FLUSH_COST {
                break;
            }
        }
        guarded(&trees.path, || trees.apply(batches))?;
        trees.flush()?;
    }
    guarded(&trees.path, || trees.note(*last))
}

/// Puts what one frame says into sled, as a whole, and notes its place: it is in no journal.
pub(super) fn carry_out_whole(
    trees: &Trees,
    frame: &Frame,
    place: Place,
) -> Result<(), StoreError> {
    let mut batches = Batches::default();
    for row in frame.rows() {
        put(&mut batches, row.tree, row.key, row.value);
    }
    guarded(&trees.path, || {
        trees.apply(batches)?;
        trees.note(place)
    })
}

fn put(batches: &mut Batches, tree: Tree, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => batches.put(tree, key, value),
        None => batches.remove(tree, key),
    }
}

/// About how many bytes sled may write for a row: its page anew, with up to 16 rows like it, and
/// another one that it moves.
fn cost_of(value: Option<&[u8]>) -> usize {
    MOVED_PAGE_BYTES + 16 * value.map_or(0, <[u8]>::len)
}

/// Sends everything that sled has to the disk itself. `Ok` means it is there.
pub(super) fn sync(trees: &Trees, file: &File) -> Result<(), StoreError> {
    trees.flush()?;
    file.sync_data().map_err(at("sync", &trees.path))
}
