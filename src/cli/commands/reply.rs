//! `mailctl reply`: an answer to a mail of this device's mailbox, in its thread.

use std::path::PathBuf;

use super::read::the_mail;
use super::send::Text;
use super::{Context, send};
use crate::cli::args::{Content, Reply};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::pager;
use crate::cli::shell::chat::alone;
use crate::cli::shell::compose::{Composed, Written};
use crate::cli::shell::{desk, letter};
use crate::cli::times;
use crate::client::home::Account;
use crate::client::mailbox::Mail;
use crate::client::outbox::Draft;
use crate::client::{answer, attachments};
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Reply) -> Result<(), CliError> {
    // Before anything is written: what is asked for then would be in the way of the text.
    let account = context.account()?;
    let answered = the_mail(&account, args.id)?;
    let mut draft = answer::draft(&answered.envelope, account.user().as_str(), args.all);
    if let Some(subject) = &args.subject {
        draft.subject.clone_from(subject);
    }
    let quoted = if args.quote {
        quoted(&answered)
    } else {
        String::new()
    };
    let how = &args.content;
    let has_body = how.body.is_some() || how.file.is_some() || args.stdin.is_some();
    let (draft, text) = if args.edit {
        may_edit(context)?;
        let text = desk::edit(account.folder(), &quoted, &mut pager::rest)
            .map_err(|why| CliError::new("io", exit::IO, why))?;
        if text.trim().is_empty() || text.trim() == quoted.trim() {
            context
                .ui
                .note(tr!("nothing was written, and nothing was sent"));
            return Ok(());
        }
        let draft = send::filled(how, text.into_bytes(), draft)?;
        (draft, Text::Written)
    } else if has_body || !how.attach.is_empty() || !alone::is_possible(context.ui) {
        draft.body = below(&quoted);
        let draft = send::with_body(how, args.stdin.is_some(), draft)?;
        (draft, Text::Given)
    } else {
        let Some(draft) = typed(context, &account, how, &quoted, &draft)? else {
            return Ok(());
        };
        (draft, Text::Written)
    };
    send::dispatch_answer(context, &account, &answered, draft, how, text)
}

/// Makes sure that somebody sits before the editor.
pub(super) fn may_edit(context: &Context<'_>) -> Result<(), CliError> {
    if alone::is_possible(context.ui) && context.ui.may_ask() {
        return Ok(());
    }
    Err(CliError::usage(tr!("--edit needs a terminal")).hint(tr!(
        "give the body with -b TEXT or -f FILE, or `-` to read it from stdin"
    )))
}

/// The text that is answered, marked as such.
fn quoted(answered: &Mail) -> String {
    let envelope = &answered.envelope;
    let parts = attachments::parts(envelope.id, &envelope.content_type, &answered.body);
    let heading = tr!(
        "{} wrote ({}):",
        envelope.from,
        times::human(&envelope.sent_at)
    );
    answer::quoted(&heading, &parts.text)
}

/// Begins a body with what is quoted and an empty line.
fn below(quoted: &str) -> Vec<u8> {
    if quoted.is_empty() {
        return Vec::new();
    }
    format!("{quoted}\n").into_bytes()
}

/// Asks for the text at the terminal; nothing when the mail was dropped, or kept.
fn typed(
    context: &mut Context<'_>,
    account: &Account,
    how: &Content,
    quoted: &str,
    draft: &Draft,
) -> Result<Option<Draft>, CliError> {
    let to = draft.to.join(", ");
    context.ui.note(tr!(
        "To {}. End with . or Ctrl-D; ~? lists what else there is",
        to
    ));
    let begun = Composed {
        subject: draft.subject.clone(),
        text: quoted.to_owned(),
        attached: Vec::new(),
    };
    let fill = |mail: Composed| {
        let attach: Vec<PathBuf> = mail.attached;
        let how = Content {
            attach,
            ..how.clone()
        };
        let draft = Draft {
            subject: mail.subject,
            ..draft.clone()
        };
        send::filled(&how, mail.text.into_bytes(), draft)
    };
    match letter::write(context.ui, account, begun)? {
        Written::Send(mail) => fill(mail).map(Some),
        Written::Keep(mail) => {
            let entry = account.outbox()?.keep(&fill(mail)?, false)?;
            let how = tr!(
                "kept as draft {}; mailctl outbox retry {} sends it",
                entry,
                entry
            );
            context.ui.note(how);
            Ok(None)
        }
        Written::Dropped => {
            context.ui.note(tr!("nothing was sent"));
            Ok(None)
        }
    }
}
