//! Users, devices and codes: hello, register, invite, logout.

use super::budget::Origin;
use super::core::{Call, Core, Ruling, done, not_registered, told};
use super::io::Registration;
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::UserName;
use crate::protocol::request::Role;
use crate::protocol::{FEATURES, LogNumber, MAGIC, VERSION, VERSION_OLDEST, reply, request, time};
use crate::store::{
    AddressKind, AddressRecord, AddressState, CodeRecord, DeviceRecord, code_digest,
};

/// What a registration may do.
enum Admission {
    /// Make this user and a first device.
    NewUser(UserName),
    /// Make a further device of this user.
    NewDevice(LogNumber),
}

impl Core {
    pub(super) fn hello(&mut self, call: &Call, hello: &request::Hello) -> Ruling {
        let (oldest, newest) = hello.versions;
        if hello.magic != MAGIC {
            return Err(refusal!(
                Code::BadRequest,
                "hello says the magic word first"
            ));
        }
        if oldest > VERSION || newest < VERSION_OLDEST {
            return Err(refusal!(
                Code::VersionMismatch,
                "this server speaks versions {} to {}, the client {} \
                     to {}; upgrade the older one",
                VERSION_OLDEST,
                VERSION,
                oldest,
                newest
            ));
        }
        let device = self.directory.device_of_key(&call.peer.key);
        Ok(told(&reply::Hello {
            version: newest.min(VERSION),
            server: concat!("correio ", env!("CARGO_PKG_VERSION")).into(),
            incarnation: self.meta.incarnation,
            features: FEATURES
                .iter()
                .map(|feature| (*feature).to_owned())
                .collect(),
            live_port: self.settings.live_port,
            registration: self.settings.registration.word().into(),
            user: device.map(|device| self.directory.name_of(device.user).to_owned()),
            device: device.map(|device| device.number),
            session_present: device.is_some_and(|d| self.sessions.has_device(d.number)),
            now: time::to_text(self.now.wall_ms),
            limits: self.wire_limits(),
        }))
    }

    fn wire_limits(&self) -> reply::Limits {
        reply::Limits {
            frame_bytes: limits::FRAME_BYTES_MAX as u64,
            body_bytes: self.settings.body_bytes_max,
            recipients: limits::RECIPIENTS_MAX as u64,
            window: limits::STREAM_WINDOW_MAX,
            page_mails: limits::PAGE_MAILS_MAX.into(),
            heartbeat_ms: limits::HEARTBEAT_MS,
        }
    }

    /// Registers a key. The same key asking again gets the first answer again.
    pub(super) fn register(&mut self, call: &Call, register: request::Register) -> Ruling {
        check_device_name(&register.device)?;
        if self.settings.admin_keys.contains(&call.peer.key) {
            return Err(refusal!(
                Code::Denied,
                "the admin key administers; it is no user's"
            ));
        }
        if let Some(device) = self.directory.device_of_key(&call.peer.key) {
            let (user, device) = (device.user, device.number);
            return self.registered_before(user, device, register.user.as_ref());
        }
        if let Some(device) = self.directory.device_of_next_key(&call.peer.key) {
            // Whoever said that it was to be his has not proven it; its holder wants it for this.
            self.directory.drop_next_key(device, &mut self.changes);
        }
        let code = register.code.as_deref().map(code_digest);
        let origin = Origin::of(&call.peer.address);
        let admission = self.admit(register.user, code.as_ref())?;
        self.budgets.take_registration(origin, self.now.mono_ms)?;
        if let Some(code) = &code {
            self.directory.remove_code(code, &mut self.changes);
        }
        let user = match admission {
            Admission::NewUser(name) => self.create_user(&name),
            Admission::NewDevice(user) => user,
        };
        let device = self.create_device(call, user, register.device, code.unwrap_or_default());
        Ok(self.registered(user, device))
    }

    fn registered_before(&self, user: LogNumber, device: u64, wanted: Option<&UserName>) -> Ruling {
        let name = self.directory.name_of(user);
        match wanted {
            Some(wanted) if wanted.as_str() != name => Err(refusal!(
                Code::WrongUser,
                "this key belongs to {}; another user needs a key of its own",
                name
            )),
            _ => Ok(self.registered(user, device)),
        }
    }

    fn registered(&self, user: LogNumber, device: u64) -> Option<Vec<u8>> {
        told(&reply::Registered {
            user: self.directory.name_of(user).to_owned(),
            device,
            durability: "fsync".into(),
        })
    }

    /// Decides what a new key may be.
    fn admit(
        &self,
        wanted: Option<UserName>,
        code: Option<&[u8; 32]>,
    ) -> Result<Admission, WireError> {
        let code = code.map(|digest| self.open_code(digest)).transpose()?;
        let of_code = code.and_then(|code| code.device_of);
        if let Some(user) = of_code {
            return self.admit_device(user, wanted.as_ref());
        }
        let name = match (wanted, code.and_then(|code| code.name.as_deref())) {
            (Some(wanted), Some(named)) if wanted.as_str() != named => {
                return Err(refusal!(Code::BadCode, "this code is for {}", named));
            }
            (Some(wanted), _) => wanted,
            (None, Some(named)) => {
                UserName::parse(named).map_err(|error| refusal!(Code::BadName, "{}", error))?
            }
            (None, None) => {
                return Err(refusal!(Code::BadRequest, "register needs a user's name"));
            }
        };
        self.admit_user(name, code.is_some())
    }

    fn admit_user(&self, name: UserName, has_code: bool) -> Result<Admission, WireError> {
        if let Some(address) = self.directory.by_name(name.as_str()) {
            let is_user = address.kind == AddressKind::User && address.state == AddressState::Live;
            return Err(if is_user {
                needs_code(&name)
            } else {
                name_taken(&name)
            });
        }
        match self.settings.registration {
            Registration::Closed => Err(refusal!(
                Code::RegistrationClosed,
                "this server takes no new users; ask its administrator"
            )),
            Registration::Invite if !has_code => Err(refusal!(
                Code::NeedsCode,
                "a new user needs an invitation here; ask somebody for one (mailctl invite), then: \
                 mailctl join CODE"
            )),
            _ => Ok(Admission::NewUser(name)),
        }
    }

    fn admit_device(
        &self,
        user: LogNumber,
        wanted: Option<&UserName>,
    ) -> Result<Admission, WireError> {
        let is_live = |address: &&AddressRecord| address.state == AddressState::Live;
        let Some(address) = self.directory.address(user).filter(is_live) else {
            return Err(refusal!(
                Code::BadCode,
                "the user this code is for was removed"
            ));
        };
        self.let_in(user, 0)?;
        let name = &address.name;
        if wanted.is_some_and(|wanted| wanted.as_str() != name) {
            return Err(refusal!(Code::BadCode, "this code is for {}", name));
        }
        if self.directory.devices_of(user).count() >= limits::DEVICES_PER_USER_MAX {
            return Err(refusal!(Code::LimitReached, "{} has 64 devices", name));
        }
        Ok(Admission::NewDevice(user))
    }

    fn open_code(&self, digest: &[u8; 32]) -> Result<&CodeRecord, WireError> {
        let code = self
            .directory
            .code(digest)
            .filter(|c| c.expires_at_ms > self.now.wall_ms);
        code.ok_or_else(|| {
            refusal!(
                Code::BadCode,
                "no such invitation, or it was used or ended; ask for another"
            )
        })
    }

    pub(super) fn create_user(&mut self, name: &UserName) -> LogNumber {
        let wall_ms = self.now.wall_ms;
        self.directory
            .create_address(name.as_str(), AddressKind::User, wall_ms, &mut self.changes)
    }

    /// Makes a device: it gets all that is kept of the user's own mail, and topics from now on.
    fn create_device(&mut self, call: &Call, user: LogNumber, name: String, code: [u8; 32]) -> u64 {
        let record = DeviceRecord {
            number: 0,
            key: call.peer.key,
            user,
            name,
            since: self.mail_counters.mail,
            created_at_ms: self.now.wall_ms,
            seen_running_s: self.running_s(),
            code,
        };
        let device = self.directory.create_device(record, &mut self.changes);
        let logs: Vec<LogNumber> = self.directory.logs_of(user).collect();
        for log in logs {
            let mark = if log == user {
                self.logs.record(log).floor
            } else {
                self.logs.head(log)
            };
            self.logs.put_cursor(device, log, mark, &mut self.changes);
        }
        device
    }

    /// Makes a single-use code.
    pub(super) fn invite(&mut self, call: &Call, invite: request::Invite) -> Ruling {
        let actor = self.actor(&call.peer.key)?;
        let is_admin = actor.role == Role::Admin;
        let by = if is_admin && invite.session.is_empty() {
            0
        } else {
            self.who(call, &invite.session)?.user
        };
        let device_of = match (invite.device, &invite.user) {
            (false, _) => None,
            (true, None) if by == 0 => {
                return Err(refusal!(Code::BadRequest, "for which user is the device?"));
            }
            (true, None) => Some(by),
            (true, Some(name)) => Some(self.device_owner(name, by, is_admin)?),
        };
        if device_of.is_none() && self.settings.registration == Registration::Closed && !is_admin {
            return Err(refusal!(
                Code::RegistrationClosed,
                "this server takes no new users"
            ));
        }
        if let (None, Some(name)) = (device_of, &invite.user) {
            self.check_invitable(name)?;
        }
        if !is_admin && self.directory.codes_by(by) >= limits::CODES_PER_USER_MAX {
            return Err(refusal!(Code::LimitReached, "you have 32 invitations open"));
        }
        let name = invite
            .user
            .filter(|_| device_of.is_none())
            .map(String::from);
        if is_admin && device_of != Some(by) {
            // With it somebody else's mail can be read, or a closed server be entered.
            let whose = device_of.map_or(name.as_deref().unwrap_or_default(), |user| {
                self.directory.name_of(user)
            });
            let whose = whose.to_owned();
            let note = if device_of.is_some() { "device" } else { "" };
            self.audit(&actor, "invite", &whose, &Vec::new(), note.to_owned());
        }
        let (code, expires_at_ms) = self.new_code(call, by, device_of, name);
        Ok(told(&reply::Invited {
            code,
            expires_at: time::to_text(expires_at_ms),
            durability: "fsync".into(),
        }))
    }

    /// Makes a code that nobody can guess; returns it with when it ends.
    pub(super) fn new_code(
        &mut self,
        call: &Call,
        by: LogNumber,
        device_of: Option<LogNumber>,
        name: Option<String>,
    ) -> (String, i64) {
        let code = hex::encode(&call.random[..10]);
        let expires_at_ms = self.now.wall_ms + 1_000 * limits::CODE_SECONDS.cast_signed();
        let record = CodeRecord {
            digest: code_digest(&code),
            by,
            device_of,
            name,
            expires_at_ms,
        };
        self.directory.add_code(record, &mut self.changes);
        (code, expires_at_ms)
    }

    /// Refuses a code for a new user of a name that nobody can take.
    fn check_invitable(&self, name: &UserName) -> Result<(), WireError> {
        let Some(address) = self.directory.by_name(name.as_str()) else {
            return Ok(());
        };
        let is_user = address.kind == AddressKind::User && address.state == AddressState::Live;
        Err(if is_user {
            refusal!(
                Code::IsAUser,
                "{} is a user already; a further device of {} is invited where {} is logged in: mailctl invite --device",
                name,
                name,
                name
            )
        } else {
            name_taken(name)
        })
    }

    fn device_owner(
        &self,
        name: &UserName,
        by: LogNumber,
        is_admin: bool,
    ) -> Result<LogNumber, WireError> {
        let user = self
            .directory
            .live(name.as_str())
            .filter(|a| a.kind == AddressKind::User);
        match user {
            Some(user) if is_admin || user.number == by => Ok(user.number),
            Some(_) => Err(refusal!(
                Code::Denied,
                "a device is invited by its own user"
            )),
            None => Err(self.no_such_address(name.as_str())),
        }
    }

    /// Ends all sessions of the caller's device; with `forget`, the device is no more.
    pub(super) fn logout(&mut self, call: &Call, logout: &request::Logout) -> Ruling {
        let Some(device) = self.directory.device_of_key(&call.peer.key) else {
            // Said again after the device was forgotten, it is still true.
            return if logout.forget {
                Ok(done())
            } else {
                Err(not_registered())
            };
        };
        let device = device.number;
        for session in self.sessions.of_device(device) {
            self.end_session(&session);
        }
        if logout.forget {
            self.remove_device(device);
        }
        Ok(done())
    }

    /// Removes a device: its key is worth nothing from now on, also on connections it still has.
    pub(super) fn remove_device(&mut self, device: u64) {
        for session in self.sessions.of_device(device) {
            self.end_session(&session);
        }
        let Some(key) = self.directory.device(device).map(|device| device.key) else {
            return;
        };
        self.streams.drop_device(device, &mut self.changes);
        self.presence.drop_device(device, &mut self.changes);
        self.logs.drop_device(device, &mut self.changes);
        self.directory.remove_device(device, &mut self.changes);
        self.take_back_grants(&key);
    }
}

/// Refuses a device's name that is too long.
pub(super) fn check_device_name(name: &str) -> Result<(), WireError> {
    if name.len() > limits::DEVICE_NAME_BYTES_MAX {
        return Err(refusal!(
            Code::TooLarge,
            "a device's name has at most 64 bytes"
        ));
    }
    Ok(())
}

fn needs_code(name: &UserName) -> WireError {
    refusal!(
        Code::NeedsCode,
        "{} exists and this key is not one of its devices; as {} on a known device run: \
             mailctl invite --device, then here: mailctl join CODE",
        name,
        name
    )
}

fn name_taken(name: &UserName) -> WireError {
    refusal!(
        Code::NameTaken,
        "the name {} is taken; choose another",
        name
    )
}
