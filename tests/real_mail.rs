//! The main job on mail that nobody here wrote: `CPython`'s RFC 5322 test messages, broken ones
//! included, each sent to a user and to a topic through a SIGKILL of the server half way.

#![expect(
    clippy::print_stdout,
    reason = "what happened belongs in the test's output"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::ctl::Ctl;
use common::server::Server;
use serde_json::Value;

/// One mail as a reader gets it: its subject (the file's name) and its bytes.
type Got = (String, Vec<u8>);

/// Returns `CPython`'s test messages, of any Python on this machine that has them.
fn messages() -> Option<Vec<PathBuf>> {
    let script = "import test.test_email as t; print(t.__path__[0])";
    let found = ["python3", "/usr/bin/python3"]
        .into_iter()
        .find_map(|python| {
            let output = Command::new(python).args(["-c", script]).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output
                .status
                .success()
                .then(|| PathBuf::from(text.trim()).join("data"))
        })?;
    let entries = std::fs::read_dir(found).ok()?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder lists").path())
        .collect();
    files.retain(|file| name(file).starts_with("msg_"));
    files.sort();
    (!files.is_empty()).then_some(files)
}

fn name(file: &Path) -> String {
    let name = file.file_name().expect("files have names");
    name.to_string_lossy().into_owned()
}

fn send(from: &Ctl, file: &Path) {
    let path = file.to_str().expect("CPython's files have plain names");
    let run = from.ok(&[
        "--json",
        "send",
        "@bob",
        "@news",
        "-s",
        &name(file),
        "-f",
        path,
    ]);
    let outcomes = run.objects();
    assert_eq!(outcomes.len(), 2, "{run:?}");
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome["durability"] == "fsync"),
        "{run:?}"
    );
}

/// Begins a send, waits until `mailctl` has written it down, which it does before the first try, and
/// kills the server.
fn send_through_a_kill(from: &Ctl, home: &Path, file: &Path, server: &mut Server) {
    let path = file.to_str().expect("CPython's files have plain names");
    let subject = name(file);
    let args = [
        "--json",
        "--timeout",
        "2",
        "send",
        "@bob",
        "@news",
        "-s",
        &subject,
        "-f",
        path,
    ];
    let mut sending = from.spawn(&args);
    common::eventually("the send is in the outbox, or over", || {
        let is_over = sending.try_wait().expect("it is our child").is_some();
        (is_over || holds(home, subject.as_bytes())).then_some(())
    });
    server.kill9();
    let output = sending.wait_with_output().expect("mailctl ends");
    let code = output.status.code();
    println!("the send under way at the kill ended with {code:?}");
    // Answered, in doubt, or never tried: the last is a draft that the user sends himself.
    assert!(matches!(code, Some(0 | 75 | 69)), "{output:?}");
    server.restart();
    if code == Some(69) {
        from.ok(&["outbox", "retry"]);
    }
}

/// Says whether a file anywhere in a folder holds some bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        let content = std::fs::read(&path).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes) || holds(&path, bytes)
    })
}

fn refresh(reader: &Ctl) -> Vec<Got> {
    let mails = reader.ok(&["--json", "refresh"]).objects();
    mails
        .iter()
        .filter(|mail| mail["kind"] == "mail")
        .map(got)
        .collect()
}

fn got(mail: &Value) -> Got {
    let text = |field: &str| mail[field].as_str().map(str::to_owned);
    let body = match (text("body"), text("body_base64")) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(coded)) => BASE64_STANDARD.decode(coded).expect("base64"),
        both => panic!("one of body and body_base64: {both:?}"),
    };
    (text("subject").expect("a subject"), body)
}

#[test]
fn p02_p03_real_mail_survives_a_kill_byte_for_byte() {
    let Some(files) = messages() else {
        let reason = "no CPython test messages (Debian: libpython3.11-testsuite, by its version)";
        return common::skip("p02_p03_real_mail_survives_a_kill_byte_for_byte", reason);
    };
    let mut server = Server::start();
    let homes = tempfile::tempdir().expect("a temporary folder");
    let home = |user: &str| Ctl::new(&server, &homes.path().join(user));
    let (ana, bob, carol) = (home("ana"), home("bob"), home("carol"));
    ana.ok(&["login", "ana", "--topic", "news"]);
    bob.ok(&["login", "bob"]);
    carol.ok(&["login", "carol", "--topic", "news"]);

    let (first, second) = files.split_at(files.len() / 2);
    let (met, second) = second.split_first().expect("there are many files");
    for file in first {
        send(&ana, file);
    }
    send_through_a_kill(&ana, &homes.path().join("ana"), met, &mut server);
    for file in second {
        send(&ana, file);
    }

    let bytes = |file: &PathBuf| std::fs::read(file).expect("a file reads");
    let sent: Vec<Got> = files.iter().map(|file| (name(file), bytes(file))).collect();
    for (user, reader) in [("bob", &bob), ("carol", &carol)] {
        let got = refresh(reader);
        let names = |mails: &[Got]| mails.iter().map(|mail| mail.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&got), names(&sent), "{user}: each once, in order");
        for (got, sent) in got.iter().zip(&sent) {
            assert!(got.1 == sent.1, "{user}: {} came back changed", sent.0);
        }
        assert!(refresh(reader).is_empty(), "{user}: nothing is shown twice");
    }
    println!("{} messages, two readers, one SIGKILL", files.len());
}
