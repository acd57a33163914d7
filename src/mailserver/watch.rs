//! How the machine is: free disk space, and the memory this process holds.

use std::fs;
use std::path::PathBuf;

use crate::broker::server::{Probe, ServerError};
use crate::config::Config;

/// Watches what the settings name.
#[derive(Debug)]
pub(super) struct Watch {
    folder: PathBuf,
    config: Config,
    was_low: bool,
    memory_max: u64,
}

impl Watch {
    pub(super) fn new(config: &Config, folder: PathBuf) -> Self {
        let total = bytes_in("/proc/meminfo", "MemTotal:").unwrap_or(u64::MAX);
        Self {
            folder,
            config: config.clone(),
            was_low: false,
            memory_max: config.memory_max(total),
        }
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

/// Returns the bytes this process holds; nothing where the system does not tell.
fn held() -> Option<u64> {
    bytes_in("/proc/self/status", "VmRSS:")
}

/// Reads a line such as `VmRSS:   1234 kB`.
fn bytes_in(file: &str, label: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

impl Probe for Watch {
    fn disk_low(&mut self) -> bool {
        if let Ok(found) = rustix::fs::statvfs(&self.folder) {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let total = found.f_blocks.saturating_mul(found.f_frsize);
            let is_low = free < self.config.disk_reserve(total);
            if is_low != self.was_low {
                self.was_low = is_low;
                self.tell(free);
            }
        }
        self.was_low
    }

    fn memory(&mut self) -> Result<(), ServerError> {
        match held() {
            Some(held) if held > self.memory_max => Err(ServerError::Memory {
                held,
                most: self.memory_max,
            }),
            _ => Ok(()),
        }
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
            origin: String::new(),
        };
        let config = Config::from_layers([vec![setting]]).unwrap();
        Watch::new(&config, std::env::temp_dir())
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
        if held().is_some() {
            assert!(matches!(tight.memory(), Err(ServerError::Memory { .. })));
        }
    }
}
