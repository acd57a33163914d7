//! What `mailctl` is given and cannot use: pipes nobody writes to, a stdin that is closed, files of its own that hold
//! something else. Each is told, and none is in the way of the rest.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::ctl::{Ctl, Run};
use common::server::Server;
use serde_json::Value;

struct World {
    server: Server,
    folder: tempfile::TempDir,
    ana: Ctl,
    bob: Ctl,
}

impl World {
    fn new() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [ana, bob] = ["ana", "bob"].map(|name| {
            let ctl = Ctl::new(&server, &folder.path().join(name));
            ctl.ok(&["login", name]);
            ctl
        });
        Self {
            server,
            folder,
            ana,
            bob,
        }
    }

    fn text(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The folder of ana's account.
    fn account(&self) -> PathBuf {
        let key = hex::encode(self.server.url().key);
        self.ana.home().join(key).join("ana")
    }

    fn bodies_of_bob(&self) -> Vec<String> {
        let mails = self.bob.ok(&["refresh", "--json"]).objects();
        let body = |mail: &Value| mail["body"].as_str().map(str::to_owned);
        mails.iter().filter_map(body).collect()
    }

    /// Runs ana's `mailctl`, called `m`, in a shell.
    fn shell(&self, line: &str) -> Run {
        let words = self.ana.command(&[]);
        let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().expect("a word"));
        let program = std::iter::once(words.get_program()).chain(words.get_args());
        let program: Vec<String> = program.map(quoted).collect();
        let script = format!("m() {{ {} \"$@\"; }}; {line}", program.join(" "));
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]).stdin(Stdio::null());
        Run::from(shell.output().expect("bash is there"))
    }
}

#[test]
fn a_pipe_or_a_device_is_refused_and_what_the_shell_hands_over_is_read() {
    let world = World::new();
    let fifo = world.text("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo is there").success());
    for args in [
        ["send", "bob", "-f", &fifo],
        ["send", "bob", "-a", &fifo],
        ["send", "bob", "-f", "/dev/zero"],
        ["send", "bob", "-a", "/dev/zero"],
        ["send", "bob", "-f", world.folder.path().to_str().unwrap()],
    ] {
        let run = world.ana.run(&args);
        assert_eq!(run.code, 74, "{args:?}: {run:?}");
        assert!(!run.err.contains("os error"), "{run:?}");
    }
    let refused = world.ana.run(&["send", "bob", "-f", &fifo]).err;
    assert!(
        refused.contains("is no file but a pipe or a device") && refused.contains("| mailctl send"),
        "{refused}"
    );
    for line in [
        "m send bob -f <(echo one)",
        "echo one | m send bob -f /dev/stdin",
        "echo one | m send bob -f -",
        "echo one | m send bob -",
        "m send bob - <<< one",
    ] {
        let run = world.shell(line);
        assert_eq!(run.code, 0, "{line}: {run:?}");
        assert_eq!(world.bodies_of_bob(), ["one\n"], "{line}");
    }
    let run = world.shell("m send bob -b see -a <(echo one)");
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(world.bodies_of_bob().len(), 1);
    // A file that is empty is one.
    assert_eq!(world.shell("m send bob -f /dev/null").code, 0);
    assert_eq!(world.bodies_of_bob(), [""]);
}

#[test]
fn a_closed_stdin_is_no_empty_mail() {
    let world = World::new();
    for line in [
        "m send bob - <&-",
        "m send bob -f - <&-",
        "m sendmail bob <&-",
    ] {
        let run = world.shell(line);
        assert_eq!(run.code, 74, "{line}: {run:?}");
        assert!(run.err.contains("stdin is closed"), "{run:?}");
    }
    assert!(world.bodies_of_bob().is_empty());
    assert_eq!(world.shell("m send bob - < /dev/null").code, 0);
    assert_eq!(world.bodies_of_bob(), [""], "an empty one that is meant");
}

#[test]
fn variables_that_are_empty_count_as_not_set() {
    let world = World::new();
    let state = world.folder.path().join("state");
    let mut whoami = Command::new(env!("CARGO_BIN_EXE_mailctl"));
    whoami.env_clear().env("XDG_STATE_HOME", &state);
    for name in [
        "MAILCTL_HOME",
        "MAILCTL_SERVER",
        "MAILCTL_USER",
        "MAILCTL_CONTEXT",
        "MAILCTL_ADVERTISE",
        "MAILCTL_UNDO",
        "MAILCTL_PLAIN",
        "MAILCTL_LANG",
    ] {
        whoami.env(name, "");
    }
    let server = world.server.url_file().display().to_string();
    whoami.args(["--server", &server, "login", "carol"]);
    let run = Run::from(whoami.output().expect("mailctl starts"));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(state.join("mailctl").is_dir());
}

#[test]
fn a_device_needs_a_name() {
    let world = World::new();
    for name in ["", "  "] {
        let run = world.ana.run(&["device", "rename", "1", name]);
        assert_eq!(run.code, 65, "{run:?}");
        assert!(run.err.contains("a device needs a name"), "{run:?}");
    }
}

#[test]
fn settings_that_cannot_be_read_are_told_once_and_kept() {
    let world = World::new();
    for (name, verb) in [("muted.json", "mute"), ("receipts.json", "receipts")] {
        let file = world.account().join(name);
        fs::write(&file, "garbage").expect("it can be written");
        let aside = world.account().join(format!("{name}.damaged"));
        let told = world.ana.ok(&["refresh"]);
        assert!(
            told.err.contains(&aside.display().to_string()),
            "{name}: {told:?}"
        );
        assert_eq!(fs::read(&aside).expect("it is there"), b"garbage");
        assert_eq!(world.ana.ok(&["refresh"]).err, "nothing new for ana\n");
        fs::write(&file, "more garbage").expect("it can be written");
        let told = world.ana.ok(&[verb]);
        assert!(told.err.contains("could not be read"), "{verb}: {told:?}");
    }
    world.ana.ok(&["topic", "join", "news"]);
    world.ana.ok(&["mute", "news"]);
    assert_eq!(world.ana.ok(&["mute"]).out, "news\n");
}

/// The files of ana's outbox whose names hold a word.
fn entries(account: &Path, word: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(account.join("outbox")).expect("it is there");
    let files = files.map(|entry| entry.expect("it is listed").path());
    let mut found: Vec<PathBuf> = files
        .filter(|path| path.to_string_lossy().contains(word))
        .collect();
    found.sort();
    found
}

#[test]
fn a_damaged_file_of_the_outbox_is_set_aside_and_the_others_are_sent() {
    let mut world = World::new();
    let account = world.account();
    world.server.kill9();
    for body in ["one", "two", "three"] {
        let queue = ["--timeout", "1", "send", "bob", "--queue", "-b", body];
        assert_eq!(world.ana.run(&queue).code, 69);
    }
    let second = &entries(&account, ".queued.")[1];
    fs::write(second, "{\"v\":1").expect("it can be written");
    let listed = world.ana.ok(&["outbox", "ls", "--json"]).objects();
    let states: Vec<&Value> = listed.iter().map(|row| &row["state"]).collect();
    assert_eq!(states, ["queued", "damaged", "queued"]);
    world.server.restart();
    let told = world.ana.ok(&["refresh"]).err;
    assert!(
        told.contains("outbox 2: ") && told.contains("is damaged") && told.contains("outbox rm 2"),
        "{told}"
    );
    assert_eq!(world.bodies_of_bob(), ["one", "three"]);
    assert_eq!(
        world.ana.ok(&["refresh"]).err,
        "nothing new for ana\n",
        "told once"
    );
    let listed = world.ana.ok(&["outbox", "ls", "--json"]).objects();
    assert_eq!(
        (listed.len(), &listed[0]["entry"], &listed[0]["state"]),
        (1, &2.into(), &"damaged".into())
    );
    assert_eq!(world.ana.run(&["outbox", "retry", "2"]).code, 74);
    world.ana.ok(&["outbox", "rm", "2"]);
    assert!(
        world
            .ana
            .ok(&["outbox", "ls", "--json"])
            .objects()
            .is_empty()
    );
    assert!(entries(&account, "damaged").is_empty());
}

#[test]
fn what_is_nothing_to_import_is_bad_data() {
    let world = World::new();
    let noise: Vec<u8> = (0..=255).cycle().take(3_000).collect();
    fs::write(world.folder.path().join("noise"), noise).expect("it can be written");
    fs::create_dir(world.folder.path().join("empty")).expect("it can be made");
    let [noise, empty, nowhere] = ["noise", "empty", "nowhere"].map(|name| world.text(name));
    for form in ["maildir", "mbox", "jsonl"] {
        for what in [&noise, &empty] {
            let run = world.ana.run(&["import", form, what]);
            assert_eq!(run.code, 65, "{form} {what}: {run:?}");
            assert!(run.err.starts_with("error[bad_import]: "), "{run:?}");
        }
        assert_eq!(world.ana.run(&["import", form, &nowhere]).code, 74);
    }
}
