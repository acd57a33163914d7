//! `mailctl send`: one mail to users and topics. The bytes given are the bytes sent.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::read::the_mail;
use super::{Context, close, input, later};
use crate::cli::args::{Content, Send, bare};
use crate::cli::error::{CliError, client_text, refusal_text};
use crate::cli::i18n::tr;
use crate::cli::json;
use crate::cli::ui::Ui;
use crate::client::attachments::{self, Attachment};
use crate::client::home::Account;
use crate::client::mailbox::Mail;
use crate::client::outbox::{Draft, Standing};
use crate::client::session::{Retried, Sent};
use crate::client::{ClientError, answer, receipt};
use crate::limits::BODY_BYTES_CEILING;
use crate::protocol::codes::{WireError, exit};
use crate::protocol::reply::Outcome;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Send) -> Result<(), CliError> {
    let (to, from_stdin) = targets(&args.targets)?;
    let draft = with_body(
        &args.content,
        from_stdin,
        Draft {
            to,
            subject: args.subject.clone(),
            ..Draft::default()
        },
    )?;
    let account = context.account()?;
    let Some(id) = args.reply_to else {
        return dispatch(context, &account, draft, &args.content, Text::Given);
    };
    let answered = the_mail(&account, id)?;
    let subject = match draft.subject.as_str() {
        "" => answer::subject(&answered.envelope.subject),
        _ => draft.subject.clone(),
    };
    let draft = Draft {
        subject,
        answers: Some(answer::to(&answered.envelope)),
        ..draft
    };
    dispatch_answer(
        context,
        &account,
        &answered,
        draft,
        &args.content,
        Text::Given,
    )
}

/// Where the text of a mail is beside this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    /// Whoever called this program has it.
    Given,
    /// Nowhere: it was written just now. What cannot be sent is kept.
    Written,
}

/// Sends an answer, and notes in the mailbox that the mail was answered.
pub(crate) fn dispatch_answer(
    context: &mut Context<'_>,
    account: &Account,
    answered: &Mail,
    draft: Draft,
    how: &Content,
    text: Text,
) -> Result<(), CliError> {
    let sent = dispatch(context, account, draft, how, text);
    if is_on_its_way(&sent, how) {
        account.mailbox()?.mark_replied(answered)?;
    }
    sent
}

/// Says whether a mail that was dispatched is sent, or goes out by itself.
pub(super) fn is_on_its_way(sent: &Result<(), CliError>, how: &Content) -> bool {
    let goes_out = |error: &CliError| {
        error.code == "in_doubt" || (how.queue && error.exit == exit::UNAVAILABLE)
    };
    !how.draft && sent.as_ref().err().is_none_or(goes_out)
}

/// Sends a mail now, or lets it wait in the outbox as the command line says.
pub(crate) fn dispatch(
    context: &mut Context<'_>,
    account: &Account,
    draft: Draft,
    how: &Content,
    text: Text,
) -> Result<(), CliError> {
    if how.draft {
        return later::keep(context.ui, account, &draft);
    }
    if let Some(at) = how.at {
        return later::schedule(context.ui, account, &draft, at);
    }
    match how.undo {
        Some(time) if !time.is_zero() => later::hold(context, account, &draft, time),
        _ => send_now(context, account, draft, how.queue, text),
    }
}

/// Sends a mail in a session of its own. When the server is not there it is kept in the outbox: as a draft, or
/// `queued` to go out by itself.
fn send_now(
    context: &mut Context<'_>,
    account: &Account,
    draft: Draft,
    queued: bool,
    text: Text,
) -> Result<(), CliError> {
    let options = context.one_shot();
    let mut session = match context.open(account, options) {
        Ok(session) => session,
        Err(cause) if cause.is_transport() => {
            let entry = account
                .outbox()?
                .keep_until(&draft, Standing::not_tried(queued))?;
            let cause = Box::new(cause);
            return Err(ClientError::NotSent {
                entry,
                queued,
                cause,
            }
            .into());
        }
        Err(error) if text == Text::Written => {
            let entry = account.outbox()?.keep(&draft, false)?;
            let how = tr!(
                "kept as draft {}; mailctl outbox retry {} sends it",
                entry,
                entry
            );
            return Err(CliError::from(error).hint(how));
        }
        Err(error) => return Err(error.into()),
    };
    let sent = match text {
        Text::Given => session.send_or_queue(draft, queued),
        Text::Written => session.send_written(draft, queued),
    };
    close(session);
    show_sent(context.ui, &sent?)
}

/// Shows what became of a send, and where the text is that was refused; returns the first refusal as the error.
pub(crate) fn show_sent(ui: &mut Ui, sent: &Sent) -> Result<(), CliError> {
    let draft = sent.draft();
    let shown = show_outcomes(ui, &sent.outcomes, draft);
    if let Some(entry) = draft {
        ui.note(kept_for(entry));
    }
    shown
}

/// Says that what was refused is a draft, and how to mend it.
pub(crate) fn kept_for(entry: u64) -> String {
    tr!(
        "kept as draft {}; to send it to somebody else: mailctl draft send {} --to NAME",
        entry,
        entry
    )
}

/// Tells each recipient's refusal, and returns the first as the error.
pub(crate) fn refusals(ui: &mut Ui, outcomes: &[Outcome]) -> Result<(), CliError> {
    let refused: Vec<Outcome> = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Refused { .. }))
        .cloned()
        .collect();
    show(ui, &refused)
}

/// Shows each recipient's outcome, and returns the first refusal as the error.
pub(crate) fn show(ui: &mut Ui, outcomes: &[Outcome]) -> Result<(), CliError> {
    show_outcomes(ui, outcomes, None)
}

/// Does the same; `draft` is kept for those who refused it.
fn show_outcomes(ui: &mut Ui, outcomes: &[Outcome], draft: Option<u64>) -> Result<(), CliError> {
    let mut refusal: Option<&WireError> = None;
    for outcome in outcomes {
        if let Outcome::Refused { error, .. } = outcome {
            refusal = refusal.or(Some(error));
        }
        match outcome {
            Outcome::Refused { address, error } if !ui.is_json() => {
                let told = CliError::from(error.clone()).about(address);
                ui.error(&told);
            }
            outcome => ui.result(&json::outcome(outcome, draft), line(outcome))?,
        }
    }
    // Each refusal was told above.
    refusal.map_or(Ok(()), |error| {
        let told = CliError::from(error.clone());
        Err(if ui.is_json() {
            told
        } else {
            CliError::silent(told.exit)
        })
    })
}

fn line(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Sent {
            address,
            id,
            duplicate: false,
            ..
        } => tr!("sent to {}: {}", address, id),
        Outcome::Sent { address, id, .. } => {
            tr!("sent to {}: {} (an earlier try had arrived)", address, id)
        }
        Outcome::Refused { address, error } => {
            tr!("not sent to {}: {}", address, refusal_text(error))
        }
    }
}

/// Tells what became of a send of before.
pub(crate) fn report(retried: &Retried) -> String {
    let entry = retried.entry;
    match &retried.result {
        Ok(sent) => {
            let mut outcomes: Vec<String> = sent.outcomes.iter().map(line).collect();
            outcomes.extend(sent.draft().map(kept_for));
            tr!("outbox {}: {}", entry, outcomes.join("; "))
        }
        Err(error) if retried.to.is_empty() => tr!("outbox {}: {}", entry, client_text(error)),
        Err(error) => tr!(
            "outbox {}, to {}: {}",
            entry,
            retried.to.join(", "),
            client_text(error)
        ),
    }
}

/// Puts what the command line says to send into a draft, below what its body holds already.
pub(crate) fn with_body(args: &Content, from_stdin: bool, draft: Draft) -> Result<Draft, CliError> {
    let given = body(args, from_stdin)?;
    filled(args, given, draft)
}

/// Puts a body and what goes along into a draft.
pub(crate) fn filled(args: &Content, given: Vec<u8>, draft: Draft) -> Result<Draft, CliError> {
    let body = [draft.body, given].concat();
    let (content_type, body) = if args.attach.is_empty() {
        let guessed = || content_type_of(&body);
        (args.content_type.clone().unwrap_or_else(guessed), body)
    } else {
        with_attachments(body, &args.attach)?
    };
    let content_type = if args.receipt {
        receipt::asking(&content_type)
    } else {
        content_type
    };
    Ok(Draft {
        content_type,
        ttl_s: args.ttl,
        body,
        ..draft
    })
}

/// Makes the body of a mail with attachments. Returns its content type and its bytes.
pub(crate) fn with_attachments(
    text: Vec<u8>,
    paths: &[PathBuf],
) -> Result<(String, Vec<u8>), CliError> {
    let text = String::from_utf8(text).map_err(|_| {
        CliError::new(
            "bad_text",
            exit::DATA,
            tr!("the text beside attachments must be UTF-8").to_owned(),
        )
        .hint(tr!("attach the file instead: -a FILE"))
    })?;
    packed(&text, attached(paths)?)
}

/// Reads files that go along.
pub(super) fn attached(paths: &[PathBuf]) -> Result<Vec<Attachment>, CliError> {
    paths.iter().map(|path| attachment(path)).collect()
}

/// Makes the body of a mail of a text and attachments. Returns its content type and its bytes.
pub(super) fn packed(text: &str, files: Vec<Attachment>) -> Result<(String, Vec<u8>), CliError> {
    let (content_type, body) = attachments::pack(text, files)
        .map_err(|error| CliError::new("internal", exit::SOFTWARE, error.to_string()))?;
    within_any_limit(body, tr!("the mail with its attachments")).map(|body| (content_type, body))
}

fn attachment(path: &Path) -> Result<Attachment, CliError> {
    let bytes = read_file(path)?;
    let name = path.file_name().unwrap_or_default();
    Ok(Attachment {
        name: name.to_string_lossy().into_owned(),
        content_type: attachments::type_of(path, &bytes),
        bytes,
    })
}

/// Returns the recipients, each once, and whether `-` stood among them.
pub(super) fn targets(words: &[String]) -> Result<(Vec<String>, bool), CliError> {
    let mut to: Vec<String> = Vec::new();
    for word in words.iter().filter(|word| *word != "-") {
        if let Some(mark) = word.chars().next().filter(|first| "!#".contains(*first)) {
            return Err(
                CliError::usage(tr!("{} is no address", format!("{:?}", word))).hint(tr!(
                    "{} is a word of the shell; send takes names: mailctl send {}",
                    mark,
                    &word[1..]
                )),
            );
        }
        let name = bare(word).to_owned();
        if !to.contains(&name) {
            to.push(name);
        }
    }
    if to.is_empty() {
        return Err(CliError::usage(tr!("send to whom?")).hint(tr!("mailctl send bob -b TEXT")));
    }
    Ok((to, words.iter().any(|word| word == "-")))
}

pub(super) fn body(args: &Content, from_stdin: bool) -> Result<Vec<u8>, CliError> {
    match (&args.body, &args.file, from_stdin) {
        (Some(text), None, false) => Ok(text.clone().into_bytes()),
        (None, Some(path), false) if path != Path::new("-") => read_file(path),
        (None, None, true) | (None, Some(_), false) => read_stdin(),
        (None, None, false) if !args.attach.is_empty() => Ok(Vec::new()),
        (None, None, false) => Err(CliError::usage(tr!("send what?")).hint(tr!(
            "give the body with -b TEXT or -f FILE, or `-` to read it from stdin"
        ))),
        _ => Err(CliError::usage(tr!(
            "one body only: -b TEXT, -f FILE or `-`"
        ))),
    }
}

fn read_stdin() -> Result<Vec<u8>, CliError> {
    input::stdin_is_there()?;
    read_all(std::io::stdin(), "stdin")
}

fn read_file(path: &Path) -> Result<Vec<u8>, CliError> {
    read_all(input::open(path)?, &path.display().to_string())
}

/// Reads to the end, but no further than any server takes.
fn read_all(from: impl Read, name: &str) -> Result<Vec<u8>, CliError> {
    let mut body = Vec::new();
    from.take(BODY_BYTES_CEILING + 1)
        .read_to_end(&mut body)
        .map_err(|e| CliError::io(&tr!("read {}", name), &e))?;
    within_any_limit(body, name)
}

/// Refuses a body that no server takes.
pub(super) fn within_any_limit(body: Vec<u8>, name: &str) -> Result<Vec<u8>, CliError> {
    if body.len() as u64 > BODY_BYTES_CEILING {
        return Err(CliError::new(
            "too_large",
            exit::DATA,
            tr!("{} is larger than any server takes (25 MiB)", name),
        ));
    }
    Ok(body)
}

/// Returns the MIME type of bytes that came without one.
pub(crate) fn content_type_of(body: &[u8]) -> String {
    if std::str::from_utf8(body).is_ok() {
        crate::protocol::request::default_content_type()
    } else {
        "application/octet-stream".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::tests::captured;
    use crate::protocol::codes::Code;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn targets_are_bare_and_each_once() {
        let (to, stdin) = targets(&words(&["@bob", "news", "bob", "-"])).unwrap();
        assert_eq!((to, stdin), (words(&["bob", "news"]), true));
        assert!(targets(&words(&["-"])).is_err());
    }

    #[test]
    fn words_of_the_shell_are_refused_with_a_hint() {
        for word in ["!news", "#bob"] {
            let error = targets(&words(&[word])).unwrap_err();
            assert_eq!((error.exit, error.hints.len()), (exit::USAGE, 1));
        }
    }

    #[test]
    fn the_first_refusal_ends_it_and_the_others_are_told() {
        let outcomes = [
            Outcome::Refused {
                address: "bbo".into(),
                error: WireError::new(
                    Code::NoSuchAddress,
                    "nobody here is called bbo; nearest: bob",
                ),
            },
            Outcome::Sent {
                address: "bob".into(),
                id: 42,
                durability: "fsync".into(),
                duplicate: false,
            },
            Outcome::Refused {
                address: "ana".into(),
                error: WireError::new(Code::MailboxFull, "ana's mailbox is full"),
            },
        ];
        let (mut ui, out, err) = captured(false);
        let error = show(&mut ui, &outcomes).unwrap_err();
        assert_eq!((error.exit, error.silent), (exit::NO_USER, true));
        assert_eq!(out.text(), "sent to bob: 42\n");
        assert!(
            err.text().contains("error[no_such_address]: bbo: nobody"),
            "{}",
            err.text()
        );
        assert!(
            err.text().contains("error[mailbox_full]: ana: "),
            "{}",
            err.text()
        );
        let (mut ui, out, _) = captured(true);
        let error = show(&mut ui, &outcomes).unwrap_err();
        assert_eq!((error.exit, error.silent), (exit::NO_USER, false));
        assert_eq!(out.text().lines().count(), 3);
    }
}
