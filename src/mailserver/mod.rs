//! The `mailserver` program: its words, its start and its end.
//!
//! - `args`: what the command line may say.
//! - `run`: the order of a start, and of a stop.
//! - `watch`: disk space, memory and settings while it runs; `log`: where its lines go.
//! - `settings`: what holds and where it was said, and what of it a running server changes.
//! - `backup`: what of a stopped server goes into a file or a pipe, and back; `place`: whole or not at all.
//! - `doctor`: whether this machine is fit for it.
//! - `health`: whether the one that runs is well.
//! - `folder`: the data folder: keys, remembered ports, and the files that say "ready".
//!
//! A failure is one line on standard error that says what to do next, and an exit code of
//! `sysexits.h`. This module decides nothing about mail: that is [`crate::broker`].

mod args;
mod backup;
mod doctor;
pub(crate) mod folder;
mod health;
mod log;
mod place;
mod run;
mod settings;
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGXFSZ;

use crate::auth::keys::{KeyError, require_curve};
use crate::broker::server::ServerError;
use crate::config::{self, Config, ConfigError};
use crate::http::FrontError;
use crate::protocol::codes::exit;
use crate::store::StoreError;
use args::Verb;
pub(crate) use args::command;

/// Runs the program and returns its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    panic::set_hook(Box::new(|bug| {
        complain(&format!(
            "a bug stopped this server, please report it: {bug}"
        ));
    }));
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    outlive_file_limits();
    let args: Vec<OsString> = args.into_iter().collect();
    let code = match panic::catch_unwind(|| obey(args)) {
        Ok(Ok(())) => exit::OK,
        Ok(Err(failure)) => {
            if !failure.text.is_empty() {
                complain(&failure.text);
            }
            failure.code
        }
        // The hook has said it.
        Err(_) => exit::SOFTWARE,
    };
    ExitCode::from(code)
}

/// A file that may not grow further is an error of its write, and that ends the server in order. By
/// default the signal that comes with it would kill the process without a word.
fn outlive_file_limits() {
    let unread = Arc::new(AtomicBool::new(false));
    // The only failure is a signal that cannot be handled, and this one can.
    drop(signal_hook::flag::register(SIGXFSZ, unread));
}

fn obey(args: Vec<OsString>) -> Result<(), Failure> {
    let Some(call) = args::parse(args)? else {
        return Ok(());
    };
    if let Verb::Doctor { json } = call.verb {
        return doctor::run(&call, json);
    }
    let config = settings::read(&call)?;
    match call.verb.clone() {
        Verb::Run {
            accept_loss,
            accept_new_key,
        } => {
            require_curve()?;
            run::run(call, config, accept_loss, accept_new_key)
        }
        Verb::Init => {
            require_curve()?;
            run::init(&config)
        }
        Verb::CheckConfig => {
            say(&format!(
                "The configuration is good: requests on {}, live mail on {}, {}, data in {}, registration {}.",
                config.bind,
                config.live_endpoint(),
                http_place(&config),
                config.data_dir.display(),
                config.registration_mode().word(),
            ));
            Ok(())
        }
        Verb::Verify { backup: None } => run::verify(&config),
        Verb::Verify { backup: Some(from) } => backup::verify(&from),
        Verb::Backup(to) => backup::backup(&config, &to),
        Verb::Restore(from) => backup::restore(&config, &from),
        Verb::Migrate { backup } => backup::migrate(&config, backup),
        // Above: it looks at the settings itself.
        Verb::Doctor { .. } => Ok(()),
        Verb::Healthcheck { alive_only } => health::check(&config, alive_only),
        Verb::DefaultConfig => {
            say(config::default_file().trim_end());
            Ok(())
        }
        Verb::ConfigShow { origin, json } => settings::show(&call, &config, origin, json),
    }
}

fn http_place(config: &Config) -> String {
    match config.http_endpoint() {
        Some(endpoint) => format!("HTTP on {}", endpoint.socket_address()),
        None => "no HTTP".to_owned(),
    }
}

/// Why the program ends, for a person and for a script.
#[derive(Debug)]
struct Failure {
    code: u8,
    /// One line; none when what was printed says it.
    text: String,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self {
            code: exit::CONFIG,
            text: error.to_string(),
        }
    }
}

const PUT_BACK: &str = "move the data folder away and put a backup in its place: mailserver restore --data-dir FOLDER FILE";
const SEE_THE_DISK: &str =
    "see that the disk is whole and has room, then start again: nothing acknowledged is lost";

/// Said once of a store without a seal: whoever opens it first has made a new one.
const UNSEALED: &str = "the seal of this store was gone, so nobody knows whether its newest mails are there; where that is in doubt, \
                        start once with mailserver run --accept-loss, which gives no id out twice, or put a backup back";

/// Says what to do about a file of the data folder that could not be used.
fn advice_on(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            "run it as the user whom the data folder belongs to"
        }
        _ => SEE_THE_DISK,
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let (code, advice) = match error {
            KeyError::Io { ref source, .. } => (exit::IO, advice_on(source)),
            KeyError::Malformed { .. } => (exit::CONFIG, PUT_BACK),
            _ => {
                return Self {
                    code: exit::CONFIG,
                    text: error.to_string(),
                };
            }
        };
        Self {
            code,
            text: format!("{error}; {advice}"),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (code, advice) = match &error {
            StoreError::InUse { .. } => (
                exit::CANT_CREATE,
                "stop it first, or give this one a --data-dir of its own",
            ),
            StoreError::Newer { .. } => (
                exit::CONFIG,
                "start the version that wrote it, or a later one",
            ),
            StoreError::Lost { .. } => (
                exit::IO,
                "put a backup back with mailserver restore; or, to go on without what is lost, start once with: mailserver run --accept-loss",
            ),
            StoreError::Damaged { .. } => (exit::IO, PUT_BACK),
            StoreError::Io { source, .. } => (exit::IO, advice_on(source)),
            _ => (exit::IO, SEE_THE_DISK),
        };
        Self {
            code,
            text: format!("{error}; {advice}"),
        }
    }
}

impl From<FrontError> for Failure {
    fn from(error: FrontError) -> Self {
        let code = match error {
            FrontError::Bind { .. } => exit::CANT_CREATE,
            _ => exit::IO,
        };
        Self {
            code,
            text: error.to_string(),
        }
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        let code = match error {
            ServerError::Store(error) => return error.into(),
            ServerError::Bind { .. } => exit::CANT_CREATE,
            ServerError::Memory { .. } | ServerError::Silent { .. } => exit::TEMPORARY,
            _ => exit::IO,
        };
        Self {
            code,
            text: error.to_string(),
        }
    }
}

/// Prints a result. Nobody listening is no reason to stop serving.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// Says what became of something whose result takes up standard output.
fn note(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

fn complain(text: &str) {
    let line = text.replace('\n', " ");
    // systemd takes the priority from the beginning of a line.
    let priority = if log::goes_to_journal() { "<3>" } else { "" };
    drop(writeln!(
        std::io::stderr().lock(),
        "{priority}mailserver: {line}"
    ));
}
