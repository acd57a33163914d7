//! W2: one sender, a topic with many online subscribers. Each has a connection of its own and
//! acknowledges what it receives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Scale;
use super::common::{Cpu, body, now_ns, start_fresh, users};
use super::fanout::{FanOut, SLOTS, subscribe};
use crate::report::{Run, Who, emit};
use crate::target::{Mode, Sender, Target, To};

const TOPIC: &str = "news";

pub(super) async fn run(t: &mut dyn Target, who: &Who, s: Scale) -> Result<()> {
    for &n in s.online {
        start_fresh(t, Mode::Durable).await?;
        let shared = Arc::new(FanOut::new(n)?);
        let subscribers = bring_online(t, n, &shared).await?;
        let sender = t.sender().await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        for window in [1usize, 16] {
            let mut runs = Vec::new();
            for nth in 0..=s.runs {
                runs.push(once(t, &sender, &shared, window, s.span(nth)).await?);
            }
            let case = format!("subscribers={n} mails_in_flight={window}");
            let note = "latency: send to receipt, over all deliveries";
            emit(who, "w2", &case, &runs[1..], note);
        }
        for subscriber in subscribers {
            subscriber.abort();
        }
    }
    Ok(())
}

async fn bring_online(
    t: &mut dyn Target,
    n: usize,
    shared: &Arc<FanOut>,
) -> Result<Vec<JoinHandle<()>>> {
    let names = users(n);
    t.setup(&names, Some(TOPIC)).await?;
    let connecting = names.iter().map(|u| t.receiver(u, Some(TOPIC)));
    let mut connected = futures::stream::iter(connecting).buffer_unordered(32);
    let mut receivers = Vec::new();
    while let Some(r) = connected.next().await {
        receivers.push(r.context("connecting a subscriber")?);
    }
    let tasks = receivers
        .into_iter()
        .map(|r| tokio::spawn(subscribe(r, shared.clone())));
    Ok(tasks.collect())
}

/// Sends for as long as `span`; the next mail goes out when a mail under way has reached everybody.
async fn once(
    t: &mut dyn Target,
    sender: &Arc<dyn Sender>,
    shared: &FanOut,
    window: usize,
    span: Duration,
) -> Result<Run> {
    let slots = Arc::new(Semaphore::new(window));
    let base = shared.begin(slots.clone());
    let cpu = Cpu::start(t);
    let start = Instant::now();
    let mut sent = 0;
    let mut acks = FuturesUnordered::new();
    while start.elapsed() < span && sent < SLOTS as u64 {
        take(&slots, 1, Duration::from_secs(30)).await?;
        let mail = body(now_ns(), base + sent);
        acks.push(tokio::spawn(sender.send(&To::Topic(TOPIC.into()), mail)));
        sent += 1;
    }
    take(&slots, window, Duration::from_secs(60)).await?;
    let wall = start.elapsed().as_secs_f64();
    while let Some(ack) = acks.next().await {
        ack??;
    }
    let lat = shared.end(sent)?;
    let mut run: Run = vec![
        ("deliveries_per_s", lat.len() as f64 / wall),
        ("publishes_per_s", sent as f64 / wall),
        ("p50_us", lat.us(50.0)),
        ("p99_us", lat.us(99.0)),
    ];
    cpu.add_to(t, &mut run);
    Ok(run)
}

async fn take(slots: &Semaphore, count: usize, patience: Duration) -> Result<()> {
    match timeout(patience, slots.acquire_many(u32::try_from(count)?)).await {
        Ok(permits) => permits?.forget(),
        Err(_) => bail!("a mail did not reach all subscribers within {patience:?}"),
    }
    Ok(())
}
