//! Mails that are not sent now: drafts, those that wait for their time, and those that are held back for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{Context, close, send, settle};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::times::{self, At};
use crate::cli::ui::Ui;
use crate::client::home::Account;
use crate::client::outbox::{Draft, Standing, TakenBack};
use crate::protocol::codes::exit;

/// How long a Ctrl-C, or an `undo` in another terminal, may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Keeps a draft.
pub(crate) fn keep(ui: &mut Ui, account: &Account, draft: &Draft) -> Result<(), CliError> {
    let entry = account.outbox()?.keep(draft, false)?;
    told(
        ui,
        entry,
        "draft",
        draft,
        None,
        tr!("kept as draft {}", entry),
    )?;
    ui.note(tr!("send it: mailctl draft send {}", entry));
    Ok(())
}

/// Puts a mail into the outbox that is to be sent at a time.
pub(crate) fn schedule(
    ui: &mut Ui,
    account: &Account,
    draft: &Draft,
    at: At,
) -> Result<(), CliError> {
    let at = at
        .after(&times::now())
        .map_err(|why| CliError::usage(tr!("--at: {}", why)))?;
    let at_ms = at.timestamp_millis();
    let entry = account
        .outbox()?
        .keep_until(draft, Standing::Scheduled(at_ms))?;
    let when = times::human(&times::json_of(at_ms));
    told(
        ui,
        entry,
        "scheduled",
        draft,
        Some(at_ms),
        tr!("to be sent at {}: {}", when, entry),
    )?;
    ui.note(tr!("it waits in the outbox; the first mailctl that runs or stands here after that sends it. Not at all: mailctl outbox rm {}", entry));
    Ok(())
}

fn told(
    ui: &mut Ui,
    entry: u64,
    state: &str,
    draft: &Draft,
    at_ms: Option<i64>,
    human: String,
) -> Result<(), CliError> {
    let fields = json!({
        "entry": entry,
        "state": state,
        "to": draft.to,
        "subject": draft.subject,
        "at": at_ms.map(times::json_of),
    });
    ui.result(&object(fields), human)
}

/// Puts a mail into the outbox that can be taken back for a while. Returns its number there, and until when.
fn hold_back(account: &Account, draft: &Draft, time: Duration) -> Result<(u64, i64), CliError> {
    let since_ms = times::now().timestamp_millis();
    let until_ms = since_ms.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let held = Standing::Held { since_ms, until_ms };
    Ok((account.outbox()?.keep_until(draft, held)?, until_ms))
}

/// Holds a mail back in the shell, which sends it when it is time.
pub(crate) fn hold_in_shell(
    ui: &mut Ui,
    account: &Account,
    draft: &Draft,
    time: Duration,
) -> Result<(), CliError> {
    hold_back(account, draft, time)?;
    ui.note(tr!(
        "to {} in {}; undo takes it back",
        draft.to.join(", "),
        humantime::format_duration(time)
    ));
    Ok(())
}

/// Holds a mail back, waits, and sends it unless it was taken back.
pub(crate) fn hold(
    context: &mut Context<'_>,
    account: &Account,
    draft: &Draft,
    time: Duration,
) -> Result<(), CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|e| CliError::io(tr!("listen for signals"), &e))?;
    }
    let (entry, until_ms) = hold_back(account, draft, time)?;
    context.ui.report(tr!(
        "held back for {} as {}; Ctrl-C or mailctl undo takes it back",
        humantime::format_duration(time),
        entry
    ));
    let outbox = account.outbox()?;
    while times::now().timestamp_millis() < until_ms {
        if stop.load(Ordering::Relaxed) {
            let back = outbox.take_back_entry(entry)?;
            if matches!(back, TakenBack::Draft { .. }) {
                return Err(taken_back(entry));
            }
            break;
        }
        if !outbox.all_held()?.contains(&entry) {
            break;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    send_held(context, account, entry)
}

fn send_held(context: &mut Context<'_>, account: &Account, entry: u64) -> Result<(), CliError> {
    let outbox = account.outbox()?;
    if outbox.all_held()?.contains(&entry) {
        let options = context.one_shot();
        let mut session = context.connect(account, options)?;
        let sent = session.send_held(entry);
        let settled = settle(context.ui, &mut session);
        close(session);
        settled?;
        if let Some(sent) = sent? {
            return send::show_sent(context.ui, &sent.result?);
        }
    }
    if outbox.drafts()?.contains(&entry) {
        return Err(taken_back(entry));
    }
    context
        .ui
        .report(tr!("another mailctl has sent it, or threw it away"));
    Ok(())
}

fn taken_back(entry: u64) -> CliError {
    CliError::new(
        "cancelled",
        exit::USAGE,
        tr!("taken back: nothing was sent; it is draft {}", entry),
    )
    .hint(tr!("send it: mailctl draft send {}", entry))
}
