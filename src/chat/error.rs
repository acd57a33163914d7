//! Why no chat came about, in words a person can act on.

use std::time::Duration;

use crate::client::ClientError;
use crate::protocol::codes::{Code, WireError, exit};

/// Why a chat could not be asked for or accepted. Each text says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The server refused, or could not be reached.
    #[error(transparent)]
    Server(#[from] ClientError),
    /// There is no port to listen on.
    #[error("{}{}", .refused.text, when(*.retry_after))]
    NoPort {
        /// What the server says.
        refused: WireError,
        /// When a port may be free.
        retry_after: Option<Duration>,
    },
    /// The session was opened for single requests.
    #[error("a chat needs a session that stays: open it with Options::standing()")]
    NotStanding,
    /// The server's word on the other side makes no sense to this build.
    #[error("the server's introduction could not be read ({what}); is it a newer version?")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// ZeroMQ failed in a way that is not the network's.
    #[error("ZeroMQ failed to {deed}: {source}")]
    Zmq {
        /// What was tried, as a verb.
        deed: &'static str,
        /// The cause.
        source: zmq::Error,
    },
    /// The system gave no thread, pipe or file.
    #[error("cannot {deed}: {source}; are too many files or processes open? See `ulimit -a`")]
    System {
        /// What was tried, as a verb.
        deed: &'static str,
        /// The cause.
        source: std::io::Error,
    },
}

impl ChatError {
    /// Returns the exit code of a program that ends on it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Server(error) => error.exit_code(),
            Self::NoPort { .. } => Code::NoPort.exit(),
            Self::NotStanding | Self::Malformed { .. } | Self::Zmq { .. } => exit::SOFTWARE,
            Self::System { .. } => exit::IO,
        }
    }

    /// Returns the word for `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Server(error) => error.code(),
            Self::NoPort { .. } => Code::NoPort.word(),
            Self::NotStanding => "not_standing",
            Self::Malformed { .. } => "malformed",
            Self::Zmq { .. } => "zmq",
            Self::System { .. } => "io",
        }
    }

    /// Says whether the same may succeed later without a change to it.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Server(error) => error.retryable(),
            Self::NoPort { .. } => true,
            _ => false,
        }
    }

    /// Returns how long to wait before another try, for people: in whole seconds, and never too short.
    pub fn pause(&self) -> Option<String> {
        match self {
            Self::NoPort { retry_after, .. } => retry_after.map(whole_seconds),
            _ => None,
        }
    }

    /// Sorts out what the server said to a request for a port.
    pub(super) fn of_port(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refused) if refused.code == Code::NoPort => {
                let retry_after = refused.retry_after_ms.map(Duration::from_millis);
                Self::NoPort {
                    refused,
                    retry_after,
                }
            }
            error => Self::Server(error),
        }
    }

    pub(super) fn zmq(deed: &'static str) -> impl Fn(zmq::Error) -> Self {
        move |source| Self::Zmq { deed, source }
    }

    pub(super) fn system(deed: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::System { deed, source }
    }
}

fn when(retry_after: Option<Duration>) -> String {
    let pause = retry_after.map(whole_seconds);
    pause.map_or_else(String::new, |pause| format!("; try again in {pause}"))
}

fn whole_seconds(pause: Duration) -> String {
    humantime::format_duration(Duration::from_secs(pause.as_secs() + 1)).to_string()
}
