use super::*;

fn open() -> Screen {
    let mut screen = Screen::new("ana", "bob", true);
    screen.set_words(Some("lusab-babad".into()));
    screen.hear(Event::Open { key: key() }, 0);
    screen
}

fn key() -> crate::protocol::PublicKey {
    [7; 32]
}

fn line(screen: &mut Screen, text: &str) -> Vec<Act> {
    screen.typed(Typed::Line(text.into()), 0)
}

fn say(text: &str) -> Act {
    Act::Say(text.into())
}

fn noted(acts: &[Act]) -> String {
    let notes = acts.iter().filter_map(|act| match act {
        Act::Note(text) => Some(text.as_str()),
        _ => None,
    });
    notes.collect::<Vec<_>>().join("\n")
}

#[test]
fn lines_typed_ahead_wait_for_the_other_side() {
    let mut screen = Screen::new("ana", "bob", true);
    assert_eq!(
        noted(&line(&mut screen, "hi")),
        "1 line kept until bob is here"
    );
    let acts = screen.hear(Event::Open { key: key() }, 0);
    assert_eq!(acts.last(), Some(&say("hi")));
    assert_eq!(line(&mut screen, "there"), [say("there")]);
}

#[test]
fn no_more_is_under_way_than_fits_and_the_rest_follows() {
    let mut screen = open();
    let pasted = vec!["x"; 1_000].join("\n");
    let first = line(&mut screen, &pasted);
    assert_eq!(first.len() as u64, UNDER_WAY_MAX);
    for seq in 1..=UNDER_WAY_MAX {
        screen.hear(Event::Queued { seq }, 0);
    }
    let more = screen.hear(Event::Delivered { through: 10 }, 0);
    assert_eq!(more.len(), 10);
    assert_eq!(screen.kept().len() as u64, 1_000 - UNDER_WAY_MAX - 10);
}

#[test]
fn a_slow_line_is_told_once_and_so_is_its_arrival() {
    let mut screen = open();
    line(&mut screen, "hi");
    screen.hear(Event::Queued { seq: 3 }, 0);
    assert!(screen.tick(2_999).is_empty());
    assert_eq!(noted(&screen.tick(3_000)), "1 line not delivered yet");
    assert!(screen.tick(4_000).is_empty());
    let acts = screen.hear(Event::Delivered { through: 3 }, 5_000);
    assert_eq!(noted(&acts), "all delivered now");
    assert_eq!(line(&mut screen, "/status").last(), Some(&Act::Gauge));
    let status = noted(&line(&mut screen, "/status"));
    assert_eq!(
        status,
        "direct line to bob: 1 line sent, 1 delivered, 0 waiting; 0 heard"
    );
}

#[test]
fn keys_that_end_it() {
    let mut waiting = Screen::new("ana", "bob", true);
    assert_eq!(waiting.typed(Typed::Interrupt, 0), [Act::Withdraw]);
    assert!(!waiting.takes_lines());
    let mut connecting = Screen::new("ana", "bob", false);
    assert_eq!(connecting.typed(Typed::Interrupt, 0), [Act::Leave]);
    let mut screen = open();
    assert!(noted(&screen.typed(Typed::Interrupt, 0)).contains("/bye"));
    assert_eq!(screen.typed(Typed::End, 0), [Act::Leave]);
    assert_eq!(line(&mut open(), "/bye"), [Act::Leave]);
}

#[test]
fn words_about_files_wait_for_the_other_side_and_leaving_for_the_files() {
    let mut waiting = Screen::new("ana", "bob", true);
    assert!(noted(&line(&mut waiting, "/send x")).contains("once bob is here"));
    let mut screen = open();
    assert!(noted(&line(&mut screen, "/send")).contains("which file?"));
    let path = Act::Send("my file.txt".into());
    assert_eq!(line(&mut screen, "/send my\\ file.txt"), [path]);
    let quoted = ["/send \"my file.txt\"", "/send 'my file.txt'"];
    for typed in quoted {
        assert_eq!(line(&mut screen, typed), [Act::Send("my file.txt".into())]);
    }
    let into = Act::Accept(Some(3), "in box".into());
    assert_eq!(line(&mut screen, "/accept 3 in\\ box"), [into]);
    let oldest = Act::Accept(None, "3d".into());
    assert_eq!(line(&mut screen, "/accept 3d"), [oldest]);
    assert_eq!(line(&mut screen, "/refuse"), [Act::Refuse(None)]);
    assert!(noted(&line(&mut screen, "/refuse all")).contains("no number"));
    screen.set_busy(true);
    assert!(noted(&line(&mut screen, "/bye")).contains("/bye again"));
    assert_eq!(line(&mut screen, "/bye"), [Act::Leave]);
}

#[test]
fn nothing_is_said_after_the_end() {
    let mut screen = open();
    let told = screen.hear(Event::Ended(End::Bye { by_peer: true }), 0);
    assert_eq!(noted(&told), "bob left");
    assert!(line(&mut screen, "still there?").is_empty());
    assert!(line(&mut screen, "/bye").is_empty());
}

#[test]
fn both_words_and_lines_show_who_speaks() {
    let mut screen = open();
    assert_eq!(screen.prompt(), "ana to bob| ");
    assert!(noted(&line(&mut screen, "/fp")).contains("lusab-babad"));
    screen.set_width(16);
    let shown = screen.hear(
        Event::Line {
            seq: 1,
            text: "0123456789abc".into(),
        },
        0,
    );
    let text = "bob| 0123456789\n     abc".into();
    assert_eq!(shown, [Act::Show { seq: 1, text }]);
}

proptest::proptest! {
    #[test]
    fn p12_a_line_neither_acts_nor_forges_another(text: String, width in 20_usize..100) {
        let mut screen = open();
        screen.set_width(width);
        let acts = screen.hear(Event::Line { seq: 1, text }, 0);
        let [Act::Show { text, .. }] = &acts[..] else {
            panic!("{acts:?}");
        };
        let mut lines = text.split('\n');
        proptest::prop_assert!(lines.next().is_some_and(|first| first.starts_with("bob| ")));
        proptest::prop_assert!(lines.all(|line| line.starts_with("     ")));
        let acts = |c: char| c != '\n' && c != '\t' && crate::cli::untrusted::is_active(c);
        proptest::prop_assert!(!text.contains(acts));
    }
}
