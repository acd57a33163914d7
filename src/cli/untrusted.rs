//! The one display type for every string that came from somebody else: a mail cannot act (P12).
//!
//! Control characters, C1, bidi and zero-width marks are made visible instead of being obeyed. What
//! a pipe gets is the same: it may end on a terminal too. Exact bytes are for `--json`, whose
//! strings hold the same characters as `\u` escapes. This module never prints; see [`super::ui`].

use std::fmt::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use unicode_width::UnicodeWidthChar;

pub use crate::protocol::active::is_active;

/// A text from somebody else on one line: newlines and tabs are made visible as well, so that it
/// cannot forge a row of a table.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a>(pub &'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through `pad`, so that widths in format strings work.
        if self.0.contains(is_active) {
            f.pad(&visible(self.0))
        } else {
            f.pad(self.0)
        }
    }
}

/// A text from somebody else that may have several lines: newlines and tabs stay, CR LF is a
/// newline, everything else is as in [`Line`].
#[derive(Debug, Clone, Copy)]
pub struct Block<'a>(pub &'a str);

impl fmt::Display for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.chars().peekable();
        let mut before = None;
        while let Some(c) = rest.next() {
            match c {
                '\r' if rest.peek() == Some(&'\n') => {}
                '\n' | '\t' => f.write_char(c)?,
                JOINER if joins(before, rest.peek()) => f.write_char(c)?,
                c => write_visible(f, c)?,
            }
            before = Some(c);
        }
        Ok(())
    }
}

/// How a piece of our own output looks where a terminal has colours. Never needed to understand it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// A user or topic that something came from.
    Name,
    /// What is new.
    Fresh,
    /// What went wrong.
    Wrong,
}

/// Stand around what is painted, until it is printed. They are no characters, and whoever writes them
/// sees them made visible like all that acts.
const PAINTS: [(char, Paint, &str); 3] = [
    ('\u{fdd0}', Paint::Name, "\x1b[1;36m"),
    ('\u{fdd1}', Paint::Fresh, "\x1b[1;33m"),
    ('\u{fdd2}', Paint::Wrong, "\x1b[1;31m"),
];
const PLAIN: char = '\u{fdd3}';

/// Returns `text`, which cannot act, to be printed in a colour.
pub fn painted(paint: Paint, text: &str) -> String {
    let row = PAINTS.iter().find(|(_, known, _)| *known == paint);
    let (mark, ..) = row.expect("every paint has its row");
    format!("{mark}{text}{PLAIN}")
}

/// What goes to a terminal or a file: as [`Block`], but for our own paint, which becomes colours or goes.
#[derive(Debug, Clone, Copy)]
pub struct Print<'a> {
    /// The text.
    pub text: &'a str,
    /// It goes where colours are shown.
    pub coloured: bool,
}

impl fmt::Display for Print<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_painted = false;
        let mut rest = self.text;
        while let Some((at, mark)) = rest.char_indices().find(|(_, c)| is_paint(*c)) {
            Block(&rest[..at]).fmt(f)?;
            rest = &rest[at + mark.len_utf8()..];
            let row = PAINTS.iter().find(|(known, ..)| *known == mark);
            if self.coloured {
                f.write_str(row.map_or("\x1b[0m", |(_, _, colour)| colour))?;
                is_painted = row.is_some();
            }
        }
        Block(rest).fmt(f)?;
        f.write_str(if is_painted { "\x1b[0m" } else { "" })
    }
}

fn is_paint(c: char) -> bool {
    (PAINTS[0].0..=PLAIN).contains(&c)
}

/// Returns `text` on one line with everything active made visible.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut before = None;
    while let Some(c) = rest.next() {
        if c == JOINER && joins(before, rest.peek()) {
            shown.push(c);
        } else {
            write_visible(&mut shown, c).expect("writing to a String does not fail");
        }
        before = Some(c);
    }
    shown
}

/// Joins two pictures to one, such as a woman and a computer to a programmer.
const JOINER: char = '\u{200d}';

/// Says whether a joiner stands between two pictures: there it is part of what they look like, and hides
/// nothing.
fn joins(before: Option<char>, after: Option<&char>) -> bool {
    let is_picture = |c: char| matches!(c, '\u{2600}'..='\u{27bf}' | '\u{2b1b}'..='\u{2b55}' | '\u{1f300}'..='\u{1faff}');
    // The first may carry a sign that asks for colour.
    before.is_some_and(|c| is_picture(c) || c == '\u{fe0f}')
        && after.is_some_and(|c| is_picture(*c))
}

fn write_visible(out: &mut impl Write, c: char) -> fmt::Result {
    match c {
        '\0'..='\x1f' => out.write_char(picture(u32::from(c))),
        '\x7f' => out.write_char('\u{2421}'),
        c if is_active(c) => write!(out, "<U+{:04X}>", u32::from(c)),
        c => out.write_char(c),
    }
}

/// The control picture of a C0 character (`ESC` is shown as U+241B).
fn picture(c0: u32) -> char {
    char::from_u32(0x2400 + c0).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Returns `text` made visible and cut to `width` columns; a cut shows as an ellipsis.
pub fn clipped(text: &str, width: usize) -> String {
    let shown = visible(text);
    if columns(&shown) <= width {
        return shown;
    }
    let mut room = width.saturating_sub(1);
    let mut cut: String = shown
        .chars()
        .take_while(|c| {
            let fits = column(*c) <= room;
            room = room.saturating_sub(column(*c));
            fits
        })
        .collect();
    // One that joined what was cut off joins nothing.
    cut.truncate(cut.trim_end_matches(JOINER).len());
    cut.push('\u{2026}');
    cut
}

/// Returns how many columns of a terminal `text` takes.
pub fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

fn column(c: char) -> usize {
    if is_paint(c) {
        return 0;
    }
    c.width().unwrap_or(0)
}

/// Breaks one visible line into pieces of at most `width` columns, so that a terminal never wraps it
/// to its left edge, where only our own text stands.
pub fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut used = 0;
    for c in line.chars() {
        // A tab goes to the next multiple of eight; eight is the safe count.
        let wide = if c == '\t' { 8 } else { column(c) };
        if used + wide > width && used > 0 {
            pieces.push(String::new());
            used = 0;
        }
        used += wide;
        pieces.last_mut().expect("there is always a piece").push(c);
    }
    pieces
}

/// Breaks lines of our own at spaces, where a terminal of `width` columns would break them anywhere.
pub fn folded_at_words(text: &str, width: usize) -> String {
    let lines = text.split('\n').flat_map(|line| {
        let mut pieces = vec![String::new()];
        for word in line.split_inclusive(' ') {
            let last = pieces.last_mut().expect("there is always a piece");
            if columns(last) + columns(word.trim_end()) <= width {
                last.push_str(word);
                continue;
            }
            if last.trim().is_empty() {
                pieces.pop();
            }
            pieces.extend(wrapped(word, width));
        }
        pieces.into_iter().map(|piece| piece.trim_end().to_owned())
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes `value` as one line of JSON, exact, in which no character can act: what [`is_active`] names
/// stands as `\u` escapes.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Escaping))?;
    Ok(String::from_utf8(bytes).expect("the serializer writes text"))
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_active(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            write_escape(writer, c)?;
            rest = &rest[at + c.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

fn write_escape<W: ?Sized + std::io::Write>(writer: &mut W, c: char) -> std::io::Result<()> {
    c.encode_utf16(&mut [0; 2])
        .iter()
        .try_for_each(|unit| write!(writer, "\\u{unit:04x}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written out again on purpose: a hole in [`is_active`] must not hide itself.
    fn acts(c: char) -> bool {
        c.is_control()
            || matches!(u32::from(c),
                0x061c | 0xfdd0..=0xfdef | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2064 | 0x2066..=0x2069 | 0xfeff)
    }

    #[test]
    fn p12_escapes_and_bidi_marks_are_seen_and_not_obeyed() {
        let evil = "a\x1b]0;PWNED\x07\u{9b}2J\u{202e}b\u{200b}\r\n\tc\x7f";
        assert_eq!(
            Line(evil).to_string(),
            "a␛]0;PWNED␇<U+009B>2J<U+202E>b<U+200B>␍␊␉c␡"
        );
        assert_eq!(
            Block(evil).to_string(),
            "a␛]0;PWNED␇<U+009B>2J<U+202E>b<U+200B>\n\tc␡"
        );
    }

    #[test]
    fn p12_only_our_own_paint_is_colour() {
        let text = format!(
            "{} to {}",
            painted(Paint::Name, "ana"),
            visible("b\u{fdd0}\x1b[1mob")
        );
        assert_eq!(columns(&text), columns("ana to b<U+FDD0>␛[1mob"));
        let print = |coloured| {
            Print {
                text: &text,
                coloured,
            }
            .to_string()
        };
        assert_eq!(print(false), "ana to b<U+FDD0>␛[1mob");
        assert_eq!(print(true), "\x1b[1;36mana\x1b[0m to b<U+FDD0>␛[1mob");
        let open = Print {
            text: "\u{fdd2}x\x1b",
            coloured: true,
        };
        assert_eq!(open.to_string(), "\x1b[1;31mx␛\x1b[0m");
    }

    #[test]
    fn p12_a_joiner_stands_between_pictures_only() {
        let programmer = "👩\u{200d}💻 and ❤\u{fe0f}\u{200d}🔥";
        assert_eq!(visible(programmer), programmer);
        assert_eq!(Block(programmer).to_string(), programmer);
        for hidden in [
            "a\u{200d}b",
            "👩\u{200d}",
            "\u{200d}💻",
            "👩\u{200d}\u{200d}💻",
        ] {
            assert!(visible(hidden).contains("<U+200D>"), "{hidden:?}");
            assert!(Block(hidden).to_string().contains("<U+200D>"), "{hidden:?}");
        }
    }

    #[test]
    fn p12_a_cut_leaves_no_joiner_behind() {
        assert_eq!(clipped("👩\u{200d}💻👩\u{200d}💻", 3), "👩…");
    }

    #[test]
    fn words_are_kept_whole_where_they_fit() {
        let folded = |text| folded_at_words(text, 10);
        assert_eq!(folded("one two three"), "one two\nthree");
        assert_eq!(folded("  ^ one two"), "  ^ one\ntwo");
        assert_eq!(folded("a 日本語日本語"), "a\n日本語日本\n語");
        assert_eq!(folded("exactly 10\nnext"), "exactly 10\nnext");
        assert_eq!(folded(""), "");
    }

    #[test]
    fn lines_take_widths_and_are_clipped_by_columns() {
        assert_eq!(format!("{:>5}|", Line("ab")), "   ab|");
        assert_eq!(clipped("abcdef", 4), "abc…");
        assert_eq!(clipped("日本語", 4), "日…");
        assert_eq!(clipped("abc", 3), "abc");
        assert_eq!(wrapped("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn json_is_exact_and_inert() {
        let evil = "\"\\\x1b\u{9b}\u{202e}\u{e0041}é\n";
        let json = to_json(evil).unwrap();
        assert_eq!(json, r#""\"\\\u001b\u009b\u202e\udb40\udc41é\n""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), evil);
    }

    /// What acts, between what does not.
    const HOSTILE: &str = "[\\x00-\\x9f\u{200b}-\u{206f}aé漢\u{e0000}-\u{e00ff}]{0,40}";

    proptest! {
        #[test]
        fn p12_nothing_active_is_ever_shown(text in prop_oneof![HOSTILE, ".*"], width in 0_usize..40) {
            // A joiner between two pictures is a part of them (the test above).
            let line_acts = |text: &str| text.replace(JOINER, "").contains(acts);
            prop_assert!(!line_acts(&Line(&text).to_string()));
            prop_assert!(!line_acts(&clipped(&text, width)));
            prop_assert!(columns(&clipped(&text, width)) <= width.max(1));
            let block = Block(&text).to_string().replace(['\n', '\t'], "");
            prop_assert!(!line_acts(&block));
        }

        #[test]
        fn p12_json_strings_are_exact_and_inert(text in "[\\x00-\\x9f\u{200b}-\u{206f}a\u{e0000}-\u{e00ff}\"\\\\]{0,40}") {
            let json = to_json(&text).unwrap();
            prop_assert!(!json.contains(acts));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
