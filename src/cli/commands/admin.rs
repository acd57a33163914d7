//! `mailctl admin`: listings that change nothing, and the few deeds.
//!
//! When the server was named by its file and an `admin.key` that we may read lies beside it, that key
//! asks; else the account's own.

use serde_json::Value;

use super::{Context, login};
use crate::auth::keys::{KeyError, KeyPair};
use crate::cli::args::{
    Admin as Verb, AdminLease, AdminQueue, AdminSession, AdminTopic, AdminUser, Peek, bare,
};
use crate::cli::error::CliError;
use crate::cli::i18n::{text, tr, tr_later};
use crate::cli::json::object;
use crate::cli::show::{self, Column, cell};
use crate::cli::untrusted::visible;
use crate::client::home::Place;
use crate::client::session;
use crate::protocol::request::AdminWhat;

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

/// What a server counts, as people read it.
const COUNTERS: &[(&str, &str)] = &[
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
];

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, verb: &Verb) -> Result<(), CliError> {
    match verb {
        Verb::User(AdminUser::Ls) => list(context, AdminWhat::UserLs, None, USERS),
        Verb::User(AdminUser::Rm(user)) => deed(context, AdminWhat::UserRm, &user.name, "removed"),
        Verb::User(AdminUser::Free(user)) => {
            deed(context, AdminWhat::UserFree, &user.name, "freed")
        }
        Verb::Topic(AdminTopic::Ls) => list(context, AdminWhat::TopicLs, None, TOPICS),
        Verb::Topic(AdminTopic::Create(topic)) => {
            deed(context, AdminWhat::TopicCreate, &topic.name, "created")
        }
        Verb::Topic(AdminTopic::Rm(topic)) => {
            deed(context, AdminWhat::TopicRm, &topic.name, "removed")
        }
        Verb::Queue(AdminQueue::Ls) => list(context, AdminWhat::QueueLs, None, QUEUES),
        Verb::Queue(AdminQueue::Show(address)) => {
            list(context, AdminWhat::QueueShow, Some(&address.name), QUEUES)
        }
        Verb::Queue(AdminQueue::Peek(args)) => peek(context, args),
        Verb::Lease(AdminLease::Ls) => list(context, AdminWhat::LeaseLs, None, LEASES),
        Verb::Session(AdminSession::Ls) => list(context, AdminWhat::SessionLs, None, SESSIONS),
        Verb::Stats => stats(context),
    }
}

fn list(
    context: &mut Context<'_>,
    what: AdminWhat,
    address: Option<&str>,
    columns: &[Column],
) -> Result<(), CliError> {
    let rows = rows(context, what, address, false)?;
    if rows.is_empty() {
        context.ui.note(tr!("none"));
    }
    if rows.is_empty() && !context.ui.is_json() {
        return Ok(());
    }
    show::rows(context.ui, columns, &rows)
}

fn rows(
    context: &mut Context<'_>,
    what: AdminWhat,
    address: Option<&str>,
    body: bool,
) -> Result<Vec<Value>, CliError> {
    let (place, keys) = identity(context)?;
    let timeout = context.globals.timeout;
    let address = address.map(|name| bare(name).to_owned());
    Ok(session::admin_rows(
        &place, &keys, timeout, what, address, body,
    )?)
}

fn peek(context: &mut Context<'_>, args: &Peek) -> Result<(), CliError> {
    let rows = rows(
        context,
        AdminWhat::QueuePeek,
        Some(&args.address),
        args.body,
    )?;
    if rows.is_empty() {
        context.ui.note(tr!("nothing waits at {}", args.address));
    }
    if rows.is_empty() && !context.ui.is_json() {
        return Ok(());
    }
    show::rows(context.ui, ENVELOPES, &rows)
}

fn stats(context: &mut Context<'_>) -> Result<(), CliError> {
    let rows = rows(context, AdminWhat::Stats, None, false)?;
    for row in &rows {
        if context.ui.is_json() {
            context.ui.object(&object(row))?;
            continue;
        }
        for (name, value) in row.as_object().into_iter().flatten() {
            let known = COUNTERS.iter().find(|counter| *counter.0 == *name);
            let shown = known.map_or_else(
                || visible(name).replace('_', " "),
                |known| text(known.1).to_owned(),
            );
            let (name, value) = (shown, visible(&cell(name, value)));
            context.ui.line(format_args!("{name:<22}{value}"))?;
        }
    }
    Ok(())
}

/// Does one of the few deeds and tells so.
fn deed(
    context: &mut Context<'_>,
    what: AdminWhat,
    name: &str,
    done: &str,
) -> Result<(), CliError> {
    for mut row in rows(context, what, Some(name), false)? {
        row["done"] = done.into();
        let name = visible(&cell("address", &row["address"]));
        let human = match done {
            "created" => tr!("created {}", name),
            "freed" => tr!("freed {}", name),
            _ => tr!("removed {}", name),
        };
        context.ui.result(&object(row), human)?;
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
