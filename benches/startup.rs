//! How long a person or a script waits for `mailctl` to start: from the start of the process to its end.
//!
//! `cargo bench --bench startup`. It prints; it judges nothing. `docs/figures.md` keeps what it printed,
//! with the machine and the date. `CORREIO_BENCH_STARTS` changes how often each is started.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints, and a step that fails ends it"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::ctl::Ctl;
use common::server::Server;
use common::{now, scale};

fn main() {
    let starts = scale("CORREIO_BENCH_STARTS", 200);
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let [ana, bob] = ["ana", "bob"].map(|name| {
        let ctl = Ctl::new(&server, &folder.path().join(name));
        ctl.ok(&["login", name]);
        ctl
    });
    for _ in 0..100 {
        bob.ok(&["send", "ana", "-b", "hello"]);
    }
    ana.ok(&["refresh"]);
    println!("| from start to end of the process | median | 99 % |");
    println!("|---|---:|---:|");
    row("true (what starting any process costs)", starts, || {
        Command::new("true")
    });
    for (what, words) in [
        ("mailctl --help", &["--help"][..]),
        ("mailctl help send", &["help", "send"]),
        (
            "a Tab after mailctl send",
            &["__complete", "zsh", "mailctl", "send", ""],
        ),
        ("mailctl status --offline", &["status", "--offline"]),
        ("mailctl status", &["status"]),
        ("mailctl refresh with nothing waiting", &["refresh"]),
        ("mailctl whoami", &["whoami"]),
        ("mailctl send", &["send", "bob", "-b", "x"]),
    ] {
        row(what, starts, || ana.command(words));
    }
}

fn row(what: &str, starts: usize, command: impl Fn() -> Command) {
    let mut times: Vec<Duration> = (0..starts).map(|_| timed(command())).collect();
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!("| `{what}` | {:.2?} | {:.2?} |", at(50), at(99));
}

fn timed(mut command: Command) -> Duration {
    let begin = now();
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let took = begin.elapsed();
    assert!(status.success(), "{command:?}");
    took
}
