//! `mailctl search`: what is found, in which order, and how that is told.

mod common;

use common::ctl::{Ctl, Run};
use common::server::Server;

fn subjects(run: &Run) -> Vec<String> {
    let mails = run.objects();
    let subject =
        |mail: &serde_json::Value| mail["subject"].as_str().expect("it is there").to_owned();
    mails.iter().map(subject).collect()
}

#[test]
fn what_fits_is_found_newest_first() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("it is there");
    let [ana, bob] = ["ana", "bob"].map(|name| {
        let ctl = Ctl::new(&server, &folder.path().join(name));
        ctl.ok(&["login", name, "--topic", "news"]);
        ctl
    });
    let plan = folder.path().join("Straßenplan.txt");
    std::fs::write(&plan, "x").expect("it is there");
    let plan = plan.display().to_string();
    ana.ok(&[
        "send",
        "bob",
        "-s",
        "Almoço",
        "-b",
        "see you at the CORNER, João",
    ]);
    ana.ok(&["send", "news", "-s", "release", "-b", "lunchtime is over"]);
    bob.ok(&[
        "send",
        "bob",
        "-s",
        "note to self",
        "-b",
        "lunch",
        "-a",
        &plan,
    ]);
    bob.ok(&["refresh"]);
    let found = |words: &[&str]| {
        let run = bob.ok(&[&["search", "--json"][..], words].concat());
        subjects(&run)
    };
    assert_eq!(found(&["lunch"]), ["note to self", "release"]);
    assert_eq!(found(&["lunch", "-from:ana"]), ["note to self"]);
    assert_eq!(found(&["\"lunch\""]), ["note to self"], "whole words");
    assert_eq!(found(&["almoco", "joao"]), ["Almoço"]);
    assert_eq!(found(&["\"you at the corner\""]), ["Almoço"]);
    assert!(found(&["\"corner you\""]).is_empty());
    assert_eq!(found(&["in:news"]), ["release"]);
    assert_eq!(
        found(&["has:attachment", "strassenplan"]).len(),
        0,
        "ß is no ss"
    );
    assert_eq!(found(&["has:attachment", "straßenplan"]), ["note to self"]);
    assert_eq!(found(&["from:ana", "since:today", "to:bob"]), ["Almoço"]);
    assert_eq!(found(&["from:ana", "--limit", "1"]), ["release"]);
    assert!(found(&["before:1h"]).is_empty());
    bob.ok(&["rm", "1"]);
    assert!(
        found(&["almoço"]).is_empty(),
        "what is in the trash is not found"
    );
    bob.ok(&["undo"]);

    let shown = bob.ok(&["search", "from:ana"]).out;
    let rows: Vec<&str> = shown.lines().collect();
    assert!(rows[0].starts_with("ID  When"), "{shown}");
    assert!(
        rows[1].starts_with(" 2") && rows[2].starts_with(" 1"),
        "{shown}"
    );
    assert!(rows[2].ends_with("ana   bob   Almoço"), "{shown}");

    let nothing = bob.ok(&["search", "dinner"]);
    assert!(nothing.out.is_empty() && nothing.err.contains("nothing found"));
    assert_eq!(bob.run(&["search", "dinner", "--exit-code"]).code, 1);
    assert_eq!(bob.run(&["search", "since:soon"]).code, 64);
    assert_eq!(bob.run(&["search"]).code, 64);
    let flags = bob.ok(&["read", "2", "--json"]).objects().remove(0);
    assert_eq!(flags["flags"], serde_json::json!(["seen"]));
}
