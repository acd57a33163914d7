//! `backlog`: what sending to a mailbox and reading it out cost with 0 to 1,000,000 mails in it. Not one of
//! W1 to W7: for a curve.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::timeout;

use super::Scale;
use super::common::{drain, load, mailboxes, pump, users};
use crate::report::{Run, Who, emit};
use crate::target::Target;

const PATIENCE: Duration = Duration::from_secs(60);

/// Mails sent one by one on top of the backlog.
const LONE: u64 = 1_000;

pub(super) async fn run(t: &mut dyn Target, who: &Who, s: Scale) -> Result<()> {
    for backlog in [0, 1_000, 10_000, 100_000, 1_000_000] {
        if backlog > 10 * s.drain {
            continue;
        }
        let names = users(1);
        load(t, &names, backlog, None).await?;
        let sender = t.sender().await?;
        let far = Instant::now() + Duration::from_secs(60);
        let mut lone = pump(sender, mailboxes(&names), 1, far, LONE).await?;
        lone.sort();
        let begin = Instant::now();
        let mut receiver = t.receiver(&names[0], None).await?;
        let drained = drain(&mut *receiver, backlog + LONE, PATIENCE).await?;
        if (drained.seen.len() as u64) < backlog + LONE {
            bail!("{} of {} mails came", drained.seen.len(), backlog + LONE);
        }
        timeout(PATIENCE, receiver.settle())
            .await
            .context("settling")??;
        let run: Run = vec![
            ("send_p50_us", lone.us(50.0)),
            ("send_p99_us", lone.us(99.0)),
            (
                "first_mail_ms",
                drained.first.unwrap_or_default().as_secs_f64() * 1e3,
            ),
            (
                "mails_per_s",
                (backlog + LONE) as f64 / begin.elapsed().as_secs_f64(),
            ),
            ("rss_mib", t.server().rss_bytes() as f64 / 1_048_576.0),
        ];
        emit(who, "backlog", &format!("backlog={backlog}"), &[run], "");
    }
    Ok(())
}
