//! How two meet: each rule, and every order of every loss.

use std::collections::HashSet;

use super::*;

fn resend() -> Frame {
    Frame::Resend { from: 1 }
}

#[test]
fn who_accepted_says_hello_until_it_is_answered() {
    let mut one = One::new(accepter(1_000), 1_000);
    one.pass(500);
    assert_eq!(one.sent, [], "not before the connection stands");
    one.give(Input::LinkUp).pass(3_500);
    assert_eq!(one.sent, vec![hello_of(ACCEPTER, false); 4]);
    one.sent.clear();
    one.hear(&hello_of(ASKER, true)).pass(3_500);
    assert_eq!(one.sent[0], hello_of(ACCEPTER, true));
    assert!(
        one.sent[1..]
            .iter()
            .all(|frame| matches!(frame, Frame::Ack { .. }))
    );
    assert_eq!(one.told[0], Event::Open { key: ASKER });
}

#[test]
fn who_asked_connects_to_the_first_that_comes_and_may() {
    let mut core = asker(1_000);
    for met in [false, true, false] {
        let frame = hello_of(ACCEPTER, met).encode(own(ASKER).epoch);
        let from = ACCEPTER;
        core.handle(1_000, Input::Received { from, frame });
    }
    // The second of the invited ones comes too late.
    let frame = hello_of(ACCEPTER, false).encode(own(ASKER).epoch);
    core.handle(
        1_000,
        Input::Received {
            from: [9; 32],
            frame,
        },
    );
    assert_eq!(core.dropped(), 1);
    let connects = std::iter::from_fn(|| core.poll_output())
        .filter(|output| matches!(output, Output::Connect(_)))
        .collect::<Vec<_>>();
    assert_eq!(connects, [Output::Connect(introduced(ACCEPTER))]);
}

#[test]
fn who_asked_opens_at_whatever_proves_that_its_hello_arrived() {
    for (proof, opens) in [
        (hello_of(ACCEPTER, false), false),
        (hello_of(ACCEPTER, true), true),
        (line(1), true),
        (resend(), true),
    ] {
        let mut one = One::new(asker(1_000), 1_000);
        for frame in [hello_of(ACCEPTER, false), proof] {
            let frame = frame.encode(own(ASKER).epoch);
            let from = ACCEPTER;
            one.give(Input::Received { from, frame });
            one.give(Input::LinkUp);
        }
        let open = Event::Open { key: ACCEPTER };
        assert_eq!(one.told.contains(&open), opens);
    }
}

#[test]
fn who_accepted_takes_nothing_before_a_hello() {
    let mut one = One::new(accepter(1_000), 1_000);
    one.give(Input::LinkUp).hear(&line(1)).hear(&resend());
    assert_eq!(one.told, []);
    assert_eq!(one.core.dropped(), 2);
}

#[test]
fn who_does_not_come_in_time_is_unreachable() {
    let end = |one: &One| one.end().cloned();
    let unreachable = |connected| Some(End::Unreachable { connected });
    // Nobody answers on the other side; or nothing even stands.
    for connected in [true, false] {
        let mut one = One::new(accepter(1_000), 1_000);
        if connected {
            one.give(Input::LinkUp);
        }
        one.pass(limits::CHAT_CONNECT_MS - 1);
        assert_eq!(end(&one), None);
        one.pass(1);
        assert_eq!(end(&one), unreachable(connected));
    }
    // Accepted, and nobody comes.
    let mut one = One::new(asker(1_000), 1_000);
    one.pass(200_000)
        .give(Input::Accepted)
        .pass(100)
        .give(Input::Accepted);
    one.pass(limits::CHAT_CONNECT_MS - 101);
    assert_eq!(end(&one), None);
    one.pass(1);
    assert_eq!(end(&one), unreachable(false));
}

#[test]
fn a_port_that_refuses_is_given_up_early() {
    let mut one = One::new(accepter(1_000), 1_000);
    for _ in 0..=10 {
        one.give(Input::LinkDown { refused: true });
        one.pass(limits::CHAT_REFUSED_MS / 10);
    }
    assert_eq!(one.end(), Some(&End::Unreachable { connected: false }));
}

/// Two cores, and the frames between them in each direction.
#[derive(Clone)]
struct Between {
    now_ms: u64,
    cores: [Core; 2],
    connected: [bool; 2],
    under_way: [Vec<Vec<u8>>; 2],
    opened: [bool; 2],
    /// Breaks that may still happen.
    breaks: u32,
}

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The connection of a side comes to stand.
    Stands(usize),
    /// Its oldest frame arrives.
    Arrives(usize),
    /// Its connection breaks, and with it goes what is under way.
    Breaks(usize),
    /// Time passes until a core wants to be woken.
    Waits,
}

impl Between {
    fn new(breaks: u32) -> Self {
        let mut between = Self {
            now_ms: 1,
            cores: [asker(1), accepter(1)],
            connected: [false; 2],
            under_way: Default::default(),
            opened: [false; 2],
            breaks,
        };
        // One line each was typed ahead.
        for side in [0, 1] {
            between.give(side, Input::Say("x".into()));
        }
        between
    }

    fn give(&mut self, side: usize, input: Input) {
        self.cores[side].handle(self.now_ms, input);
        while let Some(output) = self.cores[side].poll_output() {
            match output {
                Output::Send(frame) => {
                    assert!(self.connected[side], "sent to nowhere");
                    self.under_way[side].push(frame.to_vec());
                }
                Output::Tell(Event::Open { .. }) => self.opened[side] = true,
                Output::Tell(Event::Line { seq, .. }) => {
                    assert!(self.opened[side] && seq == 1);
                    self.cores[side].handle(self.now_ms, Input::Shown(seq));
                }
                _ => {}
            }
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for side in [0, 1] {
            if self.cores[side].peer.is_some() && !self.connected[side] {
                steps.push(Step::Stands(side));
            }
            if !self.under_way[side].is_empty() {
                steps.push(Step::Arrives(side));
            }
            if self.connected[side] && self.breaks > 0 {
                steps.push(Step::Breaks(side));
            }
        }
        steps.push(Step::Waits);
        steps
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Stands(side) => {
                self.connected[side] = true;
                self.give(side, Input::LinkUp);
            }
            Step::Arrives(side) => {
                let frame = self.under_way[side].remove(0);
                let from = [ASKER, ACCEPTER][side];
                self.give(1 - side, Input::Received { from, frame });
            }
            Step::Breaks(side) => {
                self.breaks -= 1;
                self.connected[side] = false;
                self.under_way[side].clear();
                self.give(side, Input::LinkDown { refused: false });
            }
            Step::Waits => {
                let wake_ms = self.cores.iter().map(Core::wake_at_ms).min();
                self.now_ms = self.now_ms.max(wake_ms.expect("there are two"));
                self.give(0, Input::Tick);
                self.give(1, Input::Tick);
            }
        }
    }

    /// What matters of it, without the time.
    fn shape(&self) -> String {
        let core = |core: &Core| {
            let greeting = core
                .greeting()
                .map(|greeting| (greeting.met, greeting.told));
            (
                core.is_open(),
                core.link.is_up(),
                greeting,
                core.undelivered().len(),
            )
        };
        format!(
            "{:?} {:?} {}",
            self.cores.each_ref().map(core),
            self.under_way,
            self.breaks
        )
    }

    /// Says whether both are open and have what the other typed.
    fn is_done(&self) -> bool {
        let done = |core: &Core| core.is_open() && core.undelivered().is_empty();
        self.cores.iter().all(done)
    }

    /// With nothing more breaking, the two meet: soon, and whatever is lost already.
    fn must_meet(&self) {
        let mut rest = self.clone();
        rest.breaks = 0;
        while !rest.is_done() {
            let step = rest.steps()[0];
            rest.step(step);
            assert!(
                rest.now_ms < self.now_ms + 3_000,
                "{}\n{}",
                self.shape(),
                rest.shape()
            );
        }
    }
}

#[test]
fn two_meet_in_every_order_of_every_loss() {
    let mut seen = HashSet::new();
    let mut open = vec![Between::new(3)];
    while let Some(state) = open.pop() {
        // Later it is too late: that has a test of its own.
        if state.now_ms > limits::CHAT_CONNECT_MS / 2 || !seen.insert(state.shape()) {
            continue;
        }
        state.must_meet();
        for step in state.steps() {
            let mut next = state.clone();
            next.step(step);
            open.push(next);
        }
    }
    assert!(seen.len() > 1_000, "only {} states", seen.len());
}
