//! How many mails nobody has seen yet, per address: what lies in the mailbox and what still lies at the
//! server. Fetches, marks and acknowledges nothing.

use std::collections::BTreeMap;

use super::Session;
use crate::client::error::ClientError;
use crate::client::files::FileError;
use crate::client::mailbox::{Mailbox, Mark};
use crate::protocol::reply::LogInfo;

/// Unseen mails by address; no address with none.
pub type Unread = BTreeMap<String, u64>;

/// Counts what lies in a mailbox, without a server.
pub fn unread_here(mailbox: &Mailbox) -> Result<Unread, FileError> {
    let addresses = mailbox.addresses()?;
    let mut unread = Unread::new();
    for (_, log) in mailbox.unseen()? {
        let address = addresses.get(&log).cloned().unwrap_or_default();
        *unread.entry(address).or_default() += 1;
    }
    Ok(unread)
}

impl Session {
    /// Counts what is unseen, here and at the server. Mails that expired there count until a refresh tells of
    /// them.
    pub fn unread(&self) -> Result<Unread, ClientError> {
        let mut unread = unread_here(&self.mailbox)?;
        let marks = self.mailbox.marks()?;
        for info in self.logs() {
            let known = marks.get(&info.log).filter(|_| !self.is_astray);
            let there = beyond(info, known);
            if there > 0 {
                *unread.entry(info.address.clone()).or_default() += there;
            }
        }
        Ok(unread)
    }
}

/// Returns how many of a log's mails lie past this device's mark, which may be ahead of the cursor that the
/// server knows, never behind what it counts.
fn beyond(info: &LogInfo, mark: Option<&Mark>) -> u64 {
    let waiting = info.waiting;
    match mark {
        Some(mark) if mark.id >= info.head => 0,
        Some(Mark { n: Some(n), .. }) => (info.n + waiting).saturating_sub(*n).min(waiting),
        _ => waiting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of twelve mails whose ids are 10, 20 ..., of which the server knows five to be acknowledged.
    fn info() -> LogInfo {
        LogInfo {
            log: 1,
            address: "news".to_owned(),
            kind: "topic".to_owned(),
            key: String::new(),
            head: 120,
            cursor: 50,
            n: 5,
            waiting: 7,
        }
    }

    fn at(id: u64, n: Option<u64>) -> Mark {
        Mark { id, n }
    }

    #[test]
    fn what_is_here_is_not_counted_at_the_server_too() {
        assert_eq!(beyond(&info(), None), 7);
        assert_eq!(beyond(&info(), Some(&at(50, Some(5)))), 7);
        assert_eq!(
            beyond(&info(), Some(&at(90, Some(9)))),
            3,
            "not acknowledged yet"
        );
        assert_eq!(
            beyond(&info(), Some(&at(90, None))),
            7,
            "unknown counts as all"
        );
        assert_eq!(beyond(&info(), Some(&at(120, None))), 0);
        assert_eq!(
            beyond(&info(), Some(&at(20, Some(2)))),
            7,
            "rewound here only"
        );
    }
}
