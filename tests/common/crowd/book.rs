//! What happened to a crowd, and the sums over it: who came back when, what was lost, what came twice.

use std::collections::{HashMap, HashSet};

use correio::protocol::MailId;
use serde::{Deserialize, Serialize};

/// One thing that happened to one client; `at` is the wall clock in seconds, the same for all
/// processes of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A login was answered.
    In { nth: usize, at: f64 },
    /// The own log's notices flow.
    Live { nth: usize, at: f64 },
    /// A send was acknowledged.
    Acked {
        nth: usize,
        number: u64,
        to: usize,
        id: MailId,
        sent: f64,
        at: f64,
    },
    /// A mail was taken, by a notice or a page.
    Taken {
        nth: usize,
        from: usize,
        number: u64,
        id: MailId,
        at: f64,
    },
}

/// The records of a crowd, each client's in their order.
#[derive(Debug, Default)]
pub struct Book {
    records: Vec<Record>,
}

/// When clients came back after a kill, in seconds from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Back {
    /// How many did.
    pub count: usize,
    /// The first.
    pub first: f64,
    /// Half of them.
    pub half: f64,
    /// All but a hundredth.
    pub most: f64,
    /// The last.
    pub all: f64,
}

/// What the numbers say of the mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mails {
    /// Acknowledged to their senders.
    pub acked: usize,
    /// Acknowledged and taken by nobody.
    pub lost: usize,
    /// Taken more than once, or in two copies.
    pub twice: usize,
    /// Taken after one with a higher id.
    pub disordered: usize,
    /// Taken by somebody else than the one meant, or under another id than the one acknowledged.
    pub strayed: usize,
}

impl Book {
    /// Adds what one part of the crowd wrote down.
    pub fn add(&mut self, records: impl IntoIterator<Item = Record>) {
        self.records.extend(records);
    }

    /// Returns when each client's first login after `killed` was answered.
    pub fn back(&self, killed: f64) -> Option<Back> {
        self.firsts(killed, |record| match record {
            Record::In { nth, at } => Some((nth, at)),
            _ => None,
        })
    }

    /// Returns when each client's notices flowed again after `killed`.
    pub fn live(&self, killed: f64) -> Option<Back> {
        self.firsts(killed, |record| match record {
            Record::Live { nth, at } => Some((nth, at)),
            _ => None,
        })
    }

    fn firsts(&self, since: f64, pick: fn(Record) -> Option<(usize, f64)>) -> Option<Back> {
        let mut firsts: HashMap<usize, f64> = HashMap::new();
        let all = self.records.iter().copied().filter_map(pick);
        for (nth, at) in all.filter(|(_, at)| *at > since) {
            let first = firsts.entry(nth).or_insert(at);
            *first = first.min(at);
        }
        let mut after: Vec<f64> = firsts.into_values().map(|at| at - since).collect();
        after.sort_by(f64::total_cmp);
        Some(Back {
            count: after.len(),
            first: *after.first()?,
            half: after[after.len() / 2],
            most: after[after.len() * 99 / 100],
            all: *after.last()?,
        })
    }

    /// Returns how long after `killed` the last mail that was acknowledged before it was with its
    /// reader, and how many of them came after it.
    pub fn caught_up(&self, killed: f64) -> (f64, usize) {
        let before: HashSet<MailId> = self
            .acked()
            .filter(|(.., at)| *at < killed)
            .map(|(.., id, _)| id)
            .collect();
        let taken = self.records.iter().filter_map(|record| match record {
            Record::Taken { id, at, .. } if *at > killed => Some((*id, *at)),
            _ => None,
        });
        let late = taken.filter(|(id, _)| before.contains(id));
        late.fold((0.0_f64, 0), |(last, count), (_, at)| {
            (last.max(at - killed), count + 1)
        })
    }

    fn acked(&self) -> impl Iterator<Item = (usize, u64, usize, MailId, f64)> + '_ {
        self.records.iter().filter_map(|record| match record {
            Record::Acked {
                nth,
                number,
                to,
                id,
                at,
                ..
            } => Some((*nth, *number, *to, *id, *at)),
            _ => None,
        })
    }

    /// Compares what was acknowledged with what was taken.
    pub fn mails(&self) -> Mails {
        let mut found = Mails::default();
        let mut taken: HashMap<(usize, u64), (usize, MailId)> = HashMap::new();
        let mut newest: HashMap<usize, MailId> = HashMap::new();
        for record in &self.records {
            if let Record::Taken {
                nth,
                from,
                number,
                id,
                ..
            } = record
            {
                found.twice += usize::from(taken.insert((*from, *number), (*nth, *id)).is_some());
                let before = newest.insert(*nth, *id);
                found.disordered += usize::from(before.is_some_and(|before| before >= *id));
            }
        }
        for (nth, number, to, id, _) in self.acked() {
            found.acked += 1;
            match taken.get(&(nth, number)) {
                None => found.lost += 1,
                Some(place) => found.strayed += usize::from(*place != (to, id)),
            }
        }
        found
    }

    /// Returns the times from send to acknowledgement of what was sent between two instants, sorted, in
    /// seconds.
    pub fn ack_times(&self, from: f64, until: f64) -> Vec<f64> {
        let times = self.records.iter().filter_map(|record| match record {
            Record::Acked { sent, at, .. } if (from..until).contains(sent) => Some(at - sent),
            _ => None,
        });
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// Returns the times from send to receipt, likewise.
    pub fn receipt_times(&self, from: f64, until: f64) -> Vec<f64> {
        let sent: HashMap<MailId, f64> = self
            .records
            .iter()
            .filter_map(|record| match record {
                Record::Acked { sent, id, .. } if (from..until).contains(sent) => {
                    Some((*id, *sent))
                }
                _ => None,
            })
            .collect();
        let times = self.records.iter().filter_map(|record| match record {
            Record::Taken { id, at, .. } => Some(at - sent.get(id)?),
            _ => None,
        });
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        times
    }
}
