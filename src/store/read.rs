//! Queries into gets and ranges, and the snapshot a broker starts from.
//!
//! Rows are looked at one by one and only as many as the answer holds: memory follows the page,
//! never the backlog. A reader runs beside the commits, so a mail may go while it is being read;
//! that is told apart from damage by looking at its record again.

use std::collections::HashMap;

use serde::Deserialize;

use super::codec::{self, CHUNK_BYTES, MailValue};
use super::key::{self, Kind};
use super::kv::{self, Kv, Rows};
use super::{
    Answer, CompletionRecord, FORMAT, MailState, Mark, Meta, Query, Snapshot, StoreError,
    StoredMail, StreamRecord,
};
use crate::limits::FRAME_BYTES_MAX;
use crate::protocol::{LogNumber, MailId};

/// Answers one query.
pub(super) fn answer<K: Kv>(kv: &K, query: &Query) -> Result<Answer, StoreError> {
    match *query {
        Query::Page {
            log,
            after,
            upto,
            mails,
            bytes,
        } => {
            let rows = mails_between(kv, log, after.checked_add(1), Some(upto));
            let (mails, more) = page(kv, log, rows, mails, Some(bytes))?;
            Ok(Answer::Mails { mails, more })
        }
        Query::Newest {
            log,
            before,
            upto,
            mails,
            bytes,
        } => {
            let newest = before.checked_sub(1).map(|below| below.min(upto));
            let rows = mails_between(kv, log, Some(0), newest).rev();
            let (mut mails, more) = page(kv, log, rows, mails, Some(bytes))?;
            mails.reverse();
            Ok(Answer::Mails { mails, more })
        }
        Query::Body {
            log,
            id,
            offset,
            len,
        } => body_range(kv, log, id, offset, len).map(Answer::Body),
        Query::MarkAt { log, id } => mark_at(kv, log, id).map(Answer::Mark),
        Query::Oldest { log, after, mails } => {
            let rows = mails_between(kv, log, after.checked_add(1), Some(MailId::MAX));
            let (mails, more) = page(kv, log, rows, mails, None)?;
            Ok(Answer::Mails { mails, more })
        }
        Query::Expired { at_ms, mails } => expired(kv, at_ms, mails).map(Answer::Expired),
        Query::Audit { after, rows } => audit(kv, after, rows),
        // The engine's own: it takes more than reading.
        Query::Backup { .. } => Ok(Answer::Backup(None)),
    }
}

/// Reads everything but mail.
pub(super) fn snapshot<K: Kv>(kv: &K) -> Result<Snapshot, StoreError> {
    let keyed = |kind: Kind| move |key: &[u8]| misplaced(kv, kind, key);
    let meta: Meta = kv::get(kv, Kind::Meta, &key::meta())?.unwrap_or_default();
    let streams: Vec<StreamRecord> = values(kv, Kind::Stream)?;
    Ok(Snapshot {
        // Whatever is written from here on is of this format.
        meta: Meta {
            format: meta.format.max(FORMAT),
            ..meta
        },
        server_key: kv::get(kv, Kind::ServerKey, &key::server_key())?,
        directory_counters: kv::get(kv, Kind::DirectoryCounters, &key::directory_counters())?
            .unwrap_or_default(),
        mail_counters: kv::get(kv, Kind::MailCounters, &key::mail_counters())?.unwrap_or_default(),
        addresses: values(kv, Kind::Address)?,
        devices: values(kv, Kind::Device)?,
        subscriptions: values(kv, Kind::Subscription)?,
        leases: values(kv, Kind::Lease)?,
        codes: values(kv, Kind::Code)?,
        invitations: values(kv, Kind::Invitation)?,
        blocks: values(kv, Kind::Block)?,
        hidden: values(kv, Kind::Hidden)?,
        sights: values(kv, Kind::Sight)?,
        next_keys: values(kv, Kind::NextKey)?,
        accounts: values(kv, Kind::Account)?,
        limits: values(kv, Kind::Limits)?,
        grants: values(kv, Kind::Grant)?,
        audited: audited(kv)?,
        logs: each(kv, Kind::Log, |key, record| {
            let [log] = key::numbers(key).ok_or_else(|| keyed(Kind::Log)(key))?;
            Ok((log, record))
        })?,
        completions: completions(kv, &streams)?,
        streams,
        cursors: each(kv, Kind::Cursor, |key, mark| {
            let [device, log] = key::numbers(key).ok_or_else(|| keyed(Kind::Cursor)(key))?;
            Ok((device, log, mark))
        })?,
    })
}

/// Returns the outcomes that are not settled: some of a row may be.
fn completions<K: Kv>(
    kv: &K,
    streams: &[StreamRecord],
) -> Result<Vec<(u64, u64, CompletionRecord)>, StoreError> {
    let marks: HashMap<u64, u64> = streams
        .iter()
        .map(|stream| (stream.number, stream.settled_below))
        .collect();
    let mut completions = Vec::new();
    for row in kv::rows(kv, Kind::Completion) {
        let (key, value) = row?;
        let (key, value) = (key.as_ref(), value.as_ref());
        let [stream, _] = key::numbers(key).ok_or_else(|| misplaced(kv, Kind::Completion, key))?;
        let settled_below = marks.get(&stream).copied().unwrap_or(0);
        let outcomes = kv::decode_outcomes(kv, key, value)?;
        let open = outcomes
            .into_iter()
            .filter(|(number, _)| *number >= settled_below);
        completions.extend(open.map(|(number, record)| (stream, number, record)));
    }
    Ok(completions)
}

/// Returns the mark of the newest mail of `log` at or below `id`.
pub(super) fn mark_at<K: Kv>(kv: &K, log: LogNumber, id: MailId) -> Result<Mark, StoreError> {
    let Some(row) = mails_between(kv, log, Some(0), Some(id)).next_back() else {
        return Ok(Mark::ZERO);
    };
    let (key, value) = row?;
    let (id, mail) = parse(kv, key.as_ref(), value.as_ref())?;
    Ok(mail.record.mark(id))
}

/// Returns the rows of the mails of one log from `low` to `high`; none when a bound is missing.
pub(super) fn mails_between<K: Kv>(
    kv: &K,
    log: LogNumber,
    low: Option<MailId>,
    high: Option<MailId>,
) -> Rows<'_, K::Bytes> {
    match (low, high) {
        (Some(low), Some(high)) => kv.range(
            Kind::Mail.tree(),
            &key::mail(log, low),
            &key::mail(log, high),
        ),
        _ => Box::new(std::iter::empty()),
    }
}

/// Returns a mail's id and content from its row.
pub(super) fn parse<'a, K: Kv>(
    kv: &K,
    key: &[u8],
    value: &'a [u8],
) -> Result<(MailId, MailValue<'a>), StoreError> {
    let [_, id] = key::numbers(key).ok_or_else(|| misplaced(kv, Kind::Mail, key))?;
    Ok((id, kv::decode_mail(kv, key, value)?))
}

/// Takes mails off `rows` until there are `mails` of them or the next body does not fit `budget`;
/// says whether some are left. Without a budget no body is read. The first mail always comes, or a
/// reader with a small budget would never get past it.
fn page<K: Kv>(
    kv: &K,
    log: LogNumber,
    rows: impl Iterator<Item = Result<(K::Bytes, K::Bytes), StoreError>>,
    mails: u32,
    budget: Option<u64>,
) -> Result<(Vec<StoredMail>, bool), StoreError> {
    let mut taken: Vec<StoredMail> = Vec::new();
    let mut left = budget.unwrap_or(0);
    let mut before = None;
    for row in rows {
        let (key, value) = row?;
        let (id, mail) = parse(kv, key.as_ref(), value.as_ref())?;
        let link = (id, mail.record.prev);
        if let Some(before) = before.replace(link) {
            linked(kv, log, before, link)?;
        }
        let wanted = budget.is_some() && comes_along(&mail);
        let cost = if wanted { mail.record.size } else { 0 };
        if taken.len() >= mails as usize || (cost > left && !taken.is_empty()) {
            return Ok((taken, true));
        }
        let body = if wanted {
            let Some(body) = whole_body(kv, log, id, &mail)? else {
                continue;
            };
            Some(body)
        } else {
            None
        };
        left = left.saturating_sub(cost);
        taken.push(StoredMail {
            id,
            record: mail.record,
            body,
        });
    }
    Ok((taken, false))
}

/// Checks that two mails side by side, each as id and `prev`, have none missing between them. Mails
/// go from a log's front only, so a gap means damage, unless the older one went meanwhile too.
fn linked<K: Kv>(
    kv: &K,
    log: LogNumber,
    one: (MailId, MailId),
    other: (MailId, MailId),
) -> Result<(), StoreError> {
    let (older, newer) = (one.min(other), one.max(other));
    let key = key::mail(log, older.0);
    if newer.1 == older.0 || kv.get(Kind::Mail.tree(), &key)?.is_none() {
        return Ok(());
    }
    let key = key::mail(log, newer.0);
    let how = format!("mail {} before it is missing", newer.1);
    Err(kv::damaged(kv, Kind::Mail, &key, &how))
}

fn comes_along(mail: &MailValue<'_>) -> bool {
    mail.record.state == MailState::Live && mail.record.size <= FRAME_BYTES_MAX as u64
}

/// Returns a body; nothing when its mail went meanwhile.
fn whole_body<K: Kv>(
    kv: &K,
    log: LogNumber,
    id: MailId,
    mail: &MailValue<'_>,
) -> Result<Option<Vec<u8>>, StoreError> {
    if mail.chunks == 0 {
        return Ok(Some(mail.body.to_vec()));
    }
    let size = usize::try_from(mail.record.size).unwrap_or(usize::MAX);
    chunked(kv, log, id, mail, 0, size)
}

/// Returns up to `len` bytes of a live mail's body from `offset`.
fn body_range<K: Kv>(
    kv: &K,
    log: LogNumber,
    id: MailId,
    offset: u64,
    len: usize,
) -> Result<Option<Vec<u8>>, StoreError> {
    let key = key::mail(log, id);
    let Some(value) = kv.get(Kind::Mail.tree(), &key)? else {
        return Ok(None);
    };
    let (id, mail) = parse(kv, &key, value.as_ref())?;
    if mail.record.state != MailState::Live {
        return Ok(None);
    }
    let size = usize::try_from(mail.record.size).unwrap_or(usize::MAX);
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(size);
    let end = start.saturating_add(len).min(size);
    match mail.chunks {
        0 => Ok(mail.body.get(start..end).map(<[u8]>::to_vec)),
        _ => chunked(kv, log, id, &mail, start, end),
    }
}

/// Returns the bytes `start..end` of a body from the chunks that hold them; nothing when the mail
/// went meanwhile.
fn chunked<K: Kv>(
    kv: &K,
    log: LogNumber,
    id: MailId,
    mail: &MailValue<'_>,
    start: usize,
    end: usize,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut bytes = Vec::with_capacity(end - start);
    let first = start / CHUNK_BYTES;
    for index in first..end.div_ceil(CHUNK_BYTES).max(first) {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let key = key::chunk(log, id, index);
        let Some(value) = kv.get(Kind::Chunk.tree(), &key)? else {
            return gone(kv, log, id, mail, index).map(|()| None);
        };
        let chunk = codec::open(Kind::Chunk, &key, value.as_ref())
            .map_err(|error| kv::fault(kv, Kind::Chunk, &key, &error))?;
        bytes.extend_from_slice(chunk);
    }
    let skip = start - first * CHUNK_BYTES;
    let len = end - start;
    match bytes.get(skip..skip + len) {
        Some(part) if skip == 0 && part.len() == bytes.len() => Ok(Some(bytes)),
        Some(part) => Ok(Some(part.to_vec())),
        None => Err(kv::damaged(
            kv,
            Kind::Mail,
            &key::mail(log, id),
            "its chunks hold fewer bytes than its body",
        )),
    }
}

/// A chunk is not there: fine when its mail was expired or removed since it was read, else damage.
fn gone<K: Kv>(
    kv: &K,
    log: LogNumber,
    id: MailId,
    mail: &MailValue<'_>,
    index: u32,
) -> Result<(), StoreError> {
    let key = key::mail(log, id);
    let Some(value) = kv.get(Kind::Mail.tree(), &key)? else {
        return Ok(());
    };
    let (_, now) = parse(kv, &key, value.as_ref())?;
    if now.chunks != mail.chunks {
        return Ok(());
    }
    let how = format!("chunk {index} of {} is missing", mail.chunks);
    Err(kv::damaged(kv, Kind::Mail, &key, &how))
}

fn expired<K: Kv>(kv: &K, at_ms: i64, mails: u32) -> Result<Vec<(LogNumber, MailId)>, StoreError> {
    let low = key::expiry(i64::MIN, 0, 0);
    let high = key::expiry(at_ms, LogNumber::MAX, MailId::MAX);
    let rows = kv.range(Kind::Expiry.tree(), &low, &high);
    let places = rows.take(mails as usize).map(|row| {
        let (key, value) = row?;
        let key = key.as_ref();
        codec::open(Kind::Expiry, key, value.as_ref())
            .map_err(|error| kv::fault(kv, Kind::Expiry, key, &error))?;
        let [_, log, id] = key::numbers(key).ok_or_else(|| misplaced(kv, Kind::Expiry, key))?;
        Ok((log, id))
    });
    places.collect()
}

fn audit<K: Kv>(kv: &K, after: u64, rows: u32) -> Result<Answer, StoreError> {
    let low = key::audit(after.saturating_add(1));
    let mut found = kv.range(Kind::Audit.tree(), &low, &key::audit(u64::MAX));
    let some = found.by_ref().take(rows as usize).map(|row| {
        let (key, value) = row?;
        kv::decode(kv, Kind::Audit, key.as_ref(), value.as_ref())
    });
    let rows = some.collect::<Result<_, _>>()?;
    let more = found.next().transpose()?.is_some();
    Ok(Answer::Audit { rows, more })
}

/// Returns the first and the last number of the audit, without reading what lies between.
fn audited<K: Kv>(kv: &K) -> Result<Option<(u64, u64)>, StoreError> {
    let number = |key: &[u8]| -> Result<u64, StoreError> {
        let [number] = key::numbers(key).ok_or_else(|| misplaced(kv, Kind::Audit, key))?;
        Ok(number)
    };
    let mut rows = kv::rows(kv, Kind::Audit);
    let Some(first) = rows.next().transpose()? else {
        return Ok(None);
    };
    let first = number(first.0.as_ref())?;
    let last = match rows.next_back().transpose()? {
        Some((key, _)) => number(key.as_ref())?,
        None => first,
    };
    Ok(Some((first, last)))
}

fn values<K: Kv, T>(kv: &K, kind: Kind) -> Result<Vec<T>, StoreError>
where
    T: for<'a> Deserialize<'a>,
{
    each(kv, kind, |_, record| Ok(record))
}

/// Decodes all records of one kind.
fn each<K: Kv, T, R>(
    kv: &K,
    kind: Kind,
    make: impl Fn(&[u8], T) -> Result<R, StoreError>,
) -> Result<Vec<R>, StoreError>
where
    T: for<'a> Deserialize<'a>,
{
    let rows = kv::rows(kv, kind).map(|row| {
        let (key, value) = row?;
        let record = kv::decode(kv, kind, key.as_ref(), value.as_ref())?;
        make(key.as_ref(), record)
    });
    rows.collect()
}

/// A key whose length does not fit its kind.
fn misplaced<K: Kv>(kv: &K, kind: Kind, key: &[u8]) -> StoreError {
    kv::damaged(kv, kind, key, "its key has the wrong length")
}
