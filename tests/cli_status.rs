//! `mailctl status`: what is unseen, here and at the server, each mail counted once.

mod common;

use common::ctl::Ctl;
use common::server::Server;
use serde_json::json;

#[test]
fn what_is_unseen_is_counted_once_wherever_it_is() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    ana.ok(&["login", "ana"]);
    bob.ok(&["login", "bob", "--topic", "news"]);
    let status = |args: &[&str]| bob.ok(&[&["status"], args].concat()).out;

    assert_eq!(status(&[]), "bob: nothing unread\n");
    let nothing = bob.run(&["status", "--exit-code"]);
    assert_eq!((nothing.code, nothing.err.as_str()), (1, ""));

    for (address, text) in [("bob", "one"), ("news", "one"), ("bob", "two")] {
        ana.ok(&["send", address, "-b", text]);
    }
    assert_eq!(status(&["--exit-code"]), "bob: 3 unread (bob 2, news 1)\n");
    assert_eq!(status(&["--short"]), "3\n");
    assert_eq!(status(&["--offline"]), "bob: nothing unread\n");

    // Some of it comes here, some of it is seen, and more waits at the server.
    bob.ok(&["refresh", "--limit", "1"]);
    ana.ok(&["send", "news", "-b", "three"]);
    assert_eq!(status(&[]), "bob: 3 unread (bob 1, news 2)\n");
    assert_eq!(status(&["--offline"]), "bob: 2 unread (bob 1, news 1)\n");
    let told = bob.ok(&["status", "--json"]).objects();
    let addresses = json!([{"address": "bob", "unread": 1}, {"address": "news", "unread": 2}]);
    assert_eq!(
        told,
        [json!({"v": 1, "user": "bob", "unread": 3, "addresses": addresses, "complete": true})]
    );
    assert_eq!(
        bob.ok(&["refresh"]).out.lines().next(),
        Some("3 mails for bob")
    );
    assert_eq!(status(&[]), "bob: nothing unread\n");
}

#[test]
fn without_a_server_what_is_here_is_counted() {
    let mut server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    bob.ok(&["login", "bob"]);
    bob.ok(&["send", "bob", "bob", "-b", "to myself"]);
    bob.ok(&["send", "bob", "-b", "again"]);
    bob.ok(&["refresh", "--limit", "1"]);
    server.kill9();
    let gone = bob.run(&["status", "--timeout", "1"]);
    assert_eq!(gone.code, 69, "{}", gone.err);
    assert_eq!(gone.out, "bob: 1 unread (bob 1)\n");
    let quiet = bob.run(&["status", "--offline"]);
    assert_eq!((quiet.code, quiet.err.as_str()), (0, ""));
}
