//! A session with a server: what programs use. See `examples/client.rs`.
//!
//! Brings the others together: the [`Connection`] moves bytes, the [`Outbox`] keeps sends until their
//! outcome is here, the [`Mailbox`] keeps mail before it is acknowledged. A session that the server
//! ended (or lost in a restart) is opened again on the way, and the request repeated.
//!
//! One-shot programs open a session, ask, and [`Session::close`]. Standing ones set
//! [`Options::standing`] and call [`Session::next_event`] in a loop, which also keeps the session and
//! its lease.

mod administrator;
mod chat;
mod fetch;
mod lease;
mod rotate;
mod round;
mod send;
mod unread;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::connection::{Answer, Connection};
use super::error::ClientError;
use super::home::{Account, Place};
use super::interrupt::Interrupt;
use super::mailbox::{Mailbox, Seen};
use super::outbox::Outbox;
use crate::auth::keys::KeyPair;
use crate::limits::LOGIN_TOPICS_MAX;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::{Pattern, UserName};
use crate::protocol::reply::{self, LeaseInfo, LogInfo, Refused};
use crate::protocol::request::{self, From, Request, SessionId};
use crate::protocol::{LogNumber, MailId};

pub use administrator::Administrator;
pub use fetch::{Arrival, Look, Refreshed};
pub use rotate::rotate;
pub use send::{Retried, Sent, Which, send_or_keep};
pub use unread::{Unread, unread_here};
pub use watch::Event;

/// How a session is opened.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent wishes, each named where it is set"
)]
#[derive(Debug, Clone)]
pub struct Options {
    /// Topics and prefixes to join with the login.
    pub topics: Vec<Pattern>,
    /// Keeps the session with heartbeats and listens to live notices.
    pub standing: bool,
    /// Wants a port leased (standing sessions do, unless told not to).
    pub want_port: bool,
    /// Wants to send.
    pub want_stream: bool,
    /// Looks only: nothing is stored, moved or acknowledged.
    pub no_ack: bool,
    /// How long one call may take.
    pub timeout: Duration,
    /// How long an absent server is waited for; at most `timeout`.
    pub patience: Duration,
    /// Ends waits for the server before their time.
    pub interrupt: Interrupt,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            topics: Vec::new(),
            standing: false,
            want_port: false,
            want_stream: true,
            no_ack: false,
            timeout: Duration::from_secs(10),
            patience: Duration::from_secs(3),
            interrupt: Interrupt::default(),
        }
    }
}

impl Options {
    /// Returns the options of a program that stays: it listens, and holds a port.
    pub fn standing() -> Self {
        Self {
            standing: true,
            want_port: true,
            ..Self::default()
        }
    }
}

/// An open session.
#[derive(Debug)]
pub struct Session {
    account: Account,
    options: Options,
    connection: Connection,
    /// The connection's generation that `login` was asked on.
    generation: u64,
    login: reply::Login,
    logs: BTreeMap<LogNumber, LogInfo>,
    /// Everything of every log is known up to this id.
    through: MailId,
    outbox: Outbox,
    mailbox: Mailbox,
    lease: lease::Lease,
    watch: watch::Watch,
    /// The account's logouts when the session was opened.
    logouts: u64,
    /// How often the server was found to have gone back.
    turns: u32,
    /// The server went back, and this session only looks: it takes no mark for what it was.
    is_astray: bool,
}

impl Session {
    /// Connects, logs in and, for a standing session, subscribes and binds its port. A device whose key was changed
    /// since, or was about to be, comes in with the one that it has now.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the session that is opened keeps them"
    )]
    pub fn open(account: &Account, options: Options) -> Result<Self, ClientError> {
        match Self::open_as(account, options.clone()) {
            Err(error) if error.is_refused(Code::NotRegistered) => {
                Self::open_as_others(account, &options).unwrap_or(Err(error))
            }
            opened => opened,
        }
    }

    fn open_as(account: &Account, options: Options) -> Result<Self, ClientError> {
        let outbox = account.outbox()?;
        let mailbox = account.mailbox()?;
        let logouts = account.logouts()?;
        let patience = options.patience.min(options.timeout);
        let mut connection = Connection::open_interruptible(
            account.place(),
            account.keys()?,
            patience,
            options.interrupt.clone(),
        )?;
        let deadline_ms = connection.deadline_ms(options.timeout);
        let asked = outbox.stream()?;
        let seen = mailbox.seen()?;
        let request = login_request(account, &options, None, asked);
        let (login, _) = connection.call::<reply::Login>(&request, None, deadline_ms)?;
        let mut session = Self {
            account: account.clone(),
            generation: connection.generation(),
            options,
            connection,
            logs: BTreeMap::new(),
            through: 0,
            login,
            outbox,
            mailbox,
            lease: lease::Lease::default(),
            watch: watch::Watch::default(),
            logouts,
            turns: 0,
            is_astray: false,
        };
        session.logged_in(asked, &seen)?;
        session.join_rest()?;
        session.start_watch()?;
        Ok(session)
    }

    /// Joins the topics that the login had no room for.
    fn join_rest(&mut self) -> Result<(), ClientError> {
        let rest = self
            .options
            .topics
            .split_off(LOGIN_TOPICS_MAX.min(self.options.topics.len()));
        for topic in rest {
            match self.join(&topic, From::Now) {
                Ok(_) => {}
                Err(ClientError::Refused(error)) => {
                    let topic = topic.as_str().to_owned();
                    self.login.refused.push(Refused { topic, error });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Returns what the server said of itself.
    pub fn hello(&self) -> &reply::Hello {
        self.connection.hello()
    }

    /// Returns the reply to the (latest) login.
    pub fn login(&self) -> &reply::Login {
        &self.login
    }

    /// Returns topics of the login that could not be joined.
    pub fn refused_topics(&self) -> &[Refused] {
        &self.login.refused
    }

    /// Returns how far this machine's clock is ahead of the server's, when that is more than five
    /// minutes: worth a warning.
    pub fn clock_skew(&self) -> Option<chrono::Duration> {
        self.connection.clock_skew()
    }

    /// Returns the logs this user reads, by number.
    pub fn logs(&self) -> impl Iterator<Item = &LogInfo> {
        self.logs.values()
    }

    /// Returns the mailbox.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Returns the outbox.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Returns the leased port, if the session holds one and it is bound here.
    pub fn lease(&self) -> Option<LeaseInfo> {
        self.lease.held()
    }

    /// Joins a topic or prefix. Returns the logs that this adds or, with `from`, rewinds.
    pub fn join(&mut self, topic: &Pattern, from: From) -> Result<Vec<LogInfo>, ClientError> {
        if from != From::Now {
            self.mailbox.will_rewind(topic.as_str())?;
        }
        let (reply, _) = self.call::<reply::Logs>(|session| {
            Request::Join(request::Join {
                session,
                topic: topic.clone(),
                from,
            })
        })?;
        self.meet(&reply.logs)?;
        if from != From::Now {
            self.rewind(&reply.logs)?;
        }
        for info in &reply.logs {
            self.learn(info.clone())?;
        }
        Ok(reply.logs)
    }

    /// Leaves a topic or prefix.
    pub fn leave(&mut self, topic: &Pattern) -> Result<(), ClientError> {
        self.done(|session| {
            Request::Leave(request::Leave {
                session,
                topic: topic.clone(),
            })
        })?;
        let is_left = |info: &LogInfo| info.kind == "topic" && topic.matches(&info.address);
        let left = |log| self.logs.get(&log).is_some_and(is_left);
        Ok(self.mailbox.leave(left)?)
    }

    /// Lists topics by name: a page after `after`.
    pub fn topics(&mut self, after: Option<&str>) -> Result<reply::Topics, ClientError> {
        self.ask(|session| {
            Request::Topics(request::Topics {
                session,
                after: after.map(str::to_owned),
            })
        })
    }

    /// Tells what there is to know of a topic.
    pub fn topic(&mut self, topic: &str) -> Result<reply::Topic, ClientError> {
        self.ask(|session| {
            Request::Topic(request::Topic {
                session,
                topic: topic.to_owned(),
            })
        })
    }

    /// Asks whether a user is here, or everybody: a page of names after `after`.
    pub fn who(
        &mut self,
        user: Option<&UserName>,
        after: Option<&str>,
    ) -> Result<reply::Presences, ClientError> {
        self.ask(|session| {
            Request::Who(request::Who {
                session,
                user: user.cloned(),
                after: after.map(str::to_owned),
            })
        })
    }

    /// Shows nobody whether this user is here, or shows it again.
    pub fn hide(&mut self, hidden: bool) -> Result<(), ClientError> {
        self.done(|session| Request::Hide(request::Hide { session, hidden }))
    }

    /// Returns every device of this user, by number.
    pub fn devices(&mut self) -> Result<Vec<reply::DeviceRow>, ClientError> {
        let (mut devices, mut after) = (Vec::new(), 0);
        loop {
            let page: reply::Devices =
                self.ask(|session| Request::Devices(request::Devices { session, after }))?;
            devices.extend(page.devices);
            match page.more_after {
                Some(more) => after = more,
                None => return Ok(devices),
            }
        }
    }

    /// Removes another device of this user: its key is worth nothing from now on.
    pub fn remove_device(&mut self, device: u64) -> Result<(), ClientError> {
        self.done(|session| Request::DeviceRm(request::DeviceRm { session, device }))
    }

    /// Gives a device of this user another name.
    pub fn rename_device(&mut self, device: u64, name: &str) -> Result<(), ClientError> {
        self.done(|session| {
            Request::DeviceRename(request::DeviceRename {
                session,
                device,
                name: name.to_owned(),
            })
        })
    }

    /// Returns the invitation codes that this user made and nobody has used.
    pub fn codes(&mut self) -> Result<Vec<reply::CodeRow>, ClientError> {
        let told: reply::Codes = self.ask(|session| Request::Codes(request::Codes { session }))?;
        Ok(told.codes)
    }

    /// Takes an invitation code back; `id` is that of [`Session::codes`].
    pub fn remove_code(&mut self, id: &str) -> Result<(), ClientError> {
        self.done(|session| {
            Request::CodeRm(request::CodeRm {
                session,
                id: id.to_owned(),
            })
        })
    }

    /// Removes this user at the server for good: mail, devices and subscriptions; the name stays reserved.
    pub fn remove_account(mut self) -> Result<(), ClientError> {
        let user = self.account.user().clone();
        self.account.count_logout()?;
        self.done(|session| {
            Request::AccountRm(request::AccountRm {
                session,
                user: user.clone(),
            })
        })
    }

    /// Makes an invitation code: for a new user (any name, or `user`), or for a further device.
    pub fn invite(
        &mut self,
        user: Option<&UserName>,
        device: bool,
    ) -> Result<reply::Invited, ClientError> {
        self.ask(|session| {
            Request::Invite(request::Invite {
                session,
                user: user.cloned(),
                device,
            })
        })
    }

    /// Ends every session of this device and gives its ports back; with `forget`, the server removes
    /// the device too, and its key is worth nothing afterwards.
    pub fn logout(mut self, forget: bool) -> Result<(), ClientError> {
        let deadline_ms = self.deadline_ms();
        let request = Request::Logout(request::Logout { forget });
        self.account.count_logout()?;
        self.connection
            .call::<reply::Done>(&request, None, deadline_ms)?;
        Ok(())
    }

    /// Ends this session and gives its port back.
    pub fn close(mut self) -> Result<(), ClientError> {
        let deadline_ms = self.deadline_ms();
        let request = Request::Close(request::Close {
            session: self.login.session.clone(),
        });
        match self
            .connection
            .call::<reply::Done>(&request, None, deadline_ms)
        {
            Ok(_) => Ok(()),
            Err(failure) if failure.error.is_refused(Code::NoSession) => Ok(()),
            Err(failure) => Err(failure.error),
        }
    }

    /// Ends this session as [`Session::close`] does, but waits for the server at most `patience`, and not
    /// at all while there is no connection. The port then comes back when its term is over.
    pub fn close_within(mut self, patience: Duration) -> Result<(), ClientError> {
        if !self.connection.is_up() {
            let endpoint = self.connection.endpoint().to_owned();
            return Err(ClientError::Unreachable { endpoint });
        }
        self.options.timeout = self.options.timeout.min(patience);
        self.close()
    }

    /// Changes how long one call may take. Returns what it was before.
    pub fn set_timeout(&mut self, timeout: Duration) -> Duration {
        std::mem::replace(&mut self.options.timeout, timeout)
    }

    /// Says whether there is a connection to the server at the moment.
    pub fn is_connected(&self) -> bool {
        self.connection.is_up()
    }

    /// Says whether the session listens and beats ([`Options::standing`]).
    pub fn is_standing(&self) -> bool {
        self.options.standing
    }

    /// Returns the server's host, as this client reaches it.
    pub fn server_host(&self) -> &str {
        self.connection.host()
    }

    fn deadline_ms(&self) -> u64 {
        self.connection.deadline_ms(self.options.timeout)
    }

    fn ask<T: DeserializeOwned>(
        &mut self,
        make: impl Fn(SessionId) -> Request,
    ) -> Result<T, ClientError> {
        self.call(make).map(|(reply, _)| reply)
    }

    fn done(&mut self, make: impl Fn(SessionId) -> Request) -> Result<(), ClientError> {
        self.ask::<reply::Done>(make).map(drop)
    }

    /// Asks within the session, opening it anew when the server ended it, and waiting a little when the
    /// server is busy or going down. For requests that may be repeated.
    fn call<T: DeserializeOwned>(
        &mut self,
        make: impl Fn(SessionId) -> Request,
    ) -> Result<Answer<T>, ClientError> {
        self.drop_beat();
        let deadline_ms = self.deadline_ms();
        let turns = self.turns;
        loop {
            let request = make(self.login.session.clone());
            let answer = self.connection.call::<T>(&request, None, deadline_ms);
            match answer {
                Err(failure) => self.overcome(failure.error, deadline_ms)?,
                Ok(answer) => return Ok(answer),
            }
            if self.turns != turns && matches!(request, Request::Ack(_)) {
                return Err(round::ack_of_before());
            }
        }
    }

    /// Does what makes repeating a request worth while; otherwise the error is final.
    fn overcome(&mut self, error: ClientError, deadline_ms: u64) -> Result<(), ClientError> {
        let late = self.connection.now_ms() >= deadline_ms;
        match &error {
            ClientError::Refused(told) if !late && told.code == Code::NoSession => {
                self.login_again(deadline_ms)
            }
            ClientError::Refused(told) if !late && told.code == Code::NotRegistered => {
                self.take_other_key(error, deadline_ms)
            }
            // A part went twice on its way through a reconnect, or the server forgot the upload.
            ClientError::Refused(told) if !late && told.code == Code::PartsMissing => Ok(()),
            ClientError::Refused(told) if !late && passes(told) => {
                let pause_ms = told.retry_after_ms.unwrap_or(100).clamp(10, 2_000);
                self.pause(pause_ms, deadline_ms)
            }
            _ => Err(error),
        }
    }

    fn pause(&mut self, pause_ms: u64, deadline_ms: u64) -> Result<(), ClientError> {
        let until_ms = (self.connection.now_ms() + pause_ms).min(deadline_ms);
        while self.connection.now_ms() < until_ms {
            self.connection.pump_interruptibly(until_ms)?;
        }
        Ok(())
    }

    /// Opens the session anew, going on with the old one where the server still has it.
    fn login_again(&mut self, deadline_ms: u64) -> Result<(), ClientError> {
        if self.account.logouts()? != self.logouts {
            return Err(ClientError::LoggedOut);
        }
        // It said what was known before: its answer could pass over what this login makes known.
        self.drop_beat();
        let asked = self.outbox.stream()?;
        let seen = self.mailbox.seen()?;
        let resume = Some(self.login.session.clone());
        let request = login_request(&self.account, &self.options, resume, asked);
        let (login, _) = self
            .connection
            .call::<reply::Login>(&request, None, deadline_ms)?;
        self.generation = self.connection.generation();
        self.login = login;
        self.logged_in(asked, &seen)
    }

    /// Takes in the reply to a login.
    fn logged_in(&mut self, asked: Option<u64>, seen: &Seen) -> Result<(), ClientError> {
        match self.login.stream {
            Some(given) => {
                self.outbox.adopt_stream(asked, given)?;
            }
            None if self.options.want_stream => return Err(too_many_streams()),
            None => {}
        }
        let mut logs = std::mem::take(&mut self.login.logs);
        let mut more = self.login.more_after;
        while let Some(after) = more {
            let page: reply::Logs =
                self.ask_once(|session| Request::Logs(request::Logs { session, after }))?;
            logs.extend(page.logs);
            more = page.more_after;
        }
        self.take_round(&logs, seen)?;
        if !self.options.no_ack {
            self.meet(&logs)?;
        }
        for info in &logs {
            self.watch_log(info)?; // the server may have changed a key meanwhile
        }
        self.logs = logs.into_iter().map(|info| (info.log, info)).collect();
        self.through = self.login.through;
        if !self.options.no_ack {
            self.mailbox.leave(|log| !self.logs.contains_key(&log))?;
            self.acknowledge_leftovers()?;
        }
        if self.options.standing && self.options.want_port {
            self.take_lease()?;
        }
        Ok(())
    }

    /// Asks within the session without opening it anew.
    fn ask_once<T: DeserializeOwned>(
        &mut self,
        make: impl Fn(SessionId) -> Request,
    ) -> Result<T, ClientError> {
        let deadline_ms = self.deadline_ms();
        let request = make(self.login.session.clone());
        let (reply, _) = self.connection.call(&request, None, deadline_ms)?;
        Ok(reply)
    }

    /// Brings the mailbox to know logs; a watcher starts anew in those that were left meanwhile.
    fn meet(&mut self, logs: &[LogInfo]) -> Result<(), ClientError> {
        let moved = self.mailbox.meet(logs)?;
        for info in logs.iter().filter(|info| moved.contains(&info.log)) {
            self.watch.pass(info.log, info.cursor);
        }
        Ok(())
    }

    /// Gets to know a log that is new or has another key.
    fn learn(&mut self, info: LogInfo) -> Result<(), ClientError> {
        self.watch_log(&info)?;
        self.logs.insert(info.log, info);
        Ok(())
    }
}

/// Registers the account's key: as a new user, or with `code` as a further device. Repeating it with
/// the same key is harmless. `device` is what the owner calls this machine.
pub fn register(
    account: &Account,
    device: &str,
    code: Option<String>,
    timeout: Duration,
) -> Result<reply::Registered, ClientError> {
    let request = Request::Register(request::Register {
        user: Some(account.user().clone()),
        device: device.to_owned(),
        code,
    });
    ask_as(account.place(), account.keys()?, timeout, &request)
}

/// Makes an invitation code with an administrator's key.
pub fn admin_invite(
    place: &Place,
    keys: &KeyPair,
    timeout: Duration,
    user: Option<UserName>,
    device: bool,
) -> Result<reply::Invited, ClientError> {
    let request = Request::Invite(request::Invite {
        session: SessionId::new(),
        user,
        device,
    });
    ask_as(place, keys, timeout, &request)
}

/// Says hello to a server and returns what it said: is it there, and is it the right one?
pub fn probe(
    place: &Place,
    keys: &KeyPair,
    timeout: Duration,
) -> Result<reply::Hello, ClientError> {
    Ok(Connection::open(place, keys, timeout)?.hello().clone())
}

fn ask_as<T: DeserializeOwned>(
    place: &Place,
    keys: &KeyPair,
    timeout: Duration,
    request: &Request,
) -> Result<T, ClientError> {
    let mut connection = Connection::open(place, keys, timeout)?;
    let deadline_ms = connection.deadline_ms(timeout);
    let (reply, _) = connection.call(request, None, deadline_ms)?;
    Ok(reply)
}

fn login_request(
    account: &Account,
    options: &Options,
    resume: Option<SessionId>,
    stream: Option<u64>,
) -> Request {
    Request::Login(request::Login {
        user: Some(account.user().clone()),
        topics: options
            .topics
            .iter()
            .take(LOGIN_TOPICS_MAX)
            .cloned()
            .collect(),
        resume,
        stream: stream.filter(|_| options.want_stream),
        want_stream: options.want_stream,
        want_port: options.want_port,
    })
}

/// Says whether a refusal is worth waiting out within the same call.
fn passes(error: &WireError) -> bool {
    matches!(error.code, Code::Busy | Code::ShuttingDown)
}

fn too_many_streams() -> ClientError {
    ClientError::Refused(refusal!(
        Code::TooManyStreams,
        "64 outboxes of this device have unsettled sends; run mailctl outbox retry in those homes"
    ))
}
