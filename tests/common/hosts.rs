//! Several hosts on one machine: network namespaces around a switch, made with iproute2 by root.

use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Tells the networks of one test program apart.
static MADE: AtomicU32 = AtomicU32::new(0);

/// IPv4 or IPv6: each network speaks one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `10.77.0.x`
    V4,
    /// `fd77::x`
    V6,
}

/// A switch with hosts 1, 2, 3 ... on it. Gone when dropped.
#[derive(Debug)]
pub struct Hosts {
    prefix: String,
    count: usize,
    family: Family,
}

impl Hosts {
    /// Makes so many hosts, or says why this machine cannot.
    pub fn make(count: usize, family: Family) -> Result<Self, String> {
        let nth = MADE.fetch_add(1, Ordering::SeqCst);
        let prefix = format!("correio-{}-{nth}", std::process::id());
        let hosts = Self {
            prefix,
            count,
            family,
        };
        let switch = hosts.name(0);
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        (1..=count).try_for_each(|nth| hosts.plug_in(nth))?;
        Ok(hosts)
    }

    fn plug_in(&self, nth: usize) -> Result<(), String> {
        let (switch, host, port) = (self.name(0), self.name(nth), port(nth));
        ip(&["netns", "add", &host])?;
        let cable = ["link", "add", "eth0", "netns", &host, "type", "veth"];
        ip(&[&cable[..], &["peer", "name", &port, "netns", &switch]].concat())?;
        ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
        let net = match self.family {
            Family::V4 => format!("{}/24", self.address(nth)),
            Family::V6 => format!("{}/64", self.address(nth)),
        };
        let mut give = vec!["-n", &host, "addr", "add", &net, "dev", "eth0"];
        // Without it an address is of no use for its first second.
        give.extend((self.family == Family::V6).then_some("nodad"));
        ip(&give)?;
        ip(&["-n", &host, "link", "set", "lo", "up"])?;
        ip(&["-n", &host, "link", "set", "eth0", "up"])
    }

    /// Returns a host's address.
    pub fn address(&self, nth: usize) -> String {
        match self.family {
            Family::V4 => format!("10.77.0.{nth}"),
            Family::V6 => format!("fd77::{nth}"),
        }
    }

    /// Returns a host's address as URLs have it.
    pub fn url_address(&self, nth: usize) -> String {
        match self.family {
            Family::V4 => self.address(nth),
            Family::V6 => format!("[{}]", self.address(nth)),
        }
    }

    /// Returns the words that run a program on a host.
    pub fn on(&self, nth: usize) -> Vec<String> {
        let words = [program(), "netns", "exec"].map(str::to_owned);
        [&words[..], &[self.name(nth)]].concat()
    }

    /// Pulls a host's cable out of the switch, or plugs it in again.
    pub fn cable(&self, nth: usize, plugged_in: bool) {
        let state = if plugged_in { "up" } else { "down" };
        let set = ["-n", &self.name(0), "link", "set", &port(nth), state];
        ip(&set).expect("a cable can be pulled");
    }

    /// Gives a host another address.
    pub fn add_address(&self, nth: usize, net: &str) -> Result<(), String> {
        ip(&["-n", &self.name(nth), "addr", "add", net, "dev", "eth0"])
    }

    /// Makes a host drop, without a word, what comes to these ports from elsewhere.
    pub fn drop_to(&self, nth: usize, ports: RangeInclusive<u16>) -> Result<(), String> {
        self.drop_what(nth, &[], &ports)
    }

    /// The same for one of its addresses.
    pub fn drop_to_address(
        &self,
        nth: usize,
        address: &str,
        ports: RangeInclusive<u16>,
    ) -> Result<(), String> {
        self.drop_what(nth, &["to", address], &ports)
    }

    fn drop_what(
        &self,
        nth: usize,
        what: &[&str],
        ports: &RangeInclusive<u16>,
    ) -> Result<(), String> {
        let host = self.name(nth);
        let family = if self.family == Family::V4 {
            "-4"
        } else {
            "-6"
        };
        let range = format!("{}-{}", ports.start(), ports.end());
        let rule = |words: &[&str]| ip(&[&["-n", &host, family, "rule"][..], words].concat());
        // The rule for own addresses comes first by default: it goes behind the one that drops.
        rule(&["add", "pref", "100", "lookup", "local"])?;
        rule(&["del", "pref", "0"])?;
        let tcp = ["iif", "eth0", "ipproto", "tcp", "dport", &range];
        rule(&[&["add", "pref", "50"], what, &tcp, &["blackhole"]].concat())
    }

    fn name(&self, nth: usize) -> String {
        format!("{}-{nth}", self.prefix)
    }
}

fn port(nth: usize) -> String {
    format!("port{nth}")
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for nth in 0..=self.count {
            // One that was never made is no loss.
            drop(ip(&["netns", "del", &self.name(nth)]));
        }
    }
}

/// Returns where `ip` lies: the programs under test have no PATH.
fn program() -> &'static str {
    let places = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"];
    let found = places.into_iter().find(|place| Path::new(place).exists());
    found.unwrap_or("ip")
}

fn ip(words: &[&str]) -> Result<(), String> {
    let output = Command::new(program()).args(words).output();
    let output = output.map_err(|e| format!("no iproute2: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let failed = || format!("ip {}: {said}", words.join(" "));
    output.status.success().then_some(()).ok_or_else(failed)
}
