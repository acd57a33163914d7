//! W7: server memory for each idle online client, with its own connection and mailbox. One run: the
//! number is already a mean over thousands of clients.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Scale;
use super::common::{start_fresh, users};
use crate::report::{Who, emit};
use crate::target::{Mode, Target};

pub(super) async fn run(t: &mut dyn Target, who: &Who, s: Scale) -> Result<()> {
    let (most, why) = t.most_idle_clients();
    let n = s.idle.min(most);
    start_fresh(t, Mode::Durable).await?;
    // One user first, so that what the server makes once is not counted for each client.
    t.setup(&["first".to_string()], None).await?;
    let empty = rss_after(t, Duration::from_millis(500)).await;
    let names = users(n);
    let began = Instant::now();
    t.setup(&names, None).await?;
    let setup = began.elapsed().as_secs_f64();
    let mailboxes = rss_after(t, Duration::from_millis(500)).await;
    let began = Instant::now();
    let held = t.hold_idle(&names).await?;
    let connect = began.elapsed().as_secs_f64();
    let rss = rss_after(t, Duration::from_secs(3)).await;
    let each = |whole: f64| whole / n as f64;
    let run = vec![
        ("rss_kib_per_client", each(rss - empty) / 1024.0),
        (
            "of_it_offline_mailbox_kib",
            each(mailboxes - empty) / 1024.0,
        ),
        ("rss_mib", rss / 1_048_576.0),
        ("mailbox_ms_each", each(setup * 1e3)),
        ("connect_ms_each", each(connect * 1e3)),
    ];
    drop(held);
    t.server().kill9();
    emit(who, "w7", &format!("clients={n}"), &[run], why);
    Ok(())
}

async fn rss_after(t: &mut dyn Target, pause: Duration) -> f64 {
    tokio::time::sleep(pause).await;
    t.server().rss_bytes() as f64
}
