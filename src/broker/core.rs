//! The pure core: every rule of the broker, without I/O.
//!
//! This file holds the law (one input, drain, next input), the tickets, and the one match over the
//! verbs; what a verb means is in `account`, `session`, `send`, `read`, `topic`, `lease`, `invitation`,
//! `block`, `presence`, `device`, `live`, `admin` and `deed`, what happens by itself in `upkeep`. Nothing here reads a clock, a file or a socket.
//!
//! Decide, make durable, then tell: an input changes the state in memory at once, and whatever is
//! told because of it, replies that change nothing included, waits until everything decided so far is
//! on disk (P1).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::ahead::Ahead;
use super::audit::Audit;
use super::block::Blocks;
use super::budget::{Admission, Asker, Budgets, Origin};
use super::directory::Directory;
use super::figures::Counts;
use super::invitations::Invitations;
use super::io::{Frame, Input, Now, Output, Peer, Settings, Ticket};
use super::leases::{Leases, SessionKey};
use super::logs::Logs;
use super::look::Looks;
use super::presence::Presence;
use super::read::Pending;
use super::rules::Rules;
use super::sessions::{Session, Sessions};
use super::streams::Streams;
use super::upkeep::Upkeep;
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::request::Request;
use crate::protocol::{LogNumber, MailId, PublicKey, reply};
use crate::store::{Answer, Change, LeaseState, MailCounters, Meta, Query, Snapshot};

/// The broker's state and rules.
#[derive(Debug)]
pub struct Core {
    pub(super) settings: Settings,
    pub(super) now: Now,
    pub(super) meta: Meta,
    pub(super) mail_counters: MailCounters,
    /// The same as they were written last.
    counters_written: MailCounters,
    pub(super) directory: Directory,
    pub(super) logs: Logs,
    pub(super) streams: Streams,
    pub(super) leases: Leases,
    pub(super) invitations: Invitations,
    pub(super) blocks: Blocks,
    pub(super) presence: Presence,
    pub(super) rules: Rules,
    pub(super) audit: Audit,
    pub(super) looks: Looks,
    pub(super) sessions: Sessions,
    pub(super) upkeep: Upkeep,
    pub(super) budgets: Budgets,
    pub(super) counts: Counts,
    /// What was granted to each key on the live socket: whom to tell when a right is lost.
    pub(super) granted: HashMap<PublicKey, HashSet<LogNumber>>,
    /// Logs somebody listens to under their present key; nobody is told of the others.
    pub(super) listened: HashSet<NoticeKey>,
    /// What denied subscriptions made the live socket keep since it was opened.
    pub(super) denied_kept: u64,
    /// When the live socket may be opened anew for that, on the monotonic clock.
    pub(super) renew_from_ms: u64,
    pub(super) disk_low: bool,
    /// Bytes free on the store's disk, where they are known.
    pub(super) disk_free: Option<u64>,
    pub(super) stopping: bool,
    /// Changes of the input being handled.
    pub(super) changes: Vec<Change>,
    pub(super) outputs: VecDeque<Output>,
    verdict: Verdict,
    tickets: Tickets,
    loads: HashMap<Ticket, Pending>,
    pub(super) ahead: Ahead,
    /// Reads under way that each key asked for.
    reads: HashMap<PublicKey, usize>,
}

/// Commits under way, and what is told when they are on disk.
#[derive(Debug, Default)]
struct Tickets {
    last: Ticket,
    issued: Ticket,
    committed: Ticket,
    /// The newest mail id of each commit under way.
    ids: VecDeque<(Ticket, MailId)>,
    synced: MailId,
    parked: VecDeque<(Ticket, Output)>,
}

/// One request's frame around its verb.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) peer: Peer,
    pub(super) id: Vec<u8>,
    pub(super) random: [u8; 32],
}

/// What became of the last request, for the log.
#[derive(Debug, Default, Clone, Copy)]
struct Verdict {
    key: PublicKey,
    /// Its code, or how else it goes on.
    word: &'static str,
}

/// A caller with a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Who {
    pub(super) session: SessionKey,
    pub(super) device: u64,
    pub(super) user: LogNumber,
}

/// What a verb's rule says: a reply's header now, or later, when a read is done.
pub(super) type Ruling = Result<Option<Vec<u8>>, WireError>;

impl Core {
    /// Starts from what the store held, everything in force before the first request (P13). Changes
    /// that the start itself needs come out of [`poll_output`](Self::poll_output), which must be
    /// drained before the first input.
    pub fn new(settings: Settings, snapshot: Snapshot, now: Now) -> Self {
        let mut changes = Vec::new();
        let terms = (
            settings.lease_ttl_ms,
            settings.port_rest_ms,
            settings.ports_per_user,
        );
        let leases = Leases::restore(
            &settings.chat_ports,
            terms,
            snapshot.leases,
            now.mono_ms,
            &mut changes,
        );
        let directory = Directory::restore(
            snapshot.directory_counters,
            snapshot.addresses,
            snapshot.devices,
            snapshot.subscriptions,
            snapshot.codes,
            snapshot.next_keys,
            snapshot.grants,
        );
        let synced = snapshot.mail_counters.mail;
        let mut core = Self {
            upkeep: Upkeep::new(snapshot.meta.running_s, now.mono_ms),
            budgets: Budgets::new((settings.registrations, settings.registrations_loopback)),
            settings,
            now,
            meta: snapshot.meta,
            mail_counters: snapshot.mail_counters,
            counters_written: snapshot.mail_counters,
            directory,
            logs: Logs::restore(snapshot.logs),
            streams: Streams::restore(snapshot.streams, snapshot.completions),
            leases,
            invitations: Invitations::default(),
            blocks: Blocks::restore(snapshot.blocks),
            presence: Presence::restore(snapshot.hidden, snapshot.sights),
            rules: Rules::restore(snapshot.accounts, snapshot.limits),
            audit: Audit::restore(snapshot.audited),
            looks: Looks::default(),
            sessions: Sessions::default(),
            counts: Counts::default(),
            granted: HashMap::new(),
            listened: HashSet::new(),
            denied_kept: 0,
            renew_from_ms: 0,
            disk_low: false,
            disk_free: None,
            stopping: false,
            changes,
            outputs: VecDeque::new(),
            verdict: Verdict::default(),
            tickets: Tickets {
                synced,
                ..Tickets::default()
            },
            loads: HashMap::new(),
            ahead: Ahead::default(),
            reads: HashMap::new(),
        };
        core.restore_cursors(snapshot.cursors);
        core.restore_sessions();
        core.restore_invitations(snapshot.invitations);
        core.upkeep_at_start();
        core.recall_audit();
        core.finish();
        core
    }

    /// Takes one input. The outputs of the one before must have been drained.
    pub fn handle(&mut self, now: Now, input: Input) {
        debug_assert!(
            self.outputs.is_empty(),
            "an input was given before the last was drained"
        );
        self.now = now;
        match input {
            Input::Request {
                peer,
                frames,
                random,
            } => self.request(peer, frames, random),
            Input::Subscribe { key, topic, sure } => self.subscribe(key, &topic, sure),
            Input::Unsubscribe { key } => self.unsubscribe(&key),
            Input::Stray { key } => self.stray(&key),
            Input::Doubt(key) => self.doubt(key),
            Input::Committed(ticket) => self.committed(ticket),
            Input::Loaded(ticket, answer) => self.loaded(ticket, answer),
            Input::Tick {
                disk_low,
                disk_free,
            } => {
                self.disk_free = disk_free;
                self.tick(disk_low);
            }
            Input::RoundTrip => self.round_trip(),
            Input::Settings(settings) => self.change_settings(&settings),
            Input::Shutdown => self.stopping = true,
        }
        self.finish();
    }

    /// Returns the next output; [`Output::Idle`] when there is nothing more.
    pub fn poll_output(&mut self) -> Output {
        self.outputs
            .pop_front()
            .unwrap_or(Output::Idle { wake_at_ms: None })
    }

    /// Returns whose the last request was, if a user's, and what became of it: `ok`, a code, or `later` when it is
    /// answered after something is read.
    pub fn verdict(&self) -> (Option<&str>, &'static str) {
        let device = self.directory.device_of_key(&self.verdict.key);
        let user = device.and_then(|device| self.directory.address(device.user));
        (user.map(|user| user.name.as_str()), self.verdict.word)
    }

    /// Returns the settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn change_settings(&mut self, settings: &Settings) {
        let registrations = (settings.registrations, settings.registrations_loopback);
        self.budgets.set_registrations(registrations);
        self.leases.set_per_user(settings.ports_per_user);
        self.settings = Settings {
            admin_keys: std::mem::take(&mut self.settings.admin_keys),
            chat_ports: std::mem::take(&mut self.settings.chat_ports),
            lease_ttl_ms: self.settings.lease_ttl_ms,
            port_rest_ms: self.settings.port_rest_ms,
            invitation_ttl_ms: self.settings.invitation_ttl_ms,
            live_port: self.settings.live_port,
            ..settings.clone()
        };
        // Less may be kept than before.
        self.mark_all_logs();
    }

    /// Says whether nothing is under way: no commit, no read, no reply waiting.
    pub fn is_settled(&self) -> bool {
        self.tickets.issued == self.tickets.committed
            && self.loads.is_empty()
            && self.outputs.is_empty()
    }

    // -- the start --

    /// Places every cursor that must exist: written ones as they are, and by rule those that a crash
    /// kept from being written. One that a crash kept from being removed would hold mail back for ever.
    fn restore_cursors(&mut self, cursors: Vec<(u64, LogNumber, crate::store::Mark)>) {
        for (device, log, mark) in cursors {
            let owner = self.directory.device(device).map(|device| device.user);
            let head = self.logs.head(log);
            if !owner.is_some_and(|user| self.directory.reads(user, log)) {
                self.changes.push(Change::RemoveCursor { device, log });
            } else if mark.id > head.id {
                // It counts mails that a store which lost some does not have.
                self.logs.put_cursor(device, log, head, &mut self.changes);
            } else {
                self.logs.place_cursor(device, log, mark);
            }
        }
        let devices: Vec<(u64, LogNumber)> = self
            .directory
            .devices()
            .map(|device| (device.number, device.user))
            .collect();
        for (device, user) in devices {
            let logs: Vec<LogNumber> = self.directory.logs_of(user).collect();
            for log in logs {
                if self.logs.cursor(device, log).is_none() {
                    self.place_unwritten_cursor(device, user, log);
                }
            }
        }
    }

    /// A session whose lease is in force can be resumed after a restart, with a full term.
    fn restore_sessions(&mut self) {
        let out = |state| matches!(state, LeaseState::Offered | LeaseState::Held);
        let held: Vec<_> = self
            .leases
            .lent()
            .filter(|lease| out(lease.state))
            .map(|lease| (lease.session, lease.device, lease.user))
            .collect();
        for (key, device, user) in held {
            self.insert_session(key, (device, user), false);
        }
    }

    pub(super) fn insert_session(
        &mut self,
        key: SessionKey,
        (device, user): (u64, LogNumber),
        is_listed: bool,
    ) {
        self.sessions.insert(Session {
            key,
            device,
            user,
            is_listed,
            // Whether one of before a restart did is not known.
            beats: !is_listed,
            seen_ms: self.now.mono_ms,
            seen_wall_ms: self.now.wall_ms,
            since_wall_ms: self.now.wall_ms,
            staging: None,
        });
    }

    // -- requests --

    fn request(&mut self, peer: Peer, frames: Vec<Vec<u8>>, random: [u8; 32]) {
        self.verdict = Verdict {
            key: peer.key,
            word: Code::Busy.word(),
        };
        let mut frames = frames.into_iter();
        let id = frames.next().unwrap_or_default();
        let (header, body) = (frames.next(), frames.next());
        let call = Call { peer, id, random };
        let asker = self.asker(&call.peer);
        if !self.admits(&call, asker) {
            return;
        }
        let ruling = if call.id.is_empty() || call.id.len() > limits::REQUEST_ID_BYTES_MAX {
            Err(refusal!(Code::BadRequest, "a request id has 1 to 32 bytes"))
        } else if frames.next().is_some() {
            Err(refusal!(
                Code::BadRequest,
                "a request has at most three frames"
            ))
        } else if let Some(header) = header {
            Request::decode(&header).and_then(|request| self.rule(&call, request, body))
        } else {
            Err(refusal!(Code::BadRequest, "a request has a header frame"))
        };
        self.verdict.word = match &ruling {
            Ok(Some(_)) => "ok",
            Ok(None) => "later",
            Err(error) => error.code.word(),
        };
        match ruling {
            Ok(Some(header)) => self.reply(&call, header, Vec::new()),
            Ok(None) => {}
            Err(error) => self.refuse(&call, asker, &error),
        }
    }

    /// Returns who answers for a request; nobody does for an administrator's.
    fn asker(&self, peer: &Peer) -> Option<Asker> {
        if let Some(device) = self.directory.device_of_key(&peer.key) {
            return Some(Asker::User(device.user));
        }
        let is_admin = self.settings.admin_keys.contains(&peer.key);
        (!is_admin).then(|| Asker::Stranger(Origin::of(&peer.address)))
    }

    /// Says whether a request is looked at: not one of who goes on failing, which is answered `busy`
    /// at times and then no more, so that it costs next to nothing.
    fn admits(&mut self, call: &Call, asker: Option<Asker>) -> bool {
        let admission = asker.map(|asker| self.budgets.admit(asker, self.now.mono_ms));
        match admission {
            None | Some(Admission::Welcome) => return true,
            Some(Admission::Later(wait_ms)) => {
                let error =
                    refusal!(Code::Busy, "too many of your requests failed").after_ms(wait_ms);
                self.counts.refuse(error.code);
                self.reply(call, reply::encode_error(&error), Vec::new());
            }
            Some(Admission::Silence) => self.counts.dropped_requests += 1,
        }
        false
    }

    fn refuse(&mut self, call: &Call, asker: Option<Asker>, error: &WireError) {
        if let Some(asker) = asker {
            self.budgets
                .charge_failure(asker, error.code, self.now.mono_ms);
        }
        self.counts.refuse(error.code);
        self.reply(call, reply::encode_error(error), Vec::new());
    }

    fn rule(&mut self, call: &Call, request: Request, body: Option<Vec<u8>>) -> Ruling {
        if self.stopping {
            return Err(refusal!(Code::ShuttingDown, "the server is going down").after_ms(500));
        }
        if body.is_some() && !matches!(request, Request::Send(_) | Request::Part(_)) {
            return Err(refusal!(Code::BadRequest, "this verb takes no body frame"));
        }
        match request {
            Request::Hello(hello) => self.hello(call, &hello),
            Request::Register(register) => self.register(call, register),
            Request::Login(login) => self.login(call, &login),
            Request::Logout(logout) => self.logout(call, &logout),
            Request::Invite(invite) => self.invite(call, invite),
            Request::Admin(admin) => self.admin(call, &admin),
            other => {
                let who = self.who(call, other.session())?;
                self.rule_in_session(call, who, other, body)
            }
        }
    }

    fn rule_in_session(
        &mut self,
        call: &Call,
        who: Who,
        request: Request,
        body: Option<Vec<u8>>,
    ) -> Ruling {
        self.may_ask_to_read(call, &request)?;
        match request {
            Request::Heartbeat(beat) => self.heartbeat(who, &beat),
            Request::Logs(logs) => Ok(self.more_logs(who, logs.after)),
            Request::Send(send) => self.send(who, &send, body),
            Request::Part(part) => self.part(who, &part, body),
            Request::Fetch(fetch) => self.fetch(call, who, &fetch),
            Request::History(history) => self.history(call, who, &history),
            Request::Body(body) => self.body(call, who, &body),
            Request::Ack(ack) => self.ack(call, who, &ack),
            Request::Join(join) => self.join(call, who, &join),
            Request::Leave(leave) => Ok(self.leave(who, &leave)),
            Request::Topics(topics) => Ok(self.topics(who, &topics)),
            Request::Topic(topic) => self.topic(who, &topic),
            Request::Lease(_) => self.lease(who),
            Request::LeaseConfirm(word) => self.lease_confirm(who, &word),
            Request::LeaseBusy(word) => self.lease_busy(who, &word),
            Request::LeaseRelease(word) => self.lease_release(who, &word),
            Request::ChatAsk(ask) => self.chat_ask(call, who, &ask),
            Request::ChatAccept(accept) => self.chat_accept(call, who, &accept),
            Request::ChatDecline(decline) => self.chat_decline(who, &decline),
            Request::ChatWithdraw(withdraw) => self.chat_withdraw(who, &withdraw),
            Request::Chats(_) => Ok(self.chats(who)),
            Request::ChatSeen(seen) => self.chat_seen(who, &seen),
            Request::Block(block) => self.block(who, &block),
            Request::Unblock(block) => self.unblock(who, &block),
            Request::Blocks(blocks) => Ok(self.blocks(who, &blocks)),
            Request::Who(asked) => self.who_is_here(who, &asked),
            Request::Hide(hide) => Ok(self.hide(who, &hide)),
            Request::Devices(devices) => Ok(self.devices(who, &devices)),
            Request::DeviceRm(rm) => self.device_rm(who, &rm),
            Request::DeviceRename(rename) => self.device_rename(who, rename),
            Request::Rotate(rotate) => self.rotate(who, &rotate),
            Request::Codes(_) => Ok(self.codes(who)),
            Request::CodeRm(rm) => Ok(self.code_rm(who, &rm)),
            Request::AccountRm(rm) => self.account_rm(who, &rm),
            Request::Close(_) => Ok(self.close(who)),
            other => Err(refusal!(
                Code::Internal,
                "{} is not ruled in a session",
                other.verb()
            )),
        }
    }

    /// Returns the caller behind a session and notes that it was heard of, which keeps the session
    /// and its lease. A session serves only the key it was made for, so that knowing its name is
    /// worth nothing to anybody else (P4).
    pub(super) fn who(&mut self, call: &Call, session: &str) -> Result<Who, WireError> {
        let Some(device) = self.directory.device_of_key(&call.peer.key) else {
            return Err(not_registered());
        };
        self.let_in(device.user, device.number)?;
        let who = Who {
            session: session_key(session),
            device: device.number,
            user: device.user,
        };
        let known = self
            .sessions
            .get_mut(&who.session)
            .filter(|s| s.device == who.device);
        let Some(session) = known else {
            return Err(no_session());
        };
        session.seen_ms = self.now.mono_ms;
        session.seen_wall_ms = self.now.wall_ms;
        Ok(who)
    }

    // -- telling --

    /// Tells the caller, once everything decided so far is on disk.
    pub(super) fn reply(&mut self, call: &Call, header: Vec<u8>, bodies: Vec<Frame>) {
        let mut frames: Vec<Frame> = Vec::with_capacity(2 + bodies.len());
        frames.push(call.id.as_slice().into());
        frames.push(header.into());
        frames.extend(bodies);
        self.tell(Output::Reply {
            routing: call.peer.routing.clone(),
            frames,
        });
    }

    /// Publishes under a log's present key, if anybody was ever granted it.
    pub(super) fn publish(&mut self, log: LogNumber, notice: &Notice, body: Option<Frame>) {
        let Some(key) = self.listened_key(log) else {
            return;
        };
        self.tell(Output::Publish {
            key,
            header: notice.encode().into(),
            body,
        });
    }

    /// Returns a log's notice key if somebody listens to it.
    pub(super) fn listened_key(&self, log: LogNumber) -> Option<NoticeKey> {
        self.directory
            .notice_key(log)
            .filter(|key| self.listened.contains(key))
    }

    /// Drops what was to be published under a key and still waits for the disk.
    pub(super) fn unpublish(&mut self, under: NoticeKey) {
        let parked = &mut self.tickets.parked;
        parked.retain(|(_, told)| !matches!(told, Output::Publish { key, .. } if *key == under));
    }

    pub(super) fn tell(&mut self, output: Output) {
        // Parked behind a ticket that `finish` may still issue for this very input.
        self.tickets.parked.push_back((Ticket::MAX, output));
    }

    /// Takes the next number of what a reader of a log must hear of: a mail, or another change of the log's row.
    pub(super) fn take_number(&mut self) -> MailId {
        self.mail_counters.mail += 1;
        self.mail_counters.mail
    }

    /// Closes an input: its changes become a commit, and what it tells waits for the last commit.
    fn finish(&mut self) {
        if self.mail_counters != self.counters_written {
            self.counters_written = self.mail_counters;
            self.changes
                .push(Change::PutMailCounters(self.mail_counters));
        }
        if !self.changes.is_empty() {
            let ticket = self.next_ticket();
            self.tickets.issued = ticket;
            self.audit.issued(ticket);
            self.tickets
                .ids
                .push_back((ticket, self.mail_counters.mail));
            self.outputs
                .push_back(Output::Commit(ticket, std::mem::take(&mut self.changes)));
        }
        let issued = self.tickets.issued;
        for (ticket, _) in self.tickets.parked.iter_mut().rev() {
            if *ticket != Ticket::MAX {
                break;
            }
            *ticket = issued;
        }
        self.release();
    }

    fn committed(&mut self, ticket: Ticket) {
        self.tickets.committed = self.tickets.committed.max(ticket);
        self.audit.committed(self.tickets.committed);
        while let Some((_, id)) = self.tickets.ids.pop_front_if(|(of, _)| *of <= ticket) {
            self.tickets.synced = id;
        }
        self.trim_committed();
    }

    /// Moves out what waits for nothing any more.
    fn release(&mut self) {
        let committed = self.tickets.committed;
        while let Some((_, output)) = self.tickets.parked.pop_front_if(|(of, _)| *of <= committed) {
            self.outputs.push_back(output);
        }
    }

    fn next_ticket(&mut self) -> Ticket {
        self.tickets.last += 1;
        self.tickets.last
    }

    /// Returns the newest mail id that is on disk: no page goes beyond it (P1).
    pub(super) fn synced(&self) -> MailId {
        self.tickets.synced
    }

    // -- reading --

    pub(super) fn load(&mut self, query: Query, pending: Pending) {
        let ticket = self.next_ticket();
        if let Some(asker) = pending.asker() {
            *self.reads.entry(asker).or_default() += 1;
        }
        self.loads.insert(ticket, pending);
        self.outputs.push_back(Output::Load(ticket, query));
    }

    fn loaded(&mut self, ticket: Ticket, answer: Answer) {
        let Some(pending) = self.loads.remove(&ticket) else {
            return;
        };
        if let Some(asker) = pending.asker()
            && let Entry::Occupied(mut reads) = self.reads.entry(asker)
        {
            *reads.get_mut() -= 1;
            if *reads.get() == 0 {
                reads.remove();
            }
        }
        self.resume(pending, answer);
    }

    /// Refuses a read to who has many under way: they wait in memory for the disk.
    fn may_ask_to_read(&self, call: &Call, request: &Request) -> Result<(), WireError> {
        let reads = matches!(
            request,
            Request::Fetch(_)
                | Request::History(_)
                | Request::Body(_)
                | Request::Ack(_)
                | Request::Join(_)
        );
        let under_way = self.reads.get(&call.peer.key).copied().unwrap_or(0);
        if !reads || under_way < limits::READS_PER_DEVICE_MAX {
            return Ok(());
        }
        Err(refusal!(
            Code::Busy,
            "256 reads of this device are under way; wait for some of their replies"
        )
        .after_ms(100))
    }
}

/// Reads a session's name; what is not one names no session, for random bytes are never all zero.
pub(super) fn session_key(text: &str) -> SessionKey {
    let mut key = SessionKey::default();
    match hex::decode_to_slice(text, &mut key) {
        Ok(()) => key,
        Err(_) => SessionKey::default(),
    }
}

/// Says that a key belongs to no user.
pub(super) fn not_registered() -> WireError {
    refusal!(
        Code::NotRegistered,
        "this key belongs to no user here; register first (mailctl login USER)"
    )
}

pub(super) fn no_session() -> WireError {
    refusal!(Code::NoSession, "the session is over; log in again")
}

/// Encodes a reply's header as a ruling.
#[expect(
    clippy::unnecessary_wraps,
    reason = "a ruling is a header now, or none until a read is done"
)]
pub(super) fn told<T: serde::Serialize>(body: &T) -> Option<Vec<u8>> {
    Some(reply::encode(body))
}

/// Says that a change is on disk.
pub(super) fn done() -> Option<Vec<u8>> {
    told(&reply::Done {
        durability: "fsync".into(),
    })
}

/// Shares a body between its frames.
pub(super) fn frame(bytes: Vec<u8>) -> Frame {
    Arc::from(bytes)
}
