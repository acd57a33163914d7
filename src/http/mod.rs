//! What an administrator's tools and browser ask the server: is it alive, is it ready, what does it count.
//!
//! - `request`: what a request's head says and which page that is; pure.
//! - `answer`: heads and bodies of answers, each with the headers that keep a page from acting.
//! - `metrics`: the figures as Prometheus reads them; `page`: the dashboard, its files and its events.
//! - `connection`: one client, from its first byte to its last; `front`: the thread that serves them all.
//!
//! Read-only: nothing here changes a thing. It sees the broker through [`crate::broker::window`] alone, shares no
//! lock with it, and holds a bounded number of connections, each for a bounded time, so that whoever
//! connects here harms neither the mail nor others who look.

mod answer;
mod connection;
mod front;
mod metrics;
mod page;
mod request;

pub use front::{Front, FrontError};
pub use request::{Asked, Hosts, Route, parse};
