//! Another key for the same device, and coming in with it wherever somebody died on the way.
//!
//! The new key is on disk before the server hears of it, and the old one is forgotten only when the server has taken
//! the new one in its place: at any moment one of the two files holds the device's key, and `open` finds out which.

use super::{Options, Session};
use crate::client::error::ClientError;
use crate::client::home::Account;
use crate::protocol::codes::Code;
use crate::protocol::request::{self, Request};

/// Gives the account's device another key, and returns the account with it. Told again after a crash at any point, it
/// goes on where it was.
pub fn rotate(account: &Account, options: &Options) -> Result<Account, ClientError> {
    let _lock = account.lock_key()?;
    let next = account.next()?;
    let mut session = Session::open_as_either(account, &next, options)?;
    if session.account.public_key() != next.public_key() {
        session.done(|session| {
            let key = hex::encode(next.public_key());
            Request::Rotate(request::Rotate { session, key })
        })?;
        session = Session::open_as(&next, options.clone())?;
    }
    next.settle_key()?;
    drop(session.close());
    Ok(next)
}

impl Session {
    /// Opens a session with a device's key, or with the one that took its place before somebody died.
    fn open_as_either(
        account: &Account,
        next: &Account,
        options: &Options,
    ) -> Result<Self, ClientError> {
        match Self::open_as(account, options.clone()) {
            Err(error) if error.is_refused(Code::NotRegistered) => {
                let other = Self::open_as(next, options.clone());
                other.map_err(|other| if is_unknown(&other) { error } else { other })
            }
            opened => opened,
        }
    }

    /// Opens a session with another key of this device on disk, if there is one and it is the right one.
    pub(super) fn open_as_others(
        account: &Account,
        options: &Options,
    ) -> Option<Result<Self, ClientError>> {
        let others = match account.others() {
            Ok(others) => others,
            Err(error) => return Some(Err(error.into())),
        };
        for other in others {
            match Self::open_as(&other, options.clone()) {
                Err(error) if is_unknown(&error) => {}
                Err(error) => return Some(Err(error)),
                Ok(session) => return Some(session.settled()),
            }
        }
        None
    }

    fn settled(self) -> Result<Self, ClientError> {
        self.account.settle_key()?;
        Ok(self)
    }

    /// Goes on with another key of this device on disk: its key was changed by another process.
    pub(super) fn take_other_key(
        &mut self,
        error: ClientError,
        deadline_ms: u64,
    ) -> Result<(), ClientError> {
        let known = self.account.clone();
        for other in known.others()? {
            self.connection.change_keys(other.keys()?)?;
            self.account = other;
            match self.login_again(deadline_ms) {
                Err(error) if is_unknown(&error) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(self.account.settle_key()?),
            }
        }
        self.account = known;
        self.connection.change_keys(self.account.keys()?)?;
        Err(error)
    }
}

fn is_unknown(error: &ClientError) -> bool {
    error.is_refused(Code::NotRegistered)
}
