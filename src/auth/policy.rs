//! Who may read, send and administer: pure, and asked in one place each.

use crate::protocol::LogNumber;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::request::{Admin, Role};
use crate::store::{AddressKind, AddressRecord, AddressState};

/// Says whether a user may read an address: his own log, and any topic.
pub fn may_read(user: LogNumber, address: &AddressRecord) -> bool {
    address.state == AddressState::Live
        && match address.kind {
            AddressKind::User => address.number == user,
            AddressKind::Topic => true,
        }
}

/// Refuses what a role may not ask for or do.
///
/// # Errors
/// [`Code::Denied`], with who may.
pub fn may_administer(role: Role, admin: &Admin) -> Result<(), WireError> {
    // A body is somebody's own; an envelope says where a queue hangs.
    let needs = if admin.body {
        Role::Admin
    } else {
        admin.what.needs()
    };
    if role >= needs {
        return Ok(());
    }
    Err(match role {
        Role::Operator => refusal!(
            Code::Denied,
            "an operator looks and touches nothing; ask an administrator"
        ),
        _ => refusal!(
            Code::Denied,
            "only an administrator may do that; run it where admin.key lies beside server.url"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::AdminWhat;

    #[test]
    fn an_operator_looks_and_a_user_does_not() {
        let may = |role, what: AdminWhat| may_administer(role, &Admin::new(what, None)).is_ok();
        for what in AdminWhat::ALL {
            assert!(may(Role::Admin, *what));
            assert!(!may(Role::User, *what));
            let looks = ["_ls", "_show", "_peek", "_probe", "stats", "explain"];
            let looks = looks.iter().any(|end| what.word().ends_with(end));
            assert_eq!(may(Role::Operator, *what), looks, "{what:?}");
        }
        let mut peek = Admin::new(AdminWhat::QueuePeek, None);
        peek.body = true;
        assert!(may_administer(Role::Operator, &peek).is_err());
        assert!(may_administer(Role::Admin, &peek).is_ok());
    }
}
