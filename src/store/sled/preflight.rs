//! What must be so before sled may open its files, because sled would make it worse.
//!
//! sled takes a read that fails for the end of its log and then zeroes what lies behind it. So all
//! that its recovery reads is read here first: a disk that cannot read ends the start with nothing
//! changed. And sled takes a snapshot, or its settings, that it was still writing for what it wrote.
//! This file looks at bytes and decides nothing about their meaning. Read next: `trees`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of one segment of sled's log (its default).
const SEGMENT_BYTES: u64 = 512 * 1024;

/// Bytes before a segment's content: a checksum, its place in the log, the newest place on disk.
const HEADER_BYTES: usize = 20;

/// sled stores places in its log after an exclusive or with this.
const PLACE_MASK: i64 = i64::MAX;

/// Bytes read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Reads what sled's recovery will read, and removes what was never finished.
pub(super) fn preflight(store: &Path) -> io::Result<()> {
    let newest = newest_snapshot(store)?;
    let file = match File::open(store.join("db")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return forget_settings(store),
        opened => opened?,
    };
    if file.metadata()?.len() == 0 {
        return forget_settings(store);
    }
    read_tail(&file, newest / SEGMENT_BYTES * SEGMENT_BYTES)
}

/// Removes sled's settings beside a log that never began: they may be half written, and sled makes
/// them again.
fn forget_settings(store: &Path) -> io::Result<()> {
    match std::fs::remove_file(store.join("conf")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns how far the newest snapshot reaches; 0 without one. Snapshots are read too: sled would.
fn newest_snapshot(store: &Path) -> io::Result<u64> {
    let mut newest = 0;
    for entry in std::fs::read_dir(store)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(place) = name.strip_prefix("snap.") else {
            continue;
        };
        if place.ends_with(".generating") {
            remove(&path)?;
            continue;
        }
        read_whole(&path)?;
        newest = newest.max(u64::from_str_radix(place, 16).unwrap_or(0));
    }
    Ok(newest)
}

fn remove(path: &PathBuf) -> io::Result<()> {
    tracing::info!(path = %path.display(), "removing a snapshot that was never finished");
    std::fs::remove_file(path)
}

fn read_whole(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    read_range(&file, 0, file.metadata()?.len())
}

/// Reads the header of each segment, and the whole of those whose place is not below `from`.
fn read_tail(file: &File, from: u64) -> io::Result<()> {
    let length = file.metadata()?.len();
    for start in (0..length).step_by(usize::try_from(SEGMENT_BYTES).unwrap_or(usize::MAX)) {
        let mut header = [0; HEADER_BYTES];
        if read_up_to(file, &mut header, start)? < HEADER_BYTES {
            continue;
        }
        if place(&header) >= from {
            read_range(file, start, (start + SEGMENT_BYTES).min(length))?;
        }
    }
    Ok(())
}

/// Returns a segment's place in the log; of a damaged header, any number.
fn place(header: &[u8; HEADER_BYTES]) -> u64 {
    let [_, _, _, _, p0, p1, p2, p3, p4, p5, p6, p7, ..] = *header;
    let masked = i64::from_be_bytes([p7, p6, p5, p4, p3, p2, p1, p0]);
    u64::try_from(masked ^ PLACE_MASK).unwrap_or(0)
}

fn read_range(file: &File, mut at: u64, end: u64) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    while at < end {
        let read = read_up_to(file, &mut piece, at)?;
        if read == 0 {
            return Ok(());
        }
        at += read as u64;
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends.
fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sled::SledStore;

    #[test]
    fn a_segment_says_where_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        drop(SledStore::open(dir.path()).unwrap());
        let bytes = std::fs::read(dir.path().join("store/db")).unwrap();
        let header = bytes.first_chunk::<HEADER_BYTES>().unwrap();
        assert_eq!(place(header), 0, "the first segment of a new log");
    }

    #[test]
    fn settings_that_were_half_written_keep_nothing_from_opening() {
        for db in [None, Some("")] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("store")).unwrap();
            std::fs::write(dir.path().join("store/conf"), "half").unwrap();
            if let Some(bytes) = db {
                std::fs::write(dir.path().join("store/db"), bytes).unwrap();
            }
            drop(SledStore::open(dir.path()).unwrap());
        }
    }

    #[test]
    fn a_snapshot_that_was_never_finished_keeps_nothing_from_opening() {
        let dir = tempfile::tempdir().unwrap();
        drop(SledStore::open(dir.path()).unwrap());
        let half = dir.path().join("store/snap.00000000FFFFFFFF.generating");
        std::fs::write(&half, "half").unwrap();
        drop(SledStore::open(dir.path()).unwrap());
        assert!(!half.exists());
    }
}
