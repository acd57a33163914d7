//! What administrators ask and do, over a connection of their own.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::super::connection::Connection;
use super::super::error::ClientError;
use super::super::home::Place;
use crate::auth::keys::KeyPair;
use crate::protocol::request::{self, Request};
use crate::protocol::{MailId, reply};

/// A connection on which an administrator asks, with a key of its own (`admin.key`) or a user's, without a session.
#[derive(Debug)]
pub struct Administrator {
    connection: Connection,
    timeout: Duration,
}

impl Administrator {
    /// Connects to a server; one that is not there is waited for as long as by a session, or `timeout` if that is less.
    pub fn connect(place: &Place, keys: &KeyPair, timeout: Duration) -> Result<Self, ClientError> {
        let patience = timeout.min(super::Options::default().patience);
        let connection = Connection::open(place, keys, patience)?;
        Ok(Self {
            connection,
            timeout,
        })
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) -> Result<(), ClientError> {
        let until_ms = self.connection.deadline_ms(time);
        while self.connection.now_ms() < until_ms {
            self.connection.pump_interruptibly(until_ms)?;
        }
        Ok(())
    }

    /// Brings a backup of the running server, part by part; `part` takes each, and has all of it when this returns.
    ///
    /// # Errors
    /// What the server refuses, what the connection meets, and what `part` says. What was taken then is no backup.
    pub fn backup<E: std::convert::From<ClientError>>(
        &mut self,
        mut part: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut question = request::Admin::new(request::AdminWhat::Backup, None);
        loop {
            let (told, frames) = self.ask::<reply::BackupPart>(&question)?;
            for frame in &frames {
                part(frame)?;
            }
            if told.more_after.is_none() {
                return Ok(());
            }
            question.after = told.more_after;
        }
    }

    /// Looks at bodies, page by page: `each` gets a mail's row and its whole body. It is written down, and who the mails
    /// are for is told.
    ///
    /// # Errors
    /// What the server refuses, what the connection meets, and what `each` says.
    pub fn look<E: std::convert::From<ClientError>>(
        &mut self,
        mut question: request::Admin,
        mut each: impl FnMut(serde_json::Value, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        question.body = true;
        loop {
            let (page, frames) = self.ask::<reply::Rows>(&question)?;
            let mut frames = frames.into_iter();
            for row in page.rows {
                let field = |name: &str| row[name].as_u64().unwrap_or(0);
                let is_whole = field("frames") > 0 || field("size") == 0 || row["state"] != "live";
                let body = if is_whole {
                    let frame = (field("frames") > 0).then(|| frames.next());
                    frame.flatten().unwrap_or_default()
                } else {
                    self.pieces(&question, field("id"), field("size"))?
                };
                each(row, body)?;
            }
            if page.more_after.is_none() {
                return Ok(());
            }
            question.after = page.more_after;
        }
    }

    /// Fetches a body that is too large for a frame.
    fn pieces(
        &mut self,
        question: &request::Admin,
        id: MailId,
        size: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let mut question = question.clone();
        question.particulars.id = Some(id);
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            question.particulars.offset = Some(body.len() as u64);
            let (_, frames) = self.ask::<reply::Body>(&question)?;
            let piece = frames.into_iter().next().unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            body.extend(piece);
        }
        Ok(body)
    }

    fn ask<T: DeserializeOwned>(
        &mut self,
        question: &request::Admin,
    ) -> Result<(T, Vec<Vec<u8>>), ClientError> {
        let deadline_ms = self.connection.deadline_ms(self.timeout);
        let request = Request::Admin(question.clone());
        Ok(self.connection.call::<T>(&request, None, deadline_ms)?)
    }

    /// Returns every row of a listing, page by page, or does a deed.
    pub fn rows(
        &mut self,
        mut question: request::Admin,
    ) -> Result<Vec<serde_json::Value>, ClientError> {
        let mut rows = Vec::new();
        loop {
            let (page, _) = self.ask::<reply::Rows>(&question)?;
            rows.extend(page.rows);
            if page.more_after.is_none() {
                return Ok(rows);
            }
            question.after = page.more_after;
        }
    }
}
