//! `mailctl status`: how much is unread, per address, in one line for prompts and status bars. Fetches,
//! marks and acknowledges nothing.

use serde_json::{Value, json};

use super::{Context, close};
use crate::cli::args::Status;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::untrusted::visible;
use crate::client::home::Account;
use crate::client::session::{Options, Unread, unread_here};
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: Status) -> Result<(), CliError> {
    let account = if args.offline {
        context.account_with_settings()?
    } else {
        context.account()?
    };
    let (mut unread, asked) = if args.offline {
        (here(&account)?, Ok(()))
    } else {
        match at_server(context, &account) {
            Ok(unread) => (unread, Ok(())),
            Err(error) if error.exit == exit::UNAVAILABLE => (here(&account)?, Err(error)),
            Err(error) => return Err(error),
        }
    };
    let muted = account.muted().read();
    unread.retain(|address, _| !muted.cover(address));
    let total: u64 = unread.values().sum();
    let user = account.user().as_str();
    let addresses: Vec<Value> = rows(&unread, user)
        .map(|(address, unread)| json!({"address": address, "unread": unread}))
        .collect();
    let human = if args.short {
        total.to_string()
    } else {
        line(&unread, user)
    };
    context.ui.result(
        &object(json!({
            "user": user,
            "unread": total,
            "addresses": addresses,
            "complete": asked.is_ok() && !args.offline,
        })),
        human,
    )?;
    asked?;
    if args.exit_code && total == 0 {
        return Err(CliError::silent(exit::NOTHING));
    }
    Ok(())
}

fn here(account: &Account) -> Result<Unread, CliError> {
    Ok(unread_here(&account.mailbox()?)?)
}

fn at_server(context: &mut Context<'_>, account: &Account) -> Result<Unread, CliError> {
    let options = Options {
        no_ack: true,
        want_stream: false,
        ..context.one_shot()
    };
    let session = context.connect(account, options)?;
    let unread = session.unread();
    close(session);
    Ok(unread?)
}

/// Returns the counts, the user's own first.
fn rows<'a>(unread: &'a Unread, user: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    let own = unread.get(user).map(|count| (user, *count));
    let others = unread.iter().filter(move |(address, _)| *address != user);
    own.into_iter()
        .chain(others.map(|(address, count)| (address.as_str(), *count)))
}

/// `bob: 3 unread (bob 2, news 1)`.
fn line(unread: &Unread, user: &str) -> String {
    let total: u64 = unread.values().sum();
    if total == 0 {
        return tr!("{user}: nothing unread", user = user);
    }
    let each: Vec<String> = rows(unread, user)
        .map(|(address, count)| format!("{} {count}", visible(address)))
        .collect();
    tr!(
        "{user}: {total} unread ({each})",
        user = user,
        total = total,
        each = each.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_mail_stands_first_and_names_cannot_act() {
        let unread = Unread::from([
            ("alarms".to_owned(), 1),
            ("bob".to_owned(), 2),
            ("z\u{1b}[2J".to_owned(), 1),
        ]);
        assert_eq!(
            line(&unread, "bob"),
            "bob: 4 unread (bob 2, alarms 1, z␛[2J 1)"
        );
        assert_eq!(line(&Unread::new(), "bob"), "bob: nothing unread");
    }
}
