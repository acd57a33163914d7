//! The desk at which a mail is written: this terminal, the editor of who sits at it, and his files.

use crate::cli::i18n::tr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shell;
use super::compose::{Desk, Typed};
use super::editor::{Completion, Keys};
use super::words;
use crate::cli::pager::Idle;
use crate::cli::show::size;
use crate::limits::BODY_BYTES_CEILING;

/// How long the end of an editor may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is edited with where nothing else is named.
const EDITOR: &str = "vi";

impl Desk for Shell<'_, '_> {
    /// Asks for a line of a text, and listens meanwhile.
    fn read(&mut self, prompt: &str) -> Typed {
        match self.read_line(prompt, Completion::Letter) {
            // Asked to go in the middle: that does not finish a text.
            Typed::End if self.stop.load(Ordering::Relaxed) => Typed::Failed("asked to end".into()),
            typed => typed,
        }
    }

    fn tell(&mut self, text: &str) {
        self.context.ui.note(text);
    }

    fn edit(&mut self, text: &str) -> Result<String, String> {
        // Two borrows of the shell: the folder, and what is kept meanwhile.
        let folder = self.account.folder().to_owned();
        self.terminal.between_lines(Keys::Shown);
        let edited = edit(&folder, text, &mut |pause| self.keep(pause));
        self.terminal.between_lines(Keys::ForNextLine);
        // A Ctrl-C at the editor was the editor's.
        self.interrupt.take();
        edited
    }

    fn text_of(&mut self, path: &str) -> Result<String, String> {
        text_of(path)
    }

    fn attachable(&mut self, path: &str) -> Result<(PathBuf, String), String> {
        attachable(path)
    }
}

/// Has a text edited by who sits at this terminal; `account` is the folder where it lies meanwhile.
pub(crate) fn edit(account: &Path, text: &str, idle: Idle<'_>) -> Result<String, String> {
    edited(&account.join("letter"), text, idle)
}

/// Returns the text in a file.
pub(super) fn text_of(path: &str) -> Result<String, String> {
    let path = expanded(&words::unescaped(path));
    let length = readable(&path)?;
    if length > BODY_BYTES_CEILING {
        return Err(tr!("{} is larger than a mail may be", path.display()));
    }
    let bytes = fs::read(&path).map_err(|error| cannot_read(&path, &error))?;
    String::from_utf8(bytes).map_err(|_| tr!("{} is no text; attach it: ~a FILE", path.display()))
}

/// Makes sure that a file can be attached.
pub(super) fn attachable(path: &str) -> Result<(PathBuf, String), String> {
    let path = expanded(&words::unescaped(path));
    let length = readable(&path)?;
    let what = format!("{}, {}", path.display(), size(length));
    Ok((path, what))
}

/// Puts the home's folder in place of a leading `~/`, as shells do.
pub(super) fn expanded(path: &str) -> PathBuf {
    let home = path.strip_prefix("~/").zip(std::env::var_os("HOME"));
    home.map_or_else(|| path.into(), |(rest, home)| Path::new(&home).join(rest))
}

/// Makes sure that it is a file that can be read; returns its length.
fn readable(path: &Path) -> Result<u64, String> {
    let open = || {
        let about = fs::metadata(path)?;
        if !about.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        File::open(path).map(|_| about.len())
    };
    open().map_err(|error| cannot_read(path, &error))
}

fn cannot_read(path: &Path, error: &io::Error) -> String {
    tr!("cannot read {}: {}", path.display(), error)
}

/// Has a text edited in a file beside `place`, which only its owner can read and which goes afterwards.
fn edited(place: &Path, text: &str, idle: Idle<'_>) -> Result<String, String> {
    let path = place.with_extension(format!("{}.txt", std::process::id()));
    let written = write_private(&path, text);
    let edited = written.map_err(|error| tr!("cannot write {}: {}", path.display(), error));
    let edited = edited.and_then(|()| run_editor(&path, idle));
    // One that stays behind is private, and the next one of this process goes over it.
    fs::remove_file(&path).ok();
    edited
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    // Editors end what they write with a newline, and expect one.
    let end = if text.is_empty() { "" } else { "\n" };
    file.write_all(end.as_bytes())
}

fn run_editor(path: &Path, idle: Idle<'_>) -> Result<String, String> {
    let named = |name| {
        std::env::var(name)
            .ok()
            .filter(|value| !value.trim().is_empty())
    };
    let editor = named("VISUAL").or_else(|| named("EDITOR"));
    let editor = editor.unwrap_or_else(|| EDITOR.to_owned());
    // Through a shell: the variable may hold options.
    let begun = Command::new("sh")
        .args(["-c", &format!("exec {editor} \"$1\""), "sh"])
        .arg(path)
        .spawn();
    match begun.and_then(|child| ended(child, idle)) {
        Ok(status) if status.success() => {
            fs::read_to_string(path).map_err(|error| cannot_read(path, &error))
        }
        Ok(status) => Err(tr!(
            "{} ended with {}; the text is as it was",
            editor,
            status
        )),
        Err(error) => Err(tr!("cannot run {}: {}", editor, error)),
    }
}

/// Waits for the end of a program that has the terminal.
fn ended(mut child: Child, idle: Idle<'_>) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        idle(LOOK_EVERY);
    }
}
