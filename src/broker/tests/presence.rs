//! Who is here, and who does not show it.

use super::world::leaked;
use super::*;

const HOUR_MS: u64 = 3_600_000;

fn who(
    world: &mut World,
    asker: &Device,
    user: Option<&str>,
    after: Option<&str>,
) -> Result<reply::Presences, Code> {
    let user = user.map(|user| user.parse().unwrap());
    let after = after.map(str::to_owned);
    asker.ask(world, |session| {
        Request::Who(request::Who {
            session,
            user,
            after,
        })
    })
}

fn one(world: &mut World, asker: &Device, user: &str) -> reply::Presence {
    let told = who(world, asker, Some(user), None).unwrap();
    assert_eq!((told.users.len(), told.more_after), (1, None));
    told.users.into_iter().next().unwrap()
}

fn hide(world: &mut World, device: &Device, hidden: bool) {
    let hide = |session| Request::Hide(request::Hide { session, hidden });
    drop::<reply::Done>(device.ask(world, hide).unwrap());
}

fn close(world: &mut World, device: &Device) {
    let close = |session| Request::Close(request::Close { session });
    drop::<reply::Done>(device.ask(world, close).unwrap());
}

fn away(user: &str) -> reply::Presence {
    reply::Presence {
        user: user.to_owned(),
        online: false,
        last_seen: None,
        since: None,
    }
}

#[test]
fn who_has_a_session_is_online_and_who_had_one_was_seen() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    world.pass(5_000);
    drop(bob.logs(&mut world));
    world.pass(5_000);
    let here = one(&mut world, &ana, "bob");
    assert!(here.online);
    assert_eq!(here.since.as_deref(), Some("1970-01-01T00:16:40.000Z"));
    assert_eq!(here.last_seen.as_deref(), Some("1970-01-01T00:16:45.000Z"));
    close(&mut world, &bob);
    let gone = one(&mut world, &ana, "bob");
    assert_eq!((gone.online, &gone.since), (false, &None));
    assert_eq!(gone.last_seen.as_deref(), Some("1970-01-01T00:16:50.000Z"));
    assert_eq!(
        who(&mut world, &ana, Some("zoe"), None).err(),
        Some(Code::NoSuchAddress)
    );
    ana.join(&mut world, "news", From::Now).unwrap();
    assert_eq!(
        who(&mut world, &ana, Some("news"), None).err(),
        Some(Code::NoSuchAddress)
    );
    let stranger = who(&mut world, &Device { key: "eve", ..ana }, None, None);
    assert_eq!(stranger.err(), Some(Code::NotRegistered));
}

#[test]
fn when_somebody_was_seen_outlives_a_crash_to_the_hour() {
    let mut world = World::new();
    let bob = Device::register(&mut world, "bob");
    world.pass(HOUR_MS / 2);
    let changes = world.changes;
    let bob = Device::login(&mut world, bob.key, &[]);
    assert_eq!(world.changes, changes + 2, "a stream and its counter");
    world.pass(HOUR_MS / 2);
    let bob = Device::login(&mut world, bob.key, &[]);
    world.pass(1_000);
    drop(bob.logs(&mut world));
    let mut world = world.crash();
    let ana = Device::register(&mut world, "ana");
    let seen = one(&mut world, &ana, "bob");
    assert!(!seen.online);
    assert_eq!(seen.last_seen.as_deref(), Some("1970-01-01T01:16:40.000Z"));
    world.pass(29 * 24 * HOUR_MS);
    let ana = Device::login(&mut world, ana.key, &[]);
    assert_eq!(one(&mut world, &ana, "bob"), seen);
    world.pass(24 * HOUR_MS);
    let ana = Device::login(&mut world, ana.key, &[]);
    assert_eq!(one(&mut world, &ana, "bob"), away("bob"));
}

#[test]
fn p05_who_is_hidden_looks_like_one_who_was_away_for_long() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    hide(&mut world, &bob, true);
    let commits = world.commits;
    hide(&mut world, &bob, true);
    assert_eq!(world.commits, commits, "it is so already");
    assert_eq!(one(&mut world, &ana, "bob"), away("bob"));
    let told = who(&mut world, &bob, None, None).unwrap();
    assert!(told.hidden);
    assert_eq!(told.users[1], away("bob"), "he sees what others see");
    assert!(!who(&mut world, &ana, None, None).unwrap().hidden);
    let mut world = world.crash();
    let ana = Device::login(&mut world, "ana", &[]);
    let bob = Device::login(&mut world, "bob", &[]);
    assert_eq!(one(&mut world, &ana, "bob"), away("bob"), "also afterwards");
    hide(&mut world, &bob, false);
    assert!(one(&mut world, &ana, "bob").online);
    let mut world = world.crash();
    let ana = Device::login(&mut world, "ana", &[]);
    assert!(one(&mut world, &ana, "bob").last_seen.is_some());
}

#[test]
fn p05_who_blocks_somebody_is_hidden_from_him() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let kim = Device::register(&mut world, "kim");
    let block = |session| {
        let user = "ana".parse().unwrap();
        Request::Block(request::Block { session, user })
    };
    drop::<reply::Done>(bob.ask(&mut world, block).unwrap());
    assert_eq!(one(&mut world, &ana, "bob"), away("bob"));
    assert!(one(&mut world, &kim, "bob").online);
    assert!(one(&mut world, &bob, "ana").online);
}

#[test]
fn all_are_listed_by_name_in_pages_that_cost_little() {
    let mut world = World::new();
    let ana = Device::register(&mut world, "ana");
    let names: Vec<&'static str> = (0..limits::ROWS_MAX)
        .map(|n| leaked(format!("u{n:03}")))
        .collect();
    for name in names.iter().rev() {
        close_at_once(&mut world, name);
    }
    world.admin(AdminWhat::UserRm, Some("u001")).unwrap();
    let first = who(&mut world, &ana, None, None).unwrap();
    assert_eq!(first.users.len(), limits::ROWS_MAX);
    assert_eq!(first.users[0].user, "ana");
    assert_eq!(first.users[2].user, "u002", "u001 is no more");
    assert_eq!(first.more_after, None);
    close_at_once(&mut world, "zoe");
    let first = who(&mut world, &ana, None, None).unwrap();
    assert_eq!(first.more_after.as_deref(), Some("u199"));
    let rest = who(&mut world, &ana, None, first.more_after.as_deref()).unwrap();
    assert_eq!(rest.users.len(), 1);
    for n in 0..limits::WHO_EXAMINED_MAX {
        world
            .admin(AdminWhat::TopicCreate, Some(&format!("t{n:04}")))
            .unwrap();
    }
    let page = who(&mut world, &ana, None, None).unwrap();
    let names: Vec<&str> = page.users.iter().map(|user| user.user.as_str()).collect();
    assert_eq!(names, ["ana"]);
    assert_eq!(page.more_after.as_deref(), Some("t1998"), "topics cost too");
}

fn close_at_once(world: &mut World, name: &'static str) {
    let device = Device::register(world, name);
    close(world, &device);
}
