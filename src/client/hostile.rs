//! What is read back from a home that somebody else may have written to: the doors for `fuzz/`. Touches
//! no file.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::home::HomeFile;
use super::home::account::AccountFile;
use super::mailbox::{self, Mail, MarksFile};
use super::mime;
use super::outbox::{self, StreamFile};
use crate::protocol::{LogNumber, MailId};

/// Reads a mail's file.
pub fn mail_of(file: Vec<u8>) -> Option<Mail> {
    mime::parse(file)
}

/// Returns the header of a mail's file, and how much of the body it holds.
pub fn mail_header(mail: &Mail) -> (Vec<u8>, usize) {
    mime::header(mail, "server")
}

/// Reads the name of a mail's file; returns its names in `new/` and, with the same flags, in `cur/`.
pub fn mailbox_names(name: &str) -> Option<((u32, MailId, LogNumber), [String; 2])> {
    let place = mailbox::parse_name(name)?;
    let names = [mailbox::name_of(place), mailbox::cur_name(name)];
    Some(((place.round, place.id, place.log), names))
}

/// Reads the name of a file of the outbox as one of both kinds; returns it as it would be written.
pub fn outbox_names(name: &str) -> [Option<String>; 2] {
    let listed = outbox::parse_name(name).map(|(entry, at)| outbox::name_of(entry, &at));
    [listed, outbox::parse_done(name).map(outbox::done_name)]
}

/// Reads an entry of the outbox; returns it as it would be written.
pub fn outbox_entry(file: Vec<u8>) -> Option<Vec<u8>> {
    let path = Path::new("entry");
    let draft = outbox::parse_draft(path, file).ok()?;
    let header = outbox::header_of(path, &draft, &[]).ok()?;
    Some([header, draft.body].concat())
}

/// How many kinds of JSON files [`json_file`] knows.
pub const JSON_FILES: usize = 5;

/// Reads a JSON file of the home; returns it as it would be written.
pub fn json_file(kind: usize, file: &[u8]) -> Option<Vec<u8>> {
    match kind % JSON_FILES {
        0 => again::<HomeFile>(file),
        1 => again::<AccountFile>(file),
        2 => again::<MarksFile>(file),
        3 => again::<StreamFile>(file),
        _ => again::<u64>(file),
    }
}

fn again<T: DeserializeOwned + Serialize>(file: &[u8]) -> Option<Vec<u8>> {
    let value: T = serde_json::from_slice(file).ok()?;
    serde_json::to_vec_pretty(&value).ok()
}
