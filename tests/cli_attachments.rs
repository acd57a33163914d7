//! Files that go along with a mail, end to end: `send -a`, how they are shown, `save`.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::ctl::Ctl;
use common::server::Server;

/// Everything a byte can be, twice over: no encoding gets away with text alone.
fn picture() -> Vec<u8> {
    (0..=255).cycle().take(70_000).collect()
}

#[test]
fn files_arrive_as_they_were_and_are_saved_by_command_only() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let [ana, bob] = ["ana", "bob"].map(|name| {
        let ctl = Ctl::new(&server, &at(name));
        ctl.ok(&["login", name]);
        ctl
    });
    fs::write(at("holiday.png"), picture()).unwrap();
    fs::write(at("notes.txt"), "one\ntwo\n").unwrap();
    let [picture_file, notes] =
        ["holiday.png", "notes.txt"].map(|name| at(name).display().to_string());
    ana.ok(&[
        "send",
        "bob",
        "-s",
        "files",
        "-b",
        "see below",
        "-a",
        &picture_file,
        "-a",
        &notes,
    ]);

    let shown = bob.ok(&["refresh"]).out;
    let below = shown.split_once("files\n").expect("a header").1;
    assert_eq!(
        below,
        "    see below\n  [1] holiday.png, image/png, 70.0 kB\n  [2] notes.txt, text/plain, 8 bytes\n  save: mailctl save 1\n"
    );
    let told = bob.ok(&["read", "1", "--json"]).objects().remove(0);
    assert_eq!(told["attachments"][0]["name"], "holiday.png");
    assert_eq!(told["attachments"][1]["size"], 8);

    fs::create_dir(at("saved")).unwrap();
    fs::write(at("saved").join("notes.txt"), "mine").unwrap();
    let saved = at("saved").display().to_string();
    bob.ok(&["save", "1", "--dir", &saved]);
    assert_eq!(
        fs::read(at("saved").join("holiday.png")).unwrap(),
        picture()
    );
    assert_eq!(fs::read(at("saved").join("notes.txt")).unwrap(), b"mine");
    let second = at("saved").join("notes (2).txt");
    assert_eq!(fs::read(&second).unwrap(), b"one\ntwo\n");
    let mode = fs::metadata(&second).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let only = bob
        .ok(&["save", "1", "2", "--dir", &saved, "--json"])
        .objects()
        .remove(0);
    assert_eq!(only["name"], "notes.txt");
    assert!(only["path"].as_str().unwrap().ends_with("notes (3).txt"));
}

#[test]
fn what_cannot_be_attached_or_saved_is_said_and_nothing_is_sent() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let ana = Ctl::new(&server, folder.path());
    ana.ok(&["login", "ana"]);
    let missing = ana.run(&["send", "ana", "-b", "x", "-a", "/nowhere/a"]);
    assert_eq!((missing.code, missing.out.as_str()), (74, ""));
    assert!(missing.err.contains("/nowhere/a"), "{}", missing.err);
    ana.ok(&["send", "ana", "-b", "plain"]);
    ana.ok(&["refresh"]);
    let none = ana.run(&["save", "1"]);
    assert_eq!(none.code, 65);
    assert!(
        none.err.contains("nothing is attached to mail 1"),
        "{}",
        none.err
    );
    let absent = ana.run(&["save", "7"]);
    assert_eq!(absent.code, 65, "{}", absent.err);
}
