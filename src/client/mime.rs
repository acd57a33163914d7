//! A received mail as a file: an RFC 5322 header for mail readers, then the body, byte for byte.
//!
//! Mail readers get From, To, Subject and so on. We read back only `X-Correio-Envelope`: the envelope
//! as ASCII JSON, folded by a newline and one space, which unfolding removes exactly. Nothing that came
//! from others can end the header: control and non-ASCII characters are encoded.
//!
//! A mail that is a whole message (`message/rfc822`) lies there as that message: its own fields stand in the header, but
//! who it is from and what it is about are the server's word, and its text follows. `X-Correio-Header` keeps what its
//! header was, byte for byte.

use std::fmt::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::mailbox::Mail;
use super::message::{self, Taken};
use crate::protocol::LogNumber;
use crate::protocol::reply::Envelope;

const OURS: &str = "X-Correio-Envelope: ";
const FOLD: &str = "\n ";

/// Keeps the header of a mail that is a whole message, in base 64.
const THEIRS: &str = "X-Correio-Header: ";

/// Fields of a message that are not its writer's to say, or ours alone.
const NOT_THEIRS: [&str; 15] = [
    "From",
    "Sender",
    "Subject",
    "Return-Path",
    "Delivered-To",
    "Received",
    "Bcc",
    "Status",
    "X-Status",
    "X-Keywords",
    "Content-Length",
    "Lines",
    "Authentication-Results",
    "X-Correio-Envelope",
    "X-Correio-Header",
];
const LINE_BYTES: usize = 76;

#[derive(Serialize)]
struct Kept<'a> {
    v: u32,
    log: LogNumber,
    #[serde(flatten)]
    envelope: &'a Envelope,
}

#[derive(Deserialize)]
struct Read {
    log: LogNumber,
    #[serde(flatten)]
    envelope: Envelope,
}

/// Returns the header of a mail's file, up to and with the empty line, and how much of the body's beginning it
/// holds: the file goes on with the rest.
pub(super) fn header(mail: &Mail, server: &str) -> (Vec<u8>, usize) {
    let is_message = message::is_message(&mail.envelope.content_type);
    let taken = is_message.then(|| message::take(&mail.body));
    let Some(taken) = taken.filter(Taken::is_whole) else {
        return (plain_header(mail, server), 0);
    };
    let gap = if taken.rest.starts_with(b"\r") { 2 } else { 1 };
    let held = mail.body.len() - taken.rest.len() + gap;
    (message_header(mail, &taken, held, server), held)
}

/// Returns the header of the file of a mail that is a whole message, whose first `held` bytes it holds.
fn message_header(mail: &Mail, taken: &Taken<'_>, held: usize, server: &str) -> Vec<u8> {
    let envelope = &mail.envelope;
    let theirs = taken.fields.iter().filter(|field| !field.is(&NOT_THEIRS));
    let fields: Vec<_> = theirs
        .filter_map(|field| Some((field, message::harmless(field)?)))
        .collect();
    let has = |name: &str| fields.iter().any(|(field, _)| field.is(&[name]));
    let mut lines = vec![
        format!("From: {}", place(&envelope.from, server)),
        format!("Subject: {}", subject(&envelope.subject)),
    ];
    if !has("To") && !has("Cc") {
        lines.push(format!("To: {}", recipients(mail, server)));
    }
    let sent = chrono::DateTime::parse_from_rfc3339(&envelope.sent_at);
    if let (false, Ok(at)) = (has("Date"), sent) {
        lines.push(format!("Date: {}", at.to_rfc2822()));
    }
    if !has("Message-ID") {
        lines.push(format!("Message-ID: <{}@{server}>", envelope.message()));
    }
    lines.extend(fields.into_iter().map(|(_, text)| text));
    lines.push(fold(THEIRS, &STANDARD.encode(&mail.body[..held])));
    lines.push(fold(OURS, &kept(mail)));
    (lines.join("\n") + "\n\n").into_bytes()
}

fn place(name: &str, server: &str) -> String {
    format!("{}@{server}", plain(name))
}

fn recipients(mail: &Mail, server: &str) -> String {
    let to = mail.envelope.to.iter().map(|name| place(name, server));
    to.collect::<Vec<_>>().join(",\n ")
}

fn plain_header(mail: &Mail, server: &str) -> Vec<u8> {
    let envelope = &mail.envelope;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name}: {value}").expect("writing to a String does not fail");
    };
    line("From", &place(&envelope.from, server));
    line("To", &recipients(mail, server));
    line("Subject", &subject(&envelope.subject));
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(&envelope.sent_at) {
        line("Date", &at.to_rfc2822());
    }
    let message = |number| format!("<{number}@{server}>");
    line("Message-ID", &message(envelope.message()));
    if let Some(answered) = envelope.in_reply_to {
        let mut chain = vec![envelope.thread(), answered];
        chain.dedup();
        let chain: Vec<String> = chain.into_iter().map(message).collect();
        line("In-Reply-To", &message(answered));
        line("References", &chain.join(" "));
    }
    line("MIME-Version", "1.0");
    line("Content-Type", content_type(&envelope.content_type));
    line("Content-Transfer-Encoding", encoding(&mail.body));
    text.push_str(&fold(OURS, &kept(mail)));
    text.push_str("\n\n");
    text.into_bytes()
}

/// Reads a mail's file back; nothing when it is not one.
pub(super) fn parse(mut bytes: Vec<u8>) -> Option<Mail> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let body = bytes.split_off(end + 2);
    let header = std::str::from_utf8(&bytes[..=end]).ok()?;
    let start = header.find(&format!("\n{OURS}"))? + 1 + OURS.len();
    let unfolded = header[start..].replace(FOLD, "");
    let read: Read = serde_json::from_str(unfolded.lines().next()?).ok()?;
    let body = match kept_header(header) {
        Some(coded) => [STANDARD.decode(coded).ok()?, body].concat(),
        None => body,
    };
    (read.envelope.size == body.len() as u64).then_some(Mail {
        log: read.log,
        envelope: read.envelope,
        body,
    })
}

/// Says whether a file looks like one of ours.
pub(super) fn is_ours(file: &[u8]) -> bool {
    memchr::memmem::find(file, format!("\n{OURS}").as_bytes()).is_some()
}

/// Returns how much of a body's beginning a file's header holds.
pub(super) fn held(header: &str) -> usize {
    let kept = kept_header(header).and_then(|coded| STANDARD.decode(coded).ok());
    kept.map_or(0, |held| held.len())
}

/// Returns what the header of a message was, in base 64, if the file is one of a message.
fn kept_header(header: &str) -> Option<String> {
    let start = header.find(&format!("\n{THEIRS}"))? + 1 + THEIRS.len();
    let unfolded = header[start..].replace(FOLD, "");
    Some(unfolded.lines().next().unwrap_or_default().to_owned())
}

/// Reads the envelope out of the beginning of a mail's file; nothing where its header does not end there.
pub(super) fn parse_envelope(beginning: &[u8]) -> Option<Envelope> {
    let end = beginning.windows(2).position(|pair| pair == b"\n\n")?;
    let header = std::str::from_utf8(&beginning[..=end]).ok()?;
    let start = header.find(&format!("\n{OURS}"))? + 1 + OURS.len();
    let unfolded = header[start..].replace(FOLD, "");
    let read: Read = serde_json::from_str(unfolded.lines().next()?).ok()?;
    Some(read.envelope)
}

fn kept(mail: &Mail) -> String {
    let kept = Kept {
        v: 1,
        log: mail.log,
        envelope: &mail.envelope,
    };
    let json = serde_json::to_string(&kept)
        .expect("an envelope is a map with text keys, which JSON always holds");
    ascii(&json)
}

/// Escapes what is not ASCII; in JSON it only stands inside strings.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\x7f' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("writing to a String does not fail");
            }
        }
    }
    out
}

/// Breaks a line of ASCII so that taking out every `FOLD` gives it back.
fn fold(name: &str, value: &str) -> String {
    let mut out = String::from(name);
    let mut room = LINE_BYTES - name.len();
    for c in value.chars() {
        if room == 0 {
            out.push_str(FOLD);
            room = LINE_BYTES - 1;
        }
        out.push(c);
        room -= 1;
    }
    out
}

/// Returns a name without anything that has a meaning in a header.
fn plain(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_control() || " ,;:<>@\"()[]\\".contains(c) {
                '_'
            } else {
                c
            }
        })
        .collect()
}

fn is_plain(text: &str) -> bool {
    text.len() < 900 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// RFC 2047: as it is, or in base64 words of at most 75 characters.
fn subject(text: &str) -> String {
    if is_plain(text) && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        if words[words.len() - 1].len() + c.len_utf8() > 45 {
            words.push(String::new());
        }
        let last = words.len() - 1;
        words[last].push(c);
    }
    let encode = |word: &String| {
        let coded = STANDARD.encode(word);
        format!("=?UTF-8?B?{coded}?=")
    };
    words.iter().map(encode).collect::<Vec<_>>().join(FOLD)
}

fn content_type(text: &str) -> &str {
    if is_plain(text) && text.contains('/') {
        text
    } else {
        "application/octet-stream"
    }
}

fn encoding(body: &[u8]) -> &'static str {
    let short = body
        .split(|byte| *byte == b'\n')
        .all(|line| line.len() <= 998);
    match (short, body.contains(&0), body.is_ascii()) {
        (true, false, true) => "7bit",
        (true, false, false) => "8bit",
        _ => "binary",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mail(subject: &str, content_type: &str, body: Vec<u8>) -> Mail {
        Mail {
            log: 3,
            envelope: Envelope {
                id: 42,
                prev: 40,
                n: 7,
                address: "lab/news".to_owned(),
                from: "joão".to_owned(),
                to: vec!["lab/news".to_owned(), "bob".to_owned()],
                subject: subject.to_owned(),
                sent_at: "2026-11-22T14:00:00.123Z".to_owned(),
                expires_at: None,
                content_type: content_type.to_owned(),
                size: body.len() as u64,
                frames: 1,
                ..Envelope::default()
            },
            body,
        }
    }

    fn text(mail: &Mail) -> String {
        String::from_utf8(header(mail, "srv").0).unwrap()
    }

    fn file(mail: &Mail) -> Vec<u8> {
        let (header, held) = header(mail, "srv");
        [&header[..], &mail.body[held..]].concat()
    }

    #[test]
    fn mail_readers_find_what_they_know() {
        let text = text(&mail("hello", "text/plain", b"hi".to_vec()));
        for line in [
            "From: joão@srv\n",
            "To: lab/news@srv,\n bob@srv\n",
            "Subject: hello\n",
            "Date: Sun, 22 Nov 2026 14:00:00 +0000\n",
            "Message-ID: <42@srv>\n",
            "Content-Type: text/plain\n",
            "Content-Transfer-Encoding: 7bit\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }

    #[test]
    fn mail_readers_see_one_mail_in_copies_and_what_it_answers() {
        let mut copy = mail("re: hello", "text/plain", b"hi".to_vec());
        copy.envelope.message = 41;
        let alone = text(&copy);
        assert!(alone.contains("\nMessage-ID: <41@srv>\n"), "{alone}");
        assert!(!alone.contains("\nIn-Reply-To: ") && !alone.contains("\nReferences: "));
        (copy.envelope.in_reply_to, copy.envelope.thread) = (Some(30), Some(12));
        let answer = text(&copy);
        assert!(answer.contains("\nIn-Reply-To: <30@srv>\n"), "{answer}");
        assert!(
            answer.contains("\nReferences: <12@srv> <30@srv>\n"),
            "{answer}"
        );
        copy.envelope.thread = Some(30);
        let first = text(&copy);
        assert!(first.contains("\nReferences: <30@srv>\n"), "{first}");
        assert_eq!(parse(file(&copy)), Some(copy));
    }

    #[test]
    fn a_file_of_before_threads_is_its_own_message() {
        let file = file(&mail("s", "text/plain", Vec::new()));
        let text = String::from_utf8(file.clone()).unwrap();
        assert!(
            !text.contains("\"message\"") && !text.contains("thread"),
            "{text}"
        );
        let read = parse(file).unwrap().envelope;
        assert_eq!(
            (read.message(), read.thread(), read.in_reply_to),
            (42, 42, None)
        );
    }

    #[test]
    fn p12_nothing_of_others_ends_the_header_or_adds_to_it() {
        let hostile = "x\n\nBcc: all\r\n\x1b[2J\u{202e}";
        let mail = mail(hostile, "text/plain\nX-Evil: 1", b"\n\nbody".to_vec());
        let text = text(&mail);
        assert_eq!(text.find("\n\n"), Some(text.len() - 2));
        assert!(
            !text.contains("\nBcc") && !text.contains("\nX-Evil"),
            "{text}"
        );
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
        assert!(text.contains("Content-Type: application/octet-stream\n"));
    }

    #[test]
    fn a_message_lies_there_as_itself_but_for_its_sender() {
        let message = b"From: root@bank\r\nSubject: other\r\nMessage-ID: <1@mutt>\r\n\
            In-Reply-To: <0@x>\r\nStatus: RO\r\nContent-Type: text/html\r\nX-Bad: \x1b[2J\r\n\r\n<p>hi\r\n";
        let mail = mail("hello", "message/rfc822", message.to_vec());
        let text = String::from_utf8(file(&mail)).unwrap();
        let begin =
            "From: joão@srv\nSubject: hello\nTo: lab/news@srv,\n bob@srv\nDate: Sun, 22 Nov";
        assert!(text.starts_with(begin), "{text}");
        for line in [
            "\nMessage-ID: <1@mutt>\n",
            "\nIn-Reply-To: <0@x>\n",
            "\nContent-Type: text/html\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(text.ends_with("\n\n<p>hi\r\n"), "{text}");
        for word in ["bank", "other", "Status", "X-Bad", "\x1b"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
        assert_eq!(parse(file(&mail)), Some(mail));
    }

    #[test]
    fn what_is_no_mail_of_ours_is_not_read() {
        assert_eq!(parse(Vec::new()), None);
        assert_eq!(parse(b"Subject: x\n\nbody".to_vec()), None);
        let mut short = file(&mail("s", "text/plain", b"body".to_vec()));
        short.pop();
        assert_eq!(parse(short), None);
    }

    proptest! {
        #[test]
        fn any_mail_comes_back_as_it_was(subject in ".{0,300}", kind in ".{0,40}", body: Vec<u8>) {
            let mail = mail(&subject, &kind, body);
            prop_assert!(text(&mail).lines().all(|line| line.len() <= 998));
            prop_assert_eq!(parse_envelope(&file(&mail)), Some(mail.envelope.clone()));
            prop_assert_eq!(parse(file(&mail)), Some(mail));
        }

        #[test]
        fn any_message_comes_back_as_it_was(
            header in "([A-Z][a-z-]{0,8}: ?[ -~\\t\u{202e}é]{0,30}\r?\n([ \\t][ -~]{0,9}\n)?){0,5}",
            body in "(\r?\n.{0,20}){0,4}",
        ) {
            let mail = mail("s", "message/rfc822", [header, body].concat().into_bytes());
            let text = text(&mail);
            prop_assert_eq!(text.find("\n\n"), Some(text.len() - 2));
            let from = text.lines().filter(|line| line.to_lowercase().starts_with("from"));
            prop_assert_eq!(from.count(), 1);
            prop_assert_eq!(parse(file(&mail)), Some(mail));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            drop(parse(bytes));
        }
    }
}
