//! Thousands of clients at little cost each: a few threads with a context of their own, each of which
//! drives some hundred clients by polling; in this process ([`Squad`]) or in several
//! ([`company`]). What happened is written down ([`book`]) and added up afterwards.

pub mod book;
pub mod company;
mod member;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use correio::protocol::url::ServerUrl;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use zmq::{PollEvents, PollItem};

use self::book::Record;
use self::member::{Around, Member};
use super::now;
use super::rng::Rng;

/// Clients of one context: libzmq allows 1,023 sockets in one, a client with its monitor has four.
const CLIENTS_PER_CONTEXT: usize = 240;

/// Open files of one client: an event file of each of its four sockets, and two connections.
pub const FILES_PER_CLIENT: usize = 6;

/// How far the crowd shall go; each includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Connect, say hello, register.
    Enter,
    /// Log in and keep the session.
    Login,
    /// Listen to notices.
    Live,
    /// Send mail at the rate of the plan.
    Load,
    /// Send no new mail.
    Drain,
    /// End.
    Stop,
}

impl Phase {
    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Enter,
            1 => Self::Login,
            2 => Self::Live,
            3 => Self::Load,
            4 => Self::Drain,
            _ => Self::Stop,
        }
    }
}

/// Counts of a crowd as they are now, shared by its threads.
#[derive(Debug, Default)]
pub struct Tally {
    /// Clients that are registered.
    pub registered: AtomicUsize,
    /// Clients that are logged in.
    pub inside: AtomicUsize,
    /// Clients whose notices flow.
    pub live: AtomicUsize,
    /// Sends without an answer.
    pub unanswered: AtomicUsize,
    /// Sends acknowledged so far.
    pub acked: AtomicUsize,
    /// Mails taken so far.
    pub taken: AtomicUsize,
    /// Handshakes that failed so far.
    pub refused: AtomicUsize,
    /// Requests the server put off so far.
    pub put_off: AtomicUsize,
}

impl Tally {
    fn up(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::SeqCst);
    }

    fn down(count: &AtomicUsize) {
        count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Returns all counts, in the order of the fields.
    pub fn counts(&self) -> [usize; 8] {
        [
            &self.registered,
            &self.inside,
            &self.live,
            &self.unanswered,
            &self.acked,
            &self.taken,
            &self.refused,
            &self.put_off,
        ]
        .map(|count| count.load(Ordering::SeqCst))
    }
}

/// Which clients, and what they do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server.
    pub url: ServerUrl,
    /// Number of the first client here ...
    pub first: usize,
    /// ... and how many there are here,
    pub count: usize,
    /// of so many in all processes.
    pub total: usize,
    /// Clients below this number listen to notices.
    pub live: usize,
    /// Mails a second that all clients here send together.
    pub rate: f64,
}

/// The clients of this process.
pub struct Squad {
    /// How they are.
    pub tally: Arc<Tally>,
    phase: Arc<AtomicU8>,
    threads: Vec<JoinHandle<Vec<Record>>>,
}

impl Squad {
    /// Starts the threads; their clients connect and register.
    pub fn start(plan: &Plan) -> Self {
        raise_open_files();
        let (tally, phase) = (Arc::new(Tally::default()), Arc::new(AtomicU8::new(0)));
        let firsts = (0..plan.count).step_by(CLIENTS_PER_CONTEXT);
        let threads = firsts.map(|first| {
            let count = CLIENTS_PER_CONTEXT.min(plan.count - first);
            let rate = plan.rate * crate::common::crowd::ratio(count, plan.count);
            let plan = Plan {
                first: plan.first + first,
                count,
                rate,
                ..plan.clone()
            };
            let (tally, phase) = (Arc::clone(&tally), Arc::clone(&phase));
            std::thread::spawn(move || Squadron::new(&plan).run(&plan, &phase, &tally))
        });
        Self {
            threads: threads.collect(),
            tally,
            phase,
        }
    }

    /// Lets the clients go on to a phase.
    pub fn order(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// Says whether a thread died of a failed assertion.
    pub fn is_broken(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends the clients and returns what happened to them.
    pub fn finish(self) -> Vec<Record> {
        self.order(Phase::Stop);
        let threads = self.threads.into_iter();
        threads
            .flat_map(|thread| thread.join().expect("a thread of the crowd ends well"))
            .collect()
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// One thread's clients.
struct Squadron {
    members: Vec<Member>,
    // The last field: a context ends only when its sockets are closed.
    context: zmq::Context,
    records: Vec<Record>,
    rng: Rng,
    items: Vec<PollItem<'static>>,
    owners: Vec<usize>,
    listening: usize,
}

impl Squadron {
    fn new(plan: &Plan) -> Self {
        let context = zmq::Context::new();
        let numbers = plan.first..plan.first + plan.count;
        let members = numbers
            .map(|nth| Member::new(&context, &plan.url, nth).expect("a client connects"))
            .collect();
        let mut squadron = Self {
            members,
            context,
            records: Vec::new(),
            rng: Rng::new(plan.first as u64 + 1),
            items: Vec::new(),
            owners: Vec::new(),
            listening: 0,
        };
        squadron.watch_all();
        squadron
    }

    fn watch_all(&mut self) {
        let fds = self.members.iter().enumerate();
        let fds: Vec<(usize, RawFd)> = fds
            .flat_map(|(at, member)| member.fds().into_iter().map(move |fd| (at, fd)))
            .collect();
        self.listening = self.members.iter().filter(|m| m.listens()).count();
        self.owners = fds.iter().map(|(at, _)| *at).collect();
        self.items = fds
            .iter()
            .map(|(_, fd)| PollItem::from_fd(*fd, PollEvents::POLLIN))
            .collect();
    }

    fn run(mut self, plan: &Plan, phase: &AtomicU8, tally: &Tally) -> Vec<Record> {
        let (mut swept, mut timed) = (now(), now());
        let mut pace = Pace::new(plan.rate);
        loop {
            let phase = Phase::from_number(phase.load(Ordering::SeqCst));
            if phase == Phase::Stop {
                return self.records;
            }
            zmq::poll(&mut self.items, 20).expect("descriptors can be polled");
            // Looking at all sockets costs the machine much; it is done now and then, to be sure.
            let ready = self.ready(is_due(&mut swept, SWEEP));
            let mut around = Around {
                context: &self.context,
                url: &plan.url,
                phase,
                tally,
                records: &mut self.records,
                live: plan.live,
            };
            for at in ready {
                self.members[at].turn(&mut around);
            }
            if is_due(&mut timed, TIMERS) {
                for member in &mut self.members {
                    if member.advance(&mut around) {
                        member.turn(&mut around);
                    }
                }
            }
            for _ in 0..pace.due(phase == Phase::Load) {
                let at = self.rng.index(self.members.len());
                if self.members[at].is_free() {
                    let to = self.rng.index(plan.total);
                    self.members[at].send(to, &mut around);
                    self.members[at].turn(&mut around);
                }
            }
            let listening = self.members.iter().filter(|member| member.listens());
            if listening.count() != self.listening {
                self.watch_all();
            }
        }
    }

    /// Returns the members that have something to read, or all.
    fn ready(&self, all: bool) -> Vec<usize> {
        if all {
            return (0..self.members.len()).collect();
        }
        let ready = self.items.iter().zip(&self.owners);
        let mut ready: Vec<usize> = ready
            .filter(|(item, _)| item.is_readable())
            .map(|(_, at)| *at)
            .collect();
        ready.dedup();
        ready
    }
}

/// Time between two looks at the sockets of all members, and at their timers.
const SWEEP: Duration = Duration::from_secs(2);
const TIMERS: Duration = Duration::from_millis(100);

fn is_due(last: &mut Instant, every: Duration) -> bool {
    let due = last.elapsed() >= every;
    if due {
        *last = now();
    }
    due
}

/// How many mails are due at a rate.
struct Pace {
    rate: f64,
    since: Instant,
    owed: f64,
}

impl Pace {
    fn new(rate: f64) -> Self {
        Self {
            rate,
            since: now(),
            owed: 0.0,
        }
    }

    /// Returns how many to send now. What could not be sent for half a second is not made up for.
    fn due(&mut self, on: bool) -> usize {
        let passed = self.since.elapsed().as_secs_f64();
        self.since = now();
        if !on {
            return 0;
        }
        self.owed = (self.owed + passed * self.rate).min(self.rate.max(1.0) * 0.5 + 1.0);
        let mut due = 0;
        while self.owed >= 1.0 {
            self.owed -= 1.0;
            due += 1;
        }
        due
    }
}

/// Lets this process open as many files as the system gives; returns how many.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("a soft limit can be raised to the hard one");
    limit.maximum.unwrap_or(u64::MAX)
}
