//! The worked chat of the protocol page is what two cores say, frame by frame.

use correio::chat::core::Core;
use correio::chat::frame::{Frame, Note};
use correio::chat::io::{Event, Input, Output, Own, Peer, Role};
use correio::limits;

use super::scan::read;

const PAGE: &str = "docs/protocol.md";
const NAMES: [&str; 2] = ["ana", "bob"];
const KEYS: [[u8; 32]; 2] = [[1; 32], [2; 32]];
const EPOCHS: [u64; 2] = [11, 12];
const PORTS: [u16; 2] = [5600, 5601];
const CHAT: [u8; 16] = [
    0x1f, 0x2e, 0x3d, 0x4c, 0x5b, 0x6a, 0x79, 0x88, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
];

/// ana asked, bob accepted.
struct Two {
    now_ms: u64,
    cores: [Core; 2],
    script: Vec<String>,
}

impl Two {
    fn new() -> Self {
        let own = |side: usize| Own {
            chat: CHAT,
            key: KEYS[side],
            epoch: EPOCHS[side],
            port: PORTS[side],
            host: (side == 1).then(|| "192.0.2.7".to_owned()),
        };
        let keys = vec![KEYS[1]];
        let ana = Peer {
            key: KEYS[0],
            epoch: EPOCHS[0],
            port: PORTS[0],
            host: None,
        };
        Self {
            now_ms: 1_000,
            cores: [
                Core::new(own(0), Role::Asker { keys }, 1_000),
                Core::new(own(1), Role::Accepter(ana), 1_000),
            ],
            script: Vec::new(),
        }
    }

    /// Gives one side an input and lets everything pass that follows from it.
    fn give(&mut self, side: usize, input: Input) {
        self.cores[side].handle(self.now_ms, input);
        self.run();
        // What was put off to the next millisecond.
        self.now_ms += 2;
        for side in [1, 0] {
            self.cores[side].handle(self.now_ms, Input::Tick);
            self.run();
        }
    }

    fn run(&mut self) {
        let next = |cores: &mut [Core; 2]| {
            (0..2).find_map(|side| Some((side, cores[side].poll_output()?)))
        };
        while let Some((side, output)) = next(&mut self.cores) {
            match output {
                Output::Connect(_) => self.cores[side].handle(self.now_ms, Input::LinkUp),
                Output::Send(frame) => {
                    self.script.push(told(side, &frame));
                    let from = KEYS[side];
                    let frame = frame.to_vec();
                    self.cores[1 - side].handle(self.now_ms, Input::Received { from, frame });
                }
                Output::Tell(Event::Line { seq, .. } | Event::Note { seq, .. }) => {
                    self.cores[side].handle(self.now_ms, Input::Shown(seq));
                }
                Output::Tell(_) => {}
            }
        }
    }
}

/// Writes a frame as the page does: numbers in hex, texts as they are.
fn told(side: usize, frame: &[u8]) -> String {
    let fields: &[usize] = match frame[0] {
        b'H' => &[1, 8, 16],
        b'L' | b'N' | b'R' => &[1, 8, 8],
        b'A' | b'D' => &[1, 8, 8, 8],
        b'C' => &[1, 8, 8, 8, 1],
        kind => panic!("no frame begins with {kind}"),
    };
    let mut line = format!("{} >", NAMES[side]);
    let mut rest = frame;
    for len in fields {
        let (field, after) = rest.split_at(*len);
        line.push(' ');
        line.push_str(&hex::encode(field));
        rest = after;
    }
    if !rest.is_empty() {
        let text = str::from_utf8(rest).expect("texts");
        line.extend([" '", text, "'"]);
    }
    line
}

fn block(kind: &str) -> Vec<String> {
    let page = read(PAGE).text;
    let block = page.split(&format!("```text {kind}\n")).nth(1);
    let block = block.unwrap_or_else(|| panic!("{PAGE}: no block {kind}"));
    let block = block.split("\n```").next().expect("it has a first part");
    block.lines().map(str::to_owned).collect()
}

#[test]
fn protocol_page_has_the_chat_that_two_cores_have() {
    let mut two = Two::new();
    two.give(1, Input::Tick);
    two.give(0, Input::Say("olá, bob".into()));
    two.give(1, Input::Say("oi".into()));
    let offer = Note::Offer {
        name: "a.txt".into(),
        size: 5,
        blake3: blake3::hash(b"hello").to_hex().to_string(),
    };
    two.give(0, Input::Note(offer));
    let note = Note::Accept { file: 2, offset: 0 };
    two.give(1, Input::Note(note));
    let (file, offset, bytes) = (2, 0, b"hello".to_vec());
    two.give(
        0,
        Input::Piece {
            file,
            offset,
            bytes,
        },
    );
    let (written, again) = (5, false);
    two.give(
        1,
        Input::Credit {
            file,
            written,
            again,
        },
    );
    two.give(1, Input::Note(Note::Verified { file }));
    two.give(0, Input::Leave);
    assert!(two.cores.iter().all(Core::is_over));
    assert_eq!(
        block("chat").join("\n"),
        two.script.join("\n"),
        "{PAGE}: section 13"
    );
}

#[test]
fn protocol_page_has_an_example_of_a_request_for_what_is_missing() {
    let frame = Frame::Resend { from: 2 }.encode(EPOCHS[0]);
    assert_eq!(block("resend"), [told(1, &frame)], "{PAGE}: section 13");
}

#[test]
fn protocol_page_has_the_limits_of_chat() {
    let page = read(PAGE).text;
    let table = page.split("| Limit of chat | Value |\n").nth(1);
    let table = table.expect("the page has the table of chat's limits");
    let rows = table.lines().skip(1).take_while(|row| row.starts_with('|'));
    let value = |row: &str| {
        row.rsplit('|')
            .nth(1)
            .expect("a cell")
            .trim()
            .replace(',', "")
    };
    let told: Vec<u64> = rows
        .map(|row| value(row).parse().expect("limits are whole numbers"))
        .collect();
    let known = [
        limits::LINE_BYTES_MAX as u64,
        limits::NOTE_BYTES_MAX as u64,
        limits::LINE_WINDOW,
        limits::FILE_PIECE_BYTES as u64,
        limits::FILE_WINDOW_BYTES,
        limits::HOST_BYTES_MAX as u64,
        limits::CHAT_BEAT_MS,
        limits::CHAT_BROKEN_MS,
        limits::CHAT_LOST_MS,
        limits::CHAT_REFUSED_MS,
        limits::CHAT_CONNECT_MS,
        limits::CHAT_HELLO_MS,
        limits::CHAT_MISSING_MS,
        limits::CHAT_REWIND_MS,
        limits::CHAT_LEAVE_MS,
        limits::CHAT_LEAVE_MS_MAX,
    ];
    assert_eq!(told, known, "{PAGE}: section 13.10 and limits.rs differ");
}
