//! Loss, damage and other hands on the files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::conformance::{body, envelope};
use super::super::key::{self, Tree};
use super::*;
use crate::limits::ID_JUMP;
use crate::store::{DirectoryCounters, LogRecord, MailCounters, Mark};

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
pub(super) fn filled(count: u64) -> tempfile::TempDir {
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
    // Twice: the first refusal may not bring the seal down.
    for _ in 0..2 {
        match SledStore::open(long.path()) {
            Err(StoreError::Lost {
                found, expected, ..
            }) => assert_eq!((found, expected), (4, 9)),
            other => panic!("{other:?}"),
        }
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
    assert!(after.mail_counters.mail >= 9 + ID_JUMP);
    assert!(after.directory_counters.epoch >= 9 + ID_JUMP);
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

/// Makes a store look as one that a server of the first format left (or the second: it holds nothing else).
pub(super) fn make_older(dir: &Path) -> Meta {
    let mut store = SledStore::open(dir).unwrap();
    let meta = Meta {
        format: 1,
        ..store.load().unwrap().meta
    };
    store.commit(&[Change::PutMeta(meta)]).unwrap();
    store.close().unwrap();
    meta
}

fn format_on_disk(dir: &Path) -> u32 {
    let store = SledStore::open(dir).unwrap();
    store.trees.meta().unwrap().unwrap().format
}

#[test]
fn an_older_format_opens_and_is_raised_by_the_first_commit() {
    let dir = filled(3);
    let meta = make_older(dir.path());
    assert!(SledStore::verify(dir.path()).unwrap().is_whole());
    assert_eq!(format_on_disk(dir.path()), 1, "looking changes nothing");
    let mut store = SledStore::open(dir.path()).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!(loaded.meta.incarnation, meta.incarnation);
    assert_eq!(loaded.mail_counters.mail, 3);
    let block = crate::store::BlockRecord {
        user: 1,
        blocked: 2,
    };
    store.commit(&[Change::PutBlock(block)]).unwrap();
    store.close().unwrap();
    assert_eq!(format_on_disk(dir.path()), FORMAT);
    let after = SledStore::open(dir.path()).unwrap().load().unwrap();
    assert_eq!(after.blocks, [block]);
    assert_eq!(after.meta.incarnation, meta.incarnation);
}

/// Writes the mails of log 3 as a server of the third format did: without their last two fields.
fn make_mails_older(dir: &Path, ids: std::ops::RangeInclusive<u64>) {
    let store = SledStore::open(dir).unwrap();
    let tree = &store.trees.each()[Tree::Mail as usize];
    for id in ids {
        let key = key::mail(3, id);
        let value = tree.get(key).unwrap().unwrap();
        let older = crate::store::codec::tests::mail_of_before(&key, &value);
        tree.insert(key, older).unwrap();
    }
    store.close().unwrap();
}

#[test]
fn mails_of_an_older_format_are_read_beside_those_of_this_one() {
    let dir = filled(3);
    let mut store = SledStore::open(dir.path()).unwrap();
    let query = Query::Page {
        log: 3,
        after: 0,
        upto: 9,
        mails: 9,
        bytes: u64::MAX,
    };
    let Answer::Mails { mails: before, .. } = store.reader().read(&query).unwrap() else {
        panic!("no page");
    };
    store.close().unwrap();
    make_mails_older(dir.path(), 1..=2);
    make_older(dir.path());
    assert!(SledStore::verify(dir.path()).unwrap().is_whole());
    store = SledStore::open(dir.path()).unwrap();
    let Answer::Mails { mails, .. } = store.reader().read(&query).unwrap() else {
        panic!("no page");
    };
    assert_eq!(mails.len(), 3);
    assert_eq!(mails[2], before[2]);
    for (now, then) in mails.iter().zip(&before).take(2) {
        assert_eq!((now.record.message, now.record.answers), (now.id, None));
        assert_eq!(
            (now.record.mark(now.id), &now.body),
            (then.record.mark(then.id), &then.body)
        );
    }
}

#[test]
fn a_store_of_the_second_format_gets_to_know_whose_it_is() {
    let dir = filled(3);
    make_older(dir.path());
    let mut store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.server_key().unwrap(), None);
    store.commit(&[Change::PutServerKey([4; 32])]).unwrap();
    store.close().unwrap();
    assert_eq!(format_on_disk(dir.path()), FORMAT);
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.server_key().unwrap(), Some([4; 32]));
    drop(store);
    let report = SledStore::verify(dir.path()).unwrap();
    assert_eq!(
        (report.server_key, report.is_whole()),
        (Some([4; 32]), true)
    );
}

#[test]
fn a_record_with_a_wrong_checksum_is_named() {
    let dir = filled(3);
    let store = SledStore::open(dir.path()).unwrap();
    let key = key::mail(3, 2);
    let tree = &store.trees.each()[Tree::Mail as usize];
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
    let tree = &store.trees.each()[Tree::Mail as usize];
    tree.remove(key::mail(3, 3)).unwrap();
    assert!(matches!(store.load(), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_counter_below_a_number_in_use_is_damage() {
    let dir = filled(3);
    let mut store = SledStore::open(dir.path()).unwrap();
    let counters = MailCounters { mail: 2, stream: 2 };
    store.commit(&[Change::PutMailCounters(counters)]).unwrap();
    match store.load() {
        Err(StoreError::Damaged { what, .. }) => assert!(what.contains("mail number"), "{what}"),
        other => panic!("{other:?}"),
    }
    // The seal never goes back, so the next start says it too.
    store.close().unwrap();
    assert!(matches!(
        SledStore::open(dir.path()),
        Err(StoreError::Lost { .. })
    ));
}

#[test]
fn a_missing_identity_is_damage() {
    let dir = filled(3);
    let store = SledStore::open(dir.path()).unwrap();
    let tree = &store.trees.each()[Tree::Directory as usize];
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
    let sound = std::fs::read(dir.path().join("store/db")).unwrap();
    let whole = SledStore::verify(dir.path()).unwrap();
    assert_eq!(verify_with(dir.path(), &sound).unwrap(), whole);
    for at in (7..sound.len()).step_by(sound.len() / 40) {
        let mut broken = sound.clone();
        broken[at] ^= 4;
        if let Ok(report) = verify_with(dir.path(), &broken)
            && report.is_whole()
        {
            assert_eq!(report, whole, "byte {at}");
        }
    }
}

/// Verifies a copy of a data directory with another file in sled's place. A directory of its own,
/// because sled may keep hold of a file that it gave up on.
fn verify_with(dir: &Path, db: &[u8]) -> Result<Report, StoreError> {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("store")).unwrap();
    for file in ["seal", "store/conf"] {
        std::fs::copy(dir.join(file), copy.path().join(file)).unwrap();
    }
    std::fs::write(copy.path().join("store/db"), db).unwrap();
    SledStore::verify(copy.path())
}

/// A reader pages through a log while it grows and is trimmed. Every mail up to the last synced id
/// comes once, in order, and none is taken for damaged because it went meanwhile.
#[test]
fn p03_a_reader_beside_the_commits_misses_nothing() {
    const MAILS: u64 = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let mut store = SledStore::open(dir.path()).unwrap();
    let reader = store.reader();
    let synced = Arc::new(AtomicU64::new(0));
    let read = Arc::new(AtomicU64::new(0));
    let (synced_here, read_here) = (Arc::clone(&synced), Arc::clone(&read));
    let writing = std::thread::spawn(move || {
        let mut mark = Mark::ZERO;
        let mut trimmed = 0;
        while mark.id < MAILS {
            let mut changes = Vec::new();
            for _ in 0..7 {
                let size = if mark.id.is_multiple_of(5) { 9000 } else { 300 };
                let record = envelope(mark.id, mark.count + 1, mark.bytes + size as u64, size);
                mark = record.mark(mark.id + 1);
                changes.push(Change::AppendMail {
                    log: 3,
                    id: mark.id,
                    record,
                    body: body(size),
                });
            }
            while trimmed + 20 < read_here.load(Ordering::SeqCst) {
                trimmed += 1;
                changes.push(Change::RemoveMail {
                    log: 3,
                    id: trimmed,
                });
            }
            store.commit(&changes).unwrap();
            synced_here.store(mark.id, Ordering::SeqCst);
        }
        store
    });
    let mut last = 0;
    while last < MAILS {
        let upto = synced.load(Ordering::SeqCst);
        let query = Query::Page {
            log: 3,
            after: last.saturating_sub(30),
            upto,
            mails: u32::MAX,
            bytes: u64::MAX,
        };
        let Answer::Mails { mails, .. } = reader.read(&query).unwrap() else {
            panic!("not mails");
        };
        let seen = last;
        for mail in mails.iter().filter(|mail| mail.id > seen) {
            assert_eq!((mail.id, mail.record.prev), (last + 1, last));
            let size = if last.is_multiple_of(5) { 9000 } else { 300 };
            assert_eq!(mail.body.as_deref(), Some(&*body(size)));
            last = mail.id;
        }
        assert_eq!(last, upto.max(last), "the page ended too early");
        read.store(last, Ordering::SeqCst);
    }
    writing.join().unwrap().close().unwrap();
}
