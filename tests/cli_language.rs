//! `mailctl` in Portuguese, as its users meet it: chosen by the locale, told by the same server, and never under
//! `--json`.

mod common;

use common::ctl::{Ctl, Run};
use common::server::Server;

/// Runs with these variables in the environment.
fn run(ctl: &Ctl, locale: &[(&str, &str)], args: &[&str]) -> Run {
    let mut command = ctl.command(args);
    command.envs(locale.iter().copied());
    Run::from(command.output().expect("mailctl starts"))
}

const BRAZIL: &[(&str, &str)] = &[("LANG", "pt_BR.UTF-8")];

/// Puts a run into the story, without what differs from run to run.
fn tell(story: &mut String, server: &Server, args: &[&str], run: &Run) {
    let url = server.url();
    let endpoint = url.endpoint(url.port);
    let said = format!("{}{}", run.out, run.err);
    let said = said
        .replace(&url.to_string(), "URL")
        .replace(&endpoint, "SERVIDOR");
    let time = |word: &str| {
        let digits = word.trim_matches(|c: char| !c.is_ascii_digit());
        word.len() == 5 && digits.len() == 5 && word.as_bytes()[2] == b':'
    };
    let words = said
        .split(' ')
        .map(|word| if time(word) { "HORA" } else { word });
    let said = words.collect::<Vec<_>>().join(" ");
    *story += &format!("$ mailctl {}\n{said}[{}]\n", args.join(" "), run.code);
}

#[test]
fn a_walk_in_portuguese() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    bob.ok(&["login", "bob"]);
    let mut story = String::new();
    for args in [
        &["login", "ana", "--topic", "news"][..],
        &["topic", "ls"],
        &["topic", "info", "news"],
        &["topic", "join", "bob"],
        &["send", "bbo", "-b", "oi"],
        &["send", "@bob", "-s", "Almoço", "-b", "À uma?"],
        &["send", "@ana", "-b", "para mim"],
        &["refresh"],
        &["refresh"],
        &["block", "bob"],
        &["block"],
        &["unblock", "bob"],
        &["outbox"],
        &["read", "99"],
        &["chat", "requests"],
        &["chat", "accept"],
        &["use", "carla"],
        &["login", "#ana"],
        &["admin", "user", "ls"],
        &["sned"],
        &["send"],
        &["topic", "leave", "news"],
        &["logout"],
    ] {
        let run = run(&ana, BRAZIL, args);
        tell(&mut story, &server, args, &run);
    }
    story = story.replace(&folder.path().display().to_string(), "PASTA");
    insta::assert_snapshot!("walk", story);
}

#[test]
fn the_first_variable_that_says_anything_decides() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let greets = |locale: &[(&str, &str)]| {
        let run = run(&ana, locale, &["whoami", "--help"]);
        assert_eq!(run.code, 0, "{}", run.err);
        run.out.lines().next().unwrap_or_default().to_owned()
    };
    let (english, portuguese) = ("Show who you are, and where", "Mostra quem você é, e onde");
    assert_eq!(greets(&[]), english);
    assert_eq!(greets(&[("LANG", "pt_PT")]), portuguese);
    assert_eq!(greets(&[("LANG", "pt_BR"), ("LC_MESSAGES", "C")]), english);
    assert_eq!(
        greets(&[
            ("LANG", "C"),
            ("LC_ALL", "pt_BR.UTF-8"),
            ("LC_MESSAGES", "en")
        ]),
        portuguese
    );
    assert_eq!(
        greets(&[("MAILCTL_LANG", "pt"), ("LC_ALL", "en_US.UTF-8")]),
        portuguese
    );
    assert_eq!(
        greets(&[("MAILCTL_LANG", "en"), ("LANG", "pt_BR")]),
        english
    );
    assert_eq!(
        greets(&[("MAILCTL_LANG", ""), ("LANG", "pt_BR")]),
        portuguese
    );
}

#[test]
fn programs_read_english_everywhere() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana"]);
    for args in [
        &["--json", "send", "bbo", "-b", "oi"][..],
        &["--json", "sned"],
        &["--json", "use", "carla"],
        &["--json", "refresh"],
    ] {
        let (here, there) = (run(&ana, BRAZIL, args), run(&ana, &[], args));
        assert_eq!(
            (here.code, here.out, here.err),
            (there.code, there.out, there.err),
            "{args:?}"
        );
    }
}
