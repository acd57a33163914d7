//! The broker: a pure core that decides, and a shell that moves bytes.
//!
//! - [`io`]: what goes into the core and what comes out. Start here.
//! - `core` and one file per concern (`mail`, `topic`, `lease`, `session`, `account`, `admin`,
//!   `trim`): pure. No sockets, files, clocks, threads or randomness.
//! - `server`: the poll loop, the only clock; `xpub`: the only unsafe; `zap`; `committer`: the store
//!   thread.

pub mod committer;
pub mod core;
pub mod io;
pub mod server;
#[cfg(test)]
mod testing;
pub mod xpub;
pub mod zap;
