//! The data folder: who may look into it, keys, remembered ports, and the files that say "ready".
//!
//! Others on this machine may pass through the folder (0711) to read `server.url` and `server.json`
//! (0644), and nothing else: everything else is the server's alone.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_res_uid;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::auth::keys::{KeyError, KeyPair};
use crate::protocol::PublicKey;
use crate::protocol::codes::exit;
use crate::store::backup::{FILES, KeptFile};

const URL_FILE: &str = "server.url";
const JSON_FILE: &str = "server.json";
const PORTS_FILE: &str = "ports";
const SERVER_KEY: &str = "server.key";
const ADMIN_KEY: &str = "admin.key";

/// Others may pass through, and look at nothing.
pub(super) const FOLDER_MODE: u32 = 0o711;

/// A data folder that exists.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

/// What `server.json` says: the server that runs on this folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub(super) v: u32,
    pub(super) pid: u32,
    pub(super) version: String,
    pub(super) url: String,
    pub(super) live: String,
    /// Where health, metrics and the dashboard are, if they are served.
    pub(super) http: Option<String>,
}

impl Running {
    /// Reads the bytes of `server.json`; nothing when they are none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Folder {
    /// Opens the folder, made if need be, and takes from others what is not theirs.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure {
            code: exit::CANT_CREATE,
            text: format!(
                "cannot use the data folder {}: {error}; choose another with --data-dir",
                path.display()
            ),
        };
        make(path).map_err(|error| failed(&error))?;
        // Without `..` and links, so that messages name one place and a later start finds it.
        let path = path.canonicalize().map_err(|error| failed(&error))?;
        close_to_others(&path).map_err(|error| failed(&error))?;
        Ok(Self { path })
    }

    /// Takes a folder as it is, if there is one.
    pub(super) fn existing(path: &Path) -> Result<Self, Failure> {
        let path = path.canonicalize().map_err(|error| Failure {
            code: exit::CONFIG,
            text: format!(
                "cannot open the data folder {}: {error}; name the right one with --data-dir",
                path.display()
            ),
        })?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Does something with the rights of the folder's owner where root does it for somebody else: files
    /// of root would keep the server out. Threads that begin meanwhile keep those rights.
    pub(super) fn as_owner<T>(&self, deed: impl FnOnce() -> T) -> Result<T, Failure> {
        let found = fs::metadata(&self.path).map_err(|error| self.failed("look", &error))?;
        let root = geteuid();
        if !root.is_root() || found.uid() == root.as_raw() {
            return Ok(deed());
        }
        let change = |user: Uid| {
            set_thread_res_uid(None, user, None)
                .map_err(|error| self.failed("act as the owner", &error.into()))
        };
        change(Uid::from_raw(found.uid()))?;
        let done = deed();
        change(root)?;
        Ok(done)
    }

    /// The server's key pair, made at the first start.
    pub(super) fn server_key(&self) -> Result<KeyPair, KeyError> {
        if let Some(path) = lent_key() {
            return KeyPair::load_credential(&path);
        }
        KeyPair::load_or_create(&self.path.join(SERVER_KEY))
    }

    /// Reads the server's key as it lies and returns its public half; makes none.
    pub(super) fn look_at_server_key(&self) -> Result<PublicKey, KeyError> {
        let keys = match lent_key() {
            Some(path) => KeyPair::load_credential(&path),
            None => KeyPair::load(&self.path.join(SERVER_KEY)),
        };
        keys.map(|keys| keys.public)
    }

    /// Puts a key pair in the place of one that is not there.
    pub(super) fn put_server_key(&self, keys: &KeyPair) -> Result<(), KeyError> {
        keys.save_new(&self.path.join(SERVER_KEY))
    }

    /// Says whether the server's key pair was made and is still there.
    pub(super) fn has_server_key(&self) -> bool {
        lent_key().is_some() || self.path.join(SERVER_KEY).exists()
    }

    /// What to say where the key is gone and must not be made anew.
    pub(super) fn without_key(&self) -> Failure {
        let place = self.path.display();
        Failure {
            code: exit::CONFIG,
            text: format!(
                "server.key is missing in {place}, and clients know this server by it; move that folder away and put a \
                 backup in its place (mailserver restore --data-dir {place} FILE), or make it another server with the \
                 same mail: mailserver run --accept-new-key --data-dir {place}"
            ),
        }
    }

    /// Refuses a key that is not the one of the server that the store belongs to, where that is known.
    pub(super) fn refuse_other_key(
        &self,
        keys: &KeyPair,
        due: Option<PublicKey>,
    ) -> Result<(), Failure> {
        let Some(due) = due.filter(|due| *due != keys.public) else {
            return Ok(());
        };
        let place = self.path.display();
        let admin = KeyPair::load(&self.path.join(ADMIN_KEY));
        let way_back = match admin {
            Ok(admin) if admin.public == due => "admin.key is that key, so swap the two",
            _ => "put that key back",
        };
        Err(Failure {
            code: exit::CONFIG,
            text: format!(
                "server.key in {place} is the key {}, but the store there belongs to the server with the key {}: {way_back}, \
                 or move the folder away and put a backup in its place (mailserver restore --data-dir {place} FILE), or make it \
                 another server with the same mail: mailserver run --accept-new-key --data-dir {place}",
                hex::encode(keys.public),
                hex::encode(due)
            ),
        })
    }

    /// Refuses `server.key`, if it is there, as [`Folder::refuse_other_key`] does.
    pub(super) fn check_server_key(&self, due: Option<PublicKey>) -> Result<(), Failure> {
        if !self.has_server_key() {
            return Ok(());
        }
        self.refuse_other_key(&self.server_key()?, due)
    }

    /// The first administrator's key pair, made at the first start.
    pub(super) fn admin_key(&self) -> Result<KeyPair, KeyError> {
        KeyPair::load_or_create(&self.path.join(ADMIN_KEY))
    }

    /// Ports of the request and live sockets and of HTTP at the last start; 0 where there is none.
    pub(super) fn remembered_ports(&self) -> (u16, u16, u16) {
        let text = fs::read_to_string(self.path.join(PORTS_FILE)).unwrap_or_default();
        let mut ports = text
            .split_whitespace()
            .map(|word| word.parse().unwrap_or(0));
        let mut next = || ports.next().unwrap_or(0);
        (next(), next(), next())
    }

    pub(super) fn remember_ports(&self, requests: u16, live: u16, http: u16) -> io::Result<()> {
        let text = format!("{requests} {live} {http}\n");
        self.replace(PORTS_FILE, text.as_bytes(), 0o600)
    }

    /// Says to everybody on this machine that a server is ready, and where.
    pub(super) fn publish(&self, running: &Running) -> io::Result<()> {
        let mut json = serde_json::to_vec(running)?;
        json.push(b'\n');
        self.replace(JSON_FILE, &json, 0o644)?;
        self.replace(URL_FILE, format!("{}\n", running.url).as_bytes(), 0o644)
    }

    /// Says so no longer.
    pub(super) fn withdraw(&self) -> io::Result<()> {
        for name in [URL_FILE, JSON_FILE] {
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.sync()
    }

    /// Reads what a running server said of itself.
    pub(super) fn running(&self) -> Option<Running> {
        Running::parse(&fs::read(self.path.join(JSON_FILE)).ok()?)
    }

    /// Returns the files that make this server who it is, for a backup.
    pub(super) fn kept_files(&self) -> Result<Vec<KeptFile>, Failure> {
        if !self.has_server_key() {
            return Err(self.without_key());
        }
        // A key that is no key would be found out when it is needed most.
        self.server_key()?;
        let mut files = Vec::new();
        for name in FILES {
            let lent = lent_key().filter(|_| name == SERVER_KEY);
            match fs::read(lent.unwrap_or_else(|| self.path.join(name))) {
                Ok(content) => files.push(KeptFile {
                    name,
                    content: content.into(),
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed("read", &error)),
            }
        }
        Ok(files)
    }

    /// Puts the files of a backup in place.
    pub(super) fn put_kept_files(&self, files: &[KeptFile]) -> Result<(), Failure> {
        for name in FILES {
            // One of an earlier try must not be taken for one of this.
            fs::remove_file(self.path.join(name)).ok();
        }
        let mut put = files
            .iter()
            .map(|file| self.replace(file.name, &file.content, 0o600));
        put.try_for_each(|put| put)
            .map_err(|error| self.failed("write", &error))?;
        KeyPair::load(&self.path.join(SERVER_KEY))?;
        Ok(())
    }

    fn failed(&self, deed: &str, error: &io::Error) -> Failure {
        Failure {
            code: exit::IO,
            text: format!("cannot {deed} in {}: {error}", self.path.display()),
        }
    }

    /// Puts a file in place whole: readers see the old one or the new one.
    fn replace(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let unfinished = self.path.join(format!("{name}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.path.join(name))?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// Returns the server's key file that systemd lends the process (`LoadCredential=server.key`), if it does: it goes
/// before one in the folder.
fn lent_key() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?);
    Some(folder.join(SERVER_KEY)).filter(|path| path.exists())
}

fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_parents(path)?;
    DirBuilder::new().mode(FOLDER_MODE).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))?;
    let parent = path.join("..");
    File::open(parent)?.sync_all()
}

/// Makes the folders above a path.
pub(super) fn make_parents(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|path| !path.as_os_str().is_empty());
    parent.map_or(Ok(()), |parent| {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)
    })
}

/// Takes the right to list and write from others; refuses a folder that everybody shares.
fn close_to_others(path: &Path) -> io::Result<()> {
    let found = fs::metadata(path)?;
    let mode = found.permissions().mode() & 0o7777;
    if mode & 0o1000 != 0 {
        return Err(io::Error::other("it is shared by all users"));
    }
    if found.uid() != geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if mode & !FOLDER_MODE & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(mode & FOLDER_MODE))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn running() -> Running {
        Running {
            v: 1,
            pid: 7,
            version: "0".to_owned(),
            url: "correio://here:1?key=00".to_owned(),
            live: "tcp://here:2".to_owned(),
            http: None,
        }
    }

    #[test]
    fn a_new_folder_is_passable_and_shows_only_the_ready_files() {
        let ground = tempfile::tempdir().unwrap();
        let folder = Folder::open(&ground.path().join("a/b")).unwrap();
        assert_eq!(mode(folder.path()), 0o711);
        folder.publish(&running()).unwrap();
        folder.server_key().unwrap();
        folder.remember_ports(1, 2, 3).unwrap();
        assert_eq!(mode(&folder.path.join(URL_FILE)), 0o644);
        assert_eq!(mode(&folder.path.join(JSON_FILE)), 0o644);
        assert_eq!(mode(&folder.path.join(SERVER_KEY)), 0o600);
        assert_eq!(mode(&folder.path.join(PORTS_FILE)), 0o600);
    }

    #[test]
    fn an_old_folder_is_closed_and_a_shared_one_refused() {
        let ground = tempfile::tempdir().unwrap();
        let path = ground.path().join("data");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o775)).unwrap();
        Folder::open(&path).unwrap();
        assert_eq!(mode(&path), 0o711);
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        Folder::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700, "its owner's choice");
        fs::set_permissions(&path, Permissions::from_mode(0o1777)).unwrap();
        assert_eq!(Folder::open(&path).unwrap_err().code, 73);
        fs::write(ground.path().join("file"), "").unwrap();
        assert_eq!(
            Folder::open(&ground.path().join("file")).unwrap_err().code,
            73
        );
    }

    #[test]
    fn ready_files_come_and_go_and_ports_stay() {
        let ground = tempfile::tempdir().unwrap();
        let folder = Folder::open(ground.path()).unwrap();
        assert_eq!(
            (folder.running(), folder.remembered_ports()),
            (None, (0, 0, 0))
        );
        folder.publish(&running()).unwrap();
        folder.remember_ports(5, 6, 7).unwrap();
        assert_eq!(folder.running(), Some(running()));
        folder.withdraw().unwrap();
        folder.withdraw().unwrap();
        assert_eq!(
            (folder.running(), folder.remembered_ports()),
            (None, (5, 6, 7))
        );
        fs::write(ground.path().join(PORTS_FILE), "rubbish").unwrap();
        assert_eq!(folder.remembered_ports(), (0, 0, 0));
    }
}
