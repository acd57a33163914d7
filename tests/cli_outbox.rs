//! The outbox end to end: sends in doubt, drafts and queued mail, with a relay between `mailctl` and
//! the server that holds back exactly what each test wants held.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use common::ctl::{Ctl, Run};
use common::server::Server;
use serde_json::Value;

/// What the relay holds back once a numbered send lies in the outbox.
const NOTHING: u8 = 0;
const REQUESTS: u8 = 1;
const REPLIES: u8 = 2;

/// Or: it lets one reply pass, swallows the next and cuts the connection, once.
const CUT: u8 = 3;

/// A relay on a port of its own. A send is saved under its number before its first try, so what
/// passes after that file is there belongs to the send, and what passed before did not.
struct Relay {
    port: u16,
    held: Arc<AtomicU8>,
}

impl Relay {
    fn start(server: &Server, outbox: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let held = Arc::new(AtomicU8::new(NOTHING));
        let (to, shared) = (server.url().port, Arc::clone(&held));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue;
                };
                pass(&client, &server, REQUESTS, &shared, &outbox);
                pass(&server, &client, REPLIES, &shared, &outbox);
            }
        });
        Self { port, held }
    }

    fn hold(&self, what: u8) {
        self.held.store(what, Ordering::SeqCst);
    }
}

fn pass(from: &TcpStream, to: &TcpStream, side: u8, held: &Arc<AtomicU8>, outbox: &Path) {
    let (mut from, mut to) = (
        from.try_clone().expect("a socket"),
        to.try_clone().expect("a socket"),
    );
    let (held, outbox) = (Arc::clone(held), outbox.to_owned());
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        let mut passed = false;
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if side == REPLIES && held.load(Ordering::SeqCst) == CUT && has_numbered(&outbox) {
                if passed {
                    held.store(NOTHING, Ordering::SeqCst);
                    break;
                }
                passed = true;
            }
            let holds = held.load(Ordering::SeqCst) == side && has_numbered(&outbox);
            if !holds && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
}

/// Says whether a send that was given its number waits in the outbox.
fn has_numbered(outbox: &Path) -> bool {
    let names = std::fs::read_dir(outbox).into_iter().flatten().flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|name| {
            let standing = name.split('.').nth(1).unwrap_or_default();
            standing.starts_with(|c: char| c.is_ascii_digit())
        })
}

/// Ana behind a relay, and bob who reads.
struct World {
    server: Server,
    ana: Ctl,
    bob: Ctl,
    relay: Relay,
    relayed: String,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ana = Ctl::new(&server, &folder.path().join("ana"));
        let bob = Ctl::new(&server, &folder.path().join("bob"));
        ana.ok(&["login", "ana"]);
        bob.ok(&["login", "bob"]);
        let mut url = server.url();
        let account = folder
            .path()
            .join("ana")
            .join(hex::encode(url.key))
            .join("ana");
        let relay = Relay::start(&server, account.join("outbox"));
        url.port = relay.port;
        Self {
            server,
            ana,
            bob,
            relay,
            relayed: url.to_string(),
            folder,
        }
    }

    /// Runs ana's `mailctl` through the relay.
    fn relayed(&self, args: &[&str]) -> Run {
        self.ana
            .run(&[&["--server", &self.relayed, "--timeout", "1"], args].concat())
    }

    fn bodies_of_bob(&self) -> Vec<String> {
        let mails = self.bob.ok(&["refresh", "--json"]).objects();
        let body = |mail: &Value| mail["body"].as_str().map(str::to_owned);
        mails.iter().filter_map(body).collect()
    }

    fn states(&self) -> Vec<String> {
        let rows = self.ana.ok(&["outbox", "ls", "--json"]).objects();
        let state = |row: &Value| row["state"].as_str().map(str::to_owned);
        rows.iter().filter_map(state).collect()
    }
}

const IN_DOUBT: &str =
    "in doubt: kept in the outbox as 1; it settles by itself, do not send it again";

#[test]
fn p03_a_send_that_never_arrived_settles_by_itself() {
    let world = World::new();
    world.relay.hold(REQUESTS);
    let begin = common::now();
    let send = world.relayed(&["send", "bob", "-b", "once"]);
    assert_eq!(send.code, 75, "{}", send.err);
    assert!(send.err.contains(IN_DOUBT), "{}", send.err);
    assert!(
        begin.elapsed().as_secs() < 5,
        "--timeout 1 took {:?}",
        begin.elapsed()
    );
    assert_eq!(send.out, "");
    assert_eq!(world.states(), ["in_doubt"]);
    assert!(world.bodies_of_bob().is_empty());
    let next = world.ana.ok(&["topic", "ls"]);
    assert!(
        next.err.contains("outbox 1: sent to bob: 1\n"),
        "{}",
        next.err
    );
    assert_eq!(next.out, "", "what settled is told on stderr only");
    assert!(world.states().is_empty());
    assert_eq!(world.bodies_of_bob(), ["once"]);
}

#[test]
fn p03_a_send_whose_answer_was_lost_gets_the_first_outcome() {
    let world = World::new();
    world.relay.hold(REPLIES);
    let send = world.relayed(&["--json", "send", "bob", "-b", "once"]);
    assert_eq!(send.code, 75, "{}", send.err);
    let error: Value = serde_json::from_str(send.err.trim()).expect("one line of JSON");
    assert_eq!(error["error"]["code"], "in_doubt");
    assert!(send.err.contains(IN_DOUBT), "{}", send.err);
    assert_eq!(world.bodies_of_bob(), ["once"], "the server had it");
    let next = world.ana.ok(&["--json", "whoami"]);
    let note: Value = serde_json::from_str(next.err.trim()).expect("one line of JSON");
    let note = note["note"].as_str().expect("a note");
    assert_eq!(
        note,
        "outbox 1: sent to bob: 1 (an earlier try had arrived)"
    );
    assert!(world.states().is_empty());
    assert!(world.bodies_of_bob().is_empty(), "and has it once");
}

#[test]
fn p03_an_upload_that_is_cut_off_is_begun_anew() {
    let world = World::new();
    let body = "x".repeat(1_000_000);
    let file = world.folder.path().join("body");
    std::fs::write(&file, &body).expect("a file");
    world.relay.hold(CUT);
    let file = file.to_str().expect("a path");
    let send = world.ana.run(&[
        "--server",
        &world.relayed,
        "--timeout",
        "60",
        "send",
        "bob",
        "-f",
        file,
    ]);
    assert_eq!(
        world.relay.held.load(Ordering::SeqCst),
        NOTHING,
        "it was cut"
    );
    assert_eq!((send.code, send.out.as_str()), (0, "sent to bob: 1\n"));
    assert_eq!(world.bodies_of_bob(), [body]);
}

#[test]
fn p03_a_killed_send_settles_by_itself() {
    let world = World::new();
    world.relay.hold(REPLIES);
    let mut child = world
        .ana
        .command(&[
            "--server",
            &world.relayed,
            "--timeout",
            "60",
            "send",
            "bob",
            "-b",
            "once",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mailctl starts");
    let bodies = common::eventually("bob's mail", || {
        Some(world.bodies_of_bob()).filter(|bodies| !bodies.is_empty())
    });
    assert_eq!(bodies, ["once"]);
    assert_eq!(world.states(), ["sending"]);
    world.ana.ok(&["whoami"]);
    assert_eq!(
        world.states(),
        ["sending"],
        "a living process's send is left alone"
    );
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(world.states(), ["in_doubt"]);
    let next = world.ana.ok(&["send", "bob", "-b", "twice"]);
    assert_eq!(next.out, "sent to bob: 2\n");
    assert!(
        next.err.contains("(an earlier try had arrived)"),
        "{}",
        next.err
    );
    assert_eq!(world.bodies_of_bob(), ["twice"]);
}

#[test]
fn a_draft_is_sent_only_when_its_owner_says_so() {
    let mut world = World::new();
    world.server.kill9();
    let send = world
        .ana
        .run(&["--timeout", "1", "send", "bob", "-s", "s", "-b", "draft"]);
    assert_eq!(send.code, 69, "{}", send.err);
    assert!(send.err.contains("kept in the outbox as 1"), "{}", send.err);
    let json = world
        .ana
        .run(&["--timeout", "1", "--json", "send", "bob", "-b", "never"]);
    assert_eq!(json.code, 69, "{}", json.err);
    assert_eq!(world.states(), ["draft", "draft"]);
    world.server.restart();
    world.ana.ok(&["topic", "ls"]);
    assert_eq!(
        world.states(),
        ["draft", "draft"],
        "a draft waits for its owner"
    );
    assert_eq!(world.ana.ok(&["outbox", "rm", "2"]).out, "removed 2\n");
    assert_eq!(world.ana.ok(&["outbox", "retry"]).out, "sent to bob: 1\n");
    assert_eq!(world.bodies_of_bob(), ["draft"]);
    assert_eq!(world.ana.ok(&["outbox", "ls"]).err, "the outbox is empty\n");
}

#[test]
fn a_send_to_a_server_that_was_stopped_is_kept_as_well() {
    let mut world = World::new();
    world.bob.ok(&["send", "ana", "-b", "for later"]);
    world.server.terminate();
    assert!(!world.server.url_file().exists());
    let send = world.ana.run(&["--timeout", "1", "send", "bob", "-b", "x"]);
    assert_eq!(send.code, 69, "{}", send.err);
    assert!(send.err.contains("kept in the outbox as 1"), "{}", send.err);
    assert_eq!(world.states(), ["draft"]);
    world.server.restart();
    assert_eq!(world.ana.ok(&["outbox", "retry"]).out, "sent to bob: 2\n");
    assert_eq!(world.bodies_of_bob(), ["x"]);
}

#[test]
fn queued_mail_goes_out_by_itself_in_its_order() {
    let mut world = World::new();
    world.server.kill9();
    for body in ["one", "two"] {
        let send = world
            .ana
            .run(&["--timeout", "1", "send", "bob", "--queue", "-b", body]);
        assert_eq!(send.code, 69, "{}", send.err);
    }
    assert_eq!(world.states(), ["queued", "queued"]);
    world.server.restart();
    world.ana.ok(&["send", "bob", "-b", "three"]);
    assert_eq!(world.bodies_of_bob(), ["one", "two", "three"]);
    assert!(world.states().is_empty());
}

/// What the outbox says of one entry: its state, its recipients, and who refused it with which code.
fn entry(ana: &Ctl, number: u64) -> Value {
    let rows = ana.ok(&["outbox", "ls", "--json"]).objects();
    let row = rows.iter().find(|row| row["entry"] == number);
    let row = row.unwrap_or_else(|| panic!("no {number} in {rows:?}"));
    let refused = row["refused"].as_array().expect("a list").iter();
    let refused: Vec<Value> = refused
        .map(|told| serde_json::json!([told["address"], told["code"]]))
        .collect();
    serde_json::json!([row["state"], row["to"], refused])
}

fn body_of_draft(ana: &Ctl, number: &str) -> String {
    let draft = &ana.ok(&["draft", "open", number, "--json"]).objects()[0];
    draft["body"].as_str().expect("a body").to_owned()
}

const MEND: &str = "kept as draft 1; to send it to somebody else: mailctl draft send 1 --to NAME";

#[test]
fn a_retry_that_is_refused_says_so_and_keeps_the_text() {
    let mut world = World::new();
    world.server.kill9();
    let send = world
        .ana
        .run(&["--timeout", "1", "send", "nobody", "-b", "x"]);
    assert_eq!(send.code, 69, "{}", send.err);
    world.server.restart();
    let retry = world.ana.run(&["outbox", "retry", "1"]);
    assert_eq!(retry.code, 67, "{}", retry.err);
    assert!(retry.err.contains(MEND), "{}", retry.err);
    let refused = serde_json::json!(["draft", ["nobody"], [["nobody", "no_such_address"]]]);
    assert_eq!(entry(&world.ana, 1), refused);
    assert_eq!(body_of_draft(&world.ana, "1"), "x");
    let listed = world.ana.ok(&["outbox"]);
    assert!(
        listed.err.contains("1 was refused: nobody: "),
        "{}",
        listed.err
    );
    let mended = world.ana.ok(&["draft", "send", "1", "--to", "bob"]);
    assert_eq!(mended.out, "sent to bob: 1\n");
    assert_eq!(world.bodies_of_bob(), ["x"]);
    assert!(world.states().is_empty());
}

#[test]
fn a_draft_that_some_refuse_stays_for_them_alone() {
    let world = World::new();
    let keep = ["send", "bob", "bbo", "-s", "s", "-b", "text", "--draft"];
    world.ana.ok(&keep);
    let send = world.ana.run(&["draft", "send", "1", "--json"]);
    assert_eq!(send.code, 67, "{}", send.err);
    let told = send.objects();
    assert_eq!(
        (&told[0]["address"], &told[1]["address"], &told[1]["draft"]),
        (&"bob".into(), &"bbo".into(), &1.into())
    );
    let refused = serde_json::json!(["draft", ["bbo"], [["bbo", "no_such_address"]]]);
    assert_eq!(entry(&world.ana, 1), refused);
    world.ana.ok(&["draft", "send", "1", "--to", "@bob"]);
    assert_eq!(world.bodies_of_bob(), ["text", "text"]);
}

#[test]
fn what_is_refused_when_its_time_comes_is_kept_and_told() {
    let mut world = World::new();
    world.server.kill9();
    let queue = ["--timeout", "1", "send", "bbo", "--queue", "-b", "queued"];
    assert_eq!(world.ana.run(&queue).code, 69);
    world.server.restart();
    let next = world.ana.ok(&["refresh"]);
    assert!(
        next.err.contains("outbox 1: not sent to bbo: ") && next.err.contains(MEND),
        "{}",
        next.err
    );
    assert_eq!(body_of_draft(&world.ana, "1"), "queued");
    let at = ["send", "bbo", "-b", "later", "--at", "1s"];
    world.ana.ok(&at);
    common::eventually("the refusal of the mail for later", || {
        let next = world.ana.ok(&["topic", "ls"]);
        next.err.contains("kept as draft 2").then_some(())
    });
    assert_eq!(body_of_draft(&world.ana, "2"), "later");
    assert_eq!(world.states(), ["draft", "draft"]);
    // Nothing sends them by themselves, and each is told once.
    assert_eq!(world.ana.ok(&["refresh"]).err, "nothing new for ana\n");
}

#[test]
fn a_send_in_doubt_that_turns_out_refused_is_kept() {
    let world = World::new();
    world.relay.hold(REPLIES);
    let send = world.relayed(&["send", "bob", "bbo", "-b", "once"]);
    assert_eq!(send.code, 75, "{}", send.err);
    let next = world.ana.ok(&["whoami"]);
    assert!(
        next.err
            .contains("outbox 1: sent to bob: 1 (an earlier try had arrived); not sent to bbo: ")
            && next.err.contains(MEND),
        "{}",
        next.err
    );
    let refused = serde_json::json!(["draft", ["bbo"], [["bbo", "no_such_address"]]]);
    assert_eq!(entry(&world.ana, 1), refused);
    assert_eq!(world.bodies_of_bob(), ["once"]);
}

#[test]
fn a_bare_retry_leaves_what_was_kept_on_purpose() {
    let mut world = World::new();
    world.ana.ok(&["send", "bob", "-b", "not yet", "--draft"]);
    world.server.kill9();
    let send = ["--timeout", "1", "send", "bob", "-b", "the server was away"];
    assert_eq!(world.ana.run(&send).code, 69);
    world.server.restart();
    let retry = world.ana.ok(&["outbox", "retry"]);
    assert_eq!(retry.out, "sent to bob: 1\n");
    assert_eq!(
        retry.err,
        "1 draft was left alone (1); send it: mailctl draft send N\n"
    );
    assert_eq!(world.states(), ["draft"]);
    let again = world.ana.ok(&["outbox", "retry", "--json"]);
    assert!(
        again.err.contains("1 draft was left alone"),
        "{}",
        again.err
    );
    assert_eq!(world.bodies_of_bob(), ["the server was away"]);
    // What is refused by a retry is told as that, and not as left alone.
    world.server.kill9();
    let bbo = ["--timeout", "1", "send", "bbo", "-b", "to nobody"];
    assert_eq!(world.ana.run(&bbo).code, 69);
    world.server.restart();
    let refused = world.ana.run(&["outbox", "retry"]);
    assert!(
        refused.code == 67 && refused.err.contains("1 draft was left alone (1)"),
        "{refused:?}"
    );
    let kept = world.ana.ok(&["draft", "ls", "--json"]).objects();
    let kept = kept[1]["entry"].to_string();
    world.ana.ok(&["draft", "rm", &kept]);
    // A draft whose server was away stays what it is.
    world.server.kill9();
    let alone = world.ana.run(&["--timeout", "1", "draft", "send", "1"]);
    assert_eq!(alone.code, 69, "{}", alone.err);
    world.server.restart();
    world.ana.ok(&["outbox", "retry"]);
    assert_eq!(world.states(), ["draft"]);
    world.ana.ok(&["outbox", "retry", "1"]);
    assert_eq!(world.bodies_of_bob(), ["not yet"]);
}

#[test]
fn a_server_that_hangs_is_waited_for_no_longer_than_the_timeout() {
    let world = World::new();
    world.server.signal(rustix::process::Signal::STOP);
    let begin = common::now();
    let send = world
        .ana
        .run(&["--timeout", "1", "send", "bob", "-b", "draft"]);
    let took = begin.elapsed();
    world.server.signal(rustix::process::Signal::CONT);
    assert_eq!(send.code, 69, "{}", send.err);
    assert!(took.as_secs() < 5, "--timeout 1 took {took:?}");
    assert_eq!(world.states(), ["draft"]);
    assert!(world.bodies_of_bob().is_empty());
}
