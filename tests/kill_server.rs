//! P2 and P3 under SIGKILLs of the server at random instants, with senders and readers at work: while it
//! serves and trims, in its first start, in its recovery, in its stop, and of a backup beside it.
//!
//! 100 kills, or `CORREIO_KILLS`. Each store is killed so often and then checked and left for a
//! fresh one, so that a long run stays as quick as it began.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::load::{Load, compare};
use common::rng::Rng;
use common::server::{Plan, Server};
use common::tally::Tally;
use common::{Timed, pause, scale};

const SENDERS: usize = 8;
const READERS: usize = 4;

/// Kills of one store.
const KILLS_PER_STORE: usize = 100;

#[test]
fn p02_p03_kill9_of_the_server_loses_and_doubles_nothing() {
    let _timed = Timed::start("p02_p03_kill9_of_the_server_loses_and_doubles_nothing");
    let mut tally = Tally::begin("kills", scale("CORREIO_KILLS", 100));
    let mut rng = Rng::announced("kill_server");
    while tally.left() > 0 {
        one_store(&mut tally, &mut rng);
    }
    assert!(
        tally.met * 100 >= tally.at_work * 80 && tally.at_work > 0,
        "too few kills met unanswered sends"
    );
}

/// Kills a server on one store, again and again, from its first start on.
fn one_store(tally: &mut Tally, rng: &mut Rng) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::unstarted(Plan::loopback(folder.path().join("data"), 4));
    let end = tally.struck + KILLS_PER_STORE.min(tally.left());
    kill_start(&mut server, "first start", tally, rng);
    tally.start(server.restart_timed());
    let load = Load::begin(&server, rng, SENDERS, READERS);
    while tally.struck < end {
        load.wait_for_acks(1 + rng.below(10));
        match rng.below(10) {
            0 => kill_stop(&mut server, tally, rng),
            1 => {
                kill_at_work(&mut server, &load, tally, rng);
                kill_backup(&server, tally, rng);
            }
            2 | 3 => {
                kill_at_work(&mut server, &load, tally, rng);
                kill_start(&mut server, "recovery", tally, rng);
            }
            _ => kill_at_work(&mut server, &load, tally, rng),
        }
        tally.start(server.restart_timed());
    }
    let (acked, shown) = load.finish();
    tally.settle(&acked, &shown);
}

fn kill_at_work(server: &mut Server, load: &Load, tally: &mut Tally, rng: &mut Rng) {
    let after = below(Duration::from_millis(100), rng);
    pause(after);
    let unanswered = load.unanswered();
    server.kill9();
    tally.strike_at_work(after, unanswered);
}

fn kill_start(server: &mut Server, which: &str, tally: &mut Tally, rng: &mut Rng) {
    let after = below(tally.usual_start() * 6 / 5, rng);
    let ready = server.start_killed(after);
    let which = if ready { "just ready" } else { which };
    tally.strike(which, after);
}

fn kill_stop(server: &mut Server, tally: &mut Tally, rng: &mut Rng) {
    let after = below(Duration::from_millis(30), rng);
    server.stop_killed(after);
    tally.strike("stop", after);
}

/// A backup opens the store as a server does, reads all of it and writes elsewhere.
fn kill_backup(server: &Server, tally: &mut Tally, rng: &mut Rng) {
    let file = server.data().with_extension("backup");
    let mut backup = Command::new(env!("CARGO_BIN_EXE_mailserver"))
        .env_clear()
        .args(["backup", "--data-dir"])
        .args([server.data(), &file])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mailserver starts");
    let after = below(tally.usual_start() * 2, rng);
    pause(after);
    drop(backup.kill());
    let ended = backup.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        matches!(ended.status.code(), None | Some(0)),
        "backup: {said}"
    );
    assert!(
        file.exists() || !ended.status.success(),
        "it said it is there"
    );
    if file.exists() {
        // The kill may have come when it had its name and had not said so.
        check_backup(&file);
    }
    drop(std::fs::remove_file(file));
    tally.strike("backup", after);
}

/// A backup that has its name is whole.
fn check_backup(file: &Path) {
    let verified = Command::new(env!("CARGO_BIN_EXE_mailserver"))
        .env_clear()
        .args(["verify", "--backup"])
        .arg(file)
        .output()
        .expect("mailserver starts");
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{said}");
}

fn below(most: Duration, rng: &mut Rng) -> Duration {
    let most = u64::try_from(most.as_micros()).expect("short");
    Duration::from_micros(rng.below(most))
}

#[test]
fn p03_the_check_of_a_kill_run_can_fail() {
    use common::load::{Acked, Shown};
    let acked = Acked {
        address: "all".into(),
        id: 1,
        sender: 0,
        number: 1,
    };
    let shown = Shown {
        address: "all".into(),
        id: 1,
        sender: 0,
        number: 1,
    };
    let red = |acked: &[Acked], shown: Vec<Shown>| {
        let (acked, shown) = (acked.to_vec(), vec![shown]);
        std::panic::catch_unwind(move || compare(&acked, &shown)).is_err()
    };
    let one = std::slice::from_ref(&acked);
    assert!(!red(one, vec![shown.clone()]), "the good case is good");
    assert!(red(one, vec![]), "a lost mail");
    assert!(
        red(one, vec![shown.clone(), shown.clone()]),
        "a doubled mail"
    );
    let again = Shown {
        id: 2,
        ..shown.clone()
    };
    assert!(
        red(one, vec![shown.clone(), again]),
        "a send carried out twice"
    );
    let later = Acked {
        id: 2,
        number: 2,
        ..acked.clone()
    };
    let swapped = vec![
        Shown {
            id: 1,
            number: 2,
            ..shown.clone()
        },
        Shown { id: 2, ..shown },
    ];
    assert!(red(&[acked, later], swapped), "another order");
}
