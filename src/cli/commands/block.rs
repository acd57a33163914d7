//! `mailctl block`, `unblock`: whose mail and chats this user does not take.

use serde_json::json;

use super::{Context, user_name, within};
use crate::cli::args::{Block, Unblock};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::untrusted::visible;
use crate::client::ClientError;
use crate::client::session::Session;

/// Blocks a user, or lists who is blocked.
pub(crate) fn block(context: &mut Context<'_>, args: &Block) -> Result<(), CliError> {
    let Some(name) = &args.user else {
        return list(context);
    };
    let user = user_name(name)?;
    within(context, |session| session.block(&user))?;
    context.ui.result(
        &object(json!({"user": user.as_str(), "blocked": true})),
        tr!("blocked {user}; undo: mailctl unblock {user}", user = user),
    )
}

/// Takes a block back.
pub(crate) fn unblock(context: &mut Context<'_>, args: &Unblock) -> Result<(), CliError> {
    let user = user_name(&args.user)?;
    within(context, |session| session.unblock(&user))?;
    context.ui.result(
        &object(json!({"user": user.as_str(), "blocked": false})),
        tr!("unblocked {user}", user = user),
    )
}

fn list(context: &mut Context<'_>) -> Result<(), CliError> {
    let users = within(context, all)?;
    if users.is_empty() {
        context.ui.note(tr!("nobody is blocked"));
    }
    for user in users {
        let shown = visible(&user);
        context.ui.result(&object(json!({"user": user})), shown)?;
    }
    Ok(())
}

fn all(session: &mut Session) -> Result<Vec<String>, ClientError> {
    let (mut users, mut after) = (Vec::new(), None);
    loop {
        let page = session.blocks(after.as_deref())?;
        users.extend(page.users);
        if page.more_after.is_none() {
            return Ok(users);
        }
        after = page.more_after;
    }
}
