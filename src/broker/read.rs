//! Reading mail: pages, bodies, and how far a device has come.
//!
//! Refresh, resume, gap filling and history are one read: this log, after this id, never beyond what
//! is synced.

use super::core::{Call, Core, Ruling, Who, frame, not_registered};
use super::explain::Explain;
use super::io::{Frame, Peer};
use super::look::Look;
use super::purge::Purge;
use super::queue::QueuePage;
use super::shift::Shift;
use crate::auth::policy;
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::Pattern;
use crate::protocol::reply::{Envelope, Page, PageMails, Trimmed};
use crate::protocol::request::Right;
use crate::protocol::{LogNumber, MailId, PublicKey, reply, request};
use crate::store::{AddressKind, Answer, MailState, Mark, Query, StoredMail};

/// A read under way, and what is done with it.
#[derive(Debug)]
pub(super) enum Pending {
    /// Answer a `fetch`.
    Fetch(Asked, Reader, Wanted),
    /// Keep the page that a device will ask for next.
    Ahead(u64),
    /// Answer a `history`.
    History(Asked, Wanted),
    /// Answer a `body`.
    Body(Asked, request::Body, u64),
    /// Move cursors to the marks of the ids acknowledged.
    Ack(Asked, Who, LogNumber, Vec<(LogNumber, MailId)>),
    /// Join with a start that is not the head.
    Join(Asked, Who, Pattern, LogNumber),
    /// Find when a queue's oldest mail was sent.
    Oldest(Asked, Box<QueuePage>),
    /// Answer an administrator's peek.
    Peek(Asked, LogNumber),
    /// Look for a mail that an administrator asks about.
    Explain(Asked, Box<Explain>, LogNumber),
    /// Show an administrator bodies.
    Look(Asked, Box<Look>),
    /// Show an administrator a piece of one: its size, and where the piece begins.
    LookOn(Asked, u64, u64),
    /// Move a batch of what waits for a user to another.
    Shift(Asked, Box<Shift>),
    /// The same, whose last mail has a large body.
    ShiftBody(Asked, Box<Shift>, Vec<StoredMail>),
    /// Remove a batch of what an administrator purges.
    Purge(Asked, Box<Purge>),
    /// Answer an administrator's look at the audit.
    Audit(Asked),
    /// Keep the newest lines of the audit for who looks on.
    Recall,
    /// Answer with a part of a backup.
    Backup(Asked),
    /// Put a cursor right that a crash kept from being written.
    Restore(u64, LogNumber),
    /// Trim a log's front.
    Trim(LogNumber),
    /// Expire mails.
    Expire,
}

impl Pending {
    /// Returns the key of who waits for it, if somebody does.
    pub(super) fn asker(&self) -> Option<PublicKey> {
        match self {
            Self::Fetch(asked, ..)
            | Self::History(asked, _)
            | Self::Body(asked, ..)
            | Self::Ack(asked, ..)
            | Self::Join(asked, ..)
            | Self::Oldest(asked, _)
            | Self::Peek(asked, _)
            | Self::Explain(asked, ..)
            | Self::Look(asked, _)
            | Self::LookOn(asked, ..)
            | Self::Shift(asked, _)
            | Self::ShiftBody(asked, ..)
            | Self::Purge(asked, _)
            | Self::Audit(asked)
            | Self::Backup(asked) => Some(asked.peer.key),
            Self::Ahead(_) | Self::Recall | Self::Restore(..) | Self::Trim(_) | Self::Expire => {
                None
            }
        }
    }
}

/// The request that a read answers.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    peer: Peer,
    id: Vec<u8>,
}

impl Asked {
    pub(super) fn by(call: &Call) -> Self {
        Self {
            peer: call.peer.clone(),
            id: call.id.clone(),
        }
    }

    pub(super) fn call(self) -> Call {
        Call {
            peer: self.peer,
            id: self.id,
            random: [0; 32],
        }
    }
}

/// Who fetches, and how large his pages may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) device: u64,
    mails: u32,
    bytes: u64,
}

impl Reader {
    pub(super) fn query(self, wanted: &Wanted) -> Query {
        Query::Page {
            log: wanted.log,
            after: wanted.after,
            upto: wanted.upto,
            mails: self.mails,
            bytes: self.bytes,
        }
    }
}

/// What a page is wanted for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) log: LogNumber,
    pub(super) after: MailId,
    /// The count that goes with `after`, when it is known.
    n: Option<u64>,
    /// Newest id that was on disk when the read began.
    pub(super) upto: MailId,
    /// The log's head at that time.
    pub(super) head: Mark,
}

impl Wanted {
    /// The same, with the count that another knows.
    pub(super) fn counted_as(self, other: &Self) -> Self {
        Self { n: other.n, ..self }
    }
}

impl Core {
    pub(super) fn fetch(&mut self, call: &Call, who: Who, fetch: &request::Fetch) -> Ruling {
        self.may_read(who.user, fetch.log)?;
        let cursor = self.logs.cursor(who.device, fetch.log);
        let counted = cursor
            .filter(|cursor| cursor.id == fetch.after)
            .map(|cursor| cursor.count);
        let n = fetch.n.or(counted);
        let wanted = self.wanted_now(fetch.log, fetch.after, n);
        let reader = Reader {
            device: who.device,
            mails: fetch.mails.clamp(1, limits::PAGE_MAILS_MAX),
            bytes: fetch.bytes.min(limits::PAGE_BYTES_MAX as u64),
        };
        if !self.fetch_ahead(call, reader, wanted) {
            self.read_page(Asked::by(call), reader, wanted);
        }
        self.paged();
        Ok(None)
    }

    fn wanted_now(&self, log: LogNumber, after: MailId, n: Option<u64>) -> Wanted {
        Wanted {
            log,
            after,
            n,
            upto: self.synced(),
            head: self.logs.head(log),
        }
    }

    /// Has a page read and told.
    pub(super) fn read_page(&mut self, asked: Asked, reader: Reader, wanted: Wanted) {
        let wanted = self.wanted_now(wanted.log, wanted.after, wanted.n);
        self.load(reader.query(&wanted), Pending::Fetch(asked, reader, wanted));
    }

    pub(super) fn history(&mut self, call: &Call, who: Who, asked: &request::History) -> Ruling {
        let address = self.named(&asked.address)?;
        let log = address.number;
        if address.kind == AddressKind::Topic {
            self.may(Right::Read, who.user, &address.name)?;
        }
        if self.may_read(who.user, log).is_err() {
            return Err(refusal!(
                Code::NoSuchAddress,
                "{}'s mail is read by nobody else",
                asked.address
            ));
        }
        let wanted = self.wanted_now(log, 0, None);
        let query = Query::Newest {
            log,
            before: asked.before.unwrap_or(MailId::MAX),
            upto: wanted.upto,
            mails: asked.mails.clamp(1, limits::PAGE_MAILS_MAX),
            bytes: limits::PAGE_BYTES_MAX as u64,
        };
        self.load(query, Pending::History(Asked::by(call), wanted));
        Ok(None)
    }

    pub(super) fn body(&mut self, call: &Call, who: Who, asked: &request::Body) -> Ruling {
        self.may_read(who.user, asked.log)?;
        if asked.id > self.synced() {
            return Err(no_such_mail(asked.id));
        }
        let query = Query::Oldest {
            log: asked.log,
            after: asked.id.saturating_sub(1),
            mails: 1,
        };
        self.load(query, Pending::Body(Asked::by(call), asked.clone(), 0));
        Ok(None)
    }

    /// Returns who reads a log that he may not read any more.
    fn lost_right(&self, pending: &Pending) -> Option<(Asked, WireError)> {
        let (asked, log) = match pending {
            Pending::Fetch(asked, _, wanted) | Pending::History(asked, wanted) => {
                (asked, wanted.log)
            }
            Pending::Body(asked, body, _) => (asked, body.log),
            _ => return None,
        };
        let device = self.directory.device_of_key(&asked.peer.key);
        let may = device.ok_or_else(not_registered).and_then(|device| {
            self.let_in(device.user, device.number)?;
            self.may_read(device.user, log)
        });
        Some((asked.clone(), may.err()?))
    }

    /// Refuses a log that the user may not read in the same words as one that does not exist.
    fn may_read(&self, user: LogNumber, log: LogNumber) -> Result<(), WireError> {
        let may = self.directory.address(log).is_some_and(|a| {
            policy::may_read(user, a) && self.directory.may(Right::Read, user, &a.name)
        });
        if may {
            return Ok(());
        }
        Err(refusal!(
            Code::NoSuchAddress,
            "you read no log number {}",
            log
        ))
    }

    /// Goes on with what waited for a read. The right to it may have gone meanwhile.
    pub(super) fn resume(&mut self, pending: Pending, answer: Answer) {
        if let Some((asked, error)) = self.lost_right(&pending) {
            self.reply(&asked.call(), reply::encode_error(&error), Vec::new());
            return;
        }
        match (pending, answer) {
            (Pending::Fetch(asked, reader, wanted), Answer::Mails { mails, more }) => {
                self.tell_fetched(&asked.call(), reader, wanted, mails, more);
            }
            (Pending::Ahead(device), Answer::Mails { mails, more }) => {
                self.take_ahead(device, mails, more);
            }
            (Pending::History(asked, wanted), Answer::Mails { mails, more }) => {
                self.tell_history(&asked.call(), wanted, mails, more);
            }
            (Pending::Body(asked, body, _), Answer::Mails { mails, .. }) => {
                self.read_body(asked, body, mails.first());
            }
            (Pending::Body(asked, body, size), Answer::Body(bytes)) => {
                self.tell_body(&asked.call(), &body, size, bytes);
            }
            (Pending::Ack(asked, who, log, rest), Answer::Mark(mark)) => {
                self.ack_at(who, log, self.not_below_floor(log, mark));
                self.ack_on(asked, who, rest);
            }
            (Pending::Join(asked, who, pattern, log), Answer::Mark(mark)) => {
                self.joined_at(&asked.call(), who, &pattern, log, mark);
            }
            (Pending::Oldest(asked, queues), Answer::Mails { mails, .. }) => {
                self.oldest_loaded(asked, *queues, mails.first());
            }
            (Pending::Peek(asked, log), Answer::Mails { mails, more }) => {
                self.tell_peeked(&asked.call(), log, &mails, more);
            }
            (Pending::Explain(asked, explain, log), Answer::Mails { mails, .. }) => {
                self.explain_loaded(asked, explain, log, mails.into_iter().next());
            }
            (Pending::Look(asked, look), Answer::Mails { mails, more }) => {
                self.look_loaded(&asked.call(), &look, mails, more);
            }
            (Pending::LookOn(asked, size, offset), Answer::Body(bytes)) => {
                self.tell_piece(&asked.call(), size, offset, bytes);
            }
            (Pending::Shift(asked, shift), Answer::Mails { mails, .. }) => {
                self.shift_loaded(asked, shift, mails);
            }
            (Pending::ShiftBody(asked, shift, mails), Answer::Body(body)) => {
                self.shift_body_loaded(asked, shift, mails, body);
            }
            (Pending::Purge(asked, purge), Answer::Mails { mails, .. }) => {
                self.purge_loaded(asked, *purge, &mails);
            }
            (Pending::Audit(asked), Answer::Audit { rows, more }) => {
                self.tell_audit(&asked.call(), &rows, more);
            }
            (Pending::Recall, Answer::Audit { rows, .. }) => self.recalled(&rows),
            (Pending::Backup(asked), Answer::Backup(part)) => {
                self.tell_backup(&asked.call(), part);
            }
            (Pending::Restore(device, log), Answer::Mark(mark)) => {
                self.restore_cursor(device, log, mark);
            }
            (Pending::Trim(log), Answer::Mails { mails, more }) => {
                self.trim_loaded(log, &mails, more);
            }
            (Pending::Expire, Answer::Expired(mails)) => self.expire_loaded(&mails),
            (pending, answer) => {
                debug_assert!(false, "{pending:?} was answered with {answer:?}");
            }
        }
    }

    // -- pages --

    pub(super) fn tell_fetched(
        &mut self,
        call: &Call,
        reader: Reader,
        wanted: Wanted,
        mails: Vec<StoredMail>,
        more: bool,
    ) {
        let first = mails.first().map(|mail| mail.record.count);
        let from = wanted.n.or(first.map(|n| n - 1));
        if let Some(last) = mails.last() {
            self.logs.note_read(wanted.log, last.record.mark(last.id));
        }
        let ids: Vec<MailId> = mails.iter().map(|mail| mail.id).collect();
        let (page, list, bodies) = self.page(wanted, mails, more, from);
        let told = ids.into_iter().take_while(|id| *id <= page.through);
        self.counts.redelivered += self.logs.note_told(reader.device, wanted.log, told);
        self.reply(call, reply::encode_page(&page, &list), bodies);
        if page.more {
            let next = self.wanted_now(wanted.log, page.through, Some(page.n));
            self.read_ahead(reader, next);
        }
    }

    fn tell_history(
        &mut self,
        call: &Call,
        mut wanted: Wanted,
        mails: Vec<StoredMail>,
        more: bool,
    ) {
        wanted.after = mails.first().map_or(0, |mail| mail.id - 1);
        let from = mails.first().map(|mail| mail.record.count - 1);
        let (mut page, list, bodies) = self.page(wanted, mails, false, from);
        page.more = page.more || more;
        self.reply(call, reply::encode_page(&page, &list), bodies);
    }

    /// Makes a page of what was read, as much as a header frame holds. `from` is the count before it.
    fn page(
        &self,
        wanted: Wanted,
        mails: Vec<StoredMail>,
        more: bool,
        from: Option<u64>,
    ) -> (Page, PageMails, Vec<Frame>) {
        let mut page = Page {
            log: wanted.log,
            address: self.directory.name_of(wanted.log).to_owned(),
            after: wanted.after,
            through: wanted.after,
            n: from.unwrap_or(wanted.head.count),
            more,
            trimmed: None,
            mails: Vec::new(),
        };
        let mut list = PageMails::default();
        let mut bodies = Vec::with_capacity(mails.len());
        for mail in mails {
            let (id, count) = (mail.id, mail.record.count);
            if self.is_alive(&mail) {
                let (envelope, body) = self.entry(wanted.log, mail);
                if !list.push(&envelope, limits::HEADER_BYTES_MAX) {
                    page.more = true;
                    break;
                }
                bodies.extend(body.map(frame));
            }
            (page.through, page.n) = (id, count);
        }
        if !page.more && wanted.head.id <= wanted.upto && wanted.head.id > page.through {
            // What lay between was trimmed while this was read, or before.
            (page.through, page.n) = (wanted.head.id, wanted.head.count);
        }
        let missing = from.map_or(0, |from| page.n.saturating_sub(from + list.count()));
        page.trimmed = (missing > 0).then_some(Trimmed {
            count: missing,
            from_id: wanted.after,
        });
        (page, list, bodies)
    }

    pub(super) fn is_alive(&self, mail: &StoredMail) -> bool {
        mail.record.state == MailState::Live
            && mail
                .record
                .expires_at_ms
                .is_none_or(|at| at > self.now.wall_ms)
    }

    fn entry(&self, log: LogNumber, mail: StoredMail) -> (Envelope, Option<Vec<u8>>) {
        let mut envelope = self.envelope(log, mail.id, &mail.record);
        let body = mail.body.filter(|body| !body.is_empty());
        envelope.frames = u32::from(body.is_some());
        (envelope, body)
    }

    // -- bodies --

    /// Reads a piece of a body once its mail is known to live.
    fn read_body(&mut self, asked: Asked, body: request::Body, mail: Option<&StoredMail>) {
        let found = mail.filter(|mail| mail.id == body.id && self.is_alive(mail));
        let Some(mail) = found else {
            let error = reply::encode_error(&no_such_mail(body.id));
            self.reply(&asked.call(), error, Vec::new());
            return;
        };
        let query = Query::Body {
            log: body.log,
            id: body.id,
            offset: body.offset,
            len: limits::FRAME_BYTES_MAX,
        };
        let size = mail.record.size;
        self.load(query, Pending::Body(asked, body, size));
    }

    fn tell_body(&mut self, call: &Call, body: &request::Body, size: u64, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => {
                let header = reply::encode(&reply::Body {
                    size,
                    offset: body.offset,
                });
                self.reply(call, header, vec![frame(bytes)]);
            }
            None => self.reply(
                call,
                reply::encode_error(&no_such_mail(body.id)),
                Vec::new(),
            ),
        }
    }

    // -- acknowledging --

    /// Moves a device's cursors forward. Marks that are not at a head or a floor are looked up, one
    /// log after the other.
    pub(super) fn ack(&mut self, call: &Call, who: Who, ack: &request::Ack) -> Ruling {
        if ack.logs.len() > limits::ACKS_MAX {
            return Err(refusal!(
                Code::TooLarge,
                "at most 256 logs are acknowledged at once"
            ));
        }
        self.ack_on(Asked::by(call), who, ack.logs.clone());
        Ok(None)
    }

    fn ack_on(&mut self, asked: Asked, who: Who, mut rest: Vec<(LogNumber, MailId)>) {
        while let Some((log, id)) = rest.pop() {
            let cursor = self.logs.cursor(who.device, log);
            if cursor.is_none_or(|cursor| cursor.id >= id) {
                continue;
            }
            if let Some(mark) = self.mark_at_hand(log, id) {
                self.ack_at(who, log, mark);
            } else {
                let query = Query::MarkAt {
                    log,
                    id: id.min(self.synced()),
                };
                self.load(query, Pending::Ack(asked, who, log, rest));
                return;
            }
        }
        let header = reply::encode(&reply::Done {
            durability: "fsync".into(),
        });
        self.reply(&asked.call(), header, Vec::new());
    }

    /// Returns the mark at or below an id when memory knows it.
    fn mark_at_hand(&self, log: LogNumber, id: MailId) -> Option<Mark> {
        let record = self.logs.record(log);
        if id >= record.head.id {
            return Some(record.head);
        }
        if id <= record.floor.id {
            return Some(record.floor);
        }
        self.logs.recent(log, id)
    }

    /// Returns the floor for a mark below it: what the mark was looked up by was trimmed meanwhile.
    pub(super) fn not_below_floor(&self, log: LogNumber, mark: Mark) -> Mark {
        let floor = self.logs.record(log).floor;
        if mark.id < floor.id { floor } else { mark }
    }

    /// Moves one cursor, forward only (P3), and only one that is still there.
    fn ack_at(&mut self, who: Who, log: LogNumber, mark: Mark) {
        let Some(cursor) = self.logs.cursor(who.device, log) else {
            return;
        };
        if mark.id <= cursor.id {
            return;
        }
        self.counts.acknowledged += mark.count.saturating_sub(cursor.count);
        self.logs
            .put_cursor(who.device, log, mark, &mut self.changes);
        self.upkeep.shrank(log);
    }

    // -- cursors by rule --

    /// Places a cursor that was never written: a user's own log from its floor, a topic from where
    /// subscription and device were both there.
    pub(super) fn place_unwritten_cursor(&mut self, device: u64, user: LogNumber, log: LogNumber) {
        let record = self.logs.record(log);
        if log == user {
            self.logs
                .put_cursor(device, log, record.floor, &mut self.changes);
            return;
        }
        let topic = self.directory.name_of(log).to_owned();
        let made = self
            .directory
            .device(device)
            .map_or(0, |device| device.since);
        let since = self.directory.since(user, &topic).max(made);
        if let Some(mark) = self.mark_at_hand(log, since) {
            // Written: `since` may name ids that the crash took back and that are given out again.
            self.logs.put_cursor(device, log, mark, &mut self.changes);
        } else {
            self.logs.place_cursor(
                device,
                log,
                Mark {
                    id: since,
                    ..record.floor
                },
            );
            self.load(
                Query::MarkAt { log, id: since },
                Pending::Restore(device, log),
            );
        }
    }

    fn restore_cursor(&mut self, device: u64, log: LogNumber, mark: Mark) {
        let mark = self.not_below_floor(log, mark);
        let is_untouched = self
            .logs
            .cursor(device, log)
            .is_some_and(|c| c.count <= mark.count);
        if is_untouched {
            self.logs.put_cursor(device, log, mark, &mut self.changes);
        }
    }
}

pub(super) fn no_such_mail(id: MailId) -> WireError {
    refusal!(
        Code::NoSuchAddress,
        "there is no mail {} (any more) in that log",
        id
    )
}
