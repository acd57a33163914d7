//! The folder that takes files of others: parts while they come, and their place once they are whole.
//!
//! Everything goes by the folder's handle and by single names, and no link is ever followed, so
//! nothing is written or replaced outside of it, or inside of it either (P12). Where to read next:
//! [`super::incoming`].

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::name;

/// Digits of a file's BLAKE3 that its part is called by.
const PART_DIGITS: usize = 32;

/// Bytes that stay free for other things, or a twentieth of a small disk.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// Namesakes tried before a name counts as taken for good.
const NAMESAKES_MAX: u32 = 10_000;

/// Why a folder takes no files.
#[derive(Debug, thiserror::Error)]
#[error("cannot receive files into {path}: {source}")]
pub struct FolderError {
    /// Which folder.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// A folder that may take files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Folder {
    handle: Arc<OwnedFd>,
    path: PathBuf,
}

/// A file on its way in, `.<digits>.part`, for the owner only. One process at a time has it.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: File,
    /// Bytes that are there from an earlier try.
    pub(super) kept: u64,
    folder: Folder,
    name: String,
}

impl Folder {
    /// Opens a folder that exists and may be written to.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        Self::try_open(path).map_err(|errno| FolderError {
            path: path.to_owned(),
            source: errno.into(),
        })
    }

    fn try_open(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = fs::open(path, flags, Mode::empty())?;
        fs::accessat(
            &handle,
            ".",
            fs::Access::WRITE_OK | fs::Access::EXEC_OK,
            AtFlags::empty(),
        )?;
        Ok(Self {
            handle: Arc::new(handle),
            path: path.to_owned(),
        })
    }

    /// Returns the path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a whole file durably, for the owner only, under `name` as far as that is [safe](name::safe),
    /// or as a namesake where it is taken. Returns where it lies.
    ///
    /// # Errors
    /// The folder cannot be written to, or another process keeps the same bytes there just now.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let mut part = self.part(&blake3::hash(bytes).to_hex())?;
        match write_whole(&mut part.file, bytes) {
            Ok(()) => part.place(&name::safe(name)),
            Err(error) => {
                part.discard();
                Err(error)
            }
        }
    }

    /// Returns how many bytes files of others may still take of its file system, where that says so.
    pub(super) fn room(&self) -> Option<u64> {
        let told = fs::fstatvfs(&*self.handle).ok()?;
        let [all, free] = [told.f_blocks, told.f_bavail].map(|n| n.saturating_mul(told.f_frsize));
        let reserve = RESERVE_BYTES.min(all / 20);
        (all > 0).then(|| free.saturating_sub(reserve))
    }

    /// Opens the part of a file, made new or kept from an earlier try.
    pub(super) fn part(&self, blake3: &str) -> io::Result<Part> {
        let name = format!(".{}.part", &blake3[..PART_DIGITS]);
        let new = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = fs::openat(&*self.handle, &name, new, Mode::RUSR | Mode::WUSR);
        let handle = match made {
            Err(Errno::EXIST) => self.open_kept(&name)?,
            made => made?,
        };
        self.claim(&handle, &name)?;
        let kept = fs::fstat(&handle)?.st_size;
        Ok(Part {
            file: File::from(handle),
            kept: u64::try_from(kept).unwrap_or_default(),
            folder: self.clone(),
            name,
        })
    }

    /// Opens what lies at a part's name if this user left it there.
    fn open_kept(&self, name: &str) -> io::Result<OwnedFd> {
        // Without blocking: somebody may have put a pipe there.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let foreign = || io::Error::other(format!("{name} there is none of this program's"));
        let handle = match fs::openat(&*self.handle, name, flags, Mode::empty()) {
            Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Err(foreign()),
            opened => opened?,
        };
        let told = fs::fstat(&handle)?;
        let own = FileType::from_raw_mode(told.st_mode) == FileType::RegularFile
            && told.st_uid == rustix::process::geteuid().as_raw()
            && told.st_nlink == 1;
        if own { Ok(handle) } else { Err(foreign()) }
    }

    /// Keeps other processes from the part for as long as it is open.
    fn claim(&self, handle: &OwnedFd, name: &str) -> io::Result<()> {
        let busy = || io::Error::new(io::ErrorKind::ResourceBusy, "another chat is receiving it");
        if fs::flock(handle, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Err(busy());
        }
        // Between opening and locking, whoever had it may have given it its name.
        let (open, named) = (fs::fstat(handle)?, self.stat(name));
        let same = |named: fs::Stat| (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino);
        if named.is_ok_and(same) {
            Ok(())
        } else {
            Err(busy())
        }
    }

    fn stat(&self, name: &str) -> Result<fs::Stat, Errno> {
        fs::statat(&*self.handle, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Gives the file called `from` the name `to`, unless that is taken (`EXIST`).
    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        let folder = self.handle.as_fd();
        match fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link(from, to),
            renamed => renamed,
        }
    }

    /// The same where the file system knows no such rename: a second name, then the first goes.
    fn link(&self, from: &str, to: &str) -> Result<(), Errno> {
        let folder = self.handle.as_fd();
        match fs::linkat(folder, from, folder, to, AtFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => self.rename_over_own(from, to),
            Err(errno) => Err(errno),
            Ok(()) => fs::unlinkat(folder, from, AtFlags::empty()),
        }
    }

    /// The same where there are no links either (FAT): the name is taken by an empty file of our own
    /// first, which may then be replaced.
    fn rename_over_own(&self, from: &str, to: &str) -> Result<(), Errno> {
        let folder = self.handle.as_fd();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        drop(fs::openat(folder, to, flags, Mode::RUSR | Mode::WUSR)?);
        fs::renameat(folder, from, folder, to)
    }
}

/// Writes from the start, over what an earlier try left.
fn write_whole(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_all()
}

impl Part {
    /// Returns what it is called while it is one.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Gives a whole and synced file its place: called `name`, or `name (2)` and so on when that is
    /// taken. Returns where it lies.
    pub(super) fn place(self, name: &str) -> io::Result<PathBuf> {
        let name = match self.try_place(name) {
            Err(Errno::NAMETOOLONG) => self.try_place(&name::short(name)),
            placed => placed,
        }?;
        fs::fsync(&*self.folder.handle)?;
        Ok(self.folder.path.join(name))
    }

    fn try_place(&self, name: &str) -> Result<String, Errno> {
        let namesakes = (2..NAMESAKES_MAX).map(|n| name::numbered(name, n));
        for name in std::iter::once(name.to_owned()).chain(namesakes) {
            match self.folder.rename(&self.name, &name) {
                Err(Errno::EXIST) => {}
                renamed => return renamed.map(|()| name),
            }
        }
        Err(Errno::EXIST)
    }

    /// Throws it away.
    pub(super) fn discard(self) {
        let removed = fs::unlinkat(&*self.folder.handle, &self.name, AtFlags::empty());
        if let Err(error) = removed {
            tracing::debug!(%error, part = self.name, "a part stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs as std_fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const PART: &str = ".00112233445566778899aabbccddeeff.part";

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        (dir, folder)
    }

    #[test]
    fn only_a_folder_that_can_be_written_to_is_one() {
        let (dir, _) = folder();
        let file = dir.path().join("file");
        std_fs::write(&file, "").unwrap();
        assert!(Folder::open(&file).is_err());
        let error = Folder::open(&dir.path().join("missing")).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }

    #[test]
    fn a_part_is_private_and_kept_for_one_at_a_time() {
        let (dir, folder) = folder();
        let mut part = folder.part(HASH).unwrap();
        part.file.write_all(b"half").unwrap();
        let mode = std_fs::metadata(dir.path().join(PART)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        let busy = folder.part(HASH).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        drop(part);
        assert_eq!(folder.part(HASH).unwrap().kept, 4);
    }

    #[test]
    fn p12_nothing_that_lies_in_wait_at_a_parts_name_is_followed() {
        let (dir, folder) = folder();
        let (at, outside) = (dir.path().join(PART), tempfile::tempdir().unwrap());
        let target = outside.path().join("target");
        symlink(&target, &at).unwrap();
        assert!(folder.part(HASH).is_err());
        std_fs::write(&target, "mine").unwrap();
        assert!(folder.part(HASH).is_err());
        std_fs::remove_file(&at).unwrap();
        std_fs::hard_link(&target, &at).unwrap();
        assert!(folder.part(HASH).is_err());
        std_fs::remove_file(&at).unwrap();
        std_fs::create_dir(&at).unwrap();
        assert!(folder.part(HASH).is_err());
        assert_eq!(std_fs::read(&target).unwrap(), b"mine");
    }

    #[test]
    fn nothing_is_ever_replaced() {
        let (dir, folder) = folder();
        std_fs::write(dir.path().join("a.txt"), "first").unwrap();
        symlink("nowhere", dir.path().join("a (2).txt")).unwrap();
        for (rename, expected) in [
            (Folder::rename as fn(&Folder, &str, &str) -> _, "renamed"),
            (Folder::link, "linked"),
            (Folder::rename_over_own, "over its own"),
        ] {
            std_fs::write(dir.path().join("from"), expected).unwrap();
            assert_eq!(rename(&folder, "from", "a.txt"), Err(Errno::EXIST));
            assert_eq!(rename(&folder, "from", "a (2).txt"), Err(Errno::EXIST));
            rename(&folder, "from", expected).unwrap();
            let read = std_fs::read_to_string(dir.path().join(expected)).unwrap();
            assert_eq!(read, expected);
            assert!(!dir.path().join("from").exists());
        }
        let placed = folder.part(HASH).unwrap().place("a.txt").unwrap();
        assert_eq!(placed, dir.path().join("a (3).txt"));
        assert_eq!(std_fs::read(dir.path().join("a.txt")).unwrap(), b"first");
    }

    #[test]
    fn p12_what_is_kept_is_whole_and_stays_in_the_folder() {
        let (dir, folder) = folder();
        std_fs::write(dir.path().join(PART), "of an earlier try").unwrap();
        for expected in ["passwd", "passwd (2)"] {
            let kept = folder.keep("../../etc/passwd", b"root").unwrap();
            assert_eq!(kept, dir.path().join(expected));
            assert_eq!(std_fs::read(&kept).unwrap(), b"root");
        }
    }

    #[test]
    fn what_is_discarded_is_gone() {
        let (dir, folder) = folder();
        folder.part(HASH).unwrap().discard();
        assert_eq!(std_fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(folder.room().is_none_or(|room| room > 0));
    }
}
