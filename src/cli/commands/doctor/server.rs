//! The way to the server, one step at a time, and what the server says: each step stands on the one
//! before, so the first that fails is the one to look at.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Report;
use super::machine::Who;
use crate::auth::keys::KeyPair;
use crate::cli::commands::close;
use crate::cli::times;
use crate::client::ClientError;
use crate::client::connection::Connection;
use crate::client::home::{Account, Place};
use crate::client::session::{Options, Session};
use crate::protocol::codes::exit;
use crate::protocol::reply::Hello;

/// A server on one's network answers within that.
const PATIENCE: Duration = Duration::from_secs(3);

/// Goes the way as far as it is good.
pub(super) fn look(report: &mut Report<'_>, who: &Who, timeout: Duration) {
    let Ok(place) = &who.place else { return };
    // As it is now, where a file names it.
    let now = place
        .source
        .as_deref()
        .and_then(|path| Place::read(path).ok());
    let place = now
        .filter(|now| now.url.key == place.url.key)
        .unwrap_or_else(|| place.clone());
    let patience = PATIENCE.min(timeout);
    let Some(addresses) = name(report, &place) else {
        return;
    };
    if !reach(report, &place, &addresses, patience) {
        return;
    }
    let keys = match &who.account {
        Ok(account) => account.keys().clone(),
        // Anybody may say hello.
        Err(_) => match KeyPair::generate() {
            Ok(keys) => keys,
            Err(error) => return report.failed("encryption", &error.into()),
        },
    };
    let Some(hello) = greet(report, &place, &keys, patience) else {
        return;
    };
    clock(report, &hello);
    let Ok(account) = &who.account else { return };
    session(report, account, &hello, timeout);
}

fn name(report: &mut Report<'_>, place: &Place) -> Option<Vec<SocketAddr>> {
    let url = &place.url;
    let found = (url.host.as_str(), url.port).to_socket_addrs();
    let addresses: Vec<SocketAddr> = found
        .as_ref()
        .map_or_else(|_| Vec::new(), |all| all.clone().collect());
    if addresses.is_empty() {
        let why = found
            .err()
            .map_or_else(String::new, |error| format!(": {error}"));
        report.fail(
            "name",
            exit::UNAVAILABLE,
            format!("{} has no address{why}", url.host),
            "look at the network and its name server, or name the server by its address with --server",
        );
        return None;
    }
    let shown: Vec<String> = addresses.iter().map(|at| at.ip().to_string()).collect();
    report.ok("name", format!("{} is {}", url.host, shown.join(", ")));
    Some(addresses)
}

fn reach(report: &mut Report<'_>, place: &Place, at: &[SocketAddr], patience: Duration) -> bool {
    let mut last = None;
    for address in at {
        match TcpStream::connect_timeout(address, patience) {
            Ok(_) => {
                report.ok("reach", format!("something listens at {address}"));
                return true;
            }
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(String::new, |error| format!(": {error}"));
    let beside = place.source.as_deref().map_or_else(String::new, |path| {
        format!(
            " (its folder is {})",
            path.parent().unwrap_or(path).display()
        )
    });
    report.fail(
        "reach",
        exit::UNAVAILABLE,
        format!(
            "nothing answers at {}{why}",
            place.url.endpoint(place.url.port)
        ),
        &format!("start the server{beside}, or look at the firewall between"),
    );
    false
}

fn greet(
    report: &mut Report<'_>,
    place: &Place,
    keys: &KeyPair,
    patience: Duration,
) -> Option<Hello> {
    let connection = match Connection::open(place, keys, patience) {
        Ok(connection) => connection,
        Err(ClientError::Unreachable { .. } | ClientError::NoAnswer { .. }) => {
            report.fail(
                "encryption",
                exit::UNAVAILABLE,
                "what listens there does not speak as a mailserver does",
                "another program has that port, or the server hangs: look at its log",
            );
            return None;
        }
        Err(error) => {
            report.failed("encryption", &error.into());
            return None;
        }
    };
    let hello = connection.hello().clone();
    report.ok(
        "encryption",
        format!(
            "it has the expected key, {}...",
            &hex::encode(place.url.key)[..16]
        ),
    );
    report.ok(
        "protocol",
        format!("version {} with {}", hello.version, hello.server),
    );
    Some(hello)
}

fn clock(report: &mut Report<'_>, hello: &Hello) {
    match times::skew_warning(&hello.now) {
        None => report.ok("clock", "within two minutes of the server's"),
        Some(warning) => {
            let (text, advice) = warning
                .split_once(": ")
                .unwrap_or((warning.as_str(), "set the clock"));
            report.warn("clock", text, advice);
        }
    }
}

/// Logs in as a standing program does, and gives everything back.
fn session(report: &mut Report<'_>, account: &Account, hello: &Hello, timeout: Duration) {
    if hello.user.is_none() {
        let user = account.user();
        return report.fail(
            "session",
            exit::DENIED,
            format!("the server does not know this device's key as one of {user}'s"),
            &format!("mailctl login {user}; where the name exists already: mailctl invite --device at another device"),
        );
    }
    let options = Options {
        no_ack: true,
        want_stream: false,
        timeout,
        ..Options::standing()
    };
    let session = match Session::open(account, options) {
        Ok(session) => session,
        Err(error) => return report.failed("session", &error.into()),
    };
    let waiting: u64 = session.logs().map(|log| log.waiting).sum();
    let device = session.login().device;
    report.ok(
        "session",
        format!(
            "logged in as {}, device {device}; {waiting} waiting",
            account.user()
        ),
    );
    match session.lease() {
        Some(lease) => report.ok("lease", format!("port {} was lent, and bound here", lease.port)),
        None => report.warn(
            "lease",
            "no port was lent, or all that were offered are busy here",
            "mail works without; for direct chats end a watch or chat of yours, or ask for a larger chat-ports at the server",
        ),
    }
    close(session);
}
