//! `mailctl refresh`: what is unseen, in id order. Each mail is claimed, printed, flushed and only
//! then marked, so it is shown again only if this process died while showing it.

use super::{Context, close};
use crate::cli::args::Refresh;
use crate::cli::error::CliError;
use crate::cli::show::{self, counted};
use crate::cli::ui::Ui;
use crate::client::home::Account;
use crate::client::mailbox::{Mailbox, TrimmedNotice};
use crate::client::session::{Arrival, Options, Session};
use crate::protocol::reply::Trimmed;

/// Mails shown between two syncs of the marks: what a power cut may show again.
const SYNC_EVERY: usize = 64;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: Refresh) -> Result<(), CliError> {
    let account = context.account()?;
    let options = Options {
        no_ack: args.no_ack,
        ..context.one_shot()
    };
    if args.no_ack {
        let mut session = context.open(&account, options)?;
        let looked = look(context.ui, &mut session, args.limit);
        close(session);
        return looked;
    }
    // What is here already is shown even if the server is not there.
    let fetched = fetch(context, &account, options);
    show_unseen(context.ui, &account, args.limit)?;
    fetched
}

fn fetch(context: &mut Context<'_>, account: &Account, options: Options) -> Result<(), CliError> {
    let mut session = context.open(account, options)?;
    let fetched = session.refresh();
    close(session);
    fetched?;
    Ok(())
}

/// Shows what the mailbox holds and nobody saw, and marks it.
pub(crate) fn show_unseen(
    ui: &mut Ui,
    account: &Account,
    limit: Option<usize>,
) -> Result<(), CliError> {
    let mailbox = account.mailbox()?;
    let unseen = mailbox.unseen()?;
    let total = unseen.len();
    let shown = limit.unwrap_or(total).min(total);
    heading(ui, account, shown, total)?;
    tell_trimmed(ui, &mailbox)?;
    let mut left = shown;
    for (id, log) in unseen {
        if left == 0 {
            break;
        }
        let Some(claim) = mailbox.claim(id, log)? else {
            continue; // another process shows it
        };
        let mail = claim.read()?;
        separate(ui)?;
        show::mail(ui, &mail.envelope, &mail.body)?;
        mailbox.mark_shown(&claim)?;
        left -= 1;
        if left % SYNC_EVERY == 0 {
            mailbox.sync_shown()?;
        }
    }
    Ok(())
}

fn heading(ui: &mut Ui, account: &Account, shown: usize, total: usize) -> Result<(), CliError> {
    if ui.is_json() {
        return Ok(());
    }
    let user = account.user();
    if total == 0 {
        ui.note(format_args!("nothing new for {user}"));
        return Ok(());
    }
    let (mails, _) = counted(total as u64, "mail");
    if shown < total {
        ui.line(format_args!("{shown} of {mails} for {user}"))
    } else {
        ui.line(format_args!("{mails} for {user}"))
    }
}

fn separate(ui: &mut Ui) -> Result<(), CliError> {
    if ui.is_json() { Ok(()) } else { ui.line("") }
}

fn tell_trimmed(ui: &mut Ui, mailbox: &Mailbox) -> Result<(), CliError> {
    let Some(claim) = mailbox.claim_trimmed()? else {
        return Ok(());
    };
    for notice in &claim.notices {
        trimmed(ui, notice)?;
    }
    Ok(mailbox.told(claim)?)
}

/// Shows that mails went unread.
pub(crate) fn trimmed(ui: &mut Ui, notice: &TrimmedNotice) -> Result<(), CliError> {
    let gone = Trimmed {
        count: notice.count,
        from_id: notice.from_id,
    };
    show::trimmed(ui, &notice.address, gone)
}

/// Shows what is unseen, here and at the server, and changes nothing.
fn look(ui: &mut Ui, session: &mut Session, limit: Option<usize>) -> Result<(), CliError> {
    let mut look = session.look()?;
    let mut left = limit.unwrap_or(usize::MAX);
    let mut any = false;
    while left > 0 {
        match look.next(session)? {
            None => break,
            Some(Arrival::Trimmed(notice)) => trimmed(ui, &notice)?,
            Some(Arrival::Mail(mail)) => {
                if any {
                    separate(ui)?;
                }
                show::mail(ui, &mail.envelope, &mail.body)?;
                left -= 1;
            }
        }
        any = true;
    }
    if !any {
        ui.note(format_args!("nothing new for {}", session.account().user()));
    }
    Ok(())
}
