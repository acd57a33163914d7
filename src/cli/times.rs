//! Times for people: the broker's RFC 3339 in UTC becomes the local zone's words. JSON keeps what
//! the broker wrote. What is no time is shown as it came, made visible. The one clock of `mailctl` is here.

use std::time::{Duration, Instant};

use chrono::{DateTime, Datelike, Local, TimeZone};

use super::untrusted::visible;

/// How far this machine's clock may be from the server's before a person is told: at that distance
/// times that people read are plainly wrong.
const SKEW_SECONDS: i64 = 120;

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
    let form = if time.date_naive() == now.date_naive() {
        "%H:%M"
    } else if time.year() == now.year() {
        "%-d %b %H:%M"
    } else {
        "%Y-%m-%d %H:%M"
    };
    time.format(form).to_string()
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
        let span = humantime::format_duration(Duration::from_secs(ahead.unsigned_abs()));
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        format!(
            "this machine's clock is {span} {side} the server's; mail is safe, but times look wrong: \
             set the clock (on most systems: timedatectl set-ntp true)"
        )
    })
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

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
    fn a_wrong_clock_is_told_and_a_slow_network_is_not() {
        let now = at("2026-11-22T10:00:00Z");
        assert_eq!(skew_at("2026-11-22T09:58:30Z", &now), None);
        let ahead = skew_at("2026-11-22T09:00:00Z", &now).unwrap();
        assert!(ahead.contains("1h ahead of"), "{ahead}");
        let behind = skew_at("2026-11-23T10:00:00Z", &now).unwrap();
        assert!(behind.contains("1day behind"), "{behind}");
    }
}
