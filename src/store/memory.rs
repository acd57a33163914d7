//! The engine that keeps nothing: for tests of the core and for the simulator.
//!
//! It holds the same bytes under the same keys as `sled`, so the codec, the keys and every query are
//! those of the real thing; only the disk is missing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::backup::Header;
use super::backup::live::{Gone, Live, Source, Take};
use super::key::Tree;
use super::kv::{Kv, Rows, Sink};
use super::{Change, Meta, Query, Reader, Snapshot, Store, StoreError, read, write};
use crate::store::Answer;

/// Trees in memory, shared with their readers.
#[derive(Debug)]
pub struct Memory {
    image: Arc<Mutex<Image>>,
    scratch: Vec<u8>,
}

impl Memory {
    /// Makes an empty store of this format and incarnation 1.
    pub fn new() -> Self {
        Self::with_incarnation(1)
    }

    /// Makes an empty store with this incarnation.
    pub fn with_incarnation(incarnation: u64) -> Self {
        let mut store = Self::over(Image::default());
        let meta = Meta {
            format: super::FORMAT,
            incarnation,
            running_s: 0,
        };
        store
            .commit(&[Change::PutMeta(meta)])
            .expect("memory takes a record of fixed size");
        store
    }

    /// Returns a store with what a power cut now would leave: every commit that returned. The old
    /// one and its readers go on apart from it.
    #[must_use]
    pub fn clone_synced(&self) -> Self {
        Self::over(lock(&self.image).clone())
    }

    fn over(image: Image) -> Self {
        Self {
            image: Arc::new(Mutex::new(image)),
            scratch: Vec::new(),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for Memory {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        read::snapshot(&&*lock(&self.image))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut image = lock(&self.image);
        let mut batch = Batch::default();
        write::plan(changes, &&*image, &mut batch, &mut self.scratch)?;
        image.apply(batch);
        Ok(())
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(MemoryReader {
            image: Arc::clone(&self.image),
            backup: RefCell::default(),
        })
    }
}

struct MemoryReader {
    image: Arc<Mutex<Image>>,
    backup: RefCell<Option<(u64, Live<Copied>)>>,
}

impl Reader for MemoryReader {
    fn read(&self, query: &Query) -> Result<Answer, StoreError> {
        let Query::Backup { had, made_at } = query else {
            return read::answer(&&*lock(&self.image), query);
        };
        let mut backup = self.backup.borrow_mut();
        let had = if let Some(had) = had {
            *had
        } else {
            let number = backup.as_ref().map_or(0, |(number, _)| *number) + 1;
            let copied = Copied(lock(&self.image).clone(), Tree::ALL.to_vec());
            let header = Header::of(&Meta::default(), made_at.clone());
            *backup = Some((number, Live::begin(number, &header, &[], copied)));
            (number, 0)
        };
        let part = backup.as_mut().map(|(_, live)| live.after(had));
        Ok(Answer::Backup(
            part.transpose().expect("a copy does not go").flatten(),
        ))
    }
}

/// A copy of everything, and the trees that were not read yet.
#[derive(Debug)]
struct Copied(Image, Vec<Tree>);

impl Source for Copied {
    fn rows(&mut self, row: Take<'_>) -> Result<Option<()>, Gone> {
        if self.1.is_empty() {
            return Ok(None);
        }
        let tree = self.1.remove(0);
        for (key, value) in &self.0.0[tree as usize] {
            row(tree, key, value).expect("memory takes what is written");
        }
        Ok(Some(()))
    }
}

impl Memory {
    /// Returns all rows, for tests that look at bytes.
    #[cfg(test)]
    pub(super) fn rows(&self) -> Vec<(Tree, Vec<u8>, Vec<u8>)> {
        let image = lock(&self.image);
        let rows = Tree::ALL.into_iter().flat_map(|tree| {
            let rows = image.0[tree as usize].iter();
            rows.map(move |(key, value)| (tree, key.clone(), value.clone()))
        });
        rows.collect()
    }

    /// Writes or removes a row, for those that break something.
    pub(super) fn set(&mut self, tree: Tree, key: &[u8], value: Option<Vec<u8>>) {
        lock(&self.image).apply(Batch(vec![(tree, key.to_vec(), value)]));
    }

    /// Says what does not fit together.
    #[cfg(test)]
    pub(super) fn verify(&self) -> super::Report {
        self.try_verify().expect("memory reads")
    }

    /// The same for rows of any bytes.
    pub(super) fn try_verify(&self) -> Result<super::Report, StoreError> {
        super::verify::verify(&&*lock(&self.image))
    }
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone, Default)]
struct Image([Map; Tree::ALL.len()]);

impl Image {
    fn apply(&mut self, batch: Batch) {
        for (tree, key, value) in batch.0 {
            match value {
                Some(value) => self.0[tree as usize].insert(key, value),
                None => self.0[tree as usize].remove(&key),
            };
        }
    }
}

impl<'m> Kv for &'m Image {
    type Bytes = &'m [u8];

    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Self::Bytes>, StoreError> {
        Ok(self.0[tree as usize].get(key).map(Vec::as_slice))
    }

    fn range(&self, tree: Tree, low: &[u8], high: &[u8]) -> Rows<'_, Self::Bytes> {
        if low > high {
            return Box::new(std::iter::empty());
        }
        let bounds = (Bound::Included(low), Bound::Included(high));
        let rows = self.0[tree as usize].range::<[u8], _>(bounds);
        Box::new(rows.map(|(key, value)| Ok((key.as_slice(), value.as_slice()))))
    }

    fn path(&self) -> String {
        "memory".to_owned()
    }
}

/// A whole commit, so that one that is refused half-way changes nothing.
#[derive(Default)]
struct Batch(Vec<(Tree, Vec<u8>, Option<Vec<u8>>)>);

impl Sink for Batch {
    fn put(&mut self, tree: Tree, key: &[u8], value: &[u8]) {
        self.0.push((tree, key.to_vec(), Some(value.to_vec())));
    }

    fn remove(&mut self, tree: Tree, key: &[u8]) {
        self.0.push((tree, key.to_vec(), None));
    }
}

/// No code panics while it holds the image, and a test that does is over anyway.
fn lock(image: &Mutex<Image>) -> MutexGuard<'_, Image> {
    image.lock().unwrap_or_else(PoisonError::into_inner)
}
