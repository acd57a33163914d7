//! Who may read and send to topics: what administrators grant holds at once, and after a restart.

use serde_json::Value;

use super::world::{ADMIN, Device, World, code_of, id_of};
use crate::protocol::codes::Code;
use crate::protocol::notice::NoticeKey;
use crate::protocol::reply;
use crate::protocol::request::{self, Admin, AdminWhat, From, Particulars, Request, Right};

fn rule(
    world: &mut World,
    what: AdminWhat,
    topic: &str,
    (right, user): (Right, Option<&str>),
) -> Result<Value, Code> {
    let admin = Admin {
        particulars: Particulars {
            right: Some(right),
            user: user.map(str::to_owned),
            ..Particulars::default()
        },
        ..Admin::new(what, Some(topic.to_owned()))
    };
    let rows: reply::Rows = world.call(ADMIN, &Request::Admin(admin), None)?;
    Ok(rows.rows.into_iter().next().unwrap_or_default())
}

fn grant(world: &mut World, topic: &str, right: Right, user: Option<&str>) -> Value {
    rule(world, AdminWhat::TopicGrant, topic, (right, user)).expect("granted")
}

fn revoke(world: &mut World, topic: &str, right: Right, user: Option<&str>) -> Value {
    rule(world, AdminWhat::TopicRevoke, topic, (right, user)).expect("revoked")
}

fn reads(device: &Device, world: &mut World) -> Vec<String> {
    let logs = device.logs(world);
    logs.into_iter().map(|log| log.address).collect()
}

#[test]
fn p05_who_loses_the_right_to_a_topic_gets_nothing_more_of_it() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    for device in [&ana, &bob] {
        device.join(&mut world, "news", From::Now).unwrap();
    }
    let log = bob.log(&mut world, "news");
    let key = NoticeKey::from_hex(&log.key).unwrap();
    assert!(world.subscribe("bob", &key.to_bytes()));
    ana.send(&mut world, &["news"], "before");
    // A page is on its way from the disk when it happens.
    world.slow_disk = true;
    let fetch = request::Fetch {
        session: bob.session.clone(),
        log: log.log,
        after: 0,
        n: None,
        mails: 9,
        bytes: 99,
    };
    world.ask("bob", &Request::Fetch(fetch.clone()), None);
    let row = grant(&mut world, "news", Right::Read, Some("ana"));
    assert_eq!((&row["gained"], &row["lost"]), (&0.into(), &1.into()));
    world.replies.clear();
    world.slow_disk = false;
    world.answer_reads();
    let late = world.told();
    assert_eq!(late.len(), 2, "no body");
    assert!(reply::decode::<reply::Page>(&late[1]).is_err());
    world.notices.clear();
    ana.send(&mut world, &["news"], "after");
    assert!(world.notices.iter().all(|(told, _)| *told != key));
    for generation in 0..4 {
        let next = NoticeKey { generation, ..key };
        assert!(!world.subscribe("bob", &next.to_bytes()), "{generation}");
    }
    let refused = world.call::<Value>("bob", &Request::Fetch(fetch), None);
    assert_eq!(refused, Err(Code::NoSuchAddress));
    let mut world = world.crash();
    let bob = Device::login(&mut world, "bob", &[]);
    assert_eq!(reads(&bob, &mut world), ["bob"]);
    let joined = bob.join(&mut world, "news", From::Start);
    assert_eq!(joined.err(), Some(Code::Denied));
    let history = bob.ask::<Value>(&mut world, |session| {
        Request::History(request::History {
            session,
            address: "news".into(),
            mails: 9,
            before: None,
        })
    });
    assert_eq!(history, Err(Code::Denied));
    let topics: reply::Topics = bob
        .ask(&mut world, |session| {
            Request::Topics(request::Topics {
                session,
                after: None,
            })
        })
        .unwrap();
    assert_eq!(
        topics.topics.len(),
        0,
        "he is not shown what he may not read"
    );
    // The other way: what he joined is his again, from now on.
    let row = grant(&mut world, "news", Right::Read, Some("bob"));
    assert_eq!(row["gained"], 1);
    assert_eq!(bob.log(&mut world, "news").waiting, 0);
    let mut ana = Device::login(&mut world, "ana", &[]);
    ana.send(&mut world, &["news"], "again");
    assert_eq!(bob.log(&mut world, "news").waiting, 1);
}

#[test]
fn a_rule_with_the_users_name_gives_each_his_own_and_closes_it_to_others() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    for device in [&ana, &bob] {
        device.join(&mut world, "home/ana/*", From::Now).unwrap();
    }
    grant(&mut world, "home/{user}/*", Right::Read, None);
    ana.join(&mut world, "home/ana/mail", From::Now).unwrap();
    assert_eq!(
        reads(&bob, &mut world),
        ["bob"],
        "a prefix is no way around it"
    );
    assert_eq!(reads(&ana, &mut world), ["ana", "home/ana/mail"]);
    let joined = bob.join(&mut world, "home/ana/other", From::Now);
    assert_eq!(joined.err(), Some(Code::Denied));
    assert!(
        world.core.directory.live("home/ana/other").is_none(),
        "nor does asking make it"
    );
    id_of(&ana.send(&mut world, &["home/ana/mail"], "to myself")[0]);
    revoke(&mut world, "home/{user}/*", Right::Read, None);
    assert_eq!(
        reads(&bob, &mut world),
        ["bob", "home/ana/mail"],
        "open again"
    );
}

#[test]
fn who_may_not_send_is_refused_for_good_and_the_others_get_theirs() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let mut bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "news", From::Now).unwrap();
    grant(&mut world, "news", Right::Send, Some("ana"));
    let outcomes = bob.send(&mut world, &["news", "ana"], "x");
    assert_eq!(code_of(&outcomes[0]), Code::Denied);
    id_of(&outcomes[1]);
    id_of(&ana.send(&mut world, &["news"], "y")[0]);
    let mut world = world.crash();
    let mut bob = Device::login(&mut world, "bob", &[]);
    assert_eq!(
        code_of(&bob.send(&mut world, &["news"], "z")[0]),
        Code::Denied
    );
    let shown = world
        .admin(AdminWhat::TopicShow, Some("news"))
        .unwrap()
        .rows;
    assert_eq!(shown[0]["send"], serde_json::json!(["news: ana"]));
    assert_eq!(shown[0]["read"], serde_json::json!([]));
}

#[test]
fn a_rule_of_a_removed_user_opens_nothing_and_is_taken_back_before_the_name_is_free() {
    let mut world = World::new();
    let _ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    grant(&mut world, "news", Right::Read, Some("ana"));
    world.admin(AdminWhat::UserRm, Some("ana")).unwrap();
    assert_eq!(reads(&bob, &mut world), ["bob"], "it stays closed");
    assert_eq!(
        world.admin(AdminWhat::UserFree, Some("ana")).err(),
        Some(Code::Denied)
    );
    let none = rule(
        &mut world,
        AdminWhat::TopicRevoke,
        "news",
        (Right::Send, Some("ana")),
    );
    assert_eq!(none, Err(Code::NoSuchAddress));
    let row = revoke(&mut world, "news", Right::Read, Some("ana"));
    assert_eq!(row["gained"], 1);
    world.admin(AdminWhat::UserFree, Some("ana")).unwrap();
    assert_eq!(reads(&bob, &mut world), ["bob", "news"]);
}

#[test]
fn a_topic_keeps_as_much_as_was_set_for_it() {
    let mut world = World::with(|settings| settings.history_mails = 9);
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    let mut admin = Admin::new(AdminWhat::TopicRetention, Some("news".into()));
    admin.particulars.limits.history_mails = Some(2);
    drop::<reply::Rows>(world.call(ADMIN, &Request::Admin(admin), None).unwrap());
    let mut last = 0;
    for _ in 0..6 {
        last = id_of(&ana.send(&mut world, &["news"], "x")[0]);
    }
    let log = ana.log(&mut world, "news").log;
    ana.ack(&mut world, log, last);
    world.pass(1_000);
    let shown = world
        .admin(AdminWhat::TopicShow, Some("news"))
        .unwrap()
        .rows;
    assert_eq!(
        (&shown[0]["mails"], &shown[0]["history_mails"]),
        (&2.into(), &2.into())
    );
}
