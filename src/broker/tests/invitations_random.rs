//! Random talk of several users' devices about chats, with crashes between any two of its steps.
//!
//! What holds throughout: a chat has one winner, whoever was told anything, and through all crashes; an
//! introduction names the asker's key, port and epoch as they are; nobody hears of others' chats; nothing
//! is told before its commit; what was told of a chat never changes back.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::chatting::Party;
use super::world::key_of;
use super::*;
use crate::protocol::reply::{Asked, ChatRow, ChatState, Chats, Introduction};

/// Devices, by key, and their users.
const DEVICES: [(&str, &str); 5] = [
    ("ana", "ana"),
    ("ana's phone", "ana"),
    ("bob", "bob"),
    ("bob's phone", "bob"),
    ("kim", "kim"),
];

const USERS: [&str; 3] = ["ana", "bob", "kim"];

#[derive(Debug, Clone)]
enum Step {
    Ask {
        who: usize,
        user: usize,
        nonce: u8,
    },
    Accept {
        who: usize,
        chat: usize,
    },
    Decline {
        who: usize,
        chat: usize,
        busy: bool,
    },
    Withdraw {
        who: usize,
        chat: usize,
    },
    Seen {
        who: usize,
        chat: usize,
    },
    Chats {
        who: usize,
    },
    Block {
        who: usize,
        user: usize,
        on: bool,
    },
    /// Ends the session and opens another.
    Again {
        who: usize,
    },
    /// Gives the port back and takes another.
    OtherPort {
        who: usize,
    },
    Pass {
        ms: u64,
    },
    /// The disk is slow from here on.
    Hold,
    /// Everything reaches the disk.
    Settle,
    /// The process dies when so many of the commits under way were on disk.
    Crash {
        written: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..DEVICES.len();
    let user = || 0..USERS.len();
    let chat = || 0..8usize;
    prop_oneof![
        6 => (who(), user(), 0..3u8).prop_map(|(who, user, nonce)| Step::Ask { who, user, nonce }),
        6 => (who(), chat()).prop_map(|(who, chat)| Step::Accept { who, chat }),
        1 => (who(), chat(), any::<bool>())
            .prop_map(|(who, chat, busy)| Step::Decline { who, chat, busy }),
        1 => (who(), chat()).prop_map(|(who, chat)| Step::Withdraw { who, chat }),
        1 => (who(), chat()).prop_map(|(who, chat)| Step::Seen { who, chat }),
        1 => who().prop_map(|who| Step::Chats { who }),
        1 => (who(), user(), any::<bool>())
            .prop_map(|(who, user, on)| Step::Block { who, user, on }),
        1 => who().prop_map(|who| Step::Again { who }),
        1 => who().prop_map(|who| Step::OtherPort { who }),
        1 => prop_oneof![Just(1_000), Just(80_000)].prop_map(|ms| Step::Pass { ms }),
        3 => Just(Step::Hold),
        3 => Just(Step::Settle),
        2 => (0..4usize).prop_map(|written| Step::Crash { written }),
    ]
}

/// A request whose reply is not here yet.
struct Sent {
    who: usize,
    request: Request,
    /// Nothing was under way when it was made: its reply is of this very moment.
    now: bool,
}

struct Play {
    world: World,
    parties: Vec<Party>,
    /// Chats in the order in which anybody heard of them.
    chats: Vec<String>,
    sent: HashMap<Vec<u8>, Sent>,
    asked: usize,
    /// Who was ever told to have won a chat: a session.
    winners: BTreeMap<String, String>,
    /// What notices said of each chat last.
    noticed: HashMap<String, ChatState>,
}

impl Play {
    fn new() -> Self {
        let mut world = World::new();
        let mut parties: Vec<Party> = Vec::new();
        for (key, user) in DEVICES {
            let first = DEVICES.iter().position(|(_, of)| *of == user);
            let first = first.filter(|first| *first < parties.len());
            parties.push(match first {
                None => Party::new(&mut world, key),
                Some(first) => Party::further(&mut world, &parties[first], key, user),
            });
        }
        let mut play = Self {
            world,
            parties,
            chats: Vec::new(),
            sent: HashMap::new(),
            asked: 0,
            winners: BTreeMap::new(),
            noticed: HashMap::new(),
        };
        play.world.replies.clear();
        play.listen();
        play
    }

    fn listen(&mut self) {
        for party in &self.parties {
            party.listen(&mut self.world);
        }
    }

    fn take(&mut self, step: &Step) {
        let session = |who: usize| self.parties[who].device.session.clone();
        match *step {
            Step::Ask { who, user, nonce } => {
                let nonce = (nonce > 0).then(|| format!("{nonce}"));
                let ask = self.parties[who].ask_request(USERS[user], nonce.as_deref());
                self.say(who, ask);
            }
            Step::Accept { who, chat } => {
                let accept = self.parties[who].accept_request(&self.chat(chat));
                self.say(who, accept);
            }
            Step::Decline { who, chat, busy } => {
                let (session, chat) = (session(who), self.chat(chat));
                let decline = request::ChatDecline {
                    session,
                    chat,
                    busy,
                };
                self.say(who, Request::ChatDecline(decline));
            }
            Step::Withdraw { who, chat } => {
                let (session, chat) = (session(who), self.chat(chat));
                let withdraw = request::ChatWithdraw { session, chat };
                self.say(who, Request::ChatWithdraw(withdraw));
            }
            Step::Seen { who, chat } => {
                let (session, chats) = (session(who), vec![self.chat(chat)]);
                self.say(who, Request::ChatSeen(request::ChatSeen { session, chats }));
            }
            Step::Chats { who } => {
                let session = session(who);
                self.say(who, Request::Chats(request::Chats { session }));
            }
            Step::Block { who, user, on } => {
                let (session, user) = (session(who), USERS[user].parse().unwrap());
                let block = request::Block { session, user };
                let verb = if on { Request::Block } else { Request::Unblock };
                self.say(who, verb(block));
            }
            Step::Again { who } => self.log_in_again(who),
            Step::OtherPort { who } => self.take_another_port(who),
            Step::Pass { ms } => self.pass(ms),
            Step::Hold => self.world.held = true,
            Step::Settle => self.settle(),
            Step::Crash { written } => self.crash(written),
        }
        self.check();
    }

    /// Returns a chat that somebody has heard of, or one that never was.
    fn chat(&self, pick: usize) -> String {
        let newest_first = self.chats.iter().rev().nth(pick).cloned();
        newest_first.unwrap_or_else(|| "ab".repeat(16))
    }

    fn say(&mut self, who: usize, request: Request) {
        self.asked += 1;
        let id = self.asked.to_be_bytes().to_vec();
        let frames = vec![id.clone(), request.encode()];
        let now = self.world.under_way.is_empty() && !self.world.held;
        self.sent.insert(id, Sent { who, request, now });
        self.world.raw(DEVICES[who].0, frames);
    }

    fn settle(&mut self) {
        self.world.held = false;
        self.world.settle();
        self.check();
    }

    fn log_in_again(&mut self, who: usize) {
        self.settle();
        let party = &self.parties[who];
        let session = party.device.session.clone();
        self.say(who, Request::Close(request::Close { session }));
        self.check();
        self.parties[who] = Party::again(&mut self.world, DEVICES[who].0);
        self.parties[who].listen(&mut self.world);
    }

    fn take_another_port(&mut self, who: usize) {
        self.settle();
        let release = Request::LeaseRelease(self.parties[who].word());
        let released = self.parties[who].call::<reply::Done>(&mut self.world, &release);
        match released {
            Ok(_) => self.parties[who].take_port(&mut self.world),
            Err(_) => self.log_in_again(who),
        }
    }

    /// Time passes; a long time only on a slow disk, or everybody would be gone.
    fn pass(&mut self, ms: u64) {
        for who in 0..self.parties.len() {
            let session = self.parties[who].device.session.clone();
            let beat = request::Heartbeat { session, known: 0 };
            self.say(who, Request::Heartbeat(beat));
        }
        self.check();
        self.world.pass(ms);
    }

    fn crash(&mut self, written: usize) {
        for _ in 0..written {
            if let Some((_, changes)) = self.world.under_way.pop_front() {
                self.world.store.commit(&changes).unwrap();
            }
        }
        self.sent.clear();
        let world = std::mem::replace(&mut self.world, World::new());
        self.world = world.crash();
        self.listen();
    }

    // -- what must hold --

    fn check(&mut self) {
        let told = !self.world.replies.is_empty() || !self.world.notices.is_empty();
        assert!(
            self.world.under_way.is_empty() || !told,
            "told before its commit"
        );
        for (key, notice) in std::mem::take(&mut self.world.notices) {
            if let Notice::Chat { invitation } = notice {
                self.noticed(key.log, &invitation);
            }
        }
        for (_, frames) in std::mem::take(&mut self.world.replies) {
            if let Some(sent) = self.sent.remove(&frames[0]) {
                self.answered(&sent, &frames[1]);
            }
        }
    }

    fn noticed(&mut self, log: u64, row: &ChatRow) {
        let concerned = [&row.from, &row.to];
        let reader = self
            .parties
            .iter()
            .find(|p| p.device.login.logs[0].log == log);
        let reader = &reader.unwrap().device.login.user;
        assert!(concerned.contains(&reader), "{reader} was told of {row:?}");
        self.hear_of(&row.chat);
        let before = self.noticed.insert(row.chat.clone(), row.state);
        assert!(
            before.is_none_or(|before| before == ChatState::Open || before == row.state),
            "{before:?} became {row:?}"
        );
    }

    fn hear_of(&mut self, chat: &str) {
        if !self.chats.iter().any(|known| known == chat) {
            self.chats.push(chat.to_owned());
        }
    }

    fn answered(&mut self, sent: &Sent, header: &[u8]) {
        match sent.request {
            Request::ChatAsk(_) => {
                let Ok(asked) = reply::decode::<Asked>(header) else {
                    return;
                };
                self.hear_of(&asked.row.chat);
                match &asked.introduction {
                    Some(introduction) => self.introduced(sent, introduction),
                    None => self.waits(sent, &asked),
                }
            }
            Request::ChatAccept(_) => {
                if let Ok(introduction) = reply::decode(header) {
                    self.introduced(sent, &introduction);
                }
            }
            Request::Chats(_) => {
                let listed = reply::decode(header).map_or(Vec::new(), |chats: Chats| chats.chats);
                are_of(sent.who, &listed);
            }
            Request::Heartbeat(_) => {
                let rows = reply::decode(header).map_or(Vec::new(), |b: reply::Heartbeat| b.chats);
                are_of(sent.who, &rows);
            }
            _ => {}
        }
    }

    /// Somebody was told to wait: for the devices of the user asked, under their keys.
    fn waits(&self, sent: &Sent, asked: &Asked) {
        assert_eq!(asked.row.from, DEVICES[sent.who].1);
        for device in &asked.devices {
            let known = self.parties.iter().map(|party| &party.device);
            let named = known.filter(|known| known.login.device == device.device);
            let named: Vec<_> = named.collect();
            assert_eq!(named[0].login.user, asked.row.to);
            assert_eq!(hex::encode(key_of(named[0].key)), device.key);
        }
    }

    /// Somebody was told to have won.
    fn introduced(&mut self, sent: &Sent, said: &Introduction) {
        let session = sent.request.session().to_owned();
        let winner = self
            .winners
            .entry(said.chat.clone())
            .or_insert_with(|| session.clone());
        assert_eq!(*winner, session, "two won {}", said.chat);
        let mut parties = self.parties.iter();
        let asker = parties
            .find(|party| party.device.login.device == said.device)
            .unwrap();
        assert_eq!(said.key, hex::encode(key_of(asker.device.key)));
        assert_eq!(said.user, asker.device.login.user);
        if sent.now {
            asker.is_who(said);
        }
    }
}

/// Checks that rows concern the user of a device.
fn are_of(who: usize, rows: &[ChatRow]) {
    let user = DEVICES[who].1;
    for row in rows {
        assert!(row.from == user || row.to == user, "{user} sees {row:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn p11_a_chat_has_one_winner_who_is_told_the_truth(steps in prop::collection::vec(step(), 1..60)) {
        let mut play = Play::new();
        for step in &steps {
            play.take(step);
        }
        play.settle();
    }
}

/// The play is no proof unless things happen in it.
#[test]
fn the_random_talk_reaches_chats() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 60);
    let mut won = 0;
    for _ in 0..32 {
        let mut play = Play::new();
        for step in &steps.new_tree(&mut runner).unwrap().current() {
            play.take(step);
        }
        won += play.winners.len();
    }
    assert!(won >= 32, "only {won} chats in 32 plays");
}
