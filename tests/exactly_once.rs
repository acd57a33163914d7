//! P3: a send is carried out exactly once however often and however late it is retried.

mod common;

use common::client::{RawClient, id_of, is_duplicate, refusal};
use common::server::Server;
use common::{Timed, eventually};
use correio::protocol::codes::Code;
use correio::protocol::reply::{Outcome, Sent};
use correio::protocol::request::{self, Request};

fn same(_: &mut request::Send) {}

/// Sends `body` under number 1 and says what came back.
fn first(client: &mut RawClient, body: &[u8]) -> Vec<Outcome> {
    client
        .send_as(1, &["ana", "news"], body, same)
        .expect("a send is answered")
}

/// A retry must bring the first ids again and say that it is one.
fn assert_retry(first: &[Outcome], again: &[Outcome]) {
    let ids = |outcomes: &[Outcome]| outcomes.iter().map(id_of).collect::<Vec<_>>();
    assert_eq!(ids(first), ids(again), "a retry gets the first outcome");
    assert!(
        again.iter().all(is_duplicate),
        "and says that it is one: {again:?}"
    );
}

fn ana(server: &Server) -> RawClient {
    RawClient::reader(server, "ana", &["news"])
}

#[test]
fn p03_retry_gets_the_first_outcome() {
    let server = Server::start();
    let mut ana = ana(&server);
    let sent = first(&mut ana, b"one");
    assert!(!sent.iter().any(is_duplicate));
    for _ in 0..3 {
        assert_retry(&sent, &first(&mut ana, b"one"));
    }
    ana.reconnect().expect("connects again");
    assert_retry(&sent, &first(&mut ana, b"one"));
    for address in ["ana", "news"] {
        let log = ana.log(address);
        assert_eq!(
            ana.read_all(log.log, 0).expect("reads").len(),
            1,
            "{address}"
        );
    }
}

#[test]
fn p03_retry_after_restarts_gets_the_first_outcome() {
    let mut server = Server::start();
    let mut ana = ana(&server);
    let sent = first(&mut ana, b"one");
    server.kill9();
    server.restart();
    assert_retry(&sent, &first(&mut ana, b"one"));
    let (status, _) = server.terminate();
    assert!(status.success());
    server.restart();
    assert_retry(&sent, &first(&mut ana, b"one"));
    let log = ana.log("ana");
    assert_eq!(ana.read_all(log.log, 0).expect("reads").len(), 1);
}

#[test]
fn p03_retry_after_the_mail_was_read_acknowledged_and_trimmed() {
    let _timed = Timed::start("p03_retry_after_the_mail_was_read_acknowledged_and_trimmed");
    let mut server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let mut bob = RawClient::user(&server, "bob");
    let sent = ana.send_as(1, &["bob"], b"one", same).expect("sent");
    let id = id_of(&sent[0]);
    let log = bob.log("bob").log;
    assert_eq!(bob.read_all(log, 0).expect("reads").len(), 1);
    bob.ack(log, id).expect("acknowledged");
    eventually("the mail trimmed", || {
        bob.read_all(log, 0)
            .expect("reads")
            .is_empty()
            .then_some(())
    });
    let again = ana.send_as(1, &["bob"], b"one", same).expect("answered");
    assert_retry(&sent, &again);
    server.kill9();
    server.restart();
    let again = ana.send_as(1, &["bob"], b"one", same).expect("answered");
    assert_retry(&sent, &again);
    assert!(
        bob.read_all(log, 0).expect("reads").is_empty(),
        "nothing was stored again"
    );
    assert_eq!(bob.log("bob").head, id);
}

#[test]
fn p03_a_settled_number_is_refused_and_never_carried_out() {
    let mut server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let id = ana.mail("ana", b"one");
    ana.mail("ana", b"two settles one");
    let log = ana.log("ana").log;
    for _ in 0..2 {
        let again = ana.send_as(1, &["ana"], b"one", |send| send.settled_below = 1);
        assert_eq!(again.expect_err("refused").code(), Some(Code::Settled));
        let other = ana.send_as(1, &["ana"], b"another", |send| send.settled_below = 1);
        assert_eq!(other.expect_err("refused").code(), Some(Code::Settled));
        assert_eq!(ana.read_all(log, 0).expect("reads").len(), 2);
        server.kill9();
        server.restart();
    }
    assert_eq!(ana.read_all(log, 0).expect("reads")[0].envelope.id, id);
}

#[test]
fn p03_a_number_used_again_for_another_content_is_an_error() {
    let mut server = Server::start();
    let mut ana = ana(&server);
    let sent = first(&mut ana, b"one");
    for _ in 0..2 {
        let other = |ana: &mut RawClient, to: &[&str], body: &[u8], what: &str| {
            let change = |send: &mut request::Send| match what {
                "subject" => send.subject = "other".into(),
                "type" => send.content_type = "text/html".into(),
                "ttl" => send.ttl_s = Some(60),
                _ => {}
            };
            let error = ana.send_as(1, to, body, change).expect_err(what);
            assert_eq!(error.code(), Some(Code::NumberReused), "{what}");
        };
        other(&mut ana, &["ana", "news"], b"two", "body");
        other(&mut ana, &["ana"], b"one", "recipients");
        other(&mut ana, &["news", "ana"], b"one", "order of recipients");
        for what in ["subject", "type", "ttl"] {
            other(&mut ana, &["ana", "news"], b"one", what);
        }
        assert_retry(&sent, &first(&mut ana, b"one"));
        server.kill9();
        server.restart();
    }
}

#[test]
fn p03_a_stream_that_is_not_this_devices_carries_nothing_out() {
    let server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let bob = RawClient::user(&server, "bob");
    for stream in [bob.stream, 0, 1 << 40, u64::MAX] {
        let error = ana.send_as(1, &["ana"], b"x", |send| send.stream = stream);
        assert_eq!(
            error.expect_err("refused").code(),
            Some(Code::StreamUnknown),
            "{stream}"
        );
    }
    assert_eq!(ana.log("ana").head, 0, "nothing was stored");
}

#[test]
fn p03_two_connections_racing_with_the_same_numbers_store_each_once() {
    const NUMBERS: u64 = 100;
    let server = Server::start();
    let mut one = RawClient::user(&server, "ana");
    let mut two = RawClient::connect(server.place(), one.key.clone());
    (two.session, two.stream) = (one.session.clone(), one.stream);
    for number in 1..=NUMBERS {
        for client in [&mut one, &mut two] {
            let request = Request::Send(client.send_request(number, &["ana"]));
            client.post(&request, Some(format!("body {number}").as_bytes()));
        }
    }
    let outcomes = |client: &mut RawClient| -> Vec<(u64, bool)> {
        let mut all: Vec<(u64, bool)> = (0..NUMBERS)
            .map(|_| {
                let reply = client
                    .take(common::PATIENCE)
                    .expect("every request is answered");
                let sent: Sent = reply.decode().expect("carried out or repeated");
                (id_of(&sent.outcomes[0]), is_duplicate(&sent.outcomes[0]))
            })
            .collect();
        all.sort_unstable();
        all
    };
    let (one_got, two_got) = (outcomes(&mut one), outcomes(&mut two));
    for ((id, first), (other, second)) in one_got.iter().zip(&two_got) {
        assert_eq!(id, other, "both get the same id");
        assert_ne!(first, second, "one of them was the first");
    }
    let log = one.log("ana").log;
    assert_eq!(one.read_all(log, 0).expect("reads").len() as u64, NUMBERS);
}

#[test]
fn p03_an_unknown_name_does_not_sink_the_others_and_stays_refused() {
    let mut server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let sent = ana
        .send_as(1, &["bob", "ana", "a b"], b"x", same)
        .expect("answered");
    assert_eq!(refusal(&sent[0]), Some(Code::NoSuchAddress));
    let id = id_of(&sent[1]);
    assert!(refusal(&sent[2]).is_some());
    let _bob = RawClient::user(&server, "bob");
    for _ in 0..2 {
        let again = ana
            .send_as(1, &["bob", "ana", "a b"], b"x", same)
            .expect("answered");
        assert_eq!(
            refusal(&again[0]),
            Some(Code::NoSuchAddress),
            "an outcome is final"
        );
        assert_eq!((id_of(&again[1]), is_duplicate(&again[1])), (id, true));
        server.kill9();
        server.restart();
    }
}

#[test]
fn p03_a_send_refused_for_all_with_a_retryable_code_can_succeed_later() {
    let server = Server::start_with(4, &["--mailbox-mails", "3"]);
    let mut ana = RawClient::user(&server, "ana");
    let mut bob = RawClient::user(&server, "bob");
    for body in [b"1", b"2", b"3"] {
        ana.mail("bob", body);
    }
    let number = ana.number;
    let full = ana.send_as(number, &["bob"], b"4", same).expect("answered");
    assert_eq!(refusal(&full[0]), Some(Code::MailboxFull));
    let log = bob.log("bob");
    bob.ack(log.log, log.head).expect("acknowledged");
    let taken = eventually("room in the mailbox", || {
        let again = ana.send_as(number, &["bob"], b"4", same).expect("answered");
        refusal(&again[0]).is_none().then_some(again)
    });
    assert!(!is_duplicate(&taken[0]));
    assert_eq!(bob.read_all(log.log, log.head).expect("reads").len(), 1);
}

#[test]
fn p03_a_body_in_parts_is_sent_once_and_asked_for_again_after_a_restart() {
    let mut server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let body: Vec<u8> = common::rng::Rng::new(7).bytes(300_000);
    upload(&mut ana, 1, &body);
    server.kill9();
    server.restart();
    ana.reconnect().expect("connects again");
    let parts = u32::try_from(body.len().div_ceil(64 * 1024)).expect("few");
    let send = |ana: &mut RawClient| -> Result<Sent, _> {
        let mut request = ana.send_request(1, &["ana"]);
        request.parts = Some(parts);
        ana.ask(&Request::Send(request))
    };
    let missing = send(&mut ana).expect_err("the parts went with the process");
    assert_eq!(missing.code(), Some(Code::PartsMissing));
    upload(&mut ana, 1, &body);
    let done = send(&mut ana).expect("sent");
    for _ in 0..2 {
        upload(&mut ana, 1, &body);
        let again = send(&mut ana).expect("a retry is answered");
        assert_retry(&done.outcomes, &again.outcomes);
        server.kill9();
        server.restart();
        ana.reconnect().expect("connects again");
    }
    let log = ana.log("ana").log;
    let mails = ana.read_all(log, 0).expect("reads");
    assert_eq!(mails.len(), 1);
    assert!(mails[0].body == body, "byte for byte");
}

fn upload(client: &mut RawClient, number: u64, body: &[u8]) {
    for (index, piece) in (0..).zip(body.chunks(64 * 1024)) {
        let stream = client.stream;
        let make = |session| {
            Request::Part(request::Part {
                session,
                stream,
                number,
                index,
            })
        };
        let reply = client
            .call_raw(make, Some(piece))
            .expect("a part is answered");
        reply
            .decode::<correio::protocol::reply::Part>()
            .expect("a part is taken");
    }
}

#[test]
fn p03_a_number_too_far_ahead_is_refused_until_others_are_settled() {
    let server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let far = 1 + correio::limits::STREAM_WINDOW_MAX;
    let error = ana.send_as(far, &["ana"], b"x", same).expect_err("refused");
    assert_eq!(error.code(), Some(Code::WindowFull));
    let sent = ana.send_as(far, &["ana"], b"x", |send| send.settled_below = far);
    id_of(&sent.expect("sent")[0]);
}

#[test]
fn p03_one_address_under_two_spellings_is_one_recipient() {
    let server = Server::start();
    let mut ana = RawClient::user(&server, "ana");
    let twice = ana
        .send_as(1, &["ana", "Ana"], b"x", same)
        .expect_err("named twice");
    assert_eq!(twice.code(), Some(Code::BadRequest));
    assert_eq!(ana.log("ana").head, 0, "nothing was stored");
    id_of(&ana.send_as(1, &["ANA"], b"x", same).expect("sent")[0]);
}
