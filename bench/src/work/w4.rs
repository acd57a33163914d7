//! W4: what a publish costs, and what a mail takes on disk, as the number of offline durable
//! subscribers of a topic grows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::timeout;

use super::Scale;
use super::common::{pump, start_fresh, users};
use crate::report::{Run, Who, emit, emit_skip};
use crate::target::{Mode, Sender, Target, To};

const TOPIC: &str = "news";

pub(super) async fn run(t: &mut dyn Target, who: &Who, s: Scale) -> Result<()> {
    for &n in s.offline {
        let case = format!("offline_subscribers={n}");
        let (most, why) = t.most_offline_subscribers();
        if n > most {
            emit_skip(who, "w4", &case, why);
            continue;
        }
        start_fresh(t, Mode::Durable).await?;
        let began = Instant::now();
        match timeout(Duration::from_secs(150), t.setup(&users(n), Some(TOPIC))).await {
            Ok(done) => done?,
            Err(_) => {
                emit_skip(who, "w4", &case, "subscribing them took more than 150 s");
                continue;
            }
        }
        let each_ms = began.elapsed().as_secs_f64() * 1e3 / n as f64;
        let publisher = Publisher::new(t.sender().await?, n, s);
        let mut runs = publisher.measure(t, s.runs).await?;
        runs[0].push(("subscribe_ms_each", each_ms));
        let note = format!("windowed: {} in flight", publisher.window);
        emit(who, "w4", &case, &runs, &note);
        t.server().kill9();
    }
    Ok(())
}

struct Publisher {
    sender: Arc<dyn Sender>,
    window: usize,
    span: Duration,
    /// Bounds what a server that makes a copy for each subscriber must hold.
    most: u64,
}

impl Publisher {
    fn new(sender: Arc<dyn Sender>, subscribers: usize, s: Scale) -> Self {
        let rounds = 2 * s.runs as u64 + 1;
        Publisher {
            sender,
            window: if subscribers < 10_000 { 16 } else { 4 },
            span: s.span(1).mul_f64(0.6),
            most: (20_000_000 / subscribers as u64 / rounds).clamp(10, 20_000),
        }
    }

    async fn publish(&self, window: usize, most: u64) -> Result<(crate::stat::Latencies, f64)> {
        let start = Instant::now();
        let to = vec![To::Topic(TOPIC.into())];
        let mut lat = pump(self.sender.clone(), to, window, start + self.span, most).await?;
        let rate = lat.len() as f64 / start.elapsed().as_secs_f64();
        lat.sort();
        Ok((lat, rate))
    }

    async fn measure(&self, t: &mut dyn Target, runs: usize) -> Result<Vec<Run>> {
        self.publish(1, self.most.min(20)).await?;
        t.checkpoint().await?;
        let (disk, rss) = (t.server().disk_bytes(), t.server().rss_bytes());
        let (mut mails, mut all) = (0, Vec::new());
        for _ in 0..runs {
            let (one, alone) = self.publish(1, self.most).await?;
            let (many, together) = self.publish(self.window, self.most).await?;
            mails += one.len() + many.len();
            all.push(vec![
                ("publishes_per_s_1_in_flight", alone),
                ("p50_us", one.us(50.0)),
                ("p99_us", one.us(99.0)),
                ("publishes_per_s_windowed", together),
            ]);
        }
        // Give servers that write behind a moment.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        t.checkpoint().await?;
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / mails as f64;
        all[0].push(("disk_bytes_per_mail", each(t.server().disk_bytes(), disk)));
        all[0].push(("rss_bytes_per_mail", each(t.server().rss_bytes(), rss)));
        all[0].push(("mails_sent", mails as f64));
        Ok(all)
    }
}
