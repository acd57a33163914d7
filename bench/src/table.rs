//! `peers table FILE`: the result lines of a file as Markdown tables, one for each workload.

use anyhow::{Context, Result};
use serde_json::Value;

/// A number for people: thousands apart.
pub fn number(v: &Value) -> String {
    match v.as_f64() {
        None => "-".into(),
        Some(x) if x.fract() != 0.0 && x.abs() < 1000.0 => format!("{x}"),
        Some(x) => {
            // Thousands apart.
            let digits = format!("{:.0}", x.abs());
            let mut out = String::new();
            for (i, c) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i) % 3 == 0 {
                    out.push(',');
                }
                out.push(c);
            }
            if x < 0.0 { format!("-{out}") } else { out }
        }
    }
}

/// The result lines of a file's text.
pub fn lines_of(text: &str) -> Result<Vec<Value>> {
    let lines = text.lines().filter(|l| l.starts_with('{'));
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Prints all of a file.
pub fn print(file: &str) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let lines = lines_of(&text)?;
    let mut workloads: Vec<&str> = Vec::new();
    for line in &lines {
        let w = line["workload"].as_str().unwrap_or("");
        if !workloads.contains(&w) {
            workloads.push(w);
        }
    }
    for workload in workloads {
        let rows: Vec<&Value> = lines.iter().filter(|l| l["workload"] == workload).collect();
        print_workload(workload, &rows);
    }
    Ok(())
}

fn print_workload(workload: &str, rows: &[&Value]) {
    let mut columns: Vec<&String> = Vec::new();
    for row in rows {
        for name in row["median"].as_object().into_iter().flat_map(|m| m.keys()) {
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
    }
    println!("### {workload}\n");
    print!("| peer | case | runs | disk probe |");
    for c in &columns {
        print!(" {c} |");
    }
    println!("\n|---|---|---|---|{}", "---|".repeat(columns.len()));
    for row in rows {
        println!("{}", row_of(row, &columns));
    }
    println!();
}

fn row_of(row: &Value, columns: &[&String]) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or("");
    let (peer, case) = (text("peer"), text("case"));
    if let Some(why) = row["skipped"].as_str() {
        let why = why.lines().next().unwrap_or("");
        return format!("| {peer} | {case} | not measured: {why} |");
    }
    let probe = number(&row["disk_probe"]);
    let numbers = columns.iter().map(|c| number(&row["median"][c.as_str()]));
    let numbers: Vec<String> = numbers.collect();
    let runs = &row["runs"];
    format!(
        "| {peer} | {case} | {runs} | {probe} | {} |",
        numbers.join(" | ")
    )
}
