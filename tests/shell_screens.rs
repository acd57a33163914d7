//! What people see in the shell, in both languages: two of them from the first word to a chat and its end, each screen
//! kept as a whole.

mod common;

use common::ctl::Ctl;
use common::server::Server;
use common::skip;
use common::tmux::Tmux;

/// What the two wait for, in the words of their language.
struct Words {
    locale: &'static str,
    announced: &'static str,
    asks: &'static str,
    open: &'static str,
    help: &'static str,
    over: &'static str,
}

const ENGLISH: Words = Words {
    locale: "C.UTF-8",
    announced: "refresh shows it",
    asks: "asks for a direct chat",
    open: "/bye ends it",
    help: "/send",
    over: "Enter goes back to the shell",
};

const PORTUGUESE: Words = Words {
    locale: "pt_BR.UTF-8",
    announced: "refresh a mostra",
    asks: "pede uma conversa direta",
    open: "/bye encerra",
    help: "/send",
    over: "Enter volta ao shell",
};

fn shell(ctl: &Ctl, locale: &str) -> Tmux {
    let mut command = ctl.command(&[]);
    command.env("LANG", locale).env("TZ", "UTC");
    let shell = Tmux::start(&command, 100, 60);
    let name = ctl.home().file_name().expect("a name").to_string_lossy();
    shell.ends_with(&format!("{name}>"));
    shell
}

/// The screens of ana and bob; nothing where there is no tmux.
fn story(test: &str, words: &Words) -> Option<String> {
    if !Tmux::is_here() {
        skip(test, "tmux is not installed");
        return None;
    }
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [ana, bob] = ["ana", "bob"].map(|name| {
        let ctl = Ctl::new(&server, &folder.path().join(name));
        ctl.ok(&["login", name]);
        ctl
    });
    // A join of a shell that beats takes a number: here the mails have them all.
    bob.ok(&["topic", "join", "news"]);
    let (at_ana, at_bob) = (shell(&ana, words.locale), shell(&bob, words.locale));
    let asks = |shell: &Tmux, prompt: &str, line: &str| {
        shell.type_line(line);
        shell.ends_with(prompt);
    };
    asks(&at_bob, "bob>", "!");
    asks(&at_ana, "ana>", "@bob @news lunch at one");
    at_bob.sees(words.announced);
    asks(&at_bob, "bob>", "refresh");
    asks(&at_bob, "bob>", "reply 1 with pleasure");
    at_ana.sees(words.announced);
    for line in [
        "raed 1",
        "send bob hi",
        "@eve hi",
        "outbox",
        "search lunch",
        "help reply",
    ] {
        asks(&at_ana, "ana>", line);
    }
    at_ana.type_line("#bob");
    at_bob.sees(words.asks);
    at_bob.type_line("y");
    at_ana.sees(words.open);
    at_bob.sees(words.open);
    at_ana.type_line("do you hear me?");
    at_bob.sees("ana| do you hear me?");
    at_bob.type_line("/help");
    at_bob.sees(words.help);
    at_ana.type_line("/bye");
    at_bob.sees(words.over);
    asks(&at_bob, "bob>", "");
    at_ana.ends_with("ana>");
    let screens = [("ana", at_ana), ("bob", at_bob)].map(|(name, shell)| {
        let screen = shell.screen();
        let lines: Vec<String> = screen.trim_end().lines().map(plain).collect();
        format!("--- {name}\n{}\n", lines.join("\n"))
    });
    Some(screens.concat())
}

/// Puts a word in the place of what differs from run to run: addresses, times and the words of keys.
fn plain(line: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(|c: char| ",;().".contains(c));
        let parts: Vec<&str> = bare.split('-').collect();
        let is_key = parts.len() == 5 && parts.iter().all(|part| part.len() == 5);
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        let is_time = bare.contains(':') && bare.split(':').all(is_number);
        match () {
            () if is_key => word.replace(bare, "KEY-WORDS"),
            () if is_time => word.replace(bare, "TIME"),
            () if bare.starts_with("tcp://") => word.replace(bare, "SERVER"),
            () => word.to_owned(),
        }
    };
    let words: Vec<String> = line.trim_end().split(' ').map(word).collect();
    words.join(" ")
}

#[test]
fn what_is_seen_in_the_shell_in_english() {
    if let Some(seen) = story("what_is_seen_in_the_shell_in_english", &ENGLISH) {
        insta::assert_snapshot!("en", seen);
    }
}

#[test]
fn what_is_seen_in_the_shell_in_portuguese() {
    if let Some(seen) = story("what_is_seen_in_the_shell_in_portuguese", &PORTUGUESE) {
        insta::assert_snapshot!("pt", seen);
    }
}
