//! What a client reads back from its home, and its rules about replies.

use std::collections::BTreeSet;

use correio::auth::keys::KeyPair;
use correio::auth::seal::Sealed;
use correio::client::core::{Link, LinkEvent, Positions, Requests, Sight};
use correio::client::mailbox::Mail;
use correio::client::shown::{line_type, parse_line_type};
use correio::fuzzing::{Running, client};
use correio::protocol::reply::Envelope;

use super::lines::{number, orders};
use super::{acts, cut};

/// A key file is two lines of 64 digits and their checksum, which older ones have not, or sealed, or none.
pub(super) fn key_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(sealed) = Sealed::parse(&text) {
        assert_eq!(sealed.to_text(), text);
        assert!(KeyPair::parse(&text).is_none());
    }
    if let Some(pair) = KeyPair::parse(&text) {
        let again = format!(
            "{}\n{}",
            hex::encode(pair.public),
            hex::encode(pair.secret())
        );
        let mut lines = text.trim_end().splitn(3, '\n');
        let keys = [lines.next(), lines.next()].map(Option::unwrap_or_default);
        assert_eq!(again, keys.join("\n").to_ascii_lowercase());
        // Nobody's keys are the same, but a file may say so.
        let shown = format!("{pair:?}").replace(&hex::encode(pair.public), "");
        assert!(!shown.contains(&hex::encode(pair.secret())));
    }
}

/// The first byte says which file; what is read is written the same again.
pub(super) fn home_file(bytes: &[u8]) {
    let Some((kind, file)) = bytes.split_first() else {
        return;
    };
    let kind = usize::from(*kind);
    if let Some(again) = client::json_file(kind, file) {
        assert_eq!(client::json_file(kind, &again).as_ref(), Some(&again));
    }
}

/// A name in the outbox up to a newline, then an entry's bytes.
pub(super) fn outbox_file(bytes: &[u8]) {
    let (name, file) = cut(bytes, b'\n');
    let name = String::from_utf8_lossy(name);
    for again in client::outbox_names(&name).into_iter().flatten() {
        assert!(
            client::outbox_names(&again).contains(&Some(again.clone())),
            "{again}"
        );
        assert!(!again.contains(['/', '\0']));
    }
    if let Some(again) = client::outbox_entry(file.to_vec()) {
        assert_eq!(client::outbox_entry(again.clone()).as_ref(), Some(&again));
    }
}

/// A mail's file: what is a mail is written as one that is the same.
pub(super) fn mail_file(bytes: &[u8]) {
    if let Some(mail) = client::mail_of(bytes.to_vec()) {
        assert_written(&mail);
    }
}

/// Any mail, its fields parted by zeros: nothing of others ends the header or adds to it.
pub(super) fn mail_header(bytes: &[u8]) {
    let mut rest = bytes;
    let mut field = || {
        let (text, after) = cut(rest, 0);
        rest = after;
        String::from_utf8_lossy(text).into_owned()
    };
    let envelope = Envelope {
        id: 42,
        prev: 40,
        n: 7,
        from: field(),
        address: field(),
        to: vec![field(), field()],
        subject: field(),
        sent_at: field(),
        expires_at: Some(field()).filter(|text| !text.is_empty()),
        content_type: field(),
        size: 0,
        frames: 1,
        message: 41,
        in_reply_to: Some(30),
        thread: Some(12),
    };
    let body = rest.to_vec();
    let size = body.len() as u64;
    assert_written(&Mail {
        log: 3,
        envelope: Envelope { size, ..envelope },
        body,
    });
}

/// Lines that begin one of the fields of a header, and no others do.
const FIELDS: [&str; 11] = [
    "From: ",
    "To: ",
    "Subject: ",
    "Date: ",
    "Message-ID: ",
    "In-Reply-To: ",
    "References: ",
    "MIME-Version: ",
    "Content-Type: ",
    "Content-Transfer-Encoding: ",
    "X-Correio-Envelope: ",
];

fn assert_written(mail: &Mail) {
    let (header, held) = client::mail_header(mail);
    let text = str::from_utf8(&header).expect("a header is text");
    assert_eq!(text.find("\n\n"), Some(text.len() - 2), "{text:?}");
    assert!(
        !text.replace('\n', "").contains(char::is_control),
        "{text:?}"
    );
    let mut seen = BTreeSet::new();
    // A whole message has what fields it likes, but for its sender and what is ours.
    let is_ours = |line: &str| {
        held == 0
            || ["From: ", "X-Correio-Envelope: "]
                .iter()
                .any(|field| line.starts_with(field))
    };
    for line in text
        .lines()
        .filter(|line| !line.starts_with(' ') && !line.is_empty() && is_ours(line))
    {
        let field = FIELDS.iter().find(|field| line.starts_with(**field));
        assert!(field.is_some_and(|field| seen.insert(*field)), "{text:?}");
    }
    let short = mail.envelope.to.iter().all(|to| to.len() < 400) && mail.envelope.from.len() < 400;
    assert!(
        !short || text.lines().all(|line| line.len() <= 998),
        "{text:?}"
    );
    let file = [&header[..], &mail.body[held..]].concat();
    assert_eq!(client::mail_of(file).as_ref(), Some(mail));
}

/// A name in a Maildir up to a newline, then the content type of a line of a chat.
pub(super) fn mailbox_name(bytes: &[u8]) {
    let (name, kind) = cut(bytes, b'\n');
    let name = String::from_utf8_lossy(name);
    if let Some((place, names)) = client::mailbox_names(&name) {
        for again in names {
            let read = client::mailbox_names(&again);
            assert_eq!(read.map(|(place, _)| place), Some(place));
        }
    }
    let kind = String::from_utf8_lossy(kind);
    if let Some((chat, seq)) = parse_line_type(&kind) {
        assert!(chat.len() == 32 && chat.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(parse_line_type(&line_type(chat, seq)), Some((chat, seq)));
    }
}

/// What a running server says of itself.
pub(super) fn server_file(bytes: &[u8]) {
    if let Some(running) = Running::parse(bytes) {
        let again = serde_json::to_vec(&running).expect("it is a map");
        assert_eq!(Running::parse(&again), Some(running));
    }
}

/// A script of what a connection hears: no reply counts twice, nobody else's counts at all, and no
/// position ever goes back.
pub(super) fn core(script: &[u8]) {
    let mut world = World::default();
    for (order, rest) in orders(script) {
        match order {
            b'q' | b'Q' => world.submit(rest, order == b'Q'),
            b't' => world.transmit(),
            b'k' => world.tick(number(rest).0),
            b'r' => world.requests.reconnected(),
            b'a' => world.answer(rest),
            b'x' => assert!(
                world
                    .requests
                    .accept(vec![rest.to_vec(), Vec::new()])
                    .is_none()
            ),
            b'f' => world.forget(number(rest).0),
            b'l' => world.link(rest),
            b'F' => world.positions.follow(number(rest).0, 5),
            b'L' => world.positions.leave(number(rest).0),
            b'S' => world.see(rest),
            _ => {}
        }
    }
}

struct World {
    requests: Requests,
    link: Link,
    positions: Positions,
    open: BTreeSet<u64>,
    now_ms: u64,
}

const PREFIX: [u8; 8] = *b"\xffprefix!";

impl Default for World {
    fn default() -> Self {
        Self {
            requests: Requests::new(PREFIX),
            link: Link::default(),
            positions: Positions::default(),
            open: BTreeSet::new(),
            now_ms: 0,
        }
    }
}

impl World {
    fn submit(&mut self, header: &[u8], first: bool) {
        let repeat = header.first() != Some(&b'!');
        let number = self.requests.submit(header.to_vec(), None, repeat, first);
        assert!(self.open.insert(number), "a number is given twice");
    }

    fn transmit(&mut self) {
        if let Some((number, outgoing)) = self.requests.poll_transmit() {
            assert!(self.open.contains(&number));
            assert!(outgoing.id.starts_with(&PREFIX));
            self.requests.transmitted(self.now_ms);
        }
    }

    fn tick(&mut self, ms: u64) {
        self.now_ms += ms % 20_000;
        let next = self.requests.tick(self.now_ms);
        assert!(next.is_none_or(|at| at > self.now_ms));
    }

    /// A number, and how many frames besides the request id.
    fn answer(&mut self, rest: &[u8]) {
        let (number, rest) = number(rest);
        let id = [PREFIX, number.to_be_bytes()].concat();
        let mut frames = vec![id];
        frames.extend(rest.iter().take(4).map(|byte| vec![*byte]));
        let counts = frames.len() > 1 && self.open.remove(&number);
        let told = self.requests.accept(frames.clone());
        assert_eq!(told, counts.then_some(number));
        if counts {
            assert_eq!(self.requests.take(number).as_deref(), Some(&frames[1..]));
        }
        assert_eq!(self.requests.take(number), None);
    }

    fn forget(&mut self, number: u64) {
        let tries = self.requests.forget(number);
        assert!(self.open.remove(&number) || tries == 0);
    }

    fn link(&mut self, events: &[u8]) {
        for event in events {
            let event = match event {
                b'r' => LinkEvent::Refused,
                b'c' => LinkEvent::Connected,
                b'h' => LinkEvent::HandshakeFailed,
                b'u' => LinkEvent::Up,
                _ => LinkEvent::Down,
            };
            self.link.handle(event);
            assert_eq!(self.link.is_up(), event == LinkEvent::Up);
            assert!(!format!("{:?} {}", self.link.verdict(), self.link.is_wrong()).is_empty());
        }
    }

    fn see(&mut self, rest: &[u8]) {
        let (log, rest) = number(rest);
        let (prev, rest) = number(rest);
        let (id, rest) = number(rest);
        let before = self.positions.at(log);
        let sight = self.positions.see(log, prev, id);
        let after = self.positions.at(log);
        match sight {
            Sight::Next => assert!(after == Some(id) && before < Some(id) && Some(prev) <= before),
            Sight::Old => assert!(before == after && Some(id) <= before),
            Sight::Gap(at) => assert!(before == Some(at) && after == before && prev > at),
            Sight::Stranger => assert_eq!(before, None),
        }
        if !rest.is_empty() {
            self.positions.pass(log, id);
            assert!(self.positions.at(log) >= after && !self.positions.is_behind(log, id));
        }
        assert!(!format!("{sight:?}").contains(acts));
    }
}
