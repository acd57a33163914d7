//! What administrators do: who may, what it does to those who are there, and that it is written down.

use serde_json::Value;

use super::world::{ADMIN, Device, World, code_of, id_of, key_of};
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::notice::NoticeKey;
use crate::protocol::reply;
use crate::protocol::request::{self, Admin, AdminWhat, From, Particulars, Request, Role};

fn ask(world: &mut World, who: &str, admin: Admin) -> Result<Vec<Value>, Code> {
    let rows: reply::Rows = world.call(who, &Request::Admin(admin), None)?;
    Ok(rows.rows)
}

fn with(what: AdminWhat, address: &str, particulars: Particulars) -> Admin {
    Admin {
        particulars,
        ..Admin::new(what, Some(address.to_owned()))
    }
}

fn deed(world: &mut World, what: AdminWhat, address: &str, particulars: Particulars) -> Value {
    let rows = ask(world, ADMIN, with(what, address, particulars));
    rows.expect("done").remove(0)
}

fn plain(world: &mut World, what: AdminWhat, address: &str) -> Value {
    deed(world, what, address, Particulars::default())
}

fn role(world: &mut World, user: &str, role: Role) {
    let particulars = Particulars {
        role: Some(role),
        ..Particulars::default()
    };
    deed(world, AdminWhat::UserRole, user, particulars);
}

/// The words of what was done, in order.
fn audited(world: &mut World) -> Vec<String> {
    let rows = ask(world, ADMIN, Admin::new(AdminWhat::AuditLs, None)).unwrap();
    let line = |row: &Value| {
        let text = |field: &str| row[field].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", text("by"), text("what"), text("address"))
    };
    rows.iter().map(line).collect()
}

#[test]
fn roles_decide_who_may_what() {
    let mut world = World::new();
    let _ana = Device::register(&mut world, "ana");
    let _bob = Device::register(&mut world, "bob");
    for what in AdminWhat::ALL {
        let asked = ask(
            &mut world,
            "ana",
            with(*what, "bob", Particulars::default()),
        );
        assert_eq!(asked, Err(Code::Denied), "{what:?}");
    }
    role(&mut world, "ana", Role::Operator);
    for what in AdminWhat::ALL {
        let asked = ask(
            &mut world,
            "ana",
            with(*what, "bob", Particulars::default()),
        );
        assert_eq!(
            asked == Err(Code::Denied),
            what.needs() == Role::Admin,
            "{what:?}: {asked:?}"
        );
    }
    role(&mut world, "ana", Role::Admin);
    let users = ask(&mut world, "ana", Admin::new(AdminWhat::UserLs, None)).unwrap();
    assert_eq!(users[0]["role"], "admin");
    ask(
        &mut world,
        "ana",
        with(AdminWhat::TopicCreate, "news", Particulars::default()),
    )
    .unwrap();
    let mut world = world.crash();
    ask(
        &mut world,
        "ana",
        with(AdminWhat::UserRm, "bob", Particulars::default()),
    )
    .unwrap();
    role(&mut world, "ana", Role::User);
    let asked = ask(&mut world, "ana", Admin::new(AdminWhat::UserLs, None));
    assert_eq!(asked, Err(Code::Denied));
    assert_eq!(
        audited(&mut world),
        [
            "- user_role ana",
            "- user_role ana",
            "ana topic_create news",
            "ana user_rm bob",
            "- user_role ana",
        ]
    );
}

/// Everything that a device of `bob`, who is shut out, may try; each with its code.
fn tries(world: &mut World, bob: &Device, log: u64) -> Vec<Code> {
    let session = || bob.session.clone();
    let requests = [
        Request::Login(request::Login::default()),
        Request::Heartbeat(request::Heartbeat {
            session: session(),
            known: 0,
        }),
        Request::Fetch(request::Fetch {
            session: session(),
            log,
            after: 0,
            n: None,
            mails: 9,
            bytes: 99,
        }),
        Request::Send(bob.request(bob.number + 1, &["ana"])),
        Request::Join(request::Join {
            session: session(),
            topic: "news".parse().unwrap(),
            from: From::Start,
        }),
        Request::Invite(request::Invite {
            session: session(),
            user: None,
            device: true,
        }),
    ];
    let refused = requests.map(|request| {
        world
            .call::<Value>(bob.key, &request, None)
            .expect_err("refused")
    });
    refused.to_vec()
}

/// Shuts bob out by one deed and sees that nothing gets in or out for him from then on, on what he had.
fn shut_out_by(what: AdminWhat, particulars: Particulars, code: Code) -> World {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    ana.join(&mut world, "news", From::Now).unwrap();
    let own = bob.log(&mut world, "bob");
    let keys = ["bob", "news"].map(|name| {
        let key = bob.log(&mut world, name).key;
        NoticeKey::from_hex(&key).unwrap()
    });
    for key in keys {
        assert!(world.subscribe("bob", &key.to_bytes()));
    }
    ana.send(&mut world, &["bob", "news"], "before");
    // A page is on its way from the disk when it happens.
    world.slow_disk = true;
    world.ask(
        "bob",
        &Request::Fetch(request::Fetch {
            session: bob.session.clone(),
            log: own.log,
            after: 0,
            n: None,
            mails: 9,
            bytes: 99,
        }),
        None,
    );
    deed(&mut world, what, "bob", particulars);
    world.replies.clear();
    world.slow_disk = false;
    world.answer_reads();
    let late = world.told();
    let refused = reply::decode::<Value>(&late[1]).expect_err("no page");
    assert!(matches!(refused, reply::DecodeError::Refused(error) if error.code == code));
    assert_eq!(late.len(), 2, "no body");
    world.notices.clear();
    ana.send(&mut world, &["bob", "news"], "after");
    let told: Vec<&NoticeKey> = world.notices.iter().map(|(key, _)| key).collect();
    assert!(
        keys.iter().all(|key| !told.contains(&key)),
        "published where he still listens: {told:?}"
    );
    for key in keys {
        let next = NoticeKey {
            generation: key.generation + 1,
            ..key
        };
        assert!(!world.subscribe("bob", &next.to_bytes()));
        assert!(!world.subscribe("bob", &key.to_bytes()));
    }
    assert!(!world.core.may_connect_live(&key_of("bob")));
    assert!(world.core.may_connect_live(&key_of("ana")));
    let codes = tries(&mut world, &bob, own.log);
    assert_eq!(codes, [code; 6]);
    let sessions = world.admin(AdminWhat::SessionLs, None).unwrap().rows;
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    world
}

#[test]
fn p05_a_disabled_user_is_cut_off_until_he_is_enabled() {
    let world = shut_out_by(
        AdminWhat::UserDisable,
        Particulars::default(),
        Code::ShutOut,
    );
    let mut world = world.crash();
    let login = Request::Login(request::Login::default());
    let again = world.call::<Value>("bob", &login, None);
    assert_eq!(again, Err(Code::ShutOut), "a restart lets nobody in");
    let shown = plain(&mut world, AdminWhat::UserShow, "bob");
    assert_eq!(shown["state"], "disabled");
    plain(&mut world, AdminWhat::UserEnable, "bob");
    let bob = Device::login(&mut world, "bob", &[]);
    assert_eq!(bob.log(&mut world, "bob").waiting, 2, "nothing was lost");
    assert_eq!(bob.log(&mut world, "news").waiting, 2);
}

#[test]
fn p05_a_kicked_user_is_cut_off_for_as_long_as_was_said() {
    let particulars = Particulars {
        seconds: Some(200),
        ..Particulars::default()
    };
    let world = shut_out_by(AdminWhat::SessionKick, particulars, Code::ShutOut);
    let mut world = world.crash();
    world.pass(150_000);
    let login = Request::Login(request::Login::default());
    assert_eq!(world.call::<Value>("bob", &login, None), Err(Code::ShutOut));
    world.pass(60_000);
    let bob = Device::login(&mut world, "bob", &[]);
    assert_eq!(bob.log(&mut world, "bob").waiting, 2);
}

/// Running time is written now and then, so that the next process begins with less of it.
#[test]
fn a_kick_that_is_over_does_not_begin_anew_with_the_server() {
    let mut world = World::new();
    Device::register(&mut world, "bob");
    let particulars = Particulars {
        seconds: Some(20),
        ..Particulars::default()
    };
    deed(&mut world, AdminWhat::SessionKick, "bob", particulars);
    let login = Request::Login(request::Login::default());
    assert_eq!(world.call::<Value>("bob", &login, None), Err(Code::ShutOut));
    world.pass(21_000);
    Device::login(&mut world, "bob", &[]);
    let mut world = world.crash();
    Device::login(&mut world, "bob", &[]);
}

#[test]
fn p05_a_revoked_key_is_cut_off_for_good() {
    let particulars = Particulars {
        device: Some(2),
        ..Particulars::default()
    };
    let mut world = shut_out_by(AdminWhat::KeyRevoke, particulars, Code::NotRegistered);
    let keys = ask(
        &mut world,
        ADMIN,
        with(AdminWhat::KeyLs, "bob", Particulars::default()),
    );
    assert_eq!(keys, Ok(vec![]));
    let foreign = Particulars {
        device: Some(1),
        ..Particulars::default()
    };
    let asked = ask(
        &mut world,
        ADMIN,
        with(AdminWhat::KeyRevoke, "bob", foreign),
    );
    assert_eq!(asked, Err(Code::NoSuchDevice), "ana's is none of bob's");
}

#[test]
fn a_kick_of_one_device_leaves_the_others_alone() {
    let mut world = World::new();
    let bob = Device::register(&mut world, "bob");
    let code: reply::Invited = bob
        .ask(&mut world, |session| {
            Request::Invite(request::Invite {
                session,
                user: None,
                device: true,
            })
        })
        .unwrap();
    let desk = Device::register_with(&mut world, "desk", "bob", Some(code.code));
    let particulars = Particulars {
        device: Some(2),
        ..Particulars::default()
    };
    let row = deed(&mut world, AdminWhat::SessionKick, "bob", particulars);
    assert_eq!(row["sessions"], 1);
    assert!(
        desk.beat(&mut world, 0)
            .is_err_and(|code| code == Code::ShutOut)
    );
    bob.beat(&mut world, 0).unwrap();
    world.pass(1_000 * limits::KICK_SECONDS + 1_000);
    Device::login(&mut world, "desk", &[]);
}

#[test]
fn a_new_device_is_no_way_around_a_disabled_user() {
    let mut world = World::new();
    let bob = Device::register(&mut world, "bob");
    let code: reply::Invited = bob
        .ask(&mut world, |session| {
            Request::Invite(request::Invite {
                session,
                user: None,
                device: true,
            })
        })
        .unwrap();
    plain(&mut world, AdminWhat::UserDisable, "bob");
    let register = Request::Register(request::Register {
        user: None,
        device: "new".into(),
        code: Some(code.code),
    });
    assert_eq!(
        world.call::<Value>("new", &register, None),
        Err(Code::ShutOut)
    );
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    bob.join(&mut world, "news", From::Now).unwrap();
    ana.send(&mut world, &["bob"], "12345");
    let try_out = || Particulars {
        dry_run: true,
        ..Particulars::default()
    };
    let commits = world.commits;
    let row = deed(&mut world, AdminWhat::UserRm, "bob", try_out());
    let counted = serde_json::json!({
        "address": "bob", "mails": 1, "bytes": 5, "devices": 1, "sessions": 1,
        "subscriptions": 1, "dry_run": true,
    });
    assert_eq!(row, counted);
    deed(&mut world, AdminWhat::UserDisable, "bob", try_out());
    deed(&mut world, AdminWhat::SessionKick, "bob", try_out());
    assert_eq!(world.commits, commits);
    bob.beat(&mut world, 0).unwrap();
    let row = plain(&mut world, AdminWhat::UserRm, "bob");
    assert_eq!(
        (&row["mails"], &row["durability"]),
        (&1.into(), &"fsync".into())
    );
    let rows = ask(&mut world, ADMIN, Admin::new(AdminWhat::AuditLs, None)).unwrap();
    assert_eq!(rows.len(), 1, "what was only tried is no deed");
    assert_eq!(rows[0]["counts"]["subscriptions"], 1);
}

#[test]
fn a_quota_holds_from_now_on_and_goes_with_its_user() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let _bob = Device::register(&mut world, "bob");
    let mut particulars = Particulars::default();
    particulars.limits.mails_max = Some(1);
    deed(&mut world, AdminWhat::UserQuota, "bob", particulars);
    id_of(&ana.send(&mut world, &["bob"], "one")[0]);
    assert_eq!(
        code_of(&ana.send(&mut world, &["bob"], "two")[0]),
        Code::MailboxFull
    );
    let mut world = world.crash();
    let shown = plain(&mut world, AdminWhat::UserShow, "bob");
    assert_eq!(
        (&shown["waiting"], &shown["mails_max"]),
        (&1.into(), &1.into())
    );
    plain(&mut world, AdminWhat::UserQuota, "bob");
    let mut ana = Device::login(&mut world, "ana", &[]);
    id_of(&ana.send(&mut world, &["bob"], "three")[0]);
    plain(&mut world, AdminWhat::UserDisable, "bob");
    plain(&mut world, AdminWhat::UserRm, "bob");
    plain(&mut world, AdminWhat::UserFree, "bob");
    Device::register_with(&mut world, "heir", "bob", None);
    let shown = plain(&mut world, AdminWhat::UserShow, "bob");
    assert_eq!(shown["state"], "live", "an heir is nobody's successor");
}

#[test]
fn a_user_who_is_added_gets_mail_before_his_first_device() {
    let mut world = World::with(|settings| {
        settings.registration = super::super::io::Registration::Closed;
    });
    let row = plain(&mut world, AdminWhat::UserAdd, "eve");
    let again = ask(
        &mut world,
        ADMIN,
        with(AdminWhat::UserAdd, "eve", Particulars::default()),
    );
    assert_eq!(again, Err(Code::NameTaken));
    let code = row["code"].as_str().map(str::to_owned);
    let eve = Device::register_with(&mut world, "eve's", "eve", code);
    assert_eq!(eve.log(&mut world, "eve").waiting, 0);
    assert_eq!(audited(&mut world), ["- user_add eve"], "and no code in it");
}

#[test]
fn a_port_is_taken_back_and_its_holder_hears_so() {
    let mut world = World::new();
    let _ana = Device::register(&mut world, "ana");
    let login = Request::Login(request::Login {
        want_port: true,
        ..request::Login::default()
    });
    let login: reply::Login = world.call("ana", &login, None).unwrap();
    let lease = login.lease.unwrap();
    let port = |port| Particulars {
        port: Some(port),
        ..Particulars::default()
    };
    let admin = with(AdminWhat::LeaseRelease, "", port(1));
    assert_eq!(ask(&mut world, ADMIN, admin), Err(Code::LeaseLost));
    let row = deed(&mut world, AdminWhat::LeaseRelease, "", port(lease.port));
    assert_eq!(row["address"], lease.port.to_string());
    let confirm = Request::LeaseConfirm(request::LeaseWord {
        session: login.session,
        port: lease.port,
        epoch: lease.epoch,
    });
    assert_eq!(
        world.call::<Value>("ana", &confirm, None),
        Err(Code::LeaseLost)
    );
    let rows = world.admin(AdminWhat::LeaseLs, None).unwrap().rows;
    let row = rows.iter().find(|row| row["port"] == lease.port).unwrap();
    assert_eq!(
        row["state"], "resting",
        "a port rests before the next gets it"
    );
}

#[test]
fn what_was_answered_as_done_is_in_the_audit_after_a_crash_and_what_was_not_is_not() {
    let mut world = World::new();
    let _bob = Device::register(&mut world, "bob");
    plain(&mut world, AdminWhat::TopicCreate, "news");
    world.held = true;
    world.ask(
        ADMIN,
        &Request::Admin(with(AdminWhat::UserRm, "bob", Particulars::default())),
        None,
    );
    assert!(world.replies.is_empty(), "nothing is said before the sync");
    let changes: Vec<_> = world.under_way.iter().flat_map(|(_, all)| all).collect();
    let audits = changes
        .iter()
        .filter(|change| matches!(change, crate::store::Change::PutAudit(_)));
    assert_eq!(audits.count(), 1, "it goes to disk with the deed");
    assert_eq!(world.under_way.len(), 1);
    let mut world = world.crash();
    assert_eq!(audited(&mut world), ["- topic_create news"]);
    let users = world.admin(AdminWhat::UserLs, None).unwrap().rows;
    assert_eq!(users[0]["state"], "live");
}

#[test]
fn the_audit_keeps_the_newest_and_is_read_from_where_one_wants() {
    let mut world = World::new();
    let _bob = Device::register(&mut world, "bob");
    let many = limits::AUDIT_ROWS_SHOWN + 7;
    for n in 0..many {
        plain(&mut world, AdminWhat::TopicCreate, &format!("t{n:04}"));
    }
    let rows = ask(&mut world, ADMIN, Admin::new(AdminWhat::AuditLs, None)).unwrap();
    assert_eq!(rows.len() as u64, limits::AUDIT_ROWS_SHOWN);
    assert_eq!(rows[0]["number"], 8);
    let after = |after: &str| Admin {
        after: Some(after.to_owned()),
        ..Admin::new(AdminWhat::AuditLs, None)
    };
    assert_eq!(
        ask(&mut world, ADMIN, after("0")).unwrap().len() as u64,
        many
    );
    assert_eq!(ask(&mut world, ADMIN, after("105")).unwrap().len(), 2);
    assert_eq!(ask(&mut world, ADMIN, after("x")), Err(Code::BadRequest));
    // As if it had been full: one comes, one goes.
    let full = crate::store::AuditRecord {
        number: limits::AUDIT_ROWS_MAX + 7,
        at_ms: 0,
        by: "ana".into(),
        what: "of before".into(),
        address: String::new(),
        counts: Vec::new(),
        note: String::new(),
    };
    crate::store::Store::commit(&mut world.store, &[crate::store::Change::PutAudit(full)]).unwrap();
    let mut world = world.crash();
    plain(&mut world, AdminWhat::TopicCreate, "last");
    let rows = ask(&mut world, ADMIN, after("0")).unwrap();
    assert_eq!(rows[0]["number"], 9, "the oldest went");
    let last = rows.last().unwrap();
    assert_eq!(last["number"], limits::AUDIT_ROWS_MAX + 8);
}

#[test]
fn a_purge_takes_what_is_there_and_tells_its_readers() {
    let mut world = World::new();
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    let many = u64::from(limits::PURGE_BATCH) + 3;
    for _ in 0..many {
        ana.send(&mut world, &["bob"], "12345");
    }
    let own = bob.log(&mut world, "bob");
    let counted = deed(
        &mut world,
        AdminWhat::QueuePurge,
        "bob",
        Particulars {
            dry_run: true,
            ..Particulars::default()
        },
    );
    assert_eq!(
        (&counted["mails"], &counted["dry_run"]),
        (&many.into(), &true.into())
    );
    let purge = Admin::new(AdminWhat::QueuePurge, Some("bob".into()));
    let first: reply::Rows = world
        .call(ADMIN, &Request::Admin(purge.clone()), None)
        .unwrap();
    assert_eq!(first.rows[0]["mails"], u64::from(limits::PURGE_BATCH));
    ana.send(&mut world, &["bob"], "came later and stays");
    let rest = Admin {
        after: first.more_after,
        ..purge
    };
    let rest: reply::Rows = world.call(ADMIN, &Request::Admin(rest), None).unwrap();
    assert_eq!(
        (&rest.rows[0]["mails"], &rest.more_after),
        (&3.into(), &None)
    );
    let mut world = world.crash();
    let bob = Device::login(&mut world, "bob", &[]);
    let (page, bodies) = bob.fetch_after(&mut world, own.log, 0, Some(0));
    assert_eq!(page.trimmed.map(|gone| gone.count), Some(many));
    assert_eq!(bodies, [b"came later and stays".to_vec()]);
    plain(&mut world, AdminWhat::QueuePurge, "ana");
    let rows = ask(&mut world, ADMIN, Admin::new(AdminWhat::AuditLs, None)).unwrap();
    let mails: Vec<u64> = rows
        .iter()
        .map(|row| row["counts"]["mails"].as_u64().unwrap())
        .collect();
    assert_eq!(mails, [u64::from(limits::PURGE_BATCH), 3]);
}

#[test]
fn a_purge_and_the_trimming_of_one_log_do_not_undo_each_other() {
    let mut world = World::with(|settings| settings.log_mails_max = 4);
    let mut ana = Device::register(&mut world, "ana");
    ana.join(&mut world, "news", From::Now).unwrap();
    world.slow_disk = true;
    for _ in 0..9 {
        ana.send(&mut world, &["news"], "x");
    }
    world.pass(1_000);
    let purge = Admin::new(AdminWhat::QueuePurge, Some("news".into()));
    world.ask(ADMIN, &Request::Admin(purge), None);
    // Both have looked up the same mails by now; the purge is answered first.
    while let Some(read) = world.reads.pop_back() {
        let answer = crate::store::Store::reader(&world.store)
            .read(&read.1)
            .unwrap();
        world.handle(super::super::io::Input::Loaded(read.0, answer));
    }
    world.slow_disk = false;
    world.answer_reads();
    let topics = world.admin(AdminWhat::TopicLs, None).unwrap().rows;
    assert_eq!(topics[0]["mails"], 0);
    assert_eq!(
        crate::store::hostile::verify(&world.store).unwrap().faults,
        Vec::<String>::new()
    );
    let mut world = world.crash();
    let topics = world.admin(AdminWhat::TopicLs, None).unwrap().rows;
    assert_eq!(topics[0]["mails"], 0);
}

#[test]
fn a_device_that_is_released_holds_nothing_back() {
    let mut world = World::with(|settings| settings.log_mails_max = 2);
    let mut ana = Device::register(&mut world, "ana");
    let bob = Device::register(&mut world, "bob");
    ana.send(&mut world, &["bob"], "one");
    ana.send(&mut world, &["bob"], "two");
    assert_eq!(
        code_of(&ana.send(&mut world, &["bob"], "three")[0]),
        Code::MailboxFull
    );
    let own = bob.log(&mut world, "bob");
    bob.fetch(&mut world, &own);
    let peeked = world.admin(AdminWhat::QueuePeek, Some("bob")).unwrap().rows;
    assert_eq!(
        peeked[0]["in_flight"],
        serde_json::json!([2]),
        "told, not acknowledged"
    );
    let device = |device| Particulars {
        device: Some(device),
        ..Particulars::default()
    };
    let none = ask(
        &mut world,
        ADMIN,
        with(AdminWhat::QueueRelease, "bob", device(1)),
    );
    assert_eq!(none, Err(Code::NoSuchDevice), "ana's does not read it");
    let row = deed(&mut world, AdminWhat::QueueRelease, "bob", device(2));
    assert_eq!(row["waiting"], 2);
    id_of(&ana.send(&mut world, &["bob"], "three")[0]);
    let peeked = world.admin(AdminWhat::QueuePeek, Some("bob")).unwrap().rows;
    assert_eq!(peeked.len(), 1, "{peeked:?}");
    assert_eq!(peeked[0]["in_flight"], serde_json::json!([]));
}

#[test]
fn p01_who_looks_on_sees_the_last_deeds_that_are_on_disk_also_of_before_a_restart() {
    let mut world = World::new();
    let names = |world: &World| -> Vec<String> {
        let deeds = world.core.state().deeds;
        deeds.into_iter().map(|deed| deed.address).collect()
    };
    for n in 0..limits::FIGURES_ROWS_MAX + 2 {
        plain(&mut world, AdminWhat::TopicCreate, &format!("t{n:02}"));
    }
    let shown = names(&world);
    assert_eq!(shown.len(), limits::FIGURES_ROWS_MAX);
    assert_eq!(shown[0], "t11", "the newest first");
    world.held = true;
    let create = with(AdminWhat::TopicCreate, "lost", Particulars::default());
    world.ask(ADMIN, &Request::Admin(create), None);
    assert_eq!(names(&world), shown, "not before it is on disk");
    let mut world = world.crash();
    assert_eq!(names(&world), shown);
    plain(&mut world, AdminWhat::TopicCreate, "next");
    assert_eq!(names(&world)[..2], ["next", "t11"]);
}
