//! The mailbox at a glance: what lies there, and whether more could.

use std::io::ErrorKind;

use super::{Flags, Kept, Mailbox, parse_name, read_envelope};
use crate::client::files::{self, FileError};

/// What lies in the mailbox's folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// Mails.
    pub mails: u64,
    /// Of them, those that were not shown.
    pub unseen: u64,
    /// Of the unseen, those that cannot be read.
    pub damaged: u64,
    /// Files of others in `new/` and `cur/`.
    pub strangers: u64,
    /// Files in `tmp/`.
    pub unfinished: u64,
}

impl Mailbox {
    /// Counts what lies in the folders.
    pub fn survey(&self) -> Result<Survey, FileError> {
        let names = |folder| files::names(&self.mail.join(folder));
        let marks = self.read_marks()?;
        let mut unseen = self.named(Flags::is_unseen)?;
        unseen.retain(|kept| marks.counts(&kept.name));
        unseen.sort_unstable_by_key(|kept| kept.name);
        unseen.dedup_by_key(|kept| kept.name);
        // What another process moved meanwhile is not damaged.
        let is_damaged = |kept: &&Kept| match read_envelope(&kept.path) {
            Ok(read) => read.is_none(),
            Err(error) => error.kind() != ErrorKind::NotFound,
        };
        let mut survey = Survey {
            unseen: unseen.len() as u64,
            damaged: unseen.iter().filter(is_damaged).count() as u64,
            unfinished: names("tmp")?.count() as u64,
            ..Survey::default()
        };
        for name in names("new")?.chain(names("cur")?) {
            match parse_name(&name) {
                Some(_) => survey.mails += 1,
                None => survey.strangers += 1,
            }
        }
        Ok(survey)
    }

    /// Makes sure that a mail could be stored, and leaves nothing behind.
    pub fn try_to_write(&self) -> Result<(), FileError> {
        let path = self
            .mail
            .join("tmp")
            .join(format!("trial.{}", std::process::id()));
        let written = files::write_synced(&path, &[b"trial\n"]).map(drop);
        let removed = files::remove(&path);
        written.and(removed)
    }
}
