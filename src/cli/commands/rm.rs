//! `mailctl rm ID...`: mails of this device's mailbox into the trash, or out of it for good. Asks no server.

use serde_json::json;

use super::Context;
use super::read::{any_mail, held_mail};
use crate::cli::args::Rm;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::{self, object};
use crate::cli::show::counted;
use crate::cli::times;
use crate::cli::ui::Ui;
use crate::client::home::Account;
use crate::client::mailbox::{Called, Held, Mailbox};
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Rm) -> Result<(), CliError> {
    let account = context.account_as_it_lies()?;
    remove(context.ui, &account, args)
}

/// Removes them.
pub(crate) fn remove(ui: &mut Ui, account: &Account, args: &Rm) -> Result<(), CliError> {
    let mailbox = account.mailbox()?;
    if args.purge {
        return purge(ui, &mailbox, args);
    }
    let mails = all(&args.ids, |called| held_mail(&mailbox, called))?;
    mailbox.trash(&mails, &times::stamp())?;
    tell(ui, &mails, false)?;
    ui.note(tr!("take it back: mailctl undo"));
    Ok(())
}

/// Removes the mails that were named, or all that are in the trash.
fn purge(ui: &mut Ui, mailbox: &Mailbox, args: &Rm) -> Result<(), CliError> {
    let mails = if args.ids.is_empty() {
        mailbox.trashed()?
    } else {
        all(&args.ids, |called| any_mail(mailbox, called))?
    };
    if mails.is_empty() {
        ui.note(tr!("the trash is empty"));
        return Ok(());
    }
    agree(ui, mails.len(), args)?;
    mailbox.purge(&mails)?;
    tell(ui, &mails, true)
}

/// Returns the mails that were named, each once; nothing when one of them is not there.
fn all(
    named: &[Called],
    one: impl Fn(&Called) -> Result<Held, CliError>,
) -> Result<Vec<Held>, CliError> {
    let mut mails: Vec<Held> = Vec::new();
    for called in named {
        let held = one(called).map_err(|error| error.hint(tr!("nothing was removed")))?;
        if !mails.iter().any(|known| known.called() == held.called()) {
            mails.push(held);
        }
    }
    Ok(mails)
}

fn tell(ui: &mut Ui, mails: &[Held], purged: bool) -> Result<(), CliError> {
    if ui.is_json() {
        let row =
            |held: &Held| json!({"id": json::id(held.called()), "removed": true, "purged": purged});
        return mails
            .iter()
            .try_for_each(|held| ui.object(&object(row(held))));
    }
    let named = match mails {
        [held] => tr!("mail {}", held.called()),
        mails => counted(mails.len() as u64, "mail"),
    };
    ui.line(if purged {
        tr!("removed {} for good", named)
    } else {
        tr!("moved {} to the trash", named)
    })
}

fn agree(ui: &mut Ui, count: usize, args: &Rm) -> Result<(), CliError> {
    if args.yes {
        return Ok(());
    }
    if !ui.may_ask() {
        return Err(
            CliError::usage(tr!("nothing was removed: --purge needs a yes"))
                .hint(tr!("add --yes to it")),
        );
    }
    let mails = counted(count as u64, "mail");
    if ui.confirm(&tr!("Remove {} for good?", mails)) {
        return Ok(());
    }
    Err(CliError::new(
        "cancelled",
        exit::USAGE,
        tr!("nothing was removed"),
    ))
}
