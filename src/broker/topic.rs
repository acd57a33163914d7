//! Topics: join, leave, list, tell.

use super::core::{Call, Core, Ruling, Who, done, told};
use super::read::{Asked, Pending};
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::{Address, Pattern};
use crate::protocol::request::{From, Right};
use crate::protocol::{LogNumber, MailId, reply, request, time};
use crate::store::{AddressKind, AddressRecord, AddressState, Mark, Query};

impl Core {
    pub(super) fn join(&mut self, call: &Call, who: Who, join: &request::Join) -> Ruling {
        if join.from != From::Now && join.topic.prefix().is_some() {
            return Err(refusal!(
                Code::BadRequest,
                "a prefix is joined from now on; rewind its topics one by one"
            ));
        }
        let logs = self.join_now(who, &join.topic, join.from)?;
        let rewound = match (join.from, logs.first()) {
            (From::Now, _) | (_, None) => None,
            (From::Start, Some(log)) => Some((*log, 0)),
            (From::After(id), Some(log)) => Some((*log, id)),
        };
        match rewound {
            None => Ok(self.told_logs(who, &logs)),
            Some((log, id)) => {
                let query = Query::MarkAt {
                    log,
                    id: id.min(self.synced()),
                };
                self.load(
                    query,
                    Pending::Join(Asked::by(call), who, join.topic.clone(), log),
                );
                Ok(None)
            }
        }
    }

    /// Puts the device's cursor where the join wants it to start, backwards too.
    pub(super) fn joined_at(
        &mut self,
        call: &Call,
        who: Who,
        pattern: &Pattern,
        log: LogNumber,
        mark: Mark,
    ) {
        // The caller may have left again, or he or the topic be gone, while the mark was looked up.
        let mark = self.not_below_floor(log, mark);
        let is_here = self.directory.device(who.device).is_some();
        let is_joined =
            self.directory.has_pattern(who.user, pattern) && self.directory.reads(who.user, log);
        if is_here && is_joined {
            self.logs
                .put_cursor(who.device, log, mark, &mut self.changes);
        }
        if let Some(header) = self.told_logs(who, &[log]) {
            self.reply(call, header, Vec::new());
        }
    }

    fn told_logs(&self, who: Who, logs: &[LogNumber]) -> Option<Vec<u8>> {
        let shown = logs.iter().take(limits::ROWS_MAX);
        told(&reply::Logs {
            logs: shown
                .filter_map(|log| self.log_info(who.device, *log))
                .collect(),
            more_after: logs
                .get(limits::ROWS_MAX - 1)
                .copied()
                .filter(|_| logs.len() > limits::ROWS_MAX),
            through: self.mail_counters.mail,
        })
    }

    /// Subscribes a user and returns the logs the pattern names. New ones start at their head, for
    /// every device of the user.
    pub(super) fn join_now(
        &mut self,
        who: Who,
        pattern: &Pattern,
        from: From,
    ) -> Result<Vec<LogNumber>, WireError> {
        let is_new = !self.directory.has_pattern(who.user, pattern);
        if is_new && self.directory.pattern_count(who.user) >= limits::SUBSCRIPTIONS_MAX {
            return Err(refusal!(
                Code::LimitReached,
                "you have 1024 subscriptions, which is the limit; a prefix (lab/*) counts once"
            ));
        }
        if let Some(topic) = pattern.topic() {
            self.may(Right::Read, who.user, topic.as_str())?;
            self.topic_to_join(&topic)?;
        }
        if is_new {
            let since = if from == From::Now {
                self.mail_counters.mail
            } else {
                0
            };
            self.start_reading(who, pattern, since);
        }
        let mut logs = self.directory.matching(pattern);
        logs.sort_unstable();
        Ok(logs)
    }

    fn start_reading(&mut self, who: Who, pattern: &Pattern, since: MailId) {
        let user = who.user;
        let new = self
            .directory
            .subscribe(user, pattern, since, &mut self.changes);
        let devices: Vec<u64> = self.directory.devices_of(user).collect();
        for log in new {
            let head = self.logs.head(log);
            for device in &devices {
                self.logs.put_cursor(*device, log, head, &mut self.changes);
            }
            self.upkeep.shrank(log);
            if self.is_to_be_told(who) {
                let at = self.take_number();
                self.directory.note_reader(user, log, at);
            }
        }
    }

    /// Says whether a heartbeat has to tell of what a session joins: to the other sessions of its user, and to this one
    /// if it beats, since it may have stopped waiting for the answer.
    fn is_to_be_told(&self, who: Who) -> bool {
        let mut sessions = self.sessions.iter();
        sessions.any(|session| {
            session.user == who.user && (session.key != who.session || session.beats)
        })
    }

    /// Finds a topic to join, or makes it where users may.
    fn topic_to_join(&mut self, topic: &Address) -> Result<LogNumber, WireError> {
        if let Some(address) = self.directory.by_name(topic.as_str()) {
            return match (address.kind, address.state) {
                (AddressKind::Topic, _) => Ok(address.number),
                (AddressKind::User, AddressState::Live) => Err(refusal!(
                    Code::IsAUser,
                    "{} is a user: send to {}, there is nothing to join",
                    topic,
                    topic
                )),
                (AddressKind::User, AddressState::Reserved) => Err(refusal!(
                    Code::NameTaken,
                    "{} was a user; an administrator can free the name",
                    topic
                )),
            };
        }
        if !self.settings.topics_open {
            return Err(self.no_such_address(topic.as_str()));
        }
        Ok(self.create_topic(topic))
    }

    /// Makes a topic; whoever has a prefix it lies under reads it from its first mail on.
    pub(super) fn create_topic(&mut self, topic: &Address) -> LogNumber {
        let (name, wall_ms) = (topic.as_str(), self.now.wall_ms);
        let log =
            self.directory
                .create_address(name, AddressKind::Topic, wall_ms, &mut self.changes);
        let readers: Vec<LogNumber> = self.directory.readers(log).collect();
        for user in readers {
            let devices: Vec<u64> = self.directory.devices_of(user).collect();
            for device in devices {
                self.logs
                    .put_cursor(device, log, Mark::ZERO, &mut self.changes);
            }
        }
        self.tell_rekeyed(log);
        log
    }

    pub(super) fn leave(&mut self, who: Who, leave: &request::Leave) -> Option<Vec<u8>> {
        let left = self
            .directory
            .unsubscribe(who.user, &leave.topic, &mut self.changes);
        let devices: Vec<u64> = self.directory.devices_of(who.user).collect();
        for log in left {
            for device in &devices {
                self.logs.drop_cursor(*device, log, &mut self.changes);
            }
            self.take_back_grant(who.user, log);
            self.upkeep.shrank(log);
        }
        done()
    }

    /// Lists topics and the caller's prefixes together by name, so that a page holds as many rows
    /// whichever they are.
    pub(super) fn topics(&self, who: Who, asked: &request::Topics) -> Option<Vec<u8>> {
        let after = asked.after.as_deref();
        let topics = self.directory.addresses_after(after);
        let topics = topics
            .filter(|address| {
                address.kind == AddressKind::Topic
                    && self.directory.may(Right::Read, who.user, &address.name)
            })
            .map(|address| (address.name.as_str(), Some(address.number)));
        let prefixes = self
            .directory
            .patterns(who.user)
            .map(|(pattern, _)| (pattern, None));
        let prefixes =
            prefixes.filter(|(p, _)| p.ends_with('*') && after.is_none_or(|after| *p > after));
        let mut rows: Vec<(&str, Option<LogNumber>)> =
            topics.take(limits::ROWS_MAX + 1).chain(prefixes).collect();
        rows.sort_unstable();
        let is_more = rows.len() > limits::ROWS_MAX;
        rows.truncate(limits::ROWS_MAX);
        let more_after = rows
            .last()
            .filter(|_| is_more)
            .map(|(name, _)| (*name).to_owned());
        let mut page = reply::Topics {
            topics: Vec::new(),
            prefixes: Vec::new(),
            more_after,
        };
        for (name, topic) in rows {
            match topic {
                Some(log) => page.topics.push(reply::TopicRow {
                    topic: name.to_owned(),
                    subscribed: self.directory.reads(who.user, log),
                    waiting: self.waiting_at(who, log),
                }),
                None => page.prefixes.push(name.to_owned()),
            }
        }
        told(&page)
    }

    fn waiting_at(&self, who: Who, log: LogNumber) -> u64 {
        if self.directory.reads(who.user, log) {
            self.logs.waiting(who.device, log).count
        } else {
            0
        }
    }

    pub(super) fn topic(&self, who: Who, asked: &request::Topic) -> Ruling {
        let address = self.named(&asked.topic)?;
        if address.kind != AddressKind::Topic {
            return Err(refusal!(Code::IsAUser, "{} is a user", address.name));
        }
        self.may(Right::Read, who.user, &address.name)?;
        let record = self.logs.record(address.number);
        Ok(told(&reply::Topic {
            topic: address.name.clone(),
            subscribed: self.directory.reads(who.user, address.number),
            waiting: self.waiting_at(who, address.number),
            mails: record.head.count - record.floor.count,
            bytes: record.head.bytes - record.floor.bytes,
            head: record.head.id,
            subscribers: self.directory.reader_count(address.number) as u64,
            created_at: time::to_text(address.created_at_ms),
        }))
    }

    /// Finds a live address by a name as somebody typed it.
    pub(super) fn named(&self, text: &str) -> Result<&AddressRecord, WireError> {
        let name = Address::parse(text)
            .map_err(|error| refusal!(Code::BadName, "not a name: {}", error))?;
        self.directory
            .live(name.as_str())
            .ok_or_else(|| self.no_such_address(name.as_str()))
    }
}
