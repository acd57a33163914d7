//! The sockets of one chat: a PULL that lets only the invited keys in, and the PUSH to the other side.
//!
//! A context of their own, so that the ZAP handler here judges nothing else. Decides nothing: the
//! [`engine`](super::engine) does what the core says.

use std::net::{Ipv6Addr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use zmq::{DONTWAIT, PollEvents, PollItem, Socket, SocketEvent};

use super::io::Peer;
use crate::auth::keys::KeyPair;
use crate::auth::zap;
use crate::client::monitor;
use crate::client::waker::Waker;
use crate::limits;
use crate::protocol::PublicKey;

/// Messages the way out holds: more than the window of lines.
const MESSAGES_OUT: i32 = 1_100;

/// Messages that may wait of each connection that comes in. The other side has a bound of its own and TCP holds it
/// back, so few are enough; an invited peer can open many connections.
const MESSAGES_IN: i32 = 64;

/// Milliseconds the last frames may take when the chat is over.
const LINGER_MS: i32 = 300;

/// Questions of libzmq answered in one turn.
const QUESTIONS: usize = 16;

/// Messages passed over in one turn.
const STRAYS: usize = 256;

/// How long a port is given to accept or refuse.
const PROBE: Duration = Duration::from_millis(900);

/// Where the other side knocks: only invited keys are let in.
pub(super) struct Door {
    // Sockets before their context: dropping the context waits for them.
    pull: Socket,
    zap: Socket,
    context: zmq::Context,
    /// The key of the latest message, as text and as bytes.
    latest: (String, PublicKey),
}

impl Door {
    /// Binds the port on all interfaces. Whoever knocks waits until [`Door::answer`].
    pub(super) fn open(port: u16, keys: &KeyPair) -> zmq::Result<Self> {
        let context = zmq::Context::new();
        // Before the PULL: libzmq lets everybody in while nobody is there to ask. ZMQ_ZAP_ENFORCE_DOMAIN, the server's second
        // lock against that, is not set: it takes `unsafe`, and this handler lives as long as the PULL, in one context.
        let zap = context.socket(zmq::REP)?;
        zap.set_linger(0)?;
        zap.bind(zap::ENDPOINT)?;
        let pull = context.socket(zmq::PULL)?;
        pull.set_curve_server(true)?;
        pull.set_curve_secretkey(keys.secret())?;
        pull.set_zap_domain("chat")?;
        pull.set_linger(0)?;
        common(&pull)?;
        bind(&pull, port)?;
        let latest = (String::new(), PublicKey::default());
        Ok(Self {
            pull,
            zap,
            context,
            latest,
        })
    }

    /// Answers who knocks.
    pub(super) fn answer(&self, invited: &[PublicKey]) -> zmq::Result<()> {
        for _ in 0..QUESTIONS {
            let Some(question) = waiting(|| self.zap.recv_multipart(DONTWAIT))? else {
                break;
            };
            let verdict = zap::decide(&question, |_, key| invited.contains(key));
            waiting(|| self.zap.send_multipart(verdict.answer(&question), DONTWAIT))?;
        }
        Ok(())
    }

    /// Returns the next message with the key its connection proved. Messages that cannot be of a chat are
    /// passed over, some at a time: who sends nothing else must not keep the engine here.
    pub(super) fn receive(&mut self) -> zmq::Result<Option<(PublicKey, Vec<u8>)>> {
        for _ in 0..STRAYS {
            let Some(mut message) = waiting(|| self.pull.recv_msg(DONTWAIT))? else {
                break;
            };
            if message.get_more() {
                self.pass_over()?;
                continue;
            }
            if let Some(key) = message
                .gets("User-Id")
                .and_then(|text| known(&mut self.latest, text))
            {
                return Ok(Some((key, message.to_vec())));
            }
        }
        Ok(None)
    }

    /// Drops the rest of a message of several frames.
    fn pass_over(&self) -> zmq::Result<()> {
        while self.pull.get_rcvmore()? && waiting(|| self.pull.recv_msg(DONTWAIT))?.is_some() {}
        Ok(())
    }

    /// Connects to the other side, which must prove its key. Nothing when no such place can be.
    pub(super) fn way_to(&self, peer: &Peer, host: &str, keys: &KeyPair) -> Option<Way> {
        Way::open(&self.context, peer, host, keys).ok()
    }

    /// Waits until something comes in, there is room on the way out (when that is wanted), the sleeper
    /// is woken, or the time is over.
    pub(super) fn wait(
        &self,
        way: Option<&Way>,
        wants_in: bool,
        wants_out: bool,
        sleeper: std::os::fd::RawFd,
        wait_ms: i64,
    ) -> zmq::Result<()> {
        let mut items = vec![
            self.zap.as_poll_item(PollEvents::POLLIN),
            PollItem::from_fd(sleeper, PollEvents::POLLIN),
        ];
        if wants_in {
            items.push(self.pull.as_poll_item(PollEvents::POLLIN));
        }
        if let Some(way) = way {
            items.push(way.monitor.as_poll_item(PollEvents::POLLIN));
            if wants_out {
                items.push(way.push.as_poll_item(PollEvents::POLLOUT));
            }
        }
        match zmq::poll(&mut items, wait_ms) {
            Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
            Err(source) => Err(source),
        }
    }
}

/// Reads a key; most messages come from the one before.
fn known(latest: &mut (String, PublicKey), text: &str) -> Option<PublicKey> {
    if latest.0 != text {
        let mut key = PublicKey::default();
        hex::decode_to_slice(text, &mut key).ok()?;
        *latest = (text.to_owned(), key);
    }
    Some(latest.1)
}

/// The connection to the other side; mended by itself.
pub(super) struct Way {
    push: Socket,
    monitor: Socket,
    host: String,
    port: u16,
    probe: Option<Receiver<bool>>,
}

/// What happened to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WayEvent {
    /// It stands, and the other side proved its key.
    Up,
    /// It broke, or the other side did not prove its key.
    Down,
    /// It could not be made.
    Failed,
}

impl Drop for Way {
    fn drop(&mut self) {
        monitor::unwatch(&self.push);
    }
}

impl Way {
    fn open(context: &zmq::Context, peer: &Peer, host: &str, keys: &KeyPair) -> zmq::Result<Self> {
        let endpoint = endpoint(host, peer.port).ok_or(zmq::Error::EINVAL)?;
        let push = context.socket(zmq::PUSH)?;
        push.set_curve_serverkey(&peer.key)?;
        push.set_curve_publickey(&keys.public)?;
        push.set_curve_secretkey(keys.secret())?;
        push.set_immediate(true)?;
        push.set_linger(LINGER_MS)?;
        push.set_reconnect_ivl(100)?;
        push.set_reconnect_ivl_max(1_000)?;
        push.set_connect_timeout(2_000)?;
        common(&push)?;
        let monitor = monitor(context, &push)?;
        push.connect(&endpoint)?;
        Ok(Self {
            push,
            monitor,
            host: host.to_owned(),
            port: peer.port,
            probe: None,
        })
    }

    /// Hands a frame over. False: there is no room, or no connection.
    pub(super) fn send(&self, frame: &[u8]) -> zmq::Result<bool> {
        Ok(waiting(|| self.push.send(frame, DONTWAIT))?.is_some())
    }

    /// Returns what happened to the connection.
    pub(super) fn event(&self) -> zmq::Result<Option<WayEvent>> {
        while let Some(frames) = waiting(|| self.monitor.recv_multipart(DONTWAIT))? {
            if let Some(event) = frames.first().and_then(|frame| way_event(frame)) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Finds out whether the port refuses, which ZeroMQ does not tell from other failures: a thread
    /// of its own tries it, one at a time, and wakes the engine.
    pub(super) fn probe(&mut self, waker: Waker) {
        if self.probe.is_some() {
            return;
        }
        let (tell, told) = mpsc::channel();
        let place = (self.host.clone(), self.port);
        let look = move || {
            tell.send(refuses(&place)).ok();
            waker.wake();
        };
        let started = thread::Builder::new().name("chat-probe".into()).spawn(look);
        self.probe = started.is_ok().then_some(told);
    }

    /// Returns whether the port refused, once after each probe.
    pub(super) fn probed(&mut self) -> Option<bool> {
        let refused = self.probe.as_ref()?.try_recv().ok()?;
        self.probe = None;
        Some(refused)
    }
}

/// Says whether a host answers that nobody listens at its port.
fn refuses(place: &(String, u16)) -> bool {
    let Ok(addresses) = (place.0.as_str(), place.1).to_socket_addrs() else {
        return false;
    };
    let refused = |address| {
        let tried = TcpStream::connect_timeout(&address, PROBE);
        tried.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    let mut answers = addresses.map(refused).peekable();
    answers.peek().is_some() && answers.all(|refused| refused)
}

/// Returns the endpoint of a place that somebody else named. Nothing for what is no host: libzmq
/// would read more into some characters.
fn endpoint(host: &str, port: u16) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
    if host.is_empty() || host.len() > limits::HOST_BYTES_MAX || !host.chars().all(fits) {
        return None;
    }
    Some(format!("tcp://{}", place(host, port)))
}

/// Returns the host as this machine reaches it. A link-local address is told without a zone, which names
/// an interface of one machine: here it is the one through which the server is reached, if that has one.
pub(super) fn reached(host: &str, server_host: &str) -> String {
    let is_on_link = host
        .parse::<Ipv6Addr>()
        .is_ok_and(|ip| ip.is_unicast_link_local());
    match server_host.split_once('%') {
        Some((_, zone)) if is_on_link => format!("{host}%{zone}"),
        _ => host.to_owned(),
    }
}

/// Returns host and port as people write them.
pub(super) fn place(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Binds a port of all interfaces, of IPv6 and IPv4 alike where there is IPv6.
fn bind(pull: &Socket, port: u16) -> zmq::Result<()> {
    match pull.bind(&format!("tcp://*:{port}")) {
        Err(zmq::Error::EADDRINUSE) => Err(zmq::Error::EADDRINUSE),
        Err(_) => {
            pull.set_ipv6(false)?;
            pull.bind(&format!("tcp://*:{port}"))
        }
        Ok(()) => Ok(()),
    }
}

fn common(socket: &Socket) -> zmq::Result<()> {
    let wire_bytes = limits::FRAME_BYTES_MAX + limits::CURVE_BYTES;
    socket.set_maxmsgsize(i64::try_from(wire_bytes).expect("frame limits are small numbers"))?;
    socket.set_rcvhwm(MESSAGES_IN)?;
    socket.set_sndhwm(MESSAGES_OUT)?;
    socket.set_ipv6(true)?;
    socket.set_handshake_ivl(5_000)?;
    socket.set_heartbeat_ivl(2_000)?;
    socket.set_heartbeat_timeout(6_000)
}

fn monitor(context: &zmq::Context, socket: &Socket) -> zmq::Result<Socket> {
    let events = [
        SocketEvent::CLOSED,
        SocketEvent::DISCONNECTED,
        SocketEvent::HANDSHAKE_SUCCEEDED,
    ];
    monitor::watch(context, socket, &events)
}

/// Reads a monitor frame.
fn way_event(frame: &[u8]) -> Option<WayEvent> {
    let raw = monitor::raw_event(frame)?;
    let is = |event: SocketEvent| raw == event.to_raw();
    if is(SocketEvent::HANDSHAKE_SUCCEEDED) {
        Some(WayEvent::Up)
    } else if is(SocketEvent::DISCONNECTED) {
        Some(WayEvent::Down)
    } else if is(SocketEvent::CLOSED) {
        Some(WayEvent::Failed)
    } else {
        None
    }
}

/// Tells "not now" from failure; goes on when a signal came in between.
fn waiting<T>(mut deed: impl FnMut() -> zmq::Result<T>) -> zmq::Result<Option<T>> {
    loop {
        match deed() {
            Ok(value) => return Ok(Some(value)),
            Err(zmq::Error::EAGAIN) => return Ok(None),
            Err(zmq::Error::EINTR) => {}
            Err(source) => return Err(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_others_is_a_host_or_nothing() {
        assert_eq!(endpoint("::1", 5).as_deref(), Some("tcp://[::1]:5"));
        assert_eq!(endpoint("a-b.c", 5).as_deref(), Some("tcp://a-b.c:5"));
        for host in ["", "a;b", "a b", "*", "[::1]", "a/b", "é", &"x".repeat(300)] {
            assert_eq!(endpoint(host, 5), None, "{host}");
        }
    }

    #[test]
    fn a_neighbour_on_the_link_is_reached_by_the_way_to_the_server() {
        assert_eq!(reached("fe80::1", "fe80::9%eth1"), "fe80::1%eth1");
        assert_eq!(reached("fe80::1%eth0", "fe80::9%eth1"), "fe80::1%eth0");
        assert_eq!(reached("fe80::1", "192.0.2.7"), "fe80::1");
        assert_eq!(reached("2001:db8::1", "fe80::9%eth1"), "2001:db8::1");
        assert_eq!(reached("desk.example", "fe80::9%eth1"), "desk.example");
    }

    #[test]
    fn a_port_that_nobody_has_refuses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let place = ("127.0.0.1".to_owned(), port);
        assert!(!refuses(&place));
        drop(listener);
        assert!(refuses(&place));
    }
}
