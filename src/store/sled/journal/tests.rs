//! What a start makes of a journal: torn, damaged, of another time, of another store.

use super::super::super::conformance::{body, envelope};
use super::super::super::{Answer, Change, LogRecord, MailCounters, Mark, Query};
use super::super::{SledStore, Store, StoreError, mails_of, tests::filled};
use super::*;

/// Changes that append mail `id` to log 3, whose mails are numbered without gaps.
fn mail(id: u64, size: usize) -> Vec<Change> {
    let record = envelope(id - 1, id, id * size as u64, size);
    let head = record.mark(id);
    vec![
        Change::AppendMail {
            log: 3,
            id,
            record,
            body: body(size),
        },
        Change::PutLog {
            log: 3,
            record: LogRecord {
                head,
                floor: Mark::ZERO,
            },
        },
        Change::PutMailCounters(MailCounters {
            mail: id,
            stream: 2,
        }),
    ]
}

/// A store of 3 mails whose server was killed while sled lacked `more` commits.
fn killed(more: u64) -> tempfile::TempDir {
    let dir = filled(3);
    let mut store = SledStore::open(dir.path()).unwrap();
    store.commit(&mail(4, 100)).unwrap();
    let frames: Vec<Frame> = (5..5 + more)
        .map(|id| store.plan(&mail(id, 100)).unwrap())
        .collect();
    // Without the sum of a store that was closed.
    store.failed = true;
    drop(store);
    let mut journal = open(dir.path());
    for mut frame in frames {
        journal.append(&mut frame).unwrap();
    }
    dir
}

/// Opens a journal behind what is in it.
fn open(data: &Path) -> Journal {
    let mut journal = Journal::open(&data.join("store")).unwrap();
    for (at, file) in journal.files.iter().enumerate() {
        let held = file.read(0).unwrap();
        let lengths = held.frames.iter().map(|(.., frame)| frame.bytes.len());
        let end = ALIGN + lengths.sum::<usize>();
        if let Some((place, ..)) = held.frames.last()
            && place.number > journal.last.number
        {
            (journal.current, journal.offset) = (at, end as u64);
            journal.last = *place;
        }
    }
    journal
}

/// Returns where the frames of the written file begin, and its bytes.
fn frames(data: &Path) -> (std::path::PathBuf, Vec<u8>, Vec<usize>) {
    let journal = open(data);
    let path = data.join("store").join(NAMES[journal.current]);
    let bytes = std::fs::read(&path).unwrap();
    let held = journal.files[journal.current].read(0).unwrap();
    let mut at = ALIGN;
    let begins = held.frames.iter().map(|(.., frame)| {
        let begin = at;
        at += frame.bytes.len();
        begin
    });
    let begins = begins.collect();
    (path, bytes, begins)
}

fn last_mail(data: &Path) -> Result<u64, StoreError> {
    let mut store = SledStore::open(data)?;
    let snapshot = store.load()?;
    store.close()?;
    assert!(SledStore::verify(data)?.is_whole());
    Ok(snapshot.mail_counters.mail)
}

fn damage(data: &Path) -> String {
    match SledStore::open(data) {
        Err(StoreError::Damaged { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn p02_what_was_on_its_way_is_taken_in() {
    let dir = killed(5);
    assert_eq!(last_mail(dir.path()).unwrap(), 9);
    assert_eq!(last_mail(dir.path()).unwrap(), 9, "once more, closed");
}

#[test]
fn p02_a_torn_tail_ends_the_journal_before_it() {
    let dir = killed(3);
    let (path, bytes, begins) = frames(dir.path());
    let last = *begins.last().unwrap();
    for keep in [0, 1, 31, 32, 100, 400] {
        let mut torn = bytes.clone();
        torn[last + keep..].fill(0);
        let copy = copied(dir.path());
        std::fs::write(
            copy.path().join(path.strip_prefix(dir.path()).unwrap()),
            torn,
        )
        .unwrap();
        assert_eq!(last_mail(copy.path()).unwrap(), 6, "{keep} bytes of it");
    }
}

#[test]
fn p02_damage_in_the_middle_is_refused() {
    let dir = killed(3);
    let (path, bytes, begins) = frames(dir.path());
    for at in [0, 9, 17, 21, 29, 40, 200] {
        let mut broken = bytes.clone();
        broken[begins[begins.len() - 3] + at] ^= 1;
        std::fs::write(&path, broken).unwrap();
        let what = damage(dir.path());
        assert!(
            what.contains("is broken in its journal"),
            "byte {at}: {what}"
        );
    }
    let mut store = SledStore::open_accepting_loss(dir.path()).unwrap();
    assert!(store.load().unwrap().mail_counters.mail > 7);
    // What lay behind the damage is not found behind the next commits either.
    store.failed = true;
    drop(store);
    SledStore::open(dir.path()).unwrap();
}

#[test]
fn p02_a_journal_beside_an_older_store_is_refused() {
    let (dir, older) = (killed(2), filled(3));
    let (path, bytes, begins) = frames(dir.path());
    // As if the first of them had been in a file that is not there.
    let mut later = bytes.clone();
    later.copy_within(begins[begins.len() - 1].., ALIGN);
    std::fs::write(&path, later).unwrap();
    let what = damage(dir.path());
    assert!(what.contains("its journal goes on with"), "{what}");
    for name in NAMES {
        let to = older.path().join("store").join(name);
        std::fs::copy(dir.path().join("store").join(name), to).unwrap();
    }
    let mut store = SledStore::open(older.path()).unwrap();
    let snapshot = store.load().unwrap();
    assert_eq!(snapshot.mail_counters.mail, 3, "a closed store has all");
    store.commit(&mail(4, 100)).unwrap();
    store.failed = true;
    drop(store);
    assert_eq!(last_mail(older.path()).unwrap(), 4, "and takes more");
}

#[test]
fn p02_another_stores_journal_is_refused() {
    let (dir, other) = (killed(1), killed(2));
    let mut store = SledStore::open(other.path()).unwrap();
    store.commit(&mail(7, 50)).unwrap();
    store.failed = true;
    drop(store);
    let numbers = |data: &Path| open(data).last.number;
    assert!(numbers(other.path()) > numbers(dir.path()));
    for name in NAMES {
        let to = dir.path().join("store").join(name);
        std::fs::copy(other.path().join("store").join(name), to).unwrap();
    }
    damage(dir.path());
}

#[test]
fn p02_a_missing_journal_is_missed_only_after_a_kill() {
    let dir = killed(1);
    std::fs::remove_file(dir.path().join("store").join(NAMES[0])).unwrap();
    assert!(damage(dir.path()).contains("missing"));
    let closed = filled(3);
    for name in NAMES {
        std::fs::remove_file(closed.path().join("store").join(name)).unwrap();
    }
    assert_eq!(last_mail(closed.path()).unwrap(), 3);
}

/// Many times what both files hold, killed, and all of it is there.
#[test]
fn p02_the_files_are_written_in_turn() {
    const SIZE: usize = 60_000;
    let dir = filled(0);
    let mut store = SledStore::open(dir.path()).unwrap();
    for id in 1..=400 {
        store.commit(&mail(id, SIZE)).unwrap();
    }
    for name in NAMES {
        let file = std::fs::metadata(dir.path().join("store").join(name)).unwrap();
        assert!(file.len() <= FILE_BYTES + GROWTH_BYTES, "{name} is bounded");
    }
    store.failed = true;
    drop(store);
    assert_eq!(last_mail(dir.path()).unwrap(), 400);
}

/// A large commit goes past the journal, which goes on behind it.
#[test]
fn p02_what_is_larger_than_a_frame_is_on_disk_too() {
    let dir = filled(0);
    let mut store = SledStore::open(dir.path()).unwrap();
    for id in 1..=6 {
        let size = if id % 2 == 0 { 2 * FRAME_BYTES_MAX } else { 10 };
        let changes: Vec<Change> = mail(id, size).into_iter().skip(1).collect();
        let append = Change::AppendMail {
            log: 9,
            id,
            record: envelope(0, 1, size as u64, size),
            body: body(size),
        };
        store.commit(&[&changes[..], &[append]].concat()).unwrap();
    }
    store.failed = true;
    drop(store);
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.trees.counters().unwrap().1.mail, 6);
    store.close().unwrap();
}

#[test]
fn p01_a_reader_finds_what_was_committed() {
    let dir = filled(0);
    let mut store = SledStore::open(dir.path()).unwrap();
    let reader = store.reader();
    for id in 1..=50 {
        let changes = mail(id, 10);
        assert_eq!(mails_of(&changes), [(3, id)]);
        store.commit(&changes).unwrap();
        let query = Query::MarkAt { log: 3, id };
        match reader.read(&query).unwrap() {
            Answer::Mark(mark) => assert_eq!(mark.id, id),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_frame_in_a_mail_is_no_frame() {
    let salt = 7;
    let mut forged = Frame::new();
    forged.put(Tree::Mail, b"key", b"value");
    forged.seal(salt + 1, Place { number: 90, sum: 1 });
    let mut bytes = vec![0; 4 * ALIGN];
    bytes[2 * ALIGN..2 * ALIGN + forged.bytes.len()].copy_from_slice(&forged.bytes);
    assert_eq!(frames_of(&bytes, salt, 0).fault, None);
    assert_eq!(frames_of(&bytes, salt + 1, 0).fault, Some(Fault::Broken(1)));
}

fn copied(data: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("store")).unwrap();
    let mut names = vec!["seal".to_owned()];
    for entry in std::fs::read_dir(data.join("store")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        names.push(format!("store/{name}"));
    }
    for name in names.iter().filter(|name| data.join(name).is_file()) {
        std::fs::copy(data.join(name), copy.path().join(name)).unwrap();
    }
    copy
}
