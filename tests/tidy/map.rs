//! What may import what, and who touches the outside: read from `ARCHITECTURE.md`.

use super::report;
use super::scan::{self, Source, code, files, imports, line_of};

/// One row of the map: files under `place` may import `allowed` besides their own module.
struct Row {
    place: String,
    allowed: Vec<String>,
}

/// Files of the broker that are its shell; the others are pure and must not know them.
const SHELL: [&str; 7] = [
    "server",
    "router",
    "xpub",
    "zap",
    "committer",
    "window",
    "clock",
];

/// Returns the rows of the first code block under "The map".
fn rows() -> Vec<Row> {
    let page = scan::read("ARCHITECTURE.md").text;
    let map = page
        .split("## The map")
        .nth(1)
        .expect("ARCHITECTURE.md has \"The map\"");
    let block = map.split("```").nth(1).expect("the map is a code block");
    block.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let (left, right) = line.split_once("->")?;
    let place = left.split_whitespace().next()?.to_owned();
    let allowed = right
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect();
    Some(Row { place, allowed })
}

/// Returns the table of the outside: words, and the files or folders that may use them.
fn outside() -> Vec<(Vec<String>, Vec<String>)> {
    let page = scan::read("ARCHITECTURE.md").text;
    let table = page
        .split("| Outside |")
        .nth(1)
        .expect("ARCHITECTURE.md has the table \"Outside\"");
    let lines = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(quoted);
            (
                cells.next().unwrap_or_default(),
                cells.next().unwrap_or_default(),
            )
        })
        .collect()
}

/// Returns what stands between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The library's files that are no tests.
fn library() -> Vec<Source> {
    let all = files(&["src"], &["rs"]);
    let tests = scan::test_only(&all);
    let for_tests = |path: &str| {
        tests.iter().any(|test| {
            path.strip_prefix(test.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    };
    all.into_iter()
        .filter(|source| !for_tests(&source.path))
        .collect()
}

fn allows(allowed: &[String], import: &[String]) -> bool {
    allowed.iter().any(|name| {
        let name: Vec<&str> = name.split("::").collect();
        import.len() >= name.len() && name.iter().zip(import).all(|(a, b)| a == b)
    })
}

#[test]
fn imports_follow_the_map() {
    let rows = rows();
    assert!(rows.len() >= 7, "ARCHITECTURE.md's map has lost its rows");
    let mut found = Vec::new();
    for source in library() {
        if source.path == "src/lib.rs" || source.path.starts_with("src/bin/") {
            continue;
        }
        let row = rows
            .iter()
            .filter(|row| source.path.starts_with(&row.place))
            .max_by_key(|row| row.place.len());
        let Some(row) = row else {
            found.push(format!(
                "{}:1: ARCHITECTURE.md's map has no row for this file",
                source.path
            ));
            continue;
        };
        let own = scan::module_path(&source.path).remove(0);
        let code = code(&source.text);
        for (at, import) in imports(&source.path, &code) {
            if import.first() != Some(&own) && !allows(&row.allowed, &import) {
                let (line, import) = (line_of(&code, at), import.join("::"));
                let place = &row.place;
                found.push(format!(
                    "{}:{line}: {import}: not for {place} (ARCHITECTURE.md)",
                    source.path
                ));
            }
        }
    }
    report(&found);
}

#[test]
fn the_pure_core_does_not_know_its_shell() {
    let mut found = Vec::new();
    for source in library() {
        let path = scan::module_path(&source.path);
        let pure = path.len() > 1 && path[0] == "broker" && !SHELL.contains(&path[1].as_str());
        if !pure {
            continue;
        }
        let code = code(&source.text);
        for (at, import) in imports(&source.path, &code) {
            if import.len() > 1 && import[0] == "broker" && SHELL.contains(&import[1].as_str()) {
                let line = line_of(&code, at);
                found.push(format!(
                    "{}:{line}: {}: pure code",
                    source.path,
                    import.join("::")
                ));
            }
        }
    }
    report(&found);
}

#[test]
fn only_the_shells_touch_the_outside() {
    let table = outside();
    assert!(
        table.len() >= 5,
        "ARCHITECTURE.md's table of the outside has lost its rows"
    );
    let mut found = Vec::new();
    for source in library() {
        let code = code(&source.text);
        for (words, places) in &table {
            if places
                .iter()
                .any(|place| source.path.starts_with(place.as_str()))
            {
                continue;
            }
            for word in words {
                for at in uses(&code, word) {
                    let line = line_of(&code, at);
                    found.push(format!(
                        "{}:{line}: {word}: not here (ARCHITECTURE.md)",
                        source.path
                    ));
                }
            }
        }
    }
    report(&found);
}

/// Returns where code uses a word, or a part of the standard library.
fn uses(code: &str, word: &str) -> Vec<usize> {
    if word.starts_with("std::") {
        let part: Vec<String> = word.split("::").map(str::to_owned).collect();
        let all = scan::std_paths(code).into_iter();
        return all
            .filter(|(_, path)| path.starts_with(&part))
            .map(|(at, _)| at)
            .collect();
    }
    let all = code.match_indices(word).map(|(at, _)| at);
    all.filter(|at| whole(code, *at, word)).collect()
}

/// Says whether the word at `at` stands alone: `sled::` but not `mysled::` or `self::sled::`.
fn whole(code: &str, at: usize, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let before = code[..at].chars().next_back();
    let after = code[at + word.len()..].chars().next();
    !before.is_some_and(|c| part(c) || (c == ':' && !word.starts_with("::")))
        && (word.ends_with(':') || !after.is_some_and(part))
}
