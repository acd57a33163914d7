//! The row of lines and notes of the other side: what is here, what was shown, what is missing.

use crate::chat::frame::Seq;
use crate::limits;

/// What was heard from the other side's row.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// Told up to here, without a gap.
    told: Seq,
    /// The last one told that somebody must show.
    to_show: Seq,
    /// Shown up to here.
    shown: Seq,
    /// The other side's row goes at least up to here.
    known: Seq,
    /// When the missing one was last asked for, or one that was missing came.
    asked_ms: Option<u64>,
    /// The place of the other side's bye.
    bye: Option<Seq>,
}

/// Where something heard stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the next one.
    Next,
    /// It was here before.
    Again,
    /// Something before it is missing.
    Ahead,
    /// There is no such place: beyond the window, or after the bye.
    Nowhere,
}

impl Heard {
    /// Says where a place of the other side's row stands.
    pub(super) fn place(&mut self, seq: Seq) -> Place {
        if seq == 0 || self.bye.is_some_and(|bye| seq > bye) {
            return Place::Nowhere;
        }
        if seq <= self.told {
            return Place::Again;
        }
        // What was told and not shown waits somewhere: the window bounds it.
        if seq - self.through() > limits::LINE_WINDOW {
            return Place::Nowhere;
        }
        self.known = self.known.max(seq);
        if seq == self.told + 1 {
            Place::Next
        } else {
            Place::Ahead
        }
    }

    /// Takes the next one; `to_show` when somebody must show it before it counts.
    pub(super) fn take(&mut self, to_show: bool, now_ms: u64) {
        // What needs no showing counts with what was shown before it.
        self.shown = self.through();
        self.told += 1;
        self.asked_ms = (self.known > self.told).then_some(now_ms);
        if to_show {
            self.to_show = self.told;
        }
    }

    /// The one just taken is the other side's bye.
    pub(super) fn bye(&mut self) {
        self.bye = Some(self.told);
        self.known = self.told;
    }

    /// Takes word of what was shown.
    pub(super) fn show(&mut self, through: Seq) {
        self.shown = self.shown.max(through.min(self.told));
    }

    /// Returns what may be acknowledged.
    pub(super) fn through(&self) -> Seq {
        if self.shown >= self.to_show {
            self.told
        } else {
            self.shown
        }
    }

    /// Returns what is here.
    pub(super) fn told(&self) -> Seq {
        self.told
    }

    /// Takes word of how far the other side's row goes.
    pub(super) fn goes_to(&mut self, last: Seq) {
        if self.bye.is_none() {
            self.known = self.known.max(last);
        }
    }

    /// Returns when the missing one is to be asked for: 0 for at once; nothing when none is missing.
    pub(super) fn asks_at_ms(&self) -> Option<u64> {
        let at = |asked: u64| asked + limits::CHAT_MISSING_MS;
        (self.known > self.told).then(|| self.asked_ms.map_or(0, at))
    }

    /// Returns the missing one, to be asked for now.
    pub(super) fn ask(&mut self, now_ms: u64) -> Option<Seq> {
        if now_ms < self.asks_at_ms()? {
            return None;
        }
        self.asked_ms = Some(now_ms);
        Some(self.told + 1)
    }

    /// Says whether the other side left and everything of it was shown.
    pub(super) fn is_settled(&self) -> bool {
        self.bye.is_some_and(|bye| self.through() >= bye)
    }
}
