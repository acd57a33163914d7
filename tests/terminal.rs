//! P12: whatever somebody else wrote, no byte of it acts on a terminal.

mod common;

use common::client::RawClient;
use common::ctl::{Ctl, Run};
use common::hostile::{HOSTILE, acting};
use common::server::Server;
use correio::protocol::codes::Code;
use correio::protocol::request::{self, Request};

fn assert_inert(run: &Run, what: &str) {
    assert_eq!(acting(&run.out), [], "{what}, stdout: {:?}", run.out);
    assert_eq!(acting(&run.err), [], "{what}, stderr: {:?}", run.err);
}

#[test]
fn p12_no_verb_prints_what_acts() {
    let server = Server::start();
    let homes = tempfile::tempdir().expect("a folder");
    let ana = Ctl::new(&server, homes.path());
    ana.ok(&["login", "ana", "--topic", "news"]);
    let mut eve = RawClient::user(&server, "eve");
    let mut ids = Vec::new();
    for text in HOSTILE {
        for to in ["ana", "news"] {
            ids.push(eve.mail(to, text.as_bytes()));
        }
        let latin: Vec<u8> = [text.as_bytes(), &[0x9b, 0xff, 0x1b, b'[', b'm']].concat();
        eve.mail("ana", &latin);
        let with_subject = |send: &mut request::Send| send.subject = text.into();
        match eve.send_with(&["ana"], b"x", with_subject) {
            Ok(_) => {}
            Err(refused) => assert_eq!(refused.code(), Some(Code::BadRequest), "{text:?}"),
        }
        let with_type = |send: &mut request::Send| send.content_type = text.into();
        drop(eve.send_with(&["ana"], b"x", with_type));
    }
    for words in [
        &["history", "news"][..],
        &["history", "--json", "news"],
        &["refresh", "--no-ack"],
        &["refresh", "--json", "--no-ack"],
        &["admin", "queue", "peek", "ana"],
        &["admin", "queue", "peek", "ana", "--json"],
        &["admin", "queue", "ls"],
        &["refresh"],
        &["read", &ids[0].to_string()],
        &["read", "--json", &ids[0].to_string()],
    ] {
        assert_inert(&ana.ok(words), &words.join(" "));
    }
}

#[test]
fn p12_no_error_prints_what_acts() {
    let server = Server::start();
    let homes = tempfile::tempdir().expect("a folder");
    let ana = Ctl::new(&server, homes.path());
    ana.ok(&["login", "ana"]);
    for text in HOSTILE.iter().filter(|text| !text.contains('\0')) {
        for words in [
            &["send", text, "-b", "x"][..],
            &["send", "ana", "-b", "x", "-s", text],
            &["topic", "join", text],
            &["topic", "info", text],
            &["history", text],
            &["join", text],
            &["read", text],
            &["--json", "send", text, "-b", "x"],
            &["admin", "user", "rm", text],
            &["--server", text, "whoami"],
            &[text],
        ] {
            let run = ana.run(words);
            assert_inert(&run, &format!("{words:?}"));
        }
    }
}

#[test]
fn p12_a_hostile_device_name_is_refused_or_shown_inert() {
    let server = Server::start();
    let homes = tempfile::tempdir().expect("a folder");
    let ana = Ctl::new(&server, homes.path());
    ana.ok(&["login", "ana"]);
    for (nth, text) in HOSTILE.iter().enumerate() {
        let mut eve = RawClient::stranger(&server);
        let register = Request::Register(request::Register {
            user: Some(format!("eve-{nth}").parse().expect("a name")),
            device: (*text).into(),
            code: None,
        });
        if eve.ask::<serde_json::Value>(&register).is_ok() {
            drop(eve.login(common::client::Wishes::default()));
        }
    }
    for words in [
        &["admin", "user", "ls"][..],
        &["admin", "session", "ls"],
        &["admin", "session", "ls", "--json"],
        &["admin", "queue", "ls"],
        &["admin", "lease", "ls"],
        &["admin", "stats"],
    ] {
        assert_inert(&ana.ok(words), &words.join(" "));
    }
}
