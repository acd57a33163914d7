//! A disk that can lose its power: ext4 in a file on a loop device. A cut is a copy of the file made
//! while the server stands still: what was not synced is in the kernel's memory and not in the copy.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of a test disk; the file is sparse.
const BYTES: u64 = 256 * 1024 * 1024;

/// A mounted disk. Unmounted and removed when dropped.
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Makes and mounts a disk in a folder; says why where that is not possible.
    pub fn make(folder: &Path, name: &str) -> Result<Self, String> {
        let disk = Self::at(folder, name);
        let file = std::fs::File::create(&disk.image).map_err(|e| e.to_string())?;
        file.set_len(BYTES).map_err(|e| e.to_string())?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&disk.image))?;
        disk.mounted()
    }

    /// Copies what is on this disk and mounts the copy: the disk as it is after a power cut.
    pub fn after_a_cut(&self, folder: &Path, name: &str) -> Result<Self, String> {
        let copy = Self::at(folder, name);
        run(Command::new("cp")
            .arg("--sparse=always")
            .arg(&self.image)
            .arg(&copy.image))?;
        copy.mounted()
    }

    fn at(folder: &Path, name: &str) -> Self {
        let (image, mount) = (folder.join(format!("{name}.img")), folder.join(name));
        Self { image, mount }
    }

    fn mounted(self) -> Result<Self, String> {
        std::fs::create_dir_all(&self.mount).map_err(|e| e.to_string())?;
        // The journal's own clock is slowed down, so that little but what was asked for is synced.
        let options = "loop,commit=600";
        run(Command::new("mount")
            .args(["-o", options])
            .arg(&self.image)
            .arg(&self.mount))?;
        Ok(self)
    }

    /// Returns the folder it is mounted on.
    pub fn path(&self) -> &Path {
        &self.mount
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(why) = run(Command::new("umount").arg(&self.mount)) {
            println!("{} stays mounted: {why}", self.mount.display());
        }
        drop(std::fs::remove_file(&self.image));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or_else(said)
}
