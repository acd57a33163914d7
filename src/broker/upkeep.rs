//! What happens by itself: sessions that fall silent, rests and invitations that end, mail that
//! expires or is trimmed, and the server's own age.
//!
//! Ages that destroy count the server's running time, never the wall clock: a clock that jumps a year
//! removes nothing but mails whose own expiry has come.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::core::Core;
use super::io::Output;
use super::read::Pending;
use crate::limits;
use crate::protocol::{LogNumber, MailId};
use crate::store::{AddressKind, AddressState, Change, LogRecord, Mark, Query, StoredMail};

/// Milliseconds between two passes over everything that grows old slowly.
const SLOW_PASS_MS: u64 = 10 * 60_000;

/// Milliseconds between two writings of the running time.
const AGE_WRITTEN_MS: u64 = 60_000;

/// Milliseconds after a page was asked for in which trimming holds back: somebody reads a backlog, and
/// what he has read can go when he is through.
const READING_MS: u64 = 50;

/// Pages asked for meanwhile after which a batch is trimmed all the same.
const PAGES_PER_BATCH: u32 = 8;

/// Milliseconds after which trimming holds back no more until it is done: readers who never rest must not
/// fill the disk.
const YIELDING_MS: u64 = 10_000;

/// What upkeep remembers between two ticks.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// Running seconds before this process, and when it began.
    running_before_s: u64,
    started_ms: u64,
    age_written_ms: u64,
    slow_pass_ms: u64,
    /// Logs that may have something to trim; `true` when only their age can tell.
    to_trim: BTreeMap<LogNumber, bool>,
    trimming: Trimming,
    /// The log that was trimmed last: the next one's turn is after it, or a busy log would keep the
    /// others waiting for ever.
    trimmed: LogNumber,
    /// When a page was last asked for, and how many since the last batch.
    paged_ms: Option<u64>,
    pages: u32,
    /// Since when trimming holds back; none when it has nothing to do, or nobody reads.
    yielding_ms: Option<u64>,
    expiring: bool,
}

impl Upkeep {
    pub(super) fn new(running_before_s: u64, started_ms: u64) -> Self {
        Self {
            running_before_s,
            started_ms,
            age_written_ms: started_ms,
            slow_pass_ms: started_ms,
            to_trim: BTreeMap::new(),
            trimming: Trimming::Idle,
            trimmed: 0,
            paged_ms: None,
            pages: 0,
            yielding_ms: None,
            expiring: false,
        }
    }

    /// Takes the next log to look at, in turn.
    fn next_to_trim(&mut self) -> Option<(LogNumber, bool)> {
        let after = (Bound::Excluded(self.trimmed), Bound::Unbounded);
        let next = self.to_trim.range(after).next();
        let Some((log, _)) = next.or_else(|| self.to_trim.first_key_value()) else {
            self.yielding_ms = None;
            return None;
        };
        let log = *log;
        self.trimmed = log;
        self.to_trim.remove_entry(&log)
    }

    /// Says whether trimming leaves the store to those who read pages.
    fn yields(&mut self, mono_ms: u64) -> bool {
        let is_read = |paged_ms| mono_ms < paged_ms + READING_MS;
        if !self.paged_ms.is_some_and(is_read) {
            self.yielding_ms = None;
            return false;
        }
        let since_ms = *self.yielding_ms.get_or_insert(mono_ms);
        self.pages < PAGES_PER_BATCH && mono_ms < since_ms + YIELDING_MS
    }

    /// A log got a mail: it may be over its limit.
    pub(super) fn grew(&mut self, log: LogNumber) {
        self.to_trim.entry(log).or_insert(false);
    }

    /// A cursor moved on or left: mail may have been read by all.
    pub(super) fn shrank(&mut self, log: LogNumber) {
        self.to_trim.entry(log).or_insert(false);
    }
}

/// Where the one trim under way stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trimming {
    Idle,
    /// The front of a log is being read.
    Reading,
    /// A batch of removals is on its way to disk.
    Removing,
}

/// Which mails of a log may go.
#[derive(Debug, Clone, Copy)]
struct TrimRule {
    /// All of them: the address is gone.
    all: bool,
    /// Read by everybody who holds mail back, up to this id.
    read_through: MailId,
    /// Mails of this count or below are no history any more.
    history_below: u64,
    /// ... nor those taken before this running second.
    history_from_s: u64,
    /// Mails of this count or below are over the log's limit.
    over_count: u64,
    /// Mails whose running total of bytes is at or below this are over the log's limit.
    over_bytes: u64,
}

impl TrimRule {
    fn lets_go(&self, mail: &StoredMail) -> bool {
        let record = &mail.record;
        let is_history =
            record.count > self.history_below && record.running_s >= self.history_from_s;
        let is_over = record.count <= self.over_count || record.bytes <= self.over_bytes;
        self.all || is_over || (mail.id <= self.read_through && !is_history)
    }
}

impl Core {
    /// Returns the seconds the server has ever run.
    pub(super) fn running_s(&self) -> u64 {
        let here_ms = self.now.mono_ms.saturating_sub(self.upkeep.started_ms);
        self.upkeep.running_before_s + here_ms / 1_000
    }

    pub(super) fn upkeep_at_start(&mut self) {
        self.mark_all_logs();
        self.let_go_of_stale_devices();
    }

    pub(super) fn tick(&mut self, disk_low: bool) {
        self.disk_low = disk_low;
        let mono_ms = self.now.mono_ms;
        self.budgets.sweep(mono_ms);
        self.ahead.sweep(mono_ms);
        self.end_silent_sessions();
        self.expire_invitations();
        self.leases
            .end_rests(&self.settings.chat_ports, mono_ms, &mut self.changes);
        self.sessions
            .drop_idle_staging(mono_ms.saturating_sub(limits::STAGING_IDLE_MS));
        if mono_ms.saturating_sub(self.upkeep.age_written_ms) >= AGE_WRITTEN_MS {
            self.write_age();
        }
        if mono_ms.saturating_sub(self.upkeep.slow_pass_ms) >= SLOW_PASS_MS {
            self.slow_pass();
        }
        if !self.stopping {
            self.expire_next();
            self.trim_next();
        }
    }

    fn end_silent_sessions(&mut self) {
        let Some(since) = self.now.mono_ms.checked_sub(self.settings.lease_ttl_ms) else {
            return;
        };
        for session in self.sessions.silent_since(since) {
            self.end_session(&session);
        }
    }

    /// Writes something, so that it is seen whether it gets to the disk and back: the age, which may be written at any time.
    pub(super) fn round_trip(&mut self) {
        self.write_age();
        self.tell(Output::RoundTripped);
    }

    pub(super) fn write_age(&mut self) {
        self.upkeep.age_written_ms = self.now.mono_ms;
        self.meta.running_s = self.running_s();
        self.changes.push(Change::PutMeta(self.meta));
    }

    fn slow_pass(&mut self) {
        self.upkeep.slow_pass_ms = self.now.mono_ms;
        self.directory
            .drop_old_codes(self.now.wall_ms, &mut self.changes);
        self.invitations.forget_old_asks(self.now.mono_ms);
        let running_s = self.running_s();
        self.streams.drop_stale(running_s, &mut self.changes);
        self.let_go_of_stale_devices();
        self.mark_all_logs();
    }

    pub(super) fn mark_all_logs(&mut self) {
        let logs: Vec<LogNumber> = self.logs.numbers().collect();
        self.upkeep
            .to_trim
            .extend(logs.into_iter().map(|log| (log, true)));
    }

    /// A device unseen for too long, and not in a session, holds nothing back any more.
    fn let_go_of_stale_devices(&mut self) {
        let running_s = self.running_s();
        let is_stale =
            |seen_s: u64| running_s.saturating_sub(seen_s) > limits::DEVICE_STALE_SECONDS;
        let stale: Vec<u64> = self
            .directory
            .devices()
            .filter(|d| is_stale(d.seen_running_s) && !self.sessions.has_device(d.number))
            .map(|d| d.number)
            .collect();
        for device in stale {
            self.logs.set_stale(device);
        }
    }

    // -- expiry --

    fn expire_next(&mut self) {
        if !self.upkeep.expiring {
            self.upkeep.expiring = true;
            let query = Query::Expired {
                at_ms: self.now.wall_ms,
                mails: limits::TRIM_BATCH,
            };
            self.load(query, Pending::Expire);
        }
    }

    pub(super) fn expire_loaded(&mut self, mails: &[(LogNumber, MailId)]) {
        self.upkeep.expiring = false;
        for (log, id) in mails {
            self.changes.push(Change::ExpireMail { log: *log, id: *id });
        }
        self.counts.expired += mails.len() as u64;
    }

    // -- trimming: one log at a time, one small batch at a time --

    /// A page was asked for.
    pub(super) fn paged(&mut self) {
        self.upkeep.paged_ms = Some(self.now.mono_ms);
        self.upkeep.pages += 1;
        if self.upkeep.pages >= PAGES_PER_BATCH {
            self.trim_next();
        }
    }

    /// Reads the front of the next log that has something to trim.
    fn trim_next(&mut self) {
        while self.upkeep.trimming == Trimming::Idle {
            let Some((log, by_age)) = self.upkeep.next_to_trim() else {
                return;
            };
            let record = self.logs.record(log);
            if record.floor.id == record.head.id {
                self.forget_if_orphan(log);
            } else if self.may_trim(log, &record, by_age) {
                self.upkeep.trimming = Trimming::Reading;
                self.upkeep.pages = 0;
                let query = Query::Oldest {
                    log,
                    after: record.floor.id,
                    mails: limits::TRIM_BATCH,
                };
                self.load(query, Pending::Trim(log));
            }
        }
    }

    /// Says from memory alone whether a log may have something to trim; most have not.
    fn may_trim(&self, log: LogNumber, record: &LogRecord, by_age: bool) -> bool {
        let rule = self.trim_rule(log, record);
        let floor = record.floor;
        let is_no_history = by_age || rule.history_below > floor.count;
        rule.all
            || rule.over_count > floor.count
            || rule.over_bytes > floor.bytes
            || (rule.read_through > floor.id && is_no_history)
    }

    fn trim_rule(&self, log: LogNumber, record: &LogRecord) -> TrimRule {
        let head = record.head;
        let address = self.directory.address(log);
        let slowest = self.logs.slowest(log).map(|mark| mark.id);
        let mut rule = TrimRule {
            all: address.is_none_or(|address| address.state == AddressState::Reserved),
            read_through: 0,
            history_below: u64::MAX,
            history_from_s: u64::MAX,
            over_count: 0,
            over_bytes: 0,
        };
        if address.is_some_and(|address| address.kind == AddressKind::Topic) {
            rule.read_through = slowest.unwrap_or(head.id);
            let limits = self.rules.limits(log, &self.settings);
            rule.history_below = head.count.saturating_sub(limits.history_mails);
            let history_s = limits.history_seconds;
            rule.history_from_s = self.running_s().saturating_sub(history_s);
            rule.over_count = head.count.saturating_sub(limits.mails_max);
            rule.over_bytes = head.bytes.saturating_sub(limits.bytes_max);
        } else {
            // A user without a device in sight may come back for all of it.
            rule.read_through = slowest.unwrap_or(0);
        }
        rule
    }

    pub(super) fn trim_loaded(&mut self, log: LogNumber, mails: &[StoredMail], more: bool) {
        let record = self.logs.record(log);
        let rule = self.trim_rule(log, &record);
        let read = self.logs.slowest(log);
        let going: Vec<&StoredMail> = mails
            .iter()
            // An administrator may have purged some while they were looked up.
            .filter(|mail| mail.id > record.floor.id)
            .take_while(|mail| mail.id <= self.synced() && rule.lets_go(mail))
            .collect();
        let Some(last) = going.last() else {
            self.upkeep.trimming = Trimming::Idle;
            self.trim_next();
            return;
        };
        for mail in &going {
            if read.is_some_and(|read| mail.id > read.id) {
                self.counts.trimmed_unread += 1;
            }
            self.changes.push(Change::RemoveMail { log, id: mail.id });
        }
        let floor: Mark = last.record.mark(last.id);
        self.logs.raise_floor(log, floor, &mut self.changes);
        self.upkeep.trimming = Trimming::Removing;
        if going.len() == mails.len() && (more || rule.all) {
            self.upkeep.to_trim.insert(log, true);
        }
    }

    /// A batch of trimming is on disk: on to the next, at the next tick while somebody reads.
    pub(super) fn trim_committed(&mut self) {
        if self.upkeep.trimming == Trimming::Removing {
            self.upkeep.trimming = Trimming::Idle;
            if !self.upkeep.yields(self.now.mono_ms) {
                self.trim_next();
            }
        }
    }

    /// A log whose address is gone and whose mail is gone is no more.
    fn forget_if_orphan(&mut self, log: LogNumber) {
        if self.directory.address(log).is_none() {
            self.logs.remove(log, &mut self.changes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming_yields_to_readers_but_not_for_ever() {
        let mut upkeep = Upkeep::new(0, 0);
        assert!(!upkeep.yields(0));
        (upkeep.paged_ms, upkeep.pages) = (Some(100), 1);
        assert!(upkeep.yields(100) && upkeep.yields(149));
        assert!(!upkeep.yields(150), "nobody reads any more");
        upkeep.pages = PAGES_PER_BATCH;
        assert!(!upkeep.yields(100), "it is its turn");
    }

    #[test]
    fn p09_readers_who_never_rest_hold_trimming_back_for_a_while_only() {
        let mut upkeep = Upkeep::new(0, 0);
        upkeep.grew(3);
        let mut yields_at = |now_ms: u64| {
            upkeep.paged_ms = Some(now_ms);
            let yields = upkeep.yields(now_ms);
            if !yields && now_ms >= 10_500 {
                while upkeep.next_to_trim().is_some() {}
            }
            yields
        };
        assert!((100..10_100).all(&mut yields_at));
        assert!(!(10_100..10_500).any(&mut yields_at), "until it is done");
        yields_at(10_500);
        assert!(
            (10_501..10_600).all(&mut yields_at),
            "and again from then on"
        );
    }

    #[test]
    fn a_busy_log_keeps_no_other_from_being_trimmed() {
        let mut upkeep = Upkeep::new(0, 0);
        for log in [3, 7, 9] {
            upkeep.grew(log);
        }
        let mut order = Vec::new();
        for _ in 0..5 {
            let (log, _) = upkeep.next_to_trim().unwrap();
            order.push(log);
            upkeep.grew(3);
        }
        assert_eq!(order, [3, 7, 9, 3, 3]);
    }
}
