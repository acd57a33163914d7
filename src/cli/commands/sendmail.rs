//! `mailctl sendmail`, also called as `sendmail`: takes a message of the Internet's kind on stdin, as cron and mail readers
//! give it, and sends it whole. Who it is from is the sender's key's to say, so `-f` and `-F` change nothing.
//!
//! What the server did not take in waits in the outbox and goes out by itself: for the caller it is sent. Told otherwise,
//! he would send it twice.

use std::io::Read;

use super::{Context, close, input, send};
use crate::cli::args::{self, Sendmail};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::client::ClientError;
use crate::client::home::Account;
use crate::client::message::{self, Readers};
use crate::client::outbox::Draft;
use crate::limits::{BODY_BYTES_CEILING, RECIPIENTS_MAX};
use crate::protocol::Answers;
use crate::protocol::codes::exit;
use crate::protocol::reply::Outcome;

/// Letters of options that take a value, in the same word or the next.
const VALUED: &str = "BCFLMNORVXfhpr";

/// Letters of options that stand alone.
const ALONE: &str = "GUmnsv";

/// Fields that name readers of whom others must not know, and what older programs leave in.
const NOT_SENT: [&str; 3] = ["Bcc", "Resent-Bcc", "Return-Path"];

/// What the words of the command line say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    from_header: bool,
    dot_is_text: bool,
    recipients: Vec<String>,
}

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Sendmail) -> Result<(), CliError> {
    let options = options(&args.words)?;
    let message = read(options.dot_is_text)?;
    let mut drafts = drafts(&message, &options)?;
    let account = context.account()?;
    let answered = answers(&account, &message)?;
    for draft in &mut drafts {
        draft.answers = answered;
    }
    let one_shot = context.one_shot();
    let mut session = match context.open(&account, one_shot) {
        Ok(session) => session,
        Err(cause) if cause.is_transport() => {
            let outbox = account.outbox()?;
            for draft in &drafts {
                let entry = outbox.keep(draft, true)?;
                context.ui.report(tr!(
                    "queued in the outbox as {}, it goes out by itself: {}",
                    entry,
                    cause
                ));
            }
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let mut first = Ok(());
    for draft in drafts {
        let sent = session.send_or_queue(draft, true);
        first = first.and(told(context, sent.map(|sent| sent.outcomes)));
    }
    close(session);
    first
}

/// Returns which mail a message answers, where it names one of this server's.
fn answers(account: &Account, message: &[u8]) -> Result<Option<Answers>, CliError> {
    let mailbox = account.mailbox()?;
    let named = message::take(message).value("In-Reply-To");
    let Some(number) = named.and_then(|id| mailbox.number_of(&id)) else {
        return Ok(None);
    };
    let here = mailbox.called(number)?;
    Ok(Some(here.map_or(
        Answers {
            in_reply_to: number,
            thread: number,
        },
        |mail| Answers {
            in_reply_to: mail.envelope.message(),
            thread: mail.envelope.thread(),
        },
    )))
}

/// Tells what became of one send. Only refusals are failures: sendmail is silent otherwise.
fn told(
    context: &mut Context<'_>,
    sent: Result<Vec<Outcome>, ClientError>,
) -> Result<(), CliError> {
    match sent {
        Ok(outcomes) if context.ui.is_json() => send::show(context.ui, &outcomes),
        Ok(outcomes) => send::refusals(context.ui, &outcomes),
        Err(kept @ (ClientError::InDoubt { .. } | ClientError::NotSent { queued: true, .. })) => {
            context.ui.report(kept);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads the message, up to its end or, as it always was, to a line with a dot alone.
fn read(dot_is_text: bool) -> Result<Vec<u8>, CliError> {
    input::stdin_is_there()?;
    let mut message = Vec::new();
    std::io::stdin()
        .take(BODY_BYTES_CEILING + 1)
        .read_to_end(&mut message)
        .map_err(|error| CliError::io(tr!("read stdin"), &error))?;
    if !dot_is_text {
        message.truncate(end_at_dot(&message));
    }
    if message.len() as u64 > BODY_BYTES_CEILING {
        let text = tr!("the message is larger than any server takes (25 MiB)");
        return Err(CliError::new("too_large", exit::DATA, text));
    }
    Ok(message)
}

/// Returns where a line with a dot alone begins, or the end.
fn end_at_dot(message: &[u8]) -> usize {
    let mut at = 0;
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if matches!(line, b".\n" | b".\r\n" | b".") {
            return at;
        }
        at += line.len();
    }
    at
}

/// Makes the sends of a message: one to those it names openly, one to each of the others.
fn drafts(message: &[u8], options: &Options) -> Result<Vec<Draft>, CliError> {
    // What mailboxes put before a message.
    let message = match message.strip_prefix(b"From ") {
        Some(line) => {
            let end = line.iter().position(|byte| *byte == b'\n');
            &line[end.map_or(line.len(), |end| end + 1)..]
        }
        None => message,
    };
    let body = message::take(message).without(&NOT_SENT);
    let named = message::readers(message);
    let (open, blind) = recipients(&named, options);
    if open.is_empty() && blind.is_empty() {
        return Err(CliError::usage(tr!("send to whom?")).hint(tr!(
            "name recipients after the options, or take them from the message with -t"
        )));
    }
    let subject = message::summary(message).subject;
    let groups = open.chunks(RECIPIENTS_MAX).chain(blind.chunks(1));
    let draft = |to: &[String]| Draft {
        to: to.to_vec(),
        subject: subject.clone(),
        content_type: message::TYPE.to_owned(),
        ttl_s: None,
        answers: None,
        body: body.clone(),
    };
    Ok(groups.map(draft).collect())
}

/// Returns the recipients, each once: those that the message names openly, and the others.
fn recipients(told: &Readers, options: &Options) -> (Vec<String>, Vec<String>) {
    let names = |addresses: &[String]| {
        let local = addresses.iter().map(|address| message::local_part(address));
        let full = local.filter(|name| !name.is_empty());
        full.map(str::to_lowercase).collect::<Vec<_>>()
    };
    let seen = names(&told.open);
    let mut wanted = names(&options.recipients);
    if options.from_header {
        wanted.extend(names(&told.open));
        wanted.extend(names(&told.blind));
    }
    let (mut open, mut blind) = (Vec::new(), Vec::new());
    for name in wanted {
        let list = if seen.contains(&name) {
            &mut open
        } else {
            &mut blind
        };
        if !list.contains(&name) {
            list.push(name);
        }
    }
    (open, blind)
}

/// Reads the words of the command line as sendmail's.
fn options(words: &[String]) -> Result<Options, CliError> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let letters = match word.strip_prefix('-') {
            Some("-") => {
                options.recipients.extend(words.by_ref().cloned());
                break;
            }
            Some(long) if long.starts_with('-') => {
                return Err(
                    CliError::usage(tr!("sendmail has no option {}", word)).hint(tr!(
                        "options of mailctl stand before: mailctl --as ana sendmail -t"
                    )),
                );
            }
            Some(letters) if !letters.is_empty() => letters,
            _ => {
                options.recipients.push(args::bare(word).to_owned());
                continue;
            }
        };
        options.take(letters, &mut words)?;
    }
    Ok(options)
}

impl Options {
    /// Takes in the letters of one word; a value may be the next word.
    fn take<'a>(
        &mut self,
        letters: &str,
        words: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), CliError> {
        // Modes: to deliver a message (m) is the only one here.
        if let Some(mode) = letters.strip_prefix('b') {
            return if mode == "m" {
                Ok(())
            } else {
                Err(CliError::usage(tr!(
                    "sendmail -b{} is not for mailctl",
                    mode
                )))
            };
        }
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            match letter {
                't' => self.from_header = true,
                'i' => self.dot_is_text = true,
                // `-e` and `-o` have their value in the same word, `-q` may have none.
                'o' => {
                    self.dot_is_text |= rest == "i";
                    return Ok(());
                }
                'e' | 'q' => return Ok(()),
                _ if VALUED.contains(letter) => {
                    if rest.is_empty() && words.next().is_none() {
                        return Err(CliError::usage(tr!("sendmail -{} takes a value", letter)));
                    }
                    return Ok(());
                }
                _ if ALONE.contains(letter) => {}
                _ => return Err(CliError::usage(tr!("sendmail has no option -{}", letter))),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_options(line: &str) -> Options {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        options(&words).unwrap()
    }

    #[test]
    fn options_are_those_of_cron_and_mutt() {
        let cron = read_options("-FCronDaemon -i -B8BITMIME -oem bob");
        assert!(cron.dot_is_text && !cron.from_header);
        assert_eq!(cron.recipients, ["bob"]);
        let mutt = read_options("-oem -oi -f ana -- bob@x @news");
        assert!(mutt.dot_is_text);
        assert_eq!(mutt.recipients, ["bob@x", "@news"]);
        let both = read_options("-ti -F Name -N never -v @bob");
        assert!(both.from_header && both.dot_is_text);
        assert_eq!(both.recipients, ["bob"]);
        for bad in ["--as", "-bs", "-f", "-Z"] {
            assert_eq!(options(&[bad.to_owned()]).unwrap_err().exit, exit::USAGE);
        }
    }

    fn to(message: &[u8], line: &str) -> Vec<Vec<String>> {
        let drafts = drafts(message, &read_options(line)).unwrap();
        drafts.into_iter().map(|draft| draft.to).collect()
    }

    #[test]
    fn who_is_not_named_openly_gets_a_copy_of_his_own() {
        let message = b"To: bob@x, topic+news@y\nBcc: eve\nSubject: s\n\nhi\n";
        assert_eq!(to(message, "-t"), [vec!["bob", "news"], vec!["eve"]]);
        assert_eq!(to(message, "Bob carol"), [["bob"], ["carol"]]);
        assert_eq!(
            to(message, "-t bob bob@z"),
            [vec!["bob", "news"], vec!["eve"]]
        );
        assert!(drafts(message, &Options::default()).is_err());
        let sent = drafts(message, &read_options("-t")).unwrap();
        assert_eq!(sent[0].body, b"To: bob@x, topic+news@y\nSubject: s\n\nhi\n");
        assert_eq!(
            (&*sent[0].subject, &*sent[0].content_type),
            ("s", "message/rfc822")
        );
    }

    #[test]
    fn a_text_without_a_header_is_a_message_too() {
        let sent = drafts(b"hello: there, bob\n", &read_options("bob")).unwrap();
        assert_eq!(sent[0].body, b"hello: there, bob\n");
        let sent = drafts(b"From x Mon Nov 30\nhello there\n", &read_options("bob")).unwrap();
        assert_eq!(sent[0].body, b"\nhello there\n");
    }

    #[test]
    fn a_dot_ends_a_message_unless_it_is_text() {
        assert_eq!(end_at_dot(b"a\n.\nb\n"), 2);
        assert_eq!(end_at_dot(b"a\n..\n.b\n"), 8);
        assert_eq!(end_at_dot(b".\r\n"), 0);
    }
}
