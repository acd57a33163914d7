//! `mailctl draft`: mails that were written and wait for their sender's word. They lie in the outbox.

use super::outbox::{print, remove, retry_alone, row, tell_refused};
use super::{Context, send};
use crate::cli::args::{Draft as Verb, DraftSend, Entry, bare};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::json::object;
use crate::cli::pager;
use crate::cli::shell::desk;
use crate::cli::show;
use crate::client::attachments;
use crate::client::outbox::{Claimed, Draft, Listed};
use crate::protocol::codes::exit;
use crate::protocol::reply::Envelope;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Ls => list(context),
        Verb::Open(entry) => open(context, entry.number),
        Verb::Edit(entry) => edit(context, entry.number),
        Verb::Send(args) => send_it(context, &args),
        Verb::Rm(entry) => {
            check_draft(context, entry.number)?;
            let account = context.account()?;
            remove(context.ui, &account, entry.number)
        }
    }
}

fn send_it(context: &mut Context<'_>, args: &DraftSend) -> Result<(), CliError> {
    check_draft(context, args.number)?;
    if !args.to.is_empty() {
        let claimed = claim(context, args.number)?;
        let readdressed = Draft {
            to: args.to.iter().map(|name| bare(name).to_owned()).collect(),
            ..claimed.draft.clone()
        };
        let account = context.account_as_it_lies()?;
        account.outbox()?.replace(claimed, &readdressed)?;
    }
    let number = Some(args.number);
    retry_alone(context, Entry { number })
}

fn drafts(context: &Context<'_>) -> Result<Vec<Listed>, CliError> {
    let mut listed = context.account_as_it_lies()?.outbox()?.list()?;
    listed.retain(|entry| entry.standing.is_draft());
    Ok(listed)
}

fn check_draft(context: &Context<'_>, number: u64) -> Result<(), CliError> {
    let found = drafts(context)?.iter().any(|entry| entry.entry == number);
    if found { Ok(()) } else { Err(no_draft(number)) }
}

fn no_draft(number: u64) -> CliError {
    let text = tr!("there is no draft {}", number);
    CliError::new("no_such_entry", exit::DATA, text).hint(tr!("list them with: mailctl draft"))
}

fn list(context: &mut Context<'_>) -> Result<(), CliError> {
    let drafts = drafts(context)?;
    if context.ui.is_json() {
        return drafts
            .iter()
            .map(row)
            .map(object)
            .try_for_each(|row| context.ui.object(&row));
    }
    if drafts.is_empty() {
        context.ui.note(tr!("there are no drafts"));
        return Ok(());
    }
    print(context.ui, &drafts)?;
    tell_refused(context.ui, &drafts);
    Ok(())
}

fn claim(context: &Context<'_>, number: u64) -> Result<Claimed, CliError> {
    check_draft(context, number)?;
    let claimed = context.account_as_it_lies()?.outbox()?.claim(number)?;
    claimed
        .filter(|claimed| claimed.standing.is_draft())
        .ok_or_else(|| {
            CliError::new(
                "busy",
                exit::TEMPORARY,
                tr!("{} is being worked on right now", number),
            )
        })
}

/// Shows a draft as the mail that it will be.
fn open(context: &mut Context<'_>, number: u64) -> Result<(), CliError> {
    let draft = claim(context, number)?.draft;
    if context.ui.is_json() {
        let fields = serde_json::json!({
            "entry": number,
            "state": "draft",
            "to": draft.to,
            "subject": draft.subject,
            "content_type": draft.content_type,
            "size": draft.body.len(),
            "in_reply_to": draft.answers.map(|answers| answers.in_reply_to),
            "body": String::from_utf8_lossy(&draft.body),
        });
        return context.ui.object(&object(fields));
    }
    let account = context.account_as_it_lies()?;
    let envelope = Envelope {
        id: number,
        from: account.user().as_str().to_owned(),
        address: draft.to.join(", "),
        to: Vec::new(),
        subject: draft.subject,
        sent_at: "draft".to_owned(),
        content_type: draft.content_type,
        in_reply_to: draft.answers.map(|answers| answers.in_reply_to),
        ..Envelope::default()
    };
    show::mail(context.ui, &envelope, &draft.body)
}

/// Has a draft's text edited; what is attached stays.
fn edit(context: &mut Context<'_>, number: u64) -> Result<(), CliError> {
    let claimed = claim(context, number)?;
    let account = context.account_as_it_lies()?;
    let draft = &claimed.draft;
    let parts = attachments::unpack(&draft.content_type, &draft.body);
    let text = match &parts {
        Some(parts) => parts.text.clone(),
        None => String::from_utf8(draft.body.clone()).map_err(|_| {
            CliError::new("bad_text", exit::DATA, tr!("draft {} is no text", number))
        })?,
    };
    let edited = desk::edit(account.folder(), &text, &mut pager::rest)
        .map_err(|why| CliError::new("io", exit::IO, why))?;
    if edited.trim_end_matches('\n') == text.trim_end_matches('\n') {
        let human = tr!("draft {} is as it was", number);
        return tell_edited(context, number, &draft.to, false, &human);
    }
    let (content_type, body) = match parts {
        Some(parts) => attachments::pack(&edited, parts.attachments)
            .map_err(|error| CliError::new("internal", exit::SOFTWARE, error.to_string()))?,
        None => (draft.content_type.clone(), edited.into_bytes()),
    };
    let body = send::within_any_limit(body, tr!("the draft"))?;
    let changed = Draft {
        content_type,
        body,
        ..draft.clone()
    };
    account.outbox()?.replace(claimed, &changed)?;
    let human = tr!(
        "draft {} is changed; send it: mailctl draft send {}",
        number,
        number
    );
    tell_edited(context, number, &changed.to, true, &human)
}

fn tell_edited(
    context: &mut Context<'_>,
    number: u64,
    to: &[String],
    changed: bool,
    human: &str,
) -> Result<(), CliError> {
    context.ui.note(human);
    if !context.ui.is_json() {
        return Ok(());
    }
    let fields =
        serde_json::json!({"entry": number, "state": "draft", "to": to, "changed": changed});
    context.ui.object(&object(fields))
}
