//! The connection against a fake server that a test can make silent, late or wrong.

use super::*;
use crate::protocol::url::ServerUrl;

/// A server that says hello, with its clock where the test wants it, and answers nothing else.
struct Fake {
    socket: Socket,
    place: Place,
    keys: KeyPair,
    now: String,
}

impl Fake {
    fn new(now: &str) -> Self {
        let keys = KeyPair::generate().unwrap();
        let socket = zmq::Context::new().socket(zmq::ROUTER).unwrap();
        socket.set_curve_server(true).unwrap();
        socket.set_curve_publickey(&keys.public).unwrap();
        socket.set_curve_secretkey(keys.secret()).unwrap();
        socket.set_linger(0).unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = socket.get_last_endpoint().unwrap().unwrap();
        let port = endpoint.rsplit(':').next().unwrap().parse().unwrap();
        let place = Place {
            url: ServerUrl {
                host: "127.0.0.1".to_owned(),
                port,
                key: keys.public,
                code: None,
            },
            source: None,
        };
        Self {
            socket,
            place,
            keys,
            now: now.to_owned(),
        }
    }

    fn hello(&self) -> Vec<u8> {
        reply::encode(&reply::Hello {
            version: VERSION,
            server: "fake".to_owned(),
            incarnation: 1,
            features: Vec::new(),
            live_port: 1,
            registration: "open".to_owned(),
            user: None,
            device: None,
            session_present: false,
            now: self.now.clone(),
            limits: reply::Limits {
                frame_bytes: 65_536,
                body_bytes: 1,
                recipients: 1,
                window: 1,
                page_mails: 1,
                heartbeat_ms: 5_000,
            },
        })
    }

    /// Serves hellos until one of another kind came, and returns that.
    fn serve(&self) -> Vec<Vec<u8>> {
        loop {
            let frames = self.socket.recv_multipart(0).unwrap();
            if !matches!(Request::decode(&frames[2]), Ok(Request::Hello(_))) {
                return frames;
            }
            let reply = [frames[0].clone(), frames[1].clone(), self.hello()];
            self.socket.send_multipart(reply, 0).unwrap();
        }
    }
}

fn open(place: &Place, patience_ms: u64) -> Result<Connection, ClientError> {
    let keys = KeyPair::generate().unwrap();
    Connection::open(place, &keys, Duration::from_millis(patience_ms))
}

fn close() -> Request {
    Request::Close(request::Close {
        session: "x".to_owned(),
    })
}

#[test]
fn a_server_that_stays_silent_is_told_from_one_that_is_not_there() {
    let fake = Fake::new("2001-01-01T00:00:00Z");
    let place = fake.place.clone();
    let server = std::thread::spawn(move || (fake.serve(), fake));
    let mut connection = open(&place, 10_000).unwrap();
    assert!(connection.clock_skew().unwrap() > chrono::Duration::days(365));
    let deadline_ms = connection.now_ms() + 300;
    let silent = connection.call::<reply::Done>(&close(), None, deadline_ms);
    let silent = silent.unwrap_err();
    assert!(silent.tried);
    assert!(
        matches!(silent.error, ClientError::NoAnswer { verb: "close", .. }),
        "{:?}",
        silent.error
    );
    let (_, fake) = server.join().unwrap();
    drop(fake);
    let deadline_ms = connection.now_ms() + 500;
    let gone = connection.call::<reply::Done>(&close(), None, deadline_ms);
    assert!(matches!(
        gone.unwrap_err().error,
        ClientError::Unreachable { .. } | ClientError::NoAnswer { .. }
    ));
}

#[test]
fn a_late_reply_is_not_taken_for_another() {
    let fake = Fake::new("2001-01-01T00:00:00Z");
    let place = fake.place.clone();
    let server = std::thread::spawn(move || {
        let mut late = fake.serve();
        let second = fake.serve();
        late.truncate(2);
        late.push(br#"{"ok":true,"durability":"late"}"#.to_vec());
        fake.socket.send_multipart(late, 0).unwrap();
        let answer = br#"{"ok":true,"durability":"fsync"}"#.to_vec();
        let reply = [second[0].clone(), second[1].clone(), answer];
        fake.socket.send_multipart(reply, 0).unwrap();
        fake
    });
    let mut connection = open(&place, 10_000).unwrap();
    let deadline_ms = connection.now_ms() + 200;
    assert!(
        connection
            .call::<reply::Done>(&close(), None, deadline_ms)
            .is_err()
    );
    let deadline_ms = connection.now_ms() + 10_000;
    let answer = connection.call::<reply::Done>(&close(), None, deadline_ms);
    assert_eq!(answer.unwrap().0.durability, "fsync");
    drop(server.join().unwrap());
}

#[test]
fn another_key_is_said_and_nobody_is_said() {
    let fake = Fake::new("2001-01-01T00:00:00Z");
    let mut place = fake.place.clone();
    place.url.key = KeyPair::generate().unwrap().public;
    let wrong = open(&place, 5_000).unwrap_err();
    assert!(matches!(wrong, ClientError::WrongServer { .. }), "{wrong}");
    let place = fake.place.clone();
    let Fake { socket, keys, .. } = fake;
    drop((socket, keys));
    let gone = open(&place, 500).unwrap_err();
    assert!(matches!(gone, ClientError::Unreachable { .. }), "{gone}");
}

#[test]
fn something_else_that_listens_is_no_server_of_ours() {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut place = Fake::new("").place;
    place.url.port = listener.local_addr().unwrap().port();
    // Ends with the process: it cannot know how often the client comes.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").ok();
        }
    });
    let wrong = open(&place, 2_000).unwrap_err();
    assert!(
        matches!(
            wrong,
            ClientError::WrongServer { .. } | ClientError::NoAnswer { verb: "hello", .. }
        ),
        "{wrong}"
    );
}

#[test]
fn polled_connections_share_their_sockets_and_never_wait() {
    const CONNECTIONS: usize = 3;
    let fake = Fake::new("2001-01-01T00:00:00Z");
    let place = fake.place.clone();
    let server = std::thread::spawn(move || {
        for _ in 0..CONNECTIONS {
            let asked = fake.serve();
            let answer = br#"{"ok":true,"durability":"fsync"}"#.to_vec();
            let reply = [asked[0].clone(), asked[1].clone(), answer];
            fake.socket.send_multipart(reply, 0).unwrap();
        }
        fake
    });
    let sockets = Sockets::default();
    let open = |_| {
        let keys = KeyPair::generate().unwrap();
        Connection::open_on(&sockets, &place, &keys, Duration::from_secs(10)).unwrap()
    };
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(open).collect();
    assert!(
        connections
            .iter()
            .all(|one| Arc::ptr_eq(&one.context, &connections[0].context))
    );
    let asked: Vec<RequestNumber> = connections
        .iter_mut()
        .map(|one| one.submit(&close(), None))
        .collect();
    for (connection, number) in connections.iter_mut().zip(asked) {
        let mut due_ms = connection.turn().unwrap();
        assert!(
            due_ms <= connection.now_ms() + REPEAT_AFTER_MS,
            "without a reply it is asked again"
        );
        while connection.answered().is_none() {
            let fds = connection.fds().unwrap();
            let mut items: Vec<_> = fds
                .iter()
                .map(|fd| PollItem::from_fd(*fd, PollEvents::POLLIN))
                .collect();
            let wait_ms = due_ms.saturating_sub(connection.now_ms()).min(10_000);
            zmq::poll(&mut items, wait_ms.try_into().unwrap()).unwrap();
            due_ms = connection.turn().unwrap();
        }
        assert_eq!(connection.answered(), Some(number));
        let answer = connection.answer::<reply::Done>(number, "close");
        assert_eq!(answer.unwrap().unwrap().0.durability, "fsync");
        assert!(connection.answer::<reply::Done>(number, "close").is_none());
    }
    drop(server.join().unwrap());
}

#[test]
fn sockets_open_another_context_when_one_is_full() {
    let sockets = Sockets::default();
    let seats: Vec<_> = (0..251).map(|_| sockets.seat()).collect();
    assert!(Arc::ptr_eq(&seats[0], &seats[249]));
    assert!(!Arc::ptr_eq(&seats[0], &seats[250]));
    drop(seats);
    let contexts = sockets.contexts.lock().unwrap().len();
    let again = sockets.seat();
    assert!(
        Arc::strong_count(&again) == 2 && contexts == 2,
        "room is used again"
    );
}

#[test]
fn a_connection_that_is_given_up_stops_none_that_shares_its_sockets() {
    let fake = Fake::new("2001-01-01T00:00:00Z");
    let (place, mut nobody) = (fake.place.clone(), fake.place.clone());
    nobody.url.port = 1;
    std::thread::spawn(move || fake.serve());
    let sockets = Sockets::default();
    let keys = KeyPair::generate().unwrap();
    for _ in 0..300 {
        Connection::open_on(&sockets, &nobody, &keys, Duration::ZERO).unwrap_err();
    }
    Connection::open_on(&sockets, &place, &keys, Duration::from_secs(20)).unwrap();
}

/// Takes every place a context has left.
fn fill(context: &zmq::Context) -> Vec<Socket> {
    let mut taken = Vec::new();
    loop {
        match context.socket(zmq::PAIR) {
            Ok(socket) => taken.push(socket),
            Err(error) => {
                assert_eq!(error, zmq::Error::EMFILE);
                return taken;
            }
        }
    }
}

#[test]
fn a_context_without_a_place_left_makes_room_in_another() {
    let fake = Fake::new("2001-01-01T00:00:00Z");
    let place = fake.place.clone();
    std::thread::spawn(move || fake.serve());
    let sockets = Sockets::default();
    let keys = KeyPair::generate().unwrap();
    let _taken = fill(&sockets.seat());
    let mut connection =
        Connection::open_on(&sockets, &place, &keys, Duration::from_secs(20)).unwrap();
    let _taken = fill(&connection.context);
    connection.open_live().unwrap();
    assert!(connection.subscribe([1; KEY_BYTES]).unwrap());
}
