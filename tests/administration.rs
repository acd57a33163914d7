//! What an administrator does holds at once and for good: who is cut off hears nothing more on connections that he has,
//! however often he tries, and what was answered as done stands in the audit, whenever the server dies.

mod common;

use std::time::Duration;

use common::client::{RawClient, Trouble};
use common::rng::Rng;
use common::server::{Plan, Server};
use common::watch::Watcher;
use common::{PATIENCE, Timed, eventually, scale};
use correio::protocol::codes::Code;
use correio::protocol::notice::{Notice, NoticeKey};
use correio::protocol::request::{self, Admin, AdminWhat, Particulars, Request};
use serde_json::Value;

fn about(what: AdminWhat, name: &str, particulars: Particulars) -> Admin {
    Admin {
        particulars,
        ..Admin::new(what, Some(name.to_owned()))
    }
}

fn key_of(client: &mut RawClient, address: &str) -> NoticeKey {
    NoticeKey::from_hex(&client.log(address).key).expect("a notice key")
}

/// Waits for the mail with this body; everything that comes before it must be none of `secret`.
fn until_mail(watcher: &Watcher, body: &[u8]) -> Vec<Vec<u8>> {
    let is_it = |notice: &Notice, found: Option<&[u8]>| {
        matches!(notice, Notice::Mail { .. }) && found == Some(body)
    };
    let (heard, found) = watcher.until(PATIENCE, is_it);
    assert!(found, "{:?} arrives", String::from_utf8_lossy(body));
    heard.into_iter().filter_map(|(_, body)| body).collect()
}

/// bob with everything a greedy client has: a session, a live connection that is granted his keys, and requests on end.
struct Bob {
    client: RawClient,
    watcher: Watcher,
    keys: Vec<NoticeKey>,
}

impl Bob {
    fn new(server: &Server) -> Self {
        let mut client = RawClient::reader(server, "bob", &["news"]);
        let keys: Vec<NoticeKey> = ["bob", "news"]
            .map(|name| key_of(&mut client, name))
            .to_vec();
        let topics: Vec<Vec<u8>> = keys.iter().map(|key| key.to_bytes().to_vec()).collect();
        let watcher = Watcher::connect(&server.url(), server.live_port(), &client.key, &topics);
        let mut left: Vec<u64> = keys.iter().map(|key| key.log).collect();
        // Either grant may be told first, and before the own one there is nobody to tell.
        watcher.subscribe(&topics[0]);
        watcher.subscribe(&topics[1]);
        let (_, all) = watcher.until(PATIENCE, |notice, _| {
            if let Notice::Granted { log } = notice {
                left.retain(|other| other != log);
            }
            left.is_empty() || left == [keys[0].log]
        });
        assert!(all, "bob listens");
        Self {
            client,
            watcher,
            keys,
        }
    }

    /// Tries all there is, and asks for every key that could be his next.
    fn tries(&mut self, server: &Server) -> Vec<Option<Code>> {
        for key in &self.keys {
            for ahead in 0..4 {
                let next = NoticeKey {
                    generation: key.generation + ahead,
                    ..*key
                };
                self.watcher.subscribe(&next.to_bytes());
            }
        }
        let session = self.client.session.clone();
        let (own, code) = (self.keys[0].log, |trouble: Trouble| trouble.code());
        let mut refused = Vec::new();
        for request in [
            Request::Login(request::Login::default()),
            Request::Heartbeat(request::Heartbeat {
                session: session.clone(),
                known: 0,
            }),
            Request::Fetch(request::Fetch {
                session: session.clone(),
                log: own,
                after: 0,
                n: None,
                mails: 10,
                bytes: 1_000,
            }),
            Request::History(request::History {
                session: session.clone(),
                address: "news".into(),
                mails: 10,
                before: None,
            }),
        ] {
            let asked = self.client.ask::<Value>(&request);
            refused.push(asked.map_err(code).expect_err("refused"));
        }
        let sent = self.client.send(&["ana"], b"from the one who is out");
        refused.push(sent.map_err(code).expect_err("refused"));
        let again = Watcher::connect(
            &server.url(),
            server.live_port(),
            &self.client.key,
            &self
                .keys
                .iter()
                .map(|key| key.to_bytes().to_vec())
                .collect::<Vec<_>>(),
        );
        assert_eq!(again.next(Duration::from_millis(100)), None);
        refused
    }
}

/// Shuts bob out while he is there, and holds that from the answer on he gets nothing and sends nothing.
fn shut_out_by(what: AdminWhat, particulars: Particulars, code: Code) -> (Server, RawClient, Bob) {
    let server = Server::start();
    let mut ana = RawClient::reader(&server, "ana", &["news"]);
    let mut bob = Bob::new(&server);
    ana.mail("bob", b"before");
    until_mail(&bob.watcher, b"before");
    let own = key_of(&mut ana, "news").to_bytes().to_vec();
    let anas = Watcher::connect(&server.url(), server.live_port(), &ana.key, &[own]);
    let mut admin = RawClient::admin(&server);
    let done = admin
        .administer(about(what, "bob", particulars))
        .expect("done");
    assert_eq!(done.rows[0]["durability"], "fsync");
    for round in 0..3 {
        ana.mail("bob", b"secret");
        ana.mail("news", b"secret");
        let refused = bob.tries(&server);
        assert_eq!(refused, vec![Some(code); 5], "round {round}");
    }
    // What was published before a mail that ana hears now would have come to bob by now.
    let now = key_of(&mut ana, "news").to_bytes();
    anas.subscribe(&now);
    eventually("ana hears the news", || {
        ana.mail("news", b"fence");
        let is_it = |notice: &Notice, body: Option<&[u8]>| {
            matches!(notice, Notice::Mail { .. }) && body == Some(b"fence")
        };
        let (_, found) = anas.until(Duration::from_millis(200), is_it);
        found.then_some(())
    });
    assert_eq!(
        bob.watcher.next(Duration::from_millis(200)),
        None,
        "bob heard something"
    );
    let log = ana.log("ana").log;
    let read = ana.read_all(log, 0).expect("reads");
    assert!(read.is_empty(), "bob sent nothing");
    (server, ana, bob)
}

#[test]
fn p05_who_is_disabled_hears_and_sends_nothing_however_he_tries() {
    let _timed = Timed::start("p05_who_is_disabled_hears_and_sends_nothing_however_he_tries");
    let (mut server, _ana, mut bob) = shut_out_by(
        AdminWhat::UserDisable,
        Particulars::default(),
        Code::ShutOut,
    );
    server.kill9();
    server.restart();
    bob.client
        .reconnect()
        .expect_err("a restart lets nobody in");
    RawClient::admin(&server)
        .admin_deed(AdminWhat::UserEnable, "bob")
        .expect("enabled");
    bob.client.reconnect().expect("he is back");
    let log = bob.client.log("bob");
    assert_eq!(log.waiting, 4, "and has lost nothing");
}

#[test]
fn p05_who_is_kicked_hears_and_sends_nothing_however_he_tries() {
    let _timed = Timed::start("p05_who_is_kicked_hears_and_sends_nothing_however_he_tries");
    let particulars = Particulars {
        seconds: Some(3_600),
        ..Particulars::default()
    };
    let (server, _ana, mut bob) = shut_out_by(AdminWhat::SessionKick, particulars, Code::ShutOut);
    let particulars = Particulars {
        seconds: Some(0),
        ..Particulars::default()
    };
    RawClient::admin(&server)
        .administer(about(AdminWhat::SessionKick, "bob", particulars))
        .expect("taken back");
    bob.client.reconnect().expect("he is back");
}

#[test]
fn p05_whose_key_is_revoked_hears_and_sends_nothing_however_he_tries() {
    let _timed = Timed::start("p05_whose_key_is_revoked_hears_and_sends_nothing_however_he_tries");
    let particulars = Particulars {
        device: Some(2),
        ..Particulars::default()
    };
    shut_out_by(AdminWhat::KeyRevoke, particulars, Code::NotRegistered);
}

/// Returns a request's own number.
fn number(id: &[u8]) -> u64 {
    let text = std::str::from_utf8(id).ok();
    text.and_then(|text| text.parse().ok()).expect("a number")
}

/// Returns the topics that were made and removed by the audit, and what its numbers are.
fn audited(admin: &mut RawClient) -> Vec<(u64, String, String)> {
    let (mut after, mut all) = (Some("0".to_owned()), Vec::new());
    while after.is_some() {
        let question = Admin {
            after,
            ..Admin::new(AdminWhat::AuditLs, None)
        };
        let page = admin.administer(question).expect("the audit");
        for row in page.rows {
            let word = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
            let number = row["number"].as_u64().expect("a number");
            all.push((number, word("what"), word("address")));
        }
        after = page.more_after;
    }
    all
}

#[test]
fn p01_what_was_answered_as_done_is_in_the_audit_and_what_is_in_it_was_done() {
    let _timed = Timed::start("p01_what_was_answered_as_done_is_in_the_audit");
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::planned(Plan::loopback(folder.path().join("data"), 4));
    let mut rng = Rng::announced("administration");
    let (mut answered, mut topic) = (Vec::new(), 0);
    for round in 0..scale("CORREIO_ADMIN_KILLS", 8) {
        let mut admin = RawClient::admin(&server);
        let mut open = std::collections::HashMap::new();
        for _ in 0..20 + rng.below(60) {
            topic += 1;
            let name = format!("t{topic:05}");
            let deed = Admin::new(AdminWhat::TopicCreate, Some(name.clone()));
            open.insert(admin.post(&Request::Admin(deed), None), name);
        }
        // Killed in the middle of them: after some of the answers.
        for _ in 0..rng.below(20) {
            let reply = admin.take(PATIENCE).expect("an answer");
            reply.decode::<Value>().expect("done");
            let name = open.remove(&number(&reply.id)).expect("it was asked");
            answered.push(name);
        }
        server.kill9();
        server.restart();
        let mut admin = RawClient::admin(&server);
        let rows = audited(&mut admin);
        let numbers: Vec<u64> = rows.iter().map(|row| row.0).collect();
        let all: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, all, "round {round}: no number is missing");
        let mut made: Vec<String> = rows.into_iter().map(|row| row.2).collect();
        for name in &answered {
            assert!(made.contains(name), "round {round}: {name} was answered");
        }
        let topics = admin.admin_rows(AdminWhat::TopicLs, None).expect("topics");
        let mut there: Vec<String> = topics
            .iter()
            .map(|row| row["topic"].as_str().unwrap_or_default().to_owned())
            .collect();
        made.sort_unstable();
        there.sort_unstable();
        assert_eq!(made, there, "round {round}: the audit is what was done");
    }
    assert!(answered.len() > 20, "few deeds were answered");
}

#[test]
fn p05_who_loses_the_right_to_a_topic_hears_no_more_of_it_and_all_of_his_own() {
    let _timed = Timed::start("p05_who_loses_the_right_to_a_topic_hears_no_more_of_it");
    let mut server = Server::start();
    let mut ana = RawClient::reader(&server, "ana", &["news"]);
    let mut bob = Bob::new(&server);
    ana.mail("news", b"before");
    until_mail(&bob.watcher, b"before");
    let mut admin = RawClient::admin(&server);
    for right in [request::Right::Read, request::Right::Send] {
        let particulars = Particulars {
            right: Some(right),
            user: Some("ana".into()),
            ..Particulars::default()
        };
        let done = admin.administer(about(AdminWhat::TopicGrant, "news", particulars));
        assert_eq!(done.expect("granted").rows[0]["durability"], "fsync");
    }
    for round in 0..2 {
        ana.mail("news", b"secret");
        for ahead in 0..6 {
            let next = NoticeKey {
                generation: bob.keys[1].generation + ahead,
                ..bob.keys[1]
            };
            bob.watcher.subscribe(&next.to_bytes());
        }
        ana.mail("news", b"secret");
        if round == 0 {
            let fence = format!("fence {round}");
            ana.mail("bob", fence.as_bytes());
            let heard = until_mail(&bob.watcher, fence.as_bytes());
            assert!(!heard.contains(&b"secret".to_vec()), "{heard:?}");
        }
        let fetched = bob.client.fetch(bob.keys[1].log, 0);
        assert_eq!(
            fetched.map(drop).unwrap_err().code(),
            Some(Code::NoSuchAddress)
        );
        let joined = bob.client.join("news").unwrap_err();
        assert_eq!(joined.code(), Some(Code::Denied));
        let sent = bob.client.send(&["news"], b"from the one who may not");
        let sent = sent.expect("answered");
        assert_eq!(common::client::refusal(&sent[0]), Some(Code::Denied));
        server.kill9();
        server.restart();
        bob.client.reconnect().expect("he is no stranger");
    }
    let mut admin = RawClient::admin(&server);
    let particulars = Particulars {
        right: Some(request::Right::Read),
        user: Some("ana".into()),
        ..Particulars::default()
    };
    admin
        .administer(about(AdminWhat::TopicRevoke, "news", particulars))
        .expect("open again");
    assert_eq!(bob.client.log("news").waiting, 0, "he goes on at the head");
}

/// Returns the numbers of the messages that wait at a user, in order, but for the server's own.
fn waiting_at(admin: &mut RawClient, user: &str) -> Vec<u64> {
    let (mut after, mut all) = (None, Vec::new());
    loop {
        let question = Admin {
            after,
            ..about(AdminWhat::QueuePeek, user, Particulars::default())
        };
        let page = admin.administer(question).expect("envelopes");
        let mails = page.rows.iter().filter(|row| row["from"] == "carol");
        all.extend(mails.map(|row| row["message"].as_u64().expect("a number")));
        after = page.more_after;
        if after.is_none() {
            return all;
        }
    }
}

#[test]
fn p02_p03_a_move_that_is_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let _timed = Timed::start("p02_p03_a_move_that_is_killed");
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::planned(Plan::loopback(folder.path().join("data"), 4));
    let mut rng = Rng::announced("moves");
    let mut carol = RawClient::user(&server, "carol");
    for user in ["ana", "bob"] {
        RawClient::user(&server, user);
    }
    let body = vec![b'x'; 4_096];
    let sent: Vec<u64> = (0..400).map(|_| carol.mail("ana", &body)).collect();
    let particulars = Particulars {
        to: Some("bob".to_owned()),
        ..Particulars::default()
    };
    let mut kills = 0;
    loop {
        let mut admin = RawClient::admin(&server);
        let mut question = about(AdminWhat::QueueMove, "ana", particulars.clone());
        let mut is_over = false;
        // Some batches are answered, then one is under way when it dies.
        for _ in 0..rng.below(4) {
            let told = admin.administer(question.clone()).expect("moved");
            is_over = told.more_after.is_none();
            if is_over {
                break;
            }
            question.after = told.more_after;
        }
        if !is_over {
            admin.post(&Request::Admin(question), None);
            std::thread::yield_now();
        }
        server.kill9();
        server.restart();
        kills += 1;
        let mut admin = RawClient::admin(&server);
        let (at_ana, at_bob) = (waiting_at(&mut admin, "ana"), waiting_at(&mut admin, "bob"));
        let both: Vec<u64> = at_bob.iter().chain(&at_ana).copied().collect();
        assert_eq!(
            both, sent,
            "kill {kills}: each once, at one of them, in order"
        );
        if at_ana.is_empty() {
            break;
        }
    }
    assert!(kills > 1, "it was killed in the middle");
    let mut admin = RawClient::admin(&server);
    let moved = audited(&mut admin);
    assert!(moved.iter().any(|row| row.1 == "queue_move"), "{moved:?}");
}
