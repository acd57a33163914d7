use std::collections::BTreeSet;

use clap::{Command, CommandFactory};

use super::*;
use crate::cli::args::Cli;

fn leaves(command: &Command, path: &str, found: &mut BTreeSet<String>) {
    let is_shown = |verb: &&Command| !verb.is_hide_set() && verb.get_name() != "help";
    let below: Vec<&Command> = command.get_subcommands().filter(is_shown).collect();
    for verb in &below {
        let path = format!("{path} {}", verb.get_name());
        leaves(verb, path.trim_start(), found);
    }
    let stands_alone = below.is_empty() || command.get_positionals().next().is_some();
    if stands_alone && !path.is_empty() {
        found.insert(path.to_owned());
    }
}

#[test]
fn every_verb_has_a_schema_and_no_other() {
    let mut root = Cli::command();
    root.build();
    let mut verbs = BTreeSet::new();
    leaves(&root, "", &mut verbs);
    let listed: BTreeSet<String> = VERBS.iter().map(|row| row.verb.to_owned()).collect();
    assert_eq!(verbs, listed, "the grammar, and src/cli/schema.rs");
}

#[test]
fn schemas_are_open_to_readers_and_closed_to_tests() {
    let row = &VERBS[0];
    assert!(
        of(row, false)
            .to_string()
            .contains(r#""additionalProperties":true"#)
    );
    assert!(
        !of(row, true)
            .to_string()
            .contains(r#""additionalProperties":true"#)
    );
}
