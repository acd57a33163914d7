//! A login at a server that may have gone back in time: found out before anything of before is trusted, above all
//! before what is stored here is acknowledged, because the server then throws it away.

use std::collections::BTreeSet;

use super::Session;
use crate::client::error::ClientError;
use crate::client::mailbox::{Back, Mail, Mark, Seen};
use crate::protocol::MailId;
use crate::protocol::reply::LogInfo;

impl Session {
    /// Takes in at which server the login is: the one of before, or one that went back since `seen`.
    pub(super) fn take_round(&mut self, rows: &[LogInfo], seen: &Seen) -> Result<(), ClientError> {
        let incarnation = self.connection.hello().incarnation;
        let mut back = self.mailbox.is_back(rows, incarnation, seen);
        if back.is_none() && self.has_other_mails(rows, seen)? {
            back = Some(Back::Older);
        }
        if self.options.no_ack {
            if back.is_some() && !std::mem::replace(&mut self.is_astray, true) {
                self.start_over(rows);
            }
            return Ok(());
        }
        if self.mailbox.enter(rows, incarnation, back, seen)? {
            self.start_over(rows);
        }
        Ok(())
    }

    /// Forgets what was heard of the server as it was.
    fn start_over(&mut self, rows: &[LogInfo]) {
        self.turns += 1;
        self.connection.drop_notices();
        self.watch.start_over(rows, self.login.through);
    }

    /// Reads again what is stored here and was not acknowledged, and says whether it is something else by
    /// now. There is none as long as no process dies before it could acknowledge.
    fn has_other_mails(&mut self, rows: &[LogInfo], seen: &Seen) -> Result<bool, ClientError> {
        for row in rows {
            let upto = seen.mark(row.log).id.min(row.head);
            if upto > row.cursor && self.differs(row, upto, seen)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn differs(&mut self, row: &LogInfo, upto: MailId, seen: &Seen) -> Result<bool, ClientError> {
        let mut at = Mark {
            id: row.cursor,
            n: Some(row.n),
        };
        while at.id < upto {
            let Some((page, mails)) = self.fetch_page(row.log, at)? else {
                return Ok(false);
            };
            let due = mails.iter().filter(|mail| mail.envelope.id <= upto);
            let due: Vec<&Mail> = due.collect();
            if self.mailbox.contradicts(&due, seen)? {
                return Ok(true);
            }
            if page.through <= at.id {
                break;
            }
            at = Mark {
                id: page.through,
                n: Some(page.n),
            };
        }
        Ok(false)
    }

    /// Returns the fetched mails that were here before the server went back: whoever was told of them then is
    /// not told again.
    pub(super) fn known_of(&self, mails: &[Mail]) -> Result<BTreeSet<MailId>, ClientError> {
        if self.turns == 0 {
            return Ok(BTreeSet::new());
        }
        let mut known: BTreeSet<MailId> = mails.iter().map(|mail| mail.envelope.id).collect();
        for news in self.mailbox.not_here(&mails.iter().collect::<Vec<_>>())? {
            known.remove(&news.envelope.id);
        }
        Ok(known)
    }
}

/// What becomes of an acknowledgement when the server went back on its way: its ids mean other mails now.
pub(super) fn ack_of_before() -> ClientError {
    ClientError::Malformed {
        verb: "ack",
        what: "the server went back meanwhile".to_owned(),
    }
}
