//! The words of the shell: one table feeds parsing, help and completion.

use super::words::{self, Row, Shape, Takes};

/// What a word of the shell does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// `@target [text]`.
    Write,
    /// `reply N [text]`.
    Reply,
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
    /// A verb of `mailctl` with its arguments, under this name there.
    Verb(&'static [&'static str]),
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
        takes: Takes::Nothing,
        usage: "@name [text]",
        short: "write to a user or a topic",
        long: "`@bob see you at 5` sends that line at once. `@bob` alone asks for a subject (Enter for \
               none) and a text; a single `.` or Ctrl-D ends the text and sends it, `~x` keeps it \
               as a draft, and `~?` lists what else a line with ~ does. Several names: `@bob @news`.",
    },
    Row {
        shape: Shape::Mark("!-"),
        deed: Deed::Leave,
        takes: Takes::Nothing,
        usage: "!-topic",
        short: "leave a topic",
        long: "Leaves what was joined: `!-news`, `!-lab/*`.",
    },
    Row {
        shape: Shape::Mark("!"),
        deed: Deed::Join,
        takes: Takes::Nothing,
        usage: "!topic",
        short: "join a topic; `!` alone lists them",
        long: "`!news` joins: mail sent to news from now on waits for you, also while you are away. \
               `!lab/*` joins all under lab. `!` lists the topics you may read.",
    },
    Row {
        shape: Shape::Mark("#"),
        deed: Deed::Chat,
        takes: Takes::Nothing,
        usage: "#user",
        short: "ask for a direct chat",
        long: "`#bob` asks bob, who answers y or n; Ctrl-C takes it back. Then every line goes straight to \
               bob, past the server, and `/help` lists what else there is. `/bye` or Ctrl-D ends it.",
    },
    Row {
        shape: Shape::Word(&["y", "yes"]),
        deed: Deed::Accept,
        takes: Takes::Asker,
        usage: "y [user]",
        short: "accept a request for a chat",
        long: "`y` accepts when one request is open; when several are, it lists them, and `y ana` accepts \
               that one.",
    },
    Row {
        shape: Shape::Word(&["n", "no"]),
        deed: Deed::Decline,
        takes: Takes::Asker,
        usage: "n [user]",
        short: "decline a request for a chat",
        long: "`n` declines when one request is open; when several are, it lists them, and `n ana` declines \
               that one.",
    },
    Row {
        shape: Shape::Word(&["refresh", "r"]),
        deed: Deed::Refresh,
        takes: Takes::Nothing,
        usage: "refresh",
        short: "show what arrived since the last time",
        long: "Shows every mail that you have not seen, oldest first, and marks it as seen.",
    },
    Row {
        shape: Shape::Word(&["read"]),
        deed: Deed::Verb(&["read"]),
        takes: Takes::Mail,
        usage: "read N",
        short: "show one mail, seen or not",
        long: "`read 42` shows mail 42, as `refresh` numbers it, and what is attached.",
    },
    Row {
        shape: Shape::Word(&["reply"]),
        deed: Deed::Reply,
        takes: Takes::Mail,
        usage: "reply N [text]",
        short: "answer a mail",
        long: "`reply 42 gladly` answers mail 42 at once, `reply 42` asks for the text as `@name` does. It goes to the \
               sender; `reply --all 42` to everybody the mail went to.",
    },
    Row {
        shape: Shape::Word(&["forward"]),
        deed: Deed::Verb(&["forward"]),
        takes: Takes::MailAndPeople,
        usage: "forward N NAME",
        short: "pass a mail on",
        long: "`forward 42 bob news` sends mail 42 to bob and to news, with what is attached; `forward 42 bob -b 'see below'` with \
               a word above it, `forward 42 bob --edit` after you have edited it.",
    },
    Row {
        shape: Shape::Word(&["save"]),
        deed: Deed::Verb(&["save"]),
        takes: Takes::MailAndPath,
        usage: "save N",
        short: "save what is attached to a mail",
        long: "`save 42` saves all of it where mailctl was started, `save 42 1` the first file only, \
               `save 42 --dir Downloads` elsewhere. Nothing is overwritten.",
    },
    Row {
        shape: Shape::Word(&["rm"]),
        deed: Deed::Verb(&["rm"]),
        takes: Takes::Mail,
        usage: "rm N",
        short: "move a mail to the trash",
        long: "`rm 42` moves mail 42 to the trash, `rm 42 43` both; `undo` takes it back. `rm --purge` empties the \
               trash, after a question.",
    },
    Row {
        shape: Shape::Word(&["undo"]),
        deed: Deed::Verb(&["undo"]),
        takes: Takes::Nothing,
        usage: "undo",
        short: "take back what was done last",
        long: "Takes back the last `mailctl rm`, or a mail that is held back: with MAILCTL_UNDO=10s in the environment the \
               shell holds each one for ten seconds, and `undo` makes a draft of it. What was sent stays sent.",
    },
    Row {
        shape: Shape::Word(&["search"]),
        deed: Deed::Verb(&["search"]),
        takes: Takes::Nothing,
        usage: "search WORD",
        short: "find mails that are here",
        long: "`search lunch from:ana since:7d` finds them, newest first; also to:, in:, subject:, before:, \
               has:attachment, is:unread, and -word for what must not be there.",
    },
    Row {
        shape: Shape::Word(&["history"]),
        deed: Deed::Verb(&["history"]),
        takes: Takes::Address,
        usage: "history T",
        short: "show the newest mails of a topic, seen or not",
        long: "`history news` shows what is kept in news, `history news --limit 50` more of it. It marks \
               nothing as seen.",
    },
    Row {
        shape: Shape::Word(&["topics"]),
        deed: Deed::Verb(&["topic", "ls"]),
        takes: Takes::Nothing,
        usage: "topics",
        short: "list the topics you may read",
        long: "Lists them with what waits in each; `!` does the same.",
    },
    Row {
        shape: Shape::Word(&["who"]),
        deed: Deed::Verb(&["who"]),
        takes: Takes::People,
        usage: "who [user]",
        short: "show who is here, or was seen when",
        long: "`who` shows everybody, `who bob` one. `who --hide` shows nobody that you are here, `who --show` does again.",
    },
    Row {
        shape: Shape::Word(&["outbox"]),
        deed: Deed::Verb(&["outbox"]),
        takes: Takes::Nothing,
        usage: "outbox",
        short: "list what was written and not yet sent",
        long: "`outbox retry` sends what waits, `outbox retry 3` one of it, `outbox rm 3` throws it away.",
    },
    Row {
        shape: Shape::Word(&["draft"]),
        deed: Deed::Verb(&["draft"]),
        takes: Takes::Nothing,
        usage: "draft",
        short: "list drafts; send, edit or drop one",
        long: "`draft open 3` shows draft 3, `draft edit 3` edits its text, `draft send 3` sends it, `draft send 3 --to bob` to \
               somebody else, `draft rm 3` throws it away.",
    },
    Row {
        shape: Shape::Word(&["status"]),
        deed: Deed::Verb(&["status"]),
        takes: Takes::Nothing,
        usage: "status",
        short: "count what is unread",
        long: "Says per address how much is unread, in one line. It fetches and marks nothing.",
    },
    Row {
        shape: Shape::Word(&["mute"]),
        deed: Deed::Verb(&["mute"]),
        takes: Takes::Topic,
        usage: "mute T",
        short: "keep a topic's mail, and do not announce it",
        long: "`mute news` keeps what comes for `refresh` and says nothing of it here; `mute` lists what is muted.",
    },
    Row {
        shape: Shape::Word(&["unmute"]),
        deed: Deed::Verb(&["unmute"]),
        takes: Takes::Topic,
        usage: "unmute T",
        short: "announce a topic's mail again",
        long: "Takes back what `mute` did: `unmute news`.",
    },
    Row {
        shape: Shape::Word(&["block"]),
        deed: Deed::Verb(&["block"]),
        takes: Takes::People,
        usage: "block USER",
        short: "take no mail and no chats from a user",
        long: "`block eve` refuses what eve sends from now on; `block` lists whom you block.",
    },
    Row {
        shape: Shape::Word(&["unblock"]),
        deed: Deed::Verb(&["unblock"]),
        takes: Takes::People,
        usage: "unblock USER",
        short: "take mail and chats from a user again",
        long: "Takes back what `block` did: `unblock eve`.",
    },
    Row {
        shape: Shape::Word(&["receipts"]),
        deed: Deed::Verb(&["receipts"]),
        takes: Takes::Nothing,
        usage: "receipts",
        short: "say whether senders hear that you read their mail",
        long: "`receipts` shows what holds; `receipts on`, `receipts off` and `receipts ask` change it.",
    },
    Row {
        shape: Shape::Word(&["device"]),
        deed: Deed::Verb(&["device"]),
        takes: Takes::Nothing,
        usage: "device",
        short: "list your devices; name or remove one",
        long: "`device rename 2 laptop` names device 2, `device rm 2` takes all rights from it, after a question.",
    },
    Row {
        shape: Shape::Word(&["whoami"]),
        deed: Deed::Verb(&["whoami"]),
        takes: Takes::Nothing,
        usage: "whoami",
        short: "show who you are, and where",
        long: "Shows your name, this device, the server and its key.",
    },
    Row {
        shape: Shape::Word(&["help", "?"]),
        deed: Deed::Help,
        takes: Takes::Word,
        usage: "help [word]",
        short: "explain the words",
        long: "`help` lists the words, `help @` explains one.",
    },
    Row {
        shape: Shape::Word(&["quit", "/quit", "exit"]),
        deed: Deed::Quit,
        takes: Takes::Nothing,
        usage: "quit",
        short: "leave the shell (also Ctrl-D)",
        long: "You stay logged in on this machine; mail waits for you.",
    },
];

/// Names that may be completed, as far as the shell has heard of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Known {
    /// Users and topics, most recently heard first.
    pub recent: Vec<String>,
    /// Users who wrote, ask or were asked, most recently heard first.
    pub people: Vec<String>,
    /// What this user reads: his own name and topics.
    pub addresses: Vec<String>,
    /// Topics heard of, most recently first, then others that the server has.
    pub topics: Vec<String>,
    /// Topics that this user reads.
    pub joined: Vec<String>,
    /// Users whose request for a chat stands open.
    pub asking: Vec<String>,
}

/// What the last word of a line may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fitting {
    /// One of these.
    Words(Vec<String>),
    /// The number of a mail.
    Mails,
    /// A path.
    Path,
}

/// Returns the row that `word` begins with (a mark) or is (a word).
pub fn find(word: &str) -> Option<&'static Row<Deed>> {
    words::find(ROWS, word)
}

/// Returns the word of the table that is nearest to `word`, if any is near.
pub fn nearest(word: &str) -> Option<&'static str> {
    words::nearest(ROWS, word)
}

/// Returns what was said for the command line as it is said at the prompt: verbs that are words here go
/// without `mailctl`.
pub fn at_the_prompt(text: &str) -> String {
    let named = |row: &Row<Deed>| match row.deed {
        Deed::Verb(verb) => Some((format!("mailctl {}", verb.join(" ")), row.word()?)),
        Deed::Refresh => Some(("mailctl refresh".to_owned(), row.word()?)),
        _ => None,
    };
    let named = ROWS.iter().filter_map(named);
    named.fold(text.to_owned(), |text, (verb, word)| {
        text.replace(&verb, word)
    })
}

/// Returns the help of one word, or of all.
pub fn help(word: Option<&str>) -> String {
    words::help(ROWS, word)
}

/// Returns what the last word of `typed` may become, and where it starts: a word of the table at the
/// start of a line, else what fits there.
pub fn complete(typed: &str, known: &Known) -> (usize, Fitting) {
    let last = typed.rsplit(char::is_whitespace).next().unwrap_or_default();
    let start = typed.len() - last.len();
    let mut before = typed[..start].split_whitespace();
    let first = before.next();
    let mark = ROWS
        .iter()
        .filter_map(Row::mark)
        .find(|mark| last.starts_with(mark));
    let found = match (mark, first) {
        (Some(mark), _) => Fitting::Words(named(mark, &last[mark.len()..], known)),
        (None, None) => Fitting::Words(words::beginning(ROWS, last)),
        (None, Some(first)) => argument(first, &before.collect::<Vec<_>>(), last, known),
    };
    (start, found)
}

/// What fits behind the word `first` and the arguments `before`.
fn argument(first: &str, before: &[&str], last: &str, known: &Known) -> Fitting {
    let takes = find(first).map_or(Takes::Nothing, |row| row.takes);
    let words = match takes {
        Takes::Mail | Takes::MailAndPath | Takes::MailAndPeople if before.is_empty() => {
            return Fitting::Mails;
        }
        Takes::MailAndPath if matches!(before.last(), Some(&("--dir" | "-d"))) => {
            return Fitting::Path;
        }
        Takes::Path => return Fitting::Path,
        Takes::MailAndPath => {
            let option = "--dir ".to_owned();
            Vec::from_iter(Some(option).filter(|option| option.starts_with(last)))
        }
        Takes::People | Takes::MailAndPeople => fitting("", last, &[&known.people]),
        _ if !before.is_empty() => Vec::new(),
        Takes::Asker => fitting("", last, &[&known.asking]),
        Takes::Address => fitting("", last, &[&known.addresses, &known.topics]),
        Takes::Topic => fitting("", last, &[&known.topics]),
        Takes::Word => words::beginning(ROWS, last),
        Takes::Mail | Takes::Nothing => Vec::new(),
    };
    Fitting::Words(words)
}

/// Names that begin like this one, most recently heard first.
fn named(mark: &str, name: &str, known: &Known) -> Vec<String> {
    match mark {
        "#" => fitting(mark, name, &[&known.people]),
        "!" => fitting(mark, name, &[&known.topics]),
        "!-" => fitting(mark, name, &[&known.joined]),
        _ => fitting(
            mark,
            name,
            &[&known.recent, &known.addresses, &known.topics],
        ),
    }
}

/// Names of these lists that begin with `name`, each once.
fn fitting(mark: &str, name: &str, lists: &[&[String]]) -> Vec<String> {
    let mut found = Vec::new();
    for known in lists.iter().copied().flatten() {
        let word = format!("{mark}{known} ");
        if known.starts_with(name) && !found.contains(&word) {
            found.push(word);
        }
    }
    found
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
    fn words_names_and_mails_are_completed() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let known = Known {
            recent: names(&["bob", "boats", "ana"]),
            people: names(&["bob", "ana"]),
            addresses: names(&["boats", "bulletin"]),
            topics: names(&["boats", "lab", "bulletin"]),
            joined: names(&["boats", "bulletin"]),
            asking: names(&["bob"]),
        };
        let words = |start, words: &[&str]| (start, Fitting::Words(names(words)));
        let complete = |typed| complete(typed, &known);
        assert_eq!(complete("ref"), words(0, &["refresh"]));
        assert_eq!(complete("x ref"), words(2, &[]));
        assert_eq!(complete("@bo"), words(0, &["@bob ", "@boats "]));
        assert_eq!(
            complete("@"),
            words(0, &["@bob ", "@boats ", "@ana ", "@bulletin ", "@lab "])
        );
        assert_eq!(complete("!"), words(0, &["!boats ", "!lab ", "!bulletin "]));
        assert_eq!(complete("!-"), words(0, &["!-boats ", "!-bulletin "]));
        assert_eq!(complete("@ana @bu"), words(5, &["@bulletin "]));
        assert_eq!(complete("#b"), words(0, &["#bob "]));
        assert_eq!(complete("y "), words(2, &["bob "]));
        assert_eq!(complete("yes a"), words(4, &[]));
        assert_eq!(complete("help sa"), words(5, &["save"]));
        assert_eq!(complete("history bu"), words(8, &["bulletin "]));
        assert_eq!(complete("read "), (5, Fitting::Mails));
        assert_eq!(complete("save 4"), (5, Fitting::Mails));
        assert_eq!(complete("save 4 "), words(7, &["--dir "]));
        assert_eq!(complete("forward "), (8, Fitting::Mails));
        assert_eq!(complete("forward 4 b"), words(10, &["bob "]));
        assert_eq!(complete("save 4 --dir Do"), (13, Fitting::Path));
        // A space may have three bytes.
        assert_eq!(complete("@ana\u{3000}@bu"), words(7, &["@bulletin "]));
    }

    #[test]
    fn help_explains_one_word_or_lists_all() {
        insta::assert_snapshot!(help(None), @r"
          @name [text]    write to a user or a topic
          !-topic         leave a topic
          !topic          join a topic; `!` alone lists them
          #user           ask for a direct chat
          y [user]        accept a request for a chat
          n [user]        decline a request for a chat
          refresh         show what arrived since the last time
          read N          show one mail, seen or not
          reply N [text]  answer a mail
          forward N NAME  pass a mail on
          save N          save what is attached to a mail
          rm N            move a mail to the trash
          undo            take back what was done last
          search WORD     find mails that are here
          history T       show the newest mails of a topic, seen or not
          topics          list the topics you may read
          who [user]      show who is here, or was seen when
          outbox          list what was written and not yet sent
          draft           list drafts; send, edit or drop one
          status          count what is unread
          mute T          keep a topic's mail, and do not announce it
          unmute T        announce a topic's mail again
          block USER      take no mail and no chats from a user
          unblock USER    take mail and chats from a user again
          receipts        say whether senders hear that you read their mail
          device          list your devices; name or remove one
          whoami          show who you are, and where
          help [word]     explain the words
          quit            leave the shell (also Ctrl-D)
        ");
        assert!(help(Some("!-x")).starts_with("!-topic  leave"));
        assert!(help(Some("quitt")).contains("`help quit`"));
        assert!(help(Some("#bob")).starts_with("#user  ask"));
        assert!(help(Some("bonjour")).starts_with("no word"));
    }

    #[test]
    fn what_to_do_next_is_said_for_the_prompt() {
        let told = at_the_prompt(
            "topics: mailctl topic ls; mailctl outbox ls, mailctl refresh, mailctl login",
        );
        assert_eq!(told, "topics: topics; outbox ls, refresh, mailctl login");
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
