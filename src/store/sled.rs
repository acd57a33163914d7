//! The engine on disk: sled 0.34, with the sync it lacks.
//!
//! sled's `flush` does not reach the disk on Linux, so each commit ends with `fdatasync` on our own
//! handle of its file (`docs/storage.md`, "Why a commit is durable"). This file opens, applies, syncs
//! and notices loss; what the bytes mean is `write`, `read` and `codec`. The only file that names the
//! crate `sled`.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use ::sled::IVec;

use super::disk::{self, BALLAST_BYTES};
use super::key::{self, Kind, Tree};
use super::kv::{self, Kv, Rows, Sink};
use super::seal::{Found, Reach, Seal};
use super::{
    Answer, Change, DirectoryCounters, FORMAT, MailCounters, Mark, Meta, Query, Reader, Report,
    Snapshot, Store, StoreError, read, verify, write,
};
use crate::limits::{ID_JUMP, ID_MAX};
use crate::protocol::MailId;

/// Bytes of pages sled keeps in memory.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Milliseconds between two rounds of sled's own thread. It also reclaims space, so it stays on.
const FLUSH_EVERY_MS: u64 = 500;

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
    scratch: Vec<u8>,
}

impl SledStore {
    /// Opens the store in a data directory, or makes it.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Newer`], [`StoreError::Damaged`] and
    /// [`StoreError::Lost`], all before anything is written.
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
        let path = Paths::of(data).store.join("db");
        std::fs::metadata(&path).map_err(at("open", &path))?;
        let store = Self::open(data)?;
        guarded(&store.trees.path, || verify::verify(&store.trees))
    }

    /// Writes the seal and closes the store. Dropping does the same, but tells nobody of a failure.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.finish()
    }

    fn open_as(data: &Path, loss: Loss) -> Result<Self, StoreError> {
        let paths = Paths::of(data);
        let lock = prepare(&paths)?;
        let trees = Trees::open(&paths.store, lock)?;
        let file = File::open(paths.store.join("db")).map_err(at("open", &paths.store))?;
        disk::sync_dir(&paths.store).map_err(at("sync", &paths.store))?;
        let (seal, found) = Seal::open(&paths.seal).map_err(at("open", &paths.seal))?;
        disk::sync_dir(data).map_err(at("sync", data))?;
        let mut store = Self {
            trees,
            file,
            seal,
            reach: Reach::default(),
            sealed: Reach::default(),
            sealed_at: None,
            scratch: Vec::new(),
        };
        store.begin(&paths, found, loss)?;
        Ok(store)
    }

    /// Makes a new store or checks an old one.
    fn begin(&mut self, paths: &Paths, found: Found, loss: Loss) -> Result<(), StoreError> {
        let meta: Option<Meta> = guarded(&self.trees.path, || {
            kv::get(&self.trees, Kind::Meta, &key::meta())
        })?;
        if let Some(meta) = meta
            && meta.format > FORMAT
        {
            return Err(StoreError::Newer {
                path: self.trees.path(),
                found: meta.format,
                known: FORMAT,
            });
        }
        self.reach = self.trees.reach()?;
        match loss {
            Loss::Refused => self.check(paths, meta.is_none(), found)?,
            Loss::Accepted => self.jump(meta, found)?,
        }
        if meta.is_none() && matches!(loss, Loss::Refused) {
            self.commit(&[Change::PutMeta(new_meta(0)?)])?;
        }
        self.write_seal()?;
        disk::lay_ballast(&paths.data, &paths.ballast, BALLAST_BYTES)
            .map_err(at("write", &paths.ballast))
    }

    /// Refuses a store that ends below its seal, or has content and no identity.
    fn check(&self, paths: &Paths, new: bool, found: Found) -> Result<(), StoreError> {
        let path = self.trees.path();
        let what = match found {
            Found::Reach(sealed) if self.reach.mail < sealed.mail => {
                return Err(StoreError::Lost {
                    path,
                    found: self.reach.mail,
                    expected: sealed.mail,
                });
            }
            Found::Reach(sealed) if self.reach.epoch < sealed.epoch => format!(
                "its lease epochs end at {}, but {} was on disk",
                self.reach.epoch, sealed.epoch
            ),
            Found::Reach(_) if new => "its identity is missing".to_owned(),
            Found::Damaged => format!("neither half of {} can be read", paths.seal.display()),
            _ if new && !self.trees.are_empty() => "its identity is missing".to_owned(),
            _ => return Ok(()),
        };
        Err(StoreError::Damaged { path, what })
    }

    /// Raises every counter above all that may have been given out.
    fn jump(&mut self, meta: Option<Meta>, found: Found) -> Result<(), StoreError> {
        let sealed = match found {
            Found::Reach(reach) => reach,
            Found::Nothing | Found::Damaged => Reach::default(),
        };
        let (directory, mail) = self.trees.counters()?;
        self.commit(&[
            Change::PutMeta(new_meta(meta.map_or(0, |meta| meta.running_s))?),
            Change::PutDirectoryCounters(DirectoryCounters {
                address: directory.address + ID_JUMP,
                device: directory.device + ID_JUMP,
                epoch: directory.epoch.max(sealed.epoch) + ID_JUMP,
            }),
            Change::PutMailCounters(MailCounters {
                mail: mail.mail.max(sealed.mail) + ID_JUMP,
                stream: mail.stream + ID_JUMP,
            }),
        ])
    }

    /// Sends everything to the disk itself. `Ok` means it is there.
    fn sync(&self) -> Result<(), StoreError> {
        let path = &self.trees.path;
        guarded(path, || {
            let flushed = self.trees.db.flush();
            flushed.map_err(|error| failed(path, error))
        })?;
        self.file.sync_data().map_err(at("sync", path))
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

    fn write_seal(&mut self) -> Result<(), StoreError> {
        self.seal
            .write(self.reach)
            .map_err(at("write the seal of", &self.trees.path))?;
        self.sealed = self.reach;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        if self.reach == self.sealed {
            return Ok(());
        }
        self.write_seal()
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
            self.trees.check_heads(&snapshot)?;
            Ok(snapshot)
        })
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let Self { trees, scratch, .. } = self;
        guarded(&trees.path, || {
            let mut batches = Batches::default();
            write::plan(changes, trees, &mut batches, scratch)?;
            trees.apply(batches)
        })?;
        self.sync()?;
        self.note(changes);
        self.seal_now_and_then()
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(SledReader(self.trees.clone()))
    }
}

struct SledReader(Trees);

impl Reader for SledReader {
    fn read(&self, query: &Query) -> Result<Answer, StoreError> {
        guarded(&self.0.path, || read::answer(&self.0, query))
    }
}

/// What to do about numbers that were given out and are not there.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Refused,
    Accepted,
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

/// Makes the directories, takes the lock and sees to it that sled has room to open.
fn prepare(paths: &Paths) -> Result<File, StoreError> {
    disk::make_dir(&paths.data).map_err(at("make", &paths.data))?;
    let lock = disk::private()
        .create(true)
        .truncate(false)
        .open(&paths.lock)
        .map_err(at("open", &paths.lock))?;
    lock.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => in_use(&paths.data),
        std::fs::TryLockError::Error(source) => at("lock", &paths.lock)(source),
    })?;
    disk::make_dir(&paths.store).map_err(at("make", &paths.store))?;
    disk::release_ballast(&paths.data, &paths.ballast).map_err(at("remove", &paths.ballast))?;
    Ok(lock)
}

/// sled's trees; clones share them, and the lock on the data directory with them.
#[derive(Debug, Clone)]
struct Trees {
    db: ::sled::Db,
    each: [::sled::Tree; Tree::ALL.len()],
    path: Arc<Path>,
    _lock: Arc<File>,
}

impl Trees {
    fn open(path: &Path, lock: File) -> Result<Self, StoreError> {
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
            Ok(Self {
                each: each().map_err(|error| failed(path, error))?,
                db,
                path: path.into(),
                _lock: Arc::new(lock),
            })
        })
    }

    fn apply(&self, batches: Batches) -> Result<(), StoreError> {
        for (tree, batch) in self.each.iter().zip(batches.0) {
            if let Some(batch) = batch {
                tree.apply_batch(batch)
                    .map_err(|error| failed(&self.path, error))?;
            }
        }
        Ok(())
    }

    fn are_empty(&self) -> bool {
        self.each.iter().all(::sled::Tree::is_empty)
    }

    fn counters(&self) -> Result<(DirectoryCounters, MailCounters), StoreError> {
        guarded(&self.path, || {
            let directory = kv::get(self, Kind::DirectoryCounters, &key::directory_counters())?;
            let mail = kv::get(self, Kind::MailCounters, &key::mail_counters())?;
            Ok((directory.unwrap_or_default(), mail.unwrap_or_default()))
        })
    }

    fn reach(&self) -> Result<Reach, StoreError> {
        let (directory, mail) = self.counters()?;
        Ok(Reach {
            mail: mail.mail,
            epoch: directory.epoch,
        })
    }

    /// Compares each log's totals with its newest mail: one look per log, whatever its depth.
    fn check_heads(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
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
        self.each[tree as usize]
            .get(key)
            .map_err(|error| failed(&self.path, error))
    }

    fn range(&self, tree: Tree, low: &[u8], high: &[u8]) -> Rows<'_, IVec> {
        if low > high {
            return Box::new(std::iter::empty());
        }
        let rows = self.each[tree as usize].range(low..=high);
        Box::new(rows.map(|row| row.map_err(|error| failed(&self.path, error))))
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }
}

/// One batch per tree that changes: an empty one would still go through sled's log.
#[derive(Default)]
struct Batches([Option<::sled::Batch>; Tree::ALL.len()]);

impl Batches {
    fn of(&mut self, tree: Tree) -> &mut ::sled::Batch {
        self.0[tree as usize].get_or_insert_default()
    }
}

impl Sink for Batches {
    fn put(&mut self, tree: Tree, key: &[u8], value: &[u8]) {
        self.of(tree).insert(key, value);
    }

    fn remove(&mut self, tree: Tree, key: &[u8]) {
        self.of(tree).remove(key);
    }
}

/// A new identity: random, not zero, exact in JSON.
fn new_meta(running_s: u64) -> Result<Meta, StoreError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| StoreError::Engine(format!("no random numbers: {error}")))?;
    Ok(Meta {
        format: FORMAT,
        incarnation: u64::from_be_bytes(random) % ID_MAX + 1,
        running_s,
    })
}

/// Runs what calls sled. sled panics on much of what is wrong with its files; here that becomes an
/// error, and nothing is printed beside it.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
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
            what: format!("sled gave up: {}", why.unwrap_or("it did not say why")),
        })
    })
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

fn in_use(path: &Path) -> StoreError {
    StoreError::InUse {
        path: path.display().to_string(),
    }
}

fn at(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
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
            what: format!("sled cannot read its log at {at:?}"),
        },
        other => StoreError::Engine(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{body, envelope};
    use super::*;
    use crate::store::LogRecord;

    /// Commits mails 1 to `count` of log 3, one by one.
    fn fill(store: &mut SledStore, count: u64) {
        let mut head = Mark::ZERO;
        for id in 1..=count {
            let record = envelope(head.id, head.count + 1, head.bytes + 100, 100);
            head = record.mark(id);
            let floor = Mark::ZERO;
            store
                .commit(&[
                    Change::AppendMail {
                        log: 3,
                        id,
                        record,
                        body: body(100),
                    },
                    Change::PutLog {
                        log: 3,
                        record: LogRecord { head, floor },
                    },
                    Change::PutMailCounters(MailCounters {
                        mail: id,
                        stream: 2,
                    }),
                    Change::PutDirectoryCounters(DirectoryCounters {
                        address: 3,
                        device: 4,
                        epoch: id,
                    }),
                ])
                .unwrap();
        }
    }

    /// A data directory with `count` mails, closed.
    fn filled(count: u64) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SledStore::open(dir.path()).unwrap();
        fill(&mut store, count);
        store.close().unwrap();
        dir
    }

    /// Puts the sled part of one data directory in place of another's.
    fn replace_store(dir: &Path, by: &Path) {
        std::fs::remove_dir_all(dir.join("store")).unwrap();
        std::fs::rename(by.join("store"), dir.join("store")).unwrap();
    }

    #[test]
    fn a_second_process_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        let second = SledStore::open(dir.path());
        assert!(matches!(second, Err(StoreError::InUse { .. })));
        drop(store);
        SledStore::open(dir.path()).unwrap();
    }

    #[test]
    fn files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("deep/data");
        drop(SledStore::open(&data).unwrap());
        let mode = |name: &str| {
            let file = std::fs::metadata(data.join(name)).unwrap();
            file.permissions().mode() & 0o777
        };
        assert_eq!(mode("store"), 0o700);
        assert_eq!([mode("seal"), mode("lock"), mode("ballast")], [0o600; 3]);
        assert_eq!(mode(""), 0o700);
    }

    #[test]
    fn p02_a_store_that_ends_below_its_seal_is_not_served() {
        let (long, short) = (filled(9), filled(4));
        replace_store(long.path(), short.path());
        match SledStore::open(long.path()) {
            Err(StoreError::Lost {
                found, expected, ..
            }) => assert_eq!((found, expected), (4, 9)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn p02_a_store_that_is_gone_is_not_made_anew() {
        let dir = filled(9);
        std::fs::remove_dir_all(dir.path().join("store")).unwrap();
        let opened = SledStore::open(dir.path());
        assert!(matches!(
            opened,
            Err(StoreError::Lost {
                found: 0,
                expected: 9,
                ..
            })
        ));
    }

    #[test]
    fn accepted_loss_never_uses_a_number_twice() {
        let (long, short) = (filled(9), filled(4));
        let before = SledStore::open(short.path()).unwrap().load().unwrap();
        replace_store(long.path(), short.path());
        let mut store = SledStore::open_accepting_loss(long.path()).unwrap();
        let after = store.load().unwrap();
        assert_eq!(after.mail_counters.mail, 9 + ID_JUMP);
        assert_eq!(after.directory_counters.epoch, 9 + ID_JUMP);
        assert!(after.mail_counters.stream > ID_JUMP);
        assert!(after.directory_counters.address > ID_JUMP);
        assert_ne!(after.meta.incarnation, before.meta.incarnation);
        store.close().unwrap();
        let reopened = SledStore::open(long.path()).unwrap().load().unwrap();
        assert_eq!(reopened, after);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = SledStore::open(dir.path()).unwrap();
        let mut meta = store.load().unwrap().meta;
        meta.format = FORMAT + 1;
        store.commit(&[Change::PutMeta(meta)]).unwrap();
        store.close().unwrap();
        match SledStore::open(dir.path()) {
            Err(StoreError::Newer { found, known, .. }) => {
                assert_eq!((found, known), (FORMAT + 1, FORMAT));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_record_with_a_wrong_checksum_is_named() {
        let dir = filled(3);
        let store = SledStore::open(dir.path()).unwrap();
        let key = key::mail(3, 2);
        let tree = &store.trees.each[Tree::Mail as usize];
        let mut value = tree.get(key).unwrap().unwrap().to_vec();
        value[40] ^= 1;
        tree.insert(key, value).unwrap();
        let query = Query::Page {
            log: 3,
            after: 0,
            upto: 3,
            mails: 9,
            bytes: 999,
        };
        match store.reader().read(&query) {
            Err(StoreError::Damaged { what, .. }) => {
                assert!(what.contains(&hex::encode(key)), "{what}");
                assert!(what.contains("mail record"), "{what}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_log_without_its_newest_mail_is_not_served() {
        let dir = filled(3);
        let mut store = SledStore::open(dir.path()).unwrap();
        let tree = &store.trees.each[Tree::Mail as usize];
        tree.remove(key::mail(3, 3)).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_missing_identity_is_damage() {
        let dir = filled(3);
        let store = SledStore::open(dir.path()).unwrap();
        let tree = &store.trees.each[Tree::Directory as usize];
        tree.remove(key::meta()).unwrap();
        store.close().unwrap();
        let opened = SledStore::open(dir.path());
        assert!(matches!(opened, Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn verify_wants_a_store_and_finds_nothing_in_a_sound_one() {
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(
            SledStore::verify(empty.path()),
            Err(StoreError::Io { .. })
        ));
        let report = SledStore::verify(filled(5).path()).unwrap();
        assert!(report.is_whole(), "{:?}", report.faults);
        assert!(report.records.contains(&("mail", 5)));
    }

    /// Flipped bits in sled's own file: an error, or a fault that `verify` finds, or no effect; never
    /// a panic, and never a store that looks whole and is not.
    #[test]
    fn flipped_bits_are_noticed() {
        let dir = filled(40);
        let db = dir.path().join("store/db");
        let sound = std::fs::read(&db).unwrap();
        let whole = SledStore::verify(dir.path()).unwrap();
        for at in (7..sound.len()).step_by(sound.len() / 60) {
            let mut broken = sound.clone();
            broken[at] ^= 4;
            std::fs::write(&db, broken).unwrap();
            if let Ok(report) = SledStore::verify(dir.path())
                && report.is_whole()
            {
                assert_eq!(report.records, whole.records, "byte {at}");
            }
        }
    }
}
