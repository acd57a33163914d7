//! `mailctl export` and `import`: everything comes back, once, and the server hears nothing of it.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::ctl::{Ctl, Run};
use common::server::Server;

struct World {
    server: Server,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            server: Server::start(),
            folder: tempfile::tempdir().expect("it is there"),
        }
    }

    fn user(&self, name: &str) -> Ctl {
        let ctl = Ctl::new(&self.server, &self.path(&format!("home-{name}")));
        ctl.ok(&["login", name]);
        ctl
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// Returns the imported mails of a home: name without flags, flags, bytes.
fn imported(ctl: &Ctl) -> BTreeSet<(String, String, Vec<u8>)> {
    let whoami = ctl.ok(&["whoami", "--json"]).objects().remove(0);
    let folder =
        Path::new(whoami["home"].as_str().expect("it is there")).join("mail/.Imported/cur");
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeSet::new();
    };
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("it is there").path();
        let name = path
            .file_name()
            .expect("it is there")
            .to_str()
            .expect("it is there");
        let (base, flags) = name.split_once(":2,").expect("it is there");
        (
            base.to_owned(),
            flags.to_owned(),
            fs::read(&path).expect("it is there"),
        )
    };
    entries.map(file).collect()
}

fn counts(run: &Run) -> (u64, u64) {
    let told = run.objects().remove(0);
    (
        told["added"].as_u64().expect("it is there"),
        told["here"].as_u64().expect("it is there"),
    )
}

/// Messages with everything that has gone wrong in an mbox before.
fn messages() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 9] = [
        b"From: a@x\nSubject: plain\n\nhello\n",
        b"From: a@x\nSubject: quoted\n\nFrom here\n>From there\n>>From where\n",
        b"From: a@x\r\nSubject: crlf\r\n\r\nFrom x\r\n\r\n",
        b"Subject: no end of the last line\n\nx",
        b"Status: RO\nX-Status: A\nSubject: own status\n\nx\n\n\n",
        b"no header at all\n",
        b"\xff\x00\xfe",
        b"From a line of its own\nSubject: x\n\nbody\n",
        b"Subject: plain\n\ntwice\n",
    ];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.to_vec()).collect();
    all.push(all[8].clone());
    all
}

fn maildir_of(folder: &Path, messages: &[Vec<u8>]) {
    for part in ["new", "cur", "tmp"] {
        fs::create_dir_all(folder.join(part)).expect("it is there");
    }
    let flags = ["", "S", "RS", "F", "FRSa"];
    for (n, message) in messages.iter().enumerate() {
        let name = format!("cur/{n:04}.host:2,{}", flags[n % flags.len()]);
        fs::write(folder.join(name), message).expect("it is there");
    }
}

fn round_trip(world: &World, messages: &[Vec<u8>]) {
    maildir_of(&world.path("source"), messages);
    let first = world.user("first");
    let all = messages.len() as u64;
    let import = |ctl: &Ctl, form: &str, from: &str| {
        counts(&ctl.ok(&["import", form, &world.text(from), "--json"]))
    };
    assert_eq!(import(&first, "maildir", "source"), (all, 0));
    assert_eq!(
        import(&first, "maildir", "source"),
        (0, all),
        "nothing twice"
    );
    let held = imported(&first);
    assert_eq!(held.len(), messages.len());
    let mut bytes: Vec<Vec<u8>> = held.iter().map(|(_, _, bytes)| bytes.clone()).collect();
    let mut sent = messages.to_vec();
    bytes.sort();
    sent.sort();
    assert!(bytes == sent, "every byte came");
    for form in ["mbox", "jsonl", "maildir"] {
        first.ok(&["export", form, &world.text(form)]);
        let other = world.user(&format!("to-{form}"));
        assert_eq!(import(&other, form, form), (all, 0), "{form}");
        assert!(imported(&other) == held, "{form} lost or changed something");
        assert_eq!(import(&other, form, form), (0, all), "{form}");
        assert_eq!(import(&first, form, form), (0, all), "{form} at home");
        if form != "maildir" {
            let again = first.run(&["export", form, &world.text(form)]);
            assert_eq!(again.code, 73, "nothing is overwritten: {again:?}");
        }
    }
    let again = first.ok(&["export", "maildir", &world.text("maildir"), "--json"]);
    assert_eq!(again.objects()[0]["there"], all);
}

#[test]
fn every_form_brings_back_every_byte_and_flag() {
    round_trip(&World::new(), &messages());
}

#[test]
fn real_mail_travels_whole() {
    let script = "import test.test_email as t; print(t.__path__[0])";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .output();
    let found = output.ok().filter(|output| output.status.success());
    let Some(found) = found else {
        return common::skip("real_mail_travels_whole", "no CPython test messages");
    };
    let folder =
        PathBuf::from(String::from_utf8(found.stdout).expect("it is there").trim()).join("data");
    let files = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| entry.expect("it is there").path());
    let real: Vec<Vec<u8>> = files
        .filter(|file| {
            file.file_name()
                .expect("it is there")
                .to_string_lossy()
                .starts_with("msg_")
        })
        .map(|file| fs::read(file).expect("it is there"))
        .collect();
    assert!(real.len() > 20);
    round_trip(&World::new(), &real);
    println!("{} messages by three roads", real.len());
}

#[test]
fn p03_received_mail_that_comes_back_by_a_file_is_known_and_the_server_hears_nothing() {
    let world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    ana.ok(&["send", "bob", "-s", "one", "-b", "hello"]);
    ana.ok(&["send", "bob", "-s", "two", "-b", "\u{1b}[2Jx"]);
    bob.ok(&["refresh", "--limit", "1"]);
    for form in ["mbox", "jsonl", "maildir"] {
        bob.ok(&["export", form, &world.text(form)]);
        let run = bob.ok(&["import", form, &world.text(form), "--json"]);
        assert_eq!(counts(&run), (0, 2), "{form}");
    }
    // Elsewhere it is imported mail, with its flags, and known as the same by every road.
    for (form, (added, here)) in [("mbox", (2, 0)), ("jsonl", (0, 2)), ("maildir", (0, 2))] {
        let run = ana.ok(&["import", form, &world.text(form), "--json"]);
        assert_eq!(counts(&run), (added, here), "{form}");
    }
    let found = ana.ok(&["search", "in:imported", "--json"]).objects();
    assert_eq!(found.len(), 2);
    assert!(
        found.iter().all(|mail| mail["kind"] == "imported"),
        "{found:?}"
    );
    let id = |subject: &str| {
        let mail = found
            .iter()
            .find(|mail| mail["subject"] == subject)
            .expect("it is there");
        mail["id"].as_str().expect("it is there").to_owned()
    };
    let one = id("one");
    assert!(ana.ok(&["read", &one]).out.contains("hello"));
    assert!(!ana.ok(&["read", &id("two")]).out.contains('\u{1b}'));
    ana.ok(&["rm", &one]);
    assert_eq!(ana.run(&["read", &one]).code, 65);
    let back = ana.ok(&["undo"]).out;
    assert_eq!(back, format!("mail {one} is back\n"));
    assert!(
        !ana.ok(&["refresh"]).out.contains("hello"),
        "it is not news"
    );
    // The next mail is the only one.
    ana.ok(&["send", "bob", "-s", "three", "-b", "x"]);
    let next = bob.ok(&["refresh", "--json"]).objects();
    let subjects: Vec<_> = next.iter().map(|mail| mail["subject"].clone()).collect();
    assert_eq!(subjects, ["two", "three"]);
}

#[test]
fn streams_go_through_pipes_and_a_broken_one_keeps_what_came_before() {
    let world = World::new();
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    ana.ok(&["send", "ana", "-s", "piped", "-b", "x"]);
    ana.ok(&["refresh"]);
    let import = |form: &str, bytes: &[u8]| {
        let mut child = bob
            .command(&["import", form, "-", "--json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is there");
        child
            .stdin
            .take()
            .expect("it is there")
            .write_all(bytes)
            .expect("it is there");
        Run::from(child.wait_with_output().expect("it is there"))
    };
    for (form, added) in [("mbox", 1), ("jsonl", 0)] {
        let out = ana
            .command(&["export", form, "-"])
            .output()
            .expect("it is there");
        assert_eq!(import(form, &out.stdout).objects()[0]["added"], added);
    }
    let broken = b"{\"kind\":\"imported\",\"body\":\"Subject: x\\n\\nwhole\\n\"}\n{\"kind\":\"notice\"}\n{\"kin";
    let run = import("jsonl", broken);
    assert_eq!(run.code, 65, "{run:?}");
    assert!(
        run.err.contains("line 3") && run.err.contains("1 mail before"),
        "{run:?}"
    );
    assert_eq!(bob.ok(&["search", "whole", "--json"]).objects().len(), 1);
    let run = import("mbox", b"Subject: no mbox\n");
    assert_eq!(run.code, 65, "{run:?}");
    assert_eq!(bob.run(&["import", "mbox", "/nowhere/at.all"]).code, 74);
    assert_eq!(bob.run(&["export", "maildir", "-"]).code, 64);
}

/// SIGKILL at many moments of an import: what is there is whole, and a last import that runs to its end has everything once.
#[test]
fn p02_p03_kill9_in_the_middle_of_an_import_loses_and_doubles_nothing() {
    let world = World::new();
    let count = common::scale("CORREIO_IMPORT", 3_000);
    let mut mbox = Vec::new();
    for n in 0..count {
        writeln!(
            mbox,
            "From a@b Mon Nov 30 12:00:00 2026\nSubject: {n}\n\nbody of {n}\n"
        )
        .expect("it is there");
    }
    fs::write(world.path("mbox"), mbox).expect("it is there");
    let bob = world.user("bob");
    let path = world.text("mbox");
    let mut seen = Vec::new();
    for step in 1..=6 {
        let mut child = bob.spawn(&["import", "mbox", &path]);
        let wanted = count * step / 8;
        common::eventually("the import is on its way, or over", || {
            let is_over = child.try_wait().expect("it is there").is_some();
            (is_over || files_below(&bob) >= wanted).then_some(())
        });
        child.kill().expect("it is there");
        child.wait().expect("it is there");
        let here = imported(&bob);
        for (_, _, bytes) in &here {
            assert!(
                bytes.starts_with(b"Subject: ") && bytes.ends_with(b"\n"),
                "half a mail"
            );
        }
        seen.push(here.len());
    }
    let last = counts(&bob.ok(&["import", "mbox", &path, "--json"]));
    assert_eq!(last.0 + last.1, count as u64);
    let here: BTreeSet<Vec<u8>> = imported(&bob)
        .into_iter()
        .map(|(_, _, bytes)| bytes)
        .collect();
    assert_eq!(here.len(), count);
    assert_eq!(imported(&bob).len(), count, "none twice");
    println!("mails here after each SIGKILL: {seen:?}");
}

fn files_below(ctl: &Ctl) -> usize {
    fn count(folder: &Path) -> usize {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let below = entries.map(|entry| entry.path()).map(|path| {
            if path.is_dir() {
                count(&path)
            } else {
                usize::from(path.to_string_lossy().contains(".import"))
            }
        });
        below.sum()
    }
    count(ctl.home())
}
