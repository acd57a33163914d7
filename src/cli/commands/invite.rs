//! `mailctl invite`: a code with which somebody joins, once.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Context, admin, close, user_name, within};
use crate::cli::args::{Invite, InviteDeed};
use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_later};
use crate::cli::json::object;
use crate::cli::show::{self, Column};
use crate::cli::times;
use crate::cli::untrusted::visible;
use crate::client::home::Place;
use crate::client::session::{self, Session};
use crate::protocol::codes::exit;
use crate::protocol::names::UserName;
use crate::protocol::reply::{CodeRow, Invited};
use crate::protocol::url::ServerUrl;

const CODES: &[Column] = &[
    (tr_later!("Id"), "id"),
    (tr_later!("For"), "user"),
    (tr_later!("Device"), "device"),
    (tr_later!("Until"), "expires_at"),
];

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Invite) -> Result<(), CliError> {
    match &args.deed {
        None => make(context, args),
        Some(InviteDeed::Ls) => list(context),
        Some(InviteDeed::Rm(args)) => args.ids.iter().try_for_each(|id| remove(context, id)),
    }
}

fn list(context: &mut Context<'_>) -> Result<(), CliError> {
    let codes = within(context, Session::codes)?;
    if codes.is_empty() {
        context.ui.note(tr!("no invitation of yours is open"));
        return Ok(());
    }
    let row = |code: &CodeRow| json!({"id": code.id, "user": code.user, "device": code.device, "expires_at": code.expires_at});
    let rows: Vec<Value> = codes.iter().map(row).collect();
    show::rows(context.ui, CODES, &rows)
}

fn remove(context: &mut Context<'_>, id: &str) -> Result<(), CliError> {
    let is_open = within(context, |session| {
        let is_open = session.codes()?.iter().any(|code| code.id == id);
        session.remove_code(id)?;
        Ok(is_open)
    })?;
    if !is_open {
        let text = tr!(
            "no invitation of yours is called {}; it may have been used",
            id
        );
        let error = CliError::new("no_invitation", exit::NO_USER, text);
        return Err(error.hint(tr!("those that are open: mailctl invite ls")));
    }
    let fields = json!({"id": id, "removed": true});
    let human = tr!("took back the invitation {}", visible(id));
    context.ui.result(&object(fields), human)
}

/// Makes a code: as the account in use; where nobody is logged in, with the administrator's key.
fn make(context: &mut Context<'_>, args: &Invite) -> Result<(), CliError> {
    let user = args.user.as_deref().map(user_name).transpose()?;
    let named = context.named_place()?;
    let admin_key = named.as_ref().and_then(admin::key_beside).transpose()?;
    let (invited, place, whose) = match (context.account(), named, admin_key) {
        (Ok(account), ..) => {
            let options = context.one_shot();
            let mut session = context.open(&account, options)?;
            let invited = session.invite(user.as_ref(), args.device)?;
            let place = session.account().place().clone();
            close(session);
            let own = args.device.then(|| account.user().clone());
            (invited, place, user.or(own))
        }
        (Err(_), Some(place), Some(keys)) => {
            let timeout = context.globals.timeout;
            let invited = session::admin_invite(&place, &keys, timeout, user.clone(), args.device)?;
            (invited, place, user)
        }
        (Err(error), ..) => return Err(error),
    };
    tell(context, &invited, &place, whose.as_ref())
}

/// Says whether an address leads nowhere else.
fn is_this_machine(host: &str) -> bool {
    let ip: Option<IpAddr> = host.parse().ok();
    ip.map_or(host == "localhost", |ip| ip.is_loopback())
}

fn tell(
    context: &mut Context<'_>,
    invited: &Invited,
    place: &Place,
    user: Option<&UserName>,
) -> Result<(), CliError> {
    let ends = times::human(&invited.expires_at);
    let url = ServerUrl {
        code: Some(invited.code.clone()),
        ..place.url.clone()
    };
    // The name goes along, so that `join` needs no second word.
    let url = user.map_or_else(|| url.to_string(), |user| format!("{url}&user={user}"));
    let fields = json!({
        "code": invited.code,
        "url": url,
        "user": user.map(UserName::as_str),
        "expires_at": invited.expires_at,
        "durability": invited.durability,
    });
    context.ui.result(&object(fields), &url)?;
    if !context.ui.is_json() {
        if is_this_machine(&place.url.host) {
            let host = visible(&place.url.host);
            context.ui.note(tr!("{} is this machine alone: for another one the server needs --bind to an address that others reach", host));
        }
        context.ui.note(if user.is_some() {
            tr!(
                "good once, until {}; hand it over privately. There: mailctl join -, which reads it from stdin",
                ends
            )
        } else {
            tr!(
                "good once, until {}; hand it over privately. There: mailctl join - NAME, which reads it from stdin",
                ends
            )
        });
    }
    Ok(())
}
