//! The whole broker without its sockets: the core over a store in memory, driven by a script.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use correio::broker::core::Core;
use correio::broker::io::{Input, Now, Output, Peer, Registration, Settings, Ticket};
use correio::fuzzing::store::verify;
use correio::limits::{FRAME_BYTES_MAX, NOTICE_BODY_BYTES_MAX};
use correio::protocol::PublicKey;
use correio::protocol::codes::Code;
use correio::protocol::notice::{Notice, NoticeKey};
use correio::store::memory::Memory;
use correio::store::{Change, Query, Store};
use serde_json::Value;

use super::lines::{number, orders};

/// A script of what may reach a broker, an order a line:
///
/// - `a`, `b`, `c`, `d` and a header: a request of ana, bob, a stranger, an administrator. In it `$s`, `$t`,
///   `$p`, `$e` stand for the asker's session, stream, port and its epoch, `$o` for another's session, `$h`
///   for the last chat, `$c` for the last code. A tab begins a body; `*9` is one of nine bytes.
/// - `A`, `B`, `C` and log and generation, or any bytes: a subscription.
/// - `U`, `D` and the same: a subscription of bob's, and a grant, that may be another's. `s`: no subscription.
/// - `r` and frames parted by tabs: any frames, of the stranger.
/// - `t`, `T` and seconds: time passes, with room on the disk or without.
/// - `h`, `w`: commits, or reads, take long from now on, or no longer. `x`: stop. `R`: killed, and back.
///
/// Whatever comes: each request is answered once, in the form of a reply and not before what it rests on
/// is on disk; nobody is granted or given what is another's; the store fits together at the end.
pub(super) fn core(script: &[u8]) {
    let mut world = World::new(script.first() == Some(&b'0'));
    for (key, user) in [(b'a', "ana"), (b'b', "bob")] {
        world.begin(key, user);
    }
    for (order, rest) in orders(script) {
        world.obey(order, rest);
    }
    world.finish();
}

#[derive(Default)]
struct Client {
    session: String,
    stream: u64,
    port: u64,
    epoch: u64,
    user: Option<String>,
}

struct World {
    core: Core,
    store: Memory,
    settings: Settings,
    now: Now,
    clients: BTreeMap<u8, Client>,
    chat: String,
    code: String,
    /// By routing id: who asked, and how often it was answered.
    asked: BTreeMap<Vec<u8>, (u8, u32)>,
    /// Asked before the last kill: may stay unanswered.
    killed: BTreeSet<Vec<u8>>,
    commits: VecDeque<(Ticket, Vec<Change>)>,
    reads: VecDeque<(Ticket, Query)>,
    held: bool,
    slow: bool,
    granted: BTreeSet<NoticeKey>,
    senders: BTreeMap<u64, String>,
    /// The subscription being handled.
    subscribing: Option<(u8, Vec<u8>)>,
    /// Names were removed or freed: a user's may be a topic's now.
    names_move: bool,
}

fn key_of(who: u8) -> PublicKey {
    [who; 32]
}

fn settings(closed: bool) -> Settings {
    Settings {
        admin_keys: vec![key_of(b'd')],
        registration: if closed {
            Registration::Invite
        } else {
            Registration::Open
        },
        topics_open: !closed,
        chat_ports: (5600..=5602).collect(),
        ports_per_user: 2,
        body_bytes_max: 100_000,
        log_mails_max: 8,
        log_bytes_max: 150_000,
        history_mails: 3,
        history_seconds: 1_000,
        ..Settings::default()
    }
}

impl World {
    fn new(closed: bool) -> Self {
        let (mut store, settings) = (Memory::new(), settings(closed));
        let now = Now {
            mono_ms: 1_000,
            wall_ms: 1_700_000_000_000,
        };
        let snapshot = store.load().expect("a new store loads");
        let mut world = Self {
            core: Core::new(settings.clone(), snapshot, now),
            store,
            settings,
            now,
            clients: BTreeMap::new(),
            chat: String::new(),
            code: String::new(),
            asked: BTreeMap::new(),
            killed: BTreeSet::new(),
            commits: VecDeque::new(),
            reads: VecDeque::new(),
            held: false,
            slow: false,
            granted: BTreeSet::new(),
            senders: BTreeMap::new(),
            subscribing: None,
            names_move: false,
        };
        world.drain();
        world.advance();
        world
    }

    /// Makes a user, with a code where one is needed, and logs him in.
    fn begin(&mut self, key: u8, user: &str) {
        let mut code = "";
        if self.settings.registration == Registration::Invite {
            let invite = format!(r#"{{"verb":"invite","user":"{user}"}}"#);
            self.ask(b'd', invite.as_bytes());
            code = r#","code":"$c""#;
        }
        let register = format!(r#"{{"verb":"register","user":"{user}"{code}}}"#);
        self.ask(key, register.as_bytes());
        self.ask(
            key,
            br#"{"verb":"login","want_stream":true,"want_port":true}"#,
        );
        assert!(!self.word(key, b's').is_empty(), "{user} is logged in");
    }

    fn obey(&mut self, order: u8, rest: &[u8]) {
        match order {
            b'a'..=b'd' => self.ask(order, rest),
            b'A'..=b'C' => self.subscribe(order.to_ascii_lowercase(), rest, true),
            b'U' => self.subscribe(b'b', rest, false),
            b'D' => self.doubt(rest),
            b's' => self.handle(Input::Stray { key: key_of(b'b') }),
            b'r' => self.raw(
                b'c',
                rest.split(|byte| *byte == b'\t')
                    .map(<[u8]>::to_vec)
                    .collect(),
            ),
            b't' | b'T' => self.pass(number(rest).0 % 10_000_000, order == b'T'),
            b'h' => self.held ^= true,
            b'w' => self.slow ^= true,
            b'x' => self.handle(Input::Shutdown),
            b'R' => self.restart(),
            _ => {}
        }
        self.advance();
    }

    fn ask(&mut self, who: u8, rest: &[u8]) {
        let mut parts = rest.split(|byte| *byte == b'\t');
        let header = self.filled(who, parts.next().unwrap_or_default());
        self.names_move |= header.windows(7).any(|word| word == b"\"admin\"");
        let mut frames = vec![b"id".to_vec(), header];
        frames.extend(parts.map(body));
        self.raw(who, frames);
        self.advance();
    }

    fn filled(&mut self, who: u8, header: &[u8]) -> Vec<u8> {
        let mut filled = Vec::with_capacity(header.len() + 64);
        let mut rest = header.iter();
        while let Some(byte) = rest.next() {
            if *byte == b'$' {
                let word = self.word(who, rest.next().copied().unwrap_or(b'$'));
                filled.extend(word.as_bytes());
            } else {
                filled.push(*byte);
            }
        }
        filled
    }

    fn word(&mut self, who: u8, name: u8) -> String {
        let other = if who == b'a' { b'b' } else { b'a' };
        let client = self.clients.entry(who).or_default();
        match name {
            b's' => client.session.clone(),
            b't' => client.stream.to_string(),
            b'p' => client.port.to_string(),
            b'e' => client.epoch.to_string(),
            b'h' => self.chat.clone(),
            b'c' => self.code.clone(),
            b'o' => self.clients.entry(other).or_default().session.clone(),
            _ => "$".to_owned(),
        }
    }

    fn raw(&mut self, who: u8, frames: Vec<Vec<u8>>) {
        let count = self.asked.len() as u64;
        let routing = [&[who][..], &count.to_be_bytes()].concat();
        self.asked.insert(routing.clone(), (who, 0));
        let peer = Peer {
            routing,
            key: key_of(who),
            address: "192.0.2.7".to_owned(),
        };
        let random = std::array::from_fn(|at| {
            let mixed = (count + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed ^ (at as u64 * 0x0101)).to_be_bytes()[at % 8]
        });
        self.handle(Input::Request {
            peer,
            frames,
            random,
        });
    }

    fn subscribe(&mut self, who: u8, rest: &[u8], sure: bool) {
        let topic = key_in(rest).map_or_else(|| rest.to_vec(), |key| key.to_bytes().to_vec());
        self.subscribing = Some((who, topic.clone())).filter(|_| sure);
        let key = key_of(who);
        self.handle(Input::Subscribe { key, topic, sure });
        self.subscribing = None;
    }

    /// Nothing may be published under that key any more.
    fn doubt(&mut self, rest: &[u8]) {
        if let Some(key) = key_in(rest) {
            self.granted.remove(&key);
            self.handle(Input::Doubt(key));
        }
    }

    fn pass(&mut self, seconds: u64, disk_low: bool) {
        self.now.mono_ms += seconds * 1_000;
        self.now.wall_ms += (seconds * 1_000).cast_signed();
        self.handle(Input::Tick {
            disk_low,
            disk_free: None,
        });
    }

    /// What was not on disk is gone, and who was not answered may never be.
    fn restart(&mut self) {
        self.store = self.store.clone_synced();
        let snapshot = self.store.load().expect("what the broker wrote loads");
        self.now.mono_ms = 1_000;
        self.killed = self.asked.keys().cloned().collect();
        self.commits.clear();
        self.reads.clear();
        self.granted.clear();
        self.core = Core::new(self.settings.clone(), snapshot, self.now);
        self.drain();
    }

    fn handle(&mut self, input: Input) {
        let decided = matches!(
            input,
            Input::Request { .. } | Input::Subscribe { .. } | Input::Tick { .. }
        );
        let waits = decided && !self.commits.is_empty();
        let before = self.answers();
        self.core.handle(self.now, input);
        self.drain();
        assert!(
            !waits || self.answers() == before,
            "an answer did not wait for the disk"
        );
    }

    fn answers(&self) -> u32 {
        self.asked.values().map(|(_, answers)| answers).sum()
    }

    fn drain(&mut self) {
        loop {
            match self.core.poll_output() {
                Output::Reply { routing, frames } => self.replied(&routing, &frames),
                Output::Publish { key, header, body } => {
                    self.published(key, &header, body.as_deref());
                }
                Output::Grant(key) => self.grant(key),
                Output::Cut | Output::RenewLive | Output::RoundTripped => {}
                Output::Commit(ticket, changes) => self.commits.push_back((ticket, changes)),
                Output::Load(ticket, query) => self.reads.push_back((ticket, query)),
                Output::Idle { .. } => break,
            }
        }
    }

    /// What is under way comes back, unless it takes long.
    fn advance(&mut self) {
        loop {
            if !self.held
                && let Some((ticket, changes)) = self.commits.pop_front()
            {
                self.store
                    .commit(&changes)
                    .expect("memory takes what the broker writes");
                self.handle(Input::Committed(ticket));
            } else if !self.slow
                && let Some((ticket, query)) = self.reads.pop_front()
            {
                let answer = self
                    .store
                    .reader()
                    .read(&query)
                    .expect("what was written is read");
                self.handle(Input::Loaded(ticket, answer));
            } else {
                return;
            }
        }
    }

    fn replied(&mut self, routing: &[u8], frames: &[std::sync::Arc<[u8]>]) {
        let (who, answers) = self.asked.get_mut(routing).expect("it answers a request");
        let who = *who;
        *answers += 1;
        assert_eq!(*answers, 1, "a request was answered twice");
        assert!(frames.len() >= 2 && frames.iter().all(|frame| frame.len() <= FRAME_BYTES_MAX));
        let told: Value = serde_json::from_slice(&frames[1]).expect("a reply is JSON");
        match told["ok"].as_bool() {
            Some(true) => self.learn(who, &told),
            Some(false) => {
                let code: Code =
                    serde_json::from_value(told["error"]["code"].clone()).expect("a code");
                assert!(code != Code::Unknown && code != Code::Internal, "{told}");
            }
            None => panic!("no reply: {told}"),
        }
    }

    fn learn(&mut self, who: u8, told: &Value) {
        let known: Vec<String> = self
            .clients
            .values()
            .filter_map(|client| client.user.clone())
            .collect();
        let client = self.clients.entry(who).or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        client.session = text(&told["session"]).unwrap_or(std::mem::take(&mut client.session));
        client.stream = told["stream"].as_u64().unwrap_or(client.stream);
        client.port = told["lease"]["port"].as_u64().unwrap_or(client.port);
        client.epoch = told["lease"]["epoch"].as_u64().unwrap_or(client.epoch);
        if told["device"].is_u64() && told["chat"].is_null() {
            client.user = text(&told["user"]).or(client.user.take());
        }
        let user = client.user.clone();
        self.chat = text(&told["row"]["chat"]).unwrap_or(std::mem::take(&mut self.chat));
        self.code = text(&told["code"]).unwrap_or(std::mem::take(&mut self.code));
        for sent in told["outcomes"].as_array().into_iter().flatten() {
            if let (Some(id), Some(user)) = (sent["id"].as_u64(), &user) {
                let first = self.senders.entry(id).or_insert_with(|| user.clone());
                assert_eq!(first, user, "mail {id} has two senders");
            }
        }
        if let (Some(mails), Some(address)) = (told["mails"].as_array(), told["address"].as_str()) {
            let anothers =
                known.iter().any(|name| name == address) && user.as_deref() != Some(address);
            assert!(
                !anothers || self.names_move,
                "{user:?} was given mail of {address}"
            );
            for mail in mails {
                self.assert_sender(&mail["id"], &mail["from"]);
            }
        }
    }

    fn assert_sender(&self, id: &Value, from: &Value) {
        let known = id.as_u64().and_then(|id| self.senders.get(&id));
        assert!(
            known.is_none_or(|sender| from == sender.as_str()),
            "{id} is not from {from}"
        );
    }

    fn published(&mut self, key: NoticeKey, header: &[u8], body: Option<&[u8]>) {
        assert!(self.granted.contains(&key), "nobody was granted {key:?}");
        assert!(header.len() <= FRAME_BYTES_MAX);
        assert!(body.is_none_or(|body| body.len() <= NOTICE_BODY_BYTES_MAX));
        let notice = Notice::decode(header).expect("a notice is JSON");
        assert_ne!(notice, Notice::Unknown);
        if let Notice::Mail { log, envelope } = notice {
            assert_eq!(log, key.log);
            self.assert_sender(&envelope.id.into(), &envelope.from.into());
        }
    }

    /// Nothing but what was just asked for, and by a device.
    fn grant(&mut self, key: NoticeKey) {
        let (who, topic) = self
            .subscribing
            .as_ref()
            .expect("a subscription was asked for");
        assert_eq!(key.to_bytes()[..], topic[..]);
        let user = self
            .clients
            .get(who)
            .and_then(|client| client.user.as_ref());
        assert!(user.is_some(), "a stranger was granted {key:?}");
        self.granted.insert(key);
    }

    fn finish(&mut self) {
        (self.held, self.slow) = (false, false);
        self.advance();
        assert!(self.core.is_settled());
        for (routing, (_, answers)) in &self.asked {
            assert!(
                *answers == 1 || self.killed.contains(routing),
                "a request was not answered"
            );
        }
        let report = verify(&self.store).expect("memory reads");
        assert!(report.is_whole(), "{report:?}");
        self.restart();
        self.advance();
        assert!(self.core.is_settled());
    }
}

/// Reads log and generation, parted by a dot.
fn key_in(text: &[u8]) -> Option<NoticeKey> {
    let (log, rest) = number(text);
    let (generation, _) = number(rest.strip_prefix(b".")?);
    Some(NoticeKey { log, generation })
}

fn body(text: &[u8]) -> Vec<u8> {
    match text.strip_prefix(b"*") {
        Some(count) => vec![b'x'; number(count).0.min(70_000) as usize],
        None => text.to_vec(),
    }
}
