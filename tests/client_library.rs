//! The client library against a real server: what `mailctl` and other programs build on.

#![allow(
    clippy::unwrap_used,
    reason = "a step that fails ends the test, and the line says which"
)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::server::Server;
use common::{Timed, eventually, now, scale};
use correio::client::ClientError;
use correio::client::home::{Account, Home, Place};
use correio::client::mailbox::Mail;
use correio::client::outbox::{Draft, Standing};
use correio::client::session::{self, Arrival, Event, Options, Session, Which};
use correio::protocol::MailId;
use correio::protocol::codes::Code;
use correio::protocol::names::{Pattern, UserName};
use correio::protocol::reply::Outcome;
use correio::protocol::request::From;

/// A home in a folder of its own.
struct Person {
    _folder: tempfile::TempDir,
    home: Home,
    account: Account,
}

impl Person {
    fn new(server: &Server, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(Some(&folder.path().join("home"))).unwrap();
        let place = Place::read(&server.url_file()).unwrap();
        let user = UserName::parse(name).unwrap();
        let account = home.create_account(&place, &user).unwrap();
        session::register(&account, "test", None, Duration::from_secs(30)).unwrap();
        home.confirm(&account).unwrap();
        Self {
            _folder: folder,
            home,
            account,
        }
    }

    /// Another device of a user, with a home of its own.
    fn other_device(server: &Server, first: &Self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(Some(&folder.path().join("home"))).unwrap();
        let place = Place::read(&server.url_file()).unwrap();
        let account = home.create_account(&place, first.account.user()).unwrap();
        let code = first.open().invite(None, true).unwrap().code;
        session::register(&account, "other", Some(code), Duration::from_secs(30)).unwrap();
        home.confirm(&account).unwrap();
        Self {
            _folder: folder,
            home,
            account,
        }
    }

    fn open(&self) -> Session {
        Session::open(&self.account, patient()).unwrap()
    }

    fn standing(&self) -> Session {
        let options = Options {
            standing: true,
            want_port: true,
            ..patient()
        };
        Session::open(&self.account, options).unwrap()
    }

    /// Refreshes, shows everything and returns it.
    fn read(&self) -> Vec<Mail> {
        let mut session = self.open();
        session.refresh().unwrap();
        let mails = show_all(&session);
        session.close().unwrap();
        mails
    }
}

fn patient() -> Options {
    Options {
        timeout: Duration::from_secs(30),
        patience: Duration::from_secs(30),
        ..Options::default()
    }
}

fn hasty() -> Options {
    Options {
        timeout: Duration::from_secs(2),
        patience: Duration::from_secs(1),
        ..Options::default()
    }
}

fn show_all(session: &Session) -> Vec<Mail> {
    let mailbox = session.mailbox();
    let mut shown = Vec::new();
    for (id, log) in mailbox.unseen().unwrap() {
        if let Some(claim) = mailbox.claim(id, log).unwrap() {
            shown.push(claim.read().unwrap());
            mailbox.shown(vec![claim]).unwrap();
        }
    }
    shown
}

fn draft(to: &[&str], body: impl Into<Vec<u8>>) -> Draft {
    Draft {
        to: to.iter().map(ToString::to_string).collect(),
        subject: "a subject, çé\u{1f4ee}".to_owned(),
        content_type: "application/octet-stream".to_owned(),
        body: body.into(),
        ..Draft::default()
    }
}

#[track_caller]
fn id_of(outcome: &Outcome) -> MailId {
    match outcome {
        Outcome::Sent { id, .. } => *id,
        Outcome::Refused { error, .. } => panic!("refused: {error}"),
    }
}

fn ids(mails: &[Mail]) -> Vec<MailId> {
    mails.iter().map(|mail| mail.envelope.id).collect()
}

#[test]
fn any_body_comes_back_byte_for_byte() {
    let server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let sizes = [0, 1, 13, 4096, 65_535, 65_536, 65_537, 300_000, 1_048_576];
    let bodies: Vec<Vec<u8>> = sizes
        .iter()
        .map(|size| (0..*size).map(|at: u32| (at % 251) as u8).collect())
        .collect();
    let mut session = ana.open();
    for body in &bodies {
        let sent = session.send(draft(&["bob"], body.clone())).unwrap();
        assert_eq!(sent.outcomes.len(), 1);
        id_of(&sent.outcomes[0]);
    }
    assert!(session.outbox().list().unwrap().is_empty());
    let mails = bob.read();
    assert_eq!(mails.len(), bodies.len());
    for (mail, body) in mails.iter().zip(&bodies) {
        assert_eq!(&mail.body, body, "{} bytes", body.len());
        assert_eq!(mail.envelope.from, "ana");
        assert_eq!(mail.envelope.subject, "a subject, çé\u{1f4ee}");
    }
    assert!(bob.read().is_empty(), "shown once");
    let again = bob.account.mailbox().unwrap().get(mails[3].envelope.id);
    assert_eq!(again.unwrap().as_ref(), Some(&mails[3]));
}

#[test]
fn one_unknown_recipient_does_not_sink_the_others() {
    let server = Server::start();
    let (ana, _bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let mut session = ana.open();
    let sent = session.send(draft(&["bob", "bbo"], "hi")).unwrap();
    id_of(&sent.outcomes[0]);
    assert!(
        matches!(&sent.outcomes[1], Outcome::Refused { error, .. } if error.code == Code::NoSuchAddress)
    );
}

#[test]
fn one_session_refreshes_again_and_again() {
    let server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let (mut sender, mut reader) = (ana.open(), bob.open());
    let news = Pattern::parse("news").unwrap();
    for round in 0..3 {
        reader.refresh().unwrap();
        assert!(show_all(&reader).is_empty());
        let first = sender.send(draft(&["bob"], vec![round; 10])).unwrap();
        bob.open().join(&news, From::Now).unwrap(); // another process of the device
        let second = sender.send(draft(&["news"], vec![round; 10])).unwrap();
        reader.refresh().unwrap();
        let sent = [id_of(&first.outcomes[0]), id_of(&second.outcomes[0])];
        assert_eq!(ids(&show_all(&reader)), sent);
    }
}

#[test]
fn looking_changes_nothing() {
    let server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let mut sender = ana.open();
    for at in 0..5 {
        sender.send(draft(&["bob"], format!("{at}"))).unwrap();
    }
    {
        let mut session = bob.open();
        session.refresh().unwrap();
    }
    for at in 5..9 {
        sender.send(draft(&["bob"], format!("{at}"))).unwrap();
    }
    for _ in 0..2 {
        let options = Options {
            no_ack: true,
            ..patient()
        };
        let mut session = Session::open(&bob.account, options).unwrap();
        let mut look = session.look().unwrap();
        let mut bodies = Vec::new();
        while let Some(arrival) = look.next(&mut session).unwrap() {
            match arrival {
                Arrival::Mail(mail) => bodies.push(String::from_utf8(mail.body).unwrap()),
                Arrival::Trimmed(notice) => panic!("{notice:?}"),
            }
        }
        assert_eq!(bodies, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    }
    assert_eq!(bob.read().len(), 9);
}

#[test]
fn a_draft_waits_for_its_owner_and_an_unanswered_send_settles_by_itself() {
    let mut server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let mut session = Session::open(&ana.account, hasty()).unwrap();
    server.kill9();
    // An open session whose server died: tried or not, it is kept, and says so.
    session = match session.send(draft(&["bob"], "first")) {
        Err(ClientError::NotSent { .. } | ClientError::InDoubt { .. }) => session,
        other => panic!("{other:?}"),
    };
    drop(session);
    let kept = session::send_or_keep(&ana.account, hasty(), draft(&["bob"], "second"), false);
    assert!(
        matches!(&kept, Err(error @ ClientError::NotSent { .. }) if error.exit_code() == 69),
        "{kept:?}"
    );
    let queued = session::send_or_keep(&ana.account, hasty(), draft(&["bob"], "third"), true);
    assert!(matches!(
        queued,
        Err(ClientError::NotSent { queued: true, .. })
    ));
    server.restart();
    let mut session = ana.open();
    let retried = session.retry_outbox(Which::Pending).unwrap();
    assert!(retried.iter().all(|one| one.result.is_ok()), "{retried:?}");
    let left = session.outbox().list().unwrap();
    assert!(
        left.iter().all(|one| one.standing == Standing::Unsent),
        "{left:?}"
    );
    assert!(
        left.iter().any(|one| one.size == 6),
        "the second is a draft"
    );
    session.retry_outbox(Which::All).unwrap();
    assert!(session.outbox().list().unwrap().is_empty());
    let mut bodies: Vec<_> = bob.read().into_iter().map(|mail| mail.body).collect();
    bodies.sort();
    assert_eq!(
        bodies,
        [b"first".to_vec(), b"second".to_vec(), b"third".to_vec()]
    );
}

#[test]
fn p03_sends_through_restarts_are_carried_out_once() {
    let _timed = Timed::start("p03_sends_through_restarts_are_carried_out_once");
    let mut server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let sends = scale("CORREIO_CLIENT_SENDS", 200);
    let done = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&done);
    let account = ana.account.clone();
    let sender = std::thread::spawn(move || {
        let mut session = Session::open(&account, patient()).unwrap();
        let mut ids = Vec::new();
        for at in 0..sends {
            let body = vec![b'x'; if at % 20 == 0 { 200_000 } else { 100 }];
            let sent = session.send(draft(&["bob"], body)).unwrap();
            ids.push(id_of(&sent.outcomes[0]));
            counter.fetch_add(1, Ordering::SeqCst);
        }
        ids
    });
    let mut kills = 0;
    while !sender.is_finished() {
        let at = done.load(Ordering::SeqCst);
        eventually("a few more sends", || {
            (done.load(Ordering::SeqCst) >= at + 20 || sender.is_finished()).then_some(())
        });
        if sender.is_finished() {
            break;
        }
        server.kill9();
        server.restart();
        kills += 1;
    }
    assert!(kills >= 3, "only {kills} kills");
    let ids_sent = sender.join().unwrap();
    let mails = bob.read();
    assert_eq!(ids(&mails), ids_sent);
    assert!(ana.account.outbox().unwrap().list().unwrap().is_empty());
}

#[test]
fn a_watcher_sees_each_mail_once_through_restarts() {
    let mut server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let mut watcher = bob.standing();
    let port = watcher.lease().expect("a port was free").port;
    let mut sender = ana.open();
    let mut sent = Vec::new();
    let mut seen = Vec::new();
    for round in 0..4 {
        for at in 0..10 {
            let size = if at == 5 { 100_000 } else { 10 };
            let done = sender.send(draft(&["bob"], vec![7; size])).unwrap();
            sent.push(id_of(&done.outcomes[0]));
        }
        if round == 2 {
            server.kill9();
            server.restart();
        }
        eventually("the watcher sees everything", || {
            if let Event::Mail(mail) = watcher.next_event(Duration::from_millis(100)).unwrap() {
                seen.push(mail.envelope.id);
            }
            (seen.len() >= sent.len()).then_some(())
        });
    }
    assert_eq!(seen, sent);
    assert_eq!(
        watcher.lease().map(|lease| lease.port),
        Some(port),
        "kept through the restart"
    );
    watcher.stop_watch().unwrap();
    assert_eq!(ids(&bob.read()), sent, "a watcher marks nothing as seen");
}

#[test]
fn topics_are_joined_rewound_and_left() {
    let server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let news = Pattern::parse("news").unwrap();
    let mut sender = ana.open();
    sender.join(&news, From::Now).unwrap();
    let mut sent = Vec::new();
    for at in 0..5 {
        let done = sender.send(draft(&["news"], format!("{at}"))).unwrap();
        sent.push(id_of(&done.outcomes[0]));
    }
    let mut reader = bob.open();
    reader.join(&news, From::Now).unwrap();
    reader.refresh().unwrap();
    assert_eq!(show_all(&reader).len(), 0, "newcomers start at the head");
    let old = reader.history("news", 3, None).unwrap();
    assert_eq!(ids(&old), sent[2..]);
    reader.join(&news, From::Start).unwrap();
    reader.refresh().unwrap();
    assert_eq!(ids(&show_all(&reader)), sent);
    reader.join(&news, From::Start).unwrap();
    reader.refresh().unwrap();
    assert_eq!(
        show_all(&reader).len(),
        0,
        "what was shown is not shown again"
    );
    let listed = reader.topics(None).unwrap();
    assert!(
        listed
            .topics
            .iter()
            .any(|row| row.topic == "news" && row.subscribed)
    );
    assert_eq!(reader.topic("news").unwrap().subscribers, 2);
    reader.leave(&news).unwrap();
    sender.send(draft(&["news"], "unheard")).unwrap();
    reader.refresh().unwrap();
    assert_eq!(show_all(&reader).len(), 0);
}

#[test]
fn who_joins_again_starts_at_the_head_again() {
    let server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let news = Pattern::parse("news").unwrap();
    let mut sender = ana.open();
    let mut reader = bob.standing();
    reader.join(&news, From::Now).unwrap();
    let mut send = |text: &str| {
        let done = sender.send(draft(&["news"], text)).unwrap();
        id_of(&done.outcomes[0])
    };
    let first = send("heard");
    reader.refresh().unwrap();
    assert_eq!(ids(&show_all(&reader)), [first]);
    reader.leave(&news).unwrap();
    send("unheard");
    reader.join(&news, From::Now).unwrap();
    let last = send("heard again");
    reader.refresh().unwrap();
    assert_eq!(ids(&show_all(&reader)), [last]);
    assert_eq!(watched(&mut reader, last), [first, last]);
}

/// Returns the ids of the mails that a watcher tells, up to one.
fn watched(session: &mut Session, last: MailId) -> Vec<MailId> {
    let mut seen = Vec::new();
    common::eventually("the last mail", || {
        if let Event::Mail(mail) = session.next_event(Duration::from_millis(100)).unwrap() {
            seen.push(mail.envelope.id);
        }
        seen.contains(&last).then_some(())
    });
    seen
}

#[test]
fn p03_a_device_that_hears_of_a_topic_by_its_new_key_misses_none_of_its_mail() {
    let server = Server::start();
    let (ana, bob) = (Person::new(&server, "ana"), Person::new(&server, "bob"));
    let other = Person::other_device(&server, &ana);
    let news = Pattern::parse("news").unwrap();
    let mut standing = other.standing();
    // The heartbeat of the beginning is behind it.
    while standing.next_event(Duration::from_millis(10)).unwrap() != Event::Quiet {}
    let mut first = ana.open();
    first.join(&news, From::Now).unwrap();
    let sent = first.send(draft(&["news"], "one")).unwrap();
    let id = id_of(&sent.outcomes[0]);
    // Bob was granted the topic, so his leaving gives it a new key, of which all readers are told.
    let mut leaver = bob.standing();
    leaver.join(&news, From::Now).unwrap();
    leaver.next_event(Duration::from_millis(500)).unwrap();
    leaver.leave(&news).unwrap();
    assert_eq!(watched(&mut standing, id), [id]);
    assert_eq!(ids(&show_all(&standing)), [id]);
}

#[test]
fn errors_say_what_is_wrong() {
    let mut server = Server::start();
    let ana = Person::new(&server, "ana");
    let mut place = ana.account.place().clone();
    place.source = None;
    place.url.key[5] ^= 1;
    let begin = now();
    let wrong = session::probe(
        &place,
        ana.account.keys().expect("an open key"),
        Duration::from_secs(10),
    )
    .unwrap_err();
    assert!(matches!(wrong, ClientError::WrongServer { .. }), "{wrong}");
    assert_eq!(wrong.exit_code(), 78);
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "told as soon as it is clear"
    );
    let other = Person::new(&server, "bob");
    let taken = session::register(
        &other
            .home
            .create_account(ana.account.place(), ana.account.user())
            .unwrap(),
        "thief",
        None,
        Duration::from_secs(10),
    )
    .unwrap_err();
    assert!(taken.is_refused(Code::NeedsCode), "{taken}");
    assert_eq!(taken.exit_code(), 77);
    server.kill9();
    let gone = Session::open(&ana.account, hasty()).unwrap_err();
    assert!(matches!(gone, ClientError::Unreachable { .. }), "{gone}");
    assert_eq!(gone.exit_code(), 69);
}

#[test]
fn p06_a_port_that_is_busy_here_is_replaced() {
    let server = Server::start_with(3, &[]);
    let ana = Person::new(&server, "ana");
    let first = server.pool()[0];
    let _busy = std::net::TcpListener::bind(("0.0.0.0", first)).unwrap();
    let session = ana.standing();
    let lease = session.lease().expect("two other ports are free");
    assert_ne!(lease.port, first);
}

/// Many processes of one device: some send, some watch, some refresh.
#[test]
fn p03_eight_at_once_show_each_mail_once() {
    let _timed = Timed::start("p03_eight_at_once_show_each_mail_once");
    let server = Server::start_with(8, &[]);
    let ana = Person::new(&server, "ana");
    let bob = Person::new(&server, "bob");
    let total = scale("CORREIO_CLIENT_MAILS", 600);
    let left = AtomicUsize::new(total);
    let done = AtomicBool::new(false);
    let shown = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut watcher = bob.standing();
                while !done.load(Ordering::SeqCst) {
                    watcher.next_event(Duration::from_millis(50)).unwrap();
                }
                watcher.stop_watch().unwrap();
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let last = done.load(Ordering::SeqCst);
                    let mut session = bob.open();
                    session.refresh().unwrap();
                    let mails = show_all(&session);
                    session.close().unwrap();
                    let mut shown = shown.lock().unwrap();
                    let mut newest = 0;
                    for mail in mails {
                        assert!(mail.envelope.id > newest, "in id order");
                        newest = mail.envelope.id;
                        shown.push(mail.envelope.id);
                    }
                    if last {
                        break;
                    }
                }
            });
        }
        let senders: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut session = ana.open();
                    let mut sent = Vec::new();
                    while left
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                        .is_ok()
                    {
                        let done = session.send(draft(&["bob"], "hello")).unwrap();
                        sent.push(id_of(&done.outcomes[0]));
                    }
                    sent
                })
            })
            .collect();
        let sent: BTreeSet<MailId> = senders
            .into_iter()
            .flat_map(|sender| sender.join().unwrap())
            .collect();
        assert_eq!(sent.len(), total);
        done.store(true, Ordering::SeqCst);
    });
    let mut shown = shown.into_inner().unwrap();
    shown.extend(ids(&bob.read()));
    let once: BTreeSet<MailId> = shown.iter().copied().collect();
    assert_eq!(shown.len(), total, "each was shown");
    assert_eq!(once.len(), total, "each was shown once");
}

#[test]
fn a_server_that_moves_is_found_again_by_its_file() {
    let server = Server::start();
    let ana = Person::new(&server, "ana");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.url");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut url = server.url();
    url.port = nobody.local_addr().unwrap().port();
    drop(nobody);
    std::fs::write(&file, url.to_string()).unwrap();
    let account = ana.account.clone().at(Place::read(&file).unwrap());
    let opening = std::thread::spawn(move || Session::open(&account, patient()));
    std::fs::write(&file, server.url().to_string()).unwrap();
    opening.join().unwrap().unwrap().close().unwrap();
    // The file now names another server: said, not followed.
    url.key[0] ^= 1;
    std::fs::write(&file, url.to_string()).unwrap();
    let mut place = Place::read(&file).unwrap();
    place.url.key = server.url().key;
    let moved = Session::open(&ana.account.clone().at(place), patient()).unwrap_err();
    assert!(
        matches!(moved, ClientError::ServerChanged { .. }),
        "{moved}"
    );
}

/// A full disk at the reader: a clear error, nothing acknowledged that is not stored, and everything
/// there once there is room.
#[test]
fn p02_a_full_client_disk_acknowledges_nothing_it_does_not_hold() {
    let name = "p02_a_full_client_disk_acknowledges_nothing_it_does_not_hold";
    let server = Server::start();
    let ana = Person::new(&server, "ana");
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path(), "size=700k") else {
        return common::skip(name, "a tmpfs cannot be mounted here");
    };
    let home = Home::open(Some(&folder.path().join("home"))).unwrap();
    let user = UserName::parse("bob").unwrap();
    let account = home
        .create_account(&Place::read(&server.url_file()).unwrap(), &user)
        .unwrap();
    session::register(&account, "small", None, Duration::from_secs(30)).unwrap();
    let mut sender = ana.open();
    let mut sent = Vec::new();
    for _ in 0..12 {
        let done = sender.send(draft(&["bob"], vec![b'y'; 100_000])).unwrap();
        sent.push(id_of(&done.outcomes[0]));
    }
    let mut session = Session::open(&account, patient()).unwrap();
    let full = session.refresh().unwrap_err();
    assert_eq!(
        (full.code(), full.exit_code()),
        ("client_disk_full", 74),
        "{full}"
    );
    let mut shown = ids(&show_all(&session));
    drop(session);
    // What does not fit a send is said too, before anything was tried.
    let mut other = Session::open(&account, patient()).unwrap();
    let refused = other
        .send(draft(&["ana"], vec![b'z'; 700_000]))
        .unwrap_err();
    assert_eq!(refused.code(), "client_disk_full", "{refused}");
    assert!(other.outbox().list().unwrap().is_empty());
    drop(other);
    disk.resize("size=20m");
    let mut session = Session::open(&account, patient()).unwrap();
    session.refresh().unwrap();
    shown.extend(ids(&show_all(&session)));
    assert_eq!(shown, sent);
}

/// A file system with little room.
struct SmallDisk {
    path: std::path::PathBuf,
}

impl SmallDisk {
    fn mount(path: &std::path::Path, size: &str) -> Option<Self> {
        let path = path.to_owned();
        mount(&["-t", "tmpfs", "-o", size, "tmpfs"], &path).then_some(Self { path })
    }

    fn resize(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,{size}")], &self.path));
    }
}

fn mount(args: &[&str], path: &std::path::Path) -> bool {
    std::process::Command::new("mount")
        .args(args)
        .arg(path)
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount")
            .arg(&self.path)
            .status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_waker_ends_the_wait_for_events() {
    let server = Server::start();
    let ana = Person::new(&server, "ana");
    let mut session = ana.standing();
    let waker = session.waker();
    let begin = now();
    std::thread::scope(|scope| {
        scope.spawn(|| waker.wake());
        let event = session.next_event(Duration::from_mins(1)).unwrap();
        assert_eq!(event, Event::Quiet);
        waker.wake();
        session.keep(Duration::from_mins(1)).unwrap();
    });
    assert!(begin.elapsed() < Duration::from_secs(30));
}
