//! Direct chat: two sides, each bound on its leased port, PUSH to PULL under CURVE.
//!
//! The broker introduces the two (`client::session`); from then on it is not needed. [`core`] holds the
//! rules without sockets, files or clock; [`frame`] is what goes over the wire.

pub mod frame;
pub mod io;
