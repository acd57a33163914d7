//! Changes into puts and removes.
//!
//! Reads the engine only where a change needs to know what is there: a mail that goes takes its
//! chunks and its expiry row along, and only its record says which.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::codec::{self, CHUNK_BYTES, CodecError, MailValue};
use super::key::{self, Kind};
use super::kv::{self, Kv, Sink};
use super::outcomes::Outcomes;
use super::{Change, MailRecord, MailState, StoreError};
use crate::protocol::{LogNumber, MailId};

/// Sends what `changes` put and remove to `sink`, as if they were carried out one after the other.
///
/// # Errors
/// A record over the size of a value ([`StoreError::Engine`]), or what reading meets.
pub(super) fn plan<K: Kv, S: Sink>(
    changes: &[Change],
    kv: &K,
    sink: &mut S,
    scratch: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let mut planner = Planner {
        kv,
        sink,
        scratch,
        leaving: leaving(changes),
        fresh: HashMap::new(),
        outcomes: Outcomes::default(),
    };
    changes
        .iter()
        .try_for_each(|change| planner.change(change))?;
    let Planner {
        sink,
        scratch,
        outcomes,
        ..
    } = planner;
    outcomes.write(kv, sink, scratch)
}

/// What must be known of a mail to expire or remove it.
#[derive(Clone)]
struct Placed {
    record: MailRecord,
    chunks: u32,
}

type Place = (LogNumber, MailId);

struct Planner<'a, K, S> {
    kv: &'a K,
    sink: &'a mut S,
    /// Values are built here and copied once, into the engine.
    scratch: &'a mut Vec<u8>,
    /// Mails that these changes expire or remove.
    leaving: HashSet<Place>,
    /// Those of them that these changes themselves append, expire or remove: the engine does not
    /// know it yet.
    fresh: HashMap<Place, Option<Placed>>,
    outcomes: Outcomes<'a>,
}

impl<'a, K: Kv, S: Sink> Planner<'a, K, S> {
    fn change(&mut self, change: &'a Change) -> Result<(), StoreError> {
        match change {
            Change::PutMeta(record) => self.put(Kind::Meta, &key::meta(), record),
            Change::PutServerKey(key) => self.put(Kind::ServerKey, &key::server_key(), key),
            Change::PutDirectoryCounters(record) => {
                self.put(Kind::DirectoryCounters, &key::directory_counters(), record)
            }
            Change::PutAddress(record) => {
                self.put(Kind::Address, &key::address(record.number), record)
            }
            Change::RemoveAddress(number) => self.remove(Kind::Address, &key::address(*number)),
            Change::PutDevice(record) => {
                self.put(Kind::Device, &key::device(record.number), record)
            }
            Change::RemoveDevice(number) => self.remove(Kind::Device, &key::device(*number)),
            Change::PutSubscription(record) => {
                let key = key::subscription(record.user, &record.pattern);
                self.put(Kind::Subscription, &key, record)
            }
            Change::RemoveSubscription { user, pattern } => {
                self.remove(Kind::Subscription, &key::subscription(*user, pattern))
            }
            Change::PutLease(record) => self.put(Kind::Lease, &key::lease(record.port), record),
            Change::RemoveLease(port) => self.remove(Kind::Lease, &key::lease(*port)),
            Change::PutCode(record) => self.put(Kind::Code, &key::code(&record.digest), record),
            Change::RemoveCode(digest) => self.remove(Kind::Code, &key::code(digest)),
            Change::PutInvitation(record) => {
                self.put(Kind::Invitation, &key::invitation(&record.chat), record)
            }
            Change::RemoveInvitation(chat) => self.remove(Kind::Invitation, &key::invitation(chat)),
            Change::PutBlock(record) => self.put(
                Kind::Block,
                &key::block(record.user, record.blocked),
                record,
            ),
            Change::RemoveBlock(record) => {
                self.remove(Kind::Block, &key::block(record.user, record.blocked))
            }
            Change::PutHidden(record) => self.put(Kind::Hidden, &key::hidden(record.user), record),
            Change::RemoveHidden(record) => self.remove(Kind::Hidden, &key::hidden(record.user)),
            Change::PutSight(record) => self.put(Kind::Sight, &key::sight(record.device), record),
            Change::RemoveSight(device) => self.remove(Kind::Sight, &key::sight(*device)),
            Change::PutNextKey(record) => {
                self.put(Kind::NextKey, &key::next_key(record.device), record)
            }
            Change::RemoveNextKey(device) => self.remove(Kind::NextKey, &key::next_key(*device)),
            Change::PutAccount(record) => {
                self.put(Kind::Account, &key::account(record.user), record)
            }
            Change::RemoveAccount(user) => self.remove(Kind::Account, &key::account(*user)),
            Change::PutLimits(record) => {
                self.put(Kind::Limits, &key::limits(record.address), record)
            }
            Change::RemoveLimits(address) => self.remove(Kind::Limits, &key::limits(*address)),
            Change::PutGrant(record) => self.put(Kind::Grant, &key::grant(record), record),
            Change::RemoveGrant(record) => self.remove(Kind::Grant, &key::grant(record)),
            Change::PutAudit(record) => self.put(Kind::Audit, &key::audit(record.number), record),
            Change::RemoveAudit(number) => self.remove(Kind::Audit, &key::audit(*number)),
            Change::PutMailCounters(record) => {
                self.put(Kind::MailCounters, &key::mail_counters(), record)
            }
            Change::AppendMail {
                log,
                id,
                record,
                body,
            } => self.append((*log, *id), record, body),
            Change::ExpireMail { log, id } => self.expire((*log, *id)),
            Change::RemoveMail { log, id } => self.remove_mail((*log, *id)),
            Change::PutLog { log, record } => self.put(Kind::Log, &key::log(*log), record),
            Change::RemoveLog(log) => self.remove(Kind::Log, &key::log(*log)),
            Change::PutStream(record) => {
                self.outcomes.settle(record.number, record.settled_below);
                self.put(Kind::Stream, &key::stream(record.number), record)
            }
            Change::RemoveStream(number) => {
                self.outcomes.forget(*number);
                self.remove(Kind::Stream, &key::stream(*number))
            }
            Change::PutCompletion {
                stream,
                number,
                record,
            } => {
                self.outcomes.put(*stream, *number, record);
                Ok(())
            }
            Change::PutCursor { device, log, mark } => {
                self.put(Kind::Cursor, &key::cursor(*device, *log), mark)
            }
            Change::RemoveCursor { device, log } => {
                self.remove(Kind::Cursor, &key::cursor(*device, *log))
            }
        }
    }

    fn put<T: Serialize>(&mut self, kind: Kind, key: &[u8], record: &T) -> Result<(), StoreError> {
        codec::encode(kind, key, record, self.scratch).map_err(|error| refused(kind, &error))?;
        self.sink.put(kind.tree(), key, self.scratch);
        Ok(())
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "the arms of `change` have one type"
    )]
    fn remove(&mut self, kind: Kind, key: &[u8]) -> Result<(), StoreError> {
        self.sink.remove(kind.tree(), key);
        Ok(())
    }

    fn append(&mut self, at: Place, record: &MailRecord, body: &[u8]) -> Result<(), StoreError> {
        if record.size != body.len() as u64 {
            let said = record.size;
            return Err(StoreError::Engine(format!(
                "mail {} says {said} bytes and has {}",
                at.1,
                body.len()
            )));
        }
        let chunks = self.put_mail(at, record, body)?;
        if let Some(at_ms) = record.expires_at_ms {
            let key = key::expiry(at_ms, at.0, at.1);
            codec::encode_raw(Kind::Expiry, &key, &[], self.scratch);
            self.sink.put(Kind::Expiry.tree(), &key, self.scratch);
        }
        if self.leaving.contains(&at) {
            let record = record.clone();
            self.fresh.insert(at, Some(Placed { record, chunks }));
        }
        Ok(())
    }

    /// Writes a mail's record and as many chunks as its body needs; returns how many.
    fn put_mail(
        &mut self,
        (log, id): Place,
        record: &MailRecord,
        body: &[u8],
    ) -> Result<u32, StoreError> {
        let key = key::mail(log, id);
        let chunks = codec::encode_mail(&key, record, body, self.scratch)
            .map_err(|error| refused(Kind::Mail, &error))?;
        self.sink.put(Kind::Mail.tree(), &key, self.scratch);
        for (index, bytes) in (0..chunks).zip(body.chunks(CHUNK_BYTES)) {
            let key = key::chunk(log, id, index);
            codec::encode_raw(Kind::Chunk, &key, bytes, self.scratch);
            self.sink.put(Kind::Chunk.tree(), &key, self.scratch);
        }
        Ok(chunks)
    }

    fn expire(&mut self, at: Place) -> Result<(), StoreError> {
        let Some(placed) = self.find(at)? else {
            return Ok(());
        };
        self.remove_parts(at, &placed);
        let record = tombstone(&placed.record);
        self.put_mail(at, &record, &[])?;
        self.fresh.insert(at, Some(Placed { record, chunks: 0 }));
        Ok(())
    }

    fn remove_mail(&mut self, at: Place) -> Result<(), StoreError> {
        let Some(placed) = self.find(at)? else {
            return Ok(());
        };
        self.remove_parts(at, &placed);
        self.fresh.insert(at, None);
        self.remove(Kind::Mail, &key::mail(at.0, at.1))
    }

    /// Removes all of a mail but its record.
    fn remove_parts(&mut self, (log, id): Place, placed: &Placed) {
        for index in 0..placed.chunks {
            self.sink
                .remove(Kind::Chunk.tree(), &key::chunk(log, id, index));
        }
        if let Some(at_ms) = placed.record.expires_at_ms {
            self.sink
                .remove(Kind::Expiry.tree(), &key::expiry(at_ms, log, id));
        }
    }

    fn find(&self, at: Place) -> Result<Option<Placed>, StoreError> {
        if let Some(fresh) = self.fresh.get(&at) {
            return Ok(fresh.clone());
        }
        let key = key::mail(at.0, at.1);
        let Some(value) = self.kv.get(Kind::Mail.tree(), &key)? else {
            return Ok(None);
        };
        let MailValue { record, chunks, .. } = kv::decode_mail(self.kv, &key, value.as_ref())?;
        Ok(Some(Placed { record, chunks }))
    }
}

/// Returns what is kept of an expired mail: its place, its marks and its times.
fn tombstone(record: &MailRecord) -> MailRecord {
    MailRecord {
        state: MailState::Expired,
        from: String::new(),
        to: Vec::new(),
        subject: String::new(),
        content_type: String::new(),
        size: 0,
        answers: None,
        ..*record
    }
}

fn leaving(changes: &[Change]) -> HashSet<Place> {
    let places = changes.iter().filter_map(|change| match change {
        Change::ExpireMail { log, id } | Change::RemoveMail { log, id } => Some((*log, *id)),
        _ => None,
    });
    places.collect()
}

fn refused(kind: Kind, error: &CodecError) -> StoreError {
    StoreError::Engine(format!(
        "a {} record cannot be written: {error}",
        kind.word()
    ))
}
