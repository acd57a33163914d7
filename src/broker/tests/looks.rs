//! Bodies that administrators look at: who may, that it is written down, and that the addressee hears of it.

use serde_json::Value;

use super::world::{ADMIN, Device, World, id_of, key_of};
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::names::{Address, SERVER};
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::reply;
use crate::protocol::request::{self, Admin, AdminWhat, From, Request, Role};

fn look(address: &str, id: Option<u64>) -> Admin {
    let mut admin = Admin::new(AdminWhat::QueuePeek, Some(address.to_owned()));
    admin.body = true;
    admin.particulars.id = id;
    admin
}

/// The rows, what to ask after, and the bodies.
type Looked = (Vec<Value>, Option<String>, Vec<Vec<u8>>);

fn looked(world: &mut World, who: &str, admin: Admin) -> Result<Looked, Code> {
    world.ask(who, &Request::Admin(admin), None);
    world.settle();
    let mut frames = world.told();
    match reply::decode::<reply::Rows>(&frames[1]) {
        Ok(rows) => Ok((rows.rows, rows.more_after, frames.split_off(2))),
        Err(reply::DecodeError::Refused(error)) => Err(error.code),
        Err(error) => panic!("{error}"),
    }
}

/// Sends what is too large for a frame, in parts.
fn send_large(world: &mut World, who: &Device, to: &str, body: &[u8]) -> reply::Outcome {
    let mut parts = 0;
    for piece in body.chunks(limits::PART_BYTES_MAX) {
        let part = Request::Part(request::Part {
            session: who.session.clone(),
            stream: who.stream,
            number: 1,
            index: parts,
        });
        world
            .call::<reply::Part>(who.key, &part, Some(piece))
            .unwrap();
        parts += 1;
    }
    let mut send = who.request(1, &[to]);
    send.parts = Some(parts);
    let told: reply::Sent = world.call(who.key, &Request::Send(send), None).unwrap();
    told.outcomes.into_iter().next().unwrap()
}

fn audit(world: &mut World) -> Vec<Value> {
    world.admin(AdminWhat::AuditLs, None).unwrap().rows
}

#[test]
fn p05_a_body_is_seen_by_administrators_only_and_its_addressee_hears_of_it() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let _carol = Device::register(&mut world, "carol");
    for (user, role) in [("carol", Role::Operator), ("ana", Role::Admin)] {
        let mut admin = Admin::new(AdminWhat::UserRole, Some(user.to_owned()));
        admin.particulars.role = Some(role);
        looked(&mut world, ADMIN, admin).unwrap();
    }
    let before = audit(&mut world).len();
    let own = bob.log(&mut world, "bob");
    let key = NoticeKey::from_hex(&own.key).unwrap();
    assert!(world.subscribe("bob", &key.to_bytes()));
    let id = id_of(&ana.send(&mut world, &["bob"], "a secret")[0]);
    for who in ["carol", "bob"] {
        let asked = looked(&mut world, who, look("bob", None));
        assert_eq!(asked, Err(Code::Denied), "{who}");
    }
    assert_eq!(audit(&mut world).len(), before);
    world.notices.clear();
    // No word of it leaves before it is on disk that it was told.
    world.held = true;
    world.ask("ana", &Request::Admin(look("bob", None)), None);
    assert!(world.replies.is_empty(), "not before the disk has it");
    world.held = false;
    world.settle();
    let frames = world.told();
    assert_eq!(frames[2..], [b"a secret".to_vec()]);
    let told = world.notices.iter().any(
        |(_, notice)| matches!(notice, Notice::Mail { envelope, .. } if envelope.from == SERVER),
    );
    assert!(told, "and at once, if he is there");
    let rows = audit(&mut world);
    let row = rows.last().unwrap();
    assert_eq!(
        (&row["by"], &row["what"], &row["address"], &row["note"]),
        (
            &"ana".into(),
            &"queue_peek".into(),
            &"bob".into(),
            &format!("bodies of {id}").into()
        )
    );
    let mut world = world.crash();
    let bob = Device::login(&mut world, "bob", &[]);
    let (page, bodies) = bob.fetch_after(&mut world, own.log, 0, Some(0));
    assert_eq!(page.mails.len(), 2, "nothing went");
    assert_eq!(page.mails[1].from, SERVER);
    let text = String::from_utf8(bodies[1].clone()).unwrap();
    assert!(
        text.starts_with("ana, an administrator of this server, looked at"),
        "{text}"
    );
    assert!(
        text.contains(&format!("  {id}  ")) && !text.contains("secret"),
        "{text}"
    );
    assert!(Address::parse(SERVER).is_err(), "nobody is called so");
}

#[test]
fn a_look_ends_where_the_queue_ended_and_each_of_its_pages_is_told_once() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    let many = limits::LOOK_MAILS + 1;
    for n in 0..many {
        ana.send(&mut world, &["news"], &n.to_string());
    }
    let mut admin = look("news", None);
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let (rows, more, bodies) = looked(&mut world, ADMIN, admin.clone()).unwrap();
        assert_eq!(rows.len(), bodies.len());
        seen.extend(bodies);
        pages += 1;
        if more.is_none() {
            break;
        }
        admin.after = more;
    }
    let expected: Vec<Vec<u8>> = (0..many).map(|n| n.to_string().into_bytes()).collect();
    assert_eq!(
        (seen, pages),
        (expected, 2),
        "and no word of the look itself"
    );
    assert_eq!(audit(&mut world).len(), 2);
    let log = bob.log(&mut world, "news");
    let waiting = u64::from(many) + 2;
    assert_eq!(log.waiting, waiting, "two words of it, and no cursor moved");
    let bad = Admin {
        after: Some("7".into()),
        ..look("news", None)
    };
    assert_eq!(looked(&mut world, ADMIN, bad), Err(Code::BadRequest));
}

#[test]
fn a_large_body_comes_in_pieces_to_who_owned_up_to_it() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let _bob = Device::register(&mut world, "bob");
    let body = "x".repeat(limits::FRAME_BYTES_MAX + 7);
    let id = id_of(&send_large(&mut world, &ana, "bob", body.as_bytes()));
    let piece = |offset: u64| {
        let mut admin = look("bob", Some(id));
        admin.particulars.offset = Some(offset);
        Request::Admin(admin)
    };
    let asked = world.call::<reply::Body>(ADMIN, &piece(9), None);
    assert_eq!(asked, Err(Code::Denied), "nobody owned up to it yet");
    let (rows, _, bodies) = looked(&mut world, ADMIN, look("bob", Some(id))).unwrap();
    assert_eq!((&rows[0]["frames"], bodies.len()), (&0.into(), 0));
    let mut whole = Vec::new();
    for offset in [0, limits::FRAME_BYTES_MAX as u64] {
        world.ask(ADMIN, &piece(offset), None);
        world.settle();
        let frames = world.told();
        let told: reply::Body = reply::decode(&frames[1]).unwrap();
        assert_eq!((told.size, told.offset), (body.len() as u64, offset));
        whole.extend(frames[2].clone());
    }
    assert_eq!(whole, body.as_bytes());
    assert_eq!(audit(&mut world).len(), 1, "one look");
    let none = looked(&mut world, ADMIN, look("bob", Some(id + 9)));
    assert_eq!(none, Err(Code::NoSuchAddress));
    let none = looked(&mut world, ADMIN, look("ana", Some(id)));
    assert_eq!(none, Err(Code::NoSuchAddress), "it lies elsewhere");
    assert_eq!(audit(&mut world).len(), 1);
}

#[test]
fn p05_who_stops_being_an_administrator_gets_no_body_that_was_on_its_way() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let _bob = Device::register(&mut world, "bob");
    let role = |role| {
        let mut admin = Admin::new(AdminWhat::UserRole, Some("ana".into()));
        admin.particulars.role = Some(role);
        admin
    };
    looked(&mut world, ADMIN, role(Role::Admin)).unwrap();
    ana.send(&mut world, &["bob"], "a secret");
    world.slow_disk = true;
    world.ask("ana", &Request::Admin(look("bob", None)), None);
    world.ask(ADMIN, &Request::Admin(role(Role::User)), None);
    world.settle();
    world.replies.clear();
    world.slow_disk = false;
    world.answer_reads();
    world.settle();
    let late = world.told();
    assert_eq!(late.len(), 2, "no body");
    assert!(reply::decode::<reply::Rows>(&late[1]).is_err());
    assert_eq!(audit(&mut world).len(), 2);
    assert!(world.core.may_connect_live(&key_of("ana")));
}

#[test]
fn nobody_looks_while_there_is_no_room_to_tell_of_it() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let _bob = Device::register(&mut world, "bob");
    ana.send(&mut world, &["bob"], "a secret");
    world.handle(super::super::io::Input::Tick {
        disk_low: true,
        disk_free: None,
    });
    let asked = looked(&mut world, ADMIN, look("bob", None));
    assert_eq!(asked, Err(Code::DiskFull));
}
