//! What an administrator asks and does. Listings change nothing.

use serde_json::{Value, json};

use super::core::{Call, Core, Ruling, told};
use super::invitations::is_open;
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::Address;
use crate::protocol::request::{Admin, AdminWhat};
use crate::protocol::{LogNumber, reply, time};
use crate::store::{AddressKind, AddressRecord, AddressState, LeaseRecord, LeaseState, Mark};

impl Core {
    pub(super) fn admin(&mut self, call: &Call, admin: &Admin) -> Ruling {
        if !self.settings.admin_keys.contains(&call.peer.key) {
            return Err(refusal!(
                Code::Denied,
                "only an administrator may do that; run it where admin.key lies beside server.url"
            ));
        }
        match admin.what {
            AdminWhat::UserLs => Ok(self.user_ls(admin)),
            AdminWhat::TopicLs => Ok(self.topic_ls(admin)),
            AdminWhat::QueueLs => self.queue_ls(call, admin),
            AdminWhat::QueueShow => self.queue_show(call, admin),
            AdminWhat::QueuePeek => self.queue_peek(call, admin),
            AdminWhat::LeaseLs => Ok(self.lease_ls(admin)),
            AdminWhat::SessionLs => Ok(self.session_ls(admin)),
            AdminWhat::Stats => Ok(self.stats()),
            AdminWhat::UserRm => self.user_rm(admin),
            AdminWhat::UserFree => self.user_free(admin),
            AdminWhat::TopicCreate => self.topic_create(admin),
            AdminWhat::TopicRm => self.topic_rm(admin),
        }
    }

    // -- listings --

    fn user_ls(&self, admin: &Admin) -> Option<Vec<u8>> {
        let users = self.of_kind(admin, AddressKind::User);
        rows(users.map(|user| {
            let state = if user.state == AddressState::Live {
                "live"
            } else {
                "reserved"
            };
            let row = json!({
                "user": user.name,
                "devices": self.directory.devices_of(user.number).count(),
                "role": "user",
                "created_at": time::to_text(user.created_at_ms),
                "state": state,
            });
            (row, user.name.clone())
        }))
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
        });
        told(&reply::Rows {
            rows: vec![row],
            more_after: None,
        })
    }

    // -- deeds --

    fn user_rm(&mut self, admin: &Admin) -> Ruling {
        let address = self.meant(admin)?;
        if address.kind != AddressKind::User {
            return Err(not_a(AddressKind::User, &address.name));
        }
        let (user, name) = (address.number, address.name.clone());
        self.remove_user(user);
        Ok(deed(&name))
    }

    /// Removes a user: mail, devices, subscriptions and streams go; the name stays reserved.
    pub(super) fn remove_user(&mut self, user: LogNumber) {
        let patterns: Vec<String> = self
            .directory
            .patterns(user)
            .map(|(pattern, _)| pattern.to_owned())
            .collect();
        for device in self.directory.devices_of(user).collect::<Vec<u64>>() {
            self.remove_device(device);
        }
        for pattern in patterns.iter().filter_map(|pattern| pattern.parse().ok()) {
            for log in self
                .directory
                .unsubscribe(user, &pattern, &mut self.changes)
            {
                self.upkeep.shrank(log);
            }
        }
        self.forget_chats_of(user);
        self.presence.show(user, &mut self.changes);
        self.directory.reserve(user, &mut self.changes);
        self.upkeep.shrank(user);
    }

    /// Frees a removed user's name. Who takes it gets a new number and an empty mailbox.
    fn user_free(&mut self, admin: &Admin) -> Ruling {
        let name = parsed(admin)?;
        let address = self.directory.by_name(name.as_str());
        let reserved = address.filter(|address| address.state == AddressState::Reserved);
        let Some(number) = reserved.map(|address| address.number) else {
            return Err(refusal!(
                Code::NoSuchAddress,
                "{} is not a removed user's name",
                name
            ));
        };
        self.drop_chats_of(number);
        self.directory.remove_address(number, &mut self.changes);
        self.upkeep.shrank(number);
        Ok(deed(name.as_str()))
    }

    fn topic_create(&mut self, admin: &Admin) -> Ruling {
        let name = parsed(admin)?;
        match self.directory.by_name(name.as_str()) {
            Some(address) if address.kind == AddressKind::Topic => {}
            Some(_) => {
                return Err(refusal!(Code::NameTaken, "{} is a user's", name));
            }
            None => drop(self.create_topic(&name)),
        }
        Ok(deed(name.as_str()))
    }

    /// Removes a topic with its mail and subscriptions. A topic of that name made later is another.
    fn topic_rm(&mut self, admin: &Admin) -> Ruling {
        let address = self.meant(admin)?;
        if address.kind != AddressKind::Topic {
            return Err(not_a(AddressKind::Topic, &address.name));
        }
        let (log, name) = (address.number, address.name.clone());
        self.directory.remove_address(log, &mut self.changes);
        self.upkeep.shrank(log);
        Ok(deed(&name))
    }

    pub(super) fn meant(&self, admin: &Admin) -> Result<&AddressRecord, WireError> {
        let name = parsed(admin)?;
        self.directory
            .live(name.as_str())
            .ok_or_else(|| self.no_such_address(name.as_str()))
    }
}

/// Says that a deed is on disk, in the form of every admin reply.
fn deed(address: &str) -> Option<Vec<u8>> {
    let row = json!({"address": address, "durability": "fsync"});
    told(&reply::Rows {
        rows: vec![row],
        more_after: None,
    })
}

fn parsed(admin: &Admin) -> Result<Address, WireError> {
    let text = admin.address.as_deref().unwrap_or_default();
    Address::parse(text).map_err(|error| refusal!(Code::BadName, "not a name: {}", error))
}

fn not_a(kind: AddressKind, name: &str) -> WireError {
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
