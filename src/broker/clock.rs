//! The clock of the poll loop: the core is told the time with each input and reads none.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::io::Now;

/// The only clock of the broker.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
}

#[expect(
    clippy::disallowed_methods,
    reason = "the poll loop owns the broker's clock"
)]
impl Clock {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }

    /// Returns the time.
    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Returns the microseconds since the start, for what is measured and decides nothing.
    pub(super) fn up_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
