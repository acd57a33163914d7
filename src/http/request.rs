//! A request's head: what it asks for. Bytes of strangers.

use std::net::IpAddr;

use crate::limits;

/// What to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The dashboard, its script or its looks.
    Page(&'static str),
    /// Figures for Prometheus.
    Metrics,
    /// Does the poll loop turn?
    Alive,
    /// Does the store take something in?
    Ready,
    /// Figures every second, as server-sent events.
    Events,
    /// An error's status: 400, 404, 405, 421 or 431.
    Wrong(u16),
}

/// A whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// What for.
    pub route: Route,
    /// Only the head of the answer is wanted.
    pub head_only: bool,
}

/// Which names this server goes by in a `Host` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hosts {
    /// Loopback addresses and `localhost` only. A page of the web that has a browser look up its name anew,
    /// as this machine's own, still names itself here and is not answered.
    Local,
    /// Any: the operator opened it to the network.
    Any,
}

/// Reads what came so far; nothing when the head is not whole yet.
pub fn parse(bytes: &[u8], hosts: Hosts) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let wrong = |status| {
        Some(Asked {
            route: Route::Wrong(status),
            head_only: false,
        })
    };
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() < limits::HTTP_HEAD_BYTES_MAX => None,
        Ok(httparse::Status::Complete(length)) if length <= limits::HTTP_HEAD_BYTES_MAX => {
            Some(judge(&request, hosts))
        }
        Ok(_) | Err(httparse::Error::TooManyHeaders) => wrong(431),
        Err(_) => wrong(400),
    }
}

fn judge(request: &httparse::Request<'_, '_>, hosts: Hosts) -> Asked {
    let head_only = request.method == Some("HEAD");
    let route = if !head_only && request.method != Some("GET") {
        Route::Wrong(405)
    } else if !is_meant(request, hosts) {
        Route::Wrong(421)
    } else {
        route(request.path.unwrap_or_default())
    };
    Asked { route, head_only }
}

fn route(target: &str) -> Route {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    match path {
        "/" => Route::Page("/"),
        "/page.js" => Route::Page("/page.js"),
        "/page.css" => Route::Page("/page.css"),
        "/icon.svg" => Route::Page("/icon.svg"),
        "/metrics" => Route::Metrics,
        "/healthz" => Route::Alive,
        "/readyz" => Route::Ready,
        "/events" => Route::Events,
        _ => Route::Wrong(404),
    }
}

/// Says whether the request names a host that this server is.
fn is_meant(request: &httparse::Request<'_, '_>, hosts: Hosts) -> bool {
    let mut named = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("host"));
    match (named.next(), named.next()) {
        // HTTP/1.0 needs none, and browsers always send it.
        (None, _) => request.version == Some(0) || hosts == Hosts::Any,
        (Some(host), None) => {
            hosts == Hosts::Any || str::from_utf8(host.value).is_ok_and(is_this_machine)
        }
        (Some(_), Some(_)) => false,
    }
}

fn is_this_machine(host: &str) -> bool {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Option<Asked> {
        parse(text.as_bytes(), Hosts::Local)
    }

    fn route_of(text: &str) -> Route {
        asked(text).unwrap().route
    }

    #[test]
    fn paths_are_routes() {
        for (path, route) in [
            ("/", Route::Page("/")),
            ("/metrics", Route::Metrics),
            ("/metrics?x=1", Route::Metrics),
            ("/healthz", Route::Alive),
            ("/readyz", Route::Ready),
            ("/events", Route::Events),
            ("/..", Route::Wrong(404)),
            ("/metrics/", Route::Wrong(404)),
            ("http://localhost/", Route::Wrong(404)),
        ] {
            let text = format!("GET {path} HTTP/1.1\r\nHost: localhost:1\r\n\r\n");
            assert_eq!(route_of(&text), route, "{path}");
        }
    }

    #[test]
    fn only_looking_is_served() {
        let head = "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        assert!(asked(head).unwrap().head_only);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
            let text = format!("{method} /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(route_of(&text), Route::Wrong(405), "{method}");
        }
    }

    #[test]
    fn p09_a_head_comes_in_pieces_and_has_an_end() {
        let whole = "GET / HTTP/1.1\r\nHost: [::1]:9\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(asked(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(route_of(whole), Route::Page("/"));
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(9_000));
        assert_eq!(route_of(&endless), Route::Wrong(431));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(65));
        assert_eq!(route_of(&many), Route::Wrong(431));
        assert_eq!(route_of("\0\0\0\0"), Route::Wrong(400));
        assert_eq!(route_of("GET / HTTP/9\r\n\r\n"), Route::Wrong(400));
    }

    #[test]
    fn p05_a_page_of_the_web_cannot_make_a_browser_read_this() {
        let of = |host: &str| {
            let text = format!("GET / HTTP/1.1\r\n{host}\r\n");
            parse(text.as_bytes(), Hosts::Local).unwrap().route
        };
        for host in [
            "localhost",
            "LOCALHOST:5",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]",
            "[::1]:5580",
        ] {
            assert_eq!(of(&format!("Host: {host}\r\n")), Route::Page("/"), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "[::2]",
            "",
            "localhost:x",
        ] {
            assert_eq!(
                of(&format!("Host: {host}\r\n")),
                Route::Wrong(421),
                "{host}"
            );
        }
        assert_eq!(of("Host: localhost\r\nHost: evil\r\n"), Route::Wrong(421));
        assert_eq!(of(""), Route::Wrong(421));
        let any = b"GET / HTTP/1.1\r\nHost: mail.example.org\r\n\r\n";
        assert_eq!(parse(any, Hosts::Any).unwrap().route, Route::Page("/"));
    }
}
