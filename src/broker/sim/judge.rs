//! What the server says, judged at the moment it lets it go: what it says must be on disk, and true for
//! good.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use super::chat;
use super::ledger::{Ledger, is_out};
use super::model::{Cause, Claim, Fact, Model, Said};
use super::ports::session_of;
use crate::broker::io::Ticket;
use crate::protocol::codes::{Code, WireError};
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::reply::{self, DecodeError, Envelope, LogInfo, Page};
use crate::protocol::request::{Admin, AdminWhat, From, Request, Role};
use crate::protocol::{LogNumber, MailId, PublicKey};
use crate::store::code_digest;

/// A request as the server took it, until it is answered.
#[derive(Debug, Clone)]
pub(super) struct Handled {
    pub(super) request: Arc<Request>,
    pub(super) said: Option<Arc<Said>>,
    pub(super) key: PublicKey,
    /// The device that the key was then.
    device: Option<u64>,
    /// The last commit that was decided when it was taken: no reply leaves before it (P1).
    pub(super) ticket: Ticket,
    at_ms: u64,
    /// Which in the order of all requests.
    pub(super) serial: u64,
    /// Logs that its user read then, with their heads.
    reads: Vec<(LogNumber, MailId)>,
    last_epoch: u64,
    mails_kept: u64,
    /// Who was hidden then.
    hidden: Vec<LogNumber>,
    /// Its user was not let in then.
    is_disabled: bool,
}

/// Requests that were taken and not answered yet, by connection and number.
pub(super) type Waiting = HashMap<(u64, u64), VecDeque<Handled>>;

/// Takes the request that a reply is to. A copy that came when its key was nobody's is refused at once,
/// while an earlier one may still wait for the disk.
pub(super) fn take(waiting: &mut VecDeque<Handled>, header: &[u8]) -> Option<Handled> {
    let is_unknown = refusal(header).is_some_and(|error| error.code == Code::NotRegistered);
    let fits = |asked: &Handled| !is_unknown || asked.device.is_none();
    waiting.remove(waiting.iter().position(fits).unwrap_or(0))
}

impl Model {
    /// A request reaches the server: what it may mean later is noted now.
    pub(super) fn taken(&mut self, request: &Arc<Request>, key: PublicKey, serial: u64) {
        let who = self.decided.device_of(&key);
        if let Some(session) = session_in(request) {
            let (now_ms, ttl_ms) = (self.time.ms, self.limits.lease_ttl_ms);
            self.sessions.heard(session, &key, now_ms, ttl_ms);
        }
        if let Request::Login(_) = **request {
            let next = self.decided.next_keys.iter();
            let mut rotating = next
                .filter(|(_, next)| **next == key)
                .map(|(device, _)| device);
            let device = rotating
                .next()
                .and_then(|device| self.decided.devices.get(device));
            if let Some((_, old)) = device.copied() {
                self.sessions.logged_out(old, serial);
            }
        }
        let Some((device, user)) = who else {
            return;
        };
        match &**request {
            Request::Join(join) => {
                if join.from != From::Now {
                    let place = (device, join.topic.as_str().to_owned());
                    *self.rewinds.entry(place).or_default() += 1;
                }
                let claim = Claim::Subscription(user, join.topic.as_str().to_owned());
                self.claims.insert(claim, serial);
            }
            Request::Leave(leave) => {
                let claim = Claim::Subscription(user, leave.topic.as_str().to_owned());
                self.claims.insert(claim, serial);
            }
            Request::Block(block) | Request::Unblock(block) => {
                let blocked = self.decided.number_of(block.user.as_str());
                self.claims
                    .insert(Claim::Block(user, blocked.unwrap_or(0)), serial);
            }
            Request::Rotate(_) => drop(self.claims.insert(Claim::NextKey(device), serial)),
            Request::Hide(_) => drop(self.claims.insert(Claim::Hidden(user), serial)),
            Request::DeviceRm(rm) => {
                let removed = self.decided.devices.get(&rm.device).copied();
                if let Some((_, key)) = removed.filter(|(owner, _)| *owner == user) {
                    self.sessions.logged_out(key, serial);
                }
            }
            Request::AccountRm(_) => self.deed_taken(AdminWhat::UserRm, serial),
            Request::Login(login) => {
                if let Some(resume) = &login.resume {
                    let (now_ms, ttl_ms) = (self.time.ms, self.limits.lease_ttl_ms);
                    self.sessions
                        .heard(session_of(resume), &key, now_ms, ttl_ms);
                }
            }
            Request::Logout(_) => self.sessions.logged_out(key, serial),
            Request::Close(close) => {
                self.sessions.ended(session_of(&close.session), &key);
            }
            _ => {}
        }
    }

    /// An administrator's request reaches the server. Who is removed is logged out.
    pub(super) fn deed_taken(&mut self, what: AdminWhat, serial: u64) {
        match what {
            AdminWhat::UserRm => {
                self.sessions.any_ended(serial);
                self.last_deed = serial;
            }
            AdminWhat::UserDisable | AdminWhat::SessionKick | AdminWhat::KeyRevoke => {
                self.sessions.any_ended(serial);
            }
            AdminWhat::UserFree | AdminWhat::TopicRm => self.last_deed = serial,
            _ => {}
        }
    }

    /// Describes a request just taken; `ticket` is the last commit decided.
    pub(super) fn handled(
        &self,
        request: &Arc<Request>,
        said: Option<Arc<Said>>,
        (key, ticket, serial): (PublicKey, Ticket, u64),
    ) -> Handled {
        let lists = matches!(
            **request,
            Request::Login(_) | Request::Heartbeat(_) | Request::Logs(_) | Request::Join(_)
        );
        let user = self.decided.device_of(&key).filter(|_| lists);
        let logs = user.map_or(Vec::new(), |(_, user)| self.decided.logs_of(user));
        let mails_kept = if matches!(**request, Request::Admin(_)) {
            let live = self.decided.logs.keys();
            live.filter(|log| self.decided.addresses.contains_key(log))
                .map(|log| self.decided.kept(*log))
                .sum()
        } else {
            0
        };
        Handled {
            request: Arc::clone(request),
            said,
            key,
            device: self.decided.device_of(&key).map(|(device, _)| device),
            ticket,
            at_ms: self.time.ms,
            serial,
            reads: logs
                .into_iter()
                .map(|log| (log, self.decided.head(log).0))
                .collect(),
            last_epoch: self.decided.last_epoch,
            hidden: self.decided.hidden.iter().copied().collect(),
            is_disabled: self
                .decided
                .device_of(&key)
                .is_some_and(|(_, user)| self.decided.is_disabled(user)),
            mails_kept,
        }
    }

    /// A reply leaves the server.
    pub(super) fn judge_reply(&mut self, asked: &Handled, frames: &[Vec<u8>], synced: &Ledger) {
        if let Request::Join(join) = &*asked.request
            && join.from != From::Now
            && let Some(device) = asked.device
        {
            let place = (device, join.topic.as_str().to_owned());
            let under_way = self.rewinds.entry(place).or_default();
            *under_way = under_way.saturating_sub(1);
        }
        match refusal(&frames[1]) {
            Some(error) => self.judge_refusal(asked, &error, synced),
            None => self.judge_answer(asked, frames, synced),
        }
    }

    fn judge_refusal(&mut self, asked: &Handled, error: &WireError, synced: &Ledger) {
        match error.code {
            Code::NoSession => {
                if let Some(session) = session_in(&asked.request) {
                    let is_beat = matches!(*asked.request, Request::Heartbeat(_));
                    self.sessions.refused(session, &asked.key, is_beat);
                }
            }
            Code::NotRegistered => {
                // A name that was set free may be taken again before the refusal leaves.
                let known = asked.device.is_some_and(|device| {
                    let is_it = |ledger: &Ledger| {
                        let found = ledger.device_of(&asked.key);
                        found.is_some_and(|(number, _)| number == device)
                    };
                    is_it(synced) && is_it(&self.decided)
                });
                assert!(!known, "P2: a device is on disk and was refused: {asked:?}");
            }
            Code::ShutOut => self.faults.shut_out += 1,
            Code::Internal => panic!("a bug: {error} to {asked:?}"),
            _ => {}
        }
    }

    fn judge_answer(&mut self, asked: &Handled, frames: &[Vec<u8>], synced: &Ledger) {
        judge_let_in(asked);
        if let Some(session) = session_in(&asked.request) {
            let stolen = self.sessions.is_anothers(session, &asked.key);
            assert!(!stolen, "P4: another's session served {asked:?}");
        }
        let header = &frames[1];
        match &*asked.request {
            Request::Register(_) => {
                let told: reply::Registered = read(header);
                let row = synced.devices.get(&told.device);
                assert!(
                    row.is_some_and(|(_, key)| *key == asked.key)
                        || self.is_newer(asked, told.device),
                    "P1: device {} is not on disk",
                    told.device
                );
                self.device_told(told.device, asked.key);
            }
            Request::Login(_) => self.judge_login(asked, &read(header), synced),
            Request::Heartbeat(beat) => {
                let told: reply::Heartbeat = read(header);
                self.sessions.beaten(session_of(&beat.session));
                judge_beat(asked, beat.known, &told);
                self.judge_rows(asked, &told.behind, synced);
                self.judge_port(asked, told.lease.as_ref(), synced);
                let user = self.name_of(&asked.key);
                for row in &told.chats {
                    chat::concerns(user, row);
                }
            }
            Request::Logs(_) => {
                self.judge_rows(asked, &read::<reply::Logs>(header).logs, synced);
            }
            Request::Join(join) => {
                self.judge_claim(asked, join.topic.as_str(), true, synced);
                self.judge_rows(asked, &read::<reply::Logs>(header).logs, synced);
                self.faults.joins += 1;
            }
            Request::Leave(leave) => {
                self.judge_claim(asked, leave.topic.as_str(), false, synced);
                self.faults.leaves += 1;
            }
            Request::Fetch(fetch) => {
                self.judge_page(asked, &read(header), &frames[2..], synced);
                let page: Page = read(header);
                self.judge_count(&page, fetch.n.is_some(), synced);
            }
            Request::History(_) => self.judge_page(asked, &read(header), &frames[2..], synced),
            Request::Body(body) => {
                self.judge_body(asked, (body.log, body.id, body.offset), &frames[2], synced);
            }
            Request::Send(_) => {
                let sent: reply::Sent = read(header);
                let said = asked.said.clone().expect("a send says something");
                self.answered(&said, &sent.outcomes, synced);
                let large = said.parts().is_some();
                self.faults.large += u64::from(large);
            }
            _ => self.judge_deed(asked, header, synced),
        }
    }

    fn judge_deed(&mut self, asked: &Handled, header: &[u8], synced: &Ledger) {
        match &*asked.request {
            Request::Ack(ack) => self.judge_ack(asked, &ack.logs, synced),
            Request::Invite(_) => {
                let code = code_digest(&read::<reply::Invited>(header).code);
                assert!(synced.codes.contains(&code), "P1: a code is not on disk");
            }
            Request::Logout(logout) => self.judge_logout(asked, logout.forget, synced),
            Request::Lease(_) | Request::LeaseConfirm(_) | Request::LeaseBusy(_) => {
                let told: reply::Lease = read(header);
                self.judge_port(asked, Some(&told.lease), synced);
            }
            Request::LeaseRelease(word) => {
                let lease = synced.leases.get(&word.port);
                let is_back = lease.is_none_or(|lease| lease.epoch != word.epoch || !is_out(lease));
                assert!(is_back, "P1: {lease:?} was given back and is not");
            }
            Request::Block(block) => self.judge_block(asked, block.user.as_str(), true, synced),
            Request::Unblock(block) => self.judge_block(asked, block.user.as_str(), false, synced),
            Request::Hide(hide) => self.judge_hide(asked, hide.hidden, synced),
            Request::Who(_) => self.judge_who(asked, &read(header)),
            Request::Devices(_) => self.judge_devices(asked, &read(header)),
            Request::Rotate(rotate) => {
                let key = hex::encode(asked.key);
                let named = asked
                    .device
                    .and_then(|device| synced.next_keys.get(&device));
                let is_last = asked.device.is_some_and(|device| {
                    self.claims.get(&Claim::NextKey(device)) == Some(&asked.serial)
                });
                let is_there = self.decided.device_of(&asked.key).is_some();
                let is_named = named.map(hex::encode).as_ref() == Some(&rotate.key);
                assert!(
                    is_named || key == rotate.key || !is_last || !is_there,
                    "P1: {named:?} is named instead of {rotate:?}"
                );
            }
            Request::DeviceRm(rm) => {
                let there = synced.devices.get(&rm.device);
                assert!(there.is_none(), "P1: {there:?} is removed and on disk");
                self.faults.devices_removed += 1;
            }
            Request::AccountRm(rm) => {
                let user = self.users_of(&asked.key).iter().find(|user| {
                    self.users_ever.get(user).map(String::as_str) == Some(rm.user.as_str())
                });
                let there = user.and_then(|user| synced.addresses.get(user));
                let is_live = there.is_some_and(|address| address.is_live);
                assert!(!is_live, "P1: {there:?} is removed and on disk");
                self.faults.accounts_removed += 1;
            }
            Request::ChatAsk(ask) => {
                let told: reply::Asked = read(header);
                let user = self.name_of(&asked.key);
                chat::concerns(user, &told.row);
                if let Some(said) = &told.introduction {
                    self.chats.introduced(&ask.session, said, &synced.accepted);
                }
            }
            Request::ChatAccept(accept) => {
                let said: reply::Introduction = read(header);
                self.chats
                    .introduced(&accept.session, &said, &synced.accepted);
            }
            Request::Admin(admin) => {
                let told: reply::Rows = read(header);
                if admin.what.needs() == Role::Admin {
                    judge_audit(admin, &told, synced);
                } else {
                    judge_listing(asked, &told);
                }
            }
            _ => {}
        }
    }

    /// Says whether a log is no other user's than these.
    fn may_see(&self, users: &[LogNumber], log: LogNumber) -> bool {
        users
            .iter()
            .any(|user| !self.decided.is_anothers(*user, log))
    }

    fn name_of(&self, key: &PublicKey) -> Option<&str> {
        let user = self.users_of(key).last()?;
        self.users_ever.get(user).map(String::as_str)
    }

    /// Says whether the key is, by now, no device or another one.
    fn is_newer(&self, asked: &Handled, device: u64) -> bool {
        let now = self.decided.device_of(&asked.key);
        now.is_none_or(|(number, _)| number != device)
    }

    // -- rows --

    fn judge_login(&mut self, asked: &Handled, told: &reply::Login, synced: &Ledger) {
        let session = session_of(&told.session);
        let handled = (asked.at_ms, asked.serial);
        self.sessions.opened(session, asked.key, handled);
        self.device_told(told.device, asked.key);
        if let Some(stream) = told.stream {
            let row = synced.streams.get(&stream);
            assert!(
                row.is_some_and(|(device, _)| *device == told.device)
                    || self.is_newer(asked, told.device),
                "P1: stream {stream} is not on disk: {row:?}"
            );
            self.stream_told(stream, asked.key);
        }
        self.judge_rows(asked, &told.logs, synced);
        for (log, _) in &asked.reads {
            let listed = told.logs.iter().any(|row| row.log == *log);
            assert!(listed, "P13: log {log} is missing in {told:?}");
        }
        if let Some(lease) = &told.lease {
            self.judge_session_port(session, lease, asked, synced);
        }
    }

    /// Rows name logs that the caller reads (P5), with depths that are right (P8).
    fn judge_rows(&mut self, asked: &Handled, rows: &[LogInfo], synced: &Ledger) {
        let who = self.decided.device_of(&asked.key);
        for row in rows {
            let read_then = asked.reads.iter().any(|(log, _)| *log == row.log);
            let reads = who.is_some_and(|(_, user)| self.decided.reads(user, row.log));
            assert!(read_then || reads, "P5: {row:?} was listed to {asked:?}");
            self.name_told(row.log, &row.address);
            let waiting = synced.count(row.log, row.cursor, row.head);
            assert_eq!(row.waiting, waiting, "P8: {row:?}");
            let n = synced.count(row.log, 0, row.cursor);
            assert_eq!(row.n, n, "P8: {row:?}");
            let is_there = row.head == 0 || synced.mail(row.log, row.head).is_some();
            assert!(is_there, "P1: {row:?} has a head that is not on disk");
        }
    }

    // -- mail --

    /// A mail goes to a reader: on disk (P1), truly signed (P4), only to who may read it (P5).
    fn read_by(
        &mut self,
        key: &PublicKey,
        envelope: &Envelope,
        body: Option<&[u8]>,
        synced: &Ledger,
    ) -> Arc<Fact> {
        let known = self.facts.get(&envelope.id).cloned();
        let name = match body {
            Some(body) => Said::read(body).name(),
            None => known.as_ref().map_or((0, 0), |fact| fact.said.name()),
        };
        let fact = self.shown(envelope.id, name, synced);
        assert_eq!(envelope.from, fact.said.from, "P4: {envelope:?}");
        assert!(fact.said.to.contains(&envelope.address), "P5: {envelope:?}");
        assert_eq!(envelope.size, fact.size, "P3: {envelope:?}");
        let (answered, begun) = fact.said.answers().map_or((None, None), |answers| {
            (Some(answers.in_reply_to), Some(answers.thread))
        });
        let thread = (envelope.message, envelope.in_reply_to, envelope.thread);
        assert_eq!(thread, (fact.message, answered, begun), "{envelope:?}");
        let users = self.users_of(key);
        let may = self.may_see(users, fact.log);
        assert!(may, "P5: {users:?} was shown {envelope:?}");
        fact
    }

    fn judge_page(&mut self, asked: &Handled, page: &Page, bodies: &[Vec<u8>], synced: &Ledger) {
        let users = self.users_of(&asked.key);
        let may = self.may_see(users, page.log);
        assert!(may, "P5: a page of log {} to {users:?}", page.log);
        let mut bodies = bodies.iter();
        let mut last = page.after;
        for envelope in &page.mails {
            let body = (envelope.frames == 1).then(|| bodies.next().expect("its body is there"));
            let fact = self.read_by(&asked.key, envelope, body.map(Vec::as_slice), synced);
            assert_eq!(fact.log, page.log, "P5: {envelope:?} in {page:?}");
            assert!(
                envelope.id > last && envelope.id <= page.through,
                "P3: {page:?}"
            );
            last = envelope.id;
        }
    }

    /// What is missing in a page is gone by right, and is counted (P7).
    fn judge_count(&mut self, page: &Page, counts: bool, synced: &Ledger) {
        let put = synced.count(page.log, page.after, page.through);
        let told = page.trimmed.map_or(0, |trimmed| trimmed.count);
        if counts {
            let listed = page.mails.len() as u64;
            assert_eq!(put, listed + told, "P7: {put} were put between: {page:?}");
        }
        let Some(mails) = synced.logs.get(&page.log) else {
            return;
        };
        if page.after >= page.through {
            return;
        }
        for (id, mail) in mails.range(page.after + 1..=page.through) {
            let listed = page.mails.iter().any(|envelope| envelope.id == *id);
            let now = self.decided.mail(page.log, *id);
            let is_gone = mail.is_expired
                || mail.is_removed
                || now.is_some_and(|now| now.is_expired || now.is_removed);
            let ends = self.facts.get(id).and_then(|fact| fact.expires_at_ms);
            let is_over = ends.is_some_and(|at_ms| at_ms <= self.wall_max_ms);
            assert!(
                listed || is_gone || is_over || !self.decided.addresses.contains_key(&page.log),
                "P2: {id} is missing in {page:?}"
            );
        }
    }

    fn judge_body(
        &mut self,
        asked: &Handled,
        (log, id, offset): (LogNumber, MailId, u64),
        bytes: &[u8],
        synced: &Ledger,
    ) {
        let users = self.users_of(&asked.key);
        let may = self.may_see(users, log);
        assert!(may, "P5: a body of log {log} to {users:?}");
        let fact = self.facts.get(&id).expect("a body is some mail's");
        let name = fact.said.name();
        let whole = fact.said.body();
        let from = usize::try_from(offset).expect("small").min(whole.len());
        assert!(
            whole[from..].starts_with(bytes),
            "P3: the body of {id} is another"
        );
        self.shown(id, name, synced);
    }

    /// A notice goes to a connection: only what its user reads, or read when the mail was taken.
    pub(super) fn judge_notice(
        &mut self,
        key: &PublicKey,
        notice: &Notice,
        body: Option<&[u8]>,
        synced: &Ledger,
    ) {
        match notice {
            Notice::Mail { log, envelope } => {
                let fact = self.read_by(key, envelope, body, synced);
                let users = self.users_of(key);
                let reads = users.iter().any(|user| {
                    fact.readers.contains(user)
                        || self.decided.reads(*user, *log)
                        || synced.reads(*user, *log)
                });
                assert!(reads, "P5: {users:?} left {log} and hears of {envelope:?}");
            }
            Notice::Chat { invitation } => {
                chat::concerns(self.name_of(key), invitation);
            }
            _ => {}
        }
    }

    /// A subscription is granted: to who reads the log, under its present key (P5).
    pub(super) fn judge_grant(&self, key: &PublicKey, granted: NoticeKey) {
        let user = self.decided.device_of(key);
        let reads = user.is_some_and(|(_, user)| {
            self.decided.reads(user, granted.log) && !self.decided.is_disabled(user)
        });
        let address = self.decided.addresses.get(&granted.log);
        let is_present = address.is_some_and(|a| a.generation == granted.generation);
        assert!(
            reads && is_present,
            "P5: {granted:?} was granted to {user:?}"
        );
    }

    // -- deeds --

    fn judge_claim(&self, asked: &Handled, pattern: &str, is_in: bool, synced: &Ledger) {
        let Some((_, user)) = self.decided.device_of(&asked.key) else {
            return;
        };
        let claim = Claim::Subscription(user, pattern.to_owned());
        if self.is_last_word(&claim, asked) {
            let there = synced.subscriptions.contains(&(user, pattern.to_owned()));
            assert_eq!(there, is_in, "P1: {pattern} of {user}: {asked:?}");
        }
    }

    fn judge_block(&mut self, asked: &Handled, other: &str, is_in: bool, synced: &Ledger) {
        let Some((_, user)) = self.decided.device_of(&asked.key) else {
            return;
        };
        let blocked = self.decided.number_of(other).unwrap_or(0);
        if self.is_last_word(&Claim::Block(user, blocked), asked) {
            let there = synced.blocks.contains(&(user, blocked));
            assert_eq!(there, is_in, "P1: {user} blocks {other}: {asked:?}");
            self.faults.blocks += u64::from(is_in);
        }
    }

    fn judge_hide(&mut self, asked: &Handled, hidden: bool, synced: &Ledger) {
        let Some((_, user)) = self.decided.device_of(&asked.key) else {
            return;
        };
        if self.is_last_word(&Claim::Hidden(user), asked) {
            let there = synced.hidden.contains(&user);
            assert_eq!(there, hidden, "P1: {user} is hidden: {asked:?}");
            self.faults.hidden += u64::from(hidden);
        }
    }

    /// Nothing is told of who was hidden then (P5).
    fn judge_who(&self, asked: &Handled, told: &reply::Presences) {
        for row in &told.users {
            let user = self.decided.number_of(&row.user);
            let is_hidden = user.is_some_and(|user| asked.hidden.contains(&user));
            let is_away = !row.online && row.last_seen.is_none() && row.since.is_none();
            assert!(is_away || !is_hidden, "P5: {row:?} is told and hidden");
        }
    }

    /// Devices are listed to their own user (P5), each under its number for good.
    fn judge_devices(&mut self, asked: &Handled, told: &reply::Devices) {
        for row in &told.devices {
            let user = self.decided.devices.get(&row.device).map(|(user, _)| *user);
            let users = self.users_of(&asked.key);
            let is_own = user.is_none_or(|user| users.contains(&user));
            assert!(is_own, "P5: {row:?} was listed to {users:?}");
            let is_this = asked.device == Some(row.device);
            assert_eq!(row.this, is_this, "{row:?} to {asked:?}");
        }
    }

    /// Nobody said otherwise since, and no administrator removed what it is about.
    fn is_last_word(&self, claim: &Claim, asked: &Handled) -> bool {
        self.claims.get(claim) == Some(&asked.serial) && asked.serial > self.last_deed
    }

    fn judge_ack(&mut self, asked: &Handled, logs: &[(LogNumber, MailId)], synced: &Ledger) {
        let Some((device, _)) = self.decided.device_of(&asked.key) else {
            return;
        };
        for (log, id) in logs {
            let Some(cursor) = synced.cursors.get(&(device, *log)).copied() else {
                continue;
            };
            let topic = self.decided.addresses.get(log);
            let place = (
                device,
                topic.map_or("", |topic| topic.name.as_str()).to_owned(),
            );
            let rewound = self.rewinds.contains_key(&place);
            let through = synced
                .logs
                .get(log)
                .and_then(|mails| mails.range(..=*id).next_back());
            let through = through.map_or(0, |(id, _)| *id);
            assert!(
                cursor >= through || rewound,
                "P1: {device} acknowledged {log} up to {through}, on disk is {cursor}"
            );
        }
    }

    fn judge_logout(&mut self, asked: &Handled, forget: bool, synced: &Ledger) {
        self.faults.logouts += 1;
        // The key may have been registered anew since.
        let found = synced.device_of(&asked.key);
        let Some((device, _)) = found.filter(|(device, _)| asked.device == Some(*device)) else {
            return;
        };
        assert!(!forget, "P1: device {device} is forgotten and on disk");
        for lease in synced.leases.values().filter(|lease| is_out(lease)) {
            let kept = lease.device == device && lease.epoch <= asked.last_epoch;
            // A login that was handled after it may have resumed nothing older.
            assert!(!kept, "P6: {lease:?} is held after a logout");
        }
    }

    fn judge_port(&mut self, asked: &Handled, told: Option<&reply::LeaseInfo>, synced: &Ledger) {
        if let (Some(lease), Some(session)) = (told, session_in(&asked.request)) {
            self.judge_session_port(session, lease, asked, synced);
        }
    }

    fn judge_session_port(
        &mut self,
        session: [u8; 16],
        told: &reply::LeaseInfo,
        asked: &Handled,
        synced: &Ledger,
    ) {
        self.sessions.told(told.port, told.epoch, session);
        let lease = synced.leases.get(&told.port);
        let is_so = lease.is_some_and(|lease| {
            lease.epoch > told.epoch || (lease.epoch == told.epoch && lease.session == session)
        });
        assert!(
            is_so,
            "P1: {told:?} is not on disk but {lease:?}: {asked:?}"
        );
    }
}

impl Handled {
    /// Says why the core decides what it decides now.
    pub(super) fn cause(&self) -> Cause {
        Cause::Request(Arc::clone(&self.request), self.key)
    }
}

fn session_in(request: &Request) -> Option<[u8; 16]> {
    let session = request.session();
    (!session.is_empty()).then(|| session_of(session))
}

fn refusal(header: &[u8]) -> Option<WireError> {
    match reply::decode::<serde::de::IgnoredAny>(header) {
        Ok(_) => None,
        Err(DecodeError::Refused(error)) => Some(error),
        Err(error) => panic!("the server's reply does not read: {error}"),
    }
}

fn read<T: for<'a> serde::Deserialize<'a>>(header: &[u8]) -> T {
    reply::decode(header)
        .unwrap_or_else(|error| panic!("the server's reply does not read: {error}"))
}

/// A heartbeat tells of every log with something new: the last lost notice costs no more (P10).
fn judge_beat(asked: &Handled, known: MailId, told: &reply::Heartbeat) {
    for (log, head) in &asked.reads {
        let must = *head > known && *head <= told.through;
        let listed = told.behind.iter().any(|row| row.log == *log);
        assert!(
            listed || !must,
            "P10: {log} has {head} above {known} and is missing in {told:?}"
        );
    }
    let all = told.more || asked.reads.iter().all(|(_, head)| *head <= told.through);
    assert!(all, "P10: {told:?} stops short of {:?}", asked.reads);
}

/// An administrator's figures are those of the model (P8).
/// Who was disabled when he asked is served nothing (P5).
fn judge_let_in(asked: &Handled) {
    let is_no_matter = matches!(
        &*asked.request,
        Request::Register(_) | Request::Logout(_) | Request::Hello(_)
    );
    assert!(
        is_no_matter || !asked.is_disabled,
        "P5: a disabled user was served: {asked:?}"
    );
}

/// What was answered as done stands in the audit, on disk; but for what was so before.
fn judge_audit(admin: &Admin, told: &reply::Rows, synced: &Ledger) {
    let was_so = matches!(admin.what, AdminWhat::TopicCreate | AdminWhat::UserDisable)
        || (admin.what == AdminWhat::QueuePurge && told.rows[0]["mails"] == 0);
    let address = told.rows[0]["address"].as_str().unwrap_or_default();
    let is_there = |row: &(String, String)| row.0 == admin.what.word() && row.1 == address;
    assert!(
        was_so || synced.audit.values().any(is_there),
        "P1: {admin:?} was done and is not in the audit"
    );
}

fn judge_listing(asked: &Handled, told: &reply::Rows) {
    let figure = |name: &str| told.rows.first().and_then(|row| row.get(name)?.as_u64());
    if let Some(kept) = figure("mails_kept") {
        assert_eq!(kept, asked.mails_kept, "P8: {told:?}");
    }
}
