//! One chat from its beginning to its end, whoever types and whoever shows it.
//!
//! Whoever shows is a [`Listener`]; whoever types has a [`Mouth`], on any thread. A line is shown, then
//! marked as shown (`client::shown`), and only then acknowledged: when either side dies in between, it
//! comes again as a mail and is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::files::{self, Plan};
use crate::chat::file::{self, Files, Policy, Progress};
use crate::chat::frame::Seq;
use crate::chat::io::{End, Event};
use crate::chat::{Chat, Told, Undelivered, Unsaid, Voice};
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::untrusted::visible;
use crate::client::ClientError;
use crate::client::home::Account;
use crate::client::session::{self, Session};
use crate::client::shown::Mark;
use crate::protocol::codes::{Code, exit};
use crate::protocol::request::ChatId;

/// How long a stop may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a line that was just being said may take to come back after the end.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Which chat it is, and with whom.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    /// The chat.
    pub(crate) chat: ChatId,
    /// The other side's user, as the broker vouches for it.
    pub(crate) peer: String,
}

/// What happens in a chat, for whoever shows it.
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// An answer is waited for.
    Waiting {
        /// Until when the invitation stands, RFC 3339 UTC.
        expires_at: &'a str,
        /// Until when this side waits: no longer than that.
        until: &'a str,
    },
    /// Both sides hear each other.
    Open {
        /// Both see the same words, unless somebody is in between.
        fingerprint: &'a str,
    },
    /// A line of the other side. When this returns, it was shown.
    Line {
        /// Its place in the other side's row.
        seq: Seq,
        /// Not fit for a terminal.
        text: &'a str,
    },
    /// The other side has shown this side's row up to here.
    Delivered {
        /// Cumulative.
        through: Seq,
    },
    /// The other side is not heard of for the moment.
    Broken,
    /// It is back.
    Mended,
    /// It is over; nothing follows.
    Ended(&'a End),
    /// Something in the session with the server: a mail, an invitation, a broken connection.
    Session(&'a session::Event),
    /// The session with the server is over. The chat goes on.
    Server(&'a ClientError),
}

/// Shows a chat.
pub(crate) trait Listener {
    /// Shows one thing. After an error nothing more is shown, and the chat is left.
    fn tell(&mut self, news: &News<'_>) -> Result<(), CliError>;

    /// Says whether nobody is there any more to be shown anything.
    fn is_alone(&self) -> bool {
        false
    }

    /// Shows what happened to a file.
    fn file(&mut self, told: &file::Told) -> Result<(), CliError>;

    /// Shows how far files are: several times a second while there are any, and once after that.
    fn progress(&mut self, _files: &[Progress]) {}
}

/// A chat that is driven.
#[derive(Debug)]
pub(crate) struct Talk {
    chat: Chat,
    party: Party,
    mark: Mark,
    mouth: Mouth,
    files: Files,
    /// Does not leave before the other side does.
    stays: bool,
    /// Why the first file of this side that did not arrive did not.
    unsent: Option<CliError>,
    was_busy: bool,
    /// Why nothing is shown any more.
    deaf: Option<CliError>,
    last_seq: Seq,
    server_down: bool,
}

/// A chat that is over.
#[derive(Debug)]
pub(crate) struct Over {
    /// How it ended, as the program's end.
    pub(crate) ended: Result<(), CliError>,
    /// Why a file of this side did not arrive, of the first.
    pub(crate) unsent: Option<CliError>,
    /// Lines that never arrived, in order.
    pub(crate) undelivered: Vec<Undelivered>,
    /// The session with the server, if it still works.
    pub(crate) session: Option<Session>,
    /// The server did not answer at the end.
    pub(crate) server_down: bool,
}

impl Talk {
    /// Begins with a chat that was asked for or accepted.
    pub(crate) fn begin(chat: Chat, account: &Account) -> Result<Self, CliError> {
        let party = Party {
            chat: chat.chat().clone(),
            peer: chat.user().to_owned(),
        };
        let mark = account.shown().begin(&party.chat, &party.peer)?;
        let mouth = Mouth::new(chat.voice());
        let files = Files::new(Arc::new(chat.voice()), Policy::Refuse);
        Ok(Self {
            chat,
            party,
            mark,
            mouth,
            files,
            stays: false,
            unsent: None,
            was_busy: false,
            deaf: None,
            last_seq: 0,
            server_down: false,
        })
    }

    /// The same with files.
    #[must_use]
    pub(crate) fn with_files(mut self, plan: Plan) -> Self {
        self.files = Files::new(Arc::new(self.chat.voice()), plan.policy);
        self.stays = plan.stays;
        plan.send.into_iter().for_each(|path| self.files.send(path));
        self.mind_leaving();
        self
    }

    /// Returns which chat it is.
    pub(crate) fn party(&self) -> &Party {
        &self.party
    }

    /// Returns where lines go in.
    pub(crate) fn mouth(&self) -> Mouth {
        self.mouth.clone()
    }

    /// Drives it to its end. When `stop` becomes true the chat is left, or the invitation taken back.
    pub(crate) fn run(mut self, listener: &mut dyn Listener, stop: &AtomicBool) -> Over {
        let waits = self.chat.is_asking();
        let waiting = self.chat.expires_at().zip(self.chat.waits_until());
        if let Some((expires_at, until)) = waiting.filter(|_| waits) {
            let (expires_at, until) = (expires_at.to_owned(), until.to_owned());
            let waiting = News::Waiting {
                expires_at: &expires_at,
                until: &until,
            };
            self.tell(listener, &waiting);
        }
        let mut stopped = false;
        let end = loop {
            match self.chat.next(LOOK_EVERY) {
                Some(told) => {
                    if let Some(end) = self.hear(told, listener) {
                        break end;
                    }
                }
                None if listener.is_alone() => {
                    self.deaf.get_or_insert(CliError::silent(exit::OK));
                }
                None => {}
            }
            self.mind_files(listener);
            if !stopped && (stop.load(Ordering::Relaxed) || self.deaf.is_some()) {
                stopped = true;
                self.mouth.stop();
            }
        };
        self.files.end();
        self.tell_files(true, listener);
        self.tell(listener, &News::Ended(&end));
        self.over(&end)
    }

    /// Takes in one thing. Returns how the chat ended, when it did.
    fn hear(&mut self, told: Told, listener: &mut dyn Listener) -> Option<End> {
        match told {
            Told::Chat(Event::Ended(end)) => return Some(end),
            Told::Chat(event) => self.hear_chat(event, listener),
            Told::Session(event) => {
                match event {
                    session::Event::Disconnected => self.server_down = true,
                    session::Event::Reconnected => self.server_down = false,
                    _ => {}
                }
                self.tell(listener, &News::Session(&event));
            }
            Told::Server(error) => {
                self.server_down = true;
                self.tell(listener, &News::Server(&error));
            }
        }
        None
    }

    /// Files first; what is not theirs is for whoever shows the chat.
    fn hear_chat(&mut self, event: Event, listener: &mut dyn Listener) {
        let note = match &event {
            Event::Note { seq, .. } => Some(*seq),
            _ => None,
        };
        if let Event::Noted { seq, .. } = &event {
            self.last_seq = *seq;
        }
        if let Some(event) = self.files.handle(event) {
            self.hear_talk(&event, listener);
        }
        if let Some(seq) = note {
            self.tell_files(false, listener);
            self.shown(seq);
        }
    }

    fn hear_talk(&mut self, event: &Event, listener: &mut dyn Listener) {
        match event {
            Event::Open { .. } => {
                let fingerprint = self.chat.fingerprint().unwrap_or_default();
                let fingerprint = fingerprint.as_str();
                self.tell(listener, &News::Open { fingerprint });
                self.mouth.opened();
            }
            Event::Line { seq, text } => self.hear_line(*seq, text, listener),
            Event::Queued { seq } => self.last_seq = *seq,
            Event::Delivered { through } => {
                let through = *through;
                self.tell(listener, &News::Delivered { through });
            }
            Event::Broken => self.tell(listener, &News::Broken),
            Event::Mended => self.tell(listener, &News::Mended),
            _ => {}
        }
    }

    /// Sees to files: what happened, how far they are.
    fn mind_files(&mut self, listener: &mut dyn Listener) {
        self.tell_files(false, listener);
        self.mind_leaving();
        let is_busy = self.files.is_busy();
        if is_busy || self.was_busy {
            listener.progress(&self.files.progress());
        }
        self.was_busy = is_busy;
    }

    fn tell_files(&mut self, is_over: bool, listener: &mut dyn Listener) {
        while let Some(told) = self.files.poll_told() {
            if self.unsent.is_none() {
                self.unsent = files::unsent(&told, is_over, &self.party);
            }
            if self.deaf.is_none() {
                self.deaf = listener.file(&told).err();
            }
        }
    }

    /// Files that are under way arrive before the chat is left.
    fn mind_leaving(&self) {
        self.mouth.hold(self.stays || self.files.is_busy());
    }

    fn hear_line(&mut self, seq: Seq, text: &str, listener: &mut dyn Listener) {
        if seq > self.mark.through() {
            self.tell(listener, &News::Line { seq, text });
        }
        self.shown(seq);
    }

    /// Acknowledges what was shown. What was not shown comes again as mail.
    fn shown(&mut self, seq: Seq) {
        if self.deaf.is_some() {
            return;
        }
        match self.mark.show(seq) {
            Ok(()) => self.chat.shown(seq),
            Err(error) => self.deaf = Some(error.into()),
        }
    }

    fn tell(&mut self, listener: &mut dyn Listener, news: &News<'_>) {
        if self.deaf.is_none() {
            self.deaf = listener.tell(news).err();
        }
    }

    fn over(self, end: &End) -> Over {
        let tried = self.chat.tried();
        let finished = self.chat.finish();
        let mut undelivered = finished.undelivered;
        let last = undelivered.last().map_or(0, |line| line.seq);
        let next = self.last_seq.max(last) + 1;
        let unsaid = self.mouth.unsaid().into_iter();
        undelivered.extend(
            (next..)
                .zip(unsaid)
                .map(|(seq, text)| Undelivered { seq, text }),
        );
        Over {
            ended: self
                .deaf
                .map_or_else(|| verdict(end, &self.party, &tried), Err),
            unsent: self.unsent,
            undelivered,
            session: finished.session,
            server_down: self.server_down,
        }
    }
}

/// Returns how a program ends whose chat ended so.
pub(crate) fn verdict(end: &End, party: &Party, tried: &str) -> Result<(), CliError> {
    let peer = visible(&party.peer);
    let ended = |code, exit, text: String| Err(CliError::new(code, exit, text));
    match end {
        End::Bye { .. } => Ok(()),
        End::Unreachable { connected } => {
            let side = if *connected {
                tr!(
                    "this machine reaches that of {}, but not the other way round",
                    peer
                )
            } else {
                tr!("no way between this machine and that of {} was found", peer)
            };
            Err(CliError::new("peer_unreachable", exit::UNAVAILABLE, side)
                .hint(tried)
                .hint(tr!(
                    "the two talk directly, so the server's chat ports must pass both firewalls"
                ))
                .hint(tr!("behind a NAT: mailctl chat --advertise HOST")))
        }
        End::Declined => ended("declined", exit::DENIED, tr!("{} declined", peer)),
        End::Busy => ended(
            Code::PeerBusy.word(),
            exit::TEMPORARY,
            tr!("{} is busy", peer),
        ),
        End::Withdrawn => ended(
            "withdrawn",
            exit::TEMPORARY,
            tr!("the invitation was taken back").to_owned(),
        ),
        End::Expired => ended(
            "expired",
            exit::TEMPORARY,
            tr!("{} did not answer in time", peer),
        ),
        End::Flooded => ended(
            "flooded",
            exit::UNAVAILABLE,
            tr!(
                "{} sent more than a chat may make this machine hold: it was ended",
                peer
            ),
        ),
        // Lost, and what a later version may add.
        _ => ended(
            "peer_lost",
            exit::UNAVAILABLE,
            tr!("lost {}: nothing is heard from there any more", peer),
        ),
    }
}

/// Why a line was not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotSaid {
    /// The chat is over, and takes no more.
    Over,
    /// It is too long, or has a line break in it.
    NotALine,
}

/// Where lines go in, from any thread.
#[derive(Debug, Clone)]
pub(crate) struct Mouth {
    voice: Voice,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    over: bool,
    /// Something else than lines is to be finished before the chat is left.
    held: bool,
    /// Threads that are just saying something.
    busy: usize,
    unsaid: Vec<String>,
}

impl Mouth {
    fn new(voice: Voice) -> Self {
        Self {
            voice,
            state: Arc::default(),
        }
    }

    /// Says a line; waits while too much is under way. One that comes too late counts as undelivered.
    pub(crate) fn say(&self, line: String) -> Result<(), NotSaid> {
        self.lock().busy += 1;
        let said = self.voice.say(line);
        let mut state = self.lock();
        state.busy -= 1;
        self.state.1.notify_all();
        match said {
            Ok(()) => Ok(()),
            Err(Unsaid::Over(line)) => {
                state.unsaid.push(line);
                Err(NotSaid::Over)
            }
            Err(Unsaid::NotALine(_)) => Err(NotSaid::NotALine),
        }
    }

    /// No more lines: leaves once everything said, and every file, has arrived. Before the chat is
    /// open it goes on waiting for that.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.over = true;
        self.leave_if_done(&state);
    }

    /// Says whether the chat is to go on after the last line.
    fn hold(&self, held: bool) {
        let mut state = self.lock();
        if state.held != held {
            state.held = held;
            self.leave_if_done(&state);
        }
    }

    fn leave_if_done(&self, state: &State) {
        if state.open && state.over && !state.held {
            self.voice.leave();
        }
    }

    /// Leaves, or takes the invitation back.
    pub(crate) fn stop(&self) {
        if self.lock().open {
            self.voice.leave();
        } else {
            self.voice.withdraw();
        }
    }

    fn opened(&self) {
        let mut state = self.lock();
        state.open = true;
        self.leave_if_done(&state);
    }

    /// Returns the lines that came too late.
    fn unsaid(&self) -> Vec<String> {
        let state = self.lock();
        let waited = self
            .state
            .1
            .wait_timeout_while(state, LAST_WORD, |state| state.busy > 0);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.unsaid)
    }

    /// No code panics while it holds the lock, so what it guards is whole even then.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
