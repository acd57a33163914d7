//! `mailctl` end to end against the real server: the walk of a new user, the JSON forms and exit
//! codes that scripts rely on, and what hostile strings may not do.

mod common;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use common::ctl::{Ctl, Run};
use common::server::Server;
use correio::cli::untrusted::is_active;
use serde_json::{Value, json};

/// A server and two people, each on a machine of their own.
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
        let ana = Ctl::new(&server, &folder.path().join("ana"));
        let bob = Ctl::new(&server, &folder.path().join("bob"));
        ana.ok(&["login", "ana"]);
        bob.ok(&["login", "bob"]);
        Self {
            server,
            ana,
            bob,
            folder,
        }
    }

    fn home(&self, name: &str) -> Ctl {
        Ctl::new(&self.server, &self.folder.path().join(name))
    }
}

/// Runs with `input` on stdin.
fn run_with(ctl: &Ctl, args: &[&str], input: &[u8]) -> Run {
    let mut child = ctl
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mailctl starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    stdin.write_all(input).expect("stdin takes it");
    drop(stdin);
    Run::from(child.wait_with_output().expect("it ends"))
}

/// Runs and expects this exit code.
#[track_caller]
fn fails(ctl: &Ctl, args: &[&str], code: i32) -> Run {
    let run = ctl.run(args);
    assert_eq!(run.code, code, "mailctl {args:?}: {}{}", run.out, run.err);
    run
}

/// Runs with `--json`, expects this exit code, and one error line with its four fields on stderr.
#[track_caller]
fn error_of(ctl: &Ctl, args: &[&str], code: i32) -> Value {
    let mut words = vec!["--json"];
    words.extend(args);
    let run = fails(ctl, &words, code);
    let lines: Vec<Value> = run
        .err
        .lines()
        .map(|line| serde_json::from_str(line).expect("stderr is JSON"))
        .collect();
    let errors: Vec<&Value> = lines
        .iter()
        .filter(|line| !line["error"].is_null())
        .collect();
    assert_eq!(errors.len(), 1, "{}", run.err);
    assert_eq!(errors[0]["v"], 1);
    let error = errors[0]["error"].clone();
    assert!(
        error["code"].is_string() && error["text"].is_string(),
        "{error}"
    );
    assert!(error["retryable"].is_boolean(), "{error}");
    assert!(
        error.as_object().expect("an object").contains_key("ref"),
        "{error}"
    );
    error
}

fn json_of(ctl: &Ctl, args: &[&str]) -> Vec<Value> {
    let mut words = vec!["--json"];
    words.extend(args);
    let run = ctl.ok(&words);
    let objects = run.objects();
    assert_eq!(objects.len(), run.out.lines().count(), "{}", run.out);
    assert!(objects.iter().all(|object| object["v"] == 1), "{}", run.out);
    objects
}

#[test]
fn a_new_user_walks_through() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    ana.ok(&["topic", "join", "news"]);
    bob.ok(&["login", "bob", "--topic", "news"]);
    let sent = ana.ok(&["send", "@bob", "news", "-s", "lunch", "-b", "12:30?"]);
    assert_eq!(sent.out, "sent to bob: 1\nsent to news: 2\n");
    let read = bob.ok(&["refresh"]);
    assert!(
        read.out.starts_with("1 mail for bob\n\n1  "),
        "{}",
        read.out
    );
    assert!(
        read.out
            .contains("ana to bob and news: lunch\n    12:30?\n"),
        "{}",
        read.out
    );
    let again = bob.ok(&["refresh"]);
    assert_eq!(
        (again.out.as_str(), again.err.as_str()),
        ("", "nothing new for bob\n")
    );
    assert!(bob.ok(&["read", "1"]).out.contains("12:30?"));
    assert!(bob.ok(&["history", "news"]).out.starts_with("2  "));
    assert!(ana.ok(&["whoami"]).out.starts_with("ana (device "));
    assert_eq!(bob.ok(&["topic", "leave", "news"]).out, "left news\n");
    for never in ["news", "nowhere", "nowhere/*"] {
        let told = bob.ok(&["topic", "leave", never]).out;
        assert_eq!(told, format!("{never} was not joined\n"));
    }
    bob.ok(&["topic", "join", "wide/*"]);
    assert_eq!(bob.ok(&["topic", "leave", "wide/*"]).out, "left wide/*\n");
    assert!(ana.ok(&["logout"]).out.starts_with("logged out ana"));
    ana.ok(&["send", "bob", "-b", "still known"]);
}

#[test]
fn p03_the_exact_bytes_arrive_once() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    let file = world.folder.path().join("bytes");
    std::fs::write(&file, b"\xff\x00\r\n").expect("a file");
    let large = vec![b'x'; 300_000];
    ana.ok(&["send", "bob", "-b", "text\u{9b}\u{202e}"]);
    ana.ok(&["send", "bob", "-f", file.to_str().expect("a path")]);
    assert_eq!(
        run_with(ana, &["send", "bob", "-"], b"from stdin\n").code,
        0
    );
    assert_eq!(run_with(ana, &["send", "bob", "-f", "-"], &large).code, 0);
    ana.ok(&["send", "bob", "-b", ""]);
    let mails = json_of(bob, &["refresh"]);
    assert_eq!(mails.len(), 5);
    assert_eq!(mails[0]["body"], "text\u{9b}\u{202e}");
    assert_eq!(mails[1]["body_base64"], "/wANCg==");
    assert_eq!(mails[1]["content_type"], "application/octet-stream");
    assert_eq!(mails[2]["body"], "from stdin\n");
    assert_eq!(mails[3]["body"].as_str().map(str::len), Some(large.len()));
    assert_eq!(mails[4]["body"], "");
    assert!(json_of(bob, &["refresh"]).is_empty());
}

#[test]
fn json_forms_have_the_fields_of_the_contract() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    json_of(ana, &["topic", "join", "news"]);
    json_of(bob, &["topic", "join", "news", "lab/*"]);
    let sent = json_of(ana, &["send", "bob", "news", "-s", "s", "-b", "b"]);
    for (row, address) in sent.iter().zip(["bob", "news"]) {
        assert_eq!(row["address"], address);
        assert!(row["id"].is_u64(), "{row}");
        assert_eq!(
            (&row["durability"], &row["duplicate"]),
            (&json!("fsync"), &json!(false))
        );
    }
    let looked = json_of(bob, &["refresh", "--no-ack"]);
    assert_eq!(looked.len(), 2);
    let limited = json_of(bob, &["refresh", "--limit", "1"]);
    assert_eq!(limited, looked[..1]);
    let rest = json_of(bob, &["refresh"]);
    assert_eq!(rest, looked[1..]);
    let mail = &looked[0];
    assert_eq!(mail["kind"], "mail");
    assert_eq!(
        (&mail["from"], &mail["address"]),
        (&json!("ana"), &json!("bob"))
    );
    assert_eq!(mail["to"], json!(["bob", "news"]));
    assert_eq!(
        (&mail["subject"], &mail["body"]),
        (&json!("s"), &json!("b"))
    );
    assert_eq!(mail["content_type"], "text/plain; charset=utf-8");
    assert!(mail["id"].is_u64() && mail["prev"].is_u64(), "{mail}");
    let sent_at = mail["sent_at"].as_str().expect("a time");
    assert!(sent_at.len() == 24 && sent_at.ends_with('Z'), "{sent_at}");
    assert_eq!(json_of(bob, &["history", "news"]), rest);
    let mut read = json_of(bob, &["read", "1"]);
    let flags = read[0].as_object_mut().expect("a map").remove("flags");
    assert_eq!((flags, read), (Some(json!(["seen"])), limited));
    let topics = json_of(bob, &["topic", "ls"]);
    let news = topics
        .iter()
        .find(|row| row["topic"] == "news")
        .expect("news is listed");
    assert_eq!(
        (&news["subscribed"], &news["waiting"]),
        (&json!(true), &json!(0))
    );
    let info = &json_of(bob, &["topic", "info", "news"])[0];
    assert_eq!(
        (&info["topic"], &info["mails"]),
        (&json!("news"), &json!(1))
    );
    let me = &json_of(bob, &["whoami"])[0];
    assert_eq!(me["user"], "bob");
    assert!(me["device"].is_u64() && me["server"].is_string(), "{me}");
    assert!(json_of(bob, &["outbox", "ls"]).is_empty());
}

#[test]
fn admin_listings_have_the_fields_of_the_contract() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    let has = |rows: &[Value], fields: &[&str]| {
        assert!(!rows.is_empty(), "{fields:?}");
        for field in fields {
            let row = rows[0].as_object().expect("an object");
            assert!(row.contains_key(*field), "{field} in {row:?}");
        }
    };
    json_of(ana, &["topic", "join", "news"]);
    json_of(ana, &["send", "bob", "-s", "secret", "-b", "body"]);
    let mut watch = watching(bob, &[]);
    has(
        &json_of(ana, &["admin", "user", "ls"]),
        &["user", "devices", "role", "created_at"],
    );
    let queue = ["address", "user", "device", "waiting", "bytes", "oldest"];
    has(&json_of(ana, &["admin", "queue", "ls"]), &queue);
    has(&json_of(ana, &["admin", "queue", "show", "bob"]), &queue);
    let peeked = json_of(ana, &["admin", "queue", "peek", "bob"]);
    has(&peeked, &["id", "from", "to", "subject", "sent_at"]);
    assert!(peeked[0].get("body").is_none());
    assert_eq!(
        json_of(ana, &["admin", "queue", "peek", "bob"]),
        peeked,
        "a peek changes nothing"
    );
    let lease = ["port", "user", "device", "epoch", "state", "expires_at"];
    has(&json_of(ana, &["admin", "lease", "ls"]), &lease);
    let session = ["user", "device", "since", "last_seen", "port"];
    has(&json_of(ana, &["admin", "session", "ls"]), &session);
    has(
        &json_of(ana, &["admin", "stats"]),
        &["users", "topics", "sessions"],
    );
    json_of(ana, &["admin", "topic", "create", "made"]);
    let made = json_of(ana, &["admin", "topic", "ls"]);
    assert!(made.iter().any(|row| row["topic"] == "made"), "{made:?}");
    json_of(ana, &["admin", "topic", "rm", "made", "--yes"]);
    stop(&mut watch);
    json_of(ana, &["admin", "user", "rm", "bob", "--yes"]);
    fails(ana, &["send", "bob", "-b", "x"], 67);
    let carol = world.home("carol");
    fails(&carol, &["login", "bob"], 77);
    json_of(ana, &["admin", "user", "free", "bob"]);
    carol.ok(&["login", "bob"]);
    // Without the key beside the server's file nobody administers.
    std::fs::rename(
        world.server.data().join("admin.key"),
        world.folder.path().join("k"),
    )
    .expect("moved");
    fails(ana, &["admin", "user", "ls"], 77);
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let world = World::new();
    let ana = &world.ana;
    fails(ana, &[], 64);
    fails(ana, &["sned"], 64);
    fails(ana, &["send"], 64);
    fails(ana, &["send", "bob"], 64);
    fails(ana, &["send", "!news", "-b", "x"], 64);
    fails(ana, &["login", "a b"], 65);
    fails(ana, &["read", "99"], 65);
    fails(ana, &["outbox", "rm", "99"], 65);
    fails(ana, &["topic", "join", "bob"], 65);
    fails(ana, &["topic", "info", "nowhere"], 67);
    fails(ana, &["history", "nowhere"], 67);
    fails(ana, &["send", "bob", "-f", "/no/such/file"], 74);
    fails(ana, &["login", "bob"], 77);
    fails(ana, &["join", "0000", "carol"], 77);
    fails(&world.home("nobody"), &["whoami"], 78);
    fails(ana, &["--as", "carol", "whoami"], 78);
    let usage = error_of(ana, &["sned"], 64);
    assert_eq!(usage["code"], "usage");
    let denied = error_of(ana, &["login", "bob"], 77);
    assert_eq!(denied["code"], "needs_code");
    assert!(
        denied["text"]
            .as_str()
            .expect("a text")
            .contains("mailctl join CODE")
    );
}

#[test]
fn one_unknown_recipient_sinks_only_itself() {
    let world = World::new();
    let run = fails(&world.ana, &["--json", "send", "bbo", "bob", "-b", "x"], 67);
    let rows = run.objects();
    assert_eq!(rows.len(), 2, "{}", run.out);
    assert_eq!(
        (&rows[0]["address"], &rows[0]["code"]),
        (&json!("bbo"), &json!("no_such_address"))
    );
    assert!(
        rows[0]["text"].as_str().expect("a text").contains("bob"),
        "{}",
        rows[0]
    );
    assert_eq!(rows[0]["retryable"], false);
    assert_eq!(rows[1]["address"], "bob");
    assert_eq!(json_of(&world.bob, &["refresh"]).len(), 1);
}

#[test]
fn invitations_make_users_and_devices() {
    let world = World::new();
    let (ana, carol) = (&world.ana, world.home("carol"));
    let invitation = &json_of(ana, &["invite", "carol"])[0];
    assert!(invitation["code"].is_string() && invitation["expires_at"].is_string());
    let url = invitation["url"].as_str().expect("an address");
    let joined = &json_of(&carol, &["join", url])[0];
    assert_eq!(joined["user"], "carol");
    fails(&world.home("thief"), &["join", url], 77);
    let told = fails(ana, &["invite", "carol"], 65).err;
    assert!(
        told.contains("carol is a user already") && told.contains("mailctl invite --device"),
        "{told}"
    );
    ana.ok(&["topic", "join", "taken"]);
    fails(ana, &["invite", "taken"], 77);
    let open = json_of(ana, &["invite", "ls"]);
    assert!(open.is_empty(), "no code of no use: {open:?}");
    json_of(ana, &["send", "carol", "-b", "to all your devices"]);
    let code = carol.ok(&["invite", "--device"]).out;
    let second = world.home("carol-2");
    let run = run_with(&second, &["join", "-"], code.as_bytes());
    assert_eq!(run.code, 0, "{}", run.err);
    for device in [&carol, &second] {
        assert_eq!(json_of(device, &["refresh"]).len(), 1);
    }
}

#[test]
fn where_registration_is_by_invitation_the_admin_key_invites_the_first() {
    let server = Server::start_with(4, &["--registration", "invite"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let refused = error_of(&ana, &["login", "ana"], 77);
    assert!(
        refused["text"]
            .as_str()
            .expect("a text")
            .contains("mailctl join"),
        "{refused}"
    );
    let admin = Ctl::new(&server, &folder.path().join("admin"));
    let code = admin.ok(&["invite", "ana"]).out;
    ana.ok(&["join", code.trim()]);
    let next = json_of(&ana, &["invite"]);
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    bob.ok(&["join", next[0]["code"].as_str().expect("a code"), "bob"]);
    ana.ok(&["send", "bob", "-b", "welcome"]);
}

#[test]
fn a_home_holds_several_users() {
    let world = World::new();
    let ana = &world.ana;
    let later = ana.ok(&["login", "carol"]);
    for way in ["MAILCTL_USER=carol", "--as carol", "mailctl use carol"] {
        assert!(later.err.contains(way), "{}", later.err);
    }
    assert_eq!(json_of(ana, &["whoami"])[0]["user"], "ana");
    assert_eq!(
        json_of(ana, &["--as", "carol", "whoami"])[0]["user"],
        "carol"
    );
    let by_env = ana
        .command(&["whoami", "--json"])
        .env("MAILCTL_USER", "@carol")
        .output()
        .expect("mailctl starts");
    assert_eq!(Run::from(by_env).objects()[0]["user"], "carol");
    ana.ok(&["use", "carol"]);
    assert_eq!(json_of(ana, &["whoami"])[0]["user"], "carol");
    ana.ok(&["login", "ana"]);
    assert_eq!(
        json_of(ana, &["whoami"])[0]["user"],
        "carol",
        "a login changes no choice"
    );
}

#[test]
fn forgetting_says_what_is_lost_and_wants_a_yes() {
    let world = World::new();
    let bob = &world.bob;
    let asked = fails(bob, &["logout", "--forget"], 64);
    assert!(
        asked.err.contains("this removes") && asked.err.contains("--yes"),
        "{}",
        asked.err
    );
    assert_eq!(json_of(bob, &["whoami"])[0]["user"], "bob");
    bob.ok(&["logout", "--forget", "--yes"]);
    fails(bob, &["whoami"], 78);
    fails(bob, &["login", "bob"], 77);
}

#[test]
fn a_server_that_is_down_is_named_and_one_in_its_place_is_told_apart() {
    let mut world = World::new();
    world.server.kill9();
    let down = error_of(&world.ana, &["--timeout", "1", "topic", "ls"], 69);
    assert_eq!(down["code"], "unreachable");
    let text = down["text"].as_str().expect("a text");
    assert!(
        text.contains("tcp://127.0.0.1:") && text.contains("mailserver"),
        "{text}"
    );
    // The data folder was removed and a new server made.
    for entry in std::fs::read_dir(world.server.data())
        .expect("a folder")
        .flatten()
    {
        let path = entry.path();
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
        removed.expect("removed");
    }
    world.server.restart();
    let saved = |args: &[&str]| {
        let home = world.folder.path().join("ana");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_mailctl"))
            .env_clear()
            .arg("--home")
            .arg(home)
            .args(args)
            .stdin(Stdio::null())
            .output();
        Run::from(output.expect("mailctl starts"))
    };
    let other = saved(&["topic", "ls"]);
    assert_eq!(other.code, 78, "{}", other.err);
    assert!(
        other.err.contains("another server") && other.err.contains("mailctl login"),
        "{}",
        other.err
    );
    fails(&world.ana, &["topic", "ls"], 78);
    let login = saved(&["login", "ana"]);
    assert_eq!(login.code, 0, "{}", login.err);
    let works = saved(&["topic", "ls"]);
    assert_eq!(works.code, 0, "{}", works.err);
}

#[test]
fn a_wrong_key_and_an_open_key_file_are_told() {
    let world = World::new();
    let mut url = world.server.url();
    url.key = [7; 32];
    let stranger = world.home("stranger");
    let wrong = error_of(
        &stranger,
        &[
            "--timeout",
            "2",
            "--server",
            &url.to_string(),
            "login",
            "zoe",
        ],
        78,
    );
    assert_eq!(wrong["code"], "wrong_server");
    let key = walk(&world.folder.path().join("ana"), "key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let open = error_of(&world.ana, &["whoami"], 78);
    assert!(
        open["text"].as_str().expect("a text").contains("chmod 600"),
        "{open}"
    );
}

/// Finds the file of this name below a folder.
fn walk(folder: &Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == name {
                return entry.path();
            }
        }
    }
    panic!("no {name}");
}

#[test]
fn results_that_cannot_be_written_are_an_error_and_mark_nothing() {
    let world = World::new();
    world.ana.ok(&["send", "bob", "-b", "x"]);
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    let run = world
        .bob
        .command(&["refresh"])
        .stdout(full)
        .output()
        .expect("mailctl starts");
    assert_eq!(
        run.status.code(),
        Some(74),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let mut gone = world.bob.spawn(&["refresh", "--json"]);
    drop(gone.stdout.take());
    assert_eq!(
        gone.wait().expect("it ends").code(),
        Some(0),
        "a gone reader is no error"
    );
    assert_eq!(
        json_of(&world.bob, &["refresh"]).len(),
        1,
        "it was never shown"
    );
}

/// Strings that act on terminals, forge lines or hide.
const HOSTILE: &str = "a\u{1b}]0;PWNED\u{7}\u{9b}2J\u{202e}\u{200b}\u{2066}\rb\u{7f}";

#[test]
fn p12_hostile_strings_never_act() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    ana.ok(&["topic", "join", "news"]);
    bob.ok(&["topic", "join", "news"]);
    let mut watch = watching(bob, &[]);
    let forged = format!("{HOSTILE}\n9  12:00  root to bob: obey\n");
    let subject = format!("s{}", HOSTILE.replace(['\r', '\n'], ""));
    let sent = ana.run(&["send", "bob", "news", "-s", &subject, "-b", &forged]);
    // A server may refuse such a subject; the body goes in any case.
    if sent.code != 0 {
        ana.ok(&["send", "bob", "news", "-b", &forged]);
    }
    let arrived = read_lines(&mut watch, 1);
    stop(&mut watch);
    let mut shown = vec![arrived];
    for args in [
        &["refresh", "--no-ack"][..],
        &["refresh"],
        &["history", "news"],
        &["read", "1"],
        &["admin", "queue", "peek", "news"],
        &["topic", "ls"],
        &["topic", "info", HOSTILE],
        &["send", HOSTILE, "-b", "x"],
        &["login", HOSTILE],
        &[HOSTILE],
    ] {
        for form in [&["--json"][..], &[]] {
            let run = bob.run(&[form, args].concat());
            shown.extend([run.out, run.err]);
        }
    }
    for text in &shown {
        let acts = |c: char| c != '\n' && c != '\t' && is_active(c);
        assert!(!text.contains(acts), "{text:?}");
    }
    let lines = shown.iter().flat_map(|text| text.lines());
    let headers = lines.filter(|line| line.starts_with("9  12:00")).count();
    assert_eq!(headers, 0, "a body forged a header");
}

#[test]
fn p07_what_expired_unread_is_told_once() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    ana.ok(&["send", "bob", "-b", "gone", "--ttl", "1"]);
    ana.ok(&["send", "bob", "-b", "kept"]);
    common::eventually("the expiry", || {
        let stats = json_of(ana, &["admin", "stats"]);
        stats[0]["expired"].as_u64().filter(|expired| *expired > 0)
    });
    let told = json_of(bob, &["refresh"]);
    let expect = json!({"v": 1, "kind": "trimmed", "address": "bob", "count": 1, "from_id": 0});
    assert_eq!(told[0], expect);
    assert_eq!(told[1]["body"], "kept");
    assert_eq!(told.len(), 2);
    assert!(json_of(bob, &["refresh"]).is_empty());
}

#[test]
fn watch_shows_what_arrives_and_marks_nothing() {
    let world = World::new();
    let (ana, bob) = (&world.ana, &world.bob);
    ana.ok(&["send", "bob", "-b", "before"]);
    let mut watch = watching(bob, &["--json"]);
    ana.ok(&["send", "bob", "-b", "while"]);
    let line = read_lines(&mut watch, 1);
    let mail: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(
        (&mail["kind"], &mail["body"]),
        (&json!("mail"), &json!("while"))
    );
    stop(&mut watch);
    let unseen: Vec<Value> = json_of(bob, &["refresh"]);
    assert_eq!(
        unseen.iter().map(|mail| &mail["body"]).collect::<Vec<_>>(),
        ["before", "while"]
    );
    let sessions = json_of(ana, &["admin", "session", "ls"]);
    assert!(sessions.is_empty(), "nothing leaks: {sessions:?}");
    let leases = json_of(ana, &["admin", "lease", "ls"]);
    assert!(
        leases.iter().all(|lease| lease["state"] != "held"),
        "{leases:?}"
    );
}

#[test]
fn logout_ends_standing_sessions_and_frees_their_ports() {
    let world = World::new();
    let mut watch = watching(&world.bob, &[]);
    world.bob.ok(&["logout"]);
    assert!(json_of(&world.ana, &["admin", "session", "ls"]).is_empty());
    let ended = watch.wait().expect("it ends by itself");
    assert_eq!(ended.code(), Some(77));
    let leases = json_of(&world.ana, &["admin", "lease", "ls"]);
    assert!(
        leases.iter().all(|lease| lease["state"] != "held"),
        "{leases:?}"
    );
    world.ana.ok(&["send", "bob", "-b", "waits"]);
    assert_eq!(
        json_of(&world.bob, &["refresh"]).len(),
        1,
        "mail goes on waiting"
    );
}

#[test]
fn watch_outlives_the_server() {
    let mut world = World::new();
    let mut watch = watching(&world.bob, &["--json"]);
    world.server.kill9();
    world.server.restart();
    world.ana.ok(&["send", "bob", "-b", "after"]);
    let line = read_lines(&mut watch, 1);
    let mail: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(mail["body"], "after");
    stop(&mut watch);
    assert_eq!(json_of(&world.bob, &["refresh"]).len(), 1);
}

#[test]
fn watch_runs_a_command_for_each_mail() {
    let world = World::new();
    let out = world.folder.path().join("out");
    let command = format!(
        "printf '%s|%s|' \"$MAIL_FROM\" \"$MAIL_SUBJECT\" >> {0}; cat >> {0}",
        out.display()
    );
    let mut watch = watching(&world.bob, &["--exec", &command]);
    world
        .ana
        .ok(&["send", "bob", "-s", "$(touch /tmp/no)", "-b", "body"]);
    let text = common::eventually("the command's output", || {
        std::fs::read_to_string(&out)
            .ok()
            .filter(|text| text.ends_with("body"))
    });
    assert_eq!(text, "ana|$(touch /tmp/no)|body");
    stop(&mut watch);
}

#[test]
fn watch_ends_on_a_command_that_fails_or_runs_it_again() {
    let world = World::new();
    let tries = world.folder.path().join("tries");
    let command = format!("echo x >> {}; exit 3", tries.display());
    let mut watch = watching(&world.bob, &["--exec", &command, "--on-error", "stop"]);
    world.ana.ok(&["send", "bob", "-b", "one"]);
    let ended = watch.wait().expect("it is our child");
    assert_eq!(ended.code(), Some(3), "the command's exit code");

    // Fails once, then does its work; the next mail waits for that.
    let done = world.folder.path().join("done");
    let command = format!(
        "test -e {0} || {{ touch {0}; exit 1; }}; cat >> {1}; echo >> {1}",
        world.folder.path().join("failed").display(),
        done.display()
    );
    let mut watch = watching(&world.bob, &["--exec", &command, "--on-error", "retry"]);
    world.ana.ok(&["send", "bob", "-b", "two"]);
    world.ana.ok(&["send", "bob", "-b", "three"]);
    let text = common::eventually("both mails", || {
        let text = std::fs::read_to_string(&done).ok()?;
        text.ends_with("three\n").then_some(text)
    });
    assert_eq!(text, "two\nthree\n");
    stop(&mut watch);
    assert_eq!(std::fs::read_to_string(&tries).expect("it ran"), "x\n");
}

/// Starts a watch and waits until it says that it watches.
fn watching(ctl: &Ctl, args: &[&str]) -> Child {
    let mut child = ctl.spawn(&[&["watch"][..], args].concat());
    let mut stderr = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stderr, &mut line).expect("a line");
    assert!(line.contains("watching as"), "{line}");
    // Later words must find a reader.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    child
}

fn read_lines(child: &mut Child, count: usize) -> String {
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    let mut text = String::new();
    for _ in 0..count {
        std::io::BufRead::read_line(&mut stdout, &mut text).expect("a line");
    }
    child.stdout = Some(stdout.into_inner());
    text
}

/// Asks a process to stop, as a terminal or a supervisor does, and expects a clean end.
fn stop(child: &mut Child) {
    let pid = i32::try_from(child.id()).expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
