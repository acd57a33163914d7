//! Notices: `[notice key][JSON header][body]` on the live socket. Hints, never the truth: a client
//! that misses every one of them loses nothing (docs/protocol.md, "Live").

use serde::{Deserialize, Serialize};

use super::LogNumber;
use super::reply::{ChatRow, Envelope, LogInfo};

/// Bytes of a notice key: log number and generation, both big-endian.
pub const KEY_BYTES: usize = 16;

/// What a client subscribes to. A fixed length and two numbers: no key is the prefix of another, and
/// when somebody loses a right the generation goes up and nothing is published on the old key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NoticeKey {
    /// The address.
    pub log: LogNumber,
    /// Its generation.
    pub generation: u64,
}

impl NoticeKey {
    /// Returns the bytes on the wire.
    pub fn to_bytes(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&self.log.to_be_bytes());
        bytes[8..].copy_from_slice(&self.generation.to_be_bytes());
        bytes
    }

    /// Reads the bytes of a subscription or notice; nothing but exactly 16 bytes is a key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; KEY_BYTES] = bytes.try_into().ok()?;
        let (log, generation) = bytes.split_at(8);
        Some(Self {
            log: u64::from_be_bytes(log.try_into().ok()?),
            generation: u64::from_be_bytes(generation.try_into().ok()?),
        })
    }

    /// Returns the text form in replies.
    pub fn to_hex(self) -> String {
        hex::encode(self.to_bytes())
    }

    /// Reads the text form.
    pub fn from_hex(text: &str) -> Option<Self> {
        Self::from_bytes(&hex::decode(text).ok()?)
    }
}

/// One notice, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// A mail entered the log; its body follows when `frames` is 1.
    Mail {
        /// The log it entered.
        log: LogNumber,
        /// Its envelope.
        #[serde(flatten)]
        envelope: Envelope,
    },
    /// A subscription frame of this user was granted: notices of that log reach it from here on.
    Granted {
        /// The log.
        log: LogNumber,
    },
    /// A log of this user is new or has another key: subscribe to it, then fetch.
    Log {
        /// The log as it is now. Not flattened: a log has a `kind` of its own.
        info: LogInfo,
    },
    /// An invitation to or from this user is new or stands otherwise now.
    Chat {
        /// The invitation as it is now.
        invitation: ChatRow,
    },
    /// Something else changed that a refresh shows.
    Refresh,
    /// A kind that a newer server knows.
    #[serde(other)]
    Unknown,
}

impl Notice {
    /// Encodes the header frame.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("notices are maps with text keys, which JSON always holds")
    }

    /// Decodes a header frame; nothing when it is not one.
    pub fn decode(header: &[u8]) -> Option<Self> {
        match serde_json::from_slice(header).ok()? {
            // Most are mails: read straight from the text, without a tree of everything in between.
            Place {
                kind: Kind::Mail,
                log: Some(log),
            } => {
                let envelope = serde_json::from_slice(header).ok()?;
                Some(Self::Mail { log, envelope })
            }
            _ => serde_json::from_slice(header).ok(),
        }
    }
}

/// What a mail's notice holds beside the envelope.
#[derive(Deserialize)]
struct Place {
    kind: Kind,
    log: Option<LogNumber>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Mail,
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sixteen_bytes_or_nothing() {
        let key = NoticeKey {
            log: 3,
            generation: 258,
        };
        assert_eq!(NoticeKey::from_bytes(&key.to_bytes()), Some(key));
        assert_eq!(NoticeKey::from_hex(&key.to_hex()), Some(key));
        assert_eq!(NoticeKey::from_bytes(b""), None);
        assert_eq!(NoticeKey::from_bytes(&[0; 15]), None);
        assert_eq!(NoticeKey::from_bytes(&[0; 17]), None);
    }

    #[test]
    fn unknown_kinds_are_read_as_such() {
        assert_eq!(
            Notice::decode(br#"{"kind":"of_tomorrow","x":1}"#),
            Some(Notice::Unknown)
        );
        let granted = Notice::Granted { log: 4 };
        assert_eq!(Notice::decode(&granted.encode()), Some(granted));
    }

    #[test]
    fn a_log_notice_keeps_the_logs_own_kind() {
        let info = LogInfo {
            log: 10,
            address: "lab/laser".into(),
            kind: "topic".into(),
            key: "0".repeat(2 * KEY_BYTES),
            head: 0,
            cursor: 0,
            n: 0,
            waiting: 0,
        };
        let notice = Notice::Log { info };
        assert_eq!(Notice::decode(&notice.encode()), Some(notice));
    }
}
