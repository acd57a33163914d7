//! Where in the grammar a command line stands at its last word. Pure: it knows the grammar and the
//! words, no file and no server.

use clap::{Arg, Command};

/// What may stand at the last word.
#[derive(Debug, Default)]
pub(super) struct Spot<'a> {
    /// Words of the grammar, each with a line of help.
    pub(super) words: Vec<(String, String)>,
    /// A value of this kind.
    pub(super) kind: Option<Kind>,
    /// What stands before the value in the same word (`--as=`).
    pub(super) before: &'a str,
    /// The value as far as it is typed.
    pub(super) typed: &'a str,
    /// Options of every verb that were given before, by name.
    pub(super) given: Vec<(&'a str, &'a str)>,
    /// Values that were given before in the same row of words.
    pub(super) taken: Vec<&'a str>,
}

/// Kinds of values that are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A user or a topic.
    Address,
    /// A user.
    User,
    /// A topic.
    Topic,
    /// The number of a mail.
    Mail,
    /// The number of an entry of the outbox.
    Entry,
    /// A user of this home.
    Account,
    /// A context of this home.
    Context,
    /// The word of an error.
    Error,
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// Arguments whose value's name does not say what they take: their verb, their value's name, the kind.
const EXCEPTIONS: &[(&str, &str, Option<Kind>)] = &[
    ("login", "USER", Some(Kind::Account)),
    ("use", "USER", Some(Kind::Account)),
    ("invite", "USER", None),
    ("context add", "USER", Some(Kind::Account)),
    ("join", "USER", None),
    ("admin user add", "NAME", None),
    ("admin user", "NAME", Some(Kind::User)),
    ("admin session", "NAME", Some(Kind::User)),
    ("admin topic create", "NAME", None),
    ("admin topic", "NAME", Some(Kind::Topic)),
    ("admin queue move", "FROM", Some(Kind::User)),
    ("admin queue move", "TO", Some(Kind::User)),
    ("admin queue", "NAME", Some(Kind::Address)),
    ("history", "T", Some(Kind::Address)),
];

/// Returns what may stand at the last of `words`, which begin after the program's name. `root` must
/// have been built.
pub(super) fn at<'a>(root: &Command, words: &'a [String]) -> Spot<'a> {
    let mut spot = Spot::default();
    let Some((last, before)) = words.split_last() else {
        return spot;
    };
    let mut place = Place::new(root);
    for word in before {
        place.pass(word, &mut spot);
    }
    place.finish(last, &mut spot);
    spot
}

/// A place in the grammar.
struct Place<'c> {
    verb: &'c Command,
    /// The verbs up to here, joined by spaces.
    path: String,
    /// An option that waits for its value.
    option: Option<&'c Arg>,
    /// How many values without a name were passed since the verb.
    positionals: usize,
    /// A `--` was passed.
    only_values: bool,
}

impl<'c> Place<'c> {
    fn new(root: &'c Command) -> Self {
        Self {
            verb: root,
            path: String::new(),
            option: None,
            positionals: 0,
            only_values: false,
        }
    }

    fn pass<'a>(&mut self, word: &'a str, spot: &mut Spot<'a>) {
        if let Some(option) = self.option.take() {
            note(option, word, spot);
        } else if self.only_values || !word.starts_with('-') || word == "-" {
            self.pass_value(word, spot);
        } else if word == "--" {
            self.only_values = true;
        } else {
            self.pass_option(word, spot);
        }
    }

    fn pass_value<'a>(&mut self, word: &'a str, spot: &mut Spot<'a>) {
        if !self.only_values
            && let Some(verb) = self.verb.find_subcommand(word)
        {
            if !self.path.is_empty() {
                self.path.push(' ');
            }
            self.path.push_str(verb.get_name());
            self.verb = verb;
            self.positionals = 0;
            spot.taken.clear();
            return;
        }
        self.positionals += 1;
        spot.taken.push(word);
    }

    fn pass_option<'a>(&mut self, word: &'a str, spot: &mut Spot<'a>) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let Some(option) = self.option_called(name) else {
            return;
        };
        match value {
            Some(value) => note(option, value, spot),
            None if takes_value(option) => self.option = Some(option),
            None => {}
        }
    }

    /// Finds an option by `--name`, or by the last letter of `-abc`.
    fn option_called(&self, name: &str) -> Option<&'c Arg> {
        let mut options = self.verb.get_arguments();
        match name.strip_prefix("--") {
            Some(long) => options.find(|arg| arg.get_long() == Some(long)),
            None => options.find(|arg| arg.get_short() == name.chars().last()),
        }
    }

    fn finish<'a>(&self, last: &'a str, spot: &mut Spot<'a>) {
        spot.typed = last;
        if let Some(option) = self.option {
            self.value_of(option, spot);
        } else if last.starts_with('-') && !self.only_values {
            match last.split_once('=') {
                Some((name, value)) => {
                    spot.before = &last[..=name.len()];
                    spot.typed = value;
                    if let Some(option) = self.option_called(name) {
                        self.value_of(option, spot);
                    }
                }
                None => spot.words = self.options(),
            }
        } else {
            if let Some(argument) = self.next_positional() {
                self.value_of(argument, spot);
            }
            if self.positionals == 0 && !self.only_values {
                spot.words.extend(self.verbs());
            }
        }
    }

    /// The next value without a name; the last of them where that takes several.
    fn next_positional(&self) -> Option<&'c Arg> {
        let all: Vec<&Arg> = self.verb.get_positionals().collect();
        let many = |arg: &&&Arg| arg.get_num_args().is_some_and(|n| n.max_values() > 1);
        let next = all.get(self.positionals);
        next.or_else(|| all.last().filter(many)).copied()
    }

    fn value_of(&self, argument: &Arg, spot: &mut Spot<'_>) {
        let values = argument.get_possible_values();
        if values.is_empty() {
            spot.kind = kind(&self.path, argument);
            return;
        }
        let shown = values.iter().filter(|value| !value.is_hide_set());
        spot.words.extend(shown.map(|value| {
            let help = value.get_help().map(ToString::to_string);
            (value.get_name().to_owned(), help.unwrap_or_default())
        }));
    }

    fn verbs(&self) -> impl Iterator<Item = (String, String)> {
        let shown = self
            .verb
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set());
        shown.map(|verb| {
            let about = verb.get_about().map(ToString::to_string);
            (verb.get_name().to_owned(), first_line(about))
        })
    }

    /// The verb's own options first.
    fn options(&self) -> Vec<(String, String)> {
        let named = |arg: &&Arg| arg.get_long().is_some() && !arg.is_hide_set();
        let mut options: Vec<&Arg> = self.verb.get_arguments().filter(named).collect();
        options.sort_by_key(|arg| arg.is_global_set());
        let named = options.iter().map(|arg| {
            let help = arg.get_help().map(ToString::to_string);
            let long = arg.get_long().expect("only those that have one were kept");
            (format!("--{long}"), first_line(help))
        });
        named.collect()
    }
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

fn note<'a>(option: &Arg, value: &'a str, spot: &mut Spot<'a>) {
    const NOTED: [&str; 4] = ["server", "home", "as", "context"];
    let name = NOTED.iter().find(|name| **name == option.get_id().as_str());
    if let Some(name) = name {
        spot.given.retain(|(given, _)| given != name);
        spot.given.push((*name, value));
    }
}

fn first_line(help: Option<String>) -> String {
    let help = help.unwrap_or_default();
    help.lines().next().unwrap_or_default().to_owned()
}

/// Says what an argument takes: by the exceptions, else by what its value is called in the help.
fn kind(path: &str, argument: &Arg) -> Option<Kind> {
    let called = match argument.get_value_names() {
        Some([name, ..]) => name.to_string(),
        _ => argument.get_id().as_str().to_uppercase(),
    };
    let below = |verb: &str| {
        let rest = path.strip_prefix(verb);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    let excepted = EXCEPTIONS
        .iter()
        .find(|(verb, value, _)| below(verb) && *value == called);
    if let Some((_, _, kind)) = excepted.filter(|_| argument.is_positional()) {
        return *kind;
    }
    Some(match called.as_str() {
        "USER" if argument.is_global_set() => Kind::Account,
        "USER" => Kind::User,
        "TARGET" | "ADDRESS" => Kind::Address,
        "T" | "TOPIC" => Kind::Topic,
        "ID" => Kind::Mail,
        "N" if below("outbox") => Kind::Entry,
        "NAME" if argument.is_global_set() => Kind::Context,
        "CONTEXT" => Kind::Context,
        "CODE" if below("errors") => Kind::Error,
        "FILE" | "PATH" | "FILE|URL" => Kind::File,
        "DIR" => Kind::Folder,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

    fn look<T>(line: &str, tell: impl Fn(&Spot<'_>) -> T) -> T {
        let mut root = Cli::command();
        root.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        tell(&at(&root, &words))
    }

    fn words(line: &str) -> Vec<String> {
        look(line, |spot| {
            let fitting = spot.words.iter().map(|(word, _)| word.clone());
            fitting
                .filter(|word| word.starts_with(spot.typed))
                .collect()
        })
    }

    fn kind_at(line: &str) -> Option<Kind> {
        look(line, |spot| spot.kind)
    }

    #[test]
    fn verbs_and_options_are_those_of_the_place() {
        assert_eq!(words("ref"), ["refresh"]);
        assert_eq!(words("--json --as ana topic l"), ["leave", "ls"]);
        assert_eq!(words("send --qu"), ["--queue"]);
        assert!(words("send --").contains(&"--json".to_owned()));
        assert_eq!(words("send bob --t")[..1], ["--ttl"], "its own first");
        assert_eq!(words("chat bob --undelivered "), ["mail", "drop"]);
        assert_eq!(words("chat --undelivered=d"), ["drop"]);
        assert_eq!(words("completions "), ["bash", "zsh", "fish"]);
        assert!(words("refresh ").is_empty());
        assert!(!words("").iter().any(|word| word.starts_with('_')));
    }

    #[test]
    fn a_value_is_of_the_kind_that_its_name_says() {
        for (line, kind) in [
            ("send ", Some(Kind::Address)),
            ("send bob ", Some(Kind::Address)),
            ("send bob -s hi ne", Some(Kind::Address)),
            ("send bob -s ", None),
            ("send -f ", Some(Kind::File)),
            ("send bob --attach=", Some(Kind::File)),
            ("send -- -x", Some(Kind::Address)),
            ("read ", Some(Kind::Mail)),
            ("read 1 ", None),
            ("topic join ", Some(Kind::Topic)),
            ("history ", Some(Kind::Address)),
            ("login --topic ", Some(Kind::Topic)),
            ("login ", Some(Kind::Account)),
            ("use ", Some(Kind::Account)),
            ("invite ", None),
            ("--as ", Some(Kind::Account)),
            ("whoami --as=", Some(Kind::Account)),
            ("chat ", Some(Kind::User)),
            ("chat accept ", Some(Kind::User)),
            ("outbox rm ", Some(Kind::Entry)),
            ("-C ", Some(Kind::Context)),
            ("context rm ", Some(Kind::Context)),
            ("context add ", None),
            ("context add x ", Some(Kind::Account)),
            ("errors ", Some(Kind::Error)),
            ("mute ", Some(Kind::Topic)),
            ("refresh --limit ", None),
            ("save 3 --dir ", Some(Kind::Folder)),
            ("--home ", Some(Kind::Folder)),
            ("admin topic rm ", Some(Kind::Topic)),
            ("admin topic create ", None),
            ("admin queue peek ", Some(Kind::Address)),
        ] {
            assert_eq!(kind_at(line), kind, "{line:?}");
        }
    }

    #[test]
    fn what_was_given_before_is_known() {
        look("--home /h --as=ana send --server s bob x", |spot| {
            assert_eq!(spot.given, [("home", "/h"), ("as", "ana"), ("server", "s")]);
            assert_eq!((&spot.taken[..], spot.typed), (&["bob"][..], "x"));
        });
        look("send --attach=fi", |spot| {
            assert_eq!((spot.before, spot.typed), ("--attach=", "fi"));
        });
    }
}
