//! `mailctl admin queue peek --body`: what waits at an address, whole. It stands in the audit, and the addressee is
//! told.

use serde_json::Value;

use super::super::Context;
use super::identity;
use crate::cli::args::{Peek, bare};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::{object, with_body};
use crate::cli::show;
use crate::cli::untrusted::visible;
use crate::client::session::Administrator;
use crate::protocol::reply::Envelope;
use crate::protocol::request::{Admin, AdminWhat};

/// Runs the verb.
pub(super) fn run(context: &mut Context<'_>, args: &Peek) -> Result<(), CliError> {
    let (place, keys) = identity(context)?;
    let mut administrator = Administrator::connect(&place, &keys, context.globals.timeout)?;
    let mut question = Admin::new(AdminWhat::QueuePeek, Some(bare(&args.address).to_owned()));
    question.particulars.id = args.id;
    let ui = &mut *context.ui;
    let mut mails = 0;
    administrator.look::<CliError>(question, |row, body| {
        let is_live = row["state"] == "live";
        mails += u64::from(is_live);
        if ui.is_json() {
            return ui.object(&object(with_body(row, is_live.then_some(body.as_slice()))));
        }
        match envelope(&row) {
            Some(envelope) if is_live => show::mail(ui, &envelope, &body),
            _ => ui.line(tr!("{}  expired: its text is gone", row["id"])),
        }
    })?;
    let address = visible(&args.address);
    if mails == 0 {
        ui.note(tr!("nothing waits at {}", address));
    } else {
        ui.note(tr!(
            "this stands in the audit, and {} is told by a mail",
            address
        ));
    }
    Ok(())
}

fn envelope(row: &Value) -> Option<Envelope> {
    serde_json::from_value(row.clone()).ok()
}
