//! What waits for a user is moved to another: nothing is lost, doubled or out of order, and both are told.

use serde_json::Value;

use super::world::{ADMIN, Device, World, code_of, id_of};
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::names::SERVER;
use crate::protocol::reply;
use crate::protocol::request::{self, Admin, AdminWhat, From, Request, Role};

fn moving(from: &str, to: &str) -> Admin {
    let mut admin = Admin::new(AdminWhat::QueueMove, Some(from.to_owned()));
    admin.particulars.to = Some(to.to_owned());
    admin
}

fn step(world: &mut World, admin: &Admin) -> Result<reply::Rows, Code> {
    world.call(ADMIN, &Request::Admin(admin.clone()), None)
}

/// Moves all of it and returns how many mails each batch took.
fn all(world: &mut World, from: &str, to: &str) -> Result<Vec<u64>, Code> {
    let mut admin = moving(from, to);
    let mut batches = Vec::new();
    loop {
        world.settle();
        let told = step(world, &admin)?;
        batches.push(told.rows[0]["mails"].as_u64().unwrap());
        if told.more_after.is_none() {
            return Ok(batches);
        }
        admin.after = told.more_after;
    }
}

fn audit(world: &mut World) -> Vec<Value> {
    world.admin(AdminWhat::AuditLs, None).unwrap().rows
}

#[test]
fn p03_what_waits_goes_to_the_other_once_and_in_order_and_both_are_told() {
    let mut world = World::new();
    let mut carol = Device::register(&mut world, "carol");
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let read = id_of(&carol.send(&mut world, &["ana"], "read already")[0]);
    let own = ana.log(&mut world, "ana");
    ana.ack(&mut world, own.log, read);
    let many = u64::from(limits::SHIFT_BATCH) + 3;
    let mut messages = Vec::new();
    for n in 0..many {
        messages.push(id_of(&carol.send(&mut world, &["ana"], &n.to_string())[0]));
    }
    let mut tried = moving("ana", "bob");
    tried.particulars.dry_run = true;
    let counted = step(&mut world, &tried).unwrap().rows.remove(0);
    assert_eq!(
        (&counted["mails"], &counted["to"]),
        (&many.into(), &"bob".into())
    );
    assert_eq!(audit(&mut world).len(), 0, "only counted");
    let batches = all(&mut world, "ana", "bob").unwrap();
    assert_eq!(batches.iter().sum::<u64>(), many, "{batches:?}");
    assert!(batches.len() > 1);
    let mut world = world.crash();
    let (ana, bob) = (
        Device::login(&mut world, ana.key, &[]),
        Device::login(&mut world, bob.key, &[]),
    );
    let log = bob.log(&mut world, "bob");
    let mut got = Vec::new();
    let mut bodies = Vec::new();
    let mut after = 0;
    loop {
        let (page, more) = bob.fetch_after(&mut world, log.log, after, None);
        got.extend(page.mails);
        bodies.extend(more);
        after = page.through;
        if !page.more {
            break;
        }
    }
    assert_eq!(got[0].from, SERVER);
    let moved = &got[1..];
    let numbers: Vec<u64> = moved.iter().map(|mail| mail.message).collect();
    assert_eq!(numbers, messages, "each once, in order, known again");
    assert!(
        moved
            .iter()
            .all(|mail| mail.from == "carol" && mail.to == ["ana"] && mail.address == "bob")
    );
    assert!(
        moved.windows(2).all(|two| two[1].prev == two[0].id),
        "no gap"
    );
    let texts: Vec<Vec<u8>> = (0..many).map(|n| n.to_string().into_bytes()).collect();
    assert_eq!(bodies[1..], texts);
    // ana hears how much went, and who did it.
    let (page, bodies) = ana.fetch_after(&mut world, own.log, read, Some(1));
    assert_eq!(page.trimmed.map(|gone| gone.count), Some(many));
    assert_eq!(page.mails.len(), 1);
    let text = String::from_utf8(bodies[0].clone()).unwrap();
    assert!(
        text.contains("moved what waited for you to bob: "),
        "{text}"
    );
    let rows = audit(&mut world);
    let counted: u64 = rows
        .iter()
        .map(|row| row["counts"]["mails"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, many);
    let first = messages[0];
    let note = rows[0]["note"].as_str().unwrap();
    assert!(
        note.starts_with(&format!("mails {first}-")) && note.contains(" to bob, "),
        "{note}"
    );
    let faults = crate::store::hostile::verify(&world.store).unwrap().faults;
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn p02_a_move_whose_commit_a_crash_took_back_did_not_happen() {
    let mut world = World::new();
    let mut carol = Device::register(&mut world, "carol");
    let _ana = Device::register(&mut world, "ana");
    let _bob = Device::register(&mut world, "bob");
    carol.send(&mut world, &["ana"], "one");
    world.held = true;
    world.ask(ADMIN, &Request::Admin(moving("ana", "bob")), None);
    assert!(world.replies.is_empty(), "not before it is on disk");
    let mut world = world.crash();
    let waiting = |world: &mut World, name: &str| {
        world
            .admin(AdminWhat::QueuePeek, Some(name))
            .unwrap()
            .rows
            .len()
    };
    assert_eq!(
        (waiting(&mut world, "ana"), waiting(&mut world, "bob")),
        (1, 0)
    );
    assert_eq!(audit(&mut world).len(), 0);
    all(&mut world, "ana", "bob").unwrap();
    assert_eq!(
        (waiting(&mut world, "ana"), waiting(&mut world, "bob")),
        (1, 2),
        "and word of it to each"
    );
    // What comes meanwhile and later stays, and the word of a move does not move on with it.
    carol.number = 10;
    let mut carol = Device::login(&mut world, "carol", &[]);
    carol.send(&mut world, &["ana"], "later");
    assert_eq!(waiting(&mut world, "ana"), 2);
}

#[test]
fn a_large_body_moves_whole_and_what_expired_does_not() {
    let mut world = World::new();
    let carol = Device::register(&mut world, "carol");
    let _ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let large = vec![b'x'; limits::FRAME_BYTES_MAX * 3 + 5];
    let mut number = 0;
    let mut send = |world: &mut World, body: &[u8], ttl_s: Option<u64>| {
        number += 1;
        let mut parts = 0;
        if body.len() > limits::FRAME_BYTES_MAX {
            for piece in body.chunks(limits::PART_BYTES_MAX) {
                let part = Request::Part(request::Part {
                    session: carol.session.clone(),
                    stream: carol.stream,
                    number,
                    index: parts,
                });
                world
                    .call::<reply::Part>("carol", &part, Some(piece))
                    .unwrap();
                parts += 1;
            }
        }
        let mut send = carol.request(number, &["ana"]);
        send.parts = (parts > 0).then_some(parts);
        send.ttl_s = ttl_s;
        let whole = (parts == 0).then_some(body);
        world
            .call::<reply::Sent>("carol", &Request::Send(send), whole)
            .unwrap();
    };
    send(&mut world, b"small", None);
    send(&mut world, &large, None);
    send(&mut world, b"of yesterday", Some(1));
    send(&mut world, b"last", None);
    world.pass(1_500);
    world.pass(1_500);
    let batches = all(&mut world, "ana", "bob").unwrap();
    assert_eq!(batches.iter().sum::<u64>(), 3, "{batches:?}");
    let log = bob.log(&mut world, "bob");
    let (page, bodies) = bob.fetch(&mut world, &log);
    let sizes: Vec<u64> = page.mails.iter().map(|mail| mail.size).collect();
    assert_eq!(sizes[1..], [5, large.len() as u64, 4]);
    assert_eq!(bodies.last().unwrap(), b"last");
    let asked = Request::Body(request::Body {
        session: bob.session.clone(),
        log: log.log,
        id: page.mails[2].id,
        offset: large.len() as u64 - 1,
    });
    world.ask("bob", &asked, None);
    assert_eq!(world.told()[2], b"x");
    let expired: u64 = audit(&mut world)
        .iter()
        .filter_map(|row| row["counts"]["expired"].as_u64())
        .sum();
    assert_eq!(expired, 1);
}

#[test]
fn p05_what_the_server_told_somebody_is_not_moved_to_another() {
    let mut world = World::new();
    let mut carol = Device::register(&mut world, "carol");
    let ana = Device::register(&mut world, "ana");
    let _bob = Device::register(&mut world, "bob");
    carol.send(&mut world, &["ana"], "one");
    let mut look = Admin::new(AdminWhat::QueuePeek, Some("ana".into()));
    look.body = true;
    world.ask(ADMIN, &Request::Admin(look), None);
    world.settle();
    carol.send(&mut world, &["ana"], "two");
    let batches = all(&mut world, "ana", "bob").unwrap();
    assert_eq!(batches.iter().sum::<u64>(), 2);
    let subjects = |world: &mut World, name: &str| -> Vec<String> {
        let rows = world.admin(AdminWhat::QueuePeek, Some(name)).unwrap().rows;
        let of_server = rows.iter().filter(|row| row["from"] == SERVER);
        of_server
            .map(|row| row["subject"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        subjects(&mut world, "bob"),
        ["Mail of somebody else comes to you"]
    );
    assert_eq!(
        subjects(&mut world, "ana"),
        [
            "What waited for you was moved",
            "An administrator looked at mail of yours"
        ]
    );
    let own = ana.log(&mut world, "ana");
    let (page, bodies) = ana.fetch_after(&mut world, own.log, 0, Some(0));
    assert_eq!((page.mails.len(), bodies.len()), (2, 2));
    assert!(String::from_utf8_lossy(&bodies[1]).contains("looked at the text"));
    let faults = crate::store::hostile::verify(&world.store).unwrap().faults;
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn what_cannot_be_right_does_not_move() {
    let mut world = World::new();
    let mut carol = Device::register(&mut world, "carol");
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "news", From::Now).unwrap();
    carol.send(&mut world, &["ana"], "one");
    carol.send(&mut world, &["ana"], "two");
    let tries = [
        (moving("ana", "ana"), Code::BadRequest),
        (moving("ana", "news"), Code::BadRequest),
        (moving("news", "bob"), Code::IsAUser),
        (moving("ana", "nobody"), Code::NoSuchAddress),
        (moving("nobody", "bob"), Code::NoSuchAddress),
        (
            Admin::new(AdminWhat::QueueMove, Some("ana".into())),
            Code::BadName,
        ),
        (
            Admin {
                after: Some("7".into()),
                ..moving("ana", "bob")
            },
            Code::BadRequest,
        ),
    ];
    for (admin, code) in tries {
        let refused = step(&mut world, &admin).map(|told| told.rows);
        let code = if code == Code::IsAUser {
            Code::BadRequest
        } else {
            code
        };
        assert_eq!(refused, Err(code), "{admin:?}");
    }
    // No room, a block, a disk that is full.
    let mut quota = Admin::new(AdminWhat::UserQuota, Some("bob".into()));
    quota.particulars.limits.mails_max = Some(1);
    step(&mut world, &quota).unwrap();
    assert_eq!(all(&mut world, "ana", "bob"), Err(Code::MailboxFull));
    step(
        &mut world,
        &Admin::new(AdminWhat::UserQuota, Some("bob".into())),
    )
    .unwrap();
    let block = |session, user: &str| {
        Request::Block(request::Block {
            session,
            user: user.parse().unwrap(),
        })
    };
    bob.ask::<Value>(&mut world, |session| block(session, "carol"))
        .unwrap();
    assert_eq!(
        code_of(&carol.send(&mut world, &["bob"], "x")[0]),
        Code::Blocked
    );
    assert_eq!(all(&mut world, "ana", "bob"), Err(Code::Blocked));
    world.handle(super::super::io::Input::Tick {
        disk_low: true,
        disk_free: None,
    });
    assert_eq!(all(&mut world, "ana", "bob"), Err(Code::DiskFull));
    let peeked = world.admin(AdminWhat::QueuePeek, Some("ana")).unwrap().rows;
    assert_eq!(peeked.len(), 2, "nothing moved");
    let moved = audit(&mut world)
        .iter()
        .filter(|row| row["what"] == "queue_move")
        .count();
    assert_eq!(moved, 0);
}

#[test]
fn p05_who_stops_being_an_administrator_moves_nothing_that_was_on_its_way() {
    let mut world = World::new();
    let mut carol = Device::register(&mut world, "carol");
    let _ana = Device::register(&mut world, "ana");
    let _bob = Device::register(&mut world, "bob");
    carol.send(&mut world, &["ana"], "one");
    let role = |role| {
        let mut admin = Admin::new(AdminWhat::UserRole, Some("carol".into()));
        admin.particulars.role = Some(role);
        admin
    };
    step(&mut world, &role(Role::Admin)).unwrap();
    world.slow_disk = true;
    world.ask("carol", &Request::Admin(moving("ana", "bob")), None);
    world.ask(ADMIN, &Request::Admin(role(Role::User)), None);
    world.replies.clear();
    world.slow_disk = false;
    world.answer_reads();
    world.settle();
    assert!(reply::decode::<reply::Rows>(&world.told()[1]).is_err());
    let peeked = world.admin(AdminWhat::QueuePeek, Some("bob")).unwrap().rows;
    assert_eq!(peeked.len(), 0);
}
