//! Wakes a thread that waits on sockets, from another thread.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

/// Wakes its [`Sleeper`]. Cheap to clone, and for any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<PipeWriter>);

/// The side that waits: polled beside sockets.
#[derive(Debug)]
pub struct Sleeper(PipeReader);

/// Makes a pair.
pub fn pair() -> io::Result<(Waker, Sleeper)> {
    let (reader, writer) = io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    rustix::io::ioctl_fionbio(&writer, true)?;
    Ok((Waker(Arc::new(writer)), Sleeper(reader)))
}

impl Waker {
    /// Wakes the other side, now or when it next waits.
    pub fn wake(&self) {
        // A full pipe wakes as well; a closed one has nobody to wake.
        drop((&*self.0).write(&[1]));
    }
}

impl Sleeper {
    /// Returns what to poll for input.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Waits to be woken, `patience` long at most; forgets the wakes so far. For who waits for nothing
    /// else; others poll [`Sleeper::fd`].
    pub fn wait(&mut self, patience: Duration) -> bool {
        // An interrupted wait is one that ended early.
        let timeout = Timespec::try_from(patience).ok();
        rustix::event::poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref()).ok();
        self.clear()
    }

    /// Forgets the wakes so far. Returns whether there were any.
    pub fn clear(&mut self) -> bool {
        let mut bytes = [0; 64];
        let mut woken = false;
        while matches!(self.0.read(&mut bytes), Ok(n) if n > 0) {
            woken = true;
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_wakes_is_one() {
        let (waker, mut sleeper) = pair().unwrap();
        assert!(!sleeper.clear());
        for _ in 0..100_000 {
            waker.wake();
        }
        let mut items = [zmq::PollItem::from_fd(sleeper.fd(), zmq::POLLIN)];
        assert_eq!(zmq::poll(&mut items, 1_000).unwrap(), 1);
        assert!(sleeper.wait(Duration::from_secs(1)));
        assert!(!sleeper.wait(Duration::ZERO));
        assert!(!sleeper.clear());
    }
}
