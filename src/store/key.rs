//! The keys of all records: one byte for the kind, then big-endian numbers, so that byte order is
//! number order and a log, a stream or a device is one range.
//!
//! Keys only; what stands behind them is `codec`. `docs/storage.md`, "Keys", has the same table.

use super::GrantRecord;
use crate::protocol::request::Right;
use crate::protocol::{LogNumber, MailId};

/// A tree of the engine. A commit is atomic within one; they are applied in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tree {
    /// Who the server is; users, topics, devices, subscriptions, leases, codes, invitations, blocks, who is hidden,
    /// when devices were seen, what administrators set and did, and their counters.
    Directory,
    /// Mails, chunks, totals, streams, completions and their counters.
    Mail,
    /// How far each device has acknowledged each log.
    Cursors,
}

impl Tree {
    /// All trees, in the order of application.
    pub(super) const ALL: [Self; 3] = [Self::Directory, Self::Mail, Self::Cursors];

    /// Returns the tree's name in the engine.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Mail => "mail",
            Self::Cursors => "cursors",
        }
    }
}

/// The kind of a record: first byte of its key and second byte of its envelope. Never given another
/// meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Kind {
    Meta = 0x01,
    DirectoryCounters = 0x02,
    Address = 0x03,
    Device = 0x04,
    Subscription = 0x05,
    Lease = 0x06,
    Code = 0x07,
    Invitation = 0x08,
    Block = 0x09,
    ServerKey = 0x0a,
    Hidden = 0x0b,
    Sight = 0x0c,
    NextKey = 0x0d,
    Account = 0x0e,
    Limits = 0x0f,
    MailCounters = 0x10,
    Mail = 0x11,
    Chunk = 0x12,
    Log = 0x13,
    Stream = 0x14,
    Completion = 0x15,
    Expiry = 0x16,
    Cursor = 0x20,
    Audit = 0x30,
    Grant = 0x31,
}

impl Kind {
    /// Every kind, in key order.
    pub(super) const ALL: [Self; 25] = [
        Self::Meta,
        Self::DirectoryCounters,
        Self::Address,
        Self::Device,
        Self::Subscription,
        Self::Lease,
        Self::Code,
        Self::Invitation,
        Self::Block,
        Self::ServerKey,
        Self::Hidden,
        Self::Sight,
        Self::NextKey,
        Self::Account,
        Self::Limits,
        Self::MailCounters,
        Self::Mail,
        Self::Chunk,
        Self::Log,
        Self::Stream,
        Self::Completion,
        Self::Expiry,
        Self::Cursor,
        Self::Audit,
        Self::Grant,
    ];

    /// Returns the byte in keys and envelopes.
    pub(super) const fn byte(self) -> u8 {
        self as u8
    }

    /// Returns the kind of a key or envelope byte.
    pub(super) fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    /// Returns the tree that holds records of this kind.
    pub(super) const fn tree(self) -> Tree {
        match self {
            Self::Meta
            | Self::DirectoryCounters
            | Self::Address
            | Self::Device
            | Self::Subscription
            | Self::Lease
            | Self::Code
            | Self::Invitation
            | Self::Block
            | Self::ServerKey
            | Self::Hidden
            | Self::Sight
            | Self::NextKey
            | Self::Account
            | Self::Limits
            | Self::Audit
            | Self::Grant => Tree::Directory,
            Self::MailCounters
            | Self::Mail
            | Self::Chunk
            | Self::Log
            | Self::Stream
            | Self::Completion
            | Self::Expiry => Tree::Mail,
            Self::Cursor => Tree::Cursors,
        }
    }

    /// Returns the word for it in reports.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::DirectoryCounters => "directory counters",
            Self::Address => "address",
            Self::Device => "device",
            Self::Subscription => "subscription",
            Self::Lease => "lease",
            Self::Code => "code",
            Self::Invitation => "invitation",
            Self::Block => "block",
            Self::ServerKey => "server key",
            Self::Hidden => "hidden",
            Self::Sight => "sight",
            Self::NextKey => "next key",
            Self::Account => "account",
            Self::Limits => "limits",
            Self::MailCounters => "mail counters",
            Self::Mail => "mail",
            Self::Chunk => "chunk",
            Self::Log => "log",
            Self::Stream => "stream",
            Self::Completion => "completion",
            Self::Expiry => "expiry",
            Self::Cursor => "cursor",
            Self::Audit => "audit",
            Self::Grant => "grant",
        }
    }
}

pub(super) fn meta() -> [u8; 1] {
    [Kind::Meta.byte()]
}

pub(super) fn directory_counters() -> [u8; 1] {
    [Kind::DirectoryCounters.byte()]
}

pub(super) fn address(number: LogNumber) -> [u8; 9] {
    one(Kind::Address, number)
}

pub(super) fn device(number: u64) -> [u8; 9] {
    one(Kind::Device, number)
}

pub(super) fn subscription(user: LogNumber, pattern: &str) -> Vec<u8> {
    [&one(Kind::Subscription, user), pattern.as_bytes()].concat()
}

pub(super) fn lease(port: u16) -> [u8; 3] {
    let [high, low] = port.to_be_bytes();
    [Kind::Lease.byte(), high, low]
}

pub(super) fn code(digest: &[u8; 32]) -> [u8; 33] {
    let mut key = [Kind::Code.byte(); 33];
    key[1..].copy_from_slice(digest);
    key
}

pub(super) fn invitation(chat: &[u8; 16]) -> [u8; 17] {
    let mut key = [Kind::Invitation.byte(); 17];
    key[1..].copy_from_slice(chat);
    key
}

pub(super) fn block(user: LogNumber, blocked: LogNumber) -> [u8; 17] {
    two(Kind::Block, user, blocked)
}

pub(super) fn server_key() -> [u8; 1] {
    [Kind::ServerKey.byte()]
}

pub(super) fn hidden(user: LogNumber) -> [u8; 9] {
    one(Kind::Hidden, user)
}

pub(super) fn sight(device: u64) -> [u8; 9] {
    one(Kind::Sight, device)
}

pub(super) fn next_key(device: u64) -> [u8; 9] {
    one(Kind::NextKey, device)
}

pub(super) fn account(user: LogNumber) -> [u8; 9] {
    one(Kind::Account, user)
}

pub(super) fn limits(address: LogNumber) -> [u8; 9] {
    one(Kind::Limits, address)
}

pub(super) fn audit(number: u64) -> [u8; 9] {
    one(Kind::Audit, number)
}

pub(super) fn grant(record: &GrantRecord) -> Vec<u8> {
    let right = match record.right {
        Right::Read => 0,
        Right::Send => 1,
    };
    let who = record.who.unwrap_or(0).to_be_bytes();
    [
        &[Kind::Grant.byte(), right],
        &who[..],
        record.topic.as_bytes(),
    ]
    .concat()
}

pub(super) fn mail_counters() -> [u8; 1] {
    [Kind::MailCounters.byte()]
}

pub(super) fn mail(log: LogNumber, id: MailId) -> [u8; 17] {
    two(Kind::Mail, log, id)
}

pub(super) fn chunk(log: LogNumber, id: MailId, index: u32) -> [u8; 21] {
    let mut key = [0; 21];
    key[..17].copy_from_slice(&two(Kind::Chunk, log, id));
    key[17..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(super) fn log(log: LogNumber) -> [u8; 9] {
    one(Kind::Log, log)
}

pub(super) fn stream(number: u64) -> [u8; 9] {
    one(Kind::Stream, number)
}

pub(super) fn completion(stream: u64, number: u64) -> [u8; 17] {
    two(Kind::Completion, stream, number)
}

pub(super) fn expiry(at_ms: i64, log: LogNumber, id: MailId) -> [u8; 25] {
    let mut key = [0; 25];
    key[..17].copy_from_slice(&two(Kind::Expiry, ordered(at_ms), log));
    key[17..].copy_from_slice(&id.to_be_bytes());
    key
}

pub(super) fn cursor(device: u64, log: LogNumber) -> [u8; 17] {
    two(Kind::Cursor, device, log)
}

/// Returns the numbers after the kind byte; nothing when the key has another length.
pub(super) fn numbers<const N: usize>(key: &[u8]) -> Option<[u64; N]> {
    let (words, rest) = key.get(1..)?.as_chunks::<8>();
    let words: &[[u8; 8]; N] = words.try_into().ok()?;
    rest.is_empty().then(|| words.map(u64::from_be_bytes))
}

/// Returns the log, the mail and the index of a chunk's key.
pub(super) fn chunk_parts(key: &[u8]) -> Option<(LogNumber, MailId, u32)> {
    let (head, index) = key.split_at_checked(17)?;
    let [log, id] = numbers(head)?;
    Some((log, id, u32::from_be_bytes(index.try_into().ok()?)))
}

/// Maps signed to unsigned numbers in the same order.
fn ordered(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

fn one(kind: Kind, number: u64) -> [u8; 9] {
    let mut key = [kind.byte(); 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn two(kind: Kind, first: u64, second: u64) -> [u8; 17] {
    let mut key = [kind.byte(); 17];
    key[1..9].copy_from_slice(&first.to_be_bytes());
    key[9..].copy_from_slice(&second.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_order_is_number_order() {
        assert!(mail(1, 255) < mail(1, 256));
        assert!(mail(1, u64::MAX) < mail(2, 0));
        assert!(expiry(-1, 9, 9) < expiry(0, 0, 0));
        assert!(expiry(5, 1, 1) < expiry(6, 0, 0));
        assert!(chunk(1, 2, 255) < chunk(1, 2, 256));
    }

    #[test]
    fn numbers_come_back() {
        assert_eq!(numbers(&mail(7, 8)), Some([7, 8]));
        assert_eq!(numbers::<2>(&log(7)), None);
        assert_eq!(numbers::<1>(&lease(7)), None);
        assert_eq!(chunk_parts(&chunk(1, 2, 3)), Some((1, 2, 3)));
        assert_eq!(chunk_parts(&mail(1, 2)), None);
    }

    #[test]
    fn kinds_are_listed_once_and_in_order() {
        assert!(Kind::ALL.is_sorted_by(|a, b| a < b));
        assert!(
            Kind::ALL
                .iter()
                .all(|kind| Kind::of(kind.byte()) == Some(*kind))
        );
        assert_eq!(Kind::of(0), None);
    }
}
