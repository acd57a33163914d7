//! How a chat begins: a port, the broker's word, two threads.

use std::sync::Arc;

use super::core::Core;
use super::engine::{Engine, Parts};
use super::io::{Own, Peer, Role};
use super::keeper::{Charge, Keeper};
use super::peer::{self, Door};
use super::shared::Shared;
use super::{About, Chat, ChatError, Options, Refusal};
use crate::client::session::Session;
use crate::client::waker;
use crate::protocol::PublicKey;
use crate::protocol::names::UserName;
use crate::protocol::reply::{Asked, ChatRow, ChatState, Introduction, LeaseInfo};

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
    let plan = with_door(&mut session, |session, lease| {
        let asked = session.chat_ask(user, options.host.as_deref())?;
        asked_plan(session, lease, asked, options)
    });
    start(session, plan)
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
    let plan = with_door(&mut session, |session, lease| {
        let introduction = session.chat_accept(&row.chat, options.host.as_deref())?;
        met_plan(session, lease, introduction, options)
    });
    start(session, plan)
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
fn with_door(
    session: &mut Session,
    ask: impl FnOnce(&mut Session, LeaseInfo) -> Result<Plan, ChatError>,
) -> Result<(Plan, Door), ChatError> {
    if !session.is_standing() {
        return Err(ChatError::NotStanding);
    }
    let keys = session.account().keys().clone();
    let mut failed = None;
    let bind = |port| match Door::open(port, &keys) {
        Ok(door) => Some(door),
        Err(error) => {
            failed = (error != zmq::Error::EADDRINUSE).then_some(error);
            None
        }
    };
    let taken = session.take_port(bind);
    if let Some(error) = failed {
        return Err(ChatError::zmq("bind a port")(error));
    }
    let (lease, door) = taken.map_err(ChatError::of_port)?;
    match ask(session, lease) {
        Ok(plan) => Ok((plan, door)),
        Err(error) => {
            drop(door);
            match &error {
                // It may have been carried out: without its lease an invitation is void.
                ChatError::Server(error) if error.is_transport() => session.release_port(lease),
                _ => session.give_port_back(lease),
            }
            Err(error)
        }
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
    let about = About {
        chat: asked.row.chat,
        user: asked.row.to,
        expires_at: Some(asked.row.expires_at),
        asked: true,
    };
    let host = options.host.clone();
    let own_place = match &host {
        Some(host) => peer::place(host, lease.port),
        None => format!("port {} of this machine", lease.port),
    };
    let answered = asked.row.state != ChatState::Open;
    Ok(Plan {
        own: own(session, &about, lease, host)?,
        role: Role::Asker { keys },
        charge: Charge {
            chat: about.chat.clone(),
            lease,
            open: !answered,
            asked: true,
            give_up: options.wait,
        },
        about,
        own_place,
    })
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
        key: session.account().keys().public,
        epoch: lease.epoch,
        port: lease.port,
        host,
    })
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
fn start(session: Session, plan: Result<(Plan, Door), ChatError>) -> Result<Chat, Refusal> {
    let prepared = plan.and_then(|(plan, door)| {
        let pair = waker::pair().map_err(ChatError::system("make a pipe"))?;
        Ok((plan, door, pair))
    });
    let (plan, door, pair) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Err((error, Some(session))),
    };
    let keys = session.account().keys().clone();
    let shared = Arc::new(Shared::new(pair.0.clone(), keys.public));
    let parts = Parts {
        invited: invited(&plan.role),
        core: Core::new(plan.own, plan.role, 0),
        door,
        keys,
        server_host: session.server_host().to_owned(),
        own_place: plan.own_place,
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
