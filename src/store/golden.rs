//! The bytes of every kind of record, as they were first released: they may not change, and must be
//! read for good. `tests/fixtures/store/v7.hex` holds them: kind, key and value a line; `v1.hex` to
//! `v6.hex` are stores of the formats before, which knew fewer kinds and less of a mail.

use std::sync::Arc;

use super::conformance::{body, envelope, one_of_each};
use super::key::{Kind, Tree};
use super::memory::Memory;
use super::*;

const V1: &str = include_str!("../../tests/fixtures/store/v1.hex");
const V2: &str = include_str!("../../tests/fixtures/store/v2.hex");
const V3: &str = include_str!("../../tests/fixtures/store/v3.hex");
const V4: &str = include_str!("../../tests/fixtures/store/v4.hex");
const V5: &str = include_str!("../../tests/fixtures/store/v5.hex");
const V6: &str = include_str!("../../tests/fixtures/store/v6.hex");
const V7: &str = include_str!("../../tests/fixtures/store/v7.hex");

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

/// Every row of it, in order: a small backup.
pub(super) fn rows() -> Vec<(Tree, Vec<u8>, Vec<u8>)> {
    sample().rows()
}

/// Every row of a store of the second format.
pub(super) fn rows_of_v2() -> Vec<(Tree, Vec<u8>, Vec<u8>)> {
    V2.lines().map(row).collect()
}

fn row(line: &str) -> (Tree, Vec<u8>, Vec<u8>) {
    let mut words = line.split(' ').skip(1).map(|hex| hex::decode(hex).unwrap());
    let (key, value) = (words.next().unwrap(), words.next().unwrap());
    (Kind::of(key[0]).unwrap().tree(), key, value)
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
    let named = |kind: &Kind| V7.contains(&format!("{} ", kind.word().replace(' ', "_")));
    let missing: Vec<_> = Kind::ALL.into_iter().filter(|kind| !named(kind)).collect();
    assert_eq!(missing, []);
}

#[test]
fn bytes_have_not_changed() {
    let now = text(&sample().rows());
    assert!(
        now == V7,
        "The bytes of a record changed: raise its version and add a golden file.\n{now}"
    );
    let others: [(&[&str], &[&str]); 2] = [
        (&[V1, V2, V3], &["meta", "mail", "mail", "completion"]),
        (&[V4, V5, V6], &["meta", "completion"]),
    ];
    for (formats, expect) in others {
        for older in formats {
            let lines = older.lines().filter(|line| !V7.contains(line));
            let changed: Vec<_> = lines.filter_map(|line| line.split(' ').next()).collect();
            assert_eq!(
                changed, expect,
                "of which kinds a record of an older format is another"
            );
        }
    }
}

/// Puts the rows of a golden file into an empty store.
fn read_in(golden: &str) -> Memory {
    let mut store = Memory::new();
    for (tree, key, value) in golden.lines().map(row) {
        store.set(tree, &key, Some(value));
    }
    store
}

#[test]
fn golden_bytes_still_decode() {
    let whole = sample().load().unwrap();
    for golden in [V6, V7] {
        assert_eq!(read_in(golden).load().unwrap(), whole);
    }
    let of_fifth_format = Snapshot {
        accounts: Vec::new(),
        limits: Vec::new(),
        grants: Vec::new(),
        audited: None,
        ..whole
    };
    assert_eq!(read_in(V5).load().unwrap(), of_fifth_format);
    let of_fourth_format = Snapshot {
        hidden: Vec::new(),
        sights: Vec::new(),
        next_keys: Vec::new(),
        ..of_fifth_format
    };
    for golden in [V3, V4] {
        assert_eq!(read_in(golden).load().unwrap(), of_fourth_format);
    }
    let of_second_format = Snapshot {
        server_key: None,
        ..of_fourth_format
    };
    assert_eq!(read_in(V2).load().unwrap(), of_second_format);
    let of_first_format = Snapshot {
        invitations: Vec::new(),
        blocks: Vec::new(),
        ..of_second_format
    };
    assert_eq!(read_in(V1).load().unwrap(), of_first_format);
    let page = Query::Page {
        log: 3,
        after: 0,
        upto: 20,
        mails: 9,
        bytes: u64::MAX,
    };
    let answer = sample().reader().read(&page).unwrap();
    for golden in [V4, V5, V6, V7] {
        assert_eq!(read_in(golden).reader().read(&page).unwrap(), answer);
    }
    let Answer::Mails { mut mails, more } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(mails.len(), 2);
    for mail in &mut mails {
        (mail.record.message, mail.record.answers) = (mail.id, None);
    }
    let before = Answer::Mails { mails, more };
    for golden in [V1, V2, V3] {
        assert_eq!(read_in(golden).reader().read(&page).unwrap(), before);
    }
}

#[test]
fn mails_of_the_first_version_expire_go_and_are_verified_like_others() {
    let mut store = read_in(V3);
    let mut of_now = read_in(V4);
    assert_eq!(store.verify(), of_now.verify());
    let expire = Change::ExpireMail { log: 3, id: 10 };
    store.commit(std::slice::from_ref(&expire)).unwrap();
    of_now.commit(&[expire]).unwrap();
    assert_eq!(store.verify(), of_now.verify());
    let kinds = |store: &Memory| -> Vec<u8> {
        let rows = store.rows();
        rows.iter().map(|(_, key, _)| key[0]).collect()
    };
    assert!(!kinds(&store).contains(&(Kind::Expiry as u8)));
    let remove = |id| Change::RemoveMail { log: 3, id };
    store.commit(&[remove(10), remove(20)]).unwrap();
    let left = kinds(&store);
    assert!(!left.contains(&(Kind::Mail as u8)) && !left.contains(&(Kind::Chunk as u8)));
}

#[test]
fn outcomes_of_the_first_version_are_settled_like_others() {
    let mut store = read_in(V6);
    let put = |number| Change::PutCompletion {
        stream: 4,
        number,
        record: CompletionRecord {
            digest: [4; 32],
            outcomes: Vec::new(),
        },
    };
    store.commit(&[put(7), put(8)]).unwrap();
    let numbers = |store: &mut Memory| -> Vec<u64> {
        let kept = store.load().unwrap().completions;
        kept.into_iter().map(|(_, number, _)| number).collect()
    };
    assert_eq!(numbers(&mut store), [6, 7, 8]);
    let stream = store.load().unwrap().streams[0];
    let rows = |store: &Memory| {
        let rows = store.rows();
        let is_one = |key: &[u8]| key[0] == Kind::Completion as u8;
        rows.iter().filter(|(_, key, _)| is_one(key)).count()
    };
    for (settled_below, left, in_rows) in [(7, &[7, 8][..], 1), (8, &[8], 1), (9, &[], 0)] {
        let settled = StreamRecord {
            settled_below,
            ..stream
        };
        store.commit(&[Change::PutStream(settled)]).unwrap();
        assert_eq!(numbers(&mut store), left, "below {settled_below}");
        assert_eq!(rows(&store), in_rows, "below {settled_below}");
        let faults = store.verify().faults.concat();
        assert!(!faults.contains("completion"), "{faults}");
    }
}
