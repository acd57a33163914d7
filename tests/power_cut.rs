//! P2 under a power cut: every commit that returned is on the disk, whenever the power goes.
//!
//! A writer process commits and says so; it is stopped at some instant, its disk is copied as a power
//! cut would leave it, and the copy is opened and compared with a replay in memory. The next round
//! goes on from the copy. Two tests are of sled alone: its `flush` is on the disk in our programs, as
//! it is not in others, and a control without one loses what it acknowledged, so that the test can
//! fail. Ten cuts, or `CORREIO_CUTS`.

#[allow(
    unreachable_pub,
    clippy::print_stdout,
    reason = "shared with the tests of whole programs"
)]
#[path = "common/disk.rs"]
mod disk;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use correio::protocol::{LogNumber, MailId};
use correio::store::memory::Memory;
use correio::store::sled::SledStore;
use correio::store::{
    Answer, Change, CompletionRecord, DirectoryCounters, LeaseRecord, LeaseState, LogRecord,
    MailCounters, MailRecord, MailState, Mark, Query, RecordedOutcome, Snapshot, Store, StoreError,
    StoredMail, StreamRecord,
};
use disk::Disk;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

const LOGS: usize = 3;

/// Outcomes of a commit.
const OUTCOMES: u64 = 70;

/// Mails a log keeps in this workload: enough trimming that sled reclaims space meanwhile.
const KEPT: usize = 60;

#[test]
fn p02_power_cut_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut disk) = disk_or_skip(&folder, "power_cut") else {
        return;
    };
    let mut replay = Replay::new();
    for cut in 0..cuts() {
        let mut writer = spawn("store", disk.path());
        let acks = run_until(&mut writer, 1 + random(400));
        let after = disk
            .after_a_cut(folder.path(), &format!("cut-{cut}"))
            .expect("the copy mounts");
        kill(&mut writer.child);
        let acked = writer.last_ack().max(acks);
        let kept = check(after.path(), &mut replay, acked);
        say(&format!(
            "cut {cut}: {acked} commits acknowledged, {kept} there"
        ));
        disk = after;
    }
}

/// sled's `flush` ends with `sync_file_range`, which in our programs is a real sync.
#[test]
fn p02_a_flush_of_sled_is_on_the_disk() {
    for _ in 0..cuts() {
        let Some((acked, found)) = cut_sled_alone("flushed") else {
            return;
        };
        assert!(
            found.is_some_and(|found| found >= acked),
            "{acked} rows were flushed, {found:?} are there"
        );
    }
}

#[test]
fn control_without_a_flush_loses_acknowledged_data() {
    for _ in 0..cuts() {
        match cut_sled_alone("unflushed") {
            None => return,
            Some((acked, found)) if found < Some(acked) => return,
            Some(_) => {}
        }
    }
    panic!("no cut lost anything: this test would not see a missing sync");
}

/// Cuts the power under sled alone. Returns the rows that were acknowledged and those that are there;
/// nothing when it does not open.
fn cut_sled_alone(writer: &str) -> Option<(u64, Option<u64>)> {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = disk_or_skip(&folder, "power_cut")?;
    let mut writer = spawn(writer, disk.path());
    let acks = run_until(&mut writer, 1 + random(400));
    let after = disk
        .after_a_cut(folder.path(), "cut")
        .expect("the copy mounts");
    kill(&mut writer.child);
    let acked = writer.last_ack().max(acks);
    Some((acked, plain_rows(after.path())))
}

/// A store that was being made when the power went opens: as a new one, or with what was
/// acknowledged.
#[test]
fn p02_power_cut_in_the_first_start_leaves_a_store_that_opens() {
    for file in ["lock", "store", "store/conf", "store/db", "seal", "ballast"] {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(disk) = disk_or_skip(&folder, "power_cut") else {
            return;
        };
        let mut writer = spawn("store", disk.path());
        let file = disk.path().join("data").join(file);
        while !file.exists() {
            let ended = writer.child.try_wait().expect("the writer is our child");
            assert_eq!(ended, None, "the writer ended without {}", file.display());
            std::thread::yield_now();
        }
        stop(&writer.child);
        let after = disk
            .after_a_cut(folder.path(), "cut")
            .expect("the copy mounts");
        kill(&mut writer.child);
        let acked = writer.last_ack();
        drop(SledStore::open(&after.path().join("data")).expect("the store opens after the cut"));
        check(after.path(), &mut Replay::new(), acked);
    }
}

/// A disk that runs full ends the store with an error, or finds it room by trimming, and loses nothing;
/// the ballast lets it open again while the disk is still full.
#[test]
fn p02_full_disk_loses_nothing_and_opens_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = disk_or_skip(&folder, "full_disk") else {
        return;
    };
    let data = disk.path().join("data");
    let mut store = SledStore::open(&data).expect("it opens");
    let mut replay = Replay::new();
    // Once it is full the store may go on for ever in the room that trimming gives back.
    while replay.workload.commits < 2_000 && store.commit(&replay.next).is_ok() {
        // Full for everybody: another file takes the rest once some mail is there.
        if replay.workload.commits == 200 {
            fill_disk(&disk.path().join("other"));
        }
        replay.go_to(replay.workload.commits);
    }
    drop(store);
    let acked = replay.workload.commits - 1;
    check(disk.path(), &mut replay, acked);
    let mut store = SledStore::open(&data).expect("it opens on the full disk");
    store
        .commit(&replay.next)
        .expect("there is room for acknowledgements");
}

/// Writes until there is no room.
fn fill_disk(path: &Path) {
    let mut file = std::fs::File::create(path).expect("the disk takes a name");
    let zeros = vec![0; 64 * 1024];
    while file.write_all(&zeros).is_ok() {}
    file.sync_all().ok();
}

/// The writer process of the tests above, which run themselves with a directory for it.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os("CORREIO_POWER_CUT_DIR").map(PathBuf::from) else {
        return;
    };
    match std::env::var("CORREIO_POWER_CUT_WRITER").as_deref() {
        Ok("flushed") => write_plain(&dir, |db| db.flush().map(drop)),
        Ok("unflushed") => write_plain(&dir, |_| Ok(())),
        _ => write_store(&dir),
    }
}

/// Makes a disk, or says that this machine cannot; with `CORREIO_NO_SKIP=1` that is a failure.
fn disk_or_skip(folder: &tempfile::TempDir, test: &str) -> Option<Disk> {
    match Disk::make(folder.path(), "disk") {
        Ok(disk) => Some(disk),
        Err(reason) => {
            let forced = std::env::var_os("CORREIO_NO_SKIP").is_some_and(|value| value == "1");
            assert!(!forced, "{test} cannot be skipped: {reason}");
            // On a line of its own: the harness may have begun one.
            say(&format!("\nSKIPPED: {test}, {reason}"));
            None
        }
    }
}

/// Writes a line past the capture of the test harness.
fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").expect("somebody reads the tests");
}

/// Stops a process between two instructions and returns when it stands.
fn stop(child: &Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::STOP).expect("the writer runs");
    waitpid(Some(pid), WaitOptions::UNTRACED).expect("the writer is our child");
}

/// Kills a process and waits for its end.
fn kill(child: &mut Child) {
    child.kill().expect("the writer is our child");
    child.wait().expect("the writer is our child");
}

/// Commits until it is killed, from where the store stands.
fn write_store(dir: &Path) {
    let mut store = SledStore::open(&dir.join("data")).expect("the store opens");
    let done = store.load().expect("it loads").mail_counters.stream;
    let mut workload = Workload::default();
    for _ in 0..done {
        workload.next_commit();
    }
    loop {
        let changes = workload.next_commit();
        store.commit(&changes).expect("the disk is large enough");
        ack(workload.commits);
    }
}

/// sled alone; a row is acknowledged after something was done for it.
fn write_plain(dir: &Path, keep: fn(&sled::Db) -> sled::Result<()>) {
    let db = sled::open(dir.join("plain")).expect("sled opens");
    for number in 1u64.. {
        db.insert(number.to_be_bytes(), vec![7; 512])
            .expect("sled writes");
        keep(&db).expect("sled flushes");
        ack(number);
    }
}

/// Returns the rows of sled alone; nothing when it does not open.
fn plain_rows(dir: &Path) -> Option<u64> {
    let path = dir.join("plain");
    let opened = std::panic::catch_unwind(|| sled::open(path).ok().map(|db| db.len() as u64));
    opened.ok().flatten()
}

fn ack(number: u64) {
    writeln!(std::io::stderr(), "ack {number}").expect("the parent reads");
}

struct Writer {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Writer {
    /// Returns the next acknowledged number; nothing at the end of the writer's output.
    fn next_ack(&mut self) -> Option<u64> {
        loop {
            let line = self.lines.next()?.expect("the writer speaks UTF-8");
            match line.strip_prefix("ack ") {
                // Without its number it is the last line of a writer that was killed in it.
                Some(number) => return number.parse().ok(),
                None => say(&line),
            }
        }
    }

    /// Returns the last number the writer acknowledged before it was stopped and killed.
    fn last_ack(&mut self) -> u64 {
        std::iter::from_fn(|| self.next_ack()).last().unwrap_or(0)
    }
}

fn spawn(what: &str, dir: &Path) -> Writer {
    let mut child = Command::new(std::env::current_exe().expect("tests have a path"))
        .args(["--exact", "writer", "--nocapture"])
        .env("CORREIO_POWER_CUT_WRITER", what)
        .env("CORREIO_POWER_CUT_DIR", dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test runs itself");
    let pipe = child.stderr.take().expect("it is piped");
    let lines = BufReader::new(pipe).lines();
    Writer { child, lines }
}

/// Waits for `count` acknowledgements, stops the writer, and returns the last it read.
fn run_until(writer: &mut Writer, count: u64) -> u64 {
    let acks = std::iter::from_fn(|| writer.next_ack()).take(usize::try_from(count).unwrap_or(1));
    let last = acks.last().expect("the writer commits");
    stop(&writer.child);
    last
}

/// Opens a store when nobody holds it: a child that another test starts just now has its lock too, until
/// it becomes another program.
fn alone<T>(data: &Path, open: impl Fn(&Path) -> Result<T, StoreError>) -> Result<T, StoreError> {
    loop {
        match open(data) {
            Err(StoreError::InUse { .. }) => {
                let lock = File::open(data.join("lock")).expect("a store has a lock");
                lock.lock().expect("its holder lets it go");
            }
            opened => return opened,
        }
    }
}

/// Opens what a cut left and compares it with `acked` commits, or one more: the one on its way.
/// Returns how many are there.
fn check(dir: &Path, replay: &mut Replay, acked: u64) -> u64 {
    let data = dir.join("data");
    let report = alone(&data, SledStore::verify).expect("the store opens after the cut");
    assert_eq!(report.faults, Vec::<String>::new());
    let mut store = alone(&data, SledStore::open).expect("it opens again");
    let found = Parts::of(&mut store);
    replay.go_to(acked);
    let before = replay.parts();
    let after = replay.peek();
    let ahead = [
        found.directory == after.directory,
        found.mail == after.mail,
        found.cursors == after.cursors,
    ];
    assert!(ahead[0] || found.directory == before.directory, "directory");
    assert!(ahead[1] || found.mail == before.mail, "mail");
    assert!(ahead[2] || found.cursors == before.cursors, "cursors");
    // What refers is never there without what it refers to.
    let same_mail = before.mail == after.mail;
    assert!(
        ahead[0] || !ahead[1] || same_mail,
        "mail before its directory"
    );
    acked + u64::from(ahead[1])
}

/// The mail tree's records, the mails of each log, and the bodies too big to come along.
type MailParts = (Snapshot, Vec<Vec<StoredMail>>, Vec<Option<Vec<u8>>>);

/// Everything a store holds, by tree.
#[derive(Debug, PartialEq)]
struct Parts {
    directory: Snapshot,
    mail: MailParts,
    cursors: Vec<(u64, LogNumber, Mark)>,
}

impl Parts {
    fn of(store: &mut dyn Store) -> Self {
        let all = store.load().expect("it loads");
        let logs: Vec<Vec<StoredMail>> = (1..=LOGS as LogNumber)
            .map(|log| mails(store, log))
            .collect();
        let big = logs.iter().zip(1..).flat_map(|(mails, log)| {
            let big = mails.iter().filter(|mail| mail.record.size > 65_536);
            big.map(move |mail| (log, mail.id))
        });
        let big: Vec<_> = big.collect();
        let bodies = big.iter().map(|(log, id)| body_of(store, *log, *id));
        let bodies = bodies.collect();
        Self {
            cursors: all.cursors,
            mail: (
                Snapshot {
                    mail_counters: all.mail_counters,
                    logs: all.logs,
                    streams: all.streams,
                    completions: all.completions,
                    ..Snapshot::default()
                },
                logs,
                bodies,
            ),
            directory: Snapshot {
                directory_counters: all.directory_counters,
                leases: all.leases,
                ..Snapshot::default()
            },
        }
    }
}

fn mails(store: &dyn Store, log: LogNumber) -> Vec<StoredMail> {
    let query = Query::Page {
        log,
        after: 0,
        upto: MailId::MAX,
        mails: u32::MAX,
        bytes: u64::MAX,
    };
    match store.reader().read(&query).expect("it reads") {
        Answer::Mails { mails, .. } => mails,
        other => panic!("{other:?}"),
    }
}

fn body_of(store: &dyn Store, log: LogNumber, id: MailId) -> Option<Vec<u8>> {
    let query = Query::Body {
        log,
        id,
        offset: 0,
        len: usize::MAX,
    };
    match store.reader().read(&query).expect("it reads") {
        Answer::Body(body) => body,
        other => panic!("{other:?}"),
    }
}

/// The same commits, in memory.
struct Replay {
    workload: Workload,
    store: Memory,
    /// The commit after the ones in `store`.
    next: Vec<Change>,
}

impl Replay {
    fn new() -> Self {
        let mut workload = Workload::default();
        let next = workload.next_commit();
        Self {
            workload,
            store: Memory::new(),
            next,
        }
    }

    fn go_to(&mut self, commits: u64) {
        while self.workload.commits <= commits {
            let next = self.workload.next_commit();
            let due = std::mem::replace(&mut self.next, next);
            self.store.commit(&due).expect("memory commits");
        }
    }

    fn parts(&mut self) -> Parts {
        Parts::of(&mut self.store)
    }

    /// Returns what one more commit would make of it.
    fn peek(&mut self) -> Parts {
        let mut store = self.store.clone_synced();
        store.commit(&self.next).expect("memory commits");
        Parts::of(&mut store)
    }
}

/// Commits that depend on nothing but their number: appends of all sizes, trimming, expiry, outcomes,
/// leases and cursors.
#[derive(Default)]
struct Workload {
    commits: u64,
    last: MailId,
    logs: [Log; LOGS],
}

#[derive(Default)]
struct Log {
    totals: LogRecord,
    kept: VecDeque<Mark>,
}

impl Workload {
    fn next_commit(&mut self) -> Vec<Change> {
        self.commits += 1;
        let mut changes = Vec::new();
        for _ in 0..=self.commits % 4 {
            self.append(&mut changes);
        }
        self.others(&mut changes);
        changes
    }

    fn append(&mut self, changes: &mut Vec<Change>) {
        self.last += 1;
        let id = self.last;
        let at = usize::try_from(id).expect("few mails") % LOGS;
        let number = at as LogNumber + 1;
        let log = &mut self.logs[at];
        let size = [0, 512, 3900, 9_000, 70_000][usize::try_from(id * 7 % 5).expect("small")];
        let size = if size == 70_000 && !id.is_multiple_of(50) {
            100
        } else {
            size
        };
        let record = record(log.totals.head, id, size);
        log.totals.head = record.mark(id);
        log.kept.push_back(log.totals.head);
        changes.push(Change::AppendMail {
            log: number,
            id,
            record,
            body: Arc::from(vec![id.to_be_bytes()[7]; size]),
        });
        if id.is_multiple_of(11) {
            changes.push(Change::ExpireMail { log: number, id });
        }
        if log.kept.len() > KEPT
            && let Some(oldest) = log.kept.pop_front()
        {
            log.totals.floor = oldest;
            changes.push(Change::RemoveMail {
                log: number,
                id: oldest.id,
            });
        }
        changes.push(Change::PutLog {
            log: number,
            record: log.totals,
        });
    }

    fn others(&self, changes: &mut Vec<Change>) {
        changes.push(Change::PutMailCounters(MailCounters {
            mail: self.last,
            // So that a writer knows where to go on.
            stream: self.commits,
        }));
        // Two rows' worth, so that a mark falls into the middle of one.
        let first = self.commits * OUTCOMES;
        for number in first..first + OUTCOMES {
            changes.push(Change::PutCompletion {
                stream: 1,
                number,
                record: CompletionRecord {
                    digest: [1; 32],
                    outcomes: vec![RecordedOutcome::Sent {
                        address: "ana".to_owned(),
                        id: self.last,
                    }],
                },
            });
        }
        changes.push(Change::PutStream(StreamRecord {
            number: 1,
            device: 1,
            settled_below: first.saturating_sub(3 * OUTCOMES + 7),
            used_running_s: 1,
        }));
        changes.push(Change::PutCursor {
            device: 1,
            log: 1,
            mark: self.logs[0].totals.head,
        });
        changes.push(Change::PutDirectoryCounters(DirectoryCounters {
            address: 3,
            device: 1,
            epoch: self.commits,
        }));
        changes.push(Change::PutLease(LeaseRecord {
            port: 5600,
            epoch: self.commits,
            state: LeaseState::Held,
            user: 1,
            device: 1,
            session: [2; 16],
        }));
    }
}

fn record(head: Mark, id: MailId, size: usize) -> MailRecord {
    MailRecord {
        prev: head.id,
        count: head.count + 1,
        bytes: head.bytes + size as u64,
        state: MailState::Live,
        from: "ana".to_owned(),
        to: vec!["bob".to_owned()],
        subject: format!("mail {id}"),
        content_type: "text/plain".to_owned(),
        sent_at_ms: 0,
        expires_at_ms: id.is_multiple_of(7).then_some(1),
        running_s: 0,
        size: size as u64,
        message: id,
        answers: None,
    }
}

fn cuts() -> u64 {
    let wanted = std::env::var("CORREIO_CUTS").ok();
    wanted.and_then(|cuts| cuts.parse().ok()).unwrap_or(10)
}

/// Returns a random number below `below`.
fn random(below: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    u64::from_be_bytes(bytes) % below
}
