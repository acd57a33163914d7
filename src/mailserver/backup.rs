//! `backup`, `restore` and `verify --backup`: where the bytes come from and where they go.
//!
//! What the bytes are is [`crate::store::backup`]'s, how a file or a folder is there whole or not at
//! all is `place`'s; nothing here looks into a record.

use std::fs::{self, File};
use std::io::{self, BufReader, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{OFlags, fcntl_getfl};

use super::folder::Folder;
use super::place::{Draft, Site, parent_of};
use super::run::refused;
use super::{Failure, UNSEALED, note, say};
use crate::config::Config;
use crate::protocol::codes::exit;
use crate::protocol::time;
use crate::store::backup::{self, BackupError, Header, Totals};
use crate::store::sled::{Restored, SledStore};
use crate::store::{FORMAT, StoreError};

/// The other end of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Standard output or input: `-`.
    Pipe,
    /// A file.
    File(PathBuf),
}

impl From<&PathBuf> for End {
    fn from(path: &PathBuf) -> Self {
        if path == Path::new("-") {
            Self::Pipe
        } else {
            Self::File(path.clone())
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pipe => f.write_str("the pipe"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Writes a backup of a stopped server.
pub(super) fn backup(config: &Config, to: &End) -> Result<(), Failure> {
    refuse_terminal(to, &io::stdout())?;
    let folder = Folder::existing(&config.data_dir)?;
    refuse_inside(&folder, to)?;
    let out = Out::open(to)?;
    let store = folder.as_owner(|| SledStore::open_whole(folder.path()))?;
    let store = store.map_err(|error| {
        let is_running = matches!(error, StoreError::InUse { .. });
        let mut failure = refused(&folder, error);
        if is_running {
            failure.text += "; a running one is backed up by: mailctl admin backup FILE";
        }
        failure
    })?;
    let written = write(&folder, &store, &out, to);
    // What it writes when it is closed is its owner's too.
    folder.as_owner(|| drop(store))?;
    let totals = written?;
    let name = out.keep()?;
    let text = format!(
        "The backup of {} is whole: {}. The server's secret keys are in it: keep it as safe as them.\n\
         To put it back: mailserver restore --data-dir NEW_FOLDER {}",
        folder.path().display(),
        amount(&totals),
        name.display()
    );
    match to {
        End::Pipe => note(&text),
        End::File(_) => say(&text),
    }
    Ok(())
}

fn write(folder: &Folder, store: &SledStore, out: &Out, to: &End) -> Result<Totals, Failure> {
    folder.check_server_key(store.server_key()?)?;
    if store.was_unsealed() {
        note(UNSEALED);
    }
    let files = folder.kept_files()?;
    let written = store.back_up(now(), &files, out.file());
    let (_, totals) = written.map_err(|error| failed(to, error))?;
    Ok(totals)
}

/// Gives the store of a stopped server this build's format, once a backup of it as it was is whole. Killed at any
/// instant, the store is of the one format or of the other.
pub(super) fn migrate(config: &Config, backup: Option<PathBuf>) -> Result<(), Failure> {
    let folder = Folder::existing(&config.data_dir)?;
    let store = folder.as_owner(|| SledStore::open_whole(folder.path()))?;
    let mut store = store.map_err(|error| refused(&folder, error))?;
    let (format, place) = (store.format(), folder.path().display());
    if format == FORMAT {
        say(&format!(
            "The store in {place} has format {FORMAT}, that of this mailserver: there is nothing to do."
        ));
        return folder.as_owner(|| drop(store));
    }
    let to = End::File(backup.unwrap_or_else(|| beside(folder.path(), format)));
    let migrated = refuse_inside(&folder, &to).and_then(|()| {
        let out = Out::open(&to)?;
        write(&folder, &store, &out, &to)?;
        let kept = out.keep()?;
        folder.as_owner(|| store.raise())??;
        Ok(kept)
    });
    folder.as_owner(|| drop(store))?;
    let kept = migrated?;
    let kept = kept.display();
    say(&format!(
        "The store in {place} had format {format} and has format {FORMAT} now.\n\
         As it was it is in {kept}, with the server's secret keys: keep it as safe as them.\n\
         The way back: mailserver restore --data-dir NEW_FOLDER {kept}, with the mailserver that wrote it"
    ));
    Ok(())
}

/// Names a backup that is made unasked: beside the folder, by its format and the time.
fn beside(folder: &Path, format: u32) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    let made: String = now().chars().filter(char::is_ascii_alphanumeric).collect();
    name.push(format!(".format{format}.{made}.backup"));
    name.into()
}

/// What a backup is written to.
enum Out {
    Pipe(File),
    File(Draft),
}

impl Out {
    fn open(to: &End) -> Result<Self, Failure> {
        let End::File(path) = to else {
            let out = io::stdout().as_fd().try_clone_to_owned();
            let out = out.map_err(|error| stream_failed(to, &error))?;
            let out = File::from(out);
            refuse_closed(&out)?;
            return Ok(Self::Pipe(out));
        };
        Draft::make(path).map(Self::File)
    }

    fn file(&self) -> &File {
        match self {
            Self::Pipe(pipe) => pipe,
            Self::File(draft) => draft.file(),
        }
    }

    /// Puts the backup in its place; returns what to call it.
    fn keep(self) -> Result<PathBuf, Failure> {
        match self {
            Self::Pipe(_) => Ok("FILE".into()),
            Self::File(draft) => draft.keep(),
        }
    }
}

/// Makes a data folder from a backup.
pub(super) fn restore(config: &Config, from: &End) -> Result<(), Failure> {
    let site = Site::choose(&config.data_dir)?;
    let mut backup = open(from)?;
    let folder = site.make()?;
    let built = build(&folder, &mut backup, from);
    let kept = built.and_then(|restored| site.keep().map(|()| restored));
    match kept {
        Ok(restored) => restored.release(site.target()),
        Err(failure) => {
            site.clear();
            return Err(failure);
        }
    }
    let Header {
        made_at, server, ..
    } = backup.header();
    let place = site.target().display();
    say(&format!(
        "The data folder {place} is as it was at {made_at} (mailserver {server}): {}.\n\
         Next: mailserver run --data-dir {place}",
        amount(&backup.totals())
    ));
    Ok(())
}

/// Reads a backup and says whether it is whole.
pub(super) fn verify(from: &End) -> Result<(), Failure> {
    let backup = open(from)?;
    let Header {
        made_at, server, ..
    } = backup.header().clone();
    let totals = backup.check().map_err(|error| failed(from, error))?;
    say(&format!(
        "{from} is a whole backup of {made_at} (mailserver {server}): {}.",
        amount(&totals)
    ));
    Ok(())
}

fn build(
    folder: &Folder,
    backup: &mut backup::Reader<Box<dyn Read>>,
    from: &End,
) -> Result<Restored, Failure> {
    let restored =
        SledStore::restore(folder.path(), backup).map_err(|error| failed(from, error))?;
    folder.put_kept_files(backup.files())?;
    Ok(restored)
}

fn open(from: &End) -> Result<backup::Reader<Box<dyn Read>>, Failure> {
    refuse_terminal(from, &io::stdin())?;
    let input: Box<dyn Read> = match from {
        End::Pipe => Box::new(io::stdin().lock()),
        End::File(path) => {
            let file = File::open(path).map_err(|error| Failure {
                code: exit::IO,
                text: format!(
                    "cannot open the backup {from}: {error}; name a file that can be read"
                ),
            })?;
            Box::new(BufReader::new(file))
        }
    };
    backup::Reader::open(input).map_err(|error| failed(from, error))
}

/// Nobody types a backup, and none is for a screen.
fn refuse_terminal(end: &End, stream: &impl IsTerminal) -> Result<(), Failure> {
    if *end != End::Pipe || !stream.is_terminal() {
        return Ok(());
    }
    Err(Failure {
        code: exit::USAGE,
        text: "- stands for a pipe, and this is a terminal; name a file".to_owned(),
    })
}

/// Refuses a file in the data folder itself: whoever needs the backup moves that away first.
fn refuse_inside(folder: &Folder, to: &End) -> Result<(), Failure> {
    let End::File(path) = to else {
        return Ok(());
    };
    // One that is not there is refused when the file is made.
    let Ok(parent) = parent_of(path).canonicalize() else {
        return Ok(());
    };
    if !parent.starts_with(folder.path()) {
        return Ok(());
    }
    Err(Failure {
        code: exit::USAGE,
        text: format!(
            "{to} lies in the data folder {}, which is moved away before a backup is put back; name a file outside of it",
            folder.path().display()
        ),
    })
}

/// Refuses a standard output that was closed: the runtime has put the null device there, for both
/// directions, and every write would succeed. A shell that is told to send it there opens it for
/// writing alone.
fn refuse_closed(out: &File) -> Result<(), Failure> {
    let found = (out.metadata(), fs::metadata("/dev/null"));
    let (Ok(out_is), Ok(null)) = found else {
        return Ok(());
    };
    let is_null = out_is.file_type().is_char_device() && out_is.rdev() == null.rdev();
    let ways = fcntl_getfl(out).unwrap_or(OFlags::WRONLY);
    if !is_null || !ways.contains(OFlags::RDWR) {
        return Ok(());
    }
    Err(Failure {
        code: exit::IO,
        text: "standard output is closed, so the backup would be nowhere; connect it to a pipe, or name a file"
            .to_owned(),
    })
}

fn amount(totals: &Totals) -> String {
    format!("{} records in {} bytes", totals.records(), totals.bytes)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a backup says when it was made, and nothing hangs on it"
)]
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    time::to_text(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0)))
}

/// Says what is wrong with a backup, and which.
fn failed(end: &End, error: BackupError) -> Failure {
    let (code, advice) = match error {
        BackupError::Store(error) => return error.into(),
        BackupError::Stream { source, .. } => return stream_failed(end, &source),
        BackupError::Foreign => (exit::DATA, "name a file that mailserver backup wrote"),
        BackupError::Newer { .. } => (exit::CONFIG, "use the version that made it, or a later one"),
        BackupError::Short { .. } | BackupError::Damaged { .. } => (
            exit::DATA,
            "nothing of it was used: take another copy, or an older backup",
        ),
    };
    Failure {
        code,
        text: format!("{end}: {error}; {advice}"),
    }
}

fn stream_failed(end: &End, error: &io::Error) -> Failure {
    Failure {
        code: exit::IO,
        text: format!(
            "the backup in {end}: {error}; nothing was kept: see that it can be reached and that there is room"
        ),
    }
}
