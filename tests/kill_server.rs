//! P2 and P3 under SIGKILLs of the server at random instants, with senders and readers at work.

mod common;

use std::time::Duration;

use common::load::{Load, compare};
use common::rng::Rng;
use common::server::Server;
use common::{Timed, pause, scale};

const SENDERS: usize = 8;
const READERS: usize = 4;

#[test]
fn p02_p03_kill9_of_the_server_loses_and_doubles_nothing() {
    let _timed = Timed::start("p02_p03_kill9_of_the_server_loses_and_doubles_nothing");
    let kills = scale("CORREIO_KILLS", 100);
    let mut rng = Rng::announced("kill_server");
    let mut server = Server::start();
    let load = Load::begin(&server, &mut rng, SENDERS, READERS);
    let (mut met, mut ready) = (0, Duration::ZERO);
    for _ in 0..kills {
        load.wait_for_acks(1 + rng.below(20));
        pause(Duration::from_micros(rng.below(150_000)));
        met += usize::from(load.unanswered() > 0);
        server.kill9();
        ready += server.restart_timed();
    }
    let (acked, shown) = load.finish();
    let seen: usize = shown.iter().map(Vec::len).sum();
    println!(
        "{kills} kills, {met} met unanswered sends; {} mails acknowledged, {seen} shown; {} ms to \
         ready on average",
        acked.len(),
        ready.as_millis() / kills.max(1) as u128,
    );
    compare(&acked, &shown);
    assert!(
        met * 100 >= kills * 80,
        "too few kills met unanswered sends"
    );
    assert!(seen > 0 && !acked.is_empty());
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
