//! `mailctl undo`: takes the last `rm` back; once more, the one before it. Asks no server.

use serde_json::json;

use super::Context;
use crate::cli::error::CliError;
use crate::cli::json::object;
use crate::cli::show::counted;
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>) -> Result<(), CliError> {
    let back = context.account()?.mailbox()?.untrash()?;
    if back.is_empty() {
        let nothing = CliError::new("nothing_to_undo", exit::DATA, "there is nothing to undo");
        return Err(nothing.hint("undo takes back: mailctl rm ID, as long as it was not --purge"));
    }
    if context.ui.is_json() {
        let row = |id: &u64| object(json!({"id": id, "restored": true}));
        return back.iter().try_for_each(|id| context.ui.object(&row(id)));
    }
    context.ui.line(match back.as_slice() {
        [id] => format!("mail {id} is back"),
        back => format!("{} are back", counted(back.len() as u64, "mail")),
    })
}
