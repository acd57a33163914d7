//! The seal: how far the store was known to reach, in a file that sled does not write.
//!
//! A log that was cut off at its end opens as an older store that looks whole; checksums cannot see
//! it. The seal can: numbers below it were given out. It lies in two slots that are written in turn,
//! so a torn write leaves the older one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk;
use crate::protocol::MailId;

/// Bytes between the two slots: they never share a disk's sector.
const SLOT_BYTES: usize = 4096;

/// Bytes of one slot's content.
const CONTENT_BYTES: usize = 32;

/// The turn of a slot that was laid with the file and says nothing.
const UNWRITTEN: u64 = 0;

/// First bytes of a slot: what it is, and its format.
const MAGIC: [u8; 4] = *b"cse\x01";

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
    turn: u64,
}

impl Seal {
    /// Opens the file, or makes it (0600), and says what was in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Found)> {
        if !std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
            begin(path)?;
        }
        let file = disk::private().open(path)?;
        let slots = [read(&file, 0)?, read(&file, 1)?];
        let (turn, found) = newest(slots);
        Ok((Self { file, turn }, found))
    }

    /// Writes the other slot and syncs it.
    pub(super) fn write(&mut self, reach: Reach) -> io::Result<()> {
        let turn = self.turn + 1;
        self.file
            .write_all_at(&content(turn, reach), (turn % 2) * SLOT_BYTES as u64)?;
        self.file.sync_data()?;
        self.turn = turn;
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
    file.write_all_at(&content(UNWRITTEN, Reach::default()), 0)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}

/// Says what the bytes of a seal's file hold.
pub fn found_in(bytes: &[u8]) -> Found {
    let mut slots = bytes
        .chunks(SLOT_BYTES)
        .map(|slot| whole(slot.first_chunk()?));
    let slots = [0, 1].map(|_| slots.next().flatten());
    newest(slots).1
}

/// Returns the turn and the content of the slot that was written last.
fn newest(slots: [Option<(u64, Reach)>; 2]) -> (u64, Found) {
    let newest = slots.into_iter().flatten().max_by_key(|(turn, _)| *turn);
    match newest {
        Some((UNWRITTEN, _)) => (UNWRITTEN, Found::Nothing),
        Some((turn, reach)) => (turn, Found::Reach(reach)),
        None => (0, Found::Damaged),
    }
}

fn content(turn: u64, reach: Reach) -> [u8; CONTENT_BYTES] {
    let mut slot = [0; CONTENT_BYTES];
    slot[..4].copy_from_slice(&MAGIC);
    slot[8..16].copy_from_slice(&turn.to_be_bytes());
    slot[16..24].copy_from_slice(&reach.mail.to_be_bytes());
    slot[24..].copy_from_slice(&reach.epoch.to_be_bytes());
    let sum = crc32c::crc32c(&slot);
    slot[4..8].copy_from_slice(&sum.to_be_bytes());
    slot
}

/// Returns a slot's turn and content, if it is whole.
fn read(file: &File, slot: u64) -> io::Result<Option<(u64, Reach)>> {
    let mut bytes = [0; CONTENT_BYTES];
    match file.read_exact_at(&mut bytes, slot * SLOT_BYTES as u64) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    Ok(whole(&bytes))
}

/// Returns a slot's turn and content, if its checksum is right.
fn whole(bytes: &[u8; CONTENT_BYTES]) -> Option<(u64, Reach)> {
    let (words, _) = bytes.as_chunks::<8>();
    let [_, turn, mail, epoch] = [0, 1, 2, 3].map(|at| u64::from_be_bytes(words[at]));
    let reach = Reach { mail, epoch };
    (content(turn, reach) == *bytes).then_some((turn, reach))
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
        seal.write(FIRST).unwrap();
        seal.write(SECOND).unwrap();
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
    fn a_torn_first_write_leaves_a_seal_that_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seal");
        let (mut seal, _) = Seal::open(&path).unwrap();
        seal.write(FIRST).unwrap();
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
