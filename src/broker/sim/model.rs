//! What must be true, checked with every step: a small model of the promises.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::chat::Chats;
use crate::protocol::MailId;
use crate::protocol::reply::{Envelope, Outcome};
use crate::store::{Change, LeaseRecord, LeaseState, Snapshot};

/// A send as its device meant it. Its body says who sent what to whom, so that every copy can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) device: usize,
    pub(super) serial: u64,
    /// It may expire unread.
    pub(super) mortal: bool,
}

impl Said {
    pub(super) fn body(&self) -> String {
        let Self {
            from,
            to,
            device,
            serial,
            mortal,
        } = self;
        format!("{from};{};{device};{serial};{mortal}", to.join(","))
    }

    pub(super) fn read(body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).expect("bodies of the simulator are text");
        let mut words = text.split(';');
        let mut next = || words.next().expect("a body has five words");
        Self {
            from: next().to_owned(),
            to: next().split(',').map(str::to_owned).collect(),
            device: next().parse().expect("a number"),
            serial: next().parse().expect("a number"),
            mortal: next() == "true",
        }
    }
}

/// Everything that was ever told, and what follows from it.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// First outcomes by device and serial.
    outcomes: HashMap<(usize, u64), Vec<Option<MailId>>>,
    /// What each id is: address and body. Known from an ack or from whoever saw it first.
    mails: HashMap<MailId, (String, Vec<u8>)>,
    /// Acknowledged mails by address.
    pub(super) acknowledged: BTreeMap<String, BTreeMap<MailId, Said>>,
    /// Topics each user ever asked to join.
    joined: BTreeSet<(String, String)>,
    ports: Ports,
    pub(super) chats: Chats,
}

impl Model {
    pub(super) fn wants(&mut self, user: &str, pattern: &str) {
        self.joined.insert((user.to_owned(), pattern.to_owned()));
    }

    /// A send was answered: on disk (P1), the same answer each time (P3), each id one mail (P3).
    pub(super) fn answered(
        &mut self,
        said: &Said,
        outcomes: &[Outcome],
        synced: &BTreeSet<MailId>,
    ) {
        let ids: Vec<Option<MailId>> = outcomes.iter().map(id).collect();
        let retryable = |outcome: &Outcome| matches!(outcome, Outcome::Refused { error, .. } if error.retryable);
        if outcomes.iter().all(retryable) {
            return;
        }
        let first = self
            .outcomes
            .entry((said.device, said.serial))
            .or_insert_with(|| ids.clone());
        assert_eq!(*first, ids, "P3: another outcome for {said:?}");
        for outcome in outcomes {
            if let Outcome::Sent { address, id, .. } = outcome {
                assert!(
                    synced.contains(id),
                    "P1: {id} was acknowledged before it was synced"
                );
                self.is(*id, address, said.body().as_bytes());
                let log = self.acknowledged.entry(address.clone()).or_default();
                log.insert(*id, said.clone());
            }
        }
    }

    /// A mail went to a reader: on disk (P1), truly signed (P4), only to who may read it (P5).
    pub(super) fn read_by(
        &mut self,
        reader: &str,
        envelope: &Envelope,
        body: &[u8],
        synced: &BTreeSet<MailId>,
    ) -> Said {
        let said = Said::read(body);
        let address = &envelope.address;
        assert!(
            synced.contains(&envelope.id),
            "P1: {} was shown unsynced",
            envelope.id
        );
        assert_eq!(envelope.from, said.from, "P4");
        assert!(
            said.to.contains(address),
            "P5: {said:?} came as mail to {address}"
        );
        let reads = reader == address
            || self.joined.iter().any(|(user, pattern)| {
                user == reader && (pattern == address || covers(pattern, address))
            });
        assert!(reads, "P5: {reader} read mail of {address}");
        self.is(envelope.id, address, body);
        said
    }

    fn is(&mut self, id: MailId, address: &str, body: &[u8]) {
        let known = self
            .mails
            .entry(id)
            .or_insert_with(|| (address.to_owned(), body.to_vec()));
        assert_eq!(known.0, address, "P3: id {id} is two mails");
        assert_eq!(known.1, body, "P3: id {id} is two mails");
    }

    /// Changes are on their way to disk: ports go round as they must (P6).
    pub(super) fn committing(&mut self, changes: &[Change], now_ms: u64, rest_ms: u64) {
        self.chats.committing(changes);
        for change in changes {
            if let Change::PutLease(lease) = change {
                self.ports.moves(lease, now_ms, rest_ms);
            }
        }
    }

    /// The server starts with this.
    pub(super) fn restarted(&mut self, snapshot: &Snapshot, now_ms: u64) {
        let as_it_is = |lease: &LeaseRecord| (lease.port, (lease.state, lease.epoch, now_ms));
        self.ports.at = snapshot.leases.iter().map(as_it_is).collect();
        self.ports.epoch = snapshot.directory_counters.epoch;
        self.chats.restarted(snapshot);
    }
}

fn id(outcome: &Outcome) -> Option<MailId> {
    match outcome {
        Outcome::Sent { id, .. } => Some(*id),
        Outcome::Refused { .. } => None,
    }
}

pub(super) fn covers(pattern: &str, topic: &str) -> bool {
    pattern
        .strip_suffix('*')
        .is_some_and(|prefix| topic.starts_with(prefix))
}

/// Where each port stands, and since when.
#[derive(Debug, Default)]
struct Ports {
    at: BTreeMap<u16, (LeaseState, u64, u64)>,
    epoch: u64,
}

impl Ports {
    fn moves(&mut self, lease: &LeaseRecord, now_ms: u64, rest_ms: u64) {
        let before = self.at.get(&lease.port).copied();
        let (was, epoch, since) = before.unwrap_or((LeaseState::Free, 0, 0));
        match lease.state {
            LeaseState::Offered => {
                assert_eq!(was, LeaseState::Free, "P6: {lease:?} was lent twice");
                assert!(lease.epoch > self.epoch, "P6: {lease:?} has an old epoch");
                self.epoch = lease.epoch;
            }
            LeaseState::Held => assert_eq!((was, epoch), (LeaseState::Offered, lease.epoch), "P6"),
            LeaseState::Resting => assert_eq!(epoch, lease.epoch, "P6"),
            LeaseState::Free => {
                assert_eq!(was, LeaseState::Resting, "P6: {lease:?}");
                assert!(now_ms >= since + rest_ms, "P6: {lease:?} had no rest");
            }
        }
        self.at
            .insert(lease.port, (lease.state, lease.epoch, now_ms));
    }
}
