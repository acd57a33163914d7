//! What `--help` says, verb by verb, and how the main errors are told: a change here is a change for
//! people and scripts.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{Command, CommandFactory};
use correio::auth::keys::KeyError;
use correio::cli::args::Cli;
use correio::cli::error::CliError;
use correio::cli::i18n::{self, Language, within};
use correio::cli::ui::Ui;
use correio::client::home::HomeError;
use correio::client::{ClientError, FileError};
use correio::protocol::codes::{Code, WireError};

/// Renders the help of `command` and, below it, of everything under it.
fn help(command: &mut Command, path: &str, out: &mut Vec<(String, String)>) {
    out.push((path.replace(' ', "_"), command.render_help().to_string()));
    let names: Vec<String> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
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

#[test]
fn help_of_every_verb_in_portuguese() {
    let pages = within(Language::Portuguese, || {
        let mut root = i18n::help::translate(Cli::command().term_width(100));
        let mut pages = Vec::new();
        help(&mut root, "mailctl", &mut pages);
        let page = |(name, page): (String, String)| {
            let page = i18n::help::page(&page);
            format!("=== {name}\n{}", page.trim_end())
        };
        pages.into_iter().map(page).collect::<Vec<_>>()
    });
    assert!(pages.len() > 30, "{}", pages.len());
    insta::assert_snapshot!("in_portuguese", pages.join("\n\n"));
}

/// Where a test's `Ui` prints.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no holder panics").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn main_errors() -> Vec<ClientError> {
    let endpoint = || "tcp://127.0.0.1:5570".to_owned();
    let unreachable = || ClientError::Unreachable {
        endpoint: endpoint(),
    };
    let mut busy = WireError::new(Code::MailboxFull, "bob's mailbox is full").after_ms(1000);
    busy.reference = Some("r-17".to_owned());
    vec![
        unreachable(),
        ClientError::WrongServer {
            endpoint: endpoint(),
        },
        ClientError::ServerChanged {
            path: "data/server.url".to_owned(),
        },
        ClientError::NoAnswer {
            endpoint: endpoint(),
            verb: "send",
            within: Duration::from_secs(10),
        },
        ClientError::InDoubt { entry: 3 },
        ClientError::Lost { entry: 3 },
        ClientError::NotSent {
            entry: 3,
            queued: false,
            cause: Box::new(unreachable()),
        },
        ClientError::NotSent {
            entry: 3,
            queued: true,
            cause: Box::new(unreachable()),
        },
        ClientError::File(FileError::Full {
            deed: "write",
            path: "mail/tmp/1".into(),
        }),
        ClientError::Key(KeyError::Open {
            path: "key".into(),
            mode: 0o644,
        }),
        ClientError::Home(HomeError::NoAccount),
        ClientError::Home(HomeError::OtherServer {
            place: "FILE|URL".to_owned(),
        }),
        ClientError::Refused(busy),
    ]
}

#[test]
fn words_of_the_main_errors() {
    insta::assert_snapshot!("errors", told_errors(&[false, true]));
}

#[test]
fn words_of_the_main_errors_in_portuguese() {
    let told = within(Language::Portuguese, || told_errors(&[false]));
    insta::assert_snapshot!("errors_in_portuguese", told);
}

fn told_errors(forms: &[bool]) -> String {
    let mut told = String::new();
    for json in forms.iter().copied() {
        let page = Page::default();
        let mut ui = Ui::to(Box::new(std::io::sink()), Box::new(page.clone()), json);
        for error in main_errors() {
            let error = CliError::from(error);
            ui.error(&error);
            writeln!(page.clone(), "-> {}", error.exit).expect("a page takes all");
        }
        told += &String::from_utf8(page.0.lock().expect("no holder panics").clone()).expect("text");
    }
    told
}
