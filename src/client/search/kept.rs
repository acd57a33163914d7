//! What mails say, folded, kept in a few large files: reading 100,000 small ones takes longer than anybody waits.
//!
//! ```text
//! search/<number>.kept       up to 8 MiB of documents and a checksum; written once
//! ```
//! This is a cache and cannot lie: a document counts only as long as its mail's file has the name, size and time of
//! change that it had, a file whose checksum is wrong is removed, and what is not here is read from the mail itself. So
//! nothing is synced, and nothing is lost when all of it is removed. It goes when mail is purged.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Document;
use crate::client::files::{self, FileError};

/// Begins every file; another form gets another word.
const MAGIC: &[u8] = b"correio search 1\n";

/// Bytes of documents in one file: what a thread holds in memory.
const FILE_BYTES: usize = 8 * 1024 * 1024;

const CHECKSUM_BYTES: usize = 4;

const ENDING: &str = ".kept";

/// The files of one mailbox.
#[derive(Debug)]
pub(super) struct Kept {
    folder: PathBuf,
    next: AtomicU64,
    /// Who holds it may write; without it what is found is not kept.
    lock: Option<File>,
}

impl Kept {
    pub(super) fn open(folder: &Path) -> Result<Self, FileError> {
        files::make_folder(folder)?;
        let lock = files::open_lock(&folder.join("lock"))?;
        let free = lock.try_lock().is_ok();
        let kept = Self {
            folder: folder.to_owned(),
            next: AtomicU64::new(0),
            lock: free.then_some(lock),
        };
        let last = kept.numbers()?.last().copied();
        kept.next
            .store(last.map_or(1, |last| last + 1), Ordering::Relaxed);
        Ok(kept)
    }

    /// Returns the numbers of the files, in order.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, FileError> {
        let number = |name: String| name.strip_suffix(ENDING)?.parse().ok();
        let mut numbers: Vec<u64> = files::names(&self.folder)?.filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) fn may_write(&self) -> bool {
        self.lock.is_some()
    }

    /// Reads a file; nothing when it is gone or damaged.
    pub(super) fn read(&self, number: u64) -> Option<Vec<u8>> {
        let path = self.path(number);
        let bytes = fs::read(&path).ok()?;
        let whole = whole(&bytes).map(<[u8]>::to_vec);
        if whole.is_none() {
            self.remove(number);
        }
        whole
    }

    /// Removes a file, if this process may.
    pub(super) fn remove(&self, number: u64) {
        if self.may_write() {
            drop(fs::remove_file(self.path(number)));
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number}{ENDING}"))
    }
}

/// Documents on their way to a file.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    kept: &'a Kept,
    bytes: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(kept: &'a Kept) -> Self {
        let bytes = Vec::new();
        Self { kept, bytes }
    }

    /// Keeps a document. That it cannot be kept is no failure.
    pub(super) fn add(&mut self, document: &Document<'_>) {
        let Ok(coded) = bincode::serialize(document) else {
            return;
        };
        let Ok(length) = u32::try_from(coded.len()) else {
            return;
        };
        self.bytes.extend(length.to_be_bytes());
        self.bytes.extend(coded);
        if self.bytes.len() >= FILE_BYTES {
            self.flush();
        }
    }

    pub(super) fn flush(&mut self) {
        let documents = std::mem::take(&mut self.bytes);
        if documents.is_empty() {
            return;
        }
        let number = self.kept.next.fetch_add(1, Ordering::Relaxed);
        let path = self.kept.path(number);
        let aside = path.with_extension("tmp");
        let checksum = crc32c::crc32c(&documents).to_be_bytes();
        let written = files::create(&aside).is_ok_and(|mut file| {
            let pieces = [MAGIC, &documents, &checksum];
            let mut pieces = pieces.into_iter();
            pieces.all(|piece| std::io::Write::write_all(&mut file, piece).is_ok())
        });
        if !written || fs::rename(&aside, &path).is_err() {
            drop(fs::remove_file(&aside));
        }
    }
}

/// Returns the documents of a file whose checksum is right.
fn whole(file: &[u8]) -> Option<&[u8]> {
    let rest = file.strip_prefix(MAGIC)?;
    let (documents, checksum) = rest.split_at_checked(rest.len().checked_sub(CHECKSUM_BYTES)?)?;
    (crc32c::crc32c(documents).to_be_bytes() == checksum).then_some(documents)
}

/// Takes the documents of a file one by one.
pub(super) fn documents(mut bytes: &[u8]) -> impl Iterator<Item = Document<'_>> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (coded, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        bincode::deserialize(coded).ok()
    })
}

/// Removes everything that is kept.
pub(in crate::client) fn forget(folder: &Path) {
    for name in files::names(folder).into_iter().flatten() {
        if name.ends_with(ENDING) {
            drop(fs::remove_file(folder.join(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path()).unwrap();
        let mut writer = Writer::new(&kept);
        let document = Document {
            key: "a".into(),
            text: " hello ".into(),
            ..Document::default()
        };
        writer.add(&document);
        writer.flush();
        let numbers = kept.numbers().unwrap();
        assert_eq!(numbers, [1]);
        let bytes = kept.read(1).unwrap();
        let texts: Vec<String> = documents(&bytes).map(|d| d.text.into_owned()).collect();
        assert_eq!(texts, [" hello "]);
        // Any bit may be wrong, and any end missing.
        let path = folder.path().join("1.kept");
        let file = fs::read(&path).unwrap();
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 4;
            assert_eq!(whole(&bad), None, "byte {at}");
            assert_eq!(whole(&file[..at]), None, "cut at {at}");
        }
        fs::write(&path, &file[1..]).unwrap();
        assert_eq!(kept.read(1), None);
        assert!(kept.numbers().unwrap().is_empty(), "it is gone");
    }

    #[test]
    fn only_one_process_writes() {
        let folder = tempfile::tempdir().unwrap();
        let first = Kept::open(folder.path()).unwrap();
        assert!(first.may_write());
        assert!(!Kept::open(folder.path()).unwrap().may_write());
        drop(first);
        assert!(Kept::open(folder.path()).unwrap().may_write());
    }
}
