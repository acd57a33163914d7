//! What a shell completes: the scripts of `mailctl completions`, and what they ask this program for
//! at every Tab.
//!
//! The scripts know nothing of the grammar, so they need not be made again for a new release. Whatever
//! goes wrong at a Tab, nothing is printed and nothing is an error: a prompt is no place for either.

mod line;
mod values;
mod walk;

use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::args::{Cli, Complete, Completions, Globals, Shell};
use super::commands::Context;
use super::error::CliError;
use super::i18n::{help, text};
use super::topics::TOPICS;
use super::ui::Ui;
use super::untrusted::visible;
use walk::{Kind, Spot};

/// Prints the script for a shell.
pub(super) fn script(context: &mut Context<'_>, args: Completions) -> Result<(), CliError> {
    let script = match args.shell {
        Shell::Bash => include_str!("mailctl.bash"),
        Shell::Zsh => include_str!("mailctl.zsh"),
        Shell::Fish => include_str!("mailctl.fish"),
    };
    let shell = args.shell;
    let fields = serde_json::json!({"shell": name(shell), "script": script});
    let object = super::json::object(fields);
    context.ui.result(&object, script.trim_end())
}

fn name(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    }
}

/// Answers a Tab.
pub(super) fn run(context: &mut Context<'_>, args: &Complete) -> Result<(), CliError> {
    let asked: Vec<String> = args
        .words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let rows = match (args.shell, &asked[..]) {
        (Shell::Bash, [line, word, deed]) => {
            let rows = fitting(&line::words(line), context.globals);
            let last = line::words(line).pop().unwrap_or_default();
            bash(&rows, &last, word, deed)
        }
        (Shell::Bash, _) => Vec::new(),
        (Shell::Zsh | Shell::Fish, words) => {
            let rows = fitting(words, context.globals);
            rows.into_iter()
                .map(|row| format!("{}\t{}", row.0, row.1))
                .collect()
        }
    };
    rows.iter().try_for_each(|row| print(context.ui, row))
}

/// The empty value says that the shell knows best; a tab is no part of any other.
fn print(ui: &mut Ui, row: &str) -> Result<(), CliError> {
    ui.line(row)
}

/// Returns what fits the last of `words`, the first being the program; each with a line about it.
fn fitting(words: &[String], globals: &Globals) -> Vec<(String, String)> {
    let mut root = help::translate(Cli::command());
    root.build();
    let spot = walk::at(&root, words.get(1..).unwrap_or_default());
    let mut rows = spot.words.clone();
    if words.len() == 3 && words[1] == "help" {
        let pages = TOPICS.iter();
        rows.extend(pages.map(|page| (page.name.to_owned(), text(page.about).to_owned())));
    }
    match spot.kind {
        None => {}
        Some(Kind::File) => rows.push((String::new(), "file".to_owned())),
        Some(Kind::Folder) => rows.push((String::new(), "folder".to_owned())),
        Some(kind) => rows.extend(values::of(kind, &here(globals, &spot))),
    }
    // The mark that the command line accepts before a name, where it was typed.
    let mark = if spot.kind.is_some() && spot.typed.starts_with('@') {
        "@"
    } else {
        ""
    };
    let row = |(value, about): (String, String)| {
        let whole = format!("{mark}{value}");
        let fits = value.is_empty() || whole.starts_with(spot.typed);
        let is_fresh = !spot.taken.contains(&value.as_str());
        let value = if value.is_empty() {
            value
        } else {
            format!("{}{whole}", spot.before)
        };
        (fits && is_fresh).then(|| (value, visible(&about)))
    };
    rows.into_iter().filter_map(row).collect()
}

/// Returns the options of every verb as the unfinished line sets them.
fn here(globals: &Globals, spot: &Spot<'_>) -> Globals {
    let mut here = globals.clone();
    for (name, value) in &spot.given {
        match *name {
            "server" => here.server = Some(untilded(value).display().to_string()),
            "home" => here.home = Some(untilded(value)),
            "context" => here.context = Some((*value).to_owned()),
            _ => here.user = Some((*value).to_owned()),
        }
    }
    here
}

/// Shells hand the words over as they were typed.
fn untilded(path: &str) -> PathBuf {
    let home = path.strip_prefix("~/").zip(std::env::var_os("HOME"));
    home.map_or_else(|| path.into(), |(rest, home)| Path::new(&home).join(rest))
}

/// Forms rows for bash, which replaces only `word`, the part of the last word after a `@`, `:` or `=`,
/// and shows descriptions only where it lists and inserts nothing.
fn bash(rows: &[(String, String)], last: &str, word: &str, deed: &str) -> Vec<String> {
    const LISTS: [&str; 2] = ["63", "33"];
    let kept = last.strip_suffix(word).unwrap_or_default();
    let describes = LISTS.contains(&deed) && rows.len() > 1;
    let form = |(value, about): &(String, String)| {
        if value.is_empty() {
            return format!("\t{about}");
        }
        let rest = value.strip_prefix(kept).unwrap_or(value);
        match about.as_str() {
            "" => line::escaped(rest),
            about if describes => format!("{rest}  ({about})"),
            _ => line::escaped(rest),
        }
    };
    rows.iter().map(form).collect()
}
