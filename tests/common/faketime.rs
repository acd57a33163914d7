//! A wall clock that is set while a program runs, by libfaketime; its monotonic clock goes on as it is.

use std::path::{Path, PathBuf};

/// A clock for one process, or several.
pub struct WallClock {
    library: PathBuf,
    file: PathBuf,
}

impl WallClock {
    /// Makes a clock that is right, if this machine has libfaketime.
    pub fn make(folder: &Path) -> Option<Self> {
        let libraries = std::fs::read_dir("/usr/lib").ok()?.flatten();
        let mut paths = libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
        let clock = Self {
            library: paths.find(|path| path.exists())?,
            file: folder.join("clock"),
        };
        clock.set("+0");
        Some(clock)
    }

    /// Sets the clock off by this much: `+365d`, `-1d`, `-1`.
    pub fn set(&self, offset: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).expect("a file for the clock");
        std::fs::rename(&new, &self.file).expect("a file for the clock");
    }

    /// Words in front of a program that give it this clock.
    pub fn words(&self) -> Vec<String> {
        let words = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ];
        words.to_vec()
    }
}
