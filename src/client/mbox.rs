//! Mbox files, as `mboxrd` quotes them: a line of a message that begins with any number of `>` and then `From ` gets one `>`
//! more, so that what is read is what was written, byte for byte.
//!
//! A message begins at a line `From sender date` at the beginning or after an empty line. Three fields before its own keep what
//! an mbox has no place for: all flags, and whether its last line had an end; `Status` and `X-Status` say the flags to mutt and
//! others. Written by others, a message keeps everything but fields of those two names. Pure but for the stream.

use std::io::{self, BufRead, Write};

use super::exchange::Message;
use super::mailbox::Flags;
use super::message::{self, Field};

/// Bytes of a message, at most: larger than any mail, so that no broken file fills the memory.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Begins a message.
const FROM: &[u8] = b"From ";

/// Keeps what an mbox has no place for.
const OURS: &str = "X-Correio-Mbox";

/// Fields in which mail readers keep flags.
const STATUS: [&str; 2] = ["Status", "X-Status"];

/// Letters of [`STATUS`], and what they say.
const LETTERS: [(char, Flags); 4] = [
    ('R', Flags::SEEN),
    ('A', Flags::REPLIED),
    ('F', Flags::FLAGGED),
    ('D', Flags::TRASHED),
];

/// Why a stream is no mbox.
#[derive(Debug, thiserror::Error)]
pub enum MboxError {
    /// It does not begin like one.
    #[error("it is no mbox: it does not begin with a line `From ...`")]
    NotMbox,
    /// A message is larger than any mail.
    #[error("message {0} is larger than 64 MiB")]
    TooLarge(u64),
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Reads the messages of an mbox, one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    /// Messages that were begun.
    count: u64,
    is_over: bool,
}

impl<R: BufRead> Reader<R> {
    /// Begins at the beginning.
    pub fn new(from: R) -> Self {
        Self {
            from,
            count: 0,
            is_over: false,
        }
    }

    /// Reads up to the first message.
    fn begin(&mut self) -> Result<bool, MboxError> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.line(&mut line)? == 0 {
                return Ok(false);
            }
            if line.starts_with(FROM) {
                return Ok(true);
            }
            if !is_empty(&line) {
                return Err(MboxError::NotMbox);
            }
        }
    }

    /// Reads one message, and the line that begins the next.
    fn message(&mut self) -> Result<Vec<u8>, MboxError> {
        let (mut message, mut line) = (Vec::new(), Vec::new());
        let mut after_empty = true;
        loop {
            line.clear();
            if self.line(&mut line)? == 0 {
                self.is_over = true;
                break;
            }
            if after_empty && line.starts_with(FROM) {
                break;
            }
            after_empty = is_empty(&line);
            message.extend(unquoted(&line));
            if message.len() > MESSAGE_BYTES_MAX {
                return Err(MboxError::TooLarge(self.count));
            }
        }
        // The empty line before the next one is the file's.
        let end = [&b"\r\n"[..], b"\n"].iter().find_map(|empty| {
            let before = message.strip_suffix(*empty)?;
            (before.is_empty() || before.ends_with(b"\n")).then_some(before.len())
        });
        message.truncate(end.unwrap_or(message.len()));
        Ok(message)
    }

    /// Reads a line with its end, no more of it than a message may have.
    fn line(&mut self, line: &mut Vec<u8>) -> Result<usize, MboxError> {
        let room = MESSAGE_BYTES_MAX as u64 + 2;
        Ok(io::Read::take(&mut self.from, room).read_until(b'\n', line)?)
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Message, MboxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.count == 0 {
            match self.begin() {
                Ok(true) => {}
                Ok(false) => self.is_over = true,
                Err(error) => {
                    self.is_over = true;
                    self.count = 1;
                    return Some(Err(error));
                }
            }
        }
        if self.is_over {
            return None;
        }
        self.count += 1;
        let read = self.message();
        self.is_over |= read.is_err();
        Some(read.map(|bytes| unwrapped(&bytes)))
    }
}

/// Writes a message. `sender` and `date` stand in the line that begins it.
///
/// # Errors
/// The stream cannot be written.
pub fn write(out: &mut impl Write, sender: &str, date: &str, message: &Message) -> io::Result<()> {
    let bytes = &message.bytes;
    let has_end = bytes.ends_with(b"\n");
    let end = if has_end { "whole" } else { "no-end" };
    let letters = |wanted: &str| -> String {
        let of = LETTERS
            .iter()
            .filter(|(letter, _)| wanted.contains(*letter));
        of.filter(|(_, flag)| message.flags.has(*flag))
            .map(|(letter, _)| *letter)
            .collect()
    };
    writeln!(out, "From {sender} {date}")?;
    writeln!(out, "{OURS}: {end} {}", message.flags)?;
    writeln!(out, "Status: {}O", letters("R"))?;
    writeln!(out, "X-Status: {}", letters("AFD"))?;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if is_quoted(line) {
            out.write_all(b">")?;
        }
        out.write_all(line)?;
    }
    out.write_all(if has_end { b"\n" } else { b"\n\n" })
}

fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// Says whether a line is one that gets a `>` more.
fn is_quoted(line: &[u8]) -> bool {
    let start = line.iter().position(|byte| *byte != b'>');
    start.is_some_and(|start| line[start..].starts_with(FROM))
}

fn unquoted(line: &[u8]) -> &[u8] {
    match line.strip_prefix(b">") {
        Some(rest) if is_quoted(rest) => rest,
        _ => line,
    }
}

/// Takes out of a message what was put before it, and the flags out of that.
fn unwrapped(bytes: &[u8]) -> Message {
    ours(bytes).unwrap_or_else(|| of_others(bytes))
}

/// Reads a message as it was written here; nothing when it was not, or somebody changed what stands before it.
fn ours(bytes: &[u8]) -> Option<Message> {
    // Lines and not fields: the message's own first line may look like the end of one.
    let mut lines = bytes.splitn(4, |byte| *byte == b'\n');
    let mut value = |name: &str| {
        let line = std::str::from_utf8(lines.next()?).ok()?;
        line.strip_prefix(name)?.strip_prefix(": ")
    };
    let (kept, status, x_status) = (value(OURS)?, value(STATUS[0])?, value(STATUS[1])?);
    let mut own = lines.next()?.to_vec();
    let (end, flags) = kept.split_once(' ')?;
    if end == "no-end" {
        own.pop();
    }
    let known = LETTERS
        .iter()
        .fold(Flags::default(), |all, (_, flag)| all.with(*flag));
    Some(Message {
        bytes: own,
        flags: Flags::parse(flags)
            .without(known)
            .with(said(status))
            .with(said(x_status)),
    })
}

/// Returns what letters of a status say.
fn said(status: &str) -> Flags {
    let of = LETTERS
        .iter()
        .filter(|(letter, _)| status.contains(*letter));
    of.fold(Flags::default(), |flags, (_, flag)| flags.with(*flag))
}

fn of_others(bytes: &[u8]) -> Message {
    let taken = message::take(bytes);
    let letters = |field: &Field<'_>| said(&field.value());
    let status = taken.fields.iter().filter(|field| field.is(&STATUS));
    let flags = status.map(letters).fold(Flags::default(), Flags::with);
    let bytes = if taken
        .fields
        .iter()
        .any(|field| field.is(&STATUS) || field.is(&[OURS]))
    {
        taken.without(&[STATUS[0], STATUS[1], OURS])
    } else {
        bytes.to_vec()
    };
    Message { bytes, flags }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(mbox: &[u8]) -> Vec<Message> {
        Reader::new(mbox).collect::<Result<_, _>>().unwrap()
    }

    fn written(messages: &[Message]) -> Vec<u8> {
        let mut mbox = Vec::new();
        for message in messages {
            write(&mut mbox, "ana@x", "Mon Nov 30 12:00:00 2026", message).unwrap();
        }
        mbox
    }

    #[test]
    fn an_mbox_of_others_is_read() {
        let mbox = b"From a@b Mon Nov 30 12:00:00 2026\nStatus: RO\nSubject: 1\nX-Status: AF\n\n>From here\n>>From there\n\n\
            From b@c Mon Nov 30 12:00:00 2026\r\nSubject: 2\r\n\r\nx\r\nFrom inside, no empty line before\r\n";
        let read = read(mbox);
        assert_eq!(read[0].bytes, b"Subject: 1\n\nFrom here\n>From there\n");
        assert_eq!(read[0].flags.to_string(), "FRS");
        let second = b"Subject: 2\r\n\r\nx\r\nFrom inside, no empty line before\r\n";
        assert_eq!(read[1].bytes, second);
        assert_eq!(read[1].flags, Flags::default());
    }

    #[test]
    fn what_is_no_mbox_is_said() {
        let first = |mbox: &[u8]| Reader::new(mbox).next();
        assert!(first(b"").is_none() && first(b"\n\r\n").is_none());
        assert!(matches!(
            first(b"Subject: x\n"),
            Some(Err(MboxError::NotMbox))
        ));
    }

    #[test]
    fn mutt_finds_the_flags_it_knows() {
        let message = Message {
            bytes: b"A: b\n\nFrom x\n>From y".to_vec(),
            flags: Flags::parse("FRSa"),
        };
        let mbox = written(std::slice::from_ref(&message));
        assert_eq!(
            String::from_utf8(mbox.clone()).unwrap(),
            "From ana@x Mon Nov 30 12:00:00 2026\nX-Correio-Mbox: no-end FRSa\nStatus: RO\nX-Status: AF\nA: b\n\n>From x\n>>From y\n\n"
        );
        assert_eq!(read(&mbox), [message]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            messages in prop::collection::vec((
                "(Status: R\n|X-Correio-Mbox: whole S\n|A: b\r?\n|>{0,3}From [a-z]{0,3}\n|\r?\n|[ -~]{0,9}|\u{e9}){0,8}",
                "[A-Za-z]{0,4}",
            ), 0..5),
        ) {
            let messages: Vec<Message> = messages.into_iter().map(|(text, flags)| Message {
                bytes: text.into_bytes(),
                flags: Flags::parse(&flags),
            }).collect();
            prop_assert_eq!(read(&written(&messages)), messages);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let read = Reader::new(&*[b"From ", &*bytes].concat()).count();
            prop_assert!(read <= bytes.len() + 1);
        }
    }
}
