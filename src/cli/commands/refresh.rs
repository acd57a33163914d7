//! `mailctl refresh`: what is unseen, in id order, then invitations to chats. Each mail is claimed,
//! printed, flushed and only then marked, so it is shown again only if this process died while showing
//! it. A mail that is a line of a chat which this device has shown is marked and not shown.

use super::invitations::Waiting;
use super::{Context, close};
use crate::cli::args::Refresh;
use crate::cli::error::CliError;
use crate::cli::show::{self, Answer, counted};
use crate::cli::ui::Ui;
use crate::client::home::Account;
use crate::client::mailbox::{Mailbox, TrimmedNotice};
use crate::client::session::{Arrival, Options, Session};
use crate::protocol::reply::Trimmed;
use crate::protocol::{LogNumber, MailId};

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
    let shown = show_unseen(context.ui, &account, args.limit)?;
    let (waiting, session) = fetched?;
    show_waiting(context.ui, &waiting, Answer::Verb, shown)?;
    if let Some(mut session) = session {
        waiting.seen(&mut session)?;
        close(session);
    }
    tell_nothing(context.ui, &account, shown + waiting.len());
    Ok(())
}

/// Refreshes within the shell's session.
pub(crate) fn in_session(ui: &mut Ui, session: &mut Session) -> Result<(), CliError> {
    let fetched = session.refresh().and_then(|_| Waiting::of(session));
    let shown = show_unseen(ui, session.account(), None)?;
    let waiting = fetched?;
    show_waiting(ui, &waiting, Answer::Prompt, shown)?;
    waiting.seen(session)?;
    tell_nothing(ui, session.account(), shown + waiting.len());
    Ok(())
}

/// Brings everything here. The session stays open when there is a word to say after showing.
fn fetch(
    context: &mut Context<'_>,
    account: &Account,
    options: Options,
) -> Result<(Waiting, Option<Session>), CliError> {
    let mut session = context.open(account, options)?;
    let fetched = session.refresh().and_then(|_| Waiting::of(&mut session));
    match fetched {
        Ok(waiting) if !waiting.missed.is_empty() => Ok((waiting, Some(session))),
        fetched => {
            close(session);
            Ok((fetched?, None))
        }
    }
}

fn show_waiting(
    ui: &mut Ui,
    waiting: &Waiting,
    answer: Answer,
    above: usize,
) -> Result<(), CliError> {
    if above > 0 && !waiting.is_empty() {
        separate(ui)?;
    }
    waiting.show(ui, answer)
}

/// Says that there was nothing.
pub(crate) fn tell_nothing(ui: &mut Ui, account: &Account, shown: usize) {
    if shown == 0 {
        ui.note(format_args!("nothing new for {}", account.user()));
    }
}

/// Shows what the mailbox holds and nobody saw, and marks it. Returns how many things were shown.
pub(crate) fn show_unseen(
    ui: &mut Ui,
    account: &Account,
    limit: Option<usize>,
) -> Result<usize, CliError> {
    let mailbox = account.mailbox()?;
    file_lines(ui, account, &mailbox)?;
    let unseen = mailbox.unseen()?;
    let total = unseen.len();
    let shown = limit.unwrap_or(total).min(total);
    heading(ui, account, shown, total)?;
    let told = tell_trimmed(ui, &mailbox, total > 0)?;
    let mut done = 0;
    for (id, log) in unseen {
        if done == shown {
            break;
        }
        if show_one(ui, &mailbox, id, log)? {
            done += 1;
            if done % SYNC_EVERY == 0 {
                mailbox.sync_shown()?;
            }
        }
    }
    mailbox.sync_shown()?;
    Ok(told + done)
}

/// Marks as shown what this device has shown already, as lines of a chat.
fn file_lines(ui: &mut Ui, account: &Account, mailbox: &Mailbox) -> Result<(), CliError> {
    let shown = account.shown();
    if shown.is_empty() {
        return Ok(());
    }
    let mut filed = 0;
    for (id, log) in mailbox.unseen()? {
        let Some(claim) = mailbox.claim(id, log)? else {
            continue;
        };
        if shown.covers(&claim.read()?.envelope) {
            mailbox.mark_shown(&claim)?;
            filed += 1;
        }
    }
    if filed > 0 {
        mailbox.sync_shown()?;
        ui.note(format_args!(
            "{} of a chat came again as mail; shown before, not shown again",
            counted(filed, "line")
        ));
    }
    Ok(())
}

/// Claims, prints, flushes, marks. Returns whether it was this process that showed the mail.
fn show_one(ui: &mut Ui, mailbox: &Mailbox, id: MailId, log: LogNumber) -> Result<bool, CliError> {
    let Some(claim) = mailbox.claim(id, log)? else {
        return Ok(false); // another process shows it
    };
    let mail = claim.read()?;
    separate(ui)?;
    show::mail(ui, &mail.envelope, &mail.body)?;
    mailbox.mark_shown(&claim)?;
    Ok(true)
}

fn heading(ui: &mut Ui, account: &Account, shown: usize, total: usize) -> Result<(), CliError> {
    if ui.is_json() || total == 0 {
        return Ok(());
    }
    let user = account.user();
    let mails = counted(total as u64, "mail");
    if shown < total {
        ui.line(format_args!("{shown} of {mails} for {user}"))
    } else {
        ui.line(format_args!("{mails} for {user}"))
    }
}

fn separate(ui: &mut Ui) -> Result<(), CliError> {
    if ui.is_json() { Ok(()) } else { ui.line("") }
}

fn tell_trimmed(ui: &mut Ui, mailbox: &Mailbox, below: bool) -> Result<usize, CliError> {
    let Some(claim) = mailbox.claim_trimmed()? else {
        return Ok(0);
    };
    if below {
        separate(ui)?;
    }
    for notice in &claim.notices {
        trimmed(ui, notice)?;
    }
    let told = claim.notices.len();
    mailbox.told(claim)?;
    Ok(told)
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
    let waiting = Waiting::of(session)?;
    let lines = session.account().shown();
    let mut look = session.look()?;
    let mut left = limit.unwrap_or(usize::MAX);
    let mut any = false;
    while left > 0 {
        match look.next(session)? {
            None => break,
            Some(Arrival::Trimmed(notice)) => trimmed(ui, &notice)?,
            Some(Arrival::Mail(mail)) if lines.covers(&mail.envelope) => continue,
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
    show_waiting(ui, &waiting, Answer::Verb, usize::from(any))?;
    tell_nothing(ui, session.account(), usize::from(any) + waiting.len());
    Ok(())
}
