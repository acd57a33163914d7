//! Sending: saved first, then tried under its number until the outcome is here.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Options, Session};
use crate::client::connection::{Failure, wall_ms};
use crate::client::core::RequestNumber;
use crate::client::error::ClientError;
use crate::client::files::FileError;
use crate::client::home::Account;
use crate::client::outbox::{Claimed, Draft, Number, Refusal, Standing};
use crate::client::receipt;
use crate::limits;
use crate::protocol::codes::Code;
use crate::protocol::reply::{self, Outcome};
use crate::protocol::request::{self, Request};

/// Parts on their way before the first reply says how many may be.
const CREDIT: u32 = 4;

/// A send that has its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The number it had in the outbox.
    pub entry: u64,
    /// One per recipient, in the order given.
    pub outcomes: Vec<Outcome>,
    /// The entry is a draft now, for those who refused it: its text lay nowhere else.
    pub is_kept: bool,
}

impl Sent {
    /// Returns the number of the draft that was kept for those who refused it.
    pub fn draft(&self) -> Option<u64> {
        self.is_kept.then_some(self.entry)
    }
}

/// A send of before that was taken up again.
#[derive(Debug)]
pub struct Retried {
    /// Its number in the outbox.
    pub entry: u64,
    /// Its recipients.
    pub to: Vec<String>,
    /// What became of it.
    pub result: Result<Sent, ClientError>,
}

/// Which entries of the outbox to take up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// What settles by itself: tried and unanswered, and queued ones.
    Pending,
    /// What was not tried because the server was away too; never what was kept as a draft on purpose, or was refused.
    All,
    /// Only what waited for a time that has come.
    Due,
}

/// What one try of a send came to.
enum Try {
    Done(Vec<Outcome>),
    Lost,
    Failed(Failure),
}

/// What was so before a delivery began.
#[derive(Debug, Clone, Copy)]
struct Before {
    /// It may have been carried out by an earlier try.
    tried: bool,
    /// Its owner is not waiting for this try: a refusal for the moment is not the end of it.
    kept: bool,
    /// Its text lies nowhere else: what is refused becomes a draft.
    only_copy: bool,
    /// Where it stands when it was surely not tried.
    untried: Standing,
}

impl Before {
    /// A send that its owner gives anew.
    fn fresh(queued: bool, only_copy: bool) -> Self {
        Self {
            tried: false,
            kept: queued,
            only_copy,
            untried: Standing::not_tried(queued),
        }
    }

    /// One that lay in the outbox and was never tried.
    fn untried(standing: Standing) -> Self {
        let untried = if standing.is_draft() {
            standing
        } else {
            Standing::Queued
        };
        Self {
            tried: false,
            kept: true,
            only_copy: true,
            untried,
        }
    }

    /// One that was tried and not answered.
    fn in_doubt() -> Self {
        Self {
            tried: true,
            ..Self::untried(Standing::Queued)
        }
    }

    /// It goes out by itself.
    fn is_queued(&self) -> bool {
        self.untried == Standing::Queued
    }
}

/// Opens a session and sends; when the server cannot be reached the mail is kept in the outbox, as a
/// draft or (`queued`) to be sent by itself later.
pub fn send_or_keep(
    account: &Account,
    options: Options,
    draft: Draft,
    queued: bool,
) -> Result<(Session, Sent), ClientError> {
    let mut session = match Session::open(account, options) {
        Ok(session) => session,
        Err(cause) if cause.is_transport() => {
            let entry = account
                .outbox()?
                .keep_until(&draft, Standing::not_tried(queued))?;
            return Err(ClientError::NotSent {
                entry,
                queued,
                cause: Box::new(cause),
            });
        }
        Err(error) => return Err(error),
    };
    let sent = session.send_or_queue(draft, queued)?;
    Ok((session, sent))
}

impl Session {
    /// Sends a mail: saved durably under its number before the first try, then tried until every
    /// recipient's outcome is here.
    ///
    /// # Errors
    /// [`ClientError::InDoubt`] when it was tried and not answered in time: it stays in the outbox and
    /// settles by itself. [`ClientError::NotSent`] when it was surely not tried: it stays as a draft.
    /// [`ClientError::Refused`] when the server refused it as a whole.
    pub fn send(&mut self, draft: Draft) -> Result<Sent, ClientError> {
        self.send_or_queue(draft, false)
    }

    /// Sends a mail as [`Session::send`] does. What was surely not tried, or was refused for the moment,
    /// goes out by itself later if it is `queued`.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send_or_queue(&mut self, draft: Draft, queued: bool) -> Result<Sent, ClientError> {
        let claimed = self.outbox.enqueue(draft)?;
        self.deliver(claimed, Before::fresh(queued, false))
    }

    /// Sends a mail whose text lies nowhere else, as [`Session::send_or_queue`] does. What is refused becomes a draft
    /// for those who refused it.
    ///
    /// # Errors
    /// As [`Session::send`], and [`ClientError::RefusedKept`] in the place of [`ClientError::Refused`].
    pub fn send_written(&mut self, draft: Draft, queued: bool) -> Result<Sent, ClientError> {
        let claimed = self.outbox.enqueue(draft)?;
        self.deliver(claimed, Before::fresh(queued, true))
    }

    /// Takes up again what is in the outbox and nobody works on, oldest first. Each keeps its number;
    /// what the server no longer knows is reported as [`ClientError::Lost`] and never sent again.
    pub fn retry_outbox(&mut self, which: Which) -> Result<Vec<Retried>, ClientError> {
        let mut entries = match which {
            Which::Due => Vec::new(),
            _ => self.outbox.pending_retries()?,
        };
        entries.extend(match which {
            Which::Pending => self.outbox.queued()?,
            Which::All => self.outbox.unsent()?,
            Which::Due => Vec::new(),
        });
        entries.extend(self.outbox.due(wall_ms())?);
        entries.sort_unstable();
        let mut retried = Vec::new();
        for entry in entries {
            let Some(again) = self.retry_entry(entry)? else {
                continue;
            };
            let unreachable = again.result.as_ref().is_err_and(|error| {
                matches!(
                    error,
                    ClientError::InDoubt { .. } | ClientError::NotSent { .. }
                )
            });
            retried.push(again);
            if unreachable {
                break;
            }
        }
        Ok(retried)
    }

    /// Takes up one entry again, a draft too; nothing when it is gone or a living process works on it.
    pub fn retry_entry(&mut self, entry: u64) -> Result<Option<Retried>, ClientError> {
        let claimed = match self.outbox.claim(entry) {
            // That is the end of this one, and of no other.
            Err(FileError::Damaged { path, what }) => {
                let result = Err(ClientError::DamagedEntry { entry, path, what });
                let to = Vec::new();
                return Ok(Some(Retried { entry, to, result }));
            }
            claimed => claimed?,
        };
        let Some(claimed) = claimed else {
            return Ok(None);
        };
        let to = claimed.draft.to.clone();
        let result = match claimed.standing {
            Standing::Lost { .. } => Err(ClientError::Lost { entry }),
            Standing::Damaged { .. } => Err(ClientError::DamagedEntry {
                entry,
                path: claimed.path().to_owned(),
                what: "it cannot be read".to_owned(),
            }),
            Standing::Draft
            | Standing::Unsent
            | Standing::Queued
            | Standing::Scheduled(_)
            | Standing::Held { .. } => self.take_up_untried(claimed),
            Standing::InDoubt(_) => self.take_up(claimed),
        };
        Ok(Some(Retried { entry, to, result }))
    }

    /// Sends what was held back once its time has come; nothing when somebody took it back, or sent it, before.
    pub fn send_held(&mut self, entry: u64) -> Result<Option<Retried>, ClientError> {
        let Some(claimed) = self.outbox.claim(entry)? else {
            return Ok(None);
        };
        if !matches!(claimed.standing, Standing::Held { .. }) {
            return Ok(None);
        }
        let to = claimed.draft.to.clone();
        let result = self.take_up_untried(claimed);
        Ok(Some(Retried { entry, to, result }))
    }

    /// Sends everything that is held back, at once: for who leaves.
    pub fn send_all_held(&mut self) -> Result<Vec<Retried>, ClientError> {
        let mut sent = Vec::new();
        for entry in self.outbox.all_held()? {
            sent.extend(self.send_held(entry)?);
        }
        Ok(sent)
    }

    /// Says whether something waits for a time that has come. Asks no server.
    pub fn has_due(&self) -> Result<bool, ClientError> {
        Ok(!self.outbox.due(wall_ms())?.is_empty())
    }

    fn take_up_untried(&mut self, claimed: Claimed) -> Result<Sent, ClientError> {
        let before = Before::untried(claimed.standing);
        let claimed = self.outbox.promote(claimed)?;
        self.deliver(claimed, before)
    }

    fn take_up(&mut self, claimed: Claimed) -> Result<Sent, ClientError> {
        let current = self.outbox.stream()?;
        let before = Before::in_doubt();
        match claimed.number() {
            Some(number) if Some(number.stream) == current => self.deliver(claimed, before),
            _ => self.lose(claimed),
        }
    }

    fn lose(&mut self, claimed: Claimed) -> Result<Sent, ClientError> {
        let entry = self.outbox.lose(claimed)?;
        Err(ClientError::Lost { entry })
    }

    /// Tries an entry until its outcome is here or time is up.
    fn deliver(&mut self, claimed: Claimed, mut before: Before) -> Result<Sent, ClientError> {
        let deadline_ms = self.deadline_ms();
        let Some(number) = claimed.number() else {
            return self.lose(claimed);
        };
        let body: Arc<[u8]> = claimed.draft.body.as_slice().into();
        loop {
            match self.try_once(&claimed.draft, number, &body, deadline_ms) {
                Try::Done(outcomes) => return self.have(claimed, before, outcomes),
                Try::Lost => return self.lose(claimed),
                Try::Failed(failure) => {
                    let tried = failure.tried;
                    match self.overcome(failure.error, deadline_ms) {
                        Ok(()) => before.tried |= tried,
                        Err(error) => return self.give_up(claimed, before, tried, error),
                    }
                }
            }
        }
    }

    /// Ends a delivery with its outcome.
    fn have(
        &mut self,
        claimed: Claimed,
        before: Before,
        outcomes: Vec<Outcome>,
    ) -> Result<Sent, ClientError> {
        let entry = claimed.entry;
        let refused: Vec<Refusal> = outcomes.iter().filter_map(refusal).collect();
        let is_kept = !refused.is_empty() && is_worth_keeping(before, &claimed.draft);
        if is_kept {
            self.outbox.keep_refused(claimed, &refused)?;
        } else {
            self.outbox.settle(claimed)?;
        }
        Ok(Sent {
            entry,
            outcomes,
            is_kept,
        })
    }

    /// Ends a delivery without an outcome, or with a refusal of the whole. `tried` says whether the send
    /// itself went out in the last try.
    fn give_up(
        &mut self,
        claimed: Claimed,
        before: Before,
        tried: bool,
        error: ClientError,
    ) -> Result<Sent, ClientError> {
        let entry = claimed.entry;
        let refusal = match &error {
            ClientError::Refused(told) if is_sure(told.code) => Some(told.code),
            _ => None,
        };
        if refusal.is_some_and(|code| ends(code, before, tried)) {
            return Err(self.refused_whole(claimed, before, error)?);
        }
        if before.tried || (tried && refusal.is_none()) {
            return Err(ClientError::InDoubt { entry });
        }
        self.outbox.demote(claimed, &before.untried)?;
        Err(ClientError::NotSent {
            entry,
            queued: before.is_queued(),
            cause: Box::new(error),
        })
    }

    /// Ends a delivery that was refused as a whole; returns the error to tell.
    fn refused_whole(
        &mut self,
        claimed: Claimed,
        before: Before,
        error: ClientError,
    ) -> Result<ClientError, ClientError> {
        match error {
            ClientError::Refused(error) if is_worth_keeping(before, &claimed.draft) => {
                let of = |address: &String| Refusal {
                    address: address.clone(),
                    error: error.clone(),
                };
                let refused: Vec<Refusal> = claimed.draft.to.iter().map(of).collect();
                let entry = self.outbox.keep_refused(claimed, &refused)?;
                Ok(ClientError::RefusedKept { entry, error })
            }
            error => {
                self.outbox.settle(claimed)?;
                Ok(error)
            }
        }
    }

    fn try_once(
        &mut self,
        draft: &Draft,
        number: Number,
        body: &Arc<[u8]>,
        deadline_ms: u64,
    ) -> Try {
        let parts = match self.upload(number, body, deadline_ms) {
            Ok(parts) => parts,
            // Parts carry nothing out: a send that got no further was not tried.
            Err(mut failure) => {
                failure.tried = false;
                return Try::Failed(failure);
            }
        };
        let request = Request::Send(request::Send {
            session: self.login.session.clone(),
            stream: number.stream,
            number: number.number,
            settled_below: number.settled_below,
            to: draft.to.clone(),
            subject: draft.subject.clone(),
            content_type: draft.content_type.clone(),
            ttl_s: draft.ttl_s,
            parts,
            in_reply_to: draft.answers.map(|answers| answers.in_reply_to),
            thread: draft.answers.map(|answers| answers.thread),
        });
        let frame = (parts.is_none() && !body.is_empty()).then(|| body.clone());
        match self
            .connection
            .call::<reply::Sent>(&request, frame, deadline_ms)
        {
            Ok((sent, _)) => Try::Done(sent.outcomes),
            Err(failure) => match &failure.error {
                ClientError::Refused(told)
                    if matches!(told.code, Code::StreamUnknown | Code::Settled) =>
                {
                    Try::Lost
                }
                _ => Try::Failed(failure),
            },
        }
    }

    /// Sends a large body ahead, part by part, as many at once as the server gives credit for. Returns
    /// the number of parts, or nothing when the body fits the send's own frame.
    fn upload(
        &mut self,
        number: Number,
        body: &[u8],
        deadline_ms: u64,
    ) -> Result<Option<u32>, Failure> {
        if body.len() <= limits::FRAME_BYTES_MAX {
            return Ok(None);
        }
        let mut under_way = VecDeque::new();
        let uploaded = self.upload_parts(number, body, &mut under_way, deadline_ms);
        for left in under_way {
            self.connection.forget(left);
        }
        uploaded.map(Some)
    }

    fn upload_parts(
        &mut self,
        number: Number,
        body: &[u8],
        under_way: &mut VecDeque<RequestNumber>,
        deadline_ms: u64,
    ) -> Result<u32, Failure> {
        let mut credit = CREDIT;
        let mut count = 0;
        for part in body.chunks(limits::PART_BYTES_MAX) {
            while under_way.len() >= credit as usize {
                credit = self.part_done(under_way, deadline_ms)?;
            }
            let request = Request::Part(request::Part {
                session: self.login.session.clone(),
                stream: number.stream,
                number: number.number,
                index: count,
            });
            under_way.push_back(self.connection.submit(&request, Some(part.into())));
            count += 1;
        }
        while !under_way.is_empty() {
            self.part_done(under_way, deadline_ms)?;
        }
        Ok(count)
    }

    fn part_done(
        &mut self,
        under_way: &mut VecDeque<RequestNumber>,
        deadline_ms: u64,
    ) -> Result<u32, Failure> {
        let Some(first) = under_way.pop_front() else {
            return Ok(CREDIT);
        };
        let (part, _) = self
            .connection
            .wait::<reply::Part>(first, "part", deadline_ms)?;
        Ok(part.credit.max(1))
    }
}

fn refusal(outcome: &Outcome) -> Option<Refusal> {
    match outcome {
        Outcome::Sent { .. } => None,
        Outcome::Refused { address, error } => Some(Refusal {
            address: address.clone(),
            error: error.clone(),
        }),
    }
}

/// Says whether what is refused is kept. A receipt is not: nobody wrote it.
fn is_worth_keeping(before: Before, draft: &Draft) -> bool {
    before.only_copy && !receipt::is_type(&draft.content_type)
}

/// Says whether a refusal of the whole leaves no doubt that this try carried nothing out. The others
/// are given before the server looks at what it did under the number.
fn is_sure(code: Code) -> bool {
    !matches!(
        code,
        Code::NoSession | Code::ShutOut | Code::ShuttingDown | Code::Internal | Code::Unknown
    )
}

/// Says whether a refusal is the last word on an entry. After an earlier try it is only when the send
/// itself was refused for good; what nobody waits for outlives a refusal for the moment.
fn ends(code: Code, before: Before, tried: bool) -> bool {
    if before.tried {
        tried && !code.retryable()
    } else {
        !before.kept || !code.retryable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_the_moment_ends_only_what_its_owner_waits_for() {
        assert!(ends(Code::DiskFull, Before::fresh(false, false), true));
        assert!(!ends(
            Code::DiskFull,
            Before::untried(Standing::Queued),
            true
        ));
        assert!(!ends(
            Code::WindowFull,
            Before::untried(Standing::Queued),
            true
        ));
        assert!(ends(
            Code::BadRequest,
            Before::untried(Standing::Queued),
            true
        ));
    }

    #[test]
    fn p03_a_refused_upload_says_nothing_of_an_earlier_try() {
        assert!(!ends(Code::DiskFull, Before::in_doubt(), false));
        assert!(!ends(Code::TooLarge, Before::in_doubt(), false));
        assert!(!ends(Code::DiskFull, Before::in_doubt(), true));
        assert!(ends(Code::NumberReused, Before::in_doubt(), true));
        assert!(ends(Code::TooLarge, Before::fresh(false, false), false));
        assert!(!is_sure(Code::ShuttingDown), "it is said before any look");
    }
}
