//! The verbs about leases, and what an administrator sees of ports.

use super::world::{Device, World};
use crate::protocol::codes::Code;
use crate::protocol::reply::{self, LeaseInfo};
use crate::protocol::request::{self, AdminWhat, Request};

fn small_pool() -> World {
    World::with(|settings| {
        settings.chat_ports = vec![10, 11, 12];
        settings.ports_per_user = 2;
    })
}

fn lease(world: &mut World, device: &Device) -> Result<LeaseInfo, Code> {
    let asked: reply::Lease =
        device.ask(world, |session| Request::Lease(request::Lease { session }))?;
    Ok(asked.lease)
}

type Word = fn(request::LeaseWord) -> Request;

fn word(
    world: &mut World,
    device: &Device,
    verb: Word,
    (port, epoch): (u16, u64),
) -> Result<LeaseInfo, Code> {
    let session = device.session.clone();
    let named = request::LeaseWord {
        session,
        port,
        epoch,
    };
    let told: reply::Lease = world.call(device.key, &verb(named), None)?;
    Ok(told.lease)
}

fn release(world: &mut World, device: &Device, (port, epoch): (u16, u64)) -> Result<(), Code> {
    device
        .ask::<reply::Done>(world, |session| {
            Request::LeaseRelease(request::LeaseWord {
                session,
                port,
                epoch,
            })
        })
        .map(drop)
}

#[test]
fn p06_a_session_has_one_port_whatever_it_asks() {
    let mut world = small_pool();
    let ana = Device::register(&mut world, "ana");
    let first = lease(&mut world, &ana).unwrap();
    assert_eq!((first.port, first.epoch, first.ttl_ms), (10, 1, 90_000));
    assert_eq!(lease(&mut world, &ana), Ok(first));
    let held = (first.port, first.epoch);
    assert_eq!(
        word(&mut world, &ana, Request::LeaseConfirm, held),
        Ok(first)
    );
    assert_eq!(
        word(&mut world, &ana, Request::LeaseConfirm, (10, 2)),
        Err(Code::LeaseLost)
    );
    assert_eq!(lease(&mut world, &ana), Ok(first));
}

#[test]
fn p06_a_busy_port_rests_and_another_is_lent_once() {
    let mut world = small_pool();
    let ana = Device::register(&mut world, "ana");
    assert_eq!(
        word(&mut world, &ana, Request::LeaseBusy, (10, 1)),
        Err(Code::LeaseLost),
        "there is none"
    );
    let first = lease(&mut world, &ana).unwrap();
    let held = (first.port, first.epoch);
    let second = word(&mut world, &ana, Request::LeaseBusy, held).unwrap();
    assert_eq!((second.port, second.epoch), (11, 2));
    assert_eq!(
        word(&mut world, &ana, Request::LeaseBusy, held),
        Ok(second),
        "said again, the replacement is there"
    );
}

#[test]
fn p06_a_port_is_given_back_by_its_holder_as_often_as_he_likes() {
    let mut world = small_pool();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let first = lease(&mut world, &ana).unwrap();
    let held = (first.port, first.epoch);
    assert_eq!(release(&mut world, &bob, held), Err(Code::LeaseLost));
    assert_eq!(release(&mut world, &ana, (10, 7)), Err(Code::LeaseLost));
    assert_eq!(release(&mut world, &ana, (12, 1)), Err(Code::LeaseLost));
    assert_eq!(lease(&mut world, &ana), Ok(first));
    assert_eq!(release(&mut world, &ana, held), Ok(()));
    assert_eq!(
        release(&mut world, &ana, held),
        Ok(()),
        "after a lost reply"
    );
    assert_eq!(lease(&mut world, &ana).unwrap().port, 11);
}

#[test]
fn p06_without_a_port_a_login_says_why_and_when() {
    let mut world = World::with(|settings| {
        settings.chat_ports = vec![10, 11];
        settings.ports_per_user = 1;
        settings.port_rest_ms = 7_000;
    });
    let with_port = |world: &mut World, key: &str| {
        let login = Request::Login(request::Login {
            want_port: true,
            ..request::Login::default()
        });
        world.call::<reply::Login>(key, &login, None).unwrap()
    };
    for name in ["ana", "bob", "eve"] {
        Device::register(&mut world, name);
    }
    let ana = with_port(&mut world, "ana");
    assert_eq!(ana.lease.unwrap().port, 10);
    let why = |login: &reply::Login| {
        let error = login.no_lease.as_ref().unwrap();
        (error.code, error.retry_after_ms)
    };
    let again = with_port(&mut world, "ana");
    assert_eq!(
        why(&again),
        (Code::NoPort, Some(90_000)),
        "the user's limit"
    );
    let text = &again.no_lease.as_ref().unwrap().text;
    assert_eq!(text, "you hold 1 chat ports, which is the limit");
    with_port(&mut world, "bob");
    assert_eq!(
        why(&with_port(&mut world, "eve")),
        (Code::NoPort, Some(90_000))
    );
    let logout = Request::Logout(request::Logout { forget: false });
    drop::<reply::Done>(world.call("ana", &logout, None).unwrap());
    world.now.mono_ms += 2_000;
    assert_eq!(
        why(&with_port(&mut world, "eve")),
        (Code::NoPort, Some(5_000))
    );
    world.pass(5_000);
    assert_eq!(with_port(&mut world, "eve").lease.unwrap().port, 10);
    let kept = Device::login(&mut world, "eve", &[]);
    assert!(kept.login.lease.is_none() && kept.login.no_lease.is_none());
}

#[test]
fn p06_a_resumed_session_keeps_its_port() {
    let mut world = small_pool();
    let ana = Device::register(&mut world, "ana");
    let held = lease(&mut world, &ana).unwrap();
    let resume = |world: &mut World, key: &str| {
        let login = Request::Login(request::Login {
            resume: Some(ana.session.clone()),
            stream: Some(ana.stream),
            ..request::Login::default()
        });
        world.call::<reply::Login>(key, &login, None).unwrap()
    };
    let resumed = resume(&mut world, "ana");
    assert!(resumed.session_present && resumed.stream_present);
    assert_eq!(
        (resumed.session, resumed.lease),
        (ana.session.clone(), Some(held))
    );
    Device::register(&mut world, "bob");
    let other = resume(&mut world, "bob");
    assert!(!other.session_present && !other.stream_present, "not bob's");
    assert_ne!(other.session, ana.session);
    assert_eq!((other.lease, other.stream), (None, None));
    let mut world = world.crash();
    let resumed = resume(&mut world, "ana");
    assert!(resumed.session_present, "P13");
    assert_eq!(resumed.lease, Some(held));
}

#[test]
fn an_administrator_sees_every_port_as_it_stands() {
    let mut world = small_pool();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let first = lease(&mut world, &ana).unwrap();
    lease(&mut world, &bob).unwrap();
    word(
        &mut world,
        &ana,
        Request::LeaseConfirm,
        (first.port, first.epoch),
    )
    .unwrap();
    let seen = |world: &mut World, after: Option<&str>| {
        let asked = request::Admin {
            what: AdminWhat::LeaseLs,
            after: after.map(str::to_owned),
            address: None,
            body: false,
            particulars: request::Particulars::default(),
        };
        let key = super::world::ADMIN;
        let rows: reply::Rows = world.call(key, &Request::Admin(asked), None).unwrap();
        rows.rows
    };
    let rows = seen(&mut world, None);
    let states: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["state"].as_str())
        .collect();
    assert_eq!(states, ["held", "offered", "free"]);
    assert_eq!(rows[0]["user"], "ana");
    assert_eq!(rows[0]["epoch"], 1);
    assert_eq!(rows[0]["expires_at"], "1970-01-01T00:18:10.000Z");
    assert!(rows[2]["user"].is_null() && rows[2]["epoch"].is_null());
    assert_eq!(seen(&mut world, Some("10")).len(), 2);
    release(&mut world, &ana, (10, 1)).unwrap();
    let rows = seen(&mut world, None);
    assert_eq!(rows[0]["state"], "resting");
    assert!(rows[0]["user"].is_null() && rows[0]["expires_at"].is_null());
    let sessions = world.admin(AdminWhat::SessionLs, None).unwrap().rows;
    let mut seen_ports: Vec<(String, Option<u64>)> = sessions
        .iter()
        .map(|row| (row["user"].to_string(), row["port"].as_u64()))
        .collect();
    seen_ports.sort();
    assert_eq!(
        seen_ports,
        [
            ("\"ana\"".to_owned(), None),
            ("\"bob\"".to_owned(), Some(11))
        ]
    );
    let counted = world.admin(AdminWhat::Stats, None).unwrap().rows.remove(0);
    assert_eq!(counted["leases_held"], 1);
    world.pass(60_000);
    let rows = seen(&mut world, None);
    assert_eq!(rows[0]["state"], "free", "it had its rest");
    assert_eq!(rows.len(), 3);
}

#[test]
fn p06_a_pool_that_was_changed_lends_only_what_is_in_it() {
    let mut world = small_pool();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let gone = lease(&mut world, &ana).unwrap();
    let kept = lease(&mut world, &bob).unwrap();
    release(&mut world, &ana, (gone.port, gone.epoch)).unwrap();
    world.settings.chat_ports = vec![12];
    let mut world = world.crash();
    let resumed = Device::login(&mut world, "ana", &[]);
    assert_eq!(lease(&mut world, &resumed).unwrap().port, 12);
    let rows = world.admin(AdminWhat::LeaseLs, None).unwrap().rows;
    let ports: Vec<u64> = rows.iter().filter_map(|row| row["port"].as_u64()).collect();
    assert_eq!(ports, [11, 12], "a held one stays with its holder");
    release(&mut world, &bob, (kept.port, kept.epoch)).unwrap();
    world.pass(60_000);
    let rows = world.admin(AdminWhat::LeaseLs, None).unwrap().rows;
    let ports: Vec<u64> = rows.iter().filter_map(|row| row["port"].as_u64()).collect();
    assert_eq!(ports, [12], "and leaves the pool after its rest");
}
