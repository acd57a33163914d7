//! P2 through power cuts: the real server on a disk that loses whatever was not synced, under load.

mod common;

use std::time::Duration;

use common::disk::Disk;
use common::load::{Load, compare};
use common::rng::Rng;
use common::server::{Plan, Server};
use common::{Timed, pause, scale, skip};
use rustix::process::Signal;

const SENDERS: usize = 4;
const READERS: usize = 4;

#[test]
fn p02_power_cuts_of_the_server_lose_nothing_and_it_always_opens() {
    let _timed = Timed::start("p02_power_cuts_of_the_server_lose_nothing_and_it_always_opens");
    let cuts = scale("CORREIO_CUTS", 10);
    let mut rng = Rng::announced("power_cut_server");
    let folder = tempfile::tempdir().expect("a folder");
    let mut disk = match Disk::make(folder.path(), "disk-0") {
        Ok(disk) => disk,
        Err(why) => {
            return skip(
                "p02_power_cuts_of_the_server",
                &format!("no loop mounts: {why}"),
            );
        }
    };
    let mut server = Server::planned(Plan::loopback(disk.path().join("data"), 4));
    let load = Load::begin(&server, &mut rng, SENDERS, READERS);
    let mut met = 0;
    for cut in 1..=cuts {
        load.wait_for_acks(50 + rng.below(200));
        pause(Duration::from_micros(rng.below(300_000)));
        met += usize::from(load.unanswered() > 0);
        server.signal(Signal::STOP);
        let after = disk.after_a_cut(folder.path(), &format!("disk-{cut}"));
        server.kill9();
        disk = after.expect("a disk is there after a cut");
        server.move_to(disk.path().join("data"));
        server.restart();
    }
    let (acked, shown) = load.finish();
    let seen: usize = shown.iter().map(Vec::len).sum();
    println!(
        "{cuts} cuts, {met} met unanswered sends; {} mails acknowledged, {seen} shown",
        acked.len()
    );
    compare(&acked, &shown);
    drop(server);
}
