//! A record in bytes: a 12-byte envelope, then bincode (or the raw bytes of a chunk).
//!
//! The checksum covers the key as well, so a value found under another record's key is noticed.
//! Decoding takes slices only, under a limit, and rejects trailing bytes; an unknown version is an
//! error and never a guess. `docs/storage.md`, "Envelope", has the bytes.

use bincode::Options;
use serde::{Deserialize, Serialize, Serializer};

use super::key::{self, Kind};
use super::record::{CompletionRecord, MailRecord, MailRecordV1};
use crate::limits::VALUE_BYTES_MAX;

/// First byte of every value: an ASCII control that no text begins with.
const MAGIC: u8 = 0x16;

/// Bytes before the payload: magic, kind, version, length, checksum.
pub(super) const ENVELOPE_BYTES: usize = 12;

/// Bytes of a body in one chunk. Round, so that offsets are easy to follow in a dump.
pub(super) const CHUNK_BYTES: usize = 4000;

/// Bytes of the outcomes in one row, as [`outcome_bytes`] counts them.
pub(super) const OUTCOMES_BYTES_MAX: usize = VALUE_BYTES_MAX - ENVELOPE_BYTES - size_of::<u64>();

const _: () = assert!(CHUNK_BYTES + ENVELOPE_BYTES <= VALUE_BYTES_MAX);

/// Why bytes are not the record that was looked for, or a record does not become bytes.
#[derive(Debug, thiserror::Error)]
pub(super) enum CodecError {
    #[error("{0} bytes are fewer than an envelope")]
    Short(usize),
    #[error("it begins with {0:#04x}")]
    Magic(u8),
    #[error("it holds a record of kind {0:#04x}")]
    Kind(u8),
    #[error("its version is {found}, the newest known is {known}")]
    Version { found: u16, known: u16 },
    #[error("it says {said} bytes and has {found}")]
    Length { said: u32, found: usize },
    #[error("its checksum is wrong")]
    Checksum,
    #[error("its content does not decode: {0}")]
    Content(#[source] bincode::Error),
    #[error("it does not fit a value of {VALUE_BYTES_MAX} bytes: {0}")]
    Encode(#[source] bincode::Error),
}

/// A mail as stored: what the engine must know to find its body, and the body if it fits.
#[derive(Debug)]
pub(super) struct MailValue<'a> {
    /// The envelope.
    pub record: MailRecord,
    /// Chunks of the body; 0 when it is inline.
    pub chunks: u32,
    /// The body, when `chunks` is 0.
    pub body: &'a [u8],
}

/// The parts of a mail's value, with its record in some version.
#[derive(Deserialize)]
struct Parts<'a, R> {
    record: R,
    chunks: u32,
    #[serde(borrow)]
    body: &'a [u8],
}

/// [`MailValue`] for writing: the same bytes without a copy of the record.
#[derive(Serialize)]
struct MailRef<'a> {
    record: &'a MailRecord,
    chunks: u32,
    #[serde(serialize_with = "as_bytes")]
    body: &'a [u8],
}

/// Writes a record's value to `out`, which is emptied first.
pub(super) fn encode<T: Serialize>(
    kind: Kind,
    key: &[u8],
    record: &T,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    begin(out);
    options()
        .serialize_into(&mut *out, record)
        .map_err(CodecError::Encode)?;
    seal(kind, key, out);
    Ok(())
}

/// Writes a mail's value to `out` and returns its chunks: 0 when the body went inline.
pub(super) fn encode_mail(
    key: &[u8],
    record: &MailRecord,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<u32, CodecError> {
    let inline = MailRef {
        record,
        chunks: 0,
        body,
    };
    if body.len() < VALUE_BYTES_MAX && encode(Kind::Mail, key, &inline, out).is_ok() {
        return Ok(0);
    }
    let chunks = chunks_of(body);
    let split = MailRef {
        record,
        chunks,
        body: &[],
    };
    encode(Kind::Mail, key, &split, out)?;
    Ok(chunks)
}

/// Writes a chunk's value to `out`: its payload is the bytes themselves.
pub(super) fn encode_raw(kind: Kind, key: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    begin(out);
    out.extend_from_slice(payload);
    seal(kind, key, out);
}

/// Returns a record from its value.
pub(super) fn decode<'a, T: Deserialize<'a>>(
    kind: Kind,
    key: &[u8],
    value: &'a [u8],
) -> Result<T, CodecError> {
    let payload = open(kind, key, value)?;
    options().deserialize(payload).map_err(CodecError::Content)
}

/// Returns a mail from its value, whatever version of the record that holds.
pub(super) fn decode_mail<'a>(key: &[u8], value: &'a [u8]) -> Result<MailValue<'a>, CodecError> {
    let (version, payload) = open_versioned(Kind::Mail, key, value)?;
    let mail = if version == 1 {
        options()
            .deserialize::<Parts<'a, MailRecordV1>>(payload)
            .map(|parts| {
                let id = key::numbers(key).map_or(0, |[_, id]| id);
                MailValue {
                    record: parts.record.of_now(id),
                    chunks: parts.chunks,
                    body: parts.body,
                }
            })
    } else {
        options()
            .deserialize::<Parts<'a, MailRecord>>(payload)
            .map(|parts| MailValue {
                record: parts.record,
                chunks: parts.chunks,
                body: parts.body,
            })
    };
    mail.map_err(CodecError::Content)
}

/// Returns how many bytes an outcome and its number take in a row.
pub(super) fn outcome_bytes(record: &CompletionRecord) -> Result<usize, CodecError> {
    let bytes = options().serialized_size(&(0_u64, record));
    let bytes = bytes.map_err(CodecError::Encode)?;
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Returns the outcomes in a row, with their numbers: in the first version that was the one of its key's number.
pub(super) fn decode_outcomes(
    key: &[u8],
    value: &[u8],
) -> Result<Vec<(u64, CompletionRecord)>, CodecError> {
    let (version, payload) = open_versioned(Kind::Completion, key, value)?;
    let outcomes = if version == 1 {
        let number = key::numbers(key).map_or(0, |[_, number]| number);
        let record = options().deserialize(payload);
        record.map(|record| vec![(number, record)])
    } else {
        options().deserialize(payload)
    };
    outcomes.map_err(CodecError::Content)
}

/// Checks the envelope and returns the payload.
pub(super) fn open<'a>(kind: Kind, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], CodecError> {
    open_versioned(kind, key, value).map(|(_, payload)| payload)
}

/// Checks the envelope and returns the version of the record with the payload.
fn open_versioned<'a>(
    kind: Kind,
    key: &[u8],
    value: &'a [u8],
) -> Result<(u16, &'a [u8]), CodecError> {
    let (head, payload) = value
        .split_first_chunk::<ENVELOPE_BYTES>()
        .ok_or(CodecError::Short(value.len()))?;
    let [magic, found, v0, v1, l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    if magic != MAGIC {
        return Err(CodecError::Magic(magic));
    }
    if u32::from_be_bytes([c0, c1, c2, c3]) != checksum(key, &head[..8], payload) {
        return Err(CodecError::Checksum);
    }
    let said = u32::from_be_bytes([l0, l1, l2, l3]);
    if said as usize != payload.len() {
        let found = payload.len();
        return Err(CodecError::Length { said, found });
    }
    if found != kind.byte() {
        return Err(CodecError::Kind(found));
    }
    let known = version_of(kind);
    match u16::from_be_bytes([v0, v1]) {
        version if (1..=known).contains(&version) => Ok((version, payload)),
        found => Err(CodecError::Version { found, known }),
    }
}

/// Returns the bytes of that version in an envelope.
pub(super) fn sealed_version(kind: Kind) -> [u8; 2] {
    version_of(kind).to_be_bytes()
}

/// Returns the version of a kind's records that this build writes. It reads all up to that.
fn version_of(kind: Kind) -> u16 {
    match kind {
        Kind::Mail | Kind::Completion => 2,
        _ => 1,
    }
}

fn chunks_of(body: &[u8]) -> u32 {
    u32::try_from(body.len().div_ceil(CHUNK_BYTES)).expect("a body is far below 16 TiB")
}

/// One set of options for both directions; `bincode::serialize` would use another encoding.
fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit((VALUE_BYTES_MAX - ENVELOPE_BYTES) as u64)
}

fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.resize(ENVELOPE_BYTES, 0);
}

/// Fills in the envelope once the payload stands.
fn seal(kind: Kind, key: &[u8], out: &mut [u8]) {
    let len = u32::try_from(out.len() - ENVELOPE_BYTES).expect("the limit is far below 4 GiB");
    out[0] = MAGIC;
    out[1] = kind.byte();
    out[2..4].copy_from_slice(&sealed_version(kind));
    out[4..8].copy_from_slice(&len.to_be_bytes());
    let sum = checksum(key, &out[..8], &out[ENVELOPE_BYTES..]);
    out[8..ENVELOPE_BYTES].copy_from_slice(&sum.to_be_bytes());
}

fn checksum(key: &[u8], head: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), head), payload)
}

/// The same bytes as a sequence of `u8`, written at once.
fn as_bytes<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::conformance::envelope;
    use super::super::{Answers, CompletionRecord, RecordedOutcome, key};
    use super::*;
    use crate::limits::{
        CONTENT_TYPE_BYTES_MAX, NAME_BYTES_MAX, RECIPIENTS_MAX, SUBJECT_BYTES_MAX,
    };
    use crate::protocol::codes::Code;

    /// Returns a mail's value as the first version of its record was written: with an inline body.
    pub(in crate::store) fn mail_of_before(key: &[u8], value: &[u8]) -> Vec<u8> {
        let mail = decode_mail(key, value).unwrap();
        assert_eq!(mail.chunks, 0);
        let fields = options().serialize(&mail.record).unwrap();
        let answers = options().serialize(&mail.record.answers).unwrap();
        let mut older = vec![0; ENVELOPE_BYTES];
        older.extend(&fields[..fields.len() - answers.len() - 8]);
        older.extend(options().serialize(&(0_u32, mail.body)).unwrap());
        seal(Kind::Mail, key, &mut older);
        older[2..4].copy_from_slice(&1_u16.to_be_bytes());
        let sum = checksum(key, &older[..8], &older[ENVELOPE_BYTES..]);
        older[8..ENVELOPE_BYTES].copy_from_slice(&sum.to_be_bytes());
        older
    }

    #[test]
    fn a_mail_of_the_first_version_is_its_own_message() {
        let record = envelope(1, 2, 3, 4);
        let key = key::mail(1, 2);
        let mut value = Vec::new();
        encode_mail(&key, &record, b"body", &mut value).unwrap();
        let older = mail_of_before(&key, &value);
        let read = decode_mail(&key, &older).unwrap();
        let expect = MailRecord {
            message: 2,
            answers: None,
            ..record
        };
        assert_eq!((read.record, read.body), (expect, &b"body"[..]));
    }

    fn counters() -> ([u8; 1], Vec<u8>) {
        let key = key::mail_counters();
        let mut value = Vec::new();
        let record = super::super::MailCounters { mail: 7, stream: 8 };
        encode(Kind::MailCounters, &key, &record, &mut value).unwrap();
        (key, value)
    }

    fn failure(kind: Kind, key: &[u8], value: &[u8]) -> CodecError {
        decode::<super::super::MailCounters>(kind, key, value).unwrap_err()
    }

    #[test]
    fn the_largest_records_fit_a_value() {
        let name = "n".repeat(NAME_BYTES_MAX);
        let record = MailRecord {
            from: name.clone(),
            to: vec![name.clone(); RECIPIENTS_MAX],
            subject: "s".repeat(SUBJECT_BYTES_MAX),
            content_type: "c".repeat(CONTENT_TYPE_BYTES_MAX),
            expires_at_ms: Some(1),
            answers: Some(Answers {
                in_reply_to: 1,
                thread: 1,
            }),
            ..envelope(1, 2, 3, 4)
        };
        let mut value = Vec::new();
        encode_mail(&key::mail(1, 2), &record, &vec![0; 100_000], &mut value).unwrap();
        assert!(value.len() <= VALUE_BYTES_MAX);
        let longest = Code::ALL.iter().max_by_key(|code| code.word().len());
        let refused = RecordedOutcome::Refused {
            address: name,
            code: *longest.unwrap(),
        };
        let record = CompletionRecord {
            digest: [0; 32],
            outcomes: vec![refused; RECIPIENTS_MAX],
        };
        assert!(outcome_bytes(&record).unwrap() <= OUTCOMES_BYTES_MAX);
        encode(
            Kind::Completion,
            &key::completion(1, 2),
            &vec![(2_u64, record)],
            &mut value,
        )
        .unwrap();
        assert!(value.len() <= VALUE_BYTES_MAX);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (key, value) = counters();
        let kind = Kind::MailCounters;
        assert!(matches!(
            failure(kind, &key, &value[..11]),
            CodecError::Short(11)
        ));
        let short = failure(kind, &key, &value[..value.len() - 1]);
        assert!(matches!(short, CodecError::Checksum));
        assert!(matches!(failure(kind, &[9], &value), CodecError::Checksum));
        let other = failure(Kind::Meta, &key, &value);
        assert!(matches!(other, CodecError::Kind(found) if found == kind.byte()));
        for at in 0..value.len() {
            let mut broken = value.clone();
            broken[at] ^= 1;
            let error = failure(kind, &key, &broken);
            assert!(
                matches!(error, CodecError::Checksum | CodecError::Magic(_)),
                "{at}"
            );
        }
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let (key, mut value) = counters();
        value[3] = 2;
        let sum = checksum(&key, &value[..8], &value[ENVELOPE_BYTES..]);
        value[8..ENVELOPE_BYTES].copy_from_slice(&sum.to_be_bytes());
        let error = failure(Kind::MailCounters, &key, &value);
        assert!(matches!(error, CodecError::Version { found: 2, known: 1 }));
    }

    #[test]
    fn hostile_lengths_are_errors() {
        let key = key::mail(1, 2);
        let mut value = Vec::new();
        encode_raw(Kind::Mail, &key, &[0xff; 200], &mut value);
        let error = decode_mail(&key, &value).unwrap_err();
        assert!(matches!(error, CodecError::Content(_)));
        let (key, mut value) = counters();
        let long = [&value[ENVELOPE_BYTES..], &[0]].concat();
        encode_raw(Kind::MailCounters, &key, &long, &mut value);
        let error = failure(Kind::MailCounters, &key, &value);
        assert!(matches!(error, CodecError::Content(_)));
    }
}
