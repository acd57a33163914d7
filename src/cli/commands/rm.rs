//! `mailctl rm ID...`: mails of this device's mailbox into the trash, or out of it for good. Asks no server.

use serde_json::json;

use super::Context;
use super::read::no_such_mail;
use crate::cli::args::Rm;
use crate::cli::error::CliError;
use crate::cli::json::object;
use crate::cli::show::counted;
use crate::cli::times;
use crate::client::mailbox::Mailbox;
use crate::protocol::MailId;
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Rm) -> Result<(), CliError> {
    let mailbox = context.account()?.mailbox()?;
    if args.purge {
        return purge(context, &mailbox, args);
    }
    let ids = once(&args.ids);
    all_here(&mailbox, &mailbox.trash(&ids, &times::stamp())?)?;
    tell(context, &ids, false)?;
    context.ui.note("take it back: mailctl undo");
    Ok(())
}

/// Removes the mails that were named, or all that are in the trash.
fn purge(context: &mut Context<'_>, mailbox: &Mailbox, args: &Rm) -> Result<(), CliError> {
    let ids = if args.ids.is_empty() {
        mailbox.trashed()?
    } else {
        once(&args.ids)
    };
    if ids.is_empty() {
        context.ui.note("the trash is empty");
        return Ok(());
    }
    agree(context, ids.len(), args)?;
    all_here(mailbox, &mailbox.purge(&ids)?)?;
    tell(context, &ids, true)
}

fn tell(context: &mut Context<'_>, ids: &[MailId], purged: bool) -> Result<(), CliError> {
    if context.ui.is_json() {
        let row = |id: &MailId| object(json!({"id": id, "removed": true, "purged": purged}));
        return ids.iter().try_for_each(|id| context.ui.object(&row(id)));
    }
    let mails = match ids {
        [id] => format!("mail {id}"),
        ids => counted(ids.len() as u64, "mail"),
    };
    context.ui.line(if purged {
        format!("removed {mails} for good")
    } else {
        format!("moved {mails} to the trash")
    })
}

fn all_here(mailbox: &Mailbox, missing: &[MailId]) -> Result<(), CliError> {
    match missing {
        [] => Ok(()),
        [id, ..] => Err(no_such_mail(mailbox, *id)?.hint("nothing was removed")),
    }
}

fn agree(context: &mut Context<'_>, count: usize, args: &Rm) -> Result<(), CliError> {
    if args.yes {
        return Ok(());
    }
    if !context.ui.may_ask() {
        return Err(
            CliError::usage("nothing was removed: --purge needs a yes").hint("add --yes to it")
        );
    }
    let mails = counted(count as u64, "mail");
    if context.ui.confirm(&format!("Remove {mails} for good?")) {
        return Ok(());
    }
    Err(CliError::new(
        "cancelled",
        exit::USAGE,
        "nothing was removed",
    ))
}

fn once(named: &[MailId]) -> Vec<MailId> {
    let mut ids = Vec::new();
    for id in named {
        if !ids.contains(id) {
            ids.push(*id);
        }
    }
    ids
}
