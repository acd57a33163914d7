//! The journal: what was acknowledged and is not yet sled's alone.
//!
//! A commit is one frame, appended to one of two files and synced; sled takes it in behind that, many
//! commits at a time (`apply`). A frame holds rows (what to put and remove), so carrying it out
//! again changes nothing, and a start carries out all that lie behind the place that sled has noted.
//! A file is begun anew only when sled has everything of it on disk. This file knows bytes: how a
//! frame is written, and which of those in the files are whole. `docs/storage.md`, "The journal".

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::key::Tree;
use super::super::kv::Sink;
use super::disk;

/// Bytes after which a file takes no further frame.
const FILE_BYTES: u64 = 4 << 20;

/// A file grows by this: a sync of blocks that are there already costs half.
const GROWTH_BYTES: u64 = 256 << 10;

/// A larger frame goes to sled at once and not through the journal.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 20;

/// The files' names in the store's folder.
pub(super) const NAMES: [&str; 2] = ["journal.0", "journal.1"];

/// First bytes of a file: what it is, and its format. Its salt and a checksum of both follow.
const MAGIC: [u8; 8] = *b"cjournal";
const VERSION: u32 = 1;
const FILE_HEAD_BYTES: usize = 24;

/// Frames begin at multiples of this, the first at the first: so they are found behind damage too.
const ALIGN: usize = 64;

/// Bytes before a frame's rows.
const HEAD_BYTES: usize = 32;

/// Bytes before a row's key.
const ROW_HEAD_BYTES: usize = 4;

/// In a row's first byte beside the tree: the key goes.
const REMOVED: u8 = 0x80;

/// A place in the row of commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the commit, from 1 on; 0 before the first.
    pub(super) number: u64,
    /// Checksum of its frame. The next frame holds it, so that only what followed can follow.
    pub(super) sum: u32,
}

/// Bytes of a place as sled keeps it.
const PLACE_BYTES: usize = 16;

impl Place {
    /// Returns it with a checksum.
    pub(super) fn to_bytes(self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..8].copy_from_slice(&self.number.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.sum.to_be_bytes());
        let sum = crc32c::crc32c(&bytes[..12]);
        bytes[12..].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// Returns the place in these bytes, if they are one.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let place = Self {
            number: u64::from_be_bytes(*number),
            sum: u32::from_be_bytes(*rest.first_chunk()?),
        };
        (place.to_bytes() == bytes).then_some(place)
    }
}

/// One commit in bytes. It is filled with rows, then gets its place, then is read.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Vec<u8>,
    /// Bytes of head and rows, once it has its place; what follows are zeros up to the next frame's.
    len: usize,
}

/// What a frame puts under a key, or removes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) tree: Tree,
    pub(super) key: &'a [u8],
    pub(super) value: Option<&'a [u8]>,
}

impl Row<'_> {
    /// Bytes of it in a frame.
    fn len(&self) -> usize {
        ROW_HEAD_BYTES + self.key.len() + self.value.map_or(0, <[u8]>::len)
    }
}

impl Frame {
    /// Begins one without rows.
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; HEAD_BYTES],
            len: HEAD_BYTES,
        }
    }

    /// Returns its bytes, padding included.
    pub(super) fn len(&self) -> usize {
        self.bytes.len().next_multiple_of(ALIGN)
    }

    /// Gives it its place after another one, in a file with this salt, and returns that place.
    fn seal(&mut self, salt: u64, after: Place) -> Place {
        self.len = self.bytes.len();
        self.bytes.resize(self.len(), 0);
        let rows = u32::try_from(self.len - HEAD_BYTES).expect("a frame is far below 4 GiB");
        let number = after.number + 1;
        let head = &mut self.bytes[..HEAD_BYTES];
        head[..8].copy_from_slice(&salt.to_be_bytes());
        head[8..16].copy_from_slice(&number.to_be_bytes());
        head[16..20].copy_from_slice(&after.sum.to_be_bytes());
        head[20..24].copy_from_slice(&rows.to_be_bytes());
        let sum = sum_of(&self.bytes[..self.len]);
        self.bytes[28..HEAD_BYTES].copy_from_slice(&sum.to_be_bytes());
        Place { number, sum }
    }

    /// Returns its rows in the order in which they were put; what comes later counts.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut rest = &self.bytes[HEAD_BYTES..self.len];
        std::iter::from_fn(move || {
            let (row, left) = next_row(rest)?;
            rest = left;
            Some(row)
        })
    }

    fn push(&mut self, tree: u8, key: &[u8], value: &[u8]) {
        let key_len = u8::try_from(key.len()).expect("a key has at most 255 bytes");
        let value_len = u16::try_from(value.len()).expect("a value has at most 4 KiB");
        self.bytes.extend_from_slice(&[tree, key_len]);
        self.bytes.extend_from_slice(&value_len.to_be_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }
}

impl Sink for Frame {
    fn put(&mut self, tree: Tree, key: &[u8], value: &[u8]) {
        self.push(tree as u8, key, value);
    }

    fn remove(&mut self, tree: Tree, key: &[u8]) {
        self.push(tree as u8 | REMOVED, key, &[]);
    }
}

/// Splits the first row off; nothing at the end, or where there is none: a frame that was read is
/// known to be rows to its end.
fn next_row(bytes: &[u8]) -> Option<(Row<'_>, &[u8])> {
    let ([tree, key_len, v0, v1], rest) = bytes.split_first_chunk::<ROW_HEAD_BYTES>()?;
    let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*v0, *v1])))?;
    let row = Row {
        tree: *Tree::ALL.get(usize::from(tree & !REMOVED))?,
        key,
        value: (tree & REMOVED == 0).then_some(value),
    };
    Some((row, rest))
}

/// The checksum of a frame's head and rows, without that of the place where it lies.
fn sum_of(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..28]), &frame[HEAD_BYTES..])
}

/// Why a journal cannot be followed to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a file of its journal is missing")]
    Missing,
    #[error("a file of its journal does not begin as one")]
    Head,
    #[error("commit {0} is broken in its journal, but later ones are there")]
    Broken(u64),
    #[error("its journal goes on with commit {found}, but it ends with {ends}")]
    Gap { found: u64, ends: u64 },
    #[error("commit {0} in its journal is not the one that followed")]
    Strange(u64),
}

/// What the files held behind a place.
#[derive(Debug)]
pub(super) struct Found {
    /// What followed it without a gap, oldest first.
    pub(super) frames: VecDeque<(Place, Frame)>,
    /// The last of them.
    pub(super) last: Place,
    /// What keeps it from being all that there was.
    pub(super) fault: Option<Fault>,
}

/// The two files, open.
#[derive(Debug)]
pub(super) struct Journal {
    files: [JournalFile; 2],
    /// The one that is written.
    current: usize,
    offset: u64,
    last: Place,
    made: bool,
}

#[derive(Debug)]
struct JournalFile {
    file: File,
    salt: Option<u64>,
    /// Bytes that have their blocks.
    len: u64,
    /// The last commit in it.
    end: u64,
}

impl Journal {
    /// Opens the files in a store's folder, or makes them; the caller syncs the folder.
    pub(super) fn open(store: &Path) -> io::Result<Self> {
        let [first, second] = NAMES.map(|name| JournalFile::open(&store.join(name)));
        let ((first, made_first), (second, made_second)) = (first?, second?);
        Ok(Self {
            files: [first, second],
            current: 0,
            offset: ALIGN as u64,
            last: Place::default(),
            made: made_first || made_second,
        })
    }

    /// Reads what follows a place.
    pub(super) fn find(&self, after: Place) -> io::Result<Found> {
        let mut all = Vec::new();
        let mut fault = self.made.then_some(Fault::Missing);
        for file in &self.files {
            let found = file.read(after.number)?;
            fault = fault.or(found.fault);
            all.extend(found.frames);
        }
        all.sort_by_key(|(place, ..)| place.number);
        Ok(follow(after, all, fault))
    }

    /// Begins to take frames behind a place: everything up to there is sled's, on disk. `anew` where
    /// frames lie in the files that must not be found again behind those to come.
    pub(super) fn begin(&mut self, after: Place, anew: bool) -> io::Result<()> {
        for file in &mut self.files {
            if anew {
                file.salt = None;
            }
            file.begin()?;
        }
        self.last = after;
        Ok(())
    }

    /// Returns the last commit in the journal, or before it.
    pub(super) fn last(&self) -> Place {
        self.last
    }

    /// Returns the commit that sled must have on disk before a frame of so many bytes can be written;
    /// nothing while there is room in the present file.
    pub(super) fn awaits(&self, bytes: usize) -> Option<u64> {
        let full = self.offset + bytes as u64 > FILE_BYTES;
        full.then(|| self.files[1 - self.current].end)
    }

    /// Goes on in the other file, of which sled has everything on disk.
    pub(super) fn turn(&mut self) {
        self.current = 1 - self.current;
        self.offset = ALIGN as u64;
    }

    /// Gives a frame that is not written here the place behind the last.
    pub(super) fn place(&self, frame: &mut Frame) -> Place {
        frame.seal(0, self.last)
    }

    /// Goes on behind such a frame, once everything up to it is sled's, on disk. In the other file: the
    /// frames of one follow each other.
    pub(super) fn skip(&mut self, place: Place) {
        self.last = place;
        self.turn();
    }

    /// Writes a frame and syncs it. After an error nothing is known.
    pub(super) fn append(&mut self, frame: &mut Frame) -> io::Result<Place> {
        let file = &mut self.files[self.current];
        let place = frame.seal(file.salt.unwrap_or_default(), self.last);
        let end = self.offset + frame.bytes.len() as u64;
        file.grow(end)?;
        file.file.write_all_at(&frame.bytes, self.offset)?;
        file.file.sync_data()?;
        file.end = place.number;
        self.offset = end;
        self.last = place;
        Ok(place)
    }
}

type Placed = (Place, u32, Frame);

/// What one file holds above a number.
struct Held {
    /// Place, sum of the frame before, frame.
    frames: Vec<Placed>,
    fault: Option<Fault>,
}

impl JournalFile {
    fn open(path: &Path) -> io::Result<(Self, bool)> {
        let file = disk::private().create(true).truncate(false).open(path)?;
        let len = file.metadata()?.len();
        let mut head = vec![0; FILE_HEAD_BYTES];
        let salt = if len >= FILE_HEAD_BYTES as u64 {
            file.read_exact_at(&mut head, 0)?;
            salt_of(&head)
        } else {
            None
        };
        let opened = Self {
            file,
            salt,
            len,
            end: 0,
        };
        Ok((opened, len == 0))
    }

    /// Gives a file that has none a head.
    fn begin(&mut self) -> io::Result<()> {
        if self.salt.is_some() {
            return Ok(());
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let salt = u64::from_be_bytes(random);
        self.grow(GROWTH_BYTES)?;
        self.file.write_all_at(&head_of(salt), 0)?;
        self.file.sync_all()?;
        self.salt = Some(salt);
        Ok(())
    }

    /// Gives the file blocks up to a place.
    fn grow(&mut self, end: u64) -> io::Result<()> {
        while self.len < end {
            let zeros = vec![0; usize::try_from(GROWTH_BYTES).expect("it is small")];
            self.file.write_all_at(&zeros, self.len)?;
            self.len += GROWTH_BYTES;
        }
        Ok(())
    }

    /// Reads the frames above a number, from the file's beginning to where they end.
    fn read(&self, above: u64) -> io::Result<Held> {
        let mut bytes = vec![0; usize::try_from(self.len).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(match self.salt {
            Some(salt) => frames_of(&bytes, salt, above),
            None => Held {
                frames: Vec::new(),
                fault: (!bytes.is_empty()).then_some(Fault::Head),
            },
        })
    }
}

fn head_of(salt: u64) -> [u8; FILE_HEAD_BYTES] {
    let mut head = [0; FILE_HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_be_bytes());
    head[12..20].copy_from_slice(&salt.to_be_bytes());
    let sum = crc32c::crc32c(&head[..20]);
    head[20..].copy_from_slice(&sum.to_be_bytes());
    head
}

fn salt_of(head: &[u8]) -> Option<u64> {
    let (_, rest) = head.split_at_checked(12)?;
    let salt = u64::from_be_bytes(*rest.first_chunk()?);
    (head == head_of(salt)).then_some(salt)
}

/// Walks from the beginning of a file to where its frames end. What lies behind is of before, unless
/// a frame there is newer than the last: then something in between is broken.
fn frames_of(bytes: &[u8], salt: u64, above: u64) -> Held {
    let mut frames: Vec<Placed> = Vec::new();
    let (mut at, mut newest) = (ALIGN, None);
    while let Some(found) = frame_at(bytes, at, salt) {
        let number = found.0.number;
        if newest.is_some_and(|newest: u64| number != newest + 1) {
            break;
        }
        newest = Some(number);
        at += found.2.bytes.len();
        if number > above {
            frames.push(found);
        }
    }
    let newest = newest.unwrap_or(0).max(above);
    let is_newer = |at| {
        let found = frame_at(bytes, at, salt);
        found.is_some_and(|(place, ..)| place.number > newest)
    };
    let broken = (at..bytes.len()).step_by(ALIGN).any(is_newer);
    Held {
        frames,
        fault: broken.then_some(Fault::Broken(newest + 1)),
    }
}

/// Returns the frame at a place, with the sum of the one before it, if there is a whole one.
fn frame_at(bytes: &[u8], at: usize, salt: u64) -> Option<Placed> {
    let bytes = bytes.get(at..)?;
    let head = bytes.get(..HEAD_BYTES)?;
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if head[..8] != salt.to_be_bytes() {
        return None;
    }
    let number = u64::from(word(8)) << 32 | u64::from(word(12));
    let len = HEAD_BYTES.checked_add(usize::try_from(word(20)).ok()?)?;
    let whole = bytes.get(..len.next_multiple_of(ALIGN))?;
    let sum = word(28);
    if sum != sum_of(&whole[..len]) {
        return None;
    }
    let frame = Frame {
        bytes: whole.to_vec(),
        len,
    };
    let is_read = frame.rows().map(|row| row.len()).sum::<usize>() == len - HEAD_BYTES;
    is_read.then_some((Place { number, sum }, word(16), frame))
}

/// Takes from frames in order what follows a place.
fn follow(after: Place, all: Vec<Placed>, mut fault: Option<Fault>) -> Found {
    let (mut frames, mut last) = (VecDeque::new(), after);
    for (place, before, frame) in all {
        let wrong = if place.number != last.number + 1 {
            Some(Fault::Gap {
                found: place.number,
                ends: last.number,
            })
        } else if before != last.sum {
            Some(Fault::Strange(place.number))
        } else {
            None
        };
        if wrong.is_some() {
            fault = fault.or(wrong);
            break;
        }
        last = place;
        frames.push_back((place, frame));
    }
    Found {
        frames,
        last,
        fault,
    }
}

#[cfg(test)]
mod tests;
