//! A line of the shell becomes a command, or an error that points at the spot. Pure; what is not
//! understood does nothing, so that nothing is ever sent by mistake.

use crate::cli::i18n::{self, tr, tr_later};
use clap::{CommandFactory, Parser};

use super::table::{self, Deed};
use super::words::Row;
use crate::cli::args::{Cli, Line, Verb, bare};
use crate::protocol::MailId;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq)]
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
    /// Answer a mail; with the text if it was on the line.
    Reply {
        /// Which.
        id: MailId,
        /// Everybody it went to, not its sender alone.
        all: bool,
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
    /// What a verb of `mailctl` does.
    Verb(Box<Verb>),
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
    if text.contains('\n') && !text.starts_with('@') {
        return Err(Mistake::new(0, i18n::text(PASTED)));
    }
    let start = columns_before(line, text);
    let row = table::find(word).ok_or_else(|| Mistake::new(start, unknown(word)))?;
    let rest = text[word.len()..].trim_start();
    match row.deed {
        Deed::Write => write(line, text),
        Deed::Reply => reply(line, rest, row),
        Deed::Join if word == "!" => alone(line, rest, row, Command::Topics),
        Deed::Join => alone(line, rest, row, Command::Join(word[1..].to_owned())),
        Deed::Leave => leave(line, word, rest, row),
        Deed::Chat => chat(line, word, rest, row),
        Deed::Accept => one_name(line, rest, row).map(Command::Accept),
        Deed::Decline => one_name(line, rest, row).map(Command::Decline),
        Deed::Refresh => alone(line, rest, row, Command::Refresh),
        Deed::Verb(verb) => {
            verb_line(line, rest, row, verb).map(|verb| Command::Verb(Box::new(verb)))
        }
        Deed::Quit => alone(line, rest, row, Command::Quit),
        Deed::Help => Ok(Command::Help((!rest.is_empty()).then(|| rest.to_owned()))),
    }
}

/// What is told when a text of several lines is no mail.
const PASTED: &str = tr_later!(
    "several lines were pasted, and no word takes them; `@name` before them sends them, \
                      after a question. Nothing was sent"
);

fn unknown(word: &str) -> String {
    if Cli::command().find_subcommand(word).is_some() {
        return match word {
            "send" => {
                tr!("`@name text` sends; there is no word `send`. Nothing was sent").to_owned()
            }
            "topic" => tr!("`!name` joins, `!-name` leaves, `topics` lists them").to_owned(),
            "chat" => tr!("`#user` asks for a chat, `y` and `n` answer").to_owned(),
            verb => tr!(
                "no word here, but a verb: `mailctl {}` outside of the shell",
                verb
            ),
        };
    }
    match table::nearest(word) {
        Some(near) => tr!("no such word; did you mean `{}`? Nothing was sent", near),
        None => {
            tr!("no such word; `help` lists them, `@name text` sends. Nothing was sent").to_owned()
        }
    }
}

/// Reads the arguments of a verb as the command line would.
fn verb_line(line: &str, rest: &str, row: &Row<Deed>, verb: &[&str]) -> Result<Verb, Mistake> {
    let words = verb.iter().map(ToString::to_string);
    let parsed = Line::try_parse_from(words.chain(split(rest)));
    parsed.map(|line| line.verb).map_err(|error| {
        let rendered = error.render().to_string();
        let first = rendered.lines().next().unwrap_or_default();
        let what = first
            .strip_prefix("error: ")
            .filter(|what| !what.ends_with(':'));
        let usage = tr!("it is written `{}`", row.shown());
        let text = what.map_or_else(|| usage.clone(), |what| format!("{what}; {usage}"));
        Mistake::new(columns_before(line, rest), text)
    })
}

/// Splits arguments at spaces. Quotes hold a word together where they stand around it, and a backslash
/// what follows it.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let quoted = Some(&rest[first.len_utf8()..]).filter(|_| matches!(first, '"' | '\''));
        let word = quoted.and_then(|within| within.split_once(first));
        if let Some((word, after)) =
            word.filter(|(_, after)| !after.starts_with(|c: char| !c.is_whitespace()))
        {
            words.push(word.to_owned());
            rest = after.trim_start();
            continue;
        }
        let mut word = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => word.extend(chars.next().map(|(_, c)| c)),
                Some((at, c)) if c.is_whitespace() => break at,
                Some((_, c)) => word.push(c),
                None => break rest.len(),
            }
        };
        words.push(word);
        rest = rest[end..].trim_start();
    }
    words
}

fn alone(line: &str, rest: &str, row: &Row<Deed>, command: Command) -> Result<Command, Mistake> {
    if rest.is_empty() {
        return Ok(command);
    }
    Err(Mistake::new(columns_before(line, rest), nothing_here(row)))
}

fn nothing_here(row: &Row<Deed>) -> String {
    tr!("nothing goes here; it is written `{}`", row.shown())
}

fn leave(line: &str, word: &str, rest: &str, row: &Row<Deed>) -> Result<Command, Mistake> {
    let topic = &word[2..];
    if topic.is_empty() {
        let at = columns_before(line, word) + 2;
        return Err(Mistake::new(at, tr!("the topic to leave goes here")));
    }
    alone(line, rest, row, Command::Leave(topic.to_owned()))
}

fn chat(line: &str, word: &str, rest: &str, row: &Row<Deed>) -> Result<Command, Mistake> {
    let user = &word[1..];
    if user.is_empty() {
        let at = columns_before(line, word) + 1;
        return Err(Mistake::new(
            at,
            tr!("the name goes here, right after the #"),
        ));
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

/// `reply 42 the text`, `reply --all 42`.
fn reply(line: &str, rest: &str, row: &Row<Deed>) -> Result<Command, Mistake> {
    let (first, after) = first_word(rest);
    let all = matches!(first, "--all" | "-a");
    let (number, text) = if all {
        first_word(after)
    } else {
        (first, after)
    };
    let Ok(id) = number.parse() else {
        let at = if number.is_empty() {
            line.chars().count() + 1
        } else {
            columns_before(line, number)
        };
        let why = tr!(
            "the number of a mail goes here; it is written `{}`",
            row.usage
        );
        return Err(Mistake::new(at, why));
    };
    Ok(Command::Reply {
        id,
        all,
        text: (!text.is_empty()).then(|| text.to_owned()),
    })
}

/// Splits a line after its first word.
fn first_word(text: &str) -> (&str, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
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
            return Err(Mistake::new(
                at,
                tr!("the name goes here, right after the @"),
            ));
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
            ("undo", Command::Verb(Box::new(Verb::Undo))),
            ("help @", Command::Help(Some("@".into()))),
            ("/quit", Command::Quit),
        ] {
            assert_eq!(parse(line), Ok(expect), "{line:?}");
        }
    }

    #[test]
    fn a_verb_takes_its_arguments_as_on_the_command_line() {
        let read = Verb::Read(crate::cli::args::Read {
            id: crate::client::mailbox::Called::Number(42),
            thread: false,
        });
        assert_eq!(parse(" read 42"), Ok(Command::Verb(Box::new(read))));
        let Ok(Command::Verb(save)) = parse("save 4 2 --dir 'My Files'") else {
            panic!("no verb");
        };
        assert!(matches!(*save, Verb::Save(save) if save.dir.ends_with("My Files")));
        assert_eq!(wrong("read"), (4, "it is written `read N`".into()));
        let (at, text) = wrong("read x");
        assert!(at == 5 && text.starts_with("invalid value 'x'"), "{text}");
        assert!(wrong("read 1 --json").1.contains("--json"));
        assert!(wrong("send bob hi").1.contains("`@name text` sends"));
        assert!(wrong("export").1.contains("`mailctl export`"));
    }

    #[test]
    fn an_answer_names_a_mail_and_may_bring_its_text() {
        let reply = |id, all, text: Option<&str>| {
            Ok(Command::Reply {
                id,
                all,
                text: text.map(str::to_owned),
            })
        };
        assert_eq!(parse("reply 42"), reply(42, false, None));
        assert_eq!(parse("reply 42 at  5 "), reply(42, false, Some("at  5")));
        assert_eq!(parse("reply --all 42 yes"), reply(42, true, Some("yes")));
        let why = "the number of a mail goes here; it is written `reply N [text]`";
        assert_eq!(wrong("reply"), (6, why.into()));
        assert_eq!(wrong("reply bob hi"), (6, why.into()));
        assert_eq!(wrong("reply -a x"), (9, why.into()));
    }

    #[test]
    fn arguments_are_split_as_people_write_them() {
        for (text, words) in [
            ("", ""),
            ("a  b", "a|b"),
            (r#"a\ b 'c d' "e f""#, "a b|c d|e f"),
            ("it's \"x", "it's|\"x"),
            (r"'a'b \", "'a'b|"),
        ] {
            assert_eq!(split(text).join("|"), words, "{text:?}");
        }
    }

    #[test]
    fn several_lines_are_a_mail_or_a_mistake() {
        assert_eq!(wrong("x\n@bob hi"), (0, PASTED.to_owned()));
        let Ok(Command::Write { targets, text }) = parse("@bob one\n@ana two\n") else {
            panic!("no mail");
        };
        assert_eq!(
            (targets, text.as_deref()),
            (vec!["bob".to_owned()], Some("one\n@ana two"))
        );
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
