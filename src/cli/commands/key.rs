//! `mailctl key`: the key that is this device.

use serde_json::json;

use super::{Context, settle};
use crate::chat::fingerprint::key_words;
use crate::cli::args::{Key as Verb, KeyProtect};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::passphrase;
use crate::client::home::Account;
use crate::client::session;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, verb: &Verb) -> Result<(), CliError> {
    match verb {
        Verb::Show => show(context),
        Verb::Rotate => rotate(context),
        Verb::Protect(args) => protect(context, args),
        Verb::Unprotect => unprotect(context),
    }
}

fn show(context: &mut Context<'_>) -> Result<(), CliError> {
    let account = context.account_as_it_lies()?;
    let words = key_words(account.public_key());
    let how = if account.is_protected() {
        tr!("under a passphrase")
    } else {
        tr!("not encrypted; a passphrase for it: mailctl key protect")
    };
    let path = account.key_file();
    context.ui.result(
        &object(json!({
            "user": account.user().as_str(),
            "key": hex::encode(account.public_key()),
            "fingerprint": words,
            "path": path,
            "protected": account.is_protected(),
        })),
        tr!(
            "{} on this device: {}\n{} (mode 0600, {})",
            account.user(),
            words,
            path.display(),
            how
        ),
    )
}

/// Takes another key. What earlier runs left in doubt is settled first, as every verb does.
fn rotate(context: &mut Context<'_>) -> Result<(), CliError> {
    let account = context.account()?;
    let options = context.one_shot();
    let mut session = context.connect(&account, options.clone())?;
    settle(context.ui, &mut session)?;
    let account = session.account().clone();
    drop(session.close());
    let account = session::rotate(&account, &options)?;
    let (user, key) = (account.user(), account.public_key());
    context.ui.result(
        &object(json!({
            "user": user.as_str(),
            "key": hex::encode(key),
            "fingerprint": key_words(key),
        })),
        tr!(
            "{} has another key on this device, {}; the old one is worth nothing any more",
            user,
            key_words(key)
        ),
    )
}

fn protect(context: &mut Context<'_>, args: &KeyProtect) -> Result<(), CliError> {
    let account = context.account()?;
    let file = args.new_passphrase_file.as_deref();
    let passphrase = passphrase::choose(context.ui, file)?;
    let account = account.protect(Some(passphrase))?;
    tell(context, &account)
}

fn unprotect(context: &mut Context<'_>) -> Result<(), CliError> {
    let account = context.account()?;
    let account = account.protect(None)?;
    tell(context, &account)
}

fn tell(context: &mut Context<'_>, account: &Account) -> Result<(), CliError> {
    let path = account.key_file();
    let is_protected = account.is_protected();
    let human = if is_protected {
        tr!(
            "{} is under a passphrase; without it the key is lost: nobody can give it back",
            path.display()
        )
    } else {
        tr!("{} is under no passphrase any more", path.display())
    };
    context.ui.result(
        &object(json!({
            "user": account.user().as_str(),
            "path": path,
            "protected": is_protected,
        })),
        human,
    )
}
