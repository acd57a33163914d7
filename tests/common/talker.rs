//! A `mailctl` process that goes on: typed at, listened to, and waited for.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::PATIENCE;
use super::ctl::{Ctl, Run};

/// One side of a chat, or anything else that runs on.
pub struct Talker {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Talker {
    /// Starts `mailctl` with pipes on all sides.
    pub fn start(ctl: &Ctl, args: &[&str]) -> Self {
        Self::of(ctl.command(args))
    }

    /// Starts a command with pipes on all sides.
    pub fn of(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mailctl starts");
        Self {
            stdin: child.stdin.take(),
            out: lines(child.stdout.take().expect("stdout is a pipe")),
            err: lines(child.stderr.take().expect("stderr is a pipe")),
            child,
        }
    }

    /// Types a line.
    pub fn say(&mut self, line: &str) {
        self.type_bytes(format!("{line}\n").as_bytes());
    }

    /// Types any bytes.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(bytes).expect("stdin takes it");
    }

    /// Ends its stdin.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// Returns the next line of stdout.
    #[track_caller]
    pub fn line(&self) -> String {
        match self.out.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("no line: {error}; stderr: {:?}", self.notes()),
        }
    }

    /// Returns the next line of stderr that has `word` in it.
    #[track_caller]
    pub fn note(&self, word: &str) -> String {
        let mut passed = Vec::new();
        loop {
            match self.err.recv_timeout(PATIENCE) {
                Ok(note) if note.contains(word) => return note,
                Ok(note) => passed.push(note),
                Err(error) => panic!("no note with {word:?}: {error}; passed {passed:?}"),
            }
        }
    }

    /// Returns the next object of a kind on stdout.
    #[track_caller]
    pub fn object(&self, kind: &str) -> Value {
        self.object_within(kind, PATIENCE)
    }

    /// Returns the next object of a kind on stdout, for what takes its time.
    #[track_caller]
    pub fn object_within(&self, kind: &str, patience: Duration) -> Value {
        let mut passed = Vec::new();
        loop {
            match self.out.recv_timeout(patience) {
                Ok(line) => {
                    let object: Value = serde_json::from_str(&line).expect("stdout is JSON");
                    if object["kind"] == kind {
                        return object;
                    }
                    passed.push(line);
                }
                Err(error) => panic!(
                    "no {kind}: {error}; passed {passed:?}; stderr {:?}",
                    self.notes()
                ),
            }
        }
    }

    /// Returns what stderr has said so far.
    pub fn notes(&self) -> Vec<String> {
        self.err.try_iter().collect()
    }

    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the most memory it ever had in use, in bytes. It must still run.
    pub fn peak_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        let kib: usize = number.expect("VmHWM in kB").parse().expect("a number");
        kib * 1024
    }

    /// Sends a signal.
    pub fn signal(&self, which: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a child has a pid"), which).expect("a child takes signals");
    }

    /// Says whether it still runs.
    pub fn is_up(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    /// Waits for its end and returns what was not read yet.
    #[track_caller]
    pub fn end(mut self) -> Run {
        let deadline = Instant::now() + PATIENCE;
        while self.is_up() {
            if Instant::now() > deadline {
                drop(self.child.kill());
                panic!("it does not end; stderr: {:?}", self.notes());
            }
            super::pause(Duration::from_millis(5));
        }
        let code = self.child.wait().expect("it can be waited for").code();
        let rest = |lines: &Receiver<String>| lines.iter().map(|line| line + "\n").collect();
        Run {
            code: code.unwrap_or(-1),
            out: rest(&self.out),
            err: rest(&self.err),
        }
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads lines on a thread of their own, so that no pipe ever fills up.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    lines
}
