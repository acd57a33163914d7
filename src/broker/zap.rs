//! Who may connect at all: the ZAP handler (ZeroMQ RFC 27).
//!
//! libzmq asks here, over inproc, before it lets a CURVE connection through. Bound before both server
//! sockets: libzmq lets everybody in while no handler is bound. That both sockets refuse everybody then is
//! `ZMQ_ZAP_ENFORCE_DOMAIN`, which `xpub::guard` sets: it is the second lock, for a handler that is bound too late or
//! is gone before them. With it set the domains below must be named: libzmq asks nobody about a socket without one.
//! Runs in the poll loop, so it can
//! ask the core; it keeps nothing itself. The frames are in [`auth::zap`](crate::auth::zap).

use zmq::DONTWAIT;

use super::xpub::retry;
use crate::auth::zap;
use crate::protocol::PublicKey;

/// The request socket's domain: any CURVE key, known or not, may ask.
pub const MAIL_DOMAIN: &str = "mail";

/// The live socket's domain: keys of registered devices.
pub const LIVE_DOMAIN: &str = "live";

/// The handler's socket.
pub struct Zap {
    socket: zmq::Socket,
}

impl std::fmt::Debug for Zap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zap").finish_non_exhaustive()
    }
}

impl Zap {
    /// Binds the handler. One per context.
    pub fn bind(context: &zmq::Context) -> zmq::Result<Self> {
        let socket = context.socket(zmq::REP)?;
        socket.set_linger(0)?;
        socket.bind(zap::ENDPOINT)?;
        Ok(Self { socket })
    }

    /// Returns the socket for polling.
    pub fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Answers at most `most` waiting questions; `may_live` says whether a key may connect to the
    /// live socket. Returns how many were denied.
    pub fn serve(&self, most: usize, may_live: impl Fn(&PublicKey) -> bool) -> zmq::Result<Denied> {
        let mut denied = Denied::default();
        for _ in 0..most {
            let Some(frames) = retry(|| self.socket.recv_multipart(DONTWAIT))? else {
                break;
            };
            let verdict = zap::decide(&frames, |domain, key| may(domain, key, &may_live));
            denied.count(verdict);
            retry(|| {
                self.socket
                    .send_multipart(verdict.answer(&frames), DONTWAIT)
            })?;
        }
        Ok(denied)
    }
}

/// Connections that were not let in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Denied {
    /// Their key may not connect there.
    pub key: u64,
    /// They did not prove a key as RFC 27 has it.
    pub malformed: u64,
}

impl Denied {
    fn count(&mut self, verdict: zap::Verdict) {
        match verdict {
            zap::Verdict::Welcome(_) => {}
            zap::Verdict::Unwelcome => self.key += 1,
            zap::Verdict::Malformed => self.malformed += 1,
        }
    }

    /// Takes in what was denied meanwhile.
    pub fn add(&mut self, more: Self) {
        self.key += more.key;
        self.malformed += more.malformed;
    }
}

/// Says whether a key may connect to the socket of a domain.
fn may(domain: &[u8], key: &PublicKey, may_live: impl Fn(&PublicKey) -> bool) -> bool {
    match domain {
        domain if domain == MAIL_DOMAIN.as_bytes() => true,
        domain => domain == LIVE_DOMAIN.as_bytes() && may_live(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(domain: &str) -> Vec<Vec<u8>> {
        let parts: [&[u8]; 7] = [
            b"1.0",
            b"7",
            domain.as_bytes(),
            b"::1",
            b"",
            b"CURVE",
            &[3; 32],
        ];
        parts.map(<[u8]>::to_vec).to_vec()
    }

    #[test]
    fn any_key_may_ask_and_known_ones_may_listen() {
        let nobody = |_: &PublicKey| false;
        let three = |key: &PublicKey| *key == [3; 32];
        assert!(may(b"mail", &[3; 32], nobody));
        assert!(may(b"live", &[3; 32], three));
        assert!(!may(b"live", &[3; 32], nobody));
        assert!(!may(b"", &[3; 32], three));
        assert!(!may(b"Mail", &[3; 32], three));
    }

    #[test]
    fn libzmq_is_answered_over_inproc() {
        let context = zmq::Context::new();
        let zap = Zap::bind(&context).unwrap();
        let asker = context.socket(zmq::REQ).unwrap();
        asker.set_linger(0).unwrap();
        asker.connect(zap::ENDPOINT).unwrap();
        for (domain, status, user) in [
            ("mail", "200", hex::encode([3; 32])),
            ("live", "400", String::new()),
        ] {
            asker.send_multipart(question(domain), 0).unwrap();
            zap.socket.poll(zmq::POLLIN, 10_000).unwrap();
            let denied = zap.serve(8, |_| false).unwrap();
            assert_eq!(denied.key, u64::from(domain == "live"));
            assert_eq!(denied.malformed, 0);
            let answer = asker.recv_multipart(0).unwrap();
            assert_eq!(answer.len(), 6);
            assert_eq!(answer[0], b"1.0");
            assert_eq!(answer[1], b"7");
            assert_eq!(answer[2], status.as_bytes());
            assert_eq!(answer[4], user.as_bytes());
        }
    }
}
