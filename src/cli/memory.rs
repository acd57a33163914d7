//! What `mailctl` holds in a chat: the one thing that bounds what libzmq takes in.
//!
//! No option of libzmq bounds a message of ever more parts, or how many connections one key opens. In a
//! chat only the invited peer can do either; when it does, the chat is ended, and libzmq frees it all.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::error::CliError;
use super::times;
use super::untrusted::visible;
use crate::limits;
use crate::protocol::codes::exit;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Watches how much more memory this process holds than at first.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Kept open: when a peer has taken every file handle, the memory must be watched all the more.
    status: Option<File>,
    most: u64,
    look_at: Instant,
}

impl Memory {
    /// Begins with what the process holds now, and allows what a chat may take.
    pub(crate) fn of_chat() -> Self {
        Self::allow(limits::CHAT_HELD_BYTES_MAX)
    }

    fn allow(more: u64) -> Self {
        let mut memory = Self {
            status: File::open("/proc/self/status").ok(),
            most: u64::MAX,
            look_at: times::deadline(LOOK_EVERY),
        };
        if let Some(held) = memory.held() {
            memory.most = held.saturating_add(more);
        }
        memory
    }

    /// Returns why a chat with `peer` must end at once, when it must. Cheap enough to be asked on and on.
    pub(crate) fn flooded(&mut self, peer: &str) -> Option<CliError> {
        if times::deadline(Duration::ZERO) < self.look_at {
            return None;
        }
        self.look_at = times::deadline(LOOK_EVERY);
        let peer = visible(peer);
        let text = format!("{peer} sent more than a chat may make this machine hold: it was ended");
        self.is_over()
            .then(|| CliError::new("flooded", exit::UNAVAILABLE, text))
    }

    /// Never where the system does not tell.
    fn is_over(&self) -> bool {
        self.held().is_some_and(|held| held > self.most)
    }

    fn held(&self) -> Option<u64> {
        let mut text = [0; 4_096];
        let length = self.status.as_ref()?.read_at(&mut text, 0).ok()?;
        held_in(str::from_utf8(&text[..length]).ok()?)
    }
}

/// Reads what the system says of a process: what lies in memory and what was swapped out, which is what
/// a flood has queued before anything else.
fn held_in(status: &str) -> Option<u64> {
    let bytes_of = |label| {
        let line = status.lines().find_map(|line| line.strip_prefix(label))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        kib.checked_mul(1_024)
    };
    bytes_of("VmRSS:")?.checked_add(bytes_of("VmSwap:").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p08_what_is_swapped_out_is_held() {
        let status = "Name:\tmailctl\nVmRSS:\t      3 kB\nVmSwap:\t      4 kB\n";
        assert_eq!(held_in(status), Some(7 * 1_024));
        assert_eq!(held_in("VmRSS: 3 kB\n"), Some(3 * 1_024));
        assert_eq!(held_in("VmSwap: 3 kB\n"), None);
    }

    #[test]
    fn p08_what_a_chat_makes_this_machine_hold_is_looked_at_anew_each_time() {
        let memory = Memory::allow(64 << 20);
        if memory.held().is_none() {
            return;
        }
        assert!(!memory.is_over());
        let room = vec![1_u8; 256 << 20];
        assert!(memory.is_over());
        assert_eq!(room[room.len() / 2], 1);
    }
}
