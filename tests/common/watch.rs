//! A raw SUB socket on the live port: any key, any subscription bytes.

use std::time::{Duration, Instant};

use correio::auth::keys::KeyPair;
use correio::protocol::notice::Notice;
use correio::protocol::url::ServerUrl;

use super::client::context;

/// A notice and its body.
pub type Heard = (Notice, Option<Vec<u8>>);

/// A subscriber who asks for whatever he likes.
pub struct Watcher {
    socket: zmq::Socket,
}

impl Watcher {
    /// Connects to the live port with a key and subscribes to each of the topics.
    pub fn connect(url: &ServerUrl, live_port: u16, key: &KeyPair, topics: &[Vec<u8>]) -> Self {
        let socket = context().socket(zmq::SUB).expect("a socket");
        socket.set_linger(0).expect("an option");
        socket.set_rcvhwm(100_000).expect("an option");
        socket.set_reconnect_ivl(20).expect("an option");
        socket.set_curve_serverkey(&url.key).expect("an option");
        socket.set_curve_publickey(&key.public).expect("an option");
        socket.set_curve_secretkey(key.secret()).expect("an option");
        for topic in topics {
            socket.set_subscribe(topic).expect("an option");
        }
        socket
            .connect(&url.endpoint(live_port))
            .expect("a connection");
        Self { socket }
    }

    /// Subscribes to more.
    pub fn subscribe(&self, topic: &[u8]) {
        self.socket.set_subscribe(topic).expect("an option");
    }

    /// Returns the frames of the next notice, if one comes in time.
    pub fn next(&self, wait: Duration) -> Option<Vec<Vec<u8>>> {
        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        if self.socket.poll(zmq::POLLIN, wait).ok()? == 0 {
            return None;
        }
        self.socket.recv_multipart(0).ok()
    }

    /// Returns the next notice in types, with its body, if one comes in time.
    pub fn notice(&self, wait: Duration) -> Option<Heard> {
        let mut frames = self.next(wait)?.into_iter();
        let (_key, header) = (frames.next()?, frames.next()?);
        Some((Notice::decode(&header)?, frames.next()))
    }

    /// Collects notices until `last` says that one is the last, or the time is over.
    pub fn until(
        &self,
        wait: Duration,
        mut last: impl FnMut(&Notice, Option<&[u8]>) -> bool,
    ) -> (Vec<Heard>, bool) {
        let deadline = Instant::now() + wait;
        let mut seen = Vec::new();
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let Some((notice, body)) = self.notice(left) else {
                continue;
            };
            let done = last(&notice, body.as_deref());
            seen.push((notice, body));
            if done {
                return (seen, true);
            }
        }
        (seen, false)
    }
}
