//! Latency percentiles and CPU time.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

#[derive(Default, Clone)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    pub fn add_ns(&mut self, ns: u64) {
        self.0.push(ns);
    }
    pub fn add(&mut self, d: Duration) {
        self.0.push(d.as_nanos() as u64);
    }
    pub fn merge(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn sort(&mut self) {
        self.0.sort_unstable();
    }
    /// Nearest-rank percentile in microseconds; call `sort` first.
    pub fn us(&self, percentile: f64) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        let rank = (percentile / 100.0 * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1] as f64 / 1000.0
    }
}

/// CPU seconds this process has used.
pub fn own_cpu() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Nanoseconds of a clock that all processes of the machine share.
pub fn shared_clock_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Lets this thread's sleeps end within a microsecond of their time.
pub fn sharpen_sleep() {
    // Without it sleeps end up to 50 us late: worse figures, no wrong ones.
    rustix::thread::set_current_timer_slack(std::num::NonZero::new(1_000)).ok();
}
