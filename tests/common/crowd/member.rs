//! One client of a crowd: a DEALER and a SUB under CURVE with the options of `correio::client`, the
//! protocol spoken by hand, and no thread of its own. [`Member::turn`] never waits.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use correio::auth::keys::KeyPair;
use correio::limits;
use correio::protocol::codes::Code;
use correio::protocol::names::UserName;
use correio::protocol::notice::Notice;
use correio::protocol::reply::{self, DecodeError, Envelope, LogInfo, Outcome, Sent};
use correio::protocol::request::{self, Request};
use correio::protocol::url::ServerUrl;
use correio::protocol::{LogNumber, MAGIC, MailId, VERSION, VERSION_OLDEST};
use zmq::{Context, DONTWAIT, Socket, SocketEvent};

use super::book::Record;
use super::{Phase, Tally};
use crate::common::{now, wall_s};

/// Time without an answer after which a request is repeated, as in `correio::client`.
const REPEAT: Duration = Duration::from_secs(5);

/// Time between two heartbeats.
const BEAT: Duration = Duration::from_secs(5);

/// Time to the next try when the server names none.
const RETRY: Duration = Duration::from_millis(200);

/// Time without being logged in that is worth a line.
const STUCK: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Hello,
    Register,
    Login,
    Beat,
    Fetch,
    Ack,
    Send,
}

struct Asked {
    id: u64,
    what: What,
    /// When it goes out again unless it was answered.
    due: Instant,
}

struct Sending {
    to: usize,
    since: f64,
}

/// How far a client is on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Away,
    Greeting,
    Greeted,
    In,
}

/// One client.
pub struct Member {
    nth: usize,
    key: KeyPair,
    dealer: Socket,
    monitor: Socket,
    live: Option<Socket>,
    subscribed: Vec<u8>,
    stage: Stage,
    registered: bool,
    is_live: bool,
    asked: Vec<Asked>,
    next_id: u64,
    not_before: Instant,
    beat_at: Instant,
    out_since: Instant,
    session: String,
    stream: u64,
    number: u64,
    sending: Option<Sending>,
    log: LogNumber,
    mark: MailId,
    ack_sent: MailId,
    acked: MailId,
    known: MailId,
}

/// What a member works with in a turn.
pub struct Around<'a> {
    pub context: &'a Context,
    pub url: &'a ServerUrl,
    pub phase: Phase,
    pub tally: &'a Tally,
    pub records: &'a mut Vec<Record>,
    /// Members below this listen to notices.
    pub live: usize,
}

/// Returns the name of a client.
pub fn name_of(nth: usize) -> String {
    format!("crowd-{nth}")
}

impl Member {
    /// Makes a client that connects at once; it says nothing before its first turn.
    pub fn new(context: &Context, url: &ServerUrl, nth: usize) -> zmq::Result<Self> {
        let key = KeyPair::generate().expect("libzmq has CURVE");
        let dealer = context.socket(zmq::DEALER)?;
        secure(&dealer, &key, url)?;
        dealer.set_immediate(true)?;
        dealer.set_sndhwm(0)?;
        dealer.set_rcvhwm(0)?;
        let monitor = monitor(context, &dealer, nth)?;
        dealer.connect(&url.endpoint(url.port))?;
        Ok(Self {
            nth,
            key,
            dealer,
            monitor,
            live: None,
            subscribed: Vec::new(),
            stage: Stage::Away,
            registered: false,
            is_live: false,
            asked: Vec::new(),
            next_id: 1,
            not_before: now(),
            beat_at: now(),
            out_since: now(),
            session: String::new(),
            stream: 0,
            number: 1,
            sending: None,
            log: 0,
            mark: 0,
            ack_sent: 0,
            acked: 0,
            known: 0,
        })
    }

    /// Prints how it stands when it has been out for long: what a failure's reader wants to know.
    fn complain(&mut self, phase: Phase) {
        if self.stage == Stage::In || phase < Phase::Login {
            self.out_since = now();
        } else if self.out_since.elapsed() > STUCK {
            let asked: Vec<What> = self.asked.iter().map(|asked| asked.what).collect();
            println!(
                "client {} is {:?}, waits for {asked:?}",
                self.nth, self.stage
            );
            self.out_since = now();
        }
    }

    /// Returns what wakes this client.
    pub fn fds(&self) -> Vec<RawFd> {
        let sockets = [Some(&self.dealer), Some(&self.monitor), self.live.as_ref()];
        let fds = sockets.into_iter().flatten();
        fds.map(|socket| socket.get_fd().expect("a socket has a descriptor"))
            .collect()
    }

    /// Says whether it could send a mail now.
    pub fn is_free(&self) -> bool {
        self.stage == Stage::In && self.sending.is_none()
    }

    /// Reads everything there is to read, and does what is due.
    pub fn turn(&mut self, around: &mut Around<'_>) {
        // libzmq tells of a reply once; who posts has to look again.
        while self.read_monitor(around)
            | self.read_replies(around)
            | self.read_notices(around)
            | self.advance(around)
        {}
    }

    /// Says whether it has a live socket.
    pub fn listens(&self) -> bool {
        self.live.is_some()
    }

    /// Sends a mail to another client.
    pub fn send(&mut self, to: usize, around: &mut Around<'_>) {
        self.sending = Some(Sending {
            to,
            since: wall_s(),
        });
        Tally::up(&around.tally.unanswered);
        self.post_send();
    }

    // -- what is due --

    /// Posts what is due and says whether anything was; costs nothing when nothing is.
    pub fn advance(&mut self, around: &mut Around<'_>) -> bool {
        let before = self.next_id;
        self.do_what_is_due(around);
        self.next_id != before
    }

    fn do_what_is_due(&mut self, around: &mut Around<'_>) {
        let time = now();
        self.complain(around.phase);
        if self.stage == Stage::Away || time < self.not_before {
            return;
        }
        self.repeat_silent(time);
        if self.stage == Stage::Greeted && self.asked.is_empty() {
            if !self.registered {
                self.post_register();
            } else if around.phase >= Phase::Login {
                self.post_login();
            }
        }
        if self.stage == Stage::In {
            if time >= self.beat_at {
                self.beat_at = time + BEAT;
                self.post_beat();
            }
            if around.phase >= Phase::Live && self.live.is_none() && self.nth < around.live {
                self.listen(around);
            }
        }
    }

    /// Repeats what the server was silent about for too long. A new `hello` begins it all again.
    fn repeat_silent(&mut self, time: Instant) {
        let is_late = |asked: &Asked| time >= asked.due;
        let Some(place) = self.asked.iter().position(is_late) else {
            return;
        };
        match self.asked.remove(place).what {
            What::Hello => self.post_hello(),
            What::Register => self.post_register(),
            What::Login => self.post_login(),
            What::Beat => self.post_beat(),
            What::Fetch => self.post_fetch(),
            What::Ack => self.post_ack(),
            What::Send => self.post_send(),
        }
    }

    fn listen(&mut self, around: &Around<'_>) {
        let connect = || {
            let socket = around.context.socket(zmq::SUB)?;
            secure(&socket, &self.key, around.url)?;
            socket.set_sndhwm(0)?;
            socket.set_subscribe(&self.subscribed)?;
            // The harness binds the live socket next to the request socket.
            socket.connect(&around.url.endpoint(around.url.port + 1))?;
            zmq::Result::Ok(socket)
        };
        self.live = Some(connect().expect("a live socket connects"));
    }

    // -- the connection --

    fn read_monitor(&mut self, around: &mut Around<'_>) -> bool {
        let mut any = false;
        while let Ok(frames) = self.monitor.recv_multipart(DONTWAIT) {
            any = true;
            if event(&frames) == Some(SocketEvent::HANDSHAKE_SUCCEEDED.to_raw()) {
                self.up(around);
            } else if event(&frames) == Some(SocketEvent::DISCONNECTED.to_raw()) {
                if self.stage != Stage::Away {
                    self.deaf(around);
                }
                self.down(around);
            } else {
                Tally::up(&around.tally.refused);
            }
        }
        any
    }

    fn up(&mut self, around: &mut Around<'_>) {
        self.down(around);
        self.stage = Stage::Greeting;
        self.post_hello();
    }

    fn down(&mut self, around: &mut Around<'_>) {
        if self.stage == Stage::In {
            Tally::down(&around.tally.inside);
        }
        self.stage = Stage::Away;
        self.asked.clear();
    }

    /// The live socket has no monitor: its connection ended with the other one, and may be back first.
    fn deaf(&mut self, around: &mut Around<'_>) {
        if self.is_live {
            self.is_live = false;
            Tally::down(&around.tally.live);
        }
    }

    fn read_replies(&mut self, around: &mut Around<'_>) -> bool {
        let mut any = false;
        while let Ok(frames) = self.dealer.recv_multipart(DONTWAIT) {
            any = true;
            let id = frames.first().and_then(|id| std::str::from_utf8(id).ok());
            let id = id.and_then(|id| id.parse().ok()).unwrap_or(0);
            let Some(place) = self.asked.iter().position(|asked| asked.id == id) else {
                continue;
            };
            let what = self.asked.remove(place).what;
            self.answered(what, &frames[1], &frames[2..], around);
        }
        any
    }

    fn answered(&mut self, what: What, header: &[u8], bodies: &[Vec<u8>], around: &mut Around<'_>) {
        match what {
            What::Hello => {
                if self.take::<reply::Hello>(what, header, around).is_some() {
                    self.stage = Stage::Greeted;
                }
            }
            What::Register => {
                if self
                    .take::<reply::Registered>(what, header, around)
                    .is_some()
                {
                    self.registered = true;
                    Tally::up(&around.tally.registered);
                }
            }
            What::Login => {
                if let Some(welcome) = self.take::<reply::Login>(what, header, around) {
                    self.inside(&welcome, around);
                }
            }
            What::Beat => {
                if let Some(beat) = self.take::<reply::Heartbeat>(what, header, around) {
                    self.known = beat.through;
                    self.look(&beat.behind);
                }
            }
            What::Fetch => {
                if let Some(page) = self.take::<reply::Page>(what, header, around) {
                    self.page(&page, bodies, around);
                }
            }
            What::Ack => {
                if self.take::<reply::Done>(what, header, around).is_some() {
                    self.acked = self.acked.max(self.ack_sent);
                    self.acknowledge();
                }
            }
            What::Send => {
                if let Some(sent) = self.take::<Sent>(what, header, around) {
                    self.sent(&sent, around);
                }
            }
        }
    }

    /// Decodes a reply; a refusal that passes is tried again later.
    fn take<T: for<'a> serde::Deserialize<'a>>(
        &mut self,
        what: What,
        header: &[u8],
        around: &mut Around<'_>,
    ) -> Option<T> {
        let refused = match reply::decode(header) {
            Ok(reply) => return Some(reply),
            Err(DecodeError::Refused(error)) => error,
            Err(error) => panic!("{what:?} of {}: {error}", self.nth),
        };
        assert!(refused.retryable, "{what:?} of {}: {refused}", self.nth);
        Tally::up(&around.tally.put_off);
        if refused.code == Code::NoSession {
            self.expelled(around);
            return None;
        }
        self.not_before = now() + refused.retry_after_ms.map_or(RETRY, Duration::from_millis);
        let due = self.not_before;
        self.asked.push(Asked { id: 0, what, due });
        None
    }

    /// The session is over: the next login takes up what is unanswered.
    fn expelled(&mut self, around: &Around<'_>) {
        if self.stage == Stage::In {
            Tally::down(&around.tally.inside);
            self.stage = Stage::Greeted;
            self.asked.clear();
        }
    }

    fn inside(&mut self, welcome: &reply::Login, around: &mut Around<'_>) {
        let stream = welcome.stream.expect("a stream was wanted");
        if self.stream != stream {
            assert_eq!(self.stream, 0, "a stream in use is forgotten");
            (self.stream, self.number) = (stream, welcome.settled_below);
        }
        self.session.clone_from(&welcome.session);
        self.stage = Stage::In;
        self.known = welcome.through;
        let at = wall_s();
        let nth = self.nth;
        around.records.push(Record::In { nth, at });
        Tally::up(&around.tally.inside);
        // Spread over the time between two: not a pulse of the whole crowd.
        let spread = u64::try_from(nth).expect("few") * 2_654_435_761 % 5_000;
        self.beat_at = now() + Duration::from_millis(spread);
        let own = welcome.logs.iter().find(|log| log.address == name_of(nth));
        let own = own.expect("a user reads himself");
        assert!(own.cursor >= self.acked, "an acknowledged ack is lost");
        self.log = own.log;
        let key = hex::decode(&own.key).expect("a notice key is hex");
        if self.subscribed != key {
            if let Some(live) = &self.live {
                live.set_subscribe(&key).expect("an option");
            }
            self.subscribed = key;
        }
        if self.sending.is_some() {
            self.post_send();
        }
        self.look(std::slice::from_ref(own));
    }

    fn look(&mut self, logs: &[LogInfo]) {
        let is_behind = |info: &LogInfo| info.log == self.log && info.head > self.mark;
        if logs.iter().any(is_behind) {
            self.post_fetch();
        }
    }

    // -- mail --

    fn read_notices(&mut self, around: &mut Around<'_>) -> bool {
        let mut any = false;
        while let Some(Ok(mut frames)) = self.live.as_ref().map(|s| s.recv_multipart(DONTWAIT)) {
            any = true;
            let body = (frames.len() > 2).then(|| frames.swap_remove(2));
            match frames.get(1).and_then(|header| Notice::decode(header)) {
                Some(Notice::Mail { log, envelope }) if log == self.log => {
                    self.notice(&envelope, body.as_deref(), around);
                }
                Some(Notice::Granted { log }) if log == self.log => self.granted(around),
                _ => {}
            }
        }
        any
    }

    fn granted(&mut self, around: &mut Around<'_>) {
        let (nth, at) = (self.nth, wall_s());
        around.records.push(Record::Live { nth, at });
        if !self.is_live {
            self.is_live = true;
            Tally::up(&around.tally.live);
        }
    }

    fn notice(&mut self, envelope: &Envelope, body: Option<&[u8]>, around: &mut Around<'_>) {
        if envelope.id <= self.mark {
            return;
        }
        match body {
            Some(body) if envelope.prev <= self.mark => {
                self.taken(envelope, body, around);
                self.acknowledge();
            }
            _ => self.post_fetch(),
        }
    }

    fn page(&mut self, page: &reply::Page, bodies: &[Vec<u8>], around: &mut Around<'_>) {
        assert!(page.trimmed.is_none(), "{}: {:?}", self.nth, page.trimmed);
        for (envelope, body) in page.mails.iter().zip(bodies) {
            // A notice may have brought it while the page was on its way.
            if envelope.id > self.mark {
                self.taken(envelope, body, around);
            }
        }
        self.mark = self.mark.max(page.through);
        if page.more {
            self.post_fetch();
        }
        self.acknowledge();
    }

    fn taken(&mut self, envelope: &Envelope, body: &[u8], around: &mut Around<'_>) {
        let (from, number) = parse_body(body).expect("a body of the crowd");
        assert_eq!(envelope.from, name_of(from), "a mail says who sent it");
        self.mark = envelope.id;
        Tally::up(&around.tally.taken);
        around.records.push(Record::Taken {
            nth: self.nth,
            from,
            number,
            id: envelope.id,
            at: wall_s(),
        });
    }

    /// Acknowledges what was taken, one request at a time.
    fn acknowledge(&mut self) {
        if self.mark > self.acked && self.stage == Stage::In {
            self.post_ack();
        }
    }

    fn sent(&mut self, sent: &Sent, around: &mut Around<'_>) {
        let Some(sending) = self.sending.take() else {
            return;
        };
        let Outcome::Sent { id, durability, .. } = &sent.outcomes[0] else {
            panic!("a send of {} is refused: {:?}", self.nth, sent.outcomes);
        };
        assert_eq!(durability, "fsync");
        around.records.push(Record::Acked {
            nth: self.nth,
            number: self.number,
            to: sending.to,
            id: *id,
            sent: sending.since,
            at: wall_s(),
        });
        self.number += 1;
        Tally::down(&around.tally.unanswered);
        Tally::up(&around.tally.acked);
    }

    // -- requests --

    fn post(&mut self, what: What, request: &Request, body: Option<Vec<u8>>) {
        if self.asked.iter().any(|asked| asked.what == what) {
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut frames = vec![id.to_string().into_bytes(), request.encode()];
        frames.extend(body);
        // libzmq may not know yet that the connection stands, or that it is gone: soon again.
        let went = self.dealer.send_multipart(frames, DONTWAIT).is_ok();
        let due = now() + if went { REPEAT } else { RETRY };
        self.asked.push(Asked { id, what, due });
    }

    fn post_hello(&mut self) {
        let hello = Request::Hello(request::Hello {
            magic: MAGIC.into(),
            versions: (VERSION_OLDEST, VERSION),
            features: Vec::new(),
            agent: "crowd".into(),
        });
        self.post(What::Hello, &hello, None);
    }

    fn post_register(&mut self) {
        let user = UserName::parse(&name_of(self.nth)).expect("a name");
        let register = request::Register {
            user: Some(user),
            device: "crowd".into(),
            code: None,
        };
        self.post(What::Register, &Request::Register(register), None);
    }

    fn post_login(&mut self) {
        let login = request::Login {
            resume: (!self.session.is_empty()).then(|| self.session.clone()),
            stream: (self.stream != 0).then_some(self.stream),
            want_stream: true,
            ..request::Login::default()
        };
        self.post(What::Login, &Request::Login(login), None);
    }

    fn post_beat(&mut self) {
        let (session, known) = (self.session.clone(), self.known);
        let beat = Request::Heartbeat(request::Heartbeat { session, known });
        self.post(What::Beat, &beat, None);
    }

    /// Asks for what is missing; before the login that would be answered to nobody's session.
    fn post_fetch(&mut self) {
        if self.stage != Stage::In {
            return;
        }
        let fetch = request::Fetch {
            session: self.session.clone(),
            log: self.log,
            after: self.mark,
            n: None,
            mails: 100,
            bytes: 128 * 1024,
        };
        self.post(What::Fetch, &Request::Fetch(fetch), None);
    }

    fn post_ack(&mut self) {
        if self.asked.iter().any(|asked| asked.what == What::Ack) {
            return;
        }
        self.ack_sent = self.mark;
        let ack = request::Ack {
            session: self.session.clone(),
            logs: vec![(self.log, self.mark)],
        };
        self.post(What::Ack, &Request::Ack(ack), None);
    }

    fn post_send(&mut self) {
        let Some(sending) = &self.sending else {
            return;
        };
        let send = request::Send {
            session: self.session.clone(),
            stream: self.stream,
            number: self.number,
            settled_below: self.number,
            to: vec![name_of(sending.to)],
            subject: String::new(),
            content_type: request::default_content_type(),
            ttl_s: None,
            parts: None,
            in_reply_to: None,
            thread: None,
        };
        let body = body_of(self.nth, self.number);
        self.post(What::Send, &Request::Send(send), Some(body));
    }
}

/// Returns the body of a send: sender, number, and some hundred bytes.
fn body_of(nth: usize, number: u64) -> Vec<u8> {
    let mut body = format!("{nth} {number} ").into_bytes();
    body.resize(512, b'x');
    body
}

fn parse_body(body: &[u8]) -> Option<(usize, u64)> {
    let mut words = std::str::from_utf8(body).ok()?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// The options of `correio::client::connection`.
fn secure(socket: &Socket, key: &KeyPair, url: &ServerUrl) -> zmq::Result<()> {
    socket.set_curve_serverkey(&url.key)?;
    socket.set_curve_publickey(&key.public)?;
    socket.set_curve_secretkey(key.secret())?;
    socket.set_linger(0)?;
    socket.set_handshake_ivl(limits::HANDSHAKE_MS)?;
    socket.set_heartbeat_ivl(5_000)?;
    socket.set_heartbeat_timeout(15_000)?;
    socket.set_reconnect_ivl(100)?;
    socket.set_reconnect_ivl_max(2_000)
}

fn monitor(context: &Context, socket: &Socket, nth: usize) -> zmq::Result<Socket> {
    let endpoint = format!("inproc://monitor-{nth}");
    let events = [
        SocketEvent::HANDSHAKE_SUCCEEDED,
        SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
        SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
        SocketEvent::HANDSHAKE_FAILED_AUTH,
        SocketEvent::DISCONNECTED,
    ];
    let mask = events
        .iter()
        .fold(0, |mask, event| mask | i32::from(event.to_raw()));
    socket.monitor(&endpoint, mask)?;
    let monitor = context.socket(zmq::PAIR)?;
    monitor.set_linger(0)?;
    monitor.connect(&endpoint)?;
    Ok(monitor)
}

#[expect(
    clippy::host_endian_bytes,
    reason = "libzmq writes monitor events in the order of the machine"
)]
fn event(frames: &[Vec<u8>]) -> Option<u16> {
    let raw: [u8; 2] = frames.first()?.get(..2)?.try_into().ok()?;
    Some(u16::from_ne_bytes(raw))
}
