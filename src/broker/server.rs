//! The poll loop: moves bytes between sockets, core and store, reads the clock, decides nothing.
//!
//! One turn: take what the store finished, answer ZAP, read a bounded number of subscriptions and
//! requests, drain the core after each, then hand all changes of the turn to the committer as one
//! batch. Nothing here waits but `Server::wait`. `router`, `xpub`, `zap` and `committer`
//! are its hands.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use tracing::field::Empty;

use super::clock::Clock;
use super::committer::{Committer, Done, Wake, WakeReader};
use super::core::Core;
use super::io::{Frame, Input, Output, Peer, Settings, Ticket};
use super::router::{self, Received};
use super::silence::Silence;
use super::window::{Bell, Loop, Machine, Onlooker, Window};
use super::xpub::{Heard, LiveSocket};
use super::zap::Zap;
use crate::auth::keys::KeyPair;
use crate::config::{Config, Endpoint};
use crate::limits;
use crate::protocol::PublicKey;
use crate::store::{Change, Snapshot, Store, StoreError};

/// Messages read from one socket in one turn, so that no socket starves another or a commit.
const TURN_MESSAGES_MAX: usize = 256;

/// Milliseconds that end the reading of requests in a turn, as a commit's worth of bytes does: others'
/// replies wait for the end of the turn, and their mail for the sync of what the turn makes of it.
const TURN_MS_MAX: u64 = 5;

/// The core is told the time at least this often.
const TICK_MS: u64 = 1_000;

/// Milliseconds between two tries to bind a renewed live socket.
const REBIND_MS: u64 = 5;

/// How long a stop may take to finish what was begun, and then to get the last replies out.
const STOP_MS: u64 = 1_500;
const STOP_LINGER_MS: i32 = 250;

/// Why the server stopped without being asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A socket could not listen.
    #[error("cannot listen on {endpoint}: {reason}; choose another with --{flag}")]
    Bind {
        /// Where it should have listened.
        endpoint: Endpoint,
        /// The setting that moves it.
        flag: &'static str,
        /// Why not.
        reason: zmq::Error,
    },
    /// libzmq failed in a way it should not.
    #[error("the network library failed to {deed}: {source}")]
    Network {
        /// What was tried.
        deed: &'static str,
        /// The cause.
        source: zmq::Error,
    },
    /// The operating system refused a thread, a pipe, a signal handler or random bytes.
    #[error("the operating system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// Somebody makes libzmq hold more than it may: the one thing no socket option bounds.
    #[error(
        "this server holds {held} bytes of memory, more than memory-max allows ({most}); start it again"
    )]
    Memory {
        /// Bytes resident.
        held: u64,
        /// The setting.
        most: u64,
    },
    /// The store owes an answer and gives none.
    #[error(
        "the store has not answered for {seconds} seconds: its disk hangs; look at the disk, then start the server again"
    )]
    Silent {
        /// For how long.
        seconds: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn network(deed: &'static str) -> impl Fn(zmq::Error) -> ServerError {
    move |source| ServerError::Network { deed, source }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> ServerError {
    move |source| ServerError::System { what, source }
}

/// The sockets, bound.
pub struct Sockets {
    zap: Zap,
    requests: zmq::Socket,
    live: LiveSocket,
    live_place: LivePlace,
    // The last field: a context ends only when its sockets are closed.
    context: zmq::Context,
    /// The request socket's port.
    pub request_port: u16,
    /// The live socket's port.
    pub live_port: u16,
}

/// What it takes to open the live socket anew.
struct LivePlace {
    keys: KeyPair,
    endpoint: Endpoint,
    /// Whether the socket there is now still waits for its port.
    unbound: bool,
    /// Whether it should be another, for which there was no file handle yet.
    overdue: bool,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets")
            .field("request_port", &self.request_port)
            .field("live_port", &self.live_port)
            .finish_non_exhaustive()
    }
}

impl Sockets {
    /// Binds everything, the ZAP handler first. `remembered` are the ports of last time, tried first
    /// where the configuration says 0.
    pub fn bind(
        config: &Config,
        keys: &KeyPair,
        remembered: (u16, u16),
    ) -> Result<Self, ServerError> {
        let context = zmq::Context::new();
        let zap = Zap::bind(&context).map_err(network("bind the ZAP handler"))?;
        let requests = router::open(&context, keys, config.bind.is_ipv6())
            .map_err(network("open the request socket"))?;
        let live_endpoint = config.live_endpoint();
        let live = LiveSocket::new(&context, keys, live_endpoint.is_ipv6())
            .map_err(network("open the live socket"))?;
        let request_port = bind(&requests, &config.bind, remembered.0, "bind")?;
        let live_port = bind(live.socket(), &live_endpoint, remembered.1, "live-bind")?;
        Ok(Self {
            zap,
            requests,
            live,
            live_place: LivePlace {
                keys: keys.clone(),
                endpoint: Endpoint {
                    port: live_port,
                    ..live_endpoint
                },
                unbound: false,
                overdue: false,
            },
            context,
            request_port,
            live_port,
        })
    }

    /// Closes the live socket with all its connections and makes a new one; clients come back by
    /// themselves, and what they miss meanwhile they find in their logs. Without a file handle for
    /// the new one the old one goes on, and each turn tries again.
    fn renew_live(&mut self) -> Result<(), ServerError> {
        let place = &mut self.live_place;
        let made = LiveSocket::new(&self.context, &place.keys, place.endpoint.is_ipv6());
        place.overdue = matches!(made, Err(zmq::Error::EMFILE));
        if place.overdue {
            return Ok(());
        }
        self.live = made.map_err(network("open the live socket"))?;
        place.unbound = true;
        Ok(())
    }

    /// Goes on with opening the live socket anew.
    fn tend_live(&mut self) -> Result<(), ServerError> {
        if self.live_place.overdue {
            self.renew_live()?;
        }
        self.bind_live();
        Ok(())
    }

    /// Tries to give a renewed live socket its port, which libzmq frees in its own time.
    fn bind_live(&mut self) {
        let place = &mut self.live_place;
        if place.unbound {
            let endpoint = place.endpoint.to_string();
            place.unbound = self.live.socket().bind(&endpoint).is_err();
        }
    }
}

fn bind(
    socket: &zmq::Socket,
    endpoint: &Endpoint,
    remembered: u16,
    flag: &'static str,
) -> Result<u16, ServerError> {
    let again = Endpoint {
        port: remembered,
        ..endpoint.clone()
    };
    if endpoint.port == 0 && remembered != 0 && socket.bind(&again.to_string()).is_ok() {
        return Ok(remembered);
    }
    socket
        .bind(&endpoint.to_string())
        .map_err(|reason| ServerError::Bind {
            endpoint: endpoint.clone(),
            flag,
            reason,
        })?;
    if endpoint.port != 0 {
        return Ok(endpoint.port);
    }
    let bound = socket
        .get_last_endpoint()
        .map_err(network("tell its port"))?;
    bound
        .ok()
        .and_then(|text| text.rsplit_once(':')?.1.parse().ok())
        .ok_or_else(|| network("tell its port")(zmq::Error::EINVAL))
}

/// How the machine is, asked about once a second.
pub trait Probe: std::fmt::Debug {
    /// Says whether free space is below the reserve.
    fn disk_low(&mut self) -> bool;

    /// Returns the bytes free on the store's disk when that was said last, where they are known.
    fn disk_free(&self) -> Option<u64>;

    /// Returns an error when the process holds too much memory to go on.
    fn memory(&mut self) -> Result<(), ServerError>;

    /// Returns how the machine is, for onlookers.
    fn machine(&mut self) -> Machine;

    /// Reads the settings again; `now` are those in force.
    fn reread(&mut self, now: Settings) -> Reread;

    /// Returns how often [`alive`](Self::alive) is wanted, in milliseconds, if at all.
    fn alive_every_ms(&self) -> Option<u64>;

    /// Says that the poll loop turns and the store took something in.
    fn alive(&mut self);
}

/// What comes of reading the settings again.
#[derive(Debug)]
pub enum Reread {
    /// Nothing changes.
    Same,
    /// These are in force from now on.
    Settings(Settings),
    /// The server is to stop instead.
    Stop,
}

/// A broker at work.
#[derive(Debug)]
pub struct Server {
    sockets: Sockets,
    core: Core,
    committer: Committer,
    clock: Clock,
    probe: Box<dyn Probe>,
    silence: Silence,
    disk_low: bool,
    wake: WakeReader,
    stop: Bell,
    reread: Bell,
    /// When the core wants to be told the time.
    wake_at_ms: Option<u64>,
    last_tick_ms: u64,
    probed_at_ms: u64,
    stopping_since_ms: Option<u64>,
    /// What this turn decided, for the next commit.
    batch: Vec<Change>,
    batch_ticket: Option<Ticket>,
    /// When requests were taken that wait for a commit.
    unacked: VecDeque<(Ticket, u64)>,
    window: Window,
}

impl Server {
    /// Puts a broker together and makes durable what its start decided. No request was read yet.
    /// `snapshot` is what the store had.
    pub fn start(
        settings: Settings,
        sockets: Sockets,
        store: Box<dyn Store>,
        snapshot: Snapshot,
        mut probe: Box<dyn Probe>,
    ) -> Result<Self, ServerError> {
        let clock = Clock::start();
        let (wake_end, wake) = Wake::pair().map_err(system("a pair of sockets"))?;
        let committer = Committer::start(store, &wake_end).map_err(system("a thread"))?;
        let window = Window::new(probe.alive_every_ms());
        let mut server = Self {
            core: Core::new(settings, snapshot, clock.now()),
            sockets,
            committer,
            silence: Silence::default(),
            disk_low: probe.disk_low(),
            probe,
            wake,
            reread: Bell::new(wake_end.clone()),
            stop: Bell::new(wake_end),
            wake_at_ms: None,
            last_tick_ms: 0,
            probed_at_ms: 0,
            stopping_since_ms: None,
            batch: Vec::new(),
            batch_ticket: None,
            unacked: VecDeque::new(),
            window,
            clock,
        };
        server.drain()?;
        server.hand_over();
        Ok(server)
    }

    /// Waits until what the start decided is durable and every cursor is looked up: whoever asked
    /// before would be told of depths that are not yet right.
    fn begin(&mut self) -> Result<(), ServerError> {
        while !self.core.is_settled() && !self.stop.is_asked() {
            let mut woken = [zmq::PollItem::from_fd(self.wake.as_raw_fd(), zmq::POLLIN)];
            match zmq::poll(&mut woken, i64::try_from(TICK_MS).expect("a second fits")) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(source) => return Err(network("wait")(source)),
            }
            self.wake.drain();
            self.take_results()?;
            self.hand_over();
            self.listen_to_store()?;
        }
        // The first request must find it known how much room there is.
        self.wake_at_ms = Some(0);
        self.tick()
    }

    /// Makes signals stop the server, or make it read its settings again.
    pub fn heed_signals(&self, stop: &[i32], reread: &[i32]) -> Result<(), ServerError> {
        let heeded = self.stop.on_signals(stop);
        heeded
            .and_then(|()| self.reread.on_signals(reread))
            .map_err(system("a signal handler"))
    }

    /// Lets somebody on another thread look in.
    pub fn onlooker(&self) -> Result<Onlooker, ServerError> {
        let onlooker = self.window.onlooker(self.stop.wake());
        onlooker.map_err(system("a pair of sockets"))
    }

    /// Serves until it is asked to stop, then finishes what was begun.
    pub fn run(mut self) -> Result<(), ServerError> {
        self.begin()?;
        while !self.is_over() {
            self.wait()?;
            self.turn()?;
        }
        self.close()
    }

    fn turn(&mut self) -> Result<(), ServerError> {
        self.wake.drain();
        self.reread_settings()?;
        self.notice_stop()?;
        self.take_results()?;
        self.sockets.tend_live()?;
        let core = &self.core;
        let denied = self
            .sockets
            .zap
            .serve(TURN_MESSAGES_MAX, |key| core.may_connect_live(key))
            .map_err(network("answer ZAP"))?;
        self.window.denied.add(denied);
        self.take_subscriptions()?;
        if !self.is_congested() {
            self.take_requests()?;
        }
        self.tick()?;
        self.tend_window()?;
        self.hand_over();
        Ok(())
    }

    /// Answers those who look in.
    fn tend_window(&mut self) -> Result<(), ServerError> {
        let clock = &self.clock;
        let wants_proof = self.window.tend(&mut Loop {
            now: clock.now(),
            up_us: &|| clock.up_us(),
            core: &self.core,
            committer: &self.committer,
            probe: self.probe.as_mut(),
        });
        if wants_proof {
            self.handle(Input::RoundTrip)?;
        }
        Ok(())
    }

    /// Waits for a message, a result, a signal or the time of the next tick.
    fn wait(&self) -> Result<(), ServerError> {
        let mut items = [
            zmq::PollItem::from_fd(self.wake.as_raw_fd(), zmq::POLLIN),
            self.sockets.zap.socket().as_poll_item(zmq::POLLIN),
            self.sockets.live.socket().as_poll_item(zmq::POLLIN),
            self.sockets.requests.as_poll_item(zmq::POLLIN),
        ];
        let watched = items.len() - usize::from(self.is_congested());
        match zmq::poll(&mut items[..watched], self.patience_ms()) {
            Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
            Err(source) => Err(network("wait")(source)),
        }
    }

    fn patience_ms(&self) -> i64 {
        let left = self.next_tick_ms().saturating_sub(self.clock.now().mono_ms);
        let most = if self.window.is_busy() {
            1
        } else if self.sockets.live_place.unbound {
            REBIND_MS
        } else {
            TICK_MS
        };
        i64::try_from(left.clamp(1, most)).expect("a second fits")
    }

    fn next_tick_ms(&self) -> u64 {
        let regular = self.last_tick_ms + TICK_MS;
        self.wake_at_ms.map_or(regular, |at| at.min(regular))
    }

    /// Says whether a commit's worth waits for the disk: then requests are left in their sockets,
    /// where TCP slows the senders down.
    fn is_congested(&self) -> bool {
        self.committer.queued_bytes() > self.committer.portion()
    }

    fn handle(&mut self, input: Input) -> Result<(), ServerError> {
        self.core.handle(self.clock.now(), input);
        self.drain()
    }

    /// Carries out what the core wants, to the end: its law.
    fn drain(&mut self) -> Result<(), ServerError> {
        loop {
            match self.core.poll_output() {
                Output::Reply { routing, frames } => self.reply(&routing, &frames)?,
                Output::Publish { key, header, body } => self
                    .sockets
                    .live
                    .publish(key, header, body)
                    .map_err(network("publish"))?,
                Output::Grant(key) => self
                    .sockets
                    .live
                    .grant(key)
                    .map_err(network("grant a subscription"))?,
                Output::Cut => self.sockets.live.cut(),
                Output::RenewLive => {
                    tracing::warn!(
                        "the live socket was filled with denied subscriptions: it is opened anew"
                    );
                    self.sockets.renew_live()?;
                }
                Output::RoundTripped => {
                    if self.window.round_tripped(self.clock.up_us()) {
                        self.probe.alive();
                    }
                }
                Output::Commit(ticket, mut changes) => {
                    self.batch.append(&mut changes);
                    self.batch_ticket = Some(ticket);
                }
                Output::Load(ticket, query) => {
                    self.silence.read(self.clock.now().mono_ms);
                    self.committer.load(ticket, query);
                }
                Output::Idle { wake_at_ms } => {
                    self.wake_at_ms = wake_at_ms;
                    return Ok(());
                }
            }
        }
    }

    fn hand_over(&mut self) {
        if let Some(ticket) = self.batch_ticket.take() {
            let changes = std::mem::take(&mut self.batch);
            tracing::trace!(ticket, changes = changes.len(), "commit");
            self.silence.commit(ticket, self.clock.now().mono_ms);
            self.committer.commit(ticket, changes);
        }
    }

    fn take_results(&mut self) -> Result<(), ServerError> {
        while let Some(done) = self.committer.poll() {
            let now_ms = self.clock.now().mono_ms;
            match done {
                Done::Committed { ticket, took, .. } => {
                    self.silence.committed(ticket, now_ms);
                    self.handle(Input::Committed(ticket))?;
                    self.note_committed(ticket, took);
                }
                Done::Loaded(ticket, answer) if self.window.takes(ticket, &answer) => {}
                Done::Loaded(ticket, answer) => {
                    self.silence.loaded(now_ms);
                    self.handle(Input::Loaded(ticket, answer))?;
                }
                Done::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Ends the process when the store hangs: a start goes on with what is on disk.
    fn listen_to_store(&self) -> Result<(), ServerError> {
        if self.silence.is_too_long(self.clock.now().mono_ms) {
            return Err(ServerError::Silent {
                seconds: limits::STORE_SILENCE_MS / 1_000,
            });
        }
        Ok(())
    }

    /// Measures what a commit has let go.
    fn note_committed(&mut self, ticket: Ticket, took: Duration) {
        let window = &mut self.window;
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        window.sync.observe(took_us);
        let now_us = self.clock.up_us();
        while let Some((_, taken_us)) = self.unacked.pop_front_if(|(of, _)| *of <= ticket) {
            window.ack.observe(now_us - taken_us);
        }
    }

    fn take_subscriptions(&mut self) -> Result<(), ServerError> {
        for _ in 0..TURN_MESSAGES_MAX {
            let received = self.sockets.live.receive();
            let Some(heard) = received.map_err(network("receive a subscription"))? else {
                break;
            };
            if let Some(input) = heard_input(heard) {
                self.handle(input)?;
            }
        }
        Ok(())
    }

    fn take_requests(&mut self) -> Result<(), ServerError> {
        let (begin, mut bytes) = (self.clock.now().mono_ms, 0);
        for _ in 0..TURN_MESSAGES_MAX {
            let received = router::receive(&self.sockets.requests);
            match received.map_err(network("receive a request"))? {
                Received::Nothing => break,
                Received::Nobodys => tracing::debug!("a request without a proven key"),
                Received::Request(peer, frames) => {
                    bytes += frames.iter().map(Vec::len).sum::<usize>();
                    self.request(peer, frames)?;
                }
            }
            if bytes > self.committer.portion() || self.clock.now().mono_ms > begin + TURN_MS_MAX {
                break;
            }
        }
        Ok(())
    }

    fn request(&mut self, peer: Peer, frames: Vec<Vec<u8>>) -> Result<(), ServerError> {
        let span = tracing::debug_span!("request", key = %Short(&peer.key), verb = %Verb(&frames), user = Empty, code = Empty);
        let _inside = span.enter();
        let count = frames.len();
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| system("random bytes")(io::Error::other(error.to_string())))?;
        let (before, taken_us) = (self.batch_ticket, self.clock.up_us());
        self.handle(Input::Request {
            peer,
            frames,
            random,
        })?;
        if !span.is_disabled() {
            let (user, code) = self.core.verdict();
            span.record("code", code);
            if let Some(user) = user {
                span.record("user", user);
            }
            tracing::debug!(frames = count, "decided");
        }
        if let Some(ticket) = self.batch_ticket.filter(|_| self.batch_ticket != before) {
            self.unacked.push_back((ticket, taken_us));
        }
        Ok(())
    }

    /// Sends a reply, or drops it when the peer is gone or does not read: it will ask again.
    fn reply(&self, routing: &[u8], frames: &[Frame]) -> Result<(), ServerError> {
        match router::send(&self.sockets.requests, routing, frames) {
            Ok(Some(())) => Ok(()),
            Ok(None) => {
                tracing::debug!("a reply dropped: its peer does not read");
                Ok(())
            }
            Err(zmq::Error::EHOSTUNREACH) => {
                tracing::debug!("a reply dropped: its peer is gone");
                Ok(())
            }
            Err(source) => Err(network("reply")(source)),
        }
    }

    fn tick(&mut self) -> Result<(), ServerError> {
        let now = self.clock.now();
        if now.mono_ms < self.next_tick_ms() {
            return Ok(());
        }
        // Looked at by its own clock: the core may want ticks more often than once a second.
        if now.mono_ms >= self.probed_at_ms + TICK_MS {
            self.probed_at_ms = now.mono_ms;
            self.disk_low = self.probe.disk_low();
            self.probe.memory()?;
            self.listen_to_store()?;
        }
        self.last_tick_ms = now.mono_ms;
        self.handle(Input::Tick {
            disk_low: self.disk_low,
            disk_free: self.probe.disk_free(),
        })
    }

    fn reread_settings(&mut self) -> Result<(), ServerError> {
        if !self.reread.answer() {
            return Ok(());
        }
        match self.probe.reread(self.core.settings().clone()) {
            Reread::Same => Ok(()),
            Reread::Settings(settings) => self.handle(Input::Settings(Box::new(settings))),
            Reread::Stop => {
                self.stop.ask();
                Ok(())
            }
        }
    }

    fn notice_stop(&mut self) -> Result<(), ServerError> {
        if self.stopping_since_ms.is_some() || !self.stop.is_asked() {
            return Ok(());
        }
        tracing::info!("stopping: finishing what was begun");
        self.stopping_since_ms = Some(self.clock.now().mono_ms);
        self.handle(Input::Shutdown)
    }

    fn is_over(&self) -> bool {
        self.stopping_since_ms.is_some_and(|since| {
            let late = self.clock.now().mono_ms >= since + STOP_MS;
            late || (self.core.is_settled() && self.committer.queued_bytes() == 0)
        })
    }

    /// Gets the last replies out and closes the store; a store still at work after all that time is
    /// left to the end of the process, which harms it no more than a kill does.
    fn close(self) -> Result<(), ServerError> {
        let settled = self.core.is_settled();
        let Sockets {
            context,
            requests,
            live,
            zap,
            ..
        } = self.sockets;
        drop((live, zap));
        requests
            .set_linger(STOP_LINGER_MS)
            .map_err(network("close"))?;
        drop(requests);
        drop(context);
        if settled {
            self.committer.finish()?;
        }
        Ok(())
    }
}

/// Makes an input of what came on the live socket.
fn heard_input(heard: Heard) -> Option<Input> {
    match heard {
        Heard::Subscription { key, topic, sure } => {
            tracing::debug!(key = %Short(&key), bytes = topic.len(), sure, "subscription");
            Some(Input::Subscribe { key, topic, sure })
        }
        Heard::Unsubscription(key) => Some(Input::Unsubscribe { key }),
        Heard::Stray(key) => {
            tracing::debug!(key = %Short(&key), "a message on the live socket that is no subscription");
            Some(Input::Stray { key })
        }
        Heard::Doubt(key) => {
            tracing::debug!(log = key.log, "a subscriber left before its grant");
            Some(Input::Doubt(key))
        }
        Heard::End => None,
    }
}

/// The start of a key: enough to follow one client through a log.
struct Short<'a>(&'a PublicKey);

impl std::fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

/// A request's verb, read only when a log line shows it.
struct Verb<'a>(&'a [Vec<u8>]);

impl std::fmt::Display for Verb<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::protocol::request::Request;
        let header = self.0.get(1).map_or(&[][..], Vec::as_slice);
        f.write_str(Request::decode(header).map_or("?", |request| request.verb()))
    }
}
