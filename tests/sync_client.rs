//! P2 on the client's side: `mailctl` runs under strace; a send is on disk under its number before it
//! is tried, and a mail is on disk before it is acknowledged. A kill shows neither: what was written
//! and not synced survives a kill.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::ctl::Ctl;
use common::server::Server;
use common::trace::{Call, parse};
use common::{Timed, skip};

/// Runs `mailctl` under strace to a good end and returns what it did; nothing where strace does not run.
fn traced(ctl: &Ctl, folder: &Path, args: &[&str]) -> Option<Vec<Call>> {
    let tried = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let trace = folder.join("trace");
    let calls = "trace=fdatasync,fsync,openat,rename,sendto,sendmsg,write,writev";
    let words = [
        "strace", "-f", "-ttt", "-T", "-yy", "-s", "0", "-e", calls, "-o",
    ];
    let mut wrapper: Vec<String> = words.iter().map(ToString::to_string).collect();
    wrapper.extend([trace.to_string_lossy().into_owned(), "--".to_owned()]);
    ctl.clone().wrapped(&wrapper).ok(args);
    Some(parse(
        &std::fs::read_to_string(trace).expect("strace wrote"),
    ))
}

/// A server, and the homes of ana and bob.
fn two_users(folder: &Path) -> (Server, Ctl, Ctl) {
    let server = Server::start();
    let [ana, bob] = ["ana", "bob"].map(|name| {
        let home = folder.canonicalize().expect("it exists").join(name);
        std::fs::create_dir(&home).expect("a new folder");
        let ctl = Ctl::new(&server, &home);
        ctl.ok(&["login", name]);
        ctl
    });
    (server, ana, bob)
}

/// A rename in a trace: when it was over, and the new name.
fn renamed(calls: &[Call], is: impl Fn(&str) -> bool) -> (f64, PathBuf) {
    let call = calls
        .iter()
        .find(|call| call.name == "rename" && call.returned == 0 && is(&call.path));
    let call = call.expect("the trace shows the rename");
    (call.end, PathBuf::from(&call.path))
}

/// Returns the end of the first sync of `path` in a span of time.
fn synced(calls: &[Call], path: impl Fn(&str) -> bool, (from, to): (f64, f64)) -> f64 {
    let call = calls
        .iter()
        .find(|call| call.is_sync() && path(&call.target) && call.start >= from && call.end <= to);
    call.expect("it was synced, and in time").end
}

/// Returns when the first request went out after `from`.
fn tried(calls: &[Call], port: u16, from: f64) -> f64 {
    let call = calls
        .iter()
        .find(|call| call.is_sent_to(port) && call.start >= from);
    call.expect("a request went out").start
}

/// A file of a send that has its number: `<entry>.<stream>-<number>-<settled below>.mail`.
fn is_numbered(path: &str) -> bool {
    let place = path
        .strip_suffix(".mail")
        .and_then(|path| path.rsplit_once('.'));
    place.is_some_and(|(_, place)| place.split('-').all(|number| number.parse::<u64>().is_ok()))
}

/// A file under the name it is written to before it is renamed.
fn is_aside(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|end| end == "aside")
}

#[test]
fn p02_a_send_is_on_disk_under_its_number_before_it_is_tried() {
    let _timed = Timed::start("p02_a_send_is_on_disk_under_its_number_before_it_is_tried");
    let folder = tempfile::tempdir().expect("a folder");
    let (server, ana, _bob) = two_users(folder.path());
    let Some(calls) = traced(&ana, folder.path(), &["send", "@bob", "-b", "hello"]) else {
        return skip(
            "p02_a_send_is_on_disk_under_its_number",
            "strace does not run here",
        );
    };
    let (numbered, name) = renamed(&calls, is_numbered);
    let outbox = name.parent().expect("it lies in the outbox").to_owned();
    let tried = tried(&calls, server.url().port, numbered);
    synced(&calls, is_aside, (0.0, numbered));
    synced(&calls, |path| Path::new(path) == outbox, (numbered, tried));
}

#[test]
fn p02_a_mail_is_on_disk_before_it_is_acknowledged() {
    let _timed = Timed::start("p02_a_mail_is_on_disk_before_it_is_acknowledged");
    let folder = tempfile::tempdir().expect("a folder");
    let (server, ana, bob) = two_users(folder.path());
    ana.ok(&["send", "@bob", "-b", "hello"]);
    let Some(calls) = traced(&bob, folder.path(), &["refresh"]) else {
        return skip(
            "p02_a_mail_is_on_disk_before_it_is_acknowledged",
            "strace does not run here",
        );
    };
    let (arrived, mail) = renamed(&calls, |path| path.contains("/mail/new/"));
    let new = mail.parent().expect("it lies in new/").to_owned();
    let aside = |path: &str| path.contains("/mail/tmp/");
    synced(&calls, aside, (0.0, arrived));
    let is_marks = |path: &str| path.ends_with("/marks.json");
    let after: Vec<Call> = calls
        .into_iter()
        .filter(|call| call.start >= arrived)
        .collect();
    let (marked, marks) = renamed(&after, is_marks);
    let account = marks.parent().expect("they lie in the account").to_owned();
    // The next thing said to the server is the acknowledgement.
    let told = tried(&after, server.url().port, arrived);
    synced(&after, |path| Path::new(path) == new, (arrived, marked));
    synced(
        &after,
        |path| path.ends_with("/marks.json.tmp"),
        (arrived, marked),
    );
    synced(&after, |path| Path::new(path) == account, (marked, told));
}
