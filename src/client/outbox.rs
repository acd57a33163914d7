//! The outbox: every send is on disk, with its number, before it is tried for the first time.
//!
//! One outbox per account is one *stream* of numbered sends (design: exactly-once sends). An entry is
//! one file; its name says where it stands, its content never changes (that of a draft is replaced as a whole):
//!
//! ```text
//! outbox/stream.json                       the stream in use
//! outbox/<entry>.draft.mail                kept on purpose, or refused; sent only by its number
//! outbox/<entry>.unsent.mail               never tried, the server was away; sent by `outbox retry` only
//! outbox/<entry>.queued.mail               never tried; sent when the server is back (`--queue`)
//! outbox/<entry>.at-<time>.mail            never tried; sent once that time has come (`--at`)
//! outbox/<entry>.held-<from>-<until>.mail  never tried; held back that long, to be taken back (`--undo`)
//! outbox/<entry>.<stream>-<number>-<settled below>.mail     numbered: tried, or about to be
//! outbox/<entry>.doubt-<stream>-<number>.mail               the server no longer knows: never sent again
//! outbox/<entry>.done-<stream>-<number>.mail                the newest that has its outcome
//! outbox/<entry>.damaged[-<stream>-<number>].mail           cannot be read: set aside, never sent
//! ```
//! Numbers are counted by these names alone, so that giving one costs a sync of the entry and one of
//! the folder. An entry whose outcome is here turns `done`; only the newest of those stays, as the
//! count's memory. Until that rename is on disk the entry is found again after a power cut, retried,
//! and answered with its first outcome. Whoever works on an entry holds a lock on the
//! file, which ends with its process: what a dead process left is claimed by exactly one other. The
//! lock of the outbox itself is held for bookkeeping only, never while the network is waited for.
//! A refused send whose text lies nowhere else becomes a draft under its old entry: the draft is on disk before the
//! numbered file goes. Where a crash left both, the numbered one counts, and its retry does the rest again.
//! This module opens no sockets and decides nothing about time.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, FileError, damaged, failed};
use crate::protocol::Answers;
use crate::protocol::codes::WireError;
pub(super) use form::{done_name, header_of, name_of, parse_done, parse_draft, parse_name};
use form::{read_draft, read_header};

mod form;

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
    /// Kept on purpose, or refused; sent only when its owner says so, by its number.
    Draft,
    /// Never tried, because the server was away; sent when its owner says that all of these are.
    Unsent,
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
    /// Its file cannot be read: set aside, never sent, so that it is in the way of no other.
    Damaged {
        /// Stream and number, if it had been tried.
        place: Option<(u64, u64)>,
    },
}

/// A recipient that a draft was refused for, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The recipient.
    pub address: String,
    /// Why.
    #[serde(flatten)]
    pub error: WireError,
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
    /// Who refused it when it was sent, and why; empty once it was changed.
    pub refused: Vec<Refusal>,
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
    /// Returns where a send stands that was not tried because the server is away.
    pub fn not_tried(queued: bool) -> Self {
        if queued { Self::Queued } else { Self::Unsent }
    }

    /// Says whether its owner must say so before it is sent.
    pub fn is_draft(&self) -> bool {
        matches!(self, Self::Draft | Self::Unsent)
    }

    /// Returns stream and number, where there is one.
    fn place(&self) -> Option<(u64, u64)> {
        match *self {
            Self::InDoubt(at) => Some((at.stream, at.number)),
            Self::Lost { stream, number } => Some((stream, number)),
            Self::Damaged { place } => place,
            Self::Draft | Self::Unsent | Self::Queued | Self::Scheduled(_) | Self::Held { .. } => {
                None
            }
        }
    }

    /// Says whether its file cannot be read.
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    fn damaged(&self) -> Self {
        Self::Damaged {
            place: self.place(),
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
    /// Returns where its file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

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
        let aside = self.write_aside(&draft, &[])?;
        self.number(aside, None, draft)
    }

    /// Keeps a draft; a `queued` one is no draft, it is sent by itself later. Returns its number in the outbox.
    pub fn keep(&self, draft: &Draft, queued: bool) -> Result<u64, FileError> {
        let standing = if queued {
            Standing::Queued
        } else {
            Standing::Draft
        };
        self.keep_until(draft, standing)
    }

    /// Saves a send that was never tried, as what it stands for: one that waits for its time, say.
    pub fn keep_until(&self, draft: &Draft, standing: Standing) -> Result<u64, FileError> {
        let aside = self.write_aside(draft, &[])?;
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
        let aside = self.write_aside(draft, &[])?;
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

    /// Turns a numbered entry that was surely never tried back into what it was. Its number stays used.
    pub fn demote(&self, claimed: Claimed, standing: &Standing) -> Result<u64, FileError> {
        if let Some((stream, number)) = claimed.standing.place() {
            let done = Done {
                entry: claimed.entry,
                stream,
                number,
            };
            drop(files::create(&self.folder.join(done_name(done)))?);
        }
        self.restand(claimed, standing)
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
        if claimed.standing.place().is_some() {
            self.remove_shadow(claimed.entry)?;
        }
        self.forget(claimed)
    }

    /// Makes a draft for those who refused it of an entry whose outcome is here, durably, and says in it why. Whenever
    /// this is cut off, the entry is there as it was, or the draft is.
    pub fn keep_refused(&self, claimed: Claimed, refused: &[Refusal]) -> Result<u64, FileError> {
        let entry = claimed.entry;
        let draft = Draft {
            to: refused.iter().map(|told| told.address.clone()).collect(),
            ..claimed.draft.clone()
        };
        let aside = self.write_aside(&draft, refused)?;
        let _lock = files::lock(&self.lock)?;
        drop(self.rename(aside, entry, &Standing::Draft)?);
        files::sync_folder(&self.folder)?;
        self.forget(claimed)?;
        files::sync_folder(&self.folder)?;
        Ok(entry)
    }

    /// Removes the draft that [`Outbox::keep_refused`] had begun when it was cut off: its entry was settled otherwise,
    /// sent to all after a refusal for the moment, say. Before the entry goes, or the draft would seem to be one.
    fn remove_shadow(&self, entry: u64) -> Result<(), FileError> {
        let shadow = self.path(entry, &Standing::Draft);
        match fs::remove_file(&shadow) {
            Ok(()) => files::sync_folder(&self.folder),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("remove", &shadow)(error)),
        }
    }

    /// Takes away a claimed entry's file, and keeps what it said of the count.
    fn forget(&self, claimed: Claimed) -> Result<(), FileError> {
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
            let length = file.metadata().map_err(failed("read", &path))?.len();
            let busy = file.try_lock().is_err();
            listed.push(match read_header(&path, &file, length) {
                Ok(header) if !standing.is_damaged() => Listed {
                    entry,
                    standing,
                    busy,
                    to: header.to,
                    subject: header.subject,
                    size: header.size,
                    refused: header.refused,
                },
                Ok(_) | Err(FileError::Damaged { .. }) => Listed {
                    entry,
                    standing: standing.damaged(),
                    busy,
                    to: Vec::new(),
                    subject: String::new(),
                    size: length,
                    refused: Vec::new(),
                },
                Err(error) => return Err(error),
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

    /// Returns the entries that were not tried because the server was away, oldest first.
    pub fn unsent(&self) -> Result<Vec<u64>, FileError> {
        self.entries_that(|standing| matches!(standing, Standing::Unsent | Standing::Queued))
    }

    /// Returns the drafts that only their number sends, oldest first.
    pub fn drafts(&self) -> Result<Vec<u64>, FileError> {
        self.entries_that(|standing| matches!(standing, Standing::Draft))
    }

    /// Claims one entry; nothing when it is gone or a living process works on it. One whose file is damaged is set
    /// aside: it is told here, once, and not taken for one that is to be sent any more.
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
        let draft = match read_draft(&path, &file) {
            _ if standing.is_damaged() => Draft::default(),
            Err(FileError::Damaged { what, .. }) => {
                return Err(self.set_aside(entry, &standing, what)?);
            }
            read => read?,
        };
        Ok(Some(Claimed {
            entry,
            standing,
            draft,
            path,
            lock: file,
        }))
    }

    /// Gives a damaged file a name that nothing sends; returns the error to tell.
    fn set_aside(
        &self,
        entry: u64,
        standing: &Standing,
        what: String,
    ) -> Result<FileError, FileError> {
        let _lock = files::lock(&self.lock)?;
        let path = self.path(entry, standing);
        let aside = self.path(entry, &standing.damaged());
        fs::rename(&path, &aside).map_err(failed("rename", &path))?;
        files::sync_folder(&self.folder)?;
        Ok(FileError::Damaged { path: aside, what })
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
        let is_numbered =
            |at: &Standing| matches!(at, Standing::InDoubt(_) | Standing::Lost { .. });
        let numbered = names.entries.iter().filter(|(_, at)| is_numbered(at));
        let numbered: Vec<u64> = numbered.map(|(entry, _)| *entry).collect();
        // Of an entry that was to become a draft when its process died, the numbered file counts.
        names
            .entries
            .retain(|(entry, at)| *at != Standing::Draft || numbered.binary_search(entry).is_err());
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
    fn write_aside(&self, draft: &Draft, refused: &[Refusal]) -> Result<Aside, FileError> {
        let (path, file) = self.create_aside()?;
        // Locked before it has a name that counts, so that nobody can take it for a dead one's.
        file.lock().map_err(failed("lock", &path))?;
        let header = header_of(&path, draft, refused)?;
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

fn write_entry(mut file: &File, header: &[u8], body: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    file.write_all(header)?;
    file.write_all(body)?;
    file.sync_all()
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
