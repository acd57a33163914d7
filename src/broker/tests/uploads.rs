//! Bodies that come in parts before their send.

use super::world::{Device, World};
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::reply;
use crate::protocol::request::{self, Request};

fn part(
    world: &mut World,
    device: &Device,
    (number, index): (u64, u32),
    bytes: &[u8],
) -> Result<u64, Code> {
    let part = Request::Part(request::Part {
        session: device.session.clone(),
        stream: device.stream,
        number,
        index,
    });
    let told: reply::Part = world.call(device.key, &part, Some(bytes))?;
    assert_eq!(told.credit, 8);
    Ok(told.received)
}

fn send_parts(world: &mut World, device: &Device, number: u64, parts: u32) -> Result<(), Code> {
    let mut send = device.request(number, &[device.key]);
    send.parts = Some(parts);
    world
        .call::<reply::Sent>(device.key, &Request::Send(send), None)
        .map(drop)
}

#[test]
fn parts_in_order_are_a_body() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    assert_eq!(part(&mut world, &ana, (1, 0), b"one "), Ok(4));
    assert_eq!(part(&mut world, &ana, (1, 1), b"two"), Ok(7));
    assert_eq!(
        part(&mut world, &ana, (1, 1), b"two"),
        Err(Code::PartsMissing),
        "that one was here"
    );
    assert_eq!(
        part(&mut world, &ana, (2, 2), b"x"),
        Err(Code::PartsMissing)
    );
    assert_eq!(send_parts(&mut world, &ana, 1, 3), Err(Code::PartsMissing));
    assert_eq!(send_parts(&mut world, &ana, 2, 2), Err(Code::PartsMissing));
    assert_eq!(send_parts(&mut world, &ana, 1, 2), Ok(()));
    assert_eq!(
        send_parts(&mut world, &ana, 1, 2),
        Ok(()),
        "a retry needs no parts: its outcome is known"
    );
    let log = ana.log(&mut world, "ana");
    let (page, bodies) = ana.fetch(&mut world, &log);
    assert_eq!((page.mails.len(), page.mails[0].size), (1, 7));
    assert_eq!(bodies, [b"one two"]);
}

#[test]
fn a_part_that_is_not_the_next_starts_nothing() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    assert_eq!(
        part(&mut world, &ana, (1, 1), b"x"),
        Err(Code::PartsMissing)
    );
    assert_eq!(part(&mut world, &ana, (1, 0), b"x"), Ok(1));
    assert_eq!(
        part(&mut world, &ana, (1, 2), b"x"),
        Err(Code::PartsMissing)
    );
    assert_eq!(part(&mut world, &ana, (1, 0), b"yz"), Ok(2), "begun anew");
}

#[test]
fn parts_have_limits() {
    let mut world = World::with(|settings| settings.body_bytes_max = 100_000);
    let ana = Device::register(&mut world, "ana");
    let most = vec![0; limits::PART_BYTES_MAX];
    let more = vec![0; limits::PART_BYTES_MAX + 1];
    let two_more = vec![0; limits::PART_BYTES_MAX + 2];
    assert_eq!(part(&mut world, &ana, (1, 0), &more), Err(Code::TooLarge));
    assert_eq!(
        part(&mut world, &ana, (1, 0), &two_more),
        Err(Code::TooLarge)
    );
    assert_eq!(part(&mut world, &ana, (1, 0), &most), Ok(most.len() as u64));
    let rest = 100_000 - most.len();
    assert_eq!(part(&mut world, &ana, (1, 1), &most[..rest]), Ok(100_000));
    assert_eq!(part(&mut world, &ana, (1, 2), b"x"), Err(Code::TooLarge));
    assert_eq!(
        part(&mut world, &ana, (1, 2), b""),
        Err(Code::PartsMissing),
        "what was too large is dropped"
    );
}

#[test]
fn a_part_belongs_to_a_stream_of_its_device() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let stolen = Request::Part(request::Part {
        session: bob.session.clone(),
        stream: ana.stream,
        number: 1,
        index: 0,
    });
    let refused = world.call::<reply::Part>("bob", &stolen, Some(b"x"));
    assert_eq!(refused.err(), Some(Code::StreamUnknown));
}

#[test]
fn an_upload_nobody_goes_on_with_is_given_up() {
    let mut world = World::with(|settings| settings.lease_ttl_ms = 1_000_000);
    let ana = Device::register(&mut world, "ana");
    part(&mut world, &ana, (1, 0), b"x").unwrap();
    world.pass(limits::STAGING_IDLE_MS);
    assert_eq!(part(&mut world, &ana, (1, 1), b"y"), Ok(2), "still here");
    world.pass(limits::STAGING_IDLE_MS + 1);
    assert_eq!(
        part(&mut world, &ana, (1, 2), b"z"),
        Err(Code::PartsMissing)
    );
}

/// 64 MiB of parts, and not one byte more; every way to end an upload gives its room back.
#[test]
fn p08_memory_for_uploads_has_an_end() {
    let mut world = World::with(|settings| settings.body_bytes_max = u64::MAX);
    let piece = vec![7; limits::PART_BYTES_MAX];
    let pieces = u32::try_from(limits::STAGING_BYTES_MAX / piece.len() as u64).unwrap();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let carla = Device::register(&mut world, "carla");
    part(&mut world, &bob, (1, 0), &piece).unwrap();
    for index in 0..pieces - 1 {
        part(&mut world, &ana, (1, index), &piece).unwrap();
    }
    assert_eq!(part(&mut world, &carla, (1, 0), b"x"), Err(Code::Busy));
    assert_eq!(part(&mut world, &bob, (1, 1), b"x"), Err(Code::Busy));
    assert_eq!(
        part(&mut world, &bob, (2, 0), &piece),
        Ok(piece.len() as u64)
    );
    send_parts(&mut world, &bob, 2, 1).unwrap();
    assert_eq!(
        part(&mut world, &carla, (1, 0), &piece),
        Ok(piece.len() as u64)
    );
    assert_eq!(part(&mut world, &bob, (3, 0), b"x"), Err(Code::Busy));
    let close = |session| Request::Close(request::Close { session });
    carla.ask::<reply::Done>(&mut world, close).unwrap();
    assert_eq!(
        part(&mut world, &bob, (3, 0), &piece),
        Ok(piece.len() as u64)
    );
}
