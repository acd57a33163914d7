//! Any inputs in any order: nothing panics, spins, or speaks after the end.

use proptest::prelude::*;

use super::*;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..30, 1_000_u64..1_300, Just(u64::MAX)]
}

/// Frames as either side would make them up.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let parts = (0_u8..7, number(), number(), any::<bool>(), 0_usize..2);
    parts.prop_map(|(kind, a, b, flag, to)| {
        let from = [ACCEPTER, ASKER][to];
        let frame = match kind {
            0 => hello_of(from, flag),
            1 => line(a),
            2 if flag => Frame::Note {
                seq: a,
                note: Note::Bye,
            },
            2 => Frame::Note {
                seq: a,
                note: Note::Unknown,
            },
            3 | 4 => Frame::Ack {
                through: a,
                last: b,
            },
            5 => Frame::Resend { from: a },
            _ => Frame::Credit {
                file: a,
                written: b,
                again: flag,
            },
        };
        frame.encode([own(ASKER).epoch, own(ACCEPTER).epoch][to])
    })
}

fn input() -> impl Strategy<Value = Input> {
    let from = prop_oneof![Just(ASKER), Just(ACCEPTER), Just([9; 32])];
    prop_oneof![
        8 => (from, frame()).prop_map(|(from, frame)| Input::Received { from, frame }),
        3 => Just(Input::LinkUp),
        1 => any::<bool>().prop_map(|refused| Input::LinkDown { refused }),
        4 => "[a-zé\n]{0,9}".prop_map(Input::Say),
        1 => Just(Input::Note(Note::Verified { file: 1 })),
        3 => number().prop_map(Input::Shown),
        1 => Just(Input::Accepted),
        1 => prop_oneof![
            1 => Just(Input::Leave),
            1 => Just(Input::Note(Note::Bye)),
            1 => Just(Input::Answered(End::Declined)),
            9 => Just(Input::Tick),
        ],
    ]
}

proptest! {
    #[test]
    fn whatever_goes_in_comes_to_an_end(
        asks: bool,
        inputs in prop::collection::vec((input(), 0_u64..400), 0..150),
    ) {
        let core = if asks { asker(1) } else { accepter(1) };
        let mut one = One::new(core, 1);
        let mut said = 0;
        for (input, ms) in inputs {
            said += usize::from(matches!(input, Input::Say(_)));
            one.give(input).pass(ms);
            prop_assert!(one.core.undelivered().len() <= said);
        }
        one.give(Input::Leave).pass(limits::CHAT_LEAVE_MS_MAX);
        prop_assert!(one.core.is_over());
        let ends = one.told.iter().filter(|event| matches!(event, Event::Ended(_)));
        prop_assert_eq!(ends.count(), 1);
        prop_assert!(one.end().is_some(), "something followed the end");
        // What was said is delivered or not, and nothing in between.
        let mut delivered = 0;
        let mut places = Vec::new();
        for event in &one.told {
            match event {
                Event::Queued { seq } => places.push(*seq),
                Event::Delivered { through } => {
                    prop_assert!(*through > delivered);
                    delivered = *through;
                }
                _ => {}
            }
        }
        let done = places.iter().filter(|seq| **seq <= delivered).count();
        prop_assert_eq!(done + one.core.undelivered().len(), said);
    }
}
