//! `mailctl read ID`: one mail of this device's mailbox, shown before or not, or the thread that it is in. Asks no
//! server.

use super::Context;
use crate::cli::args::Read;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::ui::Ui;
use crate::cli::{pager, show};
use crate::client::home::Account;
use crate::client::mailbox::{Called, Flags, Held, Mail, Mailbox};
use crate::protocol::MailId;
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Read) -> Result<(), CliError> {
    let account = context.account_as_it_lies()?;
    context
        .ui
        .paged(&mut pager::rest, |ui| show(ui, &account, args))
}

/// Shows the mail, or all of its thread.
pub(crate) fn show(ui: &mut Ui, account: &Account, args: &Read) -> Result<(), CliError> {
    let mailbox = account.mailbox()?;
    let held = held_mail(&mailbox, &args.id)?;
    let mail = mailbox.read(&held)?;
    if !args.thread || held.is_imported() {
        return show::held(ui, &held, &mail.envelope, &mail.body);
    }
    let thread = mailbox.thread_of(&mail.envelope)?;
    for (at, mail) in thread.iter().enumerate() {
        if at > 0 && !ui.is_json() {
            ui.line("")?;
        }
        show::mail(ui, &mail.envelope, &mail.body)?;
    }
    Ok(())
}

/// Returns a received mail of this device's mailbox.
pub(crate) fn the_mail(account: &Account, id: MailId) -> Result<Mail, CliError> {
    let mailbox = account.mailbox()?;
    let held = held_mail(&mailbox, &Called::Number(id))?;
    Ok(mailbox.read(&held)?)
}

/// Returns a mail of this device's mailbox that is not in the trash.
pub(super) fn held_mail(mailbox: &Mailbox, called: &Called) -> Result<Held, CliError> {
    let held = any_mail(mailbox, called)?;
    if held.flags().has(Flags::TRASHED) {
        let told = no_such_mail(tr!("mail {} is in the trash", called));
        return Err(told.hint(tr!("take back what was removed last with: mailctl undo")));
    }
    Ok(held)
}

/// Returns a mail of this device's mailbox, in the trash or not.
pub(super) fn any_mail(mailbox: &Mailbox, called: &Called) -> Result<Held, CliError> {
    let mut found = mailbox.those_called(called)?;
    match (found.pop(), found.is_empty()) {
        (Some(held), true) => Ok(held),
        (Some(_), false) => Err(
            no_such_mail(tr!("more than one mail is called {}", called)).hint(tr!(
                "give more of its digits: mailctl search in:imported lists them"
            )),
        ),
        (None, _) => Err(
            no_such_mail(tr!("there is no mail {} here", called)).hint(tr!(
                "fetch what is new with: mailctl refresh; what a topic keeps: mailctl history T"
            )),
        ),
    }
}

fn no_such_mail(text: String) -> CliError {
    CliError::new("no_such_mail", exit::DATA, text)
}
