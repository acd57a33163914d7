//! The log: where its lines go, how they look, and which there are.

use std::io::IsTerminal;

use rustix::fs::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::fmt::format::{DefaultFields, Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::{Handle, Layer as Reloadable};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, registry};

use super::Failure;
use crate::config::{Config, LogFormat};
use crate::protocol::codes::exit;

/// What the names of our fields in the journal begin with: `CORREIO_USER`.
const FIELDS: &str = "CORREIO";

/// Which lines there are; it can be changed while they are written.
#[derive(Debug)]
pub(super) struct Filter(Handle<EnvFilter, Registry>);

/// What writes the lines.
type Lines<S> = Box<dyn Layer<S> + Send + Sync>;

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
    let (filter, handle) = Reloadable::new(filter);
    let lines = lines(config.log_format)?;
    registry().with(filter).with(lines).init();
    Ok(Filter(handle))
}

fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Result<Lines<S>, Failure> {
    let people = || {
        fmt::layer()
            .with_writer(std::io::stderr)
            // Else a closed standard error would end the server with a panic.
            .log_internal_errors(false)
            .with_ansi(std::io::stderr().is_terminal())
    };
    match format {
        // Whole lines, since journalctl shows people no fields; it has the time already.
        LogFormat::Auto if goes_to_journal() => {
            let plain = Format::default().without_time().with_ansi(false);
            Ok(people().event_format(Prioritised(plain)).boxed())
        }
        LogFormat::Auto | LogFormat::Text => Ok(people().boxed()),
        LogFormat::Json => Ok(people().json().boxed()),
        LogFormat::Journald => journal().map_err(|error| Failure {
            code: exit::CONFIG,
            text: format!(
                "log-format is journald, and systemd's journal does not answer here: {error}; choose text or json"
            ),
        }),
    }
}

/// A line for people, with the priority in front that systemd takes from there.
struct Prioritised(Format<Full, ()>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, DefaultFields> for Prioritised {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, DefaultFields>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(line, "<{priority}>")?;
        self.0.format_event(context, line, event)
    }
}

/// Says whether systemd reads standard error into its journal, as it says by `JOURNAL_STREAM`.
pub(super) fn goes_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let here = fstat(std::io::stderr());
    here.is_ok_and(|here| stream == format!("{}:{}", here.st_dev, here.st_ino))
}

fn journal<S: Subscriber + for<'a> LookupSpan<'a>>() -> std::io::Result<Lines<S>> {
    let layer = tracing_journald::layer()?
        .with_field_prefix(Some(FIELDS.to_owned()))
        .with_syslog_identifier("mailserver".to_owned())
        .with_priority_mappings(PriorityMappings {
            error: Priority::Error,
            warn: Priority::Warning,
            info: Priority::Informational,
            debug: Priority::Debug,
            trace: Priority::Debug,
        });
    Ok(layer.boxed())
}
