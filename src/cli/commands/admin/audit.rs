//! `mailctl admin audit`: what administrators did.

use std::time::Duration;

use serde_json::Value;

use super::super::Context;
use super::identity;
use crate::cli::args::Audit;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::times;
use crate::cli::untrusted::visible;
use crate::client::session::Administrator;
use crate::protocol::request::{Admin, AdminWhat};

/// How often who follows asks for more.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the verb.
pub(super) fn run(context: &mut Context<'_>, args: &Audit) -> Result<(), CliError> {
    let (place, keys) = identity(context)?;
    let mut administrator = Administrator::connect(&place, &keys, context.globals.timeout)?;
    let mut question = Admin::new(AdminWhat::AuditLs, None);
    question.after = args.after.map(|after| after.to_string());
    let rows = administrator.rows(question.clone())?;
    if rows.is_empty() && !args.follow {
        context.ui.note(tr!("none"));
    }
    let mut last = args.after.unwrap_or(0);
    show(context, &rows, &mut last)?;
    let mut is_gone = false;
    if !args.follow {
        return Ok(());
    }
    loop {
        administrator.wait(PAUSE)?;
        question.after = Some(last.to_string());
        match administrator.rows(question.clone()) {
            Ok(rows) => {
                is_gone = false;
                show(context, &rows, &mut last)?;
            }
            Err(error) if error.retryable() => {
                if !is_gone {
                    context
                        .ui
                        .note(tr!("the server does not answer; going on when it does"));
                }
                is_gone = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn show(context: &mut Context<'_>, rows: &[Value], last: &mut u64) -> Result<(), CliError> {
    for row in rows {
        *last = row["number"].as_u64().unwrap_or(*last);
        context.ui.result(&object(row), line(row))?;
        context.ui.flush()?;
    }
    Ok(())
}

/// One deed in one line: `7  2026-11-30 15:00  ana  user_rm  bob  mails 3, bytes 20  noted`.
fn line(row: &Value) -> String {
    let word = |field: &str| visible(row[field].as_str().unwrap_or_default());
    let by = match row["by"].as_str() {
        Some(by) => visible(by),
        None => tr!("(admin key)").to_owned(),
    };
    let at = times::human(row["at"].as_str().unwrap_or_default());
    let counts: Vec<String> = row["counts"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(what, many)| format!("{} {}", visible(what), visible(&many.to_string())))
        .collect();
    let parts = [
        row["number"].to_string(),
        at,
        by,
        word("what"),
        word("address"),
        counts.join(", "),
        word("note"),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn p12_a_deed_is_a_line_that_cannot_act() {
        let row = json!({
            "number": 7, "at": "not a time", "by": null, "what": "key_revoke", "address": "bob",
            "counts": {"sessions": 1}, "note": "device 2 \"\u{1b}[2J\"",
        });
        let shown = line(&row);
        assert_eq!(
            shown,
            "7  not a time  (admin key)  key_revoke  bob  sessions 1  device 2 \"␛[2J\""
        );
    }
}
