//! The HTTP side of a real server, over real TCP: health, metrics, events, and strangers who connect.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests drive real processes in real time"
)]
#![allow(clippy::unwrap_used, reason = "all of this file is tests")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::client::{RawClient, refusal};
use common::faults::{SlowDisk, can_trace};
use common::http::{Events, address, connect, count, get, raw, value};
use common::process::{open_files, threads};
use common::server::{Plan, Server};
use common::{eventually, skip};
use correio::protocol::request::{Admin, AdminWhat};
use rustix::process::Signal;

fn serving() -> (Server, SocketAddr) {
    let server = Server::start_with(4, &["--http", "127.0.0.1:0"]);
    let at = address(&server);
    (server, at)
}

/// Asks a server's program about it; returns its code and what it said.
fn healthcheck(server: &Server, more: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mailserver"))
        .env_clear()
        .arg("healthcheck")
        .args(more)
        .arg("--data-dir")
        .arg(server.data())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[test]
fn metrics_are_true() {
    let (server, at) = serving();
    let mut ana = RawClient::user(&server, "ana");
    let mut bob = RawClient::user(&server, "bob");
    let before = get(at, "/metrics").body;
    assert_eq!(count(&before, "mailserver_users"), 2);
    assert_eq!(count(&before, "mailserver_sessions"), 2);
    assert_eq!(count(&before, "mailserver_mails_accepted_total"), 0);
    assert_eq!(count(&before, "mailserver_oldest_waiting_seconds"), 0);
    let commits = count(&before, "mailserver_sync_seconds_count");
    let acks = count(&before, "mailserver_ack_seconds_count");
    for text in ["one", "two", "three"] {
        ana.mail("bob", text.as_bytes());
    }
    let nobody = ana.send(&["nobody"], b"?").unwrap();
    assert!(refusal(&nobody[0]).is_some());
    let log = bob.log("bob");
    bob.fetch(log.log, 0).unwrap();

    let page = fresh(at, "mailserver_mails_accepted_total", 3);
    let deepest = "{address=\"bob\",user=\"bob\",device=\"2\"}";
    assert_eq!(count(&page, &format!("mailserver_queue_mails{deepest}")), 3);
    assert!(value(&page, &format!("mailserver_queue_oldest_seconds{deepest}")) < 60.0);
    assert_eq!(count(&page, "mailserver_waiting_mails"), 3);
    assert_eq!(count(&page, "mailserver_waiting_bytes"), 11);
    assert!(value(&page, "mailserver_oldest_waiting_seconds") > 0.0);
    assert_eq!(count(&page, "mailserver_kept_mails"), 3);
    assert_eq!(count(&page, "mailserver_queues_waiting"), 1);
    let refused = "mailserver_refusals_total{code=\"no_such_address\"}";
    assert_eq!(count(&page, refused), 1);
    assert_eq!(count(&page, "mailserver_mails_redelivered_total"), 0);
    assert_eq!(count(&page, "mailserver_mails_delivered_total"), 0);
    assert_eq!(count(&page, "mailserver_leases{state=\"free\"}"), 4);
    assert!(count(&page, "mailserver_sync_seconds_count") >= commits + 3);
    assert!(count(&page, "mailserver_ack_seconds_count") >= acks + 3);
    assert!(value(&page, "mailserver_ack_seconds_sum") > 0.0);
    assert!(value(&page, "mailserver_memory_bytes") > 1e6);
    assert!(value(&page, "mailserver_store_bytes") > 0.0);
    assert!(value(&page, "mailserver_disk_free_bytes") > 0.0);

    let (_, mails) = bob.fetch(log.log, 0).unwrap();
    assert_eq!(mails.len(), 3);
    bob.ack(log.log, mails[2].envelope.id).unwrap();
    let page = fresh(at, "mailserver_mails_delivered_total", 3);
    assert_eq!(count(&page, "mailserver_mails_redelivered_total"), 3);
    assert_eq!(count(&page, "mailserver_waiting_mails"), 0);
    assert_eq!(count(&page, "mailserver_oldest_waiting_seconds"), 0);
    assert!(!page.contains(&format!("mailserver_queue_mails{deepest}")));
}

/// Reads metrics until one has a value: figures are a second old at most.
fn fresh(at: SocketAddr, metric: &str, wanted: u64) -> String {
    eventually(metric, || {
        let page = get(at, "/metrics").body;
        (count(&page, metric) == wanted).then_some(page)
    })
}

#[test]
fn connections_that_are_not_let_in_are_counted() {
    let (server, at) = serving();
    let context = zmq::Context::new();
    let stranger = context.socket(zmq::SUB).unwrap();
    let keys = zmq::CurveKeyPair::new().unwrap();
    stranger.set_curve_serverkey(&server.url().key).unwrap();
    stranger.set_curve_publickey(&keys.public_key).unwrap();
    stranger.set_curve_secretkey(&keys.secret_key).unwrap();
    let live = format!("tcp://127.0.0.1:{}", server.live_port());
    stranger.connect(&live).unwrap();
    eventually("a denied connection", || {
        let page = get(at, "/metrics").body;
        let denied = count(&page, "mailserver_zap_denied_total{reason=\"key\"}");
        (denied > 0).then_some(())
    });
}

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    if Command::new("promtool").arg("--version").output().is_err() {
        return skip(
            "promtool check metrics",
            "there is no promtool (Debian: prometheus)",
        );
    }
    let (server, at) = serving();
    let mut ana = RawClient::user(&server, "ana");
    ana.mail("ana", b"to myself");
    let page = fresh(at, "mailserver_waiting_mails", 1);
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = tool.stdin.take().unwrap();
    input.write_all(page.as_bytes()).unwrap();
    drop(input);
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn healthy_and_ready_are_said_three_ways() {
    let (mut server, at) = serving();
    assert_eq!(get(at, "/healthz").body, "alive\n");
    let ready = get(at, "/readyz");
    assert_eq!(ready.status, 200, "{}", ready.body);
    assert!(ready.body.starts_with("ready: "), "{}", ready.body);
    let (code, said) = healthcheck(&server, &[]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        healthcheck(&server, &["--alive"]),
        (0, "alive\n".to_owned())
    );
    server.kill9();
    let (code, said) = healthcheck(&server, &[]);
    assert_eq!(code, 69, "{said}");
    server.set_args(&["--http", "off"]);
    server.restart();
    let (code, said) = healthcheck(&server, &[]);
    assert_eq!(code, 78, "{said}");
    server.terminate();
    let (code, said) = healthcheck(&server, &[]);
    assert_eq!(code, 69, "{said}");
}

#[test]
fn a_store_that_is_late_is_not_ready_and_the_server_is_alive() {
    if !can_trace() {
        return skip("a store that is late", "nothing can be traced here");
    }
    let (server, at) = serving();
    let slow = SlowDisk::of(server.pid(), Duration::from_millis(3_500));
    let late = get(at, "/readyz");
    assert_eq!(late.status, 503, "{}", late.body);
    assert!(
        late.body.contains("the store took nothing in"),
        "{}",
        late.body
    );
    assert_eq!(get(at, "/healthz").status, 200);
    assert_eq!(get(at, "/metrics").status, 200);
    let (code, said) = healthcheck(&server, &[]);
    assert_eq!(code, 75, "{said}");
    drop(slow);
    eventually("it is ready again", || {
        (get(at, "/readyz").status == 200).then_some(())
    });
}

#[test]
fn p09_a_thousand_slow_connections_harm_nobody() {
    common::crowd::raise_open_files();
    let (server, at) = serving();
    let mut ana = RawClient::user(&server, "ana");
    let before = open_files(server.pid());
    let threads_before = threads(server.pid());
    let mut slow = Vec::new();
    for number in 0..1_000 {
        let mut stream = TcpStream::connect(at).unwrap();
        // Some say nothing, some begin and never end.
        if number % 2 == 0 {
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
                .unwrap();
        }
        slow.push(stream);
    }
    let begin = Instant::now();
    assert_eq!(get(at, "/healthz").status, 200);
    assert_eq!(get(at, "/readyz").status, 200);
    ana.mail("ana", b"through it all");
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
    let files = open_files(server.pid());
    assert!(files <= before + 70, "{before} files before, {files} now");
    assert_eq!(threads(server.pid()), threads_before);
    // A thousand more, each with a byte at a time and a whole request, and nobody reads.
    for stream in &mut slow {
        drop(stream.write_all(b"x\r\n\r\n"));
    }
    assert_eq!(get(at, "/healthz").status, 200);
    drop(slow);
    eventually("their files are given back", || {
        (open_files(server.pid()) <= before + 2).then_some(())
    });
}

#[test]
fn p09_any_bytes_are_answered_or_hung_up_on() {
    let (server, at) = serving();
    let host = format!("Host: {at}\r\n");
    for (request, status) in [
        ("\0\0\0\r\n\r\n".to_owned(), 400),
        (format!("GET /nowhere HTTP/1.1\r\n{host}\r\n"), 404),
        (format!("GET /../../etc/passwd HTTP/1.1\r\n{host}\r\n"), 404),
        (
            format!("POST /metrics HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc"),
            405,
        ),
        (
            "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
            421,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(9_000)),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(100)),
            431,
        ),
    ] {
        let answer = raw(at, request.as_bytes());
        assert_eq!(answer.status, status, "{request:.60}: {}", answer.body);
    }
    let mut silent = connect(at);
    let mut rest = Vec::new();
    let begin = Instant::now();
    silent.read_to_end(&mut rest).unwrap();
    assert!(
        rest.is_empty(),
        "a client that says nothing is told nothing"
    );
    assert!(begin.elapsed() > Duration::from_secs(4));
    assert_eq!(get(at, "/healthz").status, 200);
    drop(server);
}

#[test]
fn p12_every_answer_forbids_what_a_page_should_not_do() {
    let (_server, at) = serving();
    for path in ["/", "/page.js", "/page.css", "/metrics", "/nowhere"] {
        let headers = get(at, path).headers;
        for header in [
            "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self';",
            "X-Content-Type-Options: nosniff",
            "Cache-Control: no-store",
        ] {
            assert!(headers.contains(header), "{path}: {header}: {headers}");
        }
    }
    let head = raw(
        at,
        format!("HEAD / HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes(),
    );
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn events_come_every_second_and_go_on_after_a_restart() {
    let (mut server, at) = serving();
    let mut ana = RawClient::user(&server, "ana");
    let mut events = Events::open(at);
    let first = events.next_event();
    assert_eq!(first["counts"]["accepted"], 0);
    ana.mail("ana", b"x");
    let told = eventually("the mail in an event", || {
        let event = events.next_event();
        (event["counts"]["accepted"] == 1).then_some(event)
    });
    assert_eq!(told["queues"]["deepest"][0]["address"], "ana");
    assert_eq!(told["queues"]["oldest"][0]["mails"], 1);
    assert_eq!(told["state"]["newest_sessions"][0]["user"], "ana");
    let mut quota = Admin::new(AdminWhat::UserQuota, Some("ana".to_owned()));
    quota.particulars.limits.mails_max = Some(77);
    let mut admin = RawClient::admin(&server);
    admin.administer(quota).expect("set");
    let told = eventually("the deed in an event", || {
        let event = events.next_event();
        (!event["state"]["deeds"][0].is_null()).then_some(event)
    });
    let deed = &told["state"]["deeds"][0];
    assert_eq!(
        (&deed["what"], &deed["address"], &deed["by"]),
        (&"user_quota".into(), &"ana".into(), &"".into())
    );
    assert!(
        !told.to_string().contains("mails 77"),
        "its note is in the audit only"
    );
    server.kill9();
    server.restart();
    assert_eq!(address(&server), at, "a port picked for 0 is remembered");
    let after = Events::open(at).next_event();
    assert_eq!(after["counts"]["accepted"], 0);
    assert_eq!(after["queues"]["mails"], 1);
    assert_eq!(&after["state"]["deeds"][0], deed);
}

#[test]
fn a_dashboard_too_many_is_told_so_and_one_that_stalls_is_dropped() {
    let (server, at) = serving();
    let mut open: Vec<Events> = (0..16).map(|_| Events::open(at)).collect();
    let refused = get(at, "/events");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(get(at, "/healthz").status, 200);
    for events in &mut open {
        assert_eq!(events.next_event()["state"]["sessions"], 0);
    }
    drop(open);
    eventually("there is room again", || {
        let mut stream = connect(at);
        let request = format!("GET /events HTTP/1.1\r\nHost: {at}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        first.ends_with(b"200").then_some(())
    });
    drop(server);
}

/// What a start that fails says, and its code.
fn complaint(args: &[&str]) -> (i32, String) {
    let ground = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_mailserver"))
        .env_clear()
        .args(["--bind", "tcp://127.0.0.1:0", "--data-dir"])
        .arg(ground.path().join("data"))
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

#[test]
fn p05_http_is_not_shown_to_the_network_unless_that_is_said() {
    let (code, said) = complaint(&["--http", "0.0.0.0:0"]);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("--http-exposed yes"), "{said}");
    let server = Server::start_with(1, &["--http", "0.0.0.0:0", "--http-exposed", "yes"]);
    let (code, said) = healthcheck(&server, &[]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_port_that_is_taken_stops_who_asked_for_it_and_nobody_else() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let (code, said) = complaint(&["--http", &place]);
    assert_eq!(code, 73, "{said}");
    assert!(said.contains("--http off"), "{said}");

    // By default it goes on without: ten ports above the request socket's somebody listens.
    let ground = tempfile::tempdir().unwrap();
    let mut plan = Plan::loopback(ground.path().join("data"), 12);
    plan.args = ["--http", "auto"].map(str::to_owned).to_vec();
    let mut server = Server::unstarted(plan);
    let _taken = TcpListener::bind(("127.0.0.1", server.live_port() + 9)).unwrap();
    server.restart();
    let text = std::fs::read_to_string(server.data().join("server.json")).unwrap();
    assert!(text.contains("\"http\":null"), "{text}");
    assert!(server.log().contains("no HTTP"), "{}", server.log());
}

#[test]
fn a_server_that_stops_hangs_up() {
    let (mut server, at) = serving();
    let mut events = Events::open(at);
    events.next_event();
    server.signal(Signal::STOP);
    let mut stalled = connect(at);
    stalled
        .write_all(format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes())
        .unwrap();
    server.signal(Signal::CONT);
    let mut text = String::new();
    stalled.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let (status, took) = server.terminate();
    assert!(status.success());
    assert!(took < Duration::from_secs(3), "{took:?}");
}
