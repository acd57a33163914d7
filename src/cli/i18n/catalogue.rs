//! Reads a catalogue of translations: gettext's `.po`, as translators' tools write it. What is no entry is
//! passed over; `tests/words.rs` holds the one that is built in to the code.

use std::borrow::Cow;
use std::collections::HashMap;

/// The Portuguese catalogue.
pub const PORTUGUESE: &str = include_str!("../../../locale/pt_BR.po");

/// The `msgctxt` of texts that a server says.
const SERVER: &str = "server";

/// The `msgctxt` of sentences that a layer below says with its values in them.
const BELOW: &str = "below";

/// One text and its translation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The English of one.
    pub key: Cow<'static, str>,
    /// The English of many, where the text counts.
    pub many: Option<Cow<'static, str>>,
    /// The translations, one for each number of things that the language tells apart.
    pub forms: Vec<Cow<'static, str>>,
    /// The server says it.
    pub is_servers: bool,
    /// A layer below says it with its values put in.
    pub is_below: bool,
    /// The comments above it.
    pub comments: Vec<&'static str>,
}

/// Returns the entries of a catalogue by their keys.
pub(super) fn texts(po: &'static str) -> HashMap<Cow<'static, str>, Entry> {
    let entries = entries(po).into_iter();
    entries.map(|entry| (entry.key.clone(), entry)).collect()
}

/// Returns the entries of a catalogue, the header not among them.
pub fn entries(po: &'static str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut entry = Entry::default();
    let mut field = Field::Comment;
    for line in po.lines().map(str::trim).chain([""]) {
        let (word, quoted) = line.split_once('"').unwrap_or((line, ""));
        let quoted = quoted.strip_suffix('"').unwrap_or(quoted);
        match word.trim_end() {
            comment if comment.starts_with('#') => entry.comments.push(line),
            "msgctxt" => field = Field::Context,
            "msgid" => field = Field::Key,
            "msgid_plural" => {
                field = Field::Many;
                entry.many = Some(Cow::Borrowed(""));
            }
            form if form.starts_with("msgstr") => {
                field = Field::Form;
                entry.forms.push(Cow::Borrowed(""));
            }
            _ if line.is_empty() => {
                let whole = std::mem::take(&mut entry);
                entries.extend((!whole.key.is_empty()).then_some(whole));
                field = Field::Comment;
                continue;
            }
            _ => {}
        }
        let text = match field {
            Field::Comment => continue,
            Field::Context => {
                entry.is_servers = quoted == SERVER;
                entry.is_below = quoted == BELOW;
                continue;
            }
            Field::Key => Some(&mut entry.key),
            Field::Many => entry.many.as_mut(),
            Field::Form => entry.forms.last_mut(),
        };
        if let (Some(text), false) = (text, quoted.is_empty()) {
            append(text, unescaped(quoted));
        }
    }
    entries
}

/// What the next quoted text belongs to.
#[derive(Clone, Copy)]
enum Field {
    Comment,
    Context,
    Key,
    Many,
    Form,
}

fn append(text: &mut Cow<'static, str>, more: Cow<'static, str>) {
    if text.is_empty() {
        *text = more;
    } else {
        text.to_mut().push_str(&more);
    }
}

fn unescaped(text: &'static str) -> Cow<'static, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some(other) => plain.push(other),
                None => {}
            },
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// It stands as it is.
    Text(&'a str),
    /// A value goes here: the next one, or the one of that place or name.
    Place(&'a str),
}

/// Takes a template apart: as `format!` reads it, without formats.
pub fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let doubled = rest[at..].starts_with("{{") || rest[at..].starts_with("}}");
        let end = rest[at..].find('}').map(|end| at + end);
        let (text, place, skip) = match (doubled, end) {
            (true, _) => (&rest[..=at], None, at + 2),
            (false, Some(end)) if end > at => (&rest[..at], Some(&rest[at + 1..end]), end + 1),
            // Half a place is text.
            _ => (&rest[..=at], None, at + 1),
        };
        pieces.push(Piece::Text(text));
        pieces.extend(place.map(Piece::Place));
        rest = &rest[skip..];
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    pieces
}

/// Returns what stands in the places of a template that was filled in to give `text`, with their names; none when
/// it cannot have been. Where several ways fit, each value is as short as can be.
pub fn values<'a>(template: &'a str, text: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let mut values = Vec::new();
    let mut open = None;
    let mut rest = text;
    for piece in pieces(template) {
        match (piece, open.take()) {
            (Piece::Place(name), None) => open = Some(name),
            (Piece::Place(_), Some(_)) => return None,
            (Piece::Text(fixed), None) => rest = rest.strip_prefix(fixed)?,
            (Piece::Text(fixed), Some(name)) => {
                let (value, after) = rest.split_once(fixed)?;
                values.push((name, value));
                rest = after;
            }
        }
    }
    match open {
        Some(name) => values.push((name, rest)),
        None if !rest.is_empty() => return None,
        None => {}
    }
    Some(values)
}

/// Returns the places of a template, in order of their names; `{}` are counted.
pub fn places(template: &str) -> Vec<String> {
    let mut next = 0;
    let mut places: Vec<String> = pieces(template)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Place("") => {
                next += 1;
                Some((next - 1).to_string())
            }
            Piece::Place(place) => Some(place.to_owned()),
        })
        .collect();
    places.sort();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_translators_write_them() {
        let po = concat!(
            "# A catalogue.\nmsgid \"\"\nmsgstr \"\"\n\"Language: pt_BR\\n\"\n\n",
            "#. a note\nmsgctxt \"server\"\nmsgid \"\"\n\"say \\\"hi\\\"\\n\"\n\"to {}\"\nmsgstr \"diga oi a {}\"\n\n",
            "msgid \"{n} mail\"\nmsgid_plural \"{n} mails\"\nmsgstr[0] \"{n} mensagem\"\nmsgstr[1] \"{n} mensagens\"\n",
        );
        let read = entries(po);
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].key, "say \"hi\"\nto {}");
        assert_eq!(read[0].forms, ["diga oi a {}"]);
        assert!(read[0].is_servers && read[0].comments == ["#. a note"]);
        assert_eq!(read[1].many.as_deref(), Some("{n} mails"));
        assert_eq!(read[1].forms, ["{n} mensagem", "{n} mensagens"]);
    }

    #[test]
    fn what_was_put_in_is_found_again() {
        let template = "{} of {size} bytes";
        assert_eq!(
            values(template, "3 of 5 bytes"),
            Some(vec![("", "3"), ("size", "5")])
        );
        assert_eq!(values("no {}", "no  way"), Some(vec![("", " way")]));
        for text in ["3 of 5", "3 of 5 bytes!", ""] {
            assert_eq!(values(template, text), None, "{text}");
        }
    }

    #[test]
    fn places_are_counted_or_named() {
        assert_eq!(places("{} a {} {{x}}"), ["0", "1"]);
        assert_eq!(places("{to} {n}"), ["n", "to"]);
        assert_eq!(
            pieces("}{{a}}{"),
            [
                Piece::Text("}"),
                Piece::Text("{"),
                Piece::Text("a}"),
                Piece::Text("{")
            ]
        );
    }
}
