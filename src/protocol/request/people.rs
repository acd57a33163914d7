//! What is asked about people, their devices and their keys.

use serde::{Deserialize, Serialize};

use super::SessionId;
use crate::protocol::names::UserName;

/// Asks who is here: of one user, or of all, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The caller's session.
    pub session: SessionId,
    /// Of whom; left out, of everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// Names after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Shows nobody whether and when the caller is here, or shows it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hide {
    /// The caller's session.
    pub session: SessionId,
    /// Hidden from now on, or not.
    pub hidden: bool,
}

/// Lists the devices of the caller's user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// The caller's session.
    pub session: SessionId,
    /// Devices with a number above this.
    #[serde(default)]
    pub after: u64,
}

/// Removes another device of the caller's user: its key is worth nothing from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRm {
    /// The caller's session.
    pub session: SessionId,
    /// Which.
    pub device: u64,
}

/// Gives a device of the caller's user another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRename {
    /// The caller's session.
    pub session: SessionId,
    /// Which.
    pub device: u64,
    /// What its owner calls it.
    pub name: String,
}

/// Names the key with which the caller's device goes on. It takes the place of the present one as soon as it logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotate {
    /// The caller's session.
    pub session: SessionId,
    /// The new CURVE public key, 64 hex digits.
    pub key: String,
}

/// Lists the invitation codes that the caller's user made and nobody has used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codes {
    /// The caller's session.
    pub session: SessionId,
}

/// Takes an invitation code back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRm {
    /// The caller's session.
    pub session: SessionId,
    /// Which, as `codes` names it.
    pub id: String,
}

/// Removes the caller's user for good, with mail, devices and subscriptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRm {
    /// The caller's session.
    pub session: SessionId,
    /// The caller's own name, so that it is meant.
    pub user: UserName,
}
