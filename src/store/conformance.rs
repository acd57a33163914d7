//! One suite for both engines.

mod random;

use std::sync::Arc;

use super::codec::CHUNK_BYTES;
use super::memory::Memory;
use super::sled::SledStore;
use super::*;
use crate::limits::{FRAME_BYTES_MAX, VALUE_BYTES_MAX};
use crate::protocol::codes::Code;
use crate::protocol::request::{Right, Role};

const LOG: LogNumber = 3;

/// An engine under test.
trait Rig {
    fn store(&mut self) -> &mut dyn Store;

    /// Closes the store and opens it again from what lasts.
    fn reopen(&mut self);
}

struct InMemory(Memory);

impl Rig for InMemory {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.0
    }

    fn reopen(&mut self) {
        self.0 = self.0.clone_synced();
    }
}

struct OnDisk {
    store: Option<SledStore>,
    dir: tempfile::TempDir,
}

impl OnDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(SledStore::open(dir.path()).unwrap());
        Self { store, dir }
    }
}

impl Rig for OnDisk {
    fn store(&mut self) -> &mut dyn Store {
        self.store.as_mut().unwrap()
    }

    fn reopen(&mut self) {
        self.store.take().unwrap().close().unwrap();
        self.store = Some(SledStore::open(self.dir.path()).unwrap());
    }
}

macro_rules! suite {
    ($($name:ident)+) => {
        mod memory {
            $(#[test] fn $name() { super::$name(&mut super::InMemory(super::Memory::new())); })+
        }
        mod sled {
            $(#[test] fn $name() { super::$name(&mut super::OnDisk::new()); })+
        }
    };
}

suite! {
    a_new_store_has_an_identity
    every_record_comes_back_after_reopening
    removing_is_forgetting_and_absence_is_no_error
    a_page_has_bounds
    a_page_stops_at_its_byte_budget
    the_first_mail_of_a_page_always_comes
    newest_comes_oldest_first_and_leaves_out_the_oldest
    bodies_of_every_size_come_back
    a_body_over_a_frame_never_comes_along
    a_body_is_read_in_pieces
    an_expired_mail_keeps_its_place_only
    a_removed_mail_leaves_nothing_behind
    changes_of_one_commit_see_each_other
    mark_at_looks_down
    oldest_comes_without_bodies
    expired_lists_what_is_due
    the_audit_is_read_in_order_and_knows_its_ends
    logs_are_apart
    a_refused_commit_changes_nothing
    a_reader_sees_later_commits
    a_gap_in_a_log_is_damage
}

pub(super) fn body(len: usize) -> Arc<[u8]> {
    (0..=250).cycle().take(len).collect()
}

pub(super) fn envelope(prev: MailId, count: u64, bytes: u64, size: usize) -> MailRecord {
    MailRecord {
        prev,
        count,
        bytes,
        state: MailState::Live,
        from: "ana".into(),
        to: vec!["bob".into(), "news".into()],
        subject: "hello".into(),
        content_type: "text/plain".into(),
        sent_at_ms: 1_700_000_000_123,
        expires_at_ms: None,
        running_s: 60,
        size: size as u64,
        message: prev + 10,
        answers: (prev > 0).then_some(Answers {
            in_reply_to: prev,
            thread: 10,
        }),
    }
}

/// Appends mails with ids 10, 20, ... and bodies of `sizes`.
fn fill(rig: &mut dyn Rig, sizes: &[usize]) {
    let mut head = Mark::ZERO;
    let mut changes = Vec::new();
    for size in sizes {
        let record = envelope(head.id, head.count + 1, head.bytes + *size as u64, *size);
        head = record.mark(head.id + 10);
        changes.push(Change::AppendMail {
            log: LOG,
            id: head.id,
            record,
            body: body(*size),
        });
    }
    let floor = Mark::ZERO;
    changes.push(Change::PutLog {
        log: LOG,
        record: LogRecord { head, floor },
    });
    rig.store().commit(&changes).unwrap();
}

fn ask(rig: &mut dyn Rig, query: &Query) -> Answer {
    rig.store().reader().read(query).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "queries are made in place")]
fn mails(rig: &mut dyn Rig, query: Query) -> (Vec<StoredMail>, bool) {
    match ask(rig, &query) {
        Answer::Mails { mails, more } => (mails, more),
        other => panic!("{other:?}"),
    }
}

fn page(after: MailId, upto: MailId, mails: u32, bytes: u64) -> Query {
    Query::Page {
        log: LOG,
        after,
        upto,
        mails,
        bytes,
    }
}

fn newest(before: MailId, upto: MailId, mails: u32, bytes: u64) -> Query {
    Query::Newest {
        log: LOG,
        before,
        upto,
        mails,
        bytes,
    }
}

fn ids(rig: &mut dyn Rig, query: Query) -> (Vec<MailId>, bool) {
    let (mails, more) = mails(rig, query);
    (mails.iter().map(|mail| mail.id).collect(), more)
}

fn a_new_store_has_an_identity(rig: &mut dyn Rig) {
    let snapshot = rig.store().load().unwrap();
    assert_eq!(snapshot.meta.format, FORMAT);
    assert!((1..=crate::limits::ID_MAX).contains(&snapshot.meta.incarnation));
    let meta = snapshot.meta;
    assert_eq!(
        snapshot,
        Snapshot {
            meta,
            ..Snapshot::default()
        }
    );
    rig.reopen();
    assert_eq!(rig.store().load().unwrap().meta, meta);
}

/// One of everything that is not mail, as changes and as a snapshot.
pub(super) fn one_of_each() -> (Vec<Change>, Snapshot) {
    let mark = Mark {
        id: 10,
        count: 1,
        bytes: 4,
    };
    let snapshot = Snapshot {
        meta: Meta {
            format: FORMAT,
            incarnation: 5,
            running_s: 60,
        },
        server_key: Some([5; 32]),
        directory_counters: DirectoryCounters {
            address: 3,
            device: 2,
            epoch: 1,
        },
        mail_counters: MailCounters {
            mail: 10,
            stream: 4,
        },
        addresses: vec![AddressRecord {
            number: LOG,
            name: "ana".into(),
            kind: AddressKind::User,
            state: AddressState::Reserved,
            generation: 2,
            full: FullPolicy::Refuse,
            created_at_ms: -1,
        }],
        devices: vec![DeviceRecord {
            number: 2,
            key: [7; 32],
            user: LOG,
            name: "laptop".into(),
            since: 9,
            created_at_ms: 1,
            seen_running_s: 3600,
            code: [1; 32],
        }],
        subscriptions: vec![SubscriptionRecord {
            user: LOG,
            pattern: "lab/*".into(),
            since: 9,
        }],
        leases: vec![LeaseRecord {
            port: 5600,
            epoch: 1,
            state: LeaseState::Held,
            user: LOG,
            device: 2,
            session: [8; 16],
        }],
        codes: vec![CodeRecord {
            digest: [9; 32],
            by: 0,
            device_of: Some(LOG),
            name: Some("bea".into()),
            expires_at_ms: 2,
        }],
        invitations: vec![InvitationRecord {
            chat: [7; 16],
            from: LOG,
            asker: side(2),
            to: 4,
            devices_through: 3,
            state: InvitationState::Accepted,
            accepter: Some(side(3)),
            asked_at_ms: 3,
            expires_at_ms: 4,
            seen: true,
        }],
        blocks: vec![BlockRecord {
            user: LOG,
            blocked: 4,
        }],
        hidden: vec![HiddenRecord { user: LOG }],
        sights: vec![SightRecord {
            device: 2,
            at_ms: 3_600_000,
        }],
        next_keys: vec![NextKeyRecord {
            device: 2,
            key: [4; 32],
        }],
        accounts: vec![AccountRecord {
            user: LOG,
            role: Role::Operator,
            disabled: true,
            kicked: vec![KickRecord {
                device: 2,
                until_running_s: 300,
            }],
        }],
        limits: vec![LimitsRecord {
            address: LOG,
            mails_max: Some(100),
            bytes_max: None,
            history_mails: Some(7),
            history_seconds: Some(60),
        }],
        grants: vec![GrantRecord {
            topic: "home/{user}/*".into(),
            right: Right::Send,
            who: Some(LOG),
        }],
        audited: Some((12, 12)),
        logs: vec![(
            LOG,
            LogRecord {
                head: mark,
                floor: mark,
            },
        )],
        streams: vec![StreamRecord {
            number: 4,
            device: 2,
            settled_below: 6,
            used_running_s: 60,
        }],
        completions: vec![(
            4,
            6,
            CompletionRecord {
                digest: [3; 32],
                outcomes: vec![
                    RecordedOutcome::Sent {
                        address: "ana".into(),
                        id: 10,
                    },
                    RecordedOutcome::Refused {
                        address: "ANA?".into(),
                        code: Code::BadName,
                    },
                ],
            },
        )],
        cursors: vec![(2, LOG, mark)],
    };
    (puts(&snapshot), snapshot)
}

fn side(device: u64) -> ChatSide {
    ChatSide {
        device,
        session: [8; 16],
        port: 5600,
        epoch: 1,
        host: "192.0.2.1".into(),
        nonce: [6; 16],
    }
}

fn audit(number: u64) -> AuditRecord {
    AuditRecord {
        number,
        at_ms: 1_800_000_000_789,
        by: "ana".into(),
        what: "user_rm".into(),
        address: "bob".into(),
        counts: vec![("mails".into(), 3), ("devices".into(), 1)],
        note: "noted".into(),
    }
}

fn puts(snapshot: &Snapshot) -> Vec<Change> {
    let all = snapshot.clone();
    let mut changes = vec![
        Change::PutMeta(all.meta),
        Change::PutServerKey(all.server_key.unwrap()),
        Change::PutDirectoryCounters(all.directory_counters),
        Change::PutMailCounters(all.mail_counters),
    ];
    changes.extend(all.addresses.into_iter().map(Change::PutAddress));
    changes.extend(all.devices.into_iter().map(Change::PutDevice));
    changes.extend(all.subscriptions.into_iter().map(Change::PutSubscription));
    changes.extend(all.leases.into_iter().map(Change::PutLease));
    changes.extend(all.codes.into_iter().map(Change::PutCode));
    changes.extend(all.invitations.into_iter().map(Change::PutInvitation));
    changes.extend(all.blocks.into_iter().map(Change::PutBlock));
    changes.extend(all.hidden.into_iter().map(Change::PutHidden));
    changes.extend(all.sights.into_iter().map(Change::PutSight));
    changes.extend(all.next_keys.into_iter().map(Change::PutNextKey));
    changes.extend(all.accounts.into_iter().map(Change::PutAccount));
    changes.extend(all.limits.into_iter().map(Change::PutLimits));
    changes.extend(all.grants.into_iter().map(Change::PutGrant));
    changes.extend(
        all.audited
            .map(|(number, _)| Change::PutAudit(audit(number))),
    );
    changes.extend(all.streams.into_iter().map(Change::PutStream));
    for (log, record) in all.logs {
        changes.push(Change::PutLog { log, record });
    }
    for (stream, number, record) in all.completions {
        changes.push(Change::PutCompletion {
            stream,
            number,
            record,
        });
    }
    for (device, log, mark) in all.cursors {
        changes.push(Change::PutCursor { device, log, mark });
    }
    changes
}

fn every_record_comes_back_after_reopening(rig: &mut dyn Rig) {
    let (changes, snapshot) = one_of_each();
    rig.store().commit(&changes).unwrap();
    assert_eq!(rig.store().load().unwrap(), snapshot);
    rig.reopen();
    assert_eq!(rig.store().load().unwrap(), snapshot);
}

fn removing_is_forgetting_and_absence_is_no_error(rig: &mut dyn Rig) {
    let (changes, snapshot) = one_of_each();
    let removes = [
        Change::RemoveAddress(LOG),
        Change::RemoveDevice(2),
        Change::RemoveInvitation([7; 16]),
        Change::RemoveBlock(snapshot.blocks[0]),
        Change::RemoveHidden(snapshot.hidden[0]),
        Change::RemoveSight(2),
        Change::RemoveNextKey(2),
        Change::RemoveAccount(LOG),
        Change::RemoveLimits(LOG),
        Change::RemoveGrant(snapshot.grants[0].clone()),
        Change::RemoveAudit(12),
        Change::RemoveSubscription {
            user: LOG,
            pattern: "lab/*".into(),
        },
        Change::RemoveLease(5600),
        Change::RemoveCode([9; 32]),
        Change::RemoveMail { log: LOG, id: 10 },
        Change::ExpireMail { log: LOG, id: 10 },
        Change::RemoveLog(LOG),
        Change::RemoveStream(4),
        Change::RemoveCursor {
            device: 2,
            log: LOG,
        },
    ];
    rig.store().commit(&removes).unwrap();
    rig.store().commit(&changes).unwrap();
    rig.store().commit(&removes).unwrap();
    rig.reopen();
    let empty = Snapshot {
        meta: snapshot.meta,
        server_key: snapshot.server_key,
        directory_counters: snapshot.directory_counters,
        mail_counters: snapshot.mail_counters,
        ..Snapshot::default()
    };
    assert_eq!(rig.store().load().unwrap(), empty);
}

fn a_page_has_bounds(rig: &mut dyn Rig) {
    fill(rig, &[1; 5]);
    let all = u64::MAX;
    assert_eq!(
        ids(rig, page(0, 50, 9, all)),
        (vec![10, 20, 30, 40, 50], false)
    );
    assert_eq!(ids(rig, page(10, 40, 9, all)), (vec![20, 30, 40], false));
    assert_eq!(ids(rig, page(10, 45, 2, all)), (vec![20, 30], true));
    assert_eq!(ids(rig, page(10, 30, 2, all)), (vec![20, 30], false));
    assert_eq!(ids(rig, page(11, 19, 2, all)), (vec![], false));
    assert_eq!(ids(rig, page(50, 10, 2, all)), (vec![], false));
    assert_eq!(ids(rig, page(u64::MAX, u64::MAX, 2, all)), (vec![], false));
    assert_eq!(ids(rig, page(0, u64::MAX, 0, all)), (vec![], true));
}

fn a_page_stops_at_its_byte_budget(rig: &mut dyn Rig) {
    fill(rig, &[100, 100, 100, 0, 100]);
    assert_eq!(ids(rig, page(0, 50, 9, 200)), (vec![10, 20], true));
    assert_eq!(ids(rig, page(0, 50, 9, 299)), (vec![10, 20], true));
    assert_eq!(ids(rig, page(0, 50, 9, 300)), (vec![10, 20, 30, 40], true));
    assert_eq!(ids(rig, page(0, 40, 9, 300)), (vec![10, 20, 30, 40], false));
    assert_eq!(ids(rig, page(0, 50, 9, 400)).0.len(), 5);
}

fn the_first_mail_of_a_page_always_comes(rig: &mut dyn Rig) {
    fill(rig, &[5000, 1]);
    let (found, more) = mails(rig, page(0, 20, 9, 10));
    assert_eq!(found[0].body.as_deref(), Some(&*body(5000)));
    assert_eq!((found.len(), more), (1, true));
}

fn newest_comes_oldest_first_and_leaves_out_the_oldest(rig: &mut dyn Rig) {
    fill(rig, &[100; 5]);
    let all = u64::MAX;
    assert_eq!(ids(rig, newest(all, all, 2, all)), (vec![40, 50], true));
    assert_eq!(ids(rig, newest(50, all, 2, all)), (vec![30, 40], true));
    assert_eq!(ids(rig, newest(50, 30, 2, all)), (vec![20, 30], true));
    assert_eq!(ids(rig, newest(21, all, 2, all)), (vec![10, 20], false));
    assert_eq!(ids(rig, newest(all, all, 9, 250)), (vec![40, 50], true));
    assert_eq!(ids(rig, newest(10, all, 9, all)), (vec![], false));
    assert_eq!(ids(rig, newest(0, all, 9, all)), (vec![], false));
}

fn bodies_of_every_size_come_back(rig: &mut dyn Rig) {
    let edge = VALUE_BYTES_MAX - 400;
    let mut sizes: Vec<usize> = vec![0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1];
    sizes.extend(edge..edge + 400);
    sizes.extend([2 * CHUNK_BYTES, FRAME_BYTES_MAX]);
    fill(rig, &sizes);
    rig.reopen();
    let (found, more) = mails(rig, page(0, u64::MAX, 1000, u64::MAX));
    assert!(!more);
    assert_eq!(found.len(), sizes.len());
    for (mail, size) in found.iter().zip(sizes) {
        assert_eq!(mail.record.size, size as u64);
        assert!(mail.body.as_deref() == Some(&*body(size)), "{size}");
    }
}

fn a_body_over_a_frame_never_comes_along(rig: &mut dyn Rig) {
    let big = FRAME_BYTES_MAX + 1;
    fill(rig, &[1, big, 1]);
    let (found, more) = mails(rig, page(0, 30, 9, 2));
    let bodies: Vec<_> = found.iter().map(|mail| mail.body.is_some()).collect();
    assert_eq!((bodies, more), (vec![true, false, true], false));
    assert_eq!(found[1].record.size, big as u64);
}

fn a_body_is_read_in_pieces(rig: &mut dyn Rig) {
    let size = 10 * CHUNK_BYTES + 7;
    fill(rig, &[size, 100]);
    let whole = body(size);
    let mut piece = |id, offset: usize, len| {
        let offset = offset as u64;
        let log = LOG;
        match ask(
            rig,
            &Query::Body {
                log,
                id,
                offset,
                len,
            },
        ) {
            Answer::Body(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    };
    for offset in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 5000, size - 1, size] {
        for len in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 9000, usize::MAX] {
            let end = size.min(offset.saturating_add(len));
            assert_eq!(piece(10, offset, len).unwrap(), &whole[offset..end]);
        }
    }
    assert_eq!(piece(10, size + 1, 1), Some(vec![]));
    assert_eq!(piece(10, usize::MAX, usize::MAX), Some(vec![]));
    assert_eq!(piece(20, 90, 20).unwrap(), &body(100)[90..]);
    assert_eq!(piece(11, 0, 1), None);
}

fn an_expired_mail_keeps_its_place_only(rig: &mut dyn Rig) {
    fill(rig, &[9000, 9000]);
    rig.store()
        .commit(&[Change::ExpireMail { log: LOG, id: 10 }])
        .unwrap();
    rig.reopen();
    let (found, _) = mails(rig, page(0, 20, 9, u64::MAX));
    let dead = MailRecord {
        state: MailState::Expired,
        from: String::new(),
        to: vec![],
        subject: String::new(),
        content_type: String::new(),
        size: 0,
        ..envelope(0, 1, 9000, 9000)
    };
    assert_eq!(found[0].record, dead);
    assert_eq!(found[0].body, None);
    assert_eq!(found[1].body.as_deref(), Some(&*body(9000)));
    let query = Query::Body {
        log: LOG,
        id: 10,
        offset: 0,
        len: 1,
    };
    assert_eq!(ask(rig, &query), Answer::Body(None));
}

fn a_removed_mail_leaves_nothing_behind(rig: &mut dyn Rig) {
    fill(rig, &[9000, 10]);
    rig.store()
        .commit(&[Change::RemoveMail { log: LOG, id: 10 }])
        .unwrap();
    // The same id again, whose chunks must not be the old ones.
    let record = envelope(0, 1, 5000, 5000);
    let body: Arc<[u8]> = vec![1; 5000].into();
    let append = Change::AppendMail {
        log: LOG,
        id: 10,
        record,
        body: Arc::clone(&body),
    };
    assert_eq!(ids(rig, page(0, 20, 9, u64::MAX)).0, [20]);
    rig.store().commit(&[append]).unwrap();
    let (found, _) = mails(rig, page(0, 10, 9, u64::MAX));
    assert_eq!(found[0].body.as_deref(), Some(&*body));
}

fn changes_of_one_commit_see_each_other(rig: &mut dyn Rig) {
    let mail = |id: MailId, size: usize| Change::AppendMail {
        log: LOG,
        id,
        record: MailRecord {
            expires_at_ms: Some(5),
            ..envelope(0, 1, 0, size)
        },
        body: body(size),
    };
    let changes = [
        mail(10, 9000),
        mail(20, 9000),
        mail(30, 9000),
        Change::ExpireMail { log: LOG, id: 10 },
        Change::RemoveMail { log: LOG, id: 20 },
        Change::ExpireMail { log: LOG, id: 30 },
        Change::RemoveMail { log: LOG, id: 30 },
        Change::ExpireMail { log: LOG, id: 30 },
    ];
    rig.store().commit(&changes).unwrap();
    let (found, _) = mails(rig, page(0, 99, 9, u64::MAX));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].record.state, MailState::Expired);
    let due = Query::Expired { at_ms: 5, mails: 9 };
    assert_eq!(ask(rig, &due), Answer::Expired(vec![]));
}

fn mark_at_looks_down(rig: &mut dyn Rig) {
    fill(rig, &[5; 4]);
    let trim = [10, 20].map(|id| Change::RemoveMail { log: LOG, id });
    rig.store().commit(&trim).unwrap();
    let mut at = |id| match ask(rig, &Query::MarkAt { log: LOG, id }) {
        Answer::Mark(mark) => mark,
        other => panic!("{other:?}"),
    };
    let third = Mark {
        id: 30,
        count: 3,
        bytes: 15,
    };
    assert_eq!(at(29), Mark::ZERO);
    assert_eq!(at(30), third);
    assert_eq!(at(39), third);
    assert_eq!(at(u64::MAX).id, 40);
    assert_eq!(at(0), Mark::ZERO);
}

fn oldest_comes_without_bodies(rig: &mut dyn Rig) {
    fill(rig, &[5; 3]);
    let mut oldest = |after, count| {
        let query = Query::Oldest {
            log: LOG,
            after,
            mails: count,
        };
        let (found, more) = mails(rig, query);
        assert!(found.iter().all(|mail| mail.body.is_none()));
        let ids: Vec<_> = found.iter().map(|mail| mail.id).collect();
        (ids, more)
    };
    assert_eq!(oldest(0, 2), (vec![10, 20], true));
    assert_eq!(oldest(10, 2), (vec![20, 30], false));
    assert_eq!(oldest(30, 2), (vec![], false));
}

fn expired_lists_what_is_due(rig: &mut dyn Rig) {
    let mail = |id: MailId, expires_at_ms| Change::AppendMail {
        log: LOG,
        id,
        record: MailRecord {
            expires_at_ms,
            ..envelope(0, 1, 0, 0)
        },
        body: body(0),
    };
    let changes = [
        mail(1, Some(300)),
        mail(2, None),
        mail(3, Some(100)),
        mail(4, Some(200)),
        mail(5, Some(-5)),
    ];
    rig.store().commit(&changes).unwrap();
    rig.reopen();
    let mut due = |at_ms, mails| match ask(rig, &Query::Expired { at_ms, mails }) {
        Answer::Expired(places) => places.into_iter().map(|(_, id)| id).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(due(200, 9), [5, 3, 4]);
    assert_eq!(due(199, 9), [5, 3]);
    assert_eq!(due(i64::MAX, 3), [5, 3, 4]);
    let go = [
        Change::ExpireMail { log: LOG, id: 3 },
        Change::RemoveMail { log: LOG, id: 4 },
    ];
    rig.store().commit(&go).unwrap();
    let query = Query::Expired {
        at_ms: i64::MAX,
        mails: 9,
    };
    assert_eq!(ask(rig, &query), Answer::Expired(vec![(LOG, 5), (LOG, 1)]));
}

fn the_audit_is_read_in_order_and_knows_its_ends(rig: &mut dyn Rig) {
    assert_eq!(rig.store().load().unwrap().audited, None);
    // Two bytes of number, and beside it in the same tree a record with a key above all of it.
    let puts: Vec<Change> = (250..260).map(|n| Change::PutAudit(audit(n))).collect();
    rig.store().commit(&puts).unwrap();
    rig.store().commit(&[Change::RemoveAudit(250)]).unwrap();
    rig.reopen();
    assert_eq!(rig.store().load().unwrap().audited, Some((251, 259)));
    let read = |rig: &mut dyn Rig, after, rows| match ask(rig, &Query::Audit { after, rows }) {
        Answer::Audit { rows, more } => {
            let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
            (numbers, more)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(read(rig, 0, 3), (vec![251, 252, 253], true));
    assert_eq!(read(rig, 256, 3), (vec![257, 258, 259], false));
    assert_eq!(read(rig, 259, 3), (vec![], false));
    assert_eq!(read(rig, u64::MAX, 3), (vec![], false));
}

fn logs_are_apart(rig: &mut dyn Rig) {
    fill(rig, &[1, 1]);
    for log in [LOG - 1, LOG + 1] {
        let other = Change::AppendMail {
            log,
            id: 15,
            record: envelope(0, 1, 1, 1),
            body: body(1),
        };
        rig.store().commit(&[other]).unwrap();
    }
    assert_eq!(ids(rig, page(0, u64::MAX, 9, 99)).0, [10, 20]);
    assert_eq!(ids(rig, newest(u64::MAX, u64::MAX, 9, 99)).0, [10, 20]);
    let before = Query::MarkAt {
        log: LOG + 1,
        id: 14,
    };
    assert_eq!(ask(rig, &before), Answer::Mark(Mark::ZERO));
}

fn a_refused_commit_changes_nothing(rig: &mut dyn Rig) {
    let before = rig.store().load().unwrap();
    let (mut changes, _) = one_of_each();
    let mut record = envelope(0, 1, 1, 1);
    record.subject = "x".repeat(VALUE_BYTES_MAX);
    changes.push(Change::AppendMail {
        log: LOG,
        id: 10,
        record,
        body: body(1),
    });
    assert!(matches!(
        rig.store().commit(&changes),
        Err(StoreError::Engine(_))
    ));
    assert_eq!(rig.store().load().unwrap(), before);
}

fn a_reader_sees_later_commits(rig: &mut dyn Rig) {
    let reader = rig.store().reader();
    fill(rig, &[1]);
    let answer = std::thread::spawn(move || reader.read(&page(0, 10, 1, 1)));
    match answer.join().unwrap().unwrap() {
        Answer::Mails { mails, .. } => assert_eq!(mails.len(), 1),
        other => panic!("{other:?}"),
    }
}

fn a_gap_in_a_log_is_damage(rig: &mut dyn Rig) {
    fill(rig, &[1; 4]);
    let gap = Change::RemoveMail { log: LOG, id: 20 };
    rig.store().commit(&[gap]).unwrap();
    let reader = rig.store().reader();
    let all = u64::MAX;
    for query in [page(0, 40, 9, all), newest(all, all, 9, all)] {
        match reader.read(&query) {
            Err(StoreError::Damaged { what, .. }) => assert!(what.contains("mail 20"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ids(rig, page(20, 40, 9, all)).0, [30, 40]);
}
