//! What `--help` says, verb by verb: a change of it is a change for people and scripts.

use clap::{Command, CommandFactory};
use correio::cli::args::Cli;

/// Renders the help of `command` and, below it, of everything under it.
fn help(command: &mut Command, path: &str, out: &mut Vec<(String, String)>) {
    out.push((path.replace(' ', "_"), command.render_help().to_string()));
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .filter(|name| name != "help")
        .collect();
    for name in names {
        let sub = command
            .find_subcommand_mut(&name)
            .expect("the name was just listed");
        help(sub, &format!("{path} {name}"), out);
    }
}

#[test]
fn help_of_every_verb() {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut pages = Vec::new();
    help(&mut root, "mailctl", &mut pages);
    assert!(pages.len() > 30, "{}", pages.len());
    for (name, page) in pages {
        insta::assert_snapshot!(name, page);
    }
}
