//! Messages of the Internet's kind (RFC 5322) as they pass through: fields of a header, whom a message is for, what a list
//! shows of it.
//!
//! A mail of Correio may be a whole message (`message/rfc822`): `sendmail` sends such, and imported mail is such. What
//! is in one comes from whoever wrote it. Pure; nothing is changed but what is asked for.

use chrono::{DateTime, SecondsFormat, Utc};
use mail_parser::{Addr, Address, HeaderName, MessageParser};

use crate::limits::SUBJECT_BYTES_MAX;
use crate::protocol::active::is_active;

/// The content type of a mail that is a whole message.
pub const TYPE: &str = "message/rfc822";

/// A header that is longer is taken for text.
const HEADER_BYTES_MAX: usize = 256 * 1024;

/// A field's name that is longer is none.
const NAME_BYTES_MAX: usize = 76;

/// Bytes of a line in a file's header (RFC 5322).
const LINE_BYTES_MAX: usize = 998;

/// Says whether a content type is that of a whole message.
pub fn is_message(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(TYPE)
}

/// One field of a header, with its line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    name: &'a str,
    raw: &'a [u8],
}

impl<'a> Field<'a> {
    /// Says whether it has one of these names.
    pub fn is(&self, names: &[&str]) -> bool {
        names
            .iter()
            .any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// Returns its bytes, with its line ends.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Returns its value without line ends and outer spaces; what is not UTF-8 is replaced.
    pub fn value(&self) -> String {
        let text = String::from_utf8_lossy(&self.raw[self.name.len()..]);
        let text = text.trim_start().strip_prefix(':').unwrap_or_default();
        text.replace(['\r', '\n'], "").trim().to_owned()
    }
}

/// A message taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken<'a> {
    /// The fields, in order.
    pub fields: Vec<Field<'a>>,
    /// What comes after them, the empty line included.
    pub rest: &'a [u8],
}

/// Takes a message apart. A text without a header has no fields.
pub fn take(message: &[u8]) -> Taken<'_> {
    let (mut fields, mut at) = (Vec::new(), 0);
    while at < message.len().min(HEADER_BYTES_MAX) {
        let Some(name) = field_name(&message[at..]) else {
            break;
        };
        let mut end = at + line_length(&message[at..]);
        while matches!(message.get(end), Some(b' ' | b'\t')) {
            end += line_length(&message[end..]);
        }
        fields.push(Field {
            name,
            raw: &message[at..end],
        });
        at = end;
    }
    Taken {
        fields,
        rest: &message[at..],
    }
}

fn line_length(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1)
}

fn field_name(line: &[u8]) -> Option<&str> {
    let is_name = |byte: &&u8| (b'!'..=b'~').contains(*byte) && **byte != b':';
    let length = line.iter().take(NAME_BYTES_MAX).take_while(is_name).count();
    let mut after = line[length..].iter();
    let is_field = length > 0 && after.find(|byte| !b" \t".contains(byte)) == Some(&b':');
    is_field
        .then(|| std::str::from_utf8(&line[..length]).ok())
        .flatten()
}

impl Taken<'_> {
    /// Returns the message without the fields of these names. A text without a header gets an empty one.
    pub fn without(&self, names: &[&str]) -> Vec<u8> {
        let mut message = Vec::new();
        for field in self.fields.iter().filter(|field| !field.is(names)) {
            message.extend(field.raw);
        }
        if self.fields.is_empty() && !is_empty_line(self.rest) {
            message.push(b'\n');
        }
        message.extend(self.rest);
        message
    }

    /// Returns the value of the first field of this name.
    pub fn value(&self, name: &str) -> Option<String> {
        let field = self.fields.iter().find(|field| field.is(&[name]));
        field.map(Field::value)
    }

    /// Says whether a header and a text can be told apart.
    pub fn is_whole(&self) -> bool {
        !self.fields.is_empty() && is_empty_line(self.rest)
    }
}

fn is_empty_line(text: &[u8]) -> bool {
    text.starts_with(b"\n") || text.starts_with(b"\r\n")
}

/// What a list shows of a message. All of it is what its writer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Who wrote it.
    pub from: String,
    /// Whom it is for.
    pub to: Vec<String>,
    /// What it is about.
    pub subject: String,
    /// When it was written: RFC 3339, UTC, milliseconds; empty when it does not say.
    pub sent_at: String,
}

/// Reads what a list shows of a message.
pub fn summary(message: &[u8]) -> Summary {
    let Some(read) = MessageParser::default().parse_headers(message) else {
        return Summary::default();
    };
    let all = |address: Option<&Address<'_>>| {
        let listed = address.into_iter().flat_map(Address::iter);
        listed.map(shown).collect::<Vec<_>>()
    };
    let sent = read.date().map(mail_parser::DateTime::to_timestamp);
    let sent = sent.and_then(|at| DateTime::<Utc>::from_timestamp(at, 0));
    Summary {
        from: all(read.from()).join(", "),
        to: [all(read.to()), all(read.cc())].concat(),
        subject: subject(read.subject().unwrap_or_default()),
        sent_at: sent.map_or_else(String::new, |at| {
            at.to_rfc3339_opts(SecondsFormat::Millis, true)
        }),
    }
}

fn shown(addr: &Addr<'_>) -> String {
    match (addr.name(), addr.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => address.or(name).unwrap_or_default().to_owned(),
    }
}

/// Makes one line of a subject, as long as a server takes.
fn subject(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if line.len() + c.len_utf8() > SUBJECT_BYTES_MAX {
            break;
        }
        line.push(c);
    }
    line.trim().to_owned()
}

/// Whom a message names as its readers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readers {
    /// In To and Cc: everybody may know of them.
    pub open: Vec<String>,
    /// In Bcc: nobody else may.
    pub blind: Vec<String>,
}

/// Reads whom a message names as its readers, as bare addresses.
pub fn readers(message: &[u8]) -> Readers {
    let mut readers = Readers::default();
    let Some(read) = MessageParser::default().parse_headers(message) else {
        return readers;
    };
    for header in read.headers() {
        let list = match header.name {
            HeaderName::To | HeaderName::Cc => &mut readers.open,
            HeaderName::Bcc => &mut readers.blind,
            _ => continue,
        };
        let listed = header.value().as_address().into_iter();
        // A name alone, as in `To: bob`, is read as somebody's name.
        let bare = |addr: &Addr<'_>| Some(addr.address().or(addr.name())?.to_owned());
        list.extend(listed.flat_map(Address::iter).filter_map(bare));
    }
    readers
}

/// Returns the user or topic that an address of the Internet's kind stands for. What comes after the `@` does not count:
/// there is one server.
pub fn local_part(address: &str) -> &str {
    let bare = address.trim().trim_start_matches('<').trim_end_matches('>');
    let local = match bare.rsplit_once('@') {
        Some(("", name)) => name,
        Some((local, _)) => local,
        None => bare,
    };
    let local = local.trim_matches('"');
    local.strip_prefix("topic+").unwrap_or(local)
}

/// Returns a field as it may stand in a file's header, without its last line end; nothing for one that could end the
/// header, or in which something acts.
pub(super) fn harmless(field: &Field<'_>) -> Option<String> {
    let text = std::str::from_utf8(field.raw).ok()?.replace("\r\n", "\n");
    let text = text.strip_suffix('\n').unwrap_or(&text).replace('\t', " ");
    let is_line = |line: &str| !line.trim().is_empty() && line.len() <= LINE_BYTES_MAX;
    let acts = |c: char| c != '\n' && is_active(c);
    (text.split('\n').all(is_line) && !text.contains(acts)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MESSAGE: &[u8] = b"From: \"B\" <bob@x>\r\nBcc: eve@x,\r\n carol\r\nTo: ana, news@y, <lab/p@z>\r\n\
        Subject: =?utf-8?q?caf=C3=A9?=\r\nDate: Mon, 30 Nov 2026 12:00:00 +0200\r\n\r\nBody: no field\r\n";

    #[test]
    fn a_message_is_taken_apart_and_put_together() {
        let taken = take(MESSAGE);
        assert_eq!(taken.fields.len(), 5);
        assert_eq!(taken.fields[1].value(), "eve@x, carol");
        assert!(taken.is_whole());
        assert_eq!(taken.without(&[]), MESSAGE);
        let without = taken.without(&["bcc"]);
        assert!(!String::from_utf8_lossy(&without).contains("eve"));
        assert_eq!(without.len(), MESSAGE.len() - taken.fields[1].raw().len());
    }

    #[test]
    fn a_text_without_a_header_stays_text() {
        let taken = take(b"hello there: you\n");
        assert!(taken.fields.is_empty() && !taken.is_whole());
        assert_eq!(taken.without(&["Bcc"]), b"\nhello there: you\n");
        assert_eq!(take(b"\nFrom: x\n").without(&[]), b"\nFrom: x\n");
    }

    #[test]
    fn readers_and_summaries_are_read() {
        let readers = readers(MESSAGE);
        assert_eq!(readers.open, ["ana", "news@y", "lab/p@z"]);
        assert_eq!(readers.blind, ["eve@x", "carol"]);
        let summary = summary(MESSAGE);
        assert_eq!(summary.from, "B <bob@x>");
        assert_eq!(summary.subject, "café");
        assert_eq!(summary.sent_at, "2026-11-30T10:00:00.000Z");
    }

    #[test]
    fn addresses_stand_for_users_and_topics() {
        for (address, name) in [
            ("bob", "bob"),
            ("@bob", "bob"),
            ("bob@any.where", "bob"),
            ("topic+news@host", "news"),
            ("<lab/printer@h>", "lab/printer"),
            ("\"lab/printer\"@h", "lab/printer"),
        ] {
            assert_eq!(local_part(address), name, "{address}");
        }
    }

    #[test]
    fn p12_no_field_of_others_ends_a_header_or_acts() {
        let fields = b"A: one\n  two\nB: \x1b[2J\nC: x\n \t\nD: \xff\nE: \xe2\x80\xae\nF:\tok\n\n";
        let taken = take(fields);
        let kept: Vec<_> = taken.fields.iter().filter_map(harmless).collect();
        assert_eq!(kept, ["A: one\n  two", "F: ok"]);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_they_were(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let taken = take(&bytes);
            if !taken.fields.is_empty() || is_empty_line(taken.rest) {
                prop_assert_eq!(taken.without(&[]), bytes.clone());
            }
            drop((summary(&bytes), readers(&bytes)));
        }
    }
}
