//! `mailctl whoami`: who you are, and where. The device's number is the server's word, so it is not
//! known while the server does not answer; the rest is.

use serde_json::json;

use super::Context;
use crate::cli::error::CliError;
use crate::cli::json::object;
use crate::client::session;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>) -> Result<(), CliError> {
    let account = context.account()?;
    let answer = session::probe(account.place(), account.keys(), context.globals.timeout);
    let hello = match answer {
        Ok(hello) => Some(hello),
        Err(error) if error.retryable() => {
            context.ui.warn(&error);
            None
        }
        Err(error) => return Err(error.into()),
    };
    if hello.as_ref().is_some_and(|hello| hello.user.is_none()) {
        context
            .ui
            .warn("the server does not know this device (any more); log in again");
    }
    let device = hello.and_then(|hello| hello.device);
    let (user, url) = (account.user(), &account.place().url);
    let number = device.map_or_else(|| "unknown".to_owned(), |device| device.to_string());
    context.ui.result(
        &object(json!({
            "user": user.as_str(),
            "device": device,
            "server": url.to_string(),
            "key": hex::encode(account.keys().public),
            "home": account.folder(),
        })),
        format_args!(
            "{user} (device {number}) at {}\nkey and mail in {}",
            url.endpoint(url.port),
            account.folder().display()
        ),
    )
}
