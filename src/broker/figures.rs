//! What the broker counts and how much there is, as plain numbers for whoever looks on from outside.
//!
//! The core keeps the numbers and answers from memory; a look at the queues goes in portions
//! ([`Core::survey`]), so that nobody waits for it who sends mail. How they are shown is not decided here.

use std::collections::BTreeMap;

use serde::Serialize;

use super::core::Core;
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::{LogNumber, MailId};
use crate::store::{AddressKind, AddressState, AuditRecord, LeaseState};

/// What has happened since the process started.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Counts {
    /// Mails put into a log, one per recipient.
    pub accepted: u64,
    /// Sends that were carried out before.
    pub duplicates: u64,
    /// Recipients that did not get a mail.
    pub refused: u64,
    /// Mails that a device acknowledged: it has them on its own disk.
    pub acknowledged: u64,
    /// Mails told in a page to a device that they had been told to before.
    pub redelivered: u64,
    /// Mails that went while somebody had not read them.
    pub trimmed_unread: u64,
    /// Mails whose own expiry came.
    pub expired: u64,
    /// Subscriptions on the live socket that were not granted.
    pub denied_subscriptions: u64,
    /// Requests not answered, of clients over their budget of failed requests.
    pub dropped_requests: u64,
    /// Requests and recipients refused, by code.
    pub refusals: BTreeMap<Code, u64>,
}

impl Counts {
    pub(super) fn refuse(&mut self, code: Code) {
        *self.refusals.entry(code).or_default() += 1;
    }
}

/// How much there is now.
#[derive(Debug, Default, Clone, Serialize)]
pub struct State {
    /// Seconds the server has ever run.
    pub running_s: u64,
    /// Devices.
    pub devices: usize,
    /// Sessions.
    pub sessions: usize,
    /// Ports that were never lent or have rested.
    pub leases_free: usize,
    /// Ports offered and not confirmed.
    pub leases_offered: usize,
    /// Ports held.
    pub leases_held: usize,
    /// Ports at rest.
    pub leases_resting: usize,
    /// Mails of all logs.
    pub mails_kept: u64,
    /// Bytes of their bodies.
    pub bytes_kept: u64,
    /// The newest id given out.
    pub last_id: MailId,
    /// No new mail is taken: the disk is nearly full.
    pub disk_low: bool,
    /// The sessions that are newest.
    pub newest_sessions: Vec<SessionFigures>,
    /// What administrators did last, the newest first.
    pub deeds: Vec<DeedFigures>,
}

/// A line of the audit, without its note: that may name devices and mails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeedFigures {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Who; empty for the administrators' key.
    pub by: String,
    /// What, in the word of the wire.
    pub what: String,
    /// To which user, topic or port.
    pub address: String,
}

impl DeedFigures {
    pub(super) fn of(record: &AuditRecord) -> Self {
        Self {
            at_ms: record.at_ms,
            by: record.by.clone(),
            what: record.what.clone(),
            address: record.address.clone(),
        }
    }
}

/// One session.
#[derive(Debug, Clone, Serialize)]
pub struct SessionFigures {
    /// Whose.
    pub user: String,
    /// Of which device.
    pub device: u64,
    /// When it began, in milliseconds since the epoch.
    pub since_ms: i64,
    /// When it was last heard of.
    pub seen_ms: i64,
}

/// All queues: what waits, and where most and longest.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Queues {
    /// Live users.
    pub users: usize,
    /// Topics.
    pub topics: usize,
    /// Logs that a device reads, over all devices.
    pub queues: usize,
    /// Those of them in which something waits.
    pub waiting_queues: usize,
    /// Mails that wait, over all queues.
    pub mails: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// The deepest queues, deepest first.
    pub deepest: Vec<QueueFigures>,
    /// The queues whose oldest mail is oldest, oldest first, among those that were looked up.
    pub oldest: Vec<QueueFigures>,
}

/// One queue.
#[derive(Debug, Clone, Serialize)]
pub struct QueueFigures {
    /// The user or topic that mail is sent to.
    pub address: String,
    /// Who reads.
    pub user: String,
    /// With which device.
    pub device: u64,
    /// Mails that wait.
    pub mails: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// When the oldest was sent, in milliseconds since the epoch, where it was looked up.
    pub oldest_at_ms: Option<i64>,
    /// Where to look that up.
    #[serde(skip)]
    pub place: Place,
}

/// Where a queue's oldest mail is: the first of this log after this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The log.
    pub log: LogNumber,
    /// Exclusive lower bound.
    pub after: MailId,
}

/// A queue as a survey holds it: what it is sorted by, then which it is.
type Found = (u64, u64, LogNumber);

/// The few least of many.
#[derive(Debug, Default)]
struct Least(Vec<Found>);

impl Least {
    fn offer(&mut self, most: usize, found: Found) {
        if self.0.len() == most && self.0.last().is_some_and(|last| *last <= found) {
            return;
        }
        let at = self.0.partition_point(|known| *known < found);
        self.0.insert(at, found);
        self.0.truncate(most);
    }
}

/// A look at all queues, under way.
#[derive(Debug, Default)]
pub struct Survey {
    stage: Stage,
    queues: Queues,
    deepest: Least,
    /// By the least id that the oldest mail may have, and by the greatest: ids are given out in order.
    least_id: Least,
    greatest_id: Least,
}

#[derive(Debug)]
enum Stage {
    Cursors(Option<(u64, LogNumber)>),
    Names(Option<String>),
    Done,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Cursors(None)
    }
}

impl Core {
    /// Returns what was counted.
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Returns how much there is. Costs a look at each session and each port lent.
    pub fn state(&self) -> State {
        let kept = self.logs.kept();
        let lent = |state| self.leases.lent().filter(|l| l.state == state).count();
        State {
            running_s: self.running_s(),
            devices: self.directory.devices().count(),
            sessions: self.sessions.iter().count(),
            leases_free: self.leases.never_lent().count() + lent(LeaseState::Free),
            leases_offered: lent(LeaseState::Offered),
            leases_held: lent(LeaseState::Held),
            leases_resting: lent(LeaseState::Resting),
            mails_kept: kept.count,
            bytes_kept: kept.bytes,
            last_id: self.mail_counters.mail,
            disk_low: self.disk_low,
            newest_sessions: self.newest_sessions(),
            deeds: self.audit.newest(),
        }
    }

    fn newest_sessions(&self) -> Vec<SessionFigures> {
        let mut newest: Vec<_> = self
            .sessions
            .iter()
            .map(|s| (s.since_wall_ms, s.device, s.user, s.seen_wall_ms))
            .collect();
        let most = limits::FIGURES_ROWS_MAX;
        if newest.len() > most {
            newest.select_nth_unstable_by(most, |a, b| b.cmp(a));
            newest.truncate(most);
        }
        newest.sort_unstable_by(|a, b| b.cmp(a));
        newest
            .into_iter()
            .map(|(since_ms, device, user, seen_ms)| SessionFigures {
                user: self.directory.name_of(user).to_owned(),
                device,
                since_ms,
                seen_ms,
            })
            .collect()
    }

    /// Goes on with a survey by at most so many queues; says whether it is through.
    pub fn survey(&self, survey: &mut Survey, most: usize) -> bool {
        survey.stage = match std::mem::take(&mut survey.stage) {
            Stage::Cursors(after) => self.survey_cursors(survey, after, most),
            Stage::Names(after) => self.survey_names(survey, after.as_deref(), most),
            Stage::Done => Stage::Done,
        };
        matches!(survey.stage, Stage::Done)
    }

    fn survey_cursors(
        &self,
        survey: &mut Survey,
        after: Option<(u64, LogNumber)>,
        most: usize,
    ) -> Stage {
        let mut last = None;
        for (device, log, cursor) in self.logs.cursors_after(after).take(most) {
            last = Some((device, log));
            survey.queues.queues += 1;
            let record = self.logs.record(log);
            let waiting = record.head.count.saturating_sub(cursor.count);
            if waiting == 0 {
                continue;
            }
            let bytes = record.head.bytes.saturating_sub(cursor.bytes);
            survey.queues.waiting_queues += 1;
            survey.queues.mails += waiting;
            survey.queues.bytes += bytes;
            let lowest = match waiting {
                1 if record.head.id > record.floor.id => record.head.id,
                _ => cursor.id.max(record.floor.id) + 1,
            };
            let highest = record.head.id.saturating_sub(waiting - 1).max(lowest);
            let deepest = (u64::MAX - waiting, device, log);
            survey.deepest.offer(limits::FIGURES_ROWS_MAX, deepest);
            let most = limits::FIGURES_LOOKED_UP_MAX / 2;
            survey.least_id.offer(most, (lowest, device, log));
            survey.greatest_id.offer(most, (highest, device, log));
        }
        last.map_or(Stage::Names(None), |last| Stage::Cursors(Some(last)))
    }

    fn survey_names(&self, survey: &mut Survey, after: Option<&str>, most: usize) -> Stage {
        let mut last = None;
        for address in self.directory.addresses_after(after).take(most) {
            last = Some(address.name.clone());
            match address.kind {
                _ if address.state != AddressState::Live => {}
                AddressKind::User => survey.queues.users += 1,
                AddressKind::Topic => survey.queues.topics += 1,
            }
        }
        last.map_or(Stage::Done, |last| Stage::Names(Some(last)))
    }

    /// Names what a survey found. `oldest` holds those whose oldest mail is to be looked up; see
    /// `Queues::by_age`.
    pub fn surveyed(&self, survey: Survey) -> Queues {
        let rows = |found: &Least| -> Vec<QueueFigures> {
            let rows = found.0.iter();
            rows.filter_map(|(_, device, log)| self.queue_figures(*device, *log))
                .collect()
        };
        let mut queues = survey.queues;
        queues.deepest = rows(&survey.deepest);
        queues.oldest = queues.deepest.clone();
        queues.oldest.extend(rows(&survey.least_id));
        queues.oldest.extend(rows(&survey.greatest_id));
        queues
            .oldest
            .sort_unstable_by_key(|queue| (queue.device, queue.place));
        queues
            .oldest
            .dedup_by_key(|queue| (queue.device, queue.place));
        queues
    }

    /// Describes a queue, unless it is empty or gone by now.
    fn queue_figures(&self, device: u64, log: LogNumber) -> Option<QueueFigures> {
        let user = self.directory.device(device)?.user;
        let address = self.directory.address(log)?.name.clone();
        let waiting = self.logs.waiting(device, log);
        let floor = self.logs.record(log).floor;
        (waiting.count > 0).then(|| QueueFigures {
            address,
            user: self.directory.name_of(user).to_owned(),
            device,
            mails: waiting.count,
            bytes: waiting.bytes,
            oldest_at_ms: None,
            place: Place {
                log,
                after: waiting.id.max(floor.id),
            },
        })
    }
}

impl Queues {
    /// Puts in when each queue's oldest mail was sent, and sorts by it. Where there is none, all that
    /// waits is word of what was trimmed.
    pub(super) fn by_age(&mut self, sent_at_ms: impl Fn(&Place) -> Option<i64>) {
        for queue in self.deepest.iter_mut().chain(&mut self.oldest) {
            queue.oldest_at_ms = sent_at_ms(&queue.place);
        }
        self.oldest.retain(|queue| queue.oldest_at_ms.is_some());
        self.oldest.sort_by_key(|queue| queue.oldest_at_ms);
        self.oldest.truncate(limits::FIGURES_ROWS_MAX);
    }
}

/// Upper bounds of a histogram's buckets, in microseconds.
pub const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// How long something took, over all the times it was done.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Histogram {
    /// How often it took so long: one bucket per bound, and one for what took longer than all.
    pub buckets: [u64; BOUNDS_US.len() + 1],
    /// All of it together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Takes in that it took so long once.
    pub fn observe(&mut self, took_us: u64) {
        let bucket = BOUNDS_US.partition_point(|bound| *bound < took_us);
        self.buckets[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(took_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_many_are_kept_in_order() {
        let mut least = Least::default();
        for key in [5, 3, 9, 1, 7, 2] {
            least.offer(3, (key, 0, 0));
        }
        assert_eq!(least.0, [(1, 0, 0), (2, 0, 0), (3, 0, 0)]);
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        for took in [0, 100, 101, 10_000_000, 10_000_001] {
            histogram.observe(took);
        }
        assert_eq!(histogram.buckets[0], 2);
        assert_eq!(histogram.buckets[1], 1);
        assert_eq!(histogram.buckets[15..], [1, 1]);
        assert_eq!(histogram.sum_us, 20_000_202);
    }
}
