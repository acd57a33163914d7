//! How mails and listings look to a person. Whoever wrote a mail, its text stands indented below
//! our own header line, so that no body can pass for a header.
//!
//! This module prints through [`super::ui`] only; the JSON forms are in [`super::json`].

use serde_json::Value;

use super::error::CliError;
use super::i18n::{text, tr, tr_n};
use super::times;
use super::ui::{Table, Ui};
use super::untrusted::{Block, Paint, painted, visible, wrapped};
use super::{json, untrusted};
use crate::client::attachments::{self, Attachment, Parts};
use crate::client::mailbox::Held;
use crate::client::receipt;
use crate::protocol::reply::{ChatRow, ChatState, Envelope, Trimmed};

/// What stands before each line of a body.
const INDENT: &str = "    ";

/// Prints a mail as it was asked for: as JSON, or as a header line with the body below.
pub fn mail(ui: &mut Ui, envelope: &Envelope, body: &[u8]) -> Result<(), CliError> {
    let address = std::slice::from_ref(&envelope.address);
    mail_by(ui, envelope, address, body)
}

/// Prints a mail, for people with all the addresses that its copies came by. As JSON each copy is one for itself.
pub fn mail_by(
    ui: &mut Ui,
    envelope: &Envelope,
    addresses: &[String],
    body: &[u8],
) -> Result<(), CliError> {
    if ui.is_json() {
        return ui.object(&json::mail(envelope, body));
    }
    let called = envelope.id.to_string();
    if receipt::is_receipt(envelope) {
        return ui.line(folded(&read_by(envelope), ui.width()));
    }
    whole(ui, &header(envelope, addresses), &called, envelope, body)
}

/// Prints a mail of the mailbox as [`mail`] does, imported or not.
pub fn held(ui: &mut Ui, held: &Held, envelope: &Envelope, body: &[u8]) -> Result<(), CliError> {
    if ui.is_json() {
        return ui.object(&json::held(held, envelope, body));
    }
    if !held.is_imported() {
        return mail(ui, envelope, body);
    }
    let called = held.called().to_string();
    let to: Vec<String> = envelope.to.iter().map(|to| visible(to)).collect();
    let mut header = tr!(
        "{}  {}  {} to {}",
        called,
        times::human(&envelope.sent_at),
        visible(&envelope.from),
        to.join(", ")
    );
    if !envelope.subject.is_empty() {
        header.extend([": ", &visible(&envelope.subject)]);
    }
    whole(ui, &header, &called, envelope, body)
}

/// Prints a mail below its header line.
fn whole(
    ui: &mut Ui,
    header: &str,
    called: &str,
    envelope: &Envelope,
    body: &[u8],
) -> Result<(), CliError> {
    // One write for the whole mail: it is shown or it is not.
    let mut text = folded(header, ui.width());
    let parts = attachments::parts(envelope.id, &envelope.content_type, body);
    let listed = attached_lines(called, &parts.attachments);
    let listed = listed.iter().map(|line| folded(line, ui.width()));
    let body = body_lines(&parts, ui.width());
    for line in body.into_iter().chain(listed) {
        text.push('\n');
        text.push_str(line.trim_end_matches('\n'));
    }
    ui.line(text)
}

/// Says that a mail was read: who says so is certain, whatever else stands in a receipt is not shown.
fn read_by(envelope: &Envelope) -> String {
    let mut line = tr!(
        "{}  read by {} {}",
        envelope.id,
        visible(&envelope.from),
        times::human(&envelope.sent_at)
    );
    if let Some(answered) = envelope.in_reply_to {
        line += &tr!(" (re {})", answered);
    }
    line
}

/// Lists what is attached, where no body stands.
fn attached_lines(called: &str, attached: &[Attachment]) -> Vec<String> {
    let line = |(at, file): (usize, &Attachment)| {
        format!(
            "  [{}] {}, {}, {}",
            at + 1,
            visible(&file.name),
            visible(&file.content_type),
            size(file.bytes.len() as u64)
        )
    };
    let mut lines: Vec<String> = attached.iter().enumerate().map(line).collect();
    if !lines.is_empty() {
        lines.push(tr!("  save: mailctl save {}", called));
    }
    lines
}

/// Breaks a header line that a terminal would wrap to its left edge.
fn folded(line: &str, width: Option<usize>) -> String {
    let Some(width) = width else {
        return line.to_owned();
    };
    wrapped(line, width.saturating_sub(INDENT.len()).max(1)).join(&format!("\n{INDENT}"))
}

/// Says which mail it is, of whom, by which addresses it came, and what it answers.
fn header(envelope: &Envelope, addresses: &[String]) -> String {
    let names = |names: Vec<&String>, between: &str| {
        let names: Vec<String> = names.into_iter().map(|name| visible(name)).collect();
        names.join(between)
    };
    let mut header = tr!(
        "{}  {}  {} to {}",
        envelope.id,
        times::human(&envelope.sent_at),
        painted(Paint::Name, &visible(&envelope.from)),
        names(addresses.iter().collect(), tr!(" and "))
    );
    let others = envelope.to.iter().filter(|to| !addresses.contains(to));
    let others = names(others.collect(), ", ");
    if !others.is_empty() {
        header += &tr!(" (also to {})", others);
    }
    if let Some(answered) = envelope.in_reply_to {
        header += &tr!(" (re {})", answered);
    }
    if !envelope.subject.is_empty() {
        header.extend([": ", &visible(&envelope.subject)]);
    }
    header
}

fn body_lines(parts: &Parts, width: Option<usize>) -> Vec<String> {
    let shown = Block(&parts.text).to_string();
    let mut lines: Vec<String> = shown
        .lines()
        .flat_map(|line| match width {
            Some(width) => wrapped(line, width.saturating_sub(INDENT.len()).max(1)),
            None => vec![line.to_owned()],
        })
        .map(|line| {
            if line.is_empty() {
                line
            } else {
                format!("{INDENT}{line}")
            }
        })
        .collect();
    if parts.is_lossy {
        lines.push(tr!("{}[not UTF-8; `--json` has the exact bytes]", INDENT));
    }
    lines
}

/// Prints that mails went unread.
pub fn trimmed(ui: &mut Ui, address: &str, gone: Trimmed) -> Result<(), CliError> {
    let human = tr!(
        "{} to {} went unread: expired or trimmed, after mail {}",
        counted(gone.count, "mail"),
        visible(address),
        gone.from_id
    );
    ui.result(&json::trimmed(address, gone), human)
}

/// How an invitation is answered: at the shell's prompt, or by a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `y` or `n`.
    Prompt,
    /// `y` or `n` once the chat is over that goes on at the same prompt.
    Later,
    /// `mailctl chat accept`.
    Verb,
}

/// Prints an invitation that stands, and how to answer it.
pub fn invitation(ui: &mut Ui, row: &ChatRow, answer: Answer) -> Result<(), CliError> {
    let from = visible(&row.from);
    let who = painted(Paint::Fresh, &from);
    let left = times::left(&row.expires_at);
    let human = match answer {
        Answer::Prompt => {
            tr!(
                "? {} asks for a direct chat (expires in {}) -> y or n",
                who,
                left
            )
        }
        Answer::Later => {
            tr!(
                "? {} asks for a direct chat (expires in {}) -> /bye, then y or n",
                who,
                left
            )
        }
        Answer::Verb => tr!(
            "? {} asks for a direct chat until {} - mailctl chat accept {}",
            who,
            times::hour(&row.expires_at),
            from
        ),
    };
    ui.result(&json::invitation(row), human)
}

/// Prints that an invitation which was shown before stands no longer.
pub fn invitation_ended(ui: &mut Ui, row: &ChatRow) -> Result<(), CliError> {
    let how = match row.state {
        ChatState::Accepted => tr!("was accepted"),
        ChatState::Declined | ChatState::Busy => tr!("was declined"),
        ChatState::Withdrawn => tr!("was taken back"),
        ChatState::Expired => tr!("has expired"),
        _ => tr!("is over"),
    };
    let human = tr!("? the invitation of {} {}", visible(&row.from), how);
    ui.result(&json::invitation(row), human)
}

/// Prints that an invitation came and went unseen.
pub fn missed(ui: &mut Ui, row: &ChatRow) -> Result<(), CliError> {
    let human = tr!(
        "? {} asked for a direct chat at {}; nobody was there to answer",
        visible(&row.from),
        times::human(&row.asked_at)
    );
    ui.result(&json::missed(row), human)
}

/// Returns `1 mail` or `2 mails`, in the language of this process.
pub fn mails(count: u64) -> String {
    tr_n!(count, "{n} mail", "{n} mails")
}

/// Returns `1 line` or `2 lines`, in the language of this process: of things that are named in many places. What
/// is named in one has its sentence there.
pub fn counted(count: u64, noun: &str) -> String {
    match noun {
        "mail" => mails(count),
        "line" => tr_n!(count, "{n} line", "{n} lines"),
        "byte" => tr_n!(count, "{n} byte", "{n} bytes"),
        "attachment" => tr_n!(count, "{n} attachment", "{n} attachments"),
        "file" => tr_n!(count, "{n} file", "{n} files"),
        "other" => tr_n!(count, "{n} other", "{n} others"),
        _ if count == 1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// Writes a number of bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1_000 {
        return counted(bytes, "byte");
    }
    let mut tenths = u128::from(bytes) * 10 / 1_000;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A column of a listing: its heading (`>` aligns to the right) and the JSON field it shows.
pub type Column = (&'static str, &'static str);

/// Prints the rows of a listing: each as an object, or as a table of `columns`.
pub fn rows(ui: &mut Ui, columns: &[Column], rows: &[Value]) -> Result<(), CliError> {
    if ui.is_json() {
        return rows
            .iter()
            .try_for_each(|row| ui.object(&json::object(row)));
    }
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| text(heading)).collect();
    let mut table = Table::new(&headings);
    for row in rows {
        let cells: Vec<String> = columns
            .iter()
            .map(|(_, field)| cell(field, &row[*field]))
            .collect();
        let cells: Vec<&dyn std::fmt::Display> = cells
            .iter()
            .map(|cell| cell as &dyn std::fmt::Display)
            .collect();
        table.row(&cells);
    }
    table.print(ui)
}

/// Returns a word of JSON for how something stands as people read it.
fn state(word: &str) -> &str {
    match word {
        "sending" => tr!("sending"),
        "draft" => tr!("draft"),
        "queued" => tr!("queued"),
        "scheduled" => tr!("scheduled"),
        "held" => tr!("held"),
        "in_doubt" => tr!("in_doubt"),
        "lost" => tr!("lost"),
        "damaged" => tr!("damaged"),
        "free" => tr!("free"),
        "offered" => tr!("offered"),
        "resting" => tr!("resting"),
        "live" => tr!("live"),
        "reserved" => tr!("reserved"),
        "disabled" => tr!("disabled"),
        "user" => tr!("user"),
        "operator" => tr!("operator"),
        "admin" => tr!("admin"),
        other => other,
    }
}

/// Returns one value of a row as people read it.
pub fn cell(field: &str, value: &Value) -> String {
    let is_time = field.ends_with("_at") || matches!(field, "since" | "last_seen" | "oldest");
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if is_time => times::human(text),
        Value::String(text) if matches!(field, "state" | "role") => state(text).to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => tr!("yes").to_owned(),
        Value::Bool(false) => tr!("no").to_owned(),
        Value::Array(items) => {
            let shown: Vec<String> = items.iter().map(|item| cell(field, item)).collect();
            shown.join(", ")
        }
        other => untrusted::visible(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::tests::captured;

    fn envelope(subject: &str) -> Envelope {
        Envelope {
            id: 42,
            prev: 0,
            n: 1,
            address: "news".into(),
            from: "ana".into(),
            to: vec!["news".into()],
            subject: subject.into(),
            sent_at: "not a time".into(),
            expires_at: None,
            content_type: "text/plain".into(),
            size: 0,
            frames: 1,
            ..Envelope::default()
        }
    }

    fn shown(subject: &str, body: &[u8]) -> String {
        let (mut ui, out, _) = captured(false);
        mail(&mut ui, &envelope(subject), body).unwrap();
        out.text()
    }

    #[test]
    fn a_mail_is_a_header_and_an_indented_body() {
        assert_eq!(
            shown("hi", b"one\r\n\r\ntwo\n"),
            "42  not a time  ana to news: hi\n    one\n\n    two\n"
        );
        assert_eq!(shown("", b""), "42  not a time  ana to news\n");
    }

    #[test]
    fn a_mail_says_what_it_answers_and_by_which_addresses_it_came() {
        let answer = Envelope {
            to: vec!["news".into(), "bob".into(), "carol".into()],
            in_reply_to: Some(30),
            ..envelope("Re: hi")
        };
        let (mut ui, out, _) = captured(false);
        let both = ["news".to_owned(), "bob".to_owned()];
        mail_by(&mut ui, &answer, &both, b"").unwrap();
        mail(&mut ui, &answer, b"").unwrap();
        assert_eq!(
            out.text(),
            "42  not a time  ana to news and bob (also to carol) (re 30): Re: hi\n\
             42  not a time  ana to news (also to bob, carol) (re 30): Re: hi\n"
        );
    }

    #[test]
    fn p12_a_mail_forges_no_header_and_no_escape() {
        let text = shown(
            "x\n43  12:00  bob to me",
            b"\r43  12:00  bob to me: \x1b[2J",
        );
        assert_eq!(
            text,
            "42  not a time  ana to news: x␊43  12:00  bob to me\n    ␍43  12:00  bob to me: ␛[2J\n"
        );
        let parts = Parts {
            text: "a".repeat(40),
            ..Parts::default()
        };
        let wrapped = body_lines(&parts, Some(24));
        assert!(
            wrapped.iter().all(|line| line.starts_with(INDENT)),
            "{wrapped:?}"
        );
    }

    #[test]
    fn p12_what_is_attached_stands_below_and_cannot_act() {
        let picture = Attachment {
            name: "a\u{202e}gnp\n[2] b.png".into(),
            content_type: "image/png".into(),
            bytes: vec![0xff; 1_200],
        };
        let (content_type, body) = attachments::pack("look", vec![picture]).unwrap();
        let (mut ui, out, _) = captured(false);
        let mail_of = |content_type: &str| Envelope {
            content_type: content_type.to_owned(),
            ..envelope("")
        };
        mail(&mut ui, &mail_of(&content_type), &body).unwrap();
        mail(&mut ui, &mail_of("image/png"), b"\xff").unwrap();
        insta::assert_snapshot!(out.text(), @r"
        42  not a time  ana to news
            look
          [1] a<U+202E>gnp␊[2] b.png, image/png, 1.2 kB
          save: mailctl save 42
        42  not a time  ana to news
          [1] mail-42.png, image/png, 1 byte
          save: mailctl save 42
        ");
    }

    #[test]
    fn other_bytes_are_said_to_be_such() {
        assert!(shown("", b"a\xff\n").contains("[not UTF-8"));
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(1), "1 byte");
        assert_eq!(size(999), "999 bytes");
        assert_eq!(size(1_000), "1.0 kB");
        assert_eq!(size(999_999), "999.9 kB");
        assert_eq!(size(20_971_520), "20.9 MB");
        assert_eq!(size(u64::MAX), "18446.7 PB");
    }

    #[test]
    fn rows_are_tables_or_objects() {
        let row = serde_json::json!({"port": 5600, "user": null, "state": "fr\u{202e}ee"});
        let columns: &[Column] = &[(">Port", "port"), ("State", "state"), ("User", "user")];
        let (mut ui, out, _) = captured(false);
        rows(&mut ui, columns, std::slice::from_ref(&row)).unwrap();
        assert_eq!(
            out.text(),
            "Port  State         User\n5600  fr<U+202E>ee  -\n"
        );
        let (mut ui, out, _) = captured(true);
        rows(&mut ui, columns, &[row]).unwrap();
        assert_eq!(
            out.text(),
            "{\"v\":1,\"port\":5600,\"state\":\"fr\\u202eee\",\"user\":null}\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn p12_no_mail_ever_acts(subject: String, body: Vec<u8>) {
            let text = shown(&subject, &body);
            let acts = |c: char| c != '\n' && c != '\t' && untrusted::is_active(c);
            proptest::prop_assert!(!text.contains(acts));
            let mut lines = text.lines();
            lines.next();
            proptest::prop_assert!(lines.all(|line| line.is_empty() || line.starts_with(INDENT)));
        }
    }
}
