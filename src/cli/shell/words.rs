//! Tables of words: how one is recognised, written and explained. The shell has one
//! ([`super::table`]), the chat has one ([`super::chat::table`]); each feeds parsing, help and
//! completion.

use rustyline::completion::unescape;

use crate::cli::i18n::{text, tr};
use crate::cli::ui::terminal_width;
use crate::cli::untrusted::{columns, folded_at_words};

/// Stands before what explains a word.
const INDENT: &str = "  ";

/// How a word is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A mark before a name.
    Mark(&'static str),
    /// A word by itself, with other spellings.
    Word(&'static [&'static str]),
}

/// What follows a word, for completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing that could be completed.
    Nothing,
    /// A word of the same table.
    Word,
    /// A user whose request for a chat stands open.
    Asker,
    /// The number of a mail.
    Mail,
    /// The number of a mail, then where to save what is attached.
    MailAndPath,
    /// The number of a mail, then users.
    MailAndPeople,
    /// A topic, or oneself.
    Address,
    /// A topic.
    Topic,
    /// Users.
    People,
    /// A file.
    Path,
}

/// One row of a table; `D` is what its words do.
#[derive(Debug, Clone, Copy)]
pub struct Row<D> {
    /// How it is recognised.
    pub shape: Shape,
    /// What it does.
    pub deed: D,
    /// What follows it.
    pub takes: Takes,
    /// How it is written, for help.
    pub usage: &'static str,
    /// One line of help.
    pub short: &'static str,
    /// The rest of the help.
    pub long: &'static str,
}

impl<D> Row<D> {
    /// Its mark, if it is one.
    pub fn mark(&self) -> Option<&'static str> {
        match self.shape {
            Shape::Mark(mark) => Some(mark),
            Shape::Word(_) => None,
        }
    }

    /// How it is written, in the language of this process: a word by itself is that word.
    pub fn shown(&self) -> &'static str {
        if self.word() == Some(self.usage) {
            self.usage
        } else {
            text(self.usage)
        }
    }

    /// Its first spelling, if it is a word.
    pub fn word(&self) -> Option<&'static str> {
        match self.shape {
            Shape::Mark(_) => None,
            Shape::Word(spellings) => spellings.first().copied(),
        }
    }
}

/// Returns the row that `word` begins with (a mark) or is (a word).
pub fn find<D>(rows: &'static [Row<D>], word: &str) -> Option<&'static Row<D>> {
    rows.iter().find(|row| match row.shape {
        Shape::Mark(mark) => word.starts_with(mark),
        Shape::Word(spellings) => spellings.contains(&word),
    })
}

/// Returns the word of a table that is nearest to `word`, if any is near.
pub fn nearest<D>(rows: &'static [Row<D>], word: &str) -> Option<&'static str> {
    rows.iter()
        .filter_map(Row::word)
        // A word that was not typed to its end is nearer than a mistyped one.
        .map(|known| {
            let distance = strsim::damerau_levenshtein(known, word);
            (!known.starts_with(word), distance, known)
        })
        .filter(|(is_other, distance, known)| {
            // A word of one letter is near to every other.
            (*distance <= 2 && known.len() > 2) || !is_other
        })
        .min()
        .map(|(.., known)| known)
}

/// Returns the words of a table that begin with `typed`.
pub fn beginning<D>(rows: &'static [Row<D>], typed: &str) -> Vec<String> {
    let words = rows.iter().filter_map(Row::word);
    words
        .filter(|word| word.starts_with(typed))
        .map(ToString::to_string)
        .collect()
}

/// Returns the help of one word, or of all.
pub fn help<D>(rows: &'static [Row<D>], word: Option<&str>) -> String {
    match word.map(|word| (word, find(rows, word))) {
        Some((_, Some(row))) => {
            let (usage, short, long) = (row.shown(), text(row.short), text(row.long));
            let width = terminal_width().saturating_sub(INDENT.len());
            let long = folded_at_words(long, width).replace('\n', &format!("\n{INDENT}"));
            format!("{usage}  {short}\n{INDENT}{long}")
        }
        Some((word, None)) => match nearest(rows, word) {
            Some(near) => tr!("no such word; did you mean `help {}`?", near),
            None => format!(
                "{}\n{}",
                tr!("no word {}", format!("{word:?}")),
                overview(rows)
            ),
        },
        None => overview(rows),
    }
}

fn overview<D>(rows: &'static [Row<D>]) -> String {
    let usages = rows.iter().map(Row::shown);
    let widest = usages.map(columns).max().unwrap_or(0);
    let lines: Vec<String> = rows
        .iter()
        .map(|row| format!("  {:<widest$}  {}", row.shown(), text(row.short)))
        .collect();
    lines.join("\n")
}

/// A path as it was meant: completion puts a backslash before a space, people and programs put quotes
/// around.
pub fn unescaped(path: &str) -> String {
    for quote in ['"', '\''] {
        let within = path.strip_prefix(quote);
        if let Some(path) = within.and_then(|path| path.strip_suffix(quote)) {
            return path.to_owned();
        }
    }
    unescape(path, Some('\\')).into_owned()
}
