//! The engine on disk: sled 0.34, with the sync it lacks.
//!
//! sled's `flush` does not reach the disk on Linux, so each commit ends with `fdatasync` on our own
//! handle of its file (`docs/storage.md`, "Why a commit is durable"). This file opens, applies, syncs
//! and notices loss; what the bytes mean is `write`, `read` and `codec`. Read next: `trees`.

mod copy;
mod disk;
mod moment;
mod pace;
mod poke;
mod preflight;
pub(crate) mod seal;
#[cfg(test)]
mod tests;
mod trees;

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use self::copy::{Restored, is_restore, mark_restore};
use self::disk::BALLAST_BYTES;
use self::moment::Rewind;
use self::poke::Poker;
use self::seal::{Found, Reach, Seal};
use self::trees::{Batches, Trees, at, guarded, in_use};
use super::backup::live::{Gone, Had, Live, Part};
use super::backup::{Header, KeptFile};
use super::key::{self, Kind};
use super::kv::{self, Kv};
use super::{
    Answer, Change, FORMAT, Jump, Meta, Query, Reader, Report, Snapshot, Store, StoreError, read,
    verify, write,
};
use crate::limits::ID_MAX;
use crate::protocol::PublicKey;

/// At most one seal in this time: a seal costs as much as a commit.
const SEAL_EVERY: Duration = Duration::from_secs(1);

/// A store in a data directory: `store/` is sled's, `seal`, `ballast` and `lock` lie beside it.
#[derive(Debug)]
pub struct SledStore {
    trees: Trees,
    /// Our own handle of sled's file, for the sync.
    file: File,
    seal: Seal,
    /// What is on disk.
    reach: Reach,
    /// What the seal says.
    sealed: Reach,
    sealed_at: Option<Instant>,
    /// The identity of a store of an older format, until the first commit raises it: from then on it
    /// may hold what an older server does not know.
    older: Option<Meta>,
    /// See [`SledStore::was_unsealed`].
    was_unsealed: bool,
    scratch: Vec<u8>,
    /// A commit failed: nothing is known of the records any more.
    failed: bool,
    /// See [`Store::identify`].
    files: Arc<[KeptFile]>,
    /// Asks after a flush that takes long, as long as this store is open.
    _poker: Poker,
}

impl SledStore {
    /// Opens the store in a data directory, or makes it.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Newer`], [`StoreError::Damaged`] and
    /// [`StoreError::Lost`], all before a record is written.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        Self::open_as(data, Loss::Refused)
    }

    /// Opens a store that may have lost its newest mails, because the operator said so: after
    /// `restore`, or after [`StoreError::Lost`]. All counters jump, so that no number is given out
    /// twice, and the store gets a new incarnation.
    pub fn open_accepting_loss(data: &Path) -> Result<Self, StoreError> {
        Self::open_as(data, Loss::Accepted)
    }

    /// Reads a whole store, which nobody else may have open, and says what does not fit together.
    ///
    /// # Errors
    /// As [`SledStore::open`]; and a directory without a store is an error here.
    pub fn verify(data: &Path) -> Result<Report, StoreError> {
        let paths = Paths::of(data);
        let path = paths.store.join("db");
        // Where a seal lies there was a store: opening it says what is lost.
        if !paths.seal.exists() {
            std::fs::metadata(&path).map_err(at("open", &path))?;
        }
        let mut store = Self::open(data)?;
        let mut report = guarded(&store.trees.path, || verify::verify(&store.trees))?;
        report.was_unsealed = store.was_unsealed;
        if report.is_whole() {
            match store.load() {
                Err(StoreError::Damaged { what, .. }) => report.fault(what),
                other => report.server_key = other?.server_key,
            }
        }
        Ok(report)
    }

    /// Says whether a store was opened that had lost its seal: whether its newest mails are there is
    /// then known to nobody. It has a new one by now, so only the first to open it can tell.
    pub fn was_unsealed(&self) -> bool {
        self.was_unsealed
    }

    /// Returns the format that the store was written in.
    pub fn format(&self) -> u32 {
        self.older.map_or(FORMAT, |meta| meta.format)
    }

    /// Gives the store this build's format, as the first commit does otherwise. On disk when it returns.
    ///
    /// # Errors
    /// What writing meets.
    pub fn raise(&mut self) -> Result<(), StoreError> {
        match self.older {
            Some(meta) => self.commit(&[raised(meta)]),
            None => Ok(()),
        }
    }

    /// Returns the public key of the server that the store belongs to, once one has served from it.
    ///
    /// # Errors
    /// What reading meets.
    pub fn server_key(&self) -> Result<Option<PublicKey>, StoreError> {
        let trees = &self.trees;
        guarded(&trees.path, || {
            kv::get(trees, Kind::ServerKey, &key::server_key())
        })
    }

    /// Writes the seal and closes the store. Dropping does the same, but tells nobody of a failure.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.finish()
    }

    fn open_as(data: &Path, loss: Loss) -> Result<Self, StoreError> {
        let paths = Paths::of(data);
        let lock = prepare(&paths)?;
        let store = Self::open_locked(&paths, lock, loss)?;
        copy::unmark(data);
        Ok(store)
    }

    fn open_locked(paths: &Paths, lock: File, loss: Loss) -> Result<Self, StoreError> {
        let trees = Trees::open(&paths.store, lock)?;
        let file = File::open(paths.store.join("db")).map_err(at("open", &paths.store))?;
        disk::sync_dir(&paths.store).map_err(at("sync", &paths.store))?;
        let (seal, found) = Seal::open(&paths.seal).map_err(at("open", &paths.seal))?;
        disk::sync_dir(&paths.data).map_err(at("sync", &paths.data))?;
        let meta = trees.meta()?;
        let reach = trees.reach()?;
        if matches!(loss, Loss::Refused) {
            check(&trees, meta.is_none(), reach, found)?;
            check_sum(&trees, &seal)?;
        }
        // A seal is on disk before a store has an identity, whenever the power goes.
        let says_nothing = found == Found::Nothing && (seal.is_new() || reach != Reach::default());
        let was_unsealed = says_nothing && meta.is_some();
        let poker = trees
            .poker()
            .map_err(at("start a thread for", &paths.data))?;
        let mut store = Self {
            _poker: poker,
            trees,
            file,
            seal,
            reach,
            sealed: found.reach(),
            sealed_at: None,
            older: meta.filter(|meta| meta.format < FORMAT),
            was_unsealed,
            scratch: Vec::new(),
            failed: false,
            files: Arc::default(),
        };
        match (loss, meta) {
            (Loss::Refused, Some(_)) => {}
            (Loss::Refused, None) => store.commit(&[Change::PutMeta(new_meta(0)?)])?,
            (Loss::Accepted, _) => store.jump(meta)?,
        }
        store.write_seal()?;
        disk::lay_ballast(&paths.data, &paths.ballast, BALLAST_BYTES);
        Ok(store)
    }

    /// Raises every counter above all that may have been given out: also by a server that came out of
    /// the same backup earlier, of which nothing is known here but that it ran before now.
    fn jump(&mut self, meta: Option<Meta>) -> Result<(), StoreError> {
        let sealed = self.sealed;
        let (mut directory, mut mail) = self.trees.counters()?;
        directory.epoch = directory.epoch.max(sealed.epoch);
        mail.mail = mail.mail.max(sealed.mail);
        let jump = Jump::new(unix_ms(), random()?);
        let raised = jump.raised(directory, mail);
        let (directory, mail) = raised.map_err(|last| StoreError::Damaged {
            path: self.trees.path(),
            what: format!("its counters end at {last}, which no server reaches"),
        })?;
        self.commit(&[
            Change::PutMeta(new_meta(meta.map_or(0, |meta| meta.running_s))?),
            Change::PutDirectoryCounters(directory),
            Change::PutMailCounters(mail),
        ])
    }

    /// Sends everything to the disk itself. `Ok` means it is there.
    fn sync(&self) -> Result<(), StoreError> {
        self.trees.flush()?;
        let synced = self.file.sync_data();
        synced.map_err(at("sync", &self.trees.path))
    }

    /// Notes what a commit that is on disk gave out.
    fn note(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::PutMailCounters(counters) => self.reach.mail = counters.mail,
                Change::PutDirectoryCounters(counters) => self.reach.epoch = counters.epoch,
                _ => {}
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "only how often the seal is written hangs on it, never what"
    )]
    fn seal_now_and_then(&mut self) -> Result<(), StoreError> {
        if self.reach == self.sealed {
            return Ok(());
        }
        let now = Instant::now();
        if self
            .sealed_at
            .is_some_and(|at| now.duration_since(at) < SEAL_EVERY)
        {
            return Ok(());
        }
        self.sealed_at = Some(now);
        self.write_seal()
    }

    /// Writes how far the store reaches. The seal never goes back: a store that ends below it was not
    /// accepted.
    fn write_seal(&mut self) -> Result<(), StoreError> {
        if self.reach.is_below(self.sealed) {
            return Ok(());
        }
        self.put_seal(self.reach, None)
    }

    fn put_seal(&mut self, reach: Reach, sum: Option<u64>) -> Result<(), StoreError> {
        let written = self.seal.write(reach, sum);
        written.map_err(at("write the seal of", &self.trees.path))?;
        self.sealed = reach;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        let is_sealed = self.reach == self.sealed && self.seal.sum().is_some();
        if is_sealed || self.failed || self.reach.is_below(self.sealed) {
            return Ok(());
        }
        let sum = self.trees.sum()?;
        self.put_seal(self.reach, Some(sum))
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // The next start finds whatever this did not manage: a commit that returned is on disk.
        self.finish().ok();
    }
}

impl Store for SledStore {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        guarded(&self.trees.path, || {
            let snapshot = read::snapshot(&self.trees)?;
            self.trees.check_counters(&snapshot)?;
            self.trees.check_heads(&snapshot)?;
            Ok(snapshot)
        })
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        // Until the commit returned.
        self.failed = true;
        if self.seal.sum().is_some() {
            self.put_seal(self.sealed, None)?;
        }
        let raise = self.older.map(raised);
        let Self { trees, scratch, .. } = self;
        guarded(&trees.path, || {
            trees.change(|batches| {
                if let Some(raise) = &raise {
                    write::plan(std::slice::from_ref(raise), trees, batches, scratch)?;
                }
                write::plan(changes, trees, batches, scratch)
            })
        })?;
        self.sync()?;
        self.older = None;
        self.note(changes);
        self.seal_now_and_then()?;
        self.failed = false;
        Ok(())
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(SledReader {
            trees: self.trees.clone(),
            files: Arc::clone(&self.files),
            backup: RefCell::default(),
        })
    }

    fn identify(&mut self, files: Vec<KeptFile>) {
        self.files = files.into();
    }
}

struct SledReader {
    trees: Trees,
    files: Arc<[KeptFile]>,
    backup: RefCell<Option<Live<Rewind>>>,
}

impl Reader for SledReader {
    fn read(&self, query: &Query) -> Result<Answer, StoreError> {
        match query {
            Query::Backup { had, made_at } => self.part(*had, made_at).map(Answer::Backup),
            _ => guarded(&self.trees.path, || read::answer(&self.trees, query)),
        }
    }
}

impl SledReader {
    /// Returns a part of a backup of now, or of the one that is under way.
    fn part(&self, had: Option<Had>, made_at: &str) -> Result<Option<Part>, StoreError> {
        let mut backup = self.backup.borrow_mut();
        let had = if let Some(had) = had {
            had
        } else {
            // One moment at a time: the one before ends first.
            *backup = None;
            let number = random()? % ID_MAX + 1;
            let source = Rewind::begin(&self.trees, number);
            let meta = self.trees.meta()?.unwrap_or_default();
            let header = Header::of(&meta, made_at.to_owned());
            *backup = Some(Live::begin(number, &header, &self.files, source));
            (number, 0)
        };
        match backup.as_mut().map(|live| live.after(had)) {
            None => Ok(None),
            Some(Ok(part)) => Ok(part),
            Some(Err(Gone::Overtaken)) => {
                *backup = None;
                Ok(None)
            }
            Some(Err(Gone::Failed(error))) => Err(error),
        }
    }
}

/// What to do about numbers that were given out and are not there.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Refused,
    Accepted,
}

/// Refuses a store that ends below its seal, and one that has content and no
/// identity.
fn check(trees: &Trees, new: bool, reach: Reach, found: Found) -> Result<(), StoreError> {
    let path = trees.path();
    let what = match found {
        Found::Reach(sealed) if reach.mail < sealed.mail => {
            return Err(StoreError::Lost {
                path,
                found: reach.mail,
                expected: sealed.mail,
            });
        }
        Found::Reach(sealed) if reach.epoch < sealed.epoch => format!(
            "its lease epochs end at {}, but {} was on disk",
            reach.epoch, sealed.epoch
        ),
        Found::Damaged => "neither half of its seal can be read".to_owned(),
        _ if new && (matches!(found, Found::Reach(_)) || !trees.are_empty()?) => {
            "its identity is missing".to_owned()
        }
        _ => return Ok(()),
    };
    Err(StoreError::Damaged { path, what })
}

/// Refuses a store that was closed with other records than it opens with.
fn check_sum(trees: &Trees, seal: &Seal) -> Result<(), StoreError> {
    match seal.sum() {
        Some(sum) if sum != trees.sum()? => Err(StoreError::Damaged {
            path: trees.path(),
            what: "some of its records are not those that it was closed with".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What lies where in a data directory.
struct Paths {
    data: PathBuf,
    store: PathBuf,
    seal: PathBuf,
    ballast: PathBuf,
    lock: PathBuf,
}

impl Paths {
    fn of(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            store: data.join("store"),
            seal: data.join("seal"),
            ballast: data.join("ballast"),
            lock: data.join("lock"),
        }
    }
}

/// Takes the lock on a data directory, which one process has at a time.
///
/// # Errors
/// [`StoreError::InUse`] and [`StoreError::Io`].
pub fn lock(data: &Path) -> Result<File, StoreError> {
    let path = Paths::of(data).lock;
    let lock = disk::private()
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(at("open", &path))?;
    lock.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => in_use(data),
        std::fs::TryLockError::Error(source) => at("lock", &path)(source),
    })?;
    Ok(lock)
}

/// Makes the directories, takes the lock and sees to it that sled has room to open.
fn prepare(paths: &Paths) -> Result<File, StoreError> {
    disk::make_dir(&paths.data).map_err(at("make", &paths.data))?;
    let lock = lock(&paths.data)?;
    disk::make_dir(&paths.store).map_err(at("make", &paths.store))?;
    disk::release_ballast(&paths.data, &paths.ballast).map_err(at("remove", &paths.ballast))?;
    preflight::preflight(&paths.store).map_err(at("read", &paths.store))?;
    Ok(lock)
}

/// The wall clock, in milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "a clock that is wrong leaves the jump, which needs none"
)]
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis().try_into().unwrap_or(0))
}

/// The same identity, of this build's format.
fn raised(meta: Meta) -> Change {
    Change::PutMeta(Meta {
        format: FORMAT,
        ..meta
    })
}

/// A new identity: random, not zero, exact in JSON.
fn new_meta(running_s: u64) -> Result<Meta, StoreError> {
    Ok(Meta {
        format: FORMAT,
        incarnation: random()? % ID_MAX + 1,
        running_s,
    })
}

fn random() -> Result<u64, StoreError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| StoreError::Engine(format!("no random numbers: {error}")))?;
    Ok(u64::from_be_bytes(random))
}
