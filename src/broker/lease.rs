//! The verbs about ports. The pool itself is in `leases`.

use super::core::{Core, Ruling, Who, done, told};
use super::leases::{NoPort, SessionKey};
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::{LogNumber, reply, request};
use crate::store::LeaseRecord;

impl Core {
    /// Finds a login its port. Not having one never refuses a login.
    pub(super) fn lease_for(
        &mut self,
        who: Who,
        wanted: bool,
    ) -> (Option<reply::LeaseInfo>, Option<WireError>) {
        if !wanted {
            let kept = self.leases.of_session(&who.session);
            return (kept.map(|lease| self.lease_info(lease)), None);
        }
        match self.take_lease(who) {
            Ok(lease) => (Some(self.lease_info(&lease)), None),
            Err(error) => (None, Some(error)),
        }
    }

    pub(super) fn lease(&mut self, who: Who) -> Ruling {
        let lease = self.take_lease(who)?;
        Ok(self.told_lease(&lease))
    }

    /// Returns the session's lease, a new one if it has none: each session holds one port.
    fn take_lease(&mut self, who: Who) -> Result<LeaseRecord, WireError> {
        if let Some(lease) = self.leases.of_session(&who.session) {
            return Ok(lease.clone());
        }
        self.leases
            .can_offer(who.user, self.now.mono_ms)
            .map_err(|no| self.no_port(no))?;
        let epoch = self.directory.next_epoch(&mut self.changes);
        let holder = (who.user, who.device, who.session);
        self.leases
            .offer(holder, epoch, &mut self.changes)
            .ok_or_else(|| self.no_port(NoPort::Empty(self.settings.port_rest_ms)))
    }

    fn no_port(&self, no: NoPort) -> WireError {
        match no {
            NoPort::Empty(wait_ms) => {
                refusal!(Code::NoPort, "every chat port is in use or at rest").after_ms(wait_ms)
            }
            NoPort::UserRest(wait_ms) => refusal!(
                Code::NoPort,
                "the ports you gave back have to rest before you get another"
            )
            .after_ms(wait_ms),
            NoPort::UserLimit => refusal!(
                Code::NoPort,
                "you hold {} chat ports, which is the limit",
                self.settings.ports_per_user
            )
            .after_ms(self.settings.lease_ttl_ms),
        }
    }

    pub(super) fn lease_confirm(&mut self, who: Who, word: &request::LeaseWord) -> Ruling {
        let named = (word.port, word.epoch);
        match self.leases.confirm(&who.session, named, &mut self.changes) {
            Some(lease) => Ok(self.told_lease(&lease)),
            None => Err(lease_lost()),
        }
    }

    /// A port that is busy on the client's host goes to rest, and the client gets another. Said again
    /// after a lost reply, the replacement is already there.
    pub(super) fn lease_busy(&mut self, who: Who, word: &request::LeaseWord) -> Ruling {
        let held = self
            .leases
            .of_session(&who.session)
            .map(|lease| (lease.port, lease.epoch));
        match held {
            None => return Err(lease_lost()),
            Some(held) if held == (word.port, word.epoch) => {
                self.give_back(who.user, &who.session, held);
            }
            Some(_) => {}
        }
        self.lease(who)
    }

    /// Gives a port back. Said again after a lost reply, it is given back.
    pub(super) fn lease_release(&mut self, who: Who, word: &request::LeaseWord) -> Ruling {
        if !self.leases.was_lent(&who.session, (word.port, word.epoch)) {
            return Err(lease_lost());
        }
        self.give_back(who.user, &who.session, (word.port, word.epoch));
        Ok(done())
    }

    /// Sends a session's port to rest; what was asked on it is withdrawn.
    pub(super) fn give_back(
        &mut self,
        user: LogNumber,
        session: &SessionKey,
        (port, epoch): (u16, u64),
    ) {
        let mono_ms = self.now.mono_ms;
        if self.leases.release(port, epoch, mono_ms, &mut self.changes) {
            self.withdraw_invitations(user, session);
        }
    }

    pub(super) fn lease_info(&self, lease: &LeaseRecord) -> reply::LeaseInfo {
        reply::LeaseInfo {
            port: lease.port,
            epoch: lease.epoch,
            ttl_ms: self.settings.lease_ttl_ms,
        }
    }

    fn told_lease(&self, lease: &LeaseRecord) -> Option<Vec<u8>> {
        told(&reply::Lease {
            lease: self.lease_info(lease),
            durability: "fsync".into(),
        })
    }
}

fn lease_lost() -> WireError {
    refusal!(
        Code::LeaseLost,
        "this lease is not this session's any more; ask for another"
    )
}
