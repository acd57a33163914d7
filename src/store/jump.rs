//! Where the counters of a store go on that may have lost some: above every number that may have been given out.
//!
//! Also by another server that came out of the same backup earlier, of which nothing is known here but that it ran before
//! now. Pure: clock and dice are the caller's.

use super::{DirectoryCounters, MailCounters};
use crate::limits::{ID_CLOCK_BEGINS_MS, ID_JUMP, ID_MAX, ID_PER_MS};

/// One jump of all counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jump {
    floor: u64,
    random: u64,
}

impl Jump {
    /// A jump at this time of the wall clock, in milliseconds since 1970.
    pub(crate) fn new(unix_ms: u64, random: u64) -> Self {
        Self {
            floor: floor_at(unix_ms),
            random: random % ID_JUMP,
        }
    }

    /// Returns the counters after the jump; the last number of one that has no room left.
    pub(crate) fn raised(
        self,
        directory: DirectoryCounters,
        mail: MailCounters,
    ) -> Result<(DirectoryCounters, MailCounters), u64> {
        let directory = DirectoryCounters {
            address: self.raise(directory.address)?,
            device: self.raise(directory.device)?,
            epoch: self.raise(directory.epoch)?,
        };
        let mail = MailCounters {
            mail: self.raise(mail.mail)?,
            stream: self.raise(mail.stream)?,
        };
        Ok((directory, mail))
    }

    /// A server that jumped a short while ago, or by a clock that was ahead, is above the clock's floor: then only dice tell
    /// two that come out of its backup apart.
    fn raise(self, last: u64) -> Result<u64, u64> {
        let above = last.checked_add(ID_JUMP).ok_or(last)?;
        let next = if self.floor >= above {
            self.floor
        } else {
            above.checked_add(self.random).ok_or(last)?
        };
        if next <= ID_MAX { Ok(next) } else { Err(last) }
    }
}

/// Returns a number above all that a server gave out whose numbers began with an earlier one of these: nobody gives out
/// more than [`ID_PER_MS`] a millisecond. 0 by a clock that cannot be right.
fn floor_at(unix_ms: u64) -> u64 {
    let floor = unix_ms
        .checked_sub(ID_CLOCK_BEGINS_MS)
        .and_then(|ms| ms.checked_mul(ID_PER_MS));
    floor.filter(|floor| *floor <= ID_MAX / 2).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = ID_CLOCK_BEGINS_MS + 30_000_000_000;

    #[test]
    fn p03_of_two_restores_the_later_one_is_above_the_earlier() {
        let first = Jump::new(NOW_MS, 5).raise(1_000).unwrap();
        let second = Jump::new(NOW_MS + 1_000, 0).raise(1_000).unwrap();
        assert!(first >= 1_000 + ID_JUMP && second >= first + 1_000);
    }

    #[test]
    fn p03_two_restores_of_what_was_restored_lately_do_not_share_numbers() {
        let restored = Jump::new(NOW_MS, 0).raise(1_000).unwrap();
        // A minute and two later, which is less than the clock makes up for.
        let one = Jump::new(NOW_MS + 60_000, 7_000_000).raise(restored + 9);
        let other = Jump::new(NOW_MS + 120_000, 9_000_000).raise(restored + 9);
        assert_eq!(one, Ok(restored + 9 + ID_JUMP + 7_000_000));
        assert_ne!(one, other);
    }

    #[test]
    fn a_clock_that_cannot_be_right_leaves_a_jump() {
        for ms in [0, ID_CLOCK_BEGINS_MS - 1, u64::MAX] {
            assert_eq!(Jump::new(ms, 3).raise(10), Ok(10 + ID_JUMP + 3));
        }
        assert_eq!(Jump::new(0, 0).raise(ID_MAX), Err(ID_MAX));
        assert_eq!(Jump::new(0, 0).raise(u64::MAX), Err(u64::MAX));
    }
}
