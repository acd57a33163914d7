//! What administrators change. Each deed counts what it meets, says it, and stands in the audit.

use serde_json::{Value, json};

use super::admin::{Actor, meant_name, not_a};
use super::audit::Tally;
use super::core::{Call, Core, Ruling, told};
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::UserName;
use crate::protocol::request::{Admin, AdminWhat};
use crate::protocol::{LogNumber, reply, time};
use crate::store::{AddressKind, AddressState, KickRecord, LeaseRecord, LeaseState};

impl Core {
    /// Does one of the deeds.
    pub(super) fn deed(&mut self, call: &Call, actor: &Actor, admin: &Admin) -> Ruling {
        match admin.what {
            AdminWhat::UserAdd => self.user_add(call, actor, admin),
            AdminWhat::UserDisable => self.user_disable(actor, admin),
            AdminWhat::UserEnable => self.user_enable(actor, admin),
            AdminWhat::UserRole => self.user_role(actor, admin),
            AdminWhat::UserQuota => self.user_quota(actor, admin),
            AdminWhat::UserRm => self.user_rm(actor, admin),
            AdminWhat::UserFree => self.user_free(actor, admin),
            AdminWhat::KeyRevoke => self.key_revoke(actor, admin),
            AdminWhat::TopicGrant | AdminWhat::TopicRevoke => self.topic_grant(actor, admin),
            AdminWhat::TopicRetention => self.topic_retention(actor, admin),
            AdminWhat::TopicCreate => self.topic_create(actor, admin),
            AdminWhat::TopicRm => self.topic_rm(actor, admin),
            AdminWhat::QueueRelease => self.queue_release(actor, admin),
            AdminWhat::LeaseRelease => self.lease_taken_back(actor, admin),
            AdminWhat::SessionKick => self.session_kick(actor, admin),
            listing => Err(refusal!(Code::Internal, "{} is no deed", listing.word())),
        }
    }

    /// Does a deed and writes it down, or only says what it would meet.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "every deed ends with it, as a ruling"
    )]
    pub(super) fn carry_out(
        &mut self,
        (actor, admin): (&Actor, &Admin),
        address: &str,
        (tally, note): (Tally, String),
        act: impl FnOnce(&mut Self),
    ) -> Ruling {
        let is_tried = admin.particulars.dry_run;
        if !is_tried {
            act(self);
            self.audit(actor, admin.what.word(), address, &tally, note);
        }
        Ok(told_deed(
            json!({"address": address}),
            &tally,
            None,
            is_tried,
        ))
    }

    // -- users --

    /// Makes a user, whose mail waits from now on, and a code for the first device.
    fn user_add(&mut self, call: &Call, actor: &Actor, admin: &Admin) -> Ruling {
        let text = admin.address.as_deref().unwrap_or_default();
        let name = UserName::parse(text)
            .map_err(|error| refusal!(Code::BadName, "not a name: {}", error))?;
        if self.directory.by_name(name.as_str()).is_some() {
            return Err(refusal!(Code::NameTaken, "the name {} is taken", name));
        }
        let user = self.create_user(&name);
        let (code, expires_at_ms) = self.new_code(call, 0, Some(user), None);
        let word = admin.what.word();
        self.audit(actor, word, name.as_str(), &Vec::new(), String::new());
        let row = json!({
            "address": name.as_str(),
            "code": code,
            "expires_at": time::to_text(expires_at_ms),
            "durability": "fsync",
        });
        Ok(told(&reply::Rows {
            rows: vec![row],
            more_after: None,
        }))
    }

    /// Lets none of a user's devices in from now on. What is sent to him waits.
    fn user_disable(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let (user, name) = self.user_meant(admin)?;
        if self.rules.is_disabled(user) {
            return Ok(told_deed(
                json!({"address": name}),
                &Vec::new(),
                None,
                false,
            ));
        }
        let what = (self.presence_tally(user), String::new());
        self.carry_out((actor, admin), &name, what, |core| {
            let devices: Vec<u64> = core.directory.devices_of(user).collect();
            for device in devices {
                core.cut_off(device);
            }
            core.rules.set_disabled(user, true, &mut core.changes);
        })
    }

    /// Lets a user's devices in again, those that were kicked too.
    fn user_enable(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let (user, name) = self.user_meant(admin)?;
        let what = (Vec::new(), String::new());
        self.carry_out((actor, admin), &name, what, |core| {
            core.rules.set_disabled(user, false, &mut core.changes);
        })
    }

    fn user_role(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let (user, name) = self.user_meant(admin)?;
        let Some(role) = admin.particulars.role else {
            return Err(refusal!(Code::BadRequest, "which role?"));
        };
        let was = self.rules.role(user);
        let note = format!("{} (was {})", role.word(), was.word());
        self.carry_out((actor, admin), &name, (Vec::new(), note), |core| {
            core.rules.set_role(user, role, &mut core.changes);
        })
    }

    /// Sets how much may wait for a user.
    fn user_quota(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let (user, name) = self.user_meant(admin)?;
        let limits = admin.particulars.limits;
        let said = |limit: Option<u64>| limit.map_or("default".to_owned(), |n| n.to_string());
        let (mails, bytes) = (said(limits.mails_max), said(limits.bytes_max));
        let note = format!("mails {mails}, bytes {bytes}");
        self.carry_out((actor, admin), &name, (Vec::new(), note), |core| {
            core.rules.set_limits(user, limits, &mut core.changes);
        })
    }

    fn user_rm(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let (user, name) = self.user_meant(admin)?;
        let mut tally = self.mail_tally(user);
        tally.extend(self.presence_tally(user));
        let subscriptions = self.directory.pattern_count(user) as u64;
        tally.push(("subscriptions", subscriptions));
        self.carry_out((actor, admin), &name, (tally, String::new()), |core| {
            core.remove_user(user);
        })
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
        self.rules.forget(user, &mut self.changes);
        self.directory.reserve(user, &mut self.changes);
        self.upkeep.shrank(user);
    }

    /// Frees a removed user's name. Who takes it gets a new number and an empty mailbox.
    fn user_free(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let name = meant_name(admin)?;
        let address = self.directory.by_name(name.as_str());
        let reserved = address.filter(|address| address.state == AddressState::Reserved);
        let Some(number) = reserved.map(|address| address.number) else {
            return Err(refusal!(
                Code::NoSuchAddress,
                "{} is not a removed user's name",
                name
            ));
        };
        if self.directory.rights().of_user(number).next().is_some() {
            // Without his rule a topic might be open to all, and his number is nobody's name any more.
            return Err(refusal!(
                Code::Denied,
                "{} still stands in rules for topics; take them back first: mailctl admin topic revoke",
                name
            ));
        }
        let what = (Vec::new(), String::new());
        self.carry_out((actor, admin), name.as_str(), what, |core| {
            core.drop_chats_of(number);
            core.directory.remove_address(number, &mut core.changes);
            core.upkeep.shrank(number);
        })
    }

    /// Removes a device: its key is worth nothing from now on, on connections that it has too.
    fn key_revoke(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let (user, name) = self.user_meant(admin)?;
        let (number, key, called) = self.device_meant(user, &name, admin)?;
        let sessions = self.sessions.of_device(number).len() as u64;
        let waiting = self.directory.logs_of(user);
        let waiting = waiting.map(|log| self.logs.waiting(number, log).count);
        let tally = vec![("sessions", sessions), ("waiting", waiting.sum())];
        let note = format!("device {number} {called:?} key {}", hex::encode(key));
        self.carry_out((actor, admin), &name, (tally, note), |core| {
            core.remove_device(number);
        })
    }

    // -- topics --

    fn topic_create(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let name = meant_name(admin)?;
        match self.directory.by_name(name.as_str()) {
            Some(address) if address.kind == AddressKind::Topic => {
                return Ok(told_deed(
                    json!({"address": name.as_str()}),
                    &Vec::new(),
                    None,
                    false,
                ));
            }
            Some(_) => {
                return Err(refusal!(Code::NameTaken, "{} is a user's", name));
            }
            None => {}
        }
        let what = (Vec::new(), String::new());
        self.carry_out((actor, admin), name.as_str(), what, |core| {
            core.create_topic(&name);
        })
    }

    /// Removes a topic with its mail and subscriptions. A topic of that name made later is another.
    fn topic_rm(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let address = self.meant(admin)?;
        if address.kind != AddressKind::Topic {
            return Err(not_a(AddressKind::Topic, &address.name));
        }
        let (log, name) = (address.number, address.name.clone());
        let mut tally = self.mail_tally(log);
        tally.push(("readers", self.directory.reader_count(log) as u64));
        self.carry_out((actor, admin), &name, (tally, String::new()), |core| {
            core.directory.remove_address(log, &mut core.changes);
            core.rules.forget(log, &mut core.changes);
            core.upkeep.shrank(log);
        })
    }

    // -- ports and sessions --

    /// Takes a port from who holds it. A chat that runs on it goes on, as when a lease is lost.
    fn lease_taken_back(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let Some(port) = admin.particulars.port else {
            return Err(refusal!(Code::BadRequest, "which port?"));
        };
        let lent = |lease: &&LeaseRecord| {
            lease.port == port && matches!(lease.state, LeaseState::Offered | LeaseState::Held)
        };
        let held = self.leases.lent().find(lent).cloned();
        let Some(lease) = held else {
            return Err(refusal!(Code::LeaseLost, "nobody holds port {}", port));
        };
        let holder = self.directory.name_of(lease.user).to_owned();
        let note = format!("{holder} device {} epoch {}", lease.device, lease.epoch);
        let address = port.to_string();
        self.carry_out((actor, admin), &address, (Vec::new(), note), |core| {
            core.give_back(lease.user, &lease.session, (lease.port, lease.epoch));
        })
    }

    /// Ends the sessions of a user, or of one of his devices, and keeps it out for a while.
    fn session_kick(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let (user, name) = self.user_meant(admin)?;
        let seconds = admin.particulars.seconds.unwrap_or(limits::KICK_SECONDS);
        if seconds > limits::KICK_SECONDS_MAX {
            return Err(refusal!(
                Code::TooLarge,
                "a kick keeps out for 30 days at most; for longer disable the user"
            ));
        }
        let devices: Vec<u64> = match admin.particulars.device {
            Some(_) => vec![self.device_meant(user, &name, admin)?.0],
            None => self.directory.devices_of(user).collect(),
        };
        let sessions = devices
            .iter()
            .map(|device| self.sessions.of_device(*device).len() as u64);
        let tally = vec![("sessions", sessions.sum())];
        let device = admin.particulars.device.unwrap_or(0);
        let note = match device {
            0 => format!("out for {seconds} s"),
            device => format!("device {device} out for {seconds} s"),
        };
        self.carry_out((actor, admin), &name, (tally, note), |core| {
            for device in devices {
                core.cut_off(device);
            }
            let running_s = core.running_s();
            let kick = KickRecord {
                device,
                until_running_s: running_s + seconds,
            };
            core.rules.kick(user, kick, running_s, &mut core.changes);
        })
    }

    // -- what is meant, and how much of it there is --

    pub(super) fn user_meant(&self, admin: &Admin) -> Result<(LogNumber, String), WireError> {
        let address = self.meant(admin)?;
        if address.kind == AddressKind::User {
            return Ok((address.number, address.name.clone()));
        }
        Err(not_a(AddressKind::User, &address.name))
    }

    fn device_meant(
        &self,
        user: LogNumber,
        name: &str,
        admin: &Admin,
    ) -> Result<(u64, crate::protocol::PublicKey, String), WireError> {
        let number = admin.particulars.device.unwrap_or(0);
        let device = self.directory.device(number);
        let device = device.filter(|device| device.user == user).ok_or_else(|| {
            refusal!(
                Code::NoSuchDevice,
                "{} has no device {}; mailctl admin user key ls {} lists them",
                name,
                number,
                name
            )
        })?;
        Ok((number, device.key, device.name.clone()))
    }

    /// Counts what is kept of a log.
    pub(super) fn mail_tally(&self, log: LogNumber) -> Tally {
        let record = self.logs.record(log);
        vec![
            ("mails", record.head.count - record.floor.count),
            ("bytes", record.head.bytes - record.floor.bytes),
        ]
    }

    fn presence_tally(&self, user: LogNumber) -> Tally {
        let devices: Vec<u64> = self.directory.devices_of(user).collect();
        let sessions = devices
            .iter()
            .map(|device| self.sessions.of_device(*device).len() as u64);
        vec![
            ("devices", devices.len() as u64),
            ("sessions", sessions.sum()),
        ]
    }
}

/// Says that a deed is on disk, or what it would meet, in the form of every admin reply: `of` is what it was done to, and
/// what is left of it is asked for by `more_after`.
pub(super) fn told_deed(
    of: Value,
    tally: &Tally,
    more_after: Option<String>,
    is_tried: bool,
) -> Option<Vec<u8>> {
    let mut row = of;
    for (what, many) in tally {
        row[*what] = (*many).into();
    }
    if is_tried {
        row["dry_run"] = true.into();
    } else {
        row["durability"] = "fsync".into();
    }
    told(&reply::Rows {
        rows: vec![row],
        more_after,
    })
}
