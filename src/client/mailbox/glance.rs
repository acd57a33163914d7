//! The mailbox at a glance: who and what was heard of lately, what lies there. Bodies are not read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Flags, Mailbox, mime, parse_name};
use crate::client::files::{self, FileError, failed};
use crate::protocol::reply::Envelope;

/// No header that we write is longer: names and subjects have limits (`limits.rs`).
const HEADER_BYTES_MAX: u64 = 64 * 1024;

/// What lies in the mailbox's folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// Mails.
    pub mails: u64,
    /// Of them, those that were not shown.
    pub unseen: u64,
    /// Files of others in `new/` and `cur/`.
    pub strangers: u64,
    /// Files in `tmp/`.
    pub unfinished: u64,
}

impl Mailbox {
    /// Counts what lies in the folders.
    pub fn survey(&self) -> Result<Survey, FileError> {
        let names = |folder| files::names(&self.mail.join(folder));
        let mut survey = Survey {
            unseen: self.unseen()?.len() as u64,
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
        drop(files::write_synced(&path, &[b"trial\n"])?);
        files::remove(&path)
    }

    /// Returns the envelopes of the `count` newest mails that are here, newest first. Files that cannot be
    /// read are left out.
    pub fn newest(&self, count: usize) -> Result<Vec<Envelope>, FileError> {
        let marks = self.read_marks()?;
        let mut files = self.files()?;
        files.retain(|kept| marks.counts(&kept.name) && !kept.flags.has(Flags::TRASHED));
        files.sort_unstable_by_key(|kept| std::cmp::Reverse(kept.name));
        files.dedup_by_key(|kept| kept.name);
        let newest = files.iter().take(count);
        Ok(newest
            .filter_map(|kept| envelope(&kept.path).ok()?)
            .collect())
    }
}

fn envelope(path: &Path) -> Result<Option<Envelope>, FileError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed("open", path))?;
    let mut header = file.take(HEADER_BYTES_MAX);
    header
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    Ok(mime::parse_envelope(&bytes))
}
