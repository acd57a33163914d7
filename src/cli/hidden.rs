//! A line typed at the terminal without being shown.

use std::io;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use crate::limits::PASSPHRASE_BYTES_MAX;

const INTERRUPT: u8 = 0x03;
const END: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const KILL: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// The terminal while it shows nothing; as it was before, when this is dropped.
struct Quiet {
    before: Termios,
}

impl Quiet {
    /// Signals go too: whoever gives up with Ctrl-C shall not find a terminal that stays silent.
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut modes = before.clone();
        modes
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nobody is there to be told.
        tcsetattr(io::stdin(), OptionalActions::Now, &self.before).ok();
    }
}

/// Asks, and reads a line; nothing when it was taken back, or is longer than any passphrase.
pub(super) fn line(ask: impl FnOnce()) -> io::Result<Option<Zeroizing<String>>> {
    let _quiet = Quiet::begin()?;
    ask();
    // As long as it may get: it is never moved, so that no copy stays behind.
    let mut typed = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX));
    loop {
        let mut key = [0];
        if rustix::io::read(io::stdin(), &mut key)? == 0 {
            return Ok(None);
        }
        match key[0] {
            b'\n' | b'\r' => break,
            INTERRUPT | END => return Ok(None),
            KILL => typed.clear(),
            BACKSPACE | DELETE => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            _ if typed.len() == PASSPHRASE_BYTES_MAX => return Ok(None),
            byte => typed.push(byte),
        }
    }
    let text = std::str::from_utf8(&typed).map_err(io::Error::other)?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}
