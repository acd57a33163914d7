//! The client's rules without sockets, files or clock: which request is sent when, what a silence
//! means, and which mails a watcher has missed.
//!
//! [`connection`](super::connection) drives [`Requests`] and [`Link`]; [`session`](super::session)
//! drives [`Positions`]. Time comes in as milliseconds; nothing here waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::protocol::{LogNumber, MailId};

/// Milliseconds without an answer after which a request is repeated on the same connection. Long,
/// since TCP loses nothing: only a server that dropped the reply is helped by it.
pub(super) const REPEAT_AFTER_MS: u64 = 5_000;

/// Handshakes in a row that fail before it is said that this is another server. One can fail because
/// the server is just going down.
const HANDSHAKES_MAX: u32 = 3;

/// A request's number within its connection; on the wire it follows the connection's own prefix.
pub type RequestNumber = u64;

/// What a request is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The request id on the wire.
    pub id: [u8; 16],
    /// The header frame.
    pub header: Arc<[u8]>,
    /// The body frame.
    pub body: Option<Arc<[u8]>>,
}

#[derive(Debug)]
struct Pending {
    outgoing: Outgoing,
    /// May be repeated on one connection. A send may not: it is repeated on a new one only.
    repeat: bool,
    /// Goes before everything else, each time.
    first: bool,
    sent_ms: Option<u64>,
    tries: u32,
}

/// Requests under way: which to transmit, and which reply belongs to which.
#[derive(Debug)]
pub struct Requests {
    prefix: [u8; 8],
    newest: RequestNumber,
    pending: BTreeMap<RequestNumber, Pending>,
    ready: VecDeque<RequestNumber>,
    done: BTreeMap<RequestNumber, Vec<Vec<u8>>>,
}

impl Requests {
    /// Makes an empty table; `prefix` tells this connection's ids from every other's.
    pub fn new(prefix: [u8; 8]) -> Self {
        Self {
            prefix,
            newest: 0,
            pending: BTreeMap::new(),
            ready: VecDeque::new(),
            done: BTreeMap::new(),
        }
    }

    /// Takes in a request. With `first`, it goes before everything else.
    pub fn submit(
        &mut self,
        header: Vec<u8>,
        body: Option<Arc<[u8]>>,
        repeat: bool,
        first: bool,
    ) -> RequestNumber {
        self.newest += 1;
        let outgoing = Outgoing {
            id: self.wire_id(self.newest),
            header: header.into(),
            body,
        };
        self.pending.insert(
            self.newest,
            Pending {
                outgoing,
                repeat,
                first,
                sent_ms: None,
                tries: 0,
            },
        );
        enqueue(&mut self.ready, self.newest, first);
        self.newest
    }

    /// Returns what to transmit next, if anything.
    pub fn poll_transmit(&self) -> Option<(RequestNumber, &Outgoing)> {
        let number = *self.ready.front()?;
        Some((number, &self.pending.get(&number)?.outgoing))
    }

    /// Notes that the request of the last [`Requests::poll_transmit`] was handed to the socket.
    pub fn transmitted(&mut self, now_ms: u64) {
        let Some(number) = self.ready.pop_front() else {
            return;
        };
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.sent_ms = Some(now_ms);
            pending.tries += 1;
        }
    }

    /// Everything unanswered goes out again: what was under way on the old connection may be lost.
    pub fn reconnected(&mut self) {
        self.ready = self.pending.keys().copied().collect();
    }

    /// Readies what was silent for too long. Returns when to come back at the latest.
    pub fn tick(&mut self, now_ms: u64) -> Option<u64> {
        let mut next = None;
        for (number, pending) in &mut self.pending {
            let Some(sent_ms) = pending.sent_ms.filter(|_| pending.repeat) else {
                continue;
            };
            let due_ms = sent_ms + REPEAT_AFTER_MS;
            if due_ms > now_ms {
                next = Some(next.map_or(due_ms, |at: u64| at.min(due_ms)));
            } else if !self.ready.contains(number) {
                pending.sent_ms = None;
                // What waits may wait for this one: behind it, neither would ever go out.
                enqueue(&mut self.ready, *number, pending.first);
            }
        }
        next
    }

    /// Takes a reply's frames. Returns the request it answers; nothing for one that is late, double or
    /// nobody's.
    pub fn accept(&mut self, mut frames: Vec<Vec<u8>>) -> Option<RequestNumber> {
        if frames.len() < 2 {
            return None;
        }
        let number = self.number_of(&frames[0])?;
        self.pending.remove(&number)?;
        self.ready.retain(|ready| *ready != number);
        frames.remove(0);
        self.done.insert(number, frames);
        Some(number)
    }

    /// Returns the oldest request whose reply is here and was not taken.
    pub fn answered(&self) -> Option<RequestNumber> {
        self.done.keys().next().copied()
    }

    /// Returns the reply's header and body frames, once.
    pub fn take(&mut self, number: RequestNumber) -> Option<Vec<Vec<u8>>> {
        self.done.remove(&number)
    }

    /// Gives a request up. Returns how often it was transmitted.
    pub fn forget(&mut self, number: RequestNumber) -> u32 {
        self.ready.retain(|ready| *ready != number);
        self.done.remove(&number);
        self.pending.remove(&number).map_or(0, |gone| gone.tries)
    }

    fn wire_id(&self, number: RequestNumber) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.prefix);
        id[8..].copy_from_slice(&number.to_be_bytes());
        id
    }

    fn number_of(&self, id: &[u8]) -> Option<RequestNumber> {
        let rest = id.strip_prefix(&self.prefix)?;
        Some(u64::from_be_bytes(rest.try_into().ok()?))
    }
}

fn enqueue(ready: &mut VecDeque<RequestNumber>, number: RequestNumber, first: bool) {
    if first {
        ready.push_front(number);
    } else {
        ready.push_back(number);
    }
}

/// What the socket's monitor told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// TCP could not be connected; it is tried again.
    Refused,
    /// TCP connected: somebody listens.
    Connected,
    /// TCP connected, but the other side does not prove the key, or speaks something else.
    HandshakeFailed,
    /// Encrypted and ready.
    Up,
    /// It was up and broke.
    Down,
}

/// What the connection's silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody there.
    Unreachable,
    /// Somebody else there.
    WrongServer,
    /// It is there and does not answer.
    Silent,
}

/// The state of one connection, as far as the monitor's events tell.
#[derive(Debug, Default)]
pub struct Link {
    up: bool,
    /// Somebody listens, as far as is known.
    heard: bool,
    handshakes_failed: u32,
    /// The connection that breaks next was counted as failed already.
    counted: bool,
}

impl Link {
    /// Takes one event.
    pub fn handle(&mut self, event: LinkEvent) {
        let was_up = std::mem::replace(&mut self.up, event == LinkEvent::Up);
        self.heard = event != LinkEvent::Refused && (self.heard || event == LinkEvent::Connected);
        match event {
            LinkEvent::Connected => {}
            LinkEvent::HandshakeFailed => {
                self.handshakes_failed += 1;
                self.counted = true;
            }
            // Closed before it was up: what listens there speaks something else.
            LinkEvent::Down if !was_up && !self.counted => self.handshakes_failed += 1,
            LinkEvent::Down => self.counted = false,
            LinkEvent::Refused | LinkEvent::Up => {
                self.handshakes_failed = 0;
                self.counted = false;
            }
        }
    }

    /// Says whether requests can go out.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Says whether it is beyond doubt that this is not the server that was expected.
    pub fn is_wrong(&self) -> bool {
        self.handshakes_failed >= HANDSHAKES_MAX
    }

    /// Says what it means that no answer came.
    pub fn verdict(&self) -> Verdict {
        if self.handshakes_failed > 0 {
            Verdict::WrongServer
        } else if self.up || self.heard {
            Verdict::Silent
        } else {
            Verdict::Unreachable
        }
    }
}

/// What a live mail is to a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The next one of its log: nothing is missing before it.
    Next,
    /// Known already.
    Old,
    /// Something before it is missing: fetch after this id.
    Gap(MailId),
    /// A log this client does not follow (yet).
    Stranger,
}

/// How far a watcher has come in each log: the gap rule.
#[derive(Debug, Default, Clone)]
pub struct Positions {
    logs: BTreeMap<LogNumber, MailId>,
}

impl Positions {
    /// Starts following a log after `id`; one that is followed stays where it is.
    pub fn follow(&mut self, log: LogNumber, id: MailId) {
        self.logs.entry(log).or_insert(id);
    }

    /// Goes on in a log from `id`, wherever it was; one that is not followed stays so.
    pub fn restart(&mut self, log: LogNumber, id: MailId) {
        if let Some(at) = self.logs.get_mut(&log) {
            *at = id;
        }
    }

    /// Stops following a log.
    pub fn leave(&mut self, log: LogNumber) {
        self.logs.remove(&log);
    }

    /// Returns how far a log has come.
    pub fn at(&self, log: LogNumber) -> Option<MailId> {
        self.logs.get(&log).copied()
    }

    /// Sees a live mail. On [`Sight::Next`] the position has moved past it.
    pub fn see(&mut self, log: LogNumber, prev: MailId, id: MailId) -> Sight {
        let Some(at) = self.logs.get_mut(&log) else {
            return Sight::Stranger;
        };
        if id <= *at {
            return Sight::Old;
        }
        if prev > *at {
            return Sight::Gap(*at);
        }
        *at = id;
        Sight::Next
    }

    /// Moves past a page, forward only.
    pub fn pass(&mut self, log: LogNumber, through: MailId) {
        if let Some(at) = self.logs.get_mut(&log) {
            *at = through.max(*at);
        }
    }

    /// Says whether a log has something above its position.
    pub fn is_behind(&self, log: LogNumber, head: MailId) -> bool {
        self.at(log).is_some_and(|at| at < head)
    }
}

#[cfg(test)]
mod tests {
    use super::LinkEvent::{Connected, Down, HandshakeFailed, Refused, Up};
    use super::*;
    use proptest::prelude::*;

    fn requests() -> Requests {
        Requests::new([9; 8])
    }

    fn transmit_all(requests: &mut Requests, now_ms: u64) -> Vec<RequestNumber> {
        let mut sent = Vec::new();
        while let Some((number, _)) = requests.poll_transmit() {
            sent.push(number);
            requests.transmitted(now_ms);
        }
        sent
    }

    fn reply(requests: &Requests, number: RequestNumber) -> Vec<Vec<u8>> {
        vec![requests.wire_id(number).to_vec(), b"{}".to_vec()]
    }

    #[test]
    fn replies_overtake_each_other_and_are_taken_once() {
        let mut requests = requests();
        let one = requests.submit(b"1".to_vec(), None, true, false);
        let two = requests.submit(b"2".to_vec(), None, true, false);
        assert_eq!(transmit_all(&mut requests, 0), [one, two]);
        let answer = reply(&requests, two);
        assert_eq!(requests.accept(answer.clone()), Some(two));
        assert_eq!(requests.accept(answer), None, "a double");
        assert_eq!(requests.answered(), Some(two));
        assert_eq!(requests.take(one), None);
        assert_eq!(requests.take(two), Some(vec![b"{}".to_vec()]));
        assert_eq!(requests.take(two), None);
        assert_eq!(requests.answered(), None);
    }

    #[test]
    fn late_and_foreign_replies_are_dropped() {
        let mut requests = requests();
        let one = requests.submit(b"1".to_vec(), None, true, false);
        transmit_all(&mut requests, 0);
        assert_eq!(requests.forget(one), 1, "it was transmitted once");
        let late = reply(&requests, one);
        assert_eq!(requests.accept(late), None);
        assert_eq!(requests.accept(vec![vec![1; 16], b"{}".to_vec()]), None);
        assert_eq!(requests.accept(vec![b"x".to_vec()]), None);
        assert_eq!(requests.accept(Vec::new()), None);
    }

    #[test]
    fn a_new_connection_repeats_everything_in_order_and_silence_only_what_may_be() {
        let mut requests = requests();
        let send = requests.submit(b"send".to_vec(), None, false, false);
        let fetch = requests.submit(b"fetch".to_vec(), None, true, false);
        transmit_all(&mut requests, 1_000);
        assert_eq!(requests.tick(1_001), Some(1_000 + REPEAT_AFTER_MS));
        assert!(transmit_all(&mut requests, 1_001).is_empty());
        requests.tick(1_000 + REPEAT_AFTER_MS);
        assert_eq!(transmit_all(&mut requests, 9_000), [fetch]);
        requests.reconnected();
        let hello = requests.submit(b"hello".to_vec(), None, true, true);
        assert_eq!(transmit_all(&mut requests, 9_001), [hello, send, fetch]);
    }

    #[test]
    fn a_hello_without_an_answer_is_repeated_before_what_waits_for_it() {
        let mut requests = requests();
        let hello = requests.submit(b"hello".to_vec(), None, true, true);
        transmit_all(&mut requests, 0);
        let send = requests.submit(b"send".to_vec(), None, false, false);
        requests.tick(REPEAT_AFTER_MS);
        assert_eq!(transmit_all(&mut requests, REPEAT_AFTER_MS), [hello, send]);
    }

    #[test]
    fn silence_means_what_the_monitor_saw() {
        let after = |events: &[LinkEvent]| {
            let mut link = Link::default();
            for event in events {
                link.handle(*event);
            }
            (link.verdict(), link.is_wrong())
        };
        assert_eq!(after(&[]), (Verdict::Unreachable, false));
        assert_eq!(after(&[Refused, Refused]), (Verdict::Unreachable, false));
        assert_eq!(after(&[Up]), (Verdict::Silent, false));
        assert_eq!(after(&[Connected]), (Verdict::Silent, false));
        assert_eq!(after(&[Connected, Up]), (Verdict::Silent, false));
        assert_eq!(after(&[HandshakeFailed]), (Verdict::WrongServer, false));
        let failed = [
            HandshakeFailed,
            Down,
            HandshakeFailed,
            Down,
            HandshakeFailed,
        ];
        assert_eq!(after(&failed), (Verdict::WrongServer, true));
        assert_eq!(after(&[Down, Down, Down]), (Verdict::WrongServer, true));
        assert_eq!(after(&[Up, Down, Refused]), (Verdict::Unreachable, false));
        let restarted = [HandshakeFailed, HandshakeFailed, Refused, HandshakeFailed];
        assert_eq!(after(&restarted), (Verdict::WrongServer, false));
    }

    /// What a lossy network does between a log and a watcher.
    #[derive(Debug, Clone)]
    enum Step {
        /// A mail enters the log; its notice arrives or not.
        Mail { arrives: bool },
        /// An old notice arrives again, late.
        Again(prop::sample::Index),
        /// A heartbeat finds what is missing.
        Heartbeat,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => any::<bool>().prop_map(|arrives| Step::Mail { arrives }),
            1 => any::<prop::sample::Index>().prop_map(Step::Again),
            1 => Just(Step::Heartbeat),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        /// P10, P3: whatever is lost, doubled or late, a watcher shows every mail once, in order, and
        /// has them all after a heartbeat.
        #[test]
        fn p10_a_watcher_shows_everything_once_in_order(steps in steps(), start in 0_u64..5) {
            let mut log: Vec<MailId> = (1..=start).map(|at| at * 3).collect();
            let mut shown = Vec::new();
            let mut positions = Positions::default();
            positions.follow(1, log.last().copied().unwrap_or(0));
            let fetch = |positions: &mut Positions, shown: &mut Vec<MailId>, log: &[MailId]| {
                let at = positions.at(1).unwrap();
                shown.extend(log.iter().filter(|id| **id > at));
                positions.pass(1, log.last().copied().unwrap_or(0));
            };
            let mut notices = Vec::new();
            for step in steps {
                let mut arrived = None;
                match step {
                    Step::Mail { arrives } => {
                        let prev = log.last().copied().unwrap_or(0);
                        log.push(prev + 3);
                        notices.push((prev, prev + 3));
                        arrived = arrives.then_some((prev, prev + 3));
                    }
                    Step::Again(which) if !notices.is_empty() => {
                        arrived = Some(*which.get(&notices));
                    }
                    Step::Again(_) => {}
                    Step::Heartbeat => fetch(&mut positions, &mut shown, &log),
                }
                let Some((prev, id)) = arrived else { continue };
                match positions.see(1, prev, id) {
                    Sight::Next => shown.push(id),
                    Sight::Gap(_) => fetch(&mut positions, &mut shown, &log),
                    Sight::Old | Sight::Stranger => {}
                }
            }
            fetch(&mut positions, &mut shown, &log);
            prop_assert_eq!(shown, &log[usize::try_from(start).unwrap()..]);
        }
    }
}
