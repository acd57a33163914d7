//! Bodies that an administrator looks at. A look is written down, and told to whom the mail is for, in the commit that
//! its reply waits for: nobody sees a body that its addressee does not hear of.

use std::collections::VecDeque;
use std::fmt::Write;

use super::admin::Actor;
use super::core::{Call, Core, Ruling, frame};
use super::io::Frame;
use super::read::{Asked, Pending, no_such_mail};
use crate::auth::policy;
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::request::{Admin, AdminWhat};
use crate::protocol::{LogNumber, MailId, PublicKey, reply, time};
use crate::store::{AddressKind, Query, StoredMail};

/// A page of bodies that is being looked up.
#[derive(Debug)]
pub(super) struct Look {
    admin: Admin,
    log: LogNumber,
    /// Mails above came after it was asked for; word of the look is one of them.
    through: MailId,
}

/// The mails that were looked at last: their bodies may be asked for in pieces, without more words.
#[derive(Debug, Default)]
pub(super) struct Looks(VecDeque<Looked>);

#[derive(Debug, Clone, Copy)]
struct Looked {
    by: PublicKey,
    log: LogNumber,
    id: MailId,
    size: u64,
}

impl Looks {
    fn note(&mut self, looked: Looked) {
        if self.0.len() == limits::LOOKS_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(looked);
    }

    /// Returns the size of a body that was looked at.
    fn find(&self, by: &PublicKey, log: LogNumber, id: MailId) -> Option<u64> {
        let is_it = |looked: &&Looked| looked.by == *by && (looked.log, looked.id) == (log, id);
        self.0.iter().rev().find(is_it).map(|looked| looked.size)
    }
}

impl Core {
    /// Has bodies looked up: those that wait at an address, or one mail's, whole or a piece of it.
    pub(super) fn look(&mut self, call: &Call, actor: &Actor, admin: &Admin) -> Ruling {
        let log = self.meant(admin)?.number;
        if let Some(offset) = admin.particulars.offset {
            return self.look_on(call, log, admin, offset);
        }
        // Who is looked at is told, which takes room.
        self.take_more()?;
        debug_assert!(policy::may_administer(actor.role, admin).is_ok());
        let (after, through) = match (admin.particulars.id, admin.after.as_deref()) {
            (Some(id), _) => (id.saturating_sub(1), id),
            (None, Some(cursor)) => cursor_of(cursor)
                .ok_or_else(|| refusal!(Code::BadRequest, "that is no cursor of this listing"))?,
            (None, None) => (self.waits_after(log).id, self.logs.head(log).id),
        };
        let query = Query::Page {
            log,
            after,
            upto: through.min(self.synced()),
            mails: limits::LOOK_MAILS,
            bytes: limits::PAGE_BYTES_MAX as u64,
        };
        let look = Look {
            admin: admin.clone(),
            log,
            through,
        };
        self.load(query, Pending::Look(Asked::by(call), Box::new(look)));
        Ok(None)
    }

    /// Shows what was looked up, once it is written down and told.
    pub(super) fn look_loaded(
        &mut self,
        call: &Call,
        look: &Look,
        mails: Vec<StoredMail>,
        more: bool,
    ) {
        match self.looked(call, look, mails, more) {
            Ok((header, bodies)) => self.reply(call, header, bodies),
            Err(error) => self.reply(call, reply::encode_error(&error), Vec::new()),
        }
    }

    fn looked(
        &mut self,
        call: &Call,
        look: &Look,
        mails: Vec<StoredMail>,
        more: bool,
    ) -> Result<(Vec<u8>, Vec<Frame>), WireError> {
        // Meanwhile who asked may have lost the right to, and the address may have gone.
        let actor = self.actor(&call.peer.key)?;
        policy::may_administer(actor.role, &look.admin)?;
        let address = self.meant(&look.admin)?;
        let (name, kind) = (address.name.clone(), address.kind);
        if address.number != look.log {
            return Err(self.no_such_address(&name));
        }
        let mut page = reply::Rows {
            rows: Vec::new(),
            more_after: None,
        };
        let (mut seen, mut bodies) = (Vec::new(), Vec::new());
        let mut room = limits::HEADER_BYTES_MAX;
        let (mut more, mut last) = (more, None);
        for mut mail in mails {
            let is_alive = self.is_alive(&mail);
            let body = mail.body.take().filter(|body| is_alive && !body.is_empty());
            let row = self.peeked(look.log, &mail, u32::from(body.is_some()));
            let Some(left) = room.checked_sub(row.to_string().len() + 1) else {
                more = true;
                break;
            };
            room = left;
            last = Some(mail.id);
            page.rows.push(row);
            bodies.extend(body.map(frame));
            if is_alive {
                seen.push(mail);
            }
        }
        if let Some(id) = look.admin.particulars.id
            && seen.is_empty()
        {
            return Err(no_such_mail(id));
        }
        page.more_after = last
            .filter(|_| more)
            .map(|last| format!("{last}:{}", look.through));
        if !seen.is_empty() {
            self.own_up(&actor, (look.log, &name, kind), &seen);
        }
        for mail in &seen {
            self.looks.note(Looked {
                by: call.peer.key,
                log: look.log,
                id: mail.id,
                size: mail.record.size,
            });
        }
        Ok((reply::encode(&page), bodies))
    }

    /// Writes a look down and tells whom the mails are for.
    fn own_up(
        &mut self,
        actor: &Actor,
        (log, name, kind): (LogNumber, &str, AddressKind),
        seen: &[StoredMail],
    ) {
        let ids: Vec<String> = seen.iter().map(|mail| mail.id.to_string()).collect();
        let bytes = seen.iter().map(|mail| mail.record.size).sum();
        let tally = vec![("mails", seen.len() as u64), ("bytes", bytes)];
        let note = format!("bodies of {}", ids.join(", "));
        self.audit(actor, AdminWhat::QueuePeek.word(), name, &tally, note);
        let mut text = format!(
            "{} looked at the text of these mails to {name}:\n\n",
            actor.introduced()
        );
        for mail in seen {
            let sent_at = time::to_text(mail.record.sent_at_ms);
            let line = writeln!(text, "  {}  {sent_at}  {}", mail.id, mail.record.from);
            debug_assert!(line.is_ok(), "a text takes in what is written to it");
        }
        text += "\nNothing else was done to them; they wait as before. The server's audit has it too.\n";
        let subject = match kind {
            AddressKind::User => "An administrator looked at mail of yours",
            AddressKind::Topic => "An administrator looked at mail of this topic",
        };
        self.write_to(log, subject, text);
    }

    /// Has a piece looked up of a body that was looked at before.
    fn look_on(&mut self, call: &Call, log: LogNumber, admin: &Admin, offset: u64) -> Ruling {
        let id = admin.particulars.id.unwrap_or(0);
        let Some(size) = self.looks.find(&call.peer.key, log, id) else {
            return Err(refusal!(
                Code::Denied,
                "mail {} was not asked for (or long ago); ask for it without an offset first",
                id
            ));
        };
        let query = Query::Body {
            log,
            id,
            offset,
            len: limits::FRAME_BYTES_MAX,
        };
        self.load(query, Pending::LookOn(Asked::by(call), size, offset));
        Ok(None)
    }

    pub(super) fn tell_piece(
        &mut self,
        call: &Call,
        size: u64,
        offset: u64,
        bytes: Option<Vec<u8>>,
    ) {
        let Some(bytes) = bytes else {
            let error = refusal!(Code::NoSuchAddress, "that mail is gone meanwhile");
            return self.reply(call, reply::encode_error(&error), Vec::new());
        };
        let header = reply::encode(&reply::Body { size, offset });
        self.reply(call, header, vec![frame(bytes)]);
    }
}

impl Actor {
    /// Says to users who somebody is that administers.
    pub(super) fn introduced(&self) -> String {
        if self.name.is_empty() {
            // Nobody's name: whoever can read the file.
            return "Whoever holds this server's admin.key".to_owned();
        }
        format!("{}, an administrator of this server,", self.name)
    }
}

/// Reads a cursor, `after:through`.
fn cursor_of(text: &str) -> Option<(MailId, MailId)> {
    let (after, through) = text.split_once(':')?;
    Some((after.parse().ok()?, through.parse().ok()?))
}
