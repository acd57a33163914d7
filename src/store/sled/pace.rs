//! Keeps sled's writes few, so that none of them can stop all the others for good.
//!
//! sled writes its log in segments of 512 KiB on seven threads that it shares with the truncations of
//! its file. Whoever needs the next segment may wait for a truncation that is queued, and holds a lock
//! meanwhile that each write takes before it ends: seven writes before that truncation in the queue, and nobody
//! moves again (`docs/storage.md`, "When sled stands still"). It has no bound of its own, and its own thread
//! moves pages without a flush. So whoever begins a segment waits here until few writes are under way. sled tells of
//! both in its log, at a place where it holds nothing that a write needs: it is the one hook that it has. Read next: `trees`.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Writes under way with which another segment may begin. Below seven by more than what may have
/// written and not ended yet.
const UNDER_WAY_MOST: usize = 3;

/// A write that takes longer has failed, of which sled does not tell here.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where sled tells of its writes.
const TARGET: &str = "sled::pagecache::iobuf";

/// sled's words before it begins a segment, before it writes a part of one, and after either was written.
const ROLLS: &str = "rolling to new segment";
const ADVANCES: &str = "advancing offset";
const WROTE: &str = "wrote lsns";

static PACE: Pace = Pace {
    under_way: Mutex::new(0),
    fewer: Condvar::new(),
    written: AtomicU64::new(0),
};

/// The writes of every store of this process: sled's threads are shared by all.
struct Pace {
    under_way: Mutex<usize>,
    fewer: Condvar,
    /// Writes that have ended, for tests.
    written: AtomicU64,
}

/// Listens to sled from now on. Nobody else in our programs does.
pub(super) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| match log::set_logger(&PACE) {
        Ok(()) => log::set_max_level(LevelFilter::Debug),
        Err(error) => {
            tracing::warn!(%error, "sled is not heard: a large mail may stop this process");
        }
    });
}

/// Returns how many writes sled ended in this process.
#[cfg(test)]
fn written() -> u64 {
    PACE.written.load(Ordering::Relaxed)
}

impl Pace {
    fn begin(&self, under_way_most: usize, patience: Duration) {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while *under_way > under_way_most {
            let waited = self.fewer.wait_timeout(under_way, patience);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            under_way = guard;
            if timeout.timed_out() {
                *under_way = 0;
            }
        }
        *under_way += 1;
    }

    fn end(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *under_way = under_way.saturating_sub(1);
        drop(under_way);
        self.fewer.notify_all();
    }
}

impl Log for Pace {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() == Level::Debug && metadata.target() == TARGET
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let words = Beginning::of(record.args());
        if words.is(ROLLS) {
            self.begin(UNDER_WAY_MOST, PATIENCE);
        } else if words.is(ADVANCES) {
            self.begin(usize::MAX, PATIENCE);
        } else if words.is(WROTE) {
            self.end();
        }
    }

    fn flush(&self) {}
}

/// The first bytes of what is told; the rest is not even put into words.
struct Beginning {
    bytes: [u8; 32],
    len: usize,
}

impl Beginning {
    fn of(args: &fmt::Arguments<'_>) -> Self {
        let mut beginning = Self {
            bytes: [0; 32],
            len: 0,
        };
        // It ends with an error as soon as there are enough.
        beginning.write_fmt(*args).ok();
        beginning
    }

    fn is(&self, word: &str) -> bool {
        self.bytes[..self.len].starts_with(word.as_bytes())
    }
}

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let taken = room.len().min(text.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        if self.len == self.bytes.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    fn pace(under_way: usize) -> Pace {
        Pace {
            under_way: Mutex::new(under_way),
            fewer: Condvar::new(),
            written: AtomicU64::new(0),
        }
    }

    #[test]
    fn p08_a_segment_begins_when_few_writes_are_under_way() {
        let pace = Arc::new(pace(4));
        let (tell, told) = channel();
        let begun = Arc::clone(&pace);
        let beginning = std::thread::spawn(move || {
            begun.begin(3, PATIENCE);
            tell.send(()).unwrap();
        });
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
        pace.end();
        told.recv().unwrap();
        beginning.join().unwrap();
        assert_eq!(*pace.under_way.lock().unwrap(), 4);
        assert_eq!(pace.written.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn writes_that_failed_are_not_waited_for_for_ever() {
        let pace = pace(9);
        pace.begin(3, Duration::from_millis(1));
        assert_eq!(*pace.under_way.lock().unwrap(), 1);
    }

    /// A sled that says it in other words, or a build that leaves such words out, is noticed here.
    #[test]
    fn p08_sled_says_when_it_begins_and_ends_a_write() {
        let folder = tempfile::tempdir().unwrap();
        listen();
        let before = written();
        let db = ::sled::open(folder.path()).unwrap();
        for number in 0..600_u64 {
            db.insert(number.to_be_bytes(), vec![7; 4_000]).unwrap();
        }
        db.flush().unwrap();
        // 2.4 MB are five segments at least, and the last of them is not full.
        assert!(written() >= before + 5);
    }

    #[test]
    fn only_the_beginning_of_what_is_told_is_looked_at() {
        let words = Beginning::of(&format_args!("wrote lsns {}-{} to disk at offsets", 1, 2));
        assert!(words.is(WROTE) && !words.is(ROLLS));
        assert!(Beginning::of(&format_args!("{ROLLS} after clearing 1-2")).is(ROLLS));
        assert!(!Beginning::of(&format_args!("rolling")).is(ROLLS));
    }
}
