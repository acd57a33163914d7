//! Flags of mails as every Maildir program writes them: letters after `:2,` in a file's name.
//!
//! Other programs set and clear them by renaming the files; what they say holds here too. Letters that mean nothing
//! here (keywords of some programs) are kept as they are.

use std::fmt::{self, Display, Write};

/// Begins the flags in a file's name.
const BEFORE: &str = ":2,";

/// Flags of one mail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u64);

impl Flags {
    /// Starred by its reader.
    pub const FLAGGED: Self = Self::of(b'F');
    /// Sent on to somebody else.
    pub const PASSED: Self = Self::of(b'P');
    /// Answered.
    pub const REPLIED: Self = Self::of(b'R');
    /// Read.
    pub const SEEN: Self = Self::of(b'S');
    /// In the trash.
    pub const TRASHED: Self = Self::of(b'T');

    /// The flags that mean something here, and what each is called in results.
    pub const NAMED: [(Self, &'static str); 5] = [
        (Self::FLAGGED, "flagged"),
        (Self::PASSED, "passed"),
        (Self::REPLIED, "replied"),
        (Self::SEEN, "seen"),
        (Self::TRASHED, "trashed"),
    ];

    /// One letter's place; capitals come before the others, as in a file's name.
    const fn of(letter: u8) -> Self {
        match letter {
            b'A'..=b'Z' => Self(1 << (letter - b'A')),
            b'a'..=b'z' => Self(1 << (26 + letter - b'a')),
            _ => Self(0),
        }
    }

    /// Reads letters; what is none is left out.
    pub fn parse(letters: &str) -> Self {
        letters.bytes().map(Self::of).fold(Self(0), Self::with)
    }

    /// Says whether all of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Says whether nobody has read the mail and nobody has thrown it away.
    pub fn is_unseen(self) -> bool {
        !self.has(Self::SEEN) && !self.has(Self::TRASHED)
    }

    /// Returns these flags and others.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns these flags without others.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the words for those that mean something here.
    pub fn words(self) -> Vec<&'static str> {
        let named = Self::NAMED.iter().filter(|(flag, _)| self.has(*flag));
        named.map(|(_, word)| *word).collect()
    }
}

impl Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = (b'A'..=b'Z').chain(b'a'..=b'z');
        letters
            .filter(|letter| self.has(Self::of(*letter)))
            .try_for_each(|letter| f.write_char(char::from(letter)))
    }
}

/// Takes a file's name apart: what stays when flags change, and the flags.
pub(super) fn parted(file: &str) -> (&str, Flags) {
    match file.split_once(BEFORE) {
        Some((base, letters)) => (base, Flags::parse(letters)),
        None => (file.split(':').next().unwrap_or(file), Flags::default()),
    }
}

/// Returns a file's name in `cur/`.
pub(super) fn flagged(base: &str, flags: Flags) -> String {
    format!("{base}{BEFORE}{flags}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_kept_in_order_and_once() {
        let (base, flags) = parted("1.2.mail:2,TaSFS");
        assert_eq!(base, "1.2.mail");
        assert_eq!(flagged(base, flags), "1.2.mail:2,FSTa");
        let read = flags.without(Flags::TRASHED).with(Flags::REPLIED);
        assert_eq!(read.to_string(), "FRSa");
        assert_eq!(read.words(), ["flagged", "replied", "seen"]);
    }

    #[test]
    fn a_mail_without_flags_is_unseen() {
        for name in ["1.2.mail", "1.2.mail:2,", "1.2.mail:1,x", "1.2.mail:2,F"] {
            assert!(parted(name).1.is_unseen(), "{name}");
        }
        for name in ["1.2.mail:2,S", "1.2.mail:2,T", "1.2.mail:2,FRS"] {
            assert!(!parted(name).1.is_unseen(), "{name}");
        }
    }
}
