//! Who is here, one's own devices, and leaving: `who`, `device`, `invite ls`, `account rm`.

mod common;

use common::PATIENCE;
use common::client::{RawClient, Wishes};
use common::ctl::Ctl;
use common::server::Server;
use common::terminal::Terminal;
use common::watch::Watcher;
use correio::protocol::codes::Code;
use correio::protocol::notice::{Notice, NoticeKey};
use correio::protocol::reply;
use correio::protocol::request::{self, Request};
use serde_json::Value;

/// A server and homes on it.
struct World {
    server: Server,
    folder: tempfile::TempDir,
}

impl World {
    fn new(args: &[&str]) -> Self {
        Self {
            server: Server::start_with(10, args),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn home(&self, name: &str) -> Ctl {
        Ctl::new(&self.server, &self.folder.path().join(name))
    }

    fn user(&self, name: &str) -> Ctl {
        let ctl = self.home(name);
        ctl.ok(&["login", name, "--device-name", "desk"]);
        ctl
    }

    /// A further device of a user, in a home of its own.
    fn device(&self, of: &Ctl, home: &str) -> Ctl {
        let url = of.ok(&["invite", "--device"]).out;
        let ctl = self.home(home);
        ctl.ok(&["join", url.trim(), "--device-name", home]);
        ctl
    }
}

fn json(ctl: &Ctl, args: &[&str]) -> Vec<Value> {
    ctl.ok(&[&["--json"], args].concat()).objects()
}

#[track_caller]
fn fails(ctl: &Ctl, args: &[&str], code: i32) -> String {
    let run = ctl.run(args);
    assert_eq!(run.code, code, "mailctl {args:?}: {}{}", run.out, run.err);
    run.err
}

fn number(row: &Value) -> String {
    row["device"].to_string()
}

#[test]
fn who_tells_who_is_here_unless_they_hide() {
    let mut world = World::new(&[]);
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    let mut watching = bob.spawn(&["watch"]);
    let seen = |ana: &Ctl| json(ana, &["who", "bob"]).remove(0);
    while seen(&ana)["online"] != true {}
    let here = seen(&ana);
    assert!(
        here["since"].is_string() && here["last_seen"].is_string(),
        "{here}"
    );
    let all = json(&ana, &["who"]);
    let names: Vec<&str> = all.iter().filter_map(|row| row["user"].as_str()).collect();
    assert_eq!(names, ["ana", "bob"]);
    assert!(ana.ok(&["who"]).out.starts_with("User  Online  Since"));
    assert_eq!(json(&bob, &["who", "--hide"])[0]["hidden"], true);
    let away = seen(&ana);
    assert_eq!(away["online"], false, "a watch of his runs on");
    assert!(
        away["last_seen"].is_null() && away["since"].is_null(),
        "{away}"
    );
    assert!(
        ana.ok(&["who"])
            .err
            .contains("1 other not seen of late, or hidden")
    );
    assert!(bob.ok(&["who"]).err.contains("you are hidden"));
    world.server.kill9();
    world.server.restart();
    assert_eq!(seen(&ana), away, "also after a crash");
    bob.ok(&["who", "--show"]);
    while seen(&ana)["online"] != true {}
    let told = fails(&ana, &["who", "bbo", "bob"], 67);
    assert!(told.contains("did you mean bob"), "{told}");
    watching.kill().expect("it ran");
    watching.wait().expect("it ends");
}

#[test]
fn devices_are_listed_named_and_removed() {
    let world = World::new(&[]);
    let ana = world.user("ana");
    let phone = world.device(&ana, "phone");
    ana.ok(&["send", "ana", "-b", "x"]);
    let rows = json(&ana, &["device", "ls"]);
    let names: Vec<&Value> = rows.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["desk", "phone"]);
    assert_eq!(
        (&rows[0]["this"], &rows[1]["this"]),
        (&true.into(), &false.into())
    );
    assert_eq!(rows[1]["waiting"], 1);
    assert!(rows[1]["since"].is_string() && rows[1]["last_seen"].is_string());
    assert!(ana.ok(&["device"]).out.contains("phone"));
    let (own, other) = (number(&rows[0]), number(&rows[1]));
    ana.ok(&["device", "rename", &other, "old phone"]);
    assert_eq!(json(&phone, &["device", "ls"])[1]["name"], "old phone");
    let told = fails(&ana, &["device", "rm", &own, "--yes"], 77);
    assert!(told.contains("logout --forget"), "{told}");
    fails(&ana, &["device", "rm", "99", "--yes"], 67);
    let told = fails(&ana, &["device", "rm", &other], 64);
    assert!(told.contains("--yes"), "{told}");
    phone.ok(&["whoami"]);
    let mut terminal = Terminal::start(ana.command(&["device", "rm", &other]));
    terminal.sees("Remove it? [y/N]");
    terminal.type_line("y");
    terminal.sees("removed device");
    assert!(terminal.ends().success());
    fails(&phone, &["refresh"], 77);
    assert_eq!(json(&ana, &["device", "ls"]).len(), 1);
}

/// The key of a removed device gets nothing, though its connections stand and it asks on and on.
#[test]
fn p05_a_removed_device_hears_nothing_more() {
    let server = Server::start();
    let mut ana = RawClient::reader(&server, "ana", &["news"]);
    let mut bob = RawClient::reader(&server, "bob", &["news"]);
    let code: reply::Invited = ana
        .ask(&Request::Invite(request::Invite {
            session: ana.session.clone(),
            user: None,
            device: true,
        }))
        .expect("a code");
    let mut phone = RawClient::stranger(&server);
    phone.register("ana", Some(&code.code)).expect("a device");
    let login = phone.login(Wishes::default()).expect("a session");
    let keys: Vec<NoticeKey> = ["ana", "news"]
        .map(|log| NoticeKey::from_hex(&phone.log(log).key).expect("a key"))
        .to_vec();
    let topics: Vec<Vec<u8>> = keys.iter().map(|key| key.to_bytes().to_vec()).collect();
    let spy = Watcher::connect(&server.url(), server.live_port(), &phone.key, &topics);
    let granted = Notice::Granted { log: keys[1].log };
    assert!(spy.until(PATIENCE, |notice, _| *notice == granted).1);
    drop::<reply::Done>(
        ana.ask(&Request::DeviceRm(request::DeviceRm {
            session: ana.session.clone(),
            device: login.device,
        }))
        .expect("removed"),
    );
    let own = NoticeKey::from_hex(&bob.log("bob").key).expect("a key");
    let bobs = NoticeKey::from_hex(&bob.log("news").key).expect("a key");
    let fence = Watcher::connect(
        &server.url(),
        server.live_port(),
        &bob.key,
        &[bobs.to_bytes().to_vec()],
    );
    fence.subscribe(&own.to_bytes());
    let granted = Notice::Granted { log: own.log };
    assert!(fence.until(PATIENCE, |notice, _| *notice == granted).1);
    for _ in 0..20 {
        bob.mail("ana", b"secret");
        bob.mail("news", b"secret too");
        for key in &topics {
            spy.subscribe(key);
        }
        for key in [&own, &bobs] {
            spy.subscribe(&key.to_bytes());
        }
        let refused = phone.heartbeat(0).err().and_then(|trouble| trouble.code());
        assert_eq!(refused, Some(Code::NotRegistered));
        let refused = phone.login(Wishes::default()).err();
        assert_eq!(
            refused.and_then(|trouble| trouble.code()),
            Some(Code::NotRegistered)
        );
    }
    let last = bob.mail("news", b"last");
    let is_last = |notice: &Notice, _: Option<&[u8]>| matches!(notice, Notice::Mail { envelope, .. } if envelope.id == last);
    assert!(fence.until(PATIENCE, is_last).1, "bob hears it");
    // One socket publishes to all in one order: what was sent before would be here.
    assert!(spy.notice(std::time::Duration::from_millis(200)).is_none());
    assert_eq!(
        ana.read_all(keys[0].log, 0).expect("ana reads on").len(),
        20
    );
}

/// A server that other machines reach, where one comes in by invitation only.
#[test]
fn a_second_device_is_a_code_away() {
    let world = World::new(&["--registration", "invite"]);
    let admin = world.home("admin");
    let url = admin.ok(&["invite", "ana"]).out;
    let ana = world.home("ana");
    let told = ana.ok(&["join", url.trim()]);
    assert!(told.out.starts_with("logged in as ana"), "{}", told.out);
    let code = ana.ok(&["invite", "--device"]).out;
    ana.ok(&["invite", "kim"]);
    let open = json(&ana, &["invite", "ls"]);
    let of = |row: &Value| (row["user"].clone(), row["device"].clone());
    assert_eq!(open.len(), 2);
    assert_eq!(of(&open[0]), ("ana".into(), true.into()));
    assert_eq!(of(&open[1]), ("kim".into(), false.into()));
    let id = open[1]["id"].as_str().expect("an id").to_owned();
    assert!(ana.ok(&["invite", "ls"]).out.contains(&id));
    ana.ok(&["invite", "rm", &id]);
    fails(&ana, &["invite", "rm", &id], 67);
    let phone = world.home("phone");
    phone.ok(&["join", code.trim()]);
    assert_eq!(json(&phone, &["whoami"])[0]["user"], "ana");
    assert!(json(&ana, &["invite", "ls"]).is_empty());
    fails(&world.home("late"), &["join", code.trim()], 77);
}

#[test]
fn an_account_goes_only_when_it_is_meant() {
    let world = World::new(&[]);
    let (ana, bob) = (world.user("ana"), world.user("bob"));
    fails(&ana, &["account", "rm"], 64);
    let told = fails(&ana, &["account", "rm", "--no-export"], 64);
    assert!(told.contains("this removes ana"), "{told}");
    let mut terminal = Terminal::start(ana.command(&["account", "rm", "--no-export"]));
    terminal.sees("type the name of the account:");
    terminal.type_line("yes");
    terminal.sees("nothing was removed");
    assert_eq!(terminal.ends().code(), Some(64));
    ana.ok(&["whoami"]);
    let mut terminal = Terminal::start(ana.command(&["account", "rm", "--no-export"]));
    terminal.sees("type the name of the account:");
    terminal.type_line("ana");
    terminal.sees("ana is no more");
    assert!(terminal.ends().success());
    fails(&ana, &["whoami"], 78);
    fails(&bob, &["send", "ana", "-b", "x"], 67);
    fails(&world.home("new"), &["login", "ana"], 77);
    // What nobody has read yet is in the copy, too; one that cannot be written keeps the account.
    let carol = world.user("carol");
    carol.ok(&["send", "bob", "-s", "bye", "-b", "keep this"]);
    let copy = world.folder.path().join("bob.mbox");
    let path = copy.display().to_string();
    fails(
        &bob,
        &["account", "rm", "--yes", "--export", "tar", &path],
        64,
    );
    fails(
        &bob,
        &["account", "rm", "--yes", "--export", "mbox", "/nowhere/x"],
        73,
    );
    bob.ok(&["account", "rm", "--yes", "--export", "mbox", &path]);
    let copied = std::fs::read_to_string(&copy).expect("a copy");
    assert!(
        copied.contains("Subject: bye") && copied.contains("keep this"),
        "{copied}"
    );
    fails(&bob, &["refresh"], 78);
}
