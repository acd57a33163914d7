//! Log in, be heard of, end: the verbs around a session, and the logs a caller reads.

use super::core::{Call, Core, Ruling, Who, done, no_session, not_registered, session_key, told};
use super::leases::SessionKey;
use crate::limits;
use crate::protocol::codes::{Code, refusal};
use crate::protocol::request::From;
use crate::protocol::{LogNumber, MailId, reply, request, time};
use crate::store::{AddressKind, StreamRecord};

impl Core {
    /// Opens a session, or goes on with one; joins topics, finds a stream and a port for it.
    pub(super) fn login(&mut self, call: &Call, login: &request::Login) -> Ruling {
        self.adopt_next_key(&call.peer.key, login.user.as_ref())?;
        let Some(device) = self.directory.device_of_key(&call.peer.key) else {
            return Err(not_registered());
        };
        let (device, user) = (device.number, device.user);
        self.let_in(user, device)?;
        let name = self.directory.name_of(user).to_owned();
        if login
            .user
            .as_ref()
            .is_some_and(|wanted| wanted.as_str() != name)
        {
            return Err(refusal!(Code::WrongUser, "this key belongs to {}", name));
        }
        if login.topics.len() > limits::LOGIN_TOPICS_MAX {
            return Err(refusal!(
                Code::TooLarge,
                "a login names at most 64 topics; join the others one by one"
            ));
        }
        self.budgets.take_login(user, self.now.mono_ms)?;
        let running_s = self.running_s();
        self.rules.forget_kicks(user, running_s, &mut self.changes);
        self.device_is_back(device);
        let (session, session_present) =
            self.open_session(call, device, user, login.resume.as_deref());
        let who = Who {
            session,
            device,
            user,
        };
        let mut refused = Vec::new();
        for topic in &login.topics {
            if let Err(error) = self.join_now(who, topic, From::Now) {
                refused.push(reply::Refused {
                    topic: topic.as_str().to_owned(),
                    error,
                });
            }
        }
        let stream = self.stream_for(device, login);
        let (lease, no_lease) = self.lease_for(who, login.want_port);
        // Refusals and logs share the reply's frame.
        let rows = if refused.is_empty() {
            limits::ROWS_MAX
        } else {
            limits::ROWS_MAX / 2
        };
        let (logs, more_after) = self.list_logs(who, 0, rows);
        Ok(told(&reply::Login {
            session: hex::encode(session),
            session_present,
            user: name,
            device,
            stream: stream.map(|stream| stream.number),
            stream_present: stream.is_some_and(|stream| Some(stream.number) == login.stream),
            settled_below: stream.map_or(1, |stream| stream.settled_below),
            logs,
            more_after,
            through: self.mail_counters.mail,
            lease,
            no_lease,
            refused,
            session_ttl_ms: self.settings.lease_ttl_ms,
            heartbeat_ms: self.heartbeat_ms(),
            durability: "fsync".into(),
        }))
    }

    /// A heartbeat in time for a short lease too.
    fn heartbeat_ms(&self) -> u64 {
        limits::HEARTBEAT_MS
            .min(self.settings.lease_ttl_ms / 3)
            .max(1)
    }

    fn open_session(
        &mut self,
        call: &Call,
        device: u64,
        user: LogNumber,
        resume: Option<&str>,
    ) -> (SessionKey, bool) {
        let now = self.now;
        if let Some(resume) = resume.map(session_key)
            && let Some(session) = self
                .sessions
                .get_mut(&resume)
                .filter(|s| s.device == device)
        {
            session.seen_ms = now.mono_ms;
            session.seen_wall_ms = now.wall_ms;
            session.is_listed = true;
            return (resume, true);
        }
        if let Some(oldest) = self.sessions.to_evict(device) {
            self.end_session(&oldest);
        }
        let mut key = SessionKey::default();
        key.copy_from_slice(&call.random[..16]);
        self.insert_session(key, (device, user), true);
        (key, false)
    }

    /// Goes on with the stream asked for, or opens one where one is wanted.
    fn stream_for(&mut self, device: u64, login: &request::Login) -> Option<StreamRecord> {
        if let Some(stream) = login
            .stream
            .and_then(|number| self.streams.get(number, device))
        {
            return Some(*stream);
        }
        if !login.want_stream {
            return None;
        }
        let record = StreamRecord {
            number: self.mail_counters.stream + 1,
            device,
            settled_below: 1,
            used_running_s: self.running_s(),
        };
        let opened = self.streams.open(record, &mut self.changes)?;
        self.mail_counters.stream = record.number;
        Some(opened)
    }

    /// Keeps a session, and says which of its logs have something new. Of joins and keys of before a restart nothing is
    /// remembered, so that who has a session from then logs in once more, and is told of all.
    pub(super) fn heartbeat(&mut self, who: Who, beat: &request::Heartbeat) -> Ruling {
        let session = self.sessions.get_mut(&who.session);
        let is_listed = session.is_some_and(|session| {
            session.beats = true;
            session.is_listed
        });
        if !is_listed {
            return Err(no_session());
        }
        self.device_is_back(who.device);
        let lease = self
            .leases
            .of_session(&who.session)
            .map(|lease| self.lease_info(lease));
        let chats = self.chat_rows(who);
        // All rows share the reply's frame.
        let room = limits::ROWS_MAX - chats.len();
        let (rows, through) = self.behind(who.user, beat.known, room);
        let behind = rows
            .iter()
            .filter_map(|log| self.log_info(who.device, *log))
            .collect();
        Ok(told(&reply::Heartbeat {
            behind,
            more: through < self.mail_counters.mail,
            through,
            lease,
            chats,
            now: time::to_text(self.now.wall_ms),
        }))
    }

    pub(super) fn more_logs(&self, who: Who, after: LogNumber) -> Option<Vec<u8>> {
        let (logs, more_after) = self.list_logs(who, after, limits::ROWS_MAX);
        told(&reply::Logs {
            logs,
            more_after,
            through: self.mail_counters.mail,
        })
    }

    /// Returns the logs of a user whose row changed above `known`, by mail, a join or another key, oldest change first, as
    /// many as there is room for, and up to which number that is all: so a reader of many logs gets on with every page, and
    /// who did not hear a reply is told again. No two logs change at one number.
    fn behind(&self, user: LogNumber, known: MailId, room: usize) -> (Vec<LogNumber>, MailId) {
        let logs = self.directory.logs_of(user);
        let changed = |log| {
            self.logs
                .head(log)
                .id
                .max(self.directory.row_changed(user, log))
        };
        let mut rows: Vec<(MailId, LogNumber)> = logs
            .map(|log| (changed(log), log))
            .filter(|(changed, _)| *changed > known)
            .collect();
        rows.sort_unstable();
        let fits = rows.len() <= room;
        rows.truncate(room);
        let last = rows.last().map_or(known, |(changed, _)| *changed);
        let through = if fits { self.mail_counters.mail } else { last };
        (rows.into_iter().map(|(_, log)| log).collect(), through)
    }

    /// Lists a caller's logs above a number, as many as a page holds. A user's own log stands among
    /// them by its number.
    fn list_logs(
        &self,
        who: Who,
        after: LogNumber,
        rows_max: usize,
    ) -> (Vec<reply::LogInfo>, Option<LogNumber>) {
        let mut numbers: Vec<LogNumber> = self
            .directory
            .logs_of(who.user)
            .filter(|log| *log > after)
            .collect();
        numbers.sort_unstable();
        let more = numbers.len() > rows_max;
        numbers.truncate(rows_max);
        let more_after = numbers.last().copied().filter(|_| more);
        (
            numbers
                .iter()
                .filter_map(|log| self.log_info(who.device, *log))
                .collect(),
            more_after,
        )
    }

    /// Describes a log to one device.
    pub(super) fn log_info(&self, device: u64, log: LogNumber) -> Option<reply::LogInfo> {
        let address = self.directory.address(log)?;
        let key = self.directory.notice_key(log)?;
        let head = self.logs.head(log);
        let cursor = self.logs.cursor(device, log).unwrap_or(head);
        Some(reply::LogInfo {
            log,
            address: address.name.clone(),
            kind: kind_word(address.kind).into(),
            key: key.to_hex(),
            head: head.id,
            cursor: cursor.id,
            n: cursor.count,
            waiting: self.logs.waiting(device, log).count,
        })
    }

    pub(super) fn close(&mut self, who: Who) -> Option<Vec<u8>> {
        self.end_session(&who.session);
        done()
    }

    /// Ends a session; its port goes to rest, and its invitations are withdrawn.
    pub(super) fn end_session(&mut self, session: &SessionKey) {
        let Some((user, device, seen_ms)) = self
            .sessions
            .get(session)
            .map(|session| (session.user, session.device, session.seen_wall_ms))
        else {
            return;
        };
        self.presence.noted(device, seen_ms);
        if let Some(held) = self.leases.of_session(session).map(|l| (l.port, l.epoch)) {
            self.give_back(user, session, held);
        }
        self.sessions.remove(session);
        self.forget_made_by(user, session);
    }

    /// A device that was away for long holds its mail again; its last sight is kept to the hour.
    fn device_is_back(&mut self, device: u64) {
        self.logs.set_fresh(device);
        self.presence
            .seen(device, self.now.wall_ms, &mut self.changes);
        let running_s = self.running_s();
        let seen = self
            .directory
            .device(device)
            .map_or(running_s, |d| d.seen_running_s);
        if running_s.saturating_sub(seen) >= 3_600 {
            self.directory
                .device_seen(device, running_s, &mut self.changes);
        }
    }
}

/// Returns the word for an address's kind on the wire.
pub(super) fn kind_word(kind: AddressKind) -> &'static str {
    match kind {
        AddressKind::User => "user",
        AddressKind::Topic => "topic",
    }
}
