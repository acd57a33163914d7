//! Searching the mailbox: what every mail says is compared, on several threads.
//!
//! `query` reads what is searched for, `fold` says what texts are compared as, `kept` keeps them so for the next
//! search. What a mail holds comes from the Maildir alone: nothing here can be out of date. Mails in the trash are not found.

mod fold;
pub(super) mod kept;
mod query;

use std::borrow::Cow;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::DateTime;
use serde::{Deserialize, Serialize};

use self::fold::{add, fold};
use self::kept::{Kept, Writer};
pub use self::query::{NOT, Query, QueryError};
use self::query::{Part, Term, What};
use super::attachments;
use super::files::FileError;
use super::mailbox::{Flags, Held, Mail, Mailbox};

/// Threads that read mails, at most: more than a few wait for the disk together.
const READERS_MAX: usize = 8;

/// Mails that a thread takes at a time.
const TAKEN: usize = 64;

/// Mails that are read each time before it is worth keeping what they say: fewer are read in a moment.
const UNKEPT_MAX: usize = 500;

/// A mail that was found.
#[derive(Debug, Clone)]
pub struct Hit {
    /// When it was sent, in milliseconds; 0 when nobody can tell.
    pub sent_ms: i64,
    /// Where it is.
    pub held: Held,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The mails, newest first.
    pub hits: Vec<Hit>,
    /// Files of mails that could not be read.
    pub unreadable: usize,
}

/// What is compared of a mail, folded; and of which state of which file that is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    stamp: Stamp,
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    to: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    /// All of it, the above included.
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow)]
    address: Cow<'a, str>,
    has_attachment: bool,
    sent_ms: i64,
}

/// Tells states of a file apart.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    changed_s: i64,
    changed_ns: i64,
}

impl Stamp {
    fn of(held: &Held) -> Option<Self> {
        let told = held.metadata()?;
        Some(Self {
            bytes: told.len(),
            changed_s: told.mtime(),
            changed_ns: told.mtime_nsec(),
        })
    }
}

/// One search under way.
struct Search<'a> {
    mailbox: &'a Mailbox,
    query: &'a Query,
    held: &'a [Held],
    /// Where in `held` the mail of a document is.
    places: HashMap<String, usize>,
    /// Which mails were compared by what is kept.
    done: Vec<AtomicBool>,
    kept: Kept,
    keeps: bool,
}

/// Searches a mailbox.
///
/// # Errors
/// The mailbox cannot be listed.
pub fn search(mailbox: &Mailbox, query: &Query) -> Result<Found, FileError> {
    let mut held = mailbox.held()?;
    held.retain(|held| !held.flags().has(Flags::TRASHED));
    let mut search = Search {
        mailbox,
        query,
        held: &held,
        places: held.iter().map(Held::key_text).zip(0..).collect(),
        done: held.iter().map(|_| AtomicBool::new(false)).collect(),
        kept: Kept::open(&mailbox.search_folder())?,
        keeps: false,
    };
    let numbers = search.kept.numbers()?;
    let mut found = on_threads(|next| search.read_kept(&numbers, next));
    let is_left = |at: &usize| !search.done[*at].load(Ordering::Relaxed);
    let left: Vec<usize> = (0..held.len()).filter(is_left).collect();
    search.keeps = left.len() > UNKEPT_MAX && search.kept.may_write();
    found.add(on_threads(|next| search.read_mails(&left, next)));
    found.hits.sort_unstable_by(|a, b| {
        let newest = b.sent_ms.cmp(&a.sent_ms);
        newest.then_with(|| b.held.called().cmp(a.held.called()))
    });
    Ok(found)
}

/// Does a part of the work on each of some threads; the number tells them what is taken.
fn on_threads(work: impl Fn(&AtomicUsize) -> Found + Sync) -> Found {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found = Found::default();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads.min(READERS_MAX))
            .map(|_| scope.spawn(|| work(&next)))
            .collect();
        for reader in readers {
            found.add(reader.join().expect("reading a mail does not panic"));
        }
    });
    found
}

impl Found {
    fn add(&mut self, part: Self) {
        self.hits.extend(part.hits);
        self.unreadable += part.unreadable;
    }
}

impl Search<'_> {
    /// Compares what is kept.
    fn read_kept(&self, numbers: &[u64], next: &AtomicUsize) -> Found {
        let mut found = Found::default();
        while let Some(number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(bytes) = self.kept.read(*number) else {
                continue;
            };
            let (mut all, mut gone) = (0, 0);
            for document in kept::documents(&bytes) {
                all += 1;
                let place = self.places.get(&*document.key);
                let current =
                    place.filter(|at| Stamp::of(&self.held[**at]) == Some(document.stamp));
                let Some(at) = current else {
                    gone += 1;
                    continue;
                };
                // Another file may have it too.
                if !self.done[*at].swap(true, Ordering::Relaxed) {
                    self.compare(&document, &self.held[*at], &mut found);
                }
            }
            // Next time what is left of it is kept anew.
            if gone * 4 > all {
                self.kept.remove(*number);
            }
        }
        found
    }

    /// Compares mails that are not kept, and keeps them.
    fn read_mails(&self, left: &[usize], next: &AtomicUsize) -> Found {
        let mut found = Found::default();
        let mut writer = Writer::new(&self.kept);
        loop {
            let from = next.fetch_add(TAKEN, Ordering::Relaxed);
            let Some(taken) = left.get(from..).filter(|rest| !rest.is_empty()) else {
                writer.flush();
                return found;
            };
            for held in taken.iter().take(TAKEN).map(|at| &self.held[*at]) {
                // Before it is read: what is changed in between is read again the next time.
                let stamp = Stamp::of(held);
                match self.mailbox.read(held) {
                    Ok(mail) => {
                        let document = Document::of(held, &mail, stamp.unwrap_or_default());
                        self.compare(&document, held, &mut found);
                        if self.keeps && stamp.is_some() {
                            writer.add(&document);
                        }
                    }
                    Err(error) if error.is_missing() => {} // removed meanwhile
                    Err(_) => found.unreadable += 1,
                }
            }
        }
    }

    fn compare(&self, document: &Document<'_>, held: &Held, found: &mut Found) {
        if self.query.fits(document, held.flags()) {
            found.hits.push(Hit {
                sent_ms: document.sent_ms,
                held: held.clone(),
            });
        }
    }
}

impl Document<'_> {
    fn of(held: &Held, mail: &Mail, stamp: Stamp) -> Self {
        let envelope = &mail.envelope;
        let parts = attachments::parts(envelope.id, &envelope.content_type, &mail.body);
        let sent = DateTime::parse_from_rfc3339(&envelope.sent_at);
        let mut text = String::with_capacity(parts.text.len() + 200);
        let texts = [
            &envelope.subject,
            &envelope.from,
            &envelope.address,
            &parts.text,
        ];
        let names = parts.attachments.iter().map(|file| &file.name);
        for piece in texts.into_iter().chain(&envelope.to).chain(names) {
            add(&mut text, piece);
            // Nothing is found across the end of one and the beginning of the next.
            text.push('\n');
        }
        Self {
            key: held.key_text().into(),
            stamp,
            from: fold(&envelope.from).into(),
            to: fold(&envelope.to.join(" ")).into(),
            subject: fold(&envelope.subject).into(),
            text: text.into(),
            address: envelope.address.to_lowercase().into(),
            has_attachment: !parts.attachments.is_empty(),
            sent_ms: sent.map_or(0, |at| at.timestamp_millis()),
        }
    }

    fn part(&self, part: Part) -> &str {
        match part {
            Part::Any => &self.text,
            Part::From => &self.from,
            Part::To => &self.to,
            Part::Subject => &self.subject,
        }
    }
}

impl Query {
    fn fits(&self, document: &Document<'_>, flags: Flags) -> bool {
        let in_time = self.since.is_none_or(|since| document.sent_ms >= since)
            && self.before.is_none_or(|before| document.sent_ms < before);
        in_time && self.terms.iter().all(|term| term.fits(document, flags))
    }
}

impl Term {
    fn fits(&self, document: &Document<'_>, flags: Flags) -> bool {
        let is_so = match &self.what {
            What::Words(part, finder) => finder.find(document.part(*part).as_bytes()).is_some(),
            What::Address(address) => document.address == *address,
            What::Attachment => document.has_attachment,
            What::Flag(flag) => flags.has(*flag),
        };
        is_so != self.is_not
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::exchange::{Importer, Message};

    fn import(mailbox: &Mailbox, numbers: std::ops::Range<usize>) {
        let mut importer = Importer::begin(mailbox).unwrap();
        for n in numbers {
            let text =
                format!("Subject: s{n}\nDate: Mon, 30 Nov 2026 12:00:00 +0000\n\nbody{n} all\n");
            let flags = Flags::default();
            let bytes = text.into_bytes();
            importer.add(Message { bytes, flags }).unwrap();
        }
        importer.finish().unwrap();
    }

    fn count(mailbox: &Mailbox, words: &str) -> usize {
        let now = DateTime::parse_from_rfc3339("2026-11-30T12:00:00Z").unwrap();
        let query = Query::parse(&[words.to_owned()], &now).unwrap();
        search(mailbox, &query).unwrap().hits.len()
    }

    fn kept(mailbox: &Mailbox) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(mailbox.search_folder()).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "kept"));
        paths
    }

    /// What is kept is never believed against the Maildir: after every change the answer is the same as without it.
    #[test]
    fn what_is_kept_never_lies() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::open(folder.path(), "srv").unwrap();
        import(&mailbox, 0..2 * UNKEPT_MAX);
        let all = 2 * UNKEPT_MAX;
        for _ in 0..2 {
            assert_eq!(count(&mailbox, "all"), all);
            assert_eq!(count(&mailbox, "body77"), 11, "77 and 770 to 779");
            assert_eq!(count(&mailbox, "\"body77\""), 1);
            assert_eq!(count(&mailbox, "is:read"), 0);
        }
        let first = kept(&mailbox);
        assert!(!first.is_empty());
        // New mail is found although it is not kept; a few are not worth it.
        import(&mailbox, all..all + 3);
        assert_eq!(count(&mailbox, "all"), all + 3);
        assert_eq!(kept(&mailbox), first);
        // A flag, a removal, another text under the same name, a trashed mail.
        let held = mailbox.held().unwrap();
        let file = |n: usize| {
            held.iter()
                .find(|held| {
                    String::from_utf8(mailbox.bytes(held).unwrap())
                        .unwrap()
                        .contains(&format!("s{n}\n"))
                })
                .unwrap()
        };
        let (seen, gone, changed, trashed) = (file(1), file(2), file(3), file(4));
        let cur = mailbox.import_folder("cur");
        std::fs::rename(cur.join(seen.file_name()), cur.join(seen.file_name() + "S")).unwrap();
        std::fs::remove_file(cur.join(gone.file_name())).unwrap();
        std::fs::write(cur.join(changed.file_name()), "Subject: x\n\nother\n").unwrap();
        mailbox.trash(std::slice::from_ref(trashed), "t").unwrap();
        assert_eq!(count(&mailbox, "all"), all);
        assert_eq!(count(&mailbox, "is:read"), 1);
        assert_eq!(count(&mailbox, "other"), 1);
        // Damaged, it is as if it were not there.
        for path in kept(&mailbox) {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
        assert_eq!(count(&mailbox, "all"), all);
        // What is purged is not kept either.
        mailbox.purge(std::slice::from_ref(trashed)).unwrap();
        assert!(kept(&mailbox).is_empty());
    }
}
