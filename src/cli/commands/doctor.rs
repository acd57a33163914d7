//! `mailctl doctor`: tests what `mailctl` depends on, one line a check, each with what to do about it.
//!
//! It mends nothing and stores nothing. `machine` looks at this machine, `server` at the way to the
//! server and what it says.

mod machine;
mod server;

use serde_json::json;

use super::Context;
use crate::cli::args::Doctor;
use crate::cli::codes;
use crate::cli::error::CliError;
use crate::cli::i18n::{self, tr, tr_later};
use crate::cli::json::object;
use crate::cli::ui::Ui;
use crate::cli::untrusted::columns;

/// What is looked at: its word in JSON, and what people read.
#[derive(Debug, Clone, Copy)]
struct Check(&'static str, &'static str);

const VERSIONS: Check = Check("versions", tr_later!("versions"));
const HOME: Check = Check("home", tr_later!("home"));
const ACCOUNT: Check = Check("account", tr_later!("account"));
const MAILBOX: Check = Check("mailbox", tr_later!("mailbox"));
const OUTBOX: Check = Check("outbox", tr_later!("outbox"));
const DISK: Check = Check("disk", tr_later!("disk"));
const SERVER: Check = Check("server", tr_later!("server"));
const NAME: Check = Check("name", tr_later!("name"));
const REACH: Check = Check("reach", tr_later!("reach"));
const ENCRYPTION: Check = Check("encryption", tr_later!("encryption"));
const PROTOCOL: Check = Check("protocol", tr_later!("protocol"));
const CLOCK: Check = Check("clock", tr_later!("clock"));
const SESSION: Check = Check("session", tr_later!("session"));
const LEASE: Check = Check("lease", tr_later!("lease"));

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
    // Before the first line of the report, so that a question does not stand between two.
    let account = match &who.account {
        Ok(account) if !args.offline && account.is_locked() => {
            Some(context.unlock(account.clone()))
        }
        _ => None,
    };
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
        let account = account.as_ref().unwrap_or(&who.account);
        server::look(&mut report, &who, account, timeout);
    }
    report.end()
}

impl Report<'_> {
    fn ok(&mut self, check: Check, text: impl Into<String>) {
        self.row(check, Level::Ok, &text.into(), None);
    }

    fn warn(&mut self, check: Check, text: impl Into<String>, advice: impl Into<String>) {
        self.row(check, Level::Warn, &text.into(), Some(&advice.into()));
    }

    fn fail(&mut self, check: Check, exit: u8, text: impl Into<String>, advice: impl Into<String>) {
        self.worst = self.worst.max(Some(exit));
        self.row(check, Level::Fail(exit), &text.into(), Some(&advice.into()));
    }

    /// Tells an error as it is told elsewhere: its hints are what to do.
    fn failed(&mut self, check: Check, error: &CliError) {
        let (text, rest) = match error.text.split_once("; ") {
            Some((text, rest)) if error.hints.is_empty() => (text, rest.to_owned()),
            _ => (error.text.as_str(), error.hints.join("; ")),
        };
        let known = codes::find(&error.code).map(|row| i18n::text(row.advice));
        let advice = known.filter(|_| rest.is_empty()).unwrap_or(&rest);
        self.fail(check, error.exit, text, advice);
    }

    fn row(&mut self, check: Check, level: Level, text: &str, advice: Option<&str>) {
        let (word, shown, exit) = match level {
            Level::Ok => ("ok", tr!("ok"), None),
            Level::Warn => ("warn", tr!("warn"), None),
            Level::Fail(exit) => ("fail", tr!("FAIL"), Some(exit)),
        };
        let fields = json!({
            "check": check.0,
            "level": word,
            "text": text,
            "advice": advice,
            "exit": exit,
        });
        let advice = advice.map_or_else(String::new, |advice| format!(" - {advice}"));
        let gap = " ".repeat(6_usize.saturating_sub(columns(shown)));
        let human = format!("{shown}{gap}{}: {text}{advice}", i18n::text(check.1));
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
