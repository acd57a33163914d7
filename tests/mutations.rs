//! The patches that `make mutants` applies to see tests go red: each still fits the code and names
//! tests that exist, so that none of them rots.
//!
//! A patch is a unified diff below a header: what it takes away, which promise, and one line per test
//! that must go red (`tools/mutants.sh` runs those, on a copy of the tree).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Environment variables that a test to go red may be run with.
const KNOBS: [&str; 3] = ["CORREIO_CUTS", "CORREIO_KILLS", "CORREIO_SEEDS"];

/// Patches that there must be, whatever else there is.
const ASKED_FOR: [&str; 7] = [
    "completion_record",
    "cursor_goes_back",
    "fdatasync",
    "new_directory_sync",
    "notice_key_check",
    "port_rest",
    "zap_not_enforced",
];

/// One change of a patch: lines that are there, and lines that come in their place.
#[derive(Debug, Default)]
struct Hunk {
    before: String,
    after: String,
}

#[derive(Debug)]
struct Patch {
    name: String,
    header: BTreeMap<String, Vec<String>>,
    hunks: Vec<(PathBuf, Hunk)>,
}

impl Patch {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a patch is text");
        let name = path.file_stem().expect("a patch has a name");
        let mut read = Self {
            name: name.to_string_lossy().into_owned(),
            header: BTreeMap::new(),
            hunks: Vec::new(),
        };
        let mut file = None;
        for line in text.lines() {
            read.take(line, &mut file);
        }
        read
    }

    fn take(&mut self, line: &str, file: &mut Option<PathBuf>) {
        if line.starts_with("--- a/") {
            *file = None;
        } else if let Some(path) = line.strip_prefix("+++ b/") {
            *file = Some(path.into());
        } else if let (true, Some(file)) = (line.starts_with("@@"), file.as_ref()) {
            self.hunks.push((file.clone(), Hunk::default()));
        } else if let (true, Some((_, hunk))) = (file.is_some(), self.hunks.last_mut()) {
            hunk.take(line);
        } else if let Some((word, rest)) = line.split_once(": ") {
            let rows = self.header.entry(word.to_owned()).or_default();
            rows.push(rest.to_owned());
        }
    }

    fn header(&self, word: &str) -> &[String] {
        self.header.get(word).map_or(&[], Vec::as_slice)
    }
}

impl Hunk {
    fn take(&mut self, line: &str) {
        let (sign, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
        if sign != "+" {
            self.before.extend([rest, "\n"]);
        }
        if sign != "-" {
            self.after.extend([rest, "\n"]);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn patches() -> Vec<Patch> {
    let folder = fs::read_dir(root().join("tests/mutations")).expect("the folder is there");
    let mut paths: Vec<PathBuf> = folder
        .map(|entry| entry.expect("it is listed").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| Patch::read(path)).collect()
}

#[test]
fn every_patch_still_fits_the_code() {
    for patch in patches() {
        assert!(!patch.hunks.is_empty(), "{} changes nothing", patch.name);
        for (file, hunk) in &patch.hunks {
            let name = &patch.name;
            assert!(file.starts_with("src"), "{name} mutates {}", file.display());
            let text = fs::read_to_string(root().join(file)).expect("it changes a file of src");
            let places = text.matches(&hunk.before).count();
            let file = file.display();
            assert_eq!(places, 1, "{name} no longer fits {file}: make it anew");
            assert_ne!(hunk.before, hunk.after, "{name} leaves {file} as it is");
        }
    }
}

#[test]
fn every_patch_says_what_it_takes_away_and_names_tests_that_exist() {
    for patch in patches() {
        let name = &patch.name;
        assert_eq!(patch.header("Takes away").len(), 1, "{name}");
        let promises = patch.header("Promise");
        let known = |word: &str| {
            let number = word
                .strip_prefix('P')
                .and_then(|rest| rest.parse::<u8>().ok());
            number.is_some_and(|number| (1..=13).contains(&number))
        };
        assert!(
            promises.len() == 1 && promises[0].split(", ").all(known),
            "{name}"
        );
        let red = patch.header("Must go red");
        assert!(!red.is_empty(), "{name} names no test");
        for line in red {
            assert!(names_a_test(line), "{name} names no test with {line:?}");
        }
    }
}

#[test]
fn what_was_asked_for_is_there() {
    let names: Vec<String> = patches().into_iter().map(|patch| patch.name).collect();
    for wanted in ASKED_FOR {
        assert!(
            names.iter().any(|name| name == wanted),
            "{wanted} is missing"
        );
    }
}

/// Says whether a line is `[KNOB=number] --lib module::tests::name`, or `--test file name`, of a test
/// that there is.
fn names_a_test(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let words = match words.split_first() {
        Some((knob, rest)) if is_knob(knob) => rest,
        _ => &words[..],
    };
    match words {
        ["--lib", path] => {
            let name = path.rsplit("::").next().unwrap_or(path);
            sources(&root().join("src"))
                .iter()
                .any(|text| defines(text, name))
        }
        ["--test", file, name] => {
            let text = fs::read_to_string(root().join(format!("tests/{file}.rs")));
            text.is_ok_and(|text| defines(&text, name))
        }
        _ => false,
    }
}

fn is_knob(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, number)| {
        KNOBS.contains(&name) && number.parse::<u64>().is_ok_and(|number| number > 0)
    })
}

fn defines(text: &str, name: &str) -> bool {
    text.contains(&format!("fn {name}("))
}

/// Reads every Rust file below a folder.
fn sources(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder of sources");
    let mut texts = Vec::new();
    for entry in entries {
        let path = entry.expect("it is listed").path();
        if path.is_dir() {
            texts.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            texts.push(fs::read_to_string(&path).expect("sources are text"));
        }
    }
    texts
}
