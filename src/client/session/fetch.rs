//! Fetching: page by page into the mailbox, acknowledged once it is on disk; or just looking.

use std::collections::{BTreeMap, VecDeque};

use super::Session;
use crate::client::error::ClientError;
use crate::client::mailbox::{BATCH_MAILS_MAX, Mail, Mark, Piece, Stored, TrimmedNotice};
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::reply::{self, Envelope, LogInfo, Page, Trimmed};
use crate::protocol::request::{self, Request};
use crate::protocol::{LogNumber, MailId};

/// Mails asked for at once: a few batches of the mailbox.
const PAGE_MAILS: u32 = 200;

/// Body bytes written under one hold of the mailbox's lock.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Body bytes over a page's own that are held at once.
const LARGE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Pages that may come without progress (a body that went away meanwhile) before it is an error.
const STALLS_MAX: u32 = 5;

/// What a refresh brought.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Refreshed {
    /// Mails that came with the pages (another process may have stored some of them first).
    pub mails: u64,
    /// Logs that were behind.
    pub logs: u64,
}

/// Something to show.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are mails, and each is taken apart at once"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A mail.
    Mail(Mail),
    /// Mails that are gone unread.
    Trimmed(TrimmedNotice),
}

/// A look at what is unseen, in id order, that stores, moves and acknowledges nothing.
#[derive(Debug)]
pub struct Look {
    trimmed: VecDeque<TrimmedNotice>,
    here: VecDeque<(MailId, LogNumber)>,
    there: BTreeMap<LogNumber, Ahead>,
}

/// One log at the server, ahead of the mailbox.
#[derive(Debug)]
struct Ahead {
    mark: Mark,
    more: bool,
    mails: VecDeque<Mail>,
}

impl Session {
    /// Brings everything new into the mailbox and acknowledges it, log by log. What is unseen there is
    /// then shown with [`crate::client::mailbox::Mailbox::claim`].
    pub fn refresh(&mut self) -> Result<Refreshed, ClientError> {
        let mut refreshed = Refreshed::default();
        self.acknowledge_leftovers()?;
        let (behind, through) = self.behind()?;
        for log in &behind {
            refreshed.logs += 1;
            refreshed.mails += self.fetch_log(*log)?;
        }
        self.through = through;
        Ok(refreshed)
    }

    /// Begins a look at what is unseen.
    pub fn look(&mut self) -> Result<Look, ClientError> {
        let marks = self.mailbox.marks()?;
        let astray = self.is_astray;
        let ahead = |info: &LogInfo| {
            let start = Mark {
                id: info.cursor,
                n: Some(info.n),
            };
            let known = marks.get(&info.log).filter(|_| !astray);
            let mark = known.copied().unwrap_or(start);
            (info.head > mark.id).then(|| {
                let ahead = Ahead {
                    mark,
                    more: true,
                    mails: VecDeque::new(),
                };
                (info.log, ahead)
            })
        };
        Ok(Look {
            trimmed: self.mailbox.untold()?.into(),
            here: self.mailbox.unseen()?.into(),
            there: self.logs.values().filter_map(ahead).collect(),
        })
    }

    /// Reads a topic's (or the own log's) newest mails below `before`, oldest first.
    pub fn history(
        &mut self,
        address: &str,
        mails: u32,
        before: Option<MailId>,
    ) -> Result<Vec<Mail>, ClientError> {
        let (page, frames) = self.call::<Page>(|session| {
            Request::History(request::History {
                session,
                address: address.to_owned(),
                mails,
                before,
            })
        })?;
        self.complete(page.log, page.mails, frames, u64::MAX)
    }

    /// Returns the logs that have something the mailbox has not, and up to where that answer is
    /// complete.
    fn behind(&mut self) -> Result<(Vec<LogNumber>, MailId), ClientError> {
        let through = self.ask_heads()?;
        let marks = self.mailbox.marks()?;
        let is_behind = |info: &&LogInfo| marks.get(&info.log).is_none_or(|at| at.id < info.head);
        let behind = self.logs.values().filter(is_behind);
        Ok((behind.map(|info| info.log).collect(), through))
    }

    fn ask_heads(&mut self) -> Result<MailId, ClientError> {
        let mut known = self.through;
        loop {
            let beat: reply::Heartbeat =
                self.ask(|session| Request::Heartbeat(request::Heartbeat { session, known }))?;
            self.meet(&beat.behind)?;
            for info in beat.behind {
                self.learn(info)?;
            }
            known = beat.through;
            if !beat.more {
                return Ok(known);
            }
        }
    }

    /// Fetches a log to its head. Returns how many mails came.
    fn fetch_log(&mut self, log: LogNumber) -> Result<u64, ClientError> {
        let (mut mails, mut stalls) = (0, 0);
        loop {
            let (mark, turns) = (self.mark_of(log)?, self.turns);
            let Some((page, bodies)) = self.fetch_page(log, mark)? else {
                return Ok(mails);
            };
            if self.turns != turns {
                continue; // the mark was another server's, so to speak
            }
            mails += bodies.len() as u64;
            let known = self.known_of(&bodies)?;
            let reached = self.store_page(&page, &bodies)?;
            self.pass_on(&page, bodies, &known);
            stalls = if reached.id > mark.id { 0 } else { stalls + 1 };
            if (!page.more && reached.id >= page.through) || stalls > STALLS_MAX {
                return Ok(mails);
            }
        }
    }

    fn mark_of(&self, log: LogNumber) -> Result<Mark, ClientError> {
        Ok(self.mailbox.marks()?.get(&log).copied().unwrap_or_default())
    }

    /// Reads the page after a mark, large bodies included; nothing when the log is not this user's any
    /// more.
    pub(super) fn fetch_page(
        &mut self,
        log: LogNumber,
        mark: Mark,
    ) -> Result<Option<(Page, Vec<Mail>)>, ClientError> {
        let fetched = self.call::<Page>(|session| {
            Request::Fetch(request::Fetch {
                session,
                log,
                after: mark.id,
                n: mark.n,
                mails: PAGE_MAILS,
                bytes: limits::PAGE_BYTES_MAX as u64,
            })
        });
        let (mut page, frames) = match fetched {
            Ok(answer) => answer,
            Err(error) if lost_access(&error) => {
                self.logs.remove(&log);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let envelopes = std::mem::take(&mut page.mails);
        let whole = envelopes.len();
        let mails = self.complete(log, envelopes, frames, LARGE_BYTES_MAX)?;
        if mails.len() < whole {
            cut_short(&mut page, mark, &mails);
        }
        Ok(Some((page, mails)))
    }

    /// Puts bodies to envelopes. Stops before a mail whose body went away meanwhile, and after
    /// `large_max` bytes of bodies that had to be asked for: the next page goes on from there.
    fn complete(
        &mut self,
        log: LogNumber,
        envelopes: Vec<Envelope>,
        frames: Vec<Vec<u8>>,
        large_max: u64,
    ) -> Result<Vec<Mail>, ClientError> {
        let mut frames = frames.into_iter();
        let mut mails = Vec::with_capacity(envelopes.len());
        let mut large = 0;
        for envelope in envelopes {
            if large > large_max {
                break;
            }
            large += if envelope.frames == 0 {
                envelope.size
            } else {
                0
            };
            let body = match envelope.frames {
                0 => self.large_body(log, &envelope)?,
                _ => frames.next(),
            };
            match body {
                Some(body) if body.len() as u64 == envelope.size => mails.push(Mail {
                    log,
                    envelope,
                    body,
                }),
                Some(_) => return Err(malformed("a body is not as long as its envelope says")),
                None => break,
            }
        }
        Ok(mails)
    }

    /// Reads a body piece by piece; nothing when the mail is gone.
    fn large_body(
        &mut self,
        log: LogNumber,
        envelope: &Envelope,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let mut body = Vec::new();
        while (body.len() as u64) < envelope.size {
            let offset = body.len() as u64;
            let asked = self.call::<reply::Body>(|session| {
                Request::Body(request::Body {
                    session,
                    log,
                    id: envelope.id,
                    offset,
                })
            });
            match asked {
                Ok((_, frames)) => match frames.into_iter().next() {
                    Some(piece) if !piece.is_empty() => body.extend(piece),
                    _ => return Ok(None),
                },
                Err(ClientError::Refused(error)) if !error.retryable => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(body))
    }

    /// Stores a page batch by batch and acknowledges what is on disk. Returns how far the log is.
    pub(super) fn store_page(&mut self, page: &Page, mails: &[Mail]) -> Result<Mark, ClientError> {
        let mut reached = Mark::default();
        for piece in pieces(page, mails) {
            match self.mailbox.store_page(&piece)? {
                Stored::Upto(mark) => reached = mark,
                Stored::Elsewhere(mark) => {
                    reached = mark;
                    break;
                }
            }
        }
        self.acknowledge(&[(page.log, reached.id)])?;
        Ok(reached)
    }

    /// Acknowledges logs up to ids that are on disk here.
    pub(super) fn acknowledge(&mut self, logs: &[(LogNumber, MailId)]) -> Result<(), ClientError> {
        let fresh = |(log, id): &&(LogNumber, MailId)| {
            self.logs.get(log).is_none_or(|info| info.cursor < *id)
        };
        let logs: Vec<_> = logs.iter().filter(fresh).copied().collect();
        if logs.is_empty() {
            return Ok(());
        }
        let (turns, seen) = (self.turns, self.mailbox.seen()?);
        for chunk in logs.chunks(limits::ACKS_MAX) {
            let acked = self.done(|session| {
                Request::Ack(request::Ack {
                    session,
                    logs: chunk.to_vec(),
                })
            });
            match acked {
                Err(_) if self.turns != turns => return Ok(()),
                Err(error) if !lost_access(&error) => return Err(error),
                _ => {}
            }
            self.mailbox.acknowledged(chunk, &seen);
            for (log, id) in chunk {
                if let Some(info) = self.logs.get_mut(log) {
                    info.cursor = info.cursor.max(*id);
                }
            }
        }
        Ok(())
    }

    /// Acknowledges what a process stored that died before it could say so, and what a restored server
    /// does not know of.
    pub(super) fn acknowledge_leftovers(&mut self) -> Result<(), ClientError> {
        let marks = self.mailbox.marks()?;
        let here = |info: &LogInfo| {
            let mark = marks.get(&info.log)?;
            Some((info.log, mark.id.min(info.head)))
        };
        let left: Vec<_> = self.logs.values().filter_map(here).collect();
        self.acknowledge(&left)
    }

    /// Moves marks back to where `join --from` put the cursors.
    pub(super) fn rewind(&mut self, logs: &[LogInfo]) -> Result<(), ClientError> {
        for info in logs {
            let to = Mark {
                id: info.cursor,
                n: Some(info.n),
            };
            self.mailbox.rewind(info.log, to)?;
        }
        Ok(())
    }
}

impl Look {
    /// Returns the next of what is unseen; nothing at the end.
    pub fn next(&mut self, session: &mut Session) -> Result<Option<Arrival>, ClientError> {
        if let Some(notice) = self.trimmed.pop_front() {
            return Ok(Some(Arrival::Trimmed(notice)));
        }
        self.fill(session)?;
        if let Some(notice) = self.trimmed.pop_front() {
            return Ok(Some(Arrival::Trimmed(notice)));
        }
        let there = self
            .there
            .iter()
            .filter_map(|(log, ahead)| Some((ahead.mails.front()?.envelope.id, *log)))
            .min();
        match (self.here.front().copied(), there) {
            (Some(here), there) if there.is_none_or(|there| here < there) => {
                self.here.pop_front();
                let mail = session.mailbox.get(here.0)?;
                match mail {
                    Some(mail) => Ok(Some(Arrival::Mail(mail))),
                    None => self.next(session), // removed meanwhile
                }
            }
            (_, Some((_, log))) => {
                let ahead = self.there.get_mut(&log);
                let mail = ahead.and_then(|ahead| ahead.mails.pop_front());
                Ok(mail.map(Arrival::Mail))
            }
            (_, None) => Ok(None),
        }
    }

    /// Makes sure that the first mail of every log at the server is here.
    fn fill(&mut self, session: &mut Session) -> Result<(), ClientError> {
        for (log, ahead) in &mut self.there {
            while ahead.mails.is_empty() && ahead.more {
                let Some((page, mails)) = session.fetch_page(*log, ahead.mark)? else {
                    ahead.more = false;
                    break;
                };
                self.trimmed.extend(notice_of(&page));
                ahead.mark = Mark {
                    id: page.through,
                    n: Some(page.n),
                };
                ahead.more = page.more;
                let known = session.known_of(&mails)?;
                let is_news = |mail: &Mail| !known.contains(&mail.envelope.id);
                ahead.mails = mails.into_iter().filter(is_news).collect();
            }
        }
        Ok(())
    }
}

fn notice_of(page: &Page) -> Option<TrimmedNotice> {
    page.trimmed.map(|trimmed| TrimmedNotice {
        log: page.log,
        address: page.address.clone(),
        count: trimmed.count,
        from_id: trimmed.from_id,
    })
}

fn mark_at(envelope: &Envelope) -> Mark {
    Mark {
        id: envelope.id,
        n: Some(envelope.n),
    }
}

/// Ends a page at the last mail that is here; what is missing up to there follows from the counts.
fn cut_short(page: &mut Page, mark: Mark, mails: &[Mail]) {
    let last = mails.last().map_or(mark, |mail| mark_at(&mail.envelope));
    let missing = match (mark.n, last.n) {
        (Some(from), Some(to)) => to.saturating_sub(from).saturating_sub(mails.len() as u64),
        _ => 0,
    };
    page.trimmed = (missing > 0).then_some(Trimmed {
        count: missing,
        from_id: mark.id,
    });
    (page.through, page.n, page.more) = (last.id, last.n.unwrap_or(page.n), true);
}

fn malformed(what: &str) -> ClientError {
    ClientError::Malformed {
        verb: "fetch",
        what: what.to_owned(),
    }
}

/// Says whether the log is not this user's any more (he left the topic, or it was removed).
fn lost_access(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Refused(told) if matches!(told.code, Code::NoSuchAddress | Code::Denied)
    )
}

/// Cuts a page into batches for the mailbox. What is missing is told with the batch it is missing in:
/// the counts of the mails say where, and the first batch gets what was missing before it.
fn pieces<'a>(page: &'a Page, mails: &'a [Mail]) -> Vec<Piece<'a>> {
    let batches = batches(mails);
    let mut pieces: Vec<Piece<'a>> = Vec::with_capacity(batches.len().max(1));
    let mut after = page.after;
    for batch in batches {
        let through = batch
            .last()
            .map_or(page_mark(page), |mail| mark_at(&mail.envelope));
        pieces.push(piece(page, after, through, batch));
        after = through.id;
    }
    match pieces.last_mut() {
        Some(last) => last.through = page_mark(page),
        None => pieces.push(piece(page, after, page_mark(page), &[])),
    }
    tell_missing(page, &mut pieces);
    pieces
}

fn tell_missing(page: &Page, pieces: &mut [Piece<'_>]) {
    let Some(trimmed) = page.trimmed else {
        return;
    };
    let mut left = trimmed.count;
    for at in (1..pieces.len()).rev() {
        let from = pieces[at - 1].through.n.unwrap_or(0);
        let to = pieces[at].through.n.unwrap_or(from);
        let missing = to
            .saturating_sub(from)
            .saturating_sub(pieces[at].mails.len() as u64)
            .min(left);
        left -= missing;
        let from_id = pieces[at].after;
        pieces[at].trimmed = (missing > 0).then_some(Trimmed {
            count: missing,
            from_id,
        });
    }
    pieces[0].trimmed = (left > 0).then_some(Trimmed {
        count: left,
        from_id: trimmed.from_id,
    });
}

fn piece<'a>(page: &'a Page, after: MailId, through: Mark, mails: &'a [Mail]) -> Piece<'a> {
    Piece {
        log: page.log,
        address: &page.address,
        after,
        through,
        trimmed: None,
        mails,
    }
}

fn page_mark(page: &Page) -> Mark {
    Mark {
        id: page.through,
        n: Some(page.n),
    }
}

/// Cuts mails into runs that one hold of the lock may store.
fn batches(mails: &[Mail]) -> Vec<&[Mail]> {
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, mail) in mails.iter().enumerate() {
        let full = at - start >= BATCH_MAILS_MAX || bytes + mail.body.len() > BATCH_BYTES_MAX;
        if full && at > start {
            batches.push(&mails[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += mail.body.len();
    }
    if start < mails.len() {
        batches.push(&mails[start..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `n`th mail of a log whose ids are 10, 20, 30 ...
    fn mail(n: u64, size: usize) -> Mail {
        Mail {
            log: 1,
            envelope: Envelope {
                id: n * 10,
                prev: (n - 1) * 10,
                n,
                address: "news".to_owned(),
                from: "ana".to_owned(),
                to: vec!["news".to_owned()],
                subject: String::new(),
                sent_at: String::new(),
                expires_at: None,
                content_type: String::new(),
                size: size as u64,
                frames: 1,
                ..Envelope::default()
            },
            body: vec![0; size],
        }
    }

    fn page(after: u64, through: u64, missing: u64) -> Page {
        Page {
            log: 1,
            address: "news".to_owned(),
            after: after * 10,
            through: through * 10,
            n: through,
            more: false,
            trimmed: (missing > 0).then_some(Trimmed {
                count: missing,
                from_id: after * 10,
            }),
            mails: Vec::new(),
        }
    }

    /// Returns what each piece says is missing, after which id.
    fn missing(pieces: &[Piece<'_>]) -> Vec<Option<(u64, MailId)>> {
        let told = |piece: &Piece<'_>| piece.trimmed.map(|told| (told.count, told.from_id));
        pieces.iter().map(told).collect()
    }

    #[test]
    fn a_page_without_mails_still_moves_the_mark() {
        let page = page(3, 9, 6);
        let pieces = pieces(&page, &[]);
        assert_eq!(pieces.len(), 1);
        assert_eq!((pieces[0].after, pieces[0].through), (30, page_mark(&page)));
        assert_eq!(missing(&pieces), [Some((6, 30))]);
    }

    #[test]
    fn pieces_follow_each_other_and_end_where_the_page_ends() {
        let mails: Vec<Mail> = (1..=120).map(|n| mail(n, 10)).collect();
        let page = page(0, 125, 5);
        let pieces = pieces(&page, &mails);
        let lens: Vec<usize> = pieces.iter().map(|piece| piece.mails.len()).collect();
        assert_eq!(lens, [50, 50, 20]);
        assert_eq!(pieces[0].after, 0);
        assert!(
            pieces
                .windows(2)
                .all(|pair| pair[0].through.id == pair[1].after)
        );
        assert_eq!(pieces[2].through, page_mark(&page));
        assert_eq!(missing(&pieces), [None, None, Some((5, 1000))]);
    }

    #[test]
    fn p07_what_is_missing_is_told_once_in_the_piece_it_is_missing_in() {
        let big = BATCH_BYTES_MAX / 2 + 1;
        // 3 and 4 are gone, and 6; three pieces, since two bodies do not fit one.
        let mails = [mail(2, big), mail(5, big), mail(7, big)];
        let page = page(1, 7, 3);
        let pieces = pieces(&page, &mails);
        assert_eq!(missing(&pieces), [None, Some((2, 20)), Some((1, 50))]);
    }

    #[test]
    fn a_page_cut_short_counts_only_up_to_where_it_ends() {
        let mut cut = page(1, 9, 5);
        let start = Mark { id: 10, n: Some(1) };
        cut_short(&mut cut, start, &[mail(3, 1), mail(4, 1)]);
        assert_eq!((cut.through, cut.n, cut.more), (40, 4, true));
        let told = cut.trimmed.map(|told| (told.count, told.from_id));
        assert_eq!(told, Some((1, 10)));
        let mut stuck = page(1, 9, 5);
        cut_short(&mut stuck, start, &[]);
        assert_eq!((stuck.through, stuck.trimmed), (10, None));
    }
}
