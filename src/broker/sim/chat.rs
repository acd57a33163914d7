//! Chats in the simulator: what devices say of invitations, and what must be true of the answers.

use std::collections::{BTreeMap, HashMap};

use super::ledger::Ledger;
use super::rng::Rng;
use crate::protocol::PublicKey;
use crate::protocol::codes::Code;
use crate::protocol::reply::{self, ChatRow, ChatState, Introduction};
use crate::protocol::request::{self, ChatId, Request};
use crate::store::Change;

/// What a device's process knows of chats.
#[derive(Debug, Default)]
pub(super) struct Chatting {
    /// An ask that was not answered yet: whom, and under which word.
    asking: Option<(String, String)>,
    asks: u64,
    rows: BTreeMap<ChatId, ChatRow>,
}

impl Chatting {
    /// Chooses what to say; the session holds a confirmed lease.
    pub(super) fn choose(
        &mut self,
        rng: &mut Rng,
        session: String,
        user: &str,
        addresses: &[String],
    ) -> Request {
        let chats: Vec<&ChatRow> = self.rows.values().collect();
        let known = (!chats.is_empty()).then(|| rng.pick(&chats));
        match (rng.below(12), known) {
            (0..=3, Some(row)) if row.to == user => accept(session, &row.chat),
            (4, Some(row)) if row.to == user => Request::ChatDecline(request::ChatDecline {
                session,
                chat: row.chat.clone(),
                busy: rng.chance(50),
            }),
            (5, Some(row)) => Request::ChatWithdraw(request::ChatWithdraw {
                session,
                chat: row.chat.clone(),
            }),
            (6, Some(row)) => Request::ChatSeen(request::ChatSeen {
                session,
                chats: vec![row.chat.clone()],
            }),
            (7, _) => {
                let other = someone(rng, user, addresses);
                block(rng, session, &other)
            }
            _ => self.ask(rng, session, user, addresses),
        }
    }

    /// Asks anew, or repeats the ask that is not answered.
    fn ask(&mut self, rng: &mut Rng, session: String, user: &str, addresses: &[String]) -> Request {
        let (user, nonce) = self.asking.clone().unwrap_or_else(|| {
            self.asks += 1;
            (someone(rng, user, addresses), self.asks.to_string())
        });
        self.asking = Some((user.clone(), nonce.clone()));
        Request::ChatAsk(request::ChatAsk {
            session,
            user: user.parse().expect("users of the simulator are names"),
            host: None,
            nonce: Some(nonce),
        })
    }

    /// An ask was answered, for good unless the session was over.
    pub(super) fn answered(&mut self, asked: Option<reply::Asked>, code: Option<Code>) {
        if let Some(asked) = asked {
            self.hear(asked.row);
        }
        if !matches!(code, Some(Code::NoSession | Code::ShutOut)) {
            self.asking = None;
        }
    }

    /// Takes in what a heartbeat lists.
    pub(super) fn listed(&mut self, rows: Vec<ChatRow>) {
        self.rows.clear();
        for row in rows {
            self.hear(row);
        }
    }

    /// Takes in how an invitation stands.
    pub(super) fn hear(&mut self, row: ChatRow) {
        self.rows.insert(row.chat.clone(), row);
    }
}

fn someone(rng: &mut Rng, user: &str, addresses: &[String]) -> String {
    let is_user = |name: &&String| !name.contains('/') && *name != "news" && *name != user;
    let users: Vec<&String> = addresses.iter().filter(is_user).collect();
    rng.pick(&users).clone()
}

fn accept(session: String, chat: &ChatId) -> Request {
    Request::ChatAccept(request::ChatAccept {
        session,
        chat: chat.clone(),
        host: None,
    })
}

fn block(rng: &mut Rng, session: String, user: &str) -> Request {
    let user = user.parse().expect("users of the simulator are names");
    let block = request::Block { session, user };
    if rng.chance(30) {
        Request::Block(block)
    } else {
        Request::Unblock(block)
    }
}

/// What was ever true and told of chats.
#[derive(Debug, Default, Clone)]
pub(super) struct Chats {
    /// Port and device of every lease, by its epoch.
    leases: HashMap<u64, (u16, u64)>,
    /// Keys of each device, the newest last: what was decided before a change is told after it.
    keys: HashMap<u64, Vec<PublicKey>>,
    /// The session that was told to have won each chat, and what it was told.
    won: BTreeMap<ChatId, (String, Introduction)>,
}

impl Chats {
    pub(super) fn committing(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::PutLease(lease) => {
                    self.leases.insert(lease.epoch, (lease.port, lease.device));
                }
                Change::PutDevice(device) => {
                    self.keys.entry(device.number).or_default().push(device.key);
                }
                _ => {}
            }
        }
    }

    /// Numbers that were never on disk are given out again.
    pub(super) fn restarted(&mut self, synced: &Ledger) {
        let devices = synced.devices.iter();
        self.keys = devices
            .map(|(number, (_, key))| (*number, vec![*key]))
            .collect();
    }

    /// A session was told to have won: on disk (P1), for good (P13), alone and truly (P11).
    pub(super) fn introduced(
        &mut self,
        session: &str,
        said: &Introduction,
        on_disk: &BTreeMap<[u8; 16], [u8; 16]>,
    ) {
        let mut chat = [0; 16];
        hex::decode_to_slice(&said.chat, &mut chat).expect("a chat's name is hex");
        let kept = on_disk.get(&chat).map(hex::encode);
        assert_eq!(
            kept.as_deref(),
            Some(session),
            "P1: {said:?} is not on disk"
        );
        let told = (session.to_owned(), said.clone());
        let first = self.won.entry(said.chat.clone()).or_insert(told.clone());
        assert_eq!(*first, told, "P11: two answers to one accept");
        let (port, device) = self.leases[&said.epoch];
        assert_eq!((said.port, said.device), (port, device), "P11: {said:?}");
        let is_its = |key: &PublicKey| hex::encode(key) == said.key;
        assert!(self.keys[&device].iter().any(is_its), "P4: {said:?}");
    }

    pub(super) fn count(&self) -> u64 {
        self.won.len() as u64
    }
}

/// Checks that a user hears of his own chats only, and of no state that a server cannot mean.
pub(super) fn concerns(user: Option<&str>, row: &ChatRow) {
    let is_his = user.is_some_and(|user| row.from == user || row.to == user);
    assert!(is_his, "P5: {user:?} saw {row:?}");
    assert_ne!(row.state, ChatState::Unknown);
}
