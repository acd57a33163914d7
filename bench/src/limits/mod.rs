//! Physical limits of this machine: the disk, ZeroMQ, and embedded stores.

mod disk;
pub mod kv;
pub mod zeromq;

use crate::report::{Who, emit_skip};
use crate::work::Scale;
use anyhow::{Result, bail};

pub const NAMES: &[&str] = &[
    "disk",
    "zmq",
    "sled",
    "sled-fsync",
    "sled1",
    "redb",
    "fjall",
];

pub use disk::probe;

pub fn run(peer: &str, case: &str, s: Scale) -> Result<()> {
    let cases: &[&str] = match peer {
        "disk" => &["append", "stream"],
        "zmq" => &["push-pull", "dealer-router", "xpub-sub"],
        _ => &["insert", "recover"],
    };
    let todo: Vec<&str> = if case == "all" {
        cases.to_vec()
    } else {
        case.split(',').collect()
    };
    for case in todo {
        if !cases.contains(&case) {
            bail!("unknown case {case} of {peer}; known: {}", cases.join(", "));
        }
        let done = match peer {
            "disk" => disk::run(case, s),
            "zmq" => zeromq::run(case, s),
            engine => kv::run(engine, case, s),
        };
        if let Err(e) = done {
            let who = Who {
                peer: peer.into(),
                version: String::new(),
                ack_means: String::new(),
                disk_probe: f64::NAN,
            };
            emit_skip(&who, case, "", &format!("failed: {e:#}"));
        }
    }
    Ok(())
}
