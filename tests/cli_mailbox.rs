//! The mailbox as its user sees it: the trash, and what other mail programs do to it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::ctl::{Ctl, Run};
use common::server::Server;

/// A server, a user with mails `1` to `n` from himself, none shown yet.
fn user_with(mails: u64) -> (Server, tempfile::TempDir, Ctl) {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("it is there");
    let bob = Ctl::new(&server, &folder.path().join("home"));
    bob.ok(&["login", "bob"]);
    for n in 1..=mails {
        bob.ok(&["send", "bob", "-s", &format!("mail {n}"), "-b", "text"]);
    }
    (server, folder, bob)
}

fn subjects(run: &Run) -> Vec<String> {
    let mails = run.objects();
    let subject =
        |mail: &serde_json::Value| mail["subject"].as_str().expect("it is there").to_owned();
    mails.iter().map(subject).collect()
}

/// Returns the Maildir of the only account in a home.
fn maildir(ctl: &Ctl) -> PathBuf {
    let whoami = ctl.ok(&["whoami", "--json"]).objects().remove(0);
    Path::new(whoami["home"].as_str().expect("it is there")).join("mail")
}

/// Renames the mail with this id as another program would.
fn flag(maildir: &Path, id: u64, flags: &str) {
    let wanted = format!("{id:016}.");
    for folder in ["new", "cur"] {
        for entry in fs::read_dir(maildir.join(folder)).expect("it is there") {
            let path = entry.expect("it is there").path();
            let name = path
                .file_name()
                .expect("it is there")
                .to_str()
                .expect("it is there")
                .to_owned();
            if name.starts_with(&wanted) {
                let base = name.split(':').next().expect("it is there");
                let to = maildir.join("cur").join(format!("{base}:2,{flags}"));
                fs::rename(&path, to).expect("it is there");
            }
        }
    }
}

#[test]
fn what_is_thrown_away_comes_back_and_what_is_purged_does_not() {
    let (_server, _folder, bob) = user_with(3);
    bob.ok(&["refresh", "--limit", "1"]);
    let moved = bob.ok(&["rm", "1", "2"]);
    assert_eq!(moved.out, "moved 2 mails to the trash\n");
    assert!(moved.err.contains("mailctl undo"), "{moved:?}");
    assert_eq!(
        subjects(&bob.ok(&["refresh", "--no-ack", "--json"])),
        ["mail 3"]
    );
    let read = bob.run(&["read", "1"]);
    assert_eq!(read.code, 65, "{read:?}");
    assert!(read.err.contains("mail 1 is in the trash"), "{read:?}");

    let back = bob.ok(&["undo", "--json"]).objects();
    assert_eq!(back.len(), 2);
    assert!(back.iter().all(|row| row["restored"] == true), "{back:?}");
    bob.ok(&["read", "1"]);
    assert_eq!(
        subjects(&bob.ok(&["refresh", "--json"])),
        ["mail 2", "mail 3"]
    );
    let nothing = bob.run(&["undo"]);
    assert_eq!(nothing.code, 65, "{nothing:?}");

    let row = bob.ok(&["rm", "3", "--json"]).objects().remove(0);
    assert_eq!((&row["id"], &row["purged"]), (&3.into(), &false.into()));
    assert_eq!(bob.run(&["rm", "--purge"]).code, 64, "it asks");
    assert_eq!(
        bob.ok(&["rm", "--purge", "--yes"]).out,
        "removed mail 3 for good\n"
    );
    assert_eq!(bob.run(&["undo"]).code, 65);
    assert!(bob.run(&["read", "3"]).err.contains("no mail 3"));
    bob.ok(&["rm", "--purge", "2", "-y"]);
    let last = bob.ok(&["rm", "--purge", "--yes"]);
    assert!(
        last.out.is_empty() && last.err.contains("empty"),
        "{last:?}"
    );
}

#[test]
fn one_unknown_mail_and_nothing_is_removed() {
    let (_server, _folder, bob) = user_with(2);
    bob.ok(&["refresh"]);
    for args in [&["rm", "1", "9"][..], &["rm", "--purge", "1", "9", "-y"]] {
        let run = bob.run(args);
        assert_eq!(run.code, 65, "{run:?}");
        assert!(run.err.contains("no mail 9"), "{run:?}");
    }
    bob.ok(&["read", "1"]);
    assert_eq!(bob.run(&["rm"]).code, 64);
}

#[test]
fn p03_flags_of_other_programs_hold_and_removals_confuse_nothing() {
    let (_server, _folder, bob) = user_with(4);
    bob.ok(&["refresh", "--limit", "1"]);
    let maildir = maildir(&bob);
    flag(&maildir, 1, "RS");
    flag(&maildir, 2, "S");
    flag(&maildir, 3, "T");
    flag(&maildir, 4, "F");
    assert_eq!(subjects(&bob.ok(&["refresh", "--json"])), ["mail 4"]);
    assert_eq!(bob.run(&["read", "3"]).code, 65);
    // Everything removed: the next mail is the only one that comes.
    for folder in ["new", "cur"] {
        for entry in fs::read_dir(maildir.join(folder)).expect("it is there") {
            fs::remove_file(entry.expect("it is there").path()).expect("it is there");
        }
    }
    bob.ok(&["send", "bob", "-s", "mail 5", "-b", "text"]);
    let run = bob.ok(&["refresh", "--json"]);
    assert_eq!(subjects(&run), ["mail 5"]);
    assert!(!run.err.contains("went back"), "{run:?}");
}
