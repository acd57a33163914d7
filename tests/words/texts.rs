//! Finds the texts in the code: what the macros of `cli::i18n` are given.

use crate::scan::{self, Source, files, line_of};

/// A text that people read.
pub(crate) struct Text {
    /// Where it stands.
    pub(crate) place: String,
    /// The English, of one where it counts.
    pub(crate) key: String,
    /// The English of many.
    pub(crate) many: Option<String>,
    /// A server says it.
    pub(crate) is_servers: bool,
    /// Nothing is put in: braces would stand as they are.
    pub(crate) is_plain: bool,
}

/// Returns every text of the code.
pub(crate) fn all() -> Vec<Text> {
    let mut texts = Vec::new();
    for source in files(&["src"], &["rs"]) {
        let code = scan::code(&source.text);
        for name in ["tr!(", "tr_n!(", "tr_later!("] {
            texts.extend(uses(&source, &code, name));
        }
    }
    assert!(!texts.is_empty(), "the macros have other names now");
    texts
}

/// Returns the texts that are given to a macro.
fn uses(source: &Source, code: &str, name: &str) -> Vec<Text> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .filter(|(at, _)| !code[..*at].ends_with(is_word))
        .map(|(at, _)| {
            let place = format!("{}:{}", source.path, line_of(code, at));
            let arguments = &source.text[at + name.len()..];
            let found = literals(arguments);
            let wanted = if name == "tr_n!(" { 2 } else { 1 };
            let literals = &found.texts;
            assert!(literals.len() >= wanted, "{place}: no text: {literals:?}");
            Text {
                place,
                key: literals[0].clone(),
                many: (wanted == 2).then(|| literals[1].clone()),
                is_servers: false,
                is_plain: name == "tr!(" && !found.has_values,
            }
        })
        .collect()
}

struct Arguments {
    /// Literals among the arguments themselves.
    texts: Vec<String>,
    /// Something else is among them.
    has_values: bool,
}

/// Takes the arguments of a macro apart, up to its closing parenthesis.
fn literals(arguments: &str) -> Arguments {
    let mut found = Arguments {
        texts: Vec::new(),
        has_values: false,
    };
    let mut depth = 1;
    let mut rest = arguments.chars();
    while let Some(c) = rest.next() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '"' => {
                let text = literal(&mut rest);
                if depth == 1 {
                    found.texts.push(text);
                }
            }
            c if depth == 1 && !c.is_whitespace() && c != ',' => found.has_values = true,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// Reads a literal to its end, as the compiler does.
fn literal(rest: &mut std::str::Chars<'_>) -> String {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '"' => return text,
            '\\' => match rest.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('\n') => {
                    let after = rest.as_str().trim_start();
                    *rest = after.chars();
                }
                Some(other) => text.push(other),
                None => {}
            },
            c => text.push(c),
        }
    }
    text
}

#[test]
fn literals_are_read_as_the_compiler_does() {
    let found = literals("f(\"no\"), \"a \\\"b\\\" \\\n   c\\n\", x = \"d\") \"e\"");
    assert_eq!(found.texts, ["a \"b\" c\n", "d"]);
    assert!(found.has_values && !literals("\"a\")").has_values);
}
