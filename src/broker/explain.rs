//! One mail's life, as far as it is still known: where it lies, and how far each device of each reader has come with it.
//!
//! Nothing is kept for this: a mail that is gone is said to be gone. Where a mail lies is looked for in the logs that
//! may hold its number, a few at a time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::core::{Call, Core, Ruling};
use super::read::{Asked, Pending};
use crate::limits;
use crate::protocol::codes::{Code, refusal};
use crate::protocol::names::Address;
use crate::protocol::request::{Admin, Right};
use crate::protocol::{LogNumber, MailId, reply, time};
use crate::store::{
    AddressKind, AddressRecord, AddressState, CompletionRecord, MailState, Query, RecordedOutcome,
    StoredMail,
};

/// Room kept in a reply for the row that says how much was left out.
const LAST_ROW_BYTES: usize = 128;

/// A mail that is being looked for.
#[derive(Debug)]
pub(super) struct Explain {
    id: MailId,
    /// The one user whose part in it is asked about.
    reader: Option<LogNumber>,
    /// Logs still to look at.
    to_look: Vec<LogNumber>,
    /// Where to go on looking when it is in none of them.
    more_after: Option<String>,
    /// Its copies that were found, by log.
    found: BTreeMap<LogNumber, StoredMail>,
}

impl Explain {
    fn mail(&self) -> Option<&StoredMail> {
        self.found.values().find(|mail| mail.id == self.id)
    }
}

impl Core {
    /// Looks for a mail.
    pub(super) fn explain(&mut self, call: &Call, admin: &Admin) -> Ruling {
        let Some(id) = admin.particulars.id else {
            return Err(refusal!(Code::BadRequest, "which mail?"));
        };
        let reader = match admin.particulars.user.as_deref() {
            None => None,
            Some(name) => {
                let asked = Admin::new(admin.what, Some(name.to_owned()));
                Some(self.user_meant(&asked)?.0)
            }
        };
        let (to_look, more_after) = self.may_hold(id, admin.after.as_deref());
        let explain = Explain {
            id,
            reader,
            to_look,
            more_after,
            found: BTreeMap::new(),
        };
        self.look_for(Asked::by(call), Box::new(explain));
        Ok(None)
    }

    /// Returns the next logs that may hold a mail of this number, and the address to go on after.
    fn may_hold(&self, id: MailId, after: Option<&str>) -> (Vec<LogNumber>, Option<String>) {
        let may_hold = |address: &&AddressRecord| {
            let record = self.logs.record(address.number);
            record.floor.id < id && id <= record.head.id
        };
        let mut rest = self.directory.addresses_after(after).filter(may_hold);
        let (mut logs, mut last) = (Vec::new(), None);
        for address in rest.by_ref().take(limits::EXPLAIN_LOGS) {
            logs.push(address.number);
            last = Some(address.name.clone());
        }
        let is_more = rest.next().is_some();
        (logs, last.filter(|_| is_more))
    }

    /// Looks into the next log; tells when there is none left.
    fn look_for(&mut self, asked: Asked, mut explain: Box<Explain>) {
        let Some(log) = explain.to_look.pop() else {
            return self.tell_explained(&asked.call(), &explain);
        };
        let id = explain
            .mail()
            .map_or(explain.id, |mail| mail.record.message);
        let query = Query::Oldest {
            log,
            after: id.saturating_sub(1),
            mails: 1,
        };
        self.load(query, Pending::Explain(asked, explain, log));
    }

    /// Takes what a log had: the mail, then the other copies of its send.
    pub(super) fn explain_loaded(
        &mut self,
        asked: Asked,
        mut explain: Box<Explain>,
        log: LogNumber,
        mail: Option<StoredMail>,
    ) {
        let mail = mail.filter(|mail| mail.id <= self.synced());
        let message = explain.mail().map(|mail| mail.record.message);
        let is_it = |mail: &StoredMail| match message {
            None => mail.id == explain.id,
            Some(message) => mail.record.message == message,
        };
        if let Some(mail) = mail.filter(is_it) {
            if message.is_none() {
                let others = mail.record.to.iter();
                let others = others.filter_map(|name| self.directory.live(name));
                let others = others.map(|address| address.number);
                explain.to_look = others.filter(|other| *other != log).collect();
            }
            explain.found.insert(log, mail);
        }
        self.look_for(asked, explain);
    }

    fn tell_explained(&mut self, call: &Call, explain: &Explain) {
        let mut rows = reply::Rows {
            rows: Vec::new(),
            more_after: explain.more_after.clone(),
        };
        if explain.mail().is_some() {
            rows.more_after = None;
            rows.rows = self.explained(explain);
        } else if rows.more_after.is_none() {
            rows.rows = self.not_found(explain.id);
        }
        self.reply(call, reply::encode(&rows), Vec::new());
    }

    /// Says what is known of a number that no kept mail has.
    fn not_found(&self, id: MailId) -> Vec<Value> {
        let is_given_out = (1..=self.synced()).contains(&id);
        let mut rows = vec![json!({
            "kind": "unknown",
            "id": id,
            "state": if is_given_out { "gone" } else { "never" },
        })];
        let outcome = is_given_out.then(|| self.streams.completion_of(id));
        if let Some(completion) = outcome.flatten() {
            rows.extend(completion.outcomes.iter().map(|outcome| match outcome {
                RecordedOutcome::Sent { address, id } => {
                    recipient(address, "gone", Some(*id), None)
                }
                RecordedOutcome::Refused { address, code } => {
                    recipient(address, "refused", None, Some(code.word()))
                }
            }));
        }
        rows
    }

    fn explained(&self, explain: &Explain) -> Vec<Value> {
        let Some(mail) = explain.mail() else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        let mut devices = Vec::new();
        for (log, copy) in &explain.found {
            let of_copy = self.devices_with(*log, copy, explain.reader);
            rows.push(self.copy_row(*log, copy, &of_copy));
            devices.extend(of_copy);
        }
        let completion = self.streams.completion_of(mail.id);
        for name in &mail.record.to {
            let is_found = explain
                .found
                .keys()
                .any(|log| self.directory.name_of(*log) == name);
            if !is_found {
                rows.push(self.missing_row(name, mail, completion));
            }
        }
        if let Some(reader) = explain.reader
            && devices.is_empty()
        {
            rows.push(self.outsider_row(reader, explain, mail));
        }
        let mut room = limits::HEADER_BYTES_MAX - LAST_ROW_BYTES;
        for row in &rows {
            room = room.saturating_sub(row.to_string().len() + 1);
        }
        let mut left_out = 0;
        for row in devices {
            match room.checked_sub(row.to_string().len() + 1) {
                Some(left) if rows.len() < limits::ROWS_MAX && left_out == 0 => {
                    room = left;
                    rows.push(row);
                }
                _ => left_out += 1,
            }
        }
        if left_out > 0 {
            rows.push(json!({"kind": "more", "devices": left_out}));
        }
        rows
    }

    /// One copy, and how many devices stand where with it.
    fn copy_row(&self, log: LogNumber, copy: &StoredMail, devices: &[Value]) -> Value {
        let count = |state: &str| devices.iter().filter(|row| row["state"] == state).count();
        let record = &copy.record;
        json!({
            "kind": "mail",
            "id": copy.id,
            "message": record.message,
            "address": self.directory.name_of(log),
            "from": record.from,
            "to": record.to,
            "subject": record.subject,
            "sent_at": time::to_text(record.sent_at_ms),
            "expires_at": record.expires_at_ms.map(time::to_text),
            "size": record.size,
            "state": match record.state {
                MailState::Live => "live",
                MailState::Expired => "expired",
            },
            "acknowledged": count("acknowledged"),
            "in_flight": count("in_flight"),
            "waiting": count("waiting"),
            "joined_later": count("joined_later"),
        })
    }

    /// Every device that reads a log, and how it stands with one mail of it.
    fn devices_with(
        &self,
        log: LogNumber,
        copy: &StoredMail,
        only: Option<LogNumber>,
    ) -> Vec<Value> {
        let Some(address) = self.directory.address(log) else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        for (_, number) in self.queues_of(address) {
            let Some(device) = self.directory.device(number) else {
                continue;
            };
            if only.is_some_and(|only| only != device.user) {
                continue;
            }
            let cursor = self.logs.cursor(number, log).map_or(0, |mark| mark.id);
            let joined = match address.kind {
                AddressKind::User => 0,
                AddressKind::Topic => {
                    let since = self.directory.since(device.user, &address.name);
                    since.max(device.since)
                }
            };
            let state = if cursor < copy.id {
                if self.logs.is_in_flight(number, log, copy.id) {
                    "in_flight"
                } else {
                    "waiting"
                }
            } else if joined >= copy.id {
                "joined_later"
            } else {
                "acknowledged"
            };
            rows.push(json!({
                "kind": "device",
                "id": copy.id,
                "address": address.name,
                "user": self.directory.name_of(device.user),
                "device": number,
                "name": device.name,
                "state": state,
                "online": self.online_with(number).is_some(),
                "last_seen": self.device_seen(number).map(time::to_text),
                "shut_out": self.let_in(device.user, number).is_err(),
            }));
        }
        rows
    }

    /// A recipient at whom there is no copy: refused then, or gone since.
    fn missing_row(
        &self,
        name: &str,
        mail: &StoredMail,
        completion: Option<&CompletionRecord>,
    ) -> Value {
        let outcomes = completion.into_iter().flat_map(|known| &known.outcomes);
        for outcome in outcomes {
            match outcome {
                RecordedOutcome::Refused { address, code } if address == name => {
                    return recipient(name, "refused", None, Some(code.word()));
                }
                RecordedOutcome::Sent { address, id } if address == name => {
                    return recipient(name, "gone", Some(*id), None);
                }
                _ => {}
            }
        }
        let normal = Address::parse(name).ok();
        let address = normal.and_then(|name| self.directory.by_name(name.as_str()));
        let state = match address {
            None => "no_such_address",
            Some(address) if address.state == AddressState::Reserved => "removed",
            // Had it been there, it would be there still.
            Some(address) if self.logs.record(address.number).floor.id < mail.record.message => {
                "refused"
            }
            Some(_) => "gone_or_refused",
        };
        recipient(name, state, None, None)
    }

    /// Why a user has no part in a mail.
    fn outsider_row(&self, user: LogNumber, explain: &Explain, mail: &StoredMail) -> Value {
        let name = self.directory.name_of(user);
        let sender = self.directory.live(&mail.record.from);
        let topics = explain.found.keys().filter_map(|log| {
            let address = self.directory.address(*log)?;
            (address.kind == AddressKind::Topic).then_some(address)
        });
        let topics: Vec<&AddressRecord> = topics.collect();
        let state = if explain.found.contains_key(&user)
            || topics
                .iter()
                .any(|topic| self.directory.reads(user, topic.number))
        {
            "no_device"
        } else if sender.is_some_and(|sender| self.blocks.has(user, sender.number))
            && mail.record.to.iter().any(|to| to == name)
        {
            "blocked"
        } else if topics.is_empty() {
            "not_addressed"
        } else if topics
            .iter()
            .all(|topic| !self.directory.may(Right::Read, user, &topic.name))
        {
            "may_not_read"
        } else {
            "not_subscribed"
        };
        json!({"kind": "reader", "user": name, "state": state})
    }
}

fn recipient(address: &str, state: &str, id: Option<MailId>, code: Option<&str>) -> Value {
    json!({"kind": "recipient", "address": address, "state": state, "id": id, "code": code})
}
