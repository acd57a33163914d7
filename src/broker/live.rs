//! Who hears what live: the subscriptions that are granted, and the keys that are taken back.
//!
//! libzmq cannot take a grant back from a live connection, so an address gets a new notice key whenever
//! somebody lost the right to the old one, or may have got it by mistake (`xpub`). Denied subscriptions
//! stay in libzmq for as long as their connection lasts: what they cost is charged (`budget`), and who is
//! over it, or over his share of what all may make it keep, loses that connection. The others never notice, but where many
//! users together fill the socket, which is then opened anew, rarely.

use super::core::Core;
use super::io::Output;
use super::sessions::Session;
use crate::auth::policy;
use crate::limits;
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::{LogNumber, PublicKey};

impl Core {
    /// Says whether ZAP may let this key onto the live socket: a registered device's only, whose user
    /// does not fill it with what is denied.
    pub fn may_connect_live(&self, key: &PublicKey) -> bool {
        let device = self.directory.device_of_key(key);
        device.is_some_and(|device| {
            self.let_in(device.user, device.number).is_ok()
                && self.budgets.may_connect_live(device.user, self.now.mono_ms)
        })
    }

    /// Grants a subscription frame, or does not: only an existing key of its present generation, of
    /// an address this user may read and has joined (P5).
    ///
    /// Where it is not sure whom a grant would reach, the address gets a new key instead, which the
    /// reader asks for next.
    pub(super) fn subscribe(&mut self, key: PublicKey, topic: &[u8], sure: bool) {
        if !self.may_speak_live(&key) {
            return self.denied(&key, limits::denied_cost(topic.len()));
        }
        let device = self.directory.device_of_key(&key);
        let granted = NoticeKey::from_bytes(topic)
            .zip(device)
            .and_then(|(wanted, device)| {
                let address = self.directory.address(wanted.log)?;
                let may = address.generation == wanted.generation
                    && self.let_in(device.user, device.number).is_ok()
                    && policy::may_read(device.user, address)
                    && self.directory.reads(device.user, wanted.log);
                may.then_some((wanted, device.user))
            });
        let Some((granted, user)) = granted else {
            return self.denied(&key, limits::denied_cost(topic.len()));
        };
        if !sure {
            return self.doubt(granted);
        }
        self.outputs.push_back(Output::Grant(granted));
        self.listened.insert(granted);
        self.granted.entry(key).or_default().insert(granted.log);
        self.publish(user, &Notice::Granted { log: granted.log }, None);
    }

    /// Charges for the end of a subscription: who ends and begins them on and on takes the server's time.
    pub(super) fn unsubscribe(&mut self, key: &PublicKey) {
        if !self.may_speak_live(key) {
            self.outputs.push_back(Output::Cut);
        }
    }

    /// Ends the connection of who sends what no client's library does. Nothing of it is kept, but it makes
    /// the grants beside it unsure.
    pub(super) fn stray(&mut self, key: &PublicKey) {
        self.charge_denied(key, limits::STRAY_COST);
        self.outputs.push_back(Output::Cut);
    }

    /// Takes one frame from the budget of a key's user.
    fn may_speak_live(&mut self, key: &PublicKey) -> bool {
        let device = self.directory.device_of_key(key);
        device.is_some_and(|device| self.budgets.take_live_frame(device.user, self.now.mono_ms))
    }

    /// Charges for what was denied but is kept by the live socket. Who is over his budget loses the
    /// connection, and what was kept for it goes with it; ZAP keeps him out until there is some again.
    /// So one user cannot have the socket opened anew, and when many do, the next time is not soon:
    /// meanwhile whoever has something denied loses his connection at once.
    fn denied(&mut self, key: &PublicKey, cost: u64) {
        self.charge_denied(key, cost);
        if !self.may_connect_live(key) || !self.may_keep(key, cost) {
            return self.outputs.push_back(Output::Cut);
        }
        self.denied_kept += cost;
        if self.denied_kept <= limits::DENIED_KEPT_MAX {
            return;
        }
        let told = if self.now.mono_ms >= self.renew_from_ms {
            self.denied_kept = 0;
            self.budgets.keep_nothing();
            self.renew_from_ms = self.now.mono_ms + limits::LIVE_RENEWAL_MS;
            Output::RenewLive
        } else {
            Output::Cut
        };
        self.outputs.push_back(told);
    }

    /// Takes from the share that a key's user has of what is kept: without, one who waits for his budget again and
    /// again, on a connection that lasts, would fill the socket by himself in hours.
    fn may_keep(&mut self, key: &PublicKey, cost: u64) -> bool {
        let device = self.directory.device_of_key(key);
        device.is_some_and(|device| self.budgets.take_kept(device.user, cost, self.now.mono_ms))
    }

    fn charge_denied(&mut self, key: &PublicKey, cost: u64) {
        self.counts.denied_subscriptions += 1;
        if let Some(device) = self.directory.device_of_key(key) {
            self.budgets
                .charge_denied(device.user, cost, self.now.mono_ms);
        }
    }

    /// Gives an address another key, because somebody else may hear what is published under this one.
    /// What waits to be published under it is dropped: its readers fetch it with the new key.
    pub(super) fn doubt(&mut self, key: NoticeKey) {
        if self.directory.notice_key(key.log) == Some(key) {
            self.unpublish(key);
            self.rekey(key.log);
            self.tell_rekeyed(key.log);
        }
    }

    /// Raises the generation of everything a key was granted, because it lost its rights, and tells
    /// those who keep theirs.
    pub(super) fn take_back_grants(&mut self, key: &PublicKey) {
        let lost = self.granted.remove(key).unwrap_or_default();
        // All of them before anybody is told: the old keys must hear nothing of the new ones.
        for log in &lost {
            self.rekey(*log);
        }
        for log in lost {
            self.tell_rekeyed(log);
        }
    }

    /// Raises a log's generation if any of a user's keys was granted it: he does not read it now.
    pub(super) fn take_back_grant(&mut self, user: LogNumber, log: LogNumber) {
        if self.forget_grant(user, log) {
            self.renew_key(log);
        }
    }

    /// Forgets that a user's keys were granted a log; says whether any was, so that it needs another key.
    pub(super) fn forget_grant(&mut self, user: LogNumber, log: LogNumber) -> bool {
        let mut was_granted = false;
        for device in self.directory.devices_of(user) {
            let granted = self
                .directory
                .device(device)
                .and_then(|device| self.granted.get_mut(&device.key));
            was_granted |= granted.is_some_and(|logs| logs.remove(&log));
        }
        was_granted
    }

    /// Gives a log another key and tells who reads it.
    pub(super) fn renew_key(&mut self, log: LogNumber) {
        self.rekey(log);
        self.tell_rekeyed(log);
    }

    fn rekey(&mut self, log: LogNumber) {
        if let Some(old) = self.directory.notice_key(log) {
            self.listened.remove(&old);
        }
        self.directory.raise_generation(log, &mut self.changes);
    }

    /// Tells readers online that a log is new or has another key: a topic's by notice and with the
    /// next heartbeat, a user's own with the heartbeat alone, for his old key is what was lost. Who opens a
    /// session later lists all.
    pub(super) fn tell_rekeyed(&mut self, log: LogNumber) {
        let hears = |session: &Session| self.directory.reads(session.user, log);
        if self.sessions.iter().any(hears) {
            let at = self.take_number();
            self.directory.note_key(log, at);
        }
        let readers: Vec<LogNumber> = self.directory.readers(log).collect();
        for user in readers {
            if self.listened_key(user).is_some() {
                self.publish_log(user, log);
            }
        }
    }

    fn publish_log(&mut self, user: LogNumber, log: LogNumber) {
        // The devices' cursors differ; a notice speaks of none, so the client fetches.
        if let Some(info) = self.log_info(0, log) {
            self.publish(user, &Notice::Log { info }, None);
        }
    }
}
