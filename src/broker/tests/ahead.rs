//! Pages that are read before they are asked for: told when they are what reading now would find, and
//! only then.

use super::world::{Device, World, id_of};
use crate::protocol::reply::{self, Page};
use crate::protocol::request::{self, From, Request};
use crate::protocol::{LogNumber, MailId};
use crate::store::Query;

fn ask(world: &mut World, device: &Device, log: LogNumber, after: MailId) {
    let fetch = request::Fetch {
        session: device.session.clone(),
        log,
        after,
        n: None,
        mails: 2,
        bytes: 1 << 20,
    };
    world.ask(device.key, &Request::Fetch(fetch), None);
}

fn told(world: &mut World) -> Option<(Page, Vec<MailId>)> {
    let (_, frames) = world.replies.pop()?;
    let page: Page = reply::decode(&frames[1]).unwrap();
    let ids = page.mails.iter().map(|mail| mail.id).collect();
    Some((page, ids))
}

fn starts(world: &World) -> Vec<MailId> {
    let after = |(_, query): &(_, Query)| match query {
        Query::Page { after, .. } => *after,
        other => panic!("{other:?}"),
    };
    world.reads.iter().map(after).collect()
}

/// ana with so many mails in her own log.
fn with_mails(world: &mut World, mails: usize) -> (Device, LogNumber) {
    let mut ana = Device::register(world, "ana");
    for _ in 0..mails {
        ana.send(world, &["ana"], "hello");
    }
    let log = ana.log(world, "ana").log;
    (ana, log)
}

#[test]
fn the_next_page_is_read_once_and_before_it_is_asked_for() {
    let mut world = World::new();
    let (ana, log) = with_mails(&mut world, 5);
    world.slow_disk = true;
    ask(&mut world, &ana, log, 0);
    world.answer_a_read();
    assert_eq!(told(&mut world).unwrap().1, [1, 2]);
    assert_eq!(starts(&world), [2], "read ahead");
    ask(&mut world, &ana, log, 2);
    assert_eq!(starts(&world), [2], "not read twice");
    assert!(told(&mut world).is_none(), "not here yet");
    world.answer_a_read();
    assert_eq!(told(&mut world).unwrap().1, [3, 4]);
    world.answer_a_read();
    assert!(world.reads.is_empty());
    ask(&mut world, &ana, log, 4);
    assert_eq!(told(&mut world).unwrap().1, [5], "at once");
    assert!(world.reads.is_empty(), "there is no more");
}

#[test]
fn a_page_read_ahead_that_ended_too_early_is_read_again() {
    let mut world = World::new();
    let (mut ana, log) = with_mails(&mut world, 3);
    ask(&mut world, &ana, log, 0);
    assert_eq!(told(&mut world).unwrap().1, [1, 2]);
    let id = id_of(&ana.send(&mut world, &["ana"], "one more")[0]);
    ask(&mut world, &ana, log, 2);
    let (page, ids) = told(&mut world).unwrap();
    assert_eq!((ids, page.more), (vec![3, id], false));
}

#[test]
fn p07_what_was_trimmed_since_it_was_read_ahead_is_not_told_as_mail() {
    let mut world = World::with(|settings| settings.log_mails_max = 4);
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    let log = bob.log(&mut world, "news").log;
    let mut publish = |world: &mut World| id_of(&ana.send(world, &["news"], "news")[0]);
    let sent: Vec<MailId> = (0..4).map(|_| publish(&mut world)).collect();
    ask(&mut world, &bob, log, 0);
    assert_eq!(told(&mut world).unwrap().1, sent[..2]);
    for _ in 0..3 {
        publish(&mut world);
    }
    world.pass(1_000);
    ask(&mut world, &bob, log, sent[1]);
    let (page, ids) = told(&mut world).unwrap();
    assert_eq!(ids[0], sent[3]);
    assert!(
        !ids.contains(&sent[2]) && page.trimmed.is_none(),
        "no count was given"
    );
}

#[test]
fn p05_a_page_that_is_awaited_is_not_told_to_who_may_not_read_it_any_more() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    let log = bob.log(&mut world, "news").log;
    for _ in 0..3 {
        ana.send(&mut world, &["news"], "news");
    }
    world.slow_disk = true;
    ask(&mut world, &bob, log, 0);
    world.answer_a_read();
    let through = told(&mut world).unwrap().0.through;
    ask(&mut world, &bob, log, through);
    bob_is_forgotten(&mut world, &bob);
    world.answer_reads();
    let frames = world.told();
    assert!(matches!(
        reply::decode::<Page>(&frames[1]),
        Err(reply::DecodeError::Refused(_))
    ));
}

fn bob_is_forgotten(world: &mut World, bob: &Device) {
    let logout = Request::Logout(request::Logout { forget: true });
    drop::<reply::Done>(world.call(bob.key, &logout, None).unwrap());
}

#[test]
fn p08_few_pages_are_read_ahead_and_they_do_not_stay() {
    let mut world = World::new();
    let (ana, log) = with_mails(&mut world, 4);
    world.slow_disk = true;
    ask(&mut world, &ana, log, 0);
    world.answer_a_read();
    world.answer_a_read();
    assert_eq!(told(&mut world).unwrap().1, [1, 2]);
    world.slow_disk = false;
    world.pass(5_000);
    world.slow_disk = true;
    ask(&mut world, &ana, log, 2);
    assert_eq!(starts(&world), [2], "it is read anew");
    world.answer_reads();
    let names = [
        "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
    ];
    world.slow_disk = false;
    let mut people: Vec<(Device, LogNumber)> = Vec::new();
    for name in names {
        let mut person = Device::register(&mut world, name);
        for _ in 0..3 {
            person.send(&mut world, &[name], "hello");
        }
        let log = person.log(&mut world, name).log;
        people.push((person, log));
    }
    world.slow_disk = true;
    for (person, log) in &people {
        ask(&mut world, person, *log, 0);
    }
    for _ in 0..people.len() {
        world.answer_a_read();
    }
    assert_eq!(world.reads.len(), 16, "of seventeen");
}
