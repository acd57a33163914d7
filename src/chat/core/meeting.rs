//! How the two sides meet: who says hello when, and from when on lines may pass.
//!
//! Both sides follow the same rules; only who connects first differs. Nothing here ends in a loop: a
//! hello that says "met" is answered by an ack, and an ack by nothing.

use super::{Core, Stage};
use crate::chat::frame::{Frame, Hello, MAGIC, VERSION};
use crate::chat::io::{End, Event, Peer};
use crate::limits;
use crate::protocol::PublicKey;

/// Who has heard whose hello.
#[derive(Debug, Clone, Copy)]
pub(super) struct Greeting {
    /// The other side's came.
    pub(super) met: bool,
    /// This side's was sent over this connection, and said so.
    pub(super) told: bool,
    /// When this side's was last sent.
    said_ms: Option<u64>,
    /// When it is too late to meet.
    until_ms: u64,
}

impl Greeting {
    pub(super) fn new(met: bool, now_ms: u64) -> Self {
        Self {
            met,
            told: false,
            said_ms: None,
            until_ms: now_ms + limits::CHAT_CONNECT_MS,
        }
    }

    /// Returns when a hello may be said again after some time; at once before the first.
    fn again_at_ms(&self, after_ms: u64) -> u64 {
        self.said_ms.map_or(0, |said| said + after_ms)
    }
}

impl Core {
    /// Takes a hello of a known key. Returns nothing when it is not one of this chat.
    pub(super) fn hello(&mut self, from: &PublicKey, hello: &Hello) -> Option<()> {
        match &self.peer {
            None => self.choose(*from, hello)?,
            Some(peer) if peer.epoch != hello.epoch => return None,
            Some(_) => {}
        }
        let again = self.is_open();
        self.hear();
        self.greeting_mut()?.met = true;
        if hello.met {
            self.open();
        }
        if again {
            // The other side connected anew: what it sent before may be lost.
            let from = hello.through.saturating_add(1);
            self.said.rewind(from, self.now_ms);
            self.tell(Event::Resumed);
        }
        self.answer(hello.met);
        Some(())
    }

    /// Takes the first one that comes and may.
    fn choose(&mut self, key: PublicKey, hello: &Hello) -> Option<()> {
        if hello.port == 0 {
            return None;
        }
        self.said.readdress(hello.epoch);
        self.stage = Stage::Meeting(Greeting::new(true, self.now_ms));
        self.connect(Peer {
            key,
            epoch: hello.epoch,
            port: hello.port,
            host: hello.host.clone(),
        });
        Some(())
    }

    /// Answers a hello: with an own one as long as the other side may miss it.
    fn answer(&mut self, met: bool) {
        let Some(greeting) = self.greeting().filter(|_| self.link.is_up()) else {
            return;
        };
        if !greeting.told || !met && self.now_ms >= greeting.again_at_ms(limits::CHAT_REWIND_MS) {
            self.greet();
        }
        self.ack.due = true;
    }

    /// Says hello.
    pub(super) fn greet(&mut self) {
        let now_ms = self.now_ms;
        let Some(greeting) = self.greeting_mut() else {
            return;
        };
        greeting.said_ms = Some(now_ms);
        greeting.told = greeting.met;
        let met = greeting.met;
        let hello = Hello {
            magic: MAGIC.to_owned(),
            version: VERSION,
            epoch: self.own.epoch,
            port: self.own.port,
            host: self.own.host.clone(),
            through: self.heard.told(),
            met,
        };
        let chat = self.own.chat;
        self.send(&Frame::Hello { chat, hello });
    }

    /// The two have heard each other: lines may pass.
    pub(super) fn open(&mut self) {
        let Stage::Meeting(greeting) = self.stage else {
            return;
        };
        self.stage = Stage::Open(greeting);
        self.ack.due = true;
        let key = self.peer.as_ref().expect("who met has a peer").key;
        self.tell(Event::Open { key });
    }

    pub(super) fn tick_meeting(&mut self, greeting: Greeting) {
        let refused = self.link.refused_at_ms();
        if self.now_ms >= greeting.until_ms || refused.is_some_and(|at| self.now_ms >= at) {
            let connected = self.link.was_up();
            return self.end(End::Unreachable { connected });
        }
        if self.link.is_up() && self.now_ms >= greeting.again_at_ms(limits::CHAT_HELLO_MS) {
            self.greet();
        }
    }

    pub(super) fn meeting_wake_ms(&self, greeting: &Greeting) -> u64 {
        let hello = greeting.again_at_ms(limits::CHAT_HELLO_MS);
        let hello = if self.link.is_up() { hello } else { u64::MAX };
        let refused = self.link.refused_at_ms().unwrap_or(u64::MAX);
        greeting.until_ms.min(hello).min(refused)
    }
}
