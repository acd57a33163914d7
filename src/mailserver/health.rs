//! `healthcheck`: asks the running server's own HTTP side, for supervisors and containers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::folder::Folder;
use super::{Failure, say};
use crate::config::Config;
use crate::protocol::codes::exit;

/// How long each step may take: the server itself gives up after two seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Says whether the server that runs on the data folder is well: `/readyz`, or `/healthz` when only being
/// alive is asked for.
pub(super) fn check(config: &Config, alive_only: bool) -> Result<(), Failure> {
    let place = config.data_dir.display();
    let running = Folder::existing(&config.data_dir)?.running();
    let Some(running) = running else {
        return Err(Failure {
            code: exit::UNAVAILABLE,
            text: format!(
                "no server is ready on {place}; start one with mailserver run --data-dir {place}"
            ),
        });
    };
    let Some(url) = running.http else {
        return Err(Failure {
            code: exit::CONFIG,
            text: format!(
                "the server on {place} (pid {}) serves no HTTP, so it cannot be asked; start it with --http 127.0.0.1:5580",
                running.pid
            ),
        });
    };
    let path = if alive_only { "/healthz" } else { "/readyz" };
    let (status, text) = ask(&url, path).map_err(|error| Failure {
        code: exit::UNAVAILABLE,
        text: format!(
            "{url}{path} does not answer: {error}; see whether the server runs, and its log"
        ),
    })?;
    if status == 200 {
        say(&text);
        return Ok(());
    }
    Err(Failure {
        code: exit::TEMPORARY,
        text,
    })
}

/// Asks and returns the status and the line that came with it.
pub(super) fn ask(url: &str, path: &str) -> io::Result<(u16, String)> {
    let mut stream = connect(url)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("what came is no answer"))?;
    Ok((status, body.trim_end().to_owned()))
}

fn connect(url: &str) -> io::Result<TcpStream> {
    let place = url.trim_start_matches("http://");
    let port = place
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    // The host is the one that others are told, whose name this machine may not know.
    let here = port.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let told = place.to_socket_addrs().into_iter().flatten();
    let mut last = io::Error::other("it has no address");
    for address in told.chain(here) {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
