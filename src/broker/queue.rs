//! The administrator's view of queues: what waits, for whom, since when. Nothing here moves a cursor.

use serde_json::{Value, json};

use super::admin::page_of;
use super::core::{Call, Core, Ruling};
use super::read::{Asked, Pending};
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::request::Admin;
use crate::protocol::{LogNumber, MailId, reply, time};
use crate::store::{AddressKind, AddressRecord, MailState, Mark, Query, StoredMail};

/// A page of queues whose oldest mails are being looked up, one after the other.
#[derive(Debug)]
pub(super) struct QueuePage {
    page: reply::Rows,
    /// Rows still to look up: their place in the page, their log and the reader's cursor in it.
    to_look_up: Vec<(usize, LogNumber, MailId)>,
}

impl Core {
    /// Lists every queue, that is, every log a device reads, by address and device.
    pub(super) fn queue_ls(&mut self, call: &Call, admin: &Admin) -> Ruling {
        let (after, device_after) = queue_cursor(admin.after.as_deref())?;
        // The address of the cursor itself may have devices left, so it is asked for again.
        let named = after.as_deref().and_then(|name| self.directory.live(name));
        let rest = self.directory.addresses_after(after.as_deref());
        let queues = named
            .into_iter()
            .chain(rest)
            .flat_map(|address| self.queues_of(address));
        let is_after = |(address, device): &(&AddressRecord, u64)| {
            after
                .as_deref()
                .is_none_or(|name| address.name.as_str() > name || *device > device_after)
        };
        let page = self.queue_page(queues.filter(is_after));
        self.look_up_oldest(Asked::by(call), page);
        Ok(None)
    }

    pub(super) fn queue_show(&mut self, call: &Call, admin: &Admin) -> Ruling {
        let (_, device_after) = queue_cursor(admin.after.as_deref())?;
        let queues = self.queues_of(self.meant(admin)?);
        let page = self.queue_page(queues.filter(|(_, device)| *device > device_after));
        self.look_up_oldest(Asked::by(call), page);
        Ok(None)
    }

    pub(super) fn queues_of<'a>(
        &'a self,
        address: &'a AddressRecord,
    ) -> impl Iterator<Item = (&'a AddressRecord, u64)> + 'a {
        let own = (address.kind == AddressKind::User).then_some(address.number);
        let users = own
            .into_iter()
            .chain(self.directory.readers(address.number));
        let mut devices: Vec<u64> = users
            .flat_map(|user| self.directory.devices_of(user))
            .collect();
        devices.sort_unstable();
        devices.into_iter().map(move |device| (address, device))
    }

    fn queue_page<'a>(&self, queues: impl Iterator<Item = (&'a AddressRecord, u64)>) -> QueuePage {
        let mut waiting = Vec::new();
        let page = page_of(queues.map(|(address, device)| {
            waiting.push((address.number, self.logs.waiting(device, address.number)));
            self.queue_row(address, device)
        }));
        let rows = waiting.into_iter().take(page.rows.len()).enumerate();
        let to_look_up = rows
            .filter(|(_, (_, waiting))| waiting.count > 0)
            .map(|(row, (log, waiting))| (row, log, waiting.id))
            .collect();
        QueuePage { page, to_look_up }
    }

    fn queue_row(&self, address: &AddressRecord, device: u64) -> (Value, String) {
        let waiting = self.logs.waiting(device, address.number);
        let user = self
            .directory
            .device(device)
            .map_or(0, |device| device.user);
        let row = json!({
            "address": address.name,
            "user": self.directory.name_of(user),
            "device": device,
            "waiting": waiting.count,
            "bytes": waiting.bytes,
            // Holds the place of the time that is looked up, so that the page's size stays true.
            "oldest": (waiting.count > 0).then(|| time::to_text(0)),
            "oldest_id": (waiting.count > 0).then_some(waiting.id),
        });
        (row, format!("{} {device}", address.name))
    }

    /// Looks up when the next queue's oldest mail was sent; answers when there is none left.
    pub(super) fn look_up_oldest(&mut self, asked: Asked, queues: QueuePage) {
        if let Some((_, log, after)) = queues.to_look_up.last() {
            let floor: Mark = self.logs.record(*log).floor;
            let query = Query::Oldest {
                log: *log,
                after: (*after).max(floor.id),
                mails: 1,
            };
            self.load(query, Pending::Oldest(asked, Box::new(queues)));
        } else {
            let header = reply::encode(&queues.page);

            self.reply(&asked.call(), header, Vec::new());
        }
    }

    /// Notes a queue's oldest mail; there is none where all that waits is word of what was trimmed.
    pub(super) fn oldest_loaded(
        &mut self,
        asked: Asked,
        mut queues: QueuePage,
        oldest: Option<&StoredMail>,
    ) {
        if let Some(row) = queues
            .to_look_up
            .pop()
            .and_then(|(row, ..)| queues.page.rows.get_mut(row))
        {
            row["oldest"] = oldest
                .map(|mail| time::to_text(mail.record.sent_at_ms))
                .into();
            row["oldest_id"] = oldest.map(|mail| mail.id).into();
        }
        self.look_up_oldest(asked, queues);
    }

    /// Shows the envelopes that wait at an address, from the slowest reader on. No cursor moves.
    pub(super) fn queue_peek(&mut self, call: &Call, admin: &Admin) -> Ruling {
        let log = self.meant(admin)?.number;
        let after = admin.after.as_deref().and_then(|id| id.parse().ok());
        let after = after.unwrap_or_else(|| self.waits_after(log).id);
        let mails = u32::try_from(limits::ROWS_MAX).unwrap_or(u32::MAX);
        // Not a page: of that, a budget of no body bytes leaves one mail.
        let query = Query::Oldest { log, after, mails };
        self.load(query, Pending::Peek(Asked::by(call), log));
        Ok(None)
    }

    /// Returns the mark after which mail waits at an address for somebody who reads it; all that is kept, where nobody
    /// does.
    pub(super) fn waits_after(&self, log: LogNumber) -> Mark {
        let floor = self.logs.record(log).floor;
        let slowest = self.logs.slowest(log).unwrap_or(floor);
        self.not_below_floor(log, slowest)
    }

    pub(super) fn tell_peeked(
        &mut self,
        call: &Call,
        log: LogNumber,
        mails: &[StoredMail],
        more: bool,
    ) {
        let mut page = Vec::new();
        let mut room = limits::HEADER_BYTES_MAX;
        let mut more = more;
        let mut last = None;
        for mail in mails.iter().take_while(|mail| mail.id <= self.synced()) {
            let row = self.peeked(log, mail, 0);
            let Some(left) = room.checked_sub(row.to_string().len() + 1) else {
                more = true;
                break;
            };
            room = left;
            last = Some(mail.id);
            page.push(row);
        }
        let more_after = last.filter(|_| more).map(|id| id.to_string());
        let header = reply::encode(&reply::Rows {
            rows: page,
            more_after,
        });
        self.reply(call, header, Vec::new());
    }
}

impl Core {
    /// Describes a mail to an administrator, with as many frames of its body.
    pub(super) fn peeked(&self, log: LogNumber, mail: &StoredMail, frames: u32) -> Value {
        let mut envelope = self.envelope(log, mail.id, &mail.record);
        envelope.frames = frames;
        let mut row = serde_json::to_value(&envelope).unwrap_or_default();
        row["state"] = match mail.record.state {
            MailState::Live => "live".into(),
            MailState::Expired => "expired".into(),
        };
        row["in_flight"] = self.in_flight(log, mail.id).into();
        row
    }

    /// Returns the devices that were given a mail in a page and have not acknowledged it.
    fn in_flight(&self, log: LogNumber, id: MailId) -> Vec<u64> {
        let Some(address) = self.directory.address(log) else {
            return Vec::new();
        };
        let devices = self.queues_of(address).map(|(_, device)| device);
        devices
            .filter(|device| self.logs.is_in_flight(*device, log, id))
            .take(limits::ROWS_MAX)
            .collect()
    }
}

/// Reads a queue listing's cursor, `address device`.
fn queue_cursor(after: Option<&str>) -> Result<(Option<String>, u64), WireError> {
    let Some(after) = after else {
        return Ok((None, 0));
    };
    let parsed = after
        .rsplit_once(' ')
        .and_then(|(name, device)| Some((name.to_owned(), device.parse::<u64>().ok()?)));
    parsed
        .map(|(name, device)| (Some(name), device))
        .ok_or_else(|| refusal!(Code::BadRequest, "that is no cursor of this listing"))
}
