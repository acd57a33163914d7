//! What an entry of the outbox is called, and what stands in its file: one line of JSON, then the body.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Done, Draft, Number, Refusal, Standing};
use crate::client::files::{FileError, damaged, failed};
use crate::protocol::Answers;

#[derive(Serialize, Deserialize)]
pub(super) struct EntryHeader {
    v: u32,
    pub(super) to: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) subject: String,
    content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_s: Option<u64>,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answers: Option<Answers>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) refused: Vec<Refusal>,
}

pub(in crate::client) fn name_of(entry: u64, standing: &Standing) -> String {
    match standing {
        Standing::Draft => format!("{entry:016}.draft.mail"),
        Standing::Unsent => format!("{entry:016}.unsent.mail"),
        Standing::Queued => format!("{entry:016}.queued.mail"),
        Standing::Scheduled(at_ms) => format!("{entry:016}.at-{at_ms}.mail"),
        Standing::Held { since_ms, until_ms } => {
            format!("{entry:016}.held-{since_ms}-{until_ms}.mail")
        }
        Standing::InDoubt(at) => format!(
            "{entry:016}.{}-{}-{}.mail",
            at.stream, at.number, at.settled_below
        ),
        Standing::Lost { stream, number } => format!("{entry:016}.doubt-{stream}-{number}.mail"),
        Standing::Damaged { place: None } => format!("{entry:016}.damaged.mail"),
        Standing::Damaged {
            place: Some((stream, number)),
        } => format!("{entry:016}.damaged-{stream}-{number}.mail"),
    }
}

pub(in crate::client) fn done_name(done: Done) -> String {
    format!(
        "{:016}.done-{}-{}.mail",
        done.entry, done.stream, done.number
    )
}

pub(in crate::client) fn parse_done(name: &str) -> Option<Done> {
    let (entry, place) = name.strip_suffix(".mail")?.split_once(".done-")?;
    let (stream, number) = place.split_once('-')?;
    Some(Done {
        entry: entry.parse().ok()?,
        stream: stream.parse().ok()?,
        number: number.parse().ok()?,
    })
}

pub(in crate::client) fn parse_name(name: &str) -> Option<(u64, Standing)> {
    let (entry, standing) = name.strip_suffix(".mail")?.split_once('.')?;
    Some((entry.parse().ok()?, parse_standing(standing)?))
}

fn parse_standing(text: &str) -> Option<Standing> {
    match text {
        "draft" => return Some(Standing::Draft),
        "unsent" => return Some(Standing::Unsent),
        "damaged" => return Some(Standing::Damaged { place: None }),
        "queued" => return Some(Standing::Queued),
        _ => {}
    }
    if let Some(at_ms) = text.strip_prefix("at-") {
        return Some(Standing::Scheduled(at_ms.parse().ok()?));
    }
    if let Some(times) = text.strip_prefix("held-") {
        let (since_ms, until_ms) = times.split_once('-')?;
        return Some(Standing::Held {
            since_ms: since_ms.parse().ok()?,
            until_ms: until_ms.parse().ok()?,
        });
    }
    if let Some(place) = text.strip_prefix("damaged-") {
        let (stream, number) = place.split_once('-')?;
        let place = Some((stream.parse().ok()?, number.parse().ok()?));
        return Some(Standing::Damaged { place });
    }
    if let Some(place) = text.strip_prefix("doubt-") {
        let (stream, number) = place.split_once('-')?;
        return Some(Standing::Lost {
            stream: stream.parse().ok()?,
            number: number.parse().ok()?,
        });
    }
    let mut numbers = text.split('-').map(|part| part.parse().ok());
    let mut next = || numbers.next().flatten();
    Some(Standing::InDoubt(Number {
        stream: next()?,
        number: next()?,
        settled_below: next()?,
    }))
}

pub(in crate::client) fn header_of(
    path: &Path,
    draft: &Draft,
    refused: &[Refusal],
) -> Result<Vec<u8>, FileError> {
    let header = EntryHeader {
        v: 1,
        to: draft.to.clone(),
        subject: draft.subject.clone(),
        content_type: draft.content_type.clone(),
        ttl_s: draft.ttl_s,
        size: draft.body.len() as u64,
        answers: draft.answers,
        refused: refused.to_vec(),
    };
    let mut bytes = serde_json::to_vec(&header).map_err(|e| damaged(path, &e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads the first line of a file of that length, through a small buffer, and leaves the rest alone.
pub(super) fn read_header(path: &Path, file: &File, length: u64) -> Result<EntryHeader, FileError> {
    use std::io::BufRead;
    let mut line = Vec::new();
    std::io::BufReader::new(file)
        .read_until(b'\n', &mut line)
        .map_err(failed("read", path))?;
    let header: EntryHeader = serde_json::from_slice(&line).map_err(|e| damaged(path, &e))?;
    if (line.len() as u64).checked_add(header.size) != Some(length) {
        return Err(damaged(path, "its body is cut short"));
    }
    Ok(header)
}

pub(super) fn read_draft(path: &Path, mut file: &File) -> Result<Draft, FileError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed("read", path))?;
    parse_draft(path, bytes)
}

/// Reads an entry's bytes; `path` is for messages.
pub(in crate::client) fn parse_draft(path: &Path, mut bytes: Vec<u8>) -> Result<Draft, FileError> {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| damaged(path, "it has no header"))?;
    let body = bytes.split_off(end + 1);
    let header: EntryHeader = serde_json::from_slice(&bytes).map_err(|e| damaged(path, &e))?;
    if header.size != body.len() as u64 {
        return Err(damaged(path, "its body is cut short"));
    }
    Ok(Draft {
        to: header.to,
        subject: header.subject,
        content_type: header.content_type,
        ttl_s: header.ttl_s,
        body,
        answers: header.answers,
    })
}
