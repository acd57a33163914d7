//! The shell in a real terminal (tmux): what stands on the screen in the end, whatever was typed, pasted,
//! resized and sent by others meanwhile.

mod common;

use std::process::Command;

use common::client::RawClient;
use common::ctl::Ctl;
use common::hostile::{HOSTILE, acting};
use common::server::Server;
use common::skip;
use common::tmux::Tmux;

/// A server with ana, whose shell is looked at, and bob.
struct House {
    server: Server,
    _folder: tempfile::TempDir,
    ana: Ctl,
    bob: Ctl,
}

impl House {
    /// Makes it; nothing where there is no tmux.
    fn new(test: &str) -> Option<Self> {
        if !Tmux::is_here() {
            skip(test, "tmux is not installed");
            return None;
        }
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ana = Ctl::new(&server, &folder.path().join("ana"));
        let bob = Ctl::new(&server, &folder.path().join("bob"));
        ana.ok(&["login", "ana", "--topic", "news"]);
        bob.ok(&["login", "bob"]);
        Some(Self {
            server,
            _folder: folder,
            ana,
            bob,
        })
    }

    fn shell(&self, args: &[&str], columns: u16, rows: u16) -> Tmux {
        self.shell_with(args, &[], columns, rows)
    }

    fn shell_with(&self, args: &[&str], env: &[(&str, &str)], columns: u16, rows: u16) -> Tmux {
        let mut command = self.ana.command(args);
        command.envs(env.iter().copied());
        let tmux = Tmux::start(&command, columns, rows);
        tmux.ends_with("ana>");
        tmux
    }

    fn bodies_of_bob(&self) -> Vec<String> {
        let mails = self.bob.ok(&["refresh", "--json"]).objects();
        let body = |mail: &serde_json::Value| mail["body"].as_str().map(str::to_owned);
        mails.iter().filter_map(body).collect()
    }
}

#[test]
fn p12_hostile_mail_changes_nothing_but_its_own_lines() {
    let Some(house) = House::new("p12_hostile_mail_changes_nothing_but_its_own_lines") else {
        return;
    };
    let mut eve = RawClient::user(&house.server, "eve");
    // Without a pager, so that all of it goes over the screen.
    let plain = [("PAGER", "cat"), ("NO_COLOR", "1")];
    let shell = house.shell_with(&[], &plain, 60, 50);
    shell.types("half");
    let title = shell.title();
    let mut marks = 0;
    for text in HOSTILE {
        let bytes: Vec<u8> = [text.as_bytes(), &[0x9b, b'2', b'J', 0xff, 0x1b, b'c']].concat();
        let long = format!("{text}{}", "long ".repeat(60));
        for body in [text.as_bytes(), &bytes, long.as_bytes()] {
            marks += 1;
            let subject = |send: &mut correio::protocol::request::Send| {
                send.subject = format!("mark {marks}");
            };
            eve.send_with(&["ana"], body, subject)
                .expect("a body is bytes");
        }
        let subject = |send: &mut correio::protocol::request::Send| send.subject = text.into();
        drop(eve.send_with(&["ana"], b"x", subject));
    }
    // One by one, or counted where several came at once.
    common::eventually("all of it is announced", || {
        let all = shell.all();
        let counted = all.lines().filter_map(|line| {
            let (number, _) = line.split_once(" mails to ana - ")?;
            number.parse::<usize>().ok()
        });
        let single = all.matches("@ana from eve: mark ").count();
        (single + counted.sum::<usize>() >= marks).then_some(())
    });
    shell.ends_with("ana> half");
    shell.press("C-u");
    shell.type_line("refresh");
    common::eventually("all of it is shown", || {
        let all = shell.all();
        all.contains(&format!(": mark {marks}\n")).then_some(())
    });
    shell.ends_with("ana>");
    let all = shell.all();
    assert_eq!(acting(&all), [], "{all}");
    assert_eq!(shell.title(), title);
    // At the left edge stand only words of ours.
    let is_ours = |line: &str| {
        line.is_empty()
            || line.starts_with(' ')
            || [
                "ana",
                "@",
                "To ",
                "eve ",
                "help, Ctrl-D",
                "while you were away",
            ]
            .iter()
            .any(|ours| line.starts_with(ours))
            || line.starts_with(|c: char| c.is_ascii_digit())
                && (line.contains("eve to ana") || line.contains("mails to ana - refresh"))
    };
    let forged: Vec<&str> = all.lines().filter(|line| !is_ours(line)).collect();
    assert_eq!(forged, Vec::<&str>::new());
}

#[test]
fn a_line_survives_resizes_wrapping_and_mail() {
    let Some(house) = House::new("a_line_survives_resizes_wrapping_and_mail") else {
        return;
    };
    let shell = house.shell(&[], 40, 20);
    let text = "日本語 e\u{301}a combining, ascii and more of it until the line has wrapped";
    shell.types(&format!("@bob {text}"));
    shell.sees("wrapped");
    house.bob.ok(&["send", "ana", "-s", "昼食", "-b", "x"]);
    shell.sees("@ana from bob");
    for (columns, rows) in [(20, 12), (100, 30), (30, 8)] {
        shell.resize(columns, rows);
        house.bob.ok(&["send", "news", "-b", "y"]);
        shell.sees("wrapped");
    }
    shell.types("!");
    shell.press("Enter");
    shell.sees("sent to bob");
    assert_eq!(house.bodies_of_bob(), [format!("{text}!")]);
}

#[test]
fn what_is_pasted_is_asked_about_and_never_a_row_of_words() {
    let Some(house) = House::new("what_is_pasted_is_asked_about_and_never_a_row_of_words") else {
        return;
    };
    let shell = house.shell(&[], 80, 24);
    shell.paste("some text\n@bob not meant\n");
    shell.press("Enter");
    shell.sees("several lines were pasted");
    shell.ends_with("ana>");
    shell.paste("@bob one\n@ana two\n");
    shell.press("Enter");
    shell.sees("send these 2 lines to bob as one mail? [y/N]");
    shell.press("Enter");
    shell.sees("nothing was sent");
    shell.ends_with("ana>");
    shell.paste("@bob one\n@ana two");
    shell.press("Enter");
    shell.sees("[y/N]");
    shell.type_line("y");
    shell.sees("sent to bob");
    // Within a mail it is text.
    shell.type_line("@bob");
    shell.sees("Subject");
    shell.type_line("pasted");
    shell.paste("a\n.\n~q\n@ana b");
    shell.sees("@ana b");
    shell.press("Enter");
    shell.type_line(".");
    shell.ends_with("ana>");
    assert_eq!(house.bodies_of_bob(), ["one\n@ana two", "a\n.\n~q\n@ana b"]);
}

#[test]
fn who_quits_the_pager_early_finds_the_rest_unseen() {
    let Some(house) = House::new("who_quits_the_pager_early_finds_the_rest_unseen") else {
        return;
    };
    if Command::new("less").arg("-V").output().is_err() {
        return skip("who_quits_the_pager_early_finds_the_rest_unseen", "no less");
    }
    for nth in 1..=40 {
        let body = format!("text of {nth}\nand a second line");
        house.bob.ok(&["send", "ana", "-b", &body]);
    }
    let shell = house.shell(&["--color", "never"], 80, 24);
    shell.type_line("refresh");
    shell.sees("while you were away: 40 mails for ana");
    shell.sees("text of 3\n");
    shell.press("q");
    shell.sees("the others stay unseen");
    shell.ends_with("ana>");
    let left = house
        .ana
        .ok(&["refresh", "--json", "--no-ack"])
        .objects()
        .len();
    assert!((30..40).contains(&left), "{left} left");
    // To the end, everything counts.
    shell.type_line("refresh");
    shell.sees("while you were away");
    shell.press("G");
    shell.sees("text of 40");
    shell.press("q");
    shell.ends_with("ana>");
    shell.type_line("refresh");
    shell.sees("nothing new for ana");
}

#[test]
fn tab_knows_who_was_heard_of_last_and_unseen_mails() {
    let Some(house) = House::new("tab_knows_who_was_heard_of_last_and_unseen_mails") else {
        return;
    };
    let shell = house.shell(&[], 80, 24);
    house.bob.ok(&["send", "ana", "-s", "lunch", "-b", "x"]);
    shell.sees("@ana from bob: lunch");
    shell.types("@b");
    shell.press("Tab");
    shell.ends_with("ana> @bob");
    shell.press("C-u");
    shell.types("read ");
    shell.press("Tab");
    shell.ends_with("ana> read 1");
    shell.press("Enter");
    shell.sees("bob to ana: lunch");
    shell.ends_with("ana>");
    shell.press("C-d");
    shell.ends();
    // Later sessions know him too.
    let shell = house.shell(&[], 80, 24);
    shell.type_line("#nobody-here");
    shell.sees("no_such_address");
    shell.type_line("@nobody-here hi");
    shell.sees("kept as draft 1; to send it to somebody else: draft send 1 --to NAME");
    shell.types("@n");
    shell.press("Tab");
    shell.ends_with("ana> @news");
    shell.press("C-u");
    house.bob.ok(&["topic", "join", "lab/x"]);
    house.bob.ok(&["topic", "join", "lab/y"]);
    shell.type_line("!lab/x");
    shell.sees("joined lab/x");
    // Of topics those that are there, of one's own those that can be left; never a user.
    shell.types("!");
    shell.press("Tab");
    shell.ends_with("ana> !");
    shell.sees("!lab/x   !news");
    shell.press("C-u");
    shell.types("!-l");
    shell.press("Tab");
    shell.ends_with("ana> !-lab/x");
    shell.press("C-u");
    shell.types("#b");
    shell.press("Tab");
    shell.ends_with("ana> #bob");
}

#[test]
fn a_shell_that_was_stopped_goes_on_where_it_was() {
    let Some(house) = House::new("a_shell_that_was_stopped_goes_on_where_it_was") else {
        return;
    };
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile"]).env("PS1", "outside> ");
    let shell = Tmux::start(&bash, 80, 24);
    shell.ends_with("outside>");
    let command = house.ana.command(&[]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let set = |(name, value): (&std::ffi::OsStr, Option<&std::ffi::OsStr>)| {
        let value = value.unwrap_or_default().to_string_lossy();
        format!("{}='{}'", name.to_string_lossy(), value)
    };
    let set: Vec<String> = command.get_envs().map(set).collect();
    shell.type_line(&format!("clear; {} {}", set.join(" "), words.join(" ")));
    shell.ends_with("ana>");
    shell.types("top");
    shell.press("C-z");
    shell.ends_with("outside>");
    shell.type_line("clear; fg");
    shell.ends_with("ana> top");
    shell.type_line("ics");
    shell.sees("news   yes");
    shell.ends_with("ana>");
    assert_eq!(
        shell.screen().matches("ics").count(),
        1,
        "{}",
        shell.screen()
    );
}

#[test]
fn plain_lines_follow_each_other_and_nothing_is_redrawn() {
    let Some(house) = House::new("plain_lines_follow_each_other_and_nothing_is_redrawn") else {
        return;
    };
    let shell = house.shell(&["--plain"], 20, 24);
    shell.types("@bob half");
    house.bob.ok(&["send", "ana", "-s", "lunch", "-b", "x"]);
    shell.sees("@ana from bob");
    shell.ends_with("ana>");
    // What was typed before still counts.
    shell.type_line(" a line");
    shell.sees("sent to bob");
    assert_eq!(house.bodies_of_bob(), ["half a line"]);
    shell.types("dropped");
    shell.press("C-c");
    shell.type_line("refresh");
    shell.sees("1 mail for ana");
    assert_eq!(acting(&shell.all()), []);
}
