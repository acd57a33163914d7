//! Files and folders that are there whole or not at all.
//!
//! A [`Draft`] is a file under another name until it is whole; a [`Site`] is a data folder beside the
//! one it becomes. Killed at any instant, neither leaves anything under the name that was asked for.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;

use super::Failure;
use super::folder::{FOLDER_MODE, Folder, make_parents};
use crate::protocol::codes::exit;
use crate::store::backup::MAGIC;
use crate::store::sled::{is_restore, lock, mark_restore};

/// A file that is being written. Dropped before [`Draft::keep`], it is gone.
#[derive(Debug)]
pub(super) struct Draft {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_kept: bool,
}

impl Draft {
    /// Begins a file of mode 0600 that is to lie at `target`, where nothing lies yet.
    pub(super) fn make(target: &Path) -> Result<Self, Failure> {
        if target.symlink_metadata().is_ok() {
            return Err(taken(target));
        }
        let path = with_suffix(target, ".partial");
        let failed = |error: io::Error| Failure {
            code: exit::CANT_CREATE,
            text: format!("cannot make {}: {error}; name another file", path.display()),
        };
        remove_stale(&path).map_err(failed)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        // Before the lock another one may have taken it for left behind. Then the name is his.
        lock_named(&file, &path).map_err(failed)?;
        Ok(Self {
            file,
            path: path.clone(),
            target: target.to_owned(),
            is_kept: false,
        })
    }

    /// Returns the file to write to.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Syncs what was written and gives it its name, which it returns.
    pub(super) fn keep(mut self) -> Result<PathBuf, Failure> {
        let kept = self.rename();
        kept.map(|()| self.target.clone()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(&self.target),
            _ => Failure {
                code: exit::IO,
                text: format!(
                    "cannot keep {}: {error}; see that the disk is whole and has room, then try again",
                    self.target.display()
                ),
            },
        })
    }

    fn rename(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        rename_new(&self.path, &self.target)?;
        self.is_kept = true;
        sync_parent(&self.target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // What stays all the same is taken away by the next try.
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Removes what a killed one left: a beginning of a backup that nobody writes to any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let in_the_way = || io::Error::other("another file of this name is in the way");
    // Not waiting: a FIFO would, for somebody to write to it.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(in_the_way());
        }
        other => other?,
    };
    if !file.metadata()?.is_file() {
        return Err(in_the_way());
    }
    lock_named(&file, path)?;
    let mut begin = Vec::new();
    Read::by_ref(&mut file)
        .take(MAGIC.len() as u64)
        .read_to_end(&mut begin)?;
    if !MAGIC.starts_with(&begin) {
        return Err(in_the_way());
    }
    fs::remove_file(path)
}

/// Locks a draft, which must still have its name: whoever holds the lock is the only one who may take the name away.
fn lock_named(file: &File, path: &Path) -> io::Result<()> {
    let busy = || io::Error::other("another backup is being written to it");
    file.try_lock().map_err(|_| busy())?;
    let (open, named) = (file.metadata()?, path.symlink_metadata());
    match named {
        Ok(named) if (named.dev(), named.ino()) == (open.dev(), open.ino()) => Ok(()),
        _ => Err(busy()),
    }
}

/// Renames without replacing anything.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            // Not every file system can; a second name is refused in the same way.
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        Err(error) => Err(error.into()),
    }
}

fn taken(target: &Path) -> Failure {
    Failure {
        code: exit::CANT_CREATE,
        text: format!(
            "{} is there already and is not overwritten; name another file",
            target.display()
        ),
    }
}

/// A data folder that is being built beside its place.
#[derive(Debug)]
pub(super) struct Site {
    target: PathBuf,
    /// Where it is built.
    path: PathBuf,
    mode: u32,
}

impl Site {
    /// Chooses the place beside a folder that is empty or not there.
    pub(super) fn choose(target: &Path) -> Result<Self, Failure> {
        let failed = |text: String| Failure {
            code: exit::CANT_CREATE,
            text: format!("cannot restore into {}: {text}", target.display()),
        };
        let io_failed =
            |error: io::Error| failed(format!("{error}; choose another folder with --data-dir"));
        let target = whole_path(target).map_err(io_failed)?;
        let mut mode = FOLDER_MODE;
        if let Ok(found) = fs::metadata(&target) {
            let mut names = fs::read_dir(&target).map_err(io_failed)?;
            if names.next().is_some() {
                return Err(failed(
                    "it is not empty, and nothing is overwritten; name a new folder with --data-dir"
                        .to_owned(),
                ));
            }
            let parent = fs::metadata(target.join("..")).map_err(io_failed)?;
            if parent.dev() != found.dev() {
                return Err(failed(
                    "a file system is mounted there; name a folder in it with --data-dir"
                        .to_owned(),
                ));
            }
            mode &= found.permissions().mode();
        }
        let path = with_suffix(&target, ".partial");
        Ok(Self { target, path, mode })
    }

    /// Returns the folder that is to be.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Makes the folder to build in, which is nobody else's business, or takes one that an earlier
    /// restore left there.
    pub(super) fn make(&self) -> Result<Folder, Failure> {
        make_parents(&self.target).map_err(|error| self.failed(&error))?;
        let is_ours = self.is_ours().map_err(|error| self.failed(&error))?;
        if !is_ours {
            return Err(Failure {
                code: exit::CANT_CREATE,
                text: format!(
                    "{} is in the way, and no restore began it; move it away, or name another folder with --data-dir",
                    self.path.display()
                ),
            });
        }
        let folder = Folder::open(&self.path)?;
        // From here on what lies in it may be thrown away.
        mark_restore(folder.path())?;
        Ok(folder)
    }

    /// Says whether nothing lies where it is built, or nothing but what a restore put there.
    fn is_ours(&self) -> io::Result<bool> {
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
            // A link may lead anywhere.
            Ok(found) if !found.is_dir() => return Ok(false),
            Ok(_) => {}
        }
        let is_empty = fs::read_dir(&self.path)?.next().is_none();
        Ok(is_empty || is_restore(&self.path))
    }

    /// Syncs everything in it and gives it its name.
    pub(super) fn keep(&self) -> Result<(), Failure> {
        let kept = fs::set_permissions(&self.path, Permissions::from_mode(self.mode | 0o700))
            .and_then(|()| sync_all_in(&self.path))
            // Replaces an empty folder, and nothing else.
            .and_then(|()| fs::rename(&self.path, &self.target))
            .and_then(|()| sync_parent(&self.target));
        kept.map_err(|error| self.failed(&error))
    }

    /// Takes down what was built, where that is possible, and unless another restore builds there.
    pub(super) fn clear(&self) {
        if let Ok(_lock) = lock(&self.path) {
            fs::remove_dir_all(&self.path).ok();
        }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure {
            code: exit::IO,
            text: format!(
                "cannot restore into {}: {error}; nothing was kept: see that the disk is whole and has room, then try again",
                self.target.display()
            ),
        }
    }
}

/// Returns the one name of a place that may not be there yet.
fn whole_path(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    if path.symlink_metadata().is_ok() {
        return Err(io::Error::other("it is a link that leads nowhere"));
    }
    // Without the slash that a shell puts behind a folder: the draft lies beside the place, not in it.
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => std::path::absolute(parent.join(name)),
        _ => Err(io::Error::other("it has no name of its own")),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent_of(path))?.sync_all()
}

/// Returns the folder that a path lies in.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Syncs a folder with every file and folder in it.
fn sync_all_in(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => sync_all_in(&entry.path())?,
            _ => File::open(entry.path())?.sync_all()?,
        }
    }
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn of_drafts_begun_at_once_one_is_kept_whole() {
        let folder = tempfile::tempdir().unwrap();
        let gate = Barrier::new(4);
        for round in 0..400 {
            let target = folder.path().join(round.to_string());
            let write = |nth: u8| {
                gate.wait();
                let draft = Draft::make(&target).ok()?;
                for _ in 0..8 {
                    draft.file().write_all(&[nth; 64]).unwrap();
                }
                draft.keep().ok().map(|_| nth)
            };
            let kept: Vec<u8> = thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|nth| scope.spawn(move || write(nth))).collect();
                all.into_iter()
                    .filter_map(|one| one.join().unwrap())
                    .collect()
            });
            assert_eq!(kept.len(), 1, "round {round}");
            assert_eq!(fs::read(&target).unwrap(), [kept[0]; 512], "round {round}");
        }
    }

    #[test]
    fn a_draft_whose_name_was_taken_away_is_nobodys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup.partial");
        let one = File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(lock_named(&one, &path).is_err());
        let other = File::create(&path).unwrap();
        assert!(lock_named(&one, &path).is_err());
        assert!(lock_named(&other, &path).is_ok());
    }
}
