//! `mailctl read ID`: one mail of this device's mailbox, shown before or not. Asks no server.

use super::Context;
use crate::cli::args::Read;
use crate::cli::error::CliError;
use crate::cli::show;
use crate::client::mailbox::{Mail, Mailbox};
use crate::protocol::MailId;
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: Read) -> Result<(), CliError> {
    let mail = the_mail(context, args.id)?;
    show::mail(context.ui, &mail.envelope, &mail.body)
}

/// Returns a mail of this device's mailbox.
pub(super) fn the_mail(context: &Context<'_>, id: MailId) -> Result<Mail, CliError> {
    let mailbox = context.account()?.mailbox()?;
    match mailbox.get(id)? {
        Some(mail) => Ok(mail),
        None => Err(no_such_mail(&mailbox, id)?),
    }
}

/// Makes the error of a mail that is not here, or that is in the trash.
pub(super) fn no_such_mail(mailbox: &Mailbox, id: MailId) -> Result<CliError, CliError> {
    let error = |text| CliError::new("no_such_mail", exit::DATA, text);
    Ok(if mailbox.trashed()?.contains(&id) {
        error(format!("mail {id} is in the trash"))
            .hint("take back what was removed last with: mailctl undo")
    } else {
        error(format!("there is no mail {id} here"))
            .hint("fetch what is new with: mailctl refresh; what a topic keeps: mailctl history T")
    })
}
