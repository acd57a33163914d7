//! Help about what is no verb: `mailctl help exit-codes`, and so on. Pure text.

use std::ffi::OsString;

use clap::{Args, Command, CommandFactory};

use super::args::{Cli, Globals};
use super::codes::EXITS;
use super::i18n::{text, tr, tr_later};
use super::untrusted::columns;

/// A page of help: the word after `help`, a line about it, and what makes its text.
pub struct Topic {
    /// The word.
    pub name: &'static str,
    /// One line about it: a text that is translated where it is shown.
    pub about: &'static str,
    text: fn() -> String,
}

impl std::fmt::Debug for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Topic {
    /// Returns the page.
    pub fn text(&self) -> String {
        (self.text)()
    }
}

/// Every page.
pub const TOPICS: &[Topic] = &[
    Topic {
        name: "exit-codes",
        about: tr_later!("how mailctl ends, for scripts"),
        text: exit_codes,
    },
    Topic {
        name: "environment",
        about: tr_later!("variables and files that mailctl reads"),
        text: environment,
    },
    Topic {
        name: "topics",
        about: tr_later!("users, topics, levels and prefixes, and the names they may have"),
        text: topics,
    },
    Topic {
        name: "formatting",
        about: tr_later!("what is printed for people, and what for programs"),
        text: formatting,
    },
];

/// Returns the page that a command line asks for with `help NAME`, its options left aside.
pub fn asked(words: &[OsString]) -> Option<&'static Topic> {
    let (verb, rest) = first_word(words.iter().skip(1))?;
    let (name, _) = first_word(rest.iter()).filter(|_| verb == "help")?;
    TOPICS.iter().find(|topic| topic.name == name)
}

/// Returns the first word that is neither an option of every verb nor the value of one, and what follows it.
fn first_word<'a>(words: impl Iterator<Item = &'a OsString>) -> Option<(String, Vec<OsString>)> {
    let words = std::iter::once(OsString::from("mailctl")).chain(words.cloned());
    let matches = Globals::augment_args(Command::new("mailctl"))
        .disable_help_subcommand(true)
        .allow_external_subcommands(true)
        .try_get_matches_from(words)
        .ok()?;
    let (word, below) = matches.subcommand()?;
    let rest = below.get_many::<OsString>("").unwrap_or_default();
    Some((word.to_owned(), rest.cloned().collect()))
}

fn exit_codes() -> String {
    let mut page = tr!("mailctl ends with one of these, after BSD's sysexits.h:").to_owned();
    page += "\n\n";
    let row = |(code, meaning): &(u8, &'static str)| format!("  {code:>3}  {}\n", text(meaning));
    page.extend(EXITS.iter().map(row));
    page += "\n";
    page += tr!(
        "A send to several recipients ends with its first refusal's code; the others are sent.
After a Ctrl-C a verb that runs until stopped ends with 0; others are ended by the signal.
The word in error[...] says more: mailctl errors CODE. Under --json it is error.code."
    );
    page
}

/// Variables that are no option's, each with what it does.
const VARIABLES: &[(&str, &str)] = &[
    (
        "MAILCTL_UNDO",
        tr_later!("the shell holds each send back so long, as --undo of send does (10s)"),
    ),
    (
        "MAILCTL_PLAIN",
        tr_later!("as --plain: lines one below the other, for who has the screen read out"),
    ),
    (
        "MAILCTL_LANG",
        tr_later!("the language: en or pt; without it LC_ALL, LC_MESSAGES, LANG"),
    ),
    (
        "XDG_STATE_HOME",
        tr_later!("the home is $XDG_STATE_HOME/mailctl, else ~/.local/state/mailctl"),
    ),
    (
        "VISUAL, EDITOR",
        tr_later!("what ~e opens while a mail is written in the shell; else vi"),
    ),
    (
        "PAGER",
        tr_later!("shows what is longer than the terminal; PAGER=cat: nothing does; else less"),
    ),
    ("TZ", tr_later!("the zone that times are shown in")),
    (
        "NO_COLOR, TERM",
        tr_later!("no colour where NO_COLOR is set; at TERM=dumb the shell edits no line"),
    ),
];

fn environment() -> String {
    let mut page =
        tr!("Options win over variables, variables over what the home remembers:").to_owned();
    page += "\n\n";
    let mut row = |name: &str, what: &str| {
        let gap = " ".repeat(19_usize.saturating_sub(columns(name)));
        page.extend(["  ", name, &gap, what, "\n"]);
    };
    let mut command = Cli::command();
    command.build();
    for argument in command.get_arguments() {
        if let (Some(variable), Some(long)) = (argument.get_env(), argument.get_long()) {
            row(&variable.to_string_lossy(), &tr!("as --{}", long));
        }
    }
    row("MAILCTL_ADVERTISE", tr!("as --advertise of chat"));
    for (name, what) in VARIABLES {
        row(name, text(what));
    }
    page += "\n";
    page += tr!(
        "No key, code or passphrase is ever taken from a variable or needs to stand on the command line, where
others could read it: `mailctl join -` reads an invitation from stdin, --passphrase-file a passphrase; keys
are files of mode 0600, and one that others can read is refused.

Files: ./data/server.url is the server when none is named and nobody is logged in. The home holds for each
server and user `key`, `account.json`, `outbox/`, `marks.json`, `muted.json` and `mail/`, a Maildir."
    );
    page
}

fn topics() -> String {
    tr!(
        "Mail goes to addresses: users and topics, in one namespace. A leading @ is fine: @bob is bob.

  mailctl topic join news          read it from now on; makes it if nobody did
  mailctl topic join 'lab/*'       all topics under lab, those to come too
  mailctl topic join news --from start      with all that is kept of it
  mailctl topic leave 'lab/*'      as it was joined
  mailctl mute news                keep it, and do not announce it
  mailctl topic                    what there is, what you read, what waits

Who joins reads what comes from then on, on all devices, also what came while away. Topics have
levels, split by /. Names have 1 to 64 bytes: letters and digits of one script, and signs; no
spaces, no * and, for users, no /. They are compared without case, and do not begin with @, # or !.
In a shell quote lab/*, and remember that # begins a comment."
    )
    .to_owned()
}

fn formatting() -> String {
    tr!(
        "For people: results on stdout, everything else on stderr; times in your zone: the hour for today, the day
for this year, else the date. A mail's body is indented below its header, and nothing in a mail can act on a
terminal: control characters are shown as pictures (ESC as {esc}), bidi marks as <U+202E>. What is longer than a
terminal is shown by a pager (PAGER); off a terminal nothing is paged or coloured.

For programs: --json prints one object a line, each with {version}. Fields and kinds may come, none
changes; skip kinds you do not know. Names are bare, times are the server's (RFC 3339, UTC), ids are integers
below 2^53. A body is `body` when it is UTF-8, exactly, else `body_base64`. An error is one line on stderr,
{error}; other words there are {note}.

  mailctl json-schema refresh              the schema of what a verb prints
  {jq}
  mailctl status --short                   for prompts and status bars

A line is flushed when it is written. Under --json everything is English, and nothing is ever asked.",
        esc = '\u{241b}',
        version = r#""v":1"#,
        error = r#"{"v":1,"error":{"code","text","retryable","ref","hints"}}"#,
        note = r#"{"v":1,"note":"..."}"#,
        jq = r#"mailctl refresh --json | jq -r 'select(.kind=="mail") | .subject'"#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(line: &str) -> Option<&'static str> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        asked(&words).map(|topic| topic.name)
    }

    #[test]
    fn a_page_is_asked_for_by_help_and_its_name_alone() {
        assert_eq!(name("mailctl help exit-codes"), Some("exit-codes"));
        assert_eq!(name("mailctl --json help topics"), Some("topics"));
        assert_eq!(name("mailctl help send"), None);
        assert_eq!(name("mailctl topics"), None);
        assert_eq!(name("mailctl send help topics"), None);
    }

    #[test]
    fn the_pages_say_what_the_grammar_says() {
        let page = environment();
        let variables = [
            "MAILCTL_SERVER",
            "MAILCTL_HOME",
            "MAILCTL_USER",
            "MAILCTL_CONTEXT",
        ];
        for variable in variables {
            assert!(page.contains(variable), "{page}");
        }
    }
}
