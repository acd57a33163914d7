//! A user's own devices, codes and account.

use super::world::{key_of, leaked};
use super::*;

fn second(world: &mut World, ana: &Device, key: &'static str) -> Device {
    let invite = |session| {
        Request::Invite(request::Invite {
            session,
            user: None,
            device: true,
        })
    };
    let code: reply::Invited = ana.ask(world, invite).unwrap();
    Device::register_with(world, key, "ana", Some(code.code))
}

fn devices(world: &mut World, by: &Device, after: u64) -> reply::Devices {
    let list = |session| Request::Devices(request::Devices { session, after });
    by.ask(world, list).unwrap()
}

fn rm(world: &mut World, by: &Device, device: u64) -> Option<Code> {
    let rm = |session| Request::DeviceRm(request::DeviceRm { session, device });
    by.ask::<reply::Done>(world, rm).err()
}

fn rename(world: &mut World, by: &Device, device: u64, name: &str) -> Option<Code> {
    let name = name.to_owned();
    let rename = |session| {
        Request::DeviceRename(request::DeviceRename {
            session,
            device,
            name,
        })
    };
    by.ask::<reply::Done>(world, rename).err()
}

#[test]
fn ones_own_devices_are_listed_with_what_waits_for_each() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    Device::register(&mut world, "bob");
    let phone = second(&mut world, &ana, "phone");
    ana.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["ana", "news"], "x");
    let log = phone.log(&mut world, "ana");
    phone.ack(&mut world, log.log, log.head);
    let close = |session| Request::Close(request::Close { session });
    drop::<reply::Done>(phone.ask(&mut world, close).unwrap());
    let told = devices(&mut world, &ana, 0);
    assert_eq!(told.more_after, None);
    let row = |row: &reply::DeviceRow| (row.device, row.this, row.online, row.waiting);
    let rows: Vec<_> = told.devices.iter().map(row).collect();
    let (first, other) = (ana.login.device, phone.login.device);
    assert_eq!(rows, [(first, true, true, 2), (other, false, false, 1)]);
    assert_eq!(told.devices[0].name, "test");
    assert_eq!(told.devices[0].since, "1970-01-01T00:16:40.000Z");
    assert_eq!(
        told.devices[1].last_seen,
        Some(told.devices[0].since.clone())
    );
    assert_eq!(devices(&mut world, &ana, first).devices.len(), 1);
    let mut world = world.crash();
    let ana = Device::login(&mut world, "ana", &[]);
    let told = devices(&mut world, &ana, 0);
    assert_eq!(
        told.devices[1].last_seen,
        Some(told.devices[0].since.clone())
    );
}

#[test]
fn p08_a_page_of_devices_looks_at_so_many_cursors() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let keys: Vec<&'static str> = (0..3).map(|n| leaked(format!("d{n}"))).collect();
    for key in &keys {
        second(&mut world, &ana, key);
    }
    let topics = limits::DEVICE_CURSORS_MAX / 2;
    ana.join(&mut world, "lab/*", From::Now).unwrap();
    for n in 0..topics {
        let topic = format!("lab/{n}");
        world.admin(AdminWhat::TopicCreate, Some(&topic)).unwrap();
    }
    let first = devices(&mut world, &ana, 0);
    assert_eq!(first.devices.len(), 1);
    let next = devices(&mut world, &ana, first.more_after.unwrap());
    assert_eq!(next.devices.len(), 1);
    assert!(next.devices[0].device > first.devices[0].device);
}

#[test]
fn a_device_gets_another_name_from_its_own_user_only() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let phone = second(&mut world, &ana, "phone");
    let number = phone.login.device;
    assert_eq!(rename(&mut world, &ana, number, "old phone"), None);
    let commits = world.commits;
    assert_eq!(rename(&mut world, &ana, number, "old phone"), None);
    assert_eq!(world.commits, commits, "it is called so already");
    assert_eq!(
        rename(&mut world, &bob, number, "mine"),
        Some(Code::NoSuchDevice)
    );
    assert_eq!(
        rename(&mut world, &ana, 99, "none"),
        Some(Code::NoSuchDevice)
    );
    let long = "d".repeat(limits::DEVICE_NAME_BYTES_MAX + 1);
    assert_eq!(
        rename(&mut world, &ana, number, &long),
        Some(Code::TooLarge)
    );
    let mut world = world.crash();
    let ana = Device::login(&mut world, "ana", &[]);
    assert_eq!(devices(&mut world, &ana, 0).devices[1].name, "old phone");
}

/// From the moment it is decided: no request, no grant, no notice, nothing at the next start either.
#[test]
fn p05_a_removed_device_gets_nothing_more() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let phone = second(&mut world, &ana, "phone");
    let number = phone.login.device;
    ana.join(&mut world, "news", From::Now).unwrap();
    let keys: Vec<NoticeKey> = ["ana", "news"]
        .iter()
        .map(|log| NoticeKey::from_hex(&phone.log(&mut world, log).key).unwrap())
        .collect();
    for key in &keys {
        assert!(world.subscribe("phone", &key.to_bytes()));
    }
    assert_eq!(rm(&mut world, &bob, number), Some(Code::NoSuchDevice));
    assert!(world.core.may_connect_live(&key_of("phone")));
    assert_eq!(rm(&mut world, &ana, ana.login.device), Some(Code::Denied));
    assert_eq!(rm(&mut world, &ana, 99), Some(Code::NoSuchDevice));
    world.notices.clear();
    assert_eq!(rm(&mut world, &ana, number), None);
    assert_eq!(rm(&mut world, &ana, number), None, "it is gone");
    ana.send(&mut world, &["ana", "news"], "not for the phone");
    assert!(world.notices.iter().all(|(key, _)| !keys.contains(key)));
    assert!(!world.core.may_connect_live(&key_of("phone")));
    let logs = |session| Request::Logs(request::Logs { session, after: 0 });
    assert_eq!(
        phone.ask::<reply::Logs>(&mut world, logs).err(),
        Some(Code::NotRegistered)
    );
    let register = Request::Register(request::Register {
        user: Some("ana".parse().unwrap()),
        device: String::new(),
        code: None,
    });
    let again = world.call::<reply::Registered>("phone", &register, None);
    assert_eq!(again.err(), Some(Code::NeedsCode));
    let snapshot = world.store.load().unwrap();
    assert!(
        snapshot
            .cursors
            .iter()
            .all(|(device, ..)| *device != number)
    );
    assert!(snapshot.sights.iter().all(|sight| sight.device != number));
    let mut world = world.crash();
    let login = Request::Login(request::Login::default());
    let again = world.call::<reply::Login>("phone", &login, None);
    assert_eq!(again.err(), Some(Code::NotRegistered));
}

#[test]
fn codes_are_listed_and_taken_back_by_who_made_them() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let invite = |world: &mut World, user: Option<&str>, device: bool| {
        let user = user.map(|user| user.parse().unwrap());
        let invite = |session| {
            Request::Invite(request::Invite {
                session,
                user,
                device,
            })
        };
        ana.ask::<reply::Invited>(world, invite).unwrap()
    };
    let codes = |world: &mut World, by: &Device| {
        let codes = |session| Request::Codes(request::Codes { session });
        by.ask::<reply::Codes>(world, codes).unwrap().codes
    };
    let rm = |world: &mut World, by: &Device, id: &str| {
        let id = id.to_owned();
        let rm = |session| Request::CodeRm(request::CodeRm { session, id });
        by.ask::<reply::Done>(world, rm).unwrap();
    };
    let any = invite(&mut world, None, false);
    world.now.wall_ms += 1_000;
    invite(&mut world, Some("kim"), false);
    world.now.wall_ms += 1_000;
    invite(&mut world, None, true);
    let listed = codes(&mut world, &ana);
    let row = |row: &reply::CodeRow| (row.user.clone(), row.device);
    let rows: Vec<_> = listed.iter().map(row).collect();
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(
        rows,
        [(None, false), (name("kim"), false), (name("ana"), true)]
    );
    assert_eq!(listed[0].expires_at, any.expires_at);
    assert!(codes(&mut world, &bob).is_empty());
    rm(&mut world, &bob, &listed[0].id);
    assert_eq!(codes(&mut world, &ana).len(), 3, "not bob's to take back");
    rm(&mut world, &ana, &listed[0].id);
    rm(&mut world, &ana, &listed[0].id);
    let mut world = world.crash();
    let register = Request::Register(request::Register {
        user: Some("zoe".parse().unwrap()),
        device: String::new(),
        code: Some(any.code),
    });
    let refused = world.call::<reply::Registered>("zoe", &register, None);
    assert_eq!(refused.err(), Some(Code::BadCode));
    let ana = Device::login(&mut world, "ana", &[]);
    assert_eq!(codes(&mut world, &ana).len(), 2);
    world.now.wall_ms += 24 * 3_600_000;
    assert!(codes(&mut world, &ana).is_empty(), "a day is over");
}

#[test]
fn p05_an_account_is_removed_by_its_user_alone_and_its_name_stays_taken() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let mut bob = Device::register(&mut world, "bob");
    let phone = second(&mut world, &ana, "phone");
    ana.join(&mut world, "news", From::Now).unwrap();
    bob.send(&mut world, &["ana"], "for the old ana");
    let rm = |world: &mut World, by: &Device, user: &str| {
        let user = user.parse().unwrap();
        let rm = |session| Request::AccountRm(request::AccountRm { session, user });
        by.ask::<reply::Done>(world, rm).err()
    };
    assert_eq!(rm(&mut world, &bob, "ana"), Some(Code::Denied));
    assert_eq!(rm(&mut world, &ana, "ana"), None);
    assert_eq!(rm(&mut world, &ana, "ana"), Some(Code::NotRegistered));
    let logs = |session| Request::Logs(request::Logs { session, after: 0 });
    assert_eq!(
        phone.ask::<reply::Logs>(&mut world, logs).err(),
        Some(Code::NotRegistered)
    );
    assert_eq!(
        code_of(&bob.send(&mut world, &["ana"], "x")[0]),
        Code::NoSuchAddress
    );
    let mut world = world.crash();
    let register = Request::Register(request::Register {
        user: Some("ana".parse().unwrap()),
        device: String::new(),
        code: None,
    });
    let refused = world.call::<reply::Registered>("new", &register, None);
    assert_eq!(refused.err(), Some(Code::NameTaken));
    let snapshot = world.store.load().unwrap();
    assert!(snapshot.subscriptions.is_empty());
    assert_eq!(snapshot.devices.len(), 1, "bob's");
}

fn rotate(world: &mut World, by: &Device, key: &str) -> Option<Code> {
    let key = hex::encode(key_of(key));
    let rotate = |session| Request::Rotate(request::Rotate { session, key });
    by.ask::<reply::Done>(world, rotate).err()
}

fn login_code(world: &mut World, key: &str, user: Option<&str>) -> Option<Code> {
    let login = Request::Login(request::Login {
        user: user.map(|user| user.parse().unwrap()),
        ..request::Login::default()
    });
    world.call::<reply::Login>(key, &login, None).err()
}

#[test]
fn a_device_goes_on_with_another_key_once_that_is_proven() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let phone = second(&mut world, &ana, "phone");
    ana.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["ana", "news"], "waits");
    let (number, stream) = (ana.login.device, ana.stream);
    assert_eq!(
        login_code(&mut world, "new", None),
        Some(Code::NotRegistered)
    );
    assert_eq!(rotate(&mut world, &ana, "new"), None);
    let commits = world.commits;
    assert_eq!(rotate(&mut world, &ana, "new"), None);
    assert_eq!(world.commits, commits, "it is named already");
    // Whatever crashes here, the old key is still the device's.
    let mut world = world.crash();
    let ana = Device::login(&mut world, "ana", &[]);
    let key = NoticeKey::from_hex(&ana.log(&mut world, "ana").key).unwrap();
    assert!(world.subscribe("ana", &key.to_bytes()));
    assert!(!world.core.may_connect_live(&key_of("new")));
    assert_eq!(
        login_code(&mut world, "new", Some("bob")),
        Some(Code::NotRegistered),
        "its holder means somebody else"
    );
    let login = Request::Login(request::Login {
        user: Some("ana".parse().unwrap()),
        stream: Some(stream),
        want_stream: true,
        resume: Some(ana.session.clone()),
        ..request::Login::default()
    });
    let told: reply::Login = world.call("new", &login, None).unwrap();
    assert_eq!((told.device, told.stream), (number, Some(stream)));
    assert!(told.stream_present && !told.session_present);
    let waiting: Vec<u64> = told.logs.iter().map(|log| log.waiting).collect();
    assert_eq!(waiting, [1, 1], "cursors stay");
    let logs = |session| Request::Logs(request::Logs { session, after: 0 });
    let mut world = world.crash();
    let gone = ana.ask::<reply::Logs>(&mut world, logs);
    assert_eq!(gone.err(), Some(Code::NotRegistered));
    assert_eq!(
        login_code(&mut world, "ana", None),
        Some(Code::NotRegistered)
    );
    assert!(!world.core.may_connect_live(&key_of("ana")));
    assert_eq!(login_code(&mut world, "new", None), None);
    assert_eq!(login_code(&mut world, "phone", None), None, "untouched");
    assert!(world.store.load().unwrap().next_keys.is_empty());
    assert_ne!(phone.login.device, number);
}

#[test]
fn p05_the_old_key_hears_nothing_once_the_new_one_is_in_its_place() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let mut bob = Device::register(&mut world, "bob");
    let key = NoticeKey::from_hex(&ana.log(&mut world, "ana").key).unwrap();
    assert!(world.subscribe("ana", &key.to_bytes()));
    assert_eq!(rotate(&mut world, &ana, "new"), None);
    bob.send(&mut world, &["ana"], "still hers");
    assert!(world.notices.iter().any(|(under, _)| *under == key));
    assert_eq!(login_code(&mut world, "new", None), None);
    world.notices.clear();
    bob.send(&mut world, &["ana"], "not for the old key");
    assert!(world.notices.iter().all(|(under, _)| *under != key));
}

#[test]
fn p05_no_key_of_another_becomes_ones_own() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let phone = second(&mut world, &ana, "phone");
    for key in ["bob", "phone", ADMIN] {
        assert_eq!(
            rotate(&mut world, &ana, key),
            Some(Code::WrongUser),
            "{key}"
        );
    }
    assert_eq!(rotate(&mut world, &ana, "ana"), None, "it is hers already");
    assert_eq!(rotate(&mut world, &ana, "new"), None);
    assert_eq!(rotate(&mut world, &bob, "new"), Some(Code::WrongUser));
    let bad = |session| {
        let key = "no key".to_owned();
        Request::Rotate(request::Rotate { session, key })
    };
    assert_eq!(
        ana.ask::<reply::Done>(&mut world, bad).err(),
        Some(Code::BadRequest)
    );
    // Its holder never said that it was to be ana's.
    let kim = Device::register_with(&mut world, "new", "kim", None);
    assert_eq!(kim.login.user, "kim");
    assert_eq!(login_code(&mut world, "ana", None), None);
    assert_eq!(rotate(&mut world, &phone, "one"), None);
    assert_eq!(rotate(&mut world, &phone, "other"), None);
    assert_eq!(
        login_code(&mut world, "one", None),
        Some(Code::NotRegistered)
    );
    assert_eq!(rm(&mut world, &ana, phone.login.device), None);
    assert_eq!(
        login_code(&mut world, "other", None),
        Some(Code::NotRegistered)
    );
    let snapshot = world.store.load().unwrap();
    assert!(snapshot.next_keys.is_empty());
}
