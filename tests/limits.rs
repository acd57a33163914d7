//! P7, P8 and P10: what is full says so, what expired or was trimmed is counted and told, and a lost
//! live frame loses nothing.

mod common;

use std::io::{BufRead, BufReader};
use std::time::Duration;

use common::client::{RawClient, id_of, refusal};
use common::ctl::Ctl;
use common::server::Server;
use common::{PATIENCE, Timed, eventually, now};
use correio::protocol::codes::Code;
use correio::protocol::reply::Trimmed;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn p07_a_full_mailbox_refuses_the_sender_and_nobody_else() {
    let server = Server::start_with(4, &["--mailbox-mails", "5", "--mailbox-bytes", "1000"]);
    let mut ana = RawClient::user(&server, "ana");
    let mut bob = RawClient::user(&server, "bob");
    let _carla = RawClient::user(&server, "carla");
    for _ in 0..5 {
        ana.mail("bob", b"x");
    }
    let sent = ana
        .send(&["bob", "carla"], b"one too many")
        .expect("answered");
    assert_eq!(refusal(&sent[0]), Some(Code::MailboxFull));
    id_of(&sent[1]);
    let sent = ana.send(&["carla"], &[b'x'; 990]).expect("answered");
    assert_eq!(
        refusal(&sent[0]),
        Some(Code::MailboxFull),
        "bytes count too"
    );
    let log = bob.log("bob");
    assert_eq!(
        bob.read_all(log.log, 0).expect("reads").len(),
        5,
        "what was taken is there"
    );
}

#[test]
fn p07_expired_mail_is_counted_and_told() {
    let _timed = Timed::start("p07_expired_mail_is_counted_and_told");
    let mut server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let mut bob = RawClient::user(&server, "bob");
    for (body, ttl_s) in [(b"a", Some(1)), (b"b", None), (b"c", Some(1)), (b"d", None)] {
        ana.send_with(&["bob"], body, |send| send.ttl_s = ttl_s)
            .expect("sent");
    }
    let log = bob.log("bob").log;
    let told = |bob: &mut RawClient| {
        let (page, mails) = bob.fetch_page(log, 0, Some(0), 100).expect("a page");
        let bodies: Vec<Vec<u8>> = mails.into_iter().map(|mail| mail.body).collect();
        (page.trimmed, bodies)
    };
    let left = vec![b"b".to_vec(), b"d".to_vec()];
    for _ in 0..2 {
        eventually("the expired mails gone and told", || {
            let (trimmed, bodies) = told(&mut bob);
            assert!(bodies.len() >= 2, "what has no expiry stays: {bodies:?}");
            let wanted = Some(Trimmed {
                count: 2,
                from_id: 0,
            });
            (trimmed == wanted && bodies == left).then_some(())
        });
        server.kill9();
        server.restart();
    }
}

#[test]
fn p07_refresh_tells_what_went_unread() {
    let _timed = Timed::start("p07_refresh_tells_what_went_unread");
    let server = Server::start_with(4, &["--mailbox-mails", "10", "--history-mails", "3"]);
    let homes = tempfile::tempdir().expect("a folder");
    let bob = Ctl::new(&server, homes.path());
    bob.ok(&["login", "bob", "--topic", "news"]);
    let mut ana = RawClient::user(&server, "ana");
    for nth in 0..25 {
        ana.mail("news", format!("mail {nth}").as_bytes());
    }
    let mut admin = RawClient::admin(&server);
    eventually("the topic trimmed to its limit", || {
        use correio::protocol::request::AdminWhat;
        let rows = admin.admin_rows(AdminWhat::TopicLs, None).expect("rows");
        let news = rows
            .iter()
            .find(|row| row["topic"] == "news")
            .expect("listed");
        (news["mails"].as_u64()? <= 10).then_some(())
    });
    let objects = bob.ok(&["refresh", "--json"]).objects();
    let mails = objects
        .iter()
        .filter(|object| object["kind"] == "mail")
        .count() as u64;
    let trimmed: u64 = objects
        .iter()
        .filter(|object| object["kind"] == "trimmed")
        .map(|object| object["count"].as_u64().expect("a count"))
        .sum();
    assert!(
        mails <= 10 && trimmed >= 15,
        "{mails} mails, {trimmed} trimmed"
    );
    assert_eq!(mails + trimmed, 25, "every mail is shown or counted");
    let again = bob.ok(&["refresh", "--json"]).objects();
    assert!(again.is_empty(), "told once: {again:?}");
}

#[test]
fn p10_without_any_live_frame_a_heartbeat_tells_what_is_new() {
    let server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let mut bob = RawClient::reader(&server, "bob", &["news"]);
    let beat = bob.heartbeat(0).expect("answered");
    assert!(
        beat.behind.iter().all(|log| log.head == 0),
        "{:?}",
        beat.behind
    );
    let ids = ["bob", "news"].map(|address| ana.mail(address, b"x"));
    let beat = bob.heartbeat(beat.through).expect("answered");
    let heads: Vec<u64> = beat.behind.iter().map(|log| log.head).collect();
    assert_eq!(heads.iter().max(), ids.iter().max());
    assert_eq!(heads.len(), 2);
    let beat = bob.heartbeat(beat.through).expect("answered");
    assert!(beat.behind.is_empty(), "what is known is not told again");
}

#[test]
fn p10_a_watch_that_stood_still_shows_all_it_missed() {
    // More than libzmq and the kernel hold for one reader, so that notices are lost for certain.
    const MAILS: usize = 4_500;
    let _timed = Timed::start("p10_a_watch_that_stood_still_shows_all_it_missed");
    let server = Server::start();
    let homes = tempfile::tempdir().expect("a folder");
    let bob = Ctl::new(&server, homes.path());
    bob.ok(&["login", "bob"]);
    let mut watch = bob.spawn(&["watch", "--json"]);
    let stdout = watch.stdout.take().expect("a pipe");
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines
            .take_while(|line| send.send(line.clone()).is_ok())
            .for_each(drop);
    });
    let mut ana = RawClient::user(&server, "ana");
    eventually("a watch at work", || {
        ana.mail("bob", b"first");
        lines.recv_timeout(Duration::from_millis(500)).ok()
    });
    let pid = Pid::from_raw(i32::try_from(watch.id()).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::STOP).expect("stopped");
    pump(&mut ana, MAILS);
    kill_process(pid, Signal::CONT).expect("goes on");
    let begin = now();
    let mut shown = Vec::new();
    while shown.len() < MAILS && begin.elapsed() < PATIENCE * 4 {
        let Ok(line) = lines.recv_timeout(PATIENCE) else {
            break;
        };
        let mail: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        if let Some(nth) = mail["body"]
            .as_str()
            .and_then(|body| body.trim_end().parse::<usize>().ok())
        {
            shown.push(nth);
        }
    }
    drop(watch.kill());
    drop(watch.wait());
    let first_wrong = shown.iter().enumerate().find(|(place, nth)| place != *nth);
    assert_eq!(first_wrong, None, "all, once, in order");
    assert_eq!(shown.len(), MAILS, "all in good time");
}

/// Sends `count` numbered mails of 12 KiB to bob, many at a time.
fn pump(ana: &mut RawClient, count: usize) {
    use correio::protocol::request::Request;
    let mut answered = 0;
    for nth in 0..count {
        let request = Request::Send(ana.send_request(ana.number, &["bob"]));
        ana.post(&request, Some(format!("{nth:<12288}").as_bytes()));
        ana.number += 1;
        while nth + 1 - answered > 200 {
            ana.take(PATIENCE).expect("answered");
            answered += 1;
            ana.settled_below = ana.number - (nth as u64 + 1 - answered as u64);
        }
    }
    while answered < count {
        ana.take(PATIENCE).expect("answered");
        answered += 1;
    }
}
