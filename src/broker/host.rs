//! Where the two sides of a chat find each other: what a client says, else what the broker saw.

use ::core::net::IpAddr;

use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};

/// Checks the host that a client says it can be reached at. It ends up in another client's endpoint, so
/// nothing passes that is not part of a name or an address.
pub fn given(host: Option<&str>) -> Result<Option<&str>, WireError> {
    let is_of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let Some(host) = host else {
        return Ok(None);
    };
    if host.is_empty() || host.len() > limits::HOST_BYTES_MAX || !host.chars().all(is_of_host) {
        return Err(refusal!(
            Code::BadRequest,
            "a host is a name or an address of at most 253 bytes, without brackets or port"
        ));
    }
    Ok(Some(host))
}

/// Reads the address a connection came from: one of IPv4 in IPv6 is one of IPv4, and a link-local one
/// loses its zone, which names an interface of this machine and means nothing on another.
pub(super) fn ip_of(address: &str) -> Option<IpAddr> {
    let (ip, zone) = match address.split_once('%') {
        Some((ip, zone)) => (ip, Some(zone)),
        None => (address, None),
    };
    let ip = ip.parse::<IpAddr>().ok()?.to_canonical();
    let has_zones = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    (zone.is_none() || has_zones).then_some(ip)
}

/// Returns the address a connection came from in normal form. Empty when there is none.
pub fn seen(address: &str) -> String {
    ip_of(address).map_or_else(String::new, |ip| ip.to_string())
}

/// Returns the host at which `reader` finds `side`; nothing when that is the host at which it finds the
/// broker. An address of the broker's own machine is of use on that machine only.
pub fn between(side: &str, reader: &str) -> Option<String> {
    let is_useless = side.is_empty() || (is_loopback(side) && !is_loopback(reader));
    (!is_useless).then(|| side.to_owned())
}

fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>()
        .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_seen_in_normal_form() {
        assert_eq!(seen("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(seen("192.0.2.7"), "192.0.2.7");
        assert_eq!(seen("2001:DB8:0::1"), "2001:db8::1");
        assert_eq!(seen("fe80::1%eth0"), "fe80::1");
        assert_eq!(seen("192.0.2.7%eth0"), "");
        assert_eq!(seen(""), "");
        assert_eq!(seen("tcp://x"), "");
    }

    #[test]
    fn the_brokers_own_loopback_is_nobody_elses() {
        let lan = Some("192.0.2.7".to_owned());
        assert_eq!(between("192.0.2.7", "127.0.0.1"), lan);
        assert_eq!(between("127.0.0.1", "192.0.2.7"), None);
        assert_eq!(between("::1", "192.0.2.7"), None);
        assert_eq!(between("127.0.0.1", "::1").as_deref(), Some("127.0.0.1"));
        assert_eq!(between("127.0.0.1", "desk.example"), None);
        assert_eq!(between("", "192.0.2.7"), None);
        assert_eq!(
            between("desk.example", "192.0.2.7").as_deref(),
            Some("desk.example")
        );
    }

    #[test]
    fn p09_a_host_that_a_client_gives_is_a_host() {
        for good in ["desk.example", "192.0.2.7", "2001:db8::1", "a_b-c"] {
            assert_eq!(given(Some(good)), Ok(Some(good)));
        }
        let long = "x".repeat(limits::HOST_BYTES_MAX + 1);
        for bad in [
            "",
            "a b",
            "[::1]",
            "a;b",
            "a/b",
            "*",
            "h\u{202e}",
            "tcp://x",
            long.as_str(),
        ] {
            assert!(given(Some(bad)).is_err(), "{bad:?}");
        }
    }
}
