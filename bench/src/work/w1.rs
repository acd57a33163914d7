//! W1: sends acknowledged as durable, to 100 mailboxes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use super::Scale;
use super::common::{Cpu, mailboxes, pump, start_fresh, users};
use crate::report::{Run, Who, emit};
use crate::stat::Latencies;
use crate::target::{Mode, Sender, Target};

/// Clients, and sends each has in flight.
const CASES: [(usize, usize); 3] = [(1, 1), (1, 256), (16, 16)];

pub(super) async fn run(t: &mut dyn Target, who: &Who, s: Scale) -> Result<()> {
    start_fresh(t, Mode::Durable).await?;
    let users = users(100);
    t.setup(&users, None).await?;
    for (clients, window) in CASES {
        let mut senders = Vec::new();
        for _ in 0..clients {
            senders.push(t.sender().await?);
        }
        let mut runs = Vec::new();
        for nth in 0..=s.runs {
            let until = Instant::now() + s.span(nth);
            runs.push(once(t, &senders, &users, window, until).await?);
        }
        let case = format!("clients={clients} in_flight={window}");
        emit(who, "w1", &case, &runs[1..], "");
    }
    Ok(())
}

async fn once(
    t: &mut dyn Target,
    senders: &[Arc<dyn Sender>],
    users: &[String],
    window: usize,
    until: Instant,
) -> Result<Run> {
    let cpu = Cpu::start(t);
    let start = Instant::now();
    let mut tasks = Vec::new();
    for (i, sender) in senders.iter().enumerate() {
        // Clients start at different mailboxes.
        let mut to = mailboxes(users);
        to.rotate_left(i * 6 % users.len());
        tasks.push(tokio::spawn(pump(
            sender.clone(),
            to,
            window,
            until,
            u64::MAX,
        )));
    }
    let mut lat = Latencies::default();
    for task in tasks {
        lat.merge(task.await??);
    }
    let wall = start.elapsed().as_secs_f64();
    lat.sort();
    let mut run: Run = vec![
        ("mails_per_s", lat.len() as f64 / wall),
        ("p50_us", lat.us(50.0)),
        ("p99_us", lat.us(99.0)),
    ];
    cpu.add_to(t, &mut run);
    Ok(run)
}
