//! A device as a right client would be: its outbox and mailbox last, all else goes with its process.

use std::collections::{BTreeMap, BTreeSet};

use super::chat::Chatting;
use super::model::{Model, Said, covers};
use super::rng::Rng;
use crate::protocol::codes::{Code, WireError};
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::reply::{self, DecodeError, LeaseInfo, LogInfo, Outcome, Page};
use crate::protocol::request::{self, From, Request};
use crate::protocol::{LogNumber, MailId, PublicKey};

/// Sends of one device that may be unsettled at once.
const UNSETTLED_MAX: usize = 6;

/// How far a log is in the mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    id: MailId,
    n: u64,
}

/// One device of a user.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) index: usize,
    pub(super) user: String,
    pub(super) key: PublicKey,
    // -- what lasts --
    registered: bool,
    stream: Option<u64>,
    number: u64,
    serial: u64,
    outbox: BTreeMap<u64, Said>,
    /// Sends that went out under a stream the server gave up: what became of them is not known.
    pub(super) in_doubt: u64,
    marks: BTreeMap<LogNumber, Mark>,
    pub(super) mailbox: BTreeMap<String, BTreeMap<MailId, Said>>,
    /// Mails that were told as gone unread, by address.
    pub(super) told_gone: BTreeMap<String, u64>,
    /// Where it began to read each address.
    since: BTreeMap<String, MailId>,
    /// Topics that the server said are joined.
    joined: BTreeSet<String>,
    /// Topics to be in, for good.
    pub(super) topics: Vec<String>,
    /// It would rather chat than write.
    pub(super) chatty: bool,
    // -- what goes with the process --
    pub(super) conn: u64,
    session: Option<String>,
    logs: BTreeMap<LogNumber, LogInfo>,
    known: MailId,
    acked: BTreeMap<LogNumber, MailId>,
    lease: Option<(LeaseInfo, bool)>,
    chatting: Chatting,
    open: BTreeMap<u64, Asked>,
    request: u64,
    pub(super) wanted_keys: BTreeSet<NoticeKey>,
}

/// A request under way.
#[derive(Debug, Clone)]
struct Asked {
    request: Request,
    until_ms: u64,
}

/// Something a device puts on the network.
#[derive(Debug)]
pub(super) enum Sends {
    Request(Vec<Vec<u8>>),
    Subscribe(NoticeKey),
}

impl Device {
    pub(super) fn new(index: usize, user: &str, topics: Vec<String>) -> Self {
        Self {
            index,
            user: user.to_owned(),
            key: *blake3::hash(format!("{user} {index}").as_bytes()).as_bytes(),
            registered: false,
            stream: None,
            number: 0,
            serial: 0,
            outbox: BTreeMap::new(),
            in_doubt: 0,
            marks: BTreeMap::new(),
            mailbox: BTreeMap::new(),
            told_gone: BTreeMap::new(),
            since: BTreeMap::new(),
            joined: BTreeSet::new(),
            topics,
            chatty: false,
            conn: 0,
            session: None,
            logs: BTreeMap::new(),
            known: 0,
            acked: BTreeMap::new(),
            lease: None,
            chatting: Chatting::default(),
            open: BTreeMap::new(),
            request: 0,
            wanted_keys: BTreeSet::new(),
        }
    }

    /// The process dies and starts again, on a new connection.
    pub(super) fn restart(&mut self, conn: u64) {
        self.reconnect(conn);
        self.session = None;
        self.logs.clear();
        self.known = 0;
        self.acked.clear();
        self.lease = None;
        self.chatting = Chatting::default();
    }

    /// The connection breaks and is made again; the process goes on.
    pub(super) fn reconnect(&mut self, conn: u64) {
        self.conn = conn;
        self.open.clear();
        self.wanted_keys.clear();
    }

    /// Says whether there is nothing left to send, fetch or acknowledge, and a heartbeat said so of all
    /// up to `newest`.
    pub(super) fn is_done(&self, newest: MailId) -> bool {
        self.session.is_some()
            && self.known >= newest
            && self.outbox.is_empty()
            && self.open.is_empty()
            && self.behind().is_none()
            && self.unacked().is_none()
            && self.topics.iter().all(|topic| self.reads(topic))
    }

    fn reads(&self, pattern: &str) -> bool {
        self.joined.contains(pattern)
    }

    // -- what it does --

    /// Does one thing, if there is something to do. `calm` devices only finish what they began.
    pub(super) fn act(
        &mut self,
        rng: &mut Rng,
        now_ms: u64,
        model: &mut Model,
        addresses: &[String],
        calm: bool,
    ) -> Option<Sends> {
        self.open.retain(|_, asked| asked.until_ms > now_ms);
        if self.open.len() >= 4 {
            return None;
        }
        let request = self.choose(rng, model, addresses, calm)?;
        if let Request::Lease(_) | Request::Login(_) = &request
            && self.is_asking(|open| open.verb() == request.verb())
        {
            return None;
        }
        self.ask(rng, now_ms, request)
    }

    fn ask(&mut self, rng: &mut Rng, now_ms: u64, request: Request) -> Option<Sends> {
        self.request += 1;
        let mut frames = vec![self.request.to_be_bytes().to_vec(), request.encode()];
        if let Request::Send(send) = &request {
            let said = self.outbox.get(&send.number)?;
            frames.push(said.body().into_bytes());
        }
        let until_ms = now_ms + 200 + rng.below(2_000);
        self.open.insert(self.request, Asked { request, until_ms });
        Some(Sends::Request(frames))
    }

    fn is_asking(&self, is: impl Fn(&Request) -> bool) -> bool {
        self.open.values().any(|asked| is(&asked.request))
    }

    fn choose(
        &mut self,
        rng: &mut Rng,
        model: &mut Model,
        addresses: &[String],
        calm: bool,
    ) -> Option<Request> {
        if !self.registered {
            return Some(self.register());
        }
        let Some(session) = self.session.clone() else {
            return Some(self.login(rng));
        };
        if let Some(topic) = self.topic_to_join() {
            model.wants(&self.user, &topic);
            return Some(join(session, &topic));
        }
        if self.chatty && !calm && rng.chance(50) {
            return Some(self.chat(rng, session, addresses));
        }
        match rng.below(10) {
            0..=2 if !calm => self.say(rng, addresses),
            3 if !calm => Some(self.lease_word(rng, session)),
            4 => Some(Request::Heartbeat(request::Heartbeat {
                session,
                known: self.known,
            })),
            5 | 6 => self.fetch(session),
            7 => self.ack(session),
            _ => self.retry(rng, session),
        }
    }

    /// Says something about chats, once there is a port for them.
    fn chat(&mut self, rng: &mut Rng, session: String, addresses: &[String]) -> Request {
        match self.lease {
            Some((_, true)) => {
                let chatting = &mut self.chatting;
                chatting.choose(rng, session, &self.user, addresses)
            }
            Some((lease, false)) => Request::LeaseConfirm(request::LeaseWord {
                session,
                port: lease.port,
                epoch: lease.epoch,
            }),
            None => Request::Lease(request::Lease { session }),
        }
    }

    fn register(&self) -> Request {
        Request::Register(request::Register {
            user: Some(self.user.parse().expect("names of the simulator are names")),
            device: "sim".into(),
            code: None,
        })
    }

    fn login(&self, rng: &mut Rng) -> Request {
        Request::Login(request::Login {
            stream: self.stream,
            want_stream: true,
            want_port: rng.chance(50),
            ..request::Login::default()
        })
    }

    fn topic_to_join(&self) -> Option<String> {
        let wanted = self.topics.iter().find(|topic| !self.reads(topic))?;
        let is_join = |request: &Request| matches!(request, Request::Join(_));
        (!self.is_asking(is_join)).then(|| wanted.clone())
    }

    /// Writes a new mail into the outbox; it goes out by `retry`.
    fn say(&mut self, rng: &mut Rng, addresses: &[String]) -> Option<Request> {
        if self.outbox.len() >= UNSETTLED_MAX || self.stream.is_none() {
            return None;
        }
        let mut to: Vec<String> = (0..=rng.below(3)).map(|_| rng.pick(addresses)).collect();
        to.sort_unstable();
        to.dedup();
        self.number += 1;
        self.serial += 1;
        let said = Said {
            from: self.user.clone(),
            to,
            device: self.index,
            serial: self.serial,
            mortal: rng.chance(10),
        };
        self.outbox.insert(self.number, said);
        let number = self.number;
        self.session
            .clone()
            .and_then(|session| self.send(session, number))
    }

    fn retry(&mut self, rng: &mut Rng, session: String) -> Option<Request> {
        let numbers: Vec<u64> = self.outbox.keys().copied().collect();
        if numbers.is_empty() {
            return None;
        }
        let number = rng.pick(&numbers);
        self.send(session, number)
    }

    fn send(&self, session: String, number: u64) -> Option<Request> {
        let said = self.outbox.get(&number)?;
        let lowest = self.outbox.keys().next().copied();
        Some(Request::Send(request::Send {
            session,
            stream: self.stream?,
            number,
            settled_below: lowest.unwrap_or(self.number + 1),
            to: said.to.clone(),
            subject: String::new(),
            content_type: request::default_content_type(),
            ttl_s: said.mortal.then_some(1 + said.serial % 7),
            parts: None,
        }))
    }

    fn lease_word(&self, rng: &mut Rng, session: String) -> Request {
        let Some((lease, confirmed)) = self.lease else {
            return Request::Lease(request::Lease { session });
        };
        let word = request::LeaseWord {
            session,
            port: lease.port,
            epoch: lease.epoch,
        };
        match rng.below(4) {
            0 if !confirmed => Request::LeaseBusy(word),
            1 => Request::LeaseRelease(word),
            _ => Request::LeaseConfirm(word),
        }
    }

    fn behind(&self) -> Option<&LogInfo> {
        self.logs.values().find(|log| {
            let mark = self.marks.get(&log.log).copied().unwrap_or_default();
            log.head > mark.id
        })
    }

    fn fetch(&self, session: String) -> Option<Request> {
        let log = self.behind()?.log;
        let is_fetch =
            |request: &Request| matches!(request, Request::Fetch(fetch) if fetch.log == log);
        if self.is_asking(is_fetch) {
            return None;
        }
        let mark = self.marks.get(&log).copied().unwrap_or_default();
        Some(Request::Fetch(request::Fetch {
            session,
            log,
            after: mark.id,
            n: Some(mark.n),
            mails: 3,
            bytes: 1_000,
        }))
    }

    fn unacked(&self) -> Option<(LogNumber, MailId)> {
        let is_new = |(log, mark): &(&LogNumber, &Mark)| {
            self.logs.contains_key(log) && self.acked.get(log).copied().unwrap_or(0) < mark.id
        };
        let found = self.marks.iter().find(is_new);
        found.map(|(log, mark)| (*log, mark.id))
    }

    fn ack(&self, session: String) -> Option<Request> {
        let ack = self.unacked()?;
        let logs = vec![ack];
        Some(Request::Ack(request::Ack { session, logs }))
    }

    // -- what it hears --

    /// Takes a reply in. The reader's side of the model was checked when the server sent it.
    pub(super) fn hear(&mut self, frames: &[Vec<u8>]) {
        let Some(number) = frames[0].as_slice().try_into().ok().map(u64::from_be_bytes) else {
            return;
        };
        let Some(asked) = self.open.remove(&number) else {
            return;
        };
        if let Err(error) = self.heard(&asked.request, frames) {
            self.refused(&asked.request, &error);
        }
    }

    fn heard(&mut self, request: &Request, frames: &[Vec<u8>]) -> Result<(), WireError> {
        match request {
            Request::Register(_) => {
                drop(read::<reply::Registered>(frames)?);
                self.registered = true;
            }
            Request::Login(_) => self.logged_in(read(frames)?),
            Request::Join(join) => {
                let joined: reply::Logs = read(frames)?;
                self.joined.insert(join.topic.as_str().to_owned());
                joined.logs.into_iter().for_each(|log| self.learn(log));
            }
            Request::Heartbeat(_) => {
                let beat: reply::Heartbeat = read(frames)?;
                self.known = self.known.max(beat.through);
                beat.behind.into_iter().for_each(|log| self.learn(log));
                self.chatting.listed(beat.chats);
                if beat.lease.is_none() {
                    self.lease = None;
                }
            }
            Request::Fetch(_) => self.turn(&read(frames)?, &frames[2..]),
            Request::Ack(ack) => {
                drop(read::<reply::Done>(frames)?);
                self.acked.extend(ack.logs.iter().copied());
            }
            Request::Send(send) => {
                self.settled(send.number, &read::<reply::Sent>(frames)?.outcomes);
            }
            Request::Lease(_) | Request::LeaseBusy(_) => {
                let lease: reply::Lease = read(frames)?;
                self.lease = Some((lease.lease, false));
            }
            Request::LeaseConfirm(_) => {
                let lease: reply::Lease = read(frames)?;
                self.lease = Some((lease.lease, true));
            }
            Request::ChatAsk(_) => self.chatting.answered(Some(read(frames)?), None),
            Request::ChatAccept(_) => drop(read::<reply::Introduction>(frames)?),
            Request::ChatDecline(_)
            | Request::ChatWithdraw(_)
            | Request::ChatSeen(_)
            | Request::Block(_)
            | Request::Unblock(_) => drop(read::<reply::Done>(frames)?),
            Request::LeaseRelease(_) => {
                drop(read::<reply::Done>(frames)?);
                self.lease = None;
            }
            _ => {}
        }
        Ok(())
    }

    fn refused(&mut self, request: &Request, error: &WireError) {
        if let Request::ChatAsk(_) = request {
            self.chatting.answered(None, Some(error.code));
        }
        match error.code {
            Code::NoSession => self.session = None,
            Code::LeaseLost => self.lease = None,
            Code::StreamUnknown | Code::Settled => {
                // Never guessed: it is told as in doubt. An honest client sees this only when its stream
                // grew stale.
                if let Request::Send(send) = request
                    && self.outbox.remove(&send.number).is_some()
                {
                    self.in_doubt += 1;
                }
            }
            Code::NotRegistered => panic!("P2: {} was registered", self.user),
            Code::BadRequest | Code::NumberReused | Code::Internal | Code::Unsupported => {
                panic!("{} was refused: {error}", request.verb())
            }
            _ => {}
        }
    }

    fn logged_in(&mut self, login: reply::Login) {
        self.session = Some(login.session);
        if self.stream != login.stream {
            // What lies in the outbox under the old stream was perhaps carried out.
            assert!(
                self.outbox.is_empty(),
                "P3: the stream was lost with sends in it"
            );
            self.stream = login.stream;
            self.number = 0;
        }
        self.lease = login.lease.map(|lease| (lease, false));
        self.known = login.through;
        self.logs.clear();
        login.logs.into_iter().for_each(|log| self.learn(log));
    }

    fn learn(&mut self, log: LogInfo) {
        let fresh = Mark {
            id: log.cursor,
            n: log.n,
        };
        self.marks.entry(log.log).or_insert(fresh);
        self.since.entry(log.address.clone()).or_insert(fresh.id);
        if let Some(key) = NoticeKey::from_hex(&log.key) {
            self.wanted_keys.insert(key);
        }
        let acked = self.acked.entry(log.log).or_default();
        *acked = (*acked).max(log.cursor);
        // Replies overtake each other: an older one knows of less.
        let known = self.logs.get(&log.log).map_or(0, |known| known.head);
        let head = log.head.max(known);
        self.logs.insert(log.log, LogInfo { head, ..log });
    }

    fn settled(&mut self, number: u64, outcomes: &[Outcome]) {
        let again = |outcome: &Outcome| matches!(outcome, Outcome::Refused { error, .. } if error.retryable);
        if !outcomes.iter().all(again) {
            self.outbox.remove(&number);
        }
    }

    /// Stores a page, where it goes on from what is stored.
    fn turn(&mut self, page: &Page, bodies: &[Vec<u8>]) {
        let mark = self.marks.get(&page.log).copied().unwrap_or_default();
        if mark.id != page.after {
            return;
        }
        let mut bodies = bodies.iter();
        for mail in &page.mails {
            let body = bodies.next().expect("a small body comes along");
            self.store(&mail.address, mail.id, body);
        }
        if let Some(trimmed) = page.trimmed {
            *self.told_gone.entry(page.address.clone()).or_default() += trimmed.count;
        }
        let through = Mark {
            id: page.through,
            n: page.n,
        };
        assert!(through.id >= mark.id, "P3: a page led back");
        self.marks.insert(page.log, through);
    }

    fn store(&mut self, address: &str, id: MailId, body: &[u8]) {
        let said = Said::read(body);
        let log = self.mailbox.entry(address.to_owned()).or_default();
        if let Some((last, _)) = log.last_key_value() {
            assert!(*last < id, "P3: {address} went from {last} to {id}");
        }
        let twice = log.values().any(|stored| *stored == said);
        assert!(!twice, "P3: {said:?} is twice in the mailbox");
        log.insert(id, said);
    }

    /// Takes in a live notice: the gap rule.
    pub(super) fn notice(&mut self, notice: Notice, body: Option<&[u8]>) {
        match notice {
            Notice::Mail { log, envelope } => {
                let Some(info) = self.logs.get_mut(&log) else {
                    return;
                };
                let mark = self.marks.get(&log).copied().unwrap_or_default();
                if let Some(body) = body
                    && envelope.id > mark.id
                    && envelope.prev <= mark.id
                {
                    info.head = info.head.max(envelope.id);
                    let (id, n) = (envelope.id, envelope.n);
                    if n == mark.n + 1 {
                        self.store(&envelope.address, id, body);
                        self.marks.insert(log, Mark { id, n });
                    }
                } else if envelope.id > mark.id {
                    info.head = info.head.max(envelope.id);
                }
            }
            Notice::Chat { invitation } => self.chatting.hear(invitation),
            Notice::Log { info } => {
                if let Some(key) = NoticeKey::from_hex(&info.key) {
                    self.wanted_keys.insert(key);
                }
            }
            _ => {}
        }
    }

    /// Returns the request that a reply answers, if it is still waited for.
    pub(super) fn asked(&self, frames: &[Vec<u8>]) -> Option<&Request> {
        let number = frames[0].as_slice().try_into().ok()?;
        let asked = self.open.get(&u64::from_be_bytes(number))?;
        Some(&asked.request)
    }

    /// Returns a send that is not settled yet.
    pub(super) fn unsettled(&self, number: u64) -> Option<&Said> {
        self.outbox.get(&number)
    }

    /// Returns where this device began to read an address: everything after it must arrive.
    pub(super) fn since(&self, address: &str) -> MailId {
        self.since.get(address).copied().unwrap_or(0)
    }

    /// Says whether this user asked for that address with all that follows from it.
    pub(super) fn follows(&self, address: &str) -> bool {
        let is = |topic: &String| topic == address || covers(topic, address);
        self.user == address || self.topics.iter().any(is)
    }
}

fn join(session: String, topic: &str) -> Request {
    Request::Join(request::Join {
        session,
        topic: topic.parse().expect("topics of the simulator are names"),
        from: From::Now,
    })
}

fn read<T: for<'a> serde::Deserialize<'a>>(frames: &[Vec<u8>]) -> Result<T, WireError> {
    match reply::decode(&frames[1]) {
        Ok(reply) => Ok(reply),
        Err(DecodeError::Refused(error)) => Err(error),
        Err(error) => panic!("the server's reply does not read: {error}"),
    }
}
