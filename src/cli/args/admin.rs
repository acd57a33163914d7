//! The command lines of administration.

use clap::{Args, Subcommand};

/// `mailctl admin`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Admin {
    /// Users and their names
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
    /// Counters of the whole server
    Stats,
}

/// `mailctl admin user`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AdminUser {
    /// List users
    Ls,
    /// Remove a user with mail, devices and subscriptions; the name stays reserved
    Rm(Named),
    /// Free the name of a removed user
    Free(Named),
}

/// `mailctl admin topic`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AdminTopic {
    /// List topics
    Ls,
    /// Make a topic
    Create(Named),
    /// Remove a topic with its mail and subscriptions
    Rm(Named),
}

/// `mailctl admin queue`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AdminQueue {
    /// List what waits, per address and device
    Ls,
    /// The same for one address
    Show(Named),
    /// List the mails that wait at an address; changes nothing
    Peek(Peek),
}

/// `mailctl admin lease`.
#[derive(Debug, Clone, Copy, PartialEq, Subcommand)]
pub enum AdminLease {
    /// List ports and who holds them
    Ls,
}

/// `mailctl admin session`.
#[derive(Debug, Clone, Copy, PartialEq, Subcommand)]
pub enum AdminSession {
    /// List sessions
    Ls,
}

/// The user, topic or address that an administrator means.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Named {
    /// Its name
    pub name: String,
}

/// `mailctl admin queue peek`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Peek {
    /// The address
    pub address: String,
    /// Show bodies too; this is logged, and the addressee is told
    #[arg(long)]
    pub body: bool,
}
