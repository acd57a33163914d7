//! Chats between users of the library, over a real server: what `mailctl chat` and other programs
//! build on.

#![allow(
    clippy::unwrap_used,
    reason = "a step that fails ends the test, and the line says which"
)]

mod common;

use common::now;
use common::person::{FINISH, Person, chat_of, leave, talk, wait_line, wait_open};
use common::server::Server;

#[test]
fn two_talk_and_one_leaves() {
    let server = Server::start_with(6, &[]);
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let (mut asked, mut accepted) = chat_of(&ana, &bob);
    assert_eq!((asked.user(), accepted.user()), ("bob", "ana"));
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
    for chat in [asked, accepted] {
        let begin = now();
        let finished = chat.finish();
        assert!(begin.elapsed() < FINISH, "{:?}", begin.elapsed());
        assert_eq!(finished.undelivered, []);
        finished.session.unwrap().close().unwrap();
    }
}
