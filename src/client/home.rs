//! The home: keys and state of this person's accounts, on any number of servers.
//!
//! ```text
//! <root>/                              0700; MAILCTL_HOME, or $XDG_STATE_HOME/mailctl
//!   home.json                          the default account, and names for accounts
//!   <server key, hex>/<user>/
//!     key                              the device's CURVE key pair, 0600
//!     key.next                         the one that takes its place, while `rotate` is at work or was cut off
//!     account.json                     where the server is
//!     outbox/   mail/   marks.json     see `outbox` and `mailbox`
//! ```
//! State is keyed by the server's public key, never by its address or port, which may change. This
//! module opens no sockets.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) mod account;

use account::{AccountFile, KEY};

pub use account::Account;

use super::files::{self, FileError, failed};
use crate::auth::keys::{KeyError, KeyPair, Stored};
use crate::protocol::PublicKey;
use crate::protocol::codes::exit;
use crate::protocol::names::UserName;
use crate::protocol::url::{ServerUrl, UrlError};

/// Why the home does not hold what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// No account yet, and none was named.
    #[error("nobody is logged in here; start with: mailctl login USER")]
    NoAccount,
    /// No account of that user.
    #[error("{user} is not logged in here; log in with: mailctl login {user}")]
    NoSuchAccount {
        /// The user asked for.
        user: String,
    },
    /// Several accounts fit, and none is the default.
    #[error("several users are logged in here; choose one: mailctl use USER, --as or MAILCTL_USER")]
    NoDefault,
    /// The user has accounts on several servers.
    #[error("{user} is logged in at several servers; choose one with --server")]
    Ambiguous {
        /// The user asked for.
        user: String,
    },
    /// No account of that name.
    #[error("no context is called {name} here; list them with: mailctl context ls")]
    NoSuchContext {
        /// The name asked for.
        name: String,
    },
    /// No account at that server.
    #[error(
        "nobody here is logged in at that server; log in with: mailctl --server {place} login USER"
    )]
    OtherServer {
        /// How the server was named.
        place: String,
    },
    /// There is no folder to keep state in.
    #[error("cannot tell where your home folder is; name one with --home or MAILCTL_HOME")]
    NoFolder,
    /// A file named as the server's does not hold its address.
    #[error("{path}: {source}")]
    Url {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: UrlError,
    },
    /// A text names no server.
    #[error(transparent)]
    BadUrl(#[from] UrlError),
    /// The file with the server's address is not there.
    #[error(
        "cannot read the server's address from {path}: {source}; is the server running? It writes server.url into its data folder when it is ready"
    )]
    NoUrl {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key could not be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl HomeError {
    /// Returns the exit code of a program that ends on it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File(_) => exit::IO,
            Self::NoUrl { .. } => exit::UNAVAILABLE,
            _ => exit::CONFIG,
        }
    }

    /// Returns the word for `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoAccount | Self::NoSuchAccount { .. } | Self::OtherServer { .. } => {
                "not_logged_in"
            }
            Self::Ambiguous { .. } | Self::NoDefault => "ambiguous_account",
            Self::NoSuchContext { .. } => "no_such_context",
            Self::NoFolder => "no_home",
            Self::Url { .. } | Self::BadUrl(_) => "bad_server",
            Self::NoUrl { .. } => "unreachable",
            Self::File(FileError::Full { .. }) => "client_disk_full",
            Self::File(_) => "io",
            Self::Key(_) => "key",
        }
    }
}

/// Where a server is, and the file that said so, which is read again at every reconnect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its address and key.
    pub url: ServerUrl,
    /// The `server.url` file it came from, absolute.
    pub source: Option<PathBuf>,
}

impl Place {
    /// Reads `--server`: an address, or a file (or data folder) that holds one.
    pub fn parse(text: &str) -> Result<Self, HomeError> {
        if text.trim_start().starts_with("correio://") {
            return Ok(Self {
                url: ServerUrl::parse(text)?,
                source: None,
            });
        }
        Self::read(Path::new(text))
    }

    /// Reads a `server.url` file, or the one in a data folder.
    pub fn read(path: &Path) -> Result<Self, HomeError> {
        let path = if path.is_dir() {
            path.join("server.url")
        } else {
            path.to_owned()
        };
        let path = std::path::absolute(&path).unwrap_or(path);
        let text = fs::read_to_string(&path).map_err(|source| HomeError::NoUrl {
            path: path.clone(),
            source,
        })?;
        let url = ServerUrl::parse(&text).map_err(|source| HomeError::Url {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            url,
            source: Some(path),
        })
    }
}

/// The folder that holds every account of this person.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

#[derive(Serialize, Deserialize)]
pub(super) struct HomeFile {
    v: u32,
    default: Option<AccountName>,
    /// Names that the owner gave to accounts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    contexts: BTreeMap<String, AccountName>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AccountName {
    server: String,
    user: UserName,
}

impl Home {
    /// Opens the home, making the folder if needed: `root`, or the system's place for state.
    pub fn open(root: Option<&Path>) -> Result<Self, HomeError> {
        let root = match root {
            Some(root) => std::path::absolute(root).unwrap_or_else(|_| root.to_owned()),
            None => default_root()?,
        };
        files::make_folder(&root)?;
        Ok(Self { root })
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns every account whose login went through once, by server and user.
    pub fn accounts(&self) -> Result<Vec<Account>, HomeError> {
        let mut found = Vec::new();
        for server in self.servers()? {
            let folder = self.root.join(hex::encode(server));
            let mut users: Vec<UserName> = files::names(&folder)?
                .filter_map(|name| UserName::parse(&name).ok())
                .collect();
            users.sort();
            for user in users {
                found.extend(self.load(&server, &user)?.filter(|(_, known)| *known));
            }
        }
        Ok(found.into_iter().map(|(account, _)| account).collect())
    }

    /// Returns the account that commands use when none is named.
    pub fn default_account(&self) -> Result<Option<Account>, HomeError> {
        let Some(name) = self.default_name()? else {
            return Ok(None);
        };
        let mut server: PublicKey = [0; 32];
        if hex::decode_to_slice(&name.server, &mut server).is_err() {
            return Ok(None);
        }
        let loaded = self.load(&server, &name.user)?;
        Ok(loaded.map(|(account, _)| account))
    }

    /// Returns the server whose address came from the file at `path`, as the home knows it: the default
    /// account's, if that is one.
    pub fn remembered(&self, path: &Path) -> Result<Option<Place>, HomeError> {
        let known = self.default_account()?.into_iter().chain(self.accounts()?);
        let mut places = known.map(|account| account.place);
        Ok(places.find(|place| place.source.as_deref() == Some(path)))
    }

    /// Makes `account` the one that commands use when none is named.
    pub fn set_default(&self, account: &Account) -> Result<(), HomeError> {
        let _lock = self.lock()?;
        self.write_default(Some(account.name()))
    }

    /// Finds an account: by server, by user, by both, or the default. A user with several servers is
    /// found at the default account's server first.
    pub fn account(
        &self,
        server: Option<&PublicKey>,
        user: Option<&UserName>,
    ) -> Result<Account, HomeError> {
        let default = self.default_account()?;
        let fits = |account: &Account| {
            server.is_none_or(|key| account.server_key() == key)
                && user.is_none_or(|user| account.user() == user)
        };
        if let Some(account) = default.as_ref().filter(|account| fits(account)) {
            return Ok(account.clone());
        }
        let mut found: Vec<Account> = self.accounts()?.into_iter().filter(fits).collect();
        if let Some(default) = default {
            let near = |account: &&Account| account.server_key() == default.server_key();
            let mut near = found.iter().filter(near);
            if let (Some(only), None) = (near.next(), near.next()) {
                found = vec![only.clone()];
            }
        }
        pick(found, server, user)
    }

    /// Makes an account with a new key, or returns the one that is there, at its new place. It does
    /// not count as logged in before [`Home::confirm`].
    pub fn create_account(&self, place: &Place, user: &UserName) -> Result<Account, HomeError> {
        let _lock = self.lock()?;
        let folder = self.folder(&place.url.key, user);
        files::make_folder(&folder)?;
        let keys = match Stored::load(&folder.join(KEY)) {
            Err(error) if error.is_missing() => {
                Stored::Open(KeyPair::load_or_create(&folder.join(KEY))?)
            }
            loaded => loaded?,
        };
        let confirmed = self
            .load(&place.url.key, user)?
            .is_some_and(|(_, confirmed)| confirmed);
        let account = Account {
            folder,
            user: user.clone(),
            place: place.clone(),
            keys: keys.into(),
        };
        account.save(confirmed)?;
        Ok(account)
    }

    /// Notes that the server took the login. Returns whether the account is the default now, which the
    /// first one becomes.
    pub fn confirm(&self, account: &Account) -> Result<bool, HomeError> {
        let _lock = self.lock()?;
        account.save(true)?;
        match self.default_account()? {
            Some(default) => Ok(default.folder == account.folder),
            None => self.write_default(Some(account.name())).map(|()| true),
        }
    }

    /// Removes an account with its key, outbox and mail, for good.
    pub fn forget(&self, account: &Account) -> Result<(), HomeError> {
        let _lock = self.lock()?;
        let mut file = self.home_file()?;
        fs::remove_dir_all(&account.folder).map_err(failed("remove", &account.folder))?;
        let gone = account.name();
        file.default = file.default.filter(|default| *default != gone);
        contexts::without(&mut file.contexts, &gone);
        self.write(&file)
    }

    /// Returns a place for files that belong to no account, such as the shell's history.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn servers(&self) -> Result<Vec<PublicKey>, HomeError> {
        let mut keys: Vec<PublicKey> = files::names(&self.root)?
            .filter_map(|name| {
                let mut key = [0; 32];
                hex::decode_to_slice(&name, &mut key).ok().map(|()| key)
            })
            .collect();
        keys.sort_unstable();
        Ok(keys)
    }

    fn folder(&self, server: &PublicKey, user: &UserName) -> PathBuf {
        self.root.join(hex::encode(server)).join(user.as_str())
    }

    fn load(
        &self,
        server: &PublicKey,
        user: &UserName,
    ) -> Result<Option<(Account, bool)>, HomeError> {
        let folder = self.folder(server, user);
        let path = folder.join("account.json");
        let Some(file) = files::read_json::<AccountFile>(&path)? else {
            return Ok(None);
        };
        let url = ServerUrl::parse(&file.url).map_err(|source| HomeError::Url { path, source })?;
        let account = Account {
            keys: Stored::load(&folder.join(KEY))?.into(),
            folder,
            user: user.clone(),
            place: Place {
                url,
                source: file.source,
            },
        };
        Ok(Some((account, file.confirmed)))
    }

    fn home_file(&self) -> Result<HomeFile, HomeError> {
        let file: Option<HomeFile> = files::read_json(&self.root.join("home.json"))?;
        Ok(file.unwrap_or(HomeFile {
            v: 1,
            default: None,
            contexts: BTreeMap::new(),
        }))
    }

    fn write(&self, file: &HomeFile) -> Result<(), HomeError> {
        Ok(files::replace_json(&self.root.join("home.json"), file)?)
    }

    fn default_name(&self) -> Result<Option<AccountName>, HomeError> {
        Ok(self.home_file()?.default)
    }

    fn write_default(&self, default: Option<AccountName>) -> Result<(), HomeError> {
        let file = HomeFile {
            default,
            ..self.home_file()?
        };
        self.write(&file)
    }

    fn lock(&self) -> Result<File, HomeError> {
        Ok(files::lock(&self.root.join("home.lock"))?)
    }
}

fn default_root() -> Result<PathBuf, HomeError> {
    use etcetera::BaseStrategy;
    let base = etcetera::choose_base_strategy().map_err(|_| HomeError::NoFolder)?;
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    Ok(state.join("mailctl"))
}

fn pick(
    mut found: Vec<Account>,
    server: Option<&PublicKey>,
    user: Option<&UserName>,
) -> Result<Account, HomeError> {
    match (found.len(), user, server) {
        (1, ..) => Ok(found.remove(0)),
        (0, Some(user), _) => Err(HomeError::NoSuchAccount {
            user: user.to_string(),
        }),
        (0, None, Some(_)) => Err(HomeError::OtherServer {
            place: "FILE|URL".to_owned(),
        }),
        (0, None, None) => Err(HomeError::NoAccount),
        (_, Some(user), _) => Err(HomeError::Ambiguous {
            user: user.to_string(),
        }),
        (_, None, _) => Err(HomeError::NoDefault),
    }
}

mod contexts;
pub use contexts::Context;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::auth::seal::Passphrase;
    use std::os::unix::fs::PermissionsExt;

    pub(super) fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(Some(&folder.path().join("state/home"))).unwrap();
        (folder, home)
    }

    fn place(key: u8, port: u16) -> Place {
        Place {
            url: ServerUrl {
                host: "localhost".to_owned(),
                port,
                key: [key; 32],
                code: Some("secret-code".to_owned()),
            },
            source: None,
        }
    }

    pub(super) fn user(name: &str) -> UserName {
        UserName::parse(name).unwrap()
    }

    pub(super) fn login(home: &Home, key: u8, name: &str) -> Account {
        let account = home.create_account(&place(key, 1), &user(name)).unwrap();
        home.confirm(&account).unwrap();
        account
    }

    #[test]
    fn the_first_login_is_the_default_and_a_later_one_leaves_it() {
        let (_folder, home) = home();
        assert!(matches!(
            home.account(None, None),
            Err(HomeError::NoAccount)
        ));
        login(&home, 1, "ana");
        login(&home, 1, "bob");
        let name = |user: Option<&UserName>| home.account(None, user).unwrap().user().to_string();
        assert_eq!(name(None), "ana");
        assert_eq!(name(Some(&user("bob"))), "bob");
        let bob = home.account(None, Some(&user("bob"))).unwrap();
        home.set_default(&bob).unwrap();
        assert_eq!(name(None), "bob");
        assert!(matches!(
            home.account(None, Some(&user("eve"))),
            Err(HomeError::NoSuchAccount { .. })
        ));
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned().into())
    }

    #[test]
    fn a_key_under_a_passphrase_is_of_use_to_who_knows_it() {
        let (_folder, home) = home();
        let ana = login(&home, 1, "ana");
        let pair = ana.keys().unwrap().clone();
        let sealed = ana.protect(Some(passphrase("one two three"))).unwrap();
        assert!(sealed.is_protected() && !sealed.is_locked());
        let read = home.account(None, None).unwrap();
        assert!(read.is_protected() && read.is_locked());
        assert_eq!(*read.public_key(), pair.public);
        assert!(matches!(read.keys(), Err(KeyError::Locked { .. })));
        assert!(matches!(
            read.protect(None),
            Err(HomeError::Key(KeyError::Locked { .. }))
        ));
        assert!(matches!(
            read.unlocked(passphrase("one two four")),
            Err(KeyError::Shut { .. })
        ));
        let again = home.create_account(&place(1, 1), &user("ana")).unwrap();
        assert!(again.is_locked(), "a login makes no new key");
        let open = read.unlocked(passphrase("one two three")).unwrap();
        assert_eq!(open.keys().unwrap().secret(), pair.secret());
        // The key that takes its place is under the same passphrase.
        let next = open.next().unwrap();
        next.settle_key().unwrap();
        let read = home.account(None, None).unwrap();
        assert_eq!(read.public_key(), next.public_key());
        let open = read.unlocked(passphrase("one two three")).unwrap();
        let mode = fs::metadata(open.key_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        open.protect(None).unwrap();
        let read = home.account(None, None).unwrap();
        assert!(!read.is_protected());
        assert_eq!(read.keys().unwrap().secret(), next.keys().unwrap().secret());
    }

    #[test]
    fn a_login_that_was_refused_does_not_count() {
        let (_folder, home) = home();
        let refused = home.create_account(&place(1, 1), &user("ana")).unwrap();
        assert!(home.accounts().unwrap().is_empty());
        let again = home.create_account(&place(1, 1), &user("ana")).unwrap();
        assert_eq!(refused.public_key(), again.public_key(), "its key stays");
        assert!(home.confirm(&again).unwrap());
        let moved = home.create_account(&place(1, 2), &user("ana")).unwrap();
        assert_eq!(home.accounts().unwrap().len(), 1, "still logged in");
        assert_eq!(moved.place().url.port, 2);
    }

    #[test]
    fn servers_are_told_apart_by_their_key() {
        let (_folder, home) = home();
        let here = login(&home, 1, "ana");
        login(&home, 2, "ana");
        login(&home, 2, "bob");
        let found = |key: Option<u8>, name: Option<&str>| {
            let key = key.map(|key| [key; 32]);
            let name = name.map(user);
            home.account(key.as_ref(), name.as_ref())
                .map(|account| (account.server_key()[0], account.user().to_string()))
        };
        assert_eq!(found(None, Some("ana")).unwrap(), (1, "ana".to_owned()));
        assert_eq!(found(Some(2), Some("ana")).unwrap(), (2, "ana".to_owned()));
        assert_eq!(found(None, Some("bob")).unwrap(), (2, "bob".to_owned()));
        assert!(matches!(found(Some(2), None), Err(HomeError::NoDefault)));
        assert!(matches!(
            found(Some(3), None),
            Err(HomeError::OtherServer { .. })
        ));
        home.forget(&here).unwrap();
        assert!(home.default_account().unwrap().is_none());
        assert!(matches!(found(None, None), Err(HomeError::NoDefault)));
    }

    #[test]
    fn everything_is_private_and_codes_are_not_kept() {
        let (folder, home) = home();
        let account = login(&home, 1, "ana");
        drop(account.outbox().unwrap());
        drop(account.mailbox().unwrap());
        let mut folders = vec![folder.path().join("state")];
        while let Some(path) = folders.pop() {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            if path.is_dir() {
                assert_eq!(mode, 0o700, "{path:?}");
                folders.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else {
                assert_eq!(mode, 0o600, "{path:?}");
                assert!(!fs::read_to_string(&path).unwrap().contains("secret-code"));
            }
        }
    }

    #[test]
    fn a_server_is_named_by_address_file_or_folder() {
        let folder = tempfile::tempdir().unwrap();
        let url = place(1, 5570).url;
        assert_eq!(Place::parse(&url.to_string()).unwrap().url, url);
        let file = folder.path().join("server.url");
        let missing = Place::read(&file).unwrap_err();
        assert!(matches!(missing, HomeError::NoUrl { .. }));
        fs::write(&file, format!("{url}\n")).unwrap();
        for named in [folder.path(), file.as_path()] {
            let place = Place::parse(named.to_str().unwrap()).unwrap();
            assert_eq!((place.url, place.source), (url.clone(), Some(file.clone())));
        }
        fs::write(&file, "nonsense").unwrap();
        assert!(matches!(Place::read(&file), Err(HomeError::Url { .. })));
    }
}
