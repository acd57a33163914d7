//! Silence, and the ways a chat ends.

use super::*;

fn bye(seq: Seq) -> Frame {
    let note = Note::Bye;
    Frame::Note { seq, note }
}

fn ack(through: Seq, last: Seq) -> Frame {
    Frame::Ack { through, last }
}

const BYE: End = End::Bye { by_peer: false };
const BYE_OF_PEER: End = End::Bye { by_peer: true };

#[test]
fn silence_is_told_once_and_so_is_its_end() {
    let mut one = One::open();
    let told = |one: &mut One| std::mem::take(&mut one.told);
    one.hear(&ack(0, 0)).pass(limits::CHAT_BROKEN_MS - 1);
    assert_eq!(told(&mut one), []);
    one.pass(4_000);
    assert_eq!(told(&mut one), [Event::Broken]);
    one.hear(&ack(0, 0));
    assert_eq!(told(&mut one), [Event::Mended]);
    one.hear(&ack(0, 0)).pass(limits::CHAT_LOST_MS);
    let lost = Event::Ended(End::Lost);
    assert_eq!(told(&mut one), [Event::Broken, lost]);
}

#[test]
fn a_way_that_is_open_in_one_direction_only_is_broken() {
    let mut one = One::open();
    one.give(Input::LinkDown { refused: false });
    one.pass_alive(5_000);
    assert_eq!(one.told, [Event::Broken]);
    one.give(Input::LinkUp)
        .give(Input::LinkDown { refused: false });
    assert_eq!(one.told, [Event::Broken, Event::Resumed, Event::Mended]);
    one.pass_alive(limits::CHAT_LOST_MS);
    assert_eq!(one.end(), Some(&End::Lost));
}

#[test]
fn a_port_that_keeps_refusing_is_nobodys() {
    let mut one = One::open();
    for _ in 0..=20 {
        one.give(Input::LinkDown { refused: true });
        one.pass(limits::CHAT_REFUSED_MS / 20);
    }
    assert_eq!(one.end(), Some(&End::Lost));
}

#[test]
fn a_refusal_is_forgotten_when_the_other_side_is_heard() {
    let mut one = One::open();
    for _ in 0..9 {
        one.give(Input::LinkDown { refused: true });
        one.pass_alive(1_000);
    }
    assert_eq!(one.end(), None);
    one.give(Input::LinkUp);
    assert_eq!(one.told.last(), Some(&Event::Mended));
}

#[test]
fn who_waits_for_somebody_leaves_at_once() {
    let mut one = One::new(asker(1_000), 1_000);
    one.say("typed ahead").give(Input::Leave);
    assert_eq!(one.end(), Some(&BYE));
    assert_eq!(one.core.undelivered(), [(1, "typed ahead".to_owned())]);
    assert!(one.core.is_over() && !one.core.can_say());
    assert_eq!(one.core.wake_at_ms(), u64::MAX);
}

#[test]
fn what_the_broker_says_counts_while_nobody_has_come() {
    for end in [End::Declined, End::Busy, End::Withdrawn, End::Expired] {
        let mut one = One::new(asker(1_000), 1_000);
        one.give(Input::Answered(end.clone()));
        assert_eq!(one.end(), Some(&end));
        let mut one = One::open();
        one.give(Input::Answered(end)).give(Input::Accepted);
        assert_eq!(one.end(), None);
    }
}

#[test]
fn everything_said_goes_before_the_bye() {
    let mut one = One::open();
    one.say("one").say("two").give(Input::Leave);
    assert_eq!(one.sent.last(), Some(&bye(3)));
    assert!(!one.core.can_say());
    one.hear(&ack(2, 0));
    assert_eq!(one.end(), None);
    one.hear(&ack(3, 1)).hear(&bye(1));
    assert_eq!(one.sent.last(), Some(&ack(1, 3)));
    assert_eq!(one.end(), Some(&BYE));
}

#[test]
fn a_bye_is_answered_after_what_was_said_already() {
    let mut one = One::open();
    one.say("one").sent.clear();
    one.hear(&line(1)).hear(&bye(2));
    assert_eq!(one.sent, [bye(2)]);
    one.give(Input::Shown(1));
    assert_eq!(one.sent.last(), Some(&ack(2, 2)));
    one.hear(&ack(2, 2));
    assert_eq!(one.end(), Some(&BYE_OF_PEER));
    assert_eq!(one.core.undelivered(), []);
}

#[test]
fn a_line_said_after_the_other_sides_bye_is_not_lost() {
    let mut one = One::open();
    one.hear(&bye(1)).say("too late");
    assert_eq!(one.row(), [1], "this side's bye is the last of its row");
    one.hear(&ack(1, 1));
    assert_eq!(one.end(), Some(&BYE_OF_PEER));
    one.say("later still");
    let texts = [(2, "too late".to_owned()), (3, "later still".to_owned())];
    assert_eq!(one.core.undelivered(), texts);
    assert!(one.row().is_empty());
}

#[test]
fn both_may_leave_at_once() {
    let mut pair = Pair::open();
    pair.cores[0].handle(pair.now_ms, Input::Leave);
    pair.cores[1].handle(pair.now_ms, Input::Leave);
    pair.run();
    let ended = Event::Ended(BYE);
    assert_eq!(pair.told, [[ended.clone()], [ended]]);
}

#[test]
fn leaving_ends_soon_when_the_other_side_is_silent() {
    for (said, end) in [(0, BYE), (1, End::Lost)] {
        let mut one = One::open();
        for _ in 0..said {
            one.say("x");
        }
        one.give(Input::Leave).pass(limits::CHAT_LEAVE_MS - 1);
        assert_eq!(one.end(), None);
        one.pass(1);
        assert_eq!(one.end(), Some(&end));
    }
}

#[test]
fn leaving_ends_even_when_the_other_side_dawdles() {
    let mut one = One::open();
    for _ in 0..100 {
        one.say("x");
    }
    one.give(Input::Leave);
    for through in 1..=39 {
        one.pass(100).hear(&ack(through, 0));
    }
    assert_eq!(one.end(), None);
    one.pass(100);
    assert_eq!(one.end(), Some(&End::Lost));
    assert_eq!(one.core.undelivered().len(), 61);
}

#[test]
fn leaving_ends_at_once_when_the_other_sides_process_is_gone() {
    let mut one = One::open();
    one.give(Input::Leave).pass(300);
    one.give(Input::LinkDown { refused: true }).pass(1);
    assert_eq!(one.end(), Some(&BYE));
}

#[test]
fn nothing_follows_a_bye() {
    let mut one = One::open();
    one.say("said").hear(&bye(1)).told.clear();
    one.hear(&line(2)).hear(&ack(0, 9)).pass(100);
    assert_eq!(one.told, []);
    assert!(!one.sent.contains(&Frame::Resend { from: 2 }));
    one.pass(limits::CHAT_LEAVE_MS);
    assert_eq!(one.end(), Some(&End::Lost));
    let after = one.told.len();
    one.hear(&line(2))
        .give(Input::Leave)
        .give(Input::LinkUp)
        .pass(60_000);
    assert_eq!(one.told.len(), after);
}
