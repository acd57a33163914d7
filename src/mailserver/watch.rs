//! How the machine is: free disk space, the memory this process holds, and its settings when they are read again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use sd_notify::NotifyState;

use super::run::tell_supervisor;
use super::settings::Rereading;
use crate::broker::io::Settings;
use crate::broker::server::{Probe, Reread, ServerError};
use crate::broker::window::Machine;
use crate::config::Config;

/// The store's folder in the data folder.
const STORE: &str = "store";

/// Watches what the settings name.
#[derive(Debug)]
pub(super) struct Watch {
    folder: PathBuf,
    config: Config,
    /// How the settings are read again; a test has none.
    rereading: Option<Rereading>,
    /// Settings that changed and wait for a restart.
    waiting: usize,
    /// Whether it was started at a terminal.
    at_terminal: bool,
    was_low: bool,
    memory_total: u64,
    /// What the system tells of this process. Kept open: when clients have taken every open file, the
    /// memory must be watched all the more.
    status: Option<File>,
    disk_free: Option<u64>,
}

impl Watch {
    pub(super) fn new(config: Config, folder: PathBuf, rereading: Option<Rereading>) -> Self {
        Self {
            folder,
            config,
            rereading,
            waiting: 0,
            at_terminal: has_terminal(),
            was_low: false,
            memory_total: memory_total().unwrap_or(u64::MAX),
            status: File::open("/proc/self/status").ok(),
            disk_free: None,
        }
    }

    /// Returns the bytes this process holds; nothing where the system does not tell.
    fn held(&self) -> Option<u64> {
        held_in(&text_of(self.status.as_ref()?).ok()?)
    }

    fn tell(&self, free: u64) {
        let folder = self.folder.display();
        if self.was_low {
            tracing::error!(%folder, free, "the disk is nearly full: no new mail is taken until there is room");
        } else {
            tracing::info!(%folder, free, "the disk has room again");
        }
    }
}

/// Returns the bytes of memory this machine has, if the system tells.
pub(super) fn memory_total() -> Option<u64> {
    bytes_in(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// Returns the bytes of the disk that a folder is to lie on, which need not be there yet.
pub(super) fn disk_total(folder: &Path) -> Option<u64> {
    let found = folder
        .ancestors()
        .map(|folder| match folder.to_str() {
            Some("") => Path::new("."),
            _ => folder,
        })
        .find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    Some(found.f_blocks.saturating_mul(found.f_frsize))
}

/// Says whether it has a terminal that is still there: of one that was closed nothing can be asked.
fn has_terminal() -> bool {
    use rustix::termios::tcgetattr;
    tcgetattr(io::stdin()).is_ok() || tcgetattr(io::stderr()).is_ok()
}

/// Adds up what the files of a folder take on disk; a store has a handful.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let entries = entries.filter_map(|entry| entry.ok()?.metadata().ok());
    entries.map(|found| found.blocks() * 512).sum()
}

/// Reads what the system says of a process: what lies in memory and what was swapped out, which is what
/// a flood has queued before anything else.
fn held_in(status: &str) -> Option<u64> {
    let swapped = bytes_in(status, "VmSwap:").unwrap_or(0);
    bytes_in(status, "VmRSS:")?.checked_add(swapped)
}

/// Reads a line such as `VmRSS:   1234 kB`.
fn bytes_in(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Reads a file that is open already from its beginning; the system makes its text anew each time.
fn text_of(file: &File) -> io::Result<String> {
    let mut text = vec![0; 4096];
    let length = file.read_at(&mut text, 0)?;
    text.truncate(length);
    String::from_utf8(text).map_err(io::Error::other)
}

impl Probe for Watch {
    fn disk_low(&mut self) -> bool {
        if let Ok(found) = rustix::fs::statvfs(&self.folder) {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let total = found.f_blocks.saturating_mul(found.f_frsize);
            self.disk_free = Some(free);
            let is_low = free < self.config.disk_reserve(total);
            if is_low != self.was_low {
                self.was_low = is_low;
                self.tell(free);
            }
        }
        self.was_low
    }

    fn disk_free(&self) -> Option<u64> {
        self.disk_free
    }

    fn memory(&mut self) -> Result<(), ServerError> {
        let most = self.config.memory_max(self.memory_total);
        match self.held() {
            Some(held) if held > most => Err(ServerError::Memory { held, most }),
            _ => Ok(()),
        }
    }

    fn machine(&mut self) -> Machine {
        Machine {
            memory_bytes: self.held().unwrap_or(0),
            memory_max_bytes: self.config.memory_max(self.memory_total),
            store_bytes: size_of(&self.folder.join(STORE)),
            disk_free_bytes: self.disk_free.unwrap_or(0),
            settings_waiting: self.waiting,
        }
    }

    fn reread(&mut self, now: Settings) -> Reread {
        // Whoever closes the terminal that a server was started at means its end.
        if self.at_terminal && !has_terminal() {
            return Reread::Stop;
        }
        let Some(rereading) = &self.rereading else {
            return Reread::Same;
        };
        // systemd wants the time with it, for Type=notify-reload.
        let began = NotifyState::monotonic_usec_now();
        tell_supervisor(
            &[NotifyState::Reloading]
                .into_iter()
                .chain(began.ok())
                .collect::<Vec<_>>(),
        );
        let waiting = rereading.take_over(&mut self.config);
        tell_supervisor(&[NotifyState::Ready]);
        match waiting {
            None => Reread::Same,
            Some(waiting) => {
                self.waiting = waiting;
                Reread::Settings(self.config.settings(now.admin_keys, now.live_port))
            }
        }
    }

    fn alive_every_ms(&self) -> Option<u64> {
        let within = sd_notify::watchdog_enabled()?;
        u64::try_from(within.as_millis() / 3).ok()
    }

    fn alive(&mut self) {
        tell_supervisor(&[NotifyState::Watchdog]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Key, Setting};

    fn watch(name: &str, value: &str) -> Watch {
        let setting = Setting {
            key: Key::find(name).unwrap(),
            value: value.to_owned(),
            origin: crate::config::Origin::Flag,
        };
        let config = Config::from_layers([vec![setting]]).unwrap();
        Watch::new(config, std::env::temp_dir(), None)
    }

    #[test]
    fn a_reserve_above_the_free_space_is_low() {
        assert!(watch("disk-reserve", "8000000 GiB").disk_low());
        assert!(!watch("disk-reserve", "0").disk_low());
    }

    #[test]
    fn p08_memory_has_a_bound() {
        assert!(watch("memory-max", "auto").memory().is_ok());
        let mut tight = watch("memory-max", "1 MiB");
        if tight.held().is_some() {
            assert!(matches!(tight.memory(), Err(ServerError::Memory { .. })));
        }
    }

    #[test]
    fn p08_what_is_swapped_out_is_held_too() {
        let status = "Name:\tmailserver\nVmRSS:\t      3 kB\nVmSwap:\t      4 kB\n";
        assert_eq!(held_in(status), Some(7 * 1024));
        assert_eq!(held_in("VmRSS: 3 kB\n"), Some(3 * 1024));
    }

    #[test]
    fn p08_memory_is_looked_at_anew_each_time() {
        let watch = watch("memory-max", "auto");
        let Some(before) = watch.held() else { return };
        let room = vec![1_u8; 32 << 20];
        let after = watch.held().unwrap();
        assert!(after > before + (16 << 20), "{before}, then {after}");
        assert_eq!(room[room.len() / 2], 1);
    }
}
