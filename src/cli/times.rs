//! Times for people: the broker's RFC 3339 in UTC becomes the local zone's words. JSON keeps what
//! the broker wrote. What is no time is shown as it came, made visible. The one clock of `mailctl` is here.

use std::time::{Duration, Instant};

use chrono::{DateTime, Datelike, FixedOffset, Local, NaiveDateTime, NaiveTime, TimeZone, Utc};

use super::i18n::{text, tr, tr_later};
use super::untrusted::visible;

/// How far this machine's clock may be from the server's before a person is told: at that distance
/// times that people read are plainly wrong.
const SKEW_SECONDS: i64 = 120;

const MONTHS: [&str; 12] = [
    tr_later!("Jan"),
    tr_later!("Feb"),
    tr_later!("Mar"),
    tr_later!("Apr"),
    tr_later!("May"),
    tr_later!("Jun"),
    tr_later!("Jul"),
    tr_later!("Aug"),
    tr_later!("Sep"),
    tr_later!("Oct"),
    tr_later!("Nov"),
    tr_later!("Dec"),
];

/// Units of a span that are words.
const UNITS: [&str; 6] = [
    tr_later!("day"),
    tr_later!("days"),
    tr_later!("month"),
    tr_later!("months"),
    tr_later!("year"),
    tr_later!("years"),
];

/// Reads how long something takes: `90s`, `2h`, `7d`, or seconds.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    time.ok_or_else(|| tr_later!("not a time like 90s, 2h or 7d").to_owned())
}

/// A time in the future as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The next time that the clock shows this.
    Clock(NaiveTime),
    /// That day and hour, in the local zone.
    Day(NaiveDateTime),
    /// A moment with its zone.
    Moment(DateTime<FixedOffset>),
    /// After so long.
    In(Duration),
}

impl At {
    /// Reads `18:00`, `2026-12-24T08:00` (with a zone or without), or `2h`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let clock = ["%H:%M", "%H:%M:%S"];
        let day = [
            "%Y-%m-%dT%H:%M",
            "%Y-%m-%dT%H:%M:%S",
            "%Y-%m-%d %H:%M",
            "%Y-%m-%d %H:%M:%S",
        ];
        if let Some(time) = clock
            .iter()
            .find_map(|form| NaiveTime::parse_from_str(text, form).ok())
        {
            return Ok(Self::Clock(time));
        }
        if let Some(time) = day
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        {
            return Ok(Self::Day(time));
        }
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Moment(moment));
        }
        let time = humantime::parse_duration(text);
        time.map(Self::In)
            .map_err(|_| tr!("not a time like 18:00, 2026-12-24T08:00 or 2h").to_owned())
    }

    /// Returns when that is, given the time now; why not, where there is no such time or it is over.
    pub fn after<Z: TimeZone>(self, now: &DateTime<Z>) -> Result<DateTime<Utc>, String> {
        let zone = now.timezone();
        let local = |time: NaiveDateTime| {
            // Of an hour that comes twice, when clocks are put back, the first.
            let found = zone.from_local_datetime(&time).earliest();
            found.ok_or_else(|| {
                tr!("that hour is left out that day: clocks are put forward").to_owned()
            })
        };
        let at = match self {
            Self::In(time) => {
                let time = chrono::TimeDelta::from_std(time).ok();
                let at = time.and_then(|time| now.clone().checked_add_signed(time));
                at.ok_or_else(|| tr!("that is too far away").to_owned())?
                    .to_utc()
            }
            Self::Moment(moment) => moment.to_utc(),
            Self::Day(time) => local(time)?.to_utc(),
            Self::Clock(time) => {
                let today = now.date_naive();
                let days = [Some(today), today.succ_opt()].into_iter().flatten();
                let mut times = days.filter_map(|day| local(day.and_time(time)).ok());
                let next = times.find(|at| at > now);
                next.ok_or_else(|| tr!("there is no such time until tomorrow").to_owned())?
                    .to_utc()
            }
        };
        if at < now.to_utc() {
            return Err(tr!("that time is over").to_owned());
        }
        Ok(at)
    }
}

/// Returns a time of this machine as JSON has it.
pub fn json_of(at_ms: i64) -> String {
    let at = DateTime::from_timestamp_millis(at_ms).unwrap_or_default();
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Returns the time now, in the local zone.
#[expect(clippy::disallowed_methods, reason = "the one clock of mailctl")]
pub fn now() -> DateTime<Local> {
    chrono::Utc::now().into()
}

/// Returns the moment at which `timeout` from now is over.
#[expect(clippy::disallowed_methods, reason = "the one clock of mailctl")]
pub fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout
}

/// Returns a time of the broker as a person reads it: the hour alone for today, the day for this
/// year, else the date.
pub fn human(rfc3339: &str) -> String {
    human_at(rfc3339, &now())
}

fn human_at<Z: TimeZone>(rfc3339: &str, now: &DateTime<Z>) -> String
where
    Z::Offset: std::fmt::Display,
{
    let Ok(time) = DateTime::parse_from_rfc3339(rfc3339) else {
        return visible(rfc3339);
    };
    let time = time.with_timezone(&now.timezone());
    if time.date_naive() == now.date_naive() {
        time.format("%H:%M").to_string()
    } else if time.year() == now.year() {
        let month = text(MONTHS[time.month0() as usize]);
        format!("{} {month} {}", time.day(), time.format("%H:%M"))
    } else {
        time.format(tr!("%Y-%m-%d %H:%M")).to_string()
    }
}

/// Returns a time of the broker with its day and zone, for who reads it elsewhere and later.
pub fn dated(rfc3339: &str) -> String {
    DateTime::parse_from_rfc3339(rfc3339).map_or_else(
        |_| visible(rfc3339),
        |time| {
            let time = time.with_timezone(&now().timezone());
            time.format("%Y-%m-%d %H:%M %:z").to_string()
        },
    )
}

/// Returns a time of the broker as the hour, to the second, for what ends soon.
pub fn hour(rfc3339: &str) -> String {
    hour_at(rfc3339, &now())
}

fn hour_at<Z: TimeZone>(rfc3339: &str, now: &DateTime<Z>) -> String
where
    Z::Offset: std::fmt::Display,
{
    DateTime::parse_from_rfc3339(rfc3339).map_or_else(
        |_| visible(rfc3339),
        |time| {
            let time = time.with_timezone(&now.timezone());
            time.format("%H:%M:%S").to_string()
        },
    )
}

/// Returns how long it is until a time of the broker, in minutes and seconds, for what ends soon.
pub fn left(rfc3339: &str) -> String {
    left_at(rfc3339, &now())
}

fn left_at<Z: TimeZone>(rfc3339: &str, now: &DateTime<Z>) -> String {
    DateTime::parse_from_rfc3339(rfc3339).map_or_else(
        |_| visible(rfc3339),
        |time| {
            let left = time.signed_duration_since(now).num_seconds().max(0);
            format!("{}:{:02}", left / 60, left % 60)
        },
    )
}

/// Returns how long something takes, as people read it.
pub fn span(time: Duration) -> String {
    let english = humantime::format_duration(time).to_string();
    let pieces = english.split(' ').map(|piece| {
        let unit = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        let known = UNITS.iter().find(|known| **known == unit);
        known.map_or(piece.to_owned(), |known| {
            format!("{}{}", &piece[..piece.len() - unit.len()], text(known))
        })
    });
    pieces.collect::<Vec<_>>().join(" ")
}

/// Returns this machine's time as the broker writes its own: RFC 3339 in UTC with milliseconds.
pub fn stamp() -> String {
    let utc = now().with_timezone(&chrono::Utc);
    utc.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Returns a warning when this machine's clock is far from the server's `now`.
pub fn skew_warning(server_now: &str) -> Option<String> {
    skew_at(server_now, &now())
}

fn skew_at<Z: TimeZone>(server_now: &str, now: &DateTime<Z>) -> Option<String> {
    let server = DateTime::parse_from_rfc3339(server_now).ok()?;
    let ahead = now.clone().signed_duration_since(server).num_seconds();
    (ahead.abs() > SKEW_SECONDS).then(|| {
        let span = span(Duration::from_secs(ahead.unsigned_abs()));
        if ahead > 0 {
            tr!(
                "this machine's clock is {} ahead of the server's; mail is safe, but times look wrong: set the clock (on \
                 most systems: timedatectl set-ntp true)",
                span
            )
        } else {
            tr!(
                "this machine's clock is {} behind the server's; mail is safe, but times look wrong: set the clock (on \
                 most systems: timedatectl set-ntp true)",
                span
            )
        }
    })
}

#[cfg(test)]
mod at_tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_time_is_typed_in_several_ways() {
        let zone = FixedOffset::east_opt(3_600).unwrap();
        let now = utc("2026-11-30T11:00:00Z").with_timezone(&zone);
        let at = |text: &str| At::parse(text).unwrap().after(&now);
        assert_eq!(at("18:00"), Ok(utc("2026-11-30T17:00:00Z")));
        assert_eq!(
            at("12:00"),
            Ok(utc("2026-12-01T11:00:00Z")),
            "tomorrow: it is just 12:00"
        );
        assert_eq!(at("2026-12-24T08:00"), Ok(utc("2026-12-24T07:00:00Z")));
        assert_eq!(at("2026-12-24T08:00:00Z"), Ok(utc("2026-12-24T08:00:00Z")));
        assert_eq!(at("2h"), Ok(utc("2026-11-30T13:00:00Z")));
        assert!(at("2026-11-30T11:59").is_err(), "it is over");
        assert!(At::In(Duration::MAX).after(&now).is_err());
        for none in ["", "25:00", "tomorrow", "2026-02-30T08:00", "-1h"] {
            assert!(At::parse(none).is_err(), "{none}");
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;
    use crate::cli::i18n::{Language, within};

    fn at(text: &str) -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339(text).unwrap()
    }

    #[test]
    fn times_are_local_and_short() {
        let now = at("2026-11-22T10:00:00-03:00");
        assert_eq!(human_at("2026-11-22T12:04:11.120Z", &now), "09:04");
        assert_eq!(human_at("2026-11-22T01:30:00Z", &now), "21 Nov 22:30");
        assert_eq!(human_at("2025-01-02T03:04:05Z", &now), "2025-01-02 00:04");
        assert_eq!(human_at("whenever", &now), "whenever");
        assert_eq!(hour_at("2026-11-22T12:04:11.120Z", &now), "09:04:11");
        assert_eq!(hour_at("whenever", &now), "whenever");
        assert_eq!(left_at("2026-11-22T13:04:52Z", &now), "4:52");
        assert_eq!(left_at("2026-11-22T12:59:00Z", &now), "0:00");
        assert_eq!(left_at("whenever", &now), "whenever");
        for shown in [human_at, hour_at, left_at] {
            assert_eq!(shown("\n42  \x1b[2J", &now), "␊42  ␛[2J");
        }
    }

    #[test]
    fn times_are_in_the_language_of_their_reader() {
        let now = at("2026-11-22T10:00:00-03:00");
        let told = within(Language::Portuguese, || {
            let times = ["2026-02-21T01:30:00Z", "2025-01-02T03:04:05Z"];
            let spans = [Duration::from_hours(49), Duration::from_millis(90_020)];
            (times.map(|time| human_at(time, &now)), spans.map(span))
        });
        let times = ["20 fev 22:30", "02/01/2025 00:04"].map(str::to_owned);
        assert_eq!(
            told,
            (times, ["2dias 1h", "1m 30s 20ms"].map(str::to_owned))
        );
    }

    #[test]
    fn a_wrong_clock_is_told_and_a_slow_network_is_not() {
        let now = at("2026-11-22T10:00:00Z");
        assert_eq!(skew_at("2026-11-22T09:58:30Z", &now), None);
        let ahead = skew_at("2026-11-22T09:00:00Z", &now).unwrap();
        assert!(ahead.contains("1h ahead of"), "{ahead}");
        let behind = skew_at("2026-11-23T10:00:00Z", &now).unwrap();
        assert!(behind.contains("1day behind"), "{behind}");
    }
}
