//! What lasts: the [`Store`] trait and the data that crosses it.
//!
//! A store is a list of promises (see [`Store::commit`]); an engine keeps them. The broker holds
//! everything but mail in memory and gets it once, as a [`Snapshot`]; mail itself is read by
//! [`Query`], never past what is synced. Nothing here decides anything: that is `broker`.
//! `docs/storage.md` has the trees, the key bytes and the argument why a commit is durable.

pub mod backup;
mod codec;
pub(crate) mod hostile;
mod jump;
mod key;
mod kv;
pub mod memory;
mod outcomes;
mod read;
pub mod record;
pub mod sled;
mod verify;
mod write;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod golden;

use std::sync::Arc;

#[cfg(test)]
use crate::protocol::Answers;
use crate::protocol::{LogNumber, MailId, PublicKey};
pub(crate) use jump::Jump;
pub use record::{
    AccountRecord, AddressKind, AddressRecord, AddressState, AuditRecord, BlockRecord, ChatSide,
    CodeRecord, CompletionRecord, DeviceRecord, DirectoryCounters, FullPolicy, GrantRecord,
    HiddenRecord, InvitationRecord, InvitationState, KickRecord, LeaseRecord, LeaseState,
    LimitsRecord, LogRecord, MailCounters, MailRecord, MailState, Mark, Meta, NextKeyRecord,
    RecordedOutcome, SightRecord, StreamRecord, SubscriptionRecord,
};
pub use verify::Report;

/// Format of the stores this build makes, and the newest it reads. 1 knew no invitations and no blocks, 2
/// did not know whose it is, 3 did not know which mail answers which, 4 not who is hidden, when devices were seen,
/// keys that come
/// next, 5 no audit, no roles, no rules for
/// topics and no limits of one address.
pub const FORMAT: u32 = 7;

/// One change to what lasts. A commit applies many; each touches one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    // -- the directory --
    /// Writes the store's identity and running time.
    PutMeta(Meta),
    /// Writes the public key of the server that the store belongs to.
    PutServerKey(PublicKey),
    /// Writes the directory's counters.
    PutDirectoryCounters(DirectoryCounters),
    /// Writes an address by its number.
    PutAddress(AddressRecord),
    /// Removes an address: its name is free again. Its number stays used.
    RemoveAddress(LogNumber),
    /// Writes a device by its number.
    PutDevice(DeviceRecord),
    /// Removes a device.
    RemoveDevice(u64),
    /// Writes a subscription by user and pattern.
    PutSubscription(SubscriptionRecord),
    /// Removes a subscription.
    RemoveSubscription {
        /// The user's address number.
        user: LogNumber,
        /// The topic or prefix.
        pattern: String,
    },
    /// Writes a lease by its port.
    PutLease(LeaseRecord),
    /// Removes a lease: its port is free, or no longer in the pool.
    RemoveLease(u16),
    /// Writes an invitation code by its digest.
    PutCode(CodeRecord),
    /// Removes an invitation code.
    RemoveCode([u8; 32]),
    /// Writes an invitation to a chat by its name.
    PutInvitation(InvitationRecord),
    /// Removes an invitation to a chat.
    RemoveInvitation([u8; 16]),
    /// Writes a block by its two users.
    PutBlock(BlockRecord),
    /// Removes a block.
    RemoveBlock(BlockRecord),
    /// Writes that a user is hidden.
    PutHidden(HiddenRecord),
    /// Removes that.
    RemoveHidden(HiddenRecord),
    /// Writes when a device was last seen.
    PutSight(SightRecord),
    /// Removes that.
    RemoveSight(u64),
    /// Writes the key that a device goes on with.
    PutNextKey(NextKeyRecord),
    /// Removes that.
    RemoveNextKey(u64),
    /// Writes what an administrator set for a user.
    PutAccount(AccountRecord),
    /// Removes that.
    RemoveAccount(LogNumber),
    /// Writes the limits that are an address's own.
    PutLimits(LimitsRecord),
    /// Removes them: those of the settings hold again.
    RemoveLimits(LogNumber),
    /// Writes a rule for topics.
    PutGrant(GrantRecord),
    /// Removes one.
    RemoveGrant(GrantRecord),
    /// Writes what an administrator did.
    PutAudit(AuditRecord),
    /// Removes the oldest of that, when there is too much.
    RemoveAudit(u64),

    // -- mail --
    /// Writes the mail tree's counters.
    PutMailCounters(MailCounters),
    /// Appends a mail to a log. The body is split into chunks as the engine needs.
    AppendMail {
        /// The log.
        log: LogNumber,
        /// Its id, above every id in the log.
        id: MailId,
        /// Its envelope.
        record: MailRecord,
        /// Its body, shared by the copies of one send.
        body: Arc<[u8]>,
    },
    /// Turns a mail into a tombstone: its body, subject and names go, its place stays.
    ExpireMail {
        /// The log.
        log: LogNumber,
        /// The mail.
        id: MailId,
    },
    /// Removes a mail with its chunks. Mails go from the front of a log: one missing between others
    /// counts as damage when they are read. Removing what is not there is no error.
    RemoveMail {
        /// The log.
        log: LogNumber,
        /// The mail.
        id: MailId,
    },
    /// Writes a log's totals.
    PutLog {
        /// The log.
        log: LogNumber,
        /// Its totals.
        record: LogRecord,
    },
    /// Removes a log's totals.
    RemoveLog(LogNumber),
    /// Writes a stream by its number. The outcomes below its mark are forgotten.
    PutStream(StreamRecord),
    /// Removes a stream with its outcomes.
    RemoveStream(u64),
    /// Writes the outcome of a send: once for each number.
    PutCompletion {
        /// The stream.
        stream: u64,
        /// The number in it.
        number: u64,
        /// The outcome.
        record: CompletionRecord,
    },

    // -- cursors --
    /// Writes how far a device has acknowledged a log.
    PutCursor {
        /// The device.
        device: u64,
        /// The log.
        log: LogNumber,
        /// How far.
        mark: Mark,
    },
    /// Removes a cursor.
    RemoveCursor {
        /// The device.
        device: u64,
        /// The log.
        log: LogNumber,
    },
}

/// One question about mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Mails of a log with `after < id <= upto`, oldest first, with bodies as far as `bytes` goes.
    Page {
        /// The log.
        log: LogNumber,
        /// Exclusive lower bound.
        after: MailId,
        /// Inclusive upper bound: never above the newest synced id.
        upto: MailId,
        /// Rows at most.
        mails: u32,
        /// Body bytes at most over the page. A body that does not fit ends the page, unless it is
        /// over [`crate::limits::FRAME_BYTES_MAX`]: those never come along (their `body` is `None`).
        /// The first mail always comes, or a small budget would never get past it.
        bytes: u64,
    },
    /// The newest `mails` of a log with `id < before` and `id <= upto`, oldest first; otherwise as
    /// `Page`.
    Newest {
        /// The log.
        log: LogNumber,
        /// Exclusive upper bound.
        before: MailId,
        /// Inclusive upper bound: never above the newest synced id.
        upto: MailId,
        /// Rows at most.
        mails: u32,
        /// As in `Page`; here the oldest are left out first.
        bytes: u64,
    },
    /// Bytes of one body.
    Body {
        /// The log.
        log: LogNumber,
        /// The mail.
        id: MailId,
        /// First byte.
        offset: u64,
        /// Bytes at most.
        len: usize,
    },
    /// The mark of the newest mail of a log with an id at or below `id`; [`Mark::ZERO`] when there is
    /// none.
    MarkAt {
        /// The log.
        log: LogNumber,
        /// Inclusive upper bound.
        id: MailId,
    },
    /// Records without bodies of mails with `id > after`, oldest first.
    Oldest {
        /// The log.
        log: LogNumber,
        /// Exclusive lower bound.
        after: MailId,
        /// Rows at most.
        mails: u32,
    },
    /// Mails that are not tombstones yet and whose own expiry lies at or before `at_ms`.
    Expired {
        /// Wall clock, milliseconds since the epoch.
        at_ms: i64,
        /// Rows at most.
        mails: u32,
    },
    /// A part of a backup: the first of one of now, or the one after `had`. One is under way at a time.
    Backup {
        /// The last part that the asker has; none begins.
        had: Option<backup::live::Had>,
        /// When it is made, RFC 3339 in UTC.
        made_at: String,
    },
    /// What administrators did, by numbers above `after`.
    Audit {
        /// Exclusive lower bound.
        after: u64,
        /// Rows at most.
        rows: u32,
    },
}

/// One mail as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMail {
    /// Its id.
    pub id: MailId,
    /// Its envelope.
    pub record: MailRecord,
    /// Its whole body, when it was asked for and is small enough.
    pub body: Option<Vec<u8>>,
}

/// What a [`Query`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To `Page`, `Newest` and `Oldest`.
    Mails {
        /// In id order.
        mails: Vec<StoredMail>,
        /// There are more in the direction of the query, within its bounds.
        more: bool,
    },
    /// To `Body`; nothing when there is no such (live) mail.
    Body(Option<Vec<u8>>),
    /// To `MarkAt`.
    Mark(Mark),
    /// To `Expired`: log and id.
    Expired(Vec<(LogNumber, MailId)>),
    /// To `Backup`; nothing when there is no such backup any more.
    Backup(Option<backup::live::Part>),
    /// To `Audit`.
    Audit {
        /// By number.
        rows: Vec<AuditRecord>,
        /// There are more.
        more: bool,
    },
}

/// Everything but mail: what a broker must know before it serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Identity and running time.
    pub meta: Meta,
    /// The public key of the server that it belongs to, once one has served from it.
    pub server_key: Option<PublicKey>,
    /// Counters of the directory.
    pub directory_counters: DirectoryCounters,
    /// Counters of the mail tree.
    pub mail_counters: MailCounters,
    /// Users and topics, removed ones whose names are reserved included.
    pub addresses: Vec<AddressRecord>,
    /// Devices.
    pub devices: Vec<DeviceRecord>,
    /// Subscriptions.
    pub subscriptions: Vec<SubscriptionRecord>,
    /// Leases.
    pub leases: Vec<LeaseRecord>,
    /// Invitation codes.
    pub codes: Vec<CodeRecord>,
    /// Invitations to chats.
    pub invitations: Vec<InvitationRecord>,
    /// Blocks.
    pub blocks: Vec<BlockRecord>,
    /// Hidden users.
    pub hidden: Vec<HiddenRecord>,
    /// When devices were last seen.
    pub sights: Vec<SightRecord>,
    /// Keys that devices go on with.
    pub next_keys: Vec<NextKeyRecord>,
    /// What administrators set for users.
    pub accounts: Vec<AccountRecord>,
    /// Limits that are an address's own.
    pub limits: Vec<LimitsRecord>,
    /// Rules for topics.
    pub grants: Vec<GrantRecord>,
    /// The first and the last number of what is kept of the audit; nothing when it is empty.
    pub audited: Option<(u64, u64)>,
    /// Totals by log.
    pub logs: Vec<(LogNumber, LogRecord)>,
    /// Streams.
    pub streams: Vec<StreamRecord>,
    /// Outcomes by stream and number.
    pub completions: Vec<(u64, u64, CompletionRecord)>,
    /// Cursors by device and log.
    pub cursors: Vec<(u64, LogNumber, Mark)>,
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process holds it.
    #[error("{path} is in use by another mailserver")]
    InUse {
        /// The store's directory.
        path: String,
    },
    /// The operating system failed a read, write or sync.
    #[error("cannot {deed} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        deed: &'static str,
        /// The file or directory.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The engine failed in another way.
    #[error("the store failed: {0}")]
    Engine(String),
    /// What was read is not what was written.
    #[error("the store in {path} is damaged: {what}")]
    Damaged {
        /// The store's directory.
        path: String,
        /// Which record, and how it is wrong.
        what: String,
    },
    /// Ids that were given out are missing.
    #[error("the store in {path} has lost mail: it ends at id {found}, but {expected} was on disk")]
    Lost {
        /// The store's directory.
        path: String,
        /// The newest id it holds.
        found: MailId,
        /// The newest id it is known to have held.
        expected: MailId,
    },
    /// A newer version wrote it.
    #[error("the store in {path} has format {found}; this mailserver reads up to {known}")]
    Newer {
        /// The store's directory.
        path: String,
        /// Its format.
        found: u32,
        /// The newest format this build reads.
        known: u32,
    },
}

/// Keeps what the broker decided.
///
/// # What an engine owes
/// - [`commit`](Store::commit) returns `Ok` only when every change survives a power cut, and all
///   changes of one tree in one commit are there together or not at all. A mistake here loses
///   acknowledged mail.
/// - Trees are applied in the order directory, mail, cursors: what refers is never there without what
///   it refers to.
/// - After an error nothing is known: the caller ends the process and starts over.
/// - What a [`Reader`] sees may be ahead of the last sync; callers bound their queries by the newest
///   synced id.
pub trait Store: Send {
    /// Returns everything but mail. Called once, before the first commit.
    fn load(&mut self) -> Result<Snapshot, StoreError>;

    /// Applies all changes in order and syncs them.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// Returns a handle for reading mail beside the commits, on another thread.
    fn reader(&self) -> Box<dyn Reader>;

    /// Takes the files that make the server who it is, for backups; before [`reader`](Store::reader). An engine that
    /// keeps nothing has no use for them.
    fn identify(&mut self, _files: Vec<backup::KeptFile>) {}
}

/// Reads mail, beside the commits.
pub trait Reader: Send {
    /// Answers one question; the [`Answer`]'s variant is the query's.
    fn read(&self, query: &Query) -> Result<Answer, StoreError>;
}

/// Returns the digest under which an invitation code is stored, so that a copy of the store is no
/// bag of open codes.
pub fn code_digest(code: &str) -> [u8; 32] {
    *blake3::hash(code.as_bytes()).as_bytes()
}

/// Says whether `key` is all zero, which no CURVE public key is.
pub fn is_no_key(key: &PublicKey) -> bool {
    key.iter().all(|byte| *byte == 0)
}
