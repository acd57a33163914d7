//! `mailctl invite`: a code with which somebody joins, once.

use serde_json::json;

use super::{Context, admin, close, user_name};
use crate::cli::args::Invite;
use crate::cli::error::CliError;
use crate::cli::json::object;
use crate::cli::times;
use crate::client::home::Place;
use crate::client::session;
use crate::protocol::names::UserName;
use crate::protocol::reply::Invited;
use crate::protocol::url::ServerUrl;

/// Runs the verb: as the account in use; where nobody is logged in, with the administrator's key.
pub(crate) fn run(context: &mut Context<'_>, args: &Invite) -> Result<(), CliError> {
    let user = args.user.as_deref().map(user_name).transpose()?;
    let named = context.named_place()?;
    let admin_key = named.as_ref().and_then(admin::key_beside).transpose()?;
    let (invited, place, whose) = match (context.account(), named, admin_key) {
        (Ok(account), ..) => {
            let mut session = context.session()?;
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
        let name = if user.is_some() { "" } else { " NAME" };
        context.ui.note(format_args!(
            "good once, until {ends}; hand it over privately. There: mailctl join '{url}'{name}"
        ));
    }
    Ok(())
}
