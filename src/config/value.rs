//! The kinds of values that settings have, each with its text form.
//!
//! Every error is the end of the sentence "... will not do:", and says what would be right.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// The word for "choose for me".
pub(super) const AUTO: &str = "auto";

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// An address without brackets, or `*`.
    pub host: String,
    /// The TCP port; 0 picks a free one.
    pub port: u16,
}

impl Endpoint {
    /// Says whether only this machine can connect.
    pub fn is_loopback(&self) -> bool {
        self.address().is_some_and(|address| address.is_loopback())
    }

    /// Says whether it listens on every address, so that the host is no name to tell anybody.
    pub fn is_wildcard(&self) -> bool {
        self.address()
            .is_none_or(|address| address.is_unspecified())
    }

    /// Says whether the socket needs IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.address().is_some_and(|address| address.is_ipv6())
    }

    /// Returns it as an address to listen on: `*` is every IPv4 address.
    pub fn socket_address(&self) -> SocketAddr {
        let every = IpAddr::from([0, 0, 0, 0]);
        SocketAddr::new(self.address().unwrap_or(every), self.port)
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "tcp://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "tcp://{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape =
            || "write it as tcp://ADDRESS:PORT, for example tcp://127.0.0.1:5570".to_owned();
        let place = text.strip_prefix("tcp://").unwrap_or(text);
        let (host, port) = place.rsplit_once(':').ok_or_else(shape)?;
        let port = port.parse().map_err(|_| shape())?;
        let host = match host {
            "localhost" => "127.0.0.1",
            bracketed => bracketed
                .strip_prefix('[')
                .and_then(|inner| inner.strip_suffix(']'))
                .unwrap_or(bracketed),
        };
        if host != "*" && host.parse::<IpAddr>().is_err() {
            return Err(format!(
                "{host:?} is not an address of this machine; give a number such as 127.0.0.1, or * for all"
            ));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Where the HTTP side listens, if it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Http {
    /// On loopback, ten ports above `bind`; without one where that port is taken.
    Auto,
    /// Nowhere.
    Off,
    /// There.
    At(Endpoint),
}

impl FromStr for Http {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            AUTO => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            place => {
                let place = place.strip_prefix("http://").unwrap_or(place);
                let endpoint = place.parse().map_err(|_| {
                    "write it as ADDRESS:PORT, for example 127.0.0.1:5580, or auto, or off"
                        .to_owned()
                })?;
                Ok(Self::At(endpoint))
            }
        }
    }
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last, not below the first.
    pub last: u16,
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Self { first, last }),
            _ => Err("write it as FIRST-LAST, for example 5600-5699".to_owned()),
        }
    }
}

/// A host name or address, as it stands in a URL.
pub(super) struct Host(pub(super) String);

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        let host = text.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || !host.chars().all(plain) {
            return Err("give a host name or address, without a port".to_owned());
        }
        if host.contains(':') && host.parse::<IpAddr>().is_err() {
            return Err("give a host name or address, without a port".to_owned());
        }
        Ok(Self(host.to_owned()))
    }
}

pub(super) fn parse<T: FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.trim().parse()
}

pub(super) fn optional<T: FromStr<Err = String>>(text: &str) -> Result<Option<T>, String> {
    match text.trim() {
        AUTO => Ok(None),
        value => value.parse().map(Some),
    }
}

pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(word, _)| *word == text.trim());
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        format!("choose one of {}", words.join(", "))
    })
}

pub(super) fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.trim().replace('_', "").parse() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("give a whole number from {least} to {most}")),
    }
}

pub(super) fn time(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    match humantime::parse_duration(text.trim()) {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!(
            "give a time from {} to {}, for example 90s or 30days",
            humantime::format_duration(least),
            humantime::format_duration(most)
        )),
    }
}

pub(super) fn size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        _ => None,
    };
    count
        .parse::<u64>()
        .ok()
        .zip(shift)
        .and_then(|(count, shift)| count.checked_mul(1 << shift))
        .filter(|bytes| (least..=most).contains(bytes))
        .ok_or_else(|| {
            format!("give bytes from {least} to {most}, for example 64 KiB, 1 MiB or 4 GiB")
        })
}
