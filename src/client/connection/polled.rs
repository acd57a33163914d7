//! Many connections in one program: sockets that share their threads, and a connection that never
//! waits but says what to wait for.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Answer, Connection, decode, zmq_failed};
use crate::auth::keys::KeyPair;
use crate::client::core::RequestNumber;
use crate::client::error::ClientError;
use crate::client::home::Place;

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
        match Self::open_in(sockets.seat(), place, keys, patience) {
            Err(ClientError::Zmq {
                source: zmq::Error::EMFILE,
                ..
            }) => Self::open_in(sockets.another(), place, keys, patience),
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
        self.take_in()?;
        // What came may have let go of something: a hello's answer lets everything else out.
        if self.wants_to_write() {
            due_ms = self.put_out()?;
            self.take_in()?;
        }
        // That may have happened again just now, or the socket could not take it: nothing tells of either.
        if self.wants_to_write() {
            due_ms = due_ms.min(self.now_ms() + AGAIN_MS);
        }
        Ok(due_ms)
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
