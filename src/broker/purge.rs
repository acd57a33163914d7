//! What administrators do to queues: a purge, batch by batch, and the release of a device that holds mail back.

use serde_json::json;

use super::admin::Actor;
use super::core::{Call, Core, Ruling};
use super::deed::told_deed;
use super::read::{Asked, Pending};
use crate::limits;
use crate::protocol::codes::{Code, refusal};
use crate::protocol::request::{Admin, AdminWhat};
use crate::protocol::{LogNumber, MailId, reply};
use crate::store::{Change, Query, StoredMail};

/// A batch of a purge whose mails are being looked up.
#[derive(Debug)]
pub(super) struct Purge {
    actor: Actor,
    log: LogNumber,
    /// Mails above came after it was asked for, and stay.
    through: MailId,
}

impl Core {
    /// Removes all mail that is kept at an address, read or not: what was there when it was asked for, a batch a
    /// request. Readers are told how much went.
    pub(super) fn queue_purge(&mut self, call: &Call, actor: Actor, admin: &Admin) -> Ruling {
        let address = self.meant(admin)?;
        let (log, name) = (address.number, address.name.clone());
        let record = self.logs.record(log);
        let through = match admin.after.as_deref() {
            None => record.head.id,
            Some(through) => through
                .parse()
                .map_err(|_| refusal!(Code::BadRequest, "that is no cursor of this listing"))?,
        };
        if admin.particulars.dry_run {
            return Ok(told_deed(
                json!({"address": name}),
                &self.mail_tally(log),
                None,
                true,
            ));
        }
        if through <= record.floor.id {
            let nothing = vec![("mails", 0), ("bytes", 0)];
            return Ok(told_deed(json!({"address": name}), &nothing, None, false));
        }
        let query = Query::Oldest {
            log,
            after: record.floor.id,
            mails: limits::PURGE_BATCH,
        };
        let purge = Purge {
            actor,
            log,
            through,
        };
        self.load(query, Pending::Purge(Asked::by(call), Box::new(purge)));
        Ok(None)
    }

    /// Removes the batch that was looked up, as far as it is still there, and writes it down.
    pub(super) fn purge_loaded(&mut self, asked: Asked, purge: Purge, mails: &[StoredMail]) {
        let Purge {
            actor,
            log,
            through,
        } = purge;
        let call = asked.call();
        let Some(name) = self.directory.address(log).map(|a| a.name.clone()) else {
            let error = refusal!(Code::NoSuchAddress, "it was removed meanwhile");
            return self.reply(&call, reply::encode_error(&error), Vec::new());
        };
        let record = self.logs.record(log);
        let read = self.logs.slowest(log).map_or(0, |mark| mark.id);
        // Trimming may have taken some while they were looked up; what is not on disk yet stays for the next batch.
        let going = mails.iter().filter(|mail| mail.id > record.floor.id);
        let going: Vec<&StoredMail> = going
            .take_while(|mail| mail.id <= through.min(self.synced()))
            .collect();
        let mut tally = vec![("mails", going.len() as u64), ("bytes", 0)];
        let mut floor = record.floor;
        if let Some(last) = going.last() {
            floor = last.record.mark(last.id);
            tally[1].1 = floor.bytes.saturating_sub(record.floor.bytes);
            for mail in &going {
                self.counts.trimmed_unread += u64::from(mail.id > read);
                self.changes.push(Change::RemoveMail { log, id: mail.id });
            }
            self.logs.raise_floor(log, floor, &mut self.changes);
            let word = AdminWhat::QueuePurge.word();
            let first = going.first().map_or(0, |mail| mail.id);
            let note = format!("mails {first}-{}", last.id);
            self.audit(&actor, word, &name, &tally, note);
        }
        let is_more = floor.id < through.min(record.head.id) && !mails.is_empty();
        let more_after = is_more.then(|| through.to_string());
        if let Some(header) = told_deed(json!({"address": name}), &tally, more_after, false) {
            self.reply(&call, header, Vec::new());
        }
    }

    /// Moves a device's cursor to the end of a log: it holds no mail back there any more.
    pub(super) fn queue_release(&mut self, actor: &Actor, admin: &Admin) -> Ruling {
        let address = self.meant(admin)?;
        let (log, name) = (address.number, address.name.clone());
        let device = admin.particulars.device.unwrap_or(0);
        if self.logs.cursor(device, log).is_none() {
            return Err(refusal!(
                Code::NoSuchDevice,
                "no device {} reads {}; mailctl admin queue show {} lists them",
                device,
                name,
                name
            ));
        }
        let waiting = self.logs.waiting(device, log);
        let tally = vec![("waiting", waiting.count), ("bytes", waiting.bytes)];
        let what = (tally, format!("device {device}"));
        self.carry_out((actor, admin), &name, what, |core| {
            let head = core.logs.head(log);
            core.logs.put_cursor(device, log, head, &mut core.changes);
            core.upkeep.shrank(log);
        })
    }
}
