//! What is shown of others: nothing in it acts.

use std::io::Write;
use std::sync::{Arc, Mutex};

use correio::chat::file::name;
use correio::cli::ui::Ui;
use correio::cli::untrusted::{Block, Line, clipped, columns, to_json, visible, wrapped};
use correio::cli::{show, ui};
use correio::client::attachments;
use correio::protocol::reply::Envelope;

use super::{acts, acts_in, cut};

/// The first byte is a width.
pub(super) fn untrusted(bytes: &[u8]) {
    let Some((width, bytes)) = bytes.split_first() else {
        return;
    };
    let (width, text) = (usize::from(*width % 64), String::from_utf8_lossy(bytes));
    let line = Line(&text).to_string();
    assert!(!acts_in(&line), "{line:?}");
    assert_eq!(line, visible(&text));
    assert_eq!(visible(&line), line, "what is visible stays as it is");
    let block = Block(&text).to_string();
    assert!(!acts_in(&block.replace(['\n', '\t'], "")), "{block:?}");
    let cut = clipped(&text, width);
    assert!(!acts_in(&cut) && columns(&cut) <= width.max(1), "{cut:?}");
    let pieces = wrapped(&line, width);
    assert_eq!(pieces.concat(), line);
    assert!(
        pieces.iter().all(|piece| columns(piece) <= width.max(2)),
        "{pieces:?}"
    );
    let json = to_json(&text).expect("text is JSON");
    assert!(!json.contains(acts), "{json:?}");
    assert_eq!(
        serde_json::from_str::<String>(&json).ok().as_deref(),
        Some(&*text)
    );
    assert!(format!("{:>70}|", Line(&text)).ends_with('|'));
    table(&text);
}

/// A cell forges no row.
fn table(text: &str) {
    let mut rows = ui::Table::new(&["NAME", ">COUNT"]);
    rows.row(&[&text, &7]);
    let (mut ui, out) = captured(false);
    rows.print(&mut ui).expect("memory takes it");
    assert_eq!(out.text().lines().count(), 2, "{:?}", out.text());
}

/// A whole mail, its fields parted by zeros: as text no line of it stands at the left edge but the
/// header, as JSON it is one exact line.
pub(super) fn mail(bytes: &[u8]) {
    let mut rest = bytes;
    let mut field = || {
        let (text, after) = cut(rest, 0);
        rest = after;
        String::from_utf8_lossy(text).into_owned()
    };
    let envelope = Envelope {
        id: 42,
        prev: 40,
        n: 7,
        from: field(),
        address: field(),
        to: vec![field(), field()],
        subject: field(),
        sent_at: field(),
        expires_at: Some(field()),
        content_type: field(),
        size: 3,
        frames: 1,
        ..Envelope::default()
    };
    let body = rest;
    let (mut ui, out) = captured(false);
    show::mail(&mut ui, &envelope, body).expect("memory takes it");
    let text = out.text();
    assert!(!acts_in(&text.replace(['\n', '\t'], "")), "{text:?}");
    let mut lines = text.lines();
    assert!(
        lines
            .next()
            .is_some_and(|header| header.starts_with("42  "))
    );
    assert!(
        lines.all(|line| line.is_empty() || line.starts_with("  ")),
        "{text:?}"
    );
    let (mut ui, out) = captured(true);
    show::mail(&mut ui, &envelope, body).expect("memory takes it");
    let json = out.text();
    assert!(!json.trim_end_matches('\n').contains(acts), "{json:?}");
    let told: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(told["subject"], envelope.subject);
    if let Ok(body) = std::str::from_utf8(body) {
        assert_eq!(told["body"], body);
    }
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("nobody panics with it");
        String::from_utf8(bytes.clone()).expect("what is printed is text")
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn captured(json: bool) -> (Ui, Captured) {
    let out = Captured::default();
    (
        Ui::to(Box::new(out.clone()), Box::new(std::io::sink()), json),
        out,
    )
}

/// A content type, a zero, a body: whatever is in it, its parts are told apart and shown without acting.
pub(super) fn attachments(bytes: &[u8]) {
    let (content_type, body) = cut(bytes, 0);
    let content_type = String::from_utf8_lossy(content_type);
    let parts = attachments::parts(7, &content_type, body);
    assert!(parts.attachments.len() <= attachments::ATTACHMENTS_MAX);
    for file in &parts.attachments {
        let name = name::safe(&file.name);
        assert!(!name.contains(acts) && !name.contains('/') && !name.starts_with('.'));
    }
    if let Some(parts) = attachments::unpack(&content_type, body) {
        let again = attachments::pack(&parts.text, parts.attachments.clone());
        let (content_type, body) = again.expect("the system has random bytes");
        let read = attachments::unpack(&content_type, &body).expect("what was packed is read");
        assert_eq!(read.attachments.len(), parts.attachments.len());
    }
}
