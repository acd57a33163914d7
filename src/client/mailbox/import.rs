//! Imported mail beside the received: what is here already, and where new files go.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::PathBuf;

use super::held::{Held, Key, SUM_DIGITS, Sum, sum_name};
use super::{Mailbox, Name, Round};
use crate::client::files::{self, FileError, failed};
use crate::client::mime;
use crate::protocol::{LogNumber, MailId};

/// What is here, as an import needs to know it.
#[derive(Debug)]
pub struct Stock {
    imported: HashSet<Sum>,
    received: HashMap<(MailId, LogNumber), Vec<PathBuf>>,
}

impl Stock {
    /// Returns the sum of a message, in hexadecimal digits.
    pub fn digits(message: &[u8]) -> String {
        blake3::hash(message).to_hex()[..SUM_DIGITS].to_owned()
    }

    /// Returns the file name of a message, without flags; nothing when it is here.
    pub fn new_name(&mut self, digits: &str, copy: u32) -> Option<String> {
        let sum = Sum {
            digits: digits.to_owned(),
            copy,
        };
        let name = sum_name(&sum);
        self.imported.insert(sum).then_some(name)
    }

    /// Says whether a message is a file of this very mailbox: what was exported from it.
    pub fn has_received(&self, message: &[u8]) -> bool {
        if self.received.is_empty() || !mime::is_ours(message) {
            return false;
        }
        let Some(mail) = mime::parse(message.to_vec()) else {
            return false;
        };
        let files = self.received.get(&(mail.envelope.id, mail.log));
        let is_it = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes == message);
        files.is_some_and(|files| files.iter().any(is_it))
    }
}

impl Mailbox {
    /// Returns what is here.
    pub fn stock(&self) -> Result<Stock, FileError> {
        let mut stock = Stock {
            imported: HashSet::new(),
            received: HashMap::new(),
        };
        for held in self.held()? {
            match held.key {
                Key::Imported(sum) => {
                    stock.imported.insert(sum);
                }
                Key::Received(name) => {
                    let files = stock.received.entry((name.id, name.log)).or_default();
                    files.push(held.path);
                }
            }
        }
        Ok(stock)
    }

    /// Makes the folders of imported mail, removes what an import that died left aside, and keeps other imports
    /// away until the lock is dropped.
    pub fn begin_import(&self) -> Result<File, FileError> {
        let lock = files::lock(&self.account.join("import.lock"))?;
        for part in ["tmp", "new", "cur"] {
            files::make_folder(&self.imported_folder(part))?;
        }
        let aside = self.imported_folder("tmp");
        for name in files::names(&aside)?.filter(|name| name.ends_with(".import")) {
            files::remove(&aside.join(name))?;
        }
        Ok(lock)
    }

    /// Returns a folder of imported mail.
    pub fn import_folder(&self, part: &str) -> PathBuf {
        self.imported_folder(part)
    }

    /// Reads the file of a mail that is here, as it is.
    pub fn bytes(&self, held: &Held) -> Result<Vec<u8>, FileError> {
        let read = |held: &Held| fs::read(&held.path).map_err(failed("read", &held.path));
        match read(held) {
            Err(error) if error.is_missing() => match self.find_key(&held.key)? {
                Some(moved) => read(&moved),
                None => Err(error),
            },
            read => read,
        }
    }

    /// Returns what a mail's file is called elsewhere: the same for the same mail, and told apart from those of
    /// other servers.
    pub fn name_elsewhere(&self, held: &Held) -> String {
        match &held.key {
            Key::Received(_) => format!("{}.{}", self.server, held.key.text()),
            Key::Imported(_) => held.key.text(),
        }
    }
}

impl Held {
    /// Returns what orders mails as they came: those of before the server went back first, then by number; imported ones at
    /// the end.
    pub fn order(&self) -> (bool, Round, MailId, Option<String>, u32) {
        match &self.key {
            Key::Received(Name { round, id, .. }) => (false, *round, *id, None, 0),
            Key::Imported(sum) => (true, 0, 0, Some(sum.digits.clone()), sum.copy),
        }
    }
}
