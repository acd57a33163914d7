//! A line of the shell becomes a command, or an error that points at the spot. Pure; what is not
//! understood does nothing, so that nothing is ever sent by mistake.

use super::table::{self, Deed};
use super::words::Row;
use crate::cli::args::bare;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Nothing: an empty line.
    Nothing,
    /// Write to these; with the text if it was on the line.
    Write {
        /// Names without their mark.
        targets: Vec<String>,
        /// The rest of the line.
        text: Option<String>,
    },
    /// Join a topic.
    Join(String),
    /// Leave a topic.
    Leave(String),
    /// List topics.
    Topics,
    /// Ask this user for a chat.
    Chat(String),
    /// Accept the request for a chat: of this user, or the only one.
    Accept(Option<String>),
    /// Decline the request for a chat: of this user, or the only one.
    Decline(Option<String>),
    /// Show what arrived.
    Refresh,
    /// Take back what was done last.
    Undo,
    /// Explain all words, or one.
    Help(Option<String>),
    /// Leave the shell.
    Quit,
}

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Columns before the spot.
    pub at: usize,
    /// What is wrong there.
    pub text: String,
}

impl Mistake {
    fn new(at: usize, text: impl Into<String>) -> Self {
        Self {
            at,
            text: text.into(),
        }
    }
}

/// Reads one line.
pub fn parse(line: &str) -> Result<Command, Mistake> {
    let text = line.trim();
    let Some(word) = text.split_whitespace().next() else {
        return Ok(Command::Nothing);
    };
    let start = columns_before(line, text);
    let row = table::find(word).ok_or_else(|| Mistake::new(start, unknown(word)))?;
    let rest = text[word.len()..].trim_start();
    match row.deed {
        Deed::Write => write(line, text),
        Deed::Join if word == "!" => alone(line, rest, row, Command::Topics),
        Deed::Join => alone(line, rest, row, Command::Join(word[1..].to_owned())),
        Deed::Leave => leave(line, word, rest, row),
        Deed::Chat => chat(line, word, rest, row),
        Deed::Accept => one_name(line, rest, row).map(Command::Accept),
        Deed::Decline => one_name(line, rest, row).map(Command::Decline),
        Deed::Refresh => alone(line, rest, row, Command::Refresh),
        Deed::Undo => alone(line, rest, row, Command::Undo),
        Deed::Quit => alone(line, rest, row, Command::Quit),
        Deed::Help => Ok(Command::Help((!rest.is_empty()).then(|| rest.to_owned()))),
    }
}

fn unknown(word: &str) -> String {
    match table::nearest(word) {
        Some(near) => format!("no such word; did you mean `{near}`? Nothing was sent"),
        None => "no such word; `help` lists them, `@name text` sends. Nothing was sent".to_owned(),
    }
}

fn alone(line: &str, rest: &str, row: &Row<Deed>, command: Command) -> Result<Command, Mistake> {
    if rest.is_empty() {
        return Ok(command);
    }
    Err(Mistake::new(columns_before(line, rest), nothing_here(row)))
}

fn nothing_here(row: &Row<Deed>) -> String {
    format!("nothing goes here; it is written `{}`", row.usage)
}

fn leave(line: &str, word: &str, rest: &str, row: &Row<Deed>) -> Result<Command, Mistake> {
    let topic = &word[2..];
    if topic.is_empty() {
        let at = columns_before(line, word) + 2;
        return Err(Mistake::new(at, "the topic to leave goes here"));
    }
    alone(line, rest, row, Command::Leave(topic.to_owned()))
}

fn chat(line: &str, word: &str, rest: &str, row: &Row<Deed>) -> Result<Command, Mistake> {
    let user = &word[1..];
    if user.is_empty() {
        let at = columns_before(line, word) + 1;
        return Err(Mistake::new(at, "the name goes here, right after the #"));
    }
    alone(line, rest, row, Command::Chat(user.to_owned()))
}

/// At most one name, with or without a mark.
fn one_name(line: &str, rest: &str, row: &Row<Deed>) -> Result<Option<String>, Mistake> {
    let mut words = rest.split_whitespace();
    let name = words.next().map(|name| bare(name.trim_start_matches('#')));
    match words.next() {
        None => Ok(name.map(str::to_owned)),
        Some(more) => Err(Mistake::new(columns_before(line, more), nothing_here(row))),
    }
}

/// `@bob @news the text`: names first, then everything after them as it stands.
fn write(line: &str, text: &str) -> Result<Command, Mistake> {
    let mut targets = Vec::new();
    let mut rest = text;
    while let Some(named) = rest.strip_prefix('@') {
        let end = named.find(char::is_whitespace).unwrap_or(named.len());
        let (name, after) = named.split_at(end);
        if name.is_empty() {
            let at = columns_before(line, rest) + 1;
            return Err(Mistake::new(at, "the name goes here, right after the @"));
        }
        targets.push(name.to_owned());
        rest = after.trim_start();
    }
    let text = (!rest.is_empty()).then(|| rest.to_owned());
    Ok(Command::Write { targets, text })
}

/// Columns of `line` before its slice `part`.
fn columns_before(line: &str, part: &str) -> usize {
    let at = part.as_ptr() as usize - line.as_ptr() as usize;
    crate::cli::untrusted::columns(&line[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> (usize, String) {
        let mistake = parse(line).unwrap_err();
        (mistake.at, mistake.text)
    }

    #[test]
    fn the_seeds_words_are_understood() {
        let write = |targets: &[&str], text: Option<&str>| Command::Write {
            targets: targets.iter().map(ToString::to_string).collect(),
            text: text.map(str::to_owned),
        };
        for (line, expect) in [
            ("", Command::Nothing),
            ("@bob", write(&["bob"], None)),
            ("@bob see  you @5", write(&["bob"], Some("see  you @5"))),
            (" @bob @lab/x hi ", write(&["bob", "lab/x"], Some("hi"))),
            ("!", Command::Topics),
            ("!news", Command::Join("news".into())),
            ("!lab/*", Command::Join("lab/*".into())),
            ("!-news", Command::Leave("news".into())),
            ("#bob", Command::Chat("bob".into())),
            ("y", Command::Accept(None)),
            ("yes @ana ", Command::Accept(Some("ana".into()))),
            ("n #ana", Command::Decline(Some("ana".into()))),
            ("refresh", Command::Refresh),
            ("undo", Command::Undo),
            ("help @", Command::Help(Some("@".into()))),
            ("/quit", Command::Quit),
        ] {
            assert_eq!(parse(line), Ok(expect), "{line:?}");
        }
    }

    #[test]
    fn mistakes_point_at_the_spot_and_do_nothing() {
        assert_eq!(wrong("  refersh").0, 2);
        assert!(wrong("refersh").1.contains("`refresh`"));
        assert_eq!(wrong("refresh now").0, 8);
        assert_eq!(
            wrong("@ bob hi"),
            (1, "the name goes here, right after the @".into())
        );
        assert_eq!(wrong("!-").0, 2);
        assert_eq!(wrong("!news sport").0, 6);
        assert!(wrong("hello everybody").1.contains("Nothing was sent"));
        assert_eq!(wrong(" #").0, 2);
        assert_eq!(wrong("#bob hi").0, 5);
        assert_eq!(wrong("y ana bob").0, 6);
    }

    proptest::proptest! {
        #[test]
        fn only_an_at_ever_writes(line in "\\PC{0,30}") {
            if let Ok(Command::Write { targets, .. }) = parse(&line) {
                proptest::prop_assert!(line.trim().starts_with('@') && !targets.is_empty());
            }
        }
    }
}
