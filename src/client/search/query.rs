//! What is searched for, as it is written: words, phrases, and fields such as `from:ana`.
//!
//! Pure. A word of the command line may hold a whole query. What looks like a field and is none is text, since texts
//! have colons too; a known field with a value that means nothing is an error.

use chrono::{DateTime, Days, Months, NaiveDate, TimeDelta, TimeZone};
use memchr::memmem::Finder;

use super::fold::fold;
use crate::client::mailbox::Flags;

/// Begins what must not be so, where `-` cannot.
pub const NOT: &str = "not:";

/// What a mail must be to be found.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub(super) terms: Vec<Term>,
    /// Sent at or after this time, in milliseconds.
    pub(super) since: Option<i64>,
    /// Sent before this time, in milliseconds.
    pub(super) before: Option<i64>,
}

/// One condition.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub(super) is_not: bool,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    /// Words in a row, in a part of the mail.
    Words(Part, Box<Finder<'static>>),
    /// By which address it came.
    Address(String),
    /// It has files attached.
    Attachment,
    /// A flag is set.
    Flag(Flags),
}

/// Where words are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Everywhere.
    Any,
    From,
    To,
    Subject,
}

/// Why a text is no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A field's value means nothing.
    #[error("{field}:{value} means nothing; {field}: takes {takes}")]
    Value {
        /// The field.
        field: &'static str,
        /// What was given.
        value: String,
        /// What it takes.
        takes: &'static str,
    },
    /// There is nothing to search for.
    #[error("search for what?")]
    Empty,
}

/// A piece of a query as it was written.
struct Piece {
    is_not: bool,
    field: Option<String>,
    value: String,
    /// It stood in quotes: whole words only.
    is_quoted: bool,
}

impl Query {
    /// Reads the words of a command line; `now` is for dates, in the zone in which they are meant.
    ///
    /// # Errors
    /// A field's value means nothing, or there is nothing to search for.
    pub fn parse<Z: TimeZone>(words: &[String], now: &DateTime<Z>) -> Result<Self, QueryError> {
        let mut query = Self::default();
        let mut any = false;
        for piece in words.iter().flat_map(|word| pieces(word)) {
            any |= query.take(&piece, now)?;
        }
        if any {
            Ok(query)
        } else {
            Err(QueryError::Empty)
        }
    }

    /// Takes a piece in; returns whether it meant something.
    fn take<Z: TimeZone>(&mut self, piece: &Piece, now: &DateTime<Z>) -> Result<bool, QueryError> {
        let value = piece.value.as_str();
        let known = piece.field.as_deref().map(str::to_ascii_lowercase);
        let mut is_not = piece.is_not;
        let what = match known.as_deref() {
            Some("since" | "after") => return self.bound(piece, true, now),
            Some("before" | "until") => return self.bound(piece, false, now),
            Some("from") => words(Part::From, value, piece.is_quoted),
            Some("to") => words(Part::To, value, piece.is_quoted),
            Some("subject") => words(Part::Subject, value, piece.is_quoted),
            Some("in") => Some(What::Address(value.trim_start_matches('@').to_lowercase())),
            Some("has") => Some(has(value)?),
            Some("is") => {
                // The one flag that is asked for by its absence.
                is_not ^= value.eq_ignore_ascii_case("unread");
                Some(is(value)?)
            }
            Some(_) => {
                let field = piece.field.as_deref().unwrap_or_default();
                words(Part::Any, &format!("{field}:{value}"), piece.is_quoted)
            }
            None => words(Part::Any, value, piece.is_quoted),
        };
        let Some(what) = what else {
            return Ok(false);
        };
        self.terms.push(Term { is_not, what });
        Ok(true)
    }

    /// Takes a bound of time in; one that is not to be is its opposite.
    fn bound<Z: TimeZone>(
        &mut self,
        piece: &Piece,
        is_since: bool,
        now: &DateTime<Z>,
    ) -> Result<bool, QueryError> {
        let at = time(&piece.value, now).ok_or_else(|| QueryError::Value {
            field: if is_since { "since" } else { "before" },
            value: piece.value.clone(),
            takes: "a day (2026-11-30, today, yesterday), a month (2026-11), a year or an age (2h, 7d, 3w)",
        })?;
        if is_since == piece.is_not {
            self.before = Some(self.before.map_or(at, |before| before.min(at)));
        } else {
            self.since = Some(self.since.map_or(at, |since| since.max(at)));
        }
        Ok(true)
    }
}

fn words(part: Part, text: &str, is_whole: bool) -> Option<What> {
    let folded = fold(text);
    // A bare word finds longer ones that begin with it.
    let wanted = if is_whole {
        &*folded
    } else {
        folded.trim_end()
    };
    (!wanted.trim().is_empty())
        .then(|| What::Words(part, Box::new(Finder::new(wanted).into_owned())))
}

fn has(value: &str) -> Result<What, QueryError> {
    if ["attachment", "attachments"].contains(&&*value.to_ascii_lowercase()) {
        return Ok(What::Attachment);
    }
    Err(QueryError::Value {
        field: "has",
        value: value.to_owned(),
        takes: "attachment",
    })
}

fn is(value: &str) -> Result<What, QueryError> {
    match value.to_ascii_lowercase().as_str() {
        "read" | "unread" => Ok(What::Flag(Flags::SEEN)),
        "replied" => Ok(What::Flag(Flags::REPLIED)),
        "flagged" => Ok(What::Flag(Flags::FLAGGED)),
        _ => Err(QueryError::Value {
            field: "is",
            value: value.to_owned(),
            takes: "unread, read, replied or flagged",
        }),
    }
}

/// Takes a text apart at its spaces outside of quotes.
fn pieces(text: &str) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (piece, after) = piece(rest);
        found.push(piece);
        rest = after.trim_start();
    }
    found
}

/// Takes the first piece off a text that begins with one.
fn piece(text: &str) -> (Piece, &str) {
    let rest = text.strip_prefix('-').or_else(|| text.strip_prefix(NOT));
    let begins = |rest: &&str| rest.starts_with(|c: char| !c.is_whitespace());
    let (is_not, text) = match rest.filter(begins) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let ends = |c: char| c.is_whitespace() || c == '"' || c == ':';
    let stop = text.find(ends).unwrap_or(text.len());
    let (field, value) = match text[stop..].strip_prefix(':') {
        Some(value) if stop > 0 => (Some(text[..stop].to_owned()), value),
        _ => (None, text),
    };
    let quoted = value.strip_prefix('"');
    let text = quoted.unwrap_or(value);
    let ends = |c: char| match quoted {
        Some(_) => c == '"',
        None => c.is_whitespace(),
    };
    // A quote that is never closed goes on to the end.
    let stop = text.find(ends).unwrap_or(text.len());
    let piece = Piece {
        is_not,
        field,
        value: text[..stop].to_owned(),
        is_quoted: quoted.is_some(),
    };
    let after = &text[stop..];
    (piece, after.strip_prefix('"').unwrap_or(after))
}

/// Reads a day, a month, a year or an age as its first moment, in milliseconds.
fn time<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Option<i64> {
    let text = text.to_lowercase();
    let today = now.date_naive();
    match text.as_str() {
        "today" => return begin(today, now),
        "yesterday" => return begin(today.checked_sub_days(Days::new(1))?, now),
        _ => {}
    }
    let is_dated = text.len() >= 4 && text.bytes().take(4).all(|byte| byte.is_ascii_digit());
    if is_dated {
        let forms = [text.clone(), format!("{text}-01"), format!("{text}-01-01")];
        let day = |text: &String| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        if let Some(day) = forms.iter().find_map(day) {
            return begin(day, now);
        }
    }
    let exact = DateTime::parse_from_rfc3339(&text.to_uppercase());
    exact.map_or_else(|_| age(&text, now), |at| Some(at.timestamp_millis()))
}

/// Returns when a day begins.
fn begin<Z: TimeZone>(day: NaiveDate, now: &DateTime<Z>) -> Option<i64> {
    let midnight = day.and_hms_opt(0, 0, 0)?;
    let zone = now.timezone();
    let at = |hours| {
        let local = midnight.checked_add_signed(TimeDelta::hours(hours))?;
        zone.from_local_datetime(&local).earliest()
    };
    // Where clocks were put forward at midnight, the day begins an hour later.
    Some(at(0).or_else(|| at(1))?.timestamp_millis())
}

fn age<Z: TimeZone>(text: &str, now: &DateTime<Z>) -> Option<i64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u32 = text[..at].parse().ok()?;
    let back = |span: Option<TimeDelta>| now.clone().checked_sub_signed(span?);
    let then = match &text[at..] {
        "m" | "min" => back(TimeDelta::try_minutes(count.into())),
        "h" => back(TimeDelta::try_hours(count.into())),
        "d" => back(TimeDelta::try_days(count.into())),
        "w" => back(TimeDelta::try_weeks(count.into())),
        "mo" => now.clone().checked_sub_months(Months::new(count)),
        "y" => now
            .clone()
            .checked_sub_months(Months::new(count.checked_mul(12)?)),
        _ => None,
    };
    then.map(|then| then.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn now() -> DateTime<chrono::FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-30T12:00:00+02:00").unwrap()
    }

    fn parse(text: &str) -> Result<Query, QueryError> {
        Query::parse(&[text.to_owned()], &now())
    }

    fn told(text: &str) -> Vec<String> {
        let query = parse(text).unwrap();
        let term = |term: &Term| {
            let sign = if term.is_not { "-" } else { "" };
            match &term.what {
                What::Words(part, finder) => {
                    let words = String::from_utf8_lossy(finder.needle());
                    format!("{sign}{part:?}[{words}]")
                }
                What::Address(name) => format!("{sign}in {name}"),
                What::Attachment => format!("{sign}attachment"),
                What::Flag(flag) => format!("{sign}flag {flag}"),
            }
        };
        query.terms.iter().map(term).collect()
    }

    #[test]
    fn words_phrases_and_fields_are_told_apart() {
        assert_eq!(
            told("Lunch -dinner not:tea"),
            ["Any[ lunch]", "-Any[ dinner]", "-Any[ tea]"]
        );
        assert_eq!(told("\"see you at\""), ["Any[ see you at ]"]);
        assert_eq!(
            told("from:ana to:\"Bob B\" subject:plan"),
            ["From[ ana]", "To[ bob b ]", "Subject[ plan]"]
        );
        assert_eq!(
            told("in:@Lab/Printer has:attachment -is:unread is:flagged"),
            ["in lab/printer", "attachment", "flag S", "flag F"]
        );
        assert_eq!(told("http://x.org/a"), ["Any[ http x org a]"]);
        assert_eq!(
            told("12:30 :x -\"a b"),
            ["Any[ 12 30]", "Any[ x]", "-Any[ a b ]"]
        );
    }

    #[test]
    fn times_are_days_and_ages_of_the_readers_zone() {
        let at = |text: &str| {
            DateTime::parse_from_rfc3339(text)
                .unwrap()
                .timestamp_millis()
        };
        let since = |text: &str| parse(&format!("since:{text}")).unwrap().since.unwrap();
        assert_eq!(since("2026-11-22"), at("2026-11-22T00:00:00+02:00"));
        assert_eq!(since("2026-11"), at("2026-11-01T00:00:00+02:00"));
        assert_eq!(since("2025"), at("2025-01-01T00:00:00+02:00"));
        assert_eq!(since("yesterday"), at("2026-11-29T00:00:00+02:00"));
        assert_eq!(since("2h"), at("2026-11-30T10:00:00+02:00"));
        assert_eq!(since("1w"), at("2026-11-23T12:00:00+02:00"));
        assert_eq!(since("2026-11-22T10:00:00Z"), at("2026-11-22T10:00:00Z"));
        let query = parse("-before:today since:2025 since:2024 before:7d").unwrap();
        assert_eq!(query.since, Some(at("2026-11-30T00:00:00+02:00")));
        assert_eq!(query.before, Some(at("2026-11-23T12:00:00+02:00")));
    }

    #[test]
    fn what_means_nothing_is_said() {
        for text in [
            "since:soon",
            "before:",
            "has:legs",
            "is:x",
            "since:99999999999y",
        ] {
            assert!(
                matches!(parse(text), Err(QueryError::Value { .. })),
                "{text}"
            );
        }
        for text in ["", " ", "--", "\"\"", "...", "from:"] {
            assert_eq!(parse(text).map(drop), Err(QueryError::Empty), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[-a-z0-9:\" é東]{0,40}|.{0,40}") {
            drop(parse(&text));
        }
    }
}
