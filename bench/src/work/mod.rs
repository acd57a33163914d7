//! The workloads W1 to W7, the same for every target, and two for curves.

mod backlog;
mod common;
mod fanout;
mod load;
mod w1;
mod w2;
mod w3;
mod w4;
mod w5;
mod w6;
mod w7;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::report::Who;
use crate::target::Target;

/// All of them, in order.
pub const ALL: &[&str] = &["w1", "w2", "w3", "w4", "w5", "w6", "w7"];

/// How much work to do; `--quick` is for trying the harness out, not for numbers to keep.
#[derive(Clone, Copy)]
pub struct Scale {
    /// Runs of each case.
    pub runs: usize,
    /// Length of a run.
    pub seconds: f64,
    /// Mails of the backlog that W3 drains.
    pub drain: u64,
    /// Mails that wait when W6 kills the server.
    pub restart: u64,
    /// Offline subscribers of W4's topic.
    pub offline: &'static [usize],
    /// Idle clients of W7.
    pub idle: usize,
    /// Online subscribers of W2's topic.
    pub online: &'static [usize],
}

impl Scale {
    /// What figures are measured with.
    pub fn full() -> Self {
        Scale {
            runs: 3,
            seconds: 2.0,
            drain: 100_000,
            restart: 1_000_000,
            offline: &[1, 100, 1_000, 10_000],
            idle: 5_000,
            online: &[100, 1_000],
        }
    }

    /// Everything once, small.
    pub fn quick() -> Self {
        Scale {
            runs: 1,
            seconds: 1.0,
            drain: 5_000,
            restart: 20_000,
            offline: &[1, 100],
            idle: 200,
            online: &[20],
        }
    }

    /// Returns the length of a run; of the first, which warms up and is not counted, half a second.
    fn span(&self, nth: usize) -> Duration {
        if nth == 0 {
            Duration::from_millis(500)
        } else {
            Duration::from_secs_f64(self.seconds)
        }
    }
}

/// Runs one workload and prints its lines.
pub async fn run(t: &mut dyn Target, workload: &str, s: Scale) -> Result<()> {
    common::start_clock();
    let who = Who {
        peer: t.peer(),
        version: t.version(),
        ack_means: t.ack_means().into(),
        disk_probe: crate::limits::probe(),
    };
    match workload {
        "w1" => w1::run(t, &who, s).await,
        "w2" => w2::run(t, &who, s).await,
        "w3" => w3::run(t, &who, s).await,
        "w4" => w4::run(t, &who, s).await,
        "w5" => w5::run(t, &who, s).await,
        "w6" => w6::run(t, &who, s).await,
        "w7" => w7::run(t, &who, s).await,
        "load" => load::run(t, &who, s).await,
        "backlog" => backlog::run(t, &who, s).await,
        other => bail!("unknown workload {other}"),
    }
}
