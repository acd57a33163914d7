//! P8: what the invited peer of a chat can make this side hold.

mod common;

use std::process::Stdio;

use common::chat::{Talk, lent};
use common::client::context;
use common::ctl::{Ctl, Run};
use common::person::{Person, wait_open};
use common::server::Server;
use common::{Timed, eventually};
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

/// ana of `mailctl` and bob of the library.
struct Two {
    _folder: tempfile::TempDir,
    server: Server,
    ana: Ctl,
    bob: Person,
}

impl Two {
    fn meet() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a folder");
        let ana = Ctl::new(&server, folder.path());
        ana.ok(&["login", "ana"]);
        let bob = Person::new(&server, "bob");
        Self {
            _folder: folder,
            server,
            ana,
            bob,
        }
    }

    /// Sends half a gigabyte in one message to ana's port, as bob.
    fn flood(&self) {
        let port = lent(&self.server)
            .iter()
            .find(|row| row["user"] == "ana")
            .and_then(|row| u16::try_from(row["port"].as_u64()?).ok())
            .expect("ana's port");
        let home = Home::open(Some(self.ana.home())).expect("a home");
        let account = home.default_account().expect("it reads").expect("ana");
        let push = intruder(
            port,
            self.bob.account.keys().expect("an open key"),
            account.public_key(),
        );
        let parts = vec![vec![b'x'; 65_536]; 8_000];
        push.send_multipart(parts, 0).expect("it is sent");
        // What is under way goes on after the socket is closed.
        push.set_linger(-1).expect("an option");
    }
}

/// No option of libzmq bounds the parts of a message; who sends them without an end loses the chat.
#[test]
fn p08_a_flood_of_the_invited_peer_ends_the_chat_and_not_the_machine() {
    let _timed = Timed::start("p08_a_flood_of_the_invited_peer_ends_the_chat_and_not_the_machine");
    let two = Two::meet();
    let talk = Talk::ask(&two.ana, "bob");
    let mut accepted = two.bob.accept();
    wait_open(&mut accepted);
    two.flood();
    let ended = talk.end();
    assert_eq!(ended.code, 69, "{}", ended.err);
    assert!(ended.err.contains("flooded"), "{}", ended.err);
}

/// Names of a process's threads.
fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    let comm = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.map_while(Result::ok).filter_map(comm);
    names.map(|name| name.trim_end().to_owned()).collect()
}

/// Nobody reads what `mailctl` shows, so it waits: its chat must not wait with it.
#[test]
fn p08_a_flood_ends_the_chat_also_while_the_output_is_stuck() {
    let _timed = Timed::start("p08_a_flood_ends_the_chat_also_while_the_output_is_stuck");
    let two = Two::meet();
    let mut command = two.ana.command(&["chat", "bob"]);
    let all = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut talk = all.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut accepted = two.bob.accept();
    wait_open(&mut accepted);
    let voice = accepted.voice();
    for _ in 0..200 {
        voice.say("x".repeat(4_000)).expect("it is said");
    }
    // Open, or it would say goodbye.
    let typing = talk.stdin.take();
    let has_chat = || threads(talk.id()).iter().any(|name| name == "chat");
    assert!(has_chat());
    two.flood();
    eventually("the chat to end", || (!has_chat()).then_some(()));
    assert!(talk.try_wait().expect("a child").is_none(), "it is stuck");
    drop(typing);
    let ended = Run::from(talk.wait_with_output().expect("it ends"));
    assert_eq!(ended.code, 69, "{}", ended.err);
    assert!(ended.err.contains("flooded"), "{}", ended.err);
}
