//! Chats from the broker's side: every race between asking and answering, what a crash leaves, and
//! who is told what.

use super::chatting::{Party, told_chats};
use super::*;
use crate::protocol::reply::ChatState;

#[test]
fn p11_an_ask_and_an_answer_introduce_the_two_by_their_keys() {
    let mut world = World::new();
    let ana = Party::new(&mut world, "ana");
    let bob = Party::new(&mut world, "bob");
    bob.listen(&mut world);
    let asked = ana.ask(&mut world, "bob").unwrap();
    assert_eq!(asked.row.state, ChatState::Open);
    assert_eq!(asked.ttl_ms, limits::INVITATION_TTL_MS);
    let keys: Vec<&str> = asked.devices.iter().map(|d| d.key.as_str()).collect();
    assert_eq!(keys, [hex::encode(super::world::key_of("bob"))]);
    assert_eq!(bob.chats(&mut world), [asked.row.clone()]);
    let introduction = bob.accept(&mut world, &asked.row.chat).unwrap();
    ana.is_who(&introduction);
    assert_eq!(introduction.chat, asked.row.chat);
    assert_eq!(ana.chats(&mut world)[0].state, ChatState::Accepted);
    let states: Vec<ChatState> = told_chats(&world).iter().map(|(_, r)| r.state).collect();
    assert_eq!(states, [ChatState::Open, ChatState::Accepted]);
}
