//! Writing one mail at a terminal without the shell around it: `mailctl reply`. Ctrl-C between two lines ends the
//! program, as it does with every verb; in a line it is [`super::compose::compose`]'s.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::compose::{Composed, Desk, Typed, Written, go_on};
use super::desk;
use super::editor::{Completion, Terminal};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::pager;
use crate::cli::ui::Ui;
use crate::client::home::Account;

/// How long a stop may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Asks at the terminal for the text of a mail that was begun.
pub(crate) fn write(ui: &mut Ui, account: &Account, begun: Composed) -> Result<Written, CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let interruptible = Arc::new(AtomicBool::new(true));
    let register = || {
        for signal in [SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        let conditional = Arc::clone(&interruptible);
        signal_hook::flag::register_conditional_default(SIGINT, conditional)
    };
    register().map_err(|e| CliError::io(tr!("listen for signals"), &e))?;
    let mut at = Alone {
        terminal: Terminal::open(None, ui.look(), None)?,
        ui,
        account,
        stop,
        interruptible,
    };
    let written = go_on(&mut at, begun);
    at.terminal.leave(at.ui);
    Ok(written)
}

/// The terminal, for as long as one mail is written.
struct Alone<'a> {
    terminal: Terminal,
    ui: &'a mut Ui,
    account: &'a Account,
    stop: Arc<AtomicBool>,
    interruptible: Arc<AtomicBool>,
}

impl Desk for Alone<'_> {
    fn read(&mut self, prompt: &str) -> Typed {
        self.terminal.ask(prompt, Completion::Letter);
        loop {
            if let Some(typed) = self.terminal.take() {
                return typed;
            }
            if self.stop.load(Ordering::Relaxed) {
                // That does not finish a text.
                return Typed::Failed("asked to end".into());
            }
            self.terminal.rest(LOOK_EVERY);
        }
    }

    fn tell(&mut self, text: &str) {
        self.ui.note(text);
    }

    fn edit(&mut self, text: &str) -> Result<String, String> {
        // A Ctrl-C at the editor is the editor's.
        self.interruptible.store(false, Ordering::Relaxed);
        let edited = desk::edit(self.account.folder(), text, &mut pager::rest);
        self.interruptible.store(true, Ordering::Relaxed);
        edited
    }

    fn text_of(&mut self, path: &str) -> Result<String, String> {
        desk::text_of(path)
    }

    fn attachable(&mut self, path: &str) -> Result<(PathBuf, String), String> {
        desk::attachable(path)
    }
}
