//! sled's trees as [`Kv`]: reads and batches, and its errors and panics as [`StoreError`]s.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Once};

use ::sled::IVec;

use super::super::key::{self, Kind, Tree};
use super::super::kv::{self, Kv, Rows, Sink};
use super::super::{
    DirectoryCounters, FORMAT, MailCounters, Mark, Meta, Snapshot, StoreError, read,
};
use super::moment::Moments;
use super::pace;
use super::poke::{Gauge, Poker};
use super::seal::Reach;
use crate::protocol::MailId;

/// Bytes of pages sled keeps in memory.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Milliseconds between two rounds of sled's own thread. It also reclaims space, so it stays on.
const FLUSH_EVERY_MS: u64 = 500;

/// sled's trees; clones share them, and the lock on the data directory with them.
#[derive(Debug, Clone)]
pub(super) struct Trees {
    engine: Arc<Engine>,
    pub(super) path: Arc<Path>,
    _lock: Arc<File>,
}

/// sled, open. Closing it may panic as any call of it may: on a disk that fails its last sync.
#[derive(Debug)]
pub(super) struct Engine {
    /// There until it is dropped.
    open: Option<(::sled::Db, [::sled::Tree; Tree::ALL.len()])>,
    path: Arc<Path>,
    /// Whether a flush is under way.
    pub(super) gauge: Gauge,
    moments: Moments,
}

impl Engine {
    fn open(&self) -> &(::sled::Db, [::sled::Tree; Tree::ALL.len()]) {
        let open = self.open.as_ref();
        open.expect("it is open until its last holder drops it")
    }

    /// Hands everything to the operating system.
    fn flush(&self) -> Result<(), StoreError> {
        guarded(&self.path, || {
            let flushed = self.open().0.flush();
            flushed.map(drop).map_err(|error| failed(&self.path, error))
        })
    }

    /// Makes sled look whether what somebody waits for has failed; whoever waits is told what comes out.
    pub(super) fn ask_again(&self) {
        self.flush().ok();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let open = self.open.take();
        // Every commit that returned is on disk already, by our own sync.
        guarded(&self.path, || {
            drop(open);
            Ok(())
        })
        .ok();
    }
}

impl Trees {
    pub(super) fn open(path: &Path, lock: File) -> Result<Self, StoreError> {
        wait_for_release(path).map_err(at("lock", path))?;
        pace::listen();
        guarded(path, || {
            let db = ::sled::Config::new()
                .path(path)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(Some(FLUSH_EVERY_MS))
                .mode(::sled::Mode::HighThroughput)
                .open()
                .map_err(|error| failed(path, error))?;
            let tree = |tree: Tree| db.open_tree(tree.name());
            let [directory, mail, cursors] = Tree::ALL.map(tree);
            let each = || Ok([directory?, mail?, cursors?]);
            let each = each().map_err(|error| failed(path, error))?;
            let path: Arc<Path> = path.into();
            let engine = Engine {
                open: Some((db, each)),
                path: Arc::clone(&path),
                gauge: Gauge::default(),
                moments: Moments::default(),
            };
            Ok(Self {
                engine: Arc::new(engine),
                path,
                _lock: Arc::new(lock),
            })
        })
    }

    pub(super) fn each(&self) -> &[::sled::Tree; Tree::ALL.len()] {
        &self.engine.open().1
    }

    /// Returns what a backup of the running store reads.
    pub(super) fn moments(&self) -> &Moments {
        &self.engine.moments
    }

    /// Starts the thread that asks after a flush that takes long.
    pub(super) fn poker(&self) -> io::Result<Poker> {
        Poker::start(Arc::downgrade(&self.engine))
    }

    /// Hands everything to the operating system; that it is on disk is `fdatasync`'s to say.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.engine.gauge.turn();
        let flushed = self.engine.flush();
        self.engine.gauge.turn();
        flushed
    }

    /// Applies what `plan` writes down, between two readings of a backup.
    pub(super) fn change(
        &self,
        plan: impl FnOnce(&mut Batches) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // Held until it is applied: a moment lies between two changes.
        let mut moment = self.moments().lock();
        let mut batches = Batches::noting(moment.is_some());
        plan(&mut batches)?;
        if let Some(at) = moment.as_mut()
            && at.keep(self, batches.changed())?
        {
            *moment = None;
        }
        self.apply(batches)
    }

    pub(super) fn apply(&self, batches: Batches) -> Result<(), StoreError> {
        for (tree, batch) in self.each().iter().zip(batches.each) {
            if let Some(batch) = batch {
                tree.apply_batch(batch)
                    .map_err(|error| failed(&self.path, error))?;
            }
        }
        Ok(())
    }

    pub(super) fn are_empty(&self) -> Result<bool, StoreError> {
        guarded(&self.path, || {
            Ok(self.each().iter().all(::sled::Tree::is_empty))
        })
    }

    /// Returns the store's identity, unless it is new.
    pub(super) fn meta(&self) -> Result<Option<Meta>, StoreError> {
        let meta: Option<Meta> = guarded(&self.path, || kv::get(self, Kind::Meta, &key::meta()))?;
        match meta {
            Some(meta) if meta.format > FORMAT => Err(StoreError::Newer {
                path: self.path(),
                found: meta.format,
                known: FORMAT,
            }),
            _ => Ok(meta),
        }
    }

    pub(super) fn counters(&self) -> Result<(DirectoryCounters, MailCounters), StoreError> {
        guarded(&self.path, || {
            let directory = kv::get(self, Kind::DirectoryCounters, &key::directory_counters())?;
            let mail = kv::get(self, Kind::MailCounters, &key::mail_counters())?;
            Ok((directory.unwrap_or_default(), mail.unwrap_or_default()))
        })
    }

    pub(super) fn reach(&self) -> Result<Reach, StoreError> {
        let (directory, mail) = self.counters()?;
        Ok(Reach {
            mail: mail.mail,
            epoch: directory.epoch,
        })
    }

    /// Returns a sum of all records but those of mails, which are checked by their links and totals;
    /// never 0.
    pub(super) fn sum(&self) -> Result<u64, StoreError> {
        guarded(&self.path, || {
            let mut sum = blake3::Hasher::new();
            let kinds = Kind::ALL
                .into_iter()
                .filter(|kind| !matches!(kind, Kind::Mail | Kind::Chunk | Kind::Expiry));
            for kind in kinds {
                for row in kv::rows(self, kind) {
                    let (key, value) = row?;
                    sum.update(&(key.len() as u64).to_be_bytes());
                    sum.update(&key);
                    sum.update(&(value.len() as u64).to_be_bytes());
                    sum.update(&value);
                }
            }
            let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = *sum.finalize().as_bytes();
            Ok(u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7]) | 1)
        })
    }

    /// Compares the counters with the numbers in use: one that is lower would give a number out again.
    pub(super) fn check_counters(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let Snapshot {
            directory_counters: directory,
            mail_counters: mail,
            ..
        } = snapshot;
        let addresses = snapshot.addresses.iter().map(|address| address.number);
        let devices = snapshot.devices.iter().map(|device| device.number);
        let asked = snapshot.invitations.iter().map(|chat| chat.asker.epoch);
        let epochs = snapshot.leases.iter().map(|lease| lease.epoch).chain(asked);
        let heads = snapshot.logs.iter().map(|(_, totals)| totals.head.id);
        let streams = snapshot.streams.iter().map(|stream| stream.number);
        let pairs = [
            ("address", directory.address, addresses.max()),
            ("device", directory.device, devices.max()),
            ("lease epoch", directory.epoch, epochs.max()),
            ("mail", mail.mail, heads.max()),
            ("stream", mail.stream, streams.max()),
        ];
        match pairs
            .into_iter()
            .find(|(_, last, used)| *used > Some(*last))
        {
            Some((what, last, used)) => Err(StoreError::Damaged {
                path: self.path(),
                what: format!(
                    "its last {what} number should be {last}, but {} is in use",
                    used.unwrap_or_default()
                ),
            }),
            None => Ok(()),
        }
    }

    /// Compares each log's totals with its newest mail: one look per log, whatever its depth.
    pub(super) fn check_heads(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        for (log, totals) in &snapshot.logs {
            let newest = read::mark_at(self, *log, MailId::MAX)?;
            if newest != totals.head && !(newest == Mark::ZERO && totals.floor == totals.head) {
                let how = format!(
                    "it ends with mail {}, but its newest is {}",
                    totals.head.id, newest.id
                );
                return Err(kv::damaged(self, Kind::Log, &key::log(*log), &how));
            }
        }
        Ok(())
    }
}

impl Kv for Trees {
    type Bytes = IVec;

    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.each()[tree as usize]
            .get(key)
            .map_err(|error| failed(&self.path, error))
    }

    fn range(&self, tree: Tree, low: &[u8], high: &[u8]) -> Rows<'_, IVec> {
        if low > high {
            return Box::new(std::iter::empty());
        }
        let rows = self.each()[tree as usize].range(low..=high);
        Box::new(rows.map(|row| row.map_err(|error| failed(&self.path, error))))
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }
}

/// One batch per tree that changes: an empty one would still go through sled's log.
#[derive(Default)]
pub(super) struct Batches {
    each: [Option<::sled::Batch>; Tree::ALL.len()],
    /// What they change, where somebody wants to know.
    changed: Option<Vec<(Tree, Vec<u8>)>>,
}

impl Batches {
    /// Begins with nothing; `notes` what will change.
    fn noting(notes: bool) -> Self {
        Self {
            changed: notes.then(Vec::new),
            ..Self::default()
        }
    }

    /// Returns what was noted.
    fn changed(&self) -> &[(Tree, Vec<u8>)] {
        self.changed.as_deref().unwrap_or_default()
    }

    fn of(&mut self, tree: Tree, key: &[u8]) -> &mut ::sled::Batch {
        if let Some(changed) = &mut self.changed {
            changed.push((tree, key.to_vec()));
        }
        self.each[tree as usize].get_or_insert_default()
    }
}

impl Sink for Batches {
    fn put(&mut self, tree: Tree, key: &[u8], value: &[u8]) {
        self.of(tree, key).insert(key, value);
    }

    fn remove(&mut self, tree: Tree, key: &[u8]) {
        self.of(tree, key).remove(key);
    }
}

/// Waits until nobody holds sled's own lock. No other mailserver can, since the data directory's is
/// ours; but sled's threads keep the file open a little longer than its last handle lives.
pub(super) fn wait_for_release(path: &Path) -> io::Result<()> {
    let Ok(file) = File::open(path.join("db")) else {
        return Ok(());
    };
    if file.try_lock().is_err() {
        tracing::info!(path = %path.display(), "waiting for the store to be let go");
        file.lock()?;
    }
    Ok(())
}

/// Runs what calls sled. sled panics on much of what is wrong with its files; here that becomes an
/// error, and nothing is printed beside it.
pub(super) fn guarded<T>(
    path: &Path,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    hush();
    let before = QUIET.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    outcome.unwrap_or_else(|panic| {
        let why = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreError::Damaged {
            path: path.display().to_string(),
            what: format!(
                "sled gave up: {}",
                short(why.unwrap_or("it did not say why"))
            ),
        })
    })
}

/// The beginning of what a panic says: some of sled's show all they have.
fn short(why: &str) -> String {
    const CHARS: usize = 160;
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Puts a hook before the present one, once, that says nothing while this thread is in [`guarded`].
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                previous(info);
            }
        }));
    });
}

pub(super) fn in_use(path: &Path) -> StoreError {
    StoreError::InUse {
        path: path.display().to_string(),
    }
}

pub(super) fn at(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.display().to_string();
    move |source| StoreError::Io { deed, path, source }
}

fn failed(path: &Path, error: ::sled::Error) -> StoreError {
    match error {
        ::sled::Error::Io(source) if source.to_string().contains("could not acquire lock") => {
            in_use(path)
        }
        ::sled::Error::Io(source) => at("use", path)(source),
        ::sled::Error::Corruption { at, .. } => StoreError::Damaged {
            path: path.display().to_string(),
            what: at.map_or_else(
                || "sled cannot read its log".to_owned(),
                |at| format!("sled cannot read its log at byte {}", at.lid()),
            ),
        },
        // Its settings are not those of a log that this sled wrote.
        ::sled::Error::Unsupported(what) => StoreError::Damaged {
            path: path.display().to_string(),
            what: format!("sled does not know its files: {}", short(&what)),
        },
        other => StoreError::Engine(other.to_string()),
    }
}
