//! Which lines of a chat this device has shown, so that it shows none of them a second time.
//!
//! A line that its sender saw no acknowledgement for goes out again as a mail that names chat and seq.
//! It may have been shown all the same: the acknowledgement was lost, or one of the two died just then.
//! So there is a small file a chat, written right after a line was printed and before it is
//! acknowledged, and who shows mail asks [`Shown::covers`] first.
//!
//! ```text
//! shown/<chat>      8 bytes: the highest seq shown, big-endian; then the other side's name
//! ```
//! No sync: it guards against the death of a process, and a power cut at worst shows a line twice. This
//! module knows no sockets; [`crate::chat`] has the lines.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{self, FileError, failed};
use crate::protocol::reply::Envelope;

/// How long a mark is kept: a mail of the chat may wait in an outbox meanwhile.
const KEPT: Duration = Duration::from_hours(30 * 24);

const SEQ_BYTES: usize = 8;

/// The marks of one account.
#[derive(Debug, Clone)]
pub struct Shown {
    folder: PathBuf,
    user: String,
}

/// The mark of one chat under way.
#[derive(Debug)]
pub struct Mark {
    file: File,
    path: PathBuf,
    through: u64,
}

impl Shown {
    /// Returns the marks of a user below an account's folder.
    pub fn at(account: &Path, user: &str) -> Self {
        Self {
            folder: account.join("shown"),
            user: user.to_owned(),
        }
    }

    /// Says whether there is no mark at all: then no mail is covered.
    pub fn is_empty(&self) -> bool {
        files::names(&self.folder).is_ok_and(|mut names| names.next().is_none())
            || !self.folder.exists()
    }

    /// Opens the mark of a chat with `peer`, and removes those that are too old to matter.
    pub fn begin(&self, chat: &str, peer: &str) -> Result<Mark, FileError> {
        files::make_folder(&self.folder)?;
        let path = self.folder.join(chat);
        let through = seq_of(&path).unwrap_or(0);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("write", &path))?;
        let mut bytes = through.to_be_bytes().to_vec();
        bytes.extend_from_slice(peer.as_bytes());
        file.write_all_at(&bytes, 0)
            .and_then(|()| file.set_len(bytes.len() as u64))
            .map_err(failed("write", &path))?;
        self.remove_old(&file)?;
        Ok(Mark {
            file,
            path,
            through,
        })
    }

    /// Says whether a mail is a line of a chat that was shown here already.
    pub fn covers(&self, envelope: &Envelope) -> bool {
        let Some((chat, seq)) = parse_line_type(&envelope.content_type) else {
            return false;
        };
        let Ok(bytes) = fs::read(self.folder.join(chat)) else {
            return false;
        };
        let Some((through, peer)) = bytes.split_first_chunk() else {
            return false;
        };
        // Only the other side of that chat can name its lines, and they are for nobody else: what others
        // read too is kept from nobody.
        let is_between_us = peer == envelope.from.as_bytes()
            && envelope.address == self.user
            && envelope.to == [self.user.as_str()];
        is_between_us && seq <= u64::from_be_bytes(*through)
    }

    /// Removes what was last written long before `newest`.
    fn remove_old(&self, newest: &File) -> Result<(), FileError> {
        let Ok(now) = newest.metadata().and_then(|meta| meta.modified()) else {
            return Ok(());
        };
        for name in files::names(&self.folder)? {
            let path = self.folder.join(name);
            let written = fs::metadata(&path).and_then(|meta| meta.modified());
            let age = written.ok().and_then(|at| now.duration_since(at).ok());
            if age.is_some_and(|age| age > KEPT) {
                files::remove(&path)?;
            }
        }
        Ok(())
    }
}

impl Mark {
    /// Returns the highest seq that was shown.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Notes that everything up to `seq` was shown: printed, and flushed.
    pub fn show(&mut self, seq: u64) -> Result<(), FileError> {
        if seq <= self.through {
            return Ok(());
        }
        self.file
            .write_all_at(&seq.to_be_bytes(), 0)
            .map_err(failed("write", &self.path))?;
        self.through = seq;
        Ok(())
    }
}

/// Returns the content type of the mail that a line of a chat becomes.
pub fn line_type(chat: &str, seq: u64) -> String {
    format!("text/plain; charset=utf-8; chat={chat}; seq={seq}")
}

/// Returns chat and seq of a mail that was a line of a chat.
pub fn parse_line_type(content_type: &str) -> Option<(&str, u64)> {
    let mut parameters = content_type.split(';').skip(1).map(str::trim);
    let chat = parameters.clone().find_map(|one| one.strip_prefix("chat="));
    let seq = parameters.find_map(|one| one.strip_prefix("seq="))?;
    // It becomes the name of a file.
    let chat = chat.filter(|chat| chat.len() == 32 && chat.bytes().all(is_hex))?;
    Some((chat, seq.parse().ok().filter(|seq| *seq > 0)?))
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn seq_of(path: &Path) -> Option<u64> {
    let bytes = fs::read(path).ok()?;
    bytes
        .first_chunk::<SEQ_BYTES>()
        .map(|seq| u64::from_be_bytes(*seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = "00112233445566778899aabbccddeeff";

    fn envelope(from: &str, content_type: &str) -> Envelope {
        Envelope {
            id: 1,
            prev: 0,
            n: 1,
            address: "ana".into(),
            from: from.into(),
            to: vec!["ana".into()],
            subject: String::new(),
            sent_at: String::new(),
            expires_at: None,
            content_type: content_type.into(),
            size: 0,
            frames: 1,
            ..Envelope::default()
        }
    }

    fn shown() -> (tempfile::TempDir, Shown) {
        let folder = tempfile::tempdir().unwrap();
        let shown = Shown::at(folder.path(), "ana");
        (folder, shown)
    }

    #[test]
    fn what_was_shown_is_covered_and_nothing_else() {
        let (_folder, shown) = shown();
        assert!(shown.is_empty());
        let mut mark = shown.begin(CHAT, "bob").unwrap();
        assert!(!shown.is_empty());
        mark.show(3).unwrap();
        mark.show(2).unwrap(); // forward only
        let covers = |from, seq| shown.covers(&envelope(from, &line_type(CHAT, seq)));
        assert!(covers("bob", 1) && covers("bob", 3));
        assert!(!covers("bob", 4), "it was not shown");
        assert!(!covers("carol", 1), "the chat was not with carol");
        for (address, to) in [
            ("news", vec!["news"]),
            ("ana", vec!["ana", "carol"]),
            ("news", vec!["ana"]),
        ] {
            let others = Envelope {
                address: address.into(),
                to: to.into_iter().map(str::to_owned).collect(),
                ..envelope("bob", &line_type(CHAT, 1))
            };
            assert!(!shown.covers(&others), "others read it too: {others:?}");
        }
        let other = CHAT.replace('0', "f");
        assert!(!shown.covers(&envelope("bob", &line_type(&other, 1))));
        assert!(!shown.covers(&envelope("bob", "text/plain; charset=utf-8")));
    }

    #[test]
    fn a_mark_outlives_its_process() {
        let (_folder, shown) = shown();
        shown.begin(CHAT, "bob").unwrap().show(7).unwrap();
        let again = shown.begin(CHAT, "bob").unwrap();
        assert_eq!(again.through(), 7);
    }

    #[test]
    fn a_mark_cut_short_covers_nothing() {
        let (_folder, shown) = shown();
        fs::create_dir(&shown.folder).unwrap();
        for bytes in [&b""[..], b"\0\0", b"\0\0\0\0\0\0\0"] {
            fs::write(shown.folder.join(CHAT), bytes).unwrap();
            assert!(!shown.covers(&envelope("bob", &line_type(CHAT, 1))));
            assert_eq!(shown.begin(CHAT, "bob").unwrap().through(), 0);
        }
    }

    #[test]
    fn old_marks_go_when_a_new_one_comes() {
        let (_folder, shown) = shown();
        let old = shown.begin(CHAT, "bob").unwrap();
        let now = old.file.metadata().unwrap().modified().unwrap();
        let young = shown.begin(&CHAT.replace('0', "1"), "bob").unwrap();
        let days = |count: u64| Duration::from_hours(count * 24);
        old.file.set_modified(now - days(31)).unwrap();
        young.file.set_modified(now - days(29)).unwrap();
        drop(shown.begin(&CHAT.replace('0', "2"), "bob").unwrap());
        assert!(!old.path.exists() && young.path.exists());
    }

    #[test]
    fn p12_a_content_type_names_no_file_elsewhere() {
        for chat in ["../../../etc/passwd", "", "0", &CHAT.to_uppercase()] {
            assert_eq!(parse_line_type(&line_type(chat, 1)), None, "{chat}");
        }
        assert_eq!(parse_line_type(&line_type(CHAT, 9)), Some((CHAT, 9)));
        assert_eq!(parse_line_type(&line_type(CHAT, 0)), None);
        assert_eq!(
            parse_line_type(&format!("text/plain; chat={CHAT}; seq=-1")),
            None
        );
    }
}
