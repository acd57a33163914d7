//! `mailctl errors`: what the word of an error means, and what to do.

use serde_json::{Value, json};

use super::Context;
use crate::cli::args::Errors;
use crate::cli::codes::{self, Word};
use crate::cli::error::CliError;
use crate::cli::i18n::{text, tr};
use crate::cli::json::object;
use crate::cli::ui::Table;
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Errors) -> Result<(), CliError> {
    let Some(asked) = &args.code else {
        return list(context);
    };
    // As it stands in `error[no_answer]`.
    let word = asked.trim_start_matches("error[").trim_end_matches(']');
    let row = codes::find(word).ok_or_else(|| unknown(word))?;
    let side = if row.is_servers {
        tr!("the server's")
    } else {
        tr!("mailctl's own")
    };
    let again = if row.retryable {
        tr!("the same command may succeed later")
    } else {
        tr!("the same command fails again unless something changes")
    };
    let exit = tr!("exit code {}", exits(row));
    let human = format!(
        "{word}: {}\n  {}\n  {side}; {exit}; {again}",
        text(row.meaning),
        text(row.advice),
    );
    context.ui.result(&object(fields(row)), human)
}

fn list(context: &mut Context<'_>) -> Result<(), CliError> {
    let rows = shown();
    if context.ui.is_json() {
        let rows = rows.into_iter().map(|row| object(fields(row)));
        return rows.into_iter().try_for_each(|row| context.ui.object(&row));
    }
    let mut table = Table::new(&[tr!("Code"), tr!("Exit"), tr!("Meaning")]);
    for row in rows {
        table.row(&[&row.word, &exits(row), &text(row.meaning)]);
    }
    table.print(context.ui)?;
    context
        .ui
        .note(tr!("what to do about one: mailctl errors CODE"));
    Ok(())
}

/// All that anybody can meet.
fn shown() -> Vec<Word> {
    let mut all = codes::all();
    all.retain(|row| row.exits != [exit::OK]);
    all
}

fn exits(row: Word) -> String {
    let exits: Vec<String> = row.exits.iter().map(ToString::to_string).collect();
    exits.join(", ")
}

fn fields(row: Word) -> Value {
    json!({
        "code": row.word,
        "exits": row.exits,
        "retryable": row.retryable,
        "side": if row.is_servers { "server" } else { "mailctl" },
        "meaning": row.meaning,
        "advice": row.advice,
    })
}

fn unknown(word: &str) -> CliError {
    let near = shown()
        .into_iter()
        .map(|row| (strsim::jaro_winkler(word, row.word), row.word))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let error = CliError::new(
        "no_such_code",
        exit::DATA,
        tr!("no error is called {}", word),
    );
    match near {
        Some((_, near)) => error.hint(tr!("did you mean {}?", near)),
        None => error.hint(tr!("list them: mailctl errors")),
    }
}
