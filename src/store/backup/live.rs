//! A backup of a store that goes on working, part by part: who asks for the parts sets the pace.
//!
//! It is of one moment, whatever is committed while it is read: where the rows come from is a `Source`, which
//! knows what they were then.

use super::{BackupError, Header, KeptFile, Writer};
use crate::limits::BACKUP_PART_BYTES;
use crate::store::StoreError;
use crate::store::key::Tree;

/// A part of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The backup's number, never 0: of one run of one server.
    pub backup: u64,
    /// The part's number, from 1.
    pub number: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// It is not the last one.
    pub more: bool,
}

/// The last part that was had of a backup: its number and the part's.
pub type Had = (u64, u64);

/// Takes one row: its tree, key and value.
pub(in crate::store) type Take<'a> =
    &'a mut dyn FnMut(Tree, &[u8], &[u8]) -> Result<(), BackupError>;

/// Rows as they were at one moment, in the order of trees and keys.
pub(in crate::store) trait Source {
    /// Hands over some more; nothing when there are no more.
    fn rows(&mut self, row: Take<'_>) -> Result<Option<()>, Gone>;
}

/// Why there are no more rows before the end.
#[derive(Debug)]
pub(in crate::store) enum Gone {
    /// More was written meanwhile than is kept for a reader that is slow, or too little was asked.
    Overtaken,
    /// The store failed.
    Failed(StoreError),
}

impl From<StoreError> for Gone {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// A backup under way.
#[derive(Debug)]
pub(in crate::store) struct Live<S> {
    number: u64,
    source: S,
    /// Until its end is written.
    writer: Option<Writer<Vec<u8>>>,
    /// The last part, for who did not get it.
    last: Part,
}

impl<S: Source> Live<S> {
    /// Begins one. There are no parts yet.
    pub(in crate::store) fn begin(
        number: u64,
        header: &Header,
        files: &[KeptFile],
        source: S,
    ) -> Self {
        let writer = Writer::begin(Vec::new(), header, files);
        Self {
            number,
            source,
            writer: Some(writer.expect("memory takes what is written")),
            last: Part {
                backup: number,
                number: 0,
                bytes: Vec::new(),
                more: true,
            },
        }
    }

    /// Returns the part after the one that was had, or that one's successor once more; nothing when another one
    /// is meant.
    pub(in crate::store) fn after(&mut self, (backup, part): Had) -> Result<Option<Part>, Gone> {
        if backup != self.number {
            return Ok(None);
        }
        if part.checked_add(1) == Some(self.last.number) {
            return Ok(Some(self.last.clone()));
        }
        if part != self.last.number || !self.last.more {
            return Ok(None);
        }
        let Some(mut writer) = self.writer.take() else {
            return Ok(None);
        };
        let mut more = true;
        while more && writer.get_mut().len() < BACKUP_PART_BYTES {
            let rows = &mut |tree, key: &[u8], value: &[u8]| writer.row(tree, key, value);
            more = self.source.rows(rows)?.is_some();
        }
        let bytes = if more {
            let bytes = std::mem::take(writer.get_mut());
            self.writer = Some(writer);
            bytes
        } else {
            let (bytes, _) = writer.finish().expect("memory takes what is written");
            bytes
        };
        self.last = Part {
            backup,
            number: part + 1,
            bytes,
            more,
        };
        Ok(Some(self.last.clone()))
    }
}
