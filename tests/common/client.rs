//! A client that speaks the wire by hand, following docs/protocol.md and nothing else.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use correio::auth::keys::KeyPair;
use correio::protocol::codes::{Code, WireError};
use correio::protocol::names::{Pattern, UserName};
use correio::protocol::reply::{self, DecodeError, Envelope, Outcome, Page};
use correio::protocol::request::{self, Request};
use correio::protocol::{LogNumber, MAGIC, MailId, VERSION, VERSION_OLDEST};
use serde::Deserialize;

use super::server::{Place, Server};
use super::{PATIENCE, pause};

/// How long one try waits for its reply before it is repeated.
const TRY: Duration = Duration::from_secs(3);

/// Why a request had no good end.
#[derive(Debug)]
pub enum Trouble {
    /// The server said no.
    Refused(WireError),
    /// Nothing came.
    Silent,
    /// The reply was not such a reply.
    Garbled(String),
}

impl Trouble {
    /// Returns the code of a refusal.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(error) => Some(error.code),
            _ => None,
        }
    }
}

/// A reply as it came: request id, header, body frames.
#[derive(Debug, Clone)]
pub struct RawReply {
    /// The request's own word.
    pub id: Vec<u8>,
    /// JSON.
    pub header: Vec<u8>,
    /// What follows.
    pub bodies: Vec<Vec<u8>>,
}

impl RawReply {
    /// Reads the header as the reply to one verb.
    pub fn decode<T: for<'a> Deserialize<'a>>(&self) -> Result<T, Trouble> {
        reply::decode(&self.header).map_err(|error| match error {
            DecodeError::Refused(error) => Trouble::Refused(error),
            other => Trouble::Garbled(format!(
                "{other}: {}",
                String::from_utf8_lossy(&self.header)
            )),
        })
    }
}

/// One mail as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its envelope.
    pub envelope: Envelope,
    /// Its body.
    pub body: Vec<u8>,
}

/// What a session asks for at login.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Topics to join.
    pub topics: Vec<String>,
    /// A port.
    pub port: bool,
}

/// A connection with one key. Follows its server through restarts.
pub struct RawClient {
    /// The key it proves.
    pub key: KeyPair,
    /// The session it speaks in; empty before `login`.
    pub session: String,
    /// The stream it numbers sends in; 0 before `login`.
    pub stream: u64,
    /// The next number of the stream.
    pub number: u64,
    /// Every number below it is settled.
    pub settled_below: u64,
    /// The last reply to `login`.
    pub welcome: Option<reply::Login>,
    place: Arc<Place>,
    generation: u64,
    socket: zmq::Socket,
    next_id: u64,
    wishes: Wishes,
}

/// The one ZeroMQ context of a test program.
pub fn context() -> &'static zmq::Context {
    static CONTEXT: LazyLock<zmq::Context> = LazyLock::new(zmq::Context::new);
    &CONTEXT
}

/// Opens a DEALER to a place with a key.
pub fn dealer(place: &Place, key: &KeyPair) -> (zmq::Socket, u64) {
    let (url, generation) = place.wait();
    let socket = context().socket(zmq::DEALER).expect("a socket");
    socket.set_linger(0).expect("an option");
    socket.set_sndhwm(100_000).expect("an option");
    socket.set_rcvhwm(100_000).expect("an option");
    socket.set_reconnect_ivl(20).expect("an option");
    socket.set_curve_serverkey(&url.key).expect("an option");
    socket.set_curve_publickey(&key.public).expect("an option");
    socket.set_curve_secretkey(key.secret()).expect("an option");
    socket
        .connect(&place.endpoint(&url, url.port))
        .expect("a connection");
    (socket, generation)
}

impl RawClient {
    /// Connects with a key and says hello.
    pub fn connect(place: Arc<Place>, key: KeyPair) -> Self {
        let (socket, generation) = dealer(&place, &key);
        let mut client = Self {
            key,
            session: String::new(),
            stream: 0,
            number: 1,
            settled_below: 1,
            welcome: None,
            place,
            generation,
            socket,
            next_id: 1,
            wishes: Wishes::default(),
        };
        client.hello().expect("the server answers hello");
        client
    }

    /// Connects with a new key.
    pub fn stranger(server: &Server) -> Self {
        Self::connect(server.place(), KeyPair::generate().expect("a key"))
    }

    /// Connects with the server's first admin key.
    pub fn admin(server: &Server) -> Self {
        Self::connect(server.place(), server.admin_key())
    }

    /// Opens a further session of the same device.
    pub fn connect_as(other: &Self) -> Self {
        let mut client = Self::connect(Arc::clone(&other.place), other.key.clone());
        client
            .login(Wishes::default())
            .expect("a known key logs in");
        client
    }

    /// Makes a new user and logs in.
    pub fn user(server: &Server, name: &str) -> Self {
        Self::user_with(server, name, Wishes::default())
    }

    /// Makes a new user and logs in with topics, without a port.
    pub fn reader(server: &Server, name: &str, topics: &[&str]) -> Self {
        let topics = topics.iter().map(ToString::to_string).collect();
        Self::user_with(
            server,
            name,
            Wishes {
                topics,
                port: false,
            },
        )
    }

    /// Makes a new user and logs in.
    pub fn user_with(server: &Server, name: &str, wishes: Wishes) -> Self {
        let mut client = Self::stranger(server);
        client.register(name, None).expect("a new user registers");
        client.login(wishes).expect("a user logs in");
        client
    }

    /// Says hello.
    pub fn hello(&mut self) -> Result<reply::Hello, Trouble> {
        self.ask(&hello())
    }

    /// Makes a user or, with a code, a device.
    pub fn register(
        &mut self,
        user: &str,
        code: Option<&str>,
    ) -> Result<reply::Registered, Trouble> {
        self.ask(&Request::Register(request::Register {
            user: Some(UserName::parse(user).expect("a name")),
            device: "torture".into(),
            code: code.map(str::to_owned),
        }))
    }

    /// Opens a session, goes on with the one before if there was one, and remembers the wishes.
    pub fn login(&mut self, wishes: Wishes) -> Result<reply::Login, Trouble> {
        let topics = wishes
            .topics
            .iter()
            .map(|topic| Pattern::parse(topic).expect("a topic"));
        let welcome: reply::Login = self.ask(&Request::Login(request::Login {
            user: None,
            topics: topics.collect(),
            resume: (!self.session.is_empty()).then(|| self.session.clone()),
            stream: (self.stream != 0).then_some(self.stream),
            want_stream: true,
            want_port: wishes.port,
        }))?;
        self.wishes = wishes;
        self.session.clone_from(&welcome.session);
        let stream = welcome.stream.expect("a stream was wanted");
        if self.stream != stream {
            assert!(
                !welcome.stream_present,
                "another stream, said to be the same"
            );
            (self.stream, self.number) = (stream, welcome.settled_below);
            self.settled_below = welcome.settled_below;
        }
        self.welcome = Some(welcome.clone());
        Ok(welcome)
    }

    /// Forgets the connection, makes a new one to where the server is now, and logs in again if it
    /// was logged in.
    pub fn reconnect(&mut self) -> Result<(), Trouble> {
        (self.socket, self.generation) = dealer(&self.place, &self.key);
        self.hello()?;
        if !self.session.is_empty() {
            self.login(self.wishes.clone())?;
        }
        Ok(())
    }

    /// Says whether the server was killed or started since this connection was made.
    pub fn is_stale(&self) -> bool {
        self.generation != self.place.generation()
    }

    /// Sends a request without waiting; returns its id.
    pub fn post(&mut self, request: &Request, body: Option<&[u8]>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.post_as(id, request, body);
        id
    }

    fn post_as(&mut self, id: u64, request: &Request, body: Option<&[u8]>) {
        let mut frames = vec![id.to_string().into_bytes(), request.encode()];
        frames.extend(body.map(<[u8]>::to_vec));
        self.post_frames(frames);
    }

    /// Sends any frames.
    pub fn post_frames(&mut self, frames: Vec<Vec<u8>>) {
        // A full pipe is like a lost frame: the retry comes.
        let _ = self.socket.send_multipart(frames, zmq::DONTWAIT);
    }

    /// Takes the next reply, if one comes in time.
    pub fn take(&mut self, wait: Duration) -> Option<RawReply> {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        if self.socket.poll(zmq::POLLIN, wait).ok()? == 0 {
            return None;
        }
        let mut frames = self.socket.recv_multipart(0).ok()?.into_iter();
        Some(RawReply {
            id: frames.next()?,
            header: frames.next()?,
            bodies: frames.collect(),
        })
    }

    /// Waits for the reply to one request; others are dropped.
    pub fn await_reply(&mut self, id: u64, wait: Duration) -> Option<RawReply> {
        let deadline = Instant::now() + wait;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let reply = self.take(left.min(Duration::from_millis(100)));
            if let Some(reply) = reply.filter(|reply| reply.id == id.to_string().as_bytes()) {
                return Some(reply);
            }
            if self.is_stale() {
                return None;
            }
        }
        None
    }

    /// Asks without a session, body or second try after a refusal, but that of a server that stops.
    pub fn ask<T: for<'a> Deserialize<'a>>(&mut self, request: &Request) -> Result<T, Trouble> {
        loop {
            match self.ask_raw(request, None)?.decode() {
                Err(trouble) if trouble.code() == Some(Code::ShuttingDown) => {
                    pause(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    }

    /// Asks until a reply comes, across restarts, with the request as it is.
    pub fn ask_raw(&mut self, request: &Request, body: Option<&[u8]>) -> Result<RawReply, Trouble> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.is_stale() {
                (self.socket, self.generation) = dealer(&self.place, &self.key);
                self.post(&hello(), None);
            }
            let id = self.post(request, body);
            if let Some(reply) = self.await_reply(id, TRY) {
                return Ok(reply);
            }
        }
        Err(Trouble::Silent)
    }

    /// Asks within the session; logs in again when the session is over.
    pub fn call<T: for<'a> Deserialize<'a>>(
        &mut self,
        make: impl Fn(String) -> Request,
    ) -> Result<T, Trouble> {
        self.call_raw(make, None)?.decode()
    }

    /// As `call`, with a body, and the reply as it came.
    pub fn call_raw(
        &mut self,
        make: impl Fn(String) -> Request,
        body: Option<&[u8]>,
    ) -> Result<RawReply, Trouble> {
        loop {
            let reply = self.ask_raw(&make(self.session.clone()), body)?;
            match reply.decode::<serde_json::Value>() {
                Err(trouble) if trouble.code() == Some(Code::NoSession) => {
                    self.login(self.wishes.clone())?;
                }
                Err(trouble) if trouble.code() == Some(Code::ShuttingDown) => {
                    pause(Duration::from_millis(20));
                }
                _ => return Ok(reply),
            }
        }
    }

    /// Makes the request of a send in this client's stream.
    pub fn send_request(&self, number: u64, to: &[&str]) -> request::Send {
        request::Send {
            session: self.session.clone(),
            stream: self.stream,
            number,
            settled_below: self.settled_below,
            to: to.iter().map(ToString::to_string).collect(),
            subject: String::new(),
            content_type: request::default_content_type(),
            ttl_s: None,
            parts: None,
            in_reply_to: None,
            thread: None,
        }
    }

    /// Sends under the next number, waits for the outcome and settles it.
    pub fn send(&mut self, to: &[&str], body: &[u8]) -> Result<Vec<Outcome>, Trouble> {
        self.send_with(to, body, |_| {})
    }

    /// As `send`, with a change to the request.
    pub fn send_with(
        &mut self,
        to: &[&str],
        body: &[u8],
        change: impl Fn(&mut request::Send),
    ) -> Result<Vec<Outcome>, Trouble> {
        let number = self.number;
        let outcome = self.send_as(number, to, body, change)?;
        (self.number, self.settled_below) = (number + 1, number + 1);
        Ok(outcome)
    }

    /// Sends under a given number and settles nothing.
    pub fn send_as(
        &mut self,
        number: u64,
        to: &[&str],
        body: &[u8],
        change: impl Fn(&mut request::Send),
    ) -> Result<Vec<Outcome>, Trouble> {
        let mut request = self.send_request(number, to);
        change(&mut request);
        let make = |session| {
            Request::Send(request::Send {
                session,
                ..request.clone()
            })
        };
        let sent: reply::Sent = self.call_raw(make, Some(body))?.decode()?;
        Ok(sent.outcomes)
    }

    /// Sends to one address and returns the mail's id.
    pub fn mail(&mut self, to: &str, body: &[u8]) -> MailId {
        let outcomes = self.send(&[to], body).expect("a send is answered");
        id_of(&outcomes[0])
    }

    /// Reads one page of a log, bodies included.
    pub fn fetch(&mut self, log: LogNumber, after: MailId) -> Result<(Page, Vec<Mail>), Trouble> {
        self.fetch_page(log, after, None, 100)
    }

    /// As `fetch`, with the count that goes with `after` and the credit in mails.
    pub fn fetch_page(
        &mut self,
        log: LogNumber,
        after: MailId,
        n: Option<u64>,
        mails: u32,
    ) -> Result<(Page, Vec<Mail>), Trouble> {
        let make = |session| {
            Request::Fetch(request::Fetch {
                session,
                log,
                after,
                n,
                mails,
                bytes: 512 * 1024,
            })
        };
        let reply = self.call_raw(make, None)?;
        let page: Page = reply.decode()?;
        let mails = self.bodies(log, &page, reply.bodies)?;
        Ok((page, mails))
    }

    fn bodies(
        &mut self,
        log: LogNumber,
        page: &Page,
        frames: Vec<Vec<u8>>,
    ) -> Result<Vec<Mail>, Trouble> {
        let mut frames = frames.into_iter();
        let mut mails = Vec::new();
        for envelope in page.mails.clone() {
            let body = match envelope.frames {
                0 if envelope.size > 0 => self.body(log, envelope.id, envelope.size)?,
                0 => Vec::new(),
                _ => frames
                    .next()
                    .expect("a body frame per envelope that says so"),
            };
            assert_eq!(
                body.len() as u64,
                envelope.size,
                "a body has the size it says"
            );
            mails.push(Mail { envelope, body });
        }
        assert_eq!(frames.next(), None, "no body frame without an envelope");
        Ok(mails)
    }

    /// Reads a large body piece by piece.
    pub fn body(&mut self, log: LogNumber, id: MailId, size: u64) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        while (body.len() as u64) < size {
            let offset = body.len() as u64;
            let make = |session| {
                Request::Body(request::Body {
                    session,
                    log,
                    id,
                    offset,
                })
            };
            let reply = self.call_raw(make, None)?;
            let told: reply::Body = reply.decode()?;
            assert_eq!((told.size, told.offset), (size, offset));
            assert!(!reply.bodies[0].is_empty(), "a piece holds something");
            body.extend_from_slice(&reply.bodies[0]);
        }
        Ok(body)
    }

    /// Reads all of a log after an id, page by page.
    pub fn read_all(&mut self, log: LogNumber, after: MailId) -> Result<Vec<Mail>, Trouble> {
        let (mut mark, mut all) = (after, Vec::new());
        loop {
            let (page, mails) = self.fetch(log, mark)?;
            all.extend(mails);
            mark = page.through;
            if !page.more {
                return Ok(all);
            }
        }
    }

    /// Acknowledges a log up to an id.
    pub fn ack(&mut self, log: LogNumber, id: MailId) -> Result<reply::Done, Trouble> {
        let logs = vec![(log, id)];
        self.call(|session| {
            Request::Ack(request::Ack {
                session,
                logs: logs.clone(),
            })
        })
    }

    /// Joins a topic from its head on.
    pub fn join(&mut self, topic: &str) -> Result<reply::Logs, Trouble> {
        self.join_from(topic, request::From::Now)
    }

    /// Joins a topic.
    pub fn join_from(&mut self, topic: &str, from: request::From) -> Result<reply::Logs, Trouble> {
        let topic = Pattern::parse(topic).expect("a topic");
        self.call(|session| {
            Request::Join(request::Join {
                session,
                topic: topic.clone(),
                from,
            })
        })
    }

    /// Leaves a topic.
    pub fn leave(&mut self, topic: &str) -> Result<reply::Done, Trouble> {
        self.wishes.topics.retain(|wish| wish != topic);
        let topic = Pattern::parse(topic).expect("a topic");
        self.call(|session| {
            Request::Leave(request::Leave {
                session,
                topic: topic.clone(),
            })
        })
    }

    /// Keeps the session.
    pub fn heartbeat(&mut self, known: MailId) -> Result<reply::Heartbeat, Trouble> {
        self.call(|session| Request::Heartbeat(request::Heartbeat { session, known }))
    }

    /// Leases a port for the session, if it has none, and says that it is bound.
    pub fn lease_confirmed(&mut self) -> reply::LeaseInfo {
        let make = |session| Request::Lease(request::Lease { session });
        let lent: reply::Lease = self.call(make).expect("a port is free");
        let reply::LeaseInfo { port, epoch, .. } = lent.lease;
        let confirm = |session| {
            Request::LeaseConfirm(request::LeaseWord {
                session,
                port,
                epoch,
            })
        };
        let confirmed: reply::Lease = self.call(confirm).expect("confirmed");
        confirmed.lease
    }

    /// Ends all sessions of this device.
    pub fn logout(&mut self, forget: bool) -> Result<reply::Done, Trouble> {
        let done = self.ask(&Request::Logout(request::Logout { forget }));
        self.session.clear();
        done
    }

    /// Lists the caller's logs.
    pub fn logs(&mut self) -> Vec<reply::LogInfo> {
        let (mut after, mut all) = (0, Vec::new());
        loop {
            let make = |session| Request::Logs(request::Logs { session, after });
            let page: reply::Logs = self.call(make).expect("logs are listed");
            all.extend(page.logs);
            match page.more_after {
                Some(more) => after = more,
                None => return all,
            }
        }
    }

    /// Returns one of the caller's logs.
    pub fn log(&mut self, address: &str) -> reply::LogInfo {
        let logs = self.logs();
        let found = logs.iter().find(|log| log.address == address).cloned();
        found.unwrap_or_else(|| panic!("{address} is none of {logs:?}"))
    }

    /// Asks or does anything as an administrator.
    pub fn administer(&mut self, admin: request::Admin) -> Result<reply::Rows, Trouble> {
        self.ask(&Request::Admin(admin))
    }

    /// Does something as an administrator.
    pub fn admin_deed(
        &mut self,
        what: request::AdminWhat,
        address: &str,
    ) -> Result<reply::Rows, Trouble> {
        self.ask(&Request::Admin(request::Admin {
            what,
            after: None,
            address: Some(address.to_owned()),
            body: false,
            particulars: request::Particulars::default(),
        }))
    }

    /// Asks as an administrator for all rows.
    pub fn admin_rows(
        &mut self,
        what: request::AdminWhat,
        address: Option<&str>,
    ) -> Result<Vec<serde_json::Value>, Trouble> {
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let page: reply::Rows = self.ask(&Request::Admin(request::Admin {
                what,
                after,
                address: address.map(str::to_owned),
                body: false,
                particulars: request::Particulars::default(),
            }))?;
            all.extend(page.rows);
            after = page.more_after;
            if after.is_none() {
                return Ok(all);
            }
        }
    }
}

fn hello() -> Request {
    Request::Hello(request::Hello {
        magic: MAGIC.into(),
        versions: (VERSION_OLDEST, VERSION),
        features: Vec::new(),
        agent: "torture".into(),
    })
}

/// Returns the id of a mail that was taken.
pub fn id_of(outcome: &Outcome) -> MailId {
    match outcome {
        Outcome::Sent { id, durability, .. } => {
            assert_eq!(durability, "fsync");
            *id
        }
        Outcome::Refused { address, error } => panic!("{address} refused: {error}"),
    }
}

/// Says whether an outcome is the answer to a retry.
pub fn is_duplicate(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Sent {
            duplicate: true,
            ..
        }
    )
}

/// Returns the code of a refused recipient.
pub fn refusal(outcome: &Outcome) -> Option<Code> {
    match outcome {
        Outcome::Refused { error, .. } => Some(error.code),
        Outcome::Sent { .. } => None,
    }
}
