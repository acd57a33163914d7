//! Every mail that is here, received or imported, and what each is called.
//!
//! ```text
//! mail/.Imported/cur/<sum>.import:2,S        imported; a second copy from the same source: <sum>-0002.import
//! ```
//! Imported mail lives in a Maildir of its own, so that no mark, acknowledgement or check of the server ever meets it.
//! Its file is the message, byte for byte, and is called by its sum: what is here already is known by its name alone.

use std::fmt::{self, Display};
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use super::flags::{Flags, flagged, parted};
use super::{Kept, Mail, Mailbox, Name, RENAMES_MET_MAX, USUAL, name_of, parse_name, read_mail};
use crate::client::files::{self, FileError, failed};
use crate::client::message;
use crate::protocol::MailId;
use crate::protocol::reply::Envelope;

/// The folder of imported mail.
const IMPORTED: &str = ".Imported";

/// What files of imported mail end in.
const ENDING: &str = ".import";

/// Hexadecimal digits of a sum.
pub(super) const SUM_DIGITS: usize = 32;

/// Digits by which an imported mail is called: one in a million mailboxes of 100,000 has two of one name.
const CALLED_DIGITS: usize = 10;

/// Digits that must at least be given.
const GIVEN_DIGITS_MIN: usize = 4;

/// What a mail of the mailbox is called: its number, or `i` and the beginning of an imported mail's sum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Called {
    /// An imported mail: the digits that are given, and which of its copies.
    Imported(String, u32),
    /// A received mail.
    Number(MailId),
}

/// A text is no mail's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a mail is called by its number, or by the `i` and at least {GIVEN_DIGITS_MIN} digits of an imported one"
)]
pub struct NotCalled;

impl FromStr for Called {
    type Err = NotCalled;

    fn from_str(text: &str) -> Result<Self, NotCalled> {
        let Some(digits) = text.strip_prefix('i') else {
            return text.parse().map(Self::Number).map_err(|_| NotCalled);
        };
        let (digits, copy) = digits.split_once('-').unwrap_or((digits, "1"));
        let is_sum = (GIVEN_DIGITS_MIN..=SUM_DIGITS).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let copy = copy.parse().map_err(|_| NotCalled)?;
        if !is_sum || copy == 0 {
            return Err(NotCalled);
        }
        Ok(Self::Imported(digits.to_ascii_lowercase(), copy))
    }
}

impl Display for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => write!(f, "{id}"),
            Self::Imported(digits, 1) => write!(f, "i{digits}"),
            Self::Imported(digits, copy) => write!(f, "i{digits}-{copy}"),
        }
    }
}

/// What a file of the mailbox is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Received(Name),
    Imported(Sum),
}

/// An imported mail: its sum, and which of the copies that one source had.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Sum {
    pub(super) digits: String,
    pub(super) copy: u32,
}

/// A mail that is here.
#[derive(Debug, Clone)]
pub struct Held {
    called: Called,
    pub(super) key: Key,
    pub(super) path: PathBuf,
    pub(super) flags: Flags,
}

impl Held {
    fn new(key: Key, path: PathBuf, flags: Flags) -> Self {
        let called = match &key {
            Key::Received(name) => Called::Number(name.id),
            Key::Imported(sum) => {
                Called::Imported(sum.digits[..CALLED_DIGITS].to_owned(), sum.copy)
            }
        };
        Self {
            called,
            key,
            path,
            flags,
        }
    }

    /// Returns what it is called.
    pub fn called(&self) -> &Called {
        &self.called
    }

    /// Returns its flags.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Returns what it is known by, whatever its flags.
    pub(in crate::client) fn key_text(&self) -> String {
        self.key.text()
    }

    /// Returns what the system says of its file; nothing when that is gone or renamed.
    pub(in crate::client) fn metadata(&self) -> Option<fs::Metadata> {
        fs::metadata(&self.path).ok()
    }

    /// Returns its file's name.
    #[cfg(test)]
    pub(in crate::client) fn file_name(&self) -> String {
        self.path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }

    /// Says whether it was imported.
    pub fn is_imported(&self) -> bool {
        matches!(self.key, Key::Imported(_))
    }
}

impl From<Kept> for Held {
    fn from(kept: Kept) -> Self {
        Self::new(Key::Received(kept.name), kept.path, kept.flags)
    }
}

impl Mailbox {
    /// Returns every mail that is here, those in the trash included, in no order.
    pub fn held(&self) -> Result<Vec<Held>, FileError> {
        let marks = self.read_marks()?;
        let mut received = self.files()?;
        received.retain(|kept| marks.counts(&kept.name));
        received.sort_unstable_by_key(|kept| kept.name);
        received.dedup_by_key(|kept| kept.name);
        let mut held: Vec<Held> = received.into_iter().map(Held::from).collect();
        held.extend(self.imported()?);
        Ok(held)
    }

    /// Returns the mails that are called so, those in the trash included: of two with one number the later one; several
    /// imported ones when what is given does not tell them apart.
    pub fn those_called(&self, called: &Called) -> Result<Vec<Held>, FileError> {
        match called {
            Called::Number(id) => {
                let mut held = self.numbered(*id)?;
                // It may be the number of a copy that went to somebody else.
                if let (None, Some(mail)) = (&held, self.called(*id)?) {
                    held = self.numbered(mail.envelope.id)?;
                }
                Ok(held.into_iter().collect())
            }
            Called::Imported(digits, copy) => {
                let mut here = self.imported()?;
                here.retain(|held| match &held.key {
                    Key::Imported(sum) => sum.digits.starts_with(digits) && sum.copy == *copy,
                    Key::Received(_) => false,
                });
                Ok(here)
            }
        }
    }

    /// Returns the number of the mail that has this Message-ID in the Maildir, if that is one that was given here.
    pub fn number_of(&self, message_id: &str) -> Option<MailId> {
        let bare = message_id
            .trim()
            .trim_start_matches('<')
            .trim_end_matches('>');
        let (number, server) = bare.split_once('@')?;
        let round = server.strip_prefix(&self.server)?;
        let is_ours = round.is_empty() || round.starts_with('.');
        is_ours.then(|| number.parse().ok()).flatten()
    }

    fn numbered(&self, id: MailId) -> Result<Option<Held>, FileError> {
        let marks = self.read_marks()?;
        let mut here = self.files()?;
        here.retain(|kept| kept.name.id == id && marks.counts(&kept.name));
        Ok(here
            .into_iter()
            .max_by_key(|kept| kept.name)
            .map(Held::from))
    }

    /// Reads a mail that is here. Who an imported one is from is what it says itself.
    pub fn read(&self, held: &Held) -> Result<Mail, FileError> {
        let read = |held: &Held| match held.key {
            Key::Received(_) => read_mail(&held.path),
            Key::Imported(_) => {
                let bytes = fs::read(&held.path).map_err(failed("read", &held.path))?;
                Ok(imported_mail(bytes))
            }
        };
        match read(held) {
            Err(error) if error.is_missing() => match self.find_key(&held.key)? {
                Some(moved) => read(&moved),
                None => Err(error),
            },
            read => read,
        }
    }

    /// Returns the imported mails.
    pub(super) fn imported(&self) -> Result<Vec<Held>, FileError> {
        let mut here = Vec::new();
        for part in ["new", "cur"] {
            let folder = self.mail.join(IMPORTED).join(part);
            if !folder.is_dir() {
                continue;
            }
            let held = |file: String| {
                let (base, flags) = parted(&file);
                let key = Key::Imported(parse_sum(base)?);
                Some(Held::new(key, folder.join(&file), flags))
            };
            here.extend(files::names(&folder)?.filter_map(held));
        }
        Ok(here)
    }

    /// Returns the folder of imported mail, or one below it.
    pub(super) fn imported_folder(&self, part: &str) -> PathBuf {
        self.mail.join(IMPORTED).join(part)
    }

    /// Finds the file that is known by this, whatever its flags.
    pub(super) fn find_key(&self, key: &Key) -> Result<Option<Held>, FileError> {
        let sum = match key {
            Key::Received(name) => return Ok(self.find(*name)?.map(Held::from)),
            Key::Imported(sum) => sum,
        };
        let cur = self.imported_folder("cur");
        for flags in USUAL.map(Flags::parse) {
            let path = cur.join(flagged(&sum_name(sum), flags));
            if path.exists() {
                return Ok(Some(Held::new(key.clone(), path, flags)));
            }
        }
        Ok(self.imported()?.into_iter().find(|held| held.key == *key))
    }

    /// Changes the flags of a mail. One that other programs removed meanwhile stays so.
    pub(super) fn flag(&self, key: &Key, change: impl Fn(Flags) -> Flags) -> Result<(), FileError> {
        let cur = match key {
            Key::Received(_) => self.mail.join("cur"),
            Key::Imported(_) => self.imported_folder("cur"),
        };
        for _ in 0..RENAMES_MET_MAX {
            let Some(held) = self.find_key(key)? else {
                break;
            };
            let file = held.path.file_name().unwrap_or_default().to_string_lossy();
            let to = cur.join(flagged(parted(&file).0, change(held.flags)));
            match fs::rename(&held.path, &to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                renamed => return renamed.map_err(failed("move", &held.path)),
            }
        }
        Ok(())
    }
}

/// Makes a mail of a message: whole, with what it says of itself.
fn imported_mail(message: Vec<u8>) -> Mail {
    let told = message::summary(&message);
    Mail {
        log: 0,
        envelope: Envelope {
            address: "imported".to_owned(),
            from: told.from,
            to: told.to,
            subject: told.subject,
            sent_at: told.sent_at,
            content_type: message::TYPE.to_owned(),
            size: message.len() as u64,
            frames: 1,
            ..Envelope::default()
        },
        body: message,
    }
}

impl Key {
    /// Returns it as a text that [`Key::parse`] reads.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Received(name) => name_of(*name),
            Self::Imported(sum) => sum_name(sum),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let received = || parse_name(text).map(Self::Received);
        parse_sum(text).map(Self::Imported).or_else(received)
    }
}

/// Returns an imported mail's file name, without flags.
pub(super) fn sum_name(sum: &Sum) -> String {
    match sum.copy {
        1 => format!("{}{ENDING}", sum.digits),
        // So that copies sort as they came.
        copy => format!("{}-{copy:04}{ENDING}", sum.digits),
    }
}

fn parse_sum(base: &str) -> Option<Sum> {
    let base = base.split_once(',').map_or(base, |(base, _fields)| base);
    let sum = base.strip_suffix(ENDING)?;
    let (digits, copy) = sum.split_once('-').unwrap_or((sum, "1"));
    let is_sum = digits.len() == SUM_DIGITS
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let copy = copy.parse().ok().filter(|copy| *copy > 0)?;
    is_sum.then(|| Sum {
        digits: digits.to_owned(),
        copy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mails_are_called_by_numbers_and_sums() {
        assert_eq!("42".parse(), Ok(Called::Number(42)));
        let called: Called = "i3F2a9c-2".parse().unwrap();
        assert_eq!(called, Called::Imported("3f2a9c".to_owned(), 2));
        assert_eq!(called.to_string(), "i3f2a9c-2");
        for text in [
            "", "i", "i3f2", "ixyzw", "x", "-1", "i3f2a-0", "i3f2a-", "3f2a9c",
        ] {
            let read = text.parse::<Called>();
            assert_eq!(read, Err(NotCalled), "{text}");
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let digits = "0123456789abcdef".repeat(2);
        for copy in [1, 7] {
            let key = Key::Imported(Sum {
                digits: digits.clone(),
                copy,
            });
            assert_eq!(Key::parse(&key.text()), Some(key));
        }
        assert!(matches!(
            Key::parse("0000000000000042.7.mail"),
            Some(Key::Received(_))
        ));
        assert_eq!(Key::parse("0123.import"), None);
    }
}
