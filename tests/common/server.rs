//! A real `mailserver` process in a folder of its own.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use correio::auth::keys::KeyPair;
use correio::protocol::url::ServerUrl;
use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, ports};

/// Where a server is now, shared with the clients that follow it through restarts.
#[derive(Debug)]
pub struct Place {
    url: Mutex<Option<ServerUrl>>,
    /// The address of this machine from which to connect, where it matters.
    source: Option<String>,
    ready: Condvar,
    generation: AtomicU64,
}

impl Place {
    /// Makes the place of a server that runs already.
    pub fn fixed(url: ServerUrl) -> Arc<Self> {
        let place = Arc::new(Self::empty());
        place.arrive(url);
        place
    }

    /// As `fixed`, for connections from one of this machine's addresses.
    pub fn fixed_from(url: ServerUrl, source: &str) -> Arc<Self> {
        let place = Self {
            source: Some(source.to_owned()),
            ..Self::empty()
        };
        place.arrive(url);
        Arc::new(place)
    }

    /// Returns the ZeroMQ endpoint of a server's port, with the address to connect from.
    pub fn endpoint(&self, url: &ServerUrl, port: u16) -> String {
        let endpoint = url.endpoint(port);
        match &self.source {
            Some(source) => endpoint.replacen("tcp://", &format!("tcp://{source}:0;"), 1),
            None => endpoint,
        }
    }

    fn empty() -> Self {
        Self {
            url: Mutex::new(None),
            source: None,
            ready: Condvar::new(),
            generation: AtomicU64::new(0),
        }
    }

    /// Returns how often a server became ready here.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Waits until a server is ready and returns its address and generation.
    pub fn wait(&self) -> (ServerUrl, u64) {
        let guard = self.url.lock().expect("no holder panics");
        let (guard, timeout) = self
            .ready
            .wait_timeout_while(guard, PATIENCE, |url| url.is_none())
            .expect("no holder panics");
        assert!(!timeout.timed_out(), "no server became ready");
        (guard.clone().expect("waited for it"), self.generation())
    }

    fn leave(&self) {
        *self.url.lock().expect("no holder panics") = None;
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn arrive(&self, url: ServerUrl) {
        let mut guard = self.url.lock().expect("no holder panics");
        *guard = Some(url);
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.ready.notify_all();
    }
}

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The data folder; its parent takes the log.
    pub data: PathBuf,
    /// Ports of the pool.
    pub chat_ports: u16,
    /// Further arguments, after the harness's own.
    pub args: Vec<String>,
    /// Words in front of the program, such as a tracer.
    pub wrapper: Vec<String>,
    /// The address it binds, in brackets where URLs want them.
    pub host: String,
}

impl Plan {
    /// Plans a server on loopback.
    pub fn loopback(data: PathBuf, chat_ports: u16) -> Self {
        Self {
            data,
            chat_ports,
            args: Vec::new(),
            wrapper: Vec::new(),
            host: "127.0.0.1".into(),
        }
    }
}

/// A running `mailserver`. Killed when dropped.
pub struct Server {
    child: Option<Child>,
    lines: Option<Receiver<String>>,
    temp: Option<tempfile::TempDir>,
    plan: Plan,
    first_port: u16,
    place: Arc<Place>,
}

impl Server {
    /// Starts a server with an empty data folder.
    pub fn start() -> Self {
        Self::start_with(4, &[])
    }

    /// Starts one with a pool of `chat_ports` ports and further arguments.
    pub fn start_with(chat_ports: u16, args: &[&str]) -> Self {
        let temp = tempfile::Builder::new()
            .prefix("correio-test-")
            .tempdir()
            .expect("a temporary folder");
        let mut plan = Plan::loopback(temp.path().join("data"), chat_ports);
        plan.args = args.iter().map(ToString::to_string).collect();
        let mut server = Self::planned(plan);
        server.temp = Some(temp);
        server
    }

    /// Starts one as planned, in a folder that the caller keeps.
    pub fn planned(plan: Plan) -> Self {
        let mut server = Self::unstarted(plan);
        server.restart();
        server
    }

    /// Plans one and starts nothing.
    pub fn unstarted(plan: Plan) -> Self {
        Self {
            child: None,
            lines: None,
            temp: None,
            first_port: ports::allot(plan.chat_ports + 2),
            plan,
            place: Arc::new(Place::empty()),
        }
    }

    /// Starts the process and does not wait for it.
    pub fn begin(&mut self) {
        assert!(self.child.is_none(), "stop it first");
        self.child = Some(self.command().spawn().expect("mailserver starts"));
    }

    /// Starts the process and kills it after a while, whatever it is at then. Says whether it was
    /// ready.
    pub fn start_killed(&mut self, after: Duration) -> bool {
        self.begin();
        super::pause(after);
        let mut child = self.child.take().expect("it was begun");
        drop(child.kill());
        let ended = child.wait_with_output().expect("it can be waited for");
        let code = ended.status.code();
        assert_eq!(code, None, "it ended by itself; it said:\n{}", self.log());
        !ended.stdout.is_empty()
    }

    /// Asks the process to stop and kills it after a while.
    pub fn stop_killed(&mut self, after: Duration) {
        self.place.leave();
        self.signal(Signal::TERM);
        super::pause(after);
        self.kill9();
    }

    /// Starts the process again on the same data and ports, and waits until it is ready.
    pub fn restart(&mut self) {
        self.restart_timed();
    }

    /// Does the same and returns the time from start to ready.
    pub fn restart_timed(&mut self) -> Duration {
        assert!(self.child.is_none(), "stop it first");
        let begin = Instant::now();
        let mut child = self.command().spawn().expect("mailserver starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        self.child = Some(child);
        let ready = lines.recv_timeout(PATIENCE * 4).is_ok();
        assert!(
            ready,
            "mailserver did not get ready; it said:\n{}",
            self.log()
        );
        let took = begin.elapsed();
        self.lines = Some(lines);
        let url = std::fs::read_to_string(self.url_file()).expect("server.url is there when ready");
        self.place
            .arrive(ServerUrl::parse(&url).expect("server.url holds an address"));
        took
    }

    fn command(&self) -> Command {
        let mut words = self.plan.wrapper.clone();
        words.push(env!("CARGO_BIN_EXE_mailserver").to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear();
        if let Some(filter) = std::env::var_os("CORREIO_LOG") {
            command.env("MAILSERVER_LOG", filter);
        }
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let log = self.log_file();
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log opens");
        let pool = self.first_port + 2;
        command
            .arg("--data-dir")
            .arg(&self.plan.data)
            .args(["--bind", &self.endpoint(self.first_port)])
            .args(["--live-bind", &self.endpoint(self.first_port + 1)])
            .args([
                "--chat-ports",
                &format!("{pool}-{}", pool + self.plan.chat_ports - 1),
            ])
            .args(self.http_off())
            .args(&self.plan.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log));
        command
    }

    /// Of many servers at once none may take a port that another was given.
    fn http_off(&self) -> &'static [&'static str] {
        let asked = self.plan.args.iter().any(|arg| arg == "--http");
        if asked { &[] } else { &["--http", "off"] }
    }

    fn endpoint(&self, port: u16) -> String {
        format!("tcp://{}:{port}", self.plan.host)
    }

    /// Changes the arguments of the next start.
    pub fn set_args(&mut self, args: &[&str]) {
        self.plan.args = args.iter().map(ToString::to_string).collect();
    }

    /// Changes the address that the next start binds.
    pub fn set_host(&mut self, host: &str) {
        host.clone_into(&mut self.plan.host);
    }

    /// Makes the next start use another data folder.
    pub fn move_to(&mut self, data: PathBuf) {
        self.plan.data = data;
    }

    /// Kills the process with SIGKILL.
    pub fn kill9(&mut self) {
        self.place.leave();
        if let Some(mut child) = self.child.take() {
            if !self.plan.wrapper.is_empty() {
                signal(self.inner_pid().unwrap_or(child.id()), Signal::KILL);
            }
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Asks the process to stop and returns how it ended and how long that took.
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.place.leave();
        let mut child = self.child.take().expect("it runs");
        let begin = Instant::now();
        let inner = self.inner_pid().filter(|_| !self.plan.wrapper.is_empty());
        signal(inner.unwrap_or(child.id()), Signal::TERM);
        let status = child.wait().expect("it can be waited for");
        (status, begin.elapsed())
    }

    /// Stops or continues the process.
    pub fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Returns the process id of the server itself when something wraps it.
    fn inner_pid(&self) -> Option<u32> {
        let text = std::fs::read(self.plan.data.join("server.json")).ok()?;
        let json: serde_json::Value = serde_json::from_slice(&text).ok()?;
        u32::try_from(json["pid"].as_u64()?).ok()
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Says whether the process still runs.
    pub fn is_up(&mut self) -> bool {
        let child = self.child.as_mut().expect("it was started");
        child.try_wait().expect("it can be asked").is_none()
    }

    /// Returns where it is, for clients that follow it.
    pub fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place)
    }

    /// Returns where it is now.
    pub fn url(&self) -> ServerUrl {
        self.place.wait().0
    }

    /// Returns the path of `server.url`.
    pub fn url_file(&self) -> PathBuf {
        self.plan.data.join("server.url")
    }

    /// Returns the data folder.
    pub fn data(&self) -> &Path {
        &self.plan.data
    }

    /// Returns the first admin key.
    pub fn admin_key(&self) -> KeyPair {
        KeyPair::load(&self.plan.data.join("admin.key")).expect("a server has an admin key")
    }

    /// Returns the ports of the pool.
    pub fn pool(&self) -> Vec<u16> {
        let first = self.first_port + 2;
        (first..first + self.plan.chat_ports).collect()
    }

    /// Returns the port of the live socket.
    pub fn live_port(&self) -> u16 {
        self.first_port + 1
    }

    /// Returns what it wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Returns its resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        rss_kib(self.pid())
    }

    fn log_file(&self) -> PathBuf {
        self.plan.data.with_extension("log")
    }
}

/// Returns a process's resident memory in KiB.
pub fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn signal(pid: u32, which: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // A child that ended meanwhile is signalled in vain.
    let _ = kill_process(pid.expect("a child has a pid"), which);
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            println!("the server's last words:");
            tail.iter().rev().for_each(|line| println!("  {line}"));
        }
    }
}

/// Returns the bytes that a folder's files take on disk.
pub fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |path: PathBuf| match File::open(&path).and_then(|file| file.metadata()) {
        Ok(meta) if meta.is_dir() => disk_bytes(&path),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| size(entry.path()))
        .sum()
}
