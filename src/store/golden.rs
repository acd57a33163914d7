//! The bytes of every kind of record, as they were first released: they may not change, and must be
//! read for good. `tests/fixtures/store/v1.hex` holds them: kind, key and value a line.

use std::sync::Arc;

use super::conformance::{body, envelope, one_of_each};
use super::key::{Kind, Tree};
use super::memory::Memory;
use super::*;

const V1: &str = include_str!("../../tests/fixtures/store/v1.hex");

/// A store with one of each kind: a mail with an inline body that expires, and one in chunks.
fn sample() -> Memory {
    let mut store = Memory::new();
    let (mut changes, _) = one_of_each();
    let short = MailRecord {
        expires_at_ms: Some(1_800_000_000_456),
        ..envelope(0, 1, 4, 4)
    };
    changes.push(append(10, short));
    changes.push(append(20, envelope(10, 2, 4104, 4100)));
    store.commit(&changes).unwrap();
    store
}

fn append(id: MailId, record: MailRecord) -> Change {
    let body: Arc<[u8]> = body(usize::try_from(record.size).unwrap());
    Change::AppendMail {
        log: 3,
        id,
        record,
        body,
    }
}

fn text(rows: &[(Tree, Vec<u8>, Vec<u8>)]) -> String {
    let line = |(_, key, value): &(Tree, Vec<u8>, Vec<u8>)| {
        let kind = Kind::of(key[0]).unwrap().word().replace(' ', "_");
        format!("{kind} {} {}\n", hex::encode(key), hex::encode(value))
    };
    rows.iter().map(line).collect()
}

#[test]
fn every_kind_has_golden_bytes() {
    let named = |kind: &Kind| V1.contains(&format!("{} ", kind.word().replace(' ', "_")));
    let missing: Vec<_> = Kind::ALL.into_iter().filter(|kind| !named(kind)).collect();
    assert_eq!(missing, []);
}

#[test]
fn bytes_have_not_changed() {
    let now = text(&sample().rows());
    assert!(
        now == V1,
        "The bytes of a record changed: raise its version and add a golden file.\n{now}"
    );
}

#[test]
fn golden_bytes_still_decode() {
    let mut store = Memory::new();
    for line in V1.lines() {
        let mut words = line.split(' ').skip(1).map(|hex| hex::decode(hex).unwrap());
        let (key, value) = (words.next().unwrap(), words.next().unwrap());
        let tree = Kind::of(key[0]).unwrap().tree();
        store.set(tree, &key, Some(value));
    }
    let mut sample = sample();
    assert_eq!(store.load().unwrap(), sample.load().unwrap());
    let page = Query::Page {
        log: 3,
        after: 0,
        upto: 20,
        mails: 9,
        bytes: u64::MAX,
    };
    let answer = store.reader().read(&page).unwrap();
    assert_eq!(answer, sample.reader().read(&page).unwrap());
    assert!(matches!(answer, Answer::Mails { mails, .. } if mails.len() == 2));
}
