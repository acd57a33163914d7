//! The request socket: who asks, what came, and what goes back.

use zmq::{DONTWAIT, SNDMORE};

use super::io::{Frame, Peer};
use super::xpub::{self, Guard, retry};
use super::zap;
use crate::auth::keys::KeyPair;
use crate::limits;

/// Makes the socket, not yet bound.
pub(super) fn open(context: &zmq::Context, keys: &KeyPair, ipv6: bool) -> zmq::Result<zmq::Socket> {
    let mut socket = context.socket(zmq::ROUTER)?;
    let limits = Guard {
        domain: zap::MAIL_DOMAIN,
        frame_bytes_max: limits::FRAME_BYTES_MAX,
        ipv6,
    };
    xpub::guard(&mut socket, keys, limits)?;
    // A reply to somebody who left is an error we see, and nobody takes over another's routing id.
    socket.set_router_mandatory(true)?;
    socket.set_router_handover(false)?;
    Ok(socket)
}

/// What came on the request socket.
pub(super) enum Received {
    Nothing,
    /// No CURVE key behind it: dropped.
    Nobodys,
    Request(Peer, Vec<Vec<u8>>),
}

/// Takes the next message, if there is one.
pub(super) fn receive(socket: &zmq::Socket) -> zmq::Result<Received> {
    let Some(routing) = retry(|| socket.recv_msg(DONTWAIT))? else {
        return Ok(Received::Nothing);
    };
    if !routing.get_more() {
        return Ok(Received::Nobodys);
    }
    // What ZAP noted is on the frames that came over the wire, not on the routing id.
    let Some(mut first) = retry(|| socket.recv_msg(DONTWAIT))? else {
        return Ok(Received::Nobodys);
    };
    let frames = receive_rest(socket, &first)?;
    let Some(key) = xpub::user_id(&mut first) else {
        return Ok(Received::Nobodys);
    };
    let peer = Peer {
        routing: routing.to_vec(),
        key,
        address: first.gets("Peer-Address").unwrap_or_default().to_owned(),
    };
    Ok(Received::Request(peer, frames))
}

/// Collects the frames from the first after the routing id on. Of too many, only as many are kept as
/// it takes to see that they are too many: the core answers `bad_request`.
fn receive_rest(socket: &zmq::Socket, first: &zmq::Message) -> zmq::Result<Vec<Vec<u8>>> {
    let mut frames = Vec::with_capacity(limits::REQUEST_FRAMES_MAX);
    frames.push(first.to_vec());
    let mut more = first.get_more();
    while more {
        let Some(frame) = retry(|| socket.recv_msg(DONTWAIT))? else {
            break;
        };
        more = frame.get_more();
        match frames.len() {
            kept if kept < limits::REQUEST_FRAMES_MAX => frames.push(frame.to_vec()),
            limits::REQUEST_FRAMES_MAX => frames.push(Vec::new()),
            _ => {}
        }
    }
    Ok(frames)
}

/// Sends a reply; nothing when its peer does not read.
pub(super) fn send(
    socket: &zmq::Socket,
    routing: &[u8],
    frames: &[Frame],
) -> zmq::Result<Option<()>> {
    // Only the first frame can fail: it finds the peer and the room for the whole message.
    if retry(|| socket.send(routing, DONTWAIT | SNDMORE))?.is_none() {
        return Ok(None);
    }
    for (at, frame) in frames.iter().enumerate() {
        let more = if at + 1 < frames.len() { SNDMORE } else { 0 };
        retry(|| socket.send(&frame[..], DONTWAIT | more))?;
    }
    Ok(Some(()))
}
