//! Read receipts: a sender asks for one by a parameter of the content type, and the reader's client answers with a small
//! mail of a type of its own (RFC 8098), in the same thread, if he allows it. Never of a receipt, and never for a topic:
//! a mail that many read would bring its sender as many answers.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::answer;
use super::files::{self, FileError};
use super::outbox::Draft;
use crate::protocol::reply::Envelope;

/// The content type of a receipt.
pub const TYPE: &str = "message/disposition-notification";

/// The parameter that asks for one.
const ASKS: &str = "receipt=read";

/// What a reader allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Nobody is told.
    #[default]
    Off,
    /// Whoever asks is told.
    On,
    /// The reader is asked each time; where he cannot be, nobody is told.
    Ask,
}

#[derive(Serialize, Deserialize)]
struct PolicyFile {
    v: u32,
    receipts: Policy,
}

/// Returns what the owner of an account's folder allows.
pub(super) fn policy(account: &Path) -> Result<Policy, FileError> {
    let read = files::read_json::<PolicyFile>(&account.join("receipts.json"))?;
    Ok(read.map_or(Policy::Off, |file| file.receipts))
}

/// Notes what he allows, durably.
pub(super) fn set_policy(account: &Path, receipts: Policy) -> Result<(), FileError> {
    let _lock = files::lock(&account.join("receipts.lock"))?;
    files::replace_json(
        &account.join("receipts.json"),
        &PolicyFile { v: 1, receipts },
    )
}

/// Moves a note that cannot be read aside; returns where it is then.
pub(super) fn set_garbage_aside(account: &Path) -> Result<Option<PathBuf>, FileError> {
    let _lock = files::lock(&account.join("receipts.lock"))?;
    files::set_garbage_aside::<PolicyFile>(&account.join("receipts.json"))
}

/// Returns a content type that asks for a receipt.
pub fn asking(content_type: &str) -> String {
    format!("{content_type}; {ASKS}")
}

/// Says whether a mail is a receipt.
pub fn is_receipt(mail: &Envelope) -> bool {
    is_type(&mail.content_type)
}

/// Says whether a content type is that of a receipt.
pub fn is_type(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(TYPE)
}

/// Says whether the sender of a mail to `me` asks for a receipt that may be given.
pub fn is_asked(mail: &Envelope, me: &str) -> bool {
    let mut parameters = mail.content_type.split(';').skip(1);
    let asks = parameters.any(|parameter| parameter.trim().eq_ignore_ascii_case(ASKS));
    asks && !is_receipt(mail) && mail.address == me && mail.from != me
}

/// Returns the receipt for a mail that `me` has read. `asked` says that he was asked before.
pub fn of(mail: &Envelope, me: &str, asked: bool) -> Draft {
    let mode = if asked {
        "MDN-sent-manually"
    } else {
        "MDN-sent-automatically"
    };
    let body = format!(
        "Reporting-UA: mailctl {}\r\n\
         Final-Recipient: correio; {me}\r\n\
         Original-Message-ID: <{}>\r\n\
         Disposition: manual-action/{mode}; displayed\r\n",
        env!("CARGO_PKG_VERSION"),
        mail.message(),
    );
    Draft {
        to: vec![mail.from.clone()],
        content_type: TYPE.to_owned(),
        body: body.into_bytes(),
        answers: Some(answer::to(mail)),
        ..Draft::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(content_type: &str) -> Envelope {
        Envelope {
            id: 42,
            message: 41,
            address: "bob".to_owned(),
            from: "ana".to_owned(),
            to: vec!["bob".to_owned()],
            content_type: content_type.to_owned(),
            ..Envelope::default()
        }
    }

    #[test]
    fn only_who_is_asked_answers_and_never_a_receipt_or_a_topic() {
        let asks = mail(&asking("text/plain; charset=utf-8"));
        assert!(is_asked(&asks, "bob"));
        assert!(!is_asked(&mail("text/plain; charset=utf-8"), "bob"));
        assert!(!is_asked(&mail(&asking(TYPE)), "bob"), "a loop");
        let topic = Envelope {
            address: "news".to_owned(),
            ..asks.clone()
        };
        assert!(!is_asked(&topic, "bob"));
        let own = Envelope {
            from: "bob".to_owned(),
            ..asks.clone()
        };
        assert!(!is_asked(&own, "bob"));
        let receipt = of(&asks, "bob", false);
        assert_eq!(
            (receipt.to, receipt.answers.unwrap().in_reply_to),
            (vec!["ana".to_owned()], 41)
        );
        let answer = mail(&receipt.content_type);
        assert!(is_receipt(&answer) && !is_asked(&answer, "bob"));
    }

    #[test]
    fn a_receipt_says_what_was_read_for_programs() {
        let text = String::from_utf8(of(&mail("text/plain"), "bob", true).body).unwrap();
        assert!(text.contains("\r\nOriginal-Message-ID: <41>\r\n"), "{text}");
        assert!(
            text.ends_with("Disposition: manual-action/MDN-sent-manually; displayed\r\n"),
            "{text}"
        );
    }

    #[test]
    fn nobody_is_told_unless_the_reader_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(policy(folder.path()).unwrap(), Policy::Off);
        set_policy(folder.path(), Policy::Ask).unwrap();
        assert_eq!(policy(folder.path()).unwrap(), Policy::Ask);
    }
}
