//! Years of crashes in seconds: the real core, everything around it simulated from one seed.
//!
//! Devices that behave, spies that do not, an administrator, a network that loses, delays, repeats,
//! reorders and splits, a disk that fails, fills up and keeps what it likes of what was not synced, a wall
//! clock that jumps, and a server that is killed at any moment. With each step the model ([`model`]) is
//! asked whether the promises still hold; at the end everything heals, and every device must hold exactly
//! what was acknowledged to it, or have been told how many are gone.
//!
//! The simulator shares nothing with what it judges: it replays the changes by itself ([`ledger`]), says
//! which of them may be decided ([`law`], [`ports`]), and judges every frame as it leaves ([`judge`]).
//!
//! `CORREIO_SEEDS=N` says how many seeds, `CORREIO_FIRST_SEED=M` from which on, `CORREIO_SEED=S` replays
//! one and tells what went over the network.

mod admin;
mod back;
mod chat;
mod device;
mod disk;
mod faults;
mod hear;
mod judge;
mod law;
mod ledger;
mod model;
mod network;
mod ports;
mod rng;
mod run;
mod strike;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use self::back::StoreCopy;
use self::device::{Context, Device, Sends};
use self::disk::Disk;
use self::faults::{Faults, Mix, Weather};
use self::judge::Waiting;
use self::model::{Cause, Limits, Model, Said, Time};
use self::rng::Rng;
use self::run::number;
use self::strike::{End, Trouble};
use super::core::Core;
use super::io::{Input, Now, Output, Peer, Settings, Ticket};
use crate::protocol::PublicKey;
use crate::protocol::notice::NoticeKey;
use crate::protocol::request::Request;
use crate::store::{Change, Query};

/// Steps of one seed, before everything heals.
const STEPS: u64 = 1_000;

/// Milliseconds in which everything under way arrives once the world is healed.
const CALM_MS: u64 = 150;

/// Steps after which a healed world must have come to rest.
const HEALING_STEPS: u64 = 60_000;

/// What can happen next.
#[derive(Debug)]
enum Event {
    /// A device does something.
    Act(usize),
    Administer,
    /// Frames reach the server.
    Request(Box<Arriving>),
    Subscribe {
        conn: u64,
        key: PublicKey,
        topic: NoticeKey,
    },
    /// Frames reach a device.
    Reply {
        conn: u64,
        frames: Vec<Vec<u8>>,
    },
    Notice {
        conn: u64,
        header: Arc<[u8]>,
        body: Option<Arc<[u8]>>,
    },
    Write(u64),
    Sync(u64),
    Read(u64, Ticket, Query),
    Tick,
    Start,
    /// Every frame of before is through: what each device knows of the server is asked for anew.
    Settle,
}

impl Event {
    /// Says whether something comes over the network.
    fn is_frame(&self) -> bool {
        matches!(
            self,
            Self::Request(_) | Self::Subscribe { .. } | Self::Reply { .. } | Self::Notice { .. }
        )
    }
}

/// A request on its way to the server.
#[derive(Debug, Clone)]
struct Arriving {
    conn: u64,
    key: PublicKey,
    frames: Vec<Vec<u8>>,
    request: Arc<Request>,
    said: Option<Arc<Said>>,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "independent states of a run, each asked by its name"
)]
struct Sim {
    rng: Rng,
    /// The simulator's own clock.
    time_ms: u64,
    /// The machine's wall clock.
    wall_ms: i64,
    /// When this process of the server began.
    started_ms: u64,
    order: u64,
    events: BTreeMap<(u64, u64), Event>,
    settings: Settings,
    core: Option<Core>,
    /// Whether this process takes what comes: its start is carried out.
    has_begun: bool,
    /// What came before that, and waits in its sockets.
    held: Vec<Event>,
    /// Which process of the server this is: what an earlier one asked of the disk is void.
    life: u64,
    /// Outputs that this process still gets out before it is killed.
    fuse: Option<u64>,
    disk: Disk,
    /// An earlier state of the store.
    copy: Option<StoreCopy>,
    trouble: Option<Trouble>,
    low_until_ms: u64,
    devices: Vec<Device>,
    addresses: Vec<String>,
    codes: BTreeMap<String, Vec<String>>,
    spent: Vec<(String, String)>,
    /// The device behind each connection that stands.
    conns: HashMap<u64, usize>,
    cut_until_ms: Vec<u64>,
    deaf_until_ms: Vec<u64>,
    granted: HashMap<u64, (PublicKey, HashSet<NoticeKey>)>,
    /// The live connections that stand.
    live: HashSet<u64>,
    waiting: Waiting,
    /// The request being taken, by its place in `waiting`.
    taking: Option<(u64, u64)>,
    /// Why the core decides what it decides now.
    cause: Cause,
    /// What spies may know.
    keys: Vec<NoticeKey>,
    sessions: Vec<String>,
    model: Model,
    weather: Weather,
    mix: Mix,
    calm: bool,
    is_settled: bool,
    telling: bool,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (weather, mix) = (Weather::new(&mut rng), Mix::new(&mut rng));
        let settings = settings(&mut rng);
        let devices = vec![
            Device::new(0, "ana", &["news", "lab/*"]),
            Device::new(1, "bob", &["news", "lab/laser"]),
            Device::new(2, "carla", &["lab/laser"]),
            Device::new(3, "ana", &[]),
            Device::new(4, "bob", &["lab/a"]),
        ];
        let addresses = ["ana", "bob", "carla", "news", "lab/laser", "lab/a", "lab/b"];
        let model = Model::new(limits(&settings));
        let mut sim = Self {
            rng,
            time_ms: 0,
            wall_ms: 1_700_000_000_000,
            started_ms: 0,
            order: 0,
            events: BTreeMap::new(),
            settings,
            core: None,
            has_begun: false,
            held: Vec::new(),
            life: 0,
            fuse: None,
            disk: Disk::new(),
            copy: None,
            trouble: None,
            low_until_ms: 0,
            cut_until_ms: vec![0; devices.len()],
            deaf_until_ms: vec![0; devices.len()],
            devices,
            addresses: addresses.map(str::to_owned).to_vec(),
            codes: BTreeMap::new(),
            spent: Vec::new(),
            conns: HashMap::new(),
            granted: HashMap::new(),
            live: HashSet::new(),
            waiting: Waiting::new(),
            taking: None,
            cause: Cause::Other,
            keys: Vec::new(),
            sessions: Vec::new(),
            model,
            weather,
            mix,
            calm: false,
            is_settled: false,
            telling: number("CORREIO_SEED").is_some(),
        };
        sim.begin();
        sim
    }

    fn begin(&mut self) {
        self.start();
        for index in 0..self.devices.len() {
            let conn = self.connect(index);
            self.devices[index].restart(conn);
            self.at(1, Event::Act(index));
        }
        self.at(100, Event::Tick);
        self.at(400, Event::Administer);
    }

    fn at(&mut self, ahead_ms: u64, event: Event) {
        self.order += 1;
        self.events
            .insert((self.time_ms + ahead_ms, self.order), event);
    }

    fn connect(&mut self, device: usize) -> u64 {
        self.order += 1;
        self.conns.retain(|_, of| *of != device);
        self.conns.insert(self.order, device);
        self.order
    }

    // -- one seed --

    fn run(mut self) -> Faults {
        for _ in 0..STEPS {
            self.strike();
            self.step();
        }
        self.heal();
        for _ in 0..HEALING_STEPS {
            if self.is_at_rest() {
                self.judge_the_end();
                self.model.faults.chats = self.model.chats.count();
                self.model.faults.torn_batches = self.disk.torn;
                return self.model.faults;
            }
            self.step();
        }
        panic!(
            "the healed world does not come to rest: {:#?}",
            self.devices
        );
    }

    fn is_at_rest(&self) -> bool {
        let newest = self.model.decided.last_id;
        self.is_settled
            && self.core.as_ref().is_some_and(Core::is_settled)
            && self.disk.is_idle()
            && self.devices.iter().all(|device| device.is_done(newest))
    }

    fn heal(&mut self) {
        self.calm = true;
        self.fuse = None;
        self.trouble = None;
        self.low_until_ms = 0;
        self.cut_until_ms.fill(0);
        self.deaf_until_ms.fill(0);
        self.weather = Weather::calm(&mut self.rng);
        self.start();
        self.hurry();
        self.at(2 * CALM_MS, Event::Settle);
    }

    /// Whatever is under way arrives soon: nothing of the bad days comes into the calm ones.
    fn hurry(&mut self) {
        let late = self.events.split_off(&(self.time_ms + CALM_MS, 0));
        for (place, event) in late {
            if event.is_frame() {
                let soon = self.rng.below(CALM_MS);
                self.at(soon, event);
            } else {
                self.events.insert(place, event);
            }
        }
    }

    fn settle(&mut self) {
        self.is_settled = true;
        for device in &mut self.devices {
            device.must_ask = true;
        }
    }

    fn step(&mut self) {
        let Some(((at, _), event)) = self.events.pop_first() else {
            panic!("the world stands still");
        };
        let passed = at.saturating_sub(self.time_ms);
        self.time_ms = self.time_ms.max(at);
        self.wall_ms += passed.cast_signed();
        self.tell_time();
        self.model.faults.steps += 1;
        self.happen(event);
    }

    fn tell_time(&mut self) {
        self.model.time = Time {
            ms: self.time_ms,
            wall_ms: self.wall_ms,
            started_ms: self.started_ms,
        };
        self.model.wall_max_ms = self.model.wall_max_ms.max(self.wall_ms);
    }

    fn happen(&mut self, event: Event) {
        if self.must_wait(&event) {
            return self.held.push(event);
        }
        self.tell(&event);
        match event {
            Event::Act(device) => self.act(device),
            Event::Administer => self.administer(),
            Event::Request(arriving) => self.request(*arriving),
            Event::Subscribe { conn, key, topic } => self.subscribe(conn, key, topic),
            Event::Reply { conn, frames } => self.hear(conn, &frames),
            Event::Notice { conn, header, body } => self.notice(conn, &header, body.as_deref()),
            Event::Write(life) if life == self.life => self.disk.write(),
            Event::Sync(life) if life == self.life => self.sync(),
            Event::Read(life, ticket, query) if life == self.life => self.read(ticket, &query),
            Event::Write(_) | Event::Sync(_) | Event::Read(..) => {}
            Event::Tick => self.tick(),
            Event::Start => self.start(),
            Event::Settle => self.settle(),
        }
        self.look_begun();
    }

    /// Says whether something for the server waits until its start is carried out.
    fn must_wait(&self, event: &Event) -> bool {
        let is_for_it = matches!(event, Event::Request(_) | Event::Subscribe { .. });
        is_for_it && self.core.is_some() && !self.has_begun
    }

    fn look_begun(&mut self) {
        let is_settled = self.core.as_ref().is_some_and(Core::is_settled);
        if is_settled && !self.has_begun {
            self.has_begun = true;
            for event in std::mem::take(&mut self.held) {
                self.happen(event);
            }
        }
    }

    // -- the server --

    fn now(&self) -> Now {
        Now {
            mono_ms: self.time_ms - self.started_ms,
            wall_ms: self.wall_ms,
        }
    }

    fn start(&mut self) {
        if self.core.is_some() {
            return;
        }
        if self.start_fails() {
            let again = 200 + self.rng.below(2_000);
            self.at(again, Event::Start);
            return;
        }
        self.started_ms = self.time_ms;
        self.tell_time();
        let snapshot = self.disk.load();
        self.model.restarted(&self.disk.synced);
        self.cause = Cause::Start;
        self.has_begun = false;
        self.held.clear();
        self.core = Some(Core::new(self.settings.clone(), snapshot, self.now()));
        self.drain(None);
        if !self.calm && self.rng.chance(4) {
            self.model.faults.kills_at_start += 1;
            let end = self.rng.pick(&[End::Kill, End::PowerCut]);
            self.die(end);
        }
        // libzmq connects again by itself, on a new connection.
        for device in 0..self.devices.len() {
            let conn = self.connect(device);
            self.devices[device].reconnect(conn);
        }
    }

    fn handle(&mut self, cause: Cause, input: Input) {
        let now = self.now();
        if let Some(core) = self.core.as_mut() {
            self.cause = cause;
            core.handle(now, input);
            self.drain(None);
        }
    }

    fn tick(&mut self) {
        self.at(250, Event::Tick);
        if !self.has_begun {
            return;
        }
        let disk_low = self.low_until_ms > self.time_ms;
        self.model.disk_low = disk_low;
        self.handle(
            Cause::Tick,
            Input::Tick {
                disk_low,
                disk_free: None,
            },
        );
        if self.core.is_some() {
            self.model.check_terms();
            self.take_stock();
        }
    }

    fn sync(&mut self) {
        if !self.disk.is_idle() && self.commit_fails() {
            return;
        }
        if let Some(ticket) = self.disk.sync(&mut self.rng) {
            self.handle(Cause::Other, Input::Committed(ticket));
        }
        if !self.disk.is_idle() {
            self.at(3, Event::Sync(self.life));
        }
    }

    fn read(&mut self, ticket: Ticket, query: &Query) {
        if self.core.is_some() && !self.read_fails() {
            let answer = self.disk.read(query);
            self.handle(Cause::Other, Input::Loaded(ticket, answer));
        }
    }

    fn request(&mut self, arriving: Arriving) {
        if self.core.is_none() {
            return;
        }
        let random = self.rng.bytes();
        let Arriving {
            conn,
            key,
            frames,
            request,
            said,
        } = arriving;
        self.order += 1;
        self.note_deed(&request, self.order);
        self.model.taken(&request, key, self.order);
        let id = frames[0].as_slice().try_into().expect("a number");
        let row = (key, self.disk.last_pushed, self.order);
        let handled = self.model.handled(&request, said, row);
        let place = (conn, u64::from_be_bytes(id));
        let cause = handled.cause();
        self.waiting.entry(place).or_default().push_back(handled);
        let peer = Peer {
            routing: conn.to_be_bytes().to_vec(),
            key,
            address: "192.0.2.7".into(),
        };
        self.taking = Some(place);
        self.handle(
            cause,
            Input::Request {
                peer,
                frames,
                random,
            },
        );
        self.taking = None;
    }

    fn subscribe(&mut self, conn: u64, key: PublicKey, topic: NoticeKey) {
        let now = self.now();
        let is_there = self.conns.contains_key(&conn);
        if let Some(core) = self.core.as_mut().filter(|_| is_there) {
            // ZAP lets a device of a user in, and nobody else.
            if !self.live.contains(&conn) && !core.may_connect_live(&key) {
                return;
            }
            self.live.insert(conn);
            let topic = topic.to_bytes().to_vec();
            self.cause = Cause::Other;
            let input = Input::Subscribe {
                key,
                topic,
                sure: true,
            };
            core.handle(now, input);
            self.drain(Some((conn, key)));
        }
    }

    fn drain(&mut self, subscriber: Option<(u64, PublicKey)>) {
        while let Some(core) = self.core.as_mut() {
            match core.poll_output() {
                Output::Idle { .. } => break,
                Output::Commit(ticket, changes) => self.commit(ticket, changes),
                Output::Load(ticket, query) => {
                    let delay = self.delay();
                    self.at(delay, Event::Read(self.life, ticket, query));
                }
                told => self.tell_world(told, subscriber),
            }
            if self.burns_out() {
                self.model.faults.kills_in_a_turn += 1;
                self.die(End::Kill);
            }
        }
    }

    /// Says whether the process is killed here, in the middle of a turn.
    fn burns_out(&mut self) -> bool {
        let left = self.fuse;
        self.fuse = left.and_then(|left| left.checked_sub(1));
        left == Some(0) && self.core.is_some()
    }

    fn commit(&mut self, ticket: Ticket, changes: Vec<Change>) {
        let cause = self.cause.clone();
        self.model.committing(&changes, &cause);
        if self.disk.is_idle() {
            let sync = 2 + self.delay();
            self.at(sync, Event::Sync(self.life));
        }
        self.disk.push(ticket, changes);
        let write = self.rng.below(20);
        self.at(write, Event::Write(self.life));
        self.look_again();
    }

    // -- devices --

    fn act(&mut self, index: usize) {
        let pause = 1 + self.rng.below(60);
        self.at(pause, Event::Act(index));
        let wanting = self.wanting();
        let mut around = Context {
            now_ms: self.time_ms,
            addresses: &self.addresses,
            calm: self.calm,
            mix: self.mix,
            codes: &mut self.codes,
            spent: &mut self.spent,
            wanting: &wanting,
            keys: &self.keys,
            sessions: &self.sessions,
            rng: &mut self.rng,
        };
        let device = &mut self.devices[index];
        let again = around.rng.chance(2) && !around.calm;
        let sends = if again {
            device.send_again(&mut around)
        } else {
            device.act(&mut around)
        };
        let (conn, key) = (device.conn, device.key);
        if device.dies {
            self.model.faults.deaths_before_send += 1;
            self.client_dies(index);
        } else if let Some(sends) = sends {
            let pried = matches!(&sends, Sends::Request { .. }) && self.devices[index].has_pried();
            self.model.faults.old_retries += u64::from(again);
            self.model.faults.pried += u64::from(pried && !again);
            self.send((index, conn, key), &sends);
        }
    }

    /// Users of whom a device waits for a code and none is on its way.
    fn wanting(&self) -> BTreeSet<String> {
        let waits = |device: &&Device| {
            let waiting = self.codes.get(&device.user).map_or(0, Vec::len);
            device.needs_code && device.code.is_none() && waiting == 0
        };
        let devices = self.devices.iter().filter(waits);
        devices.map(|device| device.user.clone()).collect()
    }

    fn administer(&mut self) {
        let pause = 200 + self.rng.below(800);
        self.at(pause, Event::Administer);
        let has_none = |user: &String| {
            let devices = self.devices.iter();
            !devices.filter(|d| d.user == *user).any(|d| d.registered)
        };
        let stuck: Vec<String> = self.wanting().into_iter().filter(has_none).collect();
        let decided = &self.model.decided;
        let request = admin::choose(&mut self.rng, self.mix, self.calm, decided, &stuck);
        self.order += 1;
        let frames = vec![self.order.to_be_bytes().to_vec(), request.encode()];
        let arriving = Arriving {
            conn: admin::CONN,
            key: admin::KEY,
            frames,
            request: Arc::new(request),
            said: None,
        };
        let delay = self.delay();
        self.at(delay, Event::Request(Box::new(arriving)));
    }
}

fn settings(rng: &mut Rng) -> Settings {
    Settings {
        admin_keys: vec![admin::KEY],
        chat_ports: (5600..5604).collect(),
        lease_ttl_ms: 2_000 + rng.below(8_000),
        port_rest_ms: rng.below(3_000),
        invitation_ttl_ms: 1_000 + rng.below(10_000),
        ports_per_user: 1 + rng.index(3),
        log_mails_max: if rng.chance(30) {
            5 + rng.below(10)
        } else {
            1_000_000
        },
        history_mails: rng.below(10),
        history_seconds: if rng.chance(20) { 3 } else { 30 * 86_400 },
        ..Settings::default()
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        log_mails_max: settings.log_mails_max,
        history_mails: settings.history_mails,
        history_seconds: settings.history_seconds,
        lease_ttl_ms: settings.lease_ttl_ms,
        port_rest_ms: settings.port_rest_ms,
        ports_per_user: settings.ports_per_user,
    }
}
