//! Arguments of what surrounds the verbs: contexts, muting, health, explanations, completion, manuals.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches, Subcommand, ValueEnum};

use super::Cli;

impl Cli {
    /// Reads what was matched of a command line and the environment. What the command line says of who and where to
    /// be wins over what variables say of it in other words.
    pub fn of_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut cli = Self::from_arg_matches(matches)?;
        let said = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        let globals = &mut cli.globals;
        globals.context = globals.context.take().filter(|name| !name.is_empty());
        if globals.context.is_some() && (said("context") || !said("server")) {
            globals.server = globals.server.take().filter(|_| said("server"));
            globals.user = globals.user.take().filter(|_| said("as"));
        } else {
            globals.context = None;
        }
        Ok(cli)
    }
}

/// `mailctl completions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(after_help = "\
Where to put it:
  bash   mailctl completions bash > ~/.local/share/bash-completion/completions/mailctl
  zsh    mailctl completions zsh > DIR/_mailctl, where DIR is one of your $fpath
  fish   mailctl completions fish > ~/.config/fish/completions/mailctl.fish
or, in bash, for this shell alone: source <(mailctl completions bash)")]
pub struct Completions {
    /// The shell that completes
    pub shell: Shell,
}

/// A shell that completion is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash, with or without its bash-completion
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// `mailctl __complete`, which the scripts of `completions` call.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Complete {
    /// The shell
    pub shell: Shell,
    /// bash: the line, its last word and the kind of completion; else the words up to the cursor
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// `mailctl man`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  mailctl man send
  mailctl man topic join | man -l -
  mailctl man ~/.local/share/man/man1 && man mailctl-send")]
pub struct Man {
    /// The verb whose page to show, with the one below it; without one, the page of mailctl. `mailserver` has
    /// pages too. A word with a slash is a folder, made if needed, for all pages of both programs
    #[arg(value_name = "VERB|DIR")]
    pub what: Vec<String>,
}

/// `mailctl errors`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Errors {
    /// The word in `error[...]`, under --json in `error.code`
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

/// `mailctl doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(after_help = "\
Each line is `ok`, `warn` or `FAIL`, what was looked at, and what to do. Nothing is changed. The exit code is
that of the worst: 0 also with warnings, 78 configuration or keys, 77 denied, 74 files, 69 the server.")]
pub struct Doctor {
    /// Look at this machine only, ask no server
    #[arg(long)]
    pub offline: bool,
}

/// `mailctl mute`, `mailctl unmute`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Muting {
    /// A topic, or all under one (`lab/*`); without it, list what is muted
    #[arg(value_name = "T")]
    pub topic: Option<String>,
}

/// `mailctl context`.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Context {
    /// List them; the one in use is marked
    Ls,
    /// Name the user in use, or USER, at the server in use or named with --server
    Add(ContextAdd),
    /// Make it the one that is used when none is named
    Use(ContextName),
    /// Take a name away; the user stays logged in (to remove that: logout --forget)
    Rm(ContextName),
    /// Show who, where, which key, and what lies where
    Show(ContextOne),
}

/// `mailctl context add`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ContextAdd {
    /// The name it gets
    #[arg(value_name = "NEW")]
    pub name: String,
    /// One of this home's users; the one in use, without it
    #[arg(value_name = "USER")]
    pub user: Option<String>,
}

/// The context meant.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ContextName {
    /// Its name
    #[arg(value_name = "CONTEXT")]
    pub name: String,
}

/// The context meant, or the one in use.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ContextOne {
    /// Its name; the one in use, without it
    #[arg(value_name = "CONTEXT")]
    pub name: Option<String>,
}

/// `mailctl json-schema`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  mailctl json-schema refresh
  mailctl json-schema topic ls
  mailctl json-schema ./schemas")]
pub struct JsonSchema {
    /// The verb, with the one below it; without one, list those that have a schema. A word with a slash
    /// is a folder, made if needed, for the schemas of all verbs
    #[arg(value_name = "VERB|DIR")]
    pub what: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_variable_holds_a_secret() {
        fn look(command: &clap::Command) {
            for argument in command.get_arguments().filter(|it| it.get_env().is_some()) {
                let name = argument.get_id().as_str();
                let known = ["server", "home", "as", "context", "advertise"];
                assert!(known.contains(&name), "{name}: no secret, and listed here?");
            }
            command.get_subcommands().for_each(look);
        }
        look(&Cli::command());
    }

    #[test]
    fn a_context_on_the_command_line_wins_over_variables_and_goes_with_options() {
        let words = ["mailctl", "whoami", "-C", "work", "--as", "bob"];
        let matches = Cli::command().try_get_matches_from(words).unwrap();
        let globals = Cli::of_matches(&matches).unwrap().globals;
        assert_eq!(globals.context.as_deref(), Some("work"));
        assert_eq!(globals.user.as_deref(), Some("bob"));
    }
}
