//! Where others look into the broker from: the HTTP side and the supervisor's watchdog.
//!
//! An onlooker's questions come over a channel and are answered in the poll loop, between two turns, so
//! that whoever sends mail shares no lock with who looks. However many ask, the queues are gone through
//! once a second at most, in portions, and one commit is under way that only proves the store. A [`Bell`] asks for
//! more than a look: to stop, to read the settings again.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};

use serde::Serialize;

use super::committer::Committer;
pub use super::committer::{Wake, WakeReader};
use super::core::Core;
use super::figures::{Counts, Histogram, Place, Queues, State, Survey};
use super::io::{Now, Ticket};
use super::server::Probe;
use super::zap::Denied;
use crate::limits;
use crate::store::{Answer as Found, Query};

/// Questions that wait for the poll loop; more are not asked, and time out where they came from.
const QUESTIONS_MAX: usize = 256;

/// Microseconds for which figures and a proof of the store are new enough: a little under a second, so that who
/// asks once a second gets new ones.
const FRESH_US: u64 = 900_000;

/// Going through the queues takes at most one part in so many of the loop's time.
const SURVEY_SHARE: u64 = 20;

/// Tickets from here on are reads for onlookers; the core counts up from 1 and never gets here.
const LOOKUPS_FROM: Ticket = 1 << 63;

/// Asks a running server for something, from a signal handler or another thread.
#[derive(Debug, Clone)]
pub struct Bell {
    asked: Arc<AtomicBool>,
    wake: Wake,
}

impl Bell {
    pub(super) fn new(wake: Wake) -> Self {
        Self {
            asked: Arc::new(AtomicBool::new(false)),
            wake,
        }
    }

    pub(super) fn wake(&self) -> Wake {
        self.wake.clone()
    }

    /// Asks.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.wake.wake();
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Says whether it was asked since it was answered last.
    pub(super) fn answer(&self) -> bool {
        self.asked.swap(false, Ordering::SeqCst)
    }

    /// Makes these signals ask.
    pub fn on_signals(&self, signals: &[i32]) -> io::Result<()> {
        for signal in signals {
            signal_hook::flag::register(*signal, Arc::clone(&self.asked))?;
            let wake = self.wake.try_clone_stream()?;
            signal_hook::low_level::pipe::register(*signal, wake)?;
        }
        Ok(())
    }
}

/// What an onlooker may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question {
    /// Does the poll loop turn?
    Alive,
    /// Does the store take something in and sync it?
    RoundTrip,
    /// What is there, and what was counted?
    Figures,
}

/// What it is told.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It turns.
    Alive,
    /// Something new got to the disk, after so many microseconds.
    RoundTrip(u64),
    /// This is there.
    Figures(Arc<Figures>),
}

/// How the machine is, as far as the process can tell.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Machine {
    /// Bytes this process holds, in memory or swapped out.
    pub memory_bytes: u64,
    /// What ends the process.
    pub memory_max_bytes: u64,
    /// Bytes that the store's files take.
    pub store_bytes: u64,
    /// Bytes free on the store's disk.
    pub disk_free_bytes: u64,
    /// Settings that changed while it ran and need a restart.
    pub settings_waiting: usize,
}

/// Everything an onlooker sees, of one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The program's version.
    pub version: &'static str,
    /// Wall clock, milliseconds since the epoch.
    pub at_ms: i64,
    /// Milliseconds since the process started.
    pub up_ms: u64,
    /// What was counted since then.
    pub counts: Counts,
    /// How much there is.
    pub state: State,
    /// What waits.
    pub queues: Queues,
    /// Commits, their sync included.
    pub sync: Histogram,
    /// Requests that changed something, from taken to answered.
    pub ack: Histogram,
    /// Connections that were not let in.
    pub denied: Denied,
    /// The machine.
    pub machine: Machine,
    /// About how many bytes wait for the disk.
    pub commit_queue_bytes: usize,
}

#[derive(Debug)]
struct Asked {
    question: Question,
    to: Reply,
}

/// Where answers go.
#[derive(Debug, Clone)]
struct Reply {
    answers: Sender<Answer>,
    wake: Wake,
}

impl Reply {
    fn tell(&self, answer: Answer) {
        // Who left needs no answer.
        drop(self.answers.send(answer));
        self.wake.wake();
    }
}

/// Somebody who looks in, on another thread.
#[derive(Debug)]
pub struct Onlooker {
    questions: SyncSender<Asked>,
    loop_wake: Wake,
    reply: Reply,
    answers: Receiver<Answer>,
    woken: WakeReader,
}

impl Onlooker {
    /// Asks; says whether the question was taken. An answer may come that was asked for earlier.
    pub fn ask(&self, question: Question) -> bool {
        let to = self.reply.clone();
        match self.questions.try_send(Asked { question, to }) {
            Ok(()) => {
                self.loop_wake.wake();
                true
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Returns the next answer, if there is one.
    pub fn poll(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    /// Becomes readable when there is an answer, or when it was woken.
    pub fn woken(&self) -> &WakeReader {
        &self.woken
    }

    /// Returns a way to wake whoever waits for answers.
    pub fn waker(&self) -> Wake {
        self.reply.wake.clone()
    }
}

/// What the poll loop lends the window for one turn.
pub(super) struct Loop<'a> {
    pub(super) now: Now,
    /// Microseconds since the process started, read anew each time.
    pub(super) up_us: &'a dyn Fn() -> u64,
    pub(super) core: &'a Core,
    pub(super) committer: &'a Committer,
    pub(super) probe: &'a mut dyn Probe,
}

/// The poll loop's side.
#[derive(Debug)]
pub(super) struct Window {
    ask: SyncSender<Asked>,
    asked: Receiver<Asked>,
    /// Who waits for figures, and for the store.
    for_figures: Vec<Reply>,
    for_trip: Vec<Reply>,
    look: Look,
    /// The last figures, and until when they are new enough.
    figures: Option<(u64, Arc<Figures>)>,
    /// How long the look under way took of the loop's time.
    look_us: u64,
    /// When the round trip under way began.
    trip_us: Option<u64>,
    /// When one was last through, and how long it took.
    tripped: Option<(u64, u64)>,
    watchdog: Option<Watchdog>,
    /// When the oldest mail of a place was sent: what is once looked up is true until the place is another.
    sent_at: HashMap<Place, Option<i64>>,
    pub(super) sync: Histogram,
    pub(super) ack: Histogram,
    pub(super) denied: Denied,
}

/// The supervisor's, which is fed by what it watches and by no clock of its own.
#[derive(Debug)]
struct Watchdog {
    every_us: u64,
    next_us: u64,
    /// Whether the next round trip is for it.
    waits: bool,
}

/// Where the look at the queues stands.
#[derive(Debug)]
enum Look {
    Idle,
    Surveying(Box<Survey>),
    /// The oldest mails of some places are looked up, by ticket from [`LOOKUPS_FROM`].
    LookingUp {
        queues: Box<Queues>,
        places: Vec<Place>,
        left: usize,
    },
}

impl Window {
    /// Makes one. `watchdog_ms`: how often the supervisor wants a proof of the store, if at all.
    pub(super) fn new(watchdog_ms: Option<u64>) -> Self {
        let (ask, asked) = sync_channel(QUESTIONS_MAX);
        Self {
            ask,
            asked,
            for_figures: Vec::new(),
            for_trip: Vec::new(),
            look: Look::Idle,
            figures: None,
            look_us: 0,
            trip_us: None,
            tripped: None,
            watchdog: watchdog_ms.map(|every_ms| Watchdog {
                every_us: every_ms * 1_000,
                next_us: 0,
                waits: false,
            }),
            sent_at: HashMap::new(),
            sync: Histogram::default(),
            ack: Histogram::default(),
            denied: Denied::default(),
        }
    }

    /// Lets somebody look in.
    pub(super) fn onlooker(&self, loop_wake: Wake) -> io::Result<Onlooker> {
        let (answers, received) = channel();
        let (wake, woken) = Wake::pair()?;
        Ok(Onlooker {
            questions: self.ask.clone(),
            loop_wake,
            reply: Reply { answers, wake },
            answers: received,
            woken,
        })
    }

    /// Says whether the loop should come back soon.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.look, Look::Surveying(_))
    }

    /// Takes questions and goes on with what they need. Says whether the core should prove the store.
    pub(super) fn tend(&mut self, turn: &mut Loop<'_>) -> bool {
        while let Ok(Asked { question, to }) = self.asked.try_recv() {
            match question {
                Question::Alive => to.tell(Answer::Alive),
                Question::RoundTrip => self.for_trip.push(to),
                Question::Figures => self.for_figures.push(to),
            }
        }
        self.look_on(turn);
        let up_us = (turn.up_us)();
        self.is_watchdog_due(up_us);
        self.needs_trip(up_us)
    }

    fn is_watchdog_due(&mut self, up_us: u64) {
        if let Some(watchdog) = &mut self.watchdog
            && watchdog.next_us <= up_us
        {
            watchdog.waits = true;
            watchdog.next_us = up_us + watchdog.every_us;
        }
    }

    /// Answers from a round trip that is new enough; says whether one must begin.
    fn needs_trip(&mut self, up_us: u64) -> bool {
        let for_watchdog = self.watchdog.as_ref().is_some_and(|dog| dog.waits);
        if self.trip_us.is_some() || (self.for_trip.is_empty() && !for_watchdog) {
            return false;
        }
        match self.tripped {
            Some((at_us, took_us)) if up_us < at_us + FRESH_US && !for_watchdog => {
                self.answer_trip(took_us);
                false
            }
            _ => {
                self.trip_us = Some(up_us);
                true
            }
        }
    }

    /// The round trip under way is through. Says whether the supervisor is to be told.
    pub(super) fn round_tripped(&mut self, up_us: u64) -> bool {
        let took_us = self.trip_us.take().map_or(0, |begun| up_us - begun);
        self.tripped = Some((up_us, took_us));
        self.answer_trip(took_us);
        let watchdog = self.watchdog.as_mut();
        watchdog.is_some_and(|watchdog| std::mem::take(&mut watchdog.waits))
    }

    fn answer_trip(&mut self, took_us: u64) {
        for to in self.for_trip.drain(..) {
            to.tell(Answer::RoundTrip(took_us));
        }
    }

    // -- figures --

    fn look_on(&mut self, turn: &mut Loop<'_>) {
        if self.for_figures.is_empty() {
            return;
        }
        match std::mem::replace(&mut self.look, Look::Idle) {
            Look::Idle => self.begin_look(turn),
            Look::Surveying(mut survey) => {
                let begun_us = (turn.up_us)();
                if turn
                    .core
                    .survey(&mut survey, limits::FIGURES_QUEUES_PER_TURN)
                {
                    let queues = turn.core.surveyed(*survey);
                    self.look_up(queues, turn);
                } else {
                    self.look = Look::Surveying(survey);
                }
                self.look_us += (turn.up_us)() - begun_us;
            }
            Look::LookingUp {
                queues, left: 0, ..
            } => self.gather(*queues, turn),
            looking @ Look::LookingUp { .. } => self.look = looking,
        }
    }

    fn begin_look(&mut self, turn: &Loop<'_>) {
        match &self.figures {
            Some((until_us, figures)) if (turn.up_us)() < *until_us => {
                let figures = Arc::clone(figures);
                self.answer_figures(&figures);
            }
            _ => {
                self.look_us = 0;
                self.look = Look::Surveying(Box::default());
            }
        }
    }

    /// Has the oldest mails looked up that are not known from an earlier look.
    fn look_up(&mut self, queues: Queues, turn: &mut Loop<'_>) {
        let named = queues.deepest.iter().chain(&queues.oldest);
        let named: HashSet<Place> = named.map(|queue| queue.place).collect();
        let (known, places) = named
            .into_iter()
            .partition::<Vec<_>, _>(|place| matches!(self.sent_at.get(place), Some(Some(_))));
        self.sent_at.retain(|place, _| known.contains(place));
        for (ticket, place) in (LOOKUPS_FROM..).zip(&places) {
            let query = Query::Oldest {
                log: place.log,
                after: place.after,
                mails: 1,
            };
            turn.committer.load(ticket, query);
        }
        self.look = Look::LookingUp {
            queues: Box::new(queues),
            left: places.len(),
            places,
        };
        self.look_on_at_once(turn);
    }

    /// With nothing to look up nobody would wake the loop.
    fn look_on_at_once(&mut self, turn: &mut Loop<'_>) {
        if matches!(self.look, Look::LookingUp { left: 0, .. }) {
            self.look_on(turn);
        }
    }

    /// Takes what a look asked the store for; says whether that is what the ticket stands for.
    pub(super) fn takes(&mut self, ticket: Ticket, found: &Found) -> bool {
        let Some(at) = ticket.checked_sub(LOOKUPS_FROM) else {
            return false;
        };
        if let Look::LookingUp { places, left, .. } = &mut self.look
            && let Some(place) = usize::try_from(at).ok().and_then(|at| places.get(at))
            && let Found::Mails { mails, .. } = found
        {
            let sent_at = mails.first().map(|mail| mail.record.sent_at_ms);
            self.sent_at.insert(*place, sent_at);
            *left = left.saturating_sub(1);
        }
        true
    }

    fn gather(&mut self, mut queues: Queues, turn: &mut Loop<'_>) {
        queues.by_age(|place| self.sent_at.get(place).copied().flatten());
        let figures = Arc::new(Figures {
            version: env!("CARGO_PKG_VERSION"),
            at_ms: turn.now.wall_ms,
            up_ms: turn.now.mono_ms,
            counts: turn.core.counts(),
            state: turn.core.state(),
            queues,
            sync: self.sync.clone(),
            ack: self.ack.clone(),
            denied: self.denied,
            machine: turn.probe.machine(),
            commit_queue_bytes: turn.committer.queued_bytes(),
        });
        let fresh_us = FRESH_US.max(self.look_us * SURVEY_SHARE);
        self.figures = Some(((turn.up_us)() + fresh_us, Arc::clone(&figures)));
        self.answer_figures(&figures);
    }

    fn answer_figures(&mut self, figures: &Arc<Figures>) {
        for to in self.for_figures.drain(..) {
            to.tell(Answer::Figures(Arc::clone(figures)));
        }
    }
}
