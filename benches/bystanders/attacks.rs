//! The floods, each in a process of its own that does nothing else until it is killed. What they are
//! answered is of no interest to them.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use correio::auth::keys::KeyPair;
use correio::protocol::names::UserName;
use correio::protocol::request::{self, Request};
use correio::protocol::url::ServerUrl;

use crate::common::client::{RawClient, Wishes};
use crate::common::rng::Rng;
use crate::common::server::Place;
use crate::common::watch::Watcher;
use crate::common::{now, pause};

/// Attackers of one kind at a time.
const ATTACKERS: u64 = 4;

/// Requests an attacker has unanswered at once.
const WINDOW: usize = 64;

/// Silent connections an attacker holds at once.
const HALF_OPEN: usize = 250;

/// Subscribers of the busy topic, and what is sent to it.
const SUBSCRIBERS: usize = 100;
const TOPIC_RATE: Duration = Duration::from_millis(4);
const TOPIC_BODY: usize = 4_096;

/// What an attacker knows.
pub(crate) struct Target {
    place: Arc<Place>,
    url: ServerUrl,
    rng: Rng,
    name: String,
}

/// One kind of flood: its word, and what one attacker does.
pub(crate) type Attack = (&'static str, fn(&mut Target));

/// All floods.
pub(crate) const ATTACKS: &[Attack] = &[
    ("logins", logins),
    ("registrations", registrations),
    ("subscriptions", subscriptions),
    ("giant frames", giant_frames),
    ("multiparts", multiparts),
    ("half-open connections", half_open),
    ("lease grabs", lease_grabs),
    ("mailbox filling", mailbox_filling),
    ("invitation spam", invitation_spam),
    ("garbage", garbage),
];

/// Carries what a process is started for: a word, a number and the server's address, tab by tab.
pub(crate) const ORDER: &str = "CORREIO_BYSTANDERS_ORDER";

/// Does what this process was started for, if it was; then it never returns.
pub(crate) fn serve() {
    let Ok(order) = std::env::var(ORDER) else {
        return;
    };
    let mut words = order.split('\t');
    let mut word = || words.next().expect("an order has three words");
    let (kind, number, url) = (word(), word(), word());
    let url = ServerUrl::parse(url).expect("an address");
    // Whoever started it is gone: so is the reason.
    std::thread::spawn(|| {
        drop(std::io::read_to_string(std::io::stdin()));
        std::process::exit(0);
    });
    match kind {
        "burn" => burn(number.parse().expect("a number of processors")),
        "topic" => busy_topic(&url, number == "1"),
        kind => {
            let found = ATTACKS.iter().find(|(word, _)| *word == kind);
            attack(found.expect("a known flood").1, number, &url);
        }
    }
}

fn attack(deed: fn(&mut Target), number: &str, url: &ServerUrl) {
    let threads = (0..ATTACKERS).map(|nth| {
        let mut target = Target {
            place: Place::fixed(url.clone()),
            url: url.clone(),
            rng: Rng::new(nth),
            name: format!("evil-{number}-{nth}"),
        };
        std::thread::spawn(move || deed(&mut target))
    });
    for thread in threads.collect::<Vec<_>>() {
        drop(thread.join());
    }
    // An attacker who was thrown out: the others' figures count, not his end.
    loop {
        pause(Duration::from_secs(1));
    }
}

/// Uses so many processors and nothing else.
fn burn(cores: f64) {
    const SLICE: Duration = Duration::from_millis(10);
    let each = cores.min(2.0) / 2.0;
    let threads = [(); 2].map(|()| {
        std::thread::spawn(move || {
            loop {
                let begin = now();
                while begin.elapsed() < SLICE.mul_f64(each) {
                    std::hint::spin_loop();
                }
                pause(SLICE.saturating_sub(begin.elapsed()));
            }
        })
    });
    for thread in threads {
        drop(thread.join());
    }
}

/// A topic with many subscribers and much mail; one of them may read nothing.
fn busy_topic(url: &ServerUrl, stalled: bool) {
    let place = Place::fixed(url.clone());
    let tag = std::process::id();
    let join = |nth: usize| {
        let key = KeyPair::generate().expect("a key");
        let mut client = RawClient::connect(Arc::clone(&place), key);
        let name = format!("sub-{tag}-{nth}");
        client.register(&name, None).expect("registers");
        let wishes = Wishes {
            topics: vec![format!("busy-{tag}")],
            port: false,
        };
        let welcome = client.login(wishes).expect("logs in");
        let logs = welcome.logs.iter().filter(|log| log.kind == "topic");
        let keys = logs.map(|log| hex::decode(&log.key).expect("hex"));
        let keys: Vec<Vec<u8>> = keys.collect();
        Watcher::connect(url, url.port + 1, &client.key, &keys)
    };
    let watchers: Vec<Watcher> = (0..SUBSCRIBERS).map(join).collect();
    std::thread::spawn(move || {
        // The first is the one that may not read.
        let readers = &watchers[usize::from(stalled)..];
        loop {
            for watcher in readers {
                while watcher.next(Duration::ZERO).is_some() {}
            }
            pause(Duration::from_millis(5));
        }
    });
    let key = KeyPair::generate().expect("a key");
    let mut sender = RawClient::connect(place, key);
    sender
        .register(&format!("pub-{tag}"), None)
        .expect("registers");
    sender.login(Wishes::default()).expect("logs in");
    let (topic, body) = (format!("busy-{tag}"), vec![b'x'; TOPIC_BODY]);
    loop {
        let begin = now();
        drop(sender.send(&[&topic], &body));
        pause(TOPIC_RATE.saturating_sub(begin.elapsed()));
    }
}

// -- the floods --

impl Target {
    fn stranger(&self) -> RawClient {
        let key = KeyPair::generate().expect("a key");
        RawClient::connect(Arc::clone(&self.place), key)
    }

    fn user(&self) -> RawClient {
        let mut client = self.stranger();
        client.register(&self.name, None).expect("registers");
        client.login(Wishes::default()).expect("logs in");
        client
    }
}

/// Posts one request after the other, with so many unanswered.
fn pour(client: &mut RawClient, mut next: impl FnMut(&mut RawClient) -> Vec<Vec<u8>>) {
    let (mut posted, mut heard) = (0, now());
    loop {
        while posted < WINDOW {
            let frames = next(client);
            client.post_frames(frames);
            posted += 1;
        }
        if client.take(Duration::from_millis(100)).is_some() {
            posted -= 1;
            heard = now();
        } else if heard.elapsed() > Duration::from_secs(1) {
            // Dropped, or thrown out and back again.
            (posted, heard) = (0, now());
        }
    }
}

fn frames(request: &Request) -> Vec<Vec<u8>> {
    vec![b"1".to_vec(), request.encode()]
}

fn logins(target: &mut Target) {
    let mut client = target.user();
    let login = request::Login {
        want_stream: true,
        ..request::Login::default()
    };
    let login = Request::Login(login);
    pour(&mut client, |_| frames(&login));
}

fn registrations(target: &mut Target) {
    loop {
        let mut client = target.stranger();
        for _ in 0..8 {
            let name = format!("{}-{:x}", target.name, target.rng.next());
            let register = request::Register {
                user: UserName::parse(&name).ok(),
                device: String::new(),
                code: None,
            };
            client.post(&Request::Register(register), None);
        }
        for _ in 0..8 {
            client.take(Duration::from_millis(200));
        }
    }
}

fn subscriptions(target: &mut Target) {
    let client = target.user();
    let watcher = Watcher::connect(&target.url, target.url.port + 1, &client.key, &[]);
    loop {
        for _ in 0..500 {
            watcher.subscribe(&target.rng.bytes(16));
        }
        pause(Duration::from_millis(10));
    }
}

fn giant_frames(target: &mut Target) {
    let mut client = target.user();
    loop {
        client.post_frames(vec![b"1".to_vec(), vec![b'x'; 1 << 20]]);
        client.take(Duration::from_millis(20));
    }
}

fn multiparts(target: &mut Target) {
    let mut client = target.user();
    loop {
        client.post_frames(vec![vec![b'x'; 1_000]; 1_000]);
        client.take(Duration::from_millis(5));
    }
}

fn half_open(target: &mut Target) {
    let place = (target.url.host.as_str(), target.url.port);
    let mut held = std::collections::VecDeque::new();
    loop {
        if let Ok(stream) = TcpStream::connect(place) {
            held.push_back(stream);
        }
        if held.len() > HALF_OPEN {
            held.pop_front();
        }
        pause(Duration::from_millis(1));
    }
}

fn lease_grabs(target: &mut Target) {
    let mut client = target.user();
    let login = request::Login {
        want_port: true,
        ..request::Login::default()
    };
    let login = Request::Login(login);
    pour(&mut client, |_| frames(&login));
}

fn mailbox_filling(target: &mut Target) {
    let mut client = target.user();
    let own = target.name.clone();
    let body = vec![b'x'; 32_000];
    pour(&mut client, |client| {
        let number = client.number;
        client.number += 1;
        // Settled far behind, so that the stream's window never ends the flood.
        client.settled_below = number.saturating_sub(2 * WINDOW as u64).max(1);
        let send = client.send_request(number, &[&own]);
        let mut frames = frames(&Request::Send(send));
        frames.push(body.clone());
        frames
    });
}

fn invitation_spam(target: &mut Target) {
    let mut client = target.user();
    client.lease_confirmed();
    let mut nth = 0_u64;
    pour(&mut client, |client| {
        nth += 1;
        let ask = request::ChatAsk {
            session: client.session.clone(),
            user: "crowd-0".parse().expect("a name"),
            host: None,
            nonce: Some(nth.to_string()),
        };
        frames(&Request::ChatAsk(ask))
    });
}

fn garbage(target: &mut Target) {
    let mut client = target.user();
    pour(&mut client, |_| {
        let size = target.rng.index(2_000);
        let odd = match target.rng.below(4) {
            0 => target.rng.bytes(size),
            1 => vec![b'['; size],
            2 => b"{\"verb\":\"nonsense\"}".to_vec(),
            _ => b"{\"verb\":\"fetch\",\"log\":-1}".to_vec(),
        };
        vec![b"1".to_vec(), odd]
    });
}
