//! P1: an ack means on disk. The real server runs under strace; no reply to a request that changes
//! something may leave before a sync that began after the request came in.

mod common;

use std::path::Path;
use std::process::Command;

use common::client::{RawClient, Wishes};
use common::server::{Plan, Server};
use common::trace::{Call, Verdict, judge, name_is_durable, parse};
use common::{Timed, eventually, skip, wall_s};
use correio::protocol::reply;
use correio::protocol::request::{self, AdminWhat, Request};

const SENDS: usize = 50;

/// Runs something and returns the span of time it took.
fn span(mut deed: impl FnMut()) -> (f64, f64) {
    let start = wall_s();
    deed();
    (start, wall_s())
}

fn traced(folder: &Path) -> Option<Server> {
    let tried = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let calls = "trace=fdatasync,fsync,sync_file_range,sendto,sendmsg,write,writev,recvfrom,recvmsg,read,readv,\
                 openat,mkdir,rename,link,linkat";
    let trace = folder.join("trace");
    let words = [
        "strace", "-f", "-ttt", "-T", "-yy", "-s", "0", "-e", calls, "-o",
    ];
    let mut wrapper: Vec<String> = words.iter().map(ToString::to_string).collect();
    wrapper.push(trace.to_string_lossy().into_owned());
    wrapper.push("--".to_owned());
    let data = folder.join("data");
    Some(Server::planned(Plan {
        wrapper,
        ..Plan::loopback(data, 4)
    }))
}

/// What was done, with its span and how many replies it must have had.
type Deed = (&'static str, (f64, f64), usize);

/// Does everything of P1's list, one request at a time.
fn deeds(server: &Server) -> Vec<Deed> {
    let mut ana = RawClient::stranger(server);
    let mut deeds: Vec<Deed> = Vec::new();
    let mut deed = |name, count, act: &mut dyn FnMut()| deeds.push((name, span(act), count));
    deed("register", 1, &mut || {
        ana.register("ana", None).expect("registers");
    });
    let port = Wishes {
        topics: vec![],
        port: true,
    };
    deed("login with a lease", 1, &mut || {
        ana.login(port.clone()).expect("logs in");
    });
    let lease = ana
        .welcome
        .as_ref()
        .and_then(|w| w.lease)
        .expect("a port is free");
    let word = |session| request::LeaseWord {
        session,
        port: lease.port,
        epoch: lease.epoch,
    };
    deed("lease_confirm", 1, &mut || {
        let confirm = |session| Request::LeaseConfirm(word(session));
        ana.call::<serde_json::Value>(confirm).expect("confirmed");
    });
    deed("join", 1, &mut || {
        ana.join("news").expect("joins");
    });
    deed("send", SENDS, &mut || {
        for nth in 0..SENDS {
            ana.mail(["ana", "news"][nth % 2], format!("body {nth}").as_bytes());
        }
    });
    let log = ana.log("ana");
    deed("ack", 1, &mut || {
        ana.ack(log.log, log.head).expect("acknowledged");
    });
    deed("invite", 1, &mut || {
        let make = |session| {
            Request::Invite(request::Invite {
                session,
                user: None,
                device: true,
            })
        };
        ana.call::<serde_json::Value>(make).expect("invites");
    });
    deed("leave", 1, &mut || {
        ana.leave("news").expect("leaves");
    });
    chat_deeds(server, &mut ana, &mut deed);
    deed("lease_release", 1, &mut || {
        let release = |session| Request::LeaseRelease(word(session));
        ana.call::<serde_json::Value>(release).expect("released");
    });
    let mut admin = RawClient::admin(server);
    deeds.push((
        "admin topic create",
        span(|| {
            admin
                .admin_deed(AdminWhat::TopicCreate, "made")
                .expect("made");
        }),
        1,
    ));
    deeds
}

/// Does all that changes an invitation or a block; ana holds a confirmed lease.
fn chat_deeds(
    server: &Server,
    ana: &mut RawClient,
    deed: &mut impl FnMut(&'static str, usize, &mut dyn FnMut()),
) {
    let mut bob = RawClient::user(server, "bob");
    bob.lease_confirmed();
    let asked = |ana: &mut RawClient| -> String {
        let ask = |session| {
            Request::ChatAsk(request::ChatAsk {
                session,
                user: "bob".parse().expect("a name"),
                host: None,
                nonce: None,
            })
        };
        let asked: reply::Asked = ana.call(ask).expect("asked");
        asked.row.chat
    };
    let mut chat = String::new();
    deed("chat_ask", 1, &mut || chat = asked(ana));
    deed("chat_accept", 1, &mut || {
        let accept = |session| {
            Request::ChatAccept(request::ChatAccept {
                session,
                chat: chat.clone(),
                host: None,
            })
        };
        bob.call::<serde_json::Value>(accept).expect("accepted");
    });
    chat = asked(ana);
    deed("chat_decline", 1, &mut || {
        let decline = |session| {
            Request::ChatDecline(request::ChatDecline {
                session,
                chat: chat.clone(),
                busy: false,
            })
        };
        bob.call::<serde_json::Value>(decline).expect("declined");
    });
    chat = asked(ana);
    deed("chat_withdraw", 1, &mut || {
        let withdraw = |session| {
            Request::ChatWithdraw(request::ChatWithdraw {
                session,
                chat: chat.clone(),
            })
        };
        ana.call::<serde_json::Value>(withdraw).expect("withdrawn");
    });
    deed("chat_seen", 1, &mut || {
        let seen = |session| {
            Request::ChatSeen(request::ChatSeen {
                session,
                chats: vec![chat.clone()],
            })
        };
        bob.call::<serde_json::Value>(seen).expect("seen");
    });
    let block = |session| request::Block {
        session,
        user: "ana".parse().expect("a name"),
    };
    deed("block", 1, &mut || {
        bob.call::<serde_json::Value>(|session| Request::Block(block(session)))
            .expect("blocked");
    });
    deed("unblock", 1, &mut || {
        bob.call::<serde_json::Value>(|session| Request::Unblock(block(session)))
            .expect("unblocked");
    });
}

#[test]
fn p01_no_ack_leaves_before_a_sync_that_began_after_its_request() {
    let _timed = Timed::start("p01_no_ack_leaves_before_a_sync_that_began_after_its_request");
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut server) = traced(folder.path()) else {
        skip(
            "p01_no_ack_leaves_before_a_sync",
            "strace does not run here",
        );
        return;
    };
    let port = server.url().port;
    let deeds = deeds(&server);
    let (status, _) = server.terminate();
    assert!(status.success(), "{status}");
    let calls = parse(&whole_trace(folder.path()));
    let data = folder.path().join("data");
    let data = data.to_string_lossy();
    let syncs = calls.iter().filter(|call| call.is_sync()).count();
    println!("{} calls, {syncs} syncs", calls.len());
    let half = calls.iter().find(|call| call.name == "sync_file_range");
    assert_eq!(half, None, "sled's writes end with a whole sync");
    for (name, span, count) in &deeds {
        let verdict = judge(&calls, port, &data, *span);
        println!("{name}: {verdict:?}");
        assert!(
            verdict.replies >= *count,
            "{name}: the trace shows too few replies"
        );
        assert_eq!(verdict.early, 0, "{name}: a reply left before its sync");
    }
    the_check_fails_without_the_syncs(&calls, port, &data, &deeds);
}

/// A sync makes a file's bytes durable, not its name: a power cut could take the whole file.
#[test]
fn p02_names_that_a_start_made_are_on_disk_before_the_first_reply() {
    let _timed = Timed::start("p02_names_that_a_start_made_are_on_disk_before_the_first_reply");
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut server) = traced(folder.path()) else {
        return skip(
            "p02_names_that_a_start_made_are_on_disk",
            "strace does not run here",
        );
    };
    let port = server.url().port;
    drop(RawClient::user(&server, "ana"));
    let (status, _) = server.terminate();
    assert!(status.success(), "{status}");
    let calls = parse(&whole_trace(folder.path()));
    let reply = calls.iter().find(|call| call.is_reply(port));
    let reply = reply.expect("the server replied").start;
    let data = folder
        .path()
        .canonicalize()
        .expect("it exists")
        .join("data");
    let names = [
        "store",
        "store/db",
        "store/conf",
        "seal",
        "server.key",
        "admin.key",
    ];
    for name in names.map(|name| data.join(name)).iter().chain([&data]) {
        let made = calls
            .iter()
            .any(|call| call.makes_a_name() && Path::new(&call.path) == name);
        assert!(made, "the trace shows how {} was made", name.display());
        let durable = name_is_durable(&calls, name, reply);
        assert!(durable, "{} could be lost", name.display());
        let earlier = name_is_durable(&calls, name, 0.0);
        assert!(!earlier, "the check sees a sync that comes too late");
    }
}

/// Waits for the end of the trace and reads it.
fn whole_trace(folder: &Path) -> String {
    eventually("the end of the trace", || {
        let text = std::fs::read_to_string(folder.join("trace")).ok()?;
        text.contains("+++ exited").then_some(text)
    })
}

/// The proof that the check proves something: the same trace with its syncs taken out, or moved
/// behind the replies, is red for every deed.
fn the_check_fails_without_the_syncs(calls: &[Call], port: u16, data: &str, deeds: &[Deed]) {
    let bare: Vec<Call> = calls
        .iter()
        .filter(|call| !call.is_sync())
        .cloned()
        .collect();
    let mut late = calls.to_vec();
    late.iter_mut()
        .filter(|call| call.is_sync())
        .for_each(|call| call.end = f64::MAX);
    for (name, span, count) in deeds {
        for (how, calls) in [("without syncs", &bare), ("with late syncs", &late)] {
            let verdict = judge(calls, port, data, *span);
            assert!(verdict.early >= *count, "{name}, {how}: still {verdict:?}");
        }
    }
}

#[test]
fn p01_the_trace_is_read_right() {
    let text = "\
100 10.000000 recvfrom(9<TCP:[127.0.0.1:5570->127.0.0.1:4444]>, \"\"..., 8192, 0, NULL, NULL) = 210 <0.000010>
101 10.001000 fdatasync(12</data/store/db> <unfinished ...>
100 10.002000 sendto(9<TCP:[127.0.0.1:5570->127.0.0.1:4444]>, \"\"..., 50, 0, NULL, 0) = 50 <0.000010>
101 10.004000 <... fdatasync resumed>) = 0 <0.003000>
100 10.005000 sendto(9<TCP:[127.0.0.1:5570->127.0.0.1:4444]>, \"\"..., 190, 0, NULL, 0) = 190 <0.000010>
";
    let all = (0.0, 99.0);
    let judged = |text: &str| judge(&parse(text), 5570, "/data", all);
    assert_eq!(
        judged(text),
        Verdict {
            replies: 1,
            early: 0
        }
    );
    assert_eq!(
        judged(&text.replace("/data/", "/else/")),
        Verdict {
            replies: 1,
            early: 1
        }
    );
    assert_eq!(
        judged(&text.replace("10.005", "10.003")),
        Verdict {
            replies: 1,
            early: 1
        }
    );
    assert_eq!(
        judged(&text.replace("10.001000", "9.999000")),
        Verdict {
            replies: 1,
            early: 1
        }
    );
    assert_eq!(
        judged(&text.replace(") = 0 <", ") = -1 EIO <")),
        Verdict {
            replies: 1,
            early: 1
        }
    );
    assert_eq!(
        judge(&parse(text), 5571, "/data", all),
        Verdict {
            replies: 0,
            early: 0
        }
    );
}
