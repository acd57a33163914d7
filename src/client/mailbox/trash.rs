//! The trash: mails flagged `T`, as mutt with `maildir_trash` and notmuch flag them. They stay where they are until they are
//! purged, are shown to nobody, and count as received.
//!
//! `undo.json` holds what was thrown away together, newest last; it is written before a file is touched, so that
//! a crash in the middle leaves nothing that cannot be taken back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::flags::Flags;
use super::held::{Held, Key};
use super::{Called, Mailbox};
use crate::client::files::{self, FileError};
use crate::client::search::kept;

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
    /// Moves mails to the trash, which [`Mailbox::untrash`] takes back; `at` is now.
    pub fn trash(&self, mails: &[Held], at: &str) -> Result<(), FileError> {
        let _lock = self.lock()?;
        let mut steps = self.read_steps()?;
        steps.steps.push(Step {
            at: at.to_owned(),
            mails: mails.iter().map(|held| held.key.text()).collect(),
        });
        let old = steps.steps.len().saturating_sub(STEPS_MAX);
        steps.steps.drain(..old);
        self.write_steps(&steps)?;
        for held in mails {
            self.flag(&held.key, |flags| flags.with(Flags::TRASHED))?;
        }
        self.sync_shown()
    }

    /// Returns when the mails were thrown away that [`Mailbox::untrash`] would take back.
    pub fn last_trashed(&self) -> Result<Option<String>, FileError> {
        Ok(self.read_steps()?.steps.pop().map(|step| step.at))
    }

    /// Takes the last mails that were thrown away out of the trash. Returns them; none when there is nothing
    /// to take back.
    pub fn untrash(&self) -> Result<Vec<Called>, FileError> {
        let _lock = self.lock()?;
        let mut steps = self.read_steps()?;
        let mut back = Vec::new();
        while back.is_empty() {
            let Some(step) = steps.steps.pop() else {
                break;
            };
            for key in step.mails.iter().filter_map(|text| Key::parse(text)) {
                let held = self.find_key(&key)?;
                let Some(held) = held.filter(|held| held.flags.has(Flags::TRASHED)) else {
                    continue;
                };
                self.flag(&key, |flags| flags.without(Flags::TRASHED))?;
                back.push(held.called().clone());
            }
        }
        self.sync_shown()?;
        self.write_steps(&steps)?;
        Ok(back)
    }

    /// Removes mails for good, whether they are in the trash or not.
    pub fn purge(&self, mails: &[Held]) -> Result<(), FileError> {
        let _lock = self.lock()?;
        for held in mails {
            // Its flags may be others by now.
            if let Some(held) = self.find_key(&held.key)? {
                files::remove(&held.path)?;
            }
        }
        kept::forget(&self.search_folder());
        self.sync_shown()
    }

    /// Returns the mails in the trash.
    pub fn trashed(&self) -> Result<Vec<Held>, FileError> {
        let mut held = self.held()?;
        held.retain(|held| held.flags.has(Flags::TRASHED));
        held.sort_unstable_by(|a, b| a.called().cmp(b.called()));
        Ok(held)
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
