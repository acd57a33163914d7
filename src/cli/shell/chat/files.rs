//! Files in a chat at a terminal: offers are asked about, and how far a file is is said now and then.

use std::sync::Arc;

use crate::chat::Voice;
use crate::chat::file::{Files, Policy, State};
use crate::chat::frame::FileNumber;
use crate::chat::io::Event;
use crate::cli::commands::chat::files::{folder, gauge, path as path_of, readable, words};
use crate::cli::commands::chat::talk::Party;
use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_later};
use crate::cli::ui::Ui;
use crate::cli::untrusted::visible;

/// Milliseconds between two words on how far a file is.
const GAUGE_MS: u64 = 5_000;

/// The files of a chat at a terminal.
#[derive(Debug)]
pub(super) struct Desk {
    files: Files,
    party: Party,
    gauged_ms: u64,
}

impl Desk {
    /// Begins.
    pub(super) fn new(voice: Voice, party: Party, policy: Policy) -> Self {
        Self {
            files: Files::new(Arc::new(voice), policy),
            party,
            gauged_ms: 0,
        }
    }

    /// Takes an event and gives back what is not about files.
    pub(super) fn handle(&mut self, event: Event) -> Option<Event> {
        self.files.handle(event)
    }

    /// Says whether anything is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.files.is_busy()
    }

    /// Sends a file, or says that it waits for its turn.
    pub(super) fn send(&mut self, path: &str, ui: &mut Ui) -> Result<(), CliError> {
        let path = path_of(path, std::env::home_dir());
        readable(&path)?;
        if self.files.is_sending() {
            let name = visible(&path.to_string_lossy());
            ui.note(tr!("{} goes after the file before it", name));
        }
        self.files.send(path);
        Ok(())
    }

    /// Takes an offered file into a folder; nothing is where the program was started.
    pub(super) fn accept(&mut self, file: Option<FileNumber>, into: &str) -> Result<(), CliError> {
        let into = if into.is_empty() { "." } else { into };
        let folder = folder(&path_of(into, std::env::home_dir()))?;
        if self.files.accept(file, &folder) {
            Ok(())
        } else {
            Err(CliError::usage(tr!("no such file is offered")))
        }
    }

    /// Refuses an offered file, or stops one that is coming.
    pub(super) fn refuse(&mut self, file: Option<FileNumber>) -> Result<(), CliError> {
        if self.files.refuse(file, tr_later!("not wanted")) {
            Ok(())
        } else {
            Err(CliError::usage(tr!("no such file is offered or coming")))
        }
    }

    /// Says what happened to files, and now and then how far they are.
    pub(super) fn tell(&mut self, ui: &mut Ui, now_ms: u64) {
        while let Some(told) = self.files.poll_told() {
            // How far it is comes a while after what begins it.
            self.gauged_ms = now_ms;
            let is_open = self.files.offers().any(|offer| offer == told.about);
            let words = words(&self.party, &told);
            ui.note(if is_open && told.state == State::Offered {
                tr!("{} - /accept or /refuse", words)
            } else {
                words
            });
        }
        if now_ms >= self.gauged_ms + GAUGE_MS {
            self.gauged_ms = now_ms;
            self.gauge(ui);
        }
    }

    /// Says how far files are that are under way.
    pub(super) fn gauge(&self, ui: &mut Ui) {
        for progress in self.files.progress() {
            ui.note(gauge(&progress));
        }
    }

    /// The chat is over: what did not arrive is told.
    pub(super) fn end(&mut self, ui: &mut Ui, now_ms: u64) {
        self.files.end();
        self.tell(ui, now_ms);
    }
}
