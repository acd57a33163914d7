//! Files in chats, over real processes: they arrive identical, are taken only where that was said,
//! go on after a break, leave no folder, replace nothing, and cost no memory.

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::ctl::{Ctl, Run};
use common::person::{Person, wait_for, wait_open};
use common::server::Server;
use common::talker::Talker;
use common::terminal::Terminal;
use common::{eventually, scale, skip};
use correio::chat::Told;
use correio::chat::frame::Note;
use correio::chat::io::Event;
use correio::cli::untrusted::is_active;
use rustix::process::Signal;
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

/// A server, ana who sends, and bob who has a folder for files.
struct World {
    server: Server,
    ana: Ctl,
    bob: Ctl,
    folder: tempfile::TempDir,
    inbox: PathBuf,
}

impl World {
    fn new() -> Self {
        // A port that was used rests before the next chat has it.
        let server = Server::start_with(12, &[]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let person = |name: &str| {
            let ctl = Ctl::new(&server, &folder.path().join(name));
            ctl.ok(&["login", name]);
            ctl
        };
        let (ana, bob) = (person("ana"), person("bob"));
        let inbox = folder.path().join("inbox");
        fs::create_dir(&inbox).expect("a folder");
        Self {
            server,
            ana,
            bob,
            folder,
            inbox,
        }
    }

    /// Writes a file of ana's and returns its path.
    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).expect("the disk takes it");
        path.to_str().expect("a path of text").to_owned()
    }

    /// ana asks bob for a chat with these options; returns when the invitation stands.
    fn ask(&self, options: &[&str]) -> Talker {
        let words = [&["--json", "chat", "bob"], options].concat();
        let ana = Talker::start(&self.ana, &words);
        ana.object("waiting");
        ana
    }

    /// bob accepts, and takes files into `inbox`.
    fn receive(&self, inbox: &Path) -> Talker {
        let inbox = inbox.to_str().expect("a path of text");
        let words = ["--json", "chat", "accept", "ana", "--receive", inbox];
        Talker::start(&self.bob, &words)
    }

    /// ana sends files, bob takes them, both leave.
    fn sends(&self, paths: &[&str]) -> (Run, Run) {
        let options: Vec<&str> = paths.iter().flat_map(|path| ["--send", path]).collect();
        let mut ana = self.ask(&options);
        let bob = self.receive(&self.inbox);
        ana.close();
        (ends(ana, 0), ends(bob, 0))
    }

    fn received(&self, name: &str) -> Vec<u8> {
        fs::read(self.inbox.join(name)).expect("it was received")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.inbox).expect("the folder is there");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string())
            .map(|name| name.expect("names are text"))
            .collect();
        names.sort();
        names
    }
}

/// Waits for the end of a side and expects this exit code.
#[track_caller]
fn ends(side: Talker, code: i32) -> Run {
    let run = side.end();
    assert_eq!(run.code, code, "{}{}", run.out, run.err);
    run
}

/// Waits until a side says this of a file.
#[track_caller]
fn told(side: &Talker, state: &str) -> Value {
    loop {
        let file = side.object("file");
        if file["state"] == state {
            return file;
        }
        let ends = ["refused", "failed", "sent", "received"];
        let is_end = ends.iter().any(|end| file["state"] == *end);
        assert!(!is_end, "waited for {state}: {file}");
    }
}

fn files(run: &Run) -> Vec<Value> {
    let objects = run.objects().into_iter();
    objects.filter(|object| object["kind"] == "file").collect()
}

fn states(run: &Run) -> Vec<String> {
    let files = files(run).into_iter();
    files
        .map(|file| file["state"].as_str().expect("a state").to_owned())
        .collect()
}

/// Bytes in which no piece is like another.
fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn a_file_arrives_identical_and_both_sides_say_so() {
    let world = World::new();
    let sent = bytes(20 * MIB);
    let path = world.file("talk notes.bin", &sent);
    let mut ana = world.ask(&["--send", &path]);
    let bob = world.receive(&world.inbox);
    ana.say("lines go beside it");
    ana.close();
    let (ana, bob) = (ends(ana, 0), ends(bob, 0));
    assert!(world.received("talk notes.bin") == sent);
    assert_eq!(states(&ana), ["offered", "accepted", "sent"]);
    assert_eq!(states(&bob), ["offered", "accepted", "received"]);
    let last = files(&bob).pop().expect("three of them");
    assert_eq!(last["blake3"], blake3::hash(&sent).to_hex().as_str());
    assert_eq!(last["size"], json!(20 * MIB));
    assert_eq!(last["path"], json!(world.inbox.join("talk notes.bin")));
    assert_eq!(
        (&last["incoming"], &last["peer"]),
        (&json!(true), &json!("ana"))
    );
    let line = bob.objects().into_iter().find(|o| o["kind"] == "line");
    assert_eq!(line.expect("a line")["text"], "lines go beside it");
    let mode = fs::metadata(world.inbox.join("talk notes.bin")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

#[test]
fn several_files_go_in_one_chat_for_people_too() {
    let world = World::new();
    let (one, two) = (world.file("one", b"1"), world.file("two", b""));
    let words = ["chat", "bob", "--send", &one, "--send", &two, "--no-input"];
    let ana = Talker::start(&world.ana, &words);
    ana.note("waiting until");
    let inbox = world.inbox.to_str().unwrap();
    let words = ["chat", "accept", "--receive", inbox];
    let bob = Talker::start(&world.bob, &words);
    let (ana, bob) = (ends(ana, 0), ends(bob, 0));
    assert!(ana.out.is_empty() && bob.out.is_empty(), "{}", bob.out);
    assert!(ana.err.contains("bob has one, verified\n"), "{}", ana.err);
    assert!(
        bob.err.contains("ana offers file 1: one, 1 byte\n"),
        "{}",
        bob.err
    );
    assert!(
        bob.err.contains("/inbox/two, 0 bytes, verified\n"),
        "{}",
        bob.err
    );
    assert_eq!(world.names(), ["one", "two"]);
}

#[test]
fn who_takes_no_files_refuses_them_and_the_sender_ends_with_77() {
    let world = World::new();
    let path = world.file("a", b"a");
    let mut ana = world.ask(&["--send", &path]);
    ana.close();
    let bob = Talker::start(&world.bob, &["--json", "chat", "accept"]);
    let ana = ends(ana, 77);
    let refused = files(&ana).pop().expect("a refusal");
    assert_eq!(refused["state"], "refused");
    assert_eq!(
        refused["reason"],
        "takes no files; start with --receive DIR"
    );
    assert!(ana.err.contains("file_refused"), "{}", ana.err);
    assert_eq!(states(&ends(bob, 0)), ["offered", "refused"]);
}

#[test]
fn what_cannot_be_sent_or_taken_is_said_before_anybody_is_asked() {
    let world = World::new();
    let folder = world.inbox.to_str().unwrap();
    let file = world.file("a", b"a");
    for (words, code) in [
        (["chat", "bob", "--send", "missing"], 74),
        (["chat", "bob", "--send", folder], 74),
        (["chat", "bob", "--receive", "missing"], 73),
        (["chat", "bob", "--receive", &file], 73),
    ] {
        let run = world.ana.run(&words);
        assert_eq!(run.code, code, "{words:?}: {}", run.err);
    }
    assert!(world.bob.ok(&["--json", "chat", "requests"]).out.is_empty());
}

#[test]
fn a_killed_receiver_goes_on_where_it_stopped_in_the_next_chat() {
    let world = World::new();
    let sent = bytes(96 * MIB);
    let path = world.file("big", &sent);
    let mut ana = world.ask(&["--send", &path]);
    ana.close();
    let bob = world.receive(&world.inbox);
    told(&bob, "accepted");
    let length = || {
        let part = world.names().pop()?;
        Some(fs::metadata(world.inbox.join(part)).ok()?.len())
    };
    eventually("a part of the file", || {
        length().filter(|length| *length > 4 * MIB as u64)
    });
    bob.signal(Signal::KILL);
    let lost = ends(ana, 69);
    assert_eq!(files(&lost).pop().expect("an end")["state"], "failed");
    let kept = length().expect("the part stays");
    assert!(kept < sent.len() as u64, "it was too fast to be killed");
    assert!(world.names()[0].starts_with('.'), "{:?}", world.names());

    let (ana, bob) = world.sends(&[&path]);
    let accepted = |run: &Run| files(run)[1]["offset"].clone();
    assert_eq!(accepted(&bob), json!(kept));
    assert_eq!(accepted(&ana), json!(kept));
    assert!(world.received("big") == sent);
    assert_eq!(world.names(), ["big"]);
}

#[test]
fn a_sender_that_goes_leaves_a_part_and_a_clear_word() {
    let world = World::new();
    let path = world.file("big", &bytes(64 * MIB));
    let ana = world.ask(&["--send", &path]);
    let bob = world.receive(&world.inbox);
    told(&bob, "accepted");
    ana.signal(Signal::INT);
    let (ana, bob) = (ends(ana, 69), ends(bob, 0));
    assert_eq!(files(&ana).pop().expect("an end")["state"], "failed");
    assert_eq!(files(&bob).pop().expect("an end")["state"], "failed");
}

#[test]
fn p12_hostile_names_stay_in_their_folder_and_cannot_act() {
    let world = World::new();
    let names = [
        "\x1b]0;x\x07.txt",
        ".bashrc",
        "\u{202e}fdp.exe",
        "-rf",
        "con.txt",
    ];
    let long = "é".repeat(120);
    let paths: Vec<String> = names
        .iter()
        .chain([&long.as_str()])
        .map(|name| world.file(name, name.as_bytes()))
        .collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let (ana, bob) = world.sends(&paths);
    let acts = |text: &str| text.lines().any(|line| line.contains(is_active));
    assert!(!acts(&ana.out) && !acts(&bob.out), "{}", bob.out);
    let mut expected = vec!["_]0;x_.txt", "_con.txt", "_fdp.exe", "_rf", "bashrc", &long];
    expected.sort_unstable();
    assert_eq!(world.names(), expected);
    assert_eq!(world.received("bashrc"), b".bashrc");
}

#[test]
fn p12_a_forged_peer_gets_nothing_out_of_the_folder_or_through_the_check() {
    let world = World::new();
    let ana = Person::new(&world.server, "eva");
    let bob_user = correio::protocol::names::UserName::parse("bob").unwrap();
    let options = correio::chat::Options::default();
    let mut chat = correio::chat::Chat::ask(ana.session(), &bob_user, &options).unwrap();
    let inbox = world.inbox.to_str().unwrap();
    let words = ["--json", "chat", "accept", "--receive", inbox];
    let bob = Talker::start(&world.bob, &words);
    wait_open(&mut chat);
    let voice = chat.voice();
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let long = "n".repeat(300);
    for (name, said, sent) in [
        ("../../x", "right", "right"),
        ("/etc/cron.d/x", "right", "wrong"),
        (long.as_str(), "long", "long"),
        ("", "nameless", "nameless"),
    ] {
        let offer = Note::Offer {
            name: name.to_owned(),
            size: said.len() as u64,
            blake3: hash(said.as_bytes()),
        };
        voice.note(offer).unwrap();
        let file = wait_for(&mut chat, "an answer", |told| match told {
            Told::Chat(Event::Note {
                note: Note::Accept { file, .. },
                ..
            }) => Some(*file),
            _ => None,
        });
        voice.piece(file, 0, sent.as_bytes().to_vec()).unwrap();
        let verified = wait_for(&mut chat, "a verdict", |told| match told {
            Told::Chat(Event::Note { seq, note }) => match note {
                Note::Verified { .. } => Some((*seq, None)),
                Note::Refuse { reason, .. } => Some((*seq, Some(reason.clone()))),
                _ => None,
            },
            _ => None,
        });
        chat.shown(verified.0);
        let refused = verified.1.is_some_and(|reason| reason.contains("BLAKE3"));
        assert_eq!(refused, said != sent, "{name}");
    }
    voice.leave();
    let bob = ends(bob, 0);
    let states = states(&bob);
    assert_eq!(states.iter().filter(|state| *state == "refused").count(), 1);
    assert_eq!(world.names(), ["file", &"n".repeat(255), "x"]);
    assert!(!world.folder.path().join("x").exists());
}

#[test]
fn nothing_is_overwritten_and_no_link_is_followed() {
    let world = World::new();
    fs::write(world.inbox.join("a.txt"), "mine").unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", world.inbox.join("a (2).txt")).unwrap();
    let path = world.file("a.txt", b"theirs");
    world.sends(&[&path]);
    world.sends(&[&path]);
    assert_eq!(world.received("a.txt"), b"mine");
    assert_eq!(world.received("a (3).txt"), b"theirs");
    assert_eq!(world.received("a (4).txt"), b"theirs");
    assert_eq!(world.names().len(), 4);
}

/// A small file system in memory, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|e| e.to_string())?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(at)
            .output()
            .map_err(|e| e.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or(said)?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_is_said_on_both_sides_and_the_chat_goes_on() {
    let world = World::new();
    let small = match Small::mount(&world.folder.path().join("small"), "8m") {
        Ok(small) => small,
        Err(why) => return skip("a full disk", &why),
    };
    let (large, fits) = (
        world.file("large", &bytes(20 * MIB)),
        world.file("fits", b"fits"),
    );
    let mut ana = world.ask(&["--send", &large, "--send", &fits]);
    let bob = world.receive(&small.0);
    let refused = told(&ana, "refused");
    assert_eq!(refused["reason"], "there is no room for it on the disk");
    told(&ana, "sent");
    ana.say("still here");
    assert_eq!(bob.object("line")["text"], "still here");
    ana.close();
    ends(ana, 77);
    ends(bob, 0);
    assert_eq!(fs::read(small.0.join("fits")).unwrap(), b"fits");
}

#[test]
fn a_disk_that_fills_up_on_the_way_is_said_on_both_sides_and_the_part_kept() {
    let world = World::new();
    let (large, fits) = (
        world.file("large", &bytes(8 * MIB)),
        world.file("fits", b"fits"),
    );
    let mut ana = world.ask(&["--send", &large, "--send", &fits]);
    // No file of this process may grow beyond 4 MiB (in blocks of 1 KiB).
    let inbox = world.inbox.to_str().unwrap();
    let bob = world
        .bob
        .command(&["--json", "chat", "accept", "--receive", inbox]);
    let mut limited = Command::new("bash");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""])
        .arg(bob.get_program())
        .args(bob.get_args())
        .env_clear()
        .envs(
            bob.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let bob = Talker::of(limited);
    let refused = told(&ana, "refused");
    assert_eq!(refused["reason"], "it is too large for the disk");
    let reason = told(&bob, "refused")["reason"].to_string();
    assert!(reason.contains("are kept there as ."), "{reason}");
    told(&ana, "sent");
    ana.say("still here");
    assert_eq!(bob.object("line")["text"], "still here");
    ana.close();
    ends(ana, 77);
    ends(bob, 0);
    let part = world.names().remove(0);
    let kept = fs::metadata(world.inbox.join(part)).unwrap().len();
    assert_eq!(kept, 4 * MIB as u64);
    // There is room again: it goes on.
    let (_, bob) = world.sends(&[&large]);
    assert_eq!(files(&bob)[1]["offset"], json!(kept));
    assert_eq!(world.names(), ["fits", "large"]);
}

#[test]
fn a_large_file_costs_neither_side_memory() {
    let world = World::new();
    let size = scale("CORREIO_FILE_MIB", 64) * MIB;
    let path = world.file("sparse", b"");
    let sparse = fs::File::options().write(true).open(&path).unwrap();
    sparse.set_len(size as u64).unwrap();
    sparse.write_all_at(b"end", size as u64 - 3).unwrap();
    let mut ana = world.ask(&["--send", &path]);
    let bob = world.receive(&world.inbox);
    told(&ana, "accepted");
    // But for a hang: the disk of a small machine writes some 50 MB/s.
    let patience = Duration::from_secs(60 + size as u64 / 20_000_000);
    let sent = ana.object_within("file", patience);
    assert_eq!(sent["state"], "sent");
    let peaks = [ana.peak_bytes(), bob.peak_bytes()];
    println!("MEMORY: {} MiB sent, peaks {peaks:?} bytes", size / MIB);
    assert!(peaks.iter().all(|peak| *peak < 64_000_000), "{peaks:?}");
    ana.close();
    ends(ana, 0);
    ends(bob, 0);
    assert_eq!(
        fs::metadata(world.inbox.join("sparse")).unwrap().len(),
        size as u64
    );
}

#[test]
fn a_name_that_is_no_text_is_sent_all_the_same() {
    let world = World::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
    let path = world.folder.path().join(name);
    fs::write(&path, "x").unwrap();
    let mut command = world.ana.command(&["--json", "chat", "bob", "--send"]);
    command.arg(&path);
    let mut ana = Talker::of(command);
    ana.object("waiting");
    ana.close();
    let bob = world.receive(&world.inbox);
    ends(ana, 0);
    ends(bob, 0);
    assert_eq!(world.names(), ["caf\u{fffd}.txt"]);
}

/// Opens a chat that bob accepts at a terminal, standing in his folder for files.
fn bob_at_a_terminal(world: &World) -> Terminal {
    let mut words = world.bob.command(&["chat", "accept"]);
    words.current_dir(&world.inbox);
    let mut bob = Terminal::start(words);
    bob.sees("direct line to ana");
    bob
}

#[test]
fn at_a_terminal_receive_takes_files_unasked_while_lines_go_on() {
    let world = World::new();
    let sent = bytes(48 * MIB);
    let path = world.file("large", &sent);
    let mut ana = world.ask(&["--send", &path]);
    let inbox = world.inbox.to_str().unwrap();
    let words = ["chat", "accept", "--receive", inbox];
    let mut bob = Terminal::start(world.bob.command(&words));
    bob.sees("ana offers file 1: large, 50.3 MB\r\n");
    bob.type_line("how nice");
    assert_eq!(ana.object("line")["text"], "how nice");
    bob.sees("received ");
    ana.close();
    bob.sees("ana left");
    ends(ana, 0);
    assert!(bob.ends().success());
    assert!(world.received("large") == sent);
}

#[test]
fn p12_an_offer_cannot_act_on_a_terminal() {
    let world = World::new();
    let path = world.file("\x1b]0;x\x07\u{202e}\u{9b}2Jevil", b"x");
    let ana = world.ask(&["--send", &path]);
    let mut bob = bob_at_a_terminal(&world);
    bob.sees("ana offers file 1: _]0;x___2Jevil, 1 byte");
    bob.type_line("/accept");
    bob.sees("received ./_]0;x___2Jevil");
    told(&ana, "sent");
    drop(ana);
    bob.sees("ana");
    let shown = bob.all();
    let acts = ["\u{202e}", "\u{9b}", "\x1b]0"];
    assert!(!acts.iter().any(|act| shown.contains(act)), "{shown:?}");
}

#[test]
fn a_terminal_shows_how_far_a_file_is_and_is_not_read() {
    let world = World::new();
    let path = world.file("large", &bytes(32 * MIB));
    let words = ["chat", "bob", "--send", path.as_str()];
    let mut ana = Terminal::start(world.ana.command(&words));
    ana.sees("asked bob for a chat");
    let bob = world.receive(&world.inbox);
    ana.sees("% of 33.5 MB  sending large");
    ana.sees("bob has large, verified");
    assert!(ana.ends().success());
    ends(bob, 0);
}
