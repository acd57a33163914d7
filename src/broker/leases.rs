//! The pool of ports: who holds which, which rest, which are free and in what order.
//!
//! A port has one holder, a freed one goes to the back of the queue and rests before it is lent
//! again (P6). Terms are the sessions': a lease ends with its session. No sockets, no clock.

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::LogNumber;
use crate::store::{Change, LeaseRecord, LeaseState};

/// A session's name in memory and in the store.
pub(super) type SessionKey = [u8; 16];

/// Why there is no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPort {
    /// All are held or resting; ask again after so many milliseconds.
    Empty(u64),
    /// The user is at his limit.
    UserLimit,
    /// The user gave back many, which rest; ask again after so many milliseconds.
    UserRest(u64),
}

/// The pool.
#[derive(Debug)]
pub(super) struct Leases {
    rest_ms: u64,
    per_user: usize,
    term_ms: u64,
    /// Every port that was ever lent, as it stands.
    lent: BTreeMap<u16, LeaseRecord>,
    free: VecDeque<u16>,
    /// Ports at rest, by the order in which they were freed, with the end of their rest.
    resting: VecDeque<(u64, u16)>,
}

impl Leases {
    /// Puts the store's leases in force again: held ones are held, freed ones begin their rest anew,
    /// free ones keep their order behind those never lent.
    pub(super) fn restore(
        pool: &[u16],
        (term_ms, rest_ms, per_user): (u64, u64, usize),
        mut records: Vec<LeaseRecord>,
        mono_ms: u64,
        changes: &mut Vec<Change>,
    ) -> Self {
        records.sort_unstable_by_key(|record| record.epoch);
        let mut leases = Self {
            rest_ms,
            per_user,
            term_ms,
            lent: BTreeMap::new(),
            free: VecDeque::new(),
            resting: VecDeque::new(),
        };
        let known = |port: &u16| records.iter().any(|record| record.port == *port);
        leases
            .free
            .extend(pool.iter().copied().filter(|port| !known(port)));
        for record in records {
            let port = record.port;
            let in_pool = pool.contains(&port);
            match record.state {
                LeaseState::Offered | LeaseState::Held => {}
                LeaseState::Free | LeaseState::Resting if !in_pool => {
                    changes.push(Change::RemoveLease(port));
                    continue;
                }
                LeaseState::Free => leases.free.push_back(port),
                LeaseState::Resting => leases.resting.push_back((mono_ms + rest_ms, port)),
            }
            leases.lent.insert(port, record);
        }
        leases
    }

    /// Sets how many ports one user may hold from now on; who holds more keeps them.
    pub(super) fn set_per_user(&mut self, per_user: usize) {
        self.per_user = per_user;
    }

    /// Returns every lease on record, by port.
    pub(super) fn lent(&self) -> impl Iterator<Item = &LeaseRecord> {
        self.lent.values()
    }

    /// Returns ports that were never lent, in the order they will be.
    pub(super) fn never_lent(&self) -> impl Iterator<Item = u16> + '_ {
        self.free
            .iter()
            .copied()
            .filter(|port| !self.lent.contains_key(port))
    }

    /// Returns the lease of a session, if it has one.
    pub(super) fn of_session(&self, session: &SessionKey) -> Option<&LeaseRecord> {
        self.lent
            .values()
            .find(|lease| is_out(lease) && lease.session == *session)
    }

    /// Says whether this is, or was last, a lease of that session.
    pub(super) fn was_lent(&self, session: &SessionKey, (port, epoch): (u16, u64)) -> bool {
        let lease = self.lent.get(&port);
        lease.is_some_and(|lease| lease.epoch == epoch && lease.session == *session)
    }

    /// Says whether an offer would succeed; the epoch is taken only then.
    pub(super) fn can_offer(&self, user: LogNumber, mono_ms: u64) -> Result<(), NoPort> {
        let held = self
            .lent
            .values()
            .filter(|lease| is_out(lease) && lease.user == user)
            .count();
        if held >= self.per_user {
            return Err(NoPort::UserLimit);
        }
        if let Some(wait_ms) = self.rest_of(user, held, mono_ms) {
            return Err(NoPort::UserRest(wait_ms));
        }
        if self.free.is_empty() {
            let wait = self
                .resting
                .front()
                .map(|(end, _)| end.saturating_sub(mono_ms));
            return Err(NoPort::Empty(wait.unwrap_or(self.term_ms).max(1)));
        }
        Ok(())
    }

    /// Returns how long a user must wait who gave back so many ports that he, with them at rest, has
    /// three times his limit: else one user could send the whole pool to rest.
    fn rest_of(&self, user: LogNumber, held: usize, mono_ms: u64) -> Option<u64> {
        let own = self.resting.iter().filter(|(_, port)| {
            let lease = self.lent.get(port);
            lease.is_some_and(|lease| lease.user == user)
        });
        let ends: Vec<u64> = own.map(|(end, _)| *end).collect();
        let over = ends.len().checked_sub(3 * self.per_user - held)?;
        Some(ends.get(over)?.saturating_sub(mono_ms).max(1))
    }

    /// Lends the port at the front of the queue. Call after [`can_offer`](Self::can_offer) said yes.
    pub(super) fn offer(
        &mut self,
        (user, device, session): (LogNumber, u64, SessionKey),
        epoch: u64,
        changes: &mut Vec<Change>,
    ) -> Option<LeaseRecord> {
        let port = self.free.pop_front()?;
        let record = LeaseRecord {
            port,
            epoch,
            state: LeaseState::Offered,
            user,
            device,
            session,
        };
        changes.push(Change::PutLease(record.clone()));
        self.lent.insert(port, record.clone());
        Some(record)
    }

    /// Marks a lease as bound. Says so again when asked again; nothing when it is not this session's.
    pub(super) fn confirm(
        &mut self,
        session: &SessionKey,
        (port, epoch): (u16, u64),
        changes: &mut Vec<Change>,
    ) -> Option<LeaseRecord> {
        let lease = self.lent.get_mut(&port)?;
        if !is_out(lease) || lease.session != *session || lease.epoch != epoch {
            return None;
        }
        if lease.state == LeaseState::Offered {
            lease.state = LeaseState::Held;
            changes.push(Change::PutLease(lease.clone()));
        }
        Some(lease.clone())
    }

    /// Sends a lease's port to rest. Nothing when it is not out under that epoch.
    pub(super) fn release(
        &mut self,
        port: u16,
        epoch: u64,
        mono_ms: u64,
        changes: &mut Vec<Change>,
    ) -> bool {
        let Some(lease) = self.lent.get_mut(&port) else {
            return false;
        };
        if !is_out(lease) || lease.epoch != epoch {
            return false;
        }
        lease.state = LeaseState::Resting;
        changes.push(Change::PutLease(lease.clone()));
        self.resting.push_back((mono_ms + self.rest_ms, port));
        true
    }

    /// Frees ports whose rest is over, in the order they began it.
    pub(super) fn end_rests(&mut self, pool: &[u16], mono_ms: u64, changes: &mut Vec<Change>) {
        while let Some((end, port)) = self.resting.front().copied() {
            if end > mono_ms {
                return;
            }
            self.resting.pop_front();
            if !pool.contains(&port) {
                self.lent.remove(&port);
                changes.push(Change::RemoveLease(port));
                continue;
            }
            if let Some(lease) = self.lent.get_mut(&port) {
                lease.state = LeaseState::Free;
                changes.push(Change::PutLease(lease.clone()));
            }
            self.free.push_back(port);
        }
    }
}

fn is_out(lease: &LeaseRecord) -> bool {
    matches!(lease.state, LeaseState::Offered | LeaseState::Held)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: [u16; 3] = [10, 11, 12];
    const WHO: (LogNumber, u64, SessionKey) = (1, 1, [1; 16]);

    fn pool(records: Vec<LeaseRecord>) -> Leases {
        Leases::restore(&POOL, (90, 60, 2), records, 0, &mut Vec::new())
    }

    fn offer(leases: &mut Leases, who: (LogNumber, u64, SessionKey), epoch: u64) -> Option<u16> {
        leases
            .offer(who, epoch, &mut Vec::new())
            .map(|lease| lease.port)
    }

    #[test]
    fn p06_a_freed_port_rests_and_goes_to_the_back() {
        let mut leases = pool(Vec::new());
        assert_eq!(offer(&mut leases, WHO, 1), Some(10));
        assert!(leases.release(10, 1, 100, &mut Vec::new()));
        assert_eq!(offer(&mut leases, WHO, 2), Some(11));
        assert!(leases.release(11, 2, 101, &mut Vec::new()));
        leases.end_rests(&POOL, 160, &mut Vec::new());
        assert_eq!(offer(&mut leases, WHO, 3), Some(12), "10 goes to the back");
        assert_eq!(offer(&mut leases, WHO, 4), Some(10));
        assert!(leases.release(10, 4, 200, &mut Vec::new()));
        leases.end_rests(&POOL, 161, &mut Vec::new());
        assert_eq!(offer(&mut leases, WHO, 5), Some(11));
        leases.end_rests(&POOL, 259, &mut Vec::new());
        assert_eq!(offer(&mut leases, WHO, 6), None, "10 rests, whoever waits");
        leases.end_rests(&POOL, 260, &mut Vec::new());
        assert_eq!(offer(&mut leases, WHO, 7), Some(10));
    }

    #[test]
    fn p06_a_user_has_a_limit_and_a_pool_an_end() {
        let mut leases = pool(Vec::new());
        offer(&mut leases, WHO, 1);
        offer(&mut leases, WHO, 2);
        assert_eq!(leases.can_offer(1, 0), Err(NoPort::UserLimit));
        assert_eq!(leases.can_offer(2, 0), Ok(()));
        offer(&mut leases, (2, 2, [2; 16]), 3);
        assert_eq!(leases.can_offer(3, 0), Err(NoPort::Empty(90)));
        leases.release(10, 1, 100, &mut Vec::new());
        assert_eq!(
            leases.can_offer(3, 110),
            Err(NoPort::Empty(50)),
            "a rest is never shortened"
        );
    }

    #[test]
    fn p06_who_takes_and_gives_back_does_not_empty_the_pool() {
        let ports: Vec<u16> = (10..30).collect();
        let mut leases = Leases::restore(&ports, (90, 60, 2), Vec::new(), 0, &mut Vec::new());
        for epoch in 1..=6 {
            assert_eq!(leases.can_offer(1, epoch), Ok(()));
            let port = offer(&mut leases, WHO, epoch).unwrap();
            leases.release(port, epoch, epoch, &mut Vec::new());
        }
        assert_eq!(leases.can_offer(1, 10), Err(NoPort::UserRest(51)));
        assert_eq!(leases.can_offer(2, 10), Ok(()), "others have theirs");
        leases.end_rests(&ports, 61, &mut Vec::new());
        assert_eq!(leases.can_offer(1, 61), Ok(()), "as soon as one has rested");
    }

    #[test]
    fn p06_only_the_holder_confirms_and_an_old_epoch_frees_nothing() {
        let mut leases = pool(Vec::new());
        offer(&mut leases, WHO, 7);
        let mut changes = Vec::new();
        assert!(leases.confirm(&[2; 16], (10, 7), &mut changes).is_none());
        assert!(leases.confirm(&WHO.2, (10, 6), &mut changes).is_none());
        assert!(leases.confirm(&WHO.2, (10, 7), &mut changes).is_some());
        assert!(leases.confirm(&WHO.2, (10, 7), &mut changes).is_some());
        assert_eq!(changes.len(), 1, "confirming again changes nothing");
        assert!(!leases.release(10, 6, 0, &mut changes));
    }

    #[test]
    fn p13_leases_are_in_force_after_a_restart() {
        let mut before = pool(Vec::new());
        for epoch in 1..=3 {
            before.offer((epoch, epoch, [0; 16]), epoch, &mut Vec::new());
        }
        before.release(10, 1, 0, &mut Vec::new());
        before.release(12, 3, 0, &mut Vec::new());
        let mut after = pool(before.lent().cloned().collect());
        assert_eq!(after.can_offer(9, 0), Err(NoPort::Empty(60)));
        after.end_rests(&POOL, 60, &mut Vec::new());
        assert_eq!(offer(&mut after, WHO, 4), Some(10));
        assert_eq!(offer(&mut after, WHO, 5), Some(12));
        assert_eq!(offer(&mut after, WHO, 6), None, "11 is still held");
    }
}
