//! The pure core: every rule of the broker, without I/O.

use super::io::{Input, Now, Output, Settings};
use crate::protocol::PublicKey;
use crate::store::Snapshot;

/// The broker's state and rules.
#[derive(Debug)]
pub struct Core {}

impl Core {
    /// Starts from what the store held. Changes that the start itself needs come out of
    /// [`poll_output`](Self::poll_output), which must be drained before the first input.
    pub fn new(_settings: Settings, _snapshot: Snapshot, _now: Now) -> Self {
        Self {}
    }

    /// Takes one input. The outputs of the one before must have been drained.
    pub fn handle(&mut self, _now: Now, _input: Input) {}

    /// Returns the next output; [`Output::Idle`] when there is nothing more.
    pub fn poll_output(&mut self) -> Output {
        Output::Idle { wake_at_ms: None }
    }

    /// Says whether ZAP may let this key onto the live socket: a registered device's only.
    pub fn may_connect_live(&self, _key: &PublicKey) -> bool {
        false
    }

    /// Says whether nothing is under way: no commit, no read, no reply waiting.
    pub fn is_settled(&self) -> bool {
        true
    }
}
