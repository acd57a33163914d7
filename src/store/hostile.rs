//! Records and whole stores of any bytes: the doors for `fuzz/`. Checksums are put right here, or no
//! mutation would ever get past them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec;
use super::key::{self, Kind};
use super::memory::Memory;
use super::record::{
    AccountRecord, AddressRecord, AuditRecord, BlockRecord, CodeRecord, DeviceRecord,
    DirectoryCounters, GrantRecord, HiddenRecord, InvitationRecord, LeaseRecord, LimitsRecord,
    LogRecord, MailCounters, Mark, Meta, NextKeyRecord, SightRecord, StreamRecord,
    SubscriptionRecord,
};
use super::{Report, StoreError};
use crate::protocol::PublicKey;

/// How many kinds of records there are.
pub const KINDS: usize = Kind::ALL.len();

/// A row of a store: kind (its place in the list of kinds), key and value.
pub type Row<'a> = (usize, &'a [u8], &'a [u8]);

/// Puts an envelope with the right checksum around a payload.
pub fn sealed(kind: usize, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    codec::encode_raw(Kind::ALL[kind % KINDS], key, payload, &mut value);
    value
}

/// Reads a value as a record of a kind; returns it as it would be written, or why it is none.
pub fn record(kind: usize, key: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
    match Kind::ALL[kind % KINDS] {
        Kind::Meta => again::<Meta>(Kind::Meta, key, value),
        Kind::DirectoryCounters => again::<DirectoryCounters>(Kind::DirectoryCounters, key, value),
        Kind::Address => again::<AddressRecord>(Kind::Address, key, value),
        Kind::Device => again::<DeviceRecord>(Kind::Device, key, value),
        Kind::Subscription => again::<SubscriptionRecord>(Kind::Subscription, key, value),
        Kind::Lease => again::<LeaseRecord>(Kind::Lease, key, value),
        Kind::Code => again::<CodeRecord>(Kind::Code, key, value),
        Kind::Invitation => again::<InvitationRecord>(Kind::Invitation, key, value),
        Kind::Block => again::<BlockRecord>(Kind::Block, key, value),
        Kind::ServerKey => again::<PublicKey>(Kind::ServerKey, key, value),
        Kind::Hidden => again::<HiddenRecord>(Kind::Hidden, key, value),
        Kind::Sight => again::<SightRecord>(Kind::Sight, key, value),
        Kind::NextKey => again::<NextKeyRecord>(Kind::NextKey, key, value),
        Kind::Account => again::<AccountRecord>(Kind::Account, key, value),
        Kind::Limits => again::<LimitsRecord>(Kind::Limits, key, value),
        Kind::Grant => again::<GrantRecord>(Kind::Grant, key, value),
        Kind::Audit => again::<AuditRecord>(Kind::Audit, key, value),
        Kind::MailCounters => again::<MailCounters>(Kind::MailCounters, key, value),
        Kind::Mail => mail(key, value),
        Kind::Log => again::<LogRecord>(Kind::Log, key, value),
        Kind::Stream => again::<StreamRecord>(Kind::Stream, key, value),
        Kind::Completion => outcomes(key, value),
        Kind::Cursor => again::<Mark>(Kind::Cursor, key, value),
        kind @ (Kind::Chunk | Kind::Expiry) => {
            let payload = codec::open(kind, key, value).map_err(|error| error.to_string())?;
            let mut again = Vec::new();
            codec::encode_raw(kind, key, payload, &mut again);
            Ok(again)
        }
    }
}

fn again<T: DeserializeOwned + Serialize>(
    kind: Kind,
    key: &[u8],
    value: &[u8],
) -> Result<Vec<u8>, String> {
    let record: T = codec::decode(kind, key, value).map_err(|error| error.to_string())?;
    let mut again = Vec::new();
    codec::encode(kind, key, &record, &mut again).map_err(|error| error.to_string())?;
    Ok(again)
}

/// A body in chunks is not here to be written again, and a record of an older version is not written any more: such
/// values come back as they were read.
fn mail(key: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
    let mail = codec::decode_mail(key, value).map_err(|error| error.to_string())?;
    if mail.chunks > 0 || !is_of_now(Kind::Mail, value) {
        return Ok(value.to_vec());
    }
    let mut again = Vec::new();
    codec::encode_mail(key, &mail.record, mail.body, &mut again)
        .map_err(|error| error.to_string())?;
    Ok(again)
}

/// A row of an older version is not written any more: it comes back as it was read.
fn outcomes(key: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
    let outcomes = codec::decode_outcomes(key, value).map_err(|error| error.to_string())?;
    if !is_of_now(Kind::Completion, value) {
        return Ok(value.to_vec());
    }
    let mut again = Vec::new();
    codec::encode(Kind::Completion, key, &outcomes, &mut again)
        .map_err(|error| error.to_string())?;
    Ok(again)
}

fn is_of_now(kind: Kind, value: &[u8]) -> bool {
    value.get(2..4) == codec::sealed_version(kind).get(..)
}

/// A key as one number, as two, and as the parts of a chunk's.
pub type Numbers = (Option<[u64; 1]>, Option<[u64; 2]>, Option<(u64, u64, u32)>);

/// Returns what a key is, by its length.
pub fn numbers(bytes: &[u8]) -> Numbers {
    (
        key::numbers(bytes),
        key::numbers(bytes),
        key::chunk_parts(bytes),
    )
}

/// Returns the key of a mail, of a log, and of a chunk.
pub fn keys(log: u64, id: u64, index: u32) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    (
        key::mail(log, id).to_vec(),
        key::log(log).to_vec(),
        key::chunk(log, id, index).to_vec(),
    )
}

/// Makes a store of rows, each in the tree of its kind.
pub fn store(rows: &[Row<'_>]) -> Memory {
    let mut memory = Memory::new();
    for (kind, key, value) in rows {
        let tree = Kind::ALL[kind % KINDS].tree();
        memory.set(tree, key, Some(value.to_vec()));
    }
    memory
}

/// Says what does not fit together in it.
pub fn verify(store: &Memory) -> Result<Report, StoreError> {
    store.try_verify()
}
