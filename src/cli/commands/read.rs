//! `mailctl read ID`: one mail of this device's mailbox, shown before or not. Asks no server.

use super::Context;
use crate::cli::args::Read;
use crate::cli::error::CliError;
use crate::cli::show;
use crate::client::mailbox::Mail;
use crate::protocol::MailId;
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: Read) -> Result<(), CliError> {
    let mail = the_mail(context, args.id)?;
    show::mail(context.ui, &mail.envelope, &mail.body)
}

/// Returns a mail of this device's mailbox.
pub(super) fn the_mail(context: &Context<'_>, id: MailId) -> Result<Mail, CliError> {
    let found = context.account()?.mailbox()?.get(id)?;
    found.ok_or_else(|| {
        CliError::new(
            "no_such_mail",
            exit::DATA,
            format!("there is no mail {id} here"),
        )
        .hint("fetch what is new with: mailctl refresh; what a topic keeps: mailctl history T")
    })
}
