//! P8: a disk that hangs ends the server, which a start can mend, instead of leaving one that takes mail in and
//! acknowledges none.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::client::{RawClient, Wishes};
use common::faults::can_trace;
use common::life::Life;
use common::{Timed, now, pause, skip};
use correio::auth::keys::KeyPair;
use correio::limits::STORE_SILENCE_MS;
use correio::protocol::request::Request;

/// What strace lets each sync take, longer than anybody waits. (What it takes for a delay ends below 2^31.)
const SYNC_US: u32 = 1_000_000_000;

/// Says whether a process has ended, though strace may keep its parent from hearing of it.
fn is_over(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[test]
fn p08_a_disk_that_hangs_ends_the_server_and_a_start_goes_on() {
    let _timed = Timed::start("disk_hangs");
    if !can_trace() {
        return skip("disk_hangs", "strace cannot trace other processes here");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut life = Life::begin(&data, &[], &[]);
    assert!(life.is_ready(), "it starts");
    let key = KeyPair::generate().expect("a key");
    let mut ana = RawClient::connect(life.place(), key.clone());
    ana.register("ana", None).expect("registers");
    ana.login(Wishes::default()).expect("logs in");
    ana.mail("ana", b"before");
    let mut strace = Command::new("strace")
        .args(["-f", "-e", "trace=fdatasync", "-e"])
        .arg(format!("inject=fdatasync:delay_enter={SYNC_US}"))
        .args(["-o", "/dev/null", "-p", &life.pid().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace runs");
    // It says so once it holds every thread.
    let mut said = BufReader::new(strace.stderr.take().expect("a pipe"));
    let mut first = String::new();
    said.read_line(&mut first).expect("it is attached");
    assert!(first.contains("attached"), "{first}");
    let send = Request::Send(ana.send_request(ana.number, &["ana"]));
    let id = ana.post(&send, Some(b"meanwhile"));
    let begun = now();
    let most = Duration::from_millis(STORE_SILENCE_MS) + Duration::from_secs(40);
    while !is_over(life.pid()) && begun.elapsed() < most {
        pause(Duration::from_millis(100));
    }
    drop(strace.kill());
    drop(strace.wait());
    assert!(begun.elapsed() < most, "it hangs with its disk");
    assert!(begun.elapsed() >= Duration::from_millis(STORE_SILENCE_MS / 2));
    assert!(ana.await_reply(id, Duration::ZERO).is_none(), "not on disk");
    let end = life.end();
    assert_eq!(end.judged(), Ok(75));
    assert!(
        end.complaint()
            .contains("the store has not answered for 120 seconds"),
        "{}",
        end.said
    );
    let mut life = Life::begin(&data, &[], &[]);
    assert!(life.is_ready(), "it starts again");
    let mut ana = RawClient::connect(life.place(), key);
    let login = ana.login(Wishes::default()).expect("logs in");
    assert!(login.logs[0].waiting >= 1, "what was acknowledged is there");
    life.stop().judged().expect("it stops");
}
