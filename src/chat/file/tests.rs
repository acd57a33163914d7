//! Two sides joined by a link that loses what is not in the row of lines.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::chat::io::End;
use crate::limits::{FILE_PIECE_BYTES, FILE_WINDOW_BYTES};

/// How long a test waits for anything: only a hang takes that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a side that has nothing to say is left alone.
const TURN: Duration = Duration::from_millis(10);

/// What one side said.
#[derive(Debug)]
enum Said {
    Note(Note),
    Piece(FileNumber, u64, Vec<u8>),
    Credit(FileNumber, u64, bool),
}

#[derive(Debug)]
struct Mouth(usize, Sender<(usize, Said)>);

impl Speak for Mouth {
    fn note(&self, note: Note) {
        drop(self.1.send((self.0, Said::Note(note))));
    }

    fn piece(&self, file: FileNumber, offset: u64, bytes: Vec<u8>) {
        drop(self.1.send((self.0, Said::Piece(file, offset, bytes))));
    }

    fn credit(&self, file: FileNumber, written: u64, again: bool) {
        drop(self.1.send((self.0, Said::Credit(file, written, again))));
    }
}

/// What the link does to the next piece or credit.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Arrives,
    Lost,
    /// It and everything under way is lost, and both sides learn that the link was gone.
    Breaks,
}

/// Two sides and the link between them.
struct Pair {
    sides: [Files; 2],
    said: Receiver<(usize, Said)>,
    seqs: [Seq; 2],
    told: [Vec<Told>; 2],
    pieces: usize,
    /// The most bytes sent beyond what a credit has said.
    ahead: u64,
    written: u64,
    dir: TempDir,
    into: TempDir,
}

impl Pair {
    fn new(ask: bool) -> Self {
        let (mouth, said) = mpsc::channel();
        let into = tempfile::tempdir().unwrap();
        let policy = if ask {
            Policy::Ask
        } else {
            Policy::Into(Folder::open(into.path()).unwrap())
        };
        let sides = [(0, Policy::Refuse), (1, policy)];
        let sides = sides.map(|(n, policy)| Files::new(Arc::new(Mouth(n, mouth.clone())), policy));
        Self {
            sides,
            said,
            // Not the same, so that nobody takes one for the other.
            seqs: [10, 20],
            told: [Vec::new(), Vec::new()],
            pieces: 0,
            ahead: 0,
            written: 0,
            dir: tempfile::tempdir().unwrap(),
            into,
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Carries everything said until `done`, each piece and credit with the fate it meets.
    fn until(&mut self, mut fate: impl FnMut() -> Fate, done: impl Fn(&Self) -> bool) {
        let mut idle = 0;
        while !done(self) {
            // Not everything that a thread finds out is said to the other side.
            match self.said.recv_timeout(TURN) {
                Ok((from, said)) => {
                    idle = 0;
                    self.carry(from, said, &mut fate);
                }
                Err(_) => idle += 1,
            }
            assert!(TURN * idle < PATIENCE, "nothing comes any more");
            self.listen();
        }
    }

    fn listen(&mut self) {
        for (side, told) in self.sides.iter_mut().zip(&mut self.told) {
            told.extend(std::iter::from_fn(|| side.poll_told()));
        }
    }

    fn carry(&mut self, from: usize, said: Said, fate: &mut impl FnMut() -> Fate) {
        let to = 1 - from;
        let event = match said {
            Said::Note(note) => {
                self.seqs[from] += 1;
                let (seq, copy) = (self.seqs[from], note.clone());
                assert!(
                    self.sides[from]
                        .handle(Event::Noted { seq, note: copy })
                        .is_none()
                );
                assert!(self.sides[to].handle(Event::Note { seq, note }).is_none());
                return;
            }
            Said::Piece(file, offset, bytes) => {
                self.pieces += 1;
                let end = offset + bytes.len() as u64;
                self.ahead = self.ahead.max(end.saturating_sub(self.written));
                Event::Piece {
                    file,
                    offset,
                    bytes,
                }
            }
            Said::Credit(file, written, again) => Event::Credit {
                file,
                written,
                again,
            },
        };
        match fate() {
            Fate::Lost => {}
            Fate::Breaks => self.break_link(),
            Fate::Arrives => {
                if let Event::Credit { written, .. } = event {
                    self.written = self.written.max(written);
                }
                assert!(self.sides[to].handle(event).is_none());
            }
        }
    }

    fn break_link(&mut self) {
        let under_way: Vec<_> = self.said.try_iter().collect();
        for (from, said) in under_way {
            if matches!(said, Said::Note(_)) {
                self.carry(from, said, &mut || Fate::Arrives);
            }
        }
        for side in &mut self.sides {
            assert_eq!(side.handle(Event::Mended), Some(Event::Mended));
        }
    }

    fn states(&self, side: usize) -> Vec<&State> {
        self.told[side].iter().map(|told| &told.state).collect()
    }

    fn has_told(&self, side: usize, what: impl Fn(&State) -> bool) -> bool {
        self.told[side].iter().any(|told| what(&told.state))
    }

    fn reason(&self, side: usize) -> String {
        let reason = |told: &'_ Told| match &told.state {
            State::Refused { reason } | State::Failed { reason } => Some(reason.clone()),
            _ => None,
        };
        self.told[side].iter().find_map(reason).expect("a reason")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.into.path()).unwrap();
        let name = |entry: Result<fs::DirEntry, _>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn received(&self, name: &str) -> Vec<u8> {
        fs::read(self.into.path().join(name)).unwrap()
    }
}

fn arrives() -> Fate {
    Fate::Arrives
}

fn is_sent(state: &State) -> bool {
    *state == State::Sent
}

fn is_over(state: &State) -> bool {
    matches!(state, State::Refused { .. } | State::Failed { .. })
}

/// Bytes in which no piece is like another.
fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

const MIB: usize = 1024 * 1024;

#[test]
fn a_file_arrives_whole_and_the_window_is_never_exceeded() {
    let mut pair = Pair::new(false);
    let sent = bytes(9 * MIB + 123);
    let path = pair.file("notes.bin", &sent);
    pair.sides[0].send(path);
    pair.until(arrives, |pair| pair.has_told(0, is_sent));
    assert!(pair.received("notes.bin") == sent);
    assert_eq!(pair.pieces, sent.len().div_ceil(FILE_PIECE_BYTES));
    assert!(pair.ahead <= FILE_WINDOW_BYTES, "{}", pair.ahead);
    assert!(pair.ahead > FILE_WINDOW_BYTES / 2, "{}", pair.ahead);
    let about = &pair.told[0][0].about;
    assert_eq!((about.incoming, about.file), (false, Some(11)));
    assert_eq!(about.blake3, blake3::hash(&sent).to_hex().as_str());
    let states = [State::Offered, State::Accepted { offset: 0 }, State::Sent];
    assert_eq!(pair.states(0), states.iter().collect::<Vec<_>>());
    let path = pair.into.path().join("notes.bin");
    assert_eq!(pair.states(1)[2], &State::Received { path });
    assert!(pair.sides.iter().all(|side| !side.is_busy()));
}

#[test]
fn several_files_go_one_after_the_other_and_empty_ones_too() {
    let mut pair = Pair::new(false);
    for (name, length) in [("a", 0), ("b", 1), ("c", FILE_PIECE_BYTES), ("d", MIB)] {
        let path = pair.file(name, &bytes(length));
        pair.sides[0].send(path);
    }
    pair.until(arrives, |pair| {
        pair.told[0].iter().filter(|t| is_sent(&t.state)).count() == 4
    });
    assert_eq!(pair.names(), ["a", "b", "c", "d"]);
    assert!(pair.received("d") == bytes(MIB));
}

#[test]
fn who_takes_no_files_says_how_that_changes() {
    let mut pair = Pair::new(false);
    let path = pair.file("a", b"a");
    pair.sides[1].send(path);
    pair.until(arrives, |pair| pair.has_told(1, is_over));
    assert_eq!(pair.reason(1), "takes no files; start with --receive DIR");
    assert!(pair.has_told(0, is_over));
}

#[test]
fn who_is_asked_answers_by_number_or_takes_the_oldest() {
    let mut pair = Pair::new(true);
    for name in ["a", "b"] {
        let path = pair.file(name, name.as_bytes());
        pair.sides[0].send(path);
    }
    pair.until(arrives, |pair| pair.sides[1].offers().count() == 1);
    assert!(!pair.sides[1].refuse(Some(99), "no"));
    assert!(pair.sides[1].refuse(Some(11), "not that one"));
    pair.until(arrives, |pair| pair.sides[1].offers().count() == 1);
    let folder = Folder::open(pair.into.path()).unwrap();
    assert!(pair.sides[1].accept(None, &folder));
    assert!(!pair.sides[1].accept(None, &folder));
    pair.until(arrives, |pair| pair.has_told(0, is_sent));
    assert_eq!(pair.reason(0), "not that one");
    assert_eq!(pair.names(), ["b"]);
}

#[test]
fn a_file_that_is_coming_can_still_be_refused() {
    let mut pair = Pair::new(false);
    let path = pair.file("a", &bytes(8 * MIB));
    pair.sides[0].send(path);
    pair.until(arrives, |pair| pair.written > 0);
    assert!(pair.sides[1].refuse(None, "enough"));
    pair.until(arrives, |pair| pair.has_told(0, is_over));
    assert_eq!(pair.reason(0), "enough");
    assert!(pair.sides.iter().all(|side| !side.is_busy()));
}

#[test]
fn a_broken_off_file_goes_on_in_a_later_chat_where_it_stopped() {
    let sent = bytes(6 * MIB);
    let mut first = Pair::new(false);
    let path = first.file("big.bin", &sent);
    first.sides[0].send(path);
    first.until(arrives, |pair| pair.written >= 2 * MIB as u64);
    for side in &mut first.sides {
        let ended = Event::Ended(End::Lost);
        assert_eq!(side.handle(ended.clone()), Some(ended));
    }
    first.listen();
    assert!(first.reason(1).contains("are kept"), "{}", first.reason(1));
    assert!(first.reason(0).contains("before it had arrived"));
    let part = first.names().remove(0);
    let kept = fs::metadata(first.into.path().join(part)).unwrap().len();
    assert!(kept >= 2 * MIB as u64);

    let mut second = Pair::new(false);
    second.into = first.into;
    second.sides[1].policy = Policy::Into(Folder::open(second.into.path()).unwrap());
    let path = second.file("other name.bin", &sent);
    second.sides[0].send(path);
    second.until(arrives, |pair| pair.has_told(0, is_sent));
    assert!(second.has_told(0, |state| *state == State::Accepted { offset: kept }));
    assert!(second.received("other name.bin") == sent);
    assert_eq!(second.names(), ["other name.bin"]);
}

#[test]
fn a_kept_part_that_was_damaged_is_noticed_and_thrown_away() {
    let mut pair = Pair::new(false);
    let sent = bytes(MIB);
    let hash = blake3::hash(&sent).to_hex();
    let part = pair.into.path().join(format!(".{}.part", &hash[..32]));
    fs::write(&part, b"something else").unwrap();
    let path = pair.file("a", &sent);
    pair.sides[0].send(path.clone());
    pair.until(arrives, |pair| pair.has_told(0, is_over));
    assert!(pair.reason(0).contains("was damaged"), "{}", pair.reason(0));
    assert!(pair.names().is_empty());
    pair.sides[0].send(path);
    pair.until(arrives, |pair| pair.has_told(0, is_sent));
}

#[test]
fn a_file_that_changes_is_given_up_with_the_reason() {
    let mut pair = Pair::new(true);
    let path = pair.file("a", &bytes(MIB));
    pair.sides[0].send(path.clone());
    pair.until(arrives, |pair| pair.sides[1].offers().count() == 1);
    fs::write(&path, b"shorter").unwrap();
    let folder = Folder::open(pair.into.path()).unwrap();
    assert!(pair.sides[1].accept(None, &folder));
    pair.until(arrives, |pair| pair.has_told(1, is_over));
    assert!(
        pair.reason(1)
            .contains("it changed while it was being sent")
    );
    assert!(pair.reason(0).contains(path.to_str().unwrap()));
    assert!(pair.names().is_empty(), "{:?}", pair.names());
}

#[test]
fn what_is_no_file_is_not_sent_and_the_next_one_is() {
    let mut pair = Pair::new(false);
    let (missing, folder) = (pair.dir.path().join("missing"), pair.dir.path().to_owned());
    let path = pair.file("a", b"a");
    for path in [missing, folder, PathBuf::from("/dev/null"), path] {
        pair.sides[0].send(path);
    }
    pair.until(arrives, |pair| pair.has_told(0, is_sent));
    let failed = pair.told[0].iter().filter(|told| is_over(&told.state));
    assert_eq!(failed.count(), 3, "{:?}", pair.told[0]);
    assert!(pair.reason(0).contains("missing"), "{}", pair.reason(0));
}

#[test]
fn p12_a_forged_peer_cannot_leave_the_folder_or_send_more_or_other_bytes_than_it_said() {
    let mut pair = Pair::new(false);
    let said = |name: &str, bytes: &[u8]| Note::Offer {
        name: name.to_owned(),
        size: bytes.len() as u64,
        blake3: blake3::hash(bytes).to_hex().to_string(),
    };
    let mut seq = 0;
    let answer = |pair: &mut Pair| loop {
        let (_, said) = pair.said.recv_timeout(PATIENCE).expect("an answer");
        if let Said::Note(note) = said {
            return note;
        }
    };
    let mut offer = |pair: &mut Pair, note: Note, bytes: &[u8]| {
        seq += 1;
        assert!(pair.sides[1].handle(Event::Note { seq, note }).is_none());
        let accepted = answer(pair);
        assert!(matches!(accepted, Note::Accept { .. }), "{accepted:?}");
        let bytes = bytes.to_vec();
        let piece = Event::Piece {
            file: seq,
            offset: 0,
            bytes,
        };
        assert!(pair.sides[1].handle(piece).is_none());
        answer(pair)
    };
    let evil = offer(&mut pair, said("../../x", b"right"), b"wrong");
    assert!(matches!(evil, Note::Refuse { .. }), "{evil:?}");
    let longer = offer(&mut pair, said("../.bashrc", b"right"), b"right and more");
    assert!(matches!(longer, Note::Verified { .. }), "{longer:?}");
    let escape = offer(&mut pair, said("\x1b]0;x\x07.txt", b"also"), b"also");
    assert!(matches!(escape, Note::Verified { .. }), "{escape:?}");
    for blake3 in [
        "",
        "../../../../../../../../../../../../../../../../../../../../../etc/",
        &"A".repeat(64),
    ] {
        let note = Note::Offer {
            name: "a".to_owned(),
            size: 1,
            blake3: blake3.to_owned(),
        };
        assert!(
            pair.sides[1]
                .handle(Event::Note { seq: 77, note })
                .is_none()
        );
        assert!(matches!(answer(&mut pair), Note::Refuse { file: 77, .. }));
    }
    assert_eq!(pair.names(), ["_]0;x_.txt", "bashrc"]);
    assert_eq!(pair.received("bashrc"), b"right");
}

#[test]
fn more_offers_than_anyone_answers_are_refused() {
    let mut pair = Pair::new(true);
    for seq in 1..=OFFERS_MAX as u64 + 1 {
        let note = Note::Offer {
            name: "a".to_owned(),
            size: 1,
            blake3: "a".repeat(64),
        };
        assert!(pair.sides[1].handle(Event::Note { seq, note }).is_none());
    }
    assert_eq!(pair.sides[1].offers().count(), OFFERS_MAX);
    assert_eq!(pair.said.try_iter().count(), 1);
}

#[test]
fn the_part_of_another_process_is_left_alone() {
    let mut pair = Pair::new(false);
    let sent = bytes(100);
    let folder = Folder::open(pair.into.path()).unwrap();
    let theirs = folder.part(&blake3::hash(&sent).to_hex()).unwrap();
    let path = pair.file("a", &sent);
    pair.sides[0].send(path);
    pair.until(arrives, |pair| pair.has_told(0, is_over));
    assert!(
        pair.reason(0).contains("another chat"),
        "{}",
        pair.reason(0)
    );
    assert_eq!(pair.names(), [theirs.name()]);
}

#[test]
fn progress_tells_both_sides_how_far_it_is() {
    let mut pair = Pair::new(false);
    let path = pair.file("a", &bytes(8 * MIB));
    pair.sides[0].send(path);
    pair.until(arrives, |pair| pair.written > 0);
    for (side, incoming) in [(0, false), (1, true)] {
        let progress = pair.sides[side].progress().remove(0);
        assert_eq!(
            (progress.incoming, progress.size),
            (incoming, 8 * MIB as u64)
        );
        assert_eq!(
            (progress.name.as_str(), progress.stage),
            ("a", Stage::Moving)
        );
    }
    assert!(pair.sides[0].is_sending() && pair.sides[1].is_receiving());
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        30 => Just(Fate::Arrives),
        3 => Just(Fate::Lost),
        1 => Just(Fate::Breaks),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_file_arrives_identical_whatever_the_link_loses(
        length in 0..(5 * MIB),
        fates in proptest::collection::vec(fate(), 1..200),
    ) {
        let mut pair = Pair::new(false);
        let sent = bytes(length);
        let path = pair.file("a.bin", &sent);
        pair.sides[0].send(path);
        let mut fates = fates.into_iter();
        pair.until(
            || fates.next().unwrap_or(Fate::Arrives),
            |pair| pair.has_told(0, is_sent),
        );
        prop_assert!(pair.received("a.bin") == sent);
        prop_assert_eq!(pair.names(), ["a.bin"]);
    }
}
