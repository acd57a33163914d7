//! What comes from the other side of a chat, and from strangers on its port.

use std::collections::VecDeque;
use std::path::{Component, Path};
use std::sync::Arc;

use correio::chat::core::Core;
use correio::chat::file::name::{numbered, safe, short};
use correio::chat::file::{Files, Policy, Speak};
use correio::chat::frame::{FileNumber, Frame, Hello, Kept, MAGIC, Note};
use correio::chat::io::{End, Event, Input, Output, Own, Packet, Peer, Role};
use correio::chat::{file, fingerprint as words};
use correio::fuzzing::{is_bundle, pack, unpack};
use correio::limits;

use super::acts;
use super::lines::{number, orders};

/// A frame is written the same again, and its parts are within their limits.
pub(super) fn frame(bytes: &[u8]) {
    let read = Frame::read(bytes.to_vec());
    assert_eq!(read, Frame::decode(bytes));
    let Ok((epoch, frame)) = read else {
        return;
    };
    let again = frame.encode(epoch);
    let json = matches!(frame, Frame::Hello { .. } | Frame::Note { .. });
    assert!(json || again == bytes);
    match &frame {
        Frame::Line { seq, text } => {
            assert!(text.len() <= limits::LINE_BYTES_MAX && !text.contains('\n'));
            let mut kept = Kept::line(epoch ^ 1, *seq, text);
            kept.readdress(epoch);
            assert_eq!(**kept.bytes(), *bytes);
            assert_eq!(kept.text(), Some(text.as_str()));
        }
        Frame::Note { seq, note } => {
            assert_eq!(**Kept::note(epoch, *seq, note).bytes(), *again);
        }
        Frame::Piece { bytes, .. } => {
            assert!((1..=limits::FILE_PIECE_BYTES).contains(&bytes.len()));
        }
        Frame::Hello { hello, .. } => assert_hello(hello),
        _ => {}
    }
    if !matches!(&frame, Frame::Note { .. } if again.len() > limits::NOTE_BYTES_MAX) {
        assert_eq!(Frame::decode(&again), Ok((epoch, frame)));
    }
}

fn assert_hello(hello: &Hello) {
    assert!(hello.magic == MAGIC && hello.version > 0);
    if let Some(host) = &hello.host {
        assert!(!host.is_empty() && host.len() <= limits::HOST_BYTES_MAX);
        assert!(!host.contains([' ', ';', '/', ',', '[', ']', '*', '?', '&']));
        assert!(!host.contains(acts), "{host:?}");
    }
}

/// A bundle's frames are parts of it, in order; packed again they are the same.
pub(super) fn bundle(bytes: &[u8]) {
    let frames: Vec<_> = unpack(bytes).collect();
    assert!(frames.len() <= bytes.len() / 4 + 1);
    let whole: Vec<&[u8]> = frames.iter().flatten().copied().collect();
    assert!(whole.len() + 1 >= frames.len(), "only the last may be cut");
    let len: usize = whole.iter().map(|frame| frame.len() + 4).sum();
    assert!(len <= bytes.len());
    let packets = whole.iter().map(|frame| Packet::Passing(frame.to_vec()));
    let waiting: VecDeque<Packet> = packets.filter(|packet| packet.len() >= 9).collect();
    if let Some((packed, count)) = pack(&waiting) {
        assert!(is_bundle(&packed) && packed.len() <= limits::FRAME_BYTES_MAX);
        let again: Vec<_> = unpack(&packed).collect();
        assert_eq!(again.len(), count);
        for (frame, packet) in again.iter().zip(&waiting) {
            assert_eq!(frame.as_deref().ok(), Some(&**packet));
        }
    }
}

/// The words two people compare: the same both ways, and nothing but letters.
pub(super) fn fingerprint(bytes: &[u8]) {
    let Some((one, rest)) = bytes.split_first_chunk::<32>() else {
        return;
    };
    let Some(other) = rest.first_chunk::<32>() else {
        return;
    };
    let told = words::fingerprint(one, other);
    assert_eq!(told, words::fingerprint(other, one));
    let is_word =
        |word: &str| word.len() == 5 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    assert!(
        told.split('-').count() == 5 && told.split('-').all(is_word),
        "{told}"
    );
}

/// What a file is called here: one component that hides nothing and does not act.
pub(super) fn file_name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let name = safe(&text);
    assert_eq!(safe(&name), name);
    let n = u32::from(bytes.first().copied().unwrap_or(2)) * 1_000_003;
    for name in [numbered(&name, n), short(&name), name] {
        assert!(!name.is_empty() && name.len() <= 255, "{name:?}");
        let parts: Vec<Component<'_>> = Path::new(&name).components().collect();
        assert_eq!(parts, [Component::Normal(name.as_ref())]);
        assert!(
            !name.starts_with(['.', '-', ' ']) && !name.ends_with(['.', ' ']),
            "{name:?}"
        );
        assert!(
            !name.contains(['/', '\\']) && !name.contains(acts),
            "{name:?}"
        );
        let stem = name
            .split('.')
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        assert!(!["CON", "PRN", "AUX", "NUL", "COM1", "LPT9"].contains(&stem.trim_end()));
    }
}

/// Nobody listens.
struct Deaf;

impl Speak for Deaf {
    fn note(&self, note: Note) {
        let bytes = Frame::Note { seq: 1, note }.encode(1);
        assert!(bytes.len() <= limits::FRAME_BYTES_MAX);
    }
    fn piece(&self, _: FileNumber, _: u64, _: Vec<u8>) {}
    fn credit(&self, _: FileNumber, _: u64, _: bool) {}
}

/// A script of notes: who asks for nothing gets no file, and what is told of an offer cannot act.
pub(super) fn files(script: &[u8]) {
    let refuses = script.first() == Some(&b'0');
    let policy = if refuses { Policy::Refuse } else { Policy::Ask };
    let mut files = Files::new(Arc::new(Deaf), policy);
    for (seq, (order, rest)) in (1..).zip(orders(script)) {
        match order {
            b'n' => {
                if let Ok(note) = serde_json::from_slice::<Note>(rest) {
                    let left = files.handle(Event::Note { seq, note });
                    let is_other = matches!(
                        left,
                        Some(Event::Note {
                            note: Note::Bye | Note::Unknown,
                            ..
                        })
                    );
                    assert!(left.is_none() || is_other);
                }
            }
            b'p' => {
                let (file, bytes) = number(rest);
                let bytes = bytes.to_vec();
                assert!(
                    files
                        .handle(Event::Piece {
                            file,
                            offset: 0,
                            bytes
                        })
                        .is_none()
                );
            }
            b'c' => {
                let (file, written) = (number(rest).0, 7);
                assert!(
                    files
                        .handle(Event::Credit {
                            file,
                            written,
                            again: true
                        })
                        .is_none()
                );
            }
            b'r' => drop(files.refuse(Some(number(rest).0).filter(|file| *file > 0), "no")),
            b'm' => assert!(files.handle(Event::Mended).is_some()),
            b's' => assert!(files.handle(Event::Resumed).is_some()),
            b'e' => drop(files.handle(Event::Ended(End::Lost))),
            _ => {}
        }
        assert!(
            !files.is_busy() && files.progress().is_empty(),
            "nobody asked for a file"
        );
        assert!(files.offers().count() <= 64);
        while let Some(told) = files.poll_told() {
            assert_told(&told);
        }
    }
    files.end();
}

fn assert_told(told: &file::Told) {
    let about = &told.about;
    assert_eq!(safe(&about.name), about.name);
    assert!(about.incoming && about.blake3.len() == 64);
    assert!(about.blake3.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!matches!(
        told.state,
        file::State::Received { .. } | file::State::Sent
    ));
}

const OWN: Own = Own {
    chat: *b"0123456789abcdef",
    key: [1; 32],
    epoch: 11,
    port: 5601,
    host: None,
};

const PEER: Peer = Peer {
    key: [2; 32],
    epoch: 12,
    port: 5602,
    host: None,
};

/// A script of what a chat's core may hear: whatever it is, the chat comes to one end, nothing is told
/// after it, and every line said is delivered or not.
pub(super) fn core(script: &[u8]) {
    let role = match script.first() {
        Some(b'0') => Role::Asker {
            keys: vec![[9; 32], PEER.key],
        },
        _ => Role::Accepter(PEER),
    };
    let mut side = Side::new(Core::new(OWN, role, 1_000));
    for (order, rest) in orders(script) {
        side.obey(order, rest);
        assert!(side.core.undelivered().len() <= side.said);
    }
    side.give(Input::Leave);
    side.pass(limits::CHAT_LEAVE_MS_MAX);
    side.assert_ended();
}

struct Side {
    core: Core,
    now_ms: u64,
    told: Vec<Event>,
    said: usize,
    /// Since the last line, for a bundle.
    bundled: VecDeque<Packet>,
}

impl Side {
    fn new(core: Core) -> Self {
        let mut side = Self {
            core,
            now_ms: 1_000,
            told: Vec::new(),
            said: 0,
            bundled: VecDeque::new(),
        };
        side.drain();
        side
    }

    fn obey(&mut self, order: u8, rest: &[u8]) {
        match order {
            b'u' => self.give(Input::LinkUp),
            b'd' => self.give(Input::LinkDown {
                refused: rest == b"!",
            }),
            b's' => self.say(rest),
            b'S' => self.give(Input::Shown(number(rest).0)),
            b'n' => self.note(rest),
            b'p' => self.give(Input::Piece {
                file: 1,
                offset: number(rest).0,
                bytes: vec![7; 9],
            }),
            b'c' => self.give(Input::Credit {
                file: 1,
                written: number(rest).0,
                again: true,
            }),
            b'a' => self.give(Input::Accepted),
            b'w' => self.give(Input::Answered(End::Declined)),
            b'l' => self.give(Input::Leave),
            b't' => self.pass(number(rest).0 % 20_000),
            b'X' => self.hear([9; 32], rest.to_vec()),
            b'x' => self.hear(PEER.key, rest.to_vec()),
            b'B' => self.hear_bundle(),
            order => {
                if let Some(frame) = made(order, rest) {
                    let bytes = frame.encode(OWN.epoch);
                    self.bundled.push_back(Packet::Passing(bytes.clone()));
                    self.hear(PEER.key, bytes);
                }
            }
        }
    }

    fn say(&mut self, text: &[u8]) {
        self.said += 1;
        self.give(Input::Say(String::from_utf8_lossy(text).into_owned()));
    }

    fn note(&mut self, rest: &[u8]) {
        if let Ok(note) = serde_json::from_slice(rest) {
            self.give(Input::Note(note));
        }
    }

    /// Everything heard so far comes once more, as one message.
    fn hear_bundle(&mut self) {
        if let Some((bundle, _)) = pack(&self.bundled) {
            self.hear(PEER.key, bundle);
        }
    }

    fn hear(&mut self, from: [u8; 32], frame: Vec<u8>) {
        self.give(Input::Received { from, frame });
    }

    fn give(&mut self, input: Input) {
        self.core.handle(self.now_ms, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Connect(peer) => assert_eq!(peer.key, PEER.key),
                Output::Send(packet) => assert!(packet.len() <= limits::FRAME_BYTES_MAX),
                Output::Tell(event) => self.told.push(event),
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.core.wake_at_ms() <= until {
            self.now_ms = self.now_ms.max(self.core.wake_at_ms());
            self.give(Input::Tick);
            assert!(self.core.wake_at_ms() > self.now_ms, "it would spin");
        }
        self.now_ms = until;
    }

    fn assert_ended(&self) {
        assert!(self.core.is_over() && !self.core.can_say());
        let ends = self
            .told
            .iter()
            .filter(|event| matches!(event, Event::Ended(_)));
        assert_eq!(ends.count(), 1);
        assert!(
            matches!(self.told.last(), Some(Event::Ended(_))),
            "something followed the end"
        );
        let mut delivered = 0;
        let mut shown = 0;
        let mut places = Vec::new();
        for event in &self.told {
            match event {
                Event::Queued { seq } => places.push(*seq),
                Event::Delivered { through } => {
                    assert!(*through > delivered);
                    delivered = *through;
                }
                Event::Line { seq, .. } | Event::Note { seq, .. } => {
                    assert!(*seq > shown, "a line came twice or out of order");
                    shown = *seq;
                }
                _ => {}
            }
        }
        let done = places.iter().filter(|seq| **seq <= delivered).count();
        assert_eq!(done + self.core.undelivered().len(), self.said);
    }
}

/// Frames as the other side would make them up.
fn made(order: u8, rest: &[u8]) -> Option<Frame> {
    let (one, after) = number(rest);
    let (other, _) = number(after);
    Some(match order {
        b'H' => hello(rest),
        b'L' => Frame::Line {
            seq: one,
            text: String::from_utf8_lossy(after).into_owned(),
        },
        b'N' => Frame::Note {
            seq: one,
            note: serde_json::from_slice(after).ok()?,
        },
        b'A' => Frame::Ack {
            through: one,
            last: other,
        },
        b'R' => Frame::Resend { from: one },
        b'D' => Frame::Piece {
            file: one,
            offset: other,
            bytes: vec![7],
        },
        b'C' => Frame::Credit {
            file: one,
            written: other,
            again: false,
        },
        _ => return None,
    })
}

/// `+`: it has heard this side.
fn hello(rest: &[u8]) -> Frame {
    let hello = Hello {
        magic: MAGIC.into(),
        version: 1,
        epoch: PEER.epoch,
        port: PEER.port,
        host: None,
        through: number(rest.strip_prefix(b"+").unwrap_or(rest)).0,
        met: rest.starts_with(b"+"),
    };
    Frame::Hello {
        chat: OWN.chat,
        hello,
    }
}
