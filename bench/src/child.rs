//! This program again, as a child process with a role: the far ends of limits, and idle clients.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::limits::{kv, zeromq};
use crate::targets::correio;

/// Entry of a child process (see `Helper`).
pub fn run(words: &[String]) -> Result<()> {
    let role = words.first().map(String::as_str).unwrap_or("");
    let rest = &words[1.min(words.len())..];
    match role.split('-').next() {
        Some("zmq") => zeromq::child(role, rest),
        Some("kv") => kv::child(role, rest),
        Some("correio") => correio::child(rest),
        _ => bail!("unknown child role {role}"),
    }
}

/// A child process; ended with SIGKILL when dropped.
pub struct Helper {
    child: Child,
    into: Option<ChildStdin>,
    out: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts one in the role that the words say.
    pub fn start(words: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("child")
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().context("no pipe")?);
        let into = child.stdin.take();
        Ok(Self { child, into, out })
    }

    /// Writes all of its standard input, and closes it.
    pub fn tell(&mut self, text: &str) -> Result<()> {
        let mut into = self.into.take().context("told twice")?;
        Ok(into.write_all(text.as_bytes())?)
    }

    /// Reads a line.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.out.read_line(&mut line)? == 0 {
            bail!("a child process ended early");
        }
        Ok(line.trim_end().to_string())
    }

    /// Reads the numbers of one line.
    pub fn numbers(&mut self) -> Result<Vec<f64>> {
        self.line()?
            .split_whitespace()
            .map(|w| w.parse().with_context(|| format!("not a number: {w}")))
            .collect()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
