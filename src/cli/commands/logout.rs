//! `mailctl logout`: ends this device's sessions; with `--forget`, the device itself.

use serde_json::json;

use super::Context;
use crate::cli::args::Logout;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::show::mails;
use crate::client::ClientError;
use crate::client::home::Account;
use crate::client::session::{Options, Session};
use crate::protocol::codes::{Code, exit};

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Logout) -> Result<(), CliError> {
    let account = context.account()?;
    if args.forget {
        agree(context, &account, args.yes)?;
    }
    let options = Options {
        want_stream: false,
        no_ack: true,
        ..context.one_shot()
    };
    match context
        .open(&account, options)
        .and_then(|session: Session| session.logout(args.forget))
    {
        // The server has forgotten it already.
        Err(ClientError::Refused(told)) if args.forget && told.code == Code::NotRegistered => {}
        done => done?,
    }
    if args.forget {
        context.home()?.forget(&account)?;
    }
    let user = account.user();
    let human = if args.forget {
        tr!(
            "{} is forgotten on this device; to come back: a code from another device, or an administrator",
            user
        )
    } else {
        tr!("logged out {}; key, topics and waiting mail stay", user)
    };
    context.ui.result(
        &object(json!({"user": user.as_str(), "forgotten": args.forget})),
        human,
    )
}

/// Says what is lost for good, and goes on only if that is wanted.
fn agree(context: &mut Context<'_>, account: &Account, yes: bool) -> Result<(), CliError> {
    let open = account.outbox()?.list()?.len() as u64;
    let unseen = account.mailbox()?.unseen()?.len() as u64;
    let loss = tr!(
        "this removes {}: the key of {} at this device, all mail received here ({} not shown yet), and {} in the outbox",
        account.folder().display(),
        account.user(),
        mails(unseen),
        mails(open),
    );
    context.ui.note(&loss);
    if yes {
        return Ok(());
    }
    if !context.ui.may_ask() {
        return Err(
            CliError::usage(tr!("nothing was removed: this needs a yes"))
                .hint(tr!("mailctl logout --forget --yes")),
        );
    }
    if context.ui.confirm(tr!("Remove it?")) {
        return Ok(());
    }
    Err(CliError::new(
        "cancelled",
        exit::USAGE,
        tr!("nothing was removed"),
    ))
}
