//! The command lines of administration.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::limits::KICK_SECONDS_MAX;
use crate::protocol::request::{Right, Role};

/// `mailctl admin`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Admin {
    /// Users, their keys and their names
    #[command(subcommand)]
    User(AdminUser),
    /// Topics
    #[command(subcommand)]
    Topic(AdminTopic),
    /// What waits, for whom
    #[command(subcommand)]
    Queue(AdminQueue),
    /// Ports lent for direct chat
    #[command(subcommand)]
    Lease(AdminLease),
    /// Who is logged in
    #[command(subcommand)]
    Session(AdminSession),
    /// One mail's life: where it lies, and which devices have it, wait for it, or do not get it, and why
    Explain(Explain),
    /// What administrators did: who, what, when
    Audit(Audit),
    /// One figure against two thresholds, with the exit codes of Nagios: 0, 1, 2, 3
    Check(Check),
    /// Counters of the whole server
    Stats,
    /// Write a backup of the running server, its keys included
    Backup(AdminBackup),
}

/// `mailctl admin backup`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AdminBackup {
    /// A new file, which only you can read; `-` for a pipe
    pub file: PathBuf,
}

/// `mailctl admin user`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AdminUser {
    /// List users
    Ls,
    /// Show all there is to know of a user
    Show(Named),
    /// Make a user, whose mail waits from now on, and a code for the first device
    Add(Named),
    /// Cut a user off and let none of the devices in; mail sent to it waits
    Disable(Named),
    /// Let a disabled or kicked user in again
    Enable(Named),
    /// Set what a user may do: operators look, admins look and touch
    Role(UserRole),
    /// Set how much may wait for a user; what is left out is as the server's settings say
    Quota(UserQuota),
    /// Remove a user with mail, devices and subscriptions; the name stays reserved
    Rm(Doomed),
    /// Free the name of a removed user
    Free(Named),
    /// The keys of a user's devices
    #[command(subcommand)]
    Key(AdminKey),
}

/// `mailctl admin user key`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AdminKey {
    /// List a user's devices with their keys
    Ls(Named),
    /// Remove a device: its key is worth nothing from now on
    Revoke(KeyRevoke),
}

/// `mailctl admin topic`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AdminTopic {
    /// List topics
    Ls,
    /// Show all there is to know of a topic, and who may read and send
    Show(Named),
    /// Make a topic
    Create(Named),
    /// Set how long a topic keeps mail for newcomers; what is left out is as the server's settings say
    Retention(TopicRetention),
    /// Let a user read or send to topics, and nobody else but by other rules
    Grant(TopicGrant),
    /// Take such a rule back; it holds at once for who is there
    Revoke(TopicGrant),
    /// Remove a topic with its mail and subscriptions
    Rm(Doomed),
}

/// `mailctl admin topic grant` and `revoke`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TopicGrant {
    /// A topic, or all below one: 'lab/*'; a level may stand for the user's own name (docs/admin.md)
    #[arg(value_name = "TOPIC")]
    pub topic: String,
    /// What they may do
    #[arg(value_enum)]
    pub right: RightWord,
    /// The user; left out, everybody
    #[arg(value_name = "USER")]
    pub user: Option<String>,
}

/// A right by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RightWord {
    /// Read, and so join
    Read,
    /// Send
    Send,
}

impl From<RightWord> for Right {
    fn from(word: RightWord) -> Self {
        match word {
            RightWord::Read => Self::Read,
            RightWord::Send => Self::Send,
        }
    }
}

/// `mailctl admin topic retention`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TopicRetention {
    /// The topic
    pub name: String,
    /// Mails kept that everybody has read
    #[arg(long, value_name = "N", required_unless_present_any = ["age", "default"])]
    pub mails: Option<u64>,
    /// How old they may get: 12h, 30days
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    pub age: Option<Duration>,
    /// As the server's settings say
    #[arg(long, conflicts_with_all = ["mails", "age"])]
    pub default: bool,
}

/// `mailctl admin queue`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AdminQueue {
    /// List what waits, per address and device
    Ls(QueueLs),
    /// The same for one address
    Show(Named),
    /// List the mails that wait at an address; changes nothing
    Peek(Peek),
    /// Remove all mail that is kept at an address, read or not; its readers are told how much
    Purge(Doomed),
    /// Move what waits for a user to another, who took over; both are told
    Move(QueueMove),
    /// Let a stuck device hold no mail back at an address: what waits for it there counts as read
    Release(QueueRelease),
}

/// `mailctl admin queue ls`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct QueueLs {
    /// The most first: by mails waiting, by bytes, or by the age of the oldest
    #[arg(long, value_enum, value_name = "BY", default_value = "name")]
    pub sort: QueueOrder,
    /// Only what waits for this user's devices
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Only addresses that begin so
    #[arg(long, value_name = "PREFIX")]
    pub prefix: Option<String>,
    /// Only where so many mails wait
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub least: u64,
    /// So many rows at most
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// An order of queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueueOrder {
    /// By address and device
    Name,
    /// Most mails first
    Waiting,
    /// Most bytes first
    Bytes,
    /// Oldest mail first
    Age,
}

/// `mailctl admin queue move`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct QueueMove {
    /// The user whose mail waits
    pub from: String,
    /// The user who gets it
    pub to: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the verb's help")]
    pub sure: Sure,
}

/// `mailctl admin queue release`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct QueueRelease {
    /// The address
    pub name: String,
    /// The number of the device
    #[arg(value_name = "DEVICE")]
    pub device: u64,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the verb's help")]
    pub sure: Sure,
}

/// `mailctl admin lease`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AdminLease {
    /// List ports and who holds them
    Ls,
    /// Take a port from who holds it; a chat that runs on it goes on
    Release(LeaseRelease),
}

/// `mailctl admin session`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AdminSession {
    /// List sessions
    Ls,
    /// End a user's sessions, at once and for a while
    Kick(Kick),
}

/// The user, topic or address that an administrator means.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Named {
    /// Its name
    pub name: String,
}

/// The user or topic that goes.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Doomed {
    /// Its name
    pub name: String,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the verb's help")]
    pub sure: Sure,
}

/// How sure an administrator is of what destroys something.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub struct Sure {
    /// Only count what would go
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `mailctl admin user role`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct UserRole {
    /// The user
    pub name: String,
    /// What the user may do
    #[arg(value_enum)]
    pub role: RoleWord,
}

/// A role by its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleWord {
    /// Nothing beside the own mail
    User,
    /// Look at everything but bodies, touch nothing
    Operator,
    /// Everything
    Admin,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Self {
        match word {
            RoleWord::User => Self::User,
            RoleWord::Operator => Self::Operator,
            RoleWord::Admin => Self::Admin,
        }
    }
}

/// `mailctl admin user quota`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct UserQuota {
    /// The user
    pub name: String,
    /// Mails that may wait
    #[arg(long, value_name = "N", required_unless_present_any = ["bytes", "default"])]
    pub mails: Option<u64>,
    /// Bytes of their bodies: 500M, 4G, or a number
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub bytes: Option<u64>,
    /// As the server's settings say
    #[arg(long, conflicts_with_all = ["mails", "bytes"])]
    pub default: bool,
}

/// `mailctl admin user key revoke`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct KeyRevoke {
    /// The user
    pub name: String,
    /// The number of the device
    #[arg(value_name = "DEVICE")]
    pub device: u64,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the verb's help")]
    pub sure: Sure,
}

/// `mailctl admin lease release`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct LeaseRelease {
    /// The port
    pub port: u16,
}

/// `mailctl admin session kick`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Kick {
    /// The user
    pub name: String,
    /// Only this device, by its number
    #[arg(long, value_name = "N")]
    pub device: Option<u64>,
    /// Keep out for so long: 30s, 5m, 2h; 0 lets the user come back at once
    #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = parse_kick)]
    pub time: Duration,
}

/// `mailctl admin explain`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Explain {
    /// The number of the mail
    #[arg(value_name = "MAIL-ID")]
    pub id: u64,
    /// Only this user's part in it
    #[arg(long = "for", value_name = "USER")]
    pub reader: Option<String>,
}

/// `mailctl admin audit`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Audit {
    /// Go on with what is done from now on, until stopped
    #[arg(short, long)]
    pub follow: bool,
    /// Begin after the deed of this number; 0 shows all that is kept
    #[arg(long, value_name = "N")]
    pub after: Option<u64>,
}

/// `mailctl admin check`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Check {
    /// What
    #[arg(value_enum)]
    pub what: CheckWhat,
    /// Of queues, only this address
    #[arg(value_name = "ADDRESS")]
    pub address: Option<String>,
    /// Of queues, the age of the oldest mail in seconds, not how many wait
    #[arg(long)]
    pub age: bool,
    /// From this value on it is a warning
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub warn: Option<u64>,
    /// From this value on it is critical
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub critical: Option<u64>,
    /// How it is said
    #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
    pub format: CheckForm,
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckWhat {
    /// Mails that wait for one device: 10000, 100000; with --age seconds: 86400, 604800
    Queue,
    /// Bytes free, bad from a threshold down (10G); critical when new mail is refused for lack of room
    Disk,
    /// Milliseconds until something is written and synced: 500, 5000
    Store,
    /// Percent of the ports that are not free: 80, 95
    Leases,
}

impl CheckWhat {
    /// Returns its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Disk => "disk",
            Self::Store => "store",
            Self::Leases => "leases",
        }
    }
}

/// How a check is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckForm {
    /// A line
    Text,
    /// A line with figures, for Nagios and its kin
    Nagios,
    /// An object
    Json,
    /// Metrics, for a textfile collector
    Prometheus,
}

/// `mailctl admin queue peek`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Peek {
    /// The address
    pub address: String,
    /// Show bodies too; this stands in the audit, and the addressee is told by a mail
    #[arg(long)]
    pub body: bool,
    /// With --body: only this mail, by its number
    #[arg(long, value_name = "ID", requires = "body")]
    pub id: Option<u64>,
}

fn parse_kick(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|e| e.to_string())?,
    };
    if time.as_secs() <= KICK_SECONDS_MAX {
        Ok(time)
    } else {
        Err(crate::cli::i18n::tr_later!("must be 30 days at most").to_owned())
    }
}

fn parse_age(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).map_err(|e| e.to_string()),
    }
}

/// Reads a number of bytes: `4096`, `500M`, `4G`, in thousands and not in 1,024s.
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, ""),
    };
    let power = match unit.trim_end_matches(['B', 'b']) {
        "" => Some(0),
        "k" | "K" => Some(1),
        "M" => Some(2),
        "G" => Some(3),
        "T" => Some(4),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .zip(power)
        .and_then(|(number, power)| number.checked_mul(1_000_u64.pow(power)))
        .ok_or_else(|| {
            crate::cli::i18n::tr_later!("a size is a number with k, M, G or T behind it").to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4_096),
            ("10k", 10_000),
            ("500M", 500_000_000),
            ("4GB", 4_000_000_000),
            ("1T", 1_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "9 9", "99999999999T", "4GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
