//! `correio-bench summary FILE`: one table of Correio, the peers and the limits, with ratios and
//! floors.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::goals::{At, Floor, GOALS, Goal};
use crate::table::{lines_of, number};

/// Who is compared with Correio, in the order of the columns.
pub const PEERS: &[&str] = &["redis", "nats", "rabbitmq", "rabbitmq-quorum", "mosquitto"];

/// The result lines of a file.
pub struct Results(Vec<Value>);

impl Results {
    /// Reads a file.
    pub fn read(file: &str) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
        Ok(Self(lines_of(&text)?))
    }

    /// Returns the median of the latest measurement.
    pub fn median(&self, at: &At) -> Option<f64> {
        let is_it = |line: &&Value| {
            line["peer"] == at.peer && line["workload"] == at.workload && line["case"] == at.case
        };
        let latest = self.0.iter().rev().find(is_it)?;
        latest["median"][at.metric].as_f64()
    }

    /// Returns what a peer did where Correio is measured.
    pub fn of(&self, goal: &Goal, peer: &'static str) -> Option<f64> {
        self.median(&At {
            peer,
            workload: goal.workload,
            case: goal.case,
            metric: goal.metric,
        })
    }

    /// Returns what the machine could do.
    pub fn limit(&self, goal: &Goal) -> Option<f64> {
        self.median(&goal.limit.as_ref()?.0)
    }
}

/// Returns how many times as good Correio is.
pub fn ratio(goal: &Goal, ours: f64, theirs: f64) -> f64 {
    if goal.less {
        theirs / ours
    } else {
        ours / theirs
    }
}

/// Says whether Correio passes the floor; nothing where something was not measured.
pub fn passes(results: &Results, goal: &Goal) -> Option<bool> {
    let ours = results.of(goal, "correio")?;
    match goal.floor {
        Floor::AtMost(most) => Some(ours <= most),
        Floor::Times(each) => each.iter().try_fold(true, |so_far, (peer, factor)| {
            let theirs = results.of(goal, peer)?;
            Some(so_far && ratio(goal, ours, theirs) >= *factor)
        }),
        Floor::Own(case, factor) => {
            let other = results.of(&Goal { case, ..*goal }, "correio")?;
            Some(ratio(goal, ours, other) >= factor)
        }
    }
}

/// Returns the table as Markdown.
pub fn markdown(results: &Results) -> String {
    let mut text = String::from("| case | limit | **Correio** | x limit |");
    for peer in PEERS {
        write!(text, " {peer} | x |").expect("a string takes all");
    }
    text.push_str(" floor | |\n|---|");
    text.push_str(&"---:|".repeat(3 + 2 * PEERS.len()));
    text.push_str("---|---|\n");
    for goal in GOALS {
        text.push_str(&row(results, goal));
    }
    text
}

fn row(results: &Results, goal: &Goal) -> String {
    let ours = results.of(goal, "correio");
    let pair = |value: Option<f64>| {
        let times = ours
            .zip(value)
            .map(|(ours, value)| ratio(goal, ours, value));
        format!(
            "{} | {} |",
            shown(value),
            times.map_or("-".into(), |x| format!("{x:.2}"))
        )
    };
    let limit = results.limit(goal);
    let times = ours
        .zip(limit)
        .map(|(ours, limit)| ratio(goal, ours, limit));
    let mut text = format!("| {}, {} | {}", goal.title, goal.unit, shown(limit));
    if let Some((_, what)) = goal.limit.as_ref().filter(|_| limit.is_some()) {
        write!(text, " ({what})").expect("a string takes all");
    }
    let times = times.map_or("-".into(), |x| format!("{x:.2}"));
    write!(text, " | **{}** | {times} |", shown(ours)).expect("a string takes all");
    for peer in PEERS {
        write!(text, " {}", pair(results.of(goal, peer))).expect("a string takes all");
    }
    let verdict = match passes(results, goal) {
        Some(true) => "passes",
        Some(false) => "**MISSES**",
        None => "not measured",
    };
    writeln!(text, " {} | {verdict} |", floor(goal)).expect("a string takes all");
    text
}

fn floor(goal: &Goal) -> String {
    match goal.floor {
        Floor::AtMost(most) => format!("at most {}", grouped(most)),
        Floor::Own(case, factor) => format!("{factor} x with {case}"),
        Floor::Times(each) => {
            let each: Vec<String> = each.iter().map(|(p, x)| format!("{x} x {p}")).collect();
            each.join(", ")
        }
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or("-".into(), grouped)
}

/// A number for people: thousands apart.
pub fn grouped(value: f64) -> String {
    let rounded = if value >= 100.0 { value.round() } else { value };
    number(&serde_json::json!(rounded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(peer: &str, goal: &Goal, value: f64) -> Value {
        json!({"peer": peer, "workload": goal.workload, "case": goal.case, "median": {goal.metric: value}})
    }

    #[test]
    fn the_latest_measurement_counts_and_what_is_missing_passes_nothing() {
        let goal = &GOALS[0];
        let mut lines = vec![line("correio", goal, 10.0)];
        assert_eq!(passes(&Results(lines.clone()), goal), None);
        lines.push(line("redis", goal, 100.0));
        assert_eq!(passes(&Results(lines.clone()), goal), Some(false));
        lines.push(line("correio", goal, 61.0));
        assert_eq!(passes(&Results(lines), goal), Some(true));
    }

    #[test]
    fn less_is_better_where_it_says_so() {
        let goal = GOALS.iter().find(|goal| goal.less).unwrap();
        assert!((ratio(goal, 10.0, 20.0) - 2.0).abs() < 1e-9);
        let at = |value| Results(vec![line("correio", goal, value)]);
        let Floor::AtMost(most) = goal.floor else {
            panic!("this row's floor is a number")
        };
        assert_eq!(passes(&at(most), goal), Some(true));
        assert_eq!(passes(&at(most + 1.0), goal), Some(false));
        assert!(markdown(&at(most + 1.0)).contains("**MISSES**"));
    }
}
