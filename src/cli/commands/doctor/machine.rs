//! What of this machine `mailctl` depends on: its home, its key, its mailbox, its disk.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{ACCOUNT, DISK, HOME, MAILBOX, OUTBOX, Report, SERVER, VERSIONS};
use crate::auth::keys;
use crate::cli::commands::{Context, said};
use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_n};
use crate::cli::show::{mails, size};
use crate::client::home::{Account, Home, Place};
use crate::client::outbox::Standing;
use crate::protocol::codes::exit;

/// Less room than that on the home's disk is worth a word.
const ROOM_WARN: u64 = 64 << 20;

/// With less, not even what is fetched can be kept.
const ROOM_FAIL: u64 = 1 << 20;

/// Each mail is a file: with fewer left than that, a word is in place.
const FILES_WARN: u64 = 1000;

/// Who the command line speaks for, and where to, as far as that can be told.
pub(super) struct Who {
    pub(super) home: Result<Home, CliError>,
    /// Its key may be under a passphrase.
    pub(super) account: Result<Account, CliError>,
    /// The server, also where nobody is logged in.
    pub(super) place: Result<Place, CliError>,
    /// Why it is this one.
    because: String,
}

impl Who {
    pub(super) fn find(context: &Context<'_>) -> Self {
        let account = context.account_as_it_lies();
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
        tr!("named by {}", what)
    };
    if let Some(server) = said(globals.server.as_deref()) {
        by("--server", "MAILCTL_SERVER", server)
    } else if let Some(name) = said(globals.context.as_deref()) {
        by("--context", "MAILCTL_CONTEXT", name)
    } else if let Some(user) = said(globals.user.as_deref()).filter(|_| has_account) {
        by("--as", "MAILCTL_USER", user)
    } else if has_account {
        tr!("that of the context in use").to_owned()
    } else {
        let usual = "./data/server.url";
        tr!("named by {}", usual)
    }
}

pub(super) fn versions(report: &mut Report<'_>) {
    let zmq = keys::libzmq_version();
    let own = env!("CARGO_PKG_VERSION");
    match keys::require_curve() {
        Ok(()) => report.ok(VERSIONS, tr!("mailctl {}, libzmq {} with CURVE", own, zmq)),
        Err(error) => report.fail(
            VERSIONS,
            exit::CONFIG,
            tr!("mailctl {}, libzmq {}, which has no CURVE", own, zmq),
            CliError::from(error).text,
        ),
    }
}

pub(super) fn home(report: &mut Report<'_>, who: &Who) {
    let home = match &who.home {
        Ok(home) => home,
        Err(error) => return report.failed(HOME, error),
    };
    let root = home.root();
    let about = match fs::metadata(root) {
        Ok(about) => about,
        Err(error) => {
            return report.failed(HOME, &CliError::io(tr!("look at the home"), &error));
        }
    };
    let mode = about.permissions().mode() & 0o7777;
    let me = rustix::process::geteuid().as_raw();
    let root = root.display();
    if !about.is_dir() {
        report.fail(
            HOME,
            exit::CANT_CREATE,
            tr!("{} is no folder", root),
            tr!("Name a folder with --home or MAILCTL_HOME."),
        );
    } else if about.uid() != me {
        report.warn(
            HOME,
            tr!(
                "{} belongs to user number {}, and you are {}",
                root,
                about.uid(),
                me
            ),
            tr!("run mailctl as its owner, or name a home of yours with --home"),
        );
    } else if is_open(mode) {
        report.warn(
            HOME,
            tr!(
                "others can look into {} (mode {})",
                root,
                format!("{mode:04o}")
            ),
            format!("chmod 700 {root}"),
        );
    } else {
        report.ok(HOME, root.to_string());
    }
}

/// What lies in an account's folder for its owner alone.
const PRIVATE: [&str; 9] = [
    "key",
    "key.next",
    "account.json",
    "marks.json",
    "muted.json",
    "outbox",
    "mail",
    "mail/new",
    "mail/cur",
];

/// The account and its key, which loading it has read; and what lies beside it.
pub(super) fn key(report: &mut Report<'_>, who: &Who) {
    let account = match &who.account {
        Ok(account) => account,
        // The line about the server says it.
        Err(error) if who.place.as_ref().err() == Some(error) => return,
        // The line about the home says it.
        Err(error) if who.home.as_ref().err() == Some(error) => return,
        Err(error) => return report.failed(ACCOUNT, error),
    };
    let folder = account.folder();
    let around = std::iter::once(folder.to_owned());
    let open: Vec<String> = around
        .chain(PRIVATE.iter().map(|name| folder.join(name)))
        .filter(|path| mode(path).is_ok_and(is_open))
        .map(|path| path.display().to_string())
        .collect();
    let user = account.user();
    if open.is_empty() {
        let key = account.key_file();
        let key = key.display();
        report.ok(
            ACCOUNT,
            if account.is_protected() {
                tr!(
                    "{}; the key is {}, for you alone, under a passphrase",
                    user,
                    key
                )
            } else {
                tr!("{}; the key is {}, for you alone", user, key)
            },
        );
    } else {
        report.warn(
            ACCOUNT,
            tr!("others can look at what belongs to {}", user),
            format!("chmod go= {}", open.join(" ")),
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
        Err(error) => return report.failed(MAILBOX, &error.into()),
    };
    if let Err(error) = mailbox.marks() {
        return report.failed(MAILBOX, &error.into());
    }
    let looked = mailbox.try_to_write().and_then(|()| mailbox.survey());
    let survey = match looked {
        Ok(survey) => survey,
        Err(error) => return report.failed(MAILBOX, &error.into()),
    };
    let counted = tr!(
        "{} can be written; {} here, {} not shown yet",
        mailbox.folder().display(),
        mails(survey.mails),
        survey.unseen
    );
    if survey.damaged > 0 {
        report.warn(
            MAILBOX,
            format!(
                "{counted}; {}",
                tr_n!(
                    survey.damaged,
                    "{n} of those not shown yet cannot be read",
                    "{n} of those not shown yet cannot be read",
                )
            ),
            tr!("move what mailctl refresh names out of the mailbox; a backup or another device may have it whole"),
        );
    } else if survey.strangers > 0 {
        report.warn(
            MAILBOX,
            format!(
                "{counted}; {}",
                tr_n!(
                    survey.strangers,
                    "{n} other file in new/ and cur/",
                    "{n} other files in new/ and cur/",
                )
            ),
            tr!(
                "what mailctl did not put there it leaves alone; another mail program may have. To take mail in: \
                 mailctl import"
            ),
        );
    } else if survey.unfinished > 0 {
        report.warn(
            MAILBOX,
            format!(
                "{counted}; {}",
                tr_n!(
                    survey.unfinished,
                    "{n} unfinished file in tmp/",
                    "{n} unfinished files in tmp/",
                )
            ),
            tr!("what a crash left there is of no use to anybody; while no mailctl runs it may be removed"),
        );
    } else {
        report.ok(MAILBOX, counted);
    }
}

pub(super) fn outbox(report: &mut Report<'_>, who: &Who) {
    let Ok(account) = &who.account else { return };
    let listed = match account.outbox().and_then(|outbox| outbox.list()) {
        Ok(listed) => listed,
        Err(error) => return report.failed(OUTBOX, &error.into()),
    };
    let count = |is: fn(&Standing) -> bool| {
        let fitting = listed.iter().filter(|entry| is(&entry.standing));
        fitting.count() as u64
    };
    let lost = count(|standing| matches!(standing, Standing::Lost { .. }));
    let in_doubt = count(|standing| matches!(standing, Standing::InDoubt(_)));
    let drafts = count(Standing::is_draft);
    let damaged = count(Standing::is_damaged);
    if damaged > 0 {
        report.warn(
            OUTBOX,
            tr_n!(
                damaged,
                "{n} entry cannot be read and is not sent",
                "{n} entries cannot be read and are not sent",
            ),
            tr!("the others are sent; what is left of it lies in the outbox's folder. List and remove: mailctl outbox, mailctl outbox rm N"),
        );
    } else if lost > 0 {
        report.warn(
            OUTBOX,
            tr_n!(
                lost,
                "of {n} mail the server no longer knows what became",
                "of {n} mails the server no longer knows what became",
            ),
            tr!("ask the addressees, then remove them: mailctl outbox, mailctl outbox rm N"),
        );
    } else if in_doubt > 0 {
        report.warn(
            OUTBOX,
            tr_n!(in_doubt, "{n} mail in doubt", "{n} mails in doubt"),
            tr!("the next mailctl that reaches the server settles them; do not send them again"),
        );
    } else if drafts > 0 {
        report.ok(
            OUTBOX,
            tr_n!(
                drafts,
                "{n} draft, which only you send: mailctl draft",
                "{n} drafts, which only you send: mailctl draft",
            ),
        );
    } else {
        let waiting = listed.len() as u64;
        report.ok(OUTBOX, tr_n!(waiting, "{n} mail waits", "{n} mails wait"));
    }
}

pub(super) fn disk(report: &mut Report<'_>, who: &Who) {
    let Ok(home) = &who.home else { return };
    let disk = match rustix::fs::statvfs(home.root()) {
        Ok(disk) => disk,
        Err(error) => {
            return report.failed(DISK, &CliError::io(tr!("look at the disk"), &error.into()));
        }
    };
    let room = disk.f_bavail.saturating_mul(disk.f_frsize);
    let text = tr!("{} free for the home", size(room));
    let advice = tr!("make room there: what does not fit is not fetched, and nothing is lost");
    // Some file systems do not count files.
    let counts_files = disk.f_files > 0;
    if room < ROOM_FAIL {
        report.fail(DISK, exit::IO, text, advice);
    } else if counts_files && disk.f_favail == 0 {
        report.fail(
            DISK,
            exit::IO,
            tr!("no room for one more file, for all that {}", text),
            tr!("remove files there: each mail is one"),
        );
    } else if counts_files && disk.f_favail < FILES_WARN {
        report.warn(
            DISK,
            tr!(
                "room for {} more files only, for all that {}",
                disk.f_favail,
                text
            ),
            tr!("remove files there: each mail is one"),
        );
    } else if room < ROOM_WARN {
        report.warn(DISK, text, advice);
    } else {
        report.ok(DISK, text);
    }
}

/// Which server, and why this one.
pub(super) fn choice(report: &mut Report<'_>, who: &Who) {
    let place = match &who.place {
        Ok(place) => place,
        // The line about the home says it.
        Err(error) if who.home.as_ref().err() == Some(error) => return,
        Err(error) => return report.failed(SERVER, error),
    };
    let text = format!("{}, {}", place.url.endpoint(place.url.port), who.because);
    let Some(path) = place.source.as_deref() else {
        return report.ok(SERVER, text);
    };
    let from = tr!("{}; its address is from {}", text, path.display());
    if path.exists() {
        return report.ok(SERVER, from);
    }
    report.warn(
        SERVER,
        tr!("{}, which is not there now", from),
        tr!("a server that was stopped takes that file away: is it running?"),
    );
}
