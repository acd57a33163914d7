//! What goes into the core and what comes out.
//!
//! The law: [`Core::handle`](super::core::Core::handle) takes one [`Input`]; then
//! [`Core::poll_output`](super::core::Core::poll_output) is drained to [`Output::Idle`]; only then the
//! next input. XPUB's manual mode needs exactly this, since a grant belongs to the last subscription
//! received.

use std::sync::Arc;

use crate::limits;
use crate::protocol::PublicKey;
use crate::protocol::notice::NoticeKey;
use crate::store::{Answer, Change, Query};

/// A commit that is not on disk yet, or a read that is not answered yet. Grows by one.
pub type Ticket = u64;

/// The time, as the shell read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds since the process started: terms, heartbeats, ages.
    pub mono_ms: u64,
    /// Wall clock, milliseconds since the epoch: `sent_at` and a mail's own expiry.
    pub wall_ms: i64,
}

/// Where a request came from and where its reply goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The ROUTER's routing id.
    pub routing: Vec<u8>,
    /// The CURVE key that the connection proved (ZAP `User-Id`).
    pub key: PublicKey,
    /// The address the connection came from, for logs and introductions; may be empty.
    pub address: String,
}

/// Everything that may ever wake the core.
#[derive(Debug)]
pub enum Input {
    /// A request: the frames after the routing id. `random` is fresh, for session names and codes.
    Request {
        /// Who asks.
        peer: Peer,
        /// `[request id][header][body]`, as they came.
        frames: Vec<Vec<u8>>,
        /// Random bytes that nobody can guess.
        random: [u8; 32],
    },
    /// A subscription frame on the live socket, without its first byte.
    Subscribe {
        /// The CURVE key that the connection proved.
        key: PublicKey,
        /// What it wants to subscribe to: any bytes.
        topic: Vec<u8>,
        /// Whether a grant would reach the connection that asked, and no other.
        sure: bool,
    },
    /// A subscription on the live socket was ended by its client.
    Unsubscribe {
        /// The CURVE key that the connection proved.
        key: PublicKey,
    },
    /// A frame on the live socket that is no subscription: what no client's library sends.
    Stray {
        /// The CURVE key that the connection proved.
        key: PublicKey,
    },
    /// A grant of this key may have gone to another connection than the one that asked.
    Doubt(NoticeKey),
    /// This commit, and every one before it, is on disk.
    Committed(Ticket),
    /// A read is done.
    Loaded(Ticket, Answer),
    /// Time passed: at least once a second, and at the time of the last [`Output::Idle`].
    Tick {
        /// Free space is below the reserve: refuse new mail, still serve reads and acks.
        disk_low: bool,
        /// Bytes free on the store's disk, where they are known.
        disk_free: Option<u64>,
    },
    /// Somebody asks whether the store still takes things in: say [`Output::RoundTripped`] when something new is on disk.
    RoundTrip,
    /// These settings are in force from now on. Ports and terms are what they were: only a start changes them.
    Settings(Box<Settings>),
    /// The process was asked to stop: refuse everything new, finish what was begun.
    Shutdown,
}

/// Everything the core may ever want.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send these frames (`[request id][header][body...]`) to the peer that asked.
    Reply {
        /// The ROUTER's routing id, as it came with the request.
        routing: Vec<u8>,
        /// The frames after it.
        frames: Vec<Frame>,
    },
    /// Publish on the live socket.
    Publish {
        /// First frame.
        key: NoticeKey,
        /// Second frame.
        header: Frame,
        /// Third frame, if any.
        body: Option<Frame>,
    },
    /// Grant exactly this key to the connection whose subscription was the last input.
    Grant(NoticeKey),
    /// End the connection whose frame on the live socket was the last input; the others go on.
    Cut,
    /// Open the live socket anew: its connections have made it keep too much that was denied.
    RenewLive,
    /// What [`Input::RoundTrip`] asked for is on disk.
    RoundTripped,
    /// Make this durable, in order of tickets, and say `Committed`.
    Commit(Ticket, Vec<Change>),
    /// Read this, beside the commits, and say `Loaded`.
    Load(Ticket, Query),
    /// Nothing more for this input. Come back at this monotonic time at the latest, if given.
    Idle {
        /// Milliseconds on the clock of [`Now::mono_ms`].
        wake_at_ms: Option<u64>,
    },
}

/// Bytes of one frame; shared, so that a body is not copied on its way to several sockets.
pub type Frame = Arc<[u8]>;

/// Who may register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Anybody may be a new user.
    Open,
    /// A new user brings a code.
    Invite,
    /// Nobody.
    Closed,
}

impl Registration {
    /// Returns the word on the wire and in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

/// What the core needs to know and cannot find out.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Keys with the role of administrator that belong to no user (`admin.key`).
    pub admin_keys: Vec<PublicKey>,
    /// Who may register.
    pub registration: Registration,
    /// May any user make a topic by joining it?
    pub topics_open: bool,
    /// The pool of ports, in the order of first use.
    pub chat_ports: Vec<u16>,
    /// Milliseconds a lease and a session live without a request.
    pub lease_ttl_ms: u64,
    /// Milliseconds a freed port rests.
    pub port_rest_ms: u64,
    /// Ports one user may hold.
    pub ports_per_user: usize,
    /// Milliseconds an invitation to a chat stands open.
    pub invitation_ttl_ms: u64,
    /// Bytes of a body.
    pub body_bytes_max: u64,
    /// Mails of a log.
    pub log_mails_max: u64,
    /// Body bytes of a log.
    pub log_bytes_max: u64,
    /// Mails of a topic kept for newcomers.
    pub history_mails: u64,
    /// Seconds of running time they are kept at most.
    pub history_seconds: u64,
    /// Registrations of one address in an hour.
    pub registrations: u64,
    /// Registrations of this machine's own addresses in an hour.
    pub registrations_loopback: u64,
    /// Port of the live socket, told in `hello`.
    pub live_port: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            admin_keys: Vec::new(),
            registration: Registration::Open,
            topics_open: true,
            chat_ports: (5600..=5699).collect(),
            lease_ttl_ms: limits::SESSION_TTL_MS,
            port_rest_ms: 60_000,
            ports_per_user: 8,
            invitation_ttl_ms: limits::INVITATION_TTL_MS,
            body_bytes_max: limits::BODY_BYTES_DEFAULT,
            log_mails_max: limits::LOG_MAILS_DEFAULT,
            log_bytes_max: limits::LOG_BYTES_DEFAULT,
            history_mails: limits::HISTORY_MAILS_DEFAULT,
            history_seconds: limits::HISTORY_SECONDS_DEFAULT,
            registrations: limits::REGISTRATIONS_DEFAULT,
            registrations_loopback: limits::REGISTRATIONS_LOOPBACK,
            live_port: 0,
        }
    }
}
