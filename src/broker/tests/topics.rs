//! Joining, leaving, listing: who may make a topic, and where a reader begins.

use super::world::{Device, World, id_of, leaked};
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::reply;
use crate::protocol::request::{self, AdminWhat, From, Request};

fn told(world: &mut World, device: &Device, topic: &str) -> Result<reply::Topic, Code> {
    device.ask(world, |session| {
        Request::Topic(request::Topic {
            session,
            topic: topic.to_owned(),
        })
    })
}

#[test]
fn a_topic_tells_how_it_stands() {
    let mut world = World::with(|settings| settings.log_mails_max = 3);
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "news", From::Now).unwrap();
    bob.join(&mut world, "news", From::Now).unwrap();
    let ids =
        ["1", "22", "333", "4444"].map(|body| id_of(&ana.send(&mut world, &["news"], body)[0]));
    world.pass(2_000);
    let news = told(&mut world, &ana, "news").unwrap();
    assert_eq!((news.mails, news.bytes, news.head), (3, 9, ids[3]));
    assert_eq!(
        (news.subscribers, news.subscribed, news.waiting),
        (2, true, 4)
    );
    assert_eq!(news.created_at, "1970-01-01T00:16:40.000Z");
    ana.leave(&mut world, "news");
    let news = told(&mut world, &ana, "news").unwrap();
    assert_eq!(
        (news.subscribers, news.subscribed, news.waiting),
        (1, false, 0)
    );
    assert_eq!(told(&mut world, &ana, "bob").err(), Some(Code::IsAUser));
    assert_eq!(
        told(&mut world, &ana, "none").err(),
        Some(Code::NoSuchAddress)
    );
    assert_eq!(told(&mut world, &ana, "@").err(), Some(Code::BadName));
}

#[test]
fn a_user_is_not_joined_and_a_closed_server_makes_no_topic() {
    let mut world = World::with(|settings| settings.topics_open = false);
    let ana = Device::register(&mut world, "ana");
    Device::register(&mut world, "bob");
    let refused = |world: &mut World, topic: &str| ana.join(world, topic, From::Now).err();
    assert_eq!(refused(&mut world, "bob"), Some(Code::IsAUser));
    assert_eq!(refused(&mut world, "news"), Some(Code::NoSuchAddress));
    world.admin(AdminWhat::UserRm, Some("bob")).unwrap();
    assert_eq!(refused(&mut world, "bob"), Some(Code::NameTaken));
    world.admin(AdminWhat::TopicCreate, Some("news")).unwrap();
    assert_eq!(refused(&mut world, "news"), None);
}

#[test]
fn a_join_begins_where_it_says() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    let sent: Vec<u64> = (0..4)
        .map(|_| id_of(&ana.send(&mut world, &["news"], "x")[0]))
        .collect();
    let waiting = |world: &mut World, from: From| {
        let joined = ana.join(world, "news", from).unwrap();
        (joined.logs[0].cursor, joined.logs[0].waiting)
    };
    assert_eq!(waiting(&mut world, From::Start), (0, 4));
    assert_eq!(waiting(&mut world, From::After(sent[1])), (sent[1], 2));
    assert_eq!(waiting(&mut world, From::After(u64::MAX)), (sent[3], 0));
    assert_eq!(
        waiting(&mut world, From::Now),
        (sent[3], 0),
        "stays where it is"
    );
    assert_eq!(waiting(&mut world, From::Start), (0, 4), "backwards too");
}

#[test]
fn a_rewind_stops_at_what_was_trimmed() {
    let mut world = World::with(|settings| settings.log_mails_max = 2);
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    let ids = [(); 5].map(|()| id_of(&ana.send(&mut world, &["news"], "x")[0]));
    world.pass(2_000);
    let bob = Device::register(&mut world, "bob");
    let joined = bob.join(&mut world, "news", From::Start).unwrap();
    let joined = &joined.logs[0];
    assert_eq!((joined.cursor, joined.waiting), (ids[2], 2));
}

#[test]
fn who_left_while_his_join_was_looked_up_has_not_joined() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["news"], "x");
    world.slow_disk = true;
    let join = Request::Join(request::Join {
        session: bob.session.clone(),
        topic: "news".parse().unwrap(),
        from: From::Start,
    });
    world.ask("bob", &join, None);
    let late = std::mem::take(&mut world.reads);
    world.slow_disk = false;
    bob.leave(&mut world, "news");
    world.reads = late;
    world.answer_reads();
    world.settle();
    assert_eq!(bob.logs(&mut world).len(), 1, "his own");
    let rows = world.admin(AdminWhat::QueueLs, None).unwrap().rows;
    assert_eq!(rows.len(), 3, "ana's own, bob's own, ana's of news");
}

#[test]
fn a_prefix_reads_what_lies_under_it_from_the_first_mail_on() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "lab/old", From::Now).unwrap();
    ana.send(&mut world, &["lab/old"], "before");
    let joined = bob.join(&mut world, "lab/*", From::Now).unwrap();
    assert_eq!(joined.logs.len(), 1);
    assert_eq!(joined.logs[0].waiting, 0);
    ana.join(&mut world, "lab/new", From::Now).unwrap();
    ana.join(&mut world, "other", From::Now).unwrap();
    ana.send(&mut world, &["lab/new", "lab/old", "other"], "x");
    let waiting: Vec<(String, u64)> = bob
        .logs(&mut world)
        .into_iter()
        .map(|log| (log.address, log.waiting))
        .collect();
    let expected = [("bob", 0), ("lab/old", 1), ("lab/new", 1)];
    assert_eq!(waiting, expected.map(|(name, n)| (name.to_owned(), n)));
    bob.leave(&mut world, "lab/*");
    assert_eq!(bob.logs(&mut world).len(), 1);
}

#[test]
fn a_topic_both_joined_and_under_a_prefix_is_left_with_the_last_of_them() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "lab/a", From::Now).unwrap();
    ana.join(&mut world, "lab/*", From::Now).unwrap();
    ana.leave(&mut world, "lab/a");
    assert_eq!(ana.logs(&mut world).len(), 2, "the prefix reads it still");
    ana.leave(&mut world, "lab/*");
    assert_eq!(ana.logs(&mut world).len(), 1);
    ana.leave(&mut world, "lab/*");
    ana.leave(&mut world, "never-was");
    assert_eq!(ana.logs(&mut world).len(), 1);
}

#[test]
fn topics_are_listed_by_name_page_by_page() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    for n in 0..limits::ROWS_MAX {
        bob.join(&mut world, &format!("t{n:03}"), From::Now)
            .unwrap();
    }
    ana.join(&mut world, "t000", From::Now).unwrap();
    let list = |world: &mut World, after: Option<String>| {
        ana.ask::<reply::Topics>(world, |session| {
            Request::Topics(request::Topics { session, after })
        })
        .unwrap()
    };
    let all = list(&mut world, None);
    assert_eq!((all.topics.len(), all.more_after), (limits::ROWS_MAX, None));
    assert!(all.topics[0].subscribed && !all.topics[1].subscribed);
    ana.join(&mut world, "t/*", From::Now).unwrap();
    let first = list(&mut world, None);
    assert_eq!(first.topics.len() + first.prefixes.len(), limits::ROWS_MAX);
    let rest = list(&mut world, first.more_after);
    let names = first.topics.len() + rest.topics.len();
    let prefixes = first.prefixes.len() + rest.prefixes.len();
    assert_eq!(
        (names, prefixes, rest.more_after),
        (limits::ROWS_MAX, 1, None)
    );
}

/// More logs than one page of rows holds: the list goes on where it ended, and none is told twice.
#[test]
fn many_logs_are_listed_page_by_page() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    for n in 0..limits::ROWS_MAX + 5 {
        ana.join(&mut world, &format!("t{n}"), From::Now).unwrap();
    }
    let login = Device::login(&mut world, "ana", &[]).login;
    assert_eq!(login.logs.len(), limits::ROWS_MAX);
    let after = login.more_after.unwrap();
    assert_eq!(login.logs.last().unwrap().log, after);
    let rest = ana
        .ask::<reply::Logs>(&mut world, |session| {
            Request::Logs(request::Logs { session, after })
        })
        .unwrap();
    assert_eq!((rest.logs.len(), rest.more_after), (6, None));
    assert!(rest.logs.iter().all(|log| log.log > after));
}

#[test]
fn p05_a_join_tells_the_users_other_sessions() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let other = Device::login(&mut world, "ana", &[]);
    ana.join(&mut world, "news", From::Now).unwrap();
    let known = other.login.through;
    let mut beat = |device: &Device, known| {
        let told = device.beat(&mut world, known).unwrap();
        (told.behind.len(), told.through)
    };
    let (many, through) = beat(&other, known);
    assert_eq!(many, 1, "a log that is new to it");
    assert_eq!(beat(&other, through).0, 0, "once");
    assert_eq!(beat(&bob, known).0, 0, "not his");
}

/// The answer to a join may come when nobody waits for it any more: a copy of the request that the network kept back.
#[test]
fn p10_a_heartbeat_tells_of_a_join_whose_answer_nobody_heard() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let known = ana.beat(&mut world, ana.login.through).unwrap().through;
    ana.join(&mut world, "news", From::Now).unwrap();
    let told = ana.beat(&mut world, known).unwrap();
    assert_eq!(told.behind.len(), 1);
    let again = ana.beat(&mut world, told.through).unwrap();
    assert!(again.behind.is_empty(), "once");
}

#[test]
fn a_login_joins_what_it_names_and_says_what_it_could_not() {
    let mut world = World::new();
    Device::register(&mut world, "bob");
    Device::register(&mut world, leaked("ana".to_owned()));
    let ana = Device::login(&mut world, "ana", &["news", "bob", "lab/*"]);
    let refused: Vec<(&str, Code)> = ana
        .login
        .refused
        .iter()
        .map(|refused| (refused.topic.as_str(), refused.error.code))
        .collect();
    assert_eq!(refused, [("bob", Code::IsAUser)]);
    let logs: Vec<&str> = ana
        .login
        .logs
        .iter()
        .map(|log| log.address.as_str())
        .collect();
    assert_eq!(logs, ["ana", "news"]);
}

/// A device unseen for 90 days of the server's own time holds a topic's mail no longer; back again, it
/// is told what it missed.
#[test]
fn p07_a_device_that_stays_away_holds_no_mail_for_ever() {
    let mut world = World::with(|settings| settings.history_mails = 0);
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["news"], "for bob");
    let kept = |world: &mut World| {
        world.pass(2_000);
        world.admin(AdminWhat::TopicLs, None).unwrap().rows[0]["mails"].as_u64()
    };
    world.pass((limits::DEVICE_STALE_SECONDS - 60) * 1_000);
    assert_eq!(kept(&mut world), Some(1));
    world.pass(20 * 60_000);
    assert_eq!(kept(&mut world), Some(0));
    let bob = Device::login(&mut world, bob.key, &[]);
    let log = bob.log(&mut world, "news");
    let trimmed = bob.fetch(&mut world, &log).0.trimmed;
    assert_eq!(trimmed.map(|trimmed| trimmed.count), Some(1));
}
