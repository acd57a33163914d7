//! What this process holds while a chat lasts: the one thing that bounds what libzmq takes in.
//!
//! No option of libzmq bounds a message of ever more parts, or how many connections one key opens. In a
//! chat only the invited peer can do either; when it does, the chat is ended, and libzmq frees it all. The engine
//! looks, and not the program, whose output may be stuck.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// How often it is looked at, in milliseconds.
pub(super) const LOOK_EVERY_MS: u64 = 500;

/// Watches how much more memory this process holds than at first.
#[derive(Debug)]
pub(super) struct Memory {
    /// Kept open: when a peer has taken every file handle, the memory must be watched all the more.
    status: File,
    most: u64,
    look_at_ms: u64,
}

impl Memory {
    /// Allows so many bytes more than what the process holds now. Nothing where the system does not tell.
    pub(super) fn allow(more: u64) -> Option<Self> {
        let status = File::open("/proc/self/status").ok()?;
        let mut memory = Self {
            status,
            most: u64::MAX,
            look_at_ms: 0,
        };
        memory.most = memory.held()?.saturating_add(more);
        Some(memory)
    }

    /// Says whether the process holds too much. Cheap enough to be asked on and on.
    pub(super) fn is_over(&mut self, now_ms: u64) -> bool {
        if now_ms < self.look_at_ms {
            return false;
        }
        self.look_at_ms = now_ms + LOOK_EVERY_MS;
        self.held().is_some_and(|held| held > self.most)
    }

    fn held(&self) -> Option<u64> {
        let mut text = [0; 4_096];
        let length = self.status.read_at(&mut text, 0).ok()?;
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
        let Some(mut memory) = Memory::allow(64 << 20) else {
            return;
        };
        assert!(!memory.is_over(1));
        let room = vec![1_u8; 256 << 20];
        assert!(!memory.is_over(2), "not on and on");
        assert!(memory.is_over(1 + LOOK_EVERY_MS));
        assert_eq!(room[room.len() / 2], 1);
    }
}
