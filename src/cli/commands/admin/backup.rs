//! `mailctl admin backup`: the whole server as it is now, while it goes on.

use std::io::{self, IsTerminal};
use std::path::Path;

use serde_json::json;

use super::super::Context;
use super::super::export::NewFile;
use super::identity;
use crate::cli::args::AdminBackup;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::show::size;
use crate::cli::untrusted::visible;
use crate::client::session::Administrator;

/// Stands for standard output.
const STREAM: &str = "-";

/// Runs the verb.
pub(super) fn run(context: &mut Context<'_>, args: &AdminBackup) -> Result<(), CliError> {
    let is_stream = args.file == Path::new(STREAM);
    if is_stream && io::stdout().is_terminal() {
        return Err(CliError::usage(tr!(
            "- stands for a pipe, and this is a terminal; name a file"
        )));
    }
    let mut file = if is_stream {
        None
    } else {
        Some(NewFile::create(&args.file)?)
    };
    let (place, keys) = identity(context)?;
    let mut administrator = Administrator::connect(&place, &keys, context.globals.timeout)?;
    let ui = &mut *context.ui;
    let mut bytes = 0;
    administrator.backup::<CliError>(|part| {
        match &mut file {
            Some(file) => file.write(part)?,
            None => ui.raw(part)?,
        }
        bytes += part.len() as u64;
        ui.pass(Some(&size(bytes)));
        Ok(())
    })?;
    ui.pass(None);
    match file {
        Some(file) => file.finish()?,
        None => ui.flush()?,
    }
    let told = object(json!({"file": args.file.display().to_string(), "bytes": bytes}));
    let name = if is_stream {
        "FILE".into()
    } else {
        args.file.display().to_string()
    };
    let human = tr!(
        "the backup is whole: {}; the server's secret keys are in it. To put it back: mailserver restore --data-dir NEW_FOLDER {}",
        size(bytes),
        visible(&name)
    );
    if is_stream {
        ui.report_as(&told, human);
        return Ok(());
    }
    ui.result(&told, human)
}
