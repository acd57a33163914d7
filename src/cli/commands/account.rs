//! `mailctl account rm`: leaves a server for good.

use serde_json::json;

use super::Context;
use crate::cli::args::AccountRm;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::show::counted;
use crate::client::home::Account;
use crate::client::session::Options;
use crate::protocol::codes::{Code, exit};

/// Runs the verb: at the server first, so that whatever fails leaves something to try again with.
pub(crate) fn rm(context: &mut Context<'_>, args: &AccountRm) -> Result<(), CliError> {
    let account = context.account()?;
    agree(context, &account, args.yes)?;
    let options = Options {
        want_stream: false,
        no_ack: true,
        ..context.one_shot()
    };
    let session = context.open(&account, options).map_err(|error| {
        let is_unknown = error.is_refused(Code::NotRegistered);
        let error = CliError::from(error);
        if is_unknown {
            return error.hint(tr!("to remove what is left here: mailctl logout --forget"));
        }
        error
    })?;
    session.remove_account()?;
    context.home()?.forget(&account)?;
    let (user, url) = (account.user(), &account.place().url);
    context.ui.result(
        &object(json!({"user": user.as_str(), "server": url.to_string(), "removed": true})),
        tr!(
            "{} is no more at {}; the name stays reserved there",
            user,
            url.endpoint(url.port)
        ),
    )
}

/// Says what is lost for good, and goes on only if that is wanted.
fn agree(context: &mut Context<'_>, account: &Account, yes: bool) -> Result<(), CliError> {
    let (user, url) = (account.user(), &account.place().url);
    let open = account.outbox()?.list()?.len() as u64;
    context.ui.note(tr!("this removes {} at {} for good: all mail, devices and subscriptions there; and here {}, with all mail \
         received, {} in the outbox, and the key", user, url.endpoint(url.port), account.folder().display(), counted(open, "mail")));
    if yes {
        return Ok(());
    }
    if !context.ui.may_ask() {
        return Err(
            CliError::usage(tr!("nothing was removed: this needs a yes"))
                .hint(tr!("mailctl account rm --no-export --yes")),
        );
    }
    let typed = context
        .ui
        .ask(tr!("To remove it, type the name of the account:"));
    if typed == user.as_str() {
        return Ok(());
    }
    Err(CliError::new(
        "cancelled",
        exit::USAGE,
        tr!("nothing was removed"),
    ))
}
