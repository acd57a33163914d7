//! The wire: names, codes, requests, replies and notices, and nothing that does I/O.
//!
//! `docs/protocol.md` says the same in prose, for people who write a client in another language; a
//! test fails when the two list different verbs or codes. Start with [`request`], then [`reply`].
//! This module imports nothing of the rest.

pub mod active;
pub mod codes;
pub mod names;
pub mod notice;
pub mod reply;
pub mod request;
pub mod time;
pub mod url;

/// Magic word of a `hello`: whoever does not say it is not one of our clients.
pub const MAGIC: &str = "correio";

/// The newest protocol version this build speaks.
pub const VERSION: u32 = 1;

/// The oldest protocol version this build speaks.
pub const VERSION_OLDEST: u32 = 1;

/// Names of optional features this build offers in `hello`; clients ignore those they do not know.
pub const FEATURES: &[&str] = &[
    "mail", "topics", "prefixes", "history", "leases", "live", "admin", "chat",
];

/// A CURVE public key: who a client is on the wire.
pub type PublicKey = [u8; 32];

/// A mail's number: given in acceptance order, unique on its server, never used again, below 2^53.
pub type MailId = u64;

/// A log's number: the address it belongs to, never used again.
pub type LogNumber = u64;

/// Which mail another one answers, by the numbers that all copies of each share. As its sender said it:
/// neither needs to be there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Answers {
    /// The one that is answered.
    pub in_reply_to: MailId,
    /// The one that began the thread.
    pub thread: MailId,
}
