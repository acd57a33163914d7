//! Heads and bodies of answers.

/// What a page may do: show itself and listen to its own server. No script that is not a file of ours, nothing
/// from elsewhere, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// Makes a whole answer, after which the connection ends.
pub(super) fn whole(status: u16, kind: &str, body: &[u8], head_only: bool) -> Vec<u8> {
    let mut head = head(status, kind);
    if status == 405 {
        head.push_str("Allow: GET, HEAD\r\n");
    }
    head.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n"]);
    let mut bytes = head.into_bytes();
    if !head_only {
        bytes.extend_from_slice(body);
    }
    bytes
}

/// Makes the head of a stream of events.
pub(super) fn stream() -> Vec<u8> {
    let mut head = head(200, "text/event-stream");
    // How long a browser waits before it comes back after a restart.
    head.push_str("\r\nretry: 1000\n\n");
    head.into_bytes()
}

/// Makes an answer of one line.
pub(super) fn line(status: u16, text: &str, head_only: bool) -> Vec<u8> {
    whole(status, TEXT, format!("{text}\n").as_bytes(), head_only)
}

/// Makes the answer to a request that is none of ours.
pub(super) fn wrong(status: u16, head_only: bool) -> Vec<u8> {
    let text = match status {
        404 => "nothing here; there is / for people, /metrics, /healthz and /readyz",
        405 => "this only shows: GET or HEAD",
        408 => "the request took too long",
        421 => {
            "this server is asked by a name of this machine only, such as localhost; see http-exposed in mailserver default-config"
        }
        431 => "the request's head is too large",
        503 => "too many dashboards are open; close one",
        _ => "that is no HTTP request",
    };
    line(status, text, head_only)
}

fn head(status: u16, kind: &str) -> String {
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Request",
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_is_and_a_head_alone_does_too() {
        let text = String::from_utf8(line(200, "alive", false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Length: 6\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nalive\n"), "{text}");
        let head = String::from_utf8(line(200, "alive", true)).unwrap();
        assert_eq!(Some(head.as_str()), text.strip_suffix("alive\n"));
    }

    #[test]
    fn p12_no_page_may_run_anything_but_our_files() {
        for answer in [wrong(404, false), stream()] {
            let text = String::from_utf8(answer).unwrap();
            assert!(
                text.contains("default-src 'none'; script-src 'self';"),
                "{text}"
            );
            assert!(!text.contains("unsafe"), "{text}");
            assert!(text.contains("nosniff"), "{text}");
        }
    }
}
