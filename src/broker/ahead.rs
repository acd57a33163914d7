//! Reading ahead: while a client takes in one page of a long log, the store reads the next.
//!
//! Who fetches a backlog asks for page after page, each from where the last one ended; without this the
//! disk, the network and the client would take turns. A page that was read ahead is a hint like any
//! cache: it is told only if reading now would find the same, and only few are kept, for a short while.

use std::collections::BTreeMap;

use super::core::{Call, Core};
use super::read::{Asked, Pending, Reader, Wanted};
use crate::store::{Answer, StoredMail};

/// Pages read ahead altogether: with `limits::PAGE_BYTES_MAX` some 2 MiB of bodies.
const PAGES_MAX: usize = 16;

/// Milliseconds for which a page waits to be asked for.
const KEPT_MS: u64 = 2_000;

/// At most one page per device.
#[derive(Debug, Default)]
pub(super) struct Ahead(BTreeMap<u64, Next>);

#[derive(Debug)]
struct Next {
    reader: Reader,
    wanted: Wanted,
    since_ms: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading,
    /// It was asked for before it was here.
    Awaited(Asked, Wanted),
    Here(Vec<StoredMail>, bool),
}

impl Ahead {
    /// Drops what nobody came for.
    pub(super) fn sweep(&mut self, mono_ms: u64) {
        let is_late = |next: &Next| mono_ms.saturating_sub(next.since_ms) > KEPT_MS;
        self.0
            .retain(|_, next| !matches!(next.state, State::Here(..)) || !is_late(next));
    }

    fn has_room(&self, device: u64) -> bool {
        self.0.len() < PAGES_MAX && !self.0.contains_key(&device)
    }

    /// Takes a page that is here.
    fn take_here(&mut self, device: u64) -> Option<(Wanted, Vec<StoredMail>, bool)> {
        let next = self.0.remove(&device)?;
        if let State::Here(mails, more) = next.state {
            return Some((next.wanted, mails, more));
        }
        self.0.insert(device, next);
        None
    }
}

impl Core {
    /// Has the page read that this reader will ask for next.
    pub(super) fn read_ahead(&mut self, reader: Reader, wanted: Wanted) {
        let device = reader.device;
        if self.stopping || !self.ahead.has_room(device) {
            return;
        }
        let next = Next {
            reader,
            wanted,
            since_ms: self.now.mono_ms,
            state: State::Reading,
        };
        self.ahead.0.insert(device, next);
        self.load(reader.query(&wanted), Pending::Ahead(device));
    }

    /// Answers a fetch with the page that was read ahead for it, now or when it is here. Says whether
    /// there is one.
    pub(super) fn fetch_ahead(&mut self, call: &Call, reader: Reader, wanted: Wanted) -> bool {
        let Some(next) = self.ahead.0.get_mut(&reader.device) else {
            return false;
        };
        let is_it = next.reader == reader
            && (next.wanted.log, next.wanted.after) == (wanted.log, wanted.after);
        if is_it && matches!(next.state, State::Reading) {
            next.state = State::Awaited(Asked::by(call), wanted);
            return true;
        }
        let Some(next) = self.ahead.take_here(reader.device) else {
            return false;
        };
        let (read, mails, more) = next;
        let is_told = is_it && self.is_current(&read, more);
        if is_told {
            self.tell_fetched(call, reader, read.counted_as(&wanted), mails, more);
        }
        is_told
    }

    /// Takes in a page that was read ahead.
    pub(super) fn take_ahead(&mut self, device: u64, mails: Vec<StoredMail>, more: bool) {
        let Some(mut next) = self.ahead.0.remove(&device) else {
            return;
        };
        match next.state {
            State::Awaited(asked, wanted) if self.is_current(&next.wanted, more) => {
                let told = next.wanted.counted_as(&wanted);
                let pending = Pending::Fetch(asked, next.reader, told);
                self.resume(pending, Answer::Mails { mails, more });
            }
            State::Awaited(asked, wanted) => self.read_page(asked, next.reader, wanted),
            State::Reading | State::Here(..) => {
                next.state = State::Here(mails, more);
                self.ahead.0.insert(device, next);
            }
        }
    }

    /// Says whether reading now would find the same: nothing that was there can have gone, and nothing
    /// has come that belongs to it.
    fn is_current(&self, read: &Wanted, more: bool) -> bool {
        let record = self.logs.record(read.log);
        let is_end = record.head == read.head && read.head.id <= read.upto;
        record.floor.id <= read.after && (more || is_end)
    }
}
