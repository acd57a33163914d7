//! What a chat does, without sockets.

use super::*;

const ASKER: PublicKey = [1; 32];
const ACCEPTER: PublicKey = [2; 32];

fn own(key: PublicKey) -> Own {
    Own {
        chat: [7; 16],
        key,
        epoch: u64::from(key[0]) + 10,
        port: 5600 + u16::from(key[0]),
        host: None,
    }
}

fn asker() -> Core {
    let keys = vec![[9; 32], ACCEPTER];
    Core::new(own(ASKER), Role::Asker { keys }, 0)
}

fn accepter() -> Core {
    let peer = Peer {
        key: ASKER,
        epoch: own(ASKER).epoch,
        port: own(ASKER).port,
        host: None,
    };
    Core::new(own(ACCEPTER), Role::Accepter(peer), 0)
}

/// Two sides whose frames all pass at once.
struct Pair {
    now_ms: u64,
    cores: [Core; 2],
    told: [Vec<Event>; 2],
}

impl Pair {
    fn new() -> Self {
        Self {
            now_ms: 1,
            cores: [asker(), accepter()],
            told: [Vec::new(), Vec::new()],
        }
    }

    fn open() -> Self {
        let mut pair = Self::new();
        pair.run();
        pair
    }

    fn give(&mut self, side: usize, input: Input) {
        self.cores[side].handle(self.now_ms, input);
        self.run();
    }

    /// Lets everything pass until nothing moves.
    fn run(&mut self) {
        while let Some((side, output)) = self.next() {
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
    let mut pair = Pair::open();
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
    pair.pass(1);
    let ended = |by_peer| Some(Event::Ended(End::Bye { by_peer }));
    assert_eq!(pair.told[0].last().cloned(), ended(true));
    assert_eq!(pair.told[1].last().cloned(), ended(false));
}
