//! Doors to parsers that are private, for `fuzz/` and `tests/corpora.rs` alone: no part of the library's
//! interface, and without any promise. What is public anyway is reached directly.

pub use crate::broker::host::{between, given, seen};
pub use crate::chat::bundle::{is_bundle, pack, unpack};
pub use crate::client::monitor::raw_event;
pub use crate::mailserver::folder::Running;
pub use crate::store::sled::seal::{Found, Reach, found_in};

/// Files of a home.
pub mod client {
    pub use crate::client::hostile::{
        JSON_FILES, json_file, mail_header, mail_of, mailbox_names, outbox_entry, outbox_names,
    };
}

/// Records and stores.
pub mod store {
    pub use crate::store::hostile::{
        KINDS, Numbers, Row, keys, numbers, record, sealed, store, verify,
    };
}
