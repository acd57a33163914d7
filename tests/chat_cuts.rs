//! A chat whose TCP connections are cut. Alone in its process: the cutting copies every socket for a
//! moment, which would keep other tests' ports.

#![allow(
    clippy::unwrap_used,
    reason = "a step that fails ends the test, and the line says which"
)]

mod common;

use std::thread;
use std::time::Duration;

use common::person::{Person, chat_of, hear_numbers, leave, wait_open};
use common::server::Server;
use common::{Timed, cut, pause, scale};

#[test]
fn p03_cut_connections_resume_with_nothing_lost_or_doubled() {
    let _timed = Timed::start("p03_cut_connections_resume_with_nothing_lost_or_doubled");
    let server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let (mut one, mut other) = chat_of(&ana, &bob);
    wait_open(&mut one);
    wait_open(&mut other);
    let count = scale("CORREIO_CHAT_CUT_LINES", 3_000);
    let ports = server.pool();
    thread::scope(|scope| {
        for (chat, says, hears) in [(&mut one, "one", "other"), (&mut other, "other", "one")] {
            let voice = chat.voice();
            scope.spawn(move || {
                for number in 0..count {
                    voice.say(format!("{says}{number}")).unwrap();
                }
            });
            scope.spawn(move || hear_numbers(chat, hears, count));
        }
        let mut cuts = 0;
        for _ in 0..8 {
            pause(Duration::from_millis(80));
            cuts += cut::connections(&ports);
        }
        assert!(cuts > 0, "there was something to cut");
    });
    leave(&mut one, &mut other);
    for chat in [one, other] {
        assert_eq!(chat.finish().undelivered, []);
    }
}
