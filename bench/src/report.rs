//! One JSON line per result: medians (and minimum and maximum) over the runs of one case.

use serde_json::{Map, Value, json};
use std::io::Write;

/// The numbers of one run of a case, by name.
pub type Run = Vec<(&'static str, f64)>;

pub struct Who {
    pub peer: String,
    pub version: String,
    /// What the server promises when it acknowledges a send.
    pub ack_means: String,
    /// 512-byte fdatasyncs a second just before the measurement, to tell a quiet disk from a
    /// busy one; not a number where the disk plays no part.
    pub disk_probe: f64,
}

fn tidy(x: f64) -> Value {
    let scale = if x.abs() >= 1000.0 {
        1.0
    } else if x.abs() >= 10.0 {
        10.0
    } else {
        1000.0
    };
    let rounded = (x * scale).round() / scale;
    if rounded.fract() == 0.0 && rounded.abs() < 1e15 {
        json!(rounded as i64)
    } else {
        json!(rounded)
    }
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 {
        return f64::NAN;
    }
    if n % 2 == 1 {
        values[n / 2]
    } else {
        (values[n / 2 - 1] + values[n / 2]) / 2.0
    }
}

pub fn emit(who: &Who, workload: &str, case: &str, runs: &[Run], note: &str) {
    let mut names: Vec<&'static str> = Vec::new();
    for run in runs {
        for (name, _) in run {
            if !names.contains(name) {
                names.push(name);
            }
        }
    }
    let (mut med, mut low, mut high) = (Map::new(), Map::new(), Map::new());
    for name in names {
        let mut values: Vec<f64> = runs
            .iter()
            .filter_map(|run| run.iter().find(|(n, _)| *n == name).map(|(_, v)| *v))
            .collect();
        med.insert(name.into(), tidy(median(&mut values)));
        low.insert(name.into(), tidy(values[0]));
        high.insert(name.into(), tidy(values[values.len() - 1]));
    }
    let mut line = json!({
        "peer": who.peer,
        "version": who.version,
        "ack_means": who.ack_means,
        "workload": workload,
        "case": case,
        "runs": runs.len(),
        "disk_probe": tidy(who.disk_probe),
        "median": med,
        "min": low,
        "max": high,
    });
    if !note.is_empty() {
        line["note"] = json!(note);
    }
    print(&line);
}

/// A cell that could not be measured, with the reason.
pub fn emit_skip(who: &Who, workload: &str, case: &str, why: &str) {
    print(&json!({
        "peer": who.peer,
        "version": who.version,
        "ack_means": who.ack_means,
        "workload": workload,
        "case": case,
        "skipped": why,
    }));
}

fn print(line: &Value) {
    let mut out = std::io::stdout().lock();
    // Who reads the lines has gone: there is nobody to tell.
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}
