//! What is stored here and may not be acknowledged, and rewinds under way: what a login is held against.
//!
//! When the server says that this device stands below its mark, the mails in between are those that a process stored
//! and died before it could acknowledge, or those of a rewind (`join --from`); any others are of a server that went
//! back. That a file is missing proves nothing, because other programs remove files. So the marks keep a sum of each
//! mail until its acknowledgement is known, and a rewind is noted in them before the server is asked for it.

use std::collections::BTreeMap;

use super::{LogInfo, LogMark, Mail, Mailbox, Mark, MarksFile, Name, Seen};
use crate::client::files::FileError;
use crate::protocol::{LogNumber, MailId};

/// Up to where a log was acknowledged, and how often it had been rewound before: a rewind takes that back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acked {
    upto: MailId,
    rewinds: u32,
}

impl Seen {
    /// Returns how far a log was in the mailbox.
    pub fn mark(&self, log: LogNumber) -> Mark {
        self.0.logs.get(&log).map_or(Mark::default(), LogMark::mark)
    }
}

impl Mailbox {
    /// Notes that a log is about to be rewound: from here on the server may say that this device stands below its
    /// mark. Durable when it returns. Ends with [`Mailbox::rewind`], or with a login that shows that it was done.
    pub fn will_rewind(&self, address: &str) -> Result<(), FileError> {
        let _lock = self.lock()?;
        let mut marks = self.read_marks()?;
        let mut named: Vec<&mut LogMark> = marks.of(address).collect();
        if named.is_empty() {
            return Ok(()); // it will start where the server says
        }
        for at in &mut named {
            at.rewinds += if at.is_rewinding() { 2 } else { 1 };
        }
        self.write_marks(&marks)
    }

    /// Moves a log's mark back, so that older mail is fetched again (`join --from`). Mails that are
    /// in the mailbox already are not stored twice.
    pub fn rewind(&self, log: LogNumber, to: Mark) -> Result<(), FileError> {
        let _lock = self.lock()?;
        let mut marks = self.read_marks()?;
        let Some(at) = marks.logs.get_mut(&log) else {
            return Ok(());
        };
        if at.id <= to.id && !at.is_rewinding() {
            return Ok(());
        }
        at.rewound(to);
        self.write_marks(&marks)
    }

    /// Notes that the server has acknowledgements, given what was `seen` before they were sent.
    pub fn acknowledged(&mut self, logs: &[(LogNumber, MailId)], seen: &Seen) {
        for (log, upto) in logs {
            let acked = Acked {
                upto: *upto,
                rewinds: seen.0.rewinds(*log),
            };
            self.acked.insert(*log, acked);
        }
    }

    /// Says whether mails that a server showed below a log's mark and that this device has not acknowledged are
    /// others than those that were stored here.
    pub fn contradicts(&self, mails: &[&Mail], seen: &Seen) -> Result<bool, FileError> {
        let marks = self.read_marks()?;
        let mut unnoted = Vec::new();
        for mail in mails {
            match seen.0.sum_of(mail) {
                Some(sum) if sum == sum_of(mail) => {}
                Some(_) => return Ok(true),
                None => unnoted.push(*mail),
            }
        }
        for mail in self.missing(&unnoted, &marks, false)? {
            if !marks.may_be_rewound(mail.log, seen) || self.has_file(mail, &marks)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says whether some mail is here under the name that this one would have.
    fn has_file(&self, mail: &Mail, marks: &MarksFile) -> Result<bool, FileError> {
        let name = Name::of(mail, marks.round);
        Ok(marks.counts(&name) && self.find(name)?.is_some())
    }

    /// Takes in where the server says at a login that this device stands.
    pub(super) fn acknowledged_at_login(&mut self, rows: &[LogInfo], seen: &Seen) {
        self.acked.clear();
        let cursors: Vec<_> = rows.iter().map(|row| (row.log, row.cursor)).collect();
        self.acknowledged(&cursors, seen);
    }

    /// Ends rewinds that the server has made and whose process died before it could follow.
    pub(super) fn finish_rewinds(&self, rows: &[LogInfo], seen: &Seen) -> Result<(), FileError> {
        if !seen.0.logs.values().any(LogMark::is_rewinding) {
            return Ok(());
        }
        let marks = self.read_marks()?;
        let is_done = |row: &&LogInfo| {
            let known = seen.0.logs.get(&row.log);
            let is_begun = known.is_some_and(|at| at.is_rewinding() && row.cursor < at.id);
            is_begun && seen.0.rewinds(row.log) == marks.rewinds(row.log)
        };
        for row in rows.iter().filter(is_done) {
            let to = Mark {
                id: row.cursor,
                n: Some(row.n),
            };
            self.rewind(row.log, to)?;
        }
        Ok(())
    }
}

impl MarksFile {
    /// Forgets the sums of what was acknowledged.
    pub(super) fn drop_acknowledged(&mut self, acked: &BTreeMap<LogNumber, Acked>) {
        for (log, at) in &mut self.logs {
            match acked.get(log) {
                Some(acked) if acked.rewinds == at.rewinds => {
                    at.pending = at.pending.split_off(&acked.upto.saturating_add(1));
                }
                _ => {}
            }
        }
    }

    fn of(&mut self, address: &str) -> impl Iterator<Item = &mut LogMark> {
        self.logs
            .values_mut()
            .filter(move |at| at.address == address)
    }

    fn rewinds(&self, log: LogNumber) -> u32 {
        self.logs.get(&log).map_or(0, |at| at.rewinds)
    }

    fn sum_of(&self, mail: &Mail) -> Option<u32> {
        let at = self.logs.get(&mail.log)?;
        at.pending.get(&mail.envelope.id).copied()
    }

    /// Says whether a rewind was under way when the marks were `seen`, or began since.
    fn may_be_rewound(&self, log: LogNumber, seen: &Seen) -> bool {
        let then = seen.0.rewinds(log);
        then % 2 == 1 || then != self.rewinds(log)
    }
}

impl LogMark {
    /// Notes that a mail is stored and not acknowledged.
    pub(super) fn pend(&mut self, mail: &Mail) {
        self.pending.insert(mail.envelope.id, sum_of(mail));
    }

    fn is_rewinding(&self) -> bool {
        self.rewinds % 2 == 1
    }

    /// Ends a rewind.
    fn rewound(&mut self, to: Mark) {
        self.rewinds += if self.is_rewinding() { 1 } else { 2 };
        if self.id > to.id {
            self.advance(to);
        }
    }
}

/// Tells mails under one id apart: by what makes them the same in `is_same` of the rounds.
fn sum_of(mail: &Mail) -> u32 {
    let envelope = &mail.envelope;
    let mut fields = vec![&envelope.from, &envelope.sent_at, &envelope.subject];
    fields.extend(&envelope.to);
    let begun = fields.iter().fold(0, |sum, field| {
        // The length keeps a field's end from being taken for the next one's beginning.
        let sum = crc32c::crc32c_append(sum, &(field.len() as u64).to_be_bytes());
        crc32c::crc32c_append(sum, field.as_bytes())
    });
    crc32c::crc32c_append(begun, &mail.body)
}
