//! One user who sends: a task owns the connection, callers pass it mails through a channel.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use bytes::Bytes;
use correio::client::core::RequestNumber;
use correio::protocol::reply::{Outcome, Sent};
use correio::protocol::request::{self, Request};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::login::{Login, must_be_durable};
use super::polled::Polled;
use crate::target::{Sender, To};

/// A sender; its task ends when it is dropped.
pub struct CorreioSender(mpsc::UnboundedSender<Job>);

struct Job {
    to: To,
    body: Bytes,
    done: oneshot::Sender<Result<()>>,
}

/// A send without its outcome.
struct UnderWay {
    number: u64,
    done: oneshot::Sender<Result<()>>,
}

/// The task's state. Requests and numbers grow together, so the first of `under_way` is the oldest.
struct Stream {
    polled: Polled,
    session: String,
    stream: u64,
    next: u64,
    window: usize,
    under_way: BTreeMap<RequestNumber, UnderWay>,
}

impl CorreioSender {
    /// Takes over a login that wanted a stream.
    pub fn start(login: Login) -> Result<Self> {
        let Some(stream) = login.reply.stream else {
            bail!("the login brought no stream");
        };
        let window = usize::try_from(login.connection.hello().limits.window)?;
        let state = Stream {
            polled: Polled::new(login.connection)?,
            session: login.reply.session,
            stream,
            next: login.reply.settled_below,
            window,
            under_way: BTreeMap::new(),
        };
        let (jobs, queue) = mpsc::unbounded_channel();
        tokio::spawn(state.run(queue));
        Ok(Self(jobs))
    }
}

impl Sender for CorreioSender {
    fn send(&self, to: &To, body: Bytes) -> BoxFuture<'static, Result<()>> {
        let (done, outcome) = oneshot::channel();
        let to = to.clone();
        let taken = self.0.send(Job { to, body, done });
        async move {
            taken.map_err(|_| anyhow!("the sender has ended"))?;
            outcome.await.map_err(|_| anyhow!("the sender has ended"))?
        }
        .boxed()
    }
}

impl Stream {
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Job>) {
        let ended = self.serve(&mut queue).await;
        let why = ended.err().map_or_else(String::new, |e| format!("{e:#}"));
        for left in std::mem::take(&mut self.under_way).into_values() {
            // A caller that has gone does not ask why.
            left.done.send(Err(anyhow!("not answered: {why}"))).ok();
        }
    }

    async fn serve(&mut self, queue: &mut mpsc::UnboundedReceiver<Job>) -> Result<()> {
        loop {
            while self.under_way.len() < self.window
                && let Ok(job) = queue.try_recv()
            {
                self.submit(job);
            }
            let due_ms = self.polled.turn()?;
            if self.settle()? {
                continue;
            }
            let has_room = self.under_way.len() < self.window;
            tokio::select! {
                job = queue.recv(), if has_room => match job {
                    Some(job) => self.submit(job),
                    None if self.under_way.is_empty() => return Ok(()),
                    None => self.polled.wait(due_ms).await?,
                },
                waited = self.polled.wait(due_ms) => waited?,
            }
        }
    }

    fn submit(&mut self, job: Job) {
        let number = self.next;
        self.next += 1;
        let oldest = self.under_way.first_key_value();
        let settled_below = oldest.map_or(number, |(_, oldest)| oldest.number);
        let request = Request::Send(request::Send {
            session: self.session.clone(),
            stream: self.stream,
            number,
            settled_below,
            to: vec![job.to.into_name()],
            subject: String::new(),
            content_type: "application/octet-stream".into(),
            ttl_s: None,
            parts: None,
            in_reply_to: None,
            thread: None,
        });
        let asked = self
            .polled
            .connection
            .submit(&request, Some((&job.body[..]).into()));
        let done = job.done;
        self.under_way.insert(asked, UnderWay { number, done });
    }

    /// Tells callers their outcomes. Returns whether there were any.
    fn settle(&mut self) -> Result<bool> {
        let mut any = false;
        while let Some(number) = self.polled.connection.answered() {
            any = true;
            let Some(answer) = self.polled.connection.answer::<Sent>(number, "send") else {
                break;
            };
            let Some(sent) = self.under_way.remove(&number) else {
                continue;
            };
            let outcome = answer
                .map_err(anyhow::Error::from)
                .and_then(|(sent, _)| accepted(&sent));
            sent.done.send(outcome).ok();
        }
        Ok(any)
    }
}

/// Says whether the one recipient has it on disk.
fn accepted(sent: &Sent) -> Result<()> {
    match sent.outcomes.as_slice() {
        [
            Outcome::Sent {
                durability,
                duplicate: false,
                ..
            },
        ] => must_be_durable(durability),
        other => bail!("not accepted: {other:?}"),
    }
}
