//! How mails are written on the command line: what is sent, to whom, and when.

use crate::cli::i18n::tr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::TheEntry;
use crate::cli::times;
use crate::limits::TTL_SECONDS_MAX;

/// `mailctl send`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  mailctl send bob news -s 'Release 0.1' -f notes.txt
  df -h | mailctl send ana -s disks -

The bytes of TEXT, FILE or stdin are sent as they are. Each recipient gets the same mail once,
however often this machine or the server breaks down in between.")]
pub struct Send {
    /// Users and topics (a leading @ is fine); `-` takes the body from stdin
    #[arg(required = true, value_name = "TARGET", allow_hyphen_values = false)]
    pub targets: Vec<String>,
    /// One line that says what it is about
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub subject: String,
    /// What to send.
    #[command(flatten)]
    pub content: Content,
    /// It answers mail ID: it comes into the same thread, under `Re: ...` where -s says nothing else
    #[arg(long, value_name = "ID")]
    pub reply_to: Option<u64>,
}

/// What is sent, and how.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct Content {
    /// The body
    #[arg(
        short,
        long,
        value_name = "TEXT",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    pub body: Option<String>,
    /// Take the body from a file (`-`: stdin)
    #[arg(short, long)]
    pub file: Option<PathBuf>,
    /// Attach a file; may be given several times. The mail is then a MIME multipart
    #[arg(
        short,
        long = "attach",
        value_name = "FILE",
        conflicts_with = "content_type"
    )]
    pub attach: Vec<PathBuf>,
    /// MIME type of the body. Without it: text if it is UTF-8, else application/octet-stream
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Of no use after that long (`90s`, `12h`, `7d`): unread, it is then dropped and counted
    #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
    pub ttl: Option<u64>,
    /// If the server is down, send it by itself later instead of keeping it as a draft
    #[arg(long)]
    pub queue: bool,
    /// Send it at that time, by this machine's clock: `18:00`, `2026-12-24T08:00`, or in `2h`. It waits in
    /// the outbox; the first mailctl that runs or stands here after that sends it
    #[arg(long, value_name = "WHEN", value_parser = times::At::parse, conflicts_with = "draft")]
    pub at: Option<times::At>,
    /// Hold it back for that long (`10s`): Ctrl-C or `mailctl undo` makes a draft of it again
    #[arg(long, value_name = "TIME", value_parser = parse_undo, conflicts_with_all = ["draft", "at"])]
    pub undo: Option<Duration>,
    /// Send nothing: keep it as a draft
    #[arg(long)]
    pub draft: bool,
    /// Ask to be told when it was read; each reader decides whether you are (see `receipts`)
    #[arg(long)]
    pub receipt: bool,
}

/// `mailctl draft`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Draft {
    /// List drafts
    Ls,
    /// Show one
    Open(TheEntry),
    /// Edit one's text in $VISUAL or $EDITOR
    Edit(TheEntry),
    /// Send one now
    Send(DraftSend),
    /// Throw one away
    Rm(TheEntry),
}

/// `mailctl draft send`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DraftSend {
    /// The entry's number in `outbox ls`
    #[arg(value_name = "N")]
    pub number: u64,
    /// To these instead of those it was written to; may be given several times
    #[arg(long, value_name = "TARGET")]
    pub to: Vec<String>,
}

/// `mailctl reply`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  mailctl reply 42 -b 'at the corner'
  mailctl reply 42 --all --quote        asks for the text below what is quoted
  date | mailctl reply 42 -

At a terminal, without a body, it asks for the text; ~? there lists what a line with ~ does.")]
pub struct Reply {
    /// The mail's number
    #[arg(value_name = "ID")]
    pub id: u64,
    /// Take the body from stdin
    #[arg(value_name = "-", value_parser = ["-"], hide_possible_values = true)]
    pub stdin: Option<String>,
    /// Also to the address that it came by and to its other recipients
    #[arg(long)]
    pub all: bool,
    /// Another subject than `Re: ...`
    #[arg(short, long)]
    pub subject: Option<String>,
    /// Put the text that is answered before yours
    #[arg(long)]
    pub quote: bool,
    /// Write the text in $VISUAL or $EDITOR
    #[arg(long, conflicts_with_all = ["body", "file", "stdin"])]
    pub edit: bool,
    /// What to send.
    #[command(flatten)]
    pub content: Content,
}

/// `mailctl forward`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
Examples:
  mailctl forward 42 carol dave -b 'what do you think?'
  mailctl forward 42 carol --edit
  date | mailctl forward 42 carol -

What you write stands above the mail. Nothing is asked for: without -b, -f, `-` or --edit it goes as it is.")]
pub struct Forward {
    /// The mail's number
    #[arg(value_name = "ID")]
    pub id: u64,
    /// Users and topics (a leading @ is fine); `-` takes what you write from stdin
    #[arg(required = true, value_name = "TARGET", allow_hyphen_values = false)]
    pub targets: Vec<String>,
    /// Another subject than `Fwd: ...`
    #[arg(short, long)]
    pub subject: Option<String>,
    /// Write in $VISUAL or $EDITOR, above what is passed on
    #[arg(long, conflicts_with_all = ["body", "file"])]
    pub edit: bool,
    /// What to send.
    #[command(flatten)]
    pub content: Content,
}

/// `mailctl receipts`.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub struct Receipts {
    /// `on`, `off`, or `ask` to be asked each time; without it, show what holds
    pub policy: Option<ReceiptPolicy>,
}

/// Whether senders who ask are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReceiptPolicy {
    /// They are
    On,
    /// They are not
    Off,
    /// You are asked each time
    Ask,
}

/// The longest that a send is held back.
const UNDO_MAX: Duration = Duration::from_hours(1);

/// Reads how long a send is held back: `10s`, or seconds.
pub fn parse_undo(text: &str) -> Result<Duration, String> {
    let time = times::parse_span(text)?;
    if time <= UNDO_MAX {
        Ok(time)
    } else {
        Err(tr!("must be an hour at most").to_owned())
    }
}

fn parse_ttl(text: &str) -> Result<u64, String> {
    let time = times::parse_span(text)?.as_secs();
    if (1..=TTL_SECONDS_MAX).contains(&time) {
        Ok(time)
    } else {
        Err(tr!("must lie between a second and ten years").to_owned())
    }
}
