//! A bounded queue between two threads, measured in bytes, that can be closed without losing anything.
//!
//! Whoever puts something in hears whether it will be taken out: after [`Queue::close`] nothing enters.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What each thing counts besides its own bytes.
const OVERHEAD_BYTES: usize = 64;

/// Things on their way from one thread to another.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    /// Something is there, or the queue was closed.
    filled: Condvar,
    /// There is room again, or the queue was closed.
    emptied: Condvar,
    bytes_max: usize,
}

#[derive(Debug)]
struct State<T> {
    things: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
    takers: usize,
    givers: usize,
}

impl<T> Queue<T> {
    /// Makes one that is full from `bytes_max` on.
    pub(super) fn new(bytes_max: usize) -> Self {
        let state = State {
            things: VecDeque::new(),
            bytes: 0,
            closed: false,
            takers: 0,
            givers: 0,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            bytes_max,
        }
    }

    /// Puts something of so many bytes in; waits while the queue is full. Gives it back when the queue
    /// is closed.
    pub(super) fn give(&self, thing: T, bytes: usize) -> Result<(), T> {
        let mut state = self.lock();
        while state.bytes >= self.bytes_max && !state.closed {
            state.givers += 1;
            state = wait(&self.emptied, state);
            state.givers -= 1;
        }
        if state.closed {
            return Err(thing);
        }
        self.put(&mut state, [(thing, bytes)]);
        Ok(())
    }

    /// Puts something in without waiting, up to `spare` bytes beyond what makes it full. Gives it back when
    /// there is no room, or the queue is closed.
    pub(super) fn give_now(&self, thing: T, bytes: usize, spare: usize) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed || state.bytes >= self.bytes_max + spare {
            return Err(thing);
        }
        self.put(&mut state, [(thing, bytes)]);
        Ok(())
    }

    /// Puts a batch in without waiting, full or not: the caller asks [`Queue::is_full`] before it
    /// makes more. After a close it is dropped.
    pub(super) fn extend(&self, things: impl IntoIterator<Item = (T, usize)>) {
        let mut state = self.lock();
        if !state.closed {
            self.put(&mut state, things);
        }
    }

    fn put(&self, state: &mut State<T>, things: impl IntoIterator<Item = (T, usize)>) {
        for (thing, bytes) in things {
            let bytes = bytes + OVERHEAD_BYTES;
            state.bytes += bytes;
            state.things.push_back((thing, bytes));
        }
        if state.takers > 0 {
            self.filled.notify_all();
        }
    }

    /// Says whether it holds as much as it should.
    pub(super) fn is_full(&self) -> bool {
        self.lock().bytes >= self.bytes_max
    }

    /// Says whether nothing enters any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Says whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().things.is_empty()
    }

    /// Takes out what is there, at most so many.
    pub(super) fn take(&self, most: usize) -> Vec<T> {
        let mut state = self.lock();
        let count = most.min(state.things.len());
        self.remove(&mut state, count)
    }

    /// Waits until something is there and takes it all out. Nothing: the time is over, or the queue is
    /// closed and empty.
    pub(super) fn wait(&self, patience: Duration) -> Vec<T> {
        let mut state = self.lock();
        if state.things.is_empty() && !state.closed && !patience.is_zero() {
            state.takers += 1;
            let nothing = |state: &mut State<T>| state.things.is_empty() && !state.closed;
            let waited = self.filled.wait_timeout_while(state, patience, nothing);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.takers -= 1;
        }
        let count = state.things.len();
        self.remove(&mut state, count)
    }

    /// Lets nothing more in. Whoever waits to give gets it back; what is in can still be taken out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }

    fn remove(&self, state: &mut State<T>, count: usize) -> Vec<T> {
        let freed = state.things.iter().take(count).map(|(_, bytes)| bytes);
        state.bytes -= freed.sum::<usize>();
        if state.givers > 0 && state.bytes < self.bytes_max {
            self.emptied.notify_all();
        }
        state
            .things
            .drain(..count)
            .map(|(thing, _)| thing)
            .collect()
    }

    /// No code panics while it holds the lock, so what it guards is whole even then.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a, T>(condition: &Condvar, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
    condition
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_giver_waits_for_room_and_nothing_is_lost() {
        let queue = Arc::new(Queue::new(10 * OVERHEAD_BYTES));
        let giver = Arc::clone(&queue);
        let speaker = thread::spawn(move || {
            (0..10_000).for_each(|number| giver.give(number, 0).unwrap());
            giver.close();
        });
        let mut taken = Vec::new();
        loop {
            let batch = queue.wait(LONG);
            assert!(batch.len() <= 10, "{}", batch.len());
            if batch.is_empty() {
                break;
            }
            taken.extend(batch);
        }
        speaker.join().unwrap();
        assert_eq!(taken, (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_close_gives_back_what_did_not_enter() {
        let queue = Arc::new(Queue::new(1));
        queue.give("in", 0).unwrap();
        let giver = Arc::clone(&queue);
        let waiting = thread::spawn(move || giver.give("out", 0));
        while queue.lock().givers == 0 {
            thread::yield_now();
        }
        queue.close();
        assert_eq!(waiting.join().unwrap(), Err("out"));
        assert_eq!(queue.take(9), ["in"]);
        assert!(queue.wait(LONG).is_empty(), "closed and empty: no wait");
        queue.extend([("late", 0)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_must_not_wait_has_spare_room_that_ends_too() {
        let queue = Queue::new(10);
        queue.give(1, 10).unwrap();
        assert_eq!(queue.give_now(2, 10, 100), Ok(()));
        assert_eq!(queue.give_now(3, 10, 100), Err(3));
        assert_eq!(queue.take(9), [1, 2]);
        queue.close();
        assert_eq!(queue.give_now(4, 10, 100), Err(4));
    }

    #[test]
    fn it_is_full_by_bytes() {
        let queue = Queue::new(1_000);
        queue.extend([(1, 500)]);
        assert!(!queue.is_full());
        queue.extend([(2, 500)]);
        assert!(queue.is_full());
        assert_eq!(queue.take(1), [1]);
        assert!(!queue.is_full());
        assert!(queue.wait(Duration::ZERO).len() == 1);
        assert!(queue.wait(Duration::ZERO).is_empty());
    }
}
