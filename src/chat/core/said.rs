//! The row of lines and notes this side said, until the other side acknowledges them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::chat::frame::{Kept, Note, Seq};
use crate::limits;

/// What this side said. Go-back-N: kept from the first unacknowledged one, sent from a mark on.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// The place after [`acknowledged`](Self::acknowledged), and those that follow.
    kept: VecDeque<Kept>,
    /// Bytes of those.
    bytes: usize,
    acknowledged: Seq,
    /// Sent in this round up to here.
    mark: Seq,
    /// Sent ever up to here.
    sent: Seq,
    rewound_ms: Option<u64>,
    /// The place of this side's bye: what is said after it stays here.
    bye: Option<Seq>,
}

impl Said {
    /// Takes a line into the row. Returns its place.
    pub(super) fn line(&mut self, epoch: u64, text: &str) -> Seq {
        self.keep(Kept::line(epoch, self.last() + 1, text))
    }

    /// Takes a note into the row. Returns its place.
    pub(super) fn note(&mut self, epoch: u64, note: &Note) -> Seq {
        self.keep(Kept::note(epoch, self.last() + 1, note))
    }

    /// Ends the row, once.
    pub(super) fn bye(&mut self, epoch: u64) {
        if self.bye.is_none() {
            self.bye = Some(self.note(epoch, &Note::Bye));
        }
    }

    fn keep(&mut self, kept: Kept) -> Seq {
        self.bytes += kept.bytes().len();
        self.kept.push_back(kept);
        self.last()
    }

    fn last(&self) -> Seq {
        self.acknowledged + self.kept.len() as u64
    }

    /// Writes the frames again for the lease they now go to: they were said before it was known.
    pub(super) fn readdress(&mut self, epoch: u64) {
        self.kept.iter_mut().for_each(|kept| kept.readdress(epoch));
    }

    /// Says whether more may be said now.
    pub(super) fn has_room(&self) -> bool {
        let lines = limits::LINE_WINDOW + limits::LINES_AHEAD;
        self.bye.is_none()
            && (self.kept.len() as u64) < lines
            && self.bytes < limits::LINES_BYTES_MAX
    }

    /// Returns the next frame to send, if the window lets one go.
    pub(super) fn next(&mut self) -> Option<Arc<[u8]>> {
        let end = self.bye.unwrap_or(Seq::MAX);
        if self.mark >= end || self.mark - self.acknowledged >= limits::LINE_WINDOW {
            return None;
        }
        let place = usize::try_from(self.mark - self.acknowledged).ok()?;
        let frame = self.kept.get(place)?.bytes().clone();
        self.mark += 1;
        self.sent = self.sent.max(self.mark);
        Some(frame)
    }

    /// Returns how far the row was sent at any time.
    pub(super) fn sent(&self) -> Seq {
        self.sent
    }

    /// Takes an acknowledgement. Returns how far what the user said is delivered now, if that is news; one
    /// beyond what was sent is no acknowledgement.
    pub(super) fn acknowledge(&mut self, through: Seq) -> Option<Seq> {
        if through <= self.acknowledged || through > self.sent {
            return None;
        }
        let before = self.acknowledged;
        while self.acknowledged < through {
            let kept = self.kept.pop_front().expect("what was sent is kept");
            self.bytes -= kept.bytes().len();
            self.acknowledged += 1;
        }
        self.mark = self.mark.max(through);
        let user = self.bye.map_or(through, |bye| through.min(bye - 1));
        (user > before).then_some(user)
    }

    /// Goes back for what a new connection may have lost.
    pub(super) fn restart(&mut self, now_ms: u64) {
        self.mark = self.acknowledged;
        self.rewound_ms = Some(now_ms);
    }

    /// Goes back to a place the other side misses, unless that was done just now.
    pub(super) fn rewind(&mut self, from: Seq, now_ms: u64) {
        let just_now = |at: u64| now_ms < at + limits::CHAT_REWIND_MS;
        if from <= self.acknowledged || from > self.mark || self.rewound_ms.is_some_and(just_now) {
            return;
        }
        self.mark = from - 1;
        self.rewound_ms = Some(now_ms);
    }

    /// Says whether everything up to the bye was acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.bye.is_some_and(|bye| self.acknowledged >= bye)
    }

    /// Says whether a line said before the bye was not acknowledged.
    pub(super) fn owes_lines(&self) -> bool {
        let end = self.bye.unwrap_or(Seq::MAX);
        self.lines().any(|(seq, _)| seq < end)
    }

    /// Returns the lines that were not acknowledged, in order.
    pub(super) fn lines(&self) -> impl Iterator<Item = (Seq, &str)> {
        (self.acknowledged + 1..)
            .zip(&self.kept)
            .filter_map(|(seq, kept)| Some((seq, kept.text()?)))
    }
}
