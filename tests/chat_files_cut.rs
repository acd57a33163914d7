//! A file whose way is cut again and again. Alone in its process: the cutting copies every socket for a
//! moment, which would keep other tests' ports.

#![allow(
    clippy::unwrap_used,
    reason = "a step that fails ends the test, and the line says which"
)]

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::person::{Person, chat_of, leave, wait_open};
use common::server::Server;
use common::{PATIENCE, Timed, cut, now, pause};
use correio::chat::file::{Files, Folder, Policy, State};
use correio::chat::io::Event;
use correio::chat::{Chat, Told};

/// Drives a chat until its file is there, or somebody says that it is over.
fn drive(chat: &mut Chat, files: &mut Files, over: &AtomicBool) -> Vec<State> {
    let until = now() + PATIENCE;
    let mut states = Vec::new();
    while !over.load(Ordering::Relaxed) {
        assert!(now() < until, "it does not arrive: {states:?}");
        if let Some(Told::Chat(event)) = chat.next(Duration::from_millis(20)) {
            let note = match &event {
                Event::Note { seq, .. } => Some(*seq),
                _ => None,
            };
            files.handle(event);
            if let Some(seq) = note {
                chat.shown(seq);
            }
        }
        states.extend(std::iter::from_fn(|| files.poll_told()).map(|told| told.state));
        if states.last() == Some(&State::Sent) {
            over.store(true, Ordering::Relaxed);
        }
    }
    states
}

#[test]
fn p03_a_file_whose_connections_are_cut_arrives_identical() {
    let _timed = Timed::start("p03_a_file_whose_connections_are_cut_arrives_identical");
    let server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let (mut one, mut other) = chat_of(&ana, &bob);
    wait_open(&mut one);
    wait_open(&mut other);
    let (from, inbox) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sent = vec![0; 96 * 1024 * 1024];
    blake3::Hasher::new().finalize_xof().fill(&mut sent);
    let path = from.path().join("file");
    fs::write(&path, &sent).unwrap();
    let policy = Policy::Into(Folder::open(inbox.path()).unwrap());
    let mut sending = Files::new(Arc::new(one.voice()), Policy::Refuse);
    let mut receiving = Files::new(Arc::new(other.voice()), policy);
    sending.send(path);
    let (over, ports) = (AtomicBool::new(false), server.pool());
    let cuts = thread::scope(|scope| {
        let sender = scope.spawn(|| drive(&mut one, &mut sending, &over));
        scope.spawn(|| drive(&mut other, &mut receiving, &over));
        let part = inbox.path();
        let mut cuts = 0;
        while !over.load(Ordering::Relaxed) && !sender.is_finished() {
            pause(Duration::from_millis(60));
            let is_coming = fs::read_dir(part).unwrap().next().is_some();
            if is_coming && cuts < 12 && !over.load(Ordering::Relaxed) {
                cuts += cut::connections(&ports);
            }
        }
        cuts
    });
    println!("cut {cuts} ends of connections");
    assert!(cuts > 0, "there was something to cut");
    assert!(fs::read(inbox.path().join("file")).unwrap() == sent);
    leave(&mut one, &mut other);
}
