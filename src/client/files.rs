//! Files that survive a power cut: written aside, synced, renamed, and the folder synced.
//!
//! Everything the client keeps goes through here, so that modes (0600, 0700), syncs and error texts
//! are the same everywhere.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a file of the home could not be used. The text says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// No room: nothing was changed.
    #[error(
        "the disk is full: cannot {deed} {path}; make room and try again, nothing was lost or acknowledged"
    )]
    Full {
        /// What was tried, as a verb.
        deed: &'static str,
        /// The file or folder.
        path: PathBuf,
    },
    /// Any other failure of the operating system.
    #[error("cannot {deed} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        deed: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file does not hold what it should.
    #[error("{path} is damaged ({what}); move it away and run the command again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl FileError {
    /// Says whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::NotFound)
    }
}

/// Makes the closure that turns an I/O error on `path` into a [`FileError`].
pub(super) fn failed(deed: &'static str, path: &Path) -> impl Fn(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FileError::Full {
            deed,
            path: path.clone(),
        },
        _ => FileError::Io {
            deed,
            path: path.clone(),
            source,
        },
    }
}

/// Makes a folder and its parents, for the owner only, and syncs what it made.
pub(super) fn make_folder(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(failed("create", path)(error))
        }
        _ => sync_folder(parent_of(path)),
    }
}

/// Makes renames and removals in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync", path))
}

/// Opens a new or emptied file for the owner only.
pub(super) fn create(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("write", path))
}

/// Writes `pieces` to a file of its own and syncs it; a failure leaves nothing behind.
pub(super) fn write_synced(path: &Path, pieces: &[&[u8]]) -> Result<File, FileError> {
    let mut file = create(path)?;
    let written = pieces
        .iter()
        .try_for_each(|piece| file.write_all(piece))
        .and_then(|()| file.sync_all());
    match written {
        Ok(()) => Ok(file),
        Err(error) => {
            drop(fs::remove_file(path));
            Err(failed("write", path)(error))
        }
    }
}

/// Replaces a file: after a crash it holds the old or the new bytes, whole. Callers hold the lock
/// that guards `path`, since the file written aside has one fixed name.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let aside = aside_of(path);
    drop(write_synced(&aside, &[bytes])?);
    fs::rename(&aside, path).map_err(failed("replace", path))?;
    sync_folder(parent_of(path))
}

/// Replaces a JSON file, as [`replace`] does.
pub(super) fn replace_json<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| damaged(path, &e))?;
    bytes.push(b'\n');
    replace(path, &bytes)
}

/// Reads a JSON file; nothing when it does not exist.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| damaged(path, &e)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Moves a JSON file that does not hold a `T` aside, so that the next write takes nothing with it. Returns where it is
/// then, or nothing when there is no such file or it is whole. Callers hold the lock that guards it.
pub(super) fn set_garbage_aside<T: DeserializeOwned>(
    path: &Path,
) -> Result<Option<PathBuf>, FileError> {
    match read_json::<T>(path) {
        Err(FileError::Damaged { .. }) => {}
        read => return read.map(|_| None),
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside).map_err(failed("rename", path))?;
    sync_folder(parent_of(path))?;
    Ok(Some(aside))
}

/// Takes a lock that ends with the file handle, or with the process.
pub(super) fn lock(path: &Path) -> Result<File, FileError> {
    let file = open_lock(path)?;
    file.lock().map_err(failed("lock", path))?;
    Ok(file)
}

/// Opens a lock file without taking the lock.
pub(super) fn open_lock(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed("open", path))
}

/// Makes the error of a file that holds something else than it should.
pub(super) fn damaged(path: &Path, what: &(impl ToString + ?Sized)) -> FileError {
    FileError::Damaged {
        path: path.to_owned(),
        what: what.to_string(),
    }
}

/// Removes a file; one that is not there is as good as removed.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Lists the names in a folder that are text; order is the system's.
pub(super) fn names(path: &Path) -> Result<impl Iterator<Item = String> + use<>, FileError> {
    let entries = fs::read_dir(path).map_err(failed("list", path))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()))
}

/// Says whether `path` still names the open file: between listing and locking it may have gone.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn aside_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
