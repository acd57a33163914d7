//! Moving what waits for one user to another: of somebody who left to who takes over.
//!
//! A batch is one commit: what goes from one log and what comes to the other are there together or not at all, so
//! nothing is lost or told twice whenever the server dies. A moved mail gets a new number, since numbers rise within
//! a log; that of its message stays, by which a reader who has another copy of it knows it again.

use serde_json::{Value, json};

use super::admin::{Actor, meant_name};
use super::core::{Call, Core, Ruling};
use super::deed::told_deed;
use super::read::{Asked, Pending};
use super::send::NewMail;
use crate::auth::policy;
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::SERVER;
use crate::protocol::request::Admin;
use crate::protocol::{LogNumber, MailId, reply};
use crate::store::{AddressRecord, AddressState, Change, Query, StoredMail};

/// A batch that is being looked up.
#[derive(Debug)]
pub(super) struct Shift {
    admin: Admin,
    from: LogNumber,
    to: LogNumber,
    /// Mails above came after it was asked for, and stay; word of the move is one of them.
    through: MailId,
    /// Both were told what is going on, by a batch before.
    is_announced: bool,
}

/// What a batch did.
#[derive(Debug, Default)]
struct Shifted {
    mails: u64,
    bytes: u64,
    expired: u64,
    /// The numbers that went, and those that they have now.
    were: Option<(MailId, MailId)>,
    are: Option<(MailId, MailId)>,
}

impl Core {
    /// Moves what waits for a user to another, a batch a request.
    pub(super) fn queue_move(&mut self, call: &Call, admin: &Admin) -> Ruling {
        let (from, name) = self.user_meant(admin).map_err(only_users)?;
        let heir = Admin::new(admin.what, admin.particulars.to.clone());
        let (to, heir) = match meant_name(&heir) {
            Ok(_) => self.user_meant(&heir).map_err(only_users)?,
            Err(error) => return Err(error),
        };
        if from == to {
            return Err(refusal!(
                Code::BadRequest,
                "what waits for {} is there already",
                heir
            ));
        }
        let waits = self.waits_after(from);
        let head = self.logs.head(from);
        let (through, is_announced) = match admin.after.as_deref() {
            None => (head.id, false),
            Some(after) => cursor_of(after)
                .ok_or_else(|| refusal!(Code::BadRequest, "that is no cursor of this listing"))?,
        };
        let (mails, bytes) = (
            head.count.saturating_sub(waits.count),
            head.bytes.saturating_sub(waits.bytes),
        );
        if admin.after.is_none() {
            self.fits(to, &heir, mails, bytes)?;
        }
        let tally = vec![("mails", mails), ("bytes", bytes)];
        if admin.particulars.dry_run {
            return Ok(told_deed(both(&name, &heir), &tally, None, true));
        }
        self.take_more()?;
        if through <= waits.id {
            let tally = vec![("mails", 0), ("bytes", 0)];
            return Ok(told_deed(both(&name, &heir), &tally, None, false));
        }
        let query = Query::Page {
            log: from,
            // What all have read lies below what waits until it is trimmed, and goes along.
            after: self.logs.record(from).floor.id,
            upto: through.min(self.synced()),
            mails: limits::SHIFT_BATCH,
            bytes: limits::PAGE_BYTES_MAX as u64,
        };
        let shift = Shift {
            admin: admin.clone(),
            from,
            to,
            through,
            is_announced,
        };
        self.load(query, Pending::Shift(Asked::by(call), Box::new(shift)));
        Ok(None)
    }

    /// Refuses what would not fit in at the other end.
    fn fits(&self, to: LogNumber, heir: &str, mails: u64, bytes: u64) -> Result<(), WireError> {
        let used = self.logs.used(to);
        let limits = self.rules.limits(to, &self.settings);
        if used.count + mails <= limits.mails_max && used.bytes + bytes <= limits.bytes_max {
            return Ok(());
        }
        Err(refusal!(
            Code::MailboxFull,
            "{}'s mailbox has no room for {} mails more; it has when {} has read some, or by mailctl admin user quota",
            heir,
            mails,
            heir
        ))
    }

    /// Moves the batch that was looked up, as far as it is still there.
    pub(super) fn shift_loaded(&mut self, asked: Asked, shift: Box<Shift>, mails: Vec<StoredMail>) {
        // A large body comes alone, and first of its batch.
        let waits = self.waits_after(shift.from).id;
        let next = mails.iter().find(|mail| mail.id > waits);
        if let Some(mail) = next
            && mail.body.is_none()
            && mail.record.size > 0
            && self.is_alive(mail)
        {
            let query = Query::Body {
                log: shift.from,
                id: mail.id,
                offset: 0,
                len: usize::try_from(mail.record.size).unwrap_or(usize::MAX),
            };
            let through = mail.id;
            let mut mails = mails;
            mails.retain(|mail| mail.id <= through);
            return self.load(query, Pending::ShiftBody(asked, shift, mails));
        }
        let call = asked.call();
        let header = match self.shift(&call, &shift, mails) {
            Ok(header) => header,
            Err(error) => Some(reply::encode_error(&error)),
        };
        if let Some(header) = header {
            self.reply(&call, header, Vec::new());
        }
    }

    /// Goes on with a mail whose large body was looked up; without it, it went meanwhile, which is asked anew.
    pub(super) fn shift_body_loaded(
        &mut self,
        asked: Asked,
        shift: Box<Shift>,
        mut mails: Vec<StoredMail>,
        body: Option<Vec<u8>>,
    ) {
        if body.is_none() {
            mails.pop();
        }
        if let Some(last) = mails.last_mut()
            && body.is_some()
        {
            last.body = body;
        }
        self.shift_loaded(asked, shift, mails);
    }

    fn shift(&mut self, call: &Call, shift: &Shift, mails: Vec<StoredMail>) -> Ruling {
        // Meanwhile who asked may have lost the right to, and either user may have gone.
        let actor = self.actor(&call.peer.key)?;
        policy::may_administer(actor.role, &shift.admin)?;
        let live = |number: LogNumber| -> Option<&AddressRecord> {
            let address = self.directory.address(number);
            address.filter(|address| address.state == AddressState::Live)
        };
        let (Some(from), Some(to)) = (live(shift.from), live(shift.to)) else {
            return Err(refusal!(Code::NoSuchAddress, "it was removed meanwhile"));
        };
        let (name, heir) = (from.name.clone(), to.name.clone());
        let waits = self.waits_after(shift.from);
        let floor = self.logs.record(shift.from).floor;
        let head = self.logs.head(shift.from).count;
        let mut done = Shifted::default();
        let mut last = floor;
        for mail in mails {
            if mail.id <= floor.id || mail.id > shift.through.min(self.synced()) {
                continue;
            }
            if mail.id > waits.id {
                if mail.record.from == SERVER && self.is_alive(&mail) {
                    // What the server told somebody is for nobody else: it waits for him again, behind the rest.
                    self.append(shift.from, &taken_over(&mail));
                } else if self.is_alive(&mail) {
                    if mail.body.is_none() && mail.record.size > 0 {
                        break;
                    }
                    match self.may_come(&mail, shift.to, &heir) {
                        Err(error) if done.were.is_none() => return Err(error),
                        Err(_) => break,
                        Ok(()) => {}
                    }
                    if !shift.is_announced && done.mails == 0 {
                        let many = head.saturating_sub(waits.count);
                        self.announce(&actor, (shift.from, &name), (shift.to, &heir), many);
                    }
                    self.take_over(&mail, shift.to, &mut done);
                } else {
                    done.expired += 1;
                }
                done.were = Some((done.were.map_or(mail.id, |(first, _)| first), mail.id));
            }
            last = mail.record.mark(mail.id);
            self.changes.push(Change::RemoveMail {
                log: shift.from,
                id: mail.id,
            });
        }
        if last.id > floor.id {
            self.logs.raise_floor(shift.from, last, &mut self.changes);
        }
        let mut tally = vec![("mails", done.mails), ("bytes", done.bytes)];
        if done.expired > 0 {
            tally.push(("expired", done.expired));
        }
        if let Some((first, through)) = done.were {
            let are = done.are.map(|(first, last)| format!(", {first}-{last}"));
            let note = format!(
                "mails {first}-{through} to {heir}{}",
                are.unwrap_or_default()
            );
            self.audit(&actor, shift.admin.what.word(), &name, &tally, note);
        }
        let is_more = last.id < shift.through.min(self.logs.head(shift.from).id);
        let is_announced = shift.is_announced || done.mails > 0;
        let more_after = is_more.then(|| format!("{}:{is_announced}", shift.through));
        Ok(told_deed(both(&name, &heir), &tally, more_after, false))
    }

    /// Refuses a mail that its new reader would not have taken from its sender, or has no room for.
    fn may_come(&self, mail: &StoredMail, to: LogNumber, heir: &str) -> Result<(), WireError> {
        let sender = self.directory.live(&mail.record.from);
        if sender.is_some_and(|sender| self.blocks.has(to, sender.number)) {
            return Err(refusal!(
                Code::Blocked,
                "{} blocks {}, who sent mail {}; it stays where it is, and what came after it",
                heir,
                mail.record.from,
                mail.id
            ));
        }
        self.fits(to, heir, 1, mail.record.size)
    }

    /// Puts a mail at the end of its new reader's log.
    fn take_over(&mut self, mail: &StoredMail, to: LogNumber, done: &mut Shifted) {
        let id = self.append(to, &taken_over(mail));
        done.mails += 1;
        done.bytes += mail.record.size;
        done.are = Some((done.are.map_or(id, |(first, _)| first), id));
    }

    /// Says to both users what is being done, before the first mail of it.
    fn announce(
        &mut self,
        actor: &Actor,
        (from, name): (LogNumber, &str),
        (to, heir): (LogNumber, &str),
        many: u64,
    ) {
        let who = actor.introduced();
        let text = format!(
            "{who} moves to you what waits for {name}: {many} mails, as they were sent. They follow this one.\n"
        );
        self.write_to(to, "Mail of somebody else comes to you", text);
        let text = format!(
            "{who} moved what waited for you to {heir}: {many} mails, which {heir} reads from now on. What you have read is \
             yours. The server's audit has it too.\n"
        );
        self.write_to(from, "What waited for you was moved", text);
    }
}

/// Makes a mail anew with all that was its own.
fn taken_over(mail: &StoredMail) -> NewMail {
    let record = &mail.record;
    NewMail {
        from: record.from.clone(),
        to: record.to.clone(),
        subject: record.subject.clone(),
        content_type: record.content_type.clone(),
        sent_at_ms: record.sent_at_ms,
        expires_at_ms: record.expires_at_ms,
        message: Some(record.message),
        answers: record.answers,
        body: mail.body.clone().unwrap_or_default().into(),
    }
}

/// Reads a cursor, `through:is_announced`.
fn cursor_of(text: &str) -> Option<(MailId, bool)> {
    let (through, is_announced) = text.split_once(':')?;
    Some((through.parse().ok()?, is_announced.parse().ok()?))
}

/// A topic's mail waits for each reader apart, and a user's is nobody else's unless it is given to one.
fn only_users(error: WireError) -> WireError {
    if error.code != Code::BadRequest {
        return error;
    }
    refusal!(
        Code::BadRequest,
        "only what waits for a user moves, and only to a user: a topic's mail waits for each of its readers apart"
    )
}

fn both(name: &str, heir: &str) -> Value {
    json!({"address": name, "to": heir})
}
