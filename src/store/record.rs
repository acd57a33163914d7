//! The records that last. Plain data: bytes are made in `codec`, keys in `key`.
//!
//! bincode knows no missing fields, so a struct that grows needs a new version in its envelope and a
//! golden file (docs/storage.md, "Versions").

use serde::{Deserialize, Serialize};

use crate::protocol::codes::Code;
use crate::protocol::request::{Right, Role};
use crate::protocol::{Answers, LogNumber, MailId, PublicKey};

/// A place in a log: a mail's id with the count and bytes of the log up to and including it. Depths
/// are differences of marks, never scans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The mail's id; 0 before the first.
    pub id: MailId,
    /// Mails ever put in the log up to here.
    pub count: u64,
    /// Body bytes ever put in the log up to here.
    pub bytes: u64,
}

impl Mark {
    /// The place before the first mail.
    pub const ZERO: Self = Self {
        id: 0,
        count: 0,
        bytes: 0,
    };
}

/// The store's identity and age.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Format of the store.
    pub format: u32,
    /// New whenever ids may have been lost, so that clients trust none of before.
    pub incarnation: u64,
    /// Seconds the server has ever run, to the minute: the clock of ages that destroy.
    pub running_s: u64,
}

/// Numbers given out in the directory; none is used twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryCounters {
    /// Last address number.
    pub address: u64,
    /// Last device number.
    pub device: u64,
    /// Last lease epoch.
    pub epoch: u64,
}

/// Numbers given out in the mail tree; none is used twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailCounters {
    /// Last mail id.
    pub mail: MailId,
    /// Last stream number.
    pub stream: u64,
}

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressKind {
    /// A user: only he reads it.
    User,
    /// A topic: whoever joins reads it.
    Topic,
}

/// Whether an address can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressState {
    /// In use.
    Live,
    /// A removed user: nobody can take the name until an admin frees it.
    Reserved,
}

/// What a topic does at its limit. A user's log always refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FullPolicy {
    /// The oldest mail goes, counted and told.
    Trim,
    /// The sender is refused.
    Refuse,
}

/// A user or a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// Its number, which is also its log's.
    pub number: LogNumber,
    /// Its name in normal form.
    pub name: String,
    /// User or topic.
    pub kind: AddressKind,
    /// In use or reserved.
    pub state: AddressState,
    /// Part of the notice key; goes up when somebody loses the right to read it.
    pub generation: u64,
    /// At its limit.
    pub full: FullPolicy,
    /// Wall clock when it was made, milliseconds since the epoch.
    pub created_at_ms: i64,
}

/// One key pair of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its number.
    pub number: u64,
    /// Its CURVE public key.
    pub key: PublicKey,
    /// The user's address number.
    pub user: LogNumber,
    /// The owner's name for it.
    pub name: String,
    /// The server's last mail id when it was made: topics start there for it.
    pub since: MailId,
    /// Wall clock when it was made.
    pub created_at_ms: i64,
    /// The server's running seconds when it was last seen, to the hour.
    pub seen_running_s: u64,
    /// Digest of the code it was registered with; zero without one. The same key with the same code
    /// gets the same answer.
    pub code: [u8; 32],
}

/// A user wants a topic, or all under a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRecord {
    /// The user's address number.
    pub user: LogNumber,
    /// Topic or prefix.
    pub pattern: String,
    /// The server's last mail id when it was made.
    pub since: MailId,
}

/// Where a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseState {
    /// Offered, not bound yet.
    Offered,
    /// Bound by its session.
    Held,
    /// Given back; not lent again before its rest is over.
    Resting,
    /// Free, and lent before: the record keeps its place in the queue over a restart.
    Free,
}

/// A port lent for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The port.
    pub port: u16,
    /// Tells this lease from every other, ever.
    pub epoch: u64,
    /// Where it stands.
    pub state: LeaseState,
    /// The user's address number.
    pub user: LogNumber,
    /// The device.
    pub device: u64,
    /// The session, so that it can be resumed after a restart.
    pub session: [u8; 16],
}

/// A single-use invitation code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRecord {
    /// Digest of the code.
    pub digest: [u8; 32],
    /// Who made it: a user's address number, 0 for an admin key.
    pub by: LogNumber,
    /// For a further device of this user (address number).
    pub device_of: Option<LogNumber>,
    /// The name the new user must take.
    pub name: Option<String>,
    /// Wall clock when it ends.
    pub expires_at_ms: i64,
}

/// Where an invitation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvitationState {
    /// Nobody has answered yet.
    Open,
    /// A device of the user asked has accepted.
    Accepted,
    /// The user asked said no.
    Declined,
    /// The user asked takes no chat now.
    Busy,
    /// Taken back, or the session that asked is over.
    Withdrawn,
    /// Not answered in time.
    Expired,
}

/// One side of a chat: a session on its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatSide {
    /// The device.
    pub device: u64,
    /// The session.
    pub session: [u8; 16],
    /// The leased port.
    pub port: u16,
    /// The lease's epoch.
    pub epoch: u64,
    /// Where the client says it can be reached, else where the broker saw it; may be empty.
    pub host: String,
    /// Digest of the client's own word for its ask, for its retries; zero without one.
    pub nonce: [u8; 16],
}

/// A request for a direct chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationRecord {
    /// Its name.
    pub chat: [u8; 16],
    /// Who asks: a user's address number.
    pub from: LogNumber,
    /// The side that asks.
    pub asker: ChatSide,
    /// Who is asked: a user's address number.
    pub to: LogNumber,
    /// Devices with a number above this were not there when it was made, so the asker knows nothing of
    /// their keys.
    pub devices_through: u64,
    /// Where it stands.
    pub state: InvitationState,
    /// The side that accepted.
    pub accepter: Option<ChatSide>,
    /// Wall clock when it was made, milliseconds since the epoch.
    pub asked_at_ms: i64,
    /// Wall clock when it ends unless answered.
    pub expires_at_ms: i64,
    /// The user asked was told that he missed it.
    pub seen: bool,
}

/// A user takes nothing from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRecord {
    /// Who blocks: a user's address number.
    pub user: LogNumber,
    /// Who is blocked.
    pub blocked: LogNumber,
}

/// A user shows nobody whether, and when, he is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiddenRecord {
    /// The user's address number.
    pub user: LogNumber,
}

/// When a device was last seen. Beside its record, because old records have no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SightRecord {
    /// The device.
    pub device: u64,
    /// Wall clock, milliseconds since the epoch, to the hour.
    pub at_ms: i64,
}

/// The key that a device goes on with, once it has proven it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextKeyRecord {
    /// The device.
    pub device: u64,
    /// Its next CURVE public key.
    pub key: PublicKey,
}

/// What an administrator set for a user. Beside the address, because old records have no room for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// The user's address number.
    pub user: LogNumber,
    /// What he may do beyond his own mail.
    pub role: Role,
    /// None of his devices is let in.
    pub disabled: bool,
    /// Devices that are kept out for a while.
    pub kicked: Vec<KickRecord>,
}

/// A device that is kept out for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KickRecord {
    /// Which; 0 for all of the user's.
    pub device: u64,
    /// The server's running seconds when it may come back.
    pub until_running_s: u64,
}

/// Limits that are an address's own; where one is none, that of the settings holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsRecord {
    /// The address.
    pub address: LogNumber,
    /// Mails of its log.
    pub mails_max: Option<u64>,
    /// Body bytes of its log.
    pub bytes_max: Option<u64>,
    /// Mails of a topic kept for newcomers.
    pub history_mails: Option<u64>,
    /// Seconds of running time they are kept at most.
    pub history_seconds: Option<u64>,
}

/// A rule for topics: who may read, or send.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantRecord {
    /// A topic, or all below one (`lab/*`); `{user}` as a level stands for the user's own name.
    pub topic: String,
    /// What it lets do.
    pub right: Right,
    /// Whom: a user's address number; nothing for everybody.
    pub who: Option<LogNumber>,
}

/// Something that an administrator did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number: one above that of the deed before.
    pub number: u64,
    /// Wall clock, milliseconds since the epoch.
    pub at_ms: i64,
    /// Who: a user's name, or `admin.key`.
    pub by: String,
    /// What, in the word of the wire.
    pub what: String,
    /// To which user, topic or port.
    pub address: String,
    /// How much of what it met.
    pub counts: Vec<(String, u64)>,
    /// What it was changed to; may be empty.
    pub note: String,
}

/// Whether a mail is still of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailState {
    /// It is.
    Live,
    /// It expired: only its place in the log is kept.
    Expired,
}

/// A mail without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailRecord {
    /// The id before it ever put in this log.
    pub prev: MailId,
    /// Mails ever put in the log, this one included.
    pub count: u64,
    /// Body bytes ever put in the log, this one's included.
    pub bytes: u64,
    /// Live or expired.
    pub state: MailState,
    /// The sender's name.
    pub from: String,
    /// All recipients of the send.
    pub to: Vec<String>,
    /// One line, or nothing.
    pub subject: String,
    /// MIME type of the body.
    pub content_type: String,
    /// Wall clock when it was taken.
    pub sent_at_ms: i64,
    /// Wall clock when it expires.
    pub expires_at_ms: Option<i64>,
    /// The server's running seconds when it was taken.
    pub running_s: u64,
    /// Bytes of the body.
    pub size: u64,
    /// The number that all copies of one send share: the first copy's id.
    pub message: MailId,
    /// The mail that it answers, if it does.
    pub answers: Option<Answers>,
}

/// [`MailRecord`] in its first version, which knew neither copies nor answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MailRecordV1 {
    prev: MailId,
    count: u64,
    bytes: u64,
    state: MailState,
    from: String,
    to: Vec<String>,
    subject: String,
    content_type: String,
    sent_at_ms: i64,
    expires_at_ms: Option<i64>,
    running_s: u64,
    size: u64,
}

impl MailRecordV1 {
    /// Returns it as it is read now. Which other mail is a copy of it is not known: it is its own message.
    pub(super) fn of_now(self, id: MailId) -> MailRecord {
        MailRecord {
            prev: self.prev,
            count: self.count,
            bytes: self.bytes,
            state: self.state,
            from: self.from,
            to: self.to,
            subject: self.subject,
            content_type: self.content_type,
            sent_at_ms: self.sent_at_ms,
            expires_at_ms: self.expires_at_ms,
            running_s: self.running_s,
            size: self.size,
            message: id,
            answers: None,
        }
    }
}

impl MailRecord {
    /// Returns this mail's place in its log.
    pub fn mark(&self, id: MailId) -> Mark {
        Mark {
            id,
            count: self.count,
            bytes: self.bytes,
        }
    }
}

/// A log's totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// The newest mail ever put in it.
    pub head: Mark,
    /// The newest mail that was trimmed off its front.
    pub floor: Mark,
}

/// A numbered row of sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// Its number.
    pub number: u64,
    /// The device it was issued to.
    pub device: u64,
    /// Numbers below are settled.
    pub settled_below: u64,
    /// The server's running seconds when it was issued or last moved its mark.
    pub used_running_s: u64,
}

/// One recipient's outcome, as first given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordedOutcome {
    /// Stored.
    Sent {
        /// The recipient in normal form.
        address: String,
        /// The mail's id.
        id: MailId,
    },
    /// Refused for good.
    Refused {
        /// The recipient as it was given.
        address: String,
        /// Why. Stored as its word: the table of codes grows, and a place in it says nothing.
        #[serde(with = "code_word")]
        code: Code,
    },
}

/// A code as its word on the wire.
mod code_word {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::protocol::codes::Code;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature is serde's"
    )]
    pub(super) fn serialize<S: Serializer>(code: &Code, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(code.word())
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Code, D::Error> {
        let word = String::deserialize(from)?;
        let known = Code::ALL.iter().find(|code| code.word() == word);
        Ok(known.copied().unwrap_or(Code::Unknown))
    }
}

/// What became of a send, kept until the client says it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionRecord {
    /// Digest of the request: a number used for another content is an error.
    pub digest: [u8; 32],
    /// One per recipient, in order.
    pub outcomes: Vec<RecordedOutcome>,
}
