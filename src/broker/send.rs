//! Taking mail: `send` and `part`.
//!
//! One request becomes one batch: the mails, the logs' totals, the counter and the outcome, so that a
//! retry finds either all of it or nothing (P3).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::core::{Core, Ruling, Who, told};
use super::io::Frame;
use super::streams::{Known, SendDigest};
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::{Address, SERVER};
use crate::protocol::notice::Notice;
use crate::protocol::request::Right;
use crate::protocol::{Answers, LogNumber, MailId, reply, request, time};
use crate::store::{
    AddressKind, AddressRecord, AddressState, Change, CompletionRecord, FullPolicy, MailRecord,
    MailState, RecordedOutcome,
};

/// Parts that a client may have under way at once: enough to fill a link, little to hold.
const PART_CREDIT: u32 = 8;

/// A mail that is about to be put into a log.
#[derive(Debug)]
pub(super) struct NewMail {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) subject: String,
    pub(super) content_type: String,
    pub(super) sent_at_ms: i64,
    pub(super) expires_at_ms: Option<i64>,
    /// The id of the first copy, where there was one before.
    pub(super) message: Option<MailId>,
    pub(super) answers: Option<Answers>,
    pub(super) body: Frame,
}

impl Core {
    /// Carries out a send exactly once per stream and number.
    pub(super) fn send(&mut self, who: Who, send: &request::Send, body: Option<Vec<u8>>) -> Ruling {
        check_shape(send, body.as_deref())?;
        let body = self.body_of(who, send, body)?;
        let digest = digest(send, body.as_deref());
        let row = (send.number, send.settled_below);
        match self.streams.look((send.stream, who.device), row, &digest) {
            Known::New => {}
            Known::Done(done) => {
                let outcomes = done.outcomes.iter().map(repeated).collect();
                self.counts.duplicates += 1;
                return Ok(told(&reply::Sent { outcomes }));
            }
            Known::Refused(code) => return Err(stream_refusal(code)),
        }
        let Some(body) = body else {
            return Err(refusal!(
                Code::PartsMissing,
                "the body's parts are not here; send them again"
            ));
        };
        self.take_more()?;
        let outcomes = self.deliver(who, send, &body);
        self.settle_and_record(send, &digest, &outcomes);
        self.sessions.drop_staging(&who.session);
        Ok(told(&reply::Sent {
            outcomes: outcomes.into_iter().map(|(told, _)| told).collect(),
        }))
    }

    /// Refuses new mail while the disk is nearly full.
    pub(super) fn take_more(&self) -> Result<(), WireError> {
        if !self.disk_low {
            return Ok(());
        }
        Err(refusal!(
            Code::DiskFull,
            "the server's disk is nearly full; it takes no new mail until there is room"
        )
        .after_ms(10_000))
    }

    /// Returns the body as it came with the send, or before it in parts; nothing when the parts are
    /// not here (any more).
    fn body_of(
        &self,
        who: Who,
        send: &request::Send,
        body: Option<Vec<u8>>,
    ) -> Result<Option<Frame>, WireError> {
        let body: Option<Frame> = match send.parts {
            None => Some(body.unwrap_or_default().into()),
            Some(parts) => {
                let row = (send.stream, send.number, parts);
                self.sessions.staged(&who.session, row).map(Frame::from)
            }
        };
        match &body {
            Some(body) if body.len() as u64 > self.settings.body_bytes_max => {
                Err(self.body_too_large())
            }
            _ => Ok(body),
        }
    }

    fn body_too_large(&self) -> WireError {
        let max = self.settings.body_bytes_max;
        refusal!(Code::TooLarge, "a body has at most {} bytes here", max)
    }

    /// Puts the mail into each recipient's log; who cannot have it is told why, and stops nobody else.
    fn deliver(
        &mut self,
        who: Who,
        send: &request::Send,
        body: &Frame,
    ) -> Vec<(reply::Outcome, RecordedOutcome)> {
        let recipients: Vec<Result<(LogNumber, String), (String, WireError)>> = send
            .to
            .iter()
            .map(|name| self.recipient(who, name, body.len() as u64))
            .collect();
        let names: Vec<String> = recipients
            .iter()
            .map(|found| match found {
                Ok((_, name)) => name.clone(),
                Err((given, _)) => given.clone(),
            })
            .collect();
        let mut outcomes = Vec::with_capacity(recipients.len());
        let mut mail = NewMail {
            from: self.directory.name_of(who.user).to_owned(),
            to: names,
            subject: send.subject.clone(),
            content_type: send.content_type.clone(),
            sent_at_ms: self.now.wall_ms,
            expires_at_ms: send.ttl_s.map(|ttl| self.expiry(ttl)),
            message: None,
            answers: answers(send),
            body: Arc::clone(body),
        };
        for recipient in recipients {
            outcomes.push(match recipient {
                Ok((log, address)) => {
                    let id = self.append(log, &mail);
                    mail.message = mail.message.or(Some(id));
                    self.counts.accepted += 1;
                    accepted(address, id)
                }
                Err((address, error)) => {
                    self.counts.refused += 1;
                    self.counts.refuse(error.code);
                    refused(address, error)
                }
            });
        }
        outcomes
    }

    /// Finds a recipient that takes mail of this sender and has room for so many bytes more.
    fn recipient(
        &self,
        who: Who,
        given: &str,
        size: u64,
    ) -> Result<(LogNumber, String), (String, WireError)> {
        let clipped = || clip(given, limits::NAME_BYTES_MAX);
        let name = Address::parse(given)
            .map_err(|error| (clipped(), refusal!(Code::BadName, "not a name: {}", error)))?;
        let Some(address) = self.directory.live(name.as_str()) else {
            return Err((clipped(), self.no_such_address(name.as_str())));
        };
        if address.kind == AddressKind::Topic {
            self.may(Right::Send, who.user, &address.name)
                .map_err(|error| (clipped(), error))?;
        }
        if self.blocks.has(address.number, who.user) {
            return Err((
                clipped(),
                refusal!(Code::Blocked, "{} takes no mail from you", name),
            ));
        }
        if self.is_full(address, size) {
            return Err((
                clipped(),
                refusal!(
                    Code::MailboxFull,
                    "{}'s mailbox is full; it takes mail again when {} has read some",
                    name,
                    name
                ),
            ));
        }
        Ok((address.number, String::from(name)))
    }

    /// A user's log at its limit refuses; a topic's trims its oldest instead, unless set to refuse.
    fn is_full(&self, address: &AddressRecord, size: u64) -> bool {
        if address.kind == AddressKind::Topic && address.full == FullPolicy::Trim {
            return false;
        }
        let used = self.logs.used(address.number);
        let limits = self.rules.limits(address.number, &self.settings);
        used.count >= limits.mails_max || used.bytes + size > limits.bytes_max
    }

    /// Says that there is no such address, with the names that come nearest.
    pub(super) fn no_such_address(&self, name: &str) -> WireError {
        let reserved = self
            .directory
            .by_name(name)
            .is_some_and(|address| address.state == AddressState::Reserved);
        let nearest = self.directory.nearest(name);
        let nobody = Code::NoSuchAddress;
        match (reserved, nearest.as_slice()) {
            (true, _) => refusal!(
                nobody,
                "no user or topic \"{}\"; that user was removed",
                name
            ),
            (false, []) => refusal!(nobody, "no user or topic \"{}\"", name),
            (false, [near]) => refusal!(
                nobody,
                "no user or topic \"{}\"; did you mean {}?",
                name,
                near
            ),
            (false, [near, next]) => refusal!(
                nobody,
                "no user or topic \"{}\"; did you mean {} or {}?",
                name,
                near,
                next
            ),
            (false, [near, next, last, ..]) => refusal!(
                nobody,
                "no user or topic \"{}\"; did you mean {} or {} or {}?",
                name,
                near,
                next,
                last
            ),
        }
    }

    /// Puts a copy of a mail into a log.
    pub(super) fn append(&mut self, log: LogNumber, mail: &NewMail) -> MailId {
        let id = self.take_number();
        let size = mail.body.len() as u64;
        let (before, head) = self.logs.append(log, id, size);
        let record = MailRecord {
            prev: before.id,
            count: head.count,
            bytes: head.bytes,
            state: MailState::Live,
            from: mail.from.clone(),
            to: mail.to.clone(),
            subject: mail.subject.clone(),
            content_type: mail.content_type.clone(),
            sent_at_ms: mail.sent_at_ms,
            expires_at_ms: mail.expires_at_ms,
            running_s: self.running_s(),
            size,
            message: mail.message.unwrap_or(id),
            answers: mail.answers,
        };
        if self.listened_key(log).is_some() {
            let fits = mail.body.len() <= limits::NOTICE_BODY_BYTES_MAX && !mail.body.is_empty();
            let mut envelope = self.envelope(log, id, &record);
            envelope.frames = u32::from(fits);
            self.publish(
                log,
                &Notice::Mail { log, envelope },
                fits.then(|| Arc::clone(&mail.body)),
            );
        }
        self.changes.push(Change::AppendMail {
            log,
            id,
            record,
            body: Arc::clone(&mail.body),
        });
        self.changes.push(Change::PutLog {
            log,
            record: self.logs.record(log),
        });
        self.upkeep.grew(log);
        id
    }

    /// Tells who reads an address something, by a mail of the server's own. No limit keeps it out, and nobody can take
    /// it for somebody else's.
    pub(super) fn write_to(&mut self, log: LogNumber, subject: &str, text: String) -> MailId {
        let mail = NewMail {
            from: SERVER.to_owned(),
            to: vec![self.directory.name_of(log).to_owned()],
            subject: subject.to_owned(),
            content_type: "text/plain; charset=utf-8".to_owned(),
            sent_at_ms: self.now.wall_ms,
            expires_at_ms: None,
            message: None,
            answers: None,
            body: text.into_bytes().into(),
        };
        self.append(log, &mail)
    }

    fn expiry(&self, ttl_s: u64) -> i64 {
        let lifetime_ms = ttl_s.min(limits::TTL_SECONDS_MAX) * 1_000;
        self.now.wall_ms.saturating_add_unsigned(lifetime_ms)
    }

    /// Describes a stored mail to its readers, with no body frame yet.
    pub(super) fn envelope(
        &self,
        log: LogNumber,
        id: MailId,
        mail: &MailRecord,
    ) -> reply::Envelope {
        reply::Envelope {
            id,
            prev: mail.prev,
            n: mail.count,
            address: self.directory.name_of(log).to_owned(),
            from: mail.from.clone(),
            to: mail.to.clone(),
            subject: mail.subject.clone(),
            sent_at: time::to_text(mail.sent_at_ms),
            expires_at: mail.expires_at_ms.map(time::to_text),
            content_type: mail.content_type.clone(),
            size: mail.size,
            frames: 0,
            message: mail.message,
            in_reply_to: mail.answers.map(|answers| answers.in_reply_to),
            thread: mail.answers.map(|answers| answers.thread),
        }
    }

    /// Keeps the outcome with the mail, in one batch. A send that everybody refused for the moment
    /// leaves nothing behind: it may be tried again under its number.
    fn settle_and_record(
        &mut self,
        send: &request::Send,
        digest: &SendDigest,
        outcomes: &[(reply::Outcome, RecordedOutcome)],
    ) {
        let for_the_moment = |recorded: &RecordedOutcome| match recorded {
            RecordedOutcome::Sent { .. } => false,
            RecordedOutcome::Refused { code, .. } => code.retryable(),
        };
        if outcomes
            .iter()
            .all(|(_, recorded)| for_the_moment(recorded))
        {
            return;
        }
        let running_s = self.running_s();
        self.streams.settle(
            send.stream,
            send.settled_below,
            running_s,
            &mut self.changes,
        );
        let outcomes = outcomes
            .iter()
            .map(|(_, recorded)| recorded.clone())
            .collect();
        let record = CompletionRecord {
            digest: digest.to_bytes(),
            outcomes,
        };
        self.streams
            .complete(send.stream, send.number, record, &mut self.changes);
    }

    /// Takes a part of a body that is too large for one frame.
    pub(super) fn part(&mut self, who: Who, part: &request::Part, body: Option<Vec<u8>>) -> Ruling {
        self.take_more()?;
        if self.streams.get(part.stream, who.device).is_none() {
            return Err(stream_refusal(Code::StreamUnknown));
        }
        let body = body.unwrap_or_default();
        if body.len() > limits::PART_BYTES_MAX {
            return Err(refusal!(Code::TooLarge, "a part has at most 65536 bytes"));
        }
        let staged = (part.stream, part.number, part.index);
        match self
            .sessions
            .stage(&who.session, staged, &body, self.now.mono_ms)
        {
            Ok(Some(received)) if received > self.settings.body_bytes_max => {
                self.sessions.drop_staging(&who.session);
                Err(self.body_too_large())
            }
            Ok(Some(received)) => Ok(told(&reply::Part {
                received,
                credit: PART_CREDIT,
            })),
            Ok(None) => Err(refusal!(
                Code::PartsMissing,
                "an earlier part is not here; start over with part 0"
            )),
            Err(_) => Err(refusal!(
                Code::Busy,
                "too many large mails are being sent at the moment; try again soon"
            )
            .after_ms(1_000)),
        }
    }
}

fn check_shape(send: &request::Send, body: Option<&[u8]>) -> Result<(), WireError> {
    if send.to.is_empty() {
        return Err(refusal!(
            Code::BadRequest,
            "a send names at least one recipient"
        ));
    }
    if send.to.len() > limits::RECIPIENTS_MAX {
        return Err(refusal!(Code::TooLarge, "a send has at most 32 recipients"));
    }
    // Two spellings of one name are one name: nobody gets a mail twice.
    let normal = |name: &String| Address::parse(name).map_or_else(|_| name.clone(), String::from);
    let distinct: BTreeSet<String> = send.to.iter().map(normal).collect();
    if distinct.len() != send.to.len() {
        return Err(refusal!(Code::BadRequest, "a recipient is named twice"));
    }
    if send.subject.len() > limits::SUBJECT_BYTES_MAX {
        return Err(refusal!(Code::TooLarge, "a subject has at most 998 bytes"));
    }
    if send.subject.chars().any(char::is_control) {
        return Err(refusal!(
            Code::BadRequest,
            "a subject is one line without control characters"
        ));
    }
    if send.content_type.len() > limits::CONTENT_TYPE_BYTES_MAX
        || send.content_type.chars().any(char::is_control)
    {
        return Err(refusal!(
            Code::BadRequest,
            "a content type is one line of at most 200 bytes"
        ));
    }
    if body.is_some_and(|body| body.len() > limits::FRAME_BYTES_MAX) {
        return Err(refusal!(
            Code::TooLarge,
            "a body over 64 KiB goes up in parts"
        ));
    }
    if send.parts.is_some() && body.is_some() {
        return Err(refusal!(
            Code::BadRequest,
            "a body comes in parts or in a frame, not in both"
        ));
    }
    check_answers(send)
}

/// Whether there ever was such a mail is not looked at: it may be gone, and the answer is one all the same.
fn check_answers(send: &request::Send) -> Result<(), WireError> {
    let is_id = |id: MailId| (1..=limits::ID_MAX).contains(&id);
    let fits = match (send.in_reply_to, send.thread) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(answered), begun) => is_id(answered) && begun.is_none_or(is_id),
    };
    if fits {
        return Ok(());
    }
    Err(WireError::new(
        Code::BadRequest,
        "in_reply_to is the number of a mail, and thread comes with it",
    ))
}

fn answers(send: &request::Send) -> Option<Answers> {
    send.in_reply_to.map(|in_reply_to| Answers {
        in_reply_to,
        thread: send.thread.unwrap_or(in_reply_to),
    })
}

/// Digests what makes a send that send, so that a number cannot be used for another.
fn digest(send: &request::Send, body: Option<&[u8]>) -> SendDigest {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    for name in &send.to {
        field(name.as_bytes());
    }
    field(send.subject.as_bytes());
    field(send.content_type.as_bytes());
    field(&send.ttl_s.unwrap_or(0).to_be_bytes());
    // Nothing for a mail that answers none: its digest is what older servers kept of it.
    if let Some(answers) = answers(send) {
        field(&answers.in_reply_to.to_be_bytes());
        field(&answers.thread.to_be_bytes());
    }
    SendDigest {
        envelope: half(&hasher.finalize()),
        body: body.map(|body| half(&blake3::hash(body))),
    }
}

fn half(hash: &blake3::Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    half
}

fn accepted(address: String, id: MailId) -> (reply::Outcome, RecordedOutcome) {
    let told = reply::Outcome::Sent {
        address: address.clone(),
        id,
        durability: "fsync".into(),
        duplicate: false,
    };
    (told, RecordedOutcome::Sent { address, id })
}

fn refused(address: String, error: WireError) -> (reply::Outcome, RecordedOutcome) {
    let recorded = RecordedOutcome::Refused {
        address: address.clone(),
        code: error.code,
    };
    (reply::Outcome::Refused { address, error }, recorded)
}

/// Gives a recorded outcome again.
fn repeated(outcome: &RecordedOutcome) -> reply::Outcome {
    match outcome {
        RecordedOutcome::Sent { address, id } => reply::Outcome::Sent {
            address: address.clone(),
            id: *id,
            durability: "fsync".into(),
            duplicate: true,
        },
        RecordedOutcome::Refused { address, code } => reply::Outcome::Refused {
            address: address.clone(),
            error: refusal!(
                *code,
                "refused when it was first sent ({})",
                format!("{address:?}")
            ),
        },
    }
}

fn stream_refusal(code: Code) -> WireError {
    match code {
        Code::StreamUnknown => refusal!(
            code,
            "the server does not know this stream (any more), so it cannot tell whether this was sent; \
             log in for a new one"
        ),
        Code::Settled => refusal!(
            code,
            "this number was settled before; it is not carried out again"
        ),
        Code::NumberReused => refusal!(
            code,
            "this number was used for another content; it is not carried out"
        ),
        Code::WindowFull => refusal!(
            code,
            "1024 sends of this stream are unsettled; settle some first"
        ),
        _ => refusal!(code, "a number is at least 1 and not below settled_below"),
    }
}

fn clip(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
