//! The seal: how far the store was known to reach, in a file that sled does not write.
//!
//! A log that was cut off at its end opens as an older store that looks whole; checksums cannot see
//! it. The seal can: numbers below it were given out. And a store that was closed leaves a sum of its
//! records there, since sled may skip what it cannot read in the middle of its log. It lies in two slots
//! that are written in turn, so a torn write leaves the older one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk;
use crate::protocol::MailId;

/// Bytes between the two slots: they never share a disk's sector.
const SLOT_BYTES: usize = 4096;

/// Bytes of one slot's content.
const CONTENT_BYTES: usize = 40;

/// Bytes of a slot before there were sums.
const OLD_BYTES: usize = 32;

/// The turn of a slot that was laid with the file and says nothing.
const UNWRITTEN: u64 = 0;

/// First bytes of a slot: what it is, and its format.
const MAGIC: [u8; 4] = *b"cse\x02";

/// The same before there were sums.
const OLD_MAGIC: [u8; 4] = *b"cse\x01";

/// The highest numbers known to be on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// Last mail id.
    pub mail: MailId,
    /// Last lease epoch.
    pub epoch: u64,
}

impl Reach {
    /// Says whether a number of this one is lower than in `other`.
    pub(super) fn is_below(self, other: Self) -> bool {
        self.mail < other.mail || self.epoch < other.epoch
    }
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There is none: a new store, or one from a backup.
    Nothing,
    /// It says this.
    Reach(Reach),
    /// Neither slot can be read.
    Damaged,
}

impl Found {
    /// Returns what it says, and zeros when it says nothing.
    pub(super) fn reach(self) -> Reach {
        match self {
            Self::Reach(reach) => reach,
            Self::Nothing | Self::Damaged => Reach::default(),
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Seal {
    file: File,
    is_new: bool,
    turn: u64,
    sum: Option<u64>,
}

/// What one slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    turn: u64,
    reach: Reach,
    sum: Option<u64>,
}

impl Seal {
    /// Opens the file, or makes it (0600), and says what was in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Found)> {
        let is_new = !std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        if is_new {
            begin(path)?;
        }
        let file = disk::private().open(path)?;
        let slots = [read(&file, 0)?, read(&file, 1)?];
        let (newest, found) = newest(slots);
        // Beside a slot that cannot be read this one may be the older, and its sum of before.
        let is_last_word = slots.iter().all(Option::is_some);
        let seal = Self {
            file,
            is_new,
            turn: newest.map_or(0, |slot| slot.turn),
            sum: newest.and_then(|slot| slot.sum).filter(|_| is_last_word),
        };
        Ok((seal, found))
    }

    /// Says whether there was none before.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns the sum of the records of a store that was closed; nothing while one is written to.
    pub(super) fn sum(&self) -> Option<u64> {
        self.sum
    }

    /// Writes the other slot and syncs it.
    pub(super) fn write(&mut self, reach: Reach, sum: Option<u64>) -> io::Result<()> {
        let turn = self.turn + 1;
        let slot = Slot { turn, reach, sum };
        self.file
            .write_all_at(&content(slot), (turn % 2) * SLOT_BYTES as u64)?;
        self.file.sync_data()?;
        (self.turn, self.sum) = (turn, sum);
        Ok(())
    }
}

/// Puts a seal in place that says nothing yet: the first write can be torn as any other, and then
/// this is the older slot.
fn begin(path: &Path) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let file = disk::private()
        .create(true)
        .truncate(true)
        .open(&unfinished)?;
    let nothing = Slot {
        turn: UNWRITTEN,
        reach: Reach::default(),
        sum: None,
    };
    file.write_all_at(&content(nothing), 0)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}

/// Says what the bytes of a seal's file hold.
pub fn found_in(bytes: &[u8]) -> Found {
    let mut slots = bytes
        .chunks(SLOT_BYTES)
        .map(|slot| whole(&slot[..slot.len().min(CONTENT_BYTES)]));
    let slots = [0, 1].map(|_| slots.next().flatten());
    newest(slots).1
}

/// Returns the slot that was written last, and what it says.
fn newest(slots: [Option<Slot>; 2]) -> (Option<Slot>, Found) {
    let newest = slots.into_iter().flatten().max_by_key(|slot| slot.turn);
    let found = match newest {
        Some(Slot {
            turn: UNWRITTEN, ..
        }) => Found::Nothing,
        Some(slot) => Found::Reach(slot.reach),
        None => Found::Damaged,
    };
    (newest, found)
}

/// A sum of 0 stands for none.
fn content(slot: Slot) -> [u8; CONTENT_BYTES] {
    let mut bytes = [0; CONTENT_BYTES];
    bytes[..OLD_BYTES].copy_from_slice(&words(MAGIC, slot));
    bytes[OLD_BYTES..].copy_from_slice(&slot.sum.unwrap_or(0).to_be_bytes());
    check(&mut bytes);
    bytes
}

/// The content of a slot before there were sums.
fn old_content(slot: Slot) -> [u8; OLD_BYTES] {
    let mut bytes = words(OLD_MAGIC, slot);
    check(&mut bytes);
    bytes
}

fn words(magic: [u8; 4], slot: Slot) -> [u8; OLD_BYTES] {
    let mut bytes = [0; OLD_BYTES];
    bytes[..4].copy_from_slice(&magic);
    bytes[8..16].copy_from_slice(&slot.turn.to_be_bytes());
    bytes[16..24].copy_from_slice(&slot.reach.mail.to_be_bytes());
    bytes[24..].copy_from_slice(&slot.reach.epoch.to_be_bytes());
    bytes
}

/// Puts the checksum in its place, which is zero while it is computed.
fn check(bytes: &mut [u8]) {
    let sum = crc32c::crc32c(bytes);
    bytes[4..8].copy_from_slice(&sum.to_be_bytes());
}

/// Returns a slot's content, if it is whole.
fn read(file: &File, slot: u64) -> io::Result<Option<Slot>> {
    let mut bytes = [0; CONTENT_BYTES];
    let mut filled = 0;
    while filled < CONTENT_BYTES {
        match file.read_at(
            &mut bytes[filled..],
            slot * SLOT_BYTES as u64 + filled as u64,
        )? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(whole(&bytes[..filled]))
}

/// Returns a slot's content, if its checksum is right, of this format or the one before.
fn whole(found: &[u8]) -> Option<Slot> {
    let mut bytes = [0; CONTENT_BYTES];
    bytes.get_mut(..found.len())?.copy_from_slice(found);
    let (words, _) = bytes.as_chunks::<8>();
    let [_, turn, mail, epoch, sum] = [0, 1, 2, 3, 4].map(|at| u64::from_be_bytes(words[at]));
    let reach = Reach { mail, epoch };
    let old = Slot {
        turn,
        reach,
        sum: None,
    };
    let new = Slot {
        sum: (sum != 0).then_some(sum),
        ..old
    };
    if found == content(new) {
        return Some(new);
    }
    (found.len() >= OLD_BYTES && old_content(old) == found[..OLD_BYTES]).then_some(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Reach = Reach { mail: 7, epoch: 2 };
    const SECOND: Reach = Reach { mail: 9, epoch: 3 };

    fn written(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("seal");
        let (mut seal, found) = Seal::open(&path).unwrap();
        assert_eq!(found, Found::Nothing);
        seal.write(FIRST, None).unwrap();
        seal.write(SECOND, None).unwrap();
        path
    }

    fn flip(path: &Path, at: usize) {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn says_what_was_written_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        assert_eq!(Seal::open(&path).unwrap().1, Found::Reach(SECOND));
    }

    #[test]
    fn a_sum_counts_only_beside_a_whole_slot() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let (mut seal, _) = Seal::open(&path).unwrap();
        seal.write(SECOND, Some(5)).unwrap();
        assert_eq!(Seal::open(&path).unwrap().0.sum(), Some(5));
        flip(&path, 20);
        let (seal, found) = Seal::open(&path).unwrap();
        assert_eq!((seal.sum(), found), (None, Found::Reach(SECOND)));
    }

    #[test]
    fn a_seal_of_before_there_were_sums_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal");
        let slot = |turn, reach| {
            old_content(Slot {
                turn,
                reach,
                sum: None,
            })
        };
        let mut bytes = vec![0; 4096 + OLD_BYTES];
        bytes[..OLD_BYTES].copy_from_slice(&slot(2, SECOND));
        bytes[4096..].copy_from_slice(&slot(1, FIRST));
        std::fs::write(&path, bytes).unwrap();
        let (seal, found) = Seal::open(&path).unwrap();
        assert_eq!((seal.sum(), found), (None, Found::Reach(SECOND)));
    }

    #[test]
    fn a_torn_first_write_leaves_a_seal_that_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal");
        let (mut seal, _) = Seal::open(&path).unwrap();
        seal.write(FIRST, None).unwrap();
        flip(&path, 4096 + 20); // turn 1 lies in slot 1
        assert_eq!(Seal::open(&path).unwrap().1, Found::Nothing);
    }

    #[test]
    fn a_torn_write_leaves_the_older_slot() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        flip(&path, 20); // turn 2 lies in slot 0
        assert_eq!(Seal::open(&path).unwrap().1, Found::Reach(FIRST));
        flip(&path, 4096 + 20);
        assert_eq!(Seal::open(&path).unwrap().1, Found::Damaged);
    }
}
