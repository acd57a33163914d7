//! W3: a user comes back to 100,000 mails: receive and acknowledge them all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::timeout;

use super::Scale;
use super::common::{Cpu, drain, load, users};
use crate::report::{Run, Who, emit};
use crate::target::Target;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(t: &mut dyn Target, who: &Who, s: Scale) -> Result<()> {
    let names = users(s.runs);
    load(t, &names, s.drain, None).await?;
    let mut runs = Vec::new();
    for user in &names {
        runs.push(once(t, user, s.drain).await?);
    }
    emit(who, "w3", &format!("backlog={}", s.drain), &runs, "");
    Ok(())
}

async fn once(t: &mut dyn Target, user: &str, count: u64) -> Result<Run> {
    let cpu = Cpu::start(t);
    let start = Instant::now();
    let mut r = t.receiver(user, None).await?;
    let connected = start.elapsed();
    let drained = drain(&mut *r, count, PATIENCE).await?;
    let seen = drained.seen.len() as u64;
    if seen < count {
        bail!("drain stalled at {seen} of {count} mails");
    }
    timeout(PATIENCE, r.settle()).await.context("settling")??;
    let wall = start.elapsed().as_secs_f64();
    let first = connected + drained.first.unwrap_or_default();
    let mut run: Run = vec![
        ("mails_per_s", count as f64 / wall),
        ("first_mail_ms", first.as_secs_f64() * 1e3),
        ("repeats", drained.repeats as f64),
    ];
    cpu.add_to(t, &mut run);
    Ok(run)
}
