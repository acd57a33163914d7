//! What the two sides of a chat say to each other: one frame a message, PUSH to PULL.
//!
//! ```text
//! frame  = kind epoch rest            ; kind: 1 byte, epoch: 8 bytes, big-endian as all numbers here
//! hello  = "H" epoch chat JSON        ; chat: 16 bytes
//! line   = "L" epoch seq text         ; seq: 8 bytes, text: UTF-8
//! note   = "N" epoch seq JSON         ; an offer of a file, its answer, its end, or bye
//! ack    = "A" epoch through last     ; also the sign of life
//! resend = "R" epoch from             ; seq `from` is missing here: send again from there
//! piece  = "D" epoch file offset bytes
//! credit = "C" epoch file written again
//! bundle = "B" epoch *( length frame ) ; length: 4 bytes; no bundle in a bundle (`bundle`)
//! ```
//!
//! `epoch` is that of the **receiver's** lease, which is never used twice: a frame meant for another
//! chat on the same port, however it came here, does not pass. Pure; `docs/protocol.md`, "Chat", has
//! the same in words.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits;

/// First word of every hello.
pub const MAGIC: &str = "correio-chat";

/// The version of this form.
pub const VERSION: u32 = 1;

/// Place in the row of lines and notes of one side: 1, 2, 3 ...
pub type Seq = u64;

/// A file of a chat: the seq of the note that offered it.
pub type FileNumber = u64;

/// One frame, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first frame of each connection.
    Hello {
        /// Which chat.
        chat: [u8; 16],
        /// Who comes.
        hello: Hello,
    },
    /// A line of text.
    Line {
        /// Its place in the row.
        seq: Seq,
        /// The text, one line, at most [`limits::LINE_BYTES_MAX`].
        text: String,
    },
    /// Something else that must arrive once and in its place.
    Note {
        /// Its place in the row.
        seq: Seq,
        /// What it says.
        note: Note,
    },
    /// What arrived, and what was sent: repeated every [`limits::CHAT_BEAT_MS`].
    Ack {
        /// Everything of the receiver's row up to here was shown.
        through: Seq,
        /// The sender's row goes up to here.
        last: Seq,
    },
    /// Something is missing.
    Resend {
        /// The first seq of the receiver's row that is not here.
        from: Seq,
    },
    /// A piece of a file.
    Piece {
        /// Which file of the sender's.
        file: FileNumber,
        /// Its first byte's place in the file.
        offset: u64,
        /// At most [`limits::FILE_PIECE_BYTES`].
        bytes: Vec<u8>,
    },
    /// How much of a file is written; [`limits::FILE_WINDOW_BYTES`] may be under way beyond it.
    Credit {
        /// Which file of the receiver's.
        file: FileNumber,
        /// Bytes written from the front.
        written: u64,
        /// Something is missing: send again from `written`.
        again: bool,
    },
}

/// Who comes, and where the answer goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Always [`MAGIC`].
    pub magic: String,
    /// The version of this form; both sides go by the lower one.
    pub version: u32,
    /// Epoch of the sender's own lease: the frames to it carry this.
    pub epoch: u64,
    /// The sender's leased port.
    pub port: u16,
    /// Where the sender listens; left out, at the server's host as the receiver reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Everything of the receiver's row up to here arrived.
    #[serde(default)]
    pub through: Seq,
    /// The sender has a hello of the receiver: the way is open in both directions.
    #[serde(default)]
    pub met: bool,
}

/// What stands in the row of lines besides lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// Here is a file; it is called by this note's seq.
    Offer {
        /// Its name at the sender's, any text.
        name: String,
        /// Its bytes.
        size: u64,
        /// BLAKE3 of its bytes, 64 hex digits.
        blake3: String,
    },
    /// Send it, from an offset on.
    Accept {
        /// Which of the receiver's files.
        file: FileNumber,
        /// What is here already from an earlier try.
        offset: u64,
    },
    /// Do not send it (any more).
    Refuse {
        /// Which of the receiver's files.
        file: FileNumber,
        /// For people.
        reason: String,
    },
    /// All of it is here and has the BLAKE3 that was said.
    Verified {
        /// Which of the receiver's files.
        file: FileNumber,
    },
    /// The sender gives it up.
    Abandon {
        /// Which of the sender's own files.
        file: FileNumber,
        /// For people.
        reason: String,
    },
    /// The sender leaves; nothing follows in its row.
    Bye,
    /// A note of a newer version: passed over.
    #[serde(other)]
    Unknown,
}

/// Bytes before a frame's own: kind and epoch.
const HEAD: usize = 9;

/// Bytes before the text of a line or note: kind, epoch and seq.
const ROW_HEAD: usize = HEAD + 8;

/// A line or note as it goes over the wire, kept by its sender until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept(Arc<[u8]>);

impl Kept {
    /// Writes a line in one allocation: as [`Frame::encode`] does.
    pub fn line(epoch: u64, seq: Seq, text: &str) -> Self {
        Self::write(b'L', epoch, seq, text.as_bytes())
    }

    /// Writes a note.
    pub fn note(epoch: u64, seq: Seq, note: &Note) -> Self {
        Self::write(b'N', epoch, seq, &json(note))
    }

    fn write(kind: u8, epoch: u64, seq: Seq, rest: &[u8]) -> Self {
        let len = ROW_HEAD + rest.len();
        let mut frame: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
        let bytes = Arc::get_mut(&mut frame).expect("nobody else has it yet");
        bytes[0] = kind;
        bytes[1..HEAD].copy_from_slice(&epoch.to_be_bytes());
        bytes[HEAD..ROW_HEAD].copy_from_slice(&seq.to_be_bytes());
        bytes[ROW_HEAD..].copy_from_slice(rest);
        Self(frame)
    }

    /// Writes it again for a receiver whose lease has this epoch.
    pub fn readdress(&mut self, epoch: u64) {
        Arc::make_mut(&mut self.0)[1..HEAD].copy_from_slice(&epoch.to_be_bytes());
    }

    /// Returns the bytes to send.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.0
    }

    /// Returns the text if it is a line.
    pub fn text(&self) -> Option<&str> {
        let text = &self.0[ROW_HEAD..];
        (self.0[0] == b'L').then(|| str::from_utf8(text).expect("a line was written from text"))
    }
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a chat frame: {0}")]
pub struct FrameError(&'static str);

impl FrameError {
    /// It ends before its time.
    pub(super) const CUT: Self = Self("it is too short");
}

impl Frame {
    /// Writes the frame for a receiver whose lease has this epoch.
    pub fn encode(&self, epoch: u64) -> Vec<u8> {
        match self {
            Self::Hello { chat, hello } => head(b'H', epoch, &[chat, &json(hello)]),
            Self::Line { seq, text } => head(b'L', epoch, &[&seq.to_be_bytes(), text.as_bytes()]),
            Self::Note { seq, note } => head(b'N', epoch, &[&seq.to_be_bytes(), &json(note)]),
            Self::Ack { through, last } => {
                head(b'A', epoch, &[&through.to_be_bytes(), &last.to_be_bytes()])
            }
            Self::Resend { from } => head(b'R', epoch, &[&from.to_be_bytes()]),
            Self::Piece {
                file,
                offset,
                bytes,
            } => head(
                b'D',
                epoch,
                &[&file.to_be_bytes(), &offset.to_be_bytes(), bytes],
            ),
            Self::Credit {
                file,
                written,
                again,
            } => head(
                b'C',
                epoch,
                &[
                    &file.to_be_bytes(),
                    &written.to_be_bytes(),
                    &[u8::from(*again)],
                ],
            ),
        }
    }

    /// Reads a frame and the epoch it was meant for.
    pub fn decode(bytes: &[u8]) -> Result<(u64, Self), FrameError> {
        Self::read(bytes.to_vec())
    }

    /// The same; the bytes of a line or piece stay where they are in memory.
    pub fn read(bytes: Vec<u8>) -> Result<(u64, Self), FrameError> {
        let (kind, rest) = bytes.split_first().ok_or(FrameError("it is empty"))?;
        let (epoch, rest) = number(rest)?;
        let frame = match kind {
            b'H' => Self::hello(rest)?,
            b'L' => {
                let (seq, _) = number(rest)?;
                let text = line(bytes)?;
                Self::Line { seq, text }
            }
            b'N' => {
                let (seq, note) = number(rest)?;
                if note.len() > limits::NOTE_BYTES_MAX {
                    return Err(FrameError("a note over its limit"));
                }
                let note = serde_json::from_slice(note).map_err(|_| FrameError("a bad note"))?;
                Self::Note { seq, note }
            }
            b'A' => {
                let (through, last) = number(rest)?;
                let last = only(last)?;
                Self::Ack { through, last }
            }
            b'R' => Self::Resend { from: only(rest)? },
            b'D' => Self::piece(bytes)?,
            b'C' => Self::credit(rest)?,
            _ => return Err(FrameError("its kind is unknown")),
        };
        Ok((epoch, frame))
    }

    fn hello(rest: &[u8]) -> Result<Self, FrameError> {
        let (chat, hello) = rest.split_first_chunk::<16>().ok_or(FrameError::CUT)?;
        let hello: Hello = serde_json::from_slice(hello).map_err(|_| FrameError("a bad hello"))?;
        if hello.magic != MAGIC || hello.version == 0 {
            return Err(FrameError("a hello of something else"));
        }
        if hello.host.as_ref().is_some_and(|host| !is_host(host)) {
            return Err(FrameError("a bad host"));
        }
        Ok(Self::Hello { chat: *chat, hello })
    }

    fn piece(mut frame: Vec<u8>) -> Result<Self, FrameError> {
        let (file, rest) = number(&frame[HEAD..])?;
        let (offset, bytes) = number(rest)?;
        if bytes.is_empty() || bytes.len() > limits::FILE_PIECE_BYTES {
            return Err(FrameError("a piece of a bad length"));
        }
        frame.drain(..frame.len() - bytes.len());
        Ok(Self::Piece {
            file,
            offset,
            bytes: frame,
        })
    }

    fn credit(rest: &[u8]) -> Result<Self, FrameError> {
        let (file, rest) = number(rest)?;
        let (written, again) = number(rest)?;
        let again = match again {
            [0] => false,
            [1] => true,
            _ => return Err(FrameError("a bad credit")),
        };
        Ok(Self::Credit {
            file,
            written,
            again,
        })
    }
}

fn head(kind: u8, epoch: u64, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(HEAD + len);
    frame.push(kind);
    frame.extend_from_slice(&epoch.to_be_bytes());
    for part in parts {
        frame.extend_from_slice(part);
    }
    frame
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), FrameError> {
    let (word, rest) = bytes.split_first_chunk::<8>().ok_or(FrameError::CUT)?;
    Ok((u64::from_be_bytes(*word), rest))
}

fn only(bytes: &[u8]) -> Result<u64, FrameError> {
    match number(bytes)? {
        (number, []) => Ok(number),
        _ => Err(FrameError("it is too long")),
    }
}

fn line(mut frame: Vec<u8>) -> Result<String, FrameError> {
    frame.drain(..ROW_HEAD);
    if frame.len() > limits::LINE_BYTES_MAX {
        return Err(FrameError("a line over its limit"));
    }
    if frame.contains(&b'\n') {
        return Err(FrameError("a line with a line break"));
    }
    String::from_utf8(frame).map_err(|_| FrameError("a line that is not UTF-8"))
}

/// Says whether a text may go into an endpoint: a name or an address, and nothing that means more there.
fn is_host(host: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || "._-:%".contains(c);
    (1..=limits::HOST_BYTES_MAX).contains(&host.len()) && host.chars().all(fits)
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("hellos and notes are maps with text keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<Frame> {
        let hello = Hello {
            magic: MAGIC.into(),
            version: VERSION,
            epoch: 7,
            port: 5600,
            host: Some("::1".into()),
            through: 3,
            met: true,
        };
        let chat = [9; 16];
        let bytes = vec![0, 255];
        vec![
            Frame::Hello { chat, hello },
            Frame::Line {
                seq: 1,
                text: "olá".into(),
            },
            Frame::Note {
                seq: 2,
                note: Note::Bye,
            },
            Frame::Ack {
                through: 1,
                last: 2,
            },
            Frame::Resend { from: 2 },
            Frame::Piece {
                file: 2,
                offset: 1 << 40,
                bytes,
            },
            Frame::Credit {
                file: 2,
                written: 5,
                again: true,
            },
        ]
    }

    #[test]
    fn frames_round_trip_with_the_epoch_they_are_for() {
        for frame in one_of_each() {
            assert_eq!(Frame::decode(&frame.encode(77)), Ok((77, frame)));
        }
    }

    #[test]
    fn a_cut_frame_is_none() {
        for frame in one_of_each() {
            let bytes = frame.encode(77);
            for end in 0..bytes.len() {
                // A text may end anywhere.
                if bytes[0] != b'L' && bytes[0] != b'D' || end < 25 {
                    let cut = Frame::decode(&bytes[..end]);
                    assert!(cut.is_err() || bytes[0] == b'L', "{cut:?}");
                }
            }
        }
    }

    #[test]
    fn a_kept_line_or_note_is_the_frame_it_was() {
        let note = Note::Verified { file: 3 };
        let line = Frame::Line {
            seq: 4,
            text: "olá".into(),
        };
        let mut kept = Kept::line(0, 4, "olá");
        kept.readdress(77);
        assert_eq!(**kept.bytes(), *line.encode(77));
        assert_eq!(kept.text(), Some("olá"));
        let kept = Kept::note(77, 5, &note);
        assert_eq!(**kept.bytes(), *Frame::Note { seq: 5, note }.encode(77));
        assert_eq!(kept.text(), None);
    }

    #[test]
    fn a_host_is_nothing_but_a_host() {
        for (host, fits) in [
            ("10.0.0.7", true),
            ("fe80::1%eth0", true),
            ("printer.local", true),
            ("", false),
            ("10.0.0.7:1;10.0.0.8", false),
            ("a b", false),
            ("*", false),
        ] {
            assert_eq!(is_host(host), fits, "{host}");
        }
    }

    #[test]
    fn a_line_is_one_line() {
        let bytes = Kept::line(1, 1, "two\nlines");
        assert!(Frame::decode(bytes.bytes()).is_err());
    }

    #[test]
    fn the_largest_frames_fit() {
        let line = Frame::Line {
            seq: u64::MAX,
            text: "x".repeat(limits::LINE_BYTES_MAX),
        };
        let piece = Frame::Piece {
            file: u64::MAX,
            offset: u64::MAX,
            bytes: vec![0; limits::FILE_PIECE_BYTES],
        };
        assert!(line.encode(u64::MAX).len() <= limits::FRAME_BYTES_MAX);
        assert!(piece.encode(u64::MAX).len() <= limits::FRAME_BYTES_MAX);
    }

    #[test]
    fn a_note_of_a_newer_version_is_passed_over() {
        let mut bytes = Frame::Resend { from: 4 }.encode(1);
        bytes[0] = b'N';
        bytes.extend_from_slice(br#"{"note":"of_tomorrow","x":1}"#);
        let note = Note::Unknown;
        assert_eq!(Frame::decode(&bytes), Ok((1, Frame::Note { seq: 4, note })));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            drop(Frame::decode(&bytes));
        }
    }
}
