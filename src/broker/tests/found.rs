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
