//! What the simulator found, each as one behaviour: the seed that found it is worth nothing once the dice
//! fall otherwise.

use super::*;
use crate::protocol::LogNumber;

fn fetch_of(device: &Device, log: LogNumber) -> Request {
    Request::Fetch(request::Fetch {
        session: device.session.clone(),
        log,
        after: 0,
        n: Some(0),
        mails: 10,
        bytes: 1_000,
    })
}

fn refused(world: &mut World) -> Code {
    match reply::decode::<reply::Page>(&world.told()[1]) {
        Err(reply::DecodeError::Refused(error)) => error.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn p05_a_page_under_way_is_not_given_to_a_device_that_was_forgotten() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.send(&mut world, &["ana"], "mine");
    let log = ana.log(&mut world, "ana").log;
    world.slow_disk = true;
    world.ask("ana", &fetch_of(&ana, log), None);
    let logout = Request::Logout(request::Logout { forget: true });
    drop::<reply::Done>(world.call("ana", &logout, None).unwrap());
    world.answer_reads();
    assert_eq!(refused(&mut world), Code::NotRegistered);
}

#[test]
fn p05_a_page_under_way_of_a_topic_that_was_removed_is_refused() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["news"], "old");
    let log = ana.log(&mut world, "news").log;
    world.slow_disk = true;
    world.ask("ana", &fetch_of(&ana, log), None);
    world.admin(AdminWhat::TopicRm, Some("news")).unwrap();
    world.answer_reads();
    assert_eq!(refused(&mut world), Code::NoSuchAddress);
}

#[test]
fn p08_a_join_under_way_of_a_topic_that_was_removed_moves_no_cursor() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["news"], "old");
    ana.send(&mut world, &["news"], "new");
    world.slow_disk = true;
    let join = Request::Join(request::Join {
        session: ana.session.clone(),
        topic: "news".parse().unwrap(),
        from: From::After(1),
    });
    world.ask("ana", &join, None);
    let late = std::mem::take(&mut world.reads);
    assert_eq!(late.len(), 1);
    world.slow_disk = false;
    world.admin(AdminWhat::TopicRm, Some("news")).unwrap();
    // A new topic of that name has another log.
    ana.join(&mut world, "news", From::Now).unwrap();
    world.reads = late;
    world.answer_reads();
    world.settle();
    let cursors = world.store.load().unwrap().cursors;
    let moved = cursors.iter().any(|(_, _, mark)| mark.id > 0);
    assert!(!moved, "the old log is going, mail by mail: {cursors:?}");
}

#[test]
fn p10_a_new_log_is_told_again_when_the_reply_went_to_a_broken_connection() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    let beat = Request::Heartbeat(request::Heartbeat {
        session: ana.session.clone(),
        known: MailId::MAX,
    });
    let mut rows_on = |routing: &str| {
        let beat: reply::Heartbeat = world.call_by(routing, "ana", &beat).unwrap();
        beat.behind.len()
    };
    // The first asked long ago, and came late.
    assert_eq!(
        [rows_on("broken"), rows_on("ana"), rows_on("ana")],
        [1, 1, 0]
    );
}
