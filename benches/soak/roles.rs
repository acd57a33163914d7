//! Who does what in the soak: a handful of programs and people, each in a thread that mostly rests.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use correio::protocol::reply::{Asked, Chats, Done, Introduction, Part};
use correio::protocol::request::{self, AdminWhat, Request};
use correio::protocol::{LogNumber, MailId};

use crate::common::client::{RawClient, Trouble, Wishes, refusal};
use crate::common::rng::Rng;
use crate::common::server::{Place, Server};
use crate::common::watch::Watcher;
use crate::common::{now, pause};

/// Topics of the churn.
const TOPICS: usize = 12;

const SENDERS: usize = 3;

/// Readers; what each is like is in [`read`].
const READERS: usize = 4;

/// What the roles share.
pub(crate) struct World {
    stopped: AtomicBool,
    sends: Mutex<Vec<f64>>,
    deeds: Mutex<BTreeMap<String, u64>>,
}

impl World {
    /// Makes an empty one.
    pub(crate) fn new() -> Self {
        Self {
            stopped: AtomicBool::new(false),
            sends: Mutex::default(),
            deeds: Mutex::default(),
        }
    }

    /// Asks all roles to end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Returns the milliseconds of every send so far.
    pub(crate) fn sends(&self) -> Vec<f64> {
        self.sends.lock().expect("no holder panics").clone()
    }

    /// Returns how often what was done.
    pub(crate) fn deeds(&self) -> String {
        let deeds = self.deeds.lock().expect("no holder panics");
        let deeds = deeds.iter().map(|(what, count)| format!("{what} {count}"));
        deeds.collect::<Vec<_>>().join(", ")
    }

    fn did(&self, what: &str) {
        let mut deeds = self.deeds.lock().expect("no holder panics");
        *deeds.entry(what.to_owned()).or_default() += 1;
    }

    /// Notes a deed that may be refused with a code that passes.
    fn tried<T>(&self, what: &str, outcome: Result<T, Trouble>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.did(what);
                Some(value)
            }
            Err(trouble) => {
                let code = trouble.code();
                let code = code.unwrap_or_else(|| panic!("{what}: {trouble:?}"));
                self.did(&format!("{what} ({code})"));
                None
            }
        }
    }

    /// Does something again and again until the end.
    fn each(&self, every: Duration, mut deed: impl FnMut()) {
        while !self.stopped.load(Ordering::SeqCst) {
            deed();
            self.rest(every);
        }
    }

    /// Lets time pass, but not beyond the end.
    fn rest(&self, time: Duration) {
        let begin = now();
        while begin.elapsed() < time && !self.stopped.load(Ordering::SeqCst) {
            pause(Duration::from_millis(200).min(time.saturating_sub(begin.elapsed())));
        }
    }
}

/// Registers everybody and starts a thread each.
pub(crate) fn start(server: &Server, world: &Arc<World>) -> Vec<JoinHandle<()>> {
    let mut rng = Rng::new(7);
    let mut threads = Vec::new();
    let mut spawn = |role: Box<dyn FnOnce(&World) + Send>| {
        let world = Arc::clone(world);
        threads.push(std::thread::spawn(move || role(&world)));
    };
    for nth in 0..READERS {
        let client = RawClient::reader(server, &reader(nth), &["soak/all", &topic(nth)]);
        let live = watch(server, &client, nth);
        spawn(Box::new(move |world| {
            read(world, client, live.as_ref(), nth);
        }));
    }
    for nth in 0..SENDERS {
        let client = RawClient::user(server, &format!("sender-{nth}"));
        let rng = rng.fork();
        spawn(Box::new(move |world| send(world, client, rng)));
    }
    let client = RawClient::user(server, "churner");
    let churn_rng = rng.fork();
    spawn(Box::new(move |world| churn(world, client, churn_rng)));
    let client = RawClient::user(server, "borrower");
    let lease_rng = rng.fork();
    spawn(Box::new(move |world| {
        borrow_ports(world, client, lease_rng);
    }));
    let wishes = || Wishes {
        topics: Vec::new(),
        port: true,
    };
    let pair = ["ana", "bob"].map(|name| RawClient::user_with(server, name, wishes()));
    let chat_rng = rng.fork();
    spawn(Box::new(move |world| chat(world, pair, chat_rng)));
    let mut client = RawClient::user(server, "restless");
    let place = server.place();
    spawn(Box::new(move |world| {
        come_and_go(world, &mut client, &place);
    }));
    let guests = (RawClient::admin(server), server.place());
    spawn(Box::new(move |world| guests_pass(world, guests)));
    threads
}

fn reader(nth: usize) -> String {
    format!("reader-{nth}")
}

fn topic(nth: usize) -> String {
    format!("soak/topic-{}", nth % TOPICS)
}

// -- sending --

/// Sends some twenty mails a second: to users, topics or several; some expire, a few are large.
fn send(world: &World, mut client: RawClient, mut rng: Rng) {
    world.each(Duration::from_millis(50), || {
        let mut to = vec![match rng.below(3) {
            0 => topic(rng.index(TOPICS)),
            1 => "soak/all".to_owned(),
            _ => reader(rng.index(READERS)),
        }];
        if rng.below(10) == 0 {
            to.push(reader(rng.index(READERS)));
            to.dedup();
        }
        let ttl = (rng.below(10) == 0).then(|| 5 + rng.below(30));
        if rng.below(400) == 0 {
            let size = 70_000 + rng.index(900_000);
            send_large(world, &mut client, &to, &rng.bytes(size));
        } else {
            let size = rng.index(1_500);
            send_small(world, &mut client, &to, &rng.bytes(size), ttl);
        }
    });
}

fn send_small(world: &World, client: &mut RawClient, to: &[String], body: &[u8], ttl: Option<u64>) {
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let begin = now();
    let sent = client.send_with(&to, body, |request| request.ttl_s = ttl);
    let took = begin.elapsed().as_secs_f64() * 1e3;
    world.sends.lock().expect("no holder panics").push(took);
    for outcome in world.tried("send", sent).iter().flatten() {
        if let Some(code) = refusal(outcome) {
            world.did(&format!("mail ({code})"));
        }
    }
}

fn send_large(world: &World, client: &mut RawClient, to: &[String], body: &[u8]) {
    let (stream, number) = (client.stream, client.number);
    let pieces: Vec<&[u8]> = body.chunks(60_000).collect();
    for (index, piece) in (0_u32..).zip(&pieces) {
        let make = |session| {
            Request::Part(request::Part {
                session,
                stream,
                number,
                index,
            })
        };
        let reply = client.call_raw(make, Some(piece));
        let part = reply.and_then(|reply| reply.decode::<Part>());
        if world.tried("part", part).is_none() {
            return;
        }
    }
    let mut request = client.send_request(number, &[]);
    request.to = to.to_vec();
    request.parts = u32::try_from(pieces.len()).ok();
    let make = |session| {
        Request::Send(request::Send {
            session,
            ..request.clone()
        })
    };
    let sent = client.call::<correio::protocol::reply::Sent>(make);
    if world.tried("large send", sent).is_some() {
        (client.number, client.settled_below) = (number + 1, number + 1);
    }
}

// -- reading --

fn watch(server: &Server, client: &RawClient, nth: usize) -> Option<Watcher> {
    // The last reader is a device that is mostly away.
    if nth + 1 == READERS {
        return None;
    }
    let welcome = client.welcome.as_ref().expect("it logged in");
    let keys = welcome
        .logs
        .iter()
        .map(|log| hex::decode(&log.key).expect("a notice key is hex"));
    let keys: Vec<Vec<u8>> = keys.collect();
    let url = server.url();
    Some(Watcher::connect(
        &url,
        server.live_port(),
        &client.key,
        &keys,
    ))
}

/// Reads and acknowledges. Reader 0 and 1 listen and read every second; 2 has a live socket that it never
/// reads, and reads its mail every ten seconds; 3 is away for two minutes at a time.
fn read(world: &World, mut client: RawClient, live: Option<&Watcher>, nth: usize) {
    let every = match nth {
        0 | 1 => Duration::from_secs(1),
        2 => Duration::from_secs(10),
        _ => Duration::from_mins(2),
    };
    let mut marks: HashMap<LogNumber, MailId> = HashMap::new();
    let mut known = 0;
    world.each(every, || {
        while nth < 2 && live.is_some_and(|live| heard(world, live)) {}
        loop {
            let Some(beat) = world.tried("heartbeat", client.heartbeat(known)) else {
                return;
            };
            for info in beat.behind {
                let mark = marks.entry(info.log).or_insert(info.cursor);
                read_log(world, &mut client, info.log, mark);
            }
            known = beat.through;
            if !beat.more {
                return;
            }
        }
    });
}

fn heard(world: &World, live: &Watcher) -> bool {
    let is_notice = live.next(Duration::ZERO).is_some();
    if is_notice {
        world.did("notice");
    }
    is_notice
}

fn read_log(world: &World, client: &mut RawClient, log: LogNumber, mark: &mut MailId) {
    loop {
        let Some((page, mails)) = world.tried("fetch", client.fetch(log, *mark)) else {
            return;
        };
        for mail in mails {
            assert!(mail.envelope.id > *mark, "in order, and once");
            *mark = mail.envelope.id;
            world.did("mail read");
        }
        *mark = (*mark).max(page.through);
        world.tried("ack", client.ack(log, *mark));
        if !page.more {
            return;
        }
    }
}

// -- topics, ports, chats --

fn churn(world: &World, mut client: RawClient, mut rng: Rng) {
    world.each(Duration::from_millis(500), || {
        let name = topic(rng.index(TOPICS));
        match rng.below(4) {
            0 | 1 => drop(world.tried("join", client.join(&name))),
            2 => drop(world.tried("leave", client.leave(&name))),
            _ => {
                let make = |session| {
                    Request::History(request::History {
                        session,
                        address: name.clone(),
                        mails: 20,
                        before: None,
                    })
                };
                let page = client.call::<correio::protocol::reply::Page>(make);
                drop(world.tried("history", page));
            }
        }
        // It reads topics, so it holds their mail until it has seen it.
        for info in client.logs().into_iter().filter(|info| info.waiting > 0) {
            let mut mark = info.cursor;
            read_log(world, &mut client, info.log, &mut mark);
        }
    });
}

fn borrow_ports(world: &World, mut client: RawClient, mut rng: Rng) {
    world.each(Duration::from_secs(1), || {
        let mut other = RawClient::connect_as(&client);
        let make = |session| Request::Lease(request::Lease { session });
        let lent = other.call::<correio::protocol::reply::Lease>(make);
        if world.tried("lease", lent).is_some() && rng.below(3) > 0 {
            let make = |session| Request::Close(request::Close { session });
            drop(world.tried("close", other.call::<Done>(make)));
        }
        // Else it vanishes, and the lease runs out.
        drop(world.tried("heartbeat", client.heartbeat(0)));
    });
}

fn chat(world: &World, [mut ana, mut bob]: [RawClient; 2], mut rng: Rng) {
    let mut leased = false;
    world.each(Duration::from_secs(3), || {
        if !leased {
            for client in [&mut ana, &mut bob] {
                client.lease_confirmed();
            }
            leased = true;
        }
        for client in [&mut ana, &mut bob] {
            drop(world.tried("heartbeat", client.heartbeat(0)));
        }
        let nonce = rng.next().to_string();
        let make = |session| {
            Request::ChatAsk(request::ChatAsk {
                session,
                user: "bob".parse().expect("a name"),
                host: None,
                nonce: Some(nonce.clone()),
            })
        };
        let asked = ana
            .call_raw(make, None)
            .and_then(|reply| reply.decode::<Asked>());
        let Some(asked) = world.tried("ask", asked) else {
            return;
        };
        answer(world, [&mut ana, &mut bob], &asked.row.chat, rng.below(4));
    });
}

fn answer(world: &World, [ana, bob]: [&mut RawClient; 2], chat: &str, how: u64) {
    let chat = chat.to_owned();
    match how {
        0 => {
            let make = |session| {
                Request::ChatDecline(request::ChatDecline {
                    session,
                    chat: chat.clone(),
                    busy: false,
                })
            };
            drop(world.tried("decline", bob.call::<Done>(make)));
        }
        1 => {
            let make = |session| {
                Request::ChatAccept(request::ChatAccept {
                    session,
                    chat: chat.clone(),
                    host: None,
                })
            };
            drop(world.tried("accept", bob.call::<Introduction>(make)));
        }
        2 => {
            let make = |session| {
                Request::ChatWithdraw(request::ChatWithdraw {
                    session,
                    chat: chat.clone(),
                })
            };
            drop(world.tried("withdraw", ana.call::<Done>(make)));
        }
        // Nobody answers: it runs out, and bob hears that he missed it.
        _ => miss(world, bob),
    }
}

fn miss(world: &World, bob: &mut RawClient) {
    let chats = bob.call::<Chats>(|session| Request::Chats(request::Chats { session }));
    let Some(chats) = world.tried("chats", chats) else {
        return;
    };
    let seen: Vec<String> = chats.chats.into_iter().map(|row| row.chat).collect();
    let make = |session| {
        Request::ChatSeen(request::ChatSeen {
            session,
            chats: seen.clone(),
        })
    };
    drop(world.tried("seen", bob.call::<Done>(make)));
}

// -- coming and going --

/// A device whose programs start, go on with the stream of the one before, do a little and end, half of
/// them without a word.
fn come_and_go(world: &World, client: &mut RawClient, place: &Arc<Place>) {
    let mut polite = false;
    world.each(Duration::from_secs(2), || {
        let mut other = RawClient::connect(Arc::clone(place), client.key.clone());
        (other.stream, other.number) = (client.stream, client.number);
        other.settled_below = client.settled_below;
        other.login(Wishes::default()).expect("a known key logs in");
        send_small(world, &mut other, &[reader(0)], b"passing by", None);
        (client.number, client.settled_below) = (other.number, other.settled_below);
        polite = !polite;
        if polite {
            let make = |session| Request::Close(request::Close { session });
            drop(world.tried("close", other.call::<Done>(make)));
        }
    });
}

/// Users that are made, send, are removed, and whose names are freed for the next.
fn guests_pass(world: &World, (mut admin, place): (RawClient, Arc<Place>)) {
    let mut nth = 0_u64;
    world.each(Duration::from_secs(5), || {
        nth += 1;
        let name = format!("guest-{}", nth % 8);
        let key = correio::auth::keys::KeyPair::generate().expect("a key");
        let mut guest = RawClient::connect(Arc::clone(&place), key);
        if world
            .tried("register", guest.register(&name, None))
            .is_none()
        {
            return;
        }
        guest.login(Wishes::default()).expect("a new user logs in");
        send_small(
            world,
            &mut guest,
            &[reader(1), name.clone()],
            b"hello",
            None,
        );
        if nth.is_multiple_of(2) {
            drop(world.tried("forget", guest.logout(true)));
        }
        for what in [AdminWhat::UserRm, AdminWhat::UserFree] {
            drop(world.tried("remove", admin.admin_deed(what, &name)));
        }
    });
}
