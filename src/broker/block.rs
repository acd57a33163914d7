//! Who takes nothing from whom: the set of blocks and its verbs.
//!
//! A blocked user's mail is refused by `send`, his invitations are answered as busy by `invitation`.

use std::collections::{BTreeMap, BTreeSet};

use super::core::{Core, Ruling, Who, done, told};
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::UserName;
use crate::protocol::{LogNumber, reply, request};
use crate::store::{AddressKind, BlockRecord, Change};

/// Whom each user blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    by_user: BTreeMap<LogNumber, BTreeSet<LogNumber>>,
}

impl Blocks {
    /// Takes what the store held.
    pub(super) fn restore(records: Vec<BlockRecord>) -> Self {
        let mut blocks = Self::default();
        for record in records {
            blocks.insert(record);
        }
        blocks
    }

    pub(super) fn has(&self, user: LogNumber, blocked: LogNumber) -> bool {
        self.of(user).is_some_and(|users| users.contains(&blocked))
    }

    pub(super) fn of(&self, user: LogNumber) -> Option<&BTreeSet<LogNumber>> {
        self.by_user.get(&user)
    }

    pub(super) fn count(&self) -> usize {
        self.by_user.values().map(BTreeSet::len).sum()
    }

    fn insert(&mut self, record: BlockRecord) -> bool {
        self.by_user
            .entry(record.user)
            .or_default()
            .insert(record.blocked)
    }

    fn add(&mut self, record: BlockRecord, changes: &mut Vec<Change>) {
        if self.insert(record) {
            changes.push(Change::PutBlock(record));
        }
    }

    fn remove(&mut self, record: BlockRecord, changes: &mut Vec<Change>) {
        let Some(users) = self.by_user.get_mut(&record.user) else {
            return;
        };
        if users.remove(&record.blocked) {
            changes.push(Change::RemoveBlock(record));
        }
        if users.is_empty() {
            self.by_user.remove(&record.user);
        }
    }

    /// Removes every block that names a user: he is gone.
    pub(super) fn forget(&mut self, user: LogNumber, changes: &mut Vec<Change>) {
        let naming: Vec<BlockRecord> = self
            .by_user
            .iter()
            .flat_map(|(by, users)| users.iter().map(|blocked| (*by, *blocked)))
            .filter(|(by, blocked)| *by == user || *blocked == user)
            .map(|(user, blocked)| BlockRecord { user, blocked })
            .collect();
        for record in naming {
            self.remove(record, changes);
        }
    }
}

impl Core {
    /// Blocks a user. His open invitations to the caller are answered as any busy user's would be.
    pub(super) fn block(&mut self, who: Who, block: &request::Block) -> Ruling {
        let blocked = self.live_user(&block.user)?;
        if blocked == who.user {
            return Err(refusal!(
                Code::BadRequest,
                "nobody blocks himself; name another user"
            ));
        }
        let count = self.blocks.of(who.user).map_or(0, BTreeSet::len);
        if count >= limits::BLOCKS_MAX && !self.blocks.has(who.user, blocked) {
            return Err(refusal!(
                Code::LimitReached,
                "you block 1024 users, which is the limit; unblock one first"
            ));
        }
        let record = BlockRecord {
            user: who.user,
            blocked,
        };
        self.blocks.add(record, &mut self.changes);
        self.turn_away(who.user, blocked);
        Ok(done())
    }

    /// Takes a block back. Said again, it is taken back.
    pub(super) fn unblock(&mut self, who: Who, block: &request::Block) -> Ruling {
        let record = BlockRecord {
            user: who.user,
            blocked: self.live_user(&block.user)?,
        };
        self.blocks.remove(record, &mut self.changes);
        Ok(done())
    }

    pub(super) fn blocks(&self, who: Who, blocks: &request::Blocks) -> Option<Vec<u8>> {
        let numbers = self.blocks.of(who.user).into_iter().flatten();
        let mut users: Vec<String> = numbers
            .map(|user| self.directory.name_of(*user).to_owned())
            .filter(|name| blocks.after.as_ref().is_none_or(|after| name > after))
            .collect();
        users.sort_unstable();
        let more = users.len() > limits::ROWS_MAX;
        users.truncate(limits::ROWS_MAX);
        let more_after = users.last().cloned().filter(|_| more);
        told(&reply::Blocks { users, more_after })
    }

    /// Finds a user who is there.
    pub(super) fn live_user(&self, name: &UserName) -> Result<LogNumber, WireError> {
        let address = self.directory.live(name.as_str());
        match address {
            Some(address) if address.kind == AddressKind::User => Ok(address.number),
            Some(_) => Err(refusal!(
                Code::NoSuchAddress,
                "{} is a topic, not a user",
                name
            )),
            None => Err(self.no_such_address(name.as_str())),
        }
    }
}
