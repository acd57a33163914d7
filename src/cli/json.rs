//! The JSON objects of results: one a line, each with `"v":1`. Their field names are a contract
//! with outside scripts (docs/cli.md); more fields may come, these stay.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::client::attachments;
use crate::client::mailbox::{Called, Held};
use crate::protocol::reply::{ChatRow, ChatState, Envelope, Outcome, Trimmed};

/// The version of these forms, in every object.
pub const V: u8 = 1;

/// `{"v":1, ...the fields of T}`.
#[derive(Debug, Serialize)]
pub struct Object<T: Serialize> {
    v: u8,
    #[serde(flatten)]
    fields: T,
}

/// Puts the version before the fields of `fields`, which must be a map or a struct.
pub fn object<T: Serialize>(fields: T) -> Object<T> {
    Object { v: V, fields }
}

/// A mail in `refresh`, `watch`, `history` and `read`.
#[derive(Debug, Serialize)]
pub struct Mail<'a> {
    v: u8,
    kind: &'static str,
    id: u64,
    prev: u64,
    message: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_reply_to: Option<u64>,
    thread: u64,
    address: &'a str,
    from: &'a str,
    to: &'a [String],
    subject: &'a str,
    sent_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<&'a str>,
    content_type: &'a str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attached>,
    #[serde(flatten)]
    body: Body<'a>,
}

/// What is attached to a mail; its bytes are in the body.
#[derive(Debug, Serialize)]
struct Attached {
    n: usize,
    name: String,
    content_type: String,
    size: usize,
}

fn attached(envelope: &Envelope, body: &[u8]) -> Vec<Attached> {
    let files = attachments::unpack(&envelope.content_type, body).unwrap_or_default();
    let numbered = files.attachments.into_iter().zip(1..);
    numbered
        .map(|(file, n)| Attached {
            n,
            name: file.name,
            content_type: file.content_type,
            size: file.bytes.len(),
        })
        .collect()
}

/// Exactly the bytes that were sent: as text when they are UTF-8, else in base 64.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Text { body: &'a str },
    Bytes { body_base64: String },
}

impl<'a> Body<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(
            |_| Self::Bytes {
                body_base64: STANDARD.encode(bytes),
            },
            |body| Self::Text { body },
        )
    }
}

/// An envelope that an administrator sees, with the body if there is one.
#[derive(Debug, Serialize)]
pub struct Peeked<'a> {
    #[serde(flatten)]
    row: serde_json::Value,
    #[serde(flatten)]
    body: Option<Body<'a>>,
}

/// Puts a body behind an envelope, exactly.
pub fn with_body(mut row: serde_json::Value, body: Option<&[u8]>) -> Peeked<'_> {
    if let Some(row) = row.as_object_mut() {
        // How it came over the wire is nobody's business.
        row.remove("frames");
    }
    Peeked {
        row,
        body: body.map(Body::of),
    }
}

/// Makes the object of a mail.
pub fn mail<'a>(envelope: &'a Envelope, body: &'a [u8]) -> Mail<'a> {
    Mail {
        v: V,
        kind: "mail",
        id: envelope.id,
        prev: envelope.prev,
        message: envelope.message(),
        in_reply_to: envelope.in_reply_to,
        thread: envelope.thread(),
        address: &envelope.address,
        from: &envelope.from,
        to: &envelope.to,
        subject: &envelope.subject,
        sent_at: &envelope.sent_at,
        expires_at: envelope.expires_at.as_deref(),
        content_type: &envelope.content_type,
        size: envelope.size,
        flags: None,
        attachments: attached(envelope, body),
        body: Body::of(body),
    }
}

/// What a mail of the mailbox is called, as JSON: a number, of an imported one a text.
pub fn id(called: &Called) -> serde_json::Value {
    match called {
        Called::Number(id) => (*id).into(),
        Called::Imported(..) => called.to_string().into(),
    }
}

/// A mail that was imported, in `search` and `read`: all it says of itself, and the message.
#[derive(Debug, Serialize)]
pub struct Imported<'a> {
    v: u8,
    kind: &'static str,
    id: String,
    from: &'a str,
    to: &'a [String],
    subject: &'a str,
    sent_at: Option<&'a str>,
    content_type: &'a str,
    size: u64,
    flags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attached>,
    #[serde(flatten)]
    body: Body<'a>,
}

/// A mail of the mailbox, with its flags.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum HeldMail<'a> {
    /// It was received.
    Received(Mail<'a>),
    /// It was imported.
    Imported(Imported<'a>),
}

/// Makes the object of a mail of the mailbox.
pub fn held<'a>(held: &Held, envelope: &'a Envelope, body: &'a [u8]) -> HeldMail<'a> {
    let flags = held.flags().words();
    if !held.is_imported() {
        return HeldMail::Received(Mail {
            flags: Some(flags),
            ..mail(envelope, body)
        });
    }
    HeldMail::Imported(Imported {
        v: V,
        kind: "imported",
        id: held.called().to_string(),
        from: &envelope.from,
        to: &envelope.to,
        subject: &envelope.subject,
        sent_at: Some(&*envelope.sent_at).filter(|at| !at.is_empty()),
        content_type: &envelope.content_type,
        size: envelope.size,
        flags,
        attachments: attached(envelope, body),
        body: Body::of(body),
    })
}

/// Mails that went unread, in `refresh` and `watch`.
#[derive(Debug, Serialize)]
pub struct TrimmedMails<'a> {
    v: u8,
    kind: &'static str,
    address: &'a str,
    count: u64,
    from_id: u64,
}

/// Makes the object of mails that went unread.
pub fn trimmed(address: &str, trimmed: Trimmed) -> TrimmedMails<'_> {
    TrimmedMails {
        v: V,
        kind: "trimmed",
        address,
        count: trimmed.count,
        from_id: trimmed.from_id,
    }
}

/// An invitation to a chat, in `refresh`, `watch` and `chat requests`.
#[derive(Debug, Serialize)]
pub struct Invitation<'a> {
    v: u8,
    kind: &'static str,
    from: &'a str,
    chat: &'a str,
    asked_at: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<&'a str>,
    state: ChatState,
}

/// Makes the object of an invitation.
pub fn invitation(row: &ChatRow) -> Invitation<'_> {
    Invitation {
        v: V,
        kind: "invitation",
        from: &row.from,
        chat: &row.chat,
        asked_at: &row.asked_at,
        expires_at: Some(&row.expires_at),
        state: row.state,
    }
}

/// Makes the object of an invitation that ended before its addressee saw it.
pub fn missed(row: &ChatRow) -> Invitation<'_> {
    Invitation {
        kind: "missed",
        expires_at: None,
        ..invitation(row)
    }
}

/// One thing that happened in a chat on a pipe.
#[derive(Debug, Default, Serialize)]
pub struct Chat<'a> {
    /// Version of the form.
    pub v: u8,
    /// What happened.
    pub kind: &'static str,
    /// The chat.
    pub chat: &'a str,
    /// The other side's user.
    pub peer: &'a str,
    /// `line`: its place in the other side's row. `delivered`: how many of this side's lines were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    /// This machine's time.
    pub at: &'a str,
    /// Why, where a kind has several reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// `waiting`: when the invitation ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<&'a str>,
    /// `open`: the words that both sides see, to compare aloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<&'a str>,
    /// `bye`: who left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'a str>,
}

/// What became of a send at one recipient.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum SendResult<'a> {
    /// Stored there.
    Sent {
        /// Version of the form.
        v: u8,
        /// The recipient, in normal form.
        address: &'a str,
        /// The mail's number there.
        id: u64,
        /// `fsync`.
        durability: &'a str,
        /// An earlier try had stored it.
        duplicate: bool,
    },
    /// Not stored there.
    Refused {
        /// Version of the form.
        v: u8,
        /// The recipient as it was given.
        address: &'a str,
        /// A word of the table of codes.
        code: &'static str,
        /// For people.
        text: &'a str,
        /// May the same succeed later?
        retryable: bool,
        /// The draft that the text was kept in.
        #[serde(skip_serializing_if = "Option::is_none")]
        draft: Option<u64>,
    },
}

/// Makes the object of one recipient's outcome; `draft` is what was kept for those who refused it.
pub fn outcome(outcome: &Outcome, draft: Option<u64>) -> SendResult<'_> {
    match outcome {
        Outcome::Sent {
            address,
            id,
            durability,
            duplicate,
        } => SendResult::Sent {
            v: V,
            address,
            id: *id,
            durability,
            duplicate: *duplicate,
        },
        Outcome::Refused { address, error } => SendResult::Refused {
            v: V,
            address,
            code: error.code.word(),
            text: &error.text,
            retryable: error.retryable,
            draft,
        },
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::cli::untrusted::to_json;
    use crate::protocol::codes::{Code, WireError};

    fn envelope() -> Envelope {
        Envelope {
            id: 42,
            prev: 40,
            n: 2,
            address: "news".into(),
            from: "ana".into(),
            to: vec!["news".into(), "bob".into()],
            subject: "re\u{202e}lease".into(),
            sent_at: "2026-11-22T12:04:11.120Z".into(),
            expires_at: None,
            content_type: "text/plain; charset=utf-8".into(),
            size: 3,
            frames: 1,
            message: 41,
            in_reply_to: Some(30),
            thread: Some(12),
        }
    }

    #[test]
    fn a_text_mail_is_exact() {
        assert_snapshot!(
            to_json(&mail(&envelope(), "a\r\n\u{9b}".as_bytes())).unwrap(),
            @r#"{"v":1,"kind":"mail","id":42,"prev":40,"message":41,"in_reply_to":30,"thread":12,"address":"news","from":"ana","to":["news","bob"],"subject":"re\u202elease","sent_at":"2026-11-22T12:04:11.120Z","content_type":"text/plain; charset=utf-8","size":3,"body":"a\r\n\u009b"}"#
        );
    }

    #[test]
    fn other_bytes_are_in_base_64() {
        let json = to_json(&mail(&envelope(), b"\xff\x00a")).unwrap();
        assert!(json.ends_with(r#""body_base64":"/wBh"}"#), "{json}");
        assert!(!json.contains(r#""body""#));
    }

    #[test]
    fn outcomes_have_the_fields_of_the_contract() {
        let sent = Outcome::Sent {
            address: "bob".into(),
            id: 42,
            durability: "fsync".into(),
            duplicate: false,
        };
        assert_eq!(
            to_json(&outcome(&sent, None)).unwrap(),
            r#"{"v":1,"address":"bob","id":42,"durability":"fsync","duplicate":false}"#
        );
        let refused = Outcome::Refused {
            address: "bbo".into(),
            error: WireError::new(Code::NoSuchAddress, "no bbo; nearest: bob"),
        };
        assert_eq!(
            to_json(&outcome(&refused, None)).unwrap(),
            r#"{"v":1,"address":"bbo","code":"no_such_address","text":"no bbo; nearest: bob","retryable":false}"#
        );
    }

    #[test]
    fn invitations_have_the_fields_of_the_contract() {
        let row = ChatRow {
            chat: "c0".into(),
            from: "ana".into(),
            to: "bob".into(),
            state: ChatState::Open,
            device: 1,
            asked_at: "A".into(),
            expires_at: "E".into(),
        };
        assert_eq!(
            to_json(&invitation(&row)).unwrap(),
            r#"{"v":1,"kind":"invitation","from":"ana","chat":"c0","asked_at":"A","expires_at":"E","state":"open"}"#
        );
        assert_eq!(
            to_json(&missed(&row)).unwrap(),
            r#"{"v":1,"kind":"missed","from":"ana","chat":"c0","asked_at":"A","state":"open"}"#
        );
    }

    #[test]
    fn what_went_unread_is_counted() {
        let json = to_json(&trimmed(
            "news",
            Trimmed {
                count: 3,
                from_id: 7,
            },
        ))
        .unwrap();
        assert_eq!(
            json,
            r#"{"v":1,"kind":"trimmed","address":"news","count":3,"from_id":7}"#
        );
    }
}
