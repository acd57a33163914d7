//! The command line of `mailctl chat`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// Names the host where this machine is reached, for chats.
pub const ADVERTISE: &str = "MAILCTL_ADVERTISE";

/// The longest `--wait`: no invitation stands longer.
const WAIT_MAX: Duration = Duration::from_hours(24);

/// `mailctl chat`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(
    disable_help_subcommand = true,
    subcommand_value_name = "DEED",
    subcommand_help_heading = "Deeds",
    override_usage = "mailctl chat [OPTIONS] USER\n       mailctl chat requests|accept|decline [USER]",
    after_help = "\
On a pipe each line of stdin is said, and each line of the other side printed as `peer| text`;
the end of stdin ends the chat once everything arrived. --json prints one object a line.

Examples:
  mailctl chat bob
  tail -f log | mailctl chat bob --wait 1m
  mailctl chat accept bob --json
  mailctl chat bob --send notes.pdf
  mailctl chat accept bob --receive ./inbox"
)]
pub struct Chat {
    /// What to do with invitations of others
    #[command(subcommand)]
    pub deed: Option<ChatDeed>,
    /// Whom to ask for a chat
    pub user: Option<String>,
    /// How to chat.
    #[command(flatten)]
    pub talk: Talk,
}

/// What to do with invitations of others.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum ChatDeed {
    /// List who asks you for a chat
    Requests,
    /// Accept an invitation, and chat: USER's, or the oldest
    Accept(ChatAccept),
    /// Decline an invitation: USER's, or the oldest
    Decline(ChatDecline),
}

/// `mailctl chat accept`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ChatAccept {
    /// Who asked; the oldest invitation, without it
    pub user: Option<String>,
    /// How to chat.
    #[command(flatten)]
    pub talk: Talk,
}

/// `mailctl chat decline`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ChatDecline {
    /// Who asked; the oldest invitation, without it
    pub user: Option<String>,
    /// Say that you are busy instead of no
    #[arg(long)]
    pub busy: bool,
}

/// Options of a chat, asked for or accepted.
#[derive(Debug, Clone, Default, PartialEq, Args)]
pub struct Talk {
    /// What becomes of lines that never arrived; on a terminal you are asked [default: mail]
    #[arg(long, value_name = "WHAT")]
    pub undelivered: Option<Undelivered>,
    /// The host under which the other side reaches this machine, where the address that the server
    /// sees is not it
    #[arg(
        long,
        value_name = "HOST",
        env = ADVERTISE,
        hide_env_values = true
    )]
    pub advertise: Option<String>,
    /// Give up when nobody answered for that long (`90s`, `5m`); as long as the invitation stands,
    /// without it
    #[arg(long, value_name = "TIME", value_parser = parse_wait)]
    pub wait: Option<Duration>,
    /// Send this file, then leave; may be given several times. A terminal is not read then, and with
    /// --no-input nothing else is
    #[arg(long, value_name = "PATH")]
    pub send: Vec<PathBuf>,
    /// Take files into this folder, never over what is there; without --send too, stay until the
    /// other side leaves
    #[arg(long, value_name = "DIR")]
    pub receive: Option<PathBuf>,
}

impl Talk {
    /// Returns these options, completed by others.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            undelivered: self.undelivered.or(other.undelivered),
            advertise: self.advertise.or_else(|| other.advertise.clone()),
            wait: self.wait.or(other.wait),
            send: [self.send, other.send.clone()].concat(),
            receive: self.receive.or_else(|| other.receive.clone()),
        }
    }
}

/// What becomes of lines of a chat that never arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Undelivered {
    /// Each is sent to the other side as a mail
    Mail,
    /// They are dropped
    Drop,
}

fn parse_wait(text: &str) -> Result<Duration, String> {
    let time = crate::cli::times::parse_span(text)?;
    if time.is_zero() || time > WAIT_MAX {
        return Err(crate::cli::i18n::tr_later!("must lie above 0 and within a day").to_owned());
    }
    Ok(time)
}
