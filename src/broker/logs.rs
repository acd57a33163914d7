//! The logs' totals and the devices' cursors: how much there is and how far everybody has read.
//!
//! No mail is held here. Depths are differences of marks; what holds a log's mail back from being
//! trimmed is the smallest cursor in it, kept in order so that it costs no scan.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;

use crate::protocol::{LogNumber, MailId};
use crate::store::{Change, LogRecord, Mark};

/// One log: totals, and the cursors in it that hold mail back.
#[derive(Debug, Default)]
struct Log {
    record: LogRecord,
    positions: BTreeMap<MailId, (Mark, u32)>,
}

impl Log {
    fn hold(&mut self, mark: Mark) {
        self.positions.entry(mark.id).or_insert((mark, 0)).1 += 1;
    }

    fn let_go(&mut self, mark: Mark) {
        if let Some(position) = self.positions.get_mut(&mark.id) {
            position.1 -= 1;
            if position.1 == 0 {
                self.positions.remove(&mark.id);
            }
        }
    }
}

/// Marks of mails that are kept in memory: an acknowledgement of one of them needs no look into the store.
const NEWEST_KEPT: usize = 8_192;
const READ_KEPT: usize = 64;

/// The marks that acknowledgements are most likely to name: of the newest mails, and of the ends of
/// the pages told last. What they say of a mail never changes.
#[derive(Debug, Default)]
struct Recent {
    /// By id.
    newest: VecDeque<(LogNumber, Mark)>,
    read: VecDeque<(LogNumber, Mark)>,
}

impl Recent {
    fn find(&self, log: LogNumber, id: MailId) -> Option<Mark> {
        let is_it = |(of, mark): &&(LogNumber, Mark)| *of == log && mark.id == id;
        let at = self.newest.partition_point(|(_, mark)| mark.id < id);
        let found = self.newest.get(at).filter(is_it);
        found
            .or_else(|| self.read.iter().find(is_it))
            .map(|(_, mark)| *mark)
    }
}

fn keep(marks: &mut VecDeque<(LogNumber, Mark)>, most: usize, log: LogNumber, mark: Mark) {
    if marks.len() == most {
        marks.pop_front();
    }
    marks.push_back((log, mark));
}

/// Returns how many mails and bytes a log keeps.
fn kept_by(record: &LogRecord) -> Mark {
    Mark {
        id: 0,
        count: record.head.count.saturating_sub(record.floor.count),
        bytes: record.head.bytes.saturating_sub(record.floor.bytes),
    }
}

/// All logs and cursors.
#[derive(Debug, Default)]
pub(super) struct Logs {
    by_number: HashMap<LogNumber, Log>,
    cursors: BTreeMap<(u64, LogNumber), Mark>,
    /// Devices unseen for so long that they hold nothing back.
    stale: BTreeSet<u64>,
    recent: Recent,
    /// What all logs keep: the id is unused.
    kept: Mark,
    /// How far pages not acknowledged yet were told, by device and log.
    told: HashMap<(u64, LogNumber), MailId>,
}

impl Logs {
    pub(super) fn restore(logs: Vec<(LogNumber, LogRecord)>) -> Self {
        let mut kept = Mark::ZERO;
        let by_number = logs
            .into_iter()
            .map(|(number, record)| {
                let of_log = kept_by(&record);
                kept.count += of_log.count;
                kept.bytes += of_log.bytes;
                (
                    number,
                    Log {
                        record,
                        positions: BTreeMap::new(),
                    },
                )
            })
            .collect();
        Self {
            by_number,
            kept,
            ..Self::default()
        }
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = LogNumber> + '_ {
        self.by_number.keys().copied()
    }

    pub(super) fn record(&self, log: LogNumber) -> LogRecord {
        self.by_number
            .get(&log)
            .map_or(LogRecord::default(), |log| log.record)
    }

    pub(super) fn head(&self, log: LogNumber) -> Mark {
        self.record(log).head
    }

    /// Puts a mail at a log's head and returns the mark before it and its own.
    pub(super) fn append(&mut self, log: LogNumber, id: MailId, size: u64) -> (Mark, Mark) {
        let record = &mut self.by_number.entry(log).or_default().record;
        let before = record.head;
        record.head = Mark {
            id,
            count: before.count + 1,
            bytes: before.bytes + size,
        };
        let head = record.head;
        self.kept.count += 1;
        self.kept.bytes += size;
        keep(&mut self.recent.newest, NEWEST_KEPT, log, head);
        (before, head)
    }

    /// Notes where a page that is told ends: that is what will be acknowledged.
    pub(super) fn note_read(&mut self, log: LogNumber, mark: Mark) {
        keep(&mut self.recent.read, READ_KEPT, log, mark);
    }

    /// Returns the mark of a mail, when it is one of those kept in memory.
    pub(super) fn recent(&self, log: LogNumber, id: MailId) -> Option<Mark> {
        self.recent.find(log, id)
    }

    /// Moves a log's floor up to a mail that was trimmed.
    pub(super) fn raise_floor(&mut self, log: LogNumber, floor: Mark, changes: &mut Vec<Change>) {
        let record = &mut self.by_number.entry(log).or_default().record;
        let before = std::mem::replace(&mut record.floor, floor);
        self.kept.count = (self.kept.count + before.count).saturating_sub(floor.count);
        self.kept.bytes = (self.kept.bytes + before.bytes).saturating_sub(floor.bytes);
        changes.push(Change::PutLog {
            log,
            record: *record,
        });
    }

    pub(super) fn remove(&mut self, log: LogNumber, changes: &mut Vec<Change>) {
        if let Some(gone) = self.by_number.remove(&log) {
            let of_log = kept_by(&gone.record);
            self.kept.count = self.kept.count.saturating_sub(of_log.count);
            self.kept.bytes = self.kept.bytes.saturating_sub(of_log.bytes);
        }
        changes.push(Change::RemoveLog(log));
        let gone: Vec<u64> = self
            .cursors
            .keys()
            .filter(|(_, of)| *of == log)
            .map(|(device, _)| *device)
            .collect();
        for device in gone {
            self.drop_cursor(device, log, changes);
        }
    }

    /// Returns how many mails and bytes all logs keep.
    pub(super) fn kept(&self) -> Mark {
        self.kept
    }

    /// Notes that a device was told a page of these ids of a log; returns how many of them it had been
    /// told before.
    pub(super) fn note_told(
        &mut self,
        device: u64,
        log: LogNumber,
        ids: impl Iterator<Item = MailId>,
    ) -> u64 {
        let Some(cursor) = self.cursor(device, log) else {
            return 0;
        };
        let before = self.told.get(&(device, log)).map_or(cursor.id, |id| *id);
        let (mut again, mut through) = (0, before);
        for id in ids {
            again += u64::from(id <= before);
            through = through.max(id);
        }
        if through > cursor.id {
            self.told.insert((device, log), through);
        }
        again
    }

    /// Says whether a device was told a mail in a page and has not acknowledged it yet.
    pub(super) fn is_in_flight(&self, device: u64, log: LogNumber, id: MailId) -> bool {
        let told = self.told.get(&(device, log));
        let is_told = told.is_some_and(|through| id <= *through);
        is_told
            && self
                .cursor(device, log)
                .is_some_and(|cursor| cursor.id < id)
    }

    // -- cursors --

    pub(super) fn cursor(&self, device: u64, log: LogNumber) -> Option<Mark> {
        self.cursors.get(&(device, log)).copied()
    }

    /// Puts a cursor where the store had it, or where it must be by rule; not written.
    pub(super) fn place_cursor(&mut self, device: u64, log: LogNumber, mark: Mark) {
        let before = self.cursors.insert((device, log), mark);
        if self
            .told
            .get(&(device, log))
            .is_some_and(|told| *told <= mark.id)
        {
            self.told.remove(&(device, log));
        }
        if !self.stale.contains(&device) {
            let log = self.by_number.entry(log).or_default();
            if let Some(before) = before {
                log.let_go(before);
            }
            log.hold(mark);
        }
    }

    /// Puts a cursor and writes it.
    pub(super) fn put_cursor(
        &mut self,
        device: u64,
        log: LogNumber,
        mark: Mark,
        changes: &mut Vec<Change>,
    ) {
        if self.cursor(device, log) != Some(mark) {
            changes.push(Change::PutCursor { device, log, mark });
        }
        self.place_cursor(device, log, mark);
    }

    pub(super) fn drop_cursor(&mut self, device: u64, log: LogNumber, changes: &mut Vec<Change>) {
        let Some(mark) = self.cursors.remove(&(device, log)) else {
            return;
        };
        self.told.remove(&(device, log));
        changes.push(Change::RemoveCursor { device, log });
        if !self.stale.contains(&device)
            && let Some(log) = self.by_number.get_mut(&log)
        {
            log.let_go(mark);
        }
    }

    pub(super) fn drop_device(&mut self, device: u64, changes: &mut Vec<Change>) {
        for log in self.logs_of_device(device) {
            self.drop_cursor(device, log, changes);
        }
        self.stale.remove(&device);
    }

    fn logs_of_device(&self, device: u64) -> Vec<LogNumber> {
        self.cursors
            .range((device, 0)..=(device, u64::MAX))
            .map(|((_, log), _)| *log)
            .collect()
    }

    /// Returns cursors by device and log, from the first after one of them.
    pub(super) fn cursors_after(
        &self,
        after: Option<(u64, LogNumber)>,
    ) -> impl Iterator<Item = (u64, LogNumber, Mark)> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.cursors.range((from, Bound::Unbounded));
        rest.map(|((device, log), mark)| (*device, *log, *mark))
    }

    /// Mails past a device's cursor, those that went unread since included.
    pub(super) fn waiting(&self, device: u64, log: LogNumber) -> Mark {
        let head = self.head(log);
        let cursor = self.cursor(device, log).unwrap_or(head);
        Mark {
            id: cursor.id,
            count: head.count.saturating_sub(cursor.count),
            bytes: head.bytes.saturating_sub(cursor.bytes),
        }
    }

    /// Returns the smallest cursor that holds mail back, if any does.
    pub(super) fn slowest(&self, log: LogNumber) -> Option<Mark> {
        let positions = &self.by_number.get(&log)?.positions;
        positions.first_key_value().map(|(_, (mark, _))| *mark)
    }

    /// Mails and bytes that count against a log's limit: what is kept and not read by all.
    pub(super) fn used(&self, log: LogNumber) -> Mark {
        let record = self.record(log);
        let slowest = self.slowest(log).unwrap_or(record.floor);
        let from = if slowest.id > record.floor.id {
            slowest
        } else {
            record.floor
        };
        Mark {
            id: from.id,
            count: record.head.count.saturating_sub(from.count),
            bytes: record.head.bytes.saturating_sub(from.bytes),
        }
    }

    // -- devices that stay away --

    /// Lets go of everything a device holds back. Returns whether that is news.
    pub(super) fn set_stale(&mut self, device: u64) -> bool {
        if self.stale.contains(&device) {
            return false;
        }
        for log in self.logs_of_device(device) {
            if let (Some(mark), Some(log)) = (
                self.cursors.get(&(device, log)).copied(),
                self.by_number.get_mut(&log),
            ) {
                log.let_go(mark);
            }
        }
        self.stale.insert(device)
    }

    /// Lets a device that is back hold mail again.
    pub(super) fn set_fresh(&mut self, device: u64) {
        if !self.stale.remove(&device) {
            return;
        }
        for log in self.logs_of_device(device) {
            if let Some(mark) = self.cursors.get(&(device, log)).copied() {
                self.by_number.entry(log).or_default().hold(mark);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_three_mails() -> Logs {
        let mut logs = Logs::default();
        for id in [5, 7, 9] {
            logs.append(1, id, 10);
        }
        logs
    }

    #[test]
    fn p08_depth_is_a_subtraction() {
        let mut logs = with_three_mails();
        logs.place_cursor(
            1,
            1,
            Mark {
                id: 5,
                count: 1,
                bytes: 10,
            },
        );
        assert_eq!(
            logs.waiting(1, 1),
            Mark {
                id: 5,
                count: 2,
                bytes: 20
            }
        );
        assert_eq!(
            logs.waiting(2, 1).count,
            0,
            "who has no cursor waits for nothing"
        );
    }

    #[test]
    fn marks_of_the_newest_mails_and_of_page_ends_are_known() {
        let mut logs = with_three_mails();
        let second = Mark {
            id: 7,
            count: 2,
            bytes: 20,
        };
        assert_eq!(logs.recent(1, 7), Some(second));
        assert_eq!(logs.recent(2, 7), None, "another log's");
        assert_eq!(logs.recent(1, 6), None, "no mail of that id");
        for id in 10..10 + NEWEST_KEPT as u64 {
            logs.append(3, id, 1);
        }
        assert_eq!(logs.recent(1, 7), None, "too old");
        logs.note_read(1, second);
        assert_eq!(logs.recent(1, 7), Some(second));
    }

    #[test]
    fn a_log_that_goes_takes_no_other_logs_cursors() {
        let mut logs = with_three_mails();
        let (_, mark) = logs.append(2, 11, 10);
        logs.place_cursor(1, 1, logs.head(1));
        logs.place_cursor(1, 2, mark);
        logs.remove(1, &mut Vec::new());
        assert_eq!(logs.cursor(1, 1), None);
        assert_eq!(logs.cursor(1, 2), Some(mark));
    }

    #[test]
    fn the_slowest_cursor_holds_and_a_stale_device_does_not() {
        let mut logs = with_three_mails();
        let mut changes = Vec::new();
        logs.place_cursor(
            1,
            1,
            Mark {
                id: 5,
                count: 1,
                bytes: 10,
            },
        );
        logs.place_cursor(
            2,
            1,
            Mark {
                id: 9,
                count: 3,
                bytes: 30,
            },
        );
        assert_eq!(logs.slowest(1).map(|m| m.id), Some(5));
        assert!(logs.set_stale(1));
        assert_eq!(logs.slowest(1).map(|m| m.id), Some(9));
        logs.set_fresh(1);
        assert_eq!(logs.slowest(1).map(|m| m.id), Some(5));
        logs.put_cursor(
            1,
            1,
            Mark {
                id: 7,
                count: 2,
                bytes: 20,
            },
            &mut changes,
        );
        assert_eq!(logs.slowest(1).map(|m| m.id), Some(7));
        logs.drop_device(1, &mut changes);
        assert_eq!(logs.slowest(1).map(|m| m.id), Some(9));
        assert_eq!(changes.len(), 2);
    }

    #[test]
    fn used_counts_from_the_floor_or_the_slowest_reader() {
        let mut logs = with_three_mails();
        assert_eq!(logs.used(1).count, 3);
        logs.place_cursor(
            1,
            1,
            Mark {
                id: 7,
                count: 2,
                bytes: 20,
            },
        );
        assert_eq!(logs.used(1).count, 1);
        logs.raise_floor(
            1,
            Mark {
                id: 9,
                count: 3,
                bytes: 30,
            },
            &mut Vec::new(),
        );
        assert_eq!(logs.used(1).count, 0);
    }
}
