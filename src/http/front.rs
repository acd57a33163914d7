//! The thread that serves HTTP: one poll loop over a bounded number of connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::connection::{Connection, Stage};
use super::request::{Asked, Hosts, Route};
use super::{answer, metrics, page};
use crate::broker::window::{Answer, Onlooker, Question, Wake};
use crate::limits;

/// Connections taken in one turn.
const ACCEPTED_PER_TURN: usize = 16;

/// Milliseconds between two events.
const EVENT_MS: u64 = 1_000;

/// Milliseconds in which no connection is taken after the system had no file handle for one.
const REST_MS: u64 = 100;

/// Why there is no HTTP side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrontError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen for HTTP on {address}: {source}; choose another with --http, or --http off"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refused something.
    #[error("the operating system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// A running HTTP side; it ends when this is dropped.
#[derive(Debug)]
pub struct Front {
    stop: Arc<AtomicBool>,
    wake: Wake,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Listens on an address and returns where that is.
    pub fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), FrontError> {
        let failed = |source| FrontError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        Ok((listener, bound))
    }

    /// Begins to serve.
    pub fn start(
        listener: TcpListener,
        hosts: Hosts,
        onlooker: Onlooker,
    ) -> Result<Self, FrontError> {
        let stop = Arc::new(AtomicBool::new(false));
        let wake = onlooker.waker();
        let mut desk = Desk {
            listener,
            hosts,
            onlooker,
            stop: Arc::clone(&stop),
            clock: Clock::start(),
            connections: Vec::new(),
            rests_until_ms: 0,
            next_event_ms: 0,
        };
        let thread = Builder::new()
            .name("http".to_owned())
            .spawn(move || desk.serve())
            .map_err(|source| FrontError::System {
                what: "a thread",
                source,
            })?;
        Ok(Self {
            stop,
            wake,
            thread: Some(thread),
        })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there has said itself, and harms nothing here.
            drop(thread.join());
        }
    }
}

struct Desk {
    listener: TcpListener,
    hosts: Hosts,
    onlooker: Onlooker,
    stop: Arc<AtomicBool>,
    clock: Clock,
    connections: Vec<Connection>,
    rests_until_ms: u64,
    next_event_ms: u64,
}

impl Desk {
    fn serve(&mut self) {
        while !self.stop.load(Ordering::SeqCst) {
            let ready = self.wait();
            let now_ms = self.clock.now_ms();
            self.onlooker.woken().drain();
            while let Some(answer) = self.onlooker.poll() {
                self.hand_out(&answer, now_ms);
            }
            self.go_on(&ready, now_ms);
            self.connections
                .retain(|connection| connection.stage != Stage::Gone);
            if now_ms >= self.rests_until_ms {
                self.accept(now_ms);
            }
            self.send_events(now_ms);
        }
    }

    /// Waits until something can go on; returns which connections can.
    fn wait(&self) -> Vec<bool> {
        let now_ms = self.clock.now_ms();
        let rests = now_ms < self.rests_until_ms;
        let listened = if rests {
            PollFlags::empty()
        } else {
            PollFlags::IN
        };
        let mut fds = vec![
            PollFd::new(self.onlooker.woken(), PollFlags::IN),
            PollFd::new(&self.listener, listened),
        ];
        let clients = self.connections.iter();
        fds.extend(clients.map(|client| PollFd::new(&client.stream, client.interest())));
        let left_ms = self.wake_at_ms(rests).saturating_sub(now_ms);
        // Interrupted or not: what is ready is looked at, and what is not says so.
        poll(&mut fds, Some(&timespec(left_ms))).ok();
        let ready = fds.iter().skip(2);
        ready.map(|fd| !fd.revents().is_empty()).collect()
    }

    fn wake_at_ms(&self, rests: bool) -> u64 {
        let deadlines = self.connections.iter().filter_map(Connection::deadline_ms);
        let rest = rests.then_some(self.rests_until_ms);
        let event = self.listeners().next().map(|_| self.next_event_ms);
        let soonest = deadlines.chain(rest).chain(event).min();
        soonest.unwrap_or(u64::MAX)
    }

    fn listeners(&self) -> impl Iterator<Item = &Connection> {
        let all = self.connections.iter();
        all.filter(|connection| connection.stage == Stage::Listening)
    }

    fn go_on(&mut self, ready: &[bool], now_ms: u64) {
        for (at, is_ready) in ready.iter().enumerate() {
            if *is_ready && let Some(asked) = self.connections[at].go_on(self.hosts, now_ms) {
                self.take(at, asked, now_ms);
            }
            self.connections[at].expire(now_ms);
        }
    }

    /// Answers a request, or has the broker asked.
    fn take(&mut self, at: usize, asked: Asked, now_ms: u64) {
        let Asked { route, head_only } = asked;
        let too_many = self.listeners().count() >= limits::HTTP_STREAMS_MAX;
        let client = &mut self.connections[at];
        let question = match route {
            Route::Page(path) => {
                let found = page::file(path);
                let bytes = found.map_or_else(
                    || answer::wrong(404, head_only),
                    |(kind, body)| answer::whole(200, kind, body, head_only),
                );
                return client.answer(bytes, now_ms);
            }
            Route::Wrong(status) => return client.answer(answer::wrong(status, head_only), now_ms),
            Route::Events if too_many => {
                return client.answer(answer::wrong(503, head_only), now_ms);
            }
            Route::Events if head_only => {
                return client.answer(answer::whole(200, "text/event-stream", b"", true), now_ms);
            }
            Route::Events => {
                client.listen(now_ms);
                self.next_event_ms = now_ms;
                return;
            }
            Route::Metrics => Question::Figures,
            Route::Alive => Question::Alive,
            Route::Ready => Question::RoundTrip,
        };
        client.wait_for_broker(asked, now_ms);
        // One that was not taken is answered when its time is up, as one that is not answered.
        if !self.onlooker.ask(question) {
            tracing::warn!("the broker takes no more questions of the HTTP side");
        }
    }

    /// Gives what the broker said to all who wait for it.
    fn hand_out(&mut self, told: &Answer, now_ms: u64) {
        let mut event = None;
        for client in &mut self.connections {
            match (client.stage, told) {
                (Stage::Listening, Answer::Figures(figures)) => {
                    let event = event.get_or_insert_with(|| page::event(figures));
                    client.push(event, now_ms);
                }
                (Stage::Waiting(asked), told) => {
                    if let Some(bytes) = answered(asked, told) {
                        client.answer(bytes, now_ms);
                    }
                }
                _ => {}
            }
        }
    }

    fn accept(&mut self, now_ms: u64) {
        for _ in 0..ACCEPTED_PER_TURN {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if stream.set_nonblocking(true).is_ok() && self.has_room() {
                        self.connections.push(Connection::new(stream, now_ms));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Its client left before it was taken, or there is no file handle for it: others may come.
                Err(_) => {
                    self.rests_until_ms = now_ms + REST_MS;
                    return;
                }
            }
        }
    }

    /// Says whether there is room for one more, for which the one that waits longest with its request makes place.
    fn has_room(&mut self) -> bool {
        if self.connections.len() < limits::HTTP_CONNECTIONS_MAX {
            return true;
        }
        let idle = |client: &Connection| matches!(client.stage, Stage::Asking | Stage::Leaving);
        match self.connections.iter().position(idle) {
            Some(at) => {
                drop(self.connections.remove(at));
                true
            }
            None => false,
        }
    }

    fn send_events(&mut self, now_ms: u64) {
        if now_ms >= self.next_event_ms && self.listeners().next().is_some() {
            self.next_event_ms = now_ms + EVENT_MS;
            // One that is not taken is a second without an event.
            self.onlooker.ask(Question::Figures);
        }
    }
}

/// Makes the answer to a request of what the broker said, if it is what was asked.
fn answered(asked: Asked, told: &Answer) -> Option<Vec<u8>> {
    let head_only = asked.head_only;
    Some(match (asked.route, told) {
        (Route::Metrics, Answer::Figures(figures)) => {
            let text = metrics::text(figures);
            answer::whole(200, metrics::KIND, text.as_bytes(), head_only)
        }
        (Route::Alive, Answer::Alive) => answer::line(200, "alive", head_only),
        (Route::Ready, Answer::RoundTrip(took_us)) => {
            let text = format!("ready: the store took something in and synced it in {took_us} us");
            answer::line(200, &text, head_only)
        }
        _ => return None,
    })
}

fn timespec(ms: u64) -> Timespec {
    const DAY_MS: u64 = 86_400_000;
    let ms = ms.min(DAY_MS);
    Timespec {
        tv_sec: i64::try_from(ms / 1_000).unwrap_or(0),
        tv_nsec: i64::try_from(ms % 1_000 * 1_000_000).unwrap_or(0),
    }
}

/// The front's own clock: how long clients have waited.
#[derive(Debug)]
struct Clock(Instant);

#[expect(
    clippy::disallowed_methods,
    reason = "a shell: terms of its connections run on its own clock"
)]
impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
