//! The mailbox: received mail as a Maildir, on disk before it is acknowledged.
//!
//! ```text
//! mail/new/<id>.<log>.mail          not shown yet
//! mail/cur/<id>.<log>.mail:2,S      shown (without the S: not; with a T: in the trash)
//! marks.json                        per log: everything up to here is in the mailbox
//! ```
//! Mail is written aside, synced, renamed into `new/`, the folder synced, and only then the log's mark
//! moves, synced too; the caller acknowledges after that. **A file counts only at or below its log's
//! mark**: what a crash left above it is invisible and is written over when it is fetched again. So a
//! mail is always in at least one durable place and enters the mailbox once.
//!
//! Showing is a claim on the file (a lock that ends with the process), print, flush, move to `cur/`. Of
//! several processes each mail is shown by one; what a dead one claimed is shown by the next.
//!
//! When the server went back in time ([`Back`]), a new **round** begins: the marks are put where the server says
//! this device stands, and what comes then is told apart by its file's name (`<id>.<log>-<round>.mail`), since ids are
//! given out again. A mail of before that comes once more is known by what is in it.
//!
//! Other programs (mutt, aerc, notmuch) may read, flag, move and remove the files, at any time: the flags in a file's name
//! ([`Flags`]) hold whoever set them, and that one is missing says nothing. This module opens no sockets.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, FileError, damaged, failed};
use super::mime;
use crate::protocol::reply::{Envelope, LogInfo, Trimmed};
use crate::protocol::{LogNumber, MailId};

/// Mails written under one hold of the lock: others wait no longer than that takes.
pub const BATCH_MAILS_MAX: usize = 50;

/// Threads that write and sync the files of one batch side by side: the syncs share the disk's work.
const WRITERS: usize = 8;

/// How often a file is looked for anew because another program has just renamed it.
const RENAMES_MET_MAX: usize = 100;

/// Flags that most files in `cur/` have.
const USUAL: [&str; 8] = ["S", "", "RS", "ST", "T", "FS", "F", "FRS"];

/// A received mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The log it came in.
    pub log: LogNumber,
    /// Its envelope.
    pub envelope: Envelope,
    /// Its body, exactly as it was sent.
    pub body: Vec<u8>,
}

/// How a server went back in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Back {
    /// It was put back from a backup, or went on after a loss, and says so: its incarnation is another.
    Restored,
    /// Its data are an older copy of themselves, and it does not know.
    Older,
}

/// The marks as they were before a question was asked: only what was known then can contradict the answer.
#[derive(Debug)]
pub struct Seen(MarksFile);

/// How far a log is in the mailbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Everything up to this id is there, or was told as trimmed.
    pub id: MailId,
    /// The log's count at `id`, when known.
    pub n: Option<u64>,
}

/// Mails that were there once and that this reader will not see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimmedNotice {
    /// The log.
    pub log: LogNumber,
    /// Its address.
    pub address: String,
    /// How many.
    pub count: u64,
    /// They came after this id.
    pub from_id: MailId,
}

/// What a fetched page (or a piece of one) brings to a log.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The log.
    pub log: LogNumber,
    /// Its address.
    pub address: &'a str,
    /// The piece begins after this id.
    pub after: MailId,
    /// The mark moves here.
    pub through: Mark,
    /// Mails missing in between.
    pub trimmed: Option<Trimmed>,
    /// The mails, by id.
    pub mails: &'a [Mail],
}

/// What became of a [`Piece`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The log is in the mailbox up to this mark, on disk: acknowledge it.
    Upto(Mark),
    /// The log's mark is elsewhere (another process moved it): fetch from there.
    Elsewhere(Mark),
}

/// The mails of one account that were received.
#[derive(Debug, Clone)]
pub struct Mailbox {
    account: PathBuf,
    mail: PathBuf,
    server: String,
    /// The round of the session that stores here.
    round: Option<Round>,
    /// What the server has said is acknowledged.
    acked: BTreeMap<LogNumber, Acked>,
}

/// How often the server was found to have gone back.
type Round = u32;

/// What a mail's file is called; in the order in which mails are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) round: Round,
    pub(super) id: MailId,
    pub(super) log: LogNumber,
}

/// The file of a mail.
#[derive(Debug, Clone)]
struct Kept {
    name: Name,
    path: PathBuf,
    flags: Flags,
}

/// An unseen mail that this process alone may show, until this is dropped.
#[derive(Debug)]
pub struct Claim {
    /// Its id.
    pub id: MailId,
    /// Its log.
    pub log: LogNumber,
    name: Name,
    path: PathBuf,
    _lock: File,
}

impl Claim {
    /// Reads the mail.
    pub fn read(&self) -> Result<Mail, FileError> {
        read_mail(&self.path)
    }
}

/// Notices of trimming that this process alone may tell, until this is dropped.
#[derive(Debug)]
pub struct TrimmedClaim {
    /// What to tell.
    pub notices: Vec<TrimmedNotice>,
    _lock: File,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct MarksFile {
    v: u32,
    /// The store's identity at the server: when it changes, counts start over.
    incarnation: u64,
    logs: BTreeMap<LogNumber, LogMark>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    trimmed: Vec<TrimmedNotice>,
    #[serde(default, skip_serializing_if = "is_zero")]
    round: Round,
    /// The server went back, and nobody has told yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    back: Option<Back>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct LogMark {
    address: String,
    id: MailId,
    n: Option<u64>,
    /// The highest mark there ever was: below it, after a rewind, a mail may be here already.
    #[serde(default)]
    highest: MailId,
    /// The newest mail of the log that is known to have been at the server, in this round.
    #[serde(default, skip_serializing_if = "is_zero")]
    head: MailId,
    /// The marks at which earlier rounds ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    past: BTreeMap<Round, MailId>,
    /// This user does not read it any more: should he again, that starts where the server says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    left: bool,
    /// Sums of the mails that are stored and, for all that is known here, not acknowledged.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pending: BTreeMap<MailId, u32>,
    /// How often a rewind was begun or done: odd while one may be under way.
    #[serde(default, skip_serializing_if = "is_zero")]
    rewinds: u32,
}

impl LogMark {
    fn mark(&self) -> Mark {
        Mark {
            id: self.id,
            n: self.n,
        }
    }

    fn advance(&mut self, to: Mark) {
        self.id = to.id;
        self.n = to.n;
        self.highest = self.highest.max(to.id);
    }
}

impl Mailbox {
    /// Opens the mailbox below an account's folder, making it if needed. `server` stands for the
    /// server in message ids.
    pub fn open(account: &Path, server: &str) -> Result<Self, FileError> {
        let mail = account.join("mail");
        for folder in ["tmp", "new", "cur"] {
            files::make_folder(&mail.join(folder))?;
        }
        Ok(Self {
            account: account.to_owned(),
            mail,
            server: server.to_owned(),
            round: None,
            acked: BTreeMap::new(),
        })
    }

    /// Returns the Maildir.
    pub fn folder(&self) -> &Path {
        &self.mail
    }

    /// Returns where a search keeps what mails say.
    pub(super) fn search_folder(&self) -> PathBuf {
        self.account.join("search")
    }

    /// Returns the marks of all logs.
    pub fn marks(&self) -> Result<BTreeMap<LogNumber, Mark>, FileError> {
        let file = self.read_marks()?;
        Ok(file
            .logs
            .iter()
            .map(|(log, at)| (*log, at.mark()))
            .collect())
    }

    /// Returns the address of every log that ever had a mark.
    pub fn addresses(&self) -> Result<BTreeMap<LogNumber, String>, FileError> {
        let logs = self.read_marks()?.logs;
        Ok(logs
            .into_iter()
            .map(|(log, at)| (log, at.address))
            .collect())
    }

    /// Gets to know logs: one without a mark, or that was left before, starts where the server says
    /// this device stands. Returns those whose mark moved so.
    pub fn meet(&self, logs: &[LogInfo]) -> Result<Vec<LogNumber>, FileError> {
        let known = self.read_marks()?;
        let is_known = |info: &LogInfo| known.logs.get(&info.log).is_some_and(|at| !at.left);
        if logs.iter().all(is_known) {
            return Ok(Vec::new());
        }
        let _lock = self.lock()?;
        let mut marks = self.read_marks()?;
        let mut moved = Vec::new();
        for info in logs {
            let at = marks.logs.entry(info.log).or_insert_with(|| starting(info));
            let again = std::mem::take(&mut at.left);
            if again && info.cursor > at.id {
                let (id, n) = (info.cursor, Some(info.n));
                at.advance(Mark { id, n });
                moved.push(info.log);
            }
        }
        self.write_marks(&marks)?;
        Ok(moved)
    }

    /// Notes which logs this user does not read any more.
    pub fn leave(&self, is_left: impl Fn(LogNumber) -> bool) -> Result<(), FileError> {
        let is_news = |(log, at): (&LogNumber, &LogMark)| !at.left && is_left(*log);
        if !self.read_marks()?.logs.iter().any(is_news) {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut marks = self.read_marks()?;
        for (log, at) in &mut marks.logs {
            at.left |= is_left(*log);
        }
        self.write_marks(&marks)
    }

    /// Stores a piece of a page: at most [`BATCH_MAILS_MAX`] mails. When it returns
    /// [`Stored::Upto`], everything up to there survives a power cut.
    pub fn store_page(&self, piece: &Piece<'_>) -> Result<Stored, FileError> {
        let _lock = self.lock()?;
        let mut marks = self.read_marks()?;
        let is_of_now = self.is_of(&marks);
        let before = marks.clone();
        marks.drop_acknowledged(&self.acked);
        let at = marks.logs.entry(piece.log).or_default();
        let mark = at.mark();
        if piece.through.id <= mark.id {
            return Ok(Stored::Upto(mark));
        }
        if !is_of_now
            || piece.after > mark.id
            || (piece.trimmed.is_some() && piece.after != mark.id)
        {
            return Ok(Stored::Elsewhere(mark));
        }
        let fresh: Vec<&Mail> = piece
            .mails
            .iter()
            .filter(|mail| mail.envelope.id > mark.id)
            .collect();
        piece.address.clone_into(&mut at.address);
        at.advance(piece.through);
        let newest = piece.mails.last().map_or(0, |mail| mail.envelope.id);
        at.head = at.head.max(newest);
        for mail in &fresh {
            at.pend(mail);
        }
        marks
            .trimmed
            .extend(piece.trimmed.map(|trimmed| TrimmedNotice {
                log: piece.log,
                address: piece.address.to_owned(),
                count: trimmed.count,
                from_id: trimmed.from_id,
            }));
        self.write_mails(&fresh, &before)?;
        self.write_marks(&marks)?;
        Ok(Stored::Upto(piece.through))
    }

    /// Stores what came live: each mail whose `prev` is at or below its log's mark and its id above
    /// it; the others are left to a refresh. Returns the marks that moved, safe on disk.
    pub fn store_live(&self, mails: &[Mail]) -> Result<BTreeMap<LogNumber, Mark>, FileError> {
        let _lock = self.lock()?;
        let mut marks = self.read_marks()?;
        let (mut fresh, mut moved) = (Vec::new(), BTreeMap::new());
        if !self.is_of(&marks) {
            return Ok(moved);
        }
        let before = marks.clone();
        marks.drop_acknowledged(&self.acked);
        for mail in mails {
            let Some(at) = marks.logs.get_mut(&mail.log) else {
                continue;
            };
            if mail.envelope.prev > at.id || mail.envelope.id <= at.id {
                continue;
            }
            let to = Mark {
                id: mail.envelope.id,
                n: Some(mail.envelope.n),
            };
            at.advance(to);
            at.head = at.head.max(to.id);
            at.pend(mail);
            moved.insert(mail.log, to);
            fresh.push(mail);
        }
        if !fresh.is_empty() {
            self.write_mails(&fresh, &before)?;
            self.write_marks(&marks)?;
        }
        Ok(moved)
    }

    /// Returns what was not shown yet, by id; mails of before the server went back come first, and under an
    /// id that it gave out again there are two.
    pub fn unseen(&self) -> Result<Vec<(MailId, LogNumber)>, FileError> {
        let marks = self.read_marks()?;
        let mut unseen = self.named(Flags::is_unseen)?;
        unseen.retain(|kept| marks.counts(&kept.name));
        unseen.sort_unstable_by_key(|kept| kept.name);
        // Somebody may have moved one to `cur/` in the middle of the listing.
        unseen.dedup_by_key(|kept| kept.name);
        Ok(unseen
            .iter()
            .map(|kept| (kept.name.id, kept.name.log))
            .collect())
    }

    /// Returns the envelopes of what was not shown yet, in the order of [`Mailbox::unseen`]; bodies are not
    /// read. What is gone by now, or damaged, is left out.
    pub fn unseen_envelopes(&self) -> Result<Vec<Envelope>, FileError> {
        let marks = self.read_marks()?;
        let mut unseen = self.named(Flags::is_unseen)?;
        unseen.retain(|kept| marks.counts(&kept.name));
        unseen.sort_unstable_by_key(|kept| kept.name);
        unseen.dedup_by_key(|kept| kept.name);
        let read = |kept: &Kept| read_envelope(&kept.path).ok()?;
        Ok(unseen.iter().filter_map(read).collect())
    }

    /// Returns the envelopes of the newest mails, those that were not shown yet before the others; none of
    /// the trash.
    pub fn newest(&self, mails: usize) -> Result<Vec<Envelope>, FileError> {
        let marks = self.read_marks()?;
        let mut here = self.named(|flags| !flags.has(Flags::TRASHED))?;
        here.retain(|kept| marks.counts(&kept.name));
        here.sort_by_key(|kept| (!kept.flags.is_unseen(), std::cmp::Reverse(kept.name)));
        here.dedup_by_key(|kept| kept.name);
        let read = |kept: &Kept| read_envelope(&kept.path).ok()?;
        Ok(here.iter().take(mails).filter_map(read).collect())
    }

    /// Claims an unseen mail for showing; nothing when it was shown or another process is at it.
    pub fn claim(&self, id: MailId, log: LogNumber) -> Result<Option<Claim>, FileError> {
        let marks = self.read_marks()?;
        let names = (0..=marks.round).map(|round| Name { round, id, log });
        for name in names.filter(|name| marks.counts(name)) {
            if let Some(claim) = self.claim_one(name)? {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    fn claim_one(&self, name: Name) -> Result<Option<Claim>, FileError> {
        for _ in 0..RENAMES_MET_MAX {
            let Some(kept) = self.find(name)?.filter(|kept| kept.flags.is_unseen()) else {
                break;
            };
            let path = kept.path;
            let file = match File::open(&path) {
                Ok(file) => file,
                // Another program has renamed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed("open", &path)(error)),
            };
            let free = file.try_lock().is_ok() && files::is_at(&file, &path);
            return Ok(free.then_some(Claim {
                id: name.id,
                log: name.log,
                name,
                path,
                _lock: file,
            }));
        }
        Ok(None)
    }

    /// Moves mails that were shown, and flushed, to `cur/`.
    pub fn shown(&self, claims: Vec<Claim>) -> Result<(), FileError> {
        if claims.is_empty() {
            return Ok(());
        }
        claims
            .into_iter()
            .try_for_each(|claim| self.mark_shown(&claim))?;
        self.sync_shown()
    }

    /// Moves one mail that was shown to `cur/`: from here on no process shows it again. Only a power
    /// cut before [`Mailbox::sync_shown`] can undo that.
    pub fn mark_shown(&self, claim: &Claim) -> Result<(), FileError> {
        self.flag(&Key::Received(claim.name), |flags| flags.with(Flags::SEEN))
    }

    /// Makes every [`Mailbox::mark_shown`] of before durable.
    pub fn sync_shown(&self) -> Result<(), FileError> {
        files::sync_folder(&self.mail.join("cur"))?;
        files::sync_folder(&self.mail.join("new"))?;
        match self.imported_folder("cur") {
            imported if imported.is_dir() => files::sync_folder(&imported),
            _ => Ok(()),
        }
    }

    /// Returns a mail of the mailbox, shown or not, but not one in the trash; of two with this id the later one.
    pub fn get(&self, id: MailId) -> Result<Option<Mail>, FileError> {
        let mut here = self.named(|flags| !flags.has(Flags::TRASHED))?;
        here.retain(|kept| kept.name.id == id);
        let newest = here.iter().max_by_key(|kept| kept.name);
        newest.map(|kept| read_mail(&kept.path)).transpose()
    }

    /// Claims the notices of trimming that were not told yet; nothing when there are none, or when
    /// another process is telling them.
    pub fn claim_trimmed(&self) -> Result<Option<TrimmedClaim>, FileError> {
        if self.read_marks()?.trimmed.is_empty() {
            return Ok(None);
        }
        let path = self.account.join("told.lock");
        let lock = files::open_lock(&path)?;
        if lock.try_lock().is_err() {
            return Ok(None);
        }
        let notices = self.read_marks()?.trimmed;
        Ok((!notices.is_empty()).then_some(TrimmedClaim {
            notices,
            _lock: lock,
        }))
    }

    /// Returns the notices of trimming that were not told yet, without claiming them.
    pub fn untold(&self) -> Result<Vec<TrimmedNotice>, FileError> {
        Ok(self.read_marks()?.trimmed)
    }

    /// Removes notices that were told.
    pub fn told(&self, claim: TrimmedClaim) -> Result<(), FileError> {
        let _lock = self.lock()?;
        let mut marks = self.read_marks()?;
        marks.trimmed.retain(|row| !claim.notices.contains(row));
        self.write_marks(&marks)?;
        drop(claim); // until here nobody else tells them
        Ok(())
    }

    /// Says whether this handle's session knows the server as it is in the marks.
    fn is_of(&self, marks: &MarksFile) -> bool {
        self.round.is_none_or(|round| round == marks.round)
    }

    fn lock(&self) -> Result<File, FileError> {
        files::lock(&self.account.join("mailbox.lock"))
    }

    fn marks_path(&self) -> PathBuf {
        self.account.join("marks.json")
    }

    fn read_marks(&self) -> Result<MarksFile, FileError> {
        let read = files::read_json(&self.marks_path())?;
        Ok(read.unwrap_or(MarksFile {
            v: 1,
            ..MarksFile::default()
        }))
    }

    fn write_marks(&self, marks: &MarksFile) -> Result<(), FileError> {
        files::replace_json(&self.marks_path(), marks)
    }

    /// Makes files of mails in `new/`, durably. Those at or below the highest mark there was in their log
    /// may be here already.
    fn write_mails(&self, mails: &[&Mail], marks: &MarksFile) -> Result<(), FileError> {
        let fresh = self.missing(mails, marks, true)?;
        let round = marks.round;
        self.write_aside(&fresh, round)?;
        for mail in &fresh {
            let name = name_of(Name::of(mail, round));
            let aside = self.mail.join("tmp").join(&name);
            fs::rename(&aside, self.mail.join("new").join(&name))
                .map_err(failed("rename", &aside))?;
        }
        files::sync_folder(&self.mail.join("new"))
    }

    fn write_aside(&self, mails: &[&Mail], round: Round) -> Result<(), FileError> {
        let share = mails.len().div_ceil(WRITERS).max(1);
        if share == 1 && mails.len() < 2 {
            return mails
                .iter()
                .try_for_each(|mail| self.write_one(mail, round));
        }
        std::thread::scope(|scope| {
            let writers: Vec<_> = mails
                .chunks(share)
                .map(|chunk| {
                    scope.spawn(move || {
                        chunk
                            .iter()
                            .try_for_each(|mail| self.write_one(mail, round))
                    })
                })
                .collect();
            writers
                .into_iter()
                .try_for_each(|writer| writer.join().expect("writing a mail does not panic"))
        })
    }

    fn write_one(&self, mail: &Mail, round: Round) -> Result<(), FileError> {
        let path = self.mail.join("tmp").join(name_of(Name::of(mail, round)));
        let (header, held) = match round {
            0 => mime::header(mail, &self.server),
            // Mail readers take two mails of one Message-ID for one.
            _ => mime::header(mail, &format!("{}.{round}", self.server)),
        };
        files::write_synced(&path, &[&header, &mail.body[held..]]).map(drop)
    }

    /// Returns every file of a mail that is here.
    fn files(&self) -> Result<Vec<Kept>, FileError> {
        self.named(|_| true)
    }

    /// Returns the files of mails with such flags.
    fn named(&self, is_wanted: impl Fn(Flags) -> bool) -> Result<Vec<Kept>, FileError> {
        let mut here = Vec::new();
        // In this order: other programs move files from `new/` to `cur/`.
        for folder in ["new", "cur"].map(|folder| self.mail.join(folder)) {
            let kept = |file: String| {
                let (base, flags) = parted(&file);
                let name = is_wanted(flags).then(|| parse_name(base)).flatten()?;
                let path = folder.join(file);
                Some(Kept { name, path, flags })
            };
            here.extend(files::names(&folder)?.filter_map(kept));
        }
        Ok(here)
    }

    /// Finds the file of a mail, whatever its flags.
    fn find(&self, name: Name) -> Result<Option<Kept>, FileError> {
        let base = name_of(name);
        let kept = |path: PathBuf, flags| Kept { name, path, flags };
        let new = self.mail.join("new").join(&base);
        if new.exists() {
            return Ok(Some(kept(new, Flags::default())));
        }
        // Looking at the usual names costs less than a listing of a large folder.
        for flags in USUAL.map(Flags::parse) {
            let path = self.mail.join("cur").join(flagged(&base, flags));
            if path.exists() {
                return Ok(Some(kept(path, flags)));
            }
        }
        let found = self.files()?.into_iter().find(|kept| kept.name == name);
        Ok(found)
    }
}

fn starting(info: &LogInfo) -> LogMark {
    LogMark {
        address: info.address.clone(),
        id: info.cursor,
        n: Some(info.n),
        highest: info.cursor,
        ..LogMark::default()
    }
}

/// Sixteen digits hold every id (they are below 2^53), so names sort by id.
pub(super) fn name_of(name: Name) -> String {
    let Name { round, id, log } = name;
    match round {
        0 => format!("{id:016}.{log}.mail"),
        _ => format!("{id:016}.{log}-{round}.mail"),
    }
}

/// Returns what a file of any name is called in `cur/`.
pub(super) fn cur_name(file: &str) -> String {
    let (base, flags) = parted(file);
    flagged(base, flags)
}

/// Reads a file's name, with or without its flags; some programs add fields of their own before those.
pub(super) fn parse_name(file: &str) -> Option<Name> {
    let (base, _flags) = parted(file);
    let base = base.split_once(',').map_or(base, |(base, _fields)| base);
    let (id, log) = base.strip_suffix(".mail")?.split_once('.')?;
    let (log, round) = log.split_once('-').unwrap_or((log, "0"));
    Some(Name {
        round: round.parse().ok()?,
        id: id.parse().ok()?,
        log: log.parse().ok()?,
    })
}

fn read_mail(path: &Path) -> Result<Mail, FileError> {
    let bytes = fs::read(path).map_err(failed("read", path))?;
    mime::parse(bytes).ok_or_else(|| damaged(path, "it is not a mail as it was stored"))
}

/// Bytes that hold any header that we write.
const HEADER_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a mail's header, a piece at a time: most are short, and most bodies need not be read.
fn read_envelope(path: &Path) -> std::io::Result<Option<Envelope>> {
    let mut file = File::open(path)?;
    let mut beginning = Vec::new();
    while (beginning.len() as u64) < HEADER_BYTES_MAX {
        let piece = (&mut file).take(4096).read_to_end(&mut beginning)?;
        let read = mime::parse_envelope(&beginning);
        if read.is_some() || piece == 0 {
            return Ok(read);
        }
    }
    Ok(None)
}

mod copies;
mod flags;
mod glance;
mod held;
mod import;
mod pending;
mod rounds;
mod trash;
pub use copies::{Place, ShownBefore, are_copies};
pub use flags::Flags;
use flags::{flagged, parted};
pub use glance::Survey;
use held::Key;
pub use held::{Called, Held, NotCalled};
pub use import::Stock;
use pending::Acked;
use rounds::is_zero;
#[cfg(test)]
mod tests;
