//! What strangers send to the HTTP side.

use correio::http::{Asked, Hosts, Route, parse};
use correio::limits;

/// The first byte says who may be named; the rest is a request. However it is cut, it is answered alike; one that
/// goes on without an end is refused; only this machine's names are answered where no others are.
pub(super) fn request(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let hosts = if first % 2 == 0 {
        Hosts::Local
    } else {
        Hosts::Any
    };
    let whole = parse(bytes, hosts);
    assert!(whole.is_some() || bytes.len() < limits::HTTP_HEAD_BYTES_MAX);
    let Some(asked) = whole else {
        return;
    };
    let is_served = !matches!(asked.route, Route::Wrong(_));
    if is_served {
        // Empty lines before a request are let pass.
        let begin = bytes.iter().position(|byte| !b"\r\n".contains(byte));
        let head = String::from_utf8_lossy(&bytes[begin.expect("a request is no empty line")..]);
        let method = head.split(' ').next();
        assert!(matches!(method, Some("GET" | "HEAD")), "{method:?}");
        assert_eq!(asked.head_only, method == Some("HEAD"));
        // Whoever is served by a local name is served by any.
        assert_eq!(parse(bytes, Hosts::Any), Some(asked));
    }
    if let Asked {
        route: Route::Wrong(status),
        ..
    } = asked
    {
        assert!([400, 404, 405, 421, 431].contains(&status));
    }
    // The first piece that is judged decides, and more bytes change nothing but what was unfinished.
    let more = [bytes, b"x"].concat();
    if is_served && more.len() < limits::HTTP_HEAD_BYTES_MAX {
        assert_eq!(parse(&more, hosts), Some(asked));
    }
}
