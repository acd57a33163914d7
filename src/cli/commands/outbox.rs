//! `mailctl outbox`: what was written and has no outcome yet.

use serde_json::json;

use super::{Context, close, send};
use crate::cli::args::{Entry, Outbox as Verb};
use crate::cli::error::{CliError, refusal_text};
use crate::cli::i18n::{tr, tr_n};
use crate::cli::json::object;
use crate::cli::show;
use crate::cli::times;
use crate::cli::ui::{Table, Ui};
use crate::client::home::Account;
use crate::client::outbox::{Listed, Refusal, Standing};
use crate::client::session::{Retried, Session, Which};
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Ls => {
            let account = context.account_as_it_lies()?;
            list(context.ui, &account)
        }
        Verb::Retry(entry) => retry_alone(context, entry),
        Verb::Rm(entry) => {
            let account = context.account_as_it_lies()?;
            remove(context.ui, &account, entry.number)
        }
    }
}

/// Lists what is there.
pub(crate) fn list(ui: &mut Ui, account: &Account) -> Result<(), CliError> {
    let entries = account.outbox()?.list()?;
    if ui.is_json() {
        let rows = entries.iter().map(row);
        return rows.map(object).try_for_each(|row| ui.object(&row));
    }
    if entries.is_empty() {
        ui.note(tr!("the outbox is empty"));
        return Ok(());
    }
    print(ui, &entries)?;
    tell_refused(ui, &entries);
    Ok(())
}

/// Says of each draft that was refused by whom and why, and how to mend it.
pub(super) fn tell_refused(ui: &mut Ui, entries: &[Listed]) {
    let mut refused = entries.iter().filter(|entry| !entry.refused.is_empty());
    for entry in refused.clone() {
        let told = entry.refused.iter().map(|told| {
            let text = refusal_text(&told.error);
            format!("{}: {text}", told.address)
        });
        let told: Vec<String> = told.collect();
        ui.note(tr!("{} was refused: {}", entry.entry, told.join("; ")));
    }
    if refused.next().is_some() {
        ui.note(tr!(
            "send a draft anew: mailctl draft send N, to somebody else: mailctl draft send N --to NAME"
        ));
    }
}

/// Prints entries as a table. When one is to be sent has a column where some wait for a time.
pub(super) fn print(ui: &mut Ui, entries: &[Listed]) -> Result<(), CliError> {
    let has_times = entries
        .iter()
        .any(|entry| entry.standing.due_ms().is_some());
    let bytes = format!(">{}", tr!("Bytes"));
    let mut headings = vec![">N", tr!("State"), tr!("To"), &bytes, tr!("Subject")];
    if has_times {
        headings.insert(2, tr!("At"));
    }
    let mut table = Table::new(&headings);
    for entry in entries {
        let to = entry.to.join(", ");
        let at = entry
            .standing
            .due_ms()
            .map(|at| times::human(&times::json_of(at)));
        let (at, state) = (
            at.unwrap_or_default(),
            show::cell("state", &state(entry).into()),
        );
        let mut cells: Vec<&dyn std::fmt::Display> =
            vec![&entry.entry, &state, &to, &entry.size, &entry.subject];
        if has_times {
            cells.insert(2, &at);
        }
        table.row(&cells);
    }
    table.print(ui)
}

/// Returns the fields of an entry. `at` is when it is to be sent, null where it waits for no time.
pub(super) fn row(entry: &Listed) -> serde_json::Value {
    json!({
        "entry": entry.entry,
        "state": state(entry),
        "to": entry.to,
        "subject": entry.subject,
        "size": entry.size,
        "at": entry.standing.due_ms().map(times::json_of),
        "refused": entry.refused.iter().map(refused_row).collect::<Vec<_>>(),
    })
}

fn refused_row(told: &Refusal) -> serde_json::Value {
    json!({
        "address": told.address,
        "code": told.error.code.word(),
        "text": told.error.text,
        "retryable": told.error.retryable,
    })
}

/// Returns the word for where an entry stands, in listings and JSON.
fn state(entry: &Listed) -> &'static str {
    match entry.standing {
        _ if entry.busy => "sending",
        Standing::Draft | Standing::Unsent => "draft",
        Standing::Queued => "queued",
        Standing::Scheduled(_) => "scheduled",
        Standing::Held { .. } => "held",
        Standing::InDoubt(_) => "in_doubt",
        Standing::Lost { .. } => "lost",
        Standing::Damaged { .. } => "damaged",
    }
}

/// Sends what waits by a session of its own.
pub(super) fn retry_alone(context: &mut Context<'_>, entry: Entry) -> Result<(), CliError> {
    let account = context.account()?;
    // What is not there is found without the server.
    make_sure(&account, entry)?;
    let options = context.one_shot();
    let mut session = context.connect(&account, options)?;
    let done = retry(context.ui, &mut session, entry);
    close(session);
    done
}

fn make_sure(account: &Account, entry: Entry) -> Result<(), CliError> {
    if let Some(number) = entry.number {
        let listed = account.outbox()?.list()?;
        let found = listed.iter().find(|listed| listed.entry == number);
        found.ok_or_else(|| no_entry(number))?;
    }
    Ok(())
}

/// Sends what waits: one entry, or all in their order.
pub(crate) fn retry(ui: &mut Ui, session: &mut Session, entry: Entry) -> Result<(), CliError> {
    make_sure(session.account(), entry)?;
    // Those of before: what is refused now says so itself.
    let left = match entry.number {
        Some(_) => Vec::new(),
        None => session.outbox().drafts()?,
    };
    let retried = match entry.number {
        Some(number) => session.retry_entry(number)?.into_iter().collect(),
        None => session.retry_outbox(Which::All)?,
    };
    if retried.is_empty() && left.is_empty() {
        ui.note(tr!("there is nothing to send"));
    }
    let mut first = Ok(());
    for retried in retried {
        first = first.and(show(ui, retried));
    }
    tell_left(ui, &left);
    first
}

/// Says which drafts wait for their own word.
fn tell_left(ui: &mut Ui, left: &[u64]) {
    if left.is_empty() {
        return;
    }
    let numbers: Vec<String> = left.iter().map(u64::to_string).collect();
    ui.report(tr_n!(
        left.len() as u64,
        "{n} draft was left alone ({numbers}); send it: mailctl draft send N",
        "{n} drafts were left alone ({numbers}); send one: mailctl draft send N",
        numbers = numbers.join(", ")
    ));
}

fn show(ui: &mut Ui, retried: Retried) -> Result<(), CliError> {
    match retried.result {
        Ok(sent) => send::show_sent(ui, &sent),
        Err(error) => {
            let told = CliError::from(error);
            let told = if retried.to.is_empty() {
                told
            } else {
                told.about(&tr!("{} to {}", retried.entry, retried.to.join(", ")))
            };
            ui.error(&told);
            Err(CliError::silent(told.exit))
        }
    }
}

/// Throws an entry away.
pub(crate) fn remove(ui: &mut Ui, account: &Account, entry: u64) -> Result<(), CliError> {
    let outbox = account.outbox()?;
    let listed = outbox.list()?;
    let found = listed
        .iter()
        .find(|listed| listed.entry == entry)
        .ok_or_else(|| no_entry(entry))?;
    if !outbox.remove(entry)? {
        return Err(CliError::new(
            "busy",
            exit::TEMPORARY,
            tr!("{} is being sent right now", entry),
        ));
    }
    if matches!(found.standing, Standing::InDoubt(_) | Standing::Lost { .. }) {
        ui.report(tr!("it had been tried: it may have arrived all the same"));
    }
    let fields = json!({"entry": entry, "removed": true});
    ui.result(&object(fields), tr!("removed {}", entry))
}

fn no_entry(entry: u64) -> CliError {
    CliError::new(
        "no_such_entry",
        exit::DATA,
        tr!("there is no {} in the outbox", entry),
    )
    .hint(tr!("list it with: mailctl outbox ls"))
}
