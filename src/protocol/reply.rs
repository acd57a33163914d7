//! Replies: `[request id][JSON header][body...]`, the request id echoed.
//!
//! A header holds `"ok": true` and the verb's fields, or `"ok": false` and an `error`. A client
//! knows by its request id which struct to read.

use serde::{Deserialize, Serialize};

use super::codes::WireError;
use super::request::{ChatId, SessionId};
use super::{LogNumber, MailId};

/// To `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol version both speak from now on.
    pub version: u32,
    /// Program and version of the server.
    pub server: String,
    /// Changes when the store was restored or lost ids: then no id of before is trusted.
    pub incarnation: u64,
    /// Features the server offers.
    pub features: Vec<String>,
    /// Port of the live socket, on the host the client reached.
    pub live_port: u16,
    /// `open`, `invite` or `closed`.
    pub registration: String,
    /// The user this key belongs to, if any.
    pub user: Option<String>,
    /// This key's device, if registered.
    pub device: Option<u64>,
    /// Says whether this key has a session that is still kept.
    pub session_present: bool,
    /// The broker's wall clock, RFC 3339 UTC.
    pub now: String,
    /// What the server accepts.
    pub limits: Limits,
}

/// What the server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of a frame.
    pub frame_bytes: u64,
    /// Bytes of a body.
    pub body_bytes: u64,
    /// Recipients of one send.
    pub recipients: u64,
    /// Unsettled sends of one stream.
    pub window: u64,
    /// Mails of one page.
    pub page_mails: u64,
    /// Milliseconds between heartbeats of a standing session.
    pub heartbeat_ms: u64,
}

/// To `register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The user, in normal form.
    pub user: String,
    /// The device's number.
    pub device: u64,
    /// Always `fsync` on one server.
    pub durability: String,
}

/// One log the caller reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogInfo {
    /// Its number.
    pub log: LogNumber,
    /// The address's name.
    pub address: String,
    /// `user` or `topic`.
    pub kind: String,
    /// What to subscribe to on the live socket: 32 hex digits for 16 bytes.
    pub key: String,
    /// The newest id in the log that is on disk; 0 when it never had one.
    pub head: MailId,
    /// What this device has acknowledged.
    pub cursor: MailId,
    /// The count that goes with `cursor`.
    pub n: u64,
    /// Mails past the cursor, what expired among them counted.
    pub waiting: u64,
}

/// A port lent to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseInfo {
    /// The port.
    pub port: u16,
    /// Tells this lease from every other, ever.
    pub epoch: u64,
    /// Milliseconds until it ends unless renewed.
    pub ttl_ms: u64,
}

/// To `login`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// Names the session in every further request.
    pub session: SessionId,
    /// Says whether the session asked for by `resume` was kept.
    pub session_present: bool,
    /// The user this key is.
    pub user: String,
    /// The device this key is.
    pub device: u64,
    /// The stream to number sends in, if one was wanted.
    pub stream: Option<u64>,
    /// Says whether that is the stream the client asked to go on with.
    pub stream_present: bool,
    /// The stream's mark: numbers below it are settled.
    pub settled_below: u64,
    /// The caller's logs, by number, as many as fit.
    pub logs: Vec<LogInfo>,
    /// When there are more: ask `logs` after this number.
    pub more_after: Option<LogNumber>,
    /// Every log of the caller is known up to this id with `logs`' heads.
    pub through: MailId,
    /// The leased port, `null` without one.
    pub lease: Option<LeaseInfo>,
    /// Why there is no lease although one was wanted.
    pub no_lease: Option<WireError>,
    /// Topics of the login that could not be joined.
    pub refused: Vec<Refused>,
    /// Milliseconds the session lives without a request.
    pub session_ttl_ms: u64,
    /// Milliseconds between heartbeats.
    pub heartbeat_ms: u64,
    /// `fsync`.
    pub durability: String,
}

/// A topic that was not joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The topic or prefix.
    pub topic: String,
    /// Why.
    #[serde(flatten)]
    pub error: WireError,
}

/// To `logs`, and to `join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// Logs by number.
    pub logs: Vec<LogInfo>,
    /// When there are more: ask `logs` after this number.
    pub more_after: Option<LogNumber>,
    /// See [`Login::through`].
    pub through: MailId,
}

/// To `heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Logs with something above the client's `known`, lowest head first, as many as fit; before
    /// them those that have another key.
    pub behind: Vec<LogInfo>,
    /// There are more than fit: ask again at once, from `through`.
    pub more: bool,
    /// `known` of the next heartbeat: no log with a head at or below it is missing from `behind`.
    pub through: MailId,
    /// The lease as renewed; `null` when the session holds none.
    pub lease: Option<LeaseInfo>,
    /// Invitations, as `chats` lists them: what a lost notice did not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chats: Vec<ChatRow>,
    /// The broker's wall clock, RFC 3339 UTC.
    pub now: String,
}

/// One recipient's outcome of a `send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It is in the recipient's log, on disk.
    Sent {
        /// The recipient, in normal form.
        address: String,
        /// The mail's number there.
        id: MailId,
        /// `fsync`.
        durability: String,
        /// This is the answer to a retry: nothing was stored by this request.
        duplicate: bool,
    },
    /// It is not.
    Refused {
        /// The recipient as it was given.
        address: String,
        /// Why.
        #[serde(flatten)]
        error: WireError,
    },
}

/// To `send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// One per recipient, in the order given.
    pub outcomes: Vec<Outcome>,
}

/// To `part`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Bytes of the body here so far.
    pub received: u64,
    /// Parts that may be under way at once.
    pub credit: u32,
}

/// A mail's envelope, in pages and notices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The mail's number.
    pub id: MailId,
    /// The number that all copies of one send share: the first copy's. 0 where the server is older than
    /// this field; [`Envelope::message`] knows better.
    #[serde(default, skip_serializing_if = "is_none")]
    pub message: MailId,
    /// The message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<MailId>,
    /// The message that began the thread; only where it answers one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<MailId>,
    /// The id before it ever put in this log, 0 for the first.
    pub prev: MailId,
    /// Its count within its log, 1 for the first ever.
    pub n: u64,
    /// The address this copy was sent to.
    pub address: String,
    /// The sender, by his key.
    pub from: String,
    /// All recipients of the send, in normal form.
    pub to: Vec<String>,
    /// One line, or nothing.
    pub subject: String,
    /// When the broker took it, RFC 3339 UTC with milliseconds.
    pub sent_at: String,
    /// When it will be of no use any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// MIME type of the body.
    pub content_type: String,
    /// Bytes of the body.
    pub size: u64,
    /// Body frames that come with this envelope: 1 (the whole body), or 0 (ask `body`).
    pub frames: u32,
}

impl Envelope {
    /// Returns the number that all copies of this mail share.
    pub fn message(&self) -> MailId {
        if self.message == 0 {
            self.id
        } else {
            self.message
        }
    }

    /// Returns the message that began the thread it is in: itself, where it answers none.
    pub fn thread(&self) -> MailId {
        let begun = self.thread.or(self.in_reply_to);
        begun.unwrap_or_else(|| self.message())
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_none(number: &MailId) -> bool {
    *number == 0
}

/// Mails that were there once and that this reader will not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trimmed {
    /// How many.
    pub count: u64,
    /// They came after this id.
    pub from_id: MailId,
}

/// To `fetch` and `history`, followed by the body frames of its mails in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Which log.
    pub log: LogNumber,
    /// The address's name.
    pub address: String,
    /// The page begins after this id.
    pub after: MailId,
    /// The client's mark moves to this id, whatever is missing between.
    pub through: MailId,
    /// The count that goes with `through`.
    pub n: u64,
    /// There is more above `through`.
    pub more: bool,
    /// Mails between `after` and `through` that expired or were trimmed.
    pub trimmed: Option<Trimmed>,
    /// The mails, by id. The last field: [`encode_page`] puts them there.
    pub mails: Vec<Envelope>,
}

/// A page's mails as they go into its header, encoded one by one so that the list can end where the
/// header is full.
#[derive(Debug, Default)]
pub struct PageMails {
    json: Vec<u8>,
    count: u64,
}

impl PageMails {
    /// Adds a mail, unless the list would be longer than `bytes_max` then. Says whether it did.
    pub fn push(&mut self, mail: &Envelope, bytes_max: usize) -> bool {
        let before = self.json.len();
        if before > 0 {
            self.json.push(b',');
        }
        serde_json::to_writer(&mut self.json, mail)
            .expect("envelopes are maps with text keys, which JSON always holds");
        let fits = self.json.len() < bytes_max;
        if fits {
            self.count += 1;
        } else {
            self.json.truncate(before);
        }
        fits
    }

    /// Returns how many there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// To `body`, followed by one frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Bytes of the whole body.
    pub size: u64,
    /// First byte in the frame.
    pub offset: u64,
}

/// To `admin` that asks for a part of a backup, followed by its bytes in frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupPart {
    /// What to ask after for the next part; none after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_after: Option<String>,
}

/// To requests that only change something: `ack`, `leave`, `close`, `logout`, `lease_release` ...
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// `fsync`, or `memory` for what needs none.
    pub durability: String,
}

/// One topic in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRow {
    /// Its name.
    pub topic: String,
    /// The caller reads it (by name or by prefix).
    pub subscribed: bool,
    /// Mails past this device's cursor.
    pub waiting: u64,
}

/// To `topics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topics {
    /// Topics by name.
    pub topics: Vec<TopicRow>,
    /// The caller's prefixes by name, paged together with the topics.
    pub prefixes: Vec<String>,
    /// When there are more: ask after this name.
    pub more_after: Option<String>,
}

/// To `topic`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its name.
    pub topic: String,
    /// The caller reads it.
    pub subscribed: bool,
    /// Mails past this device's cursor.
    pub waiting: u64,
    /// Mails kept.
    pub mails: u64,
    /// Bytes of bodies kept.
    pub bytes: u64,
    /// Newest id.
    pub head: MailId,
    /// Users who read it.
    pub subscribers: u64,
    /// When it was made.
    pub created_at: String,
}

/// To `invite`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// The code, to hand over privately.
    pub code: String,
    /// When it ends.
    pub expires_at: String,
    /// `fsync`.
    pub durability: String,
}

/// To `lease`, `lease_confirm` and `lease_busy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The lease (after `lease_busy`, another one).
    pub lease: LeaseInfo,
    /// `fsync`.
    pub durability: String,
}

/// Where an invitation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChatState {
    /// Nobody has answered yet.
    Open,
    /// A device of the user asked has accepted.
    Accepted,
    /// The user asked said no.
    Declined,
    /// The user asked takes no chat now.
    Busy,
    /// Taken back, or the session (or lease) that asked is over.
    Withdrawn,
    /// Not answered in time.
    Expired,
    /// A state of a newer server.
    #[serde(other)]
    Unknown,
}

/// An invitation to a direct chat, in replies and notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatRow {
    /// Its name.
    pub chat: ChatId,
    /// Who asks, by his key.
    pub from: String,
    /// Who is asked.
    pub to: String,
    /// Where it stands.
    pub state: ChatState,
    /// The device that asked.
    pub device: u64,
    /// When it was made, RFC 3339 UTC.
    pub asked_at: String,
    /// When it ends unless answered, RFC 3339 UTC.
    pub expires_at: String,
}

/// A device that may come and chat, vouched for by the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatDevice {
    /// Its number.
    pub device: u64,
    /// Its CURVE public key, 64 hex digits.
    pub key: String,
}

/// The other side of a chat, vouched for by the broker: where and who.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The chat.
    pub chat: ChatId,
    /// The other side's user.
    pub user: String,
    /// The other side's device.
    pub device: u64,
    /// Its CURVE public key, 64 hex digits.
    pub key: String,
    /// Where it listens; `null` for the host at which the reader reaches the server.
    pub host: Option<String>,
    /// Its leased port.
    pub port: u16,
    /// Its lease's epoch: every frame to it carries this.
    pub epoch: u64,
    /// The reader's own host as the other side reaches it (`null`: at the server's host), for its
    /// first frame.
    pub own_host: Option<String>,
    /// `fsync`.
    pub durability: String,
}

/// To `chat_ask`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The invitation.
    pub row: ChatRow,
    /// Milliseconds until it expires.
    pub ttl_ms: u64,
    /// The devices that may accept: nobody else is let onto the leased port.
    pub devices: Vec<ChatDevice>,
    /// When the user asked had an open invitation to the caller, that one was accepted: `row` is it,
    /// and the caller is the one who connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduction: Option<Introduction>,
    /// `fsync`.
    pub durability: String,
}

/// To `chats`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chats {
    /// Oldest first. `expired` and `withdrawn` ones to the caller were missed.
    pub chats: Vec<ChatRow>,
}

/// To `blocks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// Names, in order.
    pub users: Vec<String>,
    /// When there are more: ask after this name.
    pub more_after: Option<String>,
}

/// To `who`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presences {
    /// Users by name.
    pub users: Vec<Presence>,
    /// When there are more: ask after this name.
    pub more_after: Option<String>,
    /// The caller shows nobody whether he is here.
    pub hidden: bool,
}

/// Whether a user is here, as far as he shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The user.
    pub user: String,
    /// A session of his is open.
    pub online: bool,
    /// When he was heard of last, RFC 3339 UTC; `None` for who is away for long, or hidden.
    pub last_seen: Option<String>,
    /// Since when he is online.
    pub since: Option<String>,
}

/// To `devices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// Devices by number.
    pub devices: Vec<DeviceRow>,
    /// When there are more: ask after this number.
    pub more_after: Option<u64>,
}

/// A device, as its own user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Its number.
    pub device: u64,
    /// What its owner calls it.
    pub name: String,
    /// When it was registered, RFC 3339 UTC.
    pub since: String,
    /// When it was heard of last; `None` where that was before anybody wrote it down.
    pub last_seen: Option<String>,
    /// A session of it is open.
    pub online: bool,
    /// It is the one that asks.
    pub this: bool,
    /// Mails that it has not acknowledged.
    pub waiting: u64,
}

/// To `codes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codes {
    /// Codes, the one that ends first before the others.
    pub codes: Vec<CodeRow>,
}

/// An invitation code that nobody has used: what may be told of it, for the code itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRow {
    /// Names it, for `code_rm`.
    pub id: String,
    /// The name the new user must take; the caller's own for a further device.
    pub user: Option<String>,
    /// For a further device of the caller.
    pub device: bool,
    /// When it ends, RFC 3339 UTC.
    pub expires_at: String,
}

/// To `admin`: rows whose fields depend on what was asked (docs/protocol.md lists them).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// JSON objects.
    pub rows: Vec<serde_json::Value>,
    /// When there are more: ask after this.
    pub more_after: Option<String>,
}

/// Encodes a reply's header frame.
pub fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Ok<'a, T> {
        ok: bool,
        #[serde(flatten)]
        body: &'a T,
    }
    serde_json::to_vec(&Ok { ok: true, body })
        .expect("reply headers are maps with text keys, which JSON always holds")
}

/// Encodes a page's header frame. `mails` are its mails; it has no others.
pub fn encode_page(page: &Page, mails: &PageMails) -> Vec<u8> {
    debug_assert!(page.mails.is_empty(), "its mails are encoded already");
    let mut header = encode(page);
    // The end of an empty list and of the whole.
    header.truncate(header.len() - 2);
    header.extend_from_slice(&mails.json);
    header.extend_from_slice(b"]}");
    header
}

/// Encodes the header frame of a refusal.
pub fn encode_error(error: &WireError) -> Vec<u8> {
    #[derive(Serialize)]
    struct Failed<'a> {
        ok: bool,
        error: &'a WireError,
    }
    serde_json::to_vec(&Failed { ok: false, error })
        .expect("an error is a map with text keys, which JSON always holds")
}

/// Why a header frame could not be read as the reply that was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The server refused the request.
    #[error(transparent)]
    Refused(WireError),
    /// The frame is not such a reply.
    #[error("the server's reply could not be read: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Decodes a reply's header frame.
pub fn decode<T: for<'a> Deserialize<'a>>(header: &[u8]) -> Result<T, DecodeError> {
    #[derive(Deserialize)]
    struct Status {
        ok: bool,
        error: Option<WireError>,
    }
    // How this library's own server begins: then one pass over the header is enough.
    if header.starts_with(br#"{"ok":true,"#) {
        return Ok(serde_json::from_slice(header)?);
    }
    let status: Status = serde_json::from_slice(header)?;
    match (status.ok, status.error) {
        (false, Some(error)) => Err(DecodeError::Refused(error)),
        _ => Ok(serde_json::from_slice(header)?),
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::Code;
    use super::*;

    #[test]
    fn a_page_encoded_mail_by_mail_is_the_same_page() {
        let envelope = |id| Envelope {
            id,
            prev: id - 1,
            n: id,
            address: "bob".into(),
            from: "ana".into(),
            to: vec!["bob".into()],
            subject: "a \"word\"".into(),
            sent_at: "2026-11-22T14:00:00.000Z".into(),
            expires_at: None,
            content_type: "text/plain".into(),
            size: 3,
            frames: 1,
            message: id,
            in_reply_to: Some(1),
            thread: None,
        };
        let mut page = Page {
            log: 4,
            address: "bob".into(),
            after: 0,
            through: 3,
            n: 3,
            more: true,
            trimmed: None,
            mails: Vec::new(),
        };
        let mut mails = PageMails::default();
        assert_eq!(encode_page(&page, &mails), encode(&page));
        let one = serde_json::to_vec(&envelope(1)).unwrap().len();
        for id in 1..=3 {
            assert_eq!(mails.push(&envelope(id), 2 * (one + 1)), id < 3);
        }
        assert_eq!(mails.count(), 2);
        page.mails = vec![envelope(1), envelope(2)];
        let whole = encode(&page);
        page.mails.clear();
        assert_eq!(encode_page(&page, &mails), whole);
    }

    #[test]
    fn replies_round_trip() {
        let sent = Sent {
            outcomes: vec![
                Outcome::Sent {
                    address: "bob".into(),
                    id: 3,
                    durability: "fsync".into(),
                    duplicate: false,
                },
                Outcome::Refused {
                    address: "bbo".into(),
                    error: WireError::new(Code::NoSuchAddress, "no such"),
                },
            ],
        };
        assert_eq!(decode::<Sent>(&encode(&sent)).unwrap(), sent);
        let error = WireError::new(Code::Busy, "later").after_ms(5);
        match decode::<Sent>(&encode_error(&error)) {
            Err(DecodeError::Refused(told)) => assert_eq!(told, error),
            other => panic!("{other:?}"),
        }
    }
}
