//! The client's sockets: how they are made and secured, and how a message goes through one.

use zmq::{Message, PollItem, Socket, SocketEvent};

use super::super::core::LinkEvent;
use super::super::error::ClientError;
use super::super::monitor;
use crate::auth::keys::KeyPair;
use crate::limits;
use crate::protocol::PublicKey;

pub(super) fn dealer(
    context: &zmq::Context,
    keys: &KeyPair,
    server: &PublicKey,
) -> Result<Socket, ClientError> {
    let make = || {
        let socket = context.socket(zmq::DEALER)?;
        secure(&socket, keys, server)?;
        // A request is queued for a connection that stands, or not at all.
        socket.set_immediate(true)?;
        socket.set_sndhwm(0)?;
        socket.set_rcvhwm(0)?;
        Ok(socket)
    };
    make().map_err(zmq_failed("make a socket"))
}

pub(super) fn subscriber(
    context: &zmq::Context,
    keys: &KeyPair,
    server: &PublicKey,
) -> zmq::Result<Socket> {
    let socket = context.socket(zmq::SUB)?;
    secure(&socket, keys, server)?;
    // Above the most subscriptions a user may have: a burst over it is dropped in silence.
    socket.set_sndhwm(0)?;
    Ok(socket)
}

pub(super) fn secure(socket: &Socket, keys: &KeyPair, server: &PublicKey) -> zmq::Result<()> {
    socket.set_curve_serverkey(server)?;
    socket.set_curve_publickey(&keys.public)?;
    socket.set_curve_secretkey(keys.secret())?;
    socket.set_linger(0)?;
    let wire_bytes = limits::FRAME_BYTES_MAX + limits::CURVE_BYTES;
    socket.set_maxmsgsize(i64::try_from(wire_bytes).expect("frame limits are small numbers"))?;
    socket.set_ipv6(true)?;
    socket.set_handshake_ivl(limits::HANDSHAKE_MS)?;
    socket.set_heartbeat_ivl(5_000)?;
    socket.set_heartbeat_timeout(15_000)?;
    socket.set_reconnect_ivl(100)?;
    socket.set_reconnect_ivl_max(2_000)
}

pub(super) fn monitor(context: &zmq::Context, socket: &Socket) -> Result<Socket, ClientError> {
    let events = [
        SocketEvent::CONNECTED,
        SocketEvent::CLOSED,
        SocketEvent::DISCONNECTED,
        SocketEvent::HANDSHAKE_SUCCEEDED,
        SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
        SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
        SocketEvent::HANDSHAKE_FAILED_AUTH,
    ];
    monitor::watch(context, socket, &events).map_err(zmq_failed("watch a socket"))
}

/// Reads a monitor frame.
pub(super) fn link_event(frame: &[u8]) -> Option<LinkEvent> {
    let raw = monitor::raw_event(frame)?;
    let is = |event: SocketEvent| raw == event.to_raw();
    if is(SocketEvent::HANDSHAKE_SUCCEEDED) {
        Some(LinkEvent::Up)
    } else if is(SocketEvent::CONNECTED) {
        Some(LinkEvent::Connected)
    } else if is(SocketEvent::DISCONNECTED) {
        Some(LinkEvent::Down)
    } else if is(SocketEvent::CLOSED) {
        Some(LinkEvent::Refused)
    } else {
        Some(LinkEvent::HandshakeFailed)
    }
}

pub(super) fn wait(items: &mut [PollItem<'_>], wait_ms: i64) -> Result<(), ClientError> {
    match zmq::poll(items, wait_ms) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(source) => Err(zmq_failed("wait")(source)),
    }
}

pub(super) fn send_request(
    socket: &Socket,
    outgoing: &super::super::core::Outgoing,
) -> zmq::Result<()> {
    let more = zmq::DONTWAIT | zmq::SNDMORE;
    socket.send(&outgoing.id[..], more)?;
    match &outgoing.body {
        Some(body) => {
            socket.send(&outgoing.header[..], more)?;
            socket.send(&body[..], zmq::DONTWAIT)
        }
        None => socket.send(&outgoing.header[..], zmq::DONTWAIT),
    }
}

pub(super) fn receive(socket: &Socket) -> Result<Option<Vec<Vec<u8>>>, ClientError> {
    let mut frames = Vec::new();
    let came = receive_each(socket, |_, frame| frames.push(frame.to_vec()))?;
    Ok(came.then_some(frames))
}

/// Receives one message and shows its frames, each with its place. Says whether there was one.
pub(super) fn receive_each(
    socket: &Socket,
    mut show: impl FnMut(usize, &Message),
) -> Result<bool, ClientError> {
    for at in 0.. {
        match socket.recv_msg(zmq::DONTWAIT) {
            Ok(frame) => {
                show(at, &frame);
                if !frame.get_more() {
                    return Ok(true);
                }
            }
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => break,
            Err(source) => return Err(zmq_failed("receive")(source)),
        }
    }
    Ok(false)
}

pub(super) fn zmq_failed(deed: &'static str) -> impl Fn(zmq::Error) -> ClientError {
    move |source| ClientError::Zmq { deed, source }
}
