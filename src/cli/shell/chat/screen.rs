//! What a chat looks like to a person, and what typed lines do to it. Pure: events and lines in, deeds
//! out; no sockets, terminal or clock.

use std::collections::VecDeque;

use super::table::{self, Deed, Said};
use crate::chat::frame::{FileNumber, Seq};
use crate::chat::io::{End, Event};
use crate::cli::i18n::{tr, tr_n};
use crate::cli::shell::compose::Typed;
use crate::cli::shell::parse::Mistake;
use crate::cli::shell::words;
use crate::cli::times;
use crate::cli::untrusted::{Block, columns, visible, wrapped};
use crate::limits::{LINE_BYTES_MAX, LINE_WINDOW};

/// Lines given to the chat and not delivered yet; more wait here, so that saying one never waits.
const UNDER_WAY_MAX: u64 = LINE_WINDOW / 2;

/// How long a line may be under way before a person is told.
const SLOW_MS: u64 = 3_000;

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Say something of our own, above the prompt.
    Note(String),
    /// Show a line of the other side, above the prompt; then it counts as shown.
    Show {
        /// Its place in the other side's row.
        seq: Seq,
        /// As it stands on the screen.
        text: String,
    },
    /// Say this to the other side.
    Say(String),
    /// Send this file.
    Send(String),
    /// Take an offered file: this one or the oldest, into a folder.
    Accept(Option<FileNumber>, String),
    /// Refuse a file, or stop it: this one or the oldest.
    Refuse(Option<FileNumber>),
    /// Say how far files are.
    Gauge,
    /// End the chat.
    Leave,
    /// Take the invitation back.
    Withdraw,
}

/// Where a chat stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody has come yet.
    Waiting,
    /// Both sides hear each other.
    Open,
    /// This side is leaving: what was typed goes first.
    Leaving,
    /// Leaving was said to the chat.
    Left,
    /// It is over.
    Over,
}

/// One side of a chat at a terminal.
#[derive(Debug)]
pub struct Screen {
    user: String,
    peer: String,
    asked: bool,
    phase: Phase,
    words: Option<String>,
    width: usize,
    /// Typed and not said yet.
    kept: VecDeque<String>,
    /// When each line was said that is not delivered; its place once it has one.
    under_way: VecDeque<(u64, Option<Seq>)>,
    said: u64,
    heard: u64,
    slow: bool,
    tried: String,
    files: Files,
}

/// What leaving would do to files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    /// None is under way.
    Idle,
    /// It would stop them.
    Busy,
    /// That was told.
    Told,
}

impl Screen {
    /// Begins: `asked` when this side waits for the other's answer.
    pub fn new(user: &str, peer: &str, asked: bool) -> Self {
        Self {
            user: visible(user),
            peer: visible(peer),
            asked,
            phase: Phase::Waiting,
            words: None,
            width: 80,
            kept: VecDeque::new(),
            under_way: VecDeque::new(),
            said: 0,
            heard: 0,
            slow: false,
            tried: String::new(),
            files: Files::Idle,
        }
    }

    /// Returns the first words: what is waited for. An invitation that was made ends at `expires_at`.
    pub fn begin(&self, expires_at: Option<&str>) -> Vec<Act> {
        note(match expires_at.filter(|_| self.asked) {
            Some(expires_at) => tr!(
                "asked {} for a chat, until {}; Ctrl-C takes it back",
                self.peer,
                times::hour(expires_at)
            ),
            None => tr!("connecting to {}; Ctrl-C gives up", self.peer),
        })
    }

    /// Takes in what was tried to reach the other side.
    pub fn set_tried(&mut self, tried: String) {
        self.tried = tried;
    }

    /// Says how wide the terminal is.
    pub fn set_width(&mut self, width: usize) {
        self.width = width;
    }

    /// Returns the prompt: who speaks to whom.
    pub fn prompt(&self) -> String {
        tr!("{} to {}| ", self.user, self.peer)
    }

    /// Says whether lines are still typed to the other side.
    pub fn takes_lines(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Open)
    }

    /// Returns the lines that were typed and never said, in order.
    pub fn kept(&mut self) -> Vec<String> {
        self.kept.drain(..).collect()
    }

    /// Takes in whether files are under way: leaving asks once more then.
    pub fn set_busy(&mut self, busy: bool) {
        self.files = match (busy, self.files) {
            (false, _) => Files::Idle,
            (true, Files::Told) => Files::Told,
            (true, _) => Files::Busy,
        };
    }

    /// Takes in the words to compare aloud.
    pub fn set_words(&mut self, words: Option<String>) {
        self.words = words;
    }

    /// Takes in what happens.
    pub fn hear(&mut self, event: Event, now_ms: u64) -> Vec<Act> {
        match event {
            Event::Open { .. } => self.open(now_ms),
            Event::Line { seq, text } => {
                self.heard += 1;
                let text = self.line(&text);
                vec![Act::Show { seq, text }]
            }
            Event::Queued { seq } => {
                let placed = self.under_way.iter_mut().find(|(_, place)| place.is_none());
                if let Some((_, place)) = placed {
                    *place = Some(seq);
                }
                Vec::new()
            }
            Event::Delivered { through } => self.delivered(through, now_ms),
            Event::Broken => note(tr!("{} is not heard of; trying again", self.peer)),
            Event::Mended => note(tr!("{} is back; nothing was lost", self.peer)),
            Event::Ended(end) => self.end(&end),
            _ => Vec::new(),
        }
    }

    /// Takes in what was typed.
    pub fn typed(&mut self, typed: Typed, now_ms: u64) -> Vec<Act> {
        if self.phase == Phase::Over {
            return Vec::new();
        }
        match typed {
            Typed::Line(line) => match table::parse(&line) {
                Ok(Said::Lines(lines)) => self.say(lines, now_ms),
                Ok(Said::Word(deed, rest)) => self.obey(deed, &rest, now_ms),
                Err(mistake) => vec![Act::Note(self.point(&mistake))],
            },
            Typed::Interrupt if self.phase == Phase::Open => {
                note(tr!("/bye or Ctrl-D ends the chat"))
            }
            Typed::Interrupt | Typed::End | Typed::Failed(_) => self.leave(now_ms),
        }
    }

    /// Tells when lines take long. Call it every second or so.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Act> {
        let oldest = self.under_way.front().map(|(at_ms, _)| *at_ms);
        let late = oldest.is_some_and(|at_ms| now_ms >= at_ms + SLOW_MS);
        if !late || self.slow || self.phase == Phase::Over {
            return Vec::new();
        }
        self.slow = true;
        note(tr_n!(
            self.undelivered(),
            "{n} line not delivered yet",
            "{n} lines not delivered yet"
        ))
    }

    fn open(&mut self, now_ms: u64) -> Vec<Act> {
        if self.phase != Phase::Waiting {
            return Vec::new();
        }
        self.phase = Phase::Open;
        let mut acts = note(match &self.words {
            Some(words) => tr!(
                "direct line to {}; key words {}, compare aloud\n/bye ends it, /help has more",
                self.peer,
                words
            ),
            None => tr!("direct line to {}\n/bye ends it, /help has more", self.peer),
        });
        acts.extend(self.flow(now_ms));
        acts
    }

    /// One line of the other side. What a narrow terminal would break goes on below it, indented: at the
    /// left edge stand only words of ours.
    fn line(&self, text: &str) -> String {
        let head = format!("{}| ", self.peer);
        let text = Block(text).to_string().replace('\n', "\u{240a}");
        let indent = columns(&head);
        let room = self.width.saturating_sub(indent + 1).max(8);
        let below = format!("\n{}", " ".repeat(indent));
        format!("{head}{}", wrapped(&text, room).join(&below))
    }

    fn say(&mut self, lines: Vec<String>, now_ms: u64) -> Vec<Act> {
        let mut acts = Vec::new();
        for line in lines {
            if line.len() > LINE_BYTES_MAX {
                acts.extend(note(tr!(
                    "that line is longer than {} bytes and was not sent; /send sends files",
                    LINE_BYTES_MAX
                )));
            } else {
                self.kept.push_back(line);
            }
        }
        if self.phase == Phase::Waiting && !self.kept.is_empty() {
            acts.extend(note(tr_n!(
                self.kept.len() as u64,
                "{n} line kept until {peer} is here",
                "{n} lines kept until {peer} is here",
                peer = self.peer
            )));
        }
        acts.extend(self.flow(now_ms));
        acts
    }

    /// Says what may be said now.
    fn flow(&mut self, now_ms: u64) -> Vec<Act> {
        let mut acts = Vec::new();
        let flows = matches!(self.phase, Phase::Open | Phase::Leaving);
        while flows && (self.under_way.len() as u64) < UNDER_WAY_MAX {
            let Some(line) = self.kept.pop_front() else {
                break;
            };
            self.under_way.push_back((now_ms, None));
            self.said += 1;
            acts.push(Act::Say(line));
        }
        if self.phase == Phase::Leaving && self.kept.is_empty() {
            self.phase = Phase::Left;
            acts.push(Act::Leave);
        }
        acts
    }

    fn delivered(&mut self, through: Seq, now_ms: u64) -> Vec<Act> {
        let is_there = |place: Option<Seq>| place.is_some_and(|seq| seq <= through);
        while self
            .under_way
            .front()
            .is_some_and(|(_, place)| is_there(*place))
        {
            self.under_way.pop_front();
        }
        let mut acts = Vec::new();
        if self.under_way.is_empty() && std::mem::take(&mut self.slow) {
            acts.extend(note(tr!("all delivered now")));
        }
        acts.extend(self.flow(now_ms));
        acts
    }

    fn obey(&mut self, deed: Deed, rest: &str, now_ms: u64) -> Vec<Act> {
        match deed {
            Deed::Bye => self.leave(now_ms),
            Deed::Help => note(table::help(rest)),
            Deed::Status => vec![Act::Note(self.status()), Act::Gauge],
            Deed::Send | Deed::Accept | Deed::Refuse if self.phase != Phase::Open => {
                note(tr!("files go once {} is here", self.peer))
            }
            Deed::Send if rest.is_empty() => note(tr!("which file? /send FILE").to_owned()),
            Deed::Send => vec![Act::Send(words::unescaped(rest))],
            Deed::Accept => {
                let (file, folder) = numbered(rest);
                vec![Act::Accept(file, words::unescaped(folder))]
            }
            Deed::Refuse => match numbered(rest) {
                (file, "") => vec![Act::Refuse(file)],
                _ => note(tr!("that is no number of a file: /refuse [N]")),
            },
            Deed::Fingerprint => note(match &self.words {
                Some(words) => tr!("key words {}: {} must see the same", words, self.peer),
                None => tr!("key words come when {} is here", self.peer),
            }),
        }
    }

    /// Leaves: what was typed before goes first.
    fn leave(&mut self, now_ms: u64) -> Vec<Act> {
        match self.phase {
            Phase::Open if self.files == Files::Busy => {
                self.files = Files::Told;
                note(tr!(
                    "a file is on its way, and stops when you leave; /bye again leaves"
                ))
            }
            Phase::Open => {
                self.phase = Phase::Leaving;
                self.flow(now_ms)
            }
            // Nobody came: what was typed stays here.
            Phase::Waiting => {
                self.phase = Phase::Left;
                vec![if self.asked {
                    Act::Withdraw
                } else {
                    Act::Leave
                }]
            }
            Phase::Leaving | Phase::Left | Phase::Over => Vec::new(),
        }
    }

    fn end(&mut self, end: &End) -> Vec<Act> {
        let own = matches!(self.phase, Phase::Leaving | Phase::Left);
        self.phase = Phase::Over;
        let peer = &self.peer;
        note(match end {
            End::Bye { by_peer: true } if !own => tr!("{} left", peer),
            End::Bye { .. } => tr!("the chat with {} is over", peer),
            End::Lost => tr!("{} is lost: no sign of life any more", peer),
            End::Flooded => tr!("{} sent more than this machine may hold", peer),
            End::Unreachable { connected: true } => tr!(
                "no direct way: {} was reached but does not get through to this machine",
                peer
            ),
            End::Unreachable { connected: false } => {
                tr!("no direct way: {}'s machine could not be reached", peer)
            }
            End::Declined => tr!("{} declined", peer),
            End::Busy => tr!("{} takes no chat now", peer),
            End::Withdrawn if own => tr!("taken back").to_owned(),
            End::Withdrawn => tr!("{} took the invitation back", peer),
            End::Expired => tr!("{} did not answer in time", peer),
        })
    }

    fn status(&self) -> String {
        let state = match self.phase {
            Phase::Waiting if self.asked => tr!("waiting for {}", self.peer),
            Phase::Waiting => tr!("connecting to {}", self.peer),
            Phase::Open => tr!("direct line to {}", self.peer),
            Phase::Leaving | Phase::Left | Phase::Over => tr!("leaving {}", self.peer),
        };
        let delivered = self.said - self.under_way.len() as u64;
        tr_n!(
            self.said,
            "{state}: {n} line sent, {delivered} delivered, {waiting} waiting; {heard} heard",
            "{state}: {n} lines sent, {delivered} delivered, {waiting} waiting; {heard} heard",
            state = state,
            delivered = delivered,
            waiting = self.kept.len(),
            heard = self.heard
        )
    }

    fn undelivered(&self) -> u64 {
        (self.under_way.len() + self.kept.len()) as u64
    }

    fn point(&self, mistake: &Mistake) -> String {
        let gap = " ".repeat(columns(&self.prompt()) + mistake.at);
        format!("{gap}^ {}", mistake.text)
    }
}

/// `3 dir`: the number of a file, and the rest.
fn numbered(text: &str) -> (Option<FileNumber>, &str) {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match first.parse() {
        Ok(file) => (Some(file), rest.trim_start()),
        Err(_) => (None, text),
    }
}

fn note(text: impl Into<String>) -> Vec<Act> {
    vec![Act::Note(text.into())]
}

#[cfg(test)]
mod tests;
