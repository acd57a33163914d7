//! The outbox: every send is on disk, with its number, before it is tried for the first time.
//!
//! One outbox per account is one *stream* of numbered sends (design: exactly-once sends). An entry is
//! one file; its name says where it stands, its content never changes (that of a draft is replaced as a whole):
//!
//! ```text
//! outbox/stream.json                       the stream in use
//! outbox/<entry>.draft.mail                never tried; sent by `outbox retry` only
//! outbox/<entry>.queued.mail               never tried; sent when the server is back (`--queue`)
//! outbox/<entry>.at-<time>.mail            never tried; sent once that time has come (`--at`)
//! outbox/<entry>.held-<from>-<until>.mail  never tried; held back that long, to be taken back (`--undo`)
//! outbox/<entry>.<stream>-<number>-<settled below>.mail     numbered: tried, or about to be
//! outbox/<entry>.doubt-<stream>-<number>.mail               the server no longer knows: never sent again
//! outbox/<entry>.done-<stream>-<number>.mail                the newest that has its outcome
//! ```
//! Numbers are counted by these names alone, so that giving one costs a sync of the entry and one of
//! the folder. An entry whose outcome is here turns `done`; only the newest of those stays, as the
//! count's memory. Until that rename is on disk the entry is found again after a power cut, retried,
//! and answered with its first outcome. Whoever works on an entry holds a lock on the
//! file, which ends with its process: what a dead process left is claimed by exactly one other. The
//! lock of the outbox itself is held for bookkeeping only, never while the network is waited for.
//! This module opens no sockets and decides nothing about time.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, FileError, damaged, failed};
use crate::protocol::Answers;

/// How the name of a file ends that is being written.
const ASIDE: &str = ".aside";

/// A mail to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    /// Names of users and topics.
    pub to: Vec<String>,
    /// One line, or nothing.
    pub subject: String,
    /// MIME type of the body.
    pub content_type: String,
    /// Seconds after which it is of no use.
    pub ttl_s: Option<u64>,
    /// The body: any bytes.
    pub body: Vec<u8>,
    /// The mail that it answers.
    pub answers: Option<Answers>,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Never tried; sent only when its owner says so.
    Draft,
    /// Never tried; sent by itself when the server is there.
    Queued,
    /// Never tried; sent by itself once its time has come, in milliseconds since the epoch by this machine's clock.
    Scheduled(i64),
    /// Never tried; held back so that it can be taken back, and sent by itself afterwards.
    Held {
        /// When that began, in milliseconds since the epoch by this machine's clock.
        since_ms: i64,
        /// When it goes out.
        until_ms: i64,
    },
    /// Numbered: tried and not answered, as far as is known. Retried under the same number.
    InDoubt(Number),
    /// The server does not know any more what became of it. Never sent again.
    Lost {
        /// The stream it was numbered in.
        stream: u64,
        /// Its number there.
        number: u64,
    },
}

/// A send's place in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// The stream.
    pub stream: u64,
    /// The number: 1, 2, 3 ...
    pub number: u64,
    /// Every number below this was settled, on disk, when the number was given.
    pub settled_below: u64,
}

/// One entry, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number in the outbox.
    pub entry: u64,
    /// Where it stands.
    pub standing: Standing,
    /// A living process works on it right now.
    pub busy: bool,
    /// The recipients.
    pub to: Vec<String>,
    /// The subject.
    pub subject: String,
    /// Bytes of the body.
    pub size: u64,
}

/// An entry that this process works on: nobody else touches it until this is dropped.
#[derive(Debug)]
pub struct Claimed {
    /// Its number in the outbox.
    pub entry: u64,
    /// Where it stands.
    pub standing: Standing,
    /// What is to be sent.
    pub draft: Draft,
    path: PathBuf,
    lock: File,
}

impl Standing {
    fn never_tried(queued: bool) -> Self {
        if queued { Self::Queued } else { Self::Draft }
    }

    /// Returns stream and number, where there is one.
    fn place(&self) -> Option<(u64, u64)> {
        match *self {
            Self::InDoubt(at) => Some((at.stream, at.number)),
            Self::Lost { stream, number } => Some((stream, number)),
            Self::Draft | Self::Queued | Self::Scheduled(_) | Self::Held { .. } => None,
        }
    }

    /// Returns when it is due, where it waits for a time.
    pub fn due_ms(&self) -> Option<i64> {
        match *self {
            Self::Scheduled(at_ms) => Some(at_ms),
            Self::Held { until_ms, .. } => Some(until_ms),
            _ => None,
        }
    }
}

/// What became of a wish to take a held send back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakenBack {
    /// It is a draft again; nothing was sent.
    Draft {
        /// Its number in the outbox.
        entry: u64,
        /// Its recipients.
        to: Vec<String>,
    },
    /// It is being sent at this moment.
    TooLate {
        /// Its number in the outbox.
        entry: u64,
    },
    /// Nothing is held back.
    Nothing,
}

impl Claimed {
    /// Returns its place in the stream, if it has one that can still be used.
    pub fn number(&self) -> Option<Number> {
        match self.standing {
            Standing::InDoubt(number) => Some(number),
            _ => None,
        }
    }
}

/// The sends of one account that have no outcome yet.
#[derive(Debug, Clone)]
pub struct Outbox {
    folder: PathBuf,
    lock: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StreamFile {
    v: u32,
    /// The stream in use, once the server issued one.
    stream: Option<u64>,
}

/// What the names in the folder say.
#[derive(Debug, Default)]
struct Names {
    /// By entry.
    entries: Vec<(u64, Standing)>,
    /// The memory of the count: at most one, but for crashes.
    done: Vec<Done>,
}

/// An entry that has its outcome. Drafts that were removed have stream and number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    entry: u64,
    stream: u64,
    number: u64,
}

impl Names {
    fn next_entry(&self) -> u64 {
        let listed = self.entries.iter().map(|(entry, _)| *entry);
        let done = self.done.iter().map(|done| done.entry);
        listed.chain(done).max().unwrap_or(0) + 1
    }

    fn next_number(&self, stream: u64) -> Number {
        let listed = self.entries.iter().filter_map(|(_, at)| at.place());
        let done = self.done.iter().map(|done| (done.stream, done.number));
        let used = listed.chain(done).filter(|(of, _)| *of == stream);
        let number = used.map(|(_, number)| number).max().unwrap_or(0) + 1;
        let open = self.entries.iter().filter_map(|(_, at)| match at {
            Standing::InDoubt(at) if at.stream == stream => Some(at.number),
            _ => None,
        });
        Number {
            stream,
            number,
            settled_below: open.min().unwrap_or(number),
        }
    }

    /// Says whether the count is remembered without `done`.
    fn outranks(&self, done: Done) -> bool {
        let listed = self
            .entries
            .iter()
            .filter(|(entry, _)| *entry != done.entry);
        let listed = listed.map(|(entry, at)| (*entry, at.place().unwrap_or((0, 0))));
        let others = self.done.iter().filter(|other| **other != done);
        let others = others.map(|other| (other.entry, (other.stream, other.number)));
        listed.chain(others).any(|(entry, (stream, number))| {
            entry > done.entry
                && (done.number == 0 || (stream == done.stream && number > done.number))
        })
    }
}

#[derive(Serialize, Deserialize)]
struct EntryHeader {
    v: u32,
    to: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    subject: String,
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_s: Option<u64>,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answers: Option<Answers>,
}

impl Outbox {
    /// Opens the outbox below an account's folder, making it if needed.
    pub fn open(account: &Path) -> Result<Self, FileError> {
        let folder = account.join("outbox");
        files::make_folder(&folder)?;
        Ok(Self {
            folder,
            lock: account.join("outbox.lock"),
        })
    }

    /// Returns the stream to go on with, if the server issued one.
    pub fn stream(&self) -> Result<Option<u64>, FileError> {
        let file = files::read_json::<StreamFile>(&self.stream_path())?;
        Ok(file.and_then(|file| file.stream))
    }

    /// Takes over the stream that a login gave, where `asked` is the one the login asked for. When
    /// another process changed the stream meanwhile, its choice stands. Returns the stream in use.
    pub fn adopt_stream(&self, asked: Option<u64>, given: u64) -> Result<u64, FileError> {
        let _lock = files::lock(&self.lock)?;
        let current = self.stream()?;
        if let Some(current) = current.filter(|_| current != asked || asked == Some(given)) {
            return Ok(current);
        }
        let file = StreamFile {
            v: 1,
            stream: Some(given),
        };
        files::replace_json(&self.stream_path(), &file)?;
        Ok(given)
    }

    /// Saves a send under the next number of the stream, durably, before its first try. A login has
    /// given the stream before ([`Outbox::adopt_stream`]).
    pub fn enqueue(&self, draft: Draft) -> Result<Claimed, FileError> {
        let aside = self.write_aside(&draft)?;
        self.number(aside, None, draft)
    }

    /// Saves a send that was never tried; `queued` ones are sent by themselves later. Returns its
    /// number in the outbox.
    pub fn keep(&self, draft: &Draft, queued: bool) -> Result<u64, FileError> {
        self.keep_until(draft, Standing::never_tried(queued))
    }

    /// Saves a send that was never tried, as what it stands for: one that waits for its time, say.
    pub fn keep_until(&self, draft: &Draft, standing: Standing) -> Result<u64, FileError> {
        let aside = self.write_aside(draft)?;
        let _lock = files::lock(&self.lock)?;
        let entry = self.names()?.next_entry();
        self.rename(aside, entry, &standing)?;
        files::sync_folder(&self.folder)?;
        Ok(entry)
    }

    /// Returns the entries whose time has come, oldest first.
    pub fn due(&self, now_ms: i64) -> Result<Vec<u64>, FileError> {
        self.entries_that(|standing| standing.due_ms().is_some_and(|at_ms| at_ms <= now_ms))
    }

    /// Returns everything that is held back, oldest first.
    pub fn all_held(&self) -> Result<Vec<u64>, FileError> {
        self.entries_that(|standing| matches!(standing, Standing::Held { .. }))
    }

    /// Returns the send that was held back last and is not due at `now_ms`, and since when.
    pub fn held(&self, now_ms: i64) -> Result<Option<(u64, i64)>, FileError> {
        let held = self
            .entries()?
            .into_iter()
            .filter_map(|(entry, standing)| match standing {
                Standing::Held { since_ms, until_ms } if until_ms > now_ms => {
                    Some((entry, since_ms))
                }
                _ => None,
            });
        Ok(held.max_by_key(|(entry, since_ms)| (*since_ms, *entry)))
    }

    /// Takes the send that was held back last and is not due at `now_ms` back into a draft, durably.
    pub fn take_back(&self, now_ms: i64) -> Result<TakenBack, FileError> {
        match self.held(now_ms)? {
            Some((entry, _)) => self.take_back_entry(entry),
            None => Ok(TakenBack::Nothing),
        }
    }

    /// Takes one send that is held back into a draft, unless somebody is sending it or has sent it.
    pub fn take_back_entry(&self, entry: u64) -> Result<TakenBack, FileError> {
        let too_late = TakenBack::TooLate { entry };
        let Some(claimed) = self.claim(entry)? else {
            return Ok(too_late);
        };
        if !matches!(claimed.standing, Standing::Held { .. }) {
            return Ok(too_late);
        }
        let to = claimed.draft.to.clone();
        let entry = self.restand(claimed, &Standing::Draft)?;
        Ok(TakenBack::Draft { entry, to })
    }

    /// Puts another mail in the place of a claimed draft, durably: after a crash it is the one or the other.
    pub fn replace(&self, claimed: Claimed, draft: &Draft) -> Result<u64, FileError> {
        let (entry, standing) = (claimed.entry, claimed.standing);
        let aside = self.write_aside(draft)?;
        let _lock = files::lock(&self.lock)?;
        drop(self.rename(aside, entry, &standing)?);
        files::sync_folder(&self.folder)?;
        drop(claimed); // until here nobody else takes it up
        Ok(entry)
    }

    /// Gives a claimed draft the next number of the stream, durably, before its first try.
    pub fn promote(&self, claimed: Claimed) -> Result<Claimed, FileError> {
        let aside = Aside {
            path: claimed.path,
            file: claimed.lock,
        };
        self.number(aside, Some(claimed.entry), claimed.draft)
    }

    /// Turns a numbered entry that was surely never tried back into a draft. Its number stays used.
    pub fn demote(&self, claimed: Claimed, queued: bool) -> Result<u64, FileError> {
        if let Some((stream, number)) = claimed.standing.place() {
            let done = Done {
                entry: claimed.entry,
                stream,
                number,
            };
            drop(files::create(&self.folder.join(done_name(done)))?);
        }
        self.restand(claimed, &Standing::never_tried(queued))
    }

    /// Notes that the server does not know any more what became of it: kept, listed, never sent again.
    pub fn lose(&self, claimed: Claimed) -> Result<u64, FileError> {
        match claimed.standing {
            Standing::InDoubt(Number { stream, number, .. }) => {
                self.restand(claimed, &Standing::Lost { stream, number })
            }
            _ => Ok(claimed.entry),
        }
    }

    /// Removes an entry whose outcome is here. The next number given makes that durable, before any
    /// request can say that this one is settled.
    pub fn settle(&self, claimed: Claimed) -> Result<(), FileError> {
        let _lock = files::lock(&self.lock)?;
        let names = self.names()?;
        let (stream, number) = claimed.standing.place().unwrap_or((0, 0));
        let done = Done {
            entry: claimed.entry,
            stream,
            number,
        };
        if names.outranks(done) {
            files::remove(&claimed.path)?;
        } else {
            let path = self.folder.join(done_name(done));
            fs::rename(&claimed.path, path).map_err(failed("rename", &claimed.path))?;
        }
        drop(claimed); // its lock goes after its name
        self.forget_older(done)
    }

    /// Removes what the count no longer needs: its names come back after a crash at worst.
    fn forget_older(&self, newest: Done) -> Result<(), FileError> {
        let names = self.names()?;
        let older = names.done.iter().filter(|done| **done != newest);
        for done in older.filter(|done| names.outranks(**done)) {
            files::remove(&self.folder.join(done_name(*done)))?;
        }
        Ok(())
    }

    /// Removes an entry that nobody works on, whatever may come of it. Returns whether it was there.
    pub fn remove(&self, entry: u64) -> Result<bool, FileError> {
        let Some(claimed) = self.claim(entry)? else {
            return Ok(false);
        };
        self.settle(claimed)?;
        files::sync_folder(&self.folder)?;
        Ok(true)
    }

    /// Lists all entries, oldest first.
    pub fn list(&self) -> Result<Vec<Listed>, FileError> {
        let mut listed = Vec::new();
        for (entry, standing) in self.entries()? {
            let path = self.path(entry, &standing);
            let Some(file) = open_existing(&path)? else {
                continue;
            };
            let header = read_header(&path, &mut &file)?;
            listed.push(Listed {
                entry,
                standing,
                busy: file.try_lock().is_err(),
                to: header.to,
                subject: header.subject,
                size: header.size,
            });
        }
        Ok(listed)
    }

    /// Returns the entries that were tried and not answered, oldest first: those that no living process
    /// works on can be claimed.
    pub fn pending_retries(&self) -> Result<Vec<u64>, FileError> {
        self.sweep()?;
        self.entries_that(|standing| matches!(standing, Standing::InDoubt(_)))
    }

    /// Returns the entries that are sent by themselves when the server is there.
    pub fn queued(&self) -> Result<Vec<u64>, FileError> {
        self.entries_that(|standing| matches!(standing, Standing::Queued))
    }

    /// Returns the entries that were never tried.
    pub fn drafts(&self) -> Result<Vec<u64>, FileError> {
        self.entries_that(|standing| matches!(standing, Standing::Draft | Standing::Queued))
    }

    /// Claims one entry; nothing when it is gone or a living process works on it.
    pub fn claim(&self, entry: u64) -> Result<Option<Claimed>, FileError> {
        let found = self.entries()?.into_iter().find(|(at, _)| *at == entry);
        let Some((_, standing)) = found else {
            return Ok(None);
        };
        let path = self.path(entry, &standing);
        let Some(file) = open_existing(&path)? else {
            return Ok(None);
        };
        if file.try_lock().is_err() || !files::is_at(&file, &path) {
            return Ok(None);
        }
        let draft = read_draft(&path, &file)?;
        Ok(Some(Claimed {
            entry,
            standing,
            draft,
            path,
            lock: file,
        }))
    }

    /// Removes what processes left that died before their entry had a name that counts.
    fn sweep(&self) -> Result<(), FileError> {
        for name in files::names(&self.folder)? {
            let pid = name
                .strip_suffix(ASIDE)
                .and_then(|rest| rest.split_once('-')?.0.parse().ok())
                .and_then(rustix::process::Pid::from_raw);
            if pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_err()) {
                files::remove(&self.folder.join(name))?;
            }
        }
        Ok(())
    }

    fn entries_that(&self, wanted: impl Fn(&Standing) -> bool) -> Result<Vec<u64>, FileError> {
        let entries = self.entries()?.into_iter();
        Ok(entries
            .filter(|(_, standing)| wanted(standing))
            .map(|(entry, _)| entry)
            .collect())
    }

    fn entries(&self) -> Result<Vec<(u64, Standing)>, FileError> {
        Ok(self.names()?.entries)
    }

    fn names(&self) -> Result<Names, FileError> {
        let mut names = Names::default();
        for name in files::names(&self.folder)? {
            if let Some(done) = parse_done(&name) {
                names.done.push(done);
            } else {
                names.entries.extend(parse_name(&name));
            }
        }
        names.entries.sort_unstable_by_key(|(entry, _)| *entry);
        Ok(names)
    }

    /// Numbers a file that is already written and synced; short, since others wait for the lock.
    fn number(&self, aside: Aside, entry: Option<u64>, draft: Draft) -> Result<Claimed, FileError> {
        let _lock = files::lock(&self.lock)?;
        let missing = || damaged(&self.stream_path(), "it names no stream");
        let stream = self.stream()?.ok_or_else(missing)?;
        let names = self.names()?;
        let entry = entry.unwrap_or_else(|| names.next_entry());
        let standing = Standing::InDoubt(names.next_number(stream));
        let aside = self.rename(aside, entry, &standing)?;
        // Makes the new name, and with it every earlier change of names, durable.
        files::sync_folder(&self.folder)?;
        Ok(Claimed {
            entry,
            standing,
            draft,
            path: aside.path,
            lock: aside.file,
        })
    }

    fn restand(&self, claimed: Claimed, standing: &Standing) -> Result<u64, FileError> {
        let _lock = files::lock(&self.lock)?;
        let aside = Aside {
            path: claimed.path,
            file: claimed.lock,
        };
        drop(self.rename(aside, claimed.entry, standing)?);
        files::sync_folder(&self.folder)?;
        Ok(claimed.entry)
    }

    fn rename(&self, aside: Aside, entry: u64, standing: &Standing) -> Result<Aside, FileError> {
        let path = self.path(entry, standing);
        fs::rename(&aside.path, &path).map_err(failed("rename", &aside.path))?;
        Ok(Aside { path, ..aside })
    }

    /// Writes the entry under a name that counts for nothing yet, synced and locked.
    fn write_aside(&self, draft: &Draft) -> Result<Aside, FileError> {
        let (path, file) = self.create_aside()?;
        // Locked before it has a name that counts, so that nobody can take it for a dead one's.
        file.lock().map_err(failed("lock", &path))?;
        let header = header_of(&path, draft)?;
        match write_entry(&file, &header, &draft.body) {
            Ok(()) => Ok(Aside { path, file }),
            Err(error) => {
                drop(fs::remove_file(&path));
                Err(failed("write", &path)(error))
            }
        }
    }

    fn create_aside(&self) -> Result<(PathBuf, File), FileError> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let at = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self
            .folder
            .join(format!("{}-{at}{ASIDE}", std::process::id()));
        let file = files::create(&path)?;
        Ok((path, file))
    }

    fn path(&self, entry: u64, standing: &Standing) -> PathBuf {
        self.folder.join(name_of(entry, standing))
    }

    fn stream_path(&self) -> PathBuf {
        self.folder.join("stream.json")
    }
}

/// A file of the outbox under some name, locked by this process.
struct Aside {
    path: PathBuf,
    file: File,
}

pub(super) fn name_of(entry: u64, standing: &Standing) -> String {
    match standing {
        Standing::Draft => format!("{entry:016}.draft.mail"),
        Standing::Queued => format!("{entry:016}.queued.mail"),
        Standing::Scheduled(at_ms) => format!("{entry:016}.at-{at_ms}.mail"),
        Standing::Held { since_ms, until_ms } => {
            format!("{entry:016}.held-{since_ms}-{until_ms}.mail")
        }
        Standing::InDoubt(at) => format!(
            "{entry:016}.{}-{}-{}.mail",
            at.stream, at.number, at.settled_below
        ),
        Standing::Lost { stream, number } => format!("{entry:016}.doubt-{stream}-{number}.mail"),
    }
}

pub(super) fn done_name(done: Done) -> String {
    format!(
        "{:016}.done-{}-{}.mail",
        done.entry, done.stream, done.number
    )
}

pub(super) fn parse_done(name: &str) -> Option<Done> {
    let (entry, place) = name.strip_suffix(".mail")?.split_once(".done-")?;
    let (stream, number) = place.split_once('-')?;
    Some(Done {
        entry: entry.parse().ok()?,
        stream: stream.parse().ok()?,
        number: number.parse().ok()?,
    })
}

pub(super) fn parse_name(name: &str) -> Option<(u64, Standing)> {
    let (entry, standing) = name.strip_suffix(".mail")?.split_once('.')?;
    Some((entry.parse().ok()?, parse_standing(standing)?))
}

fn parse_standing(text: &str) -> Option<Standing> {
    match text {
        "draft" => return Some(Standing::Draft),
        "queued" => return Some(Standing::Queued),
        _ => {}
    }
    if let Some(at_ms) = text.strip_prefix("at-") {
        return Some(Standing::Scheduled(at_ms.parse().ok()?));
    }
    if let Some(times) = text.strip_prefix("held-") {
        let (since_ms, until_ms) = times.split_once('-')?;
        return Some(Standing::Held {
            since_ms: since_ms.parse().ok()?,
            until_ms: until_ms.parse().ok()?,
        });
    }
    if let Some(place) = text.strip_prefix("doubt-") {
        let (stream, number) = place.split_once('-')?;
        return Some(Standing::Lost {
            stream: stream.parse().ok()?,
            number: number.parse().ok()?,
        });
    }
    let mut numbers = text.split('-').map(|part| part.parse().ok());
    let mut next = || numbers.next().flatten();
    Some(Standing::InDoubt(Number {
        stream: next()?,
        number: next()?,
        settled_below: next()?,
    }))
}

pub(super) fn header_of(path: &Path, draft: &Draft) -> Result<Vec<u8>, FileError> {
    let header = EntryHeader {
        v: 1,
        to: draft.to.clone(),
        subject: draft.subject.clone(),
        content_type: draft.content_type.clone(),
        ttl_s: draft.ttl_s,
        size: draft.body.len() as u64,
        answers: draft.answers,
    };
    let mut bytes = serde_json::to_vec(&header).map_err(|e| damaged(path, &e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write_entry(mut file: &File, header: &[u8], body: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    file.write_all(header)?;
    file.write_all(body)?;
    file.sync_all()
}

/// Reads the first line, byte by byte through a small buffer, and leaves the rest alone.
fn read_header(path: &Path, file: &mut impl Read) -> Result<EntryHeader, FileError> {
    use std::io::BufRead;
    let mut line = Vec::new();
    std::io::BufReader::new(file)
        .read_until(b'\n', &mut line)
        .map_err(failed("read", path))?;
    serde_json::from_slice(&line).map_err(|e| damaged(path, &e))
}

fn read_draft(path: &Path, mut file: &File) -> Result<Draft, FileError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed("read", path))?;
    parse_draft(path, bytes)
}

/// Reads an entry's bytes; `path` is for messages.
pub(super) fn parse_draft(path: &Path, mut bytes: Vec<u8>) -> Result<Draft, FileError> {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| damaged(path, "it has no header"))?;
    let body = bytes.split_off(end + 1);
    let header: EntryHeader = serde_json::from_slice(&bytes).map_err(|e| damaged(path, &e))?;
    if header.size != body.len() as u64 {
        return Err(damaged(path, "its body is cut short"));
    }
    Ok(Draft {
        to: header.to,
        subject: header.subject,
        content_type: header.content_type,
        ttl_s: header.ttl_s,
        body,
        answers: header.answers,
    })
}

fn open_existing(path: &Path) -> Result<Option<File>, FileError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("open", path)(error)),
    }
}

#[cfg(test)]
mod tests;
