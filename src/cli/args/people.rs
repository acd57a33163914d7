//! The command lines of verbs about who somebody is: users, devices, keys, invitations to the server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `mailctl login`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Login {
    /// Your name
    pub user: String,
    /// Join this topic too (`lab/*` for all under one); may be given several times
    #[arg(short, long = "topic", value_name = "T")]
    pub topics: Vec<String>,
    /// How you call this device, if it is new; the name of this machine, without it
    #[arg(long, value_name = "NAME")]
    pub device_name: Option<String>,
}

/// `mailctl who`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Who {
    /// Whom to ask for; everybody, without
    #[arg(value_name = "USER", conflicts_with_all = ["hide", "show"])]
    pub users: Vec<String>,
    /// From now on, show nobody that and when you are here
    #[arg(long, conflicts_with = "show")]
    pub hide: bool,
    /// Show it again
    #[arg(long)]
    pub show: bool,
}

/// `mailctl device`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Device {
    /// List your devices
    Ls,
    /// Remove another of your devices: from then on its key is worth nothing
    Rm(DeviceRm),
    /// Give a device another name
    Rename(DeviceRename),
}

/// `mailctl device rm`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DeviceRm {
    /// The device's number in `device ls`
    #[arg(value_name = "N")]
    pub device: u64,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `mailctl device rename`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DeviceRename {
    /// The device's number in `device ls`
    #[arg(value_name = "N")]
    pub device: u64,
    /// Its new name, at most 64 bytes
    pub name: String,
}

/// `mailctl key`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Key {
    /// Show its fingerprint, and where and how it lies
    Show,
    /// Put it under a passphrase, or under another one
    Protect(KeyProtect),
    /// Take the passphrase off
    Unprotect,
    /// Take another key pair for this device; the old one is worth nothing afterwards
    Rotate,
}

/// `mailctl key protect`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct KeyProtect {
    /// Read the new passphrase from the first line of this file; at a terminal you are asked for it
    #[arg(long, value_name = "FILE|-")]
    pub new_passphrase_file: Option<PathBuf>,
}

/// `mailctl account`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AccountDeed {
    /// Remove yourself from the server, with your mail, devices and subscriptions, and from this machine.
    /// Nobody can take your name afterwards
    Rm(AccountRm),
}

/// `mailctl account rm`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AccountRm {
    /// First get what waits, and put a copy of all your mail there, as `mailctl export` does
    #[arg(long, value_names = ["FORM", "PATH"], num_args = 2, required_unless_present = "no_export")]
    pub export: Vec<String>,
    /// Go without a copy
    #[arg(long, conflicts_with = "export")]
    pub no_export: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `mailctl logout`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Logout {
    /// Remove this device for good: its key, mailbox and outbox here, its place on the server
    #[arg(long)]
    pub forget: bool,
    /// With --forget: do not ask
    #[arg(short, long, requires = "forget")]
    pub yes: bool,
}

/// `mailctl use`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Use {
    /// One of this home's users
    pub user: String,
}

/// `mailctl invite`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    subcommand_value_name = "DEED",
    subcommand_help_heading = "Deeds",
    override_usage = "mailctl invite [OPTIONS] [USER]\n       mailctl invite ls\n       mailctl invite rm ID..."
)]
pub struct Invite {
    /// What to do with invitations that nobody has used
    #[command(subcommand)]
    pub deed: Option<InviteDeed>,
    /// The name the new user must take; any, without it
    pub user: Option<String>,
    /// For a further device of yourself (of USER, if you are an administrator)
    #[arg(long)]
    pub device: bool,
}

/// What to do with invitations that nobody has used.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum InviteDeed {
    /// List them
    Ls,
    /// Take them back
    Rm(InviteRm),
}

/// `mailctl invite rm`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct InviteRm {
    /// Which, as `invite ls` names them
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
}

/// `mailctl join`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Join {
    /// The invitation (`correio://...&code=...`), or its code alone when the server is known; `-`
    /// reads it from stdin, which keeps it out of the list of processes
    pub code: String,
    /// Your name, where the code does not fix it
    pub user: Option<String>,
    /// How you call this device; the name of this machine, without it
    #[arg(long, value_name = "NAME")]
    pub device_name: Option<String>,
}

/// `mailctl block`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Block {
    /// Whose mail is refused from now on, and who hears that you are busy
    pub user: Option<String>,
}

/// `mailctl unblock`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Unblock {
    /// Whom you blocked
    pub user: String,
}
