//! P8: what the invited peer of a chat can make this side hold.

mod common;

use common::Timed;
use common::chat::{Talk, lent};
use common::client::context;
use common::ctl::Ctl;
use common::person::{Person, wait_open};
use common::server::Server;
use correio::auth::keys::KeyPair;
use correio::client::home::Home;
use correio::protocol::PublicKey;

/// A connection of the invited key beside the chat's own.
fn intruder(port: u16, keys: &KeyPair, server_key: &PublicKey) -> zmq::Socket {
    let push = context().socket(zmq::PUSH).expect("a socket");
    push.set_linger(0).expect("an option");
    push.set_curve_serverkey(server_key).expect("an option");
    push.set_curve_publickey(&keys.public).expect("an option");
    push.set_curve_secretkey(keys.secret()).expect("an option");
    push.connect(&format!("tcp://127.0.0.1:{port}"))
        .expect("a connection");
    push
}

/// No option of libzmq bounds the parts of a message; who sends them without an end loses the chat.
#[test]
fn p08_a_flood_of_the_invited_peer_ends_the_chat_and_not_the_machine() {
    let _timed = Timed::start("p08_a_flood_of_the_invited_peer_ends_the_chat_and_not_the_machine");
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ana = Ctl::new(&server, folder.path());
    ana.ok(&["login", "ana"]);
    let bob = Person::new(&server, "bob");
    let talk = Talk::ask(&ana, "bob");
    let mut accepted = bob.accept();
    wait_open(&mut accepted);
    let port = lent(&server)
        .iter()
        .find(|row| row["user"] == "ana")
        .and_then(|row| u16::try_from(row["port"].as_u64()?).ok())
        .expect("ana's port");
    let home = Home::open(Some(ana.home())).expect("a home");
    let account = home.default_account().expect("it reads").expect("ana");
    let push = intruder(port, bob.account.keys(), &account.keys().public);
    let parts = vec![vec![b'x'; 65_536]; 8_000];
    push.send_multipart(parts, 0).expect("it is sent");
    let ended = talk.end();
    assert_eq!(ended.code, 69, "{}", ended.err);
    assert!(ended.err.contains("flooded"), "{}", ended.err);
}
