//! Writing at the prompt: a new mail, or an answer.

use super::compose::{Composed, Desk, Typed, Written, compose, go_on};
use super::{Shell, is_away};
use crate::cli::args::bare;
use crate::cli::commands::{later, read, send};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::ui;
use crate::client::ClientError;
use crate::client::answer;
use crate::client::mailbox::Mail;
use crate::client::outbox::Draft;
use crate::protocol::MailId;

impl Shell<'_, '_> {
    /// Writes to `targets`: what was on the line, or what is asked for now.
    pub(super) fn write(
        &mut self,
        targets: &[String],
        text: Option<String>,
    ) -> Result<(), CliError> {
        let targets: Vec<String> = targets.iter().map(|name| bare(name).to_owned()).collect();
        let written = match text {
            Some(text) if !self.is_meant(&targets, &text) => Written::Dropped,
            Some(text) => Written::Send(Composed {
                text,
                ..Composed::default()
            }),
            None => compose(self),
        };
        let empty = Draft {
            to: targets,
            ..Draft::default()
        };
        self.dispatch(written, empty, None)
    }

    /// Answers a mail: its sender, or `all` whom it went to as well.
    pub(super) fn reply(
        &mut self,
        id: MailId,
        all: bool,
        text: Option<String>,
    ) -> Result<(), CliError> {
        let answered = read::the_mail(&self.account, id)?;
        let empty = answer::draft(&answered.envelope, self.account.user().as_str(), all);
        let begun = Composed {
            subject: empty.subject.clone(),
            text: text.unwrap_or_default(),
            ..Composed::default()
        };
        let written = if begun.text.is_empty() {
            let to = empty.to.join(", ");
            self.context.ui.note(tr!(
                "To {}. End with . or Ctrl-D; ~? lists what else there is",
                to
            ));
            go_on(self, begun)
        } else {
            Written::Send(begun)
        };
        self.dispatch(written, empty, Some(&answered))
    }

    fn dispatch(
        &mut self,
        written: Written,
        empty: Draft,
        answered: Option<&Mail>,
    ) -> Result<(), CliError> {
        match written {
            Written::Send(mail) => self.send(filled(empty, mail)?, answered),
            Written::Keep(mail) => {
                let entry = self.account.outbox()?.keep(&filled(empty, mail)?, false)?;
                let how = tr!(
                    "kept as draft {}; mailctl outbox retry {} sends it",
                    entry,
                    entry
                );
                self.context.ui.note(super::table::at_the_prompt(&how));
                Ok(())
            }
            Written::Dropped => {
                self.context.ui.note(tr!("nothing was sent"));
                Ok(())
            }
        }
    }

    fn send(&mut self, draft: Draft, answered: Option<&Mail>) -> Result<(), CliError> {
        let sent = if self.undo.is_zero() {
            self.deliver(draft)
        } else {
            later::hold_in_shell(self.context.ui, &self.account, &draft, self.undo)
        };
        // One in doubt is on its way.
        if let Some(answered) = answered
            && sent
                .as_ref()
                .err()
                .is_none_or(|error| error.code == "in_doubt")
        {
            self.account.mailbox()?.mark_replied(answered)?;
        }
        sent
    }

    /// Sends a mail; what was refused is kept for those who refused it, so that no text is lost.
    ///
    /// What cannot be sent because the server is not there goes out by itself when it is back: it was meant to be sent.
    fn deliver(&mut self, draft: Draft) -> Result<(), CliError> {
        let queued = true;
        let sent = match self.parts() {
            Ok((_, session)) => session.send_written(draft, queued),
            Err(cause) if cause.is_transport() => Err(ClientError::NotSent {
                entry: self.account.outbox()?.keep(&draft, queued)?,
                queued,
                cause: Box::new(cause),
            }),
            Err(error) => Err(error),
        };
        let sent = match sent {
            Ok(sent) => sent,
            Err(ClientError::NotSent { entry, cause, .. }) if is_away(&cause) => {
                self.context.ui.note(tr!(
                    "the server does not answer; kept in the outbox as {}, and sent when it is back",
                    entry
                ));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let shown = send::show(self.context.ui, &sent.outcomes);
        if let Some(entry) = sent.draft() {
            let how = send::kept_for(entry);
            self.context.ui.note(super::table::at_the_prompt(&how));
        }
        shown
    }

    /// Asks before a text of several lines goes out: it was pasted, and perhaps not on purpose.
    fn is_meant(&mut self, targets: &[String], text: &str) -> bool {
        let lines = text.lines().count();
        if lines < 2 {
            return true;
        }
        let names = targets.join(", ");
        let question = tr!(
            "send these {} lines to {} as one mail? [y/N] ",
            lines,
            names
        );
        self.context.ui.may_ask()
            && matches!(self.read(&question), Typed::Line(line) if ui::is_yes(&line))
    }
}

/// Completes a draft by a mail as typed; its files are read now.
fn filled(empty: Draft, mail: Composed) -> Result<Draft, CliError> {
    let text = mail.text.into_bytes();
    let (content_type, body) = if mail.attached.is_empty() {
        (send::content_type_of(&text), text)
    } else {
        send::with_attachments(text, &mail.attached)?
    };
    Ok(Draft {
        subject: mail.subject,
        content_type,
        body,
        ..empty
    })
}
