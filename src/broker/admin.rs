//! What administrators ask, and who may. Listings change nothing; what does is in `deed`.

use serde_json::{Value, json};

use super::core::{Call, Core, Ruling, told};
use super::invitations::is_open;
use crate::auth::policy;
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::Address;
use crate::protocol::request::{Admin, AdminWhat, Role};
use crate::protocol::{PublicKey, reply, time};
use crate::store::{AddressKind, AddressRecord, AddressState, LeaseRecord, LeaseState, Mark};

/// Who asks as an administrator.
#[derive(Debug)]
pub(super) struct Actor {
    /// A user's name; empty for the key that is no user's.
    pub(super) name: String,
    pub(super) role: Role,
}

impl Core {
    pub(super) fn admin(&mut self, call: &Call, admin: &Admin) -> Ruling {
        let actor = self.actor(&call.peer.key)?;
        policy::may_administer(actor.role, admin)?;
        match admin.what {
            AdminWhat::UserLs => Ok(self.user_ls(admin)),
            AdminWhat::UserShow => self.user_show(admin),
            AdminWhat::KeyLs => self.key_ls(admin),
            AdminWhat::TopicLs => Ok(self.topic_ls(admin)),
            AdminWhat::TopicShow => self.topic_show(admin),
            AdminWhat::QueueLs => self.queue_ls(call, admin),
            AdminWhat::QueueShow => self.queue_show(call, admin),
            AdminWhat::QueuePeek if admin.body => self.look(call, &actor, admin),
            AdminWhat::QueuePeek => self.queue_peek(call, admin),
            AdminWhat::QueuePurge => self.queue_purge(call, actor, admin),
            AdminWhat::QueueMove => self.queue_move(call, admin),
            AdminWhat::LeaseLs => Ok(self.lease_ls(admin)),
            AdminWhat::SessionLs => Ok(self.session_ls(admin)),
            AdminWhat::AuditLs => self.audit_ls(call, admin),
            AdminWhat::StoreProbe => Ok(self.store_probe()),
            AdminWhat::Explain => self.explain(call, admin),
            AdminWhat::Stats => Ok(self.stats()),
            AdminWhat::Backup => self.backup(call, &actor, admin),
            _ => self.deed(call, &actor, admin),
        }
    }

    /// Returns who a key speaks for where administration is asked for.
    pub(super) fn actor(&self, key: &PublicKey) -> Result<Actor, WireError> {
        if self.settings.admin_keys.contains(key) {
            return Ok(Actor {
                name: String::new(),
                role: Role::Admin,
            });
        }
        let Some(device) = self.directory.device_of_key(key) else {
            return Ok(Actor {
                name: String::new(),
                role: Role::User,
            });
        };
        self.let_in(device.user, device.number)?;
        Ok(Actor {
            name: self.directory.name_of(device.user).to_owned(),
            role: self.rules.role(device.user),
        })
    }

    // -- listings --

    fn user_ls(&self, admin: &Admin) -> Option<Vec<u8>> {
        let users = self.of_kind(admin, AddressKind::User);
        rows(users.map(|user| {
            let row = json!({
                "user": user.name,
                "devices": self.directory.devices_of(user.number).count(),
                "role": self.rules.role(user.number).word(),
                "created_at": time::to_text(user.created_at_ms),
                "state": self.state_of(user),
            });
            (row, user.name.clone())
        }))
    }

    fn state_of(&self, user: &AddressRecord) -> &'static str {
        match user.state {
            AddressState::Reserved => "reserved",
            AddressState::Live if self.rules.is_disabled(user.number) => "disabled",
            AddressState::Live => "live",
        }
    }

    /// Tells all there is to know of one user.
    fn user_show(&self, admin: &Admin) -> Ruling {
        let name = meant_name(admin)?;
        let user = self.directory.by_name(name.as_str());
        let user = user.ok_or_else(|| self.no_such_address(name.as_str()))?;
        if user.kind != AddressKind::User {
            return Err(not_a(AddressKind::User, &user.name));
        }
        let number = user.number;
        let devices: Vec<u64> = self.directory.devices_of(number).collect();
        let sessions = devices
            .iter()
            .map(|device| self.sessions.of_device(*device).len());
        let seen = devices
            .iter()
            .filter_map(|device| self.device_seen(*device));
        let waiting = self.logs.used(number);
        let limits = self.rules.limits(number, &self.settings);
        let kicked_for = self.rules.kicked_for(number, 0, self.running_s());
        let topics = self.directory.patterns(number);
        let topics = topics.take(limits::TOPICS_SHOWN_MAX);
        let row = json!({
            "user": user.name,
            "role": self.rules.role(number).word(),
            "state": self.state_of(user),
            "created_at": time::to_text(user.created_at_ms),
            "last_seen": seen.max().map(time::to_text),
            "devices": devices.len(),
            "sessions": sessions.sum::<usize>(),
            "kicked_for_s": kicked_for,
            "waiting": waiting.count,
            "bytes": waiting.bytes,
            "mails_max": limits.mails_max,
            "bytes_max": limits.bytes_max,
            "subscriptions": self.directory.pattern_count(number),
            "topics": topics.map(|(pattern, _)| pattern).collect::<Vec<_>>(),
        });
        Ok(rows(std::iter::once((row, user.name.clone()))))
    }

    /// Lists a user's devices with their keys.
    fn key_ls(&self, admin: &Admin) -> Ruling {
        let (user, name) = self.user_meant(admin)?;
        let after: u64 = admin
            .after
            .as_deref()
            .and_then(|device| device.parse().ok())
            .unwrap_or(0);
        let devices = self.directory.devices_of(user);
        let devices = devices.filter(|number| *number > after);
        let records = devices.filter_map(|number| self.directory.device(number));
        Ok(rows(records.map(|device| {
            let row = json!({
                "user": name,
                "device": device.number,
                "name": device.name,
                "key": hex::encode(device.key),
                "created_at": time::to_text(device.created_at_ms),
                "last_seen": self.device_seen(device.number).map(time::to_text),
                "online": self.online_with(device.number).is_some(),
            });
            (row, device.number.to_string())
        })))
    }

    fn topic_ls(&self, admin: &Admin) -> Option<Vec<u8>> {
        let topics = self.of_kind(admin, AddressKind::Topic);
        rows(topics.map(|topic| {
            let record = self.logs.record(topic.number);
            let row = json!({
                "topic": topic.name,
                "subscribers": self.directory.reader_count(topic.number),
                "mails": record.head.count - record.floor.count,
                "bytes": record.head.bytes - record.floor.bytes,
                "head": record.head.id,
                "created_at": time::to_text(topic.created_at_ms),
            });
            (row, topic.name.clone())
        }))
    }

    fn of_kind(&self, admin: &Admin, kind: AddressKind) -> impl Iterator<Item = &AddressRecord> {
        self.directory
            .addresses_after(admin.after.as_deref())
            .filter(move |a| a.kind == kind)
    }

    fn lease_ls(&self, admin: &Admin) -> Option<Vec<u8>> {
        let after: u16 = admin
            .after
            .as_deref()
            .and_then(|port| port.parse().ok())
            .unwrap_or(0);
        let mut ports: Vec<(u16, Value)> = self
            .leases
            .lent()
            .map(|lease| (lease.port, self.lease_row(lease)))
            .collect();
        ports.extend(self.leases.never_lent().map(|port| (port, free_row(port))));
        ports.sort_unstable_by_key(|(port, _)| *port);
        rows(
            ports
                .into_iter()
                .filter(|(port, _)| *port > after)
                .map(|(port, row)| (row, port.to_string())),
        )
    }

    fn lease_row(&self, lease: &LeaseRecord) -> Value {
        let is_out = matches!(lease.state, LeaseState::Offered | LeaseState::Held);
        if lease.state == LeaseState::Free {
            return free_row(lease.port);
        }
        let seen = self
            .sessions
            .get(&lease.session)
            .map(|session| session.seen_wall_ms);
        let ends = seen.map(|seen| seen.saturating_add_unsigned(self.settings.lease_ttl_ms));
        json!({
            "port": lease.port,
            "user": is_out.then(|| self.directory.name_of(lease.user)),
            "device": is_out.then_some(lease.device),
            "epoch": lease.epoch,
            "state": match lease.state {
                LeaseState::Offered => "offered",
                LeaseState::Held => "held",
                LeaseState::Resting => "resting",
                LeaseState::Free => "free",
            },
            "expires_at": ends.filter(|_| is_out).map(time::to_text),
        })
    }

    fn session_ls(&self, admin: &Admin) -> Option<Vec<u8>> {
        let mut sessions: Vec<(String, Value)> = self
            .sessions
            .iter()
            .map(|session| {
                let port = self.leases.of_session(&session.key).map(|lease| lease.port);
                let row = json!({
                    "user": self.directory.name_of(session.user),
                    "device": session.device,
                    "since": time::to_text(session.since_wall_ms),
                    "last_seen": time::to_text(session.seen_wall_ms),
                    "port": port,
                });
                // The name of a session is a secret of its holder's; a digest of it sorts as well.
                (blake3::hash(&session.key).to_hex()[..32].to_owned(), row)
            })
            .collect();
        sessions.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let after = admin.after.clone().unwrap_or_default();
        rows(
            sessions
                .into_iter()
                .filter(|(key, _)| *key > after)
                .map(|(key, row)| (row, key)),
        )
    }

    /// Writes the server's age, which may be written at any time; the reply waits for its sync.
    fn store_probe(&mut self) -> Option<Vec<u8>> {
        self.write_age();
        told(&reply::Rows {
            rows: vec![json!({"durability": "fsync"})],
            more_after: None,
        })
    }

    fn stats(&self) -> Option<Vec<u8>> {
        let addresses = || self.directory.addresses_after(None);
        let of = |kind| addresses().filter(|address| address.kind == kind).count();
        let kept = addresses()
            .map(|address| self.logs.record(address.number))
            .fold(Mark::ZERO, |sum, log| Mark {
                id: 0,
                count: sum.count + log.head.count - log.floor.count,
                bytes: sum.bytes + log.head.bytes - log.floor.bytes,
            });
        let held = self
            .leases
            .lent()
            .filter(|lease| matches!(lease.state, LeaseState::Offered | LeaseState::Held));
        let row = json!({
            "users": of(AddressKind::User),
            "topics": of(AddressKind::Topic),
            "devices": self.directory.devices().count(),
            "sessions": self.sessions.iter().count(),
            "leases_held": held.count(),
            "invitations_open": self.invitations.iter().filter(|record| is_open(record)).count(),
            "blocks": self.blocks.count(),
            "mails_kept": kept.count,
            "bytes_kept": kept.bytes,
            "last_id": self.mail_counters.mail,
            "accepted": self.counts.accepted,
            "duplicates": self.counts.duplicates,
            "refused": self.counts.refused,
            "acknowledged": self.counts.acknowledged,
            "expired": self.counts.expired,
            "trimmed_unread": self.counts.trimmed_unread,
            "denied_subscriptions": self.counts.denied_subscriptions,
            "dropped_requests": self.counts.dropped_requests,
            "running_s": self.running_s(),
            "incarnation": self.meta.incarnation,
            "disk_low": self.disk_low,
            "disk_free_bytes": self.disk_free,
        });
        told(&reply::Rows {
            rows: vec![row],
            more_after: None,
        })
    }

    pub(super) fn meant(&self, admin: &Admin) -> Result<&AddressRecord, WireError> {
        let name = meant_name(admin)?;
        self.directory
            .live(name.as_str())
            .ok_or_else(|| self.no_such_address(name.as_str()))
    }
}

pub(super) fn meant_name(admin: &Admin) -> Result<Address, WireError> {
    let text = admin.address.as_deref().unwrap_or_default();
    Address::parse(text).map_err(|error| refusal!(Code::BadName, "not a name: {}", error))
}

pub(super) fn not_a(kind: AddressKind, name: &str) -> WireError {
    match kind {
        AddressKind::User => refusal!(Code::BadRequest, "{} is a topic", name),
        AddressKind::Topic => refusal!(Code::IsAUser, "{} is a user", name),
    }
}

fn free_row(port: u16) -> Value {
    json!({
        "port": port,
        "user": null,
        "device": null,
        "epoch": null,
        "state": "free",
        "expires_at": null,
    })
}

/// Makes a page of rows; each comes with the cursor that stands for it.
pub(super) fn page_of(all: impl Iterator<Item = (Value, String)>) -> reply::Rows {
    let mut page = Vec::new();
    let mut room = limits::HEADER_BYTES_MAX;
    let mut last: Option<String> = None;
    let mut more_after = None;
    for (row, cursor) in all {
        let left = room.checked_sub(row.to_string().len() + 1);
        let Some(left) = left.filter(|_| page.len() < limits::ROWS_MAX) else {
            more_after = last;
            break;
        };
        room = left;
        page.push(row);
        last = Some(cursor);
    }
    reply::Rows {
        rows: page,
        more_after,
    }
}

fn rows(all: impl Iterator<Item = (Value, String)>) -> Option<Vec<u8>> {
    told(&page_of(all))
}
