//! The audit: what administrators did, each deed in the commit of what it changed.
//!
//! It only grows at its end; its beginning goes when there is more than [`limits::AUDIT_ROWS_MAX`]. Memory
//! holds its first and last number; the rows are read from the store, for who asks.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::admin::{Actor, page_of};
use super::core::{Call, Core, Ruling};
use super::figures::DeedFigures;
use super::io::Ticket;
use super::read::{Asked, Pending};
use crate::limits;
use crate::protocol::codes::{Code, refusal};
use crate::protocol::request::Admin;
use crate::protocol::{reply, time};
use crate::store::{AuditRecord, Change, Query};

/// Bytes of a note.
const NOTE_BYTES_MAX: usize = 512;

/// How much a deed met of what: shown before, told after, kept in the audit.
pub(super) type Tally = Vec<(&'static str, u64)>;

/// Where the audit begins and ends.
#[derive(Debug)]
pub(super) struct Audit {
    first: u64,
    last: u64,
    /// The newest lines that are on disk, for who looks on; oldest first.
    newest: VecDeque<DeedFigures>,
    /// Lines on their way there, with the ticket of their commit.
    under_way: VecDeque<(Ticket, DeedFigures)>,
    /// Lines of the input being handled.
    fresh: Vec<DeedFigures>,
}

impl Audit {
    /// Takes what the store held.
    pub(super) fn restore(kept: Option<(u64, u64)>) -> Self {
        let (first, last) = kept.unwrap_or((1, 0));
        Self {
            first,
            last,
            newest: VecDeque::new(),
            under_way: VecDeque::new(),
            fresh: Vec::new(),
        }
    }

    /// Notes with which commit the lines of an input go to disk.
    pub(super) fn issued(&mut self, ticket: Ticket) {
        let fresh = self.fresh.drain(..).map(|deed| (ticket, deed));
        self.under_way.extend(fresh);
    }

    /// Shows the lines that are on disk by now.
    pub(super) fn committed(&mut self, ticket: Ticket) {
        while let Some((_, deed)) = self.under_way.pop_front_if(|(of, _)| *of <= ticket) {
            self.show(deed);
        }
    }

    fn show(&mut self, deed: DeedFigures) {
        if self.newest.len() == limits::FIGURES_ROWS_MAX {
            self.newest.pop_front();
        }
        self.newest.push_back(deed);
    }

    /// Returns the newest lines that are on disk, newest first.
    pub(super) fn newest(&self) -> Vec<DeedFigures> {
        self.newest.iter().rev().cloned().collect()
    }
}

impl Core {
    /// Writes down what an administrator did, with the changes of the deed.
    pub(super) fn audit(
        &mut self,
        actor: &Actor,
        what: &str,
        address: &str,
        tally: &Tally,
        note: String,
    ) {
        self.audit.last += 1;
        let mut note = note;
        note.truncate(note.floor_char_boundary(NOTE_BYTES_MAX));
        let counts = tally.iter().map(|(what, many)| ((*what).to_owned(), *many));
        let record = AuditRecord {
            number: self.audit.last,
            at_ms: self.now.wall_ms,
            by: actor.name.clone(),
            what: what.to_owned(),
            address: address.to_owned(),
            counts: counts.collect(),
            note,
        };
        self.audit.fresh.push(DeedFigures::of(&record));
        self.changes.push(Change::PutAudit(record));
        let from = (self.audit.last + 1).saturating_sub(limits::AUDIT_ROWS_MAX);
        while self.audit.first < from {
            self.changes.push(Change::RemoveAudit(self.audit.first));
            self.audit.first += 1;
        }
    }

    /// Has the newest lines of before the start looked up, for who looks on.
    pub(super) fn recall_audit(&mut self) {
        if self.audit.last < self.audit.first {
            return;
        }
        let rows = limits::FIGURES_ROWS_MAX;
        let query = Query::Audit {
            after: self.audit.last.saturating_sub(rows as u64),
            rows: u32::try_from(rows).unwrap_or(u32::MAX),
        };
        self.load(query, Pending::Recall);
    }

    pub(super) fn recalled(&mut self, rows: &[AuditRecord]) {
        // What was done since the start comes after them.
        let since = std::mem::take(&mut self.audit.newest);
        let before = rows.iter().map(DeedFigures::of);
        before.chain(since).for_each(|deed| self.audit.show(deed));
    }

    /// Shows the audit after a number; without one its end.
    pub(super) fn audit_ls(&mut self, call: &Call, admin: &Admin) -> Ruling {
        let after = match admin.after.as_deref() {
            None => self.audit.last.saturating_sub(limits::AUDIT_ROWS_SHOWN),
            Some(after) => after
                .parse()
                .map_err(|_| refusal!(Code::BadRequest, "that is no cursor of this listing"))?,
        };
        let rows = u32::try_from(limits::ROWS_MAX).unwrap_or(u32::MAX);
        self.load(
            Query::Audit { after, rows },
            Pending::Audit(Asked::by(call)),
        );
        Ok(None)
    }

    /// Tells a page of it. All of it was decided before this reply, which waits for the disk like any other.
    pub(super) fn tell_audit(&mut self, call: &Call, rows: &[AuditRecord], more: bool) {
        let told = rows
            .iter()
            .map(|record| (row(record), record.number.to_string()));
        let mut page = page_of(told);
        if page.more_after.is_none() && more {
            page.more_after = rows.last().map(|record| record.number.to_string());
        }
        self.reply(call, reply::encode(&page), Vec::new());
    }
}

fn row(record: &AuditRecord) -> Value {
    let counts: Map<String, Value> = record
        .counts
        .iter()
        .map(|(what, many)| (what.clone(), (*many).into()))
        .collect();
    json!({
        "number": record.number,
        "at": time::to_text(record.at_ms),
        // Nobody's name: a user may be called as the file is.
        "by": (!record.by.is_empty()).then_some(&record.by),
        "what": record.what,
        "address": record.address,
        "counts": counts,
        "note": record.note,
    })
}
