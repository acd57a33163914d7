//! Threads end to end: replies and what they answer, how mail readers see it, and mail that came by two addresses.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::ctl::Ctl;
use common::server::Server;
use common::terminal::Terminal;
use serde_json::{Value, json};

/// A server with ana and bob, who both read news.
struct World {
    server: Server,
    ana: Ctl,
    bob: Ctl,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [ana, bob] = ["ana", "bob"].map(|name| {
            let ctl = Ctl::new(&server, &folder.path().join(name));
            ctl.ok(&["login", name, "--topic", "news"]);
            ctl
        });
        Self {
            server,
            ana,
            bob,
            folder,
        }
    }

    fn user(&self, name: &str) -> Ctl {
        let ctl = Ctl::new(&self.server, &self.folder.path().join(name));
        ctl.ok(&["login", name]);
        ctl
    }
}

fn mails(ctl: &Ctl, args: &[&str]) -> Vec<Value> {
    let mut words = args.to_vec();
    words.push("--json");
    ctl.ok(&words).objects()
}

/// Files of mails in a folder of the Maildir.
fn maildir(home: &Path, folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![home.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path
                .parent()
                .is_some_and(|parent| parent.ends_with(Path::new("mail").join(folder)))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_reply_goes_back_in_its_thread_and_marks_what_it_answers() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    ana.ok(&["send", "bob", "-s", "lunch", "-b", "12:30?"]);
    bob.ok(&["refresh"]);
    let sent = bob.ok(&["reply", "1", "-b", "at the corner"]);
    assert_eq!(sent.out, "sent to ana: 2\n");

    let told = mails(ana, &["refresh"]);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["subject"], "Re: lunch");
    assert_eq!(told[0]["body"], "at the corner");
    let thread = |mail: &Value| json!([mail["message"], mail["in_reply_to"], mail["thread"]]);
    assert_eq!(thread(&told[0]), json!([2, 1, 1]));
    ana.ok(&["reply", "2", "--quote", "-b", "yes"]);
    let shown = bob.ok(&["refresh"]).out;
    assert!(
        shown.contains("ana to bob (re 2): Re: lunch\n    bob wrote ("),
        "{shown}"
    );
    assert!(
        shown.ends_with("):\n    > at the corner\n\n    yes\n"),
        "{shown}"
    );
    let answer = mails(bob, &["read", "3"]).remove(0);
    assert_eq!(thread(&answer), json!([3, 2, 1]));
    let whole = mails(bob, &["read", "3", "--thread"]);
    let ids: Vec<&Value> = whole.iter().map(|mail| &mail["id"]).collect();
    assert_eq!(ids, [1, 3], "his own answer is not in his mailbox");
    let whole = bob.ok(&["read", "1", "--thread"]).out;
    assert!(
        whole.starts_with("1  ") && whole.contains("\n\n3  "),
        "{whole}"
    );

    // Other mail readers see the same.
    let cur = maildir(bob.home(), "cur");
    let name = |path: &PathBuf| {
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    let names: Vec<String> = cur.iter().map(name).collect();
    assert!(
        names[0].ends_with(":2,RS") && names[1].ends_with(":2,S"),
        "{names:?}"
    );
    let header = fs::read_to_string(&cur[1]).expect("a mail");
    let id = |field: &str| {
        let line = header.lines().find_map(|line| line.strip_prefix(field));
        line.unwrap_or_else(|| panic!("no {field} in {header}"))
            .to_owned()
    };
    let domain = id("Message-ID: <3@");
    assert_eq!(id("In-Reply-To: "), format!("<2@{domain}"));
    assert_eq!(id("References: "), format!("<1@{domain} <2@{domain}"));
}

#[test]
fn an_answer_to_all_goes_to_the_address_too_and_a_send_can_be_an_answer() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    ana.ok(&["send", "news", "-s", "release", "-b", "0.1"]);
    bob.ok(&["refresh"]);
    let sent = bob.ok(&["reply", "1", "--all", "-b", "fine"]).out;
    assert_eq!(sent, "sent to ana: 2\nsent to news: 3\n");
    bob.ok(&["send", "ana", "--reply-to", "1", "-b", "by the way"]);
    let told = mails(ana, &["refresh"]);
    let last = told.last().expect("a mail");
    assert_eq!(
        json!([last["subject"], last["in_reply_to"]]),
        json!(["Re: release", 1])
    );
    let run = bob.run(&["reply", "77", "-b", "x"]);
    assert_eq!(run.code, 65, "{}", run.err);
    let run = bob.run(&["reply", "1"]);
    assert_eq!(run.code, 64, "off a terminal it asks nothing: {}", run.err);
    // What is no word for stdin is a mistake.
    assert_eq!(bob.run(&["reply", "1", "text"]).code, 64);
}

#[test]
fn p03_a_mail_by_two_addresses_is_shown_once_and_stored_twice() {
    let mut world = World::new();
    world
        .ana
        .ok(&["send", "bob", "news", "-s", "both", "-b", "twice"]);
    world.server.kill9();
    world.server.restart();
    let (ana, bob) = (&world.ana, &world.bob);
    let looked = bob.ok(&["refresh", "--no-ack"]).out;
    assert_eq!(looked.matches("twice").count(), 1, "{looked}");
    assert!(looked.contains("ana to bob and news: both\n"), "{looked}");
    let each = mails(bob, &["refresh", "--no-ack"]);
    let copies: Vec<_> = each
        .iter()
        .map(|mail| json!([mail["id"], mail["message"], mail["address"]]))
        .collect();
    assert_eq!(copies, [json!([1, 1, "bob"]), json!([2, 1, "news"])]);

    let shown = bob.ok(&["refresh"]).out;
    assert!(shown.starts_with("1 mail for bob\n\n1  "), "{shown}");
    assert_eq!(shown.matches("twice").count(), 1, "{shown}");
    assert!(shown.contains("ana to bob and news: both\n"), "{shown}");
    assert_eq!(maildir(bob.home(), "cur").len(), 2);
    assert_eq!(bob.ok(&["refresh"]).out, "");
    // Both copies are acknowledged.
    let waiting = bob.ok(&["topic", "ls", "--json"]).objects();
    assert!(waiting.iter().all(|row| row["waiting"] == 0), "{waiting:?}");

    // ana has the topic's copy alone, and its number is not the message's: either calls it.
    ana.ok(&["refresh"]);
    for number in ["1", "2"] {
        assert_eq!(mails(ana, &["read", number])[0]["id"], 2);
    }
    ana.ok(&["send", "bob", "-b", "another"]);
    assert_eq!(bob.ok(&["refresh"]).out.matches("another").count(), 1);
}

#[test]
fn a_reply_is_written_at_the_terminal_or_in_an_editor() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    ana.ok(&["send", "bob", "-s", "lunch", "-b", "12:30?"]);
    bob.ok(&["refresh"]);
    let mut terminal = Terminal::start(bob.command(&["reply", "1", "--quote"]));
    terminal.sees("To ana.");
    terminal.sees("Subject: Re: lunch");
    terminal.sees("| > 12:30?");
    terminal.type_line("yes");
    terminal.sees("| ");
    terminal.type_line(".");
    terminal.sees("sent to ana: 2");
    assert_eq!(terminal.ends().code(), Some(0));

    let mut terminal = Terminal::start(bob.command(&["reply", "1"]));
    terminal.sees("Subject: Re: lunch");
    terminal.sees("| ");
    terminal.type_line("never mind");
    terminal.sees("| ");
    terminal.type_line("~x");
    terminal.sees("kept as draft");
    assert_eq!(terminal.ends().code(), Some(0));
    let kept = bob.ok(&["outbox", "ls", "--json"]).objects();
    assert_eq!(
        json!([kept[0]["state"], kept[0]["subject"]]),
        json!(["draft", "Re: lunch"])
    );
    bob.ok(&["draft", "send", &kept[0]["entry"].to_string()]);

    // What is refused then is written nowhere else.
    ana.ok(&["block", "bob"]);
    let mut terminal = Terminal::start(bob.command(&["reply", "1"]));
    terminal.sees("| ");
    terminal.type_line("my only copy");
    terminal.sees("| ");
    terminal.type_line(".");
    terminal.sees("to send it to somebody else: mailctl draft send");
    assert_eq!(terminal.ends().code(), Some(77));
    ana.ok(&["unblock", "bob"]);
    let kept = bob.ok(&["draft", "ls", "--json"]).objects();
    let entry = kept[0]["entry"].to_string();
    assert!(
        bob.ok(&["draft", "open", &entry])
            .out
            .contains("my only copy")
    );
    bob.ok(&["draft", "rm", &entry]);

    let edits = || {
        let mut command = bob.command(&["reply", "1", "--edit", "--quote"]);
        command.env("VISUAL", "sh -c 'echo edited >> \"$1\"' sh");
        command
    };
    let run = edits().output().expect("it ends");
    assert_eq!(run.status.code(), Some(64), "nobody sits there: {run:?}");
    let mut terminal = Terminal::start(edits());
    terminal.sees("sent to ana");
    assert_eq!(terminal.ends().code(), Some(0));
    let told = mails(ana, &["refresh"]);
    let bodies: Vec<&str> = told
        .iter()
        .filter_map(|mail| mail["body"].as_str())
        .collect();
    assert!(bodies[0].ends_with("> 12:30?\nyes"), "{bodies:?}");
    assert_eq!(bodies[1], "never mind", "a draft stays an answer");
    assert!(bodies[2].ends_with("> 12:30?\n\nedited\n"), "{bodies:?}");
    assert!(told.iter().all(|mail| mail["in_reply_to"] == 1), "{told:?}");
}

#[test]
fn a_mail_is_passed_on_whole_below_what_is_written_above_it() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    let carol = world.user("carol");
    let plan = world.folder.path().join("plan.pdf");
    std::fs::write(&plan, b"%PDF a plan").unwrap();
    let plan = plan.to_str().unwrap();
    ana.ok(&["send", "bob", "-s", "Friday", "-b", "see below", "-a", plan]);
    ana.ok(&["send", "bob", "-s", "Fwd: plain", "-b", "just text\n"]);
    bob.ok(&["refresh"]);

    let told = bob.ok(&[
        "forward",
        "1",
        "@carol",
        "-b",
        "what do you think?\n",
        "--json",
    ]);
    assert_eq!(told.objects()[0]["address"], "carol");
    let came = mails(&carol, &["refresh"]);
    let mail = &came[0];
    assert_eq!(
        json!([
            mail["from"],
            mail["subject"],
            mail["in_reply_to"],
            mail["thread"]
        ]),
        json!(["bob", "Fwd: Friday", 1, 1])
    );
    assert_eq!(
        json!([
            mail["attachments"][0]["name"],
            mail["attachments"][0]["content_type"]
        ]),
        json!(["plan.pdf", "application/pdf"])
    );
    let id = mail["id"].to_string();
    let into = world.folder.path().to_str().unwrap();
    let saved = mails(&carol, &["save", &id, "1", "--dir", into]);
    assert_eq!(
        std::fs::read(saved[0]["path"].as_str().unwrap()).unwrap(),
        b"%PDF a plan"
    );
    let shown = carol.ok(&["read", &id]).out;
    let above = shown.find("what do you think?").expect("what was written");
    let below = shown.find("see below").expect("what was passed on");
    assert!(above < below, "{shown}");
    for line in ["From: ana\n", "To: bob\n", "Subject: Friday\n"] {
        assert!(shown[above..below].contains(line), "{line}: {shown}");
    }
    assert_eq!(
        mails(bob, &["read", "1"])[0]["flags"],
        json!(["passed", "seen"])
    );

    // As it is, under one `Fwd:`; what goes along is added.
    bob.ok(&["forward", "2", "carol", "ana"]);
    bob.ok(&["forward", "2", "carol", "-s", "mine", "-a", plan]);
    let came = mails(&carol, &["refresh"]);
    assert_eq!(
        json!([came[0]["subject"], came[1]["subject"]]),
        json!(["Fwd: plain", "mine"])
    );
    let body = came[0]["body"].as_str().expect("a text");
    assert!(
        body.starts_with("---------- Forwarded mail ----------\n")
            && body.ends_with("\n\njust text\n"),
        "{body}"
    );
    assert_eq!(came[1]["attachments"][0]["name"], "plan.pdf");
}

#[test]
fn what_was_not_sent_was_not_passed_on() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    let carol = world.user("carol");
    ana.ok(&["send", "bob", "-s", "plain", "-b", "just text\n"]);
    bob.ok(&["refresh"]);
    bob.ok(&["forward", "1", "carol", "--draft"]);
    assert_eq!(bob.run(&["forward", "1", "nobody"]).code, 67);
    assert_eq!(mails(bob, &["read", "1"])[0]["flags"], json!(["seen"]));
    for wrong in [
        &["forward", "1"][..],
        &["forward", "1", "carol", "--edit"],
        &["forward", "1", "carol", "-", "--edit"],
        &[
            "forward",
            "1",
            "carol",
            "-b",
            "x",
            "--content-type",
            "text/html",
        ],
    ] {
        assert_eq!(bob.run(wrong).code, 64, "{wrong:?}");
    }
    assert_eq!(bob.run(&["forward", "999", "carol"]).code, 65);
    let edits = |editor: &str| {
        let mut command = bob.command(&["forward", "1", "carol", "--edit"]);
        command.env("VISUAL", editor);
        let mut terminal = Terminal::start(command);
        terminal.sees("sent to carol");
        assert_eq!(terminal.ends().code(), Some(0));
    };
    edits("sh -c 'echo above | cat - \"$1\" > \"$1.x\"; mv \"$1.x\" \"$1\"' sh");
    let came = mails(&carol, &["refresh"]);
    assert!(
        came[0]["body"]
            .as_str()
            .unwrap()
            .starts_with("above\n-----")
    );
}
