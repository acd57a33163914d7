//! One side of a chat as a process: `mailctl --json chat`, or the Python example, which prints the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use correio::protocol::request::AdminWhat;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::client::RawClient;
use super::ctl::Ctl;
use super::server::Server;
use super::{PATIENCE, eventually};

/// One object it printed, and when.
#[derive(Debug, Clone)]
pub struct Heard {
    /// When it came.
    pub at: Instant,
    /// The object.
    pub object: Value,
}

/// A process that chats.
pub struct Talk {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    coming: Receiver<Heard>,
    seen: Vec<Heard>,
    err: Option<JoinHandle<String>>,
}

/// What a process that chatted left.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; -1 when it was killed.
    pub code: i32,
    /// Everything it printed.
    pub seen: Vec<Heard>,
    /// Standard error.
    pub err: String,
}

impl Talk {
    /// Starts a command whose stdin is said and whose stdout is objects.
    pub fn start(name: &str, mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let out = child.stdout.take().expect("stdout is a pipe");
        let mut errors = child.stderr.take().expect("stderr is a pipe");
        let (send, coming) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // A line cut short by a kill is none.
                let Ok(object) = serde_json::from_str(&line) else {
                    continue;
                };
                let at = Instant::now();
                if send.send(Heard { at, object }).is_err() {
                    break;
                }
            }
        });
        let err = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(errors.read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            coming,
            seen: Vec::new(),
            err: Some(err),
        }
    }

    /// Asks `user` for a chat.
    pub fn ask(ctl: &Ctl, user: &str) -> Self {
        Self::start(
            &format!("chat {user}"),
            ctl.command(&["--json", "chat", user]),
        )
    }

    /// Accepts the invitation of `user`.
    pub fn accept(ctl: &Ctl, user: &str) -> Self {
        let command = ctl.command(&["--json", "chat", "accept", user]);
        Self::start(&format!("accept {user}"), command)
    }

    /// Says one line.
    pub fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("it was not closed");
        writeln!(stdin, "{text}").expect("it reads its stdin");
    }

    /// Says lines.
    pub fn say_all(&mut self, texts: &[String]) {
        for text in texts {
            self.say(text);
        }
    }

    /// Says one line, unless the process takes no more.
    pub fn try_say(&mut self, text: &str) -> bool {
        let stdin = self.stdin.as_mut();
        stdin.is_some_and(|stdin| stdin.write_all(format!("{text}\n").as_bytes()).is_ok())
    }

    /// Hands out its stdin, for a thread that says much.
    pub fn mouth(&mut self) -> ChildStdin {
        self.stdin.take().expect("it was not closed")
    }

    /// Closes its stdin: it leaves when all was delivered.
    pub fn leave(&mut self) {
        self.stdin = None;
    }

    /// Waits for something it prints from now on.
    pub fn until(
        &mut self,
        what: &str,
        within: Duration,
        mut is_it: impl FnMut(&Value) -> bool,
    ) -> Heard {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.coming.recv_timeout(left) {
                Ok(heard) => {
                    self.seen.push(heard.clone());
                    if is_it(&heard.object) {
                        return heard;
                    }
                }
                Err(error) => self.fail(what, error),
            }
        }
    }

    fn fail(&mut self, what: &str, error: mpsc::RecvTimeoutError) -> ! {
        drop(self.child.kill());
        let err = self.err.take().map(|err| err.join().expect("it reads"));
        let tail: Vec<&Value> = self.seen.iter().rev().take(5).map(|h| &h.object).collect();
        panic!(
            "{}: {error:?} waiting for {what}; the last it said, newest first: {tail:?}; stderr: {}",
            self.name,
            err.unwrap_or_default()
        );
    }

    /// Waits for an object of a kind.
    pub fn kind(&mut self, kind: &str) -> Value {
        let heard = self.until(kind, PATIENCE, |object| object["kind"] == kind);
        heard.object
    }

    /// Waits for this line.
    pub fn line(&mut self, text: &str) {
        self.until(text, PATIENCE, |object| {
            object["kind"] == "line" && object["text"] == text
        });
    }

    /// Returns whether it printed anything of a kind yet; does not wait.
    pub fn has(&mut self, kind: &str) -> bool {
        self.seen.extend(self.coming.try_iter());
        self.seen.iter().any(|heard| heard.object["kind"] == kind)
    }

    /// Returns whether it showed this line yet; does not wait.
    pub fn has_shown(&mut self, text: &str) -> bool {
        self.seen.extend(self.coming.try_iter());
        self.seen.iter().any(|heard| heard.object["text"] == text)
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops or continues it.
    pub fn signal(&self, which: Signal) {
        kill_process(Pid::from_child(&self.child), which).expect("it runs");
    }

    /// Says whether the process still runs.
    pub fn is_up(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    /// Kills it with SIGKILL.
    pub fn kill9(mut self) -> Ended {
        drop(self.child.kill());
        self.end()
    }

    /// Waits for its end. Its stdin stays open as long.
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self
                .coming
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(heard) => self.seen.push(heard),
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    break self.child.wait().expect("it can be waited for");
                }
                Err(error) => self.fail("its end", error),
            }
        };
        let err = self.err.take().expect("taken once");
        Ended {
            code: status.code().unwrap_or(-1),
            seen: std::mem::take(&mut self.seen),
            err: err.join().expect("it reads"),
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Ended {
    /// Returns the lines it showed: seq and text, in order.
    pub fn lines(&self) -> Vec<(u64, String)> {
        let lines = self.seen.iter().map(|heard| &heard.object);
        lines
            .filter(|object| object["kind"] == "line")
            .map(|object| {
                let text = object["text"].as_str().expect("a line has a text");
                (
                    object["seq"].as_u64().expect("a line has a seq"),
                    text.to_owned(),
                )
            })
            .collect()
    }

    /// Returns the first object of a kind.
    pub fn find(&self, kind: &str) -> Option<&Heard> {
        self.seen.iter().find(|heard| heard.object["kind"] == kind)
    }

    /// Returns the kind of the last object.
    pub fn last(&self) -> &str {
        let last = self.seen.last().expect("it said something");
        last.object["kind"].as_str().expect("objects have a kind")
    }
}

/// Returns the leases that are held or offered.
pub fn lent(server: &Server) -> Vec<Value> {
    lent_by(&mut RawClient::admin(server))
}

/// Returns those of some users.
pub fn lent_to(admin: &mut RawClient, users: &[&str]) -> Vec<Value> {
    let mut rows = lent_by(admin);
    rows.retain(|row| users.iter().any(|user| row["user"] == *user));
    rows
}

fn lent_by(admin: &mut RawClient) -> Vec<Value> {
    let rows = admin.admin_rows(AdminWhat::LeaseLs, None);
    let mut rows = rows.expect("an admin may list leases");
    rows.retain(|row| {
        ["held", "offered"]
            .iter()
            .any(|state| row["state"] == *state)
    });
    rows
}

/// Waits until nobody has a port.
pub fn all_ports_are_back(server: &Server) {
    eventually("all ports back", || lent(server).is_empty().then_some(()));
}
