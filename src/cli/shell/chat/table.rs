//! The words of a chat, and what a typed line is. One table feeds parsing, help and completion.

use crate::cli::i18n::tr;
use crate::cli::shell::parse::Mistake;
use crate::cli::shell::words::{self, Row, Shape, Takes};
use crate::cli::untrusted::columns;

/// What a word of a chat does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// End the chat.
    Bye,
    /// Show the words to compare aloud.
    Fingerprint,
    /// Say how things stand.
    Status,
    /// Send a file.
    Send,
    /// Take an offered file.
    Accept,
    /// Refuse an offered file, or stop one that is coming.
    Refuse,
    /// Explain the words.
    Help,
}

/// Every word.
pub const ROWS: &[Row<Deed>] = &[
    Row {
        shape: Shape::Word(&["/bye", "/quit", "/exit"]),
        deed: Deed::Bye,
        takes: Takes::Nothing,
        usage: "/bye",
        short: "end the chat (also Ctrl-D)",
        long: "What you said is delivered first. It ends for both.",
    },
    Row {
        shape: Shape::Word(&["/fp"]),
        deed: Deed::Fingerprint,
        takes: Takes::Nothing,
        usage: "/fp",
        short: "show the key words",
        long: "Both sides show the same words. Compare them aloud: when they differ, somebody is in between.",
    },
    Row {
        shape: Shape::Word(&["/status"]),
        deed: Deed::Status,
        takes: Takes::Nothing,
        usage: "/status",
        short: "say what is sent and what is delivered",
        long: "A line counts as delivered when the other side has shown it.",
    },
    Row {
        shape: Shape::Word(&["/send"]),
        deed: Deed::Send,
        takes: Takes::Path,
        usage: "/send FILE",
        short: "send a file",
        long: "It is offered with name, size and BLAKE3, goes the same way as the lines, and is verified at the \
               end. Tab completes the path; `\\ ` is a space in it.",
    },
    Row {
        shape: Shape::Word(&["/accept"]),
        deed: Deed::Accept,
        takes: Takes::Path,
        usage: "/accept [N] [DIR]",
        short: "take an offered file",
        long: "The oldest offer, or number N, into DIR or the folder where mailctl was started. Nothing there \
               is overwritten.",
    },
    Row {
        shape: Shape::Word(&["/refuse"]),
        deed: Deed::Refuse,
        takes: Takes::Nothing,
        usage: "/refuse [N]",
        short: "refuse an offered file, or stop one",
        long: "The oldest offer, or number N; also one that is on its way.",
    },
    Row {
        shape: Shape::Word(&["/help", "/?"]),
        deed: Deed::Help,
        takes: Takes::Word,
        usage: "/help [word]",
        short: "explain the words",
        long: "Every other line goes to the other side. `//text` says `/text`.",
    },
];

/// What a typed line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Lines for the other side; none when nothing was typed.
    Lines(Vec<String>),
    /// A word, and what stands behind it.
    Word(Deed, String),
}

/// Reads what was typed. What begins with `/` is a word and never goes to the other side; a text of
/// several lines was pasted, and holds no words.
pub fn parse(typed: &str) -> Result<Said, Mistake> {
    let text = typed.trim_end();
    if text.contains('\n') {
        return Ok(Said::Lines(text.lines().map(str::to_owned).collect()));
    }
    let start = text.trim_start();
    if let Some(slashed) = start.strip_prefix("//") {
        return Ok(Said::Lines(vec![format!("/{slashed}")]));
    }
    if !start.starts_with('/') {
        let line = (!start.is_empty()).then(|| text.to_owned());
        return Ok(Said::Lines(line.into_iter().collect()));
    }
    let at = columns(&text[..text.len() - start.len()]);
    let word = start.split_whitespace().next().unwrap_or_default();
    let row = words::find(ROWS, word).ok_or_else(|| Mistake {
        at,
        text: unknown(word),
    })?;
    let rest = start[word.len()..].trim_start();
    if !rest.is_empty() && !row.usage.contains(' ') {
        return Err(Mistake {
            at: columns(&text[..text.len() - rest.len()]),
            text: tr!("nothing goes here; it is written `{}`", row.shown()),
        });
    }
    Ok(Said::Word(row.deed, rest.to_owned()))
}

fn unknown(word: &str) -> String {
    match words::nearest(ROWS, word) {
        Some(near) => tr!(
            "no such word; did you mean `{}`? Nothing was sent; to say it, write `/{}`",
            near,
            word
        ),
        None => tr!(
            "no such word; /help lists them. Nothing was sent; to say it, write `/{}`",
            word
        ),
    }
}

/// Returns the help of one word, or of all.
pub fn help(word: &str) -> String {
    if word.is_empty() {
        let all = words::help(ROWS, None);
        let rest = tr!("every other line goes to the other side; //text says /text");
        return format!("{all}\n  {rest}");
    }
    let slashed = format!("/{}", word.trim_start_matches('/'));
    words::help(ROWS, Some(&slashed))
}

/// Returns the beginning of a path in what was typed so far, if one is being typed.
pub fn path_in(typed: &str) -> Option<&str> {
    let (word, rest) = typed.split_once(char::is_whitespace)?;
    let row = words::find(ROWS, word)?;
    matches!(row.deed, Deed::Send | Deed::Accept).then_some(rest)
}

/// Returns what the last word of `typed` may become, and where it starts.
pub fn complete(typed: &str) -> (usize, Vec<String>) {
    if !typed.starts_with('/') || typed.contains(char::is_whitespace) {
        return (typed.len(), Vec::new());
    }
    (0, words::beginning(ROWS, typed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Said {
        Said::Lines(lines.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lines_go_out_and_words_do_not() {
        assert_eq!(parse("hi  there "), Ok(lines(&["hi  there"])));
        assert_eq!(parse("  indented"), Ok(lines(&["  indented"])));
        assert_eq!(parse(" "), Ok(lines(&[])));
        assert_eq!(parse("//bye"), Ok(lines(&["/bye"])));
        assert_eq!(
            parse("/etc/hosts\n/bye"),
            Ok(lines(&["/etc/hosts", "/bye"]))
        );
        assert_eq!(parse(" /bye"), Ok(Said::Word(Deed::Bye, String::new())));
        assert_eq!(parse("/help /fp"), Ok(Said::Word(Deed::Help, "/fp".into())));
    }

    #[test]
    fn a_mistyped_word_is_not_sent() {
        let wrong = parse(" /stauts").unwrap_err();
        assert_eq!(wrong.at, 1);
        assert!(wrong.text.contains("did you mean `/status`"), "{wrong:?}");
        assert!(wrong.text.contains("write `//stauts`"), "{wrong:?}");
        assert_eq!(parse("/bye now").unwrap_err().at, 5);
        assert!(parse("/").is_err());
    }

    #[test]
    fn help_and_completion_come_from_the_table() {
        insta::assert_snapshot!(help(""), @r"
          /bye               end the chat (also Ctrl-D)
          /fp                show the key words
          /status            say what is sent and what is delivered
          /send FILE         send a file
          /accept [N] [DIR]  take an offered file
          /refuse [N]        refuse an offered file, or stop one
          /help [word]       explain the words
          every other line goes to the other side; //text says /text
        ");
        assert!(help("fp").starts_with("/fp  show the key words"));
        let both = vec!["/status".to_owned(), "/send".to_owned()];
        assert_eq!(complete("/s"), (0, both));
        assert_eq!(path_in("/send a/b"), Some("a/b"));
        assert_eq!(path_in("/bye a/b"), None);
        assert_eq!(complete("hi /s").1, Vec::<String>::new());
    }
}
