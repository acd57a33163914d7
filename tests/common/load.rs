//! Load with a ledger: senders that pipeline and retry, readers that check every mail they are
//! shown, and the comparison of both at the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use correio::auth::keys::KeyPair;
use correio::protocol::codes::Code;
use correio::protocol::notice::Notice;
use correio::protocol::reply::{LogInfo, Sent};
use correio::protocol::request::Request;
use correio::protocol::{LogNumber, MailId};

use super::client::{Mail, RawClient, Wishes, id_of};
use super::rng::Rng;
use super::server::Server;
use super::watch::Watcher;
use super::{eventually, pause};

/// Topics of the load; every reader reads some of them.
const TOPICS: [&str; 4] = ["all", "news", "lab/one", "lab/two"];

/// Who joins what, by reader; the last joins by prefix.
const JOINS: [&[&str]; 4] = [
    &["all", "lab/one", "lab/two"],
    &["all", "news"],
    &["all", "news", "lab/one"],
    &["all", "lab/*"],
];

/// Sends of one sender that may be under way at once.
const WINDOW: usize = 8;

/// One recipient's acknowledged copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// Where it went.
    pub address: String,
    /// The id that the server gave it.
    pub id: MailId,
    /// Who sent it.
    pub sender: usize,
    /// Its number in the sender's stream.
    pub number: u64,
}

/// One mail that a reader was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The log it was in.
    pub address: String,
    /// Its id.
    pub id: MailId,
    /// Who sent it.
    pub sender: usize,
    /// Its number in the sender's stream.
    pub number: u64,
}

/// What the threads share.
#[derive(Debug, Default)]
pub struct Ledger {
    acked: Mutex<Vec<Acked>>,
    /// Sends acknowledged so far.
    pub answered: AtomicU64,
    /// Sends that reached the present server and wait for their answer.
    pub waiting: AtomicUsize,
    /// Mails shown so far.
    pub shown: AtomicU64,
    halt: AtomicBool,
    drain: AtomicBool,
}

impl Ledger {
    /// Returns a copy of what was acknowledged so far.
    pub fn acked(&self) -> Vec<Acked> {
        self.acked.lock().expect("no holder panics").clone()
    }
}

/// A load that runs until `finish`.
pub struct Load {
    /// What happened so far.
    pub ledger: Arc<Ledger>,
    senders: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<Vec<Shown>>>,
    /// Keys of the readers, to look again later from elsewhere.
    pub reader_keys: Vec<KeyPair>,
}

impl Load {
    /// Registers everybody and starts the threads.
    pub fn begin(server: &Server, rng: &mut Rng, senders: usize, readers: usize) -> Self {
        let ledger = Arc::new(Ledger::default());
        let addresses = addresses(readers);
        let mut books: Vec<Reader> = (0..readers)
            .map(|nth| Reader::new(server, nth, Arc::clone(&ledger), rng.fork()))
            .collect();
        let reader_keys = books.iter().map(|book| book.client.key.clone()).collect();
        let senders = (0..senders).map(|nth| {
            let client = RawClient::user(server, &sender_name(nth));
            Sender::new(nth, client, Arc::clone(&ledger), addresses.clone())
        });
        let senders: Vec<Sender> = senders.collect();
        Self {
            senders: senders
                .into_iter()
                .map(|mut s| std::thread::spawn(move || s.run()))
                .collect(),
            readers: books
                .drain(..)
                .map(|r| std::thread::spawn(move || r.run()))
                .collect(),
            ledger,
            reader_keys,
        }
    }

    /// Waits until `count` more sends were acknowledged.
    pub fn wait_for_acks(&self, count: u64) {
        let target = self.ledger.answered.load(Ordering::SeqCst) + count;
        eventually("acknowledged sends", || {
            let died = self.senders.iter().any(JoinHandle::is_finished);
            assert!(!died, "a sender gave up");
            let died = self.readers.iter().any(JoinHandle::is_finished);
            assert!(!died, "a reader gave up");
            (self.ledger.answered.load(Ordering::SeqCst) >= target).then_some(())
        });
    }

    /// Returns how many sends wait for an answer of the present server.
    pub fn unanswered(&self) -> usize {
        self.ledger.waiting.load(Ordering::SeqCst)
    }

    /// Lets everything under way come to its end and returns what each reader was shown.
    pub fn finish(self) -> (Vec<Acked>, Vec<Vec<Shown>>) {
        self.ledger.halt.store(true, Ordering::SeqCst);
        for sender in self.senders {
            sender.join().expect("a sender ends well");
        }
        self.ledger.drain.store(true, Ordering::SeqCst);
        let readers = self.readers.into_iter();
        let shown = readers
            .map(|reader| reader.join().expect("a reader ends well"))
            .collect();
        (self.ledger.acked(), shown)
    }
}

fn addresses(readers: usize) -> Vec<String> {
    let users = (0..readers).map(reader_name);
    users
        .chain(TOPICS.iter().map(ToString::to_string))
        .collect()
}

/// Returns the name of a sender.
pub fn sender_name(nth: usize) -> String {
    format!("sender-{nth}")
}

/// Returns the name of a reader.
pub fn reader_name(nth: usize) -> String {
    format!("reader-{nth}")
}

/// Says whether a reader reads an address.
pub fn reads(reader: usize, address: &str) -> bool {
    let joined = JOINS[reader % JOINS.len()].iter();
    let prefix = |pattern: &str| {
        pattern
            .strip_suffix('*')
            .is_some_and(|p| address.starts_with(p))
    };
    address == reader_name(reader) || joined.into_iter().any(|p| *p == address || prefix(p))
}

/// Returns the body of a send: the same bytes for the same sender and number.
pub fn body_of(sender: usize, number: u64) -> Vec<u8> {
    let mut rng = Rng::new(number.wrapping_mul(1_000_003) + sender as u64);
    let size = match rng.below(20) {
        0 => 4_000 + rng.index(16_000),
        _ => rng.index(800),
    };
    let mut body = format!("{sender} {number} ").into_bytes();
    body.extend(rng.bytes(size));
    body
}

fn recipients_of(sender: usize, number: u64, addresses: &[String]) -> Vec<String> {
    let mut rng = Rng::new(number.wrapping_mul(7_777_777) + sender as u64);
    let wanted = if rng.below(10) < 7 {
        1
    } else {
        2 + rng.index(2)
    };
    let mut to: Vec<String> = Vec::new();
    while to.len() < wanted {
        let address = rng.pick(addresses);
        if !to.contains(address) {
            to.push(address.clone());
        }
    }
    to
}

fn parse_body(body: &[u8]) -> Option<(usize, u64)> {
    let mut words = body.splitn(3, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse::<u64>().ok();
    let (sender, number) = (number()?, number()?);
    Some((usize::try_from(sender).ok()?, number))
}

struct Sender {
    nth: usize,
    client: RawClient,
    ledger: Arc<Ledger>,
    addresses: Vec<String>,
    unanswered: BTreeMap<u64, Option<u64>>,
    ids: HashMap<Vec<u8>, u64>,
    counted: usize,
    heard: Instant,
}

impl Sender {
    fn new(nth: usize, client: RawClient, ledger: Arc<Ledger>, addresses: Vec<String>) -> Self {
        Self {
            nth,
            client,
            ledger,
            addresses,
            unanswered: BTreeMap::new(),
            ids: HashMap::new(),
            counted: 0,
            heard: Instant::now(),
        }
    }

    fn run(&mut self) {
        loop {
            if self.client.is_stale() || self.heard.elapsed() > Duration::from_secs(5) {
                self.again();
            }
            let halted = self.ledger.halt.load(Ordering::SeqCst);
            if halted && self.unanswered.is_empty() {
                return;
            }
            while !halted && self.unanswered.len() < WINDOW {
                let number = self.client.number;
                self.client.number += 1;
                self.post(number);
            }
            if let Some(reply) = self.client.take(Duration::from_millis(20)) {
                self.heard = Instant::now();
                self.hear(&reply);
            }
            self.count();
        }
    }

    /// Connects to the server of now and repeats, in order, what has no answer.
    fn again(&mut self) {
        self.uncount();
        self.ids.clear();
        let (stream, next) = (self.client.stream, self.client.number);
        self.client
            .reconnect()
            .expect("the server takes its clients back");
        let welcome = self.client.welcome.as_ref().expect("it logged in");
        assert!(
            welcome.stream_present,
            "a stream with unanswered sends is forgotten"
        );
        assert_eq!((self.client.stream, self.client.number), (stream, next));
        assert!(
            welcome.settled_below <= self.client.settled_below,
            "settled what nobody settled"
        );
        for number in self.unanswered.keys().copied().collect::<Vec<_>>() {
            self.post(number);
        }
        self.heard = Instant::now();
    }

    fn post(&mut self, number: u64) {
        let to = recipients_of(self.nth, number, &self.addresses);
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let request = Request::Send(self.client.send_request(number, &to));
        let body = body_of(self.nth, number);
        let id = self.client.post(&request, Some(&body));
        self.ids.insert(id.to_string().into_bytes(), number);
        self.unanswered.insert(number, Some(id));
    }

    fn hear(&mut self, reply: &super::client::RawReply) {
        let Some(number) = self.ids.remove(&reply.id) else {
            return;
        };
        match reply.decode::<Sent>() {
            Ok(sent) => self.note(number, &sent),
            Err(trouble) if trouble.code() == Some(Code::NoSession) => {
                self.heard -= Duration::from_mins(1);
            }
            Err(trouble) => {
                let code = trouble.code();
                assert!(
                    code.is_some_and(Code::retryable),
                    "send {number}: {trouble:?}"
                );
                pause(Duration::from_millis(10));
                self.post(number);
            }
        }
    }

    fn note(&mut self, number: u64, sent: &Sent) {
        let to = recipients_of(self.nth, number, &self.addresses);
        assert_eq!(sent.outcomes.len(), to.len(), "one outcome per recipient");
        let copies = to
            .into_iter()
            .zip(&sent.outcomes)
            .map(|(address, outcome)| Acked {
                address,
                id: id_of(outcome),
                sender: self.nth,
                number,
            });
        self.ledger
            .acked
            .lock()
            .expect("no holder panics")
            .extend(copies);
        self.unanswered.remove(&number);
        let lowest = self.unanswered.keys().next().copied();
        self.client.settled_below = lowest.unwrap_or(self.client.number);
        self.ledger.answered.fetch_add(1, Ordering::SeqCst);
    }

    fn count(&mut self) {
        let now = self.unanswered.len();
        self.ledger.waiting.fetch_add(now, Ordering::SeqCst);
        self.ledger
            .waiting
            .fetch_sub(self.counted, Ordering::SeqCst);
        self.counted = now;
    }

    fn uncount(&mut self) {
        self.ledger
            .waiting
            .fetch_sub(self.counted, Ordering::SeqCst);
        self.counted = 0;
    }
}

/// How far a reader is in one log.
#[derive(Debug, Clone, Copy)]
struct Place {
    id: MailId,
    n: u64,
    /// Some mail of this log was shown: from then on `prev` is exact.
    begun: bool,
    ack_sent: MailId,
    ack_done: MailId,
}

struct Reader {
    nth: usize,
    client: RawClient,
    ledger: Arc<Ledger>,
    rng: Rng,
    live_port: u16,
    server: Arc<super::server::Place>,
    watcher: Option<Watcher>,
    logs: BTreeMap<LogNumber, LogInfo>,
    places: HashMap<LogNumber, Place>,
    shown: Vec<Shown>,
    known: MailId,
}

impl Reader {
    fn new(server: &Server, nth: usize, ledger: Arc<Ledger>, rng: Rng) -> Self {
        let topics = JOINS[nth % JOINS.len()]
            .iter()
            .map(ToString::to_string)
            .collect();
        let wishes = Wishes {
            topics,
            port: false,
        };
        let client = RawClient::user_with(server, &reader_name(nth), wishes);
        let mut reader = Self {
            nth,
            client,
            ledger,
            rng,
            live_port: server.live_port(),
            server: server.place(),
            watcher: None,
            logs: BTreeMap::new(),
            places: HashMap::new(),
            shown: Vec::new(),
            known: 0,
        };
        reader.learn();
        reader.listen();
        reader
    }

    /// Takes the logs of the last login, and holds the server to what it acknowledged.
    fn learn(&mut self) {
        let welcome = self.client.welcome.clone().expect("it logged in");
        assert!(welcome.refused.is_empty(), "{:?}", welcome.refused);
        for info in welcome.logs {
            let place = self.places.entry(info.log).or_insert(Place {
                id: info.cursor,
                n: info.n,
                begun: false,
                ack_sent: info.cursor,
                ack_done: info.cursor,
            });
            let address = &info.address;
            assert!(
                info.cursor >= place.ack_done,
                "an acknowledged ack is lost in {address}"
            );
            assert!(
                info.cursor <= place.ack_sent,
                "a cursor is beyond its acks in {address}"
            );
            assert!(
                info.head >= place.id || !place.begun,
                "shown mail is gone from {address}"
            );
            self.logs.insert(info.log, info);
        }
        self.known = 0;
    }

    /// Every second reader listens to notices as well.
    fn listen(&mut self) {
        if self.nth.is_multiple_of(2) {
            return;
        }
        let (url, _) = self.server.wait();
        let keys = self
            .logs
            .values()
            .map(|log| hex::decode(&log.key).expect("hex"));
        let own = self
            .logs
            .values()
            .find(|log| log.address == reader_name(self.nth));
        let own = own.expect("a user reads himself").log;
        let watcher = Watcher::connect(
            &url,
            self.live_port,
            &self.client.key,
            &keys.collect::<Vec<_>>(),
        );
        let granted = |notice: &Notice, _: Option<&[u8]>| *notice == Notice::Granted { log: own };
        drop(watcher.until(Duration::from_secs(1), granted));
        self.watcher = Some(watcher);
    }

    fn run(mut self) -> Vec<Shown> {
        loop {
            if self.client.is_stale() {
                self.client
                    .reconnect()
                    .expect("the server takes its clients back");
                self.learn();
                self.listen();
            }
            let draining = self.ledger.drain.load(Ordering::SeqCst);
            let news = self.refresh();
            if draining && !news {
                return self.shown;
            }
            self.hear();
        }
    }

    /// Fetches every log that has something new; says whether there was anything.
    fn refresh(&mut self) -> bool {
        let before = self.shown.len();
        let beat = self
            .client
            .heartbeat(self.known)
            .expect("a heartbeat is answered");
        for info in &beat.behind {
            self.fetch(info);
        }
        if !beat.more {
            self.known = beat.through;
        }
        self.shown.len() > before
    }

    fn fetch(&mut self, info: &LogInfo) {
        loop {
            let Place { id, n, .. } = *self.places.entry(info.log).or_insert(Place {
                id: info.cursor,
                n: info.n,
                begun: false,
                ack_sent: info.cursor,
                ack_done: info.cursor,
            });
            self.logs.entry(info.log).or_insert_with(|| info.clone());
            let (page, mails) = self
                .client
                .fetch_page(info.log, id, Some(n), 64)
                .expect("a page comes");
            assert_eq!(
                (page.after, page.trimmed),
                (id, None),
                "nothing is missing here"
            );
            for mail in &mails {
                self.show(info.log, mail);
            }
            let place = self.places.get_mut(&info.log).expect("made above");
            assert!(page.through >= place.id, "a page ends before its mails");
            assert_eq!(page.n, place.n, "a page's count is that of its mails");
            place.id = page.through;
            self.acknowledge(info.log);
            if !page.more {
                return;
            }
        }
    }

    fn acknowledge(&mut self, log: LogNumber) {
        let place = self.places.get_mut(&log).expect("it was fetched");
        if place.id <= place.ack_done || self.rng.below(2) == 0 {
            return;
        }
        place.ack_sent = place.id;
        let upto = place.id;
        self.client.ack(log, upto).expect("an ack is answered");
        self.places.get_mut(&log).expect("it was fetched").ack_done = upto;
    }

    /// Holds a mail against everything that is promised of it, and books it.
    fn show(&mut self, log: LogNumber, mail: &Mail) {
        let place = self.places.get_mut(&log).expect("a log that was learned");
        let (envelope, at) = (&mail.envelope, &self.logs[&log].address);
        assert!(
            envelope.id > place.id,
            "{at}: {} comes after {}",
            envelope.id,
            place.id
        );
        let chained = if place.begun {
            envelope.prev == place.id
        } else {
            envelope.prev <= place.id
        };
        assert!(
            chained,
            "{at}: {} follows {}, not {}",
            envelope.id, envelope.prev, place.id
        );
        assert_eq!(
            envelope.n,
            place.n + 1,
            "{at}: the count of {}",
            envelope.id
        );
        let (sender, number) = parse_body(&mail.body).expect("a body of this load");
        assert!(
            mail.body == body_of(sender, number),
            "{at}: the body of {} is not",
            envelope.id
        );
        assert_eq!(
            envelope.from,
            sender_name(sender),
            "{at}: the sender of {}",
            envelope.id
        );
        assert_eq!(&envelope.address, at);
        (place.id, place.n, place.begun) = (envelope.id, envelope.n, true);
        let (address, id) = (at.clone(), envelope.id);
        self.shown.push(Shown {
            address,
            id,
            sender,
            number,
        });
        self.ledger.shown.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes the notices that are there, as far as they fit without a gap.
    fn hear(&mut self) {
        let Some(watcher) = self.watcher.take() else {
            pause(Duration::from_millis(10));
            return;
        };
        let mut wait = Duration::from_millis(50);
        while let Some((notice, body)) = watcher.notice(wait) {
            wait = Duration::ZERO;
            if let Notice::Mail { log, envelope } = notice {
                self.take_live(log, envelope, body);
            }
        }
        self.watcher = Some(watcher);
    }

    fn take_live(
        &mut self,
        log: LogNumber,
        envelope: correio::protocol::reply::Envelope,
        body: Option<Vec<u8>>,
    ) {
        let Some(place) = self.places.get(&log) else {
            return;
        };
        let fits = envelope.prev <= place.id && envelope.id > place.id;
        let whole = envelope.frames == 1 || envelope.size == 0;
        if fits && whole {
            let body = body.unwrap_or_default();
            self.show(log, &Mail { envelope, body });
        }
    }
}

/// Compares what was acknowledged with what was shown; panics on the first broken promise.
pub fn compare(acked: &[Acked], shown: &[Vec<Shown>]) {
    for (reader, shown) in shown.iter().enumerate() {
        let ids: HashSet<MailId> = shown.iter().map(|mail| mail.id).collect();
        assert_eq!(
            ids.len(),
            shown.len(),
            "reader {reader} was shown a mail twice"
        );
        let sends: HashSet<(&str, usize, u64)> = shown
            .iter()
            .map(|m| (m.address.as_str(), m.sender, m.number))
            .collect();
        assert_eq!(
            sends.len(),
            shown.len(),
            "reader {reader} was shown a send twice"
        );
        assert_order(reader, shown);
    }
    let lost: usize = shown
        .iter()
        .enumerate()
        .map(|(nth, shown)| lost(nth, acked, shown))
        .sum();
    assert_eq!(lost, 0, "acknowledged mails were lost");
    assert_contents(acked, shown);
}

/// Prints and counts the acknowledged mails that a reader should have seen and did not.
fn lost(reader: usize, acked: &[Acked], shown: &[Shown]) -> usize {
    let seen: HashSet<MailId> = shown.iter().map(|mail| mail.id).collect();
    let mine = acked.iter().filter(|mail| reads(reader, &mail.address));
    let lost: Vec<&Acked> = mine.filter(|mail| !seen.contains(&mail.id)).collect();
    lost.iter()
        .take(5)
        .for_each(|mail| println!("LOST: reader {reader} never saw {mail:?}"));
    lost.len()
}

/// Every sender's mails are in each address in the order of their numbers.
fn assert_order(reader: usize, shown: &[Shown]) {
    let mut last: HashMap<(&str, usize), u64> = HashMap::new();
    let mut last_id: HashMap<&str, MailId> = HashMap::new();
    for mail in shown {
        let before = last
            .insert((&mail.address, mail.sender), mail.number)
            .unwrap_or(0);
        let (at, number) = (&mail.address, mail.number);
        assert!(
            before < number,
            "reader {reader}, {at}: send {number} after {before}"
        );
        let id = last_id.insert(&mail.address, mail.id).unwrap_or(0);
        assert!(
            id < mail.id,
            "reader {reader}, {at}: id {} after {id}",
            mail.id
        );
    }
}

/// What is shown under an id is what was acknowledged under it.
fn assert_contents(acked: &[Acked], shown: &[Vec<Shown>]) {
    let by_id: HashMap<MailId, &Acked> = acked.iter().map(|mail| (mail.id, mail)).collect();
    assert_eq!(by_id.len(), acked.len(), "two mails were given the same id");
    for mail in shown.iter().flatten() {
        let sent = by_id
            .get(&mail.id)
            .unwrap_or_else(|| panic!("{mail:?} was never sent"));
        let same = (sent.sender, sent.number, &sent.address);
        assert_eq!(
            same,
            (mail.sender, mail.number, &mail.address),
            "id {}",
            mail.id
        );
    }
}
