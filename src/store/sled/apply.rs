//! Takes into sled what the journal has, behind the commits.
//!
//! A thread of its own carries out the frames that wait, many at a time: what several of them wrote
//! under one key (counters, totals, outcomes that are settled by now) is written once. It rests
//! between two rounds unless somebody waits for it: a reader, the close, or a commit that finds too
//! much waiting. With each round it notes in sled how far it is. Read next: `journal`.

use std::collections::{HashMap, HashSet, VecDeque};
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
const REST: Duration = Duration::from_millis(10);

/// Bytes of frames that end a rest, and about as many go into one round: readers wait while sled
/// takes one.
const ROUND_BYTES: usize = 512 << 10;

/// Bytes that may wait before a commit waits too.
const WAITING_BYTES_MAX: usize = 2 << 20;

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
    /// The last commit that sled has, on disk.
    applied: u64,
    /// Somebody waits for this commit.
    wanted: u64,
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
        self.is_ending || self.wanted > self.applied || self.bytes >= ROUND_BYTES
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
    fn new(applied: u64) -> Self {
        Self {
            state: Mutex::new(State {
                applied,
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
        self.lock().applied = number;
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

    /// Waits until sled has a commit.
    pub(super) fn wait_for_commit(&self, number: u64) -> Result<(), StoreError> {
        self.wait_for(self.lock(), Some(number))
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
        self.wait(state, |state| state.applied >= number)
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

    /// Waits for work and takes a round of it; nothing when it is over.
    fn take(&self) -> Option<(Vec<Frame>, Place)> {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.is_ending;
        let state = self.work.wait_while(self.lock(), idle);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let rested = self
            .work
            .wait_timeout_while(state, REST, |state| !state.is_due());
        let (mut state, _) = rested.unwrap_or_else(PoisonError::into_inner);
        let (mut round, mut last) = (Vec::new(), None);
        let mut bytes = 0;
        while bytes < ROUND_BYTES
            && let Some((place, frame)) = state.waiting.pop_front()
        {
            bytes += frame.len();
            round.push(frame);
            last = Some(place);
        }
        last.map(|last| (round, last))
    }

    /// Notes that sled has everything up to a commit.
    fn took(&self, number: u64) {
        let mut state = self.lock();
        state.applied = number;
        while let Some(trace) = state.traces.pop_front_if(|trace| trace.number <= number) {
            state.bytes -= trace.bytes;
        }
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
    pub(super) fn start(trees: Trees, file: File, applied: u64) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(applied));
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
    while let Some((round, last)) = queue.take() {
        let frames: Vec<&Frame> = round.iter().collect();
        // Each round: sled does not open after a power cut in which much of it was only half on disk.
        let done = carry_out(trees, &frames, last).and_then(|()| sync(trees, file));
        match done {
            Ok(()) => queue.took(last.number),
            Err(error) => return queue.fail(error),
        }
    }
}

/// Puts what frames say into sled, the last word on each key, and notes the place of the last.
pub(super) fn carry_out(trees: &Trees, frames: &[&Frame], last: Place) -> Result<(), StoreError> {
    let mut rows: HashMap<(u8, &[u8]), Option<&[u8]>> = HashMap::new();
    for row in frames.iter().flat_map(|frame| frame.rows()) {
        rows.insert((row.tree as u8, row.key), row.value);
    }
    let mut batches = Batches::default();
    for ((tree, key), value) in rows {
        let tree = Tree::ALL[usize::from(tree)];
        match value {
            Some(value) => batches.put(tree, key, value),
            None => batches.remove(tree, key),
        }
    }
    guarded(&trees.path, || {
        trees.apply(batches)?;
        trees.note(last)
    })
}

/// Sends everything that sled has to the disk itself. `Ok` means it is there.
pub(super) fn sync(trees: &Trees, file: &File) -> Result<(), StoreError> {
    trees.flush()?;
    file.sync_data().map_err(at("sync", &trees.path))
}
