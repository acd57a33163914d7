//! Pages, bodies, history and acknowledgements: what a reader gets, and where it ends.

use super::world::{Device, World, id_of};
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::reply::{self, Page};
use crate::protocol::request::{self, From, Request};
use crate::protocol::{LogNumber, MailId};

fn history(
    world: &mut World,
    device: &Device,
    address: &str,
    mails: u32,
    before: Option<MailId>,
) -> Result<Page, Code> {
    device.ask(world, |session| {
        Request::History(request::History {
            session,
            address: address.to_owned(),
            mails,
            before,
        })
    })
}

fn ids(page: &Page) -> Vec<MailId> {
    page.mails.iter().map(|mail| mail.id).collect()
}

#[test]
fn history_is_the_newest_page_before_an_id() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    let sent: Vec<MailId> = (0..5)
        .map(|n| id_of(&ana.send(&mut world, &["news"], &n.to_string())[0]))
        .collect();
    let newest = history(&mut world, &ana, "news", 2, None).unwrap();
    assert_eq!(ids(&newest), sent[3..]);
    assert!(newest.more);
    assert_eq!((newest.after, newest.through), (sent[3] - 1, sent[4]));
    assert_eq!((newest.n, newest.trimmed), (5, None));
    let older = history(&mut world, &ana, "news", 9, Some(sent[3])).unwrap();
    assert_eq!(ids(&older), sent[..3]);
    assert!(!older.more);
    let none = history(&mut world, &ana, "news", 9, Some(sent[0])).unwrap();
    assert_eq!((ids(&none), none.after), (vec![], 0));
    let one = history(&mut world, &ana, "news", 0, None).unwrap();
    assert_eq!(ids(&one), sent[4..], "at least one is asked for");
}

#[test]
fn p05_history_of_another_user_is_nobodys() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let mut bob = Device::register(&mut world, "bob");
    bob.send(&mut world, &["bob"], "secret");
    for (address, code) in [
        ("bob", Code::NoSuchAddress),
        ("nobody", Code::NoSuchAddress),
        ("@", Code::BadName),
    ] {
        assert_eq!(
            history(&mut world, &ana, address, 1, None).err(),
            Some(code)
        );
    }
    assert_eq!(
        ids(&history(&mut world, &bob, "bob", 1, None).unwrap()).len(),
        1
    );
}

/// Asks for a piece of a body. Returns its size and the piece.
fn body(
    world: &mut World,
    device: &Device,
    log: LogNumber,
    (id, offset): (MailId, u64),
) -> Result<(reply::Body, Vec<u8>), Code> {
    let body = Request::Body(request::Body {
        session: device.session.clone(),
        log,
        id,
        offset,
    });
    world.ask(device.key, &body, None);
    let frames = world.told();
    match reply::decode(&frames[1]) {
        Ok(told) => Ok((told, frames[2].clone())),
        Err(reply::DecodeError::Refused(error)) => Err(error.code),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_large_body_comes_piece_by_piece() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let first = id_of(&ana.send(&mut world, &["ana"], "small")[0]);
    let id = id_of(&ana.send(&mut world, &["ana"], &"x".repeat(60_000))[0]);
    let log = ana.log(&mut world, "ana").log;
    let (told, piece) = body(&mut world, &ana, log, (id, 0)).unwrap();
    assert_eq!((told.size, told.offset, piece.len()), (60_000, 0, 60_000));
    let (told, piece) = body(&mut world, &ana, log, (id, 59_990)).unwrap();
    assert_eq!((told.offset, piece.len()), (59_990, 10));
    assert_eq!(body(&mut world, &ana, log, (first, 0)).unwrap().1, b"small");
    let no = Err(Code::NoSuchAddress);
    assert_eq!(body(&mut world, &bob, log, (id, 0)), no, "not his");
    assert_eq!(body(&mut world, &ana, log, (id + 1, 0)), no, "not yet");
    assert_eq!(body(&mut world, &ana, log, (0, 0)), no);
    assert_eq!(body(&mut world, &ana, 99, (id, 0)), no);
}

#[test]
fn a_body_that_expired_is_not_there() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.number += 1;
    let mut send = ana.request(ana.number, &["ana"]);
    send.ttl_s = Some(1);
    let told: reply::Sent = world
        .call("ana", &Request::Send(send), Some(b"brief"))
        .unwrap();
    let id = id_of(&told.outcomes[0]);
    let log = ana.log(&mut world, "ana").log;
    assert_eq!(body(&mut world, &ana, log, (id, 0)).unwrap().1, b"brief");
    world.now.wall_ms += 999;
    assert!(body(&mut world, &ana, log, (id, 0)).is_ok());
    world.now.wall_ms += 1;
    assert_eq!(
        body(&mut world, &ana, log, (id, 0)),
        Err(Code::NoSuchAddress)
    );
}

#[test]
fn a_page_is_as_long_as_asked_and_as_its_frame_holds() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    for _ in 0..150 {
        ana.number += 1;
        let mut send = ana.request(ana.number, &["ana"]);
        send.subject = "s".repeat(900);
        drop::<reply::Sent>(world.call("ana", &Request::Send(send), Some(b"")).unwrap());
    }
    let log = ana.log(&mut world, "ana");
    let mut page_after = |after: MailId, mails: u32| {
        let fetch = Request::Fetch(request::Fetch {
            session: ana.session.clone(),
            log: log.log,
            after,
            n: None,
            mails,
            bytes: 1 << 30,
        });
        world.ask("ana", &fetch, None);
        let frames = world.told();
        assert!(frames[1].len() <= limits::FRAME_BYTES_MAX);
        reply::decode::<Page>(&frames[1]).unwrap()
    };
    assert_eq!(page_after(0, 3).mails.len(), 3);
    assert_eq!(page_after(0, 0).mails.len(), 1, "at least one");
    let (mut after, mut read) = (0, Vec::new());
    loop {
        let page = page_after(after, 500);
        assert_eq!(page.trimmed, None);
        assert_eq!(page.through, *ids(&page).last().unwrap());
        read.extend(ids(&page));
        after = page.through;
        if !page.more {
            break;
        }
    }
    assert_eq!(read, (1..=150).collect::<Vec<_>>());
    assert!(
        page_after(0, 500).mails.len() > 50,
        "the frame is well filled"
    );
}

#[test]
fn an_empty_body_takes_no_frame() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    for body in ["", "x", ""] {
        ana.send(&mut world, &["ana"], body);
    }
    let log = ana.log(&mut world, "ana");
    let (page, bodies) = ana.fetch(&mut world, &log);
    let frames: Vec<u32> = page.mails.iter().map(|mail| mail.frames).collect();
    assert_eq!((frames, bodies), (vec![0, 1, 0], vec![b"x".to_vec()]));
}

#[test]
fn acknowledgements_have_a_limit_and_pass_over_what_is_not_read() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    let id = id_of(&ana.send(&mut world, &["ana", "news"], "x")[0]);
    let logs: Vec<LogNumber> = ana.logs(&mut world).iter().map(|log| log.log).collect();
    let ack = |logs: Vec<(LogNumber, MailId)>| {
        move |session| Request::Ack(request::Ack { session, logs })
    };
    let too_many = vec![(logs[0], id); 257];
    let refused = ana.ask::<reply::Done>(&mut world, ack(too_many.clone()));
    assert_eq!(refused.err(), Some(Code::TooLarge));
    assert_eq!(ana.log(&mut world, "ana").waiting, 1);
    let commits = world.commits;
    ana.ask::<reply::Done>(&mut world, ack(vec![(99, 5), (logs[0], 0)]))
        .unwrap();
    assert_eq!(world.commits, commits, "nothing changed");
    let mut most = too_many;
    most.truncate(255);
    most.push((logs[1], MailId::MAX));
    ana.ask::<reply::Done>(&mut world, ack(most)).unwrap();
    let waiting: Vec<u64> = ana.logs(&mut world).iter().map(|log| log.waiting).collect();
    assert_eq!(waiting, [0, 0]);
}

/// An acknowledgement in the middle is looked up; what was acknowledged meanwhile is not undone by it.
#[test]
fn p03_an_ack_that_waited_for_the_disk_does_not_lead_back() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    for _ in 0..4 {
        ana.send(&mut world, &["ana"], "x");
    }
    let log = ana.log(&mut world, "ana").log;
    let ack = |id| {
        Request::Ack(request::Ack {
            session: ana.session.clone(),
            logs: vec![(log, id)],
        })
    };
    world.slow_disk = true;
    world.ask("ana", &ack(2), None);
    world.slow_disk = false;
    let late = std::mem::take(&mut world.reads);
    world.ask("ana", &ack(4), None);
    world.reads = late;
    world.answer_reads();
    world.settle();
    assert_eq!(ana.log(&mut world, "ana").cursor, 4);
    let stats = world
        .admin(request::AdminWhat::Stats, None)
        .unwrap()
        .rows
        .remove(0);
    assert_eq!(stats["acknowledged"], 4);
}

#[test]
fn heartbeats_say_what_is_new_and_keep_the_session() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    let beat = |world: &mut World, ana: &Device, known| ana.beat(world, known);
    let first = id_of(&ana.send(&mut world, &["news"], "x")[0]);
    let second = id_of(&ana.send(&mut world, &["ana"], "y")[0]);
    let told = beat(&mut world, &ana, 0).unwrap();
    let heads: Vec<MailId> = told.behind.iter().map(|log| log.head).collect();
    assert_eq!(heads, [first, second], "lowest head first");
    assert_eq!((told.through, told.more), (second, false));
    let told = beat(&mut world, &ana, first).unwrap();
    assert_eq!(told.behind.len(), 1, "what is known is not told again");
    assert!(beat(&mut world, &ana, second).unwrap().behind.is_empty());
    for _ in 0..3 {
        world.pass(limits::SESSION_TTL_MS);
        assert!(beat(&mut world, &ana, second).is_ok());
    }
    world.pass(limits::SESSION_TTL_MS + 1);
    assert_eq!(beat(&mut world, &ana, 0).err(), Some(Code::NoSession));
}
