//! The subscribers of W2: each mail is checked off for each of them.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::common::{now_ns, read_body};
use crate::stat::Latencies;
use crate::target::Receiver;

/// Mails that one run may send.
pub(super) const SLOTS: usize = 200_000;

/// What all subscribers of a run share.
pub(super) struct FanOut {
    subscribers: u32,
    base: AtomicU64,
    seen: Vec<AtomicU32>,
    slots: Mutex<Arc<Semaphore>>,
    lat: Mutex<Latencies>,
    bad: AtomicBool,
}

impl FanOut {
    /// For so many subscribers.
    pub(super) fn new(subscribers: usize) -> Result<Self> {
        Ok(FanOut {
            subscribers: u32::try_from(subscribers)?,
            base: AtomicU64::new(0),
            seen: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(),
            slots: Mutex::new(Arc::new(Semaphore::new(0))),
            lat: Mutex::default(),
            bad: AtomicBool::new(false),
        })
    }

    /// Begins a run: its mails are numbered from the number returned, and each that has reached all
    /// gives a permit of the semaphore back.
    pub(super) fn begin(&self, slots: Arc<Semaphore>) -> u64 {
        let by = SLOTS as u64;
        let base = self.base.fetch_add(by, Ordering::SeqCst) + by;
        for s in &self.seen {
            s.store(0, Ordering::Relaxed);
        }
        *self.lat.lock().unwrap_or_else(PoisonError::into_inner) = Latencies::default();
        *self.slots.lock().unwrap_or_else(PoisonError::into_inner) = slots;
        base
    }

    /// Ends a run of so many mails. Every subscriber must have had each exactly once.
    pub(super) fn end(&self, sent: u64) -> Result<Latencies> {
        let mut lat = std::mem::take(&mut *self.lat.lock().unwrap_or_else(PoisonError::into_inner));
        let wanted = sent * u64::from(self.subscribers);
        let has_each = self.seen.iter().take(usize::try_from(sent)?);
        let has_each = has_each.map(|s| s.load(Ordering::SeqCst));
        let is_each = has_each.into_iter().all(|n| n == self.subscribers);
        if lat.len() as u64 != wanted || !is_each || self.bad.load(Ordering::SeqCst) {
            bail!(
                "{} deliveries of {sent} mails to {} subscribers (duplicates or strays)",
                lat.len(),
                self.subscribers
            );
        }
        lat.sort();
        Ok(lat)
    }

    /// Takes in what one subscriber received; says how many mails have now reached all.
    fn take(&self, mails: &[Bytes]) {
        let now = now_ns();
        let base = self.base.load(Ordering::SeqCst);
        let mut took = Vec::with_capacity(mails.len());
        let mut whole = 0;
        for mail in mails {
            match read_body(mail) {
                Ok((stamp, number)) if (base..base + SLOTS as u64).contains(&number) => {
                    took.push(now.saturating_sub(stamp));
                    whole += usize::from(self.check_off(number - base));
                }
                _ => self.bad.store(true, Ordering::SeqCst),
            }
        }
        let mut lat = self.lat.lock().unwrap_or_else(PoisonError::into_inner);
        took.into_iter().for_each(|ns| lat.add_ns(ns));
        drop(lat);
        if whole > 0 {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.add_permits(whole);
        }
    }

    fn check_off(&self, slot: u64) -> bool {
        let slot = usize::try_from(slot).expect("below SLOTS");
        self.seen[slot].fetch_add(1, Ordering::SeqCst) + 1 == self.subscribers
    }
}

/// One subscriber: receives and acknowledges until its connection ends.
pub(super) async fn subscribe(mut r: Box<dyn Receiver>, shared: Arc<FanOut>) {
    let mut mails = Vec::new();
    loop {
        mails.clear();
        if r.recv(&mut mails).await.is_err() {
            return;
        }
        shared.take(&mails);
        if r.ack().await.is_err() {
            return;
        }
    }
}
