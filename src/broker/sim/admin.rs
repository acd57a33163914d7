//! The administrator: looks at everything, removes a topic or a user now and then, and helps those back
//! in who have no device left.

use super::faults::Mix;
use super::ledger::Ledger;
use super::rng::Rng;
use crate::protocol::PublicKey;
use crate::protocol::request::{self, AdminWhat, Request};

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
    let listings = [
        AdminWhat::UserLs,
        AdminWhat::TopicLs,
        AdminWhat::QueueLs,
        AdminWhat::LeaseLs,
        AdminWhat::SessionLs,
        AdminWhat::Stats,
        AdminWhat::Stats,
    ];
    match rng.below(8) {
        0 => ask(AdminWhat::QueuePeek, Some("news".into())),
        _ => ask(rng.pick(&listings), None),
    }
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
    Request::Admin(request::Admin {
        what,
        after: None,
        address,
        body: false,
    })
}
