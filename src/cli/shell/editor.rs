//! The terminal: a line editor on a thread of its own, history in the home, and a way to print above
//! what is being typed.
//!
//! Whoever owns a [`Terminal`] asks for a line ([`Terminal::ask`]), goes on with other things and is
//! woken when it was typed. What is to be seen meanwhile goes through [`Terminal::above`]: the editor
//! takes its line away, the text appears, the line comes back as it was. A third thread hands the texts
//! over, because the editor takes one at a time and none while it does not read.
//!
//! The editor's printer writes what it gets, so nothing gets there but through a [`Ui`].

mod plain;
mod tab;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{ColorMode, CompletionType, Config, Editor, ExternalPrinter, Prompt};
use signal_hook::consts::SIGCONT;
use signal_hook::iterator::Signals;

pub use self::tab::Completion;
use self::tab::Words;
use super::compose::Typed;
use crate::cli::error::CliError;
use crate::cli::i18n::tr;
use crate::cli::ui::{Look, Ui};
use crate::client::interrupt::Interrupt;
use crate::protocol::codes::exit;

/// Texts handed to the editor at once.
const TEXTS_MAX: usize = 64;

/// How long the last words may take to appear when the program ends.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Lines of history kept.
const HISTORY_LINES: usize = 1_000;

/// Wakes whoever waits for something else than the terminal.
pub type Wake = Box<dyn Fn() + Send>;

/// A terminal with somebody at it.
pub struct Terminal {
    questions: Sender<Question>,
    answers: Receiver<Typed>,
    reading: bool,
    remember: Option<String>,
    above: Ui,
    screen: Arc<Screen>,
    completion: Arc<Mutex<Completion>>,
    /// How the terminal was set before anything was read; none where the editor does not change that.
    modes: Option<Termios>,
    keys: Between,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal")
            .field("reading", &self.reading)
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// Opens the editor; what was typed before is remembered in `history`, if there is one. Where lines only
    /// follow each other (`look`) there is no editor but the terminal's own, and Ctrl-C is an `interrupt`.
    pub fn open(
        history: Option<&Path>,
        look: Look,
        interrupt: Option<Interrupt>,
    ) -> Result<Self, CliError> {
        let completion = Arc::new(Mutex::new(Completion::Text));
        let screen = Arc::new(Screen::default());
        let interrupt = interrupt.unwrap_or_default();
        let (reader, above, modes): (Box<dyn Reads>, _, _) = if look.is_plain() {
            let reader = plain::Reader::new(Arc::clone(&screen), interrupt);
            (Box::new(reader), Above::straight(&screen), None)
        } else {
            let (reader, above, modes) = edits(history, &screen, &completion, interrupt)?;
            (Box::new(reader), above, modes)
        };
        let (questions, asked) = mpsc::channel();
        let (typed, answers) = mpsc::channel();
        thread::Builder::new()
            .name("editor".to_owned())
            .spawn(move || answer(reader, &asked, &typed))
            .map_err(|e| unusable(&e))?;
        Ok(Self {
            questions,
            answers,
            reading: false,
            remember: None,
            above: Ui::to(Box::new(above.clone()), Box::new(above), false).like(look),
            screen,
            completion,
            modes,
            keys: Between::default(),
        })
    }

    /// Says what becomes of keys that are pressed between two lines.
    pub fn between_lines(&mut self, keys: Keys) {
        self.keys.wanted = keys;
        self.set_modes();
    }

    /// Says whether the terminal itself shows the Ctrl-C that ends a word.
    pub fn shows_ctrl_c(&self) -> bool {
        self.modes.is_none() || self.keys.set == Keys::Shown
    }

    /// Sets the modes between two lines; the editor has its own in a line and brings these back.
    fn set_modes(&mut self) {
        if self.reading || self.keys.wanted == self.keys.set {
            return;
        }
        let Some(mut modes) = self.modes.clone() else {
            return;
        };
        modes.local_modes.remove(self.keys.wanted.without());
        // A terminal that went away needs no modes.
        tcsetattr(io::stdin(), OptionalActions::Drain, &modes).ok();
        self.keys.set = self.keys.wanted;
    }

    /// Says who is to be woken when a line was typed or a text appeared.
    pub fn wakes(&self, wake: Wake) {
        *locked(&self.screen.wake) = Some(wake);
    }

    /// Shows a prompt and begins to read a line, unless one is being read already. The answer comes by
    /// [`Terminal::take`].
    pub fn ask(&mut self, prompt: &str, completion: Completion) {
        if self.reading {
            return;
        }
        let recalls = matches!(completion, Completion::Shell(..));
        *locked(&self.completion) = completion;
        let question = Question {
            prompt: prompt.to_owned(),
            remember: self.remember.take(),
            recalls,
        };
        // An editor that is gone answers by its absence.
        drop(self.questions.send(question));
        self.reading = true;
    }

    /// Returns what was typed, if it is finished.
    pub fn take(&mut self) -> Option<Typed> {
        let typed = match self.answers.try_recv() {
            Ok(typed) => typed,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => {
                Typed::Failed(tr!("the line editor is gone").to_owned())
            }
        };
        self.reading = false;
        self.set_modes();
        Some(typed)
    }

    /// Waits until a line is finished, `patience` long at most: for who has nothing else to wait for.
    pub fn rest(&self, patience: Duration) {
        self.screen.wait_while(patience, |state| state.reading);
    }

    /// Changes what Tab offers in the line that is being read.
    pub fn offer(&mut self, completion: Completion) {
        *locked(&self.completion) = completion;
    }

    /// Says whether a line is being read.
    pub fn is_reading(&self) -> bool {
        self.reading
    }

    /// Remembers a line for later starts.
    pub fn remember(&mut self, line: &str) {
        self.remember = Some(line.to_owned());
    }

    /// Prints above what is being typed.
    pub fn above(&mut self) -> &mut Ui {
        &mut self.above
    }

    /// Returns the number of the last text printed above, which [`Terminal::appeared`] reaches once it
    /// stands there.
    pub fn handed(&self) -> u64 {
        self.screen.handed.load(Ordering::Acquire)
    }

    /// Returns the number of the last text that stands on the screen.
    pub fn appeared(&self) -> u64 {
        self.screen.appeared.load(Ordering::Acquire)
    }

    /// Waits until a text stands above, `patience` long at most.
    pub fn wait_for(&self, text: u64, patience: Duration) {
        self.screen.wait_while(patience, |_| self.appeared() < text);
    }

    /// Gives the terminal back as it was, also while a line is being read: for a program that ends now.
    pub fn leave(mut self, ui: &mut Ui) {
        self.between_lines(Keys::Shown);
        self.wait_for(self.handed(), LAST_WORDS);
        let Some(modes) = self.modes.as_ref().filter(|_| self.reading) else {
            return;
        };
        ui.take_prompt_away();
        // A terminal that went away needs no modes.
        tcsetattr(io::stdin(), OptionalActions::Drain, modes).ok();
    }
}

fn unusable(cause: &dyn Display) -> CliError {
    let text = tr!("cannot use this terminal: {}", cause);
    CliError::new("io", exit::IO, text)
}

/// Makes the line editor, with what prints above it and the modes to bring back.
fn edits(
    history: Option<&Path>,
    screen: &Arc<Screen>,
    completion: &Arc<Mutex<Completion>>,
    interrupt: Interrupt,
) -> Result<(Reader, Above, Option<Termios>), CliError> {
    let mut editor = Editor::with_config(config()).map_err(|e| unusable(&e))?;
    editor.set_helper(Some(Words(Arc::clone(completion))));
    // A first start has no history, and one that cannot be read is no reason not to work.
    drop(history.map(|history| editor.load_history(history)));
    let (above, modes) = match editor.create_external_printer() {
        Ok(printer) => {
            let above = print_above(printer, screen).map_err(|e| unusable(&e))?;
            mend_after_stops(above.clone()).map_err(|e| unusable(&e))?;
            (above, tcgetattr(io::stdin()).ok())
        }
        // Without a printer texts simply follow.
        Err(_) => (Above::straight(screen), None),
    };
    let reader = Reader {
        editor,
        history: history.map(Path::to_owned),
        aside: FileHistory::default(),
        screen: Arc::clone(screen),
        interrupt,
    };
    Ok((reader, above, modes))
}

/// Starts the thread that sets the terminal once more when the process goes on after Ctrl-Z: the editor sets it
/// when it asked to be stopped, which may be before it is, and the user's shell has set it otherwise meanwhile.
fn mend_after_stops(mut above: Above) -> io::Result<()> {
    let mut signals = Signals::new([SIGCONT])?;
    thread::Builder::new()
        .name("continue".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                above.screen.mend();
                // The line comes back below an empty text. A terminal that went away needs none.
                above.flush().ok();
            }
        })
        .map(drop)
}

/// What becomes of keys that are pressed between two lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keys {
    /// They are shown at once and go to whatever asks, as in any program.
    #[default]
    Shown,
    /// They are for the next line, which shows them. Ctrl-C ends what is under way.
    ForNextLine,
    /// They all are for the next line, Ctrl-C too: for a conversation, where no deed takes long.
    AllForNextLine,
}

impl Keys {
    /// Modes of the terminal that do not fit.
    fn without(self) -> LocalModes {
        match self {
            Self::Shown => LocalModes::empty(),
            Self::ForNextLine => LocalModes::ECHO | LocalModes::ICANON,
            Self::AllForNextLine => LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG,
        }
    }
}

/// What shall become of keys between two lines, and what does.
#[derive(Debug, Default)]
struct Between {
    wanted: Keys,
    set: Keys,
}

/// A line to be read.
struct Question {
    prompt: String,
    remember: Option<String>,
    /// The arrow keys bring back what was typed before.
    recalls: bool,
}

/// What the threads around a terminal tell each other.
#[derive(Default)]
struct Screen {
    state: Mutex<State>,
    changed: Condvar,
    /// Texts handed over so far.
    handed: AtomicU64,
    /// The last text that stands on the screen.
    appeared: AtomicU64,
    wake: Mutex<Option<Wake>>,
    /// The prompt that stands, where there is no editor.
    prompt: Mutex<Option<String>>,
    /// How the editor sets the terminal to read a line.
    modes: Mutex<Option<Termios>>,
    /// Held while a text is handed over: no line begins meanwhile, or the text would stand behind its
    /// prompt.
    turn: Mutex<()>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct State {
    /// A line is being read.
    reading: bool,
    /// Lines read so far.
    rounds: u64,
    /// Times the prompt was painted.
    paints: u64,
    /// A line has begun, and its prompt was not painted yet.
    begins: bool,
}

impl Screen {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut locked(&self.state));
        self.changed.notify_all();
    }

    fn wake(&self) {
        if let Some(wake) = locked(&self.wake).as_ref() {
            wake();
        }
    }

    /// Waits until what was handed over at `before` stands on the screen: the editor paints its prompt
    /// after each text. One handed over between two lines was written straight away.
    fn settle(&self, before: State) {
        let straight = |now: &State| !before.reading && !now.reading && now.rounds == before.rounds;
        let unsettled = |now: &mut State| !straight(now) && now.paints == before.paints;
        let state = locked(&self.state);
        drop(
            self.changed
                .wait_while(state, unsettled)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Notes how the editor has set the terminal: it paints its prompt after that.
    fn painted(&self) {
        let mut modes = locked(&self.modes);
        if modes.is_none() {
            *modes = tcgetattr(io::stdin()).ok();
        }
        drop(modes);
        self.change(|state| {
            state.paints += 1;
            state.begins = false;
        });
    }

    /// Sets the terminal as the editor did, if it is reading a line.
    fn mend(&self) {
        let state = locked(&self.state);
        if !state.reading || state.begins {
            return;
        }
        if let Some(modes) = locked(&self.modes).as_ref() {
            // A terminal that went away needs no modes.
            tcsetattr(io::stdin(), OptionalActions::Drain, modes).ok();
        }
    }

    /// Waits until no line is just beginning. Returns how things stand then.
    fn steady(&self) -> State {
        let state = locked(&self.state);
        let begins = |now: &mut State| now.reading && now.begins;
        let steady = self.changed.wait_while(state, begins);
        *steady.unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a text where nothing can be put above a line: below it, and the prompt once more below that.
    fn write_below(&self, text: &[u8]) -> io::Result<()> {
        let prompt = locked(&self.prompt);
        let mut err = io::stderr().lock();
        if let Some(prompt) = prompt.as_ref() {
            err.write_all(b"\n")?;
            err.write_all(text)?;
            err.write_all(prompt.as_bytes())?;
        } else {
            err.write_all(text)?;
        }
        err.flush()
    }

    fn count(&self, texts: u64) {
        self.change(|_| {
            self.appeared.fetch_add(texts, Ordering::AcqRel);
        });
        self.wake();
    }

    fn wait_while(&self, patience: Duration, holds: impl Fn(&State) -> bool) {
        let state = locked(&self.state);
        let waited = self
            .changed
            .wait_timeout_while(state, patience, |state| holds(state));
        drop(waited);
    }
}

/// A holder that panicked leaves what it guarded as it was: plain values.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes texts for above the prompt: each ends with a flush.
#[derive(Clone)]
struct Above {
    text: Vec<u8>,
    /// None where the editor cannot do it.
    texts: Option<Sender<Vec<u8>>>,
    screen: Arc<Screen>,
}

impl Above {
    fn straight(screen: &Arc<Screen>) -> Self {
        Self {
            text: Vec::new(),
            texts: None,
            screen: Arc::clone(screen),
        }
    }
}

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.text);
        self.screen.handed.fetch_add(1, Ordering::AcqRel);
        let left = match &self.texts {
            Some(texts) => texts.send(text).err().map(|unsent| unsent.0),
            None => Some(text),
        };
        if let Some(text) = left {
            let written = self.screen.write_below(&text);
            self.screen.count(1);
            return written;
        }
        Ok(())
    }
}

/// Starts the thread that hands texts to the editor.
fn print_above<P>(printer: P, screen: &Arc<Screen>) -> io::Result<Above>
where
    P: ExternalPrinter + Send + 'static,
{
    let (texts, handed) = mpsc::channel();
    let above = Above {
        texts: Some(texts),
        ..Above::straight(screen)
    };
    let screen = Arc::clone(screen);
    thread::Builder::new()
        .name("printer".to_owned())
        .spawn(move || hand_over(printer, &handed, &screen))?;
    Ok(above)
}

fn hand_over(mut printer: impl ExternalPrinter, texts: &Receiver<Vec<u8>>, screen: &Screen) {
    while let Ok(mut lines) = texts.recv() {
        let mut count = 1;
        for more in texts.try_iter().take(TEXTS_MAX) {
            lines.extend_from_slice(&more);
            count += 1;
        }
        let lines = String::from_utf8_lossy(&lines).into_owned();
        let turn = locked(&screen.turn);
        let before = screen.steady();
        if printer.print(lines).is_err() {
            return;
        }
        drop(turn);
        screen.settle(before);
        screen.count(count);
    }
}

/// The thread that reads lines.
struct Reader {
    editor: Editor<Words, FileHistory>,
    history: Option<PathBuf>,
    /// Stands in for the history where nothing is recalled.
    aside: FileHistory,
    screen: Arc<Screen>,
    interrupt: Interrupt,
}

/// What reads lines.
trait Reads: Send {
    /// Reads one.
    fn read(&mut self, question: Question) -> Typed;
    /// Wakes who waits for it.
    fn wake(&self);
}

/// Answers one question after the other.
fn answer(mut reader: Box<dyn Reads>, questions: &Receiver<Question>, typed: &Sender<Typed>) {
    while let Ok(question) = questions.recv() {
        let answer = reader.read(question);
        if typed.send(answer).is_err() {
            return;
        }
        reader.wake();
    }
}

impl Reader {
    fn remember(&mut self, line: &str) {
        // Without history the shell works as well.
        drop(self.editor.add_history_entry(line));
        drop(
            self.history
                .as_ref()
                .map(|history| self.editor.append_history(history)),
        );
    }
}

impl Reads for Reader {
    fn wake(&self) {
        self.screen.wake();
    }

    fn read(&mut self, question: Question) -> Typed {
        if let Some(line) = &question.remember {
            self.remember(line);
        }
        let turn = locked(&self.screen.turn);
        self.screen.change(|state| {
            state.reading = true;
            state.begins = true;
            state.rounds += 1;
        });
        drop(turn);
        let prompt = Painted {
            prompt: question.prompt,
            screen: &self.screen,
        };
        // Elsewhere the arrow keys bring back no words of the shell: they would be said to somebody.
        let elsewhere = !question.recalls;
        if elsewhere {
            std::mem::swap(self.editor.history_mut(), &mut self.aside);
        }
        // One from before this line has nothing to end; one that comes once it is typed ends what it asks for.
        self.interrupt.take();
        let read = self.editor.readline(&prompt);
        if elsewhere {
            std::mem::swap(self.editor.history_mut(), &mut self.aside);
        }
        self.screen.change(|state| state.reading = false);
        match read {
            Ok(line) => Typed::Line(line),
            Err(ReadlineError::Eof) => Typed::End,
            Err(ReadlineError::Interrupted) => Typed::Interrupt,
            Err(error) => Typed::Failed(error.to_string()),
        }
    }
}

/// A prompt that counts how often it is painted.
struct Painted<'a> {
    prompt: String,
    screen: &'a Screen,
}

impl Prompt for Painted<'_> {
    fn raw(&self) -> &str {
        self.screen.painted();
        &self.prompt
    }
}

/// How the editor works.
fn config() -> Config {
    let sized = Config::builder().max_history_size(HISTORY_LINES);
    let builder = sized.unwrap_or_else(|_| Config::builder());
    builder
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        // Not for colours: the highlighter must run also without them.
        .color_mode(ColorMode::Forced)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A printer that tells what it got.
    struct Told(Sender<String>);

    impl ExternalPrinter for Told {
        fn print(&mut self, text: String) -> rustyline::Result<()> {
            self.0.send(text).map_err(io::Error::other)?;
            Ok(())
        }
    }

    const SOON: Duration = Duration::from_secs(30);

    fn reading(screen: &Screen, reading: bool) {
        screen.change(|state| {
            state.reading = reading;
            state.rounds += u64::from(reading);
        });
    }

    fn wait(screen: &Screen, text: u64) -> u64 {
        screen.wait_while(SOON, |_| screen.appeared.load(Ordering::Acquire) < text);
        screen.appeared.load(Ordering::Acquire)
    }

    #[test]
    fn a_text_has_appeared_once_the_prompt_is_painted_below_it() {
        let screen = Arc::new(Screen::default());
        let (told, printed) = mpsc::channel();
        let mut above = print_above(Told(told), &screen).unwrap();
        reading(&screen, true);
        writeln!(above, "one").unwrap();
        above.flush().unwrap();
        assert_eq!(printed.recv_timeout(SOON).unwrap(), "one\n");
        // The editor has it, and has not painted yet.
        assert_eq!(screen.appeared.load(Ordering::Acquire), 0);
        writeln!(above, "two").unwrap();
        above.flush().unwrap();
        writeln!(above, "three").unwrap();
        above.flush().unwrap();
        screen.change(|state| state.paints += 1);
        assert_eq!(wait(&screen, 1), 1);
        // What came meanwhile is handed over at once.
        assert_eq!(printed.recv_timeout(SOON).unwrap(), "two\nthree\n");
        screen.change(|state| state.paints += 1);
        assert_eq!(wait(&screen, 3), 3);
    }

    #[test]
    fn a_text_between_two_lines_stands_there_at_once() {
        let screen = Arc::new(Screen::default());
        let (told, printed) = mpsc::channel();
        let mut above = print_above(Told(told), &screen).unwrap();
        for text in 1..=3 {
            writeln!(above, "{text}").unwrap();
            above.flush().unwrap();
        }
        assert_eq!(wait(&screen, 3), 3);
        let printed: String = printed.try_iter().collect();
        assert_eq!(printed, "1\n2\n3\n");
    }
}
