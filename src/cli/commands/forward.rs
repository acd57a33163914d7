//! `mailctl forward`: a mail of this device's mailbox for others, whole, below what is written above it.

use super::Context;
use super::read::the_mail;
use super::reply::may_edit;
use super::send::{self, Text};
use crate::cli::args::{Content, Forward};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::pager;
use crate::cli::shell::desk;
use crate::cli::times;
use crate::client::attachments::{self, Attachment, Parts};
use crate::client::mailbox::Mail;
use crate::client::outbox::Draft;
use crate::client::{answer, receipt};
use crate::protocol::codes::exit;

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Forward) -> Result<(), CliError> {
    let (to, from_stdin) = send::targets(&args.targets)?;
    let how = &args.content;
    if how.content_type.is_some() {
        let text =
            tr!("a mail that is passed on is text with what is attached: leave --content-type out");
        return Err(CliError::usage(text));
    }
    // Before anything is written: what is asked for then would be in the way of the text.
    let account = context.account()?;
    let mail = the_mail(&account, args.id)?;
    let mut begun = Passed::of(&mail, to);
    if let Some(subject) = &args.subject {
        begun.subject.clone_from(subject);
    }
    let has_body = how.body.is_some() || how.file.is_some() || from_stdin;
    let (draft, text) = if args.edit {
        if from_stdin {
            return Err(CliError::usage(tr!(
                "one body only: -b TEXT, -f FILE or `-`"
            )));
        }
        may_edit(context)?;
        let whole = desk::edit(account.folder(), &begun.below(""), &mut pager::rest)
            .map_err(|why| CliError::new("io", exit::IO, why))?;
        (begun.filled(&whole, how)?, Text::Written)
    } else if has_body {
        let above = send::body(how, from_stdin)?;
        let above = String::from_utf8(above).map_err(|_| {
            CliError::new(
                "bad_text",
                exit::DATA,
                tr!("the text beside attachments must be UTF-8"),
            )
            .hint(tr!("attach the file instead: -a FILE"))
        })?;
        (begun.filled(&begun.below(&above), how)?, Text::Given)
    } else {
        (begun.filled(&begun.below(""), how)?, Text::Given)
    };
    let sent = send::dispatch(context, &account, draft, how, text);
    if send::is_on_its_way(&sent, how) {
        account.mailbox()?.mark_passed(&mail)?;
    }
    sent
}

/// A mail that is to be passed on.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    /// To whom.
    pub(crate) to: Vec<String>,
    /// `Fwd: ...`.
    pub(crate) subject: String,
    /// The mail as text: who, when, to whom, what.
    text: String,
    files: Vec<Attachment>,
    draft: Draft,
}

impl Passed {
    /// Begins with a mail for `to`.
    pub(crate) fn of(mail: &Mail, to: Vec<String>) -> Self {
        let envelope = &mail.envelope;
        let Parts {
            text, attachments, ..
        } = attachments::parts(envelope.id, &envelope.content_type, &mail.body);
        let heading = [
            tr!("---------- Forwarded mail ----------").to_owned(),
            tr!("From: {}", envelope.from),
            tr!("Date: {}", times::dated(&envelope.sent_at)),
            tr!("To: {}", envelope.to.join(", ")),
            tr!("Subject: {}", envelope.subject),
        ];
        Self {
            to,
            subject: answer::forwarded(&envelope.subject),
            text: format!("{}\n\n{text}", heading.join("\n")),
            files: attachments,
            draft: Draft {
                answers: Some(answer::to(envelope)),
                ..Draft::default()
            },
        }
    }

    /// Returns its text below what is written above it.
    pub(crate) fn below(&self, above: &str) -> String {
        match above.trim_end() {
            "" => self.text.clone(),
            above => format!("{above}\n\n{}", self.text),
        }
    }

    /// Makes the mail of its whole text, with what is attached to it and what the command line adds.
    pub(crate) fn filled(&self, whole: &str, how: &Content) -> Result<Draft, CliError> {
        let files = [self.files.clone(), send::attached(&how.attach)?].concat();
        let (content_type, body) = if files.is_empty() {
            let body = send::within_any_limit(whole.as_bytes().to_vec(), tr!("the mail"))?;
            (send::content_type_of(&body), body)
        } else {
            send::packed(whole, files)?
        };
        Ok(Draft {
            to: self.to.clone(),
            subject: self.subject.clone(),
            content_type: if how.receipt {
                receipt::asking(&content_type)
            } else {
                content_type
            },
            ttl_s: how.ttl,
            body,
            ..self.draft.clone()
        })
    }
}
