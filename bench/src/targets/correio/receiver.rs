//! One user who listens: live notices first, pages where something is missing, as the library's own
//! watcher does it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use correio::client::core::{Positions, RequestNumber, Sight};
use correio::limits::PAGE_BYTES_MAX;
use correio::protocol::notice::{Notice, NoticeKey};
use correio::protocol::reply::{self, Envelope, LogInfo, Page};
use correio::protocol::request::{self, Request};
use correio::protocol::{LogNumber, MailId};

use super::PATIENCE;
use super::login::{Login, must_be_durable};
use super::polled::Polled;
use crate::target::Receiver;

/// Mails asked for at once, as the library's session does.
const PAGE_MAILS: u32 = 200;

/// Milliseconds between two acknowledgements of live mail, as in the library's session.
const ACK_MS: u64 = 1_000;

/// Live mails that are acknowledged before that, as there.
const ACK_MAILS: usize = 256;

/// How receivers acknowledge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// As the library's session: pages at once, live mail every second or 256 mails; one request under way.
    Shipped,
    /// Every batch at once; one request under way.
    Each,
}

#[derive(Clone, Copy)]
enum Asked {
    Beat,
    Page(LogNumber),
    Ack,
}

/// A receiver.
pub struct CorreioReceiver {
    polled: Polled,
    session: String,
    acks: Acks,
    asked: BTreeMap<RequestNumber, Asked>,
    positions: Positions,
    logs: BTreeSet<LogNumber>,
    behind: BTreeSet<LogNumber>,
    fetching: BTreeSet<LogNumber>,
    /// Logs of which more came than the page under way may hold.
    again: BTreeSet<LogNumber>,
    got: Vec<Bytes>,
    /// What the caller has and the server does not know of.
    unacked: BTreeMap<LogNumber, MailId>,
    acked: BTreeMap<LogNumber, MailId>,
    /// Live mails that are not acknowledged yet.
    live: usize,
    is_acking: bool,
    /// A page came since the last acknowledgement.
    is_paged: bool,
    acked_ms: u64,
    beat_ms: u64,
    heartbeat_ms: u64,
    known: MailId,
}

impl CorreioReceiver {
    /// Takes over a login: subscribes to its logs and waits for the server's word that it counts.
    pub fn start(mut login: Login, acks: Acks) -> Result<Self> {
        login.connection.open_live()?;
        let mut receiver = Self {
            polled: Polled::new(login.connection)?,
            session: login.reply.session,
            acks,
            asked: BTreeMap::new(),
            positions: Positions::default(),
            logs: BTreeSet::new(),
            behind: BTreeSet::new(),
            fetching: BTreeSet::new(),
            again: BTreeSet::new(),
            got: Vec::new(),
            unacked: BTreeMap::new(),
            acked: BTreeMap::new(),
            live: 0,
            is_acking: false,
            is_paged: false,
            acked_ms: 0,
            beat_ms: 0,
            heartbeat_ms: login.reply.heartbeat_ms,
            known: login.reply.through,
        };
        // Its own log first: what the server grants is told there.
        let mut logs = login.reply.logs;
        logs.sort_by_key(|info| info.kind != "user");
        for info in &logs {
            receiver.follow(info)?;
        }
        receiver.wait_for_grants()?;
        Ok(receiver)
    }

    fn follow(&mut self, info: &LogInfo) -> Result<()> {
        let key = NoticeKey::from_hex(&info.key).context("a log without a notice key")?;
        self.polled.connection.subscribe(key.to_bytes())?;
        self.positions.follow(info.log, info.cursor);
        self.logs.insert(info.log);
        self.acked.entry(info.log).or_insert(info.cursor);
        if self.positions.is_behind(info.log, info.head) {
            self.behind.insert(info.log);
        }
        Ok(())
    }

    fn wait_for_grants(&mut self) -> Result<()> {
        let connection = &mut self.polled.connection;
        let until_ms = connection.deadline_ms(PATIENCE);
        let is_granted = |log: &LogNumber| Notice::Granted { log: *log };
        while !self
            .logs
            .iter()
            .all(|log| connection.has_notice(&is_granted(log)))
        {
            if connection.now_ms() >= until_ms {
                bail!("no subscription was granted");
            }
            connection.pump(until_ms)?;
        }
        Ok(())
    }

    fn ask(&mut self, asked: Asked, request: &Request) {
        let number = self.polled.connection.submit(request, None);
        self.asked.insert(number, asked);
    }

    /// Asks for what is due. Returns whether there was anything.
    fn ask_what_is_due(&mut self) -> bool {
        let before = self.asked.len();
        self.beat();
        self.fetch();
        self.acknowledge();
        self.asked.len() > before
    }

    fn beat(&mut self) {
        let now_ms = self.polled.connection.now_ms();
        if now_ms < self.beat_ms {
            return;
        }
        self.beat_ms = now_ms + self.heartbeat_ms;
        let (session, known) = (self.session.clone(), self.known);
        let request = Request::Heartbeat(request::Heartbeat { session, known });
        self.ask(Asked::Beat, &request);
    }

    fn fetch(&mut self) {
        let wanted: Vec<LogNumber> = self.behind.difference(&self.fetching).copied().collect();
        for log in wanted {
            let request = Request::Fetch(request::Fetch {
                session: self.session.clone(),
                log,
                after: self.positions.at(log).unwrap_or(0),
                n: None,
                mails: PAGE_MAILS,
                bytes: PAGE_BYTES_MAX as u64,
            });
            self.fetching.insert(log);
            self.ask(Asked::Page(log), &request);
        }
    }

    fn acknowledge(&mut self) {
        if self.is_acking || self.unacked.is_empty() || self.ack_due_ms() > self.now_ms() {
            return;
        }
        let logs: Vec<_> = std::mem::take(&mut self.unacked).into_iter().collect();
        self.acked.extend(logs.iter().copied());
        (self.is_acking, self.is_paged, self.live) = (true, false, 0);
        self.acked_ms = self.now_ms();
        let session = self.session.clone();
        self.ask(Asked::Ack, &Request::Ack(request::Ack { session, logs }));
    }

    fn now_ms(&self) -> u64 {
        self.polled.connection.now_ms()
    }

    fn ack_due_ms(&self) -> u64 {
        if self.acks == Acks::Each || self.is_paged || self.live >= ACK_MAILS {
            0
        } else {
            self.acked_ms + ACK_MS
        }
    }

    /// Returns when the next request is due.
    fn due_ms(&self) -> u64 {
        if self.unacked.is_empty() || self.is_acking {
            self.beat_ms
        } else {
            self.beat_ms.min(self.ack_due_ms())
        }
    }

    fn take_answers(&mut self) -> Result<()> {
        while let Some(number) = self.polled.connection.answered() {
            match self.asked.remove(&number).context("a reply to nothing")? {
                Asked::Beat => {
                    let (beat, _) = self.answer::<reply::Heartbeat>(number, "heartbeat")?;
                    self.take_beat(&beat)?;
                }
                Asked::Page(log) => {
                    let (page, bodies) = self.answer::<Page>(number, "fetch")?;
                    self.fetching.remove(&log);
                    self.take_page(page, bodies)?;
                }
                Asked::Ack => {
                    let (done, _) = self.answer::<reply::Done>(number, "ack")?;
                    must_be_durable(&done.durability)?;
                    self.is_acking = false;
                }
            }
        }
        Ok(())
    }

    fn answer<T: serde::de::DeserializeOwned>(
        &mut self,
        number: RequestNumber,
        verb: &'static str,
    ) -> Result<(T, Vec<Vec<u8>>)> {
        let answer = self.polled.connection.answer(number, verb);
        Ok(answer.context("a reply was taken twice")??)
    }

    fn take_beat(&mut self, beat: &reply::Heartbeat) -> Result<()> {
        self.known = beat.through;
        if beat.more {
            self.beat_ms = 0;
        }
        beat.behind.iter().try_for_each(|info| self.follow(info))
    }

    fn take_page(&mut self, page: Page, bodies: Vec<Vec<u8>>) -> Result<()> {
        if page.trimmed.is_some() {
            bail!("mails are gone unread: {:?}", page.trimmed);
        }
        let at = self.positions.at(page.log).unwrap_or(0);
        if bodies.len() != page.mails.len() {
            bail!("a page came without all of its bodies");
        }
        let fresh = page
            .mails
            .iter()
            .zip(bodies)
            .filter(|(mail, _)| mail.id > at);
        self.got.extend(fresh.map(|(_, body)| Bytes::from(body)));
        self.positions.pass(page.log, page.through);
        self.is_paged = true;
        if !page.more && !self.again.remove(&page.log) {
            self.behind.remove(&page.log);
        }
        Ok(())
    }

    fn take_notices(&mut self) -> Result<()> {
        while let Some(live) = self.polled.connection.next_notice() {
            match live.notice {
                Notice::Mail { log, envelope } => self.take_live(log, &envelope, live.body),
                Notice::Log { info } => self.follow(&info)?,
                Notice::Refresh => self.beat_ms = 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn take_live(&mut self, log: LogNumber, mail: &Envelope, body: Option<Vec<u8>>) {
        let body = body.unwrap_or_default();
        if body.len() as u64 != mail.size {
            self.miss(log);
            return;
        }
        match self.positions.see(log, mail.prev, mail.id) {
            Sight::Next => {
                self.live += 1;
                self.got.push(Bytes::from(body));
            }
            Sight::Gap(_) => self.miss(log),
            Sight::Stranger => self.beat_ms = 0,
            Sight::Old => {}
        }
    }

    fn miss(&mut self, log: LogNumber) {
        self.behind.insert(log);
        if self.fetching.contains(&log) {
            self.again.insert(log);
        }
    }

    /// Does everything that can be done now. Returns when something is due without input.
    fn work(&mut self) -> Result<u64> {
        loop {
            let due_ms = self.polled.turn()?;
            self.take_answers()?;
            self.take_notices()?;
            if !self.ask_what_is_due() {
                return Ok(due_ms.min(self.due_ms()));
            }
        }
    }
}

#[async_trait]
impl Receiver for CorreioReceiver {
    async fn recv(&mut self, out: &mut Vec<Bytes>) -> Result<()> {
        loop {
            let due_ms = self.work()?;
            if !self.got.is_empty() {
                out.append(&mut self.got);
                return Ok(());
            }
            self.polled.wait(due_ms).await?;
        }
    }

    async fn ack(&mut self) -> Result<()> {
        for log in &self.logs {
            let at = self.positions.at(*log).unwrap_or(0);
            if self.acked.get(log).is_none_or(|acked| *acked < at) {
                self.unacked.insert(*log, at);
            }
        }
        self.acknowledge();
        self.polled.turn().map(drop)
    }

    async fn settle(&mut self) -> Result<()> {
        self.is_paged = true;
        loop {
            let due_ms = self.work()?;
            if !self.is_acking && self.unacked.is_empty() {
                return Ok(());
            }
            self.polled.wait(due_ms).await?;
        }
    }
}
