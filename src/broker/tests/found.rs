//! What the simulator found, each as one behaviour: the seed that found it is worth nothing once the dice
//! fall otherwise.

use super::*;
use crate::broker::io::Input;
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
fn p10_a_new_log_is_told_until_it_was_heard_of() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let watch = Device::login(&mut world, "ana", &[]);
    ana.join(&mut world, "news", From::Now).unwrap();
    // A reply is dropped as a copy, or goes to a connection that broke: the next one says the same.
    for _ in 0..2 {
        let told = watch.beat(&mut world, watch.login.through).unwrap();
        assert_eq!(told.behind.len(), 1, "{told:?}");
        assert_eq!(told.behind[0].address, "news");
    }
    let through = watch.beat(&mut world, watch.login.through).unwrap().through;
    let told = watch.beat(&mut world, through).unwrap();
    assert!(told.behind.is_empty(), "now it was heard of: {told:?}");
}

#[test]
fn p10_a_new_key_is_told_until_it_was_heard_of() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    let known = ana.beat(&mut world, 0).unwrap().through;
    let before = ana.log(&mut world, "news");
    world.handle(Input::Doubt(NoticeKey::from_hex(&before.key).unwrap()));
    for _ in 0..2 {
        let told = ana.beat(&mut world, known).unwrap();
        assert_eq!(told.behind.len(), 1, "{told:?}");
        assert_ne!(told.behind[0].key, before.key);
    }
}

#[test]
fn p10_logs_of_a_prefix_are_told_page_by_page_to_the_users_other_sessions() {
    let mut world = World::new();
    let bob = Device::register(&mut world, "bob");
    for n in 0..limits::ROWS_MAX + 5 {
        bob.join(&mut world, &format!("lab/t{n}"), From::Now)
            .unwrap();
    }
    let ana = Device::register(&mut world, "ana");
    let watch = Device::login(&mut world, "ana", &[]);
    ana.join(&mut world, "lab/*", From::Now).unwrap();
    let first = watch.beat(&mut world, watch.login.through).unwrap();
    assert_eq!((first.behind.len(), first.more), (limits::ROWS_MAX, true));
    let rest = watch.beat(&mut world, first.through).unwrap();
    assert_eq!((rest.behind.len(), rest.more), (5, false));
}
