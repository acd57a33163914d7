//! P2 and P3 over a backup and its restore: what was acknowledged is there, what was sent is not sent
//! again, clients go on, and what is not whole is never taken.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::client::{RawClient, id_of, is_duplicate, refusal};
use common::ctl::Ctl;
use common::disk::Disk;
use common::load::{Load, compare};
use common::rng::Rng;
use common::server::Server;
use common::{Timed, now, pause, scale, skip};
use correio::protocol::codes::Code;
use correio::protocol::request::{self, Request};

/// Ids jump by this much in a restore.
const JUMP: u64 = 1 << 32;

fn mailserver(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailserver"));
    command.env_clear().args(words).stdin(Stdio::null());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test folders have plain names")
}

fn backup_command(data: &Path, file: &Path) -> Command {
    mailserver(&["backup", "--data-dir", text(data), text(file)])
}

fn restore_command(data: &Path, file: &Path) -> Command {
    mailserver(&["restore", "--data-dir", text(data), text(file)])
}

fn output(command: &mut Command) -> Output {
    command.output().expect("mailserver starts")
}

fn ok(command: &mut Command) -> String {
    let output = output(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// Expects a refusal in one line, and returns it.
fn refused(command: &mut Command, code: i32) -> String {
    let output = output(command);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert_eq!(said.lines().count(), 1, "one line, not:\n{said}");
    assert!(
        said.starts_with("mailserver: ") && !said.contains("panicked"),
        "{said}"
    );
    said
}

fn is_whole_backup(file: &Path) -> bool {
    let verify = &mut mailserver(&["verify", "--backup", text(file)]);
    output(verify).status.success()
}

fn is_whole_folder(data: &Path) -> bool {
    let verify = &mut mailserver(&["verify", "--data-dir", text(data)]);
    let sound = output(verify).status.success();
    sound && data.join("server.key").exists() && data.join("admin.key").exists()
}

/// A data folder with some mail in it, stopped.
struct Stopped {
    folder: tempfile::TempDir,
    data: PathBuf,
}

impl Stopped {
    fn with_mails(mails: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let plan = common::server::Plan::loopback(data.clone(), 2);
        let mut server = Server::planned(plan);
        let mut ana = RawClient::reader(&server, "ana", &["news"]);
        let mut rng = Rng::new(7);
        for _ in 0..mails {
            ana.mail("news", &rng.bytes(9_000));
        }
        assert!(server.terminate().0.success());
        Self { folder, data }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn p02_p03_a_restored_server_is_the_one_of_before() {
    let _timed = Timed::start("p02_p03_a_restored_server_is_the_one_of_before");
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut ana = RawClient::reader(&server, "ana", &["news", "lab/*"]);
    let mut bob = RawClient::user(&server, "bob");
    let mut eve = RawClient::user(&server, "eve");
    let ctl = Ctl::new(&server, &folder.path().join("carol"));
    ctl.ok(&["login", "carol", "--topic", "news"]);
    let hello = ana.hello().expect("it answers");

    let read = bob.mail("news", b"read before");
    let waiting = bob.mail("news", b"waiting");
    let news = ana.log("news").log;
    ana.ack(news, read).expect("acknowledged");
    let user = correio::protocol::names::UserName::parse("eve").expect("a name");
    let block = |session| {
        Request::Block(request::Block {
            session,
            user: user.clone(),
        })
    };
    let blocked: correio::protocol::reply::Done = ana.call(block).expect("answered");
    assert_eq!(blocked.durability, "fsync");
    let invite = |session| {
        Request::Invite(request::Invite {
            session,
            user: None,
            device: false,
        })
    };
    let invited: correio::protocol::reply::Invited = bob.call(invite).expect("a code");
    let lease = bob.lease_confirmed();
    // Carried out and not settled: a retry must find its outcome.
    let number = bob.number;
    let first = bob
        .send_as(number, &["ana", "news"], b"once", |_| {})
        .expect("sent");
    let logs = ana.logs();

    assert!(server.terminate().0.success());
    let (file, new) = (folder.path().join("b"), folder.path().join("new"));
    ok(&mut backup_command(server.data(), &file));
    ok(&mut restore_command(&new, &file));
    server.move_to(new);
    server.restart();

    assert_eq!(
        ana.logs(),
        logs,
        "subscriptions, cursors and heads are those of before"
    );
    let mails = ana.read_all(news, read).expect("it reads");
    let bodies: Vec<&[u8]> = mails.iter().map(|mail| &mail.body[..]).collect();
    assert_eq!(bodies, [&b"waiting"[..], b"once"]);
    assert_eq!(mails[0].envelope.id, waiting);
    let again = bob
        .send_as(number, &["ana", "news"], b"once", |_| {})
        .expect("answered");
    assert!(again.iter().all(is_duplicate), "{again:?}");
    let ids = |outcomes: &[_]| outcomes.iter().map(id_of).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&first));
    assert_eq!(ana.read_all(news, read).expect("it reads").len(), 2);
    let outcome = eve.send(&["ana"], b"blocked").expect("answered");
    assert_eq!(refusal(&outcome[0]), Some(Code::Blocked));
    let mut dan = RawClient::stranger(&server);
    dan.register("dan", Some(&invited.code))
        .expect("the code is good still, once");
    let mut fay = RawClient::stranger(&server);
    fay.register("fay", Some(&invited.code))
        .expect_err("but not twice");
    assert_eq!(
        bob.lease_confirmed().port,
        lease.port,
        "the lease is in force"
    );

    let welcome = ana.hello().expect("it answers");
    assert_ne!(welcome.incarnation, hello.incarnation);
    (bob.number, bob.settled_below) = (number + 1, number + 1);
    assert!(bob.mail("news", b"new") > JUMP, "no id is given out twice");
    let shown = ctl.ok(&["refresh", "--json"]);
    assert_eq!(shown.err.lines().count(), 1, "{}", shown.err);
    assert!(
        shown.err.contains("put back from a backup"),
        "{}",
        shown.err
    );
    let bodies: Vec<_> = shown.objects().iter().map(|o| o["body"].clone()).collect();
    assert_eq!(bodies, ["read before", "waiting", "once", "new"]);
}

#[test]
fn what_was_read_since_the_backup_is_acknowledged_again_and_not_shown() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ctl = Ctl::new(&server, &folder.path().join("carol"));
    ctl.ok(&["login", "carol", "--topic", "news"]);
    ctl.ok(&["send", "carol", "news", "-b", "once"]);
    let (file, new) = (folder.path().join("b"), folder.path().join("new"));
    assert!(server.terminate().0.success());
    ok(&mut backup_command(server.data(), &file));
    server.restart();
    assert_eq!(ctl.ok(&["refresh", "--json"]).objects().len(), 2);
    assert!(server.terminate().0.success());
    ok(&mut restore_command(&new, &file));
    server.move_to(new);
    server.restart();

    let waiting = || ctl.ok(&["topic", "ls", "--json"]).objects()[0]["waiting"].clone();
    assert_eq!(waiting(), 1, "the restored server knows of no ack");
    assert!(ctl.ok(&["refresh", "--json"]).objects().is_empty());
    assert_eq!(waiting(), 0);
}

#[test]
fn p02_p03_clients_under_load_go_on_with_a_restored_server() {
    let _timed = Timed::start("p02_p03_clients_under_load_go_on_with_a_restored_server");
    let rounds = scale("CORREIO_RESTORES", 3);
    let folder = tempfile::tempdir().expect("a folder");
    let mut rng = Rng::announced("backup");
    let mut server = Server::start();
    let load = Load::begin(&server, &mut rng, 4, 4);
    for round in 0..rounds {
        load.wait_for_acks(30 + rng.below(60));
        server.kill9();
        let new = folder.path().join(format!("data-{round}"));
        pipe(server.data(), &new);
        server.move_to(new);
        server.restart();
    }
    load.wait_for_acks(30);
    let (acked, shown) = load.finish();
    let seen: usize = shown.iter().map(Vec::len).sum();
    println!(
        "{rounds} restores; {} mails acknowledged, {seen} shown",
        acked.len()
    );
    compare(&acked, &shown);
    assert!(acked.iter().any(|mail| mail.id > JUMP * rounds as u64));
}

/// A backup of a server that is at work: it restores to one moment, and all that was acknowledged before it began is
/// there.
#[test]
fn p02_a_backup_of_a_busy_server_is_of_one_moment() {
    let _timed = Timed::start("p02_a_backup_of_a_busy_server_is_of_one_moment");
    let folder = tempfile::tempdir().expect("a folder");
    let mut rng = Rng::announced("busy backup");
    let mut server = Server::start();
    let mut sink = RawClient::reader(&server, "sink", &["all", "news", "lab/one", "lab/two"]);
    for _ in 0..300 {
        sink.mail("sink", &rng.bytes(9_000));
    }
    let ctl = Ctl::new(&server, &folder.path().join("ctl"));
    let load = Load::begin(&server, &mut rng, 4, 0);
    load.wait_for_acks(scale("CORREIO_BUSY_MAILS", 200) as u64);
    let file = folder.path().join("busy.backup");
    let before = load.ledger.acked();
    let told = ctl.ok(&["admin", "backup", text(&file)]);
    assert!(told.out.contains("the backup is whole"), "{}", told.out);
    let during = load.ledger.acked().len() - before.len();
    load.wait_for_acks(before.len() as u64 + during as u64 + 50);
    let (acked, _) = load.finish();
    assert!(is_whole_backup(&file));
    let mode = fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let new = folder.path().join("data");
    ok(&mut restore_command(&new, &file));
    assert!(is_whole_folder(&new));
    server.kill9();
    server.move_to(new);
    server.restart();
    sink.reconnect().expect("it is the same server");
    let mut kept = std::collections::BTreeSet::new();
    for log in sink.logs() {
        let mails = sink.read_all(log.log, 0).expect("they are read");
        kept.extend(mails.iter().map(|mail| mail.envelope.id));
    }
    let last = kept.last().copied().unwrap_or_default();
    println!(
        "{} mails acknowledged before the backup, {during} during it, {} in all; {} restored",
        before.len(),
        acked.len(),
        kept.len()
    );
    let missing: Vec<_> = before
        .iter()
        .filter(|mail| !kept.contains(&mail.id))
        .collect();
    assert!(
        missing.is_empty(),
        "acknowledged before, and not there: {missing:?}"
    );
    // Of one moment: up to the newest that is there, nothing is missing.
    let holes: Vec<_> = acked
        .iter()
        .filter(|mail| mail.id <= last && !kept.contains(&mail.id))
        .collect();
    assert!(holes.is_empty(), "{holes:?}");
    assert!(acked.iter().any(|mail| mail.id > last), "it was at work");
}

#[test]
fn a_backup_of_a_server_that_goes_away_leaves_nothing() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a folder");
    let ctl = Ctl::new(&server, &folder.path().join("ctl"));
    let file = folder.path().join("no.backup");
    server.kill9();
    let run = ctl.run(&["admin", "backup", text(&file)]);
    assert_eq!(run.code, 69, "{run:?}");
    assert!(fs::read_dir(folder.path()).expect("a folder").all(|entry| {
        !entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .contains("backup")
    }));
    server.restart();
    let eve = Ctl::new(&server, &folder.path().join("eve"));
    eve.ok(&["login", "eve"]);
    fs::write(&file, "mine").expect("it is there");
    let run = ctl.run(&["admin", "backup", text(&file)]);
    assert_eq!(run.code, 73, "{run:?}");
    assert_eq!(fs::read(&file).expect("it is there"), b"mine");
    // Who is no administrator gets none; the keys would be in it.
    let server_url = server.url().to_string();
    let run = eve.run(&["--server", &server_url, "admin", "backup", "-"]);
    assert_eq!(run.code, 77, "{run:?}");
    assert!(run.out.is_empty());
}

/// `mailserver backup - | mailserver restore -`.
fn pipe(from: &Path, to: &Path) {
    let mut backup = backup_command(from, Path::new("-"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mailserver starts");
    let bytes = backup.stdout.take().expect("it is a pipe");
    ok(restore_command(to, Path::new("-")).stdin(bytes));
    let ended = backup.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success() && said.contains("is whole"),
        "{said}"
    );
}

#[test]
fn p02_kill9_leaves_a_whole_backup_or_none() {
    let _timed = Timed::start("p02_kill9_leaves_a_whole_backup_or_none");
    let kills = scale("CORREIO_BACKUP_KILLS", 12);
    let mut rng = Rng::announced("backup_kill");
    let store = Stopped::with_mails(60);
    let file = store.path("whole");
    let begin = now();
    ok(&mut backup_command(&store.data, &file));
    let usual = begin.elapsed();
    let (killed, kept) = repeat_killed(
        kills,
        usual,
        &mut rng,
        |nth| {
            let file = store.path(&format!("backup-{}", nth / 3));
            (backup_command(&store.data, &file), file)
        },
        is_whole_backup,
    );
    println!("{killed} of {kills} backups killed before their end, {kept} files, all whole");
    ok(&mut backup_command(&store.data, &store.path("last")));
    assert!(is_whole_backup(&store.path("last")));
}

#[test]
fn p02_kill9_leaves_a_whole_data_folder_or_none() {
    let _timed = Timed::start("p02_kill9_leaves_a_whole_data_folder_or_none");
    let kills = scale("CORREIO_BACKUP_KILLS", 12);
    let mut rng = Rng::announced("restore_kill");
    let store = Stopped::with_mails(60);
    let file = store.path("whole");
    ok(&mut backup_command(&store.data, &file));
    let begin = now();
    ok(&mut restore_command(&store.path("first"), &file));
    let usual = begin.elapsed();
    let (killed, kept) = repeat_killed(
        kills,
        usual,
        &mut rng,
        |nth| {
            let data = store.path(&format!("data-{}", nth / 3));
            (restore_command(&data, &file), data)
        },
        is_whole_folder,
    );
    println!("{killed} of {kills} restores killed before their end, {kept} folders, all whole");
    // What a killed one left is in nobody's way.
    ok(&mut restore_command(
        &store.path(&format!("data-{kills}")),
        &file,
    ));
}

/// Runs commands and kills them at instants spread over their usual time. Three share a target, so
/// each meets what the one before it left. What is under its name must be whole.
fn repeat_killed(
    times: usize,
    usual: Duration,
    rng: &mut Rng,
    command: impl Fn(usize) -> (Command, PathBuf),
    is_whole: impl Fn(&Path) -> bool,
) -> (usize, usize) {
    let (mut killed, mut kept) = (0, 0);
    for nth in 0..times {
        let (mut command, target) = command(nth);
        if target.exists() {
            continue;
        }
        let silent = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = silent.spawn().expect("mailserver starts");
        let most = u64::try_from(usual.as_micros() * 11 / 10).expect("short");
        pause(Duration::from_micros(rng.below(most)));
        drop(child.kill());
        let ended = child.wait_with_output().expect("it ends");
        match ended.status.code() {
            None => killed += 1,
            Some(0) => assert!(target.exists()),
            code => panic!("{code:?}: {}", String::from_utf8_lossy(&ended.stderr)),
        }
        if target.exists() {
            kept += 1;
            assert!(is_whole(&target), "{} is not whole", target.display());
        }
    }
    (killed, kept)
}

#[test]
fn a_backup_that_is_not_as_it_was_written_is_refused_and_leaves_nothing() {
    let store = Stopped::with_mails(8);
    let (file, bad, new) = (store.path("b"), store.path("bad"), store.path("new"));
    ok(&mut backup_command(&store.data, &file));
    let whole = fs::read(&file).expect("a file");
    assert_eq!(
        fs::metadata(&file).expect("a file").permissions().mode() & 0o777,
        0o600
    );
    let mut rng = Rng::announced("backup_damage");
    for nth in 0..16 {
        let at = rng.index(whole.len());
        let mut bytes = whole.clone();
        if nth % 2 == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << rng.below(8);
        }
        fs::write(&bad, &bytes).expect("a file");
        let said = refused(&mut restore_command(&new, &bad), 65);
        assert!(
            said.contains("byte") || said.contains("no backup"),
            "{said}"
        );
        refused(&mut mailserver(&["verify", "--backup", text(&bad)]), 65);
        assert!(!new.exists() && !store.path("new.partial").exists());
    }
    let piped = fs::File::open(&bad).expect("a file");
    refused(restore_command(&new, Path::new("-")).stdin(piped), 65);
    let told = ok(&mut mailserver(&["verify", "--backup", text(&file)]));
    assert!(told.contains("is a whole backup"), "{told}");
}

#[test]
fn what_is_in_use_there_already_or_damaged_is_refused() {
    let store = Stopped::with_mails(3);
    let (file, new) = (store.path("b"), store.path("new"));
    let plan = common::server::Plan::loopback(store.data.clone(), 2);
    let mut server = Server::planned(plan);
    let said = refused(&mut backup_command(&store.data, &file), 73);
    assert!(said.contains(&format!("pid {}", server.pid())), "{said}");
    refused(&mut restore_command(&store.data, &file), 73);
    assert!(server.terminate().0.success());
    assert!(!file.exists() && !store.path("b.partial").exists());

    ok(&mut backup_command(&store.data, &file));
    let before = fs::read(&file).expect("a file");
    let said = refused(&mut backup_command(&store.data, &file), 73);
    assert!(said.contains("is there already"), "{said}");
    assert!(fs::read(&file).expect("a file") == before);
    let said = refused(&mut restore_command(&store.data, &file), 73);
    assert!(said.contains("not empty"), "{said}");
    refused(&mut restore_command(&new, &store.path("none")), 74);
    refused(
        &mut backup_command(&store.path("none"), &store.path("c")),
        78,
    );
    refused(&mut mailserver(&["backup"]), 64);
    fs::create_dir(&new).expect("an empty folder");
    ok(&mut restore_command(&new, &file));
    ok(&mut restore_command(
        &store.path("as-shells-complete/"),
        &file,
    ));
    let keyless = store.path("as-shells-complete");
    fs::remove_file(keyless.join("server.key")).expect("a key");
    let said = refused(&mut backup_command(&keyless, &store.path("e")), 78);
    assert!(said.contains("move that folder away"), "{said}");

    let db = store.data.join("store/db");
    let mut bytes = fs::read(&db).expect("a store");
    for at in (0..bytes.len() - 64).step_by(4096) {
        bytes[at..at + 64].fill(0x55);
    }
    fs::write(&db, bytes).expect("a store");
    let said = refused(&mut backup_command(&store.data, &store.path("d")), 74);
    assert!(said.contains("mailserver restore"), "{said}");
    assert!(!store.path("d").exists());
}

/// Where a restore builds, something else may lie: a server's folder, whose name happens to be this one.
#[test]
fn p02_a_restore_takes_down_nothing_but_what_it_built() {
    let store = Stopped::with_mails(3);
    let (file, new) = (store.path("b"), store.path("new"));
    ok(&mut backup_command(&store.data, &file));
    let partial = store.path("new.partial");
    fs::rename(&store.data, &partial).expect("a folder");
    let said = refused(&mut restore_command(&new, &file), 73);
    assert!(said.contains("new.partial is in the way"), "{said}");
    assert!(is_whole_folder(&partial));

    let plan = common::server::Plan::loopback(partial.clone(), 2);
    let mut server = Server::planned(plan);
    refused(&mut restore_command(&new, &file), 73);
    assert!(server.terminate().0.success());
    assert!(is_whole_folder(&partial));

    // Another restore that is under way: it holds the lock.
    fs::write(partial.join("restoring"), "").expect("a mark");
    let lock = fs::File::open(partial.join("lock")).expect("a lock");
    lock.try_lock().expect("nobody holds it");
    refused(&mut restore_command(&new, &file), 73);
    drop(lock);
    assert!(is_whole_folder(&partial));

    let elsewhere = store.path("elsewhere");
    fs::rename(&partial, &elsewhere).expect("a folder");
    std::os::unix::fs::symlink(&elsewhere, &partial).expect("a link");
    refused(&mut restore_command(&new, &file), 73);
    assert!(is_whole_folder(&elsewhere));
    fs::remove_file(&partial).expect("a link");

    fs::create_dir(&partial).expect("a folder");
    fs::write(partial.join("letter"), "mine").expect("a file");
    refused(&mut restore_command(&new, &file), 73);
    assert!(partial.join("letter").exists() && !new.exists());
    fs::remove_file(partial.join("letter")).expect("it was there");
    ok(&mut restore_command(&new, &file));
}

#[test]
fn a_full_disk_keeps_nothing_half() {
    let store = Stopped::with_mails(60);
    let file = store.path("b");
    ok(&mut backup_command(&store.data, &file));
    let disk = match Disk::make(store.folder.path(), "disk") {
        Ok(disk) => disk,
        Err(why) => {
            return skip(
                "a_full_disk_keeps_nothing_half",
                &format!("no loop mounts: {why}"),
            );
        }
    };
    let room = 200 * 1024;
    fill(&disk.path().join("other"), room);
    let (to, new) = (disk.path().join("b"), disk.path().join("new"));
    refused(&mut backup_command(&store.data, &to), 74);
    refused(&mut restore_command(&new, &file), 74);
    for path in [
        to,
        new,
        disk.path().join("b.partial"),
        disk.path().join("new.partial"),
    ] {
        assert!(!path.exists(), "{}", path.display());
    }
    fs::remove_file(disk.path().join("other")).expect("it was written");
    ok(&mut restore_command(&disk.path().join("new"), &file));
}

/// Takes all the room of a disk but `left` bytes.
fn fill(path: &Path, left: u64) {
    use std::io::Write;
    let mut file = fs::File::create(path).expect("a file");
    let zeros = vec![0; 64 * 1024];
    while file.write_all(&zeros).is_ok() {}
    let len = file.metadata().expect("a file").len();
    file.set_len(len - left).expect("shorter");
    file.sync_all().expect("synced");
}

/// Fails the nth call of a kind with EIO, for each n there is: an error and nothing, or all of it.
#[test]
fn an_io_error_at_any_step_keeps_nothing_half() {
    let _timed = Timed::start("an_io_error_at_any_step_keeps_nothing_half");
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("an_io_error_at_any_step", "no strace");
    }
    let store = Stopped::with_mails(3);
    let file = store.path("b");
    ok(&mut backup_command(&store.data, &file));
    let most = scale("CORREIO_ERRORS", 5);
    let mut failed = 0;
    for call in [
        "write",
        "pwrite64",
        "fsync",
        "fdatasync",
        "renameat2,rename",
    ] {
        for nth in 1.. {
            let to = store.path(&format!("{call}-{nth}"));
            let new = store.path(&format!("new-{call}-{nth}"));
            let back = with_error(&backup_command(&store.data, &to), call, nth);
            let there = with_error(&restore_command(&new, &file), call, nth);
            // The last sync comes after the rename: then it is there, whole, and not said to last.
            let whole = is_whole_backup(&to);
            assert!(whole == to.exists() && (whole || !back), "{call} {nth}");
            let whole = is_whole_folder(&new);
            assert!(whole == new.exists() && (whole || !there), "{call} {nth}");
            failed += usize::from(!back) + usize::from(!there);
            if (back && there) || nth >= most {
                break;
            }
        }
    }
    println!("{failed} errors, nothing half");
    assert!(failed > 10);
}

/// Runs a command whose nth call of a kind fails; says whether it did its work all the same.
fn with_error(command: &Command, call: &str, nth: usize) -> bool {
    let ended = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={call}"),
        ])
        .args(["-e", &format!("inject={call}:error=EIO:when={nth}")])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .output()
        .expect("strace starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!said.contains("panicked"), "{call} {nth}: {said}");
    match ended.status.code() {
        Some(0) => true,
        Some(73 | 74) => false,
        code => panic!("{call} {nth}: {code:?} {said}"),
    }
}

#[test]
fn a_backup_into_a_closed_output_is_not_whole() {
    let store = Stopped::with_mails(1);
    let to = |redirection: &str| {
        let words = format!("exec \"$0\" backup --data-dir \"$1\" - {redirection}");
        let mut command = Command::new("sh");
        command.args(["-c", &words, env!("CARGO_BIN_EXE_mailserver")]);
        command.arg(&store.data).env_clear();
        command
    };
    let said = refused(&mut to(">&-"), 74);
    assert!(said.contains("standard output is closed"), "{said}");
    refused(&mut to("1</dev/null"), 74);
    ok(&mut to(">/dev/null"));
}

#[test]
fn a_backup_does_not_lie_in_the_folder_that_it_is_of() {
    let store = Stopped::with_mails(1);
    let link = store.path("link");
    std::os::unix::fs::symlink(&store.data, &link).expect("a link");
    for inside in [
        store.data.join("x"),
        store.data.join("store/x"),
        link.join("x"),
    ] {
        let said = refused(&mut backup_command(&store.data, &inside), 64);
        assert!(said.contains("name a file outside of it"), "{said}");
        assert!(!inside.exists());
    }
    ok(backup_command(&store.data, Path::new("../x")).current_dir(&store.data));
    assert!(is_whole_backup(&store.path("x")));
}

#[test]
fn a_backup_waits_for_no_fifo() {
    let store = Stopped::with_mails(1);
    let (file, partial) = (store.path("b"), store.path("b.partial"));
    let made = rustix::fs::mkfifoat(rustix::fs::CWD, &partial, rustix::fs::Mode::RWXU);
    made.expect("a FIFO");
    let said = within(backup_command(&store.data, &file), Duration::from_secs(20));
    assert!(said.contains("is in the way"), "{said}");
    assert!(partial.exists() && !file.exists());
}

/// Runs a command that must be refused in a while; kills it after that.
fn within(mut command: Command, patience: Duration) -> String {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let begin = now();
    while child.try_wait().expect("it can be asked").is_none() && begin.elapsed() < patience {
        pause(Duration::from_millis(20));
    }
    drop(child.kill());
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(73), "it waits, or took it");
    String::from_utf8(ended.stderr).expect("text")
}

#[test]
fn a_backup_by_root_leaves_the_folder_to_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return skip("a_backup_by_root", "not root");
    }
    let nobody = 65_534;
    let store = Stopped::with_mails(3);
    let all = fs::Permissions::from_mode(0o711);
    fs::set_permissions(store.folder.path(), all).expect("it is ours");
    every_file(&store.data, &|path| {
        std::os::unix::fs::lchown(path, Some(nobody), Some(nobody)).expect("root may");
    });
    ok(&mut backup_command(&store.data, &store.path("b")));
    ok(&mut mailserver(&[
        "verify",
        "--data-dir",
        text(&store.data),
    ]));
    every_file(&store.data, &|path| {
        let owner = fs::symlink_metadata(path).expect("it is there").uid();
        assert_eq!(owner, nobody, "{}", path.display());
    });
    let owner = fs::metadata(store.path("b")).expect("a backup").uid();
    assert_eq!(owner, 0, "the backup is root's");
    assert!(is_whole_backup(&store.path("b")));
}

fn every_file(folder: &Path, deed: &dyn Fn(&Path)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            every_file(&path, deed);
        } else {
            deed(&path);
        }
    }
    deed(folder);
}
