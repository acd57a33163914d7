//! The only place that prints: results to stdout, a line at a time and flushed; everything else to
//! stderr. What passes through here cannot act on a terminal, whoever wrote it.
//!
//! This module decides nothing; [`super::untrusted`] says what is shown how.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};

use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Serialize;
use zeroize::Zeroizing;

use super::error::CliError;
use super::i18n::tr;
use super::pager::{self, Idle, Pager};
use super::untrusted::{self, Paint, Print, painted};
use crate::client::interrupt::Interrupt;
use crate::protocol::codes::exit;

/// Standard output and standard error as the verbs see them.
pub struct Ui {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    json: bool,
    may_ask: bool,
    screen: Screen,
    /// Columns of the terminal that gets everything else, if it is one.
    err_width: Option<usize>,
    /// A passing line stands on it.
    passing: bool,
    /// What pages long output, where that is wanted.
    pager: Option<String>,
    pages: Pages,
    /// Ends long output before its time.
    interrupt: Interrupt,
}

/// What output goes to.
#[derive(Debug, Clone, Copy, Default)]
struct Screen {
    look: Look,
    /// Results go to a terminal.
    is_terminal: bool,
    /// Results, and everything else, go where colours are shown.
    out_colours: bool,
    err_colours: bool,
}

impl Screen {
    fn new(look: Look, stdout: bool, stderr: bool) -> Self {
        Self {
            look,
            is_terminal: stdout,
            out_colours: look.colours(stdout),
            err_colours: look.colours(stderr),
        }
    }
}

/// Where results are on their way to being shown.
#[derive(Debug, Default)]
struct Pages {
    paged: Option<Pager>,
    /// Sheets that were printed straight.
    sheets: usize,
}

impl std::fmt::Debug for Ui {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ui")
            .field("json", &self.json)
            .field("may_ask", &self.may_ask)
            .field("screen", &self.screen)
            .finish_non_exhaustive()
    }
}

impl Ui {
    /// Makes the one of this process. It asks nothing with `no_input`, under `--json`, or when
    /// either side is not a terminal.
    pub fn stdio(json: bool, no_input: bool, look: Look) -> Self {
        let (stdin, stderr) = (io::stdin().is_terminal(), io::stderr().is_terminal());
        let stdout = io::stdout().is_terminal();
        Self {
            screen: Screen::new(look, stdout, stderr),
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            json,
            may_ask: stdin && stderr && !no_input && !json,
            err_width: (stderr && !json && !look.plain).then(terminal_width),
            passing: false,
            pager: (stdin && stdout && !json && !look.is_plain())
                .then(pager::of_environment)
                .flatten(),
            pages: Pages::default(),
            interrupt: Interrupt::default(),
        }
    }

    /// Makes one that writes elsewhere, asks nothing and knows no width.
    pub fn to(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, json: bool) -> Self {
        Self {
            out,
            err,
            json,
            may_ask: false,
            screen: Screen::default(),
            err_width: None,
            passing: false,
            pager: None,
            pages: Pages::default(),
            interrupt: Interrupt::default(),
        }
    }

    /// Makes one that writes elsewhere know the terminal all the same.
    #[must_use]
    pub fn like(mut self, look: Look) -> Self {
        let terminal = io::stdout().is_terminal();
        self.screen = Screen::new(look, terminal, terminal);
        self
    }

    /// Says whether results are JSON objects.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Returns how output looks.
    pub fn look(&self) -> Look {
        self.screen.look
    }

    /// Says whether a person is there to answer.
    pub fn may_ask(&self) -> bool {
        self.may_ask
    }

    /// Columns that the terminal has just now which gets the results, if it is one.
    pub fn width(&self) -> Option<usize> {
        self.screen.is_terminal.then(terminal_width)
    }

    /// Says whether nobody will read what is printed to stdout any more: the other end of the pipe is
    /// closed. Printing tells so too; this is for who has nothing to print for long.
    pub fn reader_is_gone(&self) -> bool {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        let told = rustix::event::poll(&mut polled, Some(&Timespec::default()));
        told.is_ok() && polled[0].revents().contains(PollFlags::ERR)
    }

    /// Prints one line (or several) of results for people.
    pub fn line(&mut self, text: impl Display) -> Result<(), CliError> {
        let print = Print {
            text: &text.to_string(),
            coloured: self.screen.out_colours,
        };
        self.put(&print.to_string())
    }

    /// Prints one result as a line of JSON.
    pub fn object<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CliError> {
        let text = untrusted::to_json(value)
            .map_err(|e| CliError::new("internal", exit::SOFTWARE, e.to_string()))?;
        self.put(&text)
    }

    /// Writes bytes of a result as they are, to no terminal: it would obey them.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out
            .write_all(bytes)
            .map_err(|error| stdout_failed(&error))
    }

    /// Makes sure that everything printed has gone out.
    pub fn flush(&mut self) -> Result<(), CliError> {
        self.out.flush().map_err(|error| stdout_failed(&error))
    }

    /// Prints a result in the form that was asked for.
    pub fn result<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
        human: impl Display,
    ) -> Result<(), CliError> {
        if self.json {
            self.object(value)
        } else {
            self.line(human)
        }
    }

    /// Shows a line on a terminal that gives way to the next one of any kind; nothing takes it away.
    /// Elsewhere, and under `--json`, it does nothing.
    pub fn pass(&mut self, text: Option<&str>) {
        self.wipe();
        if let (Some(text), Some(width)) = (text, self.err_width) {
            let text = untrusted::clipped(text, width.saturating_sub(1));
            drop(write!(self.err, "{text}").and_then(|()| self.err.flush()));
            self.passing = true;
        }
    }

    /// Takes the passing line away.
    fn wipe(&mut self) {
        if std::mem::take(&mut self.passing) {
            drop(write!(self.err, "\r\x1b[K").and_then(|()| self.err.flush()));
        }
    }

    /// Begins a line, where keys were echoed.
    pub fn begin_line(&mut self) {
        drop(self.err.write_all(b"\n").and_then(|()| self.err.flush()));
    }

    /// Ends long output when this is asked for.
    pub fn stop_with(&mut self, interrupt: Interrupt) {
        self.interrupt = interrupt;
    }

    /// Begins output that may be long: sheets, each ended by [`Ui::turn`], all of them by
    /// [`Ui::end_pages`]. On a terminal more than a screenful of it goes through a pager.
    pub fn page(&mut self) {
        let pager = self.pager.clone().zip(terminal_size());
        let pager = pager.map(|(command, (columns, rows))| Pager::new(command, rows, columns));
        self.pages = Pages {
            paged: pager,
            sheets: 0,
        };
    }

    /// Ends a sheet, and waits until a reader got to it. Says whether anybody reads on.
    pub fn turn(&mut self, idle: Idle<'_>) -> Result<bool, CliError> {
        let Some(pager) = &mut self.pages.paged else {
            self.pages.sheets += 1;
            return Ok(!self.interrupt.take());
        };
        pager
            .turn(&mut self.out, idle)
            .map_err(|e| stdout_failed(&e))
    }

    /// Returns how many of the sheets were shown so far, for sure.
    pub fn shown_sheets(&self) -> usize {
        let paged = self.pages.paged.as_ref();
        paged.map_or(self.pages.sheets, Pager::shown)
    }

    /// Ends what [`Ui::page`] began. Returns how many of the sheets were shown.
    pub fn end_pages(&mut self, idle: Idle<'_>) -> Result<usize, CliError> {
        let Pages { paged, sheets } = std::mem::take(&mut self.pages);
        let Some(pager) = paged else {
            return Ok(sheets);
        };
        pager
            .end(&mut self.out, idle)
            .map_err(|e| stdout_failed(&e))
    }

    /// Does something whose output may be long, as one sheet.
    pub fn paged(
        &mut self,
        idle: Idle<'_>,
        deed: impl FnOnce(&mut Self) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.page();
        let done = deed(self);
        let ended = self.end_pages(idle);
        done.and(ended.map(drop))
    }

    fn put(&mut self, text: &str) -> Result<(), CliError> {
        self.wipe();
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
        if let Some(pager) = &mut self.pages.paged {
            pager.write(&bytes);
            return Ok(());
        }
        self.out
            .write_all(&bytes)
            .and_then(|()| self.out.flush())
            .map_err(|e| stdout_failed(&e))
    }

    /// Says something that helps a person and that a program can do without: nothing under `--json`.
    pub fn note(&mut self, text: impl Display) {
        if !self.json {
            self.say(text);
        }
    }

    /// Tells what else happened: a line on stderr, under `--json` a `{"v":1,"note":...}`.
    pub fn report(&mut self, text: impl Display) {
        let text = text.to_string();
        let note = super::json::object(serde_json::json!({"note": text}));
        self.report_as(&note, text);
    }

    /// Tells what else happened in the form that was asked for, on stderr.
    pub fn report_as<T: Serialize + ?Sized>(&mut self, value: &T, human: impl Display) {
        if self.json {
            let line = untrusted::to_json(value).unwrap_or_default();
            drop(writeln!(self.err, "{line}"));
        } else {
            self.say(human);
        }
    }

    /// Says something that a person should look into.
    pub fn warn(&mut self, text: impl Display) {
        self.report(tr!("warning: {}", text));
    }

    /// Nobody may be there to read it, which is no error.
    fn say(&mut self, text: impl Display) {
        self.wipe();
        let mut text = text.to_string();
        if let Some((columns, _)) = terminal_size().filter(|_| self.screen.is_terminal) {
            text = untrusted::folded_at_words(&text, columns.max(NARROWEST));
        }
        let print = Print {
            text: &text,
            coloured: self.screen.err_colours,
        };
        let text = print.to_string();
        if let Some(pager) = &mut self.pages.paged {
            // Beside a pager it would stand in the middle of what is read.
            pager.write(format!("{text}\n").as_bytes());
            return;
        }
        drop(writeln!(self.err, "{text}").and_then(|()| self.err.flush()));
    }

    /// Says why the command failed.
    pub fn error(&mut self, error: &CliError) {
        if error.silent {
            return;
        }
        if self.json {
            let line = untrusted::to_json(&error.to_json()).unwrap_or_default();
            drop(writeln!(self.err, "{line}"));
            return;
        }
        let told = tr!("error[{}]: {}", error.code, error.text);
        self.say(painted(Paint::Wrong, &told));
        for hint in &error.hints {
            self.say(format_args!("  {hint}"));
        }
        if let Some(reference) = &error.reference {
            self.say(tr!("  reference: {}", reference));
        }
    }

    /// Takes an unfinished line and its prompt off the terminal, and what the line editor had switched
    /// on with them.
    pub fn take_prompt_away(&mut self) {
        // Back to the edge, erase from there on, no bracketed paste any more.
        drop(
            self.out
                .write_all(b"\r\x1b[J\x1b[?2004l")
                .and_then(|()| self.out.flush()),
        );
    }

    /// Asks a yes-or-no question; anything but `y` or `yes`, or the same in the language of this process, is a no.
    pub fn confirm(&mut self, question: &str) -> bool {
        let question = tr!("{} [y/N] ", question);
        is_yes(&self.ask(question.trim_end()))
    }

    /// Asks for a line that is not shown while it is typed; nothing when it was taken back.
    pub fn ask_hidden(&mut self, question: &str) -> io::Result<Option<Zeroizing<String>>> {
        let typed = super::hidden::line(|| {
            drop(write!(self.err, "{question} ").and_then(|()| self.err.flush()));
        });
        drop(writeln!(self.err));
        typed
    }

    /// Asks for a word or a line; nothing when it cannot be read.
    pub fn ask(&mut self, question: &str) -> String {
        drop(write!(self.err, "{question} ").and_then(|()| self.err.flush()));
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.map_or_else(|_| String::new(), |_| answer.trim().to_owned())
    }
}

/// Says whether an answer is a yes, in English or in the language of this process.
pub fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    matches!(answer, "y" | "Y" | "yes") || [tr!("y"), tr!("Y"), tr!("yes")].contains(&answer)
}

/// A reader that went away (`| head`) is no error of ours; a full disk is.
fn stdout_failed(error: &io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CliError::silent(exit::OK)
    } else {
        CliError::io(tr!("write the results"), error)
    }
}

/// The narrowest terminal: below, lines are broken as if it were so wide.
const NARROWEST: usize = 10;

/// Returns how many columns the terminal has just now.
pub fn terminal_width() -> usize {
    terminal_size().map_or(80, |(columns, _)| columns.max(NARROWEST))
}

/// Returns columns and rows of the terminal just now, where it knows them.
fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    let known = size.ws_col > 0 && size.ws_row > 0;
    known.then_some((usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// When colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Colours {
    /// On terminals that have them, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Wherever it goes.
    Always,
    /// Nowhere.
    Never,
}

/// How output looks on a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// When colours are used.
    pub colours: Colours,
    /// Lines one below the other and nothing else, for who has the screen read out.
    pub plain: bool,
}

impl Look {
    /// Completes what the command line says by what the environment says.
    #[must_use]
    pub fn of_environment(self) -> Self {
        Self {
            plain: self.plain || is_set(PLAIN).is_some_and(|value| value != "0"),
            ..self
        }
    }

    /// Says whether lines only ever follow each other: asked for, or all that the terminal can do.
    pub fn is_plain(self) -> bool {
        self.plain || is_set("TERM").is_none_or(|term| term == "dumb")
    }

    fn colours(self, on_terminal: bool) -> bool {
        match self.colours {
            Colours::Always => true,
            Colours::Never => false,
            Colours::Auto => on_terminal && !self.is_plain() && is_set("NO_COLOR").is_none(),
        }
    }
}

/// Asks for plain output, as `--plain` does.
pub const PLAIN: &str = "MAILCTL_PLAIN";

fn is_set(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

/// Rows under headings, columns as wide as they need; the last one may be clipped.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// Starts a table. A heading that begins with `>` aligns its column to the right.
    pub fn new(headings: &[&str]) -> Self {
        Self {
            right: headings.iter().map(|h| h.starts_with('>')).collect(),
            rows: vec![
                headings
                    .iter()
                    .map(|h| h.trim_start_matches('>').to_owned())
                    .collect(),
            ],
        }
    }

    /// Starts a table of so many columns that goes on below another one: without headings.
    pub fn below(columns: usize) -> Self {
        Self {
            right: vec![false; columns],
            rows: Vec::new(),
        }
    }

    /// Adds a row; every cell is shown on one line.
    pub fn row(&mut self, cells: &[&dyn Display]) {
        let shown = |cell: &&dyn Display| untrusted::visible(&cell.to_string());
        self.rows.push(cells.iter().map(shown).collect());
    }

    /// Says whether there is nothing below the headings.
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// Prints it.
    pub fn print(&self, ui: &mut Ui) -> Result<(), CliError> {
        let widths = self.widths();
        self.rows
            .iter()
            .try_for_each(|row| ui.line(self.render(row, &widths, ui.width())))
    }

    fn widths(&self) -> Vec<usize> {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| untrusted::columns(cell)).max()
        };
        (0..self.right.len())
            .map(|at| width(at).unwrap_or(0))
            .collect()
    }

    fn render(&self, row: &[String], widths: &[usize], room: Option<usize>) -> String {
        let mut line = String::new();
        for ((cell, width), right) in row.iter().zip(widths).zip(&self.right) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let gap = " ".repeat(width.saturating_sub(untrusted::columns(cell)));
            let (before, after) = if *right {
                (gap.as_str(), "")
            } else {
                ("", gap.as_str())
            };
            line.push_str(before);
            line.push_str(cell);
            line.push_str(after);
        }
        let line = line.trim_end();
        room.map_or_else(|| line.to_owned(), |room| untrusted::clipped(line, room))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was printed, for tests.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn captured(json: bool) -> (Ui, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let ui = Ui::to(Box::new(out.clone()), Box::new(err.clone()), json);
        (ui, out, err)
    }

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn p12_whatever_is_printed_cannot_act() {
        let (mut ui, out, err) = captured(false);
        ui.line("a\x1b[2J\nb").unwrap();
        ui.note("\u{202e}c");
        ui.error(&CliError::usage("\x07d").hint("\u{9b}e"));
        let mut table = Table::new(&["Name", ">N"]);
        table.row(&[&"x\ny", &1]);
        table.print(&mut ui).unwrap();
        assert_eq!(out.text(), "a␛[2J\nb\nName  N\nx␊y   1\n");
        assert_eq!(err.text(), "<U+202E>c\nerror[usage]: ␇d\n  <U+009B>e\n");
    }

    #[test]
    fn a_passing_line_gives_way_and_stands_on_terminals_only() {
        let (mut ui, _, err) = captured(false);
        ui.pass(Some("nobody sees this"));
        ui.err_width = Some(8);
        ui.pass(Some("12345\x1b78"));
        ui.note("x");
        ui.pass(Some("y"));
        ui.pass(None);
        assert_eq!(err.text(), "12345␛…\r\x1b[Kx\ny\r\x1b[K");
    }

    #[test]
    fn a_gone_reader_is_quiet_and_a_full_disk_is_not() {
        let failing = |kind| Ui::to(Box::new(Fails(kind)), Box::new(io::sink()), true);
        let gone = failing(io::ErrorKind::BrokenPipe).line("x").unwrap_err();
        assert_eq!((gone.silent, gone.exit), (true, exit::OK));
        let full = failing(io::ErrorKind::StorageFull).object(&1).unwrap_err();
        assert_eq!((full.silent, full.exit), (false, exit::IO));
    }
}
