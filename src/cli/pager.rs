//! Long output on a terminal goes through `$PAGER`, else `less -FRX`; what fits the screen is printed as it
//! is.
//!
//! Output comes in *sheets*, mostly a mail each. A pager reads on only when somebody turns on, so a sheet
//! counts as shown once the pager took the one after it: who quits early has not seen the rest. A pager that
//! takes everything at once (`cat`) has shown everything.
//!
//! This module knows nothing of mails; [`super::ui`] is its only user.

use std::io::{self, ErrorKind, PipeWriter, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::Timespec;
use signal_hook::SigId;
use signal_hook::consts::SIGINT;

/// What pages where nothing else is named.
const PAGER: &str = "less -FRX";

/// The first pause between two looks at whether the pager read on, and the longest.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Waits so long at most while somebody reads, and keeps going what must be kept going meanwhile.
pub type Idle<'a> = &'a mut dyn FnMut(Duration);

/// The wait of who has nothing else to keep going.
pub fn rest(pause: Duration) {
    let timeout = Timespec::try_from(pause).ok();
    // An interrupted wait is one that ended early.
    rustix::event::poll(&mut [], timeout.as_ref()).ok();
}

/// Returns the pager that the environment asks for; none where output is not to be paged.
pub fn of_environment() -> Option<String> {
    let named = std::env::var("PAGER").ok();
    let named = named.unwrap_or_else(|| PAGER.to_owned());
    (!matches!(named.trim(), "" | "cat")).then_some(named)
}

/// Output on its way through a pager.
#[derive(Debug)]
pub struct Pager {
    command: String,
    /// Lines that fit the screen, and columns.
    rows: usize,
    columns: usize,
    stage: Stage,
    /// Printed since the last sheet ended.
    text: Vec<u8>,
    sheets: usize,
    shown: usize,
}

#[derive(Debug)]
enum Stage {
    /// It may still fit the screen.
    Held(Vec<u8>),
    Running(Running),
    /// The pager was left: the rest is not wanted.
    Left,
    /// There is no such pager.
    Straight,
}

/// What became of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fed {
    /// The pager has it.
    Taken,
    /// The pager ended before.
    Left,
    /// It never began.
    NoPager,
}

impl Pager {
    /// Begins for a screen of so many rows and columns.
    pub fn new(command: String, rows: usize, columns: usize) -> Self {
        Self {
            command,
            rows,
            columns,
            stage: Stage::Held(Vec::new()),
            text: Vec::new(),
            sheets: 0,
            shown: 0,
        }
    }

    /// Takes in a part of a sheet.
    pub fn write(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Ends a sheet and hands it over. Says whether anybody reads on; `out` is the terminal.
    pub fn turn(&mut self, out: &mut dyn Write, idle: Idle<'_>) -> io::Result<bool> {
        let sheet = std::mem::take(&mut self.text);
        self.sheets += 1;
        match &mut self.stage {
            Stage::Held(held) => {
                held.extend_from_slice(&sheet);
                if lines(held, self.columns) < self.rows {
                    return Ok(true);
                }
                let held = std::mem::take(held);
                self.stage = match Running::start(&self.command) {
                    Ok(running) => Stage::Running(running),
                    Err(_) => Stage::Straight,
                };
                self.feed(held, out, idle)
            }
            _ => self.feed(sheet, out, idle),
        }
    }

    /// Ends the last sheet, and waits until the pager is left. Returns how many sheets were shown.
    pub fn end(mut self, out: &mut dyn Write, idle: Idle<'_>) -> io::Result<usize> {
        if !self.text.is_empty() {
            self.turn(out, &mut *idle)?;
        }
        if let Stage::Held(held) = &self.stage {
            out.write_all(held)?;
            out.flush()?;
            return Ok(self.sheets);
        }
        // An empty line after all: who gets there has seen what stands above.
        if matches!(self.stage, Stage::Running(_)) {
            self.sheets += 1;
            self.feed(b"\n".to_vec(), out, &mut *idle)?;
            self.sheets -= 1;
        }
        if let Stage::Running(running) = self.stage {
            running.wait(idle)?;
        }
        Ok(self.shown.min(self.sheets))
    }

    /// Returns how many sheets were shown so far, for sure.
    pub fn shown(&self) -> usize {
        self.shown
    }

    fn feed(&mut self, sheet: Vec<u8>, out: &mut dyn Write, idle: Idle<'_>) -> io::Result<bool> {
        let running = match &mut self.stage {
            Stage::Running(running) => running,
            Stage::Left => return Ok(false),
            Stage::Straight | Stage::Held(_) => {
                out.write_all(&sheet)?;
                out.flush()?;
                self.shown = self.sheets;
                return Ok(true);
            }
        };
        match running.feed(&sheet, idle)? {
            Fed::Taken => {
                self.shown = self.sheets - 1;
                Ok(true)
            }
            Fed::Left => {
                self.stage = Stage::Left;
                Ok(false)
            }
            Fed::NoPager => {
                self.stage = Stage::Straight;
                self.feed(sheet, out, &mut |_| {})
            }
        }
    }
}

/// Counts the rows that a text takes.
fn lines(text: &[u8], columns: usize) -> usize {
    let text = String::from_utf8_lossy(text);
    let rows = |line: &str| {
        super::untrusted::columns(line)
            .div_ceil(columns.max(1))
            .max(1)
    };
    text.lines().map(rows).sum()
}

/// A pager that runs.
#[derive(Debug)]
struct Running {
    child: Child,
    /// None once nothing more comes.
    pipe: Option<PipeWriter>,
    /// It has taken something.
    reads: bool,
    /// Ctrl-C is the pager's meanwhile.
    interrupt: Option<SigId>,
}

impl Running {
    fn start(command: &str) -> io::Result<Self> {
        let (reader, pipe) = io::pipe()?;
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let unheard = std::sync::Arc::default();
        let interrupt = signal_hook::flag::register(SIGINT, unheard).ok();
        let mut pager = Command::new("sh");
        pager
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::from(reader));
        for (name, value) in [("LESS", "FRX"), ("LESSCHARSET", "utf-8")] {
            if std::env::var_os(name).is_none() {
                pager.env(name, value);
            }
        }
        let child = pager.spawn()?;
        Ok(Self {
            child,
            pipe: Some(pipe),
            reads: false,
            interrupt,
        })
    }

    /// Hands bytes over, and waits until the pager took all of them.
    fn feed(&mut self, mut bytes: &[u8], idle: Idle<'_>) -> io::Result<Fed> {
        let mut pause = PAUSE;
        loop {
            let Some(pipe) = &mut self.pipe else {
                return self.left();
            };
            if !bytes.is_empty() {
                match pipe.write(bytes) {
                    Ok(written) => {
                        bytes = &bytes[written..];
                        pause = PAUSE;
                    }
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return self.left(),
                    Err(error) if is_passing(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            if bytes.is_empty() && rustix::io::ioctl_fionread(&*pipe)? == 0 {
                self.reads = true;
                return Ok(Fed::Taken);
            }
            if self.child.try_wait()?.is_some() {
                return self.left();
            }
            idle(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn left(&mut self) -> io::Result<Fed> {
        let status = self.child.wait()?;
        // As shells say that there is no such program.
        let never_began = |status: ExitStatus| matches!(status.code(), Some(126 | 127));
        Ok(if !self.reads && never_began(status) {
            Fed::NoPager
        } else {
            Fed::Left
        })
    }

    /// Says that nothing more comes, and waits for the end.
    fn wait(mut self, idle: Idle<'_>) -> io::Result<()> {
        self.pipe = None;
        while self.child.try_wait()?.is_none() {
            idle(PAUSE_MAX);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It ends some time after its input does, and has the terminal until then.
        self.pipe = None;
        drop(self.child.wait());
        if let Some(interrupt) = self.interrupt.take() {
            signal_hook::low_level::unregister(interrupt);
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
