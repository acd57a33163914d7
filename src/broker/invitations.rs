//! Invitations to chats: which stand open, which were accepted, and which somebody must still hear of.
//!
//! Plain data with indexes. It changes only by the methods here, which note the [`Change`]s that make
//! the same so on disk; what may be asked and who is told is in `invitation`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::leases::SessionKey;
use crate::limits;
use crate::protocol::LogNumber;
use crate::store::{Change, ChatSide, InvitationRecord, InvitationState};

/// An invitation's name in memory and in the store.
pub(super) type ChatKey = [u8; 16];

/// Milliseconds in which the asks of one user are counted.
const BUDGET_MS: u64 = 60_000;

/// All invitations that anybody may still need.
#[derive(Debug, Default)]
pub(super) struct Invitations {
    by_chat: BTreeMap<ChatKey, InvitationRecord>,
    /// Those that name a user, on either side, oldest first.
    of_user: HashMap<LogNumber, BTreeSet<(i64, ChatKey)>>,
    /// When open ones expire and accepted ones are forgotten, on the monotonic clock.
    due: BTreeSet<(u64, ChatKey)>,
    due_of: HashMap<ChatKey, u64>,
    /// When each user asked, within the last minute.
    asks: HashMap<LogNumber, VecDeque<u64>>,
}

impl Invitations {
    pub(super) fn get(&self, chat: &ChatKey) -> Option<&InvitationRecord> {
        self.by_chat.get(chat)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &InvitationRecord> {
        self.by_chat.values()
    }

    /// Returns those that name a user, on either side, oldest first.
    pub(super) fn of_user(&self, user: LogNumber) -> impl Iterator<Item = &InvitationRecord> {
        let chats = self.of_user.get(&user).into_iter().flatten();
        chats.filter_map(|(_, chat)| self.by_chat.get(chat))
    }

    /// Returns those to a user that are open, oldest first.
    pub(super) fn open_to(&self, user: LogNumber) -> impl Iterator<Item = &InvitationRecord> {
        self.of_user(user)
            .filter(move |record| record.to == user && record.state == InvitationState::Open)
    }

    /// Returns those to a user that ended before he saw them, oldest first.
    pub(super) fn missed_by(&self, user: LogNumber) -> impl Iterator<Item = &InvitationRecord> {
        self.of_user(user)
            .filter(move |record| record.to == user && is_missed(record))
    }

    /// Returns those that a session made, oldest first.
    pub(super) fn made_by<'a>(
        &'a self,
        user: LogNumber,
        session: &'a SessionKey,
    ) -> impl Iterator<Item = &'a InvitationRecord> {
        self.of_user(user)
            .filter(move |record| record.asker.session == *session)
    }

    /// Puts an invitation of the store in force again.
    pub(super) fn place(&mut self, record: InvitationRecord, due_ms: Option<u64>) {
        let chat = record.chat;
        for user in [record.from, record.to] {
            self.of_user
                .entry(user)
                .or_default()
                .insert((record.asked_at_ms, chat));
        }
        self.by_chat.insert(chat, record);
        self.set_due(chat, due_ms);
    }

    pub(super) fn add(&mut self, record: InvitationRecord, due_ms: u64, changes: &mut Vec<Change>) {
        changes.push(Change::PutInvitation(record.clone()));
        self.place(record, Some(due_ms));
    }

    /// Ends an open invitation. Returns it as it stands then; nothing when it was not open.
    pub(super) fn end(
        &mut self,
        chat: &ChatKey,
        state: InvitationState,
        changes: &mut Vec<Change>,
    ) -> Option<InvitationRecord> {
        let record = self
            .by_chat
            .get_mut(chat)
            .filter(|record| is_open(record))?;
        record.state = state;
        changes.push(Change::PutInvitation(record.clone()));
        let ended = record.clone();
        self.set_due(*chat, None);
        Some(ended)
    }

    /// Gives an open invitation its other side. Returns it as it stands then.
    pub(super) fn accept(
        &mut self,
        chat: &ChatKey,
        accepter: ChatSide,
        due_ms: u64,
        changes: &mut Vec<Change>,
    ) -> Option<InvitationRecord> {
        let record = self
            .by_chat
            .get_mut(chat)
            .filter(|record| is_open(record))?;
        record.state = InvitationState::Accepted;
        record.accepter = Some(accepter);
        changes.push(Change::PutInvitation(record.clone()));
        let taken = record.clone();
        self.set_due(*chat, Some(due_ms));
        Some(taken)
    }

    /// Notes that the user asked was told of a missed one.
    pub(super) fn see(&mut self, chat: &ChatKey, changes: &mut Vec<Change>) {
        if let Some(record) = self
            .by_chat
            .get_mut(chat)
            .filter(|record| is_missed(record))
        {
            record.seen = true;
            changes.push(Change::PutInvitation(record.clone()));
        }
    }

    pub(super) fn remove(&mut self, chat: &ChatKey, changes: &mut Vec<Change>) {
        let Some(record) = self.by_chat.remove(chat) else {
            return;
        };
        for user in [record.from, record.to] {
            if let Some(chats) = self.of_user.get_mut(&user) {
                chats.remove(&(record.asked_at_ms, *chat));
                if chats.is_empty() {
                    self.of_user.remove(&user);
                }
            }
        }
        self.set_due(*chat, None);
        changes.push(Change::RemoveInvitation(*chat));
    }

    /// Returns one whose time has come, the earliest first.
    pub(super) fn next_due(&self, mono_ms: u64) -> Option<ChatKey> {
        let (due_ms, chat) = self.due.first()?;
        (*due_ms <= mono_ms).then_some(*chat)
    }

    /// Returns the milliseconds until an invitation's time comes.
    pub(super) fn left_ms(&self, chat: &ChatKey, mono_ms: u64) -> u64 {
        let due_ms = self.due_of.get(chat);
        due_ms.map_or(0, |due_ms| due_ms.saturating_sub(mono_ms))
    }

    fn set_due(&mut self, chat: ChatKey, due_ms: Option<u64>) {
        if let Some(before) = self.due_of.remove(&chat) {
            self.due.remove(&(before, chat));
        }
        if let Some(due_ms) = due_ms {
            self.due.insert((due_ms, chat));
            self.due_of.insert(chat, due_ms);
        }
    }

    // -- the budget --

    /// Counts an ask of a user, or says after how many milliseconds he may ask again.
    pub(super) fn count_ask(&mut self, user: LogNumber, mono_ms: u64) -> Result<(), u64> {
        let asks = self.asks.entry(user).or_default();
        while asks.front().is_some_and(|at| at + BUDGET_MS <= mono_ms) {
            asks.pop_front();
        }
        match asks.front() {
            Some(oldest) if asks.len() >= limits::INVITATIONS_PER_MINUTE => {
                Err(oldest + BUDGET_MS - mono_ms)
            }
            _ => {
                asks.push_back(mono_ms);
                Ok(())
            }
        }
    }

    /// Forgets asks that count no more, of users who do not ask again.
    pub(super) fn forget_old_asks(&mut self, mono_ms: u64) {
        let counts = |at: &u64| at + BUDGET_MS > mono_ms;
        self.asks.retain(|_, asks| asks.back().is_some_and(counts));
    }
}

pub(super) fn is_open(record: &InvitationRecord) -> bool {
    record.state == InvitationState::Open
}

/// Says whether the user asked must still hear that he missed it.
pub(super) fn is_missed(record: &InvitationRecord) -> bool {
    use InvitationState::{Expired, Withdrawn};
    !record.seen && matches!(record.state, Expired | Withdrawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_minutes_and_one_users() {
        let mut invitations = Invitations::default();
        for at in 0..limits::INVITATIONS_PER_MINUTE as u64 {
            assert_eq!(invitations.count_ask(1, at), Ok(()));
        }
        assert_eq!(invitations.count_ask(1, 1_000), Err(59_000));
        assert_eq!(invitations.count_ask(2, 1_000), Ok(()));
        assert_eq!(invitations.count_ask(1, 60_000), Ok(()), "one fell out");
        assert_eq!(invitations.count_ask(1, 60_000), Err(1));
        invitations.forget_old_asks(120_000);
        assert!(invitations.asks.is_empty());
    }
}
