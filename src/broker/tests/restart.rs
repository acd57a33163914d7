//! What a restart and a crash leave: everything in force before the first request (P13).

use super::*;

#[test]
fn p13_a_restart_changes_nothing_that_lasts() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    ana.join(&mut world, "lab/*", From::Now).unwrap();
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "lab/printer", From::Now).unwrap();
    ana.send(&mut world, &["news", "lab/printer", "ana", "bob"], "x");
    let log = ana.log(&mut world, "news");
    ana.ack(&mut world, log.log, log.head);
    let before = ana.logs(&mut world);
    assert_eq!(before.len(), 3, "the prefix brings the printer");
    let mut world = world.crash();
    let ana = Device::login(&mut world, "ana", &[]);
    assert_eq!(ana.login.logs, before);
}

#[test]
fn p13_a_cursor_that_a_crash_kept_from_being_written_stands_by_rule() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.send(&mut world, &["ana"], "before");
    ana.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["news"], "one");
    bob.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["news"], "two");
    let news = bob.log(&mut world, "news");
    let device = bob.login.device;
    // The directory's batch was there, the cursors' was not.
    world
        .store
        .commit(&[Change::RemoveCursor {
            device,
            log: news.log,
        }])
        .unwrap();
    let mut world = world.crash();
    let bob = Device::login(&mut world, "bob", &[]);
    let log = bob.log(&mut world, "news");
    assert_eq!((log.waiting, log.n), (1, 1), "from where he joined");
    assert_eq!(bob.fetch(&mut world, &log).0.mails.len(), 1);
}

/// Which of a commit's changes lie in the directory, which is written first.
fn is_of_directory(change: &Change) -> bool {
    use crate::store::Change::{
        PutAddress, PutDevice, PutDirectoryCounters, PutSubscription, RemoveAddress, RemoveDevice,
        RemoveSubscription,
    };
    matches!(
        change,
        PutAddress(_)
            | PutDevice(_)
            | PutDirectoryCounters(_)
            | PutSubscription(_)
            | RemoveAddress(_)
            | RemoveDevice(_)
            | RemoveSubscription { .. }
    )
}

/// The power goes when only the directory's part of what is under way was written.
fn crash_after_the_directory(mut world: World) -> World {
    let changes = std::mem::take(&mut world.under_way);
    let written: Vec<Change> = changes
        .into_iter()
        .flat_map(|(_, changes)| changes)
        .filter(is_of_directory)
        .collect();
    world.store.commit(&written).unwrap();
    world.crash()
}

#[test]
fn p13_a_cursor_that_a_crash_kept_from_being_removed_holds_nothing() {
    let mut world = World::with(|settings| settings.history_mails = 0);
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let kim = Device::register(&mut world, "kim");
    bob.join(&mut world, "news", From::Now).unwrap();
    kim.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["news"], "unread");
    world.held = true;
    let leave = request::Leave {
        session: bob.session.clone(),
        topic: "news".parse().unwrap(),
    };
    world.ask("bob", &Request::Leave(leave), None);
    let logout = Request::Logout(request::Logout { forget: true });
    world.ask("kim", &logout, None);
    let mut world = crash_after_the_directory(world);
    world.pass(2_000);
    let rows = world.admin(AdminWhat::TopicLs, None).unwrap().rows;
    assert_eq!(rows[0]["mails"], 0, "nobody is left to read it");
    let cursors = world.store.load().unwrap().cursors;
    assert_eq!(cursors.len(), 2, "ana's and bob's own: {cursors:?}");
}

#[test]
fn a_cursor_above_what_a_store_has_left_hides_no_mail() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let (device, log) = (ana.login.device, ana.log(&mut world, "ana").log);
    let (id, count, bytes) = (500, 50, 5_000);
    let mark = crate::store::Mark { id, count, bytes };
    let cursor = Change::PutCursor { device, log, mark };
    world.store.commit(&[cursor]).unwrap();
    let mut world = world.crash();
    let mut ana = Device::login(&mut world, "ana", &[]);
    ana.send(&mut world, &["ana"], "after the loss");
    assert_eq!(ana.log(&mut world, "ana").waiting, 1);
}

#[test]
fn p03_ids_that_a_crash_took_back_are_not_skipped_by_who_joined_then() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "news", From::Now).unwrap();
    let before = ana.beat(&mut world, 0).unwrap().through;
    world.held = true;
    for number in 1..=3 {
        let send = Request::Send(ana.request(number, &["ana"]));
        world.ask("ana", &send, Some(b"lost before its ack"));
    }
    let join = request::Join {
        session: bob.session,
        topic: "news".parse().unwrap(),
        from: From::Now,
    };
    world.ask("bob", &Request::Join(join), None);
    let mut world = crash_after_the_directory(world);
    let mut ana = Device::login(&mut world, "ana", &[]);
    let id = id_of(&ana.send(&mut world, &["news"], "for bob too")[0]);
    assert_eq!(id, before + 1, "the ids are given out again");
    let mut world = world.crash();
    let bob = Device::login(&mut world, "bob", &[]);
    assert_eq!(bob.log(&mut world, "news").waiting, 1);
}

/// What was to be told of joins and keys was memory of the old process: a session that its lease brought over hears of
/// nothing by a heartbeat until a login listed its logs.
#[test]
fn p10_a_session_of_before_a_restart_lists_its_logs_before_it_beats() {
    let mut world = World::new();
    let ana = chatting::Party::new(&mut world, "ana");
    let known = ana.device.login.through;
    let phone = chatting::Party::further(&mut world, &ana, "ana's phone", "ana");
    phone.device.join(&mut world, "news", From::Now).unwrap();
    let mut world = world.crash();
    let beaten = ana.device.beat(&mut world, known);
    assert_eq!(beaten.err(), Some(Code::NoSession));
    let lease = Request::Lease(request::Lease {
        session: ana.device.session.clone(),
    });
    let kept: reply::Lease = ana.call(&mut world, &lease).unwrap();
    assert_eq!(
        (kept.lease.port, kept.lease.epoch),
        ana.lease,
        "the session is not over"
    );
    let told = ana.go_on(&mut world);
    assert!(told.logs.iter().any(|log| log.address == "news"));
    let beat = ana.device.beat(&mut world, told.through).unwrap();
    assert!(beat.behind.is_empty(), "she knows it all");
    assert!(beat.lease.is_some());
}
