//! What is known of one mail, and that nothing else is said.

use serde_json::Value;

use super::world::{ADMIN, Device, World, code_of, id_of};
use crate::protocol::codes::Code;
use crate::protocol::reply;
use crate::protocol::request::{self, Admin, AdminWhat, From, Request};

fn explain(world: &mut World, id: u64, reader: Option<&str>) -> Vec<Value> {
    let mut admin = Admin::new(AdminWhat::Explain, None);
    admin.particulars.id = Some(id);
    admin.particulars.user = reader.map(str::to_owned);
    let told: reply::Rows = world.call(ADMIN, &Request::Admin(admin), None).unwrap();
    assert_eq!(told.more_after, None);
    told.rows
}

fn rows<'a>(all: &'a [Value], kind: &str) -> Vec<&'a Value> {
    all.iter().filter(|row| row["kind"] == kind).collect()
}

fn states(all: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |row: &&Value| format!("{} {}", text(&row["user"]), text(&row["state"]));
    rows(all, "device").iter().map(line).collect()
}

#[test]
fn a_mail_is_followed_from_its_sender_to_each_device() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let carol = Device::register(&mut world, "carol");
    for device in [&bob, &carol] {
        device.join(&mut world, "news", From::Now).unwrap();
    }
    let block = bob.ask::<Value>(&mut world, |session| {
        Request::Block(request::Block {
            session,
            user: "carol".parse().unwrap(),
        })
    });
    block.unwrap();
    ana.send(&mut world, &["ana"], "another");
    let sent = ana.send(&mut world, &["bob", "nobody", "news"], "hello");
    let (own, news) = (id_of(&sent[0]), id_of(&sent[2]));
    let dave = Device::register(&mut world, "dave");
    dave.join(&mut world, "news", From::Now).unwrap();
    let log = carol.log(&mut world, "news");
    carol.fetch(&mut world, &log);
    let log = bob.log(&mut world, "bob");
    bob.ack(&mut world, log.log, own);
    let told = explain(&mut world, news, None);
    let copies: Vec<(&Value, &Value)> = rows(&told, "mail")
        .iter()
        .map(|row| (&row["id"], &row["address"]))
        .collect();
    assert_eq!(
        copies,
        [(&own.into(), &"bob".into()), (&news.into(), &"news".into())],
        "both copies, whichever was asked for"
    );
    assert_eq!(
        states(&told),
        [
            "bob acknowledged",
            "bob waiting",
            "carol in_flight",
            "dave joined_later"
        ]
    );
    let missing = rows(&told, "recipient");
    assert_eq!(
        (
            &missing[0]["address"],
            &missing[0]["state"],
            &missing[0]["code"]
        ),
        (
            &"nobody".into(),
            &"refused".into(),
            &"no_such_address".into()
        )
    );
    assert_eq!(explain(&mut world, own, None), told);
    // Why not, user by user.
    let why = |world: &mut World, user: &str| {
        let told = explain(world, news, Some(user));
        rows(&told, "reader")
            .first()
            .map(|row| row["state"].clone())
    };
    assert_eq!(why(&mut world, "bob"), None);
    assert_eq!(why(&mut world, "ana"), Some("not_subscribed".into()));
    let mut closed = Admin::new(AdminWhat::TopicGrant, Some("news".into()));
    closed.particulars.right = Some(request::Right::Read);
    closed.particulars.user = Some("carol".into());
    world
        .call::<reply::Rows>(ADMIN, &Request::Admin(closed), None)
        .unwrap();
    assert_eq!(why(&mut world, "ana"), Some("may_not_read".into()));
    assert_eq!(why(&mut world, "dave"), Some("may_not_read".into()));
    let mut carol = carol;
    let refused = carol.send(&mut world, &["bob", "dave"], "x");
    assert_eq!(code_of(&refused[0]), Code::Blocked);
    let told = explain(&mut world, id_of(&refused[1]), Some("bob"));
    assert_eq!(rows(&told, "reader")[0]["state"], "blocked");
    let told = explain(&mut world, id_of(&refused[1]), Some("ana"));
    assert_eq!(rows(&told, "reader")[0]["state"], "not_addressed");
    // After a restart what was only in memory is not made up.
    let mut world = world.crash();
    let told = explain(&mut world, own, None);
    assert_eq!(states(&told)[0], "bob acknowledged");
    assert_eq!(rows(&told, "device")[0]["online"], false);
}

#[test]
fn of_a_mail_that_is_gone_no_more_is_said_than_is_known() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let one = id_of(&ana.send(&mut world, &["bob"], "one")[0]);
    let own = bob.log(&mut world, "bob");
    bob.ack(&mut world, own.log, one);
    world.pass(1_000);
    let told = explain(&mut world, one, None);
    assert_eq!(
        (&told[0]["kind"], &told[0]["state"]),
        (&"unknown".into(), &"gone".into())
    );
    assert_eq!(
        (&told[1]["address"], &told[1]["state"]),
        (&"bob".into(), &"gone".into()),
        "its sender may still ask for its outcome"
    );
    for id in [0, one + 1_000] {
        let told = explain(&mut world, id, None);
        assert_eq!(
            (told.len(), &told[0]["state"]),
            (1, &"never".into()),
            "{id}"
        );
    }
    // As soon as the sender has settled it, nothing is left.
    let mut send = ana.request(2, &["ana"]);
    send.settled_below = 2;
    world
        .call::<reply::Sent>("ana", &Request::Send(send), Some(b"x"))
        .unwrap();
    let told = explain(&mut world, one, None);
    assert_eq!(told.len(), 1, "{told:?}");
    let nameless = Request::Admin(Admin::new(AdminWhat::Explain, None));
    let asked = world.call::<reply::Rows>(ADMIN, &nameless, None);
    assert_eq!(asked.err(), Some(Code::BadRequest));
}

#[test]
fn a_mail_is_found_among_many_logs_and_devices_beyond_a_page_are_counted() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "zz", From::Now).unwrap();
    for n in 0..40 {
        for topic in 0..15 {
            let name = format!("t{n:02}x{topic:02}");
            ana.join(&mut world, &name, From::Now).unwrap();
        }
    }
    let first: Vec<String> = (0..600)
        .map(|n| format!("t{:02}x{:02}", n / 15, n % 15))
        .collect();
    for names in first.chunks(30) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        ana.send(&mut world, &names, "x");
    }
    let id = id_of(&ana.send(&mut world, &["zz"], "here")[0]);
    for names in first.chunks(30) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        ana.send(&mut world, &names, "x");
    }
    let mut admin = Admin::new(AdminWhat::Explain, None);
    admin.particulars.id = Some(id);
    let first: reply::Rows = world
        .call(ADMIN, &Request::Admin(admin.clone()), None)
        .unwrap();
    assert_eq!(first.rows, Vec::<Value>::new());
    admin.after = first.more_after;
    assert!(admin.after.is_some());
    let rest: reply::Rows = world.call(ADMIN, &Request::Admin(admin), None).unwrap();
    assert_eq!(rest.rows[0]["address"], "zz");
    for n in 0..230 {
        let name = super::world::leaked(format!("user{n}"));
        let device = Device::register(&mut world, name);
        device.join(&mut world, "zz", From::Now).unwrap();
    }
    let id = id_of(&ana.send(&mut world, &["zz"], "to many")[0]);
    let told = explain(&mut world, id, None);
    assert_eq!(told[0]["waiting"], 231);
    let shown = rows(&told, "device").len() as u64;
    let more = rows(&told, "more")[0]["devices"].as_u64().unwrap();
    assert_eq!(shown + more, 231);
    let told = explain(&mut world, id, Some("user229"));
    assert_eq!(states(&told), ["user229 waiting"]);
}
