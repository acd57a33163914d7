//! `mailctl receipts`, and the receipts that a `refresh` gives.

use serde_json::json;

use super::{Context, close};
use crate::cli::args::{ReceiptPolicy, Receipts};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::ui::Ui;
use crate::cli::untrusted::visible;
use crate::client::home::Account;
use crate::client::receipt::{self, Policy};
use crate::client::session::{Sent, Session};
use crate::protocol::reply::{Envelope, Outcome};

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: Receipts) -> Result<(), CliError> {
    let account = context.account_with_settings()?;
    let wanted = args.policy.map(|policy| match policy {
        ReceiptPolicy::On => Policy::On,
        ReceiptPolicy::Off => Policy::Off,
        ReceiptPolicy::Ask => Policy::Ask,
    });
    if let Some(policy) = wanted {
        account.set_receipts(policy)?;
    }
    let (word, human) = match account.receipts()? {
        Policy::On => (
            "on",
            tr!("senders who ask are told when you have read their mail"),
        ),
        Policy::Off => ("off", tr!("nobody is told when you have read a mail")),
        Policy::Ask => (
            "ask",
            tr!("you are asked each time whether a sender is told that you have read his mail"),
        ),
    };
    let fields = json!({"user": account.user().as_str(), "receipts": word});
    context.ui.result(&object(fields), human)
}

/// Puts receipts for mails that were just read into the outbox, as far as the reader allows. Returns their numbers there.
pub(super) fn give(
    ui: &mut Ui,
    account: &Account,
    read: &[Envelope],
) -> Result<Vec<u64>, CliError> {
    let me = account.user().as_str();
    let mut entries = Vec::new();
    for mail in read.iter().filter(|mail| receipt::is_asked(mail, me)) {
        let policy = account.receipts()?;
        let is_allowed = match policy {
            Policy::Off => false,
            Policy::On => true,
            Policy::Ask => {
                let question = tr!(
                    "Tell {} that you have read {}?",
                    visible(&mail.from),
                    mail.id
                );
                ui.may_ask() && ui.confirm(&question)
            }
        };
        if is_allowed {
            let receipt = receipt::of(mail, me, policy == Policy::Ask);
            entries.push(account.outbox()?.keep(&receipt, true)?);
        }
    }
    Ok(entries)
}

/// Sends receipts. What does not go out now goes out by itself; that a sender is gone is his affair.
pub(super) fn send(ui: &mut Ui, session: &mut Session, entries: &[u64]) {
    for entry in entries {
        if let Ok(Some(told)) = session.retry_entry(*entry)
            && told.result.as_ref().is_ok_and(is_taken)
        {
            ui.note(tr!(
                "told {} that you have read it",
                visible(&told.to.join(", "))
            ));
        }
    }
}

fn is_taken(sent: &Sent) -> bool {
    let mut outcomes = sent.outcomes.iter();
    outcomes.all(|outcome| matches!(outcome, Outcome::Sent { .. }))
}

/// Sends receipts in a session of its own.
pub(super) fn send_alone(context: &mut Context<'_>, account: &Account, entries: &[u64]) {
    if entries.is_empty() {
        return;
    }
    let options = context.one_shot();
    // They are in the outbox: the next mailctl that reaches the server sends them.
    if let Ok(mut session) = context.connect(account, options) {
        send(context.ui, &mut session, entries);
        close(session);
    }
}
