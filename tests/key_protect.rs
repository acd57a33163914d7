//! `mailctl key protect`: a key under a passphrase, asked at a terminal without showing it, or read from a file.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::ctl::{Ctl, Run};
use common::server::Server;
use common::terminal::{INTERRUPT, Terminal};
use serde_json::Value;

const PASSPHRASE: &str = "pão de queijo";

/// A user with a key under the passphrase, and where that is written down.
struct World {
    _server: Server,
    folder: tempfile::TempDir,
    ana: Ctl,
}

impl World {
    fn new() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a folder");
        let ana = Ctl::new(&server, &folder.path().join("ana"));
        let told = ana.ok(&["login", "ana"]).err;
        assert!(told.contains("mailctl key protect"), "{told}");
        Self {
            _server: server,
            folder,
            ana,
        }
    }

    fn protected() -> Self {
        let world = Self::new();
        let file = world.file("new", PASSPHRASE);
        world
            .ana
            .ok(&["key", "protect", "--new-passphrase-file", &file]);
        world
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, format!("{text}\nanother line\n")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        path.to_str().expect("a path").to_owned()
    }

    fn key_file(&self) -> PathBuf {
        let shown = self.ana.ok(&["--json", "key", "show"]).objects().remove(0);
        Path::new(shown["path"].as_str().expect("a path")).to_owned()
    }
}

#[track_caller]
fn fails(ctl: &Ctl, args: &[&str], code: i32) -> String {
    let run = ctl.run(args);
    assert_eq!(run.code, code, "mailctl {args:?}: {}{}", run.out, run.err);
    run.err
}

#[test]
fn a_key_goes_under_a_passphrase_at_a_terminal_that_shows_none_of_it() {
    let world = World::new();
    let plain = fs::read_to_string(world.key_file()).expect("a key");
    let secret = plain.lines().nth(1).expect("its secret half");
    let mut terminal = Terminal::start(world.ana.command(&["key", "protect"]));
    terminal.sees("new passphrase:");
    terminal.type_line(PASSPHRASE);
    terminal.sees("once more:");
    terminal.type_line(PASSPHRASE);
    terminal.sees("is under a passphrase");
    assert!(terminal.ends().success());
    assert!(terminal.is_sane(), "it shows again what is typed");
    assert!(!terminal.all().contains("queijo"), "{}", terminal.all());
    let sealed = fs::read_to_string(world.key_file()).expect("a key");
    assert!(!sealed.contains(secret));
    let mode = fs::metadata(world.key_file())
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut terminal = Terminal::start(world.ana.command(&["whoami"]));
    terminal.sees("passphrase of ana's key:");
    terminal.type_line("pão de batata");
    terminal.sees("that is not its passphrase");
    terminal.sees("passphrase of ana's key:");
    terminal.type_line(&format!("typed wrong\x15{PASSPHRASE}oo\x7f\x7f"));
    terminal.sees("ana (device");
    assert!(terminal.ends().success());
    assert!(!terminal.all().contains("queijo"), "{}", terminal.all());
    let mut terminal = Terminal::start(world.ana.command(&["whoami"]));
    terminal.sees("passphrase of ana's key:");
    terminal.press(INTERRUPT);
    terminal.sees("no passphrase was given");
    assert_eq!(terminal.ends().code(), Some(64));
    assert!(terminal.is_sane());
}

#[test]
fn programs_give_it_in_a_file_or_on_stdin() {
    let world = World::protected();
    let ana = &world.ana;
    let file = world.file("passphrase", PASSPHRASE);
    let told = fails(ana, &["whoami"], 78);
    assert!(told.contains("--passphrase-file"), "{told}");
    fails(ana, &["--no-input", "whoami"], 78);
    ana.ok(&["--passphrase-file", &file, "whoami"]);
    let wrong = world.file("wrong", "pão de batata");
    let error = fails(ana, &["--json", "--passphrase-file", &wrong, "whoami"], 77);
    let error: Value = serde_json::from_str(error.trim()).expect("JSON");
    assert_eq!(error["error"]["code"], "wrong_passphrase");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("ours");
    let told = fails(ana, &["--passphrase-file", &file, "whoami"], 78);
    assert!(told.contains("can be read by others"), "{told}");
    fails(ana, &["--passphrase-file", "nowhere", "whoami"], 74);
    // The body is what comes after it.
    let mut child = ana
        .command(&["--passphrase-file", "-", "send", "ana", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    write!(stdin, "{PASSPHRASE}\nthe body\n").expect("it is read");
    drop(stdin);
    let run = Run::from(child.wait_with_output().expect("it ends"));
    assert_eq!(
        (run.code, run.out.as_str()),
        (0, "sent to ana: 1\n"),
        "{}",
        run.err
    );
    // What needs no key asks for none.
    ana.ok(&["outbox", "ls"]);
    ana.ok(&["key", "show"]);
}

#[test]
fn a_new_key_is_under_the_same_passphrase_until_that_is_taken_off() {
    let world = World::protected();
    let ana = &world.ana;
    let file = world.file("passphrase", PASSPHRASE);
    let with = |args: &[&str]| ana.ok(&[&["--passphrase-file", &file, "--json"], args].concat());
    let show = || ana.ok(&["--json", "key", "show"]).objects().remove(0);
    let before = show();
    assert_eq!(before["protected"], true);
    let words = before["fingerprint"].as_str().expect("words");
    assert_eq!(words.split('-').count(), 5);
    with(&["key", "rotate"]);
    let after = show();
    assert_ne!(after["fingerprint"], before["fingerprint"]);
    assert_eq!(after["protected"], true);
    with(&["whoami"]);
    fails(ana, &["key", "unprotect"], 78);
    fails(ana, &["key", "protect"], 78);
    let short = world.file("short", "açaí");
    let told = ana.run(&[
        "--passphrase-file",
        &file,
        "key",
        "protect",
        "--new-passphrase-file",
        &short,
    ]);
    assert_eq!(told.code, 64, "{}", told.err);
    let other = world.file("other", "quindim e brigadeiro");
    with(&["key", "protect", "--new-passphrase-file", &other]);
    fails(ana, &["--passphrase-file", &file, "whoami"], 77);
    ana.ok(&["--passphrase-file", &other, "key", "unprotect"]);
    assert_eq!(show()["protected"], false);
    ana.ok(&["whoami"]);
}

#[test]
fn p09_a_hostile_key_file_is_refused_before_it_costs_anything() {
    let world = World::protected();
    let key = world.key_file();
    let text = fs::read_to_string(&key).expect("a key");
    let greedy = text.replace("argon2id 65536 3 1", "argon2id 4294967295 4294967295 1");
    assert_ne!(greedy, text);
    for bytes in [greedy.as_bytes(), &vec![b'x'; 100_000], b"correio-key 3\n"] {
        fs::write(&key, bytes).expect("ours");
        let told = fails(&world.ana, &["whoami"], 78);
        assert!(told.contains("does not hold a key"), "{told}");
    }
}
