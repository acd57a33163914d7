//! What a device makes of replies and notices. The other side of each was judged when the server let
//! it go.

use super::device::{Device, Kept, Mark};
use super::model::Said;
use crate::protocol::codes::{Code, WireError};
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::reply::{self, DecodeError, Envelope, LogInfo, Outcome, Page};
use crate::protocol::request::{From, Request};
use crate::protocol::{LogNumber, MailId};

impl Device {
    /// Takes a reply in. Returns a code that was asked for, to be handed over.
    pub(super) fn hear(&mut self, frames: &[Vec<u8>]) -> Option<String> {
        let number = frames[0]
            .as_slice()
            .try_into()
            .ok()
            .map(u64::from_be_bytes)?;
        let asked = self.open.remove(&number)?;
        if asked.pried {
            return None;
        }
        match self.heard(&asked.request, frames) {
            Ok(code) => code,
            Err(error) => {
                self.refused(&asked.request, &error);
                None
            }
        }
    }

    fn heard(
        &mut self,
        request: &Request,
        frames: &[Vec<u8>],
    ) -> Result<Option<String>, WireError> {
        match request {
            Request::Register(_) => {
                self.called = Some(read::<reply::Registered>(frames)?.device);
                self.registered = true;
                (self.needs_code, self.code) = (false, None);
            }
            Request::Invite(_) => return Ok(Some(read::<reply::Invited>(frames)?.code)),
            Request::Login(_) => self.logged_in(read(frames)?),
            Request::Join(join) => {
                let joined: reply::Logs = read(frames)?;
                self.topics.retain(|topic| topic != join.topic.as_str());
                for log in joined.logs {
                    if join.from != From::Now {
                        self.acked.insert(log.log, log.cursor);
                    }
                    self.learn(log);
                }
            }
            Request::Leave(leave) => {
                drop(read::<reply::Done>(frames)?);
                self.left(|address| leave.topic.matches(address));
                // Another pattern may still cover some of them: the next heartbeat lists all.
                self.known = 0;
            }
            Request::Heartbeat(beat) => self.beaten(beat.known, read(frames)?),
            Request::Fetch(_) => self.turn(&read(frames)?, &frames[2..]),
            Request::Body(body) => {
                let told: reply::Body = read(frames)?;
                self.body_came((body.log, body.id), &told, frames[2].len());
            }
            Request::Ack(ack) => {
                drop(read::<reply::Done>(frames)?);
                for (log, id) in &ack.logs {
                    let acked = self.acked.entry(*log).or_default();
                    *acked = (*acked).max(*id);
                }
            }
            Request::Part(part) => {
                read::<reply::Part>(frames)?;
                if self.upload == Some((part.number, part.index)) {
                    self.upload = Some((part.number, part.index + 1));
                }
            }
            Request::Send(send) => {
                self.settled(send.number, &read::<reply::Sent>(frames)?.outcomes);
            }
            Request::Logout(logout) => {
                drop(read::<reply::Done>(frames)?);
                if logout.forget {
                    self.is_forgotten();
                } else {
                    self.session_is_over();
                }
            }
            Request::Who(_) => drop(read::<reply::Presences>(frames)?),
            Request::Devices(_) => {
                let told: reply::Devices = read(frames)?;
                let others = told.devices.into_iter().filter(|row| !row.this);
                self.siblings = others.map(|row| row.device).collect();
            }
            Request::Rotate(_) => {
                drop(read::<reply::Done>(frames)?);
                self.is_rotated();
            }
            Request::AccountRm(_) => {
                drop(read::<reply::Done>(frames)?);
                self.is_forgotten();
            }
            Request::Close(_) => {
                drop(read::<reply::Done>(frames)?);
                self.session_is_over();
            }
            _ => self.heard_of_chat(request, frames)?,
        }
        Ok(None)
    }

    /// Takes in what is about ports and chats.
    fn heard_of_chat(&mut self, request: &Request, frames: &[Vec<u8>]) -> Result<(), WireError> {
        match request {
            Request::Lease(_) | Request::LeaseBusy(_) => {
                let lease: reply::Lease = read(frames)?;
                self.lease = Some((lease.lease, false));
            }
            Request::LeaseConfirm(_) => {
                let lease: reply::Lease = read(frames)?;
                self.lease = Some((lease.lease, true));
            }
            Request::LeaseRelease(_) => {
                drop(read::<reply::Done>(frames)?);
                self.lease = None;
            }
            Request::ChatAsk(_) => self.chatting.answered(Some(read(frames)?), None),
            Request::ChatAccept(_) => drop(read::<reply::Introduction>(frames)?),
            _ => drop(read::<reply::Done>(frames)?),
        }
        Ok(())
    }

    fn refused(&mut self, request: &Request, error: &WireError) {
        if let Request::ChatAsk(_) = request {
            self.chatting.answered(None, Some(error.code));
        }
        match (error.code, request) {
            (Code::NoSession | Code::ShutOut, _) => self.session_is_over(),
            (Code::LeaseLost, _) => self.lease = None,
            // Never guessed: it is told as in doubt. An honest client sees this only when its stream grew
            // stale.
            (Code::StreamUnknown | Code::Settled, Request::Send(send)) => {
                let was_open = self.outbox.remove(&send.number).is_some();
                self.in_doubt += u64::from(was_open);
            }
            (Code::PartsMissing, _) => self.upload = None,
            // The judge has seen whether this is so.
            (Code::NotRegistered, _) => self.is_forgotten(),
            (Code::NeedsCode, _) => self.needs_code = true,
            (Code::BadCode, _) => (self.needs_code, self.code) = (true, None),
            (Code::NoSuchAddress, Request::Fetch(fetch)) => drop(self.logs.remove(&fetch.log)),
            (Code::NoSuchAddress, Request::Body(body)) => {
                if let Some(kept) = self.kept.get_mut(&body.log) {
                    kept.bodies.remove(&body.id);
                }
            }
            (Code::BadRequest | Code::NumberReused | Code::Internal | Code::Unsupported, _) => {
                panic!("{} was refused: {error}", request.verb())
            }
            _ => {}
        }
    }

    fn logged_in(&mut self, login: reply::Login) {
        if self.called.is_some_and(|known| known != login.device) {
            self.came_back(login.device);
        }
        self.called = Some(login.device);
        self.last_session = Some(login.session.clone());
        self.session = Some(login.session);
        self.upload = None;
        if self.stream != login.stream {
            // What lies in the outbox under the old stream was perhaps carried out.
            assert!(
                self.outbox.is_empty() || self.is_back,
                "P3: the stream was lost with sends in it"
            );
            self.outbox.clear();
            self.stream = login.stream;
            self.number = 0;
        }
        self.is_back = false;
        self.lease = login.lease.map(|lease| (lease, false));
        self.known = login.through;
        self.logs.clear();
        for kept in self.kept.values_mut() {
            kept.is_left = true;
        }
        login.logs.into_iter().for_each(|log| self.learn(log));
    }

    /// Takes in what is new above `asked`: no word on what lies below it.
    fn beaten(&mut self, asked: MailId, beat: reply::Heartbeat) {
        self.must_ask = false;
        if asked <= self.known {
            self.known = self.known.max(beat.through);
        }
        beat.behind.into_iter().for_each(|log| self.learn(log));
        self.chatting.listed(beat.chats);
        if beat.lease.is_none() {
            self.lease = None;
        }
    }

    /// Gets to know a log. One that was left before goes on where the server says.
    fn learn(&mut self, log: LogInfo) {
        let fresh = Mark {
            id: log.cursor,
            n: log.n,
        };
        let kept = self.kept.entry(log.log).or_insert_with(|| Kept {
            mark: fresh,
            from_n: fresh.n,
            ..Kept::default()
        });
        if std::mem::take(&mut kept.is_left) && fresh.id > kept.mark.id {
            kept.skipped += fresh.n - kept.mark.n;
            kept.mark = fresh;
        }
        if let Some(key) = NoticeKey::from_hex(&log.key) {
            self.wanted_keys.insert(key);
        }
        let acked = self.acked.entry(log.log).or_insert(log.cursor);
        *acked = (*acked).max(log.cursor);
        // Replies overtake each other: an older one knows of less.
        let known = self.logs.get(&log.log).map_or(0, |known| known.head);
        let head = log.head.max(known);
        self.logs.insert(log.log, LogInfo { head, ..log });
    }

    /// The live connection ended: the next one begins without a subscription.
    pub(super) fn live_ended(&mut self) {
        let keys = self
            .logs
            .values()
            .filter_map(|log| NoticeKey::from_hex(&log.key));
        self.wanted_keys.extend(keys);
    }

    fn left(&mut self, is_left: impl Fn(&str) -> bool) {
        let left: Vec<LogNumber> = self
            .logs
            .values()
            .filter(|log| is_left(&log.address) && log.address != self.user)
            .map(|log| log.log)
            .collect();
        for log in left {
            self.logs.remove(&log);
            if let Some(kept) = self.kept.get_mut(&log) {
                kept.is_left = true;
            }
        }
    }

    fn settled(&mut self, number: u64, outcomes: &[Outcome]) {
        let again = |outcome: &Outcome| matches!(outcome, Outcome::Refused { error, .. } if error.retryable);
        if !outcomes.iter().all(again) {
            self.is_settled(number);
        }
    }

    // -- mail --

    /// Stores a page, where it goes on from what is stored.
    fn turn(&mut self, page: &Page, bodies: &[Vec<u8>]) {
        if self
            .kept
            .get(&page.log)
            .is_none_or(|kept| kept.mark.id != page.after)
        {
            return;
        }
        let mut bodies = bodies.iter();
        for mail in &page.mails {
            let body = (mail.frames == 1).then(|| bodies.next().expect("its body comes along"));
            self.store(page.log, mail, body.map(Vec::as_slice));
        }
        let Some(kept) = self.kept.get_mut(&page.log) else {
            return;
        };
        kept.told += page.trimmed.map_or(0, |trimmed| trimmed.count);
        assert!(page.through >= kept.mark.id, "P3: a page led back");
        kept.mark = Mark {
            id: page.through,
            n: page.n,
        };
        self.check(page.log);
    }

    /// All that was put in a log since this device began is here, or was told as gone (P7).
    fn check(&self, log: LogNumber) {
        let kept = &self.kept[&log];
        let all = kept.from_n + kept.held.len() as u64 + kept.told + kept.skipped;
        assert_eq!(
            all,
            kept.mark.n,
            "P7: {} of {log} has {} mails from {}, was told of {} gone, skipped {}; the count is {}",
            self.user,
            kept.held.len(),
            kept.from_n,
            kept.told,
            kept.skipped,
            kept.mark.n
        );
    }

    fn store(&mut self, log: LogNumber, mail: &Envelope, body: Option<&[u8]>) {
        let Some(kept) = self.kept.get_mut(&log) else {
            return;
        };
        if let Some(last) = kept.held.last() {
            assert!(*last < mail.id, "P3: {log} went from {last} to {}", mail.id);
        }
        kept.held.insert(mail.id);
        match body {
            Some(body) => {
                let said = Said::read(body);
                let fresh = kept.names.insert(said.name());
                assert!(fresh, "P3: {said:?} is twice in the mailbox");
            }
            None => drop(kept.bodies.insert(mail.id, 0)),
        }
    }

    fn body_came(&mut self, (log, id): (LogNumber, MailId), body: &reply::Body, bytes: usize) {
        let Some(kept) = self.kept.get_mut(&log) else {
            return;
        };
        let through = body.offset + bytes as u64;
        if kept.bodies.get(&id) == Some(&body.offset) {
            if through >= body.size {
                kept.bodies.remove(&id);
            } else {
                kept.bodies.insert(id, through);
            }
        }
    }

    /// Takes in a live notice: the gap rule.
    pub(super) fn notice(&mut self, notice: Notice, body: Option<&[u8]>) {
        match notice {
            Notice::Mail { log, envelope } => self.live(log, &envelope, body),
            Notice::Chat { invitation } => self.chatting.hear(invitation),
            Notice::Log { info } => {
                if let Some(key) = NoticeKey::from_hex(&info.key) {
                    self.wanted_keys.insert(key);
                }
            }
            _ => {}
        }
    }

    fn live(&mut self, log: LogNumber, envelope: &Envelope, body: Option<&[u8]>) {
        let (Some(info), Some(kept)) = (self.logs.get_mut(&log), self.kept.get(&log)) else {
            return;
        };
        if envelope.id <= kept.mark.id {
            return;
        }
        info.head = info.head.max(envelope.id);
        let follows = envelope.prev <= kept.mark.id && envelope.n == kept.mark.n + 1;
        if follows && body.is_some() {
            self.store(log, envelope, body);
            if let Some(kept) = self.kept.get_mut(&log) {
                (kept.mark.id, kept.mark.n) = (envelope.id, envelope.n);
            }
            self.check(log);
        }
    }
}

fn read<T: for<'a> serde::Deserialize<'a>>(frames: &[Vec<u8>]) -> Result<T, WireError> {
    match reply::decode(&frames[1]) {
        Ok(reply) => Ok(reply),
        Err(DecodeError::Refused(error)) => Err(error),
        Err(error) => panic!("the server's reply does not read: {error}"),
    }
}
