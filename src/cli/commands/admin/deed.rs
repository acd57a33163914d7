//! What `mailctl admin` changes. What destroys something is counted first, and done when its name was typed.

use serde_json::Value;

use super::super::Context;
use super::{ask, identity};
use crate::cli::args::{
    Doomed, KeyRevoke, Kick, LeaseRelease, QueueMove, QueueRelease, Sure, TopicGrant,
    TopicRetention, UserQuota, UserRole, bare,
};
use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_n};
use crate::cli::json::object;
use crate::cli::show::{self, cell};
use crate::cli::times;
use crate::cli::untrusted::visible;
use crate::protocol::codes::exit;
use crate::protocol::request::{Admin, AdminWhat, OwnLimits, Particulars, Right, Role};
use crate::protocol::url::ServerUrl;

/// Does something to an address and says what.
pub(super) fn plain(
    context: &mut Context<'_>,
    what: AdminWhat,
    name: &str,
) -> Result<(), CliError> {
    run(context, about(what, name, Particulars::default()))
}

/// Does something to a user.
pub(super) fn role(context: &mut Context<'_>, args: &UserRole) -> Result<(), CliError> {
    let particulars = Particulars {
        role: Some(Role::from(args.role)),
        ..Particulars::default()
    };
    run(context, about(AdminWhat::UserRole, &args.name, particulars))
}

pub(super) fn quota(context: &mut Context<'_>, args: &UserQuota) -> Result<(), CliError> {
    let particulars = Particulars {
        limits: OwnLimits {
            mails_max: args.mails,
            bytes_max: args.bytes,
            ..OwnLimits::default()
        },
        ..Particulars::default()
    };
    run(
        context,
        about(AdminWhat::UserQuota, &args.name, particulars),
    )
}

pub(super) fn kick(context: &mut Context<'_>, args: &Kick) -> Result<(), CliError> {
    let particulars = Particulars {
        device: args.device,
        seconds: Some(args.time.as_secs()),
        ..Particulars::default()
    };
    run(
        context,
        about(AdminWhat::SessionKick, &args.name, particulars),
    )
}

pub(super) fn release_lease(
    context: &mut Context<'_>,
    args: &LeaseRelease,
) -> Result<(), CliError> {
    let mut admin = Admin::new(AdminWhat::LeaseRelease, None);
    admin.particulars.port = Some(args.port);
    run(context, admin)
}

/// Removes a user or a topic.
pub(super) fn rm(
    context: &mut Context<'_>,
    what: AdminWhat,
    args: &Doomed,
) -> Result<(), CliError> {
    let admin = about(what, &args.name, Particulars::default());
    run_if_sure(context, admin, args.sure, &args.name)
}

pub(super) fn revoke_key(context: &mut Context<'_>, args: &KeyRevoke) -> Result<(), CliError> {
    let particulars = Particulars {
        device: Some(args.device),
        ..Particulars::default()
    };
    let admin = about(AdminWhat::KeyRevoke, &args.name, particulars);
    run_if_sure(context, admin, args.sure, &args.name)
}

pub(super) fn release_queue(
    context: &mut Context<'_>,
    args: &QueueRelease,
) -> Result<(), CliError> {
    let particulars = Particulars {
        device: Some(args.device),
        ..Particulars::default()
    };
    let admin = about(AdminWhat::QueueRelease, &args.name, particulars);
    run_if_sure(context, admin, args.sure, &args.name)
}

/// Moves what waits for a user to another.
pub(super) fn move_queue(context: &mut Context<'_>, args: &QueueMove) -> Result<(), CliError> {
    let particulars = Particulars {
        to: Some(bare(&args.to).to_owned()),
        ..Particulars::default()
    };
    let admin = about(AdminWhat::QueueMove, &args.from, particulars);
    run_if_sure(context, admin, args.sure, &args.from)
}

/// Grants a right to topics, or takes it back.
pub(super) fn grant(
    context: &mut Context<'_>,
    what: AdminWhat,
    args: &TopicGrant,
) -> Result<(), CliError> {
    let particulars = Particulars {
        right: Some(Right::from(args.right)),
        user: args.user.as_deref().map(|user| bare(user).to_owned()),
        ..Particulars::default()
    };
    run(context, about(what, &args.topic, particulars))
}

pub(super) fn retention(context: &mut Context<'_>, args: &TopicRetention) -> Result<(), CliError> {
    let particulars = Particulars {
        seconds: args.age.map(|age| age.as_secs()),
        limits: OwnLimits {
            history_mails: args.mails,
            ..OwnLimits::default()
        },
        ..Particulars::default()
    };
    run(
        context,
        about(AdminWhat::TopicRetention, &args.name, particulars),
    )
}

/// Makes a user and shows the code with which the first device joins.
pub(super) fn add(context: &mut Context<'_>, name: &str) -> Result<(), CliError> {
    let (place, _) = identity(context)?;
    let admin = about(AdminWhat::UserAdd, name, Particulars::default());
    for mut row in ask(context, admin)? {
        let word = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let (user, code, ends) = (word("address"), word("code"), word("expires_at"));
        let url = ServerUrl {
            code: Some(code),
            ..place.url.clone()
        };
        let url = format!("{url}&user={user}");
        row["url"] = url.as_str().into();
        row["done"] = "added".into();
        context.ui.result(&object(&row), visible(&url))?;
        if !context.ui.is_json() {
            context.ui.note(tr!(
                "{} is here from now on; the first device joins with: mailctl join URL, once, until {}",
                visible(&user),
                times::human(&ends)
            ));
        }
    }
    Ok(())
}

fn about(what: AdminWhat, name: &str, particulars: Particulars) -> Admin {
    Admin {
        particulars,
        ..Admin::new(what, Some(bare(name).to_owned()))
    }
}

/// Does what destroys something, once it is certain that it is meant.
pub(super) fn run_if_sure(
    context: &mut Context<'_>,
    admin: Admin,
    sure: Sure,
    name: &str,
) -> Result<(), CliError> {
    let is_move = admin.what == AdminWhat::QueueMove;
    if !sure.yes {
        let mut tried = admin.clone();
        tried.particulars.dry_run = true;
        let counted = ask(context, tried)?;
        if sure.dry_run {
            return counted.into_iter().try_for_each(|row| {
                let human = if is_move {
                    tr!("would move: {}", tally(&row))
                } else {
                    tr!("would go: {}", tally(&row))
                };
                context.ui.result(&object(&row), human)
            });
        }
        agree(context, counted.first(), bare(name), is_move)?;
    }
    run(context, admin)
}

/// Says what goes, and has the name typed.
fn agree(
    context: &mut Context<'_>,
    counted: Option<&Value>,
    name: &str,
    is_move: bool,
) -> Result<(), CliError> {
    let counts = counted.map(tally).unwrap_or_default();
    let heir = counted
        .and_then(|row| row["to"].as_str())
        .unwrap_or_default();
    if !context.ui.may_ask() {
        let text = if is_move {
            tr!("nothing was done; this would move: {}", counts)
        } else {
            tr!("nothing was done; this would go: {}", counts)
        };
        return Err(CliError::usage(text).hint(tr!("if that is wanted: the same with --yes")));
    }
    context.ui.note(if is_move {
        tr!("{} reads this from now on: {}", visible(heir), counts)
    } else {
        tr!("this goes for good: {}", counts)
    });
    let typed = context.ui.ask(&tr!("To do it, type {}:", visible(name)));
    if bare(&typed) == name {
        return Ok(());
    }
    Err(CliError::new(
        "cancelled",
        exit::USAGE,
        tr!("nothing was done"),
    ))
}

/// Does a deed and tells so.
fn run(context: &mut Context<'_>, admin: Admin) -> Result<(), CliError> {
    let what = admin.what;
    let role = admin.particulars.role;
    if let Some(mut row) = together(ask(context, admin)?) {
        row["done"] = done(what).into();
        let name = visible(&cell("address", &row["address"]));
        let counts = tally(&row);
        let human = match (what, role) {
            (AdminWhat::TopicCreate, _) => tr!("created {}", name),
            (AdminWhat::UserFree, _) => tr!("freed {}", name),
            (AdminWhat::UserDisable, _) => tr!("disabled {}: {}", name, counts),
            (AdminWhat::UserEnable, _) => tr!("enabled {}", name),
            (AdminWhat::UserRole, Some(Role::Admin)) => tr!("{} is an admin now", name),
            (AdminWhat::UserRole, Some(Role::Operator)) => tr!("{} is an operator now", name),
            (AdminWhat::UserRole, _) => tr!("{} is a user like any other now", name),
            (AdminWhat::UserQuota, _) => tr!("set what may wait for {}", name),
            (AdminWhat::KeyRevoke, _) => tr!("revoked a key of {}: {}", name, counts),
            (AdminWhat::LeaseRelease, _) => tr!("took back port {}", name),
            (AdminWhat::SessionKick, _) => tr!("kicked {}: {}", name, counts),
            (AdminWhat::TopicGrant, _) => tr!("granted at {}: {}", name, counts),
            (AdminWhat::TopicRevoke, _) => tr!("revoked at {}: {}", name, counts),
            (AdminWhat::TopicRetention, _) => tr!("set what {} keeps", name),
            (AdminWhat::QueuePurge, _) => tr!("purged {}: {}", name, counts),
            (AdminWhat::QueueMove, _) => {
                let heir = visible(&cell("to", &row["to"]));
                tr!("moved what waited for {} to {}: {}", name, heir, counts)
            }
            (AdminWhat::QueueRelease, _) => tr!("released a device at {}: {}", name, counts),
            _ if counts.is_empty() => tr!("removed {}", name),
            _ => tr!("removed {}: {}", name, counts),
        };
        context.ui.result(&object(&row), human)?;
    }
    Ok(())
}

/// Adds up what was done in several steps.
fn together(steps: Vec<Value>) -> Option<Value> {
    steps.into_iter().reduce(|mut sum, step| {
        for (field, value) in step.as_object().into_iter().flatten() {
            if let Some(more) = value.as_u64() {
                sum[field] = (sum[field].as_u64().unwrap_or(0) + more).into();
            }
        }
        sum
    })
}

/// Returns what was done in a word of JSON.
fn done(what: AdminWhat) -> &'static str {
    match what {
        AdminWhat::TopicCreate => "created",
        AdminWhat::UserFree => "freed",
        AdminWhat::UserDisable => "disabled",
        AdminWhat::UserEnable => "enabled",
        AdminWhat::UserRole | AdminWhat::UserQuota | AdminWhat::TopicRetention => "set",
        AdminWhat::TopicGrant => "granted",
        AdminWhat::KeyRevoke | AdminWhat::TopicRevoke => "revoked",
        AdminWhat::LeaseRelease | AdminWhat::QueueRelease => "released",
        AdminWhat::QueuePurge => "purged",
        AdminWhat::QueueMove => "moved",
        AdminWhat::SessionKick => "kicked",
        _ => "removed",
    }
}

/// Writes for people how much of what a deed meets.
fn tally(row: &Value) -> String {
    let count = |field: &str| row[field].as_u64();
    let mut parts: Vec<String> = Vec::new();
    parts.extend(count("mails").map(|n| show::counted(n, "mail")));
    parts.extend(count("bytes").map(show::size));
    parts.extend(
        count("expired").map(|n| tr_n!(n, "{n} expired meanwhile", "{n} expired meanwhile")),
    );
    parts.extend(count("waiting").map(|n| tr_n!(n, "{n} mail waiting", "{n} mails waiting")));
    parts.extend(count("devices").map(|n| tr_n!(n, "{n} device", "{n} devices")));
    parts.extend(count("sessions").map(|n| tr_n!(n, "{n} session", "{n} sessions")));
    parts.extend(count("readers").map(|n| tr_n!(n, "{n} reader", "{n} readers")));
    let subscriptions = count("subscriptions");
    parts.extend(subscriptions.map(|n| tr_n!(n, "{n} subscription", "{n} subscriptions")));
    parts.extend(count("gained").map(|n| tr_n!(n, "{n} reader more", "{n} readers more")));
    parts.extend(count("lost").map(|n| tr_n!(n, "{n} reader less", "{n} readers less")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_of_one_deed_are_one_row() {
        let step = |mails: u64| json!({"address": "bob", "mails": mails, "durability": "fsync"});
        let sum = together(vec![step(1_000), step(3)]).unwrap();
        assert_eq!(sum, step(1_003));
        assert_eq!(together(Vec::new()), None);
    }

    #[test]
    fn what_goes_is_counted_in_one_line() {
        let row = json!({
            "address": "bob", "mails": 1, "bytes": 1_200, "devices": 2, "sessions": 0, "subscriptions": 3,
        });
        assert_eq!(
            tally(&row),
            "1 mail, 1.2 kB, 2 devices, 0 sessions, 3 subscriptions"
        );
        assert_eq!(tally(&json!({"address": "x"})), "");
    }
}
