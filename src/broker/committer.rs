//! The store threads: one commits, one reads. Nothing else waits for a disk.
//!
//! The commit thread takes everything that is queued, commits it with one sync and answers with the
//! highest ticket; it never waits for more to come, so one lone send costs one sync and a crowd
//! shares it. It never decides anything. A store that fails is never asked again: the failure is
//! handed over and the process ends ([`crate::store::Store`], "After an error nothing is known").

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::io::Ticket;
use super::portion::Portion;
use crate::store::{Answer, Change, Query, Reader, Store, StoreError};

/// Wakes the poll loop from another thread or a signal: one end of a pair of sockets.
#[derive(Debug, Clone)]
pub struct Wake(Arc<UnixStream>);

/// The poll loop's end of [`Wake`].
#[derive(Debug)]
pub struct WakeReader(UnixStream);

impl Wake {
    /// Makes a pair.
    pub fn pair() -> io::Result<(Self, WakeReader)> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok((Self(Arc::new(near)), WakeReader(far)))
    }

    /// Makes the reader readable. A full pair is readable already, so no failure matters.
    pub fn wake(&self) {
        drop((&*self.0).write(&[1]));
    }

    /// Returns a copy of the writing end, for a signal handler.
    pub fn try_clone_stream(&self) -> io::Result<UnixStream> {
        self.0.try_clone()
    }
}

impl WakeReader {
    /// Makes it unreadable until the next wake.
    pub fn drain(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.0).read(&mut bytes), Ok(n) if n == bytes.len()) {}
    }
}

impl AsFd for WakeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for WakeReader {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What a store thread has to say.
#[derive(Debug)]
pub enum Done {
    /// Everything up to this ticket is on disk.
    Committed {
        /// The highest ticket of the batch.
        ticket: Ticket,
        /// The sum of the weights it was queued with.
        weight: usize,
        /// How large the next batch may be.
        portion: usize,
        /// How long it took, sync included.
        took: Duration,
    },
    /// A read is answered.
    Loaded(Ticket, Answer),
    /// The store failed: end the process.
    Failed(StoreError),
}

/// The poll loop's side of the store threads.
#[derive(Debug)]
pub struct Committer {
    commits: Sender<Batch>,
    loads: Sender<(Ticket, Query)>,
    results: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
    queued: usize,
    portion: usize,
}

#[derive(Debug)]
struct Batch {
    ticket: Ticket,
    changes: Vec<Change>,
    weight: usize,
}

impl Committer {
    /// Starts the threads. `wake` is woken whenever [`poll`](Self::poll) has something new.
    pub fn start(store: Box<dyn Store>, wake: &Wake) -> io::Result<Self> {
        let (commits, commit_queue) = channel();
        let (loads, load_queue) = channel();
        let (results, result_queue) = channel();
        let reader = store.reader();
        let outlet = |name| Outlet {
            name,
            results: results.clone(),
            wake: wake.clone(),
        };
        let (for_commits, for_loads) = (outlet("commit"), outlet("read"));
        let committing = Builder::new()
            .name("commit".to_owned())
            .spawn(move || commit_all(store, &commit_queue, &for_commits))?;
        let reading = Builder::new()
            .name("read".to_owned())
            .spawn(move || read_all(&*reader, &load_queue, &for_loads))?;
        Ok(Self {
            commits,
            loads,
            results: result_queue,
            threads: vec![committing, reading],
            queued: 0,
            portion: Portion::new().bytes(),
        })
    }

    /// Queues changes; `ticket` is the highest among them.
    pub fn commit(&mut self, ticket: Ticket, changes: Vec<Change>) {
        let weight = changes.iter().map(weight).sum();
        self.queued += weight;
        // A thread that is gone has said why: `poll` will tell.
        drop(self.commits.send(Batch {
            ticket,
            changes,
            weight,
        }));
    }

    /// Queues a read.
    pub fn load(&self, ticket: Ticket, query: Query) {
        drop(self.loads.send((ticket, query)));
    }

    /// Returns the next result, if there is one.
    pub fn poll(&mut self) -> Option<Done> {
        let done = self.results.try_recv().ok()?;
        if let Done::Committed {
            weight, portion, ..
        } = &done
        {
            self.queued -= weight;
            self.portion = *portion;
        }
        Some(done)
    }

    /// Returns about how many bytes wait for the disk.
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Returns about how many bytes a commit should have at most, as `portion` has learned.
    pub fn portion(&self) -> usize {
        self.portion
    }

    /// Lets the threads finish what is queued, closes the store and returns its failure, if any.
    pub fn finish(self) -> Result<(), StoreError> {
        drop(self.commits);
        drop(self.loads);
        for thread in self.threads {
            // A panic was reported as a failure by the thread's outlet.
            drop(thread.join());
        }
        match self.results.try_iter().find_map(failure) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn failure(done: Done) -> Option<StoreError> {
    match done {
        Done::Failed(error) => Some(error),
        Done::Committed { .. } | Done::Loaded(..) => None,
    }
}

/// About how many bytes a change holds in memory while it waits.
fn weight(change: &Change) -> usize {
    match change {
        Change::AppendMail { body, .. } => 512 + body.len(),
        _ => 256,
    }
}

/// A thread's way to the poll loop. Dropped by a panic, it reports one: nobody waits for a dead
/// thread.
struct Outlet {
    name: &'static str,
    results: Sender<Done>,
    wake: Wake,
}

impl Outlet {
    fn tell(&self, done: Done) {
        // The poll loop is gone only when the process ends.
        drop(self.results.send(done));
        self.wake.wake();
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell(Done::Failed(StoreError::Engine(format!(
                "the {} thread panicked",
                self.name
            ))));
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how much goes into a commit hangs on how long the last one took, never what"
)]
fn commit_all(mut store: Box<dyn Store>, queue: &Receiver<Batch>, outlet: &Outlet) {
    let mut portion = Portion::new();
    while let Ok(first) = queue.recv() {
        let batch = gather(first, queue, portion.bytes());
        let begun = Instant::now();
        match store.commit(&batch.changes) {
            Ok(()) => {
                let took = begun.elapsed();
                portion.took(batch.weight, took);
                outlet.tell(Done::Committed {
                    ticket: batch.ticket,
                    weight: batch.weight,
                    portion: portion.bytes(),
                    took,
                });
            }
            Err(error) => return outlet.tell(Done::Failed(error)),
        }
    }
}

/// Adds what waits already, up to a size: group commit.
fn gather(mut batch: Batch, queue: &Receiver<Batch>, bytes_max: usize) -> Batch {
    while batch.weight < bytes_max {
        match queue.try_recv() {
            Ok(mut next) => {
                batch.ticket = next.ticket;
                batch.weight += next.weight;
                batch.changes.append(&mut next.changes);
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
        }
    }
    batch
}

fn read_all(reader: &dyn Reader, queue: &Receiver<(Ticket, Query)>, outlet: &Outlet) {
    while let Ok((ticket, query)) = queue.recv() {
        match reader.read(&query) {
            Ok(answer) => outlet.tell(Done::Loaded(ticket, answer)),
            Err(error) => return outlet.tell(Done::Failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Mark, Snapshot};

    /// Says what it is asked, and goes on when it is told.
    struct Slow {
        told: Sender<usize>,
        go: Receiver<bool>,
    }

    struct Zero;

    impl Store for Slow {
        fn load(&mut self) -> Result<Snapshot, StoreError> {
            Ok(Snapshot::default())
        }
        fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
            self.told.send(changes.len()).unwrap();
            if self.go.recv().expect("asked to panic") {
                Ok(())
            } else {
                Err(StoreError::Engine("no".to_owned()))
            }
        }
        fn reader(&self) -> Box<dyn Reader> {
            Box::new(Zero)
        }
    }

    impl Reader for Zero {
        fn read(&self, _query: &Query) -> Result<Answer, StoreError> {
            Ok(Answer::Mark(Mark::ZERO))
        }
    }

    fn start() -> (Committer, Receiver<usize>, Sender<bool>, WakeReader) {
        let (told, begun) = channel();
        let (allow, go) = channel();
        let (wake, reader) = Wake::pair().unwrap();
        let committer = Committer::start(Box::new(Slow { told, go }), &wake).unwrap();
        (committer, begun, allow, reader)
    }

    fn next(committer: &mut Committer, wake: &WakeReader) -> Done {
        loop {
            if let Some(done) = committer.poll() {
                return done;
            }
            let mut items = [zmq::PollItem::from_fd(wake.as_raw_fd(), zmq::POLLIN)];
            assert_eq!(zmq::poll(&mut items, 10_000).unwrap(), 1, "woken in time");
            wake.drain();
        }
    }

    #[test]
    fn what_queues_during_a_sync_shares_the_next_one() {
        let (mut committer, begun, allow, wake) = start();
        committer.commit(1, vec![Change::RemoveLog(1)]);
        assert_eq!(begun.recv().unwrap(), 1);
        committer.commit(2, vec![Change::RemoveLog(2)]);
        committer.commit(5, vec![Change::RemoveLog(3), Change::RemoveLog(4)]);
        assert_eq!(committer.queued_bytes(), 4 * 256);
        allow.send(true).unwrap();
        allow.send(true).unwrap();
        let first = next(&mut committer, &wake);
        assert!(
            matches!(first, Done::Committed { ticket: 1, .. }),
            "{first:?}"
        );
        let second = next(&mut committer, &wake);
        assert!(
            matches!(second, Done::Committed { ticket: 5, .. }),
            "{second:?}"
        );
        assert_eq!(begun.recv().unwrap(), 3);
        assert_eq!(committer.queued_bytes(), 0);
        committer.finish().unwrap();
    }

    #[test]
    fn p09_a_large_commit_takes_in_no_more() {
        let (mut committer, begun, allow, wake) = start();
        committer.commit(1, vec![Change::RemoveLog(1)]);
        assert_eq!(begun.recv().unwrap(), 1);
        let full = committer.portion() / 256;
        committer.commit(2, vec![Change::RemoveLog(2); full]);
        committer.commit(3, vec![Change::RemoveLog(3)]);
        committer.commit(4, vec![Change::RemoveLog(4)]);
        for _ in 0..3 {
            allow.send(true).unwrap();
        }
        assert_eq!(begun.recv().unwrap(), full);
        assert_eq!(begun.recv().unwrap(), 2, "the small ones share a sync");
        for ticket in [1, 2, 4] {
            let done = next(&mut committer, &wake);
            assert!(
                matches!(done, Done::Committed { ticket: told, .. } if told == ticket),
                "{done:?}"
            );
        }
        committer.finish().unwrap();
    }

    #[test]
    fn reads_do_not_wait_for_commits() {
        let (mut committer, begun, allow, wake) = start();
        committer.commit(1, Vec::new());
        begun.recv().unwrap();
        committer.load(9, Query::MarkAt { log: 1, id: 1 });
        let done = next(&mut committer, &wake);
        assert!(
            matches!(done, Done::Loaded(9, Answer::Mark(Mark::ZERO))),
            "{done:?}"
        );
        allow.send(true).unwrap();
        committer.finish().unwrap();
    }

    #[test]
    fn a_failed_store_is_told_and_never_asked_again() {
        let (mut committer, begun, allow, wake) = start();
        committer.commit(1, Vec::new());
        committer.commit(2, Vec::new());
        allow.send(false).unwrap();
        let done = next(&mut committer, &wake);
        assert!(matches!(done, Done::Failed(_)), "{done:?}");
        committer.commit(3, Vec::new());
        committer.finish().unwrap();
        assert_eq!(begun.iter().count(), 1);
    }

    #[test]
    fn a_panic_in_the_engine_is_a_failure() {
        let (mut committer, _begun, allow, wake) = start();
        committer.commit(1, Vec::new());
        drop(allow);
        let done = next(&mut committer, &wake);
        assert!(matches!(done, Done::Failed(_)), "{done:?}");
    }
}
