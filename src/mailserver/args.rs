//! What the command line may say. Parsing touches nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{Failure, say};
use crate::config::{KEYS, Key, Setting};
use crate::protocol::codes::exit;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) config_file: Option<PathBuf>,
    /// Settings given as flags.
    pub(super) flags: Vec<Setting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Run {
        /// Open a store that is known to have lost mail.
        accept_loss: bool,
    },
    Init,
    CheckConfig,
    DefaultConfig,
    Verify,
}

/// Parses the arguments, the program's name first. Nothing is left to do after help or version.
pub(super) fn parse(args: Vec<OsString>) -> Result<Option<Call>, Failure> {
    match command().try_get_matches_from(args) {
        Ok(matches) => Ok(Some(call(&matches))),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                say(error.render().to_string().trim_end());
                Ok(None)
            }
            _ => Err(usage(&error)),
        },
    }
}

const ABOUT: &str =
    "Correio's mail server: durable mail, live notices and chat introductions over ZeroMQ";

const LAYERS: &str = "Every setting can also stand in a file (--config; mailserver default-config prints one) and in \
                      a variable: MAILSERVER_BIND for --bind. A flag wins over a variable, a variable over the file.";

/// Every verb but `run`, with its line of help.
const VERBS: [(&str, &str, Verb); 4] = [
    (
        "init",
        "Make the data folder and the keys, then say what to do next",
        Verb::Init,
    ),
    (
        "check-config",
        "Say whether the settings are good, and change nothing",
        Verb::CheckConfig,
    ),
    (
        "default-config",
        "Print a settings file with every default and its meaning",
        Verb::DefaultConfig,
    ),
    (
        "verify",
        "Read the whole store of a stopped server and say what does not fit",
        Verb::Verify,
    ),
];

/// Returns the whole grammar.
pub(super) fn command() -> Command {
    let run = Command::new("run").about("Serve until told to stop (the default)");
    Command::new("mailserver")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(LAYERS)
        .disable_help_subcommand(true)
        .arg(accept_loss())
        .arg(config_file())
        .args(KEYS.iter().map(flag))
        .subcommand(run.arg(accept_loss()))
        .subcommands(VERBS.map(|(name, about, _)| Command::new(name).about(about)))
}

fn flag(key: &Key) -> Arg {
    Arg::new(key.name)
        .long(key.name)
        .value_name(key.placeholder)
        .global(true)
        .help(format!("{} [default: {}]", key.help, key.default))
}

fn config_file() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("MAILSERVER_CONFIG")
        .value_parser(value_parser!(PathBuf))
        .global(true)
        .help("Read settings from this TOML file")
}

fn accept_loss() -> Arg {
    Arg::new("accept-loss")
        .long("accept-loss")
        .action(ArgAction::SetTrue)
        .help("Go on with a store that has lost mail, after the server refused to and said so")
}

fn call(matches: &ArgMatches) -> Call {
    let (name, inner) = matches.subcommand().unwrap_or(("run", matches));
    let found = VERBS.iter().find(|(verb, ..)| *verb == name);
    let verb = found.map_or_else(|| run(matches, inner), |(_, _, verb)| *verb);
    let flags = KEYS.iter().filter_map(|key| {
        let value = inner.get_one::<String>(key.name)?.clone();
        let origin = format!("--{}", key.name);
        Some(Setting { key, value, origin })
    });
    Call {
        verb,
        config_file: inner
            .get_one::<PathBuf>("config")
            .filter(|path| !path.as_os_str().is_empty())
            .cloned(),
        flags: flags.collect(),
    }
}

fn run(outer: &ArgMatches, inner: &ArgMatches) -> Verb {
    Verb::Run {
        accept_loss: outer.get_flag("accept-loss") || inner.get_flag("accept-loss"),
    }
}

/// Puts clap's several lines on one: what is wrong, and its tip.
fn usage(error: &clap::Error) -> Failure {
    let rendered = error.render().to_string();
    let said: Vec<&str> = rendered
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let text = said.join("; ");
    Failure {
        code: exit::USAGE,
        text: format!(
            "{}; mailserver --help lists what there is",
            text.trim_start_matches("error: ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Call {
        let args = ["mailserver"].iter().chain(words).map(OsString::from);
        parse(args.collect()).unwrap().unwrap()
    }

    #[test]
    fn the_grammar_holds() {
        command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_verb_and_run_is_the_default() {
        for words in [
            &["--bind", "x"][..],
            &["run", "--bind", "x"],
            &["--bind", "x", "run"],
            &["--bind=x", "check-config"],
        ] {
            let call = parsed(words);
            assert_eq!(call.flags.len(), 1, "{words:?}");
            assert_eq!(call.flags[0].value, "x");
            assert_eq!(call.flags[0].origin, "--bind");
        }
        assert_eq!(parsed(&[]).verb, Verb::Run { accept_loss: false });
        let yes = Verb::Run { accept_loss: true };
        assert_eq!(parsed(&["run", "--accept-loss"]).verb, yes);
        assert_eq!(parsed(&["--accept-loss"]).verb, yes);
        assert_eq!(parsed(&["init"]).verb, Verb::Init);
    }

    #[test]
    fn a_wrong_word_is_one_line_and_64() {
        for words in [&["--bnd", "x"][..], &["fly"], &["run", "more"], &["--bind"]] {
            let args = ["mailserver"].iter().chain(words).map(OsString::from);
            let failure = parse(args.collect()).unwrap_err();
            assert_eq!(failure.code, 64, "{words:?}");
            assert!(!failure.text.contains('\n') && failure.text.contains("--help"));
        }
    }
}
