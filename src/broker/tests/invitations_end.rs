//! How invitations end, who hears of it, what is kept of them, and how many there may be.

use super::chatting::{Party, told_chats};
use super::*;
use crate::protocol::reply::{Asked, ChatRow, ChatState, Done};

fn two() -> (World, Party, Party) {
    let mut world = World::new();
    let ana = Party::new(&mut world, "ana");
    let bob = Party::new(&mut world, "bob");
    ana.listen(&mut world);
    bob.listen(&mut world);
    (world, ana, bob)
}

/// Returns the last state told on each side's key.
fn last_told(world: &World, ana: &Party, bob: &Party) -> (Option<ChatState>, Option<ChatState>) {
    let told = told_chats(world);
    let to = |party: &Party| {
        let log = party.device.login.logs[0].log;
        let told = told.iter().rev().find(|(on, _)| *on == log);
        told.map(|(_, row)| row.state)
    };
    (to(ana), to(bob))
}

fn states(rows: &[ChatRow]) -> Vec<ChatState> {
    rows.iter().map(|row| row.state).collect()
}

fn both(state: ChatState) -> (Option<ChatState>, Option<ChatState>) {
    (Some(state), Some(state))
}

// -- the ends --

#[test]
fn a_declined_invitation_is_over_for_all_devices() {
    for (busy, state) in [(false, ChatState::Declined), (true, ChatState::Busy)] {
        let (mut world, ana, bob) = two();
        let phone = Party::further(&mut world, &bob, "bob's phone", "bob");
        let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
        bob.decline(&mut world, &chat, busy).unwrap();
        assert_eq!(last_told(&world, &ana, &bob), both(state));
        assert_eq!(states(&ana.chats(&mut world)), [state]);
        assert_eq!(phone.chats(&mut world), [], "he saw it");
        assert_eq!(phone.accept(&mut world, &chat), Err(Code::NoInvitation));
        let commits = world.commits;
        phone.decline(&mut world, &chat, false).unwrap();
        assert_eq!(world.commits, commits, "said again, it is still no");
        assert_eq!(ana.withdraw(&mut world, &chat), Err(Code::NoInvitation));
        let mut world = world.crash();
        assert_eq!(
            states(&ana.chats(&mut world)),
            [state],
            "told until she ends"
        );
        ana.close(&mut world);
        assert_eq!(world.store.load().unwrap().invitations, []);
    }
}

#[test]
fn p07_an_invitation_that_expires_is_told_to_both_and_missed_until_seen() {
    let (mut world, ana, bob) = two();
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    for _ in 0..10 {
        world.pass(limits::INVITATION_TTL_MS / 10);
        ana.beat(&mut world);
        bob.beat(&mut world);
    }
    world.pass(1_000);
    assert_eq!(last_told(&world, &ana, &bob), both(ChatState::Expired));
    assert_eq!(bob.accept(&mut world, &chat), Err(Code::NoInvitation));
    let mut world = world.crash();
    assert_eq!(states(&bob.chats(&mut world)), [ChatState::Expired]);
    bob.seen(&mut world, &[&chat]);
    assert_eq!(bob.chats(&mut world), []);
    assert_eq!(
        states(&ana.chats(&mut world)),
        [ChatState::Expired],
        "ana's session still hears it"
    );
    let mut world = world.crash();
    assert_eq!(bob.chats(&mut world), [], "seen is seen");
    ana.close(&mut world);
    assert_eq!(world.store.load().unwrap().invitations, []);
}

#[test]
fn a_withdrawn_invitation_is_missed_by_who_was_asked() {
    let (mut world, ana, bob) = two();
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    ana.withdraw(&mut world, &chat).unwrap();
    ana.withdraw(&mut world, &chat).unwrap();
    assert_eq!(last_told(&world, &ana, &bob), both(ChatState::Withdrawn));
    assert_eq!(states(&bob.chats(&mut world)), [ChatState::Withdrawn]);
    assert_eq!(bob.accept(&mut world, &chat), Err(Code::NoInvitation));
    let next = ana.ask(&mut world, "bob").unwrap().row.chat;
    assert_ne!(next, chat);
    bob.seen(&mut world, &[&chat, &next, "not a chat"]);
    assert_eq!(
        states(&bob.chats(&mut world)),
        [ChatState::Open],
        "an open one is not seen away"
    );
}

type End = fn(&mut World, &Party);

/// Everything that ends the asker's session or its lease.
fn ends() -> Vec<(&'static str, End)> {
    vec![
        ("close", |world, ana| ana.close(world)),
        ("logout", |world, _| {
            let logout = Request::Logout(request::Logout { forget: false });
            drop::<Done>(world.call("ana", &logout, None).unwrap());
        }),
        ("forget", |world, _| {
            let logout = Request::Logout(request::Logout { forget: true });
            drop::<Done>(world.call("ana", &logout, None).unwrap());
        }),
        ("release", |world, ana| {
            let release = Request::LeaseRelease(ana.word());
            drop::<Done>(ana.call(world, &release).unwrap());
        }),
        ("busy", |world, ana| {
            let busy = Request::LeaseBusy(ana.word());
            drop::<reply::Lease>(ana.call(world, &busy).unwrap());
        }),
        ("silence", |world, _| {
            world.pass(limits::SESSION_TTL_MS + 1);
        }),
    ]
}

#[test]
fn p06_an_invitation_ends_with_the_lease_it_stands_on() {
    for (how, end) in ends() {
        let (mut world, ana, bob) = two();
        let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
        end(&mut world, &ana);
        let (_, told) = last_told(&world, &ana, &bob);
        assert_eq!(told, Some(ChatState::Withdrawn), "{how}");
        let bob = Party::again(&mut world, "bob");
        assert_eq!(
            bob.accept(&mut world, &chat),
            Err(Code::NoInvitation),
            "{how}"
        );
        assert_eq!(
            states(&bob.chats(&mut world)),
            [ChatState::Withdrawn],
            "{how}"
        );
        let mut world = world.crash();
        assert_eq!(
            states(&bob.chats(&mut world)),
            [ChatState::Withdrawn],
            "{how}"
        );
    }
}

#[test]
fn p06_an_introduction_is_not_given_again_once_a_lease_of_it_is_over() {
    for (how, end) in ends() {
        let (mut world, ana, bob) = two();
        let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
        bob.accept(&mut world, &chat).unwrap();
        end(&mut world, &ana);
        let bob = Party::again(&mut world, "bob");
        assert_eq!(
            bob.accept(&mut world, &chat),
            Err(Code::NoInvitation),
            "{how}"
        );
        assert_eq!(
            bob.chats(&mut world),
            [],
            "{how}: it was answered, not missed"
        );
    }
}

#[test]
fn a_winner_has_time_to_ask_again_however_late_he_accepted() {
    let (mut world, ana, bob) = two();
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    let beat = |world: &mut World, ms: u64| {
        world.pass(ms);
        ana.beat(world);
        bob.beat(world);
    };
    for _ in 0..5 {
        beat(&mut world, limits::INVITATION_TTL_MS / 5 - 1_000);
    }
    bob.accept(&mut world, &chat).unwrap();
    beat(&mut world, limits::INVITATION_ANSWER_MS / 2);
    ana.is_who(&bob.accept(&mut world, &chat).unwrap());
    let mut world = world.crash();
    beat(&mut world, limits::INVITATION_ANSWER_MS / 2);
    ana.is_who(&bob.accept(&mut world, &chat).unwrap());
    beat(&mut world, limits::INVITATION_ANSWER_MS);
    beat(&mut world, limits::INVITATION_ANSWER_MS);
    assert_eq!(bob.accept(&mut world, &chat), Err(Code::NoInvitation));
    assert_eq!(world.store.load().unwrap().invitations, []);
}

// -- restarts --

#[test]
fn p13_invitations_are_in_force_after_a_restart() {
    let (mut world, ana, bob) = two();
    let kim = Party::new(&mut world, "kim");
    let open = ana.ask(&mut world, "bob").unwrap();
    let accepted = kim.ask(&mut world, "bob").unwrap().row.chat;
    bob.accept(&mut world, &accepted).unwrap();
    world.now.wall_ms += 60_000;
    let mut world = world.crash();
    let again = ana.ask(&mut world, "bob").unwrap();
    assert_eq!(again.row, open.row);
    assert_eq!(
        again.ttl_ms,
        open.ttl_ms - 60_000,
        "what was left of its time"
    );
    kim.is_who(&bob.accept(&mut world, &accepted).unwrap());
    ana.is_who(&bob.accept(&mut world, &open.row.chat).unwrap());
}

#[test]
fn p13_a_clock_that_was_set_lengthens_no_invitation_beyond_its_term() {
    let (mut world, ana, bob) = two();
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    world.now.wall_ms -= 86_400_000;
    let mut world = world.crash();
    assert_eq!(
        ana.ask(&mut world, "bob").unwrap().ttl_ms,
        limits::INVITATION_TTL_MS
    );
    world.now.wall_ms += 2 * 86_400_000;
    world.pass(1_000);
    assert_eq!(
        states(&bob.chats(&mut world)),
        [ChatState::Open],
        "terms are not wall time"
    );
    let mut world = world.crash();
    world.pass(1_000);
    assert_eq!(
        bob.accept(&mut world, &chat),
        Err(Code::NoInvitation),
        "ran out while it was down"
    );
    assert_eq!(states(&bob.chats(&mut world)), [ChatState::Expired]);
}

#[test]
fn p13_what_stood_on_a_lease_that_a_store_lost_is_withdrawn() {
    let (mut world, ana, bob) = two();
    let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
    world
        .store
        .commit(&[Change::RemoveLease(ana.lease.0)])
        .unwrap();
    let mut world = world.crash();
    assert_eq!(bob.accept(&mut world, &chat), Err(Code::NoInvitation));
    assert_eq!(states(&bob.chats(&mut world)), [ChatState::Withdrawn]);
}

// -- limits --

/// Users that do nothing but ask.
const CROWD: [&str; 40] = [
    "c00", "c01", "c02", "c03", "c04", "c05", "c06", "c07", "c08", "c09", "c10", "c11", "c12",
    "c13", "c14", "c15", "c16", "c17", "c18", "c19", "c20", "c21", "c22", "c23", "c24", "c25",
    "c26", "c27", "c28", "c29", "c30", "c31", "c32", "c33", "c34", "c35", "c36", "c37", "c38",
    "c39",
];

#[test]
fn p09_a_user_makes_so_many_invitations_a_minute() {
    let (mut world, ana, bob) = two();
    for _ in 0..limits::INVITATIONS_PER_MINUTE {
        let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
        ana.ask(&mut world, "bob").unwrap();
        ana.withdraw(&mut world, &chat).unwrap();
    }
    world.ask("ana", &ana.ask_request("bob", None), None);
    let Err(reply::DecodeError::Refused(error)) = reply::decode::<Asked>(&world.told()[1]) else {
        panic!("asked once too often");
    };
    assert_eq!(error.code, Code::Busy);
    assert_eq!(error.retry_after_ms, Some(60_000));
    bob.ask(&mut world, "ana").unwrap();
    world.pass(60_000);
    let theirs = ana.ask(&mut world, "bob").unwrap();
    assert!(theirs.introduction.is_some(), "bob had asked meanwhile");
}

#[test]
fn p09_a_user_has_so_many_invitations_open() {
    let mut world = World::new();
    let ana = Party::new(&mut world, "ana");
    let limit = limits::INVITATIONS_FROM_USER_MAX;
    for name in &CROWD[..=limit] {
        Device::register(&mut world, name);
    }
    for name in &CROWD[..limit] {
        ana.ask(&mut world, name).unwrap();
    }
    assert_eq!(ana.ask(&mut world, CROWD[limit]), Err(Code::LimitReached));
    let chat = ana.ask(&mut world, CROWD[0]).unwrap().row.chat;
    ana.withdraw(&mut world, &chat).unwrap();
    ana.ask(&mut world, CROWD[limit]).unwrap();
}

#[test]
fn p07_a_user_is_asked_by_so_many_and_then_busy_and_the_oldest_missed_goes_first() {
    let mut world = World::new();
    let bob = Party::new(&mut world, "bob");
    let limit = limits::INVITATIONS_TO_USER_MAX;
    let mut crowd = Vec::new();
    for name in &CROWD[..=limit] {
        crowd.push(Party::new(&mut world, name));
        world.now.wall_ms += 1;
    }
    let first = crowd[0].ask(&mut world, "bob").unwrap().row.chat;
    crowd[0].withdraw(&mut world, &first).unwrap();
    for asker in &crowd[1..] {
        world.now.wall_ms += 1;
        asker.ask(&mut world, "bob").unwrap();
    }
    let rows = bob.chats(&mut world);
    assert_eq!(rows.len(), limit);
    assert!(
        rows.iter().all(|row| row.chat != first),
        "the missed one went"
    );
    assert_eq!(crowd[0].ask(&mut world, "bob"), Err(Code::PeerBusy));
    bob.decline(&mut world, &rows[0].chat, false).unwrap();
    crowd[0].ask(&mut world, "bob").unwrap();
}

#[test]
fn what_a_session_asked_is_kept_for_it_to_a_limit() {
    let (mut world, ana, bob) = two();
    for _ in 0..40 {
        let chat = ana.ask(&mut world, "bob").unwrap().row.chat;
        bob.decline(&mut world, &chat, false).unwrap();
        world.pass(2_500);
        ana.beat(&mut world);
        bob.beat(&mut world);
    }
    let limit = limits::INVITATIONS_FROM_USER_MAX;
    assert_eq!(ana.chats(&mut world).len(), limit);
    assert_eq!(world.store.load().unwrap().invitations.len(), limit);
}

#[test]
fn p08_a_heartbeat_with_every_row_there_can_be_fits_its_frame() {
    let mut world = World::with(|settings| {
        settings.lease_ttl_ms = 3_600_000;
        settings.invitation_ttl_ms = 3_600_000;
    });
    let long: &'static str = Box::leak("n".repeat(limits::NAME_BYTES_MAX).into_boxed_str());
    let bob = Party::new(&mut world, long);
    for name in &CROWD {
        let asker = Party::new(&mut world, name);
        // A full house; who comes too late hears so.
        asker.ask(&mut world, long).ok();
    }
    let open = limits::INVITATIONS_FROM_USER_MAX;
    for n in 0..2 * open {
        let head = "n".repeat(limits::NAME_BYTES_MAX - 2);
        let other: &'static str = Box::leak(format!("{head}{n:02}").into_boxed_str());
        Device::register(&mut world, other);
        let chat = bob.ask(&mut world, other).unwrap().row.chat;
        if n < open {
            bob.withdraw(&mut world, &chat).unwrap();
        }
        world.pass(2_500);
    }
    for topic in 0..limits::ROWS_MAX {
        let tail = "t".repeat(limits::NAME_BYTES_MAX - 4);
        bob.device
            .join(&mut world, &format!("{topic:03}/{tail}"), From::Now)
            .unwrap();
    }
    let mut ana = Device::register(&mut world, "ana");
    let topics: Vec<String> = bob
        .device
        .logs(&mut world)
        .into_iter()
        .map(|log| log.address)
        .collect();
    for topic in &topics {
        ana.send(&mut world, &[topic.as_str()], "x");
    }
    let session = bob.device.session.clone();
    let beat = Request::Heartbeat(request::Heartbeat { session, known: 0 });
    world.ask(long, &beat, None);
    let frames = world.told();
    assert!(
        frames[1].len() <= limits::FRAME_BYTES_MAX,
        "{}",
        frames[1].len()
    );
    let beat: reply::Heartbeat = reply::decode(&frames[1]).unwrap();
    assert_eq!(beat.chats.len(), limits::INVITATIONS_TO_USER_MAX + 2 * open);
    assert!(beat.more, "and the client asks for the rest at once");
}

// -- who is gone --

#[test]
fn a_removed_users_invitations_and_blocks_go() {
    let (mut world, ana, bob) = two();
    let kim = Party::new(&mut world, "kim");
    ana.block(&mut world, "kim").unwrap();
    kim.block(&mut world, "bob").unwrap();
    ana.ask(&mut world, "bob").unwrap();
    let theirs = bob.ask(&mut world, "kim");
    assert_eq!(theirs, Err(Code::PeerBusy));
    let missed = kim.ask(&mut world, "bob").unwrap().row.chat;
    kim.withdraw(&mut world, &missed).unwrap();
    let waiting = bob.ask(&mut world, "ana").unwrap();
    assert!(waiting.introduction.is_some());
    let to_ana = bob.ask(&mut world, "ana").unwrap().row;
    world.admin(AdminWhat::UserRm, Some("ana")).unwrap();
    let rows = bob.chats(&mut world);
    let of_ana = rows.iter().find(|row| row.chat == to_ana.chat).unwrap();
    assert_eq!(of_ana.state, ChatState::Busy, "bob waits for nobody");
    world.admin(AdminWhat::UserRm, Some("kim")).unwrap();
    let left = bob.chats(&mut world);
    assert_eq!(
        left,
        std::slice::from_ref(of_ana),
        "what kim had asked is gone"
    );
    world.admin(AdminWhat::UserFree, Some("ana")).unwrap();
    let kept = world.store.load().unwrap();
    assert_eq!((kept.invitations, kept.blocks), (vec![], vec![]));
}

#[test]
fn stats_count_what_stands_open() {
    let (mut world, ana, bob) = two();
    ana.ask(&mut world, "bob").unwrap();
    bob.block(&mut world, "ana").unwrap();
    let kim = Party::new(&mut world, "kim");
    kim.ask(&mut world, "bob").unwrap();
    let row = &world.admin(AdminWhat::Stats, None).unwrap().rows[0];
    assert_eq!(row["invitations_open"], 1);
    assert_eq!(row["blocks"], 1);
}
