//! Watching: live notices, the gap rule and heartbeats, as one stream of events.
//!
//! A watcher has its own position in each log, from the head at its login: it shows what arrives while
//! it runs, whatever other processes of the device fetch, and marks nothing as seen. What fits the
//! mailbox's mark is stored and acknowledged on the way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::Session;
use super::chat::ChatStates;
use super::fetch::Arrival;
use crate::client::core::{Positions, RequestNumber, Sight};
use crate::client::error::ClientError;
use crate::client::mailbox::{BATCH_MAILS_MAX, Mail, Mark, TrimmedNotice};
use crate::client::waker::Waker;
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::reply::{self, ChatRow, LeaseInfo, LogInfo};
use crate::protocol::request::{self, ChatId, Request};
use crate::protocol::{LogNumber, MailId};

/// How long the server's word that a subscription counts is waited for.
const GRANT_MS: u64 = 1_000;

/// Milliseconds between two acknowledgements of live mail. One says as much as many would, and each costs the
/// server a request and a commit; what is stored here but not acknowledged is shown to nobody twice.
const ACK_MS: u64 = 1_000;

/// Live mails that are acknowledged before that, so that a full mailbox has room again.
const ACK_MAILS: usize = 256;

/// What a standing session tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A mail arrived.
    Mail(Mail),
    /// Mails are gone unread.
    Trimmed(TrimmedNotice),
    /// The connection broke; it is being mended.
    Disconnected,
    /// The connection is back, and the session with it.
    Reconnected,
    /// The session holds another port now, or none.
    Lease(Option<LeaseInfo>),
    /// An invitation to a chat is new or stands otherwise now; it may be one that this user made.
    /// `Unknown`: it is no longer open, and how it ended was not heard.
    Chat(ChatRow),
    /// Nothing happened in the time given.
    Quiet,
}

/// The state of a watcher.
#[derive(Debug, Default)]
pub(super) struct Watch {
    active: bool,
    positions: Positions,
    /// Everything of every log is known up to this id.
    known: MailId,
    pub(super) events: VecDeque<Event>,
    pub(super) chats: ChatStates,
    behind: BTreeSet<LogNumber>,
    acks: BTreeMap<LogNumber, MailId>,
    /// Mails that `acks` will acknowledge, about.
    unacked: usize,
    acked_ms: u64,
    beat_ms: u64,
    beat: Option<Beat>,
    down: bool,
    generation: u64,
    lease: Option<LeaseInfo>,
}

/// A heartbeat that is on its way.
#[derive(Debug)]
struct Beat {
    number: RequestNumber,
    /// The chats that stood open when it was sent.
    open: Vec<ChatId>,
    until_ms: u64,
}

impl Watch {
    /// Goes on where a server that went back says that this device stands.
    pub(super) fn start_over(&mut self, rows: &[LogInfo], through: MailId) {
        self.acks.clear();
        self.known = through;
        for row in rows {
            self.positions.restart(row.log, row.cursor);
        }
    }

    /// Moves past what is not to be shown.
    pub(super) fn pass(&mut self, log: LogNumber, through: MailId) {
        self.positions.pass(log, through);
    }
}

impl Session {
    /// Waits for the next event, `patience` long at most; keeps the session and its lease meanwhile.
    /// For sessions opened with [`super::Options::standing`].
    pub fn next_event(&mut self, patience: Duration) -> Result<Event, ClientError> {
        let deadline_ms = self.connection.deadline_ms(patience);
        loop {
            self.notice_link();
            if self.watch.events.is_empty() {
                self.take_notices()?;
            }
            if let Some(event) = self.watch.events.pop_front() {
                return Ok(event);
            }
            if self.catch_up()? || self.beat_if_due()? {
                continue;
            }
            self.flush_acks(false)?;
            let now_ms = self.connection.now_ms();
            if now_ms >= deadline_ms || self.connection.take_woken() {
                return Ok(Event::Quiet);
            }
            let until_ms = deadline_ms.min(self.wake_ms(now_ms));
            self.connection.pump(until_ms)?;
        }
    }

    /// Keeps the session and its lease for `patience`, or until it is woken, without telling anything:
    /// for a program that cannot take events in just now. They are told later.
    pub fn keep(&mut self, patience: Duration) -> Result<(), ClientError> {
        let deadline_ms = self.connection.deadline_ms(patience);
        loop {
            self.notice_link();
            self.beat_if_due()?;
            let now_ms = self.connection.now_ms();
            if now_ms >= deadline_ms || self.connection.take_woken() {
                return Ok(());
            }
            let until_ms = deadline_ms.min(self.wake_ms(now_ms));
            self.connection.pump(until_ms)?;
        }
    }

    /// Waits for `patience`, or until it is woken, and does nothing else: for a session that failed.
    pub fn rest(&mut self, patience: Duration) -> Result<Event, ClientError> {
        let deadline_ms = self.connection.deadline_ms(patience);
        self.connection.rest(deadline_ms)?;
        Ok(Event::Quiet)
    }

    /// Returns what wakes [`Session::next_event`] and [`Session::keep`] from another thread: they
    /// return at once, with [`Event::Quiet`] when there is nothing to tell.
    pub fn waker(&self) -> Waker {
        self.connection.waker()
    }

    /// Acknowledges what was stored and ends the session.
    pub fn stop_watch(mut self) -> Result<(), ClientError> {
        self.flush_acks(true)?;
        self.close()
    }

    /// Subscribes to every log and waits for the server's word that it counts. Whatever slips between
    /// the login and that word is found by the first heartbeat.
    pub(super) fn start_watch(&mut self) -> Result<(), ClientError> {
        if !self.options.standing {
            return Ok(());
        }
        self.connection.open_live()?;
        self.watch.active = true;
        self.watch.generation = self.connection.generation();
        self.watch.known = self.login.through;
        self.watch.lease = self.lease.held();
        let mut logs: Vec<LogInfo> = self.logs.values().cloned().collect();
        logs.sort_by_key(|info| info.kind != "user");
        for info in &logs {
            self.watch.positions.follow(info.log, info.head);
            self.watch_log(info)?;
        }
        match logs.first() {
            Some(own) => self.wait_for_grant(own.log),
            None => Ok(()),
        }
    }

    fn wait_for_grant(&mut self, log: LogNumber) -> Result<(), ClientError> {
        let until_ms = self.connection.now_ms() + GRANT_MS;
        while self.connection.now_ms() < until_ms {
            self.connection.pump(until_ms)?;
            if self.connection.has_notice(&Notice::Granted { log }) {
                break;
            }
        }
        Ok(())
    }

    /// Subscribes to a log whose key is new, and follows it from where this device stands.
    pub(super) fn watch_log(&mut self, info: &LogInfo) -> Result<(), ClientError> {
        if !self.watch.active {
            return Ok(());
        }
        let old = self.logs.get(&info.log).map(|known| known.key.clone());
        if let Some(old) = old
            .filter(|old| *old != info.key)
            .and_then(|old| key_of(&old))
        {
            self.connection.unsubscribe(&old)?;
        }
        if let Some(key) = key_of(&info.key) {
            self.connection.subscribe(key)?;
        }
        self.watch.positions.follow(info.log, info.cursor);
        if self.watch.positions.is_behind(info.log, info.head) {
            self.watch.behind.insert(info.log);
        }
        Ok(())
    }

    fn notice_link(&mut self) {
        let up = self.connection.is_up();
        let generation = self.connection.generation();
        if !up && !self.watch.down {
            self.watch.down = true;
            self.watch.events.push_back(Event::Disconnected);
        }
        if up && (self.watch.down || generation != self.watch.generation) {
            // The heartbeat opens the session anew where the server lost it, and finds what was missed.
            self.watch.beat_ms = 0;
        }
    }

    fn wake_ms(&self, now_ms: u64) -> u64 {
        let beat_ms = match &self.watch.beat {
            Some(beat) => beat.until_ms,
            None if self.connection.is_up() => self.watch.beat_ms,
            None => now_ms + 1_000,
        };
        if self.watch.acks.is_empty() {
            beat_ms
        } else {
            beat_ms.min(self.watch.acked_ms + ACK_MS).max(now_ms + 1)
        }
    }

    /// Takes in what came live: stores it first, then tells it.
    fn take_notices(&mut self) -> Result<(), ClientError> {
        let mut mails = Vec::new();
        while mails.len() < BATCH_MAILS_MAX {
            let Some(live) = self.connection.next_notice() else {
                break;
            };
            match live.notice {
                Notice::Mail { log, envelope } => {
                    let body = live.body.unwrap_or_default();
                    let whole = body.len() as u64 == envelope.size;
                    mails.extend(self.sight(
                        Mail {
                            log,
                            envelope,
                            body,
                        },
                        whole,
                    ));
                }
                Notice::Log { info } => self.learn_noticed(info)?,
                Notice::Chat { invitation } => self.learn_chat(invitation),
                Notice::Refresh => self.watch.beat_ms = 0,
                _ => {}
            }
        }
        if mails.is_empty() {
            return Ok(());
        }
        if !self.options.no_ack {
            for (log, mark) in self.mailbox.store_live(&mails)? {
                self.watch.acks.insert(log, mark.id);
            }
            self.watch.unacked += mails.len();
        }
        self.watch.events.extend(mails.into_iter().map(Event::Mail));
        Ok(())
    }

    /// Applies the gap rule to a live mail; one that came without its body is a gap too.
    fn sight(&mut self, mail: Mail, whole: bool) -> Option<Mail> {
        let (log, prev, id) = (mail.log, mail.envelope.prev, mail.envelope.id);
        if !whole {
            self.watch.behind.insert(log);
            return None;
        }
        match self.watch.positions.see(log, prev, id) {
            Sight::Next => return Some(mail),
            Sight::Gap(_) => {
                self.watch.behind.insert(log);
            }
            Sight::Stranger => self.watch.beat_ms = 0,
            Sight::Old => {}
        }
        None
    }

    /// Takes another key of a known log. The notice is one for all devices, so where this one stands it
    /// does not say: for a log that is new here a heartbeat asks.
    fn learn_noticed(&mut self, info: LogInfo) -> Result<(), ClientError> {
        let Some(known) = self.logs.get(&info.log) else {
            self.watch.beat_ms = 0;
            return Ok(());
        };
        let (cursor, n) = (known.cursor, known.n);
        self.learn(LogInfo { cursor, n, ..info })
    }

    fn learn_live(&mut self, info: LogInfo) -> Result<(), ClientError> {
        if !self.options.no_ack {
            self.meet(std::slice::from_ref(&info))?;
        }
        self.learn(info)
    }

    /// Fetches one page of one log that is behind. Returns whether there was anything to do.
    fn catch_up(&mut self) -> Result<bool, ClientError> {
        let Some(log) = self.watch.behind.first().copied() else {
            return Ok(false);
        };
        if !self.connection.is_up() {
            return Ok(false);
        }
        let Some(at) = self.watch.positions.at(log) else {
            self.watch.behind.remove(&log);
            return Ok(true);
        };
        let stored = self.mailbox.marks()?.get(&log).copied();
        let mark = stored.filter(|mark| mark.id == at);
        let from = mark.unwrap_or(Mark { id: at, n: None });
        let turns = self.turns;
        let fetched = match self.fetch_page(log, from) {
            Err(error) if error.is_transport() => return Ok(false),
            other => other?,
        };
        if self.turns != turns {
            return Ok(true);
        }
        let Some((page, mails)) = fetched else {
            self.watch.behind.remove(&log);
            self.watch.positions.leave(log);
            return Ok(true);
        };
        if !page.more {
            self.watch.behind.remove(&log);
        }
        let known = self.known_of(&mails)?;
        if !self.options.no_ack {
            self.store_page(&page, &mails)?;
        }
        self.watch.positions.pass(log, page.through);
        let news = mails
            .into_iter()
            .filter(|mail| !known.contains(&mail.envelope.id));
        self.tell_page(mark.is_some(), &page, news.collect());
        Ok(true)
    }

    /// Tells a watcher in this same session what a refresh fetched.
    pub(super) fn pass_on(
        &mut self,
        page: &reply::Page,
        mails: Vec<Mail>,
        known: &BTreeSet<MailId>,
    ) {
        let Some(at) = self.watch.positions.at(page.log) else {
            return;
        };
        if !self.watch.active || page.after > at {
            return;
        }
        let fresh = mails
            .into_iter()
            .filter(|mail| mail.envelope.id > at && !known.contains(&mail.envelope.id));
        self.watch.events.extend(fresh.map(Event::Mail));
        self.watch.positions.pass(page.log, page.through);
        if !page.more {
            self.watch.behind.remove(&page.log);
        }
    }

    fn tell_page(&mut self, counted: bool, page: &reply::Page, mails: Vec<Mail>) {
        // Away from the mark the count would hold what a refresh has still to tell.
        if let Some(trimmed) = page.trimmed.filter(|_| counted) {
            self.watch.events.push_back(Event::Trimmed(TrimmedNotice {
                log: page.log,
                address: page.address.clone(),
                count: trimmed.count,
                from_id: trimmed.from_id,
            }));
        }
        self.watch.events.extend(mails.into_iter().map(Event::Mail));
    }

    /// Sends a heartbeat when it is time, and takes in what came of the last one: a server that hangs
    /// keeps nobody waiting. Returns whether there is something to do now.
    fn beat_if_due(&mut self) -> Result<bool, ClientError> {
        let now_ms = self.connection.now_ms();
        if self.watch.beat.is_none() && now_ms >= self.watch.beat_ms && self.connection.is_up() {
            self.watch.beat_ms = now_ms + self.login.heartbeat_ms.clamp(200, 60_000);
            let request = Request::Heartbeat(request::Heartbeat {
                session: self.login.session.clone(),
                known: self.watch.known,
            });
            self.watch.beat = Some(Beat {
                number: self.connection.submit(&request, None),
                open: self.watch.chats.open(),
                until_ms: self.deadline_ms(),
            });
        }
        let Some(beat) = self.watch.beat.take() else {
            return Ok(false);
        };
        match self.connection.answer(beat.number, "heartbeat") {
            Some(Ok((heard, _))) => self.beaten(heard, &beat.open),
            // The session is open anew, or the server asked for patience: at once again.
            Some(Err(error)) => {
                self.overcome(error, beat.until_ms)?;
                self.watch.beat_ms = 0;
                Ok(true)
            }
            None if now_ms >= beat.until_ms => {
                self.connection.forget(beat.number);
                Ok(false)
            }
            None => {
                self.watch.beat = Some(beat);
                Ok(false)
            }
        }
    }

    /// Gives up a heartbeat that is on its way: what is asked now may make its answer an old one.
    pub(super) fn drop_beat(&mut self) {
        if let Some(beat) = self.watch.beat.take() {
            self.connection.forget(beat.number);
            self.watch.beat_ms = 0;
        }
    }

    fn beaten(&mut self, heard: reply::Heartbeat, open: &[ChatId]) -> Result<bool, ClientError> {
        self.back();
        for info in heard.behind {
            self.learn_live(info)?;
        }
        self.watch.known = heard.through;
        if heard.more {
            self.watch.beat_ms = 0;
        }
        self.learn_chats(heard.chats, open);
        self.renewed(heard.lease);
        self.tell_lease();
        Ok(!self.watch.behind.is_empty() || !self.watch.events.is_empty())
    }

    /// Notes that the session works again.
    fn back(&mut self) {
        let generation = self.connection.generation();
        if self.watch.down || self.watch.generation != generation {
            self.watch.events.push_back(Event::Reconnected);
        }
        self.watch.down = false;
        self.watch.generation = generation;
    }

    fn tell_lease(&mut self) {
        let held = self.lease.held();
        let name = |lease: Option<LeaseInfo>| lease.map(|lease| (lease.port, lease.epoch));
        if name(held) != name(self.watch.lease) {
            self.watch.lease = held;
            self.watch.events.push_back(Event::Lease(held));
        }
    }

    fn flush_acks(&mut self, now: bool) -> Result<(), ClientError> {
        let now_ms = self.connection.now_ms();
        let due = now || self.watch.unacked >= ACK_MAILS || now_ms >= self.watch.acked_ms + ACK_MS;
        if self.watch.acks.is_empty() || !due || !self.connection.is_up() {
            return Ok(());
        }
        (self.watch.acked_ms, self.watch.unacked) = (now_ms, 0);
        let acks: Vec<_> = std::mem::take(&mut self.watch.acks).into_iter().collect();
        match self.acknowledge(&acks) {
            // The next process acknowledges what is stored here.
            Err(error) if error.is_transport() => Ok(()),
            other => other,
        }
    }
}

fn key_of(hex: &str) -> Option<[u8; crate::protocol::notice::KEY_BYTES]> {
    NoticeKey::from_hex(hex).map(NoticeKey::to_bytes)
}

impl From<Arrival> for Event {
    fn from(arrival: Arrival) -> Self {
        match arrival {
            Arrival::Mail(mail) => Self::Mail(mail),
            Arrival::Trimmed(notice) => Self::Trimmed(notice),
        }
    }
}
