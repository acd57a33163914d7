//! `mailctl doctor`: tests what `mailctl` depends on, one line a check, each with what to do about it.
//!
//! It mends nothing and stores nothing. `machine` looks at this machine, `server` at the way to the
//! server and what it says.

mod machine;
mod server;

use serde_json::json;

use super::Context;
use crate::cli::args::Doctor;
use crate::cli::error::CliError;
use crate::cli::json::object;
use crate::cli::ui::Ui;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    /// With the exit code it is worth.
    Fail(u8),
}

/// The report as it goes.
struct Report<'a> {
    ui: &'a mut Ui,
    worst: Option<u8>,
    /// The first failure of stdout ends the report.
    told: Result<(), CliError>,
}

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: Doctor) -> Result<(), CliError> {
    let who = machine::Who::find(context);
    let timeout = context.globals.timeout;
    let mut report = Report {
        ui: context.ui,
        worst: None,
        told: Ok(()),
    };
    machine::versions(&mut report);
    machine::home(&mut report, &who);
    machine::key(&mut report, &who);
    machine::mailbox(&mut report, &who);
    machine::outbox(&mut report, &who);
    machine::disk(&mut report, &who);
    machine::choice(&mut report, &who);
    if !args.offline {
        server::look(&mut report, &who, timeout);
    }
    report.end()
}

impl Report<'_> {
    fn ok(&mut self, check: &'static str, text: impl Into<String>) {
        self.row(check, Level::Ok, &text.into(), None);
    }

    fn warn(&mut self, check: &'static str, text: impl Into<String>, advice: &str) {
        self.row(check, Level::Warn, &text.into(), Some(advice));
    }

    fn fail(&mut self, check: &'static str, exit: u8, text: impl Into<String>, advice: &str) {
        self.worst = self.worst.max(Some(exit));
        self.row(check, Level::Fail(exit), &text.into(), Some(advice));
    }

    /// Tells an error as it is told elsewhere: its hints are what to do.
    fn failed(&mut self, check: &'static str, error: &CliError) {
        let (text, rest) = match error.text.split_once("; ") {
            Some((text, rest)) if error.hints.is_empty() => (text, rest.to_owned()),
            _ => (error.text.as_str(), error.hints.join("; ")),
        };
        let advice = if rest.is_empty() {
            format!("mailctl errors {}", error.code)
        } else {
            rest
        };
        self.fail(check, error.exit, text, &advice);
    }

    fn row(&mut self, check: &'static str, level: Level, text: &str, advice: Option<&str>) {
        let (word, shown, exit) = match level {
            Level::Ok => ("ok", "ok", None),
            Level::Warn => ("warn", "warn", None),
            Level::Fail(exit) => ("fail", "FAIL", Some(exit)),
        };
        let fields = json!({
            "check": check,
            "level": word,
            "text": text,
            "advice": advice,
            "exit": exit,
        });
        let advice = advice.map_or_else(String::new, |advice| format!(" - {advice}"));
        let human = format!("{shown:<5}{check}: {text}{advice}");
        if self.told.is_ok() {
            self.told = self.ui.result(&object(fields), human);
        }
    }

    fn end(self) -> Result<(), CliError> {
        self.told?;
        match self.worst {
            Some(exit) => Err(CliError::silent(exit)),
            None => Ok(()),
        }
    }
}
