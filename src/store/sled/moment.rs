//! The store as it was at one moment, read while it goes on.
//!
//! From that moment on a commit keeps, before it is applied, what it is about to change and the reader has not come
//! to yet; the reader puts that in the place of what is there now. Commit and reader never meet in the middle: one
//! lock is held while a commit is applied, and while some rows are read.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::sled::IVec;

use super::super::backup::live::{Gone, Source, Take};
use super::super::key::Tree;
use super::super::kv::Kv;
use super::StoreError;
use super::trees::{Trees, guarded};
use crate::limits::{BACKUP_IDLE_S, BACKUP_KEPT_BYTES_MAX};

/// Rows read under one lock.
const ROWS: usize = 128;

/// What a kept row costs beside its bytes.
const ROW_COST: usize = 96;

/// Above every key.
const HIGHEST: [u8; 64] = [0xff; 64];

/// Keys and values of one tree.
type Page = Vec<(IVec, IVec)>;

/// The moment that is being read, if one is.
#[derive(Debug, Default)]
pub(super) struct Moments(Mutex<Option<Moment>>);

impl Moments {
    /// Keeps commits and readers apart while it is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Moment>> {
        // Whoever panicked in it has failed the store, or was reading.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was so at a moment and is not any more.
#[derive(Debug)]
pub(super) struct Moment {
    number: u64,
    /// The tree that is being read, and the last key that was: what lies before needs no keeping.
    tree: usize,
    key: Option<Vec<u8>>,
    kept: [BTreeMap<Vec<u8>, Option<IVec>>; Tree::ALL.len()],
    bytes: usize,
    asked: Instant,
}

impl Moment {
    fn is_passed(&self, tree: Tree, key: &[u8]) -> bool {
        let tree = tree as usize;
        tree < self.tree || (tree == self.tree && self.key.as_deref().is_some_and(|at| key <= at))
    }

    /// Keeps rows as they are before a commit changes them. Says whether it was too much, or nobody has asked for long.
    pub(super) fn keep(
        &mut self,
        trees: &Trees,
        keys: &[(Tree, Vec<u8>)],
    ) -> Result<bool, StoreError> {
        for (tree, key) in keys {
            let is_kept = self.kept[*tree as usize].contains_key(key);
            if is_kept || self.is_passed(*tree, key) {
                continue;
            }
            let value = trees.get(*tree, key)?;
            self.bytes += ROW_COST + key.len() + value.as_ref().map_or(0, |value| value.len());
            self.kept[*tree as usize].insert(key.clone(), value);
        }
        let is_left = self.asked.elapsed() > Duration::from_secs(BACKUP_IDLE_S);
        Ok(self.bytes > BACKUP_KEPT_BYTES_MAX || is_left)
    }
}

/// Reads the rows of one moment.
#[derive(Debug)]
pub(super) struct Rewind {
    trees: Trees,
    number: u64,
}

impl Rewind {
    /// Begins with the moment of now: between two commits. One that was being read is given up.
    #[expect(
        clippy::disallowed_methods,
        reason = "only how long a reader that went away costs memory hangs on it"
    )]
    pub(super) fn begin(trees: &Trees, number: u64) -> Self {
        *trees.moments().lock() = Some(Moment {
            number,
            tree: 0,
            key: None,
            kept: Default::default(),
            bytes: 0,
            asked: Instant::now(),
        });
        Self {
            trees: trees.clone(),
            number,
        }
    }

    /// Takes some rows out under the lock; the moment is over when there are no more.
    #[expect(
        clippy::disallowed_methods,
        reason = "only how long a reader that went away costs memory hangs on it"
    )]
    fn take(&self) -> Result<Option<(Tree, Page)>, Gone> {
        let mut moments = self.trees.moments().lock();
        let Some(moment) = moments.as_mut().filter(|at| at.number == self.number) else {
            return Err(Gone::Overtaken);
        };
        moment.asked = Instant::now();
        let Some(tree) = Tree::ALL.get(moment.tree).copied() else {
            *moments = None;
            return Ok(None);
        };
        let low = moment.key.as_deref().map(just_after).unwrap_or_default();
        let mut rows = Vec::with_capacity(ROWS);
        for row in self.trees.range(tree, &low, &HIGHEST).take(ROWS) {
            rows.push(row?);
        }
        // As far as was read; beyond that a later turn looks.
        let is_last = rows.len() < ROWS;
        let upto = rows
            .last()
            .map(|(key, _)| key.to_vec())
            .filter(|_| !is_last);
        let kept = &moment.kept[tree as usize];
        let changed = |key: &[u8]| kept.contains_key(key);
        rows.retain(|(key, _)| !changed(key));
        let within = |key: &[u8]| upto.as_deref().is_none_or(|upto| key <= upto);
        let back = kept.range(low..).take_while(|(key, _)| within(key));
        rows.extend(back.filter_map(|(key, value)| {
            value
                .clone()
                .map(|value| (IVec::from(key.as_slice()), value))
        }));
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if is_last {
            moment.tree += 1;
            moment.key = None;
        } else {
            moment.key = upto;
        }
        Ok(Some((tree, rows)))
    }
}

impl Drop for Rewind {
    fn drop(&mut self) {
        let mut moments = self.trees.moments().lock();
        if moments.as_ref().is_some_and(|at| at.number == self.number) {
            *moments = None;
        }
    }
}

impl Source for Rewind {
    fn rows(&mut self, row: Take<'_>) -> Result<Option<()>, Gone> {
        let mut gone = None;
        let path = std::sync::Arc::clone(&self.trees.path);
        let taken = guarded(&path, || match self.take() {
            Ok(taken) => Ok(taken),
            Err(Gone::Failed(error)) => Err(error),
            Err(overtaken) => {
                gone = Some(overtaken);
                Ok(None)
            }
        })?;
        if let Some(gone) = gone {
            return Err(gone);
        }
        let Some((tree, rows)) = taken else {
            return Ok(None);
        };
        for (key, value) in rows {
            row(tree, &key, &value).expect("memory takes what is written");
        }
        Ok(Some(()))
    }
}

/// The least key above this one.
fn just_after(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}
