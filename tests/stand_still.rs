//! A large mail cannot make the store stand still (docs/storage.md, "When sled stands still").
//!
//! sled hangs for good when seven of its writes are before a truncation of its file. A store that writes and removes large
//! mails runs on a disk that strace made slow, and strace tells how many writes were under way at once.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::faults::can_trace;
use common::{Timed, skip};
use correio::store::sled::SledStore;
use correio::store::{Change, LogRecord, MailCounters, MailRecord, MailState, Mark, Store};

/// What each sync takes longer, microseconds: more than the store needs to fill the next segments.
const SLOWER_US: u32 = 200_000;

/// Writes under way at which sled can stand still.
const ALL_OF_SLED: usize = 7;

const BODY_BYTES: usize = 6 << 20;

#[test]
fn p08_a_large_mail_never_has_as_many_writes_under_way_as_stop_sled() {
    let _timed = Timed::start("stand_still");
    if !can_trace() {
        return skip("stand_still", "strace cannot trace other processes here");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fdatasync", "-e"])
        .arg(format!("inject=fdatasync:delay_enter={SLOWER_US}"))
        .arg("-o")
        .arg(&trace)
        .arg(std::env::current_exe().expect("tests have a path"))
        .args(["--exact", "writer"])
        .env("CORREIO_STAND_STILL", folder.path())
        .stdout(Stdio::null())
        .status()
        .expect("strace runs this test");
    assert!(status.success(), "{status}");
    let trace = std::fs::read_to_string(trace).expect("strace wrote it");
    let (all, at_once) = overlap(&trace);
    println!("{all} writes, {at_once} at once");
    assert!(
        all > 2 * BODY_BYTES / (512 << 10),
        "too few to say anything"
    );
    assert!(
        at_once < ALL_OF_SLED,
        "{at_once} writes were under way at once"
    );
}

/// Returns how many calls there were in a trace, and how many under way at once at most.
fn overlap(trace: &str) -> (usize, usize) {
    let (mut all, mut now, mut most) = (0, 0_usize, 0);
    for line in trace.lines() {
        if line.contains("fdatasync(") {
            all += 1;
            now += 1;
            most = most.max(now);
        }
        if line.contains(" = ") {
            now = now.saturating_sub(1);
        }
    }
    (all, most)
}

/// What strace looks at; alone it is no test.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os("CORREIO_STAND_STILL") else {
        return;
    };
    let mut store = SledStore::open(&Path::new(&folder).join("data")).expect("it opens");
    let mut head = Mark::ZERO;
    for id in 1..=2 {
        let record = record(head);
        head = record.mark(id);
        let totals = |floor| LogRecord { head, floor };
        let put = Change::AppendMail {
            log: 1,
            id,
            record,
            body: vec![7; BODY_BYTES].into(),
        };
        let counters = MailCounters {
            mail: id,
            stream: 0,
        };
        let counted = Change::PutMailCounters(counters);
        let grown = Change::PutLog {
            log: 1,
            record: totals(Mark::ZERO),
        };
        store.commit(&[put, grown, counted]).expect("it commits");
        let trimmed = Change::PutLog {
            log: 1,
            record: totals(head),
        };
        let gone = Change::RemoveMail { log: 1, id };
        store.commit(&[gone, trimmed]).expect("it removes");
    }
    store.close().expect("it closes");
}

fn record(head: Mark) -> MailRecord {
    MailRecord {
        prev: head.id,
        count: head.count + 1,
        bytes: head.bytes + BODY_BYTES as u64,
        state: MailState::Live,
        from: "ana".to_owned(),
        to: vec!["bob".to_owned()],
        subject: "a film".to_owned(),
        content_type: "video/mp4".to_owned(),
        sent_at_ms: 1_700_000_000_000,
        expires_at_ms: None,
        running_s: 60,
        size: BODY_BYTES as u64,
        message: head.id + 1,
        answers: None,
    }
}
