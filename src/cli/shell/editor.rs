//! The line editor: history in the home, completion from the table of words.

use std::path::{Path, PathBuf};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Context, Editor, Helper};

use super::compose::{Lines, Typed};
use super::table;
use crate::cli::error::CliError;
use crate::protocol::codes::exit;

/// A terminal with somebody at it.
pub struct Terminal {
    editor: Editor<Words, FileHistory>,
    history: PathBuf,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal")
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// Opens the editor; what was typed before is remembered in `history`.
    pub fn open(history: &Path) -> Result<Self, CliError> {
        let mut editor = Editor::new()
            .map_err(|e| CliError::new("io", exit::IO, format!("cannot use this terminal: {e}")))?;
        editor.set_helper(Some(Words::default()));
        // A first start has no history, and one that cannot be read is no reason not to work.
        drop(editor.load_history(history));
        Ok(Self {
            editor,
            history: history.to_owned(),
        })
    }

    /// Remembers a line for later starts.
    pub fn remember(&mut self, line: &str) {
        // As above: without history the shell works as well.
        drop(self.editor.add_history_entry(line));
        drop(self.editor.append_history(&self.history));
    }

    /// Takes names to complete after a mark.
    pub fn learn(&mut self, names: Vec<String>) {
        if let Some(words) = self.editor.helper_mut() {
            words.names = names;
        }
    }
}

impl Lines for Terminal {
    fn read(&mut self, prompt: &str) -> Typed {
        match self.editor.readline(prompt) {
            Ok(line) => Typed::Line(line),
            Err(ReadlineError::Eof) => Typed::End,
            Err(ReadlineError::Interrupted) => Typed::Interrupt,
            Err(error) => Typed::Failed(error.to_string()),
        }
    }
}

/// Completes the first word of a line.
#[derive(Debug, Default)]
struct Words {
    names: Vec<String>,
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let start = line[..at]
            .rfind(char::is_whitespace)
            .map_or(0, |space| space + 1);
        Ok((
            start,
            table::completions(&line[start..at], start == 0, &self.names),
        ))
    }
}

impl Hinter for Words {
    type Hint = String;
}
impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}
