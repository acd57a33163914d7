//! Whoever comes to the port of a chat and is not the one who was invited: none gets a line in. Raw
//! ZeroMQ and TCP sockets against chats that wait and chats that run.

#![allow(
    clippy::unwrap_used,
    reason = "a step that fails ends the test, and the line says which"
)]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::eventually;
use common::person::{
    Person, hear_numbers, leave, open_invitation, say_numbers, talk, user, wait_open,
};
use common::rng::Rng;
use common::server::Server;
use correio::auth::keys::KeyPair;
use correio::chat::frame::{Frame, Hello, MAGIC, Note, VERSION};
use correio::chat::io::Event;
use correio::chat::{Chat, Options, Told};
use correio::client::session::Session;
use correio::limits;
use correio::protocol::PublicKey;
use correio::protocol::reply::{ChatState, LeaseInfo};
use zmq::SocketEvent;

/// A side that waits for bob, and what a spy would know of it: everything but a key.
struct Waiting {
    chat: Chat,
    lease: LeaseInfo,
    id: [u8; 16],
    key: PublicKey,
}

impl Waiting {
    fn new(ana: &Person) -> Self {
        Self::on(ana.session(), ana)
    }

    fn on(mut session: Session, ana: &Person) -> Self {
        let (lease, ()) = session.take_port(|_| Some(())).unwrap();
        session.give_port_back(lease);
        let chat = Chat::ask(session, &user("bob"), &Options::default()).unwrap();
        let mut id = [0; 16];
        hex::decode_to_slice(chat.chat(), &mut id).unwrap();
        Self {
            chat,
            lease,
            id,
            key: *ana.account.public_key(),
        }
    }

    /// Knocks with CURVE and these keys.
    fn knock(&self, keys: &KeyPair) -> Knock {
        Knock::with(self.lease.port, |socket| {
            socket.set_curve_serverkey(&self.key).unwrap();
            socket.set_curve_publickey(&keys.public).unwrap();
            socket.set_curve_secretkey(keys.secret()).unwrap();
        })
    }

    /// What an honest other side would send first: a hello, and then a line.
    fn forged(&self) -> Vec<Vec<u8>> {
        forged(self.id, self.lease.epoch)
    }

    /// Lets bob accept, checks that nothing but what he says is heard, and ends the chat.
    fn meets_only(self, bob: &Person) -> Session {
        self.meets_while(bob, |_| ())
    }

    /// The same, and something else happens when bob is there and has said nothing yet.
    fn meets_while(mut self, bob: &Person, also: impl FnOnce(&Self)) -> Session {
        let mut accepted = bob.accept();
        wait_open(&mut self.chat);
        also(&self);
        say_numbers(&accepted, "true", 50);
        hear_numbers(&mut self.chat, "true", 50);
        leave(&mut accepted, &mut self.chat);
        assert_eq!(lines_left(&mut self.chat), Vec::<String>::new());
        accepted.finish().session.unwrap().close().unwrap();
        self.chat.finish().session.unwrap()
    }

    /// Waits until so many messages were dropped.
    fn wait_dropped(&self, count: u64) {
        eventually("the forged messages", || {
            (self.chat.dropped() >= count).then_some(())
        });
    }
}

/// A socket of somebody who wants to get in.
struct Knock {
    push: zmq::Socket,
    monitor: zmq::Socket,
    _context: zmq::Context,
}

impl Knock {
    fn with(port: u16, mechanism: impl Fn(&zmq::Socket)) -> Self {
        let context = zmq::Context::new();
        let push = context.socket(zmq::PUSH).unwrap();
        push.set_linger(0).unwrap();
        push.set_reconnect_ivl(50).unwrap();
        mechanism(&push);
        push.monitor("inproc://seen", 0xffff).unwrap();
        let monitor = context.socket(zmq::PAIR).unwrap();
        monitor.connect("inproc://seen").unwrap();
        monitor.set_rcvtimeo(30_000).unwrap();
        push.connect(&format!("tcp://127.0.0.1:{port}")).unwrap();
        Self {
            push,
            monitor,
            _context: context,
        }
    }

    /// Sends frames, as soon as there is a connection.
    fn say(&self, frames: &[Vec<u8>]) -> &Self {
        for frame in frames {
            self.push.send(&frame[..], 0).unwrap();
        }
        self
    }

    /// Waits until the other side has judged the key. Returns whether it let it in.
    fn is_let_in(&self) -> bool {
        loop {
            let frames = self.monitor.recv_multipart(0).expect("a verdict");
            #[expect(
                clippy::host_endian_bytes,
                reason = "libzmq writes monitor events in the order of the machine"
            )]
            let raw = u16::from_ne_bytes([frames[0][0], frames[0][1]]);
            let is = |event: SocketEvent| raw == event.to_raw();
            if is(SocketEvent::HANDSHAKE_SUCCEEDED) {
                return true;
            }
            if is(SocketEvent::HANDSHAKE_FAILED_AUTH)
                || is(SocketEvent::HANDSHAKE_FAILED_PROTOCOL)
                || is(SocketEvent::HANDSHAKE_FAILED_NO_DETAIL)
            {
                return false;
            }
        }
    }
}

fn hello(chat: [u8; 16], port: u16) -> Frame {
    let hello = Hello {
        magic: MAGIC.into(),
        version: VERSION,
        epoch: 77,
        port,
        host: Some("127.0.0.1".into()),
        through: 0,
        met: true,
    };
    Frame::Hello { chat, hello }
}

fn line(seq: u64) -> Frame {
    let text = "forged".into();
    Frame::Line { seq, text }
}

fn forged(chat: [u8; 16], epoch: u64) -> Vec<Vec<u8>> {
    let bye = Frame::Note {
        seq: 2,
        note: Note::Bye,
    };
    [hello(chat, 9), line(1), bye]
        .map(|frame| frame.encode(epoch))
        .to_vec()
}

/// Lines that were told and not read yet.
fn lines_left(chat: &mut Chat) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(told) = chat.next(Duration::ZERO) {
        if let Told::Chat(Event::Line { text, .. }) = told {
            lines.push(text);
        }
    }
    lines
}

fn server() -> Server {
    Server::start_with(16, &["--port-rest", "100ms", "--ports-per-user", "16"])
}

fn pair(server: &Server) -> (Person, Person) {
    (Person::new(server, "ana"), Person::new(server, "bob"))
}

#[test]
fn p11_only_the_invited_key_gets_a_line_in() {
    let server = server();
    let (ana, bob) = pair(&server);
    let eva = Person::new(&server, "eva");
    let waiting = Waiting::new(&ana);
    // Registered after the asking: not among those who were invited.
    let late = bob.other_device(&server);
    let stranger = KeyPair::generate().unwrap();
    for keys in [
        &stranger,
        eva.account.keys().expect("an open key"),
        late.account.keys().expect("an open key"),
        ana.account.keys().expect("an open key"),
    ] {
        let knock = waiting.knock(keys);
        assert!(!knock.say(&waiting.forged()).is_let_in());
    }
    waiting.meets_only(&bob);
}

#[test]
fn p11_other_mechanisms_than_curve_are_refused() {
    let server = server();
    let (ana, bob) = pair(&server);
    let waiting = Waiting::new(&ana);
    let plain = |socket: &zmq::Socket| {
        socket.set_plain_username(Some("bob")).unwrap();
        socket.set_plain_password(Some("bob")).unwrap();
    };
    let mechanisms: [&dyn Fn(&zmq::Socket); 2] = [&|_| (), &plain];
    for mechanism in mechanisms {
        let knock = Knock::with(waiting.lease.port, mechanism);
        assert!(!knock.say(&waiting.forged()).is_let_in());
    }
    waiting.meets_only(&bob);
}

#[test]
fn p11_the_right_key_with_the_wrong_chat_opens_nothing() {
    let server = server();
    let (ana, bob) = pair(&server);
    let waiting = Waiting::new(&ana);
    let knock = waiting.knock(bob.account.keys().expect("an open key"));
    let (id, epoch) = (waiting.id, waiting.lease.epoch);
    let mut other = id;
    other[15] ^= 1;
    let frames = [
        forged(other, epoch),
        forged(id, epoch + 1),
        forged(id, 0),
        // Without a hello before it.
        vec![line(1).encode(epoch)],
        // A hello that names no place.
        vec![hello(id, 0).encode(epoch)],
    ]
    .concat();
    assert!(knock.say(&frames).is_let_in());
    waiting.wait_dropped(frames.len() as u64);
    waiting.meets_only(&bob);
}

#[test]
fn p11_another_device_of_the_same_user_gets_no_line_into_a_running_chat() {
    let server = server();
    let (ana, bob) = pair(&server);
    let other = bob.other_device(&server);
    let mut waiting = Waiting::new(&ana);
    let early = waiting.knock(other.account.keys().expect("an open key"));
    assert!(early.is_let_in(), "it was invited too");
    let mut accepted = bob.accept();
    wait_open(&mut waiting.chat);
    early.say(&waiting.forged());
    waiting.wait_dropped(3);
    let knock = waiting.knock(other.account.keys().expect("an open key"));
    assert!(!knock.say(&waiting.forged()).is_let_in(), "bob is here");
    talk(&mut waiting.chat, &mut accepted, 50);
    assert_eq!(lines_left(&mut waiting.chat), Vec::<String>::new());
}

#[test]
fn p11_frames_of_an_earlier_chat_count_for_nothing_in_the_next() {
    let server = server();
    let (ana, bob) = pair(&server);
    let first = Waiting::new(&ana);
    let old = first.forged();
    let first_epoch = first.lease.epoch;
    let session = first.meets_only(&bob);
    let second = Waiting::on(session, &ana);
    assert_ne!(second.lease.epoch, first_epoch);
    let knock = second.knock(bob.account.keys().expect("an open key"));
    assert!(knock.say(&old).is_let_in(), "bob's device is invited");
    second.wait_dropped(old.len() as u64);
    // Of the key of the one who is there: only the epoch tells.
    second.meets_while(&bob, |second| {
        knock.say(&old);
        second.wait_dropped(2 * old.len() as u64);
    });
}

#[test]
fn p06_an_old_peer_that_reconnects_to_a_reused_port_gets_no_line_in() {
    // Two ports for two sides: each chat has those of the one before.
    let server = Server::start_with(2, &["--port-rest", "100ms"]);
    let (ana, bob) = pair(&server);
    let first = Waiting::new(&ana);
    let old = first.forged();
    let knock = first.knock(bob.account.keys().expect("an open key"));
    assert!(knock.is_let_in());
    let port = first.lease.port;
    let mut session = first.meets_only(&bob);
    let second = eventually("the same port", || {
        let (lease, ()) = session.take_port(|_| Some(())).ok()?;
        if lease.port == port {
            return Some(lease);
        }
        session.release_port(lease);
        None
    });
    session.give_port_back(second);
    let second = Waiting::on(session, &ana);
    assert_eq!(second.lease.port, port);
    // Its PUSH is connected again by itself; bob's device is invited again.
    knock.say(&old);
    second.wait_dropped(old.len() as u64);
    // Of the key of the one who is there: only the epoch tells.
    second.meets_while(&bob, |second| {
        knock.say(&old);
        second.wait_dropped(2 * old.len() as u64);
    });
}

#[test]
fn p11_a_chat_that_nobody_invited_to_is_nowhere() {
    let server = server();
    let (ana, bob) = pair(&server);
    let mut session = bob.session();
    let waiting = ana.ask(&bob);
    let row = open_invitation(&mut session);
    session.chat_decline(&row.chat, false).unwrap();
    // Declined, and another device of bob's wants it after all.
    let other = bob.other_device(&server);
    let accepted = Chat::accept(other.session(), &row, &Options::default());
    assert!(accepted.is_err());
    let again = Chat::accept(session, &row, &Options::default());
    assert!(again.is_err());
    waiting.finish();
    let rows = bob.session().chats().unwrap();
    assert!(rows.iter().all(|row| row.state != ChatState::Open));
}

#[test]
fn p09_garbage_and_oversize_frames_harm_no_chat() {
    let server = server();
    let (ana, bob) = pair(&server);
    let mut waiting = Waiting::new(&ana);
    let mut accepted = bob.accept();
    wait_open(&mut waiting.chat);
    let mut rng = Rng::announced("p09_garbage_and_oversize_frames_harm_no_chat");
    let garbage: Vec<Vec<u8>> = (0..200).map(|_| bytes(&mut rng, 300)).collect();
    let knock = waiting.knock(bob.account.keys().expect("an open key"));
    assert!(knock.say(&garbage).say(&[Vec::new()]).is_let_in());
    knock.push.send_multipart(waiting.forged(), 0).unwrap();
    waiting.wait_dropped(garbage.len() as u64 + 1);
    let large = vec![b'L'; 2 * limits::FRAME_BYTES_MAX];
    knock.say(&[large]);
    for _ in 0..20 {
        // The connection is closed on it, now or when it is known to be no ZeroMQ.
        let mut stream = TcpStream::connect(("127.0.0.1", waiting.lease.port)).unwrap();
        drop(stream.write_all(&bytes(&mut rng, 5_000)));
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        drop(stream.read(&mut [0; 512]));
    }
    talk(&mut waiting.chat, &mut accepted, 300);
    leave(&mut accepted, &mut waiting.chat);
    assert_eq!(lines_left(&mut waiting.chat), Vec::<String>::new());
}

fn bytes(rng: &mut Rng, most: usize) -> Vec<u8> {
    let length = 1 + rng.index(most);
    rng.bytes(length)
}
