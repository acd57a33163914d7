//! A server under test: a child process in its own process group, with its own data directory.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, getpgid, kill_process_group, waitpgid};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where data directories are made; set BENCH_DATA to choose the disk.
pub fn data_root() -> PathBuf {
    std::env::var_os("BENCH_DATA")
        .map(PathBuf::from)
        .unwrap_or_else(std::env::temp_dir)
}

/// A fresh, empty directory that is removed when dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(tag: &str) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let unique = format!("bench-{tag}-{}-{now}", std::process::id());
        let dir = data_root().join(unique);
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Scratch(dir))
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os("BENCH_KEEP").is_none() {
            // What is left is in the folder for temporary files.
            fs::remove_dir_all(&self.0).ok();
        }
    }
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub fn binary(env: &str, default: &str) -> String {
    std::env::var(env).unwrap_or_else(|_| default.to_string())
}

/// First line of `program --version` (or the given arguments) that is not empty.
pub fn version_of(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output();
    match out {
        Ok(out) => {
            let text = [out.stdout, out.stderr].concat();
            String::from_utf8_lossy(&text)
                .lines()
                .find(|l| !l.trim().is_empty())
                .unwrap_or("unknown")
                .trim()
                .to_string()
        }
        Err(e) => format!("unknown ({e})"),
    }
}

pub struct Server {
    child: Option<Child>,
    helpers: Vec<Child>,
    pub scratch: Scratch,
    pub port: u16,
}

impl Server {
    pub fn new(tag: &str) -> Result<Self> {
        Ok(Server {
            child: None,
            helpers: Vec::new(),
            scratch: Scratch::new(tag)?,
            port: free_port()?,
        })
    }

    fn spawn_one(&self, mut cmd: Command) -> Result<Child> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.scratch.path().join("server.log"))?;
        cmd.stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .current_dir(self.scratch.path())
            .process_group(0);
        let what = format!("starting {:?}", cmd.get_program());
        cmd.spawn().context(what)
    }

    pub fn spawn(&mut self, cmd: Command) -> Result<()> {
        if self.child.is_some() {
            bail!("server already running");
        }
        self.child = Some(self.spawn_one(cmd)?);
        Ok(())
    }

    /// A companion process the server needs; it lives until this Server is dropped.
    pub fn spawn_helper(&mut self, cmd: Command) -> Result<()> {
        let child = self.spawn_one(cmd)?;
        self.helpers.push(child);
        Ok(())
    }

    pub fn running(&mut self) -> bool {
        match &mut self.child {
            Some(c) => matches!(c.try_wait(), Ok(None)),
            None => false,
        }
    }

    fn group(&self) -> Option<Pid> {
        self.child.as_ref().map(Pid::from_child)
    }

    /// Processes of the server's own process group.
    fn pids(&self) -> Vec<i32> {
        let Some(group) = self.group() else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let pid = name.to_string_lossy().parse().ok().and_then(Pid::from_raw);
            let of = pid.and_then(|pid| getpgid(Some(pid)).ok());
            if of == Some(group) {
                found.extend(pid.map(Pid::as_raw_pid));
            }
        }
        found
    }

    pub fn rss_bytes(&self) -> u64 {
        let mut total = 0;
        for pid in self.pids() {
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/status")) else {
                continue;
            };
            for line in text.lines() {
                if let Some(rest) = line.strip_prefix("VmRSS:") {
                    let kib: u64 = rest
                        .split_whitespace()
                        .next()
                        .and_then(|v| v.parse().ok())
                        .unwrap_or(0);
                    total += kib * 1024;
                }
            }
        }
        total
    }

    /// CPU seconds used so far by the server's processes.
    pub fn cpu(&self) -> f64 {
        let tick = rustix::param::clock_ticks_per_second() as f64;
        let mut total = 0.0;
        for pid in self.pids() {
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            let Some(after) = text.rsplit(')').next() else {
                continue;
            };
            let fields: Vec<&str> = after.split_whitespace().collect();
            let at = |i: usize| {
                fields
                    .get(i)
                    .and_then(|v| v.parse::<f64>().ok())
                    .unwrap_or(0.0)
            };
            total += (at(11) + at(12)) / tick;
        }
        total
    }

    pub fn disk_bytes(&self) -> u64 {
        disk_bytes(self.scratch.path())
    }

    /// Sends a signal to all of the server's processes.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = self.group() {
            // It may have ended by itself.
            kill_process_group(group, signal).ok();
        }
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            let group = Pid::from_child(&child);
            child.wait().ok();
            // Whatever the first process left in its group ends with it; this process is their
            // reaper (see main).
            kill_process_group(group, Signal::KILL).ok();
            while matches!(waitpgid(group, WaitOptions::empty()), Ok(Some(_))) {}
        }
    }

    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.reap();
    }

    /// SIGTERM, then SIGKILL if it has not gone within the limit.
    pub fn stop(&mut self, limit: Duration) {
        self.signal(Signal::TERM);
        let until = Instant::now() + limit;
        while self.running() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill9();
    }

    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.scratch.path().join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        for helper in &mut self.helpers {
            // It may have ended by itself.
            helper.kill().ok();
            helper.wait().ok();
        }
    }
}

/// Bytes of disk blocks in use below a directory (what `du` counts).
pub fn disk_bytes(dir: &Path) -> u64 {
    let mut total = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            total += disk_bytes(&entry.path());
        } else {
            total += meta.blocks() * 512;
        }
    }
    total
}
