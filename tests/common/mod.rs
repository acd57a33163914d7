//! The harness of the end-to-end tests: real `mailserver` and `mailctl` processes, and a client of
//! its own that speaks the wire by hand, so that a fault in `correio::client` hides none in the
//! server.
//!
//! Nothing here sleeps to let something happen: it waits for a line, a reply or a notice, with a
//! deadline. Start with [`server::Server`] and [`client::RawClient`].

#![allow(dead_code, reason = "each test program uses its part of the harness")]
#![allow(unreachable_pub, reason = "shared by several test programs")]
#![allow(
    clippy::disallowed_methods,
    reason = "these tests drive real processes in real time"
)]
#![allow(
    clippy::print_stdout,
    reason = "seeds, sizes and figures belong in a test's output"
)]

pub mod browser;
pub mod chat;
pub mod client;
pub mod crowd;
pub mod ctl;
pub mod cut;
pub mod disk;
pub mod faketime;
pub mod faults;
pub mod hostile;
pub mod hosts;
pub mod http;
pub mod life;
pub mod load;
pub mod person;
pub mod ports;
pub mod process;
pub mod rng;
pub mod schema;
pub mod server;
pub mod story;
pub mod talker;
pub mod tally;
pub mod terminal;
pub mod tmux;
pub mod trace;
pub mod watch;
pub mod zmtp;

use std::time::{Duration, Instant};

/// How long anything that should happen at once may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the number in an environment variable, or `short`, and prints which form runs.
pub fn scale(variable: &str, short: usize) -> usize {
    let asked = std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok());
    let size = asked.unwrap_or(short);
    println!("{variable}={size} (short form: {short})");
    size
}

/// Says loudly that a test did not run, and fails it where nothing may be skipped.
pub fn skip(name: &str, reason: &str) {
    println!("SKIPPED: {name}, {reason}");
    assert!(
        std::env::var_os("CORREIO_NO_SKIP").is_none_or(|value| value != "1"),
        "{name} was skipped ({reason}) and CORREIO_NO_SKIP=1 allows no skips"
    );
}

/// Prints how long a test took when it ends.
pub struct Timed {
    name: &'static str,
    start: Instant,
}

impl Timed {
    /// Starts the clock of the test `name`.
    pub fn start(name: &'static str) -> Self {
        Self {
            name,
            start: Instant::now(),
        }
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        println!(
            "TIME: {} {:.1} s",
            self.name,
            self.start.elapsed().as_secs_f64()
        );
    }
}

/// Polls `found` until it yields something, for what gives no event to wait on (the state of another
/// process); fails the test after [`PATIENCE`].
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "never saw: {what}");
        pause(Duration::from_millis(5));
    }
}

/// Returns the monotonic clock.
pub fn now() -> Instant {
    Instant::now()
}

/// Returns the wall clock in seconds since the epoch.
pub fn wall_s() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs_f64()
}

/// Lets time pass where time itself is what a test is about (terms, random instants).
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
