//! What is sampled of the server, and what the samples say together.

use std::time::{Duration, Instant};

use correio::protocol::request::AdminWhat;

use crate::common::client::RawClient;
use crate::common::now;
use crate::common::process::{cpu_seconds, open_files, threads};
use crate::common::server::{Server, disk_bytes};
use crate::roles::World;

/// The part of a run in which things fill up: a fifth, but at most ten minutes.
const WARM_UP_MAX: Duration = Duration::from_mins(10);

/// Bytes a mail takes beside its body: its record and keys.
const ENVELOPE_BYTES: u64 = 256;

/// The server at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Seconds since the beginning.
    pub(crate) at: f64,
    pub(crate) rss_kib: u64,
    pub(crate) files: usize,
    pub(crate) threads: usize,
    /// Bytes that the store's files take.
    pub(crate) disk: u64,
    /// Bytes of bodies and envelopes that the server must keep.
    pub(crate) kept: u64,
    pub(crate) mails: u64,
    pub(crate) sessions: u64,
    pub(crate) sends: usize,
    pub(crate) median_ms: f64,
    pub(crate) most_ms: f64,
    /// Processors in use by the server since the sample before.
    pub(crate) cores: f64,
}

impl Sample {
    /// Names of the columns.
    pub(crate) const HEADER: &'static str = "seconds,rss_kib,files,threads,disk_bytes,kept_bytes,kept_mails,sessions,sends,p50_ms,p99_ms,cores";

    /// Returns the columns.
    pub(crate) fn csv(&self) -> String {
        format!(
            "{:.0},{},{},{},{},{},{},{},{},{:.2},{:.2},{:.3}",
            self.at,
            self.rss_kib,
            self.files,
            self.threads,
            self.disk,
            self.kept,
            self.mails,
            self.sessions,
            self.sends,
            self.median_ms,
            self.most_ms,
            self.cores
        )
    }
}

/// Takes samples.
pub(crate) struct Sampler {
    admin: RawClient,
    begin: Instant,
    sends: usize,
    cpu: f64,
    at: f64,
}

impl Sampler {
    /// Begins.
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            admin: RawClient::admin(server),
            begin: now(),
            sends: 0,
            cpu: cpu_seconds(server.pid()),
            at: 0.0,
        }
    }

    /// Looks at the server.
    pub(crate) fn take(&mut self, server: &Server, world: &World) -> Sample {
        let rows = self.admin.admin_rows(AdminWhat::Stats, None);
        let stats = rows.expect("an admin is told").remove(0);
        let number = |name: &str| stats[name].as_u64().expect("a count");
        let pid = server.pid();
        let (sends, at) = (world.sends(), self.begin.elapsed().as_secs_f64());
        let mut recent: Vec<f64> = sends[self.sends..].to_vec();
        recent.sort_by(f64::total_cmp);
        let cpu = cpu_seconds(pid);
        let sample = Sample {
            at,
            rss_kib: server.rss_kib(),
            files: open_files(pid),
            threads: threads(pid),
            disk: disk_bytes(&server.data().join("store")),
            kept: number("bytes_kept") + ENVELOPE_BYTES * number("mails_kept"),
            mails: number("mails_kept"),
            sessions: number("sessions"),
            sends: recent.len(),
            median_ms: percentile(&recent, 50),
            most_ms: percentile(&recent, 99),
            cores: (cpu - self.cpu) / (at - self.at).max(0.001),
        };
        (self.sends, self.cpu, self.at) = (sends.len(), cpu, at);
        sample
    }
}

/// Returns a value of a sorted row; 0 for an empty one.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let place = (sorted.len() * percent / 100).min(last);
    sorted.get(place).copied().unwrap_or(0.0)
}

/// Prints what the samples say.
pub(crate) fn report(samples: &[Sample], world: &World) {
    let Some(end) = samples.last() else {
        return;
    };
    let warm = (end.at / 5.0).min(WARM_UP_MAX.as_secs_f64());
    let steady: Vec<&Sample> = samples.iter().filter(|sample| sample.at >= warm).collect();
    let range = |pick: fn(&Sample) -> u64| {
        let least = steady.iter().map(|sample| pick(sample)).min();
        let most = steady.iter().map(|sample| pick(sample)).max();
        (least.unwrap_or(0), most.unwrap_or(0))
    };
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    println!(
        "\n| after {warm:.0} s of warm-up, over {:.0} s | |",
        end.at - warm
    );
    println!("|---|---|");
    let (least, most) = range(|sample| sample.rss_kib);
    println!(
        "| resident memory | {} to {} MiB, slope {:+.2} MiB/h |",
        least >> 10,
        most >> 10,
        slope(&steady, |sample| sample.rss_kib as f64 / 1_024.0)
    );
    let second_half = &steady[steady.len() / 2..];
    println!(
        "| the same, second half | slope {:+.2} MiB/h |",
        slope(second_half, |sample| sample.rss_kib as f64 / 1_024.0)
    );
    println!("| open files | {:?} |", range(|sample| sample.files as u64));
    println!("| threads | {:?} |", range(|sample| sample.threads as u64));
    println!("| sessions | {:?} |", range(|sample| sample.sessions));
    let (least, most) = range(|sample| sample.disk);
    println!(
        "| store | {:.1} to {:.1} MiB, slope {:+.1} MiB/h |",
        mib(least),
        mib(most),
        slope(&steady, |sample| sample.disk as f64 / 1_048_576.0)
    );
    let (least, most) = range(|sample| sample.kept);
    println!("| kept mail | {:.1} to {:.1} MiB |", mib(least), mib(most));
    let ratios = steady.iter().map(|s| s.disk as f64 / s.kept.max(1) as f64);
    println!(
        "| store by kept mail | at most {:.1}, at the end {:.1} |",
        ratios.fold(0.0, f64::max),
        end.disk as f64 / end.kept.max(1) as f64
    );
    let cores = steady.iter().map(|sample| sample.cores).sum::<f64>();
    println!(
        "| processors used by the server | {:.2} |",
        cores / steady.len().max(1) as f64
    );
    tenths(world);
    println!("| deeds | {} |", world.deeds());
}

fn tenths(world: &World) {
    let sends = world.sends();
    let tenth = sends.len() / 10;
    let row = |what: &str, part: &[f64]| {
        let mut part = part.to_vec();
        part.sort_by(f64::total_cmp);
        println!(
            "| sends, {what} tenth | {} of {}; median {:.2} ms, 99 % {:.2} ms |",
            part.len(),
            sends.len(),
            percentile(&part, 50),
            percentile(&part, 99)
        );
    };
    row("first", &sends[..tenth]);
    row("last", &sends[sends.len() - tenth..]);
}

/// Returns the slope of a value by least squares, an hour.
fn slope(samples: &[&Sample], pick: impl Fn(&Sample) -> f64) -> f64 {
    let count = samples.len().max(1) as f64;
    let mean_x = samples.iter().map(|sample| sample.at).sum::<f64>() / count;
    let mean_y = samples.iter().map(|sample| pick(sample)).sum::<f64>() / count;
    let both = samples.iter().fold((0.0, 0.0), |(xy, xx), sample| {
        let (x, y) = (sample.at - mean_x, pick(sample) - mean_y);
        (xy + x * y, xx + x * x)
    });
    if both.1 == 0.0 {
        0.0
    } else {
        both.0 / both.1 * 3_600.0
    }
}
