//! A client in forty lines: log in, send a mail to yourself, fetch it, show it, and wait for the next.
//!
//! Start a server, then:
//!
//! ```text
//! cargo run --example client -- data/server.url ana
//! ```

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use correio::client::home::{Home, Place};
use correio::client::outbox::Draft;
use correio::client::session::{self, Event, Options, Session};
use correio::protocol::names::UserName;
use correio::protocol::reply::Outcome;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(server), Some(user)) = (args.next(), args.next()) else {
        return Err("usage: client SERVER.URL USER [HOME]".into());
    };
    let folder = args.next().unwrap_or_else(|| "client-home".to_owned());
    let mut out = std::io::stdout();

    // An account is one user at one server, with a key of this device. Making it again is harmless.
    let home = Home::open(Some(Path::new(&folder)))?;
    let account = home.create_account(&Place::parse(&server)?, &UserName::parse(&user)?)?;
    session::register(&account, "example", None, Duration::from_secs(10))?;
    home.confirm(&account)?;

    // A send is on disk, with its number, before its first try: killed at any instant, it is
    // carried out exactly once.
    let mut session = Session::open(&account, Options::standing())?;
    for retried in session.retry_outbox(session::Which::Pending)? {
        writeln!(out, "of before: {:?}", retried.result)?;
    }
    let sent = session.send(Draft {
        to: vec![user],
        subject: "hello".to_owned(),
        content_type: "text/plain; charset=utf-8".to_owned(),
        body: b"from me to me".to_vec(),
        ..Draft::default()
    })?;
    for outcome in sent.outcomes {
        match outcome {
            Outcome::Sent { address, id, .. } => writeln!(out, "sent to {address} as {id}")?,
            Outcome::Refused { address, error } => writeln!(out, "not sent to {address}: {error}")?,
        }
    }

    // Fetching stores in the mailbox, syncs, and only then acknowledges. Showing is a claim: of several
    // programs of this device one shows a mail, and a program that dies before `shown` showed nothing.
    session.refresh()?;
    for (id, log) in session.mailbox().unseen()? {
        let Some(claim) = session.mailbox().claim(id, log)? else {
            continue;
        };
        let mail = claim.read()?;
        writeln!(
            out,
            "{id} from {}: {:?}",
            mail.envelope.from, mail.envelope.subject
        )?;
        out.flush()?;
        session.mailbox().shown(vec![claim])?;
    }

    // A standing session hears live what arrives; lost live frames cost one heartbeat at most.
    loop {
        match session.next_event(Duration::from_secs(30))? {
            Event::Mail(mail) => writeln!(out, "{} arrived", mail.envelope.id)?,
            Event::Quiet => return Ok(session.stop_watch()?),
            other => writeln!(out, "{other:?}")?,
        }
    }
}
