//! `correio-bench picture FILE`: Correio beside the peers and the limits, as an SVG that needs nothing
//! from outside.

use std::fmt::Write;

use crate::goals::{GOALS, Goal};
use crate::summary::{PEERS, Results, grouped};

const WIDTH: f64 = 860.0;
const LABEL: f64 = 170.0;
const BAR: f64 = 560.0;
const STEP: f64 = 17.0;
const HEAD: f64 = 26.0;

/// One bar.
struct Bar {
    name: String,
    value: f64,
    color: &'static str,
}

/// Returns the picture. Each case has its own scale; the longest bar is the largest number.
pub fn svg(results: &Results) -> String {
    let mut body = String::new();
    let mut y = 44.0;
    for goal in GOALS {
        let bars = bars(results, goal);
        if bars.iter().any(|bar| bar.name == "Correio") {
            y = panel(&mut body, goal, &bars, y);
        }
    }
    let height = y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"16\" font-weight=\"bold\">Correio (durable, CURVE) beside \
         peers without encryption and the limits of the machine</text>\n{body}</svg>\n"
    )
}

fn bars(results: &Results, goal: &Goal) -> Vec<Bar> {
    let bar = |name: &str, value: Option<f64>, color| {
        value.map(|value| Bar {
            name: name.to_owned(),
            value,
            color,
        })
    };
    let ours = bar("Correio", results.of(goal, "correio"), "#c2410c");
    let peers = PEERS
        .iter()
        .map(|peer| bar(peer, results.of(goal, peer), "#64748b"));
    let what = goal.limit.as_ref().map_or("", |(_, what)| what);
    let limit = bar(what, results.limit(goal), "#cbd5e1");
    std::iter::once(ours)
        .chain(peers)
        .chain([limit])
        .flatten()
        .collect()
}

/// Draws one case and returns where the next begins.
fn panel(body: &mut String, goal: &Goal, bars: &[Bar], y: f64) -> f64 {
    let better = if goal.less { "less" } else { "more" };
    let title = format!("{}: {} ({better} is better)", goal.title, goal.unit);
    writeln!(
        body,
        "<text x=\"12\" y=\"{}\" font-weight=\"bold\">{title}</text>",
        y + 14.0
    )
    .expect("a string takes all");
    let longest = bars
        .iter()
        .map(|bar| bar.value)
        .fold(f64::MIN_POSITIVE, f64::max);
    for (nth, bar) in bars.iter().enumerate() {
        let top = y + HEAD + nth as f64 * STEP - 4.0;
        let length = (bar.value / longest * BAR).max(1.0);
        let (text, end) = (top + 10.0, LABEL + length + 18.0);
        let (name, value, color) = (&bar.name, grouped(bar.value), bar.color);
        writeln!(
            body,
            "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{}\" y=\"{top}\" width=\"{length:.1}\" height=\"12\" fill=\"{color}\"/>\
             <text x=\"{end:.1}\" y=\"{text}\">{value}</text>",
            LABEL + 6.0,
            LABEL + 12.0,
        )
        .expect("a string takes all");
    }
    y + HEAD + bars.len() as f64 * STEP + 8.0
}
