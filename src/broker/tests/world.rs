//! A core with its shell played by hand: a store in memory, commits that come back when a test says so,
//! and devices that keep what a client would.

use std::collections::{HashMap, VecDeque};

use super::super::core::Core;
use super::super::io::{Input, Now, Output, Peer, Settings, Ticket};
use crate::protocol::codes::Code;
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::request::{self, AdminWhat, From, Request};
use crate::protocol::{LogNumber, MailId, PublicKey, reply};
use crate::store::memory::Memory;
use crate::store::{Change, Query, Store};

/// The core with a store whose commits return when the test says so.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) store: Memory,
    pub(super) settings: Settings,
    pub(super) now: Now,
    /// Commits that are not on disk yet.
    pub(super) under_way: VecDeque<(Ticket, Vec<Change>)>,
    pub(super) held: bool,
    /// Reads that are not answered yet, when the disk is slow.
    pub(super) reads: VecDeque<(Ticket, Query)>,
    pub(super) slow_disk: bool,
    pub(super) replies: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    pub(super) notices: Vec<(NoticeKey, Notice)>,
    /// The bodies that went along with notices of mails.
    pub(super) bodies: Vec<Option<Vec<u8>>>,
    pub(super) granted: Vec<NoticeKey>,
    /// How often the live socket was opened anew.
    pub(super) renewed: usize,
    pub(super) round_trips: usize,
    pub(super) cut: usize,
    pub(super) commits: usize,
    pub(super) changes: usize,
    /// Where each key's connection comes from; `127.0.0.1` for those that are not here.
    pub(super) addresses: HashMap<&'static str, &'static str>,
    asked: u64,
}

pub(super) fn key_of(name: &str) -> PublicKey {
    *blake3::hash(name.as_bytes()).as_bytes()
}

pub(super) const ADMIN: &str = "the admin key";

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            admin_keys: vec![key_of(ADMIN)],
            ..Settings::default()
        };
        change(&mut settings);
        Self::over(
            Memory::new(),
            settings,
            Now {
                mono_ms: 0,
                wall_ms: 1_000_000,
            },
        )
    }

    pub(super) fn over(mut store: Memory, settings: Settings, now: Now) -> Self {
        let snapshot = store.load().unwrap();
        let core = Core::new(settings.clone(), snapshot, now);
        let mut world = Self {
            core,
            store,
            settings,
            now,
            under_way: VecDeque::new(),
            held: false,
            reads: VecDeque::new(),
            slow_disk: false,
            replies: Vec::new(),
            notices: Vec::new(),
            bodies: Vec::new(),
            granted: Vec::new(),
            renewed: 0,
            round_trips: 0,
            cut: 0,
            commits: 0,
            changes: 0,
            addresses: HashMap::new(),
            asked: 0,
        };
        world.drain();
        world.settle();
        world
    }

    /// The process dies: what was not on disk is gone.
    pub(super) fn crash(self) -> Self {
        let now = Now {
            mono_ms: 0,
            wall_ms: self.now.wall_ms,
        };
        let mut after = Self::over(self.store.clone_synced(), self.settings, now);
        // Random bytes do not begin anew with a process.
        after.asked = self.asked;
        after.addresses = self.addresses;
        after
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.drain();
        if !self.held {
            self.settle();
        }
    }

    pub(super) fn drain(&mut self) {
        loop {
            match self.core.poll_output() {
                Output::Reply { routing, frames } => {
                    self.replies
                        .push((routing, frames.iter().map(|f| f.to_vec()).collect()));
                }
                Output::Publish { key, header, body } => {
                    let notice = Notice::decode(&header).unwrap();
                    if matches!(notice, Notice::Mail { .. }) {
                        self.bodies.push(body.map(|body| body.to_vec()));
                    }
                    self.notices.push((key, notice));
                }
                Output::Grant(key) => self.granted.push(key),
                Output::Cut => self.cut += 1,
                Output::RenewLive => self.renewed += 1,
                Output::RoundTripped => self.round_trips += 1,
                Output::Commit(ticket, changes) => {
                    self.commits += 1;
                    self.changes += changes.len();
                    self.under_way.push_back((ticket, changes));
                }
                Output::Load(ticket, query) => self.reads.push_back((ticket, query)),
                Output::Idle { .. } => break,
            }
        }
        if !self.slow_disk {
            self.answer_reads();
        }
    }

    pub(super) fn answer_reads(&mut self) {
        while !self.reads.is_empty() {
            self.answer_a_read();
        }
    }

    /// Answers the oldest read.
    pub(super) fn answer_a_read(&mut self) {
        let Some((ticket, query)) = self.reads.pop_front() else {
            return;
        };
        let answer = self.store.reader().read(&query).unwrap();
        self.core.handle(self.now, Input::Loaded(ticket, answer));
        self.drain();
    }

    /// Everything under way reaches the disk.
    pub(super) fn settle(&mut self) {
        while let Some((ticket, changes)) = self.under_way.pop_front() {
            self.store.commit(&changes).unwrap();
            self.core.handle(self.now, Input::Committed(ticket));
            self.drain();
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms.cast_signed();
        self.handle(Input::Tick {
            disk_low: false,
            disk_free: None,
        });
    }

    pub(super) fn ask(&mut self, who: &str, request: &Request, body: Option<&[u8]>) {
        let mut frames = vec![b"1".to_vec(), request.encode()];
        frames.extend(body.map(<[u8]>::to_vec));
        self.raw(who, frames);
    }

    pub(super) fn raw(&mut self, who: &str, frames: Vec<Vec<u8>>) {
        let peer = Peer {
            routing: who.into(),
            key: key_of(who),
            address: self
                .addresses
                .get(who)
                .map_or("127.0.0.1", |address| address)
                .to_owned(),
        };
        self.asked += 1;
        let seed = format!("{who} {}", self.asked);
        let random = *blake3::hash(seed.as_bytes()).as_bytes();
        self.handle(Input::Request {
            peer,
            frames,
            random,
        });
    }

    pub(super) fn told(&mut self) -> Vec<Vec<u8>> {
        self.replies.pop().expect("a reply").1
    }

    pub(super) fn call<T: for<'a> serde::Deserialize<'a>>(
        &mut self,
        who: &str,
        request: &Request,
        body: Option<&[u8]>,
    ) -> Result<T, Code> {
        self.ask(who, request, body);

        match reply::decode(&self.told()[1]) {
            Ok(reply) => Ok(reply),
            Err(reply::DecodeError::Refused(error)) => Err(error.code),
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn subscribe(&mut self, who: &str, topic: &[u8]) -> bool {
        let before = self.granted.len();
        self.handle(Input::Subscribe {
            key: key_of(who),
            topic: topic.to_vec(),
            sure: true,
        });
        self.granted.len() > before
    }

    pub(super) fn admin(
        &mut self,
        what: AdminWhat,
        address: Option<&str>,
    ) -> Result<reply::Rows, Code> {
        let admin = request::Admin {
            what,
            after: None,
            address: address.map(str::to_owned),
            body: false,
            particulars: request::Particulars::default(),
        };
        self.call(ADMIN, &Request::Admin(admin), None)
    }
}

/// A name for ever: keys of devices are named by `'static` texts.
pub(super) fn leaked(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}

/// One device of a user with a session.
pub(super) struct Device {
    pub(super) key: &'static str,
    pub(super) session: String,
    pub(super) stream: u64,
    pub(super) number: u64,
    pub(super) login: reply::Login,
}

impl Device {
    pub(super) fn register(world: &mut World, name: &'static str) -> Self {
        Self::register_with(world, name, name, None)
    }

    pub(super) fn register_with(
        world: &mut World,
        key: &'static str,
        user: &str,
        code: Option<String>,
    ) -> Self {
        let register = request::Register {
            user: Some(user.parse().unwrap()),
            device: "test".into(),
            code,
        };
        drop::<reply::Registered>(world.call(key, &Request::Register(register), None).unwrap());
        Self::login(world, key, &[])
    }

    pub(super) fn login(world: &mut World, key: &'static str, topics: &[&str]) -> Self {
        let login = request::Login {
            topics: topics.iter().map(|topic| topic.parse().unwrap()).collect(),
            want_stream: true,
            ..request::Login::default()
        };
        let login: reply::Login = world.call(key, &Request::Login(login), None).unwrap();
        let stream = login.stream.unwrap();
        Self {
            key,
            session: login.session.clone(),
            stream,
            number: 0,
            login,
        }
    }

    pub(super) fn request(&self, number: u64, to: &[&str]) -> request::Send {
        request::Send {
            session: self.session.clone(),
            stream: self.stream,
            number,
            settled_below: 1,
            to: to.iter().map(|name| (*name).to_owned()).collect(),
            subject: String::new(),
            content_type: request::default_content_type(),
            ttl_s: None,
            parts: None,
            in_reply_to: None,
            thread: None,
        }
    }

    pub(super) fn send(
        &mut self,
        world: &mut World,
        to: &[&str],
        body: &str,
    ) -> Vec<reply::Outcome> {
        self.number += 1;
        let request = self.request(self.number, to);
        let sent: reply::Sent = world
            .call(self.key, &Request::Send(request), Some(body.as_bytes()))
            .unwrap();
        sent.outcomes
    }

    /// Asks in this device's session.
    pub(super) fn ask<T: for<'a> serde::Deserialize<'a>>(
        &self,
        world: &mut World,
        request: impl FnOnce(String) -> Request,
    ) -> Result<T, Code> {
        world.call(self.key, &request(self.session.clone()), None)
    }

    pub(super) fn join(
        &self,
        world: &mut World,
        topic: &str,
        from: From,
    ) -> Result<reply::Logs, Code> {
        let join = request::Join {
            session: self.session.clone(),
            topic: topic.parse().unwrap(),
            from,
        };
        world.call(self.key, &Request::Join(join), None)
    }

    pub(super) fn beat(&self, world: &mut World, known: MailId) -> Result<reply::Heartbeat, Code> {
        self.ask(world, |session| {
            Request::Heartbeat(request::Heartbeat { session, known })
        })
    }

    pub(super) fn leave(&self, world: &mut World, topic: &str) {
        let leave = request::Leave {
            session: self.session.clone(),
            topic: topic.parse().unwrap(),
        };
        drop::<reply::Done>(world.call(self.key, &Request::Leave(leave), None).unwrap());
    }

    pub(super) fn logs(&self, world: &mut World) -> Vec<reply::LogInfo> {
        let logs = request::Logs {
            session: self.session.clone(),
            after: 0,
        };
        world
            .call::<reply::Logs>(self.key, &Request::Logs(logs), None)
            .unwrap()
            .logs
    }

    pub(super) fn log(&self, world: &mut World, address: &str) -> reply::LogInfo {
        let logs = self.logs(world);
        logs.into_iter()
            .find(|log| log.address == address)
            .expect("a log the user reads")
    }

    pub(super) fn fetch(
        &self,
        world: &mut World,
        log: &reply::LogInfo,
    ) -> (reply::Page, Vec<Vec<u8>>) {
        self.fetch_after(world, log.log, log.cursor, Some(log.n))
    }

    pub(super) fn fetch_after(
        &self,
        world: &mut World,
        log: LogNumber,
        after: MailId,
        n: Option<u64>,
    ) -> (reply::Page, Vec<Vec<u8>>) {
        let fetch = request::Fetch {
            session: self.session.clone(),
            log,
            after,
            n,
            mails: 100,
            bytes: 1 << 20,
        };
        world.ask(self.key, &Request::Fetch(fetch), None);
        let mut frames = world.told();
        let bodies = frames.split_off(2);
        (reply::decode(&frames[1]).unwrap(), bodies)
    }

    pub(super) fn ack(&self, world: &mut World, log: LogNumber, id: MailId) {
        let ack = request::Ack {
            session: self.session.clone(),
            logs: vec![(log, id)],
        };
        drop::<reply::Done>(world.call(self.key, &Request::Ack(ack), None).unwrap());
    }
}

pub(super) fn id_of(outcome: &reply::Outcome) -> MailId {
    match outcome {
        reply::Outcome::Sent { id, .. } => *id,
        reply::Outcome::Refused { error, .. } => panic!("refused: {error}"),
    }
}

pub(super) fn code_of(outcome: &reply::Outcome) -> Code {
    match outcome {
        reply::Outcome::Sent { .. } => panic!("sent"),
        reply::Outcome::Refused { error, .. } => error.code,
    }
}
