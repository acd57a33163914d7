//! The live socket (XPUB in manual mode) and the socket options that the binding lacks.
//!
//! The only file with `unsafe`. In manual mode a subscription has no effect until it is granted, and
//! a grant applies to the connection whose subscription was *received last*: so receive, decide,
//! grant, and only then receive again. This file never decides; the core does.

use std::collections::{HashMap, HashSet};
use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;

use zmq::{DONTWAIT, SNDMORE};

use super::io::Frame;
use crate::auth::keys::KeyPair;
use crate::limits;
use crate::protocol::PublicKey;
use crate::protocol::notice::NoticeKey;

/// From zmq.h; zmq 0.9.2 has no setters for these.
const ZMQ_XPUB_MANUAL: c_int = 71;
const ZMQ_TCP_MAXRT: c_int = 80;
const ZMQ_ZAP_ENFORCE_DOMAIN: c_int = 93;

/// Messages libzmq holds for one peer that does not read. Above a stream's window, so that the
/// replies to a full window that one sync completes all find room; not much above, since a client
/// that asks for pages and reads none makes the server hold so many.
const SEND_QUEUE_MAX: i32 = 1_280;

/// Messages libzmq reads ahead from one peer: with [`limits::FRAME_BYTES_MAX`] a bound on memory.
const RECEIVE_QUEUE_MAX: i32 = 64;

/// Notices held back while subscriptions wait; more are lost, as to a slow reader.
const HELD_MAX: usize = 1_024;

/// Messages that are taken for what was left of a connection that was ended: about what its socket's
/// buffers hold.
const LEFT_MAX: u32 = 16_384;

/// What tells the two server sockets apart.
#[derive(Debug, Clone, Copy)]
pub struct Guard<'a> {
    /// The ZAP domain that decides who connects.
    pub domain: &'a str,
    /// Bytes of one incoming frame; a peer that sends more is cut off.
    pub frame_bytes_max: usize,
    /// Whether the socket listens on an IPv6 address.
    pub ipv6: bool,
}

/// Sets everything a server socket needs before it is bound: CURVE, ZAP, and bounds on what a peer
/// can make libzmq hold or wait for.
pub fn guard(socket: &mut zmq::Socket, keys: &KeyPair, guard: Guard<'_>) -> zmq::Result<()> {
    socket.set_curve_server(true)?;
    socket.set_curve_publickey(&keys.public)?;
    socket.set_curve_secretkey(keys.secret())?;
    socket.set_zap_domain(guard.domain)?;
    // Without this a missing ZAP handler would let everybody in. It has no setter in the zmq crate.
    set_int(socket, ZMQ_ZAP_ENFORCE_DOMAIN, 1)?;
    let wire_bytes = guard.frame_bytes_max + limits::CURVE_BYTES;
    socket.set_maxmsgsize(i64::try_from(wire_bytes).expect("frame limits are small numbers"))?;
    socket.set_ipv6(guard.ipv6)?;
    socket.set_handshake_ivl(limits::HANDSHAKE_MS)?;
    // Dead peers are the kernel's to find. libzmq's own heartbeats end a timer with every message, and
    // it looks for that timer through those of all connections: with 7,000 of them that was a third of
    // what its thread did. Clients still send theirs, and are answered.
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(15)?;
    socket.set_tcp_keepalive_intvl(5)?;
    socket.set_tcp_keepalive_cnt(3)?;
    set_int(socket, ZMQ_TCP_MAXRT, 30_000)?;
    socket.set_linger(0)?;
    socket.set_backlog(4_096)?;
    socket.set_sndhwm(SEND_QUEUE_MAX)?;
    socket.set_rcvhwm(RECEIVE_QUEUE_MAX)
}

/// The live socket.
///
/// Two faults of libzmq (seen in 4.3.4, the first also in what was its newest source in 2026) would let
/// a grant reach another connection than the one that asked, that is, another user:
///
/// - A message from a client that is no subscription makes libzmq take the next subscription's
///   connection for this one's, and so on until nothing waits any more.
/// - A subscription may be received when its connection has ended already. A grant then belongs to
///   whichever later connection libzmq keeps at the same place in memory.
///
/// So a grant is *sure* only while no such message was received since nothing waited; a connection that
/// ended shows itself behind its subscriptions as an end without a key, and while anything waits nothing
/// is published under what was granted since. Both are told, and the core changes the key.
pub struct LiveSocket {
    socket: zmq::Socket,
    /// Granted since nothing waited.
    young: HashSet<NoticeKey>,
    /// Whether something that is no subscription was received since nothing waited.
    astray: bool,
    /// Published under young keys: goes out when nothing waits.
    held: Vec<(NoticeKey, Frame, Option<Frame>)>,
    /// The file handle of the connection whose message was received last, and its key.
    last: Option<(RawFd, PublicKey)>,
    ended: Ended,
}

/// The connections that were ended since nothing waited: what else waits from them must not end who has
/// the handle next.
#[derive(Debug, Default)]
struct Ended(HashMap<RawFd, (PublicKey, u32)>);

impl Ended {
    /// Says whether a message is one for which its connection must be ended, and not what was left of one
    /// that was.
    ///
    /// A message with another key is of another connection. With the same key it may be of the next: who
    /// comes back at once and goes on, so that always something waits, gets the same handle.
    fn is_new(&mut self, handle: RawFd, key: PublicKey) -> bool {
        let (whose, left) = self.0.entry(handle).or_insert((key, 0));
        if *whose != key || *left == LEFT_MAX {
            (*whose, *left) = (key, 0);
        }
        *left += 1;
        *left == 1
    }
}

impl std::fmt::Debug for LiveSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveSocket").finish_non_exhaustive()
    }
}

/// What came on the live socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// One subscription frame.
    Subscription {
        /// The CURVE key that the connection proved.
        key: PublicKey,
        /// What it wants to subscribe to: any bytes.
        topic: Vec<u8>,
        /// Whether a grant would reach this connection.
        sure: bool,
    },
    /// The connection with this key ended one of its subscriptions.
    Unsubscription(PublicKey),
    /// A message that is no subscription, from the connection with this key.
    Stray(PublicKey),
    /// A grant of this key may have reached another connection.
    Doubt(NoticeKey),
    /// Nothing that anybody has to know of: a subscription ended with its connection.
    End,
}

impl LiveSocket {
    /// Makes the socket, guarded and in manual mode, not bound yet.
    pub fn new(context: &zmq::Context, keys: &KeyPair, ipv6: bool) -> zmq::Result<Self> {
        let mut socket = context.socket(zmq::XPUB)?;
        let limits = Guard {
            domain: super::zap::LIVE_DOMAIN,
            frame_bytes_max: limits::SUBSCRIPTION_FRAME_BYTES_MAX,
            ipv6,
        };
        guard(&mut socket, keys, limits)?;
        set_int(&mut socket, ZMQ_XPUB_MANUAL, 1)?;
        Ok(Self {
            socket,
            young: HashSet::new(),
            astray: false,
            held: Vec::new(),
            last: None,
            ended: Ended::default(),
        })
    }

    /// Returns the socket for binding and polling. Receiving or setting options on it would break
    /// the order that grants rest on.
    pub fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Receives what comes next, one message at most: who sends without end must not hold the caller.
    /// Nothing when nothing waits. A client's unsubscription is carried out here.
    pub fn receive(&mut self) -> zmq::Result<Option<Heard>> {
        let Some(mut frame) = retry(|| self.socket.recv_msg(DONTWAIT))? else {
            return self.nothing_waits().map(|()| None);
        };
        let key = user_id(&mut frame);
        self.last = file_handle(&mut frame).zip(key);
        let heard = match (frame.split_first(), key) {
            (Some((1, topic)), Some(key)) => Heard::Subscription {
                key,
                topic: topic.to_vec(),
                sure: !self.astray,
            },
            (Some((0, topic)), Some(key)) => {
                // Else it might end another connection's subscription.
                if !self.astray {
                    self.socket.set_unsubscribe(topic)?;
                }
                Heard::Unsubscription(key)
            }
            // What libzmq itself says when a connection ends.
            (Some((0, topic)), None) => self.left(topic).unwrap_or(Heard::End),
            (Some((1, _)), None) => Heard::End,
            (_, key) => {
                self.astray = true;
                key.map_or(Heard::End, Heard::Stray)
            }
        };
        Ok(Some(heard))
    }

    /// Notes that a connection with a subscription to `topic` ended.
    fn left(&mut self, topic: &[u8]) -> Option<Heard> {
        let key = NoticeKey::from_bytes(topic)?;
        self.young.remove(&key).then(|| {
            self.held.retain(|(held, ..)| *held != key);
            Heard::Doubt(key)
        })
    }

    fn nothing_waits(&mut self) -> zmq::Result<()> {
        self.astray = false;
        self.young.clear();
        self.ended.0.clear();
        for (key, header, body) in std::mem::take(&mut self.held) {
            self.put(key, &header, body.as_deref())?;
        }
        Ok(())
    }

    /// Grants `key` to the connection whose subscription was received last.
    pub fn grant(&mut self, key: NoticeKey) -> zmq::Result<()> {
        self.young.insert(key);
        self.socket.set_subscribe(&key.to_bytes())
    }

    /// Ends the connection whose message was received last, and it alone: what libzmq kept for it goes with
    /// it. A client comes back by itself, if ZAP lets it.
    pub fn cut(&mut self) {
        let Some((handle, key)) = self.last else {
            return tracing::warn!("libzmq does not say whose connection to end");
        };
        if self.ended.is_new(handle, key) {
            shut_down(handle);
        }
    }

    /// Publishes to every connection that was granted `key`, at once or when nothing waits to be
    /// received. Slow readers miss it: live frames are hints.
    pub fn publish(
        &mut self,
        key: NoticeKey,
        header: Frame,
        body: Option<Frame>,
    ) -> zmq::Result<()> {
        if !self.young.contains(&key) {
            return self.put(key, &header, body.as_deref());
        }
        if self.held.len() < HELD_MAX {
            self.held.push((key, header, body));
        }
        Ok(())
    }

    fn put(&self, key: NoticeKey, header: &[u8], body: Option<&[u8]>) -> zmq::Result<()> {
        self.put_frame(&key.to_bytes(), SNDMORE)?;
        self.put_frame(header, if body.is_some() { SNDMORE } else { 0 })?;
        body.map_or(Ok(()), |body| self.put_frame(body, 0))
    }

    fn put_frame(&self, frame: &[u8], more: i32) -> zmq::Result<()> {
        retry(|| self.socket.send(frame, DONTWAIT | more)).map(drop)
    }
}

/// Calls until no signal interrupts; nothing when it would have to wait.
pub fn retry<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<Option<T>> {
    loop {
        match call() {
            Ok(value) => return Ok(Some(value)),
            Err(zmq::Error::EAGAIN) => return Ok(None),
            Err(zmq::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the CURVE key that ZAP noted on a message; nothing means: trust nobody.
pub fn user_id(message: &mut zmq::Message) -> Option<PublicKey> {
    let mut key = [0; 32];
    hex::decode_to_slice(message.gets("User-Id")?, &mut key).ok()?;
    Some(key)
}

/// Returns the file handle of the connection that a message came by: libzmq's `ZMQ_SRCFD`, which the
/// binding lacks, by the name under which libzmq keeps it (4.2.0 to what was its newest source in 2026).
fn file_handle(message: &mut zmq::Message) -> Option<RawFd> {
    message.gets("__fd")?.parse().ok()
}

/// Ends a connection; libzmq sees its end and closes it. It may have closed it already: then this does
/// nothing, or ends a connection that was made in this very moment, whose client makes another.
#[expect(
    unsafe_code,
    reason = "the handle is libzmq's, whose thread may close it"
)]
fn shut_down(handle: RawFd) {
    // SAFETY: shutdown takes any number and touches no memory of this process. What is no connection
    // (the listening sockets keep their handles) it leaves alone.
    unsafe { libc::shutdown(handle, libc::SHUT_RDWR) };
}

#[expect(unsafe_code, reason = "zmq 0.9.2 has no setter for these options")]
fn set_int(socket: &mut zmq::Socket, option: c_int, value: c_int) -> zmq::Result<()> {
    let place: *const c_int = &raw const value;
    // SAFETY: the socket is open for as long as it is borrowed, and borrowed mutably so that no
    // other call is under way; libzmq reads `size_of::<c_int>()` bytes at `place`, which is a live
    // local of that size, and keeps no pointer to it.
    let code = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            option,
            place.cast::<c_void>(),
            size_of::<c_int>(),
        )
    };
    if code == 0 {
        return Ok(());
    }
    // SAFETY: takes nothing and returns this thread's last error number.
    let errno = unsafe { zmq_sys::zmq_errno() };
    Err(zmq::Error::from_raw(errno))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::testing::{Ground, raw_bytes};

    /// A live socket behind a ZAP handler that lets in whoever is in `known`.
    fn live(ground: &Ground) -> (LiveSocket, String) {
        let live = LiveSocket::new(&ground.context, &ground.server, false).unwrap();
        live.socket.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = live.socket.get_last_endpoint().unwrap().unwrap();
        (live, endpoint)
    }

    /// Waits for the next subscription, answering ZAP on the way.
    fn subscription(ground: &Ground, live: &mut LiveSocket, known: &[PublicKey]) -> Asked {
        loop {
            match live.receive().unwrap() {
                Some(Heard::Subscription { key, topic, sure }) => {
                    return Asked { key, topic, sure };
                }
                Some(_) => {}
                None => ground.serve_zap(&live.socket, known),
            }
        }
    }

    struct Asked {
        key: PublicKey,
        topic: Vec<u8>,
        sure: bool,
    }

    /// Publishes when nothing waits.
    fn publish(live: &mut LiveSocket, key: NoticeKey, header: &[u8], body: Option<&[u8]>) {
        assert_eq!(live.receive().unwrap(), None);
        let (header, body) = (header.into(), body.map(Into::into));
        live.publish(key, header, body).unwrap();
    }

    const ANA: NoticeKey = NoticeKey {
        log: 1,
        generation: 1,
    };
    const BOB: NoticeKey = NoticeKey {
        log: 2,
        generation: 1,
    };

    #[test]
    fn p05_only_what_is_granted_arrives() {
        let ground = Ground::new();
        let (mut live, endpoint) = live(&ground);
        let keys = KeyPair::generate().unwrap();
        let client = ground.client(zmq::SUB, &keys, &endpoint);
        for topic in [
            &b""[..],
            &ANA.to_bytes()[..8],
            &BOB.to_bytes(),
            &ANA.to_bytes(),
        ] {
            client.set_subscribe(topic).unwrap();
        }
        let mut asked = Vec::new();
        while asked.len() < 4 {
            let subscription = subscription(&ground, &mut live, &[keys.public]);
            assert_eq!(subscription.key, keys.public);
            if subscription.topic == ANA.to_bytes() {
                live.grant(ANA).unwrap();
            }
            asked.push(subscription.topic);
        }
        publish(&mut live, BOB, b"{}", Some(b"secret"));
        publish(&mut live, ANA, b"{}", Some(b"hello"));
        publish(&mut live, ANA, b"[]", None);
        let mine = |header: &[u8], body: Option<&[u8]>| {
            let mut frames = vec![ANA.to_bytes().to_vec(), header.to_vec()];
            frames.extend(body.map(<[u8]>::to_vec));
            frames
        };
        assert_eq!(
            client.recv_multipart(0).unwrap(),
            mine(b"{}", Some(b"hello"))
        );
        assert_eq!(client.recv_multipart(0).unwrap(), mine(b"[]", None));
    }

    /// The handler is bound before the sockets; should it ever be missing, nobody gets in.
    #[test]
    fn p05_without_a_zap_handler_nobody_gets_in() {
        let ground = Ground::new();
        let bare = zmq::Context::new();
        let mut socket = bare.socket(zmq::ROUTER).unwrap();
        let guarded = Guard {
            domain: "mail",
            frame_bytes_max: 1_024,
            ipv6: false,
        };
        guard(&mut socket, &ground.server, guarded).unwrap();
        let failed = zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL.to_raw();
        socket.monitor("inproc://watch", failed.into()).unwrap();
        let watch = bare.socket(zmq::PAIR).unwrap();
        watch.connect("inproc://watch").unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = socket.get_last_endpoint().unwrap().unwrap();
        let client = ground.client(zmq::DEALER, &KeyPair::generate().unwrap(), &endpoint);
        client.send("let me in", 0).unwrap();
        let mut items = [
            socket.as_poll_item(zmq::POLLIN),
            watch.as_poll_item(zmq::POLLIN),
        ];
        zmq::poll(&mut items, 10_000).unwrap();
        assert!(!items[0].is_readable(), "somebody got in");
        assert!(items[1].is_readable(), "nothing was refused");
    }

    #[test]
    fn p05_a_grant_is_for_one_connection() {
        let ground = Ground::new();
        let (mut live, endpoint) = live(&ground);
        let (ana, eve) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let known = [ana.public, eve.public];
        let clients = [&ana, &eve].map(|keys| ground.client(zmq::SUB, keys, &endpoint));
        for client in &clients {
            client.set_subscribe(&ANA.to_bytes()).unwrap();
            client.set_subscribe(&BOB.to_bytes()).unwrap();
        }
        for _ in 0..4 {
            let asked = subscription(&ground, &mut live, &known);
            let own = if asked.key == ana.public { ANA } else { BOB };
            if asked.topic == own.to_bytes() {
                live.grant(own).unwrap();
            }
        }
        publish(&mut live, ANA, b"a", None);
        publish(&mut live, BOB, b"b", None);
        for (client, word) in clients.iter().zip([b"a", b"b"]) {
            assert_eq!(client.recv_multipart(0).unwrap()[1], word);
            assert_eq!(client.recv_bytes(DONTWAIT), Err(zmq::Error::EAGAIN));
        }
    }

    #[test]
    fn a_subscription_ends_and_begins_again() {
        let ground = Ground::new();
        let (mut live, endpoint) = live(&ground);
        let keys = KeyPair::generate().unwrap();
        let client = ground.client(zmq::SUB, &keys, &endpoint);
        let granted = |live: &mut LiveSocket, topic: &[u8]| {
            client.set_subscribe(topic).unwrap();
            let asked = subscription(&ground, live, &[keys.public]);
            assert_eq!(asked.topic, topic);
            live.grant(NoticeKey::from_bytes(topic).unwrap()).unwrap();
        };
        granted(&mut live, &ANA.to_bytes());
        client.set_unsubscribe(&ANA.to_bytes()).unwrap();
        // The frames of one client come in order: with this one, the end of the other is in force.
        granted(&mut live, &BOB.to_bytes());
        publish(&mut live, ANA, b"missed", None);
        granted(&mut live, &ANA.to_bytes());
        publish(&mut live, ANA, b"again", None);
        assert_eq!(client.recv_multipart(0).unwrap()[1], b"again");
    }

    #[test]
    fn p09_strangers_and_garbage_leave_the_live_socket_whole() {
        let ground = Ground::new();
        let (mut live, endpoint) = live(&ground);
        let known = KeyPair::generate().unwrap();
        let stranger = ground.client(zmq::SUB, &KeyPair::generate().unwrap(), &endpoint);
        stranger.set_subscribe(b"").unwrap();
        let plain = ground.context.socket(zmq::SUB).unwrap();
        plain.set_linger(0).unwrap();
        plain.connect(&endpoint).unwrap();
        plain.set_subscribe(b"").unwrap();
        let greedy = ground.client(zmq::SUB, &known, &endpoint);
        greedy.set_subscribe(&[7; 4_000]).unwrap();
        raw_bytes(&endpoint);
        let client = ground.client(zmq::SUB, &known, &endpoint);
        client.set_subscribe(&ANA.to_bytes()).unwrap();
        let asked = subscription(&ground, &mut live, &[known.public]);
        assert_eq!(asked.topic, ANA.to_bytes(), "nothing else gets this far");
        assert_eq!(asked.key, known.public);
    }

    /// Lets libzmq's own thread do what it has to: it gives no event for what it has read ahead.
    fn settled() {
        zmq::poll(&mut [], 200).unwrap();
    }

    #[test]
    fn p09_a_connection_is_cut_and_no_other() {
        let ground = Ground::new();
        let (mut live, endpoint) = live(&ground);
        let (bob, eve) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let known = [bob.public, eve.public];
        let reader = ground.client(zmq::SUB, &bob, &endpoint);
        reader.set_subscribe(&BOB.to_bytes()).unwrap();
        subscription(&ground, &mut live, &known);
        live.grant(BOB).unwrap();
        let greedy = ground.client(zmq::SUB, &eve, &endpoint);
        greedy.set_subscribe(b"once").unwrap();
        assert_eq!(subscription(&ground, &mut live, &known).key, eve.public);
        live.cut();
        live.cut();
        // Its library comes back, and subscribes to all it wants as soon as it is asked for something.
        settled();
        assert_eq!(greedy.recv_bytes(DONTWAIT), Err(zmq::Error::EAGAIN));
        let again = subscription(&ground, &mut live, &known);
        assert_eq!((again.key, &again.topic[..]), (eve.public, &b"once"[..]));
        settled();
        publish(&mut live, BOB, b"undisturbed", None);
        reader.set_rcvtimeo(10_000).unwrap();
        assert_eq!(reader.recv_multipart(0).unwrap()[1], b"undisturbed");
        assert!(
            live.ended.0.is_empty(),
            "the next who has the handle may be cut"
        );
    }

    #[test]
    fn p09_who_comes_back_with_the_same_handle_and_goes_on_is_cut_again() {
        let (eve, bob) = ([1; 32], [2; 32]);
        let mut ended = Ended::default();
        let cut = (0..2 * LEFT_MAX).filter(|_| ended.is_new(7, eve)).count();
        assert_eq!(cut, 2, "what is left of a connection ends nobody");
        assert!(ended.is_new(8, eve), "each of hers");
        assert!(ended.is_new(7, bob), "this is not hers");
        assert!(!ended.is_new(7, bob));
    }

    #[test]
    fn p05_a_frame_that_is_no_subscription_turns_no_grant_to_another() {
        let ground = Ground::new();
        let (mut live, endpoint) = live(&ground);
        let (bob, eve) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let known = [bob.public, eve.public];
        let reader = ground.client(zmq::XSUB, &bob, &endpoint);
        let spies = [(); 2].map(|()| ground.client(zmq::XSUB, &eve, &endpoint));
        for client in [&reader, &spies[0], &spies[1]] {
            client.send(&b"\x01here"[..], 0).unwrap();
        }
        for _ in 0..3 {
            subscription(&ground, &mut live, &known);
        }
        // All of it waits when the first is received: something that is none, bob's, eve's.
        let wanted = [&b"\x01"[..], &BOB.to_bytes()].concat();
        spies[0].send(&b"\x02none"[..], 0).unwrap();
        reader.send(wanted, 0).unwrap();
        spies[1].send(&b"\x01there"[..], 0).unwrap();
        settled();
        let mut strays = 0;
        for _ in 0..3 {
            match live.receive().unwrap() {
                Some(Heard::Subscription {
                    key, sure: true, ..
                }) if key == bob.public => {
                    live.grant(BOB).unwrap();
                }
                Some(Heard::Stray(key)) => strays += usize::from(key == eve.public),
                _ => {}
            }
        }
        assert_eq!(strays, 1);
        publish(&mut live, BOB, b"secret", None);
        spies[1].set_rcvtimeo(300).unwrap();
        assert_eq!(spies[1].recv_bytes(0), Err(zmq::Error::EAGAIN));
        reader.send(&b"\x01later"[..], 0).unwrap();
        assert!(subscription(&ground, &mut live, &known).sure, "it passes");
    }

    #[test]
    fn p09_who_ends_subscriptions_on_and_on_does_not_hold_the_caller() {
        let ground = Ground::new();
        let (mut live, endpoint) = live(&ground);
        let eve = KeyPair::generate().unwrap();
        let client = ground.client(zmq::XSUB, &eve, &endpoint);
        client.send(&b"\x01here"[..], 0).unwrap();
        subscription(&ground, &mut live, &[eve.public]);
        for _ in 0..50 {
            client.send(&b"\x00here"[..], 0).unwrap();
            client.send(&b"\x01here"[..], 0).unwrap();
        }
        let mut messages = 0;
        for _ in 0..50 {
            messages += std::iter::from_fn(|| live.receive().unwrap()).count();
            if messages < 100 {
                settled();
            }
        }
        assert_eq!(messages, 100, "one at a time");
    }

    #[test]
    fn p05_a_grant_to_who_has_left_is_doubted_and_nothing_goes_out_under_it() {
        let ground = Ground::new();
        let (mut live, endpoint) = live(&ground);
        let (bob, eve) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let known = [bob.public, eve.public];
        let crowd = [(); 5].map(|()| ground.client(zmq::XSUB, &eve, &endpoint));
        let reader = ground.client(zmq::XSUB, &bob, &endpoint);
        for client in crowd.iter().chain([&reader]) {
            client.send(&b"\x01here"[..], 0).unwrap();
            subscription(&ground, &mut live, &known);
        }
        // So many wait in front of his that libzmq looks after connections before it is received.
        for (nth, client) in (0..50).flat_map(|nth| crowd.iter().map(move |client| (nth, client))) {
            client.send(format!("\u{1}{nth}").as_bytes(), 0).unwrap();
        }
        let wanted = [&b"\x01"[..], &BOB.to_bytes()].concat();
        reader.send(wanted, 0).unwrap();
        settled();
        drop(reader);
        settled();
        let mut doubts = Vec::new();
        let mut granted = false;
        let mut strangers = 0;
        while let Some(heard) = live.receive().unwrap() {
            if strangers % 50 == 1 {
                settled();
            }
            match heard {
                Heard::Subscription { key, topic, .. } if key == bob.public => {
                    assert_eq!(topic, BOB.to_bytes());
                    live.grant(BOB).unwrap();
                    let notice: Frame = b"secret"[..].into();
                    live.publish(BOB, notice, None).unwrap();
                    assert_eq!(live.held.len(), 1);
                    granted = true;
                }
                Heard::Doubt(key) => doubts.push(key),
                _ => strangers += 1,
            }
        }
        assert!(granted);
        assert_eq!(doubts, [BOB]);
        assert!(live.held.is_empty() && live.young.is_empty());
    }

    #[test]
    fn an_option_libzmq_does_not_know_is_an_error() {
        let context = zmq::Context::new();
        let mut socket = context.socket(zmq::XPUB).unwrap();
        assert_eq!(set_int(&mut socket, 9_999, 1), Err(zmq::Error::EINVAL));
    }
}
