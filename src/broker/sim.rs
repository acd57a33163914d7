//! Years of crashes in seconds: the real core, everything around it simulated from one seed.
//!
//! Devices that behave, a network that loses, delays, repeats and reorders, a disk that keeps what it
//! likes of what was not synced, and a server that is killed at any moment. After each step the model
//! ([`model`]) is asked whether the promises still hold; at the end everything heals, and every device
//! must hold exactly what was acknowledged to it.
//!
//! `CORREIO_SEEDS=N` says how many seeds, `CORREIO_FIRST_SEED=M` from which on, `CORREIO_SEED=S` replays
//! one and tells what went over the network.

mod chat;
mod device;
mod disk;
mod model;
mod rng;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use self::device::{Device, Sends};
use self::disk::Disk;
use self::model::{Model, Said};
use self::rng::Rng;
use super::core::Core;
use super::io::{Input, Now, Output, Peer, Settings, Ticket};
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::reply::{self, Page};
use crate::protocol::request::Request;
use crate::store::Query;

/// Steps of one seed, before everything heals.
const STEPS: u64 = 1_000;

/// Steps after which a healed world must have come to rest.
const HEALING_STEPS: u64 = 60_000;

/// What can happen next.
#[derive(Debug)]
enum Event {
    /// A device does something.
    Act(usize),
    /// Frames reach the server.
    Request {
        conn: u64,
        device: usize,
        frames: Vec<Vec<u8>>,
    },
    Subscribe {
        conn: u64,
        device: usize,
        key: NoticeKey,
    },
    /// Frames reach a device.
    Reply {
        conn: u64,
        frames: Vec<Vec<u8>>,
    },
    Notice {
        conn: u64,
        header: Vec<u8>,
        body: Option<Vec<u8>>,
    },
    Write,
    Sync,
    Read(u64, Ticket, Query),
    Tick,
    Start,
}

/// How bad this world is, in percent.
#[derive(Debug)]
struct Weather {
    loss: u64,
    repeats: u64,
    late: u64,
    notices_lost: u64,
}

/// How often each kind of fault struck.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Faults {
    kills: u64,
    power_cuts: u64,
    client_deaths: u64,
    reconnects: u64,
    lost: u64,
    repeated: u64,
    late: u64,
    notices_lost: u64,
    disk_low: u64,
    mails: u64,
    chats: u64,
}

impl Faults {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.client_deaths += other.client_deaths;
        self.reconnects += other.reconnects;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.late += other.late;
        self.notices_lost += other.notices_lost;
        self.disk_low += other.disk_low;
        self.mails += other.mails;
        self.chats += other.chats;
    }
}

struct Sim {
    rng: Rng,
    now: Now,
    order: u64,
    events: BTreeMap<(u64, u64), Event>,
    settings: Settings,
    core: Option<Core>,
    /// Which process of the server this is: what an earlier one asked of the disk is void.
    life: u64,
    disk: Disk,
    devices: Vec<Device>,
    addresses: Vec<String>,
    /// The device behind each connection that stands.
    conns: HashMap<u64, usize>,
    granted: HashMap<u64, HashSet<NoticeKey>>,
    model: Model,
    weather: Weather,
    faults: Faults,
    calm: bool,
    /// A milder world in which devices live long enough to meet.
    chatty: bool,
    telling: bool,
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let weather = Weather {
            loss: rng.below(20),
            repeats: rng.below(20),
            late: rng.below(15),
            notices_lost: rng.below(100),
        };
        let chatty = rng.chance(30);
        let settings = Settings {
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
            ..Settings::default()
        };
        let topics = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect();
        let mut devices = vec![
            Device::new(0, "ana", topics(&["news", "lab/*"])),
            Device::new(1, "bob", topics(&["news", "lab/laser"])),
            Device::new(2, "carla", topics(&["lab/laser"])),
        ];
        for device in &mut devices {
            device.chatty = chatty;
        }
        let addresses = ["ana", "bob", "carla", "news", "lab/laser"];
        let mut sim = Self {
            rng,
            now: Now {
                mono_ms: 0,
                wall_ms: 1_700_000_000_000,
            },
            order: 0,
            events: BTreeMap::new(),
            settings,
            core: None,
            life: 0,
            disk: Disk::new(),
            devices,
            addresses: addresses.map(str::to_owned).to_vec(),
            conns: HashMap::new(),
            granted: HashMap::new(),
            model: Model::default(),
            weather,
            faults: Faults::default(),
            calm: false,
            chatty,
            telling: number("CORREIO_SEED").is_some(),
        };
        sim.start();
        for index in 0..sim.devices.len() {
            let conn = sim.connect(index);
            sim.devices[index].restart(conn);
            sim.at(1, Event::Act(index));
        }
        sim.at(100, Event::Tick);
        sim
    }

    fn at(&mut self, ahead_ms: u64, event: Event) {
        self.order += 1;
        self.events
            .insert((self.now.mono_ms + ahead_ms, self.order), event);
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
                self.judge();
                self.faults.chats = self.model.chats.count();
                return self.faults;
            }
            self.step();
        }
        panic!(
            "the healed world does not come to rest: {:#?}",
            self.devices
        );
    }

    fn is_at_rest(&self) -> bool {
        self.core.as_ref().is_some_and(|core| {
            let newest = core.mail_counters.mail;
            core.is_settled() && self.devices.iter().all(|device| device.is_done(newest))
        }) && self.disk.is_idle()
    }

    fn heal(&mut self) {
        self.calm = true;
        self.weather = Weather {
            loss: 0,
            repeats: 0,
            late: 0,
            notices_lost: 0,
        };
        self.start();
    }

    fn step(&mut self) {
        let Some(((at, _), event)) = self.events.pop_first() else {
            panic!("the world stands still");
        };
        let passed = at.saturating_sub(self.now.mono_ms);
        self.now.mono_ms = self.now.mono_ms.max(at);
        self.now.wall_ms += passed.cast_signed();
        self.happen(event);
    }

    fn happen(&mut self, event: Event) {
        self.tell(&event);
        match event {
            Event::Act(device) => self.act(device),
            Event::Request {
                conn,
                device,
                frames,
            } => {
                let random = self.rng.bytes();
                let peer = Peer {
                    routing: conn.to_be_bytes().to_vec(),
                    key: self.devices[device].key,
                    address: "192.0.2.7".into(),
                };
                self.handle(Input::Request {
                    peer,
                    frames,
                    random,
                });
            }
            Event::Subscribe { conn, device, key } => self.subscribe(conn, device, key),
            Event::Reply { conn, frames } => {
                if let Some(device) = self.conns.get(&conn) {
                    self.devices[*device].hear(&frames);
                }
            }
            Event::Notice { conn, header, body } => self.notice(conn, &header, body.as_deref()),
            Event::Write => self.disk.write(),
            Event::Sync => {
                if let Some(ticket) = self.disk.sync(&mut self.rng) {
                    self.handle(Input::Committed(ticket));
                }
                if !self.disk.is_idle() {
                    self.at(3, Event::Sync);
                }
            }
            Event::Read(life, ticket, query) => {
                if life == self.life && self.core.is_some() {
                    let answer = self.disk.read(&query);
                    self.handle(Input::Loaded(ticket, answer));
                }
            }
            Event::Tick => {
                let disk_low = !self.calm && self.rng.chance(3);
                self.faults.disk_low += u64::from(disk_low);
                self.handle(Input::Tick { disk_low });
                self.at(250, Event::Tick);
            }
            Event::Start => self.start(),
        }
    }

    /// Tells what goes over the network, when one seed is replayed.
    fn tell(&self, event: &Event) {
        let (arrow, conn, frame) = match event {
            Event::Request { conn, frames, .. } => ('>', conn, &frames[1]),
            Event::Reply { conn, frames } => ('<', conn, &frames[1]),
            Event::Notice { conn, header, .. } => ('n', conn, header),
            _ => return,
        };
        if self.telling {
            let (at, life) = (self.now.mono_ms, self.life);
            let device = self.conns.get(conn).map(|of| &self.devices[*of].user);
            let text = String::from_utf8_lossy(frame);
            println!("{at} life {life} {arrow} {device:?} by {conn}: {text}");
        }
    }

    // -- faults --

    fn strike(&mut self) {
        if self.chatty && self.rng.chance(70) {
            return;
        }
        match self.rng.below(1_000) {
            0..=4 => self.die(false),
            5..=9 => self.die(true),
            10..=19 => {
                let device = self.rng.index(self.devices.len());
                let conn = self.connect(device);
                self.devices[device].restart(conn);
                self.faults.client_deaths += 1;
            }
            20..=34 => {
                let device = self.rng.index(self.devices.len());
                let conn = self.connect(device);
                self.devices[device].reconnect(conn);
                self.faults.reconnects += 1;
            }
            _ => {}
        }
    }

    /// The server's process ends, with or without the machine's power.
    fn die(&mut self, power: bool) {
        if self.core.take().is_none() {
            return;
        }
        self.life += 1;
        let disk = std::mem::replace(&mut self.disk, Disk::new());
        if power {
            self.faults.power_cuts += 1;
            self.disk = disk.power_cut(&mut self.rng);
        } else {
            self.faults.kills += 1;
            self.disk = disk.kill();
        }
        self.granted.clear();
        let down_ms = self.rng.below(4_000);
        self.at(down_ms, Event::Start);
    }

    fn start(&mut self) {
        if self.core.is_some() {
            return;
        }
        let snapshot = self.disk.load();
        self.model.restarted(&snapshot, self.now.mono_ms);
        self.core = Some(Core::new(self.settings.clone(), snapshot, self.now));
        self.drain(None);
        // libzmq connects again by itself, on a new connection.
        for device in 0..self.devices.len() {
            let conn = self.connect(device);
            self.devices[device].reconnect(conn);
        }
    }

    // -- devices --

    fn act(&mut self, index: usize) {
        let device = &mut self.devices[index];
        let conn = device.conn;
        if let Some(key) = device.wanted_keys.pop_first() {
            self.send(index, conn, &Sends::Subscribe(key));
        } else if let Some(sends) = device.act(
            &mut self.rng,
            self.now.mono_ms,
            &mut self.model,
            &self.addresses,
            self.calm,
        ) {
            self.send(index, conn, &sends);
        }
        let pause = 1 + self.rng.below(60);
        self.at(pause, Event::Act(index));
    }

    fn send(&mut self, device: usize, conn: u64, sends: &Sends) {
        if self.rng.chance(self.weather.loss) {
            self.faults.lost += 1;
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(self.weather.repeats));
        self.faults.repeated += copies - 1;
        for _ in 0..copies {
            let delay = self.delay();
            let event = match sends {
                Sends::Request(frames) => Event::Request {
                    conn,
                    device,
                    frames: frames.clone(),
                },
                Sends::Subscribe(key) => Event::Subscribe {
                    conn,
                    device,
                    key: *key,
                },
            };
            self.at(delay, event);
        }
    }

    fn delay(&mut self) -> u64 {
        if self.rng.chance(self.weather.late) {
            self.faults.late += 1;
            return self.rng.below(5_000);
        }
        1 + self.rng.below(20)
    }

    fn notice(&mut self, conn: u64, header: &[u8], body: Option<&[u8]>) {
        if let Some(device) = self.conns.get(&conn) {
            let notice = Notice::decode(header).expect("the server's notices read");
            self.devices[*device].notice(notice, body);
        }
    }

    // -- the server --

    fn handle(&mut self, input: Input) {
        if let Some(core) = self.core.as_mut() {
            core.handle(self.now, input);
            self.drain(None);
        }
    }

    fn subscribe(&mut self, conn: u64, device: usize, key: NoticeKey) {
        let Some(core) = self.core.as_mut() else {
            return;
        };
        if self.conns.contains_key(&conn) {
            let topic = key.to_bytes().to_vec();
            let input = Input::Subscribe {
                key: self.devices[device].key,
                topic,
            };
            core.handle(self.now, input);
            self.drain(Some(conn));
        }
    }

    fn drain(&mut self, subscriber: Option<u64>) {
        while let Some(core) = self.core.as_mut() {
            match core.poll_output() {
                Output::Idle { .. } => break,
                Output::Reply { routing, frames } => {
                    let frames = frames.iter().map(|frame| frame.to_vec()).collect();
                    self.reply(&routing, frames);
                }
                Output::Publish { key, header, body } => {
                    self.publish(key, &header, body.as_deref());
                }
                Output::Grant(key) => {
                    let conn = subscriber.expect("a grant answers a subscription");
                    self.granted.entry(conn).or_default().insert(key);
                }
                Output::Commit(ticket, changes) => {
                    let rest_ms = self.settings.port_rest_ms;
                    self.model.committing(&changes, self.now.mono_ms, rest_ms);
                    if self.disk.is_idle() {
                        let sync = 2 + self.delay();
                        self.at(sync, Event::Sync);
                    }
                    self.disk.push(ticket, changes);
                    let write = self.rng.below(20);
                    self.at(write, Event::Write);
                }
                Output::Load(ticket, query) => {
                    let delay = self.delay();
                    self.at(delay, Event::Read(self.life, ticket, query));
                }
            }
        }
    }

    /// The server lets a reply go: from here on what it says must be true for good.
    fn reply(&mut self, routing: &[u8], frames: Vec<Vec<u8>>) {
        let conn = u64::from_be_bytes(routing.try_into().expect("routing ids are the simulator's"));
        let Some(device) = self.conns.get(&conn).copied() else {
            return;
        };
        self.judge_reply(device, &frames);
        if self.rng.chance(self.weather.loss) {
            self.faults.lost += 1;
            return;
        }
        let delay = self.delay();
        self.at(delay, Event::Reply { conn, frames });
    }

    fn judge_reply(&mut self, device: usize, frames: &[Vec<u8>]) {
        let synced = &self.disk.synced;
        let device = &self.devices[device];
        match device.asked(frames) {
            Some(Request::Send(send)) => {
                if let (Ok(sent), Some(said)) = (
                    reply::decode::<reply::Sent>(&frames[1]),
                    device.unsettled(send.number),
                ) {
                    self.faults.mails += sent.outcomes.len() as u64;
                    self.model.answered(said, &sent.outcomes, synced);
                }
            }
            Some(Request::Fetch(_)) => {
                if let Ok(page) = reply::decode::<Page>(&frames[1]) {
                    for (envelope, body) in page.mails.iter().zip(&frames[2..]) {
                        self.model.read_by(&device.user, envelope, body, synced);
                    }
                }
            }
            Some(Request::ChatAsk(ask)) => {
                if let Ok(asked) = reply::decode::<reply::Asked>(&frames[1]) {
                    chat::concerns(&device.user, &asked.row);
                    if let Some(said) = &asked.introduction {
                        let chats = &mut self.model.chats;
                        chats.introduced(&ask.session, said, &self.disk.accepted);
                    }
                }
            }
            Some(Request::ChatAccept(accept)) => {
                if let Ok(said) = reply::decode(&frames[1]) {
                    let chats = &mut self.model.chats;
                    chats.introduced(&accept.session, &said, &self.disk.accepted);
                }
            }
            Some(Request::Heartbeat(_)) => {
                let beat = reply::decode::<reply::Heartbeat>(&frames[1]);
                let rows = beat.map_or(Vec::new(), |beat| beat.chats);
                for row in &rows {
                    chat::concerns(&device.user, row);
                }
            }
            _ => {}
        }
    }

    fn publish(&mut self, key: NoticeKey, header: &[u8], body: Option<&[u8]>) {
        let hears =
            |(conn, keys): (&u64, &HashSet<NoticeKey>)| keys.contains(&key).then_some(*conn);
        let mut conns: Vec<u64> = self.granted.iter().filter_map(hears).collect();
        conns.sort_unstable();
        for conn in conns {
            let Some(device) = self.conns.get(&conn) else {
                continue;
            };
            if let Some(Notice::Chat { invitation }) = Notice::decode(header) {
                chat::concerns(&self.devices[*device].user, &invitation);
            }
            if let (Some(Notice::Mail { envelope, .. }), Some(body)) =
                (Notice::decode(header), body)
            {
                let user = self.devices[*device].user.clone();
                self.model
                    .read_by(&user, &envelope, body, &self.disk.synced);
            }
            if self.rng.chance(self.weather.notices_lost) {
                self.faults.notices_lost += 1;
                continue;
            }
            let delay = self.delay();
            let event = Event::Notice {
                conn,
                header: header.to_vec(),
                body: body.map(<[u8]>::to_vec),
            };
            self.at(delay, event);
        }
    }

    // -- the end --

    /// Everything healed: each device holds what was acknowledged to it, once, or was told how many are
    /// gone.
    fn judge(&self) {
        for device in &self.devices {
            assert_eq!(
                device.in_doubt, 0,
                "P3: {}'s sends are in doubt",
                device.user
            );
            for (address, mails) in &self.model.acknowledged {
                if device.follows(address) {
                    self.judge_log(device, address, mails);
                }
            }
        }
    }

    fn judge_log(&self, device: &Device, address: &str, mails: &BTreeMap<u64, Said>) {
        let empty = BTreeMap::new();
        let held = device.mailbox.get(address).unwrap_or(&empty);
        // Newcomers start at a topic's head.
        let since = device.since(address);
        let missing: Vec<_> = mails
            .range(since + 1..)
            .filter(|(id, _)| !held.contains_key(id))
            .collect();
        let told = device.told_gone.get(address).copied().unwrap_or(0);
        let trims = self.settings.log_mails_max < 1_000_000 && device.user != address;
        for (id, said) in &missing {
            assert!(
                said.mortal || trims,
                "P2: {} misses {id} of {address} ({said:?}), holds {:?} after {since}, told of {told} gone",
                device.user,
                held.keys()
            );
        }
        assert!(
            missing.len() as u64 <= told,
            "P7: {missing:?} are gone from {address} unsaid; {} holds {:?} after {since}, told of {told} gone",
            device.user,
            held.keys()
        );
    }
}

/// Says which seed it was that failed, and lets no other begin.
struct Seed<'a>(u64, &'a AtomicU64);

impl Drop for Seed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.store(u64::MAX / 2, Ordering::Relaxed);
            eprintln!("replay with CORREIO_SEED={}", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs these seeds over the cores of this machine.
fn run_seeds(first: u64, seeds: u64) -> Faults {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(first);
    let total = Mutex::new(Faults::default());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| run_some(&next, first + seeds, &total));
        }
    });
    total.into_inner().expect("no thread failed")
}

/// Takes seed after seed until there is none left, or one has failed.
fn run_some(next: &AtomicU64, end: u64, total: &Mutex<Faults>) {
    let mut here = Faults::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let said = Seed(seed, next);
        here.add(Sim::new(seed).run());
        drop(said);
        if seed % 10_000 == 9_999 {
            println!("seed {seed}: no divergence so far");
        }
    }
    total.lock().expect("no thread failed").add(here);
}

#[test]
fn p02_years_of_crashes_lose_nothing() {
    if let Some(seed) = number("CORREIO_SEED") {
        println!("{:?}", Sim::new(seed).run());
        return;
    }
    let seeds = number("CORREIO_SEEDS").unwrap_or(2_000);
    let total = run_seeds(number("CORREIO_FIRST_SEED").unwrap_or(0), seeds);
    println!("{seeds} seeds: {total:?}");
    assert!(total.chats * 10 > seeds, "few chats were accepted");
    assert!(total.mails > seeds && total.kills > seeds && total.power_cuts > seeds);
}
