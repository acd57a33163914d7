//! Words of the shell that are verbs of `mailctl`: the same code, as the same user; in the shell's session where that
//! hears what comes of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Shell;
use super::desk::expanded;
use crate::cli::args::{self, Globals, Verb};
use crate::cli::commands::{
    self, Context, history, outbox, read, refresh, rm, save, search, topic, undo, who,
};
use crate::cli::error::CliError;
use crate::cli::pager;

impl Shell<'_, '_> {
    /// Carries out what a line asked for.
    pub(super) fn verb(&mut self, verb: Verb) -> Result<(), CliError> {
        match verb {
            Verb::Read(args) => {
                self.paged(|shell| read::show(shell.context.ui, &shell.account, &args))
            }
            Verb::Save(mut args) => {
                args.dir = at_home(&args.dir);
                save::save(self.context.ui, &self.account, &args)
            }
            Verb::History(args) => self.paged(|shell| {
                let (ui, session) = shell.parts()?;
                history::in_session(ui, session, &args)
            }),
            Verb::Search(args) => {
                self.paged(|shell| search::find(shell.context.ui, &shell.account, &args))
            }
            Verb::Rm(args) => rm::remove(self.context.ui, &self.account, &args),
            Verb::Undo => undo::take_back(self.context.ui, &self.account),
            Verb::Who(args) => {
                let (ui, session) = self.parts()?;
                who::in_session(ui, session, &args)
            }
            Verb::Topic { .. } => self.list_topics(),
            Verb::Outbox { verb } => self.outbox(verb.unwrap_or(args::Outbox::Ls)),
            other => self.beside(&other),
        }
    }

    /// Carries out a verb as another `mailctl` beside this one would, as the same user at the same server.
    fn beside(&mut self, verb: &Verb) -> Result<(), CliError> {
        let place = self.account.place();
        // Its file, where there is one: it has the address of now.
        let file = place.source.as_deref().and_then(Path::to_str);
        let globals = Globals {
            server: Some(file.map_or_else(|| place.url.to_string(), str::to_owned)),
            user: Some(self.account.user().to_string()),
            context: None,
            ..self.context.globals.clone()
        };
        commands::run(
            &mut Context {
                globals: &globals,
                passphrase: self.account.passphrase(),
                ui: self.context.ui,
            },
            verb,
        )
    }

    /// Lists topics.
    pub(super) fn list_topics(&mut self) -> Result<(), CliError> {
        self.paged(|shell| {
            let (ui, session) = shell.parts()?;
            topic::list(ui, session)
        })
    }

    fn outbox(&mut self, verb: args::Outbox) -> Result<(), CliError> {
        match verb {
            args::Outbox::Ls => self.paged(|shell| outbox::list(shell.context.ui, &shell.account)),
            args::Outbox::Retry(entry) => {
                let (ui, session) = self.parts()?;
                outbox::retry(ui, session, entry)
            }
            args::Outbox::Rm(entry) => outbox::remove(self.context.ui, &self.account, entry.number),
        }
    }

    /// Does something whose output may be long; the session goes on while somebody reads it.
    fn paged(
        &mut self,
        deed: impl FnOnce(&mut Self) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.context.ui.page();
        let done = deed(self);
        let session = &mut self.session;
        let ended = self.context.ui.end_pages(&mut |pause| match session {
            Some(session) => refresh::keep(session, pause),
            None => pager::rest(pause),
        });
        done.and(ended.map(drop))
    }

    /// Keeps the session while another program has the terminal.
    pub(super) fn keep(&mut self, pause: Duration) {
        match &mut self.session {
            Some(session) => refresh::keep(session, pause),
            None => pager::rest(pause),
        }
    }
}

/// A path as people write it at a prompt.
fn at_home(path: &std::path::Path) -> PathBuf {
    path.to_str().map_or_else(|| path.to_owned(), expanded)
}
