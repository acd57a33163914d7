//! Correio: the `mailserver` of this repository as it is shipped, through the public client library.
//!
//! - `login`: a connection of one user that is logged in.
//! - `polled`: that connection under tokio.
//! - `sender`: mail by number, many unanswered at once; an answer counts when it says `fsync`.
//! - `receiver`: live notices, the gap rule, pages, acknowledgements and heartbeats.
//! - `idle`: clients that only listen, in processes of their own (W7).
//!
//! Everything runs on [`correio::client::connection`], the layer below `Session`: like the other peers'
//! clients it keeps nothing on its own disk. CURVE, registration and rights are on, and no setting of the
//! server is changed but its addresses.

mod idle;
mod login;
mod polled;
mod receiver;
mod sender;

use std::collections::HashMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use correio::auth::keys::KeyPair;
use correio::client::connection::{Connection, Sockets};
use correio::client::home::Place;

use crate::server::{Server, binary, free_port, version_of};
use crate::target::{Held, Mode, Receiver, Sender, Target};

pub use idle::child;
use login::{Login, Wishes};
use receiver::Acks;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Threads that register users: the server answers one request of a connection at a time.
const REGISTRARS: usize = 16;

/// The server under test, and who was registered there.
pub struct Correio {
    name: String,
    acks: Acks,
    program: String,
    live_port: u16,
    server: Server,
    clients: Clients,
}

/// What clients need: where the server is, and the keys of the users so far.
#[derive(Clone)]
struct Clients {
    data: PathBuf,
    port: u16,
    sockets: Sockets,
    people: Arc<Mutex<HashMap<String, KeyPair>>>,
    senders: Arc<AtomicU64>,
    /// It was seen to listen since it was started.
    is_up: Arc<AtomicBool>,
}

impl Correio {
    /// Names a server; nothing is started. With `acks` said, receivers acknowledge otherwise than the
    /// shipped library.
    pub fn new(name: &str, acks: Acks) -> Result<Self> {
        let server = Server::new(name)?;
        Ok(Self {
            name: name.into(),
            acks,
            program: binary("MAILSERVER", "mailserver"),
            live_port: free_port()?,
            clients: Clients::of(&server),
            server,
        })
    }

    /// Acknowledges each batch at once, for comparison.
    pub fn acknowledging_each(name: &str) -> Result<Self> {
        Self::new(name, Acks::Each)
    }

    /// Acknowledges as the shipped library does.
    pub fn shipped(name: &str) -> Result<Self> {
        Self::new(name, Acks::Shipped)
    }
}

impl Clients {
    fn of(server: &Server) -> Self {
        Self::at(server.scratch.path().join("data"), server.port)
    }

    fn at(data: PathBuf, port: u16) -> Self {
        Self {
            data,
            port,
            sockets: Sockets::default(),
            people: Arc::default(),
            senders: Arc::default(),
            is_up: Arc::default(),
        }
    }

    fn know(&self, user: &str, keys: KeyPair) {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        people.insert(user.to_owned(), keys);
    }

    /// Connects with a key. Says so at once when nobody listens, as the other peers' clients do: the
    /// library itself would wait for the server.
    fn connect(&self, keys: &KeyPair) -> Result<Connection> {
        if !self.is_up.load(Ordering::SeqCst) {
            TcpStream::connect(("127.0.0.1", self.port)).context("nobody listens")?;
            self.is_up.store(true, Ordering::SeqCst);
        }
        let place = Place::read(&self.data)?;
        Ok(Connection::open_on(&self.sockets, &place, keys, PATIENCE)?)
    }

    fn key_of(&self, user: &str) -> Result<KeyPair> {
        let people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        people.get(user).cloned().context("nobody of that name")
    }

    /// Registers a user with a key of its own.
    fn register(&self, user: &str) -> Result<Connection> {
        let keys = KeyPair::generate()?;
        let mut connection = self.connect(&keys)?;
        login::register(&mut connection, user)?;
        self.know(user, keys);
        Ok(connection)
    }

    /// Registers users, and has each join the topic.
    fn enroll(&self, users: &[String], topic: Option<&str>) -> Result<()> {
        for user in users {
            let connection = self.register(user)?;
            if topic.is_some() {
                let wishes = Wishes {
                    topic,
                    stream: false,
                };
                Login::new(connection, user, wishes)?.close()?;
            }
        }
        Ok(())
    }

    fn login(&self, user: &str, wishes: Wishes<'_>) -> Result<Login> {
        let connection = self.connect(&self.key_of(user)?)?;
        Login::new(connection, user, wishes)
    }
}

#[async_trait]
impl Target for Correio {
    fn peer(&self) -> String {
        self.name.clone()
    }

    fn version(&self) -> String {
        version_of(&self.program, &["--version"])
    }

    fn ack_means(&self) -> &'static str {
        match self.acks {
            Acks::Shipped => "fsynced; CURVE on; live mail acknowledged every second",
            Acks::Each => "fsynced; CURVE on; each batch acknowledged at once",
        }
    }

    fn fresh(&mut self) -> Result<()> {
        self.server = Server::new(&self.name)?;
        self.live_port = free_port()?;
        self.clients = Clients::of(&self.server);
        Ok(())
    }

    fn spawn(&mut self, _mode: Mode) -> Result<()> {
        self.clients.is_up.store(false, Ordering::SeqCst);
        let mut command = Command::new(&self.program);
        command
            .arg("--data-dir")
            .arg(&self.clients.data)
            .args(["--bind", &format!("tcp://127.0.0.1:{}", self.server.port)])
            .args([
                "--live-bind",
                &format!("tcp://127.0.0.1:{}", self.live_port),
            ]);
        self.server.spawn(command)
    }

    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    async fn ping(&self) -> Result<()> {
        self.clients.connect(&KeyPair::generate()?).map(drop)
    }

    async fn setup(&self, users: &[String], topic: Option<&str>) -> Result<()> {
        let share = users.len().div_ceil(REGISTRARS).max(1);
        let registrars: Vec<_> = users
            .chunks(share)
            .map(|users| {
                let (clients, users) = (self.clients.clone(), users.to_vec());
                let topic = topic.map(str::to_owned);
                tokio::task::spawn_blocking(move || clients.enroll(&users, topic.as_deref()))
            })
            .collect();
        for registrar in registrars {
            registrar.await??;
        }
        Ok(())
    }

    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        let nth = self.clients.senders.fetch_add(1, Ordering::Relaxed);
        let user = format!("sender{nth}");
        let wishes = Wishes {
            topic: None,
            stream: true,
        };
        let login = Login::new(self.clients.register(&user)?, &user, wishes)?;
        Ok(Arc::new(sender::CorreioSender::start(login)?))
    }

    async fn receiver(&self, user: &str, topic: Option<&str>) -> Result<Box<dyn Receiver>> {
        let wishes = Wishes {
            topic,
            stream: false,
        };
        let login = self.clients.login(user, wishes)?;
        Ok(Box::new(receiver::CorreioReceiver::start(
            login, self.acks,
        )?))
    }

    async fn hold_idle(&self, users: &[String]) -> Result<Held> {
        idle::hold(&self.clients, users)
    }
}
