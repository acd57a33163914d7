//! What a chat does, without sockets: rule by rule here, all of them at once in [`sim`].

mod ends;
mod inputs;
mod lines;
mod meeting;
mod sim;
mod strangers;

use super::*;
use crate::chat::frame::{Hello, MAGIC, VERSION};

const ASKER: PublicKey = [1; 32];
const ACCEPTER: PublicKey = [2; 32];
const CHAT: [u8; 16] = [7; 16];

fn own(key: PublicKey) -> Own {
    Own {
        chat: CHAT,
        key,
        epoch: u64::from(key[0]) + 10,
        port: 5600 + u16::from(key[0]),
        host: None,
    }
}

/// The other side of the one with this key, as the broker would introduce it.
fn introduced(key: PublicKey) -> Peer {
    let own = own(key);
    Peer {
        key,
        epoch: own.epoch,
        port: own.port,
        host: own.host,
    }
}

fn asker(now_ms: u64) -> Core {
    let keys = vec![[9; 32], ACCEPTER];
    Core::new(own(ASKER), Role::Asker { keys }, now_ms)
}

fn accepter(now_ms: u64) -> Core {
    Core::new(own(ACCEPTER), Role::Accepter(introduced(ASKER)), now_ms)
}

fn hello_of(key: PublicKey, met: bool) -> Frame {
    let Own {
        chat,
        epoch,
        port,
        host,
        ..
    } = own(key);
    let hello = Hello {
        magic: MAGIC.into(),
        version: VERSION,
        epoch,
        port,
        host,
        through: 0,
        met,
    };
    Frame::Hello { chat, hello }
}

fn line(seq: Seq) -> Frame {
    let text = format!("line {seq}");
    Frame::Line { seq, text }
}

/// One core, and a test in place of the other side.
struct One {
    core: Core,
    now_ms: u64,
    sent: Vec<Frame>,
    told: Vec<Event>,
}

impl One {
    fn new(core: Core, now_ms: u64) -> Self {
        let (sent, told) = (Vec::new(), Vec::new());
        let mut one = Self {
            core,
            now_ms,
            sent,
            told,
        };
        one.drain();
        one
    }

    /// The side that accepted, open, its connection made, nothing to say.
    fn open() -> Self {
        let mut one = Self::new(accepter(1_000), 1_000);
        one.give(Input::LinkUp);
        one.hear(&hello_of(ASKER, true));
        one.pass(500);
        one.sent.clear();
        one.told.clear();
        one
    }

    fn give(&mut self, input: Input) -> &mut Self {
        self.core.handle(self.now_ms, input);
        self.drain();
        self
    }

    /// Hears a frame of the asker.
    fn hear(&mut self, frame: &Frame) -> &mut Self {
        let frame = frame.encode(self.core.own.epoch);
        self.give(Input::Received { from: ASKER, frame })
    }

    fn say(&mut self, text: &str) -> &mut Self {
        self.give(Input::Say(text.into()))
    }

    /// Lets time pass, waking the core when it wants to be.
    fn pass(&mut self, ms: u64) -> &mut Self {
        let until = self.now_ms + ms;
        while self.core.wake_at_ms() <= until {
            self.now_ms = self.now_ms.max(self.core.wake_at_ms());
            self.give(Input::Tick);
            assert!(self.core.wake_at_ms() > self.now_ms, "it would spin");
        }
        self.now_ms = until;
        self
    }

    /// The same while the other side gives signs of life.
    fn pass_alive(&mut self, ms: u64) -> &mut Self {
        for _ in 0..ms / 1_000 {
            self.pass(1_000);
            self.hear(&Frame::Ack {
                through: 0,
                last: 0,
            });
        }
        self
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(bytes) => {
                    let (epoch, frame) = Frame::decode(&bytes).expect("a core sends frames");
                    assert_eq!(Some(epoch), self.core.peer.as_ref().map(|peer| peer.epoch));
                    self.sent.push(frame);
                }
                Output::Tell(event) => self.told.push(event),
                Output::Connect(_) => {}
            }
        }
    }

    /// Takes the places of the row that were sent.
    fn row(&mut self) -> Vec<Seq> {
        let frames = std::mem::take(&mut self.sent);
        let seq = |frame: &Frame| match frame {
            Frame::Line { seq, .. } | Frame::Note { seq, .. } => Some(*seq),
            _ => None,
        };
        frames.iter().filter_map(seq).collect()
    }

    /// Takes the acks that were sent: what they say was shown here.
    fn acks(&mut self) -> Vec<Seq> {
        let frames = std::mem::take(&mut self.sent);
        let through = |frame: &Frame| match frame {
            Frame::Ack { through, .. } => Some(*through),
            _ => None,
        };
        frames.iter().filter_map(through).collect()
    }

    fn end(&self) -> Option<&End> {
        match self.told.last() {
            Some(Event::Ended(end)) => Some(end),
            _ => None,
        }
    }
}

/// Two sides whose frames all pass at once.
struct Pair {
    now_ms: u64,
    cores: [Core; 2],
    told: [Vec<Event>; 2],
}

impl Pair {
    /// The asker is side 0.
    fn new() -> Self {
        Self {
            now_ms: 1_000,
            cores: [asker(1_000), accepter(1_000)],
            told: [Vec::new(), Vec::new()],
        }
    }

    fn open() -> Self {
        let mut pair = Self::new();
        pair.run();
        pair.pass(10);
        pair.told = Default::default();
        pair
    }

    fn give(&mut self, side: usize, input: Input) {
        self.cores[side].handle(self.now_ms, input);
        self.run();
    }

    /// Lets everything pass until nothing moves.
    fn run(&mut self) {
        while let Some((side, output)) = self.next() {
            self.pass_on(side, output);
        }
    }

    fn pass_on(&mut self, side: usize, output: Output) {
        match output {
            Output::Connect(_) => self.cores[side].handle(self.now_ms, Input::LinkUp),
            Output::Send(frame) => {
                let from = [ASKER, ACCEPTER][side];
                let frame = frame.to_vec();
                self.cores[1 - side].handle(self.now_ms, Input::Received { from, frame });
            }
            Output::Tell(event) => self.told[side].push(event),
        }
    }

    fn next(&mut self) -> Option<(usize, Output)> {
        (0..2).find_map(|side| Some((side, self.cores[side].poll_output()?)))
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.give(0, Input::Tick);
        self.give(1, Input::Tick);
    }
}

#[test]
fn two_meet_and_talk_and_leave() {
    let mut pair = Pair::new();
    pair.run();
    assert_eq!(pair.told[0], [Event::Open { key: ACCEPTER }]);
    assert_eq!(pair.told[1], [Event::Open { key: ASKER }]);
    pair.pass(10);
    pair.told = Default::default();
    pair.give(0, Input::Say("olá".into()));
    let text = "olá".to_owned();
    assert_eq!(pair.told[0], [Event::Queued { seq: 1 }]);
    assert_eq!(pair.told[1], [Event::Line { seq: 1, text }]);
    pair.give(1, Input::Shown(1));
    assert_eq!(pair.told[0][1], Event::Delivered { through: 1 });
    pair.give(1, Input::Leave);
    let ended = |by_peer| Some(Event::Ended(End::Bye { by_peer }));
    assert_eq!(pair.told[0].last().cloned(), ended(true));
    assert_eq!(pair.told[1].last().cloned(), ended(false));
}

/// The frames of a bundle count one by one, and a bad one among them takes none with it.
#[test]
fn p03_a_bundle_is_the_frames_in_it() {
    let mut pair = Pair::open();
    for text in ["one", "two", "three"] {
        let now_ms = pair.now_ms;
        pair.cores[0].handle(now_ms, Input::Say(text.into()));
    }
    let mut waiting = std::collections::VecDeque::new();
    while let Some(output) = pair.cores[0].poll_output() {
        if let Output::Send(packet) = output {
            waiting.push_back(packet);
        }
    }
    let strange = Frame::Line {
        seq: 2,
        text: "of another chat".into(),
    };
    waiting.insert(1, Packet::Passing(strange.encode(99)));
    let (frame, count) = bundle::pack(&waiting).expect("many short frames");
    assert!(count >= 4, "{count}");
    let from = ASKER;
    for frame in [frame.clone(), frame] {
        pair.give(1, Input::Received { from, frame });
    }
    let text = |event: &Event| match event {
        Event::Line { text, .. } => Some(text.clone()),
        _ => None,
    };
    let heard: Vec<String> = pair.told[1].iter().filter_map(text).collect();
    assert_eq!(heard, ["one", "two", "three"]);
    assert_eq!(pair.cores[1].dropped(), 2, "one message each time");
}
