//! P1, P2: a disk that fails at any step. The real server lives a fixed day while one of its system
//! calls fails, once or from then on, and is then held to every word it gave.
//!
//! A few steps of all, or `CORREIO_STEPS` of them (`all`: every one). The errors are made by strace;
//! short writes are real (a limit on the size of files), and so is the full disk (a small tmpfs).

#![allow(
    clippy::print_stdout,
    reason = "seeds and figures belong in a test's output"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::faults::{Fault, Survey, can_trace, each, spread, watching};
use common::life::{Life, verify};
use common::rng::Rng;
use common::story::Story;
use common::{Timed, eventually, skip};
use correio::auth::keys::KeyPair;

/// A folder to begin in, and what was told before.
#[derive(Clone)]
struct Ground {
    name: &'static str,
    data: Option<PathBuf>,
    story: Story,
}

/// What happens to one server.
#[derive(Debug, Clone)]
struct Case {
    ground: usize,
    fault: Fault,
}

impl Ground {
    /// The first start of all.
    fn fresh() -> Self {
        Self {
            name: "fresh",
            data: None,
            story: Story::default(),
        }
    }

    /// A store with a past; one of its mails has expired since.
    fn lived_in(folder: &Path) -> Self {
        let data = folder.join("lived-in");
        let mut story = Story::default();
        let mut life = Life::begin(&data, &[], &[]);
        assert!(life.is_ready(), "it starts");
        story.past(&mut life).expect("it serves");
        life.stop().judged().expect("it stops");
        Self {
            name: "lived in",
            data: Some(data),
            story,
        }
    }

    /// Makes a folder like this one.
    fn copy(&self, to: &Path) {
        if let Some(data) = &self.data {
            let done = Command::new("cp").arg("-r").arg(data).arg(to).status();
            assert!(done.is_ok_and(|status| status.success()), "a copy");
            // Laid again at the start: another step that can fail.
            std::fs::remove_file(to.join("ballast")).expect("a ballast");
        }
    }
}

/// Lives the day with some words in front of the server. Returns its exit code; an error says what is
/// wrong with its end.
fn day(data: &Path, words: &[String], story: &mut Story, args: &[&str]) -> Result<i32, String> {
    let mut life = Life::begin(data, words, args);
    if life.is_ready() {
        let admin = KeyPair::load(&data.join("admin.key")).map_err(|why| why.to_string())?;
        // Whoever ends early is judged below.
        drop(story.live(&mut life, &admin));
        return life.stop().judged();
    }
    match life.end().judged()? {
        0 => Err("it ended with 0 and was never ready".into()),
        code => Ok(code),
    }
}

/// Checks a folder after the fault is gone: it verifies, starts, serves what was told, and stops.
fn aftermath(data: &Path, story: &mut Story) -> Result<(), String> {
    if data.join("store/db").exists() {
        let (_, end) = verify(data);
        match end.judged()? {
            0 => {}
            _ => return Err(format!("verify: {}", end.said)),
        }
    }
    let mut life = Life::begin(data, &[], &[]);
    if !life.is_ready() {
        return Err(format!("it does not start again: {}", life.end().said));
    }
    let admin = KeyPair::load(&data.join("admin.key")).map_err(|why| why.to_string())?;
    story
        .hold_to_it(&mut life, &admin)
        .map_err(|_| "it ended while it was held to its word".to_owned())?;
    match life.stop().judged()? {
        0 => Ok(()),
        code => Err(format!("the last stop gave {code}")),
    }
}

/// Counts the steps of a day without faults.
fn survey(ground: &Ground, folder: &Path) -> Survey {
    let data = folder.join(format!("survey of {}", ground.name));
    ground.copy(&data);
    let trace = data.with_extension("trace");
    let mut story = ground.story.clone();
    let code = day(&data, &watching(&trace), &mut story, &[]);
    assert_eq!(code, Ok(0));
    assert!(story.sends() >= 11, "the day has its sends");
    aftermath(&data, &mut story).expect("a day without faults");
    let text = eventually("the end of the trace", || {
        let text = std::fs::read_to_string(&trace).ok()?;
        text.contains("/store/db").then_some(text)
    });
    Survey::read(&text, &data)
}

/// The paths of a survey, in another folder.
fn moved(survey: &Survey, from: &Path, to: &Path) -> std::collections::BTreeSet<String> {
    let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
    let paths = survey.paths.iter();
    paths.map(|path| path.replacen(&*from, &to, 1)).collect()
}

#[test]
fn p01_p02_a_disk_error_at_any_step_makes_no_ack_false() {
    const NAME: &str = "p01_p02_a_disk_error_at_any_step_makes_no_ack_false";
    let _timed = Timed::start(NAME);
    if !can_trace() {
        return skip(NAME, "strace does not run here");
    }
    let mut rng = Rng::announced(NAME);
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().canonicalize().expect("it is there");
    let grounds = [Ground::fresh(), Ground::lived_in(&folder)];
    let surveys: Vec<Survey> = grounds.iter().map(|one| survey(one, &folder)).collect();
    let mut cases = Vec::new();
    for (ground, survey) in surveys.iter().enumerate() {
        println!("{}: {:?}", grounds[ground].name, survey.steps);
        let faults = survey.faults().into_iter();
        cases.extend(faults.map(|fault| Case { ground, fault }));
    }
    let taken = spread(&cases, 40, &mut rng);
    let counts = std::sync::Mutex::new(std::collections::BTreeMap::<String, usize>::new());
    let failures = each(&taken, 3, |case| {
        let ground = &grounds[case.ground];
        let own = tempfile::tempdir_in(&folder).map_err(|why| why.to_string())?;
        let data = own.path().join("data");
        ground.copy(&data);
        let from = folder.join(format!("survey of {}", ground.name));
        let paths = moved(&surveys[case.ground], &from, &data);
        let words = case.fault.words(&paths, &own.path().join("trace"));
        let mut story = ground.story.clone();
        let code = day(&data, &words, &mut story, &[])?;
        let hit = std::fs::read_to_string(own.path().join("trace")).unwrap_or_default();
        let hit = if hit.contains("INJECTED") {
            "met"
        } else {
            "not met"
        };
        let mut counts = counts.lock().map_err(|_| "a panic")?;
        *counts
            .entry(format!("{hit}, ended with {code}"))
            .or_default() += 1;
        drop(counts);
        let after = aftermath(&data, &mut story);
        // A block that was read a moment before and then cannot be: sled takes it for its log's end,
        // and it is said that something is missing.
        let is_said = |why: &String| why.contains("has lost mail") || why.contains("is damaged");
        match after {
            Err(why) if case.fault.call == "pread64" && is_said(&why) => Ok(()),
            other => other,
        }
    });
    println!("{:?}", counts.into_inner());
    assert_eq!(failures, Vec::<String>::new());
}

/// Bytes that no file of the server may exceed: a write that reaches the limit is cut short there, and
/// the next one fails.
fn limits(rng: &mut Rng) -> Vec<u64> {
    // Around the small files, the seal's slots, and the pages and segments of sled's log.
    let edges = [
        0, 60, 200, 400, 4096, 4112, 4128, 8192, 65_536, 524_288, 1_048_576,
    ];
    let near = edges
        .into_iter()
        .flat_map(|edge: u64| [edge.saturating_sub(1), edge, edge + 1]);
    let random = (0..400).map(|_| rng.below(1_400_000));
    near.chain(random).collect()
}

#[test]
fn p01_p02_a_write_that_is_cut_short_makes_no_ack_false() {
    const NAME: &str = "p01_p02_a_write_that_is_cut_short_makes_no_ack_false";
    let _timed = Timed::start(NAME);
    let tried = Command::new("prlimit")
        .args(["--fsize=99999", "true"])
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        return skip(NAME, "prlimit does not run here");
    }
    let mut rng = Rng::announced(NAME);
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().canonicalize().expect("it is there");
    let grounds = [Ground::fresh(), Ground::lived_in(&folder)];
    let cases: Vec<(usize, u64)> = limits(&mut rng)
        .into_iter()
        .flat_map(|limit| [(0, limit), (1, limit)])
        .collect();
    let taken = spread(&cases, 16, &mut rng);
    let counts = std::sync::Mutex::new(std::collections::BTreeMap::<i32, usize>::new());
    let failures = each(&taken, 3, |(ground, limit)| {
        let own = tempfile::tempdir_in(&folder).map_err(|why| why.to_string())?;
        let data = own.path().join("data");
        grounds[*ground].copy(&data);
        let words = ["prlimit".to_owned(), format!("--fsize={limit}")];
        let mut story = grounds[*ground].story.clone();
        let code = day(&data, &words, &mut story, &[])?;
        *counts
            .lock()
            .map_err(|_| "a panic")?
            .entry(code)
            .or_default() += 1;
        aftermath(&data, &mut story)
    });
    println!("ended with: {:?}", counts.into_inner());
    assert_eq!(failures, Vec::<String>::new());
}

/// A file system of its own in memory, so small that it fills.
struct Small(PathBuf);

impl Small {
    fn mount(path: PathBuf, kib: u64) -> Option<Self> {
        std::fs::create_dir(&path).expect("a folder");
        let size = format!("size={kib}k");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "correio-test"])
            .arg(&path)
            .output();
        done.is_ok_and(|output| output.status.success())
            .then_some(Self(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// The disk is full for everybody, at another moment each time; the reserve is switched off, so that the
/// server runs into it. Then another file goes, as an operator would see to.
#[test]
fn p01_p02_a_disk_that_is_really_full_makes_no_ack_false() {
    const NAME: &str = "p01_p02_a_disk_that_is_really_full_makes_no_ack_false";
    let _timed = Timed::start(NAME);
    let mut rng = Rng::announced(NAME);
    let temp = tempfile::tempdir().expect("a folder");
    let folder = temp.path().canonicalize().expect("it is there");
    let probe = Small::mount(folder.join("probe"), 64);
    if probe.is_none() {
        return skip(NAME, "no file system can be mounted here");
    }
    // A day takes about 1 MiB: from no room at all to enough.
    let cases: Vec<u64> = (0..150).map(|nth| nth * 12 + rng.below(12)).collect();
    let taken = spread(&cases, 8, &mut rng);
    let counts = std::sync::Mutex::new(std::collections::BTreeMap::<i32, usize>::new());
    let failures = each(&taken, 3, |free_kib| {
        let own = tempfile::tempdir_in(&folder).map_err(|why| why.to_string())?;
        let disk = Small::mount(own.path().join("disk"), 24 * 1024).ok_or("it mounted before")?;
        let data = disk.0.join("data");
        std::fs::write(
            disk.0.join("other"),
            vec![
                1;
                (24 * 1024 - usize::try_from(*free_kib).map_err(|why| why.to_string())?) * 1024
            ],
        )
        .map_err(|why| why.to_string())?;
        let mut story = Story::default();
        let code = day(&data, &[], &mut story, &["--disk-reserve", "0"])?;
        *counts
            .lock()
            .map_err(|_| "a panic")?
            .entry(code)
            .or_default() += 1;
        std::fs::remove_file(disk.0.join("other")).map_err(|why| why.to_string())?;
        aftermath(&data, &mut story)
    });
    println!("ended with: {:?}", counts.into_inner());
    assert_eq!(failures, Vec::<String>::new());
}
