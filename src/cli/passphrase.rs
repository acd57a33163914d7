//! Where a passphrase comes from: a terminal that does not show it, or a file. Never an argument or the environment,
//! which others can read.

use crate::cli::i18n::tr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::error::CliError;
use super::ui::Ui;
use crate::auth::keys::KeyError;
use crate::auth::seal::{Passphrase, SealError};
use crate::client::home::Account;
use crate::limits::{PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN};
use crate::protocol::codes::exit;

/// How often a person may try.
const TRIES: usize = 3;

/// Opens an account's key, where it is under a passphrase.
pub(super) fn unlock(
    ui: &mut Ui,
    given: Option<&Arc<Passphrase>>,
    account: Account,
) -> Result<Account, CliError> {
    if !account.is_locked() {
        return Ok(account);
    }
    if let Some(given) = given {
        return account.unlocked(Arc::clone(given)).map_err(shut);
    }
    if !ui.may_ask() {
        let locked = KeyError::Locked {
            path: account.key_file(),
        };
        return Err(CliError::from(locked)
            .hint(tr!("run it at a terminal, or with --passphrase-file FILE"))
            .hint(tr!("to do without: mailctl key unprotect")));
    }
    let question = tr!("passphrase of {}'s key:", account.user());
    for _ in 1..TRIES {
        match account.unlocked(ask(ui, &question)?) {
            Err(KeyError::Shut {
                source: SealError::Wrong,
                ..
            }) => ui.note(SealError::Wrong),
            opened => return opened.map_err(shut),
        }
    }
    account.unlocked(ask(ui, &question)?).map_err(shut)
}

/// Returns the passphrase that a program gives, read before anything else is: what follows it on stdin is data.
pub(super) fn given(file: Option<&Path>) -> Result<Option<Arc<Passphrase>>, CliError> {
    let given = file.map(read).transpose()?;
    Ok(given.map(Arc::new))
}

/// Returns a new passphrase, from a file or typed twice.
pub(super) fn choose(ui: &mut Ui, file: Option<&Path>) -> Result<Passphrase, CliError> {
    let passphrase = match file {
        Some(file) => read(file)?,
        None if ui.may_ask() => twice(ui)?,
        None => {
            return Err(
                CliError::usage(tr!("the new passphrase is missing")).hint(tr!(
                    "run it at a terminal, or with --new-passphrase-file FILE"
                )),
            );
        }
    };
    if passphrase.chars() < PASSPHRASE_CHARS_MIN {
        let text = tr!(
            "a passphrase has {} characters at least",
            PASSPHRASE_CHARS_MIN
        );
        return Err(
            CliError::usage(text).hint(tr!("several words are easy to remember and hard to guess"))
        );
    }
    Ok(passphrase)
}

fn twice(ui: &mut Ui) -> Result<Passphrase, CliError> {
    let first = ask(ui, tr!("new passphrase:"))?;
    let second = ask(ui, tr!("once more:"))?;
    if first == second {
        return Ok(first);
    }
    Err(CliError::usage(tr!(
        "the two are not the same; nothing was changed"
    )))
}

fn ask(ui: &mut Ui, question: &str) -> Result<Passphrase, CliError> {
    let typed = ui
        .ask_hidden(question)
        .map_err(|error| CliError::io(tr!("read the passphrase"), &error))?;
    let cancelled = || CliError::new("cancelled", exit::USAGE, tr!("no passphrase was given"));
    typed.map(Passphrase::new).ok_or_else(cancelled)
}

/// Reads the first line of a file, or of stdin, whose other lines stay for whoever reads them next.
fn read(path: &Path) -> Result<Passphrase, CliError> {
    if path == Path::new("-") {
        return first_line(&mut io::stdin().lock());
    }
    let failed =
        |error: &io::Error| CliError::io(&tr!("read the passphrase in {}", path.display()), error);
    let file = File::open(path).map_err(|error| failed(&error))?;
    let about = file.metadata().map_err(|error| failed(&error))?;
    let mode = about.permissions().mode() & 0o7777;
    if about.is_file() && mode & 0o077 != 0 {
        let open = KeyError::Open {
            path: path.to_owned(),
            mode,
        };
        return Err(open.into());
    }
    first_line(&mut BufReader::new(file))
}

fn first_line(from: &mut impl BufRead) -> Result<Passphrase, CliError> {
    let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 2));
    from.take(PASSPHRASE_BYTES_MAX as u64 + 2)
        .read_until(b'\n', &mut line)
        .map_err(|error| CliError::io(tr!("read the passphrase"), &error))?;
    while line
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        line.pop();
    }
    let text = std::str::from_utf8(&line).ok();
    let text = text.filter(|text| !text.is_empty() && text.len() <= PASSPHRASE_BYTES_MAX);
    text.map(|text| Passphrase::new(Zeroizing::new(text.to_owned())))
        .ok_or_else(|| CliError::usage(tr!("the file's first line is no passphrase")))
}

/// A wrong passphrase is a denial; all else is about the file.
fn shut(error: KeyError) -> CliError {
    let is_wrong = matches!(
        error,
        KeyError::Shut {
            source: SealError::Wrong,
            ..
        }
    );
    let text = error.to_string();
    if is_wrong {
        CliError::new("wrong_passphrase", exit::DENIED, text)
    } else {
        error.into()
    }
}
