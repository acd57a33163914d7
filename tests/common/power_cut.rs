//! A power cut: ext4 in a file, and a copy of that file taken while the writer stands still.
//!
//! What was not synced is in the kernel's memory and not in the copy, as if the plug had been pulled.
//! It models a disk without a volatile cache, the kindest there is: a loss here is a real loss.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// A file system of its own, mounted as long as this lives.
pub(crate) struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// Makes and mounts an empty one of `mib` MiB; the error says what this machine lacks.
    pub(crate) fn new(mib: u64) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let disk = Self { dir };
        File::create(disk.image())
            .and_then(|image| image.set_len(mib * 1024 * 1024))
            .map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").arg("-q").arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Returns where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    /// Returns what is left of it after a power cut now. Whoever writes to it must be stopped.
    pub(crate) fn cut(&self) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let copy = Self { dir };
        let mut cp = Command::new("cp");
        run(cp
            .arg("--sparse=always")
            .arg(self.image())
            .arg(copy.image()))?;
        copy.mount()?;
        Ok(copy)
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        std::fs::create_dir(self.path()).map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        run(mount
            .args(["-o", "loop"])
            .arg(self.image())
            .arg(self.path()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a writer that was killed a moment ago may still be going.
        let _unmounted = run(Command::new("umount").arg("-l").arg(self.path()));
    }
}

/// Stops a process between two instructions and returns when it stands.
pub(crate) fn stop(child: &Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::STOP).expect("the writer runs");
    waitpid(Some(pid), WaitOptions::UNTRACED).expect("the writer is our child");
}

/// Kills a process and waits for its end.
pub(crate) fn kill(child: &mut Child) {
    child.kill().expect("the writer is our child");
    child.wait().expect("the writer is our child");
}

/// Says that a test did not run here; with `CORREIO_NO_SKIP=1` that is a failure.
pub(crate) fn skip(test: &str, reason: &str) {
    assert!(
        std::env::var_os("CORREIO_NO_SKIP").is_none_or(|value| value != "1"),
        "{test} cannot be skipped: {reason}"
    );
    say(&format!("SKIPPED: {test}, {reason}"));
}

/// Writes a line past the capture of the test harness.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    let _told = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Says whether a power cut can be made here, and else why not.
pub(crate) fn possible() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err("needs loop devices".to_owned());
    }
    Disk::new(8).map(drop)
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if out.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&out.stderr);
    Err(format!("{name}: {}", why.trim()))
}
