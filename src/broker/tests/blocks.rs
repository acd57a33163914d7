//! Blocks: what they stop, and that they do not show.

use super::chatting::{Party, told_chats};
use super::*;
use crate::protocol::reply::ChatState;

fn blocks_of(world: &mut World, party: &Party, after: Option<String>) -> reply::Blocks {
    let session = party.device.session.clone();
    let blocks = Request::Blocks(request::Blocks { session, after });
    party.call(world, &blocks).unwrap()
}

#[test]
fn a_blocked_users_mail_is_refused_for_good_and_topics_are_not_touched() {
    let mut world = World::new();
    let mut ana = Party::new(&mut world, "ana");
    let bob = Party::new(&mut world, "bob");
    let kim = Party::new(&mut world, "kim");
    bob.device.join(&mut world, "news", From::Now).unwrap();
    bob.block(&mut world, "ana").unwrap();
    bob.block(&mut world, "ana").unwrap();
    let sent = ana.device.send(&mut world, &["bob", "kim", "news"], "x");
    assert_eq!(code_of(&sent[0]), Code::Blocked);
    assert!(!Code::Blocked.retryable());
    let ids = (id_of(&sent[1]), id_of(&sent[2]));
    bob.unblock(&mut world, "ana").unwrap();
    let mut world = world.crash();
    let mut retry = ana.device.request(1, &["bob", "kim", "news"]);
    let mut ana = Device::login(&mut world, "ana", &[]);
    retry.session.clone_from(&ana.session);
    let again: reply::Sent = world
        .call("ana", &Request::Send(retry), Some(b"x"))
        .unwrap();
    assert_eq!(
        code_of(&again.outcomes[0]),
        Code::Blocked,
        "the first outcome"
    );
    assert_eq!((id_of(&again.outcomes[1]), id_of(&again.outcomes[2])), ids);
    id_of(&ana.send(&mut world, &["bob"], "after the block")[0]);
    assert_eq!(kim.device.log(&mut world, "kim").waiting, 1);
}

#[test]
fn p05_a_block_looks_like_any_busy_user() {
    let refusal = |blocked: bool| {
        let mut world = World::new();
        let ana = Party::new(&mut world, "ana");
        let bob = Party::new(&mut world, "bob");
        bob.listen(&mut world);
        if blocked {
            bob.block(&mut world, "ana").unwrap();
        } else {
            // As many as there may be have asked already.
            let names: Vec<&'static str> = (0..limits::INVITATIONS_TO_USER_MAX)
                .map(|n| &*Box::leak(format!("c{n:02}").into_boxed_str()))
                .collect();
            for name in names {
                Party::new(&mut world, name).ask(&mut world, "bob").unwrap();
            }
        }
        world.notices.clear();
        let (changes, rows) = (world.changes, bob.chats(&mut world).len());
        world.ask("ana", &ana.ask_request("bob", Some("once")), None);
        assert_eq!(world.changes, changes, "nothing is kept of it");
        assert_eq!(told_chats(&world), []);
        let frames = world.told();
        assert_eq!(bob.chats(&mut world).len(), rows);
        frames
    };
    assert_eq!(refusal(true), refusal(false));
}

#[test]
fn blocking_answers_what_the_blocked_user_has_open_as_busy() {
    let mut world = World::new();
    let ana = Party::new(&mut world, "ana");
    let bob = Party::new(&mut world, "bob");
    let kim = Party::new(&mut world, "kim");
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    kim.ask(&mut world, "bob").unwrap();
    bob.block(&mut world, "ana").unwrap();
    assert_eq!(ana.chats(&mut world)[0].state, ChatState::Busy);
    let rows = bob.chats(&mut world);
    assert_eq!(rows.len(), 1, "kim's stands");
    assert_eq!(bob.accept(&mut world, &chat), Err(Code::NoInvitation));
    assert_eq!(ana.ask(&mut world, "bob"), Err(Code::PeerBusy));
    let mut world = world.crash();
    assert_eq!(ana.ask(&mut world, "bob"), Err(Code::PeerBusy));
    bob.unblock(&mut world, "ana").unwrap();
    bob.unblock(&mut world, "ana").unwrap();
    ana.ask(&mut world, "bob").unwrap();
}

#[test]
fn blocks_are_listed_by_name_in_pages_and_have_a_limit() {
    let mut world = World::new();
    let bob = Party::new(&mut world, "bob");
    assert_eq!(bob.block(&mut world, "bob"), Err(Code::BadRequest));
    let count = limits::ROWS_MAX + 20;
    let names: Vec<&'static str> = (0..count)
        .map(|n| &*Box::leak(format!("u{n:03}").into_boxed_str()))
        .collect();
    for name in names.iter().rev() {
        Device::register(&mut world, name);
        bob.block(&mut world, name).unwrap();
    }
    let first = blocks_of(&mut world, &bob, None);
    assert_eq!(first.users, names[..limits::ROWS_MAX]);
    let rest = blocks_of(&mut world, &bob, first.more_after);
    assert_eq!(rest.users, names[limits::ROWS_MAX..]);
    assert_eq!(rest.more_after, None);
}
