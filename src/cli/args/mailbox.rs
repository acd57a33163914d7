//! The command lines of verbs about the mailbox, and of those that came from elsewhere with habits of their own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::client::mailbox::Called;
use crate::client::search::NOT;

/// `mailctl read`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Read {
    /// The mail's number, or what `search` calls an imported one
    #[arg(value_name = "ID")]
    pub id: Called,
    /// Show all that is here of the thread it is in, oldest first
    #[arg(long)]
    pub thread: bool,
}

/// `mailctl save`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Save {
    /// The mail's number, or what `search` calls an imported one
    #[arg(value_name = "ID")]
    pub id: Called,
    /// Which of its attachments, as `read` numbers them; all without it
    #[arg(value_name = "N")]
    pub numbers: Vec<usize>,
    /// Where to; nothing there is ever overwritten
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}

/// `mailctl search`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
A WORD finds words that begin with it; case and accents do not count. All must fit.
  from:ana  to:bob  subject:plan      in that part of the mail
  in:news                             by that address; in:imported
  since:2026-11-01  before:2h         a day, month or year, today, yesterday, or an age (2h, 7d, 3w)
  has:attachment  is:unread           also is:read, is:replied, is:flagged
  -word  -from:ana                    not so
  '\"see you at\"'                     words in a row, whole (quotes inside the shell's)

Examples:
  mailctl search lunch from:ana since:7d
  mailctl search in:lab/printer has:attachment --json")]
pub struct Search {
    /// What to look for
    #[arg(value_name = "WORD", required = true)]
    pub words: Vec<String>,
    /// Show at most N mails
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// End with 1 when nothing is found
    #[arg(long)]
    pub exit_code: bool,
}

/// `mailctl export` and `mailctl import`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Exchange {
    /// In which form
    #[arg(value_name = "FORM")]
    pub form: Form,
    /// The folder or file; `-` is stdin or stdout
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

/// How mail travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A folder with a file for each mail
    Maildir,
    /// One file, its lines quoted as mboxrd
    Mbox,
    /// One JSON object a line
    Jsonl,
}

impl Form {
    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Maildir => "maildir",
            Self::Mbox => "mbox",
            Self::Jsonl => "jsonl",
        }
    }
}

/// `mailctl sendmail`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(
    override_usage = "mailctl sendmail [-t] [-i] [-f ADDRESS] [-F NAME] [--] [RECIPIENT]...",
    after_help = "\
-t  take recipients from To, Cc and Bcc too         -i, -oi  a line with a dot alone does not end it
-f, -F, -r, -B, -N, -o..., -v and the like are taken and change nothing: who it is from is your key's to say.

A recipient is a user or topic: bob, bob@anything, news@anything, topic+news@anything. Whoever is not
named in To or Cc gets a copy of his own, and Bcc goes. Options of mailctl stand before: mailctl --as ana sendmail -t.
The program called by the name sendmail does the same. With the server down the mail waits in the outbox."
)]
pub struct Sendmail {
    /// Options of sendmail, and recipients
    #[arg(
        value_name = "RECIPIENT",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub words: Vec<String>,
}

/// `mailctl rm`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Rm {
    /// The mails' numbers
    #[arg(value_name = "ID", required_unless_present = "purge")]
    pub ids: Vec<Called>,
    /// Remove them for good, from the trash or not; without an ID, everything in the trash
    #[arg(long)]
    pub purge: bool,
    /// With --purge: do not ask
    #[arg(short, long, requires = "purge")]
    pub yes: bool,
}

/// Options of every verb that take a value.
const VALUED: [&str; 4] = ["--server", "--home", "--as", "--timeout"];

/// Returns the words of a command line as they are parsed. Called by the name `sendmail`, the program is that verb; and in
/// a `search` words that are not to be there begin with `-`, which would be options.
pub fn understood(mut words: Vec<OsString>) -> Vec<OsString> {
    let name = words.first().map(Path::new).and_then(Path::file_name);
    if name == Some(OsStr::new("sendmail")) {
        words.insert(1, "sendmail".into());
        return words;
    }
    let Some(verb) = verb_of(&words).filter(|at| words[*at] == "search") else {
        return words;
    };
    for word in &mut words[verb + 1..] {
        let text = word.to_str().and_then(|word| word.strip_prefix('-'));
        if let Some(text) = text.filter(|text| !["", "h"].contains(text) && !text.starts_with('-'))
        {
            *word = format!("{NOT}{text}").into();
        }
    }
    words
}

/// Returns where the verb stands.
fn verb_of(words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(word) = words.get(at)?.to_str() {
        if !word.starts_with('-') {
            return Some(at);
        }
        at += if VALUED.contains(&word) { 2 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Verb};
    use super::*;

    #[test]
    fn words_that_are_not_to_be_there_are_no_options() {
        let told = |line: &str| {
            let words = line.split(' ').map(OsString::from).collect();
            let words = understood(words).into_iter().map(OsString::into_string);
            words.collect::<Result<Vec<_>, _>>().unwrap().join(" ")
        };
        assert_eq!(
            told("mailctl --as bob search -a -from:b --json -h"),
            "mailctl --as bob search not:a not:from:b --json -h"
        );
        for same in [
            "mailctl send search -s x",
            "mailctl",
            "mailctl --as search refresh -l 1",
        ] {
            assert_eq!(told(same), same);
        }
        let called = told("/usr/sbin/sendmail -t -i");
        assert_eq!(called, "/usr/sbin/sendmail sendmail -t -i");
    }

    #[test]
    fn options_of_sendmail_are_left_to_it() {
        let line = ["mailctl", "sendmail", "-t", "-oi", "--", "bob"];
        let parsed = Cli::try_parse_from(line).unwrap();
        let Some(Verb::Sendmail(sendmail)) = parsed.verb else {
            panic!("another verb");
        };
        assert_eq!(sendmail.words, ["-t", "-oi", "--", "bob"]);
    }
}
