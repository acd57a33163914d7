//! Files in a chat, as a user sees them: what options ask for, what is told, how far it is.
//!
//! The files themselves are [`crate::chat::file`]; [`talk`](super::talk) drives them.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::talk::Party;
use crate::chat::file::{Folder, Policy, Progress, Stage, State, Told};
use crate::chat::frame::FileNumber;
use crate::cli::args;
use crate::cli::error::{CliError, folder_text, known};
use crate::cli::i18n::tr;
use crate::cli::json::V;
use crate::cli::show::{self, size};
use crate::cli::times;
use crate::cli::untrusted::visible;
use crate::protocol::codes::exit;

/// What a chat does about files.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the other side offers.
    pub(crate) policy: Policy,
    /// What this side sends, in order. The chat is left once all of it has arrived.
    pub(crate) send: Vec<PathBuf>,
    /// Stays until the other side leaves, stdin or not.
    pub(crate) stays: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            policy: Policy::Refuse,
            send: Vec::new(),
            stays: false,
        }
    }
}

impl Plan {
    /// Makes what the options ask for, or says at once what cannot be.
    pub(crate) fn new(args: &args::Talk) -> Result<Self, CliError> {
        args.send.iter().try_for_each(|path| readable(path))?;
        let policy = match &args.receive {
            Some(path) => Policy::Into(folder(path)?),
            None => Policy::Refuse,
        };
        Ok(Self {
            policy,
            send: args.send.clone(),
            stays: args.receive.is_some() && args.send.is_empty(),
        })
    }
}

/// Opens a folder that is to take files.
pub(crate) fn folder(path: &Path) -> Result<Folder, CliError> {
    Folder::open(path).map_err(|error| {
        let text = folder_text(&error);
        CliError::new("no_folder", exit::CANT_CREATE, text)
            .hint(tr!("it must exist and be a folder"))
    })
}

/// Says before anybody is asked that a file cannot be sent.
pub(crate) fn readable(path: &Path) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::io(&tr!("read {}", path.display()), &error);
    let told = std::fs::metadata(path).map_err(failed)?;
    if !told.is_file() {
        return Err(failed(io::Error::other(tr!("it is not a regular file"))));
    }
    File::open(path).map(drop).map_err(failed)
}

/// Reads a path as somebody types it: with `~/` for the home folder, and perhaps between quotes, which
/// is how a terminal pastes a file that was dropped on it.
pub(crate) fn path(typed: &str, home: Option<PathBuf>) -> PathBuf {
    let quoted = |quote| typed.strip_prefix(quote)?.strip_suffix(quote);
    let bare = quoted('\'').or_else(|| quoted('"')).unwrap_or(typed);
    match (bare.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(bare),
    }
}

/// Returns why a file of this side did not arrive, for the program's end.
pub(crate) fn unsent(told: &Told, is_over: bool, party: &Party) -> Option<CliError> {
    let peer = visible(&party.peer);
    let name = visible(&told.about.name);
    match &told.state {
        _ if told.about.incoming => None,
        State::Refused { reason } => Some(CliError::new(
            "file_refused",
            exit::DENIED,
            tr!(
                "{} does not have {}: {}",
                peer,
                name,
                visible(&known(reason))
            ),
        )),
        State::Failed { reason } => {
            let exit = if is_over { exit::UNAVAILABLE } else { exit::IO };
            let text = tr!("{} does not have {}: {}", peer, name, known(reason));
            Some(CliError::new("file_failed", exit, text))
        }
        _ => None,
    }
}

/// What happened to a file, as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Row<'a> {
    v: u8,
    kind: &'static str,
    chat: &'a str,
    peer: &'a str,
    incoming: bool,
    /// What both sides call it, each direction for itself.
    file: Option<FileNumber>,
    name: &'a str,
    size: u64,
    blake3: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    at: String,
}

/// Makes the object of something that happened to a file.
pub(crate) fn row<'a>(party: &'a Party, told: &'a Told) -> Row<'a> {
    let row = |state| Row {
        v: V,
        kind: "file",
        chat: &party.chat,
        peer: &party.peer,
        incoming: told.about.incoming,
        file: told.about.file,
        name: &told.about.name,
        size: told.about.size,
        blake3: &told.about.blake3,
        state,
        offset: None,
        path: None,
        reason: None,
        at: times::stamp(),
    };
    match &told.state {
        State::Offered => row("offered"),
        State::Accepted { offset } => Row {
            offset: Some(*offset),
            ..row("accepted")
        },
        State::Refused { reason } => Row {
            reason: Some(reason),
            ..row("refused")
        },
        State::Sent => row("sent"),
        State::Received { path } => Row {
            path: Some(path.display().to_string()),
            ..row("received")
        },
        State::Failed { reason } => Row {
            reason: Some(reason),
            ..row("failed")
        },
    }
}

/// Says in words what happened to a file.
pub(crate) fn words(party: &Party, told: &Told) -> String {
    let (peer, name) = (visible(&party.peer), visible(&told.about.name));
    let size = size(told.about.size);
    let number = told.about.file.unwrap_or_default();
    match (&told.state, told.about.incoming) {
        (State::Offered, true) => tr!("{} offers file {}: {}, {}", peer, number, name, size),
        (State::Offered, false) => tr!("offered to {}: {}, {}", peer, name, size),
        (State::Accepted { offset: 0 }, true) => tr!("receiving {}", name),
        (State::Accepted { offset }, true) => {
            tr!("receiving {}, going on after {}", name, show::size(*offset))
        }
        (State::Accepted { offset: 0 }, false) => tr!("{} takes {}", peer, name),
        (State::Accepted { offset }, false) => {
            tr!(
                "{} takes {}, going on after {}",
                peer,
                name,
                show::size(*offset)
            )
        }
        (State::Refused { reason }, true) => {
            tr!("did not take {}: {}", name, visible(&known(reason)))
        }
        (State::Refused { reason }, false) => {
            tr!(
                "{} does not take {}: {}",
                peer,
                name,
                visible(&known(reason))
            )
        }
        (State::Sent, _) => tr!("{} has {}, verified", peer, name),
        (State::Received { path }, _) => tr!(
            "received {}, {}, verified",
            visible(&path.display().to_string()),
            size
        ),
        (State::Failed { reason }, _) => {
            tr!("{} did not arrive: {}", name, visible(&known(reason)))
        }
    }
}

/// Says how far a file is, on one line.
pub(crate) fn gauge(progress: &Progress) -> String {
    let name = visible(&progress.name);
    let Progress {
        done, size: all, ..
    } = *progress;
    let (deed, percent) = match (progress.stage, progress.incoming) {
        (Stage::Hashing, _) => (tr!("checking {}", name), percent(done, all)),
        (Stage::Moving, true) => (tr!("receiving {}", name), percent(done, all)),
        (Stage::Moving, false) => (tr!("sending {}", name), percent(done, all)),
        (Stage::Closing, _) => return tr!("writing {} to the disk", name),
        (Stage::Waiting, _) => return tr!("waiting for an answer about {}", name),
    };
    let percent_wide = format!("{percent:>3}");
    tr!(
        "{} {}% of {}  {}",
        bar(percent),
        percent_wide,
        size(all),
        deed
    )
}

fn percent(done: u64, all: u64) -> u64 {
    let part = u128::from(done) * 100 / u128::from(all.max(1));
    u64::try_from(part).map_or(100, |part| part.min(100))
}

fn bar(percent: u64) -> String {
    const COLUMNS: usize = 20;
    let full = usize::try_from(percent).unwrap_or(COLUMNS) * COLUMNS / 100;
    format!("[{:<COLUMNS$}]", "#".repeat(full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::file::About;

    fn party() -> Party {
        Party {
            chat: "c0".into(),
            peer: "bob".into(),
        }
    }

    fn told(incoming: bool, state: State) -> Told {
        let about = About {
            incoming,
            file: Some(3),
            name: "a\u{202e}.txt".to_owned(),
            size: 20_971_520,
            blake3: "ab".repeat(32),
        };
        Told { about, state }
    }

    #[test]
    fn paths_are_read_as_they_are_typed() {
        let read = |typed| path(typed, Some(PathBuf::from("/home/ana")));
        for (typed, expected) in [
            ("a b.txt", "a b.txt"),
            ("'a b.txt'", "a b.txt"),
            ("\"/tmp/a\"", "/tmp/a"),
            ("~/a", "/home/ana/a"),
            ("~bob", "~bob"),
            ("'", "'"),
        ] {
            assert_eq!(read(typed), PathBuf::from(expected), "{typed}");
        }
    }

    #[test]
    fn p12_words_about_files_cannot_act() {
        let reason = "\u{1b}[2J".to_owned();
        for incoming in [true, false] {
            for state in [
                State::Offered,
                State::Accepted { offset: 5_000 },
                State::Refused {
                    reason: reason.clone(),
                },
                State::Sent,
                State::Failed {
                    reason: reason.clone(),
                },
            ] {
                let words = words(&party(), &told(incoming, state));
                let acts = |c| crate::cli::untrusted::is_active(c);
                assert!(!words.contains(acts), "{words:?}");
                assert!(words.contains("a<U+202E>.txt"), "{words}");
            }
        }
    }

    #[test]
    fn only_files_of_this_side_decide_how_the_program_ends() {
        let refused = || State::Refused {
            reason: "no".to_owned(),
        };
        let failed = || State::Failed {
            reason: "gone".to_owned(),
        };
        assert!(unsent(&told(true, refused()), false, &party()).is_none());
        let end = |state, is_over| unsent(&told(false, state), is_over, &party()).map(|e| e.exit);
        assert_eq!(end(refused(), false), Some(exit::DENIED));
        assert_eq!(end(failed(), false), Some(exit::IO));
        assert_eq!(end(failed(), true), Some(exit::UNAVAILABLE));
        assert_eq!(end(State::Sent, false), None);
    }

    #[test]
    fn objects_have_the_fields_of_the_contract() {
        let path = PathBuf::from("d/a");
        let received = told(true, State::Received { path });
        let party = party();
        let mut value = serde_json::to_value(row(&party, &received)).unwrap();
        value.as_object_mut().unwrap().remove("at");
        let expected = serde_json::json!({
            "v": 1, "kind": "file", "chat": "c0", "peer": "bob", "incoming": true, "file": 3,
            "name": "a\u{202e}.txt", "size": 20_971_520, "blake3": "ab".repeat(32),
            "state": "received", "path": "d/a"
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_gauge_says_what_is_done_and_how_far() {
        let progress = Progress {
            incoming: false,
            name: "a.txt".to_owned(),
            stage: Stage::Moving,
            done: 512,
            size: 1_024,
        };
        assert_eq!(
            gauge(&progress),
            "[##########          ]  50% of 1.0 kB  sending a.txt"
        );
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(u64::MAX, 1), 100);
    }
}
