//! Copies of one send share a number, and what a mail answers comes with it: in pages, notices and listings.

use super::world::{Device, World, id_of};
use crate::protocol::codes::Code;
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::reply::{self, Envelope};
use crate::protocol::request::{self, AdminWhat, From, Request};

fn newest(device: &Device, world: &mut World, address: &str) -> Envelope {
    let log = device.log(world, address);
    let (page, _) = device.fetch(world, &log);
    page.mails.last().expect("there is a mail").clone()
}

#[test]
fn copies_share_the_number_of_the_first_that_was_stored() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    drop::<reply::Logs>(bob.join(&mut world, "news", From::Now).unwrap());
    let outcomes = ana.send(&mut world, &["nobody", "bob", "news"], "hi");
    let (first, second) = (id_of(&outcomes[1]), id_of(&outcomes[2]));
    let (own, topic) = (
        newest(&bob, &mut world, "bob"),
        newest(&bob, &mut world, "news"),
    );
    assert_eq!((own.id, own.message), (first, first));
    assert_eq!((topic.id, topic.message), (second, first));
    assert_eq!((own.in_reply_to, own.thread), (None, None));
    let alone = id_of(&ana.send(&mut world, &["bob"], "again")[0]);
    assert_eq!(newest(&bob, &mut world, "bob").message, alone);
}

#[test]
fn an_answer_is_told_wherever_its_envelope_is() {
    let mut world = World::new();
    let bob = Device::register(&mut world, "bob");
    let mut ana = Device::register(&mut world, "ana");
    let own = bob.log(&mut world, "bob");
    let key = NoticeKey::from_hex(&own.key).unwrap();
    assert!(world.subscribe(bob.key, &key.to_bytes()));
    let mut answer = |answered, begun| {
        ana.number += 1;
        let mut send = ana.request(ana.number, &["bob"]);
        (send.in_reply_to, send.thread) = (Some(answered), begun);
        let reply: reply::Sent = world
            .call(ana.key, &Request::Send(send), Some(b"yes"))
            .unwrap();
        id_of(&reply.outcomes[0])
    };
    // Mail 7 never was: a mail that was trimmed looks just like it.
    let plain = answer(7, None);
    let deep = answer(7, Some(3));
    let (page, _) = bob.fetch(&mut world, &own);
    let told: Vec<_> = page
        .mails
        .iter()
        .map(|mail| (mail.id, mail.in_reply_to, mail.thread))
        .collect();
    assert_eq!(told, [(plain, Some(7), Some(7)), (deep, Some(7), Some(3))]);
    let noticed: Vec<&Envelope> = world
        .notices
        .iter()
        .filter_map(|(_, notice)| match notice {
            Notice::Mail { envelope, .. } => Some(envelope),
            _ => None,
        })
        .collect();
    assert_eq!(noticed.len(), 2);
    for (live, kept) in noticed.iter().zip(&page.mails) {
        assert_eq!(
            (live.message, live.in_reply_to, live.thread),
            (kept.message, kept.in_reply_to, kept.thread)
        );
    }
    let peeked = world.admin(AdminWhat::QueuePeek, Some("bob")).unwrap();
    assert_eq!(
        (&peeked.rows[1]["in_reply_to"], &peeked.rows[1]["thread"]),
        (&7.into(), &3.into())
    );
    assert_eq!(peeked.rows[0]["message"], plain);
}

#[test]
fn p03_a_number_is_not_used_for_another_answer() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.number = 1;
    let mut send = ana.request(1, &["ana"]);
    send.in_reply_to = Some(7);
    let ask = |world: &mut World, send: &request::Send| {
        let call = Request::Send(send.clone());
        world.call::<reply::Sent>("ana", &call, Some(b"x"))
    };
    let id = id_of(&ask(&mut world, &send).unwrap().outcomes[0]);
    assert_eq!(id_of(&ask(&mut world, &send).unwrap().outcomes[0]), id);
    send.thread = Some(7);
    assert_eq!(
        id_of(&ask(&mut world, &send).unwrap().outcomes[0]),
        id,
        "the thread was that all along"
    );
    send.in_reply_to = None;
    send.thread = None;
    assert_eq!(ask(&mut world, &send).unwrap_err(), Code::NumberReused);
}
