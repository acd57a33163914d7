//! What is typed: the owner's own words, which must never do what they do not say.

use clap::Parser as _;
use correio::cli::args::{Cli, bare};
use correio::cli::shell::chat::table as chat;
use correio::cli::shell::parse::{Command, parse};
use correio::cli::shell::table::{self, Fitting, Known};
use correio::cli::untrusted::columns;

/// A line of the shell: only an `@` ever writes, and a mistake points into the line.
pub(super) fn line(bytes: &[u8]) {
    let line = String::from_utf8_lossy(bytes);
    match parse(&line) {
        Ok(Command::Write { targets, text }) => {
            assert!(line.trim_start().starts_with('@') && !targets.is_empty());
            let fits = |name: &String| !name.is_empty() && !name.contains(char::is_whitespace);
            assert!(targets.iter().all(fits), "{targets:?}");
            assert!(text.is_none_or(|text| line.trim().ends_with(&text)));
        }
        Ok(Command::Chat(user)) => assert!(line.trim_start().starts_with('#') && !user.is_empty()),
        Ok(Command::Join(topic) | Command::Leave(topic)) => {
            assert!(line.trim_start().starts_with('!') && !topic.is_empty());
        }
        Ok(Command::Nothing) => assert!(line.trim().is_empty()),
        Ok(Command::Help(word)) => assert!(!table::help(word.as_deref()).is_empty()),
        Ok(_) => assert!(!line.trim_start().starts_with(['@', '#'])),
        Err(mistake) => {
            assert!(
                mistake.at <= columns(&line) && !mistake.text.is_empty(),
                "{mistake:?}"
            );
        }
    }
    completion(&line);
}

fn completion(line: &str) {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let known = Known {
        recent: names(&["bob", "boats"]),
        addresses: names(&["boats", "bulletin"]),
        people: names(&["bob", "ana"]),
        asking: names(&["bob"]),
        topics: names(&["boats", "lab/x"]),
        joined: names(&["boats"]),
    };
    let (start, found) = table::complete(line, &known);
    let typed = line.get(start..).expect("it starts between two characters");
    if let Fitting::Words(words) = found {
        assert!(
            words.iter().all(|word| word.starts_with(typed)),
            "{typed:?} {words:?}"
        );
    }
    assert!(table::nearest(typed).is_none_or(|word| table::find(word).is_some()));
}

/// A line of a chat: what begins with a slash does not go to the other side, and no line holds two.
pub(super) fn chat_line(bytes: &[u8]) {
    let typed = String::from_utf8_lossy(bytes);
    match chat::parse(&typed) {
        Ok(chat::Said::Lines(lines)) => {
            assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
            let one = !typed.trim_end().contains('\n');
            let slash = one && lines.iter().any(|line| line.trim_start().starts_with('/'));
            assert!(!slash || typed.trim_start().starts_with("//"), "{typed:?}");
        }
        Ok(chat::Said::Word(_, rest)) => {
            assert!(typed.trim_start().starts_with('/') && typed.contains(rest.as_str()));
        }
        Err(mistake) => assert!(mistake.at <= columns(&typed) && !mistake.text.is_empty()),
    }
    assert!(!chat::help(&typed).is_empty());
    assert!(chat::path_in(&typed).is_none_or(|path| typed.ends_with(path)));
    let (start, found) = chat::complete(&typed);
    assert!(typed.is_char_boundary(start));
    assert!(found.iter().all(|word| word.starts_with(&typed[start..])));
}

/// The words of a command line, a line each.
pub(super) fn arguments(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split('\n').take(16).collect();
    match Cli::try_parse_from(["mailctl"].iter().chain(&words)) {
        Ok(cli) => assert!(!format!("{cli:?}").is_empty()),
        Err(error) => assert!(!error.render().to_string().is_empty()),
    }
    assert!(words.iter().all(|word| word.ends_with(bare(word))));
}
