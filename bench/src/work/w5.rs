//! W5: latency from send to receipt at a steady 1,000 mails/s, one sender, ten online users.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinHandle;

use super::Scale;
use super::common::{Cpu, body, mailboxes, now_ns, read_body, start_fresh, users};
use crate::report::{Run, Who, emit};
use crate::stat::{Latencies, sharpen_sleep};
use crate::target::{Mode, Receiver, Sender, Target, To};

/// Mails a second.
const RATE: u64 = 1000;

/// Numbers of mails that arrived, and how long each took in nanoseconds.
pub(super) type Arrived = Arc<Mutex<Vec<(u64, u64)>>>;

pub(super) async fn run(t: &mut dyn Target, who: &Who, s: Scale) -> Result<()> {
    let people = People::online(t).await?;
    let mut runs = Vec::new();
    for nth in 0..=s.runs {
        let seconds = if nth == 0 {
            1.0
        } else {
            (s.seconds * 2.5).max(2.0)
        };
        let count = (RATE as f64 * seconds) as u64;
        runs.push(people.once(t, RATE, count).await?);
    }
    emit(who, "w5", "rate=1000/s receivers=10", &runs[1..], "");
    Ok(())
}

/// A sender and ten users online, on a fresh server.
pub(super) struct People {
    pub(super) sender: Arc<dyn Sender>,
    pub(super) to: Vec<To>,
    pub(super) arrived: Arrived,
    tasks: Vec<JoinHandle<()>>,
}

impl People {
    pub(super) async fn online(t: &mut dyn Target) -> Result<Self> {
        start_fresh(t, Mode::Durable).await?;
        let names = users(10);
        t.setup(&names, None).await?;
        let arrived = Arrived::default();
        let mut tasks = Vec::new();
        for user in &names {
            let r = t.receiver(user, None).await?;
            tasks.push(tokio::spawn(note_arrivals(r, arrived.clone())));
        }
        Ok(Self {
            sender: t.sender().await?,
            to: mailboxes(&names),
            arrived,
            tasks,
        })
    }

    /// Sends so many mails at a steady pace, `rate` a second, and waits until all are here.
    pub(super) async fn once(&self, t: &mut dyn Target, rate: u64, count: u64) -> Result<Run> {
        self.arrived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        let cpu = Cpu::start(t);
        let acked = send_at_pace(&*self.sender, &self.to, rate, count).await?;
        let all = all_arrived(&self.arrived, count).await?;
        let mut run: Run = vec![
            ("p50_us", all.us(50.0)),
            ("p99_us", all.us(99.0)),
            ("p999_us", all.us(99.9)),
            ("ack_p50_us", acked.us(50.0)),
            ("ack_p99_us", acked.us(99.0)),
        ];
        cpu.add_to(t, &mut run);
        Ok(run)
    }
}

impl Drop for People {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn note_arrivals(mut r: Box<dyn Receiver>, arrived: Arrived) {
    let mut mails = Vec::new();
    loop {
        mails.clear();
        if r.recv(&mut mails).await.is_err() {
            return;
        }
        let now = now_ns();
        let read = mails.iter().filter_map(|mail| read_body(mail).ok());
        let took = read.map(|(stamp, number)| (number, now.saturating_sub(stamp)));
        arrived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(took);
        if r.ack().await.is_err() {
            return;
        }
    }
}

/// Returns how long the acknowledgements took.
async fn send_at_pace(sender: &dyn Sender, to: &[To], rate: u64, count: u64) -> Result<Latencies> {
    let mut ticks = pacer(rate, count);
    let mut recipients = to.iter().cycle();
    let mut acks = FuturesUnordered::new();
    let mut acked = Latencies::default();
    loop {
        tokio::select! {
            got = ticks.recv() => {
                let (Some((i, stamp)), Some(to)) = (got, recipients.next()) else { break };
                let sending = sender.send(to, body(stamp, i));
                acks.push(async move {
                    sending.await?;
                    Ok::<u64, anyhow::Error>(now_ns() - stamp)
                });
            }
            Some(done) = acks.next(), if !acks.is_empty() => acked.add_ns(done?),
        }
    }
    while let Some(done) = acks.next().await {
        acked.add_ns(done?);
    }
    acked.sort();
    Ok(acked)
}

/// Numbers and time stamps of mails as they are due. A thread of its own keeps the pace, whatever the
/// server does.
fn pacer(rate: u64, count: u64) -> UnboundedReceiver<(u64, u64)> {
    let (tick, ticks) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        sharpen_sleep();
        let start = Instant::now();
        for i in 0..count {
            let due = start + Duration::from_micros(i * 1_000_000 / rate);
            if let Some(left) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(left);
            }
            if tick.send((i, now_ns())).is_err() {
                return;
            }
        }
    });
    ticks
}

/// Waits until each mail is here, exactly once.
async fn all_arrived(arrived: &Arrived, count: u64) -> Result<Latencies> {
    let until = Instant::now() + Duration::from_secs(20);
    let here = || {
        arrived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    };
    while (here().len() as u64) < count {
        if Instant::now() > until {
            bail!("{} of {count} mails arrived", here().len());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut mails = here();
    mails.sort_unstable();
    if !mails.iter().map(|(number, _)| *number).eq(0..count) {
        bail!("{} mails arrived, {count} were sent", mails.len());
    }
    let mut all = Latencies::default();
    mails.iter().for_each(|(_, ns)| all.add_ns(*ns));
    all.sort();
    Ok(all)
}
