//! `mailctl admin`: listings that change nothing. What changes something is in `deed`.
//!
//! When the server was named by its file and an `admin.key` that we may read lies beside it, that key
//! asks; else the account's own.

mod audit;
mod backup;
mod check;
mod deed;
mod explain;
mod look;

use std::cmp::Reverse;

use serde_json::Value;

use super::{Context, login};
use crate::auth::keys::{KeyError, KeyPair};
use crate::cli::args::{
    Admin as Verb, AdminKey, AdminLease, AdminQueue, AdminSession, AdminTopic, AdminUser, Peek,
    QueueLs, QueueOrder, bare,
};
use crate::cli::error::CliError;
use crate::cli::i18n::{text, tr, tr_later};
use crate::cli::json::object;
use crate::cli::show::{self, Column, cell};
use crate::cli::untrusted::visible;
use crate::client::home::Place;
use crate::client::session::Administrator;
use crate::protocol::request::{Admin, AdminWhat};

const USERS: &[Column] = &[
    (tr_later!("User"), "user"),
    (tr_later!(">Devices"), "devices"),
    (tr_later!("Role"), "role"),
    (tr_later!("State"), "state"),
    (tr_later!("Created"), "created_at"),
];
const TOPICS: &[Column] = &[
    (tr_later!("Topic"), "topic"),
    (tr_later!(">Readers"), "subscribers"),
    (tr_later!(">Mails"), "mails"),
    (tr_later!(">Bytes"), "bytes"),
    (tr_later!("Created"), "created_at"),
];
const QUEUES: &[Column] = &[
    (tr_later!("Address"), "address"),
    (tr_later!("User"), "user"),
    (tr_later!(">Device"), "device"),
    (tr_later!(">Waiting"), "waiting"),
    (tr_later!(">Bytes"), "bytes"),
    (tr_later!("Oldest"), "oldest"),
];
const ENVELOPES: &[Column] = &[
    (tr_later!(">Id"), "id"),
    (tr_later!("Sent"), "sent_at"),
    (tr_later!("From"), "from"),
    (tr_later!("To"), "to"),
    (tr_later!(">Bytes"), "size"),
    (tr_later!("In flight"), "in_flight"),
    (tr_later!("Subject"), "subject"),
];
const LEASES: &[Column] = &[
    (tr_later!(">Port"), "port"),
    (tr_later!("State"), "state"),
    (tr_later!("User"), "user"),
    (tr_later!(">Device"), "device"),
    (tr_later!(">Epoch"), "epoch"),
    (tr_later!("Expires"), "expires_at"),
];
const SESSIONS: &[Column] = &[
    (tr_later!("User"), "user"),
    (tr_later!(">Device"), "device"),
    (tr_later!("Since"), "since"),
    (tr_later!("Last seen"), "last_seen"),
    (tr_later!(">Port"), "port"),
];

const KEYS: &[Column] = &[
    (tr_later!(">Device"), "device"),
    (tr_later!("Name"), "name"),
    (tr_later!("Online"), "online"),
    (tr_later!("Last seen"), "last_seen"),
    (tr_later!("Created"), "created_at"),
    (tr_later!("Key"), "key"),
];

/// A field and what people read before it.
type Label = (&'static str, &'static str);

const TOPIC: &[Label] = &[
    ("topic", tr_later!("topic")),
    ("created_at", tr_later!("created")),
    ("subscribers", tr_later!("readers")),
    ("mails", tr_later!("mails kept")),
    ("bytes", tr_later!("bytes kept")),
    ("head", tr_later!("last id")),
    ("history_mails", tr_later!("mails for newcomers")),
    ("history_seconds", tr_later!("their age in s")),
    ("read", tr_later!("may read")),
    ("send", tr_later!("may send")),
];

const USER: &[Label] = &[
    ("user", tr_later!("user")),
    ("state", tr_later!("state")),
    ("kicked_for_s", tr_later!("kept out for s")),
    ("role", tr_later!("role")),
    ("created_at", tr_later!("created")),
    ("last_seen", tr_later!("last seen")),
    ("devices", tr_later!("devices")),
    ("sessions", tr_later!("sessions")),
    ("waiting", tr_later!("mails waiting")),
    ("mails_max", tr_later!("mails at most")),
    ("bytes", tr_later!("bytes waiting")),
    ("bytes_max", tr_later!("bytes at most")),
    ("subscriptions", tr_later!("subscriptions")),
    ("topics", tr_later!("topics")),
];

/// What a server counts, as people read it.
const COUNTERS: &[Label] = &[
    ("users", tr_later!("users")),
    ("topics", tr_later!("topics")),
    ("devices", tr_later!("devices")),
    ("sessions", tr_later!("sessions")),
    ("leases_held", tr_later!("leases held")),
    ("invitations_open", tr_later!("invitations open")),
    ("blocks", tr_later!("blocks")),
    ("mails_kept", tr_later!("mails kept")),
    ("bytes_kept", tr_later!("bytes kept")),
    ("last_id", tr_later!("last id")),
    ("accepted", tr_later!("accepted")),
    ("duplicates", tr_later!("duplicates")),
    ("refused", tr_later!("refused")),
    ("acknowledged", tr_later!("acknowledged")),
    ("expired", tr_later!("expired")),
    ("trimmed_unread", tr_later!("trimmed unread")),
    ("denied_subscriptions", tr_later!("denied subscriptions")),
    ("dropped_requests", tr_later!("dropped requests")),
    ("running_s", tr_later!("running s")),
    ("incarnation", tr_later!("incarnation")),
    ("disk_low", tr_later!("disk low")),
    ("disk_free_bytes", tr_later!("disk free bytes")),
];

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, verb: &Verb) -> Result<(), CliError> {
    match verb {
        Verb::User(verb) => user(context, verb),
        Verb::Topic(verb) => topic(context, verb),
        Verb::Queue(AdminQueue::Ls(args)) => queues(context, args),
        Verb::Queue(AdminQueue::Show(address)) => {
            list(context, AdminWhat::QueueShow, Some(&address.name), QUEUES)
        }
        Verb::Queue(AdminQueue::Peek(args)) => peek(context, args),
        Verb::Queue(AdminQueue::Purge(args)) => deed::rm(context, AdminWhat::QueuePurge, args),
        Verb::Queue(AdminQueue::Move(args)) => deed::move_queue(context, args),
        Verb::Queue(AdminQueue::Release(args)) => deed::release_queue(context, args),
        Verb::Lease(AdminLease::Ls) => list(context, AdminWhat::LeaseLs, None, LEASES),
        Verb::Lease(AdminLease::Release(args)) => deed::release_lease(context, args),
        Verb::Session(AdminSession::Ls) => list(context, AdminWhat::SessionLs, None, SESSIONS),
        Verb::Session(AdminSession::Kick(args)) => deed::kick(context, args),
        Verb::Explain(args) => explain::run(context, args),
        Verb::Audit(args) => audit::run(context, args),
        Verb::Check(args) => check::run(context, args),
        Verb::Stats => stats(context),
        Verb::Backup(args) => backup::run(context, args),
    }
}

fn topic(context: &mut Context<'_>, verb: &AdminTopic) -> Result<(), CliError> {
    match verb {
        AdminTopic::Ls => list(context, AdminWhat::TopicLs, None, TOPICS),
        AdminTopic::Show(topic) => show_one(context, AdminWhat::TopicShow, &topic.name, TOPIC),
        AdminTopic::Create(topic) => deed::plain(context, AdminWhat::TopicCreate, &topic.name),
        AdminTopic::Retention(args) => deed::retention(context, args),
        AdminTopic::Grant(args) => deed::grant(context, AdminWhat::TopicGrant, args),
        AdminTopic::Revoke(args) => deed::grant(context, AdminWhat::TopicRevoke, args),
        AdminTopic::Rm(topic) => deed::rm(context, AdminWhat::TopicRm, topic),
    }
}

fn user(context: &mut Context<'_>, verb: &AdminUser) -> Result<(), CliError> {
    match verb {
        AdminUser::Ls => list(context, AdminWhat::UserLs, None, USERS),
        AdminUser::Show(user) => show_one(context, AdminWhat::UserShow, &user.name, USER),
        AdminUser::Add(user) => deed::add(context, &user.name),
        AdminUser::Disable(user) => deed::plain(context, AdminWhat::UserDisable, &user.name),
        AdminUser::Enable(user) => deed::plain(context, AdminWhat::UserEnable, &user.name),
        AdminUser::Role(args) => deed::role(context, args),
        AdminUser::Quota(args) => deed::quota(context, args),
        AdminUser::Rm(user) => deed::rm(context, AdminWhat::UserRm, user),
        AdminUser::Free(user) => deed::plain(context, AdminWhat::UserFree, &user.name),
        AdminUser::Key(AdminKey::Ls(user)) => {
            list(context, AdminWhat::KeyLs, Some(&user.name), KEYS)
        }
        AdminUser::Key(AdminKey::Revoke(args)) => deed::revoke_key(context, args),
    }
}

fn list(
    context: &mut Context<'_>,
    what: AdminWhat,
    address: Option<&str>,
    columns: &[Column],
) -> Result<(), CliError> {
    let rows = rows(context, what, address)?;
    show_rows(context, columns, &rows)
}

/// Lists queues in the order and as far as asked for.
fn queues(context: &mut Context<'_>, args: &QueueLs) -> Result<(), CliError> {
    let mut found = rows(context, AdminWhat::QueueLs, None)?;
    let user = args.user.as_deref().map(bare);
    let number = |row: &Value, field: &str| row[field].as_u64().unwrap_or(0);
    let word = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    found.retain(|row| {
        let prefix = args.prefix.as_deref().unwrap_or_default();
        number(row, "waiting") >= args.least
            && word(row, "address").starts_with(prefix)
            && user.is_none_or(|user| word(row, "user") == user)
    });
    match args.sort {
        QueueOrder::Name => {}
        QueueOrder::Waiting => found.sort_by_key(|row| Reverse(number(row, "waiting"))),
        QueueOrder::Bytes => found.sort_by_key(|row| Reverse(number(row, "bytes"))),
        // Times are RFC 3339 in UTC, so their texts are in order; nothing waits where there is none.
        QueueOrder::Age => found.sort_by_key(|row| (row["oldest"].is_null(), word(row, "oldest"))),
    }
    found.truncate(args.limit.unwrap_or(usize::MAX));
    show_rows(context, QUEUES, &found)
}

/// Shows rows as a table, or says that there are none.
fn show_rows(
    context: &mut Context<'_>,
    columns: &[Column],
    rows: &[Value],
) -> Result<(), CliError> {
    if rows.is_empty() {
        context.ui.note(tr!("none"));
    }
    if rows.is_empty() && !context.ui.is_json() {
        return Ok(());
    }
    show::rows(context.ui, columns, rows)
}

fn rows(
    context: &mut Context<'_>,
    what: AdminWhat,
    address: Option<&str>,
) -> Result<Vec<Value>, CliError> {
    let address = address.map(|name| bare(name).to_owned());
    ask(context, Admin::new(what, address))
}

/// Asks as an administrator and returns all rows.
fn ask(context: &mut Context<'_>, question: Admin) -> Result<Vec<Value>, CliError> {
    let (place, keys) = identity(context)?;
    let timeout = context.globals.timeout;
    Ok(Administrator::connect(&place, &keys, timeout)?.rows(question)?)
}

fn peek(context: &mut Context<'_>, args: &Peek) -> Result<(), CliError> {
    if args.body {
        return look::run(context, args);
    }
    let rows = rows(context, AdminWhat::QueuePeek, Some(&args.address))?;
    if rows.is_empty() {
        context
            .ui
            .note(tr!("nothing waits at {}", visible(&args.address)));
    }
    if rows.is_empty() && !context.ui.is_json() {
        return Ok(());
    }
    show::rows(context.ui, ENVELOPES, &rows)
}

fn stats(context: &mut Context<'_>) -> Result<(), CliError> {
    for row in rows(context, AdminWhat::Stats, None)? {
        fields(context, &row, COUNTERS)?;
    }
    Ok(())
}

/// Shows one thing, a field a line.
fn show_one(
    context: &mut Context<'_>,
    what: AdminWhat,
    name: &str,
    labels: &[Label],
) -> Result<(), CliError> {
    for row in rows(context, what, Some(name))? {
        fields(context, &row, labels)?;
    }
    Ok(())
}

/// Shows a row as an object, or each of its fields in a line: those that have a label first, in its order.
fn fields(context: &mut Context<'_>, row: &Value, labels: &[Label]) -> Result<(), CliError> {
    if context.ui.is_json() {
        return context.ui.object(&object(row));
    }
    // Where no rule is, all may.
    let open = |name: &str, value: &Value| {
        let is_right = matches!(name, "read" | "send");
        is_right && value.as_array().is_some_and(Vec::is_empty)
    };
    let is_labelled = |name: &str| labels.iter().any(|label| label.0 == name);
    let others = row.as_object().into_iter().flatten();
    let others = others.filter(|(name, _)| !is_labelled(name));
    let others = others.map(|(name, value)| (name, visible(name).replace('_', " "), value));
    let mut lines: Vec<(String, String)> = Vec::new();
    for (name, label) in labels {
        if let Some(value) = row.get(*name) {
            let shown = if open(name, value) {
                tr!("everybody").to_owned()
            } else {
                cell(name, value)
            };
            lines.push((text(label).to_owned(), shown));
        }
    }
    lines.extend(others.map(|(name, label, value)| (label, cell(name, value))));
    for (label, value) in lines {
        let value = visible(&value);
        context.ui.line(format_args!("{label:<22}{value}"))?;
    }
    Ok(())
}

/// Returns the server and the key to ask with.
fn identity(context: &mut Context<'_>) -> Result<(Place, KeyPair), CliError> {
    let named = context.named_place()?;
    // Without an account the default's file, or ./data, still says where the server is.
    let place = named.map_or_else(|| login::place(context), Ok)?;
    if let Some(keys) = key_beside(&place).transpose()? {
        return Ok((place, keys));
    }
    let account = context.account()?;
    Ok((account.place().clone(), account.keys()?.clone()))
}

/// Returns the administrator's key beside the server's file, if the server was named by a file and
/// we may read it. One that others may read too is an error.
pub(crate) fn key_beside(place: &Place) -> Option<Result<KeyPair, CliError>> {
    let path = place.source.as_ref()?.with_file_name("admin.key");
    match KeyPair::load(&path) {
        Err(KeyError::Io { .. }) => None,
        loaded => Some(loaded.map_err(CliError::from)),
    }
}
