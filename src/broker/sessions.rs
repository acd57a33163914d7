//! Sessions: one logged-in process of a device each, kept in memory while it is heard of.

use std::collections::{BTreeSet, HashMap};

use super::leases::SessionKey;
use crate::limits;
use crate::protocol::LogNumber;

/// A body on its way in, part by part, before its send.
#[derive(Debug)]
pub(super) struct Staging {
    pub(super) stream: u64,
    pub(super) number: u64,
    pub(super) parts: u32,
    pub(super) body: Vec<u8>,
    pub(super) touched_ms: u64,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: SessionKey,
    pub(super) device: u64,
    pub(super) user: LogNumber,
    /// Its process was told all its logs since the server started: from there on a heartbeat tells what changes.
    pub(super) is_listed: bool,
    /// Its process stands and beats, so that a heartbeat is where it hears of what it missed.
    pub(super) beats: bool,
    /// When it was last heard of, on the monotonic clock.
    pub(super) seen_ms: u64,
    /// The same and its beginning, on the wall clock, for administrators.
    pub(super) seen_wall_ms: i64,
    pub(super) since_wall_ms: i64,
    pub(super) staging: Option<Staging>,
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_key: HashMap<SessionKey, Session>,
    of_device: HashMap<u64, BTreeSet<SessionKey>>,
    staged_bytes: u64,
}

impl Sessions {
    pub(super) fn get(&self, key: &SessionKey) -> Option<&Session> {
        self.by_key.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &SessionKey) -> Option<&mut Session> {
        self.by_key.get_mut(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_key.values()
    }

    pub(super) fn of_device(&self, device: u64) -> Vec<SessionKey> {
        self.of_device
            .get(&device)
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }

    pub(super) fn has_device(&self, device: u64) -> bool {
        self.of_device
            .get(&device)
            .is_some_and(|sessions| !sessions.is_empty())
    }

    pub(super) fn insert(&mut self, session: Session) {
        self.of_device
            .entry(session.device)
            .or_default()
            .insert(session.key);
        self.by_key.insert(session.key, session);
    }

    pub(super) fn remove(&mut self, key: &SessionKey) -> Option<Session> {
        self.drop_staging(key);
        let session = self.by_key.remove(key)?;
        if let Some(keys) = self.of_device.get_mut(&session.device) {
            keys.remove(key);
            if keys.is_empty() {
                self.of_device.remove(&session.device);
            }
        }
        Some(session)
    }

    /// Returns the session of a device that was silent for longest, when the device has no room for
    /// another.
    pub(super) fn to_evict(&self, device: u64) -> Option<SessionKey> {
        let keys = self.of_device.get(&device)?;
        if keys.len() < limits::SESSIONS_PER_DEVICE_MAX {
            return None;
        }
        keys.iter()
            .min_by_key(|key| self.by_key.get(*key).map_or(0, |s| s.seen_ms))
            .copied()
    }

    /// Returns sessions not heard of since `seen_ms`.
    pub(super) fn silent_since(&self, seen_ms: u64) -> Vec<SessionKey> {
        self.by_key
            .values()
            .filter(|s| s.seen_ms < seen_ms)
            .map(|s| s.key)
            .collect()
    }

    // -- uploads --

    /// Adds a part to a session's upload. Returns the bytes received so far; nothing when the part is
    /// not the next one; an error when memory for uploads is used up.
    pub(super) fn stage(
        &mut self,
        key: &SessionKey,
        (stream, number, index): (u64, u64, u32),
        part: &[u8],
        mono_ms: u64,
    ) -> Result<Option<u64>, StagingFull> {
        if index == 0 {
            self.drop_staging(key);
            if self.uploads_beside(key) >= limits::UPLOADS_PER_USER_MAX {
                return Err(StagingFull);
            }
        }
        if self.staged_bytes + part.len() as u64 > limits::STAGING_BYTES_MAX {
            return Err(StagingFull);
        }
        let Some(session) = self.by_key.get_mut(key) else {
            return Ok(None);
        };
        if index == 0 {
            session.staging = Some(Staging {
                stream,
                number,
                parts: 0,
                body: Vec::new(),
                touched_ms: mono_ms,
            });
        }
        let Some(staging) = session.staging.as_mut() else {
            return Ok(None);
        };
        if (staging.stream, staging.number, staging.parts) != (stream, number, index) {
            return Ok(None);
        }
        staging.body.extend_from_slice(part);
        staging.parts += 1;
        staging.touched_ms = mono_ms;
        self.staged_bytes += part.len() as u64;
        Ok(Some(staging.body.len() as u64))
    }

    /// Counts the uploads of the same user's other sessions.
    fn uploads_beside(&self, key: &SessionKey) -> usize {
        let user = self.by_key.get(key).map(|session| session.user);
        let uploads = self
            .by_key
            .values()
            .filter(|session| session.staging.is_some());
        uploads.filter(|session| Some(session.user) == user).count()
    }

    /// Returns a whole upload's body, which stays until it is dropped.
    pub(super) fn staged(
        &self,
        key: &SessionKey,
        (stream, number, parts): (u64, u64, u32),
    ) -> Option<&[u8]> {
        let staging = self.by_key.get(key)?.staging.as_ref()?;
        let is_whole = (staging.stream, staging.number, staging.parts) == (stream, number, parts);
        is_whole.then_some(staging.body.as_slice())
    }

    pub(super) fn drop_staging(&mut self, key: &SessionKey) {
        let staging = self
            .by_key
            .get_mut(key)
            .and_then(|session| session.staging.take());
        if let Some(staging) = staging {
            self.staged_bytes -= staging.body.len() as u64;
        }
    }

    /// Gives up uploads that got no part since `touched_ms`.
    pub(super) fn drop_idle_staging(&mut self, touched_ms: u64) {
        let is_idle = |s: &&Session| {
            s.staging
                .as_ref()
                .is_some_and(|st| st.touched_ms < touched_ms)
        };
        let idle: Vec<SessionKey> = self
            .by_key
            .values()
            .filter(is_idle)
            .map(|session| session.key)
            .collect();
        for key in idle {
            self.drop_staging(&key);
        }
    }
}

/// The memory for uploads is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StagingFull;
