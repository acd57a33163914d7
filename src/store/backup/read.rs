//! A stream into blocks, blocks into rows. Whatever comes, memory is bounded by one block, and
//! nothing is given out of a block whose checksum is wrong.

use std::io::{self, Read};

use super::{
    BackupError, Block, END_BYTES, FILES, HEAD_BYTES, Header, KeptFile, LZ4, MAGIC, PLAIN,
    PREFACE_BYTES, ROW_BYTES, Totals, VERSION, checksum,
};
use crate::limits::BACKUP_BLOCK_BYTES_MAX;
use crate::store::key::{Kind, Tree};

/// One record of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Row<'a> {
    pub(in crate::store) tree: Tree,
    pub(in crate::store) key: &'a [u8],
    pub(in crate::store) value: &'a [u8],
}

/// Reads one backup.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    hash: blake3::Hasher,
    header: Header,
    files: Vec<KeptFile>,
    /// The content of the present block.
    content: Vec<u8>,
    stored: Vec<u8>,
    /// Blocks so far.
    blocks: u32,
    /// Where the present block begins.
    begin: u64,
    /// The last row: they only go up.
    last: (u8, Vec<u8>),
    totals: Totals,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning of a backup: what it says of itself, and the files that travel with it.
    ///
    /// # Errors
    /// As [`BackupError`] has them, none of them about a store.
    pub fn open(input: R) -> Result<Self, BackupError> {
        let mut reader = Self {
            input,
            hash: blake3::Hasher::new(),
            header: Header {
                made_at: String::new(),
                server: String::new(),
                format: 0,
                incarnation: 0,
            },
            files: Vec::new(),
            content: Vec::new(),
            stored: Vec::new(),
            blocks: 0,
            begin: 0,
            last: (0, Vec::new()),
            totals: Totals::default(),
        };
        reader.preface()?;
        reader.expect(Block::Header)?;
        reader.header = serde_json::from_slice(&reader.content)
            .map_err(|error| reader.damaged(&format!("its header does not decode: {error}")))?;
        if !is_plain(&reader.header.made_at) || !is_plain(&reader.header.server) {
            return Err(reader.damaged("its header holds more than letters and digits"));
        }
        reader.expect(Block::Files)?;
        reader.files = kept(&reader.content)
            .ok_or_else(|| reader.damaged("its files are not those of a server"))?;
        Ok(reader)
    }

    /// Returns what it says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the files that travel with it.
    pub fn files(&self) -> &[KeptFile] {
        &self.files
    }

    /// Reads to the end and keeps nothing. `Ok` means that every byte is as it was written.
    pub fn check(mut self) -> Result<Totals, BackupError> {
        while self.rows(|_| Ok(()))? {}
        Ok(self.totals)
    }

    /// Returns what was read so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Hands over the rows of the next block, in order; `false` when the end came, and everything
    /// before it was whole.
    pub(in crate::store) fn rows(
        &mut self,
        mut take: impl FnMut(Row<'_>) -> Result<(), BackupError>,
    ) -> Result<bool, BackupError> {
        let before = self.hash.finalize();
        match self.block()? {
            Block::Rows => {}
            Block::End => return self.end(before).map(|()| false),
            _ => return Err(self.damaged("it begins anew")),
        }
        let content = std::mem::take(&mut self.content);
        let mut rest = &content[..];
        while !rest.is_empty() {
            let (row, after) =
                split(rest).ok_or_else(|| self.damaged("a record does not parse"))?;
            rest = after;
            self.admit(&row)?;
            take(row)?;
        }
        self.content = content;
        Ok(true)
    }

    /// A row is above the one before, so none comes twice and none is out of place.
    fn admit(&mut self, row: &Row<'_>) -> Result<(), BackupError> {
        let tree = row.tree as u8;
        let (last_tree, last_key) = &self.last;
        if (tree, row.key) <= (*last_tree, last_key.as_slice()) {
            return Err(self.damaged("its records are out of order"));
        }
        self.last.0 = tree;
        self.last.1.clear();
        self.last.1.extend_from_slice(row.key);
        self.totals.rows[row.tree as usize] += 1;
        Ok(())
    }

    fn end(&mut self, before: blake3::Hash) -> Result<(), BackupError> {
        let counts = self.totals.rows.iter().flat_map(|rows| rows.to_be_bytes());
        let mut due: Vec<u8> = counts.collect();
        due.extend_from_slice(before.as_bytes());
        debug_assert_eq!(due.len(), END_BYTES);
        if self.content[..] != due[..] {
            return Err(self.damaged("its end mark counts or sums up something else"));
        }
        let mut more = [0];
        match self.fill(&mut more) {
            Err(BackupError::Short { .. }) => Ok(()),
            Err(other) => Err(other),
            Ok(()) => Err(BackupError::Damaged {
                at: self.totals.bytes - 1,
                what: "there are bytes after its end".to_owned(),
            }),
        }
    }

    fn preface(&mut self) -> Result<(), BackupError> {
        let mut bytes = [0; PREFACE_BYTES];
        let filled = self.fill(&mut bytes);
        let begun = MAGIC
            .len()
            .min(usize::try_from(self.totals.bytes).unwrap_or(MAGIC.len()));
        if bytes[..begun] != MAGIC[..begun] {
            return Err(BackupError::Foreign);
        }
        filled?;
        let [.., v0, v1, v2, v3, c0, c1, c2, c3] = bytes;
        if u32::from_be_bytes([c0, c1, c2, c3]) != crc32c::crc32c(&bytes[..12]) {
            return Err(self.damaged("its first bytes have another checksum"));
        }
        match u32::from_be_bytes([v0, v1, v2, v3]) {
            VERSION => Ok(()),
            found if found > VERSION => Err(BackupError::Newer { found }),
            _ => Err(self.damaged("there is no such version")),
        }
    }

    fn expect(&mut self, wanted: Block) -> Result<(), BackupError> {
        match self.block()? {
            found if found == wanted => Ok(()),
            _ => Err(self.damaged("another block was due")),
        }
    }

    /// Reads the next block into `content`.
    fn block(&mut self) -> Result<Block, BackupError> {
        self.begin = self.totals.bytes;
        let mut head = [0; HEAD_BYTES];
        self.fill(&mut head)?;
        let [
            kind,
            packing,
            0,
            0,
            n0,
            n1,
            n2,
            n3,
            s0,
            s1,
            s2,
            s3,
            c0,
            c1,
            c2,
            c3,
        ] = head
        else {
            return Err(self.damaged("a block does not begin like one"));
        };
        let content = u32::from_be_bytes([n0, n1, n2, n3]) as usize;
        let stored = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
        if content > BACKUP_BLOCK_BYTES_MAX || stored > content {
            return Err(self.damaged("a block says it is larger than any"));
        }
        let mut bytes = std::mem::take(&mut self.stored);
        bytes.resize(stored, 0);
        self.fill(&mut bytes)?;
        if u32::from_be_bytes([c0, c1, c2, c3]) != checksum(self.blocks, &head[..12], &bytes) {
            return Err(self.damaged("a block has another checksum"));
        }
        self.blocks += 1;
        self.unpack(packing, &bytes, content)?;
        self.stored = bytes;
        Block::of(kind).ok_or_else(|| self.damaged("there is no such block"))
    }

    fn unpack(&mut self, packing: u8, stored: &[u8], len: usize) -> Result<(), BackupError> {
        self.content.resize(len, 0);
        let unpacked = match packing {
            PLAIN if stored.len() == len => {
                self.content.copy_from_slice(stored);
                Some(len)
            }
            LZ4 => lz4_flex::block::decompress_into(stored, &mut self.content).ok(),
            _ => None,
        };
        match unpacked {
            Some(found) if found == len => Ok(()),
            _ => Err(self.damaged("a block does not unpack")),
        }
    }

    /// Fills `bytes` from the stream. What is read counts, also when it is too little.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), BackupError> {
        let mut got = 0;
        while got < bytes.len() {
            match self.input.read(&mut bytes[got..]) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let deed = "read";
                    return Err(BackupError::Stream { deed, source });
                }
            }
        }
        self.hash.update(&bytes[..got]);
        self.totals.bytes += got as u64;
        if got < bytes.len() {
            return Err(BackupError::Short {
                at: self.totals.bytes,
            });
        }
        Ok(())
    }

    /// Says what is wrong with the present block.
    fn damaged(&self, what: &str) -> BackupError {
        BackupError::Damaged {
            at: self.begin,
            what: what.to_owned(),
        }
    }
}

/// Says whether a text can be printed as it is.
fn is_plain(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Takes a row off the front.
fn split(bytes: &[u8]) -> Option<(Row<'_>, &[u8])> {
    let ([tree, key, high, low], rest) = bytes.split_first_chunk::<ROW_BYTES>()?;
    let (key, rest) = rest.split_at_checked(usize::from(*key))?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    let tree = *Tree::ALL.get(usize::from(*tree))?;
    let kind = Kind::of(*key.first()?)?;
    (kind.tree() == tree).then_some((Row { tree, key, value }, rest))
}

/// Reads the files: each of a known name, once, the server's key among them.
fn kept(mut bytes: &[u8]) -> Option<Vec<KeptFile>> {
    let mut files: Vec<KeptFile> = Vec::new();
    while !bytes.is_empty() {
        let ([name, high, low], rest) = bytes.split_first_chunk::<3>()?;
        let (name, rest) = rest.split_at_checked(usize::from(*name))?;
        let (content, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        let name = FILES.into_iter().find(|known| known.as_bytes() == name)?;
        if files.iter().any(|file| file.name == name) {
            return None;
        }
        let content = content.to_vec().into();
        files.push(KeptFile { name, content });
        bytes = rest;
    }
    files
        .iter()
        .any(|file| file.name == FILES[0])
        .then_some(files)
}
