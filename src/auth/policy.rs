//! Who may read, send and administer: pure, and asked in one place each.

use crate::protocol::LogNumber;
use crate::store::{AddressKind, AddressRecord, AddressState};

/// Says whether a user may read an address: his own log, and any topic.
pub fn may_read(user: LogNumber, address: &AddressRecord) -> bool {
    address.state == AddressState::Live
        && match address.kind {
            AddressKind::User => address.number == user,
            AddressKind::Topic => true,
        }
}
