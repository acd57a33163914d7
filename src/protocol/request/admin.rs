//! What administrators ask for and do.

use serde::{Deserialize, Serialize};

use crate::protocol::MailId;

/// A page of an administrator's listing, or a deed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    /// What is asked for.
    pub what: AdminWhat,
    /// Rows after this cursor, from the reply before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The address (or user) meant, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `queue_peek`: bodies too; audited and told to the addressee.
    #[serde(default)]
    pub body: bool,
    /// What a deed needs to be told beside.
    #[serde(flatten)]
    pub particulars: Particulars,
}

/// What a deed needs to be told beside the address it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Particulars {
    /// Only count what would go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// `explain`: the mail; `queue_peek` with bodies: only this mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MailId>,
    /// `queue_peek` with bodies: a piece of the body of the mail `id`, which was asked for before, from this byte on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// One device of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<u64>,
    /// `lease_release`: the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `user_role`: what the user may do from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// `session_kick`: seconds for which the devices are kept out; `topic_retention`: the age that mail may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// `topic_grant`, `topic_revoke`: what is let do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<Right>,
    /// `topic_grant`, `topic_revoke`: whom; left out, everybody. `explain`: only this reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `queue_move`: the user who gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Limits of one address; those left out are the server's.
    #[serde(flatten)]
    pub limits: OwnLimits,
}

/// Limits of one address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnLimits {
    /// Mails that may wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mails_max: Option<u64>,
    /// Bytes of their bodies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// `topic_retention`: mails kept for newcomers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_mails: Option<u64>,
}

/// What a rule for topics lets do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Read, and so join.
    Read,
    /// Send.
    Send,
}

impl Right {
    /// Returns the word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
        }
    }
}

/// What a user may do beyond his own mail.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Nothing.
    #[default]
    User,
    /// Look at everything but bodies, touch nothing.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::User, Self::Operator, Self::Admin];

    /// Returns the word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

macro_rules! whats {
    ($($(#[doc = $doc:literal])+ $variant:ident = $word:literal, $role:ident;)+) => {
        /// Everything an administrator can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum AdminWhat {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $variant,)+
        }

        impl AdminWhat {
            /// All of it, in the order of the docs.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the word on the wire.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Returns the least role that may ask for it.
            pub const fn needs(self) -> Role {
                match self { $(Self::$variant => Role::$role,)+ }
            }
        }
    };
}

whats! {
    /// Users with their number of devices.
    UserLs = "user_ls", Operator;
    /// All there is to know of one user.
    UserShow = "user_show", Operator;
    /// Makes a user and a code for its first device.
    UserAdd = "user_add", Admin;
    /// Lets none of a user's devices in, from now on.
    UserDisable = "user_disable", Admin;
    /// Lets them in again.
    UserEnable = "user_enable", Admin;
    /// Sets what a user may do beyond his own mail.
    UserRole = "user_role", Admin;
    /// Sets how much may wait for a user.
    UserQuota = "user_quota", Admin;
    /// Removes a user: mail, devices and subscriptions go, the name stays reserved.
    UserRm = "user_rm", Admin;
    /// Frees a removed user's name.
    UserFree = "user_free", Admin;
    /// A user's devices with their keys.
    KeyLs = "key_ls", Operator;
    /// Removes one of them: its key is worth nothing from now on.
    KeyRevoke = "key_revoke", Admin;
    /// Topics with their depth.
    TopicLs = "topic_ls", Operator;
    /// All there is to know of one topic, with the rules that name it.
    TopicShow = "topic_show", Operator;
    /// Lets a user, or everybody, read or send to topics; nobody else then but by other rules.
    TopicGrant = "topic_grant", Admin;
    /// Takes such a rule back.
    TopicRevoke = "topic_revoke", Admin;
    /// Sets how long a topic keeps mail for newcomers.
    TopicRetention = "topic_retention", Admin;
    /// Makes a topic.
    TopicCreate = "topic_create", Admin;
    /// Removes a topic with its mail and subscriptions.
    TopicRm = "topic_rm", Admin;
    /// What waits, per address and device.
    QueueLs = "queue_ls", Operator;
    /// The same for one address.
    QueueShow = "queue_show", Operator;
    /// Envelopes that wait at an address; changes nothing.
    QueuePeek = "queue_peek", Operator;
    /// Removes all mail that is kept at an address, a batch a request.
    QueuePurge = "queue_purge", Admin;
    /// Moves what waits for a user to another, a batch a request.
    QueueMove = "queue_move", Admin;
    /// Moves a device's cursor to the end of a log, so that it holds no mail back.
    QueueRelease = "queue_release", Admin;
    /// Ports and who holds them.
    LeaseLs = "lease_ls", Operator;
    /// Takes a port from who holds it.
    LeaseRelease = "lease_release", Admin;
    /// Sessions.
    SessionLs = "session_ls", Operator;
    /// Ends a user's sessions and keeps him out for a while.
    SessionKick = "session_kick", Admin;
    /// What administrators did.
    AuditLs = "audit_ls", Operator;
    /// Writes something and syncs it, which its reply waits for.
    StoreProbe = "store_probe", Operator;
    /// One mail's life, as far as it is still known.
    Explain = "explain", Operator;
    /// Counters of the whole server.
    Stats = "stats", Operator;
    /// A part of a backup of the whole server, its keys included; the first begins one.
    Backup = "backup", Admin;
}

impl Admin {
    /// A question or a deed without particulars.
    pub fn new(what: AdminWhat, address: Option<String>) -> Self {
        Self {
            what,
            after: None,
            address,
            body: false,
            particulars: Particulars::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_serde() {
        for what in AdminWhat::ALL {
            let json = serde_json::to_string(what).unwrap();
            assert_eq!(json, format!("{:?}", what.word()));
        }
        for role in Role::ALL {
            assert_eq!(
                serde_json::to_string(&role).unwrap(),
                format!("{:?}", role.word())
            );
        }
    }

    #[test]
    fn particulars_stand_beside_the_rest_and_are_left_out_when_there_are_none() {
        let plain = Admin::new(AdminWhat::Stats, None);
        let text = serde_json::to_string(&plain).unwrap();
        assert_eq!(text, r#"{"what":"stats","body":false}"#);
        let mut kick = Admin::new(AdminWhat::SessionKick, Some("bob".into()));
        kick.particulars.seconds = Some(60);
        kick.particulars.limits.mails_max = Some(9);
        let text = serde_json::to_string(&kick).unwrap();
        assert_eq!(
            text,
            r#"{"what":"session_kick","address":"bob","body":false,"seconds":60,"mails_max":9}"#
        );
        assert_eq!(serde_json::from_str::<Admin>(&text).unwrap(), kick);
    }
}
