//! What the shell's tests stand on: a context with a ZAP handler, and clients good and bad.

use std::io::Write;
use std::net::TcpStream;

use super::zap::Zap;
use crate::auth::keys::KeyPair;
use crate::protocol::PublicKey;

/// A server's side without a server.
pub(super) struct Ground {
    pub(super) context: zmq::Context,
    pub(super) server: KeyPair,
    zap: Zap,
}

impl Ground {
    pub(super) fn new() -> Self {
        let context = zmq::Context::new();
        let zap = Zap::bind(&context).unwrap();
        Self {
            context,
            server: KeyPair::generate().unwrap(),
            zap,
        }
    }

    /// Waits until ZAP is asked or `socket` is readable; lets `known` onto the live socket.
    pub(super) fn serve_zap(&self, socket: &zmq::Socket, known: &[PublicKey]) {
        let mut items = [
            self.zap.socket().as_poll_item(zmq::POLLIN),
            socket.as_poll_item(zmq::POLLIN),
        ];
        assert_ne!(zmq::poll(&mut items, 10_000).unwrap(), 0, "something comes");
        self.zap.serve(16, |key| known.contains(key)).unwrap();
    }

    /// Connects a CURVE client that knows this server.
    pub(super) fn client(
        &self,
        kind: zmq::SocketType,
        keys: &KeyPair,
        endpoint: &str,
    ) -> zmq::Socket {
        curve_client(&self.context, kind, keys, &self.server.public, endpoint)
    }
}

/// Speaks no ZMTP at `endpoint`.
pub(super) fn raw_bytes(endpoint: &str) {
    let mut stream = TcpStream::connect(endpoint.trim_start_matches("tcp://")).unwrap();
    stream.write_all(&[0x47; 4_096]).unwrap();
}

/// Connects a CURVE client; it waits 10 s at most.
pub(super) fn curve_client(
    context: &zmq::Context,
    kind: zmq::SocketType,
    keys: &KeyPair,
    server: &PublicKey,
    endpoint: &str,
) -> zmq::Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(10_000).unwrap();
    socket.set_curve_publickey(&keys.public).unwrap();
    socket.set_curve_secretkey(keys.secret()).unwrap();
    socket.set_curve_serverkey(server).unwrap();
    socket.connect(endpoint).unwrap();
    socket
}
