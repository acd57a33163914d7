//! `mailctl json-schema`: the schema of what a verb prints under `--json`.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::Context;
use crate::cli::args::JsonSchema;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::schema::{self, Row, VERBS};
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &JsonSchema) -> Result<(), CliError> {
    if let [dir] = &args.what[..]
        && dir.contains('/')
    {
        return write_all(context, dir.as_ref());
    }
    let verb = args.what.join(" ");
    if verb.is_empty() {
        return VERBS.iter().try_for_each(|row| {
            let fields = json!({"verb": row.verb});
            context.ui.result(&object(fields), row.verb)
        });
    }
    // `outbox` alone does as `outbox ls`.
    let listing = format!("{verb} ls");
    let found = find(&verb).or_else(|| find(&listing)).ok_or_else(|| {
        CliError::usage(tr!("no verb {} prints objects", verb))
            .hint(tr!("list them: mailctl json-schema"))
    })?;
    print(context, found)
}

fn find(verb: &str) -> Option<&'static Row> {
    VERBS.iter().find(|row| row.verb == verb)
}

fn print(context: &mut Context<'_>, row: &Row) -> Result<(), CliError> {
    let schema = schema::of(row, false);
    let text = pretty(&schema)?;
    let fields = json!({"verb": row.verb, "schema": schema});
    context.ui.result(&object(fields), text)
}

fn pretty(schema: &serde_json::Value) -> Result<String, CliError> {
    serde_json::to_string_pretty(schema)
        .map_err(|error| CliError::new("internal", exit::SOFTWARE, error.to_string()))
}

fn write_all(context: &mut Context<'_>, dir: &Path) -> Result<(), CliError> {
    let deed = tr!("write into {}", dir.display());
    let cannot = |error| CliError::io(&deed, &error).exits(exit::CANT_CREATE);
    fs::create_dir_all(dir).map_err(cannot)?;
    for row in VERBS {
        let name = row.verb.replace(' ', "-");
        let path = dir.join(format!("mailctl-{name}.schema.json"));
        let text = pretty(&schema::of(row, false))? + "\n";
        fs::write(&path, text).map_err(cannot)?;
        let fields = json!({"verb": row.verb, "path": path});
        context.ui.result(&object(fields), path.display())?;
    }
    Ok(())
}
