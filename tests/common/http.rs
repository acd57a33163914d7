//! HTTP by hand, over TCP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;
use super::server::Server;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head's lines after the first.
    pub headers: String,
    /// The body.
    pub body: String,
}

/// Returns where a server serves HTTP, as it says in `server.json`.
pub fn address(server: &Server) -> SocketAddr {
    let text = std::fs::read(server.data().join("server.json")).expect("server.json is there");
    let json: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    let url = json["http"].as_str().expect("it serves HTTP");
    let place = url.strip_prefix("http://").expect("a URL of HTTP");
    place.parse().expect("an address")
}

/// Connects, with patience.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("it can wait");
    stream
}

/// Asks for a path.
pub fn get(to: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    raw(to, request.as_bytes())
}

/// Sends any bytes and reads what comes until the end.
pub fn raw(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = connect(to);
    stream.write_all(bytes).expect("it takes a request");
    let mut text = String::new();
    stream
        .read_to_string(&mut text)
        .expect("it answers, in text");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    let (first, headers) = head.split_once("\r\n").expect("and headers");
    let status = first.split(' ').nth(1).expect("a status");
    Answer {
        status: status.parse().expect("a number"),
        headers: headers.to_owned(),
        body: body.to_owned(),
    }
}

/// Returns the value of a metric with its labels, as it stands in a page of metrics.
pub fn value(page: &str, metric: &str) -> f64 {
    text_of(page, metric).parse().expect("a number")
}

/// Returns a value that counts something.
pub fn count(page: &str, metric: &str) -> u64 {
    text_of(page, metric).parse().expect("a whole number")
}

fn text_of<'a>(page: &'a str, metric: &str) -> &'a str {
    let mut lines = page.lines();
    let found = lines.find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    found.unwrap_or_else(|| {
        panic!(
            "no {metric} in:
{page}"
        )
    })
}

/// An open stream of events.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// Opens one; the head is read.
    pub fn open(to: SocketAddr) -> Self {
        let mut stream = connect(to);
        let request = format!("GET /events HTTP/1.1\r\nHost: {to}\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .expect("it takes a request");
        let mut events = Self(BufReader::new(stream));
        assert_eq!(events.line(), "HTTP/1.1 200 OK");
        while !events.line().is_empty() {}
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let length = self.0.read_line(&mut line).expect("it can be read");
        assert!(length > 0, "the stream ended");
        line.trim_end().to_owned()
    }

    /// Waits for the next event.
    pub fn next_event(&mut self) -> serde_json::Value {
        loop {
            if let Some(data) = self.line().strip_prefix("data: ") {
                return serde_json::from_str(data).expect("an event is JSON");
            }
        }
    }
}
