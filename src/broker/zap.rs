//! Who may connect at all: the ZAP handler (ZeroMQ RFC 27).
//!
//! libzmq asks here, over inproc, before it lets a CURVE connection through. Bound before both server
//! sockets: libzmq lets everybody in while no handler is bound. Runs in the poll loop, so it can
//! ask the core; it keeps nothing itself.

use zmq::DONTWAIT;

use super::xpub::retry;
use crate::protocol::PublicKey;

/// The request socket's domain: any CURVE key, known or not, may ask.
pub const MAIL_DOMAIN: &str = "mail";

/// The live socket's domain: keys of registered devices.
pub const LIVE_DOMAIN: &str = "live";

const ENDPOINT: &str = "inproc://zeromq.zap.01";
const VERSION: &[u8] = b"1.0";

/// The handler's socket.
pub struct Zap {
    socket: zmq::Socket,
}

impl std::fmt::Debug for Zap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zap").finish_non_exhaustive()
    }
}

/// What libzmq is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Let it in; this key goes with every message it sends.
    Welcome(PublicKey),
    /// Not this key.
    Unwelcome,
    /// No CURVE, or not what RFC 27 says.
    Malformed,
}

impl Zap {
    /// Binds the handler. One per context.
    pub fn bind(context: &zmq::Context) -> zmq::Result<Self> {
        let socket = context.socket(zmq::REP)?;
        socket.set_linger(0)?;
        socket.bind(ENDPOINT)?;
        Ok(Self { socket })
    }

    /// Returns the socket for polling.
    pub fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Answers at most `most` waiting questions; `may_live` says whether a key may connect to the
    /// live socket.
    pub fn serve(&self, most: usize, may_live: impl Fn(&PublicKey) -> bool) -> zmq::Result<()> {
        for _ in 0..most {
            let Some(frames) = retry(|| self.socket.recv_multipart(DONTWAIT))? else {
                break;
            };
            let verdict = decide(&frames, &may_live);
            let request_id = frames.get(1).map_or(&[][..], Vec::as_slice);
            retry(|| {
                self.socket
                    .send_multipart(verdict.frames(request_id), DONTWAIT)
            })?;
        }
        Ok(())
    }
}

/// Frames: version, request id, domain, address, routing id, mechanism, CURVE key.
fn decide(frames: &[Vec<u8>], may_live: impl Fn(&PublicKey) -> bool) -> Verdict {
    let [version, _, domain, _, _, mechanism, key] = frames else {
        return Verdict::Malformed;
    };
    let Ok(key) = PublicKey::try_from(key.as_slice()) else {
        return Verdict::Malformed;
    };
    if version != VERSION || mechanism != b"CURVE" {
        return Verdict::Malformed;
    }
    match domain.as_slice() {
        domain if domain == MAIL_DOMAIN.as_bytes() => Verdict::Welcome(key),
        domain if domain == LIVE_DOMAIN.as_bytes() && may_live(&key) => Verdict::Welcome(key),
        _ => Verdict::Unwelcome,
    }
}

impl Verdict {
    /// Frames: version, request id, status, text, user id, metadata.
    fn frames(self, request_id: &[u8]) -> [Vec<u8>; 6] {
        let (status, text, user) = match self {
            Self::Welcome(key) => ("200", "OK", hex::encode(key)),
            Self::Unwelcome => ("400", "this key may not connect here", String::new()),
            Self::Malformed => ("400", "CURVE only", String::new()),
        };
        [
            VERSION.to_vec(),
            request_id.to_vec(),
            status.into(),
            text.into(),
            user.into(),
            Vec::new(),
        ]
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
        let welcome = Verdict::Welcome([3; 32]);
        assert_eq!(decide(&question("mail"), nobody), welcome);
        assert_eq!(decide(&question("live"), three), welcome);
        assert_eq!(decide(&question("live"), nobody), Verdict::Unwelcome);
        assert_eq!(decide(&question(""), three), Verdict::Unwelcome);
        assert_eq!(decide(&question("Mail"), three), Verdict::Unwelcome);
    }

    #[test]
    fn anything_but_curve_is_refused() {
        for (at, bytes) in [(0, &b"2.0"[..]), (5, b"NULL"), (5, b"PLAIN"), (6, b"short")] {
            let mut frames = question("mail");
            frames[at] = bytes.to_vec();
            assert_eq!(decide(&frames, |_| true), Verdict::Malformed, "{at}");
        }
        for length in 0..7 {
            let frames = &question("mail")[..length];
            assert_eq!(decide(frames, |_| true), Verdict::Malformed);
        }
        let mut frames = question("mail");
        frames.push(Vec::new());
        assert_eq!(decide(&frames, |_| true), Verdict::Malformed);
    }

    #[test]
    fn answers_are_as_rfc_27_has_them() {
        let context = zmq::Context::new();
        let zap = Zap::bind(&context).unwrap();
        let asker = context.socket(zmq::REQ).unwrap();
        asker.set_linger(0).unwrap();
        asker.connect(ENDPOINT).unwrap();
        for (domain, status, user) in [
            ("mail", "200", hex::encode([3; 32])),
            ("live", "400", String::new()),
        ] {
            asker.send_multipart(question(domain), 0).unwrap();
            zap.socket.poll(zmq::POLLIN, 10_000).unwrap();
            zap.serve(8, |_| false).unwrap();
            let answer = asker.recv_multipart(0).unwrap();
            assert_eq!(answer.len(), 6);
            assert_eq!(answer[0], b"1.0");
            assert_eq!(answer[1], b"7");
            assert_eq!(answer[2], status.as_bytes());
            assert_eq!(answer[4], user.as_bytes());
        }
    }
}
