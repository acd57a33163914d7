//! What goes into a chat's core and what comes out.
//!
//! As with the broker: [`Core::handle`](super::core::Core::handle) takes one [`Input`], then
//! [`Core::poll_output`](super::core::Core::poll_output) is drained.

use std::ops::Deref;
use std::sync::Arc;

use super::frame::{FileNumber, Note, Seq};
use crate::protocol::PublicKey;

/// This side of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Which chat.
    pub chat: [u8; 16],
    /// This device's key.
    pub key: PublicKey,
    /// This session's lease: every frame that comes in must carry its epoch.
    pub epoch: u64,
    /// The leased port, which the PULL is bound to.
    pub port: u16,
    /// Where the other side reaches this one, for the hello; nothing for "at the server's host".
    pub host: Option<String>,
}

/// The other side as the broker vouched for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its device's key: what its PULL proves, and what comes with each of its frames.
    pub key: PublicKey,
    /// Its lease's epoch: every frame that goes out carries it.
    pub epoch: u64,
    /// Its leased port.
    pub port: u16,
    /// Where it listens; nothing for the server's host.
    pub host: Option<String>,
}

/// Which way this side came into the chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It asked, and waits: the first of these keys whose hello holds chat and epoch wins.
    Asker {
        /// Keys of the devices that were asked.
        keys: Vec<PublicKey>,
    },
    /// It accepted, and connects.
    Accepter(Peer),
}

/// Everything that may ever wake the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A message came in: the key its connection proved, and its one frame.
    Received {
        /// ZAP's `User-Id`.
        from: PublicKey,
        /// The bytes as they came.
        frame: Vec<u8>,
    },
    /// The outgoing connection stands.
    LinkUp,
    /// It broke, or could not be made yet; it is tried again by itself.
    LinkDown {
        /// The other host refused: nobody listens on that port any more.
        refused: bool,
    },
    /// The broker says how the invitation ended; only while nobody has come yet.
    Answered(End),
    /// The broker says that somebody accepted: from now on the other side must come within
    /// [`CHAT_CONNECT_MS`](crate::limits::CHAT_CONNECT_MS).
    Accepted,
    /// Say a line (at most [`LINE_BYTES_MAX`](crate::limits::LINE_BYTES_MAX), no line break in it).
    Say(String),
    /// Say something about a file.
    Note(Note),
    /// Send a piece of a file. Kept by who reads the file: it is asked for again after a loss.
    Piece {
        /// Which file.
        file: FileNumber,
        /// Its place.
        offset: u64,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Tell how much of a file is written.
    Credit {
        /// Which file.
        file: FileNumber,
        /// Bytes written from the front.
        written: u64,
        /// Send again from there.
        again: bool,
    },
    /// Everything told up to this seq was shown to the user: it may be acknowledged.
    Shown(Seq),
    /// The user leaves: what was said goes first.
    Leave,
    /// Time passed: at the time of [`Core::wake_at_ms`](super::core::Core::wake_at_ms) at the latest,
    /// and after what came in until then, so that a slow turn is not taken for silence.
    Tick,
}

/// Everything the core may ever want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Connect the PUSH to the other side, which must prove this key. Once in a chat.
    Connect(Peer),
    /// Send this frame. While the outgoing queue is full, keep it; order matters. On
    /// [`Input::LinkDown`] forget what is kept: after [`Input::LinkUp`] all of it comes again.
    Send(Packet),
    /// Tell the user.
    Tell(Event),
}

/// The bytes of a frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Of the row: the core keeps it too, to send it again.
    Kept(Arc<[u8]>),
    /// Sent once.
    Passing(Vec<u8>),
}

impl Deref for Packet {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Kept(bytes) => bytes,
            Self::Passing(bytes) => bytes,
        }
    }
}

/// What happens in a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Both sides hear each other.
    Open {
        /// The key of the device on the other side.
        key: PublicKey,
    },
    /// A line of the other side. Call for [`Input::Shown`] once it is shown.
    Line {
        /// Its place in the other side's row.
        seq: Seq,
        /// The text as it came: not fit for a terminal.
        text: String,
    },
    /// Something about a file. Call for [`Input::Shown`] too.
    Note {
        /// Its place in the other side's row.
        seq: Seq,
        /// What it says.
        note: Note,
    },
    /// A line of this side got its place in the row.
    Queued {
        /// Which place.
        seq: Seq,
    },
    /// A note about a file of this side got its place in the row; an offered file is called by it.
    /// Notes have an event of their own, so that whoever says lines can count [`Event::Queued`].
    Noted {
        /// Which place.
        seq: Seq,
        /// What it says.
        note: Note,
    },
    /// The other side has shown everything of this side's row up to here.
    Delivered {
        /// Cumulative.
        through: Seq,
    },
    /// A piece of a file of the other side.
    Piece {
        /// Which file.
        file: FileNumber,
        /// Its place.
        offset: u64,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The other side has written this much of a file of this side.
    Credit {
        /// Which file.
        file: FileNumber,
        /// Bytes from the front.
        written: u64,
        /// Read again from there.
        again: bool,
    },
    /// A connection of either side was made anew: lines and notes come again by themselves, but pieces
    /// and credits under way are lost. Who receives a file asks again from what is written.
    Resumed,
    /// The other side is not heard of for the moment.
    Broken,
    /// It is back, with nothing lost.
    Mended,
    /// It is over; nothing follows.
    Ended(End),
}

/// How a chat ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// One side left; everything said before was delivered.
    Bye {
        /// It was the other one.
        by_peer: bool,
    },
    /// The other side was not heard of any more.
    Lost,
    /// Accepted, but the two could not reach each other in time.
    Unreachable {
        /// This side could connect: it is the other one that does not get through.
        connected: bool,
    },
    /// The other side said no.
    Declined,
    /// The other side takes no chat now.
    Busy,
    /// The other side took its invitation back.
    Withdrawn,
    /// Nobody answered in time.
    Expired,
    /// The other side made this machine hold more than [`Options::held_max`](super::Options::held_max).
    Flooded,
}
