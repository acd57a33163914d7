//! `mailctl` processes with a home of their own and nothing else in their environment.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::server::Server;

/// One device's home and the server it talks to.
#[derive(Debug, Clone)]
pub struct Ctl {
    home: PathBuf,
    server: PathBuf,
    wrapper: Vec<String>,
}

/// What a `mailctl` run left.
#[derive(Debug)]
pub struct Run {
    /// Exit code; -1 when it was killed.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ctl {
    /// Returns the device whose home lies in `folder`.
    pub fn new(server: &Server, folder: &Path) -> Self {
        Self {
            home: folder.to_owned(),
            server: server.url_file(),
            wrapper: Vec::new(),
        }
    }

    /// Puts words in front of the program, such as what runs it on another host.
    pub fn wrapped(mut self, words: &[String]) -> Self {
        self.wrapper = words.to_vec();
        self
    }

    /// Talks to the server at this address or file.
    pub fn at(mut self, server: &Path) -> Self {
        server.clone_into(&mut self.server);
        self
    }

    /// Returns the home's folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Returns a command with the global options in place.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut words = self.wrapper.clone();
        words.push(env!("CARGO_BIN_EXE_mailctl").to_owned());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("HOME", &self.home)
            .arg("--server")
            .arg(&self.server)
            .arg("--home")
            .arg(&self.home)
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end.
    pub fn run(&self, args: &[&str]) -> Run {
        Run::from(self.command(args).output().expect("mailctl starts"))
    }

    /// Runs to the end and expects exit code 0.
    pub fn ok(&self, args: &[&str]) -> Run {
        let run = self.run(args);
        assert_eq!(run.code, 0, "mailctl {args:?}: {}{}", run.out, run.err);
        run
    }

    /// Starts it with its output in pipes.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mailctl starts")
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Run {
    /// Returns the JSON objects of standard output; a line cut short by a kill is left out.
    pub fn objects(&self) -> Vec<Value> {
        self.out
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}
