//! Many clients at once, and all of them again after the server was killed under their mail. The long
//! form, with 10,000 clients and figures, is `cargo bench --bench crowd`.

mod common;

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::crowd::book::{Book, Mails, Record};
use common::crowd::{Phase, Plan, Squad};
use common::server::Server;
use common::{PATIENCE, Timed, eventually, pause, scale, wall_s};
use correio::auth::keys::KeyPair;
use correio::client::connection::Connection;
use correio::client::home::Place;
use rustix::process::Signal;

#[test]
fn p02_a_crowd_comes_back_after_sigkill_and_nothing_is_lost() {
    let _timed = Timed::start("crowd");
    let clients = scale("CORREIO_CLIENTS", 500);
    let mut server = Server::start();
    let squad = Squad::start(&Plan {
        url: server.url(),
        first: 0,
        count: clients,
        total: clients,
        live: clients / 2,
        rate: 200.0,
    });
    let tally = std::sync::Arc::clone(&squad.tally);
    let wait = |what: &str, is: &dyn Fn() -> bool| {
        eventually(what, || {
            assert!(!squad.is_broken(), "a thread of the crowd died");
            is().then_some(())
        });
    };
    let inside = || tally.inside.load(Ordering::SeqCst) == clients;
    let acked = |least: usize| tally.acked.load(Ordering::SeqCst) >= least;
    squad.order(Phase::Live);
    wait("all clients logged in", &inside);
    squad.order(Phase::Load);
    wait("some mail", &|| acked(300));
    server.kill9();
    let killed = wall_s();
    server.restart();
    wait("all clients back", &inside);
    let before = tally.acked.load(Ordering::SeqCst);
    wait("mail goes on", &|| acked(before + 200));
    squad.order(Phase::Drain);
    wait("every mail with its reader", &|| {
        let [.., unanswered, acked, taken, _, _] = tally.counts();
        unanswered == 0 && acked == taken
    });
    let mut book = Book::default();
    book.add(squad.finish());
    let back = book.back(killed).expect("they came back");
    println!("back after the kill: {back:?}");
    assert_eq!(back.count, clients);
    let found = book.mails();
    println!("{found:?}");
    assert!(found.acked >= 500);
    let acked = found.acked;
    assert_eq!(
        found,
        Mails {
            acked,
            ..Mails::default()
        }
    );
}

/// Three handshakes that time out would be taken for those of another server. Long enough for three of
/// five seconds, as they once were.
#[test]
fn p09_a_server_that_is_too_busy_for_a_handshake_is_waited_for() {
    let _timed = Timed::start("busy handshake");
    let server = Server::start();
    let place = Place::read(&server.url_file()).expect("a server's address");
    server.signal(Signal::STOP);
    let client = std::thread::spawn(move || {
        let key = KeyPair::generate().expect("a key");
        Connection::open(&place, &key, 2 * PATIENCE).map(drop)
    });
    pause(Duration::from_secs(17));
    server.signal(Signal::CONT);
    let opened = client.join().expect("no panic");
    assert!(opened.is_ok(), "{opened:?}");
}

#[test]
fn too_few_open_files_are_said_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let started = Command::new("sh")
        .args(["-c", "ulimit -n 100; exec \"$@\"", "sh"])
        .arg(env!("CARGO_BIN_EXE_mailserver"))
        .arg("--data-dir")
        .arg(folder.path())
        .args(["--bind", "tcp://127.0.0.1:0"])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&started.stderr);
    assert_eq!(started.status.code(), Some(78), "{said}");
    assert!(said.contains("may open 100 files"), "{said}");
}

fn acked(number: u64, to: usize, id: u64) -> Record {
    Record::Acked {
        nth: 1,
        number,
        to,
        id,
        sent: 0.0,
        at: 1.0,
    }
}

fn taken(nth: usize, number: u64, id: u64) -> Record {
    Record::Taken {
        nth,
        from: 1,
        number,
        id,
        at: 2.0,
    }
}

#[test]
fn a_book_sees_what_is_wrong() {
    let mut book = Book::default();
    book.add([
        acked(1, 2, 5),
        acked(2, 2, 6),
        acked(3, 2, 7),
        acked(4, 2, 9),
    ]);
    book.add([
        taken(2, 2, 6),
        taken(2, 1, 5),
        taken(3, 3, 7),
        taken(2, 2, 6),
    ]);
    let found = book.mails();
    assert_eq!((found.acked, found.lost, found.twice), (4, 1, 1));
    assert_eq!((found.disordered, found.strayed), (1, 1));
    assert_eq!(book.caught_up(1.5), (0.5, 4));
}
