//! A connection of Correio's client library under tokio: its descriptors are watched, it never waits.

use std::future::poll_fn;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use correio::client::connection::Connection;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A connection and what tells that it has input.
pub struct Polled {
    // Before the connection: a descriptor is watched no longer than it is open.
    watched: Vec<AsyncFd<BorrowedFd<'static>>>,
    /// The connection. Submit requests here; then a [`Polled::turn`] is due.
    pub connection: Connection,
}

impl Polled {
    /// Watches a connection. The live socket, if one is wanted, is open already.
    pub fn new(connection: Connection) -> Result<Self> {
        let mut watched = Vec::new();
        for fd in connection.fds()? {
            // SAFETY: the connection keeps it open, and is dropped after what watches it.
            let fd = unsafe {
                AsyncFd::register_with_interest(BorrowedFd::borrow_raw(fd), Interest::READABLE)
            };
            watched.push(fd?);
        }
        Ok(Self {
            watched,
            connection,
        })
    }

    /// Moves what can be moved. Returns when the next turn is due without input.
    pub fn turn(&mut self) -> Result<u64> {
        Ok(self.connection.turn()?)
    }

    /// Waits for input or until `due_ms` on the connection's clock. A turn is due afterwards.
    pub async fn wait(&mut self, due_ms: u64) -> Result<()> {
        let left = Duration::from_millis(due_ms.saturating_sub(self.connection.now_ms()));
        let watched = &self.watched;
        match tokio::time::timeout(left, poll_fn(|cx| poll_input(watched, cx))).await {
            Ok(input) => input,
            Err(_) => Ok(()),
        }
    }
}

fn poll_input(watched: &[AsyncFd<BorrowedFd<'static>>], cx: &mut Context<'_>) -> Poll<Result<()>> {
    let mut any = Poll::Pending;
    for fd in watched {
        match fd.poll_read_ready(cx) {
            // Cleared before the turn: what comes during it wakes again.
            Poll::Ready(Ok(mut guard)) => {
                guard.clear_ready();
                any = Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            Poll::Pending => {}
        }
    }
    any
}
