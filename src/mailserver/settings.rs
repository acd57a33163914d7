//! The settings as they hold: read from all places, shown with where they stand, and read again while
//! the server runs.

use std::path::Path;

use serde_json::json;
use toml::Value;

use super::args::Call;
use super::log::Filter;
use super::{Failure, run, say, watch};
use crate::config::{self, Config, Key, Origin, Setting};
use crate::protocol::codes::exit;

/// Column at which it is said where a setting stands.
const ORIGIN_COLUMN: usize = 40;

/// Reads the settings that a command line means.
pub(super) fn read(call: &Call) -> Result<Config, Failure> {
    Ok(Config::from_layers(layers(call)?)?)
}

/// Returns what the file, the environment and the command line say, the first below the others.
fn layers(call: &Call) -> Result<[Vec<Setting>; 3], Failure> {
    let environment = config::parse_environment(|name| std::env::var(name).ok());
    let file = match &call.config_file {
        Some(path) => config::parse_file(path, &text_of(path)?)?,
        None => Vec::new(),
    };
    Ok([file, environment, call.flags.clone()])
}

fn text_of(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure {
        code: exit::CONFIG,
        text: format!("cannot read the settings file {}: {error}", path.display()),
    })
}

/// Prints every setting: a settings file again, or objects; with where each stands on demand.
pub(super) fn show(call: &Call, config: &Config, origin: bool, json: bool) -> Result<(), Failure> {
    let layers = layers(call)?;
    for (key, setting) in config::in_force(&layers) {
        let value = setting.map_or(key.default, |setting| &setting.value);
        let here = meaning(config, key);
        let place = setting.map_or_else(|| "default".to_owned(), Setting::place);
        if json {
            let mut row = json!({
                "v": 1,
                "setting": key.name,
                "value": value,
                "here": here,
                "live": key.live,
            });
            if origin {
                row["origin"] = setting.map_or("default", kind).into();
                row["where"] = place.into();
            }
            say(&row.to_string());
            continue;
        }
        let line = format!("{} = {}", key.name, Value::from(value));
        let mut remarks = Vec::new();
        if origin {
            remarks.push(place);
        }
        if let Some(here) = here {
            remarks.push(format!("here {here}"));
        }
        if remarks.is_empty() {
            say(&line);
        } else {
            say(&format!("{line:<ORIGIN_COLUMN$}  # {}", remarks.join("; ")));
        }
    }
    Ok(())
}

fn kind(setting: &Setting) -> &'static str {
    match setting.origin {
        Origin::Flag => "flag",
        Origin::Variable => "variable",
        Origin::File { .. } => "file",
    }
}

/// Returns what `auto` comes to on this machine, where that is what holds.
fn meaning(config: &Config, key: &Key) -> Option<String> {
    match key.name {
        "live-bind" if config.live_bind.is_none() => Some(config.live_endpoint().to_string()),
        "http" if config.http == config::Http::Auto => {
            Some(config.http_endpoint()?.socket_address().to_string())
        }
        "advertise" if config.advertise.is_none() => Some(run::host(config, &config.bind)),
        "registration" if config.registration.is_none() => {
            Some(config.registration_mode().word().to_owned())
        }
        "disk-reserve" if config.disk_reserve.is_none() => {
            let total = watch::disk_total(&config.data_dir)?;
            Some(format!("{} bytes", config.disk_reserve(total)))
        }
        "memory-max" if config.memory_max.is_none() => {
            let total = watch::memory_total()?;
            Some(format!("{} bytes", config.memory_max(total)))
        }
        _ => None,
    }
}

/// What a running server needs to read its settings again.
#[derive(Debug)]
pub(super) struct Rereading {
    call: Call,
    filter: Filter,
}

impl Rereading {
    pub(super) fn new(call: Call, filter: Filter) -> Self {
        Self { call, filter }
    }

    /// Reads the settings again and takes over what a running server can change; says in the log what became
    /// of each that is not what it was. Returns how many of them wait for a restart. Settings that are no good
    /// change nothing.
    pub(super) fn take_over(&self, config: &mut Config) -> Option<usize> {
        let layers = layers(&self.call)
            .and_then(|layers| Ok((Config::from_layers(layers.clone())?, layers)));
        let layers = match layers {
            Ok((_, layers)) => layers,
            Err(failure) => {
                tracing::error!(
                    "the settings were read again and nothing is changed: {}",
                    failure.text
                );
                return None;
            }
        };
        let changed = config.renew(&layers);
        // First, so that what follows is said as the new level wants it.
        if changed.iter().any(|key| key.name == "log") {
            self.filter.set(&config.log);
        }
        let said = config::in_force(&layers);
        let waits = changed.iter().filter(|key| !key.live).count();
        for key in &changed {
            let setting = said.iter().find(|(other, _)| other.name == key.name);
            let setting = setting.and_then(|(_, setting)| *setting);
            let value = setting.map_or(key.default, |setting| &setting.value);
            let place = setting.map_or_else(|| "default".to_owned(), Setting::place);
            let setting = key.name;
            if key.live {
                tracing::info!(setting, value, place, "a setting changed and is in force");
            } else {
                tracing::warn!(
                    setting,
                    value,
                    place,
                    "a setting changed and needs a restart"
                );
            }
        }
        let in_force = changed.len() - waits;
        tracing::info!(
            in_force,
            need_a_restart = waits,
            "the settings were read again"
        );
        Some(waits)
    }
}
