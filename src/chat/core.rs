//! The rules of one chat, from the first hello to the last acknowledgement.
//!
//! Knows no socket, file, thread or clock: [`Core::handle`] takes an [`Input`] with the time,
//! [`Core::poll_output`] is drained, and the shell (`engine`) does what came out. What each frame
//! means is in `docs/protocol.md`, "Chat". Whatever a peer or a stranger sends, the worst outcome is that
//! it is dropped and counted. Read next: [`super::io`], then `core/meeting.rs`, `core/said.rs` and
//! `core/heard.rs`.

mod heard;
mod link;
mod meeting;
mod said;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::heard::{Heard, Place};
use self::link::{Health, Link};
use self::meeting::Greeting;
use self::said::Said;
use super::bundle;
use super::frame::{Frame, Note, Seq};
use super::io::{End, Event, Input, Output, Own, Packet, Peer, Role};
use crate::limits;
use crate::protocol::PublicKey;

/// One chat.
#[derive(Debug, Clone)]
pub struct Core {
    own: Own,
    stage: Stage,
    /// Known from the start when accepting, from the first hello on when asking.
    peer: Option<Peer>,
    now_ms: u64,
    link: Link,
    said: Said,
    heard: Heard,
    ack: Ack,
    leaving: Option<Leaving>,
    outputs: VecDeque<Output>,
    dropped: u64,
}

/// How far the chat is.
#[derive(Debug, Clone)]
enum Stage {
    /// Somebody with one of these keys may come.
    Waiting {
        keys: Vec<PublicKey>,
        /// Accepted: then he must come until then.
        until_ms: Option<u64>,
    },
    /// It is known who; the two have not heard each other yet.
    Meeting(Greeting),
    /// Lines pass.
    Open(Greeting),
    Over,
}

/// What the other side is told about what was shown here.
#[derive(Debug, Clone, Default)]
struct Ack {
    /// There is something to tell.
    due: bool,
    /// It was told up to here.
    through: Seq,
    sent_ms: u64,
}

/// The end has begun.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    by_peer: bool,
    since_ms: u64,
    /// When anything moved.
    moved_ms: u64,
}

impl Core {
    /// Begins a chat.
    pub fn new(own: Own, role: Role, now_ms: u64) -> Self {
        let stage = match &role {
            Role::Asker { keys } => Stage::Waiting {
                keys: keys.clone(),
                until_ms: None,
            },
            Role::Accepter(_) => Stage::Meeting(Greeting::new(false, now_ms)),
        };
        let mut core = Self {
            own,
            stage,
            peer: None,
            now_ms,
            link: Link::default(),
            said: Said::default(),
            heard: Heard::default(),
            ack: Ack::default(),
            leaving: None,
            outputs: VecDeque::new(),
            dropped: 0,
        };
        if let Role::Accepter(peer) = role {
            core.connect(peer);
        }
        core
    }

    /// Takes one input at a time that never goes back; drain [`poll_output`](Self::poll_output) after
    /// it, or after a few of them.
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        self.now_ms = self.now_ms.max(now_ms);
        if self.is_over() {
            if let Input::Say(text) = input {
                self.said.line(0, &text);
            }
            return;
        }
        match input {
            Input::Received { from, frame } => self.receive(&from, frame),
            Input::LinkUp => self.link_up(),
            Input::LinkDown { refused } => self.link.fall(refused, self.now_ms),
            Input::Answered(end) => self.answered(end),
            Input::Accepted => self.accepted(),
            Input::Say(text) => self.say(&text),
            Input::Note(note) => self.note(note),
            Input::Piece {
                file,
                offset,
                bytes,
            } => self.pass(&Frame::Piece {
                file,
                offset,
                bytes,
            }),
            Input::Credit {
                file,
                written,
                again,
            } => self.pass(&Frame::Credit {
                file,
                written,
                again,
            }),
            Input::Shown(through) => self.shown(through),
            Input::Leave => self.leave(false),
            Input::Tick => self.tick(),
        }
        self.settle();
    }

    /// Returns what is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        // The ack comes last, so that it speaks for everything that went in before.
        if self.outputs.is_empty() && self.ack_at_ms().is_some_and(|at| self.now_ms >= at) {
            self.send_ack();
        }
        self.outputs.pop_front()
    }

    /// Returns when the next [`Input::Tick`] is needed.
    pub fn wake_at_ms(&self) -> u64 {
        let at = match &self.stage {
            Stage::Waiting { until_ms, .. } => until_ms.unwrap_or(u64::MAX),
            Stage::Meeting(greeting) => self.meeting_wake_ms(greeting),
            Stage::Open(_) => self.open_wake_ms(),
            Stage::Over => return u64::MAX,
        };
        let leave = self
            .leaving
            .map_or(u64::MAX, |leaving| self.leave_at_ms(leaving));
        at.min(leave)
    }

    /// Says whether there is room for a line: while there is none, nothing should be said.
    pub fn can_say(&self) -> bool {
        !self.is_over() && self.said.has_room()
    }

    /// Returns the lines said and never acknowledged, in order.
    pub fn undelivered(&self) -> Vec<(Seq, String)> {
        let lines = self.said.lines();
        lines.map(|(seq, text)| (seq, text.to_owned())).collect()
    }

    /// Says whether the chat has ended; what is said later stays undelivered.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Returns how many messages were dropped: of strangers, of other chats, and no frames at all.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    // What comes from the user.

    fn say(&mut self, text: &str) {
        let seq = self.said.line(self.peer_epoch(), &one_line(text));
        self.tell(Event::Queued { seq });
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Bye => self.leave(false),
            Note::Unknown => {}
            // Nothing follows a bye.
            note if self.leaving.is_none() => {
                let seq = self.said.note(self.peer_epoch(), &note);
                self.tell(Event::Noted { seq, note });
            }
            _ => {}
        }
    }

    /// Sends something outside of the row, or loses it: it is asked for again.
    fn pass(&mut self, frame: &Frame) {
        if self.is_open() && self.link.is_up() {
            self.send(frame);
        }
    }

    fn shown(&mut self, through: Seq) {
        let before = self.heard.through();
        self.heard.show(through);
        if self.heard.through() != before {
            self.moved();
        }
    }

    fn leave(&mut self, by_peer: bool) {
        if self.leaving.is_some() {
            return;
        }
        if matches!(self.stage, Stage::Waiting { .. }) {
            return self.end(End::Bye { by_peer });
        }
        self.said.bye(self.peer_epoch());
        self.leaving = Some(Leaving {
            by_peer,
            since_ms: self.now_ms,
            moved_ms: self.now_ms,
        });
    }

    // What the broker says.

    fn answered(&mut self, end: End) {
        if matches!(self.stage, Stage::Waiting { .. }) {
            self.end(end);
        }
    }

    fn accepted(&mut self) {
        if let Stage::Waiting { until_ms, .. } = &mut self.stage {
            until_ms.get_or_insert(self.now_ms + limits::CHAT_CONNECT_MS);
        }
    }

    // What comes over the wire.

    fn receive(&mut self, from: &PublicKey, frame: Vec<u8>) {
        let known = match &self.stage {
            Stage::Waiting { keys, .. } => keys.contains(from),
            _ => self.peer.as_ref().is_some_and(|peer| peer.key == *from),
        };
        let passed = known && self.takes(from, frame);
        self.dropped += u64::from(!passed);
    }

    /// Says whether a message was of this chat. What is whole in a bundle counts, whatever else is in it.
    fn takes(&mut self, from: &PublicKey, message: Vec<u8>) -> bool {
        if !bundle::is_bundle(&message) {
            return self.take_frame(from, message).is_some();
        }
        let mut passed = message.len() > bundle::HEAD;
        for frame in bundle::unpack(&message) {
            passed &= frame.is_ok_and(|frame| self.take_frame(from, frame.to_vec()).is_some());
        }
        passed
    }

    /// Takes a frame of a known key. Returns nothing when it is not one of this chat.
    fn take_frame(&mut self, from: &PublicKey, frame: Vec<u8>) -> Option<()> {
        let (epoch, frame) = Frame::read(frame).ok()?;
        if epoch != self.own.epoch {
            return None;
        }
        match frame {
            Frame::Hello { chat, hello } if chat == self.own.chat => self.hello(from, &hello),
            Frame::Hello { .. } => None,
            frame => {
                // Only who has this side's hello sends anything else.
                if !self.greeting()?.met {
                    return None;
                }
                self.hear();
                self.open();
                self.take_open(frame);
                Some(())
            }
        }
    }

    fn take_open(&mut self, frame: Frame) {
        match frame {
            Frame::Hello { .. } => {}
            Frame::Line { seq, text } => {
                if self.comes(seq) {
                    self.heard.take(true, self.now_ms);
                    self.tell(Event::Line { seq, text });
                }
            }
            Frame::Note { seq, note } => {
                if self.comes(seq) {
                    self.take_note(seq, note);
                }
            }
            Frame::Ack { through, last } => {
                self.acknowledged(through);
                self.heard.goes_to(last);
            }
            Frame::Resend { from } => self.said.rewind(from, self.now_ms),
            Frame::Piece {
                file,
                offset,
                bytes,
            } => self.tell(Event::Piece {
                file,
                offset,
                bytes,
            }),
            Frame::Credit {
                file,
                written,
                again,
            } => self.tell(Event::Credit {
                file,
                written,
                again,
            }),
        }
    }

    /// Says whether a place of the other side's row is the next one.
    fn comes(&mut self, seq: Seq) -> bool {
        match self.heard.place(seq) {
            Place::Next => {
                self.moved();
                return true;
            }
            // It came again because no ack told that it is here.
            Place::Again => self.ack.due = true,
            Place::Ahead => {}
            Place::Nowhere => self.dropped += 1,
        }
        false
    }

    fn take_note(&mut self, seq: Seq, note: Note) {
        match note {
            Note::Bye => {
                self.heard.take(false, self.now_ms);
                self.heard.bye();
                self.leave(true);
            }
            Note::Unknown => self.heard.take(false, self.now_ms),
            note => {
                self.heard.take(true, self.now_ms);
                self.tell(Event::Note { seq, note });
            }
        }
    }

    fn acknowledged(&mut self, through: Seq) {
        if let Some(through) = self.said.acknowledge(through) {
            self.moved();
            self.tell(Event::Delivered { through });
        }
    }

    // The connection.

    fn connect(&mut self, peer: Peer) {
        self.outputs.push_back(Output::Connect(peer.clone()));
        self.peer = Some(peer);
    }

    fn link_up(&mut self) {
        if self.greeting().is_none() {
            return;
        }
        let again = self.link.rise();
        self.greet();
        self.said.restart(self.now_ms);
        self.ack.due = true;
        if again && self.is_open() {
            self.tell(Event::Resumed);
        }
        self.mend();
    }

    fn hear(&mut self) {
        self.link.hear(self.now_ms);
        self.mend();
    }

    fn mend(&mut self) {
        if self.is_open() && self.link.mends(self.now_ms) {
            self.tell(Event::Mended);
        }
    }

    // Time.

    fn tick(&mut self) {
        match self.stage {
            Stage::Waiting { until_ms, .. } => {
                if until_ms.is_some_and(|until| self.now_ms >= until) {
                    self.end(End::Unreachable { connected: false });
                }
            }
            Stage::Meeting(greeting) => self.tick_meeting(greeting),
            Stage::Open(_) => self.look(),
            Stage::Over => {}
        }
        let over = |leaving| self.now_ms >= self.leave_at_ms(leaving);
        if self.leaving.is_some_and(over) {
            self.conclude();
        }
    }

    fn open_wake_ms(&self) -> u64 {
        let mut at = self.link.wake_at_ms();
        if self.link.is_up() {
            let asks = self.heard.asks_at_ms().unwrap_or(u64::MAX);
            at = at.min(asks).min(self.ack_at_ms().unwrap_or(u64::MAX));
        }
        at
    }

    /// Tells the user when the other side went silent, or is lost.
    fn look(&mut self) {
        match self.link.health(self.now_ms) {
            Health::Lost if self.leaving.is_some() => self.conclude(),
            Health::Lost => self.end(End::Lost),
            Health::Broken if self.link.breaks() => self.tell(Event::Broken),
            Health::Broken | Health::Good => {}
        }
    }

    // Going out.

    /// Lets out what an input made ready.
    fn settle(&mut self) {
        if !self.is_open() {
            return;
        }
        if self.link.is_up() {
            while let Some(frame) = self.said.next() {
                self.outputs.push_back(Output::Send(Packet::Kept(frame)));
            }
            if let Some(from) = self.heard.ask(self.now_ms) {
                self.send(&Frame::Resend { from });
            }
        }
        if let Some(leaving) = self.leaving {
            self.settle_leaving(leaving);
        }
    }

    /// Ends a chat that both sides left and of which everything arrived. Who has the last ack closes, so a
    /// connection that is gone then means nothing.
    fn settle_leaving(&mut self, leaving: Leaving) {
        if !self.said.is_settled() || !self.heard.is_settled() {
            return;
        }
        let told = self.ack.through == self.heard.through();
        if !told && self.link.is_up() {
            self.send_ack();
        }
        if told || self.link.is_up() {
            let by_peer = leaving.by_peer;
            self.end(End::Bye { by_peer });
        }
    }

    /// Returns when an ack goes out: it is news or a sign of life. Many at a time would cost more than
    /// they tell.
    fn ack_at_ms(&self) -> Option<u64> {
        if !self.is_open() || !self.link.is_up() {
            return None;
        }
        let news = self.heard.through() - self.ack.through;
        if news >= limits::CHAT_ACK_LINES || news > 0 && self.leaving.is_some() {
            Some(0)
        } else if news > 0 || self.ack.due {
            Some(self.ack.sent_ms + 1)
        } else {
            Some(self.ack.sent_ms + limits::CHAT_BEAT_MS)
        }
    }

    fn send_ack(&mut self) {
        let through = self.heard.through();
        self.ack = Ack {
            due: false,
            through,
            sent_ms: self.now_ms,
        };
        let last = self.said.sent();
        self.send(&Frame::Ack { through, last });
    }

    fn send(&mut self, frame: &Frame) {
        let bytes = frame.encode(self.peer_epoch());
        self.outputs.push_back(Output::Send(Packet::Passing(bytes)));
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Tell(event));
    }

    // The end.

    fn moved(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.moved_ms = self.now_ms;
        }
    }

    /// When waiting for the last acks ends. A process that is gone sends none.
    fn leave_at_ms(&self, leaving: Leaving) -> u64 {
        let patience = if self.link.is_refused() {
            limits::CHAT_REWIND_MS
        } else {
            limits::CHAT_LEAVE_MS
        };
        (leaving.moved_ms + patience).min(leaving.since_ms + limits::CHAT_LEAVE_MS_MAX)
    }

    /// Ends a chat that was left, with what is known.
    fn conclude(&mut self) {
        let by_peer = self.leaving.is_some_and(|leaving| leaving.by_peer);
        self.end(if self.said.owes_lines() {
            End::Lost
        } else {
            End::Bye { by_peer }
        });
    }

    fn end(&mut self, end: End) {
        if !self.is_over() {
            self.stage = Stage::Over;
            self.tell(Event::Ended(end));
        }
    }

    // What is known.

    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    fn greeting(&self) -> Option<Greeting> {
        match self.stage {
            Stage::Meeting(greeting) | Stage::Open(greeting) => Some(greeting),
            Stage::Waiting { .. } | Stage::Over => None,
        }
    }

    fn greeting_mut(&mut self) -> Option<&mut Greeting> {
        match &mut self.stage {
            Stage::Meeting(greeting) | Stage::Open(greeting) => Some(greeting),
            Stage::Waiting { .. } | Stage::Over => None,
        }
    }

    /// The epoch every frame that goes out carries; nobody's while it is not known who comes.
    fn peer_epoch(&self) -> u64 {
        self.peer.as_ref().map_or(0, |peer| peer.epoch)
    }
}

/// Makes a text fit to be a line: the other side would refuse another one, and with it all that follow.
fn one_line(text: &str) -> std::borrow::Cow<'_, str> {
    let cut = &text[..text.floor_char_boundary(limits::LINE_BYTES_MAX)];
    if cut.contains('\n') {
        cut.replace('\n', " ").into()
    } else {
        cut.into()
    }
}
