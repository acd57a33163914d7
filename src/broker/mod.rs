//! The broker: a pure core that decides, and a shell that moves bytes.
//!
//! - [`io`]: what goes into the core and what comes out. Start here.
//! - [`core`] with one file per concern, all pure. Verbs: `account`, `session`, `send`, `read`,
//!   `topic`, `lease`, `invitation`, `block`, `presence`, `device`, `admin`, `deed`, `queue`, `look`, `explain`, `purge`, `shift`, `rights`, `live`; what happens by itself: `upkeep`, `ahead`; state:
//!   `directory`, `logs`, `streams`, `sessions`, `leases`, `invitations`, `rules`, `audit`, `budget`; [`figures`]: what is counted. No
//!   sockets, files, clocks, threads or randomness.
//! - [`server`]: the poll loop; `clock`: the only one; `router`: the request socket; [`xpub`]: the only unsafe; [`zap`]; [`committer`]:
//!   the store threads; [`window`]: where others look in from; `portion`: how much one commit takes in; `silence`: a store that hangs.

mod account;
mod admin;
mod ahead;
mod audit;
mod backup;
mod block;
mod budget;
mod clock;
pub mod committer;
pub mod core;
mod deed;
mod device;
mod directory;
mod explain;
pub mod figures;
pub(crate) mod host;
mod invitation;
mod invitations;
pub mod io;
mod lease;
mod leases;
mod live;
mod logs;
mod look;
mod portion;
mod presence;
mod purge;
mod queue;
mod read;
mod rights;
mod router;
mod rules;
mod send;
pub mod server;
mod session;
mod sessions;
mod shift;
mod silence;
#[cfg(test)]
mod sim;
mod streams;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod topic;
mod upkeep;
pub mod window;
pub mod xpub;
pub mod zap;
