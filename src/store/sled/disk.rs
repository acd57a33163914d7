//! What the store asks of the file system beside sled: free space, a ballast, directories on disk.
//!
//! sled can neither go on nor be opened again on a full disk. So the server refuses new mail while
//! there is still room, and a file of real blocks lies ready to be given up at the next start.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FallocateFlags;

/// Bytes of the ballast: what sled needs to open and to write its first segments, with room.
pub(super) const BALLAST_BYTES: u64 = 16 * 1024 * 1024;

/// Most bytes left free beside the ballast; on a small file system a twentieth of it.
const RESERVE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Gives the ballast up when the disk is so full that sled might not open.
pub(super) fn release_ballast(data: &Path, ballast: &Path) -> io::Result<()> {
    let (free, _) = space(data)?;
    if free >= BALLAST_BYTES {
        return Ok(());
    }
    match std::fs::remove_file(ballast) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the ballast of `bytes`, unless it is there or would take the last of the space. A store
/// without one serves as well; it may only not open again on a full disk.
pub(super) fn lay_ballast(data: &Path, ballast: &Path, bytes: u64) {
    if let Err(error) = try_lay(data, ballast, bytes) {
        tracing::warn!(%error, path = %ballast.display(), "no ballast for a full disk");
        std::fs::remove_file(ballast).ok();
    }
}

fn try_lay(data: &Path, ballast: &Path, bytes: u64) -> io::Result<()> {
    let (free, total) = space(data)?;
    let there = std::fs::metadata(ballast).is_ok_and(|file| file.len() >= bytes);
    if there || free < reserve(total) + bytes {
        return Ok(());
    }
    let mut file = private().create(true).truncate(true).open(ballast)?;
    if rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes).is_err() {
        // Not every file system can; zeros take the same room.
        io::copy(&mut io::repeat(0).take(bytes), &mut file)?;
    }
    file.sync_all()
}

/// Makes a directory (0700) with its parents; when it was not there, it and its parent are synced.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    sync_dir(path)?;
    match path.parent() {
        Some(parent) if parent != Path::new("") => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Syncs a directory, so that the names in it survive a power cut.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Options for a file that only its owner reads (0600).
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Returns the bytes free for this process and all bytes of the file system.
fn space(path: &Path) -> io::Result<(u64, u64)> {
    let fs = rustix::fs::statvfs(path)?;
    Ok((
        fs.f_bavail.saturating_mul(fs.f_frsize),
        fs.f_blocks.saturating_mul(fs.f_frsize),
    ))
}

fn reserve(total: u64) -> u64 {
    RESERVE_BYTES_MAX.min(total / 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_is_the_smaller_of_both() {
        assert_eq!(reserve(20 * 1024), 1024);
        assert_eq!(reserve(u64::MAX), RESERVE_BYTES_MAX);
    }

    #[test]
    fn ballast_has_real_blocks() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ballast");
        lay_ballast(dir.path(), &path, BALLAST_BYTES);
        let file = std::fs::metadata(&path).unwrap();
        assert_eq!(file.len(), BALLAST_BYTES);
        assert!(file.blocks() * 512 >= BALLAST_BYTES);
        assert_eq!(file.mode() & 0o777, 0o600);
    }
}
