//! What Tab offers, and how a line looks that holds what could act.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::locked;
use crate::cli::shell::table::{self, Fitting, Known};
use crate::cli::shell::{chat, compose};
use crate::cli::untrusted::{clipped, is_active, visible};
use crate::client::mailbox::Mailbox;

/// Mails offered after Tab, and how wide each is in the list.
const MAILS_OFFERED: usize = 30;
const MAIL_COLUMNS: usize = 60;

/// What is completed after Tab.
#[derive(Debug, Clone)]
pub enum Completion {
    /// The shell's words, names, and mails of this mailbox.
    Shell(Box<Known>, Mailbox),
    /// The chat's words.
    Chat,
    /// The commands of a mail that is being written.
    Letter,
    /// Nothing: a question is asked.
    Text,
}

/// Completes what is being typed.
pub(super) struct Words(pub(super) Arc<Mutex<Completion>>);

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..at];
        Ok(match &*locked(&self.0) {
            Completion::Shell(known, mailbox) => match table::complete(typed, known) {
                (start, Fitting::Words(words)) => (start, as_they_are(words)),
                (start, Fitting::Mails) => (start, mails(mailbox, &typed[start..])),
                (start, Fitting::Path) => paths(&typed[start..], at)?,
            },
            Completion::Chat => {
                if let Some(path) = chat::table::path_in(typed) {
                    return paths(path, at);
                }
                let (start, words) = chat::table::complete(typed);
                (start, as_they_are(words))
            }
            Completion::Letter => match compose::path_in(typed) {
                Some(path) => paths(path, at)?,
                None => (0, as_they_are(compose::beginning(typed))),
            },
            Completion::Text => (at, Vec::new()),
        })
    }
}

fn as_they_are(words: Vec<String>) -> Vec<Pair> {
    let pair = |word: String| Pair {
        display: word.clone(),
        replacement: word,
    };
    words.into_iter().map(pair).collect()
}

/// Offers the newest mails whose number begins so, with what tells them apart.
fn mails(mailbox: &Mailbox, typed: &str) -> Vec<Pair> {
    let newest = mailbox.newest(MAILS_OFFERED).unwrap_or_default();
    let pairs = newest.iter().map(|mail| {
        let about = format!(
            "{}  {}  {}",
            mail.id,
            visible(&mail.from),
            visible(&mail.subject)
        );
        Pair {
            display: clipped(about.trim_end(), MAIL_COLUMNS),
            replacement: format!("{} ", mail.id),
        }
    });
    pairs
        .filter(|pair| pair.replacement.starts_with(typed))
        .collect()
}

/// Completes a path that ends at the column `at`.
fn paths(path: &str, at: usize) -> rustyline::Result<(usize, Vec<Pair>)> {
    let (start, found) = FilenameCompleter::new().complete_path(path, path.len())?;
    // Names of files may be somebody else's, and are shown in a list.
    let found = found
        .into_iter()
        .filter(|pair| !pair.replacement.contains(is_active));
    Ok((at - path.len() + start, found.collect()))
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {
    /// What acts and was pasted is seen, and does not act here either.
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if line.contains(acts) {
            Cow::Owned(line.replace(acts, "\u{fffd}"))
        } else {
            Cow::Borrowed(line)
        }
    }

    fn highlight_char(&self, line: &str, _: usize, _: CmdKind) -> bool {
        line.contains(acts)
    }
}

fn acts(c: char) -> bool {
    c != '\n' && is_active(c)
}

impl Validator for Words {}
impl Helper for Words {}
