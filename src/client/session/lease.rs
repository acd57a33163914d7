//! The port lent to a standing session: bound here before it is confirmed.

use std::net::TcpListener;

use super::Session;
use crate::client::error::ClientError;
use crate::protocol::reply::{self, LeaseInfo};
use crate::protocol::request::{LeaseWord, Request};

/// Ports tried one after another when each is busy on this machine.
const TRIES: usize = 16;

/// A lease and the socket that holds its port.
#[derive(Debug, Default)]
pub(super) struct Lease {
    bound: Option<(LeaseInfo, TcpListener)>,
}

impl Lease {
    /// Returns the lease, if one is held.
    pub(super) fn held(&self) -> Option<LeaseInfo> {
        self.bound.as_ref().map(|(info, _)| *info)
    }

    fn is(&self, offered: LeaseInfo) -> bool {
        self.held()
            .is_some_and(|held| (held.port, held.epoch) == (offered.port, offered.epoch))
    }
}

impl Session {
    /// Binds and confirms the port that the login offered; one that is busy on this machine is reported
    /// and replaced. A session without a port goes on.
    pub(super) fn take_lease(&mut self) -> Result<(), ClientError> {
        let Some(mut offered) = self.login.lease else {
            self.lease.bound = None;
            return Ok(());
        };
        if self.lease.is(offered) {
            return Ok(());
        }
        self.lease.bound = None;
        for _ in 0..TRIES {
            // All interfaces: a peer of a chat connects from another machine.
            let bound = TcpListener::bind(("0.0.0.0", offered.port));
            let confirmed = bound.is_ok();
            match self.lease_word(offered, confirmed) {
                Ok(lease) => offered = lease,
                Err(ClientError::Refused(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
            if let Ok(listener) = bound {
                self.lease.bound = Some((offered, listener));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Notes what a heartbeat said of the lease.
    pub(super) fn renewed(&mut self, lease: Option<LeaseInfo>) {
        let same = lease.is_some_and(|lease| self.lease.is(lease));
        match (&mut self.lease.bound, lease) {
            (Some((held, _)), Some(renewed)) if same => *held = renewed,
            _ => self.lease.bound = None,
        }
    }

    fn lease_word(&mut self, lease: LeaseInfo, bound: bool) -> Result<LeaseInfo, ClientError> {
        let reply: reply::Lease = self.ask_once(|session| {
            let word = LeaseWord {
                session,
                port: lease.port,
                epoch: lease.epoch,
            };
            if bound {
                Request::LeaseConfirm(word)
            } else {
                Request::LeaseBusy(word)
            }
        })?;
        Ok(reply.lease)
    }
}
