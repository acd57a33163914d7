//! What a commit and a start cost, on this machine's disk.
//!
//! `cargo bench --bench store [-- DIRECTORY [MAILS]]` fills a new store with mails of 512 bytes in commits
//! of 1, 16 and 256, then with MAILS of them (1,000,000), opens it again and reads one page. A store that is there is
//! only opened. It prints; it judges nothing.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and prints"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use correio::protocol::MailId;
use correio::store::sled::SledStore;
use correio::store::{
    Answer, Change, CompletionRecord, LogRecord, MailCounters, MailRecord, MailState, Mark, Query,
    RecordedOutcome, Store, StoreError, StreamRecord,
};

const BODY_BYTES: usize = 512;

fn main() -> Result<(), StoreError> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let folder = tempfile::tempdir().expect("a folder for the store");
    let data = arguments.first().map_or(folder.path(), Path::new);
    let mails = arguments.get(1).and_then(|count| count.parse().ok());
    let mut head = Mark::ZERO;
    let mut store = SledStore::open(data)?;
    if let Some((_, totals)) = store.load()?.logs.first() {
        println!("there is a store already: it is only opened");
        let head = totals.head;
        drop(store);
        return open_again(data, head);
    }
    for batch in [1, 16, 256] {
        let (commits, started) = (2_000 / batch.min(10), Instant::now());
        for _ in 0..commits {
            store.commit(&changes(&mut head, batch))?;
        }
        let spent = started.elapsed().as_secs_f64();
        let (commits, count) = (f64::from(commits), f64::from(commits * batch));
        println!(
            "commits of {batch:3}: {:8.0} mails/s, {:6.3} ms a commit",
            count / spent,
            spent * 1000.0 / commits
        );
    }
    let started = Instant::now();
    while head.count < mails.unwrap_or(1_000_000) {
        store.commit(&changes(&mut head, 1000))?;
    }
    println!(
        "filled to {} mails in {:.1?}",
        head.count,
        started.elapsed()
    );
    println!("resident {} MiB while filling", resident_mib());
    store.close()?;
    open_again(data, head)
}

/// Opens the store again. Its files are in the page cache by now.
fn open_again(data: &Path, head: Mark) -> Result<(), StoreError> {
    let started = Instant::now();
    let mut store = SledStore::open(data)?;
    let snapshot = store.load()?;
    println!("opened and loaded in {:.1?}", started.elapsed());
    assert_eq!(snapshot.logs[0].1.head, head);
    let started = Instant::now();
    let page = store.reader().read(&Query::Page {
        log: 1,
        after: head.id / 2,
        upto: head.id,
        mails: 500,
        bytes: u64::MAX,
    })?;
    let Answer::Mails { mails, .. } = page else {
        return Ok(());
    };
    println!("read {} mails in {:.1?}", mails.len(), started.elapsed());
    println!("resident {} MiB", resident_mib());
    Ok(())
}

/// What the broker commits for `count` sends of one recipient each.
fn changes(head: &mut Mark, count: u32) -> Vec<Change> {
    let body: Arc<[u8]> = vec![b'x'; BODY_BYTES].into();
    let mut changes = Vec::new();
    for _ in 0..count {
        let id = head.id + 1;
        let record = record(*head);
        *head = record.mark(id);
        changes.push(Change::AppendMail {
            log: 1,
            id,
            record,
            body: Arc::clone(&body),
        });
        changes.push(Change::PutLog {
            log: 1,
            record: LogRecord {
                head: *head,
                floor: Mark::ZERO,
            },
        });
        changes.push(Change::PutMailCounters(MailCounters {
            mail: id,
            stream: 1,
        }));
        changes.push(outcome(id));
        changes.push(Change::PutStream(StreamRecord {
            number: 1,
            device: 1,
            settled_below: id.saturating_sub(100),
            used_running_s: 60,
        }));
    }
    changes
}

fn record(head: Mark) -> MailRecord {
    MailRecord {
        prev: head.id,
        count: head.count + 1,
        bytes: head.bytes + BODY_BYTES as u64,
        state: MailState::Live,
        from: "ana".to_owned(),
        to: vec!["bob".to_owned()],
        subject: "a subject of usual length".to_owned(),
        content_type: "text/plain".to_owned(),
        sent_at_ms: 1_700_000_000_000,
        expires_at_ms: None,
        running_s: 60,
        size: BODY_BYTES as u64,
        message: head.id + 1,
        answers: None,
    }
}

fn outcome(id: MailId) -> Change {
    Change::PutCompletion {
        stream: 1,
        number: id,
        record: CompletionRecord {
            digest: [7; 32],
            outcomes: vec![RecordedOutcome::Sent {
                address: "bob".to_owned(),
                id,
            }],
        },
    }
}

/// Returns what `/proc` says this process holds in memory.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
