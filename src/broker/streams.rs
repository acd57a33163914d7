//! Streams and completion records: why a retry is never carried out twice (P3).
//!
//! As in RIFL (Lee et al., "Implementing Linearizability at Large Scale and Low Latency", SOSP 2015):
//! the outcome of a numbered send is kept until the client says that it has it. A number below the
//! mark, or a stream that is not known, is refused and never carried out.

use std::collections::{BTreeMap, HashMap};

use crate::limits;
use crate::protocol::MailId;
use crate::protocol::codes::Code;
use crate::store::{Change, CompletionRecord, RecordedOutcome, StreamRecord};

/// One stream with the outcomes that its client may still ask for.
#[derive(Debug)]
struct Stream {
    record: StreamRecord,
    completions: BTreeMap<u64, CompletionRecord>,
}

/// What is known of a numbered send before it is carried out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known<'a> {
    /// Nothing: carry it out.
    New,
    /// Its outcome, given before.
    Done(&'a CompletionRecord),
    /// It must not be carried out.
    Refused(Code),
}

/// What makes a send that send. The two halves stand apart because the parts of a large body may be
/// gone when a retry asks for the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SendDigest {
    /// Of recipients, subject, content type and lifetime.
    pub(super) envelope: [u8; 16],
    /// Of the body, when it is at hand.
    pub(super) body: Option<[u8; 16]>,
}

impl SendDigest {
    /// Returns the form in which it is kept.
    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.envelope);
        bytes[16..].copy_from_slice(&self.body.unwrap_or_default());
        bytes
    }

    fn is(&self, kept: &[u8; 32]) -> bool {
        self.envelope == kept[..16] && self.body.is_none_or(|body| body == kept[16..])
    }
}

/// All open streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    streams: HashMap<u64, Stream>,
    of_device: HashMap<u64, Vec<u64>>,
}

impl Streams {
    pub(super) fn restore(
        records: Vec<StreamRecord>,
        completions: Vec<(u64, u64, CompletionRecord)>,
    ) -> Self {
        let mut streams = Self::default();
        for record in records {
            streams.insert(record);
        }
        for (stream, number, record) in completions {
            if let Some(stream) = streams.streams.get_mut(&stream) {
                stream.completions.insert(number, record);
            }
        }
        streams
    }

    fn insert(&mut self, record: StreamRecord) {
        self.of_device
            .entry(record.device)
            .or_default()
            .push(record.number);
        self.streams.insert(
            record.number,
            Stream {
                record,
                completions: BTreeMap::new(),
            },
        );
    }

    /// Returns the outcome of the send that a mail came of, while its sender may still ask for it.
    pub(super) fn completion_of(&self, id: MailId) -> Option<&CompletionRecord> {
        let is_it = |outcome: &RecordedOutcome| matches!(outcome, RecordedOutcome::Sent { id: sent, .. } if *sent == id);
        let all = self
            .streams
            .values()
            .flat_map(|stream| stream.completions.values());
        let mut all = all.filter(|completion| completion.outcomes.iter().any(is_it));
        all.next()
    }

    /// Returns a device's stream, if it is that.
    pub(super) fn get(&self, number: u64, device: u64) -> Option<&StreamRecord> {
        let stream = self.streams.get(&number)?;
        (stream.record.device == device).then_some(&stream.record)
    }

    /// Opens a stream; the device's longest unused settled one makes room. Nothing when all of them
    /// have unsettled sends.
    pub(super) fn open(
        &mut self,
        record: StreamRecord,
        changes: &mut Vec<Change>,
    ) -> Option<StreamRecord> {
        let open = self.of_device.get(&record.device).map_or(0, Vec::len);
        if open >= limits::STREAMS_PER_DEVICE_MAX {
            let oldest = self.oldest_settled(record.device)?;
            self.close(oldest, changes);
        }
        changes.push(Change::PutStream(record));
        self.insert(record);
        Some(record)
    }

    fn oldest_settled(&self, device: u64) -> Option<u64> {
        let numbers = self.of_device.get(&device)?.iter();
        let streams = numbers.filter_map(|number| self.streams.get(number));
        let settled = streams.filter(|stream| stream.completions.is_empty());
        settled
            .min_by_key(|s| (s.record.used_running_s, s.record.number))
            .map(|s| s.record.number)
    }

    /// Removes a stream with its outcomes.
    pub(super) fn close(&mut self, number: u64, changes: &mut Vec<Change>) {
        let Some(stream) = self.streams.remove(&number) else {
            return;
        };
        if let Some(numbers) = self.of_device.get_mut(&stream.record.device) {
            numbers.retain(|other| *other != number);
        }
        changes.push(Change::RemoveStream(number));
    }

    pub(super) fn drop_device(&mut self, device: u64, changes: &mut Vec<Change>) {
        for number in self.of_device.remove(&device).unwrap_or_default() {
            self.close(number, changes);
        }
    }

    /// Says what is known of a send. `settled_below` is what the request says.
    pub(super) fn look(
        &self,
        (stream, device): (u64, u64),
        (number, settled_below): (u64, u64),
        digest: &SendDigest,
    ) -> Known<'_> {
        let Some(stream) = self
            .streams
            .get(&stream)
            .filter(|s| s.record.device == device)
        else {
            return Known::Refused(Code::StreamUnknown);
        };
        if number < stream.record.settled_below {
            return Known::Refused(Code::Settled);
        }
        if number == 0 || settled_below > number {
            return Known::Refused(Code::BadRequest);
        }
        match stream.completions.get(&number) {
            Some(done) if digest.is(&done.digest) => Known::Done(done),
            Some(_) => Known::Refused(Code::NumberReused),
            None if number - stream.record.settled_below.max(settled_below)
                >= limits::STREAM_WINDOW_MAX =>
            {
                Known::Refused(Code::WindowFull)
            }
            None => Known::New,
        }
    }

    /// Moves a stream's mark forward, which forgets the outcomes below it.
    pub(super) fn settle(
        &mut self,
        stream: u64,
        settled_below: u64,
        running_s: u64,
        changes: &mut Vec<Change>,
    ) {
        let Some(entry) = self.streams.get_mut(&stream) else {
            return;
        };
        if settled_below <= entry.record.settled_below {
            return;
        }
        entry.record.settled_below = settled_below;
        entry.record.used_running_s = running_s;
        changes.push(Change::PutStream(entry.record));
        entry.completions = entry.completions.split_off(&settled_below);
    }

    /// Records a send's outcome.
    pub(super) fn complete(
        &mut self,
        stream: u64,
        number: u64,
        record: CompletionRecord,
        changes: &mut Vec<Change>,
    ) {
        if let Some(entry) = self.streams.get_mut(&stream) {
            changes.push(Change::PutCompletion {
                stream,
                number,
                record: record.clone(),
            });
            entry.completions.insert(number, record);
        }
    }

    /// Removes streams that nobody used for too long.
    pub(super) fn drop_stale(&mut self, running_s: u64, changes: &mut Vec<Change>) {
        let is_stale = |s: &&Stream| {
            running_s.saturating_sub(s.record.used_running_s) > limits::STREAM_STALE_SECONDS
        };
        let stale: Vec<u64> = self
            .streams
            .values()
            .filter(is_stale)
            .map(|s| s.record.number)
            .collect();
        for number in stale {
            self.close(number, changes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SendDigest = SendDigest {
        envelope: [1; 16],
        body: Some([1; 16]),
    };
    const TWO: SendDigest = SendDigest {
        envelope: [1; 16],
        body: Some([2; 16]),
    };
    const GONE: SendDigest = SendDigest {
        envelope: [1; 16],
        body: None,
    };

    fn with_stream() -> Streams {
        let record = StreamRecord {
            number: 7,
            device: 3,
            settled_below: 1,
            used_running_s: 0,
        };
        Streams::restore(vec![record], Vec::new())
    }

    fn done(streams: &mut Streams, number: u64) {
        let record = CompletionRecord {
            digest: ONE.to_bytes(),
            outcomes: Vec::new(),
        };
        streams.complete(7, number, record, &mut Vec::new());
    }

    #[test]
    fn p03_a_retry_finds_its_outcome_until_it_is_settled() {
        let mut streams = with_stream();
        assert_eq!(streams.look((7, 3), (1, 1), &ONE), Known::New);
        done(&mut streams, 1);
        assert!(matches!(streams.look((7, 3), (1, 1), &ONE), Known::Done(_)));
        assert_eq!(
            streams.look((7, 3), (1, 1), &TWO),
            Known::Refused(Code::NumberReused)
        );
        assert!(matches!(
            streams.look((7, 3), (1, 1), &GONE),
            Known::Done(_)
        ));
        let mut changes = Vec::new();
        streams.settle(7, 2, 5, &mut changes);
        assert_eq!(changes.len(), 1, "the mark");
        assert_eq!(
            streams.look((7, 3), (1, 1), &ONE),
            Known::Refused(Code::Settled)
        );
        streams.settle(7, 1, 5, &mut changes);
        assert_eq!(changes.len(), 1, "the mark never moves back");
    }

    #[test]
    fn p03_what_is_not_known_is_never_carried_out() {
        let streams = with_stream();
        assert_eq!(
            streams.look((8, 3), (1, 1), &ONE),
            Known::Refused(Code::StreamUnknown)
        );
        assert_eq!(
            streams.look((7, 4), (1, 1), &ONE),
            Known::Refused(Code::StreamUnknown)
        );
        assert_eq!(
            streams.look((7, 3), (0, 1), &ONE),
            Known::Refused(Code::Settled)
        );
        assert_eq!(
            streams.look((7, 3), (2, 3), &ONE),
            Known::Refused(Code::BadRequest)
        );
        let far = 1 + limits::STREAM_WINDOW_MAX;
        assert_eq!(
            streams.look((7, 3), (far, 1), &ONE),
            Known::Refused(Code::WindowFull)
        );
        assert_eq!(streams.look((7, 3), (far, 2), &ONE), Known::New);
    }

    #[test]
    fn a_settled_stream_makes_room_and_an_unsettled_one_never() {
        let mut streams = Streams::default();
        let record = |number| StreamRecord {
            number,
            device: 3,
            settled_below: 1,
            used_running_s: 0,
        };
        for number in 1..=limits::STREAMS_PER_DEVICE_MAX as u64 {
            streams.open(record(number), &mut Vec::new());
            let done = CompletionRecord {
                digest: ONE.to_bytes(),
                outcomes: Vec::new(),
            };
            streams.complete(number, 1, done, &mut Vec::new());
        }
        assert!(streams.open(record(1000), &mut Vec::new()).is_none());
        streams.settle(5, 2, 0, &mut Vec::new());
        assert!(streams.open(record(1000), &mut Vec::new()).is_some());
        assert!(streams.get(5, 3).is_none());
    }
}
