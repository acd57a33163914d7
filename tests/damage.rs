//! P2: files that are not what was written. Bits and blocks flip, files are cut, emptied, removed,
//! swapped and put back older; whatever a store then says is right, or it is said that it is not.
//!
//! Each damage is done to a copy of a store whose whole content is known. Most copies are opened and
//! read in this process, a sample by real servers. 50 flips, or `CORREIO_FLIPS`.

#![allow(
    clippy::print_stdout,
    reason = "seeds and figures belong in a test's output"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::faults::each;
use common::life::{Life, verify};
use common::rng::Rng;
use common::story::Story;
use common::{Timed, scale};
use correio::auth::keys::KeyPair;
use correio::protocol::{LogNumber, MailId};
use correio::store::sled::SledStore;
use correio::store::{Answer, Query, Snapshot, Store, StoreError, StoredMail};

/// Most memory a server may take over a damaged store.
const RSS_MAX_KIB: u64 = 512 * 1024;

/// Bytes of a block of the file system.
const BLOCK: u64 = 4096;

/// One thing done to one file of a data folder.
#[derive(Debug, Clone)]
enum Damage {
    /// One bit is another.
    Flip(String, u64, u8),
    /// A block is full of zeros.
    Zero(String, u64),
    /// A block is full of something else.
    Junk(String, u64),
    /// The file ends there.
    Cut(String, u64),
    /// It is gone.
    Remove(String),
    /// It is as it was a day before.
    Older(String),
    /// Each is where the other was.
    Swap(String, String),
}

impl Damage {
    /// Does it to a copy of `sound`.
    fn inflict(&self, data: &Path, older: &Path) {
        let change = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
            let path = data.join(name);
            let mut bytes = fs::read(&path).expect("it was there");
            change(&mut bytes);
            fs::write(&path, bytes).expect("it can be written");
        };
        let fill = |name: &str, block: u64, with: u8| {
            change(name, &|bytes| {
                let from = usize::try_from(block * BLOCK).expect("small");
                let to = (from + usize::try_from(BLOCK).expect("small")).min(bytes.len());
                bytes[from..to].fill(with);
            });
        };
        match self {
            Self::Flip(name, at, bit) => change(name, &|bytes| {
                bytes[usize::try_from(*at).expect("small")] ^= 1 << bit;
            }),
            Self::Zero(name, block) => fill(name, *block, 0),
            Self::Junk(name, block) => fill(name, *block, 0xa5),
            Self::Cut(name, at) => {
                change(name, &|bytes| {
                    bytes.truncate(usize::try_from(*at).expect("small"));
                });
            }
            Self::Remove(name) => fs::remove_file(data.join(name)).expect("it was there"),
            Self::Older(name) => {
                fs::copy(older.join(name), data.join(name)).expect("it was there before");
            }
            Self::Swap(one, other) => {
                let (from, to) = (data.join(one), data.join(other));
                let aside = data.join("aside");
                fs::rename(&from, &aside).expect("it was there");
                fs::rename(&to, &from).expect("it was there");
                fs::rename(&aside, &to).expect("it was there");
            }
        }
    }
}

/// Everything a store holds.
#[derive(Debug, Clone, PartialEq)]
struct Content {
    directory: Snapshot,
    mails: Vec<(LogNumber, Vec<StoredMail>)>,
    bodies: Vec<(LogNumber, MailId, Option<Vec<u8>>)>,
}

impl Content {
    fn of(data: &Path) -> Result<Self, StoreError> {
        let mut store = SledStore::open(data)?;
        let directory = store.load()?;
        let reader = store.reader();
        let (mut mails, mut bodies) = (Vec::new(), Vec::new());
        for (log, _) in &directory.logs {
            let query = Query::Page {
                log: *log,
                after: 0,
                upto: MailId::MAX,
                mails: u32::MAX,
                bytes: u64::MAX,
            };
            let Answer::Mails { mails: found, .. } = reader.read(&query)? else {
                panic!("another answer");
            };
            for mail in found.iter().filter(|mail| mail.body.is_none()) {
                let query = Query::Body {
                    log: *log,
                    id: mail.id,
                    offset: 0,
                    len: usize::MAX,
                };
                let Answer::Body(body) = reader.read(&query)? else {
                    panic!("another answer");
                };
                bodies.push((*log, mail.id, body));
            }
            mails.push((*log, found));
        }
        drop(reader);
        store.close()?;
        Ok(Self {
            directory,
            mails,
            bodies,
        })
    }
}

/// A store and what it holds, how it was a day before, and the story of it.
struct Sound {
    _temp: tempfile::TempDir,
    folder: PathBuf,
    data: PathBuf,
    older: PathBuf,
    content: Content,
    story: Story,
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "a copy");
}

impl Sound {
    fn make() -> Self {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = temp.path().canonicalize().expect("it is there");
        let (data, older) = (folder.join("sound"), folder.join("older"));
        let mut story = Story::default();
        let mut day = |with_past: bool| {
            let mut life = Life::begin(&data, &[], &[]);
            assert!(life.is_ready(), "it starts");
            let admin = KeyPair::load(&data.join("admin.key")).expect("a key");
            if with_past {
                story.past(&mut life).expect("it serves");
            }
            story.live(&mut life, &admin).expect("it serves");
            assert_eq!(life.stop().judged(), Ok(0));
        };
        day(false);
        copy(&data, &older);
        day(true);
        day(false);
        // So that copies are small; a start lays it again.
        fs::remove_file(data.join("ballast")).expect("a ballast");
        let again = folder.join("again");
        copy(&data, &again);
        let content = Content::of(&again).expect("it is sound");
        Self {
            folder,
            data,
            older,
            content,
            story,
            _temp: temp,
        }
    }

    /// The files of the folder whose damage is looked for, with their lengths.
    fn files(&self) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        for folder in ["", "store"] {
            for entry in fs::read_dir(self.data.join(folder)).expect("it is there") {
                let entry = entry.expect("an entry");
                let length = entry.metadata().expect("it is there").len();
                let path = entry.path();
                let name = path.strip_prefix(&self.data).expect("inside");
                if path.is_file() {
                    all.push((name.to_string_lossy().into_owned(), length));
                }
            }
        }
        all.sort();
        all
    }

    /// Damages a copy.
    fn damaged(&self, damage: &Damage) -> (tempfile::TempDir, PathBuf) {
        let own = tempfile::tempdir_in(&self.folder).expect("a folder");
        let data = own.path().join("data");
        copy(&self.data, &data);
        damage.inflict(&data, &self.older);
        (own, data)
    }
}

/// What became of a damage.
type Counts = Mutex<BTreeMap<(String, &'static str), usize>>;

fn count(counts: &Counts, file: &str, outcome: &'static str) {
    let mut counts = counts.lock().expect("no holder panics");
    *counts.entry((file.to_owned(), outcome)).or_default() += 1;
}

fn print(counts: Counts) {
    for ((file, outcome), count) in counts.into_inner().expect("no holder panics") {
        println!("{file}: {outcome}: {count}");
    }
}

/// Opens and reads a damaged store in this process.
fn examine(sound: &Sound, damage: &Damage) -> Result<&'static str, String> {
    let (_own, data) = sound.damaged(damage);
    match Content::of(&data) {
        Err(error) => one_line(&error.to_string()).map(|()| "refused or said"),
        Ok(content) if content == sound.content => Ok("no effect"),
        Ok(content) => Err(differs(&sound.content, &content)),
    }
}

fn one_line(text: &str) -> Result<(), String> {
    if text.contains('\n') || text.len() > 600 {
        return Err(format!("not one line: {text}"));
    }
    Ok(())
}

/// Says how two contents differ, in few words.
fn differs(sound: &Content, found: &Content) -> String {
    let (a, b) = (&sound.directory, &found.directory);
    let parts = [
        ("meta", a.meta == b.meta),
        (
            "directory counters",
            a.directory_counters == b.directory_counters,
        ),
        ("mail counters", a.mail_counters == b.mail_counters),
        ("addresses", a.addresses == b.addresses),
        ("devices", a.devices == b.devices),
        ("subscriptions", a.subscriptions == b.subscriptions),
        ("leases", a.leases == b.leases),
        ("logs", a.logs == b.logs),
        ("streams", a.streams == b.streams),
        ("completions", a.completions == b.completions),
        ("cursors", a.cursors == b.cursors),
        ("mails", sound.mails == found.mails),
        ("bodies", sound.bodies == found.bodies),
    ];
    let wrong = parts.iter().filter(|(_, same)| !same);
    let wrong: Vec<&str> = wrong.map(|(name, _)| *name).collect();
    format!("SILENTLY other than it was: {wrong:?}")
}

#[test]
fn p02_a_flipped_bit_is_said_or_changes_nothing() {
    const NAME: &str = "p02_a_flipped_bit_is_said_or_changes_nothing";
    let _timed = Timed::start(NAME);
    let flips = scale("CORREIO_FLIPS", 50);
    let mut rng = Rng::announced(NAME);
    let bare = watch_panics();
    let sound = Sound::make();
    let files = sound.files();
    println!("{files:?}");
    let of_store = |name: &str| name.starts_with("store/") || name == "seal";
    let files: Vec<_> = files
        .into_iter()
        .filter(|(name, _)| of_store(name))
        .collect();
    let damages: Vec<Damage> = (0..flips)
        .map(|nth| {
            // Most in the log itself.
            let (name, length) = match nth % 5 {
                0 => rng.pick(&files).clone(),
                _ => files
                    .iter()
                    .find(|(name, _)| name == "store/db")
                    .cloned()
                    .expect("a log"),
            };
            let at = rng.below(length);
            match nth % 10 {
                7 => Damage::Zero(name, at / BLOCK),
                8 => Damage::Junk(name, at / BLOCK),
                9 => Damage::Cut(name, at),
                _ => Damage::Flip(name, at, u8::try_from(rng.below(8)).expect("small")),
            }
        })
        .collect();
    let counts = Counts::default();
    let failures = each(&damages, 2, |damage| {
        let outcome = examine(&sound, damage)?;
        count(&counts, file_of(damage), outcome);
        Ok(())
    });
    print(counts);
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(bare.load(Ordering::SeqCst), 0, "panics that nobody caught");
}

fn file_of(damage: &Damage) -> &str {
    match damage {
        Damage::Flip(name, ..)
        | Damage::Zero(name, _)
        | Damage::Junk(name, _)
        | Damage::Cut(name, _)
        | Damage::Remove(name)
        | Damage::Older(name)
        | Damage::Swap(name, _) => name,
    }
}

/// Counts panics that reach the hook: those of sled that the store turns into errors do not.
fn watch_panics() -> &'static AtomicUsize {
    static BARE: AtomicUsize = AtomicUsize::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        BARE.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
    &BARE
}

/// Starts a real server on a damaged folder and holds it to its story, as far as it goes.
fn serve(sound: &Sound, damage: &Damage) -> Result<&'static str, String> {
    let (_own, data) = sound.damaged(damage);
    let (printed, checked) = verify(&data);
    let whole = checked.judged()? == 0;
    if !whole && !printed.contains("FAULT") && !checked.complaint().contains("restore") {
        return Err(format!("verify names no way out: {}", checked.said));
    }
    let mut life = Life::begin(&data, &[], &[]);
    if !life.is_ready() {
        let end = life.end();
        let code = end.judged()?;
        return match code {
            0 => Err("it ended with 0 and was never ready".into()),
            _ if end.complaint().contains("restore") => Ok("refused"),
            _ => Err(format!("no way out is named: {}", end.complaint())),
        };
    }
    let admin = KeyPair::load(&data.join("admin.key")).map_err(|why| why.to_string())?;
    let mut story = sound.story.clone();
    let held = story.hold_to_it(&mut life, &admin);
    let most = life.rss_most_kib();
    let end = life.stop();
    let code = end.judged()?;
    if most > RSS_MAX_KIB {
        return Err(format!("it held {most} KiB"));
    }
    match (held, code) {
        (Ok(()), 0) if whole => Ok("no effect"),
        (Ok(()), 0) => Ok("served what is whole; verify says the rest"),
        (_, 1..) if end.complaint().contains("restore") => Ok("said while it served"),
        _ => Err(format!("no way out is named: {}", end.said)),
    }
}

/// Everything but flips, and a few of those, on real servers.
#[test]
fn p02_a_server_on_damaged_files_is_right_or_says_so() {
    const NAME: &str = "p02_a_server_on_damaged_files_is_right_or_says_so";
    let _timed = Timed::start(NAME);
    let mut rng = Rng::announced(NAME);
    let sound = Sound::make();
    let files = sound.files();
    let mut damages = Vec::new();
    for (name, length) in &files {
        damages.push(Damage::Remove(name.clone()));
        damages.push(Damage::Cut(name.clone(), 0));
        damages.push(Damage::Cut(name.clone(), length / 2));
        if sound.older.join(name).exists() {
            damages.push(Damage::Older(name.clone()));
        }
        if *length > 0 {
            damages.push(Damage::Zero(name.clone(), 0));
            let at = rng.below(*length);
            damages.push(Damage::Flip(name.clone(), at, 3));
        }
        let (other, _) = rng.pick(&files);
        if other != name {
            damages.push(Damage::Swap(name.clone(), other.clone()));
        }
    }
    let counts = Counts::default();
    let failures = each(&damages, 3, |damage| {
        let outcome = serve(&sound, damage)?;
        println!("{damage:?}: {outcome}");
        count(&counts, file_of(damage), outcome);
        Ok(())
    });
    print(counts);
    assert_eq!(failures, Vec::<String>::new());
}
