//! The thread that carries a chat: it moves bytes between the sockets, the core and the program's
//! queues, and owns the clock. It decides nothing; [`core`](super::core) does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::bundle;
use super::core::Core;
use super::frame::Seq;
use super::io::{End, Event, Input, Output, Packet, Peer};
use super::memory::{self, Memory};
use super::peer::{self, Door, Way, WayEvent};
use super::shared::Shared;
use super::{ChatError, Undelivered};
use crate::auth::keys::KeyPair;
use crate::client::waker::{Sleeper, Waker};
use crate::limits;
use crate::protocol::PublicKey;

/// Messages taken in before anything else has its turn.
const BATCH: usize = 256;

/// Lines taken from the program at a time: the core has room for so many beyond what it asks for.
const LINES: usize = 256;

/// Frames that wait for room on the way out before pieces of files are taken.
const WAITING: usize = 16;

/// Frames that wait for room on the way out before nothing is taken in: far more than an honest other side
/// makes of a whole window. One that asks for ever more and reads none of it goes silent that way.
#[expect(clippy::cast_possible_truncation, reason = "some thousands")]
const WAITING_MAX: usize = limits::LINE_WINDOW as usize * 16;

/// Milliseconds the last frames are pushed when the chat is over, before they are left to libzmq.
const LAST_MS: u64 = 200;

/// Milliseconds of sleep while lines are being shown.
const NAP_MS: u64 = 1;

/// How long the sockets may take to close.
const CLOSING: Duration = Duration::from_millis(500);

/// The handle of an engine.
#[derive(Debug)]
pub(super) struct Engine {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    /// What was not delivered, once it is over.
    left: Receiver<Vec<Undelivered>>,
    /// Disconnected when the sockets are closed.
    open: Receiver<()>,
}

/// What an engine is made of.
pub(super) struct Parts {
    /// The rules, not begun yet: they are given the engine's clock.
    pub(super) core: Core,
    /// The port, bound.
    pub(super) door: Door,
    /// Who may come.
    pub(super) invited: Vec<PublicKey>,
    /// This device's keys.
    pub(super) keys: KeyPair,
    /// Where a side is whose host nobody named.
    pub(super) server_host: String,
    /// Where this side listens, for people.
    pub(super) own_place: String,
    /// What watches how much this process holds.
    pub(super) memory: Option<Memory>,
}

impl Engine {
    /// Starts the thread.
    pub(super) fn start(
        parts: Parts,
        shared: Arc<Shared>,
        (waker, sleeper): (Waker, Sleeper),
    ) -> Result<Self, ChatError> {
        let theirs = Arc::clone(&shared);
        let ((tell, left), (closed, open)) = (mpsc::channel(), mpsc::channel());
        let run = move || {
            let _closed: Sender<()> = closed;
            let _last_word = LastWord(Arc::clone(&theirs));
            let mut carrier = Carrier::new(parts, theirs, waker, sleeper);
            tell.send(carrier.run()).ok();
        };
        let thread = thread::Builder::new().name("chat".into()).spawn(run);
        let thread = thread.map_err(ChatError::system("start a thread"))?;
        Ok(Self {
            shared,
            thread,
            left,
            open,
        })
    }

    /// Ends it where it stands, and returns what was not delivered. libzmq closes no socket while it looks
    /// up a host's name, which takes as long as a name server likes: that goes on without anybody waiting.
    pub(super) fn finish(self) -> Vec<Undelivered> {
        self.shared.stop();
        let left = self.left.recv();
        if self.open.recv_timeout(CLOSING) == Err(RecvTimeoutError::Disconnected)
            && let Err(panic) = self.thread.join()
        {
            std::panic::resume_unwind(panic);
        }
        left.unwrap_or_default()
    }
}

/// Ends the chat for the program even where the engine itself breaks down: nobody waits for an end that
/// does not come.
struct LastWord(Arc<Shared>);

impl Drop for LastWord {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
            self.0.tell_chat(vec![Event::Ended(End::Lost)]);
        }
    }
}

/// The engine itself.
struct Carrier {
    core: Core,
    // The way before the door, whose context waits for it.
    way: Option<Way>,
    door: Door,
    invited: Vec<PublicKey>,
    keys: KeyPair,
    server_host: String,
    own_place: String,
    memory: Option<Memory>,
    shared: Arc<Shared>,
    waker: Waker,
    sleeper: Sleeper,
    started: Instant,
    /// The time of this turn.
    now_ms: u64,
    /// Frames that wait for room on the way out.
    out: VecDeque<Packet>,
    /// Events of this turn.
    events: Vec<Event>,
    is_up: bool,
    passed: Passed,
    naps: bool,
    /// Why it cannot go on.
    failed: Option<End>,
}

/// What the core was told of what the other threads said.
#[derive(Debug, Default)]
struct Passed {
    shown: Seq,
    /// What was shown when it last got ready to sleep.
    shown_before: Seq,
    /// The last line or note the program was told.
    told: Seq,
    answer: bool,
    leave: bool,
}

impl Carrier {
    fn new(parts: Parts, shared: Arc<Shared>, waker: Waker, sleeper: Sleeper) -> Self {
        Self {
            core: parts.core,
            way: None,
            door: parts.door,
            invited: parts.invited,
            keys: parts.keys,
            server_host: parts.server_host,
            own_place: parts.own_place,
            memory: parts.memory,
            shared,
            waker,
            sleeper,
            started: now(),
            now_ms: 0,
            out: VecDeque::new(),
            events: Vec::new(),
            is_up: false,
            passed: Passed::default(),
            naps: false,
            failed: None,
        }
    }

    fn run(&mut self) -> Vec<Undelivered> {
        self.shared.set_tried(self.tried(None));
        self.drain();
        let mut drowsy = false;
        while !self.core.is_over() && !self.shared.is_stopped() && self.failed.is_none() {
            let busy = self.turn().unwrap_or_else(|_| {
                self.failed = Some(End::Lost);
                true
            });
            if !busy && drowsy {
                self.sleep();
            }
            // One more look before the sleep, so that nothing slips in between.
            drowsy = !busy && !drowsy;
            if drowsy {
                self.doze();
            }
        }
        self.wind_up()
    }

    /// Gets ready to sleep. While lines are being shown it looks for itself in a moment, instead of being
    /// woken for each.
    fn doze(&mut self) {
        let passed = &mut self.passed;
        let moves = passed.shown != passed.shown_before;
        passed.shown_before = passed.shown;
        self.naps = moves && passed.told > passed.shown;
        let lines = if self.naps { limits::CHAT_ACK_LINES } else { 1 };
        let wanted = self.passed.shown.saturating_add(lines);
        self.shared.falls_asleep(wanted);
        // On a busy machine others do something meanwhile, and more comes at a time.
        thread::yield_now();
    }

    /// Does once whatever there is to do. Returns whether there was anything.
    fn turn(&mut self) -> zmq::Result<bool> {
        self.look_at_clock();
        if self
            .memory
            .as_mut()
            .is_some_and(|memory| memory.is_over(self.now_ms))
        {
            self.failed = Some(End::Flooded);
            return Ok(true);
        }
        self.door.answer(&self.invited)?;
        let mut busy = self.watch_way()?;
        busy |= self.take_in()?;
        busy |= self.listen();
        busy |= self.tick();
        busy |= self.flush()?;
        self.shared.set_dropped(self.core.dropped());
        if !self.core.is_over() {
            self.tell();
        }
        Ok(busy)
    }

    /// Takes in what the other side sent.
    fn take_in(&mut self) -> zmq::Result<bool> {
        if !self.wants_in() {
            return Ok(false);
        }
        for at in 0..BATCH {
            let Some((from, frame)) = self.door.receive()? else {
                return Ok(at > 0);
            };
            self.handle(Input::Received { from, frame });
        }
        Ok(true)
    }

    /// Says whether there is room for what more messages may bring: to tell, and to answer.
    fn wants_in(&self) -> bool {
        self.out.len() < WAITING_MAX && self.shared.has_room()
    }

    /// Takes in what the program says.
    fn listen(&mut self) -> bool {
        let mut busy = self.hear_shown();
        busy |= self.hear_answer();
        // While events wait to be read, nothing that makes more of them is taken.
        if self.core.can_say() && self.shared.has_room() {
            busy |= self.say_all(LINES);
        }
        if self.out.len() < WAITING {
            for input in self.shared.take_bulk(WAITING) {
                self.handle(input);
                busy = true;
            }
        }
        if self.shared.is_leaving() && !self.passed.leave {
            self.passed.leave = true;
            // What was said before goes first.
            self.say_all(usize::MAX);
            self.handle(Input::Leave);
            busy = true;
        }
        busy
    }

    fn say_all(&mut self, most: usize) -> bool {
        let said = self.shared.take_row(most);
        let busy = !said.is_empty();
        for input in said {
            self.handle(input);
        }
        busy
    }

    fn hear_shown(&mut self) -> bool {
        let shown = self.shared.mark_shown();
        if shown <= self.passed.shown {
            return false;
        }
        self.passed.shown = shown;
        self.handle(Input::Shown(shown));
        true
    }

    fn hear_answer(&mut self) -> bool {
        let Some(answer) = self.shared.answer().filter(|_| !self.passed.answer) else {
            return false;
        };
        self.passed.answer = true;
        self.handle(answer);
        true
    }

    fn tick(&mut self) -> bool {
        let due = self.now_ms >= self.core.wake_at_ms();
        if due {
            self.handle(Input::Tick);
        }
        due
    }

    fn handle(&mut self, input: Input) {
        self.core.handle(self.now_ms, input);
        self.drain();
    }

    /// Does what the core wants.
    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(packet) => self.out.push_back(packet),
                Output::Tell(event) => self.push(event),
                Output::Connect(peer) => self.connect(&peer),
            }
        }
    }

    fn push(&mut self, event: Event) {
        if let Event::Line { seq, .. } | Event::Note { seq, .. } = event {
            self.passed.told = seq;
        }
        self.events.push(event);
    }

    /// Connects to the one who came; from here on nobody else is let in.
    fn connect(&mut self, peer: &Peer) {
        self.invited = vec![peer.key];
        self.shared.met(peer.key);
        let told = peer.host.as_ref().unwrap_or(&self.server_host);
        let host = &peer::reached(told, &self.server_host);
        self.shared.set_tried(self.tried(Some((host, peer.port))));
        // No such place: the core hears of no connection and gives up in time.
        self.way = self.door.way_to(peer, host, &self.keys);
    }

    fn tried(&self, theirs: Option<(&str, u16)>) -> String {
        let own = &self.own_place;
        match theirs {
            Some((host, port)) => format!(
                "tried {} from here; from there {own} was to be tried",
                peer::place(host, port)
            ),
            None => format!("nobody came to {own}"),
        }
    }

    /// Passes on what happens to the connection.
    fn watch_way(&mut self) -> zmq::Result<bool> {
        let mut busy = false;
        while let Some(event) = self.way.as_ref().map_or(Ok(None), Way::event)? {
            busy = true;
            match event {
                WayEvent::Up => self.set_up(),
                WayEvent::Down if self.is_up => self.set_down(false),
                WayEvent::Down => {}
                WayEvent::Failed => self.probe(),
            }
        }
        if let Some(refused) = self.way.as_mut().and_then(Way::probed)
            && !self.is_up
        {
            self.set_down(refused);
        }
        Ok(busy)
    }

    fn probe(&mut self) {
        if let Some(way) = &mut self.way {
            way.probe(self.waker.clone());
        }
    }

    fn set_up(&mut self) {
        self.is_up = true;
        self.handle(Input::LinkUp);
    }

    fn set_down(&mut self, refused: bool) {
        self.is_up = false;
        // All of it comes again on the next connection.
        self.out.clear();
        self.handle(Input::LinkDown { refused });
    }

    /// Hands over what there is room for. Returns whether anything went.
    fn flush(&mut self) -> zmq::Result<bool> {
        let Some(way) = &self.way else {
            return Ok(false);
        };
        let mut busy = false;
        while let Some(packet) = self.out.front() {
            if let Some((bundle, count)) = bundle::pack(&self.out) {
                self.out.drain(..count);
                self.out.push_front(Packet::Passing(bundle));
                continue;
            }
            if !way.send(packet)? {
                break;
            }
            self.out.pop_front();
            busy = true;
        }
        Ok(busy)
    }

    /// Hands over what this turn told, all at once.
    fn tell(&mut self) {
        if !self.events.is_empty() {
            let room = Vec::with_capacity(self.events.len());
            self.shared
                .tell_chat(std::mem::replace(&mut self.events, room));
        }
    }

    fn sleep(&mut self) {
        let wait_ms = self.core.wake_at_ms().saturating_sub(self.now_ms);
        let most_ms = match (self.naps, &self.memory) {
            (true, _) => NAP_MS,
            (false, Some(_)) => memory::LOOK_EVERY_MS,
            (false, None) => 60_000,
        };
        self.wait(self.wants_in(), wait_ms.min(most_ms));
    }

    fn wait(&mut self, wants_in: bool, wait_ms: u64) {
        let wait_ms = i64::try_from(wait_ms).unwrap_or(0);
        let wants_out = !self.out.is_empty();
        let fd = self.sleeper.fd();
        let way = self.way.as_ref();
        let waited = self.door.wait(way, wants_in, wants_out, fd, wait_ms);
        if waited.is_err() {
            self.failed = Some(End::Lost);
        }
        self.sleeper.clear();
    }

    /// Says goodbye, tells the end, and takes stock.
    fn wind_up(&mut self) -> Vec<Undelivered> {
        self.look_at_clock();
        if !self.core.is_over() && self.failed.is_none() {
            self.handle(Input::Leave);
        }
        // Who hears of the end says nothing more that would be taken.
        for input in self.shared.close() {
            self.handle(input);
        }
        if let Some(end) = self.failed.clone().filter(|_| !self.core.is_over()) {
            self.events.push(Event::Ended(end));
        }
        self.tell();
        let until_ms = self.now_ms + LAST_MS;
        while self.failed.is_none() && self.is_up && !self.out.is_empty() && self.now_ms < until_ms
        {
            self.wait(false, until_ms - self.now_ms);
            if self.flush().is_err() {
                break;
            }
            self.look_at_clock();
        }
        let lines = self.core.undelivered().into_iter();
        lines.map(|(seq, text)| Undelivered { seq, text }).collect()
    }

    fn look_at_clock(&mut self) {
        let since = now() - self.started;
        self.now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    }
}

#[expect(clippy::disallowed_methods, reason = "the engine owns a chat's clock")]
fn now() -> Instant {
    Instant::now()
}
