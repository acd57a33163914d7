//! What `packaging/` says of the server is true: the unit's hardening, its watchdog, its key, rules and dashboard.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests drive real processes in real time"
)]
#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod common;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::client::RawClient;
use common::faults::{SlowDisk, can_trace};
use common::http::{address, get};
use common::server::{Plan, Server};
use common::{PATIENCE, eventually, skip};
use correio::auth::keys::KeyPair;
use correio::config::default_file;
use rustix::process::{Pid, Signal, kill_process};

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(packaging(name)).unwrap()
}

/// Runs a tool, if it is here.
fn run(program: &str, args: &[&str], file: &str) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(args).arg(packaging(file)).output().ok()
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn the_unit_is_exposed_by_one_and_a_half_at_most() {
    let args = ["security", "--offline=true", "--threshold=15"];
    let Some(output) = run("systemd-analyze", &args, "mailserver.service") else {
        return skip("systemd-analyze security", "there is no systemd-analyze");
    };
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("Overall exposure level"),
        "{}",
        said(&output)
    );
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    let Some(output) = run(
        "systemd-analyze",
        &["verify", "--man=no"],
        "mailserver.service",
    ) else {
        return skip("systemd-analyze verify", "there is no systemd-analyze");
    };
    // That the program is not installed here is no fault of the unit.
    let said = said(&output);
    let faults = said
        .lines()
        .filter(|line| line.contains("mailserver.service"));
    let faults: Vec<&str> = faults
        .filter(|line| !line.contains("is not executable"))
        .collect();
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn promtool_finds_nothing_to_say_about_the_rules() {
    let Some(output) = run(
        "promtool",
        &["check", "rules", "--lint-fatal"],
        "prometheus/alerts.yml",
    ) else {
        return skip(
            "promtool check rules",
            "there is no promtool (Debian: prometheus)",
        );
    };
    assert!(output.status.success(), "{}", said(&output));
}

/// Returns the names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !word(c));
    words
        .filter(|word| word.starts_with("mailserver_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn rules_dashboard_and_docs_name_only_metrics_that_there_are() {
    let server = Server::start_with(2, &["--http", "127.0.0.1:0"]);
    let page = get(address(&server), "/metrics").body;
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut known = BTreeSet::new();
    for kind in types {
        let (name, kind) = kind.split_once(' ').unwrap();
        known.insert(name.to_owned());
        if kind == "histogram" {
            known.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        }
    }
    let rules = metrics(&text("prometheus/alerts.yml"));
    let dashboard = text("grafana/mailserver.json");
    let shown: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(shown["panels"].as_array().unwrap().len() > 10);
    assert!(rules.len() > 8 && metrics(&dashboard).len() > 20);
    let unknown: Vec<String> = rules
        .union(&metrics(&dashboard))
        .filter(|name| !known.contains(*name))
        .cloned()
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    // The page tells what each is, without the beginning that all share.
    let told = std::fs::read_to_string("docs/admin.md").unwrap();
    let untold: Vec<&String> = known
        .iter()
        .filter(|name| {
            !["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| name.ends_with(end))
        })
        .filter(|name| !told.contains(&format!("`{}", &name["mailserver_".len()..])))
        .collect();
    assert!(untold.is_empty(), "docs/admin.md: {untold:?}");
}

#[test]
fn the_packaged_settings_are_the_defaults_in_the_units_folder() {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().skip_while(|line| line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let here = "data-dir = \"./data\"";
    let there = "data-dir = \"/var/lib/mailserver\"";
    assert!(default_file().contains(here));
    assert_eq!(
        lines(&text("mailserver.toml")),
        lines(&default_file().replace(here, there)),
        "after a change of settings: packaging/README.md"
    );
    assert!(text("mailserver.service").contains("StateDirectory=mailserver\n"));
}

/// libzmq ends the process where it may not open the kinds of sockets that it wants, of which one is no network's.
#[test]
fn the_unit_allows_every_kind_of_socket_that_the_server_opens() {
    let name = "the_unit_allows_every_kind_of_socket_that_the_server_opens";
    if !can_trace() {
        return skip(name, "strace cannot trace here");
    }
    let ground = tempfile::tempdir().unwrap();
    let trace = ground.path().join("trace");
    let mut plan = Plan::loopback(ground.path().join("data"), 2);
    let words = ["strace", "-f", "-qq", "-e", "trace=socket", "-o"];
    plan.wrapper = words.map(str::to_owned).to_vec();
    plan.wrapper.push(trace.to_str().unwrap().to_owned());
    plan.args = ["--http", "127.0.0.1:0"].map(str::to_owned).to_vec();
    let mut server = Server::planned(plan);
    RawClient::user(&server, "ana").mail("ana", b"x");
    server.kill9();
    let unit = text("mailserver.service");
    let allowed = unit
        .lines()
        .find_map(|line| line.strip_prefix("RestrictAddressFamilies="))
        .unwrap();
    let opened = std::fs::read_to_string(&trace).unwrap();
    let families: BTreeSet<&str> = opened
        .split("socket(")
        .skip(1)
        .filter_map(|call| call.split(',').next())
        .collect();
    assert!(families.contains("AF_INET"), "{opened}");
    for family in families {
        assert!(allowed.split(' ').any(|word| word == family), "{family}");
    }
}

/// The server as the unit starts it, with a supervisor that listens.
struct Unit {
    child: Child,
    heard: UnixDatagram,
    ground: tempfile::TempDir,
}

impl Unit {
    fn start(variables: &[(&str, &str)]) -> Self {
        let ground = tempfile::tempdir().unwrap();
        let socket = ground.path().join("notify");
        let heard = UnixDatagram::bind(&socket).unwrap();
        heard.set_read_timeout(Some(PATIENCE)).unwrap();
        let unit = text("mailserver.service");
        let start = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let words: Vec<&str> = start.unwrap().split(' ').collect();
        assert_eq!(
            words,
            [
                "/usr/bin/mailserver",
                "run",
                "--config",
                "/etc/mailserver/mailserver.toml"
            ]
        );
        let child = Command::new(env!("CARGO_BIN_EXE_mailserver"))
            .env_clear()
            .env("NOTIFY_SOCKET", &socket)
            .env("MAILSERVER_DATA_DIR", ground.path().join("data"))
            .env("MAILSERVER_BIND", "tcp://127.0.0.1:0")
            .envs(variables.iter().copied())
            .args(["run", "--config"])
            .arg(packaging("mailserver.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            heard,
            ground,
        }
    }

    /// Returns what the supervisor is told next; nothing when that takes longer.
    fn told_within(&self, time: Duration) -> Option<String> {
        self.heard.set_read_timeout(Some(time)).unwrap();
        let mut bytes = [0; 1024];
        let length = self.heard.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).trim().to_owned())
    }

    fn told(&self) -> String {
        self.told_within(PATIENCE)
            .expect("the supervisor is told something")
    }

    fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn the_supervisor_is_told_ready_alive_and_stopping() {
    let unit = Unit::start(&[("WATCHDOG_USEC", "3000000")]);
    assert_eq!(unit.told(), "READY=1");
    for _ in 0..3 {
        assert_eq!(unit.told(), "WATCHDOG=1");
    }
    let pid = Pid::from_child(&unit.child);
    kill_process(pid, Signal::TERM).unwrap();
    eventually("it says that it stops", || {
        (unit.told() == "STOPPING=1").then_some(())
    });
}

#[test]
fn without_a_watchdog_nobody_is_told_that_it_lives() {
    let unit = Unit::start(&[]);
    assert_eq!(unit.told(), "READY=1");
    assert_eq!(unit.told_within(Duration::from_secs(3)), None);
    unit.stop();
}

#[test]
fn a_watchdog_starves_when_the_store_stalls_and_when_the_loop_does() {
    if !can_trace() {
        return skip("a watchdog that starves", "nothing can be traced here");
    }
    let unit = Unit::start(&[("WATCHDOG_USEC", "3000000")]);
    assert_eq!(unit.told(), "READY=1");
    assert_eq!(unit.told(), "WATCHDOG=1");
    let slow = SlowDisk::of(unit.child.id(), Duration::from_secs(9));
    while unit.told_within(Duration::from_millis(10)).is_some() {}
    let stalled = unit.told_within(Duration::from_secs(4));
    assert_eq!(
        stalled, None,
        "the loop turns, but the store takes nothing in"
    );
    drop(slow);
    assert_eq!(unit.told(), "WATCHDOG=1");
    let pid = Pid::from_child(&unit.child);
    kill_process(pid, Signal::STOP).unwrap();
    while unit.told_within(Duration::from_millis(10)).is_some() {}
    assert_eq!(
        unit.told_within(Duration::from_secs(4)),
        None,
        "the loop stands still"
    );
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(unit.told(), "WATCHDOG=1");
}

#[test]
fn p04_the_key_may_be_lent_by_systemd_and_lies_in_no_folder_then() {
    let lent = tempfile::tempdir().unwrap();
    let path = lent.path().join("server.key");
    let keys = KeyPair::generate().unwrap();
    keys.save_new(&path).unwrap();
    // As systemd does it: readable by an access list, which shows as a right of the group.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).unwrap();
    let folder = lent.path().to_str().unwrap();
    let unit = Unit::start(&[("CREDENTIALS_DIRECTORY", folder)]);
    assert_eq!(unit.told(), "READY=1");
    let data = unit.ground.path().join("data");
    let url = std::fs::read_to_string(data.join("server.url")).unwrap();
    assert!(url.contains(&hex::encode(keys.public)), "{url}");
    assert!(!data.join("server.key").exists());
    unit.stop();
}

/// Returns the system calls of a set of systemd's, those of the sets in it included.
fn calls_of(set: &str) -> BTreeSet<String> {
    let output = Command::new("systemd-analyze")
        .args(["syscall-filter", set])
        .output()
        .unwrap();
    let text = said(&output);
    let mut calls = BTreeSet::new();
    for line in text.lines().map(str::trim).skip(1) {
        match line.chars().next() {
            Some('@') => calls.append(&mut calls_of(line)),
            Some('#') | None => {}
            Some(_) => drop(calls.insert(line.to_owned())),
        }
    }
    calls
}

#[test]
fn the_units_filter_lets_the_server_do_all_it_does() {
    if !can_trace() {
        return skip("the unit's system calls", "nothing can be traced here");
    }
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        return skip("the unit's system calls", "there is no systemd-analyze");
    }
    let unit = text("mailserver.service");
    let filters = unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let filters: Vec<&str> = filters.collect();
    assert_eq!(
        filters,
        [
            "@system-service",
            "~@privileged @resources",
            "sched_setscheduler"
        ]
    );
    let mut allowed = calls_of("@system-service");
    // What every process is let do before a filter is asked.
    allowed.append(&mut calls_of("@default"));
    for set in ["@privileged", "@resources"] {
        let denied = calls_of(set);
        allowed.retain(|call| !denied.contains(call));
    }
    allowed.insert("sched_setscheduler".to_owned());
    assert!(allowed.len() > 150, "{allowed:?}");

    let ground = tempfile::tempdir().unwrap();
    let trace = ground.path().join("trace");
    let mut plan = Plan::loopback(ground.path().join("data"), 4);
    plan.args = ["--http", "127.0.0.1:0"].map(str::to_owned).to_vec();
    plan.wrapper = ["strace", "-f", "-qq", "-o", trace.to_str().unwrap()]
        .map(str::to_owned)
        .to_vec();
    let mut server = Server::planned(plan);
    let mut ana = RawClient::reader(&server, "ana", &["news"]);
    let id = ana.mail("ana", &vec![b'x'; 60_000]);
    ana.mail("news", b"y");
    let log = ana.log("ana").log;
    ana.read_all(log, 0).unwrap();
    ana.ack(log, id).unwrap();
    assert!(ana.lease_confirmed().port > 0);
    for path in ["/", "/metrics", "/readyz"] {
        assert_eq!(get(address(&server), path).status, 200);
    }
    let (status, _) = server.terminate();
    assert!(status.success());
    let text = std::fs::read_to_string(&trace).unwrap();
    let made = text.lines().filter_map(|line| {
        let call = line.split_once(' ')?.1.trim_start().split_once('(')?.0;
        call.chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_')
            .then(|| call.to_owned())
    });
    let made: BTreeSet<String> = made.collect();
    assert!(made.len() > 30, "{made:?}");
    let denied: Vec<&String> = made.difference(&allowed).collect();
    assert!(denied.is_empty(), "{denied:?}");
}
