//! What administrators set: roles, who is shut out, and limits of one address.
//!
//! Plain data; who may set it is asked in `admin`, what follows from it where it matters.

use std::collections::HashMap;

use super::core::Core;
use super::io::Settings;
use crate::protocol::LogNumber;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::request::{OwnLimits, Role};
use crate::store::{AccountRecord, Change, KickRecord, LimitsRecord};

/// All of it, in memory.
#[derive(Debug, Default)]
pub(super) struct Rules {
    accounts: HashMap<LogNumber, AccountRecord>,
    limits: HashMap<LogNumber, LimitsRecord>,
}

/// Why a device is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShutOut {
    Disabled,
    /// For as many seconds.
    Kicked(u64),
}

/// How much of an address is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogLimits {
    pub(super) mails_max: u64,
    pub(super) bytes_max: u64,
    pub(super) history_mails: u64,
    pub(super) history_seconds: u64,
}

impl Rules {
    /// Takes what the store held.
    pub(super) fn restore(accounts: Vec<AccountRecord>, limits: Vec<LimitsRecord>) -> Self {
        Self {
            accounts: accounts
                .into_iter()
                .map(|record| (record.user, record))
                .collect(),
            limits: limits
                .into_iter()
                .map(|record| (record.address, record))
                .collect(),
        }
    }

    pub(super) fn role(&self, user: LogNumber) -> Role {
        self.accounts
            .get(&user)
            .map_or_else(Role::default, |account| account.role)
    }

    pub(super) fn is_disabled(&self, user: LogNumber) -> bool {
        self.accounts
            .get(&user)
            .is_some_and(|account| account.disabled)
    }

    pub(super) fn set_role(&mut self, user: LogNumber, role: Role, changes: &mut Vec<Change>) {
        self.change_account(user, changes, |account| account.role = role);
    }

    pub(super) fn set_disabled(
        &mut self,
        user: LogNumber,
        disabled: bool,
        changes: &mut Vec<Change>,
    ) {
        self.change_account(user, changes, |account| {
            account.disabled = disabled;
            if !disabled {
                account.kicked.clear();
            }
        });
    }

    /// Keeps a device out, or all of the user's (device 0).
    pub(super) fn kick(
        &mut self,
        user: LogNumber,
        kick: KickRecord,
        running_s: u64,
        changes: &mut Vec<Change>,
    ) {
        self.change_account(user, changes, |account| {
            account.kicked.retain(|before| {
                before.until_running_s > running_s && before.device != kick.device
            });
            if kick.until_running_s > running_s {
                account.kicked.push(kick);
            }
        });
    }

    /// Forgets kicks that are over. Running time goes back to what was last written when the server starts: one that
    /// was over for who logged in must not begin anew.
    pub(super) fn forget_kicks(
        &mut self,
        user: LogNumber,
        running_s: u64,
        changes: &mut Vec<Change>,
    ) {
        self.change_account(user, changes, |account| {
            account
                .kicked
                .retain(|kick| kick.until_running_s > running_s);
        });
    }

    fn change_account(
        &mut self,
        user: LogNumber,
        changes: &mut Vec<Change>,
        change: impl FnOnce(&mut AccountRecord),
    ) {
        let plain = AccountRecord {
            user,
            role: Role::User,
            disabled: false,
            kicked: Vec::new(),
        };
        let before = self.accounts.get(&user).unwrap_or(&plain);
        let mut account = before.clone();
        change(&mut account);
        if account == *before {
            return;
        }
        if account == plain {
            self.accounts.remove(&user);
            changes.push(Change::RemoveAccount(user));
        } else {
            changes.push(Change::PutAccount(account.clone()));
            self.accounts.insert(user, account);
        }
    }

    /// Returns how long a device is kept out for a while yet, in seconds.
    pub(super) fn kicked_for(&self, user: LogNumber, device: u64, running_s: u64) -> Option<u64> {
        let kicks = self.accounts.get(&user)?.kicked.iter();
        kicks
            .filter(|kick| kick.device == 0 || kick.device == device)
            .filter_map(|kick| kick.until_running_s.checked_sub(running_s))
            .filter(|left| *left > 0)
            .max()
    }

    fn shut_out(&self, user: LogNumber, device: u64, running_s: u64) -> Option<ShutOut> {
        if self.is_disabled(user) {
            return Some(ShutOut::Disabled);
        }
        self.kicked_for(user, device, running_s)
            .map(ShutOut::Kicked)
    }

    pub(super) fn own_limits(&self, address: LogNumber) -> LimitsRecord {
        self.limits.get(&address).copied().unwrap_or(LimitsRecord {
            address,
            ..LimitsRecord::default()
        })
    }

    /// Sets how much may wait at an address; what is left out is as the settings say.
    pub(super) fn set_limits(
        &mut self,
        address: LogNumber,
        limits: OwnLimits,
        changes: &mut Vec<Change>,
    ) {
        let record = LimitsRecord {
            mails_max: limits.mails_max,
            bytes_max: limits.bytes_max,
            ..self.own_limits(address)
        };
        self.put_limits(record, changes);
    }

    /// Sets how many mails a topic keeps for newcomers, and for how many seconds.
    pub(super) fn set_retention(
        &mut self,
        address: LogNumber,
        (history_mails, history_seconds): (Option<u64>, Option<u64>),
        changes: &mut Vec<Change>,
    ) {
        let record = LimitsRecord {
            history_mails,
            history_seconds,
            ..self.own_limits(address)
        };
        self.put_limits(record, changes);
    }

    fn put_limits(&mut self, record: LimitsRecord, changes: &mut Vec<Change>) {
        let address = record.address;
        let before = self.own_limits(address);
        if record == before {
            return;
        }
        let none = LimitsRecord {
            address,
            ..LimitsRecord::default()
        };
        if record == none {
            self.limits.remove(&address);
            changes.push(Change::RemoveLimits(address));
        } else {
            self.limits.insert(address, record);
            changes.push(Change::PutLimits(record));
        }
    }

    /// Returns how much of an address is kept.
    pub(super) fn limits(&self, address: LogNumber, settings: &Settings) -> LogLimits {
        let own = self.own_limits(address);
        LogLimits {
            mails_max: own.mails_max.unwrap_or(settings.log_mails_max),
            bytes_max: own.bytes_max.unwrap_or(settings.log_bytes_max),
            history_mails: own.history_mails.unwrap_or(settings.history_mails),
            history_seconds: own.history_seconds.unwrap_or(settings.history_seconds),
        }
    }

    /// Forgets all that was set for an address that is gone.
    pub(super) fn forget(&mut self, address: LogNumber, changes: &mut Vec<Change>) {
        if self.accounts.remove(&address).is_some() {
            changes.push(Change::RemoveAccount(address));
        }
        if self.limits.remove(&address).is_some() {
            changes.push(Change::RemoveLimits(address));
        }
    }
}

impl Core {
    /// Refuses a device that an administrator shut out; device 0 stands for one that is not there yet.
    pub(super) fn let_in(&self, user: LogNumber, device: u64) -> Result<(), WireError> {
        let name = || self.directory.name_of(user);
        match self.rules.shut_out(user, device, self.running_s()) {
            None => Ok(()),
            Some(ShutOut::Disabled) => Err(refusal!(
                Code::ShutOut,
                "an administrator disabled {}",
                name()
            )),
            Some(ShutOut::Kicked(seconds)) => Err(refusal!(
                Code::ShutOut,
                "an administrator ended {}'s sessions; come back in {} seconds",
                name(),
                seconds
            )
            .after_ms(1_000 * seconds)),
        }
    }

    /// Ends the sessions of a device and takes back all it was granted on the live socket.
    pub(super) fn cut_off(&mut self, device: u64) {
        for session in self.sessions.of_device(device) {
            self.end_session(&session);
        }
        if let Some(key) = self.directory.device(device).map(|device| device.key) {
            self.take_back_grants(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_as_it_was_at_first_leaves_no_record() {
        let mut rules = Rules::default();
        let mut changes = Vec::new();
        rules.set_disabled(3, false, &mut changes);
        rules.set_role(3, Role::User, &mut changes);
        rules.set_limits(3, OwnLimits::default(), &mut changes);
        assert_eq!(changes, []);
        rules.set_role(3, Role::Admin, &mut changes);
        rules.set_disabled(3, true, &mut changes);
        rules.set_role(3, Role::User, &mut changes);
        rules.set_disabled(3, false, &mut changes);
        assert_eq!(changes.len(), 4);
        assert_eq!(changes[3], Change::RemoveAccount(3));
        assert!(rules.accounts.is_empty());
    }

    #[test]
    fn a_kick_ends_by_itself_and_hits_whom_it_is_for() {
        let mut rules = Rules::default();
        let mut changes = Vec::new();
        let kick = |device, until_running_s| KickRecord {
            device,
            until_running_s,
        };
        rules.kick(3, kick(7, 100), 40, &mut changes);
        assert_eq!(rules.kicked_for(3, 7, 40), Some(60));
        assert_eq!(rules.kicked_for(3, 7, 100), None);
        assert_eq!(rules.kicked_for(3, 8, 40), None);
        assert_eq!(rules.kicked_for(4, 7, 40), None);
        rules.kick(3, kick(0, 60), 40, &mut changes);
        assert_eq!(rules.kicked_for(3, 7, 40), Some(60));
        assert_eq!(rules.kicked_for(3, 8, 40), Some(20));
        rules.kick(3, kick(7, 0), 50, &mut changes);
        assert_eq!(
            rules.kicked_for(3, 7, 50),
            Some(10),
            "all are out still, this one too"
        );
    }
}
