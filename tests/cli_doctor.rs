//! `mailctl doctor`, with one thing broken at a time: what it says, and how it ends.

mod common;

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use common::ctl::{Ctl, Run};
use common::server::Server;
use serde_json::Value;

struct World {
    server: Server,
    ana: Ctl,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a folder");
        let ana = Ctl::new(&server, &folder.path().join("ana"));
        ana.ok(&["login", "ana"]);
        Self {
            server,
            ana,
            _folder: folder,
        }
    }

    fn account(&self) -> PathBuf {
        let told = self
            .ana
            .ok(&["context", "show", "--json"])
            .objects()
            .remove(0);
        told["home"].as_str().expect("it is there").into()
    }

    /// Runs it and expects this end; returns the row of a check.
    fn finds(&self, code: i32, check: &str) -> Value {
        row(&self.ana.run(&["doctor", "--json"]), code, check)
    }
}

fn row(run: &Run, code: i32, check: &str) -> Value {
    assert_eq!(run.code, code, "{run:?}");
    let found = run.objects().into_iter().find(|row| row["check"] == check);
    found.unwrap_or_else(|| panic!("no check {check}: {run:?}"))
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

#[test]
fn a_healthy_client_is_told_so_line_by_line() {
    let world = World::new();
    let told = world.ana.ok(&["doctor"]);
    assert!(
        told.out.lines().all(|line| line.starts_with("ok   ")),
        "{}",
        told.out
    );
    let rows = world.ana.ok(&["doctor", "--json"]).objects();
    let checks: Vec<&str> = rows.iter().map(|row| text(row, "check")).collect();
    assert_eq!(
        checks,
        [
            "versions",
            "home",
            "account",
            "mailbox",
            "outbox",
            "disk",
            "server",
            "name",
            "reach",
            "encryption",
            "protocol",
            "clock",
            "session",
            "lease"
        ]
    );
    assert!(
        rows.iter()
            .all(|row| row["level"] == "ok" && row["advice"].is_null())
    );
    let offline = world.ana.ok(&["doctor", "--offline", "--json"]).objects();
    assert_eq!(offline.len(), 7);
}

#[test]
fn keys_and_files_that_others_can_read_are_found() {
    let world = World::new();
    let (account, home) = (world.account(), world.ana.home().to_owned());
    let set =
        |path: &PathBuf, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set(&account.join("key"), 0o644);
    let row = world.finds(78, "account");
    assert_eq!(row["level"], "fail");
    assert!(
        text(&row, "text").contains("can be read by others"),
        "{row}"
    );
    assert!(text(&row, "advice").contains("chmod 600"), "{row}");
    set(&account.join("key"), 0o600);

    let key = fs::read(account.join("key")).unwrap();
    fs::write(account.join("key"), "garbage").unwrap();
    let damaged = world.finds(78, "account");
    fs::remove_file(account.join("key")).unwrap();
    let gone = world.finds(78, "account");
    for row in [damaged, gone] {
        let advice = text(&row, "advice");
        assert!(
            advice.contains("mailctl invite --device") && !advice.contains("chmod"),
            "{row}"
        );
    }
    fs::write(account.join("key"), key).unwrap();
    set(&account.join("key"), 0o600);

    set(&account.join("outbox"), 0o755);
    let row = world.finds(0, "account");
    assert_eq!(row["level"], "warn");
    let advice = text(&row, "advice");
    assert!(advice.starts_with("chmod go= "), "{row}");
    let followed = Command::new("sh").args(["-c", advice]).status().unwrap();
    assert!(followed.success());
    assert_eq!(world.finds(0, "account")["level"], "ok", "as advised");

    set(&home, 0o755);
    assert_eq!(world.finds(0, "home")["level"], "warn");
    set(&home, 0o700);
    assert_eq!(world.finds(0, "home")["level"], "ok");
}

#[test]
fn a_key_under_a_passphrase_is_no_fault_and_its_session_needs_it() {
    let world = World::new();
    let file = world.ana.home().join("passphrase");
    fs::write(&file, "correct horse battery\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    world
        .ana
        .ok(&["key", "protect", "--new-passphrase-file", file]);
    let account = world.finds(78, "account");
    assert!(
        text(&account, "text").contains("under a passphrase"),
        "{account}"
    );
    let session = world.finds(78, "session");
    assert!(
        text(&session, "advice").contains("--passphrase-file"),
        "{session}"
    );
    world.ana.ok(&["doctor", "--offline"]);
    let told = world.ana.ok(&["doctor", "--passphrase-file", file]);
    assert!(told.out.contains("session: logged in as ana"), "{told:?}");
}

#[test]
fn homes_that_are_none_are_found() {
    let world = World::new();
    let folder = world.ana.home();
    let file = folder.join("file");
    fs::write(&file, "").unwrap();
    let run = |home: &str| {
        let home = ["--home", home, "--json", "doctor", "--offline"];
        world.ana.run(&home)
    };
    let found = row(&run(file.to_str().unwrap()), 74, "home");
    assert!(text(&found, "text").contains("is no folder"), "{found}");
    let below = file.join("below");
    let found = row(&run(below.to_str().unwrap()), 73, "home");
    assert!(text(&found, "text").contains("cannot create"), "{found}");
}

/// A file that may not grow is a disk that is full.
#[test]
fn a_home_that_takes_no_file_is_found() {
    let world = World::new();
    let words = ["prlimit", "--fsize=0"].map(str::to_owned);
    let full = world.ana.clone().wrapped(&words);
    let found = row(&full.run(&["doctor", "--offline", "--json"]), 74, "mailbox");
    assert_eq!(found["level"], "fail", "{found}");
    let tmp = world.account().join("mail/tmp");
    assert_eq!(fs::read_dir(tmp).unwrap().count(), 0, "nothing is left");
}

#[test]
fn each_step_to_the_server_is_told_apart() {
    let world = World::new();
    let url = fs::read_to_string(world.server.url_file()).unwrap();
    let (before, key) = url.trim().split_once("?key=").unwrap();
    let port = before.rsplit(':').next().unwrap();
    let at = |host: &str, port: &str| {
        world
            .ana
            .clone()
            .at(format!("correio://{host}:{port}?key={key}").as_ref())
    };

    let nowhere = at("no-such-host.invalid", port).run(&["doctor", "--json"]);
    assert_eq!(row(&nowhere, 69, "name")["level"], "fail");

    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = at("127.0.0.1", &free.port().to_string()).run(&["doctor", "--json"]);
    let found = row(&silent, 69, "reach");
    assert!(
        text(&found, "advice").contains("start the server"),
        "{found}"
    );

    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = at("127.0.0.1", &mute.local_addr().unwrap().port().to_string());
    let found = row(
        &other.run(&["doctor", "--json", "--timeout", "1"]),
        69,
        "encryption",
    );
    assert!(
        text(&found, "advice").contains("another program"),
        "{found}"
    );

    let stranger = Server::start();
    let other_url = fs::read_to_string(stranger.url_file()).unwrap();
    let other_port = other_url
        .split("?key=")
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let found = row(
        &at("127.0.0.1", &other_port).run(&["doctor", "--json"]),
        78,
        "encryption",
    );
    assert!(
        text(&found, "text").contains("not the server with the expected key"),
        "{found}"
    );
}

#[test]
fn nobody_and_nowhere_are_told_with_what_to_do() {
    let world = World::new();
    let stranger = Ctl::new(&world.server, &world.ana.home().join("stranger"));
    let run = stranger.run(&["doctor", "--json"]);
    let found = row(&run, 78, "account");
    assert!(text(&found, "advice").contains("mailctl"), "{found}");
    assert_eq!(
        row(&run, 78, "protocol")["level"],
        "ok",
        "the way is looked at all the same"
    );

    let gone = stranger.at("/nonexistent/server.url".as_ref());
    let found = row(&gone.run(&["doctor", "--json"]), 69, "server");
    assert_eq!(found["exit"], 69);
}

#[test]
fn a_device_that_the_server_forgot_is_denied() {
    let world = World::new();
    world.ana.ok(&["admin", "user", "rm", "ana", "--yes"]);
    let found = world.finds(77, "session");
    assert!(
        text(&found, "advice").contains("mailctl login ana"),
        "{found}"
    );
}

#[test]
fn the_mailbox_and_the_outbox_are_looked_through() {
    let mut world = World::new();
    let account = world.account();
    fs::write(account.join("mail/cur/stray.txt"), "x").unwrap();
    let found = world.finds(0, "mailbox");
    assert_eq!(found["level"], "warn");
    assert!(text(&found, "text").contains("1 other file"), "{found}");
    fs::remove_file(account.join("mail/cur/stray.txt")).unwrap();

    fs::write(account.join("mail/tmp/0000000000000001.1.mail"), "x").unwrap();
    assert!(text(&world.finds(0, "mailbox"), "text").contains("unfinished"));

    fs::remove_file(account.join("mail/tmp/0000000000000001.1.mail")).unwrap();

    world.ana.ok(&["send", "ana", "-b", "whole"]);
    world.ana.ok(&["refresh"]);
    let mut shown = fs::read_dir(account.join("mail/cur")).unwrap();
    let shown = shown.next().expect("the mail").unwrap();
    let name = shown.file_name().into_string().unwrap();
    let unseen = account.join("mail/new").join(name.replace(":2,S", ""));
    fs::remove_file(shown.path()).unwrap();
    fs::write(&unseen, "x").unwrap();
    let found = world.finds(0, "mailbox");
    assert!(text(&found, "text").contains("cannot be read"), "{found}");
    fs::remove_file(unseen).unwrap();

    let marks = account.join("marks.json");
    let good = fs::read(&marks).unwrap();
    fs::write(&marks, "{").unwrap();
    let found = row(
        &world.ana.run(&["doctor", "--offline", "--json"]),
        74,
        "mailbox",
    );
    assert!(text(&found, "text").contains("damaged"), "{found}");
    fs::write(&marks, good).unwrap();

    world.server.terminate();
    assert_eq!(world.ana.run(&["send", "ana", "-b", "x"]).code, 69);
    let found = row(
        &world.ana.run(&["doctor", "--offline", "--json"]),
        0,
        "outbox",
    );
    assert!(
        text(&found, "text").contains("1 draft, which only you send: mailctl draft"),
        "{found}"
    );
}

#[test]
fn a_clock_that_is_wrong_is_found() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let Some(clock) = common::faketime::WallClock::make(folder.path()) else {
        return common::skip("a_clock_that_is_wrong_is_found", "faketime is missing");
    };
    clock.set("+3600");
    let run = world
        .ana
        .clone()
        .wrapped(&clock.words())
        .run(&["doctor", "--json"]);
    let found = row(&run, 0, "clock");
    assert_eq!(found["level"], "warn");
    assert!(
        text(&found, "text").contains("ahead of the server's"),
        "{found}"
    );
    assert!(text(&found, "advice").contains("set the clock"), "{found}");
}
