//! What the core may decide, and why: each change is judged before it goes to disk.

use std::sync::Arc;

use super::ledger::is_out;
use super::model::{Cause, Fact, Model, Said};
use crate::protocol::request::{AdminWhat, Request, Role};
use crate::protocol::{LogNumber, MailId};
use crate::store::{AccountRecord, Change, DeviceRecord, MailRecord, Mark, StreamRecord};

impl Model {
    /// Judges one change, given everything decided before it.
    pub(super) fn permit(&mut self, change: &Change, cause: &Cause) {
        match change {
            Change::PutAddress(record) => {
                self.users_ever.insert(record.number, record.name.clone());
                let before = self.decided.addresses.get(&record.number);
                let newest = self
                    .decided
                    .addresses
                    .last_key_value()
                    .map_or(0, |(n, _)| *n);
                match before {
                    Some(before) => assert!(
                        record.generation >= before.generation && record.name == before.name,
                        "P5: {record:?} after {before:?}"
                    ),
                    None => assert!(record.number > newest, "{record:?} has an old number"),
                }
            }
            Change::RemoveAddress(number) => {
                assert!(is_deed(cause), "P2: address {number} went by {cause:?}");
            }
            Change::RemoveSubscription { .. } => {
                let may = is_deed(cause)
                    || is(cause, |request| matches!(request, Request::AccountRm(_)))
                    || is(cause, |request| matches!(request, Request::Leave(_)));
                assert!(may, "P2: {change:?} by {cause:?}");
            }
            Change::PutDevice(record) => {
                let known = self.decided.devices.get(&record.number);
                let of = (record.user, record.key);
                let is_same = known.is_some_and(|known| *known == of);
                let registers = is(cause, |request| matches!(request, Request::Register(_)));
                let rotates = self.may_rotate(record, cause);
                assert!(
                    is_same || rotates || (known.is_none() && registers),
                    "P5: {record:?} by {cause:?}"
                );
                if rotates {
                    self.is_rotated(record.key, known.map(|(_, key)| *key));
                    self.faults.rotations += 1;
                }
                let is_same = is_same || rotates;
                let again = !is_same
                    && record.code != [0; 32]
                    && self.decided.redeemed.contains(&record.code);
                assert!(!again, "P5: a code was good twice: {record:?}");
                self.is_now(record.key, record.user);
                self.faults.users += u64::from(!is_same);
                self.faults.devices += u64::from(!is_same && record.code != [0; 32]);
            }
            Change::RemoveDevice(number) => {
                assert!(
                    is_deed(cause) || self.may_remove(*number, cause),
                    "P2: device {number} went by {cause:?}"
                );
                self.faults.forgets += 1;
            }
            Change::PutAccount(record) => {
                let may = is_admin(cause) && self.decided.addresses.contains_key(&record.user);
                assert!(
                    may || self.forgets_kicks(Some(record), record.user, cause),
                    "P5: {record:?} by {cause:?}"
                );
            }
            Change::RemoveAccount(user) if self.forgets_kicks(None, *user, cause) => {}
            Change::RemoveAccount(_) | Change::PutLimits(_) | Change::RemoveLimits(_) => {
                let may = is_admin(cause)
                    || is(cause, |request| matches!(request, Request::AccountRm(_)));
                assert!(may, "{change:?} by {cause:?}");
            }
            Change::PutAudit(record) => {
                let last = self.decided.audit.last_key_value();
                let next = last.map_or(1, |(number, _)| number + 1);
                assert_eq!(record.number, next, "the audit has a gap");
                let invites = is(cause, |request| matches!(request, Request::Invite(_)));
                let purges = record.what == AdminWhat::QueuePurge.word();
                assert!(
                    is_admin(cause) || invites || purges,
                    "{record:?} by {cause:?}"
                );
            }
            Change::PutLease(lease) => self.permit_lease(lease, cause),
            Change::RemoveLease(port) => {
                let out = self.decided.leases.get(port).is_some_and(is_out);
                assert!(!out, "P6: the lease of {port} went while it was out");
            }
            _ => self.permit_mail(change, cause),
        }
    }

    /// Says whether a login leaves out of an account what was a kick, and nothing else. Whether that was over the core
    /// alone knows, by the server's running time.
    fn forgets_kicks(&self, after: Option<&AccountRecord>, user: LogNumber, cause: &Cause) -> bool {
        let is_login = is(cause, |request| matches!(request, Request::Login(_)));
        let Some(before) = self.decided.accounts.get(&user).filter(|_| is_login) else {
            return false;
        };
        let kicked = after.map_or(&[][..], |after| &after.kicked);
        let is_less = kicked.iter().all(|kick| before.kicked.contains(kick));
        let others = |account: &AccountRecord| (account.role, account.disabled);
        let plain = (Role::User, false);
        is_less && others(before) == after.map_or(plain, others)
    }

    /// Says whether a device goes on with the key that it named, proven by a login.
    fn may_rotate(&self, record: &DeviceRecord, cause: &Cause) -> bool {
        let known = self.decided.devices.get(&record.number);
        let is_named = self.decided.next_keys.get(&record.number) == Some(&record.key);
        let proves = matches!(cause, Cause::Request(request, key)
            if matches!(**request, Request::Login(_)) && *key == record.key);
        is_named && proves && known.is_some_and(|(user, _)| *user == record.user)
    }

    fn permit_mail(&mut self, change: &Change, cause: &Cause) {
        match change {
            Change::AppendMail {
                log,
                id,
                record,
                body,
            } => self.permit_append((*log, *id), record, body),
            Change::ExpireMail { log: _, id } => {
                // The clock may have been set back since the store was asked what is over.
                let at_ms = self.facts.get(id).and_then(|fact| fact.expires_at_ms);
                assert!(
                    at_ms.is_some_and(|at_ms| at_ms <= self.wall_max_ms),
                    "P2: {id} expired before its time, or had none"
                );
                self.faults.expiries += 1;
            }
            Change::RemoveMail { log, id } => self.permit_removal(*log, *id),
            Change::PutCursor { device, log, mark } => {
                self.permit_cursor((*device, *log), *mark, cause);
            }
            Change::PutStream(record) => self.permit_stream(record),
            Change::RemoveStream(number) => {
                let row = self.decided.streams.get(number);
                let kept = self
                    .decided
                    .completions
                    .range((*number, 0)..=(*number, u64::MAX));
                let gone = row.is_none_or(|(device, _)| self.is_going(*device, cause));
                assert!(gone || kept.count() == 0, "P3: {change:?} by {cause:?}");
            }
            _ => {}
        }
    }

    /// Returns the id of the first copy of a send that was carried out.
    fn message_of(&self, said: &Said) -> Option<MailId> {
        let name = said.name();
        let copies = self.carried_out.range((name, 0)..=(name, LogNumber::MAX));
        copies.map(|(_, id)| *id).min()
    }

    fn permit_append(&mut self, (log, id): (LogNumber, MailId), record: &MailRecord, body: &[u8]) {
        let said = Said::read(body);
        let (last, n) = self.decided.head(log);
        self.check_id(id);
        assert!(
            id > self.decided.last_id,
            "P3: id {id} was given out before"
        );
        assert_eq!(
            (record.prev, record.count),
            (last, n + 1),
            "P3: {id} does not chain in log {log}"
        );
        assert_eq!(record.from, said.from, "P4: {said:?}");
        assert!(
            !self.disk_low,
            "{id} was taken while the disk was nearly full"
        );
        let address = &self.decided.addresses[&log];
        assert!(
            address.is_live && said.to.contains(&address.name),
            "P5: {said:?} in log {log}"
        );
        let from = self.decided.number_of(&said.from);
        let blocked = from.is_some_and(|from| self.decided.blocks.contains(&(log, from)));
        assert!(!blocked, "{said:?} went to who blocks its sender");
        if address.is_user {
            self.check_room(log);
        }
        let message = self.message_of(&said).unwrap_or(id);
        assert_eq!(record.message, message, "{said:?} has copies apart");
        assert_eq!(record.answers, said.answers(), "{said:?} answers another");
        let again = self.carried_out.insert((said.name(), log), id);
        assert_eq!(again, None, "P3: {said:?} was carried out again as {id}");
        let expires = |ttl_s: u64| self.time.wall_ms + i64::try_from(1_000 * ttl_s).expect("small");
        let fact = Fact {
            log,
            size: body.len() as u64,
            expires_at_ms: said.ttl_s.map(expires),
            taken_ms: self.time.ms,
            message,
            readers: self.decided.readers(log),
            said,
        };
        self.facts.insert(id, Arc::new(fact));
        self.decided.last_id = id;
    }

    /// A full mailbox refuses its sender (P7); so nothing in it is ever trimmed unread.
    fn check_room(&self, log: LogNumber) {
        let slowest = self.decided.cursors_in(log).into_iter().min().unwrap_or(0);
        let mails = self.decided.logs.get(&log).into_iter().flatten();
        let waiting = mails.filter(|(id, mail)| **id > slowest && !mail.is_removed);
        assert!(
            (waiting.count() as u64) < self.mails_max(log),
            "P7: log {log} was full and took a mail"
        );
    }

    /// Returns how many mails may wait for a user.
    fn mails_max(&self, log: LogNumber) -> u64 {
        let own = self.decided.quotas.get(&log).copied();
        own.unwrap_or(self.limits.log_mails_max)
    }

    /// A mail goes from the front of its log, when nobody needs it any more (P2).
    fn permit_removal(&mut self, log: LogNumber, id: MailId) {
        self.faults.trims += 1;
        let mails = &self.decided.logs[&log];
        let front = mails.iter().find(|(_, mail)| !mail.is_removed);
        assert_eq!(front.map(|(id, _)| *id), Some(id), "P2: not from the front");
        let Some(address) = self.decided.addresses.get(&log).filter(|a| a.is_live) else {
            return;
        };
        if self.purges.get(&log).is_some_and(|through| id <= *through) {
            return;
        }
        let read_by = self.decided.cursors_in(log);
        let is_read = read_by.iter().all(|cursor| *cursor >= id);
        let n = mails[&id].n;
        let (_, newest) = self.decided.head(log);
        let may = if address.is_user {
            let devices = self.decided.devices_of(log).count();
            is_read && devices > 0
        } else {
            let fact = &self.facts[&id];
            let age_s = (self.time.ms - fact.taken_ms) / 1_000 + 1;
            let is_old =
                n + self.limits.history_mails <= newest || age_s >= self.limits.history_seconds;
            let is_over = n + self.limits.log_mails_max <= newest;
            is_over || (is_read && is_old)
        };
        assert!(
            may,
            "P2: {id} of {address:?} was trimmed; read up to {read_by:?}, newest count {newest}"
        );
    }

    /// A cursor stands on a mail of a log that its device reads, and goes forward (P3).
    fn permit_cursor(&mut self, (device, log): (u64, LogNumber), mark: Mark, cause: &Cause) {
        let user = self.decided.devices.get(&device).map(|(user, _)| *user);
        let reads = user.is_some_and(|user| self.decided.reads(user, log));
        // A removed topic's log goes mail by mail.
        let is_going = !self.decided.addresses.contains_key(&log);
        assert!(
            reads || is_going,
            "P5: device {device} got a cursor in log {log} by {cause:?}"
        );
        let stands = mark.id == 0 || self.decided.mail(log, mark.id).is_some();
        let counts = self.decided.count(log, 0, mark.id);
        assert!(
            stands && counts == mark.count,
            "P8: a cursor on {mark:?} where {counts} were put"
        );
        let before = self.decided.cursors.get(&(device, log)).copied();
        let may = matches!(cause, Cause::Start) || self.is_rewinding(device, log);
        assert!(
            may || before.is_none_or(|before| before <= mark.id),
            "P3: a cursor went back from {before:?} to {mark:?} by {cause:?}"
        );
        if is(cause, |request| matches!(request, Request::Register(_))) && user == Some(log) {
            let skipped = self.decided.logs.get(&log).into_iter().flatten();
            let skipped = skipped.filter(|(id, mail)| **id <= mark.id && !mail.is_removed);
            assert_eq!(
                skipped.count(),
                0,
                "P2: a new device misses its user's mail"
            );
        }
    }

    /// Says whether a join that wants this device to start earlier in this log is under way.
    fn is_rewinding(&self, device: u64, log: LogNumber) -> bool {
        let topic = self.decided.addresses.get(&log);
        let place = topic.map(|address| (device, address.name.clone()));
        place.is_some_and(|place| self.rewinds.get(&place).is_some_and(|many| *many > 0))
    }

    fn permit_stream(&mut self, record: &StreamRecord) {
        let before = self.decided.streams.get(&record.number);
        let newest = self.decided.streams.last_key_value().map_or(0, |(n, _)| *n);
        match before {
            Some((device, below)) => assert!(
                *device == record.device && *below <= record.settled_below,
                "P3: {record:?} after {before:?}"
            ),
            None => assert!(record.number > newest, "P3: {record:?} has an old number"),
        }
    }

    fn is_going(&self, device: u64, cause: &Cause) -> bool {
        is_deed(cause)
            || self.may_remove(device, cause)
            || !self.decided.devices.contains_key(&device)
    }

    /// Says whether a device forgets itself, or is removed by another one of its user.
    fn may_remove(&self, device: u64, cause: &Cause) -> bool {
        let Cause::Request(request, key) = cause else {
            return false;
        };
        let asker = self.decided.device_of(key).map(|(asker, _)| asker);
        let owner = self.decided.devices.get(&device).map(|(owner, _)| owner);
        // Who removes his account may have lost the device that he asks with by now.
        let is_own = owner.is_some() && owner == self.users_of(key).last();
        match &**request {
            Request::Logout(logout) => logout.forget && asker == Some(device),
            Request::DeviceRm(rm) => is_own && rm.device == device && asker != Some(device),
            Request::AccountRm(_) => is_own,
            _ => false,
        }
    }
}

fn is(cause: &Cause, what: impl Fn(&Request) -> bool) -> bool {
    matches!(cause, Cause::Request(request, _) if what(request))
}

fn is_admin(cause: &Cause) -> bool {
    is(cause, |request| matches!(request, Request::Admin(_)))
}

/// Says whether an administrator removes something.
fn is_deed(cause: &Cause) -> bool {
    is(cause, |request| {
        matches!(request, Request::Admin(admin)
            if matches!(admin.what, AdminWhat::UserRm | AdminWhat::UserFree | AdminWhat::TopicRm
                | AdminWhat::KeyRevoke))
    })
}
