//! Files of a chat: offered, taken or not, sent in pieces, verified, resumed.
//!
//! [`Files`] is fed with a chat's events and answers through [`Speak`], which a chat's voice is. It
//! decides what comes next and never touches a disk: each file has a thread of its own
//! (`outgoing`, `incoming`), so that hashing, reading and writing never hold up a line. One file
//! at a time goes each way; the next ones wait. Where to read next: `folder` and [`name`] for what
//! keeps a file of somebody else where it belongs, `docs/protocol.md`, "Chat", for the wire.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::gauge::Gauge;
use self::incoming::Incoming;
use self::outgoing::Outgoing;
use super::Voice;
use super::frame::{FileNumber, Note, Seq};
use super::io::Event;

mod folder;
mod gauge;
mod hash;
mod incoming;
pub mod name;
mod outgoing;
#[cfg(test)]
mod tests;

pub use folder::{Folder, FolderError};
pub use gauge::Stage;

/// Offers of the other side that may wait for an answer or for their turn.
const OFFERS_MAX: usize = 64;

/// What the other side hears when nobody takes files here.
const TAKES_NONE: &str = "takes no files; start with --receive DIR";

/// How files are spoken of to the other side. Only offers and pieces may wait while the way out is full:
/// answers are given, and waited for, by whoever drives [`Files`] and also says what was shown. Two sides
/// that waited there for each other's row to move would wait for ever.
pub trait Speak: Send + Sync {
    /// Says a note in the row of lines.
    fn note(&self, note: Note);
    /// Sends a piece of a file of this side.
    fn piece(&self, file: FileNumber, offset: u64, bytes: Vec<u8>);
    /// Says how much of a file of the other side is written, and whether to send again from there.
    fn credit(&self, file: FileNumber, written: u64, again: bool);
}

/// A chat that is over needs no answer: its end is told by itself.
impl Speak for Voice {
    fn note(&self, note: Note) {
        match note {
            Note::Offer { .. } => drop(self.note(note)),
            answer => self.shared.answer_note(answer),
        }
    }

    fn piece(&self, file: FileNumber, offset: u64, bytes: Vec<u8>) {
        self.piece(file, offset, bytes).ok();
    }

    fn credit(&self, file: FileNumber, written: u64, again: bool) {
        self.credit(file, written, again).ok();
    }
}

/// What is done with files that the other side offers.
#[derive(Debug, Clone)]
pub enum Policy {
    /// They are refused, and the other side is told how that changes.
    Refuse,
    /// They are put into this folder.
    Into(Folder),
    /// The user is asked: [`Files::accept`] or [`Files::refuse`].
    Ask,
}

/// A file, for whoever shows or logs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// It comes from the other side.
    pub incoming: bool,
    /// What the two sides call it, each direction for itself; nothing before it is offered.
    pub file: Option<FileNumber>,
    /// Its name here: one component that cannot act, if it is the other side's.
    pub name: String,
    /// Its bytes; 0 before it is offered.
    pub size: u64,
    /// Its BLAKE3, 64 hex digits; empty before it is offered.
    pub blake3: String,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// One side offers it to the other.
    Offered,
    /// It is on its way, from this offset on.
    Accepted {
        /// What was there already from an earlier try.
        offset: u64,
    },
    /// The receiving side does not want it, or cannot take it (any more).
    Refused {
        /// For people; from the other side if it is the one that receives.
        reason: String,
    },
    /// The other side has it, verified.
    Sent,
    /// It is here, verified and synced.
    Received {
        /// Where it lies.
        path: PathBuf,
    },
    /// It did not arrive, for a reason of the sending side or because the chat ended.
    Failed {
        /// For people.
        reason: String,
    },
}

/// Something to tell the user about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which file.
    pub about: About,
    /// What became of it.
    pub state: State,
}

/// How far a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// It comes from the other side.
    pub incoming: bool,
    /// Its name here.
    pub name: String,
    /// What is being done with it.
    pub stage: Stage,
    /// Bytes done in this stage.
    pub done: u64,
    /// Bytes to do in this stage.
    pub size: u64,
}

/// An offer of the other side.
#[derive(Debug, Clone)]
struct Offer {
    file: FileNumber,
    name: String,
    size: u64,
    blake3: String,
}

impl Offer {
    fn about(&self) -> About {
        About {
            incoming: true,
            file: Some(self.file),
            name: self.name.clone(),
            size: self.size,
            blake3: self.blake3.clone(),
        }
    }
}

/// Why a file cannot go on, for this side and for the other one, which hears no path of ours.
#[derive(Debug)]
struct Failure {
    to_user: String,
    to_peer: String,
}

impl Failure {
    fn both(reason: &str) -> Self {
        Self {
            to_user: reason.to_owned(),
            to_peer: reason.to_owned(),
        }
    }
}

/// The files of one chat.
pub struct Files {
    speak: Arc<dyn Speak>,
    policy: Policy,
    /// Files of this side that wait for their turn.
    queue: VecDeque<PathBuf>,
    outgoing: Option<Outgoing>,
    /// Files of the other side that wait for an answer.
    offers: VecDeque<Offer>,
    /// Files of the other side that are wanted and wait for their turn.
    wanted: VecDeque<(Offer, Folder)>,
    incoming: Option<Incoming>,
    told: VecDeque<Told>,
    is_over: bool,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("policy", &self.policy)
            .field("queue", &self.queue)
            .field("outgoing", &self.outgoing)
            .field("offers", &self.offers)
            .field("incoming", &self.incoming)
            .finish_non_exhaustive()
    }
}

impl Files {
    /// Makes the files of a chat that begins.
    pub fn new(speak: Arc<dyn Speak>, policy: Policy) -> Self {
        Self {
            speak,
            policy,
            queue: VecDeque::new(),
            outgoing: None,
            offers: VecDeque::new(),
            wanted: VecDeque::new(),
            incoming: None,
            told: VecDeque::new(),
            is_over: false,
        }
    }

    /// Sends a file, after those before it. What becomes of it comes from [`Files::poll_told`].
    pub fn send(&mut self, path: PathBuf) {
        self.queue.push_back(path);
        self.advance();
    }

    /// Takes an offered file (the oldest one without a number) into a folder. Says whether there was
    /// such an offer.
    pub fn accept(&mut self, file: Option<FileNumber>, into: &Folder) -> bool {
        let Some(offer) = self.take_offer(file) else {
            return false;
        };
        self.wanted.push_back((offer, into.clone()));
        self.advance();
        true
    }

    /// Refuses an offered file (the oldest one without a number), or stops one that is coming. Says
    /// whether there was such a file.
    pub fn refuse(&mut self, file: Option<FileNumber>, reason: &str) -> bool {
        let offer = self.take_offer(file).or_else(|| self.stop_incoming(file));
        let Some(offer) = offer else {
            return false;
        };
        self.refuse_offer(offer.about(), reason);
        self.advance();
        true
    }

    /// Returns what the other side offers and nobody has answered, the oldest first.
    pub fn offers(&self) -> impl Iterator<Item = About> {
        self.offers.iter().map(Offer::about)
    }

    /// Takes an event of the chat and gives back what is not about files. What needs to be
    /// acknowledged once it is shown is so when this returns.
    pub fn handle(&mut self, event: Event) -> Option<Event> {
        let rest = self.sort(event);
        self.advance();
        rest
    }

    /// Returns what to tell the user. To be asked after each event, and several times a second while
    /// [`Files::is_busy`].
    pub fn poll_told(&mut self) -> Option<Told> {
        self.advance();
        self.told.pop_front()
    }

    /// Returns how far the files are that are being worked on, at most one each way.
    pub fn progress(&self) -> Vec<Progress> {
        let progress = |incoming, name: &str, gauge: &Gauge| {
            let (stage, done, size) = gauge.read();
            Progress {
                incoming,
                name: name.to_owned(),
                stage,
                done,
                size,
            }
        };
        let outgoing = self.outgoing.iter();
        let incoming = self.incoming.iter();
        outgoing
            .map(|file| progress(false, &file.name, &file.gauge))
            .chain(incoming.map(|file| progress(true, &file.offer.name, &file.gauge)))
            .collect()
    }

    /// Says whether a file of this side is under way or waits for its turn.
    pub fn is_sending(&self) -> bool {
        self.outgoing.is_some() || !self.queue.is_empty()
    }

    /// Says whether a file of the other side is under way or waits for its turn.
    pub fn is_receiving(&self) -> bool {
        self.incoming.is_some() || !self.wanted.is_empty()
    }

    /// Says whether anything is under way.
    pub fn is_busy(&self) -> bool {
        self.is_sending() || self.is_receiving()
    }

    /// Ends everything, the chat being over: parts are synced and kept, and [`Files::poll_told`] tells of
    /// each file that did not arrive.
    pub fn end(&mut self) {
        self.is_over = true;
        if let Some(mut incoming) = self.incoming.take() {
            incoming.finish();
            if self.hear_incoming(&incoming) {
                let about = incoming.offer.about();
                self.tell_failed(about, "the chat ended before it was sent");
            }
        }
        if let Some(outgoing) = self.outgoing.take() {
            self.hear_outgoing(outgoing);
        }
        if let Some(outgoing) = self.outgoing.take() {
            self.tell_failed(outgoing.about(), "the chat ended before it had arrived");
        }
        for path in std::mem::take(&mut self.queue) {
            self.tell_failed(unsent(&path), "the chat ended before its turn came");
        }
        let wanted = std::mem::take(&mut self.wanted).into_iter();
        let open = std::mem::take(&mut self.offers).into_iter();
        for offer in wanted.map(|(offer, _)| offer).chain(open) {
            self.tell_failed(offer.about(), "the chat ended before it was sent");
        }
    }

    /// Gives each event to whom it is for.
    fn sort(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Noted {
                seq,
                note: Note::Offer { .. },
            } => self.offered(seq),
            Event::Noted { .. } => {}
            Event::Note { seq, note } => return self.note(seq, note),
            Event::Piece {
                file,
                offset,
                bytes,
            } => self.piece(file, offset, bytes),
            Event::Credit {
                file,
                written,
                again,
            } => self.order_outgoing(file, outgoing::Order::Credit { written, again }),
            event => {
                self.look_on(&event);
                return Some(event);
            }
        }
        None
    }

    /// Heeds what is not only about files.
    fn look_on(&mut self, event: &Event) {
        match event {
            Event::Mended => {
                if let Some(outgoing) = &self.outgoing {
                    outgoing.order(outgoing::Order::Mended);
                }
                if let Some(incoming) = &self.incoming {
                    incoming.order(incoming::Order::Mended);
                }
            }
            // Too short a break to be told: the side that receives asks for what it lost.
            Event::Resumed => {
                if let Some(incoming) = &self.incoming {
                    incoming.order(incoming::Order::Mended);
                }
            }
            Event::Ended(_) => self.end(),
            _ => {}
        }
    }

    fn note(&mut self, seq: Seq, note: Note) -> Option<Event> {
        match note {
            Note::Offer { name, size, blake3 } => self.hear_offer(seq, &name, size, blake3),
            Note::Accept { file, offset } => self.accepted(file, offset),
            Note::Refuse { file, reason } => self.ended(file, State::Refused { reason }),
            Note::Verified { file } => self.ended(file, State::Sent),
            Note::Abandon { file, reason } => self.abandoned(file, &reason),
            Note::Bye | Note::Unknown => return Some(Event::Note { seq, note }),
        }
        None
    }

    // Files of this side.

    /// The offer has its place, and the file its number.
    fn offered(&mut self, seq: Seq) {
        self.hear_reports();
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.number = Some(seq);
            let about = outgoing.about();
            self.tell(about, State::Offered);
        }
    }

    /// Returns the file of this side that is called so.
    fn outgoing(&mut self, file: FileNumber) -> Option<&mut Outgoing> {
        let called_so = |outgoing: &&mut Outgoing| outgoing.number == Some(file);
        self.outgoing.as_mut().filter(called_so)
    }

    fn order_outgoing(&mut self, file: FileNumber, order: outgoing::Order) {
        if let Some(outgoing) = self.outgoing(file) {
            outgoing.order(order);
        }
    }

    fn accepted(&mut self, file: FileNumber, offset: u64) {
        let Some(outgoing) = self.outgoing(file).filter(|outgoing| !outgoing.accepted) else {
            return;
        };
        outgoing.accepted = true;
        outgoing.order(outgoing::Order::Accept { file, offset });
        let about = outgoing.about();
        self.tell(about, State::Accepted { offset });
    }

    /// The other side is done with a file of this side.
    fn ended(&mut self, file: FileNumber, state: State) {
        if self.outgoing(file).is_none() {
            return;
        }
        if let Some(outgoing) = self.outgoing.take() {
            self.tell(outgoing.about(), state);
        }
    }

    // Files of the other side.

    fn hear_offer(&mut self, seq: Seq, name: &str, size: u64, blake3: String) {
        match Offer::read(seq, name, size, blake3) {
            Ok(offer) => self.consider(offer),
            Err(reason) => self.speak.note(Note::Refuse {
                file: seq,
                reason: reason.to_owned(),
            }),
        }
    }

    fn consider(&mut self, offer: Offer) {
        self.tell(offer.about(), State::Offered);
        if self.offers.len() + self.wanted.len() >= OFFERS_MAX {
            return self.refuse_offer(offer.about(), "too many files wait for an answer");
        }
        match &self.policy {
            Policy::Refuse => self.refuse_offer(offer.about(), TAKES_NONE),
            Policy::Into(folder) => self.wanted.push_back((offer, folder.clone())),
            Policy::Ask => self.offers.push_back(offer),
        }
    }

    fn refuse_offer(&mut self, about: About, reason: &str) {
        if let Some(file) = about.file {
            let reason = reason.to_owned();
            self.speak.note(Note::Refuse { file, reason });
        }
        let reason = reason.to_owned();
        self.tell(about, State::Refused { reason });
    }

    fn take_offer(&mut self, file: Option<FileNumber>) -> Option<Offer> {
        let is_meant = |offer: &Offer| file.is_none_or(|file| file == offer.file);
        let at = self.offers.iter().position(is_meant)?;
        self.offers.remove(at)
    }

    /// Takes back a yes.
    fn stop_incoming(&mut self, file: Option<FileNumber>) -> Option<Offer> {
        let is_meant = |offer: &Offer| file.is_none_or(|file| file == offer.file);
        if let Some(at) = self.wanted.iter().position(|(offer, _)| is_meant(offer)) {
            return self.wanted.remove(at).map(|(offer, _)| offer);
        }
        let mut incoming = self
            .incoming
            .take_if(|incoming| is_meant(&incoming.offer))?;
        incoming.finish();
        self.unless_received(&incoming)
    }

    /// Returns the offer of a file that was stopped, but for one that was whole by then.
    fn unless_received(&mut self, incoming: &Incoming) -> Option<Offer> {
        let received = |report| match report {
            incoming::Report::Received { path } => Some(State::Received { path }),
            _ => None,
        };
        let about = incoming.offer.about();
        match incoming.reports.try_iter().find_map(received) {
            Some(state) => {
                self.tell(about, state);
                None
            }
            None => Some(incoming.offer.clone()),
        }
    }

    fn piece(&mut self, file: FileNumber, offset: u64, bytes: Vec<u8>) {
        let incoming = self.incoming.as_ref();
        if let Some(incoming) = incoming.filter(|incoming| incoming.offer.file == file) {
            incoming.order(incoming::Order::Piece { offset, bytes });
        }
    }

    /// The other side gave up a file of its own.
    fn abandoned(&mut self, file: FileNumber, reason: &str) {
        let coming = self.incoming.take_if(|it| it.offer.file == file);
        let offer = match coming {
            Some(mut incoming) => {
                incoming.discard();
                self.unless_received(&incoming)
            }
            None => self
                .take_offer(Some(file))
                .or_else(|| self.stop_incoming(Some(file))),
        };
        if let Some(offer) = offer {
            let reason = format!("the sender gave it up: {reason}");
            self.tell(offer.about(), State::Failed { reason });
        }
    }

    // What comes next.

    /// Hears the threads, and starts the next file where there is room for one.
    fn advance(&mut self) {
        self.hear_reports();
        while self.outgoing.is_none() && !self.is_over {
            let Some(path) = self.queue.pop_front() else {
                break;
            };
            self.start_outgoing(path);
        }
        while self.incoming.is_none() && !self.is_over {
            let Some((offer, folder)) = self.wanted.pop_front() else {
                break;
            };
            self.start_incoming(offer, folder);
        }
    }

    fn start_outgoing(&mut self, path: PathBuf) {
        let about = unsent(&path);
        match Outgoing::start(path, Arc::clone(&self.speak)) {
            Ok(outgoing) => self.outgoing = Some(outgoing),
            Err(error) => self.tell_failed(about, &format!("no thread for it: {error}")),
        }
    }

    fn start_incoming(&mut self, offer: Offer, folder: Folder) {
        let about = offer.about();
        match Incoming::start(offer, folder, Arc::clone(&self.speak)) {
            Ok(incoming) => self.incoming = Some(incoming),
            Err(error) => self.refuse_offer(about, &format!("no thread for it: {error}")),
        }
    }

    fn hear_reports(&mut self) {
        if let Some(outgoing) = self.outgoing.take() {
            self.hear_outgoing(outgoing);
        }
        if let Some(incoming) = self.incoming.take()
            && self.hear_incoming(&incoming)
        {
            self.incoming = Some(incoming);
        }
    }

    /// Puts the file back unless it failed.
    fn hear_outgoing(&mut self, mut outgoing: Outgoing) {
        while let Ok(report) = outgoing.reports.try_recv() {
            match report {
                outgoing::Report::Hashed { size, blake3 } => {
                    outgoing.size = size;
                    outgoing.blake3 = blake3;
                }
                outgoing::Report::Failed(reason) => {
                    return self.tell_failed(outgoing.about(), &reason);
                }
            }
        }
        self.outgoing = Some(outgoing);
    }

    /// Says whether the file is still coming.
    fn hear_incoming(&mut self, incoming: &Incoming) -> bool {
        while let Ok(report) = incoming.reports.try_recv() {
            let state = match report {
                incoming::Report::Accepted { offset } => State::Accepted { offset },
                incoming::Report::Received { path } => State::Received { path },
                incoming::Report::Failed(reason) => State::Refused { reason },
                incoming::Report::Stopped { written } => State::Failed {
                    reason: stopped(written, incoming.offer.size),
                },
            };
            let goes_on = matches!(state, State::Accepted { .. });
            self.tell(incoming.offer.about(), state);
            if !goes_on {
                return false;
            }
        }
        true
    }

    fn tell_failed(&mut self, about: About, reason: &str) {
        let reason = reason.to_owned();
        self.tell(about, State::Failed { reason });
    }

    fn tell(&mut self, about: About, state: State) {
        self.told.push_back(Told { about, state });
    }
}

impl Outgoing {
    fn about(&self) -> About {
        About {
            incoming: false,
            file: self.number,
            name: self.name.clone(),
            size: self.size,
            blake3: self.blake3.clone(),
        }
    }
}

/// A file of this side that nobody has looked at yet.
fn unsent(path: &Path) -> About {
    About {
        incoming: false,
        file: None,
        name: outgoing::called(path),
        size: 0,
        blake3: String::new(),
    }
}

fn stopped(written: u64, size: u64) -> String {
    match written {
        0 => "the chat ended before anything of it had come".to_owned(),
        written => format!(
            "the chat ended; {written} of {size} bytes are kept, it goes on from there when it is sent again"
        ),
    }
}
