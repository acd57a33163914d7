//! The words of the shell: one table feeds parsing, help and completion.

use super::words::{self, Row, Shape};

/// What a word of the shell does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// `@target [text]`.
    Write,
    /// `!topic`, or `!` alone.
    Join,
    /// `!-topic`.
    Leave,
    /// `#user`.
    Chat,
    /// `y [user]`.
    Accept,
    /// `n [user]`.
    Decline,
    /// Show what arrived.
    Refresh,
    /// Take back what was done last.
    Undo,
    /// Explain the words.
    Help,
    /// Leave the shell.
    Quit,
}

/// Every word, longer marks before the shorter ones they begin with.
pub const ROWS: &[Row<Deed>] = &[
    Row {
        shape: Shape::Mark("@"),
        deed: Deed::Write,
        usage: "@name [text]",
        short: "write to a user or a topic",
        long: "`@bob see you at 5` sends that line at once. `@bob` alone asks for a subject (Enter for \
               none) and a text; a single `.` or Ctrl-D ends the text and sends it, `~x` keeps it \
               as a draft, and `~?` lists what else a line with ~ does. Several names: `@bob @news`.",
    },
    Row {
        shape: Shape::Mark("!-"),
        deed: Deed::Leave,
        usage: "!-topic",
        short: "leave a topic",
        long: "Leaves what was joined: `!-news`, `!-lab/*`.",
    },
    Row {
        shape: Shape::Mark("!"),
        deed: Deed::Join,
        usage: "!topic",
        short: "join a topic; `!` alone lists them",
        long: "`!news` joins: mail sent to news from now on waits for you, also while you are away. \
               `!lab/*` joins all under lab. `!` lists the topics you may read.",
    },
    Row {
        shape: Shape::Mark("#"),
        deed: Deed::Chat,
        usage: "#user",
        short: "ask for a direct chat",
        long: "`#bob` asks bob, who answers y or n; Ctrl-C takes it back. Then every line goes straight to \
               bob, past the server, and `/help` lists what else there is. `/bye` or Ctrl-D ends it.",
    },
    Row {
        shape: Shape::Word(&["y", "yes"]),
        deed: Deed::Accept,
        usage: "y [user]",
        short: "accept a request for a chat",
        long: "`y` accepts when one request is open; when several are, it lists them, and `y ana` accepts \
               that one.",
    },
    Row {
        shape: Shape::Word(&["n", "no"]),
        deed: Deed::Decline,
        usage: "n [user]",
        short: "decline a request for a chat",
        long: "`n` declines when one request is open; when several are, it lists them, and `n ana` declines \
               that one.",
    },
    Row {
        shape: Shape::Word(&["refresh", "r"]),
        deed: Deed::Refresh,
        usage: "refresh",
        short: "show what arrived since the last time",
        long: "Shows every mail that you have not seen, oldest first, and marks it as seen.",
    },
    Row {
        shape: Shape::Word(&["undo"]),
        deed: Deed::Undo,
        usage: "undo",
        short: "take back what was done last",
        long: "Takes back the last `mailctl rm`, or a mail that is held back: with MAILCTL_UNDO=10s in the environment the \
               shell holds each one for ten seconds, and `undo` makes a draft of it. What was sent stays sent.",
    },
    Row {
        shape: Shape::Word(&["help", "?"]),
        deed: Deed::Help,
        usage: "help [word]",
        short: "explain the words",
        long: "`help` lists the words, `help @` explains one.",
    },
    Row {
        shape: Shape::Word(&["quit", "/quit", "exit"]),
        deed: Deed::Quit,
        usage: "quit",
        short: "leave the shell (also Ctrl-D)",
        long: "You stay logged in on this machine; mail waits for you.",
    },
];

/// Names that may be completed, as far as the shell has heard of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Known {
    /// What this user reads: his own name and topics.
    pub addresses: Vec<String>,
    /// Users who wrote, ask or were asked.
    pub people: Vec<String>,
    /// Users whose request for a chat stands open.
    pub asking: Vec<String>,
}

/// Returns the row that `word` begins with (a mark) or is (a word).
pub fn find(word: &str) -> Option<&'static Row<Deed>> {
    words::find(ROWS, word)
}

/// Returns the word of the table that is nearest to `word`, if any is near.
pub fn nearest(word: &str) -> Option<&'static str> {
    words::nearest(ROWS, word)
}

/// Returns the help of one word, or of all.
pub fn help(word: Option<&str>) -> String {
    words::help(ROWS, word)
}

/// Returns what the last word of `typed` may become, and where it starts: a word of the table at the
/// start of a line, else a name where one fits.
pub fn complete(typed: &str, known: &Known) -> (usize, Vec<String>) {
    let last = typed.rsplit(char::is_whitespace).next().unwrap_or_default();
    let start = typed.len() - last.len();
    let first = typed.split_whitespace().next().unwrap_or_default();
    let found = if let Some(mark) = ROWS
        .iter()
        .filter_map(Row::mark)
        .find(|m| last.starts_with(m))
    {
        named(mark, &last[mark.len()..], known)
    } else if typed[..start].trim().is_empty() {
        words::beginning(ROWS, last)
    } else if matches!(
        find(first).map(|row| row.deed),
        Some(Deed::Accept | Deed::Decline)
    ) {
        fitting("", last, &known.asking)
    } else {
        Vec::new()
    };
    (start, found)
}

fn named(mark: &str, name: &str, known: &Known) -> Vec<String> {
    let mut found = fitting(mark, name, &known.people);
    if mark == "#" {
        return found;
    }
    let also = fitting(mark, name, &known.addresses);
    found.extend(also);
    found.sort();
    found.dedup();
    found
}

fn fitting(mark: &str, name: &str, names: &[String]) -> Vec<String> {
    let fitting = names.iter().filter(|known| known.starts_with(name));
    fitting.map(|known| format!("{mark}{known} ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_marks_win_and_words_are_whole() {
        assert_eq!(find("!-news").unwrap().deed, Deed::Leave);
        assert_eq!(find("!news").unwrap().deed, Deed::Join);
        assert_eq!(find("r").unwrap().deed, Deed::Refresh);
        assert!(find("refreshing").is_none());
    }

    #[test]
    fn words_and_names_are_completed() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let known = Known {
            addresses: names(&["boats", "bulletin"]),
            people: names(&["bob", "ana"]),
            asking: names(&["bob"]),
        };
        let complete = |typed| complete(typed, &known);
        assert_eq!(complete("ref"), (0, names(&["refresh"])));
        assert_eq!(complete("x ref"), (2, vec![]));
        assert_eq!(complete("@bo"), (0, names(&["@boats ", "@bob "])));
        assert_eq!(complete("@ana @bu"), (5, names(&["@bulletin "])));
        assert_eq!(complete("#b"), (0, names(&["#bob "])));
        assert_eq!(complete("y "), (2, names(&["bob "])));
        assert_eq!(complete("yes a"), (4, vec![]));
        // A space may have three bytes.
        assert_eq!(complete("@ana\u{3000}@bu"), (7, names(&["@bulletin "])));
    }

    #[test]
    fn help_explains_one_word_or_lists_all() {
        insta::assert_snapshot!(help(None), @r"
          @name [text]  write to a user or a topic
          !-topic       leave a topic
          !topic        join a topic; `!` alone lists them
          #user         ask for a direct chat
          y [user]      accept a request for a chat
          n [user]      decline a request for a chat
          refresh       show what arrived since the last time
          undo          take back what was done last
          help [word]   explain the words
          quit          leave the shell (also Ctrl-D)
        ");
        assert!(help(Some("!-x")).starts_with("!-topic  leave"));
        assert!(help(Some("quitt")).contains("`help quit`"));
        assert!(help(Some("#bob")).starts_with("#user  ask"));
        assert!(help(Some("bonjour")).starts_with("no word"));
    }

    #[test]
    fn typing_errors_find_their_word() {
        assert_eq!(nearest("refersh"), Some("refresh"));
        assert_eq!(nearest("ref"), Some("refresh"));
        assert_eq!(nearest("qiut"), Some("quit"));
        assert_eq!(nearest("bonjour"), None);
        assert_eq!(nearest("z"), None);
    }
}
