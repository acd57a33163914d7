//! The words of the shell: one table feeds parsing, help and completion.

/// What a word of the shell does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// `@target [text]`.
    Write,
    /// `!topic`, or `!` alone.
    Join,
    /// `!-topic`.
    Leave,
    /// Show what arrived.
    Refresh,
    /// Explain the words.
    Help,
    /// Leave the shell.
    Quit,
}

/// How a word is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A mark before a name.
    Mark(&'static str),
    /// A word by itself, with other spellings.
    Word(&'static [&'static str]),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// How it is recognised.
    pub shape: Shape,
    /// What it does.
    pub deed: Deed,
    /// How it is written, for help.
    pub usage: &'static str,
    /// One line of help.
    pub short: &'static str,
    /// The rest of the help.
    pub long: &'static str,
}

/// Every word, longer marks before the shorter ones they begin with.
pub const ROWS: &[Row] = &[
    Row {
        shape: Shape::Mark("@"),
        deed: Deed::Write,
        usage: "@name [text]",
        short: "write to a user or a topic",
        long: "`@bob see you at 5` sends that line at once. `@bob` alone asks for a subject (Enter for \
               none) and a text; a single `.` or Ctrl-D ends the text and sends it, Ctrl-C drops it. \
               Several names: `@bob @news`.",
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
        shape: Shape::Word(&["refresh", "r"]),
        deed: Deed::Refresh,
        usage: "refresh",
        short: "show what arrived since the last time",
        long: "Shows every mail that you have not seen, oldest first, and marks it as seen.",
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

/// Returns the row that `word` begins with (a mark) or is (a word).
pub fn find(word: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| match row.shape {
        Shape::Mark(mark) => word.starts_with(mark),
        Shape::Word(spellings) => spellings.contains(&word),
    })
}

/// Returns the word of the table that is nearest to `word`, if any is near.
pub fn nearest(word: &str) -> Option<&'static str> {
    let spellings = ROWS.iter().filter_map(|row| match row.shape {
        Shape::Word(spellings) => spellings.first().copied(),
        Shape::Mark(_) => None,
    });
    spellings
        .map(|known| (strsim::damerau_levenshtein(known, word), known))
        .filter(|(distance, known)| *distance <= 2 || known.starts_with(word))
        .min()
        .map(|(_, known)| known)
}

/// Returns what `typed` may become: a word (at the start of a line), or one of `names` after its
/// mark.
pub fn completions(typed: &str, first: bool, names: &[String]) -> Vec<String> {
    let marks = ROWS.iter().filter_map(|row| match row.shape {
        Shape::Mark(mark) => Some(mark),
        Shape::Word(_) => None,
    });
    if let Some(mark) = marks.into_iter().find(|mark| typed.starts_with(mark)) {
        let name = &typed[mark.len()..];
        let fitting = names.iter().filter(|known| known.starts_with(name));
        return fitting.map(|known| format!("{mark}{known} ")).collect();
    }
    let words = ROWS.iter().filter_map(|row| match row.shape {
        Shape::Word(spellings) => spellings.first(),
        Shape::Mark(_) => None,
    });
    let fitting = words.filter(|word| first && word.starts_with(typed));
    fitting.map(ToString::to_string).collect()
}

/// Returns the help of one word, or of all.
pub fn help(word: Option<&str>) -> String {
    match word.map(|word| (word, find(word))) {
        Some((_, Some(row))) => format!("{}  {}\n  {}", row.usage, row.short, row.long),
        Some((word, None)) => match nearest(word) {
            Some(near) => format!("no such word; did you mean `help {near}`?"),
            None => format!("no word {word:?}\n{}", overview()),
        },
        None => overview(),
    }
}

fn overview() -> String {
    let lines: Vec<String> = ROWS
        .iter()
        .map(|row| format!("  {:<14}{}", row.usage, row.short))
        .collect();
    lines.join("\n")
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
        let names = ["bob".to_owned(), "bulletin".to_owned()];
        assert_eq!(completions("ref", true, &names), ["refresh"]);
        assert!(completions("ref", false, &names).is_empty());
        assert_eq!(completions("@bo", true, &names), ["@bob "]);
        assert_eq!(completions("!-b", true, &names).len(), 2);
    }

    #[test]
    fn help_explains_one_word_or_lists_all() {
        insta::assert_snapshot!(help(None), @r"
          @name [text]  write to a user or a topic
          !-topic       leave a topic
          !topic        join a topic; `!` alone lists them
          refresh       show what arrived since the last time
          help [word]   explain the words
          quit          leave the shell (also Ctrl-D)
        ");
        assert!(help(Some("!-x")).starts_with("!-topic  leave"));
        assert!(help(Some("quitt")).contains("`help quit`"));
        assert!(help(Some("#bob")).starts_with("no word"));
    }

    #[test]
    fn typing_errors_find_their_word() {
        assert_eq!(nearest("refersh"), Some("refresh"));
        assert_eq!(nearest("ref"), Some("refresh"));
        assert_eq!(nearest("qiut"), Some("quit"));
        assert_eq!(nearest("bonjour"), None);
    }
}
