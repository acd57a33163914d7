//! Other mail programs on the mailbox as it lies: notmuch indexes and tags it, aerc reads and flags in it, and `mailctl`
//! follows. (mutt is in `cli_sendmail`.)

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::ctl::Ctl;
use common::server::Server;
use common::tmux::Tmux;
use common::{eventually, skip};
use serde_json::{Value, json};

/// A server, and bob with three mails of ana's in his mailbox, of which he has seen the first.
struct World {
    _server: Server,
    folder: tempfile::TempDir,
    ana: Ctl,
    bob: Ctl,
}

impl World {
    fn new() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a folder");
        let [ana, bob] = ["ana", "bob"].map(|name| {
            let ctl = Ctl::new(&server, &folder.path().join(name));
            ctl.ok(&["login", name]);
            ctl
        });
        for (subject, body) in [
            ("lunch", "at noon? \u{2615}"),
            ("report", "the figures"),
            ("notes", "not opened"),
        ] {
            ana.ok(&["send", "bob", "-s", subject, "-b", body]);
        }
        bob.ok(&["refresh", "--limit", "1"]);
        Self {
            _server: server,
            folder,
            ana,
            bob,
        }
    }

    /// Bob's folder, in which the Maildir is `mail`.
    fn place(&self) -> PathBuf {
        let whoami = self.bob.ok(&["whoami", "--json"]).objects().remove(0);
        PathBuf::from(whoami["home"].as_str().expect("a home"))
    }

    fn flags(&self, mail: &str) -> Value {
        let read = self.bob.ok(&["read", mail, "--json"]).objects().remove(0);
        read["flags"].clone()
    }

    fn unseen(&self) -> Vec<Value> {
        let shown = self.bob.ok(&["refresh", "--json"]).objects();
        shown.iter().map(|mail| mail["subject"].clone()).collect()
    }
}

fn is_here(program: &str) -> bool {
    let told = Command::new(program).arg("--help").output();
    told.is_ok_and(|told| told.status.success())
}

/// notmuch over a mailbox, with its settings and its index outside of it.
struct Notmuch {
    settings: PathBuf,
    home: PathBuf,
}

impl Notmuch {
    fn over(maildir: &Path, folder: &Path) -> Self {
        let home = folder.join("notmuch");
        fs::create_dir(&home).expect("a folder");
        let settings = folder.join("notmuch-settings");
        let text = format!(
            "[database]\nmail_root={}\npath={}\n[user]\nname=Bob\nprimary_email=bob@here\n[new]\ntags=\n\
             [maildir]\nsynchronize_flags=true\n",
            maildir.display(),
            home.display(),
        );
        fs::write(&settings, text).expect("a file");
        Self { settings, home }
    }

    fn ok(&self, words: &[&str]) -> String {
        let output = Command::new("notmuch")
            .args(words)
            .env("NOTMUCH_CONFIG", &self.settings)
            .env("HOME", &self.home)
            .env("LANG", "C.UTF-8")
            .output()
            .expect("notmuch starts");
        let said = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{words:?}: {said}");
        said
    }

    fn count(&self, query: &str) -> String {
        self.ok(&["count", query]).trim().to_owned()
    }
}

#[test]
fn notmuch_indexes_and_tags_and_mailctl_follows() {
    if !is_here("notmuch") {
        return skip(
            "notmuch_indexes_and_tags_and_mailctl_follows",
            "notmuch is not installed",
        );
    }
    let world = World::new();
    let notmuch = Notmuch::over(&world.place().join("mail"), world.folder.path());
    notmuch.ok(&["new"]);
    assert_eq!(notmuch.count("*"), "3");
    assert_eq!(notmuch.count("tag:unread"), "2", "bob saw the first");
    assert_eq!(notmuch.count("from:ana and subject:report"), "1");
    assert!(
        notmuch
            .ok(&["show", "subject:lunch"])
            .contains("at noon? \u{2615}")
    );

    // What it tags is a flag in the file's name, and mailctl shows no more what was read there.
    notmuch.ok(&["tag", "-unread", "+flagged", "--", "subject:report"]);
    notmuch.ok(&["tag", "+replied", "--", "subject:lunch"]);
    assert_eq!(world.flags("2"), json!(["flagged", "seen"]));
    assert_eq!(world.flags("1"), json!(["replied", "seen"]));
    assert_eq!(world.unseen(), ["notes"]);

    // And what mailctl does is found by the next look, as renamed and not as new.
    world.bob.ok(&["rm", "2"]);
    world.ana.ok(&["send", "bob", "-s", "more", "-b", "more"]);
    world.bob.ok(&["refresh", "--limit", "0"]);
    let said = notmuch.ok(&["new"]);
    assert!(said.contains("Added 1 new message"), "{said}");
    assert_eq!(notmuch.count("*"), "4");
    assert_eq!(notmuch.count("tag:unread"), "1");
    let file = notmuch.ok(&["search", "--output=files", "subject:report"]);
    assert!(file.trim().ends_with("FST"), "in the trash: {file}");
}

#[test]
fn aerc_reads_and_flags_and_mailctl_follows() {
    let name = "aerc_reads_and_flags_and_mailctl_follows";
    if !Command::new("aerc")
        .arg("-v")
        .output()
        .is_ok_and(|told| told.status.success())
    {
        return skip(name, "aerc is not installed");
    }
    if !Tmux::is_here() {
        return skip(name, "tmux is not installed");
    }
    let world = World::new();
    let settings = world.folder.path().join("settings/aerc");
    fs::create_dir_all(&settings).expect("a folder");
    let accounts = settings.join("accounts.conf");
    let text = format!(
        "[bob]\nsource = maildir://{}\ndefault = mail\nfrom = bob@here\noutgoing = /bin/true\n",
        world.place().display()
    );
    fs::write(&accounts, text).expect("a file");
    fs::set_permissions(&accounts, fs::Permissions::from_mode(0o600)).expect("it is ours");
    fs::write(
        settings.join("aerc.conf"),
        "[ui]\nsort=subject\n[filters]\ntext/plain=cat\n",
    )
    .expect("a file");
    let mut command = Command::new("aerc");
    command
        .env("HOME", world.folder.path())
        .env("XDG_CONFIG_HOME", world.folder.path().join("settings"))
        .env("XDG_DATA_HOME", world.folder.path().join("data"))
        .env("XDG_CACHE_HOME", world.folder.path().join("cache"))
        .env("LANG", "C.UTF-8");
    let aerc = Tmux::start(&command, 100, 30);
    aerc.sees("report");
    // The second by its subject is opened and flagged; the others are only listed.
    aerc.press("j");
    aerc.press("Enter");
    aerc.sees("not opened");
    aerc.type_line(":close");
    aerc.type_line(":flag");
    eventually("the flag", || {
        (world.flags("3") == json!(["flagged", "seen"])).then_some(())
    });
    aerc.type_line(":quit -f");
    aerc.ends();
    assert_eq!(world.unseen(), ["report"]);
    assert_eq!(world.flags("1"), json!(["seen"]));
}
