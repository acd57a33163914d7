//! A long run under a mixed load that leaves most of the machine free: does memory grow, do open files,
//! does the store, do sends get slower?
//!
//! `cargo bench --bench soak`; `CORREIO_SOAK_SECONDS` (3,600), and `CORREIO_SOAK_CSV`, a file for the
//! samples of every ten seconds. Who does what is in [`roles`]. It prints; it judges nothing but that
//! the server lives and that nobody was refused what is theirs.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement prints, and its counts are far below 2^52"
)]

#[path = "../../tests/common/mod.rs"]
mod common;
mod roles;
mod samples;

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use common::server::Server;
use common::{now, pause, scale};
use roles::World;
use samples::{Sample, Sampler, report};

/// Time between two samples.
const EVERY: Duration = Duration::from_secs(10);

fn main() {
    let seconds = scale("CORREIO_SOAK_SECONDS", 3_600);
    let length = Duration::from_secs(seconds as u64);
    // Short terms, so that what ends by itself ends many times; the rest are defaults.
    let server = Server::start_with(
        16,
        &[
            "--lease-ttl",
            "30s",
            "--port-rest",
            "5s",
            "--invitation-ttl",
            "20s",
            "--history-mails",
            "300",
        ],
    );
    let world = Arc::new(World::new());
    let threads = roles::start(&server, &world);
    println!("{} roles for {seconds} s", threads.len());
    let mut csv = std::env::var_os("CORREIO_SOAK_CSV")
        .map(|path| File::create(path).expect("the file for the samples"));
    write_line(&mut csv, Sample::HEADER);
    let mut sampler = Sampler::new(&server);
    let mut taken = Vec::new();
    let begin = now();
    while begin.elapsed() < length {
        pause(EVERY.min(length.saturating_sub(begin.elapsed())));
        let sample = sampler.take(&server, &world);
        write_line(&mut csv, &sample.csv());
        if taken.len() % 6 == 5 {
            println!("<!-- {} -->", sample.csv());
        }
        taken.push(sample);
        let died = threads
            .iter()
            .position(std::thread::JoinHandle::is_finished);
        assert!(died.is_none(), "role {died:?} died");
    }
    world.stop();
    for thread in threads {
        thread.join().expect("a role ends well");
    }
    report(&taken, &world);
}

fn write_line(csv: &mut Option<File>, line: &str) {
    if let Some(file) = csv {
        writeln!(file, "{line}").expect("a sample can be written");
    }
}
