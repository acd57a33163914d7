//! The network, the two programs and their users, and what must hold at every moment.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use super::super::*;
use super::Plan;

/// How a run ends.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// Everything calms down, then side 0 leaves.
    Peace,
    Leaves {
        side: usize,
        at_ms: u64,
    },
    BothLeave {
        at_ms: [u64; 2],
    },
    /// A program is killed; its host refuses connections from then on, or is gone too.
    Dies {
        side: usize,
        at_ms: u64,
        refuses: bool,
    },
    /// A side's outgoing frames never arrive again.
    CutOff {
        side: usize,
        at_ms: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrives {
        to: usize,
        connection: usize,
        frame: Vec<u8>,
    },
    Breaks {
        side: usize,
        for_ms: u64,
    },
    Stands {
        side: usize,
    },
    /// The program hears of it.
    Hears {
        side: usize,
        up: bool,
    },
    /// The broker tells the asker that its invitation was accepted.
    IsAccepted,
    Says {
        side: usize,
        lines: u64,
    },
    Looks {
        side: usize,
    },
    Leaves {
        side: usize,
    },
    Dies {
        side: usize,
    },
}

/// One direction of the network.
#[derive(Debug, Default)]
struct Way {
    /// The program wants one.
    wanted: bool,
    /// The connection that stands.
    stands: Option<usize>,
    /// Of each connection so far: until when its frames arrive.
    until_ms: Vec<u64>,
    /// Nothing on one connection overtakes.
    last_ms: u64,
    /// The program hears of breaks late, but in order.
    heard_ms: u64,
    /// It never stands again.
    cut: bool,
    spared: bool,
}

/// One program and its user.
#[derive(Debug)]
struct Side {
    core: Core,
    alive: bool,
    /// Typed, and not yet taken by the core.
    typed: VecDeque<String>,
    /// Given to the core, in order, and the places they got.
    given: Vec<String>,
    places: Vec<Seq>,
    /// The whole row: texts of lines, nothing for a note.
    row: Vec<Option<String>>,
    told: Seq,
    shown: Seq,
    delivered: Seq,
    pieces: HashSet<u64>,
    looking: bool,
    opened: bool,
    left_ms: Option<u64>,
    ended: Option<(u64, End)>,
}

/// Everything.
pub(super) struct World {
    now_ms: u64,
    random: u64,
    order: u64,
    agenda: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    ways: [Way; 2],
    sides: [Side; 2],
    pace_ms: [u64; 2],
    lossy: u64,
    refuses: bool,
    /// Since when no more than a short time of peace is needed until the end.
    doomed_ms: Option<u64>,
}

impl Side {
    fn new(core: Core) -> Self {
        Self {
            core,
            alive: true,
            typed: VecDeque::new(),
            given: Vec::new(),
            places: Vec::new(),
            row: Vec::new(),
            told: 0,
            shown: 0,
            delivered: 0,
            pieces: HashSet::new(),
            looking: false,
            opened: false,
            left_ms: None,
            ended: None,
        }
    }

    fn is_idle(&self) -> bool {
        self.opened && self.typed.is_empty() && self.delivered == self.row.len() as Seq
    }
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut world = Self {
            now_ms: 1,
            random: plan.seed | 1,
            order: 0,
            agenda: BinaryHeap::new(),
            ways: Default::default(),
            sides: [Side::new(asker(1)), Side::new(accepter(1))],
            pace_ms: plan.pace_ms,
            lossy: plan.lossy,
            refuses: false,
            doomed_ms: None,
        };
        for burst in &plan.bursts {
            let (side, lines) = (burst.side, burst.lines);
            world.plan(burst.at_ms, Happening::Says { side, lines });
        }
        // A peaceful chat may break once it is open; meeting has its own tests.
        let from_ms = if matches!(plan.fate, Fate::Peace) {
            200
        } else {
            0
        };
        for broken in &plan.breaks {
            let (side, for_ms) = (broken.side, broken.for_ms);
            world.plan(from_ms + broken.at_ms, Happening::Breaks { side, for_ms });
        }
        world.soon(200, Happening::IsAccepted);
        world.seal(&plan.fate);
        world.drain(0);
        world.drain(1);
        world
    }

    fn seal(&mut self, fate: &Fate) {
        match *fate {
            Fate::Peace => {}
            Fate::Leaves { side, at_ms } => self.plan(at_ms, Happening::Leaves { side }),
            Fate::BothLeave { at_ms } => {
                self.plan(at_ms[0], Happening::Leaves { side: 0 });
                self.plan(at_ms[1], Happening::Leaves { side: 1 });
            }
            Fate::Dies {
                side,
                at_ms,
                refuses,
            } => {
                self.refuses = refuses;
                self.plan(at_ms, Happening::Dies { side });
            }
            Fate::CutOff { side, at_ms } => {
                let for_ms = u64::MAX;
                self.plan(at_ms, Happening::Breaks { side, for_ms });
            }
        }
    }

    /// Runs until all was said and delivered, and then until the end.
    pub(super) fn run_in_peace(&mut self) {
        self.run_until(super::BUSY_MS + 3_000, |_| false);
        let calm = self.now_ms;
        self.lossy = 0;
        // A slow reader takes one look at a time.
        self.run_until(calm + 120_000, |world| {
            world.sides.iter().all(Side::is_idle)
        });
        assert!(
            self.sides.iter().all(Side::is_idle),
            "not all was delivered"
        );
        self.happen(Happening::Leaves { side: 0 });
        let left = self.now_ms;
        self.run_until(left + 1_500, Self::is_over);
        for (side, by_peer) in [(0, false), (1, true)] {
            let ended = self.sides[side].ended.as_ref().map(|(_, end)| end);
            assert_eq!(ended, Some(&End::Bye { by_peer }), "side {side}");
            assert!(self.sides[side].core.undelivered().is_empty());
        }
        self.check_the_end();
    }

    /// Runs until whatever is to happen has happened to both.
    pub(super) fn run_to_the_end(&mut self) {
        self.run_until(60_000, Self::is_over);
        assert!(self.is_over(), "somebody waits for ever");
        self.check_the_end();
    }

    fn is_over(&self) -> bool {
        let over = |side: &Side| side.ended.is_some() || !side.alive;
        self.sides.iter().all(over)
    }

    fn check_the_end(&self) {
        for side in self.sides.iter().filter(|side| side.alive) {
            let done = side.places.iter().take_while(|seq| **seq <= side.delivered);
            let texts = side.core.undelivered().into_iter().map(|(_, text)| text);
            let expected = &side.given[done.count()..];
            assert_eq!(
                texts.collect::<Vec<_>>(),
                expected,
                "what was not acknowledged"
            );
            self.check_the_time(side);
        }
    }

    fn check_the_time(&self, side: &Side) {
        let (ended_ms, _) = side.ended.as_ref().expect("it ended");
        if let Some(left_ms) = side.left_ms {
            let most = limits::CHAT_LEAVE_MS_MAX;
            assert!(*ended_ms <= left_ms + most, "left at {left_ms}, {ended_ms}");
        }
        if let Some(doomed_ms) = self.doomed_ms {
            // What was on its way when it happened may take its time.
            let most = limits::CHAT_LOST_MS + 1_000;
            assert!(*ended_ms <= doomed_ms + most, "{doomed_ms}, {ended_ms}");
        }
    }

    // Time.

    fn run_until(&mut self, until_ms: u64, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let next = self.agenda.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            if next > self.now_ms && self.drain(0) | self.drain(1) {
                continue;
            }
            let wakes = [0, 1].map(|side| self.wake_ms(side));
            let at = next.min(wakes[0]).min(wakes[1]);
            if at > until_ms {
                self.now_ms = until_ms;
                return;
            }
            self.now_ms = self.now_ms.max(at);
            if next == at {
                let Reverse((_, _, happening)) = self.agenda.pop().expect("it was looked at");
                self.happen(happening);
            } else {
                let side = usize::from(wakes[0] != at);
                self.give(side, Input::Tick);
                self.drain(side);
                assert!(self.wake_ms(side) > self.now_ms, "it spins");
            }
        }
    }

    fn wake_ms(&self, side: usize) -> u64 {
        let alive = self.sides[side].alive;
        if alive {
            self.sides[side].core.wake_at_ms()
        } else {
            u64::MAX
        }
    }

    fn plan(&mut self, at_ms: u64, happening: Happening) {
        self.order += 1;
        self.agenda.push(Reverse((at_ms, self.order, happening)));
    }

    fn soon(&mut self, most_ms: u64, happening: Happening) {
        let at_ms = self.now_ms + self.below(most_ms + 1);
        self.plan(at_ms, happening);
    }

    /// xorshift64*.
    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }

    // The network.

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives {
                to,
                connection,
                frame,
            } => {
                let way = &self.ways[1 - to];
                if self.now_ms <= way.until_ms[connection] && self.is_there(to) {
                    let from = [ACCEPTER, ASKER][to];
                    self.give(to, Input::Received { from, frame });
                }
            }
            Happening::Breaks { side, for_ms } => self.breaks(side, for_ms),
            Happening::Stands { side } => self.stands(side),
            Happening::Hears { side, up: true } => self.give(side, Input::LinkUp),
            Happening::Hears { side, up: false } => {
                let refused = self.refuses && !self.sides[1 - side].alive;
                self.give(side, Input::LinkDown { refused });
            }
            Happening::IsAccepted => self.give(0, Input::Accepted),
            Happening::Says { side, lines } => self.says(side, lines),
            Happening::Looks { side } => self.looks(side),
            Happening::Leaves { side } => self.leaves(side),
            Happening::Dies { side } => self.dies(side),
        }
    }

    /// Says whether a program is there that listens.
    fn is_there(&self, side: usize) -> bool {
        self.sides[side].alive && self.sides[side].ended.is_none()
    }

    fn stands(&mut self, side: usize) {
        let there = self.is_there(side) && self.is_there(1 - side);
        let way = &mut self.ways[side];
        if !way.wanted || way.cut || way.stands.is_some() || !there {
            return;
        }
        way.stands = Some(way.until_ms.len());
        way.until_ms.push(u64::MAX);
        way.last_ms = self.now_ms;
        self.hears_of(side, true);
    }

    fn hears_of(&mut self, side: usize, up: bool) {
        let at_ms = self.now_ms + self.below(30);
        let way = &mut self.ways[side];
        way.heard_ms = way.heard_ms.max(at_ms);
        let at_ms = way.heard_ms;
        self.plan(at_ms, Happening::Hears { side, up });
    }

    fn breaks(&mut self, side: usize, for_ms: u64) {
        let loses_ms = self.now_ms + self.below(60);
        let way = &mut self.ways[side];
        if let Some(connection) = way.stands.take() {
            way.until_ms[connection] = loses_ms;
        }
        if for_ms == u64::MAX {
            way.cut = true;
            self.doomed_ms.get_or_insert(self.now_ms);
        } else {
            let at_ms = self.now_ms + for_ms;
            self.plan(at_ms, Happening::Stands { side });
        }
        self.hears_of(side, false);
    }

    fn send(&mut self, side: usize, frame: Vec<u8>) {
        let Some(connection) = self.ways[side].stands else {
            return;
        };
        let lucky = self.lossy == 0 || self.ways[side].spared || self.below(self.lossy) != 0;
        // Never two in a row: signs of life would not be heard for too long, by chance.
        self.ways[side].spared = !lucky;
        let delay = self.below(8);
        let way = &mut self.ways[side];
        way.last_ms = way.last_ms.max(self.now_ms + delay);
        let at_ms = way.last_ms;
        let arrives = Happening::Arrives {
            to: 1 - side,
            connection,
            frame,
        };
        if self.lossy > 0 && self.below(self.lossy) == 0 {
            self.soon(100, arrives.clone());
        }
        if lucky {
            self.plan(at_ms, arrives);
        }
    }

    // The programs.

    fn give(&mut self, side: usize, input: Input) {
        if !self.sides[side].alive {
            return;
        }
        let now_ms = self.now_ms;
        self.sides[side].core.handle(now_ms, input);
        // Sometimes several inputs go in before outputs come out.
        if self.below(4) > 0 {
            self.drain(side);
        }
        while self.sides[side].core.can_say() {
            let this = &mut self.sides[side];
            let Some(text) = this.typed.pop_front() else {
                break;
            };
            this.given.push(text.clone());
            this.core.handle(now_ms, Input::Say(text));
            self.drain(side);
        }
    }

    /// Does what came out. Returns whether there was anything.
    fn drain(&mut self, side: usize) -> bool {
        let mut any = false;
        while let Some(output) = self.sides[side].core.poll_output() {
            any = true;
            match output {
                Output::Connect(peer) => {
                    assert_eq!(peer, introduced([ACCEPTER, ASKER][side]));
                    self.ways[side].wanted = true;
                    self.soon(50, Happening::Stands { side });
                }
                Output::Send(frame) => self.send(side, frame.to_vec()),
                Output::Tell(event) => self.tell(side, event),
            }
        }
        let this = &self.sides[side];
        if any {
            let kept = this.core.said.lines().count() as u64;
            assert!(kept <= limits::LINE_WINDOW + limits::LINES_AHEAD);
            assert!(this.told - this.shown <= limits::LINE_WINDOW);
        }
        any
    }

    fn tell(&mut self, side: usize, event: Event) {
        assert!(self.sides[side].ended.is_none(), "{event:?} after the end");
        match event {
            Event::Open { key } => {
                assert_eq!(key, [ACCEPTER, ASKER][side]);
                assert!(!std::mem::replace(&mut self.sides[side].opened, true));
            }
            Event::Queued { seq } => {
                let this = &mut self.sides[side];
                let text = this.given[this.places.len()].clone();
                this.places.push(seq);
                this.row.push(Some(text));
                assert_eq!(this.row.len() as Seq, seq);
            }
            Event::Noted { seq, .. } => {
                self.sides[side].row.push(None);
                assert_eq!(self.sides[side].row.len() as Seq, seq);
            }
            Event::Line { seq, text } => self.hears(side, seq, Some(&text)),
            Event::Note { seq, .. } => self.hears(side, seq, None),
            Event::Delivered { through } => {
                assert!(through > self.sides[side].delivered);
                assert!(through <= self.sides[1 - side].shown, "before it was shown");
                self.sides[side].delivered = through;
            }
            Event::Piece { file, offset, .. } => {
                assert!(
                    self.sides[1 - side]
                        .pieces
                        .contains(&(file * 1_000 + offset))
                );
            }
            Event::Ended(end) => self.ends(side, end),
            _ => {}
        }
    }

    /// Something of the other side's row was told: it must be the next, and what was said there.
    fn hears(&mut self, side: usize, seq: Seq, text: Option<&String>) {
        let this = &mut self.sides[side];
        this.told += 1;
        assert_eq!(seq, this.told, "once and in order");
        let place = usize::try_from(seq).expect("small") - 1;
        let said = &self.sides[1 - side].row[place];
        assert_eq!(said.as_ref(), text);
        if self.pace_ms[side] == 0 {
            return self.looks(side);
        }
        if !std::mem::replace(&mut self.sides[side].looking, true) {
            self.soon(2 * self.pace_ms[side], Happening::Looks { side });
        }
    }

    fn ends(&mut self, side: usize, end: End) {
        self.sides[side].ended = Some((self.now_ms, end));
        // What it sent last still arrives, then its port is closed.
        let way = &mut self.ways[side];
        way.stands = None;
        self.hangs_up(side);
    }

    /// The connection of the other side to a program that is no more.
    fn hangs_up(&mut self, gone: usize) {
        let other = 1 - gone;
        self.doomed_ms.get_or_insert(self.now_ms);
        if let Some(connection) = self.ways[other].stands.take() {
            self.ways[other].until_ms[connection] = self.now_ms;
        }
        self.soon(
            30,
            Happening::Hears {
                side: other,
                up: false,
            },
        );
    }

    // The users.

    fn says(&mut self, side: usize, lines: u64) {
        for number in 0..lines {
            let text = format!("{side}: {number} at {}", self.now_ms);
            self.sides[side].typed.push_back(text);
        }
        if self.sides[side].ended.is_some() {
            self.sides[side].typed.clear();
        }
        let file = self.below(9) + 1;
        let offset = self.now_ms % 1_000;
        self.sides[side].pieces.insert(file * 1_000 + offset);
        self.give(side, Input::Note(Note::Verified { file }));
        let bytes = vec![1];
        self.give(
            side,
            Input::Piece {
                file,
                offset,
                bytes,
            },
        );
    }

    /// The user reads what was told, or a part of it.
    fn looks(&mut self, side: usize) {
        let waiting = self.sides[side].told - self.sides[side].shown;
        let read = if self.below(3) == 0 {
            self.below(waiting + 1)
        } else {
            waiting
        };
        let this = &mut self.sides[side];
        this.looking = read < waiting;
        this.shown += read;
        let shown = this.shown;
        if this.looking {
            self.soon(2 * self.pace_ms[side] + 1, Happening::Looks { side });
        }
        if self.sides[side].ended.is_none() {
            self.give(side, Input::Shown(shown));
        }
    }

    fn leaves(&mut self, side: usize) {
        if self.is_there(side) {
            let now_ms = self.now_ms;
            let this = &mut self.sides[side];
            this.typed.clear();
            this.left_ms.get_or_insert(now_ms);
            self.give(side, Input::Leave);
            self.drain(side);
        }
    }

    fn dies(&mut self, side: usize) {
        if self.is_there(side) {
            self.drain(side);
            self.sides[side].alive = false;
            self.ways[side].stands = None;
            self.hangs_up(side);
        }
    }
}
