//! What surrounds the verbs, end to end: contexts, muting, explanations, manual pages.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use common::ctl::{Ctl, Run};
use common::server::Server;
use common::skip;
use serde_json::Value;

struct World {
    _server: Server,
    ana: Ctl,
    bob: Ctl,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a folder");
        let [ana, bob] = ["ana", "bob"].map(|name| {
            let ctl = Ctl::new(&server, &folder.path().join(name));
            ctl.ok(&["login", name]);
            ctl
        });
        Self {
            _server: server,
            ana,
            bob,
            _folder: folder,
        }
    }
}

/// Runs without `--server`, so that the home decides.
fn at_home(home: &Path, args: &[&str], variables: &[(&str, &str)]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_mailctl"))
        .env_clear()
        .env("HOME", home)
        .env("MAILCTL_HOME", home)
        .envs(variables.iter().copied())
        .current_dir(home)
        .args(args)
        .output()
        .expect("mailctl starts");
    Run::from(output)
}

fn object(run: &Run) -> Value {
    let mut objects = run.objects();
    assert_eq!(objects.len(), 1, "{run:?}");
    objects.remove(0)
}

#[test]
fn a_context_is_a_user_at_a_server_under_a_name() {
    let (here, there) = (Server::start(), Server::start());
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let [here, there] = [&here, &there].map(|server| server.url_file().display().to_string());
    let run = |args: &[&str]| at_home(home, args, &[]);
    let ok = |args: &[&str]| {
        let run = run(args);
        assert_eq!(run.code, 0, "{args:?}: {run:?}");
        run.out
    };
    let who = |args: &[&str], variables: &[(&str, &str)]| {
        let told = object(&at_home(
            home,
            &[&["whoami", "--json"][..], args].concat(),
            variables,
        ));
        let user = told["user"].as_str().unwrap().to_owned();
        (user, told["server"].clone())
    };
    let url = |path: &str| Value::from(std::fs::read_to_string(path).unwrap().trim());

    ok(&["--server", &here, "login", "ana"]);
    ok(&["--server", &there, "-C", "work", "login", "ana"]);
    ok(&["-C", "work", "login", "carol"]);
    let rows = ok(&["context"]);
    assert!(rows.contains("*  ana"), "{rows}");
    assert_eq!(rows.lines().count(), 4, "{rows}");

    assert_eq!(who(&[], &[]), ("ana".into(), url(&here)));
    assert_eq!(who(&["-C", "work"], &[]), ("ana".into(), url(&there)));
    assert_eq!(who(&["-C", "carol"], &[]), ("carol".into(), url(&there)));
    assert_eq!(
        who(&["-C", "work", "--as", "carol"], &[]),
        ("carol".into(), url(&there))
    );
    let work = [("MAILCTL_CONTEXT", "work")];
    assert_eq!(who(&[], &work), ("ana".into(), url(&there)));
    assert_eq!(who(&["--server", &here], &work), ("ana".into(), url(&here)));
    let both = [
        ("MAILCTL_CONTEXT", "work"),
        ("MAILCTL_SERVER", here.as_str()),
    ];
    assert_eq!(
        who(&[], &both),
        ("ana".into(), url(&there)),
        "the narrower one"
    );
    let variables = [("MAILCTL_USER", "carol"), ("MAILCTL_SERVER", here.as_str())];
    assert_eq!(
        who(&["-C", "work"], &variables),
        ("ana".into(), url(&there))
    );

    ok(&["context", "use", "carol"]);
    assert_eq!(who(&[], &[]).0, "carol");
    let shown: Value = serde_json::from_str(&ok(&["context", "show", "--json"])).unwrap();
    assert_eq!(shown["context"], "carol");
    assert_eq!(shown["server"], url(&there));
    ok(&["context", "add", "boss", "carol"]);
    assert_eq!(who(&["-C", "boss"], &[]).0, "carol");
    ok(&["context", "rm", "boss"]);
    ok(&["use", "carol"]);

    for (args, code, word) in [
        (&["-C", "nowhere", "whoami"][..], 78, "no_such_context"),
        (&["-C", "work", "--server", &here, "whoami"], 64, "usage"),
        (&["context", "rm", "carol"], 64, "usage"),
        (&["context", "add", "work", "carol"], 64, "usage"),
        (&["context", "add", "a b"], 65, "bad_name"),
        (&["context", "use", "boss"], 78, "no_such_context"),
    ] {
        let run = run(args);
        assert_eq!(run.code, code, "{args:?}: {run:?}");
        assert!(
            run.err.contains(&format!("error[{word}]")),
            "{args:?}: {run:?}"
        );
    }
    ok(&["-C", "work", "logout", "--forget", "--yes"]);
    assert!(
        !ok(&["context"]).contains("work"),
        "the name goes with the user"
    );
}

#[test]
fn what_is_muted_is_kept_and_not_announced() {
    let world = World::new();
    world.bob.ok(&["topic", "join", "news", "lab/a"]);
    assert_eq!(
        world.bob.ok(&["mute", "lab/*"]).out,
        "muted lab/*: kept, not announced; undo: mailctl unmute lab/*\n"
    );
    let mut watch = world.bob.spawn(&["watch", "--json"]);
    let mut words = BufReader::new(watch.stderr.take().unwrap()).lines();
    words.next().expect("it says that it watches").unwrap();
    world.ana.ok(&["send", "lab/a", "-b", "muted"]);
    world.ana.ok(&["send", "news", "-b", "announced"]);
    let mut heard = BufReader::new(watch.stdout.take().unwrap()).lines();
    let heard: Value = serde_json::from_str(&heard.next().unwrap().unwrap()).unwrap();
    assert_eq!(
        heard["body"], "announced",
        "what was sent before it was not said"
    );
    watch.kill().unwrap();
    watch.wait().unwrap();
    // The watch has stored it, so it is here.
    assert_eq!(world.bob.ok(&["status", "--short"]).out, "1\n");
    let topics = world.bob.ok(&["topic", "ls", "--json"]).objects();
    let muted =
        |name: &str| topics.iter().find(|row| row["topic"] == name).unwrap()["muted"].clone();
    assert_eq!((muted("lab/a"), muted("news")), (true.into(), false.into()));
    let table = world.bob.ok(&["topic"]).out;
    assert!(
        table.starts_with("Topic  Joined  Waiting  Muted\n"),
        "{table}"
    );
    assert_eq!(world.bob.ok(&["mute"]).out, "lab/*\n");
    assert!(world.bob.ok(&["refresh"]).out.contains("muted"));
    world.bob.ok(&["unmute", "lab/*"]);
    assert!(!world.bob.ok(&["topic"]).out.contains("Muted"));
    assert_eq!(
        world.bob.ok(&["unmute", "lab/*"]).out,
        "lab/* was not muted\n"
    );
    assert_eq!(world.bob.run(&["mute", "bob"]).code, 64);
    assert_eq!(world.bob.run(&["mute", "a b"]).code, 65);
}

#[test]
fn help_explains_what_is_no_verb_and_errors_explains_codes() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| at_home(folder.path(), args, &[]);
    for topic in ["exit-codes", "environment", "topics", "formatting"] {
        let page = run(&["help", topic]);
        assert_eq!((page.code, page.err.as_str()), (0, ""), "{topic}");
        insta::assert_snapshot!(format!("help_{topic}"), page.out);
        assert_eq!(object(&run(&["--json", "help", topic]))["topic"], topic);
    }
    insta::assert_snapshot!("errors_all", run(&["errors"]).out);
    insta::assert_snapshot!("errors_one", run(&["errors", "error[in_doubt]"]).out);
    let unknown = run(&["errors", "unreachabel"]);
    assert_eq!(unknown.code, 65);
    assert!(
        unknown.err.contains("did you mean unreachable?"),
        "{unknown:?}"
    );
    assert_eq!(run(&["help", "nonsense"]).code, 64);
    for words in [
        ["--home", "x", "help", "exit-codes"],
        ["help", "--home", "x", "exit-codes"],
        ["help", "exit-codes", "--as", "ana"],
    ] {
        let page = run(&words);
        assert!(page.code == 0 && page.out.contains("sysexits"), "{page:?}");
    }
}

#[test]
fn manual_pages_are_whole_and_without_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    let told = at_home(folder.path(), &["man", pages.to_str().unwrap()], &[]);
    assert_eq!(told.code, 0, "{told:?}");
    let written: Vec<&str> = told.out.lines().collect();
    for name in [
        "mailctl.1",
        "mailctl-send.1",
        "mailctl-topic-join.1",
        "mailserver.8",
        "mailserver-backup.8",
    ] {
        let page = pages.join(name);
        assert!(written.contains(&page.to_str().unwrap()), "{name}");
        assert!(
            std::fs::read_to_string(&page)
                .unwrap()
                .contains(".SH SYNOPSIS")
        );
    }
    assert!(!written.iter().any(|path| path.contains("__")));
    for (words, title) in [
        (&["man", "send"][..], ".TH MAILCTL-SEND 1"),
        (&["man", "topic", "join"], ".TH MAILCTL-TOPIC-JOIN 1"),
        (&["man", "mailserver", "backup"], ".TH MAILSERVER-BACKUP 8"),
        (&["man", "mailctl-send"], ".TH MAILCTL-SEND 1"),
    ] {
        let page = at_home(folder.path(), words, &[]);
        assert!(page.out.contains(title), "{page:?}");
    }
    let none = at_home(folder.path(), &["man", "nonsense"], &[]);
    assert!(
        none.code == 64 && none.err.contains("mailctl man ./nonsense"),
        "{none:?}"
    );
    assert!(!std::path::Path::new("nonsense").exists());
    let alone = at_home(folder.path(), &["man"], &[]);
    assert!(alone.out.contains(".TH MAILCTL 1"), "{alone:?}");
    let Ok(lint) = Command::new("mandoc")
        .args(["-T", "lint", "-W", "error"])
        .args(&written)
        .output()
    else {
        return skip(
            "manual_pages_are_whole_and_without_a_fault",
            "mandoc is missing",
        );
    };
    let faults = String::from_utf8_lossy(&lint.stdout).into_owned();
    assert!(lint.status.success(), "{faults}");
}
