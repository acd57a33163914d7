//! A chat on a pipe: lines of stdin are said, lines of the other side printed. For programs.
//!
//! Every line is a line: there are no words like `/bye` here, the end of stdin is that.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::files;
use super::talk::{Listener, Mouth, News, NotSaid, Party};
use crate::chat::file::{Progress, Told};
use crate::chat::io::End;
use crate::cli::error::{CliError, client_text};
use crate::cli::i18n::tr;
use crate::cli::json::{self, V};
use crate::cli::times;
use crate::cli::ui::{Look, Ui};
use crate::cli::untrusted::visible;
use crate::client::session;
use crate::limits::LINE_BYTES_MAX;
use crate::protocol::codes::exit;

/// Prints a chat.
#[derive(Debug)]
pub(super) struct Pipe<'a> {
    ui: &'a mut Ui,
    party: Party,
    /// How far files are, as it stands on the terminal.
    passing: Option<String>,
}

impl<'a> Pipe<'a> {
    /// Prints a chat with `party`.
    pub(super) fn new(ui: &'a mut Ui, party: Party) -> Self {
        Self {
            ui,
            party,
            passing: None,
        }
    }

    fn object(&mut self, news: &News<'_>) -> Result<(), CliError> {
        let Some(mut row) = row(news) else {
            return Ok(());
        };
        let at = times::stamp();
        (row.v, row.at) = (V, &at);
        (row.chat, row.peer) = (&self.party.chat, &self.party.peer);
        if let News::Ended(End::Bye { by_peer: true }) = news {
            row.by = Some(&self.party.peer);
        }
        self.ui.object(&row)
    }

    fn human(&mut self, news: &News<'_>) -> Result<(), CliError> {
        let peer = visible(&self.party.peer);
        match news {
            News::Line { text, .. } => return self.ui.line(line(&peer, text)),
            News::Waiting { until, .. } => self.ui.note(tr!(
                "asked {} for a chat, waiting until {}",
                peer,
                times::hour(until)
            )),
            News::Open { fingerprint } => self.ui.note(tr!(
                "chat with {}; both see the words {}",
                peer,
                fingerprint
            )),
            News::Broken => self.ui.note(tr!("{} is not heard of; waiting", peer)),
            News::Mended => self.ui.note(tr!("{} is back", peer)),
            News::Ended(End::Bye { by_peer: true }) => self.ui.note(tr!("{} left", peer)),
            // Every other end is the program's, which says so.
            News::Ended(_) | News::Delivered { .. } | News::Session(_) | News::Server(_) => {}
        }
        Ok(())
    }
}

impl Listener for Pipe<'_> {
    fn tell(&mut self, news: &News<'_>) -> Result<(), CliError> {
        match news {
            News::Session(session::Event::Disconnected) => {
                self.ui.note(tr!(
                    "the server does not answer; the chat goes on without it"
                ));
                Ok(())
            }
            News::Session(_) => Ok(()),
            News::Server(error) => {
                self.ui.warn(client_text(error));
                Ok(())
            }
            news if self.ui.is_json() => self.object(news),
            news => self.human(news),
        }
    }

    fn is_alone(&self) -> bool {
        self.ui.reader_is_gone()
    }

    fn file(&mut self, told: &Told) -> Result<(), CliError> {
        if self.ui.is_json() {
            return self.ui.object(&files::row(&self.party, told));
        }
        self.ui.note(files::words(&self.party, told));
        Ok(())
    }

    fn progress(&mut self, files: &[Progress]) {
        let text = match files {
            [] => None,
            [one] => Some(files::gauge(one)),
            several => Some(
                several
                    .iter()
                    .map(files::gauge)
                    .collect::<Vec<_>>()
                    .join("  "),
            ),
        };
        if self.passing != text {
            self.ui.pass(text.as_deref());
            self.passing = text;
        }
    }
}

/// Returns a line as people read it: on one line, tabs as they are.
pub(crate) fn line(peer: &str, text: &str) -> String {
    let shown: Vec<String> = text.split('\t').map(visible).collect();
    format!("{peer}| {}", shown.join("\t"))
}

/// Returns what is special about the object of some news; nothing when there is none.
fn row<'a>(news: &News<'a>) -> Option<json::Chat<'a>> {
    let kind = |kind| json::Chat {
        kind,
        ..json::Chat::default()
    };
    Some(match news {
        News::Waiting { expires_at, .. } => json::Chat {
            expires_at: Some(expires_at),
            ..kind("waiting")
        },
        News::Open { fingerprint } => json::Chat {
            fingerprint: Some(fingerprint),
            ..kind("open")
        },
        News::Line { seq, text } => json::Chat {
            seq: Some(*seq),
            text: Some(text),
            ..kind("line")
        },
        News::Delivered { through } => json::Chat {
            seq: Some(*through),
            ..kind("delivered")
        },
        News::Broken => kind("broken"),
        News::Mended => kind("mended"),
        News::Ended(end) => {
            let (word, reason) = ended(end);
            json::Chat {
                reason,
                ..kind(word)
            }
        }
        News::Session(_) | News::Server(_) => return None,
    })
}

/// Returns the kind and the reason of an end.
fn ended(end: &End) -> (&'static str, Option<&'static str>) {
    match end {
        End::Bye { .. } => ("bye", None),
        End::Unreachable { .. } => ("lost", Some("unreachable")),
        End::Declined => ("declined", None),
        End::Busy => ("declined", Some("busy")),
        End::Withdrawn => ("expired", Some("withdrawn")),
        End::Expired => ("expired", None),
        End::Flooded => ("lost", Some("flooded")),
        _ => ("lost", None),
    }
}

/// Says the lines of stdin, on a thread of its own: it ends with stdin, with the chat, or with the
/// process.
pub(super) fn read_stdin(mouth: Mouth, json: bool) -> Faults {
    let faults = Faults::default();
    let heard = faults.clone();
    std::thread::spawn(move || {
        let mut ui = Ui::stdio(json, true, Look::default());
        let mut lines = Lines::new(io::stdin().lock());
        while let Some(line) = lines.next() {
            match line {
                Ok(line) => {
                    if mouth.say(line) == Err(NotSaid::Over) {
                        return;
                    }
                }
                Err(error) => {
                    heard.0.store(error.exit, Ordering::Relaxed);
                    ui.error(&error);
                }
            }
        }
        mouth.end();
    });
    faults
}

/// What was wrong with stdin; told when it was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<AtomicU8>);

impl Faults {
    /// Returns the error of a chat in which something could not be said.
    pub(super) fn told(&self) -> Result<(), CliError> {
        match self.0.load(Ordering::Relaxed) {
            exit::OK => Ok(()),
            exit => Err(CliError::silent(exit)),
        }
    }
}

/// Reads lines, never more than one in memory.
struct Lines<R> {
    from: R,
    number: u64,
    over: bool,
}

impl<R: BufRead> Lines<R> {
    fn new(from: R) -> Self {
        Self {
            from,
            number: 0,
            over: false,
        }
    }

    /// Returns the next line without its end, or why it cannot be said; nothing at the end.
    fn next(&mut self) -> Option<Result<String, CliError>> {
        if self.over {
            return None;
        }
        self.number += 1;
        let mut line = Vec::new();
        match self.read(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(self.checked(line)),
            Err(error) => {
                self.over = true;
                Some(Err(CliError::io(tr!("read stdin"), &error)))
            }
        }
    }

    /// Reads up to the end of the line, keeps what a line may have and two bytes more, and returns how
    /// many bytes went by.
    fn read(&mut self, line: &mut Vec<u8>) -> io::Result<usize> {
        let mut passed = 0;
        loop {
            let bytes = match self.from.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            let room = (LINE_BYTES_MAX + 2).saturating_sub(line.len());
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            let used = piece.len() + usize::from(end.is_some());
            let over = used == 0 || end.is_some();
            self.from.consume(used);
            passed += used;
            if over {
                return Ok(passed);
            }
        }
    }

    /// Makes text of a line; a CR before its end belongs to the end.
    fn checked(&self, mut line: Vec<u8>) -> Result<String, CliError> {
        line.pop_if(|last| *last == b'\r');
        if line.len() > LINE_BYTES_MAX {
            return Err(bad(tr!(
                "line {} of stdin is longer than {} bytes; it was not said",
                self.number,
                LINE_BYTES_MAX
            )));
        }
        if line.contains(&b'\r') {
            return Err(bad(tr!(
                "line {} of stdin has a carriage return in it; it was not said",
                self.number
            )));
        }
        String::from_utf8(line).map_err(|_| {
            bad(tr!(
                "line {} of stdin is not UTF-8; it was not said",
                self.number
            ))
        })
    }
}

fn bad(text: String) -> CliError {
    CliError::new("bad_line", exit::DATA, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::tests::captured;

    fn lines(input: &[u8]) -> Vec<Result<String, String>> {
        let mut lines = Lines::new(io::BufReader::with_capacity(7, input));
        let mut read = Vec::new();
        while let Some(line) = lines.next() {
            read.push(line.map_err(|error| error.text));
        }
        read
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands beside refusals")]
    fn ok(line: &str) -> Result<String, String> {
        Ok(line.to_owned())
    }

    #[test]
    fn lines_are_exact() {
        assert_eq!(lines(b""), []);
        assert_eq!(
            lines("a\n\n /bye \r\n\r\nolá".as_bytes()),
            [ok("a"), ok(""), ok(" /bye "), ok(""), ok("olá")]
        );
    }

    #[test]
    fn a_line_that_cannot_be_said_takes_no_other_with_it() {
        let most = "x".repeat(LINE_BYTES_MAX);
        let input = [
            b"a\n\xff\n".as_slice(),
            most.as_bytes(),
            b"\r\n",
            most.as_bytes(),
            b"x\nb\nc\rd\n",
        ];
        let read = lines(&input.concat());
        assert_eq!(read[0], ok("a"));
        assert_eq!(
            read[1],
            Err("line 2 of stdin is not UTF-8; it was not said".to_owned())
        );
        assert_eq!(read[2], Ok(most));
        assert_eq!(
            read[3],
            Err("line 4 of stdin is longer than 32768 bytes; it was not said".to_owned())
        );
        assert_eq!(read[4], ok("b"));
        assert!(read[5].is_err(), "{:?}", read[5]);
    }

    fn told(json: bool, news: &News<'_>) -> (String, String) {
        let (mut ui, out, err) = captured(json);
        let party = Party {
            chat: "c0".into(),
            peer: "bob".into(),
        };
        Pipe::new(&mut ui, party).tell(news).unwrap();
        (out.text(), err.text())
    }

    #[test]
    fn p12_a_line_is_one_line_and_cannot_act() {
        let text = "a\u{1b}[2J\nana| no\tx\u{202e}";
        let (out, _) = told(false, &News::Line { seq: 1, text });
        assert_eq!(out, "bob| a␛[2J␊ana| no\tx<U+202E>\n");
    }

    #[test]
    fn objects_have_the_fields_of_the_contract() {
        let strip = |json: String| {
            let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert!(value["at"].as_str().unwrap().ends_with('Z'));
            value.as_object_mut().unwrap().remove("at");
            value.to_string()
        };
        let line = News::Line { seq: 3, text: "hi" };
        assert_eq!(
            strip(told(true, &line).0),
            r#"{"chat":"c0","kind":"line","peer":"bob","seq":3,"text":"hi","v":1}"#
        );
        let busy = News::Ended(&End::Busy);
        assert_eq!(
            strip(told(true, &busy).0),
            r#"{"chat":"c0","kind":"declined","peer":"bob","reason":"busy","v":1}"#
        );
        let bye = News::Ended(&End::Bye { by_peer: true });
        assert_eq!(
            strip(told(true, &bye).0),
            r#"{"by":"bob","chat":"c0","kind":"bye","peer":"bob","v":1}"#
        );
    }

    #[test]
    fn what_is_not_a_line_goes_to_stderr_for_people() {
        for news in [
            News::Waiting {
                expires_at: "E",
                until: "U",
            },
            News::Open {
                fingerprint: "lusab",
            },
            News::Ended(&End::Bye { by_peer: true }),
        ] {
            let (out, err) = told(false, &news);
            assert!(out.is_empty() && err.contains("bob"), "{news:?}: {err}");
        }
    }
}
