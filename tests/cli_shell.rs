//! The shell on a real (pseudo) terminal: the seed's words, errors that leave the prompt usable, word of
//! what arrives meanwhile, and nothing sent by mistake.

mod common;

use std::os::unix::fs::PermissionsExt;

use common::client::RawClient;
use common::ctl::Ctl;
use common::hostile::{HOSTILE, assert_terminal_inert};
use common::server::Server;
use common::terminal::{END, INTERRUPT, Terminal};
use rustix::process::Signal;

/// Types a line and waits for the answer and the next prompt.
#[track_caller]
fn asks(terminal: &mut Terminal, line: &str, answer: &str) {
    terminal.type_line(line);
    terminal.sees(answer);
    terminal.sees("ana> ");
}

#[test]
fn the_seeds_words_work_at_a_prompt() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    ana.ok(&["login", "ana"]);
    bob.ok(&["login", "bob"]);
    bob.ok(&["send", "ana", "-s", "hi", "-b", "hello\u{1b}[2J ana"]);

    let mut terminal = Terminal::shell(&ana);
    terminal.sees("1 mail waiting");
    terminal.sees("ana> ");
    asks(
        &mut terminal,
        "refresh",
        "bob to ana: hi\r\n    hello␛[2J ana",
    );
    asks(&mut terminal, "refresh", "nothing new for ana");
    asks(&mut terminal, "help", "@name [text]");
    asks(&mut terminal, "!news", "joined news");
    asks(&mut terminal, "!", "news   yes");
    asks(&mut terminal, "!-news", "left news");
    asks(&mut terminal, "@bob see you at 5", "sent to bob: ");

    // Composing: a subject, a text, a dot.
    terminal.type_line("@bob");
    terminal.sees("Subject");
    terminal.type_line("lunch");
    terminal.sees("| ");
    terminal.type_line("12:30?");
    terminal.sees("| ");
    asks(&mut terminal, ".", "sent to bob: ");

    // Mistakes send nothing and leave the prompt.
    asks(&mut terminal, "refersh", "did you mean `refresh`");
    asks(&mut terminal, "bob hello", "Nothing was sent");
    asks(&mut terminal, "#", "the name goes here");
    asks(&mut terminal, "@ bob", "the name goes here");
    asks(&mut terminal, "@nobody hello", "error[no_such_address]");
    terminal.type_line("@bob");
    terminal.sees("Subject");
    terminal.press(INTERRUPT);
    terminal.sees("nothing was sent");

    // A server that restarts is found again.
    server.kill9();
    server.restart();
    asks(&mut terminal, "@bob after the crash", "sent to bob: ");
    terminal.type_line("quit");
    assert_eq!(terminal.ends().code(), Some(0));

    let mails = bob.ok(&["refresh", "--json"]).objects();
    let bodies: Vec<&str> = mails
        .iter()
        .filter_map(|mail| mail["body"].as_str())
        .collect();
    assert_eq!(bodies, ["see you at 5", "12:30?", "after the crash"]);
    assert_eq!(mails[1]["subject"], "lunch");
}

/// Types a line of a mail and waits for what it brings.
#[track_caller]
fn writes(terminal: &mut Terminal, line: &str, seen: &str) {
    terminal.type_line(line);
    terminal.sees(seen);
    terminal.sees("| ");
}

#[test]
fn a_mail_is_edited_gets_files_and_is_kept_as_a_draft() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana"]);
    let [notes, editor] = ["notes.txt", "editor"].map(|name| folder.path().join(name));
    std::fs::write(&notes, "from a file\n").expect("a file");
    std::fs::write(&editor, "kill -INT $PPID; echo EDITED >> \"$1\"\n").expect("a script");
    let mut command = ana.command(&[]);
    command.env("EDITOR", format!("sh {}", editor.display()));
    let mut terminal = Terminal::start(command);
    terminal.sees("ana> ");

    terminal.type_line("@ana");
    terminal.sees("Subject");
    writes(&mut terminal, "files", "files");
    writes(&mut terminal, "one", "one");
    writes(&mut terminal, "~e", "2 lines; go on");
    let notes = notes.display();
    writes(&mut terminal, &format!("~r {notes}"), "1 line of");
    writes(&mut terminal, "~a /nowhere", "cannot read /nowhere");
    writes(&mut terminal, &format!("~a {notes}"), "12 bytes");
    writes(&mut terminal, "~~", "~~");
    writes(&mut terminal, "~p", "| EDITED");
    asks(&mut terminal, ".", "sent to ana: 1");

    // One key drops nothing, and a draft stays.
    terminal.type_line("@ana");
    terminal.sees("Subject");
    writes(&mut terminal, "later", "later");
    writes(&mut terminal, "not yet", "not yet");
    terminal.press(INTERRUPT);
    terminal.sees("~x keeps it");
    asks(&mut terminal, "~x", "kept as draft ");
    terminal.type_line("quit");
    assert_eq!(terminal.ends().code(), Some(0));

    // A terminal that goes away sends nothing half written.
    let mut terminal = Terminal::shell(&ana);
    terminal.sees("ana> ");
    terminal.type_line("@ana");
    terminal.sees("Subject");
    writes(&mut terminal, "half", "half");
    writes(&mut terminal, "a sentence", "a sentence");
    terminal.signal(Signal::HUP);
    terminal.ends();

    let drafts = ana.ok(&["outbox", "--json"]).objects();
    let subjects: Vec<_> = drafts
        .iter()
        .map(|draft| draft["subject"].as_str())
        .collect();
    assert_eq!(subjects, [Some("later"), Some("half")]);
    let shown = ana.ok(&["refresh"]).out;
    let text = "    one\n    EDITED\n    from a file\n    ~\n  [1] notes.txt, text/plain, 12 bytes";
    assert!(shown.contains(text), "{shown}");
}

#[test]
fn what_arrives_is_said_above_the_line_being_typed() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    ana.ok(&["login", "ana", "--topic", "news"]);
    bob.ok(&["login", "bob"]);

    let mut terminal = Terminal::shell(&ana);
    terminal.sees("ana> ");
    terminal.press("@bob half a li");
    terminal.sees("half a li");
    bob.ok(&["send", "news", "-s", "lunch", "-b", "12:30?"]);
    terminal.sees("@news from bob: lunch - refresh shows it");
    terminal.sees("ana> @bob half a li");
    terminal.type_line("ne");
    terminal.sees("sent to bob: ");

    // Also while a text is being written, which nobody's words get into.
    terminal.sees("ana> ");
    terminal.type_line("@bob");
    terminal.sees("Subject");
    terminal.type_line("long");
    terminal.sees("| ");
    terminal.press("one ");
    bob.ok(&["send", "ana", "-b", "x"]);
    terminal.sees("@ana from bob - refresh shows it");
    terminal.sees("| one ");
    terminal.type_line("two");
    terminal.sees("| ");
    terminal.type_line(".");
    terminal.sees("sent to bob: ");

    // It was unseen until now, and is not announced once more.
    asks(&mut terminal, "refresh", "12:30?");
    asks(&mut terminal, "refresh", "nothing new for ana");
    assert_eq!(terminal.count("refresh shows it"), 2);
    let bodies = bob.ok(&["refresh", "--json"]).objects();
    let bodies: Vec<_> = bodies.iter().map(|mail| mail["body"].as_str()).collect();
    assert_eq!(bodies, [Some("half a line"), Some("one two")]);
}

#[test]
fn a_server_that_goes_and_comes_is_said_once_each() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana"]);
    let mut terminal = Terminal::start(ana.command(&["--timeout", "3600"]));
    terminal.sees("ana> ");
    terminal.press("he");
    server.kill9();
    terminal.sees("the server does not answer; trying again");
    terminal.sees("ana> he");
    terminal.type_line("lp");
    terminal.sees("@name [text]");
    // Nobody waits an hour for what is known to be gone.
    asks(&mut terminal, "!news", "error[unreachable]");
    asks(&mut terminal, "@ana lost?", "kept in the outbox as 1");
    server.restart();
    terminal.sees("the server is back");
    // What was written goes out by itself.
    terminal.sees("outbox 1: sent to ana: ");
    terminal.sees("@ana from ana");
    assert_eq!(
        terminal.count("the server does not answer; trying again"),
        1
    );
    assert_eq!(terminal.count("the server is back"), 1);
    terminal.type_line("quit");
    assert_eq!(terminal.ends().code(), Some(0));
    assert!(terminal.is_sane());
}

#[test]
fn a_shell_starts_without_its_server_and_finds_it() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    ana.ok(&["login", "ana"]);
    bob.ok(&["login", "bob"]);
    bob.ok(&["send", "ana", "-s", "lunch", "-b", "at noon"]);
    ana.ok(&["refresh"]);
    server.kill9();
    let mut terminal = Terminal::shell(&ana);
    terminal.sees("0 mails waiting here");
    terminal.sees("the server does not answer; trying again");
    terminal.sees("ana> ");
    asks(&mut terminal, "read 1", "bob to ana: lunch");
    asks(&mut terminal, "search noon", "lunch");
    asks(&mut terminal, "refresh", "error[unreachable]");
    asks(
        &mut terminal,
        "@bob later",
        "the server does not answer; kept in the outbox as 1",
    );
    asks(&mut terminal, "reply 1 gladly", "kept in the outbox as 2");
    asks(&mut terminal, "outbox", "1  queued  bob");
    server.restart();
    terminal.sees("the server is back");
    terminal.sees("outbox 1: sent to bob: ");
    terminal.sees("outbox 2: sent to bob: ");
    asks(&mut terminal, "outbox", "the outbox is empty");
    let bodies = bob.ok(&["refresh", "--json"]).objects();
    let bodies: Vec<_> = bodies.iter().map(|mail| mail["body"].as_str()).collect();
    assert_eq!(bodies, [Some("later"), Some("gladly")]);
    terminal.type_line("!news");
    terminal.sees("joined news");
    bob.ok(&["send", "ana", "-s", "live", "-b", "x"]);
    terminal.sees("@ana from bob: live");
    assert_eq!(terminal.count("the server does not answer; trying"), 1);
    terminal.type_line("quit");
    assert_eq!(terminal.ends().code(), Some(0));
}

#[test]
fn what_is_typed_while_a_word_waits_is_for_the_next_line() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana"]);
    let mut terminal = Terminal::start(ana.command(&["--timeout", "60"]));
    terminal.sees("ana> ");
    server.signal(Signal::STOP);
    terminal.type_line("!news");
    common::eventually("keys are kept", || terminal.keeps_keys().then_some(()));
    terminal.press("outb");
    server.signal(Signal::CONT);
    terminal.sees("joined news");
    terminal.sees("outb");
    assert_eq!(terminal.count("outb"), 1, "{}", terminal.all());
    asks(&mut terminal, "ox", "the outbox is empty");
    // An end that is pressed meanwhile is not lost either.
    server.signal(Signal::STOP);
    terminal.type_line("!-news");
    common::eventually("keys are kept", || terminal.keeps_keys().then_some(()));
    terminal.press(END);
    server.signal(Signal::CONT);
    terminal.sees("left news");
    assert_eq!(terminal.ends().code(), Some(0));
    assert!(terminal.is_sane());
}

#[test]
fn verbs_without_a_word_of_their_own_work_as_beside_the_shell() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "eve"]);
    ana.ok(&["login", "ana"]);
    ana.ok(&["use", "ana"]);
    let mut terminal = Terminal::shell(&ana);
    terminal.sees("ana> ");
    // Whoever becomes somebody else in another terminal changes nothing here.
    ana.ok(&["use", "eve"]);
    asks(&mut terminal, "whoami", "ana");
    asks(&mut terminal, "mute news", "muted news");
    asks(&mut terminal, "mute", "news");
    asks(&mut terminal, "unmute news", "announced again");
    asks(&mut terminal, "block eve", "eve");
    asks(&mut terminal, "unblock eve", "eve");
    asks(&mut terminal, "receipts on", "on");
    asks(&mut terminal, "status", "0");
    asks(&mut terminal, "device rename 2 laptop", "laptop");
    asks(&mut terminal, "device rm 2", "error[denied]");
    terminal.type_line("@eve");
    terminal.sees("Subject");
    terminal.type_line("kept");
    terminal.type_line("a text");
    terminal.type_line("~x");
    asks(&mut terminal, "draft open 1", "a text");
    asks(&mut terminal, "draft send 1", "sent to eve");
    ana.ok(&["--as", "eve", "send", "ana", "-s", "plan", "-b", "at noon"]);
    terminal.sees("@ana from eve: plan");
    asks(&mut terminal, "refresh", "at noon");
    asks(&mut terminal, "forward 2 eve -b look", "sent to eve: 3");
    asks(&mut terminal, "draft", "there are no drafts");
    terminal.type_line("quit");
    assert_eq!(terminal.ends().code(), Some(0));
}

#[test]
fn ctrl_c_ends_the_word_and_not_the_shell() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana", "--topic", "news"]);
    let mut terminal = Terminal::shell(&ana);
    terminal.sees("ana> ");
    // A server that hangs: what was tried is in doubt.
    server.signal(Signal::STOP);
    terminal.type_line("@news are you there?");
    common::eventually("it is on its way", || {
        let listed = ana.ok(&["outbox", "--json"]).objects();
        (listed.first()?["state"] == "sending").then_some(())
    });
    terminal.signal(Signal::INT);
    // In doubt, or on a busy machine not on its way yet: it waits all the same.
    terminal.sees(" kept in the outbox as ");
    terminal.sees("ana> ");
    terminal.type_line("refresh");
    common::eventually("a word waits", || terminal.keeps_keys().then_some(()));
    terminal.signal(Signal::INT);
    terminal.sees("error[interrupted]");
    terminal.sees("ana> ");
    // At the prompt it drops the line.
    terminal.press("@news dropped");
    terminal.sees("dropped");
    terminal.press(INTERRUPT);
    terminal.sees("\x1b[?2004l");
    terminal.sees("ana> ");
    // What was in doubt settles by itself, once.
    server.signal(Signal::CONT);
    asks(&mut terminal, "!news", "joined news");
    terminal.type_line("quit");
    assert_eq!(terminal.ends().code(), Some(0));
    let mails = ana.ok(&["history", "news", "--json"]).objects();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert!(ana.ok(&["outbox", "--json"]).objects().is_empty());
}

#[test]
fn verbs_are_words_with_the_same_arguments() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    ana.ok(&["login", "ana", "--topic", "news"]);
    bob.ok(&["login", "bob"]);
    let file = folder.path().join("my notes.txt");
    std::fs::write(&file, "noted").expect("a file");
    bob.ok(&[
        "send",
        "news",
        "-s",
        "files",
        "-b",
        "see",
        "-a",
        &file.display().to_string(),
    ]);
    let mut terminal = Terminal::shell(&ana);
    terminal.sees("1 mail waiting; topics: news");
    terminal.sees("ana> ");
    asks(&mut terminal, "read 1", "error[no_such_mail]");
    asks(&mut terminal, "history news", "[1] my notes.txt");
    asks(&mut terminal, "refresh", "[1] my notes.txt");
    asks(&mut terminal, "read 1", "bob to news: files");
    let into = folder.path().display();
    asks(
        &mut terminal,
        &format!("save 1 --dir '{into}'"),
        "my notes (2).txt",
    );
    asks(&mut terminal, "rm 1", "to the trash");
    asks(&mut terminal, "read 1", "in the trash");
    asks(&mut terminal, "undo", "mail 1 is back");
    asks(&mut terminal, "reply 1 gladly", "sent to bob: 2");
    asks(
        &mut terminal,
        "reply --all 1 all the same",
        "sent to news: 4",
    );
    terminal.type_line("reply 1");
    terminal.sees("Subject: Re: files");
    terminal.type_line("another");
    terminal.type_line("~x");
    terminal.sees("outbox retry 3 sends it");
    asks(&mut terminal, "reply 77 hm", "error[no_such_mail]");
    asks(
        &mut terminal,
        "reply gladly",
        "it is written `reply N [text]`",
    );
    let mails = bob.ok(&["refresh", "--json"]).objects();
    let shown = |mail: &serde_json::Value| format!("{} {}", mail["subject"], mail["body"]);
    let shown: Vec<_> = mails.iter().map(shown).collect();
    assert_eq!(
        shown,
        [r#""Re: files" "gladly""#, r#""Re: files" "all the same""#]
    );
    assert!(
        mails
            .iter()
            .all(|mail| mail["thread"] == mails[0]["thread"])
    );
    // What nobody takes is kept.
    terminal.type_line("@bbo @bob");
    terminal.sees("Subject (Enter for none): ");
    terminal.type_line("kept");
    terminal.type_line("a long text");
    terminal.type_line(".");
    terminal.sees("error[no_such_address]: bbo");
    terminal.sees("draft send 4 --to NAME");
    terminal.sees("ana> ");
    ana.ok(&["draft", "send", "4", "--to", "@bob"]);
    let kept = bob.ok(&["refresh", "--json"]).objects();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(
        kept.iter()
            .all(|mail| mail["body"] == "a long text" && mail["subject"] == "kept")
    );
    asks(&mut terminal, "who eve", "error[no_such_address]");
    asks(&mut terminal, "who", "bob   no");
    asks(&mut terminal, "topics", "news   yes");
    asks(&mut terminal, "outbox", "3  draft  bob");
    asks(&mut terminal, "outbox rm 3", "removed");
    asks(&mut terminal, "outbox", "the outbox is empty");
    asks(&mut terminal, "outbox rm 7", "error[no_such_entry]");
    asks(&mut terminal, "read x", "it is written `read N`");
    asks(&mut terminal, "send bob hi", "`@name text` sends");
    let history = std::fs::metadata(ana.home().join("history")).expect("a history");
    assert_eq!(history.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_logout_elsewhere_is_said_and_the_next_word_logs_in_again() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana"]);
    let mut terminal = Terminal::shell(&ana);
    terminal.sees("ana> ");
    terminal.press("he");
    ana.ok(&["logout"]);
    terminal.sees("error[logged_out]");
    terminal.sees("ana> he");
    terminal.type_line("lp");
    terminal.sees("@name [text]");
    asks(&mut terminal, "@ana hello again", "sent to ana: ");
    terminal.sees("@ana from ana - refresh shows it");
    assert_eq!(terminal.count("error["), 1);
}

#[test]
fn p06_a_shell_holds_a_port_and_gives_it_back() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana"]);
    let held = || {
        let leases = ana.ok(&["admin", "lease", "ls", "--json"]).objects();
        let is_held = |lease: &&serde_json::Value| lease["state"] == "held";
        leases.iter().filter(is_held).count()
    };
    for signal in [None, Some(Signal::TERM), Some(Signal::HUP)] {
        let mut terminal = Terminal::shell(&ana);
        terminal.sees("ana> ");
        assert_eq!(held(), 1);
        match signal {
            None => terminal.type_line("quit"),
            Some(signal) => terminal.signal(signal),
        }
        assert_eq!(terminal.ends().code(), Some(0), "{signal:?}");
        assert_eq!(held(), 0, "{signal:?}");
        assert!(terminal.is_sane(), "{signal:?}");
    }
}

#[test]
fn p12_what_is_announced_never_acts() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana", "--topic", "news"]);
    let mut eve = RawClient::user(&server, "eve");
    let mut terminal = Terminal::shell(&ana);
    terminal.sees("ana> ");
    terminal.press("half");
    let mut shown = 0;
    for hostile in HOSTILE {
        let subject = |send: &mut correio::protocol::request::Send| send.subject = hostile.into();
        if eve.send_with(&["news"], b"x", subject).is_ok() {
            terminal.sees("@news from eve: ");
            terminal.sees("ana> half");
            shown += 1;
        }
    }
    assert!(shown > 1, "{shown} hostile subjects were accepted");
    assert_terminal_inert(&terminal.all());
}
