//! `mailserver migrate`: stores of every older format, and kills on the way.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests drive real processes in real time"
)]
#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::client::RawClient;
use common::faults::{can_trace, killing};
use common::server::{Plan, Server};
use common::{eventually, skip};
use correio::store::sled::SledStore;
use correio::store::{Change, FORMAT, Meta, Store};

fn mailserver(data: &Path, words: &[&str]) -> Output {
    run(&[], data, words)
}

fn run(wrapper: &[String], data: &Path, words: &[&str]) -> Output {
    let mut all = wrapper.to_vec();
    all.push(env!("CARGO_BIN_EXE_mailserver").to_owned());
    Command::new(&all[0])
        .args(&all[1..])
        .args(words)
        .arg("--data-dir")
        .arg(data)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").expect("a PATH"))
        .output()
        .unwrap()
}

#[track_caller]
fn ok(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

/// Makes a data folder as a server of that format leaves it: newer kinds of records and newer versions of them nobody
/// has written yet, and those that there are every format reads. (`src/store/golden.rs` holds each format's own bytes.)
fn older(data: &Path, format: u32) {
    let mut server = Server::start();
    RawClient::user(&server, "ana").mail("ana", b"kept");
    server.terminate();
    std::fs::rename(server.data(), data).unwrap();
    let mut store = SledStore::open(data).unwrap();
    let meta = store.load().unwrap().meta;
    store
        .commit(&[Change::PutMeta(Meta { format, ..meta })])
        .unwrap();
    store.close().unwrap();
}

/// Returns what `doctor` says of the store.
fn told(data: &Path) -> String {
    let said = mailserver(data, &["doctor", "--bind", "tcp://127.0.0.1:0"]).stdout;
    let said = String::from_utf8(said).unwrap();
    let lines = said
        .lines()
        .filter(|line| line.contains(" store: ") || line.starts_with("warn  store"));
    lines.collect::<Vec<_>>().join("\n")
}

fn backups(ground: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(ground).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "backup"))
        .collect()
}

#[test]
fn a_store_of_every_older_format_is_migrated_after_a_backup() {
    for format in 1..FORMAT {
        let ground = tempfile::tempdir().unwrap();
        let data = ground.path().join("data");
        older(&data, format);
        let had = format!("it has format {format}, and this mailserver makes {FORMAT}");
        assert!(told(&data).contains(&had), "{}", told(&data));
        let said = ok(&mailserver(&data, &["migrate"]));
        assert!(
            said.contains(&format!("had format {format} and has format {FORMAT} now")),
            "{said}"
        );
        let backup = &backups(ground.path())[0];
        assert!(
            said.contains(&format!(
                "restore --data-dir NEW_FOLDER {}",
                backup.display()
            )),
            "{said}"
        );
        assert!(!told(&data).contains("it has format"), "{}", told(&data));
        let again = ok(&mailserver(&data, &["migrate"]));
        assert!(again.contains("nothing to do"), "{again}");
        assert_eq!(backups(ground.path()).len(), 1);
        // The way back is of the old format: an old mailserver can read it.
        let bytes = std::fs::read(backup).unwrap();
        let header = String::from_utf8_lossy(&bytes[..400]);
        assert!(header.contains(&format!("\"format\":{format}")), "{header}");
        ok(&mailserver(&data, &["verify"]));
        let mut server = Server::planned(Plan::loopback(data.clone(), 2));
        assert!(!server.log().contains("another format"), "{}", server.log());
        server.terminate();
        let verified = ok(&mailserver(&data, &["verify"]));
        assert!(verified.contains("1 mail\n"), "{verified}");
    }
}

#[test]
fn a_start_says_that_it_changes_the_format() {
    let ground = tempfile::tempdir().unwrap();
    let data = ground.path().join("data");
    older(&data, 5);
    let mut server = Server::planned(Plan::loopback(data.clone(), 2));
    eventually("a word", || {
        server
            .log()
            .contains("gets another format with its first change")
            .then_some(())
    });
    RawClient::user(&server, "bob");
    server.terminate();
    assert!(!told(&data).contains("it has format"), "{}", told(&data));
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let ground = tempfile::tempdir().unwrap();
    let data = ground.path().join("data");
    older(&data, 4);
    let taken = ground.path().join("taken");
    std::fs::write(&taken, "x").unwrap();
    let inside = data.join("b");
    for (file, code) in [
        (&taken, 73),
        (&inside, 64),
        (&ground.path().join("no/where"), 73),
    ] {
        let ended = mailserver(&data, &["migrate", "--backup", file.to_str().unwrap()]);
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
        assert_eq!(
            ended.stderr.split(|byte| *byte == b'\n').count(),
            2,
            "one line"
        );
        assert!(told(&data).contains("it has format 4"), "{}", told(&data));
    }
    assert_eq!(
        mailserver(&ground.path().join("none"), &["migrate"])
            .status
            .code(),
        Some(78)
    );
    let server = Server::planned(Plan::loopback(data.clone(), 2));
    assert_eq!(mailserver(&data, &["migrate"]).status.code(), Some(73));
    drop(server);
}

/// Killed at any of its syncs and renames, what is left is a store of one of the two formats, whole, and once it is of
/// the new one a whole backup of the old.
#[test]
fn p02_a_migration_that_is_killed_leaves_one_format_or_the_other() {
    let name = "p02_a_migration_that_is_killed_leaves_one_format_or_the_other";
    if !can_trace() {
        return skip(name, "strace cannot trace here");
    }
    let (mut killed, mut raised) = (0, 0);
    for (call, steps) in [
        ("fdatasync", 4),
        ("fsync", 5),
        ("renameat2", 1),
        ("pwrite64", 6),
    ] {
        for nth in 1..=steps {
            let ground = tempfile::tempdir().unwrap();
            let data = ground.path().join("data");
            older(&data, 3);
            let ended = run(&killing(call, nth), &data, &["migrate"]);
            killed += u32::from(!ended.status.success());
            let is_old = told(&data).contains("it has format 3");
            ok(&mailserver(&data, &["verify"]));
            if is_old {
                ok(&mailserver(&data, &["migrate"]));
                assert!(!told(&data).contains("it has format"), "{}", told(&data));
            } else {
                raised += 1;
            }
            let whole = backups(ground.path()).iter().any(|backup| {
                ok(&mailserver(
                    &data,
                    &["verify", "--backup", backup.to_str().unwrap()],
                ))
                .contains("is a whole backup")
            });
            assert!(whole, "{call} {nth}");
        }
    }
    assert!(
        killed > 5 && raised > 1,
        "{killed} kills, {raised} after the change"
    );
}
