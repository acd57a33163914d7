//! `correio-bench <peer> <workload>`: one JSON line per result on standard output.

mod child;
mod goals;
mod limits;
mod picture;
mod report;
mod server;
mod stat;
mod summary;
mod table;
mod target;
mod targets;
mod work;

use anyhow::Result;
use clap::Parser;
use rustix::process::{WaitOptions, wait};

#[derive(Parser)]
#[command(about = "Benchmark durable mail delivery: peers, physical limits, our own server")]
struct Args {
    /// correio, correio-each, nats, nats-limits, nats-unsynced, redis, rabbitmq, rabbitmq-quorum, mosquitto; or a
    /// limit: disk, zmq, sled, sled-fsync, sled1, redb, fjall
    peer: String,
    /// w1 to w7, load, backlog for servers; append, stream (disk), push-pull, dealer-router, xpub-sub (zmq),
    /// insert, recover (stores); several with commas; or all. `table FILE` prints results as tables,
    /// `summary FILE` as one table with ratios, `picture FILE` as an SVG
    workload: String,
    /// Small amounts, to try the harness out
    #[arg(long)]
    quick: bool,
    /// Runs of each case
    #[arg(long)]
    runs: Option<usize>,
}

fn main() -> Result<()> {
    // Children of the limit measurements are this program again.
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).map(String::as_str) == Some("child") {
        return child::run(&words[2..]);
    }
    let args = Args::parse();
    match args.peer.as_str() {
        "table" => return table::print(&args.workload),
        "summary" => {
            print!(
                "{}",
                summary::markdown(&summary::Results::read(&args.workload)?)
            );
            return Ok(());
        }
        "picture" => {
            print!("{}", picture::svg(&summary::Results::read(&args.workload)?));
            return Ok(());
        }
        _ => {}
    }
    // Servers that start others leave them to this process, which then reaps them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut scale = if args.quick {
        work::Scale::quick()
    } else {
        work::Scale::full()
    };
    if let Some(runs) = args.runs {
        scale.runs = runs.max(1);
    }
    if limits::NAMES.contains(&args.peer.as_str()) {
        return limits::run(&args.peer, &args.workload, scale);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut target = targets::make(&args.peer)?;
    let todo: Vec<&str> = if args.workload == "all" {
        work::ALL.to_vec()
    } else {
        args.workload.split(',').collect()
    };
    let mut failed = false;
    for workload in todo {
        if let Err(e) = runtime.block_on(work::run(target.as_mut(), workload, scale)) {
            failed = true;
            report::emit_skip(
                &report::Who {
                    peer: target.peer(),
                    version: target.version(),
                    ack_means: target.ack_means().into(),
                    disk_probe: f64::NAN,
                },
                workload,
                "",
                &format!("failed: {e:#}"),
            );
        }
    }
    // Thousands of client tasks need not be wound up one by one, but the server must be.
    drop(target);
    runtime.shutdown_background();
    // What servers left behind and has ended came to this process (see above): reap it.
    while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
    std::process::exit(i32::from(failed));
}
