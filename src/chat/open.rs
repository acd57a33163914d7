//! How a chat begins: a port, the broker's word, two threads.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::engine::{Engine, Parts};
use super::io::{Own, Peer, Role};
use super::keeper::{Charge, Keeper};
use super::memory::Memory;
use super::peer::{self, Door};
use super::shared::Shared;
use super::{About, Chat, ChatError, Options, Refusal};
use crate::auth::keys::KeyPair;
use crate::client::session::Session;
use crate::client::{ClientError, waker};
use crate::protocol::PublicKey;
use crate::protocol::codes::Code;
use crate::protocol::names::UserName;
use crate::protocol::reply::{Asked, ChatRow, ChatState, Introduction, LeaseInfo};
use crate::protocol::time;

/// How long the server may be late with the word that nobody answered in time.
const OVERDUE: Duration = Duration::from_secs(10);

/// Asks, and starts the threads.
#[expect(
    clippy::result_large_err,
    reason = "the session goes back, once a chat"
)]
pub(super) fn ask(
    mut session: Session,
    user: &UserName,
    options: &Options,
) -> Result<Chat, Refusal> {
    let host = options.host.as_deref();
    let asked = with_door(&mut session, |session| session.chat_ask(user, host));
    let plan = asked.and_then(|(asked, lease, door)| {
        let plan = asked_plan(&session, lease, asked, options)?;
        Ok((plan, door))
    });
    start(session, plan, options)
}

/// Accepts, and starts the threads.
#[expect(
    clippy::result_large_err,
    reason = "the session goes back, once a chat"
)]
pub(super) fn accept(
    mut session: Session,
    row: &ChatRow,
    options: &Options,
) -> Result<Chat, Refusal> {
    let host = options.host.as_deref();
    let met = with_door(&mut session, |session| session.chat_accept(&row.chat, host));
    let plan = met.and_then(|(introduction, lease, door)| {
        let plan = met_plan(&session, lease, introduction, options)?;
        Ok((plan, door))
    });
    start(session, plan, options)
}

/// What is known when the broker has spoken.
struct Plan {
    about: About,
    own: Own,
    role: Role,
    charge: Charge,
    own_place: String,
}

/// Binds the port, so that it is there when the other side hears of it, and asks. On a refusal the
/// session has its port back.
fn with_door<T>(
    session: &mut Session,
    ask: impl Fn(&mut Session) -> Result<T, ClientError>,
) -> Result<(T, LeaseInfo, Door), ChatError> {
    if !session.is_standing() {
        return Err(ChatError::NotStanding);
    }
    let (mut lease, mut door) = open_door(session)?;
    let mut answer = ask(session);
    if answer.as_ref().is_err_and(is_stale) {
        // The server took the lease back in a while in which nobody heard of it.
        drop(door);
        session.release_port(lease);
        (lease, door) = open_door(session)?;
        answer = ask(session);
    }
    match answer {
        Ok(answer) if session.has_lease(lease) => Ok((answer, lease, door)),
        Ok(answer) => {
            // The session was opened anew on the way: what was asked is for the port it holds now.
            drop(door);
            let (lease, door) = open_door(session)?;
            Ok((answer, lease, door))
        }
        Err(error) => {
            drop(door);
            if error.is_transport() {
                // It may have been carried out: without its lease an invitation is void.
                session.release_port(lease);
            } else {
                session.give_port_back(lease);
            }
            Err(error.into())
        }
    }
}

fn is_stale(error: &ClientError) -> bool {
    error.is_refused(Code::NoPort) || error.is_refused(Code::LeaseLost)
}

fn open_door(session: &mut Session) -> Result<(LeaseInfo, Door), ChatError> {
    let keys = keys_of(session)?;
    let mut failed = None;
    let taken = session.take_port(|port| match Door::open(port, &keys) {
        Ok(door) => Some(door),
        Err(error) => {
            failed = (error != zmq::Error::EADDRINUSE).then_some(error);
            None
        }
    });
    match (taken, failed) {
        (Err(_), Some(error)) => Err(ChatError::zmq("bind a port")(error)),
        (taken, _) => taken.map_err(ChatError::of_port),
    }
}

fn asked_plan(
    session: &Session,
    lease: LeaseInfo,
    asked: Asked,
    options: &Options,
) -> Result<Plan, ChatError> {
    if let Some(introduction) = asked.introduction {
        return met_plan(session, lease, introduction, options);
    }
    let keys: Option<Vec<_>> = asked
        .devices
        .iter()
        .map(|device| key(&device.key))
        .collect();
    let keys = keys.ok_or(malformed("a device's key"))?;
    let waits_until = waits_until(&asked.row.expires_at, asked.ttl_ms, options.wait);
    let about = About {
        chat: asked.row.chat,
        user: asked.row.to,
        expires_at: Some(asked.row.expires_at),
        waits_until: Some(waits_until),
        asked: true,
    };
    let host = options.host.clone();
    let own_place = match &host {
        Some(host) => peer::place(host, lease.port),
        None => format!("port {} of this machine", lease.port),
    };
    let answered = asked.row.state != ChatState::Open;
    let term = Duration::from_millis(asked.ttl_ms).saturating_add(OVERDUE);
    Ok(Plan {
        own: own(session, &about, lease, host)?,
        role: Role::Asker { keys },
        charge: Charge {
            chat: about.chat.clone(),
            lease,
            open: !answered,
            asked: true,
            give_up: Some(options.wait.map_or(term, |wait| wait.min(term))),
        },
        about,
        own_place,
    })
}

/// Returns until when an invitation that ends at `expires_at`, in `ttl_ms`, is waited for: by the server's clock, as
/// that time is.
fn waits_until(expires_at: &str, ttl_ms: u64, wait: Option<Duration>) -> String {
    let wait_ms = wait.and_then(|wait| u64::try_from(wait.as_millis()).ok());
    let early_ms = wait_ms.map_or(0, |wait_ms| ttl_ms.saturating_sub(wait_ms));
    let ends = time::from_text(expires_at).zip(i64::try_from(early_ms).ok());
    ends.map_or_else(
        || expires_at.to_owned(),
        |(ends_ms, early_ms)| time::to_text(ends_ms.saturating_sub(early_ms)),
    )
}

fn met_plan(
    session: &Session,
    lease: LeaseInfo,
    introduction: Introduction,
    options: &Options,
) -> Result<Plan, ChatError> {
    let about = About {
        chat: introduction.chat,
        user: introduction.user,
        expires_at: None,
        waits_until: None,
        asked: false,
    };
    let peer = Peer {
        key: key(&introduction.key).ok_or(malformed("the other side's key"))?,
        epoch: introduction.epoch,
        port: introduction.port,
        host: introduction.host,
    };
    let host = options.host.clone().or(introduction.own_host);
    let seen = host.as_deref().unwrap_or(session.server_host());
    let own_place = peer::place(seen, lease.port);
    Ok(Plan {
        own: own(session, &about, lease, host)?,
        role: Role::Accepter(peer),
        charge: Charge {
            chat: about.chat.clone(),
            lease,
            open: false,
            asked: false,
            give_up: None,
        },
        about,
        own_place,
    })
}

fn own(
    session: &Session,
    about: &About,
    lease: LeaseInfo,
    host: Option<String>,
) -> Result<Own, ChatError> {
    let mut chat = [0; 16];
    hex::decode_to_slice(&about.chat, &mut chat).map_err(|_| malformed("the chat's name"))?;
    Ok(Own {
        chat,
        key: *session.account().public_key(),
        epoch: lease.epoch,
        port: lease.port,
        host,
    })
}

/// Returns this device's keys: a session is open, so they are at hand.
fn keys_of(session: &Session) -> Result<KeyPair, ChatError> {
    let keys = session.account().keys().map_err(ClientError::from)?;
    Ok(keys.clone())
}

fn key(hex: &str) -> Option<PublicKey> {
    let mut key = PublicKey::default();
    hex::decode_to_slice(hex, &mut key).ok()?;
    Some(key)
}

fn malformed(what: &'static str) -> ChatError {
    ChatError::Malformed { what }
}

/// Starts the threads.
#[expect(
    clippy::result_large_err,
    reason = "the session goes back, once a chat"
)]
fn start(
    session: Session,
    plan: Result<(Plan, Door), ChatError>,
    options: &Options,
) -> Result<Chat, Refusal> {
    let prepared = plan.and_then(|(plan, door)| {
        let pair = waker::pair().map_err(ChatError::system("make a pipe"))?;
        Ok((plan, door, pair, keys_of(&session)?))
    });
    let (plan, door, pair, keys) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Err((error, Some(session))),
    };
    let shared = Arc::new(Shared::new(pair.0.clone(), keys.public));
    let parts = Parts {
        invited: invited(&plan.role),
        core: Core::new(plan.own, plan.role, 0),
        door,
        keys,
        server_host: session.server_host().to_owned(),
        own_place: plan.own_place,
        memory: options.held_max.and_then(Memory::allow),
    };
    let keeper = Keeper::start(session, plan.charge, Arc::clone(&shared))?;
    match Engine::start(parts, Arc::clone(&shared), pair) {
        Ok(engine) => Ok(Chat::of(plan.about, shared, engine, keeper)),
        Err(error) => Err((error, keeper.finish())),
    }
}

fn invited(role: &Role) -> Vec<PublicKey> {
    match role {
        Role::Asker { keys } => keys.clone(),
        Role::Accepter(peer) => vec![peer.key],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_wait_ends_before_the_invitation() {
        let until = |wait| waits_until("2026-11-22T12:05:00.000Z", 300_000, wait);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(until(seconds(2)), "2026-11-22T12:00:02.000Z");
        for longer in [None, seconds(300), seconds(4_000)] {
            assert_eq!(until(longer), "2026-11-22T12:05:00.000Z");
        }
    }
}
