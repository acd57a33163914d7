//! `mailctl admin check`: one figure of a server against two thresholds, for whatever watches it.
//!
//! The exit codes are those of Nagios' plugins (0 to 3), whatever the form: what watches goes by them.

use serde_json::{Value, json};

use super::super::Context;
use super::{bare, rows};
use crate::cli::args::{Check, CheckForm, CheckWhat};
use crate::cli::error::CliError;
use crate::cli::json::object;
use crate::cli::times;
use crate::cli::untrusted::visible;
use crate::protocol::codes::exit;
use crate::protocol::request::AdminWhat;

/// How a check came out, with Nagios' word and exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    const fn exit(self) -> u8 {
        self as u8
    }

    fn of(value: u64, thresholds: &Thresholds) -> Self {
        if thresholds.is_reached(value, thresholds.critical) {
            Self::Critical
        } else if thresholds.is_reached(value, thresholds.warn) {
            Self::Warning
        } else {
            Self::Ok
        }
    }
}

/// From where on a value is bad.
#[derive(Debug, Clone, Copy)]
struct Thresholds {
    warn: Option<u64>,
    critical: Option<u64>,
    /// What is measured is bad when there is little of it.
    is_least: bool,
}

impl Thresholds {
    fn of(args: &Check) -> Self {
        let (warn, critical) = match args.what {
            CheckWhat::Queue if args.age => (Some(86_400), Some(7 * 86_400)),
            CheckWhat::Queue => (Some(10_000), Some(100_000)),
            CheckWhat::Disk => (None, None),
            CheckWhat::Store => (Some(500), Some(5_000)),
            CheckWhat::Leases => (Some(80), Some(95)),
        };
        Self {
            warn: args.warn.or(warn),
            critical: args.critical.or(critical),
            is_least: args.what == CheckWhat::Disk,
        }
    }

    fn is_reached(&self, value: u64, threshold: Option<u64>) -> bool {
        threshold.is_some_and(|threshold| {
            if self.is_least {
                value <= threshold
            } else {
                value >= threshold
            }
        })
    }

    /// Writes one as Nagios' plugins do: what lies below `10:` is bad.
    fn nagios(&self, threshold: Option<u64>) -> String {
        match threshold {
            None => String::new(),
            Some(least) if self.is_least => format!("{}:", least.saturating_add(1)),
            Some(most) => most.to_string(),
        }
    }
}

/// What was measured.
#[derive(Debug)]
struct Measured {
    value: u64,
    /// As Nagios writes it behind a figure: `s`, `ms`, `%`, `B`, or nothing.
    unit: &'static str,
    text: String,
    /// It is critical whatever the figure is.
    is_critical: bool,
}

/// Runs the verb.
pub(super) fn run(context: &mut Context<'_>, args: &Check) -> Result<(), CliError> {
    let thresholds = Thresholds::of(args);
    let measured = match measure(context, args) {
        Ok(measured) => measured,
        // Who speaks Nagios wants a line on stdout for this too.
        Err(error) if args.format != CheckForm::Text || context.ui.is_json() => {
            let text = visible(&error.text);
            say(context, args, State::Unknown, (None, &thresholds), &text)?;
            return Err(CliError::silent(State::Unknown.exit()));
        }
        Err(error) => {
            context.ui.error(&error);
            return Err(CliError::silent(State::Unknown.exit()));
        }
    };
    let state = if measured.is_critical {
        State::Critical
    } else {
        State::of(measured.value, &thresholds)
    };
    let text = measured.text.clone();
    say(context, args, state, (Some(&measured), &thresholds), &text)?;
    match state {
        State::Ok => Ok(()),
        state => Err(CliError::silent(state.exit())),
    }
}

fn measure(context: &mut Context<'_>, args: &Check) -> Result<Measured, CliError> {
    match args.what {
        CheckWhat::Queue => queue(context, args),
        CheckWhat::Disk => disk(context),
        CheckWhat::Store => store(context),
        CheckWhat::Leases => leases(context),
    }
}

/// The deepest queue, or the oldest mail that waits in any.
fn queue(context: &mut Context<'_>, args: &Check) -> Result<Measured, CliError> {
    let found = match &args.address {
        Some(name) => rows(context, AdminWhat::QueueShow, Some(name))?,
        None => rows(context, AdminWhat::QueueLs, None)?,
    };
    let now = times::now();
    let measure = |row: &Value| -> u64 {
        if !args.age {
            return row["waiting"].as_u64().unwrap_or(0);
        }
        let oldest = row["oldest"].as_str().unwrap_or_default();
        let at = chrono::DateTime::parse_from_rfc3339(oldest).ok();
        let age = at.map(|at| now.signed_duration_since(at).num_seconds());
        age.and_then(|age| u64::try_from(age).ok()).unwrap_or(0)
    };
    let worst = found.iter().map(|row| (measure(row), row));
    let worst = worst.max_by_key(|(value, _)| *value);
    let value = worst.map_or(0, |(value, _)| value);
    let where_ = worst
        .filter(|_| value > 0)
        .map_or(String::new(), |(_, row)| {
            let address = visible(bare(row["address"].as_str().unwrap_or_default()));
            format!(" at {address} for device {}", row["device"])
        });
    let (unit, text) = if args.age {
        ("s", format!("the oldest mail waits {value} s{where_}"))
    } else {
        ("", format!("{value} mails wait at most{where_}"))
    };
    Ok(Measured {
        value,
        unit,
        text,
        is_critical: false,
    })
}

/// Bytes free on the server's disk.
fn disk(context: &mut Context<'_>) -> Result<Measured, CliError> {
    let stats = rows(context, AdminWhat::Stats, None)?;
    let row = stats.first().cloned().unwrap_or_default();
    let mail = row["bytes_kept"].as_u64().unwrap_or(0);
    let Some(value) = row["disk_free_bytes"].as_u64() else {
        let text = "the server does not say how much of its disk is free";
        return Err(CliError::new("unsupported", exit::UNAVAILABLE, text));
    };
    let is_low = row["disk_low"] == true;
    let text = if is_low {
        format!("the disk is nearly full ({value} bytes free): new mail is refused")
    } else {
        format!("{value} bytes free; mail takes {mail}")
    };
    Ok(Measured {
        value,
        unit: "B",
        text,
        is_critical: is_low,
    })
}

/// Has something written and synced, and sees how long it takes.
fn store(context: &mut Context<'_>) -> Result<Measured, CliError> {
    let begun = times::now();
    rows(context, AdminWhat::StoreProbe, None)?;
    let took = times::now().signed_duration_since(begun);
    let value = u64::try_from(took.num_milliseconds()).unwrap_or(0);
    Ok(Measured {
        value,
        unit: "ms",
        text: format!("connected, written and synced in {value} ms"),
        is_critical: false,
    })
}

fn leases(context: &mut Context<'_>) -> Result<Measured, CliError> {
    let ports = rows(context, AdminWhat::LeaseLs, None)?;
    let taken = ports.iter().filter(|row| row["state"] != "free").count();
    let value = (taken * 100).checked_div(ports.len()).unwrap_or(0) as u64;
    Ok(Measured {
        value,
        unit: "%",
        text: format!("{taken} of {} ports are not free", ports.len()),
        is_critical: false,
    })
}

/// Says it in the form that was asked for. Its words are those of the tools that read them, in one language.
fn say(
    context: &mut Context<'_>,
    args: &Check,
    state: State,
    (measured, thresholds): (Option<&Measured>, &Thresholds),
    text: &str,
) -> Result<(), CliError> {
    let name = args.what.word();
    let value = measured.map(|measured| measured.value);
    let unit = measured.map_or("", |measured| measured.unit);
    if context.ui.is_json() || args.format == CheckForm::Json {
        return context.ui.object(&object(json!({
            "check": name,
            "state": state.word().to_lowercase(),
            "value": value,
            "unit": unit,
            "warn": thresholds.warn,
            "critical": thresholds.critical,
            "text": text,
        })));
    }
    let word = state.word();
    match (args.format, value) {
        (CheckForm::Prometheus, value) => {
            let exit = state.exit();
            context.ui.line("# TYPE mailserver_check_state gauge")?;
            context.ui.line(format_args!(
                "mailserver_check_state{{check=\"{name}\"}} {exit}"
            ))?;
            let Some(value) = value else {
                return Ok(());
            };
            context.ui.line("# TYPE mailserver_check_value gauge")?;
            context.ui.line(format_args!(
                "mailserver_check_value{{check=\"{name}\"}} {value}"
            ))
        }
        (CheckForm::Nagios, Some(value)) => {
            let warn = thresholds.nagios(thresholds.warn);
            let critical = thresholds.nagios(thresholds.critical);
            context.ui.line(format_args!(
                "{word} - {text} | {name}={value}{unit};{warn};{critical};0"
            ))
        }
        _ => context.ui.line(format_args!("{word} - {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_reached_at_their_value() {
        let mut queue = Thresholds {
            warn: Some(10),
            critical: Some(20),
            is_least: false,
        };
        assert_eq!(State::of(9, &queue), State::Ok);
        assert_eq!(State::of(10, &queue), State::Warning);
        assert_eq!(State::of(20, &queue), State::Critical);
        queue.warn = Some(30);
        assert_eq!(
            State::of(20, &queue),
            State::Critical,
            "the worse one counts"
        );
        let room = Thresholds {
            warn: Some(10),
            critical: None,
            is_least: true,
        };
        assert_eq!(State::of(0, &room), State::Warning, "little is bad");
        assert_eq!(State::of(10, &room), State::Warning);
        assert_eq!(State::of(11, &room), State::Ok);
        assert_eq!(
            (room.nagios(Some(10)), room.nagios(None)),
            ("11:".into(), String::new())
        );
        assert_eq!([State::Ok, State::Unknown].map(State::exit), [0, 3]);
    }
}
