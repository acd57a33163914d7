//! Direct chat in the shell: asking, answering, and what comes after a chat. The chat itself is held by
//! [`super::chat`].

use std::collections::BTreeSet;

use super::Shell;
use super::chat::{self, Stage};
use super::compose::{Desk, Typed};
use super::editor::Completion;
use super::names::Kind;
use crate::chat::file::Policy;
use crate::chat::{Chat, Refusal, Undelivered};
use crate::cli::commands;
use crate::cli::commands::chat::talk::Party;
use crate::cli::commands::chat::undelivered::Left;
use crate::cli::commands::invitations::Waiting;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::show::Answer;
use crate::cli::untrusted::visible;
use crate::client::session::Session;
use crate::protocol::reply::ChatRow;

impl Shell<'_, '_> {
    /// `#user`.
    pub(super) fn ask(&mut self, user: &str) -> Result<(), CliError> {
        let user = commands::user_name(user)?;
        let session = self.lend_session()?;
        let begun = Chat::ask(session, &user, &chat::options());
        if begun.is_ok() {
            self.news.meet(Kind::User, user.as_str());
        }
        self.chat(begun)
    }

    /// `y [user]`.
    pub(super) fn accept(&mut self, user: Option<&str>) -> Result<(), CliError> {
        let Some(row) = self.invitation("y", user)? else {
            return Ok(());
        };
        self.news.answered(&row.chat);
        let session = self.lend_session()?;
        self.chat(Chat::accept(session, &row, &chat::options()))
    }

    /// `n [user]`.
    pub(super) fn decline(&mut self, user: Option<&str>) -> Result<(), CliError> {
        let Some(row) = self.invitation("n", user)? else {
            return Ok(());
        };
        let (ui, session) = self.parts()?;
        session.chat_decline(&row.chat, false)?;
        ui.note(tr!("declined {}", visible(&row.from)));
        self.news.answered(&row.chat);
        Ok(())
    }

    /// Returns the invitation that `word` means: the only one, or that of `user`. None is guessed:
    /// several are listed.
    fn invitation(&mut self, word: &str, user: Option<&str>) -> Result<Option<ChatRow>, CliError> {
        let user = user.map(commands::user_name).transpose()?;
        let (ui, session) = self.parts()?;
        let mut open = Waiting::of(session)?.open;
        if let Some(user) = &user {
            open.retain(|row| row.from == user.as_str());
        }
        let askers: BTreeSet<String> = open.iter().map(|row| visible(&row.from)).collect();
        match (askers.len(), user) {
            (0, None) => ui.note(tr!("nobody asks for a chat; #user asks for one")),
            (0, Some(user)) => {
                ui.note(tr!(
                    "{} does not ask for a chat; #{} asks for one",
                    user,
                    user
                ));
            }
            // The newest: an older one is of a program that is no more, or the first of two.
            (1, _) => return Ok(open.pop()),
            _ => {
                let words: Vec<String> =
                    askers.iter().map(|from| format!("{word} {from}")).collect();
                ui.note(tr!("several ask; say which: {}", words.join(", ")));
            }
        }
        Ok(None)
    }

    /// Holds a chat, and goes on as the shell afterwards.
    fn chat(&mut self, begun: Result<Chat, Refusal>) -> Result<(), CliError> {
        let chat = match begun {
            Ok(chat) => chat,
            Err((error, session)) => {
                self.session = session;
                return Err(error.into());
            }
        };
        let mut stage = Stage {
            terminal: &mut self.terminal,
            account: &self.account,
            news: &mut self.news,
            stop: &self.stop,
        };
        stage.news.set_answer(Answer::Later);
        let held = stage.hold(chat, Policy::Ask);
        self.news.set_answer(Answer::Prompt);
        let (party, over) = held?;
        match over.session {
            Some(session) => self.take_session(session),
            None => self.reopens = true,
        }
        self.drop_line(&party);
        let settled = self.settle(&party, &over.undelivered, over.server_down);
        self.news.remind(self.context.ui);
        settled
    }

    /// A line that was being typed when the chat ended goes nowhere: not to the other side, and it is no
    /// word of the shell.
    fn drop_line(&mut self, party: &Party) {
        if !self.terminal.is_reading() {
            return;
        }
        let peer = visible(&party.peer);
        self.terminal
            .above()
            .note(tr!("Enter goes back to the shell"));
        let typed = self.read_line("", Completion::Text);
        if matches!(typed, Typed::Line(line) if !line.trim().is_empty()) {
            self.context.ui.note(tr!(
                "not sent: the chat with {} was over when you typed that",
                peer
            ));
        }
    }

    /// Asks what becomes of lines that never arrived, and does it.
    fn settle(
        &mut self,
        party: &Party,
        lines: &[Undelivered],
        server_down: bool,
    ) -> Result<(), CliError> {
        if lines.is_empty() {
            return Ok(());
        }
        let question = chat::question(&party.peer, lines.len());
        let mails = !self.context.ui.may_ask() || chat::is_yes(&self.read(&question));
        let mut left = Left {
            account: &self.account,
            party,
            session: self.session.take(),
            server_down,
        };
        let settled = if mails {
            left.mail(self.context.ui, lines)
        } else {
            left.drop(self.context.ui, lines);
            Ok(())
        };
        self.session = left.session;
        settled
    }

    /// Gives the session away, to a chat.
    fn lend_session(&mut self) -> Result<Session, CliError> {
        self.parts()?;
        Ok(self.session.take().expect("there is one now"))
    }
}
