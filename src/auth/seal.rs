//! A secret key under a passphrase: Argon2id makes a key of it, XChaCha20-Poly1305 seals.
//!
//! Pure: random bytes come in, and files are `keys`' affair. What opening costs stands in the file, so that a later
//! release may ask for more; limits keep a file of somebody else from asking for all memory there is.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::keys::KeyPair;
use crate::limits;
use crate::protocol::PublicKey;

/// First line of a sealed key's file. A plain one begins with its public half.
const HEAD: &str = "correio-key 2";

/// Random bytes that a seal takes: salt and nonce.
pub const RANDOM_BYTES: usize = SALT_BYTES + NONCE_BYTES;

const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
/// The secret half and the seal's tag.
const BOX_BYTES: usize = 32 + 16;

/// What somebody remembers. Never shown, and wiped when dropped.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase as it was typed.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// Returns how many characters it has.
    pub fn chars(&self) -> usize {
        self.0.chars().count()
    }
}

impl PartialEq for Passphrase {
    /// Compares what one person typed twice: nobody measures how long that takes.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// What it costs to try one passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// RFC 9106's second choice with one lane: a sixth of a second here, and 64 MiB for each guess.
const COST: Cost = Cost {
    memory_kib: 64 * 1024,
    passes: 3,
    lanes: 1,
};

/// A key pair whose secret half is under a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Who the holder is on the wire: no secret.
    pub public: PublicKey,
    cost: Cost,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    secret: [u8; BOX_BYTES],
}

/// Why a sealed key stays shut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The passphrase is another, or somebody changed the file.
    #[error("that is not its passphrase")]
    Wrong,
    /// There is not enough memory to try.
    #[error("there is not enough memory to try a passphrase")]
    Memory,
}

impl Sealed {
    /// Seals a key pair.
    pub fn seal(
        keys: &KeyPair,
        passphrase: &Passphrase,
        random: &[u8; RANDOM_BYTES],
    ) -> Result<Self, SealError> {
        let (salt, nonce) = random.split_at(SALT_BYTES);
        let mut sealed = Self {
            public: keys.public,
            cost: COST,
            salt: [0; SALT_BYTES],
            nonce: [0; NONCE_BYTES],
            secret: [0; BOX_BYTES],
        };
        sealed.salt.copy_from_slice(salt);
        sealed.nonce.copy_from_slice(nonce);
        let head = sealed.head();
        let payload = Payload {
            msg: keys.secret(),
            aad: head.as_bytes(),
        };
        let bytes = sealed
            .cipher(passphrase)?
            .encrypt(&XNonce::from(sealed.nonce), payload)
            .map_err(|_| SealError::Memory)?;
        sealed.secret = bytes.try_into().map_err(|_| SealError::Memory)?;
        Ok(sealed)
    }

    /// Opens it.
    pub fn open(&self, passphrase: &Passphrase) -> Result<KeyPair, SealError> {
        let head = self.head();
        let payload = Payload {
            msg: &self.secret,
            aad: head.as_bytes(),
        };
        let opened = self
            .cipher(passphrase)?
            .decrypt(&XNonce::from(self.nonce), payload)
            .map_err(|_| SealError::Wrong)?;
        let opened = Zeroizing::new(opened);
        let mut secret = Zeroizing::new([0; 32]);
        if opened.len() != secret.len() {
            return Err(SealError::Wrong);
        }
        secret.copy_from_slice(&opened);
        Ok(KeyPair::from_halves(self.public, secret))
    }

    fn cipher(&self, passphrase: &Passphrase) -> Result<XChaCha20Poly1305, SealError> {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        let params =
            Params::new(memory_kib, passes, lanes, Some(32)).map_err(|_| SealError::Wrong)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.0.as_bytes(), &self.salt, &mut *key)
            .map_err(|_| SealError::Memory)?;
        Ok(XChaCha20Poly1305::new((&*key).into()))
    }

    /// The lines that are no secret; the seal covers them too.
    fn head(&self) -> String {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        format!(
            "{HEAD}\n{}\nargon2id {memory_kib} {passes} {lanes} {}\n",
            hex::encode(self.public),
            hex::encode(self.salt),
        )
    }

    /// Returns the text of its file.
    pub fn to_text(&self) -> String {
        let lines = format!(
            "{}xchacha20poly1305 {} {}\n",
            self.head(),
            hex::encode(self.nonce),
            hex::encode(self.secret)
        );
        let sum = crc32c::crc32c(lines.as_bytes());
        format!("{lines}{sum:08x}\n")
    }

    /// Reads the text of a file; nothing when it is no sealed key, or one that asks for more than may be asked.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let public = bytes(lines.next()?)?;
        let (cost, salt) = lines.next()?.strip_prefix("argon2id ")?.rsplit_once(' ')?;
        let (nonce, sealed) = lines
            .next()?
            .strip_prefix("xchacha20poly1305 ")?
            .split_once(' ')?;
        let found = Self {
            public,
            cost: Cost::parse(cost)?,
            salt: bytes(salt)?,
            nonce: bytes(nonce)?,
            secret: bytes(sealed)?,
        };
        // There is one way to write it, and its checksum is part of that.
        (found.to_text() == text).then_some(found)
    }
}

impl Cost {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let cost = Self {
            memory_kib: next()?,
            passes: next()?,
            lanes: next()?,
        };
        let is_bounded = cost.memory_kib <= limits::KEY_MEMORY_KIB_MAX
            && cost.passes <= limits::KEY_PASSES_MAX
            && cost.lanes <= limits::KEY_LANES_MAX;
        let is_possible = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).is_ok();
        (is_bounded && is_possible && numbers.next().is_none()).then_some(cost)
    }
}

fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(hex, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_and_no_other() {
        let keys = KeyPair::generate().unwrap();
        let sealed = Sealed::seal(&keys, &passphrase("café com leite"), &[7; 40]).unwrap();
        let text = sealed.to_text();
        assert!(!text.contains(&hex::encode(keys.secret())));
        let read = Sealed::parse(&text).unwrap();
        assert_eq!(read, sealed);
        let opened = read.open(&passphrase("café com leite")).unwrap();
        assert_eq!(
            (opened.public, opened.secret()),
            (keys.public, keys.secret())
        );
        for other in ["", "cafe com leite", "café com leite "] {
            assert_eq!(read.open(&passphrase(other)).err(), Some(SealError::Wrong));
        }
        let lower = text.replace("argon2id 65536 3 1", "argon2id 65536 1 1");
        let sum = crc32c::crc32c(&lower.as_bytes()[..lower.len() - 9]);
        let lower = format!("{}{sum:08x}\n", &lower[..lower.len() - 9]);
        let changed = Sealed::parse(&lower).unwrap();
        let opened = changed.open(&passphrase("café com leite"));
        assert_eq!(
            opened.err(),
            Some(SealError::Wrong),
            "the seal covers the cost"
        );
    }

    #[test]
    fn p09_a_hostile_file_is_no_key_and_costs_nothing() {
        let keys = KeyPair::generate().unwrap();
        let cheap = Sealed {
            cost: Cost {
                memory_kib: 8,
                passes: 1,
                lanes: 1,
            },
            ..Sealed {
                public: keys.public,
                cost: COST,
                salt: [1; 16],
                nonce: [2; 24],
                secret: [3; 48],
            }
        };
        assert_eq!(Sealed::parse(&cheap.to_text()), Some(cheap.clone()));
        let with = |memory_kib, passes, lanes| {
            let cost = Cost {
                memory_kib,
                passes,
                lanes,
            };
            Sealed::parse(
                &Sealed {
                    cost,
                    ..cheap.clone()
                }
                .to_text(),
            )
        };
        assert!(with(limits::KEY_MEMORY_KIB_MAX, limits::KEY_PASSES_MAX, 4).is_some());
        assert_eq!(with(limits::KEY_MEMORY_KIB_MAX + 1, 1, 1), None);
        assert_eq!(with(64, limits::KEY_PASSES_MAX + 1, 1), None);
        assert_eq!(with(64, 1, limits::KEY_LANES_MAX + 1), None);
        assert_eq!(with(7, 1, 1), None, "less than there can be");
        assert_eq!(with(8, 0, 1), None);
        let text = cheap.to_text();
        for at in 0..text.len() {
            let mut broken = text.clone().into_bytes();
            broken[at] ^= 1;
            let broken = String::from_utf8(broken).unwrap();
            assert_eq!(Sealed::parse(&broken), None, "byte {at}");
        }
        assert_eq!(Sealed::parse(""), None);
        assert_eq!(Sealed::parse(&text.to_uppercase()), None);
    }

    #[test]
    fn a_passphrase_does_not_show() {
        let shown = format!("{:?}", passphrase("secret"));
        assert!(!shown.contains("secret"), "{shown}");
        assert_eq!(passphrase("açaí").chars(), 4);
    }
}
