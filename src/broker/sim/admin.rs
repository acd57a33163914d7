//! The administrator: looks at everything, removes a topic or a user now and then, cuts users off and lets them in
//! again, and helps those back in who have no device left.

use super::faults::Mix;
use super::ledger::{Ledger, is_out};
use super::rng::Rng;
use crate::protocol::PublicKey;
use crate::protocol::request::{self, AdminWhat, Particulars, Request, Role};

/// The key that belongs to no user.
pub(super) const KEY: PublicKey = [0xad; 32];

/// The administrator's connection.
pub(super) const CONN: u64 = u64::MAX;

/// Chooses what to ask. `stuck` are users who need a code that no device of theirs can ask for.
pub(super) fn choose(
    rng: &mut Rng,
    mix: Mix,
    calm: bool,
    decided: &Ledger,
    stuck: &[String],
) -> Request {
    if let Some(user) = decided.addresses.values().find(|address| !address.is_live) {
        return ask(AdminWhat::UserFree, Some(user.name.clone()));
    }
    if let Some(user) = shut_out(decided)
        && (calm || rng.chance(30))
    {
        return ask(AdminWhat::UserEnable, Some(user));
    }
    if !stuck.is_empty() && rng.chance(50) {
        let user = rng.pick(stuck);
        return Request::Invite(request::Invite {
            session: String::new(),
            user: Some(user.parse().expect("names of the simulator are names")),
            device: true,
        });
    }
    if !calm && rng.chance(mix.removals) {
        return remove(rng, decided);
    }
    if !calm && rng.chance(mix.rules) {
        return rule(rng, decided);
    }
    let listings = [
        AdminWhat::UserLs,
        AdminWhat::TopicLs,
        AdminWhat::QueueLs,
        AdminWhat::LeaseLs,
        AdminWhat::SessionLs,
        AdminWhat::AuditLs,
        AdminWhat::Stats,
        AdminWhat::Stats,
    ];
    match rng.below(8) {
        0 => ask(AdminWhat::QueuePeek, Some("news".into())),
        _ => ask(rng.pick(&listings), None),
    }
}

/// A user who is not let in.
fn shut_out(decided: &Ledger) -> Option<String> {
    let mut accounts = decided.accounts.values();
    let out = accounts.find(|account| account.disabled || !account.kicked.is_empty())?;
    let address = decided.addresses.get(&out.user)?;
    Some(address.name.clone())
}

/// Sets something for a user, or cuts off one who is there.
fn rule(rng: &mut Rng, decided: &Ledger) -> Request {
    let users = decided.addresses.iter().filter(|(_, a)| a.is_user);
    let users: Vec<(u64, String)> = users.map(|(n, a)| (*n, a.name.clone())).collect();
    if users.is_empty() {
        return ask(AdminWhat::UserAdd, Some("carla".into()));
    }
    let (number, name) = rng.pick(&users);
    let devices: Vec<u64> = decided.devices_of(number).collect();
    let device = (!devices.is_empty()).then(|| rng.pick(&devices));
    let mut particulars = Particulars::default();
    let what = match rng.below(11) {
        0 | 1 => AdminWhat::UserDisable,
        2 | 3 => {
            particulars.seconds = Some(rng.below(4));
            particulars.device = device.filter(|_| rng.chance(50));
            AdminWhat::SessionKick
        }
        4 if device.is_some() => {
            particulars.device = device;
            AdminWhat::KeyRevoke
        }
        5 => {
            particulars.role = Some(rng.pick(&Role::ALL));
            AdminWhat::UserRole
        }
        6 => {
            let out = decided.leases.values().filter(|lease| is_out(lease));
            let ports: Vec<u16> = out.map(|lease| lease.port).collect();
            particulars.port = (!ports.is_empty()).then(|| rng.pick(&ports));
            AdminWhat::LeaseRelease
        }
        7 | 8 => {
            return ask(
                AdminWhat::QueuePurge,
                Some(rng.pick(&[name, "news".into()])),
            );
        }
        9 => {
            particulars.device = device;
            AdminWhat::QueueRelease
        }
        _ => {
            particulars.limits.mails_max = rng.chance(50).then(|| 3 + rng.below(9));
            AdminWhat::UserQuota
        }
    };
    if what == AdminWhat::LeaseRelease && particulars.port.is_none() {
        return ask(AdminWhat::LeaseLs, None);
    }
    Request::Admin(request::Admin {
        particulars,
        ..request::Admin::new(what, Some(name))
    })
}

fn remove(rng: &mut Rng, decided: &Ledger) -> Request {
    let is_user = rng.chance(25);
    let of_kind = decided.addresses.values().filter(|a| a.is_user == is_user);
    let names: Vec<String> = of_kind.map(|address| address.name.clone()).collect();
    if names.is_empty() {
        return ask(AdminWhat::TopicCreate, Some("lab/b".into()));
    }
    let what = if is_user {
        AdminWhat::UserRm
    } else if rng.chance(30) {
        AdminWhat::TopicCreate
    } else {
        AdminWhat::TopicRm
    };
    ask(what, Some(rng.pick(&names)))
}

fn ask(what: AdminWhat, address: Option<String>) -> Request {
    Request::Admin(request::Admin::new(what, address))
}
