//! Correio: a persistent mail server over ZeroMQ, and its client.
//!
//! # Layout
//! - [`protocol`]: the wire, in types. Start here.
//! - [`store`]: what lasts: the `Store` trait, its records, sled and memory.
//! - [`broker`]: the pure core and the server around it.
//! - [`limits`]: every maximum, with its reason.
//!
//! `ARCHITECTURE.md` has the map and the story of one mail.

pub mod broker;
pub mod limits;
pub mod protocol;
pub mod store;
