//! The roads out of the mailbox and into it: every mail as one message with flags, whatever the form it travels in.
//!
//! [`Importer`] puts messages beside the received mail (`mailbox/held.rs`), durably, each once: what is here is known by its
//! sum, so an import that was cut short is simply made again. Who reads and writes streams is the caller.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::files::{self, FileError, failed};
use super::mailbox::{Flags, Held, Mail, Mailbox, Stock};
use super::mime;
use crate::protocol::reply::Envelope;

/// Messages written before the next sync of their folder: what a crash makes an import do again.
const BATCH_MESSAGES: usize = 512;

/// Bytes of such messages.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Threads that write and sync files side by side.
const WRITERS: usize = 16;

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its flags.
    pub flags: Flags,
}

/// What an import did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Messages that are new here.
    pub added: u64,
    /// Messages that were here already.
    pub here: u64,
}

/// Takes messages in.
#[derive(Debug)]
pub struct Importer<'a> {
    mailbox: &'a Mailbox,
    stock: Stock,
    /// How many messages of one sum this source has had: several are several mails.
    copies: HashMap<String, u32>,
    batch: Vec<(String, Message)>,
    batch_bytes: usize,
    count: Count,
    _lock: File,
}

impl<'a> Importer<'a> {
    /// Begins an import; waits for another one to end.
    ///
    /// # Errors
    /// The mailbox cannot be read or written.
    pub fn begin(mailbox: &'a Mailbox) -> Result<Self, FileError> {
        let lock = mailbox.begin_import()?;
        Ok(Self {
            mailbox,
            stock: mailbox.stock()?,
            copies: HashMap::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            count: Count::default(),
            _lock: lock,
        })
    }

    /// Takes a message in; it is here for good after [`Importer::finish`], or some messages later.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, message: Message) -> Result<(), FileError> {
        if self.stock.has_received(&message.bytes) {
            self.count.here += 1;
            return Ok(());
        }
        let digits = Stock::digits(&message.bytes);
        let copy = self.copies.entry(digits.clone()).or_default();
        *copy += 1;
        let Some(name) = self.stock.new_name(&digits, *copy) else {
            self.count.here += 1;
            return Ok(());
        };
        self.batch_bytes += message.bytes.len();
        self.batch.push((name, message));
        if self.batch.len() >= BATCH_MESSAGES || self.batch_bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Returns what was done so far.
    pub fn count(&self) -> Count {
        let waiting = self.batch.len() as u64;
        Count {
            added: self.count.added + waiting,
            here: self.count.here,
        }
    }

    /// Ends the import: everything is on disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<Count, FileError> {
        self.flush()?;
        Ok(self.count)
    }

    fn flush(&mut self) -> Result<(), FileError> {
        let [aside, folder] = ["tmp", "cur"].map(|part| self.mailbox.import_folder(part));
        write_all(&aside, &self.batch)?;
        for (name, message) in &self.batch {
            let (from, to) = (aside.join(name), folder.join(named(name, message.flags)));
            fs::rename(&from, &to).map_err(failed("rename", &from))?;
        }
        files::sync_folder(&folder)?;
        self.count.added += self.batch.len() as u64;
        self.batch.clear();
        self.batch_bytes = 0;
        Ok(())
    }
}

/// Writes messages to files of a folder, each synced.
fn write_all(folder: &Path, messages: &[(String, Message)]) -> Result<(), FileError> {
    let share = messages.len().div_ceil(WRITERS).max(1);
    std::thread::scope(|scope| {
        let write = |(name, message): &(String, Message)| {
            files::write_synced(&folder.join(name), &[&message.bytes]).map(drop)
        };
        let writers: Vec<_> = messages
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().try_for_each(write)))
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().expect("writing a file does not panic"))
    })
}

fn named(base: &str, flags: Flags) -> String {
    format!("{base}:2,{flags}")
}

/// Puts mails into a Maildir of somebody else.
#[derive(Debug)]
pub struct MaildirOut {
    folder: PathBuf,
    here: HashSet<String>,
    batch: Vec<(String, Message)>,
    count: Count,
}

impl MaildirOut {
    /// Opens a Maildir, making it if needed. What an earlier export left unfinished goes on.
    ///
    /// # Errors
    /// It cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        let mut here = HashSet::new();
        for part in ["tmp", "new", "cur"] {
            files::make_folder(&folder.join(part))?;
        }
        for part in ["new", "cur"] {
            let base = |name: String| name.split(':').next().unwrap_or_default().to_owned();
            here.extend(files::names(&folder.join(part))?.map(base));
        }
        Ok(Self {
            folder: folder.to_owned(),
            here,
            batch: Vec::new(),
            count: Count::default(),
        })
    }

    /// Puts a mail in, unless it is there.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, base: String, message: Message) -> Result<(), FileError> {
        if !self.here.insert(base.clone()) {
            self.count.here += 1;
            return Ok(());
        }
        self.batch.push((base, message));
        if self.batch.len() >= BATCH_MESSAGES {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends it: everything is on disk.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<Count, FileError> {
        self.flush()?;
        Ok(self.count)
    }

    fn flush(&mut self) -> Result<(), FileError> {
        let aside = self.folder.join("tmp");
        write_all(&aside, &self.batch)?;
        for (base, message) in &self.batch {
            let to = if message.flags == Flags::default() {
                self.folder.join("new").join(base)
            } else {
                self.folder.join("cur").join(named(base, message.flags))
            };
            let from = aside.join(base);
            fs::rename(&from, &to).map_err(failed("rename", &from))?;
        }
        files::sync_folder(&self.folder.join("new"))?;
        files::sync_folder(&self.folder.join("cur"))?;
        self.count.added += self.batch.len() as u64;
        self.batch.clear();
        Ok(())
    }
}

/// Returns the messages of a Maildir, by name.
///
/// # Errors
/// It cannot be listed.
pub fn maildir(folder: &Path) -> Result<Vec<(PathBuf, Flags)>, FileError> {
    let mut found = Vec::new();
    for part in ["new", "cur"].map(|part| folder.join(part)) {
        for name in files::names(&part)?.filter(|name| !name.starts_with('.')) {
            let letters = name.split_once(":2,").map_or("", |(_, letters)| letters);
            found.push((part.join(&name), Flags::parse(letters)));
        }
    }
    // A first copy before a second one: by the name without what it ends in.
    found.sort_by_cached_key(|(path, _)| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let base = name.split(':').next().unwrap_or_default();
        base.strip_suffix(".import").unwrap_or(base).to_owned()
    });
    Ok(found)
}

/// Why a line is no mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is no JSON, or no object with the fields of a mail.
    #[error("it is no JSON of a mail (column {column})")]
    NotJson {
        /// Where that shows, counted from 1.
        column: usize,
    },
    /// The body cannot be decoded.
    #[error("its body_base64 is no base64")]
    NotBase64,
    /// There is none, or two.
    #[error("it has not just one of body and body_base64")]
    Bodies,
    /// The header says more than the body has.
    #[error("its header does not fit its body")]
    Header,
    /// A field of a mail is missing.
    #[error("it has no {field}")]
    Without {
        /// Its name.
        field: &'static str,
    },
}

/// A line of JSON lines, as far as it is read: what `export`, `refresh`, `read` and `history` write.
#[derive(Debug, Deserialize)]
struct Line {
    kind: String,
    /// The header of the file that it was.
    header: Option<String>,
    body: Option<String>,
    body_base64: Option<String>,
    #[serde(default)]
    letters: String,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    log: u64,
    id: Option<serde_json::Value>,
    address: Option<String>,
    from: Option<String>,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    subject: String,
    sent_at: Option<String>,
    content_type: Option<String>,
}

/// Reads one line of JSON lines; nothing for a kind that is no mail.
///
/// # Errors
/// Why it cannot be read, in words.
pub fn json_line(line: &str) -> Result<Option<Message>, LineError> {
    let line: Line = serde_json::from_str(line).map_err(|error| LineError::NotJson {
        column: error.column(),
    })?;
    if !["mail", "imported"].contains(&&*line.kind) {
        return Ok(None);
    }
    let flags = line.all_flags();
    let body = match (&line.body, &line.body_base64) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(coded)) => STANDARD.decode(coded).map_err(|_| LineError::NotBase64)?,
        _ => return Err(LineError::Bodies),
    };
    let bytes = match &line.header {
        Some(header) => {
            let held = mime::held(header);
            let rest = body.get(held..).ok_or(LineError::Header)?;
            [header.as_bytes(), rest].concat()
        }
        None if line.kind == "imported" => body,
        None => {
            let mail = line.mail(body)?;
            let (header, held) = mime::header(&mail, "imported");
            [&header[..], &mail.body[held..]].concat()
        }
    };
    Ok(Some(Message { bytes, flags }))
}

impl Line {
    fn all_flags(&self) -> Flags {
        let named = Flags::NAMED.iter();
        let said = named.filter(|(_, word)| self.flags.iter().any(|flag| flag == word));
        said.fold(Flags::parse(&self.letters), |flags, (flag, _)| {
            flags.with(*flag)
        })
    }

    /// Makes a mail of what other verbs print.
    fn mail(&self, body: Vec<u8>) -> Result<Mail, LineError> {
        let text = |value: &Option<String>, field: &'static str| {
            value.clone().ok_or(LineError::Without { field })
        };
        let id = self.id.as_ref().and_then(serde_json::Value::as_u64);
        Ok(Mail {
            log: self.log,
            envelope: Envelope {
                id: id.ok_or(LineError::Without { field: "id" })?,
                address: text(&self.address, "address")?,
                from: text(&self.from, "from")?,
                to: self.to.clone(),
                subject: self.subject.clone(),
                sent_at: text(&self.sent_at, "sent_at")?,
                content_type: text(&self.content_type, "content_type")?,
                size: body.len() as u64,
                frames: 1,
                ..Envelope::default()
            },
            body,
        })
    }
}

/// Returns a mail of the mailbox as it lies there, and its header where it is a received one.
///
/// # Errors
/// It cannot be read.
pub fn message_of(mailbox: &Mailbox, held: &Held) -> Result<Message, FileError> {
    Ok(Message {
        bytes: mailbox.bytes(held)?,
        flags: held.flags(),
    })
}

/// Returns the header of a file of the mailbox, up to and with the empty line.
pub fn header_of(file: &[u8]) -> &str {
    let end = file.windows(2).position(|pair| pair == b"\n\n");
    let header = &file[..end.map_or(0, |end| end + 2)];
    std::str::from_utf8(header).unwrap_or_default()
}
