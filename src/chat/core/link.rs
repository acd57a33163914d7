//! What is known of the way to the other side and back: connection, refusals, silence.

use crate::limits;

/// The outgoing connection, and when the other side was last heard.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    up: bool,
    /// It stood at some time.
    was_up: bool,
    down_ms: Option<u64>,
    refused_ms: Option<u64>,
    heard_ms: u64,
    /// The user was told that it is broken.
    broken: bool,
}

/// How the way looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    Broken,
    Lost,
}

impl Link {
    /// The connection stands. Returns whether it did before.
    pub(super) fn rise(&mut self) -> bool {
        self.up = true;
        self.down_ms = None;
        self.refused_ms = None;
        std::mem::replace(&mut self.was_up, true)
    }

    /// The connection is gone, or still not made.
    pub(super) fn fall(&mut self, refused: bool, now_ms: u64) {
        self.up = false;
        self.down_ms.get_or_insert(now_ms);
        if refused {
            self.refused_ms.get_or_insert(now_ms);
        } else {
            self.refused_ms = None;
        }
    }

    /// The other side was heard: it lives, whatever its port says.
    pub(super) fn hear(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.refused_ms = None;
    }

    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    pub(super) fn was_up(&self) -> bool {
        self.was_up
    }

    /// Says whether the other side's port refuses connections at the moment.
    pub(super) fn is_refused(&self) -> bool {
        self.refused_ms.is_some()
    }

    /// Returns when refusals have lasted too long.
    pub(super) fn refused_at_ms(&self) -> Option<u64> {
        self.refused_ms.map(|at| at + limits::CHAT_REFUSED_MS)
    }

    /// Since when no frame can have passed in one of the directions.
    fn silent_ms(&self) -> u64 {
        self.down_ms.unwrap_or(u64::MAX).min(self.heard_ms)
    }

    /// Returns when the other side is lost if nothing happens.
    fn lost_at_ms(&self) -> u64 {
        let silent = self.silent_ms() + limits::CHAT_LOST_MS;
        self.refused_at_ms().unwrap_or(u64::MAX).min(silent)
    }

    /// Judges the way now.
    pub(super) fn health(&self, now_ms: u64) -> Health {
        if now_ms >= self.lost_at_ms() {
            Health::Lost
        } else if now_ms >= self.silent_ms() + limits::CHAT_BROKEN_MS {
            Health::Broken
        } else {
            Health::Good
        }
    }

    /// Notes that the user knows of the break. Returns whether that is new.
    pub(super) fn breaks(&mut self) -> bool {
        !std::mem::replace(&mut self.broken, true)
    }

    /// Returns whether a break that the user knows of is over.
    pub(super) fn mends(&mut self, now_ms: u64) -> bool {
        let mends = self.broken && self.health(now_ms) == Health::Good;
        self.broken &= !mends;
        mends
    }

    /// Returns when there may be news by the passing of time alone.
    pub(super) fn wake_at_ms(&self) -> u64 {
        if self.broken {
            self.lost_at_ms()
        } else {
            let broken = self.silent_ms() + limits::CHAT_BROKEN_MS;
            broken.min(self.lost_at_ms())
        }
    }
}
