//! libzmq's monitor of a socket: what happens to its connections. Decides nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use zmq::{Context, Socket, SocketEvent};

/// Tells the watched sockets of a context apart.
static WATCHED: AtomicU64 = AtomicU64::new(0);

/// Watches `events` of a socket. They are read from the socket returned, with [`raw_event`]. Before that is
/// closed, [`unwatch`] is due.
pub(crate) fn watch(
    context: &Context,
    socket: &Socket,
    events: &[SocketEvent],
) -> zmq::Result<Socket> {
    let mask = events
        .iter()
        .fold(0, |mask, event| mask | i32::from(event.to_raw()));
    let endpoint = fresh_endpoint();
    socket.monitor(&endpoint, mask)?;
    let monitor = context.socket(zmq::PAIR)?;
    monitor.set_linger(0)?;
    monitor.connect(&endpoint)?;
    Ok(monitor)
}

/// Ends the watch. A closed socket has events until libzmq's thread has cleared it away, and where nobody
/// takes them any more that thread waits for ever (seen in 4.3.4), and with it all sockets of the context.
pub(crate) fn unwatch(socket: &Socket) {
    // The binding cannot ask for none at all. Where this fails the old watch has ended all the same.
    socket.monitor(&fresh_endpoint(), 0).ok();
}

fn fresh_endpoint() -> String {
    let nth = WATCHED.fetch_add(1, Ordering::Relaxed);
    format!("inproc://monitor-{nth}")
}

/// Reads a monitor frame: the event in two bytes of this machine's order, then a value. Raw, because
/// the events of a newer libzmq are none of [`SocketEvent`]'s.
pub fn raw_event(frame: &[u8]) -> Option<u16> {
    let raw: [u8; 2] = frame.get(..2)?.try_into().ok()?;
    #[expect(
        clippy::host_endian_bytes,
        reason = "libzmq writes monitor events in the order of the machine"
    )]
    let raw = u16::from_ne_bytes(raw);
    Some(raw)
}
