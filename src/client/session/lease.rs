//! The port lent to a standing session: bound here before it is confirmed, by the session itself until
//! a chat binds it.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use super::Session;
use crate::client::error::ClientError;
use crate::protocol::codes::{Code, refusal};
use crate::protocol::reply::{self, LeaseInfo};
use crate::protocol::request::{self, LeaseWord, Request};

/// Ports tried one after another when each is busy on this machine.
const TRIES: usize = 16;

/// A lease and who holds its port.
#[derive(Debug, Default)]
pub(super) struct Lease {
    bound: Option<(LeaseInfo, Holder)>,
}

/// Who has the port bound.
#[derive(Debug)]
enum Holder {
    /// The session keeps others from it.
    Listener(#[expect(dead_code, reason = "it holds the port by being there")] TcpListener),
    /// A chat listens there ([`Session::take_port`]).
    Chat,
}

impl Lease {
    /// Returns the lease, if one is held.
    pub(super) fn held(&self) -> Option<LeaseInfo> {
        self.bound.as_ref().map(|(info, _)| *info)
    }

    fn is(&self, offered: LeaseInfo) -> bool {
        self.held().is_some_and(|held| same(held, offered))
    }
}

fn same(one: LeaseInfo, other: LeaseInfo) -> bool {
    (one.port, one.epoch) == (other.port, other.epoch)
}

impl Session {
    /// Lends the port of this session to `bind`, which takes it at once; where that fails, the port is
    /// reported busy and another one tried. A session without a port asks for one first. Refused with
    /// `no_port` when there is none. The lease is kept as before; [`Session::give_port_back`] ends the
    /// loan.
    pub fn take_port<T>(
        &mut self,
        mut bind: impl FnMut(u16) -> Option<T>,
    ) -> Result<(LeaseInfo, T), ClientError> {
        self.options.want_port = true;
        let mut offered = if let Some(held) = self.lease.held() {
            held
        } else {
            let asked = self.ask_for_port()?;
            // Where the session was opened anew on the way, it holds one already.
            self.lease.held().unwrap_or(asked)
        };
        let mut confirmed = self.lease.bound.take().is_some();
        for _ in 0..TRIES {
            let bound = bind(offered.port);
            if !confirmed || bound.is_none() {
                offered = self.lease_word(offered, bound.is_some())?;
            }
            if let Some(bound) = bound {
                self.lease.bound = Some((offered, Holder::Chat));
                return Ok((offered, bound));
            }
            confirmed = false;
        }
        Err(ports_busy())
    }

    /// Says whether this is the lease the session holds.
    pub fn has_lease(&self, lease: LeaseInfo) -> bool {
        self.lease.is(lease)
    }

    /// Takes the port back from a chat that has let go of it and that nobody else was told of. Where
    /// somebody took it at that moment, the lease is given back.
    pub fn give_port_back(&mut self, lease: LeaseInfo) {
        if !self.lease.is(lease) {
            return;
        }
        match listen(lease.port) {
            Ok(listener) => self.lease.bound = Some((lease, Holder::Listener(listener))),
            Err(_) => self.release_port(lease),
        }
    }

    /// Gives the lease of a chat back to the server. A lease carries one chat: what its other side may
    /// still send then meets a rested port and another epoch. The next chat asks for a port anew.
    pub fn release_port(&mut self, lease: LeaseInfo) {
        if !self.lease.is(lease) {
            return;
        }
        self.lease.bound = None;
        self.options.want_port = false; // a login meanwhile must not take it back
        self.release(lease);
    }

    /// Without an answer it is tried again with the next heartbeat that speaks of it.
    fn release(&mut self, lease: LeaseInfo) {
        if !self.connection.is_up() {
            return;
        }
        self.ask_once::<reply::Done>(|session| {
            let LeaseInfo { port, epoch, .. } = lease;
            Request::LeaseRelease(LeaseWord {
                session,
                port,
                epoch,
            })
        })
        .ok();
    }

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
            let bound = listen(offered.port);
            let confirmed = bound.is_ok();
            match self.lease_word(offered, confirmed) {
                Ok(lease) => offered = lease,
                Err(ClientError::Refused(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
            if let Ok(listener) = bound {
                self.lease.bound = Some((offered, Holder::Listener(listener)));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Notes what a heartbeat said of the lease.
    pub(super) fn renewed(&mut self, lease: Option<LeaseInfo>) {
        let same = lease.is_some_and(|lease| self.lease.is(lease));
        match (&mut self.lease.bound, lease) {
            (Some((held, _)), Some(renewed)) if same => return *held = renewed,
            _ => self.lease.bound = None,
        }
        // The server did not hear that it was given back.
        if let Some(stray) = lease {
            self.release(stray);
        }
    }

    fn ask_for_port(&mut self) -> Result<LeaseInfo, ClientError> {
        let reply: reply::Lease = self.ask(|session| Request::Lease(request::Lease { session }))?;
        Ok(reply.lease)
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

/// Binds a port on all interfaces, of IPv6 and IPv4 alike where there is IPv6: a peer of a chat connects
/// from another machine.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
        Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        }
        bound => bound,
    }
}

fn ports_busy() -> ClientError {
    ClientError::Refused(refusal!(
        Code::NoPort,
        "other programs of this machine hold the ports the server lends; give the server other ones \
         with --chat-ports"
    ))
}
