//! The thread that keeps the session while a chat lasts: heartbeats, notices, the invitation's end, and
//! the port at the end. A server that is slow or gone holds up this thread and nothing else.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use super::io::{End, Input};
use super::shared::Shared;
use super::{ChatError, Refusal, Told};
use crate::client::ClientError;
use crate::client::session::{Event, Session};
use crate::client::waker::Waker;
use crate::protocol::codes::Code;
use crate::protocol::reply::{ChatRow, ChatState, LeaseInfo};
use crate::protocol::request::ChatId;

/// How long one question to the server may take meanwhile.
const TIMEOUT: Duration = Duration::from_secs(1);

/// How long the end of a chat waits for the session.
const FINISH: Duration = Duration::from_secs(1);

/// How long one wait lasts while nobody reads what is told.
const FULL: Duration = Duration::from_millis(200);

/// What the keeper is told.
#[derive(Debug)]
enum Word {
    /// Take the invitation back.
    Withdraw,
    /// Give the session back.
    Finish(Sender<Session>),
}

/// How to speak to a keeper.
#[derive(Debug, Clone)]
pub(super) struct Words {
    words: Sender<Word>,
    waker: Waker,
}

/// The handle of a keeper.
#[derive(Debug)]
pub(super) struct Keeper {
    words: Words,
}

/// What the keeper looks after.
#[derive(Debug)]
pub(super) struct Charge {
    /// The chat.
    pub(super) chat: ChatId,
    /// The lease whose port the chat listens on.
    pub(super) lease: LeaseInfo,
    /// This side asked: it may take the invitation back.
    pub(super) asked: bool,
    /// Nobody has answered yet.
    pub(super) open: bool,
    /// When it gives up asking, whatever is heard of the server.
    pub(super) give_up: Option<Duration>,
}

impl Keeper {
    /// Starts the thread. Gives the session back when the system has none.
    #[expect(
        clippy::result_large_err,
        reason = "the session goes back, once a chat"
    )]
    pub(super) fn start(
        session: Session,
        charge: Charge,
        shared: Arc<Shared>,
    ) -> Result<Self, Refusal> {
        let waker = session.waker();
        let (words, heard) = mpsc::channel();
        // The session goes over when the thread is there, so that it is not lost with a failed start.
        let (hand, take) = mpsc::channel::<Session>();
        let thread = thread::Builder::new().name("chat-keeper".into());
        let run = move || {
            if let Ok(session) = take.recv() {
                Watch::new(session, charge, shared, heard).run();
            }
        };
        match thread.spawn(run) {
            Ok(_) => {
                hand.send(session).ok();
                let words = Words { words, waker };
                Ok(Self { words })
            }
            Err(source) => Err((ChatError::system("start a thread")(source), Some(session))),
        }
    }

    /// Returns how to speak to it.
    pub(super) fn words(&self) -> Words {
        self.words.clone()
    }

    /// Takes the session back, once; nothing when the server holds it up for too long.
    pub(super) fn finish(&self) -> Option<Session> {
        let (give, take) = mpsc::channel();
        self.words.say(Word::Finish(give));
        take.recv_timeout(FINISH).ok()
    }
}

impl Words {
    /// Takes the invitation back.
    pub(super) fn withdraw(&self) {
        self.say(Word::Withdraw);
    }

    fn say(&self, word: Word) {
        // A keeper that is gone has nothing left to do.
        self.words.send(word).ok();
        self.waker.wake();
    }
}

/// How the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It beats, and what arrives is stored and told.
    Whole,
    /// It beats: this machine cannot store what arrives.
    Beating,
    /// It is over: nothing is asked any more.
    Over,
}

impl State {
    /// Returns how it is after a failure.
    fn after(self, error: &ClientError) -> Self {
        match (self, error) {
            (Self::Whole, ClientError::File(_)) => Self::Beating,
            _ => Self::Over,
        }
    }
}

/// The keeper itself.
struct Watch {
    session: Session,
    charge: Charge,
    shared: Arc<Shared>,
    heard: Receiver<Word>,
    timeout: Duration,
    give_up: Option<Instant>,
    state: State,
    /// The invitation stands open as far as is known.
    open: bool,
    /// Somebody else was told of the lease.
    used: bool,
}

impl Watch {
    fn new(
        mut session: Session,
        charge: Charge,
        shared: Arc<Shared>,
        heard: Receiver<Word>,
    ) -> Self {
        let timeout = session.set_timeout(TIMEOUT);
        Self {
            timeout,
            session,
            give_up: charge.give_up.and_then(|after| now().checked_add(after)),
            open: charge.open,
            used: !charge.asked,
            state: State::Whole,
            charge,
            shared,
            heard,
        }
    }

    fn run(mut self) {
        let heir = loop {
            match self.heard.try_recv() {
                Ok(Word::Finish(heir)) => break Some(heir),
                Err(TryRecvError::Disconnected) => break None,
                Ok(Word::Withdraw) => self.withdraw(End::Withdrawn),
                Err(TryRecvError::Empty) => self.turn(),
            }
        };
        self.hand_over(heir);
    }

    fn turn(&mut self) {
        let patience = self.patience();
        if patience.is_zero() {
            self.give_up = None;
            return self.withdraw(End::Expired);
        }
        match self.wait(patience) {
            Ok(event) => self.pass(event),
            Err(error) => {
                self.state = self.state.after(&error);
                self.shared.tell(Told::Server(error));
                if self.state == State::Over {
                    self.void();
                }
            }
        }
    }

    fn wait(&mut self, patience: Duration) -> Result<Event, ClientError> {
        let quiet = |()| Event::Quiet;
        match self.state {
            State::Whole if self.shared.is_told_full() => {
                self.session.keep(patience.min(FULL)).map(quiet)
            }
            State::Whole => self.session.next_event(patience),
            State::Beating => self.session.keep(patience).map(quiet),
            State::Over => self.session.rest(patience),
        }
    }

    /// Says whether it makes sense to ask the server something.
    fn can_ask(&self) -> bool {
        self.state != State::Over && self.session.is_connected()
    }

    fn patience(&self) -> Duration {
        let waiting = self.open && !self.shared.has_peer();
        match self.give_up.filter(|_| waiting) {
            Some(at) => at.saturating_duration_since(now()),
            None => Duration::from_mins(1),
        }
    }

    fn pass(&mut self, event: Event) {
        match event {
            Event::Quiet => {}
            Event::Chat(row) if row.chat == self.charge.chat => self.learn(&row),
            Event::Lease(lease) => {
                self.learn_lease(lease);
                self.shared.tell(Told::Session(event));
            }
            event => self.shared.tell(Told::Session(event)),
        }
    }

    /// Takes in how the invitation stands.
    fn learn(&mut self, row: &ChatRow) {
        if row.state == ChatState::Open {
            return;
        }
        self.open = false;
        self.used |= row.state == ChatState::Accepted;
        if self.charge.asked {
            self.shared.answered(answer(row.state));
        }
    }

    /// Without its lease an invitation that nobody has answered is void; the server says so itself.
    fn learn_lease(&mut self, lease: Option<LeaseInfo>) {
        let own = lease.is_some_and(|lease| lease.epoch == self.charge.lease.epoch);
        if !own {
            self.void();
        }
    }

    /// The invitation ends with what it stands on: nobody comes any more.
    fn void(&mut self) {
        if std::mem::take(&mut self.open) {
            self.shared.answered(Input::Answered(End::Withdrawn));
        }
    }

    /// Takes the invitation back. When somebody has accepted it meanwhile, he gets a goodbye instead of
    /// silence; whoever only gives up waiting goes on then. A server that cannot be asked keeps nobody
    /// waiting.
    fn withdraw(&mut self, end: End) {
        if !self.open || !self.can_ask() {
            let leaves = end == End::Withdrawn;
            if self.open || leaves {
                self.shared.answered(Input::Answered(end));
            }
            if leaves {
                self.shared.leave();
            }
            return;
        }
        self.open = false;
        let refused = match self.session.chat_withdraw(&self.charge.chat) {
            Err(error) => error.is_refused(Code::Taken),
            Ok(()) => false,
        };
        match (refused, end) {
            (false, end) => self.shared.answered(Input::Answered(end)),
            (true, End::Withdrawn) => self.shared.leave(),
            (true, _) => {}
        }
        self.used |= refused;
    }

    fn hand_over(mut self, heir: Option<Sender<Session>>) {
        if self.open && self.can_ask() && !self.shared.has_peer() {
            // Without an answer it ends with the session, or with its own term.
            self.session.chat_withdraw(&self.charge.chat).ok();
        }
        if self.used || self.shared.has_peer() {
            self.session.release_port(self.charge.lease);
        } else {
            self.session.give_port_back(self.charge.lease);
        }
        self.session.set_timeout(self.timeout);
        let left = match heir {
            Some(heir) => heir.send(self.session).err().map(|unsent| unsent.0),
            None => Some(self.session),
        };
        if let Some(session) = left {
            session.close_within(TIMEOUT).ok();
        }
    }
}

/// Returns what the chat hears of how the invitation of this side ended. One that is gone without a word
/// went with the session or the lease it stood on.
fn answer(state: ChatState) -> Input {
    Input::Answered(match state {
        ChatState::Accepted => return Input::Accepted,
        ChatState::Declined => End::Declined,
        ChatState::Busy => End::Busy,
        ChatState::Expired => End::Expired,
        _ => End::Withdrawn,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the keeper owns the time that asking may take"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_an_invitation_ends_the_chat_hears_of_it() {
        for (state, end) in [
            (ChatState::Declined, End::Declined),
            (ChatState::Busy, End::Busy),
            (ChatState::Expired, End::Expired),
            (ChatState::Withdrawn, End::Withdrawn),
            (ChatState::Unknown, End::Withdrawn),
        ] {
            assert_eq!(answer(state), Input::Answered(end));
        }
        assert_eq!(answer(ChatState::Accepted), Input::Accepted);
    }
}
