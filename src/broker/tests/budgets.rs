//! Budgets in the core: who asks too much is slowed, nobody else is, and nothing grows.

use std::collections::HashSet;

use super::world::{Device, World, key_of, leaked};
use crate::broker::io::Input;
use crate::limits;
use crate::protocol::codes::{Code, WireError};
use crate::protocol::names::UserName;
use crate::protocol::notice::NoticeKey;
use crate::protocol::reply::{self, DecodeError};
use crate::protocol::request::{self, Request};

fn register(name: &str, code: Option<&str>) -> Request {
    Request::Register(request::Register {
        user: Some(UserName::parse(name).unwrap()),
        device: String::new(),
        code: code.map(str::to_owned),
    })
}

fn refusal(world: &mut World, who: &str, request: &Request) -> Option<WireError> {
    world.ask(who, request, None);
    match reply::decode::<serde_json::Value>(&world.told()[1]) {
        Err(DecodeError::Refused(error)) => Some(error),
        _ => None,
    }
}

fn live_key(world: &mut World, device: &Device) -> [u8; 16] {
    let key = device.log(world, device.key).key;
    NoticeKey::from_hex(&key).unwrap().to_bytes()
}

fn may_listen(world: &World, who: &str) -> bool {
    world.core.may_connect_live(&key_of(who))
}

#[test]
fn p09_who_sends_garbage_on_and_on_is_told_so_at_times_and_nobody_else_waits() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let _eve = Device::register(&mut world, "eve");
    let garbage = || vec![b"1".to_vec(), b"garbage".to_vec()];
    let (mut bad, mut busy) = (0, 0);
    for _ in 0..5_000 {
        world.raw("eve", garbage());
        while let Some((_, frames)) = world.replies.pop() {
            match reply::decode::<serde_json::Value>(&frames[1]) {
                Err(DecodeError::Refused(error)) if error.code == Code::BadRequest => bad += 1,
                Err(DecodeError::Refused(error)) => {
                    assert_eq!(error.code, Code::Busy);
                    assert!(error.retryable && error.retry_after_ms.is_some());
                    busy += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(bad, limits::FAILED_REQUESTS.burst);
    assert_eq!(busy, limits::BUSY_ANSWERS.burst);
    ana.send(&mut world, &["ana"], "undisturbed");
    world.pass(2 * 500 * 20);
    world.raw("eve", garbage());
    let error = reply::decode::<serde_json::Value>(&world.told()[1]).unwrap_err();
    assert!(matches!(error, DecodeError::Refused(error) if error.code == Code::BadRequest));
}

#[test]
fn p09_a_wait_that_was_told_is_true() {
    let mut world = World::with(|settings| settings.registrations = 3);
    let home = [
        ("a", "192.0.2.1"),
        ("b", "192.0.2.1"),
        ("c", "192.0.2.1"),
        ("d", "192.0.2.1"),
    ];
    world.addresses.extend(home);
    world.addresses.insert("e", "192.0.2.2");
    for name in ["a", "b", "c"] {
        assert_eq!(refusal(&mut world, name, &register(name, None)), None);
    }
    assert_eq!(
        refusal(&mut world, "a", &register("a", None)),
        None,
        "said again it is answered again, and costs nothing"
    );
    let error = refusal(&mut world, "d", &register("d", None)).unwrap();
    assert_eq!(error.code, Code::Busy);
    let digits = |c: char| c.is_ascii_digit();
    assert!(!error.text.contains(digits), "once is enough: {error:?}");
    assert_eq!(
        refusal(&mut world, "e", &register("e", None)),
        None,
        "another address"
    );
    assert_eq!(
        refusal(&mut world, "f", &register("f", None)),
        None,
        "this machine"
    );
    let wait_ms = error.retry_after_ms.unwrap();
    world.pass(wait_ms - 1);
    assert!(refusal(&mut world, "d", &register("d", None)).is_some());
    world.pass(1);
    assert_eq!(refusal(&mut world, "d", &register("d", None)), None);
}

/// What protects a code is that nobody finds it, not that who shares an address with somebody who
/// guesses is kept out.
#[test]
fn p05_a_code_is_beyond_guessing_and_a_neighbours_guesses_keep_nobody_out() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let invite = Request::Invite(request::Invite {
        session: ana.session.clone(),
        user: None,
        device: true,
    });
    let codes: HashSet<String> = (0..limits::CODES_PER_USER_MAX)
        .map(|_| world.call("ana", &invite, None).unwrap())
        .map(|invited: reply::Invited| invited.code)
        .collect();
    assert_eq!(codes.len(), limits::CODES_PER_USER_MAX);
    let all = |code: &String| code.len() == 20 && code.bytes().all(|c| c.is_ascii_hexdigit());
    assert!(codes.iter().all(all), "80 bits each: {codes:?}");
    for nth in 0..2 * limits::FAILED_REQUESTS.burst {
        let wrong = register("ana", Some(&format!("{nth:020x}")));
        let error = refusal(&mut world, "eve", &wrong).unwrap();
        assert_eq!(error.code, Code::BadCode);
    }
    let right = register("ana", codes.iter().next().map(String::as_str));
    assert_eq!(refusal(&mut world, "phone", &right), None);
    let wrong = register("ana", Some("wrong"));
    let busy = (0..=limits::STRANGERS_REQUESTS.burst)
        .find_map(|_| refusal(&mut world, "eve", &wrong).filter(|error| error.code == Code::Busy));
    assert!(
        busy.is_some(),
        "guessing has the pace of all that strangers ask"
    );
}

#[test]
fn p08_logins_have_a_budget_and_sends_have_none() {
    let mut world = World::new();
    Device::register(&mut world, "ana");
    let login = || {
        Request::Login(request::Login {
            user: None,
            topics: Vec::new(),
            resume: None,
            stream: None,
            want_stream: false,
            want_port: false,
        })
    };
    let error = (0..=limits::LOGINS.burst).find_map(|_| refusal(&mut world, "ana", &login()));
    let error = error.expect("a limit");
    assert_eq!(error.code, Code::Busy);
    world.pass(error.retry_after_ms.unwrap());
    assert_eq!(refusal(&mut world, "ana", &login()), None);
    world.pass(1_000);
    let mut ana = Device::login(&mut world, "ana", &[]);
    for _ in 0..1_000 {
        ana.send(&mut world, &["ana"], "one of many");
    }
}

#[test]
fn p08_who_has_too_much_denied_loses_the_live_socket_and_nobody_else_does() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let eve = Device::register(&mut world, "eve");
    let own = live_key(&mut world, &eve);
    let mut denied = 0;
    while may_listen(&world, "eve") {
        assert_eq!(world.cut, 0);
        assert!(!world.subscribe("eve", b"sixteen bytes ..."));
        denied += 1;
    }
    assert!((1_000..4_000).contains(&denied), "{denied}");
    assert_eq!(world.cut, 1, "with the frame that was too much");
    assert!(may_listen(&world, "ana"), "nobody else is kept out");
    assert!(world.subscribe("eve", &own), "what she may read, she may");
    // What was still under way, however much it is.
    for _ in 0..10_000 {
        world.subscribe("eve", &[7; 390]);
    }
    assert_eq!(world.renewed, 0, "the others keep their connections");
    let key = live_key(&mut world, &ana);
    assert!(world.subscribe("ana", &key));
    let most_ms = 2 * limits::DENIED_SUBSCRIPTIONS.burst * limits::DENIED_SUBSCRIPTIONS.micros;
    world.pass(most_ms / 1_000);
    assert!(may_listen(&world, "eve"), "it passes");
}

#[test]
fn p09_one_user_has_the_live_socket_opened_anew_in_no_time() {
    let mut world = World::new();
    Device::register(&mut world, "eve");
    let topic = [7; 390];
    let pause_ms = limits::denied_cost(topic.len()) * limits::DENIED_SUBSCRIPTIONS.micros / 1_000;
    let days_ms = 2 * 86_400_000;
    for _ in 0..days_ms / pause_ms {
        world.pass(pause_ms + 1);
        world.subscribe("eve", &topic);
    }
    assert_eq!(world.renewed, 0);
    assert!(world.cut > 0, "she loses her own connection");
}

#[test]
fn devices_that_come_back_with_old_keys_are_not_kept_out() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let own = live_key(&mut world, &ana);
    for nth in 0..3 * limits::SUBSCRIPTIONS_MAX as u64 {
        let mut stale = own;
        stale[8..].copy_from_slice(&(1 << 40 | nth).to_be_bytes());
        assert!(!world.subscribe("ana", &stale));
    }
    assert_eq!(world.cut, 0);
    assert!(may_listen(&world, "ana"));
}

/// Has so many new users denied as much as one may.
fn crowd_is_denied(world: &mut World, from: usize) {
    for nth in from..from + 20 {
        let name = leaked(format!("eve{nth}"));
        Device::register(world, name);
        while may_listen(world, name) && world.cut == 0 {
            world.subscribe(name, &[7; 390]);
        }
        world.cut = 0;
    }
}

#[test]
fn p09_a_crowd_has_the_live_socket_opened_anew_but_rarely() {
    let mut world = World::new();
    for round in 0..4 {
        crowd_is_denied(&mut world, 20 * round);
        assert_eq!(world.renewed, 1, "{round}");
    }
    world.subscribe("eve79", b"one more");
    assert_eq!(world.cut, 1, "what is kept is bounded meanwhile");
    world.pass(limits::LIVE_RENEWAL_MS - 1);
    let late = Device::register(&mut world, "late");
    world.subscribe("late", b"what is not hers");
    assert_eq!((world.renewed, world.cut), (1, 2));
    world.pass(1);
    world.subscribe("late", b"what is not hers");
    assert_eq!((world.renewed, world.cut), (2, 2));
    let own = live_key(&mut world, &late);
    assert!(world.subscribe("late", &own));
}

#[test]
fn p09_who_ends_and_begins_his_own_subscription_on_and_on_is_cut_off() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let eve = Device::register(&mut world, "eve");
    let own = live_key(&mut world, &eve);
    let mut frames = 0;
    while world.cut == 0 {
        world.subscribe("eve", &own);
        world.handle(Input::Unsubscribe { key: key_of("eve") });
        frames += 2;
        assert!(frames <= limits::LIVE_FRAMES.burst + 2);
    }
    assert!(frames >= limits::LIVE_FRAMES.burst);
    assert!(!world.subscribe("eve", &own));
    let key = live_key(&mut world, &ana);
    assert!(world.subscribe("ana", &key), "nobody else notices");
    world.pass(limits::LIVE_FRAMES.burst * limits::LIVE_FRAMES.micros / 1_000);
    assert!(world.subscribe("eve", &own), "it passes");
}

#[test]
fn p05_who_is_no_device_any_more_is_cut_off_the_live_socket() {
    let mut world = World::new();
    Device::register(&mut world, "ana");
    let forget = Request::Logout(request::Logout { forget: true });
    assert_eq!(refusal(&mut world, "ana", &forget), None);
    world.subscribe("ana", b"anything");
    assert_eq!(world.cut, 1);
    world.handle(Input::Unsubscribe { key: key_of("ana") });
    assert_eq!(world.cut, 2);
}

#[test]
fn p05_a_doubtful_grant_changes_the_key() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let old = live_key(&mut world, &ana);
    let unsure = Input::Subscribe {
        key: key_of("ana"),
        topic: old.to_vec(),
        sure: false,
    };
    world.handle(unsure);
    assert!(world.granted.is_empty(), "nobody knows whom it would reach");
    let new = live_key(&mut world, &ana);
    assert_ne!(old, new);
    assert!(!world.subscribe("ana", &old));
    assert!(world.subscribe("ana", &new));
    let doubt = NoticeKey::from_bytes(&new).unwrap();
    world.handle(Input::Doubt(doubt));
    assert_ne!(live_key(&mut world, &ana), new);
    world.handle(Input::Doubt(doubt));
}

#[test]
fn p05_nothing_that_waited_for_the_disk_goes_out_under_a_doubtful_key() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let doubtful = live_key(&mut world, &ana);
    assert!(world.subscribe("ana", &doubtful));
    world.held = true;
    let send = Request::Send(bob.request(1, &["ana"]));
    world.ask("bob", &send, Some(b"for ana alone"));
    let key = NoticeKey::from_bytes(&doubtful).unwrap();
    world.handle(Input::Doubt(key));
    world.held = false;
    world.notices.clear();
    world.settle();
    let under_it = world.notices.iter().filter(|(under, _)| *under == key);
    assert_eq!(under_it.count(), 0);
}

#[test]
fn p09_a_message_that_is_no_subscription_costs_the_connection_and_much_else() {
    let mut world = World::new();
    let _eve = Device::register(&mut world, "eve");
    for nth in 0..16 {
        assert!(may_listen(&world, "eve"));
        assert_eq!(world.cut, nth);
        world.handle(Input::Stray { key: key_of("eve") });
    }
    assert!(!may_listen(&world, "eve"));
    for _ in 0..10_000 {
        world.handle(Input::Stray { key: key_of("eve") });
    }
    assert_eq!(world.renewed, 0, "the others keep their connections");
}
