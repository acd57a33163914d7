//! What of this machine `mailctl` depends on: its home, its key, its mailbox, its disk.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Report;
use crate::auth::keys;
use crate::cli::commands::{Context, said};
use crate::cli::error::CliError;
use crate::cli::show::{counted, size};
use crate::client::home::{Account, Home, Place};
use crate::client::outbox::Standing;
use crate::protocol::codes::exit;

/// Less room than that on the home's disk is worth a word.
const ROOM_WARN: u64 = 64 << 20;

/// With less, not even what is fetched can be kept.
const ROOM_FAIL: u64 = 1 << 20;

/// Who the command line speaks for, and where to, as far as that can be told.
pub(super) struct Who {
    pub(super) home: Result<Home, CliError>,
    pub(super) account: Result<Account, CliError>,
    /// The server, also where nobody is logged in.
    pub(super) place: Result<Place, CliError>,
    /// Why it is this one.
    because: String,
}

impl Who {
    pub(super) fn find(context: &Context<'_>) -> Self {
        let account = context.account();
        let place = match &account {
            Ok(account) => Ok(account.place().clone()),
            Err(_) => match context.named_place() {
                Ok(None) => Place::read("data/server.url".as_ref()).map_err(CliError::from),
                Ok(Some(named)) => Ok(named),
                Err(error) => Err(error),
            },
        };
        Self {
            home: context.home(),
            because: because(context, account.is_ok()),
            account,
            place,
        }
    }
}

/// Says what named the server, in the order in which it is looked for.
fn because(context: &Context<'_>, has_account: bool) -> String {
    let globals = context.globals;
    let by = |option: &str, variable: &str, value: &str| {
        let from_variable = std::env::var(variable).is_ok_and(|set| set == value);
        let what = if from_variable { variable } else { option };
        format!("named by {what}")
    };
    if let Some(server) = said(globals.server.as_deref()) {
        by("--server", "MAILCTL_SERVER", server)
    } else if let Some(name) = said(globals.context.as_deref()) {
        by("--context", "MAILCTL_CONTEXT", name)
    } else if let Some(user) = said(globals.user.as_deref()).filter(|_| has_account) {
        by("--as", "MAILCTL_USER", user)
    } else if has_account {
        "that of the context in use".to_owned()
    } else {
        "named by ./data/server.url".to_owned()
    }
}

pub(super) fn versions(report: &mut Report<'_>) {
    let zmq = keys::libzmq_version();
    let own = env!("CARGO_PKG_VERSION");
    match keys::require_curve() {
        Ok(()) => report.ok(
            "versions",
            format!("mailctl {own}, libzmq {zmq} with CURVE"),
        ),
        Err(error) => report.fail(
            "versions",
            exit::CONFIG,
            format!("mailctl {own}, libzmq {zmq}, which has no CURVE"),
            &error.to_string(),
        ),
    }
}

pub(super) fn home(report: &mut Report<'_>, who: &Who) {
    let home = match &who.home {
        Ok(home) => home,
        Err(error) => return report.failed("home", error),
    };
    let root = home.root();
    match mode(root) {
        Ok(mode) if !is_open(mode) => report.ok("home", root.display().to_string()),
        Ok(mode) => report.warn(
            "home",
            format!("others can look into {} (mode {mode:04o})", root.display()),
            &format!("chmod 700 {}", root.display()),
        ),
        Err(error) => report.failed("home", &CliError::io("look at the home", &error)),
    }
}

/// The account and its key, which loading it has read; and what lies beside it.
pub(super) fn key(report: &mut Report<'_>, who: &Who) {
    let account = match &who.account {
        Ok(account) => account,
        // The line about the server says it.
        Err(error) if who.place.as_ref().err() == Some(error) => return,
        Err(error) => return report.failed("account", error),
    };
    let open: Vec<String> = ["key", "account.json", "marks.json", "outbox", "mail"]
        .iter()
        .map(|name| account.folder().join(name))
        .filter(|path| mode(path).is_ok_and(is_open))
        .map(|path| path.display().to_string())
        .collect();
    let user = account.user();
    if open.is_empty() {
        let key = account.folder().join("key");
        report.ok(
            "account",
            format!("{user}; its key is {}, for you alone", key.display()),
        );
    } else {
        let paths = open.join(" ");
        report.warn(
            "account",
            format!("others can read what belongs to {user}"),
            &format!("chmod -R go= {paths}"),
        );
    }
}

/// Says whether a file of that mode is not its owner's alone.
fn is_open(mode: u32) -> bool {
    mode & 0o077 != 0
}

fn mode(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

pub(super) fn mailbox(report: &mut Report<'_>, who: &Who) {
    let Ok(account) = &who.account else { return };
    let mailbox = match account.mailbox() {
        Ok(mailbox) => mailbox,
        Err(error) => return report.failed("mailbox", &error.into()),
    };
    if let Err(error) = mailbox.marks() {
        return report.failed("mailbox", &error.into());
    }
    let folder = mailbox.folder().display();
    let looked = mailbox.try_to_write().and_then(|()| mailbox.survey());
    let survey = match looked {
        Ok(survey) => survey,
        Err(error) => return report.failed("mailbox", &error.into()),
    };
    let counted = format!(
        "{folder} can be written; {} here, {} not shown yet",
        counted(survey.mails, "mail"),
        survey.unseen
    );
    if survey.strangers > 0 {
        report.warn(
            "mailbox",
            format!("{counted}; {} others", survey.strangers),
            "files in new/ and cur/ that mailctl did not make are left alone; another mail program may have put them there",
        );
    } else if survey.unfinished > 0 {
        report.warn(
            "mailbox",
            format!("{counted}; {} unfinished in tmp/", survey.unfinished),
            "what a crash left there is written over or of no use; while no mailctl runs it may be removed",
        );
    } else {
        report.ok("mailbox", counted);
    }
}

pub(super) fn outbox(report: &mut Report<'_>, who: &Who) {
    let Ok(account) = &who.account else { return };
    let listed = match account.outbox().and_then(|outbox| outbox.list()) {
        Ok(listed) => listed,
        Err(error) => return report.failed("outbox", &error.into()),
    };
    let count = |is: fn(&Standing) -> bool| {
        let fitting = listed.iter().filter(|entry| is(&entry.standing));
        fitting.count()
    };
    let lost = count(|standing| matches!(standing, Standing::Lost { .. }));
    let in_doubt = count(|standing| matches!(standing, Standing::InDoubt(_)));
    let drafts = count(|standing| matches!(standing, Standing::Draft));
    if lost > 0 {
        report.warn(
            "outbox",
            format!("of {lost} the server no longer knows what became"),
            "ask the addressees, then remove them: mailctl outbox ls, mailctl outbox rm N",
        );
    } else if in_doubt > 0 {
        report.warn(
            "outbox",
            format!("{in_doubt} in doubt"),
            "they settle by themselves with the next mailctl that reaches the server; do not send them again",
        );
    } else if drafts > 0 {
        report.warn(
            "outbox",
            format!("{drafts} not sent: drafts"),
            "mailctl outbox lists them, mailctl outbox retry sends them",
        );
    } else {
        report.ok(
            "outbox",
            format!("{} waiting", counted(listed.len() as u64, "mail")),
        );
    }
}

pub(super) fn disk(report: &mut Report<'_>, who: &Who) {
    let Ok(home) = &who.home else { return };
    let room = match rustix::fs::statvfs(home.root()) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            return report.failed("disk", &CliError::io("look at the disk", &error.into()));
        }
    };
    let text = format!("{} free for the home", size(room));
    let advice = "make room there: what does not fit is not fetched, and nothing is lost";
    if room < ROOM_FAIL {
        report.fail("disk", exit::IO, text, advice);
    } else if room < ROOM_WARN {
        report.warn("disk", text, advice);
    } else {
        report.ok("disk", text);
    }
}

/// Which server, and why this one.
pub(super) fn choice(report: &mut Report<'_>, who: &Who) {
    let place = match &who.place {
        Ok(place) => place,
        Err(error) => return report.failed("server", error),
    };
    let source = place.source.as_deref().map(|path| {
        let gone = if path.exists() {
            ""
        } else {
            ", which is not there now: is the server running?"
        };
        format!("; its address is from {}{gone}", path.display())
    });
    let text = format!(
        "{}, {}{}",
        place.url.endpoint(place.url.port),
        who.because,
        source.unwrap_or_default()
    );
    report.ok("server", text);
}
