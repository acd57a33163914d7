//! P4 and P5: who may read what on the live socket and on the request socket, whatever is asked for.
//!
//! Silence is proven by order, not by waiting: one XPUB publishes everything, so once a watcher got
//! the mail that was sent last, nothing sent before it can still come.

mod common;

use std::time::Duration;

use common::client::{RawClient, Wishes, id_of};
use common::server::Server;
use common::watch::{Heard, Watcher};
use common::{PATIENCE, Timed};
use correio::auth::keys::KeyPair;
use correio::protocol::codes::Code;
use correio::protocol::notice::{Notice, NoticeKey};
use correio::protocol::request::{self, AdminWhat, Request};

/// Subscriptions that somebody might try: everything, names, prefixes, keys and pieces of keys.
fn greedy(keys: &[NoticeKey]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = vec![Vec::new(), vec![0], vec![0; 8], vec![0; 15], vec![0; 16]];
    for name in [
        "ana", "anabela", "a", "news", "lab/", "lab/*", "lab/one", "*", "#",
    ] {
        all.push(name.as_bytes().to_vec());
    }
    for key in keys {
        let bytes = key.to_bytes();
        all.extend([1, 7, 8, 9, 15, 16].map(|len| bytes[..len].to_vec()));
        all.push([&bytes[..], &[0]].concat());
        for generation in 0..4 {
            all.push(NoticeKey { generation, ..*key }.to_bytes().to_vec());
        }
        all.push(hex::encode(bytes).into_bytes());
    }
    all
}

fn key_of(client: &mut RawClient, address: &str) -> NoticeKey {
    NoticeKey::from_hex(&client.log(address).key).expect("a notice key")
}

/// A watcher with this client's key and these subscriptions on top of its own; waits until its own
/// subscription is in force, so that everything before it was decided.
fn watch(server: &Server, client: &mut RawClient, user: &str, topics: &[Vec<u8>]) -> Watcher {
    let own = key_of(client, user);
    let watcher = Watcher::connect(&server.url(), server.live_port(), &client.key, topics);
    watcher.subscribe(&own.to_bytes());
    let granted = Notice::Granted { log: own.log };
    let (_, found) = watcher.until(PATIENCE, |notice, _| *notice == granted);
    assert!(found, "{user}'s own subscription is granted");
    watcher
}

/// Sends `user` a last mail and returns everything that his watcher got up to it, without it.
fn up_to_a_fence(watcher: &Watcher, sender: &mut RawClient, user: &str) -> Vec<Heard> {
    let fence = sender.mail(user, b"fence");
    let is_fence = |notice: &Notice, _: Option<&[u8]>| matches!(notice, Notice::Mail { envelope, .. } if envelope.id == fence);
    let (mut heard, found) = watcher.until(PATIENCE, is_fence);
    assert!(found, "{user} gets his own mail live");
    heard.pop();
    heard
}

/// Returns the mails among what was heard, as address and body.
fn mails(heard: &[Heard]) -> Vec<(String, Vec<u8>)> {
    let mail = |(notice, body): &Heard| match notice {
        Notice::Mail { envelope, .. } => {
            Some((envelope.address.clone(), body.clone().unwrap_or_default()))
        }
        _ => None,
    };
    heard.iter().filter_map(mail).collect()
}

#[test]
fn p05_no_subscription_yields_a_mail_of_another_user() {
    let _timed = Timed::start("p05_no_subscription_yields_a_mail_of_another_user");
    let mut server = Server::start();
    let mut ana = RawClient::reader(&server, "ana", &["news", "lab/one"]);
    let mut anabela = RawClient::user(&server, "anabela");
    let mut eve = RawClient::reader(&server, "eve", &["public"]);
    let of = |address: &str| (address.to_owned(), format!("for {address}").into_bytes());
    for round in 0..2 {
        let users = [key_of(&mut ana, "ana"), key_of(&mut anabela, "anabela")];
        let topics = ["news", "lab/one"].map(|topic| key_of(&mut ana, topic));
        let mut wanted = greedy(&users);
        wanted.extend(greedy(&topics));
        wanted.push(key_of(&mut eve, "public").to_bytes().to_vec());
        let eves = watch(&server, &mut eve, "eve", &wanted);
        let anas = watch(
            &server,
            &mut ana,
            "ana",
            &topics.map(|key| key.to_bytes().to_vec()),
        );
        let anabelas = watch(&server, &mut anabela, "anabela", &greedy(&users[..1]));
        for address in ["ana", "anabela", "news", "lab/one", "public"] {
            anabela.mail(address, format!("for {address}").as_bytes());
        }
        let heard = mails(&up_to_a_fence(&eves, &mut anabela, "eve"));
        assert_eq!(
            heard,
            [of("public")],
            "round {round}: prefixes and others' keys yield nothing"
        );
        let heard = mails(&up_to_a_fence(&anabelas, &mut eve, "anabela"));
        assert_eq!(
            heard,
            [of("anabela")],
            "round {round}: ana is no way to anabela, nor back"
        );
        let heard = mails(&up_to_a_fence(&anas, &mut eve, "ana"));
        let want = [of("ana"), of("news"), of("lab/one")];
        assert_eq!(heard, want, "round {round}: the rightful reader gets it");
        server.kill9();
        server.restart();
    }
}

#[test]
fn p05_a_stranger_gets_nothing_at_all_on_the_live_socket() {
    let server = Server::start();
    let mut ana = RawClient::reader(&server, "ana", &["news"]);
    let keys = ["ana", "news"].map(|address| key_of(&mut ana, address));
    let stranger = KeyPair::generate().expect("a key");
    let spy = Watcher::connect(&server.url(), server.live_port(), &stranger, &greedy(&keys));
    let plain = plain_watcher(&server);
    let anas = watch(&server, &mut ana, "ana", &[keys[1].to_bytes().to_vec()]);
    for _ in 0..20 {
        ana.mail("news", b"secret");
        assert_eq!(
            mails(&up_to_a_fence(
                &anas,
                &mut RawClient::connect_as(&ana),
                "ana"
            ))
            .len(),
            1
        );
    }
    assert_eq!(
        spy.next(Duration::from_millis(300)),
        None,
        "a key without a user hears nothing"
    );
    let heard = plain.poll(zmq::POLLIN, 0).expect("polls");
    assert_eq!(heard, 0, "nobody is served without CURVE");
}

/// A SUB socket that speaks NULL.
fn plain_watcher(server: &Server) -> zmq::Socket {
    let socket = common::client::context()
        .socket(zmq::SUB)
        .expect("a socket");
    socket.set_linger(0).expect("an option");
    socket.set_subscribe(b"").expect("an option");
    socket
        .connect(&server.url().endpoint(server.live_port()))
        .expect("a connection");
    socket
}

#[test]
fn p05_who_left_a_topic_is_told_nothing_more_of_it() {
    let mut server = Server::start();
    let mut ana = RawClient::reader(&server, "ana", &["news", "lab/one"]);
    let mut bob = RawClient::reader(&server, "bob", &["news", "lab/*"]);
    ana.mail("news", b"while he reads");
    assert_eq!(bob.log("news").waiting, 1);
    let keys = ["news", "lab/one"].map(|topic| key_of(&mut bob, topic).to_bytes().to_vec());
    let bobs = watch(&server, &mut bob, "bob", &keys);
    ana.mail("news", b"and live");
    assert_eq!(mails(&up_to_a_fence(&bobs, &mut ana, "bob")).len(), 1);
    for topic in ["news", "lab/*"] {
        bob.leave(topic).expect("leaves");
    }
    for _ in 0..2 {
        for topic in ["news", "lab/one"] {
            ana.mail(topic, b"after he left");
        }
        for topic in ["news", "lab/one"] {
            bobs.subscribe(&key_of(&mut ana, topic).to_bytes());
        }
        ana.mail("news", b"after he asked again");
        if server.place().generation() == 1 {
            let heard = mails(&up_to_a_fence(&bobs, &mut ana, "bob"));
            assert!(heard.is_empty(), "heard live after leaving: {heard:?}");
        }
        let logs: Vec<String> = bob.logs().into_iter().map(|log| log.address).collect();
        assert_eq!(logs, ["bob"]);
        let behind = bob.heartbeat(0).expect("answered").behind;
        assert!(behind.iter().all(|log| log.address == "bob"), "{behind:?}");
        server.kill9();
        server.restart();
    }
    let joined = bob.join("news").expect("joins again").logs;
    assert_eq!(joined[0].waiting, 0, "who joins again starts at the head");
}

#[test]
fn p05_a_forgotten_device_hears_nothing_more() {
    let mut server = Server::start();
    let mut ana = RawClient::reader(&server, "ana", &["news"]);
    let mut bob = RawClient::user(&server, "bob");
    let mut old = further_device(&server, &mut ana, "ana");
    let keys = ["ana", "news"].map(|address| key_of(&mut old, address).to_bytes().to_vec());
    let olds = watch(&server, &mut old, "ana", &keys);
    bob.mail("ana", b"before");
    assert_eq!(mails(&up_to_a_fence(&olds, &mut bob, "ana")).len(), 1);
    old.logout(true).expect("forgets the device");
    for round in 0..2 {
        for key in ["ana", "news"].map(|address| key_of(&mut ana, address)) {
            olds.subscribe(&key.to_bytes());
        }
        let keys = ["ana", "news"].map(|address| key_of(&mut ana, address).to_bytes().to_vec());
        let again = Watcher::connect(&server.url(), server.live_port(), &old.key, &keys);
        let anas = watch(&server, &mut ana, "ana", &keys);
        for address in ["ana", "news"] {
            bob.mail(address, b"secret");
        }
        let heard = mails(&up_to_a_fence(&anas, &mut bob, "ana"));
        assert_eq!(
            heard.len(),
            2,
            "the other device of the same user still hears: {heard:?}"
        );
        assert_eq!(
            olds.next(Duration::from_millis(200)),
            None,
            "round {round}: old connection"
        );
        assert_eq!(
            again.next(Duration::from_millis(200)),
            None,
            "round {round}: new connection"
        );
        let login = old.ask::<serde_json::Value>(&Request::Login(request::Login::default()));
        assert_eq!(
            login.expect_err("refused").code(),
            Some(Code::NotRegistered)
        );
        server.kill9();
        server.restart();
        bob.reconnect().expect("connects");
        ana.reconnect().expect("connects");
    }
}

/// Registers a further device of a user with a code of his own.
fn further_device(server: &Server, client: &mut RawClient, user: &str) -> RawClient {
    let make = |session| {
        Request::Invite(request::Invite {
            session,
            user: None,
            device: true,
        })
    };
    let invited: correio::protocol::reply::Invited = client.call(make).expect("invited");
    let mut device = RawClient::stranger(server);
    device
        .register(user, Some(&invited.code))
        .expect("registers with the code");
    device.login(Wishes::default()).expect("logs in");
    device
}

#[test]
fn p05_a_removed_user_reads_nothing_and_his_heir_starts_empty() {
    let mut server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let mut bob = RawClient::user(&server, "bob");
    let old_key = key_of(&mut ana, "ana");
    let anas = watch(&server, &mut ana, "ana", &[]);
    bob.mail("ana", b"for the first ana");
    assert_eq!(mails(&up_to_a_fence(&anas, &mut bob, "ana")).len(), 1);
    let mut admin = RawClient::admin(&server);
    admin.admin_deed(AdminWhat::UserRm, "ana").expect("removed");
    let sent = bob.send(&["ana"], b"to nobody").expect("answered");
    assert_eq!(common::client::refusal(&sent[0]), Some(Code::NoSuchAddress));
    let taken = RawClient::stranger(&server)
        .register("ana", None)
        .expect_err("reserved");
    assert_eq!(taken.code(), Some(Code::NameTaken));
    admin.admin_deed(AdminWhat::UserFree, "ana").expect("freed");
    let mut heir = RawClient::user(&server, "ana");
    let log = heir.log("ana");
    assert_ne!(log.log, old_key.log, "a number is never used again");
    assert_eq!((log.head, log.waiting), (0, 0), "an heir starts empty");
    for _ in 0..2 {
        let heirs = watch(&server, &mut heir, "ana", &greedy(&[old_key]));
        let new_key = key_of(&mut heir, "ana");
        anas.subscribe(&new_key.to_bytes());
        let again = Watcher::connect(
            &server.url(),
            server.live_port(),
            &ana.key,
            &greedy(&[new_key]),
        );
        bob.mail("ana", b"for the heir");
        assert_eq!(mails(&up_to_a_fence(&heirs, &mut bob, "ana")).len(), 1);
        assert!(
            mails(&drain(&anas)).is_empty(),
            "the old connection hears nothing"
        );
        assert!(
            mails(&drain(&again)).is_empty(),
            "the old key hears nothing"
        );
        let fetch = Request::Fetch(request::Fetch {
            session: ana.session.clone(),
            log: new_key.log,
            after: 0,
            n: None,
            mails: 10,
            bytes: 1000,
        });
        ana.ask::<serde_json::Value>(&fetch)
            .expect_err("the old key reads nothing");
        server.kill9();
        server.restart();
        bob.reconnect().expect("connects");
        heir.reconnect().expect("connects");
    }
    assert!(
        heir.fetch(old_key.log, 0).is_err(),
        "nor does the heir read the old mail"
    );
}

fn drain(watcher: &Watcher) -> Vec<Heard> {
    watcher.until(Duration::from_millis(200), |_, _| false).0
}

#[test]
fn p05_a_topic_made_again_starts_empty_and_the_old_key_is_dead() {
    let server = Server::start();
    let mut ana = RawClient::reader(&server, "ana", &["news"]);
    let mut eve = RawClient::reader(&server, "eve", &["news"]);
    ana.mail("news", b"old");
    let old = key_of(&mut eve, "news");
    let eves = watch(&server, &mut eve, "eve", &[old.to_bytes().to_vec()]);
    RawClient::admin(&server)
        .admin_deed(AdminWhat::TopicRm, "news")
        .expect("removed");
    ana.join("news").expect("makes it again");
    let new = key_of(&mut ana, "news");
    assert_ne!(new.log, old.log);
    let anas = watch(&server, &mut ana, "ana", &[new.to_bytes().to_vec()]);
    ana.mail("news", b"new");
    let mut other = RawClient::connect_as(&ana);
    assert_eq!(mails(&up_to_a_fence(&anas, &mut other, "ana")).len(), 1);
    let heard = mails(&up_to_a_fence(&eves, &mut ana, "eve"));
    assert!(
        heard.iter().all(|(_, body)| body != b"new"),
        "eve asked for the old one only"
    );
    assert!(eve.fetch(old.log, 0).is_err(), "the old log is gone");
    let read = ana.read_all(new.log, 0).expect("reads");
    assert_eq!(read.len(), 1, "the old mail did not come back");
}

#[test]
fn p05_the_request_socket_yields_nobody_elses_mail() {
    let server = Server::start();
    let mut ana = RawClient::reader(&server, "ana", &["news"]);
    let mut anabela = RawClient::user(&server, "anabela");
    let id = ana.mail("ana", b"secret");
    let log = ana.log("ana").log;
    for after in [0, id - 1, id] {
        let denied = anabela.fetch(log, after).expect_err("not hers").code();
        assert!(
            matches!(denied, Some(Code::Denied | Code::NoSuchAddress)),
            "{denied:?}"
        );
    }
    assert!(anabela.body(log, id, 6).is_err());
    assert!(
        anabela.ack(log, id).is_err() || ana.log("ana").cursor == 0,
        "nor moves her cursor"
    );
    let history = |session| {
        Request::History(request::History {
            session,
            address: "ana".into(),
            mails: 10,
            before: None,
        })
    };
    anabela
        .call::<serde_json::Value>(history)
        .expect_err("history is hers alone");
    let join = anabela.join("ana").expect_err("nobody joins a user");
    assert_eq!(join.code(), Some(Code::IsAUser));
    let taken = RawClient::stranger(&server)
        .register("news", None)
        .expect_err("a topic's name");
    assert_eq!(taken.code(), Some(Code::NameTaken));
    let stolen = Request::Logs(request::Logs {
        session: ana.session.clone(),
        after: 0,
    });
    let refused = anabela
        .ask::<serde_json::Value>(&stolen)
        .expect_err("not hers");
    assert_eq!(
        refused.code(),
        Some(Code::NoSession),
        "a session is worth nothing without its key"
    );
}

#[test]
fn p04_what_a_client_writes_does_not_change_the_sender() {
    let server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let mut eve = RawClient::user(&server, "eve");
    let eves = eve.send_request(1, &["ana"]);
    let mut header: serde_json::Value =
        serde_json::from_slice(&Request::Send(eves).encode()).expect("JSON");
    for field in [
        "from", "sender", "user", "device", "key", "as", "id", "sent_at",
    ] {
        header[field] = "ana".into();
    }
    eve.post_frames(vec![
        b"x".to_vec(),
        header.to_string().into_bytes(),
        b"forged".to_vec(),
    ]);
    let reply = eve.take(PATIENCE).expect("answered");
    let sent: correio::protocol::reply::Sent = reply.decode().expect("sent");
    let log = ana.log("ana").log;
    let mails = ana.read_all(log, 0).expect("reads");
    assert_eq!(mails[0].envelope.id, id_of(&sent.outcomes[0]));
    assert_eq!(mails[0].envelope.from, "eve");
    let mut login = RawClient::connect(server.place(), eve.key.clone());
    let as_ana = Request::Login(request::Login {
        user: Some("ana".parse().expect("a name")),
        ..request::Login::default()
    });
    let wrong = login
        .ask::<serde_json::Value>(&as_ana)
        .expect_err("eve is not ana");
    assert_eq!(wrong.code(), Some(Code::WrongUser));
}

#[test]
fn p05_a_second_key_without_a_code_is_nobody() {
    let server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    ana.mail("ana", b"secret");
    let log = ana.log("ana").log;
    let mut second = RawClient::stranger(&server);
    let refused = second.register("ana", None).expect_err("refused");
    assert_eq!(refused.code(), Some(Code::NeedsCode));
    let refused = second.register("ana", Some("guess")).expect_err("refused");
    assert_eq!(refused.code(), Some(Code::BadCode));
    let login = second.ask::<serde_json::Value>(&Request::Login(request::Login::default()));
    assert_eq!(
        login.expect_err("refused").code(),
        Some(Code::NotRegistered)
    );
    second.session.clone_from(&ana.session);
    for request in every_verb(&second.session, log) {
        let verb = request.verb();
        let code = second
            .ask::<serde_json::Value>(&request)
            .expect_err(verb)
            .code();
        let no = [
            Code::NotRegistered,
            Code::NoSession,
            Code::Denied,
            Code::BadRequest,
        ];
        assert!(
            code.is_some_and(|code| no.contains(&code)),
            "{verb}: {code:?}"
        );
    }
    let other = further_device(&server, &mut ana, "ana");
    let code_once = other.key.public;
    assert_ne!(code_once, ana.key.public);
}

#[test]
fn p05_a_code_works_once_and_for_its_own_user() {
    let server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let _bob = RawClient::user(&server, "bob");
    let make = |session| {
        Request::Invite(request::Invite {
            session,
            user: None,
            device: true,
        })
    };
    let invited: correio::protocol::reply::Invited = ana.call(make).expect("invited");
    let mut other = RawClient::stranger(&server);
    other
        .register("bob", Some(&invited.code))
        .expect_err("a code of ana's is none of bob's");
    other
        .register("ana", Some(&invited.code))
        .expect("a second device");
    other
        .register("ana", Some(&invited.code))
        .expect("the same key gets the same answer");
    let mut third = RawClient::stranger(&server);
    let used = third
        .register("ana", Some(&invited.code))
        .expect_err("single use");
    assert_eq!(used.code(), Some(Code::BadCode));
}

/// One request of every verb that needs a session or an admin.
fn every_verb(session: &str, log: u64) -> Vec<Request> {
    let s = || session.to_owned();
    let pattern = || "news".parse().expect("a topic");
    let word = || request::LeaseWord {
        session: s(),
        port: 5600,
        epoch: 1,
    };
    vec![
        Request::Logs(request::Logs {
            session: s(),
            after: 0,
        }),
        Request::Heartbeat(request::Heartbeat {
            session: s(),
            known: 0,
        }),
        Request::Send(request::Send {
            session: s(),
            stream: 1,
            number: 1,
            settled_below: 1,
            to: vec!["ana".into()],
            subject: String::new(),
            content_type: request::default_content_type(),
            ttl_s: None,
            parts: None,
            in_reply_to: None,
            thread: None,
        }),
        Request::Fetch(request::Fetch {
            session: s(),
            log,
            after: 0,
            n: None,
            mails: 10,
            bytes: 1000,
        }),
        Request::History(request::History {
            session: s(),
            address: "ana".into(),
            mails: 10,
            before: None,
        }),
        Request::Body(request::Body {
            session: s(),
            log,
            id: 1,
            offset: 0,
        }),
        Request::Ack(request::Ack {
            session: s(),
            logs: vec![(log, 1)],
        }),
        Request::Join(request::Join {
            session: s(),
            topic: pattern(),
            from: request::From::Now,
        }),
        Request::Leave(request::Leave {
            session: s(),
            topic: pattern(),
        }),
        Request::Topics(request::Topics {
            session: s(),
            after: None,
        }),
        Request::Topic(request::Topic {
            session: s(),
            topic: "news".into(),
        }),
        Request::Invite(request::Invite {
            session: s(),
            user: None,
            device: true,
        }),
        Request::Lease(request::Lease { session: s() }),
        Request::LeaseConfirm(word()),
        Request::LeaseBusy(word()),
        Request::LeaseRelease(word()),
        Request::Close(request::Close { session: s() }),
        Request::Admin(request::Admin {
            what: AdminWhat::QueuePeek,
            after: None,
            address: Some("ana".into()),
            body: true,
            particulars: request::Particulars::default(),
        }),
    ]
}
