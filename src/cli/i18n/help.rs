//! The command line's own words in the language of this process: help, usage, and what the parser says to a
//! mistake. In English nothing here does anything: clap speaks it.

use std::error::Error as _;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::{Language, language, text, tr, tr_later, translated};
use crate::cli::error::CliError;

/// Heads the verbs below a verb, where nothing else is said.
const COMMANDS: &str = tr_later!("Commands");
const COMMAND: &str = tr_later!("COMMAND");

/// What clap puts into a page by itself.
const HEADINGS: [&str; 3] = [
    tr_later!("Options:"),
    tr_later!("Arguments:"),
    tr_later!("Possible values:"),
];
const USAGE: &str = tr_later!("Usage: ");
/// In a line of usage.
const OPTIONS: &str = tr_later!("OPTIONS");
const MARKS: [&str; 2] = [tr_later!("[default:"), tr_later!("[env:")];
const VALUES: [&str; 2] = [tr_later!("[possible"), tr_later!("values:")];

/// What clap has in pages, by name: not among the texts of `args`.
const OWN: [&str; 5] = [
    tr_later!("Print help"),
    tr_later!("Print help (see more with '--help')"),
    tr_later!("Print help (see a summary with '-h')"),
    tr_later!("Print version"),
    tr_later!("Print this message or the help of the given subcommand(s)"),
];

/// Returns a command whose help is in the language of this process.
pub fn translate(command: Command) -> Command {
    match language() {
        Language::English => command,
        Language::Portuguese => with_words(command, &mut |word| translated(word)),
    }
}

/// Returns every word that the help of a command shows.
pub fn words(command: Command) -> Vec<String> {
    let mut words = Vec::new();
    drop(with_words(command, &mut |word| {
        words.push(word.to_owned());
        None
    }));
    words.retain(|word| !OWN.contains(&word.as_str()));
    words
}

/// Changes every word of a command's help, of its options' and of what is below it.
fn with_words(mut command: Command, say: &mut dyn FnMut(&str) -> Option<&'static str>) -> Command {
    command.build();
    one(command, say)
}

fn one(mut command: Command, say: &mut dyn FnMut(&str) -> Option<&'static str>) -> Command {
    if let Some(said) = plain(command.get_about()).and_then(|text| say(&text)) {
        command = command.about(said);
    }
    if let Some(said) = plain(command.get_after_help()).and_then(|text| say(&text)) {
        command = command.after_help(said);
    }
    if command.has_subcommands() {
        let heading = command.get_subcommand_help_heading().unwrap_or(COMMANDS);
        if let Some(said) = say(heading) {
            command = command.subcommand_help_heading(said);
        }
        let value = command.get_subcommand_value_name().unwrap_or(COMMAND);
        if let Some(said) = say(value) {
            command = command.subcommand_value_name(said);
        }
    }
    command
        .mut_args(|arg| option(arg, say))
        .mut_subcommands(|sub| {
            if sub.get_name() == "help" {
                help(sub, say)
            } else {
                one(sub, say)
            }
        })
}

/// The verb `help` holds a copy of every name below it; they have no pages of their own.
fn help(command: Command, say: &mut dyn FnMut(&str) -> Option<&'static str>) -> Command {
    let said = plain(command.get_about()).and_then(|text| say(&text));
    said.map_or(command.clone(), |said| command.about(said))
}

fn option(mut arg: Arg, say: &mut dyn FnMut(&str) -> Option<&'static str>) -> Arg {
    if let Some(said) = plain(arg.get_help()).and_then(|text| say(&text)) {
        arg = arg.help(said);
    }
    if let Some(said) = plain(arg.get_long_help()).and_then(|text| say(&text)) {
        arg = arg.long_help(said);
    }
    if let Some(said) = arg.get_help_heading().and_then(&mut *say) {
        arg = arg.help_heading(said);
    }
    for value in arg.get_possible_values() {
        // They are part of the parser, so they are put into the page that it made.
        plain(value.get_help()).and_then(|text| say(&text));
    }
    let takes_value = arg.get_action().takes_values();
    let names = arg.get_value_names().unwrap_or_default();
    if let ([name], true) = (names, takes_value)
        && let Some(said) = say(name)
    {
        arg = arg.value_name(said);
    }
    arg
}

fn plain(text: Option<&StyledStr>) -> Option<String> {
    text.map(ToString::to_string)
}

/// Returns a page that clap made with clap's own words translated.
pub fn page(rendered: &str) -> String {
    if language() == Language::English {
        return rendered.to_owned();
    }
    let mut page = String::with_capacity(rendered.len());
    let mut in_usage = false;
    for line in rendered.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let heading = HEADINGS
            .iter()
            .find(|heading| **heading == line.trim_start());
        in_usage = line.starts_with(USAGE) || in_usage && line.starts_with("       ");
        match heading {
            Some(heading) => page.extend([indent, text(heading)]),
            None if in_usage => page.push_str(&usage(line)),
            None => page.push_str(&marks(line)),
        }
        page.push('\n');
    }
    page
}

/// Translates a line of usage: its first word, and the names of values in it.
fn usage(line: &str) -> String {
    let rest = line.strip_prefix(USAGE);
    let mut said = match rest {
        Some(_) => text(USAGE).to_owned(),
        None => " ".repeat(text(USAGE).chars().count()),
    };
    let mut name = String::new();
    let rest = rest.unwrap_or(line.trim_start());
    for c in rest.chars().map(Some).chain([None]) {
        match c {
            Some(c) if c.is_ascii_uppercase() => name.push(c),
            other => {
                let known = if name == OPTIONS { OPTIONS } else { &name };
                said.push_str(translated(known).unwrap_or(known));
                name.clear();
                said.extend(other);
            }
        }
    }
    said
}

/// Translates `[default: ...]` and the like.
fn marks(line: &str) -> String {
    // `- mail: what that value does`
    if let Some((name, what)) = line.split_once(": ")
        && name.trim_start().starts_with("- ")
        && let Some(said) = translated(what.trim_start())
    {
        // Names of several lengths stand above each other.
        let gap = &what[..what.len() - what.trim_start().len()];
        return format!("{name}: {gap}{said}");
    }
    let mut line = line.to_owned();
    for mark in MARKS {
        line = line.replace(mark, text(mark));
    }
    // A page may break the line between these two.
    if line.contains(VALUES[0]) || line.trim_start().starts_with(VALUES[1]) {
        for word in VALUES {
            line = line.replacen(word, text(word), 1);
        }
    }
    line
}

/// Returns what the parser says to a mistake as an error of ours.
pub fn mistake(error: &clap::Error) -> CliError {
    let mistake = CliError::usage(what(error));
    let mistake = listed(error).into_iter().fold(mistake, CliError::hint);
    let mistake = tips(error).into_iter().fold(mistake, CliError::hint);
    match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(text)) => {
            let text = text.to_string();
            text.lines().fold(mistake, |mistake, line| {
                mistake.hint(usage(line).trim_start())
            })
        }
        _ => mistake,
    }
}

/// Returns one value of an error's context.
fn word(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(word) => Some(word.clone()),
        ContextValue::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the values of an error's context.
fn several(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::Strings(words)) => words.clone(),
        Some(ContextValue::String(word)) => vec![word.clone()],
        _ => Vec::new(),
    }
}

fn what(error: &clap::Error) -> String {
    let arg = || word(error, ContextKind::InvalidArg).unwrap_or_default();
    let value = || word(error, ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::ArgumentConflict => conflict(error, &arg()),
        ErrorKind::InvalidValue if value().is_empty() => {
            tr!("a value is required for '{}' but none was supplied", arg())
        }
        ErrorKind::InvalidValue => tr!("invalid value '{}' for '{}'", value(), arg()),
        ErrorKind::ValueValidation => {
            let said = tr!("invalid value '{}' for '{}'", value(), arg());
            match error.source() {
                Some(why) => format!("{said}: {}", reason(&why.to_string())),
                None => said,
            }
        }
        ErrorKind::InvalidSubcommand => {
            let verb = word(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            tr!("unrecognized subcommand '{}'", verb)
        }
        ErrorKind::MissingRequiredArgument => {
            tr!("the following required arguments were not provided:").to_owned()
        }
        ErrorKind::MissingSubcommand => {
            let verb = word(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            tr!("'{}' requires a subcommand but one was not provided", verb)
        }
        ErrorKind::UnknownArgument => tr!("unexpected argument '{}' found", arg()),
        ErrorKind::TooManyValues => tr!(
            "unexpected value '{}' for '{}' found; no more were expected",
            value(),
            arg()
        ),
        ErrorKind::InvalidUtf8 => {
            tr!("invalid UTF-8 was detected in one or more arguments").to_owned()
        }
        // No option here asks for more; clap says it in English.
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

fn conflict(error: &clap::Error, arg: &str) -> String {
    let others = several(error, ContextKind::PriorArg);
    match others.as_slice() {
        [other] if other == arg => tr!("the argument '{}' cannot be used multiple times", arg),
        [other] => tr!("the argument '{}' cannot be used with '{}'", arg, other),
        _ => tr!("the argument '{}' cannot be used with:", arg),
    }
}

/// What the standard library says of a number that is none.
const NUMBERS: [&str; 4] = [
    tr_later!("invalid digit found in string"),
    tr_later!("cannot parse integer from empty string"),
    tr_later!("number too large to fit in target type"),
    tr_later!("number too small to fit in target type"),
];

/// Translates why a value was refused: words of `args`, or of the standard library.
fn reason(why: &str) -> String {
    let known = NUMBERS.iter().find(|known| **known == why);
    translated(known.unwrap_or(&why)).unwrap_or(why).to_owned()
}

/// Returns what an error lists.
fn listed(error: &clap::Error) -> Vec<String> {
    let in_brackets = |words: Vec<String>, heading: &str| match words.as_slice() {
        [] => Vec::new(),
        words => vec![format!("[{heading}: {}]", words.join(", "))],
    };
    match error.kind() {
        ErrorKind::MissingRequiredArgument => several(error, ContextKind::InvalidArg),
        ErrorKind::ArgumentConflict => {
            let others = several(error, ContextKind::PriorArg);
            if others.len() > 1 { others } else { Vec::new() }
        }
        ErrorKind::InvalidValue => in_brackets(
            several(error, ContextKind::ValidValue),
            tr!("possible values"),
        ),
        ErrorKind::MissingSubcommand => in_brackets(
            several(error, ContextKind::ValidSubcommand),
            tr!("subcommands"),
        ),
        _ => Vec::new(),
    }
}

/// Free tips of clap's, as templates: what stands between quotes in them is put in.
const TIPS: [&str; 3] = [
    tr_later!("to pass '{}' as a value, use '{}'"),
    tr_later!("'{}' exists"),
    tr_later!("subcommand '{}' exists; to use it, remove the '{}' before it"),
];

fn tips(error: &clap::Error) -> Vec<String> {
    let quoted = |words: Vec<String>| {
        words
            .iter()
            .map(|word| format!("'{word}'"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut tips = Vec::new();
    for kind in [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ] {
        let near = several(error, kind);
        let (many, near) = (near.len() > 1, quoted(near));
        match kind {
            _ if near.is_empty() => {}
            ContextKind::SuggestedSubcommand if many => {
                tips.push(tr!("some similar subcommands exist: {}", near));
            }
            ContextKind::SuggestedSubcommand => {
                tips.push(tr!("a similar subcommand exists: {}", near));
            }
            ContextKind::SuggestedArg => tips.push(tr!("a similar argument exists: {}", near)),
            _ if many => tips.push(tr!("some similar values exist: {}", near)),
            _ => tips.push(tr!("a similar value exists: {}", near)),
        }
    }
    if let Some(ContextValue::StyledStrs(free)) = error.get(ContextKind::Suggested) {
        tips.extend(free.iter().map(|tip| free_tip(&tip.to_string())));
    }
    tips.iter().map(|tip| tr!("tip: {}", tip)).collect()
}

fn free_tip(tip: &str) -> String {
    let pieces: Vec<&str> = tip.split('\'').collect();
    let template: String = pieces
        .iter()
        .enumerate()
        .map(|(at, piece)| if at % 2 == 0 { *piece } else { "'{}'" })
        .collect();
    let values: Vec<(&str, &dyn std::fmt::Display)> = pieces
        .iter()
        .skip(1)
        .step_by(2)
        .map(|piece| ("", piece as _))
        .collect();
    let known = TIPS.contains(&template.as_str());
    let said = translated(&template).filter(|_| known);
    said.map_or_else(|| tip.to_owned(), |said| super::fill(said, &values))
}
