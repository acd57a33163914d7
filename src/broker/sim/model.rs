//! What was ever told, and must stay true for good: the promises as the world outside sees them.
//!
//! `law` judges what the core decides, `judge` what it says; what both rest on is here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::chat::Chats;
use super::faults::Faults;
use super::ledger::Ledger;
use super::ports::Sessions;
use crate::protocol::reply::Outcome;
use crate::protocol::request::Request;
use crate::protocol::{Answers, LogNumber, MailId, PublicKey};
use crate::store::Change;

/// Bytes of a body that does not fit a frame.
const LARGE_BYTES: usize = 66_000;

/// A send as its device meant it. Its body says who sent what to whom, so that every copy can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) device: usize,
    pub(super) serial: u64,
    /// It may expire unread, after so many seconds.
    pub(super) ttl_s: Option<u64>,
}

impl Said {
    /// Tells this send from every other.
    pub(super) fn name(&self) -> (usize, u64) {
        (self.device, self.serial)
    }

    /// Says which mail it answers: any number at all, since the server knows no more of it than that.
    pub(super) fn answers(&self) -> Option<Answers> {
        let answers = Answers {
            in_reply_to: 1 + self.serial,
            thread: 1 + self.serial / 2,
        };
        (self.serial % 3 == 1).then_some(answers)
    }

    /// Says in how many parts its body goes up.
    pub(super) fn parts(&self) -> Option<u32> {
        (self.serial % 5 == 4).then_some(2)
    }

    pub(super) fn body(&self) -> Vec<u8> {
        let to = self.to.join(",");
        let (device, serial, ttl_s) = (self.device, self.serial, self.ttl_s.unwrap_or(0));
        let mut body = format!("{};{to};{device};{serial};{ttl_s};", self.from).into_bytes();
        if self.serial % 100 == 99 {
            body.resize(LARGE_BYTES, b'.');
        }
        body
    }

    /// Returns one part of the body.
    pub(super) fn part(&self, index: u32) -> Vec<u8> {
        let mut body = self.body();
        let rest = body.split_off(body.len() / 2);
        if index == 0 { body } else { rest }
    }

    pub(super) fn read(body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).expect("bodies of the simulator are text");
        let mut words = text.split(';');
        let mut next = || words.next().expect("a body has five words");
        let (from, to) = (next().to_owned(), next());
        let to = to.split(',').map(str::to_owned).collect();
        let mut number = || next().parse().expect("a number");
        let (device, serial) = (number(), number());
        let ttl_s = Some(number()).filter(|ttl_s| *ttl_s > 0);
        Self {
            from,
            to,
            device: usize::try_from(device).expect("a device's index is small"),
            serial,
            ttl_s,
        }
    }
}

/// A mail as it was accepted.
#[derive(Debug)]
pub(super) struct Fact {
    pub(super) log: LogNumber,
    pub(super) said: Said,
    /// The id of the send's first copy.
    pub(super) message: MailId,
    pub(super) size: u64,
    pub(super) expires_at_ms: Option<i64>,
    pub(super) taken_ms: u64,
    /// Who read the log then.
    pub(super) readers: Vec<LogNumber>,
}

/// Why the core decides something.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    Start,
    Tick,
    /// A commit or a read is done, or somebody subscribes.
    Other,
    Request(Arc<Request>, PublicKey),
}

/// The time, and how fresh it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Time {
    /// The simulator's own, which never jumps.
    pub(super) ms: u64,
    /// The server's wall clock, which does.
    pub(super) wall_ms: i64,
    pub(super) started_ms: u64,
}

/// What settles a question for good until somebody asks for it otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Claim {
    Subscription(LogNumber, String),
    Block(LogNumber, LogNumber),
    Hidden(LogNumber),
    NextKey(u64),
}

/// Everything that was ever told, and what follows from it.
#[derive(Debug, Default, Clone)]
pub(super) struct Model {
    pub(super) time: Time,
    /// What the core decided, on disk or not.
    pub(super) decided: Ledger,
    /// Mails as they were accepted, those that a crash took back included until their id is used again.
    pub(super) facts: HashMap<MailId, Arc<Fact>>,
    /// Sends in logs, by name and log: each is there once (P3).
    pub(super) carried_out: BTreeMap<((usize, u64), LogNumber), MailId>,
    /// First outcomes by device and serial.
    outcomes: HashMap<(usize, u64), Vec<Option<MailId>>>,
    /// Mails that were acknowledged or shown: log and send.
    pub(super) told: BTreeMap<MailId, (LogNumber, (usize, u64))>,
    /// Mails that were told and went with a time that is no more: a restore gives their ids to no others.
    lost: BTreeSet<MailId>,
    /// Names of addresses, keys of devices and streams, by the numbers that were told.
    names: HashMap<LogNumber, String>,
    keys: HashMap<u64, PublicKey>,
    /// Users that each key ever was a device of, the newest last: a name that was set free may be taken
    /// again with the same key, and a crash takes registrations back.
    ever: HashMap<PublicKey, Vec<LogNumber>>,
    /// Names of users there ever were.
    pub(super) users_ever: HashMap<LogNumber, String>,
    streams: HashMap<u64, PublicKey>,
    /// The first key of each device that has another by now.
    first_keys: HashMap<PublicKey, PublicKey>,
    /// Joins that rewind, by device and topic: how many are under way.
    pub(super) rewinds: HashMap<(u64, String), u64>,
    /// The last request that settled each claim.
    pub(super) claims: HashMap<Claim, u64>,
    pub(super) sessions: Sessions,
    pub(super) chats: Chats,
    pub(super) faults: Faults,
    /// The latest that the wall clock ever showed.
    pub(super) wall_max_ms: i64,
    /// The last request by which an administrator removed something.
    pub(super) last_deed: u64,
    /// The core was told that the disk is nearly full.
    pub(super) disk_low: bool,
    pub(super) limits: Limits,
    /// Up to where an administrator purged each log.
    pub(super) purges: HashMap<LogNumber, MailId>,
}

/// What was set for this server.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Limits {
    pub(super) log_mails_max: u64,
    pub(super) history_mails: u64,
    pub(super) history_seconds: u64,
    pub(super) lease_ttl_ms: u64,
    pub(super) port_rest_ms: u64,
    pub(super) ports_per_user: usize,
}

impl Model {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// An administrator purges an address: what is there may go.
    pub(super) fn purged(&mut self, name: &str) {
        let addresses = self.decided.addresses.iter();
        let mut meant = addresses.filter(|(_, address)| address.is_live && address.name == name);
        if let Some((log, _)) = meant.next() {
            let (head, _) = self.decided.head(*log);
            self.purges.insert(*log, head);
        }
    }

    /// The server starts with what is certain, which must hold all that was told (P2).
    pub(super) fn restarted(&mut self, synced: &Ledger) {
        self.decided = synced.clone();
        for (id, (log, _)) in &self.told {
            assert!(
                synced.mail(*log, *id).is_some(),
                "P2: {id} of log {log} was told and is gone after a crash"
            );
        }
        self.carried_out
            .retain(|(_, log), id| synced.mail(*log, *id).is_some());
        self.sessions.restarted(synced, self.time);
        self.disk_low = false;
        for under_way in self.rewinds.values_mut() {
            *under_way = 0;
        }
        self.chats.restarted(synced);
        for (user, key) in synced.devices.values() {
            self.is_now(*key, *user);
        }
        for (number, address) in &synced.addresses {
            self.users_ever.insert(*number, address.name.clone());
        }
    }

    /// The store is as it was when the model was `then`. What is said of numbers stands after a restore.
    pub(super) fn went_back(&mut self, then: Self, is_restore: bool) {
        let now = std::mem::replace(self, then);
        (self.time, self.wall_max_ms) = (now.time, now.wall_max_ms);
        self.faults = now.faults;
        self.lost.clear();
        if is_restore {
            let told = now.told.into_keys().chain(now.lost);
            self.lost
                .extend(told.filter(|id| !self.told.contains_key(id)));
            (self.names, self.keys, self.streams) = (now.names, now.keys, now.streams);
            self.sessions.keep_epochs(now.sessions);
        }
    }

    /// A mail gets an id that nobody was told of for another.
    pub(super) fn check_id(&self, id: MailId) {
        assert!(
            !self.lost.contains(&id),
            "P3: {id} was told before a restore"
        );
    }

    /// A key is a device of this user.
    pub(super) fn is_now(&mut self, key: PublicKey, user: LogNumber) {
        let users = self.ever.entry(key).or_default();
        if users.last() != Some(&user) {
            users.push(user);
        }
    }

    /// Returns the users that a key ever was a device of, the newest last.
    pub(super) fn users_of(&self, key: &PublicKey) -> &[LogNumber] {
        self.ever.get(key).map_or(&[], Vec::as_slice)
    }

    /// A send was answered: on disk (P1), the same answer each time (P3), each id one mail (P3).
    pub(super) fn answered(&mut self, said: &Said, outcomes: &[Outcome], synced: &Ledger) {
        let ids: Vec<Option<MailId>> = outcomes.iter().map(id).collect();
        let retryable = |outcome: &Outcome| matches!(outcome, Outcome::Refused { error, .. } if error.retryable);
        if outcomes.iter().all(retryable) {
            return;
        }
        let first = self
            .outcomes
            .entry(said.name())
            .or_insert_with(|| ids.clone());
        assert_eq!(*first, ids, "P3: another outcome for {said:?}");
        for id in ids.into_iter().flatten() {
            self.faults.mails += 1;
            self.shown(id, said.name(), synced);
        }
    }

    /// A mail was acknowledged to its sender or shown to a reader: it is on disk (P1), and its id means
    /// this mail for good (P3). Returns what it is.
    pub(super) fn shown(&mut self, id: MailId, name: (usize, u64), synced: &Ledger) -> Arc<Fact> {
        let fact = self.facts.get(&id).cloned();
        let fact = fact.unwrap_or_else(|| panic!("P1: {id} was told and never decided"));
        let log = fact.log;
        assert!(
            synced.mail(log, id).is_some(),
            "P1: {id} was told before it was synced"
        );
        assert_eq!(fact.said.name(), name, "P3: {id} is another mail");
        let first = *self.told.entry(id).or_insert((log, name));
        assert_eq!(first, (log, name), "P3: id {id} is two mails");
        fact
    }

    // -- numbers mean one thing for good --

    pub(super) fn name_told(&mut self, log: LogNumber, name: &str) {
        let first = self.names.entry(log).or_insert_with(|| name.to_owned());
        assert_eq!(first, name, "address number {log} was used twice");
    }

    /// A device goes on with another key.
    pub(super) fn is_rotated(&mut self, key: PublicKey, before: Option<PublicKey>) {
        let first = before.map_or(key, |before| self.first_key(before));
        self.first_keys.insert(key, first);
    }

    fn first_key(&self, key: PublicKey) -> PublicKey {
        self.first_keys.get(&key).copied().unwrap_or(key)
    }

    pub(super) fn device_told(&mut self, device: u64, key: PublicKey) {
        let key = self.first_key(key);
        let first = *self.keys.entry(device).or_insert(key);
        assert_eq!(first, key, "device number {device} was used twice");
    }

    pub(super) fn stream_told(&mut self, stream: u64, key: PublicKey) {
        let key = self.first_key(key);
        let first = *self.streams.entry(stream).or_insert(key);
        assert_eq!(first, key, "stream {stream} was given to two");
    }

    /// Changes are on their way to disk.
    pub(super) fn committing(&mut self, changes: &[Change], cause: &Cause) {
        self.chats.committing(changes);
        for change in changes {
            self.permit(change, cause);
            self.decided.apply(change);
        }
    }
}

fn id(outcome: &Outcome) -> Option<MailId> {
    match outcome {
        Outcome::Sent { id, .. } => Some(*id),
        Outcome::Refused { .. } => None,
    }
}
