//! `mailserver doctor`, on healthy and on broken ground.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests drive real processes in real time"
)]
#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod common;

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::client::RawClient;
use common::server::Server;
use serde_json::Value;

/// Runs it for programs; returns its code and the rows by their check.
fn doctor(data: &Path, words: &[&str]) -> (i32, Vec<Value>) {
    let output = Command::new(env!("CARGO_BIN_EXE_mailserver"))
        .env_clear()
        .args(["doctor", "--json", "--data-dir"])
        .arg(data)
        .args(["--bind", "tcp://127.0.0.1:0"])
        .args(words)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.is_empty(), "{said}");
    let rows = String::from_utf8(output.stdout).unwrap();
    let rows = rows.lines().map(|line| serde_json::from_str(line).unwrap());
    (output.status.code().unwrap(), rows.collect())
}

#[track_caller]
fn row<'a>(rows: &'a [Value], check: &str) -> &'a Value {
    let found = rows.iter().find(|row| row["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {rows:#?}"))
}

/// Fails unless that check failed with that code and says what to do.
#[track_caller]
fn fails(data: &Path, words: &[&str], check: &str, code: i32, advice: &str) {
    let (ended, rows) = doctor(data, words);
    let found = row(&rows, check);
    assert_eq!(
        (found["level"].as_str(), ended),
        (Some("fail"), code),
        "{found}"
    );
    assert_eq!(found["exit"], code, "{found}");
    let said = found["advice"].as_str().unwrap();
    assert!(said.contains(advice), "{found}");
}

fn levels(rows: &[Value]) -> Vec<String> {
    let not_here = ["memory", "disk", "room", "files"];
    rows.iter()
        .filter(|row| !not_here.iter().any(|check| row["check"] == *check))
        .map(|row| {
            format!(
                "{}: {}",
                row["check"].as_str().unwrap(),
                row["level"].as_str().unwrap()
            )
        })
        .collect()
}

fn stopped() -> (tempfile::TempDir, PathBuf) {
    let mut server = Server::start();
    RawClient::user(&server, "ana").mail("ana", b"x");
    let ground = tempfile::tempdir().unwrap();
    let data = ground.path().join("data");
    server.terminate();
    std::fs::rename(server.data(), &data).unwrap();
    (ground, data)
}

#[test]
fn a_healthy_server_is_told_to_be_well_running_and_stopped() {
    let mut server = Server::start_with(2, &["--http", "127.0.0.1:0"]);
    RawClient::user(&server, "ana").mail("ana", b"x");
    let (code, rows) = doctor(server.data(), &[]);
    let well = [
        "versions: ok",
        "settings: ok",
        "clock: ok",
        "folder: ok",
        "modes: ok",
        "key: ok",
    ];
    assert_eq!(
        levels(&rows),
        [&well[..], &["server: ok", "ready: ok"]].concat()
    );
    assert_eq!(code, 0);
    assert!(
        row(&rows, "server")["text"]
            .as_str()
            .unwrap()
            .contains(&server.pid().to_string())
    );
    assert!(server.is_up());
    server.terminate();
    let (code, rows) = doctor(server.data(), &[]);
    let ports = ["bind: ok", "live-bind: ok", "http: ok", "store: ok"];
    assert_eq!(levels(&rows), [&well[..], &ports].concat());
    assert_eq!(code, 0);
    server.restart();
}

#[test]
fn before_the_first_start_it_says_what_is_to_be_made_and_makes_nothing() {
    let ground = tempfile::tempdir().unwrap();
    let data = ground.path().join("data");
    let (code, rows) = doctor(&data, &[]);
    assert_eq!(code, 0);
    assert_eq!(row(&rows, "folder")["level"], "warn");
    assert!(!data.exists());
}

#[test]
fn each_fault_is_named_with_what_to_do() {
    let (ground, data) = stopped();
    let key = data.join("server.key");
    let set =
        |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set(&key, 0o644);
    fails(
        &data,
        &[],
        "modes",
        78,
        &format!("chmod go= {}", key.display()),
    );
    fails(&data, &[], "key", 78, "chmod 600");
    set(&key, 0o600);
    set(&data, 0o755);
    assert_eq!(row(&doctor(&data, &[]).1, "folder")["level"], "warn");
    set(&data, 0o711);

    fails(&data, &["--log", "[["], "settings", 78, "mend that first");
    fails(
        &data,
        &["--config", "/none.toml"],
        "settings",
        78,
        "mend that first",
    );
    fails(
        &data,
        &["--disk-reserve", "8000000 GiB"],
        "room",
        75,
        "make room",
    );
    let rows = doctor(&data, &["--memory-max", "8000000 GiB"]).1;
    assert_eq!(row(&rows, "memory")["level"], "warn");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("127.0.0.1:{}", taken.local_addr().unwrap().port());
    fails(
        &data,
        &["--live-bind", &port],
        "live-bind",
        73,
        "--live-bind",
    );
    fails(&data, &["--http", &port], "http", 73, "--http");

    if rustix::process::geteuid().is_root() {
        let store = data.join("store/db");
        chown(&store, Some(1), None).unwrap();
        fails(
            &data,
            &[],
            "owner",
            73,
            &format!("chown 0 {}", store.display()),
        );
        chown(&store, Some(0), None).unwrap();
    }

    let aside = ground.path().join("key");
    std::fs::rename(&key, &aside).unwrap();
    fails(&data, &[], "key", 78, "mailserver restore");
    std::fs::rename(&aside, &key).unwrap();
    assert_eq!(doctor(&data, &[]).0, 0, "all of it is mended");

    let db = data.join("store/db");
    let bytes = std::fs::read(&db).unwrap();
    let other: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    std::fs::write(&db, other).unwrap();
    let (code, rows) = doctor(&data, &[]);
    assert_eq!(
        (code, row(&rows, "store")["level"].as_str()),
        (74, Some("fail"))
    );
}

#[test]
fn few_files_and_a_clock_that_went_back_are_noticed() {
    let (_ground, data) = stopped();
    let run = |wrapper: &[String]| {
        let program = format!(
            "exec {} doctor --json --bind tcp://127.0.0.1:0 --data-dir {}",
            env!("CARGO_BIN_EXE_mailserver"),
            data.display()
        );
        let mut words = wrapper.to_vec();
        words.extend(["sh", "-c", &program].map(str::to_owned));
        let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        let rows = String::from_utf8(output.stdout).unwrap();
        rows.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>()
    };
    let limit =
        |files: &str| run(&["prlimit", &format!("--nofile={files}:{files}")].map(str::to_owned));
    assert_eq!(row(&limit("100"), "files")["level"], "fail");
    assert_eq!(row(&limit("1000"), "files")["level"], "warn");
    assert_eq!(row(&limit("5000"), "files")["level"], "ok");
    let seal = std::fs::File::open(data.join("seal")).unwrap();
    let hour = std::time::Duration::from_hours(1);
    seal.set_modified(std::time::SystemTime::now() + hour)
        .unwrap();
    assert_eq!(row(&run(&["env".to_owned()]), "clock")["level"], "warn");
}

#[test]
fn people_read_a_line_each() {
    let (_ground, data) = stopped();
    std::fs::set_permissions(data.join("admin.key"), Permissions::from_mode(0o644)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_mailserver"))
        .env_clear()
        .args(["doctor", "--bind", "tcp://127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(output.stderr.is_empty());
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find(|line| line.contains("modes")).unwrap();
    let key = data.join("admin.key");
    let key = key.display();
    assert_eq!(
        line,
        format!("FAIL  modes: others can read or write {key} - chmod go= {key}")
    );
    let others = said
        .lines()
        .filter(|line| *line != line.trim_start() || !line.contains(": "));
    assert_eq!(others.count(), 0, "{said}");
}
