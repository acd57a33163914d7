//! Sessions and ports as the world outside may expect them: terms, rests, one holder each (P6).

use std::collections::{BTreeMap, HashMap};

use super::ledger::{Ledger, is_out};
use super::model::{Cause, Model, Time};
use crate::protocol::PublicKey;
use crate::protocol::request::Request;
use crate::store::{LeaseRecord, LeaseState};

/// What is known of a session.
#[derive(Debug, Clone, Copy)]
struct Session {
    key: PublicKey,
    heard_ms: u64,
    /// It may be over: it was silent for its term, was ended, or was lost with the server.
    may_be_over: bool,
    /// A login listed its logs since the server started: only then a heartbeat has all to tell.
    is_listed: bool,
}

/// All sessions that were ever told, and where the ports stood last.
#[derive(Debug, Default, Clone)]
pub(super) struct Sessions {
    all: HashMap<[u8; 16], Session>,
    /// Which request ended all sessions of a key last, and which those of everybody.
    logged_out: HashMap<PublicKey, u64>,
    all_ended: u64,
    /// Since when each port is as it is.
    since_ms: BTreeMap<u16, u64>,
    /// Port and session of each epoch that was told.
    told: HashMap<u64, (u16, [u8; 16])>,
    last_told: u64,
}

pub(super) fn session_of(text: &str) -> [u8; 16] {
    let mut session = [0; 16];
    hex::decode_to_slice(text, &mut session).expect("sessions of the simulator are hex");
    session
}

impl Sessions {
    /// Sessions without a port are gone with the server; the others begin a full term.
    pub(super) fn restarted(&mut self, synced: &Ledger, time: Time) {
        for session in self.all.values_mut() {
            session.may_be_over = true;
        }
        let known =
            |lease: &&LeaseRecord| is_out(lease) && synced.devices.contains_key(&lease.device);
        for lease in synced.leases.values().filter(known) {
            let begun = Session {
                key: synced.devices[&lease.device].1,
                heard_ms: time.ms,
                may_be_over: false,
                is_listed: false,
            };
            self.all.insert(lease.session, begun);
        }
        for since in self.since_ms.values_mut() {
            *since = time.ms;
        }
    }

    /// What was told of epochs before a restore stands.
    pub(super) fn keep_epochs(&mut self, before: Self) {
        self.told = before.told;
    }

    /// A login was answered; `serial` is its place among the requests. What came after it may have ended
    /// the session before anybody heard of it.
    pub(super) fn opened(
        &mut self,
        session: [u8; 16],
        key: PublicKey,
        (handled_ms, serial): (u64, u64),
    ) {
        let ended = self.logged_out.get(&key).copied().unwrap_or(0);
        let known = self.all.entry(session).or_insert(Session {
            key,
            heard_ms: handled_ms,
            may_be_over: ended.max(self.all_ended) > serial,
            is_listed: true,
        });
        known.is_listed = true;
        assert_eq!(known.key, key, "P4: a session was given to two");
    }

    /// A request came in a session.
    pub(super) fn heard(&mut self, session: [u8; 16], key: &PublicKey, now_ms: u64, ttl_ms: u64) {
        if let Some(known) = self.all.get_mut(&session).filter(|known| known.key == *key) {
            known.may_be_over |= now_ms > known.heard_ms + ttl_ms;
            known.heard_ms = now_ms;
        }
    }

    /// A session was ended on purpose, if it is this key's.
    pub(super) fn ended(&mut self, session: [u8; 16], key: &PublicKey) {
        if let Some(known) = self.all.get_mut(&session) {
            known.may_be_over |= known.key == *key;
        }
    }

    /// All sessions of this key were ended on purpose.
    pub(super) fn logged_out(&mut self, key: PublicKey, serial: u64) {
        self.logged_out.insert(key, serial);
        for session in self.all.values_mut() {
            session.may_be_over |= session.key == key;
        }
    }

    /// Sessions of whoever were ended on purpose.
    pub(super) fn any_ended(&mut self, serial: u64) {
        self.all_ended = serial;
        for session in self.all.values_mut() {
            session.may_be_over = true;
        }
    }

    /// Says whether a session was told to be another key's.
    pub(super) fn is_anothers(&self, session: [u8; 16], key: &PublicKey) -> bool {
        self.all
            .get(&session)
            .is_some_and(|known| known.key != *key)
    }

    /// A session was refused as over: it must have had its term (P6, P13).
    pub(super) fn refused(&mut self, session: [u8; 16], key: &PublicKey, is_beat: bool) {
        if let Some(known) = self.all.get(&session) {
            assert!(
                known.may_be_over || known.key != *key || is_beat && !known.is_listed,
                "P6: a session ended before its term: {known:?}"
            );
        }
    }

    /// A heartbeat was answered: its session has heard of all its logs from this life of the server.
    pub(super) fn beaten(&self, session: [u8; 16]) {
        let is_listed = self.all.get(&session).is_none_or(|known| known.is_listed);
        assert!(is_listed, "P10: a heartbeat told what it cannot know");
    }

    /// A lease was told: its epoch means this port and session for good.
    pub(super) fn told(&mut self, port: u16, epoch: u64, session: [u8; 16]) {
        let first = *self.told.entry(epoch).or_insert((port, session));
        assert_eq!(first, (port, session), "P6: epoch {epoch} was used twice");
        self.last_told = self.last_told.max(epoch);
    }
}

impl Model {
    /// A port goes round as it must.
    pub(super) fn permit_lease(&mut self, lease: &LeaseRecord, cause: &Cause) {
        let now_ms = self.time.ms;
        let before = self.decided.leases.get(&lease.port);
        let was = before.map_or(LeaseState::Free, |lease| lease.state);
        let same = before
            .is_some_and(|before| (before.epoch, before.session) == (lease.epoch, lease.session));
        match lease.state {
            LeaseState::Offered => {
                assert_eq!(was, LeaseState::Free, "P6: {lease:?} was lent twice");
                let newest = self.decided.last_epoch.max(self.sessions.last_told);
                assert!(lease.epoch > newest, "P6: {lease:?} has an old epoch");
                self.check_share(lease);
                self.faults.leases += 1;
            }
            LeaseState::Held => {
                assert!(same && was == LeaseState::Offered, "P6: {lease:?}");
            }
            LeaseState::Resting => {
                assert!(same && before.is_some_and(is_out), "P6: {lease:?}");
                self.check_end(lease, cause);
            }
            LeaseState::Free => {
                assert_eq!(was, LeaseState::Resting, "P6: {lease:?}");
                let since = self.sessions.since_ms.get(&lease.port).copied();
                let rested = now_ms - since.unwrap_or(self.time.started_ms);
                assert!(
                    rested >= self.limits.port_rest_ms,
                    "P6: {lease:?} had no rest"
                );
            }
        }
        self.sessions.since_ms.insert(lease.port, now_ms);
    }

    fn check_share(&self, lease: &LeaseRecord) {
        let out = self.decided.leases.values().filter(|other| is_out(other));
        let mut his = 0;
        for other in out {
            assert_ne!(other.session, lease.session, "P6: a session has two ports");
            his += usize::from(other.user == lease.user);
        }
        assert!(
            his < self.limits.ports_per_user,
            "P6: {lease:?} is too many"
        );
    }

    /// Nobody but its holder ends a lease before its term.
    fn check_end(&mut self, lease: &LeaseRecord, cause: &Cause) {
        let silent_ms = |session: &Session| self.time.ms - session.heard_ms;
        let silent = self.sessions.all.get(&lease.session).map(silent_ms);
        let may = match cause {
            Cause::Request(request, key) => {
                let holder = self.decided.devices.get(&lease.device);
                let removes = matches!(**request, Request::DeviceRm(_) | Request::AccountRm(_))
                    && self.users_of(key).last() == Some(&lease.user);
                matches!(**request, Request::Admin(_))
                    || removes
                    || self.decided.next_keys.get(&lease.device) == Some(key)
                    || holder.is_some_and(|(_, of)| of == key)
            }
            // A session whose login was never answered is known to the server alone.
            Cause::Tick => silent.is_none_or(|ms| ms >= self.limits.lease_ttl_ms),
            Cause::Start => !self.decided.devices.contains_key(&lease.device),
            Cause::Other => false,
        };
        assert!(
            may,
            "P6: {lease:?} was ended by {cause:?} after {silent:?} ms"
        );
        if matches!(cause, Cause::Tick) {
            self.faults.lease_ends += 1;
        }
    }

    /// Time passed: no dead client holds a port.
    pub(super) fn check_terms(&self) {
        let Some(since) = self.time.ms.checked_sub(self.limits.lease_ttl_ms) else {
            return;
        };
        for lease in self.decided.leases.values().filter(|lease| is_out(lease)) {
            let heard = self.sessions.all.get(&lease.session);
            assert!(
                heard.is_none_or(|session| session.heard_ms >= since),
                "P6: {lease:?} outlived its term: {heard:?}"
            );
        }
    }
}
