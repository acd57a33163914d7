//! `mailctl use USER`: makes an account of this home the one that verbs act as.

use serde_json::json;

use super::{Context, user_name};
use crate::cli::args::Use;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Use) -> Result<(), CliError> {
    let user = user_name(&args.user)?;
    let place = context.named_place()?;
    let home = context.home()?;
    let account = home.account(place.as_ref().map(|place| &place.url.key), Some(&user))?;
    home.set_default(&account)?;
    let url = &account.place().url;
    context.ui.result(
        &object(json!({"user": user.as_str(), "server": url.to_string()})),
        tr!("you are {} now, at {}", user, url.endpoint(url.port)),
    )
}
