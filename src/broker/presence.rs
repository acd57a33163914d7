//! Who is here, as far as they show it: `who` and `hide`.
//!
//! Whoever is hidden looks to everybody like one who was away for long, and so does, to a user he blocks, whoever
//! blocks that one.

use std::collections::{BTreeSet, HashMap};

use super::core::{Core, Ruling, Who, done, told};
use crate::limits;
use crate::protocol::{LogNumber, reply, request, time};
use crate::store::{AddressKind, AddressRecord, AddressState, Change, HiddenRecord, SightRecord};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// Who is hidden, and when each device was heard of before its present sessions.
#[derive(Debug, Default)]
pub(super) struct Presence {
    hidden: BTreeSet<LogNumber>,
    sights: HashMap<u64, Sight>,
}

/// When a device was last heard of: exactly, and to the hour as it is on disk.
#[derive(Debug, Clone, Copy)]
struct Sight {
    at_ms: i64,
    written_ms: i64,
}

impl Presence {
    /// Takes what the store held.
    pub(super) fn restore(hidden: Vec<HiddenRecord>, sights: Vec<SightRecord>) -> Self {
        let sight = |record: SightRecord| Sight {
            at_ms: record.at_ms,
            written_ms: record.at_ms,
        };
        Self {
            hidden: hidden.into_iter().map(|record| record.user).collect(),
            sights: sights
                .into_iter()
                .map(|record| (record.device, sight(record)))
                .collect(),
        }
    }

    /// Notes that a device is heard of now, on disk once an hour.
    pub(super) fn seen(&mut self, device: u64, at_ms: i64, changes: &mut Vec<Change>) {
        let known = self.sights.get(&device).map(|sight| sight.written_ms);
        let is_fresh = known.is_some_and(|written| written.abs_diff(at_ms) < HOUR_MS);
        if !is_fresh {
            changes.push(Change::PutSight(SightRecord { device, at_ms }));
        }
        let written_ms = known.filter(|_| is_fresh).unwrap_or(at_ms);
        self.sights.insert(device, Sight { at_ms, written_ms });
    }

    /// Notes when a device was heard of last, in memory.
    pub(super) fn noted(&mut self, device: u64, at_ms: i64) {
        if let Some(sight) = self.sights.get_mut(&device) {
            sight.at_ms = at_ms;
        }
    }

    /// Returns when a device was last heard of before its present sessions.
    pub(super) fn sight(&self, device: u64) -> Option<i64> {
        self.sights.get(&device).map(|sight| sight.at_ms)
    }

    pub(super) fn drop_device(&mut self, device: u64, changes: &mut Vec<Change>) {
        if self.sights.remove(&device).is_some() {
            changes.push(Change::RemoveSight(device));
        }
    }

    fn hide(&mut self, user: LogNumber, changes: &mut Vec<Change>) {
        if self.hidden.insert(user) {
            changes.push(Change::PutHidden(HiddenRecord { user }));
        }
    }

    /// Makes a user be seen again.
    pub(super) fn show(&mut self, user: LogNumber, changes: &mut Vec<Change>) {
        if self.hidden.remove(&user) {
            changes.push(Change::RemoveHidden(HiddenRecord { user }));
        }
    }
}

impl Core {
    /// Tells about one user, or about a page of all.
    pub(super) fn who_is_here(&self, who: Who, asked: &request::Who) -> Ruling {
        let (users, more_after) = match &asked.user {
            Some(name) => {
                let user = self.live_user(name)?;
                (vec![self.presence_of(who.user, user)], None)
            }
            None => self.page_of_presences(who.user, asked.after.as_deref()),
        };
        Ok(told(&reply::Presences {
            users,
            more_after,
            hidden: self.presence.hidden.contains(&who.user),
        }))
    }

    fn page_of_presences(
        &self,
        asker: LogNumber,
        after: Option<&str>,
    ) -> (Vec<reply::Presence>, Option<String>) {
        let mut users = Vec::new();
        let mut last = None;
        for (examined, address) in self.directory.addresses_after(after).enumerate() {
            if users.len() == limits::ROWS_MAX || examined == limits::WHO_EXAMINED_MAX {
                return (users, last);
            }
            if is_live_user(address) {
                users.push(self.presence_of(asker, address.number));
            }
            last = Some(address.name.clone());
        }
        (users, None)
    }

    /// Says what `asker` may know of a user.
    fn presence_of(&self, asker: LogNumber, user: LogNumber) -> reply::Presence {
        let is_hidden = self.presence.hidden.contains(&user) || self.blocks.has(user, asker);
        let (since, last_seen) = if is_hidden {
            (None, None)
        } else {
            (self.online_since(user), self.last_seen(user))
        };
        reply::Presence {
            user: self.directory.name_of(user).to_owned(),
            online: since.is_some(),
            last_seen: last_seen.map(time::to_text),
            since: since.map(time::to_text),
        }
    }

    fn online_since(&self, user: LogNumber) -> Option<i64> {
        let devices = self.directory.devices_of(user);
        devices.filter_map(|device| self.online_with(device)).min()
    }

    fn last_seen(&self, user: LogNumber) -> Option<i64> {
        let devices = self.directory.devices_of(user);
        let last = devices
            .filter_map(|device| self.device_seen(device))
            .max()?;
        let is_recent = self.now.wall_ms.saturating_sub(last) < limits::SEEN_DAYS_MAX * DAY_MS;
        is_recent.then_some(last)
    }

    /// Returns since when a device has a session.
    pub(super) fn online_with(&self, device: u64) -> Option<i64> {
        let sessions = self.sessions.of_device(device);
        let since = |key| self.sessions.get(&key).map(|session| session.since_wall_ms);
        sessions.into_iter().filter_map(since).min()
    }

    /// Returns when a device was last heard of.
    pub(super) fn device_seen(&self, device: u64) -> Option<i64> {
        let sessions = self.sessions.of_device(device);
        let seen = |key| self.sessions.get(&key).map(|session| session.seen_wall_ms);
        let now = sessions.into_iter().filter_map(seen).max();
        now.or_else(|| self.presence.sight(device))
    }

    /// Hides the caller's user from everybody, or shows him again. Said again, it is so.
    pub(super) fn hide(&mut self, who: Who, hide: &request::Hide) -> Option<Vec<u8>> {
        if hide.hidden {
            self.presence.hide(who.user, &mut self.changes);
        } else {
            self.presence.show(who.user, &mut self.changes);
        }
        done()
    }
}

fn is_live_user(address: &AddressRecord) -> bool {
    address.kind == AddressKind::User && address.state == AddressState::Live
}
