//! The little that both engines have in common: ordered trees of bytes.
//!
//! `write` turns changes into puts and removes, `read` turns queries into gets and ranges; an engine
//! only moves bytes. Nothing here knows what a record means.

use serde::Deserialize;

use super::codec::{self, CodecError, MailValue};
use super::key::{self, Kind, Tree};
use super::{CompletionRecord, StoreError};

/// Key and value pairs in key order, from either end.
pub(super) type Rows<'a, B> = Box<dyn DoubleEndedIterator<Item = Result<(B, B), StoreError>> + 'a>;

/// Reads an engine's trees.
pub(super) trait Kv {
    /// Bytes the engine owns or lends.
    type Bytes: AsRef<[u8]>;

    /// Returns the value under a key.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Self::Bytes>, StoreError>;

    /// Returns the rows with `low <= key <= high`; none when `low` is above `high`.
    fn range(&self, tree: Tree, low: &[u8], high: &[u8]) -> Rows<'_, Self::Bytes>;

    /// Returns where the store is, for errors.
    fn path(&self) -> String;
}

/// Takes what a commit puts and removes. For one key the last word counts.
pub(super) trait Sink {
    /// Writes a value.
    fn put(&mut self, tree: Tree, key: &[u8], value: &[u8]);

    /// Removes a key, there or not.
    fn remove(&mut self, tree: Tree, key: &[u8]);
}

/// Returns a record by its key.
pub(super) fn get<K: Kv, T>(kv: &K, kind: Kind, key: &[u8]) -> Result<Option<T>, StoreError>
where
    T: for<'a> Deserialize<'a>,
{
    kv.get(kind.tree(), key)?
        .map(|value| decode(kv, kind, key, value.as_ref()))
        .transpose()
}

/// Returns all rows of one kind.
pub(super) fn rows<K: Kv>(kv: &K, kind: Kind) -> Rows<'_, K::Bytes> {
    // Above every key of the kind: after the numbers comes at most UTF-8, which has no 0xff.
    let mut high = [0xff; 64];
    high[0] = kind.byte();
    kv.range(kind.tree(), &[kind.byte()], &high)
}

/// Decodes a record; the error names it.
pub(super) fn decode<'a, K: Kv, T: Deserialize<'a>>(
    kv: &K,
    kind: Kind,
    key: &[u8],
    value: &'a [u8],
) -> Result<T, StoreError> {
    codec::decode(kind, key, value).map_err(|error| fault(kv, kind, key, &error))
}

/// Decodes a mail; the error names it.
pub(super) fn decode_mail<'a, K: Kv>(
    kv: &K,
    key: &[u8],
    value: &'a [u8],
) -> Result<MailValue<'a>, StoreError> {
    codec::decode_mail(key, value).map_err(|error| fault(kv, Kind::Mail, key, &error))
}

/// Decodes a row of outcomes, which ends with the number of its key; the error names it.
pub(super) fn decode_outcomes<K: Kv>(
    kv: &K,
    key: &[u8],
    value: &[u8],
) -> Result<Vec<(u64, CompletionRecord)>, StoreError> {
    let outcomes = codec::decode_outcomes(key, value)
        .map_err(|error| fault(kv, Kind::Completion, key, &error))?;
    let last = key::numbers(key).map(|[_, number]| number);
    let ascend = outcomes.is_sorted_by(|(one, _), (next, _)| one < next);
    if ascend && last.is_some() && outcomes.last().map(|(number, _)| *number) == last {
        return Ok(outcomes);
    }
    let how = "its numbers do not ascend to that of its key";
    Err(damaged(kv, Kind::Completion, key, how))
}

/// Says which record is wrong, and how.
pub(super) fn fault<K: Kv>(kv: &K, kind: Kind, key: &[u8], error: &CodecError) -> StoreError {
    if let CodecError::Version { found, known } = error {
        return StoreError::Newer {
            path: kv.path(),
            found: u32::from(*found),
            known: u32::from(*known),
        };
    }
    damaged(kv, kind, key, &error.to_string())
}

/// Says which record is wrong in words of the caller.
pub(super) fn damaged<K: Kv>(kv: &K, kind: Kind, key: &[u8], how: &str) -> StoreError {
    StoreError::Damaged {
        path: kv.path(),
        what: format!(
            "the {} record {} of tree {}: {how}",
            kind.word(),
            hex::encode(key),
            kind.tree().name()
        ),
    }
}
