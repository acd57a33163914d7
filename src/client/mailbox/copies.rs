//! Copies of one mail: what was sent to several addresses that this user reads came by each of them.
//!
//! All are stored and acknowledged, each in its log; people are shown one. The server gives the copies of a send
//! ids in one go, so that nothing lies between those of them that are here. A copy that an administrator moved here
//! from somebody else comes by the same address, with an id of its own.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use super::held::Key;
use super::{Flags, Kept, Mail, Mailbox, read_mail};
use crate::client::files::FileError;
use crate::limits::RECIPIENTS_MAX;
use crate::protocol::reply::Envelope;
use crate::protocol::{LogNumber, MailId};

/// A mail by its id and its log.
pub type Place = (MailId, LogNumber);

/// What was shown before, as far as it was looked up.
#[derive(Debug, Default)]
pub struct ShownBefore {
    by_id: Option<BTreeMap<MailId, Vec<PathBuf>>>,
    /// Digests of what was asked about since: it is being shown.
    asked: HashSet<[u8; 32]>,
}

/// Digests what copies of one mail have in common.
fn digest(mail: &Mail) -> [u8; 32] {
    let envelope = &mail.envelope;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&envelope.message().to_be_bytes());
    for part in [
        envelope.from.as_bytes(),
        envelope.sent_at.as_bytes(),
        &mail.body,
    ] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Says whether two mails are copies of one.
pub fn are_copies(one: &Mail, other: &Mail) -> bool {
    let (a, b) = (&one.envelope, &other.envelope);
    let is_same_send = a.message() == b.message() && a.from == b.from && a.sent_at == b.sent_at;
    is_same_send && (a.id, one.log) != (b.id, other.log) && one.body == other.body
}

impl Mailbox {
    /// Puts together, of mails in the order of their ids, those that are copies of one.
    pub fn together(&self, mails: &[Place]) -> Result<Vec<Vec<Place>>, FileError> {
        let may_be = |pair: &[Place]| pair[0].1 != pair[1].1 && is_near(pair[0].0, pair[1].0);
        if !mails.windows(2).any(may_be) {
            return Ok(mails.iter().map(|place| vec![*place]).collect());
        }
        let paths: BTreeMap<Place, PathBuf> = self.paths()?.collect();
        // One that went meanwhile is a copy of none.
        let read = |place: &Place| paths.get(place).and_then(|path| read_mail(path).ok());
        let mut groups: Vec<Vec<Place>> = Vec::new();
        let mut before: Option<Mail> = None;
        for (at, place) in mails.iter().enumerate() {
            let looks_back = at > 0 && may_be(&mails[at - 1..=at]);
            let looks_ahead = at + 1 < mails.len() && may_be(&mails[at..=at + 1]);
            let mail = (looks_back || looks_ahead).then(|| read(place)).flatten();
            let is_copy = looks_back
                && before
                    .as_ref()
                    .zip(mail.as_ref())
                    .is_some_and(|(a, b)| are_copies(a, b));
            match groups.last_mut() {
                Some(group) if is_copy => group.push(*place),
                _ => groups.push(vec![*place]),
            }
            before = mail;
        }
        Ok(groups)
    }

    /// Says whether another copy of a mail was shown before, or is being shown; if not, this one is from now on.
    pub fn was_shown(&self, mail: &Mail, before: &mut ShownBefore) -> Result<bool, FileError> {
        if mail.envelope.to.len() < 2 {
            return Ok(false);
        }
        if !before.asked.insert(digest(mail)) {
            return Ok(true);
        }
        let shown = match &mut before.by_id {
            Some(shown) => shown,
            none => none.insert(self.shown_paths()?),
        };
        let near = shown.range(copies_of(mail.envelope.message()));
        let mut paths = near.flat_map(|(_, paths)| paths);
        Ok(paths.any(|path| read_mail(path).is_ok_and(|other| are_copies(&other, mail))))
    }

    /// Returns the mail that is called by a number: its own, or that of a copy which went to somebody else.
    pub fn called(&self, number: MailId) -> Result<Option<Mail>, FileError> {
        if let Some(mail) = self.get(number)? {
            return Ok(Some(mail));
        }
        let near = self
            .paths()?
            .filter(|((id, _), _)| copies_of(number).contains(id));
        let mut mails = near.filter_map(|(_, path)| read_mail(&path).ok());
        Ok(mails.find(|mail| mail.envelope.message() == number))
    }

    /// Returns all that is here of the thread that a mail is in, in the order of ids, without further copies.
    pub fn thread_of(&self, mail: &Envelope) -> Result<Vec<Mail>, FileError> {
        let thread = mail.thread();
        // What answers a mail has a higher id.
        let later = self.paths()?.filter(|((id, _), _)| *id >= thread);
        let mut mails: Vec<Mail> = later
            .filter_map(|(_, path)| read_mail(&path).ok())
            .filter(|mail| mail.envelope.thread() == thread)
            .collect();
        mails.sort_unstable_by_key(|mail| (mail.envelope.id, mail.log));
        mails.dedup_by(|later, earlier| are_copies(earlier, later));
        Ok(mails)
    }

    /// Notes in the name of a mail's file, as mail readers do, that it was answered; whoever answered it has seen
    /// it. Durable when it returns. A mail that is gone needs no note.
    pub fn mark_replied(&self, mail: &Mail) -> Result<(), FileError> {
        self.mark(mail, Flags::REPLIED.with(Flags::SEEN))
    }

    /// Notes likewise that it was passed on.
    pub fn mark_passed(&self, mail: &Mail) -> Result<(), FileError> {
        self.mark(mail, Flags::PASSED.with(Flags::SEEN))
    }

    fn mark(&self, mail: &Mail, with: Flags) -> Result<(), FileError> {
        let place = (mail.envelope.id, mail.log);
        let mut here = self.here()?.into_iter().rev();
        let Some(kept) = here.find(|kept| place_of(kept) == place) else {
            return Ok(());
        };
        self.flag(&Key::Received(kept.name), |flags| flags.with(with))?;
        self.sync_shown()
    }

    /// Returns every mail that is here and not in the trash, in the order in which mails are shown.
    fn here(&self) -> Result<Vec<Kept>, FileError> {
        let marks = self.read_marks()?;
        let mut here = self.named(|flags| !flags.has(Flags::TRASHED))?;
        here.retain(|kept| marks.counts(&kept.name));
        here.sort_unstable_by_key(|kept| kept.name);
        Ok(here)
    }

    /// Returns every mail that is here with its file; of two rounds the later one comes last.
    fn paths(&self) -> Result<impl Iterator<Item = (Place, PathBuf)> + use<>, FileError> {
        let here = self.here()?.into_iter();
        Ok(here.map(|kept| (place_of(&kept), kept.path)))
    }

    fn shown_paths(&self) -> Result<BTreeMap<MailId, Vec<PathBuf>>, FileError> {
        let mut shown: BTreeMap<MailId, Vec<PathBuf>> = BTreeMap::new();
        for kept in self.named(|flags| flags.has(Flags::SEEN))? {
            shown.entry(kept.name.id).or_default().push(kept.path);
        }
        Ok(shown)
    }
}

fn place_of(kept: &Kept) -> Place {
    (kept.name.id, kept.name.log)
}

/// Ids that copies of one send may have.
fn copies_of(message: MailId) -> std::ops::Range<MailId> {
    message..message.saturating_add(RECIPIENTS_MAX as u64)
}

fn is_near(one: MailId, next: MailId) -> bool {
    copies_of(one).contains(&next)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Mark, Piece};
    use super::*;

    /// A mail of ana's to `to`, as it came to one of them.
    fn copy(id: MailId, message: MailId, log: LogNumber, to: &[&str]) -> Mail {
        Mail {
            log,
            envelope: Envelope {
                id,
                message,
                n: 1,
                address: to[0].to_owned(),
                from: "ana".to_owned(),
                to: to.iter().map(ToString::to_string).collect(),
                size: 2,
                frames: 1,
                ..Envelope::default()
            },
            body: b"hi".to_vec(),
        }
    }

    fn store(mailbox: &Mailbox, mail: &Mail) {
        let at = mailbox
            .marks()
            .unwrap()
            .get(&mail.log)
            .map_or(0, |mark| mark.id);
        let through = Mark {
            id: mail.envelope.id,
            n: None,
        };
        let piece = Piece {
            log: mail.log,
            address: &mail.envelope.address,
            after: at,
            through,
            trimmed: None,
            mails: std::slice::from_ref(mail),
        };
        mailbox.store_page(&piece).unwrap();
    }

    fn with(mails: &[Mail]) -> (tempfile::TempDir, Mailbox) {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::open(folder.path(), "srv").unwrap();
        for mail in mails {
            store(&mailbox, mail);
        }
        (folder, mailbox)
    }

    fn show(mailbox: &Mailbox, place: Place) {
        let claim = mailbox.claim(place.0, place.1).unwrap().unwrap();
        mailbox.shown(vec![claim]).unwrap();
    }

    #[test]
    fn copies_come_together_and_nothing_else_does() {
        let both = ["bob", "news"];
        let mails = [
            copy(10, 10, 1, &both),
            copy(12, 10, 2, &both),
            copy(13, 13, 1, &["bob"]),
            copy(14, 14, 2, &["news"]),
            copy(15, 14, 1, &["bob"]),
        ];
        let (_folder, mailbox) = with(&mails);
        let unseen = mailbox.unseen().unwrap();
        assert_eq!(unseen.len(), 5, "all are stored");
        let groups = mailbox.together(&unseen).unwrap();
        let expect = [
            vec![(10, 1), (12, 2)],
            vec![(13, 1)],
            vec![(14, 2), (15, 1)],
        ];
        assert_eq!(groups, expect);
        let alone = mailbox.together(&unseen[2..3]).unwrap();
        assert_eq!(alone, [vec![(13, 1)]]);
    }

    #[test]
    fn a_copy_that_comes_after_the_other_was_shown_is_known() {
        let both = ["bob", "news"];
        let (first, late) = (copy(10, 10, 1, &both), copy(11, 10, 2, &both));
        let (_folder, mailbox) = with(&[first.clone(), late.clone()]);
        assert!(
            !mailbox
                .was_shown(&late, &mut ShownBefore::default())
                .unwrap()
        );
        show(&mailbox, (10, 1));
        assert!(
            mailbox
                .was_shown(&late, &mut ShownBefore::default())
                .unwrap()
        );
        let other = copy(12, 12, 2, &both);
        assert!(
            !mailbox
                .was_shown(&other, &mut ShownBefore::default())
                .unwrap()
        );
        // Either number calls the mail that is here.
        let (_folder, mailbox) = with(&[late]);
        assert_eq!(mailbox.called(10).unwrap().unwrap().envelope.id, 11);
        assert_eq!(mailbox.called(11).unwrap().unwrap().envelope.id, 11);
        assert_eq!(mailbox.called(12).unwrap(), None);
    }

    #[test]
    fn p03_a_copy_that_was_moved_here_by_the_same_address_is_known() {
        let both = ["bob", "ana"];
        let (own, moved) = (copy(10, 10, 1, &both), copy(70, 10, 1, &both));
        let (_folder, mailbox) = with(&[own.clone(), moved.clone()]);
        let mut before = ShownBefore::default();
        assert!(!mailbox.was_shown(&own, &mut before).unwrap());
        assert!(mailbox.was_shown(&moved, &mut before).unwrap(), "in one go");
        show(&mailbox, (10, 1));
        let mut later = ShownBefore::default();
        assert!(mailbox.was_shown(&moved, &mut later).unwrap());
    }

    #[test]
    fn a_thread_is_all_that_is_here_of_it_once() {
        let both = ["bob", "news"];
        let answer = |id, message, log| {
            let mut mail = copy(id, message, log, &both);
            (mail.envelope.in_reply_to, mail.envelope.thread) = (Some(10), Some(10));
            mail
        };
        let mails = [
            copy(10, 10, 1, &["bob"]),
            copy(11, 11, 1, &["bob"]),
            answer(12, 12, 1),
            answer(13, 12, 2),
        ];
        let (_folder, mailbox) = with(&mails);
        let ids = |mail: &Mail| -> Vec<MailId> {
            let thread = mailbox.thread_of(&mail.envelope).unwrap();
            thread.iter().map(|mail| mail.envelope.id).collect()
        };
        assert_eq!(ids(&mails[0]), [10, 12]);
        assert_eq!(ids(&mails[3]), [10, 12]);
        assert_eq!(ids(&mails[1]), [11]);
        // The mail that began it was trimmed, or is in nobody's mailbox here.
        let (_folder, mailbox) = with(&mails[2..]);
        assert_eq!(mailbox.thread_of(&mails[2].envelope).unwrap().len(), 1);
    }

    #[test]
    fn what_was_answered_is_marked_as_mail_readers_do() {
        let mail = copy(10, 10, 1, &["bob"]);
        let (_folder, mailbox) = with(std::slice::from_ref(&mail));
        mailbox.mark_replied(&mail).unwrap();
        assert!(
            mailbox.unseen().unwrap().is_empty(),
            "who answered it has seen it"
        );
        let cur = |name: &str| mailbox.folder().join("cur").join(name);
        assert!(cur("0000000000000010.1.mail:2,RS").exists());
        // Another program has flagged it meanwhile.
        fs::rename(
            cur("0000000000000010.1.mail:2,RS"),
            cur("0000000000000010.1.mail:2,FS"),
        )
        .unwrap();
        mailbox.mark_replied(&mail).unwrap();
        assert!(cur("0000000000000010.1.mail:2,FRS").exists());
        fs::remove_file(cur("0000000000000010.1.mail:2,FRS")).unwrap();
        mailbox.mark_replied(&mail).unwrap();
    }
}
