//! How far a file is: written by its thread, read by whoever draws.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// What is being done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its BLAKE3 is being taken.
    Hashing,
    /// The other side has not answered yet.
    Waiting,
    /// It is on its way.
    Moving,
    /// It is all here and being synced to the disk.
    Closing,
}

/// One file's gauge.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    stage: AtomicU8,
    done: AtomicU64,
    size: AtomicU64,
    stop: AtomicBool,
}

impl Gauge {
    /// Makes one that stands at the beginning.
    pub(super) fn new(size: u64) -> Self {
        Self {
            size: size.into(),
            ..Self::default()
        }
    }

    pub(super) fn start(&self, stage: Stage, size: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(super) fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    /// Tells the thread to end: nobody waits for its file any more.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns what is being done, and how many bytes of how many are.
    pub(super) fn read(&self) -> (Stage, u64, u64) {
        const STAGES: [Stage; 4] = [
            Stage::Hashing,
            Stage::Waiting,
            Stage::Moving,
            Stage::Closing,
        ];
        let stage = STAGES[usize::from(self.stage.load(Ordering::Relaxed))];
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (stage, read(&self.done), read(&self.size))
    }
}
