//! Rounds of a mailbox: what is done when the server went back in time.
//!
//! A server whose folder was replaced by an older copy does not know it, and gives ids out again. It is found out by what
//! this device knows: a log that ends before a mail that came from it, or another mail under an id that is
//! here. Then nothing of before is thrown away or hidden, and nothing new is taken for it.

use super::{
    Back, Kept, LogInfo, LogMark, Mail, Mailbox, Mark, MarksFile, Name, Round, Seen, read_mail,
};
use crate::client::files::FileError;
use crate::protocol::{LogNumber, MailId};

impl Mailbox {
    /// Returns the marks as they are before a login.
    pub fn seen(&self) -> Result<Seen, FileError> {
        self.read_marks().map(Seen)
    }

    /// Says how the server that these rows of a login came from went back, if they show it.
    pub fn is_back(&self, rows: &[LogInfo], incarnation: u64, seen: &Seen) -> Option<Back> {
        let Seen(seen) = seen;
        if seen.incarnation != 0 && seen.incarnation != incarnation {
            return Some(Back::Restored);
        }
        let ends_too_early = |row: &LogInfo| {
            let known = seen.logs.get(&row.log);
            known.is_some_and(|at| row.head < at.head)
        };
        rows.iter().any(ends_too_early).then_some(Back::Older)
    }

    /// Begins a session: takes in whose store this is, and a new round where the server went `back`, unless
    /// another process has begun it since `seen`. `rows` are all logs of the login. Returns whether this
    /// handle is in another round than before.
    pub fn enter(
        &mut self,
        rows: &[LogInfo],
        incarnation: u64,
        back: Option<Back>,
        seen: &Seen,
    ) -> Result<bool, FileError> {
        let before = self.round;
        let is_known = back.is_none() && seen.0.incarnation == incarnation;
        self.acknowledged_at_login(rows, seen);
        if is_known {
            self.finish_rewinds(rows, seen)?;
            self.round = Some(self.read_marks()?.round);
            return Ok(before.is_some() && before != self.round);
        }
        let _lock = self.lock()?;
        let mut marks = self.read_marks()?;
        if marks.round == seen.0.round {
            marks.incarnation = incarnation;
            if let Some(back) = back {
                marks.turn(rows, back);
            }
            self.write_marks(&marks)?;
        }
        self.round = Some(marks.round);
        Ok(marks.round != before.unwrap_or(seen.0.round))
    }

    /// Returns how the server went back, as long as nobody has told the user.
    pub fn going_back(&self) -> Result<Option<Back>, FileError> {
        Ok(self.read_marks()?.back)
    }

    /// Notes that the user was told.
    pub fn told_going_back(&self) -> Result<(), FileError> {
        let _lock = self.lock()?;
        let mut marks = self.read_marks()?;
        marks.back = None;
        self.write_marks(&marks)
    }

    /// Returns those of some fetched mails that are not in the mailbox in this or an earlier round.
    pub fn not_here<'a>(&self, mails: &[&'a Mail]) -> Result<Vec<&'a Mail>, FileError> {
        self.missing(mails, &self.read_marks()?, false)
    }

    /// Returns those of `mails` that are not here. Under the name that they would have in this round a mail is
    /// the same one if it is `trusted` to be; under that of an earlier one it counts by what is in it.
    pub(super) fn missing<'a>(
        &self,
        mails: &[&'a Mail],
        marks: &MarksFile,
        trusted: bool,
    ) -> Result<Vec<&'a Mail>, FileError> {
        let may_be_here = |mail: &&'a Mail| mail.envelope.id <= marks.highest(mail.log);
        if !mails.iter().any(may_be_here) {
            return Ok(mails.to_vec());
        }
        let here = self.files()?;
        let is_here = |mail: &Mail| {
            here.iter().any(|kept| {
                let name = &kept.name;
                let named = (name.id, name.log) == (mail.envelope.id, mail.log);
                let now = trusted && name.round == marks.round;
                named && (now || marks.counts(name) && self.holds(kept, mail, !trusted))
            })
        };
        let missing = mails.iter().filter(|mail| !is_here(mail));
        Ok(missing.copied().collect())
    }

    /// Says whether a file holds this mail; `doubt` where it cannot be read.
    fn holds(&self, kept: &Kept, mail: &Mail, doubt: bool) -> bool {
        // Somebody may have shown or flagged it meanwhile.
        let moved = |_| match self.find(kept.name)? {
            Some(now) => read_mail(&now.path),
            None => read_mail(&kept.path),
        };
        let found = read_mail(&kept.path).or_else(moved);
        found.map_or(doubt, |found| is_same(&found, mail))
    }
}

impl Name {
    pub(super) fn of(mail: &Mail, round: Round) -> Self {
        Self {
            round,
            id: mail.envelope.id,
            log: mail.log,
        }
    }
}

impl MarksFile {
    /// Says whether a file is a mail of the mailbox, or what a crash left above a mark.
    pub(super) fn counts(&self, name: &Name) -> bool {
        let Some(at) = self.logs.get(&name.log) else {
            return false;
        };
        let upto = match name.round {
            round if round == self.round => Some(at.id),
            round => at.past.get(&round).copied(),
        };
        upto.is_some_and(|upto| name.id <= upto)
    }

    fn highest(&self, log: LogNumber) -> MailId {
        self.logs.get(&log).map_or(0, |at| at.highest)
    }

    /// Begins a new round: each mark is where the server says that this device stands.
    fn turn(&mut self, rows: &[LogInfo], back: Back) {
        for (log, at) in &mut self.logs {
            at.past.insert(self.round, at.id);
            at.head = 0;
            at.pending.clear();
            let row = rows.iter().find(|row| row.log == *log);
            let now = row.map_or(Mark::default(), |row| Mark {
                id: row.cursor,
                n: Some(row.n),
            });
            at.put(now);
        }
        self.round += 1;
        self.back = Some(back);
    }
}

impl LogMark {
    fn put(&mut self, to: Mark) {
        (self.id, self.n) = (to.id, to.n);
    }
}

fn is_same(one: &Mail, other: &Mail) -> bool {
    let (a, b) = (&one.envelope, &other.envelope);
    let when = a.from == b.from && a.to == b.to && a.sent_at == b.sent_at;
    when && a.subject == b.subject && one.body == other.body
}

pub(super) fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}
