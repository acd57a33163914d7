//! Chats from the broker's side: every race between asking and answering, who may answer, and who is
//! told what.

use super::chatting::{Party, told_chats};
use super::world::key_of;
use super::*;
use crate::protocol::reply::{Asked, ChatState, Introduction};

fn states(world: &World) -> Vec<ChatState> {
    let told = told_chats(world);
    told.iter().map(|(_, row)| row.state).collect()
}

/// Ana and bob, each with a port.
fn two() -> (World, Party, Party) {
    let mut world = World::new();
    let ana = Party::new(&mut world, "ana");
    let bob = Party::new(&mut world, "bob");
    (world, ana, bob)
}

/// ... and bob's telephone.
fn three() -> (World, Party, Party, Party) {
    let (mut world, ana, bob) = two();
    let phone = Party::further(&mut world, &bob, "bob's phone", "bob");
    (world, ana, bob, phone)
}

// -- asking and answering --

#[test]
fn p11_an_ask_and_an_answer_introduce_the_two_by_their_keys() {
    let (mut world, ana, bob) = two();
    bob.listen(&mut world);
    let asked = ana.ask(&mut world, "bob").unwrap();
    assert_eq!(asked.row.state, ChatState::Open);
    assert_eq!(asked.ttl_ms, limits::INVITATION_TTL_MS);
    let keys: Vec<&str> = asked.devices.iter().map(|d| d.key.as_str()).collect();
    assert_eq!(keys, [hex::encode(key_of("bob"))]);
    assert_eq!(bob.chats(&mut world), std::slice::from_ref(&asked.row));
    let introduction = bob.accept(&mut world, &asked.row.chat).unwrap();
    ana.is_who(&introduction);
    assert_eq!(introduction.chat, asked.row.chat);
    assert_eq!(ana.chats(&mut world)[0].state, ChatState::Accepted);
    assert_eq!(bob.chats(&mut world), []);
    assert_eq!(states(&world), [ChatState::Open, ChatState::Accepted]);
}

#[test]
fn p01_nothing_of_a_chat_is_told_before_its_commit() {
    let (mut world, ana, bob) = two();
    ana.listen(&mut world);
    bob.listen(&mut world);
    world.replies.clear();
    let told = |world: &World| (world.replies.len(), told_chats(world).len());
    world.held = true;
    world.ask("ana", &ana.ask_request("bob", None), None);
    assert_eq!(told(&world), (0, 0));
    world.settle();
    assert_eq!(told(&world), (1, 2), "the reply, and a notice to each");
    let asked: Asked = reply::decode(&world.told()[1]).unwrap();
    world.ask("bob", &bob.accept_request(&asked.row.chat), None);
    assert_eq!(told(&world), (0, 2));
    world.settle();
    assert_eq!(told(&world), (1, 4));
}

#[test]
fn p04_an_introduction_names_who_the_key_is_and_not_who_it_says() {
    let (mut world, ana, bob) = two();
    let eve = Party::new(&mut world, "eve");
    let forged = request::ChatAsk {
        // Eve knows the name of ana's session.
        session: ana.device.session.clone(),
        user: "bob".parse().unwrap(),
        host: None,
        nonce: None,
    };
    let refused: Result<Asked, Code> = world.call("eve", &Request::ChatAsk(forged), None);
    assert_eq!(refused, Err(Code::NoSession));
    let asked = eve.ask(&mut world, "bob").unwrap();
    assert_eq!(asked.row.from, "eve");
    eve.is_who(&bob.accept(&mut world, &asked.row.chat).unwrap());
}

#[test]
fn p11_a_third_user_learns_nothing_and_changes_nothing() {
    let (mut world, ana, bob) = two();
    let eve = Party::new(&mut world, "eve");
    eve.listen(&mut world);
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    let none = "0".repeat(32);
    for chat in [&chat, &none] {
        assert_eq!(eve.accept(&mut world, chat), Err(Code::NoInvitation));
        assert_eq!(
            eve.decline(&mut world, chat, false),
            Err(Code::NoInvitation)
        );
        assert_eq!(eve.withdraw(&mut world, chat), Err(Code::NoInvitation));
        eve.seen(&mut world, &[chat]);
    }
    assert_eq!(eve.chats(&mut world), []);
    assert_eq!(bob.withdraw(&mut world, &chat), Err(Code::NoInvitation));
    assert_eq!(
        ana.decline(&mut world, &chat, false),
        Err(Code::NoInvitation)
    );
    ana.is_who(&bob.accept(&mut world, &chat).unwrap());
    assert_eq!(told_chats(&world), [], "eve was the only listener");
}

// -- the races of the handshake --

#[test]
fn p11_when_both_ask_at_once_the_second_ask_accepts_the_first() {
    let (mut world, ana, bob) = two();
    world.held = true;
    world.replies.clear();
    world.ask("ana", &ana.ask_request("bob", None), None);
    world.ask("bob", &bob.ask_request("ana", None), None);
    assert!(world.replies.is_empty());
    world.settle();
    let second: Asked = reply::decode(&world.told()[1]).unwrap();
    let first: Asked = reply::decode(&world.told()[1]).unwrap();
    assert_eq!(first.introduction, None, "ana waits");
    assert_eq!(first.row.chat, second.row.chat);
    assert_eq!(second.row.state, ChatState::Accepted);
    ana.is_who(&second.introduction.unwrap());
    world.held = false;
    assert_eq!(ana.chats(&mut world)[0].state, ChatState::Accepted);
}

#[test]
fn p11_of_two_devices_that_accept_at_once_the_first_wins() {
    let (mut world, ana, bob, phone) = three();
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    world.held = true;
    world.replies.clear();
    world.ask(phone.device.key, &phone.accept_request(&chat), None);
    world.ask("bob", &bob.accept_request(&chat), None);
    assert!(world.replies.is_empty(), "both wait for the same commit");
    world.settle();
    let second = reply::decode::<Introduction>(&world.told()[1]);
    let Err(reply::DecodeError::Refused(error)) = second else {
        panic!("{second:?}");
    };
    assert_eq!(error.code, Code::Taken);
    ana.is_who(&reply::decode(&world.told()[1]).unwrap());
}

#[test]
fn p11_the_winner_who_asks_again_gets_the_same_introduction() {
    let (mut world, ana, bob, phone) = three();
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    let first = bob.accept(&mut world, &chat).unwrap();
    let commits = world.commits;
    assert_eq!(bob.accept(&mut world, &chat).unwrap(), first);
    assert_eq!(world.commits, commits, "and changes nothing");
    let elsewhere = Party::again(&mut world, "bob");
    for other in [&phone, &elsewhere] {
        assert_eq!(other.accept(&mut world, &chat), Err(Code::Taken));
        assert_eq!(other.decline(&mut world, &chat, false), Err(Code::Taken));
    }
    assert_eq!(ana.withdraw(&mut world, &chat), Err(Code::Taken));
}

#[test]
fn p13_a_crash_before_the_commit_of_an_accept_leaves_the_invitation_open() {
    let (mut world, ana, bob, phone) = three();
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    world.held = true;
    world.replies.clear();
    world.ask("bob", &bob.accept_request(&chat), None);
    assert!(world.replies.is_empty());
    let mut world = world.crash();
    assert_eq!(ana.chats(&mut world)[0].state, ChatState::Open);
    ana.is_who(&phone.accept(&mut world, &chat).unwrap());
    assert_eq!(bob.accept(&mut world, &chat), Err(Code::Taken));
}

#[test]
fn p13_a_crash_between_the_commit_and_the_reply_of_an_accept_leaves_the_winner_his_chat() {
    let (mut world, ana, bob, phone) = three();
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    world.held = true;
    world.replies.clear();
    world.ask("bob", &bob.accept_request(&chat), None);
    let (_, changes) = world.under_way.pop_front().unwrap();
    world.store.commit(&changes).unwrap();
    assert!(
        world.replies.is_empty(),
        "the reply was lost with the broker"
    );
    let mut world = world.crash();
    assert_eq!(ana.chats(&mut world)[0].state, ChatState::Accepted);
    assert_eq!(phone.accept(&mut world, &chat), Err(Code::Taken));
    ana.is_who(&bob.accept(&mut world, &chat).unwrap());
}

#[test]
fn p11_an_ask_that_is_repeated_is_the_same_invitation_also_over_a_restart() {
    let (mut world, ana, bob) = two();
    let first = ana.ask(&mut world, "bob").unwrap();
    world.pass(1_000);
    let again = ana.ask(&mut world, "bob").unwrap();
    assert_eq!(again.row, first.row);
    assert_eq!(again.ttl_ms, first.ttl_ms - 1_000);
    let mut world = world.crash();
    let named = ana.call(&mut world, &ana.ask_request("bob", Some("named")));
    assert_eq!(named.map(|asked: Asked| asked.row), Ok(first.row));
    assert_eq!(bob.chats(&mut world).len(), 1);
}

#[test]
fn p11_a_retried_ask_that_was_answered_meanwhile_makes_no_second_invitation() {
    let (mut world, ana, bob) = two();
    let ask = ana.ask_request("bob", Some("first"));
    let first: Asked = ana.call(&mut world, &ask).unwrap();
    bob.accept(&mut world, &first.row.chat).unwrap();
    let mut world = world.crash();
    let again: Asked = ana.call(&mut world, &ask).unwrap();
    assert_eq!(again.row.chat, first.row.chat);
    assert_eq!(again.row.state, ChatState::Accepted);
    assert_eq!(again.introduction, None, "she is the one who waits");
    let next = ana.ask_request("bob", Some("second"));
    let next: Asked = ana.call(&mut world, &next).unwrap();
    assert_ne!(next.row.chat, first.row.chat, "another ask is another chat");
}

#[test]
fn p11_a_retried_ask_that_accepted_gets_its_introduction_again() {
    let (mut world, ana, bob) = two();
    let theirs = ana.ask(&mut world, "bob").unwrap();
    let ask = bob.ask_request("ana", Some("crossing"));
    let first: Asked = bob.call(&mut world, &ask).unwrap();
    assert_eq!(first.row.chat, theirs.row.chat);
    let mut world = world.crash();
    let again: Asked = bob.call(&mut world, &ask).unwrap();
    assert_eq!(again.introduction, first.introduction);
    ana.is_who(&again.introduction.unwrap());
    assert_eq!(bob.chats(&mut world), [], "he made none himself");
}

// -- who may --

#[test]
fn a_chat_needs_a_port_that_is_bound() {
    let mut world = World::new();
    let ana = Party::new(&mut world, "ana");
    let mut bob = Party {
        device: Device::register(&mut world, "bob"),
        lease: (0, 0),
    };
    assert_eq!(bob.ask(&mut world, "ana"), Err(Code::NoPort));
    let session = bob.device.session.clone();
    let lease = Request::Lease(request::Lease { session });
    drop::<reply::Lease>(bob.call(&mut world, &lease).unwrap());
    assert_eq!(
        bob.ask(&mut world, "ana"),
        Err(Code::NoPort),
        "only offered"
    );
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    assert_eq!(bob.accept(&mut world, &chat), Err(Code::NoPort));
    bob.take_port(&mut world);
    ana.is_who(&bob.accept(&mut world, &chat).unwrap());
}

#[test]
fn a_chat_between_two_devices_of_one_user() {
    let mut world = World::new();
    let desk = Party::new(&mut world, "ana");
    assert_eq!(desk.ask(&mut world, "ana"), Err(Code::Denied), "with whom?");
    let phone = Party::further(&mut world, &desk, "ana's phone", "ana");
    let other_shell = Party::again(&mut world, "ana");
    desk.listen(&mut world);
    let asked = desk.ask(&mut world, "ana").unwrap();
    let devices: Vec<u64> = asked.devices.iter().map(|device| device.device).collect();
    assert_eq!(devices, [phone.device.login.device]);
    let chat = asked.row.chat;
    assert_eq!(other_shell.chats(&mut world), [], "not to its own device");
    assert_eq!(other_shell.accept(&mut world, &chat), Err(Code::Denied));
    assert_eq!(desk.accept(&mut world, &chat), Err(Code::Denied));
    assert_eq!(desk.decline(&mut world, &chat, false), Err(Code::Denied));
    assert_eq!(phone.chats(&mut world).len(), 1);
    let crossing = phone.ask(&mut world, "ana").unwrap();
    desk.is_who(&crossing.introduction.unwrap());
    assert_eq!(
        states(&world),
        [ChatState::Open, ChatState::Accepted],
        "told once on their one key"
    );
}

#[test]
fn p11_a_device_that_came_after_the_ask_does_not_accept_it_but_may_ask_back() {
    let (mut world, ana, bob) = two();
    let asked = ana.ask(&mut world, "bob").unwrap();
    let late = Party::further(&mut world, &bob, "bob's new laptop", "bob");
    let chat = asked.row.chat.clone();
    assert_eq!(late.accept(&mut world, &chat), Err(Code::Denied));
    let again = ana.ask(&mut world, "bob").unwrap();
    assert_eq!(again.devices, asked.devices, "ana is told of no new key");
    let back = late.ask(&mut world, "ana").unwrap();
    assert_ne!(back.row.chat, chat);
    late.is_who(&ana.accept(&mut world, &back.row.chat).unwrap());
    late.decline(&mut world, &chat, false).unwrap();
    assert_eq!(bob.accept(&mut world, &chat), Err(Code::NoInvitation));
}

#[test]
fn only_a_user_who_is_there_is_asked() {
    let (mut world, ana, bob) = two();
    drop::<reply::Logs>(bob.device.join(&mut world, "news", From::Now).unwrap());
    for nobody in ["news", "bbo"] {
        assert_eq!(ana.ask(&mut world, nobody), Err(Code::NoSuchAddress));
        assert_eq!(ana.block(&mut world, nobody), Err(Code::NoSuchAddress));
    }
}

// -- where --

#[test]
fn hosts_are_those_that_the_other_side_can_use() {
    let ask_and_accept = |ana_at, bob_at, ana_says: Option<&str>| {
        let (mut world, ana, bob) = two();
        world.addresses.insert("ana", ana_at);
        world.addresses.insert("bob", bob_at);
        let ask = request::ChatAsk {
            session: ana.device.session.clone(),
            user: "bob".parse().unwrap(),
            host: ana_says.map(str::to_owned),
            nonce: None,
        };
        let asked: Asked = ana.call(&mut world, &Request::ChatAsk(ask)).unwrap();
        let introduction = bob.accept(&mut world, &asked.row.chat).unwrap();
        (introduction.host, introduction.own_host)
    };
    let some = |host: &str| Some(host.to_owned());
    let here = ask_and_accept("127.0.0.1", "::1", None);
    assert_eq!(here, (some("127.0.0.1"), some("::1")));
    let mapped = ask_and_accept("::ffff:192.0.2.1", "192.0.2.2", None);
    assert_eq!(mapped, (some("192.0.2.1"), some("192.0.2.2")));
    let beside_the_broker = ask_and_accept("127.0.0.1", "192.0.2.2", None);
    assert_eq!(beside_the_broker, (None, some("192.0.2.2")));
    let bob_beside_it = ask_and_accept("192.0.2.1", "127.0.0.1", None);
    assert_eq!(bob_beside_it, (some("192.0.2.1"), None));
    let behind_nat = ask_and_accept("192.0.2.1", "192.0.2.2", Some("gate.example"));
    assert_eq!(behind_nat, (some("gate.example"), some("192.0.2.2")));
    let unseen = ask_and_accept("", "192.0.2.2", None);
    assert_eq!(unseen, (None, some("192.0.2.2")));
}

#[test]
fn p09_a_host_or_a_nonce_that_is_none_is_refused() {
    let (mut world, ana, bob) = two();
    let ask = |host: Option<&str>, nonce: Option<String>| {
        Request::ChatAsk(request::ChatAsk {
            session: ana.device.session.clone(),
            user: "bob".parse().unwrap(),
            host: host.map(str::to_owned),
            nonce,
        })
    };
    let bad = [
        ask(Some("127.0.0.1:1;tcp://evil"), None),
        ask(Some(""), None),
        ask(None, Some(String::new())),
        ask(None, Some("x".repeat(33))),
    ];
    for request in bad {
        let refused = ana.call::<Asked>(&mut world, &request);
        assert_eq!(refused, Err(Code::BadRequest));
    }
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    let accept = Request::ChatAccept(request::ChatAccept {
        session: bob.device.session.clone(),
        chat,
        host: Some("[::1]".into()),
    });
    let refused = bob.call::<Introduction>(&mut world, &accept);
    assert_eq!(refused, Err(Code::BadRequest));
}
