//! `mailctl refresh`: what is unseen, in id order, then invitations to chats. Each mail is claimed,
//! printed, flushed and only then marked, so it is shown again only if this process died while showing
//! it, or if it lay beyond where a pager was left. A mail that is a line of a chat which this device has shown is marked
//! and not shown, and one that came by several addresses is shown once.

use std::time::Duration;

use super::invitations::Waiting;
use super::showing::{Showing, show_each};
use super::{Context, away, close, receipts};
use crate::cli::args::Refresh;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::pager::{self, Idle};
use crate::cli::show::{self, Answer, counted};
use crate::cli::ui::Ui;
use crate::client::ClientError;
use crate::client::home::Account;
use crate::client::mailbox::{Mailbox, Place, TrimmedNotice, are_copies};
use crate::client::session::{Arrival, Options, Session};
use crate::protocol::reply::{Envelope, Trimmed};

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
    let (shown, receipts) = show_and_answer(context.ui, &account, args.limit, &mut pager::rest)?;
    let (waiting, session) = fetched?;
    receipts::send_alone(context, &account, &receipts);
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
    if matches!(fetched, Err(ClientError::Interrupted)) {
        return Err(ClientError::Interrupted.into());
    }
    let account = session.account().clone();
    let (shown, receipts) = show_and_answer(ui, &account, None, &mut |pause| keep(session, pause))?;
    let waiting = fetched?;
    receipts::send(ui, session, &receipts);
    show_waiting(ui, &waiting, Answer::Prompt, shown)?;
    waiting.seen(session)?;
    tell_nothing(ui, session.account(), shown + waiting.len());
    Ok(())
}

/// Keeps a session while somebody reads.
pub(crate) fn keep(session: &mut Session, pause: Duration) {
    // One that fails is noticed by the next word; here it must not turn into a busy wait.
    if session.keep(pause).is_err() {
        pager::rest(pause);
    }
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
        ui.note(tr!("nothing new for {}", account.user()));
    }
}

/// Shows what the mailbox holds and nobody saw, and marks what was shown. Returns how many things were.
pub(crate) fn show_unseen(
    ui: &mut Ui,
    account: &Account,
    limit: Option<usize>,
    idle: Idle<'_>,
) -> Result<usize, CliError> {
    show_and_answer(ui, account, limit, idle).map(|(shown, _)| shown)
}

/// As [`show_unseen`]; returns also which receipts wait in the outbox since.
fn show_and_answer(
    ui: &mut Ui,
    account: &Account,
    limit: Option<usize>,
    idle: Idle<'_>,
) -> Result<(usize, Vec<u64>), CliError> {
    let mut read = Vec::new();
    let shown = show_all(ui, account, limit, &mut read, idle)?;
    // After the marks: a receipt that a crash forgets is better than one given twice.
    let receipts = receipts::give(ui, account, &read)?;
    Ok((shown, receipts))
}

fn show_all(
    ui: &mut Ui,
    account: &Account,
    limit: Option<usize>,
    read: &mut Vec<Envelope>,
    idle: Idle<'_>,
) -> Result<usize, CliError> {
    let mailbox = account.mailbox()?;
    file_lines(ui, account, &mailbox)?;
    let unseen = grouped(ui, &mailbox, &mailbox.unseen()?)?;
    let total = unseen.len();
    let wanted = limit.unwrap_or(total).min(total);
    ui.page();
    away::heading(ui, account, &mailbox, wanted, total)?;
    let told = tell_trimmed(ui, &mailbox, total > 0)?;
    let mut showing = Showing::new(&mailbox);
    let shown = show_each(ui, &mut showing, &unseen, wanted, idle);
    let sheets = ui.end_pages(idle);
    showing.mark(*sheets.as_ref().unwrap_or(&0))?;
    mailbox.sync_shown()?;
    read.extend(showing.take_read());
    shown.and(sheets)?;
    showing.tell(ui, wanted);
    Ok(told + showing.begun())
}

/// Puts together the copies of one mail, where people read.
fn grouped(ui: &Ui, mailbox: &Mailbox, unseen: &[Place]) -> Result<Vec<Vec<Place>>, CliError> {
    if ui.is_json() {
        return Ok(unseen.iter().map(|place| vec![*place]).collect());
    }
    Ok(mailbox.together(unseen)?)
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
        ui.note(tr!(
            "{} of a chat came again as mail; shown before, not shown again",
            counted(filed, "line")
        ));
    }
    Ok(())
}

pub(super) fn separate(ui: &mut Ui) -> Result<(), CliError> {
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
    let mut ahead = None;
    while left > 0 {
        let arrival = match ahead.take() {
            Some(arrival) => arrival,
            None => match look.next(session)? {
                Some(arrival) => arrival,
                None => break,
            },
        };
        match arrival {
            Arrival::Trimmed(notice) => trimmed(ui, &notice)?,
            Arrival::Mail(mail) if lines.covers(&mail.envelope) => continue,
            Arrival::Mail(mail) => {
                if any {
                    separate(ui)?;
                }
                let mut addresses = vec![mail.envelope.address.clone()];
                // Copies follow one another.
                while !ui.is_json() && mail.envelope.to.len() > 1 && ahead.is_none() {
                    match look.next(session)? {
                        Some(Arrival::Mail(copy)) if are_copies(&mail, &copy) => {
                            addresses.push(copy.envelope.address);
                        }
                        None => break,
                        other => ahead = other,
                    }
                }
                show::mail_by(ui, &mail.envelope, &addresses, &mail.body)?;
                left -= 1;
            }
        }
        any = true;
    }
    show_waiting(ui, &waiting, Answer::Verb, usize::from(any))?;
    tell_nothing(ui, session.account(), usize::from(any) + waiting.len());
    Ok(())
}
