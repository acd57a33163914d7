//! A file on its way in: one thread writes its pieces beside where it will lie, says how far it is,
//! and gives it its name once all of it is there and has the BLAKE3 that was said.
//!
//! Pieces come in any way the connection leaves them: only the one that follows what is written is
//! taken. What is missing is asked for again, at once at a gap and after [`QUIET`] when nothing
//! comes. This module never decides whether a file is wanted: see [`super::Files`].

use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use super::folder::{Folder, Part};
use super::gauge::{Gauge, Stage};
use super::hash::hash;
use super::{Failure, Offer, Speak, name};
use crate::chat::frame::{FileNumber, Note};
use crate::limits::{FILE_PIECE_BYTES, FILE_WINDOW_BYTES};

/// How long nothing may come before it is asked for again, each time twice as long.
const QUIET: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 2_000 });

/// The longest that gets.
const QUIET_MAX: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// Bytes written between two credits: an eighth of the window, so that it never runs dry.
const CREDIT_BYTES: u64 = FILE_WINDOW_BYTES / 8;

/// Pieces that wait for the disk. More than a window of them comes only from a peer that heeds none.
#[expect(clippy::cast_possible_truncation, reason = "some 128")]
const PIECES_WAITING: usize = (FILE_WINDOW_BYTES / FILE_PIECE_BYTES as u64 * 2) as usize;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Order {
    /// A piece came.
    Piece { offset: u64, bytes: Vec<u8> },
    /// The connection was gone; what was under way may be lost.
    Mended,
    /// The sender gave it up: nothing of it is worth keeping.
    Discard,
}

/// What the thread tells.
#[derive(Debug)]
pub(super) enum Report {
    /// It said yes, from an offset on.
    Accepted { offset: u64 },
    /// It lies here, verified.
    Received { path: PathBuf },
    /// It cannot go on; the other side was told.
    Failed(String),
    /// Nobody sends it any more, after this much.
    Stopped { written: u64 },
}

/// A file on its way in, as [`super::Files`] holds it. Dropped, its thread ends and keeps the part.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) offer: Offer,
    pub(super) gauge: Arc<Gauge>,
    pub(super) reports: Receiver<Report>,
    orders: Option<SyncSender<Order>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Incoming {
    /// Starts the thread, which accepts the file when it can.
    pub(super) fn start(offer: Offer, folder: Folder, speak: Arc<dyn Speak>) -> io::Result<Self> {
        let (orders, ordered) = mpsc::sync_channel(PIECES_WAITING);
        let (report, reports) = mpsc::channel();
        let gauge = Arc::new(Gauge::new(offer.size));
        let receiver = Receiving {
            offer: offer.clone(),
            folder,
            gauge: Arc::clone(&gauge),
            speak,
            report,
            ordered,
        };
        let thread = thread::Builder::new()
            .name("file in".to_owned())
            .spawn(move || receiver.run())?;
        Ok(Self {
            offer,
            gauge,
            reports,
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Tells the thread. What finds no room is asked for again, as if it had been lost on the way.
    pub(super) fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            drop(orders.try_send(order));
        }
    }

    /// Ends the thread and throws away what came.
    pub(super) fn discard(&mut self) {
        if let Some(orders) = &self.orders {
            drop(orders.send(Order::Discard));
        }
        self.finish();
    }

    /// Ends the thread and waits until what came is on the disk.
    pub(super) fn finish(&mut self) {
        self.gauge.stop();
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.gauge.stop();
    }
}

/// The thread's side.
struct Receiving {
    offer: Offer,
    folder: Folder,
    gauge: Arc<Gauge>,
    speak: Arc<dyn Speak>,
    report: Sender<Report>,
    ordered: Receiver<Order>,
}

/// Why the pieces ended.
enum Stop {
    /// All are there.
    Whole,
    /// Nobody sends any more.
    Over,
    /// It was given up.
    Discard,
}

impl Receiving {
    fn run(self) {
        if let Err(failure) = self.receive() {
            let file = self.offer.file;
            let reason = failure.to_peer;
            self.tell(
                Report::Failed(failure.to_user),
                Some(Note::Refuse { file, reason }),
            );
        }
    }

    /// The user hears before the other side, so that whoever hears of the note finds the report.
    fn tell(&self, report: Report, note: Option<Note>) {
        drop(self.report.send(report));
        if let Some(note) = note {
            self.speak.note(note);
        }
    }

    fn receive(&self) -> Result<(), Failure> {
        let part = self.folder.part(&self.offer.blake3);
        let part = part.map_err(|error| self.unwritable(&error))?;
        let Some(mut writing) = self.begin(part)? else {
            return Ok(());
        };
        let (file, offset) = (self.offer.file, writing.written);
        self.tell(
            Report::Accepted { offset },
            Some(Note::Accept { file, offset }),
        );
        let stop = self.take_pieces(&mut writing);
        match stop.map_err(|error| self.failed_writing(&error, &writing))? {
            Stop::Whole => return self.close(writing),
            Stop::Discard => writing.part.discard(),
            Stop::Over => {
                let written = writing.written;
                writing.keep();
                self.tell(Report::Stopped { written }, None);
            }
        }
        Ok(())
    }

    /// Hashes what is kept from an earlier try. Nothing when the chat ended meanwhile.
    fn begin(&self, mut part: Part) -> Result<Option<Writing>, Failure> {
        if part.kept > self.offer.size {
            let emptied = part.file.set_len(0);
            emptied.map_err(|error| self.unwritable(&error))?;
            part.kept = 0;
        }
        let kept = part.kept;
        self.check_room(kept)?;
        self.gauge.start(Stage::Hashing, kept);
        let hashed = hash(&part.file, kept, &self.gauge);
        let hashed = hashed.map_err(|error| self.unwritable(&error))?;
        self.gauge.start(Stage::Moving, self.offer.size);
        self.gauge.set(kept);
        Ok(hashed.map(|hasher| Writing {
            part,
            hasher,
            kept,
            written: kept,
            credited: kept,
            asked: false,
            quiet: QUIET,
        }))
    }

    /// Says no before anything is sent, when there is no room for what is to come.
    fn check_room(&self, kept: u64) -> Result<(), Failure> {
        let needed = self.offer.size - kept;
        match self.folder.room() {
            Some(room) if room < needed => Err(Failure {
                to_user: format!(
                    "no room in {} for {}: {needed} bytes are to come, {room} may",
                    self.folder.path().display(),
                    self.offer.name
                ),
                to_peer: "there is no room for it on the disk".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn take_pieces(&self, writing: &mut Writing) -> io::Result<Stop> {
        while writing.written < self.offer.size {
            match self.ordered.recv_timeout(writing.quiet) {
                Ok(Order::Piece { offset, bytes }) => self.take(writing, offset, &bytes)?,
                Ok(Order::Mended) | Err(RecvTimeoutError::Timeout) => self.ask_again(writing),
                Ok(Order::Discard) => return Ok(Stop::Discard),
                Err(RecvTimeoutError::Disconnected) => return Ok(Stop::Over),
            }
        }
        Ok(Stop::Whole)
    }

    fn take(&self, writing: &mut Writing, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(here_already) = writing.written.checked_sub(offset) else {
            if !writing.asked {
                self.ask_again(writing);
            }
            return Ok(());
        };
        let fresh = usize::try_from(here_already).ok();
        let Some(fresh) = fresh.and_then(|at| bytes.get(at..)) else {
            return Ok(());
        };
        let room = self.offer.size - writing.written;
        let fresh = &fresh[..fresh.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        if !fresh.is_empty() {
            writing.append(fresh)?;
            self.gauge.set(writing.written);
        }
        if writing.written - writing.credited >= CREDIT_BYTES {
            self.credit(writing, false);
        }
        Ok(())
    }

    /// Once for each place: what is under way behind a gap says the same again and again.
    fn ask_again(&self, writing: &mut Writing) {
        self.credit(writing, true);
        writing.asked = true;
        writing.quiet = (writing.quiet * 2).min(QUIET_MAX);
    }

    fn credit(&self, writing: &mut Writing, again: bool) {
        writing.credited = writing.written;
        self.speak.credit(self.offer.file, writing.written, again);
    }

    /// Verifies, syncs and names a file that is all there.
    fn close(&self, writing: Writing) -> Result<(), Failure> {
        if writing.hasher.finalize().to_hex().as_str() != self.offer.blake3 {
            return Err(self.wrong(writing));
        }
        self.gauge.start(Stage::Closing, self.offer.size);
        let synced = writing.part.file.sync_all();
        synced.map_err(|error| self.unwritable(&error))?;
        let placed = writing.part.place(&self.offer.name);
        let path = placed.map_err(|error| self.unwritable(&error))?;
        let file = self.offer.file;
        self.tell(Report::Received { path }, Some(Note::Verified { file }));
        Ok(())
    }

    fn wrong(&self, writing: Writing) -> Failure {
        let from_earlier = writing.kept > 0;
        writing.part.discard();
        let name = &self.offer.name;
        if from_earlier {
            return Failure::both(&format!(
                "what was kept of {name} from an earlier try was damaged; it is thrown away, so send the file again"
            ));
        }
        Failure::both(&format!(
            "what came of {name} does not have the BLAKE3 that was announced; it is thrown away"
        ))
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        Failure {
            to_user: format!(
                "cannot receive {} into {}: {error}",
                self.offer.name,
                self.folder.path().display()
            ),
            to_peer: unwritable_to_peer(error).to_owned(),
        }
    }

    fn failed_writing(&self, error: &io::Error, writing: &Writing) -> Failure {
        let Failure { to_user, to_peer } = self.unwritable(error);
        let (written, part) = (writing.written, writing.part.name());
        Failure {
            to_user: format!(
                "{to_user}; {written} bytes are kept there as {part}: make room and let it be sent again, it goes on from there"
            ),
            to_peer,
        }
    }
}

/// The other side learns what it can do something about, and no path or cause of this machine.
fn unwritable_to_peer(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full",
        io::ErrorKind::FileTooLarge => "it is too large for the disk",
        io::ErrorKind::ResourceBusy => "another chat is receiving it already",
        _ => "it could not be written",
    }
}

/// A part that grows.
struct Writing {
    part: Part,
    hasher: blake3::Hasher,
    /// Bytes from an earlier try.
    kept: u64,
    written: u64,
    credited: u64,
    /// What follows `written` was asked for again already.
    asked: bool,
    quiet: Duration,
}

impl Writing {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.part.file.write_all_at(bytes, self.written)?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        self.asked = false;
        self.quiet = QUIET;
        Ok(())
    }

    /// Leaves it for another try. That it could not be synced costs that try a few bytes at most.
    fn keep(self) {
        if self.written == 0 {
            self.part.discard();
        } else if let Err(error) = self.part.file.sync_data() {
            tracing::debug!(%error, "a part is not synced");
        }
    }
}

impl Offer {
    /// Reads an offer of the other side, or says what is wrong with it.
    pub(super) fn read(
        file: FileNumber,
        theirs: &str,
        size: u64,
        blake3: String,
    ) -> Result<Self, &'static str> {
        let digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if blake3.len() != 64 || !blake3.bytes().all(digit) {
            return Err("its BLAKE3 is none");
        }
        if size > crate::limits::ID_MAX {
            return Err("its size is none");
        }
        Ok(Self {
            file,
            name: name::safe(theirs),
            size,
            blake3,
        })
    }
}
