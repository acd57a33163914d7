//! CURVE key pairs and the files they lie in: 0600 or not used at all, under a passphrase where one was set.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::seal::{SealError, Sealed};
use crate::limits::KEY_FILE_BYTES_MAX;
use crate::protocol::PublicKey;

/// A CURVE key pair. The secret half never shows in `Debug` and is wiped when dropped.
#[derive(Clone)]
pub struct KeyPair {
    /// Who the holder is on the wire.
    pub public: PublicKey,
    secret: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &hex::encode(self.public))
            .finish_non_exhaustive()
    }
}

/// What a key file holds.
#[derive(Debug, Clone)]
pub enum Stored {
    /// A key pair as it is.
    Open(KeyPair),
    /// One under a passphrase.
    Sealed(Sealed),
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// libzmq was built without libsodium.
    #[error(
        "this libzmq has no CURVE encryption, and Correio speaks nothing else; install a libzmq built \
         with libsodium (Debian and Ubuntu: apt install libzmq5) and start again"
    )]
    NoCurve,
    /// The file cannot be read or written.
    #[error("cannot {deed} the key {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        deed: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Others can read the file.
    #[error(
        "the key {path} can be read by others (mode {mode:04o}); make it private with: chmod 600 {path}"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file does not hold a key.
    #[error("{path} does not hold a key")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// It is under a passphrase, and nobody gave that.
    #[error("the key {path} is under a passphrase")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It stays shut.
    #[error("the key {path} stays shut: {source}")]
    Shut {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SealError,
    },
}

impl KeyError {
    /// Says whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

/// Checks that this libzmq can encrypt. Both programs call it first and refuse to go on without.
pub fn require_curve() -> Result<(), KeyError> {
    match zmq::has("curve") {
        Some(true) => Ok(()),
        _ => Err(KeyError::NoCurve),
    }
}

/// Returns the version of the libzmq that runs.
pub fn libzmq_version() -> String {
    let (major, minor, patch) = zmq::version();
    format!("{major}.{minor}.{patch}")
}

impl KeyPair {
    /// Makes a new key pair from the system's randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = zmq::CurveKeyPair::new().map_err(|_| KeyError::NoCurve)?;
        Ok(Self {
            public: pair.public_key,
            secret: Zeroizing::new(pair.secret_key),
        })
    }

    /// Returns the secret half, for a socket option.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Makes one of its halves, which belong together.
    pub(super) fn from_halves(public: PublicKey, secret: Zeroizing<[u8; 32]>) -> Self {
        Self { public, secret }
    }

    /// Loads the file of a key that is under no passphrase. Refuses a file that others can read.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Stored::load(path)?.unsealed(path)
    }

    /// Loads a key file that systemd lends the process. The right of its user to read it may be an access list,
    /// which shows as a right of the group; the folder it lies in is closed to others.
    pub fn load_credential(path: &Path) -> Result<Self, KeyError> {
        Stored::load_closed_to(path, 0o037)?.unsealed(path)
    }

    /// Saves to a new file of mode 0600; both the file and its directory are synced. Fails if the
    /// file exists.
    pub fn save_new(&self, path: &Path) -> Result<(), KeyError> {
        Stored::Open(self.clone()).save_new(path)
    }

    /// Returns the text of its file: lines of hex digits, public, secret and a checksum of both: a damaged key would
    /// be another key.
    fn to_text(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(hex::encode(*self.secret));
        let halves = Zeroizing::new(format!(
            "{}\n{}\n",
            hex::encode(self.public),
            secret.as_str()
        ));
        Zeroizing::new(format!("{}{}\n", halves.as_str(), checksum(&halves)))
    }

    /// Loads the file, or makes a key and saves it there.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(error) if error.is_missing() => {
                let pair = Self::generate()?;
                pair.save_new(path)?;
                Ok(pair)
            }
            loaded => loaded,
        }
    }

    /// Reads the text of a key file; nothing when it is none, or one under a passphrase.
    pub fn parse(text: &str) -> Option<Self> {
        let (public, rest) = text.trim_end().split_once('\n')?;
        let (secret, sum) = match rest.split_once('\n') {
            Some((secret, sum)) => (secret, Some(sum)),
            None => (rest, None),
        };
        // Files of before have none.
        if sum.is_some_and(|sum| sum != checksum(&format!("{public}\n{secret}\n"))) {
            return None;
        }
        let mut pair = Self {
            public: [0; 32],
            secret: Zeroizing::new([0; 32]),
        };
        hex::decode_to_slice(public, &mut pair.public).ok()?;
        hex::decode_to_slice(secret, &mut *pair.secret).ok()?;
        Some(pair)
    }
}

impl Stored {
    /// Loads a key file. Refuses one that others can read.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        Self::load_closed_to(path, 0o077)
    }

    fn load_closed_to(path: &Path, others: u32) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io {
            deed: "read",
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
        if mode & others != 0 {
            return Err(KeyError::Open {
                path: path.to_owned(),
                mode,
            });
        }
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(KEY_FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        let text = std::str::from_utf8(&bytes).ok();
        text.and_then(Self::parse)
            .ok_or_else(|| KeyError::Malformed {
                path: path.to_owned(),
            })
    }

    /// Returns the key when it is under no passphrase.
    fn unsealed(self, path: &Path) -> Result<KeyPair, KeyError> {
        match self {
            Self::Open(pair) => Ok(pair),
            Self::Sealed(_) => Err(KeyError::Locked {
                path: path.to_owned(),
            }),
        }
    }

    /// Reads the text of a key file; nothing when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let sealed = Sealed::parse(text).map(Self::Sealed);
        sealed.or_else(|| KeyPair::parse(text).map(Self::Open))
    }

    /// Returns who the holder is on the wire.
    pub fn public(&self) -> &PublicKey {
        match self {
            Self::Open(pair) => &pair.public,
            Self::Sealed(sealed) => &sealed.public,
        }
    }

    /// Saves to a new file of mode 0600; both the file and its directory are synced. Fails if the
    /// file exists.
    pub fn save_new(&self, path: &Path) -> Result<(), KeyError> {
        let aside = self.save_aside(path)?;
        let linked = fs::hard_link(&aside, path).and_then(|()| fs::remove_file(&aside));
        linked
            .and_then(|()| sync_folder_of(path))
            .map_err(cannot_write(path))
    }

    /// Takes the place of the file: after a crash it holds the one key or the other, whole.
    pub fn replace(&self, path: &Path) -> Result<(), KeyError> {
        let aside = self.save_aside(path)?;
        fs::rename(&aside, path)
            .and_then(|()| sync_folder_of(path))
            .map_err(cannot_write(path))
    }

    /// Writes and syncs a file beside the one at `path`.
    fn save_aside(&self, path: &Path) -> Result<PathBuf, KeyError> {
        let io = cannot_write(path);
        let unfinished = path.with_extension("new");
        drop(fs::remove_file(&unfinished));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .map_err(&io)?;
        let text = match self {
            Self::Open(pair) => pair.to_text(),
            Self::Sealed(sealed) => Zeroizing::new(sealed.to_text()),
        };
        file.write_all(text.as_bytes()).map_err(&io)?;
        file.sync_all().map_err(&io)?;
        Ok(unfinished)
    }
}

fn cannot_write(path: &Path) -> impl Fn(std::io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::Io {
        deed: "write",
        path: path.clone(),
        source,
    }
}

fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// CRC-32C in hex digits.
fn checksum(halves: &str) -> String {
    format!("{:08x}", crc32c::crc32c(halves.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_private_files_that_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = KeyPair::load_or_create(&path).unwrap();
        let read = KeyPair::load_or_create(&path).unwrap();
        assert_eq!((made.public, made.secret()), (read.public, read.secret()));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(!format!("{made:?}").contains(&hex::encode(made.secret())));
        assert!(made.save_new(&path).is_err(), "a key is never overwritten");
    }

    #[test]
    fn a_key_with_a_flipped_bit_is_no_key_and_one_without_a_checksum_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = KeyPair::load_or_create(&path).unwrap();
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() - 1 {
            let mut broken = sound.clone();
            broken[at] ^= 1;
            fs::write(&path, broken).unwrap();
            assert!(KeyPair::load(&path).is_err(), "byte {at}");
        }
        fs::write(&path, &sound[..130]).unwrap();
        assert_eq!(KeyPair::load(&path).unwrap().public, made.public);
    }

    #[test]
    fn open_and_broken_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        KeyPair::generate().unwrap().save_new(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            KeyPair::load(&path),
            Err(KeyError::Open { mode: 0o644, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        assert!(KeyPair::load(&path).is_err(), "a group may not read it");
        assert!(
            KeyPair::load_credential(&path).is_ok(),
            "but of a credential"
        );
        for mode in [0o644, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(KeyPair::load_credential(&path).is_err(), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for bytes in [&b"not a key"[..], &[0xff; 80]] {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(
                KeyPair::load(&path),
                Err(KeyError::Malformed { .. })
            ));
        }
    }
}
