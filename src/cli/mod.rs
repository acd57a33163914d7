//! `mailctl` as its users see it.
//!
//! [`args`] parses and touches nothing, [`commands`] act (one file a verb), [`ui`] is the only
//! printer, [`untrusted`] is how strings from others are shown, [`error`] how failures are told,
//! [`json`] and [`times`] the forms of results, [`i18n`] the language of texts, `complete` what a shell completes. The wire and the
//! files below belong to
//! [`crate::client`]; nothing here opens a socket.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::CommandFactory;
use clap::error::ErrorKind;
use signal_hook::consts::SIGXFSZ;

use self::args::Cli;
use self::commands::Context;
use self::error::CliError;
use self::i18n::{Language, help, tr};
use self::ui::{Look, Ui};
use crate::protocol::codes::exit;

pub mod args;
pub mod codes;
pub mod commands;
mod complete;
pub mod error;
mod hidden;
pub mod i18n;
pub mod json;
pub mod once;
pub mod pager;
mod passphrase;
pub mod schema;
pub mod shell;
pub mod show;
pub mod times;
pub mod topics;
pub mod ui;
pub mod untrusted;

/// Runs `mailctl` with the arguments of this process.
pub fn main() -> ExitCode {
    // A file that may not grow further is an error of its write; by default the signal that comes with
    // it would kill the process without a word.
    let unread = Arc::new(AtomicBool::new(false));
    drop(signal_hook::flag::register(SIGXFSZ, unread));
    let words: Vec<OsString> = args::understood(std::env::args_os().collect());
    let json = words.iter().any(|word| word == "--json");
    // What programs read is the same everywhere.
    if !json {
        i18n::choose(Language::of_environment());
    }
    let cli = match parse(&words) {
        Ok(cli) => cli,
        Err(error) => {
            let mut ui = Ui::stdio(json, true, Look::default());
            let told = topics::asked(&words).map(|topic| show_page(&mut ui, topic));
            return told.unwrap_or_else(|| explain(&mut ui, &error)).into();
        }
    };
    let globals = &cli.globals;
    let mut ui = Ui::stdio(globals.json, globals.no_input, globals.look());
    let ended = run(&cli, &mut ui);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui.error(&error);
            error.exit.into()
        }
    }
}

/// Reads the command line. What is said about it is in the language of this process.
fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    let command = help::translate(Cli::command());
    Cli::of_matches(&command.try_get_matches_from(words)?)
}

fn run(cli: &Cli, ui: &mut Ui) -> Result<(), CliError> {
    let mut context = Context {
        globals: &cli.globals,
        passphrase: passphrase::given(cli.globals.passphrase_file.as_deref())?,
        ui,
    };
    match &cli.verb {
        Some(verb) => commands::run(&mut context, verb),
        None if std::io::stdin().is_terminal() && !cli.globals.json => shell::run(&mut context),
        None => {
            let page = help::translate(Cli::command()).render_help();
            ui.note(help::page(&page.to_string()));
            let told = CliError::usage(tr!("a verb is missing")).hint("mailctl --help");
            Err(if ui.is_json() {
                told
            } else {
                CliError::silent(exit::USAGE)
            })
        }
    }
}

/// Shows a page of help about what is no verb. Returns the exit code.
fn show_page(ui: &mut Ui, topic: &topics::Topic) -> u8 {
    let text = topic.text();
    let page = json::object(serde_json::json!({"topic": topic.name, "text": text}));
    let told = ui.result(&page, &text);
    ended(ui, told)
}

/// Tells what the parser has to say: help and version are results, the rest is a mistake. Returns
/// the exit code.
fn explain(ui: &mut Ui, error: &clap::Error) -> u8 {
    let told = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            ui.line(help::page(&error.render().to_string()).trim_end())
        }
        _ => Err(usage_error(error)),
    };
    ended(ui, told)
}

fn ended(ui: &mut Ui, told: Result<(), CliError>) -> u8 {
    told.map_or_else(
        |error| {
            ui.error(&error);
            error.exit
        },
        |()| exit::OK,
    )
}

/// Returns the parser's words as an error of ours: its first line is the text, its tips and the
/// usage are the hints.
fn usage_error(error: &clap::Error) -> CliError {
    let is_page = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if i18n::language() != Language::English && !is_page {
        return help::mistake(error);
    }
    let rendered = help::page(&error.render().to_string());
    let mut lines = rendered
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let first = lines.next().unwrap_or("not a command line");
    let usage = CliError::usage(first.strip_prefix("error: ").unwrap_or(first));
    lines.fold(usage, CliError::hint)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_mistyped_verb_gets_a_tip() {
        let error = Cli::try_parse_from(["mailctl", "sned"]).unwrap_err();
        let told = usage_error(&error);
        assert_eq!(told.exit, exit::USAGE);
        assert!(told.text.contains("'sned'"), "{told:?}");
        assert!(
            told.hints.iter().any(|hint| hint.contains("'send'")),
            "{told:?}"
        );
    }

    #[test]
    fn mistakes_are_told_by_ourselves_as_the_parser_tells_them() {
        for line in [
            "sned",
            "send",
            "send bob -b x -f y",
            "send bob -b x -b y",
            "send bob --ttl 0",
            "refresh --limti 3",
            "refresh --limit",
            "refresh --limit many",
            "chat bob --undelivered keep",
            "chat bob carol dave",
            "logout --yes",
            "whoami -- x",
            "outbox retry x",
            "topic join news --json=no",
        ] {
            let words = std::iter::once("mailctl").chain(line.split(' '));
            let Err(error) = Cli::try_parse_from(words) else {
                panic!("{line}");
            };
            assert_eq!(help::mistake(&error), usage_error(&error), "{line}");
        }
    }

    #[test]
    fn help_is_a_result_and_a_mistake_is_not() {
        let (mut ui, out, err) = ui::tests::captured(false);
        let help = Cli::try_parse_from(["mailctl", "send", "--help"]).unwrap_err();
        assert_eq!(explain(&mut ui, &help), exit::OK);
        assert!(out.text().contains("Usage: mailctl send") && err.text().is_empty());
        let (mut ui, out, err) = ui::tests::captured(true);
        let mistake = Cli::try_parse_from(["mailctl", "refresh", "--limit", "\u{1b}"]).unwrap_err();
        assert_eq!(explain(&mut ui, &mistake), exit::USAGE);
        assert!(out.text().is_empty());
        assert!(
            err.text().starts_with(r#"{"v":1,"error":{"code":"usage","#),
            "{}",
            err.text()
        );
        assert!(!err.text().contains('\u{1b}'));
    }
}
