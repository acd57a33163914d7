//! What can go wrong for a client, in words a person can act on.

use std::path::PathBuf;
use std::time::Duration;

use super::files::FileError;
use super::home::HomeError;
use crate::auth::keys::KeyError;
use crate::protocol::codes::{Code, WireError, exit};

/// Why the client did not do what it was asked. Each text says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there, or the host cannot be reached.
    #[error(
        "no server answers at {endpoint}; is it running? Start it with `mailserver`, or name another with --server"
    )]
    Unreachable {
        /// The ZeroMQ endpoint that was tried.
        endpoint: String,
    },
    /// Somebody listens, but does not prove the key that is expected.
    #[error(
        "what listens at {endpoint} is not the server with the expected key; if the server was set up anew, log in again with its new server.url"
    )]
    WrongServer {
        /// The ZeroMQ endpoint that was tried.
        endpoint: String,
    },
    /// The file the address came from now names another server.
    #[error(
        "{path} now belongs to another server than the one of this account; log in there with `mailctl login`, or choose the server with --server"
    )]
    ServerChanged {
        /// The file.
        path: String,
    },
    /// Connected, but no answer in time. Nothing is in doubt: the request may be repeated.
    #[error("the server at {endpoint} did not answer `{verb}` within {}; try again, or allow more with --timeout", humantime::format_duration(*.within))]
    NoAnswer {
        /// The ZeroMQ endpoint.
        endpoint: String,
        /// The verb that was asked.
        verb: &'static str,
        /// How long it was waited for.
        within: Duration,
    },
    /// A send was tried and not answered: it may or may not have been carried out.
    #[error("in doubt: kept in the outbox as {entry}; it settles by itself, do not send it again")]
    InDoubt {
        /// Its number in the outbox.
        entry: u64,
    },
    /// A send whose outcome the server has forgotten: it is never sent again by itself.
    #[error(
        "in doubt for good: the server no longer knows what became of the send kept in the outbox as {entry}; ask the addressee, then send it anew or remove it with `mailctl outbox rm {entry}`"
    )]
    Lost {
        /// Its number in the outbox.
        entry: u64,
    },
    /// The file of a send cannot be read. It was set aside and is never sent.
    #[error(
        "{path} is damaged ({what}); it was set aside and is not sent, the others are; remove it with `mailctl outbox rm {entry}`"
    )]
    DamagedEntry {
        /// Its number in the outbox.
        entry: u64,
        /// Where what is left of it is.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A send that was never tried.
    #[error(
        "not sent, kept in the outbox as {entry}: {}; {cause}",
        if *.queued { "it goes out by itself when the server is back".to_owned() } else { format!("a draft, send it with `mailctl outbox retry {}`", .entry) }
    )]
    NotSent {
        /// Its number in the outbox.
        entry: u64,
        /// It is sent by itself later.
        queued: bool,
        /// Why it was not tried.
        cause: Box<ClientError>,
    },
    /// A send that lay in the outbox was refused as a whole. Its text is a draft there.
    #[error("{error}; kept as draft {entry}")]
    RefusedKept {
        /// Its number in the outbox.
        entry: u64,
        /// Why it was refused.
        error: WireError,
    },
    /// The wait was ended by an [`super::interrupt::Interrupt`].
    #[error("stopped; the server was not waited for any longer")]
    Interrupted,
    /// Somebody logged this device out meanwhile.
    #[error("this device was logged out; start again to be logged in")]
    LoggedOut,
    /// The server refused, with a code.
    #[error(transparent)]
    Refused(#[from] WireError),
    /// The server's reply makes no sense to this build.
    #[error("the server's answer to `{verb}` could not be read ({what}); is it a newer version?")]
    Malformed {
        /// The verb that was asked.
        verb: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// A file of the home could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The home does not hold what was asked for.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A key could not be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system gave no pipe to wake a waiting thread with.
    #[error("cannot make a pipe: {0}; are too many files open? See `ulimit -n`")]
    Pipe(std::io::Error),
    /// The system gave no random bytes.
    #[error("the system gives no random bytes; is it still starting?")]
    NoRandom,
    /// ZeroMQ failed in a way that is not the network's.
    #[error("ZeroMQ failed to {deed}: {source}")]
    Zmq {
        /// What was tried, as a verb.
        deed: &'static str,
        /// The cause.
        source: zmq::Error,
    },
}

impl ClientError {
    /// Returns the exit code of a program that ends on it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer { .. } => exit::UNAVAILABLE,
            Self::WrongServer { .. } | Self::ServerChanged { .. } | Self::Key(_) => exit::CONFIG,
            Self::InDoubt { .. } | Self::Lost { .. } | Self::Interrupted => exit::TEMPORARY,
            Self::NotSent { cause, .. } => cause.exit_code(),
            Self::LoggedOut => exit::DENIED,
            Self::Refused(error) | Self::RefusedKept { error, .. } => error.code.exit(),
            Self::Malformed { .. } | Self::Zmq { .. } => exit::SOFTWARE,
            Self::File(_) | Self::DamagedEntry { .. } | Self::Pipe(_) | Self::NoRandom => exit::IO,
            Self::Home(error) => error.exit_code(),
        }
    }

    /// Returns the word for `--json`: the wire's codes, and these of the client's own.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::WrongServer { .. } => "wrong_server",
            Self::ServerChanged { .. } => "server_changed",
            Self::NoAnswer { .. } => "no_answer",
            Self::InDoubt { .. } => "in_doubt",
            Self::Lost { .. } => "lost_outcome",
            Self::NotSent { cause, .. } => cause.code(),
            Self::Interrupted => "interrupted",
            Self::LoggedOut => "logged_out",
            Self::Refused(error) | Self::RefusedKept { error, .. } => error.code.word(),
            Self::Malformed { .. } => "malformed",
            Self::File(FileError::Full { .. }) => "client_disk_full",
            Self::File(_) | Self::DamagedEntry { .. } | Self::Pipe(_) | Self::NoRandom => "io",
            Self::Home(error) => error.code(),
            Self::Key(_) => "key",
            Self::Zmq { .. } => "zmq",
        }
    }

    /// Says whether the same command may succeed later without a change to it.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::NoAnswer { .. }
            | Self::Interrupted
            | Self::File(FileError::Full { .. }) => true,
            Self::Refused(error) | Self::RefusedKept { error, .. } => error.retryable,
            Self::NotSent { cause, queued, .. } => !queued && cause.retryable(),
            _ => false,
        }
    }

    /// Says whether it is about reaching the server, not about what was asked of it.
    pub fn is_transport(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::WrongServer { .. }
                | Self::ServerChanged { .. }
                | Self::NoAnswer { .. }
        )
    }

    /// Says whether the server refused with this code.
    pub fn is_refused(&self, code: Code) -> bool {
        match self {
            Self::Refused(error) | Self::RefusedKept { error, .. } => error.code == code,
            _ => false,
        }
    }
}
