//! One client, from its first byte to its last.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::event::PollFlags;

use super::answer;
use super::request::{self, Asked, Hosts, Route};
use crate::limits;

/// Milliseconds a client gets to take the end of an answer in and hang up.
const DRAIN_MS: u64 = 1_000;

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its request is coming.
    Asking,
    /// The broker was asked.
    Waiting(Asked),
    /// Its answer is going.
    Answered,
    /// It listens for events.
    Listening,
    /// All is said; what it still sends is read and dropped, for closing on unread bytes would take the answer back.
    Leaving,
    /// To be closed.
    Gone,
}

/// One client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) stage: Stage,
    /// When it is given up, on the front's clock; a listener is not.
    until_ms: u64,
    received: Vec<u8>,
    unsent: Vec<u8>,
    /// How much of `unsent` is sent.
    sent: usize,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, now_ms: u64) -> Self {
        Self {
            stream,
            stage: Stage::Asking,
            until_ms: now_ms + limits::HTTP_HEAD_MS,
            received: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
        }
    }

    /// Returns what to poll it for.
    pub(super) fn interest(&self) -> PollFlags {
        match self.stage {
            Stage::Answered => PollFlags::OUT,
            Stage::Listening if self.sent < self.unsent.len() => PollFlags::IN | PollFlags::OUT,
            _ => PollFlags::IN,
        }
    }

    /// Returns when to look at it although nothing came.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        (self.stage != Stage::Listening).then_some(self.until_ms)
    }

    /// Gives it a whole answer.
    pub(super) fn answer(&mut self, bytes: Vec<u8>, now_ms: u64) {
        self.unsent = bytes;
        self.sent = 0;
        self.stage = Stage::Answered;
        self.until_ms = now_ms + limits::HTTP_WRITE_MS;
        self.write(now_ms);
    }

    /// Lets it wait for what the broker says.
    pub(super) fn wait_for_broker(&mut self, asked: Asked, now_ms: u64) {
        self.stage = Stage::Waiting(asked);
        self.until_ms = now_ms + limits::HTTP_ANSWER_MS;
    }

    /// Makes it a listener.
    pub(super) fn listen(&mut self, now_ms: u64) {
        self.stage = Stage::Listening;
        self.push(&answer::stream(), now_ms);
    }

    /// Sends a listener something; one that does not read is hung up on.
    pub(super) fn push(&mut self, bytes: &[u8], now_ms: u64) {
        self.unsent.drain(..self.sent);
        self.sent = 0;
        if self.unsent.len() + bytes.len() > limits::HTTP_UNSENT_BYTES_MAX {
            self.stage = Stage::Gone;
            return;
        }
        self.unsent.extend_from_slice(bytes);
        self.write(now_ms);
    }

    /// Goes on with what its socket is ready for. Returns a request that has become whole.
    pub(super) fn go_on(&mut self, hosts: Hosts, now_ms: u64) -> Option<Asked> {
        if matches!(self.stage, Stage::Answered | Stage::Listening) {
            self.write(now_ms);
        }
        match self.stage {
            Stage::Asking => self.read(hosts),
            Stage::Waiting(_) | Stage::Listening | Stage::Leaving => {
                self.discard();
                None
            }
            Stage::Answered | Stage::Gone => None,
        }
    }

    /// Ends what has taken too long.
    pub(super) fn expire(&mut self, now_ms: u64) {
        if self.deadline_ms().is_none_or(|until| now_ms < until) {
            return;
        }
        match self.stage {
            Stage::Asking if !self.received.is_empty() => {
                self.answer(answer::wrong(408, false), now_ms);
            }
            Stage::Waiting(Asked { route, head_only }) => {
                let text = late(route);
                self.answer(answer::line(503, text, head_only), now_ms);
            }
            _ => self.stage = Stage::Gone,
        }
    }

    fn read(&mut self, hosts: Hosts) -> Option<Asked> {
        let mut room = [0; 1024];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => self.stage = Stage::Gone,
                Ok(length) => {
                    self.received.extend_from_slice(&room[..length]);
                    let asked = request::parse(&self.received, hosts);
                    if asked.is_some() {
                        self.received = Vec::new();
                        return asked;
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.stage = Stage::Gone,
            }
            return None;
        }
    }

    /// Drops what a client sends that has nothing to say; so much a turn, and no more.
    fn discard(&mut self) {
        let mut room = [0; 4096];
        match self.stream.read(&mut room) {
            Err(error) if is_later(&error) => {}
            Ok(0) | Err(_) => self.stage = Stage::Gone,
            Ok(_) => {}
        }
    }

    fn write(&mut self, now_ms: u64) {
        while self.sent < self.unsent.len() {
            match self.stream.write(&self.unsent[self.sent..]) {
                Ok(0) => self.stage = Stage::Gone,
                Ok(length) => {
                    self.sent += length;
                    continue;
                }
                Err(error) if is_later(&error) => {}
                Err(_) => self.stage = Stage::Gone,
            }
            return;
        }
        if self.stage == Stage::Answered {
            self.stage = Stage::Leaving;
            self.until_ms = now_ms + DRAIN_MS;
            if self.stream.shutdown(Shutdown::Write).is_err() {
                self.stage = Stage::Gone;
            }
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// What is said when the broker did not answer in time.
fn late(route: Route) -> &'static str {
    match route {
        Route::Ready => {
            "not ready: the store took nothing in within two seconds; look at the disk and the log"
        }
        Route::Alive => "not alive: the server's loop did not turn within two seconds",
        _ => "the server did not answer within two seconds",
    }
}
