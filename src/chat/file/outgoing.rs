//! A file on its way out: one thread hashes it, offers it, and sends it in pieces.
//!
//! At most [`FILE_WINDOW_BYTES`] are under way beyond what the other side has written, so memory
//! stays flat however large the file; what was lost on the way is read again from the disk. This
//! module never decides what comes next: see [`super::Files`].

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};

use super::gauge::{Gauge, Stage};
use super::hash::hash;
use super::{Failure, Speak};
use crate::chat::frame::{FileNumber, Note};
use crate::limits::{FILE_PIECE_BYTES, FILE_WINDOW_BYTES};

/// Orders that wait while the way out is full. A receiver gives one credit for each part of a window;
/// more come only from one that floods.
const ORDERS_WAITING: usize = 256;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Order {
    /// The other side takes the file from an offset on; this is what the file is called.
    Accept { file: FileNumber, offset: u64 },
    /// The other side has written this much.
    Credit { written: u64, again: bool },
    /// The connection was gone; what was under way may be lost.
    Mended,
}

/// What the thread tells: before the note that says so to the other side, so that whoever hears of
/// the note finds the report.
#[derive(Debug)]
pub(super) enum Report {
    /// It is offering this.
    Hashed { size: u64, blake3: String },
    /// It cannot go on.
    Failed(String),
}

/// A file on its way out, as [`super::Files`] holds it. Dropped, its thread ends.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) blake3: String,
    /// What it is called; nothing until its offer has its place in the row.
    pub(super) number: Option<FileNumber>,
    pub(super) accepted: bool,
    pub(super) gauge: Arc<Gauge>,
    pub(super) reports: Receiver<Report>,
    orders: SyncSender<Order>,
}

impl Outgoing {
    /// Starts the thread.
    pub(super) fn start(path: PathBuf, speak: Arc<dyn Speak>) -> io::Result<Self> {
        let (orders, ordered) = mpsc::sync_channel(ORDERS_WAITING);
        let (report, reports) = mpsc::channel();
        let gauge = Arc::new(Gauge::default());
        let name = called(&path);
        let sender = Sending {
            name: name.clone(),
            gauge: Arc::clone(&gauge),
            speak,
            report,
            ordered,
        };
        thread::Builder::new()
            .name("file out".to_owned())
            .spawn(move || sender.run(&path))?;
        Ok(Self {
            name,
            size: 0,
            blake3: String::new(),
            number: None,
            accepted: false,
            gauge,
            reports,
            orders,
        })
    }

    /// Tells the thread; one that ended needs nothing more. A credit that finds no room is as good as lost
    /// on the way: the receiver says it again. Until the yes has come the thread takes whatever comes.
    pub(super) fn order(&self, order: Order) {
        match order {
            Order::Accept { .. } => drop(self.orders.send(order)),
            order => drop(self.orders.try_send(order)),
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.gauge.stop();
    }
}

/// Returns what the other side is told that a file is called.
pub(super) fn called(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The thread's side.
struct Sending {
    name: String,
    gauge: Arc<Gauge>,
    speak: Arc<dyn Speak>,
    report: Sender<Report>,
    ordered: Receiver<Order>,
}

impl Sending {
    fn run(self, path: &Path) {
        match self.offer(path) {
            Ok(Some(source)) => self.send(&source),
            Ok(None) => {}
            Err(failure) => self.fail(failure.to_user),
        }
    }

    fn fail(&self, reason: String) {
        drop(self.report.send(Report::Failed(reason)));
    }

    /// Hashes and offers the file. Nothing when it was called off.
    fn offer(&self, path: &Path) -> Result<Option<Source>, Failure> {
        let source = Source::open(path)?;
        self.gauge.start(Stage::Hashing, source.size);
        let Some(hasher) =
            hash(&source.file, source.size, &self.gauge).map_err(|error| source.failure(&error))?
        else {
            return Ok(None);
        };
        let (size, blake3) = (source.size, hasher.finalize().to_hex().to_string());
        source.check()?;
        self.gauge.start(Stage::Waiting, size);
        drop(self.report.send(Report::Hashed {
            size,
            blake3: blake3.clone(),
        }));
        let name = self.name.clone();
        self.speak.note(Note::Offer { name, size, blake3 });
        Ok(Some(source))
    }

    /// Waits for the answer, then sends until nobody wants more.
    fn send(&self, source: &Source) {
        let accepted = |order| match order {
            Order::Accept { file, offset } => Some((file, offset)),
            _ => None,
        };
        let Some((file, offset)) = self.ordered.iter().find_map(accepted) else {
            return;
        };
        if let Err(failure) = self.send_from(source, file, offset) {
            self.fail(failure.to_user);
            let reason = failure.to_peer;
            self.speak.note(Note::Abandon { file, reason });
        }
    }

    fn send_from(&self, source: &Source, file: FileNumber, offset: u64) -> Result<(), Failure> {
        if offset > source.size {
            return Err(Failure::both("it was asked for beyond its end"));
        }
        self.gauge.start(Stage::Moving, source.size);
        let mut way = Way {
            sent: offset,
            written: offset,
            size: source.size,
        };
        loop {
            self.gauge.set(way.written);
            self.fill(source, file, &mut way)?;
            let Ok(order) = self.ordered.recv() else {
                return Ok(());
            };
            way.heed(&order);
            // What came meanwhile is one piece of news.
            for order in self.ordered.try_iter() {
                way.heed(&order);
            }
        }
    }

    /// Sends what fits the window.
    fn fill(&self, source: &Source, file: FileNumber, way: &mut Way) -> Result<(), Failure> {
        if way.next_piece().is_none() {
            return Ok(());
        }
        source.check()?;
        while let Some(length) = way.next_piece() {
            if self.gauge.is_stopped() {
                return Ok(());
            }
            let bytes = source.piece(way.sent, length)?;
            self.speak.piece(file, way.sent, bytes);
            way.sent += length as u64;
        }
        source.check()
    }
}

/// How far a file is sent.
#[derive(Debug, Clone, Copy)]
struct Way {
    sent: u64,
    written: u64,
    size: u64,
}

impl Way {
    fn heed(&mut self, order: &Order) {
        match order {
            Order::Accept { .. } => {}
            Order::Credit { written, again } => self.credit((*written).min(self.size), *again),
            Order::Mended => self.sent = self.written,
        }
    }

    /// Nothing goes back: a credit that was overtaken says nothing new.
    fn credit(&mut self, written: u64, again: bool) {
        if written < self.written {
            return;
        }
        self.written = written;
        self.sent = if again {
            written
        } else {
            self.sent.max(written)
        };
    }

    /// Bytes of the piece that may be sent now. Only the last one of a file is a short one.
    fn next_piece(&self) -> Option<usize> {
        let left = self.size - self.sent;
        let length = usize::try_from(left).map_or(FILE_PIECE_BYTES, |n| n.min(FILE_PIECE_BYTES));
        let fits = self.sent + length as u64 <= self.written.saturating_add(FILE_WINDOW_BYTES);
        (length > 0 && fits).then_some(length)
    }
}

/// The file as it was when it was opened.
struct Source {
    file: File,
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
}

impl Source {
    fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| unreadable(path, &error);
        // Without blocking: a pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        let file = File::from(opened.map_err(|errno| failed(errno.into()))?);
        let told = file.metadata().map_err(failed)?;
        if !told.is_file() {
            return Err(failed(io::Error::other("it is not a regular file")));
        }
        Ok(Self {
            path: path.to_owned(),
            size: told.len(),
            modified: told.modified().ok(),
            file,
        })
    }

    /// Fails when the file is another than when it was hashed.
    fn check(&self) -> Result<(), Failure> {
        let told = self.file.metadata().map_err(|error| self.failure(&error))?;
        if self.is_as_it_was(&told) {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    fn is_as_it_was(&self, told: &Metadata) -> bool {
        told.len() == self.size && told.modified().ok() == self.modified
    }

    fn piece(&self, offset: u64, length: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; length];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|error| self.failure(&error))?;
        Ok(bytes)
    }

    fn failure(&self, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.changed();
        }
        unreadable(&self.path, error)
    }

    fn changed(&self) -> Failure {
        Failure {
            to_user: format!(
                "{} changed while it was being sent; send it again",
                self.path.display()
            ),
            to_peer: "it changed while it was being sent".to_owned(),
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure {
        to_user: format!("cannot read {}: {error}", path.display()),
        to_peer: "it cannot be read any more".to_owned(),
    }
}
