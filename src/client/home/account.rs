//! One user at one server: this device's key, and the files that are the account's own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::files::{self, FileError, failed};
use super::super::mailbox::Mailbox;
use super::super::muted::Muted;
use super::super::outbox::Outbox;
use super::super::receipt;
use super::super::shown::Shown;
use super::{AccountName, HomeError, Place};
use crate::auth::keys::{KeyError, KeyPair, Stored};
use crate::auth::seal::{Passphrase, RANDOM_BYTES, Sealed};
use crate::protocol::PublicKey;
use crate::protocol::names::UserName;
use crate::protocol::url::ServerUrl;

/// The file of a device's key.
pub(super) const KEY: &str = "key";

/// The file of the key that takes its place.
const NEXT_KEY: &str = "key.next";

/// One user at one server, with this device's key. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Account {
    pub(super) folder: PathBuf,
    pub(super) user: UserName,
    pub(super) place: Place,
    pub(super) keys: Keys,
}

/// This device's key, as far as it is at hand.
#[derive(Debug, Clone)]
pub(super) enum Keys {
    /// Ready, with the passphrase that its file is under: a key that takes its place goes under the same.
    Open(KeyPair, Option<Arc<Passphrase>>),
    /// Under a passphrase that nobody has given yet.
    Locked(Sealed),
}

#[derive(Serialize, Deserialize)]
pub(in crate::client) struct AccountFile {
    pub(super) v: u32,
    pub(super) url: String,
    #[serde(default)]
    pub(super) source: Option<PathBuf>,
    /// The server knows the key: the first login went through.
    #[serde(default)]
    pub(super) confirmed: bool,
}

impl Account {
    /// Returns the user.
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// Returns the server's public key, which the account belongs to.
    pub fn server_key(&self) -> &PublicKey {
        &self.place.url.key
    }

    /// Returns the same account with the server at `place` for this once; nothing is saved. The place
    /// must be of the same server.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Returns this device's key pair; an error when it is under a passphrase and [`Account::unlocked`] was not asked.
    pub fn keys(&self) -> Result<&KeyPair, KeyError> {
        match &self.keys {
            Keys::Open(pair, _) => Ok(pair),
            Keys::Locked(_) => Err(KeyError::Locked {
                path: self.key_file(),
            }),
        }
    }

    /// Returns the public half of this device's key.
    pub fn public_key(&self) -> &PublicKey {
        match &self.keys {
            Keys::Open(pair, _) => &pair.public,
            Keys::Locked(sealed) => &sealed.public,
        }
    }

    /// Returns the file of this device's key.
    pub fn key_file(&self) -> PathBuf {
        self.folder.join(KEY)
    }

    /// Says whether the key needs its passphrase before it is of use.
    pub fn is_locked(&self) -> bool {
        matches!(self.keys, Keys::Locked(_))
    }

    /// Says whether the key's file is under a passphrase.
    pub fn is_protected(&self) -> bool {
        !matches!(self.keys, Keys::Open(_, None))
    }

    /// Returns the same account with its key ready for use.
    pub fn unlocked(&self, passphrase: impl Into<Arc<Passphrase>>) -> Result<Self, KeyError> {
        let passphrase = passphrase.into();
        let Keys::Locked(sealed) = &self.keys else {
            return Ok(self.clone());
        };
        let pair = self.open(&self.key_file(), sealed, &passphrase)?;
        Ok(Self {
            keys: Keys::Open(pair, Some(passphrase)),
            ..self.clone()
        })
    }

    /// Puts this device's key under a passphrase, or under none. The account must be unlocked.
    pub fn protect(&self, passphrase: Option<Passphrase>) -> Result<Self, HomeError> {
        let _lock = self.lock_key()?;
        let passphrase = passphrase.map(Arc::new);
        // What was to take the key's place may do so yet.
        for path in [self.folder.join(NEXT_KEY), self.key_file()] {
            let Some(pair) = self.read(&path)? else {
                continue;
            };
            stored(&pair, passphrase.as_deref(), &path)?.replace(&path)?;
        }
        Ok(Self {
            keys: Keys::Open(self.keys()?.clone(), passphrase),
            ..self.clone()
        })
    }

    /// Reads a key of this device with the passphrase of its own; nothing when there is no such file.
    fn read(&self, path: &Path) -> Result<Option<KeyPair>, KeyError> {
        match Stored::load(path) {
            Err(error) if error.is_missing() => Ok(None),
            Ok(Stored::Open(pair)) => Ok(Some(pair)),
            Ok(Stored::Sealed(sealed)) => match self.passphrase() {
                Some(passphrase) => self.open(path, &sealed, &passphrase).map(Some),
                None => Err(KeyError::Locked {
                    path: path.to_owned(),
                }),
            },
            Err(error) => Err(error),
        }
    }

    fn open(
        &self,
        path: &Path,
        sealed: &Sealed,
        passphrase: &Passphrase,
    ) -> Result<KeyPair, KeyError> {
        // The usual case of a standing program: its own key is at hand.
        if let Keys::Open(pair, _) = &self.keys
            && pair.public == sealed.public
        {
            return Ok(pair.clone());
        }
        sealed.open(passphrase).map_err(|source| KeyError::Shut {
            path: path.to_owned(),
            source,
        })
    }

    /// Returns the passphrase that its file is under, if it was given.
    pub fn passphrase(&self) -> Option<Arc<Passphrase>> {
        match &self.keys {
            Keys::Open(_, passphrase) => passphrase.clone(),
            Keys::Locked(_) => None,
        }
    }

    /// Returns where the server was when the account was loaded.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the account's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the account's outbox.
    pub fn outbox(&self) -> Result<Outbox, FileError> {
        Outbox::open(&self.folder)
    }

    /// Opens the account's mailbox.
    pub fn mailbox(&self) -> Result<Mailbox, FileError> {
        Mailbox::open(&self.folder, &hex::encode(self.server_key())[..16])
    }

    /// Returns the account's marks of chat lines that were shown.
    pub fn shown(&self) -> Shown {
        Shown::at(&self.folder, self.user.as_str())
    }

    /// Returns whether senders who ask are told that their mail was read.
    pub fn receipts(&self) -> Result<receipt::Policy, FileError> {
        receipt::policy(&self.folder)
    }

    /// Notes whether senders who ask are told that their mail was read.
    pub fn set_receipts(&self, policy: receipt::Policy) -> Result<(), FileError> {
        receipt::set_policy(&self.folder, policy)
    }

    /// Returns the accounts that this one may be by now: with the key on disk, where another process has put a new one
    /// there, and with the key that was to take its place.
    pub(in crate::client) fn others(&self) -> Result<Vec<Self>, KeyError> {
        let mut found = Vec::new();
        for path in [self.key_file(), self.folder.join(NEXT_KEY)] {
            let keys = self.read(&path)?;
            let other = keys.filter(|keys| keys.public != *self.public_key());
            found.extend(other.map(|keys| self.with(keys)));
        }
        Ok(found)
    }

    /// Returns this account with the key that takes the place of its own: made, and on disk beside it, before
    /// anybody hears of it.
    pub(in crate::client) fn next(&self) -> Result<Self, KeyError> {
        let path = self.folder.join(NEXT_KEY);
        let next = if let Some(next) = self.read(&path)? {
            next
        } else {
            let next = KeyPair::generate()?;
            stored(&next, self.passphrase().as_deref(), &path)?.save_new(&path)?;
            next
        };
        Ok(self.with(next))
    }

    /// Puts this account's key, which the server knows as the device's, in the place of the old one. The old one is
    /// worth nothing any more.
    pub(in crate::client) fn settle_key(&self) -> Result<(), HomeError> {
        let next = self.folder.join(NEXT_KEY);
        match Stored::load(&next) {
            Ok(keys) if keys.public() == self.public_key() => {}
            Err(error) if !error.is_missing() => return Err(error.into()),
            // Another process was faster.
            _ => return Ok(()),
        }
        let key = self.folder.join(KEY);
        fs::rename(&next, &key).map_err(failed("replace", &key))?;
        Ok(files::sync_folder(&self.folder)?)
    }

    /// Takes the lock of whoever changes the key.
    pub(in crate::client) fn lock_key(&self) -> Result<File, FileError> {
        files::lock(&self.folder.join("key.lock"))
    }

    fn with(&self, keys: KeyPair) -> Self {
        let passphrase = match &self.keys {
            Keys::Open(_, passphrase) => passphrase.clone(),
            Keys::Locked(_) => None,
        };
        Self {
            keys: Keys::Open(keys, passphrase),
            ..self.clone()
        }
    }

    /// Returns the account's topics that are not announced.
    pub fn muted(&self) -> Muted {
        Muted::at(&self.folder)
    }

    /// Moves settings of the account that cannot be read aside: they count as not made. Returns where they are then,
    /// to be told; the next one finds nothing.
    pub fn set_garbage_aside(&self) -> Result<Vec<PathBuf>, FileError> {
        let muted = self.muted().set_garbage_aside()?;
        let receipts = receipt::set_garbage_aside(&self.folder)?;
        Ok(muted.into_iter().chain(receipts).collect())
    }

    /// Returns how often this device was logged out: a standing session that finds another number than
    /// at its start was ended on purpose and stays so.
    pub fn logouts(&self) -> Result<u64, FileError> {
        let read = files::read_json(&self.folder.join("logouts.json"))?;
        Ok(read.unwrap_or(0))
    }

    /// Counts a logout, before the server is asked for it.
    pub(in crate::client) fn count_logout(&self) -> Result<(), FileError> {
        let count = self.logouts()? + 1;
        files::replace_json(&self.folder.join("logouts.json"), &count)
    }

    pub(super) fn name(&self) -> AccountName {
        AccountName {
            server: hex::encode(self.server_key()),
            user: self.user.clone(),
        }
    }

    pub(super) fn save(&self, confirmed: bool) -> Result<(), FileError> {
        let url = ServerUrl {
            code: None, // single-use: of no use any more
            ..self.place.url.clone()
        };
        let file = AccountFile {
            v: 1,
            url: url.to_string(),
            source: self.place.source.clone(),
            confirmed,
        };
        files::replace_json(&self.folder.join("account.json"), &file)
    }
}

impl From<Stored> for Keys {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Open(pair) => Self::Open(pair, None),
            Stored::Sealed(sealed) => Self::Locked(sealed),
        }
    }
}

/// Returns what the file at `path` is to hold of a key.
fn stored(
    keys: &KeyPair,
    passphrase: Option<&Passphrase>,
    path: &Path,
) -> Result<Stored, KeyError> {
    let Some(passphrase) = passphrase else {
        return Ok(Stored::Open(keys.clone()));
    };
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|error| KeyError::Io {
        deed: "write",
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    let sealed = Sealed::seal(keys, passphrase, &random).map_err(|source| KeyError::Shut {
        path: path.to_owned(),
        source,
    })?;
    Ok(Stored::Sealed(sealed))
}
