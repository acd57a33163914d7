//! What an administrator sees and does.

use super::world::{ADMIN, Device, World, id_of, leaked};
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::reply;
use crate::protocol::request::{self, AdminWhat, From, Request};

fn page(
    world: &mut World,
    what: AdminWhat,
    address: Option<&str>,
    after: Option<String>,
) -> Result<reply::Rows, Code> {
    let asked = request::Admin {
        what,
        after,
        address: address.map(str::to_owned),
        body: false,
        particulars: request::Particulars::default(),
    };
    world.call(ADMIN, &Request::Admin(asked), None)
}

/// Reads a listing to its end. Returns the rows and the pages it took.
fn all(world: &mut World, what: AdminWhat) -> (Vec<serde_json::Value>, usize) {
    let (mut rows, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = page(world, what, None, after).unwrap();
        rows.extend(page.rows);
        pages += 1;
        after = page.more_after;
        if after.is_none() {
            return (rows, pages);
        }
    }
}

fn names(rows: &[serde_json::Value], field: &str) -> Vec<String> {
    rows.iter()
        .map(|row| row[field].as_str().unwrap_or("-").to_owned())
        .collect()
}

#[test]
fn users_and_topics_are_listed_each_with_its_own() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "news", From::Now).unwrap();
    bob.join(&mut world, "news", From::Now).unwrap();
    let id = id_of(&ana.send(&mut world, &["news"], "12345")[0]);
    world.admin(AdminWhat::TopicCreate, Some("lab/a")).unwrap();
    world.admin(AdminWhat::UserRm, Some("bob")).unwrap();
    let (users, _) = all(&mut world, AdminWhat::UserLs);
    assert_eq!(names(&users, "user"), ["ana", "bob"]);
    assert_eq!(names(&users, "state"), ["live", "reserved"]);
    assert_eq!(
        (&users[0]["devices"], &users[1]["devices"]),
        (&1.into(), &0.into())
    );
    let (topics, _) = all(&mut world, AdminWhat::TopicLs);
    assert_eq!(names(&topics, "topic"), ["lab/a", "news"]);
    let news = &topics[1];
    assert_eq!(news["subscribers"], 1, "bob is gone");
    assert_eq!(
        (&news["mails"], &news["bytes"], &news["head"]),
        (&1.into(), &5.into(), &id.into())
    );
    assert_eq!(news["created_at"], "1970-01-01T00:16:40.000Z");
}

#[test]
fn what_was_trimmed_is_not_counted_as_kept() {
    let mut world = World::with(|settings| settings.log_mails_max = 2);
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    for body in ["1", "22", "333"] {
        ana.send(&mut world, &["news"], body);
    }
    ana.send(&mut world, &["ana"], "4444");
    world.pass(2_000);
    let (topics, _) = all(&mut world, AdminWhat::TopicLs);
    assert_eq!(
        (&topics[0]["mails"], &topics[0]["bytes"]),
        (&2.into(), &5.into())
    );
    let stats = world.admin(AdminWhat::Stats, None).unwrap().rows.remove(0);
    assert_eq!(
        (&stats["mails_kept"], &stats["bytes_kept"]),
        (&3.into(), &9.into())
    );
    assert_eq!(stats["trimmed_unread"], 1);
    assert_eq!(stats["running_s"], 2);
    assert_eq!(stats["disk_low"], false);
    assert_eq!((&stats["users"], &stats["topics"]), (&1.into(), &1.into()));
}

#[test]
fn long_listings_come_page_by_page() {
    let mut world = World::new();
    let count = limits::ROWS_MAX + 20;
    for n in 0..count {
        Device::register(&mut world, leaked(format!("user{n:03}")));
    }
    let (users, pages) = all(&mut world, AdminWhat::UserLs);
    assert_eq!((users.len(), pages), (count, 2));
    let mut seen = names(&users, "user");
    seen.dedup();
    assert_eq!(seen.len(), count);
    let (sessions, pages) = all(&mut world, AdminWhat::SessionLs);
    assert_eq!((sessions.len(), pages), (count, 2));
    let mut seen = names(&sessions, "user");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
    let (queues, pages) = all(&mut world, AdminWhat::QueueLs);
    assert_eq!((queues.len(), pages), (count, 2));
}

#[test]
fn queues_go_on_after_an_address_and_a_device() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "news", From::Now).unwrap();
    bob.join(&mut world, "news", From::Now).unwrap();
    let id = id_of(&ana.send(&mut world, &["news"], "123")[0]);
    let rows = |world: &mut World, after: &str| {
        let rows = page(world, AdminWhat::QueueLs, None, Some(after.to_owned()))?.rows;
        let device = |row: &serde_json::Value| row["device"].as_u64().unwrap();
        let named = rows
            .iter()
            .map(|row| (row["address"].to_string(), device(row)));
        Ok::<_, Code>(named.collect::<Vec<_>>())
    };
    let news = |device: u64| ("\"news\"".to_owned(), device);
    assert_eq!(rows(&mut world, "bob 2"), Ok(vec![news(1), news(2)]));
    assert_eq!(rows(&mut world, "news 1"), Ok(vec![news(2)]));
    assert_eq!(rows(&mut world, "news 2"), Ok(vec![]));
    assert_eq!(rows(&mut world, "no-number"), Err(Code::BadRequest));
    assert_eq!(rows(&mut world, "news x"), Err(Code::BadRequest));
    let shown = page(
        &mut world,
        AdminWhat::QueueShow,
        Some("news"),
        Some("news 1".into()),
    );
    let shown = shown.unwrap().rows;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["user"], "bob");
    assert_eq!(
        (&shown[0]["waiting"], &shown[0]["bytes"]),
        (&1.into(), &3.into())
    );
    assert_eq!(shown[0]["oldest_id"], id);
}

#[test]
fn a_peek_goes_on_where_it_ended() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    for _ in 0..limits::ROWS_MAX + 10 {
        ana.send(&mut world, &["ana"], "x");
    }
    let first = page(&mut world, AdminWhat::QueuePeek, Some("ana"), None).unwrap();
    let after = first.more_after.clone();
    let rest = page(&mut world, AdminWhat::QueuePeek, Some("ana"), after).unwrap();
    assert_eq!(first.rows.len() + rest.rows.len(), limits::ROWS_MAX + 10);
    assert_eq!(rest.more_after, None);
    assert_eq!(rest.rows[0]["id"], first.rows.len() + 1);
    let log = ana.log(&mut world, "ana");
    ana.ack(&mut world, log.log, 205);
    let waiting = page(&mut world, AdminWhat::QueuePeek, Some("ana"), None).unwrap();
    assert_eq!(waiting.rows[0]["id"], 206, "from the slowest reader on");
}

#[test]
fn a_topic_is_made_and_removed_and_starts_empty_again() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    for _ in 0..2 {
        world.admin(AdminWhat::TopicCreate, Some("news")).unwrap();
    }
    let refused =
        |world: &mut World, what: AdminWhat, address: &str| world.admin(what, Some(address)).err();
    let taken = refused(&mut world, AdminWhat::TopicCreate, "ana");
    assert_eq!(taken, Some(Code::NameTaken));
    let a_user = refused(&mut world, AdminWhat::TopicRm, "ana");
    assert_eq!(a_user, Some(Code::IsAUser));
    let a_topic = refused(&mut world, AdminWhat::UserRm, "news");
    assert_eq!(a_topic, Some(Code::BadRequest));
    let none = refused(&mut world, AdminWhat::TopicRm, "nothing");
    assert_eq!(none, Some(Code::NoSuchAddress));
    let not_removed = refused(&mut world, AdminWhat::UserFree, "ana");
    assert_eq!(not_removed, Some(Code::NoSuchAddress));
    ana.join(&mut world, "news", From::Now).unwrap();
    let before = ana.log(&mut world, "news");
    ana.send(&mut world, &["news"], "old");
    world.admin(AdminWhat::TopicRm, Some("news")).unwrap();
    assert_eq!(ana.logs(&mut world).len(), 1);
    world.pass(2_000);
    world.pass(2_000);
    assert_eq!(
        world.core.logs.numbers().count(),
        1,
        "its mail went with it"
    );
    let mut world = world.crash();
    let ana = Device::login(&mut world, "ana", &["news"]);
    let after = ana.log(&mut world, "news");
    assert_eq!((after.head, after.waiting), (0, 0));
    assert_ne!((after.log, &after.key), (before.log, &before.key));
}

#[test]
fn p05_only_an_administrator_administers() {
    let mut world = World::new();
    Device::register(&mut world, "ana");
    for what in [
        AdminWhat::UserLs,
        AdminWhat::UserRm,
        AdminWhat::UserFree,
        AdminWhat::TopicLs,
        AdminWhat::TopicCreate,
        AdminWhat::TopicRm,
        AdminWhat::QueueLs,
        AdminWhat::QueueShow,
        AdminWhat::LeaseLs,
        AdminWhat::SessionLs,
        AdminWhat::Stats,
    ] {
        let asked = request::Admin {
            what,
            after: None,
            address: Some("ana".into()),
            body: false,
            particulars: request::Particulars::default(),
        };
        for key in ["ana", "stranger"] {
            let refused = world.call::<reply::Rows>(key, &Request::Admin(asked.clone()), None);
            assert_eq!(refused.err(), Some(Code::Denied), "{what:?} by {key}");
        }
    }
    assert_eq!(all(&mut world, AdminWhat::UserLs).0.len(), 1);
}
