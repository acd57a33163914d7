//! What of the machine itself a server needs: its clock, memory, disk, and files that are its own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::statvfs;
use rustix::process::geteuid;

use super::Report;
use crate::config::Config;
use crate::mailserver::watch;
use crate::protocol::codes::exit;

/// A clock before 2025 was never set.
const CLOCK_FROM_S: u64 = 1_735_689_600;

/// Seconds by which a file of the folder may be newer than now.
const CLOCK_SLACK_S: u64 = 60;

/// File systems of other machines, on which locks and syncs are not what they are here.
const REMOTE: [&str; 8] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "ceph",
    "glusterfs",
    "fuse.sshfs",
];

/// What others may read in the data folder.
const OPEN_FILES: [&str; 2] = ["server.url", "server.json"];

#[expect(
    clippy::disallowed_methods,
    reason = "the machine's clock is what is looked at"
)]
pub(super) fn clock(report: &mut Report, folder: &Path) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now.map_or(0, |now| now.as_secs());
    let advice =
        "set the clock, and let chrony or systemd-timesyncd keep it: mails say when they were sent";
    // Written at each start and stop, and now and then between.
    let newest = fs::metadata(folder.join("seal")).ok();
    let newest_s = newest.and_then(|seal| u64::try_from(seal.mtime()).ok());
    if now_s < CLOCK_FROM_S {
        report.fail("clock", exit::CONFIG, "it was never set", advice);
    } else if let Some(ahead_s) = newest_s
        .and_then(|newest_s| newest_s.checked_sub(now_s))
        .filter(|ahead_s| *ahead_s > CLOCK_SLACK_S)
    {
        let text =
            format!("the server was written to {ahead_s} seconds from now: the clock went back");
        report.warn("clock", text, advice);
    } else {
        let text = crate::protocol::time::to_text(i64::try_from(now_s).unwrap_or(0) * 1000);
        report.ok("clock", text);
    }
}

pub(super) fn memory(report: &mut Report, config: &Config) {
    let Some(total) = watch::memory_total() else {
        return report.ok("memory", "this system does not tell how much it has");
    };
    let most = config.memory_max(total);
    // The first line of a container's own limit.
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let room = group
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(total);
    let text = format!("the server may take {} of {}", amount(most), amount(room));
    if most > room {
        report.warn(
            "memory",
            text,
            "set memory-max below that: the system would kill it without a word",
        );
    } else {
        report.ok("memory", text);
    }
}

/// Says which kind of file system the folder lies on, by the longest place in the system's list.
pub(super) fn file_system(report: &mut Report, folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let whole = whole.canonicalize().unwrap_or(whole);
    let Some((place, kind)) = mounted_at(&mounts, &whole) else {
        return report.ok("disk", "this system does not tell what the folder lies on");
    };
    let text = format!("{} lies on {kind} at {place}", folder.display());
    if REMOTE.contains(&kind) || kind.starts_with("fuse.") {
        report.warn(
            "disk",
            text,
            "use a disk of this machine: elsewhere a sync and a lock may be promises that are not kept",
        );
    } else if ["tmpfs", "ramfs"].contains(&kind) {
        report.warn(
            "disk",
            text,
            "use a disk: what lies in memory is gone with the power",
        );
    } else if kind == "overlay" {
        report.warn(
            "disk",
            text,
            "use a volume: what a container writes into itself goes with it",
        );
    } else {
        report.ok("disk", text);
    }
}

/// Finds place and kind of the file system in the lines of `/proc/self/mounts`; the last of equal places is on top.
fn mounted_at<'a>(mounts: &'a str, path: &Path) -> Option<(String, &'a str)> {
    let rows = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        // The system writes blanks as octal.
        let place = words.next()?.replace("\\040", " ");
        Some((place, words.next()?))
    });
    rows.filter(|(place, _)| path.starts_with(place))
        .max_by_key(|(place, _)| place.len())
}

/// Room on the folder's disk, in bytes and in files.
pub(super) fn room(report: &mut Report, config: &Config) {
    let place = config
        .data_dir
        .ancestors()
        .map(|at| {
            if at == Path::new("") {
                Path::new(".")
            } else {
                at
            }
        })
        .find(|at| at.exists());
    let Some(found) = place.and_then(|place| statvfs(place).ok()) else {
        return;
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let reserve = config.disk_reserve(found.f_blocks.saturating_mul(found.f_frsize));
    let text = format!(
        "{} free; new mail is refused below {}",
        amount(free),
        amount(reserve)
    );
    let advice = "make room, or move the data folder to a larger disk";
    if free < reserve {
        report.fail("room", exit::TEMPORARY, text, advice);
    } else if free / 4 < reserve {
        report.warn("room", text, advice);
    } else if found.f_files > 0 && found.f_favail < 100 {
        let text = format!("{} files can be made", found.f_favail);
        report.warn("room", text, advice);
    } else {
        report.ok("room", text);
    }
}

/// Looks at who owns the folder and what lies in it, and who may look in. Says whether it can be gone on with.
pub(super) fn folder(report: &mut Report, folder: &Path) -> bool {
    let place = folder.display();
    let Ok(about) = fs::metadata(folder) else {
        report.fail(
            "folder",
            exit::CANT_CREATE,
            format!("cannot look at {place}"),
            "run this as its owner or as root",
        );
        return false;
    };
    let me = geteuid();
    if !about.is_dir() {
        report.fail(
            "folder",
            exit::CANT_CREATE,
            format!("{place} is no folder"),
            "name a folder with --data-dir",
        );
        return false;
    }
    if about.uid() != me.as_raw() && !me.is_root() {
        let text = format!(
            "{place} belongs to user number {}, and you are {}",
            about.uid(),
            me.as_raw()
        );
        report.fail(
            "folder",
            exit::CANT_CREATE,
            text,
            "run this as its owner or as root",
        );
        return false;
    }
    let mode = about.permissions().mode() & 0o7777;
    if mode & 0o066 != 0 {
        let text = format!("others can look into {place} (mode {mode:04o})");
        report.warn(
            "folder",
            text,
            format!("chmod 711 {place}; a start does it too"),
        );
    } else {
        report.ok("folder", format!("{place}, of user number {}", about.uid()));
    }
    files(report, folder, about.uid());
    true
}

/// Files that the server could not use, or that others could.
fn files(report: &mut Report, folder: &Path, owner: u32) {
    let (mut strange, mut open) = (Vec::new(), Vec::new());
    let places = [folder.to_owned(), folder.join("store")];
    let entries = places
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flatten()
        .filter_map(Result::ok);
    for entry in entries {
        let Ok(about) = entry.metadata() else {
            continue;
        };
        let is_shown = OPEN_FILES.iter().any(|name| entry.file_name() == *name);
        if about.uid() != owner {
            strange.push(entry.path());
        }
        if about.permissions().mode() & 0o077 != 0 && !is_shown && !about.is_dir() {
            open.push(entry.path());
        }
    }
    if !strange.is_empty() {
        report.fail(
            "owner",
            exit::CANT_CREATE,
            format!("not of the folder's owner: {}", list(&strange)),
            format!("chown {owner} {}", list(&strange)),
        );
    }
    if !open.is_empty() {
        report.fail(
            "modes",
            exit::CONFIG,
            format!("others can read or write {}", list(&open)),
            format!("chmod go= {}", list(&open)),
        );
    }
    if strange.is_empty() && open.is_empty() {
        report.ok("modes", "keys and mail are for the folder's owner alone");
    }
}

/// Writes bytes as people compare them.
fn amount(bytes: u64) -> String {
    match bytes / 1_000_000 {
        megabytes @ ..10_000 => format!("{megabytes} MB"),
        megabytes => format!("{} GB", megabytes / 1000),
    }
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_innermost_mount() {
        let mounts =
            "/dev/a / ext4 rw 0 0\nhost:/x /srv nfs4 rw 0 0\ntmpfs /srv/a\\040b tmpfs rw 0 0\n";
        let kind = |path: &str| mounted_at(mounts, Path::new(path)).unwrap().1;
        assert_eq!(kind("/var/lib/mailserver"), "ext4");
        assert_eq!(kind("/srv/mail"), "nfs4");
        assert_eq!(kind("/srv/a b/mail"), "tmpfs");
        assert_eq!(kind("/srvx"), "ext4");
    }
}
