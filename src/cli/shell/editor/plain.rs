//! Lines one below the other: for terminals that cannot move their cursor, and for people who have the screen read
//! out. The line is edited by the terminal itself; nothing is redrawn.

use std::io::{self, Write};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::{Question, Reads, Screen, locked};
use crate::cli::shell::compose::Typed;
use crate::client::interrupt::Interrupt;

/// How long a Ctrl-C may go unnoticed.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Reads what the terminal gives, a line at a time.
pub(super) struct Reader {
    screen: Arc<Screen>,
    interrupt: Interrupt,
    /// Read and not asked for yet.
    ahead: Vec<u8>,
}

impl Reader {
    pub(super) fn new(screen: Arc<Screen>, interrupt: Interrupt) -> Self {
        Self {
            screen,
            interrupt,
            ahead: Vec::new(),
        }
    }

    fn line(&mut self) -> Typed {
        loop {
            if let Some(line) = self.take_line() {
                // One from before this line has nothing to end.
                self.interrupt.take();
                return Typed::Line(line);
            }
            if self.interrupt.take() {
                self.ahead.clear();
                return Typed::Interrupt;
            }
            match wait_and_read(&mut self.ahead) {
                Ok(Some(0)) => return Typed::End,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Typed::Failed(error.to_string()),
            }
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let end = self.ahead.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.ahead.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line);
        Some(line.trim_end_matches(['\n', '\r']).to_owned())
    }
}

impl Reads for Reader {
    fn read(&mut self, question: Question) -> Typed {
        let mut prompt = locked(&self.screen.prompt);
        let asked = write!(io::stdout(), "{}", question.prompt);
        *prompt = Some(question.prompt);
        drop(prompt);
        drop(asked.and_then(|()| io::stdout().flush()));
        let typed = self.line();
        *locked(&self.screen.prompt) = None;
        if matches!(typed, Typed::Interrupt | Typed::End) {
            // The next words begin a line.
            drop(writeln!(io::stdout()));
        }
        typed
    }

    fn wake(&self) {
        self.screen.wake();
    }
}

/// Waits a little for input. Returns how many bytes came: none is the end.
fn wait_and_read(ahead: &mut Vec<u8>) -> Result<Option<usize>, Errno> {
    let stdin = io::stdin();
    let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
    if rustix::event::poll(&mut polled, Some(&LOOK_EVERY))? == 0 {
        return Ok(None);
    }
    let mut bytes = [0; 4096];
    let read = rustix::io::read(&stdin, &mut bytes)?;
    ahead.extend_from_slice(&bytes[..read]);
    Ok(Some(read))
}
