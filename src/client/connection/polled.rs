//! Many connections in one program: sockets that share their threads, and a connection that never
//! waits but says what to wait for.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use zmq::{PollEvents, PollItem};

use super::sockets::zmq_failed;
use super::{Answer, Connection, decode};
use crate::auth::keys::KeyPair;
use crate::client::core::RequestNumber;
use crate::client::error::ClientError;
use crate::client::home::Place;
use crate::client::interrupt::Interrupt;

/// Connections in one context: each has four sockets, and libzmq gives a context 1,023.
const CONNECTIONS_PER_CONTEXT: usize = 250;

/// Milliseconds until a turn is due again that left something to go out.
const AGAIN_MS: u64 = 5;

/// Sockets and the threads behind them, for any number of connections. A [`Connection::open`] has two
/// threads of its own; with these 250 connections share two.
#[derive(Clone, Default)]
pub struct Sockets {
    pub(super) contexts: Arc<Mutex<Vec<Arc<zmq::Context>>>>,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").finish_non_exhaustive()
    }
}

impl Sockets {
    /// Returns a context with room for one more connection, which holds it for as long as it lives.
    pub(super) fn seat(&self) -> Arc<zmq::Context> {
        let mut contexts = self.contexts.lock().unwrap_or_else(PoisonError::into_inner);
        let with_room = contexts
            .iter()
            .find(|context| Arc::strong_count(context) <= CONNECTIONS_PER_CONTEXT);
        if let Some(context) = with_room {
            return Arc::clone(context);
        }
        opened(&mut contexts)
    }

    /// Returns a new context, for when the one with room has no place left: a closed socket keeps its
    /// place until libzmq's thread has cleared it away.
    fn another(&self) -> Arc<zmq::Context> {
        opened(&mut self.contexts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn opened(contexts: &mut Vec<Arc<zmq::Context>>) -> Arc<zmq::Context> {
    let context = Arc::new(zmq::Context::new());
    contexts.push(Arc::clone(&context));
    context
}

/// Which of a connection's sockets may have something to read.
#[expect(clippy::struct_excessive_bools, reason = "one for each socket")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) requests: bool,
    pub(super) monitor: bool,
    pub(super) woken: bool,
    pub(super) live: bool,
}

impl Ready {
    const ALL: Self = Self {
        requests: true,
        monitor: true,
        woken: true,
        live: true,
    };

    /// Reads what polling said of requests, monitor, sleeper and, where there is one, the live socket.
    pub(super) fn of(items: &[PollItem<'_>]) -> Self {
        let is_ready = |at: usize| items.get(at).is_some_and(PollItem::is_readable);
        Self {
            requests: is_ready(0),
            monitor: is_ready(1),
            woken: is_ready(2),
            live: is_ready(3),
        }
    }
}

fn looked<const N: usize>(mut items: [PollItem<'_>; N]) -> Result<Ready, ClientError> {
    match zmq::poll(&mut items, 0) {
        Ok(_) => Ok(Ready::of(&items)),
        Err(zmq::Error::EINTR) => Ok(Ready::ALL),
        Err(source) => Err(zmq_failed("wait")(source)),
    }
}

impl Connection {
    /// As [`Connection::open`], on sockets shared with other connections.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn open_on(
        sockets: &Sockets,
        place: &Place,
        keys: &KeyPair,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        match Self::open_in(sockets.seat(), place, keys, patience, Interrupt::default()) {
            Err(ClientError::Zmq {
                source: zmq::Error::EMFILE,
                ..
            }) => Self::open_in(
                sockets.another(),
                place,
                keys,
                patience,
                Interrupt::default(),
            ),
            other => other,
        }
    }

    /// Returns what to poll for input; then [`Connection::turn`] is due. libzmq tells of input once: a
    /// turn is due as well after each [`Connection::submit`], before the next poll. The live socket's
    /// descriptor is among them once [`Connection::open_live`] made it, and is another one when the server
    /// came back with another live port: ask again when [`Connection::generation`] has grown.
    ///
    /// # Errors
    /// libzmq has no descriptor for a socket.
    pub fn fds(&self) -> Result<Vec<RawFd>, ClientError> {
        let live = self.live_socket.as_ref().map(|live| &live.socket);
        let sockets = [Some(&self.requests_socket), Some(&self.monitor), live];
        let fds = sockets.into_iter().flatten().map(zmq::Socket::get_fd);
        let mut fds: Vec<RawFd> = fds
            .collect::<zmq::Result<_>>()
            .map_err(zmq_failed("poll a socket"))?;
        fds.push(self.sleeper.fd());
        Ok(fds)
    }

    /// Moves what can be moved and never waits. Returns when the next turn is due without any input, on
    /// the clock of [`Connection::now_ms`].
    ///
    /// # Errors
    /// The server is another one, or libzmq failed.
    pub fn turn(&mut self) -> Result<u64, ClientError> {
        let mut due_ms = self.put_out()?;
        let ready = self.look()?;
        self.take_in(ready)?;
        // What came may have let go of something: a hello's answer lets everything else out.
        if self.wants_to_write() {
            due_ms = self.put_out()?;
            let ready = self.look()?;
            self.take_in(ready)?;
        }
        // That may have happened again just now, or the socket could not take it: nothing tells of either.
        if self.wants_to_write() {
            due_ms = due_ms.min(self.now_ms() + AGAIN_MS);
        }
        Ok(due_ms)
    }

    /// Looks which sockets may have something, with one system call for all: libzmq itself makes one for
    /// each that has nothing.
    fn look(&self) -> Result<Ready, ClientError> {
        if self.stirred {
            return Ok(Ready::ALL);
        }
        let socket = |socket: &zmq::Socket| {
            let fd = socket.get_fd().map_err(zmq_failed("poll a socket"))?;
            Ok::<_, ClientError>(PollItem::from_fd(fd, PollEvents::POLLIN))
        };
        let fixed = [
            socket(&self.requests_socket)?,
            socket(&self.monitor)?,
            PollItem::from_fd(self.sleeper.fd(), PollEvents::POLLIN),
        ];
        match &self.live_socket {
            Some(live) => {
                let [requests, monitor, sleeper] = fixed;
                looked([requests, monitor, sleeper, socket(&live.socket)?])
            }
            None => looked(fixed),
        }
    }

    /// Returns the oldest request whose reply is here: take it with [`Connection::answer`].
    pub fn answered(&self) -> Option<RequestNumber> {
        self.requests.answered()
    }

    /// Takes the reply to a request, when it is here.
    pub fn answer<T: DeserializeOwned>(
        &mut self,
        number: RequestNumber,
        verb: &'static str,
    ) -> Option<Result<Answer<T>, ClientError>> {
        let frames = self.requests.take(number)?;
        Some(decode(verb, frames))
    }
}
