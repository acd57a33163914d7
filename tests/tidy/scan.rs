//! Reads the project's files as text: just enough Rust to find paths and attributes, with line
//! numbers. Comments, literals and test code are blanked, so that a word in a string is no finding.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the project.
pub(crate) struct Source {
    /// Its path from the project's folder, with forward slashes.
    pub(crate) path: String,
    /// Its text as it is.
    pub(crate) text: String,
}

/// Returns the project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads one file of the project.
pub(crate) fn read(path: &str) -> Source {
    let text = fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{path}: cannot be read: {error}"));
    Source {
        path: path.to_owned(),
        text,
    }
}

/// Reads every text file under the given folders (or single files) with one of the extensions.
pub(crate) fn files(places: &[&str], extensions: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for place in places {
        walk(&root().join(place), &mut paths);
    }
    paths.sort();
    paths
        .iter()
        .filter(|path| {
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            extensions.contains(&extension)
        })
        .map(|path| read(&relative(path)))
        .collect()
}

fn relative(path: &Path) -> String {
    let inner = path.strip_prefix(root()).expect("it was found below");
    inner.to_string_lossy().replace('\\', "/")
}

fn walk(place: &Path, found: &mut Vec<PathBuf>) {
    if place.is_file() {
        found.push(place.to_owned());
    } else if let Ok(entries) = fs::read_dir(place) {
        for entry in entries {
            walk(&entry.expect("a folder can be listed").path(), found);
        }
    }
}

/// Returns the number of the line that holds a byte, counted from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Returns Rust code with comments, text literals and `#[cfg(test)]` items blanked.
pub(crate) fn code(text: &str) -> String {
    without_tests(&without_words(text))
}

/// Returns Rust code with comments and the insides of text literals blanked, byte for byte.
pub(crate) fn without_words(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut kept = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = word_end(bytes, at);
        for byte in &mut kept[at..end.unwrap_or(at)] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.unwrap_or(at + 1);
    }
    String::from_utf8(kept).expect("whole words were blanked")
}

/// Returns where the comment or literal that begins at `at` ends, if one does.
fn word_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let until = |word: &[u8]| {
        let found = rest.windows(word.len()).position(|window| window == word);
        found.map_or(bytes.len(), |found| at + found)
    };
    match rest {
        [b'/', b'/', ..] => Some(until(b"\n")),
        [b'/', b'*', ..] => Some((until(b"*/") + 2).min(bytes.len())),
        [b'r', b'"' | b'#', ..] if !in_name(bytes, at) => raw_end(bytes, at),
        [b'"', ..] => Some(quoted_end(bytes, at, b'"')),
        [b'\'', b'\\', ..] => Some(quoted_end(bytes, at, b'\'')),
        [b'\'', _, b'\'', ..] => Some(at + 3),
        _ => None,
    }
}

fn in_name(bytes: &[u8], at: usize) -> bool {
    at > 0
        && (bytes[at - 1].is_ascii_alphanumeric() && bytes[at - 1] != b'b' || bytes[at - 1] == b'_')
}

fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != quote {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

fn raw_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    if bytes.get(at + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let inside = at + 2 + hashes;
    let found = bytes[inside..]
        .windows(close.len())
        .position(|w| w == close);
    Some(found.map_or(bytes.len(), |found| inside + found + close.len()))
}

fn without_tests(text: &str) -> String {
    let mut kept = text.to_owned();
    while let Some(at) = kept.find("#[cfg(test)]") {
        let end = item_end(&kept, at);
        let blank: String = kept[at..end]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        kept.replace_range(at..end, &blank);
    }
    kept
}

/// Returns where the item ends that begins (with its attributes) at `at`: at a `;` or its brace.
fn item_end(text: &str, at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, c) in text[at..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + offset + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + offset + 1,
            _ => {}
        }
    }
    text.len()
}

/// Returns the files that exist for tests only: those declared `#[cfg(test)] mod name;`.
pub(crate) fn test_only(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let text = without_words(&source.text);
        for (at, _) in text.match_indices("#[cfg(test)]") {
            let item = text[at + "#[cfg(test)]".len()..item_end(&text, at)].trim();
            let item = item
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ");
            if let Some(name) = item
                .strip_prefix("mod ")
                .and_then(|rest| rest.strip_suffix(';'))
            {
                found.push(format!("{}/{}", module_folder(&source.path), name.trim()));
            }
        }
    }
    found
}

/// Returns the folder of a file's submodules: `src/store/mod.rs` and `src/store.rs` say `src/store`.
fn module_folder(path: &str) -> &str {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    for own in ["/mod", "/lib", "/main"] {
        if let Some(folder) = stem.strip_suffix(own) {
            return folder;
        }
    }
    stem
}

/// Returns the path of modules from the crate's root to a file: `src/broker/io.rs` is `[broker, io]`.
pub(crate) fn module_path(path: &str) -> Vec<String> {
    let folder = module_folder(path);
    let inner = folder.strip_prefix("src").unwrap_or(folder);
    inner
        .split('/')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Everything of this crate that a file's code names: byte offset and path from the crate's root.
pub(crate) fn imports(path: &str, code: &str) -> Vec<(usize, Vec<String>)> {
    let here = module_path(path);
    let mut found = Vec::new();
    for (at, _) in code
        .match_indices("crate::")
        .filter(|(at, _)| begins_word(code, *at))
    {
        paths_after(code, at + "crate::".len(), &[], &mut found);
    }
    for (at, _) in code
        .match_indices("super::")
        .filter(|(at, _)| begins_word(code, *at))
    {
        if code[..at].ends_with("super::") {
            continue;
        }
        let ups = code[at..]
            .split("super::")
            .take_while(|part| part.is_empty())
            .count();
        let base = &here[..here.len().saturating_sub(ups)];
        let after = at + "super::".len() * ups;
        paths_after(code, after, base, &mut found);
    }
    found
}

/// Everything of the standard library that a file's code names: `use std::{fs, io}` is two.
pub(crate) fn std_paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in code
        .match_indices("std::")
        .filter(|(at, _)| begins_word(code, *at))
    {
        paths_after(code, at + "std::".len(), &["std".to_owned()], &mut found);
    }
    found
}

fn begins_word(code: &str, at: usize) -> bool {
    let before = code[..at].chars().next_back();
    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$')
}

/// Reads `a::b`, or each of `{a, b::c}`, after `crate::` or `super::`.
fn paths_after(code: &str, at: usize, base: &[String], found: &mut Vec<(usize, Vec<String>)>) {
    let Some(group) = code[at..].strip_prefix('{') else {
        found.push((at, [base, &names(&code[at..])].concat()));
        return;
    };
    let (mut depth, mut wanted) = (0_usize, true);
    for (offset, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return,
            '}' => depth -= 1,
            ',' if depth == 0 => wanted = true,
            c if wanted && depth == 0 && !c.is_whitespace() => {
                wanted = false;
                found.push((at + 1 + offset, [base, &names(&group[offset..])].concat()));
            }
            _ => {}
        }
    }
}

/// Reads the names of a path: `a::b::{c}` is `[a, b]`.
fn names(text: &str) -> Vec<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let path = &text[..end.unwrap_or(text.len())];
    path.split("::")
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_scanner_sees_what_it_should() {
    let text = r##"
use crate::store::{Change, record::Mark};
use super::super::limits;
use crate::{auth::keys, protocol};
// crate::comment
const A: &str = "crate::text \" ";
const B: char = '"';
const C: &str = r#"crate::raw "quoted" "#;
fn f<'a>(x: &'a u8) { super::core::go() }
#[cfg(test)]
mod tests { use crate::cli; }
fn g() { crate::client::new() }
"##;
    let found: Vec<String> = imports("src/broker/io.rs", &code(text))
        .into_iter()
        .map(|(at, path)| format!("{}:{}", line_of(text, at), path.join("::")))
        .collect();
    let wanted = [
        "2:store",
        "4:auth::keys",
        "4:protocol",
        "12:client::new",
        "3:limits",
        "9:broker::core::go",
    ];
    assert_eq!(found, wanted);
}
