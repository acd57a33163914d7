//! P11 from outside: what two say to each other is nowhere at the broker and nowhere on the wire.
//!
//! The broker's memory, its log at its most talkative, its data folder and everything that passed this
//! machine's network are searched for lines of a chat. That the search can see is shown beside it: a
//! mail is found in memory and data, a text on a plain connection is found on the network.

#![allow(clippy::print_stdout, reason = "figures belong in a test's output")]

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::chat::Talk;
use common::ctl::Ctl;
use common::rng::Rng;
use common::server::{Plan, Server};
use common::{Timed, eventually};
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, eth, recv, socket_with, sockopt,
};

const LINES: usize = 100;

/// How often each kind of marker was found.
type Found = BTreeMap<String, usize>;

/// Finds markers: a word nobody else uses, then what kind of text it stands in.
#[derive(Debug, Clone)]
struct Search {
    word: String,
}

impl Search {
    fn new(rng: &mut Rng) -> Self {
        let word = format!("zebra{}", hex::encode(rng.bytes(8)));
        Self { word }
    }

    /// Returns a text that is found as this kind, a word of four letters.
    fn marker(&self, kind: &str) -> String {
        format!("{}{kind}", self.word)
    }

    fn look(&self, bytes: &[u8], found: &mut Found) {
        let word = self.word.as_bytes();
        let mut at = 0;
        while let Some(next) = bytes[at..].iter().position(|byte| *byte == word[0]) {
            at += next;
            if bytes[at..].starts_with(word) {
                let kind = bytes[at + word.len()..].iter().take(4);
                let kind = kind.map(|byte| char::from(*byte)).collect();
                *found.entry(kind).or_default() += 1;
            }
            at += 1;
        }
    }

    fn look_in_file(&self, path: &Path, found: &mut Found) {
        let mut bytes = Vec::new();
        if File::open(path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .is_ok()
        {
            self.look(&bytes, found);
        }
    }

    fn look_in_folder(&self, folder: &Path, found: &mut Found) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.look_in_folder(&entry.path(), found);
            } else {
                self.look_in_file(&entry.path(), found);
            }
        }
    }

    /// Reads every page of a process that can be read. Returns how many bytes that were.
    fn look_in_memory(&self, pid: u32, found: &mut Found) -> std::io::Result<usize> {
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let mut total = 0;
        for (start, end) in maps.lines().filter_map(readable) {
            let mut bytes = vec![0; usize::try_from(end - start).expect("it fits")];
            // Pages such as the kernel's own cannot be read after all.
            if memory.read_exact_at(&mut bytes, start).is_ok() {
                self.look(&bytes, found);
                total += bytes.len();
            }
        }
        Ok(total)
    }
}

/// Returns the bounds of a mapping that may be read.
fn readable(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ');
    let (start, end) = words.next()?.split_once('-')?;
    words.next()?.starts_with('r').then_some(())?;
    let number = |hex| u64::from_str_radix(hex, 16).ok();
    Some((number(start)?, number(end)?))
}

/// Searches everything that passes this machine's network, while it lives.
struct Capture {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Caught>,
}

/// What passed.
#[derive(Debug, Default)]
struct Caught {
    found: Found,
    /// Bytes that TCP carried, by port of the addressee.
    bytes: BTreeMap<u16, usize>,
}

impl Capture {
    /// Begins, or says why this machine does not let us.
    fn begin(search: &Search) -> Result<Self, String> {
        let packet = AddressFamily::PACKET;
        let all = Some(eth::ALL);
        let socket = socket_with(packet, SocketType::RAW, SocketFlags::CLOEXEC, all)
            .map_err(|error| format!("no packet socket: {error}"))?;
        let patience = Some(Duration::from_millis(100));
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, patience).expect("an option");
        sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20)
            .map_err(|error| format!("no room for packets: {error}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (search, stopped) = (search.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut caught, mut packet) = (Caught::default(), vec![0; 1 << 17]);
            loop {
                match recv(&socket, &mut packet[..], RecvFlags::empty()) {
                    Ok((length, _)) => caught.take(&packet[..length], &search),
                    Err(_) if stopped.load(Ordering::SeqCst) => return caught,
                    Err(_) => {}
                }
            }
        });
        Ok(Self { stop, thread })
    }

    /// Ends once the network has been silent for a moment.
    fn end(self) -> Caught {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("it reads on")
    }
}

impl Caught {
    fn take(&mut self, packet: &[u8], search: &Search) {
        search.look(packet, &mut self.found);
        if let Some((port, bytes)) = tcp(packet) {
            *self.bytes.entry(port).or_default() += bytes;
        }
    }
}

/// Returns the port and the bytes that an Ethernet frame with TCP in it carries.
fn tcp(frame: &[u8]) -> Option<(u16, usize)> {
    let ip = frame.get(14..)?;
    let head = match frame.get(12..14)? {
        [0x08, 0x00] if *ip.get(9)? == 6 => usize::from(ip[0] & 15) * 4,
        [0x86, 0xdd] if *ip.get(6)? == 6 => 40,
        _ => return None,
    };
    let tcp = ip.get(head..)?;
    let port = u16::from_be_bytes([*tcp.get(2)?, *tcp.get(3)?]);
    let length = usize::from(*tcp.get(12)? >> 4) * 4;
    Some((port, tcp.len().saturating_sub(length)))
}

/// Sends a text over a connection that hides nothing.
fn send_plainly(text: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut out = TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
    let (mut coming, _) = listener.accept().expect("a connection");
    out.write_all(text.as_bytes()).expect("it is read");
    drop(out);
    let mut read = String::new();
    coming.read_to_string(&mut read).expect("it was sent");
    assert_eq!(read, text);
}

fn count(found: &Found, kind: &str) -> usize {
    found.get(kind).copied().unwrap_or(0)
}

/// Two who say marked lines to each other, and a mail between them.
struct Scene {
    search: Search,
    server: Server,
    ana: Ctl,
    bob: Ctl,
    folder: tempfile::TempDir,
}

impl Scene {
    fn set(search: Search) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let talkative = ["/usr/bin/env", "MAILSERVER_LOG=trace"];
        let server = Server::planned(Plan {
            wrapper: talkative.map(str::to_owned).to_vec(),
            ..Plan::loopback(folder.path().join("data"), 4)
        });
        let home = |name: &str| {
            let ctl = Ctl::new(&server, &folder.path().join(name));
            ctl.ok(&["login", name]);
            ctl
        };
        let (ana, bob) = (home("ana"), home("bob"));
        Self {
            search,
            server,
            ana,
            bob,
            folder,
        }
    }

    /// Mails a marker of some length, so that no buffer holds only a piece of it.
    fn mail(&self, kind: &str) {
        let body = format!("{} {}", self.search.marker(kind), "x".repeat(500));
        self.ana.ok(&["send", "bob", "-b", &body]);
    }

    fn line(&self, nth: usize) -> String {
        format!("{} {nth}", self.search.marker("line"))
    }

    /// Has a chat, and looks into the broker's memory while it lasts and after it.
    fn chat(&self, found: &mut Found) -> std::io::Result<usize> {
        let mut asking = Talk::ask(&self.ana, "bob");
        asking.kind("waiting");
        let mut accepting = Talk::accept(&self.bob, "ana");
        for nth in 0..LINES {
            asking.say(&self.line(nth));
            accepting.say(&self.line(nth));
        }
        asking.line(&self.line(LINES - 1));
        accepting.line(&self.line(LINES - 1));
        self.search.look_in_memory(self.server.pid(), found)?;
        asking.leave();
        for ended in [asking.end(), accepting.end()] {
            assert_eq!(
                (ended.code, ended.lines().len()),
                (0, LINES),
                "{}",
                ended.err
            );
        }
        self.search.look_in_memory(self.server.pid(), found)
    }

    /// The broker's disk knows the mail and no line; its log knows neither.
    fn check_disk(&self) {
        let mut data = Found::new();
        self.search.look_in_folder(self.server.data(), &mut data);
        println!("data folder: {data:?}");
        assert_eq!(count(&data, "line"), 0, "{data:?}");
        assert!(
            count(&data, "mail") > 0,
            "the search sees what is stored: {data:?}"
        );
        let (log, mut logged) = (self.server.log(), Found::new());
        self.search.look(log.as_bytes(), &mut logged);
        println!("log, {} lines: {logged:?}", log.lines().count());
        assert!(
            log.contains("TRACE"),
            "the log is at its most talkative: {log}"
        );
        assert!(
            logged.is_empty(),
            "neither line nor mail is logged: {logged:?}"
        );
    }

    /// The network carried the chat, and neither lines nor mail could be read on it.
    fn check_network(&self, caught: &Caught) {
        let ports = self.server.pool();
        let carried = ports.iter().filter_map(|port| caught.bytes.get(port));
        let carried: usize = carried.sum();
        println!(
            "network: {:?}; {carried} bytes to the leased ports",
            caught.found
        );
        assert_eq!(count(&caught.found, "line"), 0, "{:?}", caught.found);
        assert_eq!(
            count(&caught.found, "mail"),
            0,
            "mail is sealed on the way too"
        );
        assert!(
            count(&caught.found, "wire") > 0,
            "the search sees the network: {:?}",
            caught.found
        );
        let said = 2 * LINES * self.line(0).len();
        assert!(
            carried > said,
            "the chat passed before its eyes: {carried} bytes"
        );
    }

    /// The same line as a mail is found: it is the chat that keeps it away from the broker.
    fn check_that_lines_can_be_found(&self) {
        self.mail("line");
        let seen = eventually("a line sent as mail", || {
            let mut seen = Found::new();
            let read = self.search.look_in_memory(self.server.pid(), &mut seen);
            read.expect("as before");
            Some(count(&seen, "line")).filter(|count| *count > 0)
        });
        println!("a line sent as mail: {seen} times in memory");
    }
}

#[test]
fn p11_the_broker_sees_no_line() {
    const TEST: &str = "p11_the_broker_sees_no_line";
    let _timed = Timed::start(TEST);
    let search = Search::new(&mut Rng::announced("chat_private"));
    let capture = match Capture::begin(&search) {
        Ok(capture) => capture,
        Err(reason) => return common::skip(TEST, &reason),
    };
    let scene = Scene::set(search);
    scene.mail("mail");
    let mut memory = Found::new();
    let read = match scene.chat(&mut memory) {
        Ok(read) => read,
        Err(why) => return common::skip(TEST, &format!("no memory to read: {why}")),
    };
    println!("memory, {} MiB during and after: {memory:?}", read >> 20);
    assert_eq!(count(&memory, "line"), 0, "{memory:?}");
    assert!(
        count(&memory, "mail") > 0,
        "the search sees what the broker knows: {memory:?}"
    );
    scene.check_disk();
    send_plainly(&scene.search.marker("wire"));
    scene.check_network(&capture.end());
    scene.check_that_lines_can_be_found();
    assert!(scene.folder.path().exists(), "it was there until now");
}
