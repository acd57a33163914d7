//! Settings that change while the server runs.

use super::world::{Device, World, code_of, id_of};
use crate::broker::io::{Input, Registration, Settings};
use crate::protocol::codes::Code;
use crate::protocol::reply;
use crate::protocol::request::{From, Register, Request};

fn change(world: &mut World, change: impl FnOnce(&mut Settings)) {
    let mut settings = world.core.settings().clone();
    change(&mut settings);
    world.handle(Input::Settings(Box::new(settings)));
    world.settle();
}

fn register(world: &mut World, name: &'static str) -> Result<reply::Registered, Code> {
    let register = Register {
        user: Some(name.parse().unwrap()),
        device: "test".into(),
        code: None,
    };
    world.call(name, &Request::Register(register), None)
}

#[test]
fn limits_hold_from_the_moment_they_change() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    id_of(&ana.send(&mut world, &["bob"], "one")[0]);
    change(&mut world, |settings| settings.log_mails_max = 1);
    let refused = code_of(&ana.send(&mut world, &["bob"], "two")[0]);
    assert_eq!(refused, Code::MailboxFull);
    assert_eq!(bob.log(&mut world, "bob").waiting, 1, "nothing went");
    change(&mut world, |settings| settings.log_mails_max = 2);
    id_of(&ana.send(&mut world, &["bob"], "two")[0]);

    change(&mut world, |settings| {
        settings.registration = Registration::Closed;
    });
    assert_eq!(register(&mut world, "eve"), Err(Code::RegistrationClosed));
    change(&mut world, |settings| {
        settings.registration = Registration::Open;
        (settings.registrations, settings.registrations_loopback) = (1, 1);
    });
    assert!(register(&mut world, "eve").is_ok());
    assert_eq!(register(&mut world, "kim"), Err(Code::Busy));
}

#[test]
fn p07_a_shorter_history_goes_at_once() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    drop(ana.join(&mut world, "news", From::Now).unwrap());
    let last = (0..5)
        .map(|_| id_of(&ana.send(&mut world, &["news"], "x")[0]))
        .last();
    let log = ana.log(&mut world, "news");
    ana.ack(&mut world, log.log, last.unwrap());
    world.settle();
    let kept = |world: &mut World| {
        let (page, _) = ana.fetch_after(world, log.log, 0, None);
        page.mails.len()
    };
    assert_eq!(kept(&mut world), 5);
    change(&mut world, |settings| settings.history_mails = 2);
    world.pass(1_000);
    world.settle();
    assert_eq!(kept(&mut world), 2);
}

#[test]
fn p06_ports_and_terms_are_those_of_the_start() {
    let mut world = World::new();
    let before = world.core.settings().clone();
    change(&mut world, |settings| {
        settings.admin_keys.clear();
        settings.chat_ports = vec![1];
        settings.lease_ttl_ms += 1;
        settings.port_rest_ms += 1;
        settings.invitation_ttl_ms += 1;
        settings.live_port += 1;
    });
    let after = world.core.settings().clone();
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
}
