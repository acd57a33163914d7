//! Reads everything there is and says what does not fit together, for `mailserver verify`.
//!
//! Checks what the start does not: every record, every body, every link of a log. Rows are looked at
//! one by one, so memory does not follow the backlog. It repairs nothing.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::codec::{self, CHUNK_BYTES, MailValue};
use super::key::{self, Kind, Tree};
use super::kv::{self, Kv};
use super::{
    AccountRecord, AddressRecord, AuditRecord, BlockRecord, CodeRecord, DeviceRecord,
    DirectoryCounters, GrantRecord, HiddenRecord, InvitationRecord, InvitationState, LeaseRecord,
    LimitsRecord, LogRecord, MailCounters, MailState, Mark, Meta, NextKeyRecord, SightRecord,
    StoreError, StreamRecord, SubscriptionRecord,
};
use crate::protocol::{LogNumber, MailId, PublicKey};

/// Faults that are written out; the others are counted.
const FAULTS_MAX: usize = 100;

/// What is in a store, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records by kind, in key order; kinds without any are left out.
    pub records: Vec<(&'static str, u64)>,
    /// Bytes of all bodies.
    pub body_bytes: u64,
    /// The first faults, one sentence each.
    pub faults: Vec<String>,
    /// All faults.
    pub faults_total: u64,
    /// The public key of the server that it belongs to, where that could be read.
    pub server_key: Option<PublicKey>,
    /// There was no seal, so how far it once reached is not known.
    pub was_unsealed: bool,
}

impl Report {
    /// Says whether everything fits together.
    pub fn is_whole(&self) -> bool {
        self.faults_total == 0
    }

    pub(super) fn fault(&mut self, what: String) {
        self.faults_total += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(what);
        }
    }
}

/// Reads all trees.
pub(super) fn verify<K: Kv>(kv: &K) -> Result<Report, StoreError> {
    let mut check = Check {
        kv,
        report: Report::default(),
        counts: BTreeMap::new(),
        log: None,
        body_of: None,
    };
    for tree in Tree::ALL {
        check.tree(tree)?;
    }
    check.end_log();
    let counts = check.counts.into_iter();
    Ok(Report {
        records: counts.map(|(kind, count)| (kind.word(), count)).collect(),
        ..check.report
    })
}

struct Check<'k, K> {
    kv: &'k K,
    report: Report,
    counts: BTreeMap<Kind, u64>,
    /// The log whose mails are passing by.
    log: Option<Passing>,
    /// The mail whose chunks are passing by, and how many it has.
    body_of: Option<(LogNumber, MailId, u32)>,
}

/// A log as far as it was read.
struct Passing {
    log: LogNumber,
    last: Mark,
    totals: Option<LogRecord>,
}

impl<K: Kv> Check<'_, K> {
    fn tree(&mut self, tree: Tree) -> Result<(), StoreError> {
        for row in self.kv.range(tree, &[], &[0xff; 64]) {
            let (key, value) = row?;
            let (key, value) = (key.as_ref(), value.as_ref());
            match key.first().copied().and_then(Kind::of) {
                Some(kind) if kind.tree() == tree => {
                    *self.counts.entry(kind).or_default() += 1;
                    let checked = self.row(kind, key, value);
                    self.admit(checked)?;
                }
                _ => self.report.fault(format!(
                    "tree {} holds a record under {}, where none belongs",
                    tree.name(),
                    hex::encode(key)
                )),
            }
        }
        Ok(())
    }

    /// Damage is what is looked for; any other error ends the search.
    fn admit(&mut self, checked: Result<(), StoreError>) -> Result<(), StoreError> {
        match checked {
            Err(StoreError::Damaged { what, .. }) => self.report.fault(what),
            other => return other,
        }
        Ok(())
    }

    fn row(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if kind != Kind::Mail {
            self.end_log();
        }
        match kind {
            Kind::Meta => self.decodes::<Meta>(kind, key, value),
            Kind::DirectoryCounters => self.decodes::<DirectoryCounters>(kind, key, value),
            Kind::Address => self.decodes::<AddressRecord>(kind, key, value),
            Kind::Device => self.decodes::<DeviceRecord>(kind, key, value),
            Kind::Subscription => self.decodes::<SubscriptionRecord>(kind, key, value),
            Kind::Lease => self.decodes::<LeaseRecord>(kind, key, value),
            Kind::Code => self.decodes::<CodeRecord>(kind, key, value),
            Kind::Invitation => self.invitation(key, value),
            Kind::Block => self.decodes::<BlockRecord>(kind, key, value),
            Kind::ServerKey => self.decodes::<PublicKey>(kind, key, value),
            Kind::Hidden => self.decodes::<HiddenRecord>(kind, key, value),
            Kind::Sight => self.decodes::<SightRecord>(kind, key, value),
            Kind::NextKey => self.decodes::<NextKeyRecord>(kind, key, value),
            Kind::Account => self.decodes::<AccountRecord>(kind, key, value),
            Kind::Limits => self.decodes::<LimitsRecord>(kind, key, value),
            Kind::Grant => self.decodes::<GrantRecord>(kind, key, value),
            Kind::Audit => self.decodes::<AuditRecord>(kind, key, value),
            Kind::MailCounters => self.decodes::<MailCounters>(kind, key, value),
            Kind::Mail => self.mail(key, value),
            Kind::Chunk => self.chunk(key, value),
            Kind::Log => self.totals(key, value),
            Kind::Stream => self.decodes::<StreamRecord>(kind, key, value),
            Kind::Completion => kv::decode_outcomes(self.kv, key, value).map(drop),
            Kind::Expiry => self.expiry(key, value),
            Kind::Cursor => self.decodes::<Mark>(kind, key, value),
        }
    }

    fn decodes<'a, T: Deserialize<'a>>(
        &self,
        kind: Kind,
        key: &[u8],
        value: &'a [u8],
    ) -> Result<(), StoreError> {
        kv::decode::<K, T>(self.kv, kind, key, value).map(drop)
    }

    /// An invitation has two sides from the moment it is accepted.
    fn invitation(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let record: InvitationRecord = kv::decode(self.kv, Kind::Invitation, key, value)?;
        let accepted = record.state == InvitationState::Accepted;
        if accepted == record.accepter.is_some() {
            return Ok(());
        }
        let how = "its state does not go with who accepted it";
        Err(self.wrong(Kind::Invitation, key, how))
    }

    fn mail(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some([log, id]) = key::numbers(key) else {
            return Err(self.wrong(Kind::Mail, key, "its key has the wrong length"));
        };
        self.enter(log)?;
        let mail = kv::decode_mail(self.kv, key, value)?;
        self.report.body_bytes = self.report.body_bytes.saturating_add(mail.record.size);
        let linked = self.link(key, id, &mail);
        self.admit(linked)?;
        let whole = self.body(key, (log, id), &mail);
        self.admit(whole)?;
        self.index(key, (log, id), &mail)
    }

    /// Goes on with `log`, once the one before it is done.
    fn enter(&mut self, log: LogNumber) -> Result<(), StoreError> {
        if self.log.as_ref().is_some_and(|passing| passing.log == log) {
            return Ok(());
        }
        self.end_log();
        let totals: Option<LogRecord> = kv::get(self.kv, Kind::Log, &key::log(log))?;
        if totals.is_none() {
            self.report.fault(format!("log {log} has no totals"));
        }
        let last = totals.unwrap_or_default().floor;
        self.log = Some(Passing { log, last, totals });
        Ok(())
    }

    /// Compares a log's last mail with its totals.
    fn end_log(&mut self) {
        let Some(Passing { log, last, totals }) = self.log.take() else {
            return;
        };
        if let Some(totals) = totals
            && totals.head != last
        {
            self.report.fault(format!(
                "log {log} ends with mail {} ({} in all), but its totals say {} ({})",
                last.id, last.count, totals.head.id, totals.head.count
            ));
        }
    }

    /// Compares a mail with the one before it, or with the log's floor.
    fn link(&mut self, key: &[u8], id: MailId, mail: &MailValue<'_>) -> Result<(), StoreError> {
        let record = &mail.record;
        let Some(passing) = &mut self.log else {
            return Ok(());
        };
        let last = std::mem::replace(&mut passing.last, record.mark(id));
        let grown = record.bytes.checked_sub(last.bytes);
        let fits = match record.state {
            MailState::Live => grown == Some(record.size),
            MailState::Expired => grown.is_some(),
        };
        if record.prev == last.id && record.count.checked_sub(1) == Some(last.count) && fits {
            return Ok(());
        }
        let how = format!(
            "it follows mail {} as number {}, but before it lies mail {} as number {}",
            record.prev, record.count, last.id, last.count
        );
        Err(self.wrong(Kind::Mail, key, &how))
    }

    fn body(
        &self,
        key: &[u8],
        (log, id): (LogNumber, MailId),
        mail: &MailValue<'_>,
    ) -> Result<(), StoreError> {
        let mut found = mail.body.len() as u64;
        for index in 0..mail.chunks {
            let chunk = self
                .kv
                .get(Kind::Chunk.tree(), &key::chunk(log, id, index))?;
            let Some(chunk) = chunk else {
                let how = format!("chunk {index} of {} is missing", mail.chunks);
                return Err(self.wrong(Kind::Mail, key, &how));
            };
            found += chunk.as_ref().len().saturating_sub(codec::ENVELOPE_BYTES) as u64;
        }
        if found == mail.record.size && u64::from(mail.chunks) <= found.div_ceil(CHUNK_BYTES as u64)
        {
            return Ok(());
        }
        let how = format!("its body has {found} bytes and not {}", mail.record.size);
        Err(self.wrong(Kind::Mail, key, &how))
    }

    /// A live mail that expires must be found by its time.
    fn index(
        &self,
        key: &[u8],
        (log, id): (LogNumber, MailId),
        mail: &MailValue<'_>,
    ) -> Result<(), StoreError> {
        let Some(at_ms) = mail.record.expires_at_ms else {
            return Ok(());
        };
        let row = key::expiry(at_ms, log, id);
        if mail.record.state == MailState::Expired
            || self.kv.get(Kind::Expiry.tree(), &row)?.is_some()
        {
            return Ok(());
        }
        Err(self.wrong(Kind::Mail, key, "its expiry is not listed"))
    }

    fn chunk(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        codec::open(Kind::Chunk, key, value)
            .map_err(|error| kv::fault(self.kv, Kind::Chunk, key, &error))?;
        let Some((log, id, index)) = key::chunk_parts(key) else {
            return Err(self.wrong(Kind::Chunk, key, "its key has the wrong length"));
        };
        match self.chunks_of(log, id)? {
            chunks if index < chunks => Ok(()),
            _ => Err(self.wrong(Kind::Chunk, key, "it belongs to no mail")),
        }
    }

    /// Returns how many chunks a mail has; 0 when it is not there or was told to be damaged.
    fn chunks_of(&mut self, log: LogNumber, id: MailId) -> Result<u32, StoreError> {
        if let Some((of_log, of_id, chunks)) = self.body_of
            && (of_log, of_id) == (log, id)
        {
            return Ok(chunks);
        }
        let key = key::mail(log, id);
        let value = self.kv.get(Kind::Mail.tree(), &key)?;
        let chunks = value.map_or(0, |value| {
            codec::decode_mail(&key, value.as_ref()).map_or(0, |mail| mail.chunks)
        });
        self.body_of = Some((log, id, chunks));
        Ok(chunks)
    }

    fn totals(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let totals: LogRecord = kv::decode(self.kv, Kind::Log, key, value)?;
        let Some([log]) = key::numbers(key) else {
            return Err(self.wrong(Kind::Log, key, "its key has the wrong length"));
        };
        let (low, high) = (key::mail(log, 0), key::mail(log, MailId::MAX));
        let empty = self
            .kv
            .range(Kind::Mail.tree(), &low, &high)
            .next()
            .is_none();
        if empty && totals.head != totals.floor {
            let how = format!(
                "its {} mails are missing",
                totals.head.count.saturating_sub(totals.floor.count)
            );
            return Err(self.wrong(Kind::Log, key, &how));
        }
        Ok(())
    }

    fn expiry(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        codec::open(Kind::Expiry, key, value)
            .map_err(|error| kv::fault(self.kv, Kind::Expiry, key, &error))?;
        let Some([_, log, id]) = key::numbers(key) else {
            return Err(self.wrong(Kind::Expiry, key, "its key has the wrong length"));
        };
        let mail = key::mail(log, id);
        match self.kv.get(Kind::Mail.tree(), &mail)? {
            Some(_) => Ok(()),
            None => Err(self.wrong(Kind::Expiry, key, "it belongs to no mail")),
        }
    }

    fn wrong(&self, kind: Kind, key: &[u8], how: &str) -> StoreError {
        kv::damaged(self.kv, kind, key, how)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::conformance::{body, envelope};
    use super::super::memory::Memory;
    use super::super::{Change, Store};
    use super::*;

    const SIZE: usize = 9000;

    /// Log 3 with mails 10, 20 and 30 of three chunks each, the second of which expires.
    fn sound() -> Memory {
        let mut store = Memory::new();
        let mut head = Mark::ZERO;
        for _ in 0..3 {
            let mut record = envelope(head.id, head.count + 1, head.bytes + 9000, SIZE);
            head = record.mark(head.id + 10);
            record.expires_at_ms = (head.id == 20).then_some(7);
            let append = Change::AppendMail {
                log: 3,
                id: head.id,
                record,
                body: body(SIZE),
            };
            let floor = Mark::ZERO;
            let record = LogRecord { head, floor };
            store
                .commit(&[append, Change::PutLog { log: 3, record }])
                .unwrap();
        }
        store
    }

    /// Says what is wrong once a row is changed.
    fn after(key: &[u8], change: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) -> Vec<String> {
        let mut store = sound();
        let rows = store.rows();
        let (tree, _, value) = rows.iter().find(|(_, found, _)| found == key).unwrap();
        store.set(*tree, key, change(value.clone()));
        store.verify().faults
    }

    #[test]
    fn a_sound_store_has_no_faults() {
        let report = sound().verify();
        assert!(report.is_whole(), "{:?}", report.faults);
        assert_eq!(report.body_bytes, 3 * 9000);
        let counts = [
            ("meta", 1),
            ("mail", 3),
            ("chunk", 9),
            ("log", 1),
            ("expiry", 1),
        ];
        assert_eq!(report.records, counts);
    }

    #[test]
    fn numbers_that_fit_nothing_are_a_fault_and_no_panic() {
        let mut store = sound();
        let highest = Mark {
            id: u64::MAX,
            count: u64::MAX,
            bytes: u64::MAX,
        };
        let head = Mark::ZERO;
        for (log, floor) in [(3, highest), (9, highest)] {
            let record = LogRecord { head, floor };
            store.commit(&[Change::PutLog { log, record }]).unwrap();
        }
        let report = store.verify();
        assert!(report.faults_total > 1, "{:?}", report.faults);
    }

    #[test]
    fn expired_and_trimmed_mails_are_no_fault() {
        let mut store = sound();
        let log = 3;
        let reader = store.reader();
        let mark = |id| match reader.read(&super::super::Query::MarkAt { log, id }) {
            Ok(super::super::Answer::Mark(mark)) => mark,
            other => panic!("{other:?}"),
        };
        let record = LogRecord {
            head: mark(30),
            floor: mark(10),
        };
        let changes = [
            Change::ExpireMail { log, id: 20 },
            Change::RemoveMail { log, id: 10 },
            Change::PutLog { log, record },
        ];
        store.commit(&changes).unwrap();
        assert_eq!(store.verify().faults, Vec::<String>::new());
    }

    #[test]
    fn an_invitation_without_the_side_that_accepted_it_is_found() {
        let (_, snapshot) = super::super::conformance::one_of_each();
        let sound = &snapshot.invitations[0];
        let faults = |record: InvitationRecord| {
            let mut store = Memory::new();
            store.commit(&[Change::PutInvitation(record)]).unwrap();
            store.verify().faults_total
        };
        assert_eq!(faults(sound.clone()), 0);
        let accepter = None;
        let one_sided = InvitationRecord {
            accepter,
            ..sound.clone()
        };
        assert_eq!(faults(one_sided), 1);
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let rows = sound().rows();
        for (tree, key, value) in rows {
            for at in (0..value.len()).step_by(7) {
                let mut store = sound();
                let mut broken = value.clone();
                broken[at] ^= 0x10;
                store.set(tree, &key, Some(broken));
                let report = store.verify();
                assert!(!report.is_whole(), "{} at {at}", hex::encode(&key));
            }
        }
    }

    #[test]
    fn any_missing_row_of_mail_is_found() {
        for (tree, key, _) in sound().rows() {
            let mut store = sound();
            store.set(tree, &key, None);
            let whole = store.verify().is_whole();
            // A store without identity is found when it is opened.
            assert_eq!(whole, key == key::meta(), "{}", hex::encode(&key));
        }
    }

    #[test]
    fn faults_say_where() {
        let first = after(&key::mail(3, 10), |_| None);
        assert!(
            first[0].contains("it follows mail 10 as number 2"),
            "{first:?}"
        );
        let last = after(&key::mail(3, 30), |_| None);
        assert!(last[0].contains("log 3 ends with mail 20"), "{last:?}");
        let chunk = after(&key::chunk(3, 20, 1), |_| None);
        assert!(chunk[0].contains("chunk 1 of 3 is missing"), "{chunk:?}");
        let short = after(&key::chunk(3, 20, 1), |mut value| {
            codec::encode_raw(Kind::Chunk, &key::chunk(3, 20, 1), b"x", &mut value);
            Some(value)
        });
        assert!(short[0].contains("its body has 5001 bytes"), "{short:?}");
        let totals = after(&key::log(3), |_| None);
        assert!(totals[0].contains("log 3 has no totals"), "{totals:?}");
        let listed = after(&key::expiry(7, 3, 20), |_| None);
        assert!(listed[0].contains("its expiry is not listed"), "{listed:?}");
    }

    #[test]
    fn a_value_under_another_key_is_found() {
        let mut store = sound();
        let rows = store.rows();
        let of = |key: &[u8]| rows.iter().find(|row| row.1 == key).unwrap().2.clone();
        let (tree, one, other) = (Tree::Mail, key::chunk(3, 10, 0), key::chunk(3, 20, 0));
        store.set(tree, &one, Some(of(&other)));
        assert!(!store.verify().is_whole());
    }

    #[test]
    fn faults_are_bounded() {
        let mut store = Memory::new();
        for id in 0..300u64 {
            let record = envelope(999, 1, 0, 0);
            let body: Arc<[u8]> = body(0);
            let log = 3;
            let append = Change::AppendMail {
                log,
                id,
                record,
                body,
            };
            store.commit(&[append]).unwrap();
        }
        let report = store.verify();
        assert_eq!(report.faults.len(), FAULTS_MAX);
        assert!(report.faults_total >= 300);
    }
}
