//! Outcomes of sends as rows: those of one commit and stream lie together, under the last number that a row holds.
//!
//! A row for each send would be written once and removed once, and sled copies a leaf for every row that changes
//! (`docs/performance.md`, "Where the time goes"). A row goes when all its numbers are settled; until then its settled
//! ones lie there unread.

use std::collections::BTreeMap;

use super::codec::{self, CodecError, OUTCOMES_BYTES_MAX};
use super::key::{self, Kind};
use super::kv::{Kv, Sink};
use super::{CompletionRecord, StoreError};

/// What a commit says of each stream's outcomes.
#[derive(Default)]
pub(super) struct Outcomes<'a> {
    streams: BTreeMap<u64, OfStream<'a>>,
}

#[derive(Default)]
struct OfStream<'a> {
    /// The last number whose outcome is forgotten.
    settled: Option<u64>,
    kept: BTreeMap<u64, &'a CompletionRecord>,
}

impl<'a> Outcomes<'a> {
    /// Notes an outcome.
    pub(super) fn put(&mut self, stream: u64, number: u64, record: &'a CompletionRecord) {
        let of = self.streams.entry(stream).or_default();
        of.kept.insert(number, record);
    }

    /// Forgets a stream's outcomes below a number.
    pub(super) fn settle(&mut self, stream: u64, below: u64) {
        if let Some(last) = below.checked_sub(1) {
            self.streams.entry(stream).or_default().forget(last);
        }
    }

    /// Forgets all of a stream's outcomes.
    pub(super) fn forget(&mut self, stream: u64) {
        self.streams.entry(stream).or_default().forget(u64::MAX);
    }

    /// Removes the rows of which all is settled, and writes what is kept.
    pub(super) fn write<K: Kv, S: Sink>(
        self,
        kv: &K,
        sink: &mut S,
        scratch: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let tree = Kind::Completion.tree();
        for (stream, of) in self.streams {
            if let Some(last) = of.settled {
                let (low, high) = (key::completion(stream, 0), key::completion(stream, last));
                for row in kv.range(tree, &low, &high) {
                    sink.remove(tree, row?.0.as_ref());
                }
            }
            for (last, row) in rows(of.kept)? {
                let key = key::completion(stream, last);
                codec::encode(Kind::Completion, &key, &row, scratch).map_err(refused)?;
                sink.put(tree, &key, scratch);
            }
        }
        Ok(())
    }
}

impl OfStream<'_> {
    fn forget(&mut self, last: u64) {
        self.settled = self.settled.max(Some(last));
        self.kept.retain(|number, _| *number > last);
    }
}

type Row<'a> = Vec<(u64, &'a CompletionRecord)>;

/// Puts outcomes into as few rows as hold them, each with its last number.
fn rows(kept: BTreeMap<u64, &CompletionRecord>) -> Result<Vec<(u64, Row<'_>)>, StoreError> {
    let mut rows: Vec<(u64, Row<'_>)> = Vec::new();
    let mut room = 0;
    for (number, record) in kept {
        let bytes = codec::outcome_bytes(record).map_err(refused)?;
        match rows.last_mut() {
            Some((last, row)) if bytes <= room => {
                *last = number;
                row.push((number, record));
                room -= bytes;
            }
            _ => {
                rows.push((number, vec![(number, record)]));
                room = OUTCOMES_BYTES_MAX.saturating_sub(bytes);
            }
        }
    }
    Ok(rows)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refused(error: CodecError) -> StoreError {
    StoreError::Engine(format!("a completion record cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;
    use crate::store::sled::SledStore;
    use crate::store::{Change, MailCounters, RecordedOutcome, Store, StreamRecord};

    fn record(number: u64, recipients: usize) -> CompletionRecord {
        let sent = |id| RecordedOutcome::Sent {
            address: "ana".to_owned(),
            id,
        };
        CompletionRecord {
            digest: [u8::try_from(number % 256).unwrap(); 32],
            outcomes: vec![sent(number); recipients],
        }
    }

    fn put(stream: u64, number: u64) -> Change {
        Change::PutCompletion {
            stream,
            number,
            record: record(number, 1),
        }
    }

    fn mark(stream: u64, settled_below: u64) -> Change {
        Change::PutStream(StreamRecord {
            number: stream,
            device: 1,
            settled_below,
            used_running_s: 0,
        })
    }

    fn kept(store: &mut dyn Store, of: u64) -> Vec<u64> {
        let all = store.load().unwrap().completions;
        let of = all.into_iter().filter(|(stream, ..)| *stream == of);
        of.inspect(|(_, number, kept)| assert_eq!(*kept, record(*number, 1)))
            .map(|(_, number, _)| number)
            .collect()
    }

    fn settled_step_by_step(store: &mut dyn Store) {
        let counters = MailCounters { mail: 0, stream: 4 };
        let mut changes = vec![Change::PutMailCounters(counters), mark(3, 1), mark(4, 1)];
        // As they come: two streams by turns, one of them backwards.
        for number in 1..=200 {
            changes.extend([put(3, number), put(4, 201 - number)]);
        }
        store.commit(&changes).unwrap();
        let all: Vec<u64> = (1..=200).collect();
        assert_eq!(kept(store, 3), all);
        assert_eq!(kept(store, 4), all);
        for below in [2, 30, 31, 150, 200, 201] {
            store.commit(&[mark(3, below)]).unwrap();
            let left: Vec<u64> = (below..=200).collect();
            assert_eq!(kept(store, 3), left);
        }
        assert_eq!(kept(store, 4), all, "the other stream is untouched");
        // What is settled in the commit that brings it is never there.
        store
            .commit(&[put(3, 201), put(3, 202), mark(3, 202), put(3, 203)])
            .unwrap();
        assert_eq!(kept(store, 3), [202, 203]);
        store
            .commit(&[put(4, 300), Change::RemoveStream(4)])
            .unwrap();
        assert_eq!(kept(store, 4), [0; 0]);
    }

    #[test]
    fn p03_an_outcome_is_kept_until_it_is_settled() {
        settled_step_by_step(&mut Memory::new());
        let dir = tempfile::tempdir().unwrap();
        let mut store = SledStore::open(dir.path()).unwrap();
        settled_step_by_step(&mut store);
        store.close().unwrap();
        let mut store = SledStore::open(dir.path()).unwrap();
        assert_eq!(kept(&mut store, 3), [202, 203]);
    }

    fn rows_of(store: &Memory) -> usize {
        let is_one = |key: &[u8]| key.first() == Some(&(Kind::Completion as u8));
        let rows = store.rows();
        rows.iter().filter(|(_, key, _)| is_one(key)).count()
    }

    #[test]
    fn p08_rows_of_which_all_is_settled_go() {
        let mut store = Memory::new();
        let all: Vec<Change> = (1..=200).map(|number| put(3, number)).collect();
        store.commit(&all).unwrap();
        let many = rows_of(&store);
        assert!((2..=5).contains(&many), "{many}");
        store.commit(&[mark(3, 200)]).unwrap();
        assert_eq!(rows_of(&store), 1, "that of the last");
        store.commit(&[mark(3, 201)]).unwrap();
        assert_eq!(rows_of(&store), 0);
        store.commit(&all[..1]).unwrap();
        store.commit(&[Change::RemoveStream(3)]).unwrap();
        assert_eq!(rows_of(&store), 0);
    }

    #[test]
    fn p08_no_row_is_larger_than_a_value() {
        let mut store = Memory::new();
        let large = |number| Change::PutCompletion {
            stream: 3,
            number,
            record: record(number, crate::limits::RECIPIENTS_MAX),
        };
        let all: Vec<Change> = (1..=50).map(large).collect();
        store.commit(&all).unwrap();
        assert!(
            store
                .rows()
                .iter()
                .all(|(_, _, value)| value.len() <= crate::limits::VALUE_BYTES_MAX)
        );
        assert_eq!(store.load().unwrap().completions.len(), 50);
    }

    #[test]
    fn numbers_out_of_order_are_damage() {
        let key = key::completion(3, 7);
        for numbers in [&[8, 7][..], &[6], &[]] {
            let one = record(1, 1);
            let row: Row<'_> = numbers.iter().map(|number| (*number, &one)).collect();
            let mut value = Vec::new();
            codec::encode(Kind::Completion, &key, &row, &mut value).unwrap();
            let mut store = Memory::new();
            store.set(Kind::Completion.tree(), &key, Some(value));
            let error = store.load().unwrap_err().to_string();
            assert!(error.contains("its numbers do not ascend"), "{error}");
        }
    }
}
