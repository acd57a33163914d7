//! The log: where its lines go, how they look, and which there are.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, registry, reload};

use super::Failure;
use crate::config::{Config, LogFormat};
use crate::protocol::codes::exit;

/// Which lines there are; it can be changed while they are written.
#[derive(Debug)]
pub(super) struct Filter(reload::Handle<EnvFilter, Registry>);

impl Filter {
    /// Lets through what these directives say, which are known to be good.
    pub(super) fn set(&self, directives: &str) {
        if let Ok(filter) = EnvFilter::try_new(directives) {
            // It fails when the log is gone, and then nobody misses it.
            self.0.reload(filter).ok();
        }
    }
}

/// Begins the log.
pub(super) fn start(config: &Config) -> Result<Filter, Failure> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| Failure {
        code: exit::CONFIG,
        text: format!("log: {:?} will not do: {error}", config.log),
    })?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        // Else a closed standard error would end the server with a panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    registry().with(filter).with(lines).init();
    Ok(Filter(handle))
}
