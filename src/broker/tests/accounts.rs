//! Hello, register, invite, log in, log out.

use super::world::{ADMIN, Device, World, leaked};
use crate::broker::io::{Input, Registration};
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::notice::NoticeKey;
use crate::protocol::request::{self, AdminWhat, From, Request};
use crate::protocol::{MAGIC, reply};

fn hello(
    world: &mut World,
    key: &str,
    magic: &str,
    versions: (u32, u32),
) -> Result<reply::Hello, Code> {
    let hello = Request::Hello(request::Hello {
        magic: magic.into(),
        versions,
        features: Vec::new(),
        agent: String::new(),
    });
    world.call(key, &hello, None)
}

#[test]
fn a_hello_agrees_on_a_version_or_says_which_there_are() {
    let mut world = World::with(|settings| settings.live_port = 77);
    let told = hello(&mut world, "ana", MAGIC, (1, 9)).unwrap();
    assert_eq!((told.version, told.live_port), (1, 77));
    assert_eq!(told.registration, "open");
    assert_eq!(
        (told.user, told.device, told.session_present),
        (None, None, false)
    );
    assert_eq!(told.now, "1970-01-01T00:16:40.000Z");
    assert_eq!(told.limits.body_bytes, limits::BODY_BYTES_DEFAULT);
    assert!(
        told.features.iter().any(|feature| feature == "chat"),
        "{:?}",
        told.features
    );
    assert_eq!(
        hello(&mut world, "ana", "smtp", (1, 1)).err(),
        Some(Code::BadRequest)
    );
    for versions in [(0, 0), (2, 9)] {
        let refused = hello(&mut world, "ana", MAGIC, versions).err();
        assert_eq!(refused, Some(Code::VersionMismatch));
    }
    assert_eq!(hello(&mut world, "ana", MAGIC, (0, 1)).unwrap().version, 1);
    let ana = Device::register(&mut world, "ana");
    let known = hello(&mut world, "ana", MAGIC, (1, 1)).unwrap();
    assert_eq!(known.user.as_deref(), Some("ana"));
    assert_eq!(known.device, Some(ana.login.device));
    assert!(known.session_present);
    let close = |session| Request::Close(request::Close { session });
    ana.ask::<reply::Done>(&mut world, close).unwrap();
    assert!(
        !hello(&mut world, "ana", MAGIC, (1, 1))
            .unwrap()
            .session_present
    );
}

#[test]
fn registration_says_its_word() {
    for (registration, word) in [
        (Registration::Open, "open"),
        (Registration::Invite, "invite"),
        (Registration::Closed, "closed"),
    ] {
        let mut world = World::with(|settings| settings.registration = registration);
        let told = hello(&mut world, "ana", MAGIC, (1, 1)).unwrap();
        assert_eq!(told.registration, word);
    }
}

fn register(
    world: &mut World,
    key: &str,
    user: Option<&str>,
    code: Option<&str>,
) -> Result<reply::Registered, Code> {
    let register = Request::Register(request::Register {
        user: user.map(|user| user.parse().unwrap()),
        device: "test".into(),
        code: code.map(str::to_owned),
    });
    world.call(key, &register, None)
}

#[test]
fn a_key_is_registered_once_and_hears_so_again() {
    let mut world = World::new();
    let first = register(&mut world, "ana", Some("ana"), None).unwrap();
    let commits = world.commits;
    for user in [Some("ana"), None] {
        let again = register(&mut world, "ana", user, None).unwrap();
        assert_eq!(
            (again.user, again.device),
            (first.user.clone(), first.device)
        );
    }
    assert_eq!(world.commits, commits, "nothing changed");
    let other = register(&mut world, "ana", Some("bob"), None).err();
    assert_eq!(other, Some(Code::WrongUser));
    assert_eq!(
        register(&mut world, "x", None, None).err(),
        Some(Code::BadRequest)
    );
    assert_eq!(
        register(&mut world, "x", Some("ana"), None).err(),
        Some(Code::NeedsCode)
    );
    assert_eq!(
        register(&mut world, "x", Some("x"), Some("no")).err(),
        Some(Code::BadCode)
    );
    assert_eq!(
        register(&mut world, ADMIN, Some("x"), None).err(),
        Some(Code::Denied)
    );
    let ana = Device::login(&mut world, "ana", &[]);
    ana.join(&mut world, "news", From::Now).unwrap();
    assert_eq!(
        register(&mut world, "x", Some("news"), None).err(),
        Some(Code::NameTaken)
    );
    let long = |bytes: usize| {
        Request::Register(request::Register {
            user: Some("carla".parse().unwrap()),
            device: "d".repeat(bytes),
            code: None,
        })
    };
    let refused = world.call::<reply::Registered>("x", &long(65), None);
    assert_eq!(refused.err(), Some(Code::TooLarge));
    assert!(
        world
            .call::<reply::Registered>("x", &long(64), None)
            .is_ok()
    );
}

fn invite(
    world: &mut World,
    (key, session): (&str, &str),
    user: Option<&str>,
    device: bool,
) -> Result<reply::Invited, Code> {
    let invite = Request::Invite(request::Invite {
        session: session.to_owned(),
        user: user.map(|user| user.parse().unwrap()),
        device,
    });
    world.call(key, &invite, None)
}

#[test]
fn where_an_invitation_is_needed_a_code_lets_one_in() {
    let mut world = World::with(|settings| settings.registration = Registration::Invite);
    let admin = (ADMIN, "");
    assert_eq!(
        register(&mut world, "ana", Some("ana"), None).err(),
        Some(Code::NeedsCode)
    );
    let any = invite(&mut world, admin, None, false).unwrap();
    register(&mut world, "ana", Some("ana"), Some(&any.code)).unwrap();
    assert_eq!(
        register(&mut world, "x", Some("x"), Some(&any.code)).err(),
        Some(Code::BadCode),
        "single use"
    );
    let named = invite(&mut world, admin, Some("bob"), false).unwrap();
    let other = register(&mut world, "bob", Some("rob"), Some(&named.code)).err();
    assert_eq!(other, Some(Code::BadCode), "it is for bob");
    let bob = register(&mut world, "bob", None, Some(&named.code)).unwrap();
    assert_eq!(bob.user, "bob");
    let unnamed = invite(&mut world, admin, None, false).unwrap();
    assert_eq!(
        register(&mut world, "x", None, Some(&unnamed.code)).err(),
        Some(Code::BadRequest)
    );
    let late = invite(&mut world, admin, None, false).unwrap();
    world.now.wall_ms += 24 * 3_600_000;
    assert_eq!(
        register(&mut world, "x", Some("x"), Some(&late.code)).err(),
        Some(Code::BadCode),
        "a day is over"
    );
}

#[test]
fn a_code_is_good_until_its_last_millisecond() {
    let mut world = World::with(|settings| settings.registration = Registration::Invite);
    let code = invite(&mut world, (ADMIN, ""), None, false).unwrap();
    assert_eq!(code.expires_at, "1970-01-02T00:16:40.000Z");
    world.now.wall_ms += 24 * 3_600_000 - 1;
    register(&mut world, "x", Some("x"), Some(&code.code)).unwrap();
}

#[test]
fn a_closed_server_takes_no_new_users_and_further_devices_all_the_same() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    world.settings.registration = Registration::Closed;
    let mut world = world.crash();
    assert_eq!(
        register(&mut world, "bob", Some("bob"), None).err(),
        Some(Code::RegistrationClosed)
    );
    let ana = Device::login(&mut world, ana.key, &[]);
    let by_ana = ("ana", ana.session.as_str());
    assert_eq!(
        invite(&mut world, by_ana, Some("bob"), false).err(),
        Some(Code::RegistrationClosed)
    );
    assert!(invite(&mut world, (ADMIN, ""), Some("bob"), false).is_ok());
    let code = invite(&mut world, by_ana, None, true).unwrap();
    let second = register(&mut world, "second", None, Some(&code.code)).unwrap();
    assert_eq!(second.user, "ana");
}

#[test]
fn p05_a_code_for_a_device_is_its_own_users() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    Device::register(&mut world, "bob");
    let by_ana = ("ana", ana.session.as_str());
    let refused = |world: &mut World, by: (&str, &str), user: Option<&str>| {
        invite(world, by, user, true).err()
    };
    assert_eq!(refused(&mut world, by_ana, Some("bob")), Some(Code::Denied));
    assert_eq!(
        refused(&mut world, by_ana, Some("zoe")),
        Some(Code::NoSuchAddress)
    );
    assert_eq!(
        refused(&mut world, (ADMIN, ""), None),
        Some(Code::BadRequest)
    );
    assert_eq!(
        refused(&mut world, ("bob", by_ana.1), None),
        Some(Code::NoSession)
    );
    assert_eq!(refused(&mut world, by_ana, Some("ana")), None);
    let code = invite(&mut world, (ADMIN, ""), Some("bob"), true).unwrap();
    let other = register(&mut world, "new", Some("ana"), Some(&code.code)).err();
    assert_eq!(other, Some(Code::BadCode));
    let new = register(&mut world, "new", Some("bob"), Some(&code.code)).unwrap();
    assert_eq!(new.user, "bob");
}

#[test]
fn p05_a_new_device_gets_the_users_mail_and_topics_from_now_on() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["ana", "news"], "before");
    let code = invite(&mut world, ("ana", &ana.session), None, true).unwrap();
    let second = Device::register_with(&mut world, "second", "ana", Some(code.code));
    ana.send(&mut world, &["news"], "after");
    assert_eq!(second.log(&mut world, "ana").waiting, 1);
    assert_eq!(second.log(&mut world, "news").waiting, 1);
    assert_eq!(ana.log(&mut world, "news").waiting, 2);
    let logout = Request::Logout(request::Logout { forget: true });
    drop::<reply::Done>(world.call("second", &logout, None).unwrap());
    assert_eq!(
        ana.log(&mut world, "ana").waiting,
        1,
        "the first device's are its own"
    );
    assert_eq!(
        register(&mut world, "second", Some("ana"), None).err(),
        Some(Code::NeedsCode)
    );
}

#[test]
fn codes_and_devices_have_limits() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let by_ana = ("ana", ana.session.as_str());
    let mut last = None;
    for _ in 0..limits::CODES_PER_USER_MAX {
        last = Some(invite(&mut world, by_ana, None, true).unwrap());
    }
    let one_more = invite(&mut world, by_ana, None, true).err();
    assert_eq!(one_more, Some(Code::LimitReached));
    register(
        &mut world,
        "second",
        None,
        last.map(|code| code.code).as_deref(),
    )
    .unwrap();
    assert!(
        invite(&mut world, by_ana, None, true).is_ok(),
        "a used one makes room"
    );
    for n in 2..limits::DEVICES_PER_USER_MAX {
        let code = invite(&mut world, (ADMIN, ""), Some("ana"), true).unwrap();
        register(&mut world, leaked(format!("d{n}")), None, Some(&code.code)).unwrap();
    }
    let code = invite(&mut world, (ADMIN, ""), Some("ana"), true).unwrap();
    let refused = register(&mut world, "too-many", None, Some(&code.code)).err();
    assert_eq!(refused, Some(Code::LimitReached));
}

#[test]
fn codes_that_ended_are_forgotten_and_room_is_made() {
    let mut world = World::with(|settings| settings.lease_ttl_ms = u64::MAX);
    let ana = Device::register(&mut world, "ana");
    let by_ana = ("ana", ana.session.as_str());
    for _ in 0..limits::CODES_PER_USER_MAX {
        invite(&mut world, by_ana, None, true).unwrap();
    }
    world.now.wall_ms += 24 * 3_600_000;
    world.pass(10 * 60_000);
    assert!(invite(&mut world, by_ana, None, true).is_ok());
}

#[test]
fn a_login_is_for_the_keys_own_user() {
    let mut world = World::new();
    let login = |user: Option<&str>, resume: Option<String>| {
        Request::Login(request::Login {
            user: user.map(|user| user.parse().unwrap()),
            resume,
            ..request::Login::default()
        })
    };
    let stranger = world.call::<reply::Login>("ana", &login(None, None), None);
    assert_eq!(stranger.err(), Some(Code::NotRegistered));
    let ana = Device::register(&mut world, "ana");
    let other = world.call::<reply::Login>("ana", &login(Some("bob"), None), None);
    assert_eq!(other.err(), Some(Code::WrongUser));
    let told: reply::Login = world.call("ana", &login(Some("ana"), None), None).unwrap();
    assert_ne!(told.session, ana.session, "several sessions coexist");
    assert_eq!(told.stream, None, "none was asked for");
    assert_eq!((told.session_ttl_ms, told.heartbeat_ms), (90_000, 5_000));
    assert!(!ana.logs(&mut world).is_empty(), "the first lives on");
}

#[test]
fn a_short_lease_makes_heartbeats_come_in_time() {
    let mut world = World::with(|settings| settings.lease_ttl_ms = 3_000);
    let ana = Device::register(&mut world, "ana");
    assert_eq!(ana.login.heartbeat_ms, 1_000);
}

#[test]
fn a_login_goes_on_with_its_stream_or_opens_another() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.send(&mut world, &["ana"], "x");
    let mut settled = ana.request(2, &["ana"]);
    settled.settled_below = 2;
    drop::<reply::Sent>(
        world
            .call("ana", &Request::Send(settled), Some(b"y"))
            .unwrap(),
    );
    let login = |world: &mut World, stream: Option<u64>| {
        let login = Request::Login(request::Login {
            stream,
            want_stream: true,
            ..request::Login::default()
        });
        world.call::<reply::Login>("ana", &login, None).unwrap()
    };
    let again = login(&mut world, Some(ana.stream));
    assert_eq!(
        (again.stream, again.stream_present),
        (Some(ana.stream), true)
    );
    assert_eq!(again.settled_below, 2);
    let other = login(&mut world, Some(99));
    assert_eq!(
        (other.stream, other.stream_present),
        (Some(ana.stream + 1), false)
    );
    assert_eq!(other.settled_below, 1);
}

#[test]
fn a_device_has_so_many_sessions_and_the_most_silent_one_makes_room() {
    let mut world = World::new();
    let first = Device::register(&mut world, "ana");
    world.now.mono_ms += 1;
    let second = Device::login(&mut world, "ana", &[]);
    world.now.mono_ms += 1;
    for _ in 2..limits::SESSIONS_PER_DEVICE_MAX {
        Device::login(&mut world, "ana", &[]);
    }
    world.now.mono_ms += 1;
    assert!(!first.logs(&mut world).is_empty(), "heard of just now");
    Device::login(&mut world, "ana", &[]);
    assert!(!first.logs(&mut world).is_empty());
    let logs = |session| Request::Logs(request::Logs { session, after: 0 });
    let gone = second.ask::<reply::Logs>(&mut world, logs);
    assert_eq!(gone.err(), Some(Code::NoSession));
    let stats = world.admin(AdminWhat::Stats, None).unwrap().rows.remove(0);
    assert_eq!(stats["sessions"], limits::SESSIONS_PER_DEVICE_MAX);
}

#[test]
fn a_session_ends_when_nothing_was_heard_of_it_for_its_term() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    world.pass(limits::SESSION_TTL_MS);
    assert!(!ana.logs(&mut world).is_empty(), "a term exactly");
    world.pass(limits::SESSION_TTL_MS + 1);
    let logs = |session| Request::Logs(request::Logs { session, after: 0 });
    let gone = ana.ask::<reply::Logs>(&mut world, logs);
    assert_eq!(gone.err(), Some(Code::NoSession));
}

#[test]
fn who_logged_out_is_out_and_who_is_forgotten_stays_so() {
    let mut world = World::new();
    let logout = |world: &mut World, forget: bool| {
        let logout = Request::Logout(request::Logout { forget });
        world.call::<reply::Done>("ana", &logout, None).err()
    };
    assert_eq!(logout(&mut world, false), Some(Code::NotRegistered));
    assert_eq!(logout(&mut world, true), None, "it is true already");
    let ana = Device::register(&mut world, "ana");
    assert!(world.core.may_connect_live(&super::world::key_of("ana")));
    assert!(!world.core.may_connect_live(&super::world::key_of("bob")));
    assert_eq!(logout(&mut world, false), None);
    let logs = |session| Request::Logs(request::Logs { session, after: 0 });
    assert_eq!(
        ana.ask::<reply::Logs>(&mut world, logs).err(),
        Some(Code::NoSession)
    );
    assert_eq!(logout(&mut world, true), None);
    assert_eq!(
        logout(&mut world, true),
        None,
        "said again after a lost reply"
    );
    assert!(!world.core.may_connect_live(&super::world::key_of("ana")));
    assert_eq!(
        ana.ask::<reply::Logs>(&mut world, logs).err(),
        Some(Code::NotRegistered)
    );
}

#[test]
fn a_server_that_goes_down_begins_nothing_new() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    world.held = true;
    ana.number += 1;
    let send = Request::Send(ana.request(ana.number, &["ana"]));
    world.ask("ana", &send, Some(b"begun"));
    assert!(!world.core.is_settled(), "a commit is under way");
    world.handle(Input::Shutdown);
    world.settle();
    assert_eq!(world.replies.len(), 1, "what was begun is answered");
    assert!(world.core.is_settled());
    world.held = false;
    let late = world.call::<reply::Sent>("ana", &send, Some(b"begun"));
    assert_eq!(late.err(), Some(Code::ShuttingDown));
}

#[test]
fn p09_frames_that_are_no_request_are_told_so() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let header = Request::Logs(request::Logs {
        session: ana.session.clone(),
        after: 0,
    })
    .encode();
    let mut code = |frames: Vec<Vec<u8>>| {
        world.raw("ana", frames);
        match reply::decode::<reply::Logs>(&world.told()[1]) {
            Ok(_) => None,
            Err(reply::DecodeError::Refused(error)) => Some(error.code),
            Err(error) => panic!("{error}"),
        }
    };
    let bad = Some(Code::BadRequest);
    assert_eq!(code(vec![vec![1; 32], header.clone()]), None);
    assert_eq!(code(vec![vec![1; 33], header.clone()]), bad);
    assert_eq!(code(vec![vec![1; 34], header.clone()]), bad);
    assert_eq!(code(vec![vec![], header.clone()]), bad);
    assert_eq!(code(vec![vec![1]]), bad);
    assert_eq!(code(vec![]), bad);
    assert_eq!(code(vec![vec![1], header.clone(), vec![]]), bad, "a body");
    assert_eq!(code(vec![vec![1], header, vec![], vec![]]), bad);
}

/// Who loses his rights hears nothing more, also on a connection that stands: all that his key was
/// granted is published under another key from then on, and those who stay are told.
#[test]
fn p05_a_forgotten_devices_grants_are_worth_nothing() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let mut bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "news", From::Now).unwrap();
    bob.join(&mut world, "news", From::Now).unwrap();
    let news = NoticeKey::from_hex(&ana.log(&mut world, "news").key).unwrap();
    assert!(world.subscribe("ana", &news.to_bytes()) && world.subscribe("bob", &news.to_bytes()));
    let logout = Request::Logout(request::Logout { forget: true });
    drop::<reply::Done>(world.call("ana", &logout, None).unwrap());
    world.notices.clear();
    bob.send(&mut world, &["news"], "not for the forgotten");
    assert!(world.notices.iter().all(|(key, _)| *key != news));
    let now = NoticeKey::from_hex(&bob.log(&mut world, "news").key).unwrap();
    assert_eq!(now.generation, news.generation + 1);
    assert!(world.subscribe("bob", &now.to_bytes()));
}
