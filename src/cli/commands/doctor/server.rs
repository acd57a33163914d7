//! The way to the server, one step at a time, and what the server says: each step stands on the one
//! before, so the first that fails is the one to look at.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::machine::Who;
use super::{CLOCK, ENCRYPTION, LEASE, NAME, PROTOCOL, REACH, Report, SESSION};
use crate::auth::keys::KeyPair;
use crate::cli::commands::close;
use crate::cli::error::{CliError, os_text};
use crate::cli::i18n::{tr, tr_n};
use crate::cli::times;
use crate::client::ClientError;
use crate::client::connection::Connection;
use crate::client::home::{Account, Place};
use crate::client::session::{Options, Session};
use crate::protocol::codes::exit;
use crate::protocol::reply::Hello;

/// A server on one's network answers within that.
const PATIENCE: Duration = Duration::from_secs(3);

/// Goes the way as far as it is good, as `account`.
pub(super) fn look(
    report: &mut Report<'_>,
    who: &Who,
    account: &Result<Account, CliError>,
    timeout: Duration,
) {
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
    let own = account.as_ref().ok().map(Account::keys);
    let keys = match own {
        Some(Ok(keys)) => keys.clone(),
        // Anybody may say hello.
        _ => match KeyPair::generate() {
            Ok(keys) => keys,
            Err(error) => return report.failed(ENCRYPTION, &error.into()),
        },
    };
    let Some(hello) = greet(report, &place, &keys, patience) else {
        return;
    };
    clock(report, &hello);
    match account {
        Ok(account) => session(report, account, &hello, timeout),
        // A key that does not open: all before it was told with the account.
        Err(error) if who.account.is_ok() => report.failed(SESSION, error),
        Err(_) => {}
    }
}

fn name(report: &mut Report<'_>, place: &Place) -> Option<Vec<SocketAddr>> {
    let url = &place.url;
    let found = (url.host.as_str(), url.port).to_socket_addrs();
    let addresses: Vec<SocketAddr> = found
        .as_ref()
        .map_or_else(|_| Vec::new(), |all| all.clone().collect());
    if addresses.is_empty() {
        let text = match found.err() {
            Some(error) => tr!("{} has no address: {}", url.host, os_text(&error)),
            None => tr!("{} has no address", url.host),
        };
        report.fail(
            NAME,
            exit::UNAVAILABLE,
            text,
            tr!("look at the network and its name server, or name the server by its address with --server"),
        );
        return None;
    }
    let shown: Vec<String> = addresses.iter().map(|at| at.ip().to_string()).collect();
    report.ok(NAME, tr!("{} is {}", url.host, shown.join(", ")));
    Some(addresses)
}

fn reach(report: &mut Report<'_>, place: &Place, at: &[SocketAddr], patience: Duration) -> bool {
    let mut last = None;
    for address in at {
        match TcpStream::connect_timeout(address, patience) {
            Ok(_) => {
                report.ok(REACH, tr!("something listens at {}", address));
                return true;
            }
            Err(error) => last = Some(error),
        }
    }
    let endpoint = place.url.endpoint(place.url.port);
    let text = match last {
        Some(error) => tr!("nothing answers at {}: {}", endpoint, os_text(&error)),
        None => tr!("nothing answers at {}", endpoint),
    };
    let advice = match place.source.as_deref() {
        Some(path) => tr!(
            "start the server (its folder is {}), or look at the firewall between",
            path.parent().unwrap_or(path).display()
        ),
        None => tr!("start the server, or look at the firewall between").to_owned(),
    };
    report.fail(REACH, exit::UNAVAILABLE, text, advice);
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
                ENCRYPTION,
                exit::UNAVAILABLE,
                tr!("what listens there does not speak as a mailserver does"),
                tr!("another program has that port, or the server hangs: look at its log"),
            );
            return None;
        }
        Err(error) => {
            report.failed(ENCRYPTION, &error.into());
            return None;
        }
    };
    let hello = connection.hello().clone();
    let key = &hex::encode(place.url.key)[..16];
    report.ok(ENCRYPTION, tr!("it has the expected key, {}...", key));
    report.ok(
        PROTOCOL,
        tr!("version {} with {}", hello.version, hello.server),
    );
    Some(hello)
}

fn clock(report: &mut Report<'_>, hello: &Hello) {
    match times::skew_warning(&hello.now) {
        None => report.ok(CLOCK, tr!("within two minutes of the server's")),
        Some(warning) => match warning.split_once(": ") {
            Some((text, advice)) => report.warn(CLOCK, text, advice),
            None => report.warn(CLOCK, warning, "timedatectl set-ntp true"),
        },
    }
}

/// Logs in as a standing program does, and gives everything back.
fn session(report: &mut Report<'_>, account: &Account, hello: &Hello, timeout: Duration) {
    if hello.user.is_none() {
        let user = account.user();
        return report.fail(
            SESSION,
            exit::DENIED,
            tr!(
                "the server does not know this device's key as one of {}'s",
                user
            ),
            tr!(
                "mailctl login {}; where the name exists already: mailctl invite --device at another device",
                user
            ),
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
        Err(error) => return report.failed(SESSION, &error.into()),
    };
    let waiting: u64 = session.logs().map(|log| log.waiting).sum();
    let device = session.login().device;
    let logged_in = tr!("logged in as {}, device {}", account.user(), device);
    let waiting = tr_n!(waiting, "{n} mail waits", "{n} mails wait");
    report.ok(SESSION, format!("{logged_in}; {waiting}"));
    match session.lease() {
        Some(lease) => report.ok(
            LEASE,
            tr!("port {} was lent, and bound here", lease.port),
        ),
        None => report.warn(
            LEASE,
            tr!("no port was lent, or all that were offered are busy here"),
            tr!(
                "mail works without; for direct chats end a watch or chat of yours, or ask for a larger chat-ports at \
                 the server"
            ),
        ),
    }
    close(session);
}
