//! A chat at a terminal: every line typed goes to the other side, whose lines appear above the one being
//! typed.
//!
//! [`table`] has the words, [`screen`] is how it looks, pure. `Stage` puts a chat on the screen, in the
//! shell or without it (`alone`), and is woken by both the chat and the keys.
//!
//! A line counts as shown when it stands on the screen: it is marked (`client::shown`) and acknowledged
//! then, not before.

pub(crate) mod alone;
mod files;
pub mod screen;
pub mod table;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::files::Desk;
use self::screen::{Act, Screen};
use super::compose::Typed;
use super::editor::{Completion, Keys, Terminal};
use super::news::News;
use crate::chat::file::Policy;
use crate::chat::frame::Seq;
use crate::chat::io::{End, Event};
use crate::chat::{Chat, Options, Told, Undelivered, Unsaid, Voice};
use crate::cli::args::ADVERTISE;
use crate::cli::commands::chat::talk::{Over, Party, verdict};
use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_n};
use crate::cli::times;
use crate::cli::ui::{self, terminal_width};
use crate::cli::untrusted::visible;
use crate::client::home::Account;
use crate::client::session;
use crate::client::shown::Mark;
use crate::client::waker::{self, Sleeper};
use crate::limits;

/// How long a stop, or a line that takes long, may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The same while files are under way.
const BUSY: Duration = Duration::from_millis(100);

/// What is taken in before anything else has its turn.
const TOLD_AT_ONCE: usize = 256;

/// How long the other side's last lines may take to appear.
const LAST_LINES: Duration = Duration::from_millis(300);

/// How the shell opens chats, which has no options of its own: as the environment says.
pub(crate) fn options() -> Options {
    let host = std::env::var(ADVERTISE).ok();
    Options {
        host: host.filter(|host| !host.is_empty()),
        held_max: Some(limits::CHAT_HELD_BYTES_MAX),
        ..Options::default()
    }
}

/// What a chat at a terminal needs around it.
pub(crate) struct Stage<'a> {
    /// Where it is shown and typed.
    pub(crate) terminal: &'a mut Terminal,
    /// Whose chat it is.
    pub(crate) account: &'a Account,
    /// Says what is heard besides.
    pub(crate) news: &'a mut News,
    /// Becomes true when the process is asked to go.
    pub(crate) stop: &'a AtomicBool,
}

/// A chat on its stage.
struct Play<'a, 's> {
    stage: &'s mut Stage<'a>,
    chat: Chat,
    voice: Voice,
    party: Party,
    screen: Screen,
    desk: Desk,
    mark: Mark,
    sleeper: Sleeper,
    started: Instant,
    /// Texts handed to the terminal, and what they show.
    appearing: VecDeque<(u64, Seq)>,
    last_seq: Seq,
    unsaid: Vec<String>,
    server_down: bool,
    stopped: bool,
    /// Why nothing is acknowledged any more.
    deaf: Option<CliError>,
    end: Option<End>,
}

impl Stage<'_> {
    /// Holds a chat from its beginning to its end. A line may still be being typed then.
    pub(crate) fn hold(&mut self, chat: Chat, policy: Policy) -> Result<(Party, Over), CliError> {
        let party = Party {
            chat: chat.chat().clone(),
            peer: chat.user().to_owned(),
        };
        let (waker, sleeper) = waker::pair().map_err(|e| CliError::io(tr!("make a pipe"), &e))?;
        let mark = self.account.shown().begin(&party.chat, &party.peer)?;
        chat.wake_with(waker.clone());
        self.terminal.between_lines(Keys::AllForNextLine);
        self.terminal.wakes(Box::new(move || waker.wake()));
        let play = Play {
            voice: chat.voice(),
            screen: Screen::new(self.account.user().as_str(), &party.peer, chat.is_asking()),
            desk: Desk::new(chat.voice(), party.clone(), policy),
            chat,
            party: party.clone(),
            mark,
            sleeper,
            started: times::deadline(Duration::ZERO),
            appearing: VecDeque::new(),
            last_seq: 0,
            unsaid: Vec::new(),
            server_down: false,
            stopped: false,
            deaf: None,
            end: None,
            stage: self,
        };
        let over = play.run();
        self.terminal.between_lines(Keys::Shown);
        Ok((party, over))
    }
}

impl Play<'_, '_> {
    fn run(mut self) -> Over {
        let begun = self.screen.begin(self.chat.waits_until());
        self.perform(begun);
        while self.end.is_none() {
            self.note_shown();
            self.take_typed();
            let more = self.take_told();
            self.look_round();
            self.stop_if_asked();
            if self.end.is_some() {
                break;
            }
            if self.screen.takes_lines() {
                let prompt = self.screen.prompt();
                self.stage.terminal.ask(&prompt, Completion::Chat);
            }
            if !more {
                let busy = self.desk.is_busy();
                self.sleeper.wait(if busy { BUSY } else { LOOK_EVERY });
            }
        }
        self.over()
    }

    /// Says what takes long, and how files do.
    fn look_round(&mut self) {
        let now_ms = self.now_ms();
        let late = self.screen.tick(now_ms);
        self.perform(late);
        self.desk.tell(self.stage.terminal.above(), now_ms);
        self.screen.set_busy(self.desk.is_busy());
    }

    fn now_ms(&self) -> u64 {
        let passed = times::deadline(Duration::ZERO) - self.started;
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }

    fn take_typed(&mut self) {
        if !self.screen.takes_lines() {
            return;
        }
        if let Some(typed) = self.stage.terminal.take() {
            let now_ms = self.now_ms();
            let acts = self.screen.typed(typed, now_ms);
            self.perform(acts);
        }
    }

    /// Takes in what happened. Says whether there may be more: the pieces of a file keep nobody from
    /// typing.
    fn take_told(&mut self) -> bool {
        for _ in 0..TOLD_AT_ONCE {
            let Some(told) = self.chat.next(Duration::ZERO) else {
                return false;
            };
            match told {
                Told::Chat(event) => self.hear(event),
                Told::Session(event) => self.hear_session(event),
                Told::Server(error) => {
                    self.server_down = true;
                    let error =
                        CliError::from(error).hint(tr!("the chat goes on without the server"));
                    self.stage.terminal.above().error(&error);
                }
            }
            if self.end.is_some() {
                return false;
            }
        }
        true
    }

    /// Files first; what is not theirs is for the screen.
    fn hear(&mut self, event: Event) {
        let note = match &event {
            Event::Note { seq, .. } => Some(*seq),
            _ => None,
        };
        if let Event::Queued { seq } | Event::Noted { seq, .. } = &event {
            self.last_seq = *seq;
        }
        let now_ms = self.now_ms();
        if let Some(event) = self.desk.handle(event) {
            self.hear_talk(event, now_ms);
        }
        if let Some(seq) = note {
            self.desk.tell(self.stage.terminal.above(), now_ms);
            self.appearing
                .push_back((self.stage.terminal.handed(), seq));
        }
    }

    fn hear_talk(&mut self, event: Event, now_ms: u64) {
        match &event {
            Event::Open { .. } => self.screen.set_words(self.chat.fingerprint()),
            // Shown before this process began: it is only acknowledged again.
            Event::Line { seq, .. } if *seq <= self.mark.through() => {
                self.appearing.push_back((0, *seq));
                return;
            }
            Event::Ended(end) => {
                self.desk.end(self.stage.terminal.above(), now_ms);
                self.screen.set_tried(self.chat.tried());
                self.end = Some(end.clone());
            }
            _ => {}
        }
        self.screen.set_width(terminal_width());
        let acts = self.screen.hear(event, now_ms);
        self.perform(acts);
    }

    fn hear_session(&mut self, event: session::Event) {
        match event {
            session::Event::Disconnected => self.server_down = true,
            session::Event::Reconnected => self.server_down = false,
            _ => {}
        }
        self.stage
            .news
            .announce(self.stage.terminal.above(), vec![event], |_| false);
    }

    fn perform(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Note(text) => self.stage.terminal.above().note(text),
                Act::Show { seq, text } => {
                    let shown = self.stage.terminal.above().line(text);
                    self.deaf = self.deaf.take().or(shown.err());
                    self.appearing
                        .push_back((self.stage.terminal.handed(), seq));
                }
                Act::Say(line) => match self.voice.say(line) {
                    Ok(()) => {}
                    Err(Unsaid::Over(line) | Unsaid::NotALine(line)) => self.unsaid.push(line),
                },
                Act::Send(path) => {
                    let sent = self.desk.send(&path, self.stage.terminal.above());
                    self.report(|_| sent);
                }
                Act::Accept(file, into) => self.report(|desk| desk.accept(file, &into)),
                Act::Refuse(file) => self.report(|desk| desk.refuse(file)),
                Act::Gauge => self.desk.gauge(self.stage.terminal.above()),
                Act::Leave => self.voice.leave(),
                Act::Withdraw => self.voice.withdraw(),
            }
        }
    }

    /// Does something about files; what goes wrong is told.
    fn report(&mut self, deed: impl FnOnce(&mut Desk) -> Result<(), CliError>) {
        if let Err(error) = deed(&mut self.desk) {
            self.stage.terminal.above().error(&error);
        }
    }

    /// Marks and acknowledges what stands on the screen by now. What does not comes again as mail.
    fn note_shown(&mut self) {
        let appeared = self.stage.terminal.appeared();
        let mut through = None;
        while self
            .appearing
            .front()
            .is_some_and(|(text, _)| *text <= appeared)
        {
            through = self.appearing.pop_front().map(|(_, seq)| seq);
        }
        let Some(seq) = through.filter(|_| self.deaf.is_none()) else {
            return;
        };
        match self.mark.show(seq) {
            Ok(()) => self.chat.shown(seq),
            Err(error) => self.deaf = Some(error.into()),
        }
    }

    fn stop_if_asked(&mut self) {
        let asked = self.deaf.is_some() || self.stage.stop.load(Ordering::Relaxed);
        if asked && !std::mem::replace(&mut self.stopped, true) {
            // Nobody is asked again.
            self.screen.set_busy(false);
            let acts = self.screen.typed(Typed::End, self.now_ms());
            self.perform(acts);
        }
    }

    fn over(mut self) -> Over {
        if let Some((text, _)) = self.appearing.back() {
            self.stage.terminal.wait_for(*text, LAST_LINES);
        }
        self.note_shown();
        let end = self.end.take().unwrap_or(End::Lost);
        let tried = self.chat.tried();
        let finished = self.chat.finish();
        let mut undelivered = finished.undelivered;
        let last = undelivered.last().map_or(0, |line| line.seq);
        let next = self.last_seq.max(last) + 1;
        let unsaid = self.unsaid.into_iter().chain(self.screen.kept());
        undelivered.extend(
            (next..)
                .zip(unsaid)
                .map(|(seq, text)| Undelivered { seq, text }),
        );
        Over {
            ended: self
                .deaf
                .map_or_else(|| verdict(&end, &self.party, &tried), Err),
            unsent: None,
            undelivered,
            session: finished.session,
            server_down: self.server_down,
        }
    }
}

/// Asks what becomes of lines that never arrived.
pub(crate) fn question(peer: &str, lines: usize) -> String {
    tr_n!(
        lines as u64,
        "{n} line did not arrive; send it to {peer} as mail? [Y/n] ",
        "{n} lines did not arrive; send them to {peer} as mail? [Y/n] ",
        peer = visible(peer)
    )
}

/// Says whether that was a yes: Enter is one, and so is the end, where nobody answers.
pub(crate) fn is_yes(typed: &Typed) -> bool {
    match typed {
        Typed::Line(line) => line.trim().is_empty() || ui::is_yes(line),
        Typed::Interrupt => false,
        Typed::End | Typed::Failed(_) => true,
    }
}
