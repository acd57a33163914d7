//! Failing system calls: `strace` makes the Nth call of a kind fail, as the disk would.
//!
//! Only calls that touch the folder under test count and fail. strace counts by thread: "step N" is
//! the Nth such call of each thread that comes so far.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// The calls with which a program writes, reads and names files.
pub const CALLS: [&str; 14] = [
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "sync_file_range",
    "ftruncate",
    "fallocate",
    "rename",
    "link",
    "linkat",
    "openat",
    "unlink",
    "mkdir",
    "pread64",
];

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The system call.
    pub call: &'static str,
    /// The error it returns instead of doing anything.
    pub error: &'static str,
    /// Which call, from 1.
    pub nth: usize,
    /// All later ones fail too.
    pub forever: bool,
}

/// What a run without faults did in its folder.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Files and folders it touched.
    pub paths: BTreeSet<String>,
    /// Per call: the most that one thread made.
    pub steps: BTreeMap<&'static str, usize>,
}

/// Says whether programs can be traced here.
pub fn can_trace() -> bool {
    let tried = Command::new("strace")
        .args(["-D", "-f", "-o", "/dev/null", "true"])
        .output();
    tried.is_ok_and(|output| output.status.success())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Words in front of a program that write down what it does.
pub fn watching(trace: &Path) -> Vec<String> {
    let calls = format!("trace={}", CALLS.join(","));
    let mut all = words(&["strace", "-D", "-f", "-y", "-qq", "--seccomp-bpf"]);
    all.extend(words(&["-e", "signal=none", "-e", &calls, "-o"]));
    all.push(trace.to_string_lossy().into_owned());
    all
}

/// Words in front of a program that kill it where it enters a call for the `nth` time, from 1. With strace's
/// `--seccomp-bpf` no signal would come.
pub fn killing(call: &str, nth: usize) -> Vec<String> {
    let mut all = words(&["strace", "-f", "-qq", "-o", "/dev/null", "-e"]);
    all.push(format!("trace={call}"));
    all.push("-e".to_owned());
    all.push(format!("inject={call}:signal=SIGKILL:when={nth}"));
    all
}

impl Fault {
    /// Words in front of a program that make it meet this fault on these paths.
    pub fn words(&self, paths: &BTreeSet<String>, trace: &Path) -> Vec<String> {
        let Self {
            call, error, nth, ..
        } = self;
        let more = if self.forever { "+" } else { "" };
        let mut all = words(&["strace", "-D", "-f", "-y", "-qq", "--seccomp-bpf"]);
        for path in paths {
            all.extend(words(&["-P", path]));
        }
        all.extend(words(&[
            "-e",
            "signal=none",
            "-e",
            &format!("trace={call}"),
        ]));
        let inject = format!("inject={call}:error={error}:when={nth}{more}");
        all.extend(words(&["-e", &inject, "-o"]));
        all.push(trace.to_string_lossy().into_owned());
        all
    }
}

impl Survey {
    /// Reads a trace; counts what touched `folder`.
    pub fn read(trace: &str, folder: &Path) -> Self {
        let folder = folder.to_string_lossy();
        let mut survey = Self::default();
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for line in trace.lines() {
            let Some((pid, rest)) = line.trim_start().split_once(char::is_whitespace) else {
                continue;
            };
            let Some((name, arguments)) = rest.trim_start().split_once('(') else {
                continue;
            };
            let touched: Vec<&str> = arguments
                .split(['<', '>', '"'])
                .filter(|word| word.starts_with(&*folder))
                .collect();
            if let Some(call) = CALLS.into_iter().find(|call| *call == name)
                && !touched.is_empty()
            {
                *counts.entry((pid, call)).or_default() += 1;
                survey.paths.extend(touched.into_iter().map(str::to_owned));
            }
        }
        for ((_, name), count) in counts {
            let call = CALLS.into_iter().find(|call| *call == name);
            let most = survey.steps.entry(call.expect("counted")).or_default();
            *most = count.max(*most);
        }
        survey
    }

    /// Every step of every call with each error, once and for ever.
    pub fn faults(&self) -> Vec<Fault> {
        let mut all = Vec::new();
        for (call, steps) in &self.steps {
            for nth in 1..=*steps {
                for error in ["EIO", "ENOSPC"] {
                    for forever in [false, true] {
                        all.push(Fault {
                            call,
                            error,
                            nth,
                            forever,
                        });
                    }
                }
            }
        }
        all
    }
}

/// Takes about `CORREIO_STEPS` of all cases, evenly spread from a random first one, or all of them for
/// `all`. Prints what it takes.
pub fn spread<T: Clone>(cases: &[T], short: usize, rng: &mut super::rng::Rng) -> Vec<T> {
    let asked = std::env::var("CORREIO_STEPS").unwrap_or_default();
    let wanted = match asked.as_str() {
        "all" => cases.len(),
        number => number.parse().unwrap_or(short),
    };
    let stride = (cases.len() / wanted.max(1)).max(1);
    let first = rng.index(stride);
    let taken: Vec<T> = cases.iter().skip(first).step_by(stride).cloned().collect();
    println!(
        "CORREIO_STEPS: {} of {} cases, every {stride}th from {first}",
        taken.len(),
        cases.len()
    );
    taken
}

/// Does something with each case on a few threads and returns what failed. A panic is a failure of
/// its case.
pub fn each<T: Sync + std::fmt::Debug>(
    cases: &[T],
    threads: usize,
    deed: impl Fn(&T) -> Result<(), String> + Sync,
) -> Vec<String> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) {
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| deed(case)));
            let why = match tried {
                Ok(Ok(())) => continue,
                Ok(Err(why)) => why,
                Err(panic) => panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
                    .unwrap_or_default(),
            };
            println!("FAILED: {case:?}: {why}");
            let mut all = failures.lock().expect("no holder panics");
            all.push(format!("{case:?}: {why}"));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    failures.into_inner().expect("no holder panics")
}

/// Delays what a process syncs.
pub struct SlowDisk(Child);

impl SlowDisk {
    /// Makes every sync of a running process take so much longer, until this is dropped.
    pub fn of(pid: u32, delay: Duration) -> Self {
        let inject = format!("inject=fdatasync:delay_enter={}", delay.as_micros());
        let tracer = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"])
            .args(["-e", &inject, "-p"])
            .arg(pid.to_string())
            .spawn()
            .expect("strace starts");
        super::eventually("every thread is traced", || {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
            let mut states = tasks.map(|task| {
                let status = task.expect("it runs").path().join("status");
                std::fs::read_to_string(status).unwrap_or_default()
            });
            states
                .all(|status| !status.contains("TracerPid:\t0\n"))
                .then_some(())
        });
        Self(tracer)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
