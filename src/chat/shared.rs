//! What the threads of one chat share: queues both ways, a few marks, and who wakes whom.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::frame::{FileNumber, Note, Seq};
use super::io::{self, Input};
use super::queue::Queue;
use super::{Over, Told};
use crate::client::waker::Waker;
use crate::limits;
use crate::protocol::PublicKey;

/// Bytes told and not yet read by the program: more than all lines ([`limits::LINE_WINDOW`] of
/// [`limits::LINE_BYTES_MAX`]) and one file's window that may be under way, so that an honest other side
/// never fills it.
const TOLD_BYTES: usize = 40 * 1024 * 1024;

/// Bytes said and not yet taken by the engine.
const ROW_BYTES: usize = 64 * 1024;

/// What a note counts there.
const NOTE_BYTES: usize = limits::LINE_BYTES_MAX / 16;

/// Bytes of answers about files that may stand there besides, when it is full.
const ANSWERS_BYTES: usize = 128 * 1024;

/// The same as [`ROW_BYTES`] for pieces and credits of files.
const BULK_BYTES: usize = 1024 * 1024;

/// What the threads of one chat share.
#[derive(Debug)]
pub(super) struct Shared {
    told: Queue<Batch>,
    row: Queue<Input>,
    bulk: Queue<Input>,
    shown: AtomicU64,
    /// The engine wants to be woken when so much is shown.
    shown_wanted: AtomicU64,
    leaving: AtomicBool,
    stopped: AtomicBool,
    /// The engine takes nothing in until what it told is read.
    stalled: AtomicBool,
    answer: OnceLock<Input>,
    own_key: PublicKey,
    peer_key: OnceLock<PublicKey>,
    tried: Mutex<String>,
    dropped: AtomicU64,
    bell: Bell,
    listener: OnceLock<Waker>,
}

/// Bytes of credits that may stand beside the pieces, when those are many.
const CREDITS_BYTES: usize = 64 * 1024;

/// What is told at one time: moved as a whole, since events are many.
#[derive(Debug)]
pub(super) enum Batch {
    /// Of the chat.
    Chat(Vec<io::Event>),
    /// Of the session.
    Other(Box<Told>),
}

/// Wakes the engine, which looks at everything before it sleeps.
#[derive(Debug)]
struct Bell {
    waker: Waker,
    asleep: AtomicBool,
}

impl Bell {
    /// A system call only when somebody sleeps.
    fn ring(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }
}

impl Shared {
    pub(super) fn new(waker: Waker, own_key: PublicKey) -> Self {
        let asleep = AtomicBool::new(false);
        Self {
            told: Queue::new(TOLD_BYTES),
            row: Queue::new(ROW_BYTES),
            bulk: Queue::new(BULK_BYTES),
            shown: AtomicU64::new(0),
            shown_wanted: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            answer: OnceLock::new(),
            own_key,
            peer_key: OnceLock::new(),
            tried: Mutex::default(),
            dropped: AtomicU64::new(0),
            bell: Bell { waker, asleep },
            listener: OnceLock::new(),
        }
    }
}

/// The program's side.
impl Shared {
    pub(super) fn say(&self, text: String) -> Result<(), String> {
        let bytes = text.len();
        match self.row.give(Input::Say(text), bytes) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(Input::Say(text)) => Err(text),
            Err(_) => unreachable!("a queue gives back what it was given"),
        }
    }

    pub(super) fn note(&self, note: Note) -> Result<(), Over> {
        let given = self.row.give(Input::Note(note), NOTE_BYTES);
        given.map_err(|_| Over)?;
        self.bell.ring();
        Ok(())
    }

    /// The same without waiting. An honest other side is answered a few times at most while the row is
    /// full; who asks for more than there is room for gets no answer.
    pub(super) fn answer_note(&self, note: Note) {
        let given = self
            .row
            .give_now(Input::Note(note), NOTE_BYTES, ANSWERS_BYTES);
        if given.is_ok() {
            self.bell.ring();
        }
    }

    pub(super) fn piece(&self, file: FileNumber, offset: u64, bytes: Vec<u8>) -> Result<(), Over> {
        let size = bytes.len();
        let piece = Input::Piece {
            file,
            offset,
            bytes,
        };
        self.bulk.give(piece, size).map_err(|_| Over)?;
        self.bell.ring();
        Ok(())
    }

    /// Without waiting for the pieces of this side: whoever stops a file waits for the thread that says
    /// this. What finds no room is as good as lost on the way, and said again.
    pub(super) fn credit(&self, file: FileNumber, written: u64, again: bool) -> Result<(), Over> {
        let credit = Input::Credit {
            file,
            written,
            again,
        };
        let given = self.bulk.give_now(credit, 0, CREDITS_BYTES);
        if given.is_err() && self.bulk.is_closed() {
            return Err(Over);
        }
        self.bell.ring();
        Ok(())
    }

    pub(super) fn shown(&self, through: Seq) {
        self.shown.fetch_max(through, Ordering::SeqCst);
        if through >= self.shown_wanted.load(Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        self.bell.ring();
    }

    pub(super) fn wait_told(&self, patience: Duration) -> Vec<Batch> {
        let told = self.told.wait(patience);
        if self.stalled.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
        told
    }

    pub(super) fn wake_with(&self, waker: Waker) {
        if !self.told.is_empty() {
            waker.wake();
        }
        self.listener.set(waker).ok();
    }

    pub(super) fn fingerprint(&self) -> Option<String> {
        let peer = self.peer_key.get()?;
        Some(super::fingerprint::fingerprint(&self.own_key, peer))
    }

    pub(super) fn tried(&self) -> String {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.clone()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Makes the engine end where it stands.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.bell.ring();
    }
}

/// The keeper's side.
impl Shared {
    pub(super) fn is_told_full(&self) -> bool {
        self.told.is_full()
    }

    pub(super) fn tell(&self, told: Told) {
        let bytes = match &told {
            Told::Session(crate::client::session::Event::Mail(mail)) => mail.body.len(),
            _ => 0,
        };
        self.tell_batch(Batch::Other(Box::new(told)), bytes);
    }

    /// Passes on how the invitation was answered; the first word counts.
    pub(super) fn answered(&self, answer: Input) {
        self.answer.set(answer).ok();
        self.bell.ring();
    }

    /// Says whether somebody has come.
    pub(super) fn has_peer(&self) -> bool {
        self.peer_key.get().is_some()
    }
}

/// The engine's side.
impl Shared {
    pub(super) fn tell_chat(&self, events: Vec<io::Event>) {
        let bytes = events.iter().map(weight).sum();
        self.tell_batch(Batch::Chat(events), bytes);
    }

    fn tell_batch(&self, batch: Batch, bytes: usize) {
        self.told.extend([(batch, bytes)]);
        if let Some(listener) = self.listener.get() {
            listener.wake();
        }
    }

    /// Says whether there is room for what comes in; without, the reader wakes the engine.
    pub(super) fn has_room(&self) -> bool {
        if !self.told.is_full() {
            return true;
        }
        self.stalled.store(true, Ordering::SeqCst);
        !self.told.is_full()
    }

    pub(super) fn take_row(&self, most: usize) -> Vec<Input> {
        self.row.take(most)
    }

    pub(super) fn take_bulk(&self, most: usize) -> Vec<Input> {
        self.bulk.take(most)
    }

    pub(super) fn mark_shown(&self) -> Seq {
        self.shown.load(Ordering::SeqCst)
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(super) fn answer(&self) -> Option<Input> {
        self.answer.get().cloned()
    }

    pub(super) fn met(&self, key: PublicKey) {
        self.peer_key.set(key).ok();
    }

    pub(super) fn set_tried(&self, tried: String) {
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = tried;
    }

    pub(super) fn set_dropped(&self, dropped: u64) {
        self.dropped.store(dropped, Ordering::SeqCst);
    }

    /// Says that the engine is about to sleep: from here on, whoever changes something wakes it; who
    /// shows lines only with this one.
    pub(super) fn falls_asleep(&self, shown_wanted: Seq) {
        self.shown_wanted.store(shown_wanted, Ordering::SeqCst);
        self.bell.asleep.store(true, Ordering::SeqCst);
    }

    /// Nothing more is taken from the program. Returns what was and did not get its turn.
    pub(super) fn close(&self) -> Vec<Input> {
        self.row.close();
        self.bulk.close();
        self.row.take(usize::MAX)
    }
}

/// Returns the bytes an event takes.
fn weight(event: &io::Event) -> usize {
    let carried = match event {
        io::Event::Line { text, .. } => text.len(),
        io::Event::Piece { bytes, .. } => bytes.len(),
        _ => 0,
    };
    carried + size_of::<io::Event>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::waker;

    #[test]
    fn only_lines_offers_and_pieces_wait_for_room() {
        let (waker, _sleeper) = waker::pair().unwrap();
        let shared = Shared::new(waker, [1; 32]);
        shared.say("x".repeat(ROW_BYTES)).unwrap();
        shared.piece(1, 0, vec![0; BULK_BYTES]).unwrap();
        for file in 0..10_000 {
            let reason = String::new();
            shared.answer_note(Note::Refuse { file, reason });
            assert_eq!(shared.credit(file, 0, true), Ok(()));
        }
        let (row, bulk) = (shared.take_row(usize::MAX), shared.take_bulk(usize::MAX));
        assert!((30..100).contains(&row.len()), "{}", row.len());
        assert!((500..2_000).contains(&bulk.len()), "{}", bulk.len());
        shared.close();
        assert_eq!(shared.credit(1, 0, false), Err(Over));
    }
}
