//! W6: SIGKILL with a large backlog, then the time until the first send is acknowledged and the first
//! queued mail is received.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::timeout;

use super::Scale;
use super::common::{drain, load, next_body, users};
use crate::report::{Run, Who, emit};
use crate::target::{Mode, Target, To};

/// One more mailbox, empty, for the sends that are timed. It is made before the backlog is loaded,
/// since some peers write a new mailbox itself to disk only after a while.
const EXTRA: &str = "extra";

pub(super) async fn run(t: &mut dyn Target, who: &Who, s: Scale) -> Result<()> {
    let names = users(100);
    let each = s.restart.min(t.restart_backlog()) / names.len() as u64;
    let total = (each * 100) as f64;
    let began = Instant::now();
    load(t, &names, each, Some(&EXTRA.to_string())).await?;
    let loaded = began.elapsed().as_secs_f64();
    let mut runs = Vec::new();
    for user in names.iter().take(s.runs) {
        runs.push(once(t, user).await?);
    }
    runs[0].push(("load_s", loaded));
    runs[0].push((
        "disk_bytes_per_mail",
        t.server().disk_bytes() as f64 / total,
    ));
    let untouched: Vec<String> = names.into_iter().skip(s.runs).take(3).collect();
    let note = read_out(t, &untouched, each).await?;
    emit(who, "w6", &format!("backlog={total}"), &runs, &note);
    Ok(())
}

async fn once(t: &mut dyn Target, user: &str) -> Result<Run> {
    t.checkpoint().await?;
    t.server().kill9();
    let start = Instant::now();
    t.spawn(Mode::Durable)?;
    let limit = start + Duration::from_secs(180);
    let since = || start.elapsed().as_secs_f64() * 1e3;
    while !sends(t).await {
        if Instant::now() > limit || !t.server().running() {
            bail!("not back after a kill\n{}", t.server().log_tail());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let first_send = since();
    while !receives(t, user).await {
        if Instant::now() > limit {
            bail!(
                "no queued mail came after a kill\n{}",
                t.server().log_tail()
            );
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(vec![
        ("first_send_ms", first_send),
        ("first_mail_ms", since()),
        ("rss_mib", t.server().rss_bytes() as f64 / 1_048_576.0),
    ])
}

async fn sends(t: &mut dyn Target) -> bool {
    let tried = timeout(Duration::from_secs(30), async {
        let sender = t.sender().await?;
        sender.send(&To::User(EXTRA.into()), next_body()).await
    });
    matches!(tried.await, Ok(Ok(())))
}

async fn receives(t: &mut dyn Target, user: &str) -> bool {
    let mut mails = Vec::new();
    let tried = timeout(Duration::from_secs(60), async {
        let mut r = t.receiver(user, None).await?;
        r.recv(&mut mails).await
    });
    matches!(tried.await, Ok(Ok(())))
}

/// Mailboxes that no run touched must still give every mail.
async fn read_out(t: &mut dyn Target, users: &[String], each: u64) -> Result<String> {
    let (mut missing, mut repeats) = (0, 0);
    for user in users {
        let mut r = t.receiver(user, None).await?;
        let drained = drain(&mut *r, each, Duration::from_secs(10)).await?;
        missing += each - drained.seen.len() as u64;
        repeats += drained.repeats;
    }
    let count = users.len();
    Ok(format!(
        "{missing} mails missing and {repeats} repeated in {count} mailboxes of {each} read out after the kills"
    ))
}
