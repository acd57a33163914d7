//! `mailctl whoami`: who you are, and where. The device's number is the server's word, so it is not
//! known while the server does not answer; the rest is.

use serde_json::json;

use super::{Context, close};
use crate::cli::error::{CliError, client_text};
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::protocol::codes::Code;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>) -> Result<(), CliError> {
    let account = context.account()?;
    let options = context.one_shot();
    let device = match context.open(&account, options) {
        Ok(session) => {
            let device = session.login().device;
            close(session);
            Some(device)
        }
        Err(error) if error.retryable() || error.is_refused(Code::NotRegistered) => {
            context.ui.warn(client_text(&error));
            None
        }
        Err(error) => return Err(error.into()),
    };
    let (user, url) = (account.user(), &account.place().url);
    let number = device.map_or_else(|| tr!("unknown").to_owned(), |device| device.to_string());
    context.ui.result(
        &object(json!({
            "user": user.as_str(),
            "device": device,
            "server": url.to_string(),
            "key": hex::encode(account.public_key()),
            "home": account.folder(),
        })),
        tr!(
            "{} (device {}) at {}\nkey and mail in {}",
            user,
            number,
            url.endpoint(url.port),
            account.folder().display()
        ),
    )
}
