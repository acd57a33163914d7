//! What the workloads share: numbered bodies, sends in flight, CPU time, loading a backlog.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

use crate::report::Run;
use crate::stat::{Latencies, own_cpu};
use crate::target::{Mode, Receiver, Sender, Target, To};

const BODY: usize = 512;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Begins the clock of [`now_ns`].
pub fn start_clock() {
    LazyLock::force(&EPOCH);
}

/// Returns nanoseconds since the clock began.
pub fn now_ns() -> u64 {
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Makes a 512-byte body: time stamp, number, then bytes that do not compress.
pub fn body(stamp: u64, number: u64) -> Bytes {
    let mut b = Vec::with_capacity(BODY);
    b.extend_from_slice(&stamp.to_le_bytes());
    b.extend_from_slice(&number.to_le_bytes());
    let mut x = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while b.len() < BODY {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        b.extend_from_slice(&x.to_le_bytes());
    }
    Bytes::from(b)
}

/// Reads a body's time stamp and number.
pub fn read_body(b: &[u8]) -> Result<(u64, u64)> {
    if b.len() != BODY {
        bail!("a mail of {} bytes arrived, {BODY} were sent", b.len());
    }
    let word = |i: usize| Ok::<_, anyhow::Error>(u64::from_le_bytes(b[i..i + 8].try_into()?));
    Ok((word(0)?, word(8)?))
}

/// Makes a body with the time of now and a number never used before.
pub fn next_body() -> Bytes {
    body(now_ns(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Returns the names of so many users.
pub fn users(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("user{i:05}")).collect()
}

/// Returns these users as recipients.
pub fn mailboxes(users: &[String]) -> Vec<To> {
    users.iter().cloned().map(To::User).collect()
}

/// Tries until the server answers.
async fn up(t: &mut dyn Target, limit: Duration) -> Result<()> {
    let until = Instant::now() + limit;
    loop {
        let why = match timeout(Duration::from_secs(10), t.ping()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(e)) => format!("{e:#}"),
            Err(_) => "no answer in 10 s".to_string(),
        };
        if !t.server().running() {
            bail!("server ended: {why}\n{}", t.server().log_tail());
        }
        if Instant::now() > until {
            bail!("server does not answer: {why}\n{}", t.server().log_tail());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Starts the server on a fresh data directory.
pub async fn start_fresh(t: &mut dyn Target, mode: Mode) -> Result<()> {
    t.fresh()?;
    t.spawn(mode)?;
    up(t, Duration::from_secs(60)).await
}

/// CPU used by server and harness over a stretch of time, in percent of one core.
pub struct Cpu {
    at: Instant,
    server: f64,
    own: f64,
}

impl Cpu {
    /// Begins the stretch.
    pub fn start(t: &mut dyn Target) -> Self {
        Cpu {
            at: Instant::now(),
            server: t.server().cpu(),
            own: own_cpu(),
        }
    }

    /// Ends it.
    pub fn add_to(&self, t: &mut dyn Target, run: &mut Run) {
        let wall = self.at.elapsed().as_secs_f64();
        let percent = |used: f64| used / wall * 100.0;
        run.push(("server_cpu_pct", percent(t.server().cpu() - self.server)));
        run.push(("harness_cpu_pct", percent(own_cpu() - self.own)));
    }
}

/// Keeps `window` sends in flight until the deadline (or until `most` were sent); how long each took
/// until it was acknowledged.
pub async fn pump(
    sender: Arc<dyn Sender>,
    to: Vec<To>,
    window: usize,
    until: Instant,
    most: u64,
) -> Result<Latencies> {
    let mut flying = FuturesUnordered::new();
    let mut lat = Latencies::default();
    let mut recipients = to.iter().cycle();
    let mut sent = 0;
    loop {
        while flying.len() < window && sent < most && Instant::now() < until {
            let to = recipients.next().context("nobody to send to")?;
            flying.push(timed(&*sender, to));
            sent += 1;
        }
        match timeout(Duration::from_secs(60), flying.next()).await {
            Ok(Some(done)) => lat.add(done?),
            Ok(None) => return Ok(lat),
            Err(_) => bail!("no acknowledgement for 60 s"),
        }
    }
}

fn timed(sender: &dyn Sender, to: &To) -> impl Future<Output = Result<Duration>> + use<> {
    let at = Instant::now();
    let sending = sender.send(to, next_body());
    async move {
        sending.await?;
        Ok(at.elapsed())
    }
}

/// Fills mailboxes quickly, then makes sure the server runs as `Durable`. The mailbox of `extra` is
/// made, and stays empty.
pub async fn load(
    t: &mut dyn Target,
    users: &[String],
    each: u64,
    extra: Option<&String>,
) -> Result<()> {
    let mode = if t.has_loading_mode() {
        Mode::Loading
    } else {
        Mode::Durable
    };
    start_fresh(t, mode).await?;
    t.setup(users, None).await?;
    if let Some(extra) = extra {
        t.setup(std::slice::from_ref(extra), None).await?;
    }
    fill(t, users, each * users.len() as u64).await?;
    if mode == Mode::Loading {
        t.server().stop(Duration::from_secs(60));
        t.spawn(Mode::Durable)?;
        up(t, Duration::from_secs(120)).await?;
    }
    Ok(())
}

async fn fill(t: &mut dyn Target, users: &[String], total: u64) -> Result<()> {
    const CLIENTS: u64 = 4;
    let far = Instant::now() + Duration::from_secs(600);
    let mut tasks = Vec::new();
    for c in 0..CLIENTS {
        let sender = t.sender().await?;
        // Each client takes its share of every mailbox.
        let share = total / CLIENTS + u64::from(c < total % CLIENTS);
        let mut to = mailboxes(users);
        let by = usize::try_from(c)? * to.len() / 4 % to.len();
        to.rotate_left(by);
        tasks.push(tokio::spawn(pump(sender, to, 256, far, share)));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// What came out of a mailbox.
#[derive(Default)]
pub struct Drained {
    /// Different mails.
    pub seen: HashSet<u64>,
    /// Mails that came again.
    pub repeats: u64,
    /// Time until the first.
    pub first: Option<Duration>,
}

/// Receives and acknowledges so many mails, each checked off by number. Ends early when nothing comes
/// for `patience`.
pub async fn drain(r: &mut dyn Receiver, count: u64, patience: Duration) -> Result<Drained> {
    let start = Instant::now();
    let mut drained = Drained::default();
    let mut mails = Vec::new();
    while (drained.seen.len() as u64) < count {
        mails.clear();
        match timeout(patience, r.recv(&mut mails)).await {
            Ok(done) => done?,
            Err(_) => break,
        }
        drained.first.get_or_insert_with(|| start.elapsed());
        for mail in &mails {
            if !drained.seen.insert(read_body(mail)?.1) {
                drained.repeats += 1;
            }
        }
        r.ack().await?;
    }
    Ok(drained)
}
