//! `mailctl chat` on pipes: real processes on both sides of real chats, and what `refresh`, `watch`
//! and `block` have to do with them.

mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::ctl::{Ctl, Run};
use common::server::Server;
use common::talker::Talker;
use common::{eventually, now, pause};
use correio::cli::untrusted::is_active;
use rustix::process::Signal;
use serde_json::{Value, json};

/// What both sides may take to end after one has left.
const END: Duration = Duration::from_secs(5);

/// A server and two people, each on a machine of their own.
struct World {
    server: Server,
    ana: Ctl,
    bob: Ctl,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(args: &[&str]) -> Self {
        // A port that was used rests before the next chat has it.
        let server = Server::start_with(12, args);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let person = |name: &str| {
            let ctl = Ctl::new(&server, &folder.path().join(name));
            ctl.ok(&["login", name]);
            ctl
        };
        let (ana, bob) = (person("ana"), person("bob"));
        Self {
            server,
            ana,
            bob,
            folder,
        }
    }

    fn person(&self, name: &str) -> Ctl {
        let ctl = Ctl::new(&self.server, &self.folder.path().join(name));
        ctl.ok(&["login", name]);
        ctl
    }

    /// Opens a chat that ana asks bob for.
    fn chat(&self, asks: &[&str], accepts: &[&str]) -> (Talker, Talker) {
        let ana = ask(&self.ana, "bob", asks);
        let mut words = vec!["chat", "accept", "ana"];
        words.extend(accepts);
        let bob = Talker::start(&self.bob, &words);
        for side in [&ana, &bob] {
            open(side, if is(side, &ana) { asks } else { accepts });
        }
        (ana, bob)
    }
}

fn is(one: &Talker, other: &Talker) -> bool {
    one.pid() == other.pid()
}

/// Waits until a side says that the chat is open.
#[track_caller]
fn open(side: &Talker, args: &[&str]) {
    if args.contains(&"--json") {
        side.object("open");
    } else {
        side.note("both see the words");
    }
}

/// Asks for a chat and waits until the invitation stands.
#[track_caller]
fn ask(ctl: &Ctl, user: &str, args: &[&str]) -> Talker {
    let mut words = vec!["chat", user];
    words.extend(args);
    let asker = Talker::start(ctl, &words);
    if args.contains(&"--json") {
        asker.object("waiting");
    } else {
        asker.note("for a chat, waiting until");
    }
    asker
}

/// Runs to the end and expects this exit code.
#[track_caller]
fn fails(ctl: &Ctl, args: &[&str], code: i32) -> Run {
    let run = ctl.run(args);
    assert_eq!(run.code, code, "mailctl {args:?}: {}{}", run.out, run.err);
    run
}

/// Waits for the end of a side and expects this exit code.
#[track_caller]
fn ends(side: Talker, code: i32) -> Run {
    let run = side.end();
    assert_eq!(run.code, code, "{}{}", run.out, run.err);
    run
}

fn json_of(ctl: &Ctl, args: &[&str]) -> Vec<Value> {
    let mut words = vec!["--json"];
    words.extend(args);
    ctl.ok(&words).objects()
}

/// Returns the bodies of the mails that a refresh shows.
fn bodies(ctl: &Ctl) -> Vec<String> {
    let mails = json_of(ctl, &["refresh"]).into_iter();
    let body = |mail: Value| mail["body"].as_str().map(str::to_owned);
    mails.filter_map(body).collect()
}

/// Returns the object with which stderr says what became of lines.
#[track_caller]
fn undelivered(run: &Run) -> Value {
    let mut told = run.err.lines().filter_map(|line| {
        let object: Value = serde_json::from_str(line).ok()?;
        (object["kind"] == "undelivered").then_some(object)
    });
    told.next_back()
        .unwrap_or_else(|| panic!("nothing undelivered: {}", run.err))
}

#[test]
fn two_people_talk_and_the_end_of_stdin_ends_it() {
    let world = World::new();
    let (mut ana, mut bob) = world.chat(&[], &[]);
    ana.say("hello");
    assert_eq!(bob.line(), "ana| hello");
    bob.say("olá\tana");
    assert_eq!(ana.line(), "bob| olá\tana");
    ana.say("");
    ana.say("/bye");
    assert_eq!(bob.line(), "ana| ");
    assert_eq!(bob.line(), "ana| /bye", "on a pipe every line is a line");
    ana.say("last words");
    let begin = now();
    ana.close();
    let (ana, bob) = (ends(ana, 0), ends(bob, 0));
    assert!(begin.elapsed() < END, "{:?}", begin.elapsed());
    assert_eq!(bob.out, "ana| last words\n");
    assert!(bob.err.contains("ana left"), "{}", bob.err);
    assert_eq!((ana.out.as_str(), ana.err.contains("error")), ("", false));
    assert_eq!(bodies(&world.bob), Vec::<String>::new());
}

#[test]
fn json_has_the_kinds_of_the_contract() {
    let world = World::new();
    let mut ana = Talker::start(&world.ana, &["chat", "bob", "--json"]);
    let waiting = ana.object("waiting");
    assert_eq!(
        (&waiting["v"], &waiting["peer"]),
        (&json!(1), &json!("bob"))
    );
    assert!(waiting["expires_at"].is_string(), "{waiting}");
    let mut bob = Talker::start(&world.bob, &["--json", "chat", "accept"]);
    let (here, there) = (ana.object("open"), bob.object("open"));
    assert_eq!(here["chat"], waiting["chat"]);
    assert_eq!(there["chat"], waiting["chat"]);
    assert_eq!(here["fingerprint"], there["fingerprint"]);
    assert!(!here["fingerprint"].as_str().expect("words").is_empty());
    let evil = "a\u{1b}[2J\u{202e}";
    ana.say(evil);
    let line = bob.object("line");
    assert_eq!(
        (&line["seq"], &line["text"], &line["peer"]),
        (&json!(1), &json!(evil), &json!("ana"))
    );
    let at = line["at"].as_str().expect("a time");
    assert!(at.ends_with('Z') && at.len() == "2026-11-22T12:04:11.120Z".len());
    assert_eq!(ana.object("delivered")["seq"], 1);
    bob.close();
    assert_eq!(ana.object("bye")["by"], "bob");
    let bye = bob.object("bye");
    assert_eq!((&bye["chat"], &bye["by"]), (&waiting["chat"], &json!(null)));
    ends(ana, 0);
    ends(bob, 0);
}

#[test]
fn lines_typed_ahead_arrive_once_and_in_order() {
    let world = World::new();
    let mut ana = ask(&world.ana, "bob", &[]);
    // More than may be under way at once.
    for number in 0..3_000 {
        ana.say(&number.to_string());
    }
    ana.close();
    let mut bob = Talker::start(&world.bob, &["chat", "accept"]);
    for number in 0..3_000 {
        assert_eq!(bob.line(), format!("ana| {number}"));
    }
    bob.close();
    let run = ends(ana, 0);
    assert!(!run.err.contains("not delivered"), "{}", run.err);
    ends(bob, 0);
}

#[test]
fn many_lines_go_both_ways_at_once() {
    let world = World::new();
    let (mut ana, mut bob) = world.chat(&[], &[]);
    let numbers: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
    let all = numbers.join("\n") + "\n";
    ana.type_bytes(all.as_bytes());
    bob.type_bytes(all.as_bytes());
    for (side, peer) in [(&ana, "bob"), (&bob, "ana")] {
        for number in 0..5_000 {
            assert_eq!(side.line(), format!("{peer}| {number}"));
        }
    }
    ana.close();
    ends(ana, 0);
    ends(bob, 0);
}

#[test]
fn the_end_of_stdin_ends_both_though_the_server_was_killed() {
    let mut world = World::new();
    let (mut ana, mut bob) = world.chat(&[], &[]);
    ana.say("before");
    assert_eq!(bob.line(), "ana| before");
    world.server.kill9();
    ana.say("after");
    bob.say("too");
    assert_eq!(ana.line(), "bob| too");
    let begin = now();
    ana.close();
    let bob = ends(bob, 0);
    ends(ana, 0);
    assert!(begin.elapsed() < END, "{:?}", begin.elapsed());
    assert_eq!(bob.out, "ana| after\n");
}

#[test]
fn invitations_are_listed_and_taken_by_name_or_age() {
    let world = World::new();
    let carol = world.person("carol");
    let ana = ask(&world.ana, "bob", &["--json"]);
    let carol = ask(&carol, "bob", &["--json"]);
    let listed = json_of(&world.bob, &["chat", "requests"]);
    let from: Vec<&Value> = listed.iter().map(|row| &row["from"]).collect();
    assert_eq!(from, ["ana", "carol"]);
    assert!(
        listed.iter().all(|row| row["kind"] == "invitation"
            && row["state"] == "open"
            && row["expires_at"].is_string()),
        "{listed:?}"
    );
    let human = world.bob.ok(&["chat", "requests"]).out;
    assert!(human.starts_with("From "), "{human}");
    let mut named = Talker::start(&world.bob, &["chat", "accept", "@carol", "--json"]);
    let mut oldest = Talker::start(&world.bob, &["chat", "accept", "--json"]);
    assert_eq!(named.object("open")["peer"], "carol");
    assert_eq!(oldest.object("open")["peer"], "ana");
    // Two chats of one device at once.
    named.say("to carol");
    oldest.say("to ana");
    assert_eq!(carol.object("line")["text"], "to carol");
    assert_eq!(ana.object("line")["text"], "to ana");
    for side in [&mut named, &mut oldest] {
        side.close();
    }
    for side in [named, oldest, ana, carol] {
        ends(side, 0);
    }
    assert!(json_of(&world.bob, &["chat", "requests"]).is_empty());
    let none = fails(&world.bob, &["chat", "accept", "ana"], 67);
    assert!(none.err.contains("error[no_invitation]"), "{}", none.err);
}

#[test]
fn whoever_asks_somebody_who_asks_accepts() {
    let world = World::new();
    let mut ana = ask(&world.ana, "bob", &[]);
    let bob = Talker::start(&world.bob, &["chat", "ana"]);
    bob.note("both see the words");
    ana.say("hi");
    assert_eq!(bob.line(), "ana| hi");
    ana.close();
    ends(ana, 0);
    ends(bob, 0);
}

#[test]
fn two_devices_of_one_user_talk() {
    let world = World::new();
    let code = world.ana.ok(&["invite", "--device"]).out;
    let other = Ctl::new(&world.server, &world.folder.path().join("ana-2"));
    other.ok(&["join", code.trim()]);
    let mut one = ask(&world.ana, "ana", &[]);
    assert!(
        json_of(&world.ana, &["chat", "requests"]).is_empty(),
        "a device is not asked by itself"
    );
    let mut two = Talker::start(&other, &["chat", "accept"]);
    two.note("both see the words");
    one.say("from one");
    two.say("from two");
    assert_eq!(two.line(), "ana| from one");
    assert_eq!(one.line(), "ana| from two");
    two.close();
    ends(one, 0);
    ends(two, 0);
}

#[test]
fn one_device_cannot_talk_to_itself() {
    let world = World::new();
    let refused = fails(&world.ana, &["chat", "ana"], 77);
    assert!(refused.err.contains("no other device"), "{}", refused.err);
}

#[test]
fn mail_that_comes_during_a_chat_waits_for_a_refresh() {
    let world = World::new();
    let (mut ana, bob) = world.chat(&[], &[]);
    world.ana.ok(&["send", "bob", "-b", "a mail"]);
    ana.say("a line");
    assert_eq!(bob.line(), "ana| a line");
    ana.close();
    ends(ana, 0);
    assert_eq!(ends(bob, 0).out, "");
    assert_eq!(bodies(&world.bob), ["a mail"]);
}

/// Returns the number that a line or mail of the test below has.
fn number(text: &str) -> u64 {
    let digits = text.rsplit(' ').next().unwrap_or(text);
    digits.parse().expect("a number")
}

#[test]
fn p02_kill9_of_a_side_loses_no_line_and_shows_at_most_the_last_again() {
    let world = World::new();
    for round in 0..5 {
        let (mut ana, bob) = world.chat(&["--json"], &[]);
        for number in 0..300 {
            ana.say(&number.to_string());
        }
        for _ in 0..10 + 40 * round {
            bob.line();
        }
        bob.signal(Signal::KILL);
        let bob = bob.end();
        let before = 10 + 40 * round;
        let shown = bob.out.lines().map(number).next_back();
        let shown = shown.map_or(before, |last| last + 1);
        ana.close();
        let ana = ana.end();
        let again: Vec<u64> = bodies(&world.bob).iter().map(|text| number(text)).collect();
        // Killed between printing a line and noting that, it prints that one line again.
        let from = again.first().copied().unwrap_or(300);
        assert!(from == shown || from + 1 == shown, "{from} after {shown}");
        assert_eq!(again, (from..300).collect::<Vec<_>>());
        // It may have shown all of them and said so.
        assert!(
            ana.code == 69 || (ana.code == 0 && again.is_empty()),
            "{}",
            ana.err
        );
    }
}

#[test]
fn a_no_is_told_with_its_reason() {
    let world = World::new();
    let mut ana = ask(&world.ana, "bob", &["--json"]);
    ana.say("typed ahead");
    assert_eq!(
        world.bob.ok(&["chat", "decline", "ana"]).out,
        "answered ana: declined\n"
    );
    let declined = ana.object("declined");
    assert_eq!(declined["reason"], json!(null));
    let run = ends(ana, 77);
    assert!(run.err.contains(r#""code":"declined""#), "{}", run.err);
    assert_eq!(undelivered(&run)["sent"], 1);
    assert_eq!(bodies(&world.bob), ["typed ahead"]);

    let ana = ask(&world.ana, "bob", &["--json"]);
    world.bob.ok(&["chat", "decline", "--busy"]);
    assert_eq!(ana.object("declined")["reason"], "busy");
    ends(ana, 75);
    fails(&world.bob, &["chat", "decline"], 67);
    fails(&world.ana, &["chat", "nobody"], 67);
    fails(&world.ana, &["chat"], 64);
}

#[test]
fn a_blocked_user_finds_the_other_busy_and_his_mail_refused() {
    let world = World::new();
    world.bob.ok(&["block", "@ana"]);
    assert_eq!(world.bob.ok(&["block"]).out, "ana\n");
    assert_eq!(json_of(&world.bob, &["block"])[0]["user"], "ana");
    let busy = fails(&world.ana, &["chat", "bob"], 75);
    assert!(busy.err.contains("error[peer_busy]"), "{}", busy.err);
    assert!(!busy.err.contains("block"), "{}", busy.err);
    let refused = fails(&world.ana, &["send", "bob", "-b", "x"], 77);
    assert!(refused.err.contains("error[blocked]"), "{}", refused.err);
    assert_eq!(world.bob.ok(&["unblock", "ana"]).out, "unblocked ana\n");
    assert_eq!(world.bob.ok(&["block"]).err, "nobody is blocked\n");
    world.ana.ok(&["send", "bob", "-b", "x"]);
    fails(&world.bob, &["block", "nobody"], 67);
}

#[test]
fn a_block_ends_an_open_invitation_as_busy() {
    let world = World::new();
    let ana = ask(&world.ana, "bob", &["--json"]);
    world.bob.ok(&["block", "ana"]);
    assert_eq!(ana.object("declined")["reason"], "busy");
    ends(ana, 75);
}

#[test]
fn nobody_answers_in_time() {
    let world = World::with(&["--invitation-ttl", "2s"]);
    let ana = ask(&world.ana, "bob", &["--json"]);
    let expired = ana.object("expired");
    assert_eq!(expired["reason"], json!(null));
    let run = ends(ana, 75);
    assert!(run.err.contains(r#""code":"expired""#), "{}", run.err);
    // Later than ever: told once.
    let missed = json_of(&world.bob, &["refresh", "--no-ack"]);
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert_eq!(
        (&missed[0]["kind"], &missed[0]["from"], &missed[0]["chat"]),
        (&json!("missed"), &json!("ana"), &expired["chat"])
    );
    assert!(missed[0]["asked_at"].is_string());
    assert_eq!(json_of(&world.bob, &["refresh"]), missed);
    let nothing = world.bob.ok(&["refresh"]);
    assert_eq!(
        (nothing.out.as_str(), nothing.err.as_str()),
        ("", "nothing new for bob\n")
    );
}

#[test]
fn an_invitation_is_taken_back() {
    let world = World::new();
    for (signal, args, reason) in [
        (Some(Signal::INT), vec!["--json"], json!("withdrawn")),
        (Some(Signal::TERM), vec!["--json"], json!("withdrawn")),
        (None, vec!["--json", "--wait", "1s"], json!(null)),
    ] {
        let ana = ask(&world.ana, "bob", &args);
        if let Some(signal) = signal {
            assert_eq!(json_of(&world.bob, &["chat", "requests"]).len(), 1);
            ana.signal(signal);
            // `timeout` sends two.
            ana.signal(signal);
        }
        assert_eq!(ana.object("expired")["reason"], reason);
        ends(ana, 75);
        assert!(json_of(&world.bob, &["chat", "requests"]).is_empty());
    }
    let human = world.bob.ok(&["refresh"]).out;
    assert_eq!(
        human.matches("ana asked for a direct chat at").count(),
        3,
        "{human}"
    );
    // A killed one is taken back when its session ends; bob can say no before.
    let ana = ask(&world.ana, "bob", &[]);
    ana.signal(Signal::KILL);
    assert_eq!(ana.end().code, -1);
    world.bob.ok(&["chat", "decline", "ana"]);
}

#[test]
fn refresh_and_watch_show_invitations() {
    let world = World::new();
    let watch = Talker::start(&world.bob, &["watch", "--json"]);
    watch.note("watching as bob");
    world.ana.ok(&["send", "bob", "-b", "mail"]);
    watch.object("mail");
    let ana = ask(&world.ana, "bob", &[]);
    let live = watch.object("invitation");
    assert_eq!(
        (&live["from"], &live["state"]),
        (&json!("ana"), &json!("open"))
    );
    let shown = world.bob.ok(&["refresh"]);
    let last = shown.out.lines().last().expect("lines");
    assert!(shown.out.contains("\n    mail\n\n? ana"), "{}", shown.out);
    assert!(
        last.starts_with("? ana asks for a direct chat until ")
            && last.ends_with(" - mailctl chat accept ana"),
        "{last}"
    );
    let again = json_of(&world.bob, &["refresh"]);
    assert_eq!(again[0]["kind"], "invitation");
    assert_eq!(again[0]["expires_at"], live["expires_at"]);
    ana.signal(Signal::INT);
    ends(ana, 75);
    let over = watch.object("invitation");
    assert_eq!(
        (&over["chat"], &over["state"]),
        (&live["chat"], &json!("withdrawn"))
    );
    watch.signal(Signal::TERM);
    ends(watch, 0);
}

#[test]
fn lines_that_cannot_be_said_take_no_others_with_them() {
    let world = World::new();
    let (mut ana, bob) = world.chat(&[], &[]);
    ana.say("one");
    ana.type_bytes(b"\xff\xfe\n");
    ana.say(&"x".repeat(32 * 1024 + 1));
    let most = "y".repeat(32 * 1024);
    ana.say(&most);
    ana.type_bytes(b"no end of line");
    ana.close();
    assert_eq!(bob.line(), "ana| one");
    assert_eq!(bob.line(), format!("ana| {most}"));
    assert_eq!(bob.line(), "ana| no end of line");
    let run = ends(ana, 65);
    assert!(
        run.err
            .contains("error[bad_line]: line 2 of stdin is not UTF-8"),
        "{}",
        run.err
    );
    assert!(
        run.err
            .contains("error[bad_line]: line 3 of stdin is longer"),
        "{}",
        run.err
    );
    ends(bob, 0);
}

#[test]
fn p12_a_line_of_a_chat_cannot_act() {
    let world = World::new();
    let (mut ana, bob) = world.chat(&[], &["--json"]);
    let evil = "x\u{1b}]0;PWNED\u{7}\u{9b}2J\u{202e}y\u{200b}\u{8}";
    ana.say(evil);
    let raw = bob.line();
    assert!(!raw.contains(is_active), "{raw:?}");
    let line: Value = serde_json::from_str(&raw).expect("JSON");
    assert_eq!(line["text"], evil);
    ana.close();
    ends(ana, 0);
    ends(bob, 0);

    let (ana, mut bob) = world.chat(&[], &[]);
    bob.say(evil);
    let shown = ana.line();
    assert!(!shown.contains(is_active), "{shown:?}");
    assert_eq!(shown, "bob| x␛]0;PWNED␇<U+009B>2J<U+202E>y<U+200B>␈");
    bob.close();
    ends(ana, 0);
    ends(bob, 0);
}

#[test]
fn what_a_lost_side_did_not_show_comes_as_mail_once() {
    let world = World::new();
    let (mut ana, bob) = world.chat(&["--json"], &[]);
    ana.say("shown");
    assert_eq!(bob.line(), "ana| shown");
    assert_eq!(ana.object("delivered")["seq"], 1);
    bob.signal(Signal::KILL);
    assert_eq!(bob.end().code, -1);
    let begin = now();
    ana.say("two");
    ana.say("three");
    ana.object("lost");
    let run = ends(ana, 69);
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
    let told = undelivered(&run);
    assert_eq!(
        (&told["count"], &told["sent"]),
        (&json!(2), &json!(2)),
        "{told}"
    );
    assert!(run.err.contains(r#""code":"peer_lost""#), "{}", run.err);
    let mails = json_of(&world.bob, &["refresh"]);
    let texts: Vec<&Value> = mails.iter().map(|mail| &mail["body"]).collect();
    assert_eq!(texts, ["two", "three"]);
    let kind = mails[0]["content_type"].as_str().expect("a type");
    let chat = told["chat"].as_str().expect("a chat");
    assert_eq!(
        kind,
        format!("text/plain; charset=utf-8; chat={chat}; seq=2")
    );
}

#[test]
fn what_is_not_delivered_can_be_dropped() {
    let world = World::new();
    let mut ana = ask(
        &world.ana,
        "bob",
        &["--json", "--undelivered", "drop", "--wait", "1s"],
    );
    ana.say("never");
    let run = ends(ana, 75);
    let told = undelivered(&run);
    assert_eq!((&told["count"], &told["dropped"]), (&json!(1), &json!(1)));
    assert_eq!(bodies(&world.bob), Vec::<String>::new());
}

#[test]
fn what_is_not_delivered_waits_for_a_server_that_is_gone_too() {
    let mut world = World::new();
    let (mut ana, bob) = world.chat(&["--json"], &[]);
    world.server.kill9();
    bob.signal(Signal::KILL);
    assert_eq!(bob.end().code, -1);
    for line in ["one", "two", "three"] {
        ana.say(line);
    }
    ana.close();
    let begin = now();
    let run = ends(ana, 69);
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(undelivered(&run)["queued"], 3);
    world.server.restart();
    world.ana.ok(&["whoami"]);
    assert_eq!(bodies(&world.bob), ["one", "two", "three"]);
}

#[test]
fn a_side_that_stands_still_is_left_in_time_though_the_server_was_killed() {
    let mut world = World::new();
    let (mut ana, bob) = world.chat(&["--json"], &[]);
    bob.signal(Signal::STOP);
    world.server.kill9();
    ana.say("never shown");
    let begin = now();
    ana.close();
    let run = ends(ana, 69);
    assert!(begin.elapsed() < END, "{:?}", begin.elapsed());
    assert_eq!(undelivered(&run)["queued"], 1);
}

#[test]
fn a_line_that_was_shown_is_not_shown_again_as_mail() {
    let world = World::new();
    let (mut ana, bob) = world.chat(&["--json"], &["--json"]);
    ana.say("shown");
    let line = bob.object("line");
    ana.close();
    ends(ana, 0);
    ends(bob, 0);
    // As if the acknowledgement had been lost: the same line comes as a mail, and another.
    let chat = line["chat"].as_str().expect("a chat");
    for (seq, text) in [(1, "shown"), (2, "not shown")] {
        let kind = format!("text/plain; charset=utf-8; chat={chat}; seq={seq}");
        world
            .ana
            .ok(&["send", "bob", "-b", text, "--content-type", &kind]);
    }
    assert_eq!(json_of(&world.bob, &["refresh", "--no-ack"]).len(), 1);
    let refreshed = world.bob.ok(&["refresh"]);
    assert!(
        refreshed.out.starts_with("1 mail for bob\n"),
        "{}",
        refreshed.out
    );
    assert!(
        refreshed.out.ends_with("\n    not shown\n"),
        "{}",
        refreshed.out
    );
    assert_eq!(
        refreshed.err,
        "1 line of a chat came again as mail; shown before, not shown again\n"
    );
    assert_eq!(world.bob.ok(&["refresh"]).out, "");
    // Somebody else who knows the chat's name hides nothing.
    let carol = world.person("carol");
    let kind = format!("text/plain; chat={chat}; seq=1");
    carol.ok(&["send", "bob", "-b", "from carol", "--content-type", &kind]);
    assert_eq!(bodies(&world.bob), ["from carol"]);
}

#[test]
fn a_reader_of_stdout_that_goes_ends_the_chat() {
    let world = World::new();
    let mut ana = ask(&world.ana, "bob", &["--json"]);
    // More than a pipe holds: bob's side cannot print all of it.
    let filler = "x".repeat(2_000);
    for number in 0..200 {
        ana.say(&format!("{number} {filler}"));
    }
    let head = world
        .bob
        .command(&["chat", "accept"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("mailctl starts");
    let mut head = head;
    let shown = Command::new("head")
        .args(["-n", "2"])
        .stdin(head.stdout.take().expect("stdout is a pipe"))
        .output()
        .expect("head runs");
    let wanted = format!("ana| 0 {filler}\nana| 1 {filler}\n");
    assert_eq!(String::from_utf8_lossy(&shown.stdout), wanted);
    let status = eventually("the end of bob's side", || head.try_wait().expect("asked"));
    assert_eq!(status.code(), Some(0));
    // What head never read was not acknowledged: it comes as mail.
    let run = ana.end();
    let told = undelivered(&run);
    let count = usize::try_from(told["count"].as_u64().expect("a number")).expect("small");
    let mails = bodies(&world.bob);
    assert_eq!(mails.len(), count, "{told}");
    assert_eq!(mails.last(), Some(&format!("199 {filler}")));
}

#[test]
fn a_reader_of_stdout_that_goes_is_noticed_without_a_line() {
    let world = World::new();
    let ana = ask(&world.ana, "bob", &[]);
    let mut bob = world
        .bob
        .command(&["chat", "accept"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("mailctl starts");
    ana.note("both see the words");
    drop(bob.stdout.take());
    let status = eventually("the end of bob's side", || bob.try_wait().expect("asked"));
    assert_eq!(status.code(), Some(0));
    ana.note("bob left");
    ends(ana, 0);
}

#[test]
fn a_server_that_is_gone_is_said() {
    let mut world = World::new();
    world.server.kill9();
    for args in [
        &["chat", "bob"][..],
        &["chat", "accept"],
        &["chat", "requests"],
        &["chat", "decline", "bob"],
        &["block"],
    ] {
        let run = fails(&world.ana, args, 69);
        assert!(run.err.contains("error[unreachable]"), "{}", run.err);
    }
}

#[test]
fn no_port_is_said() {
    let world = World::with(&[]);
    let server = Server::start_with(1, &[]);
    let folder = world.folder.path();
    let person = |name: &str| {
        let ctl = Ctl::new(&server, &folder.join(format!("small-{name}")));
        ctl.ok(&["login", name]);
        ctl
    };
    let (ana, bob) = (person("ana"), person("bob"));
    let asks = ask(&ana, "bob", &[]);
    let none = fails(&bob, &["chat", "ana"], 75);
    assert!(none.err.contains("error[no_port]"), "{}", none.err);
    let none = fails(&bob, &["--json", "chat", "accept"], 75);
    assert!(none.err.contains(r#""code":"no_port""#), "{}", none.err);
    asks.signal(Signal::INT);
    ends(asks, 75);
}

#[test]
fn a_way_that_does_not_exist_is_said_and_what_was_tried() {
    let world = World::new();
    // A host for documentation (RFC 5737): nobody is there.
    let nowhere = "192.0.2.1";
    let mut ana = ask(&world.ana, "bob", &["--json", "--advertise", nowhere]);
    ana.say("typed ahead");
    let begin = now();
    let bob = Talker::start(&world.bob, &["--json", "chat", "accept"]);
    for side in [&ana, &bob] {
        assert_eq!(side.object("lost")["reason"], "unreachable");
        assert!(
            begin.elapsed() < Duration::from_secs(12),
            "{:?}",
            begin.elapsed()
        );
    }
    let (ana, bob) = (ends(ana, 69), ends(bob, 69));
    assert!(
        bob.err.contains(r#""code":"peer_unreachable""#),
        "{}",
        bob.err
    );
    assert!(bob.err.contains(nowhere), "{}", bob.err);
    assert!(ana.err.contains("--advertise"), "{}", ana.err);
    assert_eq!(undelivered(&ana)["sent"], 1);
    assert_eq!(bodies(&world.bob), ["typed ahead"]);
}

#[test]
fn a_signal_is_a_goodbye() {
    let world = World::new();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (mut ana, bob) = world.chat(&[], &[]);
        ana.say("last words");
        assert_eq!(bob.line(), "ana| last words");
        ana.signal(signal);
        let begin = now();
        ends(ana, 0);
        bob.note("ana left");
        ends(bob, 0);
        assert!(begin.elapsed() < END, "{:?}", begin.elapsed());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let world = World::new();
    let (mut ana, bob) = world.chat(&[], &[]);
    // Bob stands still: what ana says is not shown.
    bob.signal(Signal::STOP);
    ana.say("x");
    while ana.is_up() {
        ana.signal(Signal::TERM);
        pause(Duration::from_millis(20));
    }
    ends(ana, 75);
}
