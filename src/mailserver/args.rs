//! What the command line may say. Parsing touches nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::backup::End;
use super::{Failure, say};
use crate::config::{KEYS, Key, Origin, Setting};
use crate::protocol::codes::exit;

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) config_file: Option<PathBuf>,
    /// Settings given as flags.
    pub(super) flags: Vec<Setting>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verb {
    Run {
        /// Open a store that is known to have lost mail.
        accept_loss: bool,
        /// Take the server's key as it is, also where it is not the one that the store belongs to.
        accept_new_key: bool,
    },
    Init,
    CheckConfig,
    DefaultConfig,
    ConfigShow {
        origin: bool,
        json: bool,
    },
    Verify {
        /// A backup instead of the store.
        backup: Option<End>,
    },
    Migrate {
        /// Where the backup goes that is made before.
        backup: Option<PathBuf>,
    },
    Doctor {
        json: bool,
    },
    Backup(End),
    Restore(End),
    Healthcheck {
        /// Being alive is enough.
        alive_only: bool,
    },
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

/// A verb, its line of help, what else it takes, and what it becomes.
struct Row {
    name: &'static str,
    about: &'static str,
    args: fn() -> Vec<Arg>,
    verb: fn(&ArgMatches) -> Verb,
}

/// Every verb but `run`.
const VERBS: [Row; 9] = [
    Row {
        name: "init",
        about: "Make the data folder and the keys, then say what to do next",
        args: Vec::new,
        verb: |_| Verb::Init,
    },
    Row {
        name: "check-config",
        about: "Say whether the settings are good, and change nothing",
        args: Vec::new,
        verb: |_| Verb::CheckConfig,
    },
    Row {
        name: "default-config",
        about: "Print a settings file with every default and its meaning",
        args: Vec::new,
        verb: |_| Verb::DefaultConfig,
    },
    Row {
        name: "verify",
        about: "Read the whole store of a stopped server and say what does not fit",
        args: || vec![whole_backup()],
        verb: |words| Verb::Verify {
            backup: words.get_one("backup").map(End::from),
        },
    },
    Row {
        name: "backup",
        about: "Write all of a stopped server, its keys included, to a new file",
        args: || vec![end("Where to write it: a new file (0600), or - for a pipe")],
        verb: |words| Verb::Backup(named(words)),
    },
    Row {
        name: "restore",
        about: "Make a new data folder from a backup",
        args: || vec![end("The backup: a file, or - for a pipe")],
        verb: |words| Verb::Restore(named(words)),
    },
    Row {
        name: "migrate",
        about: "Give a stopped server's store this version's format, after a backup",
        args: || {
            let backup = whole_backup();
            vec![backup.help("Where the backup goes; beside the data folder without this")]
        },
        verb: |words| Verb::Migrate {
            backup: words.get_one("backup").cloned(),
        },
    },
    Row {
        name: "doctor",
        about: "Test what this server needs of its machine, and say what to do about it",
        args: || vec![switch("json").help("One JSON object a line")],
        verb: |words| Verb::Doctor {
            json: words.get_flag("json"),
        },
    },
    Row {
        name: "healthcheck",
        about: "Ask the running server whether it is ready to take mail",
        args: || {
            vec![
                switch("alive")
                    .help("Ask only whether it is alive, not whether its store takes something in"),
            ]
        },
        verb: |words| Verb::Healthcheck {
            alive_only: words.get_flag("alive"),
        },
    },
];

fn switch(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn whole_backup() -> Arg {
    Arg::new("backup")
        .long("backup")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Read this backup instead (- for a pipe)")
}

fn end(help: &'static str) -> Arg {
    Arg::new("file")
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help(help)
}

fn named(words: &ArgMatches) -> End {
    End::from(words.get_one("file").expect("the grammar requires it"))
}

/// Returns the whole grammar.
pub(crate) fn command() -> Command {
    let run = Command::new("run").about("Serve until told to stop (the default)");
    Command::new("mailserver")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(LAYERS)
        .disable_help_subcommand(true)
        .args(acceptances())
        .arg(config_file())
        .args(KEYS.iter().map(flag))
        .subcommand(run.args(acceptances()))
        .subcommand(config())
        .subcommands(VERBS.iter().map(|row| {
            let command = Command::new(row.name).about(row.about);
            command.args((row.args)())
        }))
}

/// What is done with the settings themselves.
fn config() -> Command {
    let show = Command::new("show")
        .about("Print every setting as it would hold for a start with these words")
        .arg(
            switch("origin")
                .help("Say where each comes from: flag, variable, file and line, or default"),
        )
        .arg(switch("json").help("One JSON object a line"));
    Command::new("config")
        .about("Look at the settings")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(show)
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

/// What is said after the server refused to start and named it.
fn acceptances() -> [Arg; 2] {
    [
        (
            "accept-loss",
            "Go on with a store that has lost mail, after the server refused to and said so",
        ),
        (
            "accept-new-key",
            "Be another server from now on: with the mail of this store, by the key in server.key",
        ),
    ]
    .map(|(name, help)| switch(name).help(help))
}

fn call(matches: &ArgMatches) -> Call {
    let (name, mut inner) = matches.subcommand().unwrap_or(("run", matches));
    let verb = if let Some((_, words)) = inner.subcommand() {
        inner = words;
        Verb::ConfigShow {
            origin: words.get_flag("origin"),
            json: words.get_flag("json"),
        }
    } else {
        let found = VERBS.iter().find(|row| row.name == name);
        found.map_or_else(|| run(matches, inner), |row| (row.verb)(inner))
    };
    let flags = KEYS.iter().filter_map(|key| {
        let value = inner.get_one::<String>(key.name)?.clone();
        let origin = Origin::Flag;
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
    let given = |name| outer.get_flag(name) || inner.get_flag(name);
    Verb::Run {
        accept_loss: given("accept-loss"),
        accept_new_key: given("accept-new-key"),
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
    // A line that ends in a colon goes on with what it lists.
    let text = said.join("; ").replace(":; ", ": ");
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
            assert_eq!(call.flags[0].place(), "--bind");
        }
        let run = |accept_loss, accept_new_key| Verb::Run {
            accept_loss,
            accept_new_key,
        };
        assert_eq!(parsed(&[]).verb, run(false, false));
        assert_eq!(parsed(&["run", "--accept-loss"]).verb, run(true, false));
        assert_eq!(parsed(&["--accept-loss"]).verb, run(true, false));
        assert_eq!(parsed(&["--accept-new-key"]).verb, run(false, true));
        assert_eq!(parsed(&["init"]).verb, Verb::Init);
        let shown = parsed(&["config", "show", "--origin", "--bind", "x"]);
        let (origin, json) = (true, false);
        assert_eq!(shown.verb, Verb::ConfigShow { origin, json });
        assert_eq!(shown.flags.len(), 1);
        let file = End::File("f".into());
        assert_eq!(parsed(&["backup", "-"]).verb, Verb::Backup(End::Pipe));
        let ready = Verb::Healthcheck { alive_only: false };
        assert_eq!(parsed(&["healthcheck"]).verb, ready);
        assert_eq!(parsed(&["restore", "f"]).verb, Verb::Restore(file));
        assert_eq!(parsed(&["verify"]).verb, Verb::Verify { backup: None });
    }

    #[test]
    fn a_wrong_word_is_one_line_and_64() {
        for words in [
            &["--bnd", "x"][..],
            &["fly"],
            &["backup"],
            &["config"],
            &["run", "more"],
            &["--bind"],
        ] {
            let args = ["mailserver"].iter().chain(words).map(OsString::from);
            let failure = parse(args.collect()).unwrap_err();
            assert_eq!(failure.code, 64, "{words:?}");
            assert!(!failure.text.contains('\n') && failure.text.contains("--help"));
        }
    }
}
