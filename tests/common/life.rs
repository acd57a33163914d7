//! A `mailserver` that may fail to start and may end by itself, and what its end looked like.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use correio::protocol::url::ServerUrl;
use rustix::process::{Pid, Signal, kill_process};

use super::pause;
use super::server::{Place, rss_kib};

/// Exit codes with which a server may end when something around it failed: bug (70) is not one.
const CODES: [i32; 5] = [0, 73, 74, 75, 78];

/// How long a start or an end may take.
pub const LIFE_MAX: Duration = Duration::from_secs(20);

/// A process on a data folder.
pub struct Life {
    child: Child,
    stdout: Receiver<String>,
    /// All it said, once it has ended.
    stderr: Option<JoinHandle<String>>,
    /// Where it is; known once it was ready.
    url: Option<ServerUrl>,
    begun: Instant,
    rss_most_kib: u64,
}

/// How a process ended.
#[derive(Debug, Clone)]
pub struct End {
    /// Its exit status.
    pub status: ExitStatus,
    /// All it wrote to standard error.
    pub said: String,
}

impl Life {
    /// Starts `mailserver` with `words` in front of it and `args` behind, on ports of its own choice.
    pub fn begin(data: &Path, words: &[String], args: &[&str]) -> Self {
        let mut all = words.to_vec();
        all.push(env!("CARGO_BIN_EXE_mailserver").to_owned());
        let mut command = Command::new(&all[0]);
        command
            .args(&all[1..])
            .args(["--bind", "tcp://127.0.0.1:0", "--chat-ports", "5600-5699"])
            .args(args)
            .arg("--data-dir")
            .arg(data);
        Self::of(command)
    }

    /// Starts a command of the caller's.
    pub fn of(mut command: Command) -> Self {
        command.env_clear().env("MAILSERVER_LOG", "error");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mailserver starts");
        let mut stderr = child.stderr.take().expect("stderr is a pipe");
        let said = std::thread::spawn(move || {
            let mut said = Vec::new();
            stderr.read_to_end(&mut said).expect("a pipe can be read");
            String::from_utf8_lossy(&said).into_owned()
        });
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                drop(send.send(line));
            }
        });
        Self {
            child,
            stdout: lines,
            stderr: Some(said),
            url: None,
            begun: Instant::now(),
            rss_most_kib: 0,
        }
    }

    /// Waits until it is ready; says no when it ended instead.
    pub fn is_ready(&mut self) -> bool {
        loop {
            match self.stdout.recv_timeout(Duration::from_millis(20)) {
                Ok(line) => {
                    let word = line
                        .split_whitespace()
                        .find(|word| word.starts_with("correio://"));
                    if let Some(word) = word {
                        self.url = Some(ServerUrl::parse(word).expect("an address"));
                        return true;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {
                    if self.has_ended() {
                        return false;
                    }
                    self.check_age();
                }
            }
        }
    }

    fn check_age(&mut self) {
        self.rss_most_kib = self.rss_most_kib.max(rss_kib(self.child.id()));
        if self.begun.elapsed() > LIFE_MAX {
            self.child.kill().expect("it runs");
            panic!("it neither goes on nor ends; it said:\n{}", self.said());
        }
    }

    /// Says whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_some()
    }

    /// Returns where it is.
    pub fn place(&self) -> Arc<Place> {
        Place::fixed(self.url.clone().expect("it was ready"))
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the most memory it was seen with, in KiB.
    pub fn rss_most_kib(&mut self) -> u64 {
        self.rss_most_kib = self.rss_most_kib.max(rss_kib(self.child.id()));
        self.rss_most_kib
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(self) -> End {
        let pid = Pid::from_child(&self.child);
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
        self.end()
    }

    /// Waits for its end.
    pub fn end(mut self) -> End {
        self.begun = Instant::now();
        while !self.has_ended() {
            self.check_age();
            pause(Duration::from_millis(2));
        }
        let status = self.child.wait().expect("it ended");
        End {
            status,
            said: self.said(),
        }
    }

    fn said(&mut self) -> String {
        let said = self.stderr.take().map(JoinHandle::join);
        said.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl End {
    /// Returns the exit code of a clean end: 0, or one that says what kind of thing failed and comes
    /// with one last line about it. Anything else is an error: a signal, a bug, a trace.
    pub fn judged(&self) -> Result<i32, String> {
        let wrong = |how: &str| Err(format!("{how}: {}; it said:\n{}", self.status, self.said));
        let Some(code) = self.status.code() else {
            return wrong("it was killed");
        };
        if !CODES.contains(&code) {
            return wrong("such an end is a bug");
        }
        for word in ["panicked", "backtrace", "a bug stopped", "Assertion"] {
            if self.said.contains(word) {
                return wrong("it left a trace");
            }
        }
        let complaints: Vec<&str> = self
            .said
            .lines()
            .filter(|line| line.starts_with("mailserver: "))
            .collect();
        let last = self.said.lines().last().unwrap_or_default();
        match (code, complaints.as_slice()) {
            (0, []) => Ok(0),
            (1.., [one]) if *one == last => Ok(code),
            _ => wrong("its last line is not its one complaint"),
        }
    }

    /// Returns the one line of complaint.
    pub fn complaint(&self) -> &str {
        self.said.lines().last().unwrap_or_default()
    }
}

/// Runs `mailserver verify` and returns what it printed and how it ended.
pub fn verify(data: &Path) -> (String, End) {
    let output = Command::new(env!("CARGO_BIN_EXE_mailserver"))
        .env_clear()
        .args(["verify", "--data-dir"])
        .arg(data)
        .output()
        .expect("mailserver starts");
    let end = End {
        status: output.status,
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    (String::from_utf8_lossy(&output.stdout).into_owned(), end)
}
