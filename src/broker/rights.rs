//! Who may read and send to topics, and how long they keep mail: what administrators set, at once for those who are there.

use std::collections::BTreeSet;

use serde_json::json;

use super::admin::{Actor, not_a};
use super::audit::Tally;
use super::core::{Core, Ruling, told};
use super::directory::Readings;
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::Pattern;
use crate::protocol::request::{Admin, AdminWhat, Right};
use crate::protocol::{LogNumber, MailId, reply, time};
use crate::store::{AddressKind, Change, GrantRecord};

impl Core {
    /// Refuses a topic that a user may not read or send to.
    pub(super) fn may(&self, right: Right, user: LogNumber, topic: &str) -> Result<(), WireError> {
        if self.directory.may(right, user, topic) {
            return Ok(());
        }
        Err(match right {
            Right::Read => refusal!(Code::Denied, "you may not read {}", topic),
            Right::Send => refusal!(Code::Denied, "you may not send to {}", topic),
        })
    }

    /// Grants a right, or takes one back.
    pub(super) fn topic_grant(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let (grant, note) = self.grant_meant(admin)?;
        let gives = admin.what == AdminWhat::TopicGrant;
        let topic = grant.topic.clone();
        if gives && self.directory.rights().count() >= limits::GRANTS_MAX {
            return Err(refusal!(
                Code::LimitReached,
                "there are 1024 rules for topics; one for a prefix (lab/*) counts once"
            ));
        }
        let mut rights = self.directory.rights().clone();
        let changes_it = if gives {
            rights.add(grant.clone())
        } else {
            rights.remove(&grant)
        };
        if !changes_it && !gives {
            return Err(refusal!(
                Code::NoSuchAddress,
                "there is no such rule for {}; mailctl admin topic show {} lists them",
                topic,
                topic
            ));
        }
        let (gained, lost) = self.directory.shifts(&rights);
        let tally: Tally = vec![("gained", gained.len() as u64), ("lost", lost.len() as u64)];
        self.carry_out((actor, admin), &topic, (tally, note), |core| {
            core.changes.push(if gives {
                Change::PutGrant(grant)
            } else {
                Change::RemoveGrant(grant)
            });
            core.directory.set_rights(rights);
            core.shift_readers(gained, lost);
        })
    }

    /// Lets those begin to read who may now, at the head, and cuts off those who may no longer.
    fn shift_readers(&mut self, gained: Readings, lost: Readings) {
        let mut rekeyed = BTreeSet::new();
        for (user, log) in lost {
            self.directory.stop_reading(user, log);
            let devices: Vec<u64> = self.directory.devices_of(user).collect();
            for device in devices {
                self.logs.drop_cursor(device, log, &mut self.changes);
            }
            if self.forget_grant(user, log) {
                rekeyed.insert(log);
            }
            self.upkeep.shrank(log);
        }
        // A new key for each topic, once, however many lost it.
        for log in rekeyed {
            self.renew_key(log);
        }
        for (user, log) in gained {
            let at: MailId = self.take_number();
            self.directory.begin_reading(user, log, at);
            let head = self.logs.head(log);
            let devices: Vec<u64> = self.directory.devices_of(user).collect();
            for device in devices {
                self.logs.put_cursor(device, log, head, &mut self.changes);
            }
            self.upkeep.shrank(log);
        }
    }

    fn grant_meant(&self, admin: &Admin) -> Result<(GrantRecord, String), WireError> {
        let text = admin.address.as_deref().unwrap_or_default();
        let topic = Pattern::parse(text)
            .map_err(|error| refusal!(Code::BadName, "not a name: {}", error))?;
        if let Some(address) = self.directory.live(topic.as_str())
            && address.kind == AddressKind::User
        {
            return Err(not_a(AddressKind::Topic, &address.name));
        }
        let Some(right) = admin.particulars.right else {
            return Err(refusal!(Code::BadRequest, "which right?"));
        };
        let who = match &admin.particulars.user {
            None => None,
            Some(name) => {
                // A removed user's rules are taken back by his name too, which stays reserved until they are.
                let user = self.directory.by_name(name);
                let user = user.ok_or_else(|| self.no_such_address(name))?;
                if user.kind != AddressKind::User {
                    return Err(not_a(AddressKind::User, &user.name));
                }
                Some(user.number)
            }
        };
        let whose = who.map_or("everybody", |user| self.directory.name_of(user));
        let note = format!("{} {whose}", right.word());
        let grant = GrantRecord {
            topic: topic.as_str().to_owned(),
            right,
            who,
        };
        Ok((grant, note))
    }

    /// Sets how long a topic keeps mail for newcomers.
    pub(super) fn topic_retention(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let address = self.meant(admin)?;
        if address.kind != AddressKind::Topic {
            return Err(not_a(AddressKind::Topic, &address.name));
        }
        let (log, name) = (address.number, address.name.clone());
        let particulars = &admin.particulars;
        let (mails, seconds) = (particulars.limits.history_mails, particulars.seconds);
        let said = |limit: Option<u64>| limit.map_or("default".to_owned(), |n| n.to_string());
        let note = format!("mails {}, seconds {}", said(mails), said(seconds));
        self.carry_out(
            (actor, admin),
            &name,
            (self.mail_tally(log), note),
            |core| {
                core.rules
                    .set_retention(log, (mails, seconds), &mut core.changes);
                core.upkeep.shrank(log);
            },
        )
    }

    /// Tells all there is to know of one topic.
    pub(super) fn topic_show(&self, admin: &Admin) -> Ruling {
        let address = self.meant(admin)?;
        if address.kind != AddressKind::Topic {
            return Err(not_a(AddressKind::Topic, &address.name));
        }
        let (log, name) = (address.number, address.name.as_str());
        let record = self.logs.record(log);
        let limits = self.rules.limits(log, &self.settings);
        let rules = |right: Right| -> Vec<String> {
            let naming = self.directory.rights().naming(right, name);
            let line = |grant: &GrantRecord| {
                let who = grant.who.map(|user| self.directory.name_of(user));
                format!("{}: {}", grant.topic, who.unwrap_or("everybody"))
            };
            naming.take(limits::TOPICS_SHOWN_MAX).map(line).collect()
        };
        let row = json!({
            "topic": name,
            "created_at": time::to_text(address.created_at_ms),
            "subscribers": self.directory.reader_count(log),
            "mails": record.head.count - record.floor.count,
            "bytes": record.head.bytes - record.floor.bytes,
            "head": record.head.id,
            "history_mails": limits.history_mails,
            "history_seconds": limits.history_seconds,
            "read": rules(Right::Read),
            "send": rules(Right::Send),
        });
        Ok(told(&reply::Rows {
            rows: vec![row],
            more_after: None,
        }))
    }
}
