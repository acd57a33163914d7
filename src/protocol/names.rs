//! Names of users, topics and prefixes: parsed once, valid ever after.
//!
//! PRECIS `UsernameCaseMapped` (RFC 8265) level by level, 1 to 64 bytes, look-alikes of mixed
//! scripts refused (Unicode TS 39, single-script or "highly restrictive" sets only).

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_security::{MixedScript, RestrictionLevel, RestrictionLevelDetection};

use crate::limits::NAME_BYTES_MAX;

/// Words that `mailctl chat` uses itself, so nobody may be called so.
const RESERVED_USERS: [&str; 3] = ["requests", "accept", "decline"];

/// Stands as the sender of mails that the server itself writes. No user and no topic is ever called so, so nobody can
/// pass for it, and no answer to it goes anywhere.
pub const SERVER: &str = "*server*";

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing, or nothing between two slashes.
    #[error("a name (and each level between slashes) needs at least one character")]
    Empty,
    /// More than 64 bytes.
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A first character that the command line gives a meaning to.
    #[error("a name does not begin with {0:?}")]
    Begins(char),
    /// `/` in a user's name, or `*` anywhere but at the end of a prefix.
    #[error("{0:?} does not belong in this kind of name")]
    Misplaced(char),
    /// A character PRECIS keeps out of names (spaces, controls, symbols ...).
    #[error("it holds a character that names may not have")]
    Character,
    /// Letters of several scripts that look alike.
    #[error("it mixes scripts whose letters look alike")]
    Confusable,
    /// A word the command line needs.
    #[error("that word is reserved")]
    Reserved,
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
    };
}

name_type! {
    /// A user's name: one level, case-mapped.
    UserName
}
name_type! {
    /// What mail is sent to: a user's name or a topic's (one or more levels).
    Address
}
name_type! {
    /// What can be joined: a topic, or all topics under one (`lab/*`).
    Pattern
}

impl UserName {
    /// Parses and normalises a user's name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = Address::parse(text)?;
        if name.0.contains('/') {
            return Err(NameError::Misplaced('/'));
        }
        if RESERVED_USERS.contains(&name.as_str()) {
            return Err(NameError::Reserved);
        }
        Ok(Self(name.0))
    }
}

impl Address {
    /// Parses and normalises the name of a user or a topic.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        normalise(text).map(Self)
    }
}

impl From<UserName> for Address {
    fn from(name: UserName) -> Self {
        Self(name.0)
    }
}

impl Pattern {
    /// Parses and normalises a topic's name or a prefix that ends in `/*`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if let Some(levels) = text.strip_suffix("/*") {
            if text.len() > NAME_BYTES_MAX {
                return Err(NameError::TooLong);
            }
            return Address::parse(levels).map(|levels| Self(format!("{levels}/*")));
        }
        Address::parse(text).map(|topic| Self(topic.0))
    }

    /// Returns the one topic this names, or nothing for a prefix.
    pub fn topic(&self) -> Option<Address> {
        (!self.0.ends_with("/*")).then(|| Address(self.0.clone()))
    }

    /// Returns what the names of matching topics begin with (`lab/`), or nothing for a single topic.
    pub fn prefix(&self) -> Option<&str> {
        self.0.strip_suffix('*')
    }

    /// Says whether `topic` is (one of) what this names.
    pub fn matches(&self, topic: &str) -> bool {
        self.prefix()
            .map_or(self.0 == topic, |prefix| topic.starts_with(prefix))
    }
}

fn normalise(text: &str) -> Result<String, NameError> {
    check(text)?;
    if is_plain(text) {
        return Ok(text.to_owned());
    }
    let levels: Result<Vec<String>, NameError> = text.split('/').map(normalise_level).collect();
    let name = levels?.join("/");
    // Wide forms became plain ones: what began with a wide `@`, or was two wide dots, does so now.
    check(&name)?;
    Ok(name)
}

/// Checks what each name must keep to, as it was written and in its normal form.
fn check(text: &str) -> Result<(), NameError> {
    if text.split('/').any(str::is_empty) {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if text.contains('*') {
        return Err(NameError::Misplaced('*'));
    }
    match text.chars().next().filter(|first| "@#!-.".contains(*first)) {
        Some(first) => Err(NameError::Begins(first)),
        None => Ok(()),
    }
}

/// Says whether `text` is its own normal form beyond doubt, which most names are: every send parses
/// its recipients.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let letters = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'/');
    bytes.iter().all(letters)
}

fn normalise_level(level: &str) -> Result<String, NameError> {
    use precis_profiles::precis_core::profile::PrecisFastInvocation;
    if level.is_empty() {
        return Err(NameError::Empty);
    }
    let enforced = |text: &str| {
        let name = precis_profiles::UsernameCaseMapped::enforce(text);
        name.map(std::borrow::Cow::into_owned)
            .map_err(|_| NameError::Character)
    };
    let name = enforced(level)?;
    // Some rules look at neighbours, which mapping changes: only what is its own normal form stays.
    if enforced(&name)? != name {
        return Err(NameError::Character);
    }
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if !name.is_ascii() && !name.check_restriction_level(RestrictionLevel::HighlyRestrictive) {
        return Err(if name.is_single_script() {
            NameError::Character
        } else {
            NameError::Confusable
        });
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<&str, NameError>) {
        assert_eq!(
            Address::parse(text).map(String::from),
            expect.map(str::to_owned),
            "{text:?}"
        );
    }

    #[test]
    fn names_are_case_mapped_and_kept_otherwise() {
        check("ana", Ok("ana"));
        check("Ana", Ok("ana"));
        check("lab/Printer-2", Ok("lab/printer-2"));
        check("JOÃO", Ok("joão"));
        check("joa\u{303}o", Ok("joão"));
    }

    #[test]
    fn bad_names_say_why() {
        check("", Err(NameError::Empty));
        check("a//b", Err(NameError::Empty));
        check("a/", Err(NameError::Empty));
        check("@ana", Err(NameError::Begins('@')));
        check("#ana", Err(NameError::Begins('#')));
        check("!ana", Err(NameError::Begins('!')));
        check("-ana", Err(NameError::Begins('-')));
        check("..", Err(NameError::Begins('.')));
        check("two words", Err(NameError::Character));
        check("esc\u{1b}[2J", Err(NameError::Character));
        check("lab/*", Err(NameError::Misplaced('*')));
        check("\u{430}na", Err(NameError::Confusable));
        check(&"a".repeat(64), Ok(&"a".repeat(64)));
        check(&"a".repeat(65), Err(NameError::TooLong));
    }

    #[test]
    fn users_have_one_level_and_no_reserved_word() {
        assert_eq!(UserName::parse("a/b"), Err(NameError::Misplaced('/')));
        assert_eq!(Address::parse("/a"), Err(NameError::Empty));
        // A middle dot stands between two plain l's only, and these become one with an accent.
        assert_eq!(Address::parse("al·l\u{301}"), Err(NameError::Character));
        // Wide forms of what a name may not have.
        assert_eq!(UserName::parse("．．"), Err(NameError::Begins('.')));
        assert_eq!(Address::parse("＠ana"), Err(NameError::Begins('@')));
        assert_eq!(Address::parse("lab/＊"), Err(NameError::Misplaced('*')));
        assert_eq!(Address::parse("lab／"), Err(NameError::Empty));
        assert_eq!(Pattern::parse("/a/*"), Err(NameError::Empty));
        assert_eq!(UserName::parse("accept"), Err(NameError::Reserved));
    }

    #[test]
    fn prefixes_match_below_and_only_below() {
        let lab = Pattern::parse("Lab/*").unwrap();
        assert_eq!(lab.as_str(), "lab/*");
        assert!(lab.matches("lab/printer"));
        assert!(lab.matches("lab/printer/jobs"));
        assert!(!lab.matches("lab"));
        assert!(!lab.matches("laboratory"));
        let news = Pattern::parse("news").unwrap();
        assert!(news.matches("news") && !news.matches("news/sport"));
        assert_eq!(Pattern::parse("*"), Err(NameError::Misplaced('*')));
        assert_eq!(Pattern::parse("la*"), Err(NameError::Misplaced('*')));
    }

    proptest::proptest! {
        #[test]
        fn normal_form_is_stable(text in "\\PC{0,24}") {
            if let Ok(name) = Address::parse(&text) {
                proptest::prop_assert_eq!(Address::parse(name.as_str()), Ok(name));
            }
        }
    }
}
