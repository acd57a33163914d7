//! Hands for tests of chats: what a device says about invitations, and what it is told.

use super::*;
use crate::protocol::reply::{Asked, ChatRow, Chats, Done, Introduction};

/// A side of a chat under test: a device's session, with a lease that it bound.
pub(super) struct Party {
    pub(super) device: Device,
    /// The port and epoch of its lease.
    pub(super) lease: (u16, u64),
}

impl Party {
    /// Registers a user with a first device, whose session holds a port.
    pub(super) fn new(world: &mut World, name: &'static str) -> Self {
        let device = Device::register(world, name);
        Self::on_lease(world, device)
    }

    /// Registers a further device of a user, by a code of his.
    pub(super) fn further(world: &mut World, of: &Party, key: &'static str, user: &str) -> Self {
        let invite = request::Invite {
            session: of.device.session.clone(),
            user: None,
            device: true,
        };
        let invited: reply::Invited = world
            .call(of.device.key, &Request::Invite(invite), None)
            .unwrap();
        let device = Device::register_with(world, key, user, Some(invited.code));
        Self::on_lease(world, device)
    }

    /// Another session of a device that is registered.
    pub(super) fn again(world: &mut World, key: &'static str) -> Self {
        let device = Device::login(world, key, &[]);
        Self::on_lease(world, device)
    }

    fn on_lease(world: &mut World, device: Device) -> Self {
        let mut party = Self {
            device,
            lease: (0, 0),
        };
        party.take_port(world);
        party
    }

    /// Leases a port and binds it.
    pub(super) fn take_port(&mut self, world: &mut World) {
        let session = self.device.session.clone();
        let lease = Request::Lease(request::Lease { session });
        let lent: reply::Lease = world.call(self.device.key, &lease, None).unwrap();
        self.lease = (lent.lease.port, lent.lease.epoch);
        let confirm = Request::LeaseConfirm(self.word());
        drop::<reply::Lease>(world.call(self.device.key, &confirm, None).unwrap());
    }

    pub(super) fn word(&self) -> request::LeaseWord {
        request::LeaseWord {
            session: self.device.session.clone(),
            port: self.lease.0,
            epoch: self.lease.1,
        }
    }

    pub(super) fn call<T: for<'a> serde::Deserialize<'a>>(
        &self,
        world: &mut World,
        request: &Request,
    ) -> Result<T, Code> {
        world.call(self.device.key, request, None)
    }

    pub(super) fn ask_request(&self, user: &str, nonce: Option<&str>) -> Request {
        Request::ChatAsk(request::ChatAsk {
            session: self.device.session.clone(),
            user: user.parse().unwrap(),
            host: None,
            nonce: nonce.map(str::to_owned),
        })
    }

    pub(super) fn ask(&self, world: &mut World, user: &str) -> Result<Asked, Code> {
        let ask = self.ask_request(user, None);
        self.call(world, &ask)
    }

    pub(super) fn accept_request(&self, chat: &str) -> Request {
        Request::ChatAccept(request::ChatAccept {
            session: self.device.session.clone(),
            chat: chat.to_owned(),
            host: None,
        })
    }

    pub(super) fn accept(&self, world: &mut World, chat: &str) -> Result<Introduction, Code> {
        self.call(world, &self.accept_request(chat))
    }

    pub(super) fn decline(&self, world: &mut World, chat: &str, busy: bool) -> Result<Done, Code> {
        let decline = request::ChatDecline {
            session: self.device.session.clone(),
            chat: chat.to_owned(),
            busy,
        };
        self.call(world, &Request::ChatDecline(decline))
    }

    pub(super) fn withdraw(&self, world: &mut World, chat: &str) -> Result<Done, Code> {
        let withdraw = request::ChatWithdraw {
            session: self.device.session.clone(),
            chat: chat.to_owned(),
        };
        self.call(world, &Request::ChatWithdraw(withdraw))
    }

    pub(super) fn seen(&self, world: &mut World, chats: &[&str]) {
        let seen = request::ChatSeen {
            session: self.device.session.clone(),
            chats: chats.iter().map(|chat| (*chat).to_owned()).collect(),
        };
        drop::<Done>(self.call(world, &Request::ChatSeen(seen)).unwrap());
    }

    /// Returns what `chats` lists, which is what a heartbeat brings too.
    pub(super) fn chats(&self, world: &mut World) -> Vec<ChatRow> {
        let session = self.device.session.clone();
        let chats = Request::Chats(request::Chats { session });
        let listed: Chats = self.call(world, &chats).unwrap();
        assert_eq!(self.beat(world).chats, listed.chats);
        listed.chats
    }

    /// Beats; after a restart of the server, as a client does: it logs in once more and goes on with its session.
    pub(super) fn beat(&self, world: &mut World) -> reply::Heartbeat {
        let session = self.device.session.clone();
        let beat = Request::Heartbeat(request::Heartbeat { session, known: 0 });
        match self.call(world, &beat) {
            Err(Code::NoSession) => drop(self.go_on(world)),
            told => return told.unwrap(),
        }
        self.call(world, &beat).unwrap()
    }

    /// Logs in once more, for the session there is.
    pub(super) fn go_on(&self, world: &mut World) -> reply::Login {
        let login = Request::Login(request::Login {
            resume: Some(self.device.session.clone()),
            ..request::Login::default()
        });
        let told: reply::Login = self.call(world, &login).unwrap();
        assert!(told.session_present, "its lease is in force");
        told
    }

    pub(super) fn block(&self, world: &mut World, user: &str) -> Result<Done, Code> {
        self.call(world, &Request::Block(self.block_request(user)))
    }

    pub(super) fn unblock(&self, world: &mut World, user: &str) -> Result<Done, Code> {
        self.call(world, &Request::Unblock(self.block_request(user)))
    }

    fn block_request(&self, user: &str) -> request::Block {
        request::Block {
            session: self.device.session.clone(),
            user: user.parse().unwrap(),
        }
    }

    pub(super) fn close(&self, world: &mut World) {
        let session = self.device.session.clone();
        let close = Request::Close(request::Close { session });
        drop::<Done>(self.call(world, &close).unwrap());
    }

    /// Subscribes to the notices of its own user.
    pub(super) fn listen(&self, world: &mut World) {
        let log = self.device.login.logs[0].clone();
        assert!(world.subscribe(self.device.key, &hex::decode(log.key).unwrap()));
    }

    /// Checks that what an introduction says of this side is true.
    pub(super) fn is_who(&self, said: &Introduction) {
        let key = hex::encode(super::world::key_of(self.device.key));
        assert_eq!((said.port, said.epoch), self.lease);
        assert_eq!(said.key, key);
        assert_eq!(said.device, self.device.login.device);
        assert_eq!(said.user, self.device.login.user);
    }
}

/// Returns the states of the chat notices so far, with the log each was published on.
pub(super) fn told_chats(world: &World) -> Vec<(u64, ChatRow)> {
    let notices = world.notices.iter();
    notices
        .filter_map(|(key, notice)| match notice {
            Notice::Chat { invitation } => Some((key.log, invitation.clone())),
            _ => None,
        })
        .collect()
}
