//! Chats between users of the library, over a real server: what `mailctl chat` and other programs
//! build on.

#![allow(
    clippy::unwrap_used,
    reason = "a step that fails ends the test, and the line says which"
)]

mod common;

use std::net::TcpListener;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use common::client::RawClient;
use common::person::{
    FINISH, Person, chat_of, hear_numbers, leave, open_invitation, say_numbers, talk, user,
    wait_end, wait_for, wait_line, wait_open,
};
use common::server::Server;
use common::{Timed, eventually, now, scale};
use correio::chat::file::{Files, Policy};
use correio::chat::frame::Note;
use correio::chat::io::{End, Event};
use correio::chat::{Chat, ChatError, Finished, Options, Told, Undelivered, Unsaid};
use correio::client::ClientError;
use correio::client::outbox::Draft;
use correio::client::session;
use correio::limits;
use correio::protocol::codes::Code;
use correio::protocol::reply::{ChatRow, ChatState};
use correio::protocol::request::AdminWhat;
use rustix::process::Signal;

/// A server whose ports rest for a moment only, so that many chats need few.
fn server() -> Server {
    Server::start_with(16, &["--port-rest", "100ms", "--ports-per-user", "16"])
}

fn pair(server: &Server) -> (Person, Person) {
    (Person::new(server, "ana"), Person::new(server, "bob"))
}

/// Two of them in a chat that is open, whose homes must be there as long: a session opens anew from them.
fn open_pair(server: &Server) -> ((Person, Person), Chat, Chat) {
    let (ana, bob) = pair(server);
    let (mut asked, mut accepted) = chat_of(&ana, &bob);
    wait_open(&mut asked);
    wait_open(&mut accepted);
    ((ana, bob), asked, accepted)
}

/// Finishes, in time, and returns the rest.
fn finish(chat: Chat) -> Finished {
    let begin = now();
    let finished = chat.finish();
    assert!(begin.elapsed() < FINISH, "{:?}", begin.elapsed());
    finished
}

/// Finishes a chat of which everything was delivered, and ends its session.
fn finish_whole(chat: Chat) {
    let finished = finish(chat);
    assert_eq!(finished.undelivered, []);
    finished.session.unwrap().close().unwrap();
}

/// Waits for the state of the one invitation that this session hears of.
fn wait_state(session: &mut session::Session, state: ChatState) -> ChatRow {
    eventually("the invitation's state", || {
        match session.next_event(Duration::from_secs(1)).unwrap() {
            session::Event::Chat(row) if row.state == state => Some(row),
            _ => None,
        }
    })
}

fn leases(server: &Server, state: &str) -> usize {
    let rows = RawClient::admin(server)
        .admin_rows(AdminWhat::LeaseLs, None)
        .expect("rows");
    rows.iter().filter(|row| row["state"] == state).count()
}

#[test]
fn two_talk_and_one_leaves() {
    let server = server();
    let (ana, bob) = pair(&server);
    let (mut asked, mut accepted) = chat_of(&ana, &bob);
    assert_eq!((asked.user(), accepted.user()), ("bob", "ana"));
    assert_eq!(asked.chat(), accepted.chat());
    assert!(asked.is_asking() && !accepted.is_asking());
    asked.voice().say("typed ahead").unwrap();
    wait_open(&mut asked);
    wait_open(&mut accepted);
    assert_eq!(
        asked.fingerprint().unwrap(),
        accepted.fingerprint().unwrap()
    );
    assert_eq!(wait_line(&mut accepted), "typed ahead");
    talk(&mut asked, &mut accepted, 500);
    leave(&mut asked, &mut accepted);
    let unsaid = asked.voice().say("too late").unwrap_err();
    assert_eq!(unsaid, Unsaid::Over("too late".into()));
    finish_whole(asked);
    finish_whole(accepted);
    assert_eq!(leases(&server, "held"), 0, "leases go back");
}

#[test]
fn p06_a_lease_carries_one_chat_and_a_session_many() {
    let server = server();
    let (ana, bob) = pair(&server);
    let (mut anas, mut bobs) = (ana.session(), bob.session());
    let mut epochs = Vec::new();
    for _ in 0..4 {
        let mut asked = Chat::ask(anas, &user("bob"), &Options::default()).unwrap();
        let row = open_invitation(&mut bobs);
        let mut accepted = Chat::accept(bobs, &row, &Options::default()).unwrap();
        talk(&mut asked, &mut accepted, 3);
        leave(&mut accepted, &mut asked);
        anas = finish(asked).session.unwrap();
        bobs = finish(accepted).session.unwrap();
        assert_eq!((anas.lease(), bobs.lease()), (None, None));
        let rows = RawClient::admin(&server).admin_rows(AdminWhat::LeaseLs, None);
        epochs.push(rows.unwrap().len());
    }
    anas.close().unwrap();
    bobs.close().unwrap();
    assert_eq!(leases(&server, "held"), 0);
}

#[test]
fn two_who_ask_at_once_meet_in_one_chat() {
    let server = server();
    let (ana, bob) = pair(&server);
    for round in 0..3 {
        let barrier = Barrier::new(2);
        let ask = |from: &Person, to: &Person| {
            let session = from.session();
            barrier.wait();
            Chat::ask(session, &to.name(), &Options::default()).unwrap()
        };
        let (mut one, mut other) = thread::scope(|scope| {
            let one = scope.spawn(|| ask(&ana, &bob));
            let other = scope.spawn(|| ask(&bob, &ana));
            (one.join().unwrap(), other.join().unwrap())
        });
        assert_eq!(one.chat(), other.chat(), "round {round}");
        assert_ne!(one.is_asking(), other.is_asking());
        talk(&mut one, &mut other, 10);
        leave(&mut other, &mut one);
        finish_whole(one);
        finish_whole(other);
    }
}

#[test]
fn the_asker_hears_declined_and_busy() {
    let server = server();
    let (ana, bob) = pair(&server);
    let mut session = bob.session();
    for (busy, end) in [(false, End::Declined), (true, End::Busy)] {
        let mut chat = ana.ask(&bob);
        let row = open_invitation(&mut session);
        session.chat_decline(&row.chat, busy).unwrap();
        assert_eq!(wait_end(&mut chat), end);
        chat.voice().leave();
        let finished = finish(chat);
        let session = finished.session.unwrap();
        assert!(session.lease().is_some(), "nobody was told of the port");
        session.close().unwrap();
    }
}

#[test]
fn the_asked_one_hears_that_it_was_withdrawn() {
    let server = server();
    let (ana, bob) = pair(&server);
    let mut session = bob.session();
    let by_word = |chat: &mut Chat| {
        chat.voice().withdraw();
        assert_eq!(wait_end(chat), End::Withdrawn);
    };
    let by_leaving = |chat: &mut Chat| {
        chat.voice().leave();
        wait_end(chat);
    };
    let at_once = |_: &mut Chat| {};
    let ways: [&dyn Fn(&mut Chat); 3] = [&by_word, &by_leaving, &at_once];
    for way in ways {
        let mut chat = ana.ask(&bob);
        chat.voice().say("never heard").unwrap();
        let row = wait_state(&mut session, ChatState::Open);
        way(&mut chat);
        let finished = finish(chat);
        assert_eq!(finished.undelivered.len(), 1);
        finished.session.unwrap().close().unwrap();
        assert_eq!(
            wait_state(&mut session, ChatState::Withdrawn).chat,
            row.chat
        );
        let refused = Chat::accept(session, &row, &Options::default());
        let (error, back) = refused.unwrap_err();
        assert_eq!(error.code(), Code::NoInvitation.word());
        session = back.unwrap();
        assert!(session.lease().is_some());
    }
}

#[test]
fn an_invitation_that_nobody_answers_expires() {
    let server = Server::start_with(4, &["--invitation-ttl", "2s"]);
    let (ana, bob) = pair(&server);
    let mut chat = ana.ask(&bob);
    assert!(chat.expires_at().is_some());
    assert_eq!(wait_end(&mut chat), End::Expired);
    finish_whole(chat);
    let missed = bob.session().chats().unwrap();
    assert_eq!(missed[0].state, ChatState::Expired);
}

#[test]
fn asking_ends_when_the_asker_wants() {
    let server = server();
    let (ana, bob) = pair(&server);
    let mut session = bob.session();
    let options = Options {
        wait: Some(Duration::from_millis(300)),
        ..Options::default()
    };
    let mut chat = Chat::ask(ana.session(), &user("bob"), &options).unwrap();
    assert_eq!(wait_end(&mut chat), End::Expired);
    wait_state(&mut session, ChatState::Withdrawn);
    finish_whole(chat);
}

#[test]
fn asking_ends_in_time_without_the_server() {
    let mut server = server();
    let (ana, bob) = pair(&server);
    drop(bob);
    let options = Options {
        wait: Some(Duration::from_secs(1)),
        ..Options::default()
    };
    let mut chat = Chat::ask(ana.session(), &user("bob"), &options).unwrap();
    server.kill9();
    assert_eq!(wait_end(&mut chat), End::Expired);
    finish(chat);
}

#[test]
fn p06_a_killed_server_disturbs_no_chat() {
    let _timed = Timed::start("p06_a_killed_server_disturbs_no_chat");
    let mut server = server();
    let (_homes, mut one, mut other) = open_pair(&server);
    server.kill9();
    talk(&mut one, &mut other, scale("CORREIO_CHAT_LINES", 10_000));
    leave(&mut one, &mut other);
    for chat in [one, other] {
        assert_eq!(finish(chat).undelivered, []);
    }
}

#[test]
fn a_server_that_comes_back_finds_the_chat_and_its_port() {
    let mut server = server();
    let (_homes, mut one, mut other) = open_pair(&server);
    server.kill9();
    talk(&mut one, &mut other, 10);
    server.restart();
    for chat in [&mut one, &mut other] {
        wait_for(chat, "the server", |told| {
            matches!(told, Told::Session(session::Event::Reconnected)).then_some(())
        });
    }
    assert_eq!(leases(&server, "held"), 2);
    talk(&mut one, &mut other, 10);
    leave(&mut one, &mut other);
    finish_whole(one);
    finish_whole(other);
    assert_eq!(leases(&server, "held"), 0);
}

#[test]
fn a_server_that_hangs_holds_up_no_end() {
    let server = server();
    let (_homes, mut one, mut other) = open_pair(&server);
    server.signal(Signal::STOP);
    talk(&mut one, &mut other, 10);
    leave(&mut one, &mut other);
    for chat in [one, other] {
        assert_eq!(finish(chat).undelivered, []);
    }
    server.signal(Signal::CONT);
}

#[test]
fn several_chats_of_one_device_do_not_mix() {
    let server = server();
    let (ana, bob) = pair(&server);
    let eva = Person::new(&server, "eva");
    let (mut to_bob, mut from_bob) = chat_of(&ana, &bob);
    let (mut to_eva, mut from_eva) = chat_of(&ana, &eva);
    let mut chats = [(&mut to_bob, &mut from_bob), (&mut to_eva, &mut from_eva)];
    thread::scope(|scope| {
        for (one, other) in &mut chats {
            scope.spawn(|| talk(one, other, 300));
        }
    });
    for (one, other) in &mut chats {
        leave(one, other);
    }
    [to_bob, from_bob, to_eva, from_eva]
        .into_iter()
        .for_each(finish_whole);
}

#[test]
fn two_devices_of_one_user_chat() {
    let server = server();
    let ana = Person::new(&server, "ana");
    let other = ana.other_device(&server);
    let (mut asked, mut accepted) = chat_of(&ana, &other);
    assert_eq!((asked.user(), accepted.user()), ("ana", "ana"));
    talk(&mut asked, &mut accepted, 20);
    leave(&mut accepted, &mut asked);
    finish_whole(asked);
    finish_whole(accepted);
}

#[test]
fn a_way_that_is_blocked_is_said_in_time() {
    let server = server();
    let (ana, bob) = pair(&server);
    // No packet comes back from there (RFC 5737).
    let blocked = Options {
        host: Some("192.0.2.1".into()),
        ..Options::default()
    };
    let mut asked = Chat::ask(ana.session(), &user("bob"), &blocked).unwrap();
    asked.voice().say("kept").unwrap();
    let mut session = bob.session();
    let row = open_invitation(&mut session);
    let begin = now();
    let mut accepted = Chat::accept(session, &row, &blocked).unwrap();
    for chat in [&mut asked, &mut accepted] {
        let end = wait_end(chat);
        assert_eq!(end, End::Unreachable { connected: false });
        assert!(chat.tried().contains("192.0.2.1:"), "{}", chat.tried());
    }
    assert!(begin.elapsed() < Duration::from_secs(10));
    let text = "kept".into();
    assert_eq!(finish(asked).undelivered, [Undelivered { seq: 1, text }]);
    finish_whole(accepted);
}

#[test]
fn a_way_that_is_blocked_in_one_direction_is_said_too() {
    let server = server();
    let (ana, bob) = pair(&server);
    let mut asked = ana.ask(&bob);
    let mut session = bob.session();
    let row = open_invitation(&mut session);
    let blocked = Options {
        host: Some("192.0.2.1".into()),
        ..Options::default()
    };
    let mut accepted = Chat::accept(session, &row, &blocked).unwrap();
    let accepters = End::Unreachable { connected: true };
    assert_eq!(wait_end(&mut accepted), accepters);
    let askers = End::Unreachable { connected: false };
    assert_eq!(wait_end(&mut asked), askers);
    finish_whole(asked);
    finish_whole(accepted);
}

#[test]
fn what_was_not_shown_comes_out_in_the_end() {
    let server = server();
    let (_homes, mut one, mut other) = open_pair(&server);
    say_numbers(&one, "line", 3);
    // Heard, but only the first one shown.
    for number in 1..=3 {
        let seq = wait_for(&mut other, "a line", |told| match told {
            Told::Chat(Event::Line { seq, .. }) => Some(*seq),
            _ => None,
        });
        assert_eq!(seq, number);
    }
    other.shown(1);
    wait_for(&mut one, "the word that it was shown", |told| {
        matches!(told, Told::Chat(Event::Delivered { through: 1 })).then_some(())
    });
    let left = [2, 3].map(|seq| Undelivered {
        seq,
        text: format!("line{}", seq - 1),
    });
    assert_eq!(finish(one).undelivered, left);
    finish_whole(other);
}

#[test]
fn a_reader_who_is_slow_makes_the_speaker_wait_and_loses_nothing() {
    let server = server();
    let (_homes, one, mut other) = open_pair(&server);
    let count = 6 * usize::try_from(limits::LINE_WINDOW).unwrap();
    let (said, heard) = mpsc::channel();
    let voice = one.voice();
    let speaker = thread::spawn(move || {
        for number in 0..count {
            voice.say(format!("line{number}")).unwrap();
            said.send(number).unwrap();
        }
    });
    // Nobody reads: from some line on, none more is taken.
    while heard.recv_timeout(Duration::from_secs(2)).is_ok() {}
    assert!(!speaker.is_finished(), "the speaker waits");
    hear_numbers(&mut other, "line", count);
    speaker.join().unwrap();
    finish_whole(other);
    finish(one);
}

#[test]
fn a_refusal_waits_for_no_room_in_the_row() {
    let server = server();
    let (_homes, one, other) = open_pair(&server);
    let voice = one.voice();
    let (tell, heard) = mpsc::channel();
    let speaker =
        thread::spawn(move || while voice.say("a line").is_ok() && tell.send(()).is_ok() {});
    while heard.recv_timeout(Duration::from_millis(500)).is_ok() {}
    // The row stands until the other side has shown something. Whoever handles offers also says what was
    // shown here, which the other side may be waiting for in the same place.
    let voice = one.voice();
    let (done, refused) = mpsc::channel();
    thread::spawn(move || {
        let mut files = Files::new(Arc::new(voice), Policy::Refuse);
        for seq in 1..=100 {
            let note = Note::Offer {
                name: "a".into(),
                size: 1,
                blake3: "0".repeat(64),
            };
            files.handle(Event::Note { seq, note });
        }
        done.send(()).unwrap();
    });
    refused
        .recv_timeout(Duration::from_secs(10))
        .expect("it waits for ever");
    drop(other);
    finish(one);
    speaker.join().unwrap();
}

#[test]
fn a_line_is_one_line() {
    let server = server();
    let (_homes, one, mut other) = open_pair(&server);
    let voice = one.voice();
    let long = "x".repeat(limits::LINE_BYTES_MAX);
    for bad in ["two\nlines", "two\rlines", &format!("{long}x")] {
        let unsaid = voice.say(bad).unwrap_err();
        assert_eq!(unsaid, Unsaid::NotALine(bad.into()));
    }
    voice.say(long.clone()).unwrap();
    voice.say("").unwrap();
    assert_eq!(wait_line(&mut other), long);
    assert_eq!(wait_line(&mut other), "");
}

#[test]
fn mail_and_other_invitations_come_beside_the_chat() {
    let server = server();
    let (ana, bob) = pair(&server);
    let eva = Person::new(&server, "eva");
    let (mut asked, mut accepted) = chat_of(&ana, &bob);
    let mut session = eva.session();
    let draft = Draft {
        to: vec!["ana".into()],
        body: b"beside".to_vec(),
        ..Draft::default()
    };
    session.send(draft).unwrap();
    let body = wait_for(&mut asked, "the mail", |told| match told {
        Told::Session(session::Event::Mail(mail)) => Some(mail.body.clone()),
        _ => None,
    });
    assert_eq!(body, b"beside");
    let third = Chat::ask(session, &user("ana"), &Options::default()).unwrap();
    let from = wait_for(&mut asked, "the invitation", |told| match told {
        Told::Session(session::Event::Chat(row)) => Some(row.from.clone()),
        _ => None,
    });
    assert_eq!(from, "eva");
    finish_whole(third);
    talk(&mut asked, &mut accepted, 5);
}

#[test]
fn a_logout_elsewhere_ends_the_session_and_not_the_chat() {
    let server = server();
    let (ana, bob) = pair(&server);
    let (mut one, mut other) = chat_of(&ana, &bob);
    ana.session().logout(false).unwrap();
    wait_for(&mut one, "the end of the session", |told| {
        matches!(told, Told::Server(ClientError::LoggedOut)).then_some(())
    });
    talk(&mut one, &mut other, 10);
    leave(&mut one, &mut other);
    assert_eq!(finish(one).undelivered, []);
    finish_whole(other);
}

#[test]
fn p06_ports_busy_on_this_machine_are_passed_over() {
    let server = Server::start_with(4, &[]);
    let (ana, bob) = pair(&server);
    let anas = ana.session();
    let bobs = bob.session();
    let used = [anas.lease().unwrap().port, bobs.lease().unwrap().port];
    drop((anas, bobs));
    let free = server
        .pool()
        .into_iter()
        .filter(|port| !used.contains(port));
    let mut free: Vec<u16> = free.collect();
    let last = free.pop().unwrap();
    let held: Vec<_> = free
        .iter()
        .map(|port| TcpListener::bind(("0.0.0.0", *port)).unwrap())
        .collect();
    let session = ana.session();
    assert_eq!(session.lease().unwrap().port, last);
    drop(held);
}

#[test]
fn p06_without_a_port_there_is_no_chat_and_a_word_when() {
    let server = Server::start_with(1, &[]);
    let (ana, bob) = pair(&server);
    let waiting = ana.ask(&bob);
    let mut session = bob.session();
    assert_eq!(session.lease(), None);
    let row = open_invitation(&mut session);
    let (error, session) = Chat::accept(session, &row, &Options::default()).unwrap_err();
    assert!(matches!(error, ChatError::NoPort { .. }), "{error:?}");
    assert_eq!(error.exit_code(), Code::NoPort.exit());
    session.unwrap().close().unwrap();
    finish_whole(waiting);
}

#[test]
fn p06_a_lease_that_ran_out_unnoticed_is_replaced_before_a_chat() {
    let server = Server::start_with(6, &["--lease-ttl", "1s", "--port-rest", "100ms"]);
    let (ana, bob) = pair(&server);
    let (anas, bobs) = (ana.session(), bob.session());
    assert!(anas.lease().is_some() && bobs.lease().is_some());
    // Neither beats, as after a sleep of the machine.
    eventually("the end of both leases", || {
        (leases(&server, "held") == 0).then_some(())
    });
    let mut asked = Chat::ask(anas, &user("bob"), &Options::default()).unwrap();
    let mut bobs = bobs;
    let row = open_invitation(&mut bobs);
    let mut accepted = Chat::accept(bobs, &row, &Options::default()).unwrap();
    talk(&mut asked, &mut accepted, 5);
    leave(&mut asked, &mut accepted);
    finish_whole(asked);
    finish_whole(accepted);
}

#[test]
fn a_session_for_single_requests_carries_no_chat() {
    let server = server();
    let (ana, _bob) = pair(&server);
    let session = session::Session::open(&ana.account, session::Options::default()).unwrap();
    let (error, session) = Chat::ask(session, &user("bob"), &Options::default()).unwrap_err();
    assert!(matches!(error, ChatError::NotStanding));
    session.unwrap().close().unwrap();
}

#[test]
fn p06_a_port_the_server_did_not_hear_of_goes_back_when_it_is_there_again() {
    let mut server = server();
    let (_homes, mut one, mut other) = open_pair(&server);
    server.kill9();
    leave(&mut one, &mut other);
    let mut session = finish(one).session.unwrap();
    server.restart();
    let others = finish(other).session;
    eventually("the free port", || {
        session.next_event(Duration::from_millis(100)).unwrap();
        (leases(&server, "held") <= usize::from(others.is_some())).then_some(())
    });
    assert_eq!(session.lease(), None);
}
