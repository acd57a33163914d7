//! What onlookers see: counted, surveyed in portions, proved by a round trip.

use super::super::figures::{Queues, Survey};
use super::super::io::Input;
use super::world::{Device, World, id_of};
use crate::protocol::codes::Code;

/// Looks at all queues, so many at a time.
fn survey(world: &World, portion: usize) -> Queues {
    let mut survey = Survey::default();
    let mut portions = 0;
    while !world.core.survey(&mut survey, portion) {
        portions += 1;
        assert!(portions < 1_000, "a survey has an end");
    }
    world.core.surveyed(survey)
}

#[test]
fn p01_a_round_trip_is_through_when_something_new_is_on_disk() {
    let mut world = World::new();
    world.held = true;
    world.handle(Input::RoundTrip);
    assert_eq!(world.under_way.len(), 1, "something is written");
    assert_eq!(
        world.round_trips, 0,
        "and nothing said before it is on disk"
    );
    world.settle();
    assert_eq!(world.round_trips, 1);
}

#[test]
fn p08_queues_are_surveyed_in_portions_and_found_the_same() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    for name in ["bob", "eve", "kim"] {
        Device::register(&mut world, name);
    }
    for (to, mails) in [("bob", 3), ("eve", 1), ("ana", 2)] {
        for _ in 0..mails {
            ana.send(&mut world, &[to], "12345");
        }
    }
    let topics = ["news"];
    for name in ["bob", "eve"] {
        let device = Device::login(&mut world, name, &topics);
        assert!(!device.session.is_empty());
    }
    ana.send(&mut world, &["news"], "1");
    for portion in [1, 2, 1_000] {
        let queues = survey(&world, portion);
        assert_eq!((queues.users, queues.topics), (4, 1), "{portion}");
        assert_eq!(
            queues.queues, 6,
            "{portion}: four of users, two of the topic"
        );
        assert_eq!(queues.waiting_queues, 5, "{portion}");
        assert_eq!((queues.mails, queues.bytes), (8, 32), "{portion}");
        let deepest = queues.deepest.iter();
        let deepest: Vec<_> = deepest.map(|q| (q.address.as_str(), q.mails)).collect();
        assert_eq!(deepest[..2], [("bob", 3), ("ana", 2)], "{portion}");
        assert_eq!(queues.oldest.len(), 5, "{portion}: each is looked up once");
    }
}

#[test]
fn p07_what_is_refused_and_told_again_is_counted() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.send(&mut world, &["nobody"], "x");
    ana.send(&mut world, &["nobody"], "x");
    let id = id_of(&ana.send(&mut world, &["ana"], "x")[0]);
    let log = ana.log(&mut world, "ana");
    ana.fetch(&mut world, &log);
    assert_eq!(world.core.counts().redelivered, 0);
    ana.fetch(&mut world, &log);
    ana.ack(&mut world, log.log, id);
    let counts = world.core.counts();
    assert_eq!(counts.refusals.get(&Code::NoSuchAddress), Some(&2));
    assert_eq!((counts.accepted, counts.refused), (1, 2));
    assert_eq!((counts.redelivered, counts.acknowledged), (1, 1));
    world.pass(1_000);
    let state = world.core.state();
    assert_eq!(
        (state.mails_kept, state.bytes_kept),
        (0, 0),
        "trimmed when it was read"
    );
    assert_eq!((state.sessions, state.newest_sessions.len()), (1, 1));
    assert_eq!(state.newest_sessions[0].user, "ana");
}
