//! `load`: send to receipt against offered load, from a tenth to nearly all of what one sender gets through
//! to ten online users. Not one of W1 to W7: for a curve.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Scale;
use super::common::pump;
use super::w5::People;
use crate::report::{Who, emit};
use crate::target::Target;

/// Of the rate with 256 in flight, in percent.
const SHARES: [u64; 6] = [10, 25, 50, 75, 90, 95];

pub(super) async fn run(t: &mut dyn Target, who: &Who, s: Scale) -> Result<()> {
    let people = People::online(t).await?;
    saturate(&people, Duration::from_millis(500)).await?;
    let most = saturate(&people, Duration::from_secs_f64(s.seconds)).await?;
    for share in SHARES {
        let rate = (most * share / 100).max(1);
        let mut runs = Vec::new();
        for _ in 0..s.runs {
            let mut run = people
                .once(t, rate, (rate as f64 * s.seconds) as u64)
                .await?;
            run.insert(0, ("offered_per_s", rate as f64));
            runs.push(run);
        }
        emit(
            who,
            "load",
            &format!("load={share}%"),
            &runs,
            "of the rate with 256 in flight",
        );
    }
    Ok(())
}

/// Returns how many mails a second get through with 256 in flight, and waits until all of them are here.
async fn saturate(people: &People, span: Duration) -> Result<u64> {
    let here = || {
        people
            .arrived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    };
    let before = here();
    let begin = Instant::now();
    let sent = pump(
        people.sender.clone(),
        people.to.clone(),
        256,
        begin + span,
        u64::MAX,
    )
    .await?;
    let rate = sent.len() as f64 / begin.elapsed().as_secs_f64();
    while here() < before + sent.len() {
        if begin.elapsed() > span + Duration::from_secs(30) {
            bail!("{} of {} mails arrived", here() - before, sent.len());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(rate as u64)
}
