//! `mailctl export` and `import`: the mailbox out of here and into here, whole. Asks no server, and tells it nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::Context;
use crate::cli::args::{Exchange, Form};
use crate::cli::error::{CliError, line_text, mbox_text, os_text};
use crate::cli::i18n::tr;
use crate::cli::json::{self, object};
use crate::cli::show::counted;
use crate::cli::ui::Ui;
use crate::cli::untrusted::{self, visible};
use crate::client::exchange::{self, Count, Importer, MaildirOut, Message};
use crate::client::home::Account;
use crate::client::mailbox::{Flags, Held, Mail, Mailbox};
use crate::client::mbox::{self, MboxError};
use crate::protocol::codes::exit;

/// Mails between two words of how far it is.
const TELL_EVERY: u64 = 250;

/// Stands for stdin and stdout.
const STREAM: &str = "-";

/// Runs `export`.
pub(crate) fn export(context: &mut Context<'_>, args: &Exchange) -> Result<(), CliError> {
    let account = context.account_as_it_lies()?;
    whole(context.ui, &account, args)
}

/// Exports the mailbox of `account`.
pub(crate) fn whole(ui: &mut Ui, account: &Account, args: &Exchange) -> Result<(), CliError> {
    let mailbox = account.mailbox()?;
    let mut mails = mailbox.held()?;
    mails.retain(|held| !held.flags().has(Flags::TRASHED));
    mails.sort_by_cached_key(Held::order);
    let count = match args.form {
        Form::Maildir => to_maildir(ui, &mailbox, &mails, &args.path)?,
        Form::Mbox | Form::Jsonl => to_stream(ui, &mailbox, &mails, args)?,
    };
    let path = args.path.display().to_string();
    let there = match count.here {
        0 => String::new(),
        here => tr!("; {} were there", here),
    };
    let mails = counted(count.added, "mail");
    let human = tr!("exported {} to {}{}", mails, visible(&path), there);
    let told =
        json!({"form": args.form.word(), "path": path, "mails": count.added, "there": count.here});
    tell(ui, args, &told, &human)
}

/// Runs `import`.
pub(crate) fn import(context: &mut Context<'_>, args: &Exchange) -> Result<(), CliError> {
    let mailbox = context.account_as_it_lies()?.mailbox()?;
    let ui = &mut *context.ui;
    let count = match args.form {
        Form::Maildir => from_maildir(ui, &mailbox, &args.path)?,
        Form::Mbox => from_mbox(ui, &mailbox, args)?,
        Form::Jsonl => from_jsonl(ui, &mailbox, args)?,
    };
    let path = args.path.display().to_string();
    let here = match count.here {
        0 => String::new(),
        here => tr!("; {} were here", here),
    };
    let mails = counted(count.added, "mail");
    let human = tr!("imported {} from {}{}", mails, visible(&path), here);
    let told =
        json!({"form": args.form.word(), "path": path, "added": count.added, "here": count.here});
    ui.pass(None);
    ui.result(&object(told), human)
}

/// Says what an export did: where results are the export itself, aside.
fn tell(
    ui: &mut Ui,
    args: &Exchange,
    told: &serde_json::Value,
    human: &str,
) -> Result<(), CliError> {
    ui.pass(None);
    if args.path == Path::new(STREAM) {
        ui.report_as(&object(told), human);
        return Ok(());
    }
    ui.result(&object(told), human)
}

fn progress(ui: &mut Ui, done: u64, all: Option<u64>) {
    if done.is_multiple_of(TELL_EVERY) {
        ui.pass(Some(&match all {
            Some(all) => tr!("{} of {}", done, counted(all, "mail")),
            None => counted(done, "mail"),
        }));
    }
}

fn to_maildir(
    ui: &mut Ui,
    mailbox: &Mailbox,
    mails: &[Held],
    path: &Path,
) -> Result<Count, CliError> {
    if path == Path::new(STREAM) {
        return Err(CliError::usage(tr!("a Maildir is a folder; name one")));
    }
    if path.starts_with(mailbox.folder()) {
        return Err(CliError::usage(tr!(
            "that is the mailbox itself; name another folder"
        )));
    }
    let mut out =
        MaildirOut::open(path).map_err(|error| CliError::from(error).exits(exit::CANT_CREATE))?;
    for (held, done) in mails.iter().zip(1..) {
        if let Some(message) = message(mailbox, held)? {
            out.add(mailbox.name_elsewhere(held), message)?;
        }
        progress(ui, done, Some(mails.len() as u64));
    }
    Ok(out.finish()?)
}

/// Reads a mail; nothing when it was removed meanwhile.
fn message(mailbox: &Mailbox, held: &Held) -> Result<Option<Message>, CliError> {
    match exchange::message_of(mailbox, held) {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A file that gets its name when it is whole.
pub(super) struct NewFile {
    path: PathBuf,
    aside: PathBuf,
    /// None once it has its name.
    out: Option<BufWriter<File>>,
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.out.is_some() {
            // What is not whole is of no use to anybody.
            std::fs::remove_file(&self.aside).ok();
        }
    }
}

impl NewFile {
    /// Begins one, where nothing lies yet.
    pub(super) fn create(path: &Path) -> Result<Self, CliError> {
        let failed = |error: &io::Error| {
            CliError::io(&tr!("create {}", path.display()), error).exits(exit::CANT_CREATE)
        };
        if path.exists() {
            let text = tr!(
                "{} is there already; nothing is overwritten",
                path.display()
            );
            return Err(CliError::new("exists", exit::CANT_CREATE, text));
        }
        let mut aside = path.as_os_str().to_owned();
        aside.push(".part");
        let aside = PathBuf::from(aside);
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&aside).map_err(|error| failed(&error))?;
        Ok(Self {
            path: path.to_owned(),
            aside,
            out: Some(BufWriter::with_capacity(1 << 20, file)),
        })
    }

    /// Writes some more of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let out = self
            .out
            .as_mut()
            .expect("it is there until it has its name");
        out.write_all(bytes)
            .map_err(|error| CliError::io(&tr!("write {}", self.aside.display()), &error))
    }

    /// Syncs it and gives it its name.
    pub(super) fn finish(mut self) -> Result<(), CliError> {
        let sync = |out: &mut BufWriter<File>| {
            out.flush()?;
            out.get_ref().sync_all()
        };
        let out = self
            .out
            .as_mut()
            .expect("it is there until it has its name");
        sync(out)
            .and_then(|()| std::fs::rename(&self.aside, &self.path))
            .map(|()| self.out = None)
            .map_err(|error| CliError::io(&tr!("write {}", self.path.display()), &error))
    }
}

fn to_stream(
    ui: &mut Ui,
    mailbox: &Mailbox,
    mails: &[Held],
    args: &Exchange,
) -> Result<Count, CliError> {
    let is_stdout = args.path == Path::new(STREAM);
    if is_stdout && args.form == Form::Mbox && io::stdout().is_terminal() {
        return Err(
            CliError::usage(tr!("a terminal would obey what is in mails")).hint(tr!(
                "name a file, or pipe it: mailctl export mbox - | gzip > mail.mbox.gz"
            )),
        );
    }
    let mut file = if is_stdout {
        None
    } else {
        Some(NewFile::create(&args.path)?)
    };
    let mut count = Count::default();
    for (held, done) in mails.iter().zip(1..) {
        let Some(bytes) = stream_form(mailbox, held, args.form)? else {
            continue;
        };
        match &mut file {
            Some(file) => file.write(&bytes)?,
            None => ui.raw(&bytes)?,
        }
        count.added += 1;
        progress(ui, done, Some(mails.len() as u64));
    }
    match file {
        Some(file) => file.finish()?,
        None => ui.flush()?,
    }
    Ok(count)
}

/// One mail of JSON lines: as `read` shows it, and what makes its file again.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    mail: json::HeldMail<'a>,
    letters: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'a str>,
}

fn stream_form(mailbox: &Mailbox, held: &Held, form: Form) -> Result<Option<Vec<u8>>, CliError> {
    let Some(message) = message(mailbox, held)? else {
        return Ok(None);
    };
    let mail = mailbox.read(held)?;
    let mut bytes = Vec::new();
    if form == Form::Mbox {
        let (sender, date) = from_line(&mail);
        mbox::write(&mut bytes, &sender, &date, &message).expect("writing to memory does not fail");
        return Ok(Some(bytes));
    }
    let header = exchange::header_of(&message.bytes);
    let line = Line {
        mail: json::held(held, &mail.envelope, &mail.body),
        letters: held.flags().to_string(),
        header: (!held.is_imported()).then_some(header),
    };
    let text = untrusted::to_json(&line)
        .map_err(|error| CliError::new("internal", exit::SOFTWARE, error.to_string()))?;
    bytes.extend(text.as_bytes());
    bytes.push(b'\n');
    Ok(Some(bytes))
}

/// Returns who and when stands in the line before a message.
fn from_line(mail: &Mail) -> (String, String) {
    let from = &mail.envelope.from;
    let bare = from.rsplit_once('<').map_or(&**from, |(_, rest)| rest);
    let bare: String = bare
        .chars()
        .filter(|c| c.is_ascii_graphic() && *c != '>')
        .collect();
    let sender = if bare.is_empty() {
        "MAILER-DAEMON".to_owned()
    } else {
        bare
    };
    let sent = DateTime::parse_from_rfc3339(&mail.envelope.sent_at);
    let sent = sent.map_or(DateTime::<Utc>::UNIX_EPOCH, |at| at.to_utc());
    (sender, sent.format("%a %b %e %H:%M:%S %Y").to_string())
}

fn from_maildir(ui: &mut Ui, mailbox: &Mailbox, path: &Path) -> Result<Count, CliError> {
    let is_missing = |part: &&&str| !path.join(part).is_dir();
    if let Some(part) = ["new", "cur"].iter().find(is_missing)
        && path.exists()
    {
        let text = tr!(
            "{} is no Maildir: it has no folder {}",
            path.display(),
            part
        );
        return Err(CliError::new("bad_import", exit::DATA, text));
    }
    let files = exchange::maildir(path)?;
    let mut importer = Importer::begin(mailbox)?;
    for ((file, flags), done) in files.iter().zip(1..) {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(CliError::io(&tr!("read {}", file.display()), &error));
            }
        };
        importer.add(Message {
            bytes,
            flags: *flags,
        })?;
        progress(ui, done, Some(files.len() as u64));
    }
    Ok(importer.finish()?)
}

/// Opens what is imported from.
fn input(path: &Path) -> Result<Box<dyn BufRead>, CliError> {
    if path == Path::new(STREAM) {
        return Ok(Box::new(BufReader::with_capacity(1 << 20, io::stdin())));
    }
    let file =
        File::open(path).map_err(|error| CliError::io(&tr!("read {}", path.display()), &error))?;
    Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
}

fn from_mbox(ui: &mut Ui, mailbox: &Mailbox, args: &Exchange) -> Result<Count, CliError> {
    let reader = mbox::Reader::new(input(&args.path)?);
    let mut importer = Importer::begin(mailbox)?;
    for (message, done) in reader.zip(1..) {
        match message {
            Ok(message) => importer.add(message)?,
            Err(MboxError::Io(error)) => return Err(unread(ui, args, importer, &error)?),
            Err(error) => return Err(broken(ui, args, importer, &mbox_text(&error))?),
        }
        progress(ui, done, None);
    }
    Ok(importer.finish()?)
}

fn from_jsonl(ui: &mut Ui, mailbox: &Mailbox, args: &Exchange) -> Result<Count, CliError> {
    let mut importer = Importer::begin(mailbox)?;
    for (line, done) in input(&args.path)?.lines().zip(1..) {
        let line = match line {
            Ok(line) => line,
            Err(error) => return Err(unread(ui, args, importer, &error)?),
        };
        if line.trim().is_empty() {
            continue;
        }
        match exchange::json_line(&line) {
            Ok(Some(message)) => importer.add(message)?,
            Ok(None) => {}
            Err(why) => {
                let what = tr!("line {}: {}", done, line_text(&why));
                return Err(broken(ui, args, importer, &what)?);
            }
        }
        progress(ui, done, None);
    }
    Ok(importer.finish()?)
}

/// Ends an import whose source could not be read on: a file that is none of the kind, or one that the system does not
/// give.
fn unread(
    ui: &mut Ui,
    args: &Exchange,
    importer: Importer<'_>,
    error: &io::Error,
) -> Result<CliError, CliError> {
    let told = broken(ui, args, importer, &os_text(error))?;
    let is_none = [io::ErrorKind::IsADirectory, io::ErrorKind::InvalidData].contains(&error.kind());
    Ok(if is_none {
        told
    } else {
        CliError {
            code: "io".into(),
            ..told.exits(exit::IO)
        }
    })
}

/// Ends an import at what cannot be read: what came before is kept.
fn broken(
    ui: &mut Ui,
    args: &Exchange,
    importer: Importer<'_>,
    what: &str,
) -> Result<CliError, CliError> {
    let count = importer.finish()?;
    ui.pass(None);
    let text = format!("{}: {what}", args.path.display());
    let told = CliError::new("bad_import", exit::DATA, text);
    if count.added == 0 {
        return Ok(told);
    }
    let kept = counted(count.added, "mail");
    Ok(told.hint(tr!(
        "{} before it came in; importing it again doubles nothing",
        kept
    )))
}
