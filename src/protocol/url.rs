//! A server's address with its key, as in `server.url`: `correio://HOST:PORT?key=<64 hex digits>`,
//! and the same with `&code=...` as an invitation to hand over.

use std::fmt;

use super::PublicKey;
use crate::limits;

/// Where a server is and which key it must prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// Host name or address; IPv6 addresses without their brackets.
    pub host: String,
    /// TCP port of the request socket; the live socket's port comes with `hello`.
    pub port: u16,
    /// The server's CURVE public key.
    pub key: PublicKey,
    /// A single-use invitation code that came along.
    pub code: Option<String>,
}

/// Why a text is not a server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a server address ({0}); it looks like correio://HOST:PORT?key=<64 hex digits>")]
pub struct UrlError(&'static str);

impl UrlError {
    /// Returns what is wrong with it.
    pub fn what(&self) -> &'static str {
        self.0
    }
}

impl ServerUrl {
    /// Parses the text form; surrounding white space is ignored.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = text
            .trim()
            .strip_prefix("correio://")
            .ok_or(UrlError("no correio://"))?;
        let (place, query) = rest.split_once('?').ok_or(UrlError("no key"))?;
        let (host, port) = place
            .trim_end_matches('/')
            .rsplit_once(':')
            .ok_or(UrlError("no port"))?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or(UrlError("an open bracket"))?,
            None => host,
        };
        if !is_host(host) {
            return Err(UrlError("no host"));
        }
        let port = port.parse().map_err(|_| UrlError("a bad port"))?;
        let (mut key, mut code) = (None, None);
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("key", hex)) => key = Some(parse_key(hex)?),
                Some(("code", word)) if is_code(word) => code = Some(word.to_owned()),
                Some(("code", _)) => return Err(UrlError("a bad code")),
                _ => {}
            }
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            key: key.ok_or(UrlError("no key"))?,
            code,
        })
    }

    /// Returns the ZeroMQ endpoint of `port` on this server's host.
    pub fn endpoint(&self, port: u16) -> String {
        format!("tcp://{}:{port}", bracketed(&self.host))
    }
}

/// It becomes part of an endpoint, in which more than a name or an address would mean something.
fn is_host(host: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || "._-:%".contains(c);
    (1..=limits::HOST_BYTES_MAX).contains(&host.len()) && host.chars().all(fits)
}

/// Codes are hex digits; a later server's may be other letters. They are shown and typed.
fn is_code(word: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    word.len() <= limits::CODE_BYTES_MAX && word.bytes().all(fits)
}

fn parse_key(text: &str) -> Result<PublicKey, UrlError> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).map_err(|_| UrlError("a bad key"))?;
    Ok(key)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "correio://{}:{}?key={}",
            bracketed(&self.host),
            self.port,
            hex::encode(self.key)
        )?;
        match &self.code {
            Some(code) => write!(f, "&code={code}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn urls_round_trip() {
        let key = KEY;
        for text in [
            format!("correio://127.0.0.1:5570?key={key}"),
            format!("correio://[::1]:5570?key={key}"),
            format!("correio://lab.example:1?key={key}&code=abc"),
        ] {
            assert_eq!(ServerUrl::parse(&text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_urls_are_refused() {
        for text in [
            "",
            "tcp://a:1",
            "correio://a:1",
            "correio://a?key=00",
            "correio://:1?key=00",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain([
            // In an endpoint of ZeroMQ a semicolon parts this side from the other.
            format!("correio://127.0.0.1:1;10.0.0.7:2?key={KEY}"),
            format!("correio://[[::1]]:1?key={KEY}"),
            format!("correio://a/b:1?key={KEY}"),
            format!("correio://a:1?key={KEY}&code=a b"),
            format!("correio://a:1?key={KEY}&code=\u{1b}[2J"),
        ]) {
            assert!(ServerUrl::parse(&text).is_err(), "{text}");
        }
    }
}
