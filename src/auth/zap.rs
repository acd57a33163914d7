//! ZAP, how libzmq asks who may connect (ZeroMQ RFC 27): the frames, without a socket.
//!
//! libzmq asks over inproc at [`ENDPOINT`], before it lets a CURVE connection through; it lets everybody
//! in while nobody is bound there. Used by the broker (`broker::zap`) and by each chat (`chat::peer`).

use crate::protocol::PublicKey;

/// Where libzmq asks; one handler per context.
pub const ENDPOINT: &str = "inproc://zeromq.zap.01";

const VERSION: &[u8] = b"1.0";

/// What libzmq is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in; this key goes with every message it sends, as `User-Id`.
    Welcome(PublicKey),
    /// Not this key.
    Unwelcome,
    /// No CURVE, or not what RFC 27 says.
    Malformed,
}

/// Judges a question: `may` is given the socket's domain and the key that was proved.
///
/// Frames: version, request id, domain, address, routing id, mechanism, CURVE key.
pub fn decide(frames: &[Vec<u8>], may: impl FnOnce(&[u8], &PublicKey) -> bool) -> Verdict {
    let [version, _, domain, _, _, mechanism, key] = frames else {
        return Verdict::Malformed;
    };
    let Ok(key) = PublicKey::try_from(key.as_slice()) else {
        return Verdict::Malformed;
    };
    if version != VERSION || mechanism != b"CURVE" {
        return Verdict::Malformed;
    }
    if may(domain, &key) {
        Verdict::Welcome(key)
    } else {
        Verdict::Unwelcome
    }
}

impl Verdict {
    /// Returns the answer to a question, whose request id it carries.
    ///
    /// Frames: version, request id, status, text, user id, metadata.
    pub fn answer(self, question: &[Vec<u8>]) -> [Vec<u8>; 6] {
        let request_id = question.get(1).map_or(&[][..], Vec::as_slice);
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

    fn question() -> Vec<Vec<u8>> {
        let parts: [&[u8]; 7] = [b"1.0", b"7", b"mail", b"::1", b"", b"CURVE", &[3; 32]];
        parts.map(<[u8]>::to_vec).to_vec()
    }

    #[test]
    fn domain_and_key_decide() {
        let three = |domain: &[u8], key: &PublicKey| domain == b"mail" && *key == [3; 32];
        assert_eq!(decide(&question(), three), Verdict::Welcome([3; 32]));
        assert_eq!(decide(&question(), |_, _| false), Verdict::Unwelcome);
    }

    #[test]
    fn anything_but_curve_is_refused() {
        for (at, bytes) in [(0, &b"2.0"[..]), (5, b"NULL"), (5, b"PLAIN"), (6, b"short")] {
            let mut frames = question();
            frames[at] = bytes.to_vec();
            assert_eq!(decide(&frames, |_, _| true), Verdict::Malformed, "{at}");
        }
        for length in 0..7 {
            let frames = &question()[..length];
            assert_eq!(decide(frames, |_, _| true), Verdict::Malformed);
        }
        let mut frames = question();
        frames.push(Vec::new());
        assert_eq!(decide(&frames, |_, _| true), Verdict::Malformed);
    }

    #[test]
    fn answers_are_as_rfc_27_has_them() {
        for (verdict, status, user) in [
            (Verdict::Welcome([3; 32]), "200", hex::encode([3; 32])),
            (Verdict::Unwelcome, "400", String::new()),
            (Verdict::Malformed, "400", String::new()),
        ] {
            let answer = verdict.answer(&question());
            assert_eq!(answer[..2], [b"1.0".to_vec(), b"7".to_vec()]);
            assert_eq!(answer[2], status.as_bytes());
            assert_eq!(answer[4], user.as_bytes());
        }
        assert_eq!(Verdict::Malformed.answer(&[])[1], b"");
    }
}
