//! The core under test: real rules, a store in memory, a clock that stands still until told.

mod accounts;
mod administration;
mod ahead;
mod blocks;
mod budgets;
mod chatting;
mod devices;
mod explain;
mod figures;
mod found;
mod invitations;
mod invitations_end;
mod invitations_random;
mod limits_of_sends;
mod listings;
mod looks;
mod ports;
mod presence;
mod reading;
mod restart;
mod rights;
mod settings;
mod shift;
mod threads;
mod topics;
mod uploads;
mod world;

use world::{ADMIN, Device, World, code_of, id_of};

use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::request::{self, AdminWhat, From, Request};
use crate::protocol::{MailId, reply};
use crate::store::{Change, Store};

// -- P1: an ack means on disk --

#[test]
fn p01_nothing_is_told_before_its_commit_and_nothing_overtakes_it() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    world.held = true;
    ana.number += 1;
    let send = Request::Send(ana.request(ana.number, &["ana"]));
    world.ask("ana", &send, Some(b"one"));
    assert!(
        world.replies.is_empty(),
        "a send is answered after its commit"
    );
    world.ask("ana", &send, Some(b"one"));
    assert!(
        world.replies.is_empty(),
        "its retry waits for the same commit"
    );
    let topics = request::Topics {
        session: ana.session.clone(),
        after: None,
    };
    world.ask("ana", &Request::Topics(topics), None);
    assert!(world.replies.is_empty(), "so does what only reads");
    assert_eq!(world.under_way.len(), 1);
    world.settle();
    assert_eq!(world.replies.len(), 3);
}

#[test]
fn p01_no_page_holds_what_is_not_synced() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.send(&mut world, &["ana"], "synced");
    let log = ana.log(&mut world, "ana");
    world.held = true;
    ana.number += 1;
    let send = Request::Send(ana.request(ana.number, &["ana"]));
    world.ask("ana", &send, Some(b"on its way"));
    // The engine may already show the mail to its readers before it is synced.
    let (_, changes) = world.under_way.front().cloned().unwrap();
    world.store.commit(&changes).unwrap();
    let fetch = request::Fetch {
        session: ana.session.clone(),
        log: log.log,
        after: 0,
        n: Some(0),
        mails: 10,
        bytes: 1000,
    };
    world.ask("ana", &Request::Fetch(fetch), None);
    world.settle();
    let page: reply::Page = reply::decode(&world.told()[1]).unwrap();
    assert_eq!(page.mails.len(), 1, "only what was synced when it was read");
    assert_eq!(page.through, page.mails[0].id);
}

#[test]
fn p01_a_crash_before_the_sync_leaves_nothing_behind() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    world.held = true;
    ana.number += 1;
    let send = Request::Send(ana.request(ana.number, &["ana"]));
    world.ask("ana", &send, Some(b"lost"));
    let mut world = world.crash();
    let again = Device::login(&mut world, "ana", &[]);
    let log = again.log(&mut world, "ana");
    assert_eq!(again.fetch(&mut world, &log).0.mails.len(), 0);
}

// -- P3: once, in order --

#[test]
fn p03_a_retry_gets_the_first_outcome_whatever_happened_since() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let mut bob = Device::register(&mut world, "bob");
    let first = ana.send(&mut world, &["bob", "nobody"], "once");
    assert_eq!(code_of(&first[1]), Code::NoSuchAddress);
    let log = bob.log(&mut world, "bob");
    bob.ack(&mut world, log.log, log.head);
    world.pass(2_000);
    world.pass(2_000);
    assert_eq!(
        bob.fetch_after(&mut world, log.log, 0, Some(1))
            .0
            .mails
            .len(),
        0,
        "trimmed"
    );
    let mut world = world.crash();
    let again = Device::login(&mut world, "ana", &[]);
    let mut retry = ana.request(1, &["bob", "nobody"]);
    retry.session.clone_from(&again.session);
    let sent: reply::Sent = world
        .call("ana", &Request::Send(retry), Some(b"once"))
        .unwrap();
    assert_eq!(id_of(&sent.outcomes[0]), id_of(&first[0]));
    assert!(matches!(
        sent.outcomes[0],
        reply::Outcome::Sent {
            duplicate: true,
            ..
        }
    ));
    assert_eq!(code_of(&sent.outcomes[1]), Code::NoSuchAddress);
    bob = Device::login(&mut world, "bob", &[]);
    assert_eq!(
        bob.log(&mut world, "bob").head,
        id_of(&first[0]),
        "nothing was stored again"
    );
}

#[test]
fn p03_cursors_only_move_forward_and_stand_on_mails() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let ids: Vec<MailId> = (0..5)
        .map(|n| id_of(&ana.send(&mut world, &["ana"], &n.to_string())[0]))
        .collect();
    let log = ana.log(&mut world, "ana");
    ana.ack(&mut world, log.log, ids[2]);
    let after = ana.log(&mut world, "ana");
    assert_eq!((after.cursor, after.n, after.waiting), (ids[2], 3, 2));
    ana.ack(&mut world, log.log, ids[0]);
    assert_eq!(ana.log(&mut world, "ana").cursor, ids[2]);
    ana.ack(&mut world, log.log, MailId::MAX);
    assert_eq!(ana.log(&mut world, "ana").waiting, 0);
    assert_eq!(
        ana.log(&mut world, "ana").cursor,
        ids[4],
        "never beyond the head"
    );
}

#[test]
fn p03_prev_and_n_chain_each_log_by_itself() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    for _ in 0..3 {
        ana.send(&mut world, &["bob", "ana"], "x");
    }
    for device in [&ana, &bob] {
        let log = device.log(&mut world, device.key);
        let (page, bodies) = device.fetch(&mut world, &log);
        let (mut prev, mut n) = (0, 0);
        for mail in &page.mails {
            assert_eq!((mail.prev, mail.n), (prev, n + 1));
            (prev, n) = (mail.id, mail.n);
        }
        assert_eq!((page.mails.len(), bodies.len()), (3, 3));
        assert_eq!((page.through, page.n), (prev, 3));
    }
}

// -- P5: only the addressee reads --

#[test]
fn p05_a_subscription_is_granted_only_as_it_should_be() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let _bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "news", From::Now).unwrap();
    let keys: Vec<NoticeKey> = ana
        .logs(&mut world)
        .iter()
        .map(|log| NoticeKey::from_hex(&log.key).unwrap())
        .collect();
    for key in &keys {
        assert!(world.subscribe("ana", &key.to_bytes()));
        assert!(!world.subscribe("bob", &key.to_bytes()), "not his");
        assert!(
            !world.subscribe("stranger", &key.to_bytes()),
            "nobody's key"
        );
        assert!(!world.subscribe("ana", &key.to_bytes()[..15]), "a prefix");
        assert!(
            !world.subscribe("ana", &[&key.to_bytes()[..], b"x"].concat()),
            "longer"
        );
        let next = NoticeKey {
            generation: key.generation + 1,
            ..*key
        };
        assert!(
            !world.subscribe("ana", &next.to_bytes()),
            "a generation that is not yet"
        );
    }
    assert!(!world.subscribe("ana", b""));
    assert_eq!(world.granted, keys);
}

#[test]
fn p05_leaving_raises_the_generation_and_tells_the_others() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.join(&mut world, "news", From::Now).unwrap();
    bob.join(&mut world, "news", From::Now).unwrap();
    let key = NoticeKey::from_hex(&bob.log(&mut world, "news").key).unwrap();
    let own = NoticeKey::from_hex(&ana.log(&mut world, "ana").key).unwrap();
    assert!(world.subscribe("bob", &key.to_bytes()) && world.subscribe("ana", &own.to_bytes()));
    let known = ana.beat(&mut world, 0).unwrap().through;
    bob.leave(&mut world, "news");
    let told = world.notices.iter().any(|(at, notice)| {
        *at == own && matches!(notice, Notice::Log { info } if info.address == "news")
    });
    assert!(told, "ana learns the new key on her own");
    assert!(
        !world.subscribe("ana", &key.to_bytes()),
        "the old key is dead"
    );
    let beat = ana.beat(&mut world, known).unwrap();
    assert_eq!(
        beat.behind.len(),
        1,
        "and by heartbeat, should the notice be lost"
    );
    let new = NoticeKey::from_hex(&beat.behind[0].key).unwrap();
    assert_eq!(new.generation, key.generation + 1);
    assert!(world.subscribe("ana", &new.to_bytes()));
}

#[test]
fn p05_nobody_reads_or_acknowledges_anothers_log() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.send(&mut world, &["ana"], "secret");
    let log = ana.log(&mut world, "ana");
    let fetch = request::Fetch {
        session: bob.session.clone(),
        log: log.log,
        after: 0,
        n: None,
        mails: 1,
        bytes: 1,
    };
    let refused = world.call::<reply::Page>("bob", &Request::Fetch(fetch.clone()), None);
    assert_eq!(refused.unwrap_err(), Code::NoSuchAddress);
    let stolen = request::Fetch {
        session: ana.session.clone(),
        ..fetch
    };
    let refused = world.call::<reply::Page>("bob", &Request::Fetch(stolen), None);
    assert_eq!(
        refused.unwrap_err(),
        Code::NoSession,
        "a session serves only its own key"
    );
    bob.ack(&mut world, log.log, log.head);
    assert_eq!(ana.log(&mut world, "ana").waiting, 1);
}

// -- P7: nothing is dropped in silence --

#[test]
fn p07_a_full_mailbox_refuses_until_something_is_read() {
    let mut world = World::with(|settings| settings.log_mails_max = 2);
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.send(&mut world, &["bob"], "1");
    ana.send(&mut world, &["bob"], "2");
    assert_eq!(
        code_of(&ana.send(&mut world, &["bob"], "3")[0]),
        Code::MailboxFull
    );
    let log = bob.log(&mut world, "bob");
    bob.ack(&mut world, log.log, log.head);
    let retry: reply::Sent = world
        .call("ana", &Request::Send(ana.request(3, &["bob"])), Some(b"3"))
        .expect("a send refused for the moment leaves its number free");
    id_of(&retry.outcomes[0]);
}

#[test]
fn p07_what_expires_or_is_trimmed_unread_is_counted_and_told() {
    let mut world = World::with(|settings| settings.log_mails_max = 3);
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    for n in 0..5 {
        ana.send(&mut world, &["news"], &n.to_string());
    }
    world.pass(2_000);
    let news = bob.log(&mut world, "news");
    assert_eq!(news.waiting, 5, "what is to be told waits as well");
    let (page, _) = bob.fetch(&mut world, &news);
    assert_eq!(page.mails.len(), 3);
    assert_eq!(
        page.trimmed.map(|t| (t.count, t.from_id)),
        Some((2, news.cursor))
    );
    ana.number += 1;
    let mut brief = ana.request(ana.number, &["bob"]);
    brief.ttl_s = Some(1);
    drop::<reply::Sent>(
        world
            .call("ana", &Request::Send(brief), Some(b"brief"))
            .unwrap(),
    );
    ana.send(&mut world, &["bob"], "lasting");
    world.now.wall_ms += 1_500;
    let log = bob.log(&mut world, "bob");
    for _ in 0..2 {
        let (page, _) = bob.fetch(&mut world, &log);
        assert_eq!(
            page.mails.len(),
            1,
            "before and after it was made a tombstone"
        );
        assert_eq!(page.trimmed.map(|t| t.count), Some(1));
        world.pass(2_000);
    }
}

#[test]
fn p07_a_reader_holds_topic_mail_and_history_waits_for_newcomers() {
    let mut world = World::with(|settings| settings.history_mails = 2);
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    for n in 0..5 {
        ana.send(&mut world, &["news"], &n.to_string());
    }
    world.pass(2_000);
    let log = bob.log(&mut world, "news");
    assert_eq!(
        bob.fetch(&mut world, &log).0.mails.len(),
        5,
        "bob has not read them"
    );
    bob.ack(&mut world, log.log, log.head);
    world.pass(2_000);
    let eve = Device::register(&mut world, "eve");
    let joined = eve.join(&mut world, "news", From::Start).unwrap();
    assert_eq!(joined.logs[0].waiting, 2, "history");
    let now = Device::register(&mut world, "kim");
    assert_eq!(
        now.join(&mut world, "news", From::Now).unwrap().logs[0].waiting,
        0
    );
}

#[test]
fn p07_a_device_that_was_heard_of_lately_holds_mail_however_long_ago_it_logged_in() {
    const MONTH_MS: u64 = 30 * 24 * 3_600_000;
    let mut world = World::with(|settings| {
        settings.lease_ttl_ms = 2 * MONTH_MS;
        settings.history_mails = 0;
    });
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    for _ in 0..4 {
        world.pass(MONTH_MS);
        let beat = request::Heartbeat {
            session: bob.session.clone(),
            known: 0,
        };
        drop::<reply::Heartbeat>(world.call("bob", &Request::Heartbeat(beat), None).unwrap());
    }
    let close = Request::Close(request::Close {
        session: bob.session.clone(),
    });
    drop::<reply::Done>(world.call("bob", &close, None).unwrap());
    ana = Device::login(&mut world, ana.key, &[]);
    ana.send(&mut world, &["news"], "for bob");
    world.pass(2_000_000);
    let bob = Device::login(&mut world, "bob", &[]);
    let log = bob.log(&mut world, "news");
    assert_eq!(bob.fetch(&mut world, &log).0.mails.len(), 1);
}

// -- P8: cost follows work --

#[test]
fn p08_a_send_is_one_append_however_many_subscribe() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    let cost = |world: &mut World, ana: &mut Device| {
        let before = (world.commits, world.changes);
        ana.send(world, &["news"], "x");
        (world.commits - before.0, world.changes - before.1)
    };
    let alone = cost(&mut world, &mut ana);
    for n in 0..200_usize {
        let name: &'static str = Box::leak(format!("user{n}").into_boxed_str());
        let user = Device::register(&mut world, name);
        user.join(&mut world, "news", From::Now).unwrap();
    }
    assert_eq!(cost(&mut world, &mut ana), alone);
}

// -- P9: bad input is answered --

proptest::proptest! {
    #[test]
    fn p09_any_frames_get_one_answer(frames in proptest::collection::vec(
        proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40), 0..5,
    )) {
        let mut world = World::new();
        Device::register(&mut world, "ana");
        let before = world.replies.len();
        world.raw("ana", frames.clone());
        world.raw("stranger", frames);
        proptest::prop_assert_eq!(world.replies.len(), before + 2);
    }
}

#[test]
fn p09_reads_that_wait_for_the_disk_are_bounded() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let log = ana.log(&mut world, "ana").log;
    let fetch = Request::Fetch(request::Fetch {
        session: ana.session.clone(),
        log,
        after: 0,
        n: None,
        mails: 1,
        bytes: 1,
    });
    world.slow_disk = true;
    for _ in 0..300 {
        world.ask("ana", &fetch, None);
    }
    assert_eq!(world.reads.len(), 256);
    assert_eq!(world.replies.len(), 44, "the others are told to wait");
    world.slow_disk = false;
    world.answer_reads();
    assert_eq!(world.replies.len(), 300);
    drop::<reply::Page>(world.call("ana", &fetch, None).unwrap());
}

#[test]
fn p05_a_code_for_a_device_ends_with_its_user() {
    let mut world = World::new();
    let bob = Device::register(&mut world, "bob");
    let invite = |session: String| {
        Request::Invite(request::Invite {
            session,
            user: None,
            device: true,
        })
    };
    let first: reply::Invited = world
        .call("bob", &invite(bob.session.clone()), None)
        .unwrap();
    let second: reply::Invited = world.call("bob", &invite(bob.session), None).unwrap();
    let register = |user: Option<&str>, invited: reply::Invited| {
        Request::Register(request::Register {
            user: user.map(|user| user.parse().unwrap()),
            device: String::new(),
            code: Some(invited.code),
        })
    };
    world.admin(AdminWhat::UserRm, Some("bob")).unwrap();
    let reserved = world.call::<reply::Registered>("back", &register(Some("bob"), first), None);
    assert_eq!(reserved.unwrap_err(), Code::BadCode);
    world.admin(AdminWhat::UserFree, Some("bob")).unwrap();
    let freed = world.call::<reply::Registered>("back", &register(None, second), None);
    assert_eq!(freed.unwrap_err(), Code::BadCode);
}

#[test]
fn a_removed_user_is_gone_and_the_name_starts_empty() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["bob"], "for the old bob");
    world.admin(AdminWhat::UserRm, Some("bob")).unwrap();
    assert_eq!(
        code_of(&ana.send(&mut world, &["bob"], "x")[0]),
        Code::NoSuchAddress
    );
    let register = |code| {
        Request::Register(request::Register {
            user: Some("bob".parse().unwrap()),
            device: String::new(),
            code,
        })
    };
    let taken = world.call::<reply::Registered>("new", &register(None), None);
    assert_eq!(taken.unwrap_err(), Code::NameTaken);
    world.admin(AdminWhat::UserFree, Some("bob")).unwrap();
    let mut world = world.crash();
    world.pass(2_000);
    let new = Device::register_with(&mut world, "new", "bob", None);
    let log = new.log(&mut world, "bob");
    assert_eq!((log.head, log.waiting), (0, 0));
    assert_eq!(new.logs(&mut world).len(), 1);
}

#[test]
fn a_queue_says_how_old_its_oldest_mail_is() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    Device::register(&mut world, "bob");
    let first = id_of(&ana.send(&mut world, &["ana"], "one")[0]);
    world.now.wall_ms += 5_000;
    let second = id_of(&ana.send(&mut world, &["ana"], "two")[0]);
    let oldest = |world: &mut World| {
        let rows = world.admin(AdminWhat::QueueLs, None).unwrap().rows;
        assert_eq!(rows.len(), 2);
        assert!(
            rows[1]["oldest"].is_null() && rows[1]["oldest_id"].is_null(),
            "bob has none"
        );
        (
            rows[0]["oldest"].as_str().map(str::to_owned),
            rows[0]["oldest_id"].as_u64(),
        )
    };
    assert_eq!(
        oldest(&mut world),
        (Some("1970-01-01T00:16:40.000Z".into()), Some(first))
    );
    let log = ana.log(&mut world, "ana");
    ana.ack(&mut world, log.log, first);
    assert_eq!(
        oldest(&mut world),
        (Some("1970-01-01T00:16:45.000Z".into()), Some(second))
    );
}

#[test]
fn a_join_that_is_refused_joins_nothing() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "lab/printer", From::Now).unwrap();
    let refused = ana.join(&mut world, "lab/*", From::Start);
    assert_eq!(refused.unwrap_err(), Code::BadRequest);
    let topics = request::Topics {
        session: ana.session.clone(),
        after: None,
    };
    let listed: reply::Topics = world.call("ana", &Request::Topics(topics), None).unwrap();
    assert!(listed.prefixes.is_empty(), "{:?}", listed.prefixes);
    for n in 1..limits::SUBSCRIPTIONS_MAX {
        ana.join(&mut world, &format!("t{n}"), From::Now).unwrap();
    }
    let refused = ana.join(&mut world, "one-too-many", From::Now);
    assert_eq!(refused.unwrap_err(), Code::LimitReached);
    let created = world.core.directory.live("one-too-many");
    assert!(created.is_none(), "nor does it make the topic");
}

#[test]
fn replies_about_many_names_fit_their_frames() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let long = "x".repeat(50);
    for n in 0..900 {
        ana.join(&mut world, &format!("{long}/{n}/*"), From::Now)
            .unwrap();
    }
    let (mut prefixes, mut after) = (0, None);
    loop {
        let topics = request::Topics {
            session: ana.session.clone(),
            after,
        };
        world.ask("ana", &Request::Topics(topics), None);
        let header = &world.told()[1];
        assert!(header.len() <= crate::limits::FRAME_BYTES_MAX);
        let page: reply::Topics = reply::decode(header).unwrap();
        prefixes += page.prefixes.len();
        after = page.more_after;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(prefixes, 900);
    let bob = Device::register(&mut world, "bob");
    let login = |count: usize| {
        let users = (0..count).map(|n| format!("{}{n}", "u".repeat(60)).parse().unwrap());
        Request::Login(request::Login {
            topics: users.collect(),
            ..request::Login::default()
        })
    };
    for n in 0..64 {
        let name: &'static str = Box::leak(format!("{}{n}", "u".repeat(60)).into_boxed_str());
        Device::register(&mut world, name);
    }
    for n in 0..250 {
        bob.join(&mut world, &format!("{long}{n}"), From::Now)
            .unwrap();
    }
    world.ask("bob", &login(64), None);
    let header = &world.told()[1];
    assert!(header.len() <= crate::limits::FRAME_BYTES_MAX);
    assert_eq!(
        reply::decode::<reply::Login>(header).unwrap().refused.len(),
        64
    );
    let refused = world.call::<reply::Login>("bob", &login(65), None);
    assert_eq!(refused.unwrap_err(), Code::TooLarge);
}

#[test]
fn one_user_does_not_fill_the_memory_for_uploads() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let part = |device: &Device, session: &str| {
        Request::Part(request::Part {
            session: session.to_owned(),
            stream: device.stream,
            number: 1,
            index: 0,
        })
    };
    for _ in 0..crate::limits::UPLOADS_PER_USER_MAX {
        let session = Device::login(&mut world, "ana", &[]).session;
        assert!(
            world
                .call::<reply::Part>("ana", &part(&ana, &session), Some(b"x"))
                .is_ok()
        );
    }
    let refused = world.call::<reply::Part>("ana", &part(&ana, &ana.session), Some(b"x"));
    assert_eq!(refused.unwrap_err(), Code::Busy);
    assert!(
        world
            .call::<reply::Part>("bob", &part(&bob, &bob.session), Some(b"x"))
            .is_ok()
    );
}

#[test]
fn a_peek_changes_nothing() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    ana.send(&mut world, &["ana"], "waiting");
    let before = (world.changes, ana.logs(&mut world));
    let rows = world.admin(AdminWhat::QueuePeek, Some("ana")).unwrap().rows;
    assert_eq!(rows.len(), 1);
    assert!(rows[0].get("body").is_none(), "an envelope");
    assert_eq!(before, (world.changes, ana.logs(&mut world)));
    let asked = request::Admin {
        what: AdminWhat::QueuePeek,
        after: None,
        address: Some("ana".into()),
        body: false,
        particulars: request::Particulars::default(),
    };
    let denied = world.call::<reply::Rows>("ana", &Request::Admin(asked), None);
    assert_eq!(denied.unwrap_err(), Code::Denied);
}

#[test]
fn a_topic_of_many_readers_is_shown_page_by_page() {
    let mut world = World::new();
    for n in 0..250_usize {
        let name: &'static str = Box::leak(format!("user{n}").into_boxed_str());
        let user = Device::register(&mut world, name);
        user.join(&mut world, "news", From::Now).unwrap();
    }
    let mut asked = request::Admin {
        what: AdminWhat::QueueShow,
        after: None,
        address: Some("news".into()),
        body: false,
        particulars: request::Particulars::default(),
    };
    let mut devices = Vec::new();
    for _ in 0..2 {
        let request = Request::Admin(asked.clone());
        let page: reply::Rows = world.call(ADMIN, &request, None).unwrap();
        devices.extend(page.rows.iter().filter_map(|row| row["device"].as_u64()));
        asked.after = page.more_after;
    }
    assert_eq!(devices, (1..=250).collect::<Vec<u64>>());
    assert_eq!(asked.after, None);
}

#[test]
fn nothing_leaks_when_everybody_has_left() {
    let mut world = World::new();
    for name in ["ana", "bob"] {
        let device = Device::register(&mut world, name);
        device.join(&mut world, "news", From::Now).unwrap();
        let lease = Request::Lease(request::Lease {
            session: device.session.clone(),
        });
        drop::<reply::Lease>(world.call(name, &lease, None).unwrap());
        let logout = Request::Logout(request::Logout { forget: true });
        drop::<reply::Done>(world.call(name, &logout, None).unwrap());
    }
    let rows = world.admin(AdminWhat::Stats, None).unwrap().rows;
    assert_eq!(rows[0]["sessions"], 0);
    assert_eq!(rows[0]["devices"], 0);
    assert_eq!(rows[0]["leases_held"], 0);
    assert!(world.core.is_settled());
    let snapshot = world.store.load().unwrap();
    assert!(snapshot.streams.is_empty() && snapshot.cursors.is_empty());
    assert!(snapshot.devices.is_empty());
}
