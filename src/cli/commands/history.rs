//! `mailctl history T`: the newest mails of a topic, read or not. Moves and marks nothing.

use super::{Context, close};
use crate::cli::args::{History, bare};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::ui::Ui;
use crate::cli::{pager, show};
use crate::client::mailbox::Mail;
use crate::client::session::Session;
use crate::limits::PAGE_MAILS_MAX;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &History) -> Result<(), CliError> {
    let mut session = context.session()?;
    let mails = newest(&mut session, bare(&args.address), args.limit);
    close(session);
    let mails = mails?;
    context
        .ui
        .paged(&mut pager::rest, |ui| print(ui, args, &mails))
}

/// Shows them within the shell's session.
pub(crate) fn in_session(
    ui: &mut Ui,
    session: &mut Session,
    args: &History,
) -> Result<(), CliError> {
    let mails = newest(session, bare(&args.address), args.limit)?;
    print(ui, args, &mails)
}

fn print(ui: &mut Ui, args: &History, mails: &[Mail]) -> Result<(), CliError> {
    if mails.is_empty() {
        ui.note(tr!("no mail is kept in {}", args.address));
    }
    for (at, mail) in mails.iter().enumerate() {
        if at > 0 && !ui.is_json() {
            ui.line("")?;
        }
        show::mail(ui, &mail.envelope, &mail.body)?;
    }
    Ok(())
}

/// Reads page by page back from the head; returns the mails oldest first.
fn newest(session: &mut Session, address: &str, wanted: u32) -> Result<Vec<Mail>, CliError> {
    let (mut mails, mut left, mut before) = (Vec::new(), wanted, None);
    while left > 0 {
        let page = session.history(address, left.min(PAGE_MAILS_MAX), before)?;
        let Some(oldest) = page.first() else {
            break;
        };
        before = Some(oldest.envelope.id);
        left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        mails.splice(0..0, page);
    }
    Ok(mails)
}
