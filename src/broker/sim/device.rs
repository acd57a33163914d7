//! A device as a right client would be: its outbox and mailbox last, all else goes with its process.
//! What it hears is in `hear`.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use super::chat::Chatting;
use super::faults::Mix;
use super::model::Said;
use super::rng::Rng;
use crate::protocol::notice::NoticeKey;
use crate::protocol::reply::{LeaseInfo, LogInfo};
use crate::protocol::request::{self, From, Request};
use crate::protocol::{LogNumber, MailId, PublicKey};

/// Sends of one device that may be unsettled at once.
const UNSETTLED_MAX: usize = 6;

/// Settled sends that a device remembers, to try them again out of order.
const PAST_MAX: usize = 12;

/// Everything anybody ever subscribes to.
const PATTERNS: [&str; 6] = ["news", "lab/laser", "lab/a", "lab/b", "lab/*", "lab/b/*"];

/// How far a log is in the mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) id: MailId,
    pub(super) n: u64,
}

/// One log in the mailbox.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) mark: Mark,
    /// The count it began at.
    pub(super) from_n: u64,
    pub(super) held: BTreeSet<MailId>,
    /// The sends in it, to see that none is there twice.
    pub(super) names: HashSet<(usize, u64)>,
    /// Mails that were told as gone unread.
    pub(super) told: u64,
    /// Mails of a time when the log was left.
    pub(super) skipped: u64,
    pub(super) is_left: bool,
    /// Large bodies still to come, with how far they are.
    pub(super) bodies: BTreeMap<MailId, u64>,
}

/// One device of a user.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own; no two make a state"
)]
pub(super) struct Device {
    pub(super) index: usize,
    pub(super) user: String,
    pub(super) key: PublicKey,
    keys: u64,
    /// The key to go on with, once the server has heard of it.
    pub(super) next: Option<PublicKey>,
    // -- what lasts --
    pub(super) registered: bool,
    /// What the server calls it.
    pub(super) called: Option<u64>,
    pub(super) needs_code: bool,
    pub(super) code: Option<String>,
    pub(super) stream: Option<u64>,
    pub(super) number: u64,
    serial: u64,
    pub(super) outbox: BTreeMap<u64, Arc<Said>>,
    /// Settled sends: stream, number and what was settled then.
    past: VecDeque<(u64, u64, Arc<Said>)>,
    /// Sends that went out under a stream the server gave up: what became of them is not known.
    pub(super) in_doubt: u64,
    pub(super) kept: BTreeMap<LogNumber, Kept>,
    /// Topics to be joined at first.
    pub(super) topics: Vec<String>,
    // -- what goes with the process --
    pub(super) conn: u64,
    pub(super) session: Option<String>,
    pub(super) last_session: Option<String>,
    pub(super) logs: BTreeMap<LogNumber, LogInfo>,
    pub(super) known: MailId,
    /// Other devices of its user, as they were listed.
    pub(super) siblings: Vec<u64>,
    pub(super) acked: BTreeMap<LogNumber, MailId>,
    pub(super) lease: Option<(LeaseInfo, bool)>,
    pub(super) chatting: Chatting,
    pub(super) open: BTreeMap<u64, Asked>,
    request: u64,
    pub(super) wanted_keys: BTreeSet<NoticeKey>,
    /// The upload under way: number and the next part.
    pub(super) upload: Option<(u64, u32)>,
    /// It must ask the server anew before it may rest.
    pub(super) must_ask: bool,
    /// Its process dies before it does anything else.
    pub(super) dies: bool,
    /// The server went back in time since the last login.
    pub(super) is_back: bool,
}

/// A request under way.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) request: Arc<Request>,
    until_ms: u64,
    /// It asked for what is another's: the answer is for the judge.
    pub(super) pried: bool,
}

/// Something a device puts on the network.
#[derive(Debug, Clone)]
pub(super) enum Sends {
    Request {
        frames: Vec<Vec<u8>>,
        request: Arc<Request>,
        said: Option<Arc<Said>>,
    },
    Subscribe(NoticeKey),
}

/// What a device can see of the world, and its dice.
pub(super) struct Context<'a> {
    pub(super) rng: &'a mut Rng,
    pub(super) now_ms: u64,
    pub(super) addresses: &'a [String],
    pub(super) calm: bool,
    pub(super) mix: Mix,
    /// Codes that were handed over, by user.
    pub(super) codes: &'a mut BTreeMap<String, Vec<String>>,
    /// Codes that were tried before, by user.
    pub(super) spent: &'a mut Vec<(String, String)>,
    /// Users with a device that waits for a code.
    pub(super) wanting: &'a BTreeSet<String>,
    /// Keys and sessions of anybody, as a spy might know them.
    pub(super) keys: &'a [NoticeKey],
    pub(super) sessions: &'a [String],
}

impl Device {
    pub(super) fn new(index: usize, user: &str, topics: &[&str]) -> Self {
        Self {
            index,
            user: user.to_owned(),
            key: key_of(user, index, 0),
            keys: 0,
            next: None,
            registered: false,
            called: None,
            needs_code: false,
            code: None,
            stream: None,
            number: 0,
            serial: 0,
            outbox: BTreeMap::new(),
            past: VecDeque::new(),
            in_doubt: 0,
            kept: BTreeMap::new(),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            conn: 0,
            session: None,
            last_session: None,
            logs: BTreeMap::new(),
            known: 0,
            siblings: Vec::new(),
            acked: BTreeMap::new(),
            lease: None,
            chatting: Chatting::default(),
            open: BTreeMap::new(),
            request: 0,
            wanted_keys: BTreeSet::new(),
            upload: None,
            must_ask: false,
            dies: false,
            is_back: false,
        }
    }

    /// Says whether the newest request under way asked for what is another's.
    pub(super) fn has_pried(&self) -> bool {
        let newest = self.open.get(&self.request);
        newest.is_some_and(|asked| asked.pried)
    }

    /// The process dies and starts again, on a new connection.
    pub(super) fn restart(&mut self, conn: u64) {
        self.reconnect(conn);
        self.session = None;
        self.last_session = None;
        self.session_is_over();
        self.logs.clear();
        self.known = 0;
        self.acked.clear();
        self.dies = false;
    }

    /// The server went back in time: what is known of its logs is void.
    pub(super) fn went_back(&mut self) {
        self.session_is_over();
        self.open.clear();
        // A stream may be given out again, and a number of it with it.
        self.past.clear();
        self.logs.clear();
        self.kept.clear();
        self.acked.clear();
        self.known = 0;
        self.is_back = true;
    }

    pub(super) fn session_is_over(&mut self) {
        self.session = None;
        self.lease = None;
        self.upload = None;
        self.chatting = Chatting::default();
    }

    /// The connection breaks and is made again; the process goes on.
    pub(super) fn reconnect(&mut self, conn: u64) {
        self.conn = conn;
        self.give_up(|_| true);
        self.wanted_keys.clear();
    }

    /// Waits for these no longer. What one of them would have said of logs must be asked for anew: a
    /// client whose answers get lost logs in again and sees all.
    fn give_up(&mut self, is_late: impl Fn(&Asked) -> bool) {
        let before = self.open.len();
        self.open.retain(|_, asked| !is_late(asked));
        if self.open.len() < before {
            self.known = 0;
        }
    }

    /// The device is no more; what comes after it in the same place is another, with another key.
    pub(super) fn is_forgotten(&mut self) {
        let keys = self.keys + 1;
        *self = Self {
            key: key_of(&self.user, self.index, keys),
            keys,
            ..self.anew()
        };
    }

    /// The device was forgotten and a late copy of its first words made another one of its key.
    pub(super) fn came_back(&mut self, device: u64) {
        *self = Self {
            key: self.key,
            keys: self.keys,
            registered: true,
            called: Some(device),
            ..self.anew()
        };
    }

    /// A device in its place that knows nothing.
    fn anew(&self) -> Self {
        Self {
            serial: self.serial,
            request: self.request,
            conn: self.conn,
            ..Self::new(self.index, &self.user, &[])
        }
    }

    /// Says whether there is nothing left to send, fetch or acknowledge, and a heartbeat said so of all
    /// up to `newest`.
    pub(super) fn is_done(&self, newest: MailId) -> bool {
        self.session.is_some()
            && !self.must_ask
            && self.known >= newest
            && self.outbox.is_empty()
            && self.open.is_empty()
            && self.behind().is_none()
            && self.unacked().is_empty()
            && self.kept.values().all(|kept| kept.bodies.is_empty())
    }

    // -- what it does --

    /// Does one thing, if there is something to do. `calm` devices only finish what they began.
    pub(super) fn act(&mut self, around: &mut Context<'_>) -> Option<Sends> {
        self.give_up(|asked| asked.until_ms <= around.now_ms);
        if let Some(key) = self.wanted_keys.pop_first() {
            return Some(Sends::Subscribe(key));
        }
        if self.open.len() >= 4 {
            return None;
        }
        if self.session.is_some() && !around.calm && around.rng.chance(around.mix.pries) {
            return self.pry(around);
        }
        let request = self.choose(around)?;
        let is_alone = matches!(
            request,
            Request::Lease(_) | Request::Login(_) | Request::Register(_) | Request::Part(_)
        );
        if is_alone && self.is_asking(|open| open.verb() == request.verb()) {
            return None;
        }
        Some(self.ask(around, request, None, false))
    }

    fn ask(
        &mut self,
        around: &mut Context<'_>,
        request: Request,
        said: Option<Arc<Said>>,
        pried: bool,
    ) -> Sends {
        self.request += 1;
        let mut frames = vec![self.request.to_be_bytes().to_vec(), request.encode()];
        let said = match &request {
            Request::Send(send) => said.or_else(|| self.outbox.get(&send.number).cloned()),
            Request::Part(part) => self.outbox.get(&part.number).cloned(),
            _ => None,
        };
        match (&request, &said) {
            (Request::Send(send), Some(said)) if send.parts.is_none() => frames.push(said.body()),
            (Request::Part(part), Some(said)) => frames.push(said.part(part.index)),
            _ => {}
        }
        let until_ms = around.now_ms + 200 + around.rng.below(2_000);
        let request = Arc::new(request);
        let asked = Asked {
            request: Arc::clone(&request),
            until_ms,
            pried,
        };
        self.open.insert(self.request, asked);
        Sends::Request {
            frames,
            request,
            said,
        }
    }

    fn is_asking(&self, is: impl Fn(&Request) -> bool) -> bool {
        self.open.values().any(|asked| is(&asked.request))
    }

    fn choose(&mut self, around: &mut Context<'_>) -> Option<Request> {
        if !self.registered {
            return self.register(around);
        }
        let Some(session) = self.session.clone() else {
            return Some(self.login(around.rng));
        };
        if around.wanting.contains(&self.user) && around.rng.chance(10) {
            return Some(invite(session));
        }
        if !around.calm {
            if let Some(topic) = self.topics.last() {
                return Some(join(session, topic, From::Now));
            }
            if around.rng.chance(around.mix.forgets) {
                return Some(self.go(around.rng, session));
            }
            if around.rng.chance(2) {
                return Some(self.look_around(around.rng, session));
            }
            if around.rng.chance(around.mix.churn) {
                return Some(self.churn(around.rng, session));
            }
            if around.rng.chance(around.mix.chats) {
                return Some(self.chat(around, session));
            }
        }
        self.correspond(around, session)
    }

    fn correspond(&mut self, around: &mut Context<'_>, session: String) -> Option<Request> {
        match around.rng.below(10) {
            0..=2 if !around.calm => self.say(around),
            3 if !around.calm => Some(self.lease_word(around.rng, session)),
            4 => Some(Request::Heartbeat(request::Heartbeat {
                session,
                known: self.known,
            })),
            5 | 6 => self.fetch(session),
            7 => self.ack(around, session),
            _ => self.retry(around.rng, session),
        }
    }

    fn register(&mut self, around: &mut Context<'_>) -> Option<Request> {
        if self.code.is_none() {
            self.code = self.find_code(around);
        }
        // Somebody may have removed the user, so that the name is free again.
        if self.needs_code && self.code.is_none() && !around.rng.chance(10) {
            return None;
        }
        Some(Request::Register(request::Register {
            user: Some(self.user.parse().expect("names of the simulator are names")),
            device: "sim".into(),
            code: self.code.clone(),
        }))
    }

    /// Takes a code that was handed over; at times one that was good for somebody else.
    fn find_code(&self, around: &mut Context<'_>) -> Option<String> {
        if around.rng.chance(10) && !around.spent.is_empty() {
            let (user, code) = around.rng.pick(around.spent);
            return Some(code).filter(|_| user == self.user);
        }
        let code = around.codes.get_mut(&self.user)?.pop()?;
        around.spent.push((self.user.clone(), code.clone()));
        Some(code)
    }

    fn login(&self, rng: &mut Rng) -> Request {
        Request::Login(request::Login {
            stream: self.stream,
            want_stream: true,
            want_port: rng.chance(50),
            resume: self.last_session.clone().filter(|_| rng.chance(50)),
            ..request::Login::default()
        })
    }

    /// Asks who is here and which devices there are, hides, or takes another key.
    fn look_around(&mut self, rng: &mut Rng, session: String) -> Request {
        match rng.below(6) {
            0 => Request::Hide(request::Hide {
                session,
                hidden: rng.chance(50),
            }),
            1 => Request::Devices(request::Devices { session, after: 0 }),
            2 => {
                if self.next.is_none() {
                    self.keys += 1;
                }
                let key = key_of(&self.user, self.index, self.keys);
                self.next = Some(key);
                let key = hex::encode(key);
                Request::Rotate(request::Rotate { session, key })
            }
            _ => Request::Who(request::Who {
                session,
                user: None,
                after: None,
            }),
        }
    }

    /// The server knows the key to go on with.
    pub(super) fn is_rotated(&mut self) {
        if let Some(next) = self.next.take() {
            self.key = next;
            self.session_is_over();
        }
    }

    /// Logs out, ends the session, forgets the device, removes another one, or the account.
    fn go(&mut self, rng: &mut Rng, session: String) -> Request {
        match rng.below(8) {
            0 | 1 => Request::Close(request::Close { session }),
            2 | 3 => Request::Logout(request::Logout { forget: false }),
            4 | 5 => Request::Logout(request::Logout { forget: true }),
            6 if rng.chance(20) => Request::AccountRm(request::AccountRm {
                session,
                user: self.user.parse().expect("names of the simulator are names"),
            }),
            _ => match self.siblings.pop() {
                Some(device) => Request::DeviceRm(request::DeviceRm { session, device }),
                None => Request::Devices(request::Devices { session, after: 0 }),
            },
        }
    }

    /// Joins a topic or leaves one.
    fn churn(&mut self, rng: &mut Rng, session: String) -> Request {
        let topic = rng.pick(&PATTERNS);
        if rng.chance(50) {
            let topic = topic.parse().expect("topics of the simulator are names");
            return Request::Leave(request::Leave { session, topic });
        }
        let is_known = self.logs.values().any(|log| log.address == topic);
        let may_rewind = !is_known && !topic.ends_with('*');
        let from = if may_rewind && rng.chance(40) {
            From::Start
        } else {
            From::Now
        };
        join(session, topic, from)
    }

    /// Says something about chats, once there is a port for them.
    fn chat(&mut self, around: &mut Context<'_>, session: String) -> Request {
        match self.lease {
            Some((_, true)) => {
                let chatting = &mut self.chatting;
                chatting.choose(around.rng, session, &self.user, around.addresses)
            }
            Some((lease, false)) => Request::LeaseConfirm(request::LeaseWord {
                session,
                port: lease.port,
                epoch: lease.epoch,
            }),
            None => Request::Lease(request::Lease { session }),
        }
    }

    // -- sending --

    /// Writes a new mail into the outbox; it goes out by `retry`.
    fn say(&mut self, around: &mut Context<'_>) -> Option<Request> {
        if self.outbox.len() >= UNSETTLED_MAX || self.stream.is_none() {
            return None;
        }
        let rng = &mut *around.rng;
        let mut to: Vec<String> = (0..=rng.below(3))
            .map(|_| rng.pick(around.addresses))
            .collect();
        to.sort_unstable();
        to.dedup();
        self.number += 1;
        self.serial += 1;
        let said = Said {
            from: self.user.clone(),
            to,
            device: self.index,
            serial: self.serial,
            ttl_s: rng.chance(12).then(|| 1 + self.serial % 7),
        };
        self.outbox.insert(self.number, Arc::new(said));
        // Saved, and dead before it was sent.
        self.dies = rng.chance(3);
        let session = self.session.clone().filter(|_| !self.dies)?;
        self.send(session, self.number)
    }

    fn retry(&mut self, rng: &mut Rng, session: String) -> Option<Request> {
        let numbers: Vec<u64> = self.outbox.keys().copied().collect();
        if numbers.is_empty() {
            return None;
        }
        let number = rng.pick(&numbers);
        self.send(session, number)
    }

    /// Sends, or uploads the next part of what is sent.
    fn send(&mut self, session: String, number: u64) -> Option<Request> {
        let stream = self.stream?;
        let said = Arc::clone(self.outbox.get(&number)?);
        if let Some(parts) = said.parts() {
            let (of, index) = self.upload.unwrap_or((number, 0));
            let other_goes_on = of != number && self.outbox.contains_key(&of);
            let (number, index) = if other_goes_on {
                (of, index)
            } else if of == number {
                (number, index)
            } else {
                (number, 0)
            };
            self.upload = Some((number, index));
            if index < parts {
                return Some(Request::Part(request::Part {
                    session,
                    stream,
                    number,
                    index,
                }));
            }
            let said = Arc::clone(self.outbox.get(&number)?);
            return Some(Request::Send(self.send_of(
                session,
                (stream, number),
                &said,
            )));
        }
        Some(Request::Send(self.send_of(
            session,
            (stream, number),
            &said,
        )))
    }

    fn send_of(&self, session: String, (stream, number): (u64, u64), said: &Said) -> request::Send {
        let lowest = self.outbox.keys().next().copied();
        let lowest = lowest.unwrap_or(self.number + 1);
        request::Send {
            session,
            stream,
            number,
            settled_below: lowest.min(number),
            to: said.to.clone(),
            subject: String::new(),
            content_type: request::default_content_type(),
            ttl_s: said.ttl_s,
            parts: said.parts(),
            in_reply_to: said.answers().map(|answers| answers.in_reply_to),
            thread: said.answers().map(|answers| answers.thread),
        }
    }

    /// Remembers a send that has its outcome.
    pub(super) fn is_settled(&mut self, number: u64) {
        if let (Some(said), Some(stream)) = (self.outbox.remove(&number), self.stream) {
            self.past.push_back((stream, number, said));
            if self.past.len() > PAST_MAX {
                self.past.pop_front();
            }
        }
        if self.upload.is_some_and(|(of, _)| of == number) {
            self.upload = None;
        }
    }

    /// Sends once more what was settled: a copy that was under way for very long.
    pub(super) fn send_again(&mut self, around: &mut Context<'_>) -> Option<Sends> {
        let session = self.session.clone()?;
        let past: Vec<(u64, u64, Arc<Said>)> = self.past.iter().cloned().collect();
        let found = (!past.is_empty()).then(|| around.rng.pick(&past));
        let (stream, number, said) = found.filter(|(stream, ..)| Some(*stream) == self.stream)?;
        let send = self.send_of(session, (stream, number), &said);
        let request = Request::Send(send);
        Some(self.ask(around, request, Some(said), true))
    }

    // -- ports --

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

    // -- reading --

    fn mark(&self, log: LogNumber) -> Mark {
        self.kept
            .get(&log)
            .map_or(Mark::default(), |kept| kept.mark)
    }

    fn behind(&self) -> Option<&LogInfo> {
        self.logs
            .values()
            .find(|log| log.head > self.mark(log.log).id)
    }

    fn fetch(&self, session: String) -> Option<Request> {
        if let Some(body) = self.missing_body(&session) {
            return Some(body);
        }
        let log = self.behind()?.log;
        let is_fetch =
            |request: &Request| matches!(request, Request::Fetch(fetch) if fetch.log == log);
        if self.is_asking(is_fetch) {
            return None;
        }
        let mark = self.mark(log);
        Some(Request::Fetch(request::Fetch {
            session,
            log,
            after: mark.id,
            n: Some(mark.n),
            mails: 3,
            bytes: 1_000,
        }))
    }

    fn missing_body(&self, session: &str) -> Option<Request> {
        let is_body = |request: &Request| matches!(request, Request::Body(_));
        if self.is_asking(is_body) {
            return None;
        }
        let mut missing = self
            .kept
            .iter()
            .flat_map(|(log, kept)| kept.bodies.iter().map(|(id, offset)| (*log, *id, *offset)));
        let (log, id, offset) = missing.next()?;
        Some(Request::Body(request::Body {
            session: session.to_owned(),
            log,
            id,
            offset,
        }))
    }

    fn unacked(&self) -> Vec<(LogNumber, MailId)> {
        let is_new = |(log, kept): &(&LogNumber, &Kept)| {
            self.logs.contains_key(log)
                && kept.bodies.is_empty()
                && self.acked.get(log).copied().unwrap_or(0) < kept.mark.id
        };
        let found = self.kept.iter().filter(is_new);
        found.map(|(log, kept)| (*log, kept.mark.id)).collect()
    }

    /// Acknowledges what is new; at times only a part, or what was acknowledged long ago.
    fn ack(&self, around: &mut Context<'_>, session: String) -> Option<Request> {
        let mut logs = self.unacked();
        if !around.calm && around.rng.chance(20) {
            logs.extend(self.older_mark(around.rng));
        }
        (!logs.is_empty()).then_some(Request::Ack(request::Ack { session, logs }))
    }

    fn older_mark(&self, rng: &mut Rng) -> Option<(LogNumber, MailId)> {
        let held: Vec<(LogNumber, MailId)> = self
            .kept
            .iter()
            .filter(|(_, kept)| kept.bodies.is_empty())
            .filter_map(|(log, kept)| Some((*log, *kept.held.first()?)))
            .collect();
        (!held.is_empty()).then(|| rng.pick(&held))
    }

    // -- prying --

    /// Tries to read what is another's, by number, by name, by his session or by his notice key.
    fn pry(&mut self, around: &mut Context<'_>) -> Option<Sends> {
        let own = self.session.clone()?;
        let rng = &mut *around.rng;
        let log = 1 + rng.below(9);
        let session = if rng.chance(50) && !around.sessions.is_empty() {
            rng.pick(around.sessions)
        } else {
            own
        };
        let id = 1 + rng.below(self.known.max(1));
        let request = match rng.below(6) {
            0 => Request::Fetch(request::Fetch {
                session,
                log,
                after: 0,
                n: None,
                mails: 3,
                bytes: 1_000,
            }),
            1 => Request::History(request::History {
                session,
                address: rng.pick(around.addresses),
                mails: 2,
                before: None,
            }),
            2 => Request::Body(request::Body {
                session,
                log,
                id,
                offset: 0,
            }),
            3 => Request::Ack(request::Ack {
                session,
                // Never further than what this device holds, or it would lose mail by its own doing.
                logs: vec![(log, id.min(self.mark(log).id))],
            }),
            _ if !around.keys.is_empty() => return Some(Sends::Subscribe(rng.pick(around.keys))),
            _ => Request::Logs(request::Logs { session, after: 0 }),
        };
        Some(self.ask(around, request, None, true))
    }
}

fn key_of(user: &str, index: usize, keys: u64) -> PublicKey {
    *blake3::hash(format!("{user} {index} {keys}").as_bytes()).as_bytes()
}

fn invite(session: String) -> Request {
    Request::Invite(request::Invite {
        session,
        user: None,
        device: true,
    })
}

fn join(session: String, topic: &str, from: From) -> Request {
    Request::Join(request::Join {
        session,
        topic: topic.parse().expect("topics of the simulator are names"),
        from,
    })
}
