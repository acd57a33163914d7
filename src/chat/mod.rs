//! Direct chat: two sides, each bound on its leased port, PUSH to PULL under CURVE.
//!
//! The broker introduces the two (`client::session`); from then on it is not needed. [`Chat`] is what
//! programs use: it owns the session and two threads while the chat lasts. [`core`] holds the rules
//! without sockets, files or clock; [`frame`] is what goes over the wire; [`io`] what goes into the core
//! and comes out. Nothing here prints or asks.

pub(crate) mod bundle;
pub mod core;
mod engine;
mod error;
pub mod file;
pub mod fingerprint;
pub mod frame;
pub mod io;
mod keeper;
mod memory;
mod open;
mod peer;
mod queue;
mod shared;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use self::engine::Engine;
use self::frame::{FileNumber, Note, Seq};
use self::keeper::Keeper;
use self::shared::{Batch, Shared};
use crate::client::ClientError;
use crate::client::session::{Event, Session};
use crate::client::waker::Waker;
use crate::limits;
use crate::protocol::names::UserName;
use crate::protocol::reply::ChatRow;
use crate::protocol::request::ChatId;

pub use error::ChatError;

/// How a chat is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the other side reaches this one, when that is not the address the server sees.
    pub host: Option<String>,
    /// Gives up asking after this long; otherwise the invitation's own term counts.
    pub wait: Option<Duration>,
    /// Bytes by which the memory of this process may grow before the chat is ended with [`io::End::Flooded`].
    /// Nothing else bounds what the invited peer can make it hold: messages of ever more parts, or on ever more
    /// connections. Without it the program looks itself: only it knows how much it grows by what it does besides.
    /// `mailctl` sets [`limits::CHAT_HELD_BYTES_MAX`].
    pub held_max: Option<u64>,
}

/// One chat, from asking to its end. Dropping it ends it like [`Chat::finish`] and closes the session.
#[derive(Debug)]
pub struct Chat {
    about: About,
    shared: Arc<Shared>,
    told: Unread,
    engine: Option<Engine>,
    keeper: Keeper,
}

/// What was told and not read yet.
#[derive(Debug, Default)]
struct Unread {
    events: std::vec::IntoIter<io::Event>,
    batches: VecDeque<Batch>,
}

impl Unread {
    fn is_empty(&self) -> bool {
        self.events.len() == 0 && self.batches.is_empty()
    }

    fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(event) = self.events.next() {
                return Some(Told::Chat(event));
            }
            match self.batches.pop_front()? {
                Batch::Chat(events) => self.events = events.into_iter(),
                Batch::Other(told) => return Some(*told),
            }
        }
    }
}

/// What is known of a chat from its beginning.
#[derive(Debug)]
struct About {
    chat: ChatId,
    user: String,
    expires_at: Option<String>,
    /// Until when this side waits: no longer than that.
    waits_until: Option<String>,
    asked: bool,
}

/// What a chat tells.
#[derive(Debug)]
pub enum Told {
    /// Something of the chat itself.
    Chat(io::Event),
    /// Something of the session that goes on beside it: mail, other invitations.
    Session(Event),
    /// The session is over; the chat is not.
    Server(ClientError),
}

/// What is left when a chat is over.
#[derive(Debug)]
pub struct Finished {
    /// Lines that the other side is not known to have shown, in order.
    pub undelivered: Vec<Undelivered>,
    /// The session, for what comes next; nothing when the server did not answer in time.
    pub session: Option<Session>,
}

/// A line that the other side is not known to have shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// Its place in this side's row.
    pub seq: Seq,
    /// Its text.
    pub text: String,
}

/// Why a line was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsaid {
    /// The chat is over.
    #[error("the chat is over: this line was not said")]
    Over(String),
    /// Longer than [`limits::LINE_BYTES_MAX`], or with a line break in it.
    #[error(
        "a line holds at most {} bytes and no line break",
        limits::LINE_BYTES_MAX
    )]
    NotALine(String),
}

/// The chat is over: nothing more is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chat is over")]
pub struct Over;

/// A refusal, and the session for what comes next.
pub type Refusal = (ChatError, Option<Session>);

impl Chat {
    /// Asks a user for a chat. When that user has asked already, this accepts.
    ///
    /// The session must be a standing one; it comes back with [`Chat::finish`].
    #[expect(
        clippy::result_large_err,
        reason = "the session goes back, once a chat"
    )]
    pub fn ask(session: Session, user: &UserName, options: &Options) -> Result<Self, Refusal> {
        open::ask(session, user, options)
    }

    /// Accepts an invitation.
    #[expect(
        clippy::result_large_err,
        reason = "the session goes back, once a chat"
    )]
    pub fn accept(session: Session, row: &ChatRow, options: &Options) -> Result<Self, Refusal> {
        open::accept(session, row, options)
    }

    /// Returns the chat's name.
    pub fn chat(&self) -> &ChatId {
        &self.about.chat
    }

    /// Returns the user on the other side, as the broker knows him.
    pub fn user(&self) -> &str {
        &self.about.user
    }

    /// Says whether this side asked and waits for an answer; otherwise it connects.
    pub fn is_asking(&self) -> bool {
        self.about.asked
    }

    /// Returns when the invitation ends unless it is answered, RFC 3339 UTC.
    pub fn expires_at(&self) -> Option<&str> {
        self.about.expires_at.as_deref()
    }

    /// Returns until when this side waits for an answer, RFC 3339 UTC: as long as the invitation stands, or less.
    pub fn waits_until(&self) -> Option<&str> {
        self.about.waits_until.as_deref()
    }

    /// Returns the words that both sides see, once the other side's key is known.
    pub fn fingerprint(&self) -> Option<String> {
        self.shared.fingerprint()
    }

    /// Says what was tried to reach each other, both ways, for [`io::End::Unreachable`] and
    /// [`io::End::Lost`].
    pub fn tried(&self) -> String {
        self.shared.tried()
    }

    /// Returns how many messages came in that are not of this chat: of others, of earlier chats, of
    /// nobody who knows the form.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped()
    }

    /// Returns the next thing told; waits `patience` at most. Nothing follows
    /// [`io::Event::Ended`] but what the session tells.
    pub fn next(&mut self, patience: Duration) -> Option<Told> {
        if self.told.is_empty() {
            self.told.batches = self.shared.wait_told(patience).into();
        }
        self.told.next()
    }

    /// Makes this waker be woken whenever there is something for [`Chat::next`]. Counts the first time.
    pub fn wake_with(&self, waker: Waker) {
        self.shared.wake_with(waker);
    }

    /// Says that the other side's lines up to here were shown: that is what it hears as delivered.
    pub fn shown(&self, through: Seq) {
        self.shared.shown(through);
    }

    /// Returns what speaks in this chat, for any thread.
    pub fn voice(&self) -> Voice {
        Voice {
            shared: Arc::clone(&self.shared),
            keeper: self.keeper.words(),
        }
    }

    /// Ends it, whatever its state, and takes stock: never longer than about 1.5 seconds. A polite end
    /// is [`Voice::leave`] first, until [`io::Event::Ended`].
    pub fn finish(mut self) -> Finished {
        self.wind_up()
    }

    fn of(about: About, shared: Arc<Shared>, engine: Engine, keeper: Keeper) -> Self {
        Self {
            about,
            shared,
            told: Unread::default(),
            engine: Some(engine),
            keeper,
        }
    }

    fn wind_up(&mut self) -> Finished {
        let undelivered = self.engine.take().map(Engine::finish).unwrap_or_default();
        let session = self.keeper.finish();
        Finished {
            undelivered,
            session,
        }
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        if self.engine.is_some()
            && let Some(session) = self.wind_up().session
        {
            // Without an answer the server ends it when its term is over.
            session.close_within(Duration::from_millis(500)).ok();
        }
    }
}

/// What speaks in a chat. Cheap to clone, and for any thread; all of it may be called at any time.
#[derive(Debug, Clone)]
pub struct Voice {
    shared: Arc<Shared>,
    keeper: keeper::Words,
}

impl Voice {
    /// Says a line; waits while too many are under way. [`io::Event::Queued`] tells its place.
    pub fn say(&self, text: impl Into<String>) -> Result<(), Unsaid> {
        let text = text.into();
        if text.len() > limits::LINE_BYTES_MAX
            || [b'\n', b'\r']
                .iter()
                .any(|end| text.as_bytes().contains(end))
        {
            return Err(Unsaid::NotALine(text));
        }
        self.shared.say(text).map_err(Unsaid::Over)
    }

    /// Says something about a file; waits like [`Voice::say`]. [`io::Event::Noted`] tells its place.
    pub fn note(&self, note: Note) -> Result<(), Over> {
        self.shared.note(note)
    }

    /// Sends a piece of a file; waits while the way out is full.
    pub fn piece(&self, file: FileNumber, offset: u64, bytes: Vec<u8>) -> Result<(), Over> {
        self.shared.piece(file, offset, bytes)
    }

    /// Tells how much of a file is written; with `again`, asks for it again from there. Never waits: one
    /// that finds no room is lost like one on the way, so say it again while nothing comes.
    pub fn credit(&self, file: FileNumber, written: u64, again: bool) -> Result<(), Over> {
        self.shared.credit(file, written, again)
    }

    /// Leaves: what was said before goes first. While nobody has come yet, the invitation is taken back.
    pub fn leave(&self) {
        self.shared.leave();
    }

    /// Takes the invitation back; leaves, when somebody has come meanwhile.
    pub fn withdraw(&self) {
        self.keeper.withdraw();
    }
}
