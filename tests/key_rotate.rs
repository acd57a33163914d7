//! `mailctl key rotate`: whoever dies at any step, one key works, and it is the same device as before.

#![allow(
    clippy::print_stdout,
    reason = "seeds and figures belong in a test's output"
)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::Duration;

use common::client::{RawClient, Wishes};
use common::ctl::Ctl;
use common::faults::{can_trace, killing};
use common::rng::Rng;
use common::server::Server;
use common::{pause, skip};
use correio::auth::keys::KeyPair;
use correio::protocol::codes::Code;
use serde_json::Value;

fn json(ctl: &Ctl, args: &[&str]) -> Vec<Value> {
    ctl.ok(&[&["--json"], args].concat()).objects()
}

/// Device and key, as the server and this machine know them.
fn who(ctl: &Ctl) -> (Value, String) {
    let told = json(ctl, &["whoami"]).remove(0);
    let key = told["key"].as_str().expect("a key").to_owned();
    (told["device"].clone(), key)
}

/// The key file of the only account in a home.
fn key_file(ctl: &Ctl) -> std::path::PathBuf {
    let home = json(ctl, &["whoami"]).remove(0);
    std::path::Path::new(home["home"].as_str().expect("a folder")).join("key")
}

/// What is sent to the device arrives once, and it is the device that it was.
#[track_caller]
fn goes_on(ctl: &Ctl, device: &Value, nth: &mut u32) {
    *nth += 1;
    let body = format!("mail {nth}");
    ctl.ok(&["send", "ana", "news", "-b", &body]);
    let shown = json(ctl, &["refresh"]);
    let bodies: Vec<&Value> = shown.iter().map(|mail| &mail["body"]).collect();
    assert_eq!(bodies, [body.as_str(), body.as_str()]);
    assert_eq!(who(ctl).0, *device);
}

#[test]
fn p05_a_device_changes_its_key_and_the_old_one_gets_nothing() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana", "--topic", "news"]);
    let phone = Ctl::new(&server, &folder.path().join("phone"));
    phone.ok(&["join", ana.ok(&["invite", "--device"]).out.trim()]);
    let (device, old) = who(&ana);
    let old_keys = KeyPair::load(&key_file(&ana)).expect("a key");
    ana.ok(&["send", "ana", "-b", "waits"]);
    let told = json(&ana, &["key", "rotate"]).remove(0);
    let (same, new) = who(&ana);
    assert_eq!((&same, told["key"].as_str()), (&device, Some(new.as_str())));
    assert_ne!(new, old);
    assert_eq!(json(&ana, &["refresh"])[0]["body"], "waits");
    assert_eq!(json(&phone, &["refresh"])[0]["body"], "waits");
    let mut thief = RawClient::connect(server.place(), old_keys);
    let refused = thief.login(Wishes::default()).err();
    assert_eq!(
        refused.and_then(|trouble| trouble.code()),
        Some(Code::NotRegistered)
    );
    let names: Vec<_> = std::fs::read_dir(key_file(&ana).parent().expect("a folder"))
        .expect("it lists")
        .map(|entry| entry.expect("a file").file_name())
        .collect();
    assert!(!names.iter().any(|name| name == "key.next"), "{names:?}");
}

#[test]
fn a_watch_goes_on_under_the_new_key() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana"]);
    let mut watch: Child = ana.spawn(&["--json", "watch"]);
    let mut told = BufReader::new(watch.stderr.take().expect("a pipe")).lines();
    let first = told.next().expect("a line").expect("text");
    assert!(first.contains("watching as ana"), "{first}");
    let mut shown = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    ana.ok(&["send", "ana", "-b", "before"]);
    let next = |shown: &mut dyn Iterator<Item = std::io::Result<String>>| {
        let line = shown.next().expect("a line").expect("text");
        serde_json::from_str::<Value>(&line).expect("JSON")["body"].clone()
    };
    assert_eq!(next(&mut shown), "before");
    ana.ok(&["key", "rotate"]);
    ana.ok(&["send", "ana", "-b", "after"]);
    assert_eq!(next(&mut shown), "after");
    ana.ok(&["key", "rotate"]);
    ana.ok(&["send", "ana", "-b", "once more"]);
    assert_eq!(next(&mut shown), "once more");
    watch.kill().expect("it runs");
    watch.wait().expect("it ends");
}

/// The client dies where it enters each call that changes something, at its disk or on its way to the server.
#[test]
fn p02_a_client_killed_while_it_changes_its_key_has_one_that_works() {
    let name = "p02_a_client_killed_while_it_changes_its_key_has_one_that_works";
    if !can_trace() {
        return skip(name, "no strace here");
    }
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana", "--topic", "news"]);
    let (device, _) = who(&ana);
    let (mut nth, mut kills, mut changed) = (0, 0, 0);
    for call in ["fsync", "link", "linkat", "unlink", "rename", "sendto"] {
        for step in 1..60 {
            let (_, before) = who(&ana);
            let run = ana
                .clone()
                .wrapped(&killing(call, step))
                .run(&["key", "rotate"]);
            goes_on(&ana, &device, &mut nth);
            changed += usize::from(who(&ana).1 != before);
            if run.code == 0 {
                break;
            }
            kills += 1;
        }
    }
    println!("{kills} kills, {changed} changes of the key");
    assert!(kills >= 10, "{kills}");
    let (_, before) = who(&ana);
    ana.ok(&["key", "rotate"]);
    assert_ne!(who(&ana).1, before);
    goes_on(&ana, &device, &mut nth);
}

#[test]
fn p02_a_server_killed_while_a_key_changes_knows_one_of_the_two() {
    let mut rng = Rng::announced("p02_a_server_killed_while_a_key_changes_knows_one_of_the_two");
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana", "--topic", "news"]);
    let (device, _) = who(&ana);
    let mut nth = 0;
    for _ in 0..10 {
        let child = ana.spawn(&["key", "rotate"]);
        pause(Duration::from_micros(rng.below(120_000)));
        server.kill9();
        server.restart();
        drop(child.wait_with_output().expect("it ends"));
        goes_on(&ana, &device, &mut nth);
    }
}
