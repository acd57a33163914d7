//! A store into a backup, and back.
//!
//! Out: the store is opened and read whole before the first byte leaves, so a backup is of a sound
//! store or is none. In: into a folder of its own that nothing serves from, row by row, the identity
//! last; what is half there is refused by every start. The result is opened as one that may have
//! lost mail (all counters jump, a new incarnation) and read whole once more. Where the folder goes
//! is `mailserver/backup.rs`; the bytes are `store/backup.rs`.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::super::backup::{self, BackupError, Header, KeptFile, Totals};
use super::super::key::{self, Kind, Tree};
use super::super::kv::Sink;
use super::trees::wait_for_release;
use super::{
    Batches, FORMAT, Kv, Loss, Paths, Report, SledStore, Store, StoreError, Trees, at, disk,
    guarded, prepare, verify,
};

/// A file that lies in the directory while it is not in its place: what is there may be thrown away.
const MARK: &str = "restoring";

/// A store that came out of a backup and that nobody serves from yet.
#[derive(Debug)]
pub struct Restored {
    /// What is in it.
    pub report: Report,
    /// Keeps others out until the caller has put it in its place.
    _lock: File,
}

impl Restored {
    /// Lets others in, once the store has its place.
    pub fn release(self, place: &Path) {
        unmark(place);
    }
}

/// Marks a directory as one that a restore builds in.
///
/// # Errors
/// [`StoreError::Io`].
pub fn mark_restore(data: &Path) -> Result<(), StoreError> {
    let mark = data.join(MARK);
    let made = disk::private().create(true).truncate(false).open(&mark);
    made.map_err(at("make", &mark))?;
    disk::sync_dir(data).map_err(at("sync", data))
}

/// Says whether a restore began what lies in a directory, and nobody has opened it since.
pub fn is_restore(data: &Path) -> bool {
    data.join(MARK).exists()
}

/// Takes away the mark of a restore: whoever can open a store may keep it.
pub(super) fn unmark(data: &Path) {
    // One that stays is taken away by the next start.
    std::fs::remove_file(data.join(MARK)).ok();
}

impl SledStore {
    /// Opens a store that is there already, and reads all of it.
    ///
    /// # Errors
    /// As [`SledStore::open`]; [`StoreError::Damaged`] also where [`SledStore::verify`] has faults.
    pub fn open_whole(data: &Path) -> Result<Self, StoreError> {
        let path = Paths::of(data).store.join("db");
        std::fs::metadata(&path).map_err(at("open", &path))?;
        let mut store = Self::open(data)?;
        store.whole()?;
        Ok(store)
    }

    /// Writes every record to a backup and ends it. Nothing may be committed meanwhile.
    pub fn back_up<W: Write>(
        &self,
        made_at: String,
        files: &[KeptFile],
        out: W,
    ) -> Result<(W, Totals), BackupError> {
        let meta = self.trees.meta()?.unwrap_or_default();
        let header = Header::of(&meta, made_at);
        let mut writer = backup::Writer::begin(out, &header, files)?;
        for tree in Tree::ALL {
            self.write_tree(tree, &mut writer)?;
        }
        writer.finish()
    }

    fn write_tree<W: Write>(
        &self,
        tree: Tree,
        to: &mut backup::Writer<W>,
    ) -> Result<(), BackupError> {
        // What the stream says must not be taken for the store's fault, so it comes out beside it.
        let mut stream = Ok(());
        guarded(&self.trees.path, || {
            for row in self.trees.range(tree, &[], &[0xff; 64]) {
                let (key, value) = row?;
                stream = to.row(tree, &key, &value);
                if stream.is_err() {
                    break;
                }
            }
            Ok(())
        })?;
        stream
    }

    /// Makes a store in a directory that holds none, from a backup, and syncs it. What an earlier
    /// try left there is removed first.
    ///
    /// # Errors
    /// [`BackupError`]; then what is there is no store, and no start takes it for one.
    pub fn restore<R: Read>(
        data: &Path,
        backup: &mut backup::Reader<R>,
    ) -> Result<Restored, BackupError> {
        let paths = Paths::of(data);
        if backup.header().format > FORMAT {
            return Err(BackupError::Store(StoreError::Newer {
                path: "the backup".to_owned(),
                found: backup.header().format,
                known: FORMAT,
            }));
        }
        let lock = prepare(&paths)?;
        clear(&paths)?;
        let again = || lock.try_clone().map_err(at("lock", &paths.lock));
        fill(&Trees::open(&paths.store, again()?)?, backup)?;
        let mut store = Self::open_locked(&paths, again()?, Loss::Accepted)?;
        let report = store.whole()?;
        store.close()?;
        // sled's threads name its files by their path, which is about to change.
        wait_for_release(&paths.store).map_err(at("close", &paths.store))?;
        Ok(Restored {
            report,
            _lock: lock,
        })
    }

    /// Reads everything; the first fault is the error.
    fn whole(&mut self) -> Result<Report, StoreError> {
        let report = guarded(&self.trees.path, || verify::verify(&self.trees))?;
        if let Some(first) = report.faults.first() {
            let path = self.trees.path();
            let what = match report.faults_total {
                1 => first.clone(),
                total => format!("{first} (the first of {total} faults)"),
            };
            return Err(StoreError::Damaged { path, what });
        }
        self.load()?;
        Ok(report)
    }
}

/// Removes what an earlier try left, and nothing else: such a try has left its mark.
fn clear(paths: &Paths) -> Result<(), StoreError> {
    let used = |path: &Path| std::fs::read_dir(path).is_ok_and(|mut names| names.next().is_some());
    if used(&paths.store) && !is_restore(&paths.data) {
        let there = io::Error::other("there is a store in it that no restore began");
        return Err(at("use", &paths.data)(there));
    }
    mark_restore(&paths.data)?;
    std::fs::remove_dir_all(&paths.store).map_err(at("remove", &paths.store))?;
    for path in [&paths.seal, &paths.ballast] {
        remove(path).map_err(at("remove", path))?;
    }
    disk::make_dir(&paths.store).map_err(at("make", &paths.store))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts all rows into empty trees, the identity last.
fn fill<R: Read>(trees: &Trees, backup: &mut backup::Reader<R>) -> Result<(), BackupError> {
    let mut meta = None;
    loop {
        let mut batches = Batches::default();
        let more = backup.rows(|row| {
            if row.key == key::meta() {
                meta = Some(row.value.to_vec());
            } else {
                batches.put(row.tree, row.key, row.value);
            }
            Ok(())
        })?;
        guarded(&trees.path, || trees.apply(batches))?;
        if !more {
            break;
        }
    }
    let Some(meta) = meta else {
        return Err(BackupError::Store(StoreError::Damaged {
            path: trees.path(),
            what: "the backup has no identity in it".to_owned(),
        }));
    };
    let mut last = Batches::default();
    last.put(Kind::Meta.tree(), &key::meta(), &meta);
    guarded(&trees.path, || trees.apply(last))?;
    Ok(trees.flush()?)
}
