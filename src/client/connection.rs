//! The sockets and the clock: a DEALER for requests and a SUB for notices, both under CURVE.
//!
//! Single-threaded: whoever waits here also moves bytes ([`Connection::pump`]). A broken connection is
//! mended by itself: `server.url` is read again when the address came from a file, `hello` is said
//! first, and everything unanswered goes out again. What that means for sessions and sends is decided
//! in [`session`](super::session); when to repeat what, in [`core`](super::core).
//!
//! A program with thousands of connections shares [`Sockets`] among them and never waits in one: it polls
//! [`Connection::fds`] and calls [`Connection::turn`].

mod polled;
mod sockets;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use zmq::{PollEvents, PollItem, Socket};

use super::core::{Link, LinkEvent, REPEAT_AFTER_MS, RequestNumber, Requests, Verdict};
use super::error::ClientError;
use super::home::Place;
use super::interrupt::Interrupt;
use super::monitor;
use super::waker::{self, Sleeper, Waker};
use crate::auth::keys::{self, KeyPair};
use crate::protocol::notice::{KEY_BYTES, Notice};
use crate::protocol::reply::{self, DecodeError};
use crate::protocol::request::{self, Request};
use crate::protocol::{FEATURES, MAGIC, VERSION, VERSION_OLDEST};

use polled::Ready;
pub use polled::Sockets;
use sockets::{
    dealer, link_event, monitor, receive, receive_each, secure, send_request, subscriber, wait,
    zmq_failed,
};

/// How long the wish not to wait any longer may go unnoticed.
const INTERRUPT_LOOK_MS: u64 = 100;

/// Notices kept while a request is waited for. More are dropped: they are hints, and the gap they
/// leave is noticed.
const NOTICES_MAX: usize = 512;

/// Milliseconds between two looks at `server.url` while there is no connection.
const REREAD_MS: u64 = 250;

/// Difference of the clocks from which on it is worth a word.
const SKEW_MAX: chrono::Duration = chrono::Duration::minutes(5);

/// A notice as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The notice.
    pub notice: Notice,
    /// Its body frame.
    pub body: Option<Vec<u8>>,
}

/// A connection to one server, mended by itself.
pub struct Connection {
    // Sockets before their context: dropping the context waits for them.
    requests_socket: Socket,
    monitor: Socket,
    live_socket: Option<LiveSocket>,
    context: Arc<zmq::Context>,
    place: Place,
    keys: KeyPair,
    endpoint: String,
    requests: Requests,
    link: Link,
    hello_number: Option<RequestNumber>,
    hello: Option<reply::Hello>,
    generation: u64,
    notices: VecDeque<Live>,
    started: Instant,
    reread_ms: u64,
    skew: Option<chrono::Duration>,
    waker: Waker,
    sleeper: Sleeper,
    interrupt: Interrupt,
    woken: bool,
    /// Something was asked of a socket since all of them were read: libzmq may have taken in on the way
    /// what came, and then the socket's descriptor says nothing of it.
    stirred: bool,
}

struct LiveSocket {
    socket: Socket,
    endpoint: String,
    subscribed: Vec<[u8; KEY_BYTES]>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("endpoint", &self.endpoint)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        monitor::unwatch(&self.requests_socket);
    }
}

/// A request that got no usable answer.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: ClientError,
    /// The request was handed to the socket at least once: it may have been carried out.
    pub tried: bool,
}

impl From<Failure> for ClientError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// A reply: its header, decoded, and its body frames.
pub type Answer<T> = (T, Vec<Vec<u8>>);

impl Connection {
    /// Connects and says hello. Gives up after `patience`, or as soon as it is clear that another
    /// server listens there.
    pub fn open(place: &Place, keys: &KeyPair, patience: Duration) -> Result<Self, ClientError> {
        Self::open_interruptible(place, keys, patience, Interrupt::default())
    }

    /// Opens as [`Connection::open`] does; waits, here and later, are ended by `interrupt` too.
    pub fn open_interruptible(
        place: &Place,
        keys: &KeyPair,
        patience: Duration,
        interrupt: Interrupt,
    ) -> Result<Self, ClientError> {
        let context = Arc::new(zmq::Context::new());
        Self::open_in(context, place, keys, patience, interrupt)
    }

    fn open_in(
        context: Arc<zmq::Context>,
        place: &Place,
        keys: &KeyPair,
        patience: Duration,
        interrupt: Interrupt,
    ) -> Result<Self, ClientError> {
        keys::require_curve()?;
        let requests_socket = dealer(&context, keys, &place.url.key)?;
        let monitor = monitor(&context, &requests_socket)?;
        let endpoint = place.url.endpoint(place.url.port);
        let mut prefix = [0; 8];
        getrandom::fill(&mut prefix)
            .map_err(|_| zmq_failed("make a random id")(zmq::Error::EFAULT))?;
        let (waker, sleeper) = waker::pair().map_err(ClientError::Pipe)?;
        let mut connection = Self {
            requests_socket,
            monitor,
            live_socket: None,
            context,
            place: place.clone(),
            keys: keys.clone(),
            endpoint,
            requests: Requests::new(prefix),
            link: Link::default(),
            hello_number: None,
            hello: None,
            generation: 0,
            notices: VecDeque::new(),
            started: now(),
            reread_ms: 0,
            skew: None,
            waker,
            sleeper,
            interrupt,
            woken: false,
            stirred: true,
        };
        connection.connect()?;
        connection.greet(patience)?;
        Ok(connection)
    }

    /// Returns what the server said of itself, most recently.
    pub fn hello(&self) -> &reply::Hello {
        self.hello
            .as_ref()
            .expect("a connection is given out after its first hello only")
    }

    /// Returns how often the connection was made: it grows with every reconnect.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Says whether requests can go out right now.
    pub fn is_up(&self) -> bool {
        self.link.is_up() && self.hello_number.is_none()
    }

    /// Returns the endpoint of the request socket.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns what ends a [`Connection::pump`] from another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Says whether it was woken since the last time it was asked.
    pub fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Returns the server's host, as this client reaches it.
    pub fn host(&self) -> &str {
        &self.place.url.host
    }

    /// Returns how far this machine's clock is ahead of the server's, when that is more than five
    /// minutes.
    pub fn clock_skew(&self) -> Option<chrono::Duration> {
        self.skew.filter(|skew| skew.abs() > SKEW_MAX)
    }

    /// Returns the time on this connection's clock, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        u64::try_from((now() - self.started).as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns the time on this connection's clock that lies `ahead`.
    pub fn deadline_ms(&self, ahead: Duration) -> u64 {
        let ahead = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
        self.now_ms().saturating_add(ahead)
    }

    /// Takes in a request; its reply is waited for with [`Connection::wait`].
    pub fn submit(&mut self, request: &Request, body: Option<Arc<[u8]>>) -> RequestNumber {
        let repeat = !matches!(request, Request::Send(_) | Request::Part(_));
        self.requests.submit(request.encode(), body, repeat, false)
    }

    /// Waits for the reply to a request, until `deadline_ms`. Then, or on an error, the request is given
    /// up: a later reply is dropped.
    pub fn wait<T: DeserializeOwned>(
        &mut self,
        number: RequestNumber,
        verb: &'static str,
        deadline_ms: u64,
    ) -> Result<Answer<T>, Failure> {
        let begun_ms = self.now_ms();
        loop {
            if let Some(frames) = self.requests.take(number) {
                return decode(verb, frames).map_err(|error| Failure { error, tried: true });
            }
            let late = self.now_ms() >= deadline_ms;
            let error = match self.pump_interruptibly(deadline_ms) {
                Err(error) => error,
                Ok(()) if late => self.silence(verb, deadline_ms.saturating_sub(begun_ms)),
                Ok(()) => continue,
            };
            if let Some(frames) = self.requests.take(number) {
                return decode(verb, frames).map_err(|error| Failure { error, tried: true });
            }
            let tried = self.requests.forget(number) > 0;
            return Err(Failure { error, tried });
        }
    }

    /// Gives a request up: a later reply is dropped.
    pub fn forget(&mut self, number: RequestNumber) {
        self.requests.forget(number);
    }

    /// Asks and waits.
    pub fn call<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        body: Option<Arc<[u8]>>,
        deadline_ms: u64,
    ) -> Result<Answer<T>, Failure> {
        let number = self.submit(request, body);
        self.wait(number, request.verb(), deadline_ms)
    }

    /// Moves bytes once: waits until something happens or `until_ms` comes.
    pub fn pump(&mut self, until_ms: u64) -> Result<(), ClientError> {
        let due_ms = self.put_out()?;
        let wait_ms = until_ms.min(due_ms).saturating_sub(self.now_ms());
        let ready = self.poll(i64::try_from(wait_ms.min(60_000)).unwrap_or(60_000))?;
        self.take_in(ready)
    }

    /// Moves bytes once as [`Connection::pump`] does, unless somebody wishes not to wait any longer.
    pub fn pump_interruptibly(&mut self, until_ms: u64) -> Result<(), ClientError> {
        if self.interrupt.take() {
            return Err(ClientError::Interrupted);
        }
        // The signal may have come to another thread.
        self.pump(until_ms.min(self.now_ms() + INTERRUPT_LOOK_MS))
    }

    /// Hands to the socket what can go out. Returns when something is due without any input.
    fn put_out(&mut self) -> Result<u64, ClientError> {
        self.reread_place()?;
        let now_ms = self.now_ms();
        let mut wake_ms = self.requests.tick(now_ms).unwrap_or(u64::MAX);
        if self.transmit()? {
            // What went out may be due again.
            wake_ms = wake_ms.min(now_ms + REPEAT_AFTER_MS);
        }
        let reread = if self.link.is_up() {
            u64::MAX
        } else {
            now_ms + REREAD_MS
        };
        Ok(wake_ms.min(reread))
    }

    /// Reads everything there is to read where there may be something.
    fn take_in(&mut self, ready: Ready) -> Result<(), ClientError> {
        self.stirred = false;
        if ready.monitor {
            self.read_monitor()?;
        }
        if ready.requests {
            self.read_replies()?;
        }
        if ready.live {
            self.read_notices()?;
        }
        self.woken |= ready.woken && self.sleeper.clear();
        if self.link.is_wrong() {
            let endpoint = self.endpoint.clone();
            return Err(ClientError::WrongServer { endpoint });
        }
        Ok(())
    }

    /// Waits until it is woken or `until_ms` comes, and moves nothing.
    pub fn rest(&mut self, until_ms: u64) -> Result<(), ClientError> {
        while !self.take_woken() && self.now_ms() < until_ms {
            let wait_ms = until_ms - self.now_ms();
            let mut items = [PollItem::from_fd(self.sleeper.fd(), PollEvents::POLLIN)];
            wait(&mut items, i64::try_from(wait_ms).unwrap_or(i64::MAX))?;
            self.woken |= self.sleeper.clear();
        }
        Ok(())
    }

    /// Connects the live socket, where it is not yet.
    pub fn open_live(&mut self) -> Result<(), ClientError> {
        let endpoint = self.place.url.endpoint(self.hello().live_port);
        let subscribed = match self.live_socket.take() {
            Some(live) if live.endpoint == endpoint => {
                self.live_socket = Some(live);
                return Ok(());
            }
            Some(live) => live.subscribed,
            None => Vec::new(),
        };
        let socket = self.subscriber().map_err(zmq_failed("make a socket"))?;
        for key in &subscribed {
            socket.set_subscribe(key).map_err(zmq_failed("subscribe"))?;
        }
        socket
            .connect(&endpoint)
            .map_err(zmq_failed("connect the live socket"))?;
        self.live_socket = Some(LiveSocket {
            socket,
            endpoint,
            subscribed,
        });
        self.stirred = true;
        Ok(())
    }

    fn subscriber(&self) -> zmq::Result<Socket> {
        match subscriber(&self.context, &self.keys, &self.place.url.key) {
            // The context is shared, and others' closed sockets are not yet cleared away.
            Err(zmq::Error::EMFILE) => {
                subscriber(&zmq::Context::new(), &self.keys, &self.place.url.key)
            }
            made => made,
        }
    }

    /// Subscribes to a notice key. Returns whether that is new.
    pub fn subscribe(&mut self, key: [u8; KEY_BYTES]) -> Result<bool, ClientError> {
        let Some(live) = self.live_socket.as_mut() else {
            return Ok(false);
        };
        if live.subscribed.contains(&key) {
            return Ok(false);
        }
        live.socket
            .set_subscribe(&key)
            .map_err(zmq_failed("subscribe"))?;
        live.subscribed.push(key);
        self.stirred = true;
        Ok(true)
    }

    /// Takes a subscription back.
    pub fn unsubscribe(&mut self, key: &[u8; KEY_BYTES]) -> Result<(), ClientError> {
        let Some(live) = self.live_socket.as_mut() else {
            return Ok(());
        };
        let Some(at) = live.subscribed.iter().position(|had| had == key) else {
            return Ok(());
        };
        live.subscribed.swap_remove(at);
        self.stirred = true;
        live.socket
            .set_unsubscribe(key)
            .map_err(zmq_failed("unsubscribe"))
    }

    /// Forgets the notices that came: their server is no more.
    pub fn drop_notices(&mut self) {
        self.notices.clear();
    }

    /// Returns the next notice, if one came.
    pub fn next_notice(&mut self) -> Option<Live> {
        self.notices.pop_front()
    }

    /// Says whether such a notice came and waits to be taken.
    pub fn has_notice(&self, notice: &Notice) -> bool {
        self.notices.iter().any(|live| live.notice == *notice)
    }

    /// Goes on with another key pair: on connections of their own, which take the place of those that stand.
    pub fn change_keys(&mut self, keys: &KeyPair) -> Result<(), ClientError> {
        self.keys = keys.clone();
        // It fails only when the endpoint is not connected, which is what is wanted.
        self.requests_socket.disconnect(&self.endpoint).ok();
        // Options hold for what is connected from here on.
        secure(&self.requests_socket, keys, &self.place.url.key)
            .map_err(zmq_failed("set the keys of a socket"))?;
        self.link = Link::default();
        self.connect()?;
        if let Some(live) = self.live_socket.as_mut() {
            live.endpoint.clear();
            self.open_live()?;
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), ClientError> {
        self.stirred = true;
        self.requests_socket
            .connect(&self.endpoint)
            .map_err(zmq_failed("connect"))
    }

    fn greet(&mut self, patience: Duration) -> Result<(), ClientError> {
        let deadline_ms = self.deadline_ms(patience);
        while self.hello.is_none() {
            if self.now_ms() >= deadline_ms {
                let waited = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                return Err(self.silence("hello", waited));
            }
            self.pump_interruptibly(deadline_ms)?;
        }
        Ok(())
    }

    /// Says what it means that no answer came.
    fn silence(&self, verb: &'static str, waited_ms: u64) -> ClientError {
        let endpoint = self.endpoint.clone();
        match self.link.verdict() {
            Verdict::Unreachable => ClientError::Unreachable { endpoint },
            Verdict::WrongServer => ClientError::WrongServer { endpoint },
            Verdict::Silent => ClientError::NoAnswer {
                endpoint,
                verb,
                within: Duration::from_millis(waited_ms),
            },
        }
    }

    /// While there is no connection, looks whether the server moved.
    fn reread_place(&mut self) -> Result<(), ClientError> {
        let now_ms = self.now_ms();
        if self.link.is_up() || now_ms < self.reread_ms {
            return Ok(());
        }
        self.reread_ms = now_ms + REREAD_MS;
        let Some(path) = self.place.source.clone() else {
            return Ok(());
        };
        // A file that is missing or half there belongs to a server that is starting: wait for it.
        let Ok(fresh) = Place::read(&path) else {
            return Ok(());
        };
        if fresh.url.key != self.place.url.key {
            return Err(ClientError::ServerChanged {
                path: path.display().to_string(),
            });
        }
        let endpoint = fresh.url.endpoint(fresh.url.port);
        self.place = fresh;
        if endpoint != self.endpoint {
            // It fails only when the endpoint is not connected, which is what is wanted.
            self.requests_socket.disconnect(&self.endpoint).ok();
            self.endpoint = endpoint;
            self.connect()?;
        }
        Ok(())
    }

    /// Returns whether anything went out.
    fn transmit(&mut self) -> Result<bool, ClientError> {
        let now_ms = self.now_ms();
        let mut any = false;
        while self.link.is_up() {
            let Some((number, outgoing)) = self.requests.poll_transmit() else {
                break;
            };
            if self.hello_number.is_some_and(|hello| hello != number) {
                break;
            }
            match send_request(&self.requests_socket, outgoing) {
                Ok(()) => self.requests.transmitted(now_ms),
                Err(zmq::Error::EAGAIN) => break,
                Err(source) => return Err(zmq_failed("send")(source)),
            }
            any = true;
        }
        self.stirred |= any;
        Ok(any)
    }

    fn wants_to_write(&self) -> bool {
        let blocked = |number| self.hello_number.is_some_and(|hello| hello != number);
        self.link.is_up()
            && self
                .requests
                .poll_transmit()
                .is_some_and(|(number, _)| !blocked(number))
    }

    fn poll(&self, wait_ms: i64) -> Result<Ready, ClientError> {
        let wanted = if self.wants_to_write() {
            PollEvents::POLLIN | PollEvents::POLLOUT
        } else {
            PollEvents::POLLIN
        };
        let mut items = vec![
            self.requests_socket.as_poll_item(wanted),
            self.monitor.as_poll_item(PollEvents::POLLIN),
            PollItem::from_fd(self.sleeper.fd(), PollEvents::POLLIN),
        ];
        if let Some(live) = &self.live_socket {
            items.push(live.socket.as_poll_item(PollEvents::POLLIN));
        }
        wait(&mut items, wait_ms)?;
        Ok(Ready::of(&items))
    }

    fn read_monitor(&mut self) -> Result<(), ClientError> {
        while let Some(frames) = receive(&self.monitor)? {
            let Some(event) = frames.first().and_then(|frame| link_event(frame)) else {
                continue;
            };
            self.link.handle(event);
            if event == LinkEvent::Up {
                self.say_hello();
            }
        }
        Ok(())
    }

    /// Opens every connection: nothing else goes out before the server has answered.
    fn say_hello(&mut self) {
        if let Some(number) = self.hello_number.take() {
            self.requests.forget(number);
        }
        self.requests.reconnected();
        let hello = Request::Hello(request::Hello {
            magic: MAGIC.to_owned(),
            versions: (VERSION_OLDEST, VERSION),
            features: FEATURES.iter().map(|word| (*word).to_owned()).collect(),
            agent: concat!("correio/", env!("CARGO_PKG_VERSION")).to_owned(),
        });
        self.hello_number = Some(self.requests.submit(hello.encode(), None, true, true));
    }

    fn read_replies(&mut self) -> Result<(), ClientError> {
        while let Some(frames) = receive(&self.requests_socket)? {
            let Some(number) = self.requests.accept(frames) else {
                continue;
            };
            if self.hello_number == Some(number) {
                self.hello_number = None;
                let frames = self.requests.take(number).unwrap_or_default();
                let (hello, _) = decode::<reply::Hello>("hello", frames)?;
                self.greeted(hello)?;
            }
        }
        Ok(())
    }

    fn greeted(&mut self, hello: reply::Hello) -> Result<(), ClientError> {
        self.skew = chrono::DateTime::parse_from_rfc3339(&hello.now)
            .ok()
            .map(|theirs| wall_clock() - theirs.to_utc());
        self.hello = Some(hello);
        self.generation += 1;
        if self.live_socket.is_some() {
            self.open_live()?;
        }
        Ok(())
    }

    fn read_notices(&mut self) -> Result<(), ClientError> {
        let Some(live) = &self.live_socket else {
            return Ok(());
        };
        loop {
            let (mut notice, mut body) = (None, None);
            let has_room = self.notices.len() < NOTICES_MAX;
            let came = receive_each(&live.socket, |at, frame| match at {
                1 if has_room => notice = Notice::decode(frame),
                2 if notice.is_some() => body = Some(frame.to_vec()),
                _ => {}
            })?;
            if !came {
                return Ok(());
            }
            self.notices
                .extend(notice.map(|notice| Live { notice, body }));
        }
    }
}

fn decode<T: DeserializeOwned>(
    verb: &'static str,
    mut frames: Vec<Vec<u8>>,
) -> Result<Answer<T>, ClientError> {
    let header = if frames.is_empty() {
        Vec::new()
    } else {
        frames.remove(0)
    };
    match reply::decode(&header) {
        Ok(reply) => Ok((reply, frames)),
        Err(DecodeError::Refused(error)) => Err(ClientError::Refused(error)),
        Err(DecodeError::Malformed(error)) => Err(ClientError::Malformed {
            verb,
            what: error.to_string(),
        }),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this file owns the client's clock"
)]
fn now() -> Instant {
    Instant::now()
}

/// Returns this machine's time, in milliseconds since the epoch.
pub(super) fn wall_ms() -> i64 {
    wall_clock().timestamp_millis()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this file owns the client's clock"
)]
fn wall_clock() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}

#[cfg(test)]
mod tests;
