//! What a user may do with the devices, the codes and the account that are his own.

use super::account::check_device_name;
use super::core::{Core, Ruling, Who, done, told};
use crate::limits;
use crate::protocol::codes::{Code, WireError};
use crate::protocol::names::UserName;
use crate::protocol::{LogNumber, PublicKey, reply, request, time};
use crate::store::{CodeRecord, DeviceRecord};

impl Core {
    /// Lists the devices of the caller's user.
    pub(super) fn devices(&self, who: Who, asked: &request::Devices) -> Option<Vec<u8>> {
        let logs: Vec<LogNumber> = self.directory.logs_of(who.user).collect();
        let rows_max = (limits::DEVICE_CURSORS_MAX / logs.len()).max(1);
        let numbers = self.directory.devices_of(who.user);
        let mut rows: Vec<reply::DeviceRow> = numbers
            .filter(|number| *number > asked.after)
            .take(rows_max + 1)
            .filter_map(|number| self.directory.device(number))
            .map(|device| self.device_row(device, who, &logs))
            .collect();
        let more = rows.len() > rows_max;
        rows.truncate(rows_max);
        told(&reply::Devices {
            more_after: rows.last().map(|row| row.device).filter(|_| more),
            devices: rows,
        })
    }

    fn device_row(&self, device: &DeviceRecord, who: Who, logs: &[LogNumber]) -> reply::DeviceRow {
        let number = device.number;
        let waiting = logs.iter().map(|log| self.logs.waiting(number, *log).count);
        reply::DeviceRow {
            device: number,
            name: device.name.clone(),
            since: time::to_text(device.created_at_ms),
            last_seen: self.device_seen(number).map(time::to_text),
            online: self.online_with(number).is_some(),
            this: number == who.device,
            waiting: waiting.sum(),
        }
    }

    /// Removes another device of the caller's user. Said again, it is gone.
    pub(super) fn device_rm(&mut self, who: Who, rm: &request::DeviceRm) -> Ruling {
        if rm.device == who.device {
            return Err(WireError::new(
                Code::Denied,
                "a device does not remove itself: log it out (mailctl logout --forget), or remove it from another one",
            ));
        }
        let is_gone = self.directory.device(rm.device).is_none()
            && (1..=self.directory.last_device()).contains(&rm.device);
        if !is_gone {
            self.own_device(who, rm.device)?;
            self.remove_device(rm.device);
        }
        Ok(done())
    }

    pub(super) fn device_rename(&mut self, who: Who, rename: request::DeviceRename) -> Ruling {
        check_device_name(&rename.name)?;
        self.own_device(who, rename.device)?;
        self.directory
            .rename_device(rename.device, rename.name, &mut self.changes);
        Ok(done())
    }

    fn own_device(&self, who: Who, device: u64) -> Result<(), WireError> {
        let known = self.directory.device(device);
        if known.is_some_and(|device| device.user == who.user) {
            return Ok(());
        }
        Err(WireError::new(
            Code::NoSuchDevice,
            format!("you have no device {device}"),
        ))
    }

    /// Notes the key with which the caller's device goes on. Until that has proven itself the present one stays
    /// good: a client that dies in between has a key that works, whichever it tries.
    pub(super) fn rotate(&mut self, who: Who, rotate: &request::Rotate) -> Ruling {
        let mut key: PublicKey = [0; 32];
        if hex::decode_to_slice(&rotate.key, &mut key).is_err() {
            let text = "a key is 64 hex digits";
            return Err(WireError::new(Code::BadRequest, text));
        }
        let holder = self.directory.device_of_key(&key).map(|d| d.number);
        let holder = holder.or_else(|| self.directory.device_of_next_key(&key));
        if holder == Some(who.device) && self.directory.device_of_key(&key).is_some() {
            return Ok(done());
        }
        if holder.is_some_and(|holder| holder != who.device)
            || self.settings.admin_keys.contains(&key)
        {
            let text = "that key is another's; make a new one";
            return Err(WireError::new(Code::WrongUser, text));
        }
        self.directory
            .put_next_key(who.device, key, &mut self.changes);
        Ok(done())
    }

    /// Lets the device that goes on with this key do so, if its holder means that user: the old key is worth nothing
    /// from now on.
    pub(super) fn adopt_next_key(
        &mut self,
        key: &PublicKey,
        wanted: Option<&UserName>,
    ) -> Result<(), WireError> {
        let Some(device) = self.directory.device_of_next_key(key) else {
            return Ok(());
        };
        let Some((user, old)) = self.directory.device(device).map(|d| (d.user, d.key)) else {
            return Ok(());
        };
        if wanted.is_some_and(|wanted| wanted.as_str() != self.directory.name_of(user)) {
            return Ok(());
        }
        self.let_in(user, device)?;
        for session in self.sessions.of_device(device) {
            self.end_session(&session);
        }
        self.directory.change_key(device, *key, &mut self.changes);
        self.take_back_grants(&old);
        Ok(())
    }

    /// Lists the codes that the caller's user made.
    pub(super) fn codes(&self, who: Who) -> Option<Vec<u8>> {
        let mut codes: Vec<&CodeRecord> = self
            .directory
            .codes_of(who.user)
            .filter(|code| code.expires_at_ms > self.now.wall_ms)
            .collect();
        codes.sort_unstable_by_key(|code| (code.expires_at_ms, code.digest));
        let codes = codes.into_iter().map(|code| self.code_row(code)).collect();
        told(&reply::Codes { codes })
    }

    fn code_row(&self, code: &CodeRecord) -> reply::CodeRow {
        let owner = code
            .device_of
            .map(|user| self.directory.name_of(user).to_owned());
        reply::CodeRow {
            id: code_id(code),
            user: owner.or_else(|| code.name.clone()),
            device: code.device_of.is_some(),
            expires_at: time::to_text(code.expires_at_ms),
        }
    }

    /// Takes back codes of the caller's user: none is no error, for it may have been used meanwhile.
    pub(super) fn code_rm(&mut self, who: Who, rm: &request::CodeRm) -> Option<Vec<u8>> {
        let codes = self.directory.codes_of(who.user);
        let meant = codes.filter(|code| code_id(code) == rm.id);
        let digests: Vec<[u8; 32]> = meant.map(|code| code.digest).collect();
        for digest in digests {
            self.directory.remove_code(&digest, &mut self.changes);
        }
        done()
    }

    /// Removes the caller's user. The name stays reserved, so that nobody else gets what is sent to it.
    pub(super) fn account_rm(&mut self, who: Who, rm: &request::AccountRm) -> Ruling {
        if rm.user.as_str() != self.directory.name_of(who.user) {
            return Err(WireError::new(
                Code::Denied,
                "everybody removes his own account only; an administrator: mailctl admin user rm",
            ));
        }
        self.remove_user(who.user);
        Ok(done())
    }
}

/// Names a code without telling it: its digest says nothing of it, and the beginning is enough to tell one's own apart.
fn code_id(code: &CodeRecord) -> String {
    hex::encode(&code.digest[..4])
}
