//! Lines, notes, acks, and what is sent again.

use super::*;

fn ack(through: Seq, last: Seq) -> Frame {
    Frame::Ack { through, last }
}

#[test]
fn lines_typed_ahead_wait_and_go_to_whoever_comes() {
    let mut one = One::new(asker(1_000), 1_000);
    one.say("one").say("two");
    one.give(Input::Note(Note::Verified { file: 1 }));
    assert!(one.sent.is_empty());
    let frame = hello_of(ACCEPTER, false).encode(own(ASKER).epoch);
    let from = ACCEPTER;
    one.give(Input::Received { from, frame });
    one.give(Input::LinkUp);
    assert_eq!(one.sent, [hello_of(ASKER, true)]);
    one.sent.clear();
    let frame = hello_of(ACCEPTER, true).encode(own(ASKER).epoch);
    one.give(Input::Received { from, frame });
    // Their epoch was not known when they were said: `One` looks at it.
    assert_eq!(one.row(), [1, 2, 3]);
}

#[test]
fn a_window_of_lines_goes_out_and_more_wait_for_acks() {
    let mut one = One::open();
    let mut said = 0;
    while one.core.can_say() {
        one.say("x");
        said += 1;
    }
    assert_eq!(said, limits::LINE_WINDOW + limits::LINES_AHEAD);
    assert_eq!(one.row().len() as u64, limits::LINE_WINDOW);
    one.hear(&ack(10, 0));
    assert_eq!(one.row().len(), 10);
    assert!(one.core.can_say());
}

#[test]
fn large_lines_are_asked_for_no_longer_than_they_fit() {
    let mut one = One::open();
    let text = "x".repeat(limits::LINE_BYTES_MAX);
    let mut said = 0;
    while one.core.can_say() {
        one.say(&text);
        said += text.len();
    }
    assert!(said <= limits::LINES_BYTES_MAX + text.len());
    one.hear(&ack(1, 0));
    assert!(one.core.can_say());
}

#[test]
fn a_text_that_is_no_line_does_not_jam_the_row() {
    let mut one = One::open();
    one.say(&"é".repeat(limits::LINE_BYTES_MAX))
        .say("two\nlines");
    let text = |frame: &Frame| match frame {
        Frame::Line { text, .. } => text.clone(),
        _ => panic!("a line"),
    };
    assert_eq!(text(&one.sent[0]).len(), limits::LINE_BYTES_MAX);
    assert_eq!(text(&one.sent[1]), "two lines");
}

#[test]
fn a_line_that_is_shown_is_acknowledged_at_once() {
    let mut one = One::open();
    one.hear(&line(1));
    assert!(one.acks().is_empty());
    one.give(Input::Shown(1));
    assert_eq!(one.acks(), [1]);
}

#[test]
fn many_that_are_shown_are_acknowledged_together() {
    let mut one = One::open();
    for seq in 1..=1_000 {
        one.hear(&line(seq)).give(Input::Shown(seq));
    }
    assert!(one.acks().len() as u64 <= 1_000 / limits::CHAT_ACK_LINES + 1);
    one.pass(1);
    assert_eq!(one.acks(), [1_000]);
}

#[test]
fn nothing_is_acknowledged_before_it_is_shown() {
    let mut one = One::open();
    one.hear(&line(1)).hear(&line(2));
    one.pass_alive(10_000);
    assert!(one.acks().iter().all(|through| *through == 0));
    // More than there is counts as what there is.
    one.give(Input::Shown(1)).give(Input::Shown(77));
    one.pass(1);
    assert_eq!(one.acks(), [1, 2]);
    one.hear(&line(3)).pass(10);
    assert!(one.acks().is_empty());
}

#[test]
fn a_note_of_tomorrow_takes_its_place_and_no_more() {
    let mut one = One::open();
    let unknown = |seq| {
        let note = Note::Unknown;
        Frame::Note { seq, note }
    };
    one.hear(&unknown(1));
    assert_eq!(one.acks(), [1]);
    one.hear(&line(2)).hear(&unknown(3)).pass(10);
    assert!(one.acks().is_empty());
    one.give(Input::Shown(2));
    assert_eq!(one.acks(), [3]);
    one.hear(&line(4)).pass(10);
    assert!(one.acks().is_empty());
    assert_eq!(one.told.len(), 2);
}

#[test]
fn what_is_missing_is_asked_for_once_and_again_after_a_while() {
    let mut one = One::open();
    one.hear(&line(1)).hear(&line(3)).hear(&line(4));
    assert_eq!(one.sent, [Frame::Resend { from: 2 }]);
    one.sent.clear();
    one.pass(limits::CHAT_MISSING_MS - 1);
    assert_eq!(one.sent, []);
    one.pass(1);
    assert_eq!(one.sent, [Frame::Resend { from: 2 }]);
    one.sent.clear();
    // They come again: nothing more is to be asked for on the way.
    for seq in 2..=4 {
        one.hear(&line(seq));
    }
    one.pass(limits::CHAT_MISSING_MS);
    assert_eq!(one.sent, []);
    let lines = one.told.iter().map(|event| match event {
        Event::Line { seq, .. } => *seq,
        other => panic!("{other:?}"),
    });
    assert_eq!(lines.collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_last_line_that_is_missing_is_noticed_by_the_ack() {
    let mut one = One::open();
    one.hear(&ack(0, 1));
    assert_eq!(one.sent, [Frame::Resend { from: 1 }]);
}

#[test]
fn a_line_that_comes_again_is_acknowledged_again_and_not_told() {
    let mut one = One::open();
    one.hear(&line(1)).give(Input::Shown(1)).pass(10);
    one.told.clear();
    one.sent.clear();
    one.hear(&line(1)).hear(&line(1)).hear(&line(1));
    assert_eq!(one.acks(), [1]);
    one.pass(1);
    assert_eq!(one.acks(), [1]);
    assert_eq!(one.told, []);
}

#[test]
fn a_row_begins_again_at_most_once_in_a_while() {
    let mut one = One::open();
    for _ in 0..100 {
        one.say("x");
    }
    one.sent.clear();
    for _ in 0..50 {
        one.hear(&Frame::Resend { from: 41 });
    }
    assert_eq!(one.row(), (41..=100).collect::<Vec<_>>());
    one.pass(limits::CHAT_REWIND_MS)
        .hear(&Frame::Resend { from: 99 });
    assert_eq!(one.row(), [99, 100]);
}

#[test]
fn a_new_connection_begins_with_a_hello_and_all_that_is_unacknowledged() {
    let mut one = One::open();
    one.say("one").say("two").say("three").hear(&ack(1, 0));
    one.pass(10).give(Input::LinkDown { refused: false });
    one.sent.clear();
    one.say("four").pass(1_000);
    assert_eq!(one.sent, [], "nothing is sent into a gap");
    one.give(Input::LinkUp);
    assert!(matches!(&one.sent[0], Frame::Hello { hello, .. } if hello.met));
    assert_eq!(one.row(), [2, 3, 4]);
    assert!(one.told.contains(&Event::Resumed));
}

#[test]
fn a_hello_of_who_connected_anew_is_a_request_for_what_did_not_arrive() {
    let mut one = One::open();
    one.say("one").say("two").say("three");
    one.sent.clear();
    one.told.clear();
    let Frame::Hello { chat, mut hello } = hello_of(ASKER, true) else {
        panic!("a hello");
    };
    hello.through = 1;
    one.hear(&Frame::Hello { chat, hello });
    assert_eq!(one.told, [Event::Resumed]);
    assert_eq!(one.row(), [2, 3]);
}

#[test]
fn hellos_without_end_are_answered_within_bounds() {
    let mut one = One::open();
    for met in [true, false].repeat(500) {
        one.hear(&hello_of(ASKER, met));
    }
    assert!(one.sent.len() <= 2, "{:?}", one.sent);
}

#[test]
fn an_ack_beyond_what_was_sent_or_of_long_ago_tells_nothing() {
    let mut one = One::open();
    one.say("one").say("two").say("three");
    one.hear(&ack(2, 0)).told.clear();
    for through in [0, 1, 2, 4, u64::MAX] {
        one.hear(&ack(through, 0));
    }
    assert_eq!(one.told, []);
    assert_eq!(one.core.undelivered(), [(3, "three".to_owned())]);
}

#[test]
fn a_peer_cannot_make_this_side_hold_more_than_a_window() {
    let mut one = One::open();
    for seq in 1..=3 * limits::LINE_WINDOW {
        one.hear(&line(seq));
    }
    assert_eq!(one.told.len() as u64, limits::LINE_WINDOW);
    assert_eq!(one.sent, [], "what is beyond the window is not asked for");
    one.give(Input::Shown(10));
    one.hear(&line(limits::LINE_WINDOW + 1))
        .hear(&line(u64::MAX))
        .hear(&line(0));
    assert_eq!(one.told.len() as u64, limits::LINE_WINDOW + 1);
}

#[test]
fn a_lie_about_what_there_is_costs_a_request_now_and_then() {
    let mut one = One::open();
    for _ in 0..1_000 {
        one.hear(&ack(0, u64::MAX));
    }
    one.pass(2 * limits::CHAT_MISSING_MS);
    let asks = one
        .sent
        .iter()
        .filter(|frame| matches!(frame, Frame::Resend { .. }));
    assert_eq!(asks.count(), 3);
}

#[test]
fn pieces_and_credits_pass_only_while_there_is_a_way() {
    let mut one = One::open();
    let (file, offset, bytes) = (1, 0, b"x".to_vec());
    let piece = Frame::Piece {
        file,
        offset,
        bytes: bytes.clone(),
    };
    let give = |one: &mut One| {
        let bytes = bytes.clone();
        one.give(Input::Piece {
            file,
            offset,
            bytes,
        });
    };
    give(&mut one);
    assert_eq!(one.sent, [piece]);
    one.give(Input::LinkDown { refused: false }).sent.clear();
    give(&mut one);
    one.give(Input::LinkUp);
    assert!(
        !one.sent
            .iter()
            .any(|frame| matches!(frame, Frame::Piece { .. }))
    );
}

#[test]
fn signs_of_life_go_out_while_nothing_else_does() {
    let mut one = One::open();
    one.pass_alive(60_000);
    assert_eq!(one.acks().len() as u64, 60_000 / limits::CHAT_BEAT_MS);
}
