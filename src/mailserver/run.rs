//! A start and a stop, step by step.
//!
//! Folder, store (which also keeps a second server out), keys, sockets, core; then the word "ready"
//! in three forms; then the poll loop. Nothing is served before everything is restored.

use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::args::Call;
use super::folder::{Folder, Running};
use super::settings::Rereading;
use super::watch::Watch;
use super::{Failure, UNSEALED, log, note, say};
use crate::auth::keys::KeyPair;
use crate::broker::server::{Server, Sockets};
use crate::config::{self, Config, Endpoint, Http};
use crate::http::{Front, Hosts};
use crate::protocol::codes::exit;
use crate::protocol::url::ServerUrl;
use crate::store::sled::SledStore;
use crate::store::{Change, FORMAT, Snapshot, Store, StoreError};

/// Serves until a signal says stop.
pub(super) fn run(
    call: Call,
    config: Config,
    accept_loss: bool,
    accept_new_key: bool,
) -> Result<(), Failure> {
    let filter = log::start(&config)?;
    warn_of_variables();
    raise_open_files()?;
    let folder = Folder::open(&config.data_dir)?;
    let mut store = open_store(&folder, accept_loss)?;
    folder
        .withdraw()
        .map_err(|error| io_failure(&folder, &error))?;
    let snapshot = store.load()?;
    let keys = server_key(&folder, store.as_mut(), &snapshot, accept_new_key)?;
    let admin = folder.admin_key()?;
    let (request_port, live_port, http_port) = folder.remembered_ports();
    let sockets = Sockets::bind(&config, &keys, (request_port, live_port))?;
    let http = listen_http(&config, http_port)?;
    let running = describe(&config, &keys, &sockets, http.as_ref());
    let http_port = http.as_ref().map_or(0, |(_, at)| at.port());
    if picks_ports(&config) {
        folder
            .remember_ports(sockets.request_port, sockets.live_port, http_port)
            .map_err(|error| io_failure(&folder, &error))?;
    }
    if snapshot.server_key != Some(keys.public) {
        store.commit(&[Change::PutServerKey(keys.public)])?;
    }
    store.identify(folder.kept_files()?);
    let settings = config.settings(vec![admin.public], sockets.live_port);
    let hosts = hosts(&config);
    let rereading = Rereading::new(call, filter);
    let watch = Watch::new(config, folder.path().to_owned(), Some(rereading));
    let server = Server::start(settings, sockets, store, snapshot, Box::new(watch))?;
    server.heed_signals(&[SIGTERM, SIGINT], &[SIGHUP])?;
    let front = match http {
        Some((listener, _)) => Some(Front::start(listener, hosts, server.onlooker()?)?),
        None => None,
    };
    announce(&folder, &running)?;
    let ended = server.run();
    drop(front);
    tell_supervisor(&[NotifyState::Stopping]);
    folder
        .withdraw()
        .map_err(|error| io_failure(&folder, &error))?;
    ended?;
    tracing::info!("stopped");
    Ok(())
}

/// Makes the folder and the keys, and says what to do next.
pub(super) fn init(config: &Config) -> Result<(), Failure> {
    let folder = Folder::open(&config.data_dir)?;
    let keys = folder.server_key()?;
    folder.admin_key()?;
    let place = folder.path().display();
    say(&format!(
        "The data folder {place} is ready; the server's key is {}.\n\
         Next: mailserver run --data-dir {place}\n\
         Then, in another terminal: mailctl --server {place}/server.url login YOUR_NAME",
        hex::encode(keys.public)
    ));
    Ok(())
}

/// Reads the whole store and says what is in it and what is wrong.
pub(super) fn verify(config: &Config) -> Result<(), Failure> {
    let folder = Folder::existing(&config.data_dir)?;
    let report = folder.as_owner(|| SledStore::verify(folder.path()))?;
    let report = report.map_err(|error| refused(&folder, error))?;
    for (kind, count) in &report.records {
        say(&format!("{count} {kind}"));
    }
    say(&format!("{} bytes of bodies", report.body_bytes));
    for fault in &report.faults {
        say(&format!("FAULT: {fault}"));
    }
    if report.was_unsealed {
        note(UNSEALED);
    }
    let place = folder.path().display();
    folder.check_server_key(report.server_key)?;
    if report.is_whole() {
        say(&format!("The store in {place} is whole."));
        return Ok(());
    }
    Err(Failure {
        code: exit::IO,
        text: format!(
            "the store in {place} has {} faults; move the folder away and put a backup in its place: mailserver restore --data-dir {place} FILE",
            report.faults_total
        ),
    })
}

/// Opens the store, which also keeps a second server out of the folder.
fn open_store(folder: &Folder, accept_loss: bool) -> Result<Box<dyn Store>, Failure> {
    let opened = if accept_loss {
        SledStore::open_accepting_loss(folder.path())
    } else {
        SledStore::open(folder.path())
    };
    let store = opened.map_err(|error| refused(folder, error))?;
    if store.was_unsealed() && !accept_loss {
        tracing::warn!("{UNSEALED}");
    }
    if store.format() != FORMAT {
        let (from, to) = (store.format(), FORMAT);
        tracing::warn!(
            from,
            to,
            "the store gets another format with its first change: only a backup leads back"
        );
    }
    Ok(Box::new(store))
}

/// Returns the server's key pair: that of the server which the store belongs to, since with another no
/// client would know it again. One that is missing is made anew only where nobody knows it yet.
fn server_key(
    folder: &Folder,
    store: &mut dyn Store,
    snapshot: &Snapshot,
    accept_new: bool,
) -> Result<KeyPair, Failure> {
    if !folder.has_server_key() {
        if !accept_new && !snapshot.addresses.is_empty() {
            return Err(folder.without_key());
        }
        return new_server_key(folder, store);
    }
    let keys = folder.server_key()?;
    if !accept_new {
        folder.refuse_other_key(&keys, snapshot.server_key)?;
    }
    Ok(keys)
}

/// Makes a key, which the store knows before it has a file: after a crash in between it is made once more.
fn new_server_key(folder: &Folder, store: &mut dyn Store) -> Result<KeyPair, Failure> {
    let keys = KeyPair::generate()?;
    store.commit(&[Change::PutServerKey(keys.public)])?;
    folder.put_server_key(&keys)?;
    Ok(keys)
}

/// Names the server that holds the folder, where it has said who it is.
pub(super) fn refused(folder: &Folder, error: StoreError) -> Failure {
    let running = match &error {
        StoreError::InUse { .. } => folder.running(),
        _ => None,
    };
    let Some(running) = running else {
        return error.into();
    };
    Failure {
        code: exit::CANT_CREATE,
        text: format!(
            "a mailserver runs on {} already (pid {}, {}); use that one, stop it, or give this one a --data-dir of its own",
            folder.path().display(),
            running.pid,
            running.url
        ),
    }
}

/// Says whether a port is to be remembered that was picked for 0.
fn picks_ports(config: &Config) -> bool {
    let http = config.http_endpoint();
    config.bind.port == 0
        || config.live_endpoint().port == 0
        || http.is_some_and(|endpoint| endpoint.port == 0)
}

/// Listens for HTTP, on last time's port where one is to be picked. Where nobody asked for it, a port
/// that is taken is no reason not to serve mail.
fn listen_http(
    config: &Config,
    remembered: u16,
) -> Result<Option<(TcpListener, SocketAddr)>, Failure> {
    let Some(endpoint) = config.http_endpoint() else {
        return Ok(None);
    };
    let address = endpoint.socket_address();
    let again = SocketAddr::new(address.ip(), remembered);
    if address.port() == 0
        && remembered != 0
        && let Ok(bound) = Front::bind(again)
    {
        return Ok(Some(bound));
    }
    match Front::bind(address) {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if config.http == Http::Auto => {
            tracing::warn!(%error, "no HTTP: no health checks, metrics or dashboard");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Which names the HTTP side goes by: as many as can reach it.
fn hosts(config: &Config) -> Hosts {
    match config.http_endpoint() {
        Some(endpoint) if !endpoint.is_loopback() => Hosts::Any,
        _ => Hosts::Local,
    }
}

fn describe(
    config: &Config,
    keys: &KeyPair,
    sockets: &Sockets,
    http: Option<&(TcpListener, SocketAddr)>,
) -> Running {
    let url = ServerUrl {
        host: host(config, &config.bind),
        port: sockets.request_port,
        key: keys.public,
        code: None,
    };
    let live = Endpoint {
        host: host(config, &config.live_endpoint()),
        port: sockets.live_port,
    };
    let http = http.and_then(|(_, at)| {
        let endpoint = Endpoint {
            host: host(config, &config.http_endpoint()?),
            port: at.port(),
        };
        Some(endpoint.to_string().replacen("tcp://", "http://", 1))
    });
    Running {
        v: 1,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        url: url.to_string(),
        live: live.to_string(),
        http,
    }
}

/// The host clients are told.
pub(super) fn host(config: &Config, endpoint: &Endpoint) -> String {
    match &config.advertise {
        Some(host) => host.clone(),
        None if endpoint.is_wildcard() => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        None => endpoint.host.clone(),
    }
}

fn announce(folder: &Folder, running: &Running) -> Result<(), Failure> {
    folder
        .publish(running)
        .map_err(|error| io_failure(folder, &error))?;
    let http = running.http.as_deref().unwrap_or("off");
    say(&format!(
        "mailserver {} is ready: {} live={} http={http} data={}",
        running.version,
        running.url,
        running.live,
        folder.path().display()
    ));
    tell_supervisor(&[NotifyState::Ready]);
    Ok(())
}

pub(super) fn tell_supervisor(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot reach the supervisor");
    }
}

fn io_failure(folder: &Folder, error: &std::io::Error) -> Failure {
    Failure {
        code: exit::IO,
        text: format!("cannot write in {}: {error}", folder.path().display()),
    }
}

/// A misspelt variable sets nothing: better to say so than to wonder.
fn warn_of_variables() {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in config::unknown_variables(names) {
        tracing::warn!(%name, "no setting has this variable");
    }
}

/// Open files without which a server is not started: what it needs itself, and some clients.
pub(super) const OPEN_FILES_MIN: u64 = 256;

/// Open files below which it is worth a word: a client that listens takes two.
pub(super) const OPEN_FILES_FEW: u64 = 4_096;

/// Returns how many files a process may open here at most.
pub(super) fn open_files_most() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Every connection is an open file: take as many as the system gives, and say when they are few. With
/// none left no client gets in, and the store cannot open what it needs.
fn raise_open_files() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if files < OPEN_FILES_MIN {
        return Err(Failure {
            code: exit::CONFIG,
            text: format!(
                "this process may open {files} files, and a server needs at least {OPEN_FILES_MIN}: two for \
                 each client that listens; raise the hard limit (ulimit -Hn, or LimitNOFILE= of systemd)"
            ),
        });
    }
    if files < OPEN_FILES_FEW {
        tracing::warn!(files, "few open files: each client that listens takes two");
    }
    Ok(())
}
