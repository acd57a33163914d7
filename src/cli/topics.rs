//! Help about what is no verb: `mailctl help exit-codes`, and so on. Pure text.

use std::ffi::OsString;
use std::fmt::Write;

use clap::CommandFactory;

use super::args::Cli;
use super::codes::EXITS;

/// A page of help: the word after `help`, a line about it, and what makes its text.
pub struct Topic {
    /// The word.
    pub name: &'static str,
    /// One line about it.
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
        about: "how mailctl ends, for scripts",
        text: exit_codes,
    },
    Topic {
        name: "environment",
        about: "variables and files that mailctl reads",
        text: environment,
    },
    Topic {
        name: "topics",
        about: "users, topics, levels and prefixes, and the names they may have",
        text: || TOPICS_TEXT.to_owned(),
    },
    Topic {
        name: "formatting",
        about: "what is printed for people, and what for programs",
        text: || FORMATTING.to_owned(),
    },
];

/// Returns the page that a command line asks for with `help NAME`, its options left aside.
pub fn asked(words: &[OsString]) -> Option<&'static Topic> {
    let mut plain = words
        .iter()
        .skip(1)
        .filter_map(|word| word.to_str())
        .filter(|word| !word.starts_with('-'));
    let is_help = plain.next() == Some("help");
    let name = plain.next().filter(|_| is_help)?;
    TOPICS.iter().find(|topic| topic.name == name)
}

fn exit_codes() -> String {
    let mut text = String::from("mailctl ends with one of these, after BSD's sysexits.h:\n\n");
    for (code, meaning) in EXITS {
        writeln!(text, "  {code:>3}  {meaning}").expect("writing to a String does not fail");
    }
    text += "
A send to several recipients ends with its first refusal's code; the others are sent.
After a Ctrl-C a verb that runs until stopped ends with 0; others are ended by the signal.
The word in error[...] says more: mailctl errors CODE. Under --json it is error.code.";
    text
}

fn environment() -> String {
    let mut text =
        String::from("Options win over variables, variables over what the home remembers:\n\n");
    let mut command = Cli::command();
    command.build();
    for argument in command.get_arguments() {
        if let (Some(variable), Some(long)) = (argument.get_env(), argument.get_long()) {
            let variable = variable.to_string_lossy();
            writeln!(text, "  {variable:<18}as --{long}")
                .expect("writing to a String does not fail");
        }
    }
    text += ENVIRONMENT;
    text
}

const ENVIRONMENT: &str = "  MAILCTL_ADVERTISE as --advertise of chat

  XDG_STATE_HOME    the home is $XDG_STATE_HOME/mailctl, else ~/.local/state/mailctl
  VISUAL, EDITOR    what ~e opens while a mail is written in the shell; else vi
  TZ                the zone that times are shown in
  NO_COLOR, TERM    mailctl prints no colour; at TERM=dumb the shell edits no line

No key, code or passphrase is ever taken from a variable or needs to stand on the command line, where
others could read it: `mailctl join -` reads an invitation from stdin; keys are files of mode 0600,
and one that others can read is refused.

Files: ./data/server.url is the server when none is named and nobody is logged in. The home holds for each
server and user `key`, `account.json`, `outbox/`, `marks.json` and `mail/`, a Maildir.";

const TOPICS_TEXT: &str = "\
Mail goes to addresses: users and topics, in one namespace. A leading @ is fine: @bob is bob.

  mailctl topic join news          read it from now on; makes it if nobody did
  mailctl topic join 'lab/*'       all topics under lab, those to come too
  mailctl topic join news --from start      with all that is kept of it
  mailctl topic leave 'lab/*'      as it was joined
  mailctl mute news                keep it, and do not announce it
  mailctl topic                    what there is, what you read, what waits

Who joins reads what comes from then on, on all devices, also what came while away. Topics have
levels, split by /. Names have 1 to 64 bytes: letters and digits of one script, and signs; no
spaces, no * and, for users, no /. They are compared without case, and do not begin with @, # or !.
In a shell quote lab/*, and remember that # begins a comment.";

const FORMATTING: &str = "\
For people: results on stdout, everything else on stderr; times in your zone: the hour for today, the day
for this year, else the date. A mail's body is indented below its header, and nothing in a mail can act on a
terminal: control characters are shown as pictures (ESC as \u{241b}), bidi marks as <U+202E>.

For programs: --json prints one object a line, each with \"v\":1. Fields and kinds may come, none
changes; skip kinds you do not know. Names are bare, times are the server's (RFC 3339, UTC), ids are integers below 2^53.
A body is `body` when it is UTF-8, exactly, else `body_base64`. Errors are {\"v\":1,\"error\":{code, text,
retryable, ref, hints}} on stderr, other words {\"v\":1,\"note\":...}.

  mailctl json-schema refresh              the schema of what a verb prints
  mailctl refresh --json | jq -r 'select(.kind==\"mail\") | .subject'
  mailctl status --short                   for prompts and status bars

Nothing is paged, and a line is flushed when it is written. Under --json nothing is ever asked.";

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
        for variable in ["MAILCTL_SERVER", "MAILCTL_HOME", "MAILCTL_USER"] {
            assert!(page.contains(variable), "{page}");
        }
    }
}
