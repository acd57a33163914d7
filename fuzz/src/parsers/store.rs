//! What is found in a data folder.

use std::sync::LazyLock;

use correio::fuzzing::store::{KINDS, Row, keys, numbers, record as read, sealed, store, verify};
use correio::fuzzing::{Found, found_in};
use correio::store::{Answer, Query, Store, StoreError};

use super::cut;

/// The byte that stands for completions in an envelope.
const COMPLETION: u8 = 0x15;

/// Kind, length of the key, key, and a payload: sealed here, or taken as a whole value.
pub(super) fn record(bytes: &[u8]) {
    let [kind, len, rest @ ..] = bytes else {
        return;
    };
    let (kind, raw) = (usize::from(*kind & 0x7f), kind & 0x80 != 0);
    let (key, payload) = rest.split_at(rest.len().min(usize::from(*len)));
    let value = if raw {
        payload.to_vec()
    } else {
        sealed(kind, key, payload)
    };
    match read(kind, key, &value) {
        // A code of a newer server becomes "unknown"; everything else comes back byte for byte.
        Ok(again) if sealed(kind, &[], &[])[1] == COMPLETION => {
            assert_eq!(read(kind, key, &again).as_ref(), Ok(&again));
        }
        Ok(again) => assert_eq!(again, value, "another value for the same record"),
        Err(why) => assert!(!why.is_empty()),
    }
    // Under another key or as another kind it is none, whatever is in it.
    if !raw {
        assert!(read(kind, &[key, b"x"].concat(), &value).is_err());
        assert!(read(kind + 1, key, &value).is_err());
    }
    assert_keys(key);
}

fn assert_keys(key: &[u8]) {
    let (one, two, chunk) = numbers(key);
    assert_eq!(one.is_some(), key.len() == 9);
    assert_eq!(two.is_some(), key.len() == 17);
    assert_eq!(chunk.is_some(), key.len() == 21);
    let (log, id, index) = chunk.unwrap_or_default();
    let (mail, logs, chunks) = keys(log, id, index);
    assert_eq!(numbers(&mail).1, Some([log, id]));
    assert_eq!(numbers(&logs).0, Some([log]));
    assert_eq!(numbers(&chunks).2, Some((log, id, index)));
}

/// One record of each kind, as first released: kind, key and value a line.
const GOLDEN: &str = include_str!("../../../tests/fixtures/store/v7.hex");

/// A store as it was released, changed row by row. Each change ends with a newline: its place in the
/// golden rows, an order, and bytes. Everything can be asked of what comes out, and what is wrong is said.
pub(super) fn stored(bytes: &[u8]) {
    let mut rows = GOLDEN_ROWS.clone();
    let mut rest = bytes;
    while !rest.is_empty() && rows.len() < 64 {
        let (change, after) = cut(rest, b'\n');
        rest = after;
        if let [place, order, bytes @ ..] = change {
            apply(&mut rows, usize::from(*place), *order, bytes);
        }
    }
    let borrowed: Vec<Row<'_>> = rows
        .iter()
        .map(|(kind, key, value)| (*kind, key.as_slice(), value.as_slice()))
        .collect();
    let mut store = store(&borrowed);
    match verify(&store) {
        Ok(report) => {
            assert_eq!(report.is_whole(), report.faults.is_empty());
            assert!(report.faults.len() <= 100);
        }
        Err(error) => assert_told(&error),
    }
    if let Err(error) = store.load() {
        assert_told(&error);
    }
    ask(&store);
}

type OwnRow = (usize, Vec<u8>, Vec<u8>);

/// Those rows, read once.
static GOLDEN_ROWS: LazyLock<Vec<OwnRow>> = LazyLock::new(|| {
    let bytes = |text: &str| hex::decode(text).expect("the fixture is hex");
    let row = |line: &str| {
        let mut words = line.split(' ').skip(1).map(bytes);
        let (key, value) = (words.next()?, words.next()?);
        let kind = (0..KINDS).find(|kind| sealed(*kind, &[], &[])[1] == key[0])?;
        Some((kind, key, value))
    };
    GOLDEN.lines().filter_map(row).collect()
});

/// Orders: another value with a right checksum, any value, another key, one byte changed under a right
/// checksum, or gone.
fn apply(rows: &mut Vec<OwnRow>, place: usize, order: u8, bytes: &[u8]) {
    let at = place % rows.len().max(1);
    let Some((kind, key, value)) = rows.get(at).cloned() else {
        return;
    };
    let payload = value.get(12..).unwrap_or_default();
    match order {
        b'v' => rows[at].2 = sealed(kind, &key, bytes),
        b'r' => rows[at].2 = bytes.to_vec(),
        b'k' => rows.push((kind, bytes.to_vec(), sealed(kind, bytes, payload))),
        b'n' => {
            let key = [key.get(..1).unwrap_or_default(), bytes].concat();
            rows.push((kind, key.clone(), sealed(kind, &key, payload)));
        }
        b'b' => {
            let mut payload = payload.to_vec();
            for pair in bytes.chunks_exact(2) {
                let len = payload.len().max(1);
                if let Some(byte) = payload.get_mut(usize::from(pair[0]) % len) {
                    *byte = pair[1];
                }
            }
            rows[at].2 = sealed(kind, &key, &payload);
        }
        b'-' => drop(rows.remove(at)),
        _ => {}
    }
}

fn ask(store: &impl Store) {
    let reader = store.reader();
    let (log, after, upto) = (3, 0, u64::MAX);
    for query in [
        Query::Page {
            log,
            after,
            upto,
            mails: 9,
            bytes: 1 << 20,
        },
        Query::Page {
            log,
            after,
            upto,
            mails: 1,
            bytes: 1,
        },
        Query::Newest {
            log,
            before: u64::MAX,
            upto,
            mails: 2,
            bytes: 5_000,
        },
        Query::Body {
            log,
            id: 20,
            offset: 3_990,
            len: 100,
        },
        Query::Body {
            log,
            id: 10,
            offset: 1,
            len: 2,
        },
        Query::MarkAt { log, id: 15 },
        Query::Oldest {
            log,
            after,
            mails: 9,
        },
        Query::Expired {
            at_ms: i64::MAX,
            mails: 9,
        },
        Query::Audit { after, rows: 9 },
    ] {
        match reader.read(&query) {
            Ok(Answer::Mails { mails, .. }) => {
                assert!(mails.len() <= 9 && mails.is_sorted_by_key(|mail| mail.id));
            }
            Ok(_) => {}
            Err(error) => assert_told(&error),
        }
    }
}

/// Damage and a newer version are told apart, in a sentence that names the record.
fn assert_told(error: &StoreError) {
    assert!(
        matches!(error, StoreError::Damaged { .. } | StoreError::Newer { .. }),
        "{error:?}"
    );
    assert!(error.to_string().len() > 20);
}

/// The file that says how far the store reached: two slots, 4,096 bytes apart. A first byte of 1 makes
/// short inputs reach the second one.
pub(super) fn seal(bytes: &[u8]) {
    let spread;
    let bytes = match bytes {
        [1, rest @ ..] if rest.len() >= 32 => {
            let (first, second) = rest.split_at(32);
            spread = [first, &[0; 4_096 - 32], second].concat();
            &spread
        }
        bytes => bytes,
    };
    let found = found_in(bytes);
    assert!(found == Found::Damaged || bytes.len() >= 32);
    // One changed bit never makes another number of it.
    if let (Found::Reach(reach), Some(last)) = (found, bytes.get(31)) {
        let mut other = bytes.to_vec();
        other[31] = last ^ 1;
        if let Found::Reach(told) = found_in(&other) {
            assert!(bytes.len() > 4_096 || told == reach);
        }
    }
}
