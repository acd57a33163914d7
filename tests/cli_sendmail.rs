//! `mailctl sendmail`, as cron and mail readers call it, and mutt itself at both ends.

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::ctl::{Ctl, Run};
use common::server::Server;
use common::terminal::Terminal;

fn users<const N: usize>(names: [&str; N]) -> (Server, tempfile::TempDir, [Ctl; N]) {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("it is there");
    let users = names.map(|name| {
        let ctl = Ctl::new(&server, &folder.path().join(name));
        ctl.ok(&["login", name, "--topic", "news"]);
        ctl
    });
    (server, folder, users)
}

fn feed(mut command: Command, message: &[u8]) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is there");
    // A program that refuses its arguments does not read.
    drop(child.stdin.take().expect("it is there").write_all(message));
    Run::from(child.wait_with_output().expect("it is there"))
}

fn sendmail(ctl: &Ctl, words: &[&str], message: &[u8]) -> Run {
    feed(ctl.command(&[&["sendmail"][..], words].concat()), message)
}

/// Returns the Maildir of the only account in a home.
fn maildir(ctl: &Ctl) -> PathBuf {
    let whoami = ctl.ok(&["whoami", "--json"]).objects().remove(0);
    Path::new(whoami["home"].as_str().expect("it is there")).join("mail")
}

/// Returns the files of received mails, in order.
fn files(ctl: &Ctl) -> Vec<String> {
    let maildir = maildir(ctl);
    let folders =
        ["new", "cur"].map(|folder| fs::read_dir(maildir.join(folder)).expect("it is there"));
    let mut paths: Vec<PathBuf> = folders
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("it is there").path())
        .collect();
    paths.sort_by_key(|path| path.file_name().expect("it is there").to_owned());
    let read = |path: &PathBuf| {
        String::from_utf8(fs::read(path).expect("it is there")).expect("it is there")
    };
    paths.iter().map(read).collect()
}

const MESSAGE: &[u8] = b"From: Mallory <root@bank>\nTo: Bob <bob@any.where>, topic+news@x\nBcc: carol@x\n\
    Subject: =?utf-8?q?caf=C3=A9?=\nMessage-ID: <1@mutt>\nIn-Reply-To: <0@mutt>\nReferences: <-1@x> <0@mutt>\n\
    Date: Mon, 30 Nov 2026 12:00:00 +0200\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
    --b\nContent-Type: text/plain; charset=utf-8\n\nat noon\n--b\nContent-Type: application/pdf; name=a.pdf\n\
    Content-Transfer-Encoding: base64\n\naGk=\n--b--\n";

#[test]
fn p04_a_message_arrives_whole_and_from_who_sent_it() {
    let (_server, folder, [ana, bob, carol]) = users(["ana", "bob", "carol"]);
    let sent = sendmail(&ana, &["-t", "-oi", "-f", "root@bank"], MESSAGE);
    assert_eq!((sent.code, &*sent.out, &*sent.err), (0, "", ""), "{sent:?}");
    let mails = bob.ok(&["refresh", "--json"]).objects();
    let addresses: Vec<_> = mails.iter().map(|mail| mail["address"].clone()).collect();
    assert_eq!(addresses, ["bob", "news"]);
    let mail = &mails[0];
    assert_eq!(mail["from"], "ana");
    assert_eq!(
        mail["to"],
        serde_json::json!(["bob", "news"]),
        "carol was blind"
    );
    assert_eq!(mail["subject"], "café");
    let body = mail["body"].as_str().expect("it is there");
    assert!(
        !body.contains("carol") && body.contains("In-Reply-To"),
        "{body}"
    );
    let shown = bob.ok(&["read", "1"]).out;
    assert!(shown.contains("café\n    at noon\n"), "{shown}");
    assert!(
        shown.contains("[1] a.pdf, application/pdf, 2 bytes"),
        "{shown}"
    );
    assert!(!shown.contains("bank"), "{shown}");
    bob.ok(&["save", "1", "--dir", &folder.path().display().to_string()]);
    assert_eq!(
        fs::read(folder.path().join("a.pdf")).expect("it is there"),
        b"hi"
    );
    // What a mail reader finds in the Maildir.
    let file = files(&bob).remove(0);
    assert!(file.starts_with("From: ana@"), "{file}");
    for line in [
        "\nTo: Bob <bob@any.where>, topic+news@x\n",
        "\nMessage-ID: <1@mutt>\n",
        "\nIn-Reply-To: <0@mutt>\n",
        "\nReferences: <-1@x> <0@mutt>\n",
        "\nDate: Mon, 30 Nov 2026 12:00:00 +0200\n",
        "\nContent-Type: multipart/mixed; boundary=b\n",
    ] {
        assert!(file.contains(line), "{line:?} in {file}");
    }
    assert!(!file.contains("bank") && !file.contains("Bcc"), "{file}");
    let blind = carol.ok(&["refresh", "--json"]).objects();
    let to: Vec<_> = blind.iter().map(|mail| mail["to"].clone()).collect();
    assert!(to.contains(&serde_json::json!(["carol"])), "{to:?}");
}

#[test]
fn cron_is_understood_also_by_the_name_sendmail() {
    let (_server, folder, [root]) = users(["root"]);
    let program = folder.path().join("sendmail");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mailctl"), &program).expect("it is there");
    let mut command = Command::new(&program);
    command.env_clear().env("MAILCTL_HOME", root.home());
    for word in ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"] {
        command.arg(word);
    }
    let message = b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@host> df\n\n.\nfull\n";
    let sent = feed(command, message);
    assert_eq!((sent.code, &*sent.out), (0, ""), "{sent:?}");
    let shown = root.ok(&["refresh"]).out;
    assert!(
        shown.contains("Cron <root@host> df\n    .\n    full\n"),
        "{shown}"
    );
    // Without -i a dot alone ends it; a text needs no header.
    assert_eq!(
        sendmail(&root, &["root"], b"just: text, really\n.\nnot sent\n").code,
        0
    );
    let shown = root.ok(&["refresh"]).out;
    assert!(!shown.contains("not sent"), "{shown}");
}

#[test]
fn failures_have_the_codes_of_sysexits() {
    let (mut server, _folder, [ana, bob]) = users(["ana", "bob"]);
    let message = b"Subject: x\n\nhello\n";
    assert_eq!(sendmail(&ana, &["nobody-here"], message).code, 67);
    let some = sendmail(&ana, &["bob", "nobody-here"], message);
    assert_eq!(some.code, 67, "{some:?}");
    assert_eq!(sendmail(&ana, &["-i"], message).code, 64);
    assert_eq!(sendmail(&ana, &["-t"], message).code, 64);
    assert_eq!(sendmail(&ana, &["-bs"], message).code, 64);
    assert_eq!(sendmail(&ana, &["-Z", "bob"], message).code, 64);
    server.kill9();
    let queued = sendmail(&ana, &["bob"], b"Subject: later\n\nx\n");
    assert_eq!(queued.code, 0, "{queued:?}");
    assert!(queued.err.contains("queued in the outbox"), "{queued:?}");
    server.restart();
    ana.ok(&["refresh"]);
    let got = bob.ok(&["refresh", "--json"]).objects();
    let subjects: Vec<_> = got.iter().map(|mail| mail["subject"].clone()).collect();
    assert_eq!(subjects, ["x", "later"]);
}

/// mutt opens bob's Maildir as it is, reads ana's mail and answers through `mailctl sendmail`.
#[test]
fn mutt_reads_and_answers() {
    let Some(mutt) = ["mutt", "neomutt"].into_iter().find(|name| {
        let told = Command::new(name).arg("-v").output();
        told.is_ok_and(|told| told.status.success())
    }) else {
        return common::skip(
            "mutt_reads_and_answers",
            "neither mutt nor neomutt is installed",
        );
    };
    let (_server, folder, [ana, bob]) = users(["ana", "bob"]);
    ana.ok(&["send", "bob", "-s", "lunch", "-b", "12:30 at the corner?"]);
    ana.ok(&["send", "bob", "-s", "second", "-b", "not opened"]);
    bob.ok(&["refresh", "--limit", "0"]);
    let editor = folder.path().join("editor");
    fs::write(&editor, "#!/bin/sh\nprintf 'yes, at noon\\n' > \"$1\"\n").expect("it is there");
    let mut mode = fs::metadata(&editor).expect("it is there").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o700);
    fs::set_permissions(&editor, mode).expect("it is there");
    let maildir = maildir(&bob);
    let rc = folder.path().join("muttrc");
    let settings = format!(
        "set folder={0}\nset spoolfile={0}\nset sendmail=\"{1} --home {2} sendmail -oi\"\n\
         set editor={3}\nset from=bob@here\nset realname=Bob\nset sort=subject\nset copy=no\nset record=\n\
         set header_cache=\nset mail_check=1\nset abort_nosubject=no\nset include=no\nset confirmappend=no\n\
         set wait_key=no\nset fast_reply=yes\nset edit_headers=no\nset signature=\nset charset=utf-8\n",
        maildir.display(),
        env!("CARGO_BIN_EXE_mailctl"),
        bob.home().display(),
        editor.display(),
    );
    fs::write(&rc, settings).expect("it is there");
    let mut command = Command::new(mutt);
    command
        .args([
            "-F",
            rc.to_str().expect("it is there"),
            "-f",
            maildir.to_str().expect("it is there"),
        ])
        .env("HOME", folder.path())
        .env("LANG", "C.UTF-8");
    let mut terminal = Terminal::start(command);
    terminal.sees("lunch");
    terminal.press("\r"); // reads the first
    terminal.sees("12:30 at the corner?");
    terminal.press("r"); // answer, through the editor
    terminal.sees("Compose");
    terminal.press("y"); // sends it
    terminal.sees("Mail sent");
    terminal.press("q");
    terminal.press("q");
    assert!(terminal.ends().success(), "{}", terminal.all());

    // What mutt read is seen; what it only listed is not.
    let left = bob.ok(&["refresh", "--json"]).objects();
    let subjects: Vec<_> = left.iter().map(|mail| mail["subject"].clone()).collect();
    assert_eq!(subjects, ["second"]);
    let flags = bob.ok(&["read", "1", "--json"]).objects().remove(0)["flags"].clone();
    assert_eq!(flags, serde_json::json!(["replied", "seen"]));
    let answer = ana.ok(&["refresh", "--json"]).objects().remove(0);
    assert_eq!(answer["from"], "bob");
    assert_eq!(answer["subject"], "Re: lunch");
    assert_eq!(answer["in_reply_to"], 1);
    assert!(ana.ok(&["read", "3"]).out.contains("yes, at noon"));
    // It threads: mutt at ana's finds what was answered.
    let original = files(&bob).remove(0);
    let id = |file: &str, field: &str| {
        let line = file
            .lines()
            .find(|line| line.starts_with(field))
            .expect("it is there");
        line.split_once(": ").expect("it is there").1.to_owned()
    };
    let file = files(&ana).pop().expect("it is there");
    assert_eq!(id(&file, "In-Reply-To: "), id(&original, "Message-ID: "));
}
