//! Holds the code to `ARCHITECTURE.md` and the docs to the code. Every finding names file and line.
//!
//! The maps are read from `ARCHITECTURE.md` itself: to change what may import what, change the page.

#[path = "tidy/chat.rs"]
mod chat;
#[path = "tidy/docs.rs"]
mod docs;
#[path = "tidy/map.rs"]
mod map;
#[path = "tidy/scan.rs"]
mod scan;

use scan::{Source, files, line_of};

/// Lines of a source file: one that is longer does two jobs.
const FILE_LINES_MAX: usize = 800;

/// Fails with the list of findings when there are any.
fn report(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Finds each of some words in the code of some files.
fn words(sources: &[Source], words: &[&str], because: &str) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let code = scan::without_words(&source.text);
        for word in words {
            for (at, _) in code.match_indices(word) {
                let line = line_of(&code, at);
                found.push(format!("{}:{line}: {word}: {because}", source.path));
            }
        }
    }
    found
}

#[test]
fn source_files_stay_under_800_lines() {
    let long = files(&["src"], &["rs"])
        .into_iter()
        .map(|source| (source.text.lines().count(), source.path))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, path)| format!("{path}:{lines}: over {FILE_LINES_MAX} lines: split it"));
    report(&long.collect::<Vec<_>>());
}

#[test]
fn unsafe_has_one_address() {
    let others: Vec<Source> = files(&["src", "tests", "benches", "examples"], &["rs"])
        .into_iter()
        .filter(|source| source.path != "src/broker/xpub.rs")
        .collect();
    report(&words(
        &others,
        &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"],
        "only src/broker/xpub.rs may",
    ));
}

#[test]
fn nothing_is_left_half_done() {
    // Split, so that this file does not find itself.
    let stubs = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
        concat!("#[", "ignore"),
    ];
    let sources = files(&["src", "tests", "benches", "examples"], &["rs"]);
    report(&words(&sources, &stubs, "finish it, or take it out"));
}

#[test]
fn lint_exceptions_say_why() {
    let mut found = Vec::new();
    for source in files(&["src", "tests", "benches", "examples"], &["rs"]) {
        let code = scan::without_words(&source.text);
        for word in ["[allow(", "[expect("] {
            for (at, _) in code.match_indices(word) {
                let end = code[at..].find(")]").map_or(code.len(), |end| at + end);
                let hash = code[..at].trim_end_matches('!').ends_with('#');
                if hash && !code[at..end].contains("reason") {
                    let line = line_of(&code, at);
                    found.push(format!(
                        "{}:{line}: a lint exception without a reason",
                        source.path
                    ));
                }
            }
        }
    }
    report(&found);
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    let places = [
        "src",
        "tests",
        "benches",
        "examples",
        "docs",
        "tools",
        "packaging",
        "data/README.md",
        ".ci",
        "README.md",
        "README.pt-BR.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Makefile",
        "Cargo.toml",
    ];
    let kinds = ["rs", "md", "py", "sh", "toml", "txt", ""];
    let mut found = Vec::new();
    for source in files(&places, &kinds) {
        for folder in ["work", "root", "farm"] {
            let word = format!("/{folder}/");
            for (at, _) in source.text.match_indices(&word) {
                let before = source.text[..at].chars().next_back();
                if !before.is_some_and(|c| c.is_alphanumeric() || "._-}$*".contains(c)) {
                    let line = line_of(&source.text, at);
                    found.push(format!(
                        "{}:{line}: {word}: a path of one machine",
                        source.path
                    ));
                }
            }
        }
    }
    report(&found);
}
