//! A connection of one user that is logged in.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use correio::client::ClientError;
use correio::client::connection::Connection;
use correio::protocol::codes::Code;
use correio::protocol::names::{Pattern, UserName};
use correio::protocol::reply;
use correio::protocol::request::{self, Request};
use serde::de::DeserializeOwned;

use super::PATIENCE;

/// What a login asks for.
#[derive(Clone, Copy)]
pub struct Wishes<'a> {
    /// A topic to join.
    pub topic: Option<&'a str>,
    /// Wants to send.
    pub stream: bool,
}

/// A logged-in connection.
pub struct Login {
    /// The connection.
    pub connection: Connection,
    /// What the server said.
    pub reply: reply::Login,
}

impl Login {
    /// Logs in. With a topic, joins it.
    pub fn new(mut connection: Connection, user: &str, wishes: Wishes<'_>) -> Result<Self> {
        let topics = wishes.topic.map(Pattern::parse).transpose()?;
        let request = Request::Login(request::Login {
            user: Some(UserName::parse(user)?),
            topics: topics.into_iter().collect(),
            resume: None,
            stream: None,
            want_stream: wishes.stream,
            want_port: false,
        });
        let reply: reply::Login = ask(&mut connection, &request)?;
        if let Some(refused) = reply.refused.first() {
            bail!("{user} cannot join {}: {}", refused.topic, refused.error);
        }
        if reply.more_after.is_some() {
            bail!("{user} has more logs than a login tells");
        }
        Ok(Self { connection, reply })
    }

    /// Ends the session in order.
    pub fn close(mut self) -> Result<()> {
        let session = self.reply.session;
        let request = Request::Close(request::Close { session });
        ask::<reply::Done>(&mut self.connection, &request).map(drop)
    }
}

/// Registers the connection's key as a new user.
pub fn register(connection: &mut Connection, user: &str) -> Result<()> {
    let request = Request::Register(request::Register {
        user: Some(UserName::parse(user)?),
        device: "bench".into(),
        code: None,
    });
    let reply: reply::Registered = ask(connection, &request)?;
    must_be_durable(&reply.durability)
}

/// Fails unless the server says that what it acknowledges is on the disk.
pub fn must_be_durable(durability: &str) -> Result<()> {
    if durability != "fsync" {
        bail!("the server acknowledged as {durability:?}, not as fsync");
    }
    Ok(())
}

/// Asks and waits; a server that is busy is asked again when it said.
fn ask<T: DeserializeOwned>(connection: &mut Connection, request: &Request) -> Result<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        let deadline_ms = connection.deadline_ms(PATIENCE);
        match connection.call::<T>(request, None, deadline_ms) {
            Ok((reply, _)) => return Ok(reply),
            Err(failure) => match failure.error {
                ClientError::Refused(told) if told.code == Code::Busy && Instant::now() < until => {
                    let wait_ms = told.retry_after_ms.unwrap_or(100);
                    std::thread::sleep(Duration::from_millis(wait_ms));
                }
                error => return Err(error.into()),
            },
        }
    }
}
