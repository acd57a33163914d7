//! The servers that can be measured. A new one gets a module and a line in `make`.

pub mod correio;
mod mosquitto;
mod nats;
mod rabbitmq;
mod redis;

use crate::target::Target;
use anyhow::{Result, bail};

pub const NAMES: &[&str] = &[
    "correio",
    "correio-each",
    "nats",
    "nats-limits",
    "nats-unsynced",
    "redis",
    "rabbitmq",
    "rabbitmq-quorum",
    "mosquitto",
];

pub fn make(name: &str) -> Result<Box<dyn Target>> {
    Ok(match name {
        "correio" => Box::new(correio::Correio::shipped(name)?),
        "correio-each" => Box::new(correio::Correio::acknowledging_each(name)?),
        "nats" => Box::new(nats::Nats::new(name, false, true)?),
        "nats-limits" => Box::new(nats::Nats::new(name, true, true)?),
        "nats-unsynced" => Box::new(nats::Nats::new(name, false, false)?),
        "redis" => Box::new(redis::Redis::new()?),
        "rabbitmq" => Box::new(rabbitmq::Rabbit::new(name, false)?),
        "rabbitmq-quorum" => Box::new(rabbitmq::Rabbit::new(name, true)?),
        "mosquitto" => Box::new(mosquitto::Mosquitto::new()?),
        _ => bail!("unknown peer {name}; known: {}", NAMES.join(", ")),
    })
}
