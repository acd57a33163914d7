//! `doctor`: tests what a server needs of its machine, one line a check, each with what to do about it.
//!
//! It mends nothing, and a server that runs does not notice it. Where a check fails, those that hang on it are left out.
//! A stopped server's store is read whole.

mod machine;

use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use super::args::Call;
use super::folder::{Folder, Running};
use super::run::{OPEN_FILES_FEW, OPEN_FILES_MIN, open_files_most, refused};
use super::{Failure, UNSEALED, health, say, settings};
use crate::auth::keys;
use crate::config::{self, Config};
use crate::protocol::codes::exit;
use crate::store::sled::SledStore;
use crate::store::{FORMAT, StoreError};

/// How a check ended.
enum Level {
    Ok,
    Warn,
    /// With the exit code it is worth.
    Fail(u8),
}

/// The report as it goes.
struct Report {
    is_json: bool,
    worst: Option<u8>,
}

impl Report {
    fn ok(&self, check: &str, text: impl Into<String>) {
        self.row(check, &Level::Ok, &text.into(), None);
    }

    fn warn(&self, check: &str, text: impl Into<String>, advice: impl Into<String>) {
        self.row(check, &Level::Warn, &text.into(), Some(&advice.into()));
    }

    fn fail(&mut self, check: &str, code: u8, text: impl Into<String>, advice: impl Into<String>) {
        self.worst = self.worst.max(Some(code));
        self.row(
            check,
            &Level::Fail(code),
            &text.into(),
            Some(&advice.into()),
        );
    }

    /// Tells a failure as a start would: what is wrong, then what to do.
    fn failed(&mut self, check: &str, failure: &Failure) {
        let (text, advice) = failure.text.split_once("; ").unwrap_or((&failure.text, ""));
        let advice = if advice.is_empty() {
            "mend that first"
        } else {
            advice
        };
        self.fail(check, failure.code, text, advice);
    }

    fn row(&self, check: &str, level: &Level, text: &str, advice: Option<&str>) {
        let (word, shown, exit) = match level {
            Level::Ok => ("ok", "ok", None),
            Level::Warn => ("warn", "warn", None),
            Level::Fail(code) => ("fail", "FAIL", Some(code)),
        };
        if self.is_json {
            let row = json!({
                "v": 1,
                "check": check,
                "level": word,
                "text": text,
                "advice": advice,
                "exit": exit,
            });
            return say(&row.to_string());
        }
        let advice = advice.map_or_else(String::new, |advice| format!(" - {advice}"));
        say(&format!("{shown:<6}{check}: {text}{advice}"));
    }
}

/// Runs the verb.
pub(super) fn run(call: &Call, is_json: bool) -> Result<(), Failure> {
    let mut report = Report {
        is_json,
        worst: None,
    };
    versions(&mut report);
    open_files(&mut report);
    if let Some(config) = read_settings(&mut report, call) {
        machine::clock(&mut report, &config.data_dir);
        machine::memory(&mut report, &config);
        look_at(&mut report, &config);
    }
    match report.worst {
        None => Ok(()),
        Some(code) => Err(Failure {
            code,
            // The report has said it.
            text: String::new(),
        }),
    }
}

fn versions(report: &mut Report) {
    let (own, zmq) = (env!("CARGO_PKG_VERSION"), keys::libzmq_version());
    match keys::require_curve() {
        Ok(()) => report.ok(
            "versions",
            format!("mailserver {own}, libzmq {zmq} with CURVE"),
        ),
        Err(error) => report.failed("versions", &error.into()),
    }
}

fn open_files(report: &mut Report) {
    let files = open_files_most();
    let advice = "two for each client that listens: raise the hard limit (ulimit -Hn, or LimitNOFILE= of systemd)";
    let text = format!("a process started here may open {files}");
    if files < OPEN_FILES_MIN {
        report.fail("files", exit::CONFIG, text, advice);
    } else if files < OPEN_FILES_FEW {
        report.warn("files", text, advice);
    } else {
        report.ok("files", text);
    }
}

fn read_settings(report: &mut Report, call: &Call) -> Option<Config> {
    let config = match settings::read(call) {
        Ok(config) => config,
        Err(failure) => {
            report.failed("settings", &failure);
            return None;
        }
    };
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let unknown = config::unknown_variables(names);
    let from = call
        .config_file
        .as_ref()
        .map_or_else(|| "no file".to_owned(), |path| path.display().to_string());
    if unknown.is_empty() {
        report.ok("settings", format!("good, from {from}"));
    } else {
        report.warn(
            "settings",
            format!("no setting has the variable {}", unknown.join(", ")),
            "mailserver config show --origin says what holds",
        );
    }
    Some(config)
}

/// Looks at the data folder and, by it, at the server.
fn look_at(report: &mut Report, config: &Config) {
    machine::file_system(report, &config.data_dir);
    machine::room(report, config);
    let Ok(folder) = Folder::existing(&config.data_dir) else {
        report.warn(
            "folder",
            format!("{} is not there", config.data_dir.display()),
            "mailserver run makes it; name another with --data-dir or --config where that is not the one meant",
        );
        return ports(report, config);
    };
    if !machine::folder(report, folder.path()) {
        return;
    }
    server_key(report, &folder);
    if let Some(running) = folder.running().filter(|running| runs(running, &folder)) {
        return server(report, &running);
    }
    ports(report, config);
    store(report, &folder);
}

/// Says whether the server that said it is ready still holds the folder.
fn runs(running: &Running, folder: &Folder) -> bool {
    let lock = folder.as_owner(|| crate::store::sled::lock(folder.path()));
    running.pid != 0 && matches!(lock, Ok(Err(StoreError::InUse { .. })))
}

fn server_key(report: &mut Report, folder: &Folder) {
    let had_one = folder.path().join("seal").exists();
    if !folder.has_server_key() {
        if had_one {
            return report.failed("key", &folder.without_key());
        }
        return report.ok("key", "none yet: the first start makes it");
    }
    match folder.look_at_server_key() {
        Ok(key) => report.ok("key", format!("the server's is {}", hex::encode(key))),
        Err(error) => report.failed("key", &error.into()),
    }
}

/// Looks at a server that runs: nothing of the folder is opened.
fn server(report: &mut Report, running: &Running) {
    let (pid, own) = (running.pid, env!("CARGO_PKG_VERSION"));
    let text = format!(
        "mailserver {} runs (pid {pid}) at {}",
        running.version, running.url
    );
    if running.version == own {
        report.ok("server", text);
    } else {
        report.warn(
            "server",
            format!("{text}, and this program is {own}"),
            "restart it when that is the newer",
        );
    }
    let Some(url) = &running.http else {
        return report.warn(
            "ready",
            "it serves no HTTP, so it cannot be asked",
            "start it with --http 127.0.0.1:5580",
        );
    };
    let advice = "see its log: journalctl -u mailserver, or what it wrote to standard error";
    match health::ask(url, "/readyz") {
        Ok((200, text)) => report.ok("ready", text.trim_start_matches("ready: ")),
        Ok((_, text)) => report.fail("ready", exit::TEMPORARY, text, advice),
        Err(error) => report.fail(
            "ready",
            exit::UNAVAILABLE,
            format!("{url} does not answer: {error}"),
            advice,
        ),
    }
}

/// Tries the ports that a start would bind.
fn ports(report: &mut Report, config: &Config) {
    let places = [
        (Some(config.bind.clone()), "bind", true),
        (Some(config.live_endpoint()), "live-bind", true),
        (
            config.http_endpoint(),
            "http",
            config.http != config::Http::Auto,
        ),
    ];
    for (place, name, is_needed) in places {
        let Some(place) = place else { continue };
        let advice = format!("see who has it (ss -ltnp), or choose another with --{name}");
        match TcpListener::bind(place.socket_address()) {
            Ok(_) => report.ok(name, format!("{place} is free")),
            Err(error) if is_needed => report.fail(
                name,
                exit::CANT_CREATE,
                format!("cannot listen on {place}: {error}"),
                advice,
            ),
            Err(error) => report.warn(
                name,
                format!("cannot listen on {place}, so there would be no health checks: {error}"),
                advice,
            ),
        }
    }
}

/// Reads the whole store of a stopped server.
fn store(report: &mut Report, folder: &Folder) {
    if !is_there(folder.path()) {
        return report.ok("store", "none yet: the first start makes it");
    }
    let read = folder.as_owner(|| {
        let found = SledStore::verify(folder.path())?;
        let store = SledStore::open(folder.path())?;
        Ok((found, store.format()))
    });
    let (found, format) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => return report.failed("store", &refused(folder, error)),
        Err(failure) => return report.failed("store", &failure),
    };
    if !found.is_whole() {
        let first = found.faults.first().map_or("it is damaged", String::as_str);
        return report.fail(
            "store",
            exit::IO,
            format!("{} faults, the first: {first}", found.faults_total),
            "move the folder away and put a backup in its place: mailserver restore",
        );
    }
    if let Err(failure) = folder.check_server_key(found.server_key) {
        return report.failed("key", &failure);
    }
    if found.was_unsealed {
        let (text, advice) = UNSEALED.split_once("; ").unwrap_or((UNSEALED, ""));
        report.warn("store", text, advice);
    }
    let records: u64 = found.records.iter().map(|(_, count)| *count).sum();
    let text = format!(
        "whole: {records} records, {} bytes of bodies",
        found.body_bytes
    );
    if format == FORMAT {
        report.ok("store", text);
    } else {
        report.warn(
            "store",
            format!("{text}; it has format {format}, and this mailserver makes {FORMAT}"),
            "the first change gives it that, and only a backup leads back: mailserver migrate makes one before",
        );
    }
}

fn is_there(folder: &Path) -> bool {
    folder.join("seal").exists() || folder.join("store/db").exists()
}
