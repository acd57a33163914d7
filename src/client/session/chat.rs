//! Invitations to direct chats and the list of who is blocked: one request each. What a chat itself is
//! made of is in [`chat`](crate::chat).

use std::collections::BTreeMap;

use super::Session;
use super::watch::Event;
use crate::client::error::ClientError;
use crate::protocol::names::UserName;
use crate::protocol::reply::{self, ChatRow, ChatState};
use crate::protocol::request::{self, ChatId, Request};

/// Invitations whose state is remembered, so that each change is told once. More than can concern one
/// session at a time.
const REMEMBERED: usize = 256;

impl Session {
    /// Asks a user for a chat, on the port this session holds. `host` is where the other side reaches
    /// this one, when that is not the address the server sees.
    pub fn chat_ask(
        &mut self,
        user: &UserName,
        host: Option<&str>,
    ) -> Result<reply::Asked, ClientError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| ClientError::NoRandom)?;
        self.ask(|session| {
            Request::ChatAsk(request::ChatAsk {
                session,
                user: user.clone(),
                host: host.map(str::to_owned),
                nonce: Some(hex::encode(nonce)),
            })
        })
    }

    /// Accepts an invitation, on the port this session holds. Repeating it gives the same answer.
    pub fn chat_accept(
        &mut self,
        chat: &ChatId,
        host: Option<&str>,
    ) -> Result<reply::Introduction, ClientError> {
        self.ask(|session| {
            Request::ChatAccept(request::ChatAccept {
                session,
                chat: chat.clone(),
                host: host.map(str::to_owned),
            })
        })
    }

    /// Declines an invitation for all devices of this user; with `busy`, in other words.
    pub fn chat_decline(&mut self, chat: &ChatId, busy: bool) -> Result<(), ClientError> {
        self.done(|session| {
            Request::ChatDecline(request::ChatDecline {
                session,
                chat: chat.clone(),
                busy,
            })
        })
    }

    /// Takes an invitation of this session back.
    pub fn chat_withdraw(&mut self, chat: &ChatId) -> Result<(), ClientError> {
        self.done(|session| {
            Request::ChatWithdraw(request::ChatWithdraw {
                session,
                chat: chat.clone(),
            })
        })
    }

    /// Lists the invitations that are open to this user, those he missed, and those of this session.
    pub fn chats(&mut self) -> Result<Vec<ChatRow>, ClientError> {
        let reply: reply::Chats = self.ask(|session| Request::Chats(request::Chats { session }))?;
        Ok(reply.chats)
    }

    /// Says that these missed invitations were shown: no device is told of them again.
    pub fn chat_seen(&mut self, chats: &[ChatId]) -> Result<(), ClientError> {
        self.done(|session| {
            Request::ChatSeen(request::ChatSeen {
                session,
                chats: chats.to_vec(),
            })
        })
    }

    /// Blocks a user: his mail to this user is refused, his invitations are answered as busy.
    pub fn block(&mut self, user: &UserName) -> Result<(), ClientError> {
        self.done(|session| {
            Request::Block(request::Block {
                session,
                user: user.clone(),
            })
        })
    }

    /// Takes a block back.
    pub fn unblock(&mut self, user: &UserName) -> Result<(), ClientError> {
        self.done(|session| {
            Request::Unblock(request::Block {
                session,
                user: user.clone(),
            })
        })
    }

    /// Lists whom this user blocks: a page after `after`.
    pub fn blocks(&mut self, after: Option<&str>) -> Result<reply::Blocks, ClientError> {
        self.ask(|session| {
            Request::Blocks(request::Blocks {
                session,
                after: after.map(str::to_owned),
            })
        })
    }

    /// Takes in what a notice or a heartbeat says of an invitation.
    pub(super) fn learn_chat(&mut self, row: ChatRow) {
        self.watch.chats.learn(row, &mut self.watch.events);
    }

    /// Takes in the whole list of a heartbeat that was asked for when `open` were open.
    pub(super) fn learn_chats(&mut self, rows: Vec<ChatRow>, open: &[ChatId]) {
        let gone = |chat: &&ChatId| rows.iter().all(|row| row.chat != **chat);
        for chat in open.iter().filter(gone) {
            self.watch.chats.vanish(chat, &mut self.watch.events);
        }
        for row in rows {
            self.learn_chat(row);
        }
    }
}

/// What was told of which invitation.
#[derive(Debug, Default)]
pub(super) struct ChatStates {
    told: BTreeMap<ChatId, (u64, ChatRow)>,
    count: u64,
}

impl ChatStates {
    /// Returns those that were open when last heard of.
    pub(super) fn open(&self) -> Vec<ChatId> {
        let open = |row: &ChatRow| row.state == ChatState::Open;
        let rows = self.told.values().map(|(_, row)| row);
        rows.filter(|row| open(row))
            .map(|row| row.chat.clone())
            .collect()
    }

    /// Tells a state that is new. An answered invitation is never open again, so a notice that was
    /// overtaken by a heartbeat's reply says nothing.
    fn learn(&mut self, row: ChatRow, events: &mut impl Extend<Event>) {
        let known = self.told.get(&row.chat).map(|(_, known)| known.state);
        if known.is_some_and(|known| known == row.state || known != ChatState::Open) {
            return;
        }
        self.count += 1;
        self.told
            .insert(row.chat.clone(), (self.count, row.clone()));
        self.forget_oldest();
        events.extend([Event::Chat(row)]);
    }

    /// An open invitation is no longer listed: it was answered in a way that no notice told.
    fn vanish(&mut self, chat: &ChatId, events: &mut impl Extend<Event>) {
        if let Some((_, row)) = self.told.get(chat) {
            let state = ChatState::Unknown;
            let row = ChatRow {
                state,
                ..row.clone()
            };
            self.learn(row, events);
        }
    }

    fn forget_oldest(&mut self) {
        if self.told.len() <= REMEMBERED {
            return;
        }
        let age = |(count, row): &(u64, ChatRow)| (row.state == ChatState::Open, *count);
        let oldest = self.told.iter().min_by_key(|(_, entry)| age(entry));
        if let Some(chat) = oldest.map(|(chat, _)| chat.clone()) {
            self.told.remove(&chat);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(chat: &str, state: ChatState) -> ChatRow {
        ChatRow {
            chat: chat.into(),
            from: "ana".into(),
            to: "bob".into(),
            state,
            device: 1,
            asked_at: String::new(),
            expires_at: String::new(),
        }
    }

    #[test]
    fn each_change_is_told_once_and_never_backwards() {
        let mut states = ChatStates::default();
        let mut events = Vec::new();
        for state in [
            ChatState::Open,
            ChatState::Open,
            ChatState::Declined,
            ChatState::Open,
            ChatState::Declined,
        ] {
            states.learn(row("a", state), &mut events);
        }
        let told = [ChatState::Open, ChatState::Declined];
        assert_eq!(events, told.map(|state| Event::Chat(row("a", state))));
        assert!(states.open().is_empty());
    }

    #[test]
    fn what_vanished_is_told_and_little_is_remembered() {
        let mut states = ChatStates::default();
        let mut events = Vec::new();
        states.learn(row("a", ChatState::Open), &mut events);
        for at in 0..2 * REMEMBERED {
            states.learn(row(&at.to_string(), ChatState::Expired), &mut events);
        }
        assert_eq!(states.told.len(), REMEMBERED);
        assert_eq!(states.open(), ["a"], "open ones are kept longest");
        states.vanish(&"a".into(), &mut events);
        let last = events.pop();
        assert_eq!(last, Some(Event::Chat(row("a", ChatState::Unknown))));
    }
}
