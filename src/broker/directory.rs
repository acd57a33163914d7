//! Who and what there is: addresses, devices, subscriptions, and who reads what.
//!
//! Plain data with indexes. It changes only by the methods here, which return the [`Change`]s that
//! make the same so on disk; it never decides whether something is allowed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::auth::rights::Rights;
use crate::limits;
use crate::protocol::names::Pattern;
use crate::protocol::notice::NoticeKey;
use crate::protocol::request::Right;
use crate::protocol::{LogNumber, MailId, PublicKey};
use crate::store::{
    AddressKind, AddressRecord, AddressState, Change, CodeRecord, DeviceRecord, DirectoryCounters,
    FullPolicy, GrantRecord, NextKeyRecord, SubscriptionRecord,
};

/// Users, each with a topic that he reads.
pub(super) type Readings = Vec<(LogNumber, LogNumber)>;

/// The directory in memory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    counters: DirectoryCounters,
    addresses: HashMap<LogNumber, AddressRecord>,
    names: BTreeMap<String, LogNumber>,
    devices: HashMap<u64, DeviceRecord>,
    device_of_key: HashMap<PublicKey, u64>,
    /// Keys that devices go on with, once they have proven them.
    next_keys: HashMap<PublicKey, u64>,
    devices_of_user: HashMap<LogNumber, BTreeSet<u64>>,
    /// Patterns of each user, as joined.
    patterns: HashMap<LogNumber, BTreeMap<String, MailId>>,
    /// Users of each prefix (`lab/`).
    prefixes: BTreeMap<String, BTreeSet<LogNumber>>,
    /// Topics each user reads, by name or by prefix, with the number at which he began to.
    reads: HashMap<LogNumber, BTreeMap<LogNumber, MailId>>,
    /// Users who read each topic.
    readers: HashMap<LogNumber, BTreeSet<LogNumber>>,
    /// The number at which an address was made or its notice key changed.
    keyed: HashMap<LogNumber, MailId>,
    codes: HashMap<[u8; 32], CodeRecord>,
    /// Who may read and send to which topics: nobody reads what he may not, whatever he joined.
    rights: Rights,
}

impl Directory {
    /// Builds the indexes over what the store held.
    pub(super) fn restore(
        counters: DirectoryCounters,
        addresses: Vec<AddressRecord>,
        devices: Vec<DeviceRecord>,
        subscriptions: Vec<SubscriptionRecord>,
        codes: Vec<CodeRecord>,
        next_keys: Vec<NextKeyRecord>,
        grants: Vec<GrantRecord>,
    ) -> Self {
        let mut directory = Self {
            counters,
            rights: Rights::restore(grants),
            ..Self::default()
        };
        for address in addresses {
            directory.insert_address(address);
        }
        for device in devices {
            directory.insert_device(device);
        }
        for subscription in subscriptions {
            if let Ok(pattern) = Pattern::parse(&subscription.pattern) {
                directory.insert_subscription(&subscription, &pattern);
            }
        }
        let next_keys = next_keys.into_iter();
        directory.next_keys = next_keys.map(|next| (next.key, next.device)).collect();
        directory.codes = codes.into_iter().map(|code| (code.digest, code)).collect();
        directory
    }

    // -- addresses --

    pub(super) fn address(&self, number: LogNumber) -> Option<&AddressRecord> {
        self.addresses.get(&number)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&AddressRecord> {
        self.names
            .get(name)
            .and_then(|number| self.addresses.get(number))
    }

    /// Returns a live address by its name.
    pub(super) fn live(&self, name: &str) -> Option<&AddressRecord> {
        self.by_name(name)
            .filter(|address| address.state == AddressState::Live)
    }

    pub(super) fn name_of(&self, number: LogNumber) -> &str {
        self.addresses
            .get(&number)
            .map_or("", |address| address.name.as_str())
    }

    /// Returns addresses by name, from the first name above `after`.
    pub(super) fn addresses_after<'a>(
        &'a self,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a AddressRecord> + use<'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |name| Excluded(name.to_owned()));
        self.names
            .range((from, Unbounded))
            .filter_map(|(_, number)| self.addresses.get(number))
    }

    /// Returns live topics whose name begins with `prefix`.
    fn topics_under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = LogNumber> + 'a {
        self.names
            .range(prefix.to_owned()..)
            .take_while(move |(name, _)| name.starts_with(prefix))
            .filter_map(|(_, number)| self.addresses.get(number))
            .filter(|address| address.kind == AddressKind::Topic)
            .map(|address| address.number)
    }

    /// Returns up to three names that look like `name`, among those that begin alike.
    pub(super) fn nearest(&self, name: &str) -> Vec<&str> {
        let first: String = name.chars().take(1).collect();
        let alike = self
            .names
            .range(first.clone()..)
            .take_while(|(n, _)| n.starts_with(&first));
        let others = self.names.iter();
        let mut found: Vec<(usize, &str)> = alike
            .take(limits::NAMES_COMPARED_MAX)
            .chain(others.take(limits::NAMES_COMPARED_MAX / 4))
            .filter(|(_, number)| {
                self.addresses
                    .get(number)
                    .is_some_and(|a| a.state == AddressState::Live)
            })
            .map(|(other, _)| (strsim::damerau_levenshtein(name, other), other.as_str()))
            .filter(|(distance, other)| *distance <= 1 + other.len() / 4)
            .collect();
        found.sort_unstable();
        found.dedup();
        found.into_iter().take(3).map(|(_, other)| other).collect()
    }

    pub(super) fn notice_key(&self, number: LogNumber) -> Option<NoticeKey> {
        let address = self.addresses.get(&number)?;
        Some(NoticeKey {
            log: number,
            generation: address.generation,
        })
    }

    /// Makes an address; a topic is read at once by all whose prefix it matches.
    pub(super) fn create_address(
        &mut self,
        name: &str,
        kind: AddressKind,
        wall_ms: i64,
        changes: &mut Vec<Change>,
    ) -> LogNumber {
        self.counters.address += 1;
        let record = AddressRecord {
            number: self.counters.address,
            name: name.to_owned(),
            kind,
            state: AddressState::Live,
            generation: 1,
            full: FullPolicy::Trim,
            created_at_ms: wall_ms,
        };
        changes.push(Change::PutDirectoryCounters(self.counters));
        changes.push(Change::PutAddress(record.clone()));
        let number = record.number;
        self.insert_address(record);
        number
    }

    /// Raises an address's generation: what was granted before hears nothing any more.
    pub(super) fn raise_generation(&mut self, number: LogNumber, changes: &mut Vec<Change>) {
        if let Some(address) = self.addresses.get_mut(&number) {
            address.generation += 1;
            changes.push(Change::PutAddress(address.clone()));
        }
    }

    /// Keeps a removed user's name from being taken.
    pub(super) fn reserve(&mut self, number: LogNumber, changes: &mut Vec<Change>) {
        if let Some(address) = self.addresses.get_mut(&number) {
            address.state = AddressState::Reserved;
            address.generation += 1;
            changes.push(Change::PutAddress(address.clone()));
        }
    }

    /// Removes an address: its name is free, its number stays used.
    pub(super) fn remove_address(&mut self, number: LogNumber, changes: &mut Vec<Change>) {
        let Some(address) = self.addresses.remove(&number) else {
            return;
        };
        self.names.remove(&address.name);
        self.keyed.remove(&number);
        for user in self.readers.remove(&number).unwrap_or_default() {
            if let Some(reads) = self.reads.get_mut(&user) {
                reads.remove(&number);
            }
            if self
                .patterns
                .get_mut(&user)
                .is_some_and(|p| p.remove(&address.name).is_some())
            {
                changes.push(Change::RemoveSubscription {
                    user,
                    pattern: address.name.clone(),
                });
            }
        }
        changes.push(Change::RemoveAddress(number));
    }

    fn insert_address(&mut self, record: AddressRecord) {
        self.names.insert(record.name.clone(), record.number);
        let (number, kind, name) = (record.number, record.kind, record.name.clone());
        self.addresses.insert(number, record);
        if kind == AddressKind::Topic {
            for user in self.prefix_readers(&name) {
                self.link(user, number);
            }
        }
    }

    // -- devices --

    pub(super) fn device(&self, number: u64) -> Option<&DeviceRecord> {
        self.devices.get(&number)
    }

    pub(super) fn device_of_key(&self, key: &PublicKey) -> Option<&DeviceRecord> {
        self.device_of_key
            .get(key)
            .and_then(|number| self.devices.get(number))
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = &DeviceRecord> {
        self.devices.values()
    }

    pub(super) fn devices_of(&self, user: LogNumber) -> impl Iterator<Item = u64> + '_ {
        self.devices_of_user
            .get(&user)
            .into_iter()
            .flatten()
            .copied()
    }

    pub(super) fn create_device(
        &mut self,
        mut record: DeviceRecord,
        changes: &mut Vec<Change>,
    ) -> u64 {
        self.counters.device += 1;
        record.number = self.counters.device;
        changes.push(Change::PutDirectoryCounters(self.counters));
        changes.push(Change::PutDevice(record.clone()));
        let number = record.number;
        self.insert_device(record);
        number
    }

    pub(super) fn device_seen(&mut self, number: u64, running_s: u64, changes: &mut Vec<Change>) {
        if let Some(device) = self.devices.get_mut(&number) {
            device.seen_running_s = running_s;
            changes.push(Change::PutDevice(device.clone()));
        }
    }

    pub(super) fn rename_device(&mut self, number: u64, name: String, changes: &mut Vec<Change>) {
        if let Some(device) = self.devices.get_mut(&number).filter(|d| d.name != name) {
            device.name = name;
            changes.push(Change::PutDevice(device.clone()));
        }
    }

    pub(super) fn remove_device(&mut self, number: u64, changes: &mut Vec<Change>) {
        let Some(device) = self.devices.remove(&number) else {
            return;
        };
        self.device_of_key.remove(&device.key);
        self.drop_next_key(number, changes);
        if let Some(devices) = self.devices_of_user.get_mut(&device.user) {
            devices.remove(&number);
        }
        changes.push(Change::RemoveDevice(number));
    }

    /// Returns the device that goes on with a key.
    pub(super) fn device_of_next_key(&self, key: &PublicKey) -> Option<u64> {
        self.next_keys.get(key).copied()
    }

    /// Notes the key that a device goes on with.
    pub(super) fn put_next_key(&mut self, device: u64, key: PublicKey, changes: &mut Vec<Change>) {
        if self.device_of_next_key(&key) == Some(device) {
            return;
        }
        self.next_keys.retain(|_, of| *of != device);
        self.next_keys.insert(key, device);
        changes.push(Change::PutNextKey(NextKeyRecord { device, key }));
    }

    pub(super) fn drop_next_key(&mut self, device: u64, changes: &mut Vec<Change>) {
        let before = self.next_keys.len();
        self.next_keys.retain(|_, of| *of != device);
        if self.next_keys.len() < before {
            changes.push(Change::RemoveNextKey(device));
        }
    }

    /// Puts a device's next key in the place of the present one.
    pub(super) fn change_key(&mut self, number: u64, key: PublicKey, changes: &mut Vec<Change>) {
        let Some(device) = self.devices.get_mut(&number) else {
            return;
        };
        self.device_of_key.remove(&device.key);
        device.key = key;
        self.device_of_key.insert(key, number);
        changes.push(Change::PutDevice(device.clone()));
        self.drop_next_key(number, changes);
    }

    fn insert_device(&mut self, record: DeviceRecord) {
        self.device_of_key.insert(record.key, record.number);
        self.devices_of_user
            .entry(record.user)
            .or_default()
            .insert(record.number);
        self.devices.insert(record.number, record);
    }

    /// Returns the newest device's number.
    pub(super) fn last_device(&self) -> u64 {
        self.counters.device
    }

    /// Returns the next lease epoch.
    pub(super) fn next_epoch(&mut self, changes: &mut Vec<Change>) -> u64 {
        self.counters.epoch += 1;
        changes.push(Change::PutDirectoryCounters(self.counters));
        self.counters.epoch
    }

    // -- subscriptions --

    /// Returns the user's patterns with the id they were made at.
    pub(super) fn patterns(&self, user: LogNumber) -> impl Iterator<Item = (&str, MailId)> {
        let patterns = self.patterns.get(&user).into_iter().flatten();
        patterns.map(|(pattern, since)| (pattern.as_str(), *since))
    }

    pub(super) fn pattern_count(&self, user: LogNumber) -> usize {
        self.patterns.get(&user).map_or(0, BTreeMap::len)
    }

    pub(super) fn has_pattern(&self, user: LogNumber, pattern: &Pattern) -> bool {
        self.patterns
            .get(&user)
            .is_some_and(|patterns| patterns.contains_key(pattern.as_str()))
    }

    /// Returns the logs a user reads: his own first, then topics by number.
    pub(super) fn logs_of(&self, user: LogNumber) -> impl Iterator<Item = LogNumber> + '_ {
        std::iter::once(user).chain(
            self.reads
                .get(&user)
                .into_iter()
                .flat_map(BTreeMap::keys)
                .copied(),
        )
    }

    pub(super) fn reads(&self, user: LogNumber, log: LogNumber) -> bool {
        user == log
            || self
                .reads
                .get(&user)
                .is_some_and(|reads| reads.contains_key(&log))
    }

    /// Returns the number at which the row of a user's log last changed otherwise than by mail. Memory only, 0
    /// for what was so when the server started: a session begins with a list of all.
    pub(super) fn row_changed(&self, user: LogNumber, log: LogNumber) -> MailId {
        let began = self.reads.get(&user).and_then(|reads| reads.get(&log));
        let keyed = self.keyed.get(&log);
        began.max(keyed).copied().unwrap_or(0)
    }

    /// Notes that an address is new or has another key, for the rows of all who read it.
    pub(super) fn note_key(&mut self, log: LogNumber, at: MailId) {
        if self.addresses.contains_key(&log) {
            self.keyed.insert(log, at);
        }
    }

    /// Notes that a user began to read a topic.
    pub(super) fn note_reader(&mut self, user: LogNumber, topic: LogNumber, at: MailId) {
        self.reads.entry(user).or_default().insert(topic, at);
    }

    pub(super) fn readers(&self, topic: LogNumber) -> impl Iterator<Item = LogNumber> + '_ {
        self.readers.get(&topic).into_iter().flatten().copied()
    }

    pub(super) fn reader_count(&self, topic: LogNumber) -> usize {
        self.readers.get(&topic).map_or(0, BTreeSet::len)
    }

    /// Returns the topics that exist and that a pattern names.
    pub(super) fn matching(&self, pattern: &Pattern) -> Vec<LogNumber> {
        if let Some(prefix) = pattern.prefix() {
            return self.topics_under(prefix).collect();
        }
        let topic = self
            .live(pattern.as_str())
            .filter(|a| a.kind == AddressKind::Topic);
        topic.map(|address| address.number).into_iter().collect()
    }

    /// Returns the id from which a user's subscriptions make him read a topic, the oldest of them.
    pub(super) fn since(&self, user: LogNumber, topic: &str) -> MailId {
        let matching = self.patterns(user).filter(|(pattern, _)| {
            Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(topic))
        });
        matching.map(|(_, since)| since).min().unwrap_or(0)
    }

    /// Adds a subscription and returns the topics that the user reads only since now.
    pub(super) fn subscribe(
        &mut self,
        user: LogNumber,
        pattern: &Pattern,
        since: MailId,
        changes: &mut Vec<Change>,
    ) -> Vec<LogNumber> {
        let record = SubscriptionRecord {
            user,
            pattern: pattern.as_str().to_owned(),
            since,
        };
        let new = self.insert_subscription(&record, pattern);
        changes.push(Change::PutSubscription(record));
        new
    }

    /// Removes a subscription and returns the topics that the user reads no longer.
    pub(super) fn unsubscribe(
        &mut self,
        user: LogNumber,
        pattern: &Pattern,
        changes: &mut Vec<Change>,
    ) -> Vec<LogNumber> {
        let removed = self
            .patterns
            .get_mut(&user)
            .and_then(|p| p.remove(pattern.as_str()));
        if removed.is_none() {
            return Vec::new();
        }
        if let Some(users) = pattern
            .prefix()
            .and_then(|prefix| self.prefixes.get_mut(prefix))
        {
            users.remove(&user);
        }
        changes.push(Change::RemoveSubscription {
            user,
            pattern: pattern.as_str().to_owned(),
        });
        let mut left = self.matching(pattern);
        left.retain(|topic| !self.still_matches(user, *topic));
        for topic in &left {
            self.unlink(user, *topic);
        }
        left
    }

    fn still_matches(&self, user: LogNumber, topic: LogNumber) -> bool {
        let name = self.name_of(topic);
        self.patterns(user)
            .any(|(pattern, _)| Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(name)))
    }

    fn insert_subscription(
        &mut self,
        record: &SubscriptionRecord,
        pattern: &Pattern,
    ) -> Vec<LogNumber> {
        let patterns = self.patterns.entry(record.user).or_default();
        patterns.insert(record.pattern.clone(), record.since);
        if let Some(prefix) = pattern.prefix() {
            self.prefixes
                .entry(prefix.to_owned())
                .or_default()
                .insert(record.user);
        }
        let mut new = self.matching(pattern);
        new.retain(|topic| self.link(record.user, *topic));
        new
    }

    /// Returns the users whose prefixes a topic's name lies under.
    fn prefix_readers(&self, topic: &str) -> BTreeSet<LogNumber> {
        topic
            .match_indices('/')
            .filter_map(|(slash, _)| self.prefixes.get(&topic[..=slash]))
            .flatten()
            .copied()
            .collect()
    }

    fn link(&mut self, user: LogNumber, topic: LogNumber) -> bool {
        if !self.may(Right::Read, user, self.name_of(topic)) {
            return false;
        }
        self.readers.entry(topic).or_default().insert(user);
        match self.reads.entry(user).or_default().entry(topic) {
            Entry::Vacant(vacant) => {
                vacant.insert(0);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    fn unlink(&mut self, user: LogNumber, topic: LogNumber) {
        if let Some(readers) = self.readers.get_mut(&topic) {
            readers.remove(&user);
        }
        if let Some(reads) = self.reads.get_mut(&user) {
            reads.remove(&topic);
        }
    }

    // -- rights --

    pub(super) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Says whether a user may read or send to a topic of this name.
    pub(super) fn may(&self, right: Right, user: LogNumber, topic: &str) -> bool {
        self.rights.may(right, (user, self.name_of(user)), topic)
    }

    /// Returns who would begin to read what, and who would read what no longer, under other rights.
    pub(super) fn shifts(&self, rights: &Rights) -> (Readings, Readings) {
        let (mut gained, mut lost) = (Vec::new(), Vec::new());
        let topics = self.addresses.values();
        for topic in topics.filter(|address| address.kind == AddressKind::Topic) {
            let now_and_then = [&self.rights, rights]
                .map(|rights| rights.naming(Right::Read, &topic.name).next().is_some());
            if now_and_then == [false, false] {
                continue;
            }
            for user in self.patterns.keys() {
                let wants = self.still_matches(*user, topic.number);
                let may = rights.may(Right::Read, (*user, self.name_of(*user)), &topic.name);
                match (self.reads(*user, topic.number), wants && may) {
                    (false, true) => gained.push((*user, topic.number)),
                    (true, false) => lost.push((*user, topic.number)),
                    _ => {}
                }
            }
        }
        gained.sort_unstable();
        lost.sort_unstable();
        (gained, lost)
    }

    /// Puts other rights in force. Who reads what follows by [`begin_reading`](Self::begin_reading) and
    /// [`stop_reading`](Self::stop_reading).
    pub(super) fn set_rights(&mut self, rights: Rights) {
        self.rights = rights;
    }

    pub(super) fn begin_reading(&mut self, user: LogNumber, topic: LogNumber, at: MailId) {
        if self.link(user, topic) {
            self.note_reader(user, topic, at);
        }
    }

    pub(super) fn stop_reading(&mut self, user: LogNumber, topic: LogNumber) {
        self.unlink(user, topic);
    }

    // -- invitation codes --

    pub(super) fn code(&self, digest: &[u8; 32]) -> Option<&CodeRecord> {
        self.codes.get(digest)
    }

    pub(super) fn codes_by(&self, user: LogNumber) -> usize {
        self.codes_of(user).count()
    }

    /// Returns the codes that a user made.
    pub(super) fn codes_of(&self, user: LogNumber) -> impl Iterator<Item = &CodeRecord> {
        self.codes.values().filter(move |code| code.by == user)
    }

    pub(super) fn add_code(&mut self, code: CodeRecord, changes: &mut Vec<Change>) {
        changes.push(Change::PutCode(code.clone()));
        self.codes.insert(code.digest, code);
    }

    pub(super) fn remove_code(&mut self, digest: &[u8; 32], changes: &mut Vec<Change>) {
        if self.codes.remove(digest).is_some() {
            changes.push(Change::RemoveCode(*digest));
        }
    }

    /// Removes codes that ended.
    pub(super) fn drop_old_codes(&mut self, wall_ms: i64, changes: &mut Vec<Change>) {
        let old: Vec<[u8; 32]> = self
            .codes
            .values()
            .filter(|c| c.expires_at_ms <= wall_ms)
            .map(|c| c.digest)
            .collect();
        for digest in old {
            self.remove_code(&digest, changes);
        }
    }
}
