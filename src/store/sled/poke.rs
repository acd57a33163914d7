//! Wakes a flush that sled forgot.
//!
//! When a write fails on one of sled's own threads, sled notes the error and tells nobody who waits for
//! that write; whoever asks next is told, and wakes the others. Usually that is sled's thread of every
//! 500 ms, but it may be among those who wait. So a thread of ours asks when a flush takes long. It
//! never touches a record. Read next: `trees`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::Duration;

use super::trees::Engine;

/// A flush that takes longer is asked after, again and again. Asking a slow disk costs nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Counts flushes: odd while one is under way.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicU64);

impl Gauge {
    /// Says that a flush began or ended.
    pub(super) fn turn(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Poker {
    _life: Sender<()>,
}

impl Poker {
    /// Starts the thread. It keeps the engine neither open nor locked.
    pub(super) fn start(engine: Weak<Engine>) -> std::io::Result<Self> {
        let (life, ended) = channel::<()>();
        Builder::new().name("poke".to_owned()).spawn(move || {
            let mut seen = 0;
            while ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                seen = look(&engine, seen);
            }
        })?;
        Ok(Self { _life: life })
    }
}

/// Asks after the flush that was under way the last time too. Returns what the gauge says.
fn look(engine: &Arc<Engine>, seen: u64) -> u64 {
    let now = engine.gauge.read();
    if now == seen && now % 2 == 1 {
        tracing::warn!("the disk takes long to write");
        engine.ask_again();
    }
    now
}
