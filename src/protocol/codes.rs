//! The closed table of error codes: the same words in replies, in `--json` and in the docs, each
//! with its exit code. It only grows; a code is never given another meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a program does with an error: exit codes after BSD's `sysexits.h`.
pub mod exit {
    #![allow(missing_docs, reason = "the names are those of sysexits.h")]
    pub const OK: u8 = 0;
    /// Nothing was found, where the caller asked to be told so (`--exit-code`); not of sysexits.h.
    pub const NOTHING: u8 = 1;
    pub const USAGE: u8 = 64;
    pub const DATA: u8 = 65;
    pub const NO_USER: u8 = 67;
    pub const UNAVAILABLE: u8 = 69;
    pub const SOFTWARE: u8 = 70;
    pub const CANT_CREATE: u8 = 73;
    pub const IO: u8 = 74;
    pub const TEMPORARY: u8 = 75;
    pub const DENIED: u8 = 77;
    pub const CONFIG: u8 = 78;
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $word:literal, $exit:ident, $retry:literal;)+) => {
        /// One row of the table of error codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $variant,)+
            /// A code that a newer server knows and this build does not.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl Code {
            /// Every code this build knows, in the table's order.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// Returns the word on the wire.
            pub const fn word(self) -> &'static str {
                match self { $(Code::$variant => $word,)+ Code::Unknown => "unknown" }
            }

            /// Returns the exit code of a program that ends on it.
            pub const fn exit(self) -> u8 {
                match self { $(Code::$variant => exit::$exit,)+ Code::Unknown => exit::SOFTWARE }
            }

            /// Says whether the same request may succeed later without a change to it.
            pub const fn retryable(self) -> bool {
                match self { $(Code::$variant => $retry,)+ Code::Unknown => false }
            }

            /// Returns what it means, as the docs say it.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$variant => concat!($($doc),+),)+ Code::Unknown => " A code of a newer server." }
            }
        }
    };
}

codes! {
    /// The frames or the header are not what the verb takes.
    BadRequest = "bad_request", DATA, false;
    /// The server does not know this verb.
    Unsupported = "unsupported", DATA, false;
    /// No protocol version in common.
    VersionMismatch = "version_mismatch", CONFIG, false;
    /// A body, subject or other field is over its limit.
    TooLarge = "too_large", DATA, false;
    /// Not a name (see `names`).
    BadName = "bad_name", DATA, false;
    /// This key belongs to no user: register first.
    NotRegistered = "not_registered", DENIED, false;
    /// This user may not do that.
    Denied = "denied", DENIED, false;
    /// An administrator disabled this user, or ended his sessions and keeps him out for a while.
    ShutOut = "shut_out", DENIED, true;
    /// The user exists and this key is not one of its devices: bring a code.
    NeedsCode = "needs_code", DENIED, false;
    /// No such invitation code, or it was used or ran out.
    BadCode = "bad_code", DENIED, false;
    /// The server takes no registrations.
    RegistrationClosed = "registration_closed", DENIED, false;
    /// The key already belongs to another user.
    WrongUser = "wrong_user", DENIED, false;
    /// The name belongs to a topic, or to a user that was removed.
    NameTaken = "name_taken", DENIED, false;
    /// No user or topic of that name.
    NoSuchAddress = "no_such_address", NO_USER, false;
    /// The caller's user has no such device.
    NoSuchDevice = "no_such_device", NO_USER, false;
    /// That name is a user's: mail can be sent to it, but nobody joins it.
    IsAUser = "is_a_user", DATA, false;
    /// The session is over: log in again.
    NoSession = "no_session", TEMPORARY, true;
    /// The stream is not this device's, or the server does not know it any more.
    StreamUnknown = "stream_unknown", TEMPORARY, false;
    /// The number lies below the stream's mark: its outcome was given and forgotten.
    Settled = "settled", TEMPORARY, false;
    /// The number was used for another content.
    NumberReused = "number_reused", DATA, false;
    /// The number is too far above the stream's mark: settle earlier sends first.
    WindowFull = "window_full", TEMPORARY, true;
    /// All streams of this device have unsettled sends.
    TooManyStreams = "too_many_streams", TEMPORARY, true;
    /// The parts of the body are not (or no longer) here: upload them again.
    PartsMissing = "parts_missing", TEMPORARY, true;
    /// The addressee's mailbox is at its limit.
    MailboxFull = "mailbox_full", TEMPORARY, true;
    /// The server's disk is nearly full: it takes no new mail until there is room.
    DiskFull = "disk_full", TEMPORARY, true;
    /// A budget is used up for the moment.
    Busy = "busy", TEMPORARY, true;
    /// No port is free to lease.
    NoPort = "no_port", TEMPORARY, true;
    /// The lease is not this session's (any more).
    LeaseLost = "lease_lost", TEMPORARY, false;
    /// The addressee takes no mail from this user.
    Blocked = "blocked", DENIED, false;
    /// The user asked for a chat takes none now.
    PeerBusy = "peer_busy", TEMPORARY, true;
    /// No such open invitation: it was answered, taken back or ran out.
    NoInvitation = "no_invitation", NO_USER, false;
    /// Another device accepted this invitation first.
    Taken = "taken", TEMPORARY, false;
    /// The user is at the limit of subscriptions, devices, codes, open invitations or blocks.
    LimitReached = "limit_reached", TEMPORARY, false;
    /// The server is going down: ask again in a moment.
    ShuttingDown = "shutting_down", TEMPORARY, true;
    /// A bug in the server; its log has the cause under the reply's `ref`.
    Internal = "internal", SOFTWARE, false;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The error object of a reply, and of one recipient's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// Which row of the table.
    pub code: Code,
    /// One sentence for a person: what is wrong and what to do.
    pub text: String,
    /// What of the sentence is not the server's own, in order: names, numbers. A client that says it in
    /// another language puts these into its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// May the same request succeed later?
    pub retryable: bool,
    /// Milliseconds to wait before that, when the server knows better than the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Finds the matching line in the server's log.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl WireError {
    /// Makes an error of `code` with a sentence for people.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            words: Vec::new(),
            retryable: code.retryable(),
            retry_after_ms: None,
            reference: None,
        }
    }

    /// Says which words of the text are not the server's own.
    #[must_use]
    pub fn with_words(mut self, words: Vec<String>) -> Self {
        self.words = words;
        self
    }

    /// Adds how long to wait before a retry.
    #[must_use]
    pub fn after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}

/// Makes an error of a code with a sentence and what is put into its `{}`, for people of any language: the
/// catalogue of `cli::i18n` has each of these sentences.
macro_rules! refusal {
    ($code:expr, $text:literal $(,)?) => {
        $crate::protocol::codes::WireError::new($code, $text)
    };
    ($code:expr, $text:literal, $($word:expr),+ $(,)?) => {
        $crate::protocol::codes::WireError::new($code, format!($text, $($word),+))
            .with_words(vec![$($word.to_string()),+])
    };
}

pub(crate) use refusal;

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.code)
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinct_and_round_trip() {
        for (at, code) in Code::ALL.iter().enumerate() {
            assert!(
                Code::ALL[..at]
                    .iter()
                    .all(|other| other.word() != code.word())
            );
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("{:?}", code.word()));
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), *code);
        }
        assert_eq!(
            serde_json::from_str::<Code>("\"of_tomorrow\"").unwrap(),
            Code::Unknown
        );
    }
}
