//! A client of one server: what `mailctl` is made of, and what other programs can use.
//!
//! - [`session`]: logging in, sending, refreshing, watching. Start here; `examples/client.rs` shows it.
//! - [`home`]: the folder with the keys and the state of this person's accounts.
//! - [`outbox`]: sends, saved with their number before the first try.
//! - [`mailbox`]: received mail, a Maildir, saved before it is acknowledged.
//! - [`attachments`]: files that go along with a mail.
//! - [`answer`]: to whom, under which subject and in which thread a mail is answered.
//! - [`receipt`]: telling a sender that his mail was read, where the reader allows it.
//! - [`message`]: mails that are whole messages of the Internet's kind.
//! - [`exchange`], [`mbox`]: the roads out of the mailbox and into it.
//! - [`search`]: finding mails in the mailbox.
//! - [`muted`]: topics that are not announced at this device.
//! - [`shown`]: which lines of chats this device has shown.
//! - [`interrupt`]: ends a wait for the server before its time.
//! - [`connection`]: the sockets and the clock.
//! - [`core`]: the rules without sockets, files or clock.
//!
//! Nothing here prints, asks or ends the process. Paths are read and written below the home only.

pub mod answer;
pub mod attachments;
pub mod connection;
pub mod core;
mod error;
pub mod exchange;
mod files;
pub mod home;
pub(crate) mod hostile;
pub mod interrupt;
pub mod mailbox;
pub mod mbox;
pub mod message;
mod mime;
pub(crate) mod monitor;
pub mod muted;
pub mod outbox;
pub mod receipt;
pub mod search;
pub mod session;
pub mod shown;
pub mod waker;

pub use error::ClientError;
pub use files::FileError;
