//! Holds the catalogue of translations to the code: every text is there, none is there for nothing, none is
//! forgotten in English, and each puts in the values of its key.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Command, CommandFactory};
use correio::cli::args::Cli;
use correio::cli::i18n::catalogue::{Entry, PORTUGUESE, entries, places};
use correio::cli::i18n::{Language, help, within};

#[allow(dead_code, reason = "tidy uses the rest")]
#[path = "tidy/scan.rs"]
mod scan;
#[path = "words/texts.rs"]
mod texts;

use texts::Text;

/// The comment of an entry that reads the same in both languages.
const SAME: &str = "#. igual";

fn catalogue() -> BTreeMap<String, Entry> {
    let mut known = BTreeMap::new();
    for entry in entries(PORTUGUESE) {
        let key = entry.key.to_string();
        assert!(known.insert(key.clone(), entry).is_none(), "twice: {key:?}");
    }
    known
}

fn report(findings: &[String]) {
    assert!(
        findings.is_empty(),
        "locale/pt_BR.po:\n{}\n",
        findings.join("\n")
    );
}

/// An entry to be filled in.
fn blank(text: &Text) -> String {
    let context = match text.context {
        "" => String::new(),
        context => format!("msgctxt {context:?}\n"),
    };
    match &text.many {
        None => format!(
            "# {}\n{context}msgid {:?}\nmsgstr \"\"\n",
            text.place, text.key
        ),
        Some(many) => format!(
            "# {}\nmsgid {:?}\nmsgid_plural {many:?}\nmsgstr[0] \"\"\nmsgstr[1] \"\"\n",
            text.place, text.key
        ),
    }
}

#[test]
fn every_text_has_a_translation() {
    let known = catalogue();
    let is_there = |text: &Text| {
        known.get(&text.key).is_some_and(|entry| {
            let context = match (entry.is_servers, entry.is_below) {
                (true, _) => "server",
                (_, true) => "below",
                _ => "",
            };
            entry.many.as_deref() == text.many.as_deref() && context == text.context
        })
    };
    let mut missing = BTreeMap::new();
    for text in texts::all().into_iter().filter(|text| !is_there(text)) {
        missing
            .entry(text.key.clone())
            .or_insert_with(|| blank(&text));
    }
    report(&missing.into_values().collect::<Vec<_>>());
}

#[test]
fn every_translation_is_of_a_text() {
    let texts: BTreeSet<String> = texts::all().into_iter().map(|text| text.key).collect();
    let unused = catalogue().into_keys().filter(|key| !texts.contains(key));
    report(
        &unused
            .map(|key| format!("of no text: {key:?}"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_translation_is_another_text_with_the_same_places() {
    let mut wrong = Vec::new();
    for (key, entry) in catalogue() {
        let expected = if entry.many.is_some() { 2 } else { 1 };
        if entry.forms.len() != expected || entry.forms.iter().any(|form| form.is_empty()) {
            wrong.push(format!("not translated: {key:?}"));
            continue;
        }
        if entry
            .comments
            .iter()
            .any(|comment| comment.contains("fuzzy"))
        {
            wrong.push(format!("to be looked at again: {key:?}"));
        }
        let same = entry.forms.iter().all(|form| *form == entry.key);
        if same != entry.comments.contains(&SAME) {
            wrong.push(format!("the same or not, against its comment: {key:?}"));
        }
        for form in &entry.forms {
            let edges = |text: &str| (text.starts_with([' ', '\n']), text.ends_with([' ', '\n']));
            if places(form) != places(&key) || edges(form) != edges(&key) {
                wrong.push(format!(
                    "other places or edges than its key: {form:?} of {key:?}"
                ));
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_text_has_simple_places() {
    let simple = |place: &String| {
        place.chars().all(|c| c.is_ascii_lowercase() || c == '_') || place.parse::<usize>().is_ok()
    };
    let mut wrong = Vec::new();
    for text in texts::all() {
        let places = places(&text.key);
        if !places.iter().all(simple) || text.is_plain && text.key.contains(['{', '}']) {
            wrong.push(format!("{}: {:?}", text.place, text.key));
        }
    }
    report(&wrong);
}

/// Renders the help of a command and of everything under it.
fn pages(command: &mut Command, out: &mut String) {
    let page = help::page(&command.render_long_help().to_string());
    out.extend([page.as_str(), "\n", &"-".repeat(100), "\n"]);
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .filter(|name| name != "help")
        .collect();
    for name in names {
        pages(
            command.find_subcommand_mut(&name).expect("just listed"),
            out,
        );
    }
}

#[test]
fn help_in_portuguese() {
    let told = within(Language::Portuguese, || {
        let mut root = help::translate(Cli::command().term_width(100));
        let mut told = String::new();
        pages(&mut root, &mut told);
        told
    });
    let own = [
        "Usage:",
        "Options:",
        "Arguments:",
        "Commands:",
        "Print help",
        "[default:",
        "[env:",
    ];
    for english in own {
        assert!(!told.contains(english), "{english} in:\n{told}");
    }
    assert!(
        told.contains("\nUso: mailctl send [OPÇÕES] <DESTINO>..."),
        "{told}"
    );
}
