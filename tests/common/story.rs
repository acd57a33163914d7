//! A fixed day at a server that may die at any step, told from the outside: what was acknowledged, what
//! is in doubt. Afterwards a whole server is held to it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use correio::auth::keys::KeyPair;
use correio::protocol::names::{Pattern, UserName};
use correio::protocol::reply::{self, Outcome, Page};
use correio::protocol::request::{self, AdminWhat, Request};
use correio::protocol::{LogNumber, MailId};
use serde::Deserialize;

use super::client::{RawReply, Trouble, dealer, id_of, is_duplicate};
use super::life::Life;

/// The server ended before it answered.
#[derive(Debug)]
pub struct Gone;

/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Addresses that get mail.
const ADDRESSES: [&str; 2] = ["bob", "news"];

/// Sizes of bodies: inline, several chunks, a whole frame, three parts.
const SIZES: [usize; 4] = [20, 9_000, 60_000, 150_000];

/// Bytes of a part.
const PART_BYTES: usize = 64 * 1024;

/// One device.
#[derive(Debug, Clone)]
pub struct Person {
    name: &'static str,
    key: KeyPair,
    session: String,
    stream: Option<u64>,
    /// The next number of the stream.
    number: u64,
}

/// A device with a connection to a running server.
pub struct Talk<'a> {
    life: &'a mut Life,
    socket: zmq::Socket,
    next_id: u64,
}

impl<'a> Talk<'a> {
    /// Connects.
    pub fn new(life: &'a mut Life, key: &KeyPair) -> Self {
        let (socket, _) = dealer(&life.place(), key);
        Self {
            life,
            socket,
            next_id: 1,
        }
    }

    /// Asks and waits for the answer or the server's end.
    pub fn raw(&mut self, request: &Request, body: Option<&[u8]>) -> Result<RawReply, Gone> {
        let id = self.next_id.to_string().into_bytes();
        self.next_id += 1;
        let mut frames = vec![id.clone(), request.encode()];
        frames.extend(body.map(<[u8]>::to_vec));
        self.socket.send_multipart(frames, 0).expect("it queues");
        let begun = Instant::now();
        loop {
            // Looked at before the socket: what it answered before its end counts.
            let ended = self.life.has_ended();
            if let Some(reply) = self.take().filter(|reply| reply.id == id) {
                return Ok(reply);
            }
            if ended {
                return Err(Gone);
            }
            assert!(begun.elapsed() < ANSWER_MAX, "no answer to {request:?}");
        }
    }

    fn take(&mut self) -> Option<RawReply> {
        if self.socket.poll(zmq::POLLIN, 20).ok()? == 0 {
            return None;
        }
        let mut frames = self.socket.recv_multipart(0).ok()?.into_iter();
        Some(RawReply {
            id: frames.next()?,
            header: frames.next()?,
            bodies: frames.collect(),
        })
    }

    /// Asks without a body.
    pub fn ask<T: for<'d> Deserialize<'d>>(
        &mut self,
        request: &Request,
    ) -> Result<Result<T, Trouble>, Gone> {
        Ok(self.raw(request, None)?.decode())
    }

    /// Asks for what cannot be refused.
    fn must<T: for<'d> Deserialize<'d>>(&mut self, request: &Request) -> Result<T, Gone> {
        let answer = self.ask(request)?;
        Ok(answer.unwrap_or_else(|why| panic!("{request:?}: {why:?}")))
    }

    /// Reads a log after an id, whole bodies.
    pub fn read(
        &mut self,
        session: &str,
        log: LogNumber,
        mut after: MailId,
    ) -> Result<Vec<(MailId, Vec<u8>)>, Gone> {
        let mut all = Vec::new();
        loop {
            let reply = self.raw(
                &Request::Fetch(request::Fetch {
                    session: session.to_owned(),
                    log,
                    after,
                    n: None,
                    mails: 100,
                    bytes: 512 * 1024,
                }),
                None,
            )?;
            let page: Page = reply.decode().expect("a page");
            let mut bodies = reply.bodies.into_iter();
            for mail in page.mails {
                let body = match mail.frames {
                    0 => self.body(session, log, mail.id, mail.size)?,
                    _ => bodies.next().expect("a body frame"),
                };
                assert_eq!(body.len() as u64, mail.size);
                all.push((mail.id, body));
            }
            after = page.through;
            if !page.more {
                return Ok(all);
            }
        }
    }

    fn body(
        &mut self,
        session: &str,
        log: LogNumber,
        id: MailId,
        size: u64,
    ) -> Result<Vec<u8>, Gone> {
        let mut body: Vec<u8> = Vec::new();
        while (body.len() as u64) < size {
            let ask = Request::Body(request::Body {
                session: session.to_owned(),
                log,
                id,
                offset: body.len() as u64,
            });
            let reply = self.raw(&ask, None)?;
            reply.decode::<reply::Body>().expect("a piece of a body");
            body.extend_from_slice(&reply.bodies[0]);
        }
        Ok(body)
    }
}

impl Person {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            key: KeyPair::generate().expect("a key"),
            session: String::new(),
            stream: None,
            number: 1,
        }
    }

    /// Registers, which is harmless when done again, and logs in.
    fn arrive(&mut self, talk: &mut Talk<'_>, port: bool) -> Result<reply::Login, Gone> {
        talk.must::<reply::Registered>(&Request::Register(request::Register {
            user: Some(UserName::parse(self.name).expect("a name")),
            device: "test".into(),
            code: None,
        }))?;
        let welcome: reply::Login = talk.must(&Request::Login(request::Login {
            stream: self.stream,
            want_stream: true,
            want_port: port,
            ..request::Login::default()
        }))?;
        let known = self.stream.is_none() || welcome.stream_present;
        assert!(known, "an acknowledged stream is forgotten");
        self.stream = welcome.stream;
        self.session.clone_from(&welcome.session);
        Ok(welcome)
    }

    fn send(
        &self,
        talk: &mut Talk<'_>,
        (number, to, body): &(u64, &'static str, Vec<u8>),
    ) -> Result<Outcome, Gone> {
        let parts = body.len().div_ceil(PART_BYTES);
        let in_parts = parts > 1;
        let stream = self.stream.expect("it logged in");
        if in_parts {
            for (index, piece) in (0..).zip(body.chunks(PART_BYTES)) {
                let part = Request::Part(request::Part {
                    session: self.session.clone(),
                    stream,
                    number: *number,
                    index,
                });
                let reply = talk.raw(&part, Some(piece))?;
                reply.decode::<reply::Part>().expect("a part is taken");
            }
        }
        let request = Request::Send(request::Send {
            session: self.session.clone(),
            stream,
            number: *number,
            settled_below: *number,
            to: vec![(*to).to_owned()],
            subject: String::new(),
            content_type: request::default_content_type(),
            ttl_s: number.is_multiple_of(3).then_some(3_600),
            parts: in_parts.then(|| u32::try_from(parts).expect("few")),
            in_reply_to: None,
            thread: None,
        });
        let reply = talk.raw(&request, (!in_parts).then_some(body))?;
        let sent: reply::Sent = reply.decode().expect("a send is answered");
        Ok(sent.outcomes.into_iter().next().expect("one recipient"))
    }
}

/// What the outside knows.
#[derive(Debug, Clone)]
pub struct Story {
    ana: Person,
    bob: Person,
    /// Acknowledged mails per address, by id.
    mails: BTreeMap<&'static str, BTreeMap<MailId, Vec<u8>>>,
    /// A send without an answer: number, address, body.
    doubt: Option<(u64, &'static str, Vec<u8>)>,
    /// Bob's join was acknowledged.
    joined: bool,
    /// Bob's acknowledgement of his own log that was itself answered.
    acked: MailId,
    /// Where bob's acknowledgements would lead, answered or not: one in doubt may have been carried out.
    asked: MailId,
    /// The last epoch told.
    epoch: u64,
    /// A mail that expires of itself; it may be there or not.
    fleeting: MailId,
    /// The removal of the topic "old" was acknowledged.
    purged: bool,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            ana: Person::new("ana"),
            bob: Person::new("bob"),
            mails: BTreeMap::new(),
            doubt: None,
            joined: false,
            acked: 0,
            asked: 0,
            epoch: 0,
            fleeting: 0,
            purged: false,
        }
    }
}

impl Story {
    /// Returns how many sends were acknowledged.
    pub fn sends(&self) -> usize {
        self.mails.values().map(BTreeMap::len).sum()
    }

    /// Lives the day to its end, or to the server's.
    pub fn live(&mut self, life: &mut Life, admin: &KeyPair) -> Result<(), Gone> {
        self.arrive(life)?;
        for nth in 0..6 {
            self.send(life, ADDRESSES[nth % 2], SIZES[nth % 3])?;
        }
        self.send(life, "bob", SIZES[3])?;
        self.read_and_ack(life)?;
        self.purge(life, admin)?;
        for nth in 0..4 {
            self.send(life, ADDRESSES[nth % 2], SIZES[nth % 3])?;
        }
        self.leave(life)
    }

    fn arrive(&mut self, life: &mut Life) -> Result<(), Gone> {
        let talk = &mut Talk::new(life, &self.bob.key);
        self.bob.arrive(talk, false)?;
        talk.must::<reply::Logs>(&Request::Join(request::Join {
            session: self.bob.session.clone(),
            topic: Pattern::parse("news").expect("a topic"),
            from: request::From::Start,
        }))?;
        self.joined = true;
        let talk = &mut Talk::new(life, &self.ana.key);
        let welcome = self.ana.arrive(talk, true)?;
        let lease = welcome.lease.expect("a port is free");
        assert!(lease.epoch > self.epoch, "an epoch is used again");
        self.epoch = lease.epoch;
        let confirm = Request::LeaseConfirm(self.lease_word(lease.port));
        talk.must::<reply::Lease>(&confirm).map(drop)
    }

    fn lease_word(&self, port: u16) -> request::LeaseWord {
        request::LeaseWord {
            session: self.ana.session.clone(),
            port,
            epoch: self.epoch,
        }
    }

    fn send(&mut self, life: &mut Life, to: &'static str, size: usize) -> Result<(), Gone> {
        let number = self.ana.number;
        let body: Vec<u8> = format!("{to} {number} ")
            .bytes()
            .cycle()
            .take(size)
            .collect();
        self.ana.number += 1;
        self.doubt = Some((number, to, body));
        let talk = &mut Talk::new(life, &self.ana.key);
        self.settle(talk)
    }

    /// Carries out what is in doubt.
    fn settle(&mut self, talk: &mut Talk<'_>) -> Result<(), Gone> {
        let Some(doubt) = &self.doubt else {
            return Ok(());
        };
        match self.ana.send(talk, doubt)? {
            Outcome::Sent { id, .. } => {
                let (_, to, body) = self.doubt.take().expect("it was there");
                let before = self.mails.entry(to).or_default().insert(id, body);
                assert!(before.is_none(), "mail {id} was acknowledged twice");
                Ok(())
            }
            Outcome::Refused { error, .. } => panic!("refused: {error:?}"),
        }
    }

    fn read_and_ack(&mut self, life: &mut Life) -> Result<(), Gone> {
        let key = self.bob.key.clone();
        let talk = &mut Talk::new(life, &key);
        let logs = self.compare(talk)?;
        let (log, head) = logs["bob"];
        self.asked = head;
        talk.must::<reply::Done>(&Request::Ack(request::Ack {
            session: self.bob.session.clone(),
            logs: vec![(log, head)],
        }))?;
        self.acked = head;
        Ok(())
    }

    fn purge(&mut self, life: &mut Life, admin: &KeyPair) -> Result<(), Gone> {
        let talk = &mut Talk::new(life, admin);
        for what in [AdminWhat::TopicCreate, AdminWhat::TopicRm] {
            // Made unless it is there; gone in any case.
            drop(talk.ask::<reply::Rows>(&deed(what, Some("old")))?);
        }
        self.purged = true;
        Ok(())
    }

    fn leave(&mut self, life: &mut Life) -> Result<(), Gone> {
        let key = self.ana.key.clone();
        let talk = &mut Talk::new(life, &key);
        let close = Request::Close(request::Close {
            session: self.ana.session.clone(),
        });
        talk.must::<reply::Done>(&close).map(drop)
    }

    /// Reads bob's logs and compares them with what was acknowledged: nothing missing, nothing twice,
    /// nothing else, in order. Returns log number and head by address.
    fn compare(&self, talk: &mut Talk<'_>) -> Result<BTreeMap<String, (LogNumber, MailId)>, Gone> {
        let session = &self.bob.session;
        let list: reply::Logs = talk.must(&Request::Logs(request::Logs {
            session: session.clone(),
            after: 0,
        }))?;
        let mut heads = BTreeMap::new();
        for info in list.logs {
            // What was acknowledged may be trimmed, also while it is being read.
            let acked = match info.address.as_str() {
                "bob" => self.acked.max(info.cursor.min(self.asked)),
                _ => 0,
            };
            let found = talk.read(session, info.log, acked)?;
            let none = BTreeMap::new();
            let told = self.mails.get(info.address.as_str()).unwrap_or(&none);
            let found: Vec<_> = found
                .into_iter()
                .filter(|(id, _)| *id > acked && *id != self.fleeting)
                .collect();
            let told: Vec<_> = told.range(acked + 1..).collect();
            let ids: Vec<MailId> = found.iter().map(|(id, _)| *id).collect();
            let wanted: Vec<MailId> = told.iter().map(|(id, _)| **id).collect();
            assert_eq!(ids, wanted, "mails of {}", info.address);
            for ((id, found), (_, told)) in found.iter().zip(told) {
                assert!(found == told, "the body of mail {id} is another");
            }
            assert!(info.cursor >= acked, "an acknowledgement is lost");
            heads.insert(info.address, (info.log, info.head));
        }
        let missing = ADDRESSES
            .iter()
            .find(|name| self.mails.contains_key(*name) && !heads.contains_key(**name));
        assert_eq!(missing, None, "an address with mail is gone");
        Ok(heads)
    }

    /// Holds a server that runs without faults to all that was told: retries what is in doubt, reads
    /// everything, sends one more.
    pub fn hold_to_it(&mut self, life: &mut Life, admin: &KeyPair) -> Result<(), Gone> {
        if self.purged {
            let talk = &mut Talk::new(life, admin);
            let rows: reply::Rows = talk.must(&deed(AdminWhat::TopicLs, None))?;
            let old = rows.rows.iter().find(|row| row["topic"] == "old");
            assert!(old.is_none(), "a topic that was removed is back");
        }
        let key = self.ana.key.clone();
        self.arrive(life)?;
        if self.doubt.is_some() {
            let twice = self.doubt.clone();
            self.settle(&mut Talk::new(life, &key))?;
            let again = self
                .ana
                .send(&mut Talk::new(life, &key), &twice.expect("some"))?;
            assert!(is_duplicate(&again), "a retry was carried out again");
        }
        let last = self.mails.values().flat_map(BTreeMap::keys).max().copied();
        self.send(life, "bob", SIZES[0])?;
        let newest = self.mails["bob"].keys().next_back().copied();
        assert!(newest > last, "an id is used again");
        let key = self.bob.key.clone();
        self.compare(&mut Talk::new(life, &key)).map(drop)
    }

    /// Fills a store with a past: mail that waits, a mail that will have expired, a topic to purge.
    pub fn past(&mut self, life: &mut Life) -> Result<(), Gone> {
        self.arrive(life)?;
        for (to, size) in [("bob", 3_000), ("news", 70), ("bob", 9_000)] {
            self.send(life, to, size)?;
        }
        let talk = &mut Talk::new(life, &self.ana.key);
        talk.must::<reply::Logs>(&Request::Join(request::Join {
            session: self.ana.session.clone(),
            topic: Pattern::parse("old").expect("a topic"),
            from: request::From::Start,
        }))?;
        for (to, ttl_s) in [("old", None), ("bob", Some(1))] {
            let request = Request::Send(request::Send {
                session: self.ana.session.clone(),
                stream: self.ana.stream.expect("it logged in"),
                number: self.ana.number,
                settled_below: self.ana.number,
                to: vec![to.to_owned()],
                subject: String::new(),
                content_type: request::default_content_type(),
                ttl_s,
                parts: None,
                in_reply_to: None,
                thread: None,
            });
            self.ana.number += 1;
            let reply = talk.raw(&request, Some(&[b'x'; 5_000]))?;
            let sent: reply::Sent = reply.decode().expect("sent");
            self.fleeting = id_of(&sent.outcomes[0]);
        }
        Ok(())
    }
}

fn deed(what: AdminWhat, address: Option<&str>) -> Request {
    Request::Admin(request::Admin {
        what,
        after: None,
        address: address.map(str::to_owned),
        body: false,
        particulars: request::Particulars::default(),
    })
}
