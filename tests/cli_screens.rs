//! What people see, verb by verb, in both languages: one walk each, kept as a whole. What differs from run to run
//! (keys, ports, times, folders) stands as a word.

mod common;

use std::fmt::Write;
use std::path::Path;

use common::ctl::{Ctl, Run};
use common::server::Server;

/// The walk of one language.
struct Walk {
    locale: &'static str,
    /// What is written as a word, longest first.
    words: Vec<(String, &'static str)>,
    told: String,
}

impl Walk {
    fn new(locale: &'static str, server: &Server, folder: &Path) -> Self {
        let url = std::fs::read_to_string(server.url_file()).expect("the server is ready");
        let (endpoint, key) = url.trim().split_once("?key=").expect("an address");
        let endpoint = endpoint.trim_start_matches("correio://").to_owned();
        let data = server.url_file();
        let data = data.parent().expect("its folder").display().to_string();
        let words = vec![
            (key.to_owned(), "KEY"),
            (data, "DATA"),
            (folder.display().to_string(), "FOLDER"),
            (endpoint, "SERVER"),
        ];
        Self {
            locale,
            words,
            told: String::new(),
        }
    }

    /// Runs a line and keeps what was seen; on stderr lines begin with `!`.
    fn sees(&mut self, ctl: &Ctl, args: &[&str]) {
        let mut command = ctl.command(args);
        command.env("LANG", self.locale).env("TZ", "UTC");
        let run = Run::from(command.output().expect("mailctl starts"));
        let name = ctl.home().file_name().expect("a name").to_string_lossy();
        let line = args.join(" ");
        writeln!(
            self.told,
            "{name}$ mailctl {}",
            self.plain(&line).trim_end()
        )
        .expect("text");
        let out = self.plain(&run.out);
        self.told.push_str(&out);
        for line in self.plain(&run.err).lines() {
            writeln!(self.told, "! {line}").expect("text");
        }
        if run.code != 0 {
            writeln!(self.told, "[{}]", run.code).expect("text");
        }
        self.told.push('\n');
    }

    fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, word) in &self.words {
            text = text.replace(value, word);
        }
        let mut plain = String::with_capacity(text.len());
        for line in text.lines() {
            plain.extend([&without_times(line), "\n"]);
        }
        plain
    }
}

/// Puts `HH:MM` in the place of times, `HEX` in that of long hexadecimal numbers.
fn without_times(line: &str) -> String {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let word = |word: &str| -> String {
        let bare = word.trim_matches(|c: char| ",;().".contains(c));
        let is_time = bare.len() == 5
            && bare
                .split_once(':')
                .is_some_and(|(hour, minute)| is_digits(hour) && is_digits(minute));
        let is_hex = bare.len() >= 8 && bare.bytes().all(|c| c.is_ascii_hexdigit());
        match () {
            () if is_time => word.replace(bare, "HH:MM"),
            () if is_hex => word.replace(bare, "HEX"),
            () => word.to_owned(),
        }
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn walk(locale: &'static str) -> String {
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let [ana, bob, eva] = ["ana", "bob", "eva"].map(|name| {
        let home = folder.path().join(name);
        Ctl::new(&server, &home)
    });
    let mut walk = Walk::new(locale, &server, folder.path());
    let nobody = &eva;
    for args in [
        &["whoami"][..],
        &["read", "1"],
        &["context"],
        &["-C", "work", "whoami"],
        &["login", "a b"],
        &["sned", "bob"],
        &["send"],
        &["errors", "unreachabel"],
        &["errors", "needs_code"],
        &["json-schema", "nonsense"],
    ] {
        walk.sees(nobody, args);
    }
    walk.sees(
        &bob,
        &["login", "bob", "--topic", "lab/*", "--device-name", "desk"],
    );
    walk.sees(&ana, &["login", "ana"]);
    for args in [
        &["topic"][..],
        &["topic", "join", "news", "lab/a", "lab/b"],
        &["topic"],
        &["topic", "info", "news"],
        &["topic", "join", "bob"],
        &["send", "bob", "-s", "lunch", "-b", "12:30?"],
        &["send", "bob", "bbo", "-b", "x"],
        &["send", "bob", "-b", "not now", "--draft"],
        &["draft"],
        &["outbox"],
        &["outbox", "rm", "9"],
        &["refresh"],
        &["undo"],
        &["read", "99"],
        &["block", "eva"],
        &["chat", "requests"],
        &["chat", "accept"],
        &["mute", "ana"],
        &["receipts"],
        &["device", "rm", "77", "--yes"],
        &["who", "bbo"],
    ] {
        walk.sees(&ana, args);
    }
    walk.sees(&bob, &["refresh"]);
    walk.sees(&bob, &["refresh"]);
    walk.sees(&bob, &["status"]);
    for topic in ["lab/a", "lab/b", "lab/a", "bob", "lab/b"] {
        ana.ok(&["send", topic, "-s", "measured", "-b", "21.5"]);
    }
    for args in [
        &["status"][..],
        &["mute", "lab/a"],
        &["mute", "lab/a"],
        &["mute"],
        &["status"],
        &["topic"],
        &["refresh"],
        &["read", "1"],
        &["search", "measured"],
        &["search", "nothing-of-that"],
        &["rm", "1"],
        &["undo"],
        &["unmute", "lab/a"],
        &["context"],
        &["context", "add", "work", "bob"],
        &["context", "rm", "work"],
        &["context", "rm", "bob"],
        &["device"],
        &["device", "rename", "1", "lamp"],
        &["who", "ana"],
        &["invite", "ls"],
    ] {
        walk.sees(&bob, args);
    }
    for args in [
        &["admin", "user", "ls"][..],
        &["admin", "topic", "ls"],
        &["admin", "queue", "ls"],
        &["admin", "queue", "peek", "ana"],
        &["admin", "user", "rm", "nobody"],
    ] {
        walk.sees(&bob, args);
    }
    server.terminate();
    walk.sees(&ana, &["send", "bob", "-b", "to nobody"]);
    walk.sees(&ana, &["refresh"]);
    walk.sees(&ana, &["status"]);
    walk.sees(&ana, &["outbox"]);
    walk.sees(&ana, &["whoami"]);
    walk.told
}

#[test]
fn what_is_seen_in_english() {
    insta::assert_snapshot!("en", walk("C"));
}

#[test]
fn what_is_seen_in_portuguese() {
    insta::assert_snapshot!("pt", walk("pt_BR.UTF-8"));
}
