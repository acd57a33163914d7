//! `mailctl undo`: takes back what was done last, as long as that can be: an `rm` (once more, the one before it), or a
//! send that is held back. Asks no server.

use chrono::DateTime;
use serde_json::json;

use super::Context;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::{self, object};
use crate::cli::show::counted;
use crate::cli::times;
use crate::cli::ui::Ui;
use crate::client::home::Account;
use crate::client::outbox::TakenBack;
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>) -> Result<(), CliError> {
    let account = context.account_as_it_lies()?;
    take_back(context.ui, &account)
}

/// Takes back whichever was done last.
pub(crate) fn take_back(ui: &mut Ui, account: &Account) -> Result<(), CliError> {
    let now_ms = times::now().timestamp_millis();
    let held = account.outbox()?.held(now_ms)?;
    let thrown = account.mailbox()?.last_trashed()?;
    let thrown_ms = thrown.map(|at| {
        let at = DateTime::parse_from_rfc3339(&at);
        at.map_or(0, |at| at.timestamp_millis())
    });
    match (held, thrown_ms) {
        (Some((_, since_ms)), thrown_ms) if thrown_ms.is_none_or(|thrown| thrown <= since_ms) => {
            take_send_back(ui, account, now_ms)
        }
        _ => take_rm_back(ui, account),
    }
}

fn take_send_back(ui: &mut Ui, account: &Account, now_ms: i64) -> Result<(), CliError> {
    match account.outbox()?.take_back(now_ms)? {
        TakenBack::Draft { entry, to } => {
            let fields = json!({"entry": entry, "state": "draft", "to": to});
            let to = to.join(", ");
            ui.result(
                &object(fields),
                tr!(
                    "taken back: nothing was sent to {}; it is draft {}",
                    to,
                    entry
                ),
            )
        }
        TakenBack::TooLate { entry } => Err(CliError::new(
            "busy",
            exit::TEMPORARY,
            tr!("too late: {} is being sent at this moment", entry),
        )),
        TakenBack::Nothing => Err(nothing()),
    }
}

fn take_rm_back(ui: &mut Ui, account: &Account) -> Result<(), CliError> {
    let back = account.mailbox()?.untrash()?;
    if back.is_empty() {
        return Err(nothing());
    }
    if ui.is_json() {
        let row = |called| object(json!({"id": json::id(called), "restored": true}));
        return back.iter().try_for_each(|called| ui.object(&row(called)));
    }
    ui.line(match back.as_slice() {
        [called] => tr!("mail {} is back", called),
        back => tr!("{} are back", counted(back.len() as u64, "mail")),
    })
}

fn nothing() -> CliError {
    CliError::new("nothing_to_undo", exit::DATA, tr!("there is nothing to undo; what was sent cannot be taken back"))
        .hint(tr!("undo takes back: mailctl rm ID, as long as it was not --purge; mailctl send --undo 10s, until the time is over"))
}
