//! Topics whose mail is kept and not announced at this device. `muted.json` in the account's folder; the
//! server knows nothing of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::files::{self, FileError};
use crate::protocol::names::Pattern;

/// An account's muted topics.
#[derive(Debug, Clone)]
pub struct Muted {
    folder: PathBuf,
}

impl Muted {
    /// Returns those of the account in `folder`.
    pub(super) fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Returns them, prefixes (`lab/*`) as they were muted.
    pub fn list(&self) -> Result<BTreeSet<String>, FileError> {
        Ok(files::read_json(&self.path())?.unwrap_or_default())
    }

    /// Mutes a topic or prefix, or ends that. Returns whether it changed anything.
    pub fn set(&self, topic: &Pattern, muted: bool) -> Result<bool, FileError> {
        let _lock = files::lock(&self.folder.join("muted.lock"))?;
        let mut all = self.list()?;
        let changed = if muted {
            all.insert(topic.as_str().to_owned())
        } else {
            all.remove(topic.as_str())
        };
        if changed {
            files::replace_json(&self.path(), &all)?;
        }
        Ok(changed)
    }

    /// Moves a list that cannot be read aside; returns where it is then.
    pub(super) fn set_garbage_aside(&self) -> Result<Option<PathBuf>, FileError> {
        let _lock = files::lock(&self.folder.join("muted.lock"))?;
        files::set_garbage_aside::<BTreeSet<String>>(&self.path())
    }

    /// Says whether mail to `address` is not announced, as of now. A list that cannot be read mutes nothing.
    pub fn covers(&self, address: &str) -> bool {
        self.read().cover(address)
    }

    /// Reads them, to ask of many addresses.
    pub fn read(&self) -> Patterns {
        let all = self.list().unwrap_or_default();
        let parsed = all.iter().filter_map(|topic| Pattern::parse(topic).ok());
        Patterns(parsed.collect())
    }

    fn path(&self) -> PathBuf {
        self.folder.join("muted.json")
    }
}

/// An account's muted topics as they were when they were read.
#[derive(Debug, Clone)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Says whether mail to `address` is not announced.
    pub fn cover(&self, address: &str) -> bool {
        self.0.iter().any(|topic| topic.matches(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_muted_is_remembered_and_a_prefix_covers_what_is_below() {
        let folder = tempfile::tempdir().unwrap();
        let muted = Muted::at(folder.path());
        let topic = |name| Pattern::parse(name).unwrap();
        assert!(!muted.covers("news"));
        assert!(muted.set(&topic("news"), true).unwrap());
        assert!(!muted.set(&topic("news"), true).unwrap());
        assert!(muted.set(&topic("lab/*"), true).unwrap());
        let again = Muted::at(folder.path());
        assert!(again.covers("news") && again.covers("lab/printer"));
        assert!(!again.covers("lab") && !again.covers("newsroom"));
        assert!(again.set(&topic("news"), false).unwrap());
        assert!(!muted.covers("news"));
    }
}
