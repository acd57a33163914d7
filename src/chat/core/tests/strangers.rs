//! Frames of others: none of them lets anything in. And the other side itself, when it is hostile.

use proptest::prelude::*;

use super::*;

const STRANGER: PublicKey = [5; 32];

/// Everything a core is, but the time and how much it dropped.
fn state(core: &Core) -> String {
    let mut core = core.clone();
    core.dropped = 0;
    core.now_ms = 0;
    format!("{core:?}")
}

/// Gives a core messages; each must be dropped, and leave no trace.
fn must_drop(mut core: Core, now_ms: u64, from: PublicKey, frames: &[Vec<u8>]) {
    let (before, dropped) = (state(&core), core.dropped());
    for frame in frames {
        let frame = frame.clone();
        core.handle(now_ms, Input::Received { from, frame });
        assert_eq!(core.poll_output(), None);
    }
    assert!(state(&core) == before, "it left a trace");
    assert_eq!(core.dropped(), dropped + frames.len() as u64);
}

/// One frame of each kind, for a lease and a chat.
fn one_of_each(epoch: u64, chat: [u8; 16]) -> Vec<Vec<u8>> {
    let Frame::Hello { hello, .. } = hello_of(ACCEPTER, true) else {
        panic!("a hello");
    };
    let (file, offset, written, again) = (1, 0, 0, true);
    let bytes = vec![1];
    let (note, seq) = (Note::Bye, 1);
    let frames = [
        Frame::Hello { chat, hello },
        line(1),
        Frame::Note { seq, note },
        Frame::Ack {
            through: 1,
            last: 1,
        },
        Frame::Resend { from: 1 },
        Frame::Piece {
            file,
            offset,
            bytes,
        },
        Frame::Credit {
            file,
            written,
            again,
        },
    ];
    frames.iter().map(|frame| frame.encode(epoch)).collect()
}

/// The side that asked: while it waits, when somebody has come, and open with something said.
fn askers() -> Vec<Core> {
    let waiting = asker(1_000);
    let mut one = One::new(waiting.clone(), 1_000);
    let hear = |one: &mut One, met| {
        let frame = hello_of(ACCEPTER, met).encode(own(ASKER).epoch);
        let from = ACCEPTER;
        one.give(Input::Received { from, frame });
        one.give(Input::LinkUp);
    };
    hear(&mut one, false);
    let meeting = one.core.clone();
    hear(&mut one, true);
    one.say("secret").pass(10);
    vec![waiting, meeting, one.core]
}

#[test]
fn p11_a_key_that_was_not_invited_gets_nothing_in() {
    for core in askers() {
        must_drop(core, 1_010, STRANGER, &one_of_each(own(ASKER).epoch, CHAT));
    }
    let one = One::open();
    let frames = one_of_each(own(ACCEPTER).epoch, CHAT);
    must_drop(one.core, one.now_ms, STRANGER, &frames);
}

#[test]
fn p11_an_invited_key_that_came_second_gets_nothing_in() {
    for core in &askers()[1..] {
        let frames = one_of_each(own(ASKER).epoch, CHAT);
        must_drop(core.clone(), 1_010, [9; 32], &frames);
    }
}

#[test]
fn p11_the_right_key_for_another_lease_gets_nothing_in() {
    for epoch in [0, own(ASKER).epoch - 1, own(ASKER).epoch + 1, u64::MAX] {
        for core in askers() {
            must_drop(core, 1_010, ACCEPTER, &one_of_each(epoch, CHAT));
        }
    }
}

#[test]
fn p11_the_right_key_for_another_chat_gets_nothing_in() {
    for core in askers() {
        let hello = &one_of_each(own(ASKER).epoch, [8; 16])[..1];
        must_drop(core, 1_010, ACCEPTER, hello);
    }
    // While nobody has come, a hello is the only frame that counts.
    let others = &one_of_each(own(ASKER).epoch, CHAT)[1..];
    must_drop(asker(1_000), 1_000, ACCEPTER, others);
}

#[test]
fn p11_a_hello_from_another_lease_of_the_other_side_gets_nothing_in() {
    let Frame::Hello { chat, mut hello } = hello_of(ACCEPTER, true) else {
        panic!("a hello");
    };
    hello.epoch += 1;
    let hello = Frame::Hello { chat, hello }.encode(own(ASKER).epoch);
    for core in &askers()[1..] {
        must_drop(core.clone(), 1_010, ACCEPTER, std::slice::from_ref(&hello));
    }
}

/// Returns every frame that the accepter sent in a whole chat.
fn recorded() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut pair = Pair::new();
    let mut talk = VecDeque::from([
        (1, Input::Say("old news".into())),
        (0, Input::Say("hm".into())),
        (0, Input::Shown(1)),
        (1, Input::Shown(1)),
        (1, Input::Leave),
    ]);
    loop {
        while let Some((side, output)) = pair.next() {
            if let (1, Output::Send(frame)) = (side, &output) {
                frames.push(frame.to_vec());
            }
            pair.pass_on(side, output);
        }
        pair.now_ms += 5;
        let Some((side, input)) = talk.pop_front() else {
            break;
        };
        pair.cores[side].handle(pair.now_ms, input);
    }
    assert!(pair.cores.iter().all(Core::is_over));
    frames
}

#[test]
fn p11_frames_recorded_in_an_older_chat_get_nothing_in() {
    let frames = recorded();
    assert!(frames.len() >= 6, "{}", frames.len());
    // The same two, on the same port, with the next lease.
    let later = |core: Core| {
        let own = Own {
            epoch: core.own.epoch + 2,
            ..core.own.clone()
        };
        Core { own, ..core }
    };
    for core in askers() {
        must_drop(later(core), 1_010, ACCEPTER, &frames);
    }
    // Even with the same lease, it is another chat until somebody comes for this one.
    let mut other = asker(1_000);
    other.own.chat = [8; 16];
    must_drop(other, 1_000, ACCEPTER, &frames);
}

/// A frame as a hostile other side would make it up: every kind, any numbers.
fn any_frame() -> impl Strategy<Value = Frame> {
    let number = || prop_oneof![0_u64..20, 1_000_u64..3_000, any::<u64>()];
    let parts = (0_u8..8, number(), number(), any::<bool>());
    parts.prop_map(|(kind, a, b, flag)| match kind {
        0 => hello_of(ASKER, flag),
        1 | 2 => line(a),
        3 => {
            let notes = [Note::Bye, Note::Unknown, Note::Verified { file: b }];
            let note = notes[usize::from(flag) + usize::from(b > 9)].clone();
            Frame::Note { seq: a, note }
        }
        4 => Frame::Ack {
            through: a,
            last: b,
        },
        5 => Frame::Resend { from: a },
        6 => Frame::Piece {
            file: a,
            offset: b,
            bytes: vec![1],
        },
        _ => Frame::Credit {
            file: a,
            written: b,
            again: flag,
        },
    })
}

proptest! {
    #[test]
    fn p11_garbage_gets_nothing_in(frames: Vec<Vec<u8>>, kind in 0_usize..7, cut in 0_usize..9) {
        let mut frames = frames;
        let mut cut_off = one_of_each(own(ASKER).epoch, CHAT)[kind].clone();
        cut_off.truncate(cut);
        frames.push(cut_off);
        for core in askers() {
            must_drop(core, 1_010, ACCEPTER, &frames);
        }
    }

    #[test]
    fn a_hostile_other_side_gets_no_further_than_its_own_lines(
        frames in prop::collection::vec((any_frame(), 0_u64..300), 0..200),
    ) {
        let mut one = One::open();
        for _ in 0..50 {
            one.say("mine");
        }
        let (mut told, mut sent) = (0, 0);
        for (frame, ms) in frames {
            one.hear(&frame).pass(ms);
            for event in one.told.drain(..) {
                match event {
                    Event::Line { seq, .. } | Event::Note { seq, .. } => {
                        prop_assert!(seq > told, "told again");
                        told = seq;
                    }
                    Event::Delivered { through } => prop_assert!(through <= 50),
                    _ => {}
                }
            }
            sent += one.sent.len();
            one.sent.clear();
        }
        // A row a rewind, an answer a frame, and signs of life.
        prop_assert!(sent < 20_000, "{sent}");
        one.give(Input::Leave).pass(limits::CHAT_LEAVE_MS_MAX);
        prop_assert!(one.core.is_over());
    }
}
