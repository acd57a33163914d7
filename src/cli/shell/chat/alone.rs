//! One chat at a terminal without the shell around it: `mailctl chat`. The end of the chat is the end of
//! the program, also while a line is being typed.

use std::io::{IsTerminal, stdin, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Stage, is_yes, question};
use crate::chat::Chat;
use crate::chat::file::Policy;
use crate::cli::commands::chat::talk::{Over, Party};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::shell::compose::Typed;
use crate::cli::shell::editor::{Completion, Terminal};
use crate::cli::shell::news::News;
use crate::cli::ui::Ui;
use crate::client::home::Account;

/// How long a stop may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Says whether somebody sits at a terminal, to read and to type.
pub(crate) fn is_possible(ui: &Ui) -> bool {
    !ui.is_json() && stdin().is_terminal() && stdout().is_terminal()
}

/// What a chat without a shell needs.
pub(crate) struct Alone<'a> {
    /// Gets the terminal back.
    pub(crate) ui: &'a mut Ui,
    /// Whose chat it is.
    pub(crate) account: &'a Account,
    /// Says what is heard besides.
    pub(crate) news: News,
    /// Becomes true when the process is asked to go.
    pub(crate) stop: &'a AtomicBool,
    /// It was said before whether undelivered lines become mails.
    pub(crate) mails: Option<bool>,
}

impl Alone<'_> {
    /// Holds the chat. Returns also whether undelivered lines become mails.
    pub(crate) fn hold(
        mut self,
        chat: Chat,
        policy: Policy,
    ) -> Result<(Party, Over, bool), CliError> {
        let mut terminal = Terminal::open(None, self.ui.look(), None)?;
        let mut stage = Stage {
            terminal: &mut terminal,
            account: self.account,
            news: &mut self.news,
            stop: self.stop,
        };
        let held = stage.hold(chat, policy);
        let mails = match &held {
            Ok((party, over)) => self.decide(&mut terminal, party, over.undelivered.len()),
            Err(_) => true,
        };
        terminal.leave(self.ui);
        held.map(|(party, over)| (party, over, mails))
    }

    /// Asks what becomes of lines that never arrived, if there are any and it was not said before.
    fn decide(&self, terminal: &mut Terminal, party: &Party, lines: usize) -> bool {
        if lines == 0 || self.mails.is_some() || !self.ui.may_ask() {
            return self.mails.unwrap_or(true);
        }
        if terminal.is_reading() {
            terminal.above().note(tr!("Enter goes on"));
            self.read(terminal, "");
        }
        is_yes(&self.read(terminal, &question(&party.peer, lines)))
    }

    fn read(&self, terminal: &mut Terminal, prompt: &str) -> Typed {
        terminal.ask(prompt, Completion::Text);
        loop {
            if let Some(typed) = terminal.take() {
                return typed;
            }
            if self.stop.load(Ordering::Relaxed) {
                return Typed::End;
            }
            terminal.rest(LOOK_EVERY);
        }
    }
}
