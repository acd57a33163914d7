//! Correio: a persistent mail server over ZeroMQ, and its client.
//!
//! # Layout
//! - [`protocol`]: the wire, in types. Start here.
//! - [`store`]: what lasts: the `Store` trait, its records, sled and memory.
//! - [`auth`]: key files, and who may do what.
//! - [`broker`]: the pure core and the server around it.
//! - [`config`]: the server's settings.
//! - [`http`]: health, metrics and the dashboard.
//! - [`mailserver`]: the server program.
//! - [`client`]: a session with a server, an outbox, a mailbox.
//! - [`chat`]: direct chat, peer to peer.
//! - [`cli`]: the program `mailctl`.
//! - [`limits`]: every maximum, with its reason.
//!
//! `fuzzing` is for `fuzz/` alone: the doors to parsers that are nobody else's business.
//!
//! `ARCHITECTURE.md` has the map and the stories of one mail and one chat.

pub mod auth;
pub mod broker;
pub mod chat;
pub mod cli;
pub mod client;
pub mod config;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod limits;
pub mod mailserver;
pub mod protocol;
pub mod store;
