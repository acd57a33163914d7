//! What a server under test must be able to do. Add a target by implementing `Target`.

use crate::server::Server;
use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use std::any::Any;
use std::sync::Arc;
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
pub enum To {
    User(String),
    Topic(String),
}

impl To {
    /// The bare name.
    pub fn into_name(self) -> String {
        match self {
            To::User(name) | To::Topic(name) => name,
        }
    }
}

/// How the server is to be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// As for production: an acknowledged mail is on the disk, where the server can promise that.
    Durable,
    /// Only for loading a backlog quickly; the server is stopped in order and started again
    /// as `Durable` before anything is measured.
    Loading,
}

#[async_trait]
pub trait Target: Send + Sync {
    fn peer(&self) -> String;
    fn version(&self) -> String;
    /// What an acknowledged send means, in a few words.
    fn ack_means(&self) -> &'static str;
    /// Whether `Mode::Loading` differs from `Mode::Durable` at all.
    fn has_loading_mode(&self) -> bool {
        false
    }

    /// A server object with a fresh data directory; nothing started yet.
    fn fresh(&mut self) -> Result<()>;
    /// Start the process on the current data directory. Does not wait until it answers.
    fn spawn(&mut self, mode: Mode) -> Result<()>;
    fn server(&mut self) -> &mut Server;
    /// Succeeds once the server answers a cheap request.
    async fn ping(&self) -> Result<()>;

    /// Make durable mailboxes of these users and, if given, subscribe each to the topic.
    /// They stay offline.
    async fn setup(&self, users: &[String], topic: Option<&str>) -> Result<()>;
    /// A new connection that sends.
    async fn sender(&self) -> Result<Arc<dyn Sender>>;
    /// A new connection of this user, online, that receives what its mailbox and topic bring.
    async fn receiver(&self, user: &str, topic: Option<&str>) -> Result<Box<dyn Receiver>>;

    /// Have the server write its state to disk, where that is not done for each mail.
    async fn checkpoint(&mut self) -> Result<()> {
        Ok(())
    }
    /// The largest number of offline subscribers worth trying here, with the reason.
    fn most_offline_subscribers(&self) -> (usize, &'static str) {
        (10_000, "")
    }
    /// Mails to queue before the restart is timed, where loading a million takes too long.
    fn restart_backlog(&self) -> u64 {
        1_000_000
    }
    fn most_idle_clients(&self) -> (usize, &'static str) {
        (5_000, "")
    }
    /// Bring these users online and keep them so, each waiting for mail, until the return is dropped.
    async fn hold_idle(&self, users: &[String]) -> Result<Held> {
        let connecting: Vec<_> = users.iter().map(|u| self.receiver(u, None)).collect();
        let receivers: Vec<Box<dyn Receiver>> = futures::stream::iter(connecting)
            .buffer_unordered(64)
            .try_collect()
            .await?;
        Ok(Box::new(Waiting::start(receivers)))
    }
}

/// Clients that are kept online.
pub type Held = Box<dyn Any + Send>;

/// Receivers, each waiting in a task of its own.
pub struct Waiting(Vec<JoinHandle<()>>);

impl Waiting {
    /// A receiver is waiting only once its first request is under way.
    pub fn start(receivers: Vec<Box<dyn Receiver>>) -> Self {
        let tasks = receivers.into_iter().map(|mut receiver| {
            tokio::spawn(async move {
                // Nothing is sent to it: it ends with the server, or is aborted.
                let mut out = Vec::new();
                receiver.recv(&mut out).await.ok();
            })
        });
        Self(tasks.collect())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

pub trait Sender: Send + Sync {
    /// Send one mail. The future ends when the server has acknowledged it.
    fn send(&self, to: &To, body: Bytes) -> BoxFuture<'static, Result<()>>;
}

#[async_trait]
pub trait Receiver: Send {
    /// Wait for at least one mail; put the bodies of all that are at hand into `out`.
    async fn recv(&mut self, out: &mut Vec<Bytes>) -> Result<()>;
    /// Acknowledge every mail received so far.
    async fn ack(&mut self) -> Result<()>;
    /// Return once the server has taken in all acknowledgements.
    async fn settle(&mut self) -> Result<()> {
        Ok(())
    }
}
