//! Errors with manners: a code for programs, one clear line for people, what to do next, and the
//! exit code. What the layers below say in English is said here in the language of this process. This module
//! never prints; see [`super::ui`].

use std::borrow::Cow;
use std::io;

use serde::Serialize;

use super::i18n;
use super::i18n::{tr, tr_later};
use super::times::span;
use crate::auth::keys::KeyError;
use crate::chat::ChatError;
use crate::client::home::HomeError;
use crate::client::{ClientError, FileError};
use crate::protocol::codes::{Code, WireError, exit};
use crate::protocol::names::NameError;

mod below;

pub use below::{
    chat_text, client_text, folder_text, known, line_text, mbox_text, os_text, query_text,
    refusal_text, url_text,
};

/// Why a verb ended without doing its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// A word of the closed table of codes, or one of the client's own (docs/cli.md).
    pub code: Cow<'static, str>,
    /// How the process ends.
    pub exit: u8,
    /// One sentence: what is wrong.
    pub text: String,
    /// What to do next, a line each.
    pub hints: Vec<String>,
    /// May the same command succeed later?
    pub retryable: bool,
    /// Finds the matching line in the server's log.
    pub reference: Option<String>,
    /// Nothing is to be said: the reader of our output has gone, or all was said before.
    pub silent: bool,
}

impl CliError {
    /// Makes an error of the client's own.
    pub fn new(code: &'static str, exit: u8, text: impl Into<String>) -> Self {
        Self {
            code: Cow::Borrowed(code),
            exit,
            text: text.into(),
            hints: Vec::new(),
            retryable: exit == exit::TEMPORARY || exit == exit::UNAVAILABLE,
            reference: None,
            silent: false,
        }
    }

    /// The command line is not one.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new("usage", exit::USAGE, text)
    }

    /// A file or stream could not be read or written.
    pub fn io(deed: &str, error: &io::Error) -> Self {
        let failed = Self::new("io", exit::IO, tr!("cannot {}: {}", deed, os_text(error)));
        match error.kind() {
            io::ErrorKind::StorageFull => {
                failed.hint(tr!("free some space on that disk, then try again"))
            }
            _ => failed,
        }
    }

    /// The command ends with `exit` and what there was to say has been said.
    pub fn silent(exit: u8) -> Self {
        Self {
            silent: true,
            ..Self::new("ended", exit, String::new())
        }
    }

    /// Says what the error is about, before its text.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }

    /// Changes the exit code.
    #[must_use]
    pub fn exits(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns the one line under `--json`.
    pub fn to_json(&self) -> ErrorLine<'_> {
        ErrorLine {
            v: 1,
            error: ErrorObject {
                code: &self.code,
                text: &self.text,
                retryable: self.retryable,
                reference: self.reference.as_deref(),
                hints: &self.hints,
            },
        }
    }
}

/// Says how long to wait, in whole seconds where it is more than one: nobody counts finer, and it is
/// never too short.
fn pause(ms: u64) -> String {
    let rounded = if ms > 1_000 {
        ms.div_ceil(1_000) * 1_000
    } else {
        ms
    };
    span(std::time::Duration::from_millis(rounded))
}

/// `{"v":1,"error":{...}}`.
#[derive(Debug, Serialize)]
pub struct ErrorLine<'a> {
    v: u8,
    error: ErrorObject<'a>,
}

#[derive(Debug, Serialize)]
struct ErrorObject<'a> {
    code: &'a str,
    text: &'a str,
    retryable: bool,
    #[serde(rename = "ref")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    hints: &'a [String],
}

impl From<WireError> for CliError {
    fn from(error: WireError) -> Self {
        let later = error
            .retry_after_ms
            .map(|ms| tr!("try again in {}", pause(ms)));
        let hints = next_step(error.code).map(|step| i18n::text(step).to_owned());
        Self {
            code: Cow::Borrowed(error.code.word()),
            exit: error.code.exit(),
            text: refusal_text(&error),
            hints: hints.into_iter().chain(later).collect(),
            retryable: error.retryable,
            reference: error.reference,
            silent: false,
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(told) => told.into(),
            ClientError::RefusedKept { entry, error } => Self::from(error).hint(tr!(
                "kept as draft {}; to send it to somebody else: mailctl draft send {} --to NAME",
                entry,
                entry
            )),
            error => Self {
                code: Cow::Borrowed(error.code()),
                retryable: error.retryable(),
                hints: lost_key(&error).into_iter().collect(),
                ..Self::new("", error.exit_code(), client_text(&error))
            },
        }
    }
}

/// What a person can do whose key is gone or damaged.
fn lost_key(error: &ClientError) -> Option<String> {
    let (ClientError::Key(key) | ClientError::Home(HomeError::Key(key))) = error else {
        return None;
    };
    let is_lost = key.is_missing() || matches!(key, KeyError::Malformed { .. });
    is_lost.then(|| {
        tr!(
            "put it back from a backup; without one, move what is left of it away and make this a new device: mailctl \
             invite --device on another one of yours, then here: mailctl join -"
        )
        .to_owned()
    })
}

impl From<ChatError> for CliError {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::Server(error) => error.into(),
            error => Self {
                code: Cow::Borrowed(error.code()),
                retryable: error.retryable(),
                ..Self::new("", error.exit_code(), chat_text(&error))
            },
        }
    }
}

impl From<HomeError> for CliError {
    fn from(error: HomeError) -> Self {
        ClientError::from(error).into()
    }
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        ClientError::from(error).into()
    }
}

impl From<KeyError> for CliError {
    fn from(error: KeyError) -> Self {
        ClientError::from(error).into()
    }
}

impl From<NameError> for CliError {
    fn from(error: NameError) -> Self {
        below::name_refusal(&error).into()
    }
}

/// What a person can do about a refusal of the server, where its own text does not say so.
fn next_step(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::NotRegistered => tr_later!("log in first: mailctl login USER"),
        Code::NoSuchAddress => tr_later!("topics: mailctl topic ls"),
        Code::VersionMismatch => tr_later!("bring mailctl and mailserver to the same release"),
        Code::Internal => {
            tr_later!("that is a bug in the server; its log has the cause under the reference")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_four_fields_of_the_contract() {
        let error = CliError::from(WireError::new(Code::NoSuchAddress, "no \u{202e}bbo"));
        let json = crate::cli::untrusted::to_json(&error.to_json()).unwrap();
        assert_eq!(
            json,
            r#"{"v":1,"error":{"code":"no_such_address","text":"no \u202ebbo","retryable":false,"ref":null,"hints":["topics: mailctl topic ls"]}}"#
        );
    }

    #[test]
    fn how_long_to_wait_is_said_once_and_in_whole_seconds() {
        let told = |ms| {
            let error = WireError::new(Code::Busy, "too often").after_ms(ms);
            crate::cli::untrusted::to_json(&CliError::from(error).to_json()).unwrap()
        };
        let words =
            r#""text":"too often","retryable":true,"ref":null,"hints":["try again in 4h 59m 51s"]"#;
        let json = told(17_990_001);
        assert!(json.contains(words), "{json}");
        assert!(told(20).contains("in 20ms\""));
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = CliError::io("write the outbox", &full);
        assert_eq!((error.exit, error.hints.len()), (exit::IO, 1));
    }
}
