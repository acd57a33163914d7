//! Runs what fuzzing found worth keeping: every file of every corpus, through the same table of parsers as
//! `cargo fuzz` (`make fuzz`), without a nightly toolchain; then a few changed ones. Says too what a parser in
//! the table lacks. `CORREIO_CORPUS=names` runs one parser only, `CORREIO_MUTATIONS=100000` more changes.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are tests too; clippy does not see it"
)]

#[expect(
    unreachable_pub,
    reason = "the table is a module of another crate as well"
)]
#[path = "../fuzz/src/parsers/mod.rs"]
mod parsers;

#[expect(
    unreachable_pub,
    dead_code,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "one of the modules all tests share, without the others"
)]
#[path = "common/rng.rs"]
mod rng;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use parsers::{PARSERS, Parser};
use rng::Rng;

/// Files of one corpus: a run of all of them belongs into every `make test`.
const FILES_MAX: usize = 400;

fn place(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(path)
}

fn names_in(path: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(place(path)).unwrap_or_else(|error| panic!("fuzz/{path}: {error}"));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

fn table() -> BTreeSet<String> {
    PARSERS
        .iter()
        .map(|(name, ..)| (*name).to_owned())
        .collect()
}

/// Returns the parsers to run: all, or the one that was asked for.
fn wanted() -> impl Iterator<Item = &'static Parser> {
    let only = std::env::var("CORREIO_CORPUS").ok();
    PARSERS
        .iter()
        .filter(move |(name, ..)| only.as_ref().is_none_or(|only| only == name))
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("corpus/{name}");
    let read = |file: String| {
        let bytes = fs::read(place(&format!("{folder}/{file}"))).unwrap();
        (format!("fuzz/{folder}/{file}"), bytes)
    };
    names_in(&folder).into_iter().map(read).collect()
}

#[test]
fn p09_every_file_of_every_corpus_holds() {
    let mut broken = Vec::new();
    for (name, parser, _) in wanted() {
        let files = corpus(name);
        assert!(
            !files.is_empty(),
            "fuzz/corpus/{name} is empty: put seeds there"
        );
        assert!(
            files.len() <= FILES_MAX,
            "fuzz/corpus/{name}: run cargo fuzz cmin {name}"
        );
        let breaks = |bytes: &[u8]| catch_unwind(|| parser(bytes)).is_err();
        let breaking = files.into_iter().filter(|(_, bytes)| breaks(bytes));
        broken.extend(breaking.map(|(file, _)| file));
    }
    assert!(
        broken.is_empty(),
        "these do not hold (the panics are above):\n{}",
        broken.join("\n")
    );
}

/// Blind, where `make fuzz` sees: but it needs nothing, so a new parser is tried before anybody fuzzes it.
#[test]
fn p09_what_is_near_the_corpora_holds() {
    let mut rng = Rng::announced("p09_what_is_near_the_corpora_holds");
    let tries = std::env::var("CORREIO_MUTATIONS").ok();
    let tries = tries.and_then(|text| text.parse().ok()).unwrap_or(300);
    let mut broken = Vec::new();
    for (name, parser, _) in wanted() {
        let files: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
        let words = dictionary(name);
        let mut mutants = (0..tries).map(|_| mutant(&mut rng, &files, &words));
        if let Some(bytes) = mutants.find(|bytes| catch_unwind(|| parser(bytes)).is_err()) {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.broken"));
            fs::write(&kept, &bytes).unwrap();
            broken.push(kept.display().to_string());
        }
    }
    assert!(
        broken.is_empty(),
        "these do not hold (the panics are above):\n{}",
        broken.join("\n")
    );
}

/// Returns the words of a parser's dictionary, in libFuzzer's form.
fn dictionary(name: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(place(&format!("dict/{name}.dict"))).unwrap_or_default();
    let quoted = text
        .lines()
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted.map(unescaped).collect()
}

fn unescaped(word: &str) -> Vec<u8> {
    let mut parts = word.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes
}

/// Changes one file of a corpus here and there.
fn mutant(rng: &mut Rng, files: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let mut below = |bound: usize| usize::try_from(rng.next() % bound.max(1) as u64).unwrap();
    let mut bytes = files[below(files.len())].clone();
    for _ in 0..=below(4) {
        let at = below(bytes.len());
        let end = (at + below(9)).min(bytes.len());
        match below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            1 if !bytes.is_empty() => bytes[at] = [0, 0xff, 0x7f, 0x80, b'\n', b'"'][below(6)],
            2 => drop(bytes.drain(at..end)),
            3 => bytes = [&bytes[..end], &bytes[at..]].concat(),
            4 if !words.is_empty() => {
                let word = words[below(words.len())].iter().copied();
                drop(bytes.splice(at..at, word));
            }
            _ => {
                let other = &files[below(files.len())];
                bytes = [&bytes[..at], &other[below(other.len())..]].concat();
            }
        }
    }
    bytes
}

#[test]
fn every_parser_has_a_program_a_corpus_and_its_lines() {
    assert_eq!(
        names_in("corpus"),
        table(),
        "fuzz/corpus has a folder per parser"
    );
    let programs = table()
        .into_iter()
        .map(|name| format!("{name}.rs"))
        .collect();
    assert_eq!(
        names_in("fuzz_targets"),
        programs,
        "fuzz/fuzz_targets has a file per parser"
    );
    let manifest = fs::read_to_string(place("Cargo.toml")).unwrap();
    for (name, _, lines) in PARSERS {
        let program = fs::read_to_string(place(&format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(
            program.contains(&format!("target!({name});")),
            "{name}.rs runs another parser"
        );
        assert!(
            manifest.contains(&format!("name = \"{name}\"\n")),
            "fuzz/Cargo.toml lacks {name}"
        );
        assert!(!lines.is_empty());
        for line in *lines {
            let (file, functions) = line.split_once(':').unwrap_or((line, ""));
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let text = fs::read_to_string(source).unwrap_or_else(|error| panic!("{file}: {error}"));
            for function in functions.split(',').filter(|name| !name.is_empty()) {
                assert!(
                    text.contains(&format!("fn {function}")),
                    "{file} has no {function}"
                );
            }
        }
        assert!(parsers::find(name).is_some());
    }
}
