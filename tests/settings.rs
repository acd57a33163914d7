//! Settings of a real server: shown with where they stand, and read again while it runs.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests drive real processes in real time"
)]
#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod common;

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use common::client::RawClient;
use common::http::{address, count, get};
use common::server::{Plan, Server};
use common::{PATIENCE, eventually};
use correio::protocol::codes::Code;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

const FILE: &str = "# Ours.
body-max = \"2 KiB\"
disk-reserve = \"0\"

log = \"warn\"
";

/// Runs `mailserver` with a clean environment and one variable; returns its code and what it said.
fn mailserver(folder: &Path, words: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mailserver"))
        .env_clear()
        .env("MAILSERVER_ADVERTISE", "mail.example.org")
        .current_dir(folder)
        .args(words)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[test]
fn every_setting_is_shown_with_where_it_stands() {
    let ground = tempfile::tempdir().unwrap();
    std::fs::write(ground.path().join("server.toml"), FILE).unwrap();
    let words = ["--config", "server.toml", "--memory-max", "1 GiB"];
    let show = |more: &[&str]| {
        let words = [&["config", "show"], more, &words].concat();
        let (code, said) = mailserver(ground.path(), &words);
        assert_eq!(code, 0, "{said}");
        said
    };
    insta::assert_snapshot!("config_show_origin", show(&["--origin"]));
    let plain = show(&[]);
    assert!(!plain.contains("default"), "{plain}");
    // What is shown is a settings file.
    std::fs::write(ground.path().join("again.toml"), &plain).unwrap();
    let again = mailserver(ground.path(), &["config", "show", "--config", "again.toml"]);
    assert_eq!(again, (0, plain.clone()));
    let rows: Vec<serde_json::Value> = show(&["--json", "--origin"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), plain.lines().count());
    let row = |name: &str| rows.iter().find(|row| row["setting"] == name).unwrap();
    let log = row("log");
    assert_eq!((&log["v"], &log["value"]), (&1.into(), &"warn".into()));
    assert_eq!(
        (&log["origin"], &log["where"]),
        (&"file".into(), &"server.toml:5".into())
    );
    assert_eq!(
        (&log["live"], &row("bind")["live"]),
        (&true.into(), &false.into())
    );
    assert_eq!(row("live-bind")["here"], "tcp://127.0.0.1:5571");
    let (code, said) = mailserver(ground.path(), &["config", "show", "--body-max", "x"]);
    assert!(code == 78 && said.lines().count() == 1, "{said}");
}

/// A server with a settings file, under a supervisor.
struct Supervised {
    server: Server,
    heard: UnixDatagram,
    ground: tempfile::TempDir,
}

impl Supervised {
    fn start(settings: &str) -> Self {
        let ground = tempfile::tempdir().unwrap();
        let at = |name: &str| ground.path().join(name).to_str().unwrap().to_owned();
        let heard = UnixDatagram::bind(at("notify")).unwrap();
        heard.set_read_timeout(Some(PATIENCE)).unwrap();
        std::fs::write(at("server.toml"), settings).unwrap();
        let mut plan = Plan::loopback(ground.path().join("data"), 2);
        plan.wrapper = vec!["env".into(), format!("NOTIFY_SOCKET={}", at("notify"))];
        let words = ["--config", &at("server.toml"), "--http", "127.0.0.1:0"];
        plan.args = words.map(str::to_owned).to_vec();
        let supervised = Self {
            server: Server::planned(plan),
            heard,
            ground,
        };
        assert_eq!(supervised.told(), "READY=1");
        supervised
    }

    fn told(&self) -> String {
        let mut bytes = [0; 1024];
        let length = self.heard.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    }

    /// Changes the settings and waits until they were read again.
    fn reload(&self, settings: &str) {
        std::fs::write(self.ground.path().join("server.toml"), settings).unwrap();
        self.server.signal(Signal::HUP);
        let told = self.told();
        let (first, when) = told.split_once('\n').unwrap();
        assert_eq!(first, "RELOADING=1");
        assert!(when.starts_with("MONOTONIC_USEC="), "{when}");
        assert_eq!(self.told(), "READY=1");
    }

    fn says(&self, text: &str) {
        eventually(text, || self.server.log().contains(text).then_some(()));
    }
}

#[test]
fn sighup_takes_over_what_can_change_and_names_what_waits_for_a_restart() {
    let supervised = Supervised::start("body-max = \"1 KiB\"\nlog = \"info\"\n");
    let server = &supervised.server;
    let mut ana = RawClient::user(server, "ana");
    let send = |ana: &mut RawClient, bytes: usize| match ana.send(&["ana"], &vec![b'x'; bytes]) {
        Ok(_) => None,
        Err(trouble) => trouble.code(),
    };
    assert_eq!(send(&mut ana, 1500), Some(Code::TooLarge));

    supervised.reload("body-max = \"2 KiB\"\nlog = \"info\"\nlease-ttl = \"80s\"\n");
    assert_eq!(send(&mut ana, 1500), None, "on a connection that stands");
    supervised.says("a setting changed and is in force setting=\"body-max\" value=\"2 KiB\"");
    supervised.says("a setting changed and needs a restart setting=\"lease-ttl\" value=\"80s\"");
    supervised.says("the settings were read again in_force=1 need_a_restart=1");
    // Figures may be a second old.
    let waits = |settings: u64| {
        eventually("settings that wait", || {
            let page = get(address(server), "/metrics").body;
            (count(&page, "mailserver_settings_waiting") == settings).then_some(())
        });
    };
    waits(1);

    // A file that is no good changes nothing.
    supervised.reload("body-max = \"3 KiB\"\nlease-ttl = \"soon\"\n");
    supervised.says("the settings were read again and nothing is changed: lease-ttl in ");
    assert_eq!(send(&mut ana, 2500), Some(Code::TooLarge));
    std::fs::remove_file(supervised.ground.path().join("server.toml")).unwrap();
    server.signal(Signal::HUP);
    supervised.says("cannot read the settings file");
    assert!(supervised.told().starts_with("RELOADING=1"));
    assert_eq!(supervised.told(), "READY=1");

    // Back to what it was, with less in the log.
    supervised.reload("body-max = \"1 KiB\"\nlog = \"error\"\n");
    waits(0);
    assert_eq!(send(&mut ana, 1500), Some(Code::TooLarge));
    let before = server.log();
    supervised.reload("body-max = \"2 KiB\"\nlog = \"debug\"\n");
    assert_eq!(send(&mut ana, 1500), None);
    supervised.says("verb=send");
    assert!(!before.contains("verb=send"), "{before}");
    assert!(supervised.server.log().len() > before.len());
}

#[test]
fn many_hangups_at_once_disturb_nobody() {
    let settings = |n: u64| format!("mailbox-mails = {n}\nlog = \"info\"\n");
    let supervised = Supervised::start(&settings(1));
    let mut ana = RawClient::user(&supervised.server, "ana");
    let heard = supervised.heard.try_clone().unwrap();
    // A supervisor that does not listen would hold the server up.
    thread::spawn(move || while heard.recv(&mut [0; 1024]).is_ok() {});
    for n in 2..100 {
        let at = |name: &str| supervised.ground.path().join(name);
        std::fs::write(at("next"), settings(n)).unwrap();
        std::fs::rename(at("next"), at("server.toml")).unwrap();
        supervised.server.signal(Signal::HUP);
    }
    supervised.says("value=\"99\"");
    assert!(ana.send(&["ana"], b"x").is_ok());
}

#[test]
fn a_server_ends_with_the_terminal_that_it_was_started_at() {
    let ground = tempfile::tempdir().unwrap();
    let data = ground.path().join("data");
    // Not for the servers of the other tests, which would keep the terminal open.
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    let (log, mut child) = begin(&data, Stdio::from(slave));
    hang_up(&child);
    eventually("a word in the log", || {
        log().contains("the settings were read again").then_some(())
    });
    drop(master);
    hang_up(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!data.join("server.url").exists(), "in order");
    // Without a terminal from the start it goes on.
    let (log, mut child) = begin(&data, Stdio::null());
    hang_up(&child);
    eventually("a word in the log", || {
        log().contains("the settings were read again").then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Starts a server, whose log can be read, and waits until it is ready.
fn begin(data: &Path, stdin: Stdio) -> (impl Fn() -> String, Child) {
    let file = data.with_extension("log");
    let child = Command::new(env!("CARGO_BIN_EXE_mailserver"))
        .env_clear()
        .args(["--bind", "tcp://127.0.0.1:0", "--data-dir"])
        .arg(data)
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&file).unwrap())
        .spawn()
        .unwrap();
    eventually("server.url", || {
        data.join("server.url").exists().then_some(())
    });
    (move || std::fs::read_to_string(&file).unwrap(), child)
}

fn hang_up(child: &Child) {
    kill_process(Pid::from_child(child), Signal::HUP).unwrap();
}
