//! Writing a mail at the prompt: a subject, then lines until `.` or Ctrl-D. A line that begins with `~`
//! is a command, as in mailx; [`ROWS`] lists them.
//!
//! Pure: what a command needs of the world goes through [`Desk`]. Whatever goes wrong is told, and the text
//! stays.

use crate::cli::i18n::tr;
use std::path::PathBuf;

use super::words::{self, Row, Shape, Takes};
use crate::cli::show::counted;

/// What a mail is written at: the terminal with its files and its editor, or a test.
pub trait Desk {
    /// Asks for a line.
    fn read(&mut self, prompt: &str) -> Typed;
    /// Says something to who is writing.
    fn tell(&mut self, text: &str);
    /// Has a text edited; returns it as it is then, or why that failed.
    fn edit(&mut self, text: &str) -> Result<String, String>;
    /// Returns the text in a file, or why there is none.
    fn text_of(&mut self, path: &str) -> Result<String, String>;
    /// Makes sure that a file can be attached; returns where it lies and what it is, for people.
    fn attachable(&mut self, path: &str) -> Result<(PathBuf, String), String>;
}

/// What was typed at a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// A line, without its newline.
    Line(String),
    /// Ctrl-D.
    End,
    /// Ctrl-C.
    Interrupt,
    /// The terminal is of no use any more.
    Failed(String),
}

/// A mail as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Composed {
    /// One line, or nothing.
    pub subject: String,
    /// The lines, with newlines between them and none after the last.
    pub text: String,
    /// Files to go along.
    pub attached: Vec<PathBuf>,
}

/// What is to become of a mail that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Send it.
    Send(Composed),
    /// Keep it in the outbox.
    Keep(Composed),
    /// Nothing: it was dropped, or there is nothing in it.
    Dropped,
}

/// What a line that begins with `~` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Edit the text.
    Edit,
    /// Show it.
    Print,
    /// Put a file's text in.
    Read,
    /// Attach a file.
    Attach,
    /// Change the subject.
    Subject,
    /// Keep it as a draft.
    Keep,
    /// Drop it.
    Drop,
    /// Explain all this.
    Help,
}

/// Every command.
pub const ROWS: &[Row<Deed>] = &[
    Row {
        shape: Shape::Word(&["~e", "~v"]),
        deed: Deed::Edit,
        takes: Takes::Nothing,
        usage: "~e",
        short: "edit the text in $VISUAL or $EDITOR",
        long: "Opens the text in the editor that $VISUAL or $EDITOR names, else in vi, and goes on after it.",
    },
    Row {
        shape: Shape::Word(&["~p"]),
        deed: Deed::Print,
        takes: Takes::Nothing,
        usage: "~p",
        short: "print the mail as it stands",
        long: "Prints the subject, the text so far and what is attached.",
    },
    Row {
        shape: Shape::Word(&["~r"]),
        deed: Deed::Read,
        takes: Takes::Path,
        usage: "~r FILE",
        short: "put the text of a file in here",
        long: "Puts the text of a file below what is written. What is no text is attached, with `~a`.",
    },
    Row {
        shape: Shape::Word(&["~a"]),
        deed: Deed::Attach,
        takes: Takes::Path,
        usage: "~a FILE",
        short: "attach a file",
        long: "Sends a file along with the mail. It is read when the mail is sent.",
    },
    Row {
        shape: Shape::Word(&["~s"]),
        deed: Deed::Subject,
        takes: Takes::Nothing,
        usage: "~s SUBJECT",
        short: "change the subject",
        long: "Takes the rest of the line for the subject.",
    },
    Row {
        shape: Shape::Word(&["~x"]),
        deed: Deed::Keep,
        takes: Takes::Nothing,
        usage: "~x",
        short: "stop here and keep a draft",
        long: "Sends nothing and keeps the mail in the outbox: `mailctl draft send N` sends it.",
    },
    Row {
        shape: Shape::Word(&["~q"]),
        deed: Deed::Drop,
        takes: Takes::Nothing,
        usage: "~q",
        short: "drop the mail (also Ctrl-C twice)",
        long: "Throws away what was written.",
    },
    Row {
        shape: Shape::Word(&["~?", "~h"]),
        deed: Deed::Help,
        takes: Takes::Nothing,
        usage: "~?",
        short: "list these; ~~ begins a line with ~",
        long: "Lists the commands. A line of the mail that begins with ~ is typed with two of them.",
    },
];

/// Returns the beginning of a path in what was typed so far, if one is being typed.
pub fn path_in(typed: &str) -> Option<&str> {
    let (word, rest) = typed.split_once(char::is_whitespace)?;
    let row = words::find(ROWS, word)?;
    (row.takes == Takes::Path).then_some(rest)
}

/// Returns the commands that begin with `typed`; a text begins with none.
pub fn beginning(typed: &str) -> Vec<String> {
    if typed.starts_with('~') {
        words::beginning(ROWS, typed)
    } else {
        Vec::new()
    }
}

/// Asks for a subject and a text.
pub fn compose(desk: &mut dyn Desk) -> Written {
    let Typed::Line(typed) = desk.read(tr!("Subject (Enter for none): ")) else {
        return Written::Dropped;
    };
    // What was pasted may have several lines.
    let mut pasted = typed.lines().map(str::to_owned);
    let subject = pasted.next().unwrap_or_default();
    let letter = Letter {
        mail: Composed {
            subject: subject.trim().to_owned(),
            ..Composed::default()
        },
        lines: pasted.collect(),
    };
    if !letter.lines.is_empty() {
        desk.tell(tr!(
            "a subject has one line; what was below it begins the text"
        ));
    }
    letter.written(desk)
}

/// Asks for the text of a mail that was begun: its subject stands, and its text, if there is one.
pub fn go_on(desk: &mut dyn Desk, begun: Composed) -> Written {
    let letter = Letter {
        lines: begun.text.lines().map(str::to_owned).collect(),
        mail: begun,
    };
    letter.print(desk);
    letter.written(desk)
}

/// A mail that is being written.
struct Letter {
    mail: Composed,
    lines: Vec<String>,
}

impl Letter {
    fn written(mut self, desk: &mut dyn Desk) -> Written {
        let mut interrupted = false;
        loop {
            let line = match desk.read("| ") {
                Typed::Line(line) if line != "." => line,
                Typed::Line(_) | Typed::End => return self.whole(Written::Send),
                Typed::Interrupt if interrupted || self.is_empty() => return Written::Dropped,
                Typed::Interrupt => {
                    interrupted = true;
                    desk.tell(tr!("Ctrl-C once more drops it, ~x keeps it as a draft"));
                    continue;
                }
                // The terminal went away with somebody's text on it.
                Typed::Failed(_) => return self.whole(Written::Keep),
            };
            interrupted = false;
            // What was pasted is text: no line of it is a command, and no dot in it the end.
            if line.contains('\n') {
                self.lines.extend(line.lines().map(str::to_owned));
                continue;
            }
            match line.strip_prefix('~') {
                None => self.lines.push(line),
                Some(rest) if rest.starts_with('~') => self.lines.push(rest.to_owned()),
                Some(_) => match self.obey(&line, desk) {
                    Some(Deed::Keep) => return self.whole(Written::Keep),
                    Some(Deed::Drop) => return Written::Dropped,
                    _ => {}
                },
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.mail.attached.is_empty()
    }

    /// The mail, unless there is nothing in it.
    fn whole(self, what: impl FnOnce(Composed) -> Written) -> Written {
        if self.is_empty() {
            return Written::Dropped;
        }
        what(Composed {
            text: self.lines.join("\n"),
            ..self.mail
        })
    }

    /// Does what a line says; returns what it was.
    fn obey(&mut self, line: &str, desk: &mut dyn Desk) -> Option<Deed> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let Some(row) = words::find(ROWS, word) else {
            desk.tell(&tr!(
                "no such command; ~? lists them, and a line that begins with ~ is typed ~{}",
                line
            ));
            return None;
        };
        let takes_word = row.usage.contains(' ');
        if takes_word == rest.is_empty() {
            desk.tell(&tr!("it is written {}", row.shown()));
            return None;
        }
        if let Err(why) = self.act(row.deed, rest, desk) {
            desk.tell(&why);
        }
        Some(row.deed)
    }

    fn act(&mut self, deed: Deed, rest: &str, desk: &mut dyn Desk) -> Result<(), String> {
        match deed {
            Deed::Edit => {
                let edited = desk.edit(&self.lines.join("\n"))?;
                self.lines = edited.lines().map(str::to_owned).collect();
                let lines = counted(self.lines.len() as u64, "line");
                desk.tell(&tr!("{}; go on, or end with .", lines));
            }
            Deed::Print => self.print(desk),
            Deed::Read => {
                let text = desk.text_of(rest)?;
                let before = self.lines.len();
                self.lines.extend(text.lines().map(str::to_owned));
                let read = counted((self.lines.len() - before) as u64, "line");
                desk.tell(&tr!("{} of {}", read, rest));
            }
            Deed::Attach => {
                let (path, what) = desk.attachable(rest)?;
                self.mail.attached.push(path);
                desk.tell(&tr!("attached: {}", what));
            }
            Deed::Subject => rest.clone_into(&mut self.mail.subject),
            Deed::Help => desk.tell(&words::help(ROWS, None)),
            Deed::Keep | Deed::Drop => {}
        }
        Ok(())
    }

    fn print(&self, desk: &mut dyn Desk) {
        if !self.mail.subject.is_empty() {
            desk.tell(&tr!("Subject: {}", self.mail.subject));
        }
        self.lines
            .iter()
            .for_each(|line| desk.tell(&format!("| {line}")));
        for path in &self.mail.attached {
            desk.tell(&tr!("attached: {}", path.display()));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Lines that were typed before, and a world of two files; then the end.
    #[derive(Default)]
    pub(crate) struct Script {
        pub(crate) typed: VecDeque<Typed>,
        told: Vec<String>,
    }

    impl Desk for Script {
        fn read(&mut self, _: &str) -> Typed {
            self.typed.pop_front().unwrap_or(Typed::End)
        }
        fn tell(&mut self, text: &str) {
            self.told.push(text.to_owned());
        }
        fn edit(&mut self, text: &str) -> Result<String, String> {
            Ok(text.to_uppercase() + "\nedited\n")
        }
        fn text_of(&mut self, path: &str) -> Result<String, String> {
            match path {
                "there" => Ok("a\nb\n".to_owned()),
                _ => Err(format!("{path} is not there")),
            }
        }
        fn attachable(&mut self, path: &str) -> Result<(PathBuf, String), String> {
            Ok((path.into(), format!("{path}, 3 bytes")))
        }
    }

    fn script(lines: &[&str]) -> Script {
        let typed = lines.iter().map(|line| match *line {
            "^C" => Typed::Interrupt,
            "^X" => Typed::Failed("hung up".into()),
            line => Typed::Line(line.to_owned()),
        });
        Script {
            typed: typed.collect(),
            told: Vec::new(),
        }
    }

    fn composed(lines: &[&str]) -> Written {
        compose(&mut script(lines))
    }

    fn mail(subject: &str, text: &str) -> Composed {
        Composed {
            subject: subject.into(),
            text: text.into(),
            attached: Vec::new(),
        }
    }

    #[test]
    fn a_dot_or_the_end_finishes_the_text() {
        let lunch = Written::Send(mail("lunch", "12:30?\n\nat the corner"));
        let lines = ["lunch", "12:30?", "", "at the corner", ".", "not read"];
        assert_eq!(composed(&lines), lunch);
        assert_eq!(composed(&lines[..4]), lunch);
    }

    #[test]
    fn what_was_dropped_or_never_written_is_not_sent() {
        for lines in [
            &[][..],
            &["subject only"],
            &["subject", "."],
            &["subject", "~x"],
            &["subject", "^C"],
            &["subject", "text", "^C", "^C"],
            &["subject", "text", "~q"],
        ] {
            assert_eq!(composed(lines), Written::Dropped, "{lines:?}");
        }
    }

    #[test]
    fn a_text_is_lost_neither_by_one_key_nor_with_the_terminal() {
        let kept = Written::Keep(mail("s", "text"));
        assert_eq!(composed(&["s", "text", "~x"]), kept);
        assert_eq!(composed(&["s", "text", "^X"]), kept);
        let sent = Written::Send(mail("s", "text\nmore"));
        assert_eq!(composed(&["s", "text", "^C", "more", "^C", "."]), sent);
    }

    #[test]
    fn what_is_pasted_is_text() {
        let pasted = ["sub\nject", "~q\n.\n@bob hi\n", "last", "."];
        let text = "ject\n~q\n.\n@bob hi\nlast";
        assert_eq!(composed(&pasted), Written::Send(mail("sub", text)));
    }

    #[test]
    fn commands_change_the_mail_and_mistakes_do_not() {
        let mut desk = script(&[
            "old",
            "one",
            "~e",
            "~r there",
            "~r nowhere",
            "~a x.png",
            "~s new one",
            "~~tilde",
            "~z",
            "~p x",
            "~p",
            ".",
        ]);
        let Written::Send(mail) = compose(&mut desk) else {
            panic!("not sent");
        };
        assert_eq!(mail.subject, "new one");
        assert_eq!(mail.text, "ONE\nedited\na\nb\n~tilde");
        assert_eq!(mail.attached, [PathBuf::from("x.png")]);
        insta::assert_snapshot!(desk.told.join("\n"), @r"
        2 lines; go on, or end with .
        2 lines of there
        nowhere is not there
        attached: x.png, 3 bytes
        no such command; ~? lists them, and a line that begins with ~ is typed ~~z
        it is written ~p
        Subject: new one
        | ONE
        | edited
        | a
        | b
        | ~tilde
        attached: x.png
        ");
    }

    #[test]
    fn a_mail_that_was_begun_is_shown_and_goes_on() {
        let begun = mail("Re: lunch", "ana wrote:\n> 12:30?");
        let mut desk = script(&["yes", "."]);
        let sent = Written::Send(mail("Re: lunch", "ana wrote:\n> 12:30?\nyes"));
        assert_eq!(go_on(&mut desk, begun.clone()), sent);
        assert_eq!(
            desk.told,
            ["Subject: Re: lunch", "| ana wrote:", "| > 12:30?"]
        );
        assert_eq!(go_on(&mut script(&["~q"]), begun), Written::Dropped);
    }

    #[test]
    fn every_command_is_explained() {
        let mut desk = script(&["", "~?"]);
        compose(&mut desk);
        insta::assert_snapshot!(desk.told.join("\n"), @r"
        ~e          edit the text in $VISUAL or $EDITOR
        ~p          print the mail as it stands
        ~r FILE     put the text of a file in here
        ~a FILE     attach a file
        ~s SUBJECT  change the subject
        ~x          stop here and keep a draft
        ~q          drop the mail (also Ctrl-C twice)
        ~?          list these; ~~ begins a line with ~
        ");
    }
}
