//! Reads what `strace -f -ttt -T -yy` wrote, and judges it: no reply leaves before a sync that began
//! after its request, and no name counts before the folder it lies in was synced.

use std::collections::HashMap;
use std::path::Path;

/// One system call, with its times in seconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// When it was entered.
    pub start: f64,
    /// When it returned.
    pub end: f64,
    /// Its name.
    pub name: String,
    /// What its first argument is: `TCP:[...]` or a path.
    pub target: String,
    /// The last path among its arguments: the name that it made, if it made one.
    pub path: String,
    /// What it returned.
    pub returned: i64,
}

/// Frames smaller than this are ZMTP's own (heartbeats); a CURVE frame with one of our headers in it
/// is larger.
const FRAME_MIN: i64 = 100;

const READS: [&str; 4] = ["recvfrom", "recvmsg", "read", "readv"];
const WRITES: [&str; 4] = ["sendto", "sendmsg", "write", "writev"];

impl Call {
    /// Says whether this call makes data durable.
    pub fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fdatasync" | "fsync") && self.returned == 0
    }

    fn moves(&self, names: &[&str], port: u16) -> bool {
        let local = format!(":{port}->");
        names.contains(&self.name.as_str())
            && self.returned >= FRAME_MIN
            && self.target.starts_with("TCP")
            && self.target.contains(&local)
    }

    /// Says whether this call gave something a name: a file, a folder, or another name.
    pub fn makes_a_name(&self) -> bool {
        const MAKERS: [&str; 9] = [
            "openat",
            "mkdir",
            "mkdirat",
            "rename",
            "renameat",
            "renameat2",
            "link",
            "linkat",
            "open",
        ];
        MAKERS.contains(&self.name.as_str()) && self.returned >= 0
    }

    /// Says whether this call made `path` durable: its bytes, or the names in it.
    pub fn syncs(&self, path: &Path) -> bool {
        self.is_sync() && Path::new(&self.target) == path
    }

    /// Says whether this call gave a request to the network, for the server's port.
    pub fn is_sent_to(&self, port: u16) -> bool {
        let remote = format!(":{port}]");
        WRITES.contains(&self.name.as_str())
            && self.returned >= FRAME_MIN
            && self.target.starts_with("TCP")
            && self.target.ends_with(&remote)
    }

    /// Says whether this call took a request in on the server's port.
    pub fn is_request(&self, port: u16) -> bool {
        self.moves(&READS, port)
    }

    /// Says whether this call gave a reply to the network on the server's port.
    pub fn is_reply(&self, port: u16) -> bool {
        self.moves(&WRITES, port)
    }
}

/// Reads a trace; calls that never returned are left out.
pub fn parse(text: &str) -> Vec<Call> {
    let mut open: HashMap<(String, String), (f64, String, String)> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((pid, time, rest)) = split_line(line) else {
            continue;
        };
        if let Some(rest) = rest.strip_prefix("<... ") {
            let Some((name, tail)) = rest.split_once(" resumed>") else {
                continue;
            };
            if let Some(begun) = open.remove(&(pid.to_owned(), name.to_owned())) {
                calls.extend(finish(name, begun, tail));
            }
        } else if let Some((name, tail)) = rest.split_once('(') {
            let begun = (time, target_of(tail), path_of(tail));
            if tail.ends_with("<unfinished ...>") {
                open.insert((pid.to_owned(), name.to_owned()), begun);
            } else {
                calls.extend(finish(name, begun, tail));
            }
        }
    }
    calls.sort_by(|a, b| a.start.total_cmp(&b.start));
    calls
}

fn split_line(line: &str) -> Option<(&str, f64, &str)> {
    let (pid, rest) = line.trim_start().split_once(char::is_whitespace)?;
    let (time, rest) = rest.trim_start().split_once(' ')?;
    Some((pid, time.parse().ok()?, rest))
}

fn target_of(arguments: &str) -> String {
    let inner = arguments.split_once('<').map_or("", |(_, rest)| rest);
    let end = inner
        .find(">,")
        .or_else(|| inner.find(">)"))
        .or_else(|| inner.find("> <"));
    inner[..end.unwrap_or(inner.len())].to_owned()
}

/// Names are shown whole and quoted; other strings are not shown.
fn path_of(arguments: &str) -> String {
    let last = arguments.rsplit('"').nth(1);
    last.unwrap_or_default().to_owned()
}

fn finish(name: &str, begun: (f64, String, String), tail: &str) -> Option<Call> {
    let (start, target, path) = begun;
    let (_, result) = tail.rsplit_once(" = ")?;
    // A handle is shown with what it is: `4</data/store/db>`.
    let returned = result.split([' ', '<']).next()?.parse().ok()?;
    let took = result.rsplit_once('<')?.1.trim_end().trim_end_matches('>');
    let end = start + took.parse::<f64>().ok()?;
    Some(Call {
        start,
        end,
        name: name.to_owned(),
        target,
        path,
        returned,
    })
}

/// What a trace shows of the requests in a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Replies seen.
    pub replies: usize,
    /// Those that left before a sync that began after their request.
    pub early: usize,
}

/// Judges the replies that left in a span: each must come after a sync on a file under `folder` that
/// began when its request was in and ended before it left. The caller has one request under way at a
/// time.
pub fn judge(calls: &[Call], port: u16, folder: &str, span: (f64, f64)) -> Verdict {
    let inside = calls
        .iter()
        .filter(|call| call.start >= span.0 && call.start <= span.1);
    let inside: Vec<&Call> = inside.collect();
    let syncs = inside
        .iter()
        .filter(|call| call.is_sync() && call.target.contains(folder));
    let syncs: Vec<(f64, f64)> = syncs.map(|call| (call.start, call.end)).collect();
    let mut verdict = Verdict {
        replies: 0,
        early: 0,
    };
    let mut request: Option<f64> = None;
    for call in inside {
        if call.is_request(port) {
            request = Some(call.end);
        } else if call.is_reply(port) {
            // A reply in several writes counts once: only the first can be early.
            let Some(taken) = request.take() else {
                continue;
            };
            verdict.replies += 1;
            let covered = syncs
                .iter()
                .any(|(start, end)| *start >= taken && *end <= call.start);
            verdict.early += usize::from(!covered);
        }
    }
    verdict
}

/// Says whether the folder that holds `name` was synced after `name` was made and before `until`, on
/// the clock of the trace. What was not made in this trace was there before.
pub fn name_is_durable(calls: &[Call], name: &Path, until: f64) -> bool {
    let folder = name.parent().unwrap_or(name);
    let made = calls
        .iter()
        .find(|call| call.makes_a_name() && Path::new(&call.path) == name);
    made.is_none_or(|made| {
        let mut after = calls.iter().filter(|call| call.start >= made.end);
        after.any(|call| call.syncs(folder) && call.end <= until)
    })
}
