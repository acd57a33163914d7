//! What a list of changes amounts to: the simulator's own replay, which shares no line with the store.
//!
//! Two of them are kept: one of all that the core decided, one of what the disk holds for certain. What
//! may be decided is in `law`.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::{LogNumber, MailId, PublicKey};
use crate::store::{AccountRecord, AddressKind, AddressState, Change, LeaseRecord, LeaseState};

/// A user or a topic.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) name: String,
    pub(super) is_user: bool,
    pub(super) is_live: bool,
    pub(super) generation: u64,
}

/// A mail in its log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mail {
    /// Its count within its log.
    pub(super) n: u64,
    pub(super) is_expired: bool,
    pub(super) is_removed: bool,
}

/// Everything that was written, as far as a promise speaks of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub(super) addresses: BTreeMap<LogNumber, Address>,
    pub(super) devices: BTreeMap<u64, (LogNumber, PublicKey)>,
    pub(super) subscriptions: BTreeSet<(LogNumber, String)>,
    pub(super) blocks: BTreeSet<(LogNumber, LogNumber)>,
    pub(super) hidden: BTreeSet<LogNumber>,
    pub(super) next_keys: BTreeMap<u64, PublicKey>,
    /// Users whom an administrator set something for.
    pub(super) accounts: BTreeMap<LogNumber, AccountRecord>,
    /// How many mails may wait for a user, where that is his own number.
    pub(super) quotas: BTreeMap<LogNumber, u64>,
    /// What administrators did, and to whom.
    pub(super) audit: BTreeMap<u64, (String, String)>,
    pub(super) codes: BTreeSet<[u8; 32]>,
    /// Codes that made a device: each makes one.
    pub(super) redeemed: BTreeSet<[u8; 32]>,
    pub(super) leases: BTreeMap<u16, LeaseRecord>,
    pub(super) logs: BTreeMap<LogNumber, BTreeMap<MailId, Mail>>,
    pub(super) cursors: BTreeMap<(u64, LogNumber), MailId>,
    /// Device and settled-below mark of each stream.
    pub(super) streams: BTreeMap<u64, (u64, u64)>,
    pub(super) completions: BTreeSet<(u64, u64)>,
    /// Accepted chats and the sessions that accepted.
    pub(super) accepted: BTreeMap<[u8; 16], [u8; 16]>,
    pub(super) last_id: MailId,
    pub(super) last_epoch: u64,
}

impl Ledger {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::PutAddress(record) => {
                let address = Address {
                    name: record.name.clone(),
                    is_user: record.kind == AddressKind::User,
                    is_live: record.state == AddressState::Live,
                    generation: record.generation,
                };
                self.addresses.insert(record.number, address);
            }
            Change::RemoveAddress(number) => drop(self.addresses.remove(number)),
            Change::PutDevice(record) => {
                self.redeemed.insert(record.code);
                self.devices
                    .insert(record.number, (record.user, record.key));
            }
            Change::RemoveDevice(number) => drop(self.devices.remove(number)),
            Change::PutSubscription(record) => {
                self.subscriptions
                    .insert((record.user, record.pattern.clone()));
            }
            Change::RemoveSubscription { user, pattern } => {
                self.subscriptions.remove(&(*user, pattern.clone()));
            }
            Change::PutBlock(record) => drop(self.blocks.insert((record.user, record.blocked))),
            Change::RemoveBlock(record) => {
                self.blocks.remove(&(record.user, record.blocked));
            }
            Change::PutNextKey(record) => drop(self.next_keys.insert(record.device, record.key)),
            Change::RemoveNextKey(device) => drop(self.next_keys.remove(device)),
            Change::PutAccount(record) => drop(self.accounts.insert(record.user, record.clone())),
            Change::RemoveAccount(user) => drop(self.accounts.remove(user)),
            Change::PutLimits(record) => {
                let quota = record
                    .mails_max
                    .expect("the simulator sets this limit only");
                self.quotas.insert(record.address, quota);
            }
            Change::RemoveLimits(address) => drop(self.quotas.remove(address)),
            Change::PutAudit(record) => {
                let row = (record.what.clone(), record.address.clone());
                self.audit.insert(record.number, row);
            }
            Change::PutHidden(record) => drop(self.hidden.insert(record.user)),
            Change::RemoveHidden(record) => drop(self.hidden.remove(&record.user)),
            Change::PutCode(record) => drop(self.codes.insert(record.digest)),
            Change::RemoveCode(digest) => drop(self.codes.remove(digest)),
            Change::PutLease(lease) => {
                self.last_epoch = self.last_epoch.max(lease.epoch);
                self.leases.insert(lease.port, lease.clone());
            }
            Change::RemoveLease(port) => drop(self.leases.remove(port)),
            Change::PutInvitation(record) => {
                let accepter = record.accepter.as_ref();
                let session = accepter.map(|side| (record.chat, side.session));
                self.accepted.extend(session);
            }
            _ => self.apply_mail(change),
        }
    }

    fn apply_mail(&mut self, change: &Change) {
        match change {
            Change::PutMailCounters(counters) => self.last_id = counters.mail,
            Change::AppendMail {
                log, id, record, ..
            } => {
                let mail = Mail {
                    n: record.count,
                    is_expired: false,
                    is_removed: false,
                };
                self.logs.entry(*log).or_default().insert(*id, mail);
            }
            Change::ExpireMail { log, id } => {
                if let Some(mail) = self.mail_mut(*log, *id) {
                    mail.is_expired = true;
                }
            }
            Change::RemoveMail { log, id } => {
                if let Some(mail) = self.mail_mut(*log, *id) {
                    mail.is_removed = true;
                }
            }
            Change::PutStream(record) => {
                let row = (record.device, record.settled_below);
                self.streams.insert(record.number, row);
                self.forget(record.number, record.settled_below);
            }
            Change::RemoveStream(number) => {
                self.streams.remove(number);
                self.forget(*number, u64::MAX);
            }
            Change::PutCompletion { stream, number, .. } => {
                self.completions.insert((*stream, *number));
            }
            Change::PutCursor { device, log, mark } => {
                self.cursors.insert((*device, *log), mark.id);
            }
            Change::RemoveCursor { device, log } => {
                self.cursors.remove(&(*device, *log));
            }
            _ => {}
        }
    }

    fn forget(&mut self, stream: u64, below: u64) {
        self.completions
            .retain(|(of, number)| *of != stream || *number >= below);
    }

    // -- who is who --

    pub(super) fn device_of(&self, key: &PublicKey) -> Option<(u64, LogNumber)> {
        let found = self.devices.iter().find(|(_, (_, of))| of == key);
        found.map(|(number, (user, _))| (*number, *user))
    }

    /// Says whether none of a user's devices is let in.
    pub(super) fn is_disabled(&self, user: LogNumber) -> bool {
        self.accounts
            .get(&user)
            .is_some_and(|account| account.disabled)
    }

    pub(super) fn devices_of(&self, user: LogNumber) -> impl Iterator<Item = u64> + '_ {
        let of = self.devices.iter();
        of.filter(move |(_, (owner, _))| *owner == user)
            .map(|(number, _)| *number)
    }

    pub(super) fn number_of(&self, name: &str) -> Option<LogNumber> {
        let mut live = self.addresses.iter();
        live.find(|(_, address)| address.is_live && address.name == name)
            .map(|(number, _)| *number)
    }

    /// Says whether an address is, or was, a user's and not this one's.
    pub(super) fn is_anothers(&self, user: LogNumber, log: LogNumber) -> bool {
        let address = self.addresses.get(&log);
        user != log && address.is_some_and(|address| address.is_user)
    }

    // -- who reads what --

    pub(super) fn reads(&self, user: LogNumber, log: LogNumber) -> bool {
        let Some(address) = self.addresses.get(&log).filter(|address| address.is_live) else {
            return false;
        };
        let from = (user, String::new());
        let mut patterns = self.subscriptions.range(from..).map_while(|(of, pattern)| {
            let is_his = *of == user;
            is_his.then_some(pattern)
        });
        user == log || (!address.is_user && patterns.any(|p| covers(p, &address.name)))
    }

    pub(super) fn readers(&self, log: LogNumber) -> Vec<LogNumber> {
        let users = self.addresses.iter().filter(|(_, address)| address.is_user);
        users
            .map(|(user, _)| *user)
            .filter(|user| self.reads(*user, log))
            .collect()
    }

    pub(super) fn logs_of(&self, user: LogNumber) -> Vec<LogNumber> {
        let all = self.addresses.keys().copied();
        all.filter(|log| self.reads(user, *log)).collect()
    }

    /// Returns the cursors of all devices that read a log; a device that has none yet is left out.
    pub(super) fn cursors_in(&self, log: LogNumber) -> Vec<MailId> {
        let reads = self
            .devices
            .iter()
            .filter(|(_, (user, _))| self.reads(*user, log));
        reads
            .filter_map(|(device, _)| self.cursors.get(&(*device, log)).copied())
            .collect()
    }

    // -- mail --

    pub(super) fn mail(&self, log: LogNumber, id: MailId) -> Option<&Mail> {
        self.logs.get(&log)?.get(&id)
    }

    fn mail_mut(&mut self, log: LogNumber, id: MailId) -> Option<&mut Mail> {
        self.logs.get_mut(&log)?.get_mut(&id)
    }

    /// Returns id and count of the newest mail ever put in a log.
    pub(super) fn head(&self, log: LogNumber) -> (MailId, u64) {
        let last = self.logs.get(&log).and_then(BTreeMap::last_key_value);
        last.map_or((0, 0), |(id, mail)| (*id, mail.n))
    }

    /// Counts the mails ever put in a log with `after < id <= through`.
    pub(super) fn count(&self, log: LogNumber, after: MailId, through: MailId) -> u64 {
        let Some(mails) = self.logs.get(&log).filter(|_| after < through) else {
            return 0;
        };
        mails.range(after + 1..=through).count() as u64
    }

    pub(super) fn kept(&self, log: LogNumber) -> u64 {
        let mails = self.logs.get(&log).into_iter().flatten();
        mails.filter(|(_, mail)| !mail.is_removed).count() as u64
    }
}

pub(super) fn is_out(lease: &LeaseRecord) -> bool {
    matches!(lease.state, LeaseState::Offered | LeaseState::Held)
}

pub(super) fn covers(pattern: &str, topic: &str) -> bool {
    let prefix = pattern.strip_suffix('*');
    prefix.map_or(pattern == topic, |prefix| topic.starts_with(prefix))
}
