//! A backup: every record of a store and the server's identity, in one stream of bytes.
//!
//! [`Writer`] makes it from rows that somebody hands over in key order, [`Reader`] gives them back
//! and believes nothing: each block has a checksum over its place and its bytes, the last one a
//! BLAKE3 of all before it. Both take plain [`std::io`] streams, so a file, a pipe and a test are the
//! same to them; neither opens a file or knows an engine (that is `sled/copy.rs`) or what a record
//! means. [`live`] makes one of a store that goes on, in parts. `docs/storage.md`, "Backups", has the bytes.

pub mod live;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;

use serde::{Deserialize, Serialize};

use super::{Meta, StoreError};
pub use read::Reader;
pub use write::Writer;

/// First bytes of a backup. None of them can begin a text.
pub const MAGIC: [u8; 8] = *b"\x93correio";

/// The version of the format that this build writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// The files that make a server who it is and where it was: nothing else travels beside the records.
/// The first must be there.
pub const FILES: [&str; 3] = ["server.key", "admin.key", "ports"];

/// Bytes of the preface: magic, version, checksum.
const PREFACE_BYTES: usize = 16;

/// Bytes before a block's content: kind, packing, two zeros, both lengths, checksum.
const HEAD_BYTES: usize = 16;

/// Bytes of a row before its key: tree, length of the key, length of the value.
const ROW_BYTES: usize = 4;

/// Bytes of the last block: rows by tree, then the hash.
const END_BYTES: usize = 3 * 8 + blake3::OUT_LEN;

/// What a backup says of itself, first of all. Fields may be added; readers skip those they do not
/// know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// When it was made, RFC 3339 in UTC.
    pub made_at: String,
    /// The version of the mailserver that made it.
    pub server: String,
    /// The format of the store.
    pub format: u32,
    /// The incarnation of the store. A restored one gets another.
    pub incarnation: u64,
}

impl Header {
    /// Says what a backup by this build is of.
    pub(super) fn of(meta: &Meta, made_at: String) -> Self {
        Self {
            made_at,
            server: env!("CARGO_PKG_VERSION").to_owned(),
            format: meta.format,
            incarnation: meta.incarnation,
        }
    }
}

/// One file beside the records: its name, out of [`FILES`], and its bytes. May hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub content: zeroize::Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for KeptFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptFile")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What went into a backup, or came out of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records, in the order directory, mail, cursors.
    pub rows: [u64; 3],
    /// Bytes of the whole backup.
    pub bytes: u64,
}

impl Totals {
    /// Returns the number of all records.
    pub fn records(&self) -> u64 {
        self.rows.iter().sum()
    }
}

/// Why a backup was not made, or is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It begins like something else.
    #[error("this is no backup of a mailserver: it does not begin like one")]
    Foreign,
    /// A newer version made it.
    #[error("the backup has version {found}; this mailserver reads up to {VERSION}")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// It ends before its end mark.
    #[error("the backup is cut short: it ends at byte {at}, before its end mark")]
    Short {
        /// Bytes that are there.
        at: u64,
    },
    /// What was read is not what was written.
    #[error("the backup is damaged at byte {at}: {what}")]
    Damaged {
        /// Where the block begins that is wrong.
        at: u64,
        /// How it is wrong.
        what: String,
    },
    /// Its stream failed.
    #[error("cannot {deed} the backup: {source}")]
    Stream {
        /// What was tried, as a verb.
        deed: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The store failed, or what is in it does not fit together.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a block holds: its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Block {
    Header = 1,
    Files = 2,
    Rows = 3,
    End = 4,
}

impl Block {
    fn of(byte: u8) -> Option<Self> {
        [Self::Header, Self::Files, Self::Rows, Self::End]
            .into_iter()
            .find(|block| *block as u8 == byte)
    }
}

/// How a block's content is stored: its second byte.
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// Covers the block's number too, so that one in another's place is noticed where it stands.
fn checksum(number: u32, head: &[u8], stored: &[u8]) -> u32 {
    let number = crc32c::crc32c(&number.to_be_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(number, head), stored)
}
