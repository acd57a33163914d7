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
use crate::cli::json::object;
use crate::cli::show::{self, Column, cell};
use crate::cli::untrusted::visible;
use crate::client::home::Place;
use crate::client::session;
use crate::protocol::request::AdminWhat;

const USERS: &[Column] = &[
    ("User", "user"),
    (">Devices", "devices"),
    ("Role", "role"),
    ("State", "state"),
    ("Created", "created_at"),
];
const TOPICS: &[Column] = &[
    ("Topic", "topic"),
    (">Readers", "subscribers"),
    (">Mails", "mails"),
    (">Bytes", "bytes"),
    ("Created", "created_at"),
];
const QUEUES: &[Column] = &[
    ("Address", "address"),
    ("User", "user"),
    (">Device", "device"),
    (">Waiting", "waiting"),
    (">Bytes", "bytes"),
    ("Oldest", "oldest"),
];
const ENVELOPES: &[Column] = &[
    (">Id", "id"),
    ("Sent", "sent_at"),
    ("From", "from"),
    ("To", "to"),
    (">Bytes", "size"),
    ("Subject", "subject"),
];
const LEASES: &[Column] = &[
    (">Port", "port"),
    ("State", "state"),
    ("User", "user"),
    (">Device", "device"),
    (">Epoch", "epoch"),
    ("Expires", "expires_at"),
];
const SESSIONS: &[Column] = &[
    ("User", "user"),
    (">Device", "device"),
    ("Since", "since"),
    ("Last seen", "last_seen"),
    (">Port", "port"),
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
        context.ui.note("none");
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
        context
            .ui
            .note(format_args!("nothing waits at {}", args.address));
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
            let (name, value) = (visible(name).replace('_', " "), visible(&cell(name, value)));
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
        let human = format!("{done} {}", visible(&cell("address", &row["address"])));
        context.ui.result(&object(row), human)?;
    }
    Ok(())
}

/// Returns the server and the key to ask with.
fn identity(context: &Context<'_>) -> Result<(Place, KeyPair), CliError> {
    let named = context.named_place()?;
    // Without an account the default's file, or ./data, still says where the server is.
    let place = named.map_or_else(|| login::place(context), Ok)?;
    if let Some(keys) = key_beside(&place).transpose()? {
        return Ok((place, keys));
    }
    let account = context.account()?;
    Ok((account.place().clone(), account.keys().clone()))
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
