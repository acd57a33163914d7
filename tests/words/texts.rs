//! Finds the texts in the code: what the macros of `cli::i18n` are given, what a server refuses with, the words
//! that the layers below put into their errors, and the help.

use clap::CommandFactory;
use correio::cli::args::Cli;
use correio::cli::i18n::catalogue::places;
use correio::cli::i18n::help;
use correio::protocol::codes::Code;

use crate::scan::{self, Source, files, line_of};

/// A text that people read.
pub(crate) struct Text {
    /// Where it stands.
    pub(crate) place: String,
    /// The English, of one where it counts.
    pub(crate) key: String,
    /// The English of many.
    pub(crate) many: Option<String>,
    /// The `msgctxt`: who says it, where that is not this program's own side.
    pub(crate) context: &'static str,
    /// Nothing is put in: braces would stand as they are.
    pub(crate) is_plain: bool,
}

/// What is given a text, and how many.
const MACROS: [(&str, usize); 3] = [("tr!(", 1), ("tr_n!(", 2), ("tr_later!(", 1)];

/// What the layers below `cli` give words and phrases for their errors to.
const BELOW: [&str; 10] = [
    "failed(",
    "zmq_failed(",
    "ChatError::zmq(",
    "ChatError::system(",
    "UrlError(",
    "malformed(",
    "damaged(",
    "deed: ",
    "what: ",
    "takes: ",
];

/// Fields of tables of words, which are shown by `cli::shell::words`.
const FIELDS: [&str; 3] = ["usage: ", "short: ", "long: "];

/// Returns every text of the code.
pub(crate) fn all() -> Vec<Text> {
    let mut texts = Vec::new();
    for source in files(&["src"], &["rs"]) {
        let code = scan::code(&source.text);
        for (name, count) in MACROS {
            texts.extend(uses(&source, &code, name, count, true));
        }
        for mut text in uses(&source, &code, "refusal!(", 1, true) {
            text.context = "server";
            texts.push(text);
        }
        let is_below = ["client", "chat", "auth", "protocol"]
            .iter()
            .any(|layer| source.path.starts_with(&format!("src/{layer}/")));
        for name in BELOW.iter().filter(|_| is_below) {
            texts.extend(uses(&source, &code, name, 1, false));
        }
        let is_table = source.path.starts_with("src/cli/shell/");
        for name in FIELDS.iter().filter(|_| is_table) {
            let fields = uses(&source, &code, name, 1, false).into_iter();
            texts.extend(fields.filter(|text| *name != "usage: " || !is_typed(&text.key)));
        }
        texts.extend(names_errors(&source));
        texts.extend(sentences(&source, &code));
    }
    assert!(!texts.is_empty(), "the macros have other names now");
    texts.extend(
        help::words(Cli::command())
            .into_iter()
            .map(|key| of("help", key)),
    );
    let meanings = Code::ALL
        .iter()
        .map(|code| code.meaning().trim().to_owned());
    texts.extend(meanings.map(|key| of("src/protocol/codes.rs", key)));
    texts
}

fn of(place: &str, key: String) -> Text {
    Text {
        place: place.to_owned(),
        key,
        many: None,
        context: "",
        is_plain: true,
    }
}

/// What the files of a chat say: sentences with their values in them.
fn sentences(source: &Source, code: &str) -> Vec<Text> {
    let rooms =
        ["mod", "incoming", "outgoing", "folder"].map(|name| format!("src/chat/file/{name}.rs"));
    if !rooms.contains(&source.path) {
        return Vec::new();
    }
    let end_of_code = source
        .text
        .find("#[cfg(test)]\nmod tests {")
        .unwrap_or(code.len());
    let (said, code) = (&source.text[..end_of_code], &code[..end_of_code]);
    let mut texts = Vec::new();
    let mut end = 0;
    for (at, _) in said.match_indices('"') {
        let given_to = code[..at].trim_end();
        let is_literal = code.as_bytes()[at] == b' ' && !said[..at].ends_with('\'');
        if at < end || !is_literal {
            continue;
        }
        let mut rest = said[at + 1..].chars();
        let key = literal(&mut rest);
        end = said.len() - rest.as_str().len();
        let is_said = ["reason =", "expect(", ".name(", "debug!(", "error("]
            .iter()
            .all(|to| !given_to.ends_with(to));
        let line = said[..at].rsplit('\n').next().unwrap_or_default();
        if is_said && key.contains(' ') && !line.contains("tracing::") && !line.contains("//") {
            let place = format!("{}:{}", source.path, line_of(code, at));
            let mut sentence = of(&place, key);
            sentence.is_plain = places(&sentence.key).is_empty();
            sentence.context = if sentence.is_plain { "" } else { "below" };
            texts.push(sentence);
        }
    }
    texts
}

/// Says whether a usage is nothing but the word to type.
fn is_typed(usage: &str) -> bool {
    usage
        .chars()
        .all(|c| c.is_ascii_lowercase() || "/~?".contains(c))
}

/// What is wrong with a name: words of refusals.
fn names_errors(source: &Source) -> Vec<Text> {
    if source.path != "src/protocol/names.rs" {
        return Vec::new();
    }
    let (_, errors) = source
        .text
        .split_once("pub enum NameError")
        .expect("it is there");
    let errors = &errors[..errors.find("\n}\n").expect("it ends")];
    errors
        .match_indices("#[error(")
        .flat_map(|(at, name)| literals(&errors[at + name.len()..]).texts)
        .map(|key| key.replace("{0:?}", "{}").replace("{NAME_BYTES_MAX}", "64"))
        .map(|key| {
            let is_plain = !key.contains('{');
            Text {
                is_plain,
                ..of(&source.path, key)
            }
        })
        .collect()
}

/// Returns the texts that are given to a macro.
fn uses(source: &Source, code: &str, name: &str, wanted: usize, is_macro: bool) -> Vec<Text> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .filter(|(at, _)| !code[..*at].ends_with(is_word))
        .filter_map(|(at, _)| {
            let place = format!("{}:{}", source.path, line_of(code, at));
            let begins = source.text[at + name.len()..].starts_with('"');
            if name.ends_with(' ') && !begins {
                return None;
            }
            let found = literals(&source.text[at + name.len()..]);
            let texts = &found.texts;
            assert!(texts.len() >= wanted || !is_macro, "{place}: no text");
            Some(Text {
                place,
                key: texts.first()?.clone(),
                many: (wanted == 2).then(|| texts[1].clone()),
                context: "",
                is_plain: name == "tr!(" && !found.has_values,
            })
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
