//! A received mail as a file: an RFC 5322 header for mail readers, then the body, byte for byte.
//!
//! Mail readers get From, To, Subject and so on. We read back only `X-Correio-Envelope`: the envelope
//! as ASCII JSON, folded by a newline and one space, which unfolding removes exactly. Nothing that came
//! from others can end the header: control and non-ASCII characters are encoded.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::mailbox::Mail;
use crate::protocol::LogNumber;
use crate::protocol::reply::Envelope;

const OURS: &str = "X-Correio-Envelope: ";
const FOLD: &str = "\n ";
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

/// Returns the header of a mail's file, up to and with the empty line.
pub(super) fn header(mail: &Mail, server: &str) -> Vec<u8> {
    let envelope = &mail.envelope;
    let place = |name: &str| format!("{}@{server}", plain(name));
    let to: Vec<String> = envelope.to.iter().map(|name| place(name)).collect();
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name}: {value}").expect("writing to a String does not fail");
    };
    line("From", &place(&envelope.from));
    line("To", &to.join(",\n "));
    line("Subject", &subject(&envelope.subject));
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(&envelope.sent_at) {
        line("Date", &at.to_rfc2822());
    }
    line("Message-ID", &format!("<{}@{server}>", envelope.id));
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
    (read.envelope.size == body.len() as u64).then_some(Mail {
        log: read.log,
        envelope: read.envelope,
        body,
    })
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
    use base64::Engine;
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
        let coded = base64::engine::general_purpose::STANDARD.encode(word);
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
            },
            body,
        }
    }

    fn text(mail: &Mail) -> String {
        String::from_utf8(header(mail, "srv")).unwrap()
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
    fn what_is_no_mail_of_ours_is_not_read() {
        assert_eq!(parse(Vec::new()), None);
        assert_eq!(parse(b"Subject: x\n\nbody".to_vec()), None);
        let mut short = header(&mail("s", "text/plain", b"body".to_vec()), "srv");
        short.extend(b"bod");
        assert_eq!(parse(short), None);
    }

    proptest! {
        #[test]
        fn any_mail_comes_back_as_it_was(subject in ".{0,300}", kind in ".{0,40}", body: Vec<u8>) {
            let mail = mail(&subject, &kind, body);
            let mut bytes = header(&mail, "srv");
            prop_assert!(bytes.split(|b| *b == b'\n').all(|line| line.len() <= 998));
            bytes.extend(&mail.body);
            prop_assert_eq!(parse(bytes), Some(mail));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            drop(parse(bytes));
        }
    }
}
