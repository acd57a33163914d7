//! The live socket (XPUB in manual mode) and the socket options that the binding lacks.
//!
//! The only file with `unsafe`. In manual mode a subscription has no effect until it is granted, and
//! a grant applies to the connection whose subscription was *received last*: so receive, decide,
//! grant, and only then receive again. This file never decides; the core does.

use std::ffi::{c_int, c_void};

use zmq::{DONTWAIT, SNDMORE};

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
    // Without this a missing ZAP handler would let everybody in.
    set_int(socket, ZMQ_ZAP_ENFORCE_DOMAIN, 1)?;
    let wire_bytes = guard.frame_bytes_max + limits::CURVE_BYTES;
    socket.set_maxmsgsize(i64::try_from(wire_bytes).expect("frame limits are small numbers"))?;
    socket.set_ipv6(guard.ipv6)?;
    socket.set_handshake_ivl(5_000)?;
    socket.set_heartbeat_ivl(10_000)?;
    socket.set_heartbeat_timeout(30_000)?;
    socket.set_heartbeat_ttl(30_000)?;
    set_int(socket, ZMQ_TCP_MAXRT, 30_000)?;
    socket.set_linger(0)?;
    socket.set_backlog(4_096)?;
    socket.set_sndhwm(SEND_QUEUE_MAX)?;
    socket.set_rcvhwm(RECEIVE_QUEUE_MAX)
}

/// The live socket.
pub struct LiveSocket {
    socket: zmq::Socket,
}

impl std::fmt::Debug for LiveSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveSocket").finish_non_exhaustive()
    }
}

/// One subscription frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The CURVE key that the connection proved.
    pub key: PublicKey,
    /// What it wants to subscribe to: any bytes.
    pub topic: Vec<u8>,
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
        Ok(Self { socket })
    }

    /// Returns the socket for binding and polling. Receiving or setting options on it would break
    /// the order that grants rest on.
    pub fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Receives the next subscription; nothing when none waits. A client's unsubscription is carried
    /// out here; frames without a proven key (as libzmq makes when a connection ends) are skipped.
    pub fn receive(&self) -> zmq::Result<Option<Subscription>> {
        while let Some(mut frame) = retry(|| self.socket.recv_msg(DONTWAIT))? {
            let Some(key) = user_id(&mut frame) else {
                continue;
            };
            match frame.split_first() {
                Some((1, topic)) => {
                    let topic = topic.to_vec();
                    return Ok(Some(Subscription { key, topic }));
                }
                Some((0, topic)) => self.socket.set_unsubscribe(topic)?,
                _ => tracing::debug!("a frame that is no subscription"),
            }
        }
        Ok(None)
    }

    /// Grants `key` to the connection whose subscription was received last.
    pub fn grant(&self, key: NoticeKey) -> zmq::Result<()> {
        self.socket.set_subscribe(&key.to_bytes())
    }

    /// Publishes to every connection that was granted `key`. Slow readers miss it: live frames are
    /// hints.
    pub fn publish(&self, key: NoticeKey, header: &[u8], body: Option<&[u8]>) -> zmq::Result<()> {
        self.put(&key.to_bytes(), SNDMORE)?;
        self.put(header, if body.is_some() { SNDMORE } else { 0 })?;
        body.map_or(Ok(()), |body| self.put(body, 0))
    }

    fn put(&self, frame: &[u8], more: i32) -> zmq::Result<()> {
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
    fn subscription(ground: &Ground, live: &LiveSocket, known: &[PublicKey]) -> Subscription {
        loop {
            if let Some(subscription) = live.receive().unwrap() {
                return subscription;
            }
            ground.serve_zap(&live.socket, known);
        }
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
        let (live, endpoint) = live(&ground);
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
            let subscription = subscription(&ground, &live, &[keys.public]);
            assert_eq!(subscription.key, keys.public);
            if subscription.topic == ANA.to_bytes() {
                live.grant(ANA).unwrap();
            }
            asked.push(subscription.topic);
        }
        live.publish(BOB, b"{}", Some(b"secret")).unwrap();
        live.publish(ANA, b"{}", Some(b"hello")).unwrap();
        live.publish(ANA, b"[]", None).unwrap();
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
        let (live, endpoint) = live(&ground);
        let (ana, eve) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let known = [ana.public, eve.public];
        let clients = [&ana, &eve].map(|keys| ground.client(zmq::SUB, keys, &endpoint));
        for client in &clients {
            client.set_subscribe(&ANA.to_bytes()).unwrap();
            client.set_subscribe(&BOB.to_bytes()).unwrap();
        }
        for _ in 0..4 {
            let asked = subscription(&ground, &live, &known);
            let own = if asked.key == ana.public { ANA } else { BOB };
            if asked.topic == own.to_bytes() {
                live.grant(own).unwrap();
            }
        }
        live.publish(ANA, b"a", None).unwrap();
        live.publish(BOB, b"b", None).unwrap();
        for (client, word) in clients.iter().zip([b"a", b"b"]) {
            assert_eq!(client.recv_multipart(0).unwrap()[1], word);
            assert_eq!(client.recv_bytes(DONTWAIT), Err(zmq::Error::EAGAIN));
        }
    }

    #[test]
    fn a_subscription_ends_and_begins_again() {
        let ground = Ground::new();
        let (live, endpoint) = live(&ground);
        let keys = KeyPair::generate().unwrap();
        let client = ground.client(zmq::SUB, &keys, &endpoint);
        let granted = |topic: &[u8]| {
            client.set_subscribe(topic).unwrap();
            let asked = subscription(&ground, &live, &[keys.public]);
            assert_eq!(asked.topic, topic);
            live.grant(NoticeKey::from_bytes(topic).unwrap()).unwrap();
        };
        granted(&ANA.to_bytes());
        client.set_unsubscribe(&ANA.to_bytes()).unwrap();
        // The frames of one client come in order: with this one, the end of the other is in force.
        granted(&BOB.to_bytes());
        live.publish(ANA, b"missed", None).unwrap();
        granted(&ANA.to_bytes());
        live.publish(ANA, b"again", None).unwrap();
        assert_eq!(client.recv_multipart(0).unwrap()[1], b"again");
    }

    #[test]
    fn p09_strangers_and_garbage_leave_the_live_socket_whole() {
        let ground = Ground::new();
        let (live, endpoint) = live(&ground);
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
        let asked = subscription(&ground, &live, &[known.public]);
        assert_eq!(asked.topic, ANA.to_bytes(), "nothing else gets this far");
        assert_eq!(asked.key, known.public);
    }

    #[test]
    fn an_option_libzmq_does_not_know_is_an_error() {
        let context = zmq::Context::new();
        let mut socket = context.socket(zmq::XPUB).unwrap();
        assert_eq!(set_int(&mut socket, 9_999, 1), Err(zmq::Error::EINVAL));
    }
}
