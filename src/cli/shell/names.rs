//! Names heard of, most recently first: what Tab offers, also in later sessions.
//!
//! They lie in the account's folder, a line each with the mark of its kind, and say nothing of what was written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::untrusted::is_active;

/// Names remembered; the one not heard of for longest goes.
const NAMES_MAX: usize = 256;

/// Whose name it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A user's.
    User,
    /// A topic's.
    Topic,
}

impl Kind {
    fn mark(self) -> char {
        match self {
            Self::User => '#',
            Self::Topic => '!',
        }
    }

    fn of(mark: char) -> Option<Self> {
        [Self::User, Self::Topic]
            .into_iter()
            .find(|kind| kind.mark() == mark)
    }
}

/// The names, most recently heard first.
#[derive(Debug, Default)]
pub(crate) struct Names {
    heard: Vec<(Kind, String)>,
    file: Option<PathBuf>,
    is_new: bool,
}

impl Names {
    /// Reads what earlier sessions heard; what is no name there is passed over.
    pub(crate) fn of(folder: &Path) -> Self {
        let file = folder.join("heard");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let heard = text.lines().filter_map(read).take(NAMES_MAX).collect();
        Self {
            heard,
            file: Some(file),
            is_new: false,
        }
    }

    /// Notes that a name was heard just now. One that could act is of no use at a prompt.
    pub(crate) fn hear(&mut self, kind: Kind, name: &str) {
        if name.is_empty() || name.contains(is_active) || name.contains(char::is_whitespace) {
            return;
        }
        let heard = (kind, name.to_owned());
        if self.heard.first() == Some(&heard) {
            return;
        }
        self.heard.retain(|known| *known != heard);
        self.heard.truncate(NAMES_MAX - 1);
        self.heard.insert(0, heard);
        self.is_new = true;
    }

    /// Returns the names of users, or of all.
    pub(crate) fn recent(&self, only: Option<Kind>) -> Vec<String> {
        let fits = |kind: Kind| only.is_none_or(|only| only == kind);
        let names = self.heard.iter().filter(|(kind, _)| fits(*kind));
        names.map(|(_, name)| name.clone()).collect()
    }

    /// Keeps the names for later sessions, where there are new ones. Without it Tab offers fewer.
    pub(crate) fn keep(&mut self) {
        if !std::mem::take(&mut self.is_new) {
            return;
        }
        if let Some(file) = &self.file {
            drop(self.write(file));
        }
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        let beside = file.with_extension(std::process::id().to_string());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let lines = self.heard.iter();
        let lines = lines.map(|(kind, name)| [String::from(kind.mark()), name.clone()].concat());
        let lines = lines.collect::<Vec<_>>().join("\n");
        options.open(&beside)?.write_all(lines.as_bytes())?;
        fs::rename(&beside, file)
    }
}

fn read(line: &str) -> Option<(Kind, String)> {
    let kind = Kind::of(line.chars().next()?)?;
    let name = &line[1..];
    let is_name = !name.is_empty() && !name.contains(is_active);
    is_name.then(|| (kind, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_come_first_in_later_sessions_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut names = Names::of(folder.path());
        for name in ["ana", "bob", "ana", "e\u{1b}ve", "two words", ""] {
            names.hear(Kind::User, name);
        }
        names.hear(Kind::Topic, "news");
        names.keep();
        let again = Names::of(folder.path());
        assert_eq!(again.recent(None), ["news", "ana", "bob"]);
        assert_eq!(again.recent(Some(Kind::User)), ["ana", "bob"]);
    }

    #[test]
    fn they_are_bounded_and_a_damaged_file_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("heard"), "#\n?x\n\n#b\u{1b}\n#ok\n").unwrap();
        let mut names = Names::of(folder.path());
        assert_eq!(names.recent(None), ["ok"]);
        (0..1_000).for_each(|n| names.hear(Kind::User, &format!("u{n}")));
        assert_eq!(names.recent(None).len(), NAMES_MAX);
        assert_eq!(names.recent(None)[0], "u999");
    }
}
