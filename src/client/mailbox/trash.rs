//! The trash: mails flagged `T`, as mutt with `maildir_trash` and notmuch flag them. They stay where they are until they are
//! purged, are shown to nobody, and count as received.
//!
//! `undo.json` holds what was thrown away together, newest last; it is written before a file is touched, so that
//! a crash in the middle leaves nothing that cannot be taken back.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::flags::{Flags, flagged, parted};
use super::{Kept, Mailbox, Name, RENAMES_MET_MAX, name_of, parse_name};
use crate::client::files::{self, FileError, failed};
use crate::protocol::MailId;

/// How many deeds can be taken back, one after the other.
const STEPS_MAX: usize = 100;

/// Mails that were thrown away together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    /// When, by this machine's clock.
    at: String,
    mails: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Steps {
    v: u32,
    steps: Vec<Step>,
}

impl Mailbox {
    /// Moves mails to the trash, which [`Mailbox::untrash`] takes back. Returns those that are not here (or in the trash
    /// already): if there are any, nothing is done.
    pub fn trash(&self, ids: &[MailId], at: &str) -> Result<Vec<MailId>, FileError> {
        let _lock = self.lock()?;
        let (found, missing) = self.chosen(ids, |kept| !kept.flags.has(Flags::TRASHED))?;
        if !missing.is_empty() || found.is_empty() {
            return Ok(missing);
        }
        let step = Step {
            at: at.to_owned(),
            mails: found.iter().map(|kept| name_of(kept.name)).collect(),
        };
        let mut steps = self.read_steps()?;
        steps.steps.push(step);
        let old = steps.steps.len().saturating_sub(STEPS_MAX);
        steps.steps.drain(..old);
        self.write_steps(&steps)?;
        for kept in &found {
            self.flag(kept.name, |flags| flags.with(Flags::TRASHED))?;
        }
        self.sync_shown()?;
        Ok(missing)
    }

    /// Returns when the mails were thrown away that [`Mailbox::untrash`] would take back.
    pub fn last_trashed(&self) -> Result<Option<String>, FileError> {
        Ok(self.read_steps()?.steps.pop().map(|step| step.at))
    }

    /// Takes the last mails that were thrown away out of the trash. Returns them; none when there is nothing
    /// to take back.
    pub fn untrash(&self) -> Result<Vec<MailId>, FileError> {
        let _lock = self.lock()?;
        let mut steps = self.read_steps()?;
        let mut back = Vec::new();
        while back.is_empty() {
            let Some(step) = steps.steps.pop() else {
                break;
            };
            for name in step.mails.iter().filter_map(|name| parse_name(name)) {
                let is_trashed = |kept: &Kept| kept.flags.has(Flags::TRASHED);
                if self.find(name)?.is_some_and(|kept| is_trashed(&kept)) {
                    self.flag(name, |flags| flags.without(Flags::TRASHED))?;
                    back.push(name.id);
                }
            }
        }
        self.sync_shown()?;
        self.write_steps(&steps)?;
        Ok(back)
    }

    /// Removes mails for good, whether they are in the trash or not. Returns those that are not here: if
    /// there are any, nothing is done.
    pub fn purge(&self, ids: &[MailId]) -> Result<Vec<MailId>, FileError> {
        let _lock = self.lock()?;
        let (found, missing) = self.chosen(ids, |_| true)?;
        if missing.is_empty() {
            self.remove(&found)?;
        }
        Ok(missing)
    }

    /// Returns the mails in the trash, by id.
    pub fn trashed(&self) -> Result<Vec<MailId>, FileError> {
        let marks = self.read_marks()?;
        let mut here = self.files()?;
        here.retain(|kept| kept.flags.has(Flags::TRASHED) && marks.counts(&kept.name));
        here.sort_unstable_by_key(|kept| kept.name);
        Ok(here.iter().map(|kept| kept.name.id).collect())
    }

    /// Changes the flags of a mail. One that other programs removed meanwhile stays so.
    pub(super) fn flag(
        &self,
        name: Name,
        change: impl Fn(Flags) -> Flags,
    ) -> Result<(), FileError> {
        for _ in 0..RENAMES_MET_MAX {
            let Some(kept) = self.find(name)? else {
                break;
            };
            let file = kept.path.file_name().unwrap_or_default().to_string_lossy();
            let to = self
                .mail
                .join("cur")
                .join(flagged(parted(&file).0, change(kept.flags)));
            match fs::rename(&kept.path, &to) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                renamed => return renamed.map_err(failed("move", &kept.path)),
            }
        }
        Ok(())
    }

    /// Returns the files of some mails, and those mails that have none. Of two with one id it is the later one, as
    /// in [`Mailbox::get`].
    fn chosen(
        &self,
        ids: &[MailId],
        may_be: impl Fn(&Kept) -> bool,
    ) -> Result<(Vec<Kept>, Vec<MailId>), FileError> {
        let marks = self.read_marks()?;
        let here = self.files()?;
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for id in ids {
            let all = here.iter().filter(|kept| kept.name.id == *id);
            let fit = all.filter(|kept| marks.counts(&kept.name) && may_be(kept));
            match fit.max_by_key(|kept| kept.name) {
                Some(kept) => found.push(kept.clone()),
                None => missing.push(*id),
            }
        }
        Ok((found, missing))
    }

    fn remove(&self, found: &[Kept]) -> Result<(), FileError> {
        found
            .iter()
            .try_for_each(|kept| files::remove(&kept.path))?;
        self.sync_shown()
    }

    fn steps_path(&self) -> PathBuf {
        self.account.join("undo.json")
    }

    fn read_steps(&self) -> Result<Steps, FileError> {
        Ok(files::read_json(&self.steps_path())?.unwrap_or(Steps {
            v: 1,
            steps: Vec::new(),
        }))
    }

    fn write_steps(&self, steps: &Steps) -> Result<(), FileError> {
        files::replace_json(&self.steps_path(), steps)
    }
}
