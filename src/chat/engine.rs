//! The thread that carries a chat.

use std::sync::Arc;

use super::shared::Shared;
use super::{Chat, ChatError, Options, Refusal, Undelivered};
use crate::client::session::Session;
use crate::protocol::names::UserName;
use crate::protocol::reply::ChatRow;

/// The handle of an engine.
#[derive(Debug)]
pub(super) struct Engine {
    shared: Arc<Shared>,
}

/// Asks, and starts the threads.
pub(super) fn ask(session: Session, _user: &UserName, _options: &Options) -> Result<Chat, Refusal> {
    Err((ChatError::NotStanding, Some(session)))
}

/// Accepts, and starts the threads.
pub(super) fn accept(
    session: Session,
    _row: &ChatRow,
    _options: &Options,
) -> Result<Chat, Refusal> {
    Err((ChatError::NotStanding, Some(session)))
}

impl Engine {
    /// Ends it where it stands, and returns what was not delivered.
    pub(super) fn finish(self) -> Vec<Undelivered> {
        self.shared.stop();
        Vec::new()
    }
}
