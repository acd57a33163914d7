//! `mailctl account rm`: leaves a server for good.

use clap::ValueEnum;
use serde_json::json;

use super::{Context, export};
use crate::cli::args::{AccountRm, Exchange, Form};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::show::counted;
use crate::cli::untrusted::visible;
use crate::client::home::Account;
use crate::client::session::Options;
use crate::protocol::codes::{Code, exit};

/// Runs the verb: at the server first, so that whatever fails leaves something to try again with.
pub(crate) fn rm(context: &mut Context<'_>, args: &AccountRm) -> Result<(), CliError> {
    let copy = copy_of(&args.export)?;
    let account = context.account()?;
    agree(context, &account, args)?;
    let options = Options {
        want_stream: false,
        no_ack: copy.is_none(),
        ..context.one_shot()
    };
    let mut session = context.open(&account, options).map_err(|error| {
        let is_unknown = error.is_refused(Code::NotRegistered);
        let error = CliError::from(error);
        if is_unknown {
            return error.hint(tr!("to remove what is left here: mailctl logout --forget"));
        }
        error
    })?;
    if let Some(copy) = copy {
        session.refresh()?;
        export::whole(context.ui, &account, &copy)?;
    }
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

/// Returns where the copy goes, if there is to be one.
fn copy_of(words: &[String]) -> Result<Option<Exchange>, CliError> {
    let [form, path] = words else {
        return Ok(None);
    };
    let form = Form::from_str(form, false).map_err(|_| {
        CliError::usage(tr!("no such form: {}", visible(form)))
            .hint("mailctl account rm --export maildir|mbox|jsonl PATH")
    })?;
    let path = path.into();
    Ok(Some(Exchange { form, path }))
}

/// Says what is lost for good, and goes on only if that is wanted.
fn agree(context: &mut Context<'_>, account: &Account, args: &AccountRm) -> Result<(), CliError> {
    let (user, url) = (account.user(), &account.place().url);
    let open = account.outbox()?.list()?.len() as u64;
    context.ui.note(tr!(
        "this removes {} at {} for good: all mail, devices and subscriptions there; and here {}, with all mail \
         received, {} in the outbox, and the key",
        user,
        url.endpoint(url.port),
        account.folder().display(),
        counted(open, "mail")
    ));
    if args.yes {
        return Ok(());
    }
    if !context.ui.may_ask() {
        return Err(
            CliError::usage(tr!("nothing was removed: this needs a yes"))
                .hint("mailctl account rm ... --yes"),
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
