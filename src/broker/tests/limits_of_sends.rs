//! What a send may be, where its limits lie exactly, and what its refusals cost nobody.

use super::world::{ADMIN, Device, World, code_of, id_of, leaked};
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::reply;
use crate::protocol::request::{self, AdminWhat, From, Request};
use crate::store::{MailState, Query, Store};

/// Sends what `change` makes of a plain send; the number is a new one.
fn send_as(
    world: &mut World,
    device: &mut Device,
    body: Option<&[u8]>,
    change: impl FnOnce(&mut request::Send),
) -> Result<Vec<reply::Outcome>, Code> {
    device.number += 1;
    let mut send = device.request(device.number, &[device.key]);
    change(&mut send);
    world
        .call::<reply::Sent>(device.key, &Request::Send(send), body)
        .map(|sent| sent.outcomes)
}

#[test]
fn a_send_has_a_shape() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let mut refused = |change: &dyn Fn(&mut request::Send), body: Option<&[u8]>| {
        send_as(&mut world, &mut ana, body, change).err()
    };
    let bad = Some(Code::BadRequest);
    let large = Some(Code::TooLarge);
    assert_eq!(refused(&|send| send.to.clear(), Some(b"x")), bad);
    let names = |count: usize| (0..count).map(|n| format!("u{n}")).collect::<Vec<_>>();
    assert_eq!(refused(&|send| send.to = names(33), Some(b"x")), large);
    assert_eq!(refused(&|send| send.to = names(32), Some(b"x")), None);
    let twice = |send: &mut request::Send| send.to = vec!["ana".into(), "ANA".into()];
    assert_eq!(
        refused(&twice, Some(b"x")),
        bad,
        "two spellings of one name"
    );
    let subject = |text: String| move |send: &mut request::Send| send.subject.clone_from(&text);
    assert_eq!(refused(&subject("s".repeat(998)), Some(b"x")), None);
    assert_eq!(refused(&subject("s".repeat(999)), Some(b"x")), large);
    assert_eq!(refused(&subject("two\nlines".into()), Some(b"x")), bad);
    let content =
        |text: String| move |send: &mut request::Send| send.content_type.clone_from(&text);
    assert_eq!(refused(&content("c".repeat(200)), Some(b"x")), None);
    assert_eq!(refused(&content("c".repeat(201)), Some(b"x")), bad);
    assert_eq!(refused(&content("a\x1bb".into()), Some(b"x")), bad);
    let frame = vec![0; limits::FRAME_BYTES_MAX + 1];
    assert_eq!(refused(&|_| {}, Some(&frame)), large);
    assert_eq!(refused(&|_| {}, Some(&frame[1..])), None);
    assert_eq!(refused(&|send| send.parts = Some(1), Some(b"x")), bad);
    assert_eq!(refused(&|_| {}, None), None, "no body is an empty one");
}

#[test]
fn a_body_has_a_limit_of_the_servers() {
    let mut world = World::with(|settings| settings.body_bytes_max = 10);
    let mut ana = Device::register(&mut world, "ana");
    let fits = send_as(&mut world, &mut ana, Some(&[0; 10]), |_| {});
    assert!(fits.is_ok());
    for bytes in [11, 12] {
        let refused = send_as(&mut world, &mut ana, Some(&vec![0; bytes]), |_| {});
        assert_eq!(refused, Err(Code::TooLarge));
    }
}

#[test]
fn a_mailbox_is_full_at_its_limits_and_not_before() {
    let mut world = World::with(|settings| settings.log_bytes_max = 10);
    let mut ana = Device::register(&mut world, "ana");
    Device::register(&mut world, "bob");
    id_of(&ana.send(&mut world, &["bob"], "1234567")[0]);
    assert_eq!(
        code_of(&ana.send(&mut world, &["bob"], "4321")[0]),
        Code::MailboxFull,
        "eleven bytes"
    );
    id_of(&ana.send(&mut world, &["bob"], "321")[0]);
    assert_eq!(
        code_of(&ana.send(&mut world, &["bob"], "1")[0]),
        Code::MailboxFull
    );
    id_of(&ana.send(&mut world, &["bob"], "")[0]);
}

#[test]
fn a_full_topic_refuses_nobody() {
    let mut world = World::with(|settings| settings.log_mails_max = 1);
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    for _ in 0..3 {
        id_of(&ana.send(&mut world, &["news"], "x")[0]);
    }
}

#[test]
fn a_disk_that_is_nearly_full_takes_no_mail_and_still_serves() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.send(&mut world, &["ana"], "before");
    world.handle(super::super::io::Input::Tick {
        disk_low: true,
        disk_free: None,
    });
    let refused = send_as(&mut world, &mut ana, Some(b"x"), |_| {});
    assert_eq!(refused, Err(Code::DiskFull));
    let part = |session| {
        Request::Part(request::Part {
            session,
            stream: 1,
            number: 9,
            index: 0,
        })
    };
    assert_eq!(
        ana.ask::<reply::Part>(&mut world, part).err(),
        Some(Code::DiskFull)
    );
    let log = ana.log(&mut world, "ana");
    assert_eq!(ana.fetch(&mut world, &log).0.mails.len(), 1);
    ana.ack(&mut world, log.log, log.head);
    world.handle(super::super::io::Input::Tick {
        disk_low: false,
        disk_free: None,
    });
    assert!(send_as(&mut world, &mut ana, Some(b"x"), |_| {}).is_ok());
}

#[test]
fn a_refusal_repeats_the_name_it_is_about_cut_to_its_length() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let long = "\u{e9}".repeat(40);
    let outcomes = ana.send(&mut world, &[&long, "@", "anna"], "x");
    let names: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome {
            reply::Outcome::Refused { address, .. } | reply::Outcome::Sent { address, .. } => {
                address.as_str()
            }
        })
        .collect();
    assert_eq!(names, ["\u{e9}".repeat(32).as_str(), "@", "anna"]);
    assert_eq!(code_of(&outcomes[0]), Code::BadName);
    assert_eq!(code_of(&outcomes[1]), Code::BadName);
    assert_eq!(
        text_of(&outcomes[2]),
        "no user or topic \"anna\"; did you mean ana?"
    );
}

fn text_of(outcome: &reply::Outcome) -> &str {
    match outcome {
        reply::Outcome::Refused { error, .. } => &error.text,
        reply::Outcome::Sent { .. } => panic!("sent"),
    }
}

#[test]
fn a_removed_users_name_is_told_as_that() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    Device::register(&mut world, "bob");
    world.admin(AdminWhat::UserRm, Some("bob")).unwrap();
    let outcomes = ana.send(&mut world, &["bob"], "x");
    assert_eq!(
        text_of(&outcomes[0]),
        "no user or topic \"bob\"; that user was removed"
    );
}

#[test]
fn a_mail_expires_when_it_says_and_never_later_than_ten_years() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let expiry = |ttl_s: Option<u64>, world: &mut World, ana: &mut Device| {
        send_as(world, ana, Some(b"x"), |send| send.ttl_s = ttl_s).unwrap();
        let log = ana.log(world, "ana");
        let page = ana.fetch(world, &log).0;
        page.mails.last().unwrap().expires_at.clone()
    };
    assert_eq!(expiry(None, &mut world, &mut ana), None);
    assert_eq!(
        expiry(Some(5), &mut world, &mut ana).as_deref(),
        Some("1970-01-01T00:16:45.000Z")
    );
    assert_eq!(
        expiry(Some(u64::MAX), &mut world, &mut ana).as_deref(),
        Some("1979-12-30T00:16:40.000Z")
    );
}

/// What was published on ana's own key since she listens to it: envelope's frames, and the body.
#[test]
fn a_notice_carries_a_small_body_and_says_when_it_does_not() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.send(&mut world, &["ana"], "nobody listens");
    let key = NoticeKey::from_hex(&ana.log(&mut world, "ana").key).unwrap();
    assert!(world.subscribe("ana", &key.to_bytes()));
    world.notices.clear();
    let small = "x".repeat(limits::NOTICE_BODY_BYTES_MAX);
    let large = "x".repeat(limits::NOTICE_BODY_BYTES_MAX + 1);
    for body in [small.as_str(), large.as_str(), ""] {
        ana.send(&mut world, &["ana"], body);
    }
    let told: Vec<(u32, u64)> = world
        .notices
        .iter()
        .filter(|(at, _)| *at == key)
        .map(|(_, notice)| match notice {
            Notice::Mail { envelope, .. } => (envelope.frames, envelope.size),
            other => panic!("{other:?}"),
        })
        .collect();
    let bytes = limits::NOTICE_BODY_BYTES_MAX as u64;
    assert_eq!(told, [(1, bytes), (0, bytes + 1), (0, 0)]);
    assert_eq!(world.bodies, [Some(small.into_bytes()), None, None]);
}

#[test]
fn what_happened_is_counted() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.send(&mut world, &["ana", "nobody", "nowhere"], "x");
    let again = Request::Send(ana.request(1, &["ana", "nobody", "nowhere"]));
    for _ in 0..2 {
        drop::<reply::Sent>(world.call("ana", &again, Some(b"x")).unwrap());
    }
    ana.send(&mut world, &["ana"], "y");
    let log = ana.log(&mut world, "ana");
    ana.ack(&mut world, log.log, log.head);
    assert!(!world.subscribe("ana", b"nothing"));
    let stats = world.admin(AdminWhat::Stats, None).unwrap().rows.remove(0);
    for (what, count) in [
        ("accepted", 2),
        ("duplicates", 2),
        ("refused", 2),
        ("acknowledged", 2),
        ("denied_subscriptions", 1),
        ("last_id", 2),
        ("users", 1),
        ("topics", 0),
        ("devices", 1),
        ("sessions", 1),
        ("mails_kept", 2),
        ("bytes_kept", 2),
    ] {
        assert_eq!(stats[what], count, "{what}: {stats}");
    }
}

#[test]
fn p03_only_what_can_be_known_is_carried_out() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.send(&mut world, &["ana"], "one");
    let mut coded = |number: u64, settled_below: u64, stream: u64, body: &[u8]| {
        let mut send = ana.request(number, &["ana"]);
        send.settled_below = settled_below;
        send.stream = stream;
        let told: Result<reply::Sent, Code> = world.call("ana", &Request::Send(send), Some(body));
        told.err()
    };
    let stream = 1;
    assert_eq!(coded(1, 1, stream, b"another"), Some(Code::NumberReused));
    assert_eq!(coded(2, 1, stream + 1, b"x"), Some(Code::StreamUnknown));
    assert_eq!(coded(2, 3, stream, b"x"), Some(Code::BadRequest));
    assert_eq!(coded(1_025, 1, stream, b"x"), Some(Code::WindowFull));
    assert_eq!(coded(1_024, 1, stream, b"x"), None);
    assert_eq!(coded(2, 2, stream, b"x"), None);
    assert_eq!(coded(1, 1, stream, b"one"), Some(Code::Settled));
}

#[test]
fn p03_what_makes_a_send_that_send_is_all_of_it() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    Device::register(&mut world, "bob");
    ana.send(&mut world, &["ana", "bob"], "one");
    let changes: [fn(&mut request::Send); 5] = [
        |send| send.to.reverse(),
        |send| drop(send.to.pop()),
        |send| send.subject = "other".into(),
        |send| send.content_type = "text/html".into(),
        |send| send.ttl_s = Some(1),
    ];
    for change in changes {
        let mut send = ana.request(1, &["ana", "bob"]);
        change(&mut send);
        let reused = world.call::<reply::Sent>("ana", &Request::Send(send), Some(b"one"));
        assert_eq!(reused.err(), Some(Code::NumberReused));
    }
}

/// A send that all recipients refused for the moment leaves no record; one that one of them took, or
/// refused for good, is settled.
#[test]
fn p03_an_outcome_is_final_unless_all_refused_for_the_moment() {
    let mut world = World::with(|settings| settings.log_mails_max = 1);
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.send(&mut world, &["bob"], "fills it");
    let mixed = ana.send(&mut world, &["bob", "nobody"], "x");
    assert_eq!(code_of(&mixed[0]), Code::MailboxFull);
    let log = bob.log(&mut world, "bob");
    bob.ack(&mut world, log.log, log.head);
    let retry = Request::Send(ana.request(2, &["bob", "nobody"]));
    let sent: reply::Sent = world.call("ana", &retry, Some(b"x")).unwrap();
    assert_eq!(code_of(&sent.outcomes[0]), Code::MailboxFull, "final");
}

#[test]
fn an_expired_mail_is_a_tombstone_for_an_administrator() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    send_as(&mut world, &mut ana, Some(b"x"), |send| {
        send.ttl_s = Some(1);
    })
    .unwrap();
    ana.send(&mut world, &["ana"], "stays");
    world.pass(1_500);
    world.pass(1_500);
    let rows = world.admin(AdminWhat::QueuePeek, Some("ana")).unwrap().rows;
    assert_eq!(rows[0]["state"], "expired");
    assert_eq!(rows[1]["state"], "live");
    let stats = world.admin(AdminWhat::Stats, None).unwrap().rows.remove(0);
    assert_eq!(stats["expired"], 1);
    let body = request::Admin {
        what: AdminWhat::QueuePeek,
        after: None,
        address: Some("ana".into()),
        body: true,
        particulars: request::Particulars::default(),
    };
    world.ask(ADMIN, &Request::Admin(body), None);
    let frames = world.told();
    assert_eq!(
        frames[2..],
        [b"stays".to_vec()],
        "of what expired no body is left"
    );
    let reader = world.store.reader();
    let query = Query::Oldest {
        log: 1,
        after: 0,
        mails: 1,
    };
    let crate::store::Answer::Mails { mails, .. } = reader.read(&query).unwrap() else {
        panic!("mails were asked for");
    };
    assert_eq!(mails[0].record.state, MailState::Expired);
}

#[test]
fn many_users_are_told_of_none_that_is_far_away() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    for n in 0..3 {
        Device::register(&mut world, leaked(format!("somebody-else-{n}")));
    }
    let outcomes = ana.send(&mut world, &["zoe"], "x");
    assert_eq!(text_of(&outcomes[0]), "no user or topic \"zoe\"");
}

#[test]
fn an_answer_names_numbers_and_nothing_more_is_asked_of_it() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let mut told = |answered: Option<u64>, begun: Option<u64>| {
        let answer = |send: &mut request::Send| {
            (send.in_reply_to, send.thread) = (answered, begun);
        };
        send_as(&mut world, &mut ana, Some(b"x"), answer).err()
    };
    let bad = Some(Code::BadRequest);
    assert_eq!(told(None, Some(1)), bad, "a thread without an answer");
    assert_eq!(told(Some(0), None), bad);
    assert_eq!(told(Some(1), Some(0)), bad);
    assert_eq!(told(Some(limits::ID_MAX + 1), None), bad);
    assert_eq!(told(Some(limits::ID_MAX), None), None, "as good as trimmed");
    assert_eq!(told(Some(7), Some(9)), None);
}
