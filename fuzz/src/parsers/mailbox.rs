//! The roads into the mailbox, and what is looked for in it.

use chrono::DateTime;
use correio::client::exchange::{Message, json_line};
use correio::client::mailbox::Flags;
use correio::client::mbox;
use correio::client::message::{local_part, readers, summary, take};
use correio::client::search::Query;

use super::acts_in;

/// Messages that are read are written so that the same ones are read; any message survives the way out and in.
pub(super) fn mbox_file(bytes: &[u8]) {
    let read: Vec<Message> = mbox::Reader::new(bytes).map_while(Result::ok).collect();
    let whole = Message {
        bytes: bytes.to_vec(),
        flags: Flags::parse("FS"),
    };
    for messages in [read, vec![whole]] {
        let mut file = Vec::new();
        for message in &messages {
            mbox::write(&mut file, "a@b", "Mon Nov 30 12:00:00 2026", message)
                .expect("memory takes all");
        }
        let again: Result<Vec<Message>, _> = mbox::Reader::new(&*file).collect();
        assert_eq!(again.expect("it was just written"), messages);
    }
}

/// A message that is taken apart is the same put together; what a list shows of it is one line.
pub(super) fn message(bytes: &[u8]) {
    let taken = take(bytes);
    let again = taken.without(&[]);
    assert!(again == bytes || again.strip_prefix(b"\n") == Some(bytes));
    let shown = summary(bytes);
    assert!(shown.subject.len() <= 998 && !shown.subject.contains(char::is_control));
    for address in readers(bytes).open {
        assert!(address.contains(local_part(&address)));
    }
    let without = take(bytes).without(&["Bcc"]);
    assert!(take(&without).value("bcc").is_none() || taken.fields.is_empty());
}

/// A query, or why it is none, in words that cannot act once they are shown.
pub(super) fn search_query(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let now = DateTime::parse_from_rfc3339("2026-11-30T12:00:00+02:00").expect("a time");
    if let Err(error) = Query::parse(&[text], &now) {
        let shown = correio::cli::untrusted::visible(&error.to_string());
        assert!(!acts_in(&shown), "{shown:?}");
    }
}

/// A line of JSON lines: a message, none, or why not.
pub(super) fn json_lines(bytes: &[u8]) {
    for line in String::from_utf8_lossy(bytes).lines() {
        if let Ok(Some(message)) = json_line(line) {
            drop(summary(&message.bytes));
        }
    }
}
