//! A reader of more logs than one page of a listing holds.

mod common;

use std::collections::BTreeSet;

use common::client::RawClient;
use common::server::Server;
use correio::limits;

/// Topics of the test: one page of rows and a half.
const TOPICS: usize = limits::ROWS_MAX * 3 / 2;

#[test]
fn p10_heartbeats_name_every_log_that_is_behind_page_by_page() {
    let server = Server::start();
    let names: Vec<String> = (0..TOPICS).map(|at| format!("many/{at}")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut ana = RawClient::user(&server, "ana");
    for topic in &topics {
        ana.join(topic).expect("joins");
    }
    let known = ana.welcome.as_ref().expect("she logged in").through;
    let mut bob = RawClient::user(&server, "bob");
    for topics in topics.chunks(limits::RECIPIENTS_MAX) {
        bob.send(topics, b"news").expect("a send is answered");
    }

    let (mut seen, mut through, mut pages) = (BTreeSet::new(), known, 0);
    loop {
        let beat = ana.heartbeat(through).expect("a heartbeat is answered");
        let fresh = beat.behind.iter().filter(|log| log.head > known);
        seen.extend(fresh.map(|log| log.address.clone()));
        assert!(beat.behind.len() <= limits::ROWS_MAX);
        (through, pages) = (beat.through, pages + 1);
        assert!(pages < 10, "each page gets further");
        if !beat.more {
            break;
        }
    }
    assert_eq!(seen, names.iter().cloned().collect());
    assert!(pages > 1, "{TOPICS} topics are more than a page");
    let beat = ana.heartbeat(through).expect("a heartbeat is answered");
    assert!(beat.behind.is_empty(), "all is known now");
}
