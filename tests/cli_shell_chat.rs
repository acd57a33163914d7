//! Direct chat at real (pseudo) terminals: in two shells, and by `mailctl chat` alone.

mod common;

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use common::ctl::Ctl;
use common::hostile::{HOSTILE, assert_terminal_inert};
use common::server::Server;
use common::terminal::{END, INTERRUPT, Terminal};
use rustix::process::Signal;

/// Ctrl-U: takes the line being typed away.
const CLEAR: &str = "\x15";

/// How long a peer's death may go unnoticed.
const NOTICED: Duration = Duration::from_secs(15);

/// A server and two people at it.
struct House {
    server: Server,
    folder: tempfile::TempDir,
    ana: Ctl,
    bob: Ctl,
}

impl House {
    fn new() -> Self {
        let server = Server::start();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ana = Ctl::new(&server, &folder.path().join("ana"));
        let bob = Ctl::new(&server, &folder.path().join("bob"));
        ana.ok(&["login", "ana"]);
        bob.ok(&["login", "bob"]);
        Self {
            server,
            folder,
            ana,
            bob,
        }
    }

    fn login(&self, user: &str) -> Ctl {
        let ctl = Ctl::new(&self.server, &self.folder.path().join(user));
        ctl.ok(&["login", user]);
        ctl
    }

    fn shells(&self) -> (Terminal, Terminal) {
        let mut ana = Terminal::shell(&self.ana);
        let mut bob = Terminal::shell(&self.bob);
        ana.sees("ana> ");
        bob.sees("bob> ");
        (ana, bob)
    }

    /// Two shells with a direct line between them.
    fn chat(&self) -> (Terminal, Terminal) {
        let (mut ana, mut bob) = self.shells();
        connect(&mut ana, &mut bob);
        (ana, bob)
    }
}

/// ana asks, bob accepts, both hear each other. Returns the words each of them sees.
fn connect(ana: &mut Terminal, bob: &mut Terminal) -> (String, String) {
    ana.type_line("#bob");
    ana.sees("asked bob for a chat");
    bob.sees("? ana asks for a direct chat (expires in ");
    bob.sees(") -> y or n");
    bob.type_line("y");
    ana.sees("direct line to bob; key words ");
    let by_ana = ana.sees(", compare");
    bob.sees("direct line to ana; key words ");
    let by_bob = bob.sees(", compare");
    (by_ana, by_bob)
}

/// Waits until so many lines were delivered.
#[track_caller]
fn delivered(terminal: &mut Terminal, lines: usize) {
    common::eventually("the lines are delivered", || {
        terminal.type_line("/status");
        terminal.sees(" sent, ");
        let delivered = terminal.sees(" delivered");
        delivered.eq(&lines.to_string()).then_some(())
    });
}

#[test]
fn two_shells_chat_and_go_back_to_their_prompts() {
    let house = House::new();
    let (mut ana, mut bob) = house.shells();
    // Half a line is being typed when the request comes.
    bob.press("half a li");
    bob.sees("half a li");
    ana.type_line("#bob");
    ana.sees("asked bob for a chat");
    bob.sees("? ana asks for a direct chat (expires in ");
    bob.sees("bob> half a li");
    bob.press(CLEAR);
    bob.type_line("y");
    ana.sees("direct line to bob; key words ");
    let words = ana.sees(", compare");
    bob.sees("direct line to ana; key words ");
    assert_eq!(bob.sees(", compare"), words);

    // Lines both ways, while the other one types.
    bob.press("yo ");
    bob.sees("yo ");
    ana.type_line("hi bob");
    bob.sees("ana| hi bob");
    bob.sees("bob to ana| yo ");
    bob.type_line("ana");
    ana.sees("bob| yo ana");
    for terminal in [&mut ana, &mut bob] {
        terminal.type_line("/fp");
        terminal.sees(&format!("key words {words}: "));
    }

    // Words, mistyped words, and what looks like one.
    ana.type_line("/stauts");
    ana.sees("did you mean `/status`? Nothing was sent");
    ana.type_line("//stauts");
    bob.sees("ana| /stauts");
    delivered(&mut ana, 2);
    ana.type_line("/help");
    ana.sees("end the chat (also Ctrl-D)");

    // Mail goes on arriving.
    house
        .login("carol")
        .ok(&["send", "bob", "-s", "post", "-b", "x"]);
    bob.sees("@bob from carol: post - refresh shows it");

    ana.type_line("/bye");
    ana.sees("the chat with bob is over");
    ana.sees("ana> ");
    bob.sees("ana left");
    bob.sees("Enter goes back to the shell");
    bob.type_line("@ana is this mail?");
    bob.sees("not sent: the chat with ana was over");
    bob.sees("bob> ");
    bob.type_line("refresh");
    bob.sees("carol to bob: post");
    assert_eq!(ana.count("@ana from"), 0, "a line of a chat is no word");

    // Both may begin again, and Ctrl-D ends it as well.
    bob.type_line("#ana");
    ana.sees("? bob asks for a direct chat");
    ana.type_line("y bob");
    bob.sees("direct line to ana");
    bob.type_line("again");
    ana.sees("bob| again");
    bob.press(END);
    bob.sees("the chat with ana is over");
    bob.sees("bob> ");
    ana.sees("bob left");
    ana.type_line("");
    ana.sees("ana> ");
    assert_eq!(ana.count("not sent"), 0);
    for terminal in [&mut ana, &mut bob] {
        terminal.press(END);
        assert_eq!(terminal.ends().code(), Some(0));
        assert!(terminal.is_sane());
    }
}

#[test]
fn none_is_guessed_when_several_ask() {
    let house = House::new();
    let (mut ana, mut bob) = house.shells();
    bob.type_line("y");
    bob.sees("nobody asks for a chat");
    bob.type_line("n carol");
    bob.sees("carol does not ask for a chat");

    let carol = house.login("carol");
    let mut carol = Terminal::shell(&carol);
    carol.sees("carol> ");
    ana.type_line("#bob");
    bob.sees("? ana asks");
    carol.type_line("#bob");
    bob.sees("? carol asks");
    bob.type_line("y");
    bob.sees("several ask; say which: y ana, y carol");
    bob.type_line("n ana");
    bob.sees("declined ana");
    ana.sees("bob declined");
    ana.type_line("");
    ana.sees("ana> ");
    bob.type_line("refresh");
    bob.sees("? carol asks for a direct chat (expires in ");
    bob.sees("-> y or n");
    bob.type_line("y");
    bob.sees("direct line to carol");
    bob.type_line("hello");
    carol.sees("bob| hello");
}

#[test]
fn who_asks_during_a_chat_is_answered_after_it() {
    let house = House::new();
    let (mut ana, mut bob) = house.chat();
    let mut carol = Terminal::shell(&house.login("carol"));
    carol.sees("carol> ");
    carol.type_line("#bob");
    bob.sees("? carol asks for a direct chat (expires in ");
    bob.sees("-> /bye, then y or n");
    bob.type_line("y");
    ana.sees("bob| y");
    bob.type_line("/bye");
    bob.sees("? carol asks for a direct chat (expires in ");
    bob.sees("-> y or n");
    bob.sees("bob> ");
    bob.type_line("y");
    carol.sees("direct line to bob");
    ana.sees("bob left");
    ana.type_line("");
    ana.sees("ana> ");
}

#[test]
fn a_shell_finds_the_server_again_that_died_in_a_chat() {
    let mut house = House::new();
    let (mut ana, mut bob) = house.chat();
    house.server.kill9();
    ana.sees("the server does not answer");
    ana.type_line("/bye");
    ana.sees("ana> ");
    bob.sees("ana left");
    ana.press("half");
    house.server.restart();
    ana.sees("the server is back");
    ana.sees("ana> half");
    house
        .bob
        .ok(&["send", "ana", "-s", "live again", "-b", "x"]);
    ana.sees("@ana from bob: live again");
}

#[test]
fn what_is_typed_faster_than_lines_are_taken_is_not_lost() {
    let house = House::new();
    let (mut ana, mut bob) = house.chat();
    // The terminal may hand all of it over at once.
    ana.press("one\rtwo\r/fp\rthree\r");
    bob.sees("ana| one");
    bob.sees("ana| two");
    bob.sees("ana| three");
    ana.sees("key words ");
    bob.press("four\r\u{4}");
    ana.sees("bob| four");
    ana.sees("bob left");
}

#[test]
fn what_was_said_of_a_request_from_beginning_to_end_was_not_missed() {
    let house = House::new();
    let (mut ana, mut bob) = house.shells();
    ana.type_line("#bob");
    ana.sees("asked bob for a chat");
    ana.sees("ana to bob| ");
    bob.sees("? ana asks for a direct chat");
    ana.press(INTERRUPT);
    bob.sees("? the invitation of ana was taken back");
    bob.type_line("refresh");
    bob.sees("nothing new for bob");
}

#[test]
fn a_pasted_text_is_lines_and_a_blocked_user_hears_busy() {
    let house = House::new();
    let (mut ana, mut bob) = house.chat();
    ana.press("\u{1b}[200~/etc/hosts\nsecond\nthird\u{1b}[201~");
    ana.type_line("");
    bob.sees("ana| /etc/hosts");
    bob.sees("ana| second");
    bob.sees("ana| third");
    delivered(&mut ana, 3);
    ana.press(END);
    ana.sees("ana> ");
    bob.sees("ana left");
    bob.type_line("");
    bob.sees("bob> ");
    house.bob.ok(&["block", "ana"]);
    ana.type_line("#bob");
    ana.sees("bob takes no chat now");
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_will_do() {
    let house = House::new();
    let mut ana = house.ana.command(&[]);
    ana.env("TERM", "dumb");
    let mut ana = Terminal::start(ana);
    let mut bob = Terminal::shell(&house.bob);
    ana.sees("ana> ");
    bob.sees("bob> ");
    bob.type_line("#ana");
    ana.sees("? bob asks for a direct chat");
    ana.type_line("y");
    ana.sees("direct line to bob");
    bob.sees("direct line to ana");
    bob.type_line("hi");
    ana.sees("bob| hi");
    ana.type_line("ho");
    bob.sees("ana| ho");
    ana.type_line("/bye");
    ana.sees("ana> ");
    bob.sees("ana left");
    assert!(ana.is_sane());
}

#[test]
fn a_request_that_stands_is_said_when_the_shell_begins() {
    let house = House::new();
    let mut ana = Terminal::start(house.ana.command(&["chat", "bob"]));
    ana.sees("asked bob for a chat");
    let mut bob = Terminal::shell(&house.bob);
    bob.sees("? ana asks for a direct chat (expires in ");
    bob.type_line("#nobody");
    bob.sees("error[no_such_address]");
    bob.type_line("#bob");
    bob.sees("error[");
    // Asking who asks is a yes.
    bob.type_line("#ana");
    bob.sees("direct line to ana");
    ana.sees("direct line to bob");
    bob.type_line("/bye");
    bob.sees("bob> ");
    assert_eq!(ana.ends().code(), Some(0));
}

#[test]
fn ctrl_c_takes_the_invitation_back_and_what_was_typed_ahead() {
    let house = House::new();
    let (mut ana, mut bob) = house.shells();
    ana.type_line("#bob");
    ana.sees("asked bob for a chat");
    bob.sees("? ana asks");
    ana.type_line("are you there?");
    ana.sees("1 line kept until bob is here");
    ana.press(INTERRUPT);
    ana.sees("taken back");
    bob.sees("the invitation of ana was taken back");
    ana.sees("1 line did not arrive; send it to bob as mail? [Y/n]");
    ana.type_line("n");
    ana.sees("dropped");
    ana.sees("ana> ");
    bob.type_line("y");
    bob.sees("nobody asks for a chat");

    // What is typed ahead arrives first when somebody comes.
    ana.type_line("#bob");
    ana.sees("asked bob for a chat");
    ana.type_line("first");
    ana.sees("1 line kept");
    bob.sees("? ana asks");
    bob.type_line("y");
    bob.sees("ana| first");
}

#[test]
fn a_peer_that_dies_is_said_and_what_it_missed_goes_as_mail() {
    let house = House::new();
    let (mut ana, mut bob) = house.chat();
    ana.type_line("seen");
    bob.sees("ana| seen");
    delivered(&mut ana, 1);
    bob.signal(Signal::STOP);
    ana.type_line("never seen");
    ana.sees("1 line not delivered yet");
    bob.signal(Signal::KILL);
    ana.sees_within("bob is lost", NOTICED);
    ana.sees("Enter goes back");
    ana.type_line("anybody?");
    ana.sees("not sent");
    ana.sees("1 line did not arrive; send it to bob as mail? [Y/n]");
    ana.type_line("");
    ana.sees("sent to bob as mail");
    ana.sees("ana> ");
    let mails = house.bob.ok(&["refresh", "--json"]).objects();
    let bodies: Vec<_> = mails.iter().map(|mail| mail["body"].as_str()).collect();
    assert_eq!(bodies, [Some("never seen")]);
}

#[test]
fn a_line_is_delivered_once_it_stands_on_the_other_screen() {
    let house = House::new();
    let (mut ana, mut bob) = house.chat();
    bob.sees("/help has more");
    bob.hold(true);
    ana.type_line("one");
    ana.sees("1 line not delivered yet");
    ana.type_line("/status");
    ana.sees("1 line sent, 0 delivered");
    bob.hold(false);
    bob.sees("ana| one");
    ana.sees("all delivered now");
}

#[test]
fn a_server_that_dies_disturbs_no_chat() {
    let mut house = House::new();
    let (mut ana, mut bob) = house.chat();
    house.server.kill9();
    ana.sees("the server does not answer");
    bob.sees("the server does not answer");
    ana.type_line("still here");
    bob.sees("ana| still here");
    bob.type_line("so am I");
    ana.sees("bob| so am I");
    ana.type_line("/bye");
    ana.sees("the chat with bob is over");
    ana.sees("ana> ");
    bob.sees("ana left");
    bob.type_line("");
    bob.sees("bob> ");
    bob.type_line("help");
    bob.sees("#user");
    house.server.restart();
    ana.type_line("@bob after all");
    ana.sees("sent to bob: ");
    bob.sees("@bob from ana - refresh shows it");
    assert_eq!(ana.count("the server does not answer"), 1);
}

#[test]
fn the_end_of_a_chat_ends_mailctl_chat_for_both() {
    let house = House::new();
    let mut ana = Terminal::start(house.ana.command(&["chat", "bob"]));
    ana.sees("asked bob for a chat");
    let mut bob = Terminal::start(house.bob.command(&["chat", "accept"]));
    ana.sees("direct line to bob");
    bob.sees("direct line to ana");
    ana.type_line("hi");
    bob.sees("ana| hi");
    bob.press("half a li");
    bob.sees("half a li");
    ana.type_line("/bye");
    for terminal in [&mut ana, &mut bob] {
        assert_eq!(terminal.ends().code(), Some(0), "{}", terminal.all());
        assert!(terminal.is_sane());
    }
    assert!(bob.all().contains("ana left"));
}

#[test]
fn mailctl_chat_at_a_terminal_says_how_it_failed() {
    let house = House::new();
    let mut ana = Terminal::start(house.ana.command(&["chat", "bob"]));
    ana.sees("asked bob for a chat");
    ana.press("half");
    house.bob.ok(&["chat", "decline", "ana"]);
    assert_eq!(ana.ends().code(), Some(77), "{}", ana.all());
    assert!(ana.is_sane());
    ana.sees("bob declined");

    let mut ana = Terminal::start(house.ana.command(&["chat", "bob"]));
    let mut bob = Terminal::start(house.bob.command(&["chat", "ana"]));
    ana.sees("direct line to bob");
    bob.sees("direct line to ana");
    bob.signal(Signal::KILL);
    assert_eq!(ana.ends().code(), Some(69), "{}", ana.all());
    assert!(ana.is_sane());
}

#[test]
fn files_are_offered_and_asked_about() {
    let house = House::new();
    let (mut ana, mut bob) = house.chat();
    let inbox = house.folder.path().join("in box");
    std::fs::create_dir(&inbox).expect("a folder");
    let file = house.folder.path().join("a \u{202e}file.txt");
    std::fs::write(&file, vec![7; 3_000_000]).expect("a file");

    // Tab completes the path: there is but one such file.
    ana.press(&format!("/send {}/a\t", house.folder.path().display()));
    ana.sees("/a");
    ana.press(CLEAR);
    ana.type_line("/send /does/not/exist");
    ana.sees("error[io]");
    let path = file.display().to_string().replace(' ', "\\ ");
    ana.type_line(&format!("/send {path}"));
    ana.sees("offered to bob: a <U+202E>file.txt, 3.0 MB");
    bob.sees("ana offers file 1: ");
    bob.sees("3.0 MB - /accept or /refuse");
    bob.type_line("/accept 7");
    bob.sees("no such file is offered");
    bob.type_line(&format!(
        "/accept 1 {}/in\\ box",
        house.folder.path().display()
    ));
    bob.sees("receiving ");
    bob.sees("received ");
    bob.sees("3.0 MB, verified");
    ana.sees("bob has a <U+202E>file.txt, verified");
    let mut got = std::fs::read_dir(&inbox).expect("a folder");
    let got = got.next().expect("a file").expect("a file").path();
    assert_eq!(std::fs::read(got).expect("a file"), vec![7; 3_000_000]);

    ana.type_line(&format!("/send {path}"));
    bob.sees("- /accept or /refuse");
    bob.type_line("/refuse");
    ana.sees("bob does not take a <U+202E>file.txt: not wanted");
    ana.type_line("and lines go on");
    bob.sees("ana| and lines go on");
    // What the terminal echoes of one's own typing is one's own.
    assert_terminal_inert(&bob.all());
}

#[test]
fn p12_nothing_of_a_chat_ever_acts_on_a_terminal() {
    let house = House::new();
    let mut ana = Terminal::shell(&house.ana);
    ana.sees("ana> ");
    let mut bob = house
        .bob
        .command(&["chat", "ana"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mailctl starts");
    ana.sees("? bob asks");
    ana.type_line("y");
    ana.sees("direct line to bob");
    ana.press("half");
    ana.sees("half");
    let mut lines = bob.stdin.take().expect("a pipe");
    for hostile in HOSTILE {
        let text = hostile.replace(['\n', '\r'], " ");
        writeln!(lines, "{text} end").expect("bob reads");
        ana.sees("bob| ");
        ana.sees("end");
        ana.sees("ana to bob| half");
    }
    drop(lines);
    ana.sees("bob left");
    assert!(bob.wait().expect("it ends").success());
    assert_terminal_inert(&ana.all());
}

#[test]
fn p12_no_name_of_an_offered_file_acts_on_a_terminal() {
    let house = House::new();
    let mut ana = Terminal::shell(&house.ana);
    ana.sees("ana> ");
    let mut command = house.bob.command(&["chat", "ana"]);
    for (nth, hostile) in HOSTILE.iter().enumerate() {
        let name = hostile.replace(['\0', '/'], "_");
        let path = house.folder.path().join(format!("{nth} {name}"));
        std::fs::write(&path, "x").expect("a file");
        command.arg("--send").arg(path);
    }
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut bob = quiet.spawn().expect("mailctl starts");
    ana.sees("? bob asks");
    ana.type_line("y");
    for _ in HOSTILE {
        ana.sees("bob offers file ");
        ana.sees("- /accept or /refuse");
        ana.type_line("/refuse");
        ana.sees("did not take ");
    }
    ana.sees("bob left");
    assert_eq!(bob.wait().expect("it ends").code(), Some(77));
    assert_terminal_inert(&ana.all());
}
