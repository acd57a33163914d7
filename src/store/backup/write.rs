//! Rows into blocks, blocks into a stream.

use std::io::{self, Write};

use lz4_flex::block::{compress_into, get_maximum_output_size};

use super::{
    BackupError, Block, HEAD_BYTES, Header, KeptFile, LZ4, MAGIC, PLAIN, PREFACE_BYTES, ROW_BYTES,
    Totals, VERSION, checksum,
};
use crate::limits::BACKUP_BLOCK_BYTES_MAX;
use crate::store::key::Tree;

/// Writes one backup. What was written is none before [`Writer::finish`] has returned: without an
/// end mark every reader refuses it.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    hash: blake3::Hasher,
    /// Rows that are not in a block yet.
    content: Vec<u8>,
    packed: Vec<u8>,
    /// Blocks so far.
    blocks: u32,
    totals: Totals,
}

impl<W: Write> Writer<W> {
    /// Begins a backup with what it says of itself and the files that travel with it.
    pub fn begin(out: W, header: &Header, files: &[KeptFile]) -> Result<Self, BackupError> {
        let mut writer = Self {
            out,
            hash: blake3::Hasher::new(),
            content: Vec::with_capacity(BACKUP_BLOCK_BYTES_MAX),
            packed: vec![0; get_maximum_output_size(BACKUP_BLOCK_BYTES_MAX)],
            blocks: 0,
            totals: Totals::default(),
        };
        writer.put(&preface())?;
        writer.content = serde_json::to_vec(header).expect("a header is plain data");
        writer.flush(Block::Header)?;
        writer.content = contents(files);
        writer.flush(Block::Files)?;
        Ok(writer)
    }

    /// Adds a record. They come in the order of trees and keys.
    pub(in crate::store) fn row(
        &mut self,
        tree: Tree,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), BackupError> {
        if self.content.len() + ROW_BYTES + key.len() + value.len() > BACKUP_BLOCK_BYTES_MAX {
            self.flush(Block::Rows)?;
        }
        let [high, low] = u16::try_from(value.len())
            .expect("a value is 4 KiB at most")
            .to_be_bytes();
        let key_len =
            u8::try_from(key.len()).expect("a key is shorter than a name and two numbers");
        self.content
            .extend_from_slice(&[tree as u8, key_len, high, low]);
        self.content.extend_from_slice(key);
        self.content.extend_from_slice(value);
        self.totals.rows[tree as usize] += 1;
        Ok(())
    }

    /// Returns the stream, to take out what was written.
    pub(super) fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends the backup, hands all of it to the stream and returns the stream.
    pub fn finish(mut self) -> Result<(W, Totals), BackupError> {
        if !self.content.is_empty() {
            self.flush(Block::Rows)?;
        }
        let counts = self.totals.rows.iter().flat_map(|rows| rows.to_be_bytes());
        self.content.extend(counts);
        self.content
            .extend_from_slice(self.hash.finalize().as_bytes());
        self.flush(Block::End)?;
        self.out.flush().map_err(failed)?;
        Ok((self.out, self.totals))
    }

    /// Writes what was gathered as one block, packed where that makes it smaller.
    fn flush(&mut self, block: Block) -> Result<(), BackupError> {
        let content = std::mem::take(&mut self.content);
        let packed = match block {
            Block::Rows => compress_into(&content, &mut self.packed).ok(),
            _ => None,
        }
        .filter(|len| *len < content.len());
        let (packing, len) = packed.map_or((PLAIN, content.len()), |len| (LZ4, len));
        let packed = std::mem::take(&mut self.packed);
        let stored = if packing == LZ4 {
            &packed[..len]
        } else {
            &content[..]
        };
        let head = head(self.blocks, [block as u8, packing], content.len(), stored);
        let written = self.put(&head).and_then(|()| self.put(stored));
        self.blocks += 1;
        (self.packed, self.content) = (packed, content);
        self.content.clear();
        written
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.out.write_all(bytes).map_err(failed)?;
        self.hash.update(bytes);
        self.totals.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn failed(source: io::Error) -> BackupError {
    let deed = "write";
    BackupError::Stream { deed, source }
}

fn preface() -> [u8; PREFACE_BYTES] {
    let mut bytes = [0; PREFACE_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
    let sum = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The names and contents of the files, each behind its length.
fn contents(files: &[KeptFile]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for file in files {
        let name = u8::try_from(file.name.len()).expect("the names of the files are short");
        let content = u16::try_from(file.content.len()).expect("the files are short");
        bytes.push(name);
        bytes.extend_from_slice(&content.to_be_bytes());
        bytes.extend_from_slice(file.name.as_bytes());
        bytes.extend_from_slice(&file.content);
    }
    bytes
}

fn head(number: u32, [kind, packing]: [u8; 2], content: usize, stored: &[u8]) -> [u8; HEAD_BYTES] {
    let len = |len: usize| {
        let len = u32::try_from(len).expect("a block is far below 4 GiB");
        len.to_be_bytes()
    };
    let mut head = [0; HEAD_BYTES];
    (head[0], head[1]) = (kind, packing);
    head[4..8].copy_from_slice(&len(content));
    head[8..12].copy_from_slice(&len(stored.len()));
    let sum = checksum(number, &head[..12], stored);
    head[12..].copy_from_slice(&sum.to_be_bytes());
    head
}
