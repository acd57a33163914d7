//! P2 through power cuts: the real server on a disk that loses whatever was not synced, under load; also
//! cut in its first start, in its recovery and in its stop.
//!
//! Ten cuts, or `CORREIO_CUTS`; a fresh disk now and then, so that a long run stays as quick as it began.

mod common;

use std::path::Path;
use std::time::Duration;

use common::disk::Disk;
use common::load::Load;
use common::rng::Rng;
use common::server::{Plan, Server};
use common::tally::Tally;
use common::{Timed, pause, scale, skip};
use rustix::process::Signal;

const SENDERS: usize = 4;
const READERS: usize = 4;

/// Cuts of one disk.
const CUTS_PER_DISK: usize = 40;

#[test]
fn p02_power_cuts_of_the_server_lose_nothing_and_it_always_opens() {
    let _timed = Timed::start("p02_power_cuts_of_the_server_lose_nothing_and_it_always_opens");
    let folder = tempfile::tempdir().expect("a folder");
    if let Err(why) = Disk::make(folder.path(), "probe") {
        let why = format!("no loop mounts: {why}");
        return skip("p02_power_cuts_of_the_server", &why);
    }
    let mut tally = Tally::begin("power cuts", scale("CORREIO_CUTS", 10));
    let mut rng = Rng::announced("power_cut_server");
    while tally.left() > 0 {
        one_disk(folder.path(), &mut tally, &mut rng);
    }
}

/// Cuts the power of one disk again and again, from the server's first start on.
fn one_disk(folder: &Path, tally: &mut Tally, rng: &mut Rng) {
    let disk = Disk::make(folder, "disk").expect("one was made before");
    let server = Server::unstarted(Plan::loopback(disk.path().join("data"), 4));
    let mut bench = Bench {
        folder,
        server,
        disk,
    };
    let end = tally.struck + CUTS_PER_DISK.min(tally.left());
    bench.cut_start("first start", tally, rng);
    tally.start(bench.server.restart_timed());
    let load = Load::begin(&bench.server, rng, SENDERS, READERS);
    while tally.struck < end {
        load.wait_for_acks(50 + rng.below(200));
        let after = Duration::from_micros(rng.below(300_000));
        if rng.below(8) == 0 {
            bench.server.signal(Signal::TERM);
            pause(after / 10);
            bench.cut(tally);
            tally.strike("stop", after / 10);
        } else {
            pause(after);
            let unanswered = load.unanswered();
            bench.cut(tally);
            tally.strike_at_work(after, unanswered);
        }
        if rng.below(6) == 0 {
            bench.cut_start("recovery", tally, rng);
        }
        tally.start(bench.server.restart_timed());
    }
    let (acked, shown) = load.finish();
    tally.settle(&acked, &shown);
}

/// A server and the disk under it.
struct Bench<'f> {
    folder: &'f Path,
    /// Before the disk: it ends first.
    server: Server,
    disk: Disk,
}

impl Bench<'_> {
    /// Takes the disk as it is on the platter and forgets the machine around it.
    fn cut(&mut self, tally: &Tally) {
        self.server.signal(Signal::STOP);
        let name = format!("disk-{}", tally.struck);
        let after = self.disk.after_a_cut(self.folder, &name);
        self.server.kill9();
        self.disk = after.expect("a disk is there after a cut");
        self.server.move_to(self.disk.path().join("data"));
    }

    fn cut_start(&mut self, which: &str, tally: &mut Tally, rng: &mut Rng) {
        let most = u64::try_from(tally.usual_start().as_micros() * 6 / 5).expect("short");
        let after = Duration::from_micros(rng.below(most));
        self.server.begin();
        pause(after);
        self.cut(tally);
        tally.strike(which, after);
    }
}
